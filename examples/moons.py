"""A network that tells two moons apart: the formulas it learns by, then training, then a picture.

The whole training loop, forward pass, gradient and update, is one compiled function.
"""

import sys
from pathlib import Path

import numpy as np
from sklearn.datasets import make_moons

import symgrad as sg

points, labels = make_moons(100, noise=0.1, random_state=0)

net = sg.nn.MLP(2, [16, 16, 1], activation="relu")
x, t = sg.symbol("x", ("n", 2)), sg.symbol("t", "n")
loss = sg.nn.hinge(net(x)[:, 0], t) + 1e-4 * net.l2()

epochs = 100
learning_rate = 1.0 - 0.9 * sg.optim.step / epochs  # an expression like any other
data = {"x": points, "t": 2.0 * labels - 1.0}
fit = sg.fit(loss, net.init(seed=0), data, optimizer=sg.optim.SGD(learning_rate), epochs=epochs, progress=False)

print(f"loss = {loss}\n")
print(fit.step.formulas, "\n")
print(fit)

score = sg.compile(net(x)[:, 0])
accuracy = np.mean((score(x=points, **fit.params) > 0) == labels)
print(f"{100 * accuracy:.1f} % of the training points are on the right side")
print(f"100 steps took {fit.timings['train'] * 1e3:.2f} ms")

if len(sys.argv) > 1:  # python examples/moons.py FOLDER: draw the picture there
    names = ["outer moon", "inner moon"]
    picture = sg.plot_decision_boundary(net(x), points, labels, fit.params, classes=names, title="Two moons")
    picture.save(Path(sys.argv[1]) / "moons.png")
