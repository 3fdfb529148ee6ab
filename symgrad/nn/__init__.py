"""Networks and losses, as ordinary expressions of ordinary symbols.

``layers`` builds ``Neuron``, ``Linear`` and ``MLP``; ``activations`` and ``initializers`` are tables by
name; ``losses`` are functions of (prediction, target).
"""

from symgrad.nn.activations import ACTIVATIONS, Activation
from symgrad.nn.initializers import INITIALIZERS
from symgrad.nn.layers import MLP, Linear, Network, Neuron
from symgrad.nn.losses import binary_cross_entropy, cross_entropy, hinge, huber, mae, mse

__all__ = [
    "ACTIVATIONS", "INITIALIZERS", "Activation", "Linear", "MLP", "Network", "Neuron",
    "binary_cross_entropy", "cross_entropy", "hinge", "huber", "mae", "mse",
]
