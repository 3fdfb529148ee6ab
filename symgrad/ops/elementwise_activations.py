"""ELEMENTWISE, part 3: the activations of networks, exact to rounding far out and at the infinities.

Conventions: ``relu'(0) = 0``; the kinks of ``leaky_relu`` and ``elu`` take the derivative of least magnitude.
"""

from __future__ import annotations

from math import inf, pi
from math import sqrt as root
from typing import Any

import numpy as np

from symgrad.expr import Array, Expr, ExprLike, Op, apply, promoted, real, register
from symgrad.ops.elementwise import ANY, abs, counting, isfinite, unary, where
from symgrad.ops.elementwise_functions import erfc, exp

__all__ = ["elu", "evaluate_gelu", "evaluate_silu", "gelu", "leaky_relu", "log_sigmoid", "relu", "sigmoid", "silu", "softplus"]


# --- the logistic family ---------------------------------------------------------------------------
# Everything through e = exp(-|x|), which never overflows.


def _sigmoid(x: Array) -> Any:
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, e) / (1 + e)


def _lower_softplus(b: Any, x: Any) -> Any:
    return b.add(b.maximum(x, 0.0), b.log1p(b.exp(b.neg(b.abs(x)))))


def _lower_log_sigmoid(b: Any, x: Any) -> Any:
    return b.sub(b.minimum(x, 0.0), b.log1p(b.exp(b.neg(b.abs(x)))))


def evaluate_silu(x: Array) -> Any:
    """Through exp(-|x|/2), which x multiplies before it is too small; the limit at -inf is 0."""
    root = np.exp(-0.5 * np.abs(x))
    return np.where(x == -inf, 0.0, np.where(x < 0, x * root, x) / (1 + root * root) * np.where(x < 0, root, 1))


sigmoid = unary("sigmoid", "1/(1 + exp(-x))", lambda g, y, x: g * y * (1 - y), _sigmoid,
                latex=r"\sigma\left({0}\right)", cost=20.0)
softplus = unary("softplus", "log(1 + exp(x))", lambda g, y, x: g * sigmoid(x),
                 lambda x: np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))), lower=_lower_softplus, cost=37.0)
log_sigmoid = unary("log_sigmoid", "log(sigmoid(x))", lambda g, y, x: g * sigmoid(-x),
                    lambda x: np.minimum(x, 0) - np.log1p(np.exp(-np.abs(x))), lower=_lower_log_sigmoid,
                    latex=r"\log\sigma\left({0}\right)", cost=37.0)
silu = unary("silu", "x*sigmoid(x), also called swish", lambda g, y, x: g * (sigmoid(x) + where(isfinite(x), y * sigmoid(-x), 0)),
             evaluate_silu, cost=21.0)


# --- rectifiers ------------------------------------------------------------------------------------

relu = unary("relu", "x where positive, else 0; its derivative at 0 is 0", lambda g, y, x: where(x > 0, g, 0),
             counting(lambda x: np.maximum(x, 0)), kind=promoted, lower=lambda b, x: b.select(b.less(x, 0), 0, x))  # so that NaN stays


def _slope_at_kink(slope: float) -> float:
    """Of the subgradients between ``slope`` and 1 the one of least magnitude."""
    return min(max(slope, 0.0), 1.0)


def _leaky_rule(g: Expr, y: Expr, x: Expr, slope: float) -> tuple[Expr]:
    return (g * _at_kink(x, slope, slope),)


def _elu_rule(g: Expr, y: Expr, x: Expr, alpha: float) -> tuple[Expr]:
    return (g * _at_kink(x, alpha, exp(x) if alpha == 1 else alpha * exp(x)),)


def _at_kink(x: Expr, left: float, below: ExprLike) -> Expr:
    """1 above 0 and ``below`` under it, whose limit at 0 is ``left``; at 0 the derivative of least magnitude."""
    kink = _slope_at_kink(left)
    if kink == left:
        return where(x > 0, 1.0, below)
    if kink == 1.0:
        return where(x >= 0, 1.0, below)
    return where(x > 0, 1.0, where(x < 0, below, kink))


def _parametrised(name: str) -> Any:
    def text(strings: Any, params: Any) -> str:
        (key,) = params
        return f"{name}({strings[0]}, {key}={params[key]!r})"

    return text


def _parametrised_latex(name: str) -> Any:
    def latex(strings: Any, params: Any) -> str:
        (value,) = params.values()
        return rf"\operatorname{{{name}}}_{{{value!r}}}\left({strings[0]}\right)"

    return latex


LEAKY_RELU = register(
    Op(
        name="leaky_relu", doc="x where positive, else slope*x", kind=real, derivative=_leaky_rule,
        evaluate=lambda x, slope: np.where(x > 0, x, slope * x), lower=lambda b, x, slope: b.select(b.greater(x, 0.0), x, b.mul(x, slope)),
        text=_parametrised("leaky_relu"), latex=_parametrised_latex(r"leaky\_relu"), domain=(ANY,),
        samples=((-1.5, {"slope": 0.01}), (2.0, {"slope": 0.01}), (-0.5, {"slope": 0.3})), cost=2.0,
    )
)  # fmt: skip
ELU = register(
    Op(
        name="elu", doc="x where positive, else alpha*(exp(x) - 1)", kind=real, derivative=_elu_rule,
        evaluate=lambda x, alpha: np.where(x > 0, x, alpha * np.expm1(x)),
        lower=lambda b, x, alpha: b.select(b.greater(x, 0.0), x, b.mul(b.expm1(x), alpha)),
        text=_parametrised("elu"), latex=_parametrised_latex("elu"), domain=(ANY,),
        samples=((-1.5, {"alpha": 1.0}), (2.0, {"alpha": 1.0}), (-0.5, {"alpha": 0.3})), cost=22.0,
    )
)  # fmt: skip


def leaky_relu(x: ExprLike, slope: float = 0.01) -> Expr:
    """``x`` where positive, else ``slope*x``. At 0 the derivative is the one of least magnitude: ``slope`` for 0 <= slope <= 1.

    >>> import symgrad as sg
    >>> float(sg.leaky_relu(-2.0))
    -0.02
    """
    return apply(LEAKY_RELU, x, slope=float(slope))


def elu(x: ExprLike, alpha: float = 1.0) -> Expr:
    """``x`` where positive, else ``alpha*(exp(x) - 1)``. At 0 the derivative is the one of least magnitude: min(alpha, 1) for alpha >= 0.

    >>> import symgrad as sg
    >>> float(sg.elu(-1000.0, alpha=2.0))
    -2.0
    """
    return apply(ELU, x, alpha=float(alpha))


# --- gelu ------------------------------------------------------------------------------------------
# Hendrycks and Gimpel, "Gaussian error linear units", arXiv:1606.08415, section 2.
#   exact         x*Phi(x),           Phi(x) = erfc(-x/sqrt(2))/2
#   approximate   x*sigmoid(v(x)),    v(x) = 2*sqrt(2/pi)*(x + 0.044715*x**3)
# Both are relu(x) - a*T(a) with a = |x| and the tail T(a), exp(-a**2/2)*(…) or 1/(1 + exp(v(a))). An exponent rounded
# to e off by d costs d*e ulp (50 at x = -10), so exponents are formed as a sum, from a rounded to the grid 1/64,
# on which squares and cubes are exact, and exp(s + error) = exp(s)*exp(error).

_ROOT_HALF = 1 / root(2)
_DENSITY = 1 / root(2 * pi)
_LINEAR = 2 * root(2 / pi)
_CUBIC = _LINEAR * 0.044715
_FLAT = 40.0  # both tails are 0 beyond
_LINEAR_PARTS = (1.5957691216026433, 3.0874305383944692e-12)  # a multiple of 2**-36 and the rest
_CUBIC_PARTS = (0.07135480642318726, 9.849412992916964e-09)  # a multiple of 2**-24 and the rest


def evaluate_gelu(x: Array, approximate: bool) -> Any:
    from scipy import special

    x = np.asarray(x, dtype=np.float64)
    a = np.minimum(np.abs(x), _FLAT)
    h = np.rint(64 * a) / 64
    if approximate:
        (l1, l2), (c1, c2) = _LINEAR_PARTS, _CUBIC_PARTS
        rest = l2 * h + c2 * h**3 + (a - h) * (_LINEAR + _CUBIC * (a * a + a * h + h * h))
        e = np.exp(-(l1 * h + c1 * h**3)) * np.exp(-rest)
        tail = a * e / (1 + e)
    else:
        tail = 0.5 * a * special.erfcx(a * _ROOT_HALF) * np.exp(-0.5 * (a - h) * (a + h)) * np.exp(-0.5 * h * h)
    return np.where(x < 0, 0.0, x) - tail


def _gelu_rule(g: Expr, y: Expr, x: Expr, approximate: bool) -> tuple[Expr]:
    if approximate:
        s = sigmoid(x * (_LINEAR + _CUBIC * x**2))
        return (g * (s + where(abs(x) < _FLAT, x * s * (1 - s) * (_LINEAR + 3 * _CUBIC * x**2), 0)),)
    return (g * (erfc(-x * _ROOT_HALF) / 2 + where(isfinite(x), x * (_DENSITY * exp(-(x**2) / 2)), 0)),)


def _lower_gelu(b: Any, x: Any, approximate: bool) -> Any:
    return b.gelu_tanh(x) if approximate else b.gelu(x)


GELU = register(
    Op(
        name="gelu", doc="x times the normal distribution function", kind=real,
        derivative=_gelu_rule, evaluate=evaluate_gelu, lower=_lower_gelu,
        text=lambda strings, params: f"gelu({strings[0]}{', approximate=True' if params['approximate'] else ''})",
        latex=lambda strings, params: rf"\operatorname{{gelu}}{'_{tanh}' if params['approximate'] else ''}\left({strings[0]}\right)",
        domain=(ANY,), samples=tuple((x, {"approximate": a}) for x in (-1.5, 0.25, 2.0) for a in (False, True)), cost=60.0,
    )
)  # fmt: skip


def gelu(x: ExprLike, approximate: bool = False) -> Expr:
    """``x`` times the normal distribution function, or its approximation by tanh (Hendrycks and Gimpel, arXiv:1606.08415).

    >>> import symgrad as sg
    >>> round(float(sg.gelu(1.0)), 6)
    0.841345
    """
    return apply(GELU, x, approximate=bool(approximate))
