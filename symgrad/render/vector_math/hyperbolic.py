"""sinh, cosh, tanh and their inverses on lanes.

tanh: 1 - 2/(exp(2a) + 1) with a = abs(x); below 0.625 a + a**3*P(a**2)/Q(a**2), the rational function of Cephes' tanh.c (Stephen Moshier),
in float a polynomial. Both are ``base + factor * (numerator/denominator)``, so that one division serves all lanes.
"""

from __future__ import annotations

from symgrad.render.vector_math.exponential import exp_parts
from symgrad.render.vector_math.lanes import DOUBLE, FLOAT, Lanes, absolute, clamp, copysign, fma, polynomial, power_of_two, select

__all__ = ["tanh"]

TANH_P = (-1.61468768441708447952e3, -9.92877231001918586564e1, -9.64399179425052238628e-1)
TANH_Q = (4.84406305325125486048e3, 2.23548839060100448583e3, 1.12811678491632931402e2, 1.0)
# (tanh(a) - a)/a**3 in a**2, a up to 0.625, weight a**3/tanh(a): 2**-27.7
TANH_FLOAT = (-0.33333281188432645, 0.1333142053874789, -0.05373781126122378, 0.02063258872617267, -0.005697431381254718)


def tanh(x: Lanes) -> Lanes:
    a = clamp(absolute(x), high={DOUBLE: 22.0, FLOAT: 10.0}[x.format])  # tanh is 1 to the last bit from there on
    n, p = exp_parts(a + a)
    bottom = fma(p, power_of_two(n), 1.0)
    small = a < 0.625
    z = a * a
    if x.format is FLOAT:
        y = select(small, fma(a * z, polynomial(z, TANH_FLOAT), a), 1.0 - 2.0 / bottom)
    else:
        ratio = select(small, polynomial(z, TANH_P), -2.0) / select(small, polynomial(z, TANH_Q), bottom)
        y = fma(select(small, a * z, 1.0), ratio, select(small, a, 1.0))
    return copysign(y, x)
