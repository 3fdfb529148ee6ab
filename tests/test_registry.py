"""The one test that walks the op registry, in float64 and float32: an op's author writes a record and no test.

Every sample of every record: the shape rule is NumPy's, the evaluation NumPy's function of that name, the gradient
central differences to order two along random directions, text and LaTeX are there and read back, SymPy round trip,
lowered = evaluated, compiled = evaluated. Domains, samples and tolerances are data.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest

import symgrad as sg
from symgrad.evaluate import evaluate
from symgrad.expr import OPS, Expr, Op, apply, constant, topological

ALL = [op for op in OPS.values() if op.name not in ("constant", "symbol")]
WALKED = [op for op in ALL if op.samples]
ELEMENTWISE = [op for op in WALKED if op.family == "elementwise"]
STEP = 1e-5  # of central differences
TOLERANCE = {"float64": 1e-13, "float32": 2e-5}
NOT_A_DERIVATIVE = {"stop_gradient"}  # its gradient is 0 by definition, its differences are not
NUMPY = {
    "neg": np.negative, "sub": np.subtract, "mul": np.multiply, "div": np.true_divide, "floordiv": np.floor_divide, "pow": np.float_power,
    "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan, "asinh": np.arcsinh, "acosh": np.arccosh, "atanh": np.arctanh,
    "atan2": np.arctan2, "sigmoid": lambda x: np.exp(x) / (np.exp(x) + 1), "softplus": lambda x: np.logaddexp(0, x),
    "log_sigmoid": lambda x: -np.logaddexp(0, -x), "silu": lambda x: x / (1 + np.exp(-x)), "relu": lambda x: x * (x > 0),
    "to_real": np.float64, "stop_gradient": np.positive, "nonnegative": np.abs,
}  # fmt: skip


class Sample(NamedTuple):
    """A node over fresh symbols (booleans are constants), and values of the symbols."""

    op: Op
    node: Expr
    values: dict[Expr, np.ndarray]

    @property
    def real(self) -> list[Expr]:
        return [s for s in self.values if s.kind == "real"]


def sample_of(op: Op, entry: tuple[Any, ...], suffix: str = "") -> Sample:
    params = entry[-1] if entry and isinstance(entry[-1], dict) else {}
    operands = [np.asarray(v) for v in (entry[:-1] if params else entry) if not isinstance(v, dict)]
    arguments: list[Expr] = []
    values: dict[Expr, np.ndarray] = {}
    for k, a in enumerate(operands):
        if a.dtype.kind == "b":
            arguments.append(constant(a))
        else:
            arguments.append(sg.symbol(f"x{k}{suffix}", a.shape, integer=a.dtype.kind == "i"))
            values[arguments[-1]] = a
    return Sample(op, apply(op, *arguments, **params), values)


def samples_of(op: Op) -> list[Sample]:
    return [sample_of(op, entry if isinstance(entry, tuple) else (entry,)) for entry in op.samples]


def random_entry(op: Op, rng: np.random.Generator) -> tuple[Any, ...]:
    """Operands drawn from the op's domain, of the shapes (3,), params as in the first sample."""
    low_high = [(max(low, -3.0) if low > -np.inf else -3.0, min(high, max(low, -3.0) + 6.0)) for low, high in op.domain]
    operands = [rng.uniform(low + 0.02 * (high - low), high - 0.02 * (high - low), 3) for low, high in low_high]
    first = op.samples[0]
    values = [np.asarray(v) for v in first if not isinstance(v, dict)]
    whole_too = ("f", "i") if op.name == "pow" else ("f",)
    operands = [o if v.dtype.kind in whole_too else np.resize(v, 3) for o, v in zip(operands, values)]
    return (*operands, *(v for v in first if isinstance(v, dict)))


each_op = pytest.mark.parametrize("op", WALKED, ids=lambda op: op.name)
each_dtype = pytest.mark.parametrize("dtype", ["float64", "float32"])


@pytest.mark.parametrize("op", ALL, ids=lambda op: op.name)
def test_record_is_complete(op: Op) -> None:
    assert op.doc and op.doc == op.doc.strip()
    assert op.evaluate is not None
    assert op.samples, f"{op.name}: add samples to its record"
    assert op.arity is None or all(len([v for v in s if not isinstance(v, dict)]) == op.arity for s in op.samples)
    assert op.arity == 0 or op.derivative is not None
    if op.family == "elementwise":
        assert op.lower is not None
        assert len(op.domain) == op.arity and all(low < high for low, high in op.domain)
    if op.family == "composite":
        assert op.expand is not None


@each_op
@each_dtype
def test_shape_and_value(op: Op, dtype: str) -> None:
    for op_, node, values in samples_of(op):
        result = evaluate(node, values, dtype)  # compares the shape rule with NumPy's result
        assert result.dtype == {"real": np.dtype(dtype), "integer": np.int64, "boolean": np.bool_}[node.kind]
        reference = NUMPY.get(op_.name, getattr(np, op_.name, None) if op_.family == "elementwise" else None)
        if reference is not None and not node.params:
            operands = [evaluate(a, values, dtype) for a in node.args]
            wanted = reference(*[o.astype(np.float64) if o.dtype.kind == "f" else o for o in operands])
            np.testing.assert_allclose(result, wanted, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


def directional(sample: Sample, rng: np.random.Generator) -> tuple[Expr, dict[Expr, np.ndarray]]:
    """The node as a scalar, a random combination of its elements, and a random direction."""
    weights = constant(rng.uniform(0.5, 1.5, sample.node.shape))
    return sg.sum(sample.node * weights), {s: rng.uniform(0.5, 1.5, s.shape) * rng.choice([-1.0, 1.0]) for s in sample.real}


def difference(expr: Expr, values: dict[Expr, np.ndarray], direction: dict[Expr, np.ndarray]) -> float:
    ahead, behind = ({s: v + sign * STEP * direction[s] if s in direction else v for s, v in values.items()} for sign in (1, -1))
    return float(evaluate(expr, ahead) - evaluate(expr, behind)) / (2 * STEP)


def slope_along(expr: Expr, direction: dict[Expr, np.ndarray]) -> Expr:
    gradients = sg.grad(expr, list(direction), simplify=False)
    return sum((sg.sum(g * constant(d)) for g, d in zip(gradients, direction.values())), sg.constant(0.0))


@each_op
def test_gradient_to_order_two(op: Op) -> None:
    if op.name in NOT_A_DERIVATIVE:
        return
    rng = np.random.default_rng(sum(map(ord, op.name)))
    samples = samples_of(op)
    if op.domain and op.family == "elementwise":
        samples += [sample_of(op, random_entry(op, rng)) for _ in range(3)]
    for sample in samples:
        if sample.node.kind != "real" or not sample.real or any(s.shape and 0 in s.shape for s in sample.real):
            continue
        scalar, direction = directional(sample, rng)
        slope = slope_along(scalar, direction)
        for order, (function, derivative) in enumerate([(scalar, slope), (slope, slope_along(slope, direction))], 1):
            wanted, got = difference(function, sample.values, direction), float(evaluate(derivative, sample.values))
            assert got == pytest.approx(wanted, rel=1e-5, abs=1e-6), f"order {order} at {sample.values}"
        single = evaluate(slope, sample.values, "float32")
        assert float(single) == pytest.approx(float(evaluate(slope, sample.values)), rel=1e-3, abs=1e-3), "float32"


@each_op
def test_text_and_latex(op: Op) -> None:
    for _, node, _values in samples_of(op):
        text, latex = str(node), node.latex()
        assert text.strip() and latex.strip()
        assert latex.count("{") == latex.count("}") and latex.count(r"\left") == latex.count(r"\right")
        for s in topological(node):
            if s.op.name == "symbol":
                assert s.name in text and s.name[0] in latex


@pytest.mark.parametrize("op", ELEMENTWISE, ids=lambda op: op.name)
def test_text_reads_back(op: Op) -> None:
    for _, node, values in samples_of(op):
        if op.name in ("named", "nonnegative", "to_real") or not values:
            continue
        again = sg.parse(str(node))
        named = {s.name: v for s, v in values.items()}
        np.testing.assert_allclose(evaluate(again, named), evaluate(node, values), rtol=1e-15)


@pytest.mark.parametrize("op", ELEMENTWISE, ids=lambda op: op.name)
def test_sympy_round_trip(op: Op) -> None:
    for _, node, values in samples_of(op):
        again = sg.from_sympy(node.to_sympy())
        named = {s.name: v for s, v in values.items()}
        np.testing.assert_allclose(evaluate(again, named), evaluate(node, values), rtol=1e-14)
        assert again.kind == node.kind or op.name == "to_real"


# --- compiled = evaluated --------------------------------------------------------------------------


@each_op
@each_dtype
def test_compiled_is_evaluated(op: Op, dtype: str) -> None:
    samples = [sample_of(op, e if isinstance(e, tuple) else (e,), f"_{k}") for k, e in enumerate(op.samples)]
    values = {s: v for sample in samples for s, v in sample.values.items()}
    function = sg.compile([s.node for s in samples], list(values), dtype=dtype, simplify=False, cache=False)
    results = function(*[v.astype(np.float32) if dtype == "float32" and v.dtype.kind == "f" else v for v in values.values()])
    for sample, result in zip(samples, results, strict=True):
        wanted = evaluate(sample.node, sample.values, dtype)
        assert np.shape(result) == wanted.shape
        np.testing.assert_allclose(result, wanted, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])
