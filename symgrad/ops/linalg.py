"""Linear algebra of square matrices: inverse, determinant, solution of linear systems, Cholesky factor, trace, triangles.

NumPy's ``linalg``, reached as ``sg.linalg``. Matrices are the last two axes; axes before them are a stack.

A compiled function cannot stop halfway through a training loop, and one bad matrix of a stack is no other's business:
where NumPy raises ``LinAlgError``, every element of the result for that matrix is NaN. So it is for the inverse and the
solution with a matrix that is exactly singular (``det`` is 0 and ``logdet`` -inf there), and for the Cholesky factor of one
that is not positive definite.

Derivatives: M. Giles, "Collected matrix derivative results for forward and reverse mode algorithmic differentiation"
(2008), section 2; of the Cholesky factor: I. Murray, "Differentiation of the Cholesky decomposition", arXiv:1602.07527, eq. 8.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from symgrad import dims
from symgrad.dims import Shape
from symgrad.errors import ShapeError
from symgrad.expr import _ARRAY_FUNCTIONS as ARRAY_FUNCTIONS
from symgrad.expr import Array, Expr, ExprLike, Op, apply, as_expr, common, register
from symgrad.ops.linear import matmul, outer
from symgrad.ops.movement import EYE, do, reshape_to
from symgrad.ops.reduce import SUM
from symgrad.ops.shape import diagonal, swapaxes, transpose

__all__ = ["MATRIX_FUNCTIONS", "cholesky", "det", "inv", "logdet", "slogdet", "solve", "solve_triangular", "trace", "tril", "triu"]

Rule = tuple[Expr | None, ...]


# --- matrices as the last two axes -----------------------------------------------------------------


def _turned(x: Expr) -> Expr:
    """Every matrix transposed."""
    return swapaxes(x, -1, -2)


def _on_matrices(g: Expr) -> Expr:
    """One number a matrix, to be multiplied with all of its elements."""
    return reshape_to(g, (*g.shape, 1, 1)) if g.shape else g


def _matrices(op: str, x: Shape) -> Shape:
    if len(x) < 2:
        raise ShapeError(f"{op}: shape {dims.format_shape(x)} is no matrix")
    return x


def _square(op: str, a: Shape) -> Shape:
    message = f"{op}: a matrix of shape {dims.format_shape(_matrices(op, a))} is not square"
    dims.unify(a[-2], a[-1], message)
    return a


def _one_a_matrix(op: str) -> Callable[[Shape], Shape]:
    return lambda a: _square(op, a)[:-2]


def _each_matrix(function: Callable[..., Any], *stacks: Array) -> Array:
    """The function of all matrices, NaN for those that NumPy refuses."""
    try:
        return np.asarray(function(*stacks))
    except np.linalg.LinAlgError:
        pass
    batch = np.broadcast_shapes(*[s.shape[:-2] for s in stacks])
    wide = [np.broadcast_to(s, batch + s.shape[-2:]) for s in stacks]
    result = np.full(batch + stacks[-1].shape[-2:], np.nan, stacks[-1].dtype)
    for index in np.ndindex(*batch):
        try:
            result[index] = function(*[s[index] for s in wide])
        except np.linalg.LinAlgError:
            continue
    return result


_A = np.array([[2.0, -0.5, 0.25], [0.75, 1.5, -1.0], [-0.25, 1.25, 3.0]])
_P = np.array([[0.0, 2.0], [1.5, -0.5]])  # its rows change places
_STACK = np.stack([_A + 0.5 * np.eye(3), _A.T])
_B = np.array([[1.0, -0.5], [0.25, 2.0], [-1.5, 0.75]])
_SPD = _A @ _A.T + np.eye(3)
_L = np.array([[1.5, 0.3, -0.2], [0.75, 1.25, 0.4], [-0.25, 1.25, 2.0]])


# --- inverse and determinant -----------------------------------------------------------------------

INV = register(Op(
    name="inv", family="matrix", doc="the inverse of a matrix; NaN for a singular one",
    shape=lambda a: _square("inv", a),
    derivative=lambda g, y, a: (-(matmul(matmul(_turned(y), g), _turned(y))),),
    evaluate=lambda a: _each_matrix(np.linalg.inv, np.asarray(a)),
    latex=r"\left({0}\right)^{{-1}}",
    samples=((_A,), (_P,), (_STACK,)), cost=2.0,
))
DET = register(Op(
    name="det", family="matrix", doc="the determinant of a matrix; its gradient needs the inverse, so it is NaN for a singular one",
    shape=_one_a_matrix("det"),
    derivative=lambda g, y, a: (_on_matrices(g * y) * _turned(apply(INV, a)),),
    evaluate=lambda a: np.linalg.det(a),
    latex=r"\det\left({0}\right)",
    samples=((_A,), (_P,), (_STACK,)), cost=0.67,
))
LOGDET = register(Op(
    name="logdet", family="matrix", doc="log(abs(det(A))) without overflow; -inf for a singular matrix",
    shape=_one_a_matrix("logdet"),
    derivative=lambda g, y, a: (_on_matrices(g) * _turned(apply(INV, a)),),
    evaluate=lambda a: np.linalg.slogdet(a)[1],
    latex=r"\log\left|\det\left({0}\right)\right|",
    samples=((_A,), (_P,), (_STACK,)), cost=0.67,
))
SIGNDET = register(Op(
    name="signdet", family="matrix", doc="the sign of the determinant: -1, 0 or 1, also where the determinant overflows",
    shape=_one_a_matrix("signdet"),
    derivative=lambda g, y, a: (None,),
    evaluate=lambda a: np.linalg.slogdet(a)[0],
    latex=r"\operatorname{{sign}}\det\left({0}\right)",
    samples=((_A,), (_P,), (_STACK,)), cost=0.67,
))


# --- linear systems --------------------------------------------------------------------------------
# ``vector``: whether the last axis of b is a vector's, or the last two are a matrix's.


def _solve_shape(op: str, a: Shape, b: Shape, vector: bool) -> Shape:
    n = _square(op, a)[-1]
    own = b if vector else _matrices(op, b)
    rows = own[-1 if vector else -2]
    dims.unify(n, rows, f"{op}: {n} unknowns, but {rows} right-hand sides in shapes {dims.format_shape(a)} and {dims.format_shape(b)}")
    tail = own[-1:] if vector else own[-2:]
    return (*dims.broadcast(op, a[:-2], own[: len(own) - len(tail)]), *tail)


def _outer_of(u: Expr, x: Expr, vector: bool) -> Expr:
    """``u @ x.T`` for columns, or for what stands in columns."""
    if not vector:
        return matmul(u, _turned(x))
    if u.ndim == x.ndim == 1:
        return outer(u, x)
    return matmul(reshape_to(u, (*u.shape, 1)), reshape_to(x, (*x.shape[:-1], 1, x.shape[-1])))


def _solve_rule(g: Expr, y: Expr, a: Expr, b: Expr, vector: bool) -> Rule:
    to_b = apply(SOLVE, _turned(a), g, vector=vector)
    return -_outer_of(to_b, y, vector), to_b


def _columns(function: Callable[..., Array]) -> Callable[..., Array]:
    """A function of matrices as one of vectors, too."""

    def evaluate(a: Array, b: Array, vector: bool, **params: Any) -> Array:
        right = np.asarray(b)[..., None] if vector else np.asarray(b)
        result = _each_matrix(lambda a, b: function(a, b, **params), np.asarray(a), right)
        return result[..., 0] if vector else result

    return evaluate


SOLVE = register(Op(
    name="solve", family="matrix", arity=2, doc="the solution x of A @ x = b; NaN for a singular A",
    shape=lambda a, b, vector: _solve_shape("solve", a, b, vector),
    derivative=_solve_rule, evaluate=_columns(np.linalg.solve),
    text=lambda strings, params: f"solve({', '.join(strings)})",
    latex=r"\left({0}\right)^{{-1}} \left({1}\right)",
    samples=(
        (_A, _B[:, 0], {"vector": True}), (_A, _B, {"vector": False}), (_P, _P, {"vector": False}), (_STACK, _B, {"vector": False}),
        (_A, np.stack([_B, 2 * _B, -_B]), {"vector": False}), (_STACK, _B.T[:1], {"vector": True}),
    ), cost=0.67,
))


def _triangular_rule(g: Expr, y: Expr, a: Expr, b: Expr, vector: bool, lower: bool) -> Rule:
    to_b = apply(SOLVE_TRIANGULAR, _turned(a), g, vector=vector, lower=not lower)
    return apply(TRIL if lower else TRIU, -_outer_of(to_b, y, vector), offset=0), to_b


def _solved_triangle(a: Array, b: Array, lower: bool) -> Array:
    return np.linalg.solve(np.tril(a) if lower else np.triu(a), b)


SOLVE_TRIANGULAR = register(Op(
    name="solve_triangular", family="matrix", arity=2, doc="the solution x of T @ x = b, T the lower or upper triangle of a matrix",
    shape=lambda a, b, vector, lower: _solve_shape("solve_triangular", a, b, vector),
    derivative=_triangular_rule, evaluate=_columns(_solved_triangle),
    text=lambda strings, params: f"solve_triangular({', '.join(strings)}{'' if params['lower'] else ', lower=False'})",
    latex=lambda strings, params: (
        rf"\operatorname{{tri{'l' if params['lower'] else 'u'}}}\left({strings[0]}\right)^{{-1}} \left({strings[1]}\right)"
    ),
    samples=(
        (_L, _B[:, 0], {"vector": True, "lower": True}), (_L, _B, {"vector": False, "lower": False}),
        (np.stack([_L, _L.T]), _B, {"vector": False, "lower": True}),
    ), cost=0.01,
))


# --- Cholesky factor -------------------------------------------------------------------------------


def _cholesky_rule(g: Expr, y: Expr, a: Expr) -> Rule:
    """``(S + S.T)/2`` with ``S = L^-T Phi(L^T g) L^-1``; Phi takes the lower triangle and halves the diagonal."""
    product = matmul(_turned(y), g)
    phi = (apply(TRIL, product, offset=0) + apply(TRIL, product, offset=-1)) / 2
    left = apply(SOLVE_TRIANGULAR, _turned(y), phi, vector=False, lower=False)
    s = _turned(apply(SOLVE_TRIANGULAR, _turned(y), _turned(left), vector=False, lower=False))
    return ((s + _turned(s)) / 2,)


def _evaluate_cholesky(a: Array) -> Array:
    a = np.asarray(a)
    return _each_matrix(np.linalg.cholesky, (a + np.swapaxes(a, -1, -2)) / 2)


CHOLESKY = register(Op(
    name="cholesky", family="matrix", doc="the lower triangular L with L @ L.T = (A + A.T)/2; NaN where that is not positive definite",
    shape=lambda a: _square("cholesky", a),
    derivative=_cholesky_rule, evaluate=_evaluate_cholesky,
    latex=r"\operatorname{{chol}}\left({0}\right)",
    samples=((_SPD,), (_SPD[:2, :2],), (np.stack([_SPD, _SPD + np.eye(3)]),)), cost=0.33,
))


# --- triangles and trace ---------------------------------------------------------------------------


def _below(x: Expr, offset: int) -> Expr:
    """Whether an element is on or below the diagonal, as a matrix."""
    rows, columns = (do("arange", size=d) for d in x.shape[-2:])
    return do("greater_equal", reshape_to(rows, (*rows.shape, 1)) + offset, columns)


def _triangle_text(name: str) -> Callable[..., str]:
    return lambda strings, params: f"{name}({strings[0]}{', ' + str(params['offset']) if params['offset'] else ''})"


def _triangle_latex(name: str) -> Callable[..., str]:
    def latex(strings: Sequence[str], params: Any) -> str:
        below = f"_{{{params['offset']}}}" if params["offset"] else ""
        return rf"\operatorname{{{name}}}{below}\left({strings[0]}\right)"

    return latex


def _zero(x: Expr) -> bool | int:
    return False if x.kind == "boolean" else 0


TRIL: Op = register(Op(
    name="tril", family="composite", doc="the lower triangle of a matrix, zeros above the diagonal (or one beside it)",
    shape=lambda x, offset: _matrices("tril", x), kind=common, linear=True,
    derivative=lambda g, y, x, offset: (apply(TRIL, g, offset=offset),),
    evaluate=lambda x, offset: np.tril(x, offset),
    expand=lambda x, offset: do("where", _below(x, offset), x, _zero(x)),
    text=_triangle_text("tril"), latex=_triangle_latex("tril"),
    samples=((_A, {"offset": 0}), (_STACK, {"offset": -1}), (_B, {"offset": 1})),
))
TRIU: Op = register(Op(
    name="triu", family="composite", doc="the upper triangle of a matrix, zeros below the diagonal (or one beside it)",
    shape=lambda x, offset: _matrices("triu", x), kind=common, linear=True,
    derivative=lambda g, y, x, offset: (apply(TRIU, g, offset=offset),),
    evaluate=lambda x, offset: np.triu(x, offset),
    expand=lambda x, offset: do("where", _below(x, offset - 1), _zero(x), x),
    text=_triangle_text("triu"), latex=_triangle_latex("triu"),
    samples=((_A, {"offset": 0}), (_STACK, {"offset": 1}), (_B, {"offset": -1})),
))
TRACE = register(Op(
    name="trace", family="composite", doc="the sum of a matrix's diagonal",
    shape=lambda x: _matrices("trace", x)[:-2], kind=common, linear=True,
    derivative=lambda g, y, x: (_on_matrices(g) * apply(EYE, rows=x.shape[-2], columns=x.shape[-1]),),
    evaluate=lambda x: np.trace(x, axis1=-2, axis2=-1),
    expand=lambda x: apply(SUM, diagonal(x, 0, -2, -1), axes=(-1,), keepdims=False),
    latex=r"\operatorname{{tr}}\left({0}\right)",
    samples=((_A,), (_STACK,), (_B,)),
))


# --- builders --------------------------------------------------------------------------------------


def _real(x: ExprLike) -> Expr:
    x = as_expr(x)
    return x if x.kind == "real" else do("to_real", x)


def inv(a: ExprLike) -> Expr:
    """The inverse of a square matrix, or of each in a stack; NaN for a singular one.

    >>> import symgrad as sg
    >>> A = sg.symbol("A", ("n", "n"))
    >>> sg.grad(sg.trace(sg.linalg.inv(A)), A)
    -inv(A).T @ inv(A).T
    """
    return apply(INV, _real(a))


def det(a: ExprLike) -> Expr:
    """The determinant. Large matrices overflow: see :func:`logdet`.

    Its gradient is the textbooks' ``det(A)*inv(A).T``, so for a singular matrix it is NaN, as the inverse is: the limit there (the
    cofactors) takes as many more operations as the matrix has rows.

    >>> import symgrad as sg
    >>> A = sg.symbol("A", (3, 3))
    >>> sg.grad(sg.linalg.det(A), A)
    det(A)*inv(A).T
    """
    return apply(DET, _real(a))


def logdet(a: ExprLike) -> Expr:
    """``log(abs(det(A)))``, the second of what NumPy's ``slogdet`` gives; -inf for a singular matrix.

    >>> import symgrad as sg
    >>> A = sg.symbol("A", (3, 3))
    >>> sg.grad(sg.linalg.logdet(A), A)
    inv(A).T
    """
    return apply(LOGDET, _real(a))


def slogdet(a: ExprLike) -> tuple[Expr, Expr]:
    """NumPy's ``slogdet``: the sign of the determinant and :func:`logdet`, so that ``det`` is their product with ``exp``.

    >>> import symgrad as sg
    >>> sg.linalg.slogdet(sg.symbol("A", (3, 3)))
    (signdet(A), logdet(A))
    """
    a = _real(a)
    return apply(SIGNDET, a), apply(LOGDET, a)


def solve(a: ExprLike, b: ExprLike) -> Expr:
    """The solution ``x`` of ``A @ x = b``: a vector for one of one axis, else the columns of matrices, as in NumPy 2.

    Raises ``ShapeError`` where ``A`` is not square or ``b`` does not fit. NaN for a singular ``A``.

    >>> import symgrad as sg
    >>> A, b = sg.symbol("A", ("n", "n")), sg.symbol("b", "n")
    >>> sg.grad(sg.sum(sg.linalg.solve(A, b)), b)
    solve(A.T, broadcast_to(1.0, (n,)))
    """
    a, b = _real(a), _real(b)
    return apply(SOLVE, a, b, vector=b.ndim == 1)


def solve_triangular(a: ExprLike, b: ExprLike, lower: bool = True) -> Expr:
    """The solution ``x`` of ``T @ x = b`` for the lower (or upper) triangle ``T`` of a matrix, whose other elements are not read.

    >>> import symgrad as sg
    >>> L, b = sg.symbol("L", (3, 3)), sg.symbol("b", 3)
    >>> sg.linalg.solve_triangular(L, b).shape
    (3,)
    """
    a, b = _real(a), _real(b)
    return apply(SOLVE_TRIANGULAR, a, b, vector=b.ndim == 1, lower=bool(lower))


def cholesky(a: ExprLike) -> Expr:
    """The lower triangular ``L`` with ``L @ L.T = A`` for a symmetric positive definite ``A``.

    Of another matrix it is the factor of ``(A + A.T)/2``, so the gradient is symmetric; NaN where that is not positive definite.

    >>> import symgrad as sg
    >>> sg.linalg.cholesky(sg.symbol("A", ("n", "n"))).shape
    ('n', 'n')
    """
    return apply(CHOLESKY, _real(a))


def trace(x: ExprLike, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Expr:
    """The sum of a diagonal.

    >>> import symgrad as sg
    >>> A, B = sg.symbol("A", ("n", "m")), sg.symbol("B", ("m", "n"))
    >>> sg.grad(sg.trace(A @ B), A)
    B.T
    """
    x = as_expr(x)
    along = diagonal(x, offset, axis1, axis2)
    if offset or x.kind == "boolean":
        return do("sum", along, axes=(-1,), keepdims=False)
    i, j = axis1 % x.ndim, axis2 % x.ndim
    return apply(TRACE, transpose(x, (*[k for k in range(x.ndim) if k not in (i, j)], i, j)))


def tril(x: ExprLike, k: int = 0) -> Expr:
    """The lower triangle: zeros above the ``k``-th diagonal.

    >>> import symgrad as sg
    >>> sg.tril(sg.symbol("A", (3, 3)), -1)
    tril(A, -1)
    """
    return apply(TRIL, as_expr(x), offset=int(k))


def triu(x: ExprLike, k: int = 0) -> Expr:
    """The upper triangle: zeros below the ``k``-th diagonal.

    >>> import symgrad as sg
    >>> sg.triu(sg.symbol("A", (3, 3)))
    triu(A)
    """
    return apply(TRIU, as_expr(x), offset=int(k))


MATRIX_FUNCTIONS = {f.__name__: f for f in (cholesky, det, inv, logdet, solve, solve_triangular)}
"""By name: what a formula that is read from text may call beside the public functions of this package."""

ARRAY_FUNCTIONS.update({
    np.linalg.inv: inv, np.linalg.det: det, np.linalg.slogdet: slogdet, np.linalg.solve: solve, np.linalg.cholesky: cholesky,
    np.trace: trace, np.tril: tril, np.triu: triu,
})
