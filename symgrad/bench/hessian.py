"""The hessian workload: value, gradient and sparse Hessian of Rosenbrock's function and of a banded least-squares problem.

"call" is one evaluation of all three. symgrad takes two calls for it, CasADi one function of its scalar type, JAX one compiled function
with a dense Hessian. "build" is the way from the first symbol to the first result in a new process with an empty cache
folder, after another formula has been through; "memory" is the peak of that process.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from symgrad.bench import fresh
from symgrad.bench.records import OURS, Bar, Case, CaseResult, Contestant, Workload, at_most

__all__ = ["WORKLOAD"]

Array = np.ndarray[Any, Any]
BAND = 4  # how many neighbours a residual sees
LARGEST, DENSE = 100_000, 1000
PROBLEMS = ("rosenbrock", "least squares")


def cases(full: bool) -> Sequence[Case]:
    sizes = (20, 200, 1000, 10_000, LARGEST) if full else (20, 200, 1000)
    return [case for problem in PROBLEMS for n in sizes for case in _cases(problem, n)]


def _cases(problem: str, n: int) -> list[Case]:
    parameters = {"problem": problem, "n": n}
    able = ("symgrad", "casadi", "jax") if n <= DENSE else ("symgrad", "casadi") if n < LARGEST else ("symgrad",)
    seconds = Bar("≤ 1 s", 1.0, lambda result: result.timings[OURS].median)
    rounds = 3 if n < LARGEST else 1
    return [
        Case(f"{problem} {n} call", {**parameters, "what": "call"}, unit="evaluation", contestants=able, tolerance=1e-9,
             bars=(at_most(0.15, "casadi"),) if n == 1000 else ()),
        Case(f"{problem} {n} build", {**parameters, "what": "seconds"}, unit="build", contestants=able, rounds=rounds, bars=(seconds,)),
        Case(f"{problem} {n} memory", {**parameters, "what": "peak"}, unit="build", contestants=able, quantity="bytes", rounds=1),
    ]  # fmt: skip


# --- the two problems ------------------------------------------------------------------------------


def known(problem: str, n: int) -> list[Array]:
    """The point, and the data of the problem: coefficients (one column a neighbour) and right-hand sides."""
    rng = np.random.default_rng(n)
    x = rng.uniform(-1, 1, n)
    return [x] if problem == "rosenbrock" else [x, rng.normal(size=(BAND, n - BAND + 1)), rng.normal(size=n - BAND + 1)]


def objective(problem: str, m: Any, x: Any, data: Sequence[Any]) -> Any:
    """The same in every arithmetic: ``m`` has ``sum`` and ``tanh``, ``x`` and the data take slices."""
    if problem == "rosenbrock":
        return m.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)
    coefficients, right = data
    count = right.shape[0]
    seen = coefficients[0, :] * m.tanh(x[:count])
    for k in range(1, BAND):
        seen = seen + coefficients[k, :] * x[k : count + k] ** k
    return m.sum((seen - right) ** 2)


# --- contestants -----------------------------------------------------------------------------------

Evaluate = Callable[[], Any]  # value, gradient, Hessian


def _symgrad(problem: str, n: int, keep: bool) -> Evaluate:
    import symgrad as sg

    given = known(problem, n)
    x, *data = [sg.symbol(name, a.shape) for name, a in zip(("x", "a", "b"), given)]
    f = sg.compile(objective(problem, sg, x, data), [x, *data], wrt=x, cache=keep)

    def evaluate() -> tuple[float, Array, Any]:
        value, gradient = f.value_and_grad(*given)
        return value, gradient, f.hessian(*given, sparse=True)

    evaluate()
    return evaluate


class _Columns:
    """CasADi's functions, with rows for the data's columns."""

    def __init__(self) -> None:
        import casadi as ca

        self.sum, self.tanh = ca.sum1, ca.tanh


def _casadi(problem: str, n: int, keep: bool) -> Evaluate:
    import casadi as ca

    given = known(problem, n)
    x = ca.SX.sym("x", n)
    symbols = [ca.SX.sym("a", *a.shape) for a in given[1:]]
    rows = [_Rows(s) if s.shape[1] > 1 else s for s in symbols]
    y = objective(problem, _Columns(), x, rows)
    h, g = ca.hessian(y, x)
    f = ca.Function("f", [x, *symbols], [y, g, h])
    f(*given)
    return lambda: f(*given)


class _Rows:
    """Rows of a CasADi matrix as columns, which is what its vectors are."""

    def __init__(self, matrix: Any) -> None:
        self.matrix = matrix

    def __getitem__(self, index: Any) -> Any:
        return self.matrix[index].T


def _jax(problem: str, n: int, keep: bool) -> Evaluate:
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    given = [jnp.asarray(a) for a in known(problem, n)]

    def y(x: Any, *data: Any) -> Any:
        return objective(problem, jnp, x, data)

    f = jax.jit(lambda *a: (*jax.value_and_grad(y)(*a), jax.hessian(y)(*a)))
    jax.block_until_ready(f(*given))
    return lambda: jax.block_until_ready(f(*given))


_BUILDERS: dict[str, Callable[[str, int, bool], Evaluate]] = {"symgrad": _symgrad, "casadi": _casadi, "jax": _jax}


def build(name: str, parameters: Mapping[str, Any]) -> float:
    """Seconds to the first result; called in a new process."""
    _BUILDERS[name](PROBLEMS[parameters["problem"] == PROBLEMS[0]], 9, False)  # the other one: what a process's first compilation costs
    begun = time.perf_counter()
    _BUILDERS[name](parameters["problem"], parameters["n"], False)
    return time.perf_counter() - begun


def _maker(name: str) -> Callable[[Case], Contestant]:
    def make(case: Case) -> Contestant:
        if case.parameters["what"] == "call":
            return _call(name, case)

        def measure() -> float:
            with tempfile.TemporaryDirectory() as folder:
                report = fresh.call(__name__, "build", name, dict(case.parameters), environment={"SYMGRAD_CACHE_DIR": folder})
            return float(report.answer) if case.parameters["what"] == "seconds" else float(report.peak)

        return Contestant(None, lambda: 0.0, measure=measure)  # results are compared where calls are timed

    return make


def _call(name: str, case: Case) -> Contestant:
    begun = time.perf_counter()
    evaluate = _BUILDERS[name](case.parameters["problem"], case.parameters["n"], True)
    seconds = time.perf_counter() - begun

    def run(count: int) -> None:
        for _ in range(count):
            evaluate()

    def result() -> dict[str, Any]:
        value, gradient, hessian = evaluate()
        return {"value": float(value), "gradient": np.array(gradient).ravel(), "products": _products(hessian, case.parameters["n"])}

    return Contestant(run, result, seconds)


def _products(hessian: Any, n: int) -> Array:
    """The Hessian times two directions: what two of them are compared by, however they are stored."""
    if hasattr(hessian, "sparse"):  # CasADi's
        from scipy.sparse import csc_matrix

        hessian = csc_matrix((np.array(hessian.nonzeros()), hessian.sparsity().row(), hessian.sparsity().colind()), shape=(n, n))
    return np.asarray(hessian @ np.random.default_rng(3).normal(size=(n, 2)))


# --- growth ----------------------------------------------------------------------------------------


def _growth(problem: str, what: str) -> Bar:
    """From 10,000 to 100,000 variables the quantity may grow tenfold, and a tenth more."""

    def measured(results: Sequence[CaseResult]) -> float | None:
        found = {r.case.parameters["n"]: r.timings[OURS].median for r in results
                 if (r.case.parameters["problem"], r.case.parameters["what"]) == (problem, what)}
        return found[LARGEST] / found[LARGEST // 10] if LARGEST in found else None

    return Bar(f"{problem}: {what} of {LARGEST} / of {LARGEST // 10} ≤ 12", 12.0, measured)


WORKLOAD = Workload(
    "hessian", "value, gradient and sparse Hessian of up to 100,000 variables", cases,
    {name: _maker(name) for name in _BUILDERS}, quick=False,
    bars=tuple(_growth(problem, what) for problem in PROBLEMS for what in ("call", "seconds", "peak")),
)  # fmt: skip
