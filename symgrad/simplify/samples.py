"""SAMPLES: expressions that the rules in code are tried on."""

from __future__ import annotations

from collections.abc import Callable

from symgrad.expr import Expr, symbol
from symgrad.ops.movement import reshape_to
from symgrad.simplify.rewriting import do

__all__ = ["one_hot", "over_n", "sample", "square"]


def sample(make: Callable[[Expr, Expr, Expr], Expr]) -> Callable[[], Expr]:
    """A sample made of a matrix, a vector and a scalar when it is asked for."""
    return lambda: make(symbol("A", (2, 3)), symbol("v", 3), symbol("s"))


def square(make: Callable[[Expr, Expr, Expr], Expr]) -> Callable[[], Expr]:
    """A sample made of two square matrices and a vector."""
    return lambda: make(symbol("A", (3, 3)), symbol("B", (3, 3)), symbol("v", 3))


def one_hot() -> Expr:
    """Where the class is the label."""
    return do("equal", reshape_to(symbol("k", "n", integer=True), ("n", 1)), do("arange", size=3))


def over_n() -> Expr:
    """A vector divided by its length."""
    return do("mul", do("div", 1, do("size", dim="n")), symbol("x", "n"))
