"""Unit vectors through what is linear in them: the same as through the whole identity, without its zeros."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import symgrad as sg
from symgrad import dims
from symgrad.differentiate.vectorize import over_unit_vectors, vectorize
from symgrad.evaluate import evaluate
from symgrad.expr import Expr, topological

A, B, C, u, x = sg.symbol("A", (3, 4)), sg.symbol("B", (4, 4)), sg.symbol("C", (3, 4, 4)), sg.symbol("u", 3), sg.symbol("x", "n")
W = sg.symbol("W", ("m", "n"))
RNG = np.random.default_rng(0)
KNOWN = {e: RNG.uniform(0.5, 1.5, (3, 4, 4)[3 - n :] if (n := e.ndim) != 1 else 3) for e in (A, B, C, u)}
KNOWN |= {A: RNG.normal(size=(3, 4)), x: RNG.normal(size=4), W: RNG.normal(size=(2, 4))}

LINEAR: dict[str, Callable[[Expr], Expr]] = {  # of a symbol of shape (3, 4)
    "itself": lambda v: v, "scaled": lambda v: v * A, "scaled by a row": lambda v: A[0] * v, "quotient": lambda v: v / (2 + A * A),
    "negative": lambda v: -v, "sums": lambda v: v * A - v / (2 + A), "sum with another": lambda v: v * A + (v @ B),
    "wider": lambda v: v * sg.transpose(C, (1, 0, 2)), "columns": lambda v: v[:, None, :] * C, "transpose": lambda v: v.T * A.T,
    "turned": lambda v: (v * A).T @ u,
    "flat": lambda v: v.reshape(12)[::2], "other shape": lambda v: v.reshape(4, 3) * u, "sum": lambda v: (v * A).sum(),
    "sum of rows": lambda v: (v * A).sum(axis=1), "sum of columns": lambda v: (v * A).sum(axis=0),
    "kept": lambda v: (v * A).sum(axis=0, keepdims=True) * A,
    "kept rows": lambda v: v - v.sum(axis=1, keepdims=True), "sums of a wider one": lambda v: (v[:, None, :] * C).sum(axis=(0, 2)),
    "middle": lambda v: (v[:, :, None] * C).sum(axis=1), "product": lambda v: v @ B, "product from the left": lambda v: u @ v,
    "both": lambda v: (v @ B) @ A.T, "einsum with a shared axis": lambda v: sg.einsum("ij,ijk->ik", v, C),
    "einsum that sums alone": lambda v: sg.einsum("ij,i->i", v, u), "batch of products": lambda v: sg.einsum("ij,ikl->ijkl", v, C),
    "where": lambda v: sg.where(A > 0, v, 0.0) * A, "where not": lambda v: sg.where(A > 0, 0.0, v.sum(axis=0)),
    "two sides": lambda v: sg.where(A > 0, v, 2 * v),
    "padded": lambda v: sg.pad(v * A, 1) * 2, "rows": lambda v: v[[0, 2, 2]] * A, "joined": lambda v: sg.concatenate([v, v * A]),
    "cumulated": lambda v: sg.cumsum(v * A, axis=1), "diagonal": lambda v: sg.diagonal(v[:, :3] * A[:, :3]), "nothing": lambda v: A * 2,
}  # fmt: skip


def compare(result: Expr, root: Expr, v: Expr, sizes: dict[str, int]) -> None:
    shape = dims.evaluate_shape(v.shape, sizes)
    eye = sg.constant(np.eye(int(np.prod(shape))).reshape(shape + shape))
    (whole,) = vectorize([root], {v: eye}, shape)
    np.testing.assert_allclose(evaluate(result, KNOWN, sizes=sizes), evaluate(whole, KNOWN, sizes=sizes), rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("name", LINEAR)
def test_all_that_is_linear(name: str) -> None:
    v = sg.symbol("v", (3, 4))
    root = LINEAR[name](v)
    result = over_unit_vectors(root, v)
    assert result.shape == v.shape + root.shape
    compare(result, root, v, {})


@pytest.mark.parametrize("shape", [(1, 4), (3, 1), (1, 1), (4,), (1,), ()])
def test_axes_of_size_one_may_be_spread_out(shape: tuple[int, ...]) -> None:
    v = sg.symbol("v", shape)
    for root in (v * A, (v * A).sum(axis=0), sg.broadcast_to(v, (3, 4)) @ B):
        compare(over_unit_vectors(root, v), root, v, {})


def test_named_sizes() -> None:
    v = sg.symbol("v", "n")
    for root in (v * x, W @ v, W * v, (v * x).sum(), sg.outer(v, x), v.reshape(-1, 1) * x):
        compare(over_unit_vectors(root, v), root, v, {"n": 4, "m": 2})


def largest(*roots: Expr) -> int:
    return max(int(dims.total(node.shape)) for node in topological(*roots))


n = 7
y, M, N = sg.symbol("y", n), sg.symbol("M", (n, n)), sg.symbol("N", (n, n))
GAPS = y[:, None] - y
DENSE = {
    "layers": sg.tanh(N @ sg.tanh(M @ y)), "pairs": sg.sum(GAPS / (0.1 + GAPS**2), axis=1),
    "outer": sg.sum(sg.sin(y[:, None] * y * M), axis=1),
    "kernel": sg.exp(-(GAPS**2)) @ y, "normalised": (M @ y) / sg.norm(y), "softmax": sg.softmax(M @ y),
}  # fmt: skip


@pytest.mark.parametrize("name", DENSE)
def test_a_jacobian_of_a_vector_has_no_third_axis(name: str) -> None:
    assert largest(sg.jacobian(DENSE[name], y)) <= n * n


def test_formulas_without_identity_matrices() -> None:
    assert str(sg.jacobian(sg.tanh(M @ y), y)) == "M * (1 - tanh(M @ y)**2)[:, None]"
    assert str(sg.jacobian(M @ y, y)) == "M" and str(sg.jacobian(y @ M, y)) == "M.T"
    assert str(sg.jacobian(sg.sin(y), y)) == "diag(cos(y))"
    cubic = sg.symbol("K", (n, n, n))
    assert largest(sg.jacobian(sg.einsum("ij,j->i", sg.einsum("ijk,k->ij", cubic, y), y), y) - cubic.sum(axis=2)) == n**3


def test_zeros_are_left_out_rather_than_multiplied() -> None:
    """An infinite derivative in one row says nothing about the others."""
    at = np.array([0.0, 4.0, 1.0])
    v = sg.symbol("v", 3)
    J = np.asarray(evaluate(sg.jacobian(sg.sqrt(v) @ sg.constant(np.ones((3, 2))), v), {v: at}))
    np.testing.assert_array_equal(J, [[np.inf, 0.25, 0.5]] * 2)
