"""LAYOUT: what every notation shares: pieces, parentheses, let-bound parts, and one iterative writer.

A notation (``text.py``, ``latex.py``) says for one node how it reads: a binding strength, and pieces that
are strings or ``(expression, strength)``: that expression, in parentheses if it binds more weakly. The writer
puts the pieces together with a stack, so the depth of an expression costs no Python stack, and the length of
what is written stays linear in the number of nodes: what is shared and long gets a name of its own, once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, Union

from symgrad import dims
from symgrad.expr import Expr, free_symbols

__all__ = [
    "ANY", "ATOM", "Alternative", "CALL", "COMPARISON", "LOGIC_AND", "LOGIC_OR", "NEGATION", "POSTFIX", "POWER", "PRODUCT", "SUM",
    "Contraction", "Layout", "Piece", "Script", "contraction", "inserted_or_dropped", "is_number", "is_scalar_constant", "leads_negative",
    "seen",
]

# binding strengths
ANY, LOGIC_OR, LOGIC_AND, COMPARISON, SUM, PRODUCT, NEGATION, POWER, POSTFIX, CALL, ATOM = 0, 20, 30, 50, 60, 70, 80, 90, 95, 100, 1000

class Alternative(NamedTuple):
    """Two readings of a part: ``named`` if it has a name of its own, ``plain`` if it is written out (``\\tanh^{2}``)."""

    node: Expr
    named: list[Any]
    plain: list[Any]


Piece = Union[str, tuple[Expr, int], Alternative]
Layout = tuple[int, list[Piece]]

# What is shared is repeated while the whole stays short; else it gets a line of its own where that pays.
SHORT = 100  # characters of a formula that a reader takes in as one
SAVED = 14  # characters that a name must save
LEAST = 11  # characters that get a name


class Script:
    """Formulas written in one notation, their shared parts named once.

    ``roots`` the expressions, ``layout`` the notation's reading of one node, ``brackets`` its parentheses,
    ``measure`` how much a reader sees of a piece.
    ``definitions`` the named parts, in order; ``names`` what each is called; :meth:`write` gives one formula.
    """

    def __init__(
        self,
        roots: Sequence[Expr],
        layout: Callable[[Expr], Layout],
        brackets: tuple[str, str] = ("(", ")"),
        reserved: Iterable[str] = (),
        short: int = SHORT,
        check: bool = True,
        measure: Callable[[str], int] = len,
    ) -> None:
        self.layout, self.brackets, self.measure = layout, brackets, measure
        self.pieces: dict[Expr, Layout] = {}
        order = self._read(roots)
        self.taken = {n.params["name"] for n in order if n.op.name == "symbol"} | set(reserved)
        self.taken |= {name for n in order for d in n.shape for name in dims.names(d)}
        if check:
            free_symbols(*roots)
        self.names: dict[Expr, str] = {}
        self.definitions: list[Expr] = []
        self._bind(order, roots, short)

    def _read(self, roots: Sequence[Expr]) -> list[Expr]:
        """The nodes that are written, parts first, and how each reads."""
        order: list[Expr] = []
        stack: list[tuple[Expr, bool]] = [(seen(r), False) for r in reversed(roots)]
        while stack:
            node, ready = stack.pop()
            if ready:
                order.append(node)
            elif node not in self.pieces:
                self.pieces[node] = self.layout(node)
                stack.append((node, True))
                stack.extend((part, False) for p in reversed(self.pieces[node][1]) for part in _parts(p))
        return order

    def _bind(self, order: list[Expr], roots: Sequence[Expr], short: int) -> None:
        roots = [seen(r) for r in roots]
        uses: dict[Expr, int] = dict.fromkeys(order, 0)
        for root in roots:
            uses[root] += 1
        plain: dict[Expr, int] = {}  # characters with everything written out, named nodes apart
        for node in order:
            children = [part for p in self.pieces[node][1] for part in _parts(p)]
            for child in children:
                uses[child] += 1
            size = sum(self.measure(p) if isinstance(p, str) else plain[seen(p[0])] for p in self.pieces[node][1])
            plain[node] = min(size, 10**9) if node.op.name != "named" else len(node.name)
        share = max((plain[r] for r in roots), default=0) > short or (len(roots) > 1 and sum(plain[r] for r in roots) > short)
        bound: list[Expr] = []
        size_bound: dict[Expr, int] = {}
        for node in order:
            size = sum(self.measure(p) if isinstance(p, str) else size_bound[seen(p[0])] for p in self.pieces[node][1])
            if node.op.name == "named":
                bound.append(node)
                size = len(node.name)
            elif share and uses[node] > 1 and node.args and size >= LEAST and (uses[node] - 1) * (size - 2) >= SAVED:
                bound.append(node)
                size = 2
            size_bound[node] = size
        self._name(bound)

    def _name(self, bound: list[Expr]) -> None:
        numbered: dict[str, int] = {}  # how many nodes of a name there were
        for node in bound:
            if node.op.name == "named":
                name, count = node.name, numbered.get(node.name, 1)
                while name in self.taken:
                    count += 1
                    name = f"{node.name}_{count}"
                numbered[node.name] = count
                self.taken.add(name)
                self.names[node] = name
        letter = next((c for c in "htuvqr" if not any(re.fullmatch(rf"{c}_?\d*", t) for t in self.taken)), "h_")
        count = 0
        for node in bound:
            if node not in self.names:
                count += 1
                while f"{letter}{count}" in self.taken:
                    count += 1
                self.names[node] = f"{letter}{count}"
        self.definitions = bound

    def write(self, root: Expr, spell: Callable[[str], str] = str, whole: bool = True) -> str:
        """One formula; ``spell`` writes a name in the notation. ``whole``: write out a root that has a name."""
        opening, closing = self.brackets
        if not whole and seen(root) in self.names:
            return spell(self.names[seen(root)])
        parts: list[str] = []
        stack: list[Piece] = list(reversed(self.pieces[seen(root)][1]))
        while stack:
            piece = stack.pop()
            if isinstance(piece, str):
                parts.append(piece)
                continue
            if isinstance(piece, Alternative):
                stack.extend(reversed(piece.named if piece.node in self.names else piece.plain))
                continue
            node, least = seen(piece[0]), piece[1]
            if node in self.names:
                parts.append(spell(self.names[node]))
                continue
            strength, pieces = self.pieces[node]
            if strength < least:
                stack.append(closing)
                stack.extend(reversed(pieces))
                stack.append(opening)
            else:
                stack.extend(reversed(pieces))
        return "".join(parts)


def _parts(piece: Piece) -> list[Expr]:
    """The expressions in a piece."""
    if isinstance(piece, str):
        return []
    if isinstance(piece, Alternative):
        return [piece.node, *(p[0] for p in piece.named if not isinstance(p, str) and p[0] is not piece.node)]
    return [seen(piece[0])]


# --- questions that both notations ask ---------------------------------------------------------------

_UNSEEN = frozenset({"to_real", "nonnegative", "label"})  # they change the kind or guard the domain: a formula does not show them


def seen(e: Expr) -> Expr:
    """The node that a formula shows for it."""
    while e.op.name in _UNSEEN:
        e = e.args[0]
    return e


_FACTORS = 16


def is_scalar_constant(e: Expr) -> bool:
    return e.op.name == "constant" and not e.shape


def is_number(e: Expr, value: float) -> bool:
    """Whether it is this number (whole or real)."""
    return is_scalar_constant(e) and e.kind != "boolean" and e.params["value"] == value


def leads_negative(e: Expr) -> bool:
    """Whether it would be written with a minus sign in front (within a few factors: deeper ones are no matter)."""
    for _ in range(_FACTORS):
        if (e := seen(e)).op.name not in ("mul", "div"):
            break
        e = e.args[0]
    if e.op.name == "neg":
        return True
    return is_scalar_constant(e) and e.kind != "boolean" and str(e.params["value"]).startswith("-")


class Contraction:
    """How a contraction reads: ``style`` "matmul" (operands, each perhaps transposed), "outer", "sum" or "einsum"."""

    def __init__(self, style: str, operands: tuple[tuple[Expr, bool], ...], detail: str = "") -> None:
        self.style, self.operands, self.detail = style, operands, detail


def contraction(node: Expr) -> Contraction:
    """The reading of an einsum of two operands as a matrix product where it is one."""
    a, b = node.args
    inputs, output = node.params["spec"].split("->")
    left, right = inputs.split(",")
    if left == right:
        summed = [i for i, letter in enumerate(left) if letter not in output]
        if output == "".join(letter for letter in left if letter in output) and (len(left) > 1 or not summed):
            return Contraction("sum", ((a, False), (b, False)), "" if not output else ",".join(map(str, summed)))
    if len(left) == len(right) == 1 and set(output) == {left, right} and left != right:
        return Contraction("outer", ((a, False), (b, False)) if output == left + right else ((b, False), (a, False)))
    for first, second, x, y in ((left, right, a, b), (right, left, b, a)):
        turned = _matmul(first, second, output)
        if turned is not None and _plain_transposes(turned, x, y):
            return Contraction("matmul", ((x, turned[0]), (y, turned[1])))
    return Contraction("einsum", ((a, False), (b, False)), node.params["spec"])


def _plain_transposes(turned: tuple[bool, bool], x: Expr, y: Expr) -> bool:
    """``.T`` turns the last two axes around only where there are no others."""
    return not (turned[0] and x.ndim != 2) and not (turned[1] and y.ndim != 2)


def _matmul(first: str, second: str, output: str) -> tuple[bool, bool] | None:
    """Which operands of ``first @ second`` must be transposed to give ``output``; ``None`` if it is no such product."""
    shared = [c for c in first if c in second and c not in output]
    if len(shared) != 1 or len(first) > 4 or len(second) > 4:
        return None
    k = shared[0]
    if len(first) == 1 or len(second) == 1:
        matrix, vector_first = (second, True) if len(first) == 1 else (first, False)
        if len(matrix) == 1:
            return (False, False) if output == "" else None
        rest = matrix.replace(k, "")
        if output != rest or k not in matrix[-2:]:
            return None
        as_is = matrix[-2] == k if vector_first else matrix[-1] == k
        if as_is:
            return (False, False)
        return ((False, True) if vector_first else (True, False)) if len(matrix) == 2 else None
    if len(output) < 2:
        return None
    batch = output[:-2]
    i, j = output[-2], output[-1]
    for operand in (first, second):
        if len(operand) > 2 and operand[:-2] != batch:
            return None
    if i not in first or j not in second or set(first[-2:]) != {i, k} or set(second[-2:]) != {k, j}:
        return None
    if batch and len(first) == 2 and len(second) == 2:
        return None
    return first[-1] != k, second[-2] != k


def inserted_or_dropped(old: Sequence[dims.Dim], new: Sequence[dims.Dim]) -> list[str] | None:
    """The index that turns one shape into the other by axes of size 1 alone (``[":", "None"]``), or ``None``."""
    if sum(d != 1 for d in old) != sum(d != 1 for d in new) or abs(len(old) - len(new)) > 3 or tuple(old) == tuple(new):
        return None
    index: list[str] = []
    i = j = 0
    while i < len(old) or j < len(new):
        if i < len(old) and j < len(new) and old[i] == new[j]:
            index.append(":")
            i, j = i + 1, j + 1
        elif j < len(new) and new[j] == 1:
            index.append("None")
            j += 1
        elif i < len(old) and old[i] == 1:
            index.append("0")
            i += 1
        else:
            return None
    return index
