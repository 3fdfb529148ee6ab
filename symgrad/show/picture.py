"""PICTURE: matplotlib figures in our colours, without matplotlib's global state, that save and show themselves."""

from __future__ import annotations

import io
import os
from typing import Any

from symgrad.errors import MissingDependencyError
from symgrad.show.themes import Theme

__all__ = ["Picture", "figure", "legend", "tidy"]

DPI = 200  # of files
SCREEN = 104  # pixels an inch in a notebook


class Picture:
    """``figure``: the matplotlib ``Figure``, for whatever is to be changed about it. Shows itself in a notebook."""

    def __init__(self, figure: Any) -> None:
        self.figure = figure

    @property
    def axes(self) -> list[Any]:
        """The figure's axes."""
        return list(self.figure.axes)

    def save(self, path: str | os.PathLike[str], **options: Any) -> None:
        """Writes a file, its kind told by its name (``.png``, ``.svg``, ``.pdf``); ``options`` as ``Figure.savefig`` has them.

        Raises ``ValueError`` for kinds that matplotlib does not write.
        """
        self.figure.savefig(path, **{"facecolor": self.figure.get_facecolor(), **options})

    savefig = save

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        """Finer than the pixels of most screens, in the size at which its text is as large as a notebook's."""
        buffer = io.BytesIO()
        self.save(buffer, format="png", dpi=DPI)  # type: ignore[arg-type]
        width, height = self.figure.get_size_inches()
        return buffer.getvalue(), {"width": round(width * SCREEN), "height": round(height * SCREEN)}

    def __repr__(self) -> str:
        width, height = self.figure.get_size_inches()
        panels = len(self.figure.axes)
        return f"Picture({width:g} x {height:g} inches, {panels} axes): .save('picture.png') writes it"


def figure(width: float, height: float, theme: Theme) -> Any:
    """An empty figure. Raises ``MissingDependencyError`` where matplotlib is absent."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingDependencyError('plots need matplotlib: pip install "symgrad[viz]"') from None
    return Figure(figsize=(width, height), dpi=DPI, layout="constrained", facecolor=theme.ground)


def tidy(ax: Any, theme: Theme, title: str, x: str, y: str) -> None:
    """Axes without a frame, title at the left."""
    ax.set_facecolor(theme.ground)
    ax.set_title(title, loc="left", color=theme.ink, fontsize=11, fontweight="bold")
    ax.set_xlabel(x, color=theme.ink, fontsize=9)
    ax.set_ylabel(y, color=theme.ink, fontsize=9)
    ax.tick_params(colors=theme.ink, labelsize=8, length=3)
    for axis in (ax.xaxis, ax.yaxis):
        if hasattr(axis.get_major_formatter(), "set_useMathText"):
            axis.get_major_formatter().set_useMathText(True)  # 10⁹ for 1e9
            axis.get_major_formatter().set_powerlimits((-3, 5))
        axis.get_offset_text().set(color=theme.ink, size=8)
    for side, spine in ax.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(theme.faint)


def legend(ax: Any, theme: Theme, **options: Any) -> None:
    """Where it hides least, on a ground that lets what is below shine through."""
    ax.legend(**{"frameon": True, "framealpha": 0.85, "edgecolor": "none", "facecolor": theme.ground, "fontsize": 8,
                 "labelcolor": theme.ink, "loc": "best", **options})
