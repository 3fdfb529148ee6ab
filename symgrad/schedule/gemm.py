"""Contractions that are matrix products by themselves, as BLAS has them: ``C = alpha * op(A) @ op(B) + beta * C``."""

from __future__ import annotations

from dataclasses import replace

from symgrad import dims
from symgrad.dims import Dim
from symgrad.expr import Expr
from symgrad.loops import Buffer, Gemm, Index, Operand, Value
from symgrad.schedule.matrices import read_as_matrices
from symgrad.schedule.storage import Storage
from symgrad.schedule.threads import DISTANT, Threads

__all__ = ["emit_gemm"]

ROW_BLOCK, COLUMN_VECTORS = 12, 2  # threads take multiples of these: the blocks that products have in registers


def emit_gemm(w: Threads, node: Expr) -> None:
    """One product (one a batch element), the result in the node's storage."""
    update = w.updates.get(node)
    shape = read_as_matrices(update.contract if update else node)
    assert shape is not None
    target, *others = w.written[node]
    alpha: Operand = 1.0
    if update is not None:
        source = w.storage[update.base]
        if source.buffer is not target.buffer:
            w.copy(source, target, node.shape)
        with w.scope():
            alpha = update.sign
            for scale in update.scales:
                alpha = w.b.mul(w.b.constant(w.value_at(scale, ()), "real"), alpha)
    beta = 0.0 if update is None else 1.0
    size = {name: dims.total(shape.sizes[c] for c in getattr(shape, name)) for name in ("batch", "m", "n", "k")}
    sa, sb = w.storage[shape.a], w.storage[shape.b]

    def matrix(storage: Storage, at: Index, rows: Dim, columns: Dim, transposed: bool) -> tuple[Buffer, Index, Index]:
        return storage.buffer, at * dims.multiply(rows, columns), Index.of(rows if transposed else columns)

    def product(at: Index) -> Gemm:
        m, n, k = (size[name] for name in "mnk")
        ta, tb = shape.transpose_a, shape.transpose_b
        left, right = matrix(sa, at, m, k, ta), matrix(sb, at, k, n, tb)
        if shape.swapped:  # C.T = B.T @ A.T
            m, n, left, right, ta, tb = n, m, right, left, not tb, not ta
        return Gemm(Index.of(m), Index.of(n), Index.of(k), alpha, left, ta, right, tb, beta, matrix(target, at, m, n, False))

    work = dims.total(size.values())
    if shape.batch:
        with w.shared_loop(Index(), Index.of(size["batch"]), 1, w.workers(work)) as position:
            w.b.emit(product(Index.of(position)))
    else:
        m, n = (size[name] for name in ("nm" if shape.swapped else "mn"))
        _emit_shared(w, product(Index()), m, n, size["k"], w.workers(work))
    for other in others:
        w.copy(target, other, node.shape)


def _emit_shared(w: Threads, whole: Gemm, m: Dim, n: Dim, k: Dim, workers: Value | int) -> None:
    """One product, or a part of it in each thread: the largest of its three sizes is cut.

    So the least travels between threads (Demmel et al., "Communication-optimal parallel recursive rectangular matrix multiplication",
    IPDPS 2013), and a layer's weights are cut along the same axis wherever they are read and updated: each thread's part of
    them stays with it. Of equal sizes it is the one that is a stored matrix's rows.
    """
    b = w.b
    if workers == 1:
        b.emit(whole)
        return
    over = [(m, whole.transpose_a), (n, not whole.transpose_b)]  # another size, and whether k is preferred to an equal one
    if all(isinstance(size, int) for size in (m, n, k)):
        summed = all(k > size or (k == size and preferred) for size, preferred in over)  # type: ignore[operator]
        (_emit_sums if summed else _emit_parts)(w, whole, m, n, workers)
        return
    larger = [(b.greater_equal if preferred else b.greater)(b.index(k), b.index(size)) for size, preferred in over]
    with b.branch(b.and_(*larger)) as parts, w.scope():
        _emit_sums(w, whole, m, n, workers)
    with b.into(parts), w.scope():
        _emit_parts(w, whole, m, n, workers)


def _emit_parts(w: Threads, whole: Gemm, m: Dim, n: Dim, workers: Value | int) -> None:
    """Rows or columns of a product in each thread, every element as one thread computes it."""
    b = w.b
    rows, columns = b.index(m), b.index(n)
    tall = b.greater_equal(rows, columns)
    unit = b.select(tall, ROW_BLOCK, COLUMN_VECTORS * w.lanes)
    with w.cut(b.maximum(rows, columns), unit, workers) as (_, first, end):
        top, bottom = b.select(tall, first, 0), b.select(tall, end, rows)
        left, right = b.select(tall, 0, first), b.select(tall, columns, end)
        part = replace(
            whole, m=Index.of(b.sub(bottom, top)), n=Index.of(b.sub(right, left)),
            a=_moved(w, whole.a, top, whole.transpose_a), b=_moved(w, whole.b, left, not whole.transpose_b),
            c=_moved(w, _moved(w, whole.c, top, False), left, True),
        )  # fmt: skip
        b.emit(part)


def _emit_sums(w: Threads, whole: Gemm, m: Dim, n: Dim, workers: Value | int) -> None:
    """A part of the inner size in each thread: sums of its own, which are added to the first one's in the threads' order."""
    b, size = w.b, dims.multiply(m, n)
    own = w._scratch("p", "real", (dims.multiply(size, w.threads - 1),))
    target, start, leading = whole.c
    with w.cut(b.index(whole.k), w.lanes, workers) as (worker, first, end):
        left, right = _moved(w, whole.a, first, not whole.transpose_a), _moved(w, whole.b, first, whole.transpose_b)
        part = replace(whole, k=Index.of(b.sub(end, first)), a=left, b=right)
        with b.branch(b.equal(worker, 0)) as others:
            b.emit(part)
        with b.into(others):
            b.emit(replace(part, beta=0.0, c=(own, Index.of(b.mul(b.sub(worker, 1), b.index(size))), leading)))
    with b.loop(1, w.parts(b.index(whole.k), w.lanes, workers)) as worker, w.scope():
        begin = b.mul(b.sub(worker, 1), b.index(size))

        def body(points: list[tuple[Index, ...]]) -> None:
            ((at,),) = points
            wide = 1 if w.lane is None else w.lanes
            old, part = (b.load(buffer, at + offset, wide, w.mask) for buffer, offset in ((target, start), (own, Index.of(begin))))
            b.store(target, at + start, b.add(old, part), w.mask)

        w.nest([size], [1], 0 if w.lanes > 1 else None, False, body, w.workers(dims.multiply(size, DISTANT)))


def _moved(w: Threads, matrix: tuple[Buffer, Index, Index], by: Value, along: bool) -> tuple[Buffer, Index, Index]:
    """The matrix that begins so many rows later, or columns (``along`` its rows)."""
    buffer, offset, leading = matrix
    return buffer, offset + (by if along else w.b.mul(by, w.b.index(leading))), leading
