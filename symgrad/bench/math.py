"""The math workload: one function of an array of 4,096 elements, whose results lie in the first-level cache.

symgrad compiles ``sg.compile(function(x))`` and maps it over the array; NumPy (SciPy's ``special`` for what NumPy lacks) has its ufunc.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from symgrad.bench.records import Case, Contestant, Workload

__all__ = ["FUNCTIONS", "WORKLOAD"]

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


def cases(full: bool) -> Sequence[Case]:
    """Results are compared in ulp, which :func:`scaled` makes of relative differences."""
    return [
        Case(f"{name} {dtype}", {"function": name}, dtype, unit="element", tolerance=64 * float(np.finfo(dtype).eps), turn=0.005)
        for dtype in ("float64", "float32") for name in FUNCTIONS
    ]


def argument(case: Case) -> Array:
    """The array that the function is applied to."""
    (low, high), _ = FUNCTIONS[case.parameters["function"]]
    return np.linspace(low, high, ELEMENTS).astype(case.dtype)


def by_symgrad(case: Case) -> Contestant:
    import symgrad as sg

    x = argument(case)
    begun = time.perf_counter()
    function = sg.compile(getattr(sg, case.parameters["function"])(sg.symbol("x")), dtype=case.dtype)
    function(x)
    return _contestant(function, x, time.perf_counter() - begun)


def by_numpy(case: Case) -> Contestant:
    _, theirs = FUNCTIONS[case.parameters["function"]]
    if theirs.startswith("special."):
        from scipy import special

        return _contestant(getattr(special, theirs.removeprefix("special.")), argument(case), 0.0)
    return _contestant(getattr(np, theirs), argument(case), 0.0)


def _contestant(function: Callable[[Array], Array], x: Array, seconds: float) -> Contestant:
    def run(count: int) -> Array:
        y = x
        for _ in range(count // len(x)):
            y = function(x)
        return y

    return Contestant(run, lambda: _pieces(function(x)), seconds, stride=len(x))


def _pieces(y: Array) -> dict[str, Array]:
    """Small and large results apart, each compared relative to its largest: all of one magnitude, from 2**k to 2**(k+1)."""
    exponent = np.round(np.frexp(y)[1] / 2)
    return {f"results near {2.0 ** (2 * k):g}": np.where(exponent == k, y, 0) for k in np.unique(exponent)}


WORKLOAD = Workload(
    "math", f"the functions of mathematics over {ELEMENTS} elements", cases, {"symgrad": by_symgrad, "numpy": by_numpy}, quick=False
)
