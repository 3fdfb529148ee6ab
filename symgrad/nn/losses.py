"""Losses: functions of (prediction, target), the mean over all elements (cross-entropy: over samples).

Shapes must be the same: (n, 1) against (n,) would broadcast to (n, n), the classic silent mistake, and is a
``ShapeError``. The cross-entropies take logits and stay exact where probabilities would round to 0 or 1.
"""

from __future__ import annotations

from symgrad import dims, ops
from symgrad.errors import ShapeError
from symgrad.expr import Expr, ExprLike, as_expr
from symgrad.ops.elementwise import label

__all__ = ["binary_cross_entropy", "cross_entropy", "hinge", "huber", "mae", "mse"]


def _same_shape(loss: str, prediction: Expr, target: Expr) -> None:
    message = f"{loss}: prediction {dims.format_shape(prediction.shape)} and target {dims.format_shape(target.shape)} differ in shape"
    if prediction.ndim == target.ndim + 1 and prediction.shape[-1] == 1:
        message += ": write prediction[..., 0]"
    if prediction.ndim != target.ndim:
        raise ShapeError(message)
    for a, b in zip(prediction.shape, target.shape, strict=True):
        if a != b and 1 in (a, b):
            raise ShapeError(message)
        dims.unify(a, b, message)


def _pair(loss: str, prediction: ExprLike, target: ExprLike) -> tuple[Expr, Expr]:
    p, t = as_expr(prediction), as_expr(target)
    _same_shape(loss, p, t)
    return p, t


def mse(prediction: ExprLike, target: ExprLike) -> Expr:
    """The mean of the squared differences. Raises ``ShapeError`` unless both have one shape.

    >>> import symgrad as sg
    >>> p, t = sg.symbols("p t", "n")
    >>> sg.compile(sg.nn.mse(p, t))([1.0, 3.0], [1.0, 1.0])
    2.0
    """
    p, t = _pair("mse", prediction, target)
    return ((p - t) ** 2).mean()


def mae(prediction: ExprLike, target: ExprLike) -> Expr:
    """The mean of the absolute differences; its gradient is 0 where they are 0. Raises ``ShapeError`` unless both have one shape."""
    p, t = _pair("mae", prediction, target)
    return abs(p - t).mean()


def huber(prediction: ExprLike, target: ExprLike, delta: float = 1.0) -> Expr:
    """Squared (halved) up to a difference of ``delta`` > 0, linear beyond: the mean of r²/2 or delta·(|r| − delta/2).

    Raises ``ShapeError`` unless both have one shape. Source: P. J. Huber, "Robust estimation of a location
    parameter", Annals of Mathematical Statistics 35 (1964), p. 75.
    """
    p, t = _pair("huber", prediction, target)
    if isinstance(delta, (int, float)) and not delta > 0:
        raise ValueError(f"huber: delta is positive, not {delta!r}")
    r = p - t
    return ops.where(abs(r) <= delta, 0.5 * r**2, delta * (abs(r) - 0.5 * delta)).mean()


def hinge(prediction: ExprLike, target: ExprLike) -> Expr:
    """The max-margin loss: the mean of relu(1 − target·prediction), targets −1 and +1; its kink is relu's (derivative 0).

    Raises ``ShapeError`` unless both have one shape.
    """
    p, t = _pair("hinge", prediction, target)
    return ops.relu(1 - t * p).mean()


def binary_cross_entropy(logits: ExprLike, target: ExprLike) -> Expr:
    """The mean of −y·log σ(x) − (1 − y)·log(1 − σ(x)) for logits x and targets y in [0, 1].

    Written with softplus: each term keeps its full relative accuracy, however certain the prediction.
    Raises ``ShapeError`` unless both have one shape.
    """
    x, y = _pair("binary_cross_entropy", logits, target)
    return (y * ops.softplus(-x) + (1 - y) * ops.softplus(x)).mean()


def cross_entropy(logits: ExprLike, target: ExprLike) -> Expr:
    """The mean over samples of −Σ target·log softmax(logits); the last axis of the logits is the classes.

    ``target``: integer labels, of the shape of the logits without their last axis, or probabilities (real), of
    their whole shape. Raises ``ShapeError`` for any other pair. A label outside 0 … classes − 1 is an ``IndexError`` at
    the call, and a ``ValueError`` of ``sg.fit`` that names it and its place, before training starts.
    """
    x, t = as_expr(logits), as_expr(target)
    if not x.shape:
        raise ShapeError("cross_entropy: logits need a last axis for the classes, these are scalar")
    log_p = ops.log_softmax(x, axis=-1)
    if t.kind == "real":
        _same_shape("cross_entropy", x, t)
        terms = t * log_p
    else:
        if t.ndim != x.ndim - 1:
            raise ShapeError(
                f"cross_entropy: integer labels for logits {dims.format_shape(x.shape)} have shape "
                f"{dims.format_shape(x.shape[:-1])}, not {dims.format_shape(t.shape)}")
        for a, b in zip(x.shape[:-1], t.shape, strict=True):
            if a != b and 1 in (a, b):
                raise ShapeError(f"cross_entropy: logits {dims.format_shape(x.shape)} and labels {dims.format_shape(t.shape)} do not match")
        known = label(t, x.shape[-1])
        terms = ops.where(ops.equal(known[..., None], ops.arange(x.shape[-1])), log_p, 0.0)
    return -terms.sum(axis=-1).mean()
