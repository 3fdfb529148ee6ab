r"""LATEX INDEX: an expression at an index, as below a sum: ``\sum_{i} (X w - t)_{i}^{2}``.

:func:`at` makes a node of this notation alone; :func:`inward` moves the index to the operands, one node at a time,
where the reading becomes plainer: to the base of a power, the factors of a product, the two sides of a comparison.
"""

from __future__ import annotations

from collections.abc import Sequence

from symgrad import dims
from symgrad.expr import Expr, Op, intern_node
from symgrad.show.layout import inserted_or_dropped, seen

__all__ = ["ALL", "AT", "LETTER", "at", "inward", "summed"]

AT = Op(name="at", family="leaf")
LETTER = Op(name="letter", family="leaf")
ALL = ":"
_LETTERS = "ijklpqrs"


def at(x: Expr, index: Sequence[str]) -> Expr:
    """``x`` at ``index``, a letter or ``":"`` for each of its axes."""
    x = seen(x)
    if not x.shape or all(i == ALL for i in index):
        return x
    return intern_node(AT, (x,), {"index": tuple(index)}, _left(x, index), x.kind)


def _left(x: Expr, index: Sequence[str]) -> dims.Shape:
    return tuple(d for d, i in zip(x.shape, index, strict=True) if i == ALL)


def _operand(x: Expr, index: Sequence[str]) -> Expr:
    """An operand that is broadcast to the index's axes, at its own part of the index."""
    x = seen(x)
    own = list(index[len(index) - x.ndim :]) if x.ndim else []
    if x.op.name == "reshape":
        change = inserted_or_dropped(x.args[0].shape, x.shape)
        if change is not None and ("0" not in change or x.args[0].op.name == "slice"):
            waiting = iter(own)  # axes of size 1 that were put in have no index; those that were dropped have one
            letters = [("0" if c == "0" else next(waiting), c) for c in change]
            return at(x.args[0], [i for i, c in letters if c != "None"])
    return at(x, own)


def summed(x: Expr, axes: Sequence[int], outer: Sequence[str] = ()) -> tuple[list[str], Expr]:
    """Letters for the summed axes that neither the summand nor the index of the sum itself uses, and the summand at them."""
    axes = sorted(a % x.ndim for a in axes)
    taken = {*outer, *_nearby_names(x), *(name for d in x.shape for name in dims.names(d))}
    letters: dict[int, str] = {}
    first = 0 if outer else _sums_inside(x)
    for axis in axes:  # i the rows, j the columns
        wished = (_LETTERS[(axis + first) % len(_LETTERS)], *_LETTERS[first:], *_LETTERS, *(f"{c}'" for c in _LETTERS))
        free = [c for c in wished if c not in taken]
        letters[axis] = free[0]
        taken.add(free[0])
    rest = iter(outer)
    return list(letters.values()), at(x, [letters[k] if k in letters else next(rest, ALL) for k in range(x.ndim)])


_NEARBY = 100  # nodes
_SUMS = frozenset({"sum", "prod", "mean", "logsumexp"})


def _sums_inside(x: Expr) -> int:
    """How many sums over everything stand inside of each other: they have letters of their own."""
    depth: dict[Expr, int] = {}
    stack = [x]
    while stack and len(depth) < _NEARBY:
        node = stack[-1]
        if waiting := [a for a in node.args if a not in depth]:
            stack += waiting
            continue
        stack.pop()
        whole = node.op.name in _SUMS and len(node.params["axes"]) == node.args[0].ndim
        depth[node] = max((depth[a] for a in node.args), default=0) + whole
    return depth.get(x, 0)


def _nearby_names(x: Expr) -> set[str]:
    """The symbols of an expression, or of its nearest part if it is large: letters that would be confused with them stand near."""
    near: dict[Expr, None] = {}
    level = [x]
    while level and len(near) < _NEARBY:
        near.update(dict.fromkeys(level))
        level = [a for node in level for a in node.args if a not in near]
    return {n.name for n in near if n.op.name == "symbol"}


_POINTWISE = frozenset(
    "neg mul div pow square sqrt exp abs where sign equal less less_equal greater greater_equal not_equal "
    "logical_and logical_or logical_not".split()
)


def inward(x: Expr, index: Sequence[str]) -> Expr | None:
    """The same value with the index at the operands of ``x``; ``None`` where it stays outside."""
    name = x.op.name
    if name in _POINTWISE or (x.op.family == "elementwise" and name != "named" and _is_plain(x)):
        return intern_node(x.op, tuple(_operand(a, index) for a in x.args), dict(x.params), _left(x, index), x.kind)
    if name == "transpose" and ALL not in index:
        axes = [a % x.ndim for a in x.params["axes"]]
        return at(x.args[0], [index[axes.index(k)] for k in range(x.ndim)])
    if name in ("broadcast_to", "reshape"):
        moved = _operand(x.args[0] if name == "broadcast_to" else x, index)
        return moved if moved.op is not AT or moved.args[0] is not x else None
    if name == "slice" and all(i != ALL or str(start) == "0" for i, start in zip(index, x.params["starts"], strict=True)):
        if any(i == ALL and d != own for i, d, own in zip(index, x.args[0].shape, x.shape, strict=True)):
            return None
        return at(x.args[0], [_moved(i, *where) for i, *where in zip(index, x.params["starts"], x.params["steps"], strict=True)])
    if name == "arange" and index[0] != ALL:
        return intern_node(LETTER, (), {"name": index[0]}, (), "integer")
    return None


_PLAIN = 16  # nodes


def _is_plain(x: Expr) -> bool:
    """Whether there are symbols and what is done to each of their elements, no more than a few: ``cos(x - m)``."""
    waiting = [x]
    for _ in range(_PLAIN):
        if not waiting:
            return True
        node = seen(waiting.pop())
        if all(d == 1 for d in node.shape) or node.op.name in ("symbol", "arange", "slice"):
            continue
        if node.op.family != "elementwise":
            return False
        waiting += node.args
    return False


def _moved(index: str, start: dims.Dim, step: int) -> str:
    """The index before a slice: ``i+1`` for ``x[1:]``."""
    if index == ALL:
        return index
    if index.isdigit():
        return str(start) if index == "0" else str(dims.add(start, int(index) * step))
    scaled = index if step == 1 else f"-{index}" if step == -1 else f"{step}{index}"
    if str(start) == "0":
        return scaled
    return f"{start}{scaled}" if scaled.startswith("-") else f"{scaled}+{start}".replace("+-", "-")
