"""SIMPLIFY: local rules, stability rewrites, and SymPy on scalar islands. Expressions in, expressions out.

    rules         the local rules as tables: algebra; tensors, factors, contractions in files beside it
    stability     formulas that lose accuracy, and the functions that do not
    rewriting     what a rule is, how patterns are matched; engine: how rules are applied, until none fits
    collect       constants gathered, like terms added
    present       the user's order put back, the conventional one elsewhere
    monomials     factors and terms of small scalar parts gathered, what is computed anyway used again
    products      common factors multiplied once, signs where they cost nothing
    identities    exponentials, logarithms, quotients of polynomials (polynomials); trigonometry: sines, cosines and their kin
    in_place      small changes to one product or sum, the rest left as it is
    islands       these parts in their cheapest form: by all of these, and by SymPy for what they do not know

Never slower, never wrong: see the head of ``rules`` for what sound means here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

from symgrad.expr import Expr, as_expr, derived_from, rebuild, topological
from symgrad.simplify.collect import collect
from symgrad.simplify.engine import Rewriter, RuleBook
from symgrad.simplify.present import ORDER, present
from symgrad.simplify.rewriting import Application
from symgrad.simplify.rules import LATE, LOCAL
from symgrad.simplify.stability import STABILITY
from symgrad.simplify.terms import Survey

__all__ = ["Application", "apply_local", "apply_rules", "shared_rules", "simplify"]

_ROUNDS = 8  # local rules and collection in turn; two rounds are usual, none has been seen to need five


@cache
def _rules(stability: bool, style: bool = True) -> RuleBook:
    rules = (*STABILITY, *LOCAL) if stability else LOCAL
    return RuleBook(rule for rule in rules if rule.late is None and (style or not getattr(rule, "style", False)))


@cache
def _late() -> RuleBook:
    return RuleBook(LATE)


def apply_local(
    roots: Sequence[Expr], written: Iterable[Expr] = (), *, stability: bool = False, record: list[Application] | None = None,
    brief: bool = False, rewriter: Rewriter | None = None,
) -> list[Expr]:  # fmt: skip
    """The roots after the local rules, in the form a person would write.

    ``written``: expressions of the user, whose parts keep their order. ``record`` collects every rule applied.
    ``brief``: one round, and no form for people, stability rewrites included; for large graphs on the way to the compiler, where each
    pass over the nodes counts. ``rewriter``: one that has seen other forms, of which parts may be the same.
    """
    current, mine = list(roots), list(written)
    order = topological(*mine)
    kept: dict[Expr, Expr | None] = dict(zip(order, order, strict=True))
    known = order if mine == current else None  # the nodes below the current roots
    if rewriter is None:
        rewriter = _rewriter() if brief else Rewriter(_rules(stability), record)
    for round_ in range(_ROUNDS):
        collected = current
        current = rewriter.run(current, known)
        kept = rewriter.moved(kept)
        if current == collected and round_:
            break
        survey = Survey(current, known if current == collected else None)
        current, kept = collect(survey, kept, record, _late())
        known = None
        if brief:
            return rewriter.run(current)
        if current == survey.roots:
            break
    shown = present(survey if survey.roots == current else Survey(current), kept)
    if record is not None:
        record.extend(Application(ORDER, old, new) for old, new in zip(current, shown, strict=True) if new is not old)
    return shown


def apply_rules(roots: Sequence[Expr]) -> list[Expr]:
    """The roots after the rules alone, stability rewrites among them: what a large formula needs before it is differentiated."""
    return _rewriter().run(roots)


_shared = threading.local()


@contextmanager
def shared_rules(style: bool = True) -> Iterator[Callable[[Expr], Expr]]:
    """Inside, what the rules alone make of a node is found once: for a large formula, and what is then derived from it.

    Gives the function from a node to its normal form. ``style=False``: without rules that only write the same in another way; what
    the user wrote would be made anew for them, from the first such place on.
    """
    before = getattr(_shared, "rewriter", None)
    _shared.rewriter = before or Rewriter(_rules(True, style))
    try:
        yield _shared.rewriter.normal
    finally:
        _shared.rewriter = before


def _rewriter() -> Rewriter:
    return getattr(_shared, "rewriter", None) or Rewriter(_rules(True))


def simplify(expr: Any, *, islands: bool = True, record: list[Application] | None = None, worth: float = 0.0) -> Any:
    """A simpler expression of the same value, at least as accurate and never slower.

    ``expr``: an expression, or a sequence or dict of them. ``islands``: let SymPy work on small scalar parts.
    ``record``: a list that receives every rule applied, with what it changed. ``worth``: the part of the whole cost that
    SymPy must be able to save before it is asked (0: it always is). The rules are tables, ``symgrad.simplify.rules.RULES``: one
    line each, with a name, whether it makes formulas cheaper, more accurate or easier to read, and what it does.

    >>> import symgrad as sg
    >>> x = sg.symbol("x")
    >>> sg.simplify(sg.log(1 + sg.exp(x)) + 0*x)
    softplus(x)
    """
    if isinstance(expr, dict):
        return dict(zip(expr, simplify(list(expr.values()), islands=islands, record=record, worth=worth), strict=True))
    if isinstance(expr, (list, tuple)):
        return type(expr)(_simplify([as_expr(e) for e in expr], islands, record, worth))
    return _simplify([as_expr(expr)], islands, record, worth)[0]


def _simplify(roots: Sequence[Expr], islands: bool, record: list[Application] | None, worth: float) -> list[Expr]:
    rewriter = Rewriter(_rules(True))

    def local(forms: Sequence[Expr], record: list[Application] | None = None) -> list[Expr]:
        return apply_local(forms, forms, stability=True, record=record, rewriter=rewriter if record is None else None)

    simpler = local(roots, record)
    if islands:
        simpler = _by_names(simpler, record)
        from symgrad.simplify.islands import simplify_islands

        after = simplify_islands(simpler, tidy=local, worth=worth, record=record)
        if after != simpler:
            simpler = local(after, record)
    derived: dict[tuple[Expr, ...], list[Expr]] = {}  # a derivative, simplified, is one still
    for root, new in zip(roots, simpler, strict=True):
        derived.setdefault(root.origin, []).append(new)
    for origin, forms in derived.items():
        if origin:
            derived_from(origin, forms)
    return simpler


def _by_names(roots: list[Expr], record: list[Application] | None) -> list[Expr]:
    """The roots with named nodes wherever what they stand for is: a derivative has both, and they would not cancel."""
    order = topological(*roots)
    names = {node.args[0]: node for node in reversed(order) if node.op.name == "named" and node.args[0].args}
    if not names:
        return roots
    plain: dict[Expr, Expr] = {}
    shown: dict[Expr, Expr] = {}  # the same, by name
    for node in order:
        plain[node] = rebuild(node, [(plain if node.op.name == "named" else shown)[a] for a in node.args])
        shown[node] = rebuild(names[node], [plain[node]]) if node in names else plain[node]
    new = [shown[r] for r in roots]
    if record is not None:
        record.extend(Application(ORDER, old, now) for old, now in zip(roots, new, strict=True) if now is not old)
    return new


def finish(derivatives: Sequence[Expr], written: Iterable[Expr]) -> list[Expr]:
    """What ``sg.grad`` and its kin do with their results; the user's expressions keep their order."""
    return apply_local(derivatives, written)
