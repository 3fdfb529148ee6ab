"""Expressions as text: minimal parentheses, shared parts on lines of their own, and the way back through the parser."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
import pytest

import symgrad as sg
from symgrad.evaluate import evaluate
from symgrad.expr import OPS, Expr, apply, free_symbols
from symgrad.show import Formulas, text
from symgrad.show.text import number

x, y, w, b = sg.symbols("x y w b")
X, D = sg.symbol("X", ("n", 2)), sg.symbol("D", ("n", 16))
W1, b1, W2, v = sg.symbol("W1", (2, 16)), sg.symbol("b1", 16), sg.symbol("W2", (16, 3)), sg.symbol("v", 2)
i = sg.symbol("i", ("n",), integer=True)


@pytest.mark.parametrize(
    "formula",
    [
        "x*(1 - tanh(w*x + b)**2)", "3*x**2 - 4*x + 5", "-x*y", "3*(2*x)", "x - (y - w)", "x/(y/w)", "x/y/w", "x*(y/w)", "x*y/w",
        "x**(-2)", "(x**y)**w", "x**y**w", "(-x)**2", "-x**2", "-2*x", "x*(-2)", "x + (-3)", "x - (-y)", "-(x + y)",
        "-(-x)", "(-2)**x",
        "x//y % w", "x*(y % w)", "(x//y)*w", "~(x > 0)", "(x > 0) & (y < 1)",
        "(x > 0) | ((y < 1) & (w < 2))", "where(x >= 0, x, 0)", "x == y",
        "0.5*x", "0.0001*x", "1e-7*x", "2.0*x", "pi*x", "1e22*x", "sin(x)**2 + cos(x)**2", "maximum(0, x)", "leaky_relu(x, slope=0.1)",
        "polygamma(2, x)", "abs(x - y)", "exp(-(x - y)**2/(2*w**2))", "2**x", "x**0.5",
    ],
)  # fmt: skip
def test_scalar_formulas_are_written_as_they_are_read(formula: str) -> None:
    read = sg.parse(formula)
    assert str(read) == formula
    assert repr(read) == formula


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (lambda: X.T @ (D * (1 - D**2)), "X.T @ (D * (1 - D**2))"),
        (lambda: sg.tanh(X @ W1 + b1) @ W2, "tanh(X @ W1 + b1) @ W2"),
        (lambda: W2.T @ W1.T, "W2.T @ W1.T"),
        (lambda: (X @ W1).T, "(X @ W1).T"),
        (lambda: 2 * (X @ v), "2*(X @ v)"),
        (lambda: (2 * X) @ v, "2*X @ v"),
        (lambda: X @ (v @ v * v), "X @ ((v @ v)*v)"),
        (lambda: v @ W1, "v @ W1"),
        (lambda: sg.outer(v, b1), "outer(v, b1)"),
        (lambda: sg.einsum("ij,ij->i", X, X), "sum(X * X, axis=1)"),
        (lambda: sg.einsum("ij,kl->ikjl", W1, W1), 'einsum("ij,kl->ikjl", W1, W1)'),
        (lambda: X.sum(), "sum(X)"),
        (lambda: X.sum(0), "sum(X, axis=0)"),
        (lambda: X.mean(axis=1, keepdims=True), "mean(X, axis=1, keepdims=True)"),
        (lambda: sg.softmax(X), "softmax(X)"),
        (lambda: sg.softmax(X, axis=0), "softmax(X, axis=0)"),
        (lambda: X[:, 0], "X[:, 0]"),
        (lambda: X[:, 0:1], "X[:, 0:1]"),
        (lambda: X[1:, None], "X[1:, None]"),
        (lambda: X[:-1], "X[:-1]"),
        (lambda: X[::-1], "X[::-1]"),
        (lambda: v[:, None] * v, "v[:, None] * v"),
        (lambda: X[i], "X[i]"),
        (lambda: X.reshape(-1), "reshape(X, (2*n,))"),
        (lambda: sg.stack([x, y]), "stack([x, y])"),
        (lambda: sg.concatenate([v, b1]), "concatenate([v, b1])"),
        (lambda: sg.broadcast_to(x, (3,)), "broadcast_to(x, (3,))"),
        (lambda: sg.eye(2) @ v, "eye(2) @ v"),
        (lambda: sg.size(X, 0) * x, "n*x"),
        (lambda: sg.constant(np.array([[1.0, 2.0], [3.0, 0.5]])) @ v, "[[1.0, 2.0], [3.0, 0.5]] @ v"),
        (lambda: sg.constant(np.zeros((9, 2))) @ v, "array[9x2] @ v"),
        (lambda: sg.square(x + 1) ** 2, "((x + 1)**2)**2"),
        (lambda: x / y / y, "x/y**2"),
        (lambda: -(x * y), "-x*y"),
        (lambda: -(X @ v), "-X @ v"),
    ],
)
def test_tensor_formulas(made: Any, expected: str) -> None:
    assert str(made()) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(2, "2"), (2.0, "2.0"), (0.1, "0.1"), (1e-4, "0.0001"), (1e-7, "1e-7"), (1e22, "1e22"),
     (-0.0, "-0.0"), (5e-324, "5e-324"), (math.pi, "pi"), (True, "True")],
)
def test_numbers(value: Any, expected: str) -> None:
    assert number(value) == expected


def test_numbers_keep_every_bit() -> None:
    for value in (0.1 + 0.2, 1 / 3, 2**0.5, 1.7976931348623157e308, 2.2250738585072014e-308):
        assert float(number(value)) == value


# --- shared and named parts ---------------------------------------------------------------------------------


def test_small_shared_parts_are_repeated() -> None:
    assert str(sg.sigmoid(x) * (1 - sg.sigmoid(x))) == "sigmoid(x)*(1 - sigmoid(x))"


def test_large_shared_parts_stand_in_front() -> None:
    h = sg.tanh(X @ W1 + b1)
    assert str((h * h).sum() * sg.exp(h).sum() + sg.log(1 + h * h).sum() + (h @ W2).sum()) == (
        "H1 = tanh(X @ W1 + b1)\nsum(H1 * H1)*sum(exp(H1)) + sum(log(1 + H1 * H1)) + sum(H1 @ W2)"
    )


def test_letters_of_the_user_are_not_taken() -> None:
    H1 = sg.symbol("H1", 16)
    big = sg.tanh(X @ W1 + H1)
    shown = str((big * big).sum() * sg.exp(big).sum() + sg.log(1 + big * big).sum() + (big @ W2).sum())
    assert shown.startswith("A1 = tanh(X @ W1 + H1)\n")


def test_named_parts_stand_under_their_names() -> None:
    hidden = sg.tanh(w * x + b).named("hidden")
    assert str(2 * hidden) == "hidden = tanh(w*x + b)\n2*hidden"
    assert str(hidden) == "hidden = tanh(w*x + b)"
    assert str(x.named("x") + 1) == "x_2 = x\nx_2 + 1"


def test_two_symbols_of_one_name() -> None:
    pair = sg.symbol("z") + sg.symbol("z", positive=True)
    with pytest.raises(ValueError, match="two different symbols are named 'z'"):
        str(pair)
    assert repr(pair) == "z + z"


def test_formulas_share_what_they_share() -> None:
    h = sg.tanh(X @ W1 + b1)
    loss = ((h @ W2)[:, 0] ** 2).mean()
    gradients = Formulas(sg.grad(loss, {"W1": W1, "b1": b1, "W2": W2}))
    lines = str(gradients).splitlines()
    assert lines[0] == "H1 = tanh(X @ W1 + b1)"
    assert [line.split(" = ")[0] for line in lines if "δ" in line.split(" = ")[0]] == ["δ2", "δ1"]
    assert [line.split(" = ")[0] for line in lines if line.startswith("dL")] == ["dL/dW1", "dL/db1", "dL/dW2"]
    assert len(str(gradients)) < 420
    assert Formulas({"a": x * y}, of="").__str__() == "a ← x*y"


# --- large expressions --------------------------------------------------------------------------------------


STEPS = {"tanh": lambda e: sg.tanh(e), "neg": lambda e: -e, "add": lambda e: e + x, "sub": lambda e: x - e, "square": lambda e: e * e}


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
def test_deep_expressions_print_in_linear_size(step: Any) -> None:
    e = x
    for _ in range(5_000):
        e = step(e)
    assert len(str(e)) < 40 * 5_000


# --- there and back -----------------------------------------------------------------------------------------

_UNARY = ["neg", "exp", "log", "sqrt", "tanh", "sin", "abs", "sigmoid", "floor", "relu", "erf", "softplus"]
_BINARY = ["add", "sub", "mul", "div", "pow", "maximum", "mod", "floordiv", "hypot"]


def random_formula(rng: random.Random, depth: int) -> Expr:
    if depth == 0 or rng.random() < 0.15:
        return rng.choice([x, y, w, sg.constant(rng.choice([0, 1, 2, 3, -1, -2, 0.5, -0.25, 1e-7, 1e20, math.pi]))])
    if rng.random() < 0.4:
        return apply(OPS[rng.choice(_UNARY)], random_formula(rng, depth - 1))
    if rng.random() < 0.1:
        a, b = (random_formula(rng, max(depth - 2, 0)) for _ in range(2))
        condition = apply(OPS[rng.choice(["less", "greater_equal", "equal"])], a, b)
        return sg.where(condition, random_formula(rng, depth - 1), random_formula(rng, depth - 1))
    return apply(OPS[rng.choice(_BINARY)], random_formula(rng, depth - 1), random_formula(rng, depth - 1))


def test_the_parser_reads_what_is_printed() -> None:
    rng = random.Random(0)
    values = {"x": 0.7, "y": -1.3, "w": 2.2}
    checked = 0
    for _ in range(600):
        try:
            formula = random_formula(rng, 4)
        except (ValueError, TypeError):
            continue
        written = text(formula)
        if "\n" in written or "inf" in written or "nan" in written:
            continue
        again = sg.parse(written)
        assert text(again) == written
        given = {s: values[s.name] for s in free_symbols(formula)}
        np.testing.assert_allclose(
            evaluate(again, {s: values[s.name] for s in free_symbols(again)}), evaluate(formula, given), rtol=1e-13, err_msg=written
        )
        checked += 1
    assert checked > 400


# --- for a session and a notebook -------------------------------------------------------------------------


def test_a_large_formula_is_shown_with_counts_and_no_wall_of_latex() -> None:
    y = sum((sg.sin(n * x) * sg.exp(-x / n) for n in range(1, 60)), start=x)
    assert y._repr_latex_() is None
    assert repr(y).startswith("# 355 operations: 118 mul, 59 sin, 59 div, 59 exp, 60 others\n")
    assert str(y).startswith("x + sin(1*x)")
    gradients = Formulas(sg.grad(y**2, {"x": x}))
    assert gradients._repr_latex_() is None and repr(gradients).startswith("# ") and str(gradients).startswith("h1 = ")
    assert max(map(len, repr(gradients).splitlines())) <= 100
    assert (w * x)._repr_latex_() == "$\\displaystyle w x$"


def test_a_long_print_shows_its_beginning_and_its_end() -> None:
    e = x
    for n in range(3000):
        e = sg.sin(e) * x + n
    lines = repr(e).splitlines()
    assert len(lines) < 60 and any("lines more: print(…) shows all" in line for line in lines)
    assert len(str(e).splitlines()) > 200


def test_what_has_one_use_gets_a_name_where_the_line_would_be_long() -> None:
    net = sg.nn.MLP(2, [3, 3, 3, 1], activation="relu")
    loss = sg.nn.hinge(net(X)[:, 0], sg.symbol("t", "n")) + 1e-4 * net.l2()
    lines = str(loss).splitlines()
    assert lines[:2] == ["H1 = relu(X @ W1 + b1)", "H2 = relu(H1 @ W2 + b2)"]
    assert all(len(line) <= 110 for line in lines)


def test_updates_tell_gradients_and_states() -> None:
    g = (x * sg.tanh(w * x + y) * sg.exp(-w) + sg.sin(w) ** 2 + sg.cos(w * x) * y).named("unused").args[0]
    m, v = sg.symbol("w.m"), sg.symbol("w.v")
    states = {"w.m": 0.9 * m + 0.1 * g, "w.v": 0.99 * v + 0.01 * g**2}
    shown = str(Formulas({"w": w - 0.1 * states["w.m"] / (sg.sqrt(states["w.v"]) + 1e-8), **states}, of=""))
    assert [line.split(" ")[0] for line in shown.splitlines()] == ["∇w", "w.m'", "w.v'", "w", "w.m", "w.v"]
    assert "w.m ← w.m'" in shown


@pytest.mark.parametrize("width", [80, 40])
def test_lines_are_broken_for_a_terminal(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    net = sg.nn.MLP(2, [3, 3, 1], activation="relu")
    loss = sg.nn.hinge(net(X)[:, 0], sg.symbol("t", "n")) + 1e-4 * net.l2()
    formulas = Formulas(sg.grad(loss, {p.name: p for p in net.parameters}))
    assert max(map(len, formulas.text(width).splitlines())) <= width
    monkeypatch.setattr("symgrad.show.formulas.terminal_width", lambda: width)
    assert str(formulas) == formulas.text(width)


def test_known_numbers_are_written_by_their_names() -> None:
    assert str(sg.exp(-x) / math.sqrt(2 * math.pi)) == "exp(-x)/sqrt(2*pi)"
    assert str(x ** (1 / 3) - math.pi / 2) == "x**(1/3) - pi/2"
    assert str(-x * (2 / math.sqrt(math.pi)) + 0.1) == "-x*(2/sqrt(pi)) + 0.1"


def test_known_numbers_are_read_to_the_same_bits() -> None:
    from symgrad.show.constants import _table

    for value, known in _table().items():
        assert sg.parse(known.text).params["value"] == value


def test_derivatives_with_infinite_numbers_are_written() -> None:
    assert str(sg.grad(sg.constant(math.inf) * x * x, x)) == "2*inf*x"
    assert str(sg.grad(sg.constant(math.nan) * x * x, x)) == "2*nan*x"
