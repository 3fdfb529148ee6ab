"""Builders with NumPy's arguments over the movement records: reshape, transpose, concatenate, pad, and the rest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from symgrad import dims
from symgrad.dims import Dim
from symgrad.errors import ShapeError
from symgrad.expr import _ARRAY_FUNCTIONS as ARRAY_FUNCTIONS
from symgrad.expr import METHODS, Expr, ExprLike, apply, as_expr, constant
from symgrad.ops.movement import ARANGE, BROADCAST_TO, CONCATENATE, DIAGONAL, EMBED_DIAGONAL, EYE, PAD, TRANSPOSE, do, flip_axis, reshape_to
from symgrad.ops.reduce import negative_axes, negative_axis

__all__ = [
    "arange", "broadcast_arrays", "broadcast_to", "concatenate", "diag", "diagonal", "expand_dims", "eye", "flip", "moveaxis", "pad",
    "ravel", "reshape", "squeeze", "stack", "swapaxes", "transpose",
]


def _dims_of(shape: Any) -> tuple[Any, ...]:
    return tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)


def arange(size: Dim) -> Expr:
    """The whole numbers ``0, 1, …, size - 1``; the size may be a named dimension.

    >>> import symgrad as sg
    >>> sg.arange("n").shape
    ('n',)
    """
    return apply(ARANGE, size=dims.check_dim(size))


def eye(rows: Dim, columns: Dim | None = None, k: int = 0) -> Expr:
    """The matrix with ones on its ``k``-th diagonal; sizes may be named dimensions.

    >>> import symgrad as sg
    >>> sg.eye("n").shape
    ('n', 'n')
    """
    m = dims.check_dim(rows)
    n = m if columns is None else dims.check_dim(columns)
    if k == 0:
        return apply(EYE, rows=m, columns=n)
    blank = apply(EYE, rows=m, columns=n)
    ones = apply(BROADCAST_TO, constant(1.0), shape=apply(DIAGONAL, blank, offset=k).shape)
    return apply(EMBED_DIAGONAL, ones, offset=k, rows=m, columns=n)


def reshape(x: ExprLike, *shape: Any) -> Expr:
    """The same elements in another shape, given as one tuple or as arguments; one entry may be -1.

    Raises ``ShapeError`` where the number of elements differs.

    >>> import symgrad as sg
    >>> sg.reshape(sg.symbol("x", ("n", 2, 3)), ("n", -1)).shape
    ('n', 6)
    """
    x = as_expr(x)
    wanted = _dims_of(shape[0]) if len(shape) == 1 else shape
    entries = [None if isinstance(d, int) and not isinstance(d, bool) and d == -1 else dims.check_dim(d) for d in wanted]
    if entries.count(None) > 1:
        raise ShapeError(f"reshape: only one entry of {tuple(wanted)} can be -1")
    if None not in entries:
        return reshape_to(x, [d for d in entries if d is not None])
    known, everything = dims.total(d for d in entries if d is not None), dims.total(x.shape)
    rest: Dim | None = None if known == 0 else dims.divide(everything, known)
    if rest is None or (isinstance(everything, int) and isinstance(known, int) and everything % known):
        raise ShapeError(f"reshape: shape {dims.format_shape(x.shape)} with {everything} elements cannot become {tuple(wanted)}")
    return reshape_to(x, [rest if d is None else d for d in entries])


def ravel(x: ExprLike) -> Expr:
    """All elements along one axis.

    >>> import symgrad as sg
    >>> sg.ravel(sg.symbol("x", ("n", 2))).shape
    ('2*n',)
    """
    return reshape(x, -1)


def transpose(x: ExprLike, *axes: Any) -> Expr:
    """The axes in the order given (one tuple or arguments), reversed if none is.

    >>> import symgrad as sg
    >>> sg.transpose(sg.symbol("x", ("n", 2, 3)), (1, 0, 2)).shape
    (2, 'n', 3)
    """
    x = as_expr(x)
    if len(axes) == 1 and (axes[0] is None or isinstance(axes[0], (tuple, list))):
        axes = () if axes[0] is None else tuple(axes[0])
        if not axes and x.ndim == 0:
            return x
    order = tuple(negative_axis("transpose", a, x) for a in axes) if axes else tuple(range(-1, -x.ndim - 1, -1))
    if order == tuple(range(-x.ndim, 0)):
        return x
    return apply(TRANSPOSE, x, axes=order)


def swapaxes(x: ExprLike, axis1: int, axis2: int) -> Expr:
    """Two axes exchanged.

    >>> import symgrad as sg
    >>> sg.swapaxes(sg.symbol("x", ("n", 2, 3)), 0, -1).shape
    (3, 2, 'n')
    """
    x = as_expr(x)
    order = list(range(-x.ndim, 0))
    i, j = negative_axis("swapaxes", axis1, x), negative_axis("swapaxes", axis2, x)
    order[i], order[j] = order[j], order[i]
    return transpose(x, order)


def moveaxis(x: ExprLike, source: Any, destination: Any) -> Expr:
    """Axes moved to other places, the rest in order.

    >>> import symgrad as sg
    >>> sg.moveaxis(sg.symbol("x", ("n", 2, 3)), 0, -1).shape
    (2, 3, 'n')
    """
    x = as_expr(x)
    sources = [negative_axis("moveaxis", a, x) for a in _dims_of(source)]
    places = [negative_axis("moveaxis", a, x) + x.ndim for a in _dims_of(destination)]
    if len(sources) != len(places):
        raise ShapeError(f"moveaxis: {len(sources)} axes to {len(places)} places")
    order = [a for a in range(-x.ndim, 0) if a not in sources]
    for place, axis in sorted(zip(places, sources, strict=True)):
        order.insert(place, axis)
    return transpose(x, order) if x.ndim else x


def broadcast_to(x: ExprLike, shape: Any) -> Expr:
    """``x`` repeated to a shape, as broadcasting does it.

    >>> import symgrad as sg
    >>> sg.broadcast_to(sg.symbol("x", 3), ("n", 3)).shape
    ('n', 3)
    """
    x = as_expr(x)
    wanted = tuple(dims.check_dim(d) for d in _dims_of(shape))
    return x if x.shape == wanted else apply(BROADCAST_TO, x, shape=wanted)


def broadcast_arrays(*operands: ExprLike) -> tuple[Expr, ...]:
    """All operands in their common shape.

    >>> import symgrad as sg
    >>> [e.shape for e in sg.broadcast_arrays(sg.symbol("x", 3), sg.symbol("y", ("n", 1)))]
    [('n', 3), ('n', 3)]
    """
    exprs = [as_expr(x) for x in operands]
    shape = dims.broadcast("broadcast_arrays", *[x.shape for x in exprs])
    return tuple(broadcast_to(x, shape) for x in exprs)


def expand_dims(x: ExprLike, axis: int | Sequence[int]) -> Expr:
    """New axes of size 1 at these places of the result.

    >>> import symgrad as sg
    >>> sg.expand_dims(sg.symbol("x", "n"), -1).shape
    ('n', 1)
    """
    x = as_expr(x)
    places = _dims_of(axis)
    ndim = x.ndim + len(places)
    new = {a + ndim for a in negative_axes("expand_dims", places, (1,) * ndim)}
    old = iter(x.shape)
    return reshape_to(x, [1 if k in new else next(old) for k in range(ndim)])


def squeeze(x: ExprLike, axis: int | Sequence[int] | None = None) -> Expr:
    """Without axes of size 1: those named, or all.

    >>> import symgrad as sg
    >>> sg.squeeze(sg.symbol("x", (1, "n", 1))).shape
    ('n',)
    """
    x = as_expr(x)
    axes = [k - x.ndim for k, d in enumerate(x.shape) if d == 1] if axis is None else negative_axes("squeeze", axis, x)
    for a in axes:
        if x.shape[a] != 1:
            raise ShapeError(f"squeeze: axis {a} of shape {dims.format_shape(x.shape)} has size {x.shape[a]}, not 1")
    return reshape_to(x, [d for k, d in enumerate(x.shape) if k - x.ndim not in axes])


def flip(x: ExprLike, axis: int | Sequence[int] | None = None) -> Expr:
    """Backwards along ``axis``, several, or all axes.

    >>> import symgrad as sg
    >>> sg.flip(sg.symbol("x", "n")).shape
    ('n',)
    """
    x = as_expr(x)
    for a in negative_axes("flip", axis, x):
        x = flip_axis(x, a)
    return x


def concatenate(parts: Sequence[ExprLike], axis: int | None = 0) -> Expr:
    """Joined along an existing axis (``None``: all flattened).

    >>> import symgrad as sg
    >>> sg.concatenate([sg.symbol("x", ("n", 2)), sg.symbol("y", ("n", 3))], axis=1).shape
    ('n', 5)
    """
    exprs = [as_expr(p) for p in parts]
    if not exprs:
        raise ShapeError("concatenate: nothing to concatenate")
    if axis is None:
        exprs, axis = [ravel(x) for x in exprs], 0
    if any(not x.shape for x in exprs):
        raise ShapeError("concatenate: a scalar has no axis: use stack")
    place = negative_axis("concatenate", axis, exprs[0])
    return exprs[0] if len(exprs) == 1 else apply(CONCATENATE, *exprs, axis=place)


def stack(parts: Sequence[ExprLike], axis: int = 0) -> Expr:
    """Joined along a new axis; all parts have one shape.

    >>> import symgrad as sg
    >>> sg.stack(sg.symbols("x y z")).shape
    (3,)
    """
    exprs = [as_expr(p) for p in parts]
    if not exprs:
        raise ShapeError("stack: nothing to stack")
    for x in exprs[1:]:
        message = f"stack: shapes {', '.join(dims.format_shape(e.shape) for e in exprs[:8])} differ"
        if x.ndim != exprs[0].ndim:
            raise ShapeError(message)
        for a, b in zip(exprs[0].shape, x.shape, strict=True):
            dims.unify(a, b, message)
    place = negative_axis("stack", axis, (1,) * (exprs[0].ndim + 1))
    return concatenate([expand_dims(x, place) for x in exprs], place)


def pad(x: ExprLike, pad_width: Any, mode: str = "constant", constant_values: ExprLike = 0) -> Expr:
    """Constants before and after the elements: ``pad_width`` is a number, ``(before, after)``, or such a pair per axis.

    >>> import symgrad as sg
    >>> sg.pad(sg.symbol("x", ("n", 2)), ((0, 0), (1, 2))).shape
    ('n', 5)
    """
    x = as_expr(x)
    if mode != "constant":
        raise ValueError(f"pad: mode {mode!r} is not available, only 'constant'")
    try:
        widths = np.broadcast_to(np.asarray(pad_width), (x.ndim, 2)).tolist()
    except ValueError:
        raise ShapeError(f"pad: widths {pad_width} for shape {dims.format_shape(x.shape)}") from None
    if any(isinstance(w, bool) or not isinstance(w, int) for pair in widths for w in pair):
        raise TypeError(f"pad: widths are ints, not {pad_width!r}")
    before, after = tuple(w[0] for w in widths), tuple(w[1] for w in widths)
    if not any(before) and not any(after):
        return x
    zeros = (0,) * x.ndim
    padded = apply(PAD, x, before=before, after=after, interior=zeros)
    fill = as_expr(constant_values)
    if fill.op.name == "constant" and not fill.shape and fill.params["value"] == 0:
        return padded
    inside = apply(PAD, apply(BROADCAST_TO, constant(True), shape=x.shape), before=before, after=after, interior=zeros)
    return do("where", inside, padded, fill)


def diagonal(x: ExprLike, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Expr:
    """The diagonal of two axes, as the last axis of the result.

    >>> import symgrad as sg
    >>> sg.diagonal(sg.symbol("A", ("n", "n")), 1).shape
    ('n - 1',)
    """
    x = as_expr(x)
    i, j = negative_axis("diagonal", axis1, x), negative_axis("diagonal", axis2, x)
    if i == j:
        raise ShapeError(f"diagonal: axis1 and axis2 are both {axis1}")
    order = (*[k for k in range(-x.ndim, 0) if k not in (i, j)], i, j)
    return apply(DIAGONAL, transpose(x, order), offset=int(offset))


def diag(x: ExprLike, k: int = 0) -> Expr:
    """NumPy's ``diag``: of a vector the square matrix with it on its ``k``-th diagonal, of a matrix that diagonal.

    Raises ``ShapeError`` for anything else.

    >>> import symgrad as sg
    >>> x, A = sg.symbol("x", "n"), sg.symbol("A", ("n", "n"))
    >>> sg.grad(x @ sg.diag(x) @ x, x), sg.diag(A).shape
    (3*x**2, ('n',))
    """
    x = as_expr(x)
    if x.ndim == 2:
        return diagonal(x, k)
    if x.ndim != 1:
        raise ShapeError(f"diag: shape {dims.format_shape(x.shape)} is neither a vector nor a matrix (sg.diagonal takes stacks)")
    size = dims.add(x.shape[0], abs(k))
    return apply(EMBED_DIAGONAL, x, offset=int(k), rows=size, columns=size)


def _vstack(parts: Sequence[ExprLike]) -> Expr:
    return concatenate([x if x.ndim > 1 else reshape(x, (1, -1)) for x in map(as_expr, parts)], 0)


def _hstack(parts: Sequence[ExprLike]) -> Expr:
    exprs = [x if x.ndim else reshape(x, 1) for x in map(as_expr, parts)]
    return concatenate(exprs, 1 if exprs[0].ndim > 1 else 0)


METHODS.update(reshape=reshape, transpose=transpose)
ARRAY_FUNCTIONS.update({
    np.reshape: reshape, np.ravel: ravel, np.transpose: transpose, np.swapaxes: swapaxes, np.moveaxis: moveaxis,
    np.broadcast_to: broadcast_to, np.broadcast_arrays: broadcast_arrays, np.expand_dims: expand_dims, np.squeeze: squeeze,
    np.flip: flip, np.concatenate: concatenate, np.stack: stack, np.pad: pad, np.diagonal: diagonal,
    np.diag: diag,
    np.vstack: _vstack, np.hstack: _hstack,
})
