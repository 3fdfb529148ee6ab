"""Functions built from the elementwise ops, NumPy's other names for them, and the tables of methods and NumPy functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from symgrad import dims
from symgrad.errors import ShapeError
from symgrad.expr import _ARRAY_FUNCTIONS, METHODS, Expr, ExprLike, as_expr
from symgrad.ops import elementwise as e
from symgrad.ops import elementwise_functions as f
from symgrad.ops.elementwise_activations import softplus
from symgrad.ops.movement import do, reshape_to
from symgrad.ops.reduce import max as largest
from symgrad.ops.reduce import negative_axis

__all__ = [
    "absolute", "arccos", "arccosh", "arcsin", "arcsinh", "arctan", "arctan2", "arctanh", "clip", "divide", "floor_divide", "ln",
    "logical_and", "logical_not", "logical_or", "maxout", "multiply", "negative", "one_hot", "power", "remainder", "round", "subtract",
    "true_divide", "where",
]  # fmt: skip

arcsin, arccos, arctan, arctan2 = f.asin, f.acos, f.atan, f.atan2
arcsinh, arccosh, arctanh = f.asinh, f.acosh, f.atanh
ln, power, absolute = f.log, f.pow, e.abs
negative, subtract, multiply, divide, true_divide, floor_divide, remainder = e.neg, e.sub, e.mul, e.div, e.div, e.floordiv, e.mod


def clip(x: ExprLike, low: ExprLike | None = None, high: ExprLike | None = None) -> Expr:
    """``x``, but at least ``low`` and at most ``high`` (``None``: no bound), with broadcasting.

    On a bound the derivative is 1. Where ``low > high`` the result is ``high``, as NumPy has it.

    >>> import symgrad as sg
    >>> float(sg.clip(1.5, 0, 1))
    1.0
    """
    if low is None and high is None:
        return as_expr(x)
    if low is None:
        return e.where(e.greater(x, high), high, x)  # type: ignore[arg-type]
    if high is None:
        return e.where(e.less(x, low), low, x)
    return e.clip_between(x, low, high)


def round(x: ExprLike, decimals: int = 0) -> Expr:
    """Rounded to ``decimals`` places, halves to the even digit. Its derivative is 0.

    >>> import symgrad as sg
    >>> float(sg.round(2.5)), float(sg.round(0.125, 2))
    (2.0, 0.12)
    """
    if not isinstance(decimals, int):
        raise TypeError(f"round: decimals is an int, not {decimals!r}")
    if decimals == 0:
        return e.round(x)
    scale = 10.0 ** abs(decimals)
    return e.round(e.mul(x, scale)) / scale if decimals > 0 else e.round(e.div(x, scale)) * scale


def maxout(x: ExprLike, pieces: int, axis: int = -1) -> Expr:
    """The largest of every ``pieces`` neighbours along ``axis``, which becomes that much shorter.

    Raises ``ShapeError`` where ``pieces`` does not divide the axis.
    Source: Goodfellow et al., "Maxout networks", arXiv:1302.4389, equation 1.

    >>> import symgrad as sg
    >>> sg.maxout(sg.symbol("x", ("n", 6)), 2).shape
    ('n', 3)
    """
    x = as_expr(x)
    k = negative_axis("maxout", axis, x) + x.ndim
    if isinstance(pieces, bool) or not isinstance(pieces, int) or pieces < 1:
        raise ValueError(f"maxout: pieces is a whole number from 1, not {pieces!r}")
    size = x.shape[k]
    groups = dims.divide(size, pieces)
    dims.require(dims.multiply(groups, pieces), "==", size, f"maxout: an axis of {size} does not split into groups of {pieces}")
    return largest(reshape_to(x, (*x.shape[:k], groups, pieces, *x.shape[k + 1 :])), axis=k + 1)


def one_hot(i: ExprLike, size: int) -> Expr:
    """1.0 at each label's place along a new last axis of ``size`` entries, 0.0 elsewhere (and where a label is out of range).

    ``i``: whole numbers. Raises ``TypeError`` for real ones.

    >>> import symgrad as sg
    >>> sg.one_hot(sg.symbol("t", "n", integer=True), 10).shape
    ('n', 10)
    """
    i = as_expr(i)
    if i.kind == "real":
        raise TypeError("one_hot takes whole numbers: make the symbol with integer=True")
    width = dims.check_dim(size)
    if width == 0:
        raise ShapeError("one_hot: size must be at least 1")
    return e.to_real(e.equal(reshape_to(i, (*i.shape, 1)), do("arange", size=width)))


# --- methods and operators of Expr -----------------------------------------------------------------


def _bitwise(symbol: str, name: str, function: Callable[..., Expr]) -> Callable[..., Expr]:
    """``& | ~`` are logic here, as for boolean arrays; on numbers they would be bitwise, which is no op of ours."""

    def build(*operands: Any) -> Expr:
        nodes = [as_expr(o) for o in operands]
        for node in nodes:
            if node.kind != "boolean":
                how = f"compare first, as in (x > 0) {symbol} (y > 0), or use sg.{name}"
                raise TypeError(f"{symbol} joins conditions, this is {node.kind}: {how}")
        return function(*nodes)

    return build


def _truth(function: Callable[..., Expr]) -> Callable[..., Expr]:
    """NumPy's logical functions take numbers too: what is not 0 is true."""

    def build(*operands: ExprLike) -> Expr:
        nodes = [as_expr(o) for o in operands]
        return function(*(n if n.kind == "boolean" else e.not_equal(n, 0) for n in nodes))

    build.__name__, build.__doc__ = function.__name__, function.__doc__
    return build



def where(condition: ExprLike, a: ExprLike, b: ExprLike) -> Expr:
    """``a`` where the condition holds, ``b`` elsewhere, with broadcasting; a number as condition holds where it is not 0.

    The branch not taken contributes neither value nor NaN, to the gradient either.

    >>> import symgrad as sg
    >>> x = sg.symbol("x")
    >>> sg.where(x > 0, x, 0).kind
    'real'
    """
    condition = as_expr(condition)
    return e.where(condition if condition.kind == "boolean" else e.not_equal(condition, 0), a, b)


logical_and, logical_or, logical_not = _truth(e.logical_and), _truth(e.logical_or), _truth(e.logical_not)

METHODS.update({
    "add": e.add, "sub": e.sub, "mul": e.mul, "div": e.div, "floordiv": e.floordiv, "mod": e.mod, "pow": f.pow, "neg": e.neg, "abs": e.abs,
    "less": e.less, "less_equal": e.less_equal, "greater": e.greater, "greater_equal": e.greater_equal,
    "logical_and": _bitwise("&", "logical_and", e.logical_and), "logical_or": _bitwise("|", "logical_or", e.logical_or),
    "logical_not": _bitwise("~", "logical_not", e.logical_not), "named": e.named, "round": round, "clip": clip,
})  # fmt: skip


def _same_names() -> dict[Any, Callable[..., Expr]]:
    """NumPy's ufuncs that are called as ours are."""
    from symgrad.ops import elementwise_activations as a

    ours = {**vars(a), **vars(f), **vars(e), **globals()}
    names = (
        "add subtract multiply divide true_divide floor_divide remainder power negative absolute sign floor ceil square "
        "less less_equal greater greater_equal equal not_equal logical_and logical_or logical_not isnan isfinite maximum minimum "
        "exp expm1 log log1p sqrt hypot sin cos tan arcsin arccos arctan arctan2 sinh cosh tanh arcsinh arccosh arctanh"
    ).split()
    return {getattr(np, name): ours[name] for name in names}


def _where(condition: ExprLike, *branches: ExprLike) -> Expr:
    if len(branches) != 2:
        raise TypeError("np.where of an expression takes three arguments: a condition and two branches")
    return where(condition, *branches)


def _clip(
    a: ExprLike, a_min: ExprLike | None = None, a_max: ExprLike | None = None, *, min: ExprLike | None = None, max: ExprLike | None = None
) -> Expr:
    """NumPy has two names for each bound."""
    return clip(a, min if a_min is None else a_min, max if a_max is None else a_max)


_ARRAY_FUNCTIONS.update(_same_names())
_ARRAY_FUNCTIONS.update({
    np.fabs: e.abs, np.rint: e.round, np.positive: as_expr, np.float_power: f.pow, np.reciprocal: lambda x: e.div(1, x),
    np.bitwise_and: METHODS["logical_and"], np.bitwise_or: METHODS["logical_or"], np.invert: METHODS["logical_not"],
    np.logaddexp: lambda a, b: e.add(b, softplus(e.sub(a, b))),
    np.deg2rad: lambda x: e.mul(x, np.pi / 180), np.rad2deg: lambda x: e.mul(x, 180 / np.pi),
    np.where: _where, np.clip: _clip, np.round: round, np.around: round,
})  # fmt: skip
