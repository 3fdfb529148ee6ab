"""The rules of simplify: every one fires on its sample, keeps its value, and is never less accurate; the golden forms."""

from __future__ import annotations

import dataclasses
import importlib
import itertools
import math
from typing import Any

import mpmath
import numpy as np
import pytest

import symgrad as sg
from symgrad.evaluate import evaluate
from symgrad.expr import Expr, free_symbols, topological
from symgrad.simplify import Application, apply_local, simplify
from symgrad.simplify.cost import cost, count
from symgrad.simplify.engine import Rewriter, RuleBook
from symgrad.simplify.rewriting import ACCURATE, CHEAPER, FORM, ULPS, Pattern, Rule
from symgrad.simplify.rules import LATE, LOCAL, PASSES, RULES, WHOLES
from symgrad.simplify.stability import STABILITY

mpmath.mp.dps = 400  # atan(1e160) differs from pi/2 in the 160th digit
collect = importlib.import_module("symgrad.simplify.collect")

SAMPLE_SHAPES = {"A": (2, 3), "B": (3, 4), "v": (3,)}
POINTS = [0.0, -0.0, 1.0, -1.0, 0.3, -0.7, 2.5, -3.0, 1e-9, -1e-9, 12.0, -35.0, 300.0, -300.0, 720.0, -720.0, 1e3, -1e3]
POINTS += [1e160, -1e160, 1e300, 1e-160, 1e-300]


def _sigmoid(x: Any) -> Any:
    return 1 / (1 + mpmath.exp(-x))


EXACT: dict[str, Any] = {
    "add": lambda a, b: a + b, "sub": lambda a, b: a - b, "mul": lambda a, b: a * b, "div": lambda a, b: a / b, "neg": lambda a: -a,
    "pow": lambda a, b: a**b, "square": lambda a: a * a, "exp": mpmath.exp, "log": mpmath.log, "expm1": mpmath.expm1, "log1p": mpmath.log1p,
    "sqrt": mpmath.sqrt, "abs": abs, "sin": mpmath.sin, "cos": mpmath.cos, "tan": mpmath.tan, "asin": mpmath.asin, "acos": mpmath.acos,
    "atan": mpmath.atan, "sinh": mpmath.sinh, "cosh": mpmath.cosh, "tanh": mpmath.tanh, "asinh": mpmath.asinh,
    "acosh": mpmath.acosh, "atanh": mpmath.atanh, "hypot": lambda a, b: mpmath.sqrt(a * a + b * b), "erf": mpmath.erf, "erfc": mpmath.erfc,
    "sigmoid": _sigmoid, "softplus": lambda x: mpmath.log1p(mpmath.exp(x)), "log_sigmoid": lambda x: -mpmath.log1p(mpmath.exp(-x)),
    "relu": lambda x: max(x, mpmath.mpf(0)), "maximum": max, "minimum": min, "where": lambda p, a, b: a if p else b,
    "logical_and": lambda a, b: a and b, "logical_or": lambda a, b: a or b, "logical_not": lambda a: not a,
}  # fmt: skip


def exact(e: Expr, at: dict[str, Any]) -> Any:
    """The value to hundreds of digits, ``None`` where there is none."""
    values: dict[Expr, Any] = {}
    for node in topological(e):
        if node.op.name == "constant":
            value = node.params["value"]
            values[node] = value if isinstance(value, bool) else mpmath.mpf(value)
        elif node.op.name == "symbol":
            values[node] = at[node.name] if isinstance(at[node.name], bool) else mpmath.mpf(at[node.name])
        else:
            operands = [values[a] for a in node.args]
            try:
                values[node] = EXACT[node.op.name](*operands)
            except (ZeroDivisionError, ValueError, OverflowError):
                return None
            if isinstance(values[node], mpmath.mpc) or (isinstance(values[node], mpmath.mpf) and not mpmath.isfinite(values[node])):
                return None
    return values[e]


def at_points(e: Expr) -> list[dict[str, Any]]:
    names = [s.name for s in free_symbols(e)]
    kinds = {s.name: s.kind for s in free_symbols(e)}
    axes = [[True, False] if kinds[n] == "boolean" else [2, 3, 4] if n == "n" else POINTS for n in names]
    points = list(itertools.product(*axes))
    step = max(1, len(points) // 400)
    return [dict(zip(names, p, strict=True)) for p in points[::step]]


def ulps(error: Any, value: Any) -> float:
    return float(abs(error) / mpmath.mpf(math.ulp(max(abs(float(value)), 1e-300))))


ALL = [rule for table in RULES.values() for rule in table]
PATTERNS = [rule for rule in ALL if isinstance(rule, Pattern)]
IN_CODE = [rule for rule in ALL if isinstance(rule, Rule)]


@pytest.mark.parametrize("rule", PATTERNS, ids=lambda r: r.name)
def test_a_pattern_is_never_less_accurate(rule: Pattern) -> None:
    before, after = rule._texts
    checked = 0
    for at in at_points(before):
        found = {s.name: sg.constant(at[s.name]) for s in free_symbols(before)}
        if rule.when is not None and not rule.when(found):
            continue
        with np.errstate(all="ignore"):
            raw, new = (np.float64(evaluate(e, {s: at[s.name] for s in free_symbols(e)})) for e in (before, after))
        truth = exact(before, at)
        if np.isnan(raw) or truth is None:
            continue
        assert not np.isnan(new), f"{rule.name} makes NaN at {at}"
        if not np.isfinite(raw):
            continue
        assert np.isfinite(new), f"{rule.name} overflows at {at}: {raw} became {new}"
        if abs(truth) > 1e-290:
            lost = ulps(new - truth, truth) - ulps(raw - truth, truth)
            assert lost <= ULPS, f"{rule.name} loses {lost} ulp at {at}: {raw} became {new}, exact {truth}"
        checked += 1
    assert checked >= 2


@pytest.mark.parametrize("rule", PATTERNS, ids=lambda r: r.name)
def test_a_pattern_keeps_limits_at_infinity(rule: Pattern) -> None:
    """``sin(atan(x))`` is 1 there, and ``x/hypot(1, x)`` is NaN."""
    before, after = rule._texts
    symbols = list(free_symbols(before))
    for values in itertools.product(*([True, False] if s.kind == "boolean" else [math.inf, -math.inf, 2.0, -0.5] for s in symbols)):
        at = dict(zip(symbols, values, strict=True))
        if rule.when is not None and not rule.when({s.name: sg.constant(v) for s, v in at.items()}):
            continue
        with np.errstate(all="ignore"):
            raw, new = (evaluate(e, {s: at[s] for s in free_symbols(e)}) for e in (before, after))
        assert not (np.isfinite(raw) and np.isnan(new)), f"{rule.name} makes NaN of {raw} at {values}"


@pytest.mark.parametrize("rule", PATTERNS, ids=lambda r: r.name)
def test_a_pattern_fires_on_itself(rule: Pattern) -> None:
    before, after = rule._texts
    if any(s.name == "n" for s in free_symbols(before)):
        four = {s: sg.constant(4) for s in free_symbols(before) if s.name == "n"}
        before, after = sg.substitute(before, four), sg.substitute(after, four)
    assert rule.rewrite(before) is after


def sample_of(rule: Rule) -> Expr:
    return sg.parse(rule.sample, SAMPLE_SHAPES) if isinstance(rule.sample, str) else rule.sample()


def data_for(*exprs: Expr) -> dict[Expr, Any]:
    rng = np.random.default_rng(0)
    sizes = {"n": 5}
    values: dict[Expr, Any] = {}
    for s in free_symbols(*exprs):
        shape = tuple(sizes.get(d, d) for d in s.shape)
        values[s] = rng.integers(0, 3, shape) if s.kind == "integer" else rng.normal(size=shape)
        if len(set(shape)) == 1 and len(shape) == 2:
            values[s] += 3 * np.eye(shape[0])  # far from singular
    return values


def applied(rule: Rule | Pattern) -> tuple[Expr, Expr]:
    """An expression that the rule changes, and what it makes of it: a pattern changes itself, with 4 for ``n``."""
    if isinstance(rule, Pattern):
        before = rule._texts[0]
        before = sg.substitute(before, {s: sg.constant(4) for s in free_symbols(before) if s.name == "n"})
        after = rule.rewrite(before)
        assert after is not None
        return before, after
    before = sample_of(rule)
    if rule in (*WHOLES, *PASSES):
        after = rule.rewrite(before)
        assert after is not None
        return before, after
    record: list[Application] = []
    (after,) = Rewriter(RuleBook([dataclasses.replace(rule, late=None)]), record).run([before])
    assert [a.rule for a in record][:1] == [rule.name]
    return before, after


MAGNITUDES = (1.0, 1e-9, 1e9, 1e-60, 1e60, 1e-150, 1e150)
WITHIN = 512.0  # ulp of the largest element: sums of products are added up, and matrices eliminated, in another order
ZERO = ("sum of deviations",)  # in exact arithmetic: there of the largest number on the way


@pytest.mark.parametrize("rule", IN_CODE, ids=lambda r: r.name)
def test_a_rule_in_code_changes_its_sample_and_keeps_the_value(rule: Rule) -> None:
    before, after = applied(rule)
    assert after is not before and after.shape == before.shape
    checked = 0
    for magnitude in MAGNITUDES:
        values = {s: v if s.kind == "integer" else v * magnitude for s, v in data_for(before).items()}
        with np.errstate(all="ignore"):
            raw, new = (np.asarray(evaluate(e, values, sizes={"n": 5}), float) for e in (before, after))
        finite = np.isfinite(raw)
        assert np.isfinite(new[finite]).all(), f"{rule.name} overflows at {magnitude}"
        parts = [evaluate(e, values, sizes={"n": 5}) for e in topological(before)] if rule.name in ZERO else [raw[finite]]
        largest = max(np.abs(part).max(initial=1e-290) for part in parts)
        assert np.abs(new[finite] - raw[finite]).max(initial=0) <= WITHIN * np.spacing(largest), f"{rule.name} at {magnitude}"
        checked += bool(finite.any())
    assert checked >= 2


def test_names_of_rules_are_unique() -> None:
    names = [r.name for r in ALL]
    assert len(names) == len(set(names))


def test_every_rule_stands_in_a_table() -> None:
    assert set(ALL) == {*LOCAL, *STABILITY, *WHOLES, *PASSES}
    assert set(LATE) < set(ALL)
    assert {r.direction for r in ALL} == {CHEAPER, ACCURATE, FORM}


@pytest.mark.parametrize("rule", [r for r in ALL if r.direction == CHEAPER], ids=lambda r: r.name)
def test_a_cheaper_form_costs_no_more(rule: Rule | Pattern) -> None:
    before, after = applied(rule)
    old, new = ((cost([e]), count([e]).operations, len(topological(e))) for e in (before, after))
    assert new < old


@pytest.mark.parametrize("rule", [r for r in ALL if r.direction == FORM], ids=lambda r: r.name)
def test_another_form_costs_about_the_same(rule: Rule | Pattern) -> None:
    before, after = applied(rule)
    assert cost([after]) <= cost([before]) + 1  # a minus sign in front


@pytest.mark.parametrize("rule", [r for r in PATTERNS if r.direction == ACCURATE], ids=lambda r: r.name)
def test_a_more_accurate_form_is_better_somewhere(rule: Pattern) -> None:
    before, after = rule._texts
    for at in at_points(before):
        with np.errstate(all="ignore"):
            raw, new = (np.float64(evaluate(e, {s: at[s.name] for s in free_symbols(e)})) for e in (before, after))
        truth = exact(before, at)
        if truth is None or not np.isfinite(new) or ulps(new - truth, truth) > ULPS:
            continue
        if not np.isfinite(raw) or ulps(raw - truth, truth) > 1000:
            return
    pytest.fail("nowhere better by 10 bits")


@pytest.mark.parametrize("rule", [r for r in IN_CODE if r.direction == ACCURATE], ids=lambda r: r.name)
def test_a_more_accurate_function_is_finite_where_the_formula_is_not(rule: Rule) -> None:
    before, after = applied(rule)
    better = 0
    for magnitude in (1e3, 1e60, 1e200):
        values = {s: v * magnitude for s, v in data_for(before).items()}
        with np.errstate(all="ignore"):
            raw, new = (np.asarray(evaluate(e, values), float) for e in (before, after))
        assert np.isfinite(new[np.isfinite(raw)]).all()
        better += bool((np.isfinite(new) & ~np.isfinite(raw)).any())
    assert better


# --- the forms that people read -----------------------------------------------------------------------------

w, x, b, y, t, a, c, f = sg.symbols("w x b y t a c f")
mu, sigma, theta, g, length = sg.symbols("mu sigma theta g l")


@pytest.mark.parametrize(
    ("formula", "wrt", "expected"),
    [
        (3 * x**2 - 4 * x + 5, x, "6*x - 4"),
        (sg.tanh(w * x + b), w, "x*(1 - tanh(w*x + b)**2)"),
        (sg.tanh(w * x + b), b, "1 - tanh(w*x + b)**2"),
        ((a * b + c) * f, a, "b*f"),
        ((a * b + c) * f, f, "a*b + c"),
        (sg.sigmoid(x), x, "sigmoid(x)*(1 - sigmoid(x))"),
        (a * x**3 + b * x**2 + c * x + f, x, "3*a*x**2 + 2*b*x + c"),
        (x * sg.log(x), x, "log(x) + 1"),
        (sg.cos(w * t), t, "-w*sin(w*t)"),
        (x / y, x, "1/y"),
        (x / y, y, "-x/y**2"),
        (100 * (y - x**2) ** 2 + (1 - x) ** 2, x, "-400*x*(y - x**2) - 2*(1 - x)"),
        (-(g / length) * sg.sin(theta), theta, "-g*cos(theta)/l"),
        (x * sg.exp(x), x, "x*exp(x) + exp(x)"),
        (sg.exp(-(x**2)), x, "-2*x*exp(-x**2)"),
        (sg.sqrt(x), x, "1/(2*sqrt(x))"),
        (a + a, a, "2"),
        (a * b + (a + b), a, "b + 1"),
    ],
    ids=str,
)
def test_gradients_print_as_a_person_would_write_them(formula: Expr, wrt: Expr, expected: str) -> None:
    assert str(sg.grad(formula, wrt)) == expected


X, W, V = sg.symbol("X", ("n", 2)), sg.symbol("W", (2, 3)), sg.symbol("v", 2)
T = sg.symbol("t", ("n",))


@pytest.mark.parametrize(
    ("formula", "wrt", "expected"),
    [
        (((X @ V - T) ** 2).sum(), V, "2*X.T @ (X @ v - t)"),
        (((X @ V - T) ** 2).mean(), V, "2/n*X.T @ (X @ v - t)"),
        ((sg.tanh(X @ W) ** 2).sum() / 2, W, "X.T @ (tanh(X @ W) * (1 - tanh(X @ W)**2))"),
        ((W * W).sum(), W, "2*W"),
        ((X @ W).sum(), W, "broadcast_to(sum(X, axis=0)[:, None], (2, 3))"),
    ],
    ids=str,
)
def test_matrix_gradients_are_matrix_formulas(formula: Expr, wrt: Expr, expected: str) -> None:
    assert str(sg.grad(formula, wrt)) == expected


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        (x * 3 + 0 * w, "x*3"),
        (x + 3 + 2 * x, "3*x + 3"),
        (3 * (2 * x), "6*x"),
        (a * b + b * a, "2*a*b"),
        (b * a + 1 - 1, "b*a"),
        (x - -y, "x + y"),
        ((sg.exp(2 * x) - 1) / (sg.exp(2 * x) + 1), "tanh(x)"),
        (1 / (1 + sg.exp(-x)), "sigmoid(x)"),
        (sg.log(1 + sg.exp(x)), "softplus(x)"),
        (sg.log(sg.softmax(X @ W)), "log_softmax(X @ W)"),
        (sg.log(sg.softmax(X @ W).named("p")), "log_softmax(X @ W)"),
        ((X[:, :, None] * W[None]).sum(1), "X @ W"),
        (sg.sqrt((W**2).sum()), "norm(W)"),
        (sg.maximum(0, x), "maximum(0, x)"),
        (x * 1e200 * 1e200, "x*1e200*1e200"),
        (0.1 * (3 * x), "0.1*(3*x)"),
        (x + y + w, "x + y + w"),
        (y * x * w, "y*x*w"),
        (-x * y, "-x*y"),
        (-(x**2) / (2 * sigma**2), "-x**2/(2*sigma**2)"),
    ],
    ids=str,
)
def test_simplify(formula: Expr, expected: str) -> None:
    assert str(simplify(formula, islands=False)) == expected


z = sg.symbol("z")


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        (x + (x + (y / z - y)), "2*x + (y/z - y)"),
        ((x - y) + (x - z), "x - y + (x - z)"),
        ((x + 3) + (y - 3), "x + 3 + (y - 3)"),
        ((x - y) + (y + z), "x - y + (y + z)"),
        ((x - y) + (2 * x - z), "x - y + (2*x - z)"),
        ((2 * x - z) + x, "3*x - z"),
        (x - (y - x), "2*x - y"),
        (x - (x + y), "-y"),
        (-(x - y) + 3 * x + y, "2*y + 2*x"),
        (1 - (2 - (3 - x)), "2 - x"),
        (x - (y + x * 3), "-2*x - y"),
    ],
    ids=str,
)
def test_terms_are_added_where_parentheses_may_cancel(formula: Expr, expected: str) -> None:
    assert str(simplify(formula, islands=False)) == expected


@pytest.mark.parametrize(
    ("formula", "wrt", "at"),
    [
        (sg.sqrt(x * y / z), x, (1e-200, -1e300, -1e150)),
        (y * sg.square(sg.sin(x) / x) / z, z, (1e-100, 1e-260, 1e9)),
        (x * (x + (y / (1 + x * z) - y)), x, (1e-100, 5.0, 1.0)),
        (1e200 * (x * y) * z, z, (1e200, 1e-200, 1.0)),
    ],
    ids=str,
)
def test_a_derivative_is_as_good_as_the_chain_rule_at_extremes(formula: Expr, wrt: Expr, at: tuple[float, ...]) -> None:
    values = dict(zip((x, y, z), at, strict=True))
    with np.errstate(all="ignore"):
        raw, new = (float(evaluate(sg.grad(formula, wrt, simplify=simpler), values)) for simpler in (False, True))
    assert math.isfinite(raw) and raw != 0
    assert new == pytest.approx(raw, rel=1e-15, abs=0)


def test_simplify_takes_sequences_and_dicts() -> None:
    assert simplify([x + 0, y * 1]) == [x, y]
    assert simplify((x + 0,)) == (x,)
    assert simplify({"f": x - 0}) == {"f": x}


def test_every_application_is_recorded() -> None:
    record: list[Application] = []
    simplify(sg.log(1 + sg.exp(0 * y + x)), islands=False, record=record)
    assert [r.rule for r in record] == ["multiply by 0", "add 0", "log(1 + exp)"]
    assert record[-1].after is sg.softplus(x)


@pytest.mark.parametrize("formula", [x * sg.sin(x) / (1 + x**2), sg.sin(2 * x) / sg.cos(x), sg.norm(X @ W) * sg.exp(-x)], ids=str)
def test_what_is_recorded_stands_in_a_table(formula: Expr) -> None:
    """The whole way from the bare chain rule to the final form: passes are rules, too."""
    record: list[Application] = []
    raw = list(sg.grad(formula, formula.free_symbols, simplify=False))
    simplify(apply_local(raw, [formula], record=record), record=record)
    assert {a.rule for a in record} <= {rule.name for rule in ALL}


def test_what_has_a_name_cancels_with_what_it_stands_for() -> None:
    """The cross-entropy of a named probability: its derivative holds the name and the sigmoid."""
    z = (w * x).named("z")
    p = sg.sigmoid(z).named("p")
    loss = -(t * sg.log(p) + (1 - t) * sg.log(1 - p))
    assert simplify(sg.grad(loss, z)) is p - t
    assert str(simplify(sg.grad(loss, w))).splitlines()[-1] == "x*(p - t)"


def test_simplify_is_idempotent() -> None:
    for formula in (3 * x**2 - 4 * x, sg.tanh(w * x + b) * y / 2, -x * y + 2 * (x * y), (X @ W).sum() / 3):
        once = simplify(formula, islands=False)
        assert simplify(once, islands=False) is once


def test_what_is_shared_is_not_computed_twice() -> None:
    h = sg.tanh(X @ W)
    product = h * (1 - h)
    (after,) = apply_local([(product.sum() + sg.exp(product)).sum()])
    assert sum(n.op.name == "mul" for n in topological(after)) <= 2


STEPS = {"tanh": lambda y: sg.tanh(w * y + b), "add": lambda y: y + x, "neg": lambda y: -y, "mul": lambda y: w * y, "div": lambda y: y / w}


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
def test_deep_chains(step: Any) -> None:
    y = x
    for _ in range(4000):
        y = step(y)
    simplify(sg.grad(y, x), islands=False)


def test_sixty_squarings() -> None:
    y = x
    for _ in range(60):
        y = y * y
    assert len(topological(simplify(sg.grad(y, x), islands=False))) < 1000
