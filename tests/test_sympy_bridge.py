"""Expressions to SymPy and back."""

from __future__ import annotations

import math
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import symgrad as sg
from symgrad.errors import ShapeError
from symgrad.evaluate import evaluate
from symgrad.expr import OPS, Expr, apply

sympy = pytest.importorskip("sympy")

X, Y = sympy.symbols("x y")
x, y = sg.symbols("x y")


def values_at(e: Expr, at: dict[str, float]) -> float:
    return float(evaluate(e, {s: at[s.name] for s in e.free_symbols}))


SAMPLED = [op for op in OPS.values() if op.family == "elementwise" and op.samples]


@pytest.mark.parametrize("op", SAMPLED, ids=lambda op: op.name)
def test_round_trip_of_every_elementwise_op(op: Any) -> None:
    for sample in op.samples:
        *operands, params = sample if isinstance(sample[-1], dict) else (*sample, {})
        symbols = [sg.symbol(f"a{i}") for i in range(len(operands))]
        entering = [s > 0 if isinstance(v, bool) else s for s, v in zip(symbols, operands)]
        e = apply(op, *entering, **params)
        back = sg.from_sympy(e.to_sympy())
        at = {s.name: (1.0 if v else -1.0) if isinstance(v, bool) else float(v) for s, v in zip(symbols, operands)}
        assert values_at(back, at) == pytest.approx(values_at(e, at), rel=1e-13, abs=1e-13), (op.name, sample)
        assert back.kind == e.kind or {back.kind, e.kind} <= {"integer", "real"}


def test_without_counterpart() -> None:
    """SymPy does not round to even: an undefined function, which comes back as what it was."""
    assert OPS["round"].sympy is None
    assert sg.from_sympy(sg.round(x).to_sympy() + 1) is sg.round(x) + 1


v, w, M = sg.symbol("v", (3,)), sg.symbol("w", (3,)), sg.symbol("M", (2, 3))
TENSORS = {
    "symbol": v, "matrix": M, "sum": (v**2).sum(), "sum of rows": M.sum(axis=1, keepdims=True), "product": M @ v, "dot": sg.dot(v, w),
    "outer": sg.outer(v, w), "einsum": sg.einsum("ij,j,kj->ik", M, v, M), "transpose": M.T, "slice": M[:, ::-1], "index": v[1],
    "broadcast": M + v, "mean": M.mean(axis=0), "var": sg.var(v), "norm": sg.norm(v), "softmax": sg.softmax(M), "max": M.max(axis=1),
    "min": v.min(), "prod": v.prod(), "log_softmax": sg.log_softmax(v), "logsumexp": sg.logsumexp(M, axis=-1), "cumsum": sg.cumsum(v),
    "pad": sg.pad(v, 1), "stack": sg.stack([v, w]), "concatenate": sg.concatenate([v, w]), "reshape": M.reshape(3, 2),
    "where": sg.where(M > 0, M, 0.5 * M), "mask": sg.sum(M > 0), "diagonal": sg.diagonal(M), "constant": v * np.array([1.0, 0.1, 3.0]),
    "one_hot": sg.one_hot(sg.symbol("k", integer=True), 3), "take": v[np.array([2, 0, 2])],
    "arange": sg.arange(4) * 2, "eye": sg.eye(2) @ M,
}  # fmt: skip


@pytest.mark.parametrize("e", TENSORS.values(), ids=TENSORS)
def test_round_trip_of_tensors(e: Expr) -> None:
    there = e.to_sympy()
    back = sg.from_sympy(there)
    assert back.shape == e.shape
    if e.ndim == 2:
        assert isinstance(there, sympy.ImmutableDenseMatrix)
    rng = np.random.default_rng(0)
    at = {"v": rng.normal(size=3), "w": rng.normal(size=3), "M": rng.normal(size=(2, 3)), "k": 1}
    original, returned = (evaluate(f, {s: at[s.name] for s in f.free_symbols}) for f in (e, back))
    np.testing.assert_allclose(np.asarray(returned, float), np.asarray(original, float), rtol=1e-13, atol=1e-13)


def test_whole_symbols_come_back() -> None:
    for s in (v, M, sg.symbol("p", positive=True), sg.symbol("k", integer=True), sg.symbol("A", (2, 2, 2))):
        assert sg.from_sympy(s.to_sympy()) is s


def test_derivatives_agree() -> None:
    e = sg.exp(-(x**2)) * sg.sin(x * y) / (1 + y**2)
    at = {"x": 0.7, "y": -1.3}
    for s, S in ((x, "x"), (y, "y")):
        symbol = next(t for t in e.to_sympy().free_symbols if t.name == S)
        theirs = sg.from_sympy(e.to_sympy().diff(symbol))
        assert values_at(sg.grad(e, s), at) == pytest.approx(values_at(theirs, at), rel=1e-13)


@pytest.mark.parametrize("value", [0.1, 0.1 + 0.2, 1 / 3, 5e-324, 1.7976931348623157e308, -0.0, math.inf, -math.inf, math.pi, 2.0])
def test_constants_keep_every_bit(value: float) -> None:
    assert float(sg.from_sympy(sg.constant(value).to_sympy())).hex() == value.hex()
    if math.isfinite(value) and value:
        product = sg.from_sympy((sg.constant(value) * x).to_sympy())
        assert values_at(product, {"x": 1.0}).hex() == value.hex()


def test_nan_and_kinds() -> None:
    assert math.isnan(float(sg.from_sympy(sg.constant(math.nan).to_sympy())))
    assert sg.from_sympy(sg.constant(3).to_sympy()) is sg.constant(3)
    assert sg.from_sympy(sg.constant(True).to_sympy()) is sg.constant(True)
    assert sg.from_sympy(sympy.Integer(10) ** 25).kind == "real"


READ = [
    (X / 3, x / 3), (2 * X / 3, 2 * x / 3), (1 / X, 1 / x), (X**2, x**2), (sympy.sqrt(X), sg.sqrt(x)), (1 / sympy.sqrt(X), 1 / sg.sqrt(x)),
    (X**-2, 1 / x**2), (X - Y, x - y), (-X, -x), (3 - X, 3 - x), (-X - 1, -x - 1), (X * Y, x * y), (X**Y, x**y), (sympy.exp(X), sg.exp(x)),
    (X**2 + 2 * X + 1, x**2 + 2 * x + 1), (sympy.Max(X, Y), sg.maximum(x, y)), (sympy.Abs(X), sg.abs(x)), (sympy.pi * X, math.pi * x),
    (sympy.Rational(1, 3), sg.constant(1 / 3)), (X > 0, x > 0), (sympy.And(X > 0, Y > 0), (x > 0) & (y > 0)),
    (sympy.Piecewise((X, X > 0), (0, True)), sg.where(x > 0, x, 0)), (sympy.Sum(X**2 * Y, (X, 1, 3)), 14 * y),
    (sympy.Derivative(X**3, X), 3 * x**2), (sympy.Matrix([[1, 2], [3, 4]]), sg.constant(np.array([[1, 2], [3, 4]]))),
    (sympy.Heaviside(X), sg.where(x < 0, 0, sg.where(x > 0, 1, sg.constant(0.5)))), (sympy.cot(X), 1 / sg.tan(x)),
    (sympy.Symbol("p", positive=True) + 1, sg.symbol("p", positive=True) + 1),
]  # fmt: skip


@pytest.mark.parametrize(("theirs", "ours"), READ, ids=[str(t)[:30] for t, _ in READ])
def test_read(theirs: Any, ours: Expr) -> None:
    assert sg.from_sympy(theirs) is ours


FUNCTIONS = [
    sympy.sec, sympy.csc, sympy.cot, sympy.acot, sympy.coth, sympy.sech, sympy.csch, sympy.asinh, sympy.gamma, sympy.loggamma,
    sympy.digamma, sympy.trigamma, sympy.erfc, sympy.sinc, sympy.frac, sympy.sign,
    sympy.factorial, sympy.Heaviside, sympy.acsch, sympy.asec, sympy.acoth,
]  # fmt: skip


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
def test_functions_have_sympys_values(function: Any) -> None:
    for point in (1.75, 2.5, -2.25):
        reference = complex(function(sympy.Float(point)).evalf(20))
        if reference.imag == 0 and math.isfinite(reference.real):
            assert values_at(sg.from_sympy(function(X)), {"x": point}) == pytest.approx(reference.real, rel=1e-12)


def test_matrix_expressions() -> None:
    n = sympy.Symbol("n")
    A, b = sympy.MatrixSymbol("A", 2, n), sympy.MatrixSymbol("b", n, 1)
    ours = sg.symbol("A", (2, "n"))
    assert sg.from_sympy(A * A.T) is ours @ ours.T
    assert sg.from_sympy(2 * A * b).shape == (2, 1)
    assert sg.from_sympy(A + A).shape == (2, "n")
    assert sg.from_sympy(sympy.Trace(A * A.T)).shape == ()
    assert sg.from_sympy(A[1, 0]) is ours[1, 0]
    assert sg.from_sympy(sympy.Identity(2) + A * A.T).shape == (2, 2)


def test_sympy_is_accepted_everywhere() -> None:
    assert sg.sin(X) is sg.sin(x)
    assert X + y is x + y and y + X is y + x and X * y is x * y and y**X is y**x and X - y is x - y and X / y is x / y
    assert (X < y) is (y > x)
    assert sg.grad(X**2, x) is sg.grad(x**2, x)
    assert sg.grad(x**2, X) is sg.grad(x**2, x)
    assert sg.simplify(X + 0 * y) is x
    assert sg.sum(sympy.Matrix([[X, Y]])).shape == ()
    assert sg.substitute(x + y, {x: Y**2}) is y**2 + y
    assert sg.from_sympy([X, (X, 1), {"a": Y}]) == [x, (x, sg.constant(1)), {"a": y}]
    assert sg.from_sympy(x) is x


REFUSED = [
    (sympy.I * X, TypeError, "real"), (sympy.zoo, TypeError, "real"), (sympy.Function("f")(X), TypeError, "f"),
    (sympy.Integral(sympy.exp(-(X**2)), X), TypeError, "Integral"), (X + sympy.Symbol("x", real=True), ValueError, "two different"),
    (sympy.Sum(X, (X, 0, sympy.Symbol("n"))), TypeError, "limits"), (sympy.IndexedBase("u")[0], TypeError, "shape"),
    (sympy.Symbol("c", imaginary=True), TypeError, "real"), (sympy.Symbol("a b"), ValueError, "a b"),
    (sympy.MatrixSymbol("A", 2, 2) ** sympy.Rational(1, 2), TypeError, "powers"), (sympy.Sum(X, (X, 1, 10**9)), ValueError, "terms"),
]  # fmt: skip


@pytest.mark.parametrize(("theirs", "error", "message"), REFUSED, ids=[str(t)[:30] for t, _, _ in REFUSED])
def test_refused(theirs: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        sg.from_sympy(theirs)


def test_what_sympy_cannot_take() -> None:
    with pytest.raises(ShapeError, match="named dimension"):
        sg.symbol("u", ("n",)).to_sympy()
    with pytest.raises(TypeError, match="argmax"):
        sg.argmax(v).to_sympy()
    with pytest.raises(TypeError, match="index"):
        v[sg.symbol("k", integer=True)].to_sympy()
    with pytest.raises(ValueError, match="more than SymPy"):
        sg.symbol("big", (200, 200)).to_sympy()
    deep = x
    for _ in range(3000):
        deep = sg.sin(deep)
    with pytest.raises(ValueError, match="deeper"):
        deep.to_sympy()


def test_deep_and_wide_from_sympy() -> None:
    deep = X
    for _ in range(150):
        deep = sympy.Add(sympy.Mul(deep, Y, evaluate=False), 1, evaluate=False)
    assert len(sg.from_sympy(deep).free_symbols) == 2
    assert len(sg.from_sympy(sympy.Add(*sympy.symbols("a:1000"))).free_symbols) == 1000


def test_importing_symgrad_does_not_import_sympy() -> None:
    code = "import sys, symgrad as sg; sg.sin(sg.symbol('x') + 1.5); assert 'sympy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
