"""FACTORS: local rules for sizes and numbers that scale a whole tensor, and for choices (``where``).

The ``1/n`` of a mean travels outwards, to where fewer elements are left to scale: ``2/n*X.T @ (X @ w - t)``.
"""

from __future__ import annotations

from symgrad import dims
from symgrad.dims import Dim
from symgrad.expr import Expr, apply, constant, symbol
from symgrad.ops.movement import reshape_to
from symgrad.ops.reduce import size_of
from symgrad.simplify.rewriting import CHEAPER, FORM, Rule, do, number
from symgrad.simplify.samples import one_hot, over_n, sample

__all__ = ["CHOICES", "FACTORS", "inner_factor"]

_REDUCED = 64  # numbers above sizes that are reduced with them


# --- factors -----------------------------------------------------------------------------------------------


def plain_factor(x: Expr) -> tuple[Expr, Expr] | None:
    """A product with a moderate number or the (reciprocal of the) size of an axis, taken apart."""
    if x.op.name == "mul" and x.args[1].shape == x.shape != () and is_plain_factor(x.args[0]):
        return x.args[0], x.args[1]
    if x.op.name == "div" and x.args[0].shape == x.shape != () and is_plain_factor(x.args[1]):
        return do("div", constant(1), x.args[1]), x.args[0]
    return None


def inner_factor(x: Expr) -> tuple[Expr, Expr] | None:
    """The plain factor of a product or of one of its two factors: for where it goes somewhere, not to stand before the product."""
    if (parts := plain_factor(x)) is not None or x.op.name not in ("mul", "div") or x.shape == ():
        return parts
    a, b = x.args
    if (parts := plain_factor(a)) is not None:
        return parts[0], do(x.op.name, parts[1], b)
    if x.op.name == "div":
        return None
    if (parts := plain_factor(b)) is not None:
        return parts[0], do("mul", a, parts[1])
    return None


def is_plain_factor(e: Expr) -> bool:
    """A moderate number, a size, or a quotient or product of two of them."""
    return not e.shape and all(map(is_plain, e.args if e.op.name in ("mul", "div") else (e,)))


def is_plain(e: Expr) -> bool:
    value = number(e)
    return e.op.name == "size" or (value is not None and 2.0**-20 <= abs(value) <= 2.0**20)


def is_size_factor(e: Expr) -> bool:
    return is_plain_factor(e) and number(e) is None


def _moved_factor(e: Expr) -> Expr | None:
    """A size that scales a tensor scales it after it was moved, too."""
    parts = plain_factor(e.args[0])
    return None if parts is None else do("mul", parts[0], apply(e.op, parts[1], **e.params))


def _factor_of_product(e: Expr) -> Expr | None:
    """``(2/n*x)*y`` is ``2/n*(x*y)``: factors that no element has come first."""
    a, b = e.args
    for x, y in ((a, b), (b, a)):
        parts = plain_factor(x)
        if parts is not None and is_size_factor(parts[0]) and not is_plain_factor(y) and parts[1].shape == e.shape:
            return do("mul", parts[0], do("mul", parts[1], y) if x is a else do("mul", y, parts[1]))
    return None


def _factor_of_factor(e: Expr) -> Expr | None:
    """``2*(x/n)`` is ``2/n*x``."""
    a, b = e.args
    parts = plain_factor(b) if is_plain_factor(a) else None
    if parts is None or not (is_size_factor(a) or is_size_factor(parts[0])) or (a.op.name == "div" and parts[0].op.name == "div"):
        return None
    return do("mul", do("mul", a, parts[0]), parts[1])


def _common_factor(e: Expr) -> Expr | None:
    """``x/n + y/n`` is ``(x + y)/n``."""
    a, b = inner_factor(e.args[0]), inner_factor(e.args[1])
    if a is None or b is None or a[0] is not b[0] or not is_size_factor(a[0]):
        return None
    return do("mul", a[0], do(e.op.name, a[1], b[1]))


def _whole_over_size(e: Expr) -> Expr | None:
    """``1/n``, not ``1.0/n``: a quotient is real anyway."""
    value = number(e.args[0])
    whole = isinstance(value, float) and not e.args[0].shape and abs(value) < 2**53 and value == int(value) and e.args[1].kind == "integer"
    return do("div", constant(int(value)), e.args[1]) if whole and value is not None else None


def _reduced_size(e: Expr) -> Expr | None:
    """``2/(2*n)`` is ``1/n``."""
    above, below = e.args
    value = number(above)
    if below.op.name != "size" or above.shape or value is None or value != int(value) or not 1 < abs(value) <= _REDUCED:
        return None
    dim = below.params["dim"]
    for k in range(int(abs(value)), 1, -1):
        if value % k == 0 and dims.multiply(rest := dims.divide(dim, k), k) == dim:
            return do("div", constant(int(value) // k), size_of(rest))
    return None


def _size_quotient(e: Expr) -> Expr | None:
    """``2*(1/n)`` is ``2/n``."""
    a, b = e.args
    if e.shape or b.op.name != "div" or number(b.args[0]) != 1 or not is_plain(a) or not is_plain(b.args[1]):
        return None
    return do("div", a, b.args[1])


def _sum_of_scaled(e: Expr) -> Expr | None:
    """The size of an axis comes out of a sum."""
    parts = inner_factor(e.args[0])
    if parts is None or not is_size_factor(parts[0]):
        return None
    return do("mul", parts[0], apply(e.op, parts[1], **e.params))


# --- choices -----------------------------------------------------------------------------------------------


def _factor_of_choice(e: Expr) -> Expr | None:
    """A size that scales what is chosen scales the choice, if the other branch is 0."""
    condition, a, b = e.args
    if not e.shape:
        return None
    if number(b) != 0:
        first, second = inner_factor(a), inner_factor(b)
        if first is None or second is None or first[0] is not second[0] or not is_size_factor(first[0]):
            return None
        return do("mul", first[0], do("where", condition, first[1], second[1]))
    if a.op.name == "neg" and is_size_factor(a.args[0]):  # (-1)/n is written so
        return do("neg", do("mul", a.args[0], do("where", condition, 1, 0)))
    parts = (a, constant(1)) if is_size_factor(a) else inner_factor(a)
    return do("mul", parts[0], do("where", condition, parts[1], 0)) if parts is not None and is_size_factor(parts[0]) else None


def _known_condition(e: Expr) -> Expr | None:
    """Inside of a branch its condition holds: ``where(p, x*where(p, y, 0), z)`` is ``where(p, x*y, z)``."""
    condition, a, b = e.args
    inner = _assuming(a, condition, 4)
    return do("where", condition, inner, b) if inner is not None else None


def _relu_where_positive(e: Expr) -> Expr | None:
    """``where(z > 0, relu(z), 0)`` is ``relu(z)``, a multiple too."""
    condition, a, b = e.args
    if condition.op.name != "greater" or number(condition.args[1]) != 0 or number(b) != 0:
        return None
    relu = a.args[1] if a.op.name == "mul" and number(a.args[0]) is not None else a
    return a if relu.op.name == "relu" and relu.args[0] is condition.args[0] else None


def _assuming(e: Expr, condition: Expr, depth: int) -> Expr | None:
    """The expression where the condition holds, ``None`` if that says nothing; it looks a few nodes deep."""
    if e.op.name == "where" and e.args[0] is condition:
        return e.args[1]
    if depth == 0 or e.op.name not in ("add", "sub", "mul", "div", "neg"):
        return None
    parts = [_assuming(a, condition, depth - 1) for a in e.args]
    if all(p is None for p in parts):
        return None
    return apply(e.op, *[a if p is None else p for a, p in zip(e.args, parts, strict=True)])


def _labels(e: Expr) -> tuple[Expr, Dim] | None:
    """The labels ``k`` (with a last axis of size 1) and the number of classes in ``k[..., None] == arange(classes)``."""
    if e.op.name == "equal":
        for k, classes in (e.args, e.args[::-1]):
            if classes.op.name == "arange" and k.kind == "integer" and k.ndim and k.shape[-1] == 1:
                return k, classes.shape[0]
    return None


def _is_label(k: Expr, classes: Dim) -> Expr:
    """Whether the label is a class: a checked one is."""
    checked = k.args[0] if k.op.name == "reshape" else k
    if checked.op.name == "label" and checked.params["size"] == classes:
        return do("broadcast_to", constant(True), shape=k.shape) if k.shape else constant(True)
    return do("logical_and", do("greater_equal", k, 0), do("less", k, size_of(classes)))


def _any_label(e: Expr) -> Expr | None:
    """Some class is the label if the label is a class."""
    found = _labels(e.args[0])
    return reshape_to(_is_label(*found), e.shape) if found is not None and e.params["axes"] == (-1,) else None


def _sum_of_label(e: Expr) -> Expr | None:
    """One class is chosen: the sum over the classes is what was chosen."""
    (x,) = e.args
    if x.op.name != "where" or e.params["axes"] != (-1,) or number(x.args[2]) != 0 or (x.args[1].shape and x.args[1].shape[-1] != 1):
        return None
    found = _labels(x.args[0])
    return reshape_to(do("where", _is_label(*found), x.args[1], 0), e.shape) if found is not None else None


# --- tables ------------------------------------------------------------------------------------------------

FACTORS: tuple[Rule, ...] = (
    Rule("sum of scaled",          CHEAPER,  ("sum",),      _sum_of_scaled,
         sample(lambda A, v, s: do("sum", over_n(), axes=(-1,), keepdims=False))),
    Rule("whole over size",        FORM,     ("div",),      _whole_over_size,
         sample(lambda A, v, s: do("div", 2.0, do("size", dim="n"))), cosmetic=True, look=lambda a, b: a == "constant"),
    Rule("reduced size",           FORM,      ("div",),      _reduced_size,
         sample(lambda A, v, s: do("div", 2, do("size", dim="2*n"))), look=lambda a, b: (a, b) == ("constant", "size")),
    Rule("size quotient",          CHEAPER,  ("mul",),      _size_quotient,
         sample(lambda A, v, s: do("mul", 2, do("div", 1, do("size", dim="n")))), look=lambda a, b: b == "div"),
    Rule("factor of factor",       CHEAPER,  ("mul",),      _factor_of_factor,
         sample(lambda A, v, s: do("mul", 2, over_n())), tensors=True),
    Rule("factor of product",      FORM,     ("mul",),      _factor_of_product,
         sample(lambda A, v, s: do("mul", over_n(), symbol("x", "n"))), tensors=True),
    Rule("moved factor",           FORM,     ("reshape", "transpose"), _moved_factor,           "reshape(3*A, (6,))"),
    Rule("common factor",          CHEAPER,  ("add", "sub"), _common_factor,
         sample(lambda A, v, s: do("add", over_n(), do("mul", do("div", 1, do("size", dim="n")), symbol("y", "n")))), tensors=True),
)  # fmt: skip

CHOICES: tuple[Rule, ...] = (
    Rule("factor of choice",       FORM,     ("where",),    _factor_of_choice,
         sample(lambda A, v, s: do("where", do("greater", symbol("x", "n"), 0), over_n(), 0))),
    Rule("known condition",        CHEAPER,  ("where",),    _known_condition,        "where(s > 0, t*where(s > 0, t, 0), s)"),
    Rule("relu where positive",    CHEAPER,  ("where",),    _relu_where_positive,    "where(s > 0, 2*relu(s), 0)"),
    Rule("any label",              CHEAPER,  ("max",),      _any_label,
         sample(lambda A, v, s: do("max", one_hot(), axes=(-1,), keepdims=True))),
    Rule("sum of label",           CHEAPER,  ("sum",),      _sum_of_label,
         sample(lambda A, v, s: do("sum", do("where", one_hot(), s, 0), axes=(-1,), keepdims=False))),
)  # fmt: skip
