"""A hundred formulas of physics, with all their partial derivatives: from text, from SymPy, compiled, and through the command line."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import symgrad as sg
from symgrad.evaluate import evaluate

FORMULAS = [json.loads(line) for line in (Path(__file__).parent / "data/feynman/feynman_gradients.jsonl").read_text().splitlines()]
BY_ID = pytest.mark.parametrize("formula", FORMULAS, ids=lambda f: f["id"])

Outputs = dict[str, Any]  # "f" and the variables -> expression


def check(formula: dict[str, Any], outputs: Outputs, run: Callable[[list[Any], dict[str, float]], list[float]]) -> None:
    for point in formula["points"]:
        references = {"f": point["f"], **point["grad"]}
        values = run(list(outputs.values()), point["at"])
        for name, value in zip(outputs, values, strict=True):
            reference = float(references[name])
            assert abs(float(value) - reference) <= 1e-12 * max(1.0, abs(reference)), (formula["expr"], name, point["at"])


def interpreted(outputs: list[Any], at: dict[str, float]) -> list[float]:
    return [float(v) for v in evaluate(outputs, at)]


def with_gradient(y: Any, names: list[str]) -> Outputs:
    return {"f": y, **dict(zip(names, sg.grad(y, [sg.symbol(n) for n in names]), strict=True))}


def test_there_are_a_hundred() -> None:
    assert len(FORMULAS) == 100
    assert sum(len(f["vars"]) for f in FORMULAS) > 300


@BY_ID
def test_from_text(formula: dict[str, Any]) -> None:
    y = sg.parse(formula["expr"])
    assert {s.name for s in y.free_symbols} == set(formula["vars"])
    check(formula, with_gradient(y, formula["vars"]), interpreted)


@BY_ID
def test_from_sympy(formula: dict[str, Any]) -> None:
    sympy = pytest.importorskip("sympy")
    names = {n: sympy.Symbol(n) for n in formula["vars"]}
    names |= {"arcsin": sympy.asin, "ln": sympy.log}
    y = sg.from_sympy(sympy.sympify(formula["expr"], locals=names))
    check(formula, with_gradient(y, formula["vars"]), interpreted)


@BY_ID
def test_sympy_round_trip(formula: dict[str, Any]) -> None:
    y = sg.parse(formula["expr"])
    check(formula, {"f": sg.from_sympy(y.to_sympy())}, interpreted)


@BY_ID
def test_printed_text_is_the_formula(formula: dict[str, Any]) -> None:
    y = sg.parse(formula["expr"])
    assert read(str(y)) is y


@BY_ID
def test_simplified(formula: dict[str, Any]) -> None:
    outputs = with_gradient(sg.parse(formula["expr"]), formula["vars"])
    check(formula, dict(zip(outputs, sg.simplify(list(outputs.values())), strict=True)), interpreted)


@pytest.mark.skipif(importlib.util.find_spec("symgrad.pipeline") is None, reason="the compiler is not there yet")
def test_compiled() -> None:
    """All formulas in one function: compiling a hundred would take minutes."""
    values: dict[str, Any] = {}
    for i, formula in enumerate(FORMULAS):
        renamed = {n: sg.symbol(f"{n}_f{i}") for n in formula["vars"]}
        y = sg.parse(formula["expr"], shapes=renamed)
        gradient = sg.grad(y, [renamed[n] for n in formula["vars"]])
        values |= {(i, name): e for name, e in zip(["f", *formula["vars"]], [y, *gradient], strict=True)}
    function = sg.compile(values)
    for k in range(2):
        at = {f"{n}_f{i}": value for i, f in enumerate(FORMULAS) for n, value in f["points"][k]["at"].items()}
        results = function(**at)
        for (i, name), value in results.items():
            point = FORMULAS[i]["points"][k]
            reference = float(point["f"] if name == "f" else point["grad"][name])
            assert abs(value - reference) <= 1e-12 * max(1.0, abs(reference)), (FORMULAS[i]["expr"], name)


@BY_ID
def test_command_line(formula: dict[str, Any]) -> None:
    """What ``symgrad grad`` prints is read back as text and evaluated."""
    commands = pytest.importorskip("symgrad.cli.commands")
    testing = pytest.importorskip("click.testing")
    result = testing.CliRunner().invoke(commands.cli, ["grad", formula["expr"], "--wrt", ",".join(formula["vars"])], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    known: dict[str, Any] = {}  # definitions that all derivatives share come first
    derivatives: dict[str, Any] = {}
    for line in result.output.splitlines():
        name, _, body = line.partition(" = ")
        (derivatives if name.startswith("df/d") else known)[name.removeprefix("df/d")] = sg.parse(body, shapes=known)
    assert list(derivatives) == formula["vars"]
    check(formula, derivatives, interpreted)


def read(text: str) -> Any:
    """A printed formula: definitions ``h1 = …`` line by line, the formula last."""
    *definitions, last = text.splitlines()
    known: dict[str, Any] = {}
    for line in definitions:
        name, _, body = line.partition(" = ")
        known[name] = sg.parse(body, shapes=known)
    return sg.parse(last, shapes=known)
