"""The neuron-call workload: one Python call with five numbers, value and gradient back. The loop around it counts for all alike."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import repeat
from typing import Any

import numpy as np

from symgrad.bench.neuron import NAMES, POINT, WRT, by_hand, expression
from symgrad.bench.records import Case, Contestant, Workload, at_most

__all__ = ["WORKLOAD"]


def cases(full: bool) -> Sequence[Case]:
    return [Case("5 scalars", unit="call", tolerance=1e-12, bars=(at_most(0.8, "numba"), at_most(1.5, "numba", of="symgrad dict")))]


def contest(run: Callable[[int], Any], result: Callable[[Any], tuple[Any, Any]], begun: float | None) -> Contestant:
    """``run`` calls so many times and returns what the last call did; ``result`` makes (value, gradients in the order of ``WRT``) of it.
    ``begun``: when compiling began."""
    run(1)
    seconds = 0.0 if begun is None else time.perf_counter() - begun

    def checked() -> dict[str, Any]:
        value, gradients = result(run(1))
        return {"value": float(value), "gradient": np.array([float(g) for g in gradients])}

    return Contestant(run, checked, seconds)


def positionally(call: Callable[..., Any]) -> Callable[[int], Any]:
    """Calls with five numbers, nothing else in the loop."""
    x1, x2, w1, w2, b = POINT

    def run(count: int) -> Any:
        found = None
        for _ in repeat(None, count):
            found = call(x1, x2, w1, w2, b)
        return found

    return run


def by_name(call: Callable[..., Any]) -> Callable[[int], Any]:
    """The same with keywords."""
    x1, x2, w1, w2, b = POINT

    def run(count: int) -> Any:
        found = None
        for _ in repeat(None, count):
            found = call(x1=x1, x2=x2, w1=w1, w2=w2, b=b)
        return found

    return run


def by_symgrad(case: Case) -> Contestant:
    """Positionally, with ``wrt=[…]``: a float and a tuple."""
    import symgrad as sg

    begun = time.perf_counter()
    symbols = dict(zip(NAMES, sg.symbols(" ".join(NAMES)), strict=True))
    f = sg.compile(expression(sg.tanh, **symbols), list(symbols.values()), wrt=[symbols[n] for n in WRT])
    return contest(positionally(f.value_and_grad), lambda r: r, begun)


def by_symgrad_dict(case: Case) -> Contestant:
    """With keywords; the gradient is a dict of all five."""
    import symgrad as sg

    begun = time.perf_counter()
    f = sg.compile(expression(sg.tanh, *sg.symbols(" ".join(NAMES))))
    return contest(by_name(f.value_and_grad), lambda r: (r[0], [r[1][n] for n in WRT]), begun)


def by_numba(case: Case) -> Contestant:
    """A bare dispatcher call: the function and its gradient written by hand."""
    import numba

    begun = time.perf_counter()
    return contest(positionally(numba.njit(by_hand(math.tanh))), lambda r: r, begun)


def by_python(case: Case) -> Contestant:
    return contest(positionally(by_hand(math.tanh)), lambda r: r, None)


def by_symengine(case: Case, backend: str) -> Contestant:
    import symengine

    begun = time.perf_counter()
    symbols = symengine.symbols(" ".join(NAMES))
    y = expression(symengine.tanh, *symbols)
    call = symengine.Lambdify(symbols, [y, *(y.diff(s) for s in symbols[2:])], backend=backend, cse=True)
    point = np.array(POINT)
    return contest(positionally(lambda *numbers: call(point)), lambda r: (r[0], r[1:]), begun)


def by_casadi(case: Case) -> Contestant:
    import casadi

    begun = time.perf_counter()
    symbols = [casadi.SX.sym(name) for name in NAMES]
    y = expression(casadi.tanh, *symbols)
    call = casadi.Function("f", symbols, [y, *(casadi.jacobian(y, s) for s in symbols[2:])])
    return contest(positionally(call), lambda r: (r[0], r[1:]), begun)


def by_jax(case: Case) -> Contestant:
    import jax

    jax.config.update("jax_enable_x64", True)
    begun = time.perf_counter()
    call = jax.jit(jax.value_and_grad(partial(expression, jax.numpy.tanh), argnums=(2, 3, 4)))
    return contest(positionally(lambda *numbers: jax.block_until_ready(call(*numbers))), lambda r: r, begun)


def by_torch(case: Case) -> Contestant:
    import torch

    torch.set_num_threads(1)
    x1, x2, *weights = (torch.tensor(v, dtype=torch.float64) for v in POINT)
    for weight in weights:
        weight.requires_grad_()

    def call(*numbers: float) -> Any:
        y = expression(torch.tanh, x1, x2, *weights)
        return y, torch.autograd.grad(y, weights)

    return contest(positionally(call), lambda r: (r[0].detach(), r[1]), None)


WORKLOAD = Workload(
    "neuron-call", "value and gradient of one neuron, a Python call with five numbers", cases,
    {
        "symgrad": by_symgrad, "symgrad dict": by_symgrad_dict, "numba": by_numba, "python": by_python, "casadi": by_casadi,
        "symengine": partial(by_symengine, backend="lambda"), "symengine llvm": partial(by_symengine, backend="llvm"),
        "jax": by_jax, "torch": by_torch,
    },
)  # fmt: skip
