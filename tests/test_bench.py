"""The benchmark: contestants do the same work; a second process starts warm."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from symgrad import bench
from symgrad.bench import moons
from symgrad.bench.measure import Contestant, measure

RNG = np.random.default_rng(0)
START = {k: RNG.uniform(-1, 1, s) / np.sqrt(s[0])
         for k, s in {"W1": (2, 16), "b1": (16,), "W2": (16, 16), "b2": (16,), "W3": (16, 1), "b3": (1,)}.items()}


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("dtype, tolerance", [("float64", 1e-10), ("float32", 1e-3)])
def test_symgrad_and_numpy_take_the_same_hundred_steps(activation, dtype, tolerance):
    x, t = moons.data()
    ours, theirs = (make(x, t, START, activation, dtype).run(100) for make in (moons.by_symgrad, moons.by_numpy))
    assert ours == pytest.approx(theirs, rel=tolerance)


@pytest.mark.parametrize("peer", ["jax", "torch", "micrograd"])
def test_a_peer_takes_the_same_steps(peer):
    pytest.importorskip(peer, reason=f"{peer} is one of the peers")
    x, t = moons.data(20)
    theirs = moons.PEERS[peer](x, t, START, "relu", "float64").run(3)
    assert theirs == pytest.approx(moons.by_numpy(x, t, START, "relu", "float64").run(3), rel=1e-10)


def test_other_work_is_refused():
    contestants = {"symgrad": Contestant("symgrad", lambda steps: 1.0, 1, 0.0), "numpy": Contestant("numpy", lambda steps: 1.1, 1, 0.0)}
    with pytest.raises(ArithmeticError, match="not the same work"):
        moons._check(contestants, 1e-3)


def test_absent_peers_are_one_line(capsys, monkeypatch):
    monkeypatch.setattr(moons, "find_spec", lambda name: object() if name == "numpy" else None)
    assert moons._chosen(None) == ["numpy"]
    assert capsys.readouterr().out == "not installed, so not compared with: jax, torch, micrograd\n"


def test_contestants_take_turns():
    order = []
    contestants = {n: Contestant(n, lambda steps, n=n: order.append(n) or 0.0, 5, 0.0) for n in "ab"}
    timings = measure(contestants, rounds=3)
    assert order == list("ababab") and timings["a"].fastest <= timings["a"].median <= timings["a"].slowest


@pytest.mark.slow
def test_the_table(capsys):
    bench.run(["moons"], ["numpy"])
    out = capsys.readouterr().out
    assert all(variant in out for variant in ("float64 relu", "float64 tanh", "float32 relu", "float32 tanh")) and out.count("numpy") == 4


SCRIPT = """
import json, sys
import numpy as np
import symgrad as sg
points = np.random.default_rng(0).normal(size=(60, 2))
net = sg.nn.MLP(2, [8, 1])
x, t = sg.symbol("x", ("n", 2)), sg.symbol("t", "n")
loss = sg.nn.hinge(net(x)[:, 0], t) + 1e-4 * net.l2()
fit = sg.fit(loss, net.init(seed=0), {"x": points, "t": np.sign(points[:, 0])}, optimizer=sg.optim.SGD(0.5), epochs=20, progress=False)
loaded = [m for m in ("sympy", "numba") if m in sys.modules]
print(json.dumps([fit.step.cached, loaded, sorted(fit.timings), [v.tobytes().hex() for v in fit.params.values()]]))
"""


def test_a_second_process_trains_without_sympy_or_llvm(tmp_path):
    environment = {**os.environ, "SYMGRAD_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[1])}
    runs = []
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, env=environment, timeout=300)
        assert done.returncode == 0, done.stderr
        runs.append(json.loads(done.stdout))
    (cold, _, stages, bits), (warm, loaded, warm_stages, warm_bits) = runs
    assert not cold and warm
    assert loaded == [] and not {"simplify", "schedule", "compile"} & set(warm_stages) and {"simplify", "compile"} <= set(stages)
    assert bits == warm_bits
