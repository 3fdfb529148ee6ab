"""POINTS: where forms of a formula are compared: moderate values, values that nearly agree, and extremes, alone and mixed.

No infinite ones: what becomes of ``x - x`` and ``x/x`` there may be dropped as algebra does.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

__all__ = ["RANGES", "Points", "sample_points"]

Array = np.ndarray[Any, Any]

RANGES = ("real", "nonnegative", "positive", "unit", "probability")  # of a leaf: any, [0, inf), (0, inf), [-1, 1], [0, 1]
_MODERATE, _NEARBY, _SPREAD, _ANY, _MIXED = 96, 96, 96, 48, 384  # how many points of a kind
_EXTREMES = {
    "float64": (0.0, -0.0, 1e-8, -1e-8, 1.0, -1.0, 1e3, -1e3, 40.0, -40.0, 1e150, -1e150, 1e-160, 1e300, -1e300, 1e-300),
    "float32": (0.0, -0.0, 1e-4, -1e-4, 1.0, -1.0, 1e2, -1e2, 15.0, -15.0, 1e18, -1e18, 1e-20, 1e36, -1e36, 1e-36),
}  # fmt: skip
_APART = {  # what leaves that nearly agree differ by, relatively: many units in the last place, or it is luck which form is better
    "float64": (0.0, 1e-12, 1e-9, -1e-7, 1e-4), "float32": (0.0, 3e-5, 1e-4, -1e-3, 1e-2),
}  # fmt: skip
_DECADES = {"float64": 300.0, "float32": 36.0}  # beyond which a value is close to overflow or underflow by itself


class Points:
    """Sample points: an array a leaf. ``moderate`` marks those where no leaf is extreme, zero or near another."""

    def __init__(self, values: list[Array], moderate: Array) -> None:
        self.values, self.moderate = values, moderate


@lru_cache(maxsize=64)
def sample_points(ranges: tuple[str, ...], dtype: str) -> Points:
    """The same points every time. ``ranges``: one of :data:`RANGES` for each leaf."""
    rng = np.random.default_rng(20240229)
    count = len(ranges)
    moderate = np.exp(rng.uniform(-2.5, 1.5, (_MODERATE, count))) * _signs(rng, (_MODERATE, count))
    kinds = [
        moderate, _nearly_agreeing(rng, _APART[dtype], count), _spread(rng, 8.0 if dtype == "float64" else 4.0, _SPREAD, count),
        *_one_extreme(moderate, np.array(_EXTREMES[dtype])), rng.choice(_EXTREMES[dtype], (_ANY, count)),
        *(_spread(rng, part * _DECADES[dtype], _MIXED // 4, count) for part in (0.25, 0.5, 1.0)), _steps(rng, _DECADES[dtype], count),
    ]  # fmt: skip
    table = np.concatenate(kinds).astype(dtype)
    values = [_into_range(table[:, k], r) for k, r in enumerate(ranges)]
    return Points(values, np.arange(len(table)) < _MODERATE)


def _signs(rng: np.random.Generator, shape: tuple[int, int]) -> Array:
    return rng.choice((-1.0, 1.0), shape)


def _nearly_agreeing(rng: np.random.Generator, apart: tuple[float, ...], count: int) -> Array:
    """Leaves that agree to some digits, where their differences, and those of their products, cancel; a third are near 1."""
    shape = (_NEARBY, count)
    near = np.repeat(np.exp(rng.uniform(-1.0, 1.0, (_NEARBY, 1))), count, axis=1)
    near[: _NEARBY // 3] = 1.0
    return near * (1.0 + rng.choice(apart, shape)) * _signs(rng, shape)


def _spread(rng: np.random.Generator, decades: float, rows: int, count: int) -> Array:
    """Each leaf of a magnitude of its own."""
    return 10.0 ** rng.uniform(-decades, decades, (rows, count)) * _signs(rng, (rows, count))


def _steps(rng: np.random.Generator, decades: float, count: int) -> Array:
    """Each leaf at one of a few magnitudes, so that the largest meet the smallest, and ordinary ones."""
    steps = decades * np.array((1.0, 2 / 3, 1 / 2, 1 / 3, 0.03, 0.0, -0.03, -1 / 3, -1 / 2, -2 / 3, -1.0))
    return 10.0 ** rng.choice(steps, (_MIXED // 4, count)) * _signs(rng, (_MIXED // 4, count))


def _one_extreme(moderate: Array, extremes: Array) -> list[Array]:
    """Every leaf at each extreme while the others are moderate, and all of them there."""
    rows = []
    for k in range(moderate.shape[1]):
        row = moderate[: len(extremes)].copy()
        row[:, k] = extremes
        rows.append(row)
    return [*rows, np.repeat(extremes[:, None], moderate.shape[1], axis=1)]


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
