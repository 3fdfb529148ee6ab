"""The scalar graphs of the benchmark: sizes, nothing dead, and derivatives by a second way."""

from __future__ import annotations

import cmath
import math
import random

import numpy as np
import pytest

import symgrad as sg
from symgrad.bench import scale
from symgrad.bench.graphs import _INPUTS, FAMILIES, _random_steps, along, random_dag, robot_arm, value
from symgrad.bench.records import Case, CaseResult, Timing
from symgrad.expr import topological

GRAPHS = {"robot arm": robot_arm(), **{name: family(300, 1) for name, family in FAMILIES.items()}}


@pytest.mark.parametrize("name", GRAPHS)
def test_the_same_graph_in_every_arithmetic(name):
    graph = GRAPHS[name]
    inputs = [sg.symbol(f"x{k}") for k in range(len(graph.point))]
    y = graph.build(inputs, sg)
    assert sum(bool(node.args) for node in topological(y)) <= graph.operations  # fewer where two operations are equal
    f = sg.compile(y, inputs, wrt=inputs, cache=False)
    own, gradient = f.value_and_grad(*graph.point.tolist())
    direction = np.linspace(-1, 1, len(graph.point))
    assert own == pytest.approx(value(graph), rel=1e-12)
    assert np.dot(gradient, direction) == pytest.approx(along(graph, direction), rel=1e-11)


@pytest.mark.parametrize("operations", [17, 100, 1000])
@pytest.mark.parametrize("seed", range(3))
def test_every_node_of_a_random_graph_reaches_the_result(operations, seed):
    steps = _random_steps(operations, random.Random(seed))
    live = {_INPUTS + len(steps) - 1}
    for k in range(len(steps) - 1, -1, -1):
        if _INPUTS + k in live:
            live |= {operand for operand in (steps[k].a, steps[k].b) if operand >= 0}
    assert live >= set(range(_INPUTS, _INPUTS + operations))
    if operations >= 100:  # room enough for all inputs
        assert live >= set(range(_INPUTS))


@pytest.mark.parametrize("family, smallest", [("random", 1000), ("n-body", 850), ("recurrence", 990)])
def test_sizes_are_those_asked_for(family, smallest):
    assert smallest <= FAMILIES[family](1000, 0).operations <= 1150


def test_random_graphs_stay_finite_and_sensitive():
    graph = random_dag(20_000, 3)
    assert abs(value(graph)) < 100 and 1e-6 < abs(along(graph, np.ones(_INPUTS))) < 1e4


def test_a_seed_makes_one_graph():
    assert value(random_dag(500, 5)) == value(random_dag(500, 5)) != value(random_dag(500, 6))


def test_a_robot_arm_keeps_its_length():
    """Turning the first joint alone moves the hand about the base: the distance from the base stays."""
    graph = robot_arm(3)

    def hand(first: float) -> float:
        return graph.build([first, 0.4, -0.3], math)

    # distance to the target is c + a cos(q) + b sin(q) of the first joint
    three = [hand(q) for q in (0.0, 2 * math.pi / 3, 4 * math.pi / 3)]
    six = [hand(q) for q in (0.5, 0.5 + 2 * math.pi / 3, 0.5 + 4 * math.pi / 3)]
    assert sum(three) == pytest.approx(sum(six), rel=1e-12)


def test_a_complex_step_is_exact():
    assert cmath.sin(complex(0.3, 1e-100)).imag / 1e-100 == math.cos(0.3)


# --- the workload ----------------------------------------------------------------------------------


def test_the_same_work_on_both_sides():
    (case,) = [c for c in scale.cases(False) if c.name == "random 100 call"]
    ours = scale.WORKLOAD.contestants["symgrad"](case)
    ours.run(2)
    result = ours.result()
    pytest.importorskip("casadi", reason="casadi is the peer")
    theirs = scale.WORKLOAD.contestants["casadi"](case).result()
    np.testing.assert_allclose(result["gradient"], theirs["gradient"], rtol=0, atol=1e-11)
    assert result["value"] == pytest.approx(theirs["value"], rel=1e-12)


def test_another_gradient_is_refused():
    graph = GRAPHS["robot arm"]
    gradient = np.array([along(graph, d) for d in np.eye(12)])
    scale._check(graph, value(graph), gradient)
    with pytest.raises(ArithmeticError, match="robot arm: value or gradient"):
        scale._check(graph, value(graph), gradient * (1 + 1e-6))


def test_growth_is_judged_by_its_steepest_part():
    sizes = {100: 9.0, 1000: 1.0, 10_000: 10.0, 100_000: 200.0}
    results = [CaseResult(Case("", {"family": "random", "size": s, "what": "seconds"}), {"symgrad": Timing([t])}) for s, t in sizes.items()]
    assert scale._growth("random").judge(results).value == pytest.approx(math.log10(20))
    assert scale._growth("n-body").judge(results).met is None
