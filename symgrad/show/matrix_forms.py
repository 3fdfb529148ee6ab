"""MATRIX FORMS: elementwise products that are matrices to people: ``eye(n)*v`` is ``diag(v)``, ``u[:, None]*v`` is ``outer(u, v)``."""

from __future__ import annotations

from collections.abc import Callable

from symgrad.expr import Expr
from symgrad.ops.movement import do

__all__ = ["matrix_form"]


def matrix_form(e: Expr, read: Callable[[Expr], Expr]) -> Expr | None:
    """The product as a diagonal matrix or an outer product, if it is one; ``read``: how the vectors in it are read.

    >>> import symgrad as sg
    >>> v = sg.symbol("v", 3)
    >>> matrix_form(v*sg.eye(3), lambda e: e), matrix_form(v[:, None]*v, lambda e: e), matrix_form(v*v, lambda e: e)
    (diag(v), outer(v, v), None)
    """
    if e.op.name != "mul" or e.ndim != 2:
        return None
    for a, b in (e.args, e.args[::-1]):
        u = _column(a)
        if a.op.name == "eye" and a.shape == (*b.shape, *b.shape) == e.shape:
            return do("embed_diagonal", read(b), offset=0, rows=e.shape[0], columns=e.shape[1])
        if u is not None and b.op.name == "eye" and e.shape == (*u.shape, *u.shape):
            return do("embed_diagonal", read(u), offset=0, rows=e.shape[0], columns=e.shape[1])
        if u is not None and b.ndim == 1 and e.shape == (*u.shape, *b.shape) and u.kind == b.kind == "real":
            return _outer(read(u), read(b), read)
    return None


def _outer(u: Expr, v: Expr, read: Callable[[Expr], Expr]) -> Expr:
    """``outer(x, x)/norm(x)**3``, not ``outer(x/norm(x)**2, x/norm(x))``."""
    divisors: list[Expr] = []
    vectors: list[Expr] = []
    for e in (u, v):
        while e.op.name == "div" and not e.args[1].shape and e.args[0].shape == e.shape:
            divisors.append(e.args[1])
            e = e.args[0]
        vectors.append(e)
    product = do("contract", *vectors, spec="i,j->ij")
    for divisor in divisors:
        product = do("div", product, divisor)
    return read(product) if divisors else product


def _column(e: Expr) -> Expr | None:
    """The vector that stands as a column."""
    return e.args[0] if e.op.name == "reshape" and e.args[0].ndim == 1 and e.shape == (*e.args[0].shape, 1) else None
