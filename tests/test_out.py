"""``out=``: results in the caller's arrays, whatever these are; errors before anything is written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import symgrad as sg

x, y = sg.symbols("x y")
X, W = sg.symbol("X", ("n", 3)), sg.symbol("W", (3, 2))
RNG = np.random.default_rng(0)
A, B = RNG.normal(size=(5, 3)), RNG.normal(size=(3, 2))


@pytest.fixture(scope="module")
def layer() -> sg.Function:
    return sg.compile(sg.tanh(X @ W))


@pytest.fixture(scope="module")
def loss() -> sg.Function:
    return sg.compile(sg.sum(sg.tanh(X @ W)))


@pytest.fixture(scope="module")
def neuron() -> sg.Function:
    return sg.compile(sg.tanh(x * y))


def test_value(layer: sg.Function) -> None:
    wanted, out = layer(A, B), np.full((5, 2), np.nan)
    assert layer(A, B, out=out) is out
    np.testing.assert_array_equal(out, wanted)
    out[...] = np.nan
    assert layer(W=B, out=out, X=A.tolist()) is out  # a list takes the slow way
    np.testing.assert_array_equal(out, wanted)


def test_gradients_are_structured_like_the_result(loss: sg.Function) -> None:
    wanted = loss.value_and_grad(A, B)
    out = {"X": np.empty((5, 3)), "W": np.empty((3, 2))}
    value, gradient = loss.value_and_grad(A, B, out=(None, out))
    assert value == wanted[0] and list(gradient) == ["X", "W"] and all(gradient[k] is out[k] for k in out)
    for name in out:
        np.testing.assert_array_equal(out[name], wanted[1][name])
    only = loss.grad(A, B, out={"W": out["W"], "X": None})  # None: a new one
    assert only["W"] is out["W"] and only["X"] is not out["X"]
    np.testing.assert_array_equal(only["X"], wanted[1]["X"])
    cell = np.empty(())
    both = loss.value_and_grad(A, B, out=(cell, out))
    assert both[0] is cell and cell == wanted[0] and loss(A, B, out=cell) is cell


def test_every_call_that_returns_arrays() -> None:
    z = sg.symbol("z", (3,))
    f = sg.compile(sg.sum(z**3) * z[0], wrt=[z])
    at, v = np.array([1.0, 2.0, 3.0]), np.array([0.5, -1.0, 2.0])
    calls: list[tuple[Callable[..., Any], dict[str, Any]]] = [(f.grad, {}), (f.hessian, {}), (f.jacobian, {}), (f.hvp, {"v": (v,)})]
    for call, more in calls:
        wanted = call(at, **more)
        out = np.empty(3), [np.empty((3, 3))]
        nest = ((out[1][0],),) if call is f.hessian or wanted[0] is None or isinstance(wanted[0], tuple) else (out[0],)
        got = call(at, **more, out=nest)
        while isinstance(got, tuple):
            got, wanted, nest = got[0], wanted[0], nest[0]
        assert got is nest
        np.testing.assert_array_equal(got, wanted)


def test_lists_and_nests() -> None:
    f = sg.compile({"a": [X * 2, (X.T, sg.sum(X))], "b": X > 0})
    wanted = f(A)
    out = {"a": [np.empty((5, 3)), (np.empty((3, 5)), None)], "b": np.empty((5, 3), bool)}
    got = f(A, out=out)
    assert got["a"][0] is out["a"][0] and got["a"][1][0] is out["a"][1][0] and got["b"] is out["b"] and got["a"][1][1] == wanted["a"][1][1]
    np.testing.assert_array_equal(got["a"][1][0], A.T)
    np.testing.assert_array_equal(got["b"], A > 0)


def test_mapped(neuron: sg.Function) -> None:
    at = np.linspace(-2, 2, 7)
    out = np.empty(7)
    assert neuron(at, at, out=out) is out and neuron(at, at, out=out) is out
    np.testing.assert_array_equal(out, neuron(at, at))
    grid = {"x": np.empty((7, 7)), "y": np.empty((7, 7), order="F")}
    got = neuron.grad(at[:, None], at, out=grid)
    wanted = neuron.grad(at[:, None], at)
    for name in grid:
        assert got[name] is grid[name]
        np.testing.assert_array_equal(grid[name], wanted[name])
    with pytest.raises(sg.ShapeError, match=r"out.*\(6,\).*\(7,\)"):
        neuron(at, at, out=np.empty(6))
    with pytest.raises(sg.ShapeError, match="out"):
        neuron(at, at, out=np.empty(()))


def test_without_room_for_points() -> None:
    k = sg.symbol("k", integer=True)
    f = sg.compile(sg.stack([x, 2 * x, 3 * x])[k])
    out = np.empty(3)
    assert f(np.array([1.0, 2.0, 3.0]), np.array([0, 1, 2]), out=out) is out and out.tolist() == [1.0, 4.0, 9.0]


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: np.empty((5, 3)), sg.ShapeError, r"\(5, 3\).*\(5, 2\)"),
        (lambda: np.empty((4, 2)), sg.ShapeError, r"\(4, 2\).*\(5, 2\)"),
        (lambda: np.empty(10), sg.ShapeError, r"\(10,\)"),
        (lambda: np.empty((5, 2), np.float32), TypeError, "float32.*float64"),
        (lambda: np.empty((5, 2), ">f8"), TypeError, ">f8"),
        (lambda: np.empty((5, 2), int), TypeError, "int64.*float64"),
        (lambda: [[0.0] * 2] * 5, TypeError, "list"),
        (lambda: (np.empty((5, 2)),), TypeError, "tuple"),
        (lambda: np.ma.empty((5, 2)), TypeError, "masked"),
        (lambda: 3.0, TypeError, "float"),
        (lambda: np.broadcast_to(np.zeros(2), (5, 2)), ValueError, "read-only"),
        (lambda: np.lib.stride_tricks.as_strided(np.zeros(2), (5, 2), (0, 8)), ValueError, "overlap"),
    ],
)
def test_row_32_refused(layer: sg.Function, make: Callable[[], Any], error: type[Exception], match: str) -> None:
    out = make()
    before = np.array(out, copy=True)
    for first in (A, A.tolist()):
        with pytest.raises(error, match=match):
            layer(first, B, out=out)
    np.testing.assert_array_equal(np.array(out), before)


def test_row_32_read_only(layer: sg.Function) -> None:
    out = np.zeros((5, 2))
    out.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        layer(A, B, out=out)
    assert not out.any()


def test_wrong_structure(loss: sg.Function) -> None:
    for out in ({"X": np.empty((5, 3))}, {"X": None, "Q": None}, [None, None], None, np.empty(3), (None, None, None)):
        if out is not None:
            with pytest.raises(TypeError, match=r"out.*structured like"):
                loss.grad(A, B, out=out)
    assert loss.grad(A, B, out=None).keys() == {"X", "W"}
    with pytest.raises(TypeError, match="structured like"):
        loss.value_and_grad(A, B, out=(None, None, None))
    with pytest.raises(TypeError, match="missing 'W'"):
        loss.grad(A, out={"X": None, "W": None})


def overlapping(case: str) -> tuple[np.ndarray, np.ndarray]:
    """(input of shape (n, 2), out of shape (2, n)) that share memory."""
    base = RNG.normal(size=40)
    if case == "same":
        return base[:8].reshape(4, 2), base[:8].reshape(2, 4)
    if case == "shifted":
        return base[:8].reshape(4, 2), base[3:11].reshape(2, 4)
    if case == "before":
        return base[5:13].reshape(4, 2), base[:8].reshape(2, 4)
    if case == "transposed":
        return base[:8].reshape(4, 2), base[:8].reshape(4, 2).T
    return base[:16:2].reshape(4, 2), base[2:18].reshape(2, 8)[:, ::2]


@pytest.mark.parametrize("case", ["same", "shifted", "before", "transposed", "strided"])
def test_row_32_overlapping_an_input(case: str) -> None:
    Z = sg.symbol("Z", ("n", 2))
    f = sg.compile(Z.T * 2 + sg.sum(Z))
    given, out = overlapping(case)
    wanted = given.T * 2 + np.sum(given)
    assert f(given, out=out) is out
    np.testing.assert_allclose(out, wanted, rtol=1e-14)


def test_row_32_mapped_in_place(neuron: sg.Function) -> None:
    at = np.linspace(-2, 2, 9)
    value, gradient = neuron.value_and_grad(at, 0.5 + at)
    a, b = at.copy(), 0.5 + at
    got = neuron.value_and_grad(a, b, out=(np.empty(9), {"x": a, "y": b}))
    np.testing.assert_array_equal(got[0], value)
    np.testing.assert_array_equal(a, gradient["x"])
    np.testing.assert_array_equal(b, gradient["y"])


def test_outs_that_overlap_each_other(loss: sg.Function) -> None:
    base = np.zeros(40)
    with pytest.raises(ValueError, match=r"overlap"):
        loss.grad(A, B, out={"X": base[:15].reshape(5, 3), "W": base[14:20].reshape(3, 2)})
    assert not base.any()
    f = sg.compile([X[:, 0] * 2, X[:, 1] * 3])
    columns = np.zeros((5, 2))
    f(A, out=[columns[:, 0], columns[:, 1]])  # columns of one matrix share no element
    np.testing.assert_array_equal(columns, A[:, :2] * [2, 3])


@pytest.mark.parametrize("kind", ["fortran", "strided", "reversed", "misaligned"])
def test_any_layout(layer: sg.Function, kind: str) -> None:
    out: np.ndarray = {
        "fortran": lambda: np.zeros((5, 2), order="F"),
        "strided": lambda: np.zeros((10, 6))[::2, 1::3],
        "reversed": lambda: np.zeros((5, 2))[::-1, ::-1],
        "misaligned": lambda: np.zeros(81, np.uint8)[1:].view(np.float64).reshape(5, 2),
    }[kind]()
    assert layer(A, B, out=out) is out
    np.testing.assert_array_equal(out, layer(A, B))


def test_memory_mapped(layer: sg.Function, tmp_path: Any) -> None:
    out = np.memmap(tmp_path / "out", np.float64, "w+", shape=(5, 2))
    assert layer(A, B, out=out) is out
    np.testing.assert_array_equal(out, layer(A, B))


def test_float32_and_empty() -> None:
    f = sg.compile(sg.tanh(X @ W), dtype="float32")
    out = np.empty((5, 2), np.float32)
    assert f(A, B, out=out) is out
    np.testing.assert_array_equal(out, f(A, B))
    nothing = np.empty((0, 2), np.float32)
    assert f(A[:0], B, out=nothing) is nothing


def test_out_as_the_name_of_an_input() -> None:
    f = sg.compile(sg.symbol("out", ("n",)) * 2)
    into = np.empty(3)
    assert f(np.arange(3.0), out=into) is into and into.tolist() == [0.0, 2.0, 4.0]
    with pytest.raises(TypeError, match="missing 'out'"):
        f(out=np.arange(3.0))


def test_references_are_kept(layer: sg.Function) -> None:
    import sys

    out = np.empty((5, 2))
    layer(A, B, out=out)
    before = [sys.getrefcount(o) for o in (A, B, out, None)]
    for _ in range(50):
        layer(A, B, out=out)
        with pytest.raises(sg.ShapeError):
            layer(A[:4], B, out=out)
    assert [sys.getrefcount(o) for o in (A, B, out, None)] == before


def test_the_signature_says_it(layer: sg.Function) -> None:
    import inspect

    assert str(inspect.signature(layer.__call__)) == "(X, W, *, out=None)"
