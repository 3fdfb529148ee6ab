"""Minimax polynomials, for the coefficient tables of ``symgrad/render/vector_math``.

The exchange algorithm of Remez, in mpmath's arithmetic: the polynomial p of the given degree whose
largest weighted error ``weight(x) * (f(x) - p(x))`` on an interval is smallest.
"""

from __future__ import annotations

from collections.abc import Callable

import mpmath as mp

Real = Callable[[mp.mpf], mp.mpf]


def minimax(f: Real, degree: int, low: float, high: float, weight: Real = lambda x: mp.mpf(1),
            digits: int = 60) -> tuple[list[float], float]:
    """Coefficients in rising order, rounded to double, and the largest weighted error before that rounding."""
    with mp.workdps(digits):
        low, high = mp.mpf(low), mp.mpf(high)
        count = degree + 2
        size = 24 * count  # even, and no end point: a weight may vanish in the middle and at the ends
        grid = [(low + high) / 2 - (high - low) / 2 * mp.cos(mp.pi * (2 * k + 1) / (2 * size)) for k in range(size)]
        value, scale = [f(x) for x in grid], [weight(x) for x in grid]
        points = [round(k * (len(grid) - 1) / (count - 1)) for k in range(count)]
        for _ in range(40):
            rows = mp.matrix(count, count)
            right = mp.matrix(count, 1)
            for i, p in enumerate(points):
                for j in range(degree + 1):
                    rows[i, j] = grid[p] ** j
                rows[i, degree + 1] = (-1) ** i / scale[p]
                right[i] = value[p]
            solved = mp.lu_solve(rows, right)
            coefficients = [solved[j] for j in range(degree + 1)]
            error = [w * (v - mp.polyval(coefficients[::-1], x)) for x, v, w in zip(grid, value, scale)]
            largest = max(abs(e) for e in error)
            if largest < abs(solved[degree + 1]) * (1 + mp.mpf(10) ** -4):
                break
            points = _alternating(error, count)
        return [float(c) for c in coefficients], float(largest)


def _alternating(error: list[mp.mpf], count: int) -> list[int]:
    """Indices of ``count`` largest errors of alternating sign, one of each run of equal sign."""
    peaks: list[int] = []
    for i, e in enumerate(error):
        if peaks and (e > 0) == (error[peaks[-1]] > 0):
            if abs(e) > abs(error[peaks[-1]]):
                peaks[-1] = i
        else:
            peaks.append(i)
    while len(peaks) > count:
        drop = min((abs(error[peaks[0]]), 0), (abs(error[peaks[-1]]), -1))[1]
        peaks.pop(drop)
    if len(peaks) < count:
        raise ArithmeticError(f"only {len(peaks)} alternations of {count}: lower the degree or raise the digits")
    return peaks
