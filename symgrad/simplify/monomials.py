"""MONOMIALS: products as exponents of their factors, sums as terms behind their common factor; what is computed anyway is used again.

A source of forms for islands, without SymPy: ``p/(p/q)/q`` is 1, ``h*x*x + h*x**2`` is ``2*h*x**2``, and the derivative of
``q/c`` is ``-y/c`` where ``y`` is ``q/c``. Whether a form may be taken is decided there, by cost and by agreement.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from functools import cache, lru_cache, reduce
from math import gcd, isfinite, lcm
from typing import Any, NamedTuple, Protocol, Union

from symgrad.expr import CONSTANT, Expr, constant, topological
from symgrad.simplify.cost import power_cost
from symgrad.simplify.rewriting import do, number, see
from symgrad.simplify.terms import built_sum, may_join

__all__ = ["ONE", "Gatherer", "Identity", "Monomial", "Rational", "Terms", "gathered", "gatherings", "merged"]

MAX_POWER = 16
MAX_TERMS = 12  # of a sum that is multiplied out
MAX_REUSED = 48  # nodes that a product is compared with
MAX_SHARED = 12  # nodes with several uses that are kept as they are in one of the ways

Rational = Union[int, Fraction]  # whole numbers mostly are int, which is many times faster
Powers = dict[Expr, int]  # exponents in halves: 2 is the first power, 1 the root
Key = frozenset[tuple[Expr, int]]


class Monomial(NamedTuple):
    """``coefficient`` times every base to its power."""

    coefficient: Rational
    powers: Powers

    def times(self, other: Monomial, exponent: int = 1) -> Monomial:
        """Times a power of another one."""
        powers = dict(self.powers)
        for base, power in other.powers.items():
            total = powers.get(base, 0) + power * exponent
            if total:
                powers[base] = total
            else:
                powers.pop(base, None)
        factor = other.coefficient
        if factor == 1:
            return Monomial(self.coefficient, powers)
        if exponent != 1:
            factor = factor**exponent if exponent > 0 else Fraction(factor) ** exponent
        return Monomial(self.coefficient * factor, powers)

    @property
    def key(self) -> Key:
        return frozenset(self.powers.items())


ONE = Monomial(1, {})
Terms = list[Monomial]


class Identity(Protocol):
    """What is known about factors and terms besides: both give what they are given in another form of the same value, or as it is."""

    def product(self, x: Monomial, gatherer: Gatherer) -> Monomial: ...

    def terms(self, terms: Terms, gatherer: Gatherer) -> Terms: ...


def gathered(
    roots: Sequence[Expr], kept: Sequence[Expr] = (), *, fractions: bool = False, guarded: bool = True, identity: Identity | None = None
) -> list[Expr]:  # fmt: skip
    """The roots with factors and terms gathered; what ``kept`` consists of is there anyway.

    ``fractions``: also brings terms to a common denominator. ``guarded``: ``nonnegative(x)``, which is NaN below zero, is not ``x``.
    ``identity``: what products and sums go through besides (see ``identities``).

    >>> import symgrad as sg
    >>> p, q, h, x = sg.symbols("p q h x")
    >>> gathered([p/(p/q)/q, h*x*x + h*x**2])
    [1, 2*h*x**2]
    """
    return Gatherer(kept, fractions, guarded, identity).forms_of(roots)


def gatherings(roots: Sequence[Expr]) -> list[list[Expr]]:
    """The roots gathered in every way that may come out cheapest: with what the first one computes as it is, with all that is used more
    than once as it is, over a common denominator, without domain guards.

    >>> import symgrad as sg
    >>> x, y = sg.symbols("x y")
    >>> gatherings([1/x + 1/y])
    [[1/x + 1/y], [(y + x)/(x*y)]]
    """
    found: dict[tuple[Expr, ...], None] = {}
    first = list(roots[:1])
    guards = any(n.op.name == "nonnegative" for n in topological(*roots))
    for guarded in (False, True) if guards else (True,):
        together = _with_and_without_fractions(roots, (), guarded)
        found.update(dict.fromkeys(map(tuple, together)))
        if len(roots) > 1 and any(forms[0] is not roots[0] for forms in together):
            found.update({(roots[0], *forms): None for forms in _with_and_without_fractions(roots[1:], first, guarded)})
    if 0 < len(shared := _shared(roots)) <= MAX_SHARED:  # it may be there for its range
        found[tuple(gathered(roots, shared))] = None
    return [list(forms) for forms in found]


def _with_and_without_fractions(roots: Sequence[Expr], kept: Sequence[Expr], guarded: bool) -> list[list[Expr]]:
    gatherer = Gatherer(kept, False, guarded)
    found = [gatherer.forms_of(roots)]
    if gatherer.fractional:
        found.append(gathered(roots, kept, fractions=True, guarded=guarded))
    return found


def _shared(roots: Sequence[Expr]) -> list[Expr]:
    """The nodes with more than one use."""
    uses: dict[Expr, int] = {}
    for node in topological(*roots):
        for a in node.args:
            uses[a] = uses.get(a, 0) + 1
    return [node for node, n in uses.items() if n > 1 and node.args]


class Gatherer:
    """``forms``: what nodes are as monomials. ``sums``: a base that is a sum → its terms. ``known``: terms → the base that has them.
    ``reused``: nodes that are there, with what they are.
    ``terms``: sums → their terms, before their common factor was looked for. ``uses``: how many nodes use a node.
    ``fractional``: some sum may come out another way over a common denominator."""

    def __init__(self, kept: Sequence[Expr], fractions: bool, guarded: bool, identity: Identity | None = None) -> None:
        self.kept = set(topological(*kept))
        self.fractions, self.guarded, self.identity = fractions, guarded, identity
        self.forms: dict[Expr, Monomial] = {}
        self.uses: dict[Expr, int] = {}
        self.terms: dict[Expr, Terms] = {}
        self.sums: dict[Expr, Terms] = {}
        self.known: dict[frozenset[tuple[Key, Rational]], tuple[Expr, Rational]] = {}
        self.wholes: dict[Expr, Monomial] = {}  # of which roots are taken: a base → what it is
        self.reused: dict[Expr, Monomial] = {}
        self.fractional = False
        self._read(topological(*kept))

    def forms_of(self, roots: Sequence[Expr]) -> list[Expr]:
        return [self.form(root, last=root is roots[-1]) for root in roots]

    def form(self, root: Expr, last: bool = False) -> Expr:
        """A root in its gathered form, which is there from now on. ``last``: nothing is asked after it."""
        order = topological(root)
        for node in order:
            for a in node.args:
                self.uses[a] = self.uses.get(a, 0) + 1
        self._read(order)
        new = self.write(self.forms[root])
        if not last:
            self._read(topological(new), there=True)
        return new

    # --- reading -----------------------------------------------------------------------------------

    def monomial(self, node: Expr) -> Monomial:
        """What a node is, also one that no root has."""
        if node not in self.forms:
            self._read(topological(node))
        return self.forms[node]

    def _read(self, order: Sequence[Expr], there: bool = False) -> None:
        for node in order:
            if node not in self.forms:
                self.forms[node] = self._form(node, there or node in self.kept)
            if there or node in self.kept:
                self._offer(node)

    def _offer(self, node: Expr) -> None:
        form = self.forms[node]
        if (len(form.powers) > 1 or 2 not in form.powers.values()) and form.powers and form.coefficient and len(self.reused) < MAX_REUSED:
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
            exponent = 2 if name == "square" else _exponent(node.args[1])
            if exponent is not None and (args[0].coefficient or exponent > 0):
                return self._settled(ONE.times(args[0], exponent))
        if name == "sqrt":
            return self._root(args[0])
        if name in ("add", "sub"):
            return self._sum(node, there)
        base = self._base(node)
        return base if self.identity is None else self.identity.product(base, self)

    def _base(self, node: Expr) -> Monomial:
        """A node as it is, on its operands as they have become."""
        args = [self.write(self.forms[a]) if node not in self.kept else a for a in node.args]
        new = node if all(a is b for a, b in zip(args, node.args)) else do(node.op.name, *args, **node.params)
        if new.shape != node.shape or new.kind != node.kind:
            new = node
        return Monomial(1, {new: 2})

    def _root(self, x: Monomial) -> Monomial:
        """The root of a product is no product of roots: its factors may be negative."""
        if not x.coefficient:
            return x  # of a sum whose terms cancel: nothing is divided by it
        if x.coefficient == 1 and len(x.powers) == 1:
            [(base, power)] = x.powers.items()
            if power == 4:
                return Monomial(x.coefficient, {do("abs", base): 2})
        whole = self.write(x)
        guarded = see(whole)
        self.wholes[whole] = self.forms.get(guarded, x) if guarded is not whole else x
        return Monomial(1, {whole: 1})

    def _settled(self, x: Monomial) -> Monomial:
        """Whole powers of what a root was taken of, as the powers of its factors; even powers of ``abs(x)`` as those of ``x``."""
        for base, power in list(x.powers.items()):
            if power % 4 == 0 and base.op.name == "abs" and base.args[0] in self.forms:
                rest = {b: p for b, p in x.powers.items() if b is not base}
                x = Monomial(x.coefficient, rest).times(self.forms[base.args[0]], power // 2)
        for base in [b for b, p in x.powers.items() if p % 2 == 0 and b in self.wholes]:
            power = x.powers[base]
            if self.wholes[base].powers != {base: 2}:
                x = Monomial(x.coefficient, {b: p for b, p in x.powers.items() if b is not base}).times(self.wholes[base], power // 2)
        return x if self.identity is None else self.identity.product(x, self)

    # --- sums --------------------------------------------------------------------------------------

    def _sum(self, node: Expr, there: bool) -> Monomial:
        terms: Terms = []
        for sign, operand in zip((1, 1 if node.op.name == "add" else -1), node.args):
            whole = self.uses.get(operand, 0) == 1 and operand in self.terms  # a part of this sum alone: it has no factors of its own
            found = self.terms[operand] if whole else self._terms_of(self.forms[operand])
            terms += found if sign > 0 else [_negative(t) for t in found]
        terms = merged(terms)
        if there:
            self._remember(node, terms)
            return Monomial(1, {node: 2})
        self.terms[node] = terms
        return self.product_of(terms)

    def _terms_of(self, x: Monomial) -> Terms:
        """The terms of a sum that nothing but a number stands before; otherwise the one."""
        if len(x.powers) == 1:
            [(base, power)] = x.powers.items()
            if power == 2 and base in self.sums and (base not in self.kept or abs(x.coefficient) == 1):
                return [t.times(Monomial(x.coefficient, {})) for t in self.sums[base]]
        return [x]

    def product_of(self, terms: Terms) -> Monomial:
        """A sum as its common factor times what remains."""
        if self.identity is not None:
            terms = self.identity.terms(terms, self)
        if len(terms) < 2:
            return terms[0] if terms else Monomial(0, {})
        factor = _common(terms, self.fractions)
        if self.fractions:
            multiplied = self.multiplied_out([t.times(_inverse(factor)) for t in terms])
            if self.identity is not None:
                multiplied = self.identity.terms(multiplied, self)
            if len(multiplied) < len(terms) + any(p < 0 for p in factor.powers.values()):
                return self._settled(factor.times(self.product_of(multiplied)))
        elif not self.fractional:
            self.fractional = any(p < 0 or (p in (2, 4) and b in self.sums) for t in terms for b, p in t.powers.items())
        return self._behind(factor, terms)

    def _behind(self, factor: Monomial, terms: Terms) -> Monomial:
        inverse = _inverse(factor)
        rest = [t.times(inverse) for t in terms]
        flat = merged([u for t in rest for u in self._terms_of(t)])
        if len(flat) != len(rest):
            return self._settled(factor.times(self.product_of(flat)))
        base, scale = self._base_of(flat)
        return self._settled(Monomial(factor.coefficient * scale, factor.powers).times(Monomial(1, {base: 2})))

    def multiplied_out(self, terms: Terms) -> Terms:
        """The terms without brackets, where few enough come of it."""
        waiting, done = list(terms), Terms()
        while waiting:
            term = waiting.pop()
            inner = next((b for b, p in term.powers.items() if b in self.sums and p in (2, 4)), None)
            if inner is None:
                done.append(term)
                continue
            rest = term.times(Monomial(1, {inner: 2}), -1)
            waiting.extend(rest.times(t) for t in self.sums[inner])
            if len(waiting) + len(done) > MAX_TERMS * len(terms):
                return terms
        return merged(done[::-1])

    def _base_of(self, terms: Terms) -> tuple[Expr, Rational]:
        """The node that is this sum but for a factor, and the factor."""
        identity, scale = _identity(terms)
        if identity in self.known:
            base, other = self.known[identity]
            return base, _ratio(scale, other)
        written = sorted(terms, key=lambda t: t.coefficient < 0)
        sign = 1
        if written[0].coefficient < 0:
            sign = -1
            written = [_negative(t) for t in written]
        base = built_sum([(1, self.write(t)) if t.coefficient > 0 else (-1, self.write(_negative(t))) for t in written])
        if len(terms) > 1:
            self.sums[base] = written
            self.known[identity] = (base, scale * sign)
        return base, sign

    def _remember(self, base: Expr, terms: Terms) -> None:
        if len(terms) > 1:
            self.sums[base] = terms
            identity, scale = _identity(terms)
            self.known.setdefault(identity, (base, scale))

    # --- writing -----------------------------------------------------------------------------------

    def write(self, x: Monomial) -> Expr:
        """The cheapest way to compute a product from what is there."""
        for base in [b for b, p in x.powers.items() if p % 2 and b in self.wholes]:
            for step in (1, -1):  # x/sqrt(x*y) is sqrt(x*y)/y
                other = x.times(Monomial(1, {base: 2}), step).times(self.wholes[base], -step)
                x = min(x, other, key=_price)
        price = _price(x)
        while x.coefficient and price:
            near = [(node, form) for node, form in self.reused.items() if not x.powers.keys().isdisjoint(form.powers)]
            trials = [self._with(node, form, n, x) for node, form in near for n in (1, -1, 2) if _uses_up(x.powers, form.powers, n)]
            prices = [_price(t) for t in trials]
            least = min(prices, default=price)
            if least >= price:
                break
            x, price = trials[prices.index(least)], least
        return _written(x)

    def _with(self, node: Expr, form: Monomial, power: int, x: Monomial) -> Monomial:
        rest = x.times(form, -power)
        total = rest.powers.pop(node, 0) + 2 * power
        if total:
            rest.powers[node] = total
        return rest


def _uses_up(powers: Powers, part: Powers, exponent: int) -> bool:
    """Whether a product is left with lower powers without this part."""
    gain = 0
    for base, power in part.items():
        here = powers.get(base, 0)
        gain += abs(here) - abs(here - power * exponent)
    return gain > 0


# --- numbers and terms -----------------------------------------------------------------------------


def _nice(node: Expr) -> Rational | None:
    """A number that may be added up and multiplied: whole, or a short binary fraction."""
    value = number(node)
    if value is None or node.shape or not isfinite(value) or (value == 0 and str(value).startswith("-")):
        return None
    return _short(value)


@lru_cache(maxsize=1024)
def _short(value: int | float) -> Rational | None:
    fraction = Fraction(value)
    if abs(fraction.numerator) >= 10**6 or fraction.denominator > 1024:
        return None
    return fraction.numerator if fraction.denominator == 1 else fraction


def _ratio(a: Rational, b: Rational) -> Rational:
    return a if b == 1 else -a if b == -1 else Fraction(a) / b


def _exponent(node: Expr) -> int | None:
    value = number(node)
    if value is None or node.shape or not abs(value) <= MAX_POWER or value != int(value):
        return None
    return int(value)


def _negative(x: Monomial) -> Monomial:
    return Monomial(-x.coefficient, x.powers)


def _inverse(x: Monomial) -> Monomial:
    return Monomial(_ratio(1, x.coefficient), {base: -power for base, power in x.powers.items()})


def merged(terms: Iterable[Monomial]) -> Terms:
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
        here = [t.powers.get(base, 0) for t in terms]
        least = min(here)
        if least > 0 or (fractions and least < 0):
            powers[base] = least
        elif max(here) < 0:
            powers[base] = max(here)
    sizes = [t.coefficient for t in terms]
    return Monomial(_ratio(gcd(*(s.numerator for s in sizes)), lcm(*(s.denominator for s in sizes))), powers)


def _identity(terms: Terms) -> tuple[frozenset[tuple[Key, Rational]], Rational]:
    """What equal sums have in common, up to a factor, and the factor."""
    sizes: list[Any] = [abs(t.coefficient) for t in terms]
    largest: Rational = max(sizes)
    plus = frozenset((t.key, _ratio(t.coefficient, largest)) for t in terms)
    minus = frozenset((key, -c) for key, c in plus)
    return (plus, largest) if hash(plus) <= hash(minus) else (minus, -largest)


# --- products --------------------------------------------------------------------------------------


def _sides(x: Monomial) -> tuple[dict[int, list[Expr]], dict[int, list[Expr]]]:
    """By exponent, the bases that are multiplied and those that are divided by."""
    above: dict[int, list[Expr]] = {}
    below: dict[int, list[Expr]] = {}
    for base, power in x.powers.items():
        (above if power > 0 else below).setdefault(abs(power), []).append(base)
    return above, below


def _price(x: Monomial) -> float:
    """What the product costs, its bases being there."""
    factor, x = _one_number(x)
    if factor is not None:
        return _price(x) + 1.0 if any(p > 0 for p in x.powers.values()) else _price(x)
    bases: dict[int, int] = {}  # how many there are of each exponent
    for power in x.powers.values():
        bases[power] = bases.get(power, 0) + 1
    total, above, below = 0.0, 0, 0
    for power, number_of in bases.items():
        total += number_of - 1 + _power_price(power)
        if power > 0:
            above += 1
        else:
            below += 1
    total += max(0, above - 1) + max(0, below - 1) + (4.0 if below else 0.0)
    if below == 1 and above and (power := min(bases)) < -2 and -power in bases and x.coefficient.denominator == 1:
        total -= _power_price(power)  # x**2/y**2 is (x/y)**2
    if x.coefficient == 1:
        return total
    top, bottom = abs(x.coefficient.numerator), x.coefficient.denominator
    total += (top != 1 and above > 0) + (bottom != 1 and below > 0) + (x.coefficient < 0 and (top == 1 or not above))
    if bottom != 1 and above and not below:
        total += 1.0 if bottom & (bottom - 1) == 0 else 4.0
    return total


@cache
def _power_price(power: int) -> float:
    whole = abs(power) // 2
    return (6.0 + (whole > 0) if power % 2 else 0.0) + power_cost(whole or 1)


def _one_number(x: Monomial) -> tuple[float | None, Monomial]:
    """All numbers of a product as one, rounded once, and the product without them; ``None`` where there are only exact ones."""
    inexact: Powers = {}
    for base, power in x.powers.items():
        if base.op is CONSTANT and power % 2 == 0:
            inexact[base] = power
    if not inexact or not all(may_join(float(number(base) or 0)) for base in inexact):
        return None, x
    factor = float(reduce(lambda a, b: a * b, (Fraction(float(number(b) or 0)) ** (p // 2) for b, p in inexact.items()), x.coefficient))
    rest = Monomial(1, {base: power for base, power in x.powers.items() if base not in inexact})
    return (factor, rest) if may_join(factor) else (None, x)


def _written(x: Monomial) -> Expr:
    factor, x = _one_number(x)
    above, below = _sides(x)
    top, bottom = x.coefficient.numerator, x.coefficient.denominator
    front = constant(factor) if factor is not None and factor != 1 else constant(top) if abs(top) != 1 and factor is None else None
    if len(below) == 1 and bottom == 1 and (power := min(below)) > 2 and power in above:  # x**2/y**2 is (x/y)**2
        quotient = do("div", _product(above[power]), _product(below[power]))
        above, below = {**above, power: [quotient]}, {}
    numerator = _multiplied(above, front)
    if below or bottom != 1:
        divisor = _multiplied(below, constant(bottom) if bottom != 1 else None)
        assert divisor is not None
        result = do("div", constant(1) if numerator is None else numerator, divisor)
    else:
        result = constant(1) if numerator is None else numerator
    if x.coefficient == 0:
        return constant(0)
    return do("neg", result) if top == -1 else result


def _multiplied(side: Mapping[int, list[Expr]], factor: Expr | None) -> Expr | None:
    parts = [factor] if factor is not None else []
    for power, bases in sorted(side.items(), key=lambda item: item[0]):
        parts.append(_raised(_product(bases), power))
    return reduce(lambda a, b: do("mul", a, b), parts) if parts else None


def _product(bases: Sequence[Expr]) -> Expr:
    """Constants first."""
    return reduce(lambda a, b: do("mul", a, b), sorted(bases, key=lambda b: b.op is not CONSTANT))


def _raised(base: Expr, power: int) -> Expr:
    whole = power // 2
    if power % 2:
        root = do("sqrt", base)
        return root if not whole else do("mul", base if whole == 1 else do("pow", base, whole), root)
    return base if whole == 1 else do("pow", base, whole)
