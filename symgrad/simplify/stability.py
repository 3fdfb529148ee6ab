"""STABILITY: formulas that lose accuracy or overflow, and the functions that do not. One line a rule.

A rule stands here only if the function is at least as accurate everywhere, finite wherever the formula is, and has
the same value at its kinks: ``maximum(0, x)`` is not ``relu(x)``, since ties share their gradient there.
"""

from __future__ import annotations

from symgrad.expr import Expr
from symgrad.ops.movement import reshape_to
from symgrad.simplify.rewriting import ACCURATE, CHEAPER, Pattern, Rule, do, number, same_value, see

__all__ = ["STABILITY"]


# --- over axes --------------------------------------------------------------------------------------------


def _log_of_softmax(e: Expr) -> Expr | None:
    x = see(e.args[0])
    return do("log_softmax", x.args[0], axis=x.params["axis"]) if x.op.name == "softmax" else None


def _log_of_sum_of_exp(e: Expr) -> Expr | None:
    total = see(e.args[0])
    if total.op.name != "sum" or see(total.args[0]).op.name != "exp":
        return None
    return do("logsumexp", see(total.args[0]).args[0], axes=total.params["axes"], keepdims=total.params["keepdims"])


def _reduced(e: Expr, op: str, x: Expr) -> int | None:
    """The axis, if ``e`` is this reduction of something over one axis, kept (or added again) as an axis of size 1."""
    e = see(e)
    inner = see(e.args[0]) if e.op.name == "reshape" else e
    if inner.op.name != op or len(inner.params["axes"]) != 1 or inner.args[0].shape != x.shape:
        return None
    (axis,) = inner.params["axes"]
    expected = tuple(1 if k - x.ndim == axis else d for k, d in enumerate(x.shape))
    return axis if e.shape == expected else None


def _behind(e: Expr) -> Expr:
    e = see(e)
    inner = see(e.args[0]) if e.op.name == "reshape" else e
    return inner.args[0]


def _exp_over_sum(e: Expr) -> Expr | None:
    """``exp(x)/sum(exp(x), axis, keepdims=True)``."""
    top = see(e.args[0])
    if top.op.name != "exp":
        return None
    axis = _reduced(e.args[1], "sum", top)
    return do("softmax", top.args[0], axis=axis) if axis is not None and same_value(_behind(e.args[1]), top) else None


def _minus_logsumexp(e: Expr) -> Expr | None:
    """``x - logsumexp(x, axis, keepdims=True)``."""
    x = e.args[0]
    axis = _reduced(e.args[1], "logsumexp", x)
    return do("log_softmax", x, axis=axis) if axis is not None and same_value(_behind(e.args[1]), x) else None


def _root_of_squares(e: Expr) -> Expr | None:
    """``sqrt(sum(x**2))``, also where the sum has become a contraction of ``x`` with itself."""
    total = see(e.args[0])
    if total.op.name == "sum":
        x = see(total.args[0])
        if x.op.name == "square" or (x.op.name == "pow" and number(x.args[1]) == 2) or (x.op.name == "mul" and same_value(*x.args)):
            return do("norm", x.args[0], axes=total.params["axes"], keepdims=total.params["keepdims"])
    if total.op.name == "contract" and same_value(*total.args):
        left, right = total.params["spec"].split("->")[0].split(",")
        result = total.params["spec"].split("->")[1]
        if left == right and "".join(c for c in left if c in result) == result:
            axes = tuple(k - len(left) for k, c in enumerate(left) if c not in result)
            return do("norm", total.args[0], axes=axes, keepdims=False)
    return None


def _norm_squared(e: Expr) -> Expr | None:
    """``norm(x)**2`` is a sum of squares: no root, and differentiable everywhere."""
    x = see(e.args[0])
    if x.op.name != "norm" or number(e.args[1]) != 2:
        return None
    total = do("sum", do("pow", x.args[0], 2), axes=x.params["axes"], keepdims=False)
    return total if not x.params["keepdims"] else reshape_to(total, x.shape)


OVER_AXES: tuple[Rule, ...] = (
    Rule("log softmax",            ACCURATE, ("log",),      _log_of_softmax,         "log(softmax(A))"),
    Rule("log sum exp",            ACCURATE, ("log",),      _log_of_sum_of_exp,      "log(sum(exp(A), axis=1))"),
    Rule("exp over its sum",       ACCURATE, ("div",),      _exp_over_sum,           "exp(A)/sum(exp(A), axis=1, keepdims=True)",
         look=lambda a, b: a == "exp" and b in ("sum", "reshape")),
    Rule("minus logsumexp",        CHEAPER,  ("sub",),      _minus_logsumexp,        "A - logsumexp(A, axis=1, keepdims=True)",
         look=lambda a, b: b in ("logsumexp", "reshape")),
    Rule("root of squares",        ACCURATE, ("sqrt",), _root_of_squares, "sqrt(sum(v**2))", look=lambda x: x in ("sum", "contract")),
    Rule("norm squared",           CHEAPER,  ("pow",),      _norm_squared,           "norm(v)**2", look=lambda x, n: x == "norm"),
)  # fmt: skip


# --- elementwise: pattern -> result -------------------------------------------------------------------------

ELEMENTWISE: tuple[Pattern, ...] = (
    Pattern("expm1",                  ACCURATE, "exp(x) - 1",                     "expm1(x)"),
    Pattern("1 - exp",                ACCURATE, "1 - exp(x)",                     "-expm1(x)"),
    Pattern("log(1 + exp)",           ACCURATE, "log(1 + exp(x))",                "softplus(x)"),
    Pattern("log1p",                  ACCURATE, "log(1 + x)",                     "log1p(x)"),
    Pattern("log(1 - x)",             ACCURATE, "log(1 - x)",                     "log1p(-x)"),
    Pattern("log1p exp",              ACCURATE, "log1p(exp(x))",                  "softplus(x)"),
    Pattern("log sigmoid",            ACCURATE, "log(sigmoid(x))",                "log_sigmoid(x)"),
    Pattern("log(1 - sigmoid)",       ACCURATE, "log(1 - sigmoid(x))",            "log_sigmoid(-x)"),
    Pattern("log1p(-sigmoid)",        ACCURATE, "log1p(-sigmoid(x))",             "log_sigmoid(-x)"),
    Pattern("-softplus(-x)",          CHEAPER,  "-softplus(-x)",                  "log_sigmoid(x)"),
    Pattern("-log_sigmoid(-x)",       CHEAPER,  "-log_sigmoid(-x)",               "softplus(x)"),
    Pattern("sigmoid",                ACCURATE, "1/(1 + exp(x))",                 "sigmoid(-x)"),
    Pattern("sigmoid as a quotient",  ACCURATE, "exp(x)/(1 + exp(x))",            "sigmoid(x)"),
    Pattern("tanh as exponentials",   ACCURATE, "expm1(x)/(exp(x) + 1)",          "tanh(x/2)"),
    Pattern("tanh as a quotient",     ACCURATE, "(exp(x) - 1)/(exp(x) + 1)",      "tanh(x/2)"),
    Pattern("tanh by differences",    ACCURATE, "(exp(x) - exp(-x))/(exp(x) + exp(-x))", "tanh(x)"),
    Pattern("tanh by sigmoid",        ACCURATE, "2*sigmoid(x) - 1",               "tanh(x/2)"),
    Pattern("sinh over cosh",         ACCURATE, "sinh(x)/cosh(x)",                "tanh(x)"),
    Pattern("sinh",                   ACCURATE, "(exp(x) - exp(-x))/2",           "sinh(x)"),
    Pattern("cosh",                   CHEAPER,  "(exp(x) + exp(-x))/2",           "cosh(x)"),
    Pattern("sigmoid of a quotient",  ACCURATE, "y/(1 + exp(x))",                 "y*sigmoid(-x)"),
    Pattern("sigmoid(-x)*exp(x)",     ACCURATE, "y*sigmoid(-x)*exp(x)",           "y*sigmoid(x)"),
    Pattern("sigmoid(x)*exp(-x)",     ACCURATE, "y*sigmoid(x)*exp(-x)",           "y*sigmoid(-x)"),
    Pattern("exp(x)*sigmoid(-x)",     ACCURATE, "sigmoid(-x)*exp(x)",             "sigmoid(x)"),
    Pattern("exp(-x)*sigmoid(x)",     ACCURATE, "sigmoid(x)*exp(-x)",             "sigmoid(-x)"),
    Pattern("exp over expm1**2",      ACCURATE, "exp(x)/expm1(x)**2",             "(0.5/sinh(x/2))**2"),
    Pattern("y*exp over expm1**2",    ACCURATE, "y*exp(x)/expm1(x)**2",           "y/(2*sinh(x/2))/(2*sinh(x/2))"),
    Pattern("over expm1**2 by exp",   ACCURATE, "y/expm1(x)**2*exp(x)",           "y/(2*sinh(x/2))/(2*sinh(x/2))"),
    Pattern("sigmoid(x)*sigmoid(-x)", CHEAPER,  "sigmoid(x)*sigmoid(-x)",         "(0.5/cosh(x/2))**2"),
    Pattern("erfc",                   ACCURATE, "1 - erf(x)",                     "erfc(x)"),
    Pattern("1 - erfc",               ACCURATE, "1 - erfc(x)",                    "erf(x)"),
    Pattern("erfc of a negative",     ACCURATE, "1 + erf(x)",                     "erfc(-x)"),
)  # fmt: skip

STABILITY: tuple[Rule | Pattern, ...] = OVER_AXES + ELEMENTWISE
