"""Indexing with NumPy's rules: integers, slices, negative steps, ``None``, ``...``, integer arrays and symbols.

Basic indices become one slice, then a reshape drops the axes of integers and inserts those of ``None``.
Arrays become a gather. Where indices can be checked at construction they are; along a named dimension
they are checked at the call.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from symgrad import dims
from symgrad.dims import Dim
from symgrad.errors import ShapeError
from symgrad.expr import _ARRAY_FUNCTIONS as ARRAY_FUNCTIONS
from symgrad.expr import METHODS, Expr, ExprLike, apply, as_expr, constant
from symgrad.ops.movement import GATHER, TRANSPOSE, as_integer_index, reshape_to, slice_axes
from symgrad.ops.reduce import negative_axis

__all__ = ["IndexRangeError", "getitem", "take"]


class IndexRangeError(ShapeError, IndexError):
    """An index lies outside its axis."""


def _normalised(x: Expr, index: Any) -> list[Any]:
    """One entry per axis of ``x``, ``None`` for new axes: the ellipsis written out, boolean arrays as their places."""
    entries: list[Any] = []
    for entry in index if isinstance(index, tuple) else (index,):
        if isinstance(entry, (list, np.ndarray)) and np.asarray(entry).dtype == np.bool_:
            mask = np.asarray(entry)
            axis = sum(e is not None and e is not Ellipsis for e in entries)
            if tuple(x.shape[axis : axis + mask.ndim]) != mask.shape and not any(e is Ellipsis for e in entries):
                raise ShapeError(f"indexing: a boolean array of shape {mask.shape} on shape {dims.format_shape(x.shape)}")
            entries.extend(np.nonzero(mask))
        else:
            entries.append(entry)
    if sum(e is Ellipsis for e in entries) > 1:
        raise ShapeError("indexing: only one ... is possible")
    consumed = sum(e is not None and e is not Ellipsis for e in entries)
    if consumed > x.ndim:
        raise IndexRangeError(f"indexing: {consumed} indices for an expression of shape {dims.format_shape(x.shape)}")
    fill = [slice(None)] * (x.ndim - consumed)
    if Ellipsis in [e for e in entries if e is Ellipsis]:
        place = next(k for k, e in enumerate(entries) if e is Ellipsis)
        return [*entries[:place], *fill, *entries[place + 1 :]]
    return entries + fill


def _whole(value: Any) -> Dim | None:
    """A bound or index that is a fixed number or a size, else ``None``."""
    if isinstance(value, Expr):
        if value.op.name == "constant" and not value.shape and value.kind == "integer":
            return int(value.params["value"])
        return value.params["dim"] if value.op.name == "size" else None
    if isinstance(value, (bool, np.bool_)) or not hasattr(value, "__index__"):
        return None
    if isinstance(value, np.ndarray) and value.ndim:
        return None
    return int(value.__index__())


def _bound(value: Any, size: Dim) -> Dim:
    """A slice bound counted from the start of the axis."""
    bound = _whole(value)
    if bound is None:
        raise TypeError(f"indexing: a slice bound is an int or sg.size(...), not {value!r}: take a range of places with sg.arange")
    return dims.add(size, bound) if isinstance(bound, int) and bound < 0 else bound


def _slice_bounds(entry: slice, size: Dim, axis: int) -> tuple[Dim, Dim | None, int]:
    step = 1 if entry.step is None else _whole(entry.step)
    if not isinstance(step, int) or step == 0:
        raise ValueError("indexing: a slice step is a non-zero int")
    bounds_known = all(b is None or isinstance(_whole(b), int) for b in (entry.start, entry.stop))
    if isinstance(size, int) and bounds_known:
        first, last = (None if b is None else _whole(b) for b in (entry.start, entry.stop))
        known = slice(first, last, step).indices(size)
        length = len(range(*known))
        if length == 0:
            return 0, 0, 1
        return known[0], (None if known[1] < 0 else known[1]), step
    if step > 0:
        start: Dim = 0 if entry.start is None else _bound(entry.start, size)
        return start, (size if entry.stop is None else _bound(entry.stop, size)), step
    start = dims.subtract(size, 1) if entry.start is None else _bound(entry.start, size)
    return start, (None if entry.stop is None else _bound(entry.stop, size)), step


def _place(index: int, size: Dim, axis: int, x: Expr) -> Dim:
    """An integer index counted from the start of the axis."""
    if isinstance(size, int) and not -size <= index < size:
        raise IndexRangeError(f"indexing: index {index} is out of range for axis {axis} of shape {dims.format_shape(x.shape)}")
    return dims.add(size, index) if index < 0 else index


def getitem(x: ExprLike, index: Any) -> Expr:
    """``x[index]`` with NumPy's rules; integer arrays, integer symbols and several of them gather elements.

    Raises ``IndexError`` (a ``ShapeError`` too) for an index out of range where the size is known,
    and ``TypeError`` for an index that is not integer.

    >>> import symgrad as sg
    >>> x = sg.symbol("x", ("n", 4))
    >>> x[:, 1:3].shape, x[-1].shape, x[::2, None].shape, x[[0, 2], [1, 1]].shape
    (('n', 2), (4,), ('(n + 1)//2', 1, 4), (2,))
    """
    x = as_expr(x)
    entries = _normalised(x, index)
    places = [_whole(e) if not isinstance(e, slice) and e is not None else None for e in entries]
    arrays = any(e is not None and not isinstance(e, slice) and not isinstance(p, int) for e, p in zip(entries, places, strict=True))
    starts: list[Dim] = []
    stops: list[Dim | None] = []
    steps: list[int] = []
    layout: list[str | Expr] = []  # per entry: "axis", "new", "drop", or the index array of an axis
    for entry, place in zip(entries, places, strict=True):
        axis = len(starts)
        if entry is None:
            layout.append("new")
            continue
        size = x.shape[axis]
        start: Dim = 0
        stop: Dim | None = size
        step = 1
        if isinstance(entry, slice):
            start, stop, step = _slice_bounds(entry, size, axis)
            layout.append("axis")
        elif isinstance(place, int):
            at = _place(place, size, axis, x)
            if arrays:
                layout.append(constant(place))
            else:
                start, stop = at, dims.add(at, 1)
                layout.append("drop")
        else:
            layout.append(_checked(as_integer_index("indexing", entry), size, axis, x))
        starts.append(start)
        stops.append(stop)
        steps.append(step)
    x = slice_axes(x, starts, stops, steps)
    return _gathered(x, layout) if arrays else reshape_to(x, _laid_out(x.shape, layout))


def _checked(index: Expr, size: Dim, axis: int, x: Expr) -> Expr:
    if index.op.name == "constant" and isinstance(size, int):
        values = np.asarray(index.params["value"])
        bad = values[(values < -size) | (values >= size)]
        if bad.size:
            raise IndexRangeError(f"indexing: index {bad.flat[0]} is out of range for axis {axis} of shape {dims.format_shape(x.shape)}")
    return index


def _laid_out(shape: tuple[Dim, ...], layout: list[str | Expr]) -> list[Dim]:
    sizes = iter(shape)
    result: list[Dim] = []
    for item in layout:
        if item == "new":
            result.append(1)
        else:
            size = next(sizes)
            if item == "axis":
                result.append(size)
    return result


def _gathered(x: Expr, layout: list[str | Expr]) -> Expr:
    """Index arrays side by side keep their place; separated ones go first, as in NumPy."""
    at = [k for k, item in enumerate(layout) if isinstance(item, Expr)]
    indices = [item for item in layout if isinstance(item, Expr)]
    together = at[-1] - at[0] + 1 == len(at)
    axis_of = {k: sum(item != "new" for item in layout[:k]) for k in range(len(layout))}
    axes = [axis_of[k] for k in at]
    before: list[str | Expr] = list(layout[: at[0]]) if together else []
    behind: list[str | Expr] = [item for k, item in enumerate(layout) if not isinstance(item, Expr) and (k > at[0] or not together)]
    if not together:
        order = (*axes, *[k for k in range(x.ndim) if k not in axes])
        if order != tuple(range(x.ndim)):
            x = apply(TRANSPOSE, x, axes=tuple(k - x.ndim for k in order))
        axes = list(range(len(axes)))
    gathered = apply(GATHER, x, *indices, axes=tuple(k - x.ndim for k in axes))
    index_shape = dims.broadcast("indexing", *[i.shape for i in indices])
    front = sum(item == "axis" for item in before)
    rest = gathered.shape[front + len(index_shape) :]
    return reshape_to(gathered, [*_laid_out(gathered.shape[:front], before), *index_shape, *_laid_out(rest, behind)])


def take(x: ExprLike, indices: ExprLike, axis: int | None = None) -> Expr:
    """The elements at ``indices`` along ``axis`` (``None``: of the flattened array).

    >>> import symgrad as sg
    >>> sg.take(sg.symbol("x", ("n", 4)), sg.symbol("i", "m", integer=True), axis=1).shape
    ('n', 'm')
    """
    x = as_expr(x)
    if axis is None:
        x, axis = reshape_to(x, (dims.total(x.shape),)), -1
    place = negative_axis("take", axis, x)
    index = _checked(as_integer_index("take", indices), x.shape[place], place, x)
    return apply(GATHER, x, index, axes=(place,))


METHODS["getitem"] = getitem
ARRAY_FUNCTIONS[np.take] = take
