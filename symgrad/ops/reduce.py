"""Reductions: sum, prod, max, min, argmax, argmin, cumsum, and the composites built on them.

A composite (mean, softmax, log_softmax, logsumexp, norm) has ``expand``, what it means in simpler ops,
and a derivative of its own that reuses its output. ``var`` and ``std`` are plain formulas.

Axes in params are negative (counted from the end); an empty reduction gives the identity:
0 for sum, 1 for prod, -inf for max, inf for min, and NaN for mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from symgrad import dims
from symgrad.dims import Dim, Shape
from symgrad.errors import ShapeError
from symgrad.expr import _ARRAY_FUNCTIONS as ARRAY_FUNCTIONS
from symgrad.expr import METHODS, Array, Expr, ExprLike, Op, apply, as_expr, common, constant, integer, promoted, real, register
from symgrad.ops.movement import BROADCAST_TO, SIZE, TRANSPOSE, do, flip_axis, reshape_to, slice_axis

__all__ = [
    "argmax", "argmin", "cumsum", "log_softmax", "logsumexp", "max", "mean", "min", "norm", "prod", "size", "softmax",
    "std", "sum", "var",
]

Axes = tuple[int, ...]
Rule = tuple[Expr | None, ...]
Axis = int | Sequence[int] | None


# --- shapes and axes -------------------------------------------------------------------------------


def negative_axis(operation: str, axis: Any, x: Expr | Shape) -> int:
    """One axis counted from the end; ``ShapeError`` where there is none."""
    shape = x.shape if isinstance(x, Expr) else x
    if isinstance(axis, bool) or not hasattr(axis, "__index__"):
        raise TypeError(f"{operation}: an axis is an int, not {axis!r}")
    k = axis.__index__()
    if not -len(shape) <= k < len(shape):
        raise ShapeError(f"{operation}: axis {k} is out of range for shape {dims.format_shape(shape)} with {len(shape)} dimensions")
    return int(k - len(shape) if k >= 0 else k)


def negative_axes(operation: str, axis: Any, x: Expr | Shape) -> Axes:
    """The axes counted from the end, in order; all of them for ``None``."""
    ndim = x.ndim if isinstance(x, Expr) else len(x)
    if axis is None:
        return tuple(range(-ndim, 0))
    axes = sorted(negative_axis(operation, a, x) for a in (axis if isinstance(axis, (tuple, list)) else (axis,)))
    if len(set(axes)) < len(axes):
        raise ShapeError(f"{operation}: an axis is named twice in {axis!r}")
    return tuple(axes)


def _reduced(x: Shape, axes: Axes, keepdims: bool) -> Shape:
    if axes and axes[0] < -len(x):
        raise ShapeError(f"axis {axes[0]} is out of range for shape {dims.format_shape(x)} with {len(x)} dimensions")
    kept = [1 if k - len(x) in axes else d for k, d in enumerate(x)]
    return tuple(kept) if keepdims else tuple(d for k, d in enumerate(x) if k - len(x) not in axes)


def _reduced_one(x: Shape, axis: int, keepdims: bool) -> Shape:
    return _reduced(x, (axis,), keepdims)


def keep(reduced: Expr, x: Expr, axes: Axes) -> Expr:
    """A reduction's result (or adjoint) so that it broadcasts against ``x``: the reduced axes as axes of size 1."""
    return reduced if not reduced.shape else reshape_to(reduced, _reduced(x.shape, axes, True))


def spread(reduced: Expr, x: Expr, axes: Axes) -> Expr:
    """A reduction's result (or adjoint) repeated along the reduced axes of ``x``."""
    kept = keep(reduced, x, axes)
    return kept if kept.shape == x.shape else apply(BROADCAST_TO, kept, shape=x.shape)


def total_over(x: Expr, axes: Axes) -> Expr:
    """The sum over axes, so that it broadcasts against ``x``."""
    return apply(SUM, x, axes=axes, keepdims=len(axes) < x.ndim)


def size(x: ExprLike, axis: Axis = None) -> Expr:
    """The number of elements of ``x``, or of one or several of its axes, as an expression.

    >>> import symgrad as sg
    >>> int(sg.size(sg.symbol("x", ("n", 3)), axis=1))
    3
    """
    x = as_expr(x)
    return size_of(dims.total(x.shape[a] for a in negative_axes("size", axis, x)))


def size_of(dim: Dim) -> Expr:
    """A dimension as an expression."""
    return constant(dim) if isinstance(dim, int) else apply(SIZE, dim=dim)


# --- sum, prod, max, min ---------------------------------------------------------------------------

_MATRIX = np.array([[0.5, -1.25, 2.0], [1.5, 0.75, -0.5]])
_REDUCTION_SAMPLES = (
    (_MATRIX, {"axes": (-2, -1), "keepdims": False}),
    (_MATRIX, {"axes": (-1,), "keepdims": True}),
    (_MATRIX, {"axes": (-2,), "keepdims": False}),
)
_INDEX_SAMPLES = ((_MATRIX, {"axis": -1, "keepdims": False}), (_MATRIX, {"axis": -2, "keepdims": True}))

SUM = register(Op(
    name="sum", family="reduce", doc="the sum over axes",
    shape=_reduced, kind=promoted, linear=True,
    derivative=lambda g, y, x, axes, keepdims: (spread(g, x, axes),),
    evaluate=lambda x, axes, keepdims: np.sum(x, axis=axes, keepdims=keepdims),
    domain=((-np.inf, np.inf),), samples=_REDUCTION_SAMPLES,
))


def _to_front_flat(x: Expr, axes: Axes) -> Expr:
    """``x`` with the reduced axes last, as one axis."""
    rest = tuple(k for k in range(-x.ndim, 0) if k not in axes)
    order = rest + axes
    moved = x if order == tuple(range(-x.ndim, 0)) else apply(TRANSPOSE, x, axes=order)
    return reshape_to(moved, (*[x.shape[k] for k in rest], dims.total(x.shape[k] for k in axes)))


def _from_front_flat(flat: Expr, x: Expr, axes: Axes) -> Expr:
    order = tuple(k for k in range(-x.ndim, 0) if k not in axes) + axes
    moved = reshape_to(flat, tuple(x.shape[k] for k in order))
    inverse = tuple(order.index(k) - x.ndim for k in range(-x.ndim, 0))
    return moved if inverse == tuple(range(-x.ndim, 0)) else apply(TRANSPOSE, moved, axes=inverse)


_SHORT = 16  # up to here n² products are cheaper than a tree, and read better


def _exclusive_products(x: Expr) -> Expr:
    """For each element of the last axis the product of the others: no division, right at zeros to every order.

    Of a tree of pairs where the size is known, so in O(n); along a named dimension in O(n²).
    """
    n = x.shape[-1]
    if not isinstance(n, int) or n <= _SHORT:  # the product of each row of a matrix with its diagonal replaced by ones
        others = do("where", do("equal", do("eye", rows=n, columns=n), 1), 1, reshape_to(x, (*x.shape[:-1], 1, n)))
        return apply(PROD, others, axes=(-1,), keepdims=False)
    levels = [x]  # a tree: up it multiplies pairs, down each half is multiplied with its sibling
    widths = [n]
    while (width := widths[-1]) > 1:
        pairs = width - width % 2
        up = do("mul", slice_axis(levels[-1], -1, 0, pairs, 2), slice_axis(levels[-1], -1, 1, pairs, 2))
        levels.append(do("concatenate", up, slice_axis(levels[-1], -1, pairs, width), axis=-1) if width % 2 else up)
        widths.append(width - width // 2)
    down = apply(BROADCAST_TO, constant(1.0), shape=levels[-1].shape)
    for level, width in zip(reversed(levels[:-1]), reversed(widths[:-1]), strict=True):
        pairs = width - width % 2
        halves = (*level.shape[:-1], pairs // 2, 2)
        swapped = flip_axis(reshape_to(slice_axis(level, -1, 0, pairs), halves), -1)
        above = reshape_to(slice_axis(down, -1, 0, pairs // 2), (*level.shape[:-1], pairs // 2, 1))
        both = reshape_to(do("mul", above, swapped), (*level.shape[:-1], pairs))
        down = do("concatenate", both, slice_axis(down, -1, pairs // 2, pairs // 2 + 1), axis=-1) if width % 2 else both
    return down


def _prod_rule(g: Expr, y: Expr, x: Expr, axes: Axes, keepdims: bool) -> Rule:
    if dims.total(x.shape) == 0 or not axes:
        return (spread(g, x, axes),)
    return (spread(g, x, axes) * _from_front_flat(_exclusive_products(_to_front_flat(x, axes)), x, axes),)


PROD = register(Op(
    name="prod", family="reduce", doc="the product over axes; its derivative is right at zeros",
    shape=_reduced, kind=promoted,
    derivative=_prod_rule,
    evaluate=lambda x, axes, keepdims: np.prod(x, axis=axes, keepdims=keepdims),
    domain=((-np.inf, np.inf),), samples=_REDUCTION_SAMPLES,
))


def _extremum_rule(g: Expr, y: Expr, x: Expr, axes: Axes, keepdims: bool) -> Rule:
    """Ties share evenly; where the extremum is NaN nothing is hit, and 0/0 is NaN."""
    hit = do("equal", x, keep(y, x, axes))
    return (spread(g, x, axes) * (hit / total_over(hit, axes)),)


def _evaluate_extremum(reduction: Any, identity: float) -> Any:
    def evaluate(x: Array, axes: Axes, keepdims: bool) -> Array:
        x = np.asarray(x)
        initial = {"initial": identity} if x.dtype.kind == "f" else {}
        return np.asarray(reduction(x, axis=axes, keepdims=keepdims, **initial))

    return evaluate


MAX = register(Op(
    name="max", family="reduce", doc="the largest element over axes; ties share the gradient evenly",
    shape=_reduced, kind=common, derivative=_extremum_rule, evaluate=_evaluate_extremum(np.max, -np.inf),
    domain=((-np.inf, np.inf),), samples=_REDUCTION_SAMPLES,
))
MIN = register(Op(
    name="min", family="reduce", doc="the smallest element over axes; ties share the gradient evenly",
    shape=_reduced, kind=common, derivative=_extremum_rule, evaluate=_evaluate_extremum(np.min, np.inf),
    domain=((-np.inf, np.inf),), samples=_REDUCTION_SAMPLES,
))
ARGMAX = register(Op(
    name="argmax", family="reduce", doc="the index of the first largest element",
    shape=_reduced_one, kind=integer, derivative=lambda g, y, x, axis, keepdims: (None,),
    evaluate=lambda x, axis, keepdims: np.argmax(x, axis=axis, keepdims=keepdims),
    domain=((-np.inf, np.inf),), samples=_INDEX_SAMPLES,
))
ARGMIN = register(Op(
    name="argmin", family="reduce", doc="the index of the first smallest element",
    shape=_reduced_one, kind=integer, derivative=lambda g, y, x, axis, keepdims: (None,),
    evaluate=lambda x, axis, keepdims: np.argmin(x, axis=axis, keepdims=keepdims),
    domain=((-np.inf, np.inf),), samples=_INDEX_SAMPLES,
))


def _evaluate_cumsum(x: Array, axis: int, reverse: bool) -> Array:
    x = np.asarray(x)
    return np.flip(np.cumsum(np.flip(x, axis), axis), axis) if reverse else np.cumsum(x, axis)


def _same_shape(x: Shape, axis: int, **params: Any) -> Shape:
    if not -len(x) <= axis < 0:
        raise ShapeError(f"axis {axis} is out of range for shape {dims.format_shape(x)} with {len(x)} dimensions")
    return x


CUMSUM: Op = register(Op(
    name="cumsum", family="reduce", doc="running sums along an axis, from its end if reverse",
    shape=_same_shape, kind=promoted, linear=True,
    derivative=lambda g, y, x, axis, reverse: (apply(CUMSUM, g, axis=axis, reverse=not reverse),),
    evaluate=_evaluate_cumsum,
    domain=((-np.inf, np.inf),), samples=((_MATRIX, {"axis": -1, "reverse": False}), (_MATRIX, {"axis": -2, "reverse": True})),
))


# --- composites ------------------------------------------------------------------------------------


def _count(x: Expr, axes: Axes) -> Expr:
    return size_of(dims.total(x.shape[a] for a in axes))


def _evaluate_mean(x: Array, axes: Axes, keepdims: bool) -> Array:
    with np.errstate(invalid="ignore"):
        total = np.sum(x, axis=axes, keepdims=keepdims, dtype=np.result_type(x, np.float32) if np.asarray(x).dtype.kind == "f" else float)
        return np.asarray(total / np.prod([np.shape(x)[a] for a in axes], dtype=float).astype(np.asarray(total).dtype))


MEAN = register(Op(
    name="mean", family="composite", doc="the mean over axes; NaN over none",
    shape=_reduced, kind=real, linear=True,
    derivative=lambda g, y, x, axes, keepdims: (spread(g / _count(x, axes), x, axes),),
    evaluate=_evaluate_mean,
    expand=lambda x, axes, keepdims: apply(SUM, x, axes=axes, keepdims=keepdims) / _count(x, axes),
    domain=((-np.inf, np.inf),), samples=_REDUCTION_SAMPLES,
))



def _shifted(x: Expr, axes: Axes) -> Expr:
    return x - apply(MAX, x, axes=axes, keepdims=True)


def _softmax_over(x: Expr, axes: Axes) -> Expr:
    """softmax over one or several axes."""
    if len(axes) == 1:
        return apply(SOFTMAX, x, axis=axes[0])
    weights = do("exp", _shifted(x, axes))
    return weights / apply(SUM, weights, axes=axes, keepdims=True)


def _evaluate_softmax(x: Array, axis: int) -> Array:
    x = np.asarray(x)
    with np.errstate(invalid="ignore"):
        e = np.exp(x - np.max(x, axis=axis, keepdims=True, initial=-np.inf))
        return np.asarray(e / np.sum(e, axis=axis, keepdims=True))


SOFTMAX = register(Op(
    name="softmax", family="composite", doc="exp(x)/sum(exp(x)) along an axis; NaN where all are -inf",
    shape=_same_shape, kind=real,
    derivative=lambda g, y, x, axis: (y * (g - total_over(g * y, (axis,))),),
    evaluate=_evaluate_softmax,
    expand=lambda x, axis: (lambda e: e / apply(SUM, e, axes=(axis,), keepdims=True))(do("exp", _shifted(x, (axis,)))),
    domain=((-np.inf, np.inf),), samples=((_MATRIX, {"axis": -1}), (_MATRIX, {"axis": -2})), cost=25.0,
))


def _expand_log_softmax(x: Expr, axis: int) -> Expr:
    shifted = _shifted(x, (axis,))
    return shifted - do("log", apply(SUM, do("exp", shifted), axes=(axis,), keepdims=True))


def _evaluate_log_softmax(x: Array, axis: int) -> Array:
    x = np.asarray(x)
    with np.errstate(invalid="ignore"):
        shifted = x - np.max(x, axis=axis, keepdims=True, initial=-np.inf)
        return np.asarray(shifted - np.log(np.sum(np.exp(shifted), axis=axis, keepdims=True)))


LOG_SOFTMAX = register(Op(
    name="log_softmax", family="composite", doc="x - logsumexp(x) along an axis",
    shape=_same_shape, kind=real,
    derivative=lambda g, y, x, axis: (g - do("exp", y) * total_over(g, (axis,)),),
    evaluate=_evaluate_log_softmax, expand=_expand_log_softmax,
    domain=((-np.inf, np.inf),), samples=((_MATRIX, {"axis": -1}), (_MATRIX, {"axis": -2})), cost=25.0,
))


def _expand_logsumexp(x: Expr, axes: Axes, keepdims: bool) -> Expr:
    """An infinite maximum is not subtracted: logsumexp of [-inf, -inf] is -inf, of [inf, 1] inf."""
    largest = apply(MAX, x, axes=axes, keepdims=True)
    pivot = do("where", do("isfinite", largest), largest, 0.0)
    result = do("log", apply(SUM, do("exp", x - pivot), axes=axes, keepdims=True)) + pivot
    return result if keepdims else reshape_to(result, _reduced(x.shape, axes, False))


def _evaluate_logsumexp(x: Array, axes: Axes, keepdims: bool) -> Array:
    x = np.asarray(x)
    with np.errstate(divide="ignore", over="ignore"):
        largest = np.max(x, axis=axes, keepdims=True, initial=-np.inf)
        pivot = np.where(np.isfinite(largest), largest, x.dtype.type(0))
        result = np.log(np.sum(np.exp(x - pivot), axis=axes, keepdims=True)) + pivot
    return np.asarray(result if keepdims else np.squeeze(result, axes))


LOGSUMEXP = register(Op(
    name="logsumexp", family="composite",
    doc="log(sum(exp(x))) over axes without overflow; -inf over none; its gradient softmax(x) is NaN where the result is infinite",
    shape=_reduced, kind=real,
    derivative=lambda g, y, x, axes, keepdims: (keep(g, x, axes) * _softmax_over(x, axes),),
    evaluate=_evaluate_logsumexp, expand=_expand_logsumexp,
    domain=((-np.inf, np.inf),), samples=_REDUCTION_SAMPLES, cost=25.0,
))


def _norm_rule(g: Expr, y: Expr, x: Expr, axes: Axes, keepdims: bool) -> Rule:
    length = keep(y, x, axes)
    return (keep(g, x, axes) * do("ratio", x, length),)


def _expand_norm(x: Expr, axes: Axes, keepdims: bool) -> Expr:
    """Scaled by the largest element, so that squares neither overflow nor underflow."""
    largest = apply(MAX, do("abs", x), axes=axes, keepdims=True)
    scale = do("where", do("logical_and", do("isfinite", largest), do("greater", largest, 0.0)), largest, 1.0)
    result = scale * do("sqrt", apply(SUM, do("square", x / scale), axes=axes, keepdims=True))
    return result if keepdims else reshape_to(result, _reduced(x.shape, axes, False))


def _evaluate_norm(x: Array, axes: Axes, keepdims: bool) -> Array:
    x = np.asarray(x)
    largest = np.max(np.abs(x), axis=axes, keepdims=True, initial=0)
    scale = np.where(np.isfinite(largest) & (largest > 0), largest, x.dtype.type(1))
    with np.errstate(under="ignore"):
        result = scale * np.sqrt(np.sum(np.square(x / scale), axis=axes, keepdims=True))
    return np.asarray(result if keepdims else np.squeeze(result, axes))


NORM = register(Op(
    name="norm", family="composite", doc="the Euclidean length over axes, without overflow; gradient 0 at 0",
    shape=_reduced, kind=real,
    derivative=_norm_rule, evaluate=_evaluate_norm, expand=_expand_norm,
    domain=((-np.inf, np.inf),), samples=_REDUCTION_SAMPLES, cost=10.0,
))


# --- builders --------------------------------------------------------------------------------------


def _reduce(op: Op, x: ExprLike, axis: Axis, keepdims: bool) -> Expr:
    x = as_expr(x)
    axes = negative_axes(op.name, axis, x)
    if not axes and op.kind(x.kind) == x.kind and op.name != "norm":
        return x  # nothing to reduce
    return apply(op, x, axes=axes, keepdims=bool(keepdims))


def sum(x: ExprLike, axis: Axis = None, keepdims: bool = False) -> Expr:
    """The sum over ``axis`` (an int, several, or all); 0 over none.

    >>> import symgrad as sg
    >>> sg.sum(sg.symbol("x", ("n", 3)), axis=0).shape
    (3,)
    """
    return _reduce(SUM, x, axis, keepdims)


def prod(x: ExprLike, axis: Axis = None, keepdims: bool = False) -> Expr:
    """The product over ``axis``; 1 over none. The gradient is right where elements are 0.

    >>> import symgrad as sg
    >>> sg.prod(sg.symbol("x", 3)).shape
    ()
    """
    return _reduce(PROD, x, axis, keepdims)


def max(x: ExprLike, axis: Axis = None, keepdims: bool = False) -> Expr:
    """The largest element over ``axis``; -inf over none. Ties share the gradient evenly.

    >>> import symgrad as sg
    >>> sg.max(sg.symbol("x", (2, 3)), axis=-1, keepdims=True).shape
    (2, 1)
    """
    return _reduce(MAX, x, axis, keepdims)


def min(x: ExprLike, axis: Axis = None, keepdims: bool = False) -> Expr:
    """The smallest element over ``axis``; inf over none. Ties share the gradient evenly.

    >>> import symgrad as sg
    >>> sg.min(sg.symbol("x", (2, 3))).shape
    ()
    """
    return _reduce(MIN, x, axis, keepdims)


def mean(x: ExprLike, axis: Axis = None, keepdims: bool = False) -> Expr:
    """The mean over ``axis``; NaN over none.

    >>> import symgrad as sg
    >>> sg.mean(sg.symbol("x", ("n", 3)), axis=0).shape
    (3,)
    """
    return _reduce(MEAN, x, axis, keepdims)


def _arg(op: Op, x: ExprLike, axis: int | None, keepdims: bool) -> Expr:
    x = as_expr(x)
    if axis is not None and x.ndim:
        return apply(op, x, axis=negative_axis(op.name, axis, x), keepdims=bool(keepdims))
    flat = apply(op, reshape_to(x, (dims.total(x.shape),)), axis=-1, keepdims=False)
    return reshape_to(flat, (1,) * x.ndim) if keepdims else flat


def argmax(x: ExprLike, axis: int | None = None, keepdims: bool = False) -> Expr:
    """The index of the first largest element along ``axis``, or of the flattened array. No gradient passes.

    >>> import symgrad as sg
    >>> sg.argmax(sg.symbol("x", ("n", 3)), axis=1).shape
    ('n',)
    """
    return _arg(ARGMAX, x, axis, keepdims)


def argmin(x: ExprLike, axis: int | None = None, keepdims: bool = False) -> Expr:
    """The index of the first smallest element along ``axis``, or of the flattened array. No gradient passes.

    >>> import symgrad as sg
    >>> sg.argmin(sg.symbol("x", ("n", 3)), axis=1).shape
    ('n',)
    """
    return _arg(ARGMIN, x, axis, keepdims)


def cumsum(x: ExprLike, axis: int | None = None) -> Expr:
    """Running sums along ``axis``, or of the flattened array.

    >>> import symgrad as sg
    >>> sg.cumsum(sg.symbol("x", (2, 3))).shape
    (6,)
    """
    x = as_expr(x)
    if axis is None:
        x, axis = reshape_to(x, (dims.total(x.shape),)), -1
    return apply(CUMSUM, x, axis=negative_axis("cumsum", axis, x), reverse=False)


def var(x: ExprLike, axis: Axis = None, ddof: int = 0, keepdims: bool = False) -> Expr:
    """The variance over ``axis``: ``sum((x - mean(x))**2)/(size - ddof)``.

    >>> import symgrad as sg
    >>> sg.var(sg.symbol("x", ("n", 3)), axis=0).shape
    (3,)
    """
    x = as_expr(x)
    deviations = do("square", x - mean(x, axis, keepdims=True))
    if ddof == 0:
        return mean(deviations, axis, keepdims)
    return sum(deviations, axis, keepdims) / (size(x, axis) - ddof)


def std(x: ExprLike, axis: Axis = None, ddof: int = 0, keepdims: bool = False) -> Expr:
    """The standard deviation over ``axis``, ``sqrt(var(x))``; its gradient is not finite where it is 0.

    >>> import symgrad as sg
    >>> sg.std(sg.symbol("x", ("n", 3)), axis=0).shape
    (3,)
    """
    return do("sqrt", var(x, axis, ddof, keepdims))


def softmax(x: ExprLike, axis: int = -1) -> Expr:
    """``exp(x)/sum(exp(x))`` along ``axis``, exact at any size of ``x``.

    >>> import symgrad as sg
    >>> sg.softmax(sg.symbol("x", ("n", 3))).shape
    ('n', 3)
    """
    x = as_expr(x)
    return apply(SOFTMAX, x, axis=negative_axis("softmax", axis, x))


def log_softmax(x: ExprLike, axis: int = -1) -> Expr:
    """``log(softmax(x))`` along ``axis``, exact at any size of ``x``.

    >>> import symgrad as sg
    >>> sg.log_softmax(sg.symbol("x", ("n", 3))).shape
    ('n', 3)
    """
    x = as_expr(x)
    return apply(LOG_SOFTMAX, x, axis=negative_axis("log_softmax", axis, x))


def logsumexp(x: ExprLike, axis: Axis = None, keepdims: bool = False) -> Expr:
    """``log(sum(exp(x)))`` over ``axis`` without overflow; -inf over none.

    The gradient is softmax(x): NaN where the result is infinite.

    >>> import symgrad as sg
    >>> sg.logsumexp(sg.symbol("x", ("n", 3)), axis=1).shape
    ('n',)
    """
    return _reduce(LOGSUMEXP, x, axis, keepdims)


def norm(x: ExprLike, ord: float | str | None = None, axis: Axis = None, keepdims: bool = False) -> Expr:
    """The length of a vector: Euclidean unless ``ord`` is 1, inf, -inf or another number.

    Over all elements (``axis=None``), one axis, or two axes of matrices (``ord`` None or ``"fro"`` only).
    The Euclidean norm neither overflows nor underflows, and its gradient at 0 is 0.

    >>> import symgrad as sg
    >>> sg.norm(sg.symbol("x", ("n", 3)), axis=1).shape
    ('n',)
    """
    x = as_expr(x)
    axes = negative_axes("norm", axis, x)
    if ord is None or ord == "fro" or (ord == 2 and len(axes) <= 1):
        return apply(NORM, x, axes=axes, keepdims=bool(keepdims))
    if isinstance(ord, str) or len(axes) > 1:
        raise ValueError(f"norm: ord={ord!r} of {len(axes)} axes is not available: ord=None (Euclidean) is, and numbers along one axis")
    magnitude = do("abs", x)
    if ord in (np.inf, -np.inf):
        return (max if ord > 0 else min)(magnitude, axis, keepdims)
    if ord == 1:
        return sum(magnitude, axis, keepdims)
    if ord == 0:
        return sum(do("not_equal", x, 0), axis, keepdims) * 1.0
    return do("pow", sum(do("pow", magnitude, ord), axis, keepdims), 1.0 / ord)


METHODS.update(
    sum=sum, mean=mean, var=var, std=std, prod=prod, max=max, min=min, argmax=argmax, argmin=argmin, cumsum=cumsum,
)
ARRAY_FUNCTIONS.update({
    np.sum: sum, np.mean: mean, np.prod: prod, np.max: max, np.min: min, np.amax: max, np.amin: min, np.argmax: argmax,
    np.argmin: argmin, np.cumsum: cumsum, np.linalg.norm: norm, np.size: size,
    np.var: lambda a, axis=None, ddof=0, keepdims=False: var(a, axis, ddof, keepdims),
    np.std: lambda a, axis=None, ddof=0, keepdims=False: std(a, axis, ddof, keepdims),
})
