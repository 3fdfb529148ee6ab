"""TERMS: sums and products taken apart: exact numbers, terms, degrees, and who uses what."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from decimal import Context, Decimal, Inexact, InvalidOperation, Overflow
from fractions import Fraction
from typing import Any, Union

from symgrad.expr import Expr, constant, topological
from symgrad.simplify.rewriting import Application, do, fit, number

__all__ = [
    "ADDABLE", "LOOK_AT_MOST", "MODERATE", "PRODUCT", "SUM", "Number", "Pass", "Survey",
    "built_sum", "count_uses", "fitted", "is_moderate", "may_join", "plus", "terms_of", "times",
]  # fmt: skip

Number = Union[int, float]
SUM = frozenset({"add", "sub", "neg"})
PRODUCT = frozenset({"mul", "div", "neg"})
_PARTS = {name: frozenset().union(*[family for family in (SUM, PRODUCT) if name in family]) for name in SUM | PRODUCT}
_EXACT = Context(prec=800, traps=[Inexact, InvalidOperation, Overflow])
MODERATE = 2.0**20
LOOK_AT_MOST = 24  # nodes, where a question is asked of a part
ADDABLE = 1e150  # numbers above are not added up: their sum could overflow where the user's order does not


# --- numbers --------------------------------------------------------------------------------------------


def times(a: Number, b: Number) -> Number | None:
    """The product, where it is exact, in binary or as a decimal."""
    if isinstance(a, int) and isinstance(b, int):
        return a * b if abs(a * b) < 2**62 else None
    a, b = float(a), float(b)
    product = a * b
    if not math.isfinite(product) or (product and abs(product) < 1e-290) or (not product and a and b):
        return None
    if a == 0 or b == 0:
        return product
    if Decimal(repr(a)) * Decimal(repr(b)) == Decimal(repr(product)) or _EXACT.multiply(Decimal(a), Decimal(b)) == Decimal(product):
        return product
    return None


def plus(a: Number, b: Number) -> Number | None:
    """The sum, where it is exact, in binary or as a decimal."""
    if isinstance(a, int) and isinstance(b, int):
        return a + b if abs(a + b) < 2**62 else None
    a, b = float(a), float(b)
    total = a + b
    if not (abs(a) < ADDABLE and abs(b) < ADDABLE):
        return None
    exact = Decimal(repr(a)) + Decimal(repr(b)) == Decimal(repr(total)) or math.fsum((a, b, -total)) == 0
    return total if exact else None


def may_join(value: Number | Fraction) -> bool:
    """Whether a number may be made one with others, rounded once: nothing overflows or loses digits on the way."""
    size: Any = abs(value)
    return bool(2.0**-64 < size < 2.0**64)


def is_moderate(value: Number) -> bool:
    return 1 / MODERATE <= abs(value) <= MODERATE


def fitted(result: Expr, node: Expr) -> Expr:
    """The result with the node's shape and kind, the node where it cannot have them."""
    same = fit(result, node)
    return node if same is None else same


# --- one pass -------------------------------------------------------------------------------------------


def count_uses(roots: Iterable[Expr], order: Sequence[Expr]) -> dict[Expr, int]:
    """How often each of these nodes is an operand of another, or a root."""
    uses = dict.fromkeys(order, 0)
    for root in roots:
        uses[root] += 1
    for node in order:
        for a in node.args:
            uses[a] += 1
    return uses


class Survey:
    """What stands below some roots: the nodes in order, how often each is used, and the parts of larger sums and products.

    ``order``: the nodes, where they are known.
    """

    def __init__(self, roots: Sequence[Expr], order: Sequence[Expr] | None = None) -> None:
        self.roots = list(roots)
        self.order = topological(*roots) if order is None else order
        self.uses = uses = count_uses(roots, self.order)
        self.inside: set[Expr] = set()  # what may be taken apart together with the node that uses it
        for node in self.order:
            if (parts := _PARTS.get(node.op.name)) is not None:
                for a in node.args:
                    if a.op.name in parts and uses[a] == 1 and a.shape == node.shape and a.kind == node.kind:
                        self.inside.add(a)


class Pass:
    """What goes through all nodes needs: a survey of them, what was written, what became of nodes, degrees, the record."""

    def __init__(self, survey: Survey, written: Collection[Expr], record: list[Application] | None) -> None:
        self.order, self.uses, self.inside = survey.order, survey.uses, survey.inside
        self.written, self.record = written, record
        self.new: dict[Expr, Expr] = {}
        self.parts: dict[Expr, Expr] = {}  # what the nodes inside have become, and which they were
        self.degrees: dict[Expr, float] = {}

    def became(self, node: Expr, new: Expr) -> None:
        self.new[node] = new
        if node in self.inside:
            self.parts[new] = node

    def note(self, rule: str, before: Expr, after: Expr) -> Expr:
        if after is not before and self.record is not None:
            self.record.append(Application(rule, before, after))
        return after

    def degree(self, e: Expr) -> float:
        """The degree in the symbols, as of a polynomial; functions count as 0."""
        stack = [e]
        while stack:
            node = stack[-1]
            if node in self.degrees:
                stack.pop()
                continue
            missing = [a for a in node.args if a not in self.degrees] if node.op.name in _DEGREES else []
            if missing:
                stack.extend(missing)
                continue
            stack.pop()
            self.degrees[node] = max(min(self._degree(node), 1e6), -1e6)
        return self.degrees[e]

    def _degree(self, node: Expr) -> float:
        name, parts = node.op.name, [self.degrees.get(a, 0.0) for a in node.args]
        if name == "symbol":
            return 1.0
        if name in ("mul", "contract"):
            return parts[0] + parts[1]
        if name == "div":
            return parts[0] - parts[1]
        if name == "pow":
            exponent = number(node.args[1])
            return parts[0] * exponent if exponent is not None and math.isfinite(exponent) else parts[0]
        return max(parts) if name in _DEGREES and parts else 0.0


_DEGREES = frozenset(
    {"mul", "contract", "div", "pow", "add", "sub", "neg", "sum", "mean", "broadcast_to", "reshape", "transpose", "named", "slice"}
)


# --- terms ---------------------------------------------------------------------------------------------


def terms_of(root: Expr, inside: Collection[Expr], closed: Collection[Expr] = ()) -> list[tuple[int, Expr]]:
    """The terms of a sum with their signs, from left to right."""
    terms: list[tuple[int, Expr]] = []
    stack = [(1, root)]
    while stack:
        sign, e = stack.pop()
        if e.op.name not in SUM or not (e is root or (e in inside and e not in closed)) or e.shape != root.shape or e.kind != root.kind:
            terms.append((sign, e))
        elif e.op.name == "neg":
            stack.append((-sign, e.args[0]))
        else:
            stack.append((sign if e.op.name == "add" else -sign, e.args[1]))
            stack.append((sign, e.args[0]))
    return terms


def built_sum(terms: Sequence[tuple[int, Expr]]) -> Expr:
    """The sum from left to right."""
    if not terms:
        return constant(0)
    sign, total = terms[0]
    if sign < 0:
        total = do("neg", total)
    for sign, term in terms[1:]:
        total = do("add" if sign > 0 else "sub", total, term)
    return total
