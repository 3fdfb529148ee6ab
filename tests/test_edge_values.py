"""Values and derivatives at the hard points: every row of data/edge_values.csv, by the evaluator and by the compiled function."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import symgrad as sg
from symgrad.evaluate import evaluate

with open(Path(__file__).parent / "data" / "edge_values.csv", encoding="utf-8", newline="") as _file:
    ROWS = list(csv.DictReader(_file))

ULPS = 4
EPSILON = float(np.finfo(np.float64).eps)
# their rules reuse the output: accurate to ulps of max(|reference|, 1) (EDGES.md, last paragraph)
SATURATING = ("tanh", "sigmoid", "erf", "gelu_exact", "gelu_tanh", "silu", "softplus", "logsigmoid", "softmax", "log_softmax")

UNARY: dict[str, Callable[..., Any]] = {
    "logsigmoid": sg.log_sigmoid, "gelu_exact": sg.gelu, "gelu_tanh": lambda x: sg.gelu(x, approximate=True),
    "elu(alpha=1)": sg.elu, "elu(alpha=2)": lambda x: sg.elu(x, alpha=2), "leaky_relu(0.01)": lambda x: sg.leaky_relu(x, 0.01),
    "clip(x,0,1)": lambda x: sg.clip(x, 0, 1), "x**-1": lambda x: x**-1,
    "where(x>0,log(x),0)": lambda x: sg.where(x > 0, sg.log(x), 0), "where(x>0,sqrt(x),0)": lambda x: sg.where(x > 0, sg.sqrt(x), 0),
    "where(x>0,x,x)": lambda x: sg.where(x > 0, x, x), "hinge max(0,1-t)": lambda x: sg.nn.hinge(x, 1.0),
    "huber(delta=1)": lambda x: sg.nn.huber(x, 0.0),
}  # fmt: skip
BINARY: dict[str, Callable[..., Any]] = {
    "max(x,y)": sg.maximum, "min(x,y)": sg.minimum, "pow(x,y)": sg.pow, "atan2(y,x)": sg.atan2, "x/y": lambda x, y: x / y,
}  # fmt: skip
VECTOR: dict[str, Callable[..., Any]] = {
    "norm2": sg.norm, "norm2**2": lambda x: sg.norm(x) ** 2, "softmax": sg.softmax, "log_softmax": sg.log_softmax,
    "logsumexp": sg.logsumexp, "sum": sg.sum, "mean": sg.mean, "prod": sg.prod,
}  # fmt: skip


def case_of(op: str, text: str) -> tuple[Any, list[Any], dict[Any, Any]]:
    """The expression of a row, the symbols it is differentiated by, and values."""
    if op == "cross_entropy(logits,label)":
        logits, label = sg.symbol("logits", (1, 2)), sg.symbol("label", 1, integer=True)
        a, k = re.fullmatch(r"\(\[(.*)\],(.*)\)", text).groups()
        return sg.nn.cross_entropy(logits, label), [logits], {logits: [list(map(float, a.split(",")))], label: [int(k)]}
    if op == "bce_with_logits(x,y)":
        x, t = sg.symbols("x t")
        a, b = numbers(text)
        return sg.nn.binary_cross_entropy(x, t), [x], {x: a, t: b}
    if op == "pow(x,y)" and "literal" in text:
        x = sg.symbol("x")
        return x**2, [x], {x: -2.0}
    if op in BINARY:
        x, y = sg.symbols("x y")
        return BINARY[op](x, y), [x, y], dict(zip((x, y), numbers(text)))
    if op in VECTOR:
        values = numbers(re.sub(r"\(.*\)", "", text))
        v = sg.symbol("v", (len(values),))
        return VECTOR[op](v), [v], {v: np.array(values)}
    x = sg.symbol("x")
    return UNARY.get(op, getattr(sg, op, None))(x), [x], {x: float(text.split("=")[-1])}


def numbers(text: str) -> list[float]:
    return [float(p) for p in text.strip("()[] ").split(",") if p.strip()]


def derivative_of(expr: Any, wrt: list[Any], simplify: bool) -> list[Any]:
    """The gradient; of a vector its Jacobian."""
    if expr.shape:
        (w,) = wrt
        rows = [sg.grad(expr[i], w, simplify=False) for i in range(expr.shape[0])]
        return [sg.jacobian(expr, w) if simplify else sg.stack(rows)]
    return list(sg.grad(expr, wrt, simplify=simplify))


def reference_of(row: dict[str, str], which: str, values: list[Any]) -> list[list[float]]:
    """The acceptable results, each a flat list (elements may be alternatives too: tried one by one)."""
    text = row[which].replace("diag(p)-p p^T, finite", "jacobian").replace("all 0.0, no nan", "0.0")
    text = re.sub(r"\((either|limit|documented|no )[^)]*\)", "", text)
    text = re.sub(r"(;|: document).*$", "", text)  # "…; document", "…; value must be -inf": for the docstring
    if text == "jacobian":
        p = np.exp(values[0] - np.max(values[0]))
        p /= p.sum()
        return [list((np.diag(p) - np.outer(p, p)).ravel())]
    if text == "routed to nan arg":
        return [[float(np.isnan(v)) for v in values]]
    inside = re.fullmatch(r"\(([^,]*),([^,]*)\)", text)
    if inside and " or " in text:
        first, second = ([float(a) for a in part.split(" or ")] for part in inside.groups())
        return [[a, b] for a in first for b in second]
    result = []
    for part in text.split(" or "):
        if part.strip() == "routed to nan arg":
            result.append([float(np.isnan(v)) for v in values])
        elif "Error" not in part and part.strip() not in ("-", "finite"):
            result.append([float(p) for p in part.strip().strip("()[]").split(",") if p.strip()])
    return result


def close(result: np.ndarray, expected: list[float], absolute: bool) -> bool:
    wanted = np.array(expected if len(expected) == result.size else expected * result.size, dtype=np.float64)
    if wanted.size != result.size:
        return False
    got = result.ravel()
    with np.errstate(all="ignore"):
        scale = np.maximum(np.abs(wanted), 1.0) if absolute else np.abs(wanted)
        near = np.abs(got - wanted) <= ULPS * np.spacing(scale)
    return bool(np.all(near | (got == wanted) | (np.isnan(got) & np.isnan(wanted))))


def evaluated(outputs: list[Any], values: dict[Any, Any]) -> list[np.ndarray]:
    return evaluate(outputs, values)


def compiled(outputs: list[Any], values: dict[Any, Any]) -> list[np.ndarray]:
    function = sg.compile(outputs, inputs=list(values))
    return [np.asarray(r) for r in function(*values.values())]


RUNNERS = [
    pytest.param(evaluated, False, id="evaluated-raw"), pytest.param(evaluated, True, id="evaluated"),
    pytest.param(compiled, True, id="compiled"),
]  # fmt: skip


def name_of(row: dict[str, str]) -> str:
    return f"{row['op']}@{row['input']}".replace(" ", "")


@pytest.mark.parametrize(("runner", "simplify"), RUNNERS)
@pytest.mark.parametrize("row", ROWS, ids=map(name_of, ROWS))
def test_row(row: dict[str, str], runner: Callable[..., list[np.ndarray]], simplify: bool) -> None:
    if row["input"] == "label out of range":
        t = sg.symbol("t", ("n",), integer=True)
        x = sg.symbol("x", ("n", 2))
        loss = sg.nn.cross_entropy(x @ sg.symbol("W", (2, 2)), t)
        data = {"x": np.ones((3, 2)), "t": np.array([0, 1, 7])}
        with pytest.raises(ValueError, match=r"7.*2|2.*7"):
            sg.fit(loss, {"W": np.eye(2)}, data, optimizer=sg.optim.SGD(0.1), epochs=1, progress=False)
        return
    expr, wrt, values = case_of(row["op"], row["input"])
    derivatives = [] if row["derivative"] in ("-", "[]") else derivative_of(expr, wrt, simplify)
    value, *gradient = runner([expr, *derivatives], values)
    inputs = [np.asarray(v, dtype=np.float64) for v in list(values.values())[: len(wrt)]]

    acceptable = reference_of(row, "value", inputs)
    assert any(close(value, a, False) for a in acceptable), f"value {value} is none of {acceptable}"
    if not gradient:
        return
    acceptable = reference_of(row, "derivative", inputs)
    flat = np.concatenate([g.ravel() for g in gradient])
    if row["derivative"] == "finite":
        assert np.all(np.isfinite(flat))
    else:
        assert any(close(flat, a, row["op"] in SATURATING) for a in acceptable), f"derivative {flat} is none of {acceptable}"


def test_every_row_is_read() -> None:
    assert len(ROWS) == 224


def test_integer_exponents_have_no_logarithm() -> None:
    x = sg.symbol("x")
    assert "log" not in str(sg.grad(x**2, x, simplify=False))


def test_signed_zeros_are_kept() -> None:
    x = sg.symbol("x")
    odd = (sg.sin, sg.tan, sg.asin, sg.atan, sg.sinh, sg.tanh, sg.asinh, sg.atanh, sg.erf, sg.silu, sg.gelu)
    for function in (*odd, sg.sqrt, sg.expm1, sg.log1p, sg.floor, sg.round, sg.elu, sg.leaky_relu):
        assert math.copysign(1.0, float(evaluate(function(x), {x: -0.0}))) == -1.0, function.__name__
