"""POLYNOMIALS: whether two have a factor in common, asked in a fraction of a millisecond.

Along a random line, modulo a prime, both become polynomials in one variable. A factor in common stays one there, and others do not
arise but by a chance of one to hundred millions: only where there is one is it worth asking SymPy what it is.
"""

from __future__ import annotations

import random
from fractions import Fraction
from itertools import zip_longest

from symgrad.expr import Expr, topological
from symgrad.simplify.rewriting import number

__all__ = ["may_cancel"]

PRIME = 2**61 - 1
MAX_DEGREE = 48

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


def _poly(node: Expr, args: list[Poly], rng: random.Random) -> Poly:
    name = node.op.name
    if name in ("add", "sub"):
        sign = 1 if name == "add" else -1
        return _trimmed([(p + sign * q) % PRIME for p, q in zip_longest(*args, fillvalue=0)])
    if name == "neg":
        return [-p % PRIME for p in args[0]]
    if name == "mul":
        return _times(args[0], args[1])
    exponent = 2 if name == "square" else number(node.args[1]) if name == "pow" else None
    if exponent is not None and 0 < exponent <= MAX_DEGREE and exponent == int(exponent):
        power = args[0]
        for _ in range(int(exponent) - 1):
            if len(power) > MAX_DEGREE:
                break
            power = _times(power, args[0])
        return power
    value = number(node)
    if value is not None and abs(value) < 2**60:
        fraction = Fraction(value)
        return _trimmed([fraction.numerator * pow(fraction.denominator, -1, PRIME) % PRIME])
    return [rng.randrange(1, PRIME), rng.randrange(1, PRIME)]


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
