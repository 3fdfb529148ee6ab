"""INVERSES: local rules for inverses, linear systems and determinants. What a factor cancels is seen in the chain of a product."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from symgrad.expr import Expr, apply, constant
from symgrad.simplify.chains import Link, chain, is_matrix_transpose, matrix_transpose, product_of, turned_links
from symgrad.simplify.factors import inner_factor, is_plain_factor
from symgrad.simplify.rewriting import ACCURATE, BOTH, CHEAPER, FORM, Rule, do, see
from symgrad.simplify.samples import square

__all__ = ["INVERSES", "is_det"]


# --- inverses ----------------------------------------------------------------------------------------------


def _inverse(e: Expr) -> Expr | None:
    (a,) = e.args
    if a.op.name == "inv":
        return a.args[0]
    if a.op.name == "eye":
        return a
    if is_matrix_transpose(a):
        return matrix_transpose(do("inv", a.args[0]))
    if a.op.name == "neg":
        return do("neg", do("inv", a.args[0]))
    parts = inner_factor(a)
    if parts is None and a.op.name == "mul" and () in (a.args[0].shape, a.args[1].shape):
        scalar, rest = a.args if not a.args[0].shape else a.args[::-1]
        parts = scalar, rest
    return None if parts is None else do("mul", do("div", constant(1), parts[0]), do("inv", parts[1]))


class _Atom(NamedTuple):
    """A factor of a chain, or of a product that the chain has the inverse of."""

    link: Link
    inverted: int | None  # which inverse of the chain it is a factor of


def _cancel_inverses(e: Expr) -> Expr | None:
    """``A @ inv(A)`` is the identity, ``X @ inv(A @ X)`` is ``inv(A)``, of square matrices."""
    links = chain(e)
    if not any(link.e.op.name == "inv" for link in links):
        return None
    left: list[_Atom] = []
    count = 0
    for k, link in enumerate(links):
        for atom in _atoms(link, k):
            count += 1
            if left and left[-1].link == atom.link and (left[-1].inverted is None) != (atom.inverted is None):
                left.pop()
            else:
                left.append(atom)
    if len(left) == count:
        return None
    return product_of(_gathered(left)) if left else do("eye", rows=e.shape[0], columns=e.shape[-1])


def _atoms(link: Link, k: int) -> list[_Atom]:
    """``inv(A @ B)`` is ``inv(B)``, ``inv(A)``."""
    if link.e.op.name != "inv" or link.e.ndim != 2:
        return [_Atom(link, None)]
    factors = chain(link.e.args[0])
    if any(f.e.ndim != 2 or f.e.shape[0] != f.e.shape[1] for f in factors):
        factors = [Link(link.e.args[0], False)]
    return [_Atom(f, k) for f in reversed(turned_links(factors) if link.turned else factors)]


def _gathered(atoms: Sequence[_Atom]) -> list[Link]:
    """What is left of one inverse is the inverse of a product again."""
    links: list[Link] = []
    for k, atom in enumerate(atoms):
        if atom.inverted is None:
            links.append(atom.link)
        elif k == 0 or atoms[k - 1].inverted != atom.inverted:
            factors = [a.link for a in atoms[k:] if a.inverted == atom.inverted][::-1]
            if len(factors) == 1:
                links.append(Link(do("inv", factors[0].e), factors[0].turned))
            else:
                links.append(Link(do("inv", product_of(factors)), False))
    return links


# --- systems -----------------------------------------------------------------------------------------------


def _solve_by_identity(e: Expr) -> Expr | None:
    a, b = e.args
    if b.op.name == "eye" and b.shape[0] == b.shape[1] and a.ndim == 2:
        return do("inv", a)
    return b if a.op.name == "eye" and e.shape == b.shape else None


def _solve_scaled(e: Expr) -> Expr | None:
    """Numbers, sizes and signs come out of the right-hand side."""
    a, b = e.args
    if b.op.name == "neg":
        return do("neg", apply(e.op, a, b.args[0], **e.params))
    parts = inner_factor(b)
    return None if parts is None else do("mul", parts[0], apply(e.op, a, parts[1], **e.params))


def _sum_of_solutions(e: Expr) -> Expr | None:
    """``solve(A, b) + solve(A, c)`` is ``solve(A, b + c)``."""
    x, y = e.args
    if x.op is not y.op or x.op.name != "solve" or x.params != y.params:
        return None
    (a, b), (c, d) = x.args, y.args
    if a is not c or b.shape != d.shape:
        return None
    return apply(x.op, a, do(e.op.name, b, d), **x.params)


# --- determinants ------------------------------------------------------------------------------------------


def _of_transpose(e: Expr) -> Expr | None:
    """The determinant and the trace of a transpose are those of the matrix."""
    (a,) = e.args
    return apply(e.op, a.args[0]) if is_matrix_transpose(a) else None


def _logdet_of_inverse(e: Expr) -> Expr | None:
    (a,) = e.args
    return do("neg", do("logdet", a.args[0])) if a.op.name == "inv" else None


def _det_of_inverse(e: Expr) -> Expr | None:
    (a,) = e.args
    return do("div", constant(1), do("det", a.args[0])) if a.op.name == "inv" else None


def _det_of_identity(e: Expr) -> Expr | None:
    return constant(1.0 if e.op.name == "det" else 0.0) if e.args[0].op.name == "eye" else None


def _log_of_det(e: Expr) -> Expr | None:
    """``log(det(A))`` is ``logdet(A)``, which does not overflow."""
    x = see(e.args[0])
    x = see(x.args[0]) if x.op.name == "abs" else x
    return do("logdet", x.args[0]) if x.op.name == "det" else None


def is_det(e: Expr) -> bool:
    """A determinant, its reciprocal, or a multiple of them."""
    if e.op.name in ("mul", "div", "neg"):
        return any(map(is_det, e.args)) and all(is_det(a) or is_plain_factor(a) for a in e.args)
    return e.op.name == "det"


INVERSES: tuple[Rule, ...] = (
    Rule("inverse",                FORM,     ("inv",),      _inverse,                square(lambda A, B, v: do("inv", A.T))),
    Rule("cancel inverses",        CHEAPER,  ("contract",), _cancel_inverses,        square(lambda A, B, v: A @ do("inv", B @ A))),
    Rule("solve by identity",      CHEAPER,  ("solve",),    _solve_by_identity,
         square(lambda A, B, v: do("solve", A, do("eye", rows=3, columns=3), vector=False))),
    Rule("solve scaled",           FORM,     ("solve", "solve_triangular"), _solve_scaled,
         square(lambda A, B, v: do("solve", A, -v, vector=True))),
    Rule("sum of solutions",       CHEAPER,  ("add", "sub"), _sum_of_solutions,
         square(lambda A, B, v: do("solve", A, v, vector=True) + do("solve", A, 2*v + 1, vector=True)), late=BOTH,
         look=lambda a, b: "solve" in (a, b)),
    Rule("of transpose",           CHEAPER,  ("det", "logdet", "signdet", "trace"), _of_transpose, square(lambda A, B, v: do("det", A.T))),
    Rule("logdet of inverse",      CHEAPER,  ("logdet",),   _logdet_of_inverse,      square(lambda A, B, v: do("logdet", do("inv", A)))),
    Rule("det of inverse",         CHEAPER,  ("det",),      _det_of_inverse,         square(lambda A, B, v: do("det", do("inv", A)))),
    Rule("det of identity",        CHEAPER,  ("det", "logdet"), _det_of_identity,
         square(lambda A, B, v: do("det", do("eye", rows=3, columns=3)))),
    Rule("log of det",             ACCURATE, ("log",),      _log_of_det,
         square(lambda A, B, v: do("log", do("det", A @ A.T)))),
)  # fmt: skip
