"""Networks, initialisation and losses."""

from __future__ import annotations

import copy
import math
import pickle

import numpy as np
import pytest

import symgrad as sg
from symgrad.evaluate import evaluate

X = sg.symbol("x", ("n", 2))
RNG = np.random.default_rng(7)
POINTS = RNG.normal(size=(5, 2))

NUMPY = {
    "identity": lambda z: z,
    "relu": lambda z: np.maximum(z, 0),
    "leaky_relu": lambda z: np.where(z > 0, z, 0.01 * z),
    "elu": lambda z: np.where(z > 0, z, np.expm1(z)),
    "gelu": lambda z: z * 0.5 * (1 + np.vectorize(math.erf)(z / np.sqrt(2))),
    "silu": lambda z: z / (1 + np.exp(-z)),
    "softplus": lambda z: np.log1p(np.exp(z)),
    "tanh": np.tanh,
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
    "log_sigmoid": lambda z: -np.log1p(np.exp(-z)),
    "softmax": lambda z: np.exp(z) / np.exp(z).sum(-1, keepdims=True),
    "log_softmax": lambda z: z - np.log(np.exp(z).sum(-1, keepdims=True)),
    "erf": np.vectorize(math.erf),
    "sin": np.sin,
    "cos": np.cos,
    "square": np.square,
}


def test_parameters_in_order_with_their_shapes():
    net = sg.nn.MLP(2, [16, 3], activation="tanh")
    assert [(p.name, p.shape) for p in net.parameters] == [("W1", (2, 16)), ("b1", (16,)), ("W2", (16, 3)), ("b2", (3,))]
    assert list(net.init(seed=0)) == [p.name for p in net.parameters]
    assert net.size == 2 * 16 + 16 + 16 * 3 + 3
    assert net(X).shape == ("n", 3)


@pytest.mark.parametrize("name", NUMPY)
def test_a_network_is_what_numpy_computes(name):
    net = sg.nn.MLP(2, [4, 3], activation=name)
    p = net.init(seed=1)
    p["b1"] += RNG.normal(size=4)
    expected = NUMPY[name](POINTS @ p["W1"] + p["b1"]) @ p["W2"] + p["b2"]
    np.testing.assert_allclose(evaluate(net(X), {**p, "x": POINTS}), expected, rtol=1e-13, atol=1e-14)


def test_the_table_and_this_test_have_the_same_activations():
    assert set(sg.nn.ACTIVATIONS) == {*NUMPY, "maxout"}


def test_maxout_takes_the_larger_of_two_sums():
    net = sg.nn.MLP(2, [4, 3], activation="maxout")
    p = net.init(seed=1)
    assert p["W1"].shape == (2, 8)
    z = POINTS @ p["W1"] + p["b1"]
    expected = z.reshape(5, 4, 2).max(-1) @ p["W2"] + p["b2"]
    np.testing.assert_allclose(evaluate(net(X), {**p, "x": POINTS}), expected, rtol=1e-13)
    neuron = sg.nn.Neuron(2, "maxout")
    w = neuron.init(seed=2)
    np.testing.assert_allclose(evaluate(neuron(X), {**w, "x": POINTS}), (POINTS @ w["W"] + w["b"]).max(-1), rtol=1e-13)


def test_output_activation_and_callables():
    net = sg.nn.MLP(2, [4, 1], activation=lambda z: sg.tanh(2 * z), output="sigmoid")
    p = net.init(seed=1)
    z = np.tanh(2 * (POINTS @ p["W1"] + p["b1"])) @ p["W2"] + p["b2"]
    np.testing.assert_allclose(evaluate(net(X), {**p, "x": POINTS}), 1 / (1 + np.exp(-z)), rtol=1e-13)


def test_neuron_of_the_lecture():
    neuron = sg.nn.Neuron(2, "tanh")
    x = sg.symbol("x", 2)
    out = neuron(x)
    values = {"x": np.array([2.0, 0.0]), "w": np.array([-3.0, 1.0]), "b": 6.8813735870195432}
    assert float(evaluate(out, values)) == pytest.approx(0.7071067811865476, abs=1e-15)
    dw, db, dx = (evaluate(g, values) for g in sg.grad(out, [*neuron.parameters, x]))
    np.testing.assert_allclose(dw, [1.0, 0.0], atol=1e-15)
    np.testing.assert_allclose(dx, [-1.5, 0.5], atol=1e-15)
    assert float(db) == pytest.approx(0.5, abs=1e-15)


@pytest.mark.parametrize("make, error", [
    (lambda: sg.nn.MLP(2, [4], activation="rellu"), ValueError),
    (lambda: sg.nn.MLP(2, []), ValueError),
    (lambda: sg.nn.MLP(2, 16), ValueError),
    (lambda: sg.nn.MLP(0, [4]), ValueError),
    (lambda: sg.nn.MLP(2, [4.5]), TypeError),
    (lambda: sg.nn.MLP(2, [4], activation=3), TypeError),
    (lambda: sg.nn.Neuron(2, "softmax"), ValueError),
    (lambda: sg.nn.MLP(2, [4], name="1st"), ValueError),
    (lambda: sg.nn.MLP(2, [4]).init(scheme="he"), ValueError),
    (lambda: sg.nn.MLP(3, [4])(X), sg.ShapeError),
    (lambda: sg.nn.Neuron(3)(X), sg.ShapeError),
    (lambda: sg.nn.Linear(3, 1)(sg.symbol("s")), sg.ShapeError),
])
def test_what_is_refused(make, error):
    with pytest.raises(error):
        make()


def test_two_unnamed_networks_never_share_weights():
    a, b = sg.nn.MLP(2, [1]), sg.nn.MLP(2, [1])
    with pytest.raises(ValueError, match="name"):
        (a(X) + b(X)).free_symbols
    actor, critic = sg.nn.MLP(2, [1], name="actor"), sg.nn.MLP(2, [1], name="critic")
    assert [s.name for s in (actor(X) + critic(X)).free_symbols] == ["x", "actor.W1", "actor.b1", "critic.W1", "critic.b1"]
    with pytest.raises(ValueError, match="name"):
        (actor(X) + sg.nn.MLP(2, [1], name="actor")(X)).free_symbols


@pytest.mark.parametrize("twin", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
def test_a_copied_or_pickled_network_is_the_same_network(twin):
    net = sg.nn.MLP(2, [4, 1], activation="maxout", name="q")
    assert twin(net).parameters == net.parameters
    assert twin(net)(X) is net(X)


def test_initial_values_depend_on_the_seed_alone():
    a, b, c = sg.nn.MLP(2, [4, 1]).init(seed=3), sg.nn.MLP(2, [4, 1]).init(seed=3), sg.nn.MLP(2, [4, 1]).init(seed=4)
    assert all(np.array_equal(a[k], b[k]) for k in a)
    assert not np.array_equal(a["W1"], c["W1"])
    assert all(v.dtype == np.float64 for v in a.values())
    assert not a["b1"].any()


@pytest.mark.parametrize("activation, scheme, variance", [
    ("relu", None, 2 / 300), ("tanh", None, 2 / 500), ("relu", "he_normal", 2 / 300), ("relu", "glorot_uniform", 2 / 500),
    ("tanh", "glorot_normal", 2 / 500), ("gelu", None, 2 / 300), ("relu", "zeros", 0.0),
])
def test_initial_variance(activation, scheme, variance):
    w = sg.nn.MLP(300, [200, 1], activation=activation).init(seed=0, scheme=scheme)["W1"]
    assert w.var() == pytest.approx(variance, rel=0.03)  # 60,000 draws: the standard error of the variance is below 1 %
    assert abs(w.mean()) < 4 * np.sqrt(variance / w.size) + 1e-15


def test_the_signal_keeps_its_size_through_many_layers():
    net = sg.nn.MLP(100, [100] * 12, activation="relu")
    x = RNG.normal(size=(50, 100))
    out = evaluate(net(sg.symbol("x", ("n", 100))), {**net.init(seed=0), "x": x})
    assert 0.2 < out.std() / np.sqrt(2) < 5


def test_l1_and_l2_sum_over_weights_and_biases():
    net = sg.nn.MLP(2, [3, 1])
    p = net.init(seed=0)
    p["b1"] += 0.5
    assert float(evaluate(net.l2(), p)) == pytest.approx(sum((v**2).sum() for v in p.values()), rel=1e-14)
    assert float(evaluate(net.l1(), p)) == pytest.approx(sum(abs(v).sum() for v in p.values()), rel=1e-14)


# --- losses ------------------------------------------------------------------------------------------

P, T = sg.symbol("p", "n"), sg.symbol("t", "n")
LABEL = sg.symbol("k", "n", integer=True)
LOGITS = sg.symbol("z", ("n", 3))


def value_and_slope(loss, wrt, **values):
    return float(evaluate(loss, values)), evaluate(sg.grad(loss, wrt), values)


@pytest.mark.parametrize("loss", [sg.nn.mse, sg.nn.mae, sg.nn.huber, sg.nn.hinge, sg.nn.binary_cross_entropy, sg.nn.cross_entropy])
@pytest.mark.parametrize("shapes", [(("n", 1), ("n",)), (("n",), ("n", 1)), ((3, 1), (3, 4)), ((4, 3), (4, 2)), (("n", 1), ("n", "m"))])
def test_shapes_must_match(loss, shapes):
    with pytest.raises(sg.ShapeError):
        loss(sg.symbol("a", shapes[0]), sg.symbol("b", shapes[1]))


def test_the_hint_for_a_column():
    with pytest.raises(sg.ShapeError, match=r"prediction\[\.\.\., 0\]"):
        sg.nn.mse(sg.symbol("a", ("n", 1)), T)


@pytest.mark.parametrize("shape", [(), ("n",), ("n", 2), (2, 3, 2)])
@pytest.mark.parametrize("loss, formula", [
    (sg.nn.mse, lambda p, t: np.mean((p - t) ** 2)),
    (sg.nn.mae, lambda p, t: np.mean(abs(p - t))),
    (sg.nn.huber, lambda p, t: np.mean(np.where(abs(p - t) <= 1, (p - t) ** 2 / 2, abs(p - t) - 0.5))),
    (sg.nn.hinge, lambda p, t: np.mean(np.maximum(1 - p * t, 0))),
    (sg.nn.binary_cross_entropy, lambda p, t: np.mean(np.log1p(np.exp(p)) - p * t)),
])
def test_the_mean_over_all_elements(loss, formula, shape):
    p, t = sg.symbol("p", shape), sg.symbol("t", shape)
    size = tuple(4 if d == "n" else d for d in shape)
    values = {"p": RNG.normal(size=size) * 2, "t": RNG.uniform(0, 1, size=size)}
    assert float(evaluate(loss(p, t), values)) == pytest.approx(float(formula(values["p"], values["t"])), rel=1e-14)


@pytest.mark.parametrize("r, value, slope", [(0, 0, 0), (1, 0.5, 1), (-1, 0.5, -1), (1e200, 1e200, 1), (-3, 2.5, -1)])
def test_huber_at_the_hard_points(r, value, slope):
    assert value_and_slope(sg.nn.huber(P, T), P, p=[r], t=[0.0]) == (value, slope)


def test_huber_with_another_delta():
    v, s = value_and_slope(sg.nn.huber(P, T, delta=2.0), P, p=[5.0, 1.0], t=[0.0, 0.0])
    assert v == pytest.approx((2 * (5 - 1) + 0.5) / 2)
    np.testing.assert_allclose(s, [1.0, 0.5])
    with pytest.raises(ValueError, match="positive"):
        sg.nn.huber(P, T, delta=0.0)


@pytest.mark.parametrize("p, value, slope", [(1, 0, 0), (0.5, 0.5, -1), (3, 0, 0), (-2, 3, -1)])
def test_hinge_has_relus_kink(p, value, slope):
    assert value_and_slope(sg.nn.hinge(P, T), P, p=[p], t=[1.0]) == (value, slope)


def test_mae_is_flat_at_zero():
    assert value_and_slope(sg.nn.mae(P, T), P, p=[2.0], t=[2.0]) == (0, 0)


@pytest.mark.parametrize("x, y, value, slope", [
    (1000, 0, 1000, 1), (-1000, 1, 1000, -1), (0, 0.5, math.log(2), 0), (1000, 1, 0, 0), (-1000, 0, 0, 0),
    (40, 1, 4.248354255291589e-18, -4.248354255291589e-18), (-40, 0, 4.248354255291589e-18, 4.248354255291589e-18),
])
def test_binary_cross_entropy_keeps_relative_accuracy(x, y, value, slope):
    v, s = value_and_slope(sg.nn.binary_cross_entropy(P, T), P, p=[float(x)], t=[float(y)])
    assert v == pytest.approx(value, rel=1e-15, abs=0)
    assert float(s[0]) == pytest.approx(slope, rel=1e-15, abs=0)


@pytest.mark.parametrize("label, value, slope", [(1, 1000.0, [1.0, -1.0]), (0, 0.0, [0.0, 0.0])])
def test_cross_entropy_at_a_thousand(label, value, slope):
    z = sg.symbol("z", ("n", 2))
    v, s = value_and_slope(sg.nn.cross_entropy(z, LABEL), z, z=[[1000.0, 0.0]], k=[label])
    assert v == value
    np.testing.assert_array_equal(s, [slope])


def test_labels_and_probabilities_agree():
    z, k = RNG.normal(size=(6, 3)), np.array([0, 1, 2, 2, 1, 0])
    probabilities = sg.symbol("q", ("n", 3))
    by_label = value_and_slope(sg.nn.cross_entropy(LOGITS, LABEL), LOGITS, z=z, k=k)
    by_row = value_and_slope(sg.nn.cross_entropy(LOGITS, probabilities), LOGITS, z=z, q=np.eye(3)[k])
    logp = z - np.log(np.exp(z).sum(1, keepdims=True))
    assert by_label[0] == pytest.approx(-logp[np.arange(6), k].mean(), rel=1e-14)
    assert by_row[0] == pytest.approx(by_label[0], rel=1e-14)
    np.testing.assert_allclose(by_label[1], (np.exp(logp) - np.eye(3)[k]) / 6, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(by_row[1], by_label[1], rtol=1e-12, atol=1e-15)


def test_cross_entropy_means_over_all_sample_axes():
    z, k = sg.symbol("z", ("n", 4, 3)), sg.symbol("k", ("n", 4), integer=True)
    values = {"z": RNG.normal(size=(2, 4, 3)), "k": RNG.integers(0, 3, (2, 4))}
    logp = values["z"] - np.log(np.exp(values["z"]).sum(-1, keepdims=True))
    expected = -np.take_along_axis(logp, values["k"][..., None], -1).mean()
    assert float(evaluate(sg.nn.cross_entropy(z, k), values)) == pytest.approx(expected, rel=1e-14)
    with pytest.raises(sg.ShapeError, match="labels"):
        sg.nn.cross_entropy(z, LABEL)
    with pytest.raises(sg.ShapeError, match="classes"):
        sg.nn.cross_entropy(sg.symbol("s"), sg.symbol("u", integer=True))


@pytest.mark.parametrize("mode", ["tile", "loops", "blas"])
@pytest.mark.parametrize("wrong", [-1, 3])
def test_a_label_out_of_range_is_refused_at_the_call(mode, wrong):
    x, t = sg.symbol("x", ("n", 3)), sg.symbol("t", ("n",), integer=True)
    f = sg.compile(sg.nn.cross_entropy(x, t), wrt=x, mode=mode)
    assert f(x=np.zeros((5, 3)), t=[0, 1, 2, 1, 0]) == pytest.approx(np.log(3))
    for call in (f, f.grad):
        with pytest.raises(IndexError, match="label is out of range: with 3 classes"):
            call(x=np.zeros((5, 3)), t=[0, 1, 2, wrong, 0])
    with pytest.raises(IndexError, match=f"label {wrong} is outside 0 … 2: there are 3 classes"):
        evaluate(sg.nn.cross_entropy(x, t), {"x": np.zeros((1, 3)), "t": np.array([wrong])})
