"""``sg.linalg``: values and derivatives against NumPy and differences, at sizes around the block of the factorization."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import symgrad as sg
from symgrad.evaluate import evaluate
from symgrad.expr import Expr
from symgrad.loops import interpret, verify
from symgrad.pipeline import expand
from symgrad.schedule import schedule

L = sg.linalg
N = ("n", "n")
RTOL = {"float64": 1e-11, "float32": 3e-4}
each_dtype = pytest.mark.parametrize("dtype", ["float64", "float32"])


def matrix(n: int, seed: int = 0, dtype: str = "float64") -> np.ndarray:
    """Well conditioned, rows shuffled so that pivots are asked for."""
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(n, n)) + 2 * np.sqrt(n) * np.eye(n)
    return a[rng.permutation(n)].astype(dtype)


def positive(n: int, seed: int = 0, dtype: str = "float64") -> np.ndarray:
    a = matrix(n, seed)
    return (a @ a.T + np.eye(n)).astype(dtype)


def close(got: Any, wanted: np.ndarray, dtype: str = "float64") -> None:
    scale = np.max(np.abs(wanted), initial=1e-300, where=np.isfinite(wanted))
    np.testing.assert_allclose(got, wanted, rtol=RTOL[dtype], atol=RTOL[dtype] * scale)


# --- values ----------------------------------------------------------------------------------------


@each_dtype
@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("n", [1, 2, 7, 31, 32, 33, 70])
def test_values_around_the_block(n: int, named: bool, dtype: str) -> None:
    """One program with every op and orientation; 33 and 70 have several blocks, named sizes may have."""
    d: Any = "n" if named else n
    A, B, b, S, T = sg.symbol("A", (d, d)), sg.symbol("B", (d, 5)), sg.symbol("b", d), sg.symbol("S", (d, d)), sg.symbol("T", (d, d))
    outputs = [
        L.inv(A), L.logdet(A), L.solve(A, B), L.solve(A, b), L.solve(A.T, B), L.solve(A.T, b),
        L.cholesky(S), L.solve_triangular(T, B), L.solve_triangular(T, b, lower=False), L.solve_triangular(T.T, B),
        L.solve_triangular(T.T, b, lower=False),
    ]  # fmt: skip
    rng = np.random.default_rng(n)
    a, s, t = matrix(n, n, dtype), positive(n, n, dtype), (rng.normal(size=(n, n)) / n + np.eye(n)).astype(dtype)
    B_, b_ = rng.normal(size=(n, 5)).astype(dtype), rng.normal(size=n).astype(dtype)
    found = sg.compile(outputs, [A, B, b, S, T], dtype=dtype, cache=False)(a, B_, b_, s, t)
    a, s, t, B_, b_ = (x.astype(np.float64) for x in (a, s, t, B_, b_))
    solve = np.linalg.solve
    wanted = [
        np.linalg.inv(a), np.linalg.slogdet(a)[1], solve(a, B_), solve(a, b_), solve(a.T, B_), solve(a.T, b_), np.linalg.cholesky(s),
        solve(np.tril(t), B_), solve(np.triu(t), b_), solve(np.triu(t).T, B_), solve(np.tril(t).T, b_),
    ]  # fmt: skip
    for got, want in zip(found, wanted, strict=True):
        close(got, want, dtype)


def test_the_gradient_of_a_determinant_is_nan_where_there_is_no_inverse() -> None:
    """Documented in ``sg.linalg.det``: it is never a wrong number, and a matrix beside it in a stack is not touched."""
    A = sg.symbol("A", (2, 3, 3))
    f = sg.compile(sg.sum(L.det(A)), wrt=A, cache=False)
    regular = np.array([[2.0, 1.0, 0.0], [0.0, 1.0, 3.0], [1.0, 0.0, 1.0]])
    value, gradient = f.value_and_grad(np.stack([np.zeros((3, 3)), regular]))
    assert value == pytest.approx(np.linalg.det(regular)) and np.isnan(gradient[0]).all()
    np.testing.assert_allclose(gradient[1], np.linalg.det(regular) * np.linalg.inv(regular).T)


def test_determinants() -> None:
    A = sg.symbol("A", N)
    f = sg.compile([L.det(A), *L.slogdet(A)], cache=False)
    for n in (0, 1, 3, 6):
        a = matrix(n, 3)
        det, sign, logdet = f(a)
        assert det == pytest.approx(np.linalg.det(a), rel=1e-12) and (sign, logdet) == pytest.approx(tuple(np.linalg.slogdet(a)))
    huge = 1e60 * matrix(6)
    assert np.isinf(f(huge)[0]) and f(huge)[1] == np.linalg.slogdet(huge)[0] and f(huge)[2] == pytest.approx(np.linalg.slogdet(huge)[1])


def test_stacks_broadcast_as_in_numpy() -> None:
    A, B = sg.symbol("A", ("k", 1, 3, 3)), sg.symbol("B", (2, 3, 4))
    a, b = np.stack([matrix(3, s)[None] for s in range(5)]), np.random.default_rng(0).normal(size=(2, 3, 4))
    node = L.solve(A, B)
    assert node.shape == ("k", 2, 3, 4)
    close(sg.compile(node, cache=False)(a, b), np.linalg.solve(a, b))
    close(sg.compile(L.inv(A), cache=False)(a), np.linalg.inv(a))
    close(sg.compile(L.cholesky(A @ sg.swapaxes(A, -1, -2)), cache=False)(a), np.linalg.cholesky(a @ np.swapaxes(a, -1, -2)))


def test_numpy_calls_are_ours() -> None:
    A, b = sg.symbol("A", (3, 3)), sg.symbol("b", 3)
    assert np.linalg.inv(A) is L.inv(A) and np.linalg.solve(A, b) is L.solve(A, b) and np.linalg.det(A) is L.det(A)
    assert np.linalg.cholesky(A) is L.cholesky(A) and np.linalg.slogdet(A) == L.slogdet(A) and np.trace(A) is L.trace(A)
    assert np.tril(A, 1) is L.tril(A, 1) and np.triu(A) is L.triu(A) and np.linalg.norm(A) is L.norm(A)


def test_integers_become_real() -> None:
    A = sg.symbol("A", (2, 2), integer=True)
    assert sg.compile(L.det(A))(np.array([[1, 2], [3, 4]])) == pytest.approx(-2)
    assert sg.trace(A).kind == "integer" and sg.tril(A).kind == "integer"


def test_trace_of_other_axes_and_diagonals() -> None:
    A, a = sg.symbol("A", (3, 4, 3)), np.random.default_rng(0).normal(size=(3, 4, 3))
    for node, wanted in [
        (sg.trace(A, axis1=0, axis2=2), np.trace(a, axis1=0, axis2=2)), (sg.trace(A, offset=1), np.trace(a, offset=1)),
        (L.trace(A), np.trace(a, axis1=1, axis2=2)), (L.trace(A, 1), np.trace(a, 1, 1, 2)),
    ]:  # fmt: skip
        close(sg.compile(node, cache=False)(a), wanted)


@pytest.mark.parametrize("wrong", [
    lambda: L.inv(sg.symbol("A", (2, 3))), lambda: L.det(sg.symbol("v", 3)), lambda: L.solve(sg.symbol("A", (3, 3)), sg.symbol("b", 2)),
    lambda: L.cholesky(sg.symbol("A", ("n", 3, 2))), lambda: L.solve(sg.symbol("A", (3, 3)), sg.symbol("B", (2, 3))),
    lambda: sg.trace(sg.symbol("v", 3)),
])  # fmt: skip
def test_shapes_that_do_not_fit(wrong: Any) -> None:
    with pytest.raises(sg.ShapeError):
        wrong()


def test_a_named_size_may_turn_out_not_to_be_square() -> None:
    f = sg.compile(L.inv(sg.symbol("A", ("n", "m"))), cache=False)
    close(f(matrix(3)), np.linalg.inv(matrix(3)))
    with pytest.raises(sg.ShapeError):
        f(np.ones((2, 3)))


# --- singular, not positive definite, NaN ----------------------------------------------------------


@pytest.mark.parametrize("n", [1, 3, 40])
def test_singular_matrices_are_nan_and_nobody_elses_business(n: int) -> None:
    stack = np.stack([matrix(n, 1), np.ones((n, n)) - np.eye(n, 1) * np.ones(n), matrix(n, 2)])
    stack[1, :, 0] = 0
    A, b = sg.symbol("A", ("k", n, n)), sg.symbol("b", n)
    nodes = [L.inv(A), L.solve(A, b), L.det(A), L.logdet(A), L.slogdet(A)[0]]
    values = {A: stack, b: np.ones(n)}
    for got, oracle in zip(sg.compile(nodes, [A, b], cache=False)(stack, np.ones(n)), evaluate(nodes, values), strict=True):
        close(got, oracle)
    inverse, solution, det, logdet, sign = evaluate(nodes, values)
    assert np.isnan(inverse[1]).all() and np.isnan(solution[1]).all()
    assert det[1] == 0 and logdet[1] == -np.inf and sign[1] == 0
    assert np.isfinite(inverse[[0, 2]]).all() and np.isfinite(solution[[0, 2]]).all()


@pytest.mark.parametrize("n", [1, 3, 40])
def test_no_cholesky_factor(n: int) -> None:
    stack = np.stack([positive(n), -positive(n), np.zeros((n, n))])
    A = sg.symbol("A", ("k", n, n))
    f = sg.compile(L.cholesky(A), cache=False)
    close(f(stack), evaluate(L.cholesky(A), {A: stack}))
    assert np.isfinite(f(stack)[0]).all() and np.isnan(f(stack)[1:]).all()


def test_cholesky_of_the_symmetric_part() -> None:
    A, a = sg.symbol("A", (3, 3)), positive(3) + np.triu(np.ones((3, 3)), 1) * 0.25
    close(sg.compile(L.cholesky(A), cache=False)(a), np.linalg.cholesky((a + a.T) / 2))
    gradient = sg.compile(sg.grad(sg.sum(sg.sin(L.cholesky(A))), A), cache=False)(a)
    np.testing.assert_allclose(gradient, gradient.T, rtol=1e-15)


def test_nan_stays_in_its_matrix() -> None:
    stack = np.stack([matrix(3), matrix(3, 1)])
    stack[0, 1, 1] = np.nan
    A = sg.symbol("A", ("k", 3, 3))
    inverse, logdet = sg.compile([L.inv(A), L.logdet(A)], cache=False)(stack)
    assert np.isnan(logdet[0]) and np.isnan(inverse[0]).any() and np.isfinite(inverse[1]).all()


# --- derivatives -----------------------------------------------------------------------------------


def _scalars() -> dict[str, tuple[Expr, dict[Expr, np.ndarray]]]:
    A, S, b, B = sg.symbol("A", (4, 4)), sg.symbol("S", (4, 4)), sg.symbol("b", 4), sg.symbol("B", (4, 3))
    rng = np.random.default_rng(1)
    a, s, v, m = matrix(4), positive(4), rng.normal(size=4), rng.normal(size=(4, 3))
    return {
        "inv": (sg.sum(sg.sin(L.inv(A))), {A: a}),
        "det": (L.det(A) / 100, {A: a}),
        "logdet": (L.logdet(A) ** 2, {A: a}),
        "solve vector": (sg.sum(L.solve(A, b) ** 3), {A: a, b: v}),
        "solve matrix": (sg.sum(sg.sin(L.solve(A.T, B))), {A: a, B: m}),
        "triangular": (sg.sum(sg.sin(L.solve_triangular(A, B) + L.solve_triangular(A, b, lower=False)[:, None])), {A: s, B: m, b: v}),
        "cholesky": (sg.sum(sg.sin(L.cholesky(S))), {S: s}),
        "gaussian": (L.logdet(S) + b @ L.solve(S, b), {S: s, b: v}),
        "by the factor": (sg.sum(L.solve_triangular(L.cholesky(S), b) ** 2) + sg.sum(sg.log(sg.diagonal(L.cholesky(S)))), {S: s, b: v}),
    }  # fmt: skip


@pytest.mark.parametrize("name", _scalars())
def test_derivatives_of_every_kind(name: str) -> None:
    y, values = _scalars()[name]
    sg.check_grads(y, at={s.name: v for s, v in values.items()}, order=2)
    f = sg.compile(y, list(values), cache=False)
    rng, step = np.random.default_rng(0), 1e-5
    directions = {s: rng.normal(size=v.shape) for s, v in values.items()}
    ahead, behind = ([v + sign * step * directions[s] for s, v in values.items()] for sign in (1, -1))
    gradients = f.grad(*values.values())
    slope = sum(np.sum(gradients[s.name] * d) for s, d in directions.items())
    assert slope == pytest.approx((f(*ahead) - f(*behind)) / (2 * step), rel=1e-6, abs=1e-7)
    product = f.hvp(*values.values(), v={s.name: d for s, d in directions.items()})
    after, before = f.grad(*ahead), f.grad(*behind)
    for s in values:
        np.testing.assert_allclose(product[s.name], (after[s.name] - before[s.name]) / (2 * step), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", _scalars())
def test_hessians_are_products_with_unit_vectors(name: str) -> None:
    y, values = _scalars()[name]
    symbol, *_ = values
    f = sg.compile(y, list(values), wrt=symbol, cache=False)
    hessian = f.hessian(*values.values())
    direction = np.random.default_rng(2).normal(size=symbol.shape)
    axes = symbol.ndim
    close(np.tensordot(hessian, direction, axes), f.hvp(*values.values(), v=direction))


def test_jacobians() -> None:
    A, b, B = sg.symbol("A", (3, 3)), sg.symbol("b", 3), sg.symbol("B", (3, 2))
    a, v, m = matrix(3), np.arange(3.0) - 0.5, np.arange(6.0).reshape(3, 2) / 5
    inverse = np.linalg.inv(a)
    f = sg.compile(L.solve(A, b), [A, b], cache=False)
    jacobian = f.jacobian(a, v)
    close(jacobian["b"], inverse)
    close(jacobian["A"], -np.einsum("ij,k->ijk", inverse, inverse @ v))
    close(sg.compile(sg.jacobian(L.inv(A), A), cache=False)(a), -np.einsum("ik,lj->ijkl", inverse, inverse))
    close(sg.compile(sg.jacobian(L.solve(A, B), B), [A, B], cache=False)(a, m), np.einsum("ik,jl->ijkl", inverse, np.eye(2)))


def test_a_pattern_of_nonzeros_is_dense_where_a_matrix_is_inverted() -> None:
    A, b = sg.symbol("A", (3, 3)), sg.symbol("b", 3)
    f = sg.compile(L.solve(A, b**2) + L.tril(A) @ b, [A, b], wrt=b, cache=False)
    a, v = matrix(3), np.arange(1.0, 4.0)
    close(f.jacobian(a, v, sparse=True).toarray(), f.jacobian(a, v))


# --- programs --------------------------------------------------------------------------------------


def test_one_factorization_serves_all() -> None:
    A, b = sg.symbol("A", ("n", "n")), sg.symbol("b", "n")
    nodes = [L.logdet(A), L.solve(A, b), L.solve(A.T, b), L.inv(A)]
    program, words = schedule({f"y{k}": node for k, node in enumerate(nodes)}, lanes=4)
    assert sum(buffer.name.startswith("lu") for buffer in program.scratch) == 1
    assert any("factors" in line for line in words)


@pytest.mark.parametrize("lanes", [1, 4])
def test_programs_are_interpreted_too(lanes: int) -> None:
    A, S, B = sg.symbol("A", ("n", "n")), sg.symbol("S", ("n", "n")), sg.symbol("B", ("n", 2))
    nodes = [L.inv(A), L.det(A), L.solve(A.T, B), L.cholesky(S), L.solve_triangular(S, B)]
    program, _ = schedule(expand({f"y{k}": node for k, node in enumerate(nodes)}), lanes=lanes)
    a, s, b = matrix(34), positive(34), np.random.default_rng(0).normal(size=(34, 2))
    verify(program)
    wanted = evaluate(nodes, {A: a, S: s, B: b})
    given = {"A": a, "S": s, "B": b, **{f"y{k}": np.zeros(w.shape) for k, w in enumerate(wanted)}}
    interpret(program, [given[buffer.name] for buffer in program.arguments], {"n": 34})
    for k, want in enumerate(wanted):
        close(given[f"y{k}"], want)


def test_python_source_and_pickles(tmp_path: Any) -> None:
    import pickle

    A, b = sg.symbol("A", (3, 3)), sg.symbol("b", 3)
    f = sg.compile(L.logdet(A) + b @ L.solve(A, b), [A, b])
    module: dict[str, Any] = {"__name__": "generated"}
    assert "def " in f.source("python") and not module.get("f")
    assert pickle.loads(pickle.dumps(f))(matrix(3), np.ones(3)) == f(matrix(3), np.ones(3))


def test_training_with_a_covariance() -> None:
    """The maximum likelihood estimate of a Gaussian's precision, found by descent."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 3)) @ np.array([[1.0, 0.5, 0.0], [0.0, 1.0, -0.3], [0.0, 0.0, 0.8]])
    x, m, W = sg.symbol("x", ("n", 3)), sg.symbol("m", 3), sg.symbol("W", (3, 3))
    d = (x - m) @ W  # the precision is W @ W.T
    loss = sg.mean(sg.sum(d**2, axis=1)) / 2 - L.logdet(W)
    fit = sg.fit(loss, {"m": np.zeros(3), "W": np.eye(3)}, {"x": X}, optimizer=sg.optim.SGD(0.2), epochs=1000, progress=False)
    np.testing.assert_allclose(fit.params["m"], X.mean(0), atol=1e-9)
    np.testing.assert_allclose(fit.params["W"] @ fit.params["W"].T, np.linalg.inv(np.cov(X.T, bias=True)), rtol=1e-8)


def test_training_stops_at_a_singular_matrix() -> None:
    x, A = sg.symbol("x", ("n", 2)), sg.symbol("A", (2, 2))
    with pytest.warns(RuntimeWarning, match=r"inv\(A\) = nan"):
        sg.fit(sg.mean((x @ L.inv(A)) ** 2), {"A": np.ones((2, 2))}, {"x": np.ones((4, 2))}, optimizer=sg.optim.SGD(0.1), epochs=3)


def test_cost_is_cubic() -> None:
    small, large = (sg.compile(L.inv(sg.symbol("A", (n, n)))).cost.after for n in (10, 100))
    assert large["flops"] == 1000 * small["flops"] == 2 * 100**3 and large["transcendental"] == 0


# --- SymPy ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [
    "inv(A)", "det(A)", "logdet(A)", "solve(A, b)", "solve(A.T, A)", "cholesky(A @ A.T)", "solve_triangular(A, b)",
    "solve_triangular(A, A, lower=False)", "trace(A)", "tril(A)", "triu(A, 1)",
])  # fmt: skip
def test_sympy_and_back(text: str) -> None:
    node = sg.parse(text, {"A": (2, 2), "b": 2})
    values = {"A": matrix(2), "b": np.array([0.5, -1.5])}
    entries = {f"{name}[{', '.join(map(str, at))}]": v for name, value in values.items() for at, v in np.ndenumerate(value)}
    converted = node.to_sympy()
    numbers = {s: entries[str(s)] for s in converted.atoms(*{type(s) for s in converted.free_symbols}) if str(s) in entries}
    found = np.array(converted.subs(numbers).tolist() if hasattr(converted, "tolist") else converted.subs(numbers), float)
    np.testing.assert_allclose(found.reshape(node.shape), evaluate(node, values), rtol=1e-12)


def test_from_sympy_matrices() -> None:
    import sympy

    n = sympy.Symbol("n", integer=True)
    A, ours = sympy.MatrixSymbol("A", n, n), sg.symbol("A", ("n", "n"))
    for theirs, wanted in [
        (A.inv(), L.inv(ours)), (sympy.Determinant(A), L.det(ours)), (sympy.Trace(A), sg.trace(ours)), (A.inv().T, L.inv(ours).T),
        (sympy.log(sympy.Determinant(A)), sg.log(L.det(ours))),
    ]:  # fmt: skip
        assert sg.simplify(sg.from_sympy(theirs)) is sg.simplify(wanted)


# --- text ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [
    "inv(A)", "det(A)", "logdet(A)", "trace(A @ B)", "solve(A, b)", "solve(A, B)", "cholesky(A)", "tril(A)", "triu(A, 1)",
    "solve_triangular(A, b)", "x @ inv(A) @ x", "inv(A).T @ B",
])  # fmt: skip
def test_text_reads_back(text: str) -> None:
    shapes = {"A": (3, 3), "B": (3, 3), "b": 3, "x": 3}
    node = sg.parse(text, shapes)
    assert str(node) == text and sg.parse(str(node), shapes) is node


@pytest.mark.parametrize(("text", "latex"), [
    ("inv(A)", "A^{-1}"), ("inv(A).T", r"A^{-\top}"), ("inv(A + B)", r"(A + B)^{-1}"), ("inv(A + B).T", r"(A + B)^{-\top}"),
    ("inv(A).T @ b", r"A^{-\top} b"), ("det(A)", r"\det(A)"), ("logdet(A)", r"\log|\det(A)|"), ("trace(A)", r"\operatorname{tr}(A)"),
    ("solve(A, b)", "A^{-1} b"), ("solve(A.T, b)", r"A^{-\top} b"), ("cholesky(A)", r"\operatorname{chol}(A)"),
    ("tril(A)", r"\operatorname{tril}(A)"), ("triu(A, 1)", r"\operatorname{triu}_{1}(A)"),
])  # fmt: skip
def test_latex(text: str, latex: str) -> None:
    assert sg.parse(text, {"A": (3, 3), "B": (3, 3), "b": 3}).latex() == latex


def test_a_named_inverse_goes_by_its_name() -> None:
    A, x = sg.symbol("A", (3, 3)), sg.symbol("x", 3)
    assert r"K^{\top} x" in (L.inv(A).named("K").T @ x).latex()
