"""The math benchmark: symgrad and NumPy compute the same before they are timed."""

from __future__ import annotations

import numpy as np
import pytest

from symgrad import bench
from symgrad.bench import math, measure
from symgrad.bench.records import Case


def case(name: str, dtype: str) -> Case:
    return next(c for c in math.WORKLOAD.cases(False) if c.name == f"{name} {dtype}")


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", ["exp", "sigmoid", "erf"])
def test_contestants_agree(name: str, dtype: str) -> None:
    results = {who: make(case(name, dtype)).result() for who, make in math.WORKLOAD.contestants.items()}
    assert set(results) == {"symgrad", "numpy"} and all(v.dtype == np.dtype(dtype) for v in results["symgrad"].values())
    measure.agree(name, "numpy", results, case(name, dtype).tolerance)


def test_small_results_count_as_much_as_large_ones() -> None:
    exact = np.array([1e-20, 1e20])
    results = {"symgrad": math._pieces(exact), "numpy": math._pieces(exact * np.array([1 + 1e-12, 1]))}
    with pytest.raises(ArithmeticError, match="not the same work"):
        measure.agree("exp", "numpy", results, 64 * 2.0**-52)


@pytest.mark.slow
def test_the_table() -> None:
    [found] = bench.run(["math"])
    assert len(found.results) == 2 * len(math.FUNCTIONS)
