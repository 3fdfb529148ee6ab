"""The hessian and jacobian workloads: all contestants compute the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import symgrad as sg
from symgrad.bench import hessian, jacobian
from symgrad.bench.records import Case, CaseResult, Timing


def differences(f, x, step=1e-6):
    return np.stack([(f(x + step * e) - f(x - step * e)) / (2 * step) for e in np.eye(len(x))], axis=-1)


@pytest.mark.parametrize("system", jacobian.SYSTEMS)
def test_jacobians(system):
    case = Case("small", {"system": system, "n": 7})
    x, *rest = jacobian.known(system, 7)
    expected = differences(lambda x: jacobian.residual(system, np, x, rest), x)
    ours = jacobian.by_symgrad(case)
    ours.run(2)
    np.testing.assert_allclose(ours.result(), expected, atol=1e-8)
    pytest.importorskip("jax", reason="jax is the peer")
    np.testing.assert_allclose(jacobian.by_jax(case).result(), ours.result(), atol=1e-13)


def test_products_with_the_hessian_of_a_network():
    pytest.importorskip("jax", reason="jax is the peer")
    case = Case("small", {"batch": 10})
    ours, theirs = jacobian.by_symgrad(case).result(), jacobian.by_jax(case).result()
    assert list(ours) == list(theirs) == ["W1", "b1", "W2", "b2", "W3", "b3"]
    for name, product in ours.items():
        np.testing.assert_allclose(product, theirs[name], atol=1e-11 * np.abs(product).max())


@pytest.mark.parametrize("problem", hessian.PROBLEMS)
def test_hessians(problem):
    n = 9
    x, *data = hessian.known(problem, n)
    symbols = [sg.symbol(name, a.shape) for name, a in zip("xab", (x, *data))]
    f = sg.compile(hessian.objective(problem, sg, symbols[0], symbols[1:]), symbols, wrt=symbols[0], cache=False)
    expected = hessian._products(f.hessian(x, *data), n)
    for name in ("casadi", "jax"):
        pytest.importorskip(name, reason=f"{name} is one of the peers")
        result = hessian._call(name, Case("", {"problem": problem, "n": n})).result()
        assert result["value"] == pytest.approx(f(x, *data), rel=1e-12)
        np.testing.assert_allclose(result["gradient"], f.grad(x, *data), rtol=1e-10)
        np.testing.assert_allclose(result["products"], expected, atol=1e-11 * np.abs(expected).max())


def test_growth_is_from_ten_to_a_hundred_thousand():
    case = Case("", {"problem": "rosenbrock", "what": "call", "n": 10_000})
    results = [CaseResult(replace(case, parameters={**case.parameters, "n": n}), {"symgrad": Timing([t])})
               for n, t in ((1000, 5.0), (10_000, 1.0), (100_000, 13.0))]
    verdict = hessian._growth("rosenbrock", "call").judge(results)
    assert verdict.value == 13.0 and verdict.met is False
    assert hessian._growth("rosenbrock", "call").judge(results[:2]).met is None
