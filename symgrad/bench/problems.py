"""The two networks that start-up, compile time and memory are measured with: data, weights, and the loss in symgrad and in JAX.

    moons   2-16-16-1, rectifiers, max-margin loss and an L2 penalty, full batch, gradient descent
    digits  64-64-32-10, rectifiers, cross-entropy, minibatches of 32, Adam
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["PROBLEMS", "Problem", "data", "jax_loss", "start", "symgrad_loss"]

Array = np.ndarray[Any, Any]
PENALTY = 1e-4


@dataclass(frozen=True)
class Problem:
    """``widths``: of the layers, inputs first. ``batch``: samples a step."""

    name: str
    widths: tuple[int, ...]
    samples: int
    batch: int

    @property
    def classes(self) -> bool:
        """Whether the last layer's outputs are classes."""
        return self.widths[-1] > 1


PROBLEMS = {p.name: p for p in (Problem("moons", (2, 16, 16, 1), 100, 100), Problem("digits", (64, 64, 32, 10), 1440, 32))}


def data(problem: Problem) -> tuple[Array, Array]:
    """Samples and targets: two half circles with targets ±1, or ten blurred patterns of 8×8 with their numbers.

    Made here, so that nothing has to be installed or loaded: the time of a step does not depend on what the pictures show.
    """
    rng = np.random.default_rng(0)
    n = problem.samples
    if problem.classes:
        labels = np.arange(n) % problem.widths[-1]
        patterns = rng.normal(size=(problem.widths[-1], problem.widths[0]))
        return patterns[labels] + rng.normal(size=(n, problem.widths[0])), labels
    label, angle = np.arange(n) % 2, rng.uniform(0, np.pi, n)
    flip = 1.0 - 2.0 * label
    points = np.stack([label + flip * np.cos(angle), 0.5 * label + flip * np.sin(angle)], axis=1)
    return points + rng.normal(0, 0.1, (n, 2)), -flip


def start(problem: Problem) -> dict[str, Array]:
    """Weights and biases to begin with."""
    rng, found = np.random.default_rng(1), {}
    for k, (fan_in, fan_out) in enumerate(zip(problem.widths, problem.widths[1:]), 1):
        found[f"W{k}"] = rng.uniform(-1, 1, (fan_in, fan_out)) / np.sqrt(fan_in)
        found[f"b{k}"] = np.zeros(fan_out)
    return found


def symgrad_loss(problem: Problem) -> tuple[Any, tuple[Any, ...]]:
    """The loss over symbols ``x`` and ``t``, and the parameters."""
    import symgrad as sg

    net = sg.nn.MLP(problem.widths[0], list(problem.widths[1:]), activation="relu")
    x, t = sg.symbol("x", ("n", problem.widths[0])), sg.symbol("t", "n", integer=problem.classes)
    out = net(x)
    return (sg.nn.cross_entropy(out, t) if problem.classes else sg.nn.hinge(out[:, 0], t) + PENALTY * net.l2()), net.parameters


def jax_loss(problem: Problem) -> Any:
    """The same as a function of (parameters by name, x, t)."""
    import jax
    import jax.numpy as jnp

    last = len(problem.widths) - 1

    def loss(p: dict[str, Any], x: Any, t: Any) -> Any:
        h = x
        for k in range(1, last + 1):
            h = h @ p[f"W{k}"] + p[f"b{k}"]
            h = jax.nn.relu(h) if k < last else h
        if problem.classes:
            return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(h), t[:, None], 1))
        return jnp.mean(jnp.maximum(0, 1 - t * h[:, 0])) + PENALTY * sum(jnp.sum(v * v) for v in p.values())

    return loss
