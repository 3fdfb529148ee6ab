"""PRECISE: values of scalar expressions to as many digits as are wanted, by mpmath.

What rounds, overflows or cancels in floats is none of that here: the truth that forms of a formula are judged by.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from symgrad.expr import Expr, topological

__all__ = ["PRECISE", "evaluate_precisely"]


@lru_cache(maxsize=4)
def _context(digits: int) -> Any:
    """A context of our own: mpmath's global one is the user's."""
    import mpmath

    context = mpmath.mp.clone()
    context.dps = digits
    return context


_FEW = 64  # a whole power up to here is multiplications; others ask a logarithm first
_HUGE = 10**6  # exponents beyond overflow every float, and mpmath would compute all their digits


def _exp(c: Any, x: Any) -> Any:
    return c.exp(x) if abs(x) < _HUGE else (c.inf if x > 0 else c.zero)


def _pow(c: Any, x: Any, p: Any) -> Any:
    if abs(p) <= _FEW and p == int(p):
        return x ** int(p)
    if x == 0 or x == 1 or p == 0 or abs(p * c.log(abs(x))) < _HUGE:
        return c.power(x, p)
    return c.inf if (p > 0) == (abs(x) > 1) else c.zero


def _hyperbolic(sign: int) -> Callable[..., Any]:
    return lambda c, x: (_exp(c, x) + sign * _exp(c, -x)) / 2


def _tanh(c: Any, x: Any) -> Any:
    return c.tanh(x) if abs(x) < _HUGE else c.sign(x)


# op name -> its value in an mpmath context
PRECISE: Mapping[str, Callable[..., Any]] = {
    "add": lambda c, a, b: a + b, "sub": lambda c, a, b: a - b, "mul": lambda c, a, b: a * b, "div": lambda c, a, b: a / b,
    "ratio": lambda c, a, b: a / b if b else c.zero,
    "neg": lambda c, x: -x, "square": lambda c, x: x * x, "pow": _pow, "sqrt": lambda c, x: c.sqrt(x), "abs": lambda c, x: abs(x),
    "sign": lambda c, x: c.sign(x), "exp": _exp, "log": lambda c, x: c.log(x), "sin": lambda c, x: c.sin(x), "cos": lambda c, x: c.cos(x),
    "tan": lambda c, x: c.tan(x), "asin": lambda c, x: c.asin(x), "acos": lambda c, x: c.acos(x), "atan": lambda c, x: c.atan(x),
    "sinh": _hyperbolic(-1), "cosh": _hyperbolic(1), "tanh": _tanh, "asinh": lambda c, x: c.asinh(x), "acosh": lambda c, x: c.acosh(x),
    "atanh": lambda c, x: c.atanh(x), "expm1": lambda c, x: _exp(c, x) - 1, "log1p": lambda c, x: c.log(1 + x),
    "hypot": lambda c, a, b: c.sqrt(a * a + b * b), "atan2": lambda c, a, b: c.atan2(a, b), "maximum": lambda c, a, b: max(a, b),
    "minimum": lambda c, a, b: min(a, b), "sigmoid": lambda c, x: 1 / (1 + _exp(c, -x)),
    "softplus": lambda c, x: c.log(1 + _exp(c, x)) if x < _HUGE else x, "relu": lambda c, x: max(x, c.zero),
    "erf": lambda c, x: c.erf(x) if abs(x) < 1000 else c.sign(x), "to_real": lambda c, x: x, "named": lambda c, x, name: x,
    "stop_gradient": lambda c, x: x, "nonnegative": lambda c, x: x if x >= 0 else c.nan,
}  # fmt: skip


def evaluate_precisely(root: Expr, values: Mapping[Expr, Any], digits: int = 400) -> Any:
    """The value to so many digits, as an mpmath number; ``None`` where it is undefined, not real or not known how.

    >>> import symgrad as sg
    >>> x = sg.symbol("x")
    >>> float(evaluate_precisely((x + 1) - x, {x: 1e40}))
    1.0
    """
    context = _context(digits)
    results: dict[Expr, Any] = {leaf: context.mpf(value) for leaf, value in values.items()}
    for node in topological(root):
        if node in results:
            continue
        try:
            if node.op.name == "constant":
                value = context.mpf(node.params["value"])
            elif node.op.name in PRECISE:
                value = PRECISE[node.op.name](context, *[results[a] for a in node.args], **node.params)
            else:
                return None
        except (ArithmeticError, ValueError):
            return None
        if not isinstance(value, context.mpf) or context.isnan(value):
            return None
        results[node] = value
    return results[root]
