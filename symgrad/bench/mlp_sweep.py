"""The mlp-sweep workload: gradient descent steps of multi-layer perceptrons of many sizes, and whether the scheduler chose well.

Usually a seeded sample of the grid runs, each width and each batch size at least once; ``--full`` runs all of it. "symgrad tile",
"symgrad loops" and "symgrad blas" are the kinds of kernels, forced; "symgrad" is what the scheduler chooses among them.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import partial
from itertools import product
from typing import Any

from symgrad.bench.records import OURS, Bar, Case, CaseResult, Workload
from symgrad.bench.training import Task, by_jax, by_symgrad, by_torch

__all__ = ["WORKLOAD"]

WIDTHS = (4, 16, 64, 128, 256, 512)
DEPTHS = (1, 2, 3, 4, 6)
BATCHES = (1, 4, 32, 128, 1024, 4096)
ACTIVATIONS = ("relu", "tanh", "sigmoid", "gelu", "silu")
SAMPLED = 12
CLASSES = 10
MODES = ("tile", "loops", "blas")


def cases(full: bool) -> Sequence[Case]:
    if full:
        return [_case(*point) for point in product(WIDTHS, DEPTHS, BATCHES, ACTIVATIONS)]
    rng = random.Random(90)  # no two cases share two of their four values
    columns = [_shuffled(rng, values) for values in (WIDTHS, DEPTHS, BATCHES, ACTIVATIONS)]
    return [_case(*point) for point in zip(*columns, strict=True)]


def _shuffled(rng: random.Random, values: Sequence[Any]) -> list[Any]:
    """As many values as cases are sampled, each as often as the others, in some order."""
    found = [values[k % len(values)] for k in range(SAMPLED)]
    rng.shuffle(found)
    return found


def _case(width: int, depth: int, batch: int, activation: str) -> Case:
    task = Task((width,) * (depth + 1) + (CLASSES,), 4 * batch, batch, activation, rate=0.01, checked=(2, 6))
    name = f"{depth} × {width} {activation}, batch {batch}"
    return Case(name, task.parameters(), "float32", tolerance=1e-3, flops=task.flops(), rounds=15, bars=(
        Bar("≤ 1.15 × the best of jax, torch", 1.15, _against_best), Bar("the chosen kernels ≤ 1.1 × the best kind", 1.1, _against_modes),
    ))  # fmt: skip


def _against_best(result: CaseResult) -> float | None:
    ratios = [r for r in (result.ratio(OURS, peer) for peer in ("jax", "torch")) if r is not None]
    return max(ratios) if ratios else None


def _against_modes(result: CaseResult) -> float | None:
    ratios = [r for r in (result.ratio(OURS, f"{OURS} {mode}") for mode in MODES) if r is not None]
    return max(ratios) if ratios else None


def _share_within(limit: float) -> Callable[[Sequence[CaseResult]], float | None]:
    def measured(results: Sequence[CaseResult]) -> float | None:
        ratios = [r for r in map(_against_best, results) if r is not None]
        return sum(r <= limit for r in ratios) / len(ratios) if ratios else None

    return measured


WORKLOAD = Workload(
    "mlp-sweep", "a step of multi-layer perceptrons of many sizes in float32", cases,
    {OURS: by_symgrad, **{f"{OURS} {mode}": partial(by_symgrad, mode=mode) for mode in MODES}, "jax": by_jax, "torch": by_torch},
    quick=False,
    bars=(
        Bar("share of cases ≤ 1.05 × the best of jax, torch, ≥ 95%", 0.95, _share_within(1.05), at_least=True),
    ),
)  # fmt: skip
