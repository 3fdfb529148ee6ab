"""silu and gelu on lanes: x times a number between 0 and 1 whose own rounding, and whose own underflow, do not add to the product's.

silu: x*sigmoid(x). gelu: x*erfc(-x/sqrt(2))/2, or, by the approximation of Hendrycks and Gimpel (arXiv:1606.08415),
x*sigmoid(2*sqrt(2/pi)*(x + 0.044715*x**3)). The arguments of erfc and sigmoid are sums of two numbers, since both functions
magnify a relative error of theirs by their own size and more (at x = -10 by 100).
"""

from __future__ import annotations

from symgrad.render.vector_math.errorfunction import TAIL, careful_tail, erfc_near
from symgrad.render.vector_math.exponential import scale_by_power
from symgrad.render.vector_math.hyperbolic import SIGMOID_TOP, scaled_sigmoid
from symgrad.render.vector_math.lanes import DOUBLE, FLOAT, Lanes, absolute, clamp, exact_product, fma, select, two_sum

__all__ = ["gelu", "gelu_tanh", "silu"]

# sqrt(1/2), 2*sqrt(2/pi) and that times 0.044715, each as a sum of two numbers
ROOT_HALF = {DOUBLE: (0.7071067811865476, -4.833646656726457e-17), FLOAT: (0.7071067690849304, 1.210161710447897e-08)}
LINEAR = {DOUBLE: (1.5957691216057308, -9.96930880911092e-17), FLOAT: (1.5957691669464111, -4.534068042105272e-08)}
CUBIC = {DOUBLE: (0.07135481627260025, -6.175149918155315e-19), FLOAT: (0.07135481387376785, 2.3988323959931355e-09)}
FLAT = {DOUBLE: 40.0, FLOAT: 15.0}  # gelu is x or 0 beyond


def silu(x: Lanes) -> Lanes:
    return _times_sigmoid(x, x)


def _times_sigmoid(x: Lanes, v: Lanes, v_low: Lanes | None = None) -> Lanes:
    """x*sigmoid(v + v_low), x and v of one sign, x at least v where v is far below 0."""
    share, unit = scaled_sigmoid(v, v_low)
    top = SIGMOID_TOP[x.format]
    part = clamp(x, -top, top) * share * unit
    return select(v < 0.0, part, x - part)


def gelu_tanh(x: Lanes) -> Lanes:
    form = x.format
    inner = clamp(x, -FLAT[form], FLAT[form])
    (linear, linear_low), (cubic, cubic_low) = LINEAR[form], CUBIC[form]
    square, square_low = exact_product(inner, inner)
    slope, slope_low = exact_product(square, x.like(cubic))
    slope_low = slope_low + fma(square_low, cubic, square * cubic_low)
    slope, error = two_sum(slope, linear)
    v, v_low = exact_product(inner, slope)
    return _times_sigmoid(x, v, fma(inner, error + (slope_low + linear_low), v_low))


def gelu(x: Lanes) -> Lanes:
    form = x.format
    inner = clamp(x, -FLAT[form], FLAT[form])
    (root, root_low), half = ROOT_HALF[form], inner * 0.5
    u, u_low = exact_product(-inner, x.like(root))
    u_low = fma(-inner, root_low, u_low)
    a = absolute(u)
    y, n = careful_tail(a, select(u < 0.0, -u_low, u_low))
    tail = scale_by_power(absolute(half) * y, n)
    return select(a < TAIL, half * erfc_near(u, u_low), select(x < 0.0, x.like(0.0), x) - tail)
