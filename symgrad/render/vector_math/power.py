"""pow, powi and hypot on lanes.

pow(x, y) = exp(y*log(x)) with log(x) as a sum of two numbers, good to 68 bits or so: the exponent magnifies its relative error by
up to 745; floats in double, where a logarithm good to 42 bits will do. Special cases as in IEEE 754-2008, 9.2.1.
"""

from __future__ import annotations

from symgrad.render.vector_math import avx512
from symgrad.render.vector_math.exponential import LN2, LOG2_E, exp_parts, scale_by_power, split_exponent
from symgrad.render.vector_math.lanes import (
    DOUBLE,
    FLOAT,
    Lanes,
    absolute,
    clamp,
    exact_product,
    fast_two_sum,
    fma,
    nearest,
    polynomial,
    power_of_two,
    select,
    sqrt,
)

__all__ = ["hypot", "log_of_positive", "pow", "powi", "whole_power"]

INFINITY, NAN = float("inf"), float("nan")
LN2_VALUE = 0.6931471805599453
ROOTS = tuple(2.0 ** (j / avx512.TABLE) for j in range(avx512.TABLE))
TWO_THIRDS, TWO_THIRDS_LOW = 0.6666666666666666, 3.700743415417188e-17
# (log((1 + s)/(1 - s)) - 2s - 2s**3/3)/s**5 in s**2, weight s**4/2: 2**-73.5
LOG_REST = (0.3999999999999998, 0.2857142857144521, 0.2222222221751144, 0.1818181887338883, 0.15384556660917353, 0.13336325517837302,
            0.11674653736265538, 0.1199038868465695)


# for floats, which need no more: (log((1 + s)/(1 - s))/s - 2)/s**2 in s**2, s up to 1/5, weight s**2/2: 2**-42.2;
# (exp(r) - 1 - r)/r**2, weight r**2/exp(r), on abs(r) <= log(2)/2: 2**-34.2, and on abs(r) <= log(2)/32: 2**-37.5
LOG_SHORT = (0.6666666671031396, 0.3999998463208134, 0.2857318288197283, 0.22135173319435072, 0.20121792752553883)
EXP_SHORT = (0.5000000067612832, 0.1666666587043471, 0.04166629515718418, 0.008333496768867682, 0.001394464495074206,
             0.0001979047908637304)
EXP_NEAR_SHORT = (0.5000000007890969, 0.16667006392018396, 0.041665124283885975)


def pow(x: Lanes, y: Lanes) -> Lanes:
    a = absolute(x)
    if x.format is FLOAT:
        magnitude = _exp_of_double(y.to_double() * _log_of_float(a))
    else:
        magnitude = _power_of_positive(a, y)
    whole = y.call("floor").equals(y)
    half = y * 0.5
    odd = whole & ~half.call("floor").equals(half)
    signed = select(odd & x.negative(), -magnitude, magnitude)
    result = select((x < 0.0) & ~whole & (x > -INFINITY), NAN, signed)
    result = select(y.is_nan(), y, result)
    one = y.equals(0.0) | x.equals(1.0) | (x.equals(-1.0) & absolute(y).equals(INFINITY))
    return select(one, 1.0, result)


def _power_of_positive(a: Lanes, y: Lanes) -> Lanes:
    high, low = log_of_positive(a)
    # 0, infinity and NaN: their logarithm is what decides
    high = select((a > 0.0) & (a < INFINITY), high, select(a.equals(0.0), a.like(-INFINITY), a))
    product, error = exact_product(y, high)
    ordinary = absolute(product) < 1000.0
    n, p = exp_parts(clamp(product, -746.0, 710.0), select(ordinary, fma(y, low, error), 0.0))
    return scale_by_power(p, n)


def _log_of_float(a: Lanes) -> Lanes:
    """log(a) in double, to 42 bits. s = f/(2 + f) is divided in float, and its remainder times (1 - s)/2, which is 1/(2 + f), added."""
    if avx512.available(a):
        m = avx512.mantissa(a)
        k = (avx512.exponent(a) - avx512.exponent(m)).to_double()
        f = m - 1.0
    else:
        k, _, wide = split_exponent(a.to_double())
        f = (wide - 1.0).to_float()
    rounded = (f / (f + 2.0)).to_double()
    exact = f.to_double()
    remainder = fma(-rounded, exact + 2.0, exact)
    s = fma(remainder, fma(rounded, -0.5, 0.5), rounded)
    z = s * s
    y = fma(k, LN2_VALUE, fma(s * z, polynomial(z, LOG_SHORT), s + s))
    if avx512.available(a):
        return y
    ordinary = (a > 0.0) & (a < INFINITY)
    return select(ordinary, y, select(a.equals(0.0), y.like(-INFINITY), a.to_double()))


def _exp_of_double(x: Lanes) -> Lanes:
    """exp(x) as floats."""
    x = clamp(x, -110.0, 95.0)
    if avx512.available(x):
        n = nearest(x, LOG2_E, 1 / avx512.TABLE)
        r = fma(n.number, -LN2_VALUE, x)
        q = fma(r * r, polynomial(r, EXP_NEAR_SHORT), r)
        base = avx512.lookup(ROOTS, n.bits)
        return avx512.scale(fma(base, q, base), n.number).to_float()
    n = nearest(x, LOG2_E)
    r = fma(n.number, -LN2_VALUE, x)
    return (fma(r * r, polynomial(r, EXP_SHORT), r + 1.0) * power_of_two(n.bits)).to_float()


def log_of_positive(a: Lanes) -> tuple[Lanes, Lanes]:
    """log(a) as a sum, for positive finite a; s = f/(2 + f) and its cube as sums as well."""
    tiny = a < DOUBLE.smallest
    k, _, m = split_exponent(select(tiny, a * 2.0**54, a))
    k = select(tiny, k - 54.0, k)
    f = m - 1.0
    bottom = m + 1.0
    bottom_low = f - (bottom - 2.0)
    s = f / bottom
    product, error = exact_product(s, bottom)
    s_low = ((f - product - error) - s * bottom_low) / bottom
    z, z_low = exact_product(s, s)
    z_low = fma(s + s, s_low, z_low)
    cube, cube_low = exact_product(s, z)  # s**3
    cube_low = cube_low + fma(s, z_low, s_low * z)
    third, third_low = exact_product(cube, cube.like(TWO_THIRDS))
    third_low = third_low + fma(cube, TWO_THIRDS_LOW, cube_low * TWO_THIRDS)
    rest = cube * z * polynomial(z, LOG_REST)
    # k*log(2) + 2s + 2s**3/3 + rest, the largest first (k = 0: the first is 0)
    total, low = fast_two_sum(k * LN2[DOUBLE].high, s + s)
    total, low_2 = fast_two_sum(total, third)
    return fast_two_sum(total, (low + low_2) + (fma(k, LN2[DOUBLE].low, s_low + s_low) + (third_low + rest)))


def powi(x: Lanes, exponent: int) -> Lanes:
    """x**exponent for a whole number, by repeated squaring; beyond the fourth power the rounding errors are carried along."""
    if exponent == 0:
        return x.like(1.0)
    base = x if exponent > 0 else 1.0 / x
    if exponent in (1, -1):
        return base
    if exponent in (2, 3, 4, -2):
        square = base * base
        return square * base if exponent == 3 else square * square if exponent == 4 else square
    if x.format is FLOAT:
        return powi(x.to_double(), exponent).to_float()
    product, error = exact_product(base, x)
    base_low = x.like(0.0) if exponent > 0 else (1.0 - product - error) * base
    high, low = whole_power(base, base_low, abs(exponent))
    return select(absolute(low) < INFINITY, high + low, high)


def whole_power(base: Lanes, base_low: Lanes, exponent: int) -> tuple[Lanes, Lanes]:
    """(base + base_low)**exponent as a sum, exponent >= 1; where the large part overflows, the small one is no number."""
    high, low = base, base_low
    for bit in bin(exponent)[3:]:
        square, error = exact_product(high, high)
        high, low = square, fma(high + high, low, error)
        if bit == "1":
            product, error = exact_product(high, base)
            high, low = product, fma(low, base, fma(high, base_low, error))
    return high, low


# hypot: above the first and below the second squares would overflow or underflow; what then is multiplied
SQUARES = {DOUBLE: (2.0**500, 2.0**-450), FLOAT: (2.0**60, 2.0**-40)}
SCALES = {DOUBLE: (2.0**-600, 2.0**600), FLOAT: (2.0**-80, 2.0**100)}


def hypot(x: Lanes, y: Lanes) -> Lanes:
    """sqrt(x**2 + y**2); both are scaled by a power of two where the larger is so far from 1 that a square would overflow or underflow."""
    a, b = absolute(x), absolute(y)
    larger = select(a > b, a, b)
    (most, least), (down, up), one = SQUARES[x.format], SCALES[x.format], x.like(1.0)
    huge, small = larger > most, larger < least
    scale, back = select(huge, down, select(small, up, one)), select(huge, 1 / down, select(small, 1 / up, one))
    a_scaled, b_scaled = a * scale, b * scale
    root = sqrt(fma(a_scaled, a_scaled, b_scaled * b_scaled)) * back
    return select(a.equals(INFINITY) | b.equals(INFINITY), INFINITY, root)
