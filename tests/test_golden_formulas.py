"""Golden files: what five models and their gradients look like. A change there is seen in review.

``SYMGRAD_UPDATE_GOLDEN=1 pytest tests/test_golden_formulas.py`` writes the files anew.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path

import pytest

import symgrad as sg
from symgrad.expr import Expr
from symgrad.show import Formulas

GOLDEN = Path(__file__).parent / "golden"
Model = tuple[Expr, dict[str, Expr]]


def two_layer_network() -> Model:
    X, t = sg.symbol("X", ("n", 2)), sg.symbol("t", ("n", 1))
    W1, b1, W2, b2 = sg.symbol("W1", (2, 16)), sg.symbol("b1", 16), sg.symbol("W2", (16, 1)), sg.symbol("b2", 1)
    loss = (((sg.tanh(X @ W1 + b1) @ W2 + b2) - t) ** 2).mean()
    return loss, {"W1": W1, "b1": b1, "W2": W2, "b2": b2}


def logistic_regression() -> Model:
    X, t, w, b = sg.symbol("X", ("n", 3)), sg.symbol("t", "n"), sg.symbol("w", 3), sg.symbol("b")
    z = X @ w + b
    return (sg.softplus(z) - t * z).mean(), {"w": w, "b": b}


def softmax_regression() -> Model:
    X, k, W = sg.symbol("X", ("n", 4)), sg.symbol("k", "n", integer=True), sg.symbol("W", (4, 3))
    return sg.nn.cross_entropy(X @ W, k), {"W": W}


def gaussian() -> Model:
    x, mu, sigma = sg.symbols("x mu sigma")
    return sg.exp(-((x - mu) ** 2) / (2 * sigma**2)) / (math.sqrt(2 * math.pi) * sigma), {"x": x, "mu": mu, "sigma": sigma}


def pendulum() -> Model:
    m, g, length, theta, omega = sg.symbols("m g l theta omega")
    return m * length**2 * omega**2 / 2 - m * g * length * (1 - sg.cos(theta)), {"theta": theta, "omega": omega, "l": length}


MODELS: list[Callable[[], Model]] = [two_layer_network, logistic_regression, softmax_regression, gaussian, pendulum]


@pytest.mark.parametrize("model", MODELS, ids=lambda m: m.__name__)
def test_formulas_read_as_in_the_golden_file(model: Callable[[], Model]) -> None:
    expr, wrt = model()
    gradients = sg.grad(expr, wrt)
    sections = {
        "expression": str(expr),
        "chain rule": str(Formulas(sg.grad(expr, wrt, simplify=False), raw=True)),
        "gradient": str(Formulas(gradients)),
        "simplified": "\n".join([str(sg.simplify(expr, islands=False)), str(Formulas(sg.simplify(gradients, islands=False)))]),
        "latex": Formulas(gradients).latex(),
    }
    shown = "\n\n".join(f"# {title}\n{body}" for title, body in sections.items()) + "\n"
    file = GOLDEN / f"{model.__name__}.txt"
    if os.environ.get("SYMGRAD_UPDATE_GOLDEN"):
        GOLDEN.mkdir(exist_ok=True)
        file.write_text(shown, encoding="utf-8")
    assert shown == file.read_text(encoding="utf-8"), "the formulas changed: look at the difference, then update the file"
