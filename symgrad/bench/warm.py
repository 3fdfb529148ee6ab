"""The warm workload: seconds from ``python`` to a trained network when another process has compiled it before; and the bare import."""

from __future__ import annotations

from collections.abc import Sequence

from symgrad.bench.processes import Maker, imports, programs
from symgrad.bench.records import Case, Workload, at_most, at_most_seconds

__all__ = ["WORKLOAD"]

_programs = programs(lambda report: report.seconds)


def cases(full: bool) -> Sequence[Case]:
    return [
        Case("moons", {"program": "moons"}, unit="process", rounds=5, contestants=tuple(_programs),
             bars=(at_most(0.5, "jax"), at_most(0.5, "jax cached"))),
        Case("import", {}, unit="import", rounds=5, contestants=("symgrad", "jax"), bars=(at_most_seconds(0.15),)),
    ]  # fmt: skip


def _maker(name: str) -> Maker:
    trained, imported = _programs[name], imports(name.split()[0])
    return lambda case: (trained if "program" in case.parameters else imported)(case)


WORKLOAD = Workload(
    "warm", "a second process: seconds to a trained network, and of the import alone", cases,
    {name: _maker(name) for name in _programs},
)  # fmt: skip
