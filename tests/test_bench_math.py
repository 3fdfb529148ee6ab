"""The math benchmark: symgrad and NumPy compute the same before they are timed."""

from __future__ import annotations

import numpy as np
import pytest

from symgrad import bench
from symgrad.bench import math, measure, peers
from symgrad.bench.records import Case


def case(name: str, dtype: str) -> Case:
    return next(c for c in math.WORKLOAD.cases(False) if c.name == f"{name} {dtype}")


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", ["exp", "sigmoid", "pow"])
def test_contestants_agree(name: str, dtype: str) -> None:
    here = [who for who in case(name, dtype).contestants if peers.installed("numpy" if who == "symgrad" else peers.peer_of(who))]
    made = {who: math.WORKLOAD.contestants[who](case(name, dtype)) for who in here}
    results = {who: contestant.result() for who, contestant in made.items()}
    assert {"symgrad", "numpy"} <= set(results) and all(v.dtype == np.dtype(dtype) for v in results["symgrad"].values())
    assert (math.LIBM in results) == (name != "sigmoid")
    for who in here[1:]:
        measure.agree(name, who, results, made[who].tolerance or case(name, dtype).tolerance)


def test_small_results_count_as_much_as_large_ones() -> None:
    exact = np.array([1e-20, 1e20])
    results = {"symgrad": math._pieces(exact), "numpy": math._pieces(exact * np.array([1 + 1e-12, 1]))}
    with pytest.raises(ArithmeticError, match="not the same work"):
        measure.agree("exp", "numpy", results, 64 * 2.0**-52)


@pytest.mark.slow
def test_the_table() -> None:
    [found] = bench.run(["math"])
    assert len(found.results) == 2 * len(math.FUNCTIONS)
