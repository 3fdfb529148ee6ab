"""EXPLAIN WORDS: how an explanation says what it says, in a notation that is given: formulas by ``spell``, one line or several."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from symgrad import dims
from symgrad.evaluate import evaluate
from symgrad.expr import Array, Expr, topological
from symgrad.show.derivation import Derivation, Step, Term
from symgrad.show.layout import PRODUCT, Script, leads_negative, seen
from symgrad.show.point import Point
from symgrad.show.text import text_layout
from symgrad.simplify.cost import NAMED_SIZE, Cost

__all__ = ["FLAT", "Line", "Notation", "chain_lines", "cost_words", "flat_lines", "is_defined_by_steps", "title_words", "values_of"]

FLAT = "no derivative passes there"
TITLE = 40  # characters of a formula beside a name in a heading


@dataclass(frozen=True)
class Line:
    """One equality of the chain rule: ``head`` is its left side, empty where it goes on."""

    head: str
    body: str


def is_defined_by_steps(derivation: Derivation) -> bool:
    """Whether the definition in several lines would give parts other names than the steps have."""
    names = {seen(s.node): s.name for s in derivation.steps}
    script = Script([derivation.expr], text_layout, check=False)
    return any(names.get(part) != script.names[part] for part in script.definitions if part.op.name != "named")


def values_of(derivation: Derivation, point: Point | None) -> dict[Expr, Any]:
    """Input or stand-in → value, for evaluating local derivatives at the point."""
    return {} if point is None else {**point.inputs, **{s.symbol: s.value for s in derivation.steps if s.value is not None}}


@dataclass(frozen=True)
class Notation:
    """``spell`` writes an expression, ``partial`` a derivative of one name by another, ``value`` a number; ``times`` is a product's sign,
    ``each`` that of a product element by element; ``brackets`` puts a formula between them."""

    spell: Callable[[Expr], str]
    partial: Callable[[str, str], str]
    value: Callable[[Array | None], str]
    times: str
    each: str
    brackets: Callable[[str], str] = "({})".format


def chain_lines(step: Step, derivation: Derivation, notation: Notation, values: Mapping[Expr, Any]) -> list[Line]:
    """What a step's adjoint is: the chain rule, the same with the derivatives put in, and with numbers at a point.

    Nothing for the expression itself; 0 where nothing arrives.
    """
    assert step.adjoint is not None
    top = derivation.steps[-1]
    if not step.terms:
        return [] if step is top else [Line(notation.spell(step.adjoint), "0")]
    rule = " + ".join(_rule(t, step, t.user is top, notation) for t in step.terms)
    inserted = " + ".join(_product(t, t.user is top, notation, len(step.terms) > 1) for t in step.terms)
    lines = [Line(notation.spell(step.adjoint), rule), Line("", inserted)]
    result = notation.value(step.gradient)
    if result:
        parts = [_in_numbers(t, t.user is top, notation, values, len(step.terms) > 1) for t in step.terms]
        numbers = " + ".join(parts) if all(parts) else ""
        lines += [Line("", numbers)] if numbers not in ("", result, lines[-1].body) else []
        lines += [Line("", result)] if result != lines[-1].body else []
    return lines


def _rule(term: Term, step: Step, first: bool, notation: Notation) -> str:
    own = notation.partial(term.user.name, step.name)
    return own if first or term.user.adjoint is None else f"{notation.spell(term.user.adjoint)}{notation.times}{own}"


def _product(term: Term, first: bool, notation: Notation, several: bool) -> str:
    if first or term.local is None or term.user.adjoint is None:
        written = notation.spell(term.product)
        return notation.brackets(written) if several and leads_negative(term.product) else written
    local = notation.spell(term.local)
    sign = notation.each if term.local.shape else notation.times
    return f"{notation.spell(term.user.adjoint)}{sign}{notation.brackets(local) if _is_loose(term.local) else local}"


def _is_loose(e: Expr) -> bool:
    """Whether it needs parentheses as a factor."""
    return text_layout(e)[0] < PRODUCT or leads_negative(e)


def _in_numbers(term: Term, first: bool, notation: Notation, values: Mapping[Expr, Any], several: bool) -> str:
    if term.local is None or term.local.shape or term.user.gradient is None:
        return ""
    factor = evaluate([term.local], values)[0]
    local = notation.value(factor)
    local = notation.brackets(local) if np.signbit(factor) and (several or not first) else local
    return local if first else f"{notation.value(term.user.gradient)}{notation.times}{local}"


def flat_lines(derivation: Derivation, notation: Notation) -> list[str]:
    """Where the chain ends: partial derivatives that are 0 everywhere."""
    return [f"{notation.partial(user.name, x.name)} = 0" for user in reversed(derivation.steps) for x in user.flat]


def title_words(step: Step, spell: Callable[[Expr], str]) -> str:
    """What is differentiated by: a name; of a node without one of the user's also what it is."""
    own = step.is_input or step.node.op.name == "named" or not step.terms
    written = "" if own else spell(step.formula)
    return f" = {written}" if 0 < len(written) <= TITLE else ""


def cost_words(cost: Cost, expr: Expr) -> str:
    """``7 operations``; with tensors also the arithmetic of all their elements."""
    written = f"{cost.operations:,} operation{'s' * (cost.operations != 1)}"
    shaped = [n for n in topological(expr) if n.shape]
    if not shaped:
        return written
    named = dict.fromkeys(name for n in shaped for d in n.shape for name in dims.names(d))
    return f"{written}, {cost.flops:,.0f} flops" + (f" at {', '.join(f'{name} = {NAMED_SIZE}' for name in named)}" if named else "")
