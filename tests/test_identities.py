"""Identities of functions and of polynomials: what is found without SymPy, that it has the same value, and what is left alone."""

from __future__ import annotations

import random
from itertools import product
from typing import Any

import numpy as np
import pytest

import symgrad as sg
from symgrad.evaluate import evaluate
from symgrad.expr import Expr, topological
from symgrad.simplify import islands
from symgrad.simplify.algebra import has_identities
from symgrad.simplify.cost import cost
from symgrad.simplify.identities import identical
from symgrad.simplify.in_place import changed_in_place
from symgrad.simplify.islands import simplify_islands
from symgrad.simplify.polynomials import Sparse, common_factor, may_depend, quotient

x, y, z, t = sg.symbols("x y z t")
sin, cos, tan, sinh, cosh, exp, log = sg.sin, sg.cos, sg.tan, sg.sinh, sg.cosh, sg.exp, sg.log

FOUND: list[tuple[Expr, Expr]] = [
    # squares
    (y * sin(x * z) ** 2 + y * cos(x * z) ** 2, y),
    ((1 - sin(x) ** 2) / cos(x), cos(x)),
    (sin(x) / (1 - cos(x) ** 2), 1 / sin(x)),
    (cosh(x / y) ** 2 - sinh(x / y) ** 2, sg.constant(1)),
    ((sinh(x) ** 2 + 1) / cosh(x), cosh(x)),
    (sin(x) ** 4 + 2 * sin(x) ** 2 * cos(x) ** 2 + cos(x) ** 4, sg.constant(1)),
    ((z - z * cos(x)) * (1 + cos(x)), z * sin(x) ** 2),
    # double angles
    (cos(x) ** 2 - sin(x) ** 2, cos(2 * x)),
    (sin(x) ** 4 - cos(x) ** 4, -cos(2 * x)),
    (6 * sin(x * y) * cos(x * y), 3 * sin(2 * (x * y))),
    ((sin(x) + cos(x)) ** 2, 1 + sin(2 * x)),
    (cosh(x) ** 2 + sinh(x) ** 2, cosh(2 * x)),
    (sinh(x) * y * cosh(x), y * sinh(2 * x) / 2),
    (sin(2 * x) / sin(x), 2 * cos(x)),
    (y * sinh(2 * x) / cosh(x), 2 * (y * sinh(x))),
    (sin(-2 * x * y) / cos(-x * y), 2 * sin(-x * y)),
    # tangents
    (y * sin(x) / cos(x), y * tan(x)),
    (tan(x) * cos(x), sin(x)),
    (tan(x) ** 2 - 1 / cos(x) ** 2, sg.constant(-1)),
    # sums of arguments
    (sin(x) * cos(y) * z + cos(x) * sin(y) * z, z * sin(x + y)),
    (sin(x + y) * cos(y) - cos(x + y) * sin(y), sin(x)),
    (cos(x) * cos(y) - sin(x) * sin(y), cos(x + y)),
    (cosh(x) * cosh(y) - sinh(x) * sinh(y), cosh(x - y)),
    (sinh(x) * cosh(y) - cosh(x) * sinh(y), sinh(x - y)),
    # exponentials and logarithms
    (exp(2 * x) / (1 + exp(x)) ** 2, exp(x) ** 2 / (1 + exp(x)) ** 2),
    (exp(x * y) + exp(-x * y), 2 * cosh(x * y)),
    (z * exp(2 * x) - z * exp(-2 * x) + y, 2 * (z * sinh(2 * x)) + y),
    (y * log(2 + sin(x)) + y * log(3 + cos(x)), y * log((2 + sin(x)) * (3 + cos(x)))),
    # polynomials
    ((x**3 - 1) / (x - 1), x**2 + x + 1),
    ((x**2 - y**2) / (x**2 + 2 * x * y + y**2), (x - y) / (x + y)),
    ((x * exp(y) + x) / (exp(y) ** 2 - 1), x / (exp(y) - 1)),
    (1 / (x**2 - 1) + 1 / (x - 1), (x + 2) / ((x - 1) * (x + 1))),
    ((x / 2 - 0.25) * z / (2 * x - 1), z / 4),
]


def value(e: Expr, at: dict[str, float]) -> float:
    return float(evaluate(e, {s.name: at[s.name] for s in e.free_symbols}))


@pytest.mark.parametrize(("before", "after"), FOUND, ids=[str(b) for b, _ in FOUND])
def test_found(before: Expr, after: Expr) -> None:
    """At least as cheap as the textbook's form, and of the same value; the same where the candidate is the cheapest one."""
    found = identical([before])
    assert found and min(map(cost, found)) <= cost([after]) < cost([before])
    rng = random.Random(5)
    for _ in range(5):
        at = {name: rng.uniform(0.2, 1.4) for name in "xyzt"}
        for forms in found:
            assert value(forms[0], at) == pytest.approx(value(before, at), rel=1e-12)


def test_outputs_go_together() -> None:
    """One way for the value and its derivative: both by the double angle."""
    found = min(identical([y * sin(x) * cos(x), y * (cos(x) ** 2 - sin(x) ** 2)]), key=cost)
    assert {n for n in topological(*found) if n.op.name in ("sin", "cos")} == {sin(2 * x), cos(2 * x)}


NOTHING = [sin(x) * cos(y), exp(x) * y, log(x), x / (x + 1), (x + y) / (x - y), sin(x) ** 2 * y, sg.sqrt(x) / x, tan(x) * y]


@pytest.mark.parametrize("e", NOTHING, ids=map(str, NOTHING))
def test_nothing_to_find(e: Expr) -> None:
    assert all(cost(forms) >= cost([e]) for forms in identical([e]))


def test_brackets_that_are_factored_again_come_to_an_end() -> None:
    u = exp(x) / (1 + exp(x) ** 2)
    e = sin(u) * (y * cos(u) - x * sin(u)) * (sin(u) + cos(u)) ** 2 + (1 - cos(u)) ** 2 * sin(u)
    for forms in identical([e, sg.grad(e, x)]):
        assert value(forms[0], {"x": 0.3, "y": 0.7}) == pytest.approx(value(e, {"x": 0.3, "y": 0.7}), rel=1e-12)


def test_sympy_is_not_asked_for_what_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    def unexpected(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("SymPy was asked")

    monkeypatch.setattr(islands, "_remembered", {})
    monkeypatch.setattr(islands, "_store", None)
    monkeypatch.setattr(islands, "candidates", unexpected)
    for e, _ in FOUND:
        report: dict[str, Any] = {}
        simplify_islands([e], report=report)
        assert not any("SymPy" in reason for reason in report["unsimplified"]), str(e)


def test_a_form_is_tried_as_it_is_where_rules_spoil_it() -> None:
    assert simplify_islands([(x**2 - y**2) / (x - y)], tidy=lambda forms: [next(iter(f.free_symbols)) for f in forms]) == [x + y]


ASKED = [(sin(x + y) + sin(x - y)) / cos(y), sin(3 * x) - cos(x), cosh(x + y) * cosh(x) * cosh(y)]


@pytest.mark.parametrize("e", ASKED, ids=map(str, ASKED))
def test_sympy_is_asked_about_related_arguments(e: Expr) -> None:
    assert has_identities([e])
    assert not has_identities([sg.substitute(e, {n: n.args[0] for n in topological(e) if n.op.name in ("sin", "cos", "cosh")})])


def test_dependent() -> None:
    u = x / y
    assert may_depend([u, z, 3 * u - z / 2]) and may_depend([x * y, x * (y + 1), x]) and may_depend([u, 3 * x / y])
    assert not may_depend([u, 2 * u, 4 * x / y]) and not may_depend([x, x**2, x * y]) and not may_depend([sin(x), x, cos(x)])
    assert not may_depend([])


# --- in place ----------------------------------------------------------------------------------------------

IN_PLACE: list[tuple[Expr, Expr | None]] = [
    # double angles
    (x * sin(y) / z**3 * cos(y), x * sin(2 * y) / z**3 * 0.5),
    (x / sinh(y) / z / cosh(y), x / sinh(2 * y) / z / 0.5),
    (sin(y) / cos(y) * x, None),
    # half arguments
    (x * exp(y) / z / sg.expm1(y) ** 2, x / z / (2 * sinh(y / 2)) ** 2),
    (x / sg.expm1(y) / z / sg.expm1(y) * exp(y), x / (2 * sinh(y / 2)) / z / (2 * sinh(y / 2))),
    (x / (z * (1 + exp(y))) ** 2 * exp(y), x / (z * (2 * cosh(y / 2))) ** 2),
    (x / sg.expm1(y) * exp(y), None),
    # what is multiplied by and divided by
    (x * z / (y * z**3), x / (y * z**2)),
    (-x / (z * y) * z, -x / y),
    (x**3 / (y / z) / x**3, sg.constant(1) / (y / z)),
    (x / (y * z) ** 2 * z, x / (y * z * y)),
    (x / (2 * y * z) / (2 * y * z) * z, x / (2 * y * z) / (2 * y)),
    (t / (x * z * y) ** 2 * z, t / (x * z * y * (x * y))),
    (x / (y * z) ** 3 * t, None),
    # numbers
    (2 * x / (y / 6) ** 2 / 3, 24 * (x / y**2)),
    (3 / (4 * x), 0.75 / x),
    (-(2 * x) * 0.5 * y, -x * y),
    (0.1 * x * 0.7, (0.1 * 0.7) * x),
    (x * 1e300 * 1e200, None),
    # numbers before brackets
    (6 * (3 * y - 2 * x) * z, (18 * y - 12 * x) * z),
    ((2 * x - 4 * y) / 4, 0.5 * x - y),
    (-(3 * (x**2 - 0.5)), 1.5 - 3 * x**2),
    (-(1 + (2 * x) ** 2) / 2, -0.5 - 2 * x**2),
    (2 * (x + y), None),
    (3 * (x - y / 3), 3 * x - y),
    (3 * (x - y / 7), None),  # three sevenths is no short binary fraction
    ((2 * x + 3) / 3, None),
    (2 * (2 * x + y) * (2 * x - y), None),
]


@pytest.mark.parametrize(("before", "after"), IN_PLACE, ids=[str(b) for b, _ in IN_PLACE])
def test_changed_in_place(before: Expr, after: Expr | None) -> None:
    found = list(changed_in_place([before]))
    assert [after] in found if after is not None else not found


def test_a_divisor_that_others_use_is_replaced_in_one_place() -> None:
    part = x * y * z
    assert list(changed_in_place([t / part * z, exp(part)])) == [[t / (x * y), exp(part)]]


def test_products_of_products_are_searched_once() -> None:
    """Doubling 60 times makes 2**60 ways through it."""
    e = x
    for _ in range(60):
        e = e * e
    assert list(changed_in_place([y / e * z, e])) == []


def test_numbers_become_one_before_a_product_and_inside_of_it() -> None:
    before, inside = (-0.5 * (x / y**2 / z), -0.5 * x / y**2 / z)
    assert list(changed_in_place([-2 * x / (4 * y**2) / z])) == [[inside], [before]]


def test_changes_are_made_together_and_alone() -> None:
    e = sg.exp(x / (z * y) * z) + y * z / (x * z**2)
    both, *alone = changed_in_place([e])
    assert both == [sg.exp(x / y) + y / (x * z)] and len(alone) == 2
    assert [sg.exp(x / y) + y * z / (x * z**2)] in alone


def test_what_is_used_elsewhere_is_no_part_of_a_product() -> None:
    part = x * sin(y)
    assert list(changed_in_place([part, part * cos(y)])) == []
    bracket = 3 * y - 2 * x
    assert list(changed_in_place([6 * bracket, exp(bracket)])) == []


def test_a_change_in_place_keeps_the_order_of_the_rest() -> None:
    """Gathered, the factors are in another order, which overflows where this one does not."""
    e = x / (z * y) * sin(t) * z / (x * x) * cos(t)
    found = simplify_islands([e])
    assert sum(n.op.name in ("sin", "cos") for n in topological(*found)) == 1


# --- polynomials -------------------------------------------------------------------------------------------


def times(p: Sparse, q: Sparse) -> Sparse:
    found: Sparse = {}
    for (a, c), (b, d) in product(p.items(), q.items()):
        key = tuple(i + j for i, j in zip(a, b))
        found[key] = found.get(key, 0) + c * d
    return {key: c for key, c in found.items() if c}


def some_polynomial(rng: random.Random, variables: int, terms: int) -> Sparse:
    p: Sparse = {tuple(rng.randrange(3) for _ in range(variables)): rng.choice((-7, -2, -1, 1, 3, 10)) for _ in range(terms)}
    return {**p, (0,) * variables: rng.choice((-3, 1, 5))}


@pytest.mark.parametrize("variables", [1, 2, 3, 4])
def test_common_factors(variables: int) -> None:
    """What two polynomials are made of is found again, and nothing but that."""
    rng = random.Random(variables)
    for _ in range(20):
        g, a, b = (some_polynomial(rng, variables, 3) for _ in range(3))
        found = common_factor(times(g, a), times(g, b))
        if not any(map(any, g)):
            continue
        assert found is not None
        left, right = quotient(times(g, a), found), quotient(times(g, b), found)
        assert left is not None and right is not None
        assert times(left, found) == times(g, a) and times(right, found) == times(g, b)
        assert quotient(found, {key: c // np.gcd.reduce(list(g.values())) for key, c in g.items()}) is not None
        assert common_factor(left, right) is None


def test_no_common_factor() -> None:
    assert common_factor({(2,): 1, (0,): 1}, {(1,): 1, (0,): 1}) is None
    assert common_factor({(0,): 4}, {(1,): 2, (0,): 6}) is None  # a number is none
    assert common_factor({}, {(1,): 1}) is None


def test_quotients() -> None:
    assert quotient({(2, 0): 1, (0, 2): -1}, {(1, 0): 1, (0, 1): -1}) == {(1, 0): 1, (0, 1): 1}
    assert quotient({(2, 0): 1, (0, 2): 1}, {(1, 0): 1, (0, 1): -1}) is None
    assert quotient({(1,): 3}, {(1,): 2}) is None
