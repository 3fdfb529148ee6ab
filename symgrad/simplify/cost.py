"""COST: what an expression takes to compute, by our own model; simplification accepts only what is cheaper.

Every node of the DAG counts once: its record's ``cost`` (1 an addition, about 20 a transcendental function)
times its elements. A named dimension counts as 1000 elements.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from symgrad import dims
from symgrad.dims import Dim, Shape
from symgrad.expr import Expr, topological

__all__ = ["NAMED_SIZE", "Cost", "cost", "count", "elements", "node_cost", "power_cost"]

NAMED_SIZE = 1000
_TRANSCENDENTAL = 10.0  # records of at least this cost call a math function
_MOVEMENT = 0.5  # of an addition, an element: it is memory traffic, often none
_POWI_LIMIT = 16  # larger whole powers call the library
_BYTES = {"real": 8, "integer": 8, "boolean": 1}


@dataclass(frozen=True)
class Cost:
    """``operations``: nodes that compute. ``transcendental``: calls of math functions, ``flops``: weighted operations,
    ``bytes``: what leaves and results occupy; these three times elements, a named dimension taken as 1000."""

    operations: int
    transcendental: int
    flops: float
    bytes: int


def cost(roots: Sequence[Expr]) -> float:
    """Weighted operations of all roots together, shared nodes once.

    >>> import symgrad as sg
    >>> x = sg.symbol("x")
    >>> cost([sg.exp(x) + 1, sg.exp(x) + 2]) < cost([sg.exp(x) + 1]) + cost([sg.exp(x) + 2])
    True
    """
    total = 0.0
    for node in topological(*roots):
        family = node.op.family
        if family == "elementwise" and not node.shape:  # as nearly all are, in a formula of numbers
            total += _per_element(node)
        elif family != "leaf":
            total += node_cost(node)
    return total


def count(roots: Sequence[Expr]) -> Cost:
    """The figures that ``f.cost`` shows.

    >>> import symgrad as sg
    >>> x = sg.symbol("x")
    >>> count([sg.exp(x) * x]).operations
    2
    """
    order = topological(*roots)
    computing = [n for n in order if n.op.family not in ("leaf", "movement") and n.op.cost]
    calls = [n for n in computing if _per_element(n) >= _TRANSCENDENTAL]
    kept = {*roots, *(n for n in order if n.op.name == "symbol")}
    return Cost(
        operations=len(computing),
        transcendental=sum(elements(n.shape) for n in calls),
        flops=sum(map(node_cost, order)),
        bytes=sum(elements(n.shape) * _BYTES[n.kind] for n in kept),
    )


def node_cost(node: Expr) -> float:
    """One node's share."""
    family = node.op.family
    if family == "leaf":
        return 0.0
    if family == "elementwise":
        return _per_element(node) * elements(node.shape)
    if family == "movement":
        return _MOVEMENT * elements(node.shape)
    if family == "matrix":  # the record's cost is operations for each element of the matrix and each of its rows
        rows, right = _size(node.args[0].shape[-1]), node.args[1:]
        return node.op.cost * elements(node.args[0].shape) * rows + sum(2.0 * rows * elements(b.shape) for b in right)
    if family == "contract":
        return 2.0 * _contraction(node.params["spec"], [a.shape for a in node.args])
    return max(1.0, node.op.cost) * max(elements(a.shape) for a in node.args)


def elements(shape: Shape) -> int:
    """How many numbers there are, a named dimension taken as :data:`NAMED_SIZE`."""
    return _size(dims.total(shape)) if shape else 1


def _size(dim: Dim) -> int:
    return dim if isinstance(dim, int) else dims.evaluate(dim, dict.fromkeys(dims.names(dim), NAMED_SIZE))


def _contraction(spec: str, shapes: Sequence[Shape]) -> int:
    sizes: dict[str, Dim] = {}
    for letters, shape in zip(spec.partition("->")[0].split(","), shapes):
        sizes.update(zip(letters, shape))
    return _size(dims.total(tuple(sizes.values())))


def _per_element(node: Expr) -> float:
    op = node.op
    if op.name == "pow":
        return _power(node.args[1], op.cost)
    if op.name == "div" and _is_power_of_two(node.args[1]):
        return 1.0  # the compiler multiplies
    return op.cost


def _is_power_of_two(e: Expr) -> bool:
    if e.op.name != "constant" or e.shape:
        return False
    mantissa, exponent = math.frexp(e.params["value"])
    return abs(mantissa) == 0.5 and abs(exponent) < 1000  # both it and its reciprocal are exact


def _power(exponent: Expr, general: float) -> float:
    """A constant whole power is multiplications, by repeated squaring; a negative one a division more."""
    p: Any = exponent.params["value"] if exponent.op.name == "constant" and not exponent.shape else None
    if p is None or p != p:
        return general
    if abs(p) == 0.5:
        return 6.0 if p > 0 else 10.0
    if abs(p) > _POWI_LIMIT or p != int(p):
        return general
    return power_cost(abs(int(p))) + (4.0 if p < 0 else 0.0)


def power_cost(n: int) -> float:
    """The multiplications of a whole power, by repeated squaring."""
    return float(max(0, n.bit_length() - 1 + bin(n).count("1") - 1))
