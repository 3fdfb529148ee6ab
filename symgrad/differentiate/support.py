"""SUPPORT: which elements of a node are 0, whatever the arguments, because elements of its operands are.

A rule gives flat booleans, False where the element is 0, or nothing where all may be other numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from symgrad.expr import Array, Expr

if TYPE_CHECKING:
    from symgrad.differentiate.sparsity import Sweep

__all__ = ["SUPPORT"]


def _of_function(sweep: Sweep, node: Expr) -> Array | None:
    known = sweep.support.get(node.args[0])
    return None if known is None else sweep.stretched(known, node.args[0], node)


def _of_product(sweep: Sweep, node: Expr) -> Array | None:
    known = [sweep.stretched(sweep.support[a], a, node) for a in node.args if a in sweep.support]
    return np.logical_and.reduce(known) if known else None


def _of_sum(sweep: Sweep, node: Expr) -> Array | None:
    branches = node.args[-2:]  # those of `where`, too
    if not all(a in sweep.support for a in branches):
        return None
    return np.logical_or(*[sweep.stretched(sweep.support[a], a, node) for a in branches])


def _of_movement(sweep: Sweep, node: Expr) -> Array | None:
    operands = node.args if node.op.name == "concatenate" else node.args[:1]
    if node.op.name == "gather" and not all(i in sweep.values for i in node.args[1:]):
        return None
    if node.op.name not in ("pad", "embed_diagonal") and not any(a in sweep.support for a in operands):
        return None
    parts = [sweep.support[a] if a in sweep.support else np.ones(sweep.size(a), np.bool_) for a in operands]
    return np.concatenate([[False], *parts])[sweep.sources(node)]


def _of_scatter(sweep: Sweep, node: Expr) -> Array | None:
    if not all(i in sweep.values for i in node.args[1:]):
        return None
    found = np.zeros(sweep.size(node), np.bool_)
    targets, known = sweep.targets(node), sweep.support.get(node.args[0])
    found[targets if known is None else targets[known]] = True
    return found


def _of_reduction(sweep: Sweep, node: Expr) -> Array | None:
    known = sweep.support.get(node.args[0])
    return None if known is None else np.bincount(sweep.groups(node)[known], minlength=sweep.size(node)) > 0


_ZERO_AT_ZERO = (
    "div", "ratio", "neg", "named", "to_real", "square", "abs", "sign", "sqrt", "sin", "tan", "asin", "atan", "sinh", "tanh", "asinh",
    "atanh", "expm1", "log1p", "erf", "relu", "leaky_relu", "elu", "silu", "gelu",
)  # fmt: skip
_MOVING = ("reshape", "transpose", "broadcast_to", "slice", "pad", "concatenate", "diagonal", "embed_diagonal", "gather")
SUPPORT: dict[str, Callable[[Sweep, Expr], Array | None]] = {
    "mul": _of_product, "scatter_add": _of_scatter,
    **dict.fromkeys(_ZERO_AT_ZERO, _of_function), **dict.fromkeys(("add", "sub", "where"), _of_sum),
    **dict.fromkeys(_MOVING, _of_movement), **dict.fromkeys(("sum", "mean"), _of_reduction),
}  # fmt: skip
