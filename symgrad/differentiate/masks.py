"""Masks: where an adjoint counts.

``where(c, a, b)`` sends ``g`` to ``a`` where ``c`` holds and to ``b`` elsewhere. Zeros would do that, were it not
for rules that multiply by infinity further down: the gradient of ``where(x > 0, log(x)**2, 0)`` at 0 would be
``0*inf``. So an adjoint keeps ``g`` as it is and carries a mask beside it: a conjunction of conditions with
their polarity. Rules run unmasked; where adjoints are added, reduced or contracted the mask is applied, and
it travels on, to be applied again to what rules further down make of the zeros.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import NamedTuple

from symgrad.expr import CONSTANT, Expr
from symgrad.ops.movement import do, reshape_to

__all__ = ["Adjoint", "Mask", "any_over", "applied", "combine", "condition_of", "padded"]

Literal = tuple[Expr, bool]  # a condition and whether it must hold; its shape broadcasts to the adjoint's
Mask = tuple[Literal, ...]  # all of them; () masks nothing


class Adjoint(NamedTuple):
    """The adjoint is ``g`` where the mask holds and 0 elsewhere; ``clean``: ``g`` itself is 0 there already."""

    g: Expr
    mask: Mask = ()
    clean: bool = True


def condition_of(mask: Mask) -> Expr:
    """The mask as one boolean expression."""
    condition: Expr | None = None
    for test, holds in mask:
        literal = test if holds else do("logical_not", test)
        condition = literal if condition is None else do("logical_and", condition, literal)
    assert condition is not None, "an empty mask has no condition"
    return condition


def applied(adjoint: Adjoint) -> Expr:
    """The adjoint itself, zeros where it is masked."""
    if adjoint.clean or not adjoint.mask:
        return adjoint.g
    if len(adjoint.mask) == 1 and not adjoint.mask[0][1]:
        return do("where", adjoint.mask[0][0], 0, adjoint.g)
    return do("where", condition_of(adjoint.mask), adjoint.g, 0)


def add_up(terms: Sequence[Expr]) -> Expr:
    """The sum in order; of many terms in pairs, so that neither depth nor rounding grows with their number."""
    level = list(terms)
    while len(level) > 8:
        level = [do("add", *level[i : i + 2]) if i + 1 < len(level) else level[i] for i in range(0, len(level), 2)]
    total = level[0]
    for term in level[1:]:
        total = do("add", total, term)
    return total


_mask_of = attrgetter("mask")


def combine(contributions: Sequence[Adjoint]) -> Adjoint:
    """The sum of adjoints of one node, in order.

    Equal masks add unmasked; ``c`` and ``not c`` make one ``where(c, g1, g2)``; others are applied, added, and united.
    """
    if len(contributions) == 1:
        return contributions[0]
    if not any(map(_mask_of, contributions)):
        return Adjoint(add_up([a.g for a in contributions]))
    grouped: dict[Mask, list[Adjoint]] = {}
    for adjoint in contributions:
        grouped.setdefault(adjoint.mask, []).append(adjoint)
    groups = {mask: Adjoint(add_up([a.g for a in same]), mask, all(a.clean for a in same)) for mask, same in grouped.items()}
    if any(groups):
        groups = _joined_complements(groups)
    if len(groups) == 1:
        return next(iter(groups.values()))
    total = add_up([applied(a) for a in groups.values()])
    if () in groups:
        return Adjoint(total)
    union: Expr | None = None
    for mask in groups:
        condition = condition_of(mask)
        union = condition if union is None else do("logical_or", union, condition)
    assert union is not None
    return Adjoint(total, ((union, True),), clean=True)


def _joined_complements(groups: dict[Mask, Adjoint]) -> dict[Mask, Adjoint]:
    """Pairs of masks that differ in the polarity of the last condition, joined; the longest first."""
    waiting = sorted((m for m in groups if m), key=len, reverse=True)
    while waiting:
        mask = waiting.pop(0)
        (test, holds), rest = mask[-1], mask[:-1]
        other = (*rest, (test, not holds))
        if mask not in groups or other not in groups:
            continue
        position = list(groups).index(mask)
        first, second = groups[(*rest, (test, True))], groups[(*rest, (test, False))]
        joined = Adjoint(do("where", test, first.g, second.g), rest, first.clean and second.clean)
        if rest in groups:
            joined = Adjoint(do("add", groups[rest].g, joined.g), rest, groups[rest].clean and joined.clean)
            groups = {m: joined if m == rest else a for m, a in groups.items() if m not in (mask, other)}
        else:
            items = [(m, a) for m, a in groups.items() if m != other]
            items[min(position, list(groups).index(other))] = (rest, joined)
            groups = dict(items)
            if rest:
                waiting.append(rest)
    return groups


def padded(condition: Expr, ndim: int) -> Expr:
    """The condition with leading axes of size 1, so that it has ``ndim`` axes."""
    return reshape_to(condition, (1,) * (ndim - condition.ndim) + condition.shape)


def any_over(condition: Expr, axes: Sequence[int]) -> Expr:
    """Whether the condition holds anywhere along the axes (negative), which stay as axes of size 1."""
    wide = tuple(a for a in axes if condition.shape[a] != 1)
    return do("max", condition, axes=wide, keepdims=True) if wide else condition


def is_finite_constant(expr: Expr) -> bool:
    """A constant that turns no zero into NaN."""
    if expr.op is not CONSTANT:
        return False
    value = expr.params["value"]
    return bool((abs(value) < float("inf")).all()) if expr.shape else abs(value) < float("inf")
