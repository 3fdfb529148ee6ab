"""Derivatives against central differences, along random directions: one comparison an order, whatever the shapes.

The idea is ``check_grads`` of HIPS/autograd's ``test_util.py``: project the result on a random vector, move all
inputs along another, and compare; then take the derivative found as the next thing to differentiate.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from symgrad import dims
from symgrad.differentiate.forward import fresh_symbol, push_forward
from symgrad.differentiate.masks import add_up
from symgrad.differentiate.reverse import pull_back
from symgrad.evaluate import bind_sizes, evaluate
from symgrad.expr import Array, Expr, ExprLike, as_expr, constant, free_symbols
from symgrad.ops.movement import do
from symgrad.ops.reduce import sum

__all__ = ["check_grads"]

_STEP = np.finfo(float).eps ** 0.2  # balances the h⁴ error of the formula below with rounding


def check_grads(expr: ExprLike, at: Mapping[Any, Any], order: int = 2, *, tolerance: float = 1e-6, seed: int = 0) -> None:
    """Compares reverse and forward derivatives with central differences, up to ``order``.

    ``at``: symbol (or its name) → value; every real symbol of ``expr`` is moved. ``tolerance`` is relative to
    the larger of the derivative, the function's size and 1. Raises ``AssertionError`` with the numbers.

    >>> import symgrad as sg
    >>> x = sg.symbol("x")
    >>> sg.check_grads(sg.sin(x)*x, {x: 0.7})
    """
    expr = as_expr(expr)
    inputs = [s for s in free_symbols(expr) if s.kind == "real"]
    values = {s: np.asarray(at[s] if s in at else at[s.name]) for s in free_symbols(expr)}
    sizes = bind_sizes(values)
    random = np.random.default_rng(seed)

    def draw(shape: dims.Shape) -> Array:
        numbers = dims.evaluate_shape(shape, sizes)
        return np.asarray(random.uniform(0.5, 1.5, numbers) * random.choice([-1.0, 1.0], numbers))

    weights = fresh_symbol("weights", expr)
    values[weights] = draw(expr.shape)
    scalar = sum(expr * weights)
    for level in range(1, order + 1):
        moves = {s: fresh_symbol(f"direction{level}_{k}", s) for k, s in enumerate(inputs)}
        values.update({v: draw(v.shape) for v in moves.values()})
        reverse = _along(pull_back([(scalar, constant(1.0))], inputs), list(moves.values()))
        (forward,) = push_forward([scalar], moves)
        by_reverse, by_forward = (float(evaluate(e, values, sizes=sizes)) for e in (reverse, constant(0.0) if forward is None else forward))
        numeric = _central_difference(scalar, values, {s: values[v] for s, v in moves.items()}, sizes)
        size = max(1.0, abs(numeric), abs(float(evaluate(scalar, values, sizes=sizes))))
        for mode, found in (("reverse", by_reverse), ("forward", by_forward)):
            if not abs(found - numeric) <= tolerance * size:
                raise AssertionError(
                    f"order {level}, {mode} mode: derivative {found!r}, central difference {numeric!r}, difference {found - numeric:.3g}"
                )
        scalar = reverse


def _along(gradients: list[Expr | None], directions: list[Expr]) -> Expr:
    """The derivative along directions, from the gradient."""
    terms = [sum(do("mul", g, v)) for g, v in zip(gradients, directions, strict=True) if g is not None]
    return add_up(terms) if terms else constant(0.0)


def _central_difference(scalar: Expr, values: Mapping[Expr, Array], moves: Mapping[Expr, Array], sizes: Mapping[str, int]) -> float:
    """``(8(f(h) - f(-h)) - (f(2h) - f(-2h)))/(12h)`` (Abramowitz and Stegun, 25.3.6)."""
    scale = _STEP * max([1.0, *(float(np.max(np.abs(values[s]), initial=0.0)) for s in moves)])

    def moved(steps: int) -> float:
        return float(evaluate(scalar, {**values, **{s: values[s] + steps * scale * v for s, v in moves.items()}}, sizes=sizes))

    return (8 * (moved(1) - moved(-1)) - (moved(2) - moved(-2))) / (12 * scale)
