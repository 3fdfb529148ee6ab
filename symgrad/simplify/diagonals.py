"""DIAGONALS: local rules for identities and diagonal matrices, diagonals and traces."""

from __future__ import annotations

from collections.abc import Sequence

from symgrad.expr import Expr, apply
from symgrad.ops.linear import split_spec
from symgrad.ops.movement import reshape_to
from symgrad.ops.reduce import size_of
from symgrad.simplify.chains import Link, chain, factors_of, is_matrix_transpose, turned_links
from symgrad.simplify.rewriting import CHEAPER, Rule, do
from symgrad.simplify.samples import square

__all__ = ["DIAGONALS"]

_FACTORS = 8  # of an elementwise product that is looked through


def _is_identity(e: Expr) -> bool:
    return e.op.name == "eye" and e.shape[0] == e.shape[1]


def _is_diagonal(e: Expr) -> bool:
    """``diag(v)`` of a vector."""
    return e.op.name == "embed_diagonal" and e.params["offset"] == 0 and e.ndim == 2 and e.shape[0] == e.shape[1]


# --- sums of elements --------------------------------------------------------------------------------------


def _elementwise_factors(e: Expr) -> tuple[list[Expr], list[Expr]] | None:
    """The scalars and the matrices that an elementwise product multiplies."""
    scalars, matrices, waiting = list[Expr](), list[Expr](), [e]
    while waiting:
        x = waiting.pop()
        if x.op.name == "mul" and x.shape == e.shape:
            waiting += x.args[::-1]
        elif x.shape in ((), e.shape):
            (matrices if x.shape else scalars).append(x)
        else:
            return None
        if len(scalars) + len(matrices) > _FACTORS:
            return None
    return scalars, matrices


def _sum_as_trace(e: Expr) -> Expr | None:
    """``sum(A * eye(n))`` is the trace of ``A``, ``sum(A * inv(A).T)`` the size of it."""
    (x,) = e.args
    parts = _elementwise_factors(x) if x.ndim == 2 and e.shape == () else None
    if parts is None:
        return None
    scalars, matrices = parts
    identities = [m for m in matrices if _is_identity(m)]
    others = [m for m in matrices if m not in identities]
    if identities and len(others) <= 1:
        total = do("trace", others[0]) if others else size_of(x.shape[0])
    elif len(others) == 2 and not identities and _undo_each_other(*others):
        total = size_of(x.shape[0])
    else:
        return None
    for s in reversed(scalars):
        total = do("mul", s, total)
    return total


def _undo_each_other(a: Expr, b: Expr) -> bool:
    """Whether one matrix is the transposed inverse of the other."""
    one, other = chain(a), chain(b)
    return any(_inverts(q, p) for p, q in ((one, other), (other, one)))


def _inverts(links: Sequence[Link], of: Sequence[Link]) -> bool:
    if len(links) != 1 or links[0].e.op.name != "inv":
        return False
    inside = chain(links[0].e.args[0])
    return (inside if links[0].turned else turned_links(inside)) == of


# --- traces and diagonals ----------------------------------------------------------------------------------


def _of_scaled(e: Expr) -> Expr | None:
    """Scalars and signs stand before traces and diagonals."""
    (x,) = e.args
    if x.op.name == "neg":
        return do("neg", apply(e.op, x.args[0], **e.params))
    if x.op.name != "mul" or x.ndim != 2 or x.args[0].shape or x.args[1].shape != x.shape:
        return None
    return do("mul", x.args[0], apply(e.op, x.args[1], **e.params))


def _of_identity(e: Expr) -> Expr | None:
    (a,) = e.args
    return size_of(a.shape[0]) if _is_identity(a) else None


def _of_outer(e: Expr) -> Expr | None:
    """The trace of ``outer(u, v)`` is ``u @ v``, its diagonal ``u*v``."""
    (x,) = e.args
    if not _is_outer(x) or x.shape[0] != x.shape[1] or e.params.get("offset", 0):
        return None
    return do("contract", *x.args, spec="i,i->") if e.op.name == "trace" else do("mul", *x.args)


def _is_outer(x: Expr) -> bool:
    factors = factors_of(x)
    return factors is not None and factors[0].e.ndim == 1


def _of_sum_with_outer(e: Expr) -> Expr | None:
    """``trace(A - outer(u, v))`` is ``trace(A) - u @ v``: that outer product need not be."""
    (x,) = e.args
    if x.op.name not in ("add", "sub") or any(a.shape != x.shape for a in x.args) or x.ndim != 2 or not any(map(_has_outer, x.args)):
        return None
    parts = [apply(e.op, a, **e.params) for a in x.args]
    made = [_of_outer(part) for part in parts]
    return do(x.op.name, *[part if new is None else new for part, new in zip(parts, made, strict=True)])


def _has_outer(x: Expr, depth: int = 3) -> bool:
    """Whether an outer product is a term of a sum."""
    if x.op.name in ("add", "sub", "neg", "mul") and depth and x.ndim == 2:
        return any(_has_outer(a, depth - 1) for a in x.args if a.shape == x.shape)
    return _is_outer(x)


# --- diagonal matrices -------------------------------------------------------------------------------------


def _times_diagonal(e: Expr) -> Expr | None:
    """``diag(v) @ x`` is ``v*x``, ``A @ diag(v)`` is ``A*v``."""
    left, right, result = split_spec(e.params["spec"])
    for d, other, own, letters in ((e.args[0], e.args[1], left, right), (e.args[1], e.args[0], right, left)):
        summed = [c for c in own if c in letters and c not in result]
        kept = [c for c in own if c in result and c not in letters]
        if not _is_diagonal(d) or len(summed) != 1 or len(kept) != 1:
            continue
        renamed = letters.replace(summed[0], kept[0])
        order = tuple(renamed.index(c) - len(renamed) for c in result)
        moved = other if renamed == result else do("transpose", other, axes=order)
        scale = reshape_to(d.args[0], (d.shape[0], *[1] * (len(result) - 1 - result.index(kept[0]))))
        return do("mul", scale, moved) if d is e.args[0] else do("mul", moved, scale)
    return None


def _diagonal_turned(e: Expr) -> Expr | None:
    """``diag(v).T`` is ``diag(v)``, the diagonal of ``A.T`` that of ``A``."""
    (x,) = e.args
    return apply(e.op, x.args[0], **e.params) if is_matrix_transpose(x) and e.params["offset"] == 0 else None


DIAGONALS: tuple[Rule, ...] = (
    Rule("sum as trace",           CHEAPER,  ("sum",),      _sum_as_trace,
         square(lambda A, B, v: do("sum", A * do("eye", rows=3, columns=3), axes=(-2, -1), keepdims=False)), look=lambda x: x == "mul"),
    Rule("trace of scaled",        CHEAPER,  ("trace", "diagonal"), _of_scaled,      square(lambda A, B, v: do("trace", do("det", B) * A)),
         look=lambda x: x in ("mul", "neg")),
    Rule("trace of identity",      CHEAPER,  ("trace",),    _of_identity,
         square(lambda A, B, v: do("trace", do("eye", rows=3, columns=3)))),
    Rule("trace of outer",         CHEAPER,  ("trace", "diagonal"), _of_outer,
         square(lambda A, B, v: do("trace", do("contract", v, v + 1, spec="i,j->ij"))), look=lambda x: x == "contract"),
    Rule("trace without outer",    CHEAPER,  ("trace", "diagonal"), _of_sum_with_outer,
         square(lambda A, B, v: do("trace", A - do("contract", v, v + 1, spec="i,j->ij"))), look=lambda x: x in ("add", "sub")),
    Rule("times diagonal",         CHEAPER,  ("contract",), _times_diagonal,
         square(lambda A, B, v: A @ do("embed_diagonal", v, offset=0, rows=3, columns=3)), look=lambda a, b: "embed_diagonal" in (a, b)),
    Rule("diagonal of transpose",  CHEAPER,  ("diagonal",), _diagonal_turned,        square(lambda A, B, v: do("diagonal", A.T, offset=0)),
         look=lambda x: x == "transpose"),
)  # fmt: skip
