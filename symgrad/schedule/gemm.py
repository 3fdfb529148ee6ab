"""Contractions that are matrix products by themselves, as BLAS has them: ``C = alpha * op(A) @ op(B) + beta * C``."""

from __future__ import annotations

from symgrad import dims
from symgrad.dims import Dim
from symgrad.expr import Expr
from symgrad.loops import Gemm, Index, Operand
from symgrad.schedule.matrices import read_as_matrices
from symgrad.schedule.storage import Storage
from symgrad.schedule.values import Values

__all__ = ["emit_gemm"]


def emit_gemm(w: Values, node: Expr) -> None:
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

    def call(at: Index) -> None:
        def matrix(storage: Storage, rows: Dim, columns: Dim, transposed: bool) -> tuple[object, Index, Index]:
            offset = at * dims.multiply(rows, columns)
            return storage.buffer, offset, Index.of(rows if transposed else columns)

        a = matrix(sa, size["m"], size["k"], shape.transpose_a)
        b = matrix(sb, size["k"], size["n"], shape.transpose_b)
        m, n = Index.of(size["m"]), Index.of(size["n"])
        ta, tb = shape.transpose_a, shape.transpose_b
        if shape.swapped:  # C.T = B.T @ A.T
            c = matrix(target, size["n"], size["m"], False)
            w.b.emit(Gemm(n, m, Index.of(size["k"]), alpha, b, not tb, a, not ta, beta, c))  # type: ignore[arg-type]
        else:
            c = matrix(target, size["m"], size["n"], False)
            w.b.emit(Gemm(m, n, Index.of(size["k"]), alpha, a, ta, b, tb, beta, c))  # type: ignore[arg-type]

    if shape.batch:
        with w.b.loop(0, size["batch"]) as position:
            call(Index.of(position))
    else:
        call(Index())
    for other in others:
        w.copy(target, other, node.shape)
