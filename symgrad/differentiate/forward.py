"""The forward sweep: from tangents of what an expression is made of to the tangent of the expression.

Elementwise rules are diagonal, so the reverse rule with the tangent as ``g`` is the forward rule; a linear op
passes a tangent through itself, a contraction is bilinear, and every other rule is turned around by
differentiating it once more: it is linear in ``g`` (the double-vjp trick).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from symgrad.differentiate.masks import add_up
from symgrad.differentiate.reverse import active_nodes, pull_back, rule_entries
from symgrad.expr import CONSTANT, Expr, apply, constant, rebuild, symbol, topological
from symgrad.ops.movement import BROADCAST_TO, do

__all__ = ["fresh_symbol", "push_forward", "zeros"]


def zeros(shape: Sequence[int | str]) -> Expr:
    """A zero, or zeros of this shape as a broadcast constant."""
    return constant(0.0) if not shape else apply(BROADCAST_TO, constant(0.0), shape=tuple(shape))


def fresh_symbol(name: str, node: Expr) -> Expr:
    """A symbol of the node's shape that no expression of the user's can contain."""
    return symbol(name, node.shape, tag=b"differentiate" + node.key)


def push_forward(roots: Sequence[Expr], tangents: Mapping[Expr, Expr]) -> list[Expr | None]:
    """The tangent of each root, given those of some nodes; ``None`` where none arrives."""
    order = topological(*roots)
    active = active_nodes(order, tangents)
    found: dict[Expr, Expr] = {}
    for node in order:
        if node not in active:
            continue
        reached = any(a in found for a in node.args) and node.op.name != "stop_gradient"
        through = _tangent(node, [found.get(a) for a in node.args]) if reached else None
        terms = [t for t in (through, tangents.get(node)) if t is not None]
        if terms:
            found[node] = add_up(terms)
    return [found.get(r) for r in roots]


def _tangent(node: Expr, tangents: Sequence[Expr | None]) -> Expr | None:
    if node.op.name == "where":
        branches = [t if t is not None else constant(0.0) for t in tangents[1:]]
        return _in_shape(do("where", node.args[0], *branches), node)
    if node.op.linear and node.op.family != "elementwise":
        moved = [t if t is not None else (zeros(a.shape) if a.kind == "real" else a) for t, a in zip(tangents, node.args, strict=True)]
        return rebuild(node, moved)
    if node.op.name == "contract":
        a, b = node.args
        ta, tb = tangents
        products = [do("contract", *pair, **node.params) for pair in ((ta, b), (a, tb)) if pair[0] is not None and pair[1] is not None]
        return add_up(products)
    if node.op.family == "elementwise":
        entries = [rule_entries(node, t)[k] for k, t in enumerate(tangents) if t is not None]
        terms = [e for e in entries if e is not None]
        return _in_shape(add_up(terms), node) if terms else None
    return _turned_around(node, tangents)


def _in_shape(tangent: Expr, node: Expr) -> Expr:
    return tangent if tangent.shape == node.shape else apply(BROADCAST_TO, tangent, shape=node.shape)


def _turned_around(node: Expr, tangents: Sequence[Expr | None]) -> Expr | None:
    """The rule gives ``x̄ = Jᵀ g``; the derivative of ``x̄·t`` with respect to ``g`` is ``J t``."""
    g = fresh_symbol("cotangent", node)
    seeds = [(e, t) for e, t in zip(rule_entries(node, g), tangents, strict=True) if e is not None and t is not None]
    (tangent,) = pull_back([(e, _in_shape(t, e)) for e, t in seeds], [g]) if seeds else (None,)
    return tangent


def is_zero(expr: Expr) -> bool:
    """A zero, or zeros broadcast."""
    while expr.op is BROADCAST_TO:
        expr = expr.args[0]
    return expr.op is CONSTANT and not expr.shape and expr.params["value"] == 0
