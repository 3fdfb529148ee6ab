"""BOXES: what stands in the boxes of a graph: a formula with operands by their names, the operation's sign, numbers at a point.

A formula that is short stands in full in the formulas of those that read it. A longer one gets a name there, and its box says
``h1 = …``: names that the printed formulas have, those of a network's layers (``H1``), and letters for the rest. What is in no box of its
own is written out, and elided where that takes too much room.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from symgrad import dims
from symgrad.expr import Array, Expr
from symgrad.show.labels import labels
from symgrad.show.layout import contraction, inserted_or_dropped, seen
from symgrad.show.names import call_parts, is_hidden
from symgrad.show.unicode import pretty

__all__ = ["badge", "formulas", "kind", "label", "names", "number", "tooltip"]

PART = 24  # characters of an operand that are written out in the formula of its user
WHOLE = 40  # characters of a formula in a box
LEAST = 8  # characters of what gets a name
ROUNDS = 3
TOOLTIP = 300
STAND_IN = "h1"  # what a name is like, before there is one

_BADGES = {
    "add": "+", "sub": "−", "neg": "−", "mul": "×", "div": "÷", "pow": "^", "square": "²", "sqrt": "√", "sum": "Σ", "prod": "∏",
    "transpose": "ᵀ", "less": "<", "less_equal": "≤", "greater": ">", "greater_equal": "≥", "equal": "=", "not_equal": "≠",
    "logical_and": "and", "logical_or": "or", "logical_not": "not", "slice": "[ ]", "gather": "[ ]",
}  # fmt: skip


# --- formulas ------------------------------------------------------------------------------------------


def names(
    order: Sequence[Expr], operands: Mapping[Expr, Collection[Expr]], shared: Collection[Expr], compound: Collection[Expr],
    layered: Collection[Expr], heads: Mapping[str, Expr],
) -> dict[Expr, str]:
    """What operations are called in the formulas of those that read them: those that are too long to be written out there.

    ``operands``: box → the boxes that it reads; ``shared``: what has a name in any case; ``compound``: boxes of several operations, which
    have one if they are read at all; ``layered``: what belongs to a network's layer; ``heads``: name → derivative by it.
    """
    named = {e for e in shared if e in operands}
    read = {o for found in operands.values() for o in found if o.args and o.op.name != "named"}

    def stand_in(node: Expr, written: str) -> str | None:
        always = node in compound or (node in layered and is_hidden(node))
        if node in read and len(written) > (LEAST if always else PART):
            named.add(node)
        return STAND_IN if node in named else None if node in read else _elided(node, written, WHOLE)

    for _ in range(ROUNDS):
        written = labels(order, stand_in)
        longest = [max((o for o in found if o in read and o not in named), key=lambda o: len(written[o]), default=None)
                   for node, found in operands.items() if len(written[node]) > WHOLE]
        more = {o for o in longest if o is not None and len(written[o]) > LEAST}
        if not more:
            break
        named |= more
    taken = {n.name for n in order if n.op.name == "symbol"} | {name for n in order for d in n.shape for name in dims.names(d)}
    bound = [n for n in order if n in named or n.op.name == "named"]
    found = call_parts(bound, taken, heads, {node: k for k, node in enumerate(order)})
    return {n: found[n] for n in bound if n in named}


def formulas(order: Sequence[Expr], named: Mapping[Expr, str], boxed: Collection[Expr]) -> dict[Expr, str]:
    """Each node's formula, in which others stand by their names. ``boxed``: what has a box of its own, a name or a short formula."""
    return labels(order, lambda n, written: named.get(n) or _elided(n, written, PART if n in boxed else WHOLE))


def tooltip(order: Sequence[Expr], named: Mapping[Expr, str]) -> dict[Expr, str]:
    """Each node's formula with little left out."""
    return {n: _cut(pretty(f), TOOLTIP) for n, f in labels(order, lambda n, w: named.get(n) or _elided(n, w, TOOLTIP)).items()}


def _elided(node: Expr, written: str, longest: int) -> str | None:
    if len(written) <= longest or not node.args:
        return None
    return _cut(node.name, longest) if node.op.name == "named" else "…"


def label(node: Expr, below: Expr, formulas: Mapping[Expr, str], named: Mapping[Expr, str]) -> str:
    """``h1 = sin(x)``. ``below``: the operation in the box of a node that names it."""
    formula = formulas[below]
    if node.op.name == "named":
        name = node.name
        formula = formula if below is not node else formula.partition(" = ")[2]
    else:
        name = named.get(node, "")
    if not formula.strip("… +-*/@"):  # nothing but the sign, which stands beside
        formula = ""
    written, name = _cut(pretty(formula), WHOLE), _cut(pretty(name), WHOLE)
    return f"{name} = {written}" if name and written else name or written


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


# --- signs and numbers ---------------------------------------------------------------------------------


def kind(node: Expr, forward: bool, in_layer: bool) -> str:
    """Of a box: "input", "parameter", "constant", "operation" or "gradient"."""
    if node.op.name == "symbol":
        return "parameter" if in_layer or node.params.get("tag") else "input"
    if not node.args:
        return "constant"
    return "operation" if forward else "gradient"


def badge(node: Expr) -> str:
    """The sign of an operation, or its name."""
    if not node.args:
        return ""
    if node.op.name == "contract":
        return {"matmul": "@", "outer": "⊗", "sum": "Σ ×", "einsum": "einsum"}[contraction(node).style]
    if node.op.name == "reshape" and inserted_or_dropped(seen(node.args[0]).shape, node.shape) is not None:
        return "[ ]"  # it is written as an index
    return "named" if node.op.name == "named" else _BADGES.get(node.op.name, node.op.name)


def number(value: Array) -> str:
    """A value in a box: four digits, up to six where it would look like a whole number that it is not.

    Of an array up to three numbers, of more the smallest and the largest.
    """
    if value.size <= 3:
        written = ", ".join(_digits(v) for v in value.ravel().tolist())
        return f"[{written}]" if value.ndim else written
    if value.dtype.kind == "b":
        return f"{np.count_nonzero(value)} of {value.size} true"
    missing = np.isnan(value)
    if missing.all():
        return "nan"
    low, high = np.nanmin(value), np.nanmax(value)
    written = _digits(low.item()) if low == high else f"{_digits(low.item())} … {_digits(high.item())}"
    return f"{written}, {np.count_nonzero(missing)} nan" if missing.any() else written


def _digits(value: float) -> str:
    if isinstance(value, (bool, int)):
        return str(value).replace("-", "−")
    shown = (f"{value + 0.0:.{digits}g}" for digits in (4, 5, 6))
    best = next((s for s in shown if not _looks_whole(s) or float(s) == value), f"{value + 0.0:.6g}")
    return re.sub(r"e\+?(-?)0*", r"e\1", best).replace("-", "−")


def _looks_whole(shown: str) -> bool:
    return shown.lstrip("-").isdecimal() and len(shown) < 4
