"""Samples come in rows, one after another; a tile kernel wants them in lanes: a chunk is transposed on its way in."""

from __future__ import annotations

from collections.abc import Callable

from symgrad.dims import Dim
from symgrad.loops import Buffer, Index, Value
from symgrad.schedule.nests import Nests
from symgrad.schedule.storage import Storage

__all__ = ["pack_rows"]


def pack_rows(w: Nests, source: Buffer, row: Callable[[Index], Index | Value], inner: Dim, target: Storage, base: Index) -> None:
    """Copies the rows of a chunk's samples: element k of sample t goes to ``base + t + k * chunk``.

    ``row``: where the sample's row stands among the source's, for a position in the chunk. ``inner``: elements of a row.
    Lanes that hold no sample repeat the last one, or become zero.
    """
    assert w.count is not None and w.rounded is not None
    if source.kind == "real" and isinstance(inner, int) and inner >= w.lanes // 2 > 0:
        _pack_blocks(w, source, row, inner, target, base)
        return
    b = w.b
    with b.loop(0, w.count) as t:
        start = Index.of(row(Index.of(t))) * inner
        with b.loop(0, inner) as k:
            b.store(target.buffer, base + t + Index.of(k) * w.chunk, b.load(source, start + k))
    with b.loop(w.count, w.rounded) as t, b.loop(0, inner) as k:
        b.store(target.buffer, base + t + Index.of(k) * w.chunk, 0.0 if source.kind == "real" else 0)


def _pack_blocks(w: Nests, source: Buffer, row: Callable[[Index], Index | Value], inner: int, target: Storage, base: Index) -> None:
    """Blocks of lanes by lanes, transposed in registers."""
    b, lanes = w.b, w.lanes
    assert w.count is not None and w.rounded is not None
    with b.loop(0, w.rounded, lanes) as t:
        last = b.sub(w.count, 1)
        starts = [b.index(Index.of(row(Index.of(b.minimum(b.add(t, k), last)))) * inner) for k in range(lanes)]

        def block(at: Index, columns: int) -> None:
            mask = None if columns == lanes else b.less(b.iota(lanes), columns)
            turned = b.transpose([b.load(source, at + start, lanes, mask) for start in starts])
            for k, column in enumerate(turned[:columns]):
                b.store(target.buffer, base + t + (at + k) * w.chunk, column)

        whole = inner // lanes * lanes
        if whole:
            with b.loop(0, whole, lanes) as k:
                block(Index.of(k), lanes)
        if whole < inner:
            block(Index((), whole), inner - whole)
