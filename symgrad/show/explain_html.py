"""EXPLAIN HTML: an explanation in a notebook: self-contained, on light and on dark ground."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from html import escape

from symgrad.expr import Expr
from symgrad.show.changes import Change, legend
from symgrad.show.derivation import Derivation, Step
from symgrad.show.explain_words import FLAT, Notation, chain_lines, cost_words, flat_lines, is_defined_by_steps, title_words, values_of
from symgrad.show.formulas import Formulas
from symgrad.show.point import Point
from symgrad.show.point_table import shown
from symgrad.show.text import text
from symgrad.show.unicode import pretty
from symgrad.simplify.cost import Cost

__all__ = ["as_html"]

_STYLE = """
.sg-explain{font-family:system-ui,sans-serif;font-size:14px;line-height:1.5;color:inherit;max-width:60em}
.sg-explain h4{margin:1em 0 .3em;font-size:14px;font-weight:600}
.sg-explain table{color:inherit;border-collapse:collapse;margin:0;border:0;background:none}
.sg-explain tr{background:none!important;border:0}
.sg-explain td{padding:.12em .9em .12em 0;text-align:left!important;vertical-align:top;border:0;font-family:ui-monospace,monospace;
 font-size:13px;white-space:pre-wrap;color:inherit}
.sg-explain td.first{padding-top:.5em}
.sg-explain td.head{white-space:nowrap;font-weight:600}
.sg-explain td.value{color:#2f6db5;white-space:nowrap}
.sg-explain td.rule{font-family:inherit;opacity:.75}
.sg-explain .cost{font-weight:400;opacity:.75}
[data-jp-theme-light=false] .sg-explain td.value,.theme-dark .sg-explain td.value,.vscode-dark .sg-explain td.value{color:#6fa8e6}
@media (prefers-color-scheme:dark){.sg-explain td.value{color:#6fa8e6}}
[data-jp-theme-light=true] .sg-explain td.value,.vscode-light .sg-explain td.value{color:#2f6db5}
"""  # colours: contrast of at least 4.5 on white and on #14181d


def as_html(d: Derivation, gradients: Formulas, point: Point | None) -> str:
    """Headings and tables; nothing is loaded from elsewhere."""
    by = ", ".join(_name(s.name) + title_words(s, _spelled) for s in d.wrt)
    title = f"{_name(d.label)}, differentiated by {by}{_where(point)}"
    raw = d.put_together()
    parts = [
        f"<style>{_STYLE}</style>",
        _section(title, _equations(_definitions(d))) or f"<h4>{title}</h4>",
        _section("Steps", map(_step_row, (s for s in d.steps if not s.is_input))),
        _section(f"Chain rule, from {_name(d.label)} back", _chain_rows(d, point)),
        _section(f"Put together {_cost(d.before, d)}", _equations(raw.text().split("\n"))),
        *_simplified(d),
        _section(f"Result {_cost(d.after, d)}", [*_equations(gradients.text().split("\n")), *_gradient_rows(d, point)]),
    ]
    return f'<div class="sg-explain">{"".join(parts)}</div>'


def _where(point: Point | None) -> str:
    if point is None:
        return ""
    return " at " + ", ".join(f"{_name(s.name)} = {_plain(shown(point.values[s], brief=True))}" for s in point.inputs)


def _definitions(d: Derivation) -> list[str]:
    *parts, last = text(d.expr).split("\n")
    if d.expr.op.name == "symbol" or is_defined_by_steps(d):
        return []
    return [*parts, last if d.expr.op.name == "named" else f"{d.label} = {last}"]


def _cost(cost: Cost, d: Derivation) -> str:
    return f"<span class=cost>{cost_words(cost, d.expr)}</span>"


# --- tables: a row is cells of (class, content) -----------------------------------------------------------

_Row = list[tuple[str, str]]


def _section(title: str, rows: Iterable[_Row]) -> str:
    rows = list(rows)
    if not rows:
        return ""
    body = "".join(f"<tr>{''.join(f'<td{_class(name)}>{content}</td>' for name, content in row)}</tr>" for row in rows)
    return f"<h4>{title}</h4><table><tbody>{body}</tbody></table>"


def _class(name: str) -> str:
    return f' class="{name}"' if name else ""


def _step_row(s: Step) -> _Row:
    return [("head", _name(s.name)), ("", "="), ("", _formula(text(s.formula, check=False))), ("value", _plain(shown(s.value)))]


def _simplified(d: Derivation) -> Iterator[str]:
    """What the rules did: line by line with the rules at the right, else rule by rule."""
    if d.rewritings:
        yield _section("Simplified", (_rewriting_row(r.name, k, rules, e) for r in d.rewritings for k, (rules, e) in enumerate(r.lines)))
    elif d.changes:
        words = legend(d.changes)
        yield _section(f"Simplified <span class=cost>{escape(words)}</span>" if words else "Simplified", map(_change_row, d.changes))


def _rewriting_row(name: str, k: int, rules: Sequence[str], e: Expr) -> _Row:
    first = "" if k else " first"
    head = "" if k else _formula(name)
    return [(f"head{first}", head), (first[1:], "="), (first[1:], _spelled(e)), (f"rule{first}", escape(", ".join(rules)))]


def _gradient_rows(d: Derivation, point: Point | None) -> Iterator[_Row]:
    """The numbers at the point."""
    for s in d.wrt if point is not None else ():
        yield [("head", _formula(f"d{d.label}/d{s.name}")), ("", "="), ("value", f"{_plain(shown(s.gradient))} at the point")]


def _change_row(c: Change) -> _Row:
    times = f" ×{c.times}" if c.times > 1 else ""
    return [("rule", escape(c.rule) + times), ("", _formula(c.before)), ("", "→"), ("", _formula(c.after))]


def _chain_rows(d: Derivation, point: Point | None) -> Iterator[_Row]:
    values = values_of(d, point)
    for s in reversed(d.steps):
        for k, line in enumerate(chain_lines(s, d, _HTML, values) if s.adjoint is not None else []):
            first = "" if k else " first"
            yield [(f"head{first}", line.head), (first[1:], "="), ("value" if k > 1 else first[1:], line.body)]
    for flat in flat_lines(d, _HTML):
        head, _, body = flat.partition(" = ")
        yield [("head first", head), ("first", "="), ("first", f"{body}, {FLAT}")]


def _equations(lines: Iterable[str]) -> Iterator[_Row]:
    for line in lines:
        head, _, body = line.partition(" = ")
        yield [("head", _formula(head)), ("", "="), ("", _formula(body))]


def _formula(written: str) -> str:
    return escape(pretty(written))


def _name(name: str) -> str:
    return escape(pretty(name))


def _plain(value: str) -> str:
    return escape(value.replace("-", "−"))


def _spelled(e: Expr) -> str:
    return _formula(text(e, check=False).split("\n")[-1])


_HTML = Notation(_spelled, lambda a, b: f"∂{_name(a)}/∂{_name(b)}", lambda v: _plain(shown(v)), " · ", " ⊙ ")
