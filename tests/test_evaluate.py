"""The NumPy evaluator: values, widths, sizes of named dimensions, what is checked at the call, depth."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import symgrad as sg
from symgrad.evaluate import bind_sizes, evaluate, resolve_params

x, y = sg.symbols("x y")
v = sg.symbol("v", "n")
w = sg.symbol("w", "m")
A = sg.symbol("A", ("n", 3))
k = sg.symbol("k", integer=True)


def test_one_expression_or_several() -> None:
    assert evaluate(x + y, {x: 1.0, "y": 2.0}) == 3.0
    first, second = evaluate([x * 2, sg.exp(x)], {x: 0.0})
    assert (first, second) == (0.0, 1.0)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_reals_have_the_asked_width_after_every_node(dtype: str) -> None:
    values = {x: 1.5, k: 3, v: [1.0, 2.0], A: np.ones((2, 3))}
    scalars = (x + 1, x * 0.1, sg.where(x > 0, x, 1), k * 0.5, x + k, k / 3, sg.gelu(x))
    for expr in (*scalars, sg.sum(v) * k, A @ sg.constant(np.ones(3)), sg.softmax(v)):
        assert evaluate(expr, {s: values[s] for s in expr.free_symbols}, dtype).dtype == dtype
    assert float(evaluate(x + 1e-9, {x: 1.0}, "float32")) == 1.0  # rounded where float32 rounds
    assert evaluate(k + 1, {k: 2}, dtype).dtype == np.int64
    assert evaluate(x > 1, {x: 2.0}, dtype).dtype == np.bool_


def test_named_dimensions_come_from_the_arrays() -> None:
    assert evaluate(sg.size(v, 0), {v: np.ones(4)}) == 4
    np.testing.assert_array_equal(evaluate(v[1:] - v[:-1], {v: [1.0, 4.0, 9.0]}), [3.0, 5.0])
    np.testing.assert_array_equal(evaluate(v[::2], {v: np.arange(5.0)}), [0.0, 2.0, 4.0])
    assert bind_sizes({v: np.ones(4), A: np.ones((4, 3))}) == {"n": 4}


def test_sizes_without_an_array() -> None:
    gradient = sg.grad(sg.sum(v), v)
    np.testing.assert_array_equal(evaluate(gradient, {v: np.zeros(3)}), np.ones(3))
    np.testing.assert_array_equal(evaluate(gradient, {}, sizes={"n": 2}), np.ones(2))
    with pytest.raises(sg.ShapeError, match="size of n is not known"):
        evaluate(gradient, {})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({v: np.ones(4), A: np.ones((5, 3))}, "n is 4 elsewhere"),
        ({v: np.ones(4), A: np.ones((4, 2))}, "instead of 3"),
        ({v: np.ones((4, 1)), A: np.ones((4, 3))}, r"v has shape \(n,\)"),
    ],
)
def test_row_30_shapes_that_do_not_fit(values: Any, message: str) -> None:
    with pytest.raises(sg.ShapeError, match=message):
        evaluate(sg.sum(v) + sg.sum(A), values)


def test_what_construction_leaves_open_is_checked() -> None:
    assert evaluate(v + w, {v: [1.0], w: [2.0]}) == [3.0]
    with pytest.raises(sg.ShapeError, match="n = 2 must be equal to m = 3"):
        evaluate(v + w, {v: np.ones(2), w: np.ones(3)})
    with pytest.raises(sg.ShapeError, match="at least"):
        evaluate(v[:3], {v: np.ones(2)})
    with pytest.raises(sg.ShapeError, match="equal"):  # named dimensions never stretch, even of size 1
        evaluate(v + w, {v: np.ones(1), w: np.ones(3)})


def test_wrong_values() -> None:
    with pytest.raises(TypeError, match="no value for 'y'"):
        evaluate(x + y, {x: 1.0})
    with pytest.raises(TypeError, match="whole numbers"):
        evaluate(k + 1, {k: 1.5})
    with pytest.raises(TypeError, match="complex"):
        evaluate(x + 1, {x: 1j})
    with pytest.raises(TypeError, match="float16"):
        evaluate(x + 1, {x: 1.0}, "float16")


def test_numpys_error_model() -> None:
    with np.errstate(all="raise"):
        assert evaluate(1 / x, {x: 0.0}) == np.inf
        assert np.isnan(evaluate(sg.log(x), {x: -1.0}))
    assert evaluate(k // 0, {k: 3}) == 0


def test_booleans_count() -> None:
    conditions = sg.symbol("c", 3) > 0
    assert evaluate(sg.sum(conditions), {"c": [1.0, -1.0, 2.0]}) == 2
    np.testing.assert_array_equal(evaluate(conditions + conditions, {"c": [1.0, -1.0, 2.0]}), [2, 0, 2])


def test_params_with_dimensions_become_numbers() -> None:
    params = {"shape": ("n - 1", 3), "starts": (0, "n"), "stops": (None, 2), "axes": (-1,), "name": "n"}
    assert resolve_params(params, {"n": 5}) == {"shape": (4, 3), "starts": (0, 5), "stops": (None, 2), "axes": (-1,), "name": "n"}


def test_row_22_a_deep_chain() -> None:
    node = x
    for _ in range(20_000):
        node = node + 1.0
    assert evaluate(node, {x: 0.0}) == 20_000.0


def test_shared_nodes_are_evaluated_once() -> None:
    node = x
    for _ in range(60):
        node = node + node
    assert evaluate(node, {x: 1.0}) == 2.0**60
