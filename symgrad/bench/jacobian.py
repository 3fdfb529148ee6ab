"""The jacobian workload: the Jacobian of dense systems of 50 equations, and the Hessian-vector product of the digits network's loss."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from symgrad.bench.problems import PROBLEMS, data, jax_loss, start, symgrad_loss
from symgrad.bench.records import Case, Contestant, Workload, at_most

__all__ = ["WORKLOAD"]

Array = np.ndarray[Any, Any]
SYSTEMS = ("chandrasekhar", "reservoir")
LIMIT = 0.6


def cases(full: bool) -> Sequence[Case]:
    sizes = (10, 50, 200) if full else (50,)
    batches = (32, 1440) if full else (32,)
    bars = (at_most(LIMIT, "jax"),)
    systems = [Case(f"{system} {n}", {"system": system, "n": n}, unit="call", bars=bars) for system in SYSTEMS for n in sizes]
    return [*systems, *(Case(f"hvp of digits, batch {batch}", {"batch": batch}, unit="call", bars=bars) for batch in batches)]


# --- systems ---------------------------------------------------------------------------------------


def known(system: str, n: int) -> list[Array]:
    """The point, and the data."""
    rng = np.random.default_rng(n)
    x = rng.uniform(0.5, 1.5, n)
    if system == "chandrasekhar":
        mu = (np.arange(n) + 0.5) / n
        return [x, mu[:, None] / (mu[:, None] + mu) / n]
    return [x, rng.normal(size=(n, n)) / np.sqrt(n), rng.normal(size=(n, n)) / np.sqrt(n), rng.normal(size=n)]


def residual(system: str, m: Any, x: Any, given: Sequence[Any]) -> Any:
    """``n`` equations in ``n`` unknowns, written for any array library with ``tanh`` and ``sin``.

    chandrasekhar  the H-equation of radiative transfer, discretised by midpoints (C. T. Kelley, "Iterative methods for
                   linear and nonlinear equations", SIAM 1995, section 5.6)
    reservoir      the steady state of a recurrent network with a quadratic readout
    """
    if system == "chandrasekhar":
        return x - 1 / (1 - 0.45 * (given[0] @ x))
    recurrent, readout, drive = given
    return x - m.tanh(recurrent @ x + drive) - 0.1 * (readout @ m.sin(x)) * x


# --- contestants -----------------------------------------------------------------------------------


def by_symgrad(case: Case) -> Contestant:
    import symgrad as sg

    begun = time.perf_counter()
    if "system" in case.parameters:
        system, given = case.parameters["system"], known(case.parameters["system"], case.parameters["n"])
        x, *rest = [sg.symbol(name, a.shape) for name, a in zip("xabc", given)]
        f = sg.compile(residual(system, sg, x, rest), [x, *rest], wrt=x)
        return _contestant(lambda: f.jacobian(*given), begun)
    problem = PROBLEMS["digits"]
    loss, parameters = symgrad_loss(problem)
    f = sg.compile(loss, wrt=parameters)
    at, v = _digits(case.parameters["batch"])
    direction = tuple(v.values())
    positional = [at[symbol.name] for symbol in f.inputs]
    return _contestant(lambda: f.hvp(*positional, v=direction), begun, list(v))


def by_jax(case: Case) -> Contestant:
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    begun = time.perf_counter()
    if "system" in case.parameters:
        system, given = case.parameters["system"], known(case.parameters["system"], case.parameters["n"])
        own = [jnp.asarray(a) for a in given]
        ways = [jax.jit(way(lambda x, *rest: residual(system, jnp, x, rest))) for way in (jax.jacfwd, jax.jacrev)]
        f = min(ways, key=lambda way: _seconds(lambda: jax.block_until_ready(way(*own))))  # the better of its two modes
        return _contestant(lambda: jax.block_until_ready(f(*own)), begun)
    loss = jax_loss(PROBLEMS["digits"])
    at, v = ({name: jnp.asarray(a) for name, a in part.items()} for part in _digits(case.parameters["batch"]))
    x, t = at.pop("x"), at.pop("t")
    product = jax.jit(lambda p, v, x, t: jax.jvp(lambda q: jax.grad(loss)(q, x, t), (p,), (v,))[1])
    return _contestant(lambda: jax.block_until_ready(product(at, v, x, t)), begun, list(v))


def _digits(batch: int) -> tuple[dict[str, Array], dict[str, Array]]:
    """Weights and samples by name; a direction."""
    weights, (x, t) = start(PROBLEMS["digits"]), data(PROBLEMS["digits"])
    rng = np.random.default_rng(4)
    direction = {name: np.asarray(rng.normal(size=a.shape)) for name, a in weights.items()}
    return {**weights, "x": x[:batch], "t": t[:batch]}, direction


def _contestant(evaluate: Callable[[], Any], begun: float, names: Sequence[str] = ()) -> Contestant:
    evaluate()
    seconds = time.perf_counter() - begun

    def run(count: int) -> None:
        for _ in range(count):
            evaluate()

    def result() -> Any:
        found = evaluate()
        if not names:
            return np.asarray(found)
        return {name: np.asarray(found[name] if isinstance(found, dict) else found[k]) for k, name in enumerate(names)}

    return Contestant(run, result, seconds)


def _seconds(evaluate: Callable[[], Any]) -> float:
    evaluate()
    spent = []
    for _ in range(20):
        begun = time.perf_counter()
        evaluate()
        spent.append(time.perf_counter() - begun)
    return min(spent)


WORKLOAD = Workload(
    "jacobian", "the Jacobian of 50 dense equations, the Hessian-vector product of a network", cases,
    {"symgrad": by_symgrad, "jax": by_jax},
)  # fmt: skip
