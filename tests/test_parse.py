"""Text to expression: the grammar, what is refused and where the caret stands (EDGES, rows 14 to 19)."""

from __future__ import annotations

import math
import pickle
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import symgrad as sg
from symgrad.errors import ParseError, ShapeError
from symgrad.evaluate import evaluate

x, y, z = sg.symbols("x y z")
v = sg.symbol("v", ("n",))
M = sg.symbol("M", (3, 4))
SHAPES = {"v": ("n",), "M": (3, 4)}

MEANINGS = [
    ("x + y*z", x + y * z),
    ("x - y - z", (x - y) - z),
    ("x/y/z", (x / y) / z),
    ("x*y/z % 2 // 3", ((x * y / z) % 2) // 3),
    ("x**y**z", x ** (y**z)),
    ("x^y^z", x ** (y**z)),
    ("-x**2", -(x**2)),
    ("(-x)**2", (-x) ** 2),
    ("x**-y", x**-y),
    ("x**-y**z", x ** -(y**z)),
    ("-x*y", (-x) * y),
    ("x - -y", x - -y),
    ("+x", x),
    ("--x", sg.neg(sg.neg(x))),
    ("x < y", x < y),
    ("x >= y + 1", x >= y + 1),
    ("x == y", sg.equal(x, y)),
    ("x != y", sg.not_equal(x, y)),
    ("x < y & y < z | ~(z < x)", ((x < y) & (y < z)) | ~(z < x)),
    ("~(x < y) & (y < z)", ~(x < y) & (y < z)),
    ("sin(cos(x))", sg.sin(sg.cos(x))),
    ("arcsin(x) + ln(y)", sg.asin(x) + sg.log(y)),
    ("where(x > 0, x, -x)", sg.where(x > 0, x, -x)),
    ("sum(M, axis=0)", M.sum(axis=0)),
    ("sum(M, axis=(0, -1), keepdims=True)", M.sum(axis=(0, -1), keepdims=True)),
    ("mean(M, axis=None)", M.mean()),
    ("M.T @ M", M.T @ M),
    ("M @ M.T.T.T", M @ M.T.T.T),
    ("-M[0].T", -M[0]),
    ("M[0]", M[0]),
    ("M[-1, 2]", M[-1, 2]),
    ("M[:, 1:3]", M[:, 1:3]),
    ("M[1:, None, ::-1]", M[1:, None, ::-1]),
    ("M[..., 0]", M[..., 0]),
    ("M[[0, 2]]", M[np.array([0, 2])]),
    ("v[1:]", v[1:]),
    ("v[:-1] + v[1:]", v[:-1] + v[1:]),
    ("stack([x, y, 1])", sg.stack([x, y, 1])),
    ("concatenate([M, M], axis=1)", sg.concatenate([M, M], axis=1)),
    ("reshape(M, (4, 3))", M.reshape(4, 3)),
    ("einsum('ij,kj->ik', M, M)", sg.einsum("ij,kj->ik", M, M)),
    ("maximum(0, x)", sg.maximum(0, x)),
    ("leaky_relu(x, slope=0.3)", sg.leaky_relu(x, slope=0.3)),
    ("2*pi*x", sg.constant(2 * math.pi) * x),
    ("( x )", x),
    ("  x\n + \t y ", x + y),
    ("1.5e-3*x", 1.5e-3 * x),
    (".5*x + 2.", 0.5 * x + 2.0),
    ("M[:, 0] * [1.0, 0.5, -2.0]", M[:, 0] * np.array([1.0, 0.5, -2.0])),
    ("[[1, 2], [3, 4]]", sg.constant(np.array([[1, 2], [3, 4]]))),
    ("True", sg.constant(True)),
]


@pytest.mark.parametrize(("text", "expected"), MEANINGS, ids=[t for t, _ in MEANINGS])
def test_meaning(text: str, expected: Any) -> None:
    assert sg.parse(text, shapes=SHAPES) is expected


def test_symbols_are_shared_and_shaped() -> None:
    e = sg.parse("tanh(w*x + b)", shapes={"x": ("n", 2)})
    assert e.shape == ("n", 2)
    assert [s.name for s in e.free_symbols] == ["w", "x", "b"]
    assert sg.parse("x + x").args[0] is sg.parse("x + x").args[1] is x


def test_shapes_may_give_the_symbol_itself() -> None:
    t = sg.symbol("t", ("n",), integer=True)
    assert sg.parse("logits[arange(3), t]", shapes={"t": t[:3], "logits": (3, 5)}).shape == (3,)
    net = sg.nn.MLP(2, [3], name="actor")
    assert sg.parse("actor.W1.T", shapes={p.name: p for p in net.parameters}) is net.parameters[0].T


def test_row_19_letters_are_symbols() -> None:
    names = "E I S N Q beta gamma e i j lambda O zeta None_ x_1 _x".split()
    e = sg.parse(" + ".join(names))
    assert [s.name for s in e.free_symbols] == names


def test_constants_keep_every_bit() -> None:
    for value in [0.1, 1 / 3, 5e-324, 1.7976931348623157e308, math.pi, 0.1 + 0.2, 2.0**-1074 * 3]:
        assert float(sg.parse(repr(value))).hex() == value.hex()
    assert sg.parse("pi") is sg.constant(math.pi)
    assert sg.parse("3").kind == "integer" and sg.parse("3.").kind == "real"
    assert math.copysign(1, float(sg.parse("-0.0"))) == -1


def test_whole_numbers_are_exact_or_refused() -> None:
    assert float(sg.parse("10**20")) == 1e20
    assert float(sg.parse("2**-1")) == 0.5
    assert int(sg.parse("9223372036854775807")) == 2**63 - 1
    for text in ["10**23", "3**50", "9007199254740993*9007199254740993", "0**-1", "123456789012345678901234567891"]:
        with pytest.raises(ParseError):
            sg.parse(text)


REFUSED = [  # text, column, part of the message
    ("", 1, "expected"),  # row 14
    ("   ", 1, "expected"),
    ("x +", 4, "expected"),
    ("x y", 3, "operator is missing"),
    ("2x", 2, "operator is missing"),
    ("2 (x)", 3, "operator is missing"),
    ("x.__class__", 3, "only .T"),  # row 15
    ("x.sum()", 3, "only .T"),
    ("f[..]", 3, "expected"),
    ("lambda x: x", 8, "operator is missing"),
    ("[x for x in y]", 4, "'for'"),
    ("f'{x}'", 2, "operator is expected"),
    ("x := 3", 3, "':'"),
    ("x = 3", 3, "compares"),
    ('__import__("os")', 1, "unknown function"),
    ("x if y else z", 3, "where"),
    ("x and y", 3, "&"),
    ("x; y", 2, "character"),
    ("foo(x)", 1, "'floor'"),  # row 16: the nearest known one
    ("x + sigmiod(y)", 5, "'sigmoid'"),
    ("pi(x)", 1, "unknown function"),
    ("9**9**9", 2, "too large"),  # row 17
    ("factorial(10**7)", 1, "unknown function"),
    ("x\0", 2, "character"),  # row 18
    ("x + \ud800", 5, "character"),
    ("7" * 5000, 1, "5000 digits"),
    ("1e999", 1, "larger"),
    ("(x", 1, "never closed"),
    ("sin(x", 4, "never closed"),
    ("v[0", 2, "never closed"),
    ("x)", 2, "without"),
    ("(x]", 3, "closed by"),
    ("x, y", 2, "','"),
    ("()", 1, "a list"),
    ("[x, y] + 1", 8, "a list"),
    ("[1, [2]] + x", 10, "rows"),
    ("None", 1, "None"),
    ("'text'", 1, "expected"),
    ("x < y < z", 7, "chained"),
    ("x == y == z", 8, "chained"),
    ("~(x < y) == (y < z)", 1, "two readings"),
    ("~x", 1, "~"),
    ("y + sin(x, y)", 5, "sin"),
    ("sin()", 1, "sin"),
    ("sum(M, axis=0, axis=1)", 16, "twice"),
    ("sum(axis=0, M)", 14, "keyword"),
    ("sum(M, nonsense=1)", 1, "nonsense"),
    ("sum(M, axis=)", 13, "expected"),
    ("sin", 1, "is a function"),
    ("v[]", 3, "expected"),
    ("v[,]", 3, "expected"),
    ("v[1:2:3:4]", 8, "slice"),
    ("v[x:2]", 4, "whole numbers"),
    ("v['a']", 6, "text"),
    ("x²", 1, "normal form"),
    ("x !", 3, "character"),
    ("sin(x,,y)", 7, "expected"),
    ("x @", 4, "expected"),
    ("* x", 1, "expected"),
]


@pytest.mark.parametrize(("text", "column", "message"), REFUSED, ids=[ascii(t[:20]) for t, _, _ in REFUSED])
def test_refused_with_column_and_caret(text: str, column: int, message: str) -> None:
    with pytest.raises(ParseError) as caught:
        sg.parse(text, shapes=SHAPES)
    error = caught.value
    assert error.column == column
    assert message in str(error)
    if text:
        excerpt, caret = str(error).split("\n")[-2:]
        assert caret.rstrip().endswith("^")
        if len(text) < 40 and column <= len(text) and text[column - 1].isprintable():
            assert excerpt[len(caret) - 1] == text[column - 1]  # the caret stands under the place
    assert "\ud800" not in str(error) and "\0" not in str(error)
    assert pickle.loads(pickle.dumps(error)).column == column


def test_shapes_that_do_not_fit() -> None:
    with pytest.raises(ShapeError):
        sg.parse("a + b", shapes={"a": (3,), "b": (4,)})
    with pytest.raises(ShapeError):
        sg.parse("sum(M, axis=5)", shapes=SHAPES)


@pytest.mark.parametrize("text", [None, 3, b"x", ["x"]])
def test_only_text(text: Any) -> None:
    with pytest.raises(TypeError, match="str"):
        sg.parse(text)


LONG = {
    "brackets": ("(" * 250 + "x" + ")" * 250, True),
    "many brackets": ("(" * 20_000 + "x" + ")" * 20_000, True),
    "nested lists": ("[" * 20_000 + "1" + "]" * 20_000, False),
    "open brackets": ("[" * 20_000, False),
    "minus signs": ("-" * 100_000 + "x", True),
    "sum": ("+".join(f"x{i % 7}*y" for i in range(100_000)), True),
    "powers": ("2**" * 20_000 + "x", True),
    "digits": ("0." + "3" * 1_000_000, True),
    "10 MB": ("x+" * 5_000_000 + "x", False),
    "10 MB of space": (" " * 10_000_000, False),
    "long name": ("x" * 1_000_000 + "(y)", False),
    "exponent": ("1e" + "9" * 100_000, False),
    "nested calls": ("sin(" * 20_000 + "x" + ")" * 20_000, True),
    "nested indices": ("v" + "[None]" * 30, True),
}


@pytest.mark.parametrize(("text", "accepted"), LONG.values(), ids=LONG)
def test_row_18_large_texts(text: str, accepted: bool) -> None:
    if accepted:
        sg.parse(text, shapes=SHAPES)
    else:
        with pytest.raises(ParseError):
            sg.parse(text, shapes=SHAPES)


def test_minus_signs_are_kept() -> None:
    e = sg.parse("-" * 1001 + "x")
    assert float(evaluate(e, {"x": 2.0})) == -2.0


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="xyzM v0123456789.eE+-*/%^@<>=!&|~()[],:'\"_Tsinlog \t\n\0²µ\ud800", max_size=40))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    try:
        sg.parse(text, shapes=SHAPES)
    except (ParseError, ShapeError):
        pass


def _random_text(rng: random.Random, depth: int) -> str:
    if depth == 0:
        return rng.choice(["x", "y", "z", "2", "0.5", "3"])
    a, b = _random_text(rng, depth - 1), _random_text(rng, rng.randrange(depth))
    kind = rng.randrange(8)
    if kind < 5:
        return f"{a} {rng.choice(['+', '-', '*', '/', '//'])} {b}"
    power = f"{rng.choice(['x', 'y', '2', '-z'])}**{rng.choice(['2', '-1', 'y', '-x**2'])}"
    return f"-{a}" if kind == 5 else f"({a})" if kind == 6 else f"{power} - {b}"


def test_precedence_is_pythons() -> None:
    rng = random.Random(1)
    for _ in range(300):
        text = _random_text(rng, 4)
        scope = {"x": x, "y": y, "z": z}
        try:
            expected = eval(text, {"__builtins__": {}}, {k: _Plain(s) for k, s in scope.items()})
        except ZeroDivisionError:
            continue
        expected = expected.e if isinstance(expected, _Plain) else sg.constant(expected)
        assert sg.parse(text) is expected, text


class _Plain:
    """Python's own reading: each operator builds the node, numbers among themselves are Python's."""

    def __init__(self, e: Any) -> None:
        self.e = e

    def __neg__(self) -> _Plain:
        return _Plain(-self.e)


def _operator(name: str) -> Any:
    def method(self: _Plain, other: Any) -> _Plain:
        return _Plain(getattr(sg.symbol("x"), name).__func__(self.e, other.e if isinstance(other, _Plain) else other))

    return method


for _name in ("add", "sub", "mul", "truediv", "floordiv", "pow"):
    setattr(_Plain, f"__{_name}__", _operator(f"__{_name}__"))
    setattr(_Plain, f"__r{_name}__", _operator(f"__r{_name}__"))


def test_sizes_of_shapes_may_be_names() -> None:
    assert sg.parse("eye(n)").shape == ("n", "n")
    assert sg.parse("arange(n - 1)").shape == ("n - 1",)
    assert sg.parse("broadcast_to(x, (n, 2))").shape == ("n", 2)
    assert sg.parse("reshape(X, (3*n,))", shapes={"X": ("n", 3)}).shape == ("3*n",)
    with pytest.raises(sg.ParseError, match=r"not 2\.5"):
        sg.parse("eye(2.5)")
