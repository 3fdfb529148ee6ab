"""Nodes that are written part by part: pad, concatenate, scatter_add, embed_diagonal, cumsum."""

from __future__ import annotations

from collections.abc import Callable

from symgrad import dims
from symgrad.dims import Dim
from symgrad.expr import Expr
from symgrad.loops import Fill, Index
from symgrad.schedule.reductions import Reductions
from symgrad.schedule.storage import Storage
from symgrad.schedule.values import Indices

__all__ = ["emit_assembled"]


def emit_assembled(w: Reductions, node: Expr) -> None:
    """Writes the node to its first storage, then copies it to the others (an output that is also read)."""
    place, *others = w.written[node]
    name, p = node.op.name, node.params
    if name in ("pad", "embed_diagonal", "scatter_add"):
        _clear(w, place)
    if name == "pad":
        moves = [(gap + 1, before) for gap, before in zip(p["interior"], p["before"], strict=True)]
        _write(w, node, place, node.args[0], lambda idx: tuple(i * step + before for i, (step, before) in zip(idx, moves, strict=True)))
    elif name == "embed_diagonal":
        low, right = max(-p["offset"], 0), max(p["offset"], 0)
        _write(w, node, place, node.args[0], lambda idx: (*idx[:-1], idx[-1] + low, idx[-1] + right))
    elif name == "concatenate":
        start: Dim = 0
        for part in node.args:
            axis, begin = p["axis"] + node.ndim, start
            _write(w, node, place, part, lambda idx, axis=axis, begin=begin: (*idx[:axis], idx[axis] + begin, *idx[axis + 1 :]))  # type: ignore[misc]
            start = dims.add(start, part.shape[axis])
    elif name == "scatter_add":
        _scatter(w, node, place)
    else:
        _accumulate(w, node, place)
    for other in others:
        _copy(w, node, place, other)


def _clear(w: Reductions, place: Storage) -> None:
    zero = {"real": 0.0, "integer": 0, "boolean": False}[place.buffer.kind]
    count = Index.of(place.buffer.size)
    start = Index()
    if place.share != 0:
        start, count = w.share(place), Index.of(place.share)
    elif place.spread and w.origin is not None:
        start, count = Index.of(w.origin) * place.inner, Index.of(dims.multiply(place.inner, w.chunk))
    w.b.emit(Fill(place.buffer, start, count, zero))


def _lane_of(w: Reductions, node: Expr, contiguous: bool) -> int | None:
    """The lanes run along the batch axis, else along the last axis where both sides are contiguous."""
    if w.plan is not None and node in w.plan.axis:
        return w.plan.axis[node]
    if not contiguous or w.lanes == 1 or not node.shape:
        return None
    last = node.shape[-1]
    return None if isinstance(last, int) and last < w.lanes else node.ndim - 1


def _write(w: Reductions, node: Expr, place: Storage, part: Expr, move: Callable[[Indices], Indices]) -> None:
    batched = w.plan is not None and part in w.plan.axis
    contiguous = False
    if part.shape:
        probe = tuple(Index.of(w.b.value("integer")) for _ in part.shape)
        variable = probe[-1].terms[0][0]
        steps = [*w.strides_along(part, probe, variable), next((c for v, c in move(probe)[-1].terms if v is variable), 0)]
        contiguous = all(s in (0, 1) for s in steps)

    def body(points: list[Indices]) -> None:
        for idx in points:
            w.store(node, place, move(idx), w.value_at(part, idx))

    w.nest(part.shape, [1] * part.ndim, _lane_of(w, part, contiguous), batched, body)


def _scatter(w: Reductions, node: Expr, place: Storage) -> None:
    """``result[indices] += g``, one element after another: indices may repeat."""
    g, *indices = node.args
    shape = node.shape
    first = min(node.params["axes"]) + len(shape)
    shared = dims.broadcast("scatter_add", *[i.shape for i in indices])
    width = len(shared)

    def body(points: list[Indices]) -> None:
        for idx in points:
            places = idx[first : first + width]
            found = [w.value_at(i, w.aligned_shape(i.shape, shared, places)) for i in indices]
            wrapped = [w.checked(f, shape[first + k], node) for k, f in enumerate(found)]
            at = (*idx[:first], *wrapped, *idx[first + width :])
            address = w.address(node, place, at)
            w.b.store(place.buffer, address, w.b.add(w.b.load(place.buffer, address), w.value_at(g, idx)))

    w.nest(g.shape, [1] * g.ndim, None, False, body)


def _accumulate(w: Reductions, node: Expr, place: Storage) -> None:
    """cumsum: a running sum along one axis, everything else outside."""
    (x,) = node.args
    axis = node.params["axis"] + node.ndim
    outer = [d for k, d in enumerate(node.shape) if k != axis]
    batch = w.plan.axis.get(node) if w.plan else None
    lane = None if batch is None else batch - (batch > axis)

    def body(points: list[Indices]) -> None:
        (at,) = points
        wide = w.lanes if w.lane is not None else 1
        total = w.b.define("total", 0.0 if node.kind == "real" else 0, node.kind, wide)
        with w.b.loop(0, node.shape[axis]) as k, w.scope():
            position = Index.of(k)
            if node.params["reverse"]:
                position = position * -1 + dims.subtract(node.shape[axis], 1)
            idx = (*at[:axis], position, *at[axis:])
            w.b.assign(total, w.b.add(w.b.read(total), w.b.constant(w.value_at(x, idx))))
            w.store(node, place, idx, w.b.read(total))

    w.nest(outer, [1] * len(outer), lane, batch is not None, body)


def _copy(w: Reductions, node: Expr, source: Storage, target: Storage) -> None:
    def body(points: list[Indices]) -> None:
        for idx in points:
            w.store(node, target, idx, w.load(node, source, idx))

    w.nest(node.shape, [1] * node.ndim, _lane_of(w, node, True), w.plan is not None and node in w.plan.axis, body)
