"""exp, expm1, log, log1p on lanes.

exp and expm1: x = n*log(2) + r with abs(r) <= log(2)/2 (Cody and Waite, Software Manual for the Elementary
Functions, 1980: log(2) in two parts, the first short enough that its product with n is exact), a polynomial in r,
and 2**n put together in the exponent bits; with a table of 2**(j/16) n is a multiple of 1/16, r that much smaller, and the
polynomial half as long (Tang, ACM Transactions on Mathematical Software 15, 1989). log and log1p: x = 2**k * (1 + f) with 1 + f in
[sqrt(1/2), sqrt(2)) or [3/4, 3/2), s = f/(2 + f) and log(1 + f) = f - (f**2/2 - s*(f**2/2 + R(s**2))), the scheme of fdlibm's
e_log.c and s_log1p.c (Sun Microsystems, 1993).

The coefficients are minimax ones, by the exchange algorithm in ``tests/minimax.py``; the comment at each
table gives the function, the weight and the error it reached.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from decimal import Decimal, localcontext
from functools import cache

from symgrad.render.vector_math import avx512
from symgrad.render.vector_math.lanes import (
    DOUBLE,
    FLOAT,
    Format,
    Lanes,
    Whole,
    absolute,
    clamp,
    fma,
    half_of,
    nearest,
    polynomial,
    power_of_two,
    select,
    two_sum,
)

__all__ = [
    "EXP", "LN2", "LOG2_E", "exp", "exp_less_scale", "exp_of_reduced", "exp_parts", "expm1", "log", "log1p", "reduce_by_ln2",
    "scale_by_power", "scaled_expm1", "split_exponent",
]

LOG2_E = 1.4426950408889634
INFINITY, NAN = float("inf"), float("nan")


@dataclass(frozen=True)
class Ln2:
    """log(2) as a sum: the upper part has so many zero bits at its end that a product with an exponent is exact."""

    high: float
    low: float


LN2 = {
    DOUBLE: Ln2(float.fromhex("0x1.62e42feep-1"), float.fromhex("0x1.a39ef35793c76p-33")),
    FLOAT: Ln2(float.fromhex("0x1.62e4p-1"), float.fromhex("0x1.7f7d1cp-20")),
}

# The same where products are exact, being fused with sums: the nearest number, and what it lacks.
LN2_FUSED = {
    DOUBLE: Ln2(0.6931471805599453, float.fromhex("0x1.abc9e3b39803fp-56")),
    FLOAT: Ln2(float.fromhex("0x1.62e43p-1"), float.fromhex("-0x1.05c610p-29")),
}

# (exp(r) - 1 - r)/r**2 on abs(r) <= log(2)/2, weight r**2/exp(r): 2**-57.9 and 2**-28.3
EXP = {
    DOUBLE: (0.5000000000000011, 0.1666666666666641, 0.04166666666652979, 0.008333333333495313, 0.0013888888943744773,
             0.0001984126950497647, 2.4801492964749417e-05, 2.7557587551816068e-06, 2.763030101988489e-07, 2.4999775800603653e-08),
    FLOAT: (0.4999999342199022, 0.16666520419942923, 0.04166839295754692, 0.00836874232888612, 0.0013814423108709343),
}
# the same, weight r**2/expm1(r): 2**-61.7 and 2**-32.0
EXPM1 = {
    DOUBLE: (0.5, 0.16666666666666677, 0.04166666666666651, 0.008333333333321655, 0.001388888888896229, 0.00019841269886068777,
             2.4801587172809654e-05, 2.7557244259176993e-06, 2.755740230796141e-07, 2.5109022697780703e-08, 2.0875466736115605e-09),
    FLOAT: (0.5000000044251522, 0.16666666369595795, 0.04166636049150886, 0.0083333894852254, 0.001394066355889637, 0.00019845867268553433),
}
# as EXP on abs(r) <= log(2)/32: 2**-56.2 and 2**-29.2
EXP_NEAR = {
    DOUBLE: (0.4999999999999961, 0.1666666666441392, 0.041666666692902046, 0.008333472045290974, 0.001388859919519064),
    FLOAT: (0.5000161709005944, 0.1666671898951996),
}
# (log((1 + s)/(1 - s))/s - 2)/s**2 in z = s**2, s up to 1/5, weight z/2: 2**-62.7 and 2**-28.4
LOG = {
    DOUBLE: (0.666666666666666, 0.40000000000056335, 0.2857142855591466, 0.22222224286489498, 0.1818166648033851, 0.153910920852611,
             0.1317393410261431, 0.13840771140713246),
    FLOAT: (0.6666694828331715, 0.399577328153758, 0.3036253026749829),
}


def reduce_by_ln2(x: Lanes) -> tuple[Whole, Lanes]:
    """(n, r) with x = n*log(2) + r; abs(x) must be below 2**20 or so."""
    n = nearest(x, LOG2_E)
    r = fma(n.number, -LN2[x.format].high, x)
    return n, fma(n.number, -LN2[x.format].low, r)


def scale_by_power(x: Lanes, n: Whole) -> Lanes:
    """x * 2**n, rounded once, where n may leave the exponent range: in two steps. x must be near 1; a NaN stays one."""
    if avx512.available(x):
        return avx512.scale(x, n.number)
    half = half_of(n.bits)
    return x * power_of_two(half) * power_of_two(n.bits - half)


@cache
def _roots(form: Format, bits: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """2**(j/16), j from 0 to 15, as upper * (1 + lower); the upper part has that many bits after the point."""
    with localcontext(prec=50):
        exact = [Decimal(2) ** (Decimal(j) / avx512.TABLE) for j in range(avx512.TABLE)]
        upper = [Decimal(round(root * 2**bits)) / 2**bits for root in exact]
        return tuple(map(float, upper)), tuple(float((root - u) / u) for root, u in zip(exact, upper))


@cache
def _roots_less_index(form: Format, bits: int, shift: int) -> tuple[float, ...]:
    """The upper parts times 2**shift with j/16 taken from their bits: adding the multiple of 1/16 itself, as an integer, gives
    2**(n + shift) * 2**(j/16)."""
    real, whole = ("d", "q") if form is DOUBLE else ("f", "i")
    scaled = [math.ldexp(u, shift) for u in _roots(form, bits)[0]]
    patterns = [struct.unpack(whole, struct.pack(real, u))[0] - (j << form.mantissa - 4) for j, u in enumerate(scaled)]
    return tuple(struct.unpack(real, struct.pack(whole, p))[0] for p in patterns)


def exp_less_scale(x: Lanes, shift: int = 0, far: bool = False, low: Lanes | None = None) -> tuple[Lanes, Lanes]:
    """(scale, q) with exp(x) * 2**shift = scale * (1 + q), to a quarter of the last bit up to abs(x) = 50 or so (``far``: wherever the
    scale is a normal number), and scale + 2**shift exact up to 2**50 (float: 2**20) times 2**shift. ``far`` may have a ``low``:
    exp(x + low), ``low`` below the last bit of x."""
    form = x.format
    if not avx512.available(x):
        n, split = nearest(x, LOG2_E), (LN2_FUSED if x.target.fused else LN2)[form]
        exact = fma(n.number, -split.high, x)  # nothing is rounded: the first bits cancel
        r = exact if x.target.fused and not far else fma(n.number, -split.low, exact)
        if low is not None:
            r = r + low
        rest = r * r * polynomial(r, EXP[form])
        return power_of_two(n.bits + shift), exact + fma(n.number, -split.low, rest if low is None else rest + low)
    n = nearest(x, LOG2_E, 1 / avx512.TABLE)
    bits = form.mantissa - 1
    r = fma(n.number, -LN2_FUSED[form].high, x)
    rest = avx512.lookup(_roots(form, bits)[1], n.bits)
    if far:
        r = fma(n.number, -LN2_FUSED[form].low, r if low is None else r + low)
    else:
        rest = fma(n.number, -LN2_FUSED[form].low, rest)  # beside r, not after it: sooner done
    scale = (avx512.lookup(_roots_less_index(form, bits, shift), n.bits).bits() + (n.bits << form.mantissa - 4)).real()
    return scale, r + fma(r * r, polynomial(r, EXP_NEAR[form]), rest)


def exp(x: Lanes) -> Lanes:
    form = x.format
    low, high = {DOUBLE: (-746.0, 710.0), FLOAT: (-104.0, 89.0)}[form]
    x = clamp(x, low, high)
    if not avx512.available(x):
        n, p = exp_parts(x)
        return scale_by_power(p, n)
    n = nearest(x, LOG2_E, 1 / avx512.TABLE)
    r = fma(n.number, -LN2_FUSED[form].low, fma(n.number, -LN2_FUSED[form].high, x))
    base, base_low = (avx512.lookup(table, n.bits) for table in _roots(form, form.mantissa))
    q = r + fma(r * r, polynomial(r, EXP_NEAR[form]), base_low)
    return avx512.scale(fma(base, q, base), n.number)


def exp_parts(x: Lanes, low: Lanes | None = None) -> tuple[Whole, Lanes]:
    """(n, p) with exp(x + low) = 2**n * p and p in [0.7, 1.42]; for abs(x) below 1e3 (float: 100) or so, and low below its last bit."""
    if x.target.fused:
        n, r = reduce_by_ln2(x)
        return n, exp_of_reduced(r if low is None else r + low)
    n = nearest(x, LOG2_E)
    exact = fma(n.number, -LN2[x.format].high, x)  # nothing is rounded; what is taken off it comes in last, with the small terms
    rest = n.number * -LN2[x.format].low
    if low is not None:
        rest = rest + low
    r = exact + rest
    return n, 1.0 + (exact + (rest + r * r * polynomial(r, EXP[x.format])))


def exp_of_reduced(r: Lanes) -> Lanes:
    """exp(r) for abs(r) <= log(2)/2."""
    return fma(r, fma(r, polynomial(r, EXP[r.format]), 1.0), 1.0)


def expm1(x: Lanes) -> Lanes:
    low, high = {DOUBLE: (-40.0, 710.0), FLOAT: (-20.0, 89.0)}[x.format]
    return select(absolute(x) < 2.0**-54, x, scaled_expm1(clamp(x, low, high), 1) * 2.0)


def scaled_expm1(x: Lanes, shift: int) -> Lanes:
    """expm1(x) / 2**shift for x from -40 (float: -20) on: finite where exp(x) overflows by less than that factor."""
    n, r = reduce_by_ln2(x)
    scale = power_of_two(n.bits - shift)
    offset = scale - 0.5**shift
    total = fma(scale, r, offset)
    error = fma(scale, r, offset - total)  # n = 0: offset is 0; else abs(offset) > abs(scale*r), as in fast_two_sum
    return total + fma(scale, r * r * polynomial(r, EXPM1[x.format]), error)


def split_exponent(x: Lanes) -> tuple[Lanes, Lanes, Lanes]:
    """(k, biased, m): x = 2**k * m for a positive normal x, m in [sqrt(1/2), sqrt(2)), k as a number and as a biased exponent."""
    form = x.format
    root = {DOUBLE: 0x3FE6A09E667F3BCD, FLOAT: 0x3F3504F3}[form]  # sqrt(1/2)
    moved = x.bits() + (form.one - root)
    biased = moved >> form.mantissa
    m = ((moved & ((1 << form.mantissa) - 1)) + root).real()
    k = (biased | (form.bias + form.mantissa << form.mantissa)).real() - (2.0**form.mantissa + form.bias)
    return k, biased, m


def _log_core(f: Lanes, k: Lanes, low: Lanes | None = None) -> Lanes:
    """d with log(2**k * (1 + f + low)) = k*LN2.high + d."""
    s = f / (f + 2.0)
    z = s * s
    half_square = f * f * 0.5
    rest = k * LN2[f.format].low
    if low is not None:
        rest = rest + low * fma(s + s, s - 1.0, 1.0)  # low/(1 + f) to a hundredth, which is enough
    inner = fma(s, fma(polynomial(z, LOG[f.format]), z, half_square), rest)
    return f - (half_square - inner)


def log(x: Lanes) -> Lanes:
    form = x.format
    if avx512.available(x):  # special values come out right by themselves: an exponent of plus or minus infinity, a mantissa NaN
        m = avx512.mantissa(x)
        k = avx512.exponent(x) - avx512.exponent(m)
        return fma(k, LN2[form].high, _log_core(m - 1.0, k))
    tiny = x < form.smallest
    shift = 54.0 if form is DOUBLE else 25.0
    k, _, m = split_exponent(select(tiny, x * 2.0**shift, x))
    k = select(tiny, k - shift, k)
    y = fma(k, LN2[form].high, _log_core(m - 1.0, k))
    y = select(x.equals(INFINITY), x, y)
    return select(x > 0.0, y, select(x.equals(0.0), x.like(-INFINITY), x.like(NAN)))


def log1p(x: Lanes, rest: Lanes | None = None) -> Lanes:
    """log(1 + x); with ``rest``, far smaller than x, log(1 + x + rest)."""
    form = x.format
    u, error = two_sum(x.like(1.0), x)
    if rest is None:
        rest = x.like(0.0)
    else:
        error = error + rest
    if avx512.available(x):
        m = avx512.mantissa(u)
        k = avx512.exponent(u) - avx512.exponent(m)
        low = select(absolute(k) < form.mantissa + 8.0, avx512.scale(error, -k), 0.0)
    else:
        k, biased, m = split_exponent(u)
        scale = ((2 * form.bias - biased) << form.mantissa).real()
        low = select(x < 2.0 ** (form.mantissa + 8), error * scale, 0.0)
    direct = k.equals(0.0)
    d = _log_core(select(direct, x, m - 1.0), k, select(direct, rest, low))
    y = select(direct, d, fma(k, LN2[form].high, d))  # the first keeps -0
    if avx512.available(x):
        return y
    y = select(x.equals(INFINITY), x, y)
    return select(x > -1.0, y, select(x.equals(-1.0), x.like(-INFINITY), x.like(NAN)))
