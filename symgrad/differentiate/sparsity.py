"""SPARSITY: which elements of a result depend on which elements of its variables.

One forward sweep over the expression. Every active node has :mod:`rows <symgrad.differentiate.rows>`, the variables that
each of its elements depends on; a rule for each kind of op says how they come from those of its operands. Movement ops
need no rule of their own: evaluated on positions instead of values, they say where each element comes from.

The pattern of a Hessian is that of the Jacobian of the gradient *expression*: since that is derived and simplified as a
formula, linear parts have left it, and what remains are the interactions that Walther's and Gower and Mello's
propagation of nonlinear domains finds (A. Walther, "Computing sparse Hessians with automatic differentiation",
ACM TOMS 34, 2008; R. Gower, M. Mello, "A new framework for the computation of Hessians", OMS 27, 2012).

What is known to be 0 whatever the arguments, padding or the zeros of a constant, passes nothing on: ``0*x`` counts as 0,
as in algebra. Work and memory grow with the elements and their dependencies.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Any

import numpy as np

from symgrad import dims
from symgrad.differentiate import rows as sets
from symgrad.differentiate.forward import fresh_symbol
from symgrad.differentiate.reverse import active_nodes, rule_entries
from symgrad.differentiate.rows import Rows
from symgrad.differentiate.support import SUPPORT
from symgrad.dims import Dim
from symgrad.evaluate import resolve_params
from symgrad.expr import CONSTANT, SYMBOL, Array, Expr, free_symbols, rebuild, rewrite, topological
from symgrad.ops.linear import split_spec

__all__ = ["Sweep", "dependencies", "index_symbols"]

KNOWN = 2**22  # elements: the values of larger constant nodes are not looked at

_INDEXED = ("gather", "scatter_add")


def index_symbols(*roots: Expr) -> list[Expr]:
    """The integer symbols that say where elements come from: a pattern depends on their values.

    >>> import symgrad as sg
    >>> x, i, k = sg.symbol("x", 5), sg.symbol("i", "n", integer=True), sg.symbol("k", integer=True)
    >>> index_symbols(k*x[i])
    [i]
    """
    indices = [i for node in topological(*roots) if node.op.name in _INDEXED for i in node.args[1:]]
    return [s for s in free_symbols(*indices) if s.kind == "integer"]


def dependencies(roots: Sequence[Expr], nodes: Sequence[Expr], sizes: Mapping[str, int], indices: Mapping[Expr, Array]) -> Any:
    """All elements of the roots × all elements of the nodes: a boolean ``csr_array``, true where there may be a derivative.

    ``sizes``: of the named dimensions; ``indices``: the values of :func:`index_symbols`.

    >>> import symgrad as sg
    >>> x = sg.symbol("x", "n")
    >>> dependencies([x[1:]*x[:-1]], [x], {"n": 3}, {}).toarray().astype(int)
    array([[1, 1, 0],
           [0, 1, 1]])
    """
    simpler = rewrite([*roots, *nodes], _expand_unknown)
    return Sweep(simpler[len(roots) :], sizes, indices).run(simpler[: len(roots)])


def _expand_unknown(node: Expr, args: tuple[Expr, ...]) -> Expr:
    """A user's op that is no elementwise function, as what it means."""
    if node.op.expand is not None and node.op.shape is not None and node.op.name not in _RULES:
        return node.op.expand(*args, **node.params)
    return rebuild(node, args)


class Sweep:
    """What is known on the way: rows, values that no real argument changes, and elements that are 0 whatever comes."""

    def __init__(self, nodes: Sequence[Expr], sizes: Mapping[str, int], indices: Mapping[Expr, Array]) -> None:
        self.nodes, self.sizes = nodes, sizes
        self.found: dict[Expr, Rows] = {}
        self.values: dict[Expr, Array] = dict(indices)
        self.fixed: set[Expr] = set()  # values that do not depend on any argument
        self.support: dict[Expr, Array] = {}  # flat; False where an element is 0. Absent: any may be another number
        self._dims: dict[Dim, int] = {}
        self._positions: dict[tuple[int, ...], Array] = {}
        self._passing: dict[str, tuple[bool, ...]] = {}
        self.width = sum(self.size(n) for n in nodes)

    def run(self, roots: Sequence[Expr]) -> Any:
        order = topological(*roots)
        active = active_nodes(order, set(self.nodes))
        starts: dict[Expr, int] = {}
        start = 0
        for node in self.nodes:
            starts.setdefault(node, start)
            start += self.size(node)
        uses = Counter(a for n in order for a in n.args)
        uses.update(roots)
        for node in order:
            self._look_at_value(node)
            if node in active:
                through = self._through(node) if any(a in self.found for a in node.args) else None
                own = sets.identity(starts[node], self.size(node), self.width) if node in starts else None
                if (rows := sets.union([through, own], self.width)) is not None:
                    self.found[node] = rows
            self._look_at_support(node)
            self._forget(node.args, uses)
        return sets.stack([(self.found.get(r) if r.kind == "real" else None, self.size(r)) for r in roots], self.width)

    def _forget(self, operands: Sequence[Expr], uses: Counter[Expr]) -> None:
        """Drops what is not needed any more: with it, memory would grow with the number of nodes."""
        for a in operands:
            uses[a] -= 1
            if not uses[a]:
                self.found.pop(a, None)
                self.support.pop(a, None)
                self.values.pop(a, None)

    # shapes and positions
    def shape(self, node: Expr) -> tuple[int, ...]:
        return tuple([d if isinstance(d, int) else self._dim(d) for d in node.shape])

    def _dim(self, dim: Dim) -> int:
        if dim not in self._dims:
            self._dims[dim] = dims.evaluate(dim, self.sizes)
        return self._dims[dim]

    def size(self, node: Expr) -> int:
        return _count(self.shape(node))

    def positions(self, shape: tuple[int, ...]) -> Array:
        """The numbers of elements in this shape, from 1 on: 0 means none."""
        if shape not in self._positions:
            self._positions[shape] = np.arange(1, _count(shape) + 1).reshape(shape)
        return self._positions[shape]

    def stretched(self, flat: Array, operand: Expr, node: Expr) -> Array:
        """What belongs to an operand's elements, broadcast to the node's."""
        have, want = self.shape(operand), self.shape(node)
        return flat if have == want else np.broadcast_to(flat.reshape(have), want).reshape(-1)

    def sources(self, node: Expr) -> Array:
        """Where each element of a movement op comes from: numbers of the elements of all operands, one after the other."""
        start, numbered = 0, []
        for a in node.args if node.op.name == "concatenate" else node.args[:1]:
            numbered.append(self.positions(self.shape(a)) + start)
            start += self.size(a)
        if node.op.name == "gather":
            numbered += _inside([self.values[i] for i in node.args[1:]], node.params["axes"], numbered[0].shape)
        assert node.op.evaluate is not None
        return np.asarray(node.op.evaluate(*numbered, **resolve_params(node.params, self.sizes))).reshape(-1)

    def targets(self, node: Expr) -> Array:
        """Where each element of the first operand of ``scatter_add`` goes."""
        shape = self.shape(node)
        places = _inside([self.values[i] for i in node.args[1:]], node.params["axes"], shape)
        axes = node.params["axes"]
        index: tuple[Any, ...] = (..., *places, *[slice(None)] * (-axes[-1] - 1))
        return self.positions(shape)[index].reshape(-1) - 1

    def groups(self, node: Expr) -> Array:
        """For each element of a reduction's operand the element of the result that it is part of."""
        shape = self.shape(node.args[0])
        axes = node.params["axes"] if "axes" in node.params else (node.params["axis"],)
        kept = tuple(1 if k - len(shape) in axes else d for k, d in enumerate(shape))
        return np.broadcast_to(np.arange(_count(kept)).reshape(kept), shape).reshape(-1)

    # what is known of values
    def _look_at_value(self, node: Expr) -> None:
        if node.op is CONSTANT:
            self.values[node] = np.asarray(node.params["value"])
        elif node.op is SYMBOL or node in self.nodes or not all(a in self.values for a in node.args):
            return
        elif node.op.evaluate is None or self.size(node) > KNOWN:
            return
        else:
            with np.errstate(all="ignore"):
                try:
                    value = node.op.evaluate(*[self.values[a] for a in node.args], **resolve_params(node.params, self.sizes))
                except IndexError:  # the call will say so
                    return
            self.values[node] = np.asarray(value)
        if all(a in self.fixed for a in node.args):
            self.fixed.add(node)

    def _look_at_support(self, node: Expr) -> None:
        if node in self.fixed:
            known: Array | None = np.broadcast_to(self.values[node] != 0, self.shape(node)).reshape(-1)
        else:
            rule = SUPPORT.get(node.op.name)
            known = None if rule is None else rule(self, node)
        if known is not None and not known.all():
            self.support[node] = known

    # rows
    def passing(self, node: Expr) -> tuple[bool, ...]:
        """Which operands of an elementwise op have a derivative at all: not that of ``floor``."""
        name = node.op.name
        if name not in self._passing:
            entries = rule_entries(node, fresh_symbol("adjoint", node))
            self._passing[name] = tuple(e is not None for e in entries)
        return self._passing[name]

    def spread(self, operand: Expr, node: Expr, mask: Array | None = None) -> Rows | None:
        """The operand's rows broadcast to the node, only where the mask holds."""
        rows = self.found.get(operand)
        if rows is None or (mask is None and self.shape(operand) == self.shape(node)):
            return rows
        places = self.stretched(self.positions(self.shape(operand)).reshape(-1), operand, node)
        return sets.take(rows, places if mask is None else places * mask, self.width)

    def _through(self, node: Expr) -> Rows | None:
        rule = _RULES.get(node.op.name)
        if rule is not None:
            return rule(self, node)
        if node.op.family == "elementwise" or node.op.shape is None:
            return self.elementwise(node)
        return self.all_to_all(node)

    def elementwise(self, node: Expr) -> Rows | None:
        passed = zip(node.args, self.passing(node))
        return sets.union([self.spread(a, node) for a, passes in passed if passes], self.width)

    def all_to_all(self, node: Expr) -> Rows:
        """An op of which nothing is known: every element depends on all that there is."""
        merged = [sets.merge(self.found[a], np.zeros(self.size(a), np.int64), 1, self.width) for a in node.args if a in self.found]
        together = sets.union(merged, self.width)
        return sets.take(together, np.ones(self.size(node), np.int64), self.width)


def _count(shape: Sequence[int]) -> int:
    return int(np.prod(shape, dtype=np.int64)) if shape else 1


def _inside(places: Sequence[Array], axes: Sequence[int], shape: Sequence[int]) -> list[Array]:
    """Indices out of range, which the call will refuse, made harmless."""
    return [np.clip(i, -shape[a], max(shape[a] - 1, 0)) for i, a in zip(places, axes)]


# --- rules: a node's rows from those of its operands -----------------------------------------------


def _where(sweep: Sweep, node: Expr) -> Rows | None:
    condition, *branches = node.args
    if condition not in sweep.fixed:
        return sets.union([sweep.spread(a, node) for a in branches], sweep.width)
    holds = sweep.stretched(np.asarray(sweep.values[condition], np.bool_).reshape(-1), condition, node)
    return sets.union([sweep.spread(a, node, mask) for a, mask in zip(branches, (holds, ~holds))], sweep.width)


def _mul(sweep: Sweep, node: Expr) -> Rows | None:
    parts = []
    for own, other in (node.args, node.args[::-1]):
        known = sweep.support.get(other)
        parts.append(sweep.spread(own, node, None if known is None else sweep.stretched(known, other, node)))
    return sets.union(parts, sweep.width)


def _div(sweep: Sweep, node: Expr) -> Rows | None:
    above, below = node.args
    known = sweep.support.get(above)
    mask = None if known is None else sweep.stretched(known, above, node)
    return sets.union([sweep.spread(above, node), sweep.spread(below, node, mask)], sweep.width)


def _movement(sweep: Sweep, node: Expr) -> Rows | None:
    if node.op.name == "reshape":
        return sweep.found[node.args[0]]
    if node.op.name != "concatenate":
        return sets.take(sweep.found[node.args[0]], sweep.sources(node), sweep.width)
    stacked = sets.stack([(sweep.found.get(a), sweep.size(a)) for a in node.args], sweep.width)
    return sets.take(stacked, sweep.sources(node), sweep.width)


def _gather(sweep: Sweep, node: Expr) -> Rows | None:
    if node.args[0] not in sweep.found:
        return None
    return _movement(sweep, node) if all(i in sweep.values for i in node.args[1:]) else sweep.all_to_all(node)


def _scatter_add(sweep: Sweep, node: Expr) -> Rows | None:
    rows = sweep.found.get(node.args[0])
    if rows is None:
        return None
    if not all(i in sweep.values for i in node.args[1:]):
        return sweep.all_to_all(node)
    return sets.merge(rows, sweep.targets(node), sweep.size(node), sweep.width)


def _reduction(sweep: Sweep, node: Expr) -> Rows | None:
    rows, (x,) = sweep.found[node.args[0]], node.args
    return rows if sweep.size(x) == sweep.size(node) else sets.merge(rows, sweep.groups(node), sweep.size(node), sweep.width)


def _along_axis(sweep: Sweep, node: Expr) -> Rows | None:
    groups = sweep.groups(node)
    merged = sets.merge(sweep.found[node.args[0]], groups, int(groups.max(initial=-1)) + 1, sweep.width)
    return sets.take(merged, groups + 1, sweep.width)


def _cumsum(sweep: Sweep, node: Expr) -> Rows | None:
    """By doubling: after k rounds each element has what the 2ᵏ elements up to it have."""
    rows, axis = sweep.found[node.args[0]], node.params["axis"]
    places = np.moveaxis(sweep.positions(sweep.shape(node)), axis, -1)
    reach, length = 1, places.shape[-1]
    while reach < length:
        earlier = np.zeros_like(places)
        if node.params["reverse"]:
            earlier[..., :-reach] = places[..., reach:]
        else:
            earlier[..., reach:] = places[..., :-reach]
        moved = sets.take(rows, np.moveaxis(earlier, -1, axis).reshape(-1), sweep.width)
        rows, reach = sets.union([rows, moved], sweep.width), reach * 2
    return rows


def _contract(sweep: Sweep, node: Expr) -> Rows | None:
    left, right, result = split_spec(node.params["spec"])
    sizes = dict(zip(left + right, (*sweep.shape(node.args[0]), *sweep.shape(node.args[1]))))
    parts = []
    for own, letters, other, other_letters in ((node.args[0], left, node.args[1], right), (node.args[1], right, node.args[0], left)):
        rows = sweep.found.get(own)
        if rows is None:
            continue
        known = sweep.support.get(other)
        if known is None:
            parts.append(_spread_sums(rows, letters, result, sizes, sweep.width))
        else:
            at = dict(zip(other_letters, np.nonzero(known.reshape(sweep.shape(other)))))
            parts.append(_linked(rows, at, letters, result, sizes, sweep.width))
    return sets.union(parts, sweep.width)


def _spread_sums(rows: Rows, letters: str, result: str, sizes: Mapping[str, int], width: int) -> Rows:
    """Summed over the letters that the result does not have, repeated along those that only the other factor has."""
    kept = [c for c in result if c in letters]
    numbers = np.arange(_count([sizes[c] for c in kept])).reshape([sizes[c] for c in kept])
    place = _aligned(numbers, kept, letters)
    targets = np.broadcast_to(place, [sizes[c] for c in letters]).reshape(-1)
    merged = rows if len(kept) == len(letters) and list(letters) == kept else sets.merge(rows, targets, numbers.size, width)
    places = np.broadcast_to(_aligned(numbers + 1, kept, result), [sizes[c] for c in result]).reshape(-1)
    return merged if len(kept) == len(result) else sets.take(merged, places, width)


def _aligned(numbers: Array, have: Sequence[str], want: str) -> Array:
    """An array with axes ``have`` on axes ``want``, size 1 along those that it does not have."""
    order = [c for c in want if c in have]
    moved = np.transpose(numbers, [list(have).index(c) for c in order])
    sizes = dict(zip(order, moved.shape))
    return moved.reshape([sizes.get(c, 1) for c in want])


def _linked(rows: Rows, at: Mapping[str, Array], letters: str, result: str, sizes: Mapping[str, int], width: int) -> Rows:
    """One link for each non-zero of the other factor (``at``: its places by letter) and each index along own letters."""
    free = [c for c in letters if c not in at]
    count = len(next(iter(at.values()))) if at else 1
    index = {c: places.reshape(-1, *[1] * len(free)) for c, places in at.items()}
    for k, c in enumerate(free):
        index[c] = np.arange(sizes[c]).reshape(1, *[-1 if j == k else 1 for j in range(len(free))])
    shape = (count, *[sizes[c] for c in free])

    def flat(letters: str) -> Array:
        total = reduce(lambda sum, c: sum * sizes[c] + index[c], letters, np.zeros([1] * len(shape), np.int64))
        return np.broadcast_to(total, shape).reshape(-1)

    return sets.product(rows, flat(result), flat(letters), _count([sizes[c] for c in result]), width)


_RULES: dict[str, Callable[[Sweep, Expr], Rows | None]] = {
    "where": _where, "mul": _mul, "div": _div, "ratio": _div, "gather": _gather, "scatter_add": _scatter_add, "contract": _contract,
    "cumsum": _cumsum,
    **dict.fromkeys(("reshape", "transpose", "broadcast_to", "slice", "pad", "concatenate", "diagonal", "embed_diagonal"), _movement),
    **dict.fromkeys(("sum", "mean", "prod", "max", "min", "logsumexp", "norm"), _reduction),
    **dict.fromkeys(("softmax", "log_softmax"), _along_axis),
}  # fmt: skip
