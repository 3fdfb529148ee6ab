"""Definitions that a rendered Python module carries where it uses them: what neither ``math`` nor numba has."""

from __future__ import annotations

__all__ = ["HELPERS", "NEEDS"]

NEEDS = {"polygamma": ("digamma",)}  # a helper's helpers

HELPERS = {
    "floor_divide": '''
@njit(error_model="numpy")
def floor_divide(a, b):
    """The quotient rounded down, as NumPy rounds it."""
    if b == 0.0:
        return a / b
    rest = np.fmod(a, b)
    quotient = (a - rest) / b
    if rest != 0.0 and (b < 0.0) != (rest < 0.0):
        quotient -= 1.0
    if quotient == 0.0:
        return math.copysign(0.0, a / b)
    low = np.floor(quotient)
    return low + 1.0 if quotient - low > 0.5 else low
''',
    "remainder": '''
@njit(error_model="numpy")
def remainder(a, b):
    """What a division that rounds down leaves; it has the sign of the divisor."""
    rest = np.fmod(a, b)
    if b == 0.0:
        return rest
    if rest == 0.0:
        return math.copysign(0.0, b)
    return rest + b if (b < 0.0) != (rest < 0.0) else rest
''',
    "sigmoid": '''
@njit(error_model="numpy")
def sigmoid(x):
    """1/(1 + exp(-x)), without overflow."""
    e = math.exp(-abs(x))
    return (1.0 if x >= 0.0 else e) / (1.0 + e)
''',
    "silu": '''
@njit(error_model="numpy")
def silu(x):
    """x/(1 + exp(-x)), without overflow."""
    if x == -math.inf:
        return 0.0
    e = math.exp(-abs(x))
    return x * (1.0 if x >= 0.0 else e) / (1.0 + e)
''',
    "gelu": '''
@njit(error_model="numpy")
def gelu(x):
    """x*erfc(-x/sqrt(2))/2; what rounding takes from the argument, which erfc would magnify, comes in by the slope of its logarithm."""
    if abs(x) > 40.0:
        return x if x > 0.0 else 0.0
    u = -0.7071067811865476 * x
    high = np.rint(1048576.0 * x) / 1048576.0
    rest = x - high
    low = ((-u - 0.7071067690849304 * high) - 1.210161710447897e-08 * high) - 0.7071067811865476 * rest
    slope = u + math.sqrt(u * u + 1.2732395447351628) if u > 0.0 else 1.1283791670955126 * math.exp(-u * u)
    return 0.5 * x * math.erfc(u) * (1.0 - low * slope)
''',
    "gelu_tanh": '''
@njit(error_model="numpy")
def gelu_tanh(x):
    """x*sigmoid(2*sqrt(2/pi)*(x + 0.044715*x**3)); the exponent from abs(x) to a 64th, whose powers are exact, and the rest."""
    if abs(x) > 40.0:
        return x if x > 0.0 else 0.0
    a = abs(x)
    h = np.rint(64.0 * a) / 64.0
    rest = 3.0874305383944692e-12 * h + 9.849412992916964e-09 * h**3 + (a - h) * (
        1.5957691216057308 + 0.07135481627260025 * (a * a + a * h + h * h)
    )
    e = math.exp(-(1.5957691216026433 * h + 0.07135480642318726 * h**3)) * math.exp(-rest)
    return (x if x > 0.0 else 0.0) - a * e / (1.0 + e)
''',
    "digamma": '''
@njit(error_model="numpy")
def digamma(x):
    """Reflection below 0, recurrence up to 10, then the asymptotic series (DLMF 5.5.4, 5.5.2, 5.11.2)."""
    if x == 0.0:
        return math.copysign(math.inf, -x)
    result = 0.0
    if x < 0.0:
        fraction = x - np.floor(x)
        if fraction == 0.0 or math.isinf(x):
            return math.nan
        result = -math.pi / math.tan(math.pi * fraction)
        x = 1.0 - x
    while x < 10.0:
        result -= 1.0 / x
        x += 1.0
    s = 1.0 / (x * x)
    series = s * (1 / 12 - s * (1 / 120 - s * (1 / 252 - s * (1 / 240 - s * (1 / 132 - s * (691 / 32760 - s / 12))))))
    return result + math.log(x) - 0.5 / x - series
''',
    "polygamma": '''
@njit(error_model="numpy")
def polygamma(order, x):
    """The derivative of digamma of an order: a Hurwitz zeta function, by Euler and Maclaurin's formula (DLMF 25.11.5)."""
    if order == 0:
        return digamma(x)
    power = float(order + 1)
    if x <= 0.0 and x == np.floor(x):
        return math.inf if order % 2 else -math.inf
    total = 0.0
    while x <= 12.0 + order:
        total += 1.0 / x ** (order + 1)
        x += 1.0
    if math.isinf(x):
        total = 0.0 * power
    else:
        term = x**-power
        total += term * x / order + 0.5 * term
        factor = 0.5 * power * term / x
        for k, bernoulli in enumerate((1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510)):
            total += factor * bernoulli
            factor *= (power + 2 * k + 1) * (power + 2 * k + 2) / ((2 * k + 3) * (2 * k + 4) * x * x)
    return total * math.gamma(power) * (1.0 if order % 2 else -1.0)
''',
    "matrix": '''
@njit
def matrix(values, start, rows, columns, stride, transposed):
    """A matrix out of the middle of an array: its rows begin every ``stride`` elements."""
    result = np.empty((rows, columns), values.dtype)
    flat = values.reshape(-1)
    for i in range(rows):
        for j in range(columns):
            result[i, j] = flat[start + (j * stride + i if transposed else i * stride + j)]
    return result
''',
    "put_matrix": '''
@njit
def put_matrix(product, beta, values, start, stride):
    """``product + beta * what is there``, into the middle of an array."""
    flat = values.reshape(-1)
    for i in range(product.shape[0]):
        for j in range(product.shape[1]):
            at = start + i * stride + j
            flat[at] = product[i, j] if beta == 0.0 else product[i, j] + beta * flat[at]
''',
    "convert": '''
def convert(name, value, dtype, shape):
    """The argument as a contiguous array of the wanted type; refused where that would lose something or the shape is wrong."""
    array = np.asarray(value)
    if not np.can_cast(array.dtype, dtype, "same_kind"):
        raise TypeError(f"{name} is {array.dtype}, which would lose values as {np.dtype(dtype)}")
    if array.ndim != len(shape):
        raise ValueError(f"{name} has {array.ndim} axes, not {len(shape)}")
    for axis, (found, wanted) in enumerate(zip(array.shape, shape)):
        if wanted is not None and found != wanted:
            raise ValueError(f"{name} has {found} elements along axis {axis}, not {wanted}")
    return np.ascontiguousarray(array, dtype)
''',
}
