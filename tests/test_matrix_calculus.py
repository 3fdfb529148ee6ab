"""Gradients and Hessians of matrix expressions come in the closed forms of the textbooks, and are right.

MC: K. B. Petersen and M. S. Pedersen, "The matrix cookbook" (version of November 15, 2012), by equation.
MN: J. R. Magnus and H. Neudecker, "Matrix differential calculus with applications in statistics and econometrics" (3rd edition, 2007).
A formula is written once, for symgrad and for JAX: ``o`` has the functions of either.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest

import symgrad as sg
from symgrad.evaluate import evaluate
from symgrad.expr import Expr, topological
from symgrad.simplify.sharing import share_products

SIZES = {"n": 4, "m": 5, "k": 3, "h": 2}
SHAPES: dict[str, Any] = {
    **dict.fromkeys("ABCDXWSP", ("n", "n")), **dict.fromkeys(("a", "b", "c", "d", "x", "s", "w", "mu"), ("n",)), "t": ("m",), "y": ("m",),
    "F": ("m", "n"), "G": ("n", "k"), "Y": ("m", "k"), "H": ("m", "h"), "W1": ("n", "h"), "W2": ("h", "k"), "lam": (),
}  # fmt: skip
OURS = SimpleNamespace(
    inv=sg.linalg.inv, det=sg.linalg.det, logdet=sg.linalg.logdet, solve=sg.linalg.solve, cholesky=sg.linalg.cholesky, trace=sg.trace,
    sum=sg.sum, norm=sg.norm, exp=sg.exp, log=sg.log, tanh=sg.tanh, softplus=sg.softplus, logsumexp=sg.logsumexp,
    log_softmax=sg.log_softmax, outer=sg.outer, mean=sg.mean,
)  # fmt: skip


class Case(NamedTuple):
    source: str
    formula: Callable[..., Any]
    wrt: str
    text: str
    latex: str = ""


FIRST = [
    # of a vector
    Case("MC 69", lambda o, x, a: x @ a, "x", "a", "a"),
    Case("MC 81", lambda o, x, B: x @ B @ x, "x", "(B + B.T) @ x", r"(B + B^{\top}) x"),
    Case("MC 78", lambda o, x, B, C, D, b, d: (B @ x + b) @ C @ (D @ x + d), "x", "B.T @ (C @ (D @ x + d)) + D.T @ ((B @ x + b) @ C)"),
    Case("MC 84", lambda o, x, s, A, W: (x - A @ s) @ W @ (x - A @ s), "s", "-A.T @ ((W + W.T) @ (x - A @ s))"),
    Case("MC 85", lambda o, x, s, W: (x - s) @ W @ (x - s), "x", "(W + W.T) @ (x - s)", r"(W + W^{\top}) (x - s)"),
    Case("MC 86", lambda o, x, s, W: (x - s) @ W @ (x - s), "s", "-(W + W.T) @ (x - s)"),
    Case("MC 88", lambda o, x, s, A, W: (x - A @ s) @ W @ (x - A @ s), "A", "-outer((W + W.T) @ (x - A @ s), s)"),
    Case("MC 131", lambda o, x: o.norm(x) ** 2, "x", "2*x", "2 x"),
    Case("MN 9.9", lambda o, x: x @ x, "x", "2*x", "2 x"),
    Case("quartic", lambda o, x: (x @ x) ** 2, "x", "4*(x @ x)*x"),
    Case("log-sum-exp", lambda o, F, x: o.logsumexp(F @ x), "x", "F.T @ softmax(F @ x)"),
    # of a matrix, by vectors
    Case("MC 70", lambda o, a, X, b: a @ X @ b, "X", "outer(a, b)", r"a b^{\top}"),
    Case("MC 71", lambda o, a, X, b: a @ X.T @ b, "X", "outer(b, a)", r"b a^{\top}"),
    Case("MC 72", lambda o, a, X: a @ X @ a, "X", "outer(a, a)", r"a a^{\top}"),
    Case("MC 77", lambda o, b, X, c: b @ X.T @ X @ c, "X", "outer(X @ c, b) + outer(X @ b, c)"),
    Case("MC 82", lambda o, b, X, D, c: b @ X.T @ D @ X @ c, "X", "outer(D @ (X @ c), b) + outer(D.T @ (X @ b), c)"),
    Case("MC 83", lambda o, X, b, c, D: (X @ b + c) @ D @ (X @ b + c), "X", "outer((D + D.T) @ (X @ b + c), b)"),
    # traces
    Case("MC 99", lambda o, X: o.trace(X), "X", "eye(n)", "I_{n}"),
    Case("MC 100", lambda o, X, A: o.trace(X @ A), "X", "A.T", r"A^{\top}"),
    Case("MC 101", lambda o, A, X, B: o.trace(A @ X @ B), "X", "A.T @ B.T", r"A^{\top} B^{\top}"),
    Case("MC 102", lambda o, A, X, B: o.trace(A @ X.T @ B), "X", "B @ A", "B A"),
    Case("MC 103", lambda o, X, A: o.trace(X.T @ A), "X", "A", "A"),
    Case("MC 104", lambda o, A, X: o.trace(A @ X.T), "X", "A", "A"),
    Case("MC 106", lambda o, X: o.trace(X @ X), "X", "2*X.T", r"2 X^{\top}"),
    Case("MC 107", lambda o, X, B: o.trace(X @ X @ B), "X", "B.T @ X.T + X.T @ B.T", r"B^{\top} X^{\top} + X^{\top} B^{\top}"),
    Case("MC 108", lambda o, X, B: o.trace(X.T @ B @ X), "X", "(B + B.T) @ X", r"(B + B^{\top}) X"),
    Case("MC 109", lambda o, X, B: o.trace(B @ X @ X.T), "X", "(B + B.T) @ X", r"(B + B^{\top}) X"),
    Case("MC 111", lambda o, X, B: o.trace(X @ B @ X.T), "X", "X @ (B + B.T)", r"X (B + B^{\top})"),
    Case("MC 112", lambda o, X, B: o.trace(B @ X.T @ X), "X", "X @ (B + B.T)", r"X (B + B^{\top})"),
    Case("MC 114", lambda o, A, X, B: o.trace(A @ X @ B @ X), "X", "A.T @ X.T @ B.T + B.T @ (A @ X).T"),
    Case("MC 115", lambda o, X: o.trace(X.T @ X), "X", "2*X", "2 X"),
    Case("MC 116", lambda o, X, B, C: o.trace(X.T @ B @ X @ C), "X", "B @ X @ C + B.T @ X @ C.T"),
    Case("MC 118", lambda o, A, X, B, C: o.trace(A @ X @ B @ X.T @ C), "X", "A.T @ C.T @ X @ B.T + C @ A @ X @ B"),
    Case("MC 119", lambda o, A, X, B, C: o.trace((A @ X @ B + C) @ (A @ X @ B + C).T), "X", "2*A.T @ (A @ X @ B + C) @ B.T"),
    Case("MC 121", lambda o, X: o.trace(X @ X @ X), "X", "3*X.T @ X.T"),
    Case("MC 132", lambda o, X: o.norm(X) ** 2, "X", "2*X", "2 X"),
    # inverses
    Case("MC 61", lambda o, a, X, b: a @ o.inv(X) @ b, "X", "-outer(inv(X).T @ a, inv(X) @ b)", r"-X^{-\top} a b^{\top} X^{-\top}"),
    Case("MC 63", lambda o, A, X, B: o.trace(A @ o.inv(X) @ B), "X", "-inv(X).T @ A.T @ B.T @ inv(X).T"),
    Case("MC 64", lambda o, X, A: o.trace(o.inv(X + A)), "X", "-inv(X + A).T @ inv(X + A).T", r"-(X + A)^{-\top} (X + A)^{-\top}"),
    Case("MC 61, solved", lambda o, a, A, b: a @ o.solve(A, b), "A", "-outer(solve(A.T, a), solve(A, b))"),
    Case("MC 69, solved", lambda o, a, A, b: a @ o.solve(A, b), "b", "solve(A.T, a)", r"A^{-\top} a"),
    # determinants
    Case("MC 49", lambda o, X: o.det(X), "X", "det(X)*inv(X).T", r"\det(X) X^{-\top}"),
    Case("MC 51", lambda o, A, X, B: o.det(A @ X @ B), "X", "det(A @ X @ B)*inv(X).T"),
    Case("MC 55", lambda o, F: o.logdet(F.T @ F), "F", "2*F @ inv(F.T @ F)", r"2 F (F^{\top} F)^{-1}"),
    Case("MC 57", lambda o, X: o.logdet(X), "X", "inv(X).T", r"X^{-\top}"),
    Case("MC 57, inverse", lambda o, X: o.logdet(o.inv(X)), "X", "-inv(X).T", r"-X^{-\top}"),
    Case("MC 57, log", lambda o, X: o.log(o.det(X @ X.T)), "X", "2*inv(X).T"),
    # statistics and learning
    Case("least squares", lambda o, F, x, t: o.sum((F @ x - t) ** 2), "x", "2*F.T @ (F @ x - t)", r"2 F^{\top} (F x - t)"),
    Case("least squares, as a product", lambda o, F, x, t: (F @ x - t) @ (F @ x - t), "x", "2*F.T @ (F @ x - t)"),
    Case("mean squares", lambda o, F, w, y: o.mean((F @ w - y) ** 2), "w", "2/m*F.T @ (F @ w - y)"),
    Case("ridge", lambda o, F, w, y, lam: o.sum((F @ w - y) ** 2) + lam * o.sum(w**2), "w", "2*F.T @ (F @ w - y) + 2*lam*w"),
    Case("ridge, norms", lambda o, F, w, y, lam: o.norm(F @ w - y) ** 2 + lam * o.norm(w) ** 2, "w", "2*F.T @ (F @ w - y) + 2*lam*w"),
    Case("several responses", lambda o, F, G, Y: o.sum((F @ G - Y) ** 2), "G", "2*F.T @ (F @ G - Y)"),
    Case("matrix factors", lambda o, Y, H, W2: o.sum((Y - H @ W2) ** 2), "H", "-2*(Y - H @ W2) @ W2.T"),
    Case("logistic regression", lambda o, F, w, y: o.sum(o.softplus(F @ w) - y * (F @ w)), "w", "F.T @ (sigmoid(F @ w) - y)"),
    Case("softmax regression", lambda o, F, G, Y: -o.sum(Y * o.log_softmax(F @ G)), "G",
         "F.T @ (sum(Y, axis=1, keepdims=True) * softmax(F @ G) - Y)"),
    Case("Gaussian, mean", lambda o, x, mu, S: ((x - mu) @ o.inv(S) @ (x - mu) + o.logdet(S)) / 2, "mu",
         "-1/2*(inv(S) + inv(S).T) @ (x - mu)"),
    Case("Gaussian, covariance", lambda o, x, mu, S: ((x - mu) @ o.inv(S) @ (x - mu) + o.logdet(S)) / 2, "S",
         "(inv(S).T - outer(inv(S).T @ (x - mu), inv(S) @ (x - mu)))/2"),
    Case("Gaussian, precision", lambda o, x, mu, P: ((x - mu) @ P @ (x - mu) - o.logdet(P)) / 2, "P",
         "(outer(x - mu, x - mu) - inv(P).T)/2"),
    Case("Gaussian, solved", lambda o, x, mu, S: ((x - mu) @ o.solve(S, x - mu) + o.logdet(S)) / 2, "mu",
         "-(solve(S.T, x - mu) + solve(S, x - mu))/2"),
    Case("two layers, second", lambda o, F, W1, W2, Y: o.sum((o.tanh(F @ W1) @ W2 - Y) ** 2) / 2, "W2",
         "tanh(F @ W1).T @ (tanh(F @ W1) @ W2 - Y)"),
    Case("two layers, first", lambda o, F, W1, W2, Y: o.sum((o.tanh(F @ W1) @ W2 - Y) ** 2) / 2, "W1",
         "F.T @ (((tanh(F @ W1) @ W2 - Y) @ W2.T) * (1 - tanh(F @ W1)**2))"),
]  # fmt: skip
SECOND = [
    Case("MC 97 (MN 10.3)", lambda o, x, A: x @ A @ x, "x", "A + A.T", r"A + A^{\top}"),
    Case("least squares", lambda o, F, x, t: o.sum((F @ x - t) ** 2), "x", "2*F.T @ F", r"2 F^{\top} F"),
    Case("quartic", lambda o, x: (x @ x) ** 2, "x", "8*outer(x, x) + 4*(x @ x)*eye(n)", r"8 x x^{\top} + 4 (x^{\top} x) I_{n}"),
    Case("inverse", lambda o, x, S: x @ o.inv(S) @ x, "x", "inv(S) + inv(S).T", r"S^{-1} + S^{-\top}"),
    Case("Gaussian", lambda o, x, mu, P: (x - mu) @ P @ (x - mu) / 2, "mu", "(P + P.T)/2"),
    Case("logistic regression", lambda o, F, x: o.sum(o.softplus(F @ x)), "x", "(F.T * sigmoid(F @ x) * (1 - sigmoid(F @ x))) @ F"),
]  # fmt: skip


def names_of(case: Case) -> list[str]:
    return list(inspect.signature(case.formula).parameters)[1:]


def symbols_of(case: Case) -> dict[str, Expr]:
    return {name: sg.symbol(name, SHAPES[name]) for name in names_of(case)}


def values_of(case: Case) -> dict[str, np.ndarray]:
    """Square matrices near the identity, so that inverses and determinants are harmless."""
    rng = np.random.default_rng(len(case.source) + len(case.text))
    values = {}
    for name in names_of(case):
        shape = tuple(SIZES[d] for d in SHAPES[name])
        values[name] = rng.normal(size=shape) / 2 + (1.5 * np.eye(*shape) if SHAPES[name] == ("n", "n") else 0)
    return values


def difference(y: Expr, values: dict[Expr, np.ndarray], wrt: Expr, direction: np.ndarray) -> np.ndarray:
    step = 1e-5
    ahead, behind = ({**values, wrt: values[wrt] + sign * step * direction} for sign in (1, -1))
    return (evaluate(y, ahead) - evaluate(y, behind)) / (2 * step)


each_first = pytest.mark.parametrize("case", FIRST, ids=lambda c: f"{c.source}: {c.wrt}")
each_second = pytest.mark.parametrize("case", SECOND, ids=lambda c: c.source)


@each_first
def test_gradient_in_closed_form(case: Case) -> None:
    symbols = symbols_of(case)
    gradient = sg.grad(case.formula(OURS, **symbols), symbols[case.wrt])
    assert str(gradient) == case.text
    if case.latex:
        assert gradient.latex() == case.latex


@each_first
def test_gradient_is_right(case: Case) -> None:
    symbols, given = symbols_of(case), values_of(case)
    y, wrt = case.formula(OURS, **symbols), symbols[case.wrt]
    values = {symbols[name]: v for name, v in given.items()}
    gradient = sg.grad(y, wrt)
    rng = np.random.default_rng(0)
    found = evaluate(gradient, values)
    for _ in range(2):
        direction = rng.normal(size=values[wrt].shape)
        assert np.sum(found * direction) == pytest.approx(float(difference(y, values, wrt, direction)), rel=1e-6, abs=1e-7)
    np.testing.assert_allclose(found, evaluate(sg.grad(y, wrt, simplify=False), values), rtol=1e-9, atol=1e-11)


@each_first
def test_gradient_compiles(case: Case) -> None:
    symbols, given = symbols_of(case), values_of(case)
    y, wrt = case.formula(OURS, **symbols), symbols[case.wrt]
    f = sg.compile(y, list(symbols.values()), wrt=wrt, cache=False)
    value, gradient = f.value_and_grad(*given.values())
    values = {symbols[name]: v for name, v in given.items()}
    assert value == pytest.approx(float(evaluate(y, values)), rel=1e-10, abs=1e-12)
    np.testing.assert_allclose(gradient, evaluate(sg.grad(y, wrt), values), rtol=1e-9, atol=1e-11)


@each_second
def test_hessian_in_closed_form(case: Case) -> None:
    symbols = symbols_of(case)
    hessian = sg.hessian(case.formula(OURS, **symbols), symbols[case.wrt])
    assert str(hessian) == case.text
    if case.latex:
        assert hessian.latex() == case.latex


@each_second
def test_hessian_is_right(case: Case) -> None:
    symbols, given = symbols_of(case), values_of(case)
    y, wrt = case.formula(OURS, **symbols), symbols[case.wrt]
    values = {symbols[name]: v for name, v in given.items()}
    direction = np.random.default_rng(0).normal(size=values[wrt].shape)
    wanted = difference(sg.grad(y, wrt), values, wrt, direction)
    np.testing.assert_allclose(evaluate(sg.hessian(y, wrt), values) @ direction, wanted, rtol=1e-6, atol=1e-7)
    f = sg.compile(y, list(symbols.values()), wrt=wrt, cache=False)
    np.testing.assert_allclose(f.hessian(*given.values()) @ direction, wanted, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(("formula", "text"), [
    (lambda A, x: A @ x, "A"),
    (lambda A, x: sg.linalg.solve(A, x), "inv(A)"),
    (lambda A, x: x * (x @ x), "2*outer(x, x) + (x @ x)*eye(n)"),
])  # fmt: skip
def test_jacobians_in_closed_form(formula: Callable[..., Expr], text: str) -> None:
    assert str(sg.jacobian(formula(sg.symbol("A", ("n", "n")), x := sg.symbol("x", "n")), x)) == text


@pytest.mark.parametrize(("text", "simpler"), [
    ("inv(inv(A))", "A"), ("inv(A.T)", "inv(A).T"), ("inv(-A)", "-inv(A)"), ("inv(2*A)", "0.5*inv(A)"), ("inv(A) @ A", "eye(3)"),
    ("A @ inv(A)", "eye(3)"), ("A.T @ inv(A)", "A.T @ inv(A)"), ("inv(A @ A.T).T", "inv(A @ A.T)"), ("inv(A).T", "inv(A).T"),
    ("solve(A, eye(3))", "inv(A)"), ("solve(eye(3), b)", "b"), ("solve(A, -b)", "-solve(A, b)"),
    ("solve(A, b) + solve(A, c)", "solve(A, b + c)"), ("det(A.T)", "det(A)"), ("det(inv(A))", "1/det(A)"), ("logdet(inv(A))", "-logdet(A)"),
    ("trace(A.T)", "trace(A)"), ("trace(eye(3))", "3"), ("log(det(A))", "logdet(A)"), ("log(abs(det(A)))", "logdet(A)"),
    ("A @ b + A @ c", "A @ (b + c)"), ("A @ b - B @ b", "(A - B) @ b"), ("A @ B + B @ A", "A @ B + B @ A"),
])  # fmt: skip
def test_algebra_of_matrices(text: str, simpler: str) -> None:
    shapes = {"A": (3, 3), "B": (3, 3), "b": 3, "c": 3}
    before = sg.parse(text, shapes)
    after = sg.simplify(before)
    assert str(after) == simpler
    rng = np.random.default_rng(0)
    values = {name: rng.normal(size=shape) + (2 * np.eye(3) if shape == (3, 3) else 0) for name, shape in shapes.items()}
    values["A"] *= np.sign(np.linalg.det(values["A"]))
    np.testing.assert_allclose(evaluate(after, values), evaluate(before, values), rtol=1e-11, atol=1e-13)


# --- lengths and directions -------------------------------------------------------------------------


@pytest.mark.parametrize(("length", "text"), [
    (lambda F, x, a: sg.norm(x), "x/norm(x)"),
    (lambda F, x, a: sg.norm(x - a), "(x - a)/norm(x - a)"),
    (lambda F, x, a: sg.norm(F @ x), "F.T @ ((F @ x)/norm(F @ x))"),
    (lambda F, x, a: sg.norm(x) ** 3, "3*norm(x)*x"),
    (lambda F, x, a: sg.exp(-sg.norm(x - a) ** 2), "-2*exp(-norm(x - a)**2)*(x - a)"),
])  # fmt: skip
def test_a_direction_is_a_quotient_and_zero_at_zero(length: Callable[..., Expr], text: str) -> None:
    F, x, a = sg.symbol("F", ("m", "n")), sg.symbol("x", "n"), sg.symbol("a", "n")
    y = length(F, x, a)
    assert str(sg.grad(y, x)) == text
    values = {F: np.ones((2, 3)), x: np.zeros(3), a: np.zeros(3)}
    at_zero = {s: values[s] for s in sg.grad(y, x).free_symbols | {x}}
    np.testing.assert_array_equal(evaluate(sg.grad(y, x), at_zero), np.zeros(3))
    f = sg.compile(y, wrt=x, cache=False)
    np.testing.assert_array_equal(f.grad(*[values[s] for s in f.inputs]), np.zeros(3))


def test_the_second_derivative_of_a_length_is_zero_at_zero() -> None:
    x = sg.symbol("x", 3)
    assert not np.any(evaluate(sg.hessian(sg.norm(x), x), {x: np.zeros(3)}))


# --- what is shown is not always what is cheapest ---------------------------------------------------


def _contractions(*roots: Expr) -> int:
    return sum(node.op.name == "contract" for node in topological(*roots))


def test_a_product_that_the_value_has_is_used_again() -> None:
    """``(A + A.T) @ x`` reads well; beside the value ``x @ A @ x`` it is ``A.T @ x`` again and one product more."""
    x, A = sg.symbol("x", "n"), sg.symbol("A", ("n", "n"))
    y = x @ A @ x
    shared = share_products([y, sg.grad(y, x)])
    assert _contractions(*shared) == 3 and "(A + A.T)" not in str(shared[1])
    values = {x: np.arange(3.0), A: np.arange(9.0).reshape(3, 3)}
    np.testing.assert_array_equal(evaluate(shared[1], values), evaluate(sg.grad(y, x), values))


def test_products_that_differ_by_a_transpose_are_one() -> None:
    A, B = sg.symbol("A", ("n", "n")), sg.symbol("B", ("n", "n"))
    one, other = sg.simplify([A.T @ B, sg.sin(B.T @ A)])
    assert _contractions(*share_products([one, other])) == 1


def test_a_product_that_others_use_is_not_taken_apart() -> None:
    A, B, x = sg.symbol("A", ("n", "n")), sg.symbol("B", ("n", "n")), sg.symbol("x", "n")
    hidden = A @ x
    both = sg.simplify([sg.tanh(hidden), hidden + B @ x])
    assert _contractions(*both) == 2


def test_the_compiler_shares_products_and_people_read_the_closed_form() -> None:
    x, A = sg.symbol("x", "n"), sg.symbol("A", ("n", "n"))
    f = sg.compile(x @ A @ x, wrt=x, cache=False)
    assert str(f.formulas) == "dL/dx = (A + A.T) @ x"
    rng = np.random.default_rng(0)
    a, v = rng.normal(size=(50, 50)), rng.normal(size=50)
    value, gradient = f.value_and_grad(v, a)
    assert value == pytest.approx(v @ a @ v)
    np.testing.assert_allclose(gradient, (a + a.T) @ v, rtol=1e-12, atol=1e-12)


def test_systems_are_solved_where_only_a_vector_meets_the_inverse() -> None:
    x, A = sg.symbol("x", "n"), sg.symbol("A", ("n", "n"))
    inverse = sg.linalg.inv(A)
    (both,) = share_products(sg.simplify([inverse @ x + sg.sin(x @ inverse)]))
    assert str(both) in ("solve(A, x) + sin(solve(A.T, x))", "sin(solve(A.T, x)) + solve(A, x)")
    (kept, _) = share_products([inverse @ x, inverse])
    assert str(kept) == "inv(A) @ x"
    values = {x: np.arange(3.0), A: np.arange(9.0).reshape(3, 3) + 3 * np.eye(3)}
    np.testing.assert_allclose(evaluate(both, values), evaluate(inverse @ x + sg.sin(x @ inverse), values), rtol=1e-12)


# --- against JAX ------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", [*FIRST, *SECOND], ids=lambda c: c.source)
def test_as_jax_has_it(case: Case) -> None:
    jax = pytest.importorskip("jax")
    jnp = jax.numpy
    theirs = SimpleNamespace(
        inv=jnp.linalg.inv, det=jnp.linalg.det, logdet=lambda a: jnp.linalg.slogdet(a)[1], solve=jnp.linalg.solve, trace=jnp.trace,
        sum=jnp.sum, norm=jnp.linalg.norm, exp=jnp.exp, log=jnp.log, tanh=jnp.tanh, softplus=jax.nn.softplus, outer=jnp.outer,
        logsumexp=jax.nn.logsumexp, log_softmax=jax.nn.log_softmax, mean=jnp.mean,
    )  # fmt: skip
    symbols, given = symbols_of(case), values_of(case)
    position = names_of(case).index(case.wrt)
    derive, ours = (jax.hessian, sg.hessian) if case in SECOND else (jax.grad, sg.grad)
    wanted = derive(lambda *values: case.formula(theirs, *values), argnums=position)(*given.values())  # in float32
    found = evaluate(ours(case.formula(OURS, **symbols), symbols[case.wrt]), {symbols[name]: v for name, v in given.items()})
    np.testing.assert_allclose(found, wanted, rtol=2e-3, atol=2e-3 * np.max(np.abs(found)))
