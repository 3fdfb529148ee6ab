"""AGREEMENT: whether one form of a formula may stand for another.

Both are computed at sample points, extreme ones and mixed extremes included, in double and in single precision. Where they differ,
wider floats decide which is closer to the true value, and mpmath where these are not sure. The new form must be finite wherever the
old one is, and at least as accurate to three units in the last place. Where a sum cancels, how much the old form is
off at one point is luck; its accuracy there is the worst of it and of its neighbours a few units in the last place, or a little, away.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from symgrad.expr import Expr, topological, unvisited
from symgrad.simplify.points import RANGES, sample_points
from symgrad.simplify.precise import evaluate_precisely

__all__ = ["RANGES", "Samples", "depends", "disagreement"]

Array = np.ndarray[Any, Any]

ULPS = 3.0  # what the new form may lose where the old one is exact: one less than is allowed in all
_ASKED = {"float64": ULPS, "float32": 64.0}  # ... without a question; rounding is alike in both, other things overflow in the second
DIGITS, MORE_DIGITS = 60, 1500  # the second where the first do not suffice: 1e150 to the fourth beside 1e-160 to the fourth
_DEPENDS_AT = 8  # points: that none of them shows an influence is taken for there being none
_NEIGHBOURS, _AROUND = 12, 8  # how many are asked, half of them at most so many units in the last place away
_APART = {"float64": 1e-9, "float32": 1e-4}  # the others relatively
_LUCK = 1.5  # times the worst of its neighbours a form may be off
_PRECISE_POINTS = 12  # at which mpmath is asked, a form and a width
_SURE = 4.0  # the truth is as far from the wider floats' values as the two forms are apart in these, times this, at most
_WIDE = frozenset({
    "symbol", "constant", "add", "sub", "mul", "div", "neg", "square", "pow", "sqrt", "exp", "log", "abs", "sign", "sin", "cos", "tan",
    "sinh", "cosh", "tanh", "nonnegative", "to_real", "expm1", "log1p",
})  # fmt: skip  # whose values keep the width of their operands


def disagreement(before: Expr, after: Expr, leaves: Sequence[Expr], ranges: Sequence[str]) -> str:
    """Why ``after`` may not stand for ``before`` (both elementwise, of scalar leaves); empty where it may.

    >>> import symgrad as sg
    >>> x, y = sg.symbols("x y")
    >>> disagreement(x * y + x * 3, x * (y + 3), [x, y], ["real", "real"])
    ''
    >>> disagreement(x / (1 + y) / (1 - y), x / (1 - y**2), [x, y], ["real", "real"])
    'less accurate (float64)'
    """
    return Samples(leaves, ranges).disagreement(before, after)


class Samples:
    """Sample points for formulas of the same leaves, and the values of nodes there, each computed once for all that is compared."""

    def __init__(self, leaves: Sequence[Expr], ranges: Sequence[str]) -> None:
        self.tables = [_Table(tuple(leaves), tuple(ranges), dtype) for dtype in ("float64", "float32")]

    def disagreement(self, before: Expr, after: Expr) -> str:
        """As :func:`disagreement`."""
        with np.errstate(all="ignore"):
            for table in self.tables:
                if reason := table.compare(before, after):
                    return f"{reason} ({table.dtype})"
        return ""


class _Table:
    """The values of nodes at sample points in one width. ``nearby``: how far a form is off around each point, where that was asked."""

    def __init__(self, leaves: tuple[Expr, ...], ranges: tuple[str, ...], dtype: str) -> None:
        self.leaves, self.dtype, self.points = leaves, dtype, sample_points(ranges, dtype)
        self.wide = _wider(dtype)
        self.values: dict[Expr, Array] = dict(zip(leaves, self.points.values))
        self.expected: dict[Expr, tuple[Array, Array, Array]] = {}
        self.nearby: dict[Expr, Array] = {}
        self.exact: dict[tuple[Expr, int, int], Any] = {}

    def compare(self, before: Expr, after: Expr) -> str:
        old, undefined, unasked = self._expected(before)
        new = self._values(after)
        left = np.flatnonzero(~((new == old) | (np.abs(new - old) <= unasked) | undefined))
        if np.any(undefined & self.points.moderate & ~np.isnan(new)):
            return "a value where the old form is undefined"
        if not len(left):
            return ""
        old, new = old[left], new[left]
        if np.any(np.isnan(new)):
            return "NaN where the old form is none"
        if np.any(infinite := np.isinf(new)):
            return "infinite where the old form is finite" if np.any(np.isfinite(old[infinite])) else "an infinity of the other sign"
        verdict = self._verdict_in_wide(before, after, left, old, new)
        if np.any(verdict < 0):
            return "less accurate"
        unsure = np.flatnonzero(verdict == 0)
        return "less accurate" if len(unsure) and not self._is_as_close(before, left[unsure], old[unsure], new[unsure]) else ""

    def _values(self, form: Expr) -> Array:
        return np.broadcast_to(_fill(self.values, form, self.dtype), self.points.moderate.shape)

    def _expected(self, form: Expr) -> tuple[Array, Array, Array]:
        """A form's values, where they are undefined, and how far others may be from them without a question."""
        if form not in self.expected:
            values = self._values(form)
            self.expected[form] = values, np.isnan(values), _ASKED[self.dtype] * np.spacing(np.abs(values))
        return self.expected[form]

    # --- by a wider float, a hundred times faster than mpmath ---

    def _verdict_in_wide(self, before: Expr, after: Expr, asked: Array, old: Array, new: Array) -> Array:
        """Whether the new value is as good as the old one: 1 where it is, -1 where it is not, 0 where nothing is known.

        The two forms' wide values show how much is known of the truth. Where it is little, the old form is off as well: how far is seen
        from its values in both widths, and a form that is no further away from it is as good.
        """
        verdict = np.zeros(len(asked), int)
        order = topological(before, after)
        if self.wide is None or not _WIDE.issuperset([n.op.name for n in order]):
            return verdict
        known = {x: v[asked].astype(self.wide) for x, v in zip(self.leaves, self.points.values)}
        exact, other = (_fill(known, form, self.wide) for form in (before, after))
        doubt = _SURE * np.abs(exact - other)  # not finite where nothing is known: then no comparison holds
        error, rounding = np.abs(new - exact), ULPS * _ulp(exact, self.dtype)
        mistake = np.where(np.isfinite(old), np.abs(old - exact), np.where(np.abs(exact) < np.finfo(self.dtype).max, np.inf, 0))
        verdict[error + doubt <= np.maximum(rounding, mistake - doubt)] = 1
        left = np.flatnonzero((verdict == 0) & np.isfinite(doubt))
        if len(left):
            error, doubt, rounding, mistake = error[left], doubt[left], rounding[left], mistake[left]
            nearby = _LUCK * self._error_nearby(before, asked[left], self.wide)
            allowed = rounding + np.maximum(nearby, mistake)
            as_good = (error + doubt <= allowed) | ((doubt > nearby) & (np.abs(new[left] - old[left]) <= nearby))
            verdict[left] = np.where(as_good, 1, np.where(error - doubt > allowed + doubt, -1, 0))
        return verdict

    def _error_nearby(self, form: Expr, asked: Array, wide: str) -> Array:
        """How much the form is off at most at points around these, NaN where that is not known."""
        found = self.nearby.setdefault(form, np.full(len(self.points.moderate), -1.0, wide))
        new = asked[found[asked] == -1.0]
        if len(new):
            around = [_around(x[new], k) for k, x in enumerate(self.points.values)]
            narrow, exact = (
                _fill({x: v.astype(width, copy=False) for x, v in zip(self.leaves, around)}, form, width) for width in (self.dtype, wide)
            )
            found[new] = np.max(np.where(np.isfinite(narrow), np.abs(narrow - exact), 0), axis=0)
        return found[asked]

    # --- by mpmath ---

    def _is_as_close(self, before: Expr, asked: Array, old: Array, new: Array) -> bool:
        """Whether the new values are as good as the old ones, at some of the points, those first where they are furthest apart."""
        distance = np.abs(new - old) / np.spacing(np.abs(old))
        order = np.argsort(-np.where(np.isfinite(distance), distance, np.inf), kind="stable")
        chosen = order[np.unique(np.linspace(0, len(order) - 1, _PRECISE_POINTS).astype(int))]
        return all(self._is_as_close_at(before, int(asked[k]), old[k], new[k]) for k in chosen)

    def _is_as_close_at(self, before: Expr, i: int, old: Any, new: Any) -> bool:
        """Whether the new value is as good as the old one: to rounding, at this point or among its neighbours."""
        for digits in (DIGITS, MORE_DIGITS):
            exact = self._exactly(before, i, digits)
            if exact is None:
                return True  # the old form's value there is an accident (0/0, a root of a negative number)
            real = type(exact)
            error, rounding = abs(real(float(new)) - exact), real(ULPS * float(_ulp(np.asarray(float(exact)), self.dtype)))
            if error <= rounding or (np.isfinite(old) and error <= abs(real(float(old)) - exact)):
                return True
            if digits == MORE_DIGITS or not self._lacks_digits(before, i):
                break
        return bool(error <= rounding + _LUCK * self._error_nearby_precisely(before, i, digits))

    def _exactly(self, form: Expr, i: int, digits: int) -> Any:
        if (form, i, digits) not in self.exact:
            at = {x: float(v[i]) for x, v in zip(self.leaves, self.points.values)}
            self.exact[form, i, digits] = evaluate_precisely(form, at, digits)
        return self.exact[form, i, digits]

    def _lacks_digits(self, form: Expr, i: int) -> bool:
        """Whether more is cancelled here than the digits that are usual can take."""
        few, many = (self._exactly(form, i, digits) for digits in (DIGITS, MORE_DIGITS))
        return many is None or bool(abs(few - many) > 1e-30 * abs(many))

    def _error_nearby_precisely(self, form: Expr, i: int, digits: int) -> Any:
        around = [_around(x[i : i + 1], k)[:, 0] for k, x in enumerate(self.points.values)]
        worst = 0
        for j, value in enumerate(_fill(dict(zip(self.leaves, around)), form, self.dtype)):
            exact = evaluate_precisely(form, {leaf: float(v[j]) for leaf, v in zip(self.leaves, around)}, digits)
            if exact is not None and np.isfinite(value):
                worst = max(worst, abs(type(exact)(float(value)) - exact))
        return worst


def depends(forms: Sequence[Expr], leaves: Sequence[Expr], ranges: Sequence[str]) -> list[bool]:
    """Which leaves matter to any of the forms (all elementwise): another value there changes a result by more than rounding.

    >>> import symgrad as sg
    >>> x, y = sg.symbols("x y")
    >>> depends([x * y / y], [x, y], ["real", "real"])
    [True, False]
    """
    values = [v[:_DEPENDS_AT] for v in sample_points(tuple(ranges), "float64").values]
    with np.errstate(all="ignore"):
        before = _values(forms, leaves, values)
        found = []
        for k, column in enumerate(values):
            after = _values(forms, leaves, [*values[:k], column[::-1] * 0.75, *values[k + 1 :]])
            found.append(any(bool(np.any(np.abs(a - b) > 1e-6 * np.abs(a))) for a, b in zip(before, after, strict=True)))
    return found


def _values(forms: Sequence[Expr], leaves: Sequence[Expr], values: Sequence[Array]) -> list[Array]:
    known = dict(zip(leaves, values))
    return [_fill(known, form, "float64") for form in forms]


def _fill(known: dict[Expr, Array], form: Expr, dtype: str) -> Array:
    """The form's values, those of all nodes below it added to the known ones."""
    for node in unvisited((form,), known):
        if node.op.name == "constant":
            value = np.asarray(node.params["value"])
        else:
            assert node.op.evaluate is not None
            value = np.asarray(node.op.evaluate(*[known[a] for a in node.args], **node.params))
        known[node] = value.astype(dtype, copy=False) if node.kind == "real" else value
    return known[form].astype(dtype, copy=False)


def _around(column: Array, leaf: int) -> Array:
    """The neighbours of some values of a leaf, one row each."""
    close, apart = _steps(leaf, str(column.dtype))
    return np.concatenate([column + close * np.spacing(column), column * apart])


@lru_cache(maxsize=64)
def _steps(leaf: int, dtype: str) -> tuple[Array, Array]:
    """How many units in the last place half of the neighbours of a leaf's value are away, and what the others are times it."""
    steps = np.random.default_rng((7, leaf)).integers(-_AROUND, _AROUND + 1, (_NEIGHBOURS, 1)).astype(dtype)
    half = _NEIGHBOURS // 2
    return steps[:half], 1 + steps[half:] * np.asarray(_APART[dtype] / _AROUND, dtype)


def _ulp(exact: Array, dtype: str) -> Array:
    """The unit in the last place of a narrow float near the exact values; of the largest one beyond overflow."""
    return np.spacing(np.minimum(np.abs(exact), np.finfo(dtype).max).astype(dtype))


def _wider(dtype: str) -> str | None:
    if np.finfo("longdouble").nmant >= 63:
        return "longdouble"
    return "float64" if dtype == "float32" else None
