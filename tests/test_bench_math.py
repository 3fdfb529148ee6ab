"""The math benchmark: symgrad and NumPy compute the same before they are timed."""

from __future__ import annotations

import numpy as np
import pytest

from symgrad import bench
from symgrad.bench import math


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", ["exp", "sigmoid", "erf"])
def test_contestants_agree(name: str, dtype: str) -> None:
    pair, results = math.contestants(name, dtype, elements=37)
    math._check(name, results)
    assert set(pair) == {"symgrad", "numpy"} and results["symgrad"].dtype == np.dtype(dtype)
    assert pair["symgrad"].run(2) == pytest.approx(pair["numpy"].run(1), rel=1e-6)


def test_other_work_is_refused() -> None:
    with pytest.raises(ArithmeticError, match="not the same work"):
        math._check("exp", {"symgrad": np.array([1.0, 2.0]), "numpy": np.array([1.0, 2.0 + 1e-13])})


def test_unknown_peers_are_named() -> None:
    with pytest.raises(ValueError, match="abacus"):
        bench.run(["math"], ["abacus"])


@pytest.mark.slow
def test_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    bench.run(["math"], None)
    assert "digamma" in capsys.readouterr().out
