"""Masks: the branch that ``where`` does not take contributes neither value nor NaN to a gradient, to second order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import symgrad as sg
from symgrad.evaluate import evaluate

x = sg.symbol("x", 4)
AT = np.array([-1.0, 0.0, 0.5, 2.0])
LIVE = AT > 0


def gradient(y: sg.Expr, at: Any = AT, wrt: sg.Expr = x, **others: Any) -> Any:
    return evaluate(sg.grad(sg.sum(y), wrt), {wrt: at, **others})


UNSAFE: list[tuple[Callable[[Any], Any], Callable[[Any], Any], Callable[[Any], Any]]] = [
    (lambda z: sg.log(z) ** 2, lambda z: 2 * np.log(z) / z, lambda z: 2 * (1 - np.log(z)) / z**2),
    (lambda z: sg.sqrt(z), lambda z: 0.5 / np.sqrt(z), lambda z: -0.25 * z**-1.5),
    (lambda z: 1 / z, lambda z: -(z**-2), lambda z: 2 * z**-3),
    (lambda z: z * sg.log(z), lambda z: np.log(z) + 1, lambda z: 1 / z),
    (lambda z: sg.exp(sg.log(sg.sqrt(z)) * 4), lambda z: 2 * z, lambda z: 2 + 0 * z),
]


@pytest.mark.parametrize(("unsafe", "first", "second"), UNSAFE)
@pytest.mark.parametrize("simplify", [False, True])
def test_elementwise_chain_to_second_order(unsafe: Any, first: Any, second: Any, simplify: bool) -> None:
    y = sg.where(x > 0, unsafe(x), 0)
    once = sg.grad(sg.sum(y), x, simplify=simplify)
    twice = sg.grad(sg.sum(once), x, simplify=simplify)
    safe = np.where(LIVE, AT, 1.0)
    np.testing.assert_allclose(evaluate(once, {x: AT}), np.where(LIVE, first(safe), 0), rtol=1e-13)
    np.testing.assert_allclose(evaluate(twice, {x: AT}), np.where(LIVE, second(safe), 0), rtol=1e-13, atol=1e-13)
    hessian = evaluate(sg.hessian(sg.sum(y), x, simplify=simplify), {x: AT})
    np.testing.assert_allclose(hessian, np.diag(np.where(LIVE, second(safe), 0)), rtol=1e-13, atol=1e-13)
    forward = sg.jvp(y, x, np.ones(4), simplify=simplify)
    np.testing.assert_allclose(evaluate(forward, {x: AT}), np.where(LIVE, first(safe), 0), rtol=1e-13)


@pytest.mark.parametrize("move", [
    lambda z: z.reshape(2, 2), lambda z: z.reshape(2, 2).T, lambda z: z[::-1], lambda z: z[1:], lambda z: z[::2],
    lambda z: sg.pad(z, (1, 2)),
    lambda z: sg.concatenate([z, z * 2]), lambda z: z[[0, 1, 1, 3]], lambda z: sg.broadcast_to(z, (3, 4)), lambda z: sg.stack([z, z]),
    lambda z: sg.diagonal(sg.stack([z, z])), lambda z: z[:, None], lambda z: sg.outer(z, sg.constant(np.ones(3))),
])  # fmt: skip
def test_masks_travel_through_movement(move: Any) -> None:
    moved = move(sg.log(x))
    y = sg.where(move(x) > 0, moved, 0)
    safe = sg.where(move(x) > 0, move(sg.log(sg.where(x > 0, x, 1))), 0)
    np.testing.assert_array_equal(gradient(y), gradient(safe))
    assert np.isfinite(gradient(y)).all()


@pytest.mark.parametrize("reduce", [
    lambda z: sg.sum(z, -1), lambda z: sg.mean(z, -1), lambda z: sg.max(z, -1), lambda z: sg.prod(z, -1), lambda z: sg.norm(z, axis=-1),
    lambda z: sg.logsumexp(z, -1), lambda z: sg.sum(sg.softmax(z)**2, -1), lambda z: sg.sum(sg.log_softmax(z)[:, :2], -1),
    lambda z: sg.sum(z, -1, keepdims=True)[:, 0], lambda z: sg.cumsum(z, 1)[:, -1], lambda z: sg.einsum("ij,ij->i", z, z),
])  # fmt: skip
def test_a_bad_row_does_not_spoil_the_others(reduce: Any) -> None:
    rows = sg.symbol("rows", (3, 4))
    at = np.abs(np.random.default_rng(0).normal(size=(3, 4))) + 0.1
    valid = np.array([True, False, True])
    y = sg.where(valid, reduce(sg.log(rows)), 0)
    bad = at.copy()
    bad[1] = 0.0
    expected = gradient(y, at, rows)
    assert (expected[1] == 0).all() and (expected[[0, 2]] != 0).any()
    np.testing.assert_array_equal(gradient(y, bad, rows), expected)


def test_one_nan_row_behind_a_contraction() -> None:
    X, w, keep = sg.symbol("X", ("n", 3)), sg.symbol("w", 3), sg.symbol("keep", "n", integer=True)
    data = np.random.default_rng(0).normal(size=(5, 3))
    spoilt = data.copy()
    spoilt[2] = np.nan
    valid = np.array([1, 1, 0, 1, 0])
    loss = sg.sum(sg.where(keep > 0, X @ w, 0) ** 2)
    values = {X: spoilt, w: np.array([1.0, -2.0, 0.5]), keep: valid}
    kept = data[valid > 0]
    np.testing.assert_allclose(evaluate(sg.grad(loss, w), values), 2 * kept.T @ (kept @ values[w]), rtol=1e-13)
    np.testing.assert_allclose(evaluate(sg.hessian(loss, w), values), 2 * kept.T @ kept, rtol=1e-13)
    to_data = evaluate(sg.grad(loss, X), values)
    assert np.isfinite(to_data).all() and (to_data[valid == 0] == 0).all()


def test_one_nan_row_behind_a_layer() -> None:
    X, W, keep = sg.symbol("X", ("n", 3)), sg.symbol("W", (3, 2)), sg.symbol("keep", ("n", 1), integer=True)
    data = np.random.default_rng(0).normal(size=(4, 3))
    data[1, 2] = np.inf
    loss = sg.sum(sg.where(keep > 0, sg.tanh(X @ W), 0) ** 2)
    weights = np.random.default_rng(1).normal(size=(3, 2))
    clean = data[[0, 2, 3]]
    hidden = np.tanh(clean @ weights)
    result = evaluate(sg.grad(loss, W), {X: data, W: weights, keep: [[1], [0], [1], [1]]})
    np.testing.assert_allclose(result, clean.T @ (2 * hidden * (1 - hidden**2)), rtol=1e-12)


def test_branches_that_share_a_node_add_up() -> None:
    y = sg.where(x > 0, sg.log(x), sg.exp(x)) + sg.where(x < 1, x * x, sg.sqrt(x))
    sg.check_grads(y, {x: np.array([-1.0, -0.5, 0.5, 2.0])})
    at = np.array([-1.0, 0.0, 0.5, 2.0])
    expected = np.where(at > 0, 1 / np.where(at > 0, at, 1), np.exp(at)) + np.where(at < 1, 2 * at, 0.5 / np.sqrt(np.maximum(at, 0.1)))
    np.testing.assert_allclose(gradient(y, at), expected, rtol=1e-14)


def test_masks_over_broadcast_operands() -> None:
    s = sg.symbol("s")
    y = sg.where(x > 0, sg.log(x) * s, s)
    value = evaluate(sg.grad(sg.sum(y), s), {x: AT, s: 3.0})
    np.testing.assert_allclose(value, np.log(AT[LIVE]).sum() + 2, rtol=1e-14)
    row = sg.symbol("row", (1, 4))
    z = sg.where(sg.stack([x > 0, x > 1]), sg.log(row), 0)
    expected = np.where(LIVE, 1 / np.where(LIVE, AT, 1), 0) + np.where(AT > 1, 1 / np.where(LIVE, AT, 1), 0)
    np.testing.assert_allclose(evaluate(sg.grad(sg.sum(z), row), {x: AT, row: AT[None]})[0], expected, rtol=1e-14)


def test_formulas_stay_clean() -> None:
    s, w = sg.symbols("s w")

    def wheres(e: sg.Expr) -> int:
        from symgrad.expr import topological

        return sum(n.op.name == "where" for n in topological(e))

    assert wheres(sg.grad(sg.where(s > 0, s, 0.01 * s), s, simplify=False)) == 1  # one where of both branches, no mask
    assert wheres(sg.grad(sg.where(s > 0, s, 0), s, simplify=False)) == 1
    assert wheres(sg.grad(sg.where(s > 0, w * sg.log(s) ** 2, 0), s, simplify=False)) == 1  # applied once, at the end
    assert wheres(sg.grad(sg.where(w > 0, 1.0, 2.0) * s, s, simplify=False)) == 1  # only the value's own
