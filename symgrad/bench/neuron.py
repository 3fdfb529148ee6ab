"""What the two workloads of a neuron share: tanh(x1*w1 + x2*w2 + b), its value and its gradient with respect to w1, w2 and b."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["NAMES", "POINT", "WRT", "by_hand", "expression"]

NAMES = ("x1", "x2", "w1", "w2", "b")
WRT = NAMES[2:]
POINT = (2.0, 0.5, -3.0, 1.0, 6.8813735870195432)


def expression(tanh: Callable[[Any], Any], x1: Any, x2: Any, w1: Any, w2: Any, b: Any) -> Any:
    """The neuron, of whatever kind of numbers."""
    return tanh(x1 * w1 + x2 * w2 + b)


def by_hand(tanh: Callable[[Any], Any]) -> Callable[..., Any]:
    """What a person would write, gradient included: the function that plain Python and numba run."""

    def value_and_gradient(x1: Any, x2: Any, w1: Any, w2: Any, b: Any) -> Any:
        y = tanh(x1 * w1 + x2 * w2 + b)
        d = 1.0 - y * y
        return y, (d * x1, d * x2, d)

    return value_and_gradient
