"""LaTeX: what a paper would show, and that every bracket closes."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest

import symgrad as sg
from symgrad.show import Formulas
from symgrad.show.latex import latex_name

x, y, w, b = sg.symbols("x y w b")
mu, sigma = sg.symbols("mu sigma_x")
X, D, W1, v = sg.symbol("X", ("n", 2)), sg.symbol("D", ("n", 16)), sg.symbol("W1", (2, 16)), sg.symbol("v", 2)
k = sg.symbol("k", ("n",), integer=True)


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (lambda: x * (1 - sg.tanh(w * x + b) ** 2), r"x (1 - \tanh^{2}(w x + b))"),
        (lambda: 3 * x**2 - 4 * x + 5, "3 x^{2} - 4 x + 5"),
        (lambda: (x - mu) ** 2 / (2 * sigma**2), r"\frac{(x - \mu)^{2}}{2 \sigma_{x}^{2}}"),
        (lambda: -x / y, r"-\frac{x}{y}"),
        (lambda: x / y / y, r"\frac{x}{y^{2}}"),
        (lambda: sg.sqrt(x + 1), r"\sqrt{x + 1}"),
        (lambda: sg.exp(-x), "e^{-x}"),
        (lambda: sg.exp(x) ** 2, "(e^{x})^{2}"),
        (lambda: x * 2, r"x \cdot 2"),
        (lambda: 2 * sg.symbol("rate") * x, r"2 \mathrm{rate} \, x"),
        (lambda: 1e-7 * x, "10^{-7} x"),
        (lambda: 2.5e30 * x, r"2.5 \cdot 10^{30} x"),
        (lambda: abs(x), "|x|"),
        (lambda: sg.where(x > 0, x, 0), r"\begin{cases} x & \text{if } x > 0 \\ 0 & \text{otherwise} \end{cases}"),
        (lambda: sg.where(x > 0, 1, 0), r"\mathbf{1}\{x > 0\}"),
        (lambda: X.T @ (D * (1 - D**2)), r"X^{\top} (D \odot (1 - D^{2}))"),
        (lambda: v @ v, r"v^{\top} v"),
        (lambda: (X @ W1).T, r"(X W_{1})^{\top}"),
        (lambda: X.sum(0), r"\sum_{i} X_{i,:}"),
        (lambda: X.sum(1), r"\sum_{j} X_{:,j}"),
        (lambda: X.sum(), r"\sum_{ij} X_{ij}"),
        (lambda: (X * sg.exp(X)).sum(1), r"\sum_{j} X_{:,j} \odot e^{X_{:,j}}"),
        (lambda: ((X @ v - 1) ** 2).mean(), r"\frac{1}{n} \sum_{i} (X v - 1)_{i}^{2}"),
        (lambda: (X**2).sum() + (v**2).sum(), r"\left\lVert X \right\rVert_{F}^{2} + \left\lVert v \right\rVert^{2}"),
        (lambda: (X[:, 1:] * X[:, :-1]).sum(), r"\sum_{ij} X_{i,j+1} X_{ij}"),
        (lambda: (X * sg.where(k[:, None] > 1, X, 0)).mean(), r"\frac{1}{2 n} \sum_{ij} X_{ij} (\mathbf{1}\{k_{i} > 1\} X_{ij})"),
        (lambda: X.max(1), r"\max_{j}(X_{:,j})"),
        (lambda: sg.logsumexp(X, axis=1), r"\log \sum_{j} e^{X_{:,j}}"),
        (lambda: sg.where(X > 0, D @ W1.T, 0), r"(D W_{1}^{\top}) \odot \mathbf{1}\{X > 0\}"),
        (lambda: sg.where(x > 0, x, sg.where(x > -1, y, 0)),
         r"\begin{cases} x & \text{if } x > 0 \\ y & \text{if } x > -1 \\ 0 & \text{otherwise} \end{cases}"),
        (lambda: v @ sg.symbol("A", (2, 2)) @ v, r"v^{\top} A v"),
        (lambda: v @ sg.symbol("A", (2, 2)), r"A^{\top} v"),
        (lambda: sg.outer(v, v), r"v v^{\top}"),
        (lambda: 2 / sg.size(X, 0) * (X.T @ D), r"\frac{2}{n} X^{\top} D"),
        (lambda: x / y / w, r"\frac{x}{y w}"),
        (lambda: x / y**2 * w / y, r"\frac{x w}{y^{3}}"),
        (lambda: 0.5 * x**-0.5, r"\frac{0.5}{\sqrt{x}}"),
        (lambda: x**1.5, "x^{3/2}"),
        (lambda: sg.exp(-(x**2)) / math.sqrt(2 * math.pi), r"\frac{e^{-x^{2}}}{\sqrt{2 \pi}}"),
        (lambda: y / sg.hypot(x, y) ** 2, r"\frac{y}{x^{2} + y^{2}}"),
        (lambda: y / sg.hypot(x, y) / sg.hypot(x, y), r"\frac{y}{x^{2} + y^{2}}"),
        (lambda: 2 * sg.where(x > 0, 1, 0) * y, r"2 \cdot \mathbf{1}\{x > 0\} y"),
        (lambda: sg.symbol("x", ("n", 3)) @ sg.symbol("W", (3, 2)), r"\mathbf{x} W"),
        (lambda: sg.stack([v, v]), r"\begin{bmatrix} v^{\top} \\ v^{\top} \end{bmatrix}"),
        (lambda: X[:, 0], "X_{:,0}"),
        (lambda: X[k], "X_{k}"),
        (lambda: sg.norm(v), r"\left\lVert v \right\rVert"),
        (lambda: sg.log_softmax(X), r"\log \operatorname{softmax}(X)"),
        (lambda: sg.eye(2) @ v, "I_{2} v"),
    ],
)
def test_formulas(made: Any, expected: str) -> None:
    assert made().latex() == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("w1", "w_{1}"), ("x_12", "x_{12}"), ("alpha", r"\alpha"), ("sigma_x", r"\sigma_{x}"), ("rate", r"\mathrm{rate}"), ("μ", r"\mu"),
        ("actor.W1", r"W_{1}^{\mathrm{actor}}"), ("x_1_2", "x_{1,2}"), ("learning_rate", r"\mathrm{learning\_rate}"), ("W1.m", "m_{W_{1}}"),
        ("∇W1", r"\nabla W_{1}"), ("W1.m'", "m_{W_{1}}'"), ("δ3", r"\delta_{3}"), ("theta2", r"\theta_{2}"), ("h_old", r"h_{\mathrm{old}}"),
    ],
)  # fmt: skip
def test_names(name: str, expected: str) -> None:
    assert latex_name(name) == expected


def test_shared_parts_are_defined_first() -> None:
    h = sg.tanh(X @ W1 + sg.symbol("b1", 16))
    shown = ((h * h).sum() * sg.exp(h).sum() + sg.log(1 + h * h).sum() + (h**2).sum()).latex()
    assert shown.startswith("\\begin{aligned}\nH_{1} &= \\tanh(X W_{1} + b_{1}) \\\\")
    assert r"\left\lVert H_{1} \right\rVert_{F}^{2}" in shown


def test_a_named_part_has_its_definition() -> None:
    shown = (2 * (w * x).named("hidden")).latex()
    assert shown == "\\begin{aligned}\n&\\phantom{=} 2 \\mathrm{hidden} \\\\\n\\text{where}\\quad \\mathrm{hidden} &= w x\n\\end{aligned}"


def test_formulas_by_name() -> None:
    shown = Formulas(sg.grad(w * x + b, {"w": w, "b": b})).latex()
    assert r"\frac{\partial L}{\partial w} &= x \\[4pt]" in shown
    assert Formulas({"w": x})._repr_latex_().startswith("$\\displaystyle")


def test_every_op_has_latex_whose_brackets_close() -> None:
    from symgrad.expr import OPS, apply

    for name, op in OPS.items():
        if op.family == "leaf" or not op.samples:
            continue
        sample = op.samples[0]
        params = sample[-1] if isinstance(sample[-1], dict) else {}
        operands = sample[:-1] if params else sample
        symbols = [_like(value, i) for i, value in enumerate(operands)]
        shown = apply(op, *symbols, **params).latex()
        assert shown.count("{") == shown.count("}"), name
        assert shown.count(r"\left") == shown.count(r"\right"), name
        assert not re.search(r"(?<!\\)_(?![{])", shown), (name, shown)


def _like(value: Any, i: int) -> Any:
    import numpy as np

    array = np.asarray(value)
    if array.dtype.kind == "b":
        return sg.symbol("xyz"[i % 3], array.shape) > 0
    return sg.symbol("xyzuvw"[i % 6], array.shape, integer=array.dtype.kind == "i")


def test_a_deep_expression() -> None:
    e = x
    for _ in range(5_000):
        e = sg.sin(e) / y
    assert e.latex().count(r"\frac") == 5_000


def test_the_square_of_a_gradient_is_not_that_of_its_parameter() -> None:
    from symgrad.show.latex import tight

    assert tight(r"0.1 \nabla W_{1}^{2}") == r"0.1 (\nabla W_{1})^{2}"
    assert tight(r"\nabla W_{1}^{\mathrm{actor}}") == r"\nabla W_{1}^{\mathrm{actor}}"


def test_a_condition_that_is_reckoned_with_is_an_indicator() -> None:
    v = sg.symbol("v", "n")
    shown = sg.grad(sg.max(v), v).latex()
    assert shown == r"\frac{\mathbf{1}\{v = \max(v)\}}{\sum_{i} \mathbf{1}\{v_{i} = \max(v)\}}"


def test_parts_are_not_called_what_a_greek_name_is_written() -> None:
    r, delta = sg.symbols("r delta")
    y = sg.where(abs(r) < delta, r**2 / 2, delta * (abs(r) - delta / 2)) * sg.exp(r)
    formulas = sg.compile(sg.substitute(y, {r: sg.symbol("p") - sg.symbol("q")}), cache=False).formulas
    assert "δ" not in [line.split(" = ")[0] for line in str(formulas).splitlines()]


# --- what an editor of a journal asks for -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("(a*x + b)**(1/n)", r"(a x + b)^{1/n}"),
        ("x**(1/n - 1)", "x^{1/n - 1}"),
        ("exp(-x/2)", "e^{-x/2}"),
        ("exp(-h*nu/(k*T))", r"e^{-\frac{h \nu}{k T}}"),
        ("exp(-((x - mu)/s)**2)", r"\exp\left(-\left(\frac{x - \mu}{s}\right)^{2}\right)"),
        ("exp(-(V + 55)/10)", r"e^{-\frac{V + 55}{10}}"),
        ("-(x - mu)/sigma**2", r"-\frac{x - \mu}{\sigma^{2}}"),
        ("sigma*sqrt(2*pi)", r"\sigma \sqrt{2 \pi}"),
        ("nu*pi", r"\nu \pi"),
        ("2*h*c**2/l**5*1/(x - 1)", r"\frac{2 h c^{2}}{l^{5} (x - 1)}"),
        ("1.0*x", "x"),
        ("log1p(-x)*expm1(y)", r"\log(1 - x) (e^{y} - 1)"),
        ("log(2)*x", r"\log(2) x"),
    ],
)
def test_scalar_formulas_of_journals(text: str, expected: str) -> None:
    assert sg.parse(text).latex() == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sum(cos(v - m))", r"\sum_{i} \cos(v_{i} - m)"),
        ("sum(100*(v[1:] - v[:-1]**2)**2 + (1 - v[:-1])**2)", r"\sum_{i} (100 (v_{i+1} - v_{i}^{2})^{2} + (1 - v_{i})^{2})"),
        ("mean((v - mean(v))**2)", r"\frac{1}{n} \sum_{j} \left(v_{j} - \frac{1}{n} \sum_{i} v_{i}\right)^{2}"),
        ("sum(v*log(v/u))", r"\sum_{i} v_{i} \log\left(\frac{v_{i}}{u_{i}}\right)"),
        ("A @ (A @ v)", "A A v"),
        ("(v @ u)*v", r"(v^{\top} u) v"),
        ("2*(v @ u)*v/(u @ u)", r"\frac{2 (v^{\top} u) v}{u^{\top} u}"),
        ("mean(v)", r"\frac{1}{n} \sum_{i} v_{i}"),
        ("cumsum(v)", r"\operatorname{cumsum}(v)"),
    ],
)
def test_tensor_formulas_of_journals(text: str, expected: str) -> None:
    shapes = {"v": "n", "u": "n", "A": ("n", "n")}
    assert sg.parse(text, shapes={k: s for k, s in shapes.items() if k in text}).latex() == expected


def test_a_branch_with_a_name_is_not_written_twice() -> None:
    x = sg.symbol("x")
    inner = sg.where(x > 1, x**2 * sg.sin(x) * sg.exp(-x), 2 * x * sg.cos(x) * sg.exp(-x)).named("h")
    assert r"\\ h & \text{otherwise}" in sg.where(x < -1, 0, inner).latex()


@pytest.mark.parametrize(
    ("name", "expected"),
    [("x_hat", r"\hat{x}"), ("theta_ddot", r"\ddot{\theta}"), ("x_bar_1", r"\bar{x}_{1}"), ("ẋ", r"\dot{x}"), ("hbar", r"\hbar"),
     ("mean_hat", r"\mathrm{mean\_hat}"), ("v_dot_product", r"\dot{v}_{\mathrm{product}}")],
)  # fmt: skip
def test_accents(name: str, expected: str) -> None:
    assert latex_name(name) == expected


def test_sizes_of_several_letters_are_upright() -> None:
    assert sg.symbol("v", "batch").mean().latex() == r"\frac{1}{\mathrm{batch}} \sum_{i} v_{i}"


def test_exponents_may_be_long() -> None:
    x = sg.symbol("x")
    total = x
    for k in range(2, 3000):
        total = total + x / k
    assert r"\exp(" in sg.exp(total).latex()
    assert "x^{" in (x**total).latex()
