"""OUTLINE: a graph as an indented text, results first: what a terminal shows."""

from __future__ import annotations

from symgrad.show.graph import Box, Graph

__all__ = ["outline"]

LINES = 60
DEPTH = 12


def outline(graph: Graph) -> str:
    """One box a line, what it reads below it; a box that was shown before is not opened again."""
    read = {o for box in graph.boxes for o in box.operands}
    results = [box for box in graph.boxes if box not in read or box.outputs]
    shown: set[Box] = set()
    lines: list[tuple[str, Box, str]] = []
    # what stands in front of a line, in front of what is below it, and how deep it is
    stack = [("", "", box, 0) for box in reversed(results)]
    while stack and len(lines) < LINES:
        lead, below, box, depth = stack.pop()
        again = box in shown and bool(box.operands)
        cut = depth >= DEPTH and bool(box.operands) and not again
        lines.append((lead, box, "  (above)" if again else "  …" if cut else ""))
        shown.add(box)
        if not (again or cut):
            operands = list(dict.fromkeys(box.operands))
            for k, operand in reversed(list(enumerate(operands, 1))):
                last = k == len(operands)
                stack.append((below + ("└─ " if last else "├─ "), below + ("   " if last else "│  "), operand, depth + 1))
    texts = [lead + _text(box) + note for lead, box, note in lines]
    width = max(map(len, texts))
    names = list(dict.fromkeys(name for _, box, _ in lines for name, _ in box.cells))
    columns = [[dict(box.cells).get(name, "") for _, box, _ in lines] for name in names]
    for name, column in zip(names, columns, strict=True):
        widest = max(map(len, column))
        texts = [f"{text:{width}}  {name if value else '':{len(name)}} {value:>{widest}}".rstrip()
                 for text, value in zip(texts, column, strict=True)]
        width += len(name) + widest + 3
    missing = len(graph.boxes) - len(shown)
    return "\n".join([*texts, f"… {missing:,} more"] if missing > 0 and stack else texts)


def _text(box: Box) -> str:
    """``L = tanh(n)  (n, 2)``: the formula tells the operation, where it says anything."""
    label = box.label or box.badge
    named = f"{', '.join(box.outputs)} = {label}" if box.outputs else label
    return f"{named}  {box.shape}" if box.shape else named
