"""COLLECT: sums and products as wholes: constants gathered, like terms added, terms in order, minus signs in place.

A sum (or product) is taken apart only through nodes that nobody else uses. What the user wrote keeps its order and
its shape unless something in it cancels or adds up; what the derivative sweep made comes in the conventional order:
in a sum higher powers first and numbers last, in a product numbers first, then names, then functions, then sums.

Sound: only two factors ever change places (a third could meet an overflow that the user's order avoids); a constant
moves only if it is moderate; constants are merged only where their product is exact, also as a decimal (``2*0.1``).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from decimal import Context, Decimal, Inexact, InvalidOperation, Overflow
from typing import NamedTuple, Union

from symgrad.expr import Expr, constant, topological
from symgrad.simplify.rewriting import Application, Pattern, Rule, do, fit, number, see, with_args

__all__ = ["collect", "present"]

Number = Union[int, float]
_SUM = frozenset({"add", "sub", "neg"})
_PRODUCT = frozenset({"mul", "div", "neg"})
_EXACT = Context(prec=800, traps=[Inexact, InvalidOperation, Overflow])
_MODERATE = 2.0**20
_ADDABLE = 1e150  # numbers above are not added up: their sum could overflow where the user's order does not


# --- numbers --------------------------------------------------------------------------------------------


def times(a: Number, b: Number) -> Number | None:
    """The product, where it is exact, in binary or as a decimal."""
    if isinstance(a, int) and isinstance(b, int):
        return a * b if abs(a * b) < 2**62 else None
    a, b = float(a), float(b)
    product = a * b
    if not math.isfinite(product) or (product and abs(product) < 1e-290) or (not product and a and b):
        return None
    if a == 0 or b == 0:
        return product
    if Decimal(repr(a)) * Decimal(repr(b)) == Decimal(repr(product)) or _EXACT.multiply(Decimal(a), Decimal(b)) == Decimal(product):
        return product
    return None


def plus(a: Number, b: Number) -> Number | None:
    """The sum, where it is exact, in binary or as a decimal."""
    if isinstance(a, int) and isinstance(b, int):
        return a + b if abs(a + b) < 2**62 else None
    a, b = float(a), float(b)
    total = a + b
    if not (abs(a) < _ADDABLE and abs(b) < _ADDABLE):
        return None
    exact = Decimal(repr(a)) + Decimal(repr(b)) == Decimal(repr(total)) or math.fsum((a, b, -total)) == 0
    return total if exact else None


def _is_moderate(value: Number) -> bool:
    return 1 / _MODERATE <= abs(value) <= _MODERATE


def fitted(result: Expr, node: Expr) -> Expr:
    """The result with the node's shape and kind, the node where it cannot have them."""
    same = fit(result, node)
    return node if same is None else same


# --- one pass -------------------------------------------------------------------------------------------


class _Pass:
    """What both passes need: who uses a node, what was written, degrees, the record."""

    def __init__(self, roots: Sequence[Expr], written: Collection[Expr], record: list[Application] | None) -> None:
        self.order = topological(*roots)
        self.uses: dict[Expr, int] = dict.fromkeys(self.order, 0)
        for root in roots:
            self.uses[root] += 1
        self.inside: set[Expr] = set()  # parts of a larger sum or product
        for node in self.order:
            for arg in node.args:
                self.uses[arg] += 1
        for node in self.order:
            for family in (_SUM, _PRODUCT):
                if node.op.name in family:
                    self.inside.update(a for a in node.args if a.op.name in family and self.joins(node, a))
        self.written, self.record = written, record
        self.new: dict[Expr, Expr] = {}
        self.parts: dict[Expr, Expr] = {}  # what the nodes inside have become, and which they were
        self.degrees: dict[Expr, float] = {}

    def joins(self, node: Expr, part: Expr) -> bool:
        """Whether a part may be taken apart together with the node."""
        return self.uses[part] == 1 and part.shape == node.shape and part.kind == node.kind

    def became(self, node: Expr, new: Expr) -> None:
        self.new[node] = new
        if node in self.inside:
            self.parts[new] = node

    def note(self, rule: str, before: Expr, after: Expr) -> Expr:
        if after is not before and self.record is not None:
            self.record.append(Application(rule, before, after))
        return after

    def degree(self, e: Expr) -> float:
        """The degree in the symbols, as of a polynomial; functions count as 0."""
        stack = [e]
        while stack:
            node = stack[-1]
            if node in self.degrees:
                stack.pop()
                continue
            missing = [a for a in node.args if a not in self.degrees] if node.op.name in _DEGREES else []
            if missing:
                stack.extend(missing)
                continue
            stack.pop()
            self.degrees[node] = max(min(self._degree(node), 1e6), -1e6)
        return self.degrees[e]

    def _degree(self, node: Expr) -> float:
        name, parts = node.op.name, [self.degrees.get(a, 0.0) for a in node.args]
        if name == "symbol":
            return 1.0
        if name in ("mul", "contract"):
            return parts[0] + parts[1]
        if name == "div":
            return parts[0] - parts[1]
        if name == "pow":
            exponent = number(node.args[1])
            return parts[0] * exponent if exponent is not None and math.isfinite(exponent) else parts[0]
        return max(parts) if name in _DEGREES and parts else 0.0


_DEGREES = frozenset({"mul", "contract", "div", "pow", "add", "sub", "neg", "sum", "mean", "broadcast_to", "reshape", "transpose", "named", "slice"})


def collect(
    roots: Sequence[Expr], written: dict[Expr, Expr | None], record: list[Application] | None, late: Mapping[str, Sequence[Rule | Pattern]]
) -> tuple[list[Expr], dict[Expr, Expr | None]]:
    """Constants gathered, like terms added, in every sum and product below the roots.

    ``written``: the nodes in the user's order, with what the user wrote for them (``None`` where that has been
    simplified); returned for the new nodes, too. ``late``: by op, rules for nodes whose operand nobody else uses.
    """
    run = _Pass(roots, written, record)
    kept: dict[Expr, Expr | None] = {}
    changed: set[Expr] = set()
    for node in run.order:
        new = with_args(node, [run.new[a] for a in node.args])
        plain = new
        if node.op.name in ("mul", "div", "neg") and node not in run.inside:
            new = _collect_product(run, node, new)
        if node.op.name in _SUM and node not in run.inside:
            new = _collect_sum(run, node, new)
        new = _apply_late(run, node, new, late)
        run.became(node, new)
        if new is not plain or any(a in changed for a in node.args):
            changed.add(node)
        if node in written:
            kept[new] = None if node in changed else written[node]
    return [run.new[r] for r in roots], kept


def _apply_late(run: _Pass, node: Expr, new: Expr, late: Mapping[str, Sequence[Rule | Pattern]]) -> Expr:
    for rule in late.get(new.op.name, ()):
        if new.op is node.op and rule.late is not None and run.uses[node.args[rule.late]] == 1:
            result = rule.rewrite(new, commute=False) if isinstance(rule, Pattern) else rule.rewrite(new)
            fitting = None if result is None else fit(result, new)
            if fitting is not None:
                return run.note(rule.name, new, fitting)
    return new


# --- products -------------------------------------------------------------------------------------------


class _Scaled(NamedTuple):
    """``top/bottom * rest``; ``rest`` is ``None`` for 1."""

    top: Number
    bottom: Number
    rest: Expr | None
    count: int  # how many constants went into it


def _collect_product(run: _Pass, node: Expr, new: Expr) -> Expr:
    """All constants of a product as one, in front."""
    if not _has_two_constants(run, node, new):
        return new
    scaled = _scaled(run, node, new)
    if cancelled := _cancelling_divisions(scaled):
        scaled = _scaled(run, node, new, cancelled)
    left = (scaled.top < 0) + (abs(scaled.top) != 1) + (scaled.bottom != 1)
    if scaled.count < 2 or left >= scaled.count or new.op.name not in _PRODUCT:
        return new
    result = fit(_with_factor(scaled.top, scaled.bottom, scaled.rest), new)
    return new if result is None else run.note("gather constants", new, result)


def _opens(run: _Pass, root: Expr, e: Expr, mine: bool) -> bool:
    if e.op.name not in _PRODUCT or e.shape != root.shape:
        return False
    return e is root or _is_multiple(e) or (e in run.parts and (mine or run.parts[e] not in run.written))


def _has_two_constants(run: _Pass, node: Expr, root: Expr) -> bool:
    mine, count, stack = node in run.written, 0, [root]
    while stack and count < 2:
        e = stack.pop()
        if _opens(run, root, e, mine):
            count += e.op.name == "neg"
            stack.extend(e.args)
        else:
            count += e.op.name == "constant" or (e.op.name == "div" and e.args[1].op.name == "mul" and number(e.args[1].args[0]) is not None)
    return count >= 2


def _cancelling_divisions(scaled: _Scaled) -> frozenset[Expr]:
    """Quotients such as ``x/(2*y)`` whose number cancels with the one in front: ``2*(x/(2*y))`` costs what ``x/y`` does."""
    top, found, stack = scaled.top, [], [scaled.rest] if isinstance(scaled.top, int) and abs(scaled.top) > 1 and scaled.rest is not None else []
    for _ in range(_LOOK_AT_MOST):
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


def _scaled(run: _Pass, node: Expr, root: Expr, also: Collection[Expr] = ()) -> _Scaled:
    """The constants of a product and the product of the rest, associated as it was; ``also``: more nodes to be opened.

    What the user wrote stays whole inside of what the sweep made, since the value uses it too.
    """
    done: dict[Expr, _Scaled] = {}
    mine = node in run.written
    stack = [root]
    while stack:
        e = stack[-1]
        if e in done:
            stack.pop()
            continue
        parts = e.args if e in also or _opens(run, root, e, mine) else ()
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
        return _Scaled(-x.top, x.bottom, x.rest, x.count + 1)
    a, b = parts
    other_top, other_bottom = (b.top, b.bottom) if e.op.name == "mul" else (b.bottom, b.top)
    top, bottom = times(a.top, other_top), times(a.bottom, other_bottom)
    reduced = None if top is None or bottom is None else _reduce(top, bottom)
    if reduced is None or not all(_is_moderate(v) for v in (a.top, a.bottom, b.top, b.bottom)):
        return _Scaled(1, 1, e, 0)
    if e.op.name == "mul":
        rest = a.rest if b.rest is None else b.rest if a.rest is None else do("mul", a.rest, b.rest)
    else:
        rest = a.rest if b.rest is None else do("div", constant(1) if a.rest is None else a.rest, b.rest)
    return _Scaled(*reduced, rest, a.count + b.count)


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
    while e.op.name in ("mul", "div"):
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


# --- sums -----------------------------------------------------------------------------------------------


def _terms(root: Expr, inside: Collection[Expr], closed: Collection[Expr] = ()) -> list[tuple[int, Expr]]:
    """The terms of a sum with their signs, from left to right."""
    terms: list[tuple[int, Expr]] = []
    stack = [(1, root)]
    while stack:
        sign, e = stack.pop()
        if e.op.name not in _SUM or not (e is root or (e in inside and e not in closed)) or e.shape != root.shape or e.kind != root.kind:
            terms.append((sign, e))
        elif e.op.name == "neg":
            stack.append((-sign, e.args[0]))
        else:
            stack.append((sign if e.op.name == "add" else -sign, e.args[1]))
            stack.append((sign, e.args[0]))
    return terms


def _split(e: Expr) -> tuple[Number, Expr]:
    """A term as a number times the rest."""
    if e.op.name == "mul":
        value = number(e.args[0])
        if value is not None and e.args[1].shape == e.shape and _is_moderate(value):
            return value, e.args[1]
    return 1, e


def _same_product(e: Expr) -> tuple[bytes, ...]:
    """A key under which ``a*b`` and ``b*a`` are one term."""
    e = see(e)
    return tuple(sorted(a.key for a in e.args)) + (b"mul",) if e.op.name == "mul" else (e.key,)


def _collect_sum(run: _Pass, node: Expr, new: Expr) -> Expr:
    """Like terms added up, numbers too."""
    if new.op.name not in _SUM:
        return new
    terms = _terms(new, run.parts)
    if len(terms) < 2:
        return new
    found: dict[tuple[bytes, ...], list[tuple[Number, Expr]]] = {}
    merged = False
    for sign, term in terms:
        value = number(term)
        scale, rest = (value * sign, constant(1)) if value is not None and not term.shape and abs(value) < _ADDABLE else _split(term)
        scale = scale if rest.op.name == "constant" else scale * sign
        same = found.setdefault((b"1",) if rest.op.name == "constant" and not rest.shape else _same_product(rest), [])
        total = plus(same[0][0], scale) if same and same[0][1].shape == rest.shape else None
        if total is None:
            same.append((scale, rest))
        else:
            same[0] = (total, same[0][1])
            merged = True
    if not merged:
        return new
    items = [(s, r) for same in found.values() for s, r in same if s]
    result = fit(_built_sum([_term(s, r) for s, r in items]), new)
    return new if result is None else run.note("add like terms", new, result)


def _term(scale: Number, rest: Expr) -> tuple[int, Expr]:
    if number(rest) == 1 and not rest.shape:
        return (-1 if scale < 0 else 1), constant(abs(scale))
    return (-1 if scale < 0 else 1), rest if abs(scale) == 1 else do("mul", constant(abs(scale)), rest)


def _built_sum(terms: Sequence[tuple[int, Expr]]) -> Expr:
    """The sum from left to right."""
    if not terms:
        return constant(0)
    sign, total = terms[0]
    if sign < 0:
        total = do("neg", total)
    for sign, term in terms[1:]:
        total = do("add" if sign > 0 else "sub", total, term)
    return total


# --- the form that is shown -------------------------------------------------------------------------------


def present(roots: Sequence[Expr], kept: Mapping[Expr, Expr | None]) -> list[Expr]:
    """The conventional form: minus signs and numbers at the front of a product, terms in order where nobody wrote one.

    ``kept`` are nodes in the user's order, with what the user wrote if that is to be put back.
    """
    run = _Pass(roots, (), None)
    shown: set[Expr] = set()
    for node in run.order:
        new = with_args(node, [run.new[a] for a in node.args])
        if node in kept:
            mine = kept[node]
            if mine is not None and not (mine.op is not node.op and any(run.uses[a] > 1 and a.args for a in node.args)):
                new = mine
            shown.add(new)
            if new is mine:
                run.became(node, new)
                continue
        name = new.op.name
        if name in ("mul", "neg", "div"):
            new = _present_product(run, node, new, node in kept, shown)
        elif name in ("add", "sub") and node not in kept and node not in run.inside and not new.shape:
            new = _ordered_sum(run, node, new, shown)
        run.became(node, new)
    return [run.new[r] for r in roots]


def _present_product(run: _Pass, node: Expr, new: Expr, is_kept: bool, shown: set[Expr]) -> Expr:
    factor: Number | None = None
    rest, old = new, node
    if new.op.name == "neg":
        factor, rest, old = -1, new.args[0], node.args[0]
    elif new.op.name == "mul" and not new.args[0].shape and (value := number(new.args[0])) is not None and len(node.args) == 2:
        factor, rest, old = value, new.args[1], node.args[1]
    if factor is None:
        return new if is_kept or node in run.inside else _ordered_product(run, new, shown)
    if rest.op.name not in ("mul", "div") or run.uses.get(old, 1) > 1 or not _is_moderate(factor) or rest.shape != new.shape:
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


def _rank(e: Expr) -> tuple[int, str]:
    """Numbers, names and their powers, functions, sums."""
    e = see(e)
    base = see(e.args[0]) if e.op.name == "pow" and number(e.args[1]) is not None else e
    while base.op.name in ("slice", "reshape", "transpose") and base.args[0].op.name in ("symbol", "slice", "reshape", "transpose"):
        base = base.args[0]
    if number(e) is not None or e.op.name == "size" or (e.op.name == "div" and e.args[1].op.name == "size"):
        return 0, ""
    if base.op.name == "symbol":
        return 1, base.name
    return {"mul": 2, "div": 2}.get(e.op.name, 4 if e.op.name in _SUM else 3), ""


def _ordered_product(run: _Pass, e: Expr, shown: Collection[Expr]) -> Expr:
    """Factors in order, where that is sound: two, or more of which only one can be large; divisors behind.

    A product stays on the left, where it needs no parentheses.
    """
    above, below = _factors(e, run.parts, shown)
    numbers = [f for f in above if not f.shape and number(f) is not None]
    few = len(above) - len(numbers) <= 2 and not below and len(numbers) <= 1
    if len(above) + len(below) > 2 and (few or sum(not _is_bounded(f) for f in above) <= 1):
        product = None
        for factor in sorted(above, key=_rank):
            product = factor if product is None else do("mul", product, factor)
        for divisor in below:
            product = do("div", constant(1) if product is None else product, divisor)
        return e if product is None else fitted(product, e)
    if e.op.name != "mul":
        return e
    a, b = e.args
    products = [x.op.name in ("mul", "div") and _rank(x)[0] > 0 for x in (a, b)]
    swap = products[1] and not products[0] and _rank(a)[0] > 0 if any(products) else _rank(b) < _rank(a)
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
        elif node.op.name == "div" and opened and _rank(node)[0] > 0:
            stack.append(node.args[0])
            below.insert(0, node.args[1])
        else:
            above.append(node)
    return above, below


_BOUNDED = frozenset({"tanh", "sigmoid", "sin", "cos", "erf", "softmax", "sign", "atan"})
_BOUNDED_IF_OPERANDS = frozenset({"neg", "add", "sub", "mul", "named", "broadcast_to", "reshape", "slice", "transpose"})
_LOOK_AT_MOST = 24  # nodes


def _is_bounded(e: Expr) -> bool:
    """Whether it plainly cannot be large."""
    waiting, looked = [e], 0
    while waiting:
        node = waiting.pop()
        looked += 1
        value = number(node)
        if looked > _LOOK_AT_MOST:
            return False
        if value is not None and abs(value) <= _MODERATE:
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
        if looked > _LOOK_AT_MOST:
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


def _ordered_sum(run: _Pass, node: Expr, new: Expr, shown: Collection[Expr]) -> Expr:
    """Higher powers first, numbers last; of two terms not the negative one first."""
    terms = _terms(new, run.parts, shown)
    ranked = sorted(terms, key=lambda t: (number(t[1]) is not None, -run.degree(t[1])))
    if len(ranked) == 2 and _is_shown_negative(ranked[0]) and not _is_shown_negative(ranked[1]):
        ranked.reverse()
    if [t for _, t in ranked] == [t for _, t in terms]:
        return new
    return fitted(_built_sum(ranked), new)


def _is_shown_negative(term: tuple[int, Expr]) -> bool:
    sign, e = term
    while e.op.name in ("mul", "div"):
        e = e.args[0]
    value = number(e)
    return (sign < 0) != (e.op.name == "neg" or (value is not None and value < 0))
