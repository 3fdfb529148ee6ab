"""VECTORIZE: one formula for many values of a symbol at once, along extra leading axes.

Axes in the records are counted from the end, so most ops take leading axes as they are; shapes, slices and
contraction letters get theirs here. So a Jacobian is one vector product, written once, over all unit vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from string import ascii_letters

from symgrad.dims import Shape
from symgrad.expr import Expr, apply, topological
from symgrad.ops.linear import canonical_spec, split_spec
from symgrad.ops.movement import BROADCAST_TO, do, reshape_to

__all__ = ["vectorize"]


def vectorize(roots: Sequence[Expr], stacked: Mapping[Expr, Expr], lead: Shape) -> list[Expr]:
    """The roots with symbols replaced by stacks of values: every result has the ``lead`` axes before its own.

    ``stacked``: symbol → expression of shape ``lead + symbol.shape``.
    """
    new: dict[Expr, Expr] = dict(stacked)
    for node in topological(*roots):
        if node not in new and any(a in new for a in node.args):
            new[node] = _vectorized(node, [new.get(a) for a in node.args], lead)
    return [new[r] if r in new else apply(BROADCAST_TO, r, shape=lead + r.shape) for r in roots]


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


_RULES: dict[str, Callable[[Expr, Sequence[Expr | None], Shape], Expr]] = {
    "contract": _contract, "reshape": _reshape, "transpose": _transpose, "broadcast_to": _broadcast_to, "slice": _slice,
    "pad": _pad, "concatenate": _concatenate, "gather": _gather, "scatter_add": _scatter_add,
}  # fmt: skip
