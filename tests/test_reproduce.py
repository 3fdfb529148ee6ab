"""Known values: the small examples that every course on backpropagation works through by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import symgrad as sg
from symgrad.evaluate import evaluate

X, W, B = np.array([2.0, 0.0]), np.array([-3.0, 1.0]), 6.8813735870195432


def at(expr: sg.Expr, **values: Any) -> float:
    return float(evaluate(expr, values))


def test_parabola() -> None:
    x = sg.symbol("x")
    f = 3 * x**2 - 4 * x + 5
    df = sg.grad(f, x)
    assert at(f, x=3.0) == 20
    assert [at(df, x=v) for v in (3.0, -3.0)] == [14, -22]
    assert abs(at(df, x=2 / 3)) < 1e-15
    assert str(df) == "6*x - 4"
    points = np.arange(-5, 5, 0.25)
    line = sg.symbol("x", "n")
    np.testing.assert_allclose(evaluate(3 * line**2 - 4 * line + 5, {line: points}), 3 * points**2 - 4 * points + 5)


def test_expression_with_intermediate_nodes() -> None:
    a, b, c, f = sg.symbols("a b c f")
    ab = a * b
    d = ab + c
    L = d * f
    values = {"a": 2.0, "b": -3.0, "c": 10.0, "f": -2.0}
    assert at(L, **values) == -8
    gradients = [at(g, **values) for g in sg.grad(L, [a, b, c, f, d, ab])]
    assert gradients == [6, -4, -2, 4, -2, -2]
    stepped = {name: values[name] + 0.01 * g for name, g in zip("abcf", gradients, strict=False)}
    assert at(L, **stepped) == pytest.approx(-7.286496, rel=1e-12)


@pytest.mark.parametrize("spelling", ["tanh", "exp"])
@pytest.mark.parametrize("simplify", [True, False])
def test_neuron(spelling: str, simplify: bool) -> None:
    x1, x2, w1, w2, b = sg.symbols("x1 x2 w1 w2 b")
    n = x1 * w1 + x2 * w2 + b
    o = sg.tanh(n) if spelling == "tanh" else (sg.exp(2 * n) - 1) / (sg.exp(2 * n) + 1)
    values = {"x1": 2.0, "x2": 0.0, "w1": -3.0, "w2": 1.0, "b": B}
    assert at(o, **values) == pytest.approx(0.7071067811865476, rel=1e-15)
    gradients = [at(g, **values) for g in sg.grad(o, [w1, w2, x1, x2, b], simplify=simplify)]
    assert gradients == pytest.approx([1, 0, -1.5, 0.5, 0.5], rel=1e-13, abs=1e-15)


def test_neuron_with_vectors() -> None:
    x, w, b = sg.symbol("x", 2), sg.symbol("w", 2), sg.symbol("b")
    o = sg.tanh(w @ x + b)
    values = {x: X, w: W, b: B}
    to_w, to_x, to_b = (evaluate(g, values) for g in sg.grad(o, [w, x, b]))
    np.testing.assert_allclose(to_w, [1, 0], rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(to_x, [-1.5, 0.5], rtol=1e-13)
    assert float(to_b) == pytest.approx(0.5, rel=1e-13)


def test_a_node_used_twice() -> None:
    a, b = sg.symbols("a b")
    assert at(sg.grad(a + a, a), a=3.0) == 2
    d, e = a * b, a + b
    assert [at(g, a=-2.0, b=3.0) for g in sg.grad(d * e, [a, b])] == [-3, -8]
    assert [at(g, a=-2.0, b=3.0) for g in sg.grad(d + e, [a, b])] == [4, -1]


def test_gates() -> None:
    a, b, g = sg.symbols("a b g")
    values = {"a": 3.0, "b": -4.0, "g": 2.0}

    def gate(y: sg.Expr) -> list[float]:
        return [at(e, **values) for e in sg.vjp(y, [a, b], g)]

    assert gate(a + b) == [2, 2]
    assert gate(a * b) == [-8, 6]
    assert gate(sg.maximum(a, b)) == [2, 0]
    assert gate(sg.minimum(a, b)) == [0, 2]


def test_sigmoid_as_one_op_and_spelt_out() -> None:
    x = sg.symbol("x")
    for v in (-3.0, 0.0, 1.5, 40.0):
        one, spelt = (at(sg.grad(y, x), x=v) for y in (sg.sigmoid(x), 1 / (1 + sg.exp(-x))))
        s = 1 / (1 + np.exp(-v))
        assert one == pytest.approx(spelt, rel=1e-12) == pytest.approx(s * (1 - s) if v < 30 else np.exp(-v), rel=1e-12)


def test_jacobians_of_vectorised_ops() -> None:
    x, A = sg.symbol("x", 3), sg.symbol("A", (2, 3))
    v, M = np.array([0.5, -1.0, 2.0]), np.arange(6.0).reshape(2, 3)
    values = {x: v, A: M}
    np.testing.assert_allclose(evaluate(sg.jacobian(A @ x, x), values), M)
    np.testing.assert_allclose(evaluate(sg.jacobian(sg.tanh(x), x), values), np.diag(1 - np.tanh(v) ** 2), rtol=1e-14)
    p = np.exp(v) / np.exp(v).sum()
    np.testing.assert_allclose(evaluate(sg.jacobian(sg.softmax(x), x), values), np.diag(p) - np.outer(p, p), rtol=1e-13)
    np.testing.assert_allclose(evaluate(sg.jacobian(A @ x, A), values), np.einsum("ij,k->ijk", np.eye(2), v))


ACTIVATIONS = [sg.sigmoid, sg.tanh, sg.relu, sg.leaky_relu, lambda z: sg.maxout(z, 2) if z.shape else sg.maximum(z, 0.5 * z)]


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=["sigmoid", "tanh", "relu", "leaky_relu", "maxout"])
def test_two_layer_network(activation: Any) -> None:
    random = np.random.default_rng(1)  # no pre-activation is near a kink
    x, t = sg.symbol("x", ("n", 3)), sg.symbol("t", "n")
    W1, b1, W2 = sg.symbol("W1", (3, 4)), sg.symbol("b1", 4), sg.symbol("W2", 2 if activation is ACTIVATIONS[-1] else 4)
    loss = sg.mean((activation(x @ W1 + b1) @ W2 - t) ** 2)
    values = {s: random.normal(size=tuple(5 if d == "n" else d for d in s.shape)) for s in (x, t, W1, b1, W2)}
    sg.check_grads(loss, values, tolerance=1e-5)
    assert [g.shape for g in sg.grad(loss, [W1, b1, W2])] == [W1.shape, b1.shape, W2.shape]
