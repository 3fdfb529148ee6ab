"""erf and erfc on lanes.

Up to 1, erf(x) = x + x*P(x**2), and up to 0.79 erfc(x) = (1 - x) - x*P(x**2), which loses little. From there on
erfc(a) = exp(-a**2) * Q(t)/(a + 1/2) with t = (a - c)/(a + c), which maps the half line to an interval on which the scaled function
is smooth and nearly constant (after Shepherd and Laframboise, Math. Comp. 36, 1981); a**2 is carried with its rounding error, which exp
would magnify.

Coefficients as in ``exponential.py``.
"""

from __future__ import annotations

from symgrad.render.vector_math.exponential import EXP, exp_of_reduced, reduce_by_ln2, scale_by_power
from symgrad.render.vector_math.lanes import (
    DOUBLE,
    FLOAT,
    Lanes,
    Whole,
    absolute,
    clamp,
    copysign,
    exact_product,
    fast_two_sum,
    fma,
    polynomial,
    select,
)

__all__ = ["TAIL", "careful_tail", "erf", "erfc", "erfc_near"]

# erf(x)/x - 1 in x**2, x up to 1, weight x/erf(x): 2**-62.7 and 2**-29.6
ERF = {
    DOUBLE: (0.1283791670955126, -0.3761263890318375, 0.11283791670954854, -0.02686617064507232, 0.005223977624775041,
             -0.0008548326978395073, 0.000120553310238064, -1.4925593182329584e-05, 1.646096745894376e-06, -1.6349966891581206e-07,
             1.4657477745143445e-08, -1.136407593803237e-09, 5.942514618224188e-11),
    FLOAT: (0.1283791657162385, -0.3761262574669274, 0.1128358416729437, -0.026853766231836287, 0.00518823183429193,
            -0.0008009271964241508, 7.850555008351661e-05),
}
# exp(a**2)*erfc(a)*(a + 1/2) in t, a from 0.78 to 27.4 (c = 3.5) and 10.2 (c = 2), relative: 2**-57.5 and 2**-29.2
CENTRE = {DOUBLE: 3.5, FLOAT: 2.0}
ERFCX = {
    DOUBLE: (0.6211746224355772, -0.07000459006880966, -0.005277798166110349, 0.04875954757662251, -0.05754479908000481,
             0.04399157691271182, -0.02441166291665235, 0.00954966546622924, -0.0021075099128840253, -0.00015113389399876642,
             0.00028219184807594356, -6.0756415351063316e-05, -2.1389166920347845e-05, 1.2130814963675443e-05, 1.1575882354588915e-06,
             -1.9064048436202811e-06, -8.655881268074865e-09, 2.9529734234835204e-07, -1.9332922660269796e-08, -3.816665747159912e-08,
             7.77462038725965e-09),
    FLOAT: (0.6384891899956984, -0.04638190005676376, -0.08301507359756678, 0.08202486514176816, -0.02711292692794133,
            -0.004003696074655995, 0.004380826954942914, 0.0005448244384118824, -0.0007479815064541554),
}
TAIL = 0.79  # from where on erfc is exp(-a**2)*Q(t)/(a + 1/2): before, 1 - erf loses little
TOP = {DOUBLE: 27.3, FLOAT: 10.2}  # erfc, also times a few, is below half the smallest number from there on


def _tail_parts(a: Lanes, low: Lanes | None = None) -> tuple[Lanes, Lanes, tuple[Lanes, Lanes], Whole]:
    """(a, r, Q, n) with a clamped to where erfc is not 0 yet, exp(-(a + low)**2) = 2**n * exp(r), and Q(t) as a sum."""
    a = clamp(a, high=TOP[a.format])
    centre, first, *others = CENTRE[a.format], *ERFCX[a.format]
    t = (a - centre) / (a + centre)
    square, error = exact_product(a, a)
    if low is not None:
        error = fma(a + a, low, error)
    n, r = reduce_by_ln2(-square)
    return a, r - error, fast_two_sum(a.like(first), t * polynomial(t, others)), n


def erf(x: Lanes) -> Lanes:
    a = absolute(x)
    near = fma(a, polynomial(a * a, ERF[x.format]), a)
    clamped, r, (q, _), n = _tail_parts(a)
    tail = scale_by_power(exp_of_reduced(r) * q / (clamped + 0.5), n)
    return copysign(select(a < 1.0, near, 1.0 - tail), x)


def careful_tail(a: Lanes, low: Lanes | None = None) -> tuple[Lanes, Whole]:
    """(y, n) with erfc(a + low) = y * 2**n for a from TAIL on: exp, Q and the quotient with their rounding errors."""
    a, r, (q, q_low), n = _tail_parts(a, low)
    p, p_low = fast_two_sum(a.like(1.0), r)
    p_low = fma(r * r, polynomial(r, EXP[a.format]), p_low)
    bottom = a + 0.5
    bottom_low = a - (bottom - 0.5)
    if low is not None:
        bottom_low = bottom_low + low
    inverse = 1.0 / bottom
    top, top_low = exact_product(p, q)
    y = top * inverse
    product, error = exact_product(y, bottom)
    rest = (top - product - error) + fma(p, q_low, fma(p_low, q, top_low)) - y * bottom_low
    return fma(rest, inverse, y), n


def erfc_near(x: Lanes, x_low: Lanes | None = None) -> Lanes:
    """erfc(x + x_low) for abs(x) up to TAIL; its slope is 1.128*exp(-x**2), a line in x**2 to a twentieth."""
    z = x * x
    high, low = fast_two_sum(x.like(1.0), -x)
    if x_low is not None:
        low = fma(-x_low, fma(z, -0.84, 1.128), low)
    return high + fma(-x, polynomial(z, ERF[x.format]), low)


def erfc(x: Lanes) -> Lanes:
    a = absolute(x)
    tail = scale_by_power(*careful_tail(a))
    return select(a < TAIL, erfc_near(x), select(x < 0.0, 2.0 - tail, tail))
