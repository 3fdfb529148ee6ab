"""Which axis is the batch: the analysis behind tile kernels.

A tile kernel runs a chunk of the batch through all layers while it is in cache, samples in lanes. That
needs one dimension that runs through the graph untouched: every node either has exactly one axis of it
or none, and only reductions and contractions over it bring samples together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from symgrad import dims
from symgrad.dims import Dim, Shape
from symgrad.expr import CONSTANT, SYMBOL, Expr, topological

__all__ = ["BatchPlan", "contract_letters", "find_batch", "trace_batch"]

REDUCTIONS = ("sum", "prod", "max", "min")


@dataclass(frozen=True)
class BatchPlan:
    """``axis``: node → position of its batch axis (absent: it has none). ``crossing``: nodes that bring samples together.
    ``phase``: for nodes with the axis, the pass over the batch in which they can be computed; for the others, the
    pass after which they are known (-1: before any)."""

    dim: Dim
    axis: dict[Expr, int]
    crossing: set[Expr]
    phase: dict[Expr, int]


def contract_letters(node: Expr) -> tuple[str, str, str]:
    """The letters of the two operands and of the result."""
    operands, result = node.params["spec"].split("->")
    a, b = operands.split(",")
    return a, b, result


class _NotTileable(Exception):
    pass


def find_batch(outputs: Sequence[Expr]) -> BatchPlan | None:
    """The plan for the one dimension that can be the batch, named ones first; ``None`` where there is none."""
    symbols = [n for n in topological(*outputs) if n.op is SYMBOL]
    candidates: dict[Dim, None] = {}
    for s in symbols:
        for d in s.shape:
            if isinstance(d, str):
                candidates[d] = None
    for s in symbols:
        if s.shape and isinstance(s.shape[0], int) and s.shape[0] >= 16 and not any(s.shape[0] in t.shape[1:] for t in symbols):
            candidates[s.shape[0]] = None
    for dim in candidates:
        plan = trace_batch(outputs, dim)
        if plan is not None and plan.crossing:
            return plan
    return None


def trace_batch(outputs: Sequence[Expr], dim: Dim) -> BatchPlan | None:
    """Follows ``dim`` through the graph; ``None`` where it does not stay one untouched axis."""
    axis: dict[Expr, int] = {}
    crossing: set[Expr] = set()
    phase: dict[Expr, int] = {}
    try:
        for node in topological(*outputs):
            where, crosses = _follow(node, dim, axis)
            before = max((phase[a] for a in node.args), default=-1)
            if where is not None:
                axis[node] = where
                # uniform operands known after pass p can be used from pass p + 1 on
                phase[node] = max([0, *(phase[a] if a in axis else phase[a] + 1 for a in node.args)])
            else:
                phase[node] = before
            if crosses:
                crossing.add(node)
    except _NotTileable:
        return None
    return BatchPlan(dim, axis, crossing, phase)


def _only(positions: list[int]) -> int | None:
    if len(positions) > 1:
        raise _NotTileable
    return positions[0] if positions else None


def _follow(node: Expr, dim: Dim, axis: dict[Expr, int]) -> tuple[int | None, bool]:
    """(position of the batch axis or None, whether the node brings samples together)."""
    name, args = node.op.name, node.args
    moving = [a for a in args if a in axis]
    if node.op is SYMBOL or name == "arange":
        return _only([k for k, d in enumerate(node.shape) if d == dim]), False
    if node.op is CONSTANT or name in ("eye", "size"):
        if dim in node.shape:
            raise _NotTileable
        return None, False
    if node.op.family == "elementwise":
        where = _only(sorted({axis[a] - a.ndim + node.ndim for a in moving}))
        for a in args:  # a still operand that has the dimension at that place would have to be split, too
            k = None if where is None else where - node.ndim + a.ndim
            if a not in axis and k is not None and k >= 0 and a.shape[k] != 1:
                raise _NotTileable
            if where is None and dim in node.shape and isinstance(dim, str):
                raise _NotTileable
        return where, False
    if name == "broadcast_to":
        (x,) = args
        if x in axis:
            return axis[x] - x.ndim + node.ndim, False
        new = [k for k, d in enumerate(node.shape) if d == dim and (k - node.ndim + x.ndim < 0 or x.shape[k - node.ndim + x.ndim] == 1)]
        return _only(new), False
    if not moving:
        if isinstance(dim, str) and dim in node.shape:
            raise _NotTileable
        return None, False
    x = args[0]
    if name in (*REDUCTIONS, "argmax", "argmin"):
        axes = node.params["axes"] if "axes" in node.params else (node.params["axis"],)
        reduced = sorted(a + x.ndim for a in axes)
        if axis[x] in reduced:
            if name not in REDUCTIONS:
                raise _NotTileable
            return None, True
        return (axis[x] if node.params["keepdims"] else axis[x] - sum(a < axis[x] for a in reduced)), False
    if name == "contract":
        letters = contract_letters(node)
        names = {text[axis[a]] for a, text in zip(args, letters, strict=False) if a in axis}
        (letter,) = names if len(names) == 1 else ("",)
        if not letter or any(letter in text and a not in axis for a, text in zip(args, letters, strict=False)):
            raise _NotTileable
        return (letters[2].index(letter), False) if letter in letters[2] else (None, True)
    if name == "transpose":
        return [a + x.ndim for a in node.params["axes"]].index(axis[x]), False
    if name == "reshape":
        return _follow_reshape(x.shape, axis[x], node.shape), False
    if name == "slice":
        k = axis[x]
        if node.shape[k] != dim or node.params["steps"][k] != 1:
            raise _NotTileable
        return k, False
    if name == "pad":
        k = axis[x]
        if node.shape[k] != dim:
            raise _NotTileable
        return k, False
    if name == "concatenate":
        places = {axis[a] for a in moving}
        if len(places) != 1 or len(moving) != len(args) or node.params["axis"] + node.ndim in places:
            raise _NotTileable
        return places.pop(), False
    if name == "cumsum":
        if node.params["axis"] + x.ndim == axis[x]:
            raise _NotTileable
        return axis[x], False
    raise _NotTileable


def _follow_reshape(old: Shape, k: int, new: Shape) -> int:
    before, dim = dims.total(old[:k]), old[k]
    for j, d in enumerate(new):
        if d == dim and dims.total(new[:j]) == before:
            return j
    raise _NotTileable
