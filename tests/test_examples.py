"""Every example runs, and says what it is meant to say."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"

SAYS = {
    "neuron": ["do/dx1 = ", "-1.500000", "dL/dd = "],
    "moons": ["W3", "100.0 % of the training points"],
    "digits": ["64, 32, 10", "test images are taken for another digit"],
    "nist_fit": ["certified by NIST", "1.28813968"],
    "inside_njit": ["f'(E) = ", "1,000,000 equations"],
    "add_op": ["second derivative"],
}
SLOW = {"digits"}
NEEDS = {"moons": ("sklearn", "matplotlib"), "digits": ("sklearn",)}


def test_every_example_is_listed_here():
    assert {p.stem for p in EXAMPLES.glob("*.py")} == set(SAYS)


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] if n in SLOW else []) for n in SAYS])
def test_example(name, capsys, tmp_path, monkeypatch):
    for module in NEEDS.get(name, ()):
        pytest.importorskip(module, reason=f"the example {name} uses {module}")
    monkeypatch.setattr(sys, "argv", [f"{name}.py", str(tmp_path)] if name == "moons" else [f"{name}.py"])
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    out = capsys.readouterr().out
    for text in SAYS[name]:
        assert text in out
    if name == "moons":
        assert (tmp_path / "moons.png").read_bytes().startswith(b"\x89PNG")
