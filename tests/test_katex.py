"""Every LaTeX that symgrad prints compiles: ops, physics, networks, updates, by KaTeX (skipped without Node.js)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from katex import katex_errors
from test_golden_formulas import MODELS

import symgrad as sg
from symgrad.expr import OPS, Expr, apply
from symgrad.show import Formulas

FEYNMAN = [json.loads(line) for line in (Path(__file__).parent / "data/feynman/feynman_gradients.jsonl").read_text().splitlines()]


def _sampled(op: Any) -> Expr:
    sample = op.samples[0]
    params = sample[-1] if isinstance(sample[-1], dict) else {}
    return apply(op, *[_like(value, i) for i, value in enumerate(sample[:-1] if params else sample)], **params)


def _like(value: Any, i: int) -> Expr:
    array = np.asarray(value)
    if array.dtype.kind == "b":
        return sg.symbol("xyz"[i % 3], array.shape) > 0
    return sg.symbol("xyzuvw"[i % 6], array.shape, integer=array.dtype.kind == "i")


def test_katex_tells_good_from_bad() -> None:
    assert list(katex_errors([r"\frac{1}{2}", r"\frac{1}{2", r"\nosuch", "x_1_2", r"\left( x"])) == [
        r"\frac{1}{2", r"\nosuch", "x_1_2", r"\left( x",
    ]  # fmt: skip


def test_every_op() -> None:
    made = [_sampled(op) for op in OPS.values() if op.family != "leaf" and op.samples]
    real = [e for e in made if e.kind == "real"]
    inside = [f for e in real for f in (2 * e, -e, e**2, 1 / e, 3 / (1 + e), sg.sin(e) ** 2, abs(e).sum(), (e * e).mean())]
    assert not katex_errors([e.latex() for e in made + inside])


def test_physics() -> None:
    shown = []
    for formula in FEYNMAN:
        y = sg.parse(formula["expr"])
        shown += [y.latex(), Formulas(sg.grad(y, {s.name: s for s in y.free_symbols})).latex()]
    assert not katex_errors(shown)


@pytest.mark.parametrize("model", MODELS, ids=lambda m: m.__name__)
def test_models(model: Any) -> None:
    expr, wrt = model()
    forms = [sg.grad(expr, wrt), sg.grad(expr, wrt, simplify=False)]
    assert not katex_errors([expr.latex(), *(Formulas(f).latex() for f in forms), Formulas(forms[0], of="").latex()])


@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu", "softmax", "maxout"])
def test_networks_and_their_updates(activation: str) -> None:
    net = sg.nn.MLP(3, [5, 4, 2], activation=activation, name="actor")
    x, t = sg.symbol("x", ("n", 3)), sg.symbol("t", "n", integer=True)
    loss = sg.nn.cross_entropy(net(x), t) + 1e-4 * net.l2()
    gradients = sg.grad(loss, {p.name: p for p in net.parameters})
    state = {f"{name}.m": 0.9 * sg.symbol(f"{name}.m", g.shape) + 0.1 * g for name, g in gradients.items()}
    state |= {f"{name}.v": 0.99 * sg.symbol(f"{name}.v", g.shape) + 0.01 * g**2 for name, g in gradients.items()}
    updates = {p.name: p - 0.1 * state[f"{p.name}.m"] / sg.sqrt(state[f"{p.name}.v"] ** 2) for p in net.parameters}
    assert not katex_errors([loss.latex(), Formulas(gradients).latex(), Formulas({**updates, **state}, of="").latex()])


def test_names() -> None:
    names = [
        "w1", "x_12", "sigma_x", "learning_rate", "actor.W1", "W1.m", "actor.W1.v", "μ", "Δt", "x_old_2", "T2_max", "β1", "a_b_c",
        "naïve", "omega_0", "lambda", "_x", "h_", "größe",
    ]  # fmt: skip
    expressions = [sg.symbol(name) ** 2 + sg.symbol(name, (2, 3)).T.sum() for name in names]
    assert not katex_errors([f.latex() for e in expressions for f in e.args] + [sg.symbol(n).named(f"{n}_y").latex() for n in names])
