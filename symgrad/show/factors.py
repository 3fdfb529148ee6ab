"""FACTORS: a product as one fraction: a sign, a number, and powers above and below the bar, equal factors once.

For print alone: ``m/(r*T)**2*T`` is computed as it stands, lest something overflow; a person writes ``m/(r**2*T)``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction

from symgrad.expr import CONSTANT, OPS, Expr, constant, intern_node
from symgrad.ops.movement import do
from symgrad.show.constants import known
from symgrad.simplify.rewriting import number

__all__ = ["OPEN", "Factors", "joined"]

OPEN = frozenset({"mul", "div", "neg"})
_UNSEEN = frozenset({"to_real", "nonnegative"})
_EXACT = 2**53
_DIGITS = 10  # of a decimal number that people write
_HALVES = 16  # 0.5, 0.375: numbers that come from fractions
_ROUNDS = 8
_LARGEST = 500  # power, and bits of a number, that factors are put together to


class Factors:
    """What a product multiplies and divides by: ``sign``, ``number``, and ``powers``: factor → exponent.

    ``is_open``: whether a node is part of the product if it is one itself; ``decimals``: whether the user writes 0.5 for 1/2.
    """

    def __init__(self, e: Expr, is_open: Callable[[Expr], bool], decimals: bool, depth: int = 3) -> None:
        self.sign, self.number, self.is_decimal = 1, Fraction(1), False
        self.powers: dict[Expr, Fraction] = {}
        self._raised: dict[Expr, list[tuple[Expr, int]]] = {}  # base → powers of it with other exponents, how often
        self._is_open, self._decimals = is_open, decimals
        self._take(e, Fraction(1))
        for _ in range(_ROUNDS if depth else 0):
            if not self._open_powers(depth):
                break
        for base, raised in self._raised.items():
            self._add_exponents(base, raised)
        self.powers = {f: k for f, k in self.powers.items() if k}
        self._pair_roots()
        self._pair_differences()

    def _take(self, e: Expr, power: Fraction) -> None:
        stack = [(e, power)]
        while stack:
            e, k = stack.pop()
            e = _seen(e)
            name = e.op.name
            if name in OPEN and abs(k) == 1 and self._is_open(e):
                if name == "neg":
                    self.sign = -self.sign
                stack += [(a, -k if name == "div" and i else k) for i, a in reversed(list(enumerate(e.args)))]
            elif name == "sqrt" and k.denominator == 1 and self._is_open(e):
                stack.append((e.args[0], k / 2))
            elif (exponent := _exponent(e)) is not None and k.denominator == 1 and abs(k * exponent) < _LARGEST and self._is_open(e):
                stack.append((e.args[0], k * exponent))
            elif name == "pow" and k.denominator == 1 and not e.shape and self._is_open(e):
                self._raised.setdefault(_seen(e.args[0]), []).append((e, int(k)))
            elif not (k.denominator == 1 and self._take_number(e, int(k))):
                self._count(e, k)

    def _count(self, factor: Expr, power: Fraction | int) -> None:
        self.powers[factor] = self.powers.get(factor, Fraction(0)) + power

    def _take_number(self, e: Expr, power: int) -> bool:
        value = number(e) if e.op is CONSTANT and not e.shape else None
        if value is None or value == 0 or not math.isfinite(value) or abs(power) > _LARGEST:
            return False
        if _bits(self.number) + abs(power) * _bits(Fraction(value)) > _LARGEST:
            return False  # a number that nobody reads
        sign, value = (-1 if value < 0 else 1), abs(value)
        other = known(value) if isinstance(value, float) else None
        if other is not None:
            self.number *= other.times**power
            for values, k in ((other.above, power), (other.below, -power)):
                for v in values:
                    self._count(constant(v), k)
        elif isinstance(value, float) and not (value.is_integer() and value < _EXACT):
            exact = (None if self._decimals else _fraction(value)) or Fraction(repr(value))
            if len(str(exact.numerator * exact.denominator)) > 2 * _DIGITS:
                return False  # stays as it is written
            self.is_decimal |= self._decimals or exact.denominator > _HALVES
            self.number *= exact**power
        else:
            self.number *= Fraction(int(value)) ** power
        self.sign *= sign ** abs(power)
        return True

    def _open_powers(self, depth: int) -> bool:
        """Takes products apart that stand once, or in a power beside factors of theirs."""
        for base, k in list(self.powers.items()):
            if base.op.name == "hypot" and k and not k % 2 and self._is_open(base):
                del self.powers[base]
                self._count(do("add", *(do("pow", a, constant(2)) for a in base.args)), k / 2)
                return True
            if base.op.name not in OPEN or k.denominator != 1 or not k or not self._is_open(base):
                continue
            inner = Factors(base, self._is_open, self._decimals, depth - 1)
            fits = _bits(self.number) + abs(k) * _bits(inner.number) <= _LARGEST
            if fits and (abs(k) == 1 or any(f in self.powers for f in inner.powers)):
                del self.powers[base]
                self.sign *= inner.sign ** abs(int(k))
                self.number *= inner.number ** int(k)
                self.is_decimal |= inner.is_decimal
                for f, i in inner.powers.items():
                    self._count(f, i * k)
                return True
        return False

    def _add_exponents(self, base: Expr, raised: Sequence[tuple[Expr, int]]) -> None:
        """``x**a/x`` is ``x**(a - 1)``."""
        if len(raised) == 1 and abs(raised[0][1]) == 1 and base not in self.powers:
            self._count(*raised[0])
            return
        rest, terms = self.powers.pop(base, Fraction(0)), dict[Expr, Fraction]()
        for power, k in raised:
            rest += _add_terms(power.args[1], Fraction(k), terms)
        terms = {t: k for t, k in terms.items() if k}
        below = all(k < 0 for k in terms.values())
        if not terms:
            self._count(base, rest)
        else:
            exponent = _linear(terms, rest, -1 if below else 1)
            self._count(base if number(exponent) == 1 else do("pow", base, exponent), -1 if below else 1)

    def _pair_differences(self) -> None:
        """``(1 - u)*(u + 1)``, which is computed so near 1, is ``1 - u**2``."""
        for a, k in list(self.powers.items()):
            if a.op.name != "sub" or 1 not in map(number, a.args) or a not in self.powers:
                continue
            u = _seen(a.args[number(a.args[0]) == 1])
            sums = (b for b, j in self.powers.items() if j == k and b.op.name == "add")
            other = next((b for b in sums if {u, 1} == {_or_one(x) for x in b.args}), None)
            if other is not None:
                del self.powers[a], self.powers[other]
                square = do("pow", u, constant(2))
                self._count(do("sub", *(square if number(x) is None else constant(1) for x in a.args)), k)

    def _pair_roots(self) -> None:
        """``2/sqrt(2)`` is ``sqrt(2)``."""
        for f, k in list(self.powers.items()):
            value = float(f.params["value"]) if f.op is CONSTANT and not f.shape and abs(k) >= 1 else 0.0
            radicand = round(value * value) if math.isfinite(value * value) else 0
            if radicand < 2 or value != math.sqrt(radicand):
                continue
            if k == 2 or k == -2:
                self.number *= Fraction(radicand) ** int(k / 2)
                del self.powers[f]
            elif k == -1 and self.number.numerator % radicand == 0:
                self.number /= radicand
                self.powers[f] = Fraction(1)

    def multiply(self, other: Factors, without: Expr) -> None:
        """Takes in what another product has beside one of its factors."""
        self.sign, self.number, self.is_decimal = self.sign * other.sign, self.number * other.number, self.is_decimal or other.is_decimal
        for factor, power in other.powers.items():
            if factor is not without:
                self._count(factor, power)
        self.powers = {f: k for f, k in self.powers.items() if k}

    def written(self, rank: Callable[[Expr], tuple[object, ...]], shape: tuple[object, ...]) -> tuple[Expr, Expr]:
        """The product in writing, and the same without its sign. ``rank``: what comes first; tensors stay in their order."""
        scalars = sorted((f for f in self.powers if not f.shape), key=rank)
        tensors = [f for f in self.powers if f.shape]
        over, under = self._numbers()
        above = [*over, *(self._power(f) for f in scalars if self.powers[f] > 0)]
        below = [*under, *(self._power(f) for f in scalars if self.powers[f] < 0)]
        many = [self._power(f) for f in tensors if self.powers[f] > 0]
        divided = [self._power(f) for f in tensors if self.powers[f] < 0]
        sizes = [f for f in below if f.op.name == "size"]
        rest = [f for f in above if f.op is not CONSTANT] + many
        plain = below and rest and not divided and all(f.op.name == "size" or f.op is CONSTANT for f in below)
        if plain and (sizes or any(f.op.name == "contract" for f in many)):
            front = _product([f for f in above if f.op is CONSTANT])  # a mean: 2/n*…
            return tuple(_times(_over(_signed(front, s), below), rest) for s in (self.sign, 1))  # type: ignore[return-value]
        if not shape or many:
            below, divided = ([*below, *divided], []) if not shape or not below else (below, divided)
        factors = [*above, *many] or [constant(1)]
        found = []
        for sign in (self.sign, 1):
            top = _times(_signed(factors[0], sign), factors[1:])
            found.append(_over(_over(top, divided), below))
        return found[0], found[1]

    def _numbers(self) -> tuple[list[Expr], list[Expr]]:
        """The number, above and below the bar."""
        value = self.number
        if value == 1:
            return [], []
        decimal = float(value)
        if self.is_decimal and len(repr(decimal).strip("-0.")) <= _DIGITS and Fraction(repr(decimal)) == value:
            return [constant(int(value) if value.denominator == 1 else decimal)], []
        over, under = (constant(n if n < _EXACT else float(n)) for n in (value.numerator, value.denominator))
        return [over] * (value.numerator != 1), [under] * (value.denominator != 1)

    def _power(self, f: Expr) -> Expr:
        k = abs(self.powers[f])
        if k == 1:
            return f
        if k == Fraction(1, 2):
            return do("sqrt", f)
        exponent = _number(k)
        if f.op is CONSTANT:
            return intern_node(OPS["pow"], (f, exponent), {}, f.shape, "real")
        return do("pow", f, exponent)


def _bits(number: Fraction) -> int:
    return max(number.numerator.bit_length(), number.denominator.bit_length()) if number != 1 else 0


def _seen(e: Expr) -> Expr:
    while e.op.name in _UNSEEN:
        e = e.args[0]
    return e


def _or_one(e: Expr) -> Expr | int:
    return 1 if number(e) == 1 else _seen(e)


def _add_terms(e: Expr, times: Fraction, terms: dict[Expr, Fraction]) -> Fraction:
    """Puts the terms of an exponent to ``terms``, with how often they occur; the number among them."""
    found, stack = Fraction(0), [(e, times)]
    while stack:
        e, k = stack.pop()
        e = _seen(e)
        value, name = number(e), e.op.name
        if value is not None and math.isfinite(value):
            found += k * Fraction(repr(value))
        elif name in ("add", "sub"):
            stack += [(e.args[1], k if name == "add" else -k), (e.args[0], k)]
        elif name == "neg":
            stack.append((e.args[0], -k))
        elif name == "mul" and isinstance(often := number(e.args[0]), int):
            stack.append((e.args[1], k * often))
        else:
            terms[e] = terms.get(e, Fraction(0)) + k
    return found


def _linear(terms: dict[Expr, Fraction], rest: Fraction, sign: int) -> Expr:
    """``2*a - b + 1``"""
    total: Expr | None = None
    for term, k in sorted(((t, k * sign) for t, k in [*terms.items(), (constant(1), rest)] if k), key=lambda p: p[0].op is CONSTANT):
        size = _number(abs(k))
        part = size if term.op is CONSTANT else term if abs(k) == 1 else joined("mul", size, term)
        if total is None:
            total = part if k > 0 else do("neg", part)
        else:
            total = joined("add" if k > 0 else "sub", total, part)
    return constant(0) if total is None else total


def _number(value: Fraction) -> Expr:
    return constant(int(value) if value.denominator == 1 else float(value))


def _exponent(e: Expr) -> Fraction | None:
    """The exponent of a power if it is a plain number."""
    if e.op.name == "square":
        return Fraction(2)
    value = number(e.args[1]) if e.op.name == "pow" and not e.args[1].shape else None
    if value is None or not math.isfinite(value) or not value:
        return None
    return _fraction(value)


def _fraction(value: float) -> Fraction | None:
    """The small fraction that a number is, up to the rounding of ``1/3 - 1``."""
    exact = Fraction(value).limit_denominator(_HALVES)
    return exact if abs(float(exact) - value) <= 2 * math.ulp(value) else None


def joined(name: str, a: Expr, b: Expr) -> Expr:
    """``a*b`` and the like as they are written: numbers are not reckoned together."""
    if a.op is CONSTANT and b.op is CONSTANT:
        return intern_node(OPS[name], (a, b), {}, a.shape or b.shape, "real")
    return do(name, a, b)


def _times(first: Expr, others: Sequence[Expr]) -> Expr:
    for factor in others:
        first = factor if _is_one(first) else joined("mul", first, factor)
    return first


def _product(factors: Sequence[Expr]) -> Expr:
    return _times(factors[0], factors[1:]) if factors else constant(1)


def _over(top: Expr, below: Sequence[Expr]) -> Expr:
    return joined("div", top, _product(below)) if below else top


def _is_one(e: Expr) -> bool:
    return e.op is CONSTANT and not e.shape and e.kind != "boolean" and e.params["value"] == 1


def _signed(e: Expr, sign: int) -> Expr:
    if sign > 0:
        return e
    if e.op is CONSTANT and not e.shape and known(e.params["value"]) is None:
        return constant(-e.params["value"])
    return do("neg", e) if e.op is not CONSTANT else intern_node(OPS["neg"], (e,), {}, e.shape, e.kind)
