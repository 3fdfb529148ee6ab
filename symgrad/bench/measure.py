"""Fair timing: contestants take turns, and what counts is the median over the rounds."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

__all__ = ["Contestant", "Timing", "measure"]


@dataclass
class Contestant:
    """``run(steps)`` does the work from the same start each time and returns the last loss. ``steps``: how many to time
    at once (a slow contestant takes fewer). ``compile``: seconds from expression to the first result."""

    name: str
    run: Callable[[int], float]
    steps: int
    compile: float


@dataclass
class Timing:
    """Seconds a step: the median of the rounds, the fastest and the slowest."""

    median: float
    fastest: float
    slowest: float


def measure(contestants: Mapping[str, Contestant], rounds: int = 7) -> dict[str, Timing]:
    """Times all contestants in turns, so that a busy machine disturbs them alike."""
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, contestant in contestants.items():
            begun = time.perf_counter()
            contestant.run(contestant.steps)
            seconds[name].append((time.perf_counter() - begun) / contestant.steps)
    return {name: Timing(float(np.median(s)), min(s), max(s)) for name, s in seconds.items()}
