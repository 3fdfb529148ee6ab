"""LABELS: each node's formula, in which long parts stand as something shorter: a row's number, a name, an ellipsis."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from symgrad.expr import Expr
from symgrad.show.layout import ATOM, Alternative, seen
from symgrad.show.text import text_layout

__all__ = ["labels"]


def labels(order: Iterable[Expr], stand_in: Callable[[Expr, str], str | None]) -> dict[Expr, str]:
    """What stands beside each node. ``order``: operands first.

    ``stand_in(node, written)``: what stands for the node inside others, ``None`` for what is written. Named nodes stand as their names.
    """
    found: dict[Expr, str] = {}
    inside: dict[Expr, tuple[str, int]] = {}  # how a node is written as a part, and how strongly that binds
    for node in order:
        strength, pieces = text_layout(node)
        if node.op.name == "named":
            strength, pieces = ATOM, [node.name]
        written = ""
        for piece in pieces:
            if isinstance(piece, str):
                written += piece
            elif not isinstance(piece, Alternative):
                part, binds = inside[seen(piece[0])]
                loose = binds < abs(piece[1]) or (piece[1] < 0 and part.startswith("-"))
                written += f"({part})" if loose else part
        found[node] = f"{written} = {inside[seen(node.args[0])][0]}" if node.op.name == "named" else written
        short = stand_in(node, written)
        inside[node] = (written, strength) if short is None else (short, ATOM)
    return found
