"""The math workload: one function of an array of 4,096 elements, whose results lie in the first-level cache.

symgrad compiles ``sg.compile(function(x))`` and maps it over the array; NumPy (SciPy's ``special`` for what NumPy lacks) has its ufunc.
JAX loops inside its compiled program, so that what a call of it costs beside the arithmetic does not count. "numba libm" is the
platform's own library of mathematics, called for one element after the other by a loop that numba compiled.
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
LIBM = "numba libm"
LOOSE, NEAR_ZEROS = 2.0**16, 2.0**20  # ulp: near their zeros the gamma functions of SciPy and JAX are good to few digits
WIDE, POSITIVE, UNIT, ABOVE_ONE = (-8.0, 8.0), (0.01, 8.0), (-0.99, 0.99), (1.0, 8.0)

# function -> the interval of its arguments (of the first), and NumPy's name or SciPy's
FUNCTIONS: dict[str, tuple[tuple[float, float], str]] = {
    "exp": (WIDE, "exp"), "expm1": (WIDE, "expm1"), "log": (POSITIVE, "log"), "log1p": (POSITIVE, "log1p"), "sin": (WIDE, "sin"),
    "cos": (WIDE, "cos"), "tan": (WIDE, "tan"), "asin": (UNIT, "arcsin"), "acos": (UNIT, "arccos"), "atan": (WIDE, "arctan"),
    "sinh": (WIDE, "sinh"), "cosh": (WIDE, "cosh"), "tanh": (WIDE, "tanh"), "asinh": (WIDE, "arcsinh"), "acosh": (ABOVE_ONE, "arccosh"),
    "atanh": (UNIT, "arctanh"), "sigmoid": (WIDE, "special.expit"), "erf": (WIDE, "special.erf"), "erfc": (WIDE, "special.erfc"),
    "lgamma": (POSITIVE, "special.gammaln"), "digamma": (POSITIVE, "special.digamma"),
    "pow": (POSITIVE, "power"), "atan2": (WIDE, "arctan2"), "hypot": (WIDE, "hypot"),
}  # fmt: skip
SECOND: dict[str, tuple[float, float]] = {"pow": (-4.0, 4.0), "atan2": WIDE, "hypot": WIDE}  # the interval of the second argument
JAX: dict[str, str] = {  # where its name is not NumPy's
    "sigmoid": "nn.sigmoid", "erf": "scipy.special.erf", "erfc": "scipy.special.erfc", "lgamma": "scipy.special.gammaln",
    "digamma": "scipy.special.digamma",
}  # fmt: skip
NOT_IN_LIBM = ("sigmoid", "digamma")


def cases(full: bool) -> Sequence[Case]:
    """Results are compared in ulp, which :func:`scaled` makes of relative differences."""
    return [_case(name, dtype) for dtype in ("float64", "float32") for name in FUNCTIONS]


def _case(name: str, dtype: str) -> Case:
    who = tuple(c for c in WORKLOAD.contestants if c != LIBM or name not in NOT_IN_LIBM)
    tolerance = 64 * float(np.finfo(dtype).eps)
    return Case(f"{name} {dtype}", {"function": name}, dtype, unit="element", tolerance=tolerance, contestants=who, turn=0.005)


def arguments(case: Case) -> list[Array]:
    """The arrays that the function is applied to, one or two; the second one's order is at random."""
    name = case.parameters["function"]
    found = [np.linspace(*FUNCTIONS[name][0], ELEMENTS)]
    if name in SECOND:
        found.append(np.random.default_rng(0).permutation(np.linspace(*SECOND[name], ELEMENTS)))
    return [array.astype(case.dtype) for array in found]


def by_symgrad(case: Case) -> Contestant:
    import symgrad as sg

    xs = arguments(case)
    begun = time.perf_counter()
    symbols = [sg.symbol(name) for name in ("x", "y")[: len(xs)]]
    function = sg.compile(getattr(sg, case.parameters["function"])(*symbols), dtype=case.dtype)
    function(*xs)
    return _contestant(function, xs, time.perf_counter() - begun)


def by_numpy(case: Case) -> Contestant:
    _, theirs = FUNCTIONS[case.parameters["function"]]
    if theirs.startswith("special."):
        from scipy import special

        return _contestant(getattr(special, theirs.removeprefix("special.")), arguments(case), 0.0, _loose(case))
    return _contestant(getattr(np, theirs), arguments(case), 0.0)


def by_libm(case: Case) -> Contestant:
    """A loop that numba compiled, with nothing but calls in it."""
    import math

    import numba

    xs = arguments(case)
    begun = time.perf_counter()
    one = numba.njit(_WITH[len(xs)](getattr(math, case.parameters["function"])))

    @numba.njit  # type: ignore[untyped-decorator]  # numba has no types
    def loop(y: Array, *xs: Array) -> None:
        for i in range(len(y)):
            y[i] = one(i, *xs)

    def function(*xs: Array) -> Array:
        y = np.empty_like(xs[0])
        loop(y, *xs)
        return y

    function(*xs)
    return _contestant(function, xs, time.perf_counter() - begun)


_WITH: dict[int, Callable[[Any], Any]] = {
    1: lambda function: lambda i, x: function(x[i]),
    2: lambda function: lambda i, x, y: function(x[i], y[i]),
}


def by_jax(case: Case) -> Contestant:
    """The loop inside, its arguments moved by 0 each time round, which the compiler does not know."""
    import jax
    from jax import lax

    jax.config.update("jax_enable_x64", True)
    name = case.parameters["function"]
    function: Any = jax
    for part in JAX.get(name, f"numpy.{FUNCTIONS[name][1]}").split("."):
        function = getattr(function, part)
    xs = [jax.numpy.asarray(x) for x in arguments(case)]
    nothing = jax.numpy.zeros((), case.dtype)
    begun = time.perf_counter()
    loop = jax.jit(lambda count, move, *xs: lax.fori_loop(0, count, lambda k, y: function(xs[0] + k * move, *xs[1:]), xs[0]))

    def run(count: int) -> Any:
        return loop(count // ELEMENTS, nothing, *xs).block_until_ready()

    run(ELEMENTS)
    seconds = time.perf_counter() - begun
    return Contestant(run, lambda: _pieces(np.asarray(run(ELEMENTS))), seconds, stride=ELEMENTS, tolerance=_loose(case))


def _loose(case: Case) -> float:
    return (NEAR_ZEROS if case.parameters["function"] in ("lgamma", "digamma") else LOOSE) * float(np.finfo(case.dtype).eps)


def _contestant(function: Callable[..., Array], xs: list[Array], seconds: float, tolerance: float | None = None) -> Contestant:
    def run(count: int) -> Array:
        y = xs[0]
        for _ in range(count // ELEMENTS):
            y = function(*xs)
        return y

    return Contestant(run, lambda: _pieces(function(*xs)), seconds, stride=ELEMENTS, tolerance=tolerance)


def _pieces(y: Array) -> dict[str, Array]:
    """Small and large results apart, each compared relative to its largest: all of one magnitude, from 2**k to 2**(k+1)."""
    exponent = np.round(np.frexp(y)[1] / 2)
    return {f"results near {2.0 ** (2 * k):g}": np.where(exponent == k, y, 0) for k in np.unique(exponent)}


WORKLOAD = Workload(
    "math", f"the functions of mathematics over {ELEMENTS} elements", cases,
    {"symgrad": by_symgrad, "numpy": by_numpy, LIBM: by_libm, "jax": by_jax}, quick=False,
)  # fmt: skip
