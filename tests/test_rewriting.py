"""How patterns are matched, and the engine that applies rules: which it tries, in what order, what it keeps."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Iterator
from itertools import product

import pytest

import symgrad as sg
from symgrad.expr import Expr, apply, free_symbols, sweep, topological, unvisited
from symgrad.simplify import apply_local, engine
from symgrad.simplify.engine import Rewriter, RuleBook
from symgrad.simplify.rewriting import CHEAPER, FORM, Pattern, Rule
from symgrad.simplify.rules import ALGEBRA, LOCAL
from symgrad.simplify.stability import STABILITY

x, y, z = sg.symbols("x y z")
PATTERNS = [rule for rule in (*STABILITY, *ALGEBRA) if isinstance(rule, Pattern)]
COMMUTE = ("add", "mul", "maximum", "minimum", "logical_and", "logical_or")


def turned(e: Expr) -> Iterator[Expr]:
    """An expression with the operands of sums and products in every order."""
    for args in product(*[list(turned(a)) for a in e.args]):
        yield apply(e.op, *args, **e.params) if e.args else e
        if e.op.name in COMMUTE:
            yield apply(e.op, *args[::-1], **e.params)


# --- patterns ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", PATTERNS, ids=lambda r: r.name)
def test_a_pattern_is_seen_in_every_order(rule: Pattern) -> None:
    before, after = (sg.substitute(e, {s: 4 for s in free_symbols(e) if s.name == "n"}) for e in rule._texts)
    for form in set(turned(before)):
        if form.op is before.op:  # else numbers have been folded
            assert rule.rewrite(form) is not None, form
    assert rule.rewrite(before) is after


def test_operands_stay_in_place_where_that_is_asked_for() -> None:
    rule = Pattern("reciprocal first", CHEAPER, "1/y*x", "x/y")
    assert rule.rewrite(1 / y * x, commute=False) is x / y
    assert rule.rewrite(x * (1 / y), commute=False) is None
    assert rule.rewrite(x * (1 / y)) is x / y


def test_names_stand_for_one_expression_each() -> None:
    rule = Pattern("common factor", CHEAPER, "x*y + x*z", "x*(y + z)")
    assert rule.rewrite(x * y + x * z) is x * (y + z)
    assert rule.rewrite(y * x + z * x) is x * (y + z)
    assert rule.rewrite(x * x + y * z) is None
    assert rule.rewrite(sg.sin(z) * y + sg.sin(z) * x) is sg.sin(z) * (y + x)


def test_orders_are_tried_until_the_condition_holds() -> None:
    rule = Pattern("known second", FORM, "x + y", "y", lambda found: found["y"].op.name == "sin")
    assert rule.rewrite(x + sg.sin(z)) is sg.sin(z)
    assert rule.rewrite(sg.sin(z) + x) is sg.sin(z)
    assert rule.rewrite(x + z) is None


def test_numbers_in_patterns() -> None:
    whole = Pattern("whole", FORM, "x**n", "x")
    number = Pattern("number", FORM, "x**c", "x")
    three = Pattern("three", FORM, "x**3", "x")
    for exponent, seen in ((3, (1, 1, 1)), (3.0, (1, 1, 1)), (2.5, (0, 1, 0)), (y, (0, 0, 0)), (float("inf"), (0, 1, 0))):
        assert tuple(rule.rewrite(x**exponent) is not None for rule in (whole, number, three)) == tuple(map(bool, seen)), exponent
    choice = Pattern("true", FORM, "where(True, x, y)", "x")
    assert choice.rewrite(apply(sg.where(x > 0, y, z).op, sg.constant(True), y, z)) is y
    assert choice.rewrite(apply(sg.where(x > 0, y, z).op, sg.constant(False), y, z)) is None


def test_names_and_guards_are_seen_through() -> None:
    rule = Pattern("log exp", CHEAPER, "log(exp(x))", "x")
    assert rule.rewrite(sg.log(sg.exp(x).named("e"))) is x
    same = Pattern("difference", CHEAPER, "x - x", "0")
    assert same.rewrite(x.named("a") - x) is sg.constant(0)


# --- the book of rules -------------------------------------------------------------------------------------


def formulas() -> list[Expr]:
    return [x / (x * y), sg.sin(-x) * y, (x + y) - y, sg.log(1 + sg.exp(x * y)), 1 / (x / z) * z, 0 * y - (-x), sg.exp(x) ** 4 * (x / 3)]


def test_looks_may_be_forgotten_at_any_time(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = apply_local(formulas(), stability=True)
    monkeypatch.setattr(engine, "_KEPT_LOOKS", 2)
    book = RuleBook(rule for rule in (*STABILITY, *LOCAL) if rule.late is None)
    fresh = Rewriter(book)
    known = Rewriter(RuleBook(rule for rule in (*STABILITY, *LOCAL) if rule.late is None))
    assert fresh.run(formulas()) == known.run(formulas())
    assert len(book._found) <= 2
    assert apply_local(formulas(), stability=True) == expected


def test_a_book_keeps_no_formula() -> None:
    symbol = sg.symbol("seen_by_a_book_once")
    apply_local([sg.sin(symbol) * symbol / symbol + sg.exp(symbol).named("part") * 2.25], stability=True)
    last = weakref.ref(symbol)
    del symbol
    gc.collect()
    sweep()
    assert last() is None


def test_threads_may_share_a_book() -> None:
    book = RuleBook(rule for rule in (*STABILITY, *LOCAL) if rule.late is None)
    expected = Rewriter(RuleBook(rule for rule in (*STABILITY, *LOCAL) if rule.late is None)).run(formulas())
    start, results = threading.Barrier(8), list[list[Expr]]()

    def work() -> None:
        start.wait()
        results.append(Rewriter(book).run(formulas()))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [expected] * 8


def test_a_look_that_differs_in_shape_or_sameness_is_another_look() -> None:
    tensors = Rule("tensors only", FORM, ("add",), lambda e: e.args[0], "s + s", tensors=True)
    same = Pattern("both the same", FORM, "x*x", "x")
    v = sg.symbol("v", 3)
    rewriter = Rewriter(RuleBook([tensors, same]))
    assert rewriter.run([x + y, v + v, x * y, x * x, x * x.named("again")]) == [x + y, v, x * y, x, x]


# --- the engine --------------------------------------------------------------------------------------------


def test_an_order_that_is_known_changes_nothing() -> None:
    rules = [rule for rule in (*STABILITY, *LOCAL) if rule.late is None]
    first, second = Rewriter(RuleBook(rules), []), Rewriter(RuleBook(rules), [])
    assert first.run(formulas()) == second.run(formulas(), topological(*formulas()))
    assert first.record == second.record


def test_one_node_at_a_time_is_all_at_once() -> None:
    rules = [rule for rule in (*STABILITY, *LOCAL) if rule.late is None]
    one, all_ = Rewriter(RuleBook(rules)), Rewriter(RuleBook(rules))
    assert [one.normal(f) for f in formulas()] == all_.run(formulas())


def test_rules_that_undo_each_other_end() -> None:
    there = Pattern("there", FORM, "sin(x)", "cos(x)")
    back = Pattern("back", FORM, "cos(x)", "sin(x)")
    (result,) = Rewriter(RuleBook([there, back])).run([sg.exp(sg.sin(x)) + 1])
    assert result in (sg.exp(sg.sin(x)) + 1, sg.exp(sg.cos(x)) + 1)


# --- the order of nodes ------------------------------------------------------------------------------------


def test_nodes_come_as_they_are_read() -> None:
    a, b = sg.sin(x), x * y
    assert topological(a + b, b / z) == [x, a, y, b, a + b, z, b / z]
    choice = sg.where(x > y, b, a)
    assert topological(choice) == [x, y, x > y, b, a, choice]


def test_what_is_done_hides_what_stands_below() -> None:
    a = sg.sin(x * y)
    assert unvisited([a + z], {a}) == [z, a + z]
    assert unvisited([a], {a}) == []
    assert unvisited([a, a], {x}) == [y, x * y, a]


def test_below_what_is_replaced_nothing_is_looked_at() -> None:
    inner = sg.sin(x * y)
    assert sg.substitute(inner + x, {inner: z, x: y}) is z + y
    assert sg.substitute(inner, {inner: x, x: z}) is x  # all at once
    a, b = sg.symbols("a b", (2,))
    assert sg.substitute(sg.sum(sg.exp(a)), {sg.exp(a): b}) is sg.sum(b)
