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

from symgrad import dims
from symgrad.expr import Array, Expr, topological
from symgrad.show import boxes as says
from symgrad.show.layers import layers, layers_backward
from symgrad.show.layout import Script, seen
from symgrad.show.text import text_layout
from symgrad.simplify.cost import elements, node_cost

__all__ = ["Box", "Graph", "build"]

LETTER, GAP = 7, 28  # points: the width of a letter, between two boxes
COMMON = 8  # readers of an input
FORMULA = (6, 12)  # operations of arithmetic that are read as one formula: as a rule, at most
ARITHMETIC = 5  # the cost of an operation that is part of a formula rather than a step of its own
INPUTS = 12  # inputs that only an elided part reads and that are drawn nevertheless


@dataclass(eq=False)
class Box:
    """``kind``: "input", "parameter", "constant", "operation", "gradient" or "elided". ``badge``: the operation's sign, ``label``: its
    formula, ``shape``: for tensors, ``cells``: ("data", "2") and the like, ``outputs``: what it is as a result (``dL/dw``), ``layer``:
    the group that it is drawn in, ``tooltip``: the formula, longer, ``operations``: how many are folded into it, ``operands``: what it
    reads, twice where it reads it twice."""

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
    operands: list[Box] = field(default_factory=list)

    def width(self) -> int:
        """In points, roughly."""
        heading = [part for part in (", ".join(self.outputs), self.badge, self.label) if part]
        cells = [f"{name} {value}" for name, value in self.cells]
        return max(LETTER * len("".join(row)) + 2 * LETTER * len(row) for row in (heading, cells))


@dataclass
class Graph:
    """``boxes``: operands first; ``nodes``: how many nodes of expressions they stand for."""

    boxes: list[Box]
    nodes: int

    @property
    def edges(self) -> int:
        return sum(len(box.operands) for box in self.boxes)

    def extent(self) -> tuple[int, int]:
        """From the first boxes to the last ones if drawn from left to right, and across if drawn from top to bottom: points, roughly.

        Gradients go back beside what they are of.
        """
        place: dict[int, int] = {}
        widest: Counter[tuple[bool, int]] = Counter()
        across: Counter[tuple[bool, int]] = Counter()
        for box in self.boxes:
            back = box.kind == "gradient"
            place[id(box)] = 1 + max((place[id(o)] for o in box.operands if (o.kind == "gradient") == back), default=0)
            rank = back, place[id(box)]
            widest[rank] = max(widest[rank], box.width() + GAP)
            across[rank] += box.width() + GAP
        sides = (False, True)
        return (max(sum(w for rank, w in widest.items() if rank[0] == side) for side in sides),
                sum(max((w for rank, w in across.items() if rank[0] == side), default=0) for side in sides))


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
    shared = {e for e in Script(roots, text_layout).definitions if e.op.name != "named" and len(view.users[view.face(e)]) > 1}
    hosts, size = _folded(view, limit, shared)
    shown, hidden = _nearest(view, hosts, limit)
    groups = layers(order)
    targets = {e: w for (_, e), w in zip(derivatives, wrt)}
    backward = layers_backward(order, groups, forward, targets)
    operands = {n: [o for o in view.operands[n] if hosts[o] is o and o not in hidden] for n in view.faces if hosts[n] not in hidden}
    heads = {w.name: e for e, w in targets.items() if w.op.name == "symbol"}
    compound = {n for n in shown if size[n] > 1}
    named = says.names(order, operands, shared - hidden, compound, groups, heads)
    formulas = says.formulas(order, named, set(shown))
    tooltips = says.tooltip(order, {n: name for n, name in named.items() if n in shared})
    boxes: dict[Expr, Box] = {}
    for k, node in enumerate(shown, 1):
        below = view.below(node)
        badge = says.badge(view.sign(below)) if size[node] <= 1 else f"{size[node]} ops"
        box = boxes[node] = Box(f"n{k}", says.kind(node, node in forward, node in groups), badge, says.label(node, below, formulas, named))
        box.operations = size[node]
        box.shape = dims.format_shape(node.shape) if node.shape else ""
        box.cells = tuple((name, says.number(at[node])) for name, at in (("data", values), ("grad", gradients)) if node in at)
        box.layer = groups.get(below, groups.get(node, "")) if node in forward else backward.get(node, "")
        box.tooltip = tooltips[below]
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
        alone = {x for x in users if users[x] == 1 and x.args and x.op.name != "named" and x not in kept}
        for node in order:
            x = seen(node.args[0]) if node.op.name == "named" else None
            if x in alone:
                self._faces[x] = node
        self._through = {x for n in order if n.op.name == "reshape" and (x := seen(n.args[0])) in alone and _is_read_through(n, x)}
        numbers = _numbers(order)
        boxed = [n for n in order if seen(n) is n and (n not in numbers or n in kept) and n not in self._through]
        self.faces = {self._faces.get(n, n): None for n in boxed}  # operands first
        self._faces.update({n: self._faces.get(seen(n), seen(n)) for n in order if seen(n) is not n})
        self._below = {face: x for x, face in self._faces.items() if face.op.name == "named" and seen(face.args[0]) is x}
        self.operands = {node: self._operands(node) for node in self.faces}  # the boxes that a box reads, once for each time
        self.users: dict[Expr, set[Expr]] = {node: set() for node in self.faces}
        for node in self.faces:
            for o in self.operands[node]:
                self.users[o].add(node)

    def face(self, node: Expr) -> Expr:
        """The node whose box shows this one."""
        return self._faces.get(node, node)

    def below(self, node: Expr) -> Expr:
        """The operation that a box shows: what a named node names, where both are one box."""
        return self._below.get(node, node)

    def sign(self, node: Expr) -> Expr:
        """The operation that its sign stands for: a slice, where a number in an index drops an axis besides."""
        return seen(node.args[0]) if node.args and seen(node.args[0]) in self._through else node

    def _operands(self, node: Expr) -> list[Expr]:
        return [face for a in self.sign(self.below(node)).args if (face := self.face(seen(a))) in self.faces]


def _is_read_through(node: Expr, operand: Expr) -> bool:
    """Whether the formula of a node has the operand's own operands in it (``x[0]``) rather than the operand."""
    _, pieces = text_layout(node)
    return all(isinstance(p, str) or (isinstance(p, tuple) and seen(p[0]) is not operand) for p in pieces)


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
    single = {n: next(iter(users)) for n, users in view.users.items() if len(users) == 1 and n.args and n not in named}
    foldable = {n: user for n, user in single.items() if n.op.family in ("elementwise", "movement")}
    arithmetic = {n: user for n, user in foldable.items() if node_cost(n) <= ARITHMETIC * elements(n.shape)}
    steps = [({}, 1), *((arithmetic, most) for most in FORMULA), *((foldable, 2**k) for k in range(3, len(view.faces).bit_length() + 1))]
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
