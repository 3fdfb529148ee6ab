"""Matrix products of our own, as loop programs: what a library's blocking leaves on the table for small and middle sizes.

One block of ``C`` stays in registers while the inner size passes: a few rows times two vectors, so that a step
costs two loads and, per row, one broadcast for two fused multiply-adds (the register blocking of Goto and van de
Geijn, "Anatomy of high-performance matrix multiplication", ACM TOMS 34(3), 2008). ``A`` is read where it is, unless it is
stored transposed: then the rows of a block are a stride apart at every step, which few sets of a cache hold, and are packed side
by side (six gradients of 512 x 512 weights from 128 samples: 5.2 to 4.7 ms, from 32 samples 1.9 to 1.5). ``B`` is read where it is
where few rows pass; else it is packed, a panel of two vectors' width at a time. One that is stored transposed always is,
since lanes need its columns side by side, but for a row or two, where dot products along the inner size do.
The inner size is cut so that a panel, and the rows of ``A`` beside it, stay in the second-level cache. Columns of a wide matrix are
a stride that the processor does not follow across pages, so the next panel and the block of ``C`` are asked for ahead (32 rows
times six matrices of 512 x 512, which no second-level cache holds: 2.0 to 1.6 ms, their updates 1.9 to 1.4).

Measured on one core, float32, Gflop/s at 64 x 128 x 784: with AVX-512 107 (OpenBLAS 85), with AVX2 104 (OpenBLAS 67).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

from symgrad.loops import Buffer, Builder, Index, Program, Register, Value

__all__ = ["FEW_ROWS", "PREFIX", "product_program"]

PREFIX = "symgrad_product_"  # of the functions' names
FEW_ROWS = 32  # fewer do not pay for packing B
SINGLE_ROWS = 3  # fewer do not pay for turning it
INNER = 256  # the inner size that is passed at once
ROWS = 240  # rows of A that pass beside a panel
TURNED_ROWS = 96  # the same where they are packed, too, on the stack: a thread's may be half a megabyte
EDGE = 4  # rows of a block where no whole one is left; fewer than these are computed, too, and not stored
VECTORS = 2  # of columns in a block


@lru_cache(maxsize=16)
def product_program(lanes: int, registers: int, transpose_a: bool, transpose_b: bool, packed: bool) -> Program:
    """``c = alpha * op(a) @ op(b) + beta * c``, row-major. ``registers``: vectors that the processor holds.
    ``packed``: B is copied into panels (a transposed one always is).

    Arguments: a, b, c, and "scale": alpha and beta. Sizes: m, n, k, the row strides lda, ldb, ldc, and those of the arrays.
    """
    return _Product(lanes, registers, transpose_a, transpose_b, packed or transpose_b).program()


class _Product:
    def __init__(self, lanes: int, registers: int, transpose_a: bool, transpose_b: bool, packed: bool) -> None:
        self.lanes, self.wide, self.transpose_a, self.transpose_b, self.packed = lanes, VECTORS * lanes, transpose_a, transpose_b, packed
        self.rows = 12 if registers >= 32 else 6  # 24 accumulators of 32 registers, or 12 of 16
        self.b = Builder()
        self.left, self.right, self.result = (
            Buffer(name, "real", (f"{name}_size",), role) for name, role in (("a", "input"), ("b", "input"), ("c", "inout"))
        )
        self.scale = Buffer("scale", "real", (2,), "input")
        self.panel = Buffer("panel", "real", (INNER * self.wide,), "scratch")
        self.turned = Buffer("turned", "real", (INNER * TURNED_ROWS,), "scratch")
        self.most = TURNED_ROWS if transpose_a else ROWS

    def program(self) -> Program:
        b = self.b
        self.alpha, self.beta = b.load(self.scale, 0), b.load(self.scale, 1)
        if self.transpose_b and not self.transpose_a:
            with b.branch(b.less(b.index("m"), SINGLE_ROWS)) as more:
                self._dot_products()
            with b.into(more):
                self._blocked()
        else:
            self._blocked()
        scratch = (self.panel,) * self.packed + (self.turned,) * self.transpose_a
        sizes = ("m", "n", "k", "lda", "ldb", "ldc", "a_size", "b_size", "c_size")
        return Program("product", (self.left, self.right, self.result, self.scale), scratch, sizes, b.body)

    # --- a row or two, with rows of a transposed b ---

    def _dot_products(self) -> None:
        """Four dot products at a time, lanes along the inner size; behind the last column, the last column again."""
        b = self.b
        last = b.sub(b.index("n"), 1)
        adds = b.not_equal(self.beta, 0.0)
        with b.loop(0, "m") as row, b.loop(0, "n", 4) as column:
            columns = [b.minimum(b.add(column, j), last) for j in range(4)]
            starts = [b.index(Index.of(j) * "ldb") for j in columns]
            sums = [b.define("sum", 0.0, "real", self.lanes) for _ in columns]
            with b.loop(0, "k", self.lanes) as at:
                mask = b.less(b.iota(self.lanes), b.sub(b.index("k"), at))
                left = b.load(self.left, Index.of(row) * "lda" + at, self.lanes, mask)
                for start, register in zip(starts, sums, strict=True):
                    right = b.load(self.right, Index.of(start) + at, self.lanes, mask)
                    b.assign(register, b.fma(left, right, b.read(register)))
            places = [Index.of(row) * "ldc" + j for j in columns]
            old = [b.load(self.result, place, 1, adds) for place in places]  # before any is stored: the last may be there twice
            for place, before, register in zip(places, old, sums, strict=True):
                b.store(self.result, place, b.fma(before, self.beta, b.mul(b.reduce("add", b.read(register)), self.alpha)))

    # --- blocks ---

    def _blocked(self) -> None:
        b = self.b
        with b.loop(0, b.maximum(b.index("k"), 1), INNER) as self.first:  # also where nothing is summed: c becomes beta * c
            self.count = b.minimum(b.sub(b.index("k"), self.first), INNER)
            self.kept = b.select(b.equal(self.first, 0), self.beta, 1.0)  # the share of c that stays
            self.adds = b.not_equal(self.kept, 0.0)
            # of a short inner size several panels fit into the room of one: rows of c are passed in longer runs
            self.depth = b.maximum(self.count, 1)
            if self.transpose_b:  # whole vectors of it are turned
                self.depth = b.mul(b.floordiv(b.add(self.depth, self.lanes - 1), self.lanes), self.lanes)
            run = b.mul(b.floordiv(INNER, self.depth), self.wide) if self.packed else b.index(self.wide)
            with b.loop(0, "m", self.most) as self.top:
                self.bottom = b.minimum(b.add(self.top, self.most), b.index("m"))
                if self.transpose_a:
                    self._pack_left()
                with self._runs(run) as (self.begin, end):
                    if self.packed:
                        with b.loop(self.begin, end, self.wide) as column:
                            (self._pack_turned if self.transpose_b else self._pack)(column, self._room(column))
                    self._rows(end)

    @contextmanager
    def _runs(self, run: Value) -> Iterator[tuple[Value, Value]]:
        """Columns from where to where, as many as a run has."""
        b = self.b
        with b.loop(0, b.floordiv(b.sub(b.add(b.index("n"), run), 1), run)) as number:
            first = b.mul(number, run)
            yield first, b.minimum(b.add(first, run), b.index("n"))

    def _room(self, column: Value) -> Index:
        """Where the panel of some columns begins."""
        return Index.of(self.b.mul(self.b.sub(column, self.begin), self.depth))

    def _masks(self, left: Value) -> list[Value]:
        """Which columns there are, in each vector."""
        return [self.b.less(self.b.iota(self.lanes), self.b.sub(left, vector * self.lanes)) for vector in range(VECTORS)]

    def _pack_left(self) -> None:
        """Lays the rows of a block side by side, whose columns are stored a stride apart, an inner index after the other."""
        b, strip = self.b, 8  # of the inner size: so many rows are read, and a run of them written
        with b.loop(0, self.count, strip) as first, b.loop(self.top, self.bottom, self.rows) as row:
            left = b.sub(self.bottom, row)
            place = b.mul(b.sub(row, self.top), INNER)
            with b.loop(first, b.minimum(b.add(first, strip), self.count)) as at:
                for begin in range(0, self.rows, self.lanes):
                    mask = b.less(b.iota(self.lanes), b.minimum(b.sub(left, begin), self.rows - begin))
                    found = b.load(self.left, (Index.of(at) + self.first) * "lda" + row + begin, self.lanes, mask)
                    b.store(self.turned, Index.of(at) * self.rows + place + begin, found, mask)

    def _pack(self, column: Value, room: Index) -> None:
        masks = self._masks(self.b.sub(self.b.index("n"), column))
        with self.b.loop(0, self.count) as at:
            for ahead in range(self.wide, 2 * self.wide, self.lanes):  # the next panel
                self.b.prefetch(self.right, (Index.of(at) + self.first) * "ldb" + column + ahead)
            for vector, mask in enumerate(masks):
                found = self.b.load(self.right, (Index.of(at) + self.first) * "ldb" + column + vector * self.lanes, self.lanes, mask)
                self.b.store(self.panel, room + Index.of(at) * self.wide + vector * self.lanes, found)

    def _pack_turned(self, column: Value, room: Index) -> None:
        """Lays ``lanes`` rows of the stored matrix side by side; rows behind the last one are the last one, and never stored."""
        b, lanes = self.b, self.lanes
        last = b.sub(b.index("n"), 1)
        with b.loop(0, self.wide, lanes) as part:
            rows = [b.minimum(b.index(Index.of(column) + part + k), last) for k in range(lanes)]
            starts = [b.index(Index.of(row) * "ldb" + self.first) for row in rows]
            with b.loop(0, self.count, lanes) as at:
                mask = b.less(b.iota(lanes), b.sub(self.count, at))
                for k, turned in enumerate(b.transpose([b.load(self.right, Index.of(start) + at, lanes, mask) for start in starts])):
                    b.store(self.panel, room + Index.of(at) * self.wide + part + k * self.wide, turned)

    def _rows(self, end: Value) -> None:
        """All rows of a run of columns."""
        b = self.b
        whole = b.add(self.top, b.mul(b.floordiv(b.sub(self.bottom, self.top), self.rows), self.rows))
        with b.loop(self.top, whole, self.rows) as row:
            self._columns([b.index(Index.of(row) + r) for r in range(self.rows)], end, edge=False)
        last = b.sub(self.bottom, 1)
        with b.loop(whole, self.bottom, EDGE) as row:
            self._columns([b.minimum(b.index(Index.of(row) + r), last) for r in range(EDGE)], end, edge=True)

    def _columns(self, rows: list[Value], end: Value, edge: bool) -> None:
        """Some rows of a run of columns, a panel at a time; the last may have one vector only."""
        b = self.b
        starts = [self._start(row) for row in rows]
        with b.loop(self.begin, end, self.wide) as column:
            left = b.sub(b.index("n"), column)
            self.whole = b.greater_equal(left, self.wide)
            masks = self._masks(left)
            with b.branch(b.greater(left, self.lanes)) as narrow:
                self._block(rows, starts, column, masks, edge)
            with b.into(narrow):
                self._block(rows, starts, column, masks[:1], edge)

    def _start(self, row: Value) -> Index:
        """Where a row of A begins."""
        b = self.b
        if not self.transpose_a:
            return Index.of(b.index(Index.of(row) * "lda"))
        inside = b.sub(row, self.top)
        block = b.mul(b.floordiv(inside, self.rows), self.rows)
        return Index.of(b.add(b.mul(block, INNER), b.sub(inside, block)))

    def _block(self, rows: list[Value], starts: list[Index], column: Value, masks: list[Value], edge: bool) -> None:
        """One block of c, in registers while the inner size passes."""
        b, lanes = self.b, self.lanes
        sums = [[b.define("sum", 0.0, "real", lanes) for _ in masks] for _ in rows]
        room = self._room(column)
        with b.branch(self.adds):
            for row in rows:
                for begin in range(0, len(masks) * lanes, lanes):
                    b.prefetch(self.result, Index.of(row) * "ldc" + column + begin, write=True)
        with b.loop(0, self.count) as at:
            inner = Index.of(at) + self.first
            right = [self._right(at, inner, column, room, vector, mask) for vector, mask in enumerate(masks)]
            matrix, moved = (self.turned, Index.of(at) * self.rows) if self.transpose_a else (self.left, inner)
            for start, registers in zip(starts, sums, strict=True):
                left = b.spread(b.load(matrix, moved + start), lanes)
                for register, vector in zip(registers, right, strict=True):
                    b.assign(register, b.fma(left, vector, b.read(register)))
        with b.branch(self.whole) as part:
            self._store(rows, column, sums, [None] * len(masks), edge)
        with b.into(part):
            self._store(rows, column, sums, list(masks), edge)

    def _right(self, at: Value, inner: Index, column: Value, room: Index, vector: int, mask: Value) -> Value:
        if self.packed:
            return self.b.load(self.panel, room + Index.of(at) * self.wide + vector * self.lanes, self.lanes)
        return self.b.load(self.right, inner * "ldb" + column + vector * self.lanes, self.lanes, mask)

    def _store(self, rows: list[Value], column: Value, sums: list[list[Register]], masks: list[Value | None], edge: bool) -> None:
        """``c = alpha * sums + kept * c``; at the edge, the last row may be there more than once, and is read before it is stored."""
        b = self.b
        values = []
        for row, registers in zip(rows, sums, strict=True):
            for vector, (register, mask) in enumerate(zip(registers, masks, strict=True)):
                place = Index.of(row) * "ldc" + column + vector * self.lanes
                asked = b.spread(self.adds, self.lanes) if mask is None else b.and_(mask, self.adds)
                value = b.fma(b.load(self.result, place, self.lanes, asked), self.kept, b.mul(b.read(register), self.alpha))
                values.append((place, value, mask))
                if not edge:
                    b.store(self.result, *values.pop())
        for place, value, mask in values:
            b.store(self.result, place, value, mask)
