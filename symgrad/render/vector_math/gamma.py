"""lgamma, digamma and polygamma on lanes: functions of double, called rather than inlined.

lgamma: Stirling's series from 8 on; below, lgamma(x) = (x - 1)*(x - 2)*P(x) on [1.25, 2.5] and the recurrence, all its factors in one
logarithm.
digamma: the asymptotic series from 6.25 on; below, (x - x0)*P(x) on [1, 2.25] with the positive zero x0 written as a sum, and the
recurrence. polygamma: the terms 1/(x + k)**(n + 1) until x + k is large enough for the series of Euler and Maclaurin
(NIST DLMF 25.11.43 and 5.15). Negative arguments by reflection (DLMF 5.5.3, 5.5.4, 5.15.6).

Positive x: a few ulp at most, zeros of lgamma and digamma included. Negative x: the same relative to the larger of the two numbers that
reflection subtracts, so the relative error grows near the zeros between the poles; polygamma's grows by about half an ulp an order.
At the poles lgamma is infinity, digamma NaN (at 0: infinity of the sign opposite to the zero's), polygamma infinity for odd orders and
as digamma for even ones.

Coefficients as in ``exponential.py``.
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import cache

from symgrad.render.vector_math.exponential import log
from symgrad.render.vector_math.lanes import (
    Lanes,
    absolute,
    copysign,
    exact_product,
    fast_two_sum,
    fma,
    if_any,
    polynomial,
    select,
    two_sum,
    while_any,
)
from symgrad.render.vector_math.power import log_of_positive, whole_power
from symgrad.render.vector_math.trigonometric import sine_cosine

__all__ = ["digamma", "lgamma", "polygamma"]

INFINITY, NAN = float("inf"), float("nan")
PI, PI_LOW = 3.141592653589793, 1.2246467991473532e-16
LOG_2_PI_LESS_1 = 0.4189385332046727  # (log(2*pi) - 1)/2

# lgamma(2 + t)/(t*(t + 1)) in t + 1/8, 2 + t in [1.25, 2.5], relative: 2**-59.4
LGAMMA = (0.43586455222115017, -0.10918086531277577, 0.03812250298427573, -0.015252472846049405, 0.006561971241598821,
          -0.0029506372010955927, 0.0013661088708199559, -0.0006455970534877225, 0.00030973237176659175, -0.00015031810176283032,
          7.361599862120269e-05, -3.631778172484778e-05, 1.802876719634413e-05, -8.994908652492406e-06, 4.494502862177949e-06,
          -2.2587965627005495e-06, 1.1787210372289304e-06, -6.004326659559553e-07, 2.3087460465298935e-07, -1.131209687096632e-07,
          1.371368400144302e-07, -7.215965031080515e-08)
# (lgamma(x) - (x - 1/2)*log(x) + x - log(2*pi)/2)*x in 1/x**2, x >= 8, weight 1/(x*lgamma(x)): 2**-63.1
STIRLING = (0.08333333333333244, -0.0027777777767929147, 0.0007936504151431747, -0.0005951693782049383, 0.0008352910759032987,
            -0.0016083575222712598)
# digamma(x)/(x - x0) in x - 1.625, x in [1, 2.25], relative: 2**-58.1
ZERO, ZERO_LOW = 1.4616321449683622, 9.549995429965697e-17
DIGAMMA = (0.9015925158282158, -0.36977496445741076, 0.1927201246014621, -0.10919698588599196, 0.06426251743363685, -0.03855782679361892,
           0.02338043993348897, -0.014262521426660641, 0.008730867791816288, -0.005355729066014945, 0.0032894286949223042,
           -0.002021877646453397, 0.0012433281121214386, -0.0007645888192179459, 0.0004703522402014107, -0.0002904633887871567,
           0.0001788629836279134, -0.00010605324229091134, 6.489908394744988e-05, -5.001527792698509e-05, 3.139224283558418e-05,
           -3.108117783119122e-06, 1.3139162405261092e-06, -1.5891753310403542e-05, 1.0034943070741316e-05)
# (log(x) - 1/(2x) - digamma(x))*x**2 in 1/x**2, x >= 6.25, weight 1/(x**2*digamma(x)): 2**-60.5
DIGAMMA_TAIL = (0.08333333333332714, -0.008333333327639629, 0.003968252136337598, -0.004166380527901939, 0.007551294355928429,
                -0.019904764423390876, 0.051270179047439135)


def lgamma(x: Lanes) -> Lanes:
    """log(abs(gamma(x)))."""
    a = absolute(x)
    positive = _lgamma_of_positive(a)
    y = if_any(x < 0.0, lambda: select(x < 0.0, _lgamma_reflected(a, positive), positive), positive)
    pole = x.equals(0.0) | ((x < 0.0) & a.call("rint").equals(a))
    y = select(pole | a.equals(INFINITY), INFINITY, y)
    return select(x.is_nan(), x, y)


def _lgamma_of_positive(a: Lanes) -> Lanes:
    far, low, tiny = a > 8.0, a < 1.25, a < 0.5
    # y = a - k in [1.25, 2.5], lgamma(a) = lgamma(y) + log((a - 1)...(a - k)); or lgamma(a + 1) - log(a), lgamma(a + 2) - log(a*(a + 1))
    y, factors = a, a.like(1.0)
    for _ in range(6):
        step = y > 2.5
        less = y - 1.0
        y, factors = select(step, less, y), select(step, factors * less, factors)
    t = select(tiny, a, select(low, a - 1.0, y - 2.0))
    factors = select(far, a, select(tiny, fma(a, a, a), select(low, a, factors)))
    high, high_low = log_of_positive(factors)
    near = _lgamma_of_two_plus(t)
    high_near, high_near_low = select(low, -high, high), select(low, -high_low, high_low)
    total, error = two_sum(near, high_near)
    near = total + (error + high_near_low)
    # (a - 1/2)*(log(a) - 1) + (log(2*pi) - 1)/2 + series
    inverse = 1.0 / a
    rest = fma(inverse, polynomial(inverse * inverse, STIRLING), LOG_2_PI_LESS_1)
    less_one, less_one_low = fast_two_sum(high, high.like(-1.0))
    shifted = a - 0.5
    product, error = exact_product(shifted, less_one)
    error = error + shifted * (less_one_low + high_low)
    total, total_low = fast_two_sum(product, rest)
    series = select(product < INFINITY, total + (total_low + error), product)
    return select(far, series, near)


def _lgamma_of_two_plus(t: Lanes) -> Lanes:
    """For t in [-0.75, 0.5]."""
    first, *others = LGAMMA
    rest = (t + 0.125) * polynomial(t + 0.125, others)
    above, above_low = two_sum(t, 1.0)
    product, error = exact_product(t, above)
    error = fma(t, above_low, error)
    return fma(product, first, fma(error, first + rest, product * rest))


def _lgamma_reflected(a: Lanes, positive: Lanes) -> Lanes:
    """lgamma(-a) = -log(sin(pi*a)*a/pi) - lgamma(a), with lgamma(a + 1) = lgamma(a) + log(a) for small a; log(1/a) for tiny a."""
    (sine, _), _ = _sine_cosine_of_pi(a)
    sine = absolute(sine)
    small = a < 0.5
    argument = select(small, sine / ((a + 1.0) * PI), sine * (1 / PI) * a)
    high, low = log_of_positive(argument)
    base = select(small, _lgamma_of_two_plus(a), positive)
    total, error = two_sum(high, base)
    return select(a < 2.0**-54, positive, -(total + (error + low)))


def _sine_cosine_of_pi(a: Lanes) -> tuple[tuple[Lanes, Lanes], tuple[Lanes, Lanes]]:
    """sin(pi*d) and cos(pi*d) as sums, d the signed distance from a to the nearest whole number: but for a common sign those of pi*a."""
    d = a - a.call("rint")
    size = absolute(d)
    far = size > 0.25
    e = select(far, 0.5 - size, size)
    r, error = exact_product(e, e.like(PI))
    (s, s_low), (c, c_low) = (fast_two_sum(*pair) for pair in sine_cosine(r, fma(e, PI_LOW, error)))
    sign = d.negative()
    sine, sine_low = select(far, c, s), select(far, c_low, s_low)
    return (select(sign, -sine, sine), select(sign, -sine_low, sine_low)), (select(far, s, c), select(far, s_low, c_low))


def _cotangent_of_pi(a: Lanes) -> tuple[Lanes, Lanes, Lanes]:
    """(cot(pi*a) as a sum, whether a is whole: then it is infinite)."""
    (sine, sine_low), (cosine, cosine_low) = _sine_cosine_of_pi(a)
    inverse = 1.0 / sine
    ratio = cosine * inverse
    product, error = exact_product(ratio, sine)
    low = ((cosine - product - error) + (cosine_low - ratio * sine_low)) * inverse
    return ratio, select(absolute(low) < INFINITY, low, 0.0), sine.equals(0.0)


def digamma(x: Lanes) -> Lanes:
    """The derivative of lgamma."""
    a = absolute(x)
    y = if_any(x < 0.0, lambda: _digamma(x, a), _digamma_of_positive(a))
    y = select(x.equals(0.0), copysign(x.like(INFINITY), -x), y)
    return select(x.is_nan(), x, y)


def _digamma(x: Lanes, a: Lanes) -> Lanes:
    """For x < 0 digamma(1 - x) - pi*cot(pi*x)."""
    left = x < 0.0
    y = _digamma_of_positive(*two_sum(select(left, 1.0, a.like(0.0)), a))
    cotangent, low, pole = _cotangent_of_pi(a)
    reflected = select(pole, NAN, fma(cotangent + low, PI, y))
    return select(left, reflected, y)


def _digamma_of_positive(a: Lanes, a_low: Lanes | None = None) -> Lanes:
    far, low = a > 6.25, a < 1.0
    # y = a - k in [1, 2.25], digamma(a) = digamma(y) + 1/(a - 1) + ... + 1/(a - k), one fraction; or digamma(a + 1) - 1/a
    y, top, bottom = a, a.like(0.0), a.like(1.0)
    for _ in range(4):
        step = y > 2.25
        less = y - 1.0
        top, bottom = select(step, fma(top, less, bottom), top), select(step, bottom * less, bottom)
        y = select(step, less, y)
    top, bottom = select(low, -1.0, top), select(low, a, bottom)
    above = select(low, a - (ZERO - 1.0), y - ZERO)
    from_zero, from_zero_low = two_sum(above, -ZERO_LOW if a_low is None else a_low - ZERO_LOW)
    slope = polynomial(select(low, a - 0.625, y - 1.625), DIGAMMA)
    near = fma(from_zero, slope, fma(from_zero_low, slope, top / bottom))
    inverse = 1.0 / a
    z = inverse * inverse
    return select(far, log(a) - fma(z, polynomial(z, DIGAMMA_TAIL), inverse * 0.5), near)


SERIES_TERMS = 10


@cache
def _bernoulli(count: int) -> tuple[Fraction, ...]:
    """B(0) ... B(count - 1)."""
    numbers: list[Fraction] = []
    for n in range(count):
        numbers.append(Fraction(int(n == 0)) - sum(math.comb(n, k) * b / (n - k + 1) for k, b in enumerate(numbers)))
    return tuple(numbers)


def _euler_maclaurin(s: int) -> tuple[tuple[float, ...], float]:
    """(c, from): sum over k of 1/(y + k)**s = y**(1 - s)*(1/(s - 1) + 1/(2y) + sum of c_j/y**(2j)), for y from that number on."""
    terms = [b / math.factorial(j) * Fraction(math.factorial(s + j - 2), math.factorial(s - 1))
             for j, b in enumerate(_bernoulli(2 * SERIES_TERMS + 3)) if j > 0 and j % 2 == 0]
    omitted = abs(terms[SERIES_TERMS]) * (s - 1)
    start = math.exp((math.log(omitted.numerator) - math.log(omitted.denominator) + 58 * math.log(2)) / (2 * SERIES_TERMS + 2))
    return tuple(float(t) for t in terms[:SERIES_TERMS]), float(math.ceil(start))


def _cotangent_derivative(order: int) -> list[int]:
    """Coefficients in c = cot(u), rising, of the derivative of that order of cot(u): c' = -(1 + c**2)."""
    coefficients = [0, 1]
    for _ in range(order):
        slope = [k * c for k, c in enumerate(coefficients)][1:]
        coefficients = [-(a + b) for a, b in zip([*slope, 0, 0], [0, 0, *slope], strict=True)]
    return coefficients


def polygamma(x: Lanes, order: int) -> Lanes:
    """The derivative of that order, 1 or higher, of digamma: (-1)**(n + 1) * n! * (sum over k of 1/(x + k)**(n + 1))."""
    if order < 1:
        raise ValueError(f"polygamma of order {order}: digamma is its order 0, lgamma its antiderivative")
    left = x < 0.0
    y = _factorial_times_zeta(*two_sum(select(left, 1.0, x.like(0.0)), absolute(x)), order)
    y = if_any(left, lambda: select(left, _polygamma_reflected(x, y, order), y), y)
    if order % 2 == 0:
        y = select(x.equals(0.0), copysign(x.like(INFINITY), x), y)
        y = -y
    return select(x.is_nan(), x, y)


def _factorial_times_zeta(x: Lanes, x_low: Lanes, order: int) -> Lanes:
    """n!*zeta(n + 1, x + x_low) for x >= 0. Powers are of c/(x + k), c**(n + 1) near n!, lest they leave the range alone."""
    s = order + 1
    exponent = round(math.log2(math.factorial(order)) / s) if order > 20 else 0
    unit = 2.0**exponent
    factor = float(Fraction(math.factorial(order), 2 ** (exponent * s)))
    coefficients, start = _euler_maclaurin(s)
    zero = x.like(0.0)

    def ratio(y: Lanes, y_low: Lanes) -> tuple[Lanes, Lanes]:
        """unit/(y + y_low) as a sum."""
        quotient = unit / y
        product, error = exact_product(quotient, y)
        return quotient, (unit - product - error - quotient * y_low) * (quotient * (1 / unit))

    def step(y: Lanes, y_low: Lanes, total: Lanes, low: Lanes) -> tuple[Lanes, ...]:
        active = y < start
        term, term_low = whole_power(*ratio(y, y_low), s)
        total, error = two_sum(total, select(active, term, zero))
        y, y_error = two_sum(y, select(active, y.like(1.0), zero))
        return y, y_low + y_error, total, low + (error + select(active, term_low, zero))

    y, y_low, total, low = while_any(lambda y, *_: y < start, step, (x, x_low, zero, zero))
    inverse = 1.0 / y
    lead = Fraction(1, s - 1)
    z = inverse * inverse
    bracket, bracket_low = fast_two_sum(x.like(float(lead)), fma(z, polynomial(z, coefficients), inverse * 0.5))
    power, power_low = whole_power(*ratio(y, y_low), s - 1)
    tail, error = exact_product(bracket, power)
    tail_low = error + bracket * power_low + (bracket_low + float(lead - Fraction(float(lead)))) * power
    total, error = two_sum(total, tail * unit)
    low = low + (error + tail_low * unit)
    return select(absolute(low) < INFINITY, total + low, total) * factor


def _polygamma_reflected(x: Lanes, y: Lanes, order: int) -> Lanes:
    """(-1)**(n + 1) times polygamma(x), which is (-1)**n*polygamma(1 - x) minus the nth derivative of pi*cot(pi*x).

    y: n!*zeta(n + 1, 1 - x), that is (-1)**(n + 1)*polygamma(1 - x).
    """
    pi = Fraction(PI) + Fraction(PI_LOW)
    exact = [c * pi ** (order + 1) for c in _cotangent_derivative(order)[order % 2 == 0 :: 2]]
    coefficients = [float(c) if abs(c) < 2**1023 else INFINITY if c > 0 else -INFINITY for c in exact]
    cotangent, low, pole = _cotangent_of_pi(x)
    square, error = exact_product(cotangent, cotangent)
    square_low = fma(cotangent + cotangent, low, error)
    slope = polynomial(square, [k * c for k, c in enumerate(coefficients)][1:])
    derivative = _corrected(polynomial(square, coefficients), slope, square_low)
    if order % 2 == 0:
        derivative = _corrected(derivative * cotangent, derivative, low)
    return select(pole, INFINITY, -y - derivative) if order % 2 else select(pole, NAN, y + derivative)


def _corrected(value: Lanes, slope: Lanes, low: Lanes) -> Lanes:
    """value + slope*low, but the value alone where that is not finite: where the value has overflowed."""
    y = fma(slope, low, value)
    return select(absolute(y) < INFINITY, y, value)
