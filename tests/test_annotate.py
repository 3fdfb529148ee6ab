"""Notes beside the generated Python: the formula of each line and its operations."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import symgrad as sg
from symgrad.render.python_body import shortened


def notes(text: str) -> dict[str, str]:
    """Code → note, for the lines that have one (titles of kernels stand on lines of their own)."""
    pairs = [line.split("  # ") for line in text.splitlines() if "  # " in line and not line.lstrip().startswith(("#", "return"))]
    return {code.strip(): note for code, note in pairs}


def total(text: str) -> str:
    """What the last line of the first function says of all of them."""
    return next((line.split("  # ")[1] for line in text.splitlines() if line.startswith("    return ") and "  # " in line), "")


def without_notes(text: str) -> str:
    return "\n".join(re.sub(r"\s*  # .*", "", line) if not line.lstrip().startswith("#") else line for line in text.splitlines()) + "\n"


def network() -> Any:
    x, t = sg.symbol("x", ("n", 2)), sg.symbol("t", ("n",))
    net = sg.nn.MLP(2, [4, 1], activation="tanh")
    return sg.compile(sg.nn.mse(net(x)[:, 0], t), wrt=list(net.parameters))


def indexing() -> Any:
    x, i = sg.symbol("x", ("n",)), sg.symbol("i", ("m",), integer=True)
    y = sg.where(x > 0, sg.log(x), sg.exp(x))
    return sg.compile({"a": sg.cumsum(y), "b": y[1:3], "c": sg.concatenate([y, x]), "d": sg.take(x, i)})


@pytest.mark.parametrize("function", [lambda: sg.compile(sg.parse("x*tanh(w*x + b)")), network, indexing])
def test_notes_are_comments_and_nothing_else(function: Any) -> None:
    f = function()
    assert without_notes(f.source(annotate=True)) == f.source()
    assert not notes(f.source())


def test_a_scalar_formula() -> None:
    found = notes(sg.compile(sg.parse("x*tanh(w*x + b)"), wrt=[]).source(annotate=True))
    assert found == {"value = x * math.tanh(w * x + b)": "x*tanh(w*x + b); 4 operations"}


def test_stored_arrays_stand_by_their_names_and_rounds_count() -> None:
    found = notes(network().source(annotate=True))
    assert found["t0[...] = x @ W1"] == "x @ W1; 16*n operations"
    assert "tanh(t0 + b1); 8*n operations" in found.values()
    assert "acc += t5[i]**2" in found and found["acc += t5[i]**2"] == "sum(t5**2); 2*n operations"
    assert found["value = acc / float(n)"] == "sum(t5**2)/n; 1 operation"


def test_rounds_of_blocks_and_of_a_fixed_number() -> None:
    x = sg.symbol("x", (6,))
    found = notes(sg.compile(sg.exp(x) * 2, wrt=[]).source(annotate=True))
    assert found == {"value[i] = math.exp(x[i]) * 2.0": "exp(x)*2; 12 operations"}


def test_operations_are_those_that_the_cost_counts() -> None:
    """Straight-line code: the notes' operations add up to the cost of the formula."""
    f = sg.compile(sg.parse("sin(x)*cos(y) + x*y/(1 + x**2) - exp(-y)"), wrt=[])
    found = sum(int(n) for n in re.findall(r"(\d+) operations?", "\n".join(notes(f.source(annotate=True)).values())))
    assert found == f.cost.after["operations"]


def test_all_operations_are_added_up_at_the_end() -> None:
    text = network().source(annotate=True)
    assert total(text) == "36*n + 1 operations in all"
    assert not total(sg.compile(sg.parse("x + 1")).source(annotate=True))  # the only line says it


@pytest.mark.parametrize("n", [1, 4, 7])
def test_the_sum_is_what_is_computed(n: int) -> None:
    """In rounds of blocks, too: products of matrices, sums, functions."""
    x, w = sg.symbol("x", ("n", 3)), sg.symbol("w", 3)
    said = total(sg.compile(sg.tanh(x @ w).sum(), wrt=[]).source(annotate=True)).removesuffix(" operations in all")
    assert eval(said, {"n": n}) == 6 * n + n + n


def test_places_are_no_operations_of_the_formula() -> None:
    x = sg.symbol("x", 3)
    text = sg.compile(sg.hessian(sg.sum(x**3), x), wrt=[]).source(annotate=True)
    assert "//" not in " ".join(notes(text).values())
    counts = [int(n) for n in re.findall(r"; (\d+) operations?", "\n".join(notes(text).values()))]
    assert counts and sum(counts) <= 3 + 2 * 9
    found = notes(sg.compile(sg.where(sg.equal(sg.symbol("k", 3, integer=True), 2), x, 0), wrt=[]).source(annotate=True))
    assert any("6 operations" in note for note in found.values())  # compared with numbers of the user's


def test_lines_with_notes_are_not_absurdly_long() -> None:
    x = sg.symbol("x", 3)
    y = sg.sum(x**2) * sg.exp(x[0] * x[1]) / (1 + x[2] ** 2)
    text = sg.compile(sg.hessian(y, x), wrt=[]).source(annotate=True)
    assert max(map(len, text.splitlines())) <= 145


def test_what_is_left_out_of_a_formula_is_left_out_between_words() -> None:
    assert shortened("where(isfinite(max(v, keepdims=True)), max(v, keepdims=True), 0.0)", 40) == "where(isfinite(max(v, … 0.0)"


def test_a_formula_of_several_lines_keeps_them_in_the_docstring() -> None:
    x, b = sg.symbols("x b")
    z = sg.exp(-(x**2) / b) + sg.sin(b * x)
    text = sg.compile((z * sg.tanh(z + x) + z**2) * z, wrt=[]).source()
    assert "?" not in text and '    """h1 = ' in text


def test_a_copy_says_of_what() -> None:
    assert "t0[1:3]" in notes(indexing().source(annotate=True)).values()


def test_what_is_too_deep_is_left_out() -> None:
    x = sg.symbol("x")
    y: Any = x
    for k in range(200):
        y = sg.sin(y) * x + k
    found = notes(sg.compile(y, wrt=[]).source(annotate=True))
    assert max(map(len, found.values())) < 100
    assert any("…" in note for note in found.values())
    module: dict[str, Any] = {}
    exec(compile(sg.compile(y, wrt=[]).source(annotate=True), "annotated", "exec"), module)
    assert np.isclose(module["value"](0.3), sg.compile(y)(0.3))


def test_only_python_is_annotated() -> None:
    with pytest.raises(ValueError, match="annotate"):
        sg.compile(sg.parse("x + 1")).source("llvm", annotate=True)
