"""SHOW: expressions as text, as LaTeX, and at a point.

    layout    what every notation shares: strengths, parentheses, let-bound parts, one iterative writer
    text      as a person would type it, in the grammar of ``sg.parse``
    reading   what was derived as people write it: products as one fraction (``factors``), of matrices (``chains``)
    latex     as it stands in a paper: ``latex_nodes``, ``latex_products``, ``latex_exponents``, ``latex_words``, ``latex_index``,
              ``constants``
    large     what is too long to read, and ``wrap``, lines of a terminal's width
    names     what let-bound parts are called
    formulas  several by name, one a line
    labels    each node's formula, in which long parts stand as something shorter
    point     the value and gradient of every node at a point
    explain   the chain rule step by step: ``derivation`` (the steps as data), ``explain_words``, ``explain_latex``, ``explain_html``
    drawing   the graph: ``graph`` (boxes and arrows, ``boxes``, ``layers``), written by ``dot``, ``mermaid``, ``outline``;
              ``themes``, ``unicode``
    plotting  curves, and planes (``plane``): values by ``mapped``, points by ``sampling``, shown by ``picture``

``explain``, ``drawing`` and ``plotting`` are imported when they are first used: a program that trains needs none of them.
"""

from __future__ import annotations

from symgrad.show.formulas import Formulas
from symgrad.show.latex import latex
from symgrad.show.point import Point, at
from symgrad.show.text import text

__all__ = ["Formulas", "Point", "at", "latex", "text"]
