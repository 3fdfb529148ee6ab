"""Linear algebra under NumPy's names: ``sg.linalg.inv``, ``det``, ``solve``, … Matrices are the last two axes."""

from __future__ import annotations

from symgrad.expr import Expr, ExprLike
from symgrad.ops.linalg import cholesky, det, inv, logdet, slogdet, solve, solve_triangular, tril, triu
from symgrad.ops.linalg import trace as trace_of_axes
from symgrad.ops.linear import outer
from symgrad.ops.reduce import norm

__all__ = ["cholesky", "det", "inv", "logdet", "norm", "outer", "slogdet", "solve", "solve_triangular", "trace", "tril", "triu"]


def trace(x: ExprLike, offset: int = 0) -> Expr:
    """The sum of a diagonal of a matrix, or of each in a stack (``sg.trace`` takes any two axes, the first two by default).

    >>> import symgrad as sg
    >>> sg.linalg.trace(sg.symbol("A", ("n", 3, 3))).shape
    ('n',)
    """
    return trace_of_axes(x, offset, -2, -1)
