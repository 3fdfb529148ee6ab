"""SAMPLING: a curve as points: more where it bends, gaps at poles and jumps, and which part of it is worth showing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from symgrad.expr import Array

__all__ = ["Curve", "sample", "window"]

COARSE = 401  # points to begin with
LEVELS = 12  # times that an interval is halved
MOST = 8_000  # points
LAST = 4  # halvings that tell whether an extreme value still moves
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


def sample(function: Callable[[Array], Array], start: float, stop: float) -> Curve:
    """``function`` maps (points,) to (points,), whatever it may give there."""
    x = np.linspace(start, stop, COARSE)
    y = _values(function, x)
    coarse = y[np.isfinite(y)]
    if not coarse.size:
        return Curve(x, y, None, None)
    low, high = _middle(coarse)
    extremes = [(float(coarse.min()), float(coarse.max()))]
    for _ in range(LEVELS):
        wanted = _intervals(x, y, low, high)
        if not wanted.size:  # nothing moves any more
            extremes += extremes[-1:] * LAST
            break
        if len(x) + len(wanted) > MOST:
            break
        middle = (x[wanted] + x[wanted + 1]) / 2
        x = np.insert(x, wanted + 1, middle)
        y = np.insert(y, wanted + 1, _values(function, middle))
        extremes.append((float(np.nanmin(y)), float(np.nanmax(y))))
    shown, cut = _shown(coarse, extremes[max(0, len(extremes) - 1 - LAST)], extremes[-1])
    return Curve(*_interrupted(x, y, shown[1] - shown[0]), *shown, cut)


def _values(function: Callable[[Array], Array], x: Array) -> Array:
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


def _shown(coarse: Array, before: tuple[float, float], now: tuple[float, float]) -> tuple[tuple[float, float], tuple[bool, bool]]:
    """The heights to show. An end that still moves away, however close one looks, is a pole's, and is cut off.

    ``before``, ``now``: the extreme values, :data:`LAST` halvings ago and after the last one.
    """
    height = float(coarse.max() - coarse.min()) or 1.0
    middle = _middle(coarse)
    ends, cut = [], []
    for extreme, last, previous, most in ((coarse.min(), now[0], before[0], middle[0]), (coarse.max(), now[1], before[1], middle[1])):
        moved = abs(last - previous) / height
        cut.append(moved > 0.5)
        ends.append(float(last if moved < 0.002 else most if cut[-1] else extreme))
    return (min(ends), max(ends)), (cut[0], cut[1])


def _interrupted(x: Array, y: Array, height: float) -> tuple[Array, Array]:
    """With a gap in every interval that is as narrow as they get and still a step."""
    narrow = np.diff(x) < 4 * (x[-1] - x[0]) / COARSE / 2**LEVELS
    jumps = np.flatnonzero(narrow & (np.abs(np.diff(y)) > STEP * (height or 1.0)))
    return np.insert(x, jumps + 1, (x[jumps] + x[jumps + 1]) / 2), np.insert(y, jumps + 1, np.nan)


def window(curves: Sequence[Curve], others: Sequence[Curve] = ()) -> tuple[float, float] | None:
    """The heights that show all of the curves, with a margin; ``None`` where no curve has a value. Poles of the others are left out."""
    ends = [end for c in curves for end in (c.low, c.high) if end is not None]
    ends += [end for c in others for end, cut in zip((c.low, c.high), c.cut) if end is not None and not cut]
    if not ends:
        return None
    low, high = min(ends), max(ends)
    margin = 0.06 * (high - low) or max(0.5, 0.1 * abs(high))
    return low - margin, high + margin
