"""POINT TABLE: an expression at a point as a table, for terminals of any width and for notebooks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any, Protocol

import numpy as np

from symgrad import dims
from symgrad.expr import Array, Expr, topological
from symgrad.show.labels import labels

__all__ = ["ELEMENTS", "coloured_table", "shown", "table_html", "table_text"]

ELEMENTS = 4  # of an array that are written out
LABEL = 44  # characters of a formula; longer parts are referred to by their row
_FORMS = ((LABEL, 0), (32, 0), (24, 0), (LABEL, 1), (32, 1), (24, 1), (16, 1), (24, 2), (16, 2), (10, 2))  # the first that fits is taken
_UNSEEN = frozenset({"to_real", "nonnegative", "label"})  # their operands stand for them


class _Point(Protocol):
    """A point, which lies above."""

    @property
    def nodes(self) -> list[Expr]: ...

    @property
    def values(self) -> Mapping[Expr, Array]: ...

    @property
    def gradients(self) -> Mapping[Expr, Array]: ...


def shown(value: Array | None, brief: bool = False) -> str:
    """A value beside a symbol: six digits; a small array in full, a large one by its shape and (unless ``brief``) its largest magnitude."""
    if value is None:
        return ""
    if value.ndim == 0:
        return str(value.item()) if value.dtype.kind in "bi" else _six(value.item())
    if value.size <= ELEMENTS:
        return np.array2string(value, formatter={"float_kind": lambda v: f"{v + 0.0:.6g}"}).replace("\n", "")
    return f"array {dims.format_shape(value.shape)}" if brief else _told(value)


def _six(value: float) -> str:
    """Six digits; -0 is 0 to a reader."""
    return f"{value + 0.0:.6g}"


def _told(value: Array) -> str:
    """A large array: its shape, its largest magnitude, and how much of it is not finite."""
    shape = dims.format_shape(value.shape)
    if value.dtype.kind == "b":
        return f"{shape}, {np.count_nonzero(value)} true"
    finite = np.abs(value[np.isfinite(value)])
    parts = [shape, *([f"|·| ≤ {finite.max():.3g}"] if finite.size else [])]
    parts += [f"{count} {name}" for name, count in (("nan", np.isnan(value).sum()), ("inf", np.isinf(value).sum())) if count]
    return ", ".join(parts)


def _cell(value: Array | None, short: int) -> str:
    """A value: 0 as in :func:`shown`, 1 no array written out, 2 shapes alone."""
    if value is None or not short or value.size <= 1:
        return shown(value)
    return dims.format_shape(value.shape) if short > 1 else _told(value)


def _rows(point: _Point, label: int, short: int) -> list[tuple[str, ...]]:
    """Heading and rows; the last column only where there are gradients."""
    nodes = [n for n in point.nodes if n.op.name not in _UNSEEN] or point.nodes
    written = _labels(nodes, label)
    rows: list[tuple[str, ...]] = [("", "node", "value", "gradient")]
    for k, node in enumerate(nodes, 1):
        rows.append((f"#{k}", written[node], _cell(point.values[node], short), _cell(point.gradients.get(node), short)))
    return rows if point.gradients else [row[:3] for row in rows]


def _labels(nodes: list[Expr], limit: int) -> dict[Expr, str]:
    """Each node's formula; a part of it that would be long stands as the number of its row."""
    row = {node: k for k, node in enumerate(nodes, 1)}
    return labels(topological(*nodes), lambda node, written: f"#{row[node]}" if len(written) > limit and node in row else None)


def _fitting(point: _Point, width: int | None) -> list[tuple[str, ...]]:
    """The rows that fit: shorter formulas, arrays by their shapes; formulas are cut at last."""
    if width is None:
        return _rows(point, *_FORMS[0])
    for label, short in _FORMS:
        rows = _rows(point, label, short)
        if sum(_widths(rows)) + 2 * len(rows[0]) - 2 <= width:
            return rows
    room = max(width - sum(w for k, w in enumerate(_widths(rows)) if k != 1) - 2 * len(rows[0]) + 2, _FORMS[-1][0])
    return [(row[0], row[1] if len(row[1]) <= room else f"{row[1][: room - 1]}…", *row[2:]) for row in rows]


def _widths(rows: Sequence[tuple[str, ...]]) -> list[int]:
    return [max(map(len, column)) for column in zip(*rows, strict=True)]


def _lines(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = _widths(rows)
    lines = ["  ".join(f"{cell:{side}{w}}" for cell, side, w in zip(row, "><>>", widths, strict=False)).rstrip() for row in rows]
    return [lines[0], "  ".join("-" * w for w in widths), *lines[1:]]


def table_text(point: _Point, width: int | None) -> str:
    """The table as plain text."""
    return "\n".join(_lines(_fitting(point, width)))


def coloured_table(point: _Point, width: int) -> Iterator[Any]:
    """The table for ``rich``: what is not finite stands out."""
    from rich.text import Text

    rows = _fitting(point, width)
    widths = _widths(rows)
    numbers = widths[0] + 2 + widths[1] + 2  # where they begin
    for k, line in enumerate(_lines(rows)):
        written = Text(line, style="bold" if k == 0 else "dim" if k == 1 else "", no_wrap=True, overflow="ellipsis")
        if k > 1:
            written.stylize("dim", 0, widths[0])
            written.stylize("green", numbers, len(line))
            for found in re.finditer(r"-?(nan|inf)\b", line[numbers:]):
                written.stylize("bold red", numbers + found.start(), numbers + found.end())
        yield written


_STYLE = """
.sg-at{color:inherit;border-collapse:collapse;font-size:13px;font-family:ui-monospace,monospace;font-variant-numeric:tabular-nums}
.sg-at th,.sg-at td{padding:.15em .8em;text-align:right!important;color:inherit;white-space:nowrap}
.sg-at td.node,.sg-at th.node{text-align:left!important;white-space:normal}
.sg-at td.row{opacity:.6}
.sg-at td.bad{font-weight:700;color:#c0392b}
[data-jp-theme-light=false] .sg-at td.bad,.theme-dark .sg-at td.bad,.vscode-dark .sg-at td.bad{color:#ff8a7a}
@media (prefers-color-scheme:dark){.sg-at td.bad{color:#ff8a7a}}
[data-jp-theme-light=true] .sg-at td.bad,.vscode-light .sg-at td.bad{color:#c0392b}
"""  # colours: contrast of at least 4.5 on white and on #14181d


def table_html(point: _Point) -> str:
    """The table for a notebook, on light and on dark ground."""
    head, *rows = _rows(point, *_FORMS[0])
    cells = "".join(f"<th{_class(k)}>{escape(c)}</th>" for k, c in enumerate(head))
    body = "".join("<tr>" + "".join(f"<td{_class(k, c)}>{escape(c)}</td>" for k, c in enumerate(row)) + "</tr>" for row in rows)
    return f'<style>{_STYLE}</style><table class="sg-at"><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table>'


def _class(column: int, cell: str = "") -> str:
    if column < 2:
        return ' class="node"' if column else ' class="row"'
    return ' class="bad"' if re.search(r"\b(nan|inf)\b", cell) else ""
