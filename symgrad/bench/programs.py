"""Whole programs as a user would write them, for the workloads that time a process from its start: ``{name: source}``.

Each leaves ``answer``, the last loss. Both of a pair see the same data and weights, made by the lines that they share.
"""

from __future__ import annotations

__all__ = ["PROGRAMS"]

_MOONS = """
import numpy as np

rng = np.random.default_rng(0)
label, angle = np.arange(100) % 2, rng.uniform(0, np.pi, 100)
flip = 1.0 - 2.0 * label
points = np.stack([label + flip * np.cos(angle), 0.5 * label + flip * np.sin(angle)], axis=1) + rng.normal(0, 0.1, (100, 2))
targets = -flip
weights = {}
for k, (a, b) in enumerate([(2, 16), (16, 16), (16, 1)], 1):
    weights[f"W{k}"], weights[f"b{k}"] = rng.uniform(-1, 1, (a, b)) / np.sqrt(a), np.zeros(b)
"""

_DIGITS = """
import numpy as np

rng = np.random.default_rng(0)
labels = np.arange(1440) % 10
images = rng.normal(size=(10, 64))[labels] + rng.normal(size=(1440, 64))
weights = {}
for k, (a, b) in enumerate([(64, 64), (64, 32), (32, 10)], 1):
    weights[f"W{k}"], weights[f"b{k}"] = rng.uniform(-1, 1, (a, b)) / np.sqrt(a), np.zeros(b)
"""

_SYMGRAD_MOONS = """
import symgrad as sg

net = sg.nn.MLP(2, [16, 16, 1], activation="relu")
x, t = sg.symbol("x", ("n", 2)), sg.symbol("t", "n")
loss = sg.nn.hinge(net(x)[:, 0], t) + 1e-4 * net.l2()
fit = sg.fit(loss, weights, {"x": points, "t": targets}, optimizer=sg.optim.SGD(0.1), epochs=100, progress=False)
answer = float(fit.history["loss"][-1])
"""

_JAX_MOONS = """
import jax
import jax.numpy as jnp

jax.config.update("jax_enable_x64", True)

def loss(p):
    h = jax.nn.relu(points @ p["W1"] + p["b1"])
    h = jax.nn.relu(h @ p["W2"] + p["b2"])
    out = (h @ p["W3"] + p["b3"])[:, 0]
    return jnp.mean(jax.nn.relu(1 - targets * out)) + 1e-4 * sum(jnp.sum(v**2) for v in p.values())

def step(k, carry):
    p, losses = carry
    value, g = jax.value_and_grad(loss)(p)
    return jax.tree.map(lambda a, b: a - 0.1 * b, p, g), losses.at[k].set(value)

train = jax.jit(lambda p: jax.lax.fori_loop(0, 100, step, (p, jnp.zeros(100))))
p, losses = train(weights)
answer = float(losses[-1])
"""

_SYMGRAD_DIGITS = """
import symgrad as sg

net = sg.nn.MLP(64, [64, 32, 10], activation="relu")
x, t = sg.symbol("x", ("n", 64)), sg.symbol("t", "n", integer=True)
loss = sg.nn.cross_entropy(net(x), t)
fit = sg.fit(loss, weights, {"x": images, "t": labels}, optimizer=sg.optim.Adam(1e-3), epochs=20, batch_size=32, shuffle=False,
             progress=False)
answer = float(fit.history["loss"][-1])
"""

_JAX_DIGITS = """
import jax
import jax.numpy as jnp

jax.config.update("jax_enable_x64", True)

def loss(p, x, t):
    h = jax.nn.relu(x @ p["W1"] + p["b1"])
    h = jax.nn.relu(h @ p["W2"] + p["b2"])
    return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(h @ p["W3"] + p["b3"]), t[:, None], 1))

def step(carry, batch):
    p, m, v, k = carry
    value, g = jax.value_and_grad(loss)(p, *batch)
    k = k + 1
    m = jax.tree.map(lambda a, b: 0.9 * a + 0.1 * b, m, g)
    v = jax.tree.map(lambda a, b: 0.999 * a + 0.001 * b * b, v, g)
    p = jax.tree.map(lambda w, a, b: w - 1e-3 * (a / (1 - 0.9**k)) / (jnp.sqrt(b / (1 - 0.999**k)) + 1e-8), p, m, v)
    return (p, m, v, k), value

@jax.jit
def epoch(carry, x, t):
    carry, values = jax.lax.scan(step, carry, (x, t))
    return carry, jnp.mean(values)

zeros = jax.tree.map(np.zeros_like, weights)
carry, x, t = (weights, zeros, zeros, 0.0), images.reshape(-1, 32, 64), labels.reshape(-1, 32)
for _ in range(20):
    carry, mean = epoch(carry, x, t)
answer = float(mean)
"""

PROGRAMS = {
    "symgrad moons": _MOONS + _SYMGRAD_MOONS, "jax moons": _MOONS + _JAX_MOONS,
    "symgrad digits": _DIGITS + _SYMGRAD_DIGITS, "jax digits": _DIGITS + _JAX_DIGITS,
}  # fmt: skip
