"""IN PLACE: small changes to one product or sum that leave the rest of a formula as it is.

Gathering puts all factors of a product in a new order, which may overflow where the old one does not, and is refused then. Where a
change pays by itself it is made alone: ``a*sin(x)/b**3*cos(x)`` is ``a*sin(2*x)/b**3*0.5``, ``-(1 + 4*x**2)/2`` is ``-0.5 - 2*x**2``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction

from symgrad.expr import Expr, constant, topological
from symgrad.simplify.rewriting import do, number, with_args
from symgrad.simplify.terms import built_sum, terms_of

__all__ = ["changed_in_place"]

_PRODUCT = frozenset({"mul", "div", "neg"})
_SUM = frozenset({"add", "sub", "neg"})
_COSINE_OF = {"sin": "cos", "sinh": "cosh"}

Place = tuple[Expr, int]  # an operand of a node


def changed_in_place(roots: Sequence[Expr]) -> Iterator[list[Expr]]:
    """Other forms of the roots, each with one kind of change.

    >>> import symgrad as sg
    >>> x, a, b = sg.symbols("x a b")
    >>> list(changed_in_place([a*sg.sin(x)/b**3*sg.cos(x)]))
    [[a*sin(2*x)/b**3*0.5]]
    >>> list(changed_in_place([-(1 + (2*x)**2)/2, 6*(3*a - 2*b)]))
    [[-0.5 - 2*x**2, 18*a - 12*b]]
    """
    order = topological(*roots)
    names = {n.op.name for n in order}
    uses = dict.fromkeys(order, 0)
    for a in [*roots, *(a for n in order for a in n.args)]:
        uses[a] += 1
    if not names.isdisjoint(_COSINE_OF):
        yield from _with(roots, order, _double_angles(order, uses))
    if not names.isdisjoint(("add", "sub")):
        yield from _with(roots, order, _distributed(order, uses))


def _with(roots: Sequence[Expr], order: Sequence[Expr], changes: Mapping[Place, Expr]) -> Iterator[list[Expr]]:
    """The roots with other operands in some places; nothing where there are none."""
    if not changes:
        return
    new: dict[Expr, Expr] = {}
    for n in order:
        new[n] = _folded(with_args(n, [changes.get((n, i), new[a]) for i, a in enumerate(n.args)]))
    yield [new[r] for r in roots]


def _folded(n: Expr) -> Expr:
    """Without a factor 1 or two minus signs that a change has left."""
    rest = n
    if n.op.name in ("mul", "div") and number(n.args[1]) == 1:
        rest = n.args[0]
    elif n.op.name == "mul" and number(n.args[0]) == 1:
        rest = n.args[1]
    elif n.op.name == "neg" and n.args[0].op.name == "neg":
        rest = n.args[0].args[0]
    return rest if (rest.shape, rest.kind) == (n.shape, n.kind) else n


class _Product:
    """The places of a product's factors, each with whether it is divided by, and whether there is a minus sign before it."""

    def __init__(self, top: Expr, inside: set[Expr]) -> None:
        self.factors: list[tuple[Place, bool]] = []
        self.negative = False
        waiting = [(top, False)]
        while waiting:
            e, below = waiting.pop()
            self.negative ^= e.op.name == "neg"
            for i, a in enumerate(e.args):
                under = below != (e.op.name == "div" and i == 1)
                if a in inside:
                    waiting.append((a, under))
                else:
                    self.factors.append(((e, i), under))


def _inside(order: Sequence[Expr], uses: Mapping[Expr, int], names: frozenset[str]) -> set[Expr]:
    """The nodes that are a part of a larger product, or sum, and of nothing else."""
    return {a for n in order if n.op.name in names for a in n.args if a.op.name in names and uses[a] == 1 and a.shape == n.shape}


def _double_angles(order: Sequence[Expr], uses: Mapping[Expr, int]) -> dict[Place, Expr]:
    """A sine and a cosine of the same in one product: the sine of the double there, and a half."""
    inside = _inside(order, uses, _PRODUCT)
    changes: dict[Place, Expr] = {}
    for top in order:
        if top.op.name not in _PRODUCT or top in inside:
            continue
        places = {((e.args[i].op.name, e.args[i].args), below): (e, i) for (e, i), below in _Product(top, inside).factors}
        for ((name, args), below), place in places.items():
            other = places.get(((_COSINE_OF.get(name, ""), args), below))
            if other is not None:
                changes[place], changes[other] = do(name, do("mul", 2, args[0])), constant(0.5)
    return changes


def _distributed(order: Sequence[Expr], uses: Mapping[Expr, int]) -> dict[Place, Expr]:
    """The numbers before a bracket in its terms instead, where that saves operations."""
    products, sums = _inside(order, uses, _PRODUCT), _inside(order, uses, _SUM)
    changes: dict[Place, Expr] = {}
    for top in order:
        if top.op.name not in _PRODUCT or top in products:
            continue
        found = _Product(top, products)
        factors = [(place, place[0].args[place[1]], below) for place, below in found.factors]
        numbers = [(place, value, below) for place, a, below in factors if (value := _short(a))]
        brackets = [(place, a) for place, a, below in factors if a.op.name in ("add", "sub") and uses[a] == 1 and not below]
        if len(brackets) != 1 or brackets[0][1].shape != top.shape:
            continue
        ((place, bracket),) = brackets
        scale = Fraction(-1 if found.negative else 1)
        for _, value, below in numbers:
            scale = scale / value if below else scale * value
        new = _scaled(bracket, scale, sums, uses, len(numbers) + found.negative)
        if new is not None:
            changes |= {number_place: constant(1) for number_place, _, _ in numbers}
            changes[place] = do("neg", new) if found.negative else new  # two signs: rules drop them
    return changes


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
