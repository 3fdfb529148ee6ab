"""Notes beside the generated Python: the formula of each line and its operations."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import symgrad as sg


def notes(text: str) -> dict[str, str]:
    """Code → note, for the lines that have one (titles of kernels stand on lines of their own)."""
    pairs = [line.split("  # ") for line in text.splitlines() if "  # " in line and not line.lstrip().startswith("#")]
    return {code.strip(): note for code, note in pairs}


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
    total = sum(int(n) for n in re.findall(r"(\d+) operations?", "\n".join(notes(f.source(annotate=True)).values())))
    assert total == f.cost.after["operations"]


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
