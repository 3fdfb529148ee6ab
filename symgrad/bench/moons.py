"""The moons workload: full-batch gradient steps of a 2-16-16-1 network, max-margin loss and L2 penalty, 100 samples.

Every contestant starts from the same weights, follows the same learning rate, and must reach the same loss.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np

from symgrad.bench.measure import Contestant, measure

__all__ = ["bench"]

Array = np.ndarray[Any, Any]
Start = dict[str, Array]
CHECKED = 100  # steps after which all must have the same loss
DECAY, PENALTY, RATE = 0.9, 1e-4, 0.1


def data(samples: int = 100) -> tuple[Array, Array]:
    """Two moons with targets ±1: scikit-learn's make_moons, without needing it."""
    rng = np.random.default_rng(1337)
    angle = np.linspace(0, np.pi, samples // 2)
    outer = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    inner = np.stack([1 - np.cos(angle), 0.5 - np.sin(angle)], axis=1)
    points = np.concatenate([outer, inner]) + rng.normal(0, 0.1, (2 * (samples // 2), 2))
    order = rng.permutation(len(points))
    return points[order], np.repeat([-1.0, 1.0], samples // 2)[order]


def by_symgrad(x: Array, t: Array, start: Start, activation: str, dtype: str) -> Contestant:
    import symgrad as sg

    net = sg.nn.MLP(2, [16, 16, 1], activation=activation)
    xs, ts, rate, steps = sg.symbol("x", ("n", 2)), sg.symbol("t", "n"), sg.symbol("lr"), sg.symbol("steps")
    loss = sg.nn.hinge(net(xs)[:, 0], ts) + PENALTY * net.l2()
    optimizer = sg.optim.SGD((1.0 - DECAY * sg.optim.step / steps) * rate)
    begun = time.perf_counter()
    training = sg.train.prepare(loss, start, {"x": x, "t": t, "lr": RATE, "steps": 1.0}, optimizer=optimizer, epochs=1, dtype=dtype)
    arrays, numbers = training.problem.arrays, dict(training.numbers)
    fixed = {"samples": len(x), "batch_size": len(x), "shuffle": False, "seed": 0, "first_step": 0}

    def run(count: int) -> float:
        state = {name: array.copy() for name, array in training.state.items()}
        numbers["steps"] = float(count)
        losses = np.zeros(count)
        training.loop(state, arrays, numbers, **fixed, steps=count, losses=losses)
        return float(losses[-1])

    run(1)
    return Contestant("symgrad", run, 2000, time.perf_counter() - begun)


def by_numpy(x: Array, t: Array, start: Start, activation: str, dtype: str) -> Contestant:
    x, t = x.astype(dtype), t.astype(dtype)

    def forward(z: Array) -> Array:
        return np.maximum(z, 0) if activation == "relu" else np.tanh(z)

    def slope(h: Array) -> Array:
        return (h > 0).astype(h.dtype) if activation == "relu" else 1 - h * h

    def run(count: int) -> float:
        w1, b1, w2, b2, w3, b3 = (start[k].astype(dtype) for k in ("W1", "b1", "W2", "b2", "W3", "b3"))
        loss = 0.0
        for k in range(count):
            h1 = forward(x @ w1 + b1)
            h2 = forward(h1 @ w2 + b2)
            margin = 1 - t * (h2 @ w3 + b3)[:, 0]
            loss = float(np.maximum(margin, 0).mean() + PENALTY * sum((p * p).sum() for p in (w1, b1, w2, b2, w3, b3)))
            d3 = (-t * (margin > 0) / len(t))[:, None]
            d2 = (d3 @ w3.T) * slope(h2)
            d1 = (d2 @ w2.T) * slope(h1)
            rate = x.dtype.type((1.0 - DECAY * k / count) * RATE)
            gradients = (x.T @ d1, d1.sum(0), h1.T @ d2, d2.sum(0), h2.T @ d3, d3.sum(0))
            pairs = zip((w1, b1, w2, b2, w3, b3), gradients, strict=True)
            w1, b1, w2, b2, w3, b3 = (p - rate * (g + 2 * x.dtype.type(PENALTY) * p) for p, g in pairs)
        return loss

    return Contestant("numpy", run, 200, 0.0)


def by_jax(x: Array, t: Array, start: Start, activation: str, dtype: str) -> Contestant:
    import jax
    import jax.numpy as jnp
    from jax import lax

    jax.config.update("jax_enable_x64", True)
    xs, ts = jnp.asarray(x, dtype), jnp.asarray(t, dtype)
    act = jax.nn.relu if activation == "relu" else jnp.tanh
    begin = {k: jnp.asarray(v, dtype) for k, v in start.items()}

    def loss(p: Any) -> Any:
        h = act(act(xs @ p["W1"] + p["b1"]) @ p["W2"] + p["b2"])
        out = (h @ p["W3"] + p["b3"])[:, 0]
        return jnp.mean(jnp.maximum(0, 1 - ts * out)) + np.dtype(dtype).type(PENALTY) * sum(jnp.sum(v * v) for v in p.values())

    value_and_grad = jax.value_and_grad(loss)

    def train(p: Any, steps: Any) -> Any:
        def body(k: Any, carry: Any) -> Any:
            p, _ = carry
            value, g = value_and_grad(p)
            rate = ((1.0 - DECAY * k / steps) * RATE).astype(dtype)
            return {n: p[n] - rate * g[n] for n in p}, value

        return lax.fori_loop(0, steps, body, (p, jnp.zeros((), dtype)))

    # The number of steps is static, as in a hand-written benchmark: JAX then knows the trip count.
    compiled = jax.jit(train, static_argnums=1)

    def run(count: int) -> float:
        _, value = compiled(begin, count)
        return float(value.block_until_ready())

    begun = time.perf_counter()
    run(2000)
    return Contestant("jax", run, 2000, time.perf_counter() - begun)


def by_torch(x: Array, t: Array, start: Start, activation: str, dtype: str) -> Contestant:
    import torch

    torch.set_num_threads(1)
    xs, ts = (torch.tensor(a, dtype=getattr(torch, dtype)) for a in (x, t))
    act = torch.relu if activation == "relu" else torch.tanh

    def run(count: int) -> float:
        p = {k: torch.tensor(v, dtype=xs.dtype, requires_grad=True) for k, v in start.items()}
        optimizer = torch.optim.SGD(p.values(), RATE, weight_decay=2 * PENALTY)
        margin = penalty = torch.zeros(())
        for k in range(count):
            optimizer.param_groups[0]["lr"] = (1.0 - DECAY * k / count) * RATE
            optimizer.zero_grad()
            h = act(act(xs @ p["W1"] + p["b1"]) @ p["W2"] + p["b2"])
            margin = torch.relu(1 - ts * (h @ p["W3"] + p["b3"])[:, 0]).mean()
            margin.backward()
            if k == count - 1:
                penalty = PENALTY * sum((v.detach() ** 2).sum() for v in p.values())
            optimizer.step()
        return float(margin.detach() + penalty)

    begun = time.perf_counter()
    run(20)
    return Contestant("torch", run, 200, time.perf_counter() - begun)


def by_micrograd(x: Array, t: Array, start: Start, activation: str, dtype: str) -> Contestant:
    from micrograd.engine import Value

    names = ("W1", "b1", "W2", "b2", "W3", "b3")

    def run(count: int) -> float:
        p = {k: np.array([Value(float(v)) for v in start[k].ravel()], dtype=object).reshape(start[k].shape) for k in names}
        total = Value(0.0)
        for k in range(count):
            losses = []
            for row, sign in zip(x, t, strict=True):
                h: Any = [Value(float(v)) for v in row]
                for w, b, last in (("W1", "b1", False), ("W2", "b2", False), ("W3", "b3", True)):
                    sums = [sum((hi * wi for hi, wi in zip(h, column, strict=True)), bias)
                            for column, bias in zip(p[w].T, p[b], strict=True)]
                    h = sums if last else [s.relu() for s in sums]
                losses.append((1 + -float(sign) * h[0]).relu())
            everything = [v for k in names for v in p[k].ravel()]
            total = sum(losses) * (1.0 / len(losses)) + PENALTY * sum(v * v for v in everything)
            for v in everything:
                v.grad = 0.0
            total.backward()
            for v in everything:
                v.data -= (1.0 - DECAY * k / count) * RATE * v.grad
        return float(total.data)

    return Contestant("micrograd", run, 1, 0.0)


PEERS: dict[str, Callable[[Array, Array, Start, str, str], Contestant]] = {
    "numpy": by_numpy, "jax": by_jax, "torch": by_torch, "micrograd": by_micrograd,
}


def _chosen(against: Sequence[str] | None) -> list[str]:
    unknown = [p for p in against or () if p not in PEERS]
    if unknown:
        raise ValueError(f"no peer is called {', '.join(unknown)}; there are {', '.join(PEERS)}")
    absent = [p for p in (PEERS if against is None else against) if find_spec(p) is None]
    if absent:
        print(f"not installed, so not compared with: {', '.join(absent)}")
    return [p for p in (PEERS if against is None else against) if p not in absent]


def bench(against: Sequence[str] | None) -> None:
    """Prints a table: microseconds a step, how many times symgrad's that is, and seconds to compile."""
    from rich.console import Console
    from rich.table import Table

    peers = _chosen(against)
    x, t = data()
    rng = np.random.default_rng(0)
    shapes = {"W1": (2, 16), "b1": (16,), "W2": (16, 16), "b2": (16,), "W3": (16, 1), "b3": (1,)}
    start = {k: rng.uniform(-1, 1, s) / np.sqrt(s[0]) for k, s in shapes.items()}
    table = Table(title=f"moons: one full-batch step of 2-16-16-1, {len(x)} samples", title_justify="left")
    for heading in ("variant", "who"):
        table.add_column(heading, no_wrap=True)
    for heading in ("µs/step", "range", "× symgrad", "compile s"):
        table.add_column(heading, justify="right", no_wrap=True)
    for dtype in ("float64", "float32"):
        for activation in ("relu", "tanh"):
            able = [p for p in peers if p != "micrograd" or (dtype, activation) == ("float64", "relu")]  # it has no tanh, no float32
            makers = [by_symgrad, *(PEERS[p] for p in able)]
            contestants = {c.name: c for c in (make(x, t, start, activation, dtype) for make in makers)}
            _check(contestants, 1e-9 if dtype == "float64" else 2e-3)
            timings = measure(contestants, rounds=7 if "micrograd" not in contestants else 3)
            ours = timings["symgrad"].median
            for name, timing in timings.items():
                span = f"{timing.fastest * 1e6:.3g}–{timing.slowest * 1e6:.3g}"
                cold = f"{contestants[name].compile:.2f}" if contestants[name].compile else ""
                variant = f"{dtype} {activation}" if name == "symgrad" else ""
                table.add_row(variant, name, f"{timing.median * 1e6:.4g}", span, f"{timing.median / ours:.3g}", cold)
            table.add_section()
    Console().print(table)


def _check(contestants: dict[str, Contestant], tolerance: float) -> None:
    """All reach the same loss (micrograd, at a second a step, after 2 steps)."""
    for name, contestant in contestants.items():
        steps = CHECKED if name != "micrograd" else 2
        ours, theirs = contestants["symgrad"].run(steps), contestant.run(steps)
        if not abs(ours - theirs) <= tolerance * abs(theirs):
            raise ArithmeticError(f"{name} reaches the loss {theirs!r} in {steps} steps, symgrad {ours!r}: not the same work")
