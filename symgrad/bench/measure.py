"""Fair timing: the same result first, then contestants take turns; what counts is the median over the rounds."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from symgrad.bench import peak
from symgrad.bench.peers import choose, peer_of
from symgrad.bench.records import OURS, Case, CaseResult, Timing, Workload
from symgrad.bench.worker import Refusal, Remote

__all__ = ["Team", "Turns", "agree", "measure_case", "measure_workload"]


PATIENCE = 2.0  # seconds: a contestant that has had so many sits out the other rounds
FEWEST = 3      # rounds of each


class Turns(Protocol):
    """A contestant, in this process or in its own: :class:`~symgrad.bench.worker.Local` or ``Remote``."""

    def build(self, case: Case) -> tuple[float, Any, float]: ...
    def calibrate(self, seconds: float) -> int: ...
    def turn(self, count: int) -> float: ...
    def close(self) -> None: ...


class Team:
    """The processes of a workload: one for each contestant and number of threads, kept from case to case."""

    def __init__(self, module: str) -> None:
        self.module = module
        self.members: dict[tuple[str, str, int], Turns] = {}

    def member(self, name: str, threads: int, module: str = "") -> Turns:
        """The process of a contestant, started if it has none."""
        key = (module or self.module, name, threads)
        if key not in self.members:
            self.members[key] = Remote(*key)
        return self.members[key]

    def __enter__(self) -> Team:
        return self

    def __exit__(self, *_: object) -> None:
        for member in self.members.values():
            member.close()


def measure_workload(
    workload: Workload, module: str, against: Sequence[str] | None = None, full: bool = False,
    tell: Callable[[str], None] = lambda line: None,
) -> list[CaseResult]:  # fmt: skip
    """All cases of a workload. ``tell`` is called with the name of each before it runs."""
    results = []
    with Team(module) as team:
        for case in workload.cases(full):
            tell(f"{workload.name} {case.name}")
            names, absent = choose(case.contestants or workload.contestants, against)
            result = measure_case(case, {n: team.member(n, case.threads) for n in names}, _machine(team, case))
            result.notes.update(dict.fromkeys(absent, "not installed"))
            results.append(result)
    return results


def _machine(team: Team, case: Case) -> dict[str, Turns]:
    """The machine's own contestants: the rates that the case is bound by."""
    wanted = [name for name, work in (("fma", case.flops), ("copy", case.moved)) if work]
    return {name: team.member(name, 1, peak.__name__) for name in wanted}


def measure_case(case: Case, contestants: Mapping[str, Turns], machine: Mapping[str, Turns] | None = None) -> CaseResult:
    """Builds the contestants, checks that they agree, and times them in turns, so that a busy machine disturbs them alike.

    Raises ``ArithmeticError`` where results differ, and :class:`~symgrad.bench.worker.Refusal` where symgrad cannot do the work.
    """
    timings: dict[str, Timing] = {}
    notes: dict[str, str] = {}
    results: dict[str, Any] = {}
    for name, contestant in contestants.items():
        try:
            seconds, results[name], tolerance = contestant.build(case)
        except Refusal as refusal:
            if peer_of(name) == OURS:
                raise
            notes[name] = str(refusal)
            continue
        timings[name] = Timing([], seconds)
        agree(case.name, name, results, tolerance)
    playing = {name: contestants[name] for name in timings}
    rates: dict[str, list[float]] = {name: [] for name in machine or {}}
    for member in (machine or {}).values():
        member.build(case)
    everyone = {**playing, **(machine or {})}
    counts = {name: contestant.calibrate(case.turn) for name, contestant in everyone.items()}
    spent = dict.fromkeys(everyone, 0.0)
    for number in range(case.rounds):
        for name, contestant in everyone.items():
            if number >= FEWEST and spent[name] > PATIENCE:
                continue
            begun = time.perf_counter()
            (timings[name].values if name in timings else rates[name]).append(contestant.turn(counts[name]))
            spent[name] += time.perf_counter() - begun
    medians = {name: float(np.median(values)) for name, values in rates.items()}
    return CaseResult(case, timings, peak.rates(medians, case), notes)


def agree(case: str, name: str, results: Mapping[str, Any], tolerance: float) -> None:
    """Raises ``ArithmeticError`` unless a contestant's result is symgrad's, in what both have."""
    if name == OURS or OURS not in results or results[name] is None:
        return
    ours, theirs = (r if isinstance(r, dict) else {"the result": r} for r in (results[OURS], results[name]))
    shared = ours.keys() & theirs.keys()
    if not shared:
        raise ArithmeticError(f"{case}: {name} and symgrad have no result in common")
    for what in sorted(shared):
        a, b = np.asarray(ours[what], "float64"), np.asarray(theirs[what], "float64")
        apart = float(np.max(np.abs(a - b), initial=0.0)) if a.shape == b.shape else np.inf
        largest = float(np.max(np.abs(b), initial=0.0))
        if not apart <= tolerance * largest:
            raise ArithmeticError(
                f"{case}: {what} of {name} and of symgrad, {_shown(b)} and {_shown(a)}, differ by {apart:.3g}: not the same work"
            )


def _shown(value: Any) -> str:
    return repr(float(value)) if value.ndim == 0 else f"an array {value.shape}"
