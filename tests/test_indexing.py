"""Indexing, take, gather and their adjoints against NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import symgrad as sg
from symgrad.evaluate import evaluate

X = np.random.default_rng(0).normal(size=(3, 4, 5))
I, J = np.array([1, -1]), np.array(2)
x = sg.symbol("x", (3, 4, 5))
named = sg.symbol("x", ("a", "b", "c"))
i, j = sg.symbol("i", 2, integer=True), sg.symbol("j", (), integer=True)
S = slice

BASIC = [
    0, -1, (0, 1, 2), (S(None), S(1, 3)), (S(None, None, -1),), (..., 0), (None, 0, None, S(None, None, 2)), (S(None), S(3, 1, -2)),
    (S(None), S(-1, None, -3)), (S(1, 3), ..., S(-2, None)), (S(None), S(None, -1)), (..., None), (), (S(1, -1), 1, S(1, None, 2)),
]  # fmt: skip
ADVANCED = [
    ([0, 2], [1, 1]), (0, S(None), [1, 2]), (S(None), [0, 1], S(None)), (S(None), [0, 1], [2, 3]), ([0, 1], S(None), [2, 3]),
    ([[0], [1]], [2, 3]), ([0, 1], None, [2, 3]), (None, S(None), [0, 1], None, S(1, 4)), (S(1, 3), S(None, None, 2), [4, 0]),
    (..., [0, 1], None), ([-1, 0],), (S(None), 2, [1, 1]), ([], 0),
]  # fmt: skip


def integers(index: Any) -> Any:
    return tuple(np.asarray(e, dtype=int) if isinstance(e, list) else e for e in index) if isinstance(index, tuple) else index


@pytest.mark.parametrize("index", BASIC + ADVANCED + [(S(3, 1),), (S(10, None),)])
def test_like_numpy(index: Any) -> None:
    expected, expr = X[integers(index)], x[integers(index)]
    assert expr.shape == expected.shape
    np.testing.assert_array_equal(evaluate(expr, {x: X}), expected)


@pytest.mark.parametrize("index", BASIC + ADVANCED)
def test_like_numpy_along_named_dimensions(index: Any) -> None:
    expected = X[integers(index)]
    result = evaluate(named[integers(index)], {named: X})
    assert result.shape == expected.shape
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("index", BASIC + ADVANCED)
@pytest.mark.parametrize("array", [x, named], ids=["fixed", "named"])
def test_gradient_scatters(index: Any, array: Any) -> None:
    weights = np.random.default_rng(1).normal(size=X[integers(index)].shape)
    gradient = sg.grad(sg.sum(array[integers(index)] * weights), array)
    expected = np.zeros_like(X)
    np.add.at(expected, integers(index), weights)
    np.testing.assert_allclose(evaluate(gradient, {array: X}), expected, rtol=0, atol=1e-15)
    sg.check_grads(array[integers(index)] ** 3, {array: X})


@pytest.mark.parametrize(
    ("index", "arrays"),
    [((i,), (I,)), ((j,), (J,)), ((S(None), i, j), (S(None), I, J)), ((i, S(None), i), (I, S(None), I)), ((0, S(None), i), (0, S(None), I)),
     ((S(None), j, i), (S(None), J, I)), ((j, S(None), 2), (J, S(None), 2)), ((sg.arange(2), i), (np.arange(2), I))],
)  # fmt: skip
def test_integer_symbols(index: Any, arrays: Any) -> None:
    expected, expr = X[arrays], x[index]
    assert expr.shape == expected.shape
    np.testing.assert_array_equal(evaluate(expr, {x: X, i: I, j: J}), expected)
    sg.check_grads(expr * expr, {x: X, i: I, j: J})


def test_boolean_arrays() -> None:
    rows, cells = np.array([True, False, True]), X > 0.3
    np.testing.assert_array_equal(evaluate(x[rows], {x: X}), X[rows])
    np.testing.assert_array_equal(evaluate(x[cells], {x: X}), X[cells])
    np.testing.assert_array_equal(evaluate(x[:, np.array([True, False, True, True])], {x: X}), X[:, [0, 2, 3]])


def test_take() -> None:
    for axis in (None, 0, 1, -1):
        np.testing.assert_array_equal(evaluate(np.take(x, [[0, 1], [2, 0]], axis=axis), {x: X}), np.take(X, [[0, 1], [2, 0]], axis=axis))
    assert sg.take(named, i, axis=1).shape == ("a", 2, "c")


def test_repeated_indices_add_up() -> None:
    v = sg.symbol("v", 4)
    gradient = sg.grad(sg.sum(v[[1, 1, 3]] * np.array([1.0, 10.0, 100.0])), v)
    np.testing.assert_array_equal(evaluate(gradient, {v: np.zeros(4)}), [0, 11, 0, 100])


def test_shapes_of_named_slices() -> None:
    v = sg.symbol("v", "n")
    slices = [v[1:], v[::2], v[:3], v[-2:], v[1:-1], v[::-1]]
    assert [s.shape for s in slices] == [("n - 1",), ("(n + 1)//2",), (3,), (2,), ("n - 2",), ("n",)]
    assert v[: sg.size(v)] is v


def test_a_slice_must_lie_inside_a_named_axis() -> None:
    v = sg.symbol("v", "n")
    assert evaluate(v[:3], {v: np.arange(3.0)}).tolist() == [0, 1, 2]
    for part in (v[:4], v[-4:], v[3], v[4:]):
        with pytest.raises(sg.ShapeError):
            evaluate(part, {v: np.arange(3.0)})
    assert evaluate(v[::-1], {v: np.zeros(0)}).shape == (0,)


def test_refusals() -> None:
    for index in (3, -4, (0, 4), (0, 0, 0, 0), [3], (S(None), [0, -5])):
        with pytest.raises(IndexError):
            x[index]
    with pytest.raises(sg.ShapeError, match="index 3 is out of range for axis 0"):
        x[3]
    for index in (1.5, sg.symbol("r"), x[:, 0, 0] > 0, "a"):
        with pytest.raises(TypeError):
            x[index]
    with pytest.raises(ValueError):
        x[::0]
