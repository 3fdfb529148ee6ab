"""The warm and memory workloads: whole programs, from ``python`` to a trained network, in processes of their own.

"symgrad" finds what an earlier process compiled, "symgrad cold" an empty cache folder. "jax" compiles in every process, as it does
when nothing is set; "jax cached" has its persistent cache, told to keep everything.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from symgrad.bench import fresh
from symgrad.bench.programs import PROGRAMS
from symgrad.bench.records import Case, Contestant

__all__ = ["Maker", "imports", "programs"]

Quantity = Callable[[fresh.Report], float]
Maker = Callable[[Case], Contestant]

_JAX_CACHE = {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0", "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1"}


def _environment(peer: str, folder: str, kept: bool) -> dict[str, str]:
    if peer == "symgrad":
        return {"SYMGRAD_CACHE_DIR": folder}
    return {"JAX_COMPILATION_CACHE_DIR": folder, **_JAX_CACHE} if kept else {"JAX_ENABLE_COMPILATION_CACHE": "0"}


def _contestant(peer: str, kept: bool, quantity: Quantity) -> Maker:
    """``kept``: what one process compiles the next one finds."""

    def make(case: Case) -> Contestant:
        program = PROGRAMS[f"{peer} {case.parameters['program']}"]
        folder = tempfile.mkdtemp()  # for as long as this process lives
        atexit.register(shutil.rmtree, folder, ignore_errors=True)

        def once() -> fresh.Report:
            with tempfile.TemporaryDirectory() as empty:
                return fresh.run(program, environment=_environment(peer, folder if kept else empty, kept))

        first = cache(once)  # which leaves its code behind for the others

        def measure() -> float:
            first()
            report = once()
            if peer == "symgrad" and kept:
                _check_light(report)
            return quantity(report)

        return Contestant(None, lambda: float(first().answer), measure=measure)

    return make


def _check_light(report: fresh.Report) -> None:
    """A second process loads code; what compiles is not even imported."""
    heavy = sorted({"numba", "sympy"} & report.modules)
    if heavy:
        raise RuntimeError(f"a process that found everything in the cache imported {' and '.join(heavy)}")


def programs(quantity: Quantity) -> Mapping[str, Maker]:
    """Contestants for cases that name a program."""
    return {
        "symgrad": _contestant("symgrad", True, quantity), "symgrad cold": _contestant("symgrad", False, quantity),
        "jax": _contestant("jax", False, quantity), "jax cached": _contestant("jax", True, quantity),
    }  # fmt: skip


def imports(package: str) -> Maker:
    """The import of a package in a new interpreter."""

    def make(case: Case) -> Contestant:
        def result() -> Any:
            return fresh.run("answer = float(len(__import__(given[0]).__name__) > 0)", package).answer

        return Contestant(None, result, measure=lambda: fresh.imported(package))

    return make
