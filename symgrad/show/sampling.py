"""SAMPLING: a curve as points: more where it bends, gaps at poles and jumps, and which part of it is worth showing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from symgrad.expr import Array

__all__ = ["Curve", "sample", "window"]

COARSE = 401  # points to begin with, evenly; between any two of them is another one, unevenly: no oscillation falls into step with both
LEVELS = 12  # times that an interval is halved
MOST = 8_000  # points
STEP = 0.015  # of the height: a step between neighbours that is looked into
BEND = 0.05  # radians, likewise, as seen on the screen


@dataclass
class Curve:
    """``x``, ``y``: the points, NaN where the line is interrupted. ``low``, ``high``: the heights to show,
    if any is finite, ``cut``: whether more is below or above, at poles."""

    x: Array
    y: Array
    low: float | None
    high: float | None
    cut: tuple[bool, bool] = (False, False)

    @property
    def turns(self) -> int:
        """How often it goes from up to down or back."""
        slopes = np.sign(np.diff(self.y[np.isfinite(self.y)]))
        slopes = slopes[slopes != 0]
        return int(np.count_nonzero(slopes[1:] != slopes[:-1]))


def sample(function: Callable[[Array], Array], start: float, stop: float, places: Array | None = None) -> Curve:
    """``function`` maps (points,) to (points,), whatever it may give there. ``places``: where to look besides, as where a curve bends."""
    x = _first(start, stop)
    first = _finite(function, x)
    if not np.isfinite(first).any():
        return Curve(x, first, None, None)
    low, high = _middle(first[np.isfinite(first)])
    y = first
    more = np.setdiff1d(places, x) if places is not None else x[:0]
    if more.size:
        at = np.searchsorted(x, more)
        x, y = np.insert(x, at, more), np.insert(y, at, _finite(function, more))
    for _ in range(LEVELS):
        wanted = _intervals(x, y, low, high)
        if not wanted.size or len(x) + len(wanted) > MOST:
            break
        middle = (x[wanted] + x[wanted + 1]) / 2
        x = np.insert(x, wanted + 1, middle)
        y = np.insert(y, wanted + 1, _finite(function, middle))
    shown, cut = _shown((low, high), first, x, y)
    return Curve(*_interrupted(x, y, shown[1] - shown[0]), *shown, cut)


def _first(start: float, stop: float) -> Array:
    even = np.linspace(start, stop, COARSE)
    share = 0.2 + 0.6 * np.modf(np.arange(COARSE - 1) * 0.6180339887498949)[0]  # multiples of the golden ratio, as uneven as can be
    return np.insert(even, np.arange(1, COARSE), even[:-1] + share * np.diff(even))


def _finite(function: Callable[[Array], Array], x: Array) -> Array:
    """NaN where there is no finite value."""
    with np.errstate(all="ignore"):
        y = np.asarray(function(x), dtype=float)
    return np.where(np.isfinite(y), y, np.nan)


def _middle(values: Array) -> tuple[float, float]:
    """The range of most of the values, with a margin: what goes beyond need not be smooth."""
    low, high = np.quantile(values, (0.04, 0.96))
    margin = 0.25 * (high - low) or max(1e-9, 1e-6 * abs(high))
    return low - margin, high + margin


def _intervals(x: Array, y: Array, low: float, high: float) -> Array:
    """Which intervals to halve: at the border of where there is a value, at steps, and where the curve turns."""
    width, height = x[-1] - x[0], high - low
    known = np.isfinite(y)
    border = known[:-1] != known[1:]
    clipped = np.clip(np.where(known, y, low), low, high)
    step = np.abs(np.diff(clipped)) / height
    far = known[:-1] & known[1:] & (np.abs(np.diff(y)) > STEP * height) & (step > 0)
    angle = np.arctan2(np.diff(clipped) / height, np.diff(x) / width)
    turn = np.abs(np.diff(angle)) > BEND
    bent = np.zeros(len(step), dtype=bool)
    bent[:-1] |= turn
    bent[1:] |= turn
    peak = np.zeros(len(x), dtype=bool)  # out of the range: does it end, or is it a pole?
    slope = np.sign(np.diff(y))
    peak[1:-1] = ((y[1:-1] > high) & (slope[:-1] >= 0) & (slope[1:] <= 0)) | ((y[1:-1] < low) & (slope[:-1] <= 0) & (slope[1:] >= 0))
    fine = np.diff(x) > width / COARSE / 2**LEVELS
    visible = np.hypot(step, np.diff(x) / width) > 1e-3  # a corner smaller than that is a point
    return np.flatnonzero((border | far | peak[:-1] | peak[1:] | (bent & visible)) & fine)


def _shown(middle: tuple[float, float], first: Array, x: Array, y: Array) -> tuple[tuple[float, float], tuple[bool, bool]]:
    """The heights to show. An end that moves away from all others, however close one looks, is a pole's, and is cut off.

    ``middle``: the range of most values; ``first``: the values of the first points.
    """
    height = float(np.nanmax(first) - np.nanmin(first)) or 1.0
    narrow = _narrow(x)
    others = y[~(np.append(narrow, True) & np.insert(narrow, 0, True))]  # without those as close together as points get
    ends, cut = [], []
    for k, extreme in enumerate((np.nanmin, np.nanmax)):
        now = float(extreme(y))
        before = float(extreme(others)) if np.isfinite(others).any() else now
        moved = abs(now - before) / max(height, abs(before - sum(middle) / 2))
        cut.append(moved > 0.5)
        ends.append(middle[k] if cut[-1] else now if moved < 0.05 else float(extreme(first)) if np.isnan(y).any() else before)
    return (min(ends), max(ends)), (cut[0], cut[1])


def _narrow(x: Array) -> Array:
    """Which intervals are as narrow as they get."""
    narrow: Array = np.diff(x) < 2 * (x[-1] - x[0]) / COARSE / 2**LEVELS
    return narrow


def _interrupted(x: Array, y: Array, height: float) -> tuple[Array, Array]:
    """With a gap in every interval that is as narrow as they get and still a step."""
    jumps = np.flatnonzero(_narrow(x) & (np.abs(np.diff(y)) > STEP * (height or 1.0)))
    return np.insert(x, jumps + 1, (x[jumps] + x[jumps + 1]) / 2), np.insert(y, jumps + 1, np.nan)


def window(curves: Sequence[Curve], others: Sequence[Curve] = ()) -> tuple[float, float] | None:
    """The heights that show all of the curves, with a margin; ``None`` where no curve has a value.

    ``others``: shown as far as they do not squash the curves: of their poles a quarter as much again is shown, above and below.
    """
    ends = [(c.low, c.high) for c in curves if c.low is not None and c.high is not None]
    if not ends:
        return None
    low, high = min(e[0] for e in ends), max(e[1] for e in ends)
    room = 0.25 * (high - low)
    beyond = (low - room, high + room)
    for c in others:
        if c.low is not None and c.high is not None:
            low = min(low, max(c.low, beyond[0]) if c.cut[0] else c.low)
            high = max(high, min(c.high, beyond[1]) if c.cut[1] else c.high)
    margin = 0.06 * (high - low) or max(0.5, 0.1 * abs(high))
    return low - margin, high + margin
