"""An expression at a point: the numbers of the worked examples, and the table."""

from __future__ import annotations

import io

import numpy as np
import pytest

import symgrad as sg

a, b, c, f = sg.symbols("a b c f")


def test_the_worked_example() -> None:
    product = a * b
    d = product + c
    point = sg.at(d * f, a=2.0, b=-3.0, c=10.0, f=-2.0)
    assert point.value() == -8
    assert [point.grad(n) for n in (a, b, c, f, d, product)] == [6, -4, -2, 4, -2, -2]
    assert point.value(d) == 4
    assert point.grad(d * f) == 1


def test_the_neuron() -> None:
    x1, x2, w1, w2, bias = sg.symbols("x1 x2 w1 w2 b")
    n = (x1 * w1 + x2 * w2 + bias).named("n")
    point = sg.at(sg.tanh(n), x1=2, x2=0, w1=-3, w2=1, b=6.8813735870195432)
    assert point.value() == pytest.approx(0.7071067811865476, abs=1e-15)
    assert [point.grad(s) for s in (w1, w2, x1, x2, bias)] == pytest.approx([1, 0, -1.5, 0.5, 0.5])
    assert point.value("n") == pytest.approx(0.8813735870195432)
    assert point.grad("n") == pytest.approx(0.5)


def test_a_node_used_twice_gets_the_sum() -> None:
    assert sg.at(a + a, a=3).grad(a) == 2
    assert sg.at(a * b + (a + b), a=-2, b=3).grad(a) == 4


def test_tensors() -> None:
    X, w = sg.symbol("X", ("n", 2)), sg.symbol("w", 2)
    data = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    point = sg.at((X @ w).sum(), {"X": data, w: [1.0, -1.0]})
    np.testing.assert_array_equal(point.value(X @ w), [-1, -1, -1])
    np.testing.assert_array_equal(point.grad(w), data.sum(0))
    with pytest.raises(sg.ShapeError, match=r"sg\.jacobian"):
        sg.at(X @ w, X=data, w=[1.0, -1.0]).grad(w)


def test_wrong_names() -> None:
    with pytest.raises(TypeError, match="no value for b"):
        sg.at(a * b, a=1)
    with pytest.raises(TypeError, match="'z' is not a symbol of the expression; its symbols are a, b"):
        sg.at(a * b, a=1, b=2, z=3)
    with pytest.raises(TypeError, match="given twice"):
        sg.at(a * b, {"a": 1}, a=1, b=2)
    point = sg.at(a * b, a=1, b=2)
    with pytest.raises(ValueError, match="does not occur"):
        point.grad(a + b)
    with pytest.raises(ValueError, match="nothing is named 'q'"):
        point.value("q")
    with pytest.raises(TypeError, match="a point is a mapping of names to numbers"):
        sg.at(a, 3)
    with pytest.raises(TypeError, match="takes an expression, not text"):
        sg.at("a")
    with pytest.raises(TypeError, match="a derivative of boolean values"):
        sg.at(a > b, a=1, b=2).grad(a)
    assert sg.at(sg.compile(a * b), a=2, b=3).value() == 6
    k = sg.symbol("k", integer=True)
    with pytest.raises(TypeError, match="integer"):
        sg.at(a * k, a=1, k=2).grad(k)


def test_the_table() -> None:
    shown = str(sg.at((a * b + c).named("d") * f, a=2.0, b=-3.0, c=10.0, f=-2.0))
    assert shown.splitlines() == [
        "    node         value  gradient",
        "--  -----------  -----  --------",
        "#1  a                2         6",
        "#2  b               -3        -4",
        "#3  a*b             -6        -2",
        "#4  c               10        -2",
        "#5  a*b + c          4        -2",
        "#6  d = a*b + c      4        -2",
        "#7  f               -2         4",
        "#8  d*f             -8         1",
    ]


def test_long_parts_stand_as_the_number_of_their_row() -> None:
    e = a
    for _ in range(300):
        e = sg.tanh(e * b + c)
    shown = str(sg.at(e, a=0.1, b=0.5, c=0.2))
    assert max(map(len, shown.splitlines())) < 90
    assert "tanh(#" in shown


def test_a_notebook_gets_a_table() -> None:
    bundle = sg.at(sg.where(a < b, a, b), a=1, b=2)._repr_mimebundle_()
    shown = bundle["text/html"]
    assert '<table class="sg-at">' in shown and "a &lt; b" in shown and "prefers-color-scheme" in shown
    assert bundle["text/plain"].startswith("    node")
    assert '<td class="bad">inf</td>' in sg.at(a / b, a=1, b=0)._repr_html_()


def network_at_a_point() -> sg.Point:
    X, T = sg.symbol("X", ("n", 4)), sg.symbol("T", "n")
    net = sg.nn.MLP(4, [3, 1], activation="tanh")
    rng = np.random.default_rng(0)
    return sg.at(sg.nn.mse(net(X)[:, 0], T), net.init(seed=0) | {"X": rng.normal(size=(6, 4)), "T": rng.normal(size=6)})


@pytest.mark.parametrize("width", [40, 60, 80])
def test_the_table_fits_the_terminal(width: int) -> None:
    lines = network_at_a_point().text(width).split("\n")
    assert max(map(len, lines)) <= width and lines[0].split() == ["node", "value", "gradient"]


def test_large_arrays_tell_their_size_and_what_is_not_finite() -> None:
    v = sg.symbol("v", 6)
    rows = sg.at(sg.sum(sg.log(v)), v=[1, 2, 3, 0, 4, np.nan]).text().split("\n")
    assert rows[3].split() == "#2 log(v) (6,), |·| ≤ 1.39, 1 nan, 1 inf (6,), |·| ≤ 1".split()
    assert "(6,), 4 true" in sg.at(sg.sum(sg.where(v > 1, v, 0)), v=[1, 2, 3, 0, 4, 5]).text()


def test_without_gradients_there_is_no_column_for_them() -> None:
    v = sg.symbol("v", 3)
    assert sg.at(v * 2, v=[1, 2, 3]).text().split("\n")[0].split() == ["node", "value"]


def test_guards_have_no_rows_of_their_own() -> None:
    k = sg.symbol("k", "n", integer=True)
    shown = sg.at(sg.nn.cross_entropy(sg.symbol("z", ("n", 3)), k), z=np.ones((2, 3)), k=[1, 0]).text()
    assert [line.split()[1] for line in shown.split("\n")[2:]].count("k") == 1


def test_rich_prints_a_point_in_colours() -> None:
    from rich.console import Console

    terminal = io.StringIO()
    Console(file=terminal, force_terminal=True, width=40, color_system="standard").print(network_at_a_point())
    assert "\x1b[" in terminal.getvalue()


def test_a_point_is_indexed_by_node_and_by_name() -> None:
    x, k = sg.symbol("x"), sg.symbol("k", integer=True)
    square = x**2
    point = sg.at(square.named("square") * k, x=3.0, k=2)
    assert point["square"] == (9.0, 2.0) == point[square] and point["x"].grad == 12.0
    assert point["k"].value == 2 and point["k"].grad is None
    assert list(point) == point.nodes and len(point) == len(point.nodes)
    with pytest.raises(ValueError, match="nothing is named 'cube'"):
        point["cube"]
