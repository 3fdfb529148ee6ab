"""COLLECT: products as wholes: constants gathered; and the pass over all nodes, in which like terms are added (``sums``).

A sum (or product) is taken apart only through nodes that nobody else uses. What the user wrote keeps its order and
its shape unless something in it cancels or adds up.

Sound: a constant moves only if it is moderate; constants are merged only where their product is exact, also as a
decimal (``2*0.1``); factors keep the order in which they were multiplied.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import NamedTuple

from symgrad.expr import Expr, constant
from symgrad.simplify.engine import RuleBook
from symgrad.simplify.rewriting import BOTH, Application, Pattern, do, fit, number, with_args
from symgrad.simplify.sums import collect_sum
from symgrad.simplify.terms import LOOK_AT_MOST, PRODUCT, SUM, Number, Pass, Survey, is_moderate, times

__all__ = ["collect"]

_SHARED_LEVELS = 3  # multiples that others use, one directly in another


def collect(
    survey: Survey, written: Mapping[Expr, Expr | None], record: list[Application] | None, late: RuleBook
) -> tuple[list[Expr], dict[Expr, Expr | None]]:
    """Constants gathered, like terms added, in every sum and product below the roots.

    ``written``: the nodes in the user's order, with what the user wrote for them (``None`` where that has been
    simplified); returned for the new nodes, too. ``late``: rules for nodes whose operand nobody else uses.
    """
    run = Pass(survey, written, record)
    new_of, inside = run.new, run.inside
    kept: dict[Expr, Expr | None] = {}
    changed: set[Expr] = set()
    moved = False  # whether a node has become another
    for node in run.order:
        new = plain = with_args(node, [new_of[a] for a in node.args]) if moved else node
        name = node.op.name
        if name in PRODUCT and node not in inside:
            new = _collect_product(run, node, new)
        if name in SUM and node not in inside:
            new = collect_sum(run, new)
        if name in late.names and new.op is node.op:
            new = _apply_late(run, node, new, late)
        run.became(node, new)
        moved = moved or new is not node
        if new is not plain or not changed.isdisjoint(node.args):
            changed.add(node)
        if node in written:
            kept[new] = None if node in changed else written[node]
    return [new_of[r] for r in survey.roots], kept


def _apply_late(run: Pass, node: Expr, new: Expr, late: RuleBook) -> Expr:
    for rule in late.worth_trying(new):
        if rule.late is not None and _is_alone(run, node, rule.late):
            result = rule.rewrite(new, commute=False) if isinstance(rule, Pattern) else rule.rewrite(new)
            fitting = None if result is None else fit(result, new)
            if fitting is not None:
                return run.note(rule.name, new, fitting)
    return new


def _is_alone(run: Pass, node: Expr, late: int) -> bool:
    """Whether nobody else uses the operand that a rule takes apart."""
    if late != BOTH:
        return run.uses[node.args[late]] == 1
    terms = [a.args[0] if a.op.name == "neg" else a for a in node.args]
    scaled = [a.args[1] for a in terms if a.op.name == "mul" and not a.args[0].shape]
    return all(run.uses[a] == 1 for a in (*node.args, *terms, *scaled))


# --- products -------------------------------------------------------------------------------------------


class _Scaled(NamedTuple):
    """``top/bottom * rest``; ``rest`` is ``None`` for 1."""

    top: Number
    bottom: Number
    rest: Expr | None
    constants: int  # how many went into it


def _collect_product(run: Pass, node: Expr, new: Expr) -> Expr:
    """All constants of a product as one, in front."""
    for a in new.args:
        if a.op.name in PRODUCT:
            break
    else:  # one number at most: of two there would be one
        return new
    opened = _opened(run, node, new)
    if not _has_two_constants(opened):
        return new
    scaled = _scaled(new, opened)
    if cancelled := _cancelling_divisions(scaled):
        scaled = _scaled(new, _opened(run, node, new, cancelled))
    left = (scaled.top < 0) + (abs(scaled.top) != 1) + (scaled.bottom != 1)
    if scaled.constants < 2 or left >= scaled.constants or new.op.name not in PRODUCT:
        return new
    result = fit(_with_factor(scaled.top, scaled.bottom, scaled.rest), new)
    return new if result is None else run.note("gather constants", new, result)


def _opened(run: Pass, node: Expr, root: Expr, also: Collection[Expr] = ()) -> set[Expr]:
    """The parts of a product that are taken apart with it; ``also``: more nodes to be opened.

    What the user wrote stays whole inside of what the sweep made, since the value uses it too. A multiple that others
    use is in normal form already: its number is found at once, and nothing is looked for behind it.
    """
    mine, opened = node in run.written, set[Expr]()
    stack = [(root, 0)] if root.op.name in PRODUCT else []
    while stack:
        e, shared = stack.pop()
        if e in opened or e.shape != root.shape:
            continue
        owned = e is root or (not shared and e in run.parts and (mine or run.parts[e] not in run.written))
        if owned or e in also or (shared < _SHARED_LEVELS and _is_multiple(e)):
            opened.add(e)
            level = shared if owned else shared + 1
            stack += [(a, level) for a in e.args if a.op.name in PRODUCT]
    return opened


def _has_two_constants(opened: Collection[Expr]) -> bool:
    count = 0
    for e in opened:
        count += e.op.name == "neg"
        for a in e.args:
            divided = a not in opened and a.op.name == "div" and a.args[1].op.name == "mul"
            count += a.op.name == "constant" or (divided and number(a.args[1].args[0]) is not None)
    return count >= 2


def _cancelling_divisions(scaled: _Scaled) -> frozenset[Expr]:
    """Quotients such as ``x/(2*y)`` whose number cancels with the one in front: ``2*(x/(2*y))`` costs what ``x/y`` does."""
    top, found = scaled.top, list[Expr]()
    stack = [scaled.rest] if isinstance(top, int) and abs(top) > 1 and scaled.rest is not None else []
    for _ in range(LOOK_AT_MOST):
        if not stack:
            break
        e = stack.pop()
        if e.op.name == "div" and e.args[1].op.name == "mul" and isinstance(value := number(e.args[1].args[0]), int) and abs(value) > 1:
            if top % value == 0:
                found.append(e)
                top //= value
        elif e.op.name in ("mul", "div"):
            stack.extend(reversed(e.args) if e.op.name == "mul" else e.args[:1])
    return frozenset(found)


def _scaled(root: Expr, opened: Collection[Expr]) -> _Scaled:
    """The constants of a product and the product of the rest, associated as it was."""
    done: dict[Expr, _Scaled] = {}
    stack = [root]
    while stack:
        e = stack[-1]
        if e in done:
            stack.pop()
            continue
        parts = e.args if e in opened else ()
        if missing := [a for a in parts if a not in done]:
            stack.extend(missing)
            continue
        stack.pop()
        done[e] = _scaled_step(e, [done[a] for a in parts])
    return done[root]


def _is_multiple(e: Expr) -> bool:
    """A number times something is opened even if others use it: they still do, and nothing more is computed."""
    return e.op.name == "neg" or (e.op.name == "mul" and number(e.args[0]) is not None and not e.args[0].shape)


def _scaled_step(e: Expr, parts: list[_Scaled]) -> _Scaled:
    value = number(e)
    if value is not None and not e.shape and value and math.isfinite(value):
        return _Scaled(value, 1, None, 1)
    if not parts:
        return _Scaled(1, 1, e, 0)
    if e.op.name == "neg":
        (x,) = parts
        return _Scaled(-x.top, x.bottom, x.rest, x.constants + 1)
    a, b = parts
    other_top, other_bottom = (b.top, b.bottom) if e.op.name == "mul" else (b.bottom, b.top)
    top, bottom = times(a.top, other_top), times(a.bottom, other_bottom)
    reduced = None if top is None or bottom is None else _reduce(top, bottom)
    if reduced is None or not all(is_moderate(v) for v in (a.top, a.bottom, b.top, b.bottom)):
        return _Scaled(1, 1, e, 0)
    if e.op.name == "mul":
        rest = a.rest if b.rest is None else b.rest if a.rest is None else do("mul", a.rest, b.rest)
    else:
        rest = a.rest if b.rest is None else do("div", constant(1) if a.rest is None else a.rest, b.rest)
    return _Scaled(*reduced, rest, a.constants + b.constants)


def _reduce(top: Number, bottom: Number) -> tuple[Number, Number] | None:
    """The fraction in lowest terms, the sign on top."""
    if bottom < 0:
        top, bottom = -top, -bottom
    if top == int(top) and bottom == int(bottom):
        top, bottom = int(top), int(bottom)
        common = math.gcd(top, bottom)
        return top // common, bottom // common
    if bottom == 1:
        return top, 1
    for upper, lower, turned in ((top, bottom, False), (bottom, abs(top), True)):
        mantissa, _ = math.frexp(lower)
        if mantissa == 0.5 or times(upper / lower, lower) == upper:  # by a power of two, or a quotient that is exact
            return (math.copysign(1, top), upper / lower) if turned else (upper / lower, 1)
    return top, bottom


def _with_factor(top: Number, bottom: Number, rest: Expr | None) -> Expr:
    """``top/bottom * rest`` in the form that rules know: the number outside."""
    if rest is None:
        return constant(top) if bottom == 1 else do("div", constant(top), constant(bottom))
    if rest.op.name == "div" and number(rest.args[0]) == 1:
        rest = rest.args[1] if bottom == 1 else do("mul", constant(bottom), rest.args[1])
        return do("div", constant(top), rest)
    if bottom != 1:
        below = _into_divisor(constant(bottom), rest)
        if below is None:
            return do("div", _with_factor(top, 1, rest), constant(bottom))
        rest = below
    return rest if top == 1 else do("neg", rest) if top == -1 else do("mul", constant(top), rest)


def _into_divisor(factor: Expr, product: Expr) -> Expr | None:
    """The factor beside the first divisor of a product; ``None`` where nothing is divided."""
    spine: list[Expr] = []
    e = product
    while e.op.name in ("mul", "div") and len(spine) < LOOK_AT_MOST:
        spine.append(e)
        e = e.args[0]
    while spine and spine[-1].op.name == "mul":
        e = spine.pop()
    if not spine:
        return None
    first = spine.pop()
    e = do("div", e, do("mul", factor, first.args[1]))
    for node in reversed(spine):
        e = do(node.op.name, e, node.args[1])
    return e
