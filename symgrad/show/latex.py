r"""LATEX: an expression as it stands in a paper.

Quotients are fractions, roots have a bar, Greek names are Greek letters, digits at the end of a name are its
subscript, an elementwise product of tensors is ``\odot``, a sum has its index; what is shared stands on lines in front.

    latex_words     names and numbers
    latex_nodes     how each op reads
    latex_products  products, quotients, powers, sums
    latex_index     what stands below a sum

>>> import symgrad as sg
>>> sigma_1, x = sg.symbols("sigma_1 x")
>>> print((sg.exp(-x)/sigma_1).latex())
\frac{e^{-x}}{\sigma_{1}}
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from symgrad.expr import METHODS, Expr
from symgrad.show.large import is_large
from symgrad.show.latex_nodes import latex_layout
from symgrad.show.latex_words import latex_name
from symgrad.show.layout import Script
from symgrad.show.reading import as_read
from symgrad.show.text import text_layout

__all__ = ["BRACKETS", "aligned", "latex", "latex_layout", "latex_name", "part_name", "tight"]

BRACKETS = (r"\left(", r"\right)")


def latex(expr: Expr) -> str:
    """The formula as LaTeX without delimiters: what its own names mean stands below, parts that have been given names in front."""
    expr = as_read(expr, text_layout)
    script = Script([expr], latex_layout, BRACKETS, binding=text_layout)
    if not script.definitions:
        return tight(script.write(expr))
    lines = [(latex_name(script.names[d]), script.write(d, part_name), "=") for d in script.definitions]
    if expr in script.names:
        return aligned(lines)
    whole = ("", script.write(expr, part_name), "")
    if not any(d.op.name == "named" for d in script.definitions):
        return aligned([*lines, whole])
    first, *others = lines
    return aligned([whole, (rf"\text{{where}}\quad {first[0]}", *first[1:]), *others])


def part_name(name: str) -> str:
    """A part's name inside a formula, where a power or a transposition may follow."""
    written = latex_name(name)
    return f"{{{written}}}" if "^" in written else written


def _notebook(expr: Expr) -> str | None:
    """With delimiters; ``None`` for a large formula, which a notebook then shows as text."""
    return None if is_large([expr]) else f"$\\displaystyle {latex(expr)}$"


METHODS["latex"] = latex
METHODS["notebook"] = _notebook


def aligned(lines: Sequence[tuple[str, str, str]]) -> str:
    """Lines (name, formula, sign), as in ``name = formula``, aligned at the sign."""
    written = [rf"{name} &{sign} {tight(formula)}" if name else rf"&\phantom{{=}} {tight(formula)}" for name, formula, sign in lines]
    gaps = [r" \\[4pt]" if r"\frac" in above + below else r" \\" for above, below in pairwise(written)]
    body = "\n".join(line + gap for line, gap in zip(written, [*gaps, ""], strict=True))
    return f"\\begin{{aligned}}\n{body}\n\\end{{aligned}}"


_SIGNS = re.compile(
    r"\\(?P<side>left|right)(?P<bracket>\(|\)|\\\{|\\\}|\|)|\\(?P<tall>left|right|frac|sum|prod|begin|sqrt)(?![a-zA-Z])"
)


def tight(formula: str) -> str:
    r"""Brackets of the plain size where nothing inside is tall: ``\left(x + 1\right)`` is ``(x + 1)``.

    >>> print(tight(r"\left(x + 1\right) \left(\frac{1}{x}\right)"))
    (x + 1) \left(\frac{1}{x}\right)
    """
    opened: list[list[int]] = []  # of each open bracket: its place in the parts, and whether something inside is tall
    parts: list[str] = []
    end = 0
    for sign in _SIGNS.finditer(formula):
        parts.append(formula[end : sign.start()])
        end = sign.end()
        parts.append(sign[0])
        if sign["side"] == "left":
            opened.append([len(parts) - 1, 0])
        elif sign["side"] == "right":
            place, tall = opened.pop()
            if tall:
                if opened:
                    opened[-1][1] = 1
            else:
                parts[place], parts[-1] = parts[place][5:], sign["bracket"]
        elif opened and sign["tall"]:
            opened[-1][1] = 1
    return _GRADIENT.sub(r"(\1)", _LOOSE.sub(r"\1", _STACKED.sub(r"\1\2", "".join(parts) + formula[end:])))


_STACKED = re.compile(r"(?<![a-zA-Z}^_\]])\{((?:\\[a-zA-Z]+|[a-zA-Z])_\{[^{}]*\})\}(\^\{\\top\})")  # {H_{1}}^{\top}
_LOOSE = re.compile(r"(?<![a-zA-Z}^_\]])\{(\\[a-zA-Z]+|[a-zA-Z]|\([^()]*\))\}(?=[_^])")  # {\delta}_{i}
# The square of a gradient is not that of its parameter.
_GRADIENT = re.compile(r"(\\nabla (?:\\[a-zA-Z]+|[a-zA-Z])(?:_\{[^{}]*\})?)(?=\^\{(?!\\(?:mathrm|text|prime)))")
