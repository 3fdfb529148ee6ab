"""NORMS: local rules for lengths and directions: ``x/norm(x)``, which is 0 where ``x`` is."""

from __future__ import annotations

from symgrad.expr import Expr, constant, symbol
from symgrad.ops.movement import reshape_to
from symgrad.simplify.rewriting import CHEAPER, Rule, do, number, see

__all__ = ["NORMS", "without_factor"]

_DEPTH = 4  # products in products that a factor is looked for in


def without_factor(e: Expr, factor: Expr, depth: int = _DEPTH) -> Expr | None:
    """The product without one of its factors (of a power one less), ``None`` where it has no such factor."""
    if see(e) is factor:
        return constant(1)
    name = e.op.name
    if depth == 0 or name not in ("mul", "div", "neg", "pow", "reshape"):
        return None
    if name == "reshape":
        if factor.op.name != name or (factor.shape, factor.args[0].shape) != (e.shape, e.args[0].shape):
            return None
        rest = without_factor(e.args[0], see(factor.args[0]), depth - 1)
        return rest if rest is None or number(rest) is not None else reshape_to(rest, e.shape)
    if name == "pow":
        exponent = number(e.args[1])
        if see(e.args[0]) is not factor or exponent is None or exponent < 2 or exponent != int(exponent):
            return None
        return factor if exponent == 2 else do("pow", factor, constant(int(exponent) - 1))
    for k, a in enumerate(e.args if name == "mul" else e.args[:1]):
        rest = without_factor(a, factor, depth - 1)
        if rest is not None:
            return _in_place_of(e, k, rest)
    return None


def _in_place_of(product: Expr, k: int, rest: Expr) -> Expr:
    """A product with another ``k``-th operand; a factor 1 is left out."""
    if product.op.name == "mul" and number(rest) == 1:
        return product.args[1 - k]
    return do(product.op.name, *[rest if j == k else a for j, a in enumerate(product.args)])


def _is_length(e: Expr) -> bool:
    """A norm, or norms that stand along other axes."""
    e = see(e)
    return (e.args[0] if e.op.name == "reshape" else e).op.name == "norm"


def _norm_times_direction(e: Expr) -> Expr | None:
    """``2*norm(x)*(x/norm(x))`` is ``2*x``, also where ``x`` is 0."""
    for direction, other in (e.args[::-1], e.args):
        if direction.op.name == "ratio" and _is_length(direction.args[1]):
            rest = without_factor(other, see(direction.args[1]))
            if rest is not None:
                return direction.args[0] if number(rest) == 1 else do("mul", rest, direction.args[0])
    return None


def _ratio_cancels(e: Expr) -> Expr | None:
    """``(2*norm(x)*A)/norm(x)`` is ``2*A``."""
    above, below = e.args
    return without_factor(above, see(below)) if _is_length(below) else None


def _length_and_direction() -> tuple[Expr, Expr]:
    v = symbol("v", 3)
    length = do("norm", v, axes=(-1,), keepdims=False)
    return length, do("ratio", v, length)


NORMS: tuple[Rule, ...] = (
    Rule("norm times direction",   CHEAPER,  ("mul",),      _norm_times_direction,
         lambda: do("mul", 2 * _length_and_direction()[0], _length_and_direction()[1]), tensors=True, look=lambda a, b: "ratio" in (a, b)),
    Rule("ratio cancels",          CHEAPER,  ("ratio",),    _ratio_cancels,
         lambda: do("ratio", _length_and_direction()[0] * symbol("w", 3), _length_and_direction()[0]), tensors=True,
         look=lambda a, b: a in ("mul", "div", "neg")),
)  # fmt: skip
