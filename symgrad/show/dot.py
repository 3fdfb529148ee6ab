"""DOT: a graph in Graphviz's language, every box a small table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from html import escape

from symgrad.show.graph import COMMON, Box, Graph
from symgrad.show.themes import Theme

__all__ = ["dot"]

FONT = "Helvetica,Arial,sans-serif"


def dot(graph: Graph, theme: Theme, direction: str) -> str:
    """``direction``: "LR", "TB", "RL" or "BT"."""
    lines = [
        "digraph {",
        f'  graph [rankdir={direction}, bgcolor="{theme.ground}", fontname="{FONT}", fontsize=11, fontcolor="{theme.muted}", '
        'nodesep=0.22, ranksep=0.38, pad=0.15, labeljust=l, newrank=true, tooltip=" "]',
        f'  node [shape=plain, fontname="{FONT}", fontsize=12, fontcolor="{theme.ink}"]',
        f'  edge [color="{theme.fills["operation"][1]}", arrowsize=0.65, penwidth=1.1, fontname="{FONT}"]',
    ]
    groups: dict[str, list[Box]] = {}
    for box in graph.boxes:
        groups.setdefault(box.layer, []).append(box)
    for k, (name, boxes) in enumerate(groups.items()):
        if name:
            fill, border = theme.layer
            lines.append(f"  subgraph cluster_{k} {{")
            lines.append(f'    label={_quoted(name)}; style="rounded,filled"; fillcolor="{fill}"; color="{border}"; margin=10; tooltip=" "')
            lines += [f"    {_node(box, theme)}" for box in boxes]
            lines.append("  }")
        else:
            lines += [f"  {_node(box, theme)}" for box in boxes]
    readers = Counter(operand.id for box in graph.boxes for operand in box.operands)
    for box in graph.boxes:
        for operand in box.operands:
            common = not operand.operands and readers[operand.id] > COMMON
            lines.append(f"  {_arrow(operand, box, theme, common)}")
    lines += [f"  {upper} -> {lower} [style=invis, weight=0]" for upper, lower in _stacked(graph)]
    return "\n".join([*lines, "}"]) + "\n"


def _arrow(tail: Box, head: Box, theme: Theme, common: bool) -> str:
    """``common``: from an input that many read; such arrows stand back, the formulas name it."""
    if head.kind == "gradient":
        return _arrow_back(tail, head, theme, common)
    attributes = []
    if common:
        attributes = _faint(theme)
    elif tail.operands and not tail.layer:
        attributes.append("weight=4")  # what is computed goes straight on
    if head.layer and tail.layer != head.layer:
        attributes.append("minlen=2")  # so that a layer's parameters stand behind the layer before: the groups stay in one line
        if tail.layer:
            attributes.append("weight=20")
    return f"{tail.id} -> {head.id}{_listed(attributes)}"


def _arrow_back(tail: Box, head: Box, theme: Theme, common: bool) -> str:
    """The backward sweep goes back, so that gradients stand beside what they are of: its arrows are turned around for Graphviz."""
    attributes = _faint(theme) if common else [f'color="{theme.fills["gradient"][1]}"']
    if tail.kind == "gradient":
        return f"{head.id} -> {tail.id}{_listed([*attributes, 'dir=back', 'weight=4'])}"
    return f"{tail.id} -> {head.id}{_listed([*attributes, 'minlen=0' if tail.operands else 'constraint=false'])}"


def _faint(theme: Theme) -> list[str]:
    return [f'color="{theme.faint}"', "penwidth=0.8", "arrowsize=0.5", "weight=0"]


def _listed(attributes: Iterable[str]) -> str:
    return f" [{listed}]" if (listed := ", ".join(attributes)) else ""


def _stacked(graph: Graph) -> list[tuple[str, str]]:
    """Which boxes of the backward sweep's layers stand in front of which: a layer's last ones in front of the next one's first."""
    last: dict[str, list[str]] = {}
    first: dict[str, list[str]] = {}
    read = {o.id for box in graph.boxes for o in box.operands if o.layer == box.layer}
    for box in graph.boxes:
        if box.kind == "gradient" and box.layer:
            if not any(o.layer == box.layer for o in box.operands):
                first.setdefault(box.layer, []).append(box.id)
            if box.id not in read:
                last.setdefault(box.layer, []).append(box.id)
    pairs = {(o.layer, box.layer): None for box in graph.boxes if box.layer in first for o in box.operands if o.layer in last}
    return [(lower, upper) for above, below in pairs if above != below for lower in first[below] for upper in last[above]]


def _node(box: Box, theme: Theme) -> str:
    fill, border = theme.fills[box.kind]
    rows = [_heading(box, theme, border)]
    if box.shape:
        rows.append(f'<TR><TD CELLPADDING="2"><FONT POINT-SIZE="10" COLOR="{theme.muted}">{_text(box.shape)}</FONT></TD></TR>')
    if box.cells:
        cells = "<VR/>".join(
            f'<TD CELLPADDING="3"><FONT POINT-SIZE="10" COLOR="{theme.muted}">{_text(name)} </FONT>'
            f'<FONT POINT-SIZE="11">{_text(value)}</FONT></TD>'
            for name, value in box.cells
        )
        rows.append(f'<HR/><TR><TD CELLPADDING="0"><TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0"><TR>{cells}</TR></TABLE></TD></TR>')
    width = 2 if box.outputs else 1
    table = (
        f'<TABLE BORDER="{width}" CELLBORDER="0" CELLSPACING="0" STYLE="ROUNDED" COLOR="{border}" BGCOLOR="{fill}">{"".join(rows)}</TABLE>'
    )
    return f"{box.id} [label=<{table}>, tooltip={_quoted(box.tooltip or box.label)}]"


def _heading(box: Box, theme: Theme, border: str) -> str:
    """Its name as a result, its operation, its formula."""
    parts = []
    if box.outputs:
        parts.append(f'<TD CELLPADDING="6"><B><FONT COLOR="{border if box.kind == "gradient" else theme.ink}">'
                     f"{_text(', '.join(box.outputs))}</FONT></B></TD>")
    if box.badge:
        parts.append(f'<TD CELLPADDING="6"><B>{_text(box.badge)}</B></TD>')
    if box.label:
        bold = not box.badge and box.kind in ("input", "parameter")
        parts.append(f'<TD CELLPADDING="6">{"<B>" if bold else ""}{_text(box.label)}{"</B>" if bold else ""}</TD>')
    cells = "<VR/>".join(parts)
    return f'<TR><TD CELLPADDING="0"><TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0"><TR>{cells}</TR></TABLE></TD></TR>'


def _text(text: str) -> str:
    return escape(text).replace("&#x27;", "&#39;")


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
