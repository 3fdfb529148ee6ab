"""Movement records: ops that place elements without computing, each with its adjoint beside it.

reshape ↔ reshape, transpose ↔ transpose, broadcast_to ↔ sum, slice ↔ pad, gather ↔ scatter_add,
concatenate ↔ slices, diagonal ↔ embed_diagonal. Also the leaves ``arange``, ``eye`` and ``size``.

Axes in params are negative (counted from the end). The builders with NumPy's arguments are in
``shape.py`` and ``indexing.py``. A parameter named in :data:`DIM_PARAMS` holds dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from symgrad import dims
from symgrad.dims import Dim, Shape
from symgrad.errors import ShapeError
from symgrad.expr import OPS, Array, Expr, ExprLike, Op, Params, apply, as_expr, common, integer, real, register
from symgrad.ops.writing import call_latex

__all__ = ["DIM_PARAMS", "do", "flip_axis", "reshape_to", "slice_axes", "slice_axis"]

DIM_PARAMS = frozenset({"shape", "size", "dim", "rows", "columns", "starts", "stops", "before", "after"})
"""The parameters of leaves and movement ops that hold dimensions (or tuples of them): what a call resolves to numbers."""

Rule = tuple[Expr | None, ...]


def do(name: str, *operands: ExprLike, **params: Any) -> Expr:
    """The op of this name, applied: how the rules of one family use the ops of another."""
    return apply(OPS[name], *operands, **params)


def first_kind(*kinds: str) -> str:
    """Kind rule: the first operand's (the others are indices)."""
    return kinds[0]


def _fmt(*shapes: Sequence[Dim]) -> str:
    return " and ".join(dims.format_shape(tuple(s)) for s in shapes)


# --- leaves ----------------------------------------------------------------------------------------

ARANGE = register(Op(
    name="arange", family="leaf", arity=0, doc="the whole numbers 0, 1, …, size - 1",
    shape=lambda size: (size,), kind=integer,
    evaluate=lambda size: np.arange(size),
    text=lambda strings, params: f"arange({params['size']})",
    latex=lambda strings, params: f"\\operatorname{{arange}}\\left({params['size']}\\right)",
    samples=(({"size": 4},), ({"size": 0},)), cost=0.0,
))
EYE = register(Op(
    name="eye", family="leaf", arity=0, doc="the identity matrix",
    shape=lambda rows, columns: (rows, columns), kind=real,
    evaluate=lambda rows, columns: np.eye(rows, columns),
    text=lambda strings, params: f"eye({', '.join(map(str, dict.fromkeys(params.values())))})",
    latex=lambda strings, params: f"I_{{{params['rows']} {params['columns']}}}",
    samples=(({"rows": 3, "columns": 3},), ({"rows": 2, "columns": 4},)), cost=0.0,
))
SIZE = register(Op(
    name="size", family="leaf", arity=0, doc="the number of elements along a named dimension",
    shape=lambda dim: (), kind=integer,
    evaluate=lambda dim: np.int64(dim),
    samples=(({"dim": 7},),), cost=0.0,
))


# --- reshape, transpose, broadcast -----------------------------------------------------------------


def _reshape_shape(x: Shape, shape: Shape) -> Shape:
    have, want = dims.total(x), dims.total(shape)
    dims.require(have, "==", want, f"reshape: shape {_fmt(x)} cannot become {_fmt(shape)}, it has {have} elements, not {want}")
    return shape


RESHAPE = register(Op(
    name="reshape", family="movement", doc="the same elements, in row-major order, in another shape",
    shape=_reshape_shape, kind=first_kind, linear=True,
    derivative=lambda g, y, x, shape: (reshape_to(g, x.shape),),
    evaluate=lambda x, shape: np.reshape(x, shape),
    samples=((np.arange(6.0).reshape(2, 3), {"shape": (3, 2)}), (np.array([2.5]), {"shape": ()})), cost=0.0,
))


def reshape_to(x: Expr, shape: Sequence[Dim]) -> Expr:
    """``x`` in this shape; itself where it has it."""
    return x if x.shape == tuple(shape) else apply(RESHAPE, x, shape=tuple(shape))


def _transpose_shape(x: Shape, axes: tuple[int, ...]) -> Shape:
    if sorted(axes) != list(range(-len(x), 0)):
        raise ShapeError(f"transpose: axes {axes} are not a permutation of the {len(x)} axes of shape {_fmt(x)}")
    return tuple(x[a] for a in axes)


def _transpose_rule(g: Expr, y: Expr, x: Expr, axes: tuple[int, ...]) -> Rule:
    inverse = [0] * len(axes)
    for position, axis in enumerate(axes):
        inverse[axis] = position - len(axes)
    return (apply(TRANSPOSE, g, axes=tuple(inverse)),)



TRANSPOSE = register(Op(
    name="transpose", family="movement", doc="the axes in another order",
    shape=_transpose_shape, kind=first_kind, linear=True,
    derivative=_transpose_rule,
    evaluate=lambda x, axes: np.transpose(x, axes),
    samples=((np.arange(6.0).reshape(2, 3), {"axes": (-1, -2)}), (np.arange(12.0).reshape(2, 3, 2), {"axes": (-1, -3, -2)})), cost=0.0,
))


def _broadcast_to_shape(x: Shape, shape: Shape) -> Shape:
    message = f"broadcast_to: shape {_fmt(x)} does not broadcast to {_fmt(shape)}"
    if len(x) > len(shape):
        raise ShapeError(message)
    for have, want in zip(x, shape[len(shape) - len(x):], strict=True):
        if have != 1:
            dims.require(have, "==", want, message)
    return shape


BROADCAST_TO = register(Op(
    name="broadcast_to", family="movement", doc="repeated along new axes and axes of size 1",
    shape=_broadcast_to_shape, kind=first_kind, linear=True,
    derivative=lambda g, y, x, shape: (g,),  # the sweep sums over what was broadcast
    evaluate=lambda x, shape: np.broadcast_to(x, shape),
    samples=((np.array([[1.0], [2.0]]), {"shape": (3, 2, 4)}), (np.array(2.5), {"shape": (2,)})), cost=0.0,
))


# --- slice and pad ---------------------------------------------------------------------------------
# y[k] = x[start + k*step]; with L elements the last one is start + (L - 1)*step.


def slice_length(start: Dim, stop: Dim | None, step: int) -> Dim:
    """The number of elements of a slice whose bounds lie inside the axis."""
    if step > 0:
        assert stop is not None
        span = dims.subtract(stop, start)
    else:
        span = dims.add(start, 1) if stop is None else dims.subtract(start, stop)
    length = dims.divide(dims.add(span, abs(step) - 1), abs(step)) if abs(step) > 1 else span
    return max(length, 0) if isinstance(length, int) else length


def _slice_shape(x: Shape, starts: tuple[Dim, ...], stops: tuple[Dim | None, ...], steps: tuple[int, ...]) -> Shape:
    if not len(x) == len(starts) == len(stops) == len(steps):
        raise ShapeError(f"slice: {len(starts)} slices for the {len(x)} axes of shape {_fmt(x)}")
    result = []
    for size, start, stop, step in zip(x, starts, stops, steps, strict=True):
        message = f"slice: {slice_text(start, stop, step)} does not lie inside an axis of size {size} of shape {_fmt(x)}"
        dims.require(start, ">=", 0 if step > 0 else -1, message)  # -1: backwards through an empty axis
        if step > 0:
            assert stop is not None
            dims.require(size, ">=", stop, message)
            dims.require(stop, ">=", start, message)
        else:
            dims.require(size, ">=", dims.add(start, 1), message)
            if stop is not None:
                dims.require(start, ">=", stop, message)
                dims.require(stop, ">=", 0, message)
        result.append(slice_length(start, stop, step))
    return tuple(result)


def slice_text(start: Dim, stop: Dim | None, step: int) -> str:
    """``1:3``, ``::2``: one slice as Python writes it."""
    first = "" if start == 0 and step > 0 else str(start)
    last = "" if stop is None else str(stop)
    return f"{first}:{last}" if step == 1 else f"{first}:{last}:{step}"



def _evaluate_slice(x: Array, starts: tuple[int, ...], stops: tuple[int | None, ...], steps: tuple[int, ...]) -> Array:
    for start, stop, step, size in zip(starts, stops, steps, np.shape(x), strict=True):
        if not ((0 if step > 0 else -1) <= start <= size and (stop is None or 0 <= stop <= size)):
            raise ShapeError(f"slice: {slice_text(start, stop, step)} does not lie inside an axis of size {size}")
    return x[tuple(slice(0, 0) if s[0] == -1 else slice(*s) for s in zip(starts, stops, steps, strict=True))]


def _slice_rule(g: Expr, y: Expr, x: Expr, starts: tuple[Dim, ...], stops: tuple[Dim | None, ...], steps: tuple[int, ...]) -> Rule:
    before: list[Dim] = []
    after: list[Dim] = []
    for axis, (size, start, step, length) in enumerate(zip(x.shape, starts, steps, y.shape, strict=True)):
        reach = dims.multiply(dims.subtract(length, 1), abs(step))  # from the first element to the last
        if step < 0:
            g = flip_axis(g, axis - len(steps))
        low = start if step > 0 else dims.subtract(start, reach)
        if length == 0:
            low, reach = 0, -abs(step)
        before.append(low)
        after.append(dims.subtract(size, dims.add(dims.add(low, reach), 1)))
    return (apply(PAD, g, before=tuple(before), after=tuple(after), interior=tuple(abs(s) - 1 for s in steps)),)


SLICE = register(Op(
    name="slice", family="movement", doc="every step-th element from start to stop, per axis",
    shape=_slice_shape, kind=first_kind, linear=True,
    derivative=_slice_rule, evaluate=_evaluate_slice,
    samples=(
        (np.arange(12.0).reshape(3, 4), {"starts": (1, 0), "stops": (3, 4), "steps": (1, 2)}),
        (np.arange(7.0), {"starts": (6,), "stops": (None,), "steps": (-3,)}),
        (np.arange(7.0), {"starts": (5,), "stops": (1,), "steps": (-2,)}),
    ), cost=0.0,
))


def slice_axes(x: Expr, starts: Sequence[Dim], stops: Sequence[Dim | None], steps: Sequence[int]) -> Expr:
    """``x`` sliced, itself where nothing is cut away."""
    if all(a == 0 and b == n and s == 1 for a, b, s, n in zip(starts, stops, steps, x.shape, strict=True)):
        return x
    return apply(SLICE, x, starts=tuple(starts), stops=tuple(stops), steps=tuple(steps))


def slice_axis(x: Expr, axis: int, start: Dim, stop: Dim | None, step: int = 1) -> Expr:
    """``x`` sliced along one axis."""
    starts: list[Dim] = [0] * x.ndim
    stops: list[Dim | None] = list(x.shape)
    steps = [1] * x.ndim
    starts[axis], stops[axis], steps[axis] = start, stop, step
    return slice_axes(x, starts, stops, steps)


def flip_axis(x: Expr, axis: int) -> Expr:
    """``x`` backwards along one axis."""
    size = x.shape[axis]
    return x if size in (0, 1) else slice_axis(x, axis, dims.subtract(size, 1), None, -1)


def _pad_shape(x: Shape, before: tuple[Dim, ...], after: tuple[Dim, ...], interior: tuple[int, ...]) -> Shape:
    if not len(x) == len(before) == len(after) == len(interior):
        raise ShapeError(f"pad: {len(before)} widths for the {len(x)} axes of shape {_fmt(x)}")
    message = f"pad: the widths {before} and {after} of shape {_fmt(x)} must not be negative"
    result = []
    for size, low, high, gap in zip(x, before, after, interior, strict=True):
        dims.require(low, ">=", 0, message)
        dims.require(high, ">=", 0, message)
        # n elements and n - 1 gaps; n = 0 counts -1 gap, so that padding stays the adjoint of an empty slice
        body = dims.subtract(dims.multiply(size, gap + 1), gap)
        result.append(dims.add(dims.add(low, body), high))
    return tuple(result)


def _evaluate_pad(x: Array, before: tuple[int, ...], after: tuple[int, ...], interior: tuple[int, ...]) -> Array:
    x = np.asarray(x)
    shape = _pad_shape(x.shape, before, after, interior)
    out = np.zeros(tuple(map(int, shape)), dtype=x.dtype)
    places = tuple(slice(b, b + n * (i + 1) - i if n else b, i + 1) for n, b, i in zip(x.shape, before, interior, strict=True))
    out[places] = x
    return out


def _pad_rule(g: Expr, y: Expr, x: Expr, before: tuple[Dim, ...], after: tuple[Dim, ...], interior: tuple[int, ...]) -> Rule:
    stops: list[Dim | None] = []
    for size, low, gap in zip(x.shape, before, interior, strict=True):
        body = dims.subtract(dims.multiply(size, gap + 1), gap)
        stops.append(low if size == 0 else dims.add(low, body))
    return (slice_axes(g, before, stops, [i + 1 for i in interior]),)



PAD: Op = register(Op(
    name="pad", family="movement", doc="zeros before, after and between the elements, per axis",
    shape=_pad_shape, kind=first_kind, linear=True,
    derivative=_pad_rule, evaluate=_evaluate_pad,
    samples=(
        (np.arange(6.0).reshape(2, 3), {"before": (1, 0), "after": (0, 2), "interior": (0, 0)}),
        (np.arange(3.0), {"before": (1,), "after": (1,), "interior": (2,)}),
    ), cost=0.0,
))


# --- concatenate -----------------------------------------------------------------------------------


def _concatenate_shape(*shapes: Shape, axis: int) -> Shape:
    message = f"concatenate: shapes {', '.join(map(dims.format_shape, shapes))} differ outside axis {axis}"
    first = list(shapes[0])
    for shape in shapes[1:]:
        if len(shape) != len(first):
            raise ShapeError(f"concatenate: shapes {', '.join(map(dims.format_shape, shapes))} differ in the number of axes")
        for k, dim in enumerate(shape):
            same_axis = k - len(shape) == axis
            first[k] = dims.add(first[k], dim) if same_axis else dims.unify(first[k], dim, message)
    return tuple(first)


def _concatenate_rule(g: Expr, y: Expr, *parts: Expr, axis: int) -> Rule:
    entries: list[Expr | None] = []
    start: Dim = 0
    for part in parts:
        stop = dims.add(start, part.shape[axis])
        entries.append(slice_axis(g, axis, start, stop) if part.kind == "real" else None)
        start = stop
    return tuple(entries)



CONCATENATE = register(Op(
    name="concatenate", family="movement", arity=None, doc="joined along an axis",
    shape=_concatenate_shape, kind=common, linear=True,
    derivative=_concatenate_rule,
    evaluate=lambda *parts, axis: np.concatenate(parts, axis),
    samples=((np.ones((2, 3)), np.zeros((2, 1)), {"axis": -1}), (np.ones(2), np.zeros(0), np.ones(3), {"axis": -1})), cost=0.0,
))


# --- gather and scatter ----------------------------------------------------------------------------


def _check_index_axes(operation: str, axes: tuple[int, ...], ndim: int, indices: int) -> None:
    adjacent = list(axes) == list(range(axes[0], axes[0] + len(axes))) if axes else False
    if not adjacent or axes[0] < -ndim or axes[-1] >= 0 or len(axes) != indices:
        raise ShapeError(f"{operation}: {indices} index arrays for axes {axes} of {ndim}")


def _gather_shape(x: Shape, *indices: Shape, axes: tuple[int, ...]) -> Shape:
    _check_index_axes("gather", axes, len(x), len(indices))
    first = len(x) + axes[0]
    return x[:first] + dims.broadcast("indexing", *indices) + x[first + len(axes):]


def _places(axes: tuple[int, ...], indices: Sequence[Array]) -> tuple[Any, ...]:
    return (..., *indices, *[slice(None)] * (-axes[-1] - 1))



GATHER: Op = register(Op(
    name="gather", family="movement", arity=None, doc="the elements at integer indices (negative ones count from the end)",
    shape=_gather_shape, kind=first_kind, linear=True,
    derivative=lambda g, y, x, *indices, axes: (apply(SCATTER_ADD, g, *indices, axes=axes, shape=x.shape), *[None] * len(indices)),
    evaluate=lambda x, *indices, axes: np.asarray(x)[_places(axes, indices)],
    samples=(
        (np.arange(12.0).reshape(4, 3), np.array([[0, 3], [3, -1]]), {"axes": (-2,)}),
        (np.arange(12.0).reshape(4, 3), np.array([0, 3]), np.array([2, 2]), {"axes": (-2, -1)}),
        (np.arange(4.0), np.array(2), {"axes": (-1,)}),
    ),
))


def _scatter_shape(g: Shape, *indices: Shape, axes: tuple[int, ...], shape: Shape) -> Shape:
    _check_index_axes("scatter_add", axes, len(shape), len(indices))
    expected = _gather_shape(shape, *indices, axes=axes)
    message = f"scatter_add: values of shape {_fmt(g)} for places of shape {_fmt(expected)}"
    if len(g) != len(expected):
        raise ShapeError(message)
    for have, want in zip(g, expected, strict=True):
        dims.require(have, "==", want, message)
    return shape


def _evaluate_scatter_add(g: Array, *indices: Array, axes: tuple[int, ...], shape: tuple[int, ...]) -> Array:
    out = np.zeros(shape, dtype=np.asarray(g).dtype)
    np.add.at(out, _places(axes, indices), g)
    return out


def _scatter_text(strings: Sequence[str], params: Params) -> str:
    return f"scatter_add({', '.join(strings)}, shape={_fmt(params['shape'])})"


SCATTER_ADD: Op = register(Op(
    name="scatter_add", family="movement", arity=None, doc="zeros, with values added at integer indices: the adjoint of gather",
    shape=_scatter_shape, kind=first_kind, linear=True,
    derivative=lambda g, y, x, *indices, axes, shape: (apply(GATHER, g, *indices, axes=axes), *[None] * len(indices)),
    evaluate=_evaluate_scatter_add,
    text=_scatter_text, latex=call_latex("scatter"),
    samples=(
        (np.arange(6.0).reshape(2, 3), np.array([1, 1]), {"axes": (-2,), "shape": (4, 3)}),
        (np.array(2.0), np.array(2), {"axes": (-1,), "shape": (4,)}),
    ),
))


# --- diagonals -------------------------------------------------------------------------------------


def _diagonal_length(rows: Dim, columns: Dim, offset: int) -> Dim:
    if isinstance(rows, int) and isinstance(columns, int):
        return max(0, min(rows + min(offset, 0), columns - max(offset, 0)))
    message = f"diagonal: a matrix of shape {_fmt((rows, columns))} must be square or of known size"
    side = dims.unify(rows, columns, message)
    dims.require(side, ">=", abs(offset), f"diagonal: no diagonal {offset} in a matrix of shape {_fmt((rows, columns))}")
    return dims.subtract(side, abs(offset))


def _diagonal_shape(x: Shape, offset: int) -> Shape:
    if len(x) < 2:
        raise ShapeError(f"diagonal: shape {_fmt(x)} has no two axes")
    return (*x[:-2], _diagonal_length(x[-2], x[-1], offset))


def _embed_shape(x: Shape, offset: int, rows: Dim, columns: Dim) -> Shape:
    length = _diagonal_length(rows, columns, offset)
    dims.require(x[-1], "==", length, f"embed_diagonal: {x[-1]} elements for a diagonal of {length}")
    return (*x[:-1], rows, columns)


def _evaluate_embed(x: Array, offset: int, rows: int, columns: int) -> Array:
    x = np.asarray(x)
    out = np.zeros((*x.shape[:-1], rows, columns), dtype=x.dtype)
    k = np.arange(x.shape[-1])
    out[..., k - min(offset, 0), k + max(offset, 0)] = x
    return out


DIAGONAL = register(Op(
    name="diagonal", family="movement", doc="the diagonal of the last two axes",
    shape=_diagonal_shape, kind=first_kind, linear=True,
    derivative=lambda g, y, x, offset: (apply(EMBED_DIAGONAL, g, offset=offset, rows=x.shape[-2], columns=x.shape[-1]),),
    evaluate=lambda x, offset: np.diagonal(x, offset, -2, -1),
    text=lambda strings, params: f"diagonal({strings[0]}{', ' + str(params['offset']) if params['offset'] else ''})",
    latex=call_latex("diag"),
    samples=((np.arange(12.0).reshape(3, 4), {"offset": 1}), (np.arange(8.0).reshape(2, 2, 2), {"offset": 0})), cost=0.0,
))
EMBED_DIAGONAL: Op = register(Op(
    name="embed_diagonal", family="movement", doc="zeros with a given diagonal: the adjoint of diagonal",
    shape=_embed_shape, kind=first_kind, linear=True,
    derivative=lambda g, y, x, offset, rows, columns: (apply(DIAGONAL, g, offset=offset),),
    evaluate=_evaluate_embed,
    text=lambda strings, params: f"embed_diagonal({strings[0]}, {params['offset']}, {params['rows']}, {params['columns']})",
    latex=call_latex("diag"),
    samples=(
        (np.arange(3.0), {"offset": 1, "rows": 3, "columns": 4}),
        (np.arange(4.0).reshape(2, 2), {"offset": -1, "rows": 3, "columns": 2}),
    ), cost=0.0,
))


def as_integer_index(operation: str, index: Any) -> Expr:
    """An index array as an integer expression, or ``TypeError``."""
    expr = as_expr(index)
    if expr.kind != "integer":
        hint = ": select with sg.where" if expr.kind == "boolean" else ", not real (an integer symbol is sg.symbol(name, integer=True))"
        raise TypeError(f"{operation}: an index must be integer{hint}")
    return expr
