"""AGREEMENT: whether one form of a formula may stand for another.

Both are computed at sample points, extreme ones included, in double and in single precision. Where they differ, mpmath
decides which is closer to the true value. The new form must be finite wherever the old one is, and at least
as accurate to three units in the last place. Where a sum cancels, how much the old form is off at one point is luck;
its accuracy there is the worst of it and of its neighbours a few units in the last place away.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from symgrad.expr import Expr, topological

__all__ = ["RANGES", "Points", "depends", "disagreement", "evaluate_precisely", "sample_points"]

Array = np.ndarray[Any, Any]

RANGES = ("real", "nonnegative", "positive", "unit", "probability")  # of a leaf: any, [0, inf), (0, inf), [-1, 1], [0, 1]
ULPS = 3.0  # what the new form may lose where the old one is exact: one less than is allowed in all
DIGITS, MORE_DIGITS = 60, 1500  # the second where the first do not suffice: 1e150 to the fourth beside 1e-160 to the fourth
_MODERATE, _NEARBY = 128, 48
_DEPENDS_AT = 8  # points: that none of them shows an influence is taken for there being none
_NEIGHBOURS, _AROUND = 6, 8  # how many are asked, and how many units in the last place they are away
_PRECISE_POINTS = 48  # at which mpmath is asked, a form: those where the two forms are furthest apart
_EXTREMES = {
    "float64": (0.0, -0.0, 1e-8, -1e-8, 1.0, -1.0, 1e3, -1e3, 40.0, -40.0, 1e150, -1e150, 1e-160, math.inf, -math.inf),
    "float32": (0.0, -0.0, 1e-4, -1e-4, 1.0, -1.0, 1e2, -1e2, 15.0, -15.0, 1e18, -1e18, 1e-20, math.inf, -math.inf),
}


class Points:
    """Sample points: an array a leaf. ``moderate`` marks those where no leaf is extreme, zero or near another."""

    def __init__(self, values: list[Array], moderate: Array) -> None:
        self.values, self.moderate = values, moderate


def sample_points(ranges: Sequence[str], dtype: str) -> Points:
    """The same points every time: moderate ones, ones where leaves nearly agree, and every leaf at each extreme.

    ``ranges``: one of :data:`RANGES` for each leaf.
    """
    rng = np.random.default_rng(20240229)
    count = len(ranges)
    moderate = np.exp(rng.uniform(-2.5, 1.5, (_MODERATE, count))) * rng.choice((-1.0, 1.0), (_MODERATE, count))
    near = np.repeat(np.exp(rng.uniform(-1.0, 1.0, (_NEARBY, 1))), count, axis=1)
    near[: _NEARBY // 3] = 1.0
    near *= (1.0 + rng.choice((0.0, 1e-9, -1e-7, 1e-4), near.shape)) * rng.choice((-1.0, 1.0), near.shape)
    rows = [moderate, near]
    base = moderate[: len(_EXTREMES[dtype])]
    for k in range(count):
        row = base.copy()
        row[:, k] = _EXTREMES[dtype]
        rows.append(row)
    rows.append(np.repeat(np.array(_EXTREMES[dtype])[:, None], count, axis=1))
    rows.append(rng.choice(_EXTREMES[dtype], (_NEARBY, count)))
    table = np.concatenate(rows).astype(dtype)
    values = [_into_range(table[:, k], r) for k, r in enumerate(ranges)]
    return Points(values, np.arange(len(table)) < _MODERATE)


def _into_range(column: Array, bounds: str) -> Array:
    if bounds == "real":
        return column
    column = np.abs(column)
    if bounds == "positive":
        return np.where(column == 0, np.asarray(0.5, column.dtype), column)
    if bounds == "nonnegative":
        return column
    with np.errstate(divide="ignore"):
        inside = np.where(column <= 1, column, 1 / column)
    return inside if bounds == "probability" else np.where(np.arange(len(inside)) % 2, -inside, inside)


def disagreement(before: Expr, after: Expr, leaves: Sequence[Expr], ranges: Sequence[str]) -> str:
    """Why ``after`` may not stand for ``before`` (both elementwise, of scalar leaves); empty where it may."""
    for dtype in ("float64", "float32"):
        points, old = _sampled(before, tuple(leaves), tuple(ranges), dtype)
        with np.errstate(all="ignore"):
            new = _evaluate(after, leaves, points.values, dtype)
            reason = _compare(before, after, leaves, points, old, new)
        if reason:
            return f"{reason} ({dtype})"
    return ""


@lru_cache(maxsize=8)  # one form is compared with several
def _sampled(form: Expr, leaves: tuple[Expr, ...], ranges: tuple[str, ...], dtype: str) -> tuple[Points, Array]:
    points = _points(ranges, dtype)
    with np.errstate(all="ignore"):
        return points, _evaluate(form, leaves, points.values, dtype)


@lru_cache(maxsize=64)
def _points(ranges: tuple[str, ...], dtype: str) -> Points:
    return sample_points(ranges, dtype)


def depends(forms: Sequence[Expr], leaves: Sequence[Expr], ranges: Sequence[str]) -> list[bool]:
    """Which leaves matter to any of the forms (all elementwise): another value there changes a result by more than rounding.

    >>> import symgrad as sg
    >>> x, y = sg.symbols("x y")
    >>> depends([x * y / y], [x, y], ["real", "real"])
    [True, False]
    """
    values = [v[:_DEPENDS_AT] for v in sample_points(ranges, "float64").values]
    with np.errstate(all="ignore"):
        before = [_evaluate(f, leaves, values, "float64") for f in forms]
        found = []
        for k, column in enumerate(values):
            moved = [*values[:k], column[::-1] * 0.75, *values[k + 1 :]]
            pairs = zip(before, (_evaluate(f, leaves, moved, "float64") for f in forms), strict=True)
            found.append(any(bool(np.any(np.abs(a - b) > 1e-6 * np.abs(a))) for a, b in pairs))
    return found


def _evaluate(root: Expr, leaves: Sequence[Expr], values: Sequence[Array], dtype: str) -> Array:
    results: dict[Expr, Array] = dict(zip(leaves, values))
    for node in topological(root):
        if node not in results:
            if node.op.name == "constant":
                value = np.asarray(node.params["value"])
            else:
                assert node.op.evaluate is not None
                value = np.asarray(node.op.evaluate(*[results[a] for a in node.args], **node.params))
            results[node] = value.astype(dtype) if node.kind == "real" else value
    return np.broadcast_to(results[root], values[0].shape if values else ()).astype(dtype)


def _compare(before: Expr, after: Expr, leaves: Sequence[Expr], points: Points, old: Array, new: Array) -> str:
    if np.any(np.isnan(new) & ~np.isnan(old)):
        return "NaN where the old form is none"
    if np.any(np.isinf(new) & np.isfinite(old)):
        return "infinite where the old form is finite"
    if np.any(np.isinf(new) & np.isinf(old) & (new != old)):
        return "an infinity of the other sign"
    if np.any(np.isnan(old) & ~np.isnan(new) & points.moderate):
        return "a value where the old form is undefined"
    finite_inputs = np.all([np.isfinite(v) for v in points.values], axis=0) if points.values else np.asarray(True)
    differs = np.isfinite(new) & ~np.isnan(old) & (new != old)
    apart = differs & ~(np.abs(new - old) <= ULPS * np.spacing(np.abs(old)))
    if np.any(apart & ~finite_inputs):
        return "another limit at infinity"
    asked = np.flatnonzero(apart)
    if not len(asked):
        return ""
    distance = np.abs(new - old)[asked] / np.spacing(np.abs(old))[asked]
    asked = asked[np.argsort(-np.where(np.isfinite(distance), distance, np.inf), kind="stable")[:_PRECISE_POINTS]]
    verdict = _verdict_in_wide(before, after, leaves, [v[asked] for v in points.values], old[asked], new[asked])
    if np.any(verdict < 0):
        return "less accurate"
    unsure = asked[verdict == 0]
    return _ask_mpmath(before, leaves, points, old, new, unsure) if len(unsure) else ""


def _verdict_in_wide(before: Expr, after: Expr, leaves: Sequence[Expr], values: Sequence[Array], old: Array, new: Array) -> Array:
    """Whether the new value is as good as the old one, by a wider float, which is a hundred times faster than mpmath: 1 where it is,
    -1 where it is not, 0 where the forms do not agree beyond the narrow float's rounding there, so that nothing is known."""
    wide, dtype = _wider(old.dtype), old.dtype
    verdict = np.zeros(len(new), int)
    if wide is None or not all(n.op.name in _WIDE for n in topological(before, after)):
        return verdict
    exact, sure = _in_wide(before, after, leaves, values, dtype, wide)
    error, rounding = np.abs(new - exact), ULPS * np.spacing(np.abs(exact.astype(dtype)))
    verdict[sure & ((error <= rounding) | (np.isfinite(old) & (error <= np.abs(old - exact))))] = 1
    left = np.flatnonzero(sure & (verdict == 0))
    if len(left):
        nearby, known = _error_nearby_in_wide(before, after, leaves, [v[left] for v in values], dtype, wide)
        verdict[left] = np.where(known, np.where(error[left] <= rounding[left] + 2 * nearby, 1, -1), 0)
    return verdict


def _error_nearby_in_wide(
    before: Expr, after: Expr, leaves: Sequence[Expr], values: Sequence[Array], dtype: Any, wide: str
) -> tuple[Array, Array]:  # fmt: skip
    """As :func:`_error_nearby`, of many points at once, and where it is known."""
    worst, known = np.zeros(len(values[0]), wide), np.ones(len(values[0]), bool)
    for step in _steps(len(leaves)):
        around = [(x + k * np.spacing(x)).astype(dtype) for x, k in zip(values, step)]
        exact, sure = _in_wide(before, after, leaves, around, dtype, wide)
        here = _evaluate(before, leaves, around, str(dtype))
        known &= sure
        worst = np.maximum(worst, np.where(np.isfinite(here), np.abs(here - exact), 0))
    return worst, known


def _steps(count: int) -> Array:
    """How many units in the last place the neighbours of a point are away, one row each."""
    return np.random.default_rng(7).integers(-_AROUND, _AROUND + 1, (_NEIGHBOURS, count))


def _in_wide(before: Expr, after: Expr, leaves: Sequence[Expr], values: Sequence[Array], dtype: Any, wide: str) -> tuple[Array, Array]:
    """The values in a wider float, and where both forms agree on them beyond the narrow one's rounding."""
    at = [v.astype(wide) for v in values]
    exact, other = (_evaluate(e, leaves, at, wide) for e in (before, after))
    ulp = np.spacing(np.abs(exact.astype(dtype)))
    return exact, np.isfinite(ulp) & (np.abs(exact - other) <= ulp / _SURE)


_SURE = 8.0  # two forms that agree to this part of a unit in the last place do not do so by luck
_WIDE = frozenset({
    "symbol", "constant", "add", "sub", "mul", "div", "neg", "square", "pow", "sqrt", "exp", "log", "abs", "sign", "sin", "cos", "tan",
    "sinh", "cosh", "tanh", "nonnegative", "to_real", "expm1", "log1p",
})  # fmt: skip  # whose values keep the width of their operands


def _wider(dtype: Any) -> str | None:
    if dtype == np.float32:
        return "float64"
    return "longdouble" if np.finfo("longdouble").nmant >= 63 else None


def _ask_mpmath(before: Expr, leaves: Sequence[Expr], points: Points, old: Array, new: Array, asked: Array) -> str:
    for i in asked:
        at = [v[i] for v in points.values]
        if _is_as_close(before, leaves, at, old[i], new[i], DIGITS):
            continue
        if not _lacks_digits(before, leaves, at) or not _is_as_close(before, leaves, at, old[i], new[i], MORE_DIGITS):
            return "less accurate"
    return ""


def _lacks_digits(form: Expr, leaves: Sequence[Expr], at: Sequence[Any]) -> bool:
    """Whether more is cancelled here than the digits that are usual can take."""
    few, many = (evaluate_precisely(form, {x: _context(d).mpf(float(v)) for x, v in zip(leaves, at)}, d) for d in (DIGITS, MORE_DIGITS))
    return many is None or bool(abs(few - many) > 1e-30 * abs(many))


def _is_as_close(before: Expr, leaves: Sequence[Expr], at: Sequence[Any], old: Any, new: Any, digits: int) -> bool:
    """Whether the new value is as good as the old one: to rounding, at this point or among its neighbours."""
    context = _context(digits)
    exact = evaluate_precisely(before, {leaf: context.mpf(float(x)) for leaf, x in zip(leaves, at)}, digits)
    if exact is None:
        return True  # the old form's value there is an accident (0/0, a root of a negative number)
    ulp = float(np.spacing(np.abs(np.asarray(float(exact), dtype=old.dtype)))) if abs(exact) < 1e300 else float("inf")
    error, rounding = abs(context.mpf(float(new)) - exact), context.mpf(ULPS) * ulp
    if error <= rounding or (np.isfinite(old) and error <= abs(context.mpf(float(old)) - exact)):
        return True
    return bool(error <= rounding + 2 * _error_nearby(before, leaves, at, old.dtype, digits))


def _error_nearby(form: Expr, leaves: Sequence[Expr], at: Sequence[Any], dtype: Any, digits: int) -> Any:
    """How much the form is off at most at points around this one."""
    context = _context(digits)
    steps = _steps(len(leaves))
    around = [(x + steps[:, k] * np.spacing(x)).astype(dtype) for k, x in enumerate(at)]
    worst = context.mpf(0)
    for i, value in enumerate(_evaluate(form, leaves, around, str(dtype))):
        exact = evaluate_precisely(form, {leaf: context.mpf(float(v[i])) for leaf, v in zip(leaves, around)}, digits)
        if exact is not None and np.isfinite(value):
            worst = max(worst, abs(context.mpf(float(value)) - exact))
    return worst


# --- mpmath ----------------------------------------------------------------------------------------


@lru_cache(maxsize=4)
def _context(digits: int) -> Any:
    """A context of our own: mpmath's global one is the user's."""
    import mpmath

    context = mpmath.mp.clone()
    context.dps = digits
    return context


_HUGE = 10**6  # exponents beyond overflow every float, and mpmath would compute all their digits


def _exp(c: Any, x: Any) -> Any:
    return c.exp(x) if abs(x) < _HUGE else (c.inf if x > 0 else c.zero)


def _pow(c: Any, x: Any, p: Any) -> Any:
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
