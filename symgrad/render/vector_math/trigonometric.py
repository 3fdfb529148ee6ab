"""sin, cos, tan on lanes.

abs(x) = n*pi/2 + (r + low) with abs(r) <= pi/4, pi/2 in three parts (Cody and Waite, 1980), then the polynomials of
sine and cosine in r, one of which each lane takes. Where some lane is beyond :data:`LIMIT`, a rarely
taken branch asks the platform's libm for those lanes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from llvmlite import ir

from symgrad.render.vector_math.lanes import (
    DOUBLE,
    FLOAT,
    Lanes,
    absolute,
    copysign,
    exact_product,
    fast_two_sum,
    fma,
    if_any,
    nearest,
    polynomial,
    select,
    two_sum,
    type_name,
)
from symgrad.render.vector_math.libm import by_lane

__all__ = ["cos", "sin", "sin_and_cos", "sin_and_cos_of_one", "sine_cosine", "tan"]

TWO_OVER_PI = 0.6366197723675814
# pi/2 in parts for fused products: 53, 33 (its product with n < 2**20 is exact) and 53 bits; three of 24 bits for float
PI_HALF = {
    DOUBLE: (1.5707963267948966, float.fromhex("0x1.1a62633100000p-54"), 3.5215598651832e-27),
    FLOAT: (1.5707963705062866, -4.371138828673793e-08, -1.7151245100058819e-15),
}
# pi/2 in parts of 33 bits, whose products with n < 2**20 are exact, and a rest of 53 (the split of fdlibm's e_rem_pio2.c)
PI_HALF_SHORT = (float.fromhex("0x1.921fb544p+0"), float.fromhex("0x1.0b4611a6p-34"), float.fromhex("0x1.3198a2ep-69"),
                 float.fromhex("0x1.b839a252049c1p-104"))
# Above it the parts above no longer give r to its last bit, even where x is nearest to a multiple of pi/2.
LIMIT = {DOUBLE: 1.0e6, FLOAT: 1.0e5}

# (sin(r) - r)/r**3 and (cos(r) - 1 + r**2/2)/r**4 in r**2, abs(r) <= pi/4, weights r**2 and r**4: 2**-58.0, 2**-64.2; 2**-28.0, 2**-33.3
SIN = {
    DOUBLE: (-0.16666666666666632, 0.008333333333322372, -0.0001984126982977187, 2.7557313678940917e-06, -2.505075600875427e-08,
             1.5896669475674322e-10),
    FLOAT: (-0.16666654906774314, 0.008332175780491556, -0.00019516973633334076),
}
COS = {
    DOUBLE: (0.0416666666666666, -0.0013888888888874066, 2.4801587289444546e-05, -2.7557314340906296e-07, 2.0875721649918557e-09,
             -1.1359560370458031e-11),
    FLOAT: (0.04166664681369369, -0.0013887364745866129, 2.4438117313801006e-05),
}


@dataclass(frozen=True)
class Reduced:
    """abs(x) = n*pi/2 + r + low; n in the low bits of an integer, with sine and cosine of r + low as sums of a large and a small part."""

    n: Lanes
    sine: tuple[Lanes, Lanes]
    cosine: tuple[Lanes, Lanes]


def _reduce(a: Lanes) -> Reduced:
    whole = nearest(a, TWO_OVER_PI)
    n = whole.number
    if a.target.fused:
        first, second, third = PI_HALF[a.format]
        minus_n = -n
        exact = minus_n.call("fma", first, a)  # a multiple of the last bit of pi/2, and below 1: no rounding
        r = minus_n.call("fma", second, exact)
        # double: exact is a multiple of the last bit of n*second, so exact - r is representable (as in fast_two_sum)
        low = minus_n.call("fma", third, minus_n.call("fma", second, exact - r))
        if a.format is FLOAT:  # n*second does not fit: exact - r is representable only where the two are close
            near = absolute(r) < 2.0**-7
            r = select(near, minus_n.call("fma", third, r), r)
            low = select(near, 0.0, low)
    else:
        r, low = _reduce_by_exact_products(a, n)
    return Reduced(whole.bits, *sine_cosine(r, low))


def sine_cosine(r: Lanes, low: Lanes) -> tuple[tuple[Lanes, Lanes], tuple[Lanes, Lanes]]:
    """Sine and cosine of r + low, abs(r) <= pi/4, each as a sum of a large and a small part."""
    z = r * r
    half = z * 0.5
    top = 1.0 - half
    rest = (1.0 - top) - half  # what rounding took from top
    sine = fma(polynomial(z, SIN[r.format]), z * r, low)
    cosine = fma(z * z, polynomial(z, COS[r.format]), fma(-r, low, rest))
    return (r, sine), (top, cosine)


def _reduce_by_exact_products(a: Lanes, n: Lanes) -> tuple[Lanes, Lanes]:
    """(r, low) without fused products: three exact steps and the rest."""
    first, second, third, rest = PI_HALF_SHORT
    exact = a - n * first
    r, error_1 = two_sum(exact, n * -second)
    r, error_2 = two_sum(r, n * -third)
    return r, (error_1 + error_2) - n * rest


def _pick(reduced: Reduced, quadrant: Lanes) -> Lanes:
    """sin(r + quadrant*pi/2): cosine for odd quadrants, minus from the second on."""
    odd = (quadrant & 1).equals(1)
    y = select(odd, reduced.cosine[0] + reduced.cosine[1], reduced.sine[0] + reduced.sine[1])
    return (y.bits() ^ ((quadrant & 2) << (y.format.width - 2))).real()


def sin(x: Lanes) -> Lanes:
    return _sin(x, _reduce(absolute(x)))


def cos(x: Lanes) -> Lanes:
    return _cos(x, _reduce(absolute(x)))


def sin_and_cos(x: Lanes) -> tuple[Lanes, Lanes]:
    """Both, bit for bit, for one reduction."""
    reduced = _reduce(absolute(x))
    return _sin(x, reduced), _cos(x, reduced)


def sin_and_cos_of_one(x: Lanes) -> tuple[Lanes, Lanes]:
    """Of a single number, the result as soon as may be: in long chains all else waits for it. Within a quarter turn of 0 there is
    nothing to reduce, and the processor foresees which way it goes."""
    builder = x.builder
    near, far, after = (builder.append_basic_block(label) for label in ("near", "far", "after"))
    builder.cbranch((absolute(x) <= math.pi / 4).value, near, far)
    found = []
    for block, compute in ((near, _near_zero), (far, sin_and_cos)):
        builder.position_at_end(block)
        found.append((compute(x), builder.block))
        builder.branch(after)
    builder.position_at_end(after)
    results = []
    for k in (0, 1):
        phi = builder.phi(x.type)
        for pair, block in found:
            phi.add_incoming(pair[k].value, block)
        results.append(Lanes(builder, phi, x.target))
    return results[0], results[1]


def _near_zero(x: Lanes) -> tuple[Lanes, Lanes]:
    z = x * x
    sine = fma(_by_pairs(z, SIN[x.format]), z * x, x)
    half = z * 0.5
    top = 1.0 - half
    cosine = top + fma(z * z, _by_pairs(z, COS[x.format]), (1.0 - top) - half)
    return copysign(sine, x), cosine  # sin(-0.0) is -0.0


def _by_pairs(x: Lanes, coefficients: tuple[float, ...]) -> Lanes:
    """As ``polynomial``, for the shortest way: neighbours first, then Horner's rule in the square of x."""
    square = x * x
    pairs = [fma(x, b, a) for a, b in zip(coefficients[::2], coefficients[1::2])]
    result: Lanes = pairs.pop() if len(coefficients) % 2 == 0 else x.like(coefficients[-1])
    for pair in reversed(pairs):
        result = fma(result, square, pair)
    return result


def _sin(x: Lanes, reduced: Reduced) -> Lanes:
    y = _pick(reduced, reduced.n)
    return _with_libm("sin", x, (y.bits() ^ (x.bits() & x.format.sign)).real())


def _cos(x: Lanes, reduced: Reduced) -> Lanes:
    return _with_libm("cos", x, _pick(reduced, reduced.n + 1))


def tan(x: Lanes) -> Lanes:
    """sine/cosine, or -cosine/sine for odd n, the quotient corrected by its remainder."""
    reduced = _reduce(absolute(x))
    odd = (reduced.n & 1).equals(1)
    sine, sine_low = fast_two_sum(*reduced.sine)
    cosine, cosine_low = fast_two_sum(*reduced.cosine)
    top, top_low = select(odd, -cosine, sine), select(odd, -cosine_low, sine_low)
    bottom, bottom_low = select(odd, sine, cosine), select(odd, sine_low, cosine_low)
    inverse = 1.0 / bottom
    ratio = top * inverse
    product, error = exact_product(ratio, bottom)
    remainder = (top - product - error) + (top_low - ratio * bottom_low)
    y = fma(remainder, inverse, ratio)
    return _with_libm("tan", x, (y.bits() ^ (x.bits() & x.format.sign)).real())


def _with_libm(name: str, x: Lanes, y: Lanes) -> Lanes:
    """y, but libm's result in the lanes beyond the limit, if there are any."""
    function = _lane_by_lane(x.builder.module, name, x)
    return if_any(absolute(x) > LIMIT[x.format], lambda: Lanes(x.builder, x.builder.call(function, [x.value, y.value]), x.target), y)


def _lane_by_lane(module: Any, name: str, like: Lanes) -> Any:
    """A function of (x, y): libm's function of x beyond the limit, y elsewhere. Out of line, since it is hardly ever called."""
    symbol = f"symgrad.{name}.huge.{type_name(like.type)}"
    function = module.globals.get(symbol)
    if function is None:
        function = ir.Function(module, ir.FunctionType(like.type, [like.type, like.type]), symbol)
        function.linkage = "internal"
        for attribute in ("noinline", "cold", "nounwind"):
            function.attributes.add(attribute)
        builder = ir.IRBuilder(function.append_basic_block())
        x, y = (Lanes(builder, argument, like.target) for argument in function.args)
        exact = by_lane(name, x)
        builder.ret(select(absolute(x) > LIMIT[x.format], exact, y).value)
    return function
