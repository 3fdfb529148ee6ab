"""A user's own op is derived, shown, evaluated and compiled as the project's are."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

import symgrad as sg
from symgrad.evaluate import evaluate
from symgrad.expr import OPS

x, y = sg.symbols("x y")


@pytest.fixture(autouse=True)
def registry() -> Iterator[None]:
    before = dict(OPS)
    yield
    for name in set(OPS) - set(before):
        del OPS[name]


def test_one_operand() -> None:
    softsign = sg.define_op("softsign", derivative=lambda g, y, x: g * (1 - sg.abs(y)) ** 2, evaluate=lambda x: x / (1 + np.abs(x)),
                            lower=lambda x: x / (1 + sg.abs(x)), samples=(0.5, -2.0))  # fmt: skip
    assert str(softsign(x)) == "softsign(x)"
    assert evaluate(softsign(x), {x: 1.0}) == 0.5
    f = sg.compile(softsign(2 * x))
    assert f(0.5) == 0.5 and f.grad(0.5) == {"x": 0.5}
    np.testing.assert_allclose(f(np.array([0.5, -1.0])), [0.5, -2 / 3])


def test_several_operands_and_second_derivatives() -> None:
    blend = sg.define_op("blend", derivative=lambda g, y, a, b: (2 * g * a * b, g * a**2), evaluate=lambda a, b: a * a * b,
                         lower=lambda a, b: a * a * b)  # fmt: skip
    hessian = evaluate(sg.grad(sg.grad(blend(x, y), x), y), {x: 3.0, y: 5.0})
    assert hessian == 6.0
    with pytest.raises(TypeError, match="takes 2 operands"):
        blend(x)


def test_a_numba_function_as_lower() -> None:
    numba = pytest.importorskip("numba")
    compiled = numba.njit(lambda x: np.exp(3 * np.log(x)))
    cube = sg.define_op("cube", derivative=lambda g, y, x: 3 * g * x**2, evaluate=lambda x: x**3, lower=compiled)
    assert sg.compile(cube(x))(2.0) == pytest.approx(8.0)
    branches = numba.njit(lambda x: x if x > 0 else -x)
    branching = sg.define_op("branching", derivative=lambda g, y, x: g, evaluate=np.positive, lower=branches)
    with pytest.raises(TypeError, match="without branches"):
        sg.compile(branching(x))(2.0)


def test_refused() -> None:
    rules = {"derivative": lambda g, y, x: g, "evaluate": lambda x: x}
    with pytest.raises(ValueError, match="exists already"):
        sg.define_op("tanh", **rules)
    with pytest.raises(ValueError, match="not a name"):
        sg.define_op("2x", **rules)
    with pytest.raises(TypeError, match="derivative is a function"):
        sg.define_op("other", derivative=1, evaluate=lambda x: x)
