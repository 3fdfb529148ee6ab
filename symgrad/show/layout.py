"""LAYOUT: what every notation shares: pieces, parentheses, let-bound parts, and one iterative writer.

A notation (``text.py``, ``latex.py``) says for one node how it reads: a binding strength, and pieces that
are strings or ``(expression, strength)``: that expression, in parentheses if it binds more weakly. The writer
puts the pieces together with a stack, so the depth of an expression costs no Python stack, and the length of
what is written stays linear in the number of nodes: what is shared and long gets a name of its own, once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Union

from symgrad import dims
from symgrad.expr import Expr, free_symbols
from symgrad.show.names import call_parts, is_affine, is_hidden, is_scaled, senders

__all__ = [
    "ANY", "ATOM", "Alternative", "CALL", "COMPARISON", "LOGIC_AND", "LOGIC_OR", "NEGATION", "POSTFIX", "POWER", "PRODUCT", "SUM",
    "Contraction", "Layout", "Piece", "Script", "contraction", "inserted_or_dropped", "is_number", "is_scalar_constant",
    "is_scaled", "leads_negative",
    "seen", "signed",
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
LEAST_SUMS = 7  # of a layer's sums
LONG = 160  # characters from which on parts get names that are used only once,
LINE = 72  # where a line would be longer than this,
LEAST_CUT = 24  # and the part than this


class Script:
    """Formulas written in one notation, their shared parts named once.

    ``roots`` the expressions, ``layout`` the notation's reading of one node, ``brackets`` its parentheses; ``binding`` the
    reading that decides what gets a name (the notation's own by default), so that two notations name the same parts.
    ``heads``: name → derivative, or next value with ``updates``, where the formulas are that; ``reserved``: names that parts must not get.
    ``definitions`` the named parts, in order; ``names`` what each is called; :meth:`write` gives one formula.
    """

    def __init__(
        self,
        roots: Sequence[Expr],
        layout: Callable[[Expr], Layout],
        brackets: tuple[str, str] = ("(", ")"),
        *,
        binding: Callable[[Expr], Layout] | None = None,
        heads: Mapping[str, Expr] | None = None,
        updates: bool = False,
        reserved: Iterable[str] = (),
        short: int = SHORT,
        check: bool = True,
    ) -> None:
        self.layout, self.brackets = layout, brackets
        if check:
            free_symbols(*roots)
        roots = [seen(r) for r in roots]
        pieces: dict[Expr, Layout] = {}
        order = _read(roots, binding or layout, pieces)
        place = {node: k for k, node in enumerate(order)}
        heads = {name: seen(e) for name, e in (heads or {}).items()}
        sent = {d for e in heads.values() for d in senders(e, place)}
        bound = _bound(order, pieces, roots, short, sent)
        taken = {n.params["name"] for n in order if n.op.name == "symbol"} | set(reserved)
        taken |= {name for n in order for d in n.shape for name in dims.names(d)}
        self.names = call_parts(bound, taken, heads, place, updates)
        self.definitions = bound
        self.pieces = pieces
        if binding is not None and binding is not layout:
            self.pieces = {}
            _read([*roots, *bound], layout, self.pieces)
            self.definitions = self._reached(roots)

    def _reached(self, roots: Sequence[Expr]) -> list[Expr]:
        """The named parts that this notation refers to: it may read some nodes together."""
        met: set[Expr] = set()
        waiting = [*roots, *(d for d in self.definitions if d.op.name == "named")]
        while waiting:
            node = waiting.pop()
            if node in met:
                continue
            met.add(node)
            pieces = list(self.pieces[node][1])
            while pieces:
                piece = pieces.pop()
                if isinstance(piece, Alternative):
                    pieces.extend(piece.named if piece.node in self.names else piece.plain)
                elif not isinstance(piece, str):
                    waiting.append(seen(piece[0]))
        return [d for d in self.definitions if d in met]

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
            if len(pieces) == 1 and not isinstance(pieces[0], str):
                only = pieces[0]
                if not isinstance(only, Alternative):  # it reads as its part does
                    stack.append((only[0], least))
                    continue
                if only.node in self.names:
                    strength = POSTFIX
            if strength < abs(least) or (least < 0 and self._begins_with_minus(node)):
                stack.append(closing)
                stack.extend(reversed(pieces))
                stack.append(opening)
            else:
                stack.extend(reversed(pieces))
        return "".join(parts)


    def _begins_with_minus(self, node: Expr) -> bool:
        """Whether what is written for it does; parts that have a name do not."""
        for _ in range(_FACTORS):
            if node in self.names:
                return False
            first = self.pieces[node][1][0]
            if isinstance(first, Alternative):
                first = (first.named if first.node in self.names else first.plain)[0]
            if isinstance(first, str):
                return first.startswith("-")
            if isinstance(first, Alternative) or abs(first[1]) > self.pieces[seen(first[0])][0]:
                return False
            node = seen(first[0])
        return False


def _read(roots: Sequence[Expr], layout: Callable[[Expr], Layout], pieces: dict[Expr, Layout]) -> list[Expr]:
    """The nodes that are written, parts first; ``pieces`` receives how each reads."""
    order: list[Expr] = []
    stack: list[tuple[Expr, bool]] = [(r, False) for r in reversed(roots)]
    while stack:
        node, ready = stack.pop()
        if ready:
            order.append(node)
        elif node not in pieces:
            pieces[node] = layout(node)
            stack.append((node, True))
            stack.extend((part, False) for p in reversed(pieces[node][1]) for part in _parts(p))
    return order


def _bound(order: Sequence[Expr], pieces: Mapping[Expr, Layout], roots: Sequence[Expr], short: int, sent: Collection[Expr]) -> list[Expr]:
    """The parts that get a name: named nodes; in a long formula what is shared, a network's layers, and what makes lines too long.

    ``sent``: what gradients are made of, which gets a name even if only one uses it.
    """
    uses: dict[Expr, int] = dict.fromkeys(order, 0)
    for root in roots:
        uses[root] += 1
    plain: dict[Expr, int] = {}  # characters with everything written out, named nodes apart
    for node in order:
        for p in pieces[node][1]:
            for child in _parts(p):
                uses[child] += 1
        size = sum(len(p) if isinstance(p, str) else plain[seen(p[0])] for p in pieces[node][1])
        plain[node] = min(size, 10**9) if node.op.name != "named" else len(node.name)
    whole = sum(plain[r] for r in roots)
    bound: dict[Expr, None] = {}
    size_bound: dict[Expr, int] = {}
    for node in order:
        if whole > LONG:
            _shorten(node, pieces[node][1], size_bound, bound)
        size = sum(len(p) if isinstance(p, str) else size_bound[seen(p[0])] for p in pieces[node][1])
        if node.op.name == "named":
            bound[node] = None
            size = len(node.name)
        elif whole > short and node.args and (_worth_a_name(node, uses[node], size) or (node in sent and size >= LEAST)):
            bound[node] = None
            size = 2
        size_bound[node] = size
    return [n for n in order if n in bound]


def _worth_a_name(node: Expr, uses: int, size: int) -> bool:
    if is_hidden(node):
        return True
    if is_affine(node):
        return uses > 1 and size >= LEAST_SUMS
    return uses > 1 and size >= LEAST and (uses - 1) * (size - 2) >= SAVED


_ADDED = frozenset({"add", "sub"})


def _shorten(node: Expr, pieces: Sequence[Piece], sizes: dict[Expr, int], bound: dict[Expr, None]) -> None:
    """Names for the longest parts of a line that is too long. The terms of a sum may fill several lines."""
    parts = list(dict.fromkeys(part for p in pieces for part in _parts(p)))
    if node.op.name in _ADDED:
        parts = []  # its terms have been shortened themselves
    parts = [p for p in parts if p.args and p not in bound]
    total = sum(len(p) if isinstance(p, str) else sizes[seen(p[0])] for p in pieces)
    for part in sorted(parts, key=lambda p: -sizes[p]):
        if total <= LINE or sizes[part] < LEAST_CUT:
            break
        bound[part] = None
        total -= sizes[part] - 2
        sizes[part] = 2


def _parts(piece: Piece) -> list[Expr]:
    """The expressions in a piece."""
    if isinstance(piece, str):
        return []
    if not isinstance(piece, Alternative):
        return [seen(piece[0])]
    found: dict[Expr, None] = {}
    waiting: list[Piece] = [piece]
    while waiting:
        inner = waiting.pop()
        if isinstance(inner, Alternative):
            found[seen(inner.node)] = None
            waiting.extend((*inner.named, *inner.plain))
        elif not isinstance(inner, str):
            found[seen(inner[0])] = None
    return list(found)


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


def signed(e: Expr, strength: int) -> tuple[Expr, int]:
    """A piece behind a sign: also in parentheses if it begins with a minus sign as it is written, which a named part does not."""
    return e, -strength if leads_negative(e) else strength


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
