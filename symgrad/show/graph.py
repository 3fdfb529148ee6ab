"""GRAPH: expressions as boxes and arrows, in no notation yet; ``dot``, ``mermaid`` and ``outline`` write them.

A box is a node with its operation, its formula (long parts elided), its shape and, at a point, its value and gradient. Numbers stand
inside of the formulas. A named node is one box with what it names, unless that has users of its own. Where there would be too many
boxes, operations are folded into their only users, a few at a time, until they are few enough; what is left over after that becomes one
box that says how many there are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from symgrad import dims
from symgrad.expr import Array, Expr, topological
from symgrad.show.labels import labels
from symgrad.show.layers import layers, layers_backward
from symgrad.show.layout import Script, contraction, seen
from symgrad.show.text import text_layout
from symgrad.show.unicode import pretty
from symgrad.simplify.cost import elements, node_cost

__all__ = ["Box", "Graph", "build"]

PART = 24  # characters of an operand that are written out in the formula of its user
WHOLE = 40  # characters of a formula in a box
COMMON = 8  # readers of an input
TOOLTIP = 300
FORMULA = 12  # operations of arithmetic that are read as one formula
ARITHMETIC = 5  # the cost of an operation that is part of a formula rather than a step of its own
INPUTS = 12  # inputs that only an elided part reads and that are drawn nevertheless

_BADGES = {
    "add": "+", "sub": "−", "neg": "−", "mul": "×", "div": "÷", "pow": "^", "square": "²", "sqrt": "√", "sum": "Σ", "prod": "∏",
    "transpose": "ᵀ", "less": "<", "less_equal": "≤", "greater": ">", "greater_equal": "≥", "equal": "=", "not_equal": "≠",
    "logical_and": "and", "logical_or": "or", "logical_not": "not", "slice": "[ ]", "gather": "[ ]",
}  # fmt: skip


_ORDERED = frozenset({"sub", "div", "pow", "contract", "less", "less_equal", "greater", "greater_equal", "atan2"})


@dataclass(eq=False)
class Box:
    """``kind``: "input", "parameter", "constant", "operation", "gradient" or "elided". ``badge``: the operation's sign, ``label``: its
    formula, ``shape``: for tensors, ``cells``: ("data", "2") and the like, ``outputs``: what it is as a result (``dL/dw``), ``layer``:
    the group that it is drawn in, ``tooltip``: the formula, longer, ``operations``: how many are folded into it, ``operands``: what it
    reads, twice where it reads it twice, ``is_ordered``: which of them is the first cannot be told from the formula."""

    id: str
    kind: str
    badge: str
    label: str
    shape: str = ""
    cells: tuple[tuple[str, str], ...] = ()
    outputs: list[str] = field(default_factory=list)
    layer: str = ""
    tooltip: str = ""
    operations: int = 1
    is_ordered: bool = False
    operands: list[Box] = field(default_factory=list)


@dataclass
class Graph:
    """``boxes``: operands first; ``nodes``: how many nodes of expressions they stand for."""

    boxes: list[Box]
    nodes: int

    @property
    def edges(self) -> int:
        return sum(len(box.operands) for box in self.boxes)

    def depth(self) -> int:
        """Boxes on the longest path."""
        level: dict[int, int] = {}
        for box in self.boxes:
            level[id(box)] = 1 + max((level[id(o)] for o in box.operands), default=0)
        return max(level.values(), default=0)


def build(
    results: Sequence[tuple[str, Expr]], derivatives: Sequence[tuple[str, Expr]], values: Mapping[Expr, Array],
    gradients: Mapping[Expr, Array], limit: int | None, wrt: Sequence[Expr] = (),
) -> Graph:
    """The graph of results by name, and of their derivatives. ``values``, ``gradients``: at a point. ``limit``: of operations.
    ``wrt``: what each derivative is by."""
    roots = [e for _, e in (*results, *derivatives)]
    order = topological(*roots)
    forward = set(topological(*[e for _, e in results]))
    view = _View(order, roots)
    script = Script(roots, text_layout)
    named = {e: script.names[e] for e in script.definitions if e.op.name != "named"}
    hosts, size = _folded(view, limit, named)
    shown, hidden = _nearest(view, hosts, limit)
    formulas = _formulas(order, named, {n for n in view.faces if hosts[n] is not n})
    complete = _formulas(order, named, view.faces, TOOLTIP)
    groups = layers(order)
    backward = layers_backward(order, groups, forward, {e: w for (_, e), w in zip(derivatives, wrt)})
    boxes: dict[Expr, Box] = {}
    for k, node in enumerate(shown, 1):
        below = view.below(node)
        badge = _badge(below) if size[node] <= 1 else f"{size[node]} ops"
        box = boxes[node] = Box(f"n{k}", _kind(node, node in forward, node in groups), badge, _label(node, below, formulas, named))
        box.operations = size[node]
        box.shape = dims.format_shape(node.shape) if node.shape else ""
        box.cells = tuple((name, _number(at[node])) for name, at in (("data", values), ("grad", gradients)) if node in at)
        box.layer = groups.get(below, groups.get(node, "")) if node in forward else backward.get(node, "")
        box.tooltip = _shortened(pretty(complete[below]), TOOLTIP)
        box.is_ordered = below.op.name in _ORDERED and len(set(below.args)) == 2 and formulas[below].count("…") > 1
    for name, e in (*results, *derivatives):
        if name and (node := hosts[view.face(e)]) in boxes:
            boxes[node].outputs.append(name)
    return Graph(_connected(view, hosts, boxes, hidden), len(view.faces))


class _View:
    """The nodes that have a box of their own before any folding, and what stands between them."""

    def __init__(self, order: Sequence[Expr], roots: Sequence[Expr]) -> None:
        self._faces: dict[Expr, Expr] = {}
        users: dict[Expr, int] = {}
        for node in order:
            for a in node.args:
                users[seen(a)] = users.get(seen(a), 0) + 1
        kept = {seen(r) for r in roots}
        for node in order:
            x = seen(node.args[0]) if node.op.name == "named" else None
            if x is not None and users[x] == 1 and x.args and x.op.name != "named" and x not in kept:
                self._faces[x] = node
        numbers = _numbers(order)
        boxed = [n for n in order if seen(n) is n and (n not in numbers or n in kept)]
        self.faces = {self._faces.get(n, n): None for n in boxed}  # operands first
        self._faces.update({n: self._faces.get(seen(n), seen(n)) for n in order if seen(n) is not n})
        self._below = {face: x for x, face in self._faces.items() if face.op.name == "named" and seen(face.args[0]) is x}
        self.operands = {node: self._operands(node) for node in self.faces}  # the boxes that a box reads, once for each time

    def face(self, node: Expr) -> Expr:
        """The node whose box shows this one."""
        return self._faces.get(node, node)

    def below(self, node: Expr) -> Expr:
        """The operation that a box shows: what a named node names, where both are one box."""
        return self._below.get(node, node)

    def _operands(self, node: Expr) -> list[Expr]:
        return [face for a in self.below(node).args if (face := self.face(seen(a))) in self.faces]


def _numbers(order: Sequence[Expr]) -> set[Expr]:
    """Numbers, and what is made of nothing else (``2/n``): these stand in the formulas of their users."""
    found: set[Expr] = set()
    for node in order:
        leaf = node.op.name in ("constant", "size")
        if not node.shape and (leaf or (node.op.family == "elementwise" and all(a in found for a in node.args) and node.args)):
            found.add(node)
    return found


# --- fewer boxes ---------------------------------------------------------------------------------------


def _folded(view: _View, limit: int | None, named: Collection[Expr]) -> tuple[dict[Expr, Expr], dict[Expr, int]]:
    """Which box each node is in, itself or its only user's, and how many operations each box has: as few as the limit asks for.

    Arithmetic goes first, into the function of its result; what formulas call by a name stays.
    """
    users: dict[Expr, set[Expr]] = {}
    for node in view.faces:
        for o in view.operands[node]:
            users.setdefault(o, set()).add(node)
    single = {n: next(iter(users[n])) for n in view.faces if len(users.get(n, ())) == 1 and n.args and n not in named}
    foldable = {n: user for n, user in single.items() if n.op.family in ("elementwise", "movement")}
    arithmetic = {n: user for n, user in foldable.items() if node_cost(n) <= ARITHMETIC * elements(n.shape)}
    steps = [({}, 1), (arithmetic, FORMULA), *((foldable, 2**k) for k in range(3, len(view.faces).bit_length() + 1))]
    for some, most in steps:
        hosts, size = _fold(view, some, most)
        if limit is None or sum(hosts[n] is n for n in hosts if n.args) <= limit:
            break
    return hosts, size


def _fold(view: _View, into: Mapping[Expr, Expr], most: int) -> tuple[dict[Expr, Expr], dict[Expr, int]]:
    hosts: dict[Expr, Expr] = {}
    size: dict[Expr, int] = {}
    for node in reversed(view.faces):
        hosts[node], size[node] = node, 1 if node.args else 0
        if node in into and size[host := hosts[into[node]]] < most:
            size[host] += 1
            hosts[node] = host
    return hosts, size


def _nearest(view: _View, hosts: Mapping[Expr, Expr], limit: int | None) -> tuple[list[Expr], set[Expr]]:
    """The boxes nearest to the results, and those that are too many. What is drawn reads what is not, never the reverse."""
    distance = {n: 0 for n in view.faces if hosts[n] is n}
    for node in reversed(view.faces):
        host = hosts[node]
        for o in view.operands[node]:
            if hosts[o] is not host:
                distance[hosts[o]] = max(distance[hosts[o]], distance[host] + 1)
    if limit is None or len(distance) <= 2 * limit:  # as many inputs as operations
        return list(distance), set()
    hidden = set(sorted(distance, key=distance.__getitem__)[limit:])
    leaves = {n for n in hidden if not n.args}
    if len(leaves) <= INPUTS:
        hidden -= leaves
    return [n for n in distance if n not in hidden], hidden


def _connected(view: _View, hosts: Mapping[Expr, Expr], boxes: Mapping[Expr, Box], hidden: Collection[Expr]) -> list[Box]:
    """The boxes with what each reads; what is hidden becomes one box more."""
    rest = Box("more", "elided", "", "", operations=0)
    for node in view.faces:
        for o in view.operands[node]:
            tail, head = boxes.get(hosts[o], rest), boxes.get(hosts[node], rest)
            if tail is not head and (tail not in head.operands or head.operations == 1):  # x*x reads x twice
                head.operands.append(tail)
    if any(box.operations > 1 for box in boxes.values()):
        _without_common(list(boxes.values()))
    if not hidden:
        return list(boxes.values())
    operations = sum(hosts[n] in hidden for n in view.faces if n.args)
    inputs = sum(not n.args for n in hidden)
    rest.operations = operations
    counts = [f"{n:,} more {what}" for n, what in ((operations, "operations"), (inputs, "inputs")) if n]
    rest.label = f"… {' on '.join(counts)}"
    leaves = [box for node, box in boxes.items() if not node.args]
    return [*leaves, rest, *(box for node, box in boxes.items() if node.args)]


def _without_common(boxes: Sequence[Box]) -> None:
    """In a condensed graph, an input that many boxes read says so instead of being tied to all of them: the formulas name it."""
    readers = Counter(operand for box in boxes for operand in box.operands if not operand.operands and operand.kind != "elided")
    common = {box: count for box, count in readers.items() if count > COMMON}
    for box, count in common.items():
        box.cells += (("read by", f"{count} boxes"),)
    for box in boxes:
        box.operands = [o for o in box.operands if o not in common]


# --- what a box says -----------------------------------------------------------------------------------


def _formulas(order: Sequence[Expr], named: Mapping[Expr, str], folded: Collection[Expr], whole: int = WHOLE) -> dict[Expr, str]:
    """Each node's formula; ``whole``: characters of a part that is ``folded`` into its user.

    ``named``: the names that the printed formulas give to shared parts.
    """

    def stand_in(node: Expr, written: str) -> str | None:
        if node in named:
            return named[node]
        longest = whole if node in folded else PART
        return "…" if len(written) > longest and node.args else None

    return labels(order, stand_in)


def _label(node: Expr, below: Expr, formulas: Mapping[Expr, str], named: Mapping[Expr, str]) -> str:
    formula = formulas[below]
    if node.op.name == "named":
        name = node.name
        formula = formula if below is not node else formula.partition(" = ")[2]
    else:
        name = named.get(node, "")
    if not formula.strip("… +-*/@"):  # nothing but the sign, which stands beside
        formula = ""
    written = _shortened(pretty(formula), WHOLE)
    name = _shortened(pretty(name), WHOLE)
    return f"{name} = {written}" if name and written else name or written


def _shortened(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


def _kind(node: Expr, forward: bool, in_layer: bool) -> str:
    if node.op.name == "symbol":
        return "parameter" if in_layer or node.params.get("tag") else "input"
    if not node.args:
        return "constant"
    return "operation" if forward else "gradient"


def _badge(node: Expr) -> str:
    if not node.args:
        return ""
    if node.op.name == "contract":
        return {"matmul": "@", "outer": "⊗", "sum": "Σ ×", "einsum": "einsum"}[contraction(node).style]
    return "named" if node.op.name == "named" else _BADGES.get(node.op.name, node.op.name)


def _number(value: Array) -> str:
    """A value in a box: four digits, up to six where it would look like a whole number that it is not.

    Of an array up to three numbers, of more the smallest and the largest.
    """
    if value.size <= 3:
        numbers = ", ".join(_digits(v) for v in value.ravel().tolist())
        return f"[{numbers}]" if value.ndim else numbers
    if value.dtype.kind == "b":
        return f"{np.count_nonzero(value)} of {value.size} true"
    low, high = value.min(), value.max()
    return _digits(low.item()) if low == high else f"{_digits(low.item())} … {_digits(high.item())}"


def _digits(value: float) -> str:
    if isinstance(value, (bool, int)):
        return str(value)
    shown = (f"{value + 0.0:.{digits}g}" for digits in (4, 5, 6))
    return next((s for s in shown if not _looks_whole(s) or float(s) == value), f"{value + 0.0:.6g}").replace("-", "−")


def _looks_whole(shown: str) -> bool:
    return shown.lstrip("-").isdecimal() and len(shown) < 4
