"""Contractions that are matrix products by themselves, as BLAS has them: ``C = alpha * op(A) @ op(B) + beta * C``."""

from __future__ import annotations

from dataclasses import replace

from symgrad import dims
from symgrad.dims import Dim
from symgrad.expr import Expr
from symgrad.loops import Buffer, Gemm, Index, Operand, Value
from symgrad.schedule.matrices import read_as_matrices
from symgrad.schedule.storage import Storage
from symgrad.schedule.threads import Threads

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
            alpha = update.sign if update.scale is None else w.b.mul(w.b.constant(w.value_at(update.scale, ()), "real"), update.sign)
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
        _emit_in_parts(w, product(Index()), size["n" if shape.swapped else "m"], size["m" if shape.swapped else "n"], w.workers(work))
    for other in others:
        w.copy(target, other, node.shape)


def _emit_in_parts(w: Threads, whole: Gemm, m: Dim, n: Dim, workers: Value | int) -> None:
    """One product, or rows or columns of it in each thread, whichever there are more of: so little is packed twice.

    An element of the result is computed as it is without threads, so the bits do not depend on them.
    """
    b = w.b
    if workers == 1:
        b.emit(whole)
        return
    rows, columns = b.index(m), b.index(n)
    tall = b.greater_equal(rows, columns)
    unit = b.select(tall, ROW_BLOCK, COLUMN_VECTORS * w.lanes)
    units = b.floordiv(b.sub(b.add(b.maximum(rows, columns), unit), 1), unit)
    with b.loop(0, b.minimum(units, workers), parallel=w.threads) as worker, w.scope():
        count = b.minimum(units, workers)
        first, end = (b.mul(b.floordiv(b.mul(units, k), count), unit) for k in (worker, b.add(worker, 1)))
        top, bottom = b.select(tall, first, 0), b.select(tall, b.minimum(end, rows), rows)
        left, right = b.select(tall, 0, first), b.select(tall, columns, b.minimum(end, columns))
        part = replace(
            whole, m=Index.of(b.sub(bottom, top)), n=Index.of(b.sub(right, left)),
            a=_moved(w, whole.a, top, whole.transpose_a), b=_moved(w, whole.b, left, not whole.transpose_b),
            c=_moved(w, _moved(w, whole.c, top, False), left, True),
        )  # fmt: skip
        b.emit(part)


def _moved(w: Threads, matrix: tuple[Buffer, Index, Index], by: Value, along: bool) -> tuple[Buffer, Index, Index]:
    """The matrix that begins so many rows later, or columns (``along`` its rows)."""
    buffer, offset, leading = matrix
    return buffer, offset + (by if along else w.b.mul(by, w.b.index(leading))), leading
