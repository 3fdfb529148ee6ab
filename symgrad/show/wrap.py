"""WRAP: lines for a terminal of some width, broken where a reader would."""

from __future__ import annotations

import re
import shutil
import sys
from typing import Any

__all__ = ["coloured", "shortened", "terminal_width", "wrapped"]

_BREAKS = re.compile(r" (?=[+\-] )| (?=[←→·@*/] )|(?<=[,:]) |(?<=\))(?=[*/](?!\*))")  # before a sign, after a comma, behind a bracket
_LEAST = 20  # characters that a line has at least


def terminal_width() -> int | None:
    """The columns of the terminal that standard output is, ``None`` where it is none: what goes into a file is not broken."""
    try:
        interactive = sys.stdout.isatty()
    except (AttributeError, ValueError):  # replaced, or closed
        return None
    return shutil.get_terminal_size().columns if interactive else None


def wrapped(line: str, width: int | None, indent: int | None = None) -> str:
    """The line in pieces of at most ``width`` characters where it can be broken: before signs, after commas, else at any space.

    ``indent``: of the lines that follow; by default two more than the line's own.

    >>> print(wrapped("y = first + second + third + fourth", 24))
    y = first + second
      + third + fourth
    """
    if width is None or len(line) <= width:
        return line
    own = len(line) - len(line.lstrip())
    below = " " * min(own + 2 if indent is None else indent, max(width - _LEAST, 0))
    lines: list[str] = []
    rest = line
    while len(rest) > width:
        least = len(rest) - len(rest.lstrip()) + 1
        places = [m.start() for m in _BREAKS.finditer(rest, least) if m.start() <= width]
        place = _outermost(rest, places) if places else rest.rfind(" ", least, width + 1)
        if place < least:
            place = rest.find(" ", width)
            if place < 0:
                break
        lines.append(rest[:place].rstrip())
        rest = below + rest[place:].lstrip()
    return "\n".join([*lines, rest])


def _outermost(line: str, places: list[int]) -> int:
    """The last place of those that are within the fewest brackets, before a sign rather than within a product; never so early that
    most of the line stays empty."""
    depth, depths = 0, []
    for c in line[: places[-1] + 1]:
        depth += (c in "([{") - (c in ")]}")
        depths.append(depth)
    late = [p for p in places if p >= places[-1] // 2]
    return min(late, key=lambda p: (depths[p] if line[p] == " " else depths[p - 1], _within(line[p : p + 2]), -p))


def _within(place: str) -> int:
    """How much belongs together what is parted before or behind a place: 0 at a sign, 2 between factors."""
    return 2 if place[0] in "*/" else 1 if place[1] in "·@*/" else 0


_COLOURS = (
    (r"[d∂][^\s/()]+/[d∂][^\s/(),]+", "cyan"),
    (r"(?<![\w.])\d+\.?\d*(e[-+]?\d+)?", "green"),
    (r"^  [a-z][^:=]*(?=: )", "magenta"),
    (r"^\S+(?= [=←] )", "bold cyan"),
    (r"[=←·→]", "dim"),
    (r"(?<=\s)\[(?=[^\[\]]*[a-z])[^\[\]]*(\]|$)|^\s+[^=\[\]]*\]$", "not bold dim magenta"),  # rules beside a line, and how they go on
)


def coloured(line: str, heading: bool = False) -> Any:
    """The line as ``rich`` prints it on a terminal: derivatives, numbers and rules in colours."""
    from rich.text import Text

    written = Text(line, style="bold" if heading else "")
    for pattern, style in () if heading else _COLOURS:
        written.highlight_regex(pattern, style)
    return written


_LINES = 48  # of a long print
_LAST = 8  # of these from its end


def shortened(lines: list[str], hint: str) -> list[str]:
    """The beginning and the end of many lines, and in between how many are left out; ``hint``: how to see them."""
    left = len(lines) - _LINES
    return lines if left < 2 else [*lines[: _LINES - _LAST], f"… {left:,} lines more: {hint}", *lines[-_LAST:]]
