"""Shapes, movement, reductions and contractions: like NumPy, with helpful refusals (EDGES rows 10 to 12, 33)."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import symgrad as sg
from symgrad.evaluate import evaluate

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(3, 4, 5))
x = sg.symbol("x", (3, 4, 5))
named = sg.symbol("x", ("a", "b", "c"))

LIKE_NUMPY: list[Callable[[Any], Any]] = [
    lambda z: np.sum(z, axis=(0, 2)), lambda z: z.sum(), lambda z: np.mean(z, 1, keepdims=True), lambda z: np.var(z, axis=1, ddof=1),
    lambda z: np.std(z), lambda z: z.std(axis=-1, keepdims=True), lambda z: np.max(z, axis=0), lambda z: z.min(axis=(1, 2), keepdims=True),
    lambda z: np.cumsum(z), lambda z: np.cumsum(z, axis=1), lambda z: np.prod(z, axis=-1), lambda z: np.prod(z, axis=(0, 2)),
    lambda z: np.linalg.norm(z, axis=1), lambda z: np.linalg.norm(z[0]), lambda z: np.linalg.norm(z[0], 1, 0),
    lambda z: np.linalg.norm(z, 3, -1),
    lambda z: np.linalg.norm(z, np.inf, 2), lambda z: np.transpose(z, (1, 0, 2)), lambda z: z.T, lambda z: z.transpose(2, 0, 1),
    lambda z: np.swapaxes(z, 0, -1), lambda z: np.moveaxis(z, 0, -1), lambda z: np.pad(z, ((0, 1), (2, 0), (0, 0))),
    lambda z: np.pad(z, 1, constant_values=3.0), lambda z: np.diagonal(z, 1, 1, 2), lambda z: np.diagonal(z, -2),
    lambda z: np.concatenate([z, z * z], axis=1), lambda z: np.stack([z, z + 1], -1), lambda z: np.vstack([z, z]),
    lambda z: np.hstack([z, z]),
    lambda z: np.flip(z, (0, 1)), lambda z: np.flip(z), lambda z: np.expand_dims(z, (0, -1)), lambda z: np.squeeze(z[:1]),
    lambda z: np.broadcast_to(z[:, :1], (2, 3, 4, 5)), lambda z: np.reshape(z, (-1, 5)), lambda z: z.reshape(3, -1), lambda z: np.ravel(z),
    lambda z: np.outer(z[0], z[1, 0]), lambda z: np.inner(z, z[0]), lambda z: np.tensordot(z, z, ((0, 2), (0, 2))),
    lambda z: np.tensordot(z, z.transpose(1, 2, 0)), lambda z: np.vdot(z, z), lambda z: np.einsum("ijk,ilk,kj->lj", z, z, z[0].T),
    lambda z: np.dot(z[0], z[0].T), lambda z: np.eye(3) @ z[:, 0],
]  # fmt: skip


@pytest.mark.parametrize("build", LIKE_NUMPY)
def test_like_numpy_with_gradients(build: Callable[[Any], Any]) -> None:
    expected, expr = build(X), build(x)
    assert expr.shape == np.shape(expected)
    np.testing.assert_allclose(evaluate(expr, {x: X}), expected, rtol=1e-13, atol=1e-14)
    sg.check_grads(expr, {x: X}, tolerance=1e-5)


@pytest.mark.parametrize("build", [
    lambda z: z.sum(0), lambda z: z.mean((0, 2)), lambda z: z.var(1), lambda z: z.max(-1), lambda z: sg.prod(z, 1),
    lambda z: sg.softmax(z, 1),
    lambda z: sg.log_softmax(z, 0), lambda z: sg.logsumexp(z, (0, 1)), lambda z: sg.norm(z, axis=2), lambda z: z.cumsum(1),
    lambda z: z.reshape(-1, 5),
    lambda z: z.reshape(-1), lambda z: sg.concatenate([z, z], 1), lambda z: z[:, 1:, ::-1], lambda z: z @ z[0].T, lambda z: sg.pad(z, 1),
    lambda z: sg.einsum("ijk,ijl->kl", z, z), lambda z: z * sg.arange(z.shape[-1]), lambda z: z.reshape(z.shape[0], -1),
    lambda z: sg.mean(z),
])  # fmt: skip
def test_named_dimensions_like_fixed_ones(build: Callable[[Any], Any]) -> None:
    expected = evaluate(build(x), {x: X})
    np.testing.assert_array_equal(evaluate(build(named), {named: X}), expected)
    sg.check_grads(build(named), {named: X}, tolerance=1e-5)


SHAPES = [(4,), (3, 4), (2, 3, 4), (1, 3, 4), (5, 1, 3, 4)], [(4,), (4, 2), (2, 4, 3), (1, 4, 3), (5, 2, 4, 3)]


@pytest.mark.parametrize(("left", "right"), list(itertools.product(*SHAPES)))
def test_matmul_dot_einsum(left: tuple[int, ...], right: tuple[int, ...]) -> None:
    a, b = sg.symbol("a", left), sg.symbol("b", right)
    values = {a: RANDOM.normal(size=left), b: RANDOM.normal(size=right)}
    A, B = values[a], values[b]
    np.testing.assert_allclose(evaluate(np.dot(a, b), values), np.dot(A, B), rtol=1e-13, atol=1e-13)
    try:
        expected = A @ B
    except ValueError:
        with pytest.raises(sg.ShapeError):
            a @ b
    else:
        assert (a @ b).shape == expected.shape
        np.testing.assert_allclose(evaluate(a @ b, values), expected, rtol=1e-13, atol=1e-13)
        sg.check_grads(a @ b, values)
    for spec in ("...i,...i->...", "ij,jk", "i,j", "...ij,...j", "...ij,...jk->...ki"):
        try:
            expected = np.einsum(spec, A, B)
        except ValueError:
            continue
        np.testing.assert_allclose(evaluate(np.einsum(spec, a, b), values), expected, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("spec", ["iij->j", "iij->ij", "iij", "ijk->kji", "ijk->", "iii"])
def test_einsum_of_one_operand(spec: str) -> None:
    q = sg.symbol("q", (3, 3, 3))
    Q = RANDOM.normal(size=(3, 3, 3))
    np.testing.assert_allclose(evaluate(sg.einsum(spec, q), {q: Q}), np.einsum(spec, Q), rtol=1e-13)
    sg.check_grads(sg.einsum(spec, q) ** 2, {q: Q})


def test_products_without_a_contraction_stay_products() -> None:
    a, b = sg.symbol("a", (3, 4)), sg.symbol("b", (3, 4))
    assert sg.einsum("ij,ij->ij", a, b) is a * b
    assert sg.dot(a, 2) is a * 2
    assert (a @ b.T).op.name == "contract"


def test_row_10() -> None:
    a, v, w = sg.symbol("a", (3, 4)), sg.symbol("v", 3), sg.symbol("w", 4)
    with pytest.raises(sg.ShapeError, match=r"matmul: shapes \(3, 4\) and \(3, 4\).*\(4\).*\(3\)"):
        a @ a
    with pytest.raises(sg.ShapeError, match=r"add: shapes \(3,\), \(4,\)"):
        v + w
    with pytest.raises(sg.ShapeError, match=r"matmul.*scalar multiplies with"):
        a @ sg.symbol("s")
    with pytest.raises(sg.ShapeError, match=r"reshape: shape \(3, 4\).*12 elements"):
        a.reshape(5, 2)
    with pytest.raises(sg.ShapeError, match="concatenate"):
        sg.concatenate([v, a])
    with pytest.raises(sg.ShapeError, match="stack"):
        sg.stack([v, w])
    n = sg.symbol("z", "n")
    with pytest.raises(sg.ShapeError):
        n + n[1:]


BROADCASTS = [
    (("n",), ("n", 1)), (("n", 1), (1, "m")), ((1,), ("n",)), ((), ("n", "m")), (("n", "m"), ("m",)), ((1, 1), ("n",)),
    (("n", 1, 3), ("m", 1)),
    ((1, "n"), ("m", 1, 1)), ((3,), ("n",)), ((1,), ()),
]  # fmt: skip


@pytest.mark.parametrize("shapes", BROADCASTS)
@pytest.mark.parametrize("operation", [
    lambda a, b: a + b, lambda a, b: a * b, lambda a, b: b / (2 + a * a), sg.maximum, lambda a, b: sg.where(a > b, a * a, b),
])  # fmt: skip
def test_row_11(shapes: Any, operation: Any) -> None:
    sizes = {"n": 3, "m": 2}
    a, b = sg.symbol("a", shapes[0]), sg.symbol("b", shapes[1])
    A, B = (RANDOM.normal(size=tuple(sizes.get(d, d) for d in s)) for s in shapes)
    y = operation(a, b)
    expected = A + B
    assert evaluate(y, {a: A, b: B}).shape == expected.shape
    to_a, to_b = sg.grad(sg.sum(y), [a, b])
    assert (to_a.shape, to_b.shape) == (a.shape, b.shape)
    assert evaluate([to_a, to_b], {a: A, b: B})[0].shape == A.shape
    sg.check_grads(y, {a: A, b: B})


def test_row_12() -> None:
    for build in (sg.sum, sg.mean, sg.max, sg.argmax, sg.cumsum, sg.softmax, sg.logsumexp, sg.norm, sg.flip):
        with pytest.raises(sg.ShapeError, match=r"axis 3 is out of range for shape \(3, 4, 5\) with 3 dimensions"):
            build(x, axis=3)
    with pytest.raises(sg.ShapeError, match="twice"):
        sg.sum(x, axis=(0, -3))
    with pytest.raises(TypeError):
        sg.sum(x, axis=1.0)  # type: ignore[arg-type]
    with pytest.raises(sg.ShapeError):
        sg.transpose(x, (0, 0, 1))


def test_row_33_empty_reductions() -> None:
    v = sg.symbol("v", "n")
    empty = {v: np.zeros(0)}
    values = [float(evaluate(f(v), empty)) for f in (sg.sum, sg.prod, sg.max, sg.min, sg.norm, sg.logsumexp)]
    assert values == [0.0, 1.0, -np.inf, np.inf, 0.0, -np.inf]
    assert np.isnan(evaluate(sg.mean(v), empty))
    for f in (sg.sum, sg.prod, sg.max, sg.mean, sg.norm, sg.logsumexp):
        assert evaluate(sg.grad(f(v), v), empty).shape == (0,)


def test_sizes_are_expressions() -> None:
    v = sg.symbol("v", ("n", 3))
    assert int(sg.size(v, 1)) == 3
    assert evaluate(sg.size(v), {v: np.zeros((5, 3))}) == 15
    assert evaluate(sg.size(v[1:], 0), {v: np.zeros((5, 3))}) == 4
    assert evaluate(sg.mean(v, axis=0), {v: np.ones((5, 3))}).tolist() == [1, 1, 1]


def test_reshape_with_minus_one() -> None:
    v = sg.symbol("v", ("n", 2, 3))
    assert v.reshape("n", -1).shape == ("n", 6)
    assert v.reshape(-1, 6).shape == ("n", 6)
    assert v.reshape(-1).shape == ("6*n",)
    for wrong in ((-1, -1), ("n", -1, 4)):
        with pytest.raises(sg.ShapeError):
            evaluate(v.reshape(*wrong), {v: np.zeros((5, 2, 3))})
    with pytest.raises(sg.ShapeError):
        sg.symbol("e", (0, 3)).reshape(0, -1)


def test_exactness_of_composites() -> None:
    v = sg.symbol("v", 2)

    def value(e: sg.Expr, *at: float) -> list[float]:
        return np.asarray(evaluate(e, {v: np.array(at)})).tolist()

    for scale in (1e200, 1.0, 1e-200, 1e-300):
        assert value(sg.norm(v), 3 * scale, 4 * scale) == pytest.approx(5 * scale, rel=4e-16, abs=0)
    assert value(sg.grad(sg.norm(v), v), 0, 0) == [0, 0]
    assert value(sg.grad(sg.norm(v), v), 3e200, 4e200) == pytest.approx([0.6, 0.8], rel=1e-15)
    assert value(sg.grad(sg.norm(v) ** 2, v), 0, 0) == [0, 0]
    assert value(sg.hessian(sg.norm(v), v), 0, 0) == [[0, 0], [0, 0]]
    assert value(sg.logsumexp(v), 1e3, 1e3) == pytest.approx(1000.6931471805599, rel=1e-15)
    assert value(sg.logsumexp(v), -np.inf, -np.inf) == -np.inf
    assert value(sg.logsumexp(v), np.inf, 1) == np.inf
    assert value(sg.grad(sg.logsumexp(v), v), -1e3, -1e3) == [0.5, 0.5]
    assert value(sg.softmax(v), -np.inf, 0) == [0, 1]
    assert value(sg.grad(sg.softmax(v)[0], v), -np.inf, 0) == [0, 0]
    assert value(sg.log_softmax(v), 0, -1e4) == [0, -1e4]
    assert value(sg.grad(sg.max(v), v), 2, 2) == [0.5, 0.5]
    assert value(sg.grad(sg.min(v), v), 2, 3) == [1, 0]


@pytest.mark.parametrize("shape", [(3,), ("n",)])
def test_prod_at_zeros(shape: Any) -> None:
    v = sg.symbol("v", shape)
    gradient, hessian = sg.grad(sg.prod(v), v), sg.hessian(sg.prod(v), v)
    assert evaluate(gradient, {v: [2.0, 0.0, 3.0]}).tolist() == [0, 6, 0]
    assert evaluate(gradient, {v: [2.0, 0.0, 0.0]}).tolist() == [0, 0, 0]
    assert evaluate(gradient, {v: [1e200, 1e200, 1e-200]}).tolist() == [1, 1, np.inf]
    assert evaluate(hessian, {v: [2.0, 0.0, 3.0]}).tolist() == [[0, 3, 0], [3, 0, 2], [0, 2, 0]]


@pytest.mark.parametrize("size", [1, 2, 5, 17, 32, 45])
def test_prod_of_any_length(size: int) -> None:
    v = sg.symbol("v", size)
    at = RANDOM.normal(size=size)
    expected = [np.prod(np.delete(at, k)) for k in range(size)]
    np.testing.assert_allclose(evaluate(sg.grad(sg.prod(v), v), {v: at}), expected, rtol=1e-14)
