"""The math workload: one function of an array of 4,096 elements, whose results lie in the first-level cache.

symgrad compiles ``sg.compile(function(x))`` and maps it over the array; NumPy (SciPy's ``special`` for what NumPy lacks) has its ufunc.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from symgrad.bench.measure import Contestant, measure

__all__ = ["FUNCTIONS", "bench", "contestants"]

Array = np.ndarray[Any, Any]
ELEMENTS = 4096
WIDE, POSITIVE, UNIT, ABOVE_ONE = (-8.0, 8.0), (0.01, 8.0), (-0.99, 0.99), (1.0, 8.0)

# function -> the interval of its arguments, and NumPy's name or SciPy's
FUNCTIONS: dict[str, tuple[tuple[float, float], str]] = {
    "exp": (WIDE, "exp"), "expm1": (WIDE, "expm1"), "log": (POSITIVE, "log"), "log1p": (POSITIVE, "log1p"), "sin": (WIDE, "sin"),
    "cos": (WIDE, "cos"), "tan": (WIDE, "tan"), "asin": (UNIT, "arcsin"), "acos": (UNIT, "arccos"), "atan": (WIDE, "arctan"),
    "sinh": (WIDE, "sinh"), "cosh": (WIDE, "cosh"), "tanh": (WIDE, "tanh"), "asinh": (WIDE, "arcsinh"), "acosh": (ABOVE_ONE, "arccosh"),
    "atanh": (UNIT, "arctanh"), "sigmoid": (WIDE, "special.expit"), "erf": (WIDE, "special.erf"), "erfc": (WIDE, "special.erfc"),
    "lgamma": (POSITIVE, "special.gammaln"), "digamma": (POSITIVE, "special.digamma"),
}  # fmt: skip


def contestants(name: str, dtype: str, elements: int = ELEMENTS) -> tuple[dict[str, Contestant], dict[str, Array]]:
    """symgrad and NumPy for one function, and their results."""
    import symgrad as sg

    (low, high), theirs = FUNCTIONS[name]
    x = np.linspace(low, high, elements).astype(dtype)
    begun = time.perf_counter()
    ours = sg.compile(getattr(sg, name)(sg.symbol("x")), dtype=dtype)
    results = {"symgrad": ours(x)}
    seconds = time.perf_counter() - begun
    ufunc = _ufunc(theirs)
    results["numpy"] = ufunc(x)
    return {"symgrad": _contestant("symgrad", ours, x, seconds), "numpy": _contestant("numpy", ufunc, x, 0.0)}, results


def _ufunc(name: str) -> Callable[[Array], Array]:
    if not name.startswith("special."):
        return getattr(np, name)
    from scipy import special

    return getattr(special, name.removeprefix("special."))


def _contestant(name: str, function: Callable[[Array], Array], x: Array, seconds: float) -> Contestant:
    def run(steps: int) -> float:
        y = x
        for _ in range(steps):
            y = function(x)
        return float(y[-1])

    return Contestant(name, run, 50, seconds)


def bench(against: Sequence[str] | None) -> None:
    """Prints a table: nanoseconds an element, and how many times symgrad's that is."""
    from rich.console import Console
    from rich.table import Table

    unknown = set(against or ()) - {"numpy"}
    if unknown:
        raise ValueError(f"no peer is called {', '.join(sorted(unknown))}; there is numpy (with scipy.special)")
    table = Table(title=f"math: {ELEMENTS} elements, ns an element", title_justify="left")
    table.add_column("function", no_wrap=True)
    for dtype in ("float64", "float32"):
        for heading in (dtype, "numpy", "× symgrad"):
            table.add_column(heading, justify="right", no_wrap=True)
    for name in FUNCTIONS:
        row = [name]
        for dtype in ("float64", "float32"):
            pair, results = contestants(name, dtype)
            _check(name, results)
            timings = measure(pair)
            ours, theirs = (timings[who].median / ELEMENTS * 1e9 for who in ("symgrad", "numpy"))
            row += [f"{ours:.2f}", f"{theirs:.2f}", f"{theirs / ours:.1f}"]
        table.add_row(*row)
    Console().print(table)


def _check(name: str, results: dict[str, Array]) -> None:
    """Within 64 ulp of each other: NumPy's own are good to 4, SciPy's erfc is off by 32, its lgamma by more near its zeros."""
    ours, theirs = results["symgrad"], results["numpy"]
    unit = np.spacing(np.abs(theirs))
    if name in ("lgamma", "digamma"):
        unit = np.maximum(unit, np.spacing(ours.dtype.type(1)))
    worst = float(np.max(np.abs(ours - theirs) / unit))
    if not worst <= 64:
        raise ArithmeticError(f"{name}: symgrad and numpy are {worst:.1f} ulp apart: not the same work")
