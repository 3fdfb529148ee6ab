"""MONOMIALS: products as exponents of their factors, sums as terms behind their common factor; what is computed anyway is used again.

A source of forms for islands, without SymPy: ``p/(p/q)/q`` is 1, ``h*x*x + h*x**2`` is ``2*h*x**2``, and the derivative of
``q/c`` is ``-y/c`` where ``y`` is ``q/c``. Whether a form may be taken is decided there, by cost and by agreement.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from functools import reduce
from math import gcd, isfinite
from typing import NamedTuple

from symgrad.expr import CONSTANT, Expr, constant, topological
from symgrad.simplify.cost import power_cost
from symgrad.simplify.rewriting import do, number, see
from symgrad.simplify.terms import built_sum

__all__ = ["gathered"]

MAX_POWER = 16
MAX_TERMS = 12  # of a sum that is multiplied out
MAX_REUSED = 48  # nodes that a product is compared with
_HALF = Fraction(1, 2)

Powers = dict[Expr, Fraction]
Key = frozenset[tuple[Expr, Fraction]]


class Monomial(NamedTuple):
    """``coefficient`` times every base to its power."""

    coefficient: Fraction
    powers: Powers

    def times(self, other: Monomial, exponent: Fraction | int = 1) -> Monomial:
        """Times a power of another one."""
        powers = dict(self.powers)
        for base, power in other.powers.items():
            total = powers.get(base, Fraction(0)) + power * exponent
            if total:
                powers[base] = total
            else:
                powers.pop(base, None)
        factor = other.coefficient if exponent == 1 else other.coefficient ** int(exponent) if other.coefficient != 1 else 1
        return Monomial(self.coefficient * factor, powers)

    @property
    def key(self) -> Key:
        return frozenset(self.powers.items())


ONE = Monomial(Fraction(1), {})
Terms = list[Monomial]


def gathered(roots: Sequence[Expr], kept: Sequence[Expr] = (), *, fractions: bool = False, guarded: bool = True) -> list[Expr]:
    """The roots with factors and terms gathered; what ``kept`` consists of is there anyway.

    ``fractions``: also brings terms to a common denominator. ``guarded``: ``nonnegative(x)``, which is NaN below zero, is not ``x``.

    >>> import symgrad as sg
    >>> p, q, h, x = sg.symbols("p q h x")
    >>> gathered([p/(p/q)/q, h*x*x + h*x**2])
    [1, 2*h*x**2]
    """
    gatherer = _Gatherer(kept, fractions, guarded)
    return [gatherer.form(root) for root in roots]


class _Gatherer:
    """``forms``: what nodes are as monomials. ``sums``: a base that is a sum → its terms. ``known``: terms → the base that has them.
    ``reused``: nodes that are there, with what they are.
    ``terms``: sums → their terms, before their common factor was looked for. ``uses``: how many nodes use a node."""

    def __init__(self, kept: Sequence[Expr], fractions: bool, guarded: bool) -> None:
        self.kept = set(topological(*kept))
        self.fractions, self.guarded = fractions, guarded
        self.forms: dict[Expr, Monomial] = {}
        self.uses: dict[Expr, int] = {}
        self.terms: dict[Expr, Terms] = {}
        self.sums: dict[Expr, Terms] = {}
        self.known: dict[frozenset[tuple[Key, Fraction]], tuple[Expr, Fraction]] = {}
        self.wholes: dict[Expr, Monomial] = {}  # of which roots are taken: a base → what it is
        self.reused: dict[Expr, Monomial] = {}
        for root in kept:
            self._read(root)

    def form(self, root: Expr) -> Expr:
        for node in topological(root):
            for a in node.args:
                self.uses[a] = self.uses.get(a, 0) + 1
        self._read(root)
        new = self.write(self.forms[root])
        for node in topological(new):
            self._read(node, there=True)
        return new

    # --- reading -----------------------------------------------------------------------------------

    def _read(self, root: Expr, there: bool = False) -> None:
        for node in topological(root):
            if node not in self.forms:
                self.forms[node] = self._form(node, there or node in self.kept)
            if there or node in self.kept:
                self._offer(node)

    def _offer(self, node: Expr) -> None:
        form = self.forms[node]
        if len(self.reused) < MAX_REUSED and (len(form.powers) > 1 or any(p != 1 for p in form.powers.values())):
            self.reused.setdefault(node, form)

    def _form(self, node: Expr, there: bool) -> Monomial:
        name, args = node.op.name, [self.forms[a] for a in node.args]
        if name == "nonnegative" and not self.guarded:
            return args[0]
        if name == "constant":
            value = _nice(node)
            return self._base(node) if value is None else Monomial(value, {})
        if name == "neg":
            return Monomial(-args[0].coefficient, args[0].powers)
        if name == "mul":
            return self._settled(args[0].times(args[1]))
        if name == "div" and args[1].coefficient:
            return self._settled(args[0].times(_inverse(args[1])))
        if name in ("pow", "square"):
            exponent = Fraction(2) if name == "square" else _exponent(node.args[1])
            if exponent is not None and (args[0].coefficient or exponent > 0):
                return self._settled(ONE.times(args[0], exponent))
        if name == "sqrt":
            return self._root(args[0])
        if name in ("add", "sub"):
            return self._sum(node, there)
        return self._base(node)

    def _base(self, node: Expr) -> Monomial:
        """A node as it is, on its operands as they have become."""
        args = [self.write(self.forms[a]) if node not in self.kept else a for a in node.args]
        new = node if all(a is b for a, b in zip(args, node.args)) else do(node.op.name, *args, **node.params)
        if new.shape != node.shape or new.kind != node.kind:
            new = node
        return Monomial(Fraction(1), {new: Fraction(1)})

    def _root(self, x: Monomial) -> Monomial:
        """The root of a product is no product of roots: its factors may be negative."""
        if x.coefficient == 1 and len(x.powers) == 1:
            [(base, power)] = x.powers.items()
            if power == 2:
                return Monomial(x.coefficient, {do("abs", base): Fraction(1)})
        whole = self.write(x)
        guarded = see(whole)
        self.wholes[whole] = self.forms.get(guarded, x) if guarded is not whole else x
        return Monomial(Fraction(1), {whole: _HALF})

    def _settled(self, x: Monomial) -> Monomial:
        """Whole powers of what a root was taken of, as the powers of its factors; even powers of ``abs(x)`` as those of ``x``."""
        for base, power in list(x.powers.items()):
            if base.op.name == "abs" and power.denominator == 1 and power % 2 == 0 and base.args[0] in self.forms:
                rest = {b: p for b, p in x.powers.items() if b is not base}
                x = Monomial(x.coefficient, rest).times(self.forms[base.args[0]], power)
        for base in [b for b, p in x.powers.items() if b in self.wholes and p.denominator == 1]:
            power = x.powers[base]
            if self.wholes[base].powers != {base: 1}:
                x = Monomial(x.coefficient, {b: p for b, p in x.powers.items() if b is not base}).times(self.wholes[base], power)
        return x

    # --- sums --------------------------------------------------------------------------------------

    def _sum(self, node: Expr, there: bool) -> Monomial:
        terms: Terms = []
        for sign, operand in zip((1, 1 if node.op.name == "add" else -1), node.args):
            whole = self.uses.get(operand, 0) == 1 and operand in self.terms  # a part of this sum alone: it has no factors of its own
            found = self.terms[operand] if whole else self._terms_of(self.forms[operand])
            terms += [Monomial(sign * t.coefficient, t.powers) for t in found]
        terms = _merged(terms)
        if there:
            self._remember(node, terms)
            return Monomial(Fraction(1), {node: Fraction(1)})
        self.terms[node] = terms
        return self._product_of(terms)

    def _terms_of(self, x: Monomial) -> Terms:
        """The terms of a sum that nothing but a number stands before; otherwise the one."""
        if len(x.powers) == 1:
            [(base, power)] = x.powers.items()
            if power == 1 and base in self.sums and (base not in self.kept or abs(x.coefficient) == 1):
                return [Monomial(t.coefficient * x.coefficient, t.powers) for t in self.sums[base]]
        return [x]

    def _product_of(self, terms: Terms) -> Monomial:
        """A sum as its common factor times what remains."""
        if len(terms) < 2:
            return terms[0] if terms else Monomial(Fraction(0), {})
        factor = _common(terms, self.fractions)
        if self.fractions:
            multiplied = self._multiplied_out([t.times(_inverse(factor)) for t in terms])
            if len(multiplied) < len(terms) + any(p < 0 for p in factor.powers.values()):
                return self._settled(factor.times(self._product_of(multiplied)))
        return self._behind(factor, terms)

    def _behind(self, factor: Monomial, terms: Terms) -> Monomial:
        inverse = _inverse(factor)
        rest = [t.times(inverse) for t in terms]
        flat = _merged([u for t in rest for u in self._terms_of(t)])
        if len(flat) != len(rest):
            return self._settled(factor.times(self._product_of(flat)))
        base, scale = self._base_of(flat)
        return self._settled(Monomial(factor.coefficient * scale, factor.powers).times(Monomial(Fraction(1), {base: Fraction(1)})))

    def _multiplied_out(self, terms: Terms) -> Terms:
        """The terms without brackets, where few enough come of it."""
        waiting, done = list(terms), Terms()
        while waiting:
            term = waiting.pop()
            inner = next((b for b, p in term.powers.items() if b in self.sums and p.denominator == 1 and 1 <= p <= 2), None)
            if inner is None:
                done.append(term)
                continue
            rest = term.times(Monomial(Fraction(1), {inner: Fraction(1)}), -1)
            waiting.extend(rest.times(t) for t in self.sums[inner])
            if len(waiting) + len(done) > MAX_TERMS * len(terms):
                return terms
        return _merged(done[::-1])

    def _base_of(self, terms: Terms) -> tuple[Expr, Fraction]:
        """The node that is this sum but for a factor, and the factor."""
        identity, scale = _identity(terms)
        if identity in self.known:
            base, other = self.known[identity]
            return base, scale / other
        written = sorted(terms, key=lambda t: t.coefficient < 0)
        sign = 1
        if written[0].coefficient < 0:
            sign = -1
            written = [Monomial(-t.coefficient, t.powers) for t in written]
        base = built_sum([(1 if t.coefficient > 0 else -1, self.write(Monomial(abs(t.coefficient), t.powers))) for t in written])
        self._remember(base, written)
        return base, Fraction(sign)

    def _remember(self, base: Expr, terms: Terms) -> None:
        if len(terms) > 1:
            self.sums[base] = terms
            identity, scale = _identity(terms)
            self.known.setdefault(identity, (base, scale))

    # --- writing -----------------------------------------------------------------------------------

    def write(self, x: Monomial) -> Expr:
        """The cheapest way to compute a product from what is there."""
        for base in [b for b, p in x.powers.items() if b in self.wholes and p.denominator == 2]:
            for step in (1, -1):  # x/sqrt(x*y) is sqrt(x*y)/y
                other = x.times(Monomial(Fraction(1), {base: Fraction(1)}), step).times(self.wholes[base], -step)
                x = min(x, other, key=_price)
        while x.coefficient:
            near = [(node, form) for node, form in self.reused.items() if form.powers.keys() & x.powers.keys()]
            trials = [self._with(node, form, power, x) for node, form in near for power in (1, -1, 2)]
            best = min(trials, key=_price, default=x)
            if _price(best) >= _price(x):
                break
            x = best
        return _written(x)

    def _with(self, node: Expr, form: Monomial, power: int, x: Monomial) -> Monomial:
        return x.times(form, -power).times(Monomial(Fraction(1), {node: Fraction(1)}), power)


# --- numbers and terms -----------------------------------------------------------------------------


def _nice(node: Expr) -> Fraction | None:
    """A number that may be added up and multiplied: whole, or a short binary fraction."""
    value = number(node)
    if value is None or node.shape or not isfinite(value) or (value == 0 and str(value).startswith("-")):
        return None
    fraction = Fraction(value)
    return fraction if abs(fraction.numerator) < 10**6 and fraction.denominator <= 1024 else None


def _exponent(node: Expr) -> Fraction | None:
    value = number(node)
    if value is None or node.shape or not abs(value) <= MAX_POWER or value != int(value):
        return None
    return Fraction(int(value))


def _inverse(x: Monomial) -> Monomial:
    return Monomial(1 / x.coefficient, {base: -power for base, power in x.powers.items()})


def _merged(terms: Iterable[Monomial]) -> Terms:
    """Like terms added up, in order of appearance."""
    found: dict[Key, Monomial] = {}
    for t in terms:
        key = t.key
        found[key] = Monomial(found[key].coefficient + t.coefficient, t.powers) if key in found else t
    return [t for t in found.values() if t.coefficient]


def _common(terms: Terms, fractions: bool) -> Monomial:
    """What all terms have in common. ``fractions``: also what some divide by."""
    bases = dict.fromkeys(b for t in terms for b in t.powers)
    powers: Powers = {}
    for base in bases:
        here = [t.powers.get(base, Fraction(0)) for t in terms]
        least = min(here)
        if least > 0 or (fractions and least < 0):
            powers[base] = least
        elif max(here) < 0:
            powers[base] = max(here)
    sizes = [t.coefficient for t in terms]
    return Monomial(Fraction(reduce(gcd, [s.numerator for s in sizes]), reduce(_lcm, [s.denominator for s in sizes])), powers)


def _lcm(a: int, b: int) -> int:
    return a * b // gcd(a, b)


def _identity(terms: Terms) -> tuple[frozenset[tuple[Key, Fraction]], Fraction]:
    """What equal sums have in common, up to a factor, and the factor."""
    scale = max((t.coefficient for t in terms), key=lambda c: (abs(c), c))
    plus = frozenset((t.key, t.coefficient / abs(scale)) for t in terms)
    minus = frozenset((key, -c) for key, c in plus)
    return (plus, abs(scale)) if hash(plus) <= hash(minus) else (minus, -abs(scale))


# --- products --------------------------------------------------------------------------------------


def _sides(x: Monomial) -> tuple[dict[Fraction, list[Expr]], dict[Fraction, list[Expr]]]:
    """By exponent, the bases that are multiplied and those that are divided by."""
    above: dict[Fraction, list[Expr]] = {}
    below: dict[Fraction, list[Expr]] = {}
    for base, power in x.powers.items():
        (above if power > 0 else below).setdefault(abs(power), []).append(base)
    return above, below


def _price(x: Monomial) -> float:
    """What the product costs, its bases being there."""
    above, below = _sides(x)
    total = 0.0
    for side in (above, below):
        total += sum(len(bases) - 1 + _power_price(power) for power, bases in side.items()) + max(0, len(side) - 1)
    top, bottom = abs(x.coefficient.numerator), x.coefficient.denominator
    total += (top != 1 and bool(above)) + (bottom != 1 and bool(below)) + (x.coefficient < 0 and (top == 1 or not above))
    if below:
        total += 4.0
    elif bottom != 1 and above:
        total += 1.0 if bottom & (bottom - 1) == 0 else 4.0
    return total


def _power_price(power: Fraction) -> float:
    whole = power.numerator // power.denominator
    return (6.0 + (whole > 0) if power.denominator == 2 else 0.0) + power_cost(whole or 1)


def _written(x: Monomial) -> Expr:
    above, below = _sides(x)
    top, bottom = abs(x.coefficient.numerator), x.coefficient.denominator
    numerator = _multiplied(above, top)
    if below or bottom != 1:
        divisor = _multiplied(below, bottom)
        assert divisor is not None
        result = do("div", constant(1) if numerator is None else numerator, divisor)
    else:
        result = constant(1) if numerator is None else numerator
    if x.coefficient == 0:
        return constant(0)
    return do("neg", result) if x.coefficient < 0 else result


def _multiplied(side: Mapping[Fraction, list[Expr]], factor: int) -> Expr | None:
    parts = [constant(factor)] if factor != 1 else []
    for power, bases in sorted(side.items(), key=lambda item: item[0]):
        constants = [b for b in bases if b.op is CONSTANT]
        product = reduce(lambda a, b: do("mul", a, b), constants + [b for b in bases if b.op is not CONSTANT])
        parts.append(_raised(product, power))
    return reduce(lambda a, b: do("mul", a, b), parts) if parts else None


def _raised(base: Expr, power: Fraction) -> Expr:
    whole = power.numerator // power.denominator
    if power.denominator == 2:
        root = do("sqrt", base)
        return root if not whole else do("mul", base if whole == 1 else do("pow", base, whole), root)
    return base if whole == 1 else do("pow", base, whole)
