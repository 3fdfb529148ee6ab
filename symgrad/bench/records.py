"""What a benchmark is made of: workloads have cases, contestants do the work of a case, bars judge what was measured.

A workload is data: a module of this package that makes a :class:`Workload` and nothing else happens when it is imported.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

__all__ = [
    "OURS", "Bar", "Case", "CaseResult", "Contestant", "Timing", "Verdict", "Workload", "at_most", "at_most_seconds", "share_of_peak",
]  # fmt: skip

OURS = "symgrad"  # the contestant that ratios refer to


@dataclass
class Contestant:
    """One way of doing a case's work.

    run      does the unit of work so many times, from the same start each time; a clock around it is divided by the count
    result   what all contestants must agree on before they are timed: numbers or arrays, or a dict of them, of which
             the keys that two contestants share are compared; ``None``: a part of the work, or a rate, with no result
    compile  seconds from expression to first result
    measure  where a clock around ``run`` would be wrong: does one unit and returns the quantity
    count    a fixed count for ``run``; otherwise one is found that takes the case's ``turn``
    stride   counts are multiples of it
    tolerance  in place of the case's, for a contestant whose method differs in what it neglects
    """

    run: Callable[[int], object] | None
    result: Callable[[], Any]
    compile: float = 0.0
    measure: Callable[[], float] | None = None
    count: int = 0
    stride: int = 1
    tolerance: float | None = None


@dataclass(frozen=True)
class Case:
    """One size, precision and thread count of a workload; makers of contestants get it, so ``parameters`` are plain data.

    ``flops``, ``moved``: operations, and bytes read and written, of one unit, from which the share of the machine's peak follows.
    ``tolerance``: how far results may be apart, relative to the largest element. ``contestants``: who takes part, all if empty.
    """

    name: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    dtype: str = "float64"
    threads: int = 1
    unit: str = "step"
    quantity: str = "seconds"  # or "bytes"
    tolerance: float = 1e-9
    flops: float = 0.0
    moved: float = 0.0
    contestants: tuple[str, ...] = ()
    bars: tuple[Bar, ...] = ()
    rounds: int = 25
    turn: float = 0.008  # seconds


@dataclass
class Timing:
    """A contestant's values, one a round, and its seconds to compile."""

    values: list[float]
    compile: float = 0.0

    @property
    def median(self) -> float:
        return float(np.median(self.values))

    @property
    def fastest(self) -> float:
        return min(self.values)

    @property
    def slowest(self) -> float:
        return max(self.values)


@dataclass
class CaseResult:
    """What was measured. ``peak``: the machine's FMA rate and copy rate in the same rounds, operations and bytes a second.
    ``notes``: contestant → why it did not take part."""

    case: Case
    timings: dict[str, Timing]
    peak: dict[str, float] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)

    def ratio(self, of: str, to: str) -> float | None:
        """``of`` as a multiple of ``to``: the median over the rounds, each of which the two spent beside each other."""
        if of not in self.timings or to not in self.timings:
            return None
        # A slow contestant sits out the later rounds.
        return float(np.median([a / b for a, b in zip(self.timings[of].values, self.timings[to].values)]))

    def share(self, name: str = OURS) -> float | None:
        """The share of the machine's peak, of the rate that bounds the work: arithmetic or memory."""
        if name not in self.timings:
            return None
        works = ((self.case.flops, "fma"), (self.case.moved, "copy"))
        needs = [work / self.peak[rate] for work, rate in works if work and rate in self.peak]
        return max(needs) / self.timings[name].median if needs else None

    def verdicts(self) -> list[Verdict]:
        """What became of the case's bars."""
        return [bar.judge(self) for bar in self.case.bars]


@dataclass(frozen=True)
class Bar:
    """A limit that symgrad sets itself: ``measured(result)`` is at most ``limit`` (or at least). Nothing where a peer is absent."""

    text: str
    limit: float
    measured: Callable[[Any], float | None]
    at_least: bool = False

    def judge(self, result: Any) -> Verdict:
        value = self.measured(result)
        met = None if value is None else bool(value >= self.limit if self.at_least else value <= self.limit)
        return Verdict(self.text, value, met)


@dataclass(frozen=True)
class Verdict:
    """A bar's outcome: the value, and whether the bar is met; ``None`` where it could not be measured."""

    text: str
    value: float | None
    met: bool | None

    def __str__(self) -> str:
        if self.met is None or self.value is None:
            return f"{self.text}: not measured"
        return f"{self.text}: {self.value:.3g}, {'met' if self.met else 'NOT met'}"


def at_most(limit: float, *peers: str, of: str = OURS) -> Bar:
    """``of`` takes at most ``limit`` times what the best of the peers takes."""

    def measured(result: CaseResult) -> float | None:
        ratios = [r for r in (result.ratio(of, peer) for peer in peers) if r is not None]
        return max(ratios) if ratios else None

    whom = peers[0] if len(peers) == 1 else f"best of {', '.join(peers)}"
    return Bar(f"{'' if of == OURS else of + ' '}≤ {limit:g} × {whom}", limit, measured)


def at_most_seconds(limit: float, of: str = OURS) -> Bar:
    """``of`` takes at most so many seconds."""

    def measured(result: CaseResult) -> float | None:
        return result.timings[of].median if of in result.timings else None

    return Bar(f"{'' if of == OURS else of + ' '}≤ {limit:g} s", limit, measured)


def share_of_peak(limit: float) -> Bar:
    """symgrad reaches at least this share of the machine's measured peak."""
    return Bar(f"≥ {limit:.0%} of peak", limit, lambda result: result.share(), at_least=True)


@dataclass(frozen=True)
class Workload:
    """``cases(full)``: the cases, all of them or those for every day. ``contestants``: name → maker; a name's first word is the peer."""

    name: str
    summary: str
    cases: Callable[[bool], Sequence[Case]]
    contestants: Mapping[str, Callable[[Case], Contestant]]
    quick: bool = True
    bars: tuple[Bar, ...] = ()
