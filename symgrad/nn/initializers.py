"""How parameters begin: random weights whose size keeps the variance of signals from layer to layer.

He: K. He, X. Zhang, S. Ren, J. Sun, "Delving deep into rectifiers", ICCV 2015, eq. 10: variance 2/fan_in.
Glorot: X. Glorot, Y. Bengio, "Understanding the difficulty of training deep feedforward neural networks",
AISTATS 2010, eq. 16: variance 2/(fan_in + fan_out).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["INITIALIZERS", "Initializer"]

Array = np.ndarray[Any, Any]
Initializer = Callable[[np.random.Generator, int, int, tuple[int, ...]], Array]


def _uniform(rng: np.random.Generator, variance: float, shape: tuple[int, ...]) -> Array:
    bound = np.sqrt(3.0 * variance)  # the variance of U(-a, a) is a**2/3
    return rng.uniform(-bound, bound, shape)


def _normal(rng: np.random.Generator, variance: float, shape: tuple[int, ...]) -> Array:
    return np.sqrt(variance) * rng.standard_normal(shape)


# name -> function (rng, fan_in, fan_out, shape) of an array
INITIALIZERS: dict[str, Initializer] = {
    "he_uniform":     lambda rng, fan_in, fan_out, shape: _uniform(rng, 2.0 / fan_in, shape),
    "he_normal":      lambda rng, fan_in, fan_out, shape: _normal(rng, 2.0 / fan_in, shape),
    "glorot_uniform": lambda rng, fan_in, fan_out, shape: _uniform(rng, 2.0 / (fan_in + fan_out), shape),
    "glorot_normal":  lambda rng, fan_in, fan_out, shape: _normal(rng, 2.0 / (fan_in + fan_out), shape),
    "zeros":          lambda rng, fan_in, fan_out, shape: np.zeros(shape),
}
