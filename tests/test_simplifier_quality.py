"""What the simplifier is worth: operations against the bare chain rule and against SymPy, and accuracy against mpmath, extremes included.

SymPy's results are kept in ``data/sympy_simplified.jsonl``; ``symgrad bench simplify`` asks it again, and has the times.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import symgrad as sg
from symgrad.bench.formulas import GROUPS, Derivative, derivatives
from symgrad.bench.simplify import simplified
from symgrad.expr import Expr, topological
from symgrad.simplify import agreement
from symgrad.simplify.agreement import Samples, disagreement
from symgrad.simplify.cost import cost, count
from symgrad.simplify.precise import evaluate_precisely
from symgrad.sympy_bridge import Reader

SYMPY = Path(__file__).parent / "data/sympy_simplified.jsonl"
FEW = 7  # every so many derivatives in the tests for every day


@cache
def all_derivatives() -> list[Derivative]:
    return [d for group in GROUPS for d in derivatives(group)]


@cache
def ours(d: Derivative) -> tuple[Expr, Expr]:
    return simplified(d)


def raw(d: Derivative) -> Expr:
    return sg.grad(d.formula, d.wrt, simplify=False)


def operations(*roots: Expr) -> int:
    return count(roots).operations


def by_sympy() -> dict[str, list[Expr]]:
    """SymPy's forms as expressions: as they stand, and with the common subexpressions that it finds itself."""
    sympy = pytest.importorskip("sympy")
    known = {str(d): d for d in all_derivatives()}
    found: dict[str, list[Expr]] = {}
    for line in SYMPY.read_text(encoding="utf-8").splitlines()[1:]:
        record = json.loads(line)
        if record["sympy"] is None or "zoo" in record["sympy"]:
            continue
        symbols = {sympy.Symbol(s.name, real=True): s for s in known[record["derivative"]].formula.free_symbols}
        form = sympy.sympify(record["sympy"], locals={s.name: s for s in symbols})
        reader = Reader(dict(symbols))
        definitions, (shared,) = sympy.cse([form], symbols=sympy.numbered_symbols("common"))
        for name, part in definitions:
            reader.done[name] = reader.read(part)
        found[record["derivative"]] = [Reader(dict(symbols)).read(form), reader.read(shared)]
    return found


def test_the_records_are_of_these_formulas() -> None:
    records = [json.loads(line) for line in SYMPY.read_text(encoding="utf-8").splitlines()[1:]]
    assert [r["derivative"] for r in records] == [str(d) for d in all_derivatives()]
    assert len(records) >= 590


def few() -> list[Derivative]:
    return all_derivatives()[::FEW]


def _never_more(wanted: list[Derivative]) -> list[str]:
    return [str(d) for d in wanted if operations(*ours(d)) > operations(d.formula, raw(d))]


def test_never_more_operations_than_the_chain_rule() -> None:
    assert len(_never_more(few())) == 0


@pytest.mark.slow
def test_never_more_operations_than_the_chain_rule_all() -> None:
    assert len(_never_more(all_derivatives())) <= 1  # III.21.20: the sign both share is put in front of each: two islands then


@pytest.mark.slow
def test_at_most_as_many_operations_as_sympy() -> None:
    """Of the formula and its derivative together, what they share once."""
    theirs = by_sympy()
    more, dearer = [], []
    for d in all_derivatives():
        if str(d) not in theirs:
            continue
        forms = theirs[str(d)]
        more += [str(d)] if operations(*ours(d)) > min(operations(d.formula, form) for form in forms) else []
        dearer += [str(d)] if cost(ours(d)) > min(cost([d.formula, form]) for form in forms) else []
    print(f"\nmore operations than SymPy: {len(more)}, dearer: {len(dearer)} of {len(theirs)}")
    assert len(theirs) > 580
    assert len(more) <= 0.03 * len(theirs)
    assert len(dearer) <= 0.085 * len(theirs)


@pytest.mark.slow
def test_the_derivative_alone_against_sympy() -> None:
    """Counted for itself: most of SymPy's shorter forms overflow, or cancel, where the chain rule does not, and are refused for it."""
    theirs = by_sympy()
    more, dearer, more_than_raw = [], [], []
    for d in all_derivatives():
        if str(d) in theirs:
            form = sg.simplify(sg.grad(d.formula, d.wrt))
            more += [str(d)] if operations(form) > min(map(operations, theirs[str(d)])) else []
            dearer += [str(d)] if cost([form]) > min(cost([f]) for f in theirs[str(d)]) else []
            more_than_raw += [str(d)] if operations(form) > operations(raw(d)) else []
    print(f"\nalone, more operations than SymPy: {len(more)}, dearer: {len(dearer)} of {len(theirs)}; than the chain rule: {more_than_raw}")
    assert len(more_than_raw) <= 1
    assert len(more) <= 0.26 * len(theirs)
    assert len(dearer) <= 0.40 * len(theirs)


EXTREMES = (1e-300, -1e-300, 1e300, -1e300, 1e150, -1e-150, 0.0, 1.0, -1.0, 1e-9, 1e9)


def points(names: int, seed: int = 0) -> np.ndarray:
    """Moderate ones, ones where the symbols nearly agree, each symbol at each extreme, all at the same."""
    rng = np.random.default_rng(seed)
    moderate = np.exp(rng.uniform(-2, 2, (24, names))) * rng.choice((-1.0, 1.0), (24, names), p=(0.3, 0.7))
    near = np.repeat(np.exp(rng.uniform(-1, 1, (12, 1))), names, axis=1) * (1 + rng.choice((0, 1e-9, -1e-7, 1e-4), (12, names)))
    rows = [moderate, near, np.repeat(np.array(EXTREMES)[:, None], names, axis=1)]
    for k in range(names):
        row = moderate[: len(EXTREMES)].copy()
        row[:, k] = EXTREMES
        rows.append(row)
    return np.concatenate(rows)


def all_values(e: Expr, symbols: list[Expr], at: np.ndarray) -> dict[Expr, np.ndarray]:
    values: dict[Expr, Any] = {s: at[:, k] for k, s in enumerate(symbols)}
    with np.errstate(all="ignore"):
        for node in topological(e):
            if node not in values:
                constant = node.op.name == "constant"
                assert constant or node.op.evaluate is not None
                value = node.params["value"] if constant else node.op.evaluate(*[values[a] for a in node.args], **node.params)  # type: ignore[misc]
                values[node] = np.asarray(value, float if node.kind == "real" else None)
    return values


def evaluated(e: Expr, symbols: list[Expr], at: np.ndarray) -> np.ndarray:
    return np.broadcast_to(all_values(e, symbols, at)[e], (len(at),)).astype(float)


def bits_lost(value: float, exact: Any) -> float:
    wanted = float(exact)
    if value == wanted:
        return 0.0
    if not np.isfinite(value) or not np.isfinite(wanted):
        return 64.0
    return float(min(64.0, np.log2(1 + float(abs(exact - value)) / float(np.spacing(abs(wanted))))))


@pytest.mark.slow
def test_bits_lost_before_and_after() -> None:
    """At moderate points and extreme ones, by mpmath at 60 digits; at 1500 where the forms differ: more may cancel there than 60 hold."""
    before, after, roots = [], [], []
    for d in all_derivatives():
        symbols = list(d.formula.free_symbols)
        at = points(len(symbols))
        bare, simple = raw(d), ours(d)[1]
        for row, old, new in zip(at, evaluated(bare, symbols, at), evaluated(simple, symbols, at), strict=True):
            exact = evaluate_precisely(bare, dict(zip(symbols, row.tolist(), strict=True)), 60 if old == new else 1500)
            if exact is not None:
                before.append(bits_lost(old, exact))
                after.append(bits_lost(new, exact))
                roots.append(exact == 0)
    old_bits, new_bits = np.array(before), np.array(after)
    worse = new_bits > np.log2(2.0 ** np.minimum(old_bits, 60) + 4)
    better = old_bits > np.log2(2.0 ** np.minimum(new_bits, 60) + 4)
    accurate = old_bits <= 3
    lost_entirely = (new_bits[accurate] == 64) & ~np.array(roots)[accurate]  # at a root all digits are, unless rounding errors cancel
    print(f"\n{len(before)} points; bits lost, median, mean, 99 %: before {np.median(old_bits):.2f} {old_bits.mean():.2f} "
          f"{np.percentile(old_bits, 99):.1f}, after {np.median(new_bits):.2f} {new_bits.mean():.2f} {np.percentile(new_bits, 99):.1f}; "
          f"by more than 4 ulp: worse at {worse.mean():.2%}, better at {better.mean():.2%}; "
          f"worse where the chain rule is accurate to 3 bits: {worse[accurate].mean():.2%}, of them lost entirely: "
          f"{lost_entirely.mean():.2%}")  # fmt: skip
    assert np.median(new_bits) <= np.median(old_bits) + 0.1
    assert new_bits.mean() <= old_bits.mean()
    assert worse.mean() < better.mean() / 2
    assert worse[accurate].mean() < 0.001  # beside cancellations, where that the chain rule is accurate is luck, see below
    assert not lost_entirely.any()


def test_luck_near_a_cancellation_is_no_accuracy() -> None:
    """Where terms cancel either form may be the closer one: neither is refused for it, but a worse one is."""
    x, y = sg.symbols("x y")
    assert not disagreement(x * y + x * (x * y - 1), x * (y + (x * y - 1)), [x, y], ["unit", "unit"])
    assert "less accurate" in disagreement(sg.expm1(x), sg.exp(x) - 1, [x], ["real"])


# --- what is lost where the chain rule is accurate ----------------------------------------------------------

MARGIN = 2.0**20  # the numbers that may change places with other factors
NEIGHBOURS, APART = 8, (1e-15, 1e-9)  # relatively; a value that is accurate at a point and not beside it is so by luck
Lost = dict[str, tuple[float, float]]  # bits before and after, where it is worst


def mixed(names: int) -> np.ndarray:
    """The symbols at magnitudes, each at another: extremes, and ordinary ones."""
    extremes = (1e300, 1e200, 1e150, 1e100, 1e9, 1e8, 1e3, 1.0, 1e-3, 1e-8, 1e-9, 1e-100, 1e-150, 1e-200, 1e-300)
    rng = np.random.default_rng(3)
    rows = np.concatenate([rng.choice(extremes, (96, names)), 10.0 ** rng.uniform(-8, 8, (48, names))])
    return rows * rng.choice((-1.0, 1.0), rows.shape)


def is_tame(e: Expr, symbols: list[Expr], at: np.ndarray) -> np.ndarray:
    """Where no value on the way overflows or underflows, or nearly."""
    tame = np.ones(len(at), bool)
    for node, value in all_values(e, symbols, at).items():
        if node.kind == "real":
            size = np.abs(value)
            zero = (size == 0) & (node.op.name not in ("mul", "div", "pow", "square"))
            tame &= zero | ((size > np.finfo(float).tiny * MARGIN) & (size < np.finfo(float).max / MARGIN))
    return tame


def worst_bits(e: Expr, truth: Expr, symbols: list[Expr], at: np.ndarray) -> float:
    """How many bits a form loses at most at some points."""
    exact = [evaluate_precisely(truth, dict(zip(symbols, row.tolist(), strict=True)), 1500) for row in at]
    return max((bits_lost(v, x) for v, x in zip(evaluated(e, symbols, at), exact, strict=True) if x is not None), default=64.0)


def lost(bare: Expr, simple: Expr, symbols: list[Expr]) -> list[tuple[float, float]]:
    """Bits lost before and after, at points where the bare form is accurate to 3 bits, not by luck, and the other is off by 4 ulp more."""
    at = np.concatenate([points(len(symbols)), mixed(len(symbols))])
    old, new = evaluated(bare, symbols, at), evaluated(simple, symbols, at)
    with np.errstate(all="ignore"):
        differs = is_tame(bare, symbols, at) & (new != old) & ~(np.abs(new - old) <= 4 * np.spacing(np.abs(old)))
    found = []
    rng = np.random.default_rng(4)
    for row in at[differs]:
        before, after = (worst_bits(e, bare, symbols, row[None]) for e in (bare, simple))
        if before <= 3 and after > np.log2(2.0**before + 4):
            steps = rng.uniform(-1, 1, (NEIGHBOURS, len(row))) * np.repeat(APART, NEIGHBOURS // 2)[:, None]
            around = worst_bits(bare, bare, symbols, row * (1 + steps))
            if around <= 3 and after > np.log2(2.0**around + 4):
                found.append((before, after))
    return found


def lost_by_local_rules(wanted: list[Derivative]) -> Lost:
    found = {str(d): lost(raw(d), sg.grad(d.formula, d.wrt), list(d.formula.free_symbols)) for d in wanted}
    return _worst("local rules", found)


def lost_by_islands(wanted: list[Derivative]) -> Lost:
    """By formulas and by their derivatives, which are simplified together."""
    found = {}
    for d in wanted:
        for what, bare, simple in zip(("value", "slope"), (d.formula, raw(d)), ours(d), strict=True):
            found[f"{what} of {d}"] = lost(bare, simple, list(d.formula.free_symbols))
    return _worst("islands", found)


def _worst(by: str, found: dict[str, list[tuple[float, float]]]) -> Lost:
    worst = {name: max(pairs, key=lambda p: p[1]) for name, pairs in found.items() if pairs}
    print(f"\nbits lost before and after by {by}:", worst)
    return worst


def no_longer_finite(wanted: list[Derivative]) -> list[str]:
    """Derivatives that are infinite or NaN at a point where the bare chain rule is rightly finite, whatever it passed through."""
    found = []
    for d in wanted:
        symbols = list(d.formula.free_symbols)
        at = np.concatenate([points(len(symbols)), mixed(len(symbols))])
        bare = raw(d)
        for row in at[np.isfinite(evaluated(bare, symbols, at)) & ~np.isfinite(evaluated(ours(d)[1], symbols, at))]:
            exact = evaluate_precisely(bare, dict(zip(symbols, row.tolist(), strict=True)), 1500)
            found += [str(d)] if exact is not None and np.isfinite(float(exact)) else []
    return found


def test_local_rules_lose_nothing_where_the_chain_rule_is_accurate() -> None:
    """Nothing cancels, overflows or underflows that did not in the bare chain rule."""
    assert not lost_by_local_rules(few())


def test_islands_lose_nothing_where_the_chain_rule_is_accurate() -> None:
    """At mixed extremes neither: factors change places only where no intermediate result overflows for it."""
    assert not lost_by_islands(few())


def test_what_was_finite_stays_finite() -> None:
    assert not no_longer_finite(few())


@pytest.mark.slow
def test_local_rules_lose_nothing_where_the_chain_rule_is_accurate_all() -> None:
    """A few more roundings may add up in long formulas."""
    found = lost_by_local_rules(all_derivatives())
    assert len(found) <= 3
    assert max((after for _, after in found.values()), default=0) < 5


@pytest.mark.slow
def test_islands_lose_nothing_where_the_chain_rule_is_accurate_all() -> None:
    """But for a few roundings beside a cancellation."""
    found = lost_by_islands(all_derivatives())
    assert len(found) <= 3
    assert max((after for _, after in found.values()), default=0) < 5


@pytest.mark.slow
def test_what_was_finite_stays_finite_all() -> None:
    assert not no_longer_finite(all_derivatives())


# --- agreement on what forms may stand for others -----------------------------------------------------------

a, b, c, t = sg.symbols("a b c t")
LOSE_AT_MIXED_EXTREMES = [  # what each side computes on the way overflows or underflows where the other side does not
    (a * b * c, a * (b * c)),
    (a / b / c, a / (b * c)),
    (a * b / c, a * (b / c)),
    (1 / a / b, 1 / (a * b)),
    (a * t / (b + t) / (c + t), a * t / ((b + t) * (c + t))),
    (sg.sqrt(a * b), sg.sqrt(sg.abs(a)) * sg.sqrt(sg.abs(b))),
    (a * sg.exp(-b), a / sg.exp(b)),
    (sg.exp(-(a**2)) - 2 * a * (a * sg.exp(-(a**2))), (1 - 2 * a**2) * sg.exp(-(a**2))),
]


@pytest.mark.parametrize(("before", "after"), LOSE_AT_MIXED_EXTREMES, ids=str)
def test_a_form_that_loses_at_mixed_extremes_is_refused(before: Expr, after: Expr) -> None:
    symbols = list(before.free_symbols)
    assert disagreement(before, after, symbols, ["real"] * len(symbols))


KEEP_AT_MIXED_EXTREMES = [
    (a * b * c, c * (b * a)),
    (1 / a * b, b / a),
    (a * b + a * c, a * (b + c)),
    (-(a / b) * c, -(a / b * c)),
    (2 * a * b + 2 * a * c, 2 * (a * (b + c))),
    (a + b - a, b),
    (sg.sqrt(a) * sg.sqrt(a) * sg.sqrt(b), sg.sqrt(b) * sg.sqrt(a) ** 2),
]


@pytest.mark.parametrize(("before", "after"), KEEP_AT_MIXED_EXTREMES, ids=str)
def test_a_form_that_keeps_mixed_extremes_agrees(before: Expr, after: Expr) -> None:
    symbols = list(before.free_symbols)
    assert disagreement(before, after, symbols, ["positive"] * len(symbols)) == ""


@pytest.mark.parametrize(("before", "after"), LOSE_AT_MIXED_EXTREMES + KEEP_AT_MIXED_EXTREMES, ids=str)
def test_a_computer_without_wider_floats_comes_to_the_same_verdict(before: Expr, after: Expr, monkeypatch: pytest.MonkeyPatch) -> None:
    symbols = list(before.free_symbols)
    wide = disagreement(before, after, symbols, ["positive"] * len(symbols))
    monkeypatch.setattr(agreement, "_wider", lambda dtype: None)
    assert bool(disagreement(before, after, symbols, ["positive"] * len(symbols))) == bool(wide)


def test_forms_of_one_island_are_judged_by_the_same_samples() -> None:
    """Nothing that was computed for one form changes what is said about another."""
    forms = [before for before, _ in KEEP_AT_MIXED_EXTREMES[:3]] + [after for _, after in LOSE_AT_MIXED_EXTREMES[:3]]
    samples = Samples([a, b, c], ["real"] * 3)
    for before in forms:
        for after in forms:
            assert samples.disagreement(before, after) == disagreement(before, after, [a, b, c], ["real"] * 3)
