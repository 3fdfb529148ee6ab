"""``symgrad bench``: the same work on symgrad and on its peers, in one run, checked before it is timed.

``moons`` and ``math`` have a workload each and one function a contestant; ``measure`` interleaves and prints.
"""

from __future__ import annotations

from collections.abc import Sequence

from symgrad.bench import math, moons

__all__ = ["run"]

WORKLOADS = {"moons": moons.bench, "math": math.bench}


def run(names: Sequence[str], against: Sequence[str] | None) -> None:
    """Runs workloads by name; ``against``: the peers, by default all that are installed. ``ValueError`` for unknown names."""
    for name in names:
        if name not in WORKLOADS:
            raise ValueError(f"no workload is called {name!r}; there is {', '.join(WORKLOADS)}")
    for name in names:
        WORKLOADS[name](against)
