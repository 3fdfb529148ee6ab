"""Training a multi-layer perceptron, by symgrad, JAX, PyTorch and NumPy: what the workloads of networks share.

All start from the same weights, take the same minibatches in the same order, and follow the same learning rate; a unit is one step.
What they must agree on is the loss and every parameter after a few steps.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from symgrad.bench.records import Case, Contestant

__all__ = ["Array", "Task", "by_jax", "by_numpy", "by_symgrad", "by_torch", "outcome"]

Array = np.ndarray[Any, Any]
BETA1, BETA2 = 0.9, 0.999
EPS = 1e-12  # so small that it does not matter whether it is added before the bias correction, as scikit-learn does, or after it


@dataclass(frozen=True)
class Task:
    """A network, its data and its training.

    ``loss``: "hinge" (targets ±1, one output) or "cross_entropy" (labels). ``optimizer``: "sgd" or "adam". The learning rate falls
    from ``rate`` by the part ``decay`` over the steps of a run. ``checked``: the numbers of steps after which results are compared.
    """

    sizes: tuple[int, ...]
    samples: int
    batch: int
    activation: str = "relu"
    loss: str = "cross_entropy"
    optimizer: str = "sgd"
    rate: float = 0.1
    decay: float = 0.0
    penalty: float = 0.0
    data: str = "blobs"
    checked: tuple[int, ...] = (2, 20)

    @staticmethod
    def of(case: Case) -> Task:
        """The task that a case's parameters describe (others are a contestant's own)."""
        return Task(**{k: v for k, v in case.parameters.items() if k in Task.__dataclass_fields__})

    def parameters(self) -> dict[str, Any]:
        """What :meth:`of` reads."""
        return asdict(self)

    @property
    def batches(self) -> int:
        """Minibatches in an epoch; all are full."""
        return self.samples // self.batch

    @property
    def names(self) -> list[str]:
        """Of the parameters, in the order of the layers."""
        return [f"{kind}{k}" for k in range(1, len(self.sizes)) for kind in "Wb"]

    def flops(self) -> float:
        """Of the matrix products of one step; the first layer's input needs no gradient."""
        products = [a * b for a, b in zip(self.sizes, self.sizes[1:])]
        return 2.0 * self.batch * (3 * sum(products) - products[0])

    def start(self, dtype: str) -> dict[str, Array]:
        """The weights that all begin with."""
        rng = np.random.default_rng(0)
        pairs = list(zip(self.sizes, self.sizes[1:]))
        found: dict[str, Array] = {}
        for k, (inputs, outputs) in enumerate(pairs, start=1):
            found[f"W{k}"] = rng.uniform(-1, 1, (inputs, outputs)) / math.sqrt(inputs)
            found[f"b{k}"] = rng.uniform(-1, 1, outputs) / math.sqrt(inputs)
        return {name: value.astype(dtype) for name, value in found.items()}

    def examples(self, dtype: str) -> tuple[Array, Array]:
        """Inputs (samples, inputs) and targets, in the order in which minibatches take them."""
        x, t = _moons(self.samples) if self.data == "moons" else self._blobs()
        return x.astype(dtype), t if self.loss == "cross_entropy" else t.astype(dtype)

    def _blobs(self) -> tuple[Array, Array]:
        """Noisy points of the unit cube, around one for each class."""
        rng = np.random.default_rng(1)
        inputs, outputs = self.sizes[0], self.sizes[-1]
        labels = rng.integers(0, outputs, self.samples)
        return np.clip(rng.random((outputs, inputs))[labels] + rng.normal(0, 0.3, (self.samples, inputs)), 0, 1), labels

    def rates(self, count: int) -> Callable[[int], float]:
        """The learning rate of each step of a run."""
        return lambda k: (1.0 - self.decay * k / count) * self.rate

    def turns(self) -> int:
        """A number of steps that takes about 8 ms, for contestants whose count is compiled in: a multiple of an epoch."""
        steps = 0.008 / max(self.flops() / 10e9, 3e-6)
        return max(1, round(steps / self.batches)) * self.batches


def _moons(samples: int) -> tuple[Array, Array]:
    """Two moons with targets ±1: scikit-learn's make_moons, without needing it."""
    rng = np.random.default_rng(1337)
    angle = np.linspace(0, np.pi, samples // 2)
    outer = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    inner = np.stack([1 - np.cos(angle), 0.5 - np.sin(angle)], axis=1)
    points = np.concatenate([outer, inner]) + rng.normal(0, 0.1, (2 * (samples // 2), 2))
    order = rng.permutation(len(points))
    return points[order], np.repeat([-1.0, 1.0], samples // 2)[order]


Trained = tuple[float | None, Mapping[str, Any]]  # the last step's loss (of a full batch), and the parameters after it


def outcome(task: Task, train: Callable[[int], Trained], checked: tuple[int, ...] = ()) -> dict[str, Any]:
    """What contestants agree on: the loss and the parameters after some numbers of steps."""
    found: dict[str, Any] = {}
    for steps in checked or task.checked:
        loss, parameters = train(steps)
        if loss is not None:
            found[f"loss after {steps} steps"] = loss
        found.update({f"{name} after {steps} steps": np.asarray(value) for name, value in parameters.items() if name in task.names})
    return found


def contest(task: Task, train: Callable[[int], Trained], begun: float, count: int = 0, stride: int = 1) -> Contestant:
    """A contestant of a function that trains for so many steps; it is called once here, so that what compiles has compiled."""
    train(count or 1)
    return Contestant(train, lambda: outcome(task, train), time.perf_counter() - begun, count=count, stride=stride)


# --- symgrad ---------------------------------------------------------------------------------------


def by_symgrad(case: Case, mode: str = "auto") -> Contestant:
    """What ``sg.fit`` runs; ``mode`` forces a kind of kernels, as in ``sg.compile``."""
    import symgrad as sg

    task = Task.of(case)
    x, t = task.examples(case.dtype)
    start = task.start(case.dtype)
    net = sg.nn.MLP(task.sizes[0], list(task.sizes[1:]), activation=task.activation)
    xs = sg.symbol("x", ("n", task.sizes[0]))
    ts = sg.symbol("t", "n", integer=task.loss == "cross_entropy")
    rate, steps = sg.symbol("lr"), sg.symbol("steps")
    out = net(xs)
    loss = getattr(sg.nn, task.loss)(out[:, 0] if task.loss == "hinge" else out, ts)
    if task.penalty:
        loss = loss + task.penalty * net.l2()
    lr = (1.0 - task.decay * sg.optim.step / steps) * rate if task.decay else rate
    optimizer = sg.optim.SGD(lr) if task.optimizer == "sgd" else sg.optim.Adam(lr, BETA1, BETA2, EPS)
    begun = time.perf_counter()
    values = {"x": x, "t": t, "lr": task.rate, **({"steps": 1.0} if task.decay else {})}
    training = sg.train.prepare(
        loss, start, values, optimizer=optimizer, epochs=1, batch_size=task.batch, shuffle=False, dtype=case.dtype, threads=case.threads,
        mode=mode,
    )  # fmt: skip
    arrays, numbers = training.problem.arrays, dict(training.numbers)
    fixed = {"samples": task.samples, "batch_size": task.batch, "shuffle": False, "seed": 0, "first_step": 0}

    def train(count: int) -> Trained:
        state = {name: array.copy() for name, array in training.state.items()}
        if task.decay:
            numbers["steps"] = float(count)
        losses = np.zeros(-(-count // task.batches))
        training.loop(state, arrays, numbers, **fixed, steps=count, losses=losses)
        # The loop adds up an epoch's losses; the last step's alone is what a full batch reports.
        return float(losses[-1]) if task.batches == 1 else None, state

    return contest(task, train, begun)


# --- NumPy -----------------------------------------------------------------------------------------


def by_numpy(case: Case) -> Contestant:
    """The chain rule by hand, one operation at a time: what a person would write."""
    task = Task.of(case)
    x, t = task.examples(case.dtype)
    start = task.start(case.dtype)
    forward, slope = ACTIVATIONS[task.activation]
    depth = len(task.sizes) - 1

    def gradients(p: dict[str, Array], x: Array, t: Array) -> tuple[float, dict[str, Array]]:
        layers = [x]
        for k in range(1, depth + 1):
            z = layers[-1] @ p[f"W{k}"] + p[f"b{k}"]
            layers.append(forward(z) if k < depth else z)
        loss, d = LOSSES[task.loss](layers[-1], t)
        found = {}
        for k in range(depth, 0, -1):
            found[f"W{k}"], found[f"b{k}"] = layers[k - 1].T @ d, d.sum(0)
            if k > 1:
                d = (d @ p[f"W{k}"].T) * slope(layers[k - 1])
        if task.penalty:
            loss += task.penalty * sum(float((v * v).sum()) for v in p.values())
            found = {name: g + 2 * x.dtype.type(task.penalty) * p[name] for name, g in found.items()}
        return loss, found

    def train(count: int) -> Trained:
        p, rates = {name: v.copy() for name, v in start.items()}, task.rates(count)
        m, v = ({name: np.zeros_like(a) for name, a in p.items()} for _ in range(2))
        loss = 0.0
        for k, batch in zip(range(count), _batches(task)):
            loss, g = gradients(p, x[batch], t[batch])
            rate = x.dtype.type(rates(k))
            for name in p:
                if task.optimizer == "sgd":
                    p[name] = p[name] - rate * g[name]
                    continue
                m[name] = BETA1 * m[name] + (1 - BETA1) * g[name]
                v[name] = BETA2 * v[name] + (1 - BETA2) * g[name] ** 2
                p[name] = p[name] - rate * (m[name] / (1 - BETA1 ** (k + 1))) / (np.sqrt(v[name] / (1 - BETA2 ** (k + 1))) + EPS)
        return loss if task.batches == 1 else None, p

    return replace(contest(task, train, time.perf_counter()), compile=0.0)


def _batches(task: Task) -> Iterator[slice]:
    """The minibatches, again and again."""
    while True:
        for k in range(task.batches):
            yield slice(k * task.batch, (k + 1) * task.batch)


def _hinge(out: Array, t: Array) -> tuple[float, Array]:
    margin = 1 - t * out[:, 0]
    return float(np.maximum(margin, 0).mean()), (-t * (margin > 0) / len(t))[:, None]


def _cross_entropy(out: Array, t: Array) -> tuple[float, Array]:
    shifted = out - out.max(1, keepdims=True)
    p = np.exp(shifted)
    total = p.sum(1, keepdims=True)
    rows = np.arange(len(t))
    d = p / total
    d[rows, t] -= 1
    return float((np.log(total[:, 0]) - shifted[rows, t]).mean()), d / out.dtype.type(len(t))


LOSSES: dict[str, Callable[[Array, Array], tuple[float, Array]]] = {"hinge": _hinge, "cross_entropy": _cross_entropy}
# activation → it, and its slope as a function of its result
ACTIVATIONS: dict[str, tuple[Callable[[Array], Array], Callable[[Array], Array]]] = {
    "relu": (lambda z: np.maximum(z, 0), lambda h: (h > 0).astype(h.dtype)),
    "tanh": (np.tanh, lambda h: 1 - h * h),
}


# --- JAX -------------------------------------------------------------------------------------------


def by_jax(case: Case) -> Contestant:
    """One compiled call for many steps: ``fori_loop`` over full batches, ``scan`` over the minibatches of an epoch."""
    import jax
    import jax.numpy as jnp
    from jax import lax

    jax.config.update("jax_enable_x64", True)
    task = Task.of(case)
    shapes = (task.batches, task.batch)
    x, t = (jnp.asarray(a[: task.batches * task.batch].reshape(*shapes, *a.shape[1:])) for a in task.examples(case.dtype))
    begin = {name: jnp.asarray(v) for name, v in task.start(case.dtype).items()}
    step = _jax_step(task, case.dtype)

    def first() -> Any:
        moments = {n: jnp.zeros_like(v) for n, v in begin.items()} if task.optimizer == "adam" else {}
        return begin, moments, moments, jnp.zeros((), int)

    def whole(steps: int) -> Any:
        """All steps in one program: the number is known to the compiler, as in a hand-written benchmark."""
        return lax.fori_loop(0, steps, lambda k, carry: step(carry[0], (x[0], t[0]), steps), (first(), jnp.zeros((), case.dtype)))

    def epoch(carry: Any, x: Any, t: Any) -> Any:
        return lax.scan(lambda carry, batch: step(carry, batch, 1), carry, (x, t))

    compiled_whole, compiled_epoch = jax.jit(whole, static_argnums=0), jax.jit(epoch)

    def train(count: int) -> Trained:
        if task.batches == 1:
            (p, *_), loss = compiled_whole(count)
            return float(loss.block_until_ready()), p
        carry, done = first(), 0
        while done < count:  # whole epochs are one compiled program; a check may end inside one
            part = min(task.batches, count - done)
            carry, _ = compiled_epoch(carry, x[:part], t[:part]) if part < task.batches else compiled_epoch(carry, x, t)
            done += part
        jax.block_until_ready(carry)
        return None, carry[0]

    return contest(task, train, time.perf_counter(), task.turns(), task.batches)


def _jax_step(task: Task, dtype: str) -> Callable[[Any, Any, int], Any]:
    """(parameters, moments, number of the step), minibatch, number of all steps → the next, and the loss before."""
    import jax
    import jax.numpy as jnp

    real = np.dtype(dtype).type
    value_and_grad = jax.value_and_grad(_jax_objective(task, dtype))

    def step(carry: Any, batch: Any, steps: int) -> Any:
        p, m, v, k = carry
        loss, g = value_and_grad(p, *batch)
        rate = ((1.0 - task.decay * k / steps) * task.rate).astype(dtype)
        if task.optimizer == "adam":
            m = {n: real(BETA1) * m[n] + real(1 - BETA1) * g[n] for n in p}
            v = {n: real(BETA2) * v[n] + real(1 - BETA2) * g[n] ** 2 for n in p}
            first, second = ((1 - b ** (k + 1.0)).astype(dtype) for b in (BETA1, BETA2))
            g = {n: (m[n] / first) / (jnp.sqrt(v[n] / second) + real(EPS)) for n in p}
        return ({n: p[n] - rate * g[n] for n in p}, m, v, k + 1), loss

    return step


def _jax_objective(task: Task, dtype: str) -> Callable[[Any, Any, Any], Any]:
    import jax
    import jax.numpy as jnp

    act = {"tanh": jnp.tanh, "gelu": lambda z: jax.nn.gelu(z, approximate=False)}.get(task.activation) or getattr(jax.nn, task.activation)
    depth = len(task.sizes) - 1

    def objective(p: Any, x: Any, t: Any) -> Any:
        h = x
        for k in range(1, depth + 1):
            h = h @ p[f"W{k}"] + p[f"b{k}"]
            h = act(h) if k < depth else h
        if task.loss == "hinge":
            loss = jnp.mean(jnp.maximum(0, 1 - t * h[:, 0]))
        else:
            loss = -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(h), t[:, None], 1))
        return loss + np.dtype(dtype).type(task.penalty) * sum(jnp.sum(v * v) for v in p.values()) if task.penalty else loss

    return objective


# --- PyTorch ---------------------------------------------------------------------------------------


def by_torch(case: Case) -> Contestant:
    """Eager PyTorch with its own optimizers."""
    import torch

    torch.set_num_threads(case.threads)
    task = Task.of(case)
    x, t = (torch.tensor(a) for a in task.examples(case.dtype))
    functional = torch.nn.functional
    act = {"tanh": torch.tanh, "sigmoid": torch.sigmoid}.get(task.activation) or getattr(functional, task.activation)
    depth = len(task.sizes) - 1

    def objective(p: Any, x: Any, t: Any) -> Any:
        h = x
        for k in range(1, depth + 1):
            h = torch.addmm(p[f"b{k}"], h, p[f"W{k}"])
            h = act(h) if k < depth else h
        if task.loss == "hinge":
            return torch.relu(1 - t * h[:, 0]).mean()
        return functional.cross_entropy(h, t)

    def train(count: int) -> Trained:
        p = {k: torch.tensor(v, requires_grad=True) for k, v in task.start(case.dtype).items()}
        if task.optimizer == "adam":
            optimizer: Any = torch.optim.Adam(p.values(), task.rate, (BETA1, BETA2), EPS, weight_decay=2 * task.penalty)
        else:
            optimizer = torch.optim.SGD(p.values(), task.rate, weight_decay=2 * task.penalty)
        rates, loss, penalty = task.rates(count), torch.zeros(()), 0.0
        for k, batch in zip(range(count), _batches(task)):
            if task.decay:
                optimizer.param_groups[0]["lr"] = rates(k)
            optimizer.zero_grad()
            loss = objective(p, x[batch], t[batch])
            loss.backward()
            if k == count - 1 and task.penalty:
                penalty = task.penalty * float(sum((v.detach() ** 2).sum() for v in p.values()))
            optimizer.step()
        return float(loss.detach()) + penalty if task.batches == 1 else None, {k: v.detach().numpy() for k, v in p.items()}

    found = contest(task, train, time.perf_counter())  # the first calls set PyTorch up; nothing is compiled
    return replace(found, compile=0.0)
