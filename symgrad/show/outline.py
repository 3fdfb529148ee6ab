"""OUTLINE: a graph as an indented text, results first: what a terminal shows."""

from __future__ import annotations

from collections.abc import Sequence

from symgrad.show.graph import Box, Graph

__all__ = ["outline"]

LINES = 60
DEPTH = 12
NARROW = 12  # columns that a formula gets at least


def outline(graph: Graph, width: int | None = None) -> str:
    """One box a line, what it reads below it; a box that was shown before is not opened again.

    ``width``: columns; longer lines have their formulas cut, values and gradients stay, their names above.
    """
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
    longest = max(map(len, texts))
    cells = _columns([box for _, box, _ in lines])
    if width is not None and longest + len(cells[0]) > width:
        texts, cells = ["", *texts], _headed([box for _, box, _ in lines])
    room = longest if width is None else max(NARROW, min(longest, width - len(cells[0])))
    texts = [text if len(text) <= room else text[: room - 1] + "…" for text in texts]
    texts = [line for text, cell in zip(texts, cells, strict=True) if (line := f"{text:{room}}{cell}".rstrip())]
    missing = len(graph.boxes) - len(shown)
    return "\n".join([*texts, f"… {missing:,} more"] if missing > 0 and stack else texts)


def _columns(boxes: Sequence[Box]) -> list[str]:
    """``  data 2  grad −1`` behind each line, aligned."""
    cells = ["" for _ in boxes]
    for name in _names(boxes):
        values = [dict(box.cells).get(name, "") for box in boxes]
        widest = max(map(len, values))
        cells = [f"{before}  {name if value else '':{len(name)}} {value:>{widest}}" for before, value in zip(cells, values, strict=True)]
    return cells


def _headed(boxes: Sequence[Box]) -> list[str]:
    """The same, narrower: the names once, in a line above."""
    cells = ["", *("" for _ in boxes)]
    for name in _names(boxes):
        column = [name, *(dict(box.cells).get(name, "") for box in boxes)]
        widest = max(map(len, column))
        cells = [f"{before}  {value:>{widest}}" for before, value in zip(cells, column, strict=True)]
    return cells


def _names(boxes: Sequence[Box]) -> list[str]:
    return list(dict.fromkeys(name for box in boxes for name, _ in box.cells))


def _text(box: Box) -> str:
    """``L = tanh(n)  (n, 2)``: the formula tells the operation, where it says anything."""
    label = box.label or box.badge
    named = f"{', '.join(box.outputs)} = {label}" if box.outputs else label
    return f"{named}  {box.shape}" if box.shape else named
