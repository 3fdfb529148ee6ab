"""Large graphs: every stage is linear, and none recurses (EDGES 17, 18, 22, 23, 26)."""

from __future__ import annotations

import gc
import math
import pickle
import sys
import threading
import weakref
from collections.abc import Callable
from functools import reduce
from itertools import accumulate
from typing import Any

import numpy as np
import pytest

import symgrad as sg
from symgrad.differentiate import tidy_gradient
from symgrad.evaluate import evaluate
from symgrad.expr import OPS, Expr, topological
from symgrad.simplify import apply_rules, shared_rules
from symgrad.simplify.engine import Rewriter

X, A, B = sg.symbols("x a b")


def mixed(length: int) -> Expr:
    """A chain of sines, products and sums."""
    steps: tuple[Callable[[Expr], Expr], ...] = (sg.sin, lambda y: y * A, lambda y: y + 0.1)
    return reduce(lambda y, k: steps[k % 3](y), range(length), X)


def mixed_numbers(length: int, x: float, a: float) -> tuple[float, float, float]:
    """The chain, and its derivatives with respect to both, in Python floats: forward, so that nothing is shared with the sweep."""
    y, dx, da = x, 1.0, 0.0
    for k in range(length):
        if k % 3 == 0:
            y, dx, da = math.sin(y), math.cos(y) * dx, math.cos(y) * da
        elif k % 3 == 1:
            y, dx, da = y * a, dx * a, da * a + y
        else:
            y = y + 0.1
    return y, dx, da


def chain(step: Callable[[Expr], Expr]) -> Callable[[int], Expr]:
    return lambda length: reduce(lambda y, _: step(y), range(length), X)


def summed(step: Callable[[Expr], Expr]) -> Callable[[int], Expr]:
    """The sum of all links of a chain: each link is used twice."""
    return lambda length: reduce(sg.add, accumulate(range(length), lambda y, _: step(y), initial=X))  # type: ignore[attr-defined]


def spread(length: int) -> Expr:
    """One node used by many others."""
    h = sg.sin(X * A)
    return reduce(lambda total, k: total + sg.cos(h * k), range(1, length), h)


FAMILIES: dict[str, Callable[[int], Expr]] = {
    "mixed": mixed,
    "two branches": chain(lambda y: y * y + y),
    "squares": chain(lambda y: y * y),
    "negative": chain(lambda y: -(y * A)),
    "number, factor": chain(lambda y: 0.1 * (A * y)),
    "factor, number": chain(lambda y: (y * A) * 0.3),
    "quotients": chain(lambda y: (y / A) / 3),
    "fractions": chain(lambda y: A / (y + 1)),
    "differences": chain(lambda y: B - A * y),
    "powers": chain(lambda y: y**2 + A),
    "neurons": chain(lambda y: sg.tanh(y * A + B)),
    "choices": chain(lambda y: sg.where(y > A, y * A, y - B)),
    "ties": chain(lambda y: sg.maximum(y, A) + y),
    "named": chain(lambda y: (sg.sin(y) * A).named("h")),
    "halves": summed(lambda y: 0.5 * sg.sin(y)),
    "multiples": summed(lambda y: y * 0.5),
    "tenths": summed(lambda y: 0.1 * (A * y)),
    "negatives": summed(lambda y: -y * A),
    "terms": lambda length: reduce(lambda t, k: t + sg.sin(X * k), range(1, length), A),
    "like terms": lambda length: reduce(lambda t, k: t + X * k, range(1, length), A),
    "factors": lambda length: reduce(lambda t, k: t * sg.sin(X * k), range(1, length), A),
    "spread": spread,
}
SWELL = 4.0  # nodes of the gradient (with the value's that it uses) a node of the value; ties, which share, make 8


def nodes(*roots: Expr) -> int:
    return len(topological(*roots))


def visits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Counts the nodes that simplification steps through."""
    count = [0]
    step = Rewriter._step

    def counted(self: Rewriter, node: Expr) -> Expr:
        count[0] += 1
        return step(self, node)

    monkeypatch.setattr(Rewriter, "_step", counted)
    return count


class Calls:
    """Counts Python's function calls: what a stage costs, whatever else the machine does."""

    def __init__(self) -> None:
        self.count = 0

    def __enter__(self) -> Calls:
        self.before = sys.getprofile()
        sys.setprofile(self._called)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(self.before)

    def _called(self, frame: Any, event: str, arg: Any) -> None:
        self.count += event in ("call", "c_call")


STAGES: dict[str, Callable[[Expr], Any]] = {
    "differentiate": lambda y: sg.grad(y, [X, A], simplify=False),
    "differentiate and simplify": lambda y: sg.grad(y, [X, A]),
    "simplify": sg.simplify,
    "print": str,
    "print LaTeX": lambda y: y.latex(),
    "print a gradient": lambda y: str(sg.grad(y, A, simplify=False)),
    "pickle": lambda y: pickle.loads(pickle.dumps(y)),
    "substitute": lambda y: sg.substitute(y, {X: B * X}),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_gradient_does_not_swell(family: str) -> None:
    y = FAMILIES[family](300)
    bound = (8 if family == "ties" else SWELL) * nodes(y) + 50
    raw, derived = sg.grad(y, [X, A], simplify=False), sg.grad(y, [X, A])
    simplified = sg.simplify(derived)
    assert nodes(y, *raw) <= bound
    assert nodes(y, *derived) <= max(nodes(y, *raw), bound)
    assert nodes(*simplified) <= nodes(y, *derived)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_is_linear(family: str, stage: str) -> None:
    short, long = FAMILIES[family](60), FAMILIES[family](240)
    for y in (short, long):
        STAGES[stage](y)  # what happens once: imports, patterns read, islands (of 40 operations at most, 200 in all) decided
    with Calls() as few:
        STAGES[stage](short)
    with Calls() as many:
        STAGES[stage](long)
    assert many.count <= 4.8 * few.count + 2000


def test_a_jacobian_takes_one_sweep_for_all_variables() -> None:
    def work(count: int) -> int:
        xs = sg.symbols(" ".join(f"x{k}" for k in range(count)))
        y = reduce(lambda total, x: total + sg.sin(total * x), xs)
        with Calls() as calls:
            sg.jacobian(y, xs, simplify=False)
        return calls.count

    work(9)
    assert work(240) <= 4.8 * work(60) + 2000


@pytest.mark.parametrize("family", FAMILIES)
def test_simplifying_on_the_way_and_afterwards_are_the_same(family: str) -> None:
    """What a large formula's gradient goes through: the rules that are applied while the sweep is under way find the same form."""
    with shared_rules() as normal:
        (y,) = apply_rules([FAMILIES[family](60)])
        found = tidy_gradient(y, [X, A], normal)
    assert found == apply_rules(sg.grad(y, [X, A], simplify=False))


def test_simplification_visits_a_node_a_few_times(monkeypatch: pytest.MonkeyPatch) -> None:
    count = visits(monkeypatch)
    y = mixed(5_000)
    sg.grad(y, [X, A])
    assert count[0] <= 12 * nodes(y)


# --- compiled ------------------------------------------------------------------------------------------


def test_a_long_chain_as_a_whole() -> None:
    """20,000 links through every stage; the values against plain floats."""
    y = mixed(20_000)
    wanted = mixed_numbers(20_000, 0.3, 0.9)
    assert evaluate(y, {X: np.array(0.3), A: np.array(0.9)}) == pytest.approx(wanted[0], rel=1e-12)
    assert sg.substitute(y, {X: A, A: X}) is not y
    f = sg.compile(y, [X, A], cache=False, simplify=False)
    found, slopes = f.value_and_grad(0.3, 0.9)
    assert found == pytest.approx(wanted[0], rel=1e-12)
    assert (slopes["x"], slopes["a"]) == pytest.approx(wanted[1:], rel=1e-9)


@pytest.mark.parametrize(
    "length",
    [pytest.param(3_000, id="3000"), pytest.param(100_000, id="100000", marks=pytest.mark.slow)],
)
def test_two_branches_as_a_whole(length: int) -> None:
    """``y*y + y``: read three times a link, so that anything that walks paths and not nodes never ends."""
    link: Callable[[Expr], Expr] = lambda y: y * y * 0.25 + y * 0.5  # noqa: E731
    y = chain(link)(length // 4)
    derivative = sg.grad(y, X)
    assert nodes(derivative) <= SWELL * nodes(y)
    assert len(str(derivative)) <= 40 * nodes(derivative) and sg.simplify(y).shape == ()
    value, slope = 1.9, 1.0
    for _ in range(length // 4):
        value, slope = value * value * 0.25 + value * 0.5, slope * (value * 0.5 + 0.5)
    for simplify in (False, True):
        found, slopes = sg.compile(y, cache=False, simplify=simplify).value_and_grad(1.9)
        assert found == pytest.approx(value, rel=1e-9) and slopes["x"] == pytest.approx(slope, rel=1e-9)


def test_a_long_chain_of_100_000_links() -> None:
    """Built, differentiated, printed, compiled and run; with simplification: ``test_edges.py::test_row_22``."""
    y = mixed(100_000)
    slope = sg.grad(y, A, simplify=False)
    assert nodes(slope, y) <= SWELL * nodes(y)
    assert str(y).count("sin") == 33_334 and len(y.latex()) > 100_000
    assert sg.compile(y, [X, A], cache=False, simplify=False)(0.3, 0.9) == pytest.approx(mixed_numbers(100_000, 0.3, 0.9)[0], rel=1e-9)


def test_a_sum_of_20_000_terms() -> None:
    count = 20_000
    y = FAMILIES["terms"](count)
    assert str(y).startswith("a + sin(x*1) + sin(x*2)")
    k = np.arange(1, count)
    f = sg.compile(y, [X, A], cache=False, simplify=False)
    assert f(0.3, 2.0) == pytest.approx(2.0 + np.sin(0.3 * k).sum(), rel=1e-9)
    slope = evaluate(sg.grad(y, X, simplify=False), {X: np.array(0.3), A: np.array(2.0)})
    assert slope == pytest.approx((k * np.cos(0.3 * k)).sum(), rel=1e-9)
    assert str(sg.simplify(FAMILIES["like terms"](count))) == f"a + {k.sum()}*x"


def test_a_node_used_10_000_times() -> None:
    count = 10_000
    y = spread(count)
    k = np.arange(1, count)
    h, slope = np.sin(0.3 * 0.7), 0.7 * np.cos(0.3 * 0.7)
    assert sg.compile(y, [X, A], cache=False, simplify=False)(0.3, 0.7) == pytest.approx(h + np.cos(h * k).sum(), rel=1e-9)
    found = evaluate(sg.grad(y, X, simplify=False), {X: np.array(0.3), A: np.array(0.7)})
    assert found == pytest.approx(slope * (1 - (k * np.sin(h * k)).sum()), rel=1e-9)


@pytest.mark.slow
def test_row_26_300_inputs_and_50_000_operations() -> None:
    names = sg.symbols(" ".join(f"x{i}" for i in range(300)))
    y, values = names[0], np.linspace(-1, 1, 300)
    number = values[0]
    for k in range(25_000):
        y, number = sg.sin(y) * 0.5 + names[k % 300], math.sin(number) * 0.5 + values[k % 300]
    found, gradient = sg.compile(y, names, cache=False).value_and_grad(*values)
    assert found == pytest.approx(number, rel=1e-9) and len(gradient) == 300
    assert gradient["x99"] == 1.0  # the last one added


@pytest.mark.parametrize("mode", ["tile", "loops", "blas"])
def test_a_chain_of_tensors(mode: str) -> None:
    """2,000 links of shape (n, 4), one kernel; the derivative is the product of the links' slopes."""
    v, number = sg.symbol("v", ("n", 4)), np.linspace(-1, 1, 28).reshape(7, 4)
    y, value, slope = v, number, np.ones_like(number)
    for k in range(2_000):
        if k % 20 == 0:
            y, value, slope = sg.sin(y), np.sin(value), slope * np.cos(value)
        elif k % 2:
            y, value, slope = y * 1.03, value * 1.03, slope * 1.03
        else:
            y, value = y + 0.01, value + 0.01
    f = sg.compile(sg.sum(y), cache=False, simplify=False, mode=mode)
    found, gradient = f.value_and_grad(number)
    assert found == pytest.approx(value.sum(), rel=1e-9)
    np.testing.assert_allclose(gradient["v"], slope, rtol=1e-9)
    assert len(f.schedule) <= 12  # kernels: the chain is one


def test_nodes_die_and_threads_share_them() -> None:
    """Eight threads build and drop the same chains: equal structure stays one object, and what is dropped leaves the table."""
    results: list[Expr] = []

    def work() -> None:
        for turn in range(20):
            y = reduce(lambda y, k: sg.sin(y) * (k % 7) + turn % 3, range(150), sg.symbol("only_here"))
        results.append(y)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(results)) == 1
    del work
    kept = sum(len(op.nodes) for op in OPS.values())
    size = nodes(results[0])
    results.clear()
    gc.collect()
    sg.symbol("another_still")  # places are given up when the next node is made
    assert sum(len(op.nodes) for op in OPS.values()) <= kept - size + 20


@pytest.mark.parametrize(("dtype", "batch"), [("float64", 16), ("float64", 1), ("float32", 2)])
def test_a_formula_in_pieces_with_more_inputs_than_parameters_go(dtype: str, batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """100 inputs, found through the table of arguments; functions of libm, of our own and of powers, called from the pieces."""
    monkeypatch.setattr("symgrad.render.llvm_body.BATCH", batch)  # several modules, compiled by a thread
    names = sg.symbols(" ".join(f"x{i}" for i in range(100)))
    y, links = names[0], 1_500
    for k in range(1, links):
        step = (sg.erfc, sg.tanh, lambda e: e**3 * 0.5, lambda e: sg.where(e > 0.3, e, 0.5 - e))[k % 4]
        y = step(y * 0.9 + 0.2) * names[k % 100] + 0.1
    values = np.linspace(0.2, 0.9, 100).astype(dtype)
    f, threads = sg.compile(y, names, cache=False, dtype=dtype), threading.active_count()
    assert f.formula.is_large
    found, gradient = f.value_and_grad(*values.tolist())
    assert threading.active_count() == threads  # none of the compiler's stays
    where = {s: np.array(v, dtype="float64") for s, v in zip(names, values)}
    close = 1e-9 if dtype == "float64" else 1e-3
    assert found == pytest.approx(float(evaluate(y, where)), rel=close)
    assert f(*values.tolist()) == pytest.approx(found, rel=close)
    step, last = 1e-6, names[(links - 1) % 100]
    above, below = (float(evaluate(y, {**where, last: where[last] + d})) for d in (step, -step))
    assert gradient[last.name] == pytest.approx((above - below) / (2 * step), rel=max(close, 1e-5))


def test_a_formula_that_nobody_holds_is_let_go_with_the_next_node() -> None:
    """The tables of nodes keep nothing alive: the node at the top hides thousands."""
    y = mixed(3_000)
    deep = weakref.ref(topological(y)[1_500])
    del y
    _ = X + sg.symbol("another")
    assert deep() is None
