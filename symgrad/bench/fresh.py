"""Work in a process of its own: whole scripts from ``python`` to the result, cold compilation, the memory it takes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Report", "call", "imported", "peak_bytes", "run"]

_PROLOGUE = """
import json, sys
given = json.loads(sys.argv[1])
"""
# The high-water mark of Linux's own table: getrusage's begins at that of the process that forked.
_PEAK = """
def peak_bytes():
    try:
        with open("/proc/self/status") as lines:
            return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        import resource
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
"""
_EPILOGUE = """
print("\\n" + json.dumps([answer, peak_bytes(), sorted({name.partition(".")[0] for name in sys.modules})]))
"""
_CALL = """
from importlib import import_module
answer = getattr(import_module(given[0]), given[1])(*given[2:])
"""


@dataclass(frozen=True)
class Report:
    """What a process said: ``answer``, ``seconds`` from its start to its end, ``peak`` in bytes, top-level ``modules`` it had imported."""

    answer: Any
    seconds: float
    peak: int
    modules: frozenset[str]


def run(program: str, *given: Any, environment: Mapping[str, str] | None = None, timeout: float = 600) -> Report:
    """A program in a new interpreter: it finds ``given`` and leaves ``answer``, both of them plain data.

    Raises ``RuntimeError`` with the end of what it wrote where it failed.
    """
    root = str(Path(__file__).resolve().parents[2])
    # Byte code is written, as it is for whoever installs a package: reading the source again is not what is timed.
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    path = os.pathsep.join(p for p in (root, os.environ.get("PYTHONPATH", "")) if p)
    inherited |= {"PYTHONPATH": path, **(environment or {})}
    command = [sys.executable, "-P", "-c", _PROLOGUE + program + _PEAK + _EPILOGUE, json.dumps(given)]
    begun = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, env=inherited)
    seconds = time.perf_counter() - begun
    if done.returncode:
        raise RuntimeError(f"a process of the benchmark failed ({done.returncode}): {done.stderr[-2000:]}")
    answer, peak, modules = json.loads(done.stdout.splitlines()[-1])
    return Report(answer, seconds, peak, frozenset(modules))


def call(module: str, function: str, *given: Any, environment: Mapping[str, str] | None = None, timeout: float = 600) -> Report:
    """A function of a module, by name, called in a new interpreter with plain data.

    >>> call("math", "sqrt", 4.0).answer
    2.0
    """
    return run(_CALL, module, function, *given, environment=environment, timeout=timeout)


def imported(module: str) -> float:
    """Seconds of an import in a new interpreter, its start not included."""
    program = "import time\nbegun = time.perf_counter()\n__import__(given[0])\nanswer = time.perf_counter() - begun"
    return float(run(program, module).answer)


def peak_bytes() -> int:
    """The most memory that this process has held so far."""
    scope: dict[str, Any] = {"sys": sys}
    exec(_PEAK, scope)
    return int(scope["peak_bytes"]())
