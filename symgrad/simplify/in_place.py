"""IN PLACE: small changes to one product or sum that leave the rest of a formula as it is.

Gathering puts all factors of a product in a new order, which may overflow where the old one does not, and is refused then. Where a
change pays by itself it is made alone: ``a*sin(x)/b**3*cos(x)`` is ``a*sin(2*x)/b**3*0.5``, ``-(1 + 4*x**2)/2`` is ``-0.5 - 2*x**2``,
``x*r/(4*k*r**3)`` is ``x/(4*k*r**2)``, and all numbers of ``2*m/(h/6)**2`` are one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import NamedTuple

from symgrad.expr import Expr, constant, topological
from symgrad.simplify.rewriting import do, number, with_args
from symgrad.simplify.terms import PRODUCT, SUM, built_sum, count_uses, may_join, terms_of

__all__ = ["changed_in_place"]

MAX_ALONE = 4  # products that are changed one by one, besides all together
MAX_POWER = 16
_COSINE_OF = {"sin": "cos", "sinh": "cosh"}

Place = tuple[Expr, int]  # an operand of a node


class _Change(NamedTuple):
    """What stands in some places instead, and a number before the whole product."""

    operands: Mapping[Place, Expr]
    scale: float | int = 1


def changed_in_place(roots: Sequence[Expr]) -> Iterator[list[Expr]]:
    """Other forms of the roots, each with one kind of change: in all places, and in each one alone where there are few.

    >>> import symgrad as sg
    >>> x, a, b = sg.symbols("x a b")
    >>> list(changed_in_place([a*sg.sin(x)/b**3*sg.cos(x)]))
    [[a*sin(2*x)/b**3*0.5]]
    >>> list(changed_in_place([-(1 + (2*x)**2)/2, 6*(3*a - 2*b)]))[0]
    [-0.5 - 2*x**2, 18*a - 12*b]
    """
    order = topological(*roots)
    uses = count_uses(roots, order)
    products = _products(order, uses)
    sums = {a for n in order if n.op.name in SUM for a in n.args if a.op.name in SUM and uses[a] == 1 and a.shape == n.shape}
    kinds: tuple[Callable[[_Product], _Change | None], ...] = (
        _double_angle, _half_argument, _without_pairs, _without_parts, _one_number_inside, _one_number,
        lambda found: _distributed(found, sums, uses),
    )  # fmt: skip
    for kind in kinds:
        changes = {found.top: change for found in products if (change := kind(found)) is not None}
        if changes:
            yield _changed(roots, order, changes)
        if 1 < len(changes) <= MAX_ALONE:
            yield from (_changed(roots, order, {top: change}) for top, change in changes.items())


def _changed(roots: Sequence[Expr], order: Sequence[Expr], changes: Mapping[Expr, _Change]) -> list[Expr]:
    operands = {place: e for change in changes.values() for place, e in change.operands.items()}
    new: dict[Expr, Expr] = {}
    for n in order:
        new[n] = _folded(with_args(n, [operands.get((n, i), new[a]) for i, a in enumerate(n.args)]))
        if n in changes and changes[n].scale != 1:
            new[n] = _scaled_by(changes[n].scale, new[n])
    return [new[r] for r in roots]


def _folded(n: Expr) -> Expr:
    """Without a factor 1 or two minus signs that a change has left."""
    rest = n
    if n.op.name in ("mul", "div", "pow") and number(n.args[1]) == 1:
        rest = n.args[0]
    elif n.op.name == "mul" and number(n.args[0]) == 1:
        rest = n.args[1]
    elif n.op.name == "neg" and n.args[0].op.name == "neg":
        rest = n.args[0].args[0]
    return rest if (rest.shape, rest.kind) == (n.shape, n.kind) else n


def _scaled_by(scale: float | int, e: Expr) -> Expr:
    if scale == -1:
        return do("neg", e)
    if e.op.name == "div" and number(e.args[0]) == 1:
        return do("div", constant(scale), e.args[1])
    return do("mul", constant(scale), e)


# --- products --------------------------------------------------------------------------------------------


class _Product:
    """A product: the places of its factors with their exponents, and whether there is a minus sign before it.

    Products inside, and powers of products, that nothing else uses are taken apart; ``inside`` receives them. ``outer``: the factors
    as they are before powers are taken apart.
    """

    def __init__(self, top: Expr, uses: Mapping[Expr, int], inside: set[Expr]) -> None:
        self.top = top
        self.outer: list[tuple[Place, int]] = []
        self.factors: list[tuple[Place, int]] = []
        self.negative = False
        waiting = [_as_power(top)]
        while waiting:
            e, exponent = waiting.pop()
            self.negative ^= e.op.name == "neg" and exponent % 2 == 1
            for i, a in enumerate(e.args):
                power = -exponent if e.op.name == "div" and i == 1 else exponent
                base, n = _as_power(a)
                if abs(power) == 1 and (n > 1 or a.op.name not in PRODUCT or uses[a] > 1):
                    self.outer.append(((e, i), power))
                if base.op.name in PRODUCT and uses[a] == uses[base] == 1 and a.shape == base.shape == top.shape:
                    inside.update((a, base))
                    waiting.append((base, power * n))
                else:
                    self.factors.append(((e, i), power))


def _as_power(e: Expr) -> tuple[Expr, int]:
    n = number(e.args[1]) if e.op.name == "pow" else None
    return (e.args[0], int(n)) if n is not None and n == int(n) and 0 < n <= MAX_POWER else (e, 1)


def _products(order: Sequence[Expr], uses: Mapping[Expr, int]) -> list[_Product]:
    """The products that are no part of another one."""
    inside: set[Expr] = set()
    found = []
    for top in reversed(order):
        base, n = _as_power(top)
        if top not in inside and base.op.name in PRODUCT and (n == 1 or (uses[base] == 1 and base.shape == top.shape)):
            found.append(_Product(top, uses, inside))
            inside.add(base)
    return found


def _at(place: Place) -> Expr:
    return place[0].args[place[1]]


def _double_angle(found: _Product) -> _Change | None:
    """A sine and a cosine of the same: the sine of the double, and a half."""
    operands: dict[Place, Expr] = {}
    places = {(_at(place).op.name, _at(place).args, exponent): place for place, exponent in found.factors}
    for (name, args, exponent), place in places.items():
        other = places.get((_COSINE_OF.get(name, ""), args, exponent))
        if other is not None:
            operands[place], operands[other] = do(name, do("mul", 2, args[0])), constant(0.5)
    return _Change(operands) if operands else None


def _half_argument(found: _Product) -> _Change | None:
    """``exp(u)/expm1(u)**2`` is ``1/(2*sinh(u/2))**2``, ``exp(u)/(1 + exp(u))**2`` is ``1/(2*cosh(u/2))**2``."""
    for place, exponent in found.factors:
        e = _at(place)
        if e.op.name != "exp" or exponent != 1:
            continue
        for name, base in (("sinh", do("expm1", *e.args)), ("cosh", do("add", 1, e)), ("cosh", do("add", e, 1))):
            below = [(at, power * n) for at, power in found.factors for b, n in [_as_power(_at(at))] if b is base]
            if below and sum(power for _, power in below) == -2:
                new = do("mul", 2, do(name, do("div", e.args[0], 2)))
                return _Change({at: new if _at(at) is base else do("pow", new, 2) for at, _ in below} | {place: constant(1)})
    return None


def _without_pairs(found: _Product) -> _Change | None:
    """What is multiplied by and divided by."""
    left: dict[Place, tuple[Expr, int]] = {}  # a base and its exponent
    for place, exponent in found.factors:
        base, n = _as_power(_at(place))
        if abs(exponent) == 1 and number(base) is None:
            left[place] = (base, exponent * n)
    operands: dict[Place, Expr] = {}
    for place, (base, _) in left.items():
        for other, (same, _) in left.items():
            p, q = left[place][1], left[other][1]
            if base is same and p > 0 > q and _at(place).shape == _at(other).shape:
                common = min(p, -q)
                left[place], left[other] = (base, p - common), (base, q + common)
                operands |= {at: _power(base, abs(left[at][1])) for at in (place, other)}
    return _Change(operands) if operands else None


def _without_parts(found: _Product) -> _Change | None:
    """What is multiplied by, and is a factor of a product, or of the square of one, that is divided by: ``x/(a*b)**2*b`` is
    ``x/(a*b*a)``, also where something else uses ``a*b``."""
    operands: dict[Place, Expr] = {}
    factors = {_at(place): place for place, exponent in found.outer if exponent == 1 and number(_at(place)) is None}
    for place, exponent in found.outer:
        base, n = _as_power(_at(place))
        if exponent > 0 or n > 2 or base.op.name != "mul":
            continue
        for factor, other in factors.items():
            rest = _without(base, factor)
            if rest is not None and rest.shape == base.shape and other not in operands:
                operands |= {place: rest if n == 1 else do("mul", base, rest), other: constant(1)}
                break
    return _Change(operands) if operands else None


def _without(product: Expr, factor: Expr) -> Expr | None:
    """The other factors, where this is one of them."""
    waiting: list[tuple[Expr, tuple[Place, ...]]] = [(product, ())]  # with the way to them
    seen: set[Expr] = set()
    while waiting:
        e, way = waiting.pop()
        for i, a in enumerate(e.args):
            if a is factor:
                rest = e.args[1 - i]
                for parent, k in reversed(way):
                    rest = do("mul", *(rest if j == k else other for j, other in enumerate(parent.args)))
                return rest
            if a.op.name == "mul" and a not in seen:
                seen.add(a)
                waiting.append((a, (*way, (e, i))))
    return None


def _power(base: Expr, n: int) -> Expr:
    return constant(1) if n == 0 else base if n == 1 else do("pow", base, n)


def _one_number(found: _Product) -> _Change | None:
    """All numbers as one, rounded once, before the product."""
    total, operands = Fraction(1), dict[Place, Expr]()
    for place, exponent in found.factors:
        value = number(_at(place))
        if value is None or _at(place).shape or not may_join(value):
            continue
        total *= Fraction(value) ** exponent
        operands[place] = constant(1)
    if len(operands) < 2 or not may_join(total):
        return None
    return _Change(operands, int(total) if total.denominator == 1 and abs(total) < 2**53 else float(total))


def _one_number_inside(found: _Product) -> _Change | None:
    """All numbers as one, in the place of the first that is a factor: what overflows depends on it."""
    change = _one_number(found)
    factors = [place for place, exponent in found.factors if exponent == 1 and change is not None and place in change.operands]
    if change is None or not factors or abs(change.scale) == 1:
        return None
    return _Change({**change.operands, factors[-1]: constant(change.scale)})


def _distributed(found: _Product, sums: set[Expr], uses: Mapping[Expr, int]) -> _Change | None:
    """The number before a bracket in its terms instead, where that saves operations."""
    numbers = [(place, value**exponent) for place, exponent in found.factors if (value := _short(_at(place)))]
    brackets = [
        place for place, exponent in found.factors if exponent == 1 and _at(place).op.name in ("add", "sub") and uses[_at(place)] == 1
    ]  # fmt: skip
    if len(brackets) != 1 or _at(brackets[0]).shape != found.top.shape:
        return None
    scale = Fraction(-1 if found.negative else 1)
    for _, value in numbers:
        scale *= value
    new = _scaled(_at(brackets[0]), scale, sums, uses, len(numbers) + found.negative)
    if new is None:
        return None
    operands = {place: constant(1) for place, _ in numbers}
    return _Change(operands | {brackets[0]: do("neg", new) if found.negative else new})  # two signs: one is dropped with the other


def _scaled(bracket: Expr, scale: Fraction, sums: set[Expr], uses: Mapping[Expr, int], saved: int) -> Expr | None:
    """A multiple of a sum, where its terms take fewer operations more than the ``saved`` ones."""
    parts = [(sign * scale, *_term(t, uses)) for sign, t in terms_of(bracket, sums)]
    terms = [(factor * old, old, rest) for factor, old, rest in parts]
    if not all(_is_short(c) for c, _, _ in terms):
        return None
    (first, _, rest), *others = sorted(terms, key=lambda term: term[0] < 0)
    operations = sum((abs(c) != 1) - (abs(old) != 1) for c, old, rest in terms if rest is not None) + (first == -1)
    if operations >= saved:
        return None
    return built_sum([(1, _times(first, rest)), *((1 if c > 0 else -1, _times(abs(c), rest)) for c, _, rest in others)])


def _term(t: Expr, uses: Mapping[Expr, int]) -> tuple[Fraction, Expr | None]:
    """The number before a term, and the rest of it, if there is any: ``(2*x)**2`` is ``4*x**2``."""
    value = _short(t)
    if value is not None:
        return value, None
    if t.op.name == "mul" and (value := _short(t.args[0])):
        return value, t.args[1]
    if t.op.name == "div" and (value := _short(t.args[1])):
        return 1 / value, t.args[0]
    if t.op.name == "pow" and number(t.args[1]) == 2 and uses.get(t.args[0]) == 1:
        value, rest = _term(t.args[0], uses)
        return (value**2, do("pow", rest, 2)) if rest is not None and value != 1 else (Fraction(1), t)
    return Fraction(1), t


def _times(c: Fraction, rest: Expr | None) -> Expr:
    value = constant(int(c) if c.denominator == 1 else float(c))
    return value if rest is None else rest if c == 1 else do("neg", rest) if c == -1 else do("mul", value, rest)


def _short(e: Expr) -> Fraction | None:
    value = number(e)
    if value is None or e.shape or not abs(value) < 2**20:
        return None
    fraction = Fraction(value)
    return fraction if _is_short(fraction) else None


def _is_short(c: Fraction) -> bool:
    """Whether the number is a whole one or a short binary fraction, so that products of two of them are exact."""
    return abs(c.numerator) < 2**20 and c.denominator <= 2**10 and c.denominator & (c.denominator - 1) == 0
