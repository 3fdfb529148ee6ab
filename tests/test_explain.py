"""sg.explain: the chain rule step by step, in every form, and that each step is right."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from katex import katex_errors

import symgrad as sg
from symgrad.evaluate import evaluate
from symgrad.expr import Expr
from symgrad.show.explain import Explanation
from symgrad.show.wrap import wrapped

w, x, b, t = sg.symbols("w x b t")
X, T = sg.symbol("X", ("n", 4)), sg.symbol("T", "n")
k = sg.symbol("k", "n", integer=True)


def network(activation: str = "tanh", sizes: tuple[int, ...] = (5, 3, 1)) -> tuple[Expr, Any]:
    net = sg.nn.MLP(4, list(sizes), activation=activation)
    return sg.nn.mse(net(X)[:, 0], T) + 1e-3 * net.l2(), net


def point_of(net: Any) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    return net.init(seed=0) | {"X": rng.normal(size=(6, 4)), "T": rng.normal(size=6)}


def lines(explanation: Explanation) -> list[str]:
    return str(explanation).split("\n")


# --- what is said --------------------------------------------------------------------------------------------


def test_a_neuron_at_a_point() -> None:
    assert str(sg.explain(sg.tanh(w * x + b), [w], w=-3, x=2, b=6.8813735870195432)) == """\
y = tanh(w*x + b), differentiated by w
at w = -3, x = 2, b = 6.88137

Steps
  u1 = w*x       -6
  u2 = u1 + b    0.881374
  y = tanh(u2)   0.707107

Chain rule, from y back
  dy/du2 = ∂y/∂u2
         = 1 - y**2
         = 0.5
  dy/du1 = dy/du2 · ∂u2/∂u1
         = dy/du2 · 1
         = 0.5 · 1
         = 0.5
  dy/dw = dy/du1 · ∂u1/∂w
        = dy/du1 · x
        = 0.5 · 2
        = 1

Put together: 7 operations
  dy/dw = 1*(1 - y**2)*x

Simplified
  dy/dw = (1 - y**2)*x   [multiply by 1]
        = x*(1 - y**2)   [conventional order]

Result: 6 operations
  dy/dw = x*(1 - tanh(w*x + b)**2)
  dy/dw = 1 at the point"""


def test_branches_are_added() -> None:
    shown = lines(sg.explain(x**2 + sg.sin(x), x, x=0.5))
    assert "  dy/dx = ∂y/∂x" not in shown
    assert "  dy/dx = dy/du2 · ∂u2/∂x + dy/du1 · ∂u1/∂x" in shown
    assert "        = dy/du2 · cos(x) + dy/du1 · 2*x" in shown
    assert "        = 1 · 0.877583 + 1 · 1" in shown


def test_a_network_reads_as_backpropagation() -> None:
    loss, net = network("relu", (8, 1))
    shown = lines(sg.explain(loss, list(net.parameters)))
    assert "  Z1 = X @ W1 + b1" in shown and "  H1 = relu(Z1)" in shown
    assert "         = dL/dH1 ⊙ where(Z1 > 0, 1, 0)" in shown
    assert "         = dL/dZ2 @ W2.T" in shown
    assert any(line.endswith("+ X.T @ dL/dZ1") for line in shown)
    assert any(line.startswith("Result: ") and "flops at n = 1000" in line for line in shown)


def test_named_nodes_keep_their_names() -> None:
    z = (w * x + b).named("z")
    explanation = sg.explain((sg.sigmoid(z).named("p") - t) ** 2, ["w", z, "p"])
    assert [s.name for s in explanation.derivation.wrt] == ["w", "z", "p"]
    assert "  z = u1 + b" in lines(explanation) and "  p = sigmoid(z)" in lines(explanation)
    assert "        = dy/dp · p*(1 - p)" in lines(explanation)


def test_rules_are_named_and_untouched_parts_are_signs() -> None:
    loss, net = network()
    explanation = sg.explain(loss, list(net.parameters))
    contract = next(c for c in explanation.changes if c.rule == "contract scaled")
    assert contract.times > 1 and any("□" in c.before and "□" in c.after for c in explanation.changes)
    assert len({c.rule for c in explanation.changes}) == len(explanation.changes)  # a long one: an example a rule


def test_simplification_reads_line_by_line_in_terms_of_steps() -> None:
    shown = str(sg.explain(sg.log(1 + sg.exp(-t * (w * x + b))), [w, b]))
    assert """
Simplified
  dy/dw = -t*(u4/u5)*x       [negative factor, divide, then multiply]
        = -u4/u5*t*x         [conventional order]
        = -t*x*sigmoid(u3)   [sigmoid as a quotient]
  dy/db = -t*(u4/u5)         [negative factor, divide, then multiply]
""" in shown


def test_rules_go_below_their_line_where_there_is_no_room() -> None:
    shown = sg.explain(sg.log(1 + sg.exp(-t * (w * x + b))), w).text(40)
    assert """
  dy/dw = -t*(u4/u5)*x
          [negative factor, divide,
           then multiply]
        = """ in shown


def test_what_a_pass_did_to_the_whole_is_a_line() -> None:
    shown = lines(sg.explain(x**2 * w + 3 * x * w, x))
    assert "        = w*(2*x + 3)   [number first, gather factors and terms]" in shown


FEYNMAN = [json.loads(line) for line in (Path(__file__).parent / "data/feynman/feynman_gradients.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("formula", FEYNMAN[::9], ids=lambda f: f["id"])
def test_formulas_of_physics_are_simplified_line_by_line(formula: dict[str, Any]) -> None:
    point = formula["points"][0]
    explanation = sg.explain(sg.parse(formula["expr"]), values=point["at"])
    assert explanation.derivation.rewritings or not explanation.changes
    given = {**explanation.point.inputs, **{s.symbol: s.value for s in explanation.steps}}
    for rewriting in explanation.derivation.rewritings:
        expected = float(point["grad"][rewriting.name.split("/d")[1]])
        for _, e in rewriting.lines:
            assert float(evaluate(e, given)) == pytest.approx(expected, rel=1e-9), str(e)
    assert max(map(len, explanation.text(80).split("\n"))) <= 80


def test_what_has_a_name_cancels() -> None:
    p = sg.sigmoid(w * x).named("p")
    shown = lines(sg.explain(-(t * sg.log(p) + (1 - t) * sg.log(1 - p)), w))
    assert any(line.startswith("        = x*(p - t) ") and line.endswith(" [gather factors and terms]") for line in shown)


def test_rules_whose_work_does_not_show_are_not_told() -> None:
    shown = lines(sg.explain(b * sg.exp(-w * t * x / 2), [b, w]))  # the minus sign goes to the front of the exponent
    assert any(line.startswith("  dy/db = u5  ") and line.endswith("  [multiply by 1]") for line in shown)


def test_signs_have_a_legend_in_every_form() -> None:
    loss, net = network("tanh", (8, 8, 3, 1))
    explanation = sg.explain(loss, list(net.parameters))
    assert not explanation.derivation.rewritings and any("□" in c.before for c in explanation.changes)
    assert "Simplified (□ is a part that stays as it is)" in str(explanation)
    assert "□ is a part that stays as it is" in explanation._repr_html_()
    assert "### Simplified (□ is a part that stays as it is)" in explanation.markdown()
    assert r"\square" in explanation.latex()


def test_an_expression_that_is_a_symbol_has_neither_steps_nor_a_chain() -> None:
    assert str(sg.explain(x, x)) == "x, differentiated by x\n\nPut together: 0 operations\n  dx/dx = 1\n\nResult: 0 operations\n  dx/dx = 1"


def test_long_formulas_are_grouped() -> None:
    y = sum((sg.sin(x * n) * sg.exp(-x / n) for n in range(1, 13)), start=x)
    explanation = sg.explain(y, x)
    assert 2 < len(explanation.steps) < 45
    assert max(map(len, explanation.text(80).split("\n"))) <= 80
    assert max(map(len, explanation.text(40).split("\n"))) <= 60  # a formula without a place to break stays whole


def test_a_long_sum_is_one_step_of_its_terms() -> None:
    shown = lines(sg.explain(sum((sg.sin(x * n) * sg.exp(-x / n) for n in range(1, 8)), start=x), x))
    assert "  y = x + u2 + u3 + u4 + u5 + u6 + u7 + u8" in shown and "  u4 = sin(x*3)*exp(u1/3)" in shown


def test_a_long_definition_is_that_of_the_steps() -> None:
    y = x
    for n in range(1, 12):
        y = sg.sin(y * n) + sg.exp(-y / n)
    explanation = sg.explain(y, x)
    assert lines(explanation)[:3] == ["y, differentiated by x", "", "Steps"]
    assert "<h4>y, differentiated by x</h4><h4>Steps</h4>" in explanation._repr_html_()


def test_a_node_without_a_name_is_told_by_its_formula() -> None:
    h = sg.tanh(w * x)
    explanation = sg.explain((h - t) ** 2, h)
    assert lines(explanation)[0] == "y = (tanh(w*x) - t)**2, differentiated by u1 = tanh(w*x)"
    assert explanation.markdown().startswith(r"## $y$, differentiated by $u_{1} = \tanh(w x)$")


def test_the_expression_itself_and_names_that_are_taken() -> None:
    y = x * w
    assert lines(sg.explain(y, y))[0] == "y = x*w, differentiated by y"
    product = sg.symbol("y") * sg.symbol("f") * sg.symbol("L") * sg.symbol("F")
    assert lines(sg.explain(product, "y"))[0] == "y0 = y*f*L*F, differentiated by y"
    assert r"\frac{\mathrm{d} y_{0}}{\mathrm{d} y}" in sg.explain(product, "y").latex()


def test_where_nothing_passes_is_said_in_every_form() -> None:
    explanation = sg.explain(sg.floor(x) * x + sg.sign(x), x, x=1.5)
    assert "  ∂u3/∂x = 0, ∂u1/∂x = 0: no derivative passes there" in lines(explanation)
    assert r"\frac{\partial u_{1}}{\partial x} &= 0 && \text{no derivative passes there}" in explanation.latex()
    assert "0, no derivative passes there" in explanation._repr_html_()
    assert not katex_errors([explanation.latex()])


def test_minus_zero_is_zero_to_a_reader() -> None:
    shown = lines(sg.explain(-x * w, [x, w], x=0.0, w=1.0))
    assert "        = 0" in shown and "-0" not in "".join(shown)


def test_lines_break_between_terms_rather_than_within_them() -> None:
    assert wrapped("y = sin(x*4)*exp(u1/4) + sin(x*5)*exp(u1/5) + 1", 40) == "y = sin(x*4)*exp(u1/4)\n  + sin(x*5)*exp(u1/5) + 1"
    assert wrapped("dy/dw = (-t/p + (-(t - 1)/u4))*p*(1 - p)*x", 36) == "dy/dw = (-t/p + (-(t - 1)/u4))\n  *p*(1 - p)*x"
    assert wrapped("y = (a + b + c + d + e + f)**2 + 1", 29) == "y = (a + b + c + d + e\n  + f)**2 + 1"


def test_what_passes_no_derivative_on() -> None:
    shown = lines(sg.explain(sg.stop_gradient(x * w) * x, [x, w]))
    assert "  dy/dx = ∂y/∂x" in shown and "  dy/dw = 0" in shown
    assert not any("dy/du1" in line for line in shown)


# --- that it is right ----------------------------------------------------------------------------------------


FORMULAS: dict[str, tuple[Expr, dict[str, Any]]] = {
    "polynomial": (3 * x**2 - 4 * x + 5, {"x": 3.0}),
    "branches": (sg.sin(x) * sg.exp(-(x**2) / 2) + x**2 / (1 + w * x), {"x": 0.5, "w": 0.3}),
    "choice": (sg.where(x > w, x * w, sg.relu(x) ** 2) * x, {"x": 0.5, "w": 1.3}),
    "softmax": ((sg.softmax(sg.symbol("v", 3) * w) * sg.symbol("v", 3)).sum(), {"v": [0.1, -0.4, 0.3], "w": 2.0}),
    "norms": (sg.norm(sg.symbol("v", 3)) * sg.logsumexp(sg.symbol("v", 3)) + sg.symbol("v", 3)[1:].sum(), {"v": [0.1, -0.4, 0.3]}),
    "quadratic": (sg.symbol("v", 3) @ sg.symbol("A", (3, 3)) @ sg.symbol("v", 3), {
        "v": [0.1, -0.4, 0.3], "A": np.arange(9.0).reshape(3, 3)}),
    "stopped": (sg.stop_gradient(x * w) * x * sg.floor(w * x), {"x": 1.5, "w": 2.1}),
    "classes": (sg.nn.cross_entropy(X @ sg.symbol("W", (4, 3)), k), {
        "X": np.random.default_rng(1).normal(size=(5, 4)), "W": np.random.default_rng(2).normal(size=(4, 3)), "k": [0, 2, 1, 1, 0]}),
    "network": (network()[0], point_of(network()[1])),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMULAS)
def test_every_step_is_right(name: str) -> None:
    """Formulas of steps give the nodes' values, and what users send adds up to the gradient."""
    y, point = FORMULAS[name]
    explanation = sg.explain(y, values=point)
    given = {**explanation.point.inputs, **{s.symbol: s.value for s in explanation.steps}}
    given |= {s.adjoint: s.gradient for s in explanation.steps if s.adjoint is not None}
    for step in explanation.steps:
        np.testing.assert_allclose(evaluate(step.formula, given) if not step.is_input else step.value, step.value, rtol=1e-12)
        if step.terms:
            sent = sum(evaluate(term.product, given) for term in step.terms)
            np.testing.assert_allclose(sent, step.gradient, rtol=1e-10, atol=1e-14, err_msg=step.name)
    for symbol in y.free_symbols:
        if symbol.kind == "real":
            expected = explanation.point.grad(symbol)
            np.testing.assert_allclose(evaluate(explanation.gradients[symbol.name], point), expected, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("name", [n for n, (y, _) in FORMULAS.items() if n in ("polynomial", "branches", "choice", "norms", "quadratic")])
def test_every_line_of_the_simplification_is_the_derivative(name: str) -> None:
    y, point = FORMULAS[name]
    explanation = sg.explain(y, values=point)
    given = {**explanation.point.inputs, **{s.symbol: s.value for s in explanation.steps}}
    checked = 0
    for rewriting in explanation.derivation.rewritings:
        expected = explanation.point.grad(rewriting.name.split("/d")[1])
        for rules, e in rewriting.lines:
            assert rules
            np.testing.assert_allclose(evaluate(e, given), expected, rtol=1e-12, err_msg=str(e))
            checked += 1
    assert checked or not explanation.changes or name == "choice"


@pytest.mark.parametrize("name", FORMULAS)
def test_local_derivatives_times_upstream_are_the_products(name: str) -> None:
    y, point = FORMULAS[name]
    explanation = sg.explain(y, values=point)
    given = {**explanation.point.inputs, **{s.symbol: s.value for s in explanation.steps}}
    given |= {s.adjoint: s.gradient for s in explanation.steps if s.adjoint is not None}
    for step in explanation.steps:
        for term in step.terms:
            if term.local is not None:
                product = term.user.gradient * evaluate(term.local, given)
                np.testing.assert_allclose(product, evaluate(term.product, given), rtol=1e-12, err_msg=step.name)


def test_it_ends_in_the_form_that_is_compiled() -> None:
    """Stability rules and what algebra found are named like the others."""
    t = sg.symbol("t")
    y = sg.log(1 + sg.exp(-t * (w * x + b)))
    explanation = sg.explain(y, [w, b])
    last = [line.strip() for line in str(explanation).splitlines()[-2:]]
    assert last == ["dy/dw = -t*x*sigmoid(-t*(w*x + b))", "dy/db = -t*sigmoid(-t*(w*x + b))"]
    assert any(c.rule == "sigmoid as a quotient" and c.after == "sigmoid(-t*u2)" for c in explanation.changes)
    assert explanation.derivation.after.operations < explanation.derivation.before.operations
    assert "gather factors and terms" in [c.rule for c in sg.explain((x + 1) ** 2 * sg.exp(x), x).changes]


def test_changes_that_do_not_show_are_left_out() -> None:
    t = sg.symbol("t")
    assert all(c.before != c.after for c in sg.explain(sg.exp(-t * (w * x + b)), w).changes)


def test_the_result_is_that_of_grad() -> None:
    loss, net = network()
    gradients = sg.explain(loss, list(net.parameters)).gradients
    assert list(gradients.values()) == list(sg.grad(loss, list(net.parameters)))


def test_a_compiled_function_is_explained_like_its_expression() -> None:
    assert str(sg.explain(sg.compile(x**2), x)) == str(sg.explain(x**2, x))


def test_operations_before_and_after() -> None:
    derivation = sg.explain(x**2 * 1 + 0 * x, x).derivation
    assert derivation.before.operations > derivation.after.operations == 1


# --- forms ---------------------------------------------------------------------------------------------------


def test_latex_and_markdown_compile() -> None:
    shown = []
    for y, point in FORMULAS.values():
        for explanation in (sg.explain(y), sg.explain(y, values=point)):
            shown.append(explanation.latex())
            shown += explanation.markdown().split("$$")[1::2]
    assert not katex_errors(shown)


def test_derivatives_along_all_paths_are_not_written_as_partial_ones() -> None:
    shown = sg.explain(sg.sin(x) * x, x).latex()
    assert r"\frac{\mathrm{d} y}{\mathrm{d} x} &= \frac{\partial y}{\partial x} + " in shown


def test_html_stands_alone_and_is_escaped() -> None:
    bundle = sg.explain(sg.where(x < w, x, w), x, x=1.0, w=2.0)._repr_mimebundle_()
    page = bundle["text/html"]
    assert "prefers-color-scheme" in page and "http" not in page and "<script" not in page
    assert "x &lt; w" in page and "x < w" not in page
    assert bundle["text/plain"].startswith("y = where(x < w, x, w)")


def test_rich_prints_colours_and_files_plain_text(capsys: pytest.CaptureFixture[str]) -> None:
    from rich.console import Console

    explanation = sg.explain(sg.tanh(w * x), w)
    terminal = io.StringIO()
    Console(file=terminal, force_terminal=True, width=80, color_system="standard").print(explanation)
    assert "\x1b[" in terminal.getvalue()
    assert "\x1b[2;35m[multiply by " in terminal.getvalue()
    print(explanation)
    assert "\x1b[" not in capsys.readouterr().out


def test_wide_lines_are_broken_at_the_width() -> None:
    loss, net = network("tanh", (8, 8, 3, 1))
    for width in (80, 60):
        assert max(map(len, sg.explain(loss, list(net.parameters)).text(width).split("\n"))) <= width


# --- what is refused -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: sg.explain(X.sum(0), X), sg.ShapeError, "only a scalar"),
        (lambda: sg.explain(x**2, w), ValueError, "'w' does not occur"),
        (lambda: sg.explain(x**2, "q"), ValueError, "nothing is named 'q'"),
        (lambda: sg.explain(x**2, sg.sin(x)), ValueError, "does not occur"),
        (lambda: sg.explain(x**2, []), ValueError, "nothing to differentiate"),
        (lambda: sg.explain(sg.where(x > 0, x, 0), x > 0), TypeError, "boolean"),
        (lambda: sg.explain(x * w, x, x=1.0), TypeError, "^explain: no value for w"),
        (lambda: sg.explain(x * w, x, 3), TypeError, "^explain: a point is a mapping of names to numbers"),
        (lambda: sg.explain(x * w, 1), TypeError, "not by 1"),
        (lambda: sg.explain("x**2", x), TypeError, r"takes an expression, not text: use sg.parse\('x\*\*2'\)"),
    ],
)
def test_refusals(call: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        call()


# --- golden file: how explanations read, on 80 columns and on 40 -------------------------------------------


def test_explanations_read_as_in_the_golden_file() -> None:
    """``SYMGRAD_UPDATE_GOLDEN=1`` writes the file anew, after a look at the difference."""
    loss, net = network("tanh", (5, 1))
    shown = [
        sg.explain(sg.tanh(w * x + b), [w, b], w=-3, x=2, b=6.5).text(80),
        sg.explain(sg.sin(x) * sg.exp(-(x**2) / 2) + x**2, x, x=0.5).text(40),
        sg.explain((sg.sigmoid((w * x + b).named("z")).named("p") - t) ** 2, ["w", "z", "p"]).text(80),
        sg.explain(loss, list(net.parameters), point_of(net)).text(80),
        sg.explain(loss, list(net.parameters)).text(40),
        sg.explain(sg.sin(x) * w, [x, w], x=0.5, w=2.0).latex(),
        sg.explain(loss, list(net.parameters)).markdown(),
    ]
    written = "\n\n------\n\n".join(shown) + "\n"
    file = Path(__file__).parent / "golden" / "explain.txt"
    if os.environ.get("SYMGRAD_UPDATE_GOLDEN"):
        file.write_text(written, encoding="utf-8")
    assert written == file.read_text(encoding="utf-8"), "explanations changed: look at the difference, then update the file"
