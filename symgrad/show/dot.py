"""DOT: a graph in Graphviz's language, every box a small table."""

from __future__ import annotations

from collections import Counter
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
        for place, operand in enumerate(box.operands, 1):
            common = not operand.operands and readers[operand.id] > COMMON
            lines.append(f"  {operand.id} -> {box.id}{_arrow(operand, box, theme, common, place if box.is_ordered else 0)}")
    return "\n".join([*lines, "}"]) + "\n"


def _arrow(tail: Box, head: Box, theme: Theme, common: bool, place: int) -> str:
    """``place``: the operand's, where the formula does not tell it, or 0.

    ``common``: from an input that many read; such arrows stand back, the formulas name it.
    """
    attributes = [f'color="{theme.fills["gradient"][1]}"'] if head.kind == "gradient" else []
    if common:
        attributes = [f'color="{theme.faint}"', "penwidth=0.8", "arrowsize=0.5", "weight=0"]
    elif head.kind == "gradient" and head.layer:  # what the backward sweep reads of the forward one stands where it is used
        attributes.append(f"weight={4 if tail.kind == 'gradient' and tail.operands else 0}")
    elif tail.operands and not tail.layer:
        attributes.append("weight=4")  # what is computed goes straight on
    if head.layer and head.kind != "gradient" and tail.layer != head.layer:
        attributes.append("minlen=2")  # so that a layer's parameters stand behind the layer before: the groups stay in one line
        if tail.layer:
            attributes.append("weight=20")
    if place:
        attributes.append(f'headlabel="{place}", labeldistance=1.6, labelangle=30, fontsize=10, fontcolor="{theme.muted}"')
    return f" [{', '.join(attributes)}]" if attributes else ""


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
        parts.append(f'<TD CELLPADDING="5"><B><FONT COLOR="{border if box.kind == "gradient" else theme.ink}">'
                     f"{_text(', '.join(box.outputs))}</FONT></B></TD>")
    if box.badge:
        parts.append(f'<TD CELLPADDING="5"><B>{_text(box.badge)}</B></TD>')
    if box.label:
        bold = not box.badge and box.kind in ("input", "parameter")
        parts.append(f'<TD CELLPADDING="5">{"<B>" if bold else ""}{_text(box.label)}{"</B>" if bold else ""}</TD>')
    cells = "<VR/>".join(parts)
    return f'<TR><TD CELLPADDING="0"><TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0"><TR>{cells}</TR></TABLE></TD></TR>'


def _text(text: str) -> str:
    return escape(text).replace("&#x27;", "&#39;")


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
