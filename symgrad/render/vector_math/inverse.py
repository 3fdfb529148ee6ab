"""asin, acos, atan, atan2 on lanes.

asin: its series' remainder R(z) = (asin(s) - s)/s on s <= 1/2; above, asin(a) = pi/2 - 2*asin(sqrt((1 - a)/2))
(Cody and Waite, 1980, chapter 10). atan: three ranges, 0, pi/4 or pi/2 plus atan of a quotient of at most tan(pi/8) (Cephes'
atan.c, Stephen Moshier), whose rounding error is carried along. What is rounded once only is what keeps these below 1 ulp.

atan2 of floats: atan of the smaller over the larger, the quotient rounded, a polynomial for all of [0, 1]; then pi/2 or pi, in two
parts, plus or minus that. Coefficients as in ``exponential.py``.
"""

from __future__ import annotations

from symgrad.render.vector_math.lanes import (
    DOUBLE,
    FLOAT,
    Lanes,
    absolute,
    clamp,
    copysign,
    exact_product,
    fast_two_sum,
    fma,
    polynomial,
    select,
    sqrt,
)

__all__ = ["acos", "asin", "atan", "atan2"]

INFINITY, NAN = float("inf"), float("nan")
HALF_PI = {DOUBLE: (1.5707963267948966, 6.123233995736766e-17), FLOAT: (1.5707963705062866, -4.371138828673793e-08)}  # as sums

# (asin(s) - s)/s**3 in s**2, s up to 1/2, weight s**3/asin(s): 2**-59.9 and 2**-27.6
ASIN = {
    DOUBLE: (0.1666666666666676, 0.07499999999970704, 0.04464285717470543, 0.030381942703159182, 0.022372215121815, 0.01735160953574627,
             0.013980851038969372, 0.011398656479672363, 0.010781720596706647, 0.003700736903096053, 0.02172155270151189,
             -0.021019450458054516, 0.032641637069839656),
    FLOAT: (0.16666752562748857, 0.07495293938479138, 0.04547089745045796, 0.024176683108376697, 0.04217151826983062),
}
# (atan(t) - t)/t**3 in t**2, t up to tan(pi/8), weight t**3/atan(t): 2**-59.4 and 2**-30.5
ATAN = {
    DOUBLE: (-0.3333333333333319, 0.19999999999952828, -0.14285714280121908, 0.11111110779817528, -0.09090897655391611,
             0.07692058433080476, -0.06663084179548581, 0.05847747146775739, -0.050386736019486664, 0.03804873615691334,
             -0.017890082318841944),
    FLOAT: (-0.3333331510960708, 0.19998466244563182, -0.1424342627382544, 0.10592972579889331, -0.06075976905433641),
}
# the same for t up to 1: 2**-28.5
ATAN_TO_ONE = (-0.33333299102344727, 0.19998548708114502, -0.1426424604871708, 0.10952207213494791, -0.08403508558031306,
               0.057958521980714134, -0.031178712987001273, 0.010915045643785577, -0.0017937153899183537)
TAN_PI_8, TAN_3PI_8 = 0.41421356237309503, 2.414213562373095


def _asin_parts(a: Lanes) -> tuple[Lanes, Lanes, Lanes]:
    """(far, s, rest) with asin(a) = s + rest, or, where far, pi/2 - 2*(s + rest)."""
    far = a > 0.5
    z = select(far, (1.0 - a) * 0.5, a * a)
    root = sqrt(z)
    square, error = exact_product(root, root)
    root_error = (z - square - error) * 0.5 / select(root.equals(0.0), 1.0, root)
    s = select(far, root, a)
    return far, s, fma(s, polynomial(z, ASIN[a.format]) * z, select(far, root_error, 0.0))


def asin(x: Lanes) -> Lanes:
    a = absolute(x)
    far, s, rest = _asin_parts(a)
    half_pi, half_pi_low = HALF_PI[x.format]
    high, low = fast_two_sum(a.like(half_pi), s * -2.0)
    return copysign(select(far, high + (low + fma(rest, -2.0, half_pi_low)), s + rest), x)


def acos(x: Lanes) -> Lanes:
    """2*asin(sqrt((1 - x)/2)) for x > 1/2, pi minus that of -x for x < -1/2, between them pi/2 - asin(x)."""
    far, s, rest = _asin_parts(absolute(x))
    half_pi, half_pi_low = HALF_PI[x.format]
    positive = x > 0.0
    base = select(far, select(positive, x.like(0.0), x.like(2 * half_pi)), x.like(half_pi))
    base_low = select(far, select(positive, x.like(0.0), x.like(2 * half_pi_low)), x.like(half_pi_low))
    scale = select(far, select(positive, x.like(2.0), x.like(-2.0)), select(positive, x.like(-1.0), x.like(1.0)))
    high, low = fast_two_sum(base, s * scale)
    return high + (low + fma(rest, scale, base_low))


def atan(x: Lanes) -> Lanes:
    large = {DOUBLE: 1e300, FLOAT: 1e30}[x.format]  # instead of infinity
    return copysign(_atan_of_quotient(clamp(absolute(x), high=large), x.like(1.0), None), x)


def atan2(y: Lanes, x: Lanes) -> Lanes:
    """As C's: the angle of (x, y), signed zeros and infinities included; NaN where either is."""
    if x.format is FLOAT:
        return _atan2_of_floats(y, x)
    a, b = absolute(y), absolute(x)
    infinite = a.equals(INFINITY) | b.equals(INFINITY)
    one, zero = x.like(1.0), x.like(0.0)
    # Infinities to their directions; a sum of two numbers must not overflow; and 0/0 is to be 0.
    a_scaled, b_scaled = (select((a > 1e300) | (b > 1e300), v * 2.0**-100, v) for v in (a, b))
    a_scaled = select(infinite, select(a.equals(INFINITY), one, zero), a_scaled)
    b_scaled = select(infinite, select(b.equals(INFINITY), one, zero), b_scaled)
    left = x.negative()
    angle = copysign(_atan_of_quotient(a_scaled, select(a_scaled.equals(0.0) & b_scaled.equals(0.0), 1.0, b_scaled), left), y)
    return select(x.is_nan() | y.is_nan(), x + y, angle)


def _atan2_of_floats(y: Lanes, x: Lanes) -> Lanes:
    a, b, left = absolute(y), absolute(x), x.negative()
    steep = a > b
    t = select(steep, b, a) / select(steep, a, b)
    t = select(a.equals(b), select(a.equals(0.0), x.like(0.0), x.like(1.0)), t)  # 0/0 and infinity/infinity, too
    z = t * t
    half_pi, half_pi_low = HALF_PI[FLOAT]
    base = select(steep, x.like(half_pi), select(left, x.like(2 * half_pi), x.like(0.0)))
    base_low = select(steep, x.like(half_pi_low), select(left, x.like(2 * half_pi_low), x.like(0.0)))
    t = select(steep ^ left, -t, t)
    high, low = fast_two_sum(base, t)
    angle = high + (low + fma(t * z, polynomial(z, ATAN_TO_ONE), base_low))
    return copysign(angle, y)


def _atan_of_quotient(a: Lanes, b: Lanes, left: Lanes | None) -> Lanes:
    """atan(a/b) for a, b >= 0, not both 0; pi minus that in the lanes ``left``."""
    zero = a.like(0.0)
    steep, middle = a > b * TAN_3PI_8, a > b * TAN_PI_8
    top, top_low = fast_two_sum(select(a > b, a, b), -select(a > b, b, a))
    top, top_low = select(a > b, top, -top), select(a > b, top_low, -top_low)
    bottom, bottom_low = fast_two_sum(select(a > b, a, b), select(a > b, b, a))
    top, top_low = select(steep, -b, select(middle, top, a)), select(middle, select(steep, zero, top_low), zero)
    bottom, bottom_low = select(steep, a, select(middle, bottom, b)), select(middle, select(steep, zero, bottom_low), zero)
    half_pi, half_pi_low = HALF_PI[a.format]
    base = select(steep, a.like(half_pi), select(middle, a.like(half_pi / 2), zero))
    base_low = select(steep, a.like(half_pi_low), select(middle, a.like(half_pi_low / 2), zero))
    t = top / bottom
    product, error = exact_product(t, bottom)
    t_low = ((top - product - error) + (top_low - t * bottom_low)) / bottom
    z = t * t
    rest = fma(t * z, polynomial(z, ATAN[a.format]), t_low)
    if left is not None:
        base, base_low = select(left, 2 * half_pi - base, base), select(left, 2 * half_pi_low - base_low, base_low)
        t, rest = select(left, -t, t), select(left, -rest, rest)
    high, low = fast_two_sum(base, t)
    return high + (low + (rest + base_low))
