"""The sweeps: structure of results, composition, refusals, size; EDGES rows 13, 20 to 23."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import symgrad as sg
from symgrad import differentiate
from symgrad.evaluate import evaluate
from symgrad.expr import OPS, Op, apply, register, topological

x, w = sg.symbols("x w")
v = sg.symbol("v", 3)
AT = np.array([0.3, -1.2, 2.0])


def number(expr: sg.Expr, **values: Any) -> float:
    return float(evaluate(expr, values))


# --- structure -------------------------------------------------------------------------------------


def test_results_have_the_structure_of_wrt() -> None:
    y = sg.sin(x) * w
    assert isinstance(sg.grad(y, x), sg.Expr)
    assert [type(sg.grad(y, s)) for s in ([x, w], (x, w))] == [list, tuple]
    by_name = sg.grad(y, {"first": x, "second": w})
    assert list(by_name) == ["first", "second"] and by_name["first"] is sg.grad(y, x)
    assert sg.grad(y, "w") is sg.grad(y, w)
    assert sg.grad(y, []) == []


def test_intermediate_nodes() -> None:
    h = x * w
    y = sg.sin(h) + h
    assert number(sg.grad(y, h), x=0.5, w=0.25) == pytest.approx(np.cos(0.125) + 1)
    assert sg.grad(y, y, simplify=False) is sg.constant(1.0)
    to_h, to_x = sg.grad(y, [h, x])
    assert number(to_x, x=0.5, w=0.25) == pytest.approx(0.25 * number(to_h, x=0.5, w=0.25))


def test_adjoints_of_branches_add_up() -> None:
    assert number(sg.grad(x + x, x), x=3.0) == 2
    y = x * w + (x + w)
    assert [number(g, x=2.0, w=-3.0) for g in sg.grad(y, [x, w])] == [-2, 3]


def test_named_nodes_are_seen_through_and_can_be_asked_for() -> None:
    h = (x * w).named("hidden")
    y = h * h
    assert number(sg.grad(y, x), x=2.0, w=3.0) == 36
    assert number(sg.grad(y, h), x=2.0, w=3.0) == 12


def test_stop_gradient_stops() -> None:
    y = sg.stop_gradient(x * x) * x
    assert number(sg.grad(y, x), x=3.0) == 9
    assert number(sg.jvp(y, x, 1.0), x=3.0) == 9
    assert number(sg.grad(sg.stop_gradient(x), x), x=3.0) == 0


def test_integer_operands_get_no_gradient() -> None:
    i = sg.symbol("i", "n", integer=True)
    m = sg.symbol("m", ("n", 3))
    y = sg.sum(m[sg.arange("n"), i] * i)
    assert evaluate(sg.grad(y, m), {m: np.zeros((2, 3)), i: [2, 1]}).tolist() == [[0, 0, 2], [0, 1, 0]]
    with pytest.raises(TypeError, match="integer"):
        sg.grad(y, i)


# --- refusals --------------------------------------------------------------------------------------


def test_row_13() -> None:
    with pytest.raises(sg.ShapeError, match=r"sg\.jacobian"):
        sg.grad(v * 2, v)


def test_row_20() -> None:
    with pytest.raises(ValueError, match=r"q.*known are x, w"):
        sg.grad(x * w, "q")
    with pytest.raises(ValueError, match=r"mul node.*does not occur"):
        sg.grad(sg.sin(x), x * w)
    for derivative in (sg.jacobian, sg.hessian):
        with pytest.raises(ValueError, match="does not occur"):
            derivative(sg.sin(x), x * w)


def test_row_21() -> None:
    m = sg.symbol("m", ("n", 2))
    zeros = sg.grad(x * w, m)
    assert zeros.shape == ("n", 2)
    assert (evaluate(zeros, {m: np.ones((3, 2))}) == 0).all()
    assert float(sg.grad(x, w)) == 0
    assert evaluate(sg.jacobian(v * v, w), {v: AT}).tolist() == [0, 0, 0]
    assert evaluate(sg.hessian(x * w, x), {"x": 1.0, "w": 1.0}) == 0
    assert float(sg.jvp(x, w, 1.0)) == 0


def test_two_symbols_of_one_name() -> None:
    with pytest.raises(ValueError, match="two different symbols"):
        sg.grad(x * sg.sum(v), sg.symbol("x", 3))


def test_directions_must_fit() -> None:
    for call in (lambda: sg.jvp(v * v, v, 1.0), lambda: sg.vjp(v * v, v, np.ones(4)), lambda: sg.hvp(sg.sum(v), v, np.ones((3, 1)))):
        with pytest.raises(sg.ShapeError, match="shape"):
            call()
    with pytest.raises(ValueError, match="1 directions for 2 nodes"):
        sg.jvp(x * w, [x, w], [1.0])


@pytest.fixture
def faulty_ops() -> Any:
    names = []

    def make(**fields: Any) -> Op:
        names.append(f"faulty{len(names)}")
        return register(Op(name=names[-1], **fields))

    yield make
    for name in names:
        del OPS[name]


def test_a_missing_or_wrong_rule_fails_loudly(faulty_ops: Any) -> None:
    missing, short = faulty_ops(), faulty_ops(arity=2, derivative=lambda g, y, a, b: (g,))
    with pytest.raises(NotImplementedError, match=r"'faulty0'.*symgrad/ops/elementwise"):
        sg.grad(apply(missing, x), x)
    with pytest.raises(ValueError, match="'faulty1' gave 1 entries for 2 operands"):
        sg.grad(apply(short, x, w), x)
    assert float(sg.grad(apply(missing, x) * 0 + w, w)) == 1  # not on the way: not asked


# --- composition -----------------------------------------------------------------------------------


def test_jvp_vjp_hvp() -> None:
    y = sg.softmax(v) * sg.exp(-v)
    J = evaluate(sg.jacobian(y, v), {v: AT})
    direction = np.array([1.0, -2.0, 0.5])
    np.testing.assert_allclose(evaluate(sg.jvp(y, v, direction), {v: AT}), J @ direction, rtol=1e-13)
    np.testing.assert_allclose(evaluate(sg.vjp(y, v, direction), {v: AT}), direction @ J, rtol=1e-13)
    H = evaluate(sg.hessian(sg.sum(y), v), {v: AT})
    np.testing.assert_allclose(H, H.T, atol=1e-14)
    np.testing.assert_allclose(evaluate(sg.hvp(sg.sum(y), v, direction), {v: AT}), H @ direction, rtol=1e-12)


def test_several_inputs() -> None:
    y = sg.sum(v * v) * x
    H = sg.hessian(y, [v, x])
    assert [[e.shape for e in row] for row in H] == [[(3, 3), (3,)], [(3,), ()]]
    at = {v: AT, x: 2.0}
    np.testing.assert_allclose(evaluate(H[0][1], at), 2 * AT)
    pair = sg.hvp(y, (v, x), (np.ones(3), 1.0))
    np.testing.assert_allclose(evaluate(pair[0], at), 4 * np.ones(3) + 2 * AT)
    np.testing.assert_allclose(float(evaluate(sg.jvp(y, [v, x], [np.ones(3), 1.0]), at)), 4 * AT.sum() + AT @ AT)


def test_grad_of_grad_of_grad() -> None:
    y = sg.exp(sg.sin(x))
    for order in range(4):
        expected = [1.0, np.cos(0.4), np.cos(0.4) ** 2 - np.sin(0.4), np.cos(0.4) ** 3 - 3 * np.sin(0.4) * np.cos(0.4) - np.cos(0.4)][order]
        assert number(y, x=0.4) == pytest.approx(np.exp(np.sin(0.4)) * expected, rel=1e-13)
        y = sg.grad(y, x)


JACOBIANS = [
    lambda m: sg.sum(m, 1), lambda m: m @ m[0], lambda m: sg.exp(m), lambda m: sg.softmax(m, 0), lambda m: m.reshape(-1)[::2],
    lambda m: m.T @ m,
    lambda m: sg.concatenate([m, m * m], 1), lambda m: m[[0, 1, 1], [2, 0, 1]], lambda m: sg.pad(m, 1), lambda m: sg.cumsum(m, 1)[:, :2],
    lambda m: sg.prod(m, 1), lambda m: sg.max(m, 0), lambda m: sg.norm(m), lambda m: sg.diagonal(m @ m.T), lambda m: sg.mean(m) * m[0],
    lambda m: sg.logsumexp(m, 1, keepdims=True) - m, lambda m: sg.where(m > 0, sg.log(sg.abs(m)), m), lambda m: sg.einsum("ij,kj->", m, m),
    lambda m: sg.broadcast_to(m[:, :1], m.shape) * sg.arange(3), lambda m: sg.std(m, 1),
]  # fmt: skip


@pytest.mark.parametrize("build", JACOBIANS)
@pytest.mark.parametrize("rows", [2, "n"])
def test_jacobians_by_rows_and_by_columns(build: Any, rows: Any) -> None:
    m = sg.symbol("m", (rows, 3))
    at = {m: np.random.default_rng(0).normal(size=(2, 3)) + np.eye(2, 3)}
    y = build(m)
    J = sg.jacobian(y, m)
    assert J.shape == y.shape + m.shape
    (by_rows,), by_columns = differentiate._jacobians_by_rows(y, [m]), differentiate._jacobian_by_columns(y, m)
    value = evaluate(y, at)
    results = [evaluate(e, at) for e in (by_rows, by_columns, J)]
    columns = []
    for k in range(6):
        step = np.zeros(6)
        step[k] = 1e-6
        step = step.reshape(2, 3)
        columns.append((evaluate(y, {m: at[m] + step}) - evaluate(y, {m: at[m] - step})) / 2e-6)
    expected = np.stack(columns, -1).reshape((*value.shape, 2, 3))
    for result in results:
        np.testing.assert_allclose(result, expected, rtol=1e-6, atol=1e-8)


def test_jacobian_takes_the_cheaper_sweep() -> None:
    tall, wide = sg.stack([x, x * x, sg.sin(x)]), sg.sum(v * v)
    assert sg.jacobian(tall, x).shape == (3,)
    assert not any(n.op.name == "eye" for n in topological(sg.jacobian(tall, x), sg.jacobian(wide, v)))


def test_jacobian_of_a_jacobian() -> None:
    H = sg.jacobian(sg.jacobian(sg.sum(v**3), v), v)
    np.testing.assert_allclose(evaluate(H, {v: AT}), np.diag(6 * AT), atol=1e-14)
    T = sg.jacobian(sg.hessian(sg.prod(v), v), v)
    assert T.shape == (3, 3, 3)
    assert evaluate(T, {v: AT})[0, 1, 2] == 1 and evaluate(T, {v: AT})[0, 0].tolist() == [0, 0, 0]


def test_against_jax() -> None:
    jax = pytest.importorskip("jax", reason="JAX is not installed")
    jax.config.update("jax_enable_x64", True)
    jnp = jax.numpy
    random = np.random.default_rng(0)
    X, W, U = random.normal(size=(5, 3)), random.normal(size=(3, 4)), random.normal(size=(4,))
    a, b, c = sg.symbol("X", ("n", 3)), sg.symbol("W", (3, 4)), sg.symbol("U", 4)

    def loss(np_: Any, X: Any, W: Any, U: Any, log_softmax: Any) -> Any:
        h = np_.tanh(X @ W) * U
        p = log_softmax(h)
        return np_.mean(p[:, 1] * np_.max(h, axis=1)) + np_.sum(h[1:] * h[:-1]) - np_.linalg.norm(h[0])

    ours = loss(np, a, b, c, sg.log_softmax)
    theirs = lambda X, W, U: loss(jnp, X, W, U, lambda h: jax.nn.log_softmax(h))  # noqa: E731
    at = {a: X, b: W, c: U}
    for mine, expected in zip(evaluate(sg.grad(ours, [a, b, c]), at), jax.grad(theirs, (0, 1, 2))(X, W, U), strict=True):
        np.testing.assert_allclose(mine, expected, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(evaluate(sg.hessian(ours, c), at), jax.hessian(theirs, 2)(X, W, U), rtol=1e-10, atol=1e-12)


# --- size ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("depth", "simplify"), [(100_000, False), (5_000, True)])
def test_row_22_a_deep_chain(depth: int, simplify: bool) -> None:
    y = x
    for k in range(depth):
        y = sg.sin(y) if k % 2 else y * 1.01
    assert len(topological(sg.grad(y, x, simplify=simplify))) < 4 * depth


def test_row_23_repeated_squaring() -> None:
    y = x
    for _ in range(60):
        y = y * y
    gradient = sg.grad(y, x, simplify=False)
    assert len(topological(gradient)) < 400
    assert number(gradient, x=1.0) == 2.0**60


def test_no_expression_swell() -> None:
    random = np.random.default_rng(0)
    inputs = list(sg.symbols("a b c d"))
    nodes = list(inputs)
    for _ in range(500):
        i, j = random.integers(0, len(nodes), 2)
        nodes.append([sg.tanh(nodes[i]), nodes[i] * nodes[j], nodes[i] - nodes[j], sg.sin(nodes[i])][random.integers(4)])
    y = sg.sum(sg.stack(nodes))
    count = len(topological(y))
    assert len(topological(*sg.grad(y, inputs, simplify=False))) < 8 * count
    assert len(topological(*sg.grad(y, inputs))) < 8 * count


def test_thousands_of_contributions_make_no_deep_sum() -> None:
    y = sg.sum(sg.stack([sg.sin(x * float(k)) for k in range(3000)]))
    gradient = sg.grad(y, x, simplify=False)
    depth: dict[sg.Expr, int] = {}
    for node in topological(gradient):
        depth[node] = 1 + max((depth[a] for a in node.args), default=0)
    assert depth[gradient] < 60
    assert number(gradient, x=0.0) == pytest.approx(3000 * 2999 / 2)
    assert sg.grad(y, x, simplify=False) is gradient


# --- check_grads -----------------------------------------------------------------------------------


def test_check_grads_finds_a_wrong_rule(faulty_ops: Any) -> None:
    wrong_first = faulty_ops(derivative=lambda g, y, x: (g * 2.0,), evaluate=np.sin)
    wrong_second = faulty_ops(derivative=lambda g, y, x: (g * sg.cos(sg.stop_gradient(x)),), evaluate=np.sin)
    sg.check_grads(sg.sin(v) * x, {v: AT, x: 0.5})
    with pytest.raises(AssertionError, match=r"order 1, reverse mode: derivative .* central difference"):
        sg.check_grads(apply(wrong_first, x), {x: 0.5})
    sg.check_grads(apply(wrong_second, x), {"x": 0.5}, order=1)
    with pytest.raises(AssertionError, match="order 2"):
        sg.check_grads(apply(wrong_second, x), {"x": 0.5})


def test_printed_derivatives() -> None:
    y = 3 * x**2 - 4 * x + 5
    assert str(sg.grad(y, x)) == "6*x - 4"
    assert str(sg.grad(sg.sum(v * v), v)) == "2*v"
    assert str(sg.grad(2.0 * x * x + 0.5 * x, x)) == "4*x + 0.5"
    assert str(sg.jvp(x * x, x, w)) == "2*x*w"
    X, t = sg.symbol("X", ("n", 3)), sg.symbol("t", "n")
    assert str(sg.grad(sg.sum((X @ v - t) ** 2), v)) == "2*X.T @ (X @ v - t)"


def test_simplify_false_is_the_bare_chain_rule() -> None:
    assert str(sg.grad(sg.tanh(x), x, simplify=False)) == "1.0*(1 - tanh(x)**2)"
    assert number(sg.grad(3 * x**2 - 4 * x + 5, x, simplify=False), x=3.0) == 14


def test_simplified_products_can_be_differentiated_again() -> None:
    """An axis that simplification takes from one operand is summed in the other: no product has it on one side alone."""
    X, A = sg.symbol("X", ("n", 3)), sg.symbol("A", (3, 4))
    y = sg.sum(sg.tanh(sg.sum(sg.tanh(X) @ sg.tanh(A), axis=1, keepdims=True)))
    rng = np.random.default_rng(0)
    at = {X: rng.normal(size=(5, 3)), A: rng.normal(size=(3, 4))}
    for found, bare in zip(sg.hessian(y, [X, A])[0], sg.hessian(y, [X, A], simplify=False)[0]):
        np.testing.assert_allclose(evaluate(found, at), evaluate(bare, at), rtol=1e-12, atol=1e-12)
