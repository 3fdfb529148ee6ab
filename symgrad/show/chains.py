"""CHAINS: products of matrices as people write them: ``2*A.T @ B @ x``. For print alone: where the brackets are decides what it costs."""

from __future__ import annotations

from collections.abc import Collection

from symgrad.expr import Expr
from symgrad.ops.movement import do
from symgrad.show.factors import OPEN
from symgrad.show.layout import contraction

__all__ = ["chained", "scaled"]

_LONGEST = 16  # factors


def chained(e: Expr, kept: Collection[Expr] = ()) -> Expr:
    """``A @ (B @ C)`` of matrices as ``A @ B @ C``; products in ``kept`` stay whole.

    >>> import symgrad as sg
    >>> A, B = sg.symbols("A B", (2, 2))
    >>> chained(A @ (B @ A))
    A @ B @ A
    """
    chain: list[Expr] = []
    stack = [e]
    while stack:
        part = stack.pop()
        if _is_product(part) and part.ndim == 2 and (part is e or part not in kept):
            stack += [_turned(x) if turned else x for x, turned in reversed(contraction(part).operands)]
        else:
            chain.append(part)
    if len(chain) < 3:
        return e
    first, *others = chain
    for factor in others:
        first = do("contract", first, factor, spec="ij,jk->ik")
    return first


def scaled(product: Expr) -> Expr:
    """``2*A.T @ b`` for a number times a product of matrices: no brackets needed."""
    if product.op.name != "mul" or product.args[0].shape or not _is_product(product.args[1]):
        return product
    spine: list[tuple[Expr, Expr]] = []
    first = product.args[1]
    while _is_product(first) and len(spine) < _LONGEST:
        (a, turned), (b, b_turned) = contraction(first).operands
        spine.append((first, _turned(b) if b_turned else b))
        first = _turned(a) if turned else a
    if first.op.name in OPEN:
        return product
    first = do("mul", product.args[0], first)
    for node, b in reversed(spine):
        first = do("contract", first, b, spec="ij,j->i" if node.ndim == 1 else "ij,jk->ik")
    return first


def _is_product(e: Expr) -> bool:
    """``A @ b`` or ``A @ B`` with a matrix in front."""
    if e.op.name != "contract" or contraction(e).style != "matmul":
        return False
    (a, _), (b, _) = contraction(e).operands
    return a.ndim == 2 and b.ndim <= 2


def _turned(e: Expr) -> Expr:
    return do("transpose", e, axes=(-1, -2))
