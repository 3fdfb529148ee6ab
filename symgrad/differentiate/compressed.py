"""COMPRESSED: products of a Jacobian with sums of its columns or rows, one for each colour.

``palette`` lists the colours and gives the leading axis; a symbol of each node's (or result's) shape says which colour
every element has. The directions themselves are never stored: they are comparisons of the two.
"""

from __future__ import annotations

from collections.abc import Sequence

from symgrad import dims
from symgrad.differentiate.forward import fresh_symbol, push_forward, zeros
from symgrad.differentiate.reverse import pull_back
from symgrad.differentiate.vectorize import vectorize
from symgrad.dims import Shape
from symgrad.expr import Expr
from symgrad.ops.movement import do, reshape_to

__all__ = ["column_products", "row_products"]


def column_products(results: Sequence[Expr], nodes: Sequence[Expr], colours: Sequence[Expr], palette: Expr) -> Expr:
    """The derivatives of all results along the nodes' elements of a colour: colours × elements of the results."""
    directions = {node: fresh_symbol("tangent", node) for node in nodes}
    tangents = push_forward([r for r in results if r.kind == "real"], directions)
    found = iter(tangents)
    moved = [next(found) if r.kind == "real" else None for r in results]
    stacked = {directions[node]: _members(colour, palette) for node, colour in zip(nodes, colours, strict=True)}
    return _side_by_side(moved, results, stacked, palette.shape)


def row_products(results: Sequence[Expr], nodes: Sequence[Expr], colours: Sequence[Expr], palette: Expr) -> Expr:
    """The gradients of the sums of the results' elements of a colour: colours × elements of the nodes."""
    seeds = {r: fresh_symbol("cotangent", r) for r in results if r.kind == "real"}
    stacked = {seeds[r]: _members(colour, palette) for r, colour in zip(results, colours, strict=True) if r in seeds}
    return _side_by_side(pull_back(list(seeds.items()), nodes), nodes, stacked, palette.shape)


def _members(colour: Expr, palette: Expr) -> Expr:
    """1 where an element has the colour, else 0: axes of colours, then the elements'."""
    own = do("equal", reshape_to(colour, (1, *colour.shape)), reshape_to(palette, (*palette.shape, *[1] * colour.ndim)))
    return do("where", own, 1.0, 0.0)


def _side_by_side(parts: Sequence[Expr | None], like: Sequence[Expr], stacked: dict[Expr, Expr], lead: Shape) -> Expr:
    given = [zeros(node.shape) if part is None else part for part, node in zip(parts, like, strict=True)]
    flat = [reshape_to(e, (*lead, dims.total(e.shape[len(lead) :]))) for e in vectorize(given, stacked, lead)]
    return flat[0] if len(flat) == 1 else do("concatenate", *flat, axis=-1)
