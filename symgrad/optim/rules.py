"""SGD and Adam as expressions of parameter, gradient, state, step and hyper-parameters.

An optimizer's numbers are scalar symbols, so they are arguments of the compiled loop: changing them
compiles nothing again. The same results as PyTorch's optimizers of these names.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from symgrad import dims, ops
from symgrad.errors import ShapeError
from symgrad.expr import Expr, ExprLike, symbol

__all__ = ["SGD", "Adam", "Optimizer", "State", "step"]

step = symbol("step", integer=True)
"""The number of the update, 0 in the first: for learning rates that change, as in ``SGD(0.1 * 0.99**sg.optim.step)``."""

# Symbols of the rules carry this tag: a user's own symbol "lr" beside the optimizer's is an error, not one number.
_TAG = b"sg.optim"


@dataclass(frozen=True)
class State:
    """What an update rule carries from step to step: an array shaped like ``symbol``, filled with ``initial`` before
    the first update and replaced by ``next`` in each."""

    symbol: Expr
    initial: float
    next: Expr


class Optimizer(ABC):
    """An update rule. ``numbers``: hyper-parameter symbol → its value, the run-time arguments of the rule."""

    def __init__(self, lr: ExprLike) -> None:
        self.numbers: dict[Expr, float] = {}
        if isinstance(lr, Expr):
            if lr.shape != () or lr.kind == "boolean":
                raise ShapeError(f"a learning rate is a scalar, not {dims.format_shape(lr.shape)}")
            self.lr = lr
        else:
            self.lr = self._number("lr", lr, 0.0)

    def _number(self, name: str, value: object, low: float, high: float = math.inf) -> Expr:
        """A hyper-parameter in [low, high), as a scalar symbol with a value."""
        if isinstance(value, bool) or not (hasattr(value, "__float__") or hasattr(value, "__index__")):
            raise TypeError(f"{type(self).__name__}: {name} is a number, not {type(value).__name__}")
        number = float(value)  # type: ignore[arg-type]
        if not (low <= number < high):
            raise ValueError(f"{type(self).__name__}: {name} = {number!r} is not in [{low:g}, {high:g})")
        parameter = symbol(name, tag=_TAG)
        self.numbers[parameter] = number
        return parameter

    def _state(self, parameter: Expr, name: str) -> Expr:
        return symbol(f"{parameter.name}.{name}", parameter.shape, tag=_TAG)

    def update(self, parameters: Sequence[Expr], gradients: Sequence[Expr]) -> tuple[list[Expr], list[State]]:
        """One update of every parameter: the next parameters, and the states the rule needs.

        ``parameters``: real symbols. ``gradients``: expressions of the same shapes. Raises ``ShapeError`` where
        they do not match.

        >>> import symgrad as sg
        >>> w, g = sg.symbols("w g")
        >>> (after,), states = sg.optim.SGD(0.1, momentum=0.9).update([w], [g])
        >>> print(after)
        w - lr*(momentum*w.velocity + g)
        """
        following: list[Expr] = []
        states: list[State] = []
        for parameter, gradient in zip(parameters, gradients, strict=True):
            if parameter.shape != gradient.shape:
                raise ShapeError(f"update: {parameter.name} has shape {dims.format_shape(parameter.shape)}, "
                                 f"its gradient {dims.format_shape(gradient.shape)}")
            after, own = self.rule(parameter, gradient)
            following.append(after)
            states.extend(own)
        return following, states

    @abstractmethod
    def rule(self, p: Expr, g: Expr) -> tuple[Expr, list[State]]:
        """The next value of one parameter ``p`` with gradient ``g``, and the states."""


class SGD(Optimizer):
    """Gradient descent, with momentum, Nesterov's look-ahead and weight decay where they are not 0.

    ``lr``: a number, or an expression of ``sg.optim.step``. ``momentum`` in [0, 1): v ← momentum·v + g, and v replaces g.
    ``nesterov``: g + momentum·v replaces g (needs momentum). ``weight_decay``: adds weight_decay·p to g, the gradient
    of weight_decay/2·p². Raises ``ValueError`` for numbers out of range.

    Sources: B. T. Polyak, "Some methods of speeding up the convergence of iteration methods" (1964); I. Sutskever et
    al., "On the importance of initialization and momentum in deep learning", ICML 2013, in PyTorch's arrangement.

    >>> import symgrad as sg
    >>> optimizer = sg.optim.SGD(0.1 * 0.99**sg.optim.step, momentum=0.9, nesterov=True)
    """

    def __init__(self, lr: ExprLike = 0.01, momentum: float = 0.0, nesterov: bool = False, weight_decay: float = 0.0) -> None:
        super().__init__(lr)
        self.momentum = self._number("momentum", momentum, 0.0, 1.0) if momentum else None
        self.weight_decay = self._number("weight_decay", weight_decay, 0.0) if weight_decay else None
        self.nesterov = nesterov
        if nesterov and self.momentum is None:
            raise ValueError("SGD: nesterov needs a momentum, as in SGD(0.1, momentum=0.9, nesterov=True)")

    def rule(self, p: Expr, g: Expr) -> tuple[Expr, list[State]]:
        if self.weight_decay is not None:
            g = g + self.weight_decay * p
        if self.momentum is None:
            return p - self.lr * g, []
        velocity = self._state(p, "velocity")
        after = self.momentum * velocity + g
        return p - self.lr * (g + self.momentum * after if self.nesterov else after), [State(velocity, 0.0, after)]


class Adam(Optimizer):
    """Adam: steps scaled by running means of the gradient and of its square.

    ``lr``: a number, or an expression of ``sg.optim.step``. ``beta1``, ``beta2`` in [0, 1): what the running means keep.
    ``eps``: keeps the division finite. ``weight_decay``: adds weight_decay·p to the gradient (as L2 does; not AdamW's).
    Raises ``ValueError`` for numbers out of range.

    Source: D. P. Kingma, J. Ba, "Adam: a method for stochastic optimization", ICLR 2015, algorithm 1.

    >>> import symgrad as sg
    >>> optimizer = sg.optim.Adam(1e-3)
    """

    def __init__(self, lr: ExprLike = 1e-3, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8, weight_decay: float = 0.0) -> None:
        super().__init__(lr)
        self.beta1, self.beta2 = self._number("beta1", beta1, 0.0, 1.0), self._number("beta2", beta2, 0.0, 1.0)
        self.eps = self._number("eps", eps, 0.0)
        self.weight_decay = self._number("weight_decay", weight_decay, 0.0) if weight_decay else None

    def rule(self, p: Expr, g: Expr) -> tuple[Expr, list[State]]:
        if self.weight_decay is not None:
            g = g + self.weight_decay * p
        m, v = self._state(p, "m"), self._state(p, "v")
        m_next = self.beta1 * m + (1 - self.beta1) * g
        v_next = self.beta2 * v + (1 - self.beta2) * g**2
        # The means began at 0: dividing by 1 - beta**t removes that bias. In the order that the paper recommends (end of
        # section 2) these scalars are computed once a step, and an element costs one root and one quotient.
        t = step + 1
        unbiased = ops.sqrt(1 - self.beta2**t)
        rate = self.lr * unbiased / (1 - self.beta1**t)
        after = p - rate * m_next / (ops.sqrt(v_next) + unbiased * self.eps)
        return after, [State(m, 0.0, m_next), State(v, 0.0, v_next)]
