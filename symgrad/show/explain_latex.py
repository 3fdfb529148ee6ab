"""EXPLAIN LATEX: an explanation for papers, and as a page of Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from symgrad import dims
from symgrad.expr import Array, Expr
from symgrad.show.derivation import Derivation
from symgrad.show.explain_words import ELEMENTS, Notation, chain_lines, cost_words, values_of
from symgrad.show.formulas import Formulas
from symgrad.show.latex import latex
from symgrad.show.latex_words import latex_array, latex_name, latex_number, shape_latex
from symgrad.show.point import Point

__all__ = ["as_latex", "as_markdown"]


def as_latex(d: Derivation, gradients: Formulas, point: Point | None) -> str:
    """Steps, chain rule and result in one aligned block."""
    chain = _title(f"Chain rule, from ${latex_name(d.label)}$ back")
    rows = [_title("Steps"), *_step_rows(d), chain, *_chain_rows(d, point), _title("Result")]
    return "\n".join([r"\begin{aligned}", *(f"{row} \\\\[4pt]" for row in rows), *_rows_of(gradients), r"\end{aligned}"])


def as_markdown(d: Derivation, gradients: Formulas, point: Point | None) -> str:
    """Headings, formulas between ``$$``, the rules as a list."""
    by = ", ".join(f"${latex_name(s.name)}$" for s in d.wrt)
    where = "" if point is None else ", at " + ", ".join(f"${latex_name(s.name)} = {_value(point.values[s])}$" for s in point.inputs)
    raw = d.put_together()
    rules = [f"- {c.rule}{f' ({c.times} times)' if c.times > 1 else ''}: `{c.before}` → `{c.after}`" for c in d.changes]
    parts = [
        f"## ${latex_name(d.label)}$, differentiated by {by}{where}",
        _block([latex(d.expr)]) if d.expr.op.name == "named" else _block([rf"{latex_name(d.label)} = {latex(d.expr)}"]),
        "### Steps", _block(_aligned(_step_rows(d))),
        f"### Chain rule, from ${latex_name(d.label)}$ back", _block(_aligned(_chain_rows(d, point))),
        f"### Put together: {cost_words(d.before, d.expr)}", _block([raw.latex()]),
        *(["### Simplified", "\n".join(rules)] if rules else []),
        f"### Result: {cost_words(d.after, d.expr)}", _block([gradients.latex()]),
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def _block(lines: Sequence[str]) -> str:
    return "\n".join(["$$", *lines, "$$"])


def _aligned(lines: Iterable[str]) -> list[str]:
    rows = list(lines)
    return [r"\begin{aligned}", *(f"{row} \\\\[4pt]" for row in rows[:-1]), *rows[-1:], r"\end{aligned}"]


def _title(words: str) -> str:
    return rf"&\textbf{{{words}}}"


def _rows_of(formulas: Formulas) -> list[str]:
    return formulas.latex().split("\n")[1:-1]


def _step_rows(d: Derivation) -> list[str]:
    return [_row(latex_name(s.name), latex(s.formula), _value(s.value)) for s in d.steps if not s.is_input]


def _row(head: str, body: str, value: str = "") -> str:
    return f"{head} &= {body}" + (f" && {value if value.startswith(chr(92) + 'in') else f'= {value}'}" if value else "")


def _chain_rows(d: Derivation, point: Point | None) -> Iterator[str]:
    values = values_of(d, point)
    for s in reversed(d.steps):
        if s.adjoint is not None:
            for line in chain_lines(s, d, _LATEX, values):
                yield f"{line.head} &= {line.body}" if not line.body.startswith(r"\in") else rf"&{line.body}"


def _value(value: Array | None) -> str:
    """A number with six digits, a small array as it is, a large one by its shape."""
    if value is None:
        return ""
    if value.ndim == 0:
        return latex_number(value.item() if value.dtype.kind in "bi" else float(f"{value.item():.6g}"))
    if value.size <= ELEMENTS:
        rounded = np.vectorize(lambda v: float(f"{v:.6g}"), otypes=[float])(value) if value.dtype.kind == "f" else value
        return latex_array(rounded)
    return rf"\in \mathbb{{R}}^{{{shape_latex(value.shape)}}}"


def _spelled(e: Expr) -> str:
    """Axes of size 1 that are put in for a product do not show."""
    while e.op.name == "reshape" and dims.total(e.shape) == dims.total(e.args[0].shape) and e.args[0].op.name == "symbol":
        e = e.args[0]
    return latex(e)


_LATEX = Notation(_spelled, lambda a, b: rf"\frac{{\partial {latex_name(a)}}}{{\partial {latex_name(b)}}}", _value, r" \cdot ", r" \odot ")
