"""Formulas as they are read: the same value as what is computed, in the form that a person would write."""

from __future__ import annotations

import numpy as np
import pytest

import symgrad as sg
from symgrad.evaluate import evaluate
from symgrad.expr import free_symbols
from symgrad.show import Formulas
from symgrad.show.reading import plainly, readable
from symgrad.simplify.cost import count

READ = {  # an expression, by what it is differentiated, how the derivatives read
    "x*tanh(w*x + b)": ("w b", ["x**2*(1 - tanh(w*x + b)**2)", "x*(1 - tanh(w*x + b)**2)"]),
    "log(1 + exp(-t*(w*x + b)))": ("w b", ["-t*x*sigmoid(-t*(w*x + b))", "-t*sigmoid(-t*(w*x + b))"]),
    "sqrt(x**2 + y**2)": ("x y", ["x/sqrt(x**2 + y**2)", "y/sqrt(x**2 + y**2)"]),
    "b*a*sin(x)": ("x a", ["b*a*cos(x)", "b*sin(x)"]),
    "relu(w*x)**2": ("w", ["2*x*relu(w*x)"]),
    "k*q*p/r**2": ("r", ["-2*k*q*p/r**3"]),
}


@pytest.mark.parametrize("written", READ)
def test_derivatives_read_as_a_person_writes_them(written: str) -> None:
    wrt, expected = READ[written]
    y = sg.parse(written)
    symbols = {s.name: s for s in free_symbols(y)}
    shown = Formulas(sg.simplify(sg.grad(y, {n: symbols[n] for n in wrt.split()})), of="y", written=[y])
    assert [line.partition(" = ")[2] for line in str(shown).splitlines()] == expected


@pytest.mark.parametrize("written", READ)
def test_what_is_read_has_the_value_and_the_cost_of_what_is_computed(written: str) -> None:
    y = sg.parse(written)
    derivatives = list(sg.simplify(sg.grad(y, y.free_symbols)))
    point = {s: 0.3 + 0.4 * k for k, s in enumerate(y.free_symbols)}
    for shared in (False, True):
        read = readable(derivatives, [y], shared=shared)
        np.testing.assert_allclose(np.array(evaluate(read, point)), np.array(evaluate(derivatives, point)), rtol=1e-14)
        signs = 1  # one that several products had together
        assert all(count([r]).operations <= count([d]).operations + signs for r, d in zip(read, derivatives, strict=True))


def test_what_several_formulas_use_keeps_its_name() -> None:
    x, w, b, t = sg.symbols("x w b t")
    y = (sg.sigmoid(w * x + b) - t) ** 2 * sg.tanh(w * x + b)
    assert str(Formulas(sg.grad(y, {"w": w, "b": b}), written=[y])).splitlines()[-2:] == ["dL/dw = x*δ", "dL/db = δ"]


def test_minus_signs_stand_in_front() -> None:
    x, y, z = sg.symbols("x y z")
    assert [str(e) for e in readable([x * (-y) * z, sg.exp(x * -y), x - y * (-z), (-x) * y])] == ["-x*y*z", "exp(-x*y)", "x + y*z", "-x*y"]


def test_the_bare_chain_rule_stays_as_it_is_computed() -> None:
    x, w = sg.symbols("x w")
    raw = sg.grad(x * sg.exp(w * x), {"w": w}, simplify=False)
    assert str(Formulas(raw, raw=True)) == "dL/dw = 1.0*x*exp(w*x)*x"
    assert str(sg.compile(x * sg.exp(w * x), wrt=w, simplify=False, cache=False).formulas) == "dL/dw = 1.0*x*exp(w*x)*x"


def test_numbers_of_the_sweep_are_plain() -> None:
    r = sg.symbol("r", "n")
    raw = sg.grad(sg.mean(r**2), r, simplify=False)
    assert "broadcast_to" in str(raw) and str(plainly([raw])[0]) == "1/sg.size(r, 0)*2*r".replace("sg.size(r, 0)", "n")


def test_a_long_product_is_read_in_time() -> None:
    x, y = sg.symbols("x y")
    e = x
    for k in range(20_000):
        e = e * (y + k)
    (read,) = readable([e * x])
    assert read.shape == () and read is not e
