"""PRESENT: the form that is shown, the last step of simplification.

What the user wrote is put back in its order; what the derivative sweep made comes in the conventional one: in a sum
higher powers first and numbers last, in a product numbers first, then names, then functions, then sums.
Sound: of more than two factors only those change places of which at most one can be large, since a product
in another order could overflow on the way.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from symgrad.expr import Expr, constant
from symgrad.simplify.rewriting import do, number, see, with_args
from symgrad.simplify.terms import LOOK_AT_MOST, MODERATE, SUM, Number, Pass, Survey, built_sum, fitted, is_moderate, terms_of, times

__all__ = ["ORDER", "present", "rank"]

ORDER = "conventional order"  # what the record of rules calls it


def present(survey: Survey, kept: Mapping[Expr, Expr | None]) -> list[Expr]:
    """The conventional form: minus signs and numbers at the front of a product, terms in order where nobody wrote one.

    ``kept`` are nodes in the user's order, with what the user wrote if that is to be put back.
    """
    run = Pass(survey, (), None)
    new_of, shown = run.new, set[Expr]()
    moved = False  # whether a node has become another
    for node in run.order:
        new = with_args(node, [new_of[a] for a in node.args]) if moved else node
        mine = None
        if node in kept:
            mine = kept[node]
            if mine is not None and (mine.op is node.op or not any(run.uses[a] > 1 and a.args for a in node.args)):
                new = mine
            shown.add(new)
        if new is not mine:
            name = new.op.name
            if name in ("mul", "neg", "div"):
                new = _present_product(run, node, new, node in kept, shown)
            elif name in ("add", "sub") and node not in kept and node not in run.inside and not new.shape:
                new = _ordered_sum(run, node, new, shown)
        moved = moved or new is not node
        run.became(node, new)
    return [new_of[r] for r in survey.roots]


def _present_product(run: Pass, node: Expr, new: Expr, is_kept: bool, shown: set[Expr]) -> Expr:
    factor: Number | None = None
    rest, old = new, node
    if new.op.name == "neg":
        factor, rest, old = -1, new.args[0], node.args[0]
    elif new.op.name == "mul" and not new.args[0].shape and (value := number(new.args[0])) is not None and len(node.args) == 2:
        factor, rest, old = value, new.args[1], node.args[1]
    if factor is None:
        return new if is_kept or node in run.inside else _ordered_product(run, new, shown)
    if rest.op.name not in ("mul", "div") or run.uses.get(old, 1) > 1 or not is_moderate(factor) or rest.shape != new.shape:
        return new
    if rest not in shown and node not in run.inside:
        rest = _ordered_product(run, rest, shown)
    return fitted(_in_front(factor, rest, run.parts, shown), new)


def _in_front(factor: Number, product: Expr, inside: Collection[Expr], kept: Collection[Expr]) -> Expr:
    """The number on the leftmost factor: ``-x*y``, ``2*x*y``; parts that others use stay whole."""
    spine: list[Expr] = []
    e = product
    while e.op.name in ("mul", "div") and (e is product or e in inside):
        spine.append(e)
        e = e.args[0]
        if len(spine) > LOOK_AT_MOST:  # a product that nobody reads to its end
            return do("mul", constant(factor), product) if factor != -1 else do("neg", product)
    value = number(e)
    if value is not None and not e.shape:
        merged = times(factor, value)
        if merged is None:
            return do("mul", constant(factor), product)
        front = constant(merged)
    elif factor == -1:
        front = do("sub", e.args[1], e.args[0]) if e.op.name == "sub" and e not in kept else do("neg", e)
    else:
        front = do("mul", constant(factor), e)
    for node in reversed(spine):
        front = do(node.op.name, front, node.args[1])
    return front


def rank(e: Expr) -> tuple[int, str]:
    """Numbers, names and their powers, functions, sums."""
    e = see(e)
    base = see(e.args[0]) if e.op.name == "pow" and number(e.args[1]) is not None else e
    while base.op.name in ("slice", "reshape", "transpose") and base.args[0].op.name in ("symbol", "slice", "reshape", "transpose"):
        base = base.args[0]
    if number(e) is not None or e.op.name == "size" or (e.op.name == "div" and e.args[1].op.name == "size"):
        return 0, ""
    if base.op.name == "symbol":
        return 1, base.name
    return {"mul": 2, "div": 2}.get(e.op.name, 4 if e.op.name in SUM else 3), ""


def _ordered_product(run: Pass, e: Expr, shown: Collection[Expr]) -> Expr:
    """Factors in order, where that is sound: two, or more of which only one can be large; divisors behind.

    A product stays on the left, where it needs no parentheses.
    """
    above, below = _factors(e, run.parts, shown)
    numbers = [f for f in above if not f.shape and (value := number(f)) is not None and is_moderate(value)]
    few = len(above) - len(numbers) <= 2 and len(numbers) <= 1
    if len(above) + len(below) > 2 and all(map(_is_scale, below)) and (few or sum(not _is_bounded(f) for f in above) <= 1):
        product = None
        for factor in sorted(above, key=rank):
            product = factor if product is None else do("mul", product, factor)
        for divisor in below:
            product = do("div", constant(1) if product is None else product, divisor)
        return e if product is None else fitted(product, e)
    if e.op.name != "mul":
        return e
    a, b = e.args
    products = [x.op.name in ("mul", "div") and rank(x)[0] > 0 for x in (a, b)]
    swap = products[1] and not products[0] and rank(a)[0] > 0 if any(products) else rank(b) < rank(a)
    return do("mul", b, a) if swap else e


def _factors(e: Expr, inside: Collection[Expr], shown: Collection[Expr]) -> tuple[list[Expr], list[Expr]]:
    """What a product multiplies and what it divides by, in the order of writing."""
    above: list[Expr] = []
    below: list[Expr] = []
    stack = [e]
    while stack:
        node = stack.pop()
        opened = node is e or (node in inside and node not in shown)
        if node.op.name == "mul" and opened:
            stack.extend(reversed(node.args))
        elif node.op.name == "div" and opened and rank(node)[0] > 0:
            stack.append(node.args[0])
            below.insert(0, node.args[1])
        else:
            above.append(node)
    return above, below


def _is_scale(divisor: Expr) -> bool:
    """Whether it may change places with factors: of ``1/a/b*x`` and ``x/a/b`` either may overflow where the other does not."""
    value = number(divisor)
    return divisor.op.name == "size" or (value is not None and is_moderate(value))


_BOUNDED = frozenset({"tanh", "sigmoid", "sin", "cos", "erf", "softmax", "sign", "atan"})
_BOUNDED_IF_OPERANDS = frozenset({"neg", "add", "sub", "mul", "named", "broadcast_to", "reshape", "slice", "transpose"})


def _is_bounded(e: Expr) -> bool:
    """Whether it plainly cannot be large."""
    waiting, looked = [e], 0
    while waiting:
        node = waiting.pop()
        looked += 1
        value = number(node)
        if looked > LOOK_AT_MOST:
            return False
        if value is not None and abs(value) <= MODERATE:
            continue
        if node.op.name in _BOUNDED_IF_OPERANDS:
            waiting.extend(node.args)
        elif node.op.name == "pow" and 0 < (number(node.args[1]) or 0) <= 8:
            waiting.append(node.args[0])
        elif node.op.name not in _BOUNDED and not (node.op.name == "exp" and _is_nonpositive(node.args[0])):
            return False
    return True


def _is_nonpositive(e: Expr) -> bool:
    """``-x**2``, ``-x**2/(2*y**2)``, ``-abs(x)`` and the like."""
    negative, waiting, looked = False, [e], 0
    while waiting:
        node = see(waiting.pop())
        looked += 1
        value = number(node)
        if looked > LOOK_AT_MOST:
            return False
        if value is not None:
            negative ^= value < 0
        elif node.op.name == "neg":
            negative = not negative
            waiting.append(node.args[0])
        elif node.op.name in ("mul", "div"):
            waiting.extend(node.args)
        elif node.op.name == "pow":
            exponent = number(node.args[1])
            if exponent is None or exponent % 2:
                return False
        elif node.op.name not in ("square", "abs", "exp") and not node.params.get("positive"):
            return False
    return negative


def _ordered_sum(run: Pass, node: Expr, new: Expr, shown: Collection[Expr]) -> Expr:
    """Higher powers first, numbers last; of two terms not the negative one first."""
    terms = terms_of(new, run.parts, shown)
    ranked = sorted(terms, key=lambda t: (number(t[1]) is not None, -run.degree(t[1])))
    if len(ranked) == 2 and _is_shown_negative(ranked[0]) and not _is_shown_negative(ranked[1]):
        ranked.reverse()
    if [t for _, t in ranked] == [t for _, t in terms]:
        return new
    return fitted(built_sum(ranked), new)


def _is_shown_negative(term: tuple[int, Expr]) -> bool:
    sign, e = term
    while e.op.name in ("mul", "div"):
        e = e.args[0]
    value = number(e)
    return (sign < 0) != (e.op.name == "neg" or (value is not None and value < 0))
