"""EXPLAIN LATEX: an explanation for papers, and as a page of Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from symgrad import dims
from symgrad.expr import Array, Expr
from symgrad.show.changes import SIGNS, Change, legend
from symgrad.show.derivation import Derivation
from symgrad.show.explain_words import FLAT, Notation, chain_lines, cost_words, flat_lines, title_words, values_of
from symgrad.show.formulas import Formulas
from symgrad.show.latex import latex, tight
from symgrad.show.latex_words import latex_array, latex_name, latex_number, shape_latex
from symgrad.show.point import Point
from symgrad.show.point_table import ELEMENTS
from symgrad.simplify.cost import Cost

__all__ = ["as_latex", "as_markdown"]

_BREAK = r"\\[4pt]"
_BELONGS = r"\in "  # a large array is told by its shape


def as_latex(d: Derivation, gradients: Formulas, point: Point | None) -> str:
    """Steps, chain rule, the derivatives put together, what simplified them, and the result in one aligned block."""
    rows = [_title("Steps"), *_step_rows(d), _title(f"Chain rule, from ${latex_name(d.label)}$ back"), *_chain_rows(d, point)]
    rows += [_title(f"Put together: {_words(d.before, d)}"), *_rows_of(d.put_together())]
    done = list(_rewriting_rows(d) if d.rewritings else map(_change_row, d.changes))
    if done:
        words = "" if d.rewritings else legend(d.changes)
        rows += [_title("Simplified") + (rf"\quad \text{{({_in_text(words)})}}" if words else ""), *done]
    rows += [_title(f"Result: {_words(d.after, d)}"), *_rows_of(gradients), *_gradient_rows(d, point)]
    return "\n".join([r"\begin{aligned}", *(row if row.endswith(_BREAK) else f"{row} {_BREAK}" for row in rows), r"\end{aligned}"])


def as_markdown(d: Derivation, gradients: Formulas, point: Point | None) -> str:
    """Headings, formulas between ``$$``, the rules beside the lines that they led to, or as a list."""
    by = ", ".join(f"${latex_name(s.name)}{title_words(s, latex)}$" for s in d.wrt)
    where = "" if point is None else ", at " + ", ".join(f"${latex_name(s.name)} = {_value(point.values[s])}$" for s in point.inputs)
    parts = [
        f"## ${latex_name(d.label)}$, differentiated by {by}{where}",
        _block([latex(d.expr)]) if d.expr.op.name in ("named", "symbol") else _block([rf"{latex_name(d.label)} = {latex(d.expr)}"]),
        *_headed("### Steps", _aligned(_step_rows(d))),
        *_headed(f"### Chain rule, from ${latex_name(d.label)}$ back", _aligned(_chain_rows(d, point))),
        f"### Put together: {cost_words(d.before, d.expr)}", _block([d.put_together().latex()]),
        *_simplified(d),
        f"### Result: {cost_words(d.after, d.expr)}", _block([gradients.latex()]),
        *([_block(_aligned(_gradient_rows(d, point)))] if point is not None else []),
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def _words(cost: Cost, d: Derivation) -> str:
    return cost_words(cost, d.expr)


def _headed(title: str, lines: list[str]) -> list[str]:
    """A heading and its formulas; nothing where there are none."""
    return [title, _block(lines)] if lines else []


# --- what simplification did ----------------------------------------------------------------------------------


def _simplified(d: Derivation) -> list[str]:
    """The part of a page, nothing where nothing shows."""
    if d.rewritings:
        return _headed("### Simplified", _aligned(_rewriting_rows(d)))
    words = legend(d.changes)
    rules = [f"- {c.rule}{f' ({c.times} times)' if c.times > 1 else ''}: `{c.before}` → `{c.after}`" for c in d.changes]
    return [f"### Simplified ({words})" if words else "### Simplified", "\n".join(rules)] if rules else []


def _rewriting_rows(d: Derivation) -> Iterator[str]:
    """Lines that differ in this notation; the rules of others go with the next one that does."""
    raw = {f"d{d.label}/d{s.name}": (s, e) for s, e in zip(d.wrt, d.raw, strict=True)}
    for r in d.rewritings:
        step, before = raw[r.name]
        head, last, pending = _partial(d.label, step.name), latex(before), dict[str, None]()
        for rules, e in r.lines:
            pending.update(dict.fromkeys(rules))
            written = latex(e)
            if written != last:
                yield f"{head} &= {written} && {_rule(', '.join(pending))}"
                head, last, pending = "", written, {}


def _change_row(c: Change) -> str:
    rule = _rule(f"{c.rule}, {c.times} times" if c.times > 1 else c.rule)
    if c.sides is None or c.before.endswith("…") or c.after.endswith("…"):
        return f"&{rule}"
    left, right = map(latex, c.sides)
    return rf"&{rule}\quad {left} \to {right}"


def _rule(words: str) -> str:
    return rf"\text{{[{_in_text(words)}]}}"


def _in_text(words: str) -> str:
    return "".join(f"${latex_name(c)}$" if c in SIGNS else _TEXT.get(c, c) for c in words)


_TEXT = {"_": r"\_", "^": r"\^{}", "&": r"\&", "%": r"\%", "#": r"\#", "$": r"\$", "~": r"\~{}"}


def _gradient_rows(d: Derivation, point: Point | None) -> Iterator[str]:
    """The numbers at the point."""
    for s in d.wrt if point is not None else ():
        value = _value(s.gradient)
        name = latex_name(f"d{d.label}/d{s.name}")
        yield rf"{name} &{value if value.startswith(_BELONGS) else f'= {value}'} && \text{{at the point}}"


# --- parts -----------------------------------------------------------------------------------------------------


def _block(lines: Sequence[str]) -> str:
    return "\n".join(["$$", *lines, "$$"])


def _aligned(lines: Iterable[str]) -> list[str]:
    rows = list(lines)
    if not rows:
        return []
    return [r"\begin{aligned}", *(f"{row} \\\\[4pt]" for row in rows[:-1]), *rows[-1:], r"\end{aligned}"]


def _title(words: str) -> str:
    return rf"&\textbf{{{words}}}"


def _rows_of(formulas: Formulas) -> list[str]:
    return formulas.latex().split("\n")[1:-1]


def _step_rows(d: Derivation) -> list[str]:
    return [_row(latex_name(s.name), latex(s.formula), _value(s.value)) for s in d.steps if not s.is_input]


def _row(head: str, body: str, value: str = "") -> str:
    return f"{head} &= {body}" + (f" && {value if value.startswith(_BELONGS) else f'= {value}'}" if value else "")


def _chain_rows(d: Derivation, point: Point | None) -> Iterator[str]:
    values = values_of(d, point)
    for s in reversed(d.steps):
        if s.adjoint is not None:
            for line in chain_lines(s, d, _LATEX, values):
                yield f"{line.head} &= {line.body}" if not line.body.startswith(_BELONGS) else rf"&{line.body}"
    yield from (rf"{line.replace(' = ', ' &= ')} && \text{{{FLAT}}}" for line in flat_lines(d, _LATEX))


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


def _partial(of: str, by: str) -> str:
    return rf"\frac{{\partial {latex_name(of)}}}{{\partial {latex_name(by)}}}"


def _bracketed(formula: str) -> str:
    """Brackets as tall as the formula."""
    return tight(rf"\left({formula}\right)")


_LATEX = Notation(_spelled, _partial, _value, r" \cdot ", r" \odot ", _bracketed)
