"""What is fused: nodes of one iteration space into one loop nest.

A *compute* node (elementwise, reduction, contraction, gather) belongs to exactly one group: the nodes of a
group share their iteration space, and read one another at the same index only, so that values stay in
registers. Whatever else crosses from group to group goes through a buffer. *Views* (transpose, slice, …)
are index arithmetic and belong to nobody; *assembled* nodes (pad, concatenate, …, and linear algebra) are
written part by part, each in nests of its own.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from symgrad.dims import Shape
from symgrad.expr import SYMBOL, Expr, topological
from symgrad.schedule.batch import BatchPlan
from symgrad.schedule.matrices import Update

__all__ = ["ASSEMBLED", "REDUCERS", "SOLVERS", "VIEWS", "Group", "form_groups", "is_plain_reshape"]

VIEWS = frozenset({"transpose", "broadcast_to", "slice", "reshape", "diagonal"})
LEAVES = frozenset({"constant", "symbol", "arange", "eye", "size"})
SOLVERS = frozenset({"inv", "solve", "solve_triangular", "det", "logdet", "signdet", "cholesky"})
ASSEMBLED = frozenset({"pad", "concatenate", "scatter_add", "embed_diagonal", "cumsum"}) | SOLVERS
REDUCERS = frozenset({"sum", "prod", "max", "min", "argmax", "argmin"})


LARGE = 1000  # nodes from which on scalars are grouped at a glance


@dataclass(eq=False)
class Group:
    """One loop nest. ``section``: its place in the order of passes; ``batched``: position of the batch axis in
    ``shape`` or ``None``; ``crossing``: its nodes bring the samples of a chunk together."""

    section: int
    shape: Shape
    batched: int | None
    crossing: bool
    members: list[Expr] = field(default_factory=list)
    gemm: bool = False
    outer: bool = False  # crossing, with the lanes along the last axis instead of the samples


def is_plain_reshape(node: Expr) -> bool:
    """Only axes of size 1 come or go."""
    return [d for d in node.shape if d != 1] == [d for d in node.args[0].shape if d != 1]


def assign_sections(order: Sequence[Expr], plan: BatchPlan | None) -> dict[Expr, int]:
    """0: before the batch; 2p + 1: pass p over it; 2p + 2: after pass p. What only later sections between the passes
    read is computed there, beside its readers."""
    if plan is None:
        return dict.fromkeys(order, 0)
    passing = plan.axis.keys() | plan.crossing
    sections = {n: 2 * plan.phase[n] + (1 if n in passing else 2) for n in order}
    readers: dict[Expr, list[Expr]] = {}
    for node in order:
        for a in node.args:
            readers.setdefault(a, []).append(node)
    last = max(sections.values()) // 2 * 2
    for node in reversed(order):
        if node in passing:
            continue
        users = [sections[u] for u in readers.get(node, ())]
        latest = last if not users else min(u - u % 2 for u in users)
        sections[node] = max(sections[node], latest)
    return sections


def form_groups(
    outputs: Sequence[Expr], plan: BatchPlan | None, gemms: Iterable[Expr], updates: Mapping[Expr, Update]
) -> list[Group]:  # fmt: skip
    """The groups in the order of execution."""
    order = topological(*outputs)
    absorbed = {n for u, update in updates.items() for n in (update.contract, *update.between) if n.op is not SYMBOL}
    gemm_nodes = (set(gemms) | set(updates)) - absorbed
    forced = {n.args[0] for n in order if n.op.name == "reshape" and not is_plain_reshape(n)}
    copied = {n for n in forced if n.op.name in VIEWS} | {n for n in outputs if n.op.name in VIEWS or n.op.name in LEAVES}
    large = plan is None and len(order) >= LARGE
    scalars, made, read = _scalars_of_inputs(order, copied, absorbed | gemm_nodes) if large else ([], set(), set())
    bases = _Bases(made)
    home: dict[Expr, int] = defaultdict(int)  # position of a node's group within its section
    sections: dict[int, list[Group]] = {}
    places: dict[tuple[int, Shape, int | None, bool], list[int]] = {}
    if scalars:
        sections[0], places[0, (), None, False] = [Group(0, (), None, False, scalars)], [0]
    section_of = assign_sections(order, plan)
    rest = [n for n in order if n not in made and n not in read]
    uses = Counter(a for n in rest for a in n.args)
    uses.update(outputs)
    inlined = _inlined(rest, uses, forced, section_of) | absorbed
    for node in rest:
        name = node.op.name
        if name in LEAVES and node not in copied:
            bases[node] = ()
            continue
        if (name in VIEWS and node not in copied) or node in inlined:
            bases[node] = tuple(dict.fromkeys(b for a in node.args for b in bases[a]))
            continue
        section = section_of[node]
        groups = sections.setdefault(section, [])
        need, elementwise = 0, node.op.family == "elementwise"
        for a in node.args:
            for b in bases[a]:
                if section_of[b] == section:
                    same = b is a and elementwise and a.shape == node.shape and not groups[home[b]].gemm and b.op.name not in ASSEMBLED
                    need = max(need, home[b] if same else home[b] + 1)
        batched = plan.axis.get(node) if plan else None
        crossing = bool(plan and node in plan.crossing)
        alone = name in ASSEMBLED or node in gemm_nodes
        key = (section, node.shape, batched, crossing)
        known = [] if alone else places.get(key, [])
        fit = bisect_left(known, need)
        if fit < len(known):
            home[node] = known[fit]
        else:
            home[node] = len(groups)
            groups.append(Group(section, node.shape, batched, crossing, gemm=node in gemm_nodes))
            if not alone:
                places.setdefault(key, []).append(home[node])
        groups[home[node]].members.append(node)
        bases[node] = (node,)
    return [g for s in sorted(sections) for g in sections[s]]


class _Bases(dict[Expr, tuple[Expr, ...]]):
    """The grouped nodes that a node reads; of what is no key, only what is in ``made`` is grouped."""

    def __init__(self, made: set[Expr]) -> None:
        self.made = made

    def __missing__(self, node: Expr) -> tuple[Expr, ...]:
        return (node,) if node in self.made else ()


def _scalars_of_inputs(order: Sequence[Expr], copied: set[Expr], others: set[Expr]) -> tuple[list[Expr], set[Expr], set[Expr]]:
    """The elementwise nodes that are scalars and read scalars and inputs alone, which make one group, seen at a glance: a formula
    may have 100,000 of them and nothing else. They as a list and as a set, and what of the inputs they may read: leaves, and views
    of leaves. ``copied``: leaves and views that are grouped, too; ``others`` have groups of their own.
    """
    scalars: list[Expr] = []
    ready, read = set[Expr](), set[Expr]()
    for node in order:
        args, op = node.args, node.op
        if node in others:
            continue
        if op.family == "elementwise" or (not args and node in copied):
            if not node.shape and ready.issuperset(args):
                ready.add(node)
                scalars.append(node)
        elif node not in copied and (op.name in LEAVES if not args else op.name in VIEWS and args[0] in read):
            ready.add(node)
            read.add(node)
    return scalars, ready - read, read


def _inlined(order: list[Expr], uses: Counter[Expr], forced: set[Expr], section_of: dict[Expr, int]) -> set[Expr]:
    """Elementwise nodes that only one reduction reads, and what only they read: evaluated in its inner loop."""
    inlined: set[Expr] = set()
    for node in reversed(order):
        summed = node.op.name in REDUCERS
        if not summed and node not in inlined:
            continue
        for a in node.args:
            alone = a.op.family == "elementwise" and uses[a] == 1 and a not in forced and a.shape
            if alone and (summed or a.shape == node.shape) and section_of[a] == section_of[node]:
                inlined.add(a)
    return inlined
