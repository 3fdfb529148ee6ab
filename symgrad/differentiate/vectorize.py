"""VECTORIZE: one formula for many values of a symbol at once, along extra leading axes.

Axes in the records are counted from the end, so most ops take leading axes as they are; shapes, slices and
contraction letters get theirs here. So a Jacobian is one vector product, written once, over all unit vectors.

Unit vectors are zero almost everywhere, and what is linear in them keeps much of that: a :class:`Stack` can say that a
leading axis is tied to an axis of the node, so that only the values where both indices agree are there. A product with
unit vectors then takes a row of the other operand, ``(eye(n) * d) @ W`` is ``d[:, None] * W``, and what is summed away is no loop.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from string import ascii_letters

from symgrad import dims
from symgrad.dims import Shape
from symgrad.expr import Expr, apply, constant, topological
from symgrad.ops.linear import canonical_spec, split_spec
from symgrad.ops.movement import BROADCAST_TO, EYE, do, reshape_to

__all__ = ["over_unit_vectors", "vectorize"]

Ties = tuple[int | None, ...]


@dataclass(frozen=True)
class Stack:
    """A node's values along leading axes, all zero but where the indices of tied axes agree.

    ties    for every leading axis the axis of the node, counted from the end, that it is tied to, or ``None``
    value   the leading axes that are not tied, then the node's own
    """

    value: Expr
    ties: Ties

    @property
    def tied(self) -> bool:
        """Whether values are left out."""
        return any(t is not None for t in self.ties)


def vectorize(roots: Sequence[Expr], stacked: Mapping[Expr, Expr], lead: Shape) -> list[Expr]:
    """The roots with symbols replaced by stacks of values: every result has the ``lead`` axes before its own.

    ``stacked``: symbol → expression of shape ``lead + symbol.shape``.
    """
    return _along(roots, {s: Stack(value, (None,) * len(lead)) for s, value in stacked.items()}, lead)


def over_unit_vectors(root: Expr, direction: Expr) -> Expr:
    """What is linear in the symbol ``direction``, for all of its unit vectors: the symbol's axes, then the root's own."""
    lead = direction.shape
    ones = apply(BROADCAST_TO, constant(1.0), shape=lead)
    # An axis of size 1 might be spread out, and then has no index to agree with.
    ties = tuple(None if d == 1 else k - len(lead) for k, d in enumerate(lead))
    stack = Stack(reshape_to(ones, _rest(lead, ties) + lead), ties)
    return _along([root], {direction: stack}, lead)[0]


def _along(roots: Sequence[Expr], given: Mapping[Expr, Stack], lead: Shape) -> list[Expr]:
    new = dict(given)
    for node in topological(*roots):
        if node not in new and any(a in new for a in node.args):
            new[node] = _stacked(node, [new.get(a) for a in node.args], lead)
    return [_filled(new[r], r, lead) if r in new else apply(BROADCAST_TO, r, shape=lead + r.shape) for r in roots]


def _stacked(node: Expr, stacks: Sequence[Stack | None], lead: Shape) -> Stack:
    rule = _TIED.get(node.op.name)
    kinds = {s.ties for s in stacks if s is not None}
    if rule is not None and len(kinds) == 1:
        (ties,) = kinds
        found = rule(node, stacks, ties, lead) if any(t is not None for t in ties) else None
        if found is not None:
            return found
    filled = [None if s is None else _filled(s, a, lead) for s, a in zip(stacks, node.args, strict=True)]
    return Stack(_vectorized(node, filled, lead), (None,) * len(lead))


def _rest(lead: Shape, ties: Ties) -> Shape:
    """The leading axes that are there."""
    return tuple(d for d, t in zip(lead, ties, strict=True) if t is None)


def _filled(stack: Stack, node: Expr, lead: Shape) -> Expr:
    """The values with the zeros between them."""
    if not stack.tied:
        return stack.value
    ndim = len(lead) + node.ndim
    spread = reshape_to(stack.value, tuple(d if t is None else 1 for d, t in zip(lead, stack.ties, strict=True)) + node.shape)
    if stack.ties == tuple(range(-node.ndim, 0)):
        size = dims.total(lead)
        return reshape_to(apply(EYE, rows=size, columns=size), lead + node.shape) * spread
    for k, tie in enumerate(stack.ties):
        if tie is not None:
            places = {k - ndim, tie}
            shape = tuple(lead[k] if place in places else 1 for place in range(-ndim, 0))
            spread = reshape_to(apply(EYE, rows=lead[k], columns=lead[k]), shape) * spread
    return spread


# --- ops on tied stacks: ``None`` where the zeros would not stay where they are ---------------------


def _values(stacks: Sequence[Stack | None]) -> list[Expr | None]:
    return [None if s is None else s.value for s in stacks]


def _same_ties(node: Expr, stacks: Sequence[Stack | None], ties: Ties, lead: Shape) -> Stack:
    return Stack(_vectorized(node, _values(stacks), _rest(lead, ties)), ties)


def _tied_sum(node: Expr, stacks: Sequence[Stack | None], ties: Ties, lead: Shape) -> Stack | None:
    """Terms that are zero on both sides add up to zero."""
    return _same_ties(node, stacks, ties, lead) if None not in stacks else None


def _tied_quotient(node: Expr, stacks: Sequence[Stack | None], ties: Ties, lead: Shape) -> Stack | None:
    return _same_ties(node, stacks, ties, lead) if stacks[1] is None else None


def _tied_choice(node: Expr, stacks: Sequence[Stack | None], ties: Ties, lead: Shape) -> Stack | None:
    """``where`` with zeros on the side that is not stacked."""
    sides = zip(stacks[1:], node.args[1:], strict=True)
    return _same_ties(node, stacks, ties, lead) if stacks[0] is None and all(s is not None or _is_zero(a) for s, a in sides) else None


def _is_zero(e: Expr) -> bool:
    while e.op.name in ("broadcast_to", "to_real", "reshape"):
        (e,) = e.args
    return e.op.name == "constant" and not e.shape and e.params["value"] == 0


def _tied_reshape(node: Expr, stacks: Sequence[Stack | None], ties: Ties, lead: Shape) -> Stack | None:
    """Axes of size 1 come and go."""
    (x,) = node.args
    before, after = ([k for k, d in enumerate(e.shape, -e.ndim) if d != 1] for e in (x, node))
    if [x.shape[k] for k in before] != [node.shape[k] for k in after]:
        return None
    moved = dict(zip(before, after, strict=True))
    return Stack(_same_ties(node, stacks, ties, lead).value, tuple(None if t is None else moved[t] for t in ties))


def _tied_transpose(node: Expr, stacks: Sequence[Stack | None], ties: Ties, lead: Shape) -> Stack:
    axes = node.params["axes"]
    return Stack(_same_ties(node, stacks, ties, lead).value, tuple(None if t is None else axes.index(t) - node.ndim for t in ties))


def _tied_total(node: Expr, stacks: Sequence[Stack | None], ties: Ties, lead: Shape) -> Stack:
    """A sum along a tied axis has one term: that axis becomes the leading one."""
    (stack,) = stacks
    (x,) = node.args
    assert stack is not None
    axes, keepdims = node.params["axes"], node.params["keepdims"]
    loose = [k for k in ties if k in axes]
    summed = tuple(k for k in axes if k not in loose)
    value = do("sum", stack.value, axes=summed, keepdims=False) if summed else stack.value
    own = [k for k in range(-x.ndim, 0) if k not in summed]  # of the node's operand, what is left
    there = iter(range(-value.ndim, -len(own)))  # the leading axes that the stack has
    front = [next(there) if t is None else own.index(t) - len(own) for t in ties if t is None or t in loose]
    after = tuple(None if t is None or t in loose else t if keepdims else t + sum(k > t for k in axes) for t in ties)
    order = (*front, *(own.index(k) - len(own) for k in own if k not in loose))
    moved = value if order == tuple(range(-value.ndim, 0)) else do("transpose", value, axes=order)
    return Stack(reshape_to(moved, _rest(lead, after) + node.shape), after)


def _tied_contract(node: Expr, stacks: Sequence[Stack | None], ties: Ties, lead: Shape) -> Stack | None:
    """An index that is summed over takes the value of the leading one that it is tied to."""
    if None not in stacks:
        return None
    left, right, result = split_spec(node.params["spec"])
    own = left if stacks[1] is None else right
    spare = iter(c for c in ascii_letters if c not in left + right)
    letters = [next(spare) if t is None else own[t] for t in ties]
    there = "".join(c for c, t in zip(letters, ties, strict=True) if t is None)
    after = tuple(None if t is None or c not in result else result.index(c) - len(result) for c, t in zip(letters, ties, strict=True))
    front = "".join(c for c, t in zip(letters, after, strict=True) if t is None)
    operands = [a if s is None else s.value for s, a in zip(stacks, node.args, strict=True)]
    left, right = (text if s is None else there + text for s, text in zip(stacks, (left, right), strict=True))
    return Stack(_product(operands[0], operands[1], left, right, front + result), after)


def _product(a: Expr, b: Expr, left: str, right: str, result: str) -> Expr:
    """A contraction; elementwise where nothing is summed and axes are shared."""
    if set(left) & set(right) and set(result) == set(left + right):
        return _lined_up(a, left, result) * _lined_up(b, right, result)
    return do("contract", a, b, spec=canonical_spec(left, right, result))


def _lined_up(e: Expr, letters: str, result: str) -> Expr:
    """The axes in the order of the result's, with axes of size 1 between them."""
    have = [c for c in result if c in letters]
    moved = e if "".join(have) == letters else do("transpose", e, axes=tuple(letters.index(c) - len(letters) for c in have))
    first = min(result.index(c) for c in have) if have else 0
    sizes = dict(zip(have, moved.shape, strict=True))
    return reshape_to(moved, tuple(sizes.get(c, 1) for c in result[first:]))


_TIED: dict[str, Callable[[Expr, Sequence[Stack | None], Ties, Shape], Stack | None]] = {
    "mul": _same_ties, "neg": _same_ties, "broadcast_to": _same_ties, "add": _tied_sum, "sub": _tied_sum, "div": _tied_quotient,
    "ratio": _tied_quotient,
    "where": _tied_choice, "reshape": _tied_reshape, "transpose": _tied_transpose, "sum": _tied_total, "contract": _tied_contract,
}  # fmt: skip


# --- ops on whole stacks ---------------------------------------------------------------------------


def _vectorized(node: Expr, stacks: Sequence[Expr | None], lead: Shape) -> Expr:
    rule = _RULES.get(node.op.name)
    if rule is not None:
        return rule(node, stacks, lead)
    operands = [s if s is not None else a for s, a in zip(stacks, node.args, strict=True)]
    if node.op.family == "elementwise" and node.op.shape is None:
        operands = [a if s is None else _with_rank(s, node.ndim, lead) for s, a in zip(stacks, operands, strict=True)]
    elif len(operands) > 1:
        raise NotImplementedError(f"op {node.op.name!r} cannot take leading axes: add a rule to symgrad/differentiate/vectorize.py")
    return apply(node.op, *operands, **node.params)


def _with_rank(stack: Expr, ndim: int, lead: Shape) -> Expr:
    """Axes of size 1 after the leading ones, so that the rest lines up with operands of ``ndim`` axes."""
    own = stack.shape[len(lead):]
    return reshape_to(stack, lead + (1,) * (ndim - len(own)) + own)


def _contract(node: Expr, stacks: Sequence[Expr | None], lead: Shape) -> Expr:
    left, right, result = split_spec(node.params["spec"])
    spare = "".join(c for c in ascii_letters if c not in left + right)[: len(lead)]
    letters = [spare + own if s is not None else own for s, own in zip(stacks, (left, right), strict=True)]
    operands = [s if s is not None else a for s, a in zip(stacks, node.args, strict=True)]
    return do("contract", *operands, spec=canonical_spec(letters[0], letters[1], spare + result))


def _only(stacks: Sequence[Expr | None]) -> Expr:
    (first, *others) = stacks
    if first is None or any(s is not None for s in others):
        raise NotImplementedError("an index cannot differ along leading axes")
    return first


def _reshape(node: Expr, stacks: Sequence[Expr | None], lead: Shape) -> Expr:
    return reshape_to(_only(stacks), lead + node.shape)


def _transpose(node: Expr, stacks: Sequence[Expr | None], lead: Shape) -> Expr:
    axes = node.params["axes"]
    front = tuple(range(-len(axes) - len(lead), -len(axes)))
    return do("transpose", _only(stacks), axes=front + axes)


def _broadcast_to(node: Expr, stacks: Sequence[Expr | None], lead: Shape) -> Expr:
    return do("broadcast_to", _with_rank(_only(stacks), node.ndim, lead), shape=lead + node.shape)


def _slice(node: Expr, stacks: Sequence[Expr | None], lead: Shape) -> Expr:
    p, k = node.params, len(lead)
    return do("slice", _only(stacks), starts=(0,) * k + p["starts"], stops=lead + p["stops"], steps=(1,) * k + p["steps"])


def _pad(node: Expr, stacks: Sequence[Expr | None], lead: Shape) -> Expr:
    zeros = (0,) * len(lead)
    return do("pad", _only(stacks), **{name: zeros + widths for name, widths in node.params.items()})


def _concatenate(node: Expr, stacks: Sequence[Expr | None], lead: Shape) -> Expr:
    parts = [s if s is not None else apply(BROADCAST_TO, a, shape=lead + a.shape) for s, a in zip(stacks, node.args, strict=True)]
    return do("concatenate", *parts, **node.params)


def _gather(node: Expr, stacks: Sequence[Expr | None], lead: Shape) -> Expr:
    return do("gather", _only(stacks), *node.args[1:], **node.params)


def _scatter_add(node: Expr, stacks: Sequence[Expr | None], lead: Shape) -> Expr:
    return do("scatter_add", _only(stacks), *node.args[1:], axes=node.params["axes"], shape=lead + node.params["shape"])


def _solve(node: Expr, stacks: Sequence[Expr | None], lead: Shape) -> Expr:
    """Right-hand sides of one matrix are columns of one more; else the leading axes broadcast."""
    (a, b), (of_a, of_b), vector = node.args, stacks, node.params["vector"]
    if of_a is None and of_b is not None and vector and a.ndim == 2:
        columns = reshape_to(of_b, (dims.total(lead), node.shape[-1]))
        solved = apply(node.op, a, _turned(columns), **{**node.params, "vector": False})
        return reshape_to(_turned(solved), lead + node.shape)
    rank = node.ndim if not vector else node.ndim + 1  # of a matrix with the node's stack
    first = a if of_a is None else _with_rank(of_a, rank, lead)
    second = b if of_b is None else _with_rank(of_b, node.ndim, lead)
    return apply(node.op, first, second, **node.params)


def _turned(x: Expr) -> Expr:
    return do("transpose", x, axes=(-1, -2))


_RULES: dict[str, Callable[[Expr, Sequence[Expr | None], Shape], Expr]] = {
    "solve": _solve, "solve_triangular": _solve,
    "contract": _contract, "reshape": _reshape, "transpose": _transpose, "broadcast_to": _broadcast_to, "slice": _slice,
    "pad": _pad, "concatenate": _concatenate, "gather": _gather, "scatter_add": _scatter_add,
}  # fmt: skip
