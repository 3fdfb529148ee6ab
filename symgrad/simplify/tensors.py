"""TENSORS: local rules for what is broadcast, moved or summed."""

from __future__ import annotations

from symgrad import dims
from symgrad.dims import Dim
from symgrad.errors import ShapeError
from symgrad.expr import Expr, apply, constant
from symgrad.ops.movement import reshape_to
from symgrad.ops.reduce import size_of
from symgrad.simplify.rewriting import CHEAPER, FORM, Rule, do, number, see
from symgrad.simplify.samples import sample

__all__ = ["MOVEMENT", "REDUCTIONS", "adds_leading_ones", "everywhere"]


# --- what is broadcast, moved or constant ------------------------------------------------------------------


def _broadcast_operands(e: Expr) -> Expr | None:
    """An elementwise op broadcasts by itself; what is the same everywhere is computed once."""
    if all(not a.shape for a in e.args):
        return None
    inner = [_before_broadcast(a) for a in e.args]
    if all(a is b for a, b in zip(inner, e.args, strict=True)):
        return None
    try:
        small = apply(e.op, *inner, **e.params)
    except ShapeError:
        return None
    return reshape_to(small, e.shape) if adds_leading_ones(small.shape, e.shape) else small


def _before_broadcast(a: Expr) -> Expr:
    if a.op.name == "constant":
        return a if not a.shape or (value := number(a)) is None else constant(float(value) if a.kind == "real" else value)
    widened = a.op.name == "broadcast_to" or (a.op.name == "reshape" and adds_leading_ones(a.args[0].shape, a.shape))
    return a.args[0] if widened else a


def everywhere(e: Expr) -> Expr | None:
    """The scalar that a tensor holds everywhere, if it plainly does."""
    if e.op.name == "broadcast_to" and not e.args[0].shape:
        return e.args[0]
    value = number(e) if e.shape else None
    return None if value is None else constant(float(value) if e.kind == "real" else value)


def _moved_constant(e: Expr) -> Expr | None:
    """A tensor that is the same everywhere may be moved about freely; zeros may be padded and scattered."""
    value = everywhere(e.args[0])
    if value is None or (e.op.name in ("pad", "scatter_add", "embed_diagonal") and number(value) != 0):
        return None
    return do("broadcast_to", value, shape=e.shape)


def _same_shape(e: Expr) -> Expr | None:
    return e.args[0] if e.args[0].shape == e.shape else None


def _broadcast_twice(e: Expr) -> Expr | None:
    (x,) = e.args
    if x.op.name == "broadcast_to":
        return do("broadcast_to", x.args[0], shape=e.shape)
    if x.op.name == "reshape" and x.ndim > x.args[0].ndim and adds_leading_ones(x.args[0].shape, x.shape):
        return do("broadcast_to", x.args[0], shape=e.shape)
    return None


def adds_leading_ones(old: dims.Shape, new: dims.Shape) -> bool:
    extra = len(new) - len(old)
    return extra > 0 and new[extra:] == old and all(d == 1 for d in new[:extra])


def _reshape_twice(e: Expr) -> Expr | None:
    (x,) = e.args
    return do("reshape", x.args[0], shape=e.shape) if x.op.name == "reshape" else None


def _transpose_twice(e: Expr) -> Expr | None:
    (x,) = e.args
    axes = e.params["axes"]
    if axes == tuple(range(-e.ndim, 0)):
        return x
    if x.op.name != "transpose":
        return None
    joined = tuple(x.params["axes"][a] for a in axes)
    return x.args[0] if joined == tuple(range(-e.ndim, 0)) else do("transpose", x.args[0], axes=joined)


def _slice_of_pad(e: Expr) -> Expr | None:
    """Cutting off exactly what was padded."""
    (x,) = e.args
    if x.op.name != "pad" or x.args[0].shape != e.shape:
        return None
    starts, steps = tuple(x.params["before"]), tuple(i + 1 for i in x.params["interior"])
    return x.args[0] if (e.params["starts"], e.params["steps"]) == (starts, steps) else None


def _slice_twice(e: Expr) -> Expr | None:
    """``x[2:][1:]`` is ``x[3:]``, axis by axis, for steps of 1."""
    (x,) = e.args
    if x.op.name != "slice" or any(s != 1 for s in (*x.params["steps"], *e.params["steps"])):
        return None
    starts = tuple(dims.add(a, b) for a, b in zip(x.params["starts"], e.params["starts"], strict=True))
    stops = tuple(dims.add(a, b) for a, b in zip(x.params["starts"], e.params["stops"], strict=True))
    return do("slice", x.args[0], starts=starts, stops=stops, steps=e.params["steps"])


def _nothing_padded(e: Expr) -> Expr | None:
    widths = (*e.params["before"], *e.params["after"], *e.params["interior"])
    return e.args[0] if all(w == 0 for w in widths) else None


def _whole_slice(e: Expr) -> Expr | None:
    (x,) = e.args
    starts, stops, steps = e.params["starts"], e.params["stops"], e.params["steps"]
    return x if all(a == 0 and b == n and s == 1 for a, b, s, n in zip(starts, stops, steps, x.shape, strict=True)) else None


def _diagonal_of_diagonal(e: Expr) -> Expr | None:
    (x,) = e.args
    return x.args[0] if x.op.name == "embed_diagonal" and x.params["offset"] == e.params["offset"] else None


def _moved_negative(e: Expr) -> Expr | None:
    """A minus sign stands in front of what is moved."""
    x, *indices = e.args
    return do("neg", apply(e.op, x.args[0], *indices, **e.params)) if x.op.name == "neg" else None


# --- reductions --------------------------------------------------------------------------------------------


def _sum_of_nothing(e: Expr) -> Expr | None:
    """Over no axes, or over axes of size 1."""
    (x,) = e.args
    return reshape_to(x, e.shape) if all(x.shape[a] == 1 for a in e.params["axes"]) else None


def _sum_of_repeated(e: Expr) -> Expr | None:
    """What is repeated along a summed axis is multiplied by its size."""
    (x,) = e.args
    axes = e.params["axes"]
    if x.op.name != "broadcast_to":
        return None
    inner = x.args[0]
    repeated = [a for a in axes if -a > inner.ndim or (inner.shape[a] == 1 and x.shape[a] != 1)]
    if not repeated:
        return None
    count: Dim = dims.total(x.shape[a] for a in repeated)
    kept = tuple(a for a in axes if -a <= inner.ndim and a not in repeated)
    total = do("sum", inner, axes=kept, keepdims=True) if kept else inner
    factor = size_of(count)
    shape = tuple(1 if k - x.ndim in axes else d for k, d in enumerate(x.shape))
    scaled = do("broadcast_to", do("mul", factor, total), shape=shape)
    return reshape_to(scaled, e.shape)


def _sum_of_sum(e: Expr) -> Expr | None:
    (x,) = e.args
    if x.op.name != "sum" or x.params["keepdims"] != e.params["keepdims"]:
        return None
    inner = x.args[0]
    left = list(range(-inner.ndim, 0)) if x.params["keepdims"] else [a for a in range(-inner.ndim, 0) if a not in x.params["axes"]]
    axes = sorted({*x.params["axes"], *(left[a] for a in e.params["axes"])})
    return do("sum", inner, axes=tuple(axes), keepdims=e.params["keepdims"])


def _sum_of_moved(e: Expr) -> Expr | None:
    """The order and arrangement of elements do not matter to the sum of all."""
    (x,) = e.args
    if x.op.name not in ("reshape", "transpose") or e.shape != ():
        return None
    inner = x.args[0]
    return do("sum", inner, axes=tuple(range(-inner.ndim, 0)), keepdims=False)


def _sum_of_expanded(e: Expr) -> Expr | None:
    """Axes of size 1 that a reshape put in or took away do not matter to a sum."""
    (x,) = e.args
    if x.op.name != "reshape" or [d for d in x.shape if d != 1] != [d for d in x.args[0].shape if d != 1]:
        return None
    inner = x.args[0]
    wide = [k for k, d in enumerate(inner.shape) if d != 1]
    place = dict(zip([k for k, d in enumerate(x.shape) if d != 1], wide, strict=True))
    axes = [place[a + x.ndim] - inner.ndim for a in e.params["axes"] if x.shape[a] != 1]
    total = do("sum", inner, axes=tuple(axes), keepdims=False) if axes else inner
    return reshape_to(total, e.shape)


def _sum_of_negative(e: Expr) -> Expr | None:
    (x,) = e.args
    return do("neg", apply(e.op, x.args[0], **e.params)) if x.op.name == "neg" else None


def _sum_of_multiple(e: Expr) -> Expr | None:
    """A moderate number comes out of a sum."""
    (x,) = e.args
    if x.op.name != "mul" or x.shape != x.args[1].shape:
        return None
    c, rest = x.args
    if c.op.name == "mul" and c.shape == x.shape:
        c, rest = c.args[0], do("mul", c.args[1], rest)
    value = number(c)
    if value is None or not 2.0**-20 <= abs(value) <= 2.0**20 or rest.shape != x.shape:
        return None
    return do("mul", constant(value), apply(e.op, rest, **e.params))


def _sum_of_deviations(e: Expr) -> Expr | None:
    """The deviations from a mean add up to 0, also when all are scaled alike."""
    (x,) = e.args
    while x.op.name in ("mul", "div"):
        a, b = x.args
        if all(d == 1 for d in b.shape):
            x = a
        elif x.op.name == "mul" and all(d == 1 for d in a.shape):
            x = b
        else:
            return None
    if x.op.name != "sub" or x.shape != e.args[0].shape:
        return None
    mean = see(x.args[1])
    axes = e.params["axes"]
    if mean.op.name != "mean" or mean.args[0] is not x.args[0] or mean.params["axes"] != axes:
        return None
    leading = tuple(range(-x.ndim, -x.ndim + len(axes)))  # a mean without these axes lines up by itself
    return constant(0) if mean.params["keepdims"] or tuple(sorted(axes)) == leading else None


def _exp_of_log_softmax(e: Expr) -> Expr | None:
    x = see(e.args[0])
    return do("softmax", x.args[0], axis=x.params["axis"]) if x.op.name == "log_softmax" else None


def _mean_of_constant(e: Expr) -> Expr | None:
    value = everywhere(e.args[0])
    return value if value is not None and all(isinstance(d, int) and d > 0 for d in e.args[0].shape) else None


# --- tables ------------------------------------------------------------------------------------------------

_PAD = {"before": (1, 0), "after": (0, 1), "interior": (1, 0)}
_MOVED = ("reshape", "transpose", "slice", "scatter_add", "diagonal", "embed_diagonal")
_ELEMENTWISE = (
    "neg", "ratio", "exp", "log", "sqrt", "tanh", "sigmoid", "abs", "sin", "cos", "add", "sub", "mul", "div", "pow", "maximum", "minimum",
    "where", "less", "less_equal", "greater", "greater_equal", "equal", "not_equal", "logical_and", "logical_or", "logical_not", "square",
    "log1p", "expm1", "relu", "sign", "softplus", "log_sigmoid", "erf", "to_real", "nonnegative", "isnan", "isfinite",
)  # fmt: skip

MOVEMENT: tuple[Rule, ...] = (
    Rule("broadcast operand",      CHEAPER,  _ELEMENTWISE,  _broadcast_operands,     "v + broadcast_to(s, (3,))", tensors=True),
    Rule("moved constant",         CHEAPER,  (*_MOVED, "pad"), _moved_constant,         "reshape(broadcast_to(s, (2, 3)), (6,))"),
    Rule("same shape",             CHEAPER,  ("broadcast_to", "reshape"), _same_shape,
         sample(lambda A, v, s: do("broadcast_to", v, shape=(3,)))),
    Rule("broadcast twice",        CHEAPER,  ("broadcast_to",), _broadcast_twice,        "broadcast_to(broadcast_to(s, (3,)), (2, 3))"),
    Rule("reshape twice",          CHEAPER,  ("reshape",),  _reshape_twice,          "reshape(reshape(A, (6,)), (3, 2))"),
    Rule("transpose twice",        CHEAPER,  ("transpose",), _transpose_twice,        "A.T.T"),
    Rule("slice of pad",           CHEAPER,  ("slice",),    _slice_of_pad,
         sample(lambda A, v, s: do("slice", do("pad", A, **_PAD), starts=(1, 0), stops=(4, 3), steps=(2, 1)))),
    Rule("slice twice",            CHEAPER,  ("slice",),    _slice_twice,            "A[:, 1:][:, 1:2]"),
    Rule("whole slice",            CHEAPER,  ("slice",),    _whole_slice,
         sample(lambda A, v, s: do("slice", v, starts=(0,), stops=(3,), steps=(1,)))),
    Rule("nothing padded",         CHEAPER,  ("pad",),      _nothing_padded,
         sample(lambda A, v, s: do("pad", v, before=(0,), after=(0,), interior=(0,)))),
    Rule("diagonal of diagonal",   CHEAPER,  ("diagonal",), _diagonal_of_diagonal,
         sample(lambda A, v, s: do("diagonal", do("embed_diagonal", v, offset=0, rows=3, columns=3), offset=0))),
    Rule("moved negative",         FORM,     (*_MOVED, "pad", "broadcast_to", "cumsum"), _moved_negative, "cumsum(-v)"),
)  # fmt: skip

REDUCTIONS: tuple[Rule, ...] = (
    Rule("sum over nothing",       CHEAPER,  ("sum",),      _sum_of_nothing,         "sum(A[:, 1:2], axis=1)"),
    Rule("sum of repeated",        CHEAPER,  ("sum",),      _sum_of_repeated,        "sum(broadcast_to(v, (2, 3)), axis=0)"),
    Rule("sum of sum",             CHEAPER,  ("sum",),      _sum_of_sum,             "sum(sum(A, axis=1), axis=0)"),
    Rule("sum of moved",           CHEAPER,  ("sum",),      _sum_of_moved,           "sum(A.T)"),
    Rule("sum of negative",        CHEAPER,  ("sum",),      _sum_of_negative,        "sum(-v)"),
    Rule("sum of multiple",        CHEAPER,  ("sum",),      _sum_of_multiple,        "sum(3*v)"),
    Rule("sum of expanded",        CHEAPER,  ("sum",),      _sum_of_expanded,        "sum(v[:, None], axis=0)"),
    Rule("sum of deviations",      CHEAPER,  ("sum",),      _sum_of_deviations,      "1 + sum(2*(v - mean(v, keepdims=True)))"),
    Rule("exp log_softmax",        CHEAPER,  ("exp",),      _exp_of_log_softmax,     "exp(log_softmax(A))"),
    Rule("mean of a constant",     CHEAPER,  ("mean",),     _mean_of_constant,       "mean(broadcast_to(s, (2, 3)))"),
)  # fmt: skip
