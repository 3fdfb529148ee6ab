"""MATRICES: local rules for products and sums of matrices: the closed forms of matrix calculus.

    chains       products as lists of factors; transposes, symmetric matrices
    inverses     inverses, systems, determinants
    diagonals    identities, diagonal matrices, traces
    norms        lengths and directions

K. B. Petersen and M. S. Pedersen, "The matrix cookbook" (2012); J. R. Magnus and H. Neudecker, "Matrix differential
calculus" (3rd edition, 2007). As everywhere in simplification, algebra holds where the formula has a value: that a
singular matrix times its inverse is NaN is given up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from symgrad.expr import Expr, apply
from symgrad.ops.linear import canonical_spec, split_spec
from symgrad.simplify.chains import TRANSPOSES, factors_of, is_symmetric, matrix_transpose
from symgrad.simplify.contractions import times_identity
from symgrad.simplify.diagonals import DIAGONALS
from symgrad.simplify.factors import is_plain_factor
from symgrad.simplify.inverses import INVERSES, is_det
from symgrad.simplify.norms import NORMS
from symgrad.simplify.rewriting import BOTH, CHEAPER, FORM, Rule, do, number
from symgrad.simplify.samples import square
from symgrad.simplify.terms import built_sum

__all__ = ["MATRICES"]


# --- terms -------------------------------------------------------------------------------------------------


class _Term(NamedTuple):
    """A term of a sum: ``sign*scale*e``, where ``scale`` is a scalar or ``None``; ``whole`` is ``scale*e``."""

    sign: int
    scale: Expr | None
    e: Expr
    whole: Expr


_TERMS = 8  # of a sum that are looked at
_PLACES = ((0, 0), (0, 1), (1, 0), (1, 1))  # of what two products have in common


def _terms(root: Expr) -> list[_Term] | None:
    """The terms of a sum from left to right, ``None`` where it has too many."""
    terms, waiting = list[_Term](), [(1, root)]
    while waiting:
        sign, e = waiting.pop()
        if e.shape == root.shape and e.op.name == "neg":
            waiting.append((-sign, e.args[0]))
        elif e.op.name in ("add", "sub") and e.shape == root.shape and all(a.shape == root.shape for a in e.args):
            waiting += [(sign if e.op.name == "add" else -sign, e.args[1]), (sign, e.args[0])]
        else:
            terms.append(_term(sign, e))
        if len(terms) + len(waiting) > _TERMS:
            return None
    return terms


def _term(sign: int, e: Expr) -> _Term:
    if e.op.name == "neg":
        sign, e = -sign, e.args[0]
    if e.op.name != "mul" or not e.shape or () not in (e.args[0].shape, e.args[1].shape):
        return _Term(sign, None, e, e)
    scale, rest = e.args if not e.args[0].shape else e.args[::-1]
    if scale.op.name == "neg":
        scale, sign = scale.args[0], -sign
        e = do("mul", scale, rest)
    return _Term(sign, scale, rest, e)


# --- products ----------------------------------------------------------------------------------------------


def _contract_symmetric(e: Expr) -> Expr | None:
    """A symmetric matrix is never turned: of ``F @ S.T`` and ``F @ S`` the one whose letters come first."""
    left, right, result = split_spec(e.params["spec"])
    specs = [e.params["spec"]]
    if len(left) == 2 and is_symmetric(e.args[0]):
        specs.append(canonical_spec(left[::-1], right, result))
    if len(right) == 2 and is_symmetric(e.args[1]):
        specs += [canonical_spec(*_turned_right(spec)) for spec in specs]
    best = min(specs, key=_turns)
    return None if _turns(best) == _turns(specs[0]) else apply(e.op, *e.args, spec=best)


def _turned_right(spec: str) -> tuple[str, str, str]:
    left, right, result = split_spec(spec)
    return left, right[::-1], result


def _turns(spec: str) -> int:
    """How many operands of a matrix product are transposed."""
    left, right, result = split_spec(spec)
    (shared,) = set(left) & set(right) if len(set(left) & set(right)) == 1 else ("",)
    if not shared or shared in result:
        return 0
    if len(left) == len(right) == 2 and len(result) == 2 and result[0] in right:
        left, right = right, left
    return int(len(left) == 2 and left[0] == shared) + int(len(right) == 2 and right[1] == shared)


def _contract_itself(e: Expr) -> Expr | None:
    """The two operands of ``outer(x, x)`` may change places: one spec for both."""
    a, b = e.args
    if a is not b:
        return None
    left, right, result = split_spec(e.params["spec"])
    spec = min(canonical_spec(left, right, result), canonical_spec(right, left, result))
    return None if spec == e.params["spec"] else apply(e.op, a, b, spec=spec)


def _reading_order(e: Expr) -> Expr | None:
    """``x @ A`` is ``A.T @ x``: vectors are columns; and the operand that the result's rows come from stands first."""
    left, right, result = split_spec(e.params["spec"])
    if len(left) > 2 or len(right) > 2 or not result:
        return None
    vector = len(left) == 1 and len(right) == 2 and len(result) == 1 and left in right and result != left
    if not vector and (len(result) != 2 or result[0] in left or result[1] in right):
        return None
    return apply(e.op, e.args[1], e.args[0], spec=canonical_spec(right, left, result))


def _turned_product(e: Expr) -> Expr | None:
    """``(P.T @ Q).T`` in a product is ``Q.T @ P``."""
    letters = list(split_spec(e.params["spec"]))
    operands = list(e.args)
    for k in range(2):
        inner = operands[k]
        if inner.op.name != "contract" or inner.ndim != 2 or not _is_turned(letters, k):
            continue
        left, right, result = split_spec(inner.params["spec"])
        if len(left) != 2 or len(right) != 2 or len(set(left) & set(right)) != 1 or not _turns(inner.params["spec"]):
            continue
        operands[k] = apply(inner.op, inner.args[1], inner.args[0], spec=canonical_spec(right, left, result[::-1]))
        letters[k] = letters[k][::-1]
    return None if operands == list(e.args) else apply(e.op, *operands, spec=canonical_spec(*letters))


def _is_turned(letters: list[str], k: int) -> bool:
    """Whether an operand of a product of matrices (and vectors) is read as its transpose."""
    own, other, result = letters[k], letters[1 - k], letters[2]
    shared = set(own) & set(other)
    if len(own) != 2 or len(shared) != 1 or shared & set(result):
        return False
    first = len(other) == 1 or result[0] in own
    return (own[0] in shared) if first else (own[1] in shared)


def _scalar_outside(e: Expr) -> Expr | None:
    """``A @ (s*x)`` is ``s*(A @ x)``. What the compiler gets has the scalar where there is less to scale: see ``sharing``."""
    for k, x in enumerate(e.args):
        if x.op.name == "mul" and x.shape and () in (x.args[0].shape, x.args[1].shape):
            s, rest = x.args if not x.args[0].shape else x.args[::-1]
            if number(s) is None:
                return do("mul", s, apply(e.op, *[rest if j == k else a for j, a in enumerate(e.args)], **e.params))
    return None


def _times_outer(e: Expr) -> Expr | None:
    """``outer(u, v) @ A`` is ``outer(u, A.T @ v)``, ``outer(u, v) @ x`` is ``(v @ x)*u``: the outer product comes last."""
    factors = factors_of(e)
    if factors is None or factors[0].e.ndim == 1:
        return None
    (a, a_turned), (b, b_turned) = factors
    if (inner := factors_of(a)) is not None and inner[0].e.ndim == 1:
        u, v = (inner[1].e, inner[0].e) if a_turned else (inner[0].e, inner[1].e)
        if b.ndim == 1:
            return do("mul", do("contract", v, b, spec="i,i->"), u)
        return do("contract", u, do("contract", b, v, spec="ij,j->i" if b_turned else "ij,i->j"), spec="i,j->ij")
    if (inner := factors_of(b)) is not None and inner[0].e.ndim == 1 and b.ndim == 2:
        u, v = (inner[1].e, inner[0].e) if b_turned else (inner[0].e, inner[1].e)
        return do("contract", do("contract", a, u, spec="ij,i->j" if a_turned else "ij,j->i"), v, spec="i,j->ij")
    return None


def _times_thin_sum(e: Expr) -> Expr | None:
    """``(outer(u, v) + s*eye(n)) @ A`` term by term: no term needs a product of matrices."""
    for k, x in enumerate(e.args):
        if x.op.name not in ("add", "sub") or x.ndim != 2 or not e.shape:
            continue
        terms = _terms(x)
        if terms is not None and all(_is_thin(t.e) for t in terms):
            return built_sum([(t.sign, _thin_product(e, k, t)) for t in terms])
    return None


def _thin_product(e: Expr, k: int, term: _Term) -> Expr:
    product = apply(e.op, *[term.e if j == k else a for j, a in enumerate(e.args)], **e.params)
    made = _times_outer(product) if term.e.op.name == "contract" else times_identity(product)
    product = product if made is None else made
    return product if term.scale is None else do("mul", term.scale, product)


def _is_thin(e: Expr) -> bool:
    factors = factors_of(e)
    return e.op.name == "eye" or (factors is not None and factors[0].e.ndim == 1)


# --- scalars -----------------------------------------------------------------------------------------------


def _scalar_cancels(e: Expr) -> Expr | None:
    """``s*(1/s*A)`` is ``A``."""
    for s, x in (e.args, e.args[::-1]):
        if not s.shape and x.shape and number(s) is None and (rest := _without_divisor(x, s)) is not None:
            return rest
    return None


def _without_divisor(product: Expr, s: Expr, depth: int = 3) -> Expr | None:
    """The product without its divisor ``s``, ``None`` where it has none."""
    if product.op.name == "div" and product.args[1] is s:
        return product.args[0]
    if depth == 0 or product.op.name not in ("mul", "div", "neg"):
        return None
    for k, a in enumerate(product.args if product.op.name == "mul" else product.args[:1]):
        rest = _without_divisor(a, s, depth - 1)
        if rest is not None:
            if number(rest) == 1 and product.op.name == "mul" and product.args[1 - k].shape == product.shape:
                return product.args[1 - k]
            return do(product.op.name, *[rest if j == k else b for j, b in enumerate(product.args)])
    return None


# --- sums of products --------------------------------------------------------------------------------------


def _symmetric_part(e: Expr) -> Expr | None:
    """``A @ x + A.T @ x`` is ``(A + A.T) @ x``, whoever else has either product: the compiler then computes that of the other."""
    terms = _terms(e)
    if terms is None:
        return None
    for j, second in enumerate(terms):
        for first in terms[:j]:
            if first.scale is second.scale and first.e.op.name == second.e.op.name == "contract":
                merged = _with_transpose(first.e, second.e, "add" if first.sign == second.sign else "sub")
                if merged is not None:
                    whole = merged if first.scale is None else do("mul", first.scale, merged)
                    kept = [(t.sign, whole if t is first else t.whole) for t in terms if t is not second]
                    return built_sum(kept)
    return None


def _with_transpose(first: Expr, second: Expr, sign: str) -> Expr | None:
    for i, j in _PLACES:
        matrix = first.args[1 - i]
        if first.args[i] is second.args[j] and matrix.ndim == 2 and first.shape == second.shape:
            other = _aligned_letters(first, i, second, j)
            if other is not None and other is not matrix and other is matrix_transpose(matrix):
                total = do(sign, matrix, other)
                return apply(first.op, *[first.args[k] if k == i else total for k in range(2)], **first.params)
    return None


def _sum_of_products(e: Expr) -> Expr | None:
    """``A @ x + A.T @ x`` is ``(A + A.T) @ x``: one product for two, also where both are scaled alike."""
    one, two = _term(1, e.args[0]), _term(1 if e.op.name == "add" else -1, e.args[1])
    first, second = one.e, two.e
    if one.scale is not two.scale or first.op.name != "contract" or second.op.name != "contract" or first.shape != second.shape:
        return None
    for i, j in _PLACES:
        if first.args[i] is second.args[j] and (other := _aligned_letters(first, i, second, j)) is not None:
            total = do("add" if one.sign == two.sign else "sub", first.args[1 - i], other)
            product = apply(first.op, *[first.args[k] if k == i else total for k in range(2)], **first.params)
            product = product if one.scale is None else do("mul", one.scale, product)
            return product if one.sign > 0 else do("neg", product)
    return None


def _scaled(x: Expr) -> tuple[Expr | None, Expr]:
    """A scalar factor, if there is one, and what it scales."""
    if x.op.name == "mul" and not x.args[0].shape and x.args[1].shape:
        return x.args[0], x.args[1]
    return None, x


def _aligned_letters(first: Expr, i: int, second: Expr, j: int) -> Expr | None:
    """The other operand of the second contraction, its axes in the order of the first's, where everything else agrees."""
    mine, theirs = split_spec(first.params["spec"]), split_spec(second.params["spec"])
    if len(mine[2]) != len(theirs[2]):
        return None
    names = dict(zip(theirs[j], mine[i], strict=True))
    for letter, own in zip(theirs[2], mine[2], strict=True):
        if names.setdefault(letter, own) != own:
            return None
    have, want = theirs[1 - j], mine[1 - i]
    if any(c not in names for c in have) or sorted(names[c] for c in have) != sorted(want):
        return None
    renamed = "".join(names[c] for c in have)
    other = second.args[1 - j]
    if other.shape != tuple(first.args[1 - i].shape[want.index(c)] for c in renamed):
        return None
    return other if renamed == want else do("transpose", other, axes=tuple(renamed.index(c) - len(want) for c in want))


def _common_number(e: Expr) -> Expr | None:
    """``0.5*u + 0.5*v`` is ``0.5*(u + v)`` for tensors, ``s*outer(x, x) - s*eye(n)`` is ``s*(outer(x, x) - eye(n))`` for matrices."""
    (c, u), (d, v) = map(_scaled, e.args)
    if c is None or c is not d or u.shape != v.shape:
        return None
    if not is_plain_factor(c) and not is_det(c) and {u.op.name, v.op.name}.isdisjoint(("contract", "eye", "inv")):
        return None
    return do("mul", c, do(e.op.name, u, v))


def _number_to_scalar(e: Expr) -> Expr | None:
    """``2*((s*t)*x)`` is ``(2*(s*t))*x``: a number goes to the scalar factor of a tensor."""
    c, x = e.args
    if c.shape or not is_plain_factor(c) or x.op.name != "mul" or x.args[0].shape or is_plain_factor(x.args[0]):
        return None
    return do("mul", do("mul", c, x.args[0]), x.args[1])


# --- tables ------------------------------------------------------------------------------------------------


def _has(*names: str) -> Callable[..., bool]:
    """Some operand is of one of these ops."""
    return lambda *heads: not set(names).isdisjoint(heads)


PRODUCTS: tuple[Rule, ...] = (
    Rule("reading order",          FORM,     ("contract",), _reading_order,          square(lambda A, B, v: v @ A), cosmetic=True),
    Rule("contract itself",        FORM,     ("contract",), _contract_itself,
         square(lambda A, B, v: do("contract", v, v, spec="i,j->ji"))),
    Rule("contract symmetric",     FORM,     ("contract",), _contract_symmetric,
         square(lambda A, B, v: do("contract", A, do("inv", do("contract", A, A, spec="ij,ik->jk")), spec="ij,kj->ik"))),
    Rule("turned product",         FORM,     ("contract",), _turned_product,
         square(lambda A, B, v: do("contract", do("contract", A, B, spec="ij,ik->jk"), v, spec="ij,i->j")), look=_has("contract")),
    Rule("scalar outside",         FORM,     ("contract",), _scalar_outside,
         square(lambda A, B, v: A @ (do("det", B) * B)), look=_has("mul"), cosmetic=True),
    Rule("times outer",            CHEAPER,  ("contract",), _times_outer,
         square(lambda A, B, v: A @ do("contract", v, v + 1, spec="i,j->ij")), look=_has("contract")),
    Rule("times thin sum",         CHEAPER,  ("contract",), _times_thin_sum,
         square(lambda A, B, v: (do("contract", v, v + 1, spec="i,j->ij") + do("eye", rows=3, columns=3)) @ A), look=_has("add", "sub")),
)  # fmt: skip

SCALARS: tuple[Rule, ...] = (
    Rule("scalar cancels",         CHEAPER,  ("mul",),      _scalar_cancels,
         square(lambda A, B, v: do("det", B) * (1 / do("det", B) * A)), tensors=True, look=_has("mul", "div", "neg")),
)  # fmt: skip

SUMS: tuple[Rule, ...] = (
    Rule("symmetric part",         CHEAPER,  ("add", "sub"), _symmetric_part,         square(lambda A, B, v: A @ v + A.T @ v), tensors=True,
         look=_has("contract", "mul", "neg")),
    Rule("sum of products",        CHEAPER,  ("add", "sub"), _sum_of_products,        square(lambda A, B, v: A @ v + B @ v), late=BOTH),
    Rule("common number",          CHEAPER,  ("add", "sub"), _common_number,
         square(lambda A, B, v: 0.5*A + 0.5*B), tensors=True, look=_has("mul")),
    Rule("number to scalar",       CHEAPER,  ("mul",),      _number_to_scalar,       "2*(s*v)", tensors=True, look=_has("mul")),
)  # fmt: skip

MATRICES: tuple[Rule, ...] = TRANSPOSES + PRODUCTS + SCALARS + SUMS + INVERSES + DIAGONALS + NORMS
