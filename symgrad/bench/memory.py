"""The memory workload: the most memory that a process holds which trains the digits network, compiling and with a warm cache."""

from __future__ import annotations

from collections.abc import Sequence

from symgrad.bench.processes import programs
from symgrad.bench.records import Case, Workload, at_most

__all__ = ["WORKLOAD"]

_programs = programs(lambda report: float(report.peak))


def cases(full: bool) -> Sequence[Case]:
    bars = (at_most(0.75, "jax", of="symgrad cold"), at_most(0.5, "jax"))
    return [Case("digits", {"program": "digits"}, unit="process", quantity="bytes", rounds=3, tolerance=1e-6, bars=bars)]


WORKLOAD = Workload("memory", "peak memory of the process that trains the digits network, compiling and warm", cases, _programs)
