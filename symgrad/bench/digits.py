"""The digits workload: minibatch steps of a 64-64-32-10 network, cross-entropy, Adam, 32 samples a step.

The data have the size of a training part of scikit-learn's digits; they are made, not loaded.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from symgrad.bench.records import Bar, Case, Contestant, Workload, at_most
from symgrad.bench.training import BETA1, BETA2, EPS, Task, Trained, by_jax, by_numpy, by_symgrad, by_torch, contest

__all__ = ["WORKLOAD"]


def cases(full: bool) -> Sequence[Case]:
    return [_case("float32", 1), _case("float64", 1), _case("float32", 2)]


def _case(dtype: str, threads: int) -> Case:
    task = Task((64, 64, 32, 10), 1440, 32, "relu", "cross_entropy", "adam", rate=1e-3, checked=(5, 20))
    bars: list[Bar] = [at_most(0.65, "jax"), at_most(0.1, "sklearn")]
    # Adam divides by the root of a small gradient's square, which makes float32's roundings large.
    tolerance = 1e-8 if dtype == "float64" else 1e-3
    name = f"{dtype}, {threads} thread{'s' * (threads > 1)}"
    return Case(name, task.parameters(), dtype, threads, tolerance=tolerance, flops=task.flops(), bars=tuple(bars))


def by_sklearn(case: Case) -> Contestant:
    """``MLPClassifier`` and its own Adam."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    task = Task.of(case)
    x, t = task.examples(case.dtype)
    model = MLPClassifier(
        task.sizes[1:-1], activation=task.activation, alpha=0.0, batch_size=task.batch, learning_rate_init=task.rate, shuffle=False,
        beta_1=BETA1, beta_2=BETA2, epsilon=EPS, tol=0.0, n_iter_no_change=10**9, warm_start=True, random_state=0,
    )  # fmt: skip
    model.partial_fit(x[: task.batch], t[: task.batch], classes=np.arange(task.sizes[-1]))  # now it has parameters to replace

    def train(count: int) -> Trained:
        """Whole epochs; fewer steps are an epoch of fewer samples. A fit that starts warm has a new optimizer."""
        start = task.start(case.dtype)
        model.coefs_, model.intercepts_ = [start[name] for name in task.names[::2]], [start[name] for name in task.names[1::2]]
        model.set_params(max_iter=max(1, count // task.batches))
        samples = min(count, task.batches) * task.batch
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # it is to stop after these epochs
            model.fit(x[:samples], t[:samples])
        return None, dict(zip(task.names, [a for pair in zip(model.coefs_, model.intercepts_, strict=True) for a in pair], strict=True))

    made = contest(task, train, time.perf_counter(), task.batches)
    return replace(made, compile=0.0, tolerance=1e-3)


WORKLOAD = Workload("digits", "a step of a 64-64-32-10 network, cross-entropy, Adam, batch 32", cases,
                    {"symgrad": by_symgrad, "jax": by_jax, "sklearn": by_sklearn, "numpy": by_numpy, "torch": by_torch})
