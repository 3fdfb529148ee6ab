"""sinh, cosh, tanh and their inverses, and sigmoid, on lanes.

tanh: 7/8 + (exp(2a) - 15)/(exp(2a) + 1)/8 with a = abs(x), where the quotient is small or weighs little, so that its roundings hardly
count (1 - 2/(exp(2a) + 1) is off by up to 1.07 ulp); below 0.75 a + a**3*P(a**2)/Q(a**2), in form Cephes' tanh.c (Stephen Moshier),
in float a polynomial. Both are ``base + factor * (numerator/denominator)``, so that one division serves all lanes.

sigmoid: 1/(exp(a) + 1), its denominator a sum of two numbers and the quotient corrected by its remainder; for positive x 1 minus that.
"""

from __future__ import annotations

from symgrad.render.vector_math.exponential import exp_less_scale, exp_parts, log1p, scaled_expm1
from symgrad.render.vector_math.lanes import (
    DOUBLE,
    FLOAT,
    Lanes,
    absolute,
    clamp,
    copysign,
    fast_two_sum,
    fma,
    polynomial,
    power_of_two,
    remainder,
    select,
    sqrt,
)

__all__ = ["acosh", "asinh", "atanh", "cosh", "scaled_sigmoid", "sigmoid", "sinh", "tanh"]

NAN = float("nan")

# (tanh(a) - a)/a**3 in a**2, a up to 0.75, weight a**3/tanh(a): 2**-56.9, by iteratively reweighted least squares
TANH_P = (-1617.283711017835, -99.41341552050153, -0.9644483066062586)
TANH_Q = (4851.8511330535175, 2238.9806997824703, 112.94782234377007, 1.0)
# the same as a polynomial: 2**-29.2
TANH_FLOAT = (-0.3333331502986163, 0.1333269139523633, -0.05389247642853548, 0.021451049861435745, -0.007655501093617206,
              0.0017357835588884694)
TANH_SMALL = 0.75


def tanh(x: Lanes) -> Lanes:
    a = clamp(absolute(x), high={DOUBLE: 22.0, FLOAT: 10.0}[x.format])  # tanh is 1 to the last bit from there on
    scale, q = exp_less_scale(a + a)
    bottom = fma(scale, q, scale + 1.0)
    small = a < TANH_SMALL
    z = a * a
    top = fma(scale, q, scale - 15.0)
    if x.format is FLOAT:
        y = select(small, fma(a * z, polynomial(z, TANH_FLOAT), a), fma(top / bottom, 0.125, 0.875))
    else:
        ratio = select(small, polynomial(z, TANH_P), top) / select(small, polynomial(z, TANH_Q), bottom)
        y = fma(select(small, a * z, 0.125), ratio, select(small, a, 0.875))
    return copysign(y, x)


# Results are subnormal where exp(a) has long overflowed: it is carried over this power of two.
SIGMOID_SHIFT = {DOUBLE: 72, FLOAT: 32}
SIGMOID_TOP = {DOUBLE: 755.0, FLOAT: 109.0}  # x*sigmoid(-x), too, is 0 from there on


def sigmoid(x: Lanes) -> Lanes:
    y, unit = scaled_sigmoid(x)
    return select(x < 0.0, y * unit, 1.0 - y * unit)


def scaled_sigmoid(x: Lanes, low: Lanes | None = None) -> tuple[Lanes, float]:
    """(y, unit) with y*unit = sigmoid(-abs(x + low)), y a normal number; as for ``SIGMOID_TOP`` for what is larger than that."""
    shift = SIGMOID_SHIFT[x.format]
    unit = 0.5**shift
    if low is not None:
        low = select(x < 0.0, -low, low)
    scale, q = exp_less_scale(clamp(absolute(x), high=SIGMOID_TOP[x.format]), -shift, far=True, low=low)
    top, top_low = fast_two_sum(scale, x.like(unit))
    bottom = fma(scale, q, top)
    bottom_low = fma(scale, q, top - bottom) + top_low
    y = 1.0 / bottom
    return fma(y, fma(-bottom_low, y, remainder(x.like(1.0), y, bottom)), y), unit


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
    total, rest = fast_two_sum(sqrt(fma(t, t, t + t)), t)
    y = log1p(select(huge, x, total), select(huge, 0.0, rest))
    return select(x < 1.0, NAN, select(huge, y + LN2_VALUE, y))


def atanh(x: Lanes) -> Lanes:
    """log1p(2a/(1 - a))/2, with the argument as 2a + 2a**2/(1 - a) for small a (fdlibm's e_atanh.c)."""
    a = absolute(x)
    near = a < 0.5
    twice = a + a
    quotient = select(near, twice * a, twice) / (1.0 - a)
    return copysign(log1p(select(near, twice + quotient, quotient)) * 0.5, x)
