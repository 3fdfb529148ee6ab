"""SHOW: expressions as text, as LaTeX, and at a point.

    layout    what every notation shares: strengths, parentheses, let-bound parts, one iterative writer
    text      as a person would type it, in the grammar of ``sg.parse``
    latex     as it stands in a paper
    formulas  several by name, one a line
    point     the value and gradient of every node at a point
"""

from __future__ import annotations

from symgrad.show.formulas import Formulas
from symgrad.show.latex import latex
from symgrad.show.point import Point, at
from symgrad.show.text import text

__all__ = ["Formulas", "Point", "at", "latex", "text"]
