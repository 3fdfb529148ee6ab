"""CHAINS: products of matrices as lists of factors, each as it is or turned; transposes and symmetric matrices.

``A @ (X.T @ v)`` is ``A``, ``X`` turned, ``v``. A vector is a column, a turned one a row, so that an outer product is a chain, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from symgrad.expr import Expr, apply
from symgrad.ops.linear import canonical_spec, split_spec
from symgrad.simplify.rewriting import CHEAPER, FORM, Rule, do, see
from symgrad.simplify.samples import square

__all__ = [
    "TRANSPOSES", "Link", "chain", "is_matrix_transpose", "is_symmetric", "matrix_transpose", "product_of", "turned_links",
]  # fmt: skip

_DEPTH = 4  # how many nodes deep a matrix is asked whether it is symmetric
_LINKS = 12  # of longer chains the first factors only are told apart


class Link(NamedTuple):
    """A factor of a chain."""

    e: Expr
    turned: bool


def matrix_transpose(e: Expr) -> Expr:
    """Every matrix turned; what was turned is turned back."""
    return e.args[0] if is_matrix_transpose(e) else do("transpose", e, axes=(*range(-e.ndim, -2), -1, -2))


def is_matrix_transpose(e: Expr) -> bool:
    return e.op.name == "transpose" and e.params["axes"] == (*range(-e.ndim, -2), -1, -2)


# --- chains ------------------------------------------------------------------------------------------------


def factors_of(e: Expr) -> tuple[Link, Link] | None:
    """The two factors of a product of matrices, of a matrix and a vector, or of an outer product, in the order of reading."""
    if e.op.name != "contract":
        return None
    left, right, result = split_spec(e.params["spec"])
    if len(left) > 2 or len(right) > 2 or not 1 <= len(result) <= 2:
        return None
    a, b = e.args
    if result[0] not in left or (len(result) == 2 and result[1] not in right):
        a, b, left, right = b, a, right, left
    if result[0] not in left or (len(result) == 2 and result[1] not in right):
        return None  # both rows and columns are of one operand, or an axis is shared
    shared = set(left) & set(right)
    if len(result) == 2 and len(left) == len(right) == 1:
        return Link(a, False), Link(b, True)
    if len(shared) != 1 or shared & set(result) or len(left) != 2 or len(right) != len(result):
        return None
    return Link(a, left[0] in shared), Link(b, len(right) == 2 and right[1] in shared)


def chain(e: Expr) -> list[Link]:
    """The factors of a product, of a matrix or a column, taken apart as far as it is one."""
    links, waiting = list[Link](), [Link(e, False)]
    while waiting:
        link = waiting.pop()
        if is_matrix_transpose(link.e) and link.e.ndim == 2:
            waiting.append(Link(link.e.args[0], not link.turned))
            continue
        factors = factors_of(link.e) if len(links) + len(waiting) < _LINKS else None
        if factors is None or (_is_outer(factors) and e is not link.e):  # of two outer products in a row the middle is a number
            links.append(link)
        else:
            waiting += factors[::-1] if not link.turned else [Link(f.e, not f.turned) for f in factors]
    return links


def _is_outer(factors: Sequence[Link]) -> bool:
    return factors[0].e.ndim == 1


def turned_links(links: Sequence[Link]) -> list[Link]:
    """The chain of the transpose."""
    return [Link(e, not turned) for e, turned in reversed(links)]


def product_of(links: Sequence[Link]) -> Expr:
    """The product of a chain, from left to right; before a column from right to left."""
    for k in range(1, len(links)):
        if links[k - 1].e.ndim == 1:  # a column, and what follows it a row
            return do("contract", product_of(links[:k]), product_of(turned_links(links[k:])), spec="i,j->ij")
    *others, last = links
    if last.e.ndim == 1:
        total = last.e
        for e, turned in reversed(others):
            total = do("contract", e, total, spec="ij,i->j" if turned else "ij,j->i")
        return total
    (e, turned), *others = links
    total = matrix_transpose(e) if turned and not others else e
    for other, across in others:
        total = do("contract", total, other, spec=canonical_spec("ba" if turned else "ab", "cb" if across else "bc", "ac"))
        turned = False
    return total


def is_symmetric(e: Expr, depth: int = _DEPTH) -> bool:
    """Whether a matrix is plainly its own transpose: ``X.T @ X``, ``A + A.T``, and what is made of such."""
    e = see(e)
    name = e.op.name
    if e.ndim != 2 or e.shape[0] != e.shape[1]:
        return False
    if name in ("eye", "embed_diagonal"):
        return not e.params.get("offset", 0)
    if depth == 0:
        return False
    if name in ("inv", "neg", "transpose"):
        return is_symmetric(e.args[0], depth - 1)
    if name == "contract":
        return _is_palindrome(e, depth - 1)
    if name in ("mul", "div") and () in (e.args[0].shape, e.args[1].shape):
        return is_symmetric(e.args[0] if e.args[0].shape else e.args[1], depth - 1)
    if name in ("add", "sub", "mul"):
        a, b = e.args
        if name != "sub" and a.ndim == b.ndim == 2 and (a is matrix_transpose(b) or b is matrix_transpose(a)):
            return True
        return is_symmetric(a, depth - 1) and is_symmetric(b, depth - 1)
    return False


def _is_palindrome(product: Expr, depth: int) -> bool:
    """Whether a product reads the same when it is turned: ``F.T @ S @ F`` with a symmetric ``S``."""
    links = chain(product)
    middle = len(links) // 2
    ends = zip(links[:middle], reversed(links), strict=False)
    if len(links) < 2 or not all(a.e is b.e and (a.turned != b.turned or is_symmetric(a.e, depth)) for a, b in ends):
        return False
    return len(links) % 2 == 0 or is_symmetric(links[middle].e, depth)


# --- transposes --------------------------------------------------------------------------------------------


def _transposed_symmetric(e: Expr) -> Expr | None:
    return e.args[0] if e.ndim == 2 and e.params["axes"] == (-1, -2) and is_symmetric(e.args[0]) else None


def _transposed_scaled(e: Expr) -> Expr | None:
    """A scalar factor of a matrix stands before its transpose."""
    (x,) = e.args
    if x.op.name != "mul" or x.args[0].shape or x.args[1].shape != x.shape:
        return None
    return do("mul", x.args[0], apply(e.op, x.args[1], **e.params))


def _transposed_sum(e: Expr) -> Expr | None:
    """``(A @ B - C.T).T`` is ``B.T @ A.T - C``: terms that are products or turned already take it for nothing."""
    (x,) = e.args
    if x.ndim != 2 or e.params["axes"] != (-1, -2) or x.op.name not in ("add", "sub") or _transposes_more(x) > 0:
        return None
    return _turned_terms(x)


def _transposes_more(e: Expr, depth: int = 4) -> int:
    """How many more transposes there are where each term has its own."""
    if e.op.name in ("add", "sub") and depth and all(a.shape == e.shape for a in e.args):
        return sum(_transposes_more(a, depth - 1) for a in e.args)
    if e.op.name in ("neg", "mul") and depth and e.args[-1].shape == e.shape and not any(a.shape for a in e.args[:-1]):
        return _transposes_more(e.args[-1], depth - 1)
    if is_matrix_transpose(e):
        return -1
    return 0 if (e.op.name == "contract" and factors_of(e) is not None) or is_symmetric(e, 1) else 1


def _turned_terms(e: Expr, depth: int = 4) -> Expr:
    if e.op.name in ("add", "sub") and depth and all(a.shape == e.shape for a in e.args):
        return do(e.op.name, *[_turned_terms(a, depth - 1) for a in e.args])
    if e.op.name in ("neg", "mul") and depth and e.args[-1].shape == e.shape and not any(a.shape for a in e.args[:-1]):
        return do(e.op.name, *e.args[:-1], _turned_terms(e.args[-1], depth - 1))
    return matrix_transpose(e)


TRANSPOSES: tuple[Rule, ...] = (
    Rule("transposed symmetric",   CHEAPER,  ("transpose",), _transposed_symmetric,
         square(lambda A, B, v: do("inv", do("contract", A, A, spec="ij,ik->jk")).T)),
    Rule("transposed scaled",      FORM,     ("transpose",), _transposed_scaled,      square(lambda A, B, v: (do("det", B) * A).T)),
    Rule("transposed sum",         CHEAPER,  ("transpose",), _transposed_sum,         square(lambda A, B, v: (A @ B - A.T).T)),
)  # fmt: skip
