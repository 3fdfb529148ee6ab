"""The Function object: structure of results, arguments, derivatives, mapped calls, pickling, jit, what it tells."""

from __future__ import annotations

import copy
import gc
import inspect
import pickle
import threading
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import symgrad as sg
from symgrad.evaluate import evaluate

x, y = sg.symbols("x y")
X, W, v = sg.symbol("X", ("n", 3)), sg.symbol("W", (3, 2)), sg.symbol("c", ("n",))
k = sg.symbol("k", integer=True)
RNG = np.random.default_rng(0)
A, B, C = RNG.normal(size=(5, 3)), RNG.normal(size=(3, 2)), RNG.normal(size=5)


@pytest.fixture(scope="module")
def neuron() -> sg.Function:
    return sg.compile(sg.tanh(x * y))


@pytest.fixture(scope="module")
def layer() -> sg.Function:
    return sg.compile(sg.sum(v * sg.sum((X @ W) ** 2, axis=1)))


def gradients(at_X: np.ndarray = A, at_W: np.ndarray = B, at_v: np.ndarray = C) -> dict[str, np.ndarray]:
    """Of ``layer``, by hand."""
    H = at_X @ at_W
    return {"c": np.sum(H**2, axis=1), "X": 2 * at_v[:, None] * H @ at_W.T, "W": 2 * at_X.T @ (at_v[:, None] * H)}


# --- values and their structure --------------------------------------------------------------------


def test_first_numbers() -> None:
    f = sg.compile(3 * x**2 - 4 * x + 5)
    assert f(3.0) == 20.0 and f(3) == 20.0 and f(x=3.0) == 20.0 and type(f(3)) is float
    assert f.grad(3.0) == {"x": 14.0} and f.grad(-3.0)["x"] == -22.0 and abs(f.grad(2 / 3)["x"]) < 1e-15
    assert f.value_and_grad(3.0) == (20.0, {"x": 14.0})
    assert f.hessian(3.0) == {"x": {"x": 6.0}} and f.jacobian(3.0) == {"x": 14.0} and f.hvp(3.0, v={"x": 2.0}) == {"x": 12.0}
    assert f.inputs == (x,) and f.outputs is f.formula.outputs[0]


@pytest.mark.parametrize(
    ("build", "wanted"),
    [
        (lambda: x + y, 5.0),
        (lambda: (x + y,), (5.0,)),
        (lambda: [x + y, x * y], [5.0, 6.0]),
        (lambda: {"sum": x + y, "lambda": x * y, "x": x, "a b": y, "": x - y}, {"sum": 5.0, "lambda": 6.0, "x": 2.0, "a b": 3.0, "": -1.0}),
        (lambda: {"all": [x + y, (x, {"y": y})]}, {"all": [5.0, (2.0, {"y": 3.0})]}),
        (lambda: [x, x, sg.constant(4), x > y], [2.0, 2.0, 4, False]),
    ],
)
def test_structure(build: Callable[[], Any], wanted: Any) -> None:
    result = sg.compile(build(), [x, y])(2.0, 3.0)
    assert result == wanted and repr(result) == repr(wanted)


def test_kinds_of_results() -> None:
    f = sg.compile({"i": k * 2 + 1, "b": k > 3, "r": k / 2, "a": sg.stack([k, k + 1]), "c": sg.stack([k, k + 1]) > 3})
    result = f(3)
    assert {name: type(value) for name, value in result.items()} == {"i": int, "b": bool, "r": float, "a": np.ndarray, "c": np.ndarray}
    assert result["a"].dtype == np.int64 and result["c"].dtype == np.bool_ and result["c"].tolist() == [False, True]
    assert f(2**62)["i"] == 2**63 - (2**63 - 1 - (2 * 2**62 + 1 - 2**64)) or f(2**61)["i"] == 2**62 + 1


def test_order_of_inputs() -> None:
    f = sg.compile(y - x * sg.exp(y))
    assert [s.name for s in f.inputs] == ["y", "x"]
    g = sg.compile(y - x, inputs=[x, y])
    assert g(1.0, 3.0) == 2.0 and g(y=1.0, x=3.0) == -2.0
    assert sg.compile(y - x, inputs=["x", "y"])(1.0, 3.0) == 2.0
    assert sg.compile(x, inputs=(y, x))(1.0, 3.0) == 3.0
    with pytest.raises(ValueError, match="lack x"):
        sg.compile(y - x, inputs=[y])
    with pytest.raises(ValueError, match=r"'q'.*y, x"):
        sg.compile(y - x, inputs=["q"])
    with pytest.raises(ValueError, match="twice"):
        sg.compile(x, inputs=[x, x])
    with pytest.raises(TypeError, match="add"):
        sg.compile(x + y, inputs=[x + y])


def test_options_are_checked() -> None:
    with pytest.raises(ValueError, match="float16"):
        sg.compile(x, dtype="float16")
    with pytest.raises(ValueError, match="threads"):
        sg.compile(x, threads=0)
    with pytest.raises(ValueError, match="mode"):
        sg.compile(x, mode="gpu")
    with pytest.raises(ValueError, match="nothing"):
        sg.compile([])
    with pytest.raises(sg.ShapeError, match="m is no axis"):
        sg.compile(sg.sum(sg.symbol("z", ("2*m",))))
    assert sg.compile(x * 0.1, dtype=np.float32)(1.0) == np.float32(0.1)


def test_constants_alone() -> None:
    f = sg.compile(sg.constant(2.5))
    assert f() == 2.5 and f.grad() == {} and f.inputs == ()


# --- gradients -------------------------------------------------------------------------------------


def test_wrt(layer: sg.Function) -> None:
    wanted = gradients()
    by_name = layer.grad(c=C, X=A, W=B)
    assert list(by_name) == ["c", "X", "W"]
    for name, gradient in by_name.items():
        np.testing.assert_allclose(gradient, wanted[name], rtol=1e-12)
    loss = layer.outputs
    one = sg.compile(loss, wrt=W)
    np.testing.assert_allclose(one.grad(C, A, B), wanted["W"], rtol=1e-12)
    several = sg.compile(loss, wrt=[W, v]).grad(C, A, B)
    assert type(several) is tuple
    np.testing.assert_allclose(several[1], wanted["c"], rtol=1e-12)
    np.testing.assert_allclose(sg.compile(loss, wrt="W").grad(C, A, B), wanted["W"], rtol=1e-12)
    assert sg.compile(x * x, wrt=[]).value_and_grad(3.0) == (9.0, ())


def test_wrt_an_intermediate_node() -> None:
    a, b, c, f = sg.symbols("a b c f")
    e = a * b
    d = e + c
    g = sg.compile(d * f, wrt=[a, b, c, f, d, e])
    assert g.value_and_grad(2.0, -3.0, 10.0, -2.0) == (-8.0, (6.0, -4.0, -2.0, 4.0, -2.0, -2.0))


def test_wrt_is_checked() -> None:
    with pytest.raises(ValueError, match="does not occur"):
        sg.compile(x, wrt=y * y)
    with pytest.raises(ValueError, match=r"'q'.*x"):
        sg.compile(x, wrt="q")
    with pytest.raises(TypeError, match="integer"):
        sg.compile(k * x, wrt=k)
    assert sg.compile(x * x, wrt=[x, y]).grad(3.0) == (6.0, 0.0)
    assert sg.compile(k * x).grad(3, 2.0) == {"x": 3.0}


def test_gradients_of_scalars_only() -> None:
    for f in (sg.compile([x * y, x + y]), sg.compile(sg.stack([x, y]))):
        for name in ("grad", "value_and_grad", "hessian"):
            with pytest.raises(sg.ShapeError, match=r"f\.jacobian"):
                getattr(f, name)(1.0, 2.0)
        with pytest.raises(sg.ShapeError, match=r"f\.jacobian"):
            f.hvp(1.0, 2.0, v={"x": 1.0, "y": 1.0})
    assert sg.compile([x * y, x + y]).jacobian(2.0, 3.0) == [{"x": 3.0, "y": 2.0}, {"x": 1.0, "y": 1.0}]
    assert sg.compile({"p": x * y}, wrt=(y,)).jacobian(2.0, 3.0) == {"p": (2.0,)}


def test_jacobian_hessian_hvp() -> None:
    z = sg.symbol("z", (3,))
    f = sg.compile(sg.sum(z**3) * z[0], wrt=z)
    at, direction = np.array([1.0, 2.0, 3.0]), np.array([0.5, -1.0, 2.0])
    total, first = np.sum(at**3), np.eye(3)[0]
    gradient = 3 * at**2 * at[0] + total * first
    hessian = 6 * np.diag(at) * at[0] + np.outer(3 * at**2, first) + np.outer(first, 3 * at**2)
    np.testing.assert_allclose(f.grad(at), gradient)
    np.testing.assert_allclose(f.hessian(at), hessian)
    np.testing.assert_allclose(f.hvp(at, v=direction), hessian @ direction)
    np.testing.assert_allclose(f.hvp(z=at, v=list(direction)), hessian @ direction)
    both = sg.compile(f.outputs, wrt=[z])
    np.testing.assert_allclose(both.hessian(at)[0][0], hessian)
    np.testing.assert_allclose(both.hvp(at, v=(direction,))[0], hessian @ direction)
    squares = sg.compile(z**2)
    np.testing.assert_allclose(squares.jacobian(at)["z"], np.diag(2 * at))
    rows = sg.compile(sg.sum(X**2, axis=1)).jacobian(A)["X"]
    assert rows.shape == (5, 5, 3)
    np.testing.assert_allclose(rows[2, 2], 2 * A[2])
    for wrong in (direction[:2], "ab", None):
        with pytest.raises((TypeError, ValueError)):
            f.hvp(at, v=wrong)
    with pytest.raises(TypeError, match="structured like wrt"):
        both.hvp(at, v=direction)


# --- arguments -------------------------------------------------------------------------------------


def test_reserved_names_are_positional_only() -> None:
    names = [sg.symbol(n) for n in ("v", "out", "sparse")]
    f = sg.compile(names[0] + 2 * names[1] + 3 * names[2])
    assert f(1.0, 10.0, 100.0) == 321.0 and f.grad(1.0, 2.0, 3.0) == {"v": 1.0, "out": 2.0, "sparse": 3.0}
    assert f.hvp(1.0, 2.0, 3.0, v={"v": 1.0, "out": 1.0, "sparse": 1.0}) == {"v": 0.0, "out": 0.0, "sparse": 0.0}
    for name in ("v", "out", "sparse"):
        with pytest.raises(TypeError, match=name):
            f(1.0, 2.0, **{name: 3.0})


def test_later_features_say_so(layer: sg.Function) -> None:
    assert layer.jacobian(C, A, B, sparse=False).keys() == {"c", "X", "W"}
    with pytest.raises(NotImplementedError, match="not available yet"):
        layer.source("c")
    with pytest.raises(ValueError, match="fortran"):
        layer.source("fortran")


def test_float32() -> None:
    f = sg.compile(sg.sum(v * sg.sum((X @ W) ** 2, axis=1)), dtype="float32", wrt=[X, W])
    small = [a.astype(np.float32) for a in (C, A, B)]
    value, (dX, dW) = f.value_and_grad(*small)
    assert type(value) is float and dX.dtype == dW.dtype == np.float32
    np.testing.assert_allclose(dW, gradients()["W"], rtol=1e-4)
    assert f(C, A, B) == f(*small) == f(C.tolist(), A.tolist(), B.tolist())


def test_constants_travel_as_arguments() -> None:
    data = RNG.normal(size=(40, 3))
    f = sg.compile(sg.sum(sg.constant(data) @ W), wrt=W)
    np.testing.assert_allclose(f(B), np.sum(data @ B))
    np.testing.assert_allclose(f.grad(B), np.repeat(data.sum(axis=0)[:, None], 2, axis=1))
    single = sg.compile(sg.sum(sg.constant(data) @ W), dtype="float32")
    np.testing.assert_allclose(single(B), np.sum(data @ B), rtol=1e-5)


# --- mapped calls ----------------------------------------------------------------------------------


def test_mapped_like_a_ufunc(neuron: sg.Function) -> None:
    at = np.linspace(-2, 2, 7)
    np.testing.assert_allclose(neuron(at, 0.5), np.tanh(0.5 * at))
    np.testing.assert_allclose(neuron(at[:, None], y=at[:3]), np.tanh(at[:, None] * at[:3]))
    grid = neuron.grad(at[:, None], at)
    assert grid["x"].shape == (7, 7)
    np.testing.assert_allclose(grid["x"], (1 - np.tanh(np.outer(at, at)) ** 2) * at)
    value, gradient = neuron.value_and_grad(at, at)
    np.testing.assert_allclose(gradient["y"], (1 - value**2) * at)
    assert neuron.hessian(at, 1.0)["x"]["y"].shape == (7,)
    assert neuron(np.zeros((0, 3)), 1.0).shape == (0, 3) and neuron([1.0, 2.0], 0).tolist() == [0.0, 0.0]
    assert type(neuron(np.array(2.0), np.float64(0.5))) is float
    assert neuron(np.zeros(1), 1.0).shape == (1,)
    with pytest.raises(sg.ShapeError, match=r"x \(7,\), y \(3,\)"):
        neuron(at, at[:3])


def test_mapped_constants_and_kinds() -> None:
    f = sg.compile({"linear": 3 * x, "whole": k + 1, "yes": x > 0, "vector": sg.stack([x, x * k])})
    at, ks = np.array([[1.0], [-2.0]]), np.array([1, 2, 3])
    result = f(at, ks)
    assert result["whole"].dtype == np.int64 and result["yes"].dtype == np.bool_ and result["vector"].shape == (2, 3, 2)
    assert result["whole"].tolist() == [[2, 3, 4]] * 2 and result["yes"].tolist() == [[True] * 3, [False] * 3]
    np.testing.assert_allclose(result["vector"][..., 1], at * ks)
    slope = sg.compile(3 * x).grad(np.arange(4.0))["x"]
    assert slope.tolist() == [3.0] * 4


def test_mapped_where_axes_leave_no_room() -> None:
    f = sg.compile(sg.stack([x, 2 * x, 3 * x])[k])
    assert f(2.0, 1) == 4.0
    np.testing.assert_allclose(f(np.array([1.0, 2.0, 3.0]), np.array([0, 1, 2])), [1.0, 4.0, 9.0])


def test_a_point_and_many_agree(neuron: sg.Function) -> None:
    at = RNG.normal(size=50)
    assert neuron(at, 0.7).tolist() == pytest.approx([neuron(p, 0.7) for p in at.tolist()], rel=1e-15)


# --- life of a function ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["grad", "value_and_grad", "jacobian", "hessian"])
def test_what_is_kept_before_it_is_compiled_is_what_is_called_later(kind: str) -> None:
    """It is a built-in from the start: not an object whose calls Python has to repack."""
    f = sg.compile(x * x * y)
    kept = getattr(f, kind)
    assert isinstance(kept, types.BuiltinFunctionType) and list(inspect.signature(kept).parameters) == ["x", "y", "out"]
    before = kept(3.0, y=2.0)
    assert getattr(f, kind) is kept and kept(y=2.0, x=3.0) == before
    assert kept(np.full(2, 3.0), 2.0) is not None and getattr(f, kind) is kept and kept(3.0, 2.0) == before
    again = pickle.loads(pickle.dumps(getattr(sg.compile(x * x * y), kind)))
    assert again(3.0, 2.0) == before


def test_kept_gradient_outlives_its_function() -> None:
    kept = sg.compile(x * x * y).grad
    never_called = sg.compile(sg.sin(x)).value_and_grad
    gc.collect()
    assert kept(3.0, 2.0) == {"x": 12.0, "y": 9.0}
    assert never_called(0.0) == (0.0, {"x": 1.0})


def test_functions_are_collected() -> None:
    import weakref

    f = sg.compile(x * x * x + 17.25)
    f.grad(1.0), f(np.ones(3))
    watched = [weakref.ref(f), weakref.ref(f.grad)]
    del f
    gc.collect()
    assert [w() for w in watched] == [None, None]


def test_pickle_and_copy(layer: sg.Function) -> None:
    data = pickle.dumps(layer)
    again = pickle.loads(data)
    assert again(C, A, B) == layer(C, A, B) and again.outputs is layer.outputs
    assert copy.copy(layer) is layer and copy.deepcopy([layer])[0] is layer
    assert b"ELF" not in data and len(data) < 5000
    gradient = pickle.loads(pickle.dumps(layer.grad))
    np.testing.assert_array_equal(gradient(C, A, B)["W"], layer.grad(C, A, B)["W"])


def test_threads_share_a_function() -> None:
    f = sg.compile(sg.sum(sg.sin(X) @ W), wrt=[X, W])
    inputs = [RNG.normal(size=(n, 3)) for n in range(1, 9)]
    wanted = [np.sum(np.sin(a) @ B) for a in inputs]
    problems: list[Any] = []

    def work(a: np.ndarray, value: float) -> None:
        for _ in range(200):
            got, (dX, _) = f.value_and_grad(a, B)
            if abs(got - value) > 1e-9 or dX.shape != a.shape:
                problems.append(got)

    threads = [threading.Thread(target=work, args=pair) for pair in zip(inputs, wanted)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems


def test_user_defined_functions_are_not_kept() -> None:
    f = sg.compile(x + y, cache=False)
    assert f(1.0, 2.0) == 3.0 and not f.timings.cached and "store" not in f.timings


# --- what it tells ---------------------------------------------------------------------------------


def test_it_tells(neuron: sg.Function) -> None:
    assert "tanh(x*y)" in repr(neuron)
    neuron(np.ones(2), 1.0), neuron.grad(1.0, 1.0)
    assert {"value", "value over arrays", "grad"} <= set(neuron.schedule)
    assert all(isinstance(line, str) for line in neuron.schedule["value"])
    assert neuron.timings["key"] >= 0 and isinstance(neuron.timings.cached, bool) and "grad" in neuron.timings.parts
    cost = sg.compile(sg.log(1 + sg.exp(x)) + 0 * x).cost
    assert cost.after["operations"] < cost.before["operations"] and cost.transcendental == 1 and "→" in repr(cost)
    assert "grad" in repr(neuron.grad) and "hessian" in repr(sg.compile(x * y * 1.5).hessian)


def test_second_compile_answers_from_the_cache(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from symgrad import pipeline

    monkeypatch.setenv("SYMGRAD_CACHE_DIR", str(tmp_path / "cache"))
    build: Callable[[], Any] = lambda: sg.compile(sg.exp(X @ W).sum() * 1.375, wrt=[W])  # noqa: E731
    first = build()
    first_gradient = first.grad(A, B)
    assert not first.timings.cached
    pipeline._loaded.clear()
    second = build()
    np.testing.assert_array_equal(second.grad(A, B), first_gradient)
    assert second(A, B) == first(A, B) and second.timings.cached and second.cost.after == first.cost.after
    assert "differentiate" not in second.timings and "compile" not in second.timings
    assert second.schedule == first.schedule


@pytest.mark.parametrize("level", [1, 2, 3, 4])
def test_debug_shows_stages(level: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("SYMGRAD_DEBUG", str(level))
    sg.compile(sg.log(1 + sg.exp(x)) + 0.25 * level)
    shown = capsys.readouterr().err
    for title, at in (("derived", 1), ("simplified", 2), ("scheduled", 3), ("rendered", 4)):
        assert (f"-- value: {title}" in shown) == (at <= level)
    assert "ms" in shown and ("softplus" in shown) == (level >= 2) and ("define" in shown) == (level >= 4)


# --- jit -------------------------------------------------------------------------------------------


def test_jit_in_users_code(neuron: sg.Function) -> None:
    import numba

    value, both = neuron.jit, sg.compile(neuron.outputs, wrt=[x, y]).jit_value_and_grad
    one = sg.compile(neuron.outputs, wrt=y).jit_grad

    @numba.njit
    def total(n: int) -> float:
        s = 0.0
        for i in range(n):
            v, (dx, dy) = both(i * 0.5, 2)
            s += v + dx * dy + value(1.0, i) + one(1.0, 0.5)
        return s

    wanted = sum(
        np.tanh(i) + 2 * (1 - np.tanh(i) ** 2) ** 2 * i * 0.5 + np.tanh(i) + 1 - np.tanh(0.5) ** 2 for i in range(5)
    )
    assert total(5) == pytest.approx(wanted, rel=1e-12)
    assert value(1.0, 2.0) == neuron(1.0, 2.0)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_jit_writes_into_given_arrays(dtype: str) -> None:
    import numba

    s, t = sg.symbol("s", "n"), sg.symbol("t")
    f = sg.compile({"twice": 2 * s, "rest": [s**2 + t, s.sum()]}, dtype=dtype)
    g = f.jit

    @numba.njit
    def use(s: Any, a: Any, b: Any) -> Any:
        return g(s, 1.0, (a, (b, None))), g(s, 2.0, out=(None, (b, None))), g(s, 3.0, out=(a, None)), g(s, 4.0, None)

    given, a, b = np.arange(5, dtype=dtype), np.empty(5, dtype), np.empty(5, dtype)
    first, second, third, fourth = use(given, a, b)
    assert all(np.shares_memory(x, y) for x, y in ((first[0], a), (first[1][0], b), (second[1][0], b), (third[0], a)))
    assert not any(np.shares_memory(x, y) for x in (second[0], third[1][0], fourth[0], fourth[1][0]) for y in (a, b))
    assert np.array_equal(a, 2 * given) and np.array_equal(b, given**2 + 2) and first[1][1] == 10
    assert np.array_equal(third[1][0], given**2 + 3) and np.array_equal(fourth[1][0], given**2 + 4)


def test_jit_refuses_arrays_that_it_cannot_write_to() -> None:
    from numba.core.errors import TypingError

    s = sg.symbol("s", "n")
    f = sg.compile([2 * s, 3 * s]).jit
    given, a = np.arange(6.0), np.empty(6)
    frozen = a.copy()
    frozen.flags.writeable = False
    for out in ((given, a), (a, a)):
        with pytest.raises(ValueError, match="shares memory"):
            f(given, out)
    for out in ((given[2:], a), (None, a[:5])):
        with pytest.raises(ValueError, match="another shape"):
            f(given, out)
    for wrong in (a, (a,), (a[::2], None), (frozen, None), (a.astype("float32"), None), (1.0, None), (a.reshape(2, 3), None)):
        with pytest.raises(TypingError, match=r"out (takes|is structured)"):
            f(given, wrong)
    assert np.array_equal(f(given, (a, None))[1], 3 * given) and np.array_equal(a, 2 * given)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_jit_with_arrays(dtype: str) -> None:
    import numba

    data = RNG.normal(size=(40, 3))
    loss = sg.sum(v * sg.sum((X @ W) ** 2, axis=1)) + sg.sum(sg.constant(data) @ W)
    f = sg.compile({"loss": loss, "rows": X[1:] @ W}, dtype=dtype)
    both = sg.compile(loss, wrt=[X, W], dtype=dtype).jit_value_and_grad
    g = f.jit

    @numba.njit
    def use(c: Any, a: Any, b: Any) -> Any:
        return g(c, a, b), both(c, a, b)

    for a in (A, np.asfortranarray(A), A[:, ::-1][:, ::-1], A.astype(np.float32)):
        (loss_value, rows), (again, (dX, dW)) = use(C, a, B)
        np.testing.assert_allclose(rows, A[1:] @ B, rtol=1e-5)
        np.testing.assert_allclose(dX, gradients()["X"], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose([loss_value, again], np.sum(C[:, None] * (A @ B) ** 2) + np.sum(data @ B), rtol=1e-4)
        assert rows.dtype == dW.dtype == dtype
    for wrong in ((C[:4], A, B), (C, A, B.T.copy()), (C, A[:, :2].copy(), B)):
        with pytest.raises(ValueError, match="shape"):
            g(*wrong)


def test_compiled_is_evaluated_for_named_sizes() -> None:
    exprs = [X[1:] - X[:-1], sg.concatenate([X, X]), X.reshape(-1), sg.sum(X, axis=0) / sg.size(X, 0), X[::2], X[::-1]]
    f = sg.compile(exprs)
    for n in (1, 2, 5, 8):
        at = RNG.normal(size=(n, 3))
        for got, e in zip(f(at), exprs):
            np.testing.assert_allclose(got, evaluate(e, {X: at}), rtol=1e-12)


def test_compiled_calls_are_built_ins(neuron: sg.Function) -> None:
    import inspect

    neuron.value_and_grad(1.0, 2.0)
    for call in (neuron.__call__, neuron.value_and_grad):
        assert type(call) is type(len)
        assert list(inspect.signature(call).parameters) == ["x", "y", "out"]
        again = pickle.loads(pickle.dumps(call))
        assert repr(again(0.25, 2.0)) == repr(call(0.25, 2.0))
    at = np.linspace(0.0, 1.0, 5)
    before = neuron.value_and_grad
    np.testing.assert_array_equal(before(at, at)[0], neuron.value_and_grad(at, at)[0])
    assert neuron.value_and_grad(1.0, 2.0) == before(1.0, 2.0)
    np.testing.assert_allclose(neuron.value_and_grad(x=at, y=at)[0], np.tanh(at * at), rtol=1e-15)
    np.testing.assert_array_equal(neuron.value_and_grad(at, at[::-1])[0], neuron.value_and_grad(at, np.ascontiguousarray(at[::-1]))[0])


def test_index_out_of_range() -> None:
    labels, table = sg.symbol("labels", ("n",), integer=True), sg.symbol("table", (3,))
    f = sg.compile(sg.take(table, labels), wrt=table)
    values = np.array([1.0, 2.0, 3.0])
    assert f(labels=[0, -1, 2], table=values).tolist() == [1.0, 3.0, 3.0]
    for wrong in ([3], [0, -4], [2**40]):
        for error in (IndexError, ValueError):
            with pytest.raises(error, match="out of range"):
                f(labels=wrong, table=values)
    positions = [s.name for s in f.inputs]
    arguments = {"labels": np.array([0, 3]), "table": values}
    with pytest.raises(IndexError, match="out of range"):
        f.jit(*[arguments[name] for name in positions])
    assert f.jit is f.jit
