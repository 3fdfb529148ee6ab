"""Formulas as they are read: the same value as what is computed, in the form that a person would write."""

from __future__ import annotations

import gc
import math
import weakref

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


# --- what sg.grad prints --------------------------------------------------------------------------------------

PRINTED = {  # a formula, what it is differentiated by, how sg.grad prints
    "2*h*nu**3/c**2/(exp(h*nu/(k*T)) - 1)": ("c", "-4*h*nu**3/(c**3*(exp(h*nu/(k*T)) - 1))"),
    "1/sqrt(1 - v**2/c**2)": ("v", "v/(c**2*(1 - v**2/c**2)**1.5)"),
    "v_e*log(m_0/m_f) - g*t": ("m_0", "v_e/m_0"),
    "q1*q2/(4*pi*epsilon_0*r**2)": ("epsilon_0", "-q1*q2/(4*pi*epsilon_0**2*r**2)"),
    "x**n/(K + x**n)": ("x", "n*x**(n - 1)*(1/(K + x**n) - x**n/(K + x**n)**2)"),
    "alpha*x_m**alpha/x**(alpha + 1)": ("x", "-alpha*x_m**alpha*(alpha + 1)/x**(alpha + 2)"),
    "(c**(1 - gamma) - 1)/(1 - gamma)": ("c", "c**(-gamma)"),
    "log(p/(1 - p))": ("p", "1/(1 - p) + 1/p"),
    "n1/n2*asin(s)": ("s", "n1/(n2*sqrt(1 - s**2))"),
    "A*exp(-E_a/(R*T))": ("T", "A*E_a*exp(-E_a/(R*T))/(R*T**2)"),
    "erf((x - mu)/(sigma*sqrt(2)))": ("x", "sqrt(2)*exp(-((x - mu)/(sigma*sqrt(2)))**2)/(sqrt(pi)*sigma)"),
    "a*x**3 + b*x**2 + c*x": ("x", "3*a*x**2 + 2*b*x + c"),
    "3*x + 2": ("x", "3"),
    "R*T*(x*log(x) + (1 - x)*log(1 - x))": ("x", "R*T*log(x) - R*T*log(1 - x)"),
    "-(x - mu)**2/(2*sigma**2)": ("x", "-(x - mu)/sigma**2"),
    "0.25*x**2 + x/3": ("x", "0.5*x + 1/3"),
    "maximum(0, x)": ("x", "where(x < 0, 0, where(x == 0, 0.5, 1))"),
    "x*f*x": ("f", "x**2"),
    "1/(1/f - 1/d) + 1/f": ("f", "(1/(1/f - 1/d)**2 - 1)/f**2"),
    "(x/b + x**2/c)/a": ("x", "2*x/(c*a) + 1/(b*a)"),
    "x**-1": ("x", "-1/x**2"),
    "(x > 0)*x": ("x", "where(x > 0, 1, 0)"),
}


@pytest.mark.parametrize("written", PRINTED)
def test_gradients_print_as_they_are_read(written: str) -> None:
    wrt, expected = PRINTED[written]
    gradient = sg.grad(sg.parse(written), wrt)
    assert str(gradient) == repr(gradient) == expected
    symbols = list(gradient.free_symbols)
    given = {s: 0.3 + 0.17 * k for k, s in enumerate(symbols)}
    back = sg.parse(str(gradient))
    assert float(evaluate(back, {s: given[s] for s in back.free_symbols})) == pytest.approx(float(evaluate(gradient, given)), rel=1e-13)


def test_a_derivative_that_stands_in_the_formula_reads_as_it_stands_there() -> None:
    h, w = sg.symbols("h w")
    y = h / (2 * sg.constant(math.pi)) * w
    before = str(y)
    assert sg.grad(y, w) is y.args[0]
    assert str(y) == before and sg.parse(before) is y


def test_what_is_printed_is_not_what_is_kept() -> None:
    x, f = sg.symbols("x f")
    y = x * f * x
    assert str(y) == "x*f*x"
    again = y * f
    assert str(again) == "x*f*x*f"
    g = sg.grad(sg.exp(x * f) * x, f)
    assert str(g) == "x**2*exp(x*f)"
    assert g is sg.grad(sg.exp(x * f) * x, f) and hash(g) == hash(sg.grad(sg.exp(x * f) * x, f))
    assert str(x - 0.1 * g) == "x - 0.1*x**2*exp(x*f)"  # a derivative inside of something else
    assert str(sg.grad(g, x)) == "x**2*f*exp(x*f) + 2*x*exp(x*f)"
    assert g.latex() == r"x^{2} e^{x f}"


def test_derivatives_do_not_live_longer_for_what_they_remember() -> None:
    x = sg.symbol("x_of_its_own")
    g = sg.grad(sg.exp(x) * 5 + 2, x)
    there = weakref.ref(g)
    del g
    gc.collect()
    assert there() is None


def test_guards_against_single_points_are_not_read() -> None:
    x, n = sg.symbols("x n")
    assert str(sg.grad(x**n, x)) == "n*x**(n - 1)"
    assert str(sg.grad(x**n, n)) == "x**n*log(x)"
    assert str(sg.grad(sg.where(sg.equal(x, 0), 0, x * n), n)) == "where(x == 0, 0, x)"  # the user's own choice stays
    v = sg.symbol("v", 3)
    assert str(sg.grad(sg.norm(v), v)) == "v/norm(v)"
    k = sg.symbol("k", integer=True)
    assert "where(k == 3, 0" in str(sg.grad(x * sg.where(sg.equal(k, 3), 0, x), x))


def test_named_parts_are_read_by_their_names() -> None:
    x, w = sg.symbols("x w")
    p = sg.sigmoid(w * x).named("p")
    assert str(sg.grad((p - 1) ** 2, w)) == "p = sigmoid(w*x)\n2*x*p*(1 - p)*(p - 1)"


def test_products_of_matrices_need_few_brackets() -> None:
    A, B, x, b = sg.symbol("A", ("m", "n")), sg.symbol("B", ("n", "m")), sg.symbol("x", "n"), sg.symbol("b", "m")
    assert str(sg.grad(sg.sum((A @ x - b) ** 2), x)) == "2*A.T @ (A @ x - b)"
    assert str(sg.grad(sg.linalg.trace(A @ B @ A @ B), A)) == "2*B.T @ A.T @ B.T"
    assert str(sg.grad((x @ x) / (b @ b), x)) == "2*x/(b @ b)"
    again = sg.parse("2*A.T @ (A @ x - b)", shapes={"A": ("m", "n"), "x": "n", "b": "m"})
    assert str(again) == "2*A.T @ (A @ x - b)"


def test_simplified_derivatives_are_read_as_well() -> None:
    x, w = sg.symbols("x w")
    assert str(sg.simplify(sg.grad(x * sg.tanh(w * x), w))) == "x**2*(1 - tanh(w*x)**2)"


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (lambda X, Y: (sg.cumsum(X, axis=0) * Y).sum(), "cumsum(Y[::-1], axis=0)[::-1]"),
        (lambda X, Y: (sg.cumsum(X, axis=1) * Y).sum(), "cumsum(Y[:, ::-1], axis=1)[:, ::-1]"),
        (lambda X, Y: (X.sum(axis=1)[:, None] * sg.eye("n")).sum(), None),
        (lambda X, Y: (sg.diagonal(Y @ X.T) ** 2).sum(), None),
        (lambda X, Y: (X.mean(axis=0) * sg.arange(3)).sum(), None),
    ],
)
def test_gradients_of_tensors_can_be_read_back(made, expected) -> None:
    X, Y = sg.symbol("X", ("n", 3)), sg.symbol("Y", ("n", 3))
    gradient = sg.grad(made(X, Y), X)
    assert expected is None or str(gradient) == expected
    rng = np.random.default_rng(0)
    given = {"X": rng.normal(size=(4, 3)), "Y": rng.normal(size=(4, 3)), "n": 4}
    back = sg.parse(str(gradient), shapes={"X": ("n", 3), "Y": ("n", 3)})
    wanted = evaluate(gradient, {s: given[s.name] for s in gradient.free_symbols}, sizes={"n": 4})
    np.testing.assert_allclose(evaluate(back, {s: given[s.name] for s in back.free_symbols}, sizes={"n": 4}), wanted, rtol=1e-13)


def test_like_terms_are_added() -> None:
    x, y = sg.symbols("x y")
    assert str(sg.grad(sg.grad(1 / (1 + sg.exp(-x)), x), x)) == "-exp(-x)*(1/(1 + exp(-x))**2 - 2*exp(-x)/(1 + exp(-x))**3)"
    assert str(sg.grad(sg.atan2(y, x), x)) == "-y/(y**2 + x**2)"


def test_a_gradient_by_components_is_a_vector() -> None:
    q = sg.symbol("q", 4)
    gradient = sg.grad(q[0] ** 2 - 2 * q[2] * q[3], q)
    assert str(gradient) == "stack([2*q[0], 0, -2*q[3], -2*q[2]])"
    given = np.array([0.3, 0.5, 0.7, 1.1])
    back = sg.parse(str(gradient), shapes={"q": 4})
    np.testing.assert_allclose(evaluate(back, {next(iter(back.free_symbols)): given}), evaluate(gradient, {q: given}))


def test_powers_of_products_of_powers_may_be_deep() -> None:
    x, z = sg.symbols("x z")
    y = x
    for _ in range(1500):
        y = (y * z) ** 2
    assert len(str(sg.grad(y, x))) > 1000
