"""Products: what they have in common is computed once, signs go where they cost nothing, numbers become one."""

from __future__ import annotations

import math

import pytest

import symgrad as sg
from symgrad.evaluate import evaluate
from symgrad.expr import Expr
from symgrad.simplify.cost import count
from symgrad.simplify.monomials import gathered
from symgrad.simplify.polynomials import may_cancel
from symgrad.simplify.products import products_shared

a, b, c, d, x, y = sg.symbols("a b c d x y")


def operations(*roots: Expr) -> int:
    return count(roots).operations


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (-(a * (b - c)), a * (c - b)),
        (-(a / (b - c) ** 3), a / (c - b) ** 3),
        (-(a * (b - c) ** 2), -(a * (b - c) ** 2)),
        (-(a * (b - c)) * sg.exp(b - c), -(a * (b - c)) * sg.exp(b - c)),  # the difference is used as it is
    ],
    ids=str,
)
def test_a_sign_turns_a_difference_round(before: Expr, after: Expr) -> None:
    assert products_shared([before]) == [after]


def test_common_factors_are_multiplied_once() -> None:
    before = a * sg.exp(b * x / c) * x / c
    (after,) = products_shared([before])
    assert (operations(before), operations(after)) == (6, 5)
    values = {"a": 1.5, "b": 0.25, "c": 2.0, "x": 3.0}
    assert math.isclose(evaluate(after, values), evaluate(before, values), rel_tol=1e-14)


def test_what_has_nothing_in_common_stays() -> None:
    forms = [a * b + c * d, sg.exp(a * c)]
    assert products_shared(forms) == forms
    assert products_shared([x]) == [x]


def test_numbers_of_a_product_are_one() -> None:
    (form,) = gathered([0.3 * x / (0.7 * y)])
    assert form is (0.3 / 0.7) * x / y or operations(form) == 2
    assert gathered([x / 3]) == [x / 3]  # an exact number stays exact
    assert operations(*gathered([1 / (4 * math.pi * x)])) == 1


def test_a_number_too_large_or_small_stays_where_it_is() -> None:
    assert gathered([1e-200 * x / (1e200 * y)]) == [1e-200 * x / (1e200 * y)]


@pytest.mark.parametrize("text", ["1/(4*pi)*q/r", "1/pi*x", "3/(8*pi)*x"])
def test_multiples_of_pi_below_are_recognised(text: str) -> None:
    assert str(sg.parse(text)) == text


@pytest.mark.parametrize(
    ("above", "below", "can"),
    [
        (x**2 - y**2, x - y, True),
        (x**3 + 3 * x**2 * y + 3 * x * y**2 + y**3, (x + y) * (x - y), True),
        (sg.exp(x) ** 2 - 1, sg.exp(x) + 1, True),
        (x**2 + y**2, x - y, False),
        (sg.sin(x) + 1, sg.cos(x) + 1, False),
        (x - x + 3, y + 1, False),
        ((x**30 + 1) * (x**30 + 2), y + 1, True),  # too much to look at
    ],
    ids=str,
)
def test_whether_a_polynomial_can_be_cancelled(above: Expr, below: Expr, can: bool) -> None:
    assert may_cancel(above, below) == can
