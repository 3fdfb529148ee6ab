"""Activations by name: what stands between the layers of a network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from symgrad import ops
from symgrad.expr import Expr

__all__ = ["ACTIVATIONS", "Activation", "activation"]


@dataclass(frozen=True)
class Activation:
    """``apply`` maps a layer's sums to its outputs. ``initializer``: the scheme that keeps the variance of the
    signal with it. ``pieces``: how many sums make one output (2 for maxout, which takes the larger). ``across``: an
    output depends on all sums of the layer (softmax), so that a single neuron cannot have it."""

    name: str
    apply: Callable[[Expr], Expr]
    initializer: str = "glorot_uniform"
    pieces: int = 1
    across: bool = False


def _identity(z: Expr) -> Expr:
    return z


def _maxout(z: Expr) -> Expr:
    return ops.maxout(z, 2)


# Rectifiers pass about half of the signal on, which He's factor of 2 makes up for (He et al. 2015, eq. 10).
ACTIVATIONS: dict[str, Activation] = {
    a.name: a
    for a in (
        Activation("identity", _identity),
        Activation("relu", ops.relu, "he_uniform"),
        Activation("leaky_relu", ops.leaky_relu, "he_uniform"),
        Activation("elu", ops.elu, "he_uniform"),
        Activation("gelu", ops.gelu, "he_uniform"),
        Activation("silu", ops.silu, "he_uniform"),
        Activation("maxout", _maxout, "he_uniform", pieces=2),
        Activation("softplus", ops.softplus),
        Activation("tanh", ops.tanh),
        Activation("sigmoid", ops.sigmoid),
        Activation("log_sigmoid", ops.log_sigmoid),
        Activation("softmax", ops.softmax, across=True),
        Activation("log_softmax", ops.log_softmax, across=True),
        Activation("erf", ops.erf),
        Activation("sin", ops.sin),
        Activation("cos", ops.cos),
        Activation("square", ops.square),
    )
}


def activation(choice: str | Callable[[Expr], Expr] | Activation | None) -> Activation:
    """The record of a name, of a function of an expression, or of nothing (``None``: the identity).

    Raises ``ValueError`` for an unknown name, listing the known ones, ``TypeError`` for anything else.
    """
    if choice is None:
        return ACTIVATIONS["identity"]
    if isinstance(choice, Activation):
        return choice
    if isinstance(choice, str):
        if choice not in ACTIVATIONS:
            raise ValueError(f"no activation is called {choice!r}; there are {', '.join(ACTIVATIONS)}")
        return ACTIVATIONS[choice]
    if callable(choice):
        return Activation(getattr(choice, "__name__", "activation"), choice)
    raise TypeError(f"an activation is a name or a function of an expression, not {type(choice).__name__}")
