"""The mnist workload: minibatch steps of a 784-128-10 network in float32, cross-entropy, gradient descent; 1 and 2 threads.

Matrix products bound it. "blas" is those of a step alone, on SciPy's BLAS, each as an expert would call it: the
weights' gradients are subtracted in the product (alpha, beta), no operand is copied.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from symgrad.bench.records import Bar, Case, Contestant, Workload, at_most
from symgrad.bench.training import Task, by_jax, by_symgrad, by_torch

__all__ = ["WORKLOAD"]


def cases(full: bool) -> Sequence[Case]:
    return [_case(batch, threads) for threads in (1, 2) for batch in (64, 512)]


def _case(batch: int, threads: int) -> Case:
    task = Task((784, 128, 10), 5120, batch, "relu", "cross_entropy", rate=0.1)
    bars: list[Bar] = [at_most(1.15, "blas"), at_most(1.0, "jax")]
    if batch == 64:
        bars.append(at_most(0.55, "torch"))
    name = f"batch {batch}, {threads} thread{'s' * (threads > 1)}"
    # As long a turn as JAX's, whose steps of an epoch are one program: what a turn begins with, waking threads, counts alike.
    return Case(name, task.parameters(), "float32", threads, tolerance=1e-4, flops=task.flops(), bars=tuple(bars), turn=0.03)


def by_blas(case: Case) -> Contestant:
    """The five products of a step; there is no result to compare, only work."""
    from scipy.linalg import blas

    task = Task.of(case)
    x, _ = task.examples(case.dtype)
    gemm = blas.sgemm if case.dtype == "float32" else blas.dgemm
    # Fortran's order is what BLAS reads: every array is the transpose of the one in C order that a program would hold.
    weights = [np.asfortranarray(w.T) for name, w in task.start(case.dtype).items() if name[0] == "W"]
    layers = [np.zeros((size, task.batch), case.dtype, order="F") for size in task.sizes]
    deltas = [np.zeros_like(layer) for layer in layers]
    batches = [np.asfortranarray(x[k * task.batch : (k + 1) * task.batch].T) for k in range(task.batches)]

    def run(count: int) -> None:
        for k in range(count):
            layers[0] = batches[k % task.batches]
            for w, before, after in zip(weights, layers, layers[1:]):
                gemm(1.0, w, before, 0.0, after, overwrite_c=1)
            for number in range(len(weights) - 1, -1, -1):
                w, d, before = weights[number], deltas[number + 1], layers[number]
                if number:
                    gemm(1.0, w, d, 0.0, deltas[number], trans_a=1, overwrite_c=1)
                gemm(-1e-9, d, before, 1.0, w, trans_b=1, overwrite_c=1)

    return Contestant(run, lambda: None)


WORKLOAD = Workload("mnist", "a step of a 784-128-10 network in float32, cross-entropy, gradient descent", cases,
                    {"symgrad": by_symgrad, "blas": by_blas, "jax": by_jax, "torch": by_torch})
