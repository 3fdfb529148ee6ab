"""IDENTITIES: what is known of functions, and of polynomials, besides the laws of sums and products: other forms for islands.

``cos(x)**2 - sin(x)**2`` is ``cos(2*x)``, ``2*sin(x)*cos(x)`` is ``sin(2*x)``, ``(x**3 - 1)/(x - 1)`` is ``x**2 + x + 1``. Every identity
is a way to gather factors and terms (see ``monomials``): products and sums go through it while they are read, so that what becomes
of them is gathered with all the rest. Which form is taken is decided in ``islands``, by cost and by agreement.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import product
from math import comb, lcm
from typing import NamedTuple

from symgrad.expr import Expr, topological
from symgrad.simplify.cost import cost
from symgrad.simplify.monomials import ONE, Gatherer, Identity, Monomial, Terms, gathered, merged
from symgrad.simplify.polynomials import Sparse, common_factor, may_cancel, quotient
from symgrad.simplify.rewriting import do

__all__ = ["identical"]

MAX_ROUNDS = 3  # one identity after the other
MAX_EXPONENT = 4  # of a square that is replaced, and of an exponential written as a power of another one
_DEARER = 8.0  # operations that a form may have more than the best one and still be looked at: rules make it cheaper
_HALF = Fraction(1, 2)


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
    return [list(forms) for forms, c in found.items() if c < price + _DEARER and list(forms) != list(roots)]


def _forms(roots: Sequence[Expr]) -> Iterator[list[Expr]]:
    for identity in _identities(roots):
        for fractions in (True, False):
            yield gathered(roots, fractions=fractions, identity=identity)


# --- which identities there are ----------------------------------------------------------------------------


def _identities(roots: Sequence[Expr]) -> list[Identity]:
    """Those that the functions and quotients in the roots give reason to try."""
    order = topological(*roots)
    names = {n.op.name for n in order}
    found: list[Identity] = []
    for family in (CIRCULAR, HYPERBOLIC):
        if not names.isdisjoint(family[:3]):
            found += _of_family(order, family)
    if sum(n.op.name == "exp" for n in order) > 1 and len(units := _units(order)) < sum(n.op.name == "exp" for n in order):
        found.append(_OneExponential(units))
    if sum(n.op.name == "log" for n in order) > 1:
        found.append(_OneLogarithm())
    if any(n.op.name == "div" and may_cancel(*n.args) for n in order):
        found.append(_Cancelled())
    return found


class _Family(NamedTuple):
    """Three functions of one kind; ``cosine**2 + sign*sine**2 = 1``."""

    sine: str
    cosine: str
    tangent: str
    sign: int


CIRCULAR = _Family("sin", "cos", "tan", 1)
HYPERBOLIC = _Family("sinh", "cosh", "tanh", -1)


class _Square(NamedTuple):
    """The square of a function of ``u`` is ``constant + factor * other(times*u)**power``."""

    constant: Fraction
    factor: Fraction
    other: str
    power: int
    times: int


def _squares(family: _Family) -> list[Mapping[str, _Square]]:
    """Three ways to have fewer functions in a sum: without squares of sines, without those of cosines, and by the double angle."""
    s, one = Fraction(family.sign), Fraction(1)
    sine = {family.sine: _Square(s, -s, family.cosine, 2, 1)}
    cosine = {family.cosine: _Square(one, -s, family.sine, 2, 1)}
    double = {family.sine: _Square(s * _HALF, -s * _HALF, family.cosine, 1, 2),
              family.cosine: _Square(_HALF, _HALF, family.cosine, 1, 2)}  # fmt: skip
    return [sine, cosine, double]


def _of_family(order: Sequence[Expr], family: _Family) -> list[Identity]:
    factors: dict[Expr, frozenset[Expr]] = {}  # the functions that are factors of a node
    for n in order:
        if n.op.name in _PRODUCT:
            factors[n] = frozenset().union(*(factors[a] for a in n.args))
        else:
            factors[n] = frozenset((n,)) if n.op.name in family[:3] else frozenset()
    functions = [n for n in order if n.op.name in family[:3]]
    squared = any(n.op.name in ("pow", "square") and factors[n.args[0]] for n in order)
    meet = any(len({f.args[0] for f in fs}) < len(fs) for fs in factors.values())
    found: list[Identity] = []
    without_sine, without_cosine, double = _squares(family)
    if squared and any(n.op.name in ("add", "sub") for n in order):
        found += [_Trigonometric(family, without_sine), _Trigonometric(family, without_cosine)]
    if squared or meet:
        found.append(_Trigonometric(family, double, _doubled))
    if meet and family is CIRCULAR:
        found.append(_Trigonometric(family, {}, _as_tangent))
    if any(n.op.name == family.tangent for n in functions) and len({n.args[0] for n in functions}) < len(functions):
        found += [_Trigonometric(family, squares, _as_quotient) for squares in (without_sine, without_cosine)]
    return found


_PRODUCT = frozenset({"mul", "div", "neg", "pow", "square"})


# --- sines and cosines -------------------------------------------------------------------------------------


class _Trigonometric:
    """``squares``: what even powers of functions are in sums. ``powers``: what becomes of the powers of one argument's functions."""

    def __init__(self, family: _Family, squares: Mapping[str, _Square], powers: _Powers | None = None) -> None:
        self.family, self.squares, self.powers = family, squares, powers

    def product(self, x: Monomial, gatherer: Gatherer) -> Monomial:
        if self.powers is None:
            return x
        family = self.family
        for u in {b.args[0]: None for b in x.powers if b.op.name in family[:3]}:
            here = [x.powers.get(do(name, u), 0) for name in family[:3]]
            if any(p % 2 for p in here):
                continue
            factor, new = self.powers(family, u, here, gatherer)
            rest = {b: p for b, p in x.powers.items() if b.op.name not in family[:3] or b.args[0] is not u}
            x = Monomial(x.coefficient * factor, rest).times(Monomial(Fraction(1), {b: p for b, p in new.items() if p}))
        return x

    def terms(self, terms: Terms, gatherer: Gatherer) -> Terms:
        arguments = {b.args[0]: None for t in terms for b, p in t.powers.items() if b.op.name in self.squares and p >= 4}
        for u in arguments:
            new = merged(part for t in terms for part in self._without_squares(t, u, gatherer))
            if len(new) <= len(terms):
                terms = new
        return terms

    def _without_squares(self, term: Monomial, u: Expr, gatherer: Gatherer) -> Terms:
        """The terms that a term with even powers of functions is."""
        terms = [term]
        for name, square in self.squares.items():
            base = do(name, u)
            n = term.powers.get(base, 0) // 4
            if 0 < n <= MAX_EXPONENT:
                other = do(square.other, _multiple(u, square.times, gatherer))
                parts = [
                    Monomial(comb(n, k) * square.constant ** (n - k) * square.factor**k, {other: 2 * k * square.power} if k else {})
                    for k in range(n + 1)
                ]
                terms = [t.times(Monomial(Fraction(1), {base: -4 * n})).times(part) for t in terms for part in parts]
        return terms


_Powers = Callable[[_Family, Expr, Sequence[int], Gatherer], "tuple[Fraction, dict[Expr, int]]"]


def _doubled(family: _Family, u: Expr, powers: Sequence[int], gatherer: Gatherer) -> tuple[Fraction, dict[Expr, int]]:
    """``sin(u)*cos(u)`` is ``sin(2*u)/2``."""
    s, c, t = powers
    n = min(abs(s), abs(c)) * (1 if s > 0 else -1) if s * c > 0 else 0
    functions = {do(family.sine, u): s - n, do(family.cosine, u): c - n, do(family.tangent, u): t}
    if not n:
        return Fraction(1), functions
    return _HALF ** (n // 2), functions | {do(family.sine, _multiple(u, 2, gatherer)): n}


def _as_tangent(family: _Family, u: Expr, powers: Sequence[int], gatherer: Gatherer) -> tuple[Fraction, dict[Expr, int]]:
    """``sin(u)/cos(u)`` is ``tan(u)``."""
    s, c, t = powers
    n = min(abs(s), abs(c)) * (1 if s > 0 else -1) if s * c < 0 else 0
    return Fraction(1), {do(family.sine, u): s - n, do(family.cosine, u): c + n, do(family.tangent, u): t + n}


def _as_quotient(family: _Family, u: Expr, powers: Sequence[int], gatherer: Gatherer) -> tuple[Fraction, dict[Expr, int]]:
    """``tan(u)`` is ``sin(u)/cos(u)``."""
    s, c, t = powers
    return Fraction(1), {do(family.sine, u): s + t, do(family.cosine, u): c - t}


def _multiple(u: Expr, n: int, gatherer: Gatherer) -> Expr:
    return u if n == 1 else gatherer.write(gatherer.monomial(u).times(Monomial(Fraction(n), {})))


# --- exponentials and logarithms ---------------------------------------------------------------------------


def _units(order: Sequence[Expr]) -> dict[Expr, tuple[Expr, int]]:
    """Exponentials that are whole powers of others in the formula: each as that one and the power."""
    gatherer = Gatherer((), False, True)
    by_kind: dict[object, list[tuple[Fraction, Expr]]] = {}
    for n in order:
        if n.op.name == "exp":
            x = gatherer.monomial(n.args[0])
            by_kind.setdefault(x.key, []).append((x.coefficient, n))
    found = {}
    for group in by_kind.values():
        least, unit = min(group, key=lambda item: (abs(item[0]), item[0] < 0))
        for c, n in group:
            if n is not unit and least and (c / least).denominator == 1 and abs(c / least) <= MAX_EXPONENT:
                found[n.args[0]] = (unit, int(c / least))
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
