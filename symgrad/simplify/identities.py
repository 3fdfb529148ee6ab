"""IDENTITIES: what is known of functions, and of polynomials, besides the laws of sums and products: other forms for islands.

``cos(x)**2 - sin(x)**2`` is ``cos(2*x)``, ``2*sin(x)*cos(x)`` is ``sin(2*x)``, ``(x**3 - 1)/(x - 1)`` is ``x**2 + x + 1``. Every identity
is a way to gather factors and terms (see ``monomials``): products and sums go through it while they are read, so that what becomes
of them is gathered with all the rest. Which form is taken is decided in ``islands``, by cost and by agreement.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import combinations, permutations, product
from math import lcm

from symgrad.expr import Expr, topological
from symgrad.simplify.cost import cost
from symgrad.simplify.monomials import ONE, Gatherer, Identity, Monomial, Terms, gathered
from symgrad.simplify.polynomials import Sparse, common_factor, may_cancel, quotient
from symgrad.simplify.products import products_shared
from symgrad.simplify.rewriting import do
from symgrad.simplify.trigonometry import trigonometric

__all__ = ["identical"]

MAX_ROUNDS = 3  # one identity after the other
MAX_FORMS = 3  # that are given back, the cheapest ones
MAX_EXPONENT = 4  # of an exponential written as a power of another one
MAX_DIVISORS = 4  # sums that are divided by, compared with each other
_DEARER = 8.0  # operations that a form may have more than the best one and still be looked at: rules make it cheaper


def identical(roots: Sequence[Expr]) -> list[list[Expr]]:
    """Other forms of the roots, those that cost little more than the cheapest one; none where no identity applies.

    >>> import symgrad as sg
    >>> x, y = sg.symbols("x y")
    >>> min(identical([y * sg.sin(x)**2 + y * sg.cos(x)**2]), key=cost)
    [y]
    """
    best, price = list(roots), cost(roots)
    found: dict[tuple[Expr, ...], float] = {}
    for _ in range(MAX_ROUNDS):
        new = {tuple(forms): cost(forms) for forms in _forms(best)}
        found |= new
        least = min(new, key=lambda forms: new[forms], default=None)
        if least is None or new[least] >= price:
            break
        best, price = list(least), new[least]
    ranked = sorted(found, key=lambda forms: found[forms])
    return [products_shared(forms) for forms in ranked[:MAX_FORMS] if found[forms] < price + _DEARER and forms != tuple(roots)]


def _forms(roots: Sequence[Expr]) -> Iterator[list[Expr]]:
    for identity in _identities(roots):
        watched = _Watched(identity)
        gatherer = Gatherer((), False, True, watched)
        forms = gatherer.forms_of(roots)
        if watched.applied or isinstance(identity, _Cancelled):  # a common denominator may be what is missing to that one
            yield forms
            if gatherer.fractional:
                yield gathered(roots, fractions=True, identity=identity)


class _Watched:
    """An identity, and whether it has changed anything."""

    def __init__(self, identity: Identity) -> None:
        self.identity, self.applied = identity, False

    def product(self, x: Monomial, gatherer: Gatherer) -> Monomial:
        new = self.identity.product(x, gatherer)
        self.applied |= new is not x
        return new

    def terms(self, terms: Terms, gatherer: Gatherer) -> Terms:
        new = self.identity.terms(terms, gatherer)
        self.applied |= len(new) != len(terms) or any(a is not b for a, b in zip(new, terms))
        return new


# --- which identities there are ----------------------------------------------------------------------------


def _identities(roots: Sequence[Expr]) -> list[Identity]:
    """Those that the functions and quotients in the roots give reason to try."""
    order = topological(*roots)
    found = trigonometric(order)
    if sum(n.op.name == "exp" for n in order) > 1 and (units := _units(order)):
        found.append(_OneExponential(units))
        if any(n < 0 for _, n in units.values()):
            found.append(_Hyperbolic(units))
    if sum(n.op.name == "log" for n in order) > 1:
        found.append(_OneLogarithm())
    if _has_common_factors(order):
        found.append(_Cancelled())
    return found


def _has_common_factors(order: Sequence[Expr]) -> bool:
    """Whether there is a quotient of sums, or are quotients by two sums, that have a factor in common."""
    inside: dict[Expr, bool] = {}  # whether there is a sum among the factors
    for n in order:
        inside[n] = n.op.name in ("add", "sub") or (n.op.name in ("mul", "pow", "neg") and any(inside[a] for a in n.args))
    quotients = [n for n in order if n.op.name == "div" and inside[n.args[1]]]
    if any(inside[n.args[0]] and may_cancel(*n.args) for n in quotients):
        return True
    divisors = list(dict.fromkeys(n.args[1] for n in quotients))
    if not 1 < len(divisors) <= MAX_DIVISORS or not any(n.op.name in ("add", "sub") and n not in divisors for n in order):
        return False
    return any(may_cancel(a, b) for a, b in combinations(divisors, 2))


# --- exponentials and logarithms ---------------------------------------------------------------------------


def _units(order: Sequence[Expr]) -> dict[Expr, tuple[Expr, int]]:
    """Exponents, as they stand and as they are written, of exponentials that are whole powers of others: each as that one and the power."""
    gatherer = Gatherer((), False, True)
    by_kind: dict[object, list[tuple[Monomial, Expr]]] = {}
    for n in order:
        if n.op.name == "exp":
            x = gatherer.monomial(n.args[0])
            by_kind.setdefault(x.key, []).append((x, n.args[0]))
    found: dict[Expr, tuple[Expr, int]] = {}
    for group in by_kind.values():
        least, unit = min(group, key=lambda item: (abs(item[0].coefficient), item[0].coefficient < 0))
        for x, u in group:
            times = Fraction(x.coefficient) / least.coefficient if least.coefficient else Fraction(0)
            if u is not unit and times.denominator == 1 and 0 < abs(times) <= MAX_EXPONENT:
                power = (do("exp", gatherer.write(least)), int(times))
                found |= {u: power, gatherer.write(x): power}
    return found


class _OneExponential:
    """``exp(2*x)`` is the square of ``exp(x)``, ``exp(-x)`` its inverse."""

    def __init__(self, units: Mapping[Expr, tuple[Expr, int]]) -> None:
        self.units = units

    def product(self, x: Monomial, gatherer: Gatherer) -> Monomial:
        for base in [b for b in x.powers if b.op.name == "exp" and b.args[0] in self.units]:
            unit, n = self.units[base.args[0]]
            power = x.powers[base]
            x = x.times(Monomial(Fraction(1), {base: -power})).times(Monomial(Fraction(1), {unit: n * power}))
        return x

    def terms(self, terms: Terms, gatherer: Gatherer) -> Terms:
        return terms


class _Hyperbolic(_OneExponential):
    """``exp(x) + exp(-x)`` is ``2*cosh(x)``, their difference ``2*sinh(x)``."""

    def terms(self, terms: Terms, gatherer: Gatherer) -> Terms:
        for one, other in permutations(terms, 2):
            ratio = one.times(other, -1)
            if abs(ratio.coefficient) != 1 or len(ratio.powers) != 1:
                continue
            ((unit, power),) = ratio.powers.items()
            if unit.op.name == "exp" and power > 0 and one.powers.get(unit, 0) * 2 == power:  # the other one has as much below
                u = unit.args[0] if power == 4 else do("mul", power // 4, unit.args[0])
                new = do("cosh" if ratio.coefficient == 1 else "sinh", u)
                rest = one.times(Monomial(Fraction(2), {unit: -power // 2})).times(Monomial(Fraction(1), {new: 2}))
                return self.terms([rest, *(t for t in terms if t is not one and t is not other)], gatherer)
        return terms


class _OneLogarithm:
    """``y*log(a) - y*log(b)`` is ``y*log(a/b)``."""

    def product(self, x: Monomial, gatherer: Gatherer) -> Monomial:
        return x

    def terms(self, terms: Terms, gatherer: Gatherer) -> Terms:
        groups: dict[object, list[tuple[Monomial, Expr]]] = {}
        for t in terms:
            logs = [b for b, p in t.powers.items() if b.op.name == "log" and p == 2]
            if len(logs) == 1:
                rest = t.times(Monomial(Fraction(1), {logs[0]: -2}))
                groups.setdefault((rest.key, abs(rest.coefficient)), []).append((rest, logs[0]))
        for group in groups.values():
            if len(group) > 1:
                argument = ONE
                for rest, log in group:
                    argument = argument.times(gatherer.monomial(log.args[0]), 1 if rest.coefficient == group[0][0].coefficient else -1)
                gone = {(rest.times(Monomial(Fraction(1), {log: 2}))).key for rest, log in group}
                one = do("log", gatherer.write(argument))
                terms = [group[0][0].times(Monomial(Fraction(1), {one: 2})), *(t for t in terms if t.key not in gone)]
        return terms


# --- polynomials -------------------------------------------------------------------------------------------


class _Cancelled:
    """Sums that are multiplied and divided by without the factor that they have in common."""

    def product(self, x: Monomial, gatherer: Gatherer) -> Monomial:
        sums = [b for b, p in x.powers.items() if b in gatherer.sums and p % 2 == 0]
        for above, below in product(sums, sums):
            n, m = x.powers[above], x.powers[below]
            if n > 0 > m and (parts := self._divided(gatherer.sums[above], gatherer.sums[below], gatherer)) is not None:
                rest = Monomial(x.coefficient, {b: p for b, p in x.powers.items() if b not in (above, below)})
                factor, left, right = (gatherer.product_of(part) for part in parts)
                return rest.times(factor, (n + m) // 2).times(left, n // 2).times(right, m // 2)
        return x

    def terms(self, terms: Terms, gatherer: Gatherer) -> Terms:
        return terms

    def _divided(self, above: Terms, below: Terms, gatherer: Gatherer) -> tuple[Terms, Terms, Terms] | None:
        """The common factor of two sums, and both without it."""
        above, below = gatherer.multiplied_out(above), gatherer.multiplied_out(below)
        bases = list(dict.fromkeys(b for t in above + below for b in t.powers))
        step = 2 if all(p % 2 == 0 for t in above + below for p in t.powers.values()) else 1
        if any(p < 0 for t in above + below for p in t.powers.values()):
            return None
        scales = [lcm(*(t.coefficient.denominator for t in side)) for side in (above, below)]
        p, q = (
            {tuple(t.powers.get(b, 0) // step for b in bases): int(t.coefficient * scale) for t in side}
            for side, scale in zip((above, below), scales)
        )
        factor = common_factor(p, q)
        if factor is None:
            return None
        left, right = quotient(p, factor), quotient(q, factor)
        assert left is not None and right is not None
        parts = zip((factor, left, right), (1, *scales))
        first, second, third = (_terms(part, bases, step, scale) for part, scale in parts)
        return first, second, third


def _terms(p: Sparse, bases: Sequence[Expr], step: int, scale: int) -> Terms:
    return [Monomial(Fraction(c, scale), {b: n * step for b, n in zip(bases, key) if n}) for key, c in sorted(p.items(), reverse=True)]
