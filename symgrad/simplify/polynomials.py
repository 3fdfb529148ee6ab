"""POLYNOMIALS: whether two have a factor in common, asked in a fraction of a millisecond, and which it is; whether some depend on others.

Along a random line, modulo a prime, both become polynomials in one variable. A factor in common stays one there, and others do not
arise but by a chance of one to hundred millions: only where there is one is it worth finding out what it is.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from fractions import Fraction
from itertools import zip_longest
from math import gcd, isqrt

from symgrad.expr import Expr, topological
from symgrad.simplify.rewriting import number

__all__ = ["Sparse", "common_factor", "may_cancel", "may_depend", "quotient"]

PRIME = 2**61 - 1
MAX_DEGREE = 48
MAX_TERMS = 64  # of a polynomial that is divided
_TRIALS = 6  # numbers at which values are taken

Poly = list[int]  # coefficients, the constant term first, the last one not 0; [] is 0


def may_cancel(above: Expr, below: Expr) -> bool:
    """Whether a quotient's sides, as polynomials in all that is no sum, product or power, have a factor in common.

    >>> import symgrad as sg
    >>> x, y = sg.symbols("x y")
    >>> may_cancel(x**2 - y**2, x - y), may_cancel(x**2 + y**2, x - y)
    (True, False)
    """
    rng = random.Random(61)
    done: dict[Expr, Poly] = {}
    for node in topological(above, below):
        found = _poly(node, [done[a] for a in node.args], rng)
        if len(found) > MAX_DEGREE:
            return True
        done[node] = found
    a, b = done[above], done[below]
    while b:
        a, b = b, _remainder(a, b)
    return len(a) > 1


def may_depend(forms: Sequence[Expr]) -> bool:
    """Whether one of the forms, as polynomials, is a sum of the others and of multiples of them; those that are twice another one left
    aside.

    >>> import symgrad as sg
    >>> x, y = sg.symbols("x y")
    >>> may_depend([x, y, x - 2*y]), may_depend([x, y, x*y]), may_depend([x, 2*x])
    (True, False, False)
    """
    rng = random.Random(62)
    first = _values_at_a_point(forms, rng)
    single = [k for k, value in enumerate(first) if not any(value == 2 * other % PRIME for other in first)]
    rows = [[row[k] for k in single] for row in [first, *(_values_at_a_point(forms, rng) for _ in single[1:])]]
    for k in range(len(single)):  # Gauss's elimination
        pivot = next((row for row in rows if row[k]), None)
        if pivot is None:
            return True
        rows.remove(pivot)
        inverse = pow(pivot[k], -1, PRIME)
        rows = [[(a - row[k] * inverse * b) % PRIME for a, b in zip(row, pivot)] for row in rows]
    return False


def _values_at_a_point(forms: Sequence[Expr], rng: random.Random) -> list[int]:
    done: dict[Expr, Poly] = {}  # of degree 0
    for node in topological(*forms):
        args = [done[a] for a in node.args]
        if node.op.name == "div" and args[1]:
            done[node] = [c * pow(args[1][0], -1, PRIME) % PRIME for c in args[0]]
        else:
            done[node] = _poly(node, args, rng)[:1]
    return [sum(done[f]) for f in forms]


def _poly(node: Expr, args: list[Poly], rng: random.Random) -> Poly:
    name = node.op.name
    if name in ("add", "sub"):
        sign = 1 if name == "add" else -1
        return _trimmed([(p + sign * q) % PRIME for p, q in zip_longest(*args, fillvalue=0)])
    if name == "neg":
        return [-p % PRIME for p in args[0]]
    if name == "mul":
        return _times(args[0], args[1])
    if name == "div" and (divisor := _whole(number(node.args[1]))):
        return [c * pow(divisor, -1, PRIME) % PRIME for c in args[0]]
    exponent = 2 if name == "square" else number(node.args[1]) if name == "pow" else None
    if exponent is not None and 0 < exponent <= MAX_DEGREE and exponent == int(exponent):
        power = args[0]
        for _ in range(int(exponent) - 1):
            if len(power) > MAX_DEGREE:
                break
            power = _times(power, args[0])
        return power
    value = _whole(number(node))
    return [rng.randrange(1, PRIME), rng.randrange(1, PRIME)] if value is None else _trimmed([value])


def _whole(value: int | float | None) -> int | None:
    """A number modulo the prime."""
    if value is None or not abs(value) < 2**60:
        return None
    fraction = Fraction(value)
    return fraction.numerator * pow(fraction.denominator, -1, PRIME) % PRIME


def _trimmed(p: Poly) -> Poly:
    while p and not p[-1]:
        p.pop()
    return p


def _times(p: Poly, q: Poly) -> Poly:
    if not p or not q:
        return []
    product = [0] * (len(p) + len(q) - 1)
    for i, a in enumerate(p):
        for j, b in enumerate(q):
            product[i + j] += a * b
    return [c % PRIME for c in product]


def _remainder(p: Poly, q: Poly) -> Poly:
    rest, inverse = list(p), pow(q[-1], -1, PRIME)
    while len(rest) >= len(q):
        factor, shift = rest[-1] * inverse % PRIME, len(rest) - len(q)
        for k, c in enumerate(q):
            rest[shift + k] = (rest[shift + k] - factor * c) % PRIME
        _trimmed(rest)
    return rest


# --- the factor itself -------------------------------------------------------------------------------------

Sparse = dict[tuple[int, ...], int]  # exponents of the variables → coefficient; {} is 0


def common_factor(p: Sparse, q: Sparse) -> Sparse | None:
    """The greatest common divisor of two polynomials of the same variables, numbers left aside; ``None`` where it is 1 or not found.

    The heuristic of Char, Geddes and Gonnet (GCDHEU, J. Symbolic Computation 7, 1989): of values at a large whole number the greatest
    common divisor is one of whole numbers; its digits to that base are the coefficients. Division shows whether it is the one.

    >>> common_factor({(2, 0): 1, (0, 2): -1}, {(2, 0): 1, (1, 1): 2, (0, 2): 1})  # x**2 - y**2, (x + y)**2
    {(1, 0): 1, (0, 1): 1}
    """
    if not p or not q or len(p) > MAX_TERMS or len(q) > MAX_TERMS:
        return None
    found = _heuristic(_primitive(p), _primitive(q))
    if found is None or not any(map(any, found)):
        return None
    found = _primitive(found)
    return found if found[max(found)] > 0 else {key: -c for key, c in found.items()}


def quotient(p: Sparse, q: Sparse) -> Sparse | None:
    """The polynomial that ``q`` must be multiplied by to be ``p``; ``None`` where there is none.

    >>> quotient({(2,): 1, (0,): -1}, {(1,): 1, (0,): 1})  # (x**2 - 1)/(x + 1)
    {(1,): 1, (0,): -1}
    """
    rest, lead, result = dict(p), max(q), Sparse()
    while rest:
        top = max(rest)
        factor, left = divmod(rest[top], q[lead])
        shift = tuple(a - b for a, b in zip(top, lead))
        if left or min(shift, default=0) < 0:
            return None
        result[shift] = factor
        for key, c in q.items():
            place = tuple(a + b for a, b in zip(key, shift))
            rest[place] = rest.get(place, 0) - factor * c
            if not rest[place]:
                del rest[place]
    return result


def _heuristic(p: Sparse, q: Sparse) -> Sparse | None:
    """The greatest common divisor, numbers included."""
    if not p or not q:
        return None
    if not next(iter(p)):
        return {(): gcd(p[()], q[()])}
    both = gcd(*p.values(), *q.values())
    p, q = ({key: c // both for key, c in side.items()} for side in (p, q))
    norms = [(max(map(abs, side.values())), abs(side[max(side)])) for side in (p, q)]
    bound = 2 * min(norm for norm, _ in norms) + 29
    x = max(min(bound, 99 * isqrt(bound)), 2 * min(norm // lead for norm, lead in norms) + 4)
    for _ in range(_TRIALS):
        image = _heuristic(_value(p, x), _value(q, x))
        if image is not None:
            found = _primitive(_digits(image, x))
            if quotient(p, found) is not None and quotient(q, found) is not None:
                return {key: c * both for key, c in found.items()}
        x = 73794 * x * isqrt(isqrt(x)) // 27011
    return None


def _primitive(p: Sparse) -> Sparse:
    content = gcd(*p.values())
    return p if content == 1 else {key: c // content for key, c in p.items()}


def _value(p: Sparse, x: int) -> Sparse:
    """With a number for the first variable."""
    found: Sparse = {}
    for (power, *others), c in p.items():
        key = tuple(others)
        found[key] = found.get(key, 0) + c * x**power
    return {key: c for key, c in found.items() if c}


def _digits(p: Sparse, x: int) -> Sparse:
    """The polynomial whose value at ``x`` this is, with coefficients as small as can be."""
    found: Sparse = {}
    for key, c in p.items():
        power = 0
        while c:
            digit = (c + x // 2) % x - x // 2
            if digit:
                found[(power, *key)] = digit
            c = (c - digit) // x
            power += 1
    return found
