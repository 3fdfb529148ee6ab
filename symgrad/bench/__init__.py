"""``symgrad bench``: the same work on symgrad and on its peers, in one run, checked before it is timed.

A module a workload (:mod:`~symgrad.bench.records` says what one is made of); :mod:`~symgrad.bench.worker` gives each contestant a
process of its own, :mod:`~symgrad.bench.measure` lets them take turns, :mod:`~symgrad.bench.report` shows what came of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from symgrad.bench import (
    compile,
    digits,
    hessian,
    jacobian,
    math,
    memory,
    mlp_sweep,
    mnist,
    moons,
    neuron_call,
    neuron_map,
    scale,
    simplify,
    warm,
)
from symgrad.bench.measure import measure_workload
from symgrad.bench.peers import peer_of
from symgrad.bench.records import OURS, Workload
from symgrad.bench.report import Report

__all__ = ["MODULES", "WORKLOADS", "run"]

MODULES = (neuron_call, neuron_map, moons, digits, mnist, mlp_sweep, compile, warm, scale, hessian, jacobian, memory, math, simplify)
WORKLOADS: dict[str, Workload] = {module.WORKLOAD.name: module.WORKLOAD for module in MODULES}
_HOMES = {module.WORKLOAD.name: module.__name__ for module in MODULES}


def run(
    names: Sequence[str] = (), against: Sequence[str] | None = None, full: bool = False, tell: Callable[[str], None] = lambda line: None
) -> list[Report]:
    """Runs workloads by name, by default the quick ones.

    ``against``: the peers, by default all that are installed. ``full``: all cases of a workload. ``tell``: called with what
    runs next. Raises ``ValueError`` for unknown names, ``ArithmeticError`` where a contestant has another result.
    """
    chosen = [_find(name) for name in names] or [w for w in WORKLOADS.values() if w.quick]
    peers = {peer_of(c) for workload in chosen for c in workload.contestants} - {OURS}
    if unknown := sorted(set(against or ()) - peers):
        raise ValueError(f"no peer is called {', '.join(unknown)}; there is {', '.join(sorted(peers))}")
    return [Report(w, measure_workload(w, _HOMES[w.name], against, full, tell)) for w in chosen]


def _find(name: str) -> Workload:
    if name not in WORKLOADS:
        raise ValueError(f"no workload is called {name!r}; there is {', '.join(WORKLOADS)}")
    return WORKLOADS[name]
