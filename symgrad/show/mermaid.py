"""MERMAID: a graph as text that GitHub, GitLab and Jupyter draw (https://mermaid.js.org/syntax/flowchart.html)."""

from __future__ import annotations

from symgrad.show.graph import Box, Graph
from symgrad.show.themes import Theme

__all__ = ["mermaid"]


def mermaid(graph: Graph, theme: Theme, direction: str) -> str:
    """``direction``: "LR", "TB", "RL" or "BT"."""
    lines = [f"flowchart {direction}"]
    if theme.name == "dark":  # arrows, whose colour is otherwise that of a light page
        lines.insert(0, f'%%{{init: {{"theme": "base", "themeVariables": {{"lineColor": "{theme.fills["operation"][1]}"}}}}}}%%')
    groups: dict[str, list[Box]] = {}
    for box in graph.boxes:
        groups.setdefault(box.layer, []).append(box)
    for k, (name, boxes) in enumerate(groups.items()):
        nodes = [f"  {box.id}{_node(box)}:::{box.kind}" for box in boxes]
        lines += [f'  subgraph layer{k}["{_text(name)}"]', *(f"  {line}" for line in nodes), "  end"] if name else nodes
    arrows = [(operand, box) for box in graph.boxes for operand in box.operands]
    lines += [f"  {tail.id} --> {head.id}" for tail, head in arrows]
    for kind in dict.fromkeys(box.kind for box in graph.boxes):
        fill, border = theme.fills[kind]
        lines.append(f"  classDef {kind} fill:{fill},stroke:{border},color:{theme.ink}")
    fill, border = theme.layer
    lines += [f"  style layer{k} fill:{fill},stroke:{border},color:{theme.muted}" for k, name in enumerate(groups) if name]
    backward = [str(k) for k, (_, head) in enumerate(arrows) if head.kind == "gradient"]
    if backward:
        lines.append(f"  linkStyle {','.join(backward)} stroke:{theme.fills['gradient'][1]}")
    return "\n".join(lines) + "\n"


def _node(box: Box) -> str:
    heading = " ".join(f"<b>{_text(part)}</b>" for part in (", ".join(box.outputs), box.badge) if part)
    lines = [" &nbsp;".join(part for part in (heading, _text(box.label)) if part)]
    if box.shape:
        lines.append(f"<small>{_text(box.shape)}</small>")
    if box.cells:
        lines.append(" | ".join(f"{name}&nbsp;{_text(value)}".replace(" ", "&nbsp;") for name, value in box.cells))
    return f'("{"<br/>".join(lines)}")'


def _text(text: str) -> str:
    """Entities in Mermaid's spelling: ``#`` for ``&``; what would begin a list or a heading in Markdown is none."""
    for sign, entity in (("#", "#35;"), ('"', "#quot;"), ("<", "#lt;"), (">", "#gt;"), ("`", "#96;"), ("*", "#42;")):
        text = text.replace(sign, entity) if sign != "#" else text.replace("#", "\0")
    return text.replace("\0", "#35;")
