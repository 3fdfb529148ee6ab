"""Nodes of linear algebra: the matrix is copied and factored once, and every node that needs the factor reads it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from symgrad import dims
from symgrad.dims import Dim, Shape
from symgrad.expr import Expr
from symgrad.loops import Buffer, Index, Operand, Register, Value
from symgrad.schedule.factorize import BLOCK, Matrix, Room, factor_cholesky, factor_lu, needs_room, permute_rows, solve_triangle
from symgrad.schedule.reductions import Reductions
from symgrad.schedule.storage import Storage, row_major
from symgrad.schedule.values import Indices

__all__ = ["emit_solver"]


@dataclass(frozen=True)
class Factors:
    """The LU factors of a stack of matrices, its row exchanges, and a flaw for each: 0, or NaN for a singular one."""

    matrices: Buffer
    pivots: Buffer
    flaws: Buffer
    batch: Shape
    size: Dim

    def at(self, where: Indices) -> tuple[Matrix, Index]:
        """The factor of one matrix, and where its row exchanges begin."""
        position = flat(where, self.batch)
        return _matrix(self.matrices, position, self.size, self.size), position * self.size


def emit_solver(w: Reductions, node: Expr) -> None:
    """Writes the node to its first storage, then copies it to the others."""
    place, *others = w.written[node]
    _EMIT[node.op.name](w, node, place.buffer)
    for other in others:
        w.copy(place, other, node.shape)


# --- stacks ----------------------------------------------------------------------------------------


def flat(where: Indices, batch: Shape) -> Index:
    """The position of an element in a row-major array."""
    position = Index()
    for index, stride in zip(where, row_major(batch), strict=True):
        position = position + index * stride
    return position


def _matrix(buffer: Buffer, position: Index, rows: Dim, columns: Dim) -> Matrix:
    return Matrix(buffer, position * dims.multiply(rows, columns), rows, columns)


def _each(w: Reductions, batch: Shape, body: Callable[[Indices], None]) -> None:
    """The body for every matrix of a stack."""
    w.nest(batch, [1] * len(batch), None, False, lambda points: body(points[0]))


def _fill(w: Reductions, node: Expr, target: Buffer, value: Callable[[Indices], Operand]) -> None:
    """A row-major array of the node's shape, an element at a time; with lanes where the node itself is one beside another."""
    place = Storage(target, row_major(node.shape))
    idx = tuple(Index.of(w.b.value("integer")) for _ in node.shape)
    last = node.shape[-1]
    wide = w.lanes > 1 and not (isinstance(last, int) and last < w.lanes)
    lane = node.ndim - 1 if wide and all(s in (0, 1) for s in w.strides_along(node, idx, idx[-1].terms[0][0])) else None
    w.nest(node.shape, [1] * node.ndim, lane, False, lambda points: w.store(node, place, points[0], value(points[0])))


def _room(w: Reductions, size: Dim, columns: Dim | None) -> Room:
    """Scratch for the products of a matrix of several blocks."""
    if not needs_room(size):
        return Room(None, None)
    left = w._scratch("left", "real", (size, BLOCK))
    return Room(left, None if columns is None else w._scratch("top", "real", (BLOCK, columns)))


# --- LU --------------------------------------------------------------------------------------------


def _factored(w: Reductions, a: Expr) -> Factors:
    """The factors of a stack of matrices: those that were made already, if there are any."""
    for scope in reversed(w.factors):
        if a in scope:
            return scope[a]
    batch, n = a.shape[:-2], a.shape[-1]
    factors = Factors(
        w._scratch("lu", "real", a.shape), w._scratch("pivots", "integer", (*batch, n)), w._scratch("flaws", "real", (*batch, 1)), batch, n
    )
    room = _room(w, n, n)
    _fill(w, a, factors.matrices, lambda idx: w.value_at(a, idx))

    def body(where: Indices) -> None:
        matrix, first = factors.at(where)
        w.b.store(factors.flaws, flat(where, batch), factor_lu(w.b, w.lanes, matrix, factors.pivots, first, room))

    _each(w, batch, body)
    w.factors[-1][a] = factors
    return factors


def _untransposed(a: Expr) -> tuple[Expr, bool]:
    """The matrices whose factors are used, and whether those of the node are their transposes."""
    last = (-1, -2)
    if a.op.name == "transpose" and a.params["axes"][-2:] == last and a.params["axes"][:-2] == tuple(range(-a.ndim, -2)):
        return a.args[0], True
    return a, False


def _emit_inverse(w: Reductions, node: Expr, target: Buffer) -> None:
    factors = _factored(w, node.args[0])
    n, room, b = factors.size, _room(w, factors.size, factors.size), w.b

    def body(where: Indices) -> None:
        x = _matrix(target, flat(where, factors.batch), n, n)
        flaw = b.load(factors.flaws, flat(where, factors.batch))
        with b.loop(0, n) as i, b.loop(0, n) as j:
            b.store(target, x.at(i, j), b.add(b.select(b.equal(i, j), 1.0, 0.0), flaw))
        _solve(w, factors, where, x, False, room)

    _each(w, factors.batch, body)


def _solve(w: Reductions, factors: Factors, where: Indices, x: Matrix, transposed: bool, room: Room) -> None:
    """``x`` becomes the solution of ``A @ y = x``, or of ``A.T @ y = x``."""
    matrix, first = factors.at(where)
    b, lanes = w.b, 1 if x.columns == 1 else w.lanes
    if not transposed:
        permute_rows(b, lanes, x, factors.pivots, first, backwards=False)
        solve_triangle(b, w.lanes, matrix, x, lower=True, transposed=False, unit=True, room=room)
        solve_triangle(b, w.lanes, matrix, x, lower=False, transposed=False, unit=False, room=room)
    else:
        solve_triangle(b, w.lanes, matrix, x, lower=False, transposed=True, unit=False, room=room)
        solve_triangle(b, w.lanes, matrix, x, lower=True, transposed=True, unit=True, room=room)
        permute_rows(b, lanes, x, factors.pivots, first, backwards=True)


def _right_hand_sides(node: Expr) -> tuple[Shape, Dim]:
    """(the shape of the stack of results, how many columns each has)."""
    return (node.shape[:-1], 1) if node.params["vector"] else (node.shape[:-2], node.shape[-1])


def _emit_solution(w: Reductions, node: Expr, target: Buffer) -> None:
    base, transposed = _untransposed(node.args[0])
    factors = _factored(w, base)
    batch, columns = _right_hand_sides(node)
    room, b, rhs = _room(w, factors.size, columns), w.b, node.args[1]

    def start(idx: Indices) -> Operand:
        at = w.aligned_shape(factors.batch, batch, idx[: len(batch)])
        return b.add(w.value_at(rhs, w.aligned_shape(rhs.shape, node.shape, idx)), b.load(factors.flaws, flat(at, factors.batch)))

    _start(w, node, target, start)

    def body(where: Indices) -> None:
        x = _matrix(target, flat(where, batch), factors.size, columns)
        _solve(w, factors, w.aligned_shape(factors.batch, batch, where), x, transposed, room)

    _each(w, batch, body)


def _start(w: Reductions, node: Expr, target: Buffer, value: Callable[[Indices], Operand]) -> None:
    """The right-hand sides, in the result's place."""
    place = Storage(target, row_major(node.shape))
    w.nest(node.shape, [1] * node.ndim, None, False, lambda points: w.store(node, place, points[0], value(points[0])))


def _emit_triangular(w: Reductions, node: Expr, target: Buffer) -> None:
    base, transposed = _untransposed(node.args[0])
    lower = node.params["lower"] != transposed
    n, own = base.shape[-1], base.shape[:-2]
    batch, columns = _right_hand_sides(node)
    room, rhs, storage = _room(w, n, columns), node.args[1], w.storage.get(base)
    if storage is not None and storage.strides == row_major(base.shape):
        triangle = storage.buffer
    else:
        triangle = w._scratch("triangle", "real", base.shape)
        _fill(w, base, triangle, lambda idx: w.value_at(base, idx))
    _start(w, node, target, lambda idx: w.value_at(rhs, w.aligned_shape(rhs.shape, node.shape, idx)))

    def body(where: Indices) -> None:
        t = _matrix(triangle, flat(w.aligned_shape(own, batch, where), own), n, n)
        x = _matrix(target, flat(where, batch), n, columns)
        solve_triangle(w.b, w.lanes, t, x, lower=lower, transposed=transposed, unit=False, room=room)

    _each(w, batch, body)


# --- determinants ----------------------------------------------------------------------------------


def _along_diagonal(w: Reductions, node: Expr, target: Buffer, start: float, join: Callable[[Register, Value, Value], None]) -> None:
    """One number a matrix. ``join`` takes a pivot and whether rows changed places."""
    base, _ = _untransposed(node.args[0])
    factors = _factored(w, base)
    b = w.b

    def body(where: Indices) -> None:
        matrix, first = factors.at(where)
        total = b.define("total", start)
        with b.loop(0, factors.size) as k:
            changed = b.not_equal(b.load(factors.pivots, first + k), k)
            join(total, b.load(matrix.buffer, matrix.at(k, k)), changed)
        b.store(target, flat(where, factors.batch), b.read(total))

    _each(w, factors.batch, body)


def _emit_det(w: Reductions, node: Expr, target: Buffer) -> None:
    b = w.b
    _along_diagonal(
        w, node, target, 1.0, lambda total, pivot, changed: b.assign(total, b.mul(b.read(total), b.select(changed, b.neg(pivot), pivot)))
    )


def _emit_logdet(w: Reductions, node: Expr, target: Buffer) -> None:
    b = w.b
    _along_diagonal(w, node, target, 0.0, lambda total, pivot, changed: b.assign(total, b.add(b.read(total), b.log(b.abs(pivot)))))


def _emit_sign(w: Reductions, node: Expr, target: Buffer) -> None:
    b = w.b

    def join(total: Register, pivot: Value, changed: Value) -> None:
        sign = b.select(b.equal(pivot, 0.0), 0.0, b.copysign(1.0, pivot))
        sign = b.select(b.isnan(pivot), pivot, sign)
        b.assign(total, b.mul(b.read(total), b.select(changed, b.neg(sign), sign)))

    _along_diagonal(w, node, target, 1.0, join)


# --- Cholesky --------------------------------------------------------------------------------------


def _emit_cholesky(w: Reductions, node: Expr, target: Buffer) -> None:
    (a,) = node.args
    batch, n = node.shape[:-2], node.shape[-1]
    room = _room(w, n, None)

    def symmetric(idx: Indices) -> Operand:
        turned = (*idx[:-2], idx[-1], idx[-2])
        return w.b.mul(w.b.add(w.value_at(a, idx), w.value_at(a, turned)), 0.5)

    _start(w, node, target, symmetric)
    _each(w, batch, lambda where: factor_cholesky(w.b, w.lanes, _matrix(target, flat(where, batch), n, n), room))


_EMIT: dict[str, Callable[[Reductions, Expr, Buffer], None]] = {
    "inv": _emit_inverse, "solve": _emit_solution, "solve_triangular": _emit_triangular, "det": _emit_det, "logdet": _emit_logdet,
    "signdet": _emit_sign, "cholesky": _emit_cholesky,
}  # fmt: skip
