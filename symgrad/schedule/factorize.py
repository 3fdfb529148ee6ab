"""Matrices taken apart, as loops: LU with partial pivoting, Cholesky factors, triangular systems.

All go from block to block of :data:`BLOCK` rows: what is inside one is done by loops, with lanes along rows of the matrix or
along right-hand sides, and what it changes outside of it is one matrix product (Golub and Van Loan, "Matrix computations",
4th edition, algorithms 3.4.1, 3.2.1 (blocked) and 4.2.3). Matrices of fixed size that fit into a block are loops alone.

A number ``flaw`` goes beside each factor: 0, or NaN for a matrix that is singular or not positive definite.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import nan

from symgrad import dims
from symgrad.dims import Dim
from symgrad.loops import Buffer, Builder, Gemm, Index, Operand, Register, Value

__all__ = ["BLOCK", "Matrix", "Room", "factor_cholesky", "factor_lu", "needs_room", "permute_rows", "solve_triangle"]

BLOCK = 32  # rows: LAPACK's block; a block of doubles times 32 columns is a quarter of the first-level cache
VECTORS = 4  # of right-hand sides solved for together: as many additions are under way


@dataclass(frozen=True)
class Matrix:
    """Where a row-major matrix is: element (i, j) at ``base + i*columns + j`` of a buffer."""

    buffer: Buffer
    base: Index
    rows: Dim
    columns: Dim

    def at(self, i: Value | Index | int, j: Value | Index | int) -> Index:
        return self.base + Index.of(i) * self.columns + j


@dataclass(frozen=True)
class Room:
    """Scratch of (size, BLOCK) and (BLOCK, columns) elements for the factors of a product: it may not read what it writes."""

    left: Buffer | None
    top: Buffer | None


def needs_room(size: Dim) -> bool:
    """Whether a matrix has several blocks, or may have."""
    return not isinstance(size, int) or size > BLOCK


class Loops:
    """Loops over rows and vectors, for one program."""

    def __init__(self, b: Builder, lanes: int) -> None:
        self.b, self.lanes = b, lanes

    def along(self, start: Index | Value | int, stop: Index | Value | Dim, body: Callable[[Value, Value | None], None]) -> None:
        """A vector at a time from ``start`` on, the last one masked."""
        b = self.b
        with b.loop(Index.of(start), Index.of(stop), self.lanes) as j:
            body(j, None if self.lanes == 1 else b.less(b.iota(self.lanes), b.sub(b.index(stop), j)))

    def load(self, m: Matrix, i: Value | Index | int, j: Value | Index | int, mask: Value | None) -> Value:
        return self.b.load(m.buffer, m.at(i, j), self.lanes, mask)

    def element(self, m: Matrix, i: Value | Index | int, j: Value | Index | int) -> Value:
        return self.b.load(m.buffer, m.at(i, j))

    def minus_multiple(self, m: Matrix, target: Value, source: Value, factor: Value, start: Value, stop: Value | Dim) -> None:
        """``row[target] -= factor*row[source]``, in columns ``start`` to ``stop``."""
        b = self.b
        minus = b.spread(b.neg(factor), self.lanes)

        def body(j: Value, mask: Value | None) -> None:
            value = b.fma(minus, self.load(m, source, j, mask), self.load(m, target, j, mask))
            b.store(m.buffer, m.at(target, j), value, mask)

        self.along(start, stop, body)

    def swap_rows(self, m: Matrix, i: Value, k: Value) -> None:
        b = self.b

        def body(j: Value, mask: Value | None) -> None:
            first, second = self.load(m, i, j, mask), self.load(m, k, j, mask)
            b.store(m.buffer, m.at(i, j), second, mask)
            b.store(m.buffer, m.at(k, j), first, mask)

        with b.branch(b.not_equal(i, k)):
            self.along(0, m.columns, body)

    def copy(self, source: Matrix, rows: tuple[Value, Value], columns: tuple[Value, Value], target: Buffer, width: Dim) -> None:
        """A part of a matrix, from the target's beginning on, in rows of ``width`` elements."""
        b = self.b
        with b.loop(rows[0], rows[1]) as i:
            row = Index.of(b.sub(i, rows[0])) * width

            def body(j: Value, mask: Value | None) -> None:
                b.store(target, row + b.sub(j, columns[0]), self.load(source, i, j, mask), mask)

            self.along(columns[0], columns[1], body)

    @contextmanager
    def blocks(self, size: Dim, backwards: bool = False) -> Iterator[tuple[Value, Value]]:
        """The first row of each block, and the one behind the last."""
        b = self.b
        if not needs_room(size):
            yield b.index(0), b.index(size)
            return
        count = dims.divide(dims.add(size, BLOCK - 1), BLOCK)
        with b.loop(0, count) as k:
            number = b.sub(b.sub(b.index(count), 1), k) if backwards else k
            first = b.mul(number, BLOCK)
            yield first, b.minimum(b.add(first, BLOCK), b.index(size))

    @contextmanager
    def rows(self, first: Value, last: Value, backwards: bool = False) -> Iterator[Value]:
        b = self.b
        if not backwards:
            with b.loop(first, last) as k:
                yield k
            return
        with b.loop(0, b.sub(last, first)) as k:
            yield b.sub(b.sub(last, 1), k)


# --- LU --------------------------------------------------------------------------------------------


def factor_lu(b: Builder, lanes: int, m: Matrix, pivots: Buffer, first_pivot: Index, room: Room) -> Value:
    """``P @ A = L @ U`` in place, L below the diagonal (its own is 1); row k changed places with row ``pivots[k]``. The flaw."""
    loops = Loops(b, lanes)
    n = m.columns
    flaw = b.define("flaw", 0.0)
    with loops.blocks(n) as (first, last):
        with b.loop(first, last) as k:
            row = _largest_below(loops, m, k)
            b.store(pivots, first_pivot + k, row)
            loops.swap_rows(m, k, row)
            pivot = loops.element(m, k, k)
            zero = b.equal(pivot, 0.0)
            b.assign(flaw, b.select(zero, nan, b.read(flaw)))
            divisor = b.select(zero, 1.0, pivot)
            with b.loop(b.add(k, 1), n) as i:
                factor = b.div(loops.element(m, i, k), divisor)
                b.store(m.buffer, m.at(i, k), factor)
                loops.minus_multiple(m, i, k, factor, b.add(k, 1), last)
        if needs_room(n):
            _eliminate_right(loops, m, first, last, room)
    return b.read(flaw)


def _largest_below(loops: Loops, m: Matrix, k: Value) -> Value:
    """The row, from k on, with the largest element in column k: the first of equals."""
    b = loops.b
    best, row = b.define("best", b.abs(loops.element(m, k, k))), b.define("row", k)
    with b.loop(b.add(k, 1), m.rows) as i:
        size = b.abs(loops.element(m, i, k))
        larger = b.greater(size, b.read(best))
        b.assign(best, b.select(larger, size, b.read(best)))
        b.assign(row, b.select(larger, i, b.read(row)))
    return b.read(row)


def _eliminate_right(loops: Loops, m: Matrix, first: Value, last: Value, room: Room) -> None:
    """What the columns of a block do to the columns right of it."""
    b, n = loops.b, m.columns
    assert room.left is not None and room.top is not None
    with b.loop(first, last) as k, b.loop(b.add(k, 1), last) as i:
        loops.minus_multiple(m, i, k, loops.element(m, i, k), last, n)
    end, rest, width = b.index(n), b.sub(b.index(n), last), b.sub(last, first)
    with b.branch(b.greater(rest, 0)):
        loops.copy(m, (last, end), (first, last), room.left, BLOCK)
        loops.copy(m, (first, last), (last, end), room.top, n)
        left, top = (room.left, Index(), Index.of(BLOCK)), (room.top, Index(), Index.of(n))
        target = (m.buffer, m.at(last, last), Index.of(n))
        b.emit(Gemm(Index.of(rest), Index.of(rest), Index.of(width), -1.0, left, False, top, False, 1.0, target))


def permute_rows(b: Builder, lanes: int, x: Matrix, pivots: Buffer, first_pivot: Index, backwards: bool) -> None:
    """Rows change places as those of the factored matrix did (``backwards``: back again)."""
    loops = Loops(b, lanes)
    with loops.rows(b.index(0), b.index(x.rows), backwards) as k:
        loops.swap_rows(x, k, b.load(pivots, first_pivot + k))


# --- triangular systems ----------------------------------------------------------------------------


def solve_triangle(b: Builder, lanes: int, t: Matrix, x: Matrix, *, lower: bool, transposed: bool, unit: bool, room: Room) -> None:
    """``x`` becomes the solution of ``T @ y = x``, T a triangle of ``t`` or its transpose. ``unit``: its diagonal is 1."""
    single = x.columns == 1
    loops = Loops(b, 1 if single else lanes)
    backwards = lower == transposed
    with loops.blocks(t.columns, backwards) as (first, last):
        with loops.rows(first, last, backwards) as i:
            known = (b.add(i, 1), last) if backwards else (first, i)
            _solve_row(loops, t, x, i, known, transposed, unit)
        if needs_room(t.columns):
            others = (b.index(0), first) if backwards else (last, b.index(t.rows))
            _subtract_known(loops, t, x, (first, last), others, transposed, room)


def _solve_row(loops: Loops, t: Matrix, x: Matrix, i: Value, known: tuple[Value, Value], transposed: bool, unit: bool) -> None:
    """One row of unknowns, from those of its block that are known: several vectors of right-hand sides at a time."""
    b, lanes = loops.b, loops.lanes
    diagonal = None if unit else b.spread(loops.element(t, i, i), lanes)
    vectors = min(VECTORS, -(-x.columns // lanes)) if isinstance(x.columns, int) else VECTORS
    if lanes == 1:  # which have no mask
        vectors = 1
    with b.loop(0, x.columns, vectors * lanes) as j:
        columns = [Index.of(j) + v * lanes for v in range(vectors)]
        masks = [None if lanes == 1 else b.less(b.iota(lanes), b.sub(b.index(x.columns), b.index(c))) for c in columns]
        sums: list[Register] = [b.define("sum", loops.load(x, i, c, mask)) for c, mask in zip(columns, masks, strict=True)]
        with b.loop(known[0], known[1]) as k:
            factor = b.spread(b.neg(loops.element(t, k, i) if transposed else loops.element(t, i, k)), lanes)
            for c, mask, total in zip(columns, masks, sums, strict=True):
                b.assign(total, b.fma(factor, loops.load(x, k, c, mask), b.read(total)))
        for c, mask, total in zip(columns, masks, sums, strict=True):
            value = b.read(total) if diagonal is None else b.div(b.read(total), diagonal)
            b.store(x.buffer, x.at(i, c), value, mask)


def _subtract_known(
    loops: Loops, t: Matrix, x: Matrix, block: tuple[Value, Value], others: tuple[Value, Value], transposed: bool, room: Room
) -> None:  # fmt: skip
    """The block's unknowns, now known, taken to the right-hand sides of the other rows."""
    b = loops.b
    assert room.top is not None
    count, width = b.sub(others[1], others[0]), b.sub(block[1], block[0])
    with b.branch(b.greater(count, 0)):
        loops.copy(x, block, (b.index(0), b.index(x.columns)), room.top, x.columns)
        place = t.at(block[0], others[0]) if transposed else t.at(others[0], block[0])
        factors, target = (t.buffer, place, Index.of(t.columns)), (x.buffer, x.at(others[0], 0), Index.of(x.columns))
        if x.columns == 1:  # one row times a matrix, which is quicker than a matrix times one column
            row, column = (room.top, Index(), Index.of(BLOCK)), (x.buffer, x.at(others[0], 0), Index.of(t.columns))
            b.emit(Gemm(Index.of(1), Index.of(count), Index.of(width), -1.0, row, False, factors, not transposed, 1.0, column))
        else:
            known = (room.top, Index(), Index.of(x.columns))
            b.emit(Gemm(Index.of(count), Index.of(x.columns), Index.of(width), -1.0, factors, transposed, known, False, 1.0, target))


# --- Cholesky --------------------------------------------------------------------------------------


def factor_cholesky(b: Builder, lanes: int, m: Matrix, room: Room) -> None:
    """The lower factor in place of a symmetric matrix, zeros above its diagonal; NaN throughout where there is none."""
    n = m.columns
    loops = Loops(b, 1 if isinstance(n, int) and n <= lanes else lanes)
    flaw = b.define("flaw", 0.0)
    with loops.blocks(n) as (first, last):
        with b.loop(first, last) as j:
            square = b.sub(loops.element(m, j, j), _dot(loops, m, j, j, first, j))
            b.assign(flaw, b.select(b.greater(square, 0.0), b.read(flaw), nan))
            root = b.sqrt(square)
            b.store(m.buffer, m.at(j, j), root)
            with b.loop(b.add(j, 1), n) as i:
                rest = b.sub(loops.element(m, i, j), _dot(loops, m, i, j, first, j))
                b.store(m.buffer, m.at(i, j), b.div(rest, root))
        if needs_room(n):
            assert room.left is not None
            end, rest_rows, width = b.index(n), b.sub(b.index(n), last), b.sub(last, first)
            with b.branch(b.greater(rest_rows, 0)):
                loops.copy(m, (last, end), (first, last), room.left, BLOCK)
                left, target = (room.left, Index(), Index.of(BLOCK)), (m.buffer, m.at(last, last), Index.of(n))
                size = Index.of(rest_rows)
                b.emit(Gemm(size, size, Index.of(width), -1.0, left, False, left, True, 1.0, target))
    _finish_triangle(b, m, b.read(flaw))


def _dot(loops: Loops, m: Matrix, i: Value, j: Value, start: Value, stop: Value) -> Operand:
    """The product of two rows, from column ``start`` to ``stop``."""
    b = loops.b
    total = b.define("sum", 0.0, "real", loops.lanes)

    def body(k: Value, mask: Value | None) -> None:
        b.assign(total, b.fma(loops.load(m, i, k, mask), loops.load(m, j, k, mask), b.read(total)))

    loops.along(start, stop, body)
    return b.reduce("add", b.read(total))


def _finish_triangle(b: Builder, m: Matrix, flaw: Value) -> None:
    with b.loop(0, m.rows) as i, b.loop(0, m.columns) as j:
        kept = b.select(b.greater(j, i), 0.0, b.load(m.buffer, m.at(i, j)))
        b.store(m.buffer, m.at(i, j), b.add(kept, flaw))
