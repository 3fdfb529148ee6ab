"""Neuron, Linear and MLP: callables that build expressions, with their parameters as symbols."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import reduce
from operator import add

import numpy as np

from symgrad import dims, ops
from symgrad.errors import ShapeError
from symgrad.expr import Expr, ExprLike, as_expr, check_name, symbol
from symgrad.nn.activations import Activation, activation
from symgrad.nn.initializers import INITIALIZERS, Array

__all__ = ["MLP", "Linear", "Network", "Neuron"]

Choice = str | Callable[[Expr], Expr] | Activation | None


def _size(value: object, what: str) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{what} is a whole number, not {value!r}")
    size = int(value.__index__())
    if size < 1:
        raise ValueError(f"{what} is at least 1, not {size}")
    return size


class Network:
    """Parameters, and what follows from them; ``Neuron``, ``Linear`` and ``MLP`` are networks.

    Every network has a tag of its own, so that the ``W1`` of two networks are two symbols: using both in
    one expression is a ``ValueError`` (give the networks names), never silently tied weights.
    """

    def __init__(self, name: str | None, tag: bytes | None = None) -> None:
        self.name = None if name is None else check_name(name)
        self._tag = os.urandom(8) if tag is None else tag
        self._weights: dict[Expr, tuple[int, int, str]] = {}  # weight -> fan in, fan out, initializer
        self._parameters: list[Expr] = []

    def _parameter(self, name: str, shape: tuple[int, ...], fans: tuple[int, int, str] | None = None) -> Expr:
        parameter = symbol(name if self.name is None else f"{self.name}.{name}", shape, tag=self._tag)
        self._parameters.append(parameter)
        if fans is not None:
            self._weights[parameter] = fans
        return parameter

    @property
    def parameters(self) -> tuple[Expr, ...]:
        """The parameters, ordinary symbols, from the first layer to the last, weights before biases."""
        return tuple(self._parameters)

    @property
    def size(self) -> int:
        """The number of trainable numbers."""
        return sum(int(dims.total(p.shape)) for p in self._parameters)

    def init(self, seed: int = 0, scheme: str | None = None) -> dict[str, Array]:
        """Random weights and zero biases: name → float64 array, in the order of ``parameters``.

        ``seed``: equal seeds give equal numbers. ``scheme``: ``"he_uniform"``, ``"he_normal"``, ``"glorot_uniform"``,
        ``"glorot_normal"`` or ``"zeros"``; by default He (uniform) for networks of rectifiers (relu, leaky_relu,
        elu, gelu, silu, maxout) and Glorot (uniform) for all others. Raises ``ValueError`` for an unknown scheme.

        >>> import symgrad as sg
        >>> [(name, array.shape) for name, array in sg.nn.MLP(2, [16, 1]).init(seed=0).items()]
        [('W1', (2, 16)), ('b1', (16,)), ('W2', (16, 1)), ('b2', (1,))]
        """
        if scheme is not None and scheme not in INITIALIZERS:
            raise ValueError(f"no initialization is called {scheme!r}; there are {', '.join(INITIALIZERS)}")
        rng = np.random.default_rng(seed)
        values: dict[str, Array] = {}
        for parameter in self._parameters:
            shape = tuple(int(d) for d in parameter.shape)
            if parameter in self._weights:
                fan_in, fan_out, default = self._weights[parameter]
                values[parameter.name] = INITIALIZERS[scheme or default](rng, fan_in, fan_out, shape)
            else:
                values[parameter.name] = np.zeros(shape)
        return values

    def l2(self) -> Expr:
        """The sum of the squares of all weights and biases."""
        return reduce(add, ((p**2).sum() if p.shape else p**2 for p in self._parameters))

    def l1(self) -> Expr:
        """The sum of the magnitudes of all weights and biases."""
        return reduce(add, (abs(p).sum() if p.shape else abs(p) for p in self._parameters))

    def _check_input(self, x: Expr, inputs: int) -> None:
        if not x.shape or (isinstance(x.shape[-1], int) and x.shape[-1] != inputs):
            raise ShapeError(f"{self!r} takes inputs of shape (..., {inputs}), not {dims.format_shape(x.shape)}")


class Linear(Network):
    """One layer: ``activation(x @ W + b)``.

    ``inputs``, ``outputs``: sizes of the last axis of what goes in and comes out; ``W`` has shape
    (inputs, outputs). ``activation``: a name, a function of an expression, or ``None``. ``bias=False`` leaves
    ``b`` out. ``name`` prefixes the parameters. Raises ``ShapeError`` when called with another last axis.

    >>> import symgrad as sg
    >>> layer = sg.nn.Linear(3, 2, "tanh", name="hidden")
    >>> layer(sg.symbol("x", ("n", 3))).shape, [p.name for p in layer.parameters]
    (('n', 2), ['hidden.W', 'hidden.b'])
    """

    def __init__(self, inputs: int, outputs: int, activation: Choice = None, *, bias: bool = True, name: str | None = None) -> None:
        super().__init__(name)
        self._build(inputs, outputs, activation, bias, None, "")

    def _build(self, inputs: int, outputs: int, choice: Choice, bias: bool, scheme: str | None, suffix: str) -> None:
        self.inputs, self.outputs = _size(inputs, "inputs"), _size(outputs, "outputs")
        self.activation = activation(choice)
        width = self.outputs * self.activation.pieces
        self.W = self._parameter(f"W{suffix}", (self.inputs, width), (self.inputs, self.outputs, scheme or self.activation.initializer))
        self.b = self._parameter(f"b{suffix}", (width,)) if bias else None

    @classmethod
    def _inside(cls, network: Network, inputs: int, outputs: int, choice: Choice, bias: bool, scheme: str, number: int) -> Linear:
        """Layer ``number`` of a larger network, whose name and tag its parameters carry."""
        layer = cls.__new__(cls)
        Network.__init__(layer, network.name, network._tag)
        layer._build(inputs, outputs, choice, bias, scheme, str(number))
        return layer

    def __call__(self, x: ExprLike) -> Expr:
        """The layer's outputs for inputs of shape (..., inputs)."""
        x = as_expr(x)
        self._check_input(x, self.inputs)
        z = x @ self.W
        return self.activation.apply(z if self.b is None else z + self.b)

    def __repr__(self) -> str:
        return f"Linear({self.inputs}, {self.outputs}, {self.activation.name!r})"


class Neuron(Network):
    """One neuron: ``activation(x @ w + b)``, with ``w`` of shape (inputs,) and a scalar ``b``.

    Inputs of shape (inputs,) give a scalar, of shape ("n", inputs) give ("n",). A maxout neuron has ``W`` of
    shape (inputs, 2), and takes the larger of two sums. Raises ``ShapeError`` when called with another last axis,
    ``ValueError`` for an activation of several outputs (softmax).

    >>> import symgrad as sg
    >>> print(sg.nn.Neuron(2, "tanh")(sg.symbol("x", ("n", 2))))
    tanh(x @ w + b)
    """

    def __init__(self, inputs: int, activation: Choice = "tanh", *, bias: bool = True, name: str | None = None) -> None:
        super().__init__(name)
        self._build(inputs, activation, bias)

    def _build(self, inputs: int, choice: Choice, bias: bool) -> None:
        self.inputs, self.activation = _size(inputs, "inputs"), activation(choice)
        if self.activation.across:
            raise ValueError(f"a neuron has one output, {self.activation.name} compares several: use Linear or MLP")
        fans = (self.inputs, 1, self.activation.initializer)
        pieces = () if self.activation.pieces == 1 else (self.activation.pieces,)
        self.w = self._parameter("W" if pieces else "w", (self.inputs, *pieces), fans)
        self.b = self._parameter("b", pieces) if bias else None

    def __call__(self, x: ExprLike) -> Expr:
        """The neuron's output for inputs of shape (..., inputs)."""
        x = as_expr(x)
        self._check_input(x, self.inputs)
        z = x @ self.w
        z = z if self.b is None else z + self.b
        return ops.max(z, axis=-1) if self.activation.pieces > 1 else self.activation.apply(z)

    def __repr__(self) -> str:
        return f"Neuron({self.inputs}, {self.activation.name!r})"


class MLP(Network):
    """A multi-layer perceptron: layers ``W1 b1 W2 b2 …``, the activation between them.

    ``inputs``: the size of the last axis of what goes in. ``sizes``: the outputs of each layer. ``activation``: between
    the layers, and none after the last unless ``output`` names one. ``bias=False`` leaves the biases out.
    ``name`` prefixes the parameters (``actor.W1``). Raises ``ValueError`` for sizes below 1 or an unknown activation.

    >>> import symgrad as sg
    >>> net = sg.nn.MLP(2, [16, 16, 1], activation="relu")
    >>> net(sg.symbol("x", ("n", 2))).shape, net.size
    (('n', 1), 337)
    """

    def __init__(
        self, inputs: int, sizes: Sequence[int], *, activation: Choice = "relu", output: Choice = None, bias: bool = True,
        name: str | None = None,
    ) -> None:
        super().__init__(name)
        self._build(inputs, sizes, activation, output, bias)

    def _build(self, inputs: int, sizes: Sequence[int], choice: Choice, output: Choice, bias: bool) -> None:
        if not isinstance(sizes, (list, tuple)) or not sizes:
            raise ValueError(f"MLP takes the outputs of each layer, as in MLP(2, [16, 16, 1]), not {sizes!r}")
        self.sizes = tuple(_size(s, "the outputs of a layer") for s in sizes)
        self.inputs, self.activation, self.output = _size(inputs, "inputs"), activation(choice), activation(output)
        # One scheme for the whole network: the last layer, too, reads what the activation let through.
        scheme = self.activation.initializer if len(sizes) > 1 else self.output.initializer
        self.layers: list[Linear] = []
        for number, (fan_in, fan_out) in enumerate(zip((self.inputs, *self.sizes[:-1]), self.sizes, strict=True), start=1):
            between = self.activation if number < len(self.sizes) else self.output
            layer = Linear._inside(self, fan_in, fan_out, between, bias, scheme, number)
            self.layers.append(layer)
            self._parameters.extend(layer._parameters)
            self._weights.update(layer._weights)

    def __call__(self, x: ExprLike) -> Expr:
        """The network's outputs for inputs of shape (..., inputs)."""
        x = as_expr(x)
        self._check_input(x, self.inputs)
        for layer in self.layers:
            x = layer(x)
        return x

    def __repr__(self) -> str:
        output = "" if self.output.name == "identity" else f", output={self.output.name!r}"
        named = "" if self.name is None else f", name={self.name!r}"
        return f"MLP({self.inputs}, {list(self.sizes)}, activation={self.activation.name!r}{output}{named})"


