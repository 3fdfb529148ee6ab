"""Elementwise ops: accuracy against mpmath, kinds, conventions, what is refused, NumPy's functions, printing."""

from __future__ import annotations

from typing import Any

import mpmath
import numpy as np
import pytest

import symgrad as sg
from symgrad.evaluate import evaluate
from symgrad.expr import OPS, constant
from symgrad.loops import Buffer, Builder, Index, Program, interpret

x, y = sg.symbols("x y")
i, j = sg.symbols("i j", integer=True)
RNG = np.random.default_rng(0)
FINITE = RNG.uniform(-30, 30, 200)



def gelu_by_tanh(v: Any) -> Any:
    return v / (1 + mpmath.exp(-2 * mpmath.sqrt(2 / mpmath.pi) * (v + mpmath.mpf("0.044715") * v**3)))


MPMATH: dict[str, tuple[Any, Any, np.ndarray]] = {
    "sigmoid": (sg.sigmoid, lambda v: 1 / (1 + mpmath.exp(-v)), FINITE),
    "softplus": (sg.softplus, lambda v: mpmath.log1p(mpmath.exp(v)), FINITE),
    "log_sigmoid": (sg.log_sigmoid, lambda v: -mpmath.log1p(mpmath.exp(-v)), FINITE),
    "silu": (sg.silu, lambda v: v / (1 + mpmath.exp(-v)), FINITE),
    "gelu": (sg.gelu, lambda v: v * mpmath.ncdf(v), np.concatenate([FINITE, [-37.9, -38.2]])),
    "gelu_tanh": (lambda v: sg.gelu(v, True), lambda v: gelu_by_tanh(v), FINITE / 2),
    "elu": (lambda v: sg.elu(v, 0.5), lambda v: v if v > 0 else mpmath.expm1(v) / 2, FINITE),
}  # fmt: skip


def lowered(op: str, operands: list[np.ndarray], params: dict[str, Any]) -> np.ndarray:
    """One op through its ``lower`` and the loop interpreter, element by element."""
    kinds = {"b": "boolean", "i": "integer", "f": "real"}
    size = operands[0].size
    buffers = [Buffer(f"a{k}", kinds[a.dtype.kind], (size,), "input") for k, a in enumerate(operands)]
    record = OPS[op]
    kind = record.kind(*[b.kind for b in buffers])
    out = Buffer("out", kind, (size,), "output")
    b = Builder()
    with b.loop(0, size) as k:
        b.store(out, Index.of(k), record.lower(b, *[b.load(a, Index.of(k)) for a in buffers], **params))
    program = Program("test", (*buffers, out), (), (), b.body)
    result = np.zeros(size, {"real": np.float64, "integer": np.int64, "boolean": np.bool_}[kind])
    interpret(program, [*operands, result], {})
    return result


@pytest.mark.parametrize("name", MPMATH)
def test_activations_are_accurate(name: str) -> None:
    function, reference, points = MPMATH[name]
    node = function(sg.symbol("v", len(points)))
    with mpmath.workprec(200):
        wanted = np.array([float(reference(mpmath.mpf(float(v)))) for v in points])
    for got in (evaluate(node, {"v": points}), lowered(node.op.name, [points], dict(node.params))):
        assert np.max(np.abs(got - wanted) / np.spacing(np.abs(wanted))) <= 5


@pytest.mark.parametrize("name", [n for n, op in OPS.items() if op.family == "elementwise" and op.lower])
def test_lowered_is_evaluated(name: str) -> None:
    op = OPS[name]
    special = np.array([-np.inf, -1e300, -1000.0, -1.0, -5e-324, -0.0, 0.0, 5e-324, 0.5, 1.0, 2.0, 1000.0, 1e300, np.inf, np.nan])
    for sample in op.samples:
        params = sample[-1] if isinstance(sample[-1], dict) else {}
        operands = [np.array([v]) for v in sample[: op.arity]]
        if all(o.dtype.kind == "f" for o in operands) and name not in ("polygamma", "digamma", "lgamma"):
            points = special[1:] if name == "pow" else special  # np.power(-inf, 0.5) is inf or NaN, as NumPy's shortcut is taken or not
            grid = np.meshgrid(*[points] * len(operands))
            operands = [np.concatenate([o, g.ravel()]) for o, g in zip(operands, grid)]
        shape = operands[0].shape
        symbols = [sg.symbol(f"a{k}", shape) for k in range(len(operands))]
        if any(o.dtype.kind == "b" for o in operands):
            node = sg.expr.apply(op, *[constant(o) for o in operands], **params)
            wanted = evaluate(node, {})
        else:
            symbols = [sg.symbol(f"a{k}", shape, integer=o.dtype.kind == "i") for k, o in enumerate(operands)]
            node = sg.expr.apply(op, *symbols, **params)
            wanted = evaluate(node, dict(zip(symbols, operands)))
        got = lowered(name, operands, params)
        np.testing.assert_allclose(got, wanted, rtol=5e-15, atol=5e-324, err_msg=f"{name} at {operands}")


# --- kinds -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expr", "kind"),
    [
        (i + 1, "integer"), (i + 1.0, "real"), (i * j, "integer"), (i / j, "real"), (i // j, "integer"), (i % 2, "integer"),
        (-i, "integer"), (abs(i), "integer"), (sg.floor(i), "integer"), (i**2, "integer"), (i**-1, "real"), (i**j, "real"),
        (2**i, "real"), (x**2, "real"), (i < j, "boolean"), ((i < j) & (x > 0), "boolean"), (~(x > 0), "boolean"),
        ((x > 0) + 1, "integer"), (sg.where(x > 0, i, j), "integer"), (sg.where(x > 0, i, x), "real"), (sg.exp(i), "real"),
        (sg.maximum(i, 2), "integer"), (sg.sign(i), "integer"), (sg.clip(i, 0, 3), "integer"), (sg.clip(i, 0, 2.5), "real"),
        (sg.relu(i), "integer"), (sg.stop_gradient(i), "integer"), (i.named("k"), "integer"), (sg.isnan(x), "boolean"),
    ],
    ids=str,
)  # fmt: skip
def test_kinds(expr: Any, kind: str) -> None:
    assert expr.kind == kind


def test_whole_numbers_stay_exact() -> None:
    big = 2**62 + 1
    assert int(evaluate(i * 1, {i: big})) == big
    assert int(evaluate(i - j, {i: big, j: 1})) == 2**62
    assert int(sg.constant(3) ** 30) == 3**30
    assert float(sg.constant(2) ** -1) == 0.5


def test_integer_division_rounds_down_as_numpy() -> None:
    values = [np.array(v) for v in ([7, -7, 7, -7], [2, 2, -2, -2])]
    a, b = (sg.symbol(n, 4, integer=True) for n in "ab")
    assert (evaluate(a // b, dict(zip((a, b), values))) == values[0] // values[1]).all()
    assert (evaluate(a % b, dict(zip((a, b), values))) == values[0] % values[1]).all()


# --- what is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", ["1", None, 1j, np.array([None]), np.array([1j]), {}, object()], ids=repr)
def test_row_5_wrong_operands(bad: Any) -> None:
    operators = (lambda: x + bad, lambda: bad + x, lambda: x * bad)
    for use in (*operators, lambda: sg.maximum(x, bad), lambda: sg.exp(bad), lambda: sg.where(x > 0, x, bad)):
        with pytest.raises(TypeError, match=r"expression|operand"):
            use()


def test_logic_wants_conditions() -> None:
    with pytest.raises(TypeError, match="compare first"):
        x & y
    with pytest.raises(TypeError, match="compare first"):
        ~i
    assert sg.logical_and(x, i).kind == "boolean"  # NumPy's function takes numbers
    assert sg.where(i, x, y).args[0].op.name == "not_equal"


def test_polygamma_order() -> None:
    assert sg.polygamma(0, x).op.name == "digamma"
    for order in (-1, 1.5, True):
        with pytest.raises(ValueError, match="order"):
            sg.polygamma(order, x)


def test_operands_that_do_not_broadcast() -> None:
    with pytest.raises(sg.ShapeError, match=r"add.*\(3,\).*\(4,\)"):
        sg.symbol("a", 3) + sg.symbol("b", 4)


# --- NumPy -----------------------------------------------------------------------------------------


def test_numpy_functions_build_expressions() -> None:
    assert np.tanh(x) is sg.tanh(x)
    assert np.arctan2(x, y) is sg.atan2(x, y)
    assert np.where(x > 0, x, y) is sg.where(x > 0, x, y)
    assert np.clip(x, 0, 1) is sg.clip(x, 0, 1)
    assert np.add(1, x) is 1 + x
    assert np.float64(2.0) * x is 2.0 * x
    assert (np.array([1.0, 2.0]) * x).shape == (2,)
    assert np.abs(x) is abs(x)
    assert np.logical_not(x > 0) is ~(x > 0)
    assert np.round(x, 2) is sg.round(x, 2)
    assert sg.arcsin is sg.asin and sg.ln is sg.log and sg.power is sg.pow
    with pytest.raises(TypeError, match=r"np\.fmod"):
        np.fmod(x, 2)


@pytest.mark.parametrize("values", [(3.0, -2.0), (800.0, -800.0), (1.0, 1.0)])
def test_logaddexp(values: tuple[float, float]) -> None:
    expected = np.logaddexp(*values)
    np.testing.assert_allclose(evaluate(np.logaddexp(x, y), dict(zip((x, y), values))), expected, rtol=1e-15)


def test_round_to_places() -> None:
    v = sg.symbol("v", 4)
    values = np.array([0.125, -1234.5678, 2.5, 1e-3])
    for places in (0, 2, -2):
        np.testing.assert_array_equal(evaluate(sg.round(v, places), {v: values}), np.round(values, places))


def test_clip_like_numpy() -> None:
    v = sg.symbol("v", 5)
    values = np.array([-2.0, -1.0, 0.0, 1.0, np.nan])
    for low, high in ((-1, 0.5), (None, 0.5), (-1, None), (1.0, -1.0)):
        np.testing.assert_array_equal(evaluate(sg.clip(v, low, high), {v: values}), np.clip(values, low, high))
    assert sg.clip(v) is v


# --- composites ------------------------------------------------------------------------------------


def test_maxout() -> None:
    a = sg.symbol("a", ("n", 6))
    values = RNG.normal(size=(4, 6))
    np.testing.assert_array_equal(evaluate(sg.maxout(a, 2), {a: values}), values.reshape(4, 3, 2).max(-1))
    np.testing.assert_array_equal(evaluate(sg.maxout(a, 2, axis=0), {a: values}), values.reshape(2, 2, 6).max(1))
    with pytest.raises(sg.ShapeError, match="groups of 4"):
        sg.maxout(a, 4)
    with pytest.raises(ValueError, match="pieces"):
        sg.maxout(a, 0)


def test_one_hot() -> None:
    t = sg.symbol("t", "n", integer=True)
    np.testing.assert_array_equal(evaluate(sg.one_hot(t, 3), {t: [2, 0, 5]}), [[0, 0, 1], [1, 0, 0], [0, 0, 0]])
    with pytest.raises(TypeError, match="whole numbers"):
        sg.one_hot(x, 3)


# --- rules a person can read -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expr", "rule"),
    [
        (sg.tanh(x), "(1 - tanh(x)**2)"), (sg.log(x), "1/x"), (sg.sqrt(x), "1/(2*sqrt(x))"), (x**3, "3*x**2"), (x**2, "2*x"),
        (x**-1, "-1*x**(-2)"), (sg.atan(x), "1/(1 + x**2)"), (sg.sigmoid(x), "sigmoid(x)*(1 - sigmoid(x))"),
        (sg.relu(x), "where(x > 0, 1, 0)"), (sg.softplus(x), "sigmoid(x)"), (sg.log1p(x), "1/(1 + x)"),
        (sg.leaky_relu(x), "where(x > 0, 1.0, 0.01)"), (sg.elu(x), "where(x > 0, 1.0, exp(x))"),
    ],
    ids=str,
)  # fmt: skip
def test_rules_read_well(expr: Any, rule: str) -> None:
    (first, *_) = expr.op.derivative(sg.constant(1), expr, *expr.args, **expr.params)
    assert str(first).removeprefix("1*") == rule


@pytest.mark.parametrize("positive", [sg.symbol("p", positive=True), sg.exp(x) + 1, 1 + x**2, sg.square(x) * 3])
def test_plainly_positive_operands_need_no_guard(positive: Any) -> None:
    (rule,) = OPS["log"].derivative(sg.constant(1.0), None, positive)
    assert "nonnegative" not in {n.op.name for n in sg.expr.topological(rule)}
    (guarded,) = OPS["log"].derivative(sg.constant(1.0), None, x)
    assert "nonnegative" in {n.op.name for n in sg.expr.topological(guarded)}
