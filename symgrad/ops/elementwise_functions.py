"""ELEMENTWISE, part 2: powers, roots, exponentials and logarithms, trigonometric, hyperbolic and special functions.

Conventions: ``sqrt'(0) = inf``; ``x**0`` is 1 with gradient 0; ``0**p`` has gradient 0 with respect to p
for p >= 0; ``atan2`` has no derivative at the origin (NaN); ``hypot``'s gradient there is 0; ``log``, ``log1p`` and
``atanh`` outside their domains are NaN and so are their derivatives; ``log'(-0.0)`` is +inf.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf, pi
from math import sqrt as root
from typing import Any

import numpy as np

from symgrad.expr import CONSTANT, Array, Expr, ExprLike, Op, apply, as_expr, promoted, real, register
from symgrad.ops.elementwise import ANY, POSITIVE, Unary, binary, counting, is_whole, nonnegative, number, to_real, unary, where
from symgrad.ops.elementwise import abs as _abs
from symgrad.ops.elementwise import equal as _equal

__all__ = [
    "acos", "acosh", "asin", "asinh", "atan", "atan2", "atanh", "cos", "cosh", "digamma", "erf", "erfc", "exp", "expm1", "hypot",
    "lgamma", "log", "log1p", "polygamma", "pow", "sin", "sinh", "sqrt", "tan", "tanh",
]  # fmt: skip


def _function(
    name: str, doc: str, derivative: Callable[..., Expr], evaluate: Callable[..., Any], latex: str, cost: float = 20.0, **fields: Any,
) -> Unary:  # fmt: skip
    """A record with the conventions of named functions: SymPy's of the same name, LaTeX ``\\name(x)``."""
    return unary(name, doc, derivative, evaluate, latex=rf"{latex}\left({{0}}\right)", cost=cost, sympy=f"sympy.{name}", **fields)


# --- powers ----------------------------------------------------------------------------------------


def _pow_rule(g: Expr, y: Expr, x: Expr, p: Expr) -> tuple[Expr | None, Expr | None]:
    n = number(p)
    if n is not None:
        return (None if n == 0 else g if n == 1 else g * n * x if n == 2 else g * n * x ** (n - 1)), None
    to_base, to_exponent = g * p * x ** (p - 1), g * y * log(x) if p.kind == "real" else None
    if nonnegative(x) is x:  # a plainly positive base needs no cases
        return to_base, to_exponent
    if p.op is not CONSTANT or np.any(p.params["value"] == 0):
        to_base = where(_equal(p, 0) & ~(_abs(x) > 0), 0, to_base)  # at 0 and NaN; elsewhere the product is 0, and its derivative right
    if to_exponent is not None:
        to_exponent = where(_equal(x, 0) & (p >= 0), 0, to_exponent)
    return to_base, to_exponent


_POWI_LIMIT = 16  # repeated squaring loses about half an ulp a step: beyond, the library's pow is better


def _lower_pow(b: Any, x: Any, p: Any) -> Any:
    if isinstance(p, (int, float)) and p == int(p if abs(p) < inf else 0) and (abs(p) <= _POWI_LIMIT or (is_whole(x) and p > 0)):
        return b.powi(x, exponent=int(p))
    if p == 0.5:
        return b.add(b.sqrt(x), 0.0)  # pow(-0.0, 0.5) is +0.0
    if p == -0.5:
        return b.div(1.0, b.abs(b.sqrt(x)))
    return b.pow(x, p)


POW = register(
    Op(
        name="pow", arity=2, doc="x to the power p; 1 with gradient 0 where p is 0", kind=promoted, derivative=_pow_rule,
        evaluate=counting(np.power), lower=_lower_pow, sympy=lambda x, p: x**p, text="{0}**{1}", latex="{0}^{{{1}}}", precedence=90,
        domain=(POSITIVE, ANY), samples=((1.5, 2), (0.5, -1.5), (-2.0, 3), (2.5, 0.0), (2.0, -1)), cost=40.0,
    )
)  # fmt: skip


def pow(x: ExprLike, p: ExprLike) -> Expr:
    """``x`` to the power ``p``, with broadcasting. Whole numbers stay whole for a constant, nonnegative exponent, else the result is real.

    >>> import symgrad as sg
    >>> sg.pow(sg.symbol("k", integer=True), 3).kind
    'integer'
    """
    base, exponent = as_expr(x), as_expr(p)
    if base.kind != "real" and exponent.kind != "real":
        if exponent.op is not CONSTANT or not np.all(np.asarray(exponent.params["value"]) >= 0):
            base = to_real(base)
    return apply(POW, base, exponent)


sqrt = unary("sqrt", "the square root; its derivative at 0 is inf", lambda g, y, x: g / (2 * nonnegative(y)), np.sqrt,
             latex=r"\sqrt{{{0}}}", sympy="sympy.sqrt", domain=POSITIVE, samples=(0.25, 2.0, 9.0), cost=6.0)


def _hypot_rule(g: Expr, y: Expr, a: Expr, b: Expr) -> tuple[Expr, Expr]:
    at_origin = _equal(y, 0)
    return where(at_origin, 0, g * a / y), where(at_origin, 0, g * b / y)


hypot = binary("hypot", "sqrt(a**2 + b**2) without overflow; its gradient at the origin is 0", _hypot_rule, np.hypot,
               sympy="sympy.codegen.cfunctions.hypot", domain=(POSITIVE, ANY), cost=20.0)


# --- exponentials and logarithms -------------------------------------------------------------------

exp   = unary("exp", "e to the power x", lambda g, y, x: g * y, np.exp, cost=15.0, sympy="sympy.exp", latex="e^{{{0}}}", domain=(-700, 700))
expm1 = unary("expm1", "exp(x) - 1, accurate near 0", lambda g, y, x: g * exp(x), np.expm1,
              cost=20.0, sympy="sympy.codegen.cfunctions.expm1", domain=(-700, 700))
log   = _function("log", "the natural logarithm", lambda g, y, x: g / nonnegative(x), np.log, r"\log", 15.0,
                  domain=POSITIVE, samples=(0.25, 2.0, 9.0))
log1p = unary("log1p", "log(1 + x), accurate near 0", lambda g, y, x: g / nonnegative(1 + x), np.log1p,
              cost=20.0, sympy="sympy.codegen.cfunctions.log1p", domain=(-1.0, inf), samples=(-0.5, 1e-3, 2.0))


# --- trigonometric ---------------------------------------------------------------------------------

_unit: dict[str, Any] = {"domain": (-1.0, 1.0), "samples": (-0.75, 0.25, 0.5)}

sin = _function("sin", "the sine", lambda g, y, x: g * cos(x), np.sin, r"\sin")
cos: Unary = _function("cos", "the cosine", lambda g, y, x: -(g * sin(x)), np.cos, r"\cos")
tan = _function("tan", "the tangent", lambda g, y, x: g * (1 + y**2), np.tan, r"\tan", 25.0, domain=(-1.5, 1.5), samples=(-1.25, 0.25, 1.0))
# (1 - x)*(1 + x), not 1 - x**2: exact where x is close to 1
asin = _function("asin", "the arcsine", lambda g, y, x: g / sqrt((1 - x) * (1 + x)), np.arcsin, r"\arcsin", **_unit)
acos = _function("acos", "the arccosine", lambda g, y, x: -(g / sqrt((1 - x) * (1 + x))), np.arccos, r"\arccos", **_unit)
atan = _function("atan", "the arctangent", lambda g, y, x: g / (1 + x**2), np.arctan, r"\arctan")


def _atan2_rule(g: Expr, y: Expr, a: Expr, b: Expr) -> tuple[Expr, Expr]:
    r = hypot(a, b)  # divided by twice: a**2 + b**2 would overflow
    return g * (b / r / r), -(g * (a / r / r))


_QUADRANTS = ((1.5, 2.0), (1.5, -2.0), (-1.5, -2.0), (-1.5, 2.0))
atan2 = binary("atan2", "the angle of the point (b, a); no derivative (NaN) at the origin", _atan2_rule, np.arctan2, sympy="sympy.atan2",
               latex=r"\operatorname{{atan2}}\left({0}, {1}\right)", domain=(ANY, POSITIVE), samples=_QUADRANTS, cost=25.0)


# --- hyperbolic ------------------------------------------------------------------------------------

_finite: dict[str, Any] = {"domain": (-700, 700)}

sinh = _function("sinh", "the hyperbolic sine", lambda g, y, x: g * cosh(x), np.sinh, r"\sinh", **_finite)
cosh: Unary = _function("cosh", "the hyperbolic cosine", lambda g, y, x: g * sinh(x), np.cosh, r"\cosh", **_finite)
tanh = _function("tanh", "the hyperbolic tangent", lambda g, y, x: g * (1 - y**2), np.tanh, r"\tanh")
asinh = _function("asinh", "the inverse of sinh", lambda g, y, x: g / hypot(1, x), np.arcsinh, r"\operatorname{{arsinh}}", 25.0)
acosh = _function("acosh", "the inverse of cosh, x >= 1", lambda g, y, x: g / (sqrt(x - 1) * sqrt(x + 1)), np.arccosh,
                  r"\operatorname{{arcosh}}", 25.0, domain=(1.0, inf), samples=(1.25, 2.0, 9.0))
atanh = _function("atanh", "the inverse of tanh", lambda g, y, x: g / nonnegative((1 - x) * (1 + x)), np.arctanh,
                  r"\operatorname{{artanh}}", 25.0, **_unit)


# --- special functions -----------------------------------------------------------------------------


def _special(name: str) -> Any:
    def evaluate(x: Array) -> Any:
        from scipy import special  # slow to import, and only the evaluator needs it

        return getattr(special, name)(x)

    return evaluate


def _evaluate_polygamma(x: Array, order: int) -> Any:
    from scipy import special

    return special.polygamma(order, x)


_SLOPE = 2 / root(pi)  # of erf at 0

_gamma: dict[str, Any] = {"domain": POSITIVE, "samples": (0.25, 2.0, 9.0), "cost": 60.0}

erf = _function("erf", "the error function", lambda g, y, x: g * _SLOPE * exp(-(x**2)), _special("erf"), r"\operatorname{{erf}}", 25.0)
erfc = _function("erfc", "1 - erf(x), accurate for large x", lambda g, y, x: -(g * _SLOPE * exp(-(x**2))), _special("erfc"),
                 r"\operatorname{{erfc}}", 25.0)
lgamma = unary("lgamma", "the logarithm of the absolute value of the gamma function", lambda g, y, x: g * digamma(x), _special("gammaln"),
               latex=r"\log\left|\Gamma\left({0}\right)\right|", sympy="sympy.loggamma", **_gamma)
digamma: Unary = _function("digamma", "the derivative of lgamma", lambda g, y, x: g * polygamma(1, x), _special("digamma"),
                           r"\psi", **_gamma)

POLYGAMMA = register(
    Op(
        name="polygamma", doc="the derivative of digamma, order times", kind=real,
        derivative=lambda g, y, x, order: (g * polygamma(order + 1, x),), evaluate=_evaluate_polygamma,
        lower=lambda b, x, order: b.polygamma(x, order=order),
        text=lambda strings, params: f"polygamma({params['order']}, {strings[0]})",
        latex=lambda strings, params: rf"\psi^{{({params['order']})}}\left({strings[0]}\right)",
        domain=(POSITIVE,), samples=((0.75, {"order": 1}), (2.5, {"order": 2})), cost=80.0,
    )
)  # fmt: skip


def polygamma(order: int, x: ExprLike) -> Expr:
    """The derivative of :func:`digamma`, ``order`` times (``order`` >= 0), elementwise, for positive ``x``.

    Raises ``ValueError`` for a negative order.

    >>> import symgrad as sg
    >>> round(float(sg.polygamma(1, 1.0)), 6)  # pi**2/6
    1.644934
    """
    if not isinstance(order, int) or isinstance(order, bool) or order < 0:
        raise ValueError(f"polygamma: the order is a whole number from 0, not {order!r}")
    return digamma(x) if order == 0 else apply(POLYGAMMA, x, order=order)
