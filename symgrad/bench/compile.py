"""The compile workload: seconds from an expression to its first gradient, and to the first epoch of training, with nothing remembered.

Every figure is of a new process with an empty cache folder. Its imports and the first compilation that numba (or XLA) makes in a process,
of another formula, come before; SymPy's work is in it. "symgrad unimported" has SymPy's import in it, too, if it is made.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np

from symgrad.bench import fresh
from symgrad.bench.problems import PROBLEMS, data, jax_loss, start, symgrad_loss
from symgrad.bench.records import Bar, Case, Contestant, Workload, at_most, at_most_seconds

__all__ = ["WORKLOAD"]

RATE = 0.01
POINT = {"x1": 2.0, "x2": 0.0, "w1": -3.0, "w2": 1.0, "b": 6.8813735870195432}
LIMITS = {"neuron": 0.25, "moons": 0.5, "digits": 0.6}


def cases(full: bool) -> Sequence[Case]:
    return [_case(problem, until) for problem in LIMITS for until in (("gradient",) if problem == "neuron" else ("gradient", "epoch"))]


def _case(problem: str, until: str) -> Case:
    bars: list[Bar] = [at_most_seconds(LIMITS[problem])]
    if problem != "neuron":
        bars.append(at_most(1.3, "jax"))
    return Case(f"{problem} {until}", {"problem": problem, "until": until}, unit="compilation", bars=tuple(bars), rounds=3, tolerance=1e-6)


# --- in the new process ----------------------------------------------------------------------------


def symgrad_seconds(problem: str, until: str, before: Sequence[str]) -> dict[str, Any]:
    """``before``: packages that are imported before the clock starts."""
    import symgrad as sg

    for package in before:
        import_module(package)
    a, b = sg.symbols("a b")
    sg.compile(a * b + 1, cache=False).value_and_grad(2.0, 3.0)
    x, t = data(PROBLEMS[problem]) if problem in PROBLEMS else (np.zeros(0), np.zeros(0))
    begun = time.perf_counter()
    if problem == "neuron":
        symbols = {name: sg.symbol(name) for name in POINT}
        x1, x2, w1, w2, bias = symbols.values()
        f = sg.compile(sg.tanh(x1 * w1 + x2 * w2 + bias))
        value, gradients = f.value_and_grad(**POINT)
        return _answer(begun, value, gradients)
    loss, parameters = symgrad_loss(PROBLEMS[problem])
    if until == "gradient":
        f = sg.compile(loss, wrt=parameters)
        value, gradients = f.value_and_grad(x=x, t=t, **start(PROBLEMS[problem]))
        return _answer(begun, value, dict(zip([p.name for p in parameters], gradients)))
    optimizer = sg.optim.Adam(RATE) if PROBLEMS[problem].classes else sg.optim.SGD(RATE)
    fit = sg.fit(loss, start(PROBLEMS[problem]), {"x": x, "t": t}, optimizer=optimizer, epochs=1, batch_size=PROBLEMS[problem].batch,
                 shuffle=False, progress=False)
    return _answer(begun, fit.history["loss"][0], fit.params)


def jax_seconds(problem: str, until: str) -> dict[str, Any]:
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    float(jax.jit(jax.grad(lambda a: a * a + 1))(2.0))
    x, t = data(PROBLEMS[problem]) if problem in PROBLEMS else (np.zeros(0), np.zeros(0))
    begun = time.perf_counter()
    if problem == "neuron":
        neuron = jax.jit(jax.value_and_grad(lambda p: jnp.tanh(p["x1"] * p["w1"] + p["x2"] * p["w2"] + p["b"])))
        return _answer(begun, *jax.block_until_ready(neuron(POINT)))
    loss = jax_loss(PROBLEMS[problem])
    if until == "gradient":
        return _answer(begun, *jax.block_until_ready(jax.jit(jax.value_and_grad(loss))(start(PROBLEMS[problem]), x, t)))
    return _answer(begun, *jax.block_until_ready(_jax_epoch(problem, loss)(start(PROBLEMS[problem]), x, t)))


def _jax_epoch(problem: str, loss: Any) -> Any:
    """One epoch in one compiled call: ``scan`` over the minibatches."""
    import jax
    import jax.numpy as jnp
    from jax import lax

    batch, adam = PROBLEMS[problem].batch, PROBLEMS[problem].classes

    def step(carry: Any, samples: Any) -> Any:
        p, m, v, k = carry
        value, g = jax.value_and_grad(loss)(p, *samples)
        if not adam:
            return ({n: p[n] - RATE * g[n] for n in p}, m, v, k), value
        k = k + 1
        m = {n: 0.9 * m[n] + 0.1 * g[n] for n in p}
        v = {n: 0.999 * v[n] + 0.001 * g[n] ** 2 for n in p}
        p = {n: p[n] - RATE / (1 - 0.9**k) * m[n] / (jnp.sqrt(v[n] / (1 - 0.999**k)) + 1e-8) for n in p}
        return (p, m, v, k), value

    def epoch(p: Any, x: Any, t: Any) -> Any:
        zeros = {n: jnp.zeros_like(a) for n, a in p.items()}
        batches = [a.reshape(-1, batch, *a.shape[1:]) for a in (x, t)]
        (p, *_), values = lax.scan(step, (p, zeros, zeros, 0.0), tuple(batches))
        return jnp.mean(values), p

    return jax.jit(epoch)


def _answer(begun: float, value: Any, arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Seconds until now; and of every array, how much there is of it."""
    seconds = time.perf_counter() - begun
    return {"seconds": seconds, "value": float(value), **{n: float(np.abs(np.asarray(a)).sum()) for n, a in arrays.items()}}


# --- contestants -----------------------------------------------------------------------------------


def _contestant(function: str, *more: Any) -> Callable[[Case], Contestant]:
    def make(case: Case) -> Contestant:
        given = (case.parameters["problem"], case.parameters["until"], *more)

        def once() -> dict[str, Any]:
            with tempfile.TemporaryDirectory() as folder:
                return dict(fresh.call(__name__, function, *given, environment={"SYMGRAD_CACHE_DIR": folder}).answer)

        first = cache(once)

        def result() -> dict[str, Any]:
            return {name: value for name, value in first().items() if name != "seconds"}

        return Contestant(None, result, measure=lambda: float(once()["seconds"]))

    return make


WORKLOAD = Workload(
    "compile", "cold: seconds from an expression to its first gradient and first epoch", cases,
    {"symgrad": _contestant("symgrad_seconds", ["sympy"]), "symgrad unimported": _contestant("symgrad_seconds", []),
     "jax": _contestant("jax_seconds")}, quick=False,
)  # fmt: skip
