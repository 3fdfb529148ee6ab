"""SUMS: like terms added up, numbers too.

Sound: the parentheses of a sum stay, since what is in them may cancel: ``x + (x + (y - z))`` is ``2*x + (y - z)``, not
``2*x + y - z``, in which ``x`` is lost beside a large ``y``. And two terms are added only where one of them is an operand
of the sum that holds them both: ``(x - y) + (2*x - z)`` is exact where both differences cancel, ``3*x - y - z`` rounds ``3*x``.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from typing import NamedTuple

from symgrad.expr import CONSTANT, Expr, constant
from symgrad.simplify.chains import chain
from symgrad.simplify.rewriting import do, fit, number, see
from symgrad.simplify.terms import ADDABLE, SUM, Number, Pass, is_moderate, plus

__all__ = ["collect_sum"]


class _Step(NamedTuple):
    """A part of a sum, its operands before it. ``is_term``: it is not taken apart; ``sign``: with which it counts."""

    sign: int
    part: Expr
    is_term: bool


def collect_sum(run: Pass, new: Expr) -> Expr:
    """A sum with its like terms added up."""
    if new.op.name not in SUM or _are_unlike(new.args):
        return new
    steps = _steps(new, run.parts)
    changed = _added_up([s for s in steps if s.is_term], _beside(steps))
    if not changed:
        return new
    sign, total = _rebuilt(steps, changed)
    result = fit(_negative(total) if sign < 0 else total, new)
    return new if result is None else run.note("add like terms", new, result)


def _are_unlike(args: Sequence[Expr]) -> bool:
    """Whether a sum has one or two terms that plainly cannot be added up: the usual case, seen at a glance."""
    rests = []
    for e in args:
        name = e.op.name
        if name in SUM:
            return False
        rests.append(e.args[1] if name == "mul" and e.args[0].op is CONSTANT else e)
    if len(rests) < 2:
        return True
    names = {e.op.name for e in rests}
    return rests[0] is not rests[1] and names not in _ALIKE and names.isdisjoint(("named", "nonnegative"))


_ALIKE = ({"mul"}, {"constant"}, {"contract"})


def _steps(root: Expr, inside: Collection[Expr]) -> list[_Step]:
    """The sum taken apart, through nodes that nobody else uses."""
    steps: list[_Step] = []
    stack = [(1, root, False)]
    while stack:
        sign, e, entered = stack.pop()
        opened = e.op.name in SUM and (e is root or e in inside) and e.shape == root.shape and e.kind == root.kind
        if entered or not opened:
            steps.append(_Step(sign, e, not opened))
            continue
        stack.append((sign, e, True))
        if e.op.name == "neg":
            stack.append((-sign, e.args[0], False))
        else:
            stack.append((sign if e.op.name == "add" else -sign, e.args[1], False))
            stack.append((sign, e.args[0], False))
    return steps


def _beside(steps: Sequence[_Step]) -> list[range]:
    """For each term, counted from left to right, the terms in the other operand of the sum or difference that it is an operand of."""
    beside: list[range] = []
    operands: list[range] = []
    for _, part, is_term in steps:
        if is_term:
            operands.append(range(len(beside), len(beside) + 1))
            beside.append(range(0))
        elif part.op.name != "neg":
            right, left = operands.pop(), operands.pop()
            if len(left) == 1:
                beside[left.start] = right
            if len(right) == 1:
                beside[right.start] = left
            operands.append(range(left.start, right.stop))
    return beside


# --- like terms -----------------------------------------------------------------------------------------


def _split(term: Expr) -> tuple[Number, Expr]:
    """A term as a number times the rest."""
    value = number(term)
    if value is not None and not term.shape and abs(value) < ADDABLE:
        return value, constant(1)
    if term.op.name == "mul":
        value = number(term.args[0])
        if value is not None and term.args[1].shape == term.shape and is_moderate(value):
            return value, term.args[1]
    return 1, term


def _same_product(e: Expr) -> Hashable:
    """A key under which ``a*b`` and ``b*a`` are one term, ``(A @ B) @ C`` and ``A @ (B @ C)`` are, and all numbers."""
    if e.op.name == "constant" and not e.shape:
        return 1
    e = see(e)
    if e.op.name == "contract":
        return tuple(chain(e))
    return frozenset(e.args) if e.op.name == "mul" else e


def _added_up(terms: Sequence[_Step], beside: Sequence[range]) -> dict[int, tuple[Number, Expr] | None]:
    """What becomes of terms, by their place: the first of like ones is a multiple, and those added to it (or all) are gone."""
    found: dict[Hashable, list[int]] = {}
    scales: list[Number] = []
    rests: list[Expr] = []
    changed: dict[int, tuple[Number, Expr] | None] = {}
    for k, (sign, term, _) in enumerate(terms):
        scale, rest = _split(term)
        scales.append(scale * sign)
        rests.append(rest)
        same = found.setdefault(_same_product(rest), [])
        for j in {*same[:1], *same[-1:]}:
            total = plus(scales[j], scales[k]) if rests[j].shape == rest.shape and (j in beside[k] or k in beside[j]) else None
            if total is not None:
                scales[j] = total
                changed[j], changed[k] = (total, rests[j]) if total else None, None
                break
        else:
            same.append(k)
    return changed


def _rebuilt(steps: Sequence[_Step], changed: Mapping[int, tuple[Number, Expr] | None]) -> tuple[int, Expr]:
    """The sum, as it was where nothing has changed, with its sign."""
    operands: list[tuple[int, Expr] | None] = []
    untouched: list[bool] = []
    place = 0
    for sign, part, is_term in steps:
        if is_term:
            untouched.append(place not in changed)
            operands.append(_term(sign, changed[place]) if place in changed else (1, part))
            place += 1
            continue
        same = [untouched.pop() for _ in part.args]
        below = [operands.pop() for _ in part.args][::-1]
        untouched.append(all(same))
        operands.append((1, part) if all(same) else _joined(part.op.name, below))
    return operands[0] or (1, constant(0))


def _term(sign: int, scaled: tuple[Number, Expr] | None) -> tuple[int, Expr] | None:
    """What stands for a term that counts with this sign: a number times something that has taken that sign in."""
    if scaled is None:
        return None
    scale, rest = scaled
    outside = sign if scale > 0 else -sign
    if rest.op.name == "constant" and number(rest) == 1 and not rest.shape:
        return outside, constant(abs(scale))
    return outside, rest if abs(scale) == 1 else do("mul", constant(abs(scale)), rest)


def _negative(total: Expr) -> Expr:
    """``-x - y``, not ``-(x + y)``."""
    return do("sub", do("neg", total.args[0]), total.args[1]) if total.op.name == "add" else do("neg", total)


def _joined(op: str, operands: Sequence[tuple[int, Expr] | None]) -> tuple[int, Expr] | None:
    """A sum, difference or negative of what is left of its operands; ``None`` where nothing is."""
    if op != "add" and (last := operands[-1]) is not None:
        operands = [*operands[:-1], (-last[0], last[1])]
    left = [o for o in operands if o is not None]
    if len(left) < 2:
        return left[0] if left else None
    (a, x), (b, y) = left
    if a == b:
        return a, do("add", x, y)
    return (1, do("sub", x, y)) if a > 0 else (1, do("sub", y, x))
