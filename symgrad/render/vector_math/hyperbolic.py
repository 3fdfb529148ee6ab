"""sinh, cosh, tanh and their inverses on lanes.

tanh: 1 - 2/(exp(2a) + 1) with a = abs(x); below 0.625 a + a**3*P(a**2)/Q(a**2), the rational function of Cephes' tanh.c (Stephen Moshier),
in float a polynomial. Both are ``base + factor * (numerator/denominator)``, so that one division serves all lanes.
"""

from __future__ import annotations

from symgrad.render.vector_math.exponential import exp_parts, log1p, scaled_expm1
from symgrad.render.vector_math.lanes import DOUBLE, FLOAT, Lanes, absolute, clamp, copysign, fma, polynomial, power_of_two, select, sqrt

__all__ = ["acosh", "asinh", "atanh", "cosh", "sinh", "tanh"]

NAN = float("nan")

TANH_P = (-1.61468768441708447952e3, -9.92877231001918586564e1, -9.64399179425052238628e-1)
TANH_Q = (4.84406305325125486048e3, 2.23548839060100448583e3, 1.12811678491632931402e2, 1.0)
# (tanh(a) - a)/a**3 in a**2, a up to 0.625, weight a**3/tanh(a): 2**-27.7
TANH_FLOAT = (-0.33333281188432645, 0.1333142053874789, -0.05373781126122378, 0.02063258872617267, -0.005697431381254718)


def tanh(x: Lanes) -> Lanes:
    a = clamp(absolute(x), high={DOUBLE: 22.0, FLOAT: 10.0}[x.format])  # tanh is 1 to the last bit from there on
    n, p = exp_parts(a + a)
    bottom = fma(p, power_of_two(n.bits), 1.0)
    small = a < 0.625
    z = a * a
    if x.format is FLOAT:
        y = select(small, fma(a * z, polynomial(z, TANH_FLOAT), a), 1.0 - 2.0 / bottom)
    else:
        ratio = select(small, polynomial(z, TANH_P), -2.0) / select(small, polynomial(z, TANH_Q), bottom)
        y = fma(select(small, a * z, 1.0), ratio, select(small, a, 1.0))
    return copysign(y, x)


# Above it, expm1(a)/8 and exp(a)/8 would leave the range of powers of two, and sinh and cosh have long overflowed.
TOP = {DOUBLE: 711.0, FLOAT: 90.0}
LN2_VALUE = 0.6931471805599453
SQUARE_OVERFLOWS = {DOUBLE: 2.0**500, FLOAT: 2.0**60}  # nearly


def sinh(x: Lanes) -> Lanes:
    """(E + E/(E + 1))/2 with E = expm1(abs(x)), an eighth of it carried lest it overflow."""
    a = absolute(x)
    eighth = scaled_expm1(clamp(a, high=TOP[x.format]), 3)
    y = (eighth + eighth / fma(eighth, 8.0, 1.0)) * 4.0
    return copysign(select(a < 2.0**-28, a, y), x)


def cosh(x: Lanes) -> Lanes:
    n, p = exp_parts(clamp(absolute(x), high=TOP[x.format]))
    eighth = p * power_of_two(n.bits - 3)
    return (eighth + 0.015625 / eighth) * 4.0


def asinh(x: Lanes) -> Lanes:
    """log1p(a + a**2/(1 + sqrt(1 + a**2))) (fdlibm's s_asinh.c); log(a) + log(2) where a**2 would overflow."""
    a = absolute(x)
    huge = a > SQUARE_OVERFLOWS[x.format]
    z = a * a
    y = log1p(select(huge, a, a + z / (sqrt(z + 1.0) + 1.0)))
    return copysign(select(huge, y + LN2_VALUE, y), x)


def acosh(x: Lanes) -> Lanes:
    """log1p(t + sqrt(2t + t**2)) with t = x - 1 (fdlibm's e_acosh.c)."""
    huge = x > SQUARE_OVERFLOWS[x.format]
    t = x - 1.0
    y = log1p(select(huge, x, t + sqrt(fma(t, t, t + t))))
    return select(x < 1.0, NAN, select(huge, y + LN2_VALUE, y))


def atanh(x: Lanes) -> Lanes:
    """log1p(2a/(1 - a))/2, with the argument as 2a + 2a**2/(1 - a) for small a (fdlibm's e_atanh.c)."""
    a = absolute(x)
    near = a < 0.5
    twice = a + a
    quotient = select(near, twice * a, twice) / (1.0 - a)
    return copysign(log1p(select(near, twice + quotient, quotient)) * 0.5, x)
