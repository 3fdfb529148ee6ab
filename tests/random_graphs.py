"""Random expressions over a fixed set of inputs: what the agreement tests feed to every back end.

A graph is grown from a list of choices (``choose(k)`` gives a number below ``k``), so that hypothesis can
shrink it and a seeded generator can make thousands. Values stay moderate: functions are bounded or tamed.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

import symgrad as sg
from symgrad.expr import Expr

Choose = Callable[[int], int]

N = 7  # size of the dimension "n" in the values below


def inputs() -> dict[str, Expr]:
    """The symbols that graphs are made of."""
    return {
        "a": sg.symbol("a"), "b": sg.symbol("b"), "u": sg.symbol("u", (3,)), "w": sg.symbol("w", (4,)),
        "A": sg.symbol("A", (3, 4)), "B": sg.symbol("B", (4, 3)), "T": sg.symbol("T", (2, 3, 4)),
        "x": sg.symbol("x", ("n", 3)), "y": sg.symbol("y", ("n", 4)), "t": sg.symbol("t", ("n",)),
        "k": sg.symbol("k", ("n",), integer=True), "i": sg.symbol("i", (5,), integer=True),
    }  # fmt: skip


def values(seed: int, n: int = N) -> dict[str, np.ndarray]:
    """Arrays for the symbols."""
    rng = np.random.default_rng(seed)
    shapes = {"a": (), "b": (), "u": (3,), "w": (4,), "A": (3, 4), "B": (4, 3), "T": (2, 3, 4), "x": (n, 3), "y": (n, 4), "t": (n,)}
    drawn = {name: np.asarray(rng.uniform(-2, 2, shape)) for name, shape in shapes.items()}
    return {**drawn, "k": rng.integers(0, 3, n), "i": rng.integers(-3, 3, 5)}


SMOOTH = (
    sg.tanh, sg.sin, sg.cos, sg.sigmoid, sg.atan, sg.softplus, sg.erf, sg.gelu, sg.silu, lambda e: sg.exp(sg.tanh(e)),
    lambda e: sg.log(1.5 + sg.square(sg.tanh(e))), lambda e: sg.sqrt(1.0 + e * e), lambda e: 1 / (2 + sg.cos(e)), lambda e: -e,
    lambda e: sg.tanh(e) ** 3, lambda e: e.named("h"),
)  # fmt: skip
KINKED = (sg.relu, sg.abs, lambda e: sg.where(e > 0.25, e, 0.5 * e), lambda e: sg.clip(e, -1.0, 1.0), sg.leaky_relu, sg.elu)
BINARY = (
    lambda p, q: p + q, lambda p, q: p - q, lambda p, q: p * q, lambda p, q: p / (2.5 + sg.tanh(q)), lambda p, q: sg.hypot(1 + p * p, q),
)  # fmt: skip
KINKED_BINARY = (sg.maximum, sg.minimum, lambda p, q: sg.where(p < q, p, 2 * q))


def grow(choose: Choose, depth: int, smooth: bool = False) -> Expr:
    """A scalar expression: up to ``depth`` steps, then a sum of a bounded function of what came out."""
    pool = [e for e in inputs().values() if e.kind == "real"]
    for _ in range(1 + choose(depth)):
        new = _step(choose, pool, smooth)
        if new is not None and new.ndim <= 4:
            pool.append(new)
    last = pool[-1]
    return sg.sum(sg.tanh(last)) if last.shape else sg.sin(last)


def _step(choose: Choose, pool: list[Expr], smooth: bool) -> Expr | None:
    unary = SMOOTH if smooth else SMOOTH + KINKED
    binary = BINARY if smooth else BINARY + KINKED_BINARY
    recent = pool[-1 - choose(min(len(pool), 12))]
    kind = choose(10)
    if kind <= 1:
        return unary[choose(len(unary))](recent)
    if kind <= 4:
        partners = [q for q in pool if _broadcast(recent, q)]
        return binary[choose(len(binary))](recent, partners[choose(len(partners))])
    if kind == 5:
        return _reduce(choose, recent)
    if kind == 6:
        flat = [q for q in pool if q.ndim in (1, 2)] if recent.ndim in (1, 2) else []
        partners = [q for q in flat if recent.shape[-1] == q.shape[-2 if q.ndim > 1 else 0]]
        return sg.tanh(recent) @ sg.tanh(partners[choose(len(partners))]) if partners else None
    if kind == 7:
        return _move(choose, recent)
    if kind == 8:
        return _index(choose, recent)
    return _join(choose, recent, pool)


def _broadcast(p: Expr, q: Expr) -> bool:
    for d, e in zip(reversed(p.shape), reversed(q.shape)):
        if d != e and 1 not in (d, e):
            return False
    return True


def _reduce(choose: Choose, e: Expr) -> Expr | None:
    if not e.ndim:
        return None
    axis, keep = choose(e.ndim), bool(choose(2))
    reducers = (
        lambda: e.sum(axis, keep), lambda: e.mean(axis, keep), lambda: sg.logsumexp(e, axis, keep), lambda: sg.softmax(e, axis),
        lambda: sg.log_softmax(e, axis), lambda: sg.norm(1 + e * e, axis=axis), lambda: sg.max(sg.sin(e), axis, keep),
        lambda: sg.cumsum(sg.tanh(e), axis),
        lambda: sg.var(e, axis), lambda: sg.prod(sg.tanh(e), axis) if isinstance(e.shape[axis], int) else e.sum(axis), lambda: e.sum(),
    )  # fmt: skip
    return reducers[choose(len(reducers))]()


def _move(choose: Choose, e: Expr) -> Expr | None:
    if not e.ndim:
        return sg.stack([e, 2 * e, sg.sin(e)])
    moves = [lambda: e.T, lambda: e[None], lambda: sg.flip(e, axis=choose(e.ndim)) if isinstance(e.shape[-1], int) else e]
    if all(isinstance(d, int) for d in e.shape):
        moves.append(lambda: e.reshape(-1))
    if isinstance(e.shape[-1], int):
        moves.append(lambda: sg.pad(e, [(0, 0)] * (e.ndim - 1) + [(1, 2)]))
    return moves[choose(len(moves))]()


def _index(choose: Choose, e: Expr) -> Expr | None:
    if not e.ndim:
        return None
    last = e.shape[-1]
    if not isinstance(last, int) or last < 3:
        return e[..., None]
    names = inputs()
    named = any(isinstance(d, str) for d in e.shape)
    cuts = (
        lambda: e[..., 1:], lambda: e[..., ::-1], lambda: e[..., ::2], lambda: e[..., 0], lambda: e[..., -1:],
        lambda: sg.take(e, names["i"], axis=-1), lambda: e[..., 1] if named else sg.take(e, names["k"], axis=-1),
    )  # fmt: skip
    return cuts[choose(len(cuts))]()


def _join(choose: Choose, e: Expr, pool: list[Expr]) -> Expr | None:
    same = [q for q in pool if q.shape == e.shape and e.ndim]
    if not same or not isinstance(e.shape[-1], int):
        return None
    other = same[choose(len(same))]
    return sg.concatenate([e, other], axis=-1) if choose(2) else sg.stack([e, other], axis=-1)
