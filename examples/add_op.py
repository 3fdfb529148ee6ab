"""Adding an op: squareplus, a smooth relu without transcendental functions, (x + sqrt(x**2 + 4))/2.

One record is all: its derivative as an expression, its value in NumPy, and what it is in terms of known ops. It is
then derived to any order, printed, compiled, checked, and used as an activation, like symgrad's own.
Source: J. T. Barron, "Squareplus: a softplus-like algebraic rectifier", arXiv:2112.11687.
"""

import numpy as np

import symgrad as sg

# y - 1/y = x, so dy/dx = y**2/(1 + y**2): the rule is written in terms of the output, which is there already.
squareplus = sg.define_op(
    "squareplus",
    derivative=lambda g, y, x: g * (y**2 / (1 + y**2)),
    evaluate=lambda x: (x + np.sqrt(x * x + 4)) / 2,
    lower=lambda x: (x + sg.sqrt(x * x + 4)) / 2,
    samples=[-3.0, 0.0, 2.5],
)

x = sg.symbol("x")
y = squareplus(x)
slope = sg.grad(y, x)
print(f"y: {y}\nits derivative: {slope}\nsecond derivative:\n{sg.grad(slope, x)}\n")

sg.check_grads(y, {x: 0.7}, order=2)  # against central differences, to second order
f = sg.compile(y)
for point in (-3.0, 0.0, 2.5):
    value, gradient = f.value_and_grad(point)
    print(f"squareplus({point:4}) = {value:.6f}, slope {gradient['x']:.6f}")

# A regression with it as the activation: sin(3x) from 200 samples.
net = sg.nn.MLP(1, [16, 16, 1], activation=squareplus)
inputs, targets = sg.symbol("inputs", ("n", 1)), sg.symbol("targets", "n")
points = np.linspace(-2, 2, 200)
data = {"inputs": points[:, None], "targets": np.sin(3 * points)}
loss = sg.nn.mse(net(inputs)[:, 0], targets)
fit = sg.fit(loss, net.init(seed=0), data, optimizer=sg.optim.Adam(0.01), epochs=1000, batch_size=20, progress=False)
print(f"a network with it learns sin(3x): loss {fit.history['loss'][0]:.3f} → {fit.history['loss'][-1]:.1e}")
assert fit.history["loss"][-1] < 1e-2
