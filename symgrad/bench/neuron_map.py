"""The neuron-map workload: value and gradient of one neuron at many points, every input an array, in double precision.

What a call costs beside the arithmetic is left out where it would count: at 1,000 points JAX loops inside its compiled program and
symgrad (``f.jit``) and numba inside a function that numba compiles. All of these write every turn's results over the last one's: JAX
into the buffers that its loop carries, symgrad and numba into given arrays; so does symgrad at 1,000,000 points, called from Python.
So that no turn can be left out, the input b is another in each. "symgrad call" and "jax call" are plain Python calls, arrays in, new
arrays out.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from symgrad.bench.neuron import NAMES, WRT, by_hand, expression
from symgrad.bench.records import Case, Contestant, Workload, at_most

__all__ = ["WORKLOAD"]

Array = np.ndarray[Any, Any]
SHIFT = 1e-3  # of b, from turn to turn
LARGE = 100_000  # points: out of the caches
OUTPUTS = ("value", *WRT)


def cases(full: bool) -> Sequence[Case]:
    return [_case(points, limit) for points, limit in ((1_000, 0.7), (1_000_000, 1.0))]


def _case(points: int, limit: float) -> Case:
    moved = 8.0 * points * (len(NAMES) + len(OUTPUTS)) if points > LARGE else 0.0
    return Case(f"{points:,} points", {"points": points}, unit="map", tolerance=1e-12, moved=moved, bars=(at_most(limit, "jax"),))


def arguments(case: Case) -> dict[str, Array]:
    rng = np.random.default_rng(0)
    return {name: rng.standard_normal(case.parameters["points"]) for name in NAMES}


def contest(turns: Callable[[int], Any], begun: float | None) -> Contestant:
    """``turns(count)``: as many maps, in the k-th of which b is greater by k times ``SHIFT``; the outputs of the last."""
    turns(1)
    seconds = 0.0 if begun is None else time.perf_counter() - begun
    return Contestant(turns, lambda: dict(zip(OUTPUTS, map(_copied, turns(3)), strict=True)), seconds)


def _copied(values: Any) -> Array:
    return np.asarray(values).copy()


def _expressions() -> tuple[Any, list[Any]]:
    """A list of outputs over arrays, and its inputs; the last is the shift."""
    import symgrad as sg

    inputs = [*(sg.symbol(name, "n") for name in NAMES), sg.symbol("shift")]
    x1, x2, w1, w2, b, shift = inputs
    y = expression(sg.tanh, x1, x2, w1, w2, b + shift)
    return [y, *sg.grad(y.sum(), [w1, w2, b])], inputs


def by_symgrad(case: Case) -> Contestant:
    """Inside a compiled function, or, where a call does not count, called from Python; results are written into given arrays."""
    import numba

    import symgrad as sg

    arrays = list(arguments(case).values())
    out = tuple(np.empty_like(arrays[0]) for _ in OUTPUTS)
    begun = time.perf_counter()
    f = sg.compile(*_expressions())
    if case.parameters["points"] > LARGE:

        def turns(count: int) -> Any:
            for k in range(count):
                f(*arrays, k * SHIFT, out=list(out))
            return out

        return contest(turns, begun)
    jit = f.jit

    @numba.njit  # type: ignore[untyped-decorator]  # numba has no types
    def loop(count: int, x1: Array, x2: Array, w1: Array, w2: Array, b: Array, out: tuple[Array, Array, Array, Array]) -> Any:
        for k in range(count):
            jit(x1, x2, w1, w2, b, k * SHIFT, out)
        return out

    return contest(lambda count: loop(count, *arrays, out), begun)


def by_symgrad_call(case: Case) -> Contestant:
    """A formula of scalars, called with arrays."""
    import symgrad as sg

    *arrays, b = arguments(case).values()
    begun = time.perf_counter()
    symbols = dict(zip(NAMES, sg.symbols(" ".join(NAMES)), strict=True))
    f = sg.compile(expression(sg.tanh, **symbols), list(symbols.values()), wrt=[symbols[n] for n in WRT])
    return contest(_calls(lambda b: f.value_and_grad(*arrays, b), b, case), begun)


def _calls(call: Callable[[Array], Any], b: Array, case: Case) -> Callable[[int], Any]:
    """Calls from Python: b is shifted beforehand, as often as results are looked at, and then stays as it is."""
    shifted = [b + k * SHIFT for k in range(3)]

    def turns(count: int) -> Any:
        found: Any = None
        for k in range(count):
            found = call(shifted[min(k, 2)])
        return found[0], *found[1]

    return turns


def by_jax(case: Case) -> Contestant:
    """``vmap`` and ``jit``, the loop inside."""
    import jax
    import jax.numpy as jnp
    from jax import lax

    jax.config.update("jax_enable_x64", True)

    x1, x2, w1, w2, b = (jnp.asarray(a) for a in arguments(case).values())
    begun = time.perf_counter()
    mapped = jax.vmap(jax.value_and_grad(partial(expression, jnp.tanh), argnums=(2, 3, 4)))

    def body(k: Any, found: Any) -> Any:
        return mapped(x1, x2, w1, w2, b + k * SHIFT)

    loop = jax.jit(lambda count: lax.fori_loop(0, count, body, (b, (b, b, b))))

    def turns(count: int) -> Any:
        value, gradients = jax.block_until_ready(loop(count))
        return value, *gradients

    return contest(turns, begun)


def by_jax_call(case: Case) -> Contestant:
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    *arrays, b = (jnp.asarray(a) for a in arguments(case).values())
    begun = time.perf_counter()
    call = jax.jit(jax.vmap(jax.value_and_grad(partial(expression, jnp.tanh), argnums=(2, 3, 4))))
    return contest(_calls(lambda b: jax.block_until_ready(call(*arrays, b)), b, case), begun)


def by_numba(case: Case) -> Contestant:
    """A loop over the points, by hand."""
    import numba

    arrays = list(arguments(case).values())
    out = [np.empty_like(arrays[0]) for _ in OUTPUTS]
    begun = time.perf_counter()
    one = numba.njit(by_hand(math.tanh))

    @numba.njit(fastmath=True, error_model="numpy")  # type: ignore[untyped-decorator]
    def loop(count: int, x1: Array, x2: Array, w1: Array, w2: Array, b: Array, y: Array, g1: Array, g2: Array, g3: Array) -> None:
        for k in range(count):
            for i in range(len(x1)):
                y[i], (g1[i], g2[i], g3[i]) = one(x1[i], x2[i], w1[i], w2[i], b[i] + k * SHIFT)

    def turns(count: int) -> Any:
        loop(count, *arrays, *out)
        return out

    return contest(turns, begun)


def by_numpy(case: Case) -> Contestant:
    *arrays, b = arguments(case).values()
    return contest(_calls(lambda b: by_hand(np.tanh)(*arrays, b), b, case), None)


def by_torch(case: Case) -> Contestant:
    import torch

    torch.set_num_threads(case.threads)
    x1, x2, w1, w2, b = (torch.tensor(a) for a in arguments(case).values())
    w1.requires_grad_()
    w2.requires_grad_()
    shifted = [(b + k * SHIFT).requires_grad_() for k in range(3)]

    def turns(count: int) -> Any:
        found: Any = None
        for k in range(count):
            shift = shifted[min(k, 2)]
            y = expression(torch.tanh, x1, x2, w1, w2, shift)
            found = y.detach(), *torch.autograd.grad(y.sum(), (w1, w2, shift))
        return [tensor.numpy() for tensor in found]

    return contest(turns, None)


WORKLOAD = Workload(
    "neuron-map", "value and gradient of one neuron at many points", cases,
    {
        "symgrad": by_symgrad, "symgrad call": by_symgrad_call, "jax": by_jax, "jax call": by_jax_call, "numba": by_numba,
        "numpy": by_numpy, "torch": by_torch,
    },
)  # fmt: skip
