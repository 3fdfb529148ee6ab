"""PLANE: an expression of two variables as contours, with its gradient as arrows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from symgrad.expr import Array, Expr
from symgrad.show.mapped import NOTHING, Mapped, Variable, axis_name, derived, names
from symgrad.show.picture import tidy
from symgrad.show.themes import Theme
from symgrad.show.unicode import pretty

__all__ = ["draw_plane"]

TITLE = 64  # characters of a formula
GRID = 161  # points along each side
ARROWS = 19
BANDS = 18


def draw_plane(
    ax: Any, theme: Theme, curve: tuple[str, Expr], variables: Sequence[Variable], field: bool, known: Mapping[Expr, Any],
    title: str | None,
) -> None:
    from matplotlib.colors import BoundaryNorm, LinearSegmentedColormap

    name, e = curve
    x, y = variables
    gx, gy = (np.linspace(v.start, v.stop, GRID) for v in variables)
    mx, my = np.meshgrid(gx, gy)
    (z,) = Mapped([e], variables, known)(mx.ravel(), my.ravel())
    z = np.ma.masked_invalid(z.reshape(mx.shape))
    ax.set_xlim(x.start, x.stop)
    ax.set_ylim(y.start, y.stop)
    if 1 / 3 <= (y.stop - y.start) / (x.stop - x.start) <= 3:
        ax.set_aspect("equal")
    tidy(ax, theme, names(name, e, 0, TITLE)[0] if title is None else title, axis_name(x, known), pretty(y.symbol.name))
    if not z.count():
        ax.text(0.5, 0.5, NOTHING, transform=ax.transAxes, ha="center", color=theme.muted, fontsize=9)
        return
    levels, extend = _levels(z.compressed())
    colours = LinearSegmentedColormap.from_list("plane", theme.depth)
    norm = BoundaryNorm(levels, colours.N, extend=extend)
    shades = ax.contourf(mx, my, z, levels=levels, cmap=colours, norm=norm, extend=extend, zorder=0)
    ax.contour(mx, my, z, levels=levels, colors=[theme.ground], linewidths=0.5, alpha=0.35, zorder=1)
    bar = ax.figure.colorbar(shades, ax=ax, shrink=0.85, pad=0.02, ticks=_ticks(levels), format=_tick)
    bar.ax.tick_params(colors=theme.ink, labelsize=8, length=2)
    bar.outline.set_visible(False)
    if field:
        _draw_field(ax, theme, e, variables, known)


def _tick(value: float, position: int | None = None) -> str:
    return (f"{value:.0f}" if 1000 <= abs(value) < 1e6 else f"{value:.3g}").replace("-", "−")


def _levels(z: Array) -> tuple[Array, Any]:
    """Heights for the contours, closer together where most of the values are."""
    low, middle, high = z.min(), np.median(z), z.max()
    q1, q99 = np.quantile(z, (0.01, 0.99))
    ends = ["", ""]
    if high - q99 > 20 * (q99 - q1) > 0:
        high, ends[1] = q99, "max"
    if q1 - low > 20 * (q99 - q1) > 0:
        low, ends[0] = q1, "min"
    extend = "both" if all(ends) else ends[0] or ends[1] or "neither"
    if not high > low:
        margin = max(1e-9, 1e-6 * abs(low))
        return np.array([low - margin, low + margin]), extend
    t = np.linspace(0, 1, BANDS + 1)
    share = (middle - low) / (high - low)
    if share < 0.15:
        return _rounded(low + (high - low) * t**3), extend
    if share > 0.85:
        return _rounded(high - (high - low) * (1 - t) ** 3), extend
    from matplotlib.ticker import MaxNLocator

    return np.asarray(MaxNLocator(BANDS, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)), extend


def _rounded(levels: Array) -> Array:
    """The levels as short numbers, the outermost ones outwards."""
    gaps = np.diff(levels)
    unit = 10.0 ** np.floor(np.log10(np.minimum(np.append(gaps, gaps[-1]), np.insert(gaps, 0, gaps[0]))))
    short = np.round(levels / unit) * unit
    short[0], short[-1] = np.floor(levels[0] / unit[0]) * unit[0], np.ceil(levels[-1] / unit[-1]) * unit[-1]
    return np.unique(short)


def _ticks(levels: Array) -> Array:
    """About eight of the levels, zero among them where it is one."""
    step = max(1, len(levels) // 8)
    return levels[int(np.abs(levels).argmin()) % step :: step]


def _draw_field(ax: Any, theme: Theme, e: Expr, variables: Sequence[Variable], known: Mapping[Expr, Any]) -> None:
    """Arrows along the gradient, uphill; lengths grow as the fourth root of the slope, so that gentle slopes show, too."""
    x, y = variables
    across = (x.stop - x.start) / ARROWS
    rows = ARROWS if ax.get_aspect() == "auto" else max(4, round((y.stop - y.start) / across))
    gx, gy = (np.linspace(v.start, v.stop, 2 * n + 1)[1::2] for v, n in ((x, ARROWS), (y, rows)))
    mx, my = (m.ravel() for m in np.meshgrid(gx, gy))
    height, u, v = Mapped([e, derived(e, x.symbol), derived(e, y.symbol)], variables, known)(mx, my)
    # as seen on the screen: both directions in shares of the picture
    steps = np.stack([u * across, v * (y.stop - y.start) / rows])
    slope = np.hypot(u, v)
    seen = np.isfinite(height) & np.isfinite(slope) & (slope > 0)
    if not seen.any():
        return
    length = 0.9 * (slope[seen] / np.quantile(slope[seen], 0.98)).clip(0, 1) ** 0.25
    direction = np.stack([u[seen] * across, v[seen] * across]) / slope[seen]
    if ax.get_aspect() == "auto":
        direction = steps[:, seen] / np.hypot(*steps[:, seen]) * np.array([[across], [(y.stop - y.start) / rows]])
    ax.quiver(mx[seen], my[seen], *(direction * length), angles="xy", scale_units="xy", scale=1, pivot="mid", width=0.0028, headwidth=4.2,
              headlength=4.6, headaxislength=4.2, color=theme.arrow, zorder=2)
