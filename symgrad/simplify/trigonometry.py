"""TRIGONOMETRY: what is known of sines, cosines and tangents, circular and hyperbolic, as ways to gather factors and terms.

Every class is an identity for ``monomials``: what products and sums go through while they are read. Which ones are worth trying is seen
from where functions of one argument meet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from itertools import permutations
from math import comb
from typing import NamedTuple

from symgrad.expr import Expr
from symgrad.simplify.monomials import Gatherer, Identity, Monomial, Terms, merged
from symgrad.simplify.rewriting import do

__all__ = ["trigonometric"]

MAX_EXPONENT = 4  # of a square that is replaced
_HALF = Fraction(1, 2)
_PRODUCT = frozenset({"mul", "div", "neg", "pow", "square"})


# --- which identities there are ----------------------------------------------------------------------------


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


def trigonometric(order: Sequence[Expr]) -> list[Identity]:
    """The identities that there is reason to try, of all nodes of a formula, operands first.

    >>> import symgrad as sg
    >>> from symgrad.expr import topological
    >>> from symgrad.simplify.monomials import gathered
    >>> x = sg.symbol("x")
    >>> e = 2 * sg.sin(x) * sg.cos(x)
    >>> [gathered([e], identity=identity) for identity in trigonometric(topological(e))]
    [[sin(2*x)], [2*(sin(x)*cos(x))]]
    """
    names = {n.op.name for n in order}
    return [identity for family in (CIRCULAR, HYPERBOLIC) if not names.isdisjoint(family[:3]) for identity in _of_family(order, family)]


def _of_family(order: Sequence[Expr], family: _Family) -> list[Identity]:
    met = _Meetings(order, family)
    without_sine, without_cosine, double = _squares(family)
    found: list[Identity] = []
    if met.brackets or (met.squared and any(n.op.name in ("add", "sub") for n in order)):
        found += [_Trigonometric(family, without_sine), _Trigonometric(family, without_cosine)]
    if met.squared or met.twice or met.brackets or met.beside_a_bracket:
        found.append(_Trigonometric(family, double, _doubled))
    if met.twice and family is CIRCULAR:
        found.append(_Trigonometric(family, {}, _as_tangent))
    if any(n.op.name == family.tangent for n in met.functions) and len(met.arguments) < len(met.functions):
        found += [_Trigonometric(family, squares, _as_quotient) for squares in (without_sine, without_cosine)]
    if halves := _halves(met.arguments):
        found += [_OneArgument(family, halves, name) for name in family[:2]]
    if met.of_several_arguments > 1:
        found.append(_Sums(family))
    return found


class _Meetings:
    """Where the functions of a family meet in a formula.

    ``squared``: one, or a bracket with one, to a power. ``twice``: two of one argument in a product. ``brackets``: two brackets with
    functions of one argument in a product; ``beside_a_bracket``: a function beside one. ``of_several_arguments``: how many products
    have functions of more than one argument.
    """

    def __init__(self, order: Sequence[Expr], family: _Family) -> None:
        self.functions = [n for n in order if n.op.name in family[:3]]
        self.arguments = list(dict.fromkeys(f.args[0] for f in self.functions))
        self.squared = self.twice = self.brackets = self.beside_a_bracket = False
        self.of_several_arguments = 0
        nothing: frozenset[Expr] = frozenset()
        self.factors: dict[Expr, frozenset[Expr]] = dict.fromkeys(order, nothing)  # the functions among the factors of a node
        self.bracketed: dict[Expr, frozenset[Expr]] = dict.fromkeys(order, nothing)  # the arguments of those in brackets among them
        for n in order:
            if n.op.name in family[:3]:
                self.factors[n] = frozenset((n,))
            elif n.op.name in ("add", "sub"):
                self.bracketed[n] = frozenset().union(*({f.args[0] for f in self.factors[a]} | self.bracketed[a] for a in n.args))
            elif n.op.name in _PRODUCT:
                self._meet(n)

    def _meet(self, n: Expr) -> None:
        self.factors[n] = factors = frozenset().union(*(self.factors[a] for a in n.args))
        self.bracketed[n] = frozenset().union(*(self.bracketed[a] for a in n.args))
        arguments = {f.args[0] for f in factors}
        self.squared |= n.op.name in ("pow", "square") and bool(factors or self.bracketed[n])
        self.twice |= len(arguments) < len(factors)
        self.of_several_arguments += len(arguments) > 1
        if n.op.name == "mul":
            left, right = (self.bracketed[a] for a in n.args)
            self.brackets |= not left.isdisjoint(right)
            self.beside_a_bracket |= not arguments.isdisjoint(left | right)


def _halves(arguments: Sequence[Expr]) -> dict[Expr, Expr]:
    """Those that are twice another one, as they stand and as they are written, and that one."""
    gatherer = Gatherer((), False, True)
    forms = [(u, gatherer.monomial(u)) for u in arguments]
    found: dict[Expr, Expr] = {}
    for (_, x), (v, y) in permutations(forms, 2):
        if x.key == y.key and y.coefficient == 2 * x.coefficient:
            found |= dict.fromkeys((v, gatherer.write(y)), gatherer.write(x))
    return found


# --- sines and cosines -------------------------------------------------------------------------------------


class _Trigonometric:
    """``squares``: what even powers of functions are in sums. ``powers``: what becomes of the powers of one argument's functions."""

    def __init__(self, family: _Family, squares: Mapping[str, _Square], powers: _Powers | None = None) -> None:
        self.family, self.squares, self.powers = family, squares, powers
        self.opened: set[object] = set()  # brackets that are being multiplied out: what comes of them may be factored to the same

    def product(self, x: Monomial, gatherer: Gatherer) -> Monomial:
        return self._without_brackets(self._of_functions(x, gatherer), gatherer)

    def _of_functions(self, x: Monomial, gatherer: Gatherer) -> Monomial:
        if self.powers is None:
            return x
        names = self.family[:3]
        for u in {b.args[0]: None for b in x.powers if b.op.name in names}:
            here = [x.powers.get(do(name, u), 0) for name in names]
            if any(p % 2 for p in here):
                continue
            found = self.powers(self.family, u, here, gatherer)
            if found is None:
                continue
            factor, new = found
            rest = {b: p for b, p in x.powers.items() if b.op.name not in names or b.args[0] is not u}
            x = Monomial(x.coefficient * factor, rest).times(Monomial(Fraction(1), {b: p for b, p in new.items() if p}))
        return x

    def _without_brackets(self, x: Monomial, gatherer: Gatherer) -> Monomial:
        """``(1 - cos(u))*(1 + cos(u))`` is ``sin(u)**2``, ``sin(u)*(y + cos(u))`` is ``y*sin(u) + sin(2*u)/2``."""
        sums = {b: p for b, p in x.powers.items() if p in (2, 4) and self._is_in(gatherer.sums.get(b, []))}
        functions = {b: p for b, p in x.powers.items() if p == 2 and self.powers is _doubled and b.op.name in self.family[:2]}
        if not sums or sum(sums.values()) + 2 * bool(functions) < 4:
            return x
        part = Monomial(Fraction(1), sums | functions)
        if part.key in self.opened:
            return x
        self.opened.add(part.key)
        new = self.terms(gatherer.multiplied_out([part]), gatherer)
        if len(new) <= max(len(gatherer.sums[b]) for b in sums):
            x = x.times(part, -1).times(gatherer.product_of(new))
        self.opened.remove(part.key)
        return x

    def _is_in(self, terms: Terms) -> bool:
        return any(b.op.name in self.family[:3] for t in terms for b in t.powers)

    def terms(self, terms: Terms, gatherer: Gatherer) -> Terms:
        if self.powers is not None:
            terms = [self._of_functions(t, gatherer) for t in terms]
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


_Powers = Callable[[_Family, Expr, Sequence[int], Gatherer], "tuple[Fraction, dict[Expr, int]] | None"]


def _doubled(family: _Family, u: Expr, powers: Sequence[int], gatherer: Gatherer) -> tuple[Fraction, dict[Expr, int]] | None:
    """``sin(u)*cos(u)`` is ``sin(2*u)/2``."""
    s, c, t = powers
    n = min(abs(s), abs(c)) * (1 if s > 0 else -1) if s * c > 0 else 0
    if not n:
        return None
    functions = {do(family.sine, u): s - n, do(family.cosine, u): c - n, do(family.tangent, u): t}
    return _HALF ** (n // 2), functions | {do(family.sine, _multiple(u, 2, gatherer)): n}


def _as_tangent(family: _Family, u: Expr, powers: Sequence[int], gatherer: Gatherer) -> tuple[Fraction, dict[Expr, int]] | None:
    """``sin(u)/cos(u)`` is ``tan(u)``."""
    s, c, t = powers
    n = min(abs(s), abs(c)) * (1 if s > 0 else -1) if s * c < 0 else 0
    return (Fraction(1), {do(family.sine, u): s - n, do(family.cosine, u): c + n, do(family.tangent, u): t + n}) if n else None


def _as_quotient(family: _Family, u: Expr, powers: Sequence[int], gatherer: Gatherer) -> tuple[Fraction, dict[Expr, int]] | None:
    """``tan(u)`` is ``sin(u)/cos(u)``."""
    s, c, t = powers
    return (Fraction(1), {do(family.sine, u): s + t, do(family.cosine, u): c - t}) if t else None


class _OneArgument:
    """Functions of ``2*u``, by those of ``u``. ``halves``: ``2*u`` → ``u``; ``name``: of the function whose square is used."""

    def __init__(self, family: _Family, halves: Mapping[Expr, Expr], name: str) -> None:
        self.family, self.halves, self.name = family, halves, name

    def product(self, x: Monomial, gatherer: Gatherer) -> Monomial:
        for base, power in list(x.powers.items()):
            if base.op.name == self.family.sine and base.args[0] in self.halves and power % 2 == 0:
                u = self.halves[base.args[0]]
                x = x.times(Monomial(Fraction(1), {base: -power}))
                x = x.times(Monomial(Fraction(2), {do(self.family.sine, u): 2, do(self.family.cosine, u): 2}), power // 2)
        return x

    def terms(self, terms: Terms, gatherer: Gatherer) -> Terms:
        new: Terms = []
        for t in terms:
            base = next((b for b, p in t.powers.items() if b.op.name == self.family.cosine and b.args[0] in self.halves and p == 2), None)
            if base is None:
                new.append(t)
                continue
            rest, sign = t.times(Monomial(Fraction(1), {base: -2})), Fraction(-self.family.sign if self.name == self.family.sine else 1)
            square = Monomial(2 * sign, {do(self.name, self.halves[base.args[0]]): 4})
            new += [rest.times(square), rest.times(Monomial(Fraction(1 if self.name == self.family.sine else -1), {}))]
        new = merged(new)
        return new if len(new) <= len(terms) else terms


class _Sums:
    """``sin(u)*cos(v) + cos(u)*sin(v)`` is ``sin(u + v)``, and its kin."""

    def __init__(self, family: _Family) -> None:
        self.family = family

    def product(self, x: Monomial, gatherer: Gatherer) -> Monomial:
        return x

    def terms(self, terms: Terms, gatherer: Gatherer) -> Terms:
        for one, other in permutations(terms, 2):
            added = self._added(one, other, gatherer)
            if added is not None:
                return self.terms([added, *(t for t in terms if t is not one and t is not other)], gatherer)
        return terms

    def _added(self, one: Monomial, other: Monomial, gatherer: Gatherer) -> Monomial | None:
        """The two terms as one, where they are products of functions of the same two arguments."""
        family, ratio = self.family, one.times(other, -1)
        sines = {b.args[0]: p for b, p in ratio.powers.items() if b.op.name == family.sine}
        cosines = {b.args[0]: p for b, p in ratio.powers.items() if b.op.name == family.cosine}
        opposite = {u: -p for u, p in sines.items()} == cosines
        if abs(ratio.coefficient) != 1 or len(ratio.powers) != 4 or len(sines) != 2 or not opposite or {*map(abs, sines.values())} != {2}:
            return None
        (u, p), (v, q) = sines.items()
        if p < 0:
            return None  # the other way round it is
        same = ratio.coefficient == 1
        if q < 0:  # sin(u)*cos(v) beside cos(u)*sin(v)
            parts, name, angle = {do(family.sine, u): -2, do(family.cosine, v): -2}, family.sine, do("add" if same else "sub", u, v)
        else:  # sin(u)*sin(v) beside cos(u)*cos(v)
            parts, name = {do(family.sine, u): -2, do(family.sine, v): -2}, family.cosine
            angle = do("add" if same == (family.sign < 0) else "sub", u, v)
            one = one.times(Monomial(ratio.coefficient, {}))
        new = do(name, gatherer.write(gatherer.monomial(angle)))
        return one.times(Monomial(Fraction(1), parts)).times(gatherer.monomial(new))


def _multiple(u: Expr, n: int, gatherer: Gatherer) -> Expr:
    """A multiple as it is there already, or of ``u`` as it is there: twice a number is exact."""
    if n == 1:
        return u
    written = gatherer.write(gatherer.monomial(u).times(Monomial(Fraction(n), {})))
    return written if written in gatherer.uses else do("mul", n, u)
