"""The reverse sweep: from the adjoint of a result to the adjoints of what it is made of.

Nodes are visited once, users before operands. A node's adjoint is the sum of what its users sent; its record's
rule turns it into one contribution an operand, and the sweep (not the rule) sums over the axes along which
the operand was broadcast. Masks (``masks.py``) pass each family of ops in a way of its own: :data:`_PASS`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from symgrad import dims
from symgrad.differentiate.masks import Adjoint, Mask, any_over, applied, combine, condition_of, is_finite_constant, padded
from symgrad.errors import ShapeError
from symgrad.expr import Expr, Op, apply, constant, topological
from symgrad.ops.linear import canonical_spec, split_spec
from symgrad.ops.movement import BROADCAST_TO, do, reshape_to

__all__ = ["active_nodes", "pull_back", "rule_entries"]

_FILES = {
    "elementwise": "elementwise*.py", "reduce": "reduce.py", "composite": "reduce.py", "contract": "linear.py", "movement": "movement.py",
    "matrix": "linalg.py",
}  # fmt: skip


def rule_entries(node: Expr, g: Expr) -> Sequence[Expr | None]:
    """What the node's derivative rule gives for the adjoint ``g``: one entry an operand."""
    op = node.op
    if op.derivative is None:
        raise NotImplementedError(
            f"op {op.name!r} has no derivative: add a rule to its record in symgrad/ops/{_FILES.get(op.family, '')} "
            "or to its sg.define_op call"
        )
    entries = op.derivative(g, node, *node.args, **node.params)
    if not isinstance(entries, (tuple, list)) or len(entries) != len(node.args):
        count = len(entries) if isinstance(entries, (tuple, list)) else type(entries).__name__
        raise ValueError(
            f"the derivative of op {op.name!r} gave {count} entries for {len(node.args)} operands: "
            f"correct its record in symgrad/ops/{_FILES.get(op.family, '')} or its sg.define_op call"
        )
    return entries


def active_nodes(order: Sequence[Expr], wrt: Collection[Expr]) -> set[Expr]:
    """The nodes through which a change of ``wrt`` passes: real ones, none behind ``stop_gradient``."""
    active: set[Expr] = set()
    for node in order:
        passes = not active.isdisjoint(node.args) and node.kind == "real" and node.op.name != "stop_gradient"
        if passes or node in wrt:
            active.add(node)
    return active


def pull_back(
    seeds: Sequence[tuple[Expr, Expr]], wrt: Sequence[Expr], tidy: Callable[[Expr], Expr] | None = None
) -> list[Expr | None]:  # fmt: skip
    """The adjoint of each node of ``wrt``, given those of the results; ``None`` where none arrives.

    ``tidy``: what is done to each node's adjoint before it is passed on. Of a large formula, half of the nodes that the sweep
    makes would otherwise be made once more when the result is simplified.
    """
    order = topological(*[y for y, _ in seeds])
    targets = set(wrt)
    active = active_nodes(order, targets)
    waiting: dict[Expr, list[Adjoint]] = {}
    for y, g in reversed(seeds):
        waiting.setdefault(y, []).append(Adjoint(g))
    arrived: dict[Expr, Expr] = {}
    for node in reversed(order):
        if node not in active or node not in waiting:
            continue
        adjoint = combine(waiting.pop(node)[::-1])  # they came from the last user first
        if tidy is not None:
            adjoint = Adjoint(_as_real(tidy(adjoint.g)), adjoint.mask, adjoint.clean)
        if node in targets:
            arrived[node] = _in_shape(applied(adjoint), node)
        if not active.isdisjoint(node.args):
            for operand, contribution in zip(reversed(node.args), reversed(_pass_on(node, adjoint)), strict=True):
                if contribution is not None and operand in active:
                    waiting.setdefault(operand, []).append(contribution)
    return [arrived.get(node) for node in wrt]


def _as_real(g: Expr) -> Expr:
    """Simplified numbers may be whole ones; what is derived from them need not."""
    return g if g.kind == "real" else constant(float(g))


def _in_shape(g: Expr, node: Expr) -> Expr:
    """A named dimension may have met a literal on the way: the adjoint has the node's shape again."""
    return reshape_to(g, node.shape)


def _pass_on(node: Expr, adjoint: Adjoint) -> list[Adjoint | None]:
    """A node's adjoint as contributions to its operands, summed to their shapes."""
    if node.op.name == "where":
        sent = _pass_where(node, adjoint)
    elif not adjoint.mask:
        sent = [None if e is None else Adjoint(e) for e in rule_entries(node, adjoint.g)]
    else:
        by_name, by_family = _PASS.get(node.op.name), _PASS.get(node.op.family)
        sent = (by_name or by_family or _pass_unmasked)(node, adjoint)
    return [a if a is None or a.g.shape == x.shape else _unbroadcast(a, x, node.op) for a, x in zip(sent, node.args, strict=True)]


def _unbroadcast(adjoint: Adjoint, operand: Expr, op: Op) -> Adjoint:
    """Summed over the axes along which the operand was stretched, if that is why its shape is another one."""
    g, shape = adjoint.g, operand.shape
    extra = g.ndim - len(shape)
    if extra < 0 or any(have == 1 != want for have, want in zip(g.shape[extra:], shape, strict=True)):
        try:
            return Adjoint(apply(BROADCAST_TO, g, shape=shape), adjoint.mask, adjoint.clean)
        except ShapeError as error:
            message = f"the derivative of op {op.name!r} has shape {dims.format_shape(g.shape)}, its operand {dims.format_shape(shape)}"
            raise ShapeError(message) from error
    axes = tuple(k - g.ndim for k in range(g.ndim) if k < extra or (shape[k - extra] == 1 != g.shape[k]))
    if not axes:  # the same axes; a name met a literal
        return adjoint
    total = do("sum", applied(adjoint), axes=axes, keepdims=not extra)
    total = reshape_to(total, tuple(1 if k + extra - g.ndim in axes else g.shape[k + extra] for k in range(len(shape))))
    if not adjoint.mask:
        return Adjoint(total)
    condition = any_over(padded(condition_of(adjoint.mask), g.ndim), axes)
    return Adjoint(total, ((reshape_to(condition, condition.shape[extra:]), True),), clean=True)


# --- how masks pass an op --------------------------------------------------------------------------
# Each function gives, for a node and its masked adjoint, the contributions to the operands.

_Passed = list[Adjoint | None]
_ZEROS_STAY = frozenset({"neg", "add", "sub", "named", "to_real"})


def _pass_where(node: Expr, adjoint: Adjoint) -> _Passed:
    condition = node.args[0]
    return [None, *[Adjoint(adjoint.g, (*adjoint.mask, (condition, holds)), clean=False) for holds in (True, False)]]


def _pass_elementwise(node: Expr, adjoint: Adjoint) -> _Passed:
    """Rules run unmasked; the mask stays as it is."""
    scaled = node.op.name in ("mul", "div") and is_finite_constant(node.args[1])
    clean = adjoint.clean and (node.op.name in _ZEROS_STAY or scaled)
    return [None if e is None else Adjoint(e, adjoint.mask, clean) for e in rule_entries(node, adjoint.g)]


def _pass_unmasked(node: Expr, adjoint: Adjoint) -> _Passed:
    """For ops whose structure is unknown: the mask is applied and ends here."""
    return [None if e is None else Adjoint(e) for e in rule_entries(node, applied(adjoint))]


def _pass_reduction(node: Expr, adjoint: Adjoint) -> _Passed:
    """The adjoint is repeated along the reduced axes, and so is the mask."""
    x, axes = node.args[0], node.params["axes"]

    def kept(condition: Expr) -> Expr:
        if node.params["keepdims"]:
            return condition
        sizes = iter(padded(condition, node.ndim).shape)
        return reshape_to(condition, tuple(1 if k in axes else next(sizes) for k in range(-x.ndim, 0)))

    mask = tuple((kept(test), holds) for test, holds in adjoint.mask)
    return [None if e is None else Adjoint(e, mask, adjoint.clean and node.op.linear) for e in rule_entries(node, adjoint.g)]


def _pass_along_axis(node: Expr, adjoint: Adjoint) -> _Passed:
    """softmax, log_softmax: the rule sums along the axis; a row counts where any of it does."""
    condition = any_over(padded(condition_of(adjoint.mask), node.ndim), (node.params["axis"],))
    return [None if e is None else Adjoint(e, ((condition, True),), clean=False) for e in rule_entries(node, applied(adjoint))]


def _pass_cumsum(node: Expr, adjoint: Adjoint) -> _Passed:
    """An element counts where any later (earlier, if reversed) one does."""
    counts = do("where", _full(adjoint.mask, node), 1, 0)
    (running,) = rule_entries(node, counts)
    (entry,) = rule_entries(node, applied(adjoint))
    assert running is not None and entry is not None
    return [Adjoint(entry, ((do("greater", running, 0), True),), clean=True)]


def _full(mask: Mask, node: Expr) -> Expr:
    condition = condition_of(mask)
    return condition if condition.shape == node.shape else apply(BROADCAST_TO, condition, shape=node.shape)


def _pass_permutation(node: Expr, adjoint: Adjoint) -> _Passed:
    """reshape, transpose: every condition moves as the adjoint does."""
    mask = tuple((_moved(node, _full(((test, True),), node)), holds) for test, holds in adjoint.mask)
    return [None if e is None else Adjoint(e, mask, adjoint.clean) for e in rule_entries(node, adjoint.g)]


def _moved(node: Expr, condition: Expr) -> Expr:
    (entry,) = rule_entries(node, condition)
    assert entry is not None
    return entry


def _pass_broadcast(node: Expr, adjoint: Adjoint) -> _Passed:
    return [Adjoint(adjoint.g, adjoint.mask, adjoint.clean)]  # summed by the sweep


def _pass_movement(node: Expr, adjoint: Adjoint) -> _Passed:
    """slice, pad, concatenate, diagonal: what the adjoint places zeros into is masked."""
    moved = rule_entries(node, _full(adjoint.mask, node))
    entries = rule_entries(node, adjoint.g)
    return [None if e is None or m is None else Adjoint(e, ((m, True),), adjoint.clean) for e, m in zip(entries, moved, strict=True)]


def _pass_gather(node: Expr, adjoint: Adjoint) -> _Passed:
    """The adjoint is added up at its places, after the mask; a place counts where anything arrives."""
    counts = rule_entries(node, do("where", _full(adjoint.mask, node), 1, 0))[0]
    entry = rule_entries(node, applied(adjoint))[0]
    assert counts is not None and entry is not None
    return [Adjoint(entry, ((do("greater", counts, 0), True),), clean=True), *[None] * (len(node.args) - 1)]


def _pass_scatter(node: Expr, adjoint: Adjoint) -> _Passed:
    """The adjoint is gathered, and so is the mask."""
    moved, entry = rule_entries(node, _full(adjoint.mask, node))[0], rule_entries(node, adjoint.g)[0]
    assert moved is not None and entry is not None
    return [Adjoint(entry, ((moved, True),), adjoint.clean), *[None] * (len(node.args) - 1)]


def _pass_contract(node: Expr, adjoint: Adjoint) -> _Passed:
    """Where the mask varies along an axis that is summed now, its zeros are applied to both factors."""
    left, right, result = split_spec(node.params["spec"])
    condition = padded(condition_of(adjoint.mask), node.ndim)
    varying = {c for c, size in zip(result, condition.shape, strict=True) if size != 1}
    sent: _Passed = []
    for own, letters, other, other_letters in ((node.args[0], left, node.args[1], right), (node.args[1], right, node.args[0], left)):
        if own.kind != "real":
            sent.append(None)
            continue
        summed = varying & (set(result) - set(letters))
        own_condition = _reordered(condition, result, letters)
        if not summed:
            entry = _contract_entry(adjoint.g, result, other, other_letters, letters, own is node.args[0])
            sent.append(Adjoint(entry, ((own_condition, True),), adjoint.clean and is_finite_constant(other)))
            continue
        if not is_finite_constant(other):
            other = do("where", _reordered(condition, result, other_letters), other, 0)
        entry = _contract_entry(applied(adjoint), result, other, other_letters, letters, own is node.args[0])
        sent.append(Adjoint(entry, ((own_condition, True),), clean=True))
    return sent


def _contract_entry(g: Expr, result: str, other: Expr, other_letters: str, letters: str, own_is_left: bool) -> Expr:
    if own_is_left:
        return do("contract", g, other, spec=canonical_spec(result, other_letters, letters))
    return do("contract", other, g, spec=canonical_spec(other_letters, result, letters))


def _reordered(condition: Expr, have: str, want: str) -> Expr:
    """The condition on axes ``have`` as one on axes ``want``: any along those that go, size 1 along those that come."""
    gone = tuple(k - len(have) for k, c in enumerate(have) if c not in want)
    condition = any_over(condition, gone)
    kept = [c for c in have if c in want]
    condition = reshape_to(condition, tuple(condition.shape[have.index(c)] for c in kept))
    order = [c for c in want if c in have]
    if order != kept:
        condition = do("transpose", condition, axes=tuple(kept.index(c) - len(kept) for c in order))
    sizes = dict(zip(order, condition.shape, strict=True))
    return reshape_to(condition, tuple(sizes.get(c, 1) for c in want))


_PASS: dict[str, Callable[[Expr, Adjoint], _Passed]] = {
    "elementwise": _pass_elementwise,
    "sum": _pass_reduction, "mean": _pass_reduction, "prod": _pass_reduction, "max": _pass_reduction, "min": _pass_reduction,
    "logsumexp": _pass_reduction, "norm": _pass_reduction,
    "softmax": _pass_along_axis, "log_softmax": _pass_along_axis,
    "cumsum": _pass_cumsum,
    "reshape": _pass_permutation, "transpose": _pass_permutation,
    "broadcast_to": _pass_broadcast, "movement": _pass_movement, "gather": _pass_gather, "scatter_add": _pass_scatter,
    "contract": _pass_contract,
}  # fmt: skip
