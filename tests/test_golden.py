"""Golden files of five models, each from its expression to the program that a user may ship: a change there is seen in review.

``SYMGRAD_UPDATE_GOLDEN=1 python -m pytest tests/test_golden.py`` writes them anew. See ``test_golden_formulas.py`` for more formulas.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path

import pytest

import symgrad as sg
from symgrad.show import Formulas

GOLDEN = Path(__file__).parent / "golden" / "models"
Model = tuple[sg.Expr, dict[str, sg.Expr]]


def neuron() -> Model:
    x1, w1, x2, w2, b = sg.symbols("x1 w1 x2 w2 b")
    return sg.tanh(x1 * w1 + x2 * w2 + b), {"w1": w1, "w2": w2, "b": b}


def logistic_regression() -> Model:
    X, t, w, b = sg.symbol("X", ("n", 3)), sg.symbol("t", ("n",)), sg.symbol("w", (3,)), sg.symbol("b")
    return sg.nn.binary_cross_entropy(X @ w + b, t), {"w": w, "b": b}


def classifier() -> Model:
    net = sg.nn.MLP(4, [8, 3], activation="tanh")
    loss = sg.nn.cross_entropy(net(sg.symbol("x", ("n", 4))), sg.symbol("t", ("n",), integer=True))
    return loss, {p.name: p for p in net.parameters}


def gaussian() -> Model:
    x, mu, sigma = sg.symbol("x"), sg.symbol("mu"), sg.symbol("sigma", positive=True)
    return sg.exp(-(((x - mu) / sigma) ** 2) / 2) / (sigma * math.sqrt(2 * math.pi)), {"x": x, "mu": mu, "sigma": sigma}


def ridge() -> Model:
    A, x, b, penalty = sg.symbol("A", ("n", "m")), sg.symbol("x", ("m",)), sg.symbol("b", ("n",)), sg.symbol("lambda")
    return sg.sum((A @ x - b) ** 2) + penalty * sg.sum(x**2), {"x": x}


MODELS: list[Callable[[], Model]] = [neuron, logistic_regression, classifier, gaussian, ridge]


@pytest.mark.parametrize("model", MODELS, ids=lambda m: m.__name__)
def test_from_expression_to_source(model: Callable[[], Model]) -> None:
    expr, wrt = model()
    function = sg.compile(expr, wrt=list(wrt.values()))
    sections = {
        "expression": str(expr),
        "LaTeX": expr.latex(),
        "bare chain rule": str(Formulas(sg.grad(expr, wrt, simplify=False), raw=True)),
        "gradient": str(Formulas(sg.grad(expr, wrt))),
        "what is compiled": str(function.formulas),
        "what is compiled, as LaTeX": function.formulas.latex(),
        'f.source("python")': function.source("python"),
    }
    shown = "\n\n".join(f"# --- {title}\n{body.strip()}" for title, body in sections.items()) + "\n"
    file = GOLDEN / f"{model.__name__}.txt"
    if os.environ.get("SYMGRAD_UPDATE_GOLDEN"):
        GOLDEN.mkdir(parents=True, exist_ok=True)
        file.write_text(shown, encoding="utf-8")
    assert shown == file.read_text(encoding="utf-8"), "look at the difference; if it is better, update the file (see above)"
