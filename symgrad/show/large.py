"""LARGE: how a session shows what is too long to read: counts, the beginning, the end; a notebook no wall of LaTeX."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from symgrad.expr import Expr, topological
from symgrad.show.wrap import shortened, terminal_width, wrapped

__all__ = ["HUGE", "LARGE", "counted_operations", "is_large", "operations_of", "shown_lines"]

WIDE = 100  # columns of a large formula where there is no terminal
LARGE = 200  # operations, from which on a notebook shows text with counts instead of LaTeX
HUGE = 20_000  # operations, from which on a session shows the counts alone
_SHOWN = 4  # kinds of operations that are counted


def shown_lines(lines: list[str], counts: str) -> str:
    """Lines as a session shows them; with ``counts``, of a large formula, these and the lines' beginning and end."""
    width = terminal_width() or (WIDE if counts else None)
    pieces = [piece for line in lines for piece in wrapped(line, width).split("\n")]
    return "\n".join([counts, *shortened(pieces, "print(…) shows all")] if counts else pieces)


def is_large(roots: Sequence[Expr]) -> bool:
    """Whether there are more operations than a reader takes in."""
    return operations_of(roots) > LARGE


def operations_of(roots: Sequence[Expr]) -> int:
    """Nodes that are no leaves, shared ones once."""
    return sum(bool(n.args) for n in topological(*roots))


def counted_operations(roots: Sequence[Expr]) -> str:
    """``# 1,234 operations: 600 mul, 500 add, 100 tanh, 34 others``"""
    names = Counter(n.op.name for n in topological(*roots) if n.args and n.op.name != "named")
    common = [f"{count:,} {name}" for name, count in names.most_common(_SHOWN)]
    others = names.total() - sum(count for _, count in names.most_common(_SHOWN))
    return f"# {names.total():,} operations: {', '.join([*common, f'{others:,} others'] if others else common)}"
