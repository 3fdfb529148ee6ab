"""Update rules: what they say as formulas, and the same numbers as PyTorch's."""

from __future__ import annotations

import numpy as np
import pytest

import symgrad as sg
from symgrad.evaluate import evaluate

W, G = sg.symbol("w", 4), sg.symbol("g", 4)

RULES = {
    "SGD": (lambda lr: sg.optim.SGD(lr), lambda torch, p: torch.optim.SGD(p, 0.05)),
    "SGD, weight decay": (lambda lr: sg.optim.SGD(lr, weight_decay=0.1), lambda torch, p: torch.optim.SGD(p, 0.05, weight_decay=0.1)),
    "momentum": (lambda lr: sg.optim.SGD(lr, momentum=0.9), lambda torch, p: torch.optim.SGD(p, 0.05, momentum=0.9)),
    "Nesterov": (lambda lr: sg.optim.SGD(lr, momentum=0.8, nesterov=True, weight_decay=0.01),
                 lambda torch, p: torch.optim.SGD(p, 0.05, momentum=0.8, nesterov=True, weight_decay=0.01)),
    "Adam": (lambda lr: sg.optim.Adam(lr), lambda torch, p: torch.optim.Adam(p, 0.05)),
    "Adam, all numbers": (lambda lr: sg.optim.Adam(lr, beta1=0.8, beta2=0.99, eps=1e-4, weight_decay=0.1),
                          lambda torch, p: torch.optim.Adam(p, 0.05, betas=(0.8, 0.99), eps=1e-4, weight_decay=0.1)),
}


def run(optimizer, start, gradients):
    """The parameters after each update, by the evaluator."""
    (after,), states = optimizer.update([W], [G])
    numbers = {s.name: v for s, v in optimizer.numbers.items()}
    w, kept = start, {s.symbol.name: np.full(4, s.initial) for s in states}
    path = []
    for k, g in enumerate(gradients):
        known = {**numbers, **kept, "w": w, "g": g, "step": k}
        w, *new = evaluate([after, *(s.next for s in states)], known)
        kept = {s.symbol.name: v for s, v in zip(states, new, strict=True)}
        path.append(w)
    return np.array(path)


@pytest.mark.parametrize("name", RULES)
def test_fifty_updates_are_pytorchs(name):
    torch = pytest.importorskip("torch", reason="PyTorch is what the updates are compared with")
    ours, theirs = RULES[name]
    rng = np.random.default_rng(0)
    start, gradients = rng.normal(size=4), rng.normal(size=(50, 4))
    gradients[20:25] = 0.0
    p = torch.tensor(start, dtype=torch.float64, requires_grad=True)
    optimizer, expected = theirs(torch, [p]), []
    for g in gradients:
        p.grad = torch.tensor(g)
        optimizer.step()
        expected.append(p.detach().numpy().copy())
    np.testing.assert_allclose(run(ours(0.05), start, gradients), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", RULES)
def test_fifty_steps_of_training_are_pytorchs(name):
    torch = pytest.importorskip("torch", reason="PyTorch is what training is compared with")
    ours, theirs = RULES[name]
    rng = np.random.default_rng(1)
    data, target = rng.normal(size=(37, 3)), rng.normal(size=37)
    net = sg.nn.MLP(3, [5, 1], activation="tanh")
    start = net.init(seed=0)
    x, t = sg.symbol("x", ("n", 3)), sg.symbol("t", "n")
    fit = sg.fit(sg.nn.mse(net(x)[:, 0], t), start, {"x": data, "t": target}, optimizer=ours(0.05), epochs=50, progress=False)

    p = {k: torch.tensor(v, requires_grad=True) for k, v in start.items()}
    optimizer, losses = theirs(torch, list(p.values())), []
    for _ in range(50):
        optimizer.zero_grad()
        out = (torch.tanh(torch.tensor(data) @ p["W1"] + p["b1"]) @ p["W2"] + p["b2"])[:, 0]
        loss = ((out - torch.tensor(target)) ** 2).mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    np.testing.assert_allclose(fit.history["loss"], losses, rtol=1e-10)
    for k in start:
        np.testing.assert_allclose(fit.params[k], p[k].detach().numpy(), rtol=1e-8, atol=1e-10)


def test_a_learning_rate_that_is_an_expression_of_the_step():
    gradients = np.ones((3, 4))
    path = run(sg.optim.SGD(1.0 - 0.5 * sg.optim.step), np.zeros(4), gradients)
    np.testing.assert_allclose(path[:, 0], [-1.0, -1.5, -1.5])


def test_the_first_adam_step_is_the_learning_rate():
    path = run(sg.optim.Adam(0.01), np.zeros(4), np.array([[1e-3, -5.0, 200.0, 0.0]]))
    np.testing.assert_allclose(path[0], [-0.01, 0.01, -0.01, 0.0], rtol=1e-4)


def test_numbers_are_symbols_so_that_changing_them_changes_no_formula():
    a, b = (sg.optim.Adam(lr, beta1=beta1) for lr, beta1 in ((0.1, 0.9), (0.2, 0.5)))
    assert a.update([W], [G])[0][0] is b.update([W], [G])[0][0]
    assert list(a.numbers.values()) == [0.1, 0.9, 0.999, 1e-8]


def test_formulas_read_like_the_textbook():
    (after,), states = sg.optim.SGD(0.1).update([W], [G])
    assert str(after) == "w - lr*g" and states == []
    (after,), (velocity,) = sg.optim.SGD(0.1, momentum=0.9).update([W], [G])
    assert str(velocity.next) == "momentum*w.velocity + g"
    assert velocity.initial == 0.0 and velocity.symbol.shape == W.shape


def test_a_users_own_lr_is_not_the_optimizers():
    lr = sg.symbol("lr")
    (after,), _ = sg.optim.SGD(0.1).update([W], [lr * W])
    with pytest.raises(ValueError, match="lr"):
        after.free_symbols


@pytest.mark.parametrize("make, error", [
    (lambda: sg.optim.SGD(-0.1), ValueError),
    (lambda: sg.optim.SGD(float("nan")), ValueError),
    (lambda: sg.optim.SGD(float("inf")), ValueError),
    (lambda: sg.optim.SGD("0.1"), TypeError),
    (lambda: sg.optim.SGD(0.1, momentum=1.0), ValueError),
    (lambda: sg.optim.SGD(0.1, nesterov=True), ValueError),
    (lambda: sg.optim.SGD(sg.symbol("r", 3)), sg.ShapeError),
    (lambda: sg.optim.Adam(beta2=1.0), ValueError),
    (lambda: sg.optim.Adam(eps=-1.0), ValueError),
    (lambda: sg.optim.Adam().update([W], [sg.symbol("g", 3)]), sg.ShapeError),
])
def test_what_is_refused(make, error):
    with pytest.raises(error):
        make()
