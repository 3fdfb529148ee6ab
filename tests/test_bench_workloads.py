"""The contestants of neurons and networks do the same work: on small cases, in this process."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from symgrad.bench import digits, measure, mlp_sweep, mnist, neuron_call, neuron_map, peers
from symgrad.bench.records import Case, CaseResult, Timing, Workload
from symgrad.bench.training import Task


def contestants(*workloads: Workload) -> list[Any]:
    return [pytest.param(w, name, id=f"{w.name} {name}") for w in workloads for name in w.contestants if name != "symgrad"]


def small(workload: Workload) -> Case:
    """A case of the workload, of a size that takes no time."""
    case = workload.cases(False)[0]
    if workload is neuron_map.WORKLOAD:
        return replace(case, parameters={"points": 37})
    if workload is neuron_call.WORKLOAD:
        return case
    optimizer = {"optimizer": "adam", "rate": 1e-3} if workload is digits.WORKLOAD else {}
    return replace(case, parameters=Task((7, 9, 4), 60, 20, checked=(2, 3), **optimizer).parameters(), dtype="float64", tolerance=1e-9)


@pytest.mark.parametrize("workload, name", contestants(neuron_call.WORKLOAD, neuron_map.WORKLOAD, digits.WORKLOAD, mnist.WORKLOAD))
def test_contestants_agree_with_symgrad(workload: Workload, name: str) -> None:
    if peers.peer_of(name) != "symgrad" and not peers.installed(peers.peer_of(name)):
        pytest.skip(f"{name} is one of the peers")
    case = small(workload)
    ours, theirs = (workload.contestants[who](case) for who in ("symgrad", name))
    for contestant in (ours, theirs):
        assert contestant.run is not None
        contestant.run(contestant.count or contestant.stride)
    results = {"symgrad": ours.result(), name: theirs.result()}
    measure.agree(name, name, results, theirs.tolerance or case.tolerance)


@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid", "gelu", "silu"])
@pytest.mark.parametrize("mode", ["tile", "loops", "blas"])
def test_modes_train_alike(mode: str, activation: str) -> None:
    case = Case("small", Task((5, 6, 6, 3), 12, 4, activation, checked=(1, 5)).parameters())
    results = {name: mlp_sweep.WORKLOAD.contestants[name](case).result() for name in ("symgrad", f"symgrad {mode}")}
    measure.agree("small", f"symgrad {mode}", results, 1e-11)


def test_a_large_map_is_written_into_given_arrays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neuron_map, "LARGE", 10)
    case = small(neuron_map.WORKLOAD)
    results = {name: neuron_map.WORKLOAD.contestants[name](case).result() for name in ("symgrad", "numpy")}
    measure.agree("map", "numpy", results, 1e-12)


def test_blas_copies_no_operand(monkeypatch: pytest.MonkeyPatch) -> None:
    blas = pytest.importorskip("scipy.linalg.blas")
    seen, gemm = [], blas.dgemm

    def watched(alpha: float, a: Any, b: Any, beta: float, c: Any, **options: Any) -> Any:
        seen.append((np.shares_memory(gemm(alpha, a, b, beta, c, **options), c), a.flags.f_contiguous, b.flags.f_contiguous))

    monkeypatch.setattr(blas, "dgemm", watched)
    contestant = mnist.WORKLOAD.contestants["blas"](small(mnist.WORKLOAD))
    assert contestant.run is not None and contestant.result() is None
    contestant.run(2)
    assert seen == [(True, True, True)] * 10  # two forward, three backward


def test_the_sweep_is_sampled_from_every_width_and_batch() -> None:
    sample, full = mlp_sweep.WORKLOAD.cases(False), mlp_sweep.WORKLOAD.cases(True)
    assert {c.parameters["sizes"][0] for c in sample} == set(mlp_sweep.WIDTHS)
    assert {c.parameters["batch"] for c in sample} == set(mlp_sweep.BATCHES)
    assert {c.name for c in sample} <= {c.name for c in full} and sample == mlp_sweep.WORKLOAD.cases(False)


def test_bars_of_the_sweep() -> None:
    cases = [
        {"symgrad": 1.0, "jax": 1.0, "torch": 5.0, "symgrad tile": 1.0, "symgrad blas": 2.0},
        {"symgrad": 1.2, "jax": 3.0, "torch": 1.0, "symgrad tile": 2.0, "symgrad blas": 1.0},
    ]
    results = [CaseResult(Case("case"), {name: Timing([value]) for name, value in values.items()}) for values in cases]
    [share], bars = mlp_sweep.WORKLOAD.bars, mlp_sweep.WORKLOAD.cases(False)[0].bars
    assert (share.judge(results).value, share.judge(results).met, share.judge([]).met) == (0.5, False, None)
    assert [[bar.judge(result).value for bar in bars] for result in results] == [[1.0, 1.0], [1.2, 1.2]]


def test_a_share_of_the_peak_counts_every_product() -> None:
    # Forward, the weights' gradients, and the gradients that go on: not the first layer's.
    assert Task((2, 16, 16, 1), 100, 100).flops() == 2 * 100 * (3 * (32 + 256 + 16) - 32)


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
def test_loading_the_c_program_keeps_subnormal_numbers() -> None:
    """A library that was linked with -ffast-math would flush them to zero in the whole process."""
    from symgrad.bench import moons

    moons._build(moons.WORKLOAD.cases(False)[0], 32)
    assert np.float64(5e-324) * np.float64(1.0) > 0
