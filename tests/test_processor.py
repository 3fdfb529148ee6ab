"""The processor that code is made for: this one, or what numba's settings name; and numba itself stays away."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from typing import Any

import pytest

pytest.importorskip("llvmlite")

from symgrad.render import processor  # needs llvmlite

NEURON = """
import json, sys
import symgrad as sg
x, w = sg.symbol("x", ("n",)), sg.symbol("w")
f = sg.compile(sg.tanh(w * x).sum(), cache=False)
gradient = f.grad(x=[0.5, -1.0, 2.0], w=0.75)["w"]
loaded = [name for name in ("numba", "scipy.linalg") if name in sys.modules]
from symgrad.render.processor import host_lanes, has, cpu_name
print(json.dumps([gradient, loaded, host_lanes("float32"), has("avx"), cpu_name()]))
"""
ON_X86 = platform.machine().lower() in ("x86_64", "amd64")


def seen_by_another_process(**settings: str) -> Any:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")} | settings
    result = subprocess.run([sys.executable, "-c", NEURON], env=environment, capture_output=True, text=True, check=True)
    return json.loads(result.stdout)


def test_a_cold_compile_does_not_import_numba() -> None:
    gradient, loaded, *_ = seen_by_another_process()
    assert not loaded
    assert gradient == pytest.approx(0.20061745708959378, rel=1e-13)


@pytest.mark.skipif(not ON_X86, reason="names processors of that family")
@pytest.mark.parametrize(
    ("settings", "lanes", "name"),
    [
        ({"NUMBA_CPU_NAME": "generic"}, 4, "generic"),
        ({"NUMBA_CPU_NAME": "nehalem", "NUMBA_CPU_FEATURES": "+sse4.2"}, 4, "nehalem"),
        ({"NUMBA_ENABLE_AVX": "0"}, 4, None),
        ({"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}, 4, "generic"),
    ],
)
def test_the_settings_of_numba_hold(settings: dict[str, str], lanes: int, name: str | None) -> None:
    gradient, _, found, avx, cpu = seen_by_another_process(**settings)
    assert (found, avx) == (lanes, False)
    assert name in (None, cpu)
    assert gradient == pytest.approx(seen_by_another_process()[0], rel=1e-14)


def test_flags_name_what_code_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "numba.core.config", raising=False)
    monkeypatch.setenv("NUMBA_CPU_NAME", "haswell")
    monkeypatch.setenv("NUMBA_CPU_FEATURES", "+avx2,+fma,-avx512f")
    assert processor.has("fma") and not processor.has("avx512f") and not processor.has("avx512vl")
    assert processor.host_lanes("float64") == 4
    assert processor.cpu_features() == "+avx2,+fma,-avx512f"


def test_numba_agrees() -> None:
    codegen = pytest.importorskip("numba.core.codegen")
    config = sys.modules["numba.core.config"]
    if config.CPU_NAME or config.CPU_FEATURES is not None:
        pytest.skip("the settings of this run are not numba's own")
    assert set(processor.cpu_features().split(",")) == set(codegen.get_host_cpu_features().split(","))
