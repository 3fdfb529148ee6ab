"""A pass over the batch in threads: each takes whole chunks and sums of its own, which are added up in the threads' order.

So the result depends on how many threads there are, not on how they run. A pass with too little to do is left to one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from symgrad import dims
from symgrad.dims import Dim
from symgrad.expr import Expr
from symgrad.loops import Index, Value
from symgrad.loops.instructions import INSTRUCTIONS
from symgrad.schedule.batch import contract_letters
from symgrad.schedule.outer import OuterProducts
from symgrad.schedule.storage import Storage, row_major
from symgrad.schedule.values import Indices

__all__ = ["Threads"]

WORTH = 40_000  # vector operations from which on a pass is given to threads: some ten microseconds, several times what waking them costs


class Threads(OuterProducts):
    """Splits a pass."""

    @contextmanager
    def in_threads(self, summed: Sequence[Expr]) -> Iterator[tuple[Index | None, Value | None]]:
        """Inside, each thread writes its part of a pass; gives the first sample and the end of that part.

        ``summed``: the nodes that the pass adds up over the batch.
        """
        if self.threads == 1:
            yield None, None
            return
        assert self.plan is not None
        b, dim = self.b, self.plan.dim
        chunks = b.index(dims.divide(dims.add(dim, self.chunk - 1), self.chunk))
        worth = b.greater_equal(b.mul(b.index(dim), self._work()), WORTH * self.lanes)
        workers = b.select(b.and_(worth, b.greater_equal(chunks, self.threads)), self.threads, 1)
        places = {node: self.written[node] for node in summed}
        own = {node: [self._own(node)] for node in summed}
        with b.loop(0, workers, parallel=self.threads) as worker, self.scope():
            self.worker = worker
            self.written.update(own)
            first = b.mul(b.floordiv(b.mul(chunks, worker), workers), self.chunk)
            last = b.mul(b.floordiv(b.mul(chunks, b.add(worker, 1)), workers), self.chunk)
            yield Index.of(first), b.minimum(last, b.index(dim))
            self.written.update(places)
            self.worker = None
        shared = b.greater(workers, 1)
        for node in summed:
            self._join_threads(node, own[node][0], places[node], shared)

    def _own(self, node: Expr) -> Storage:
        """Where each thread adds up a node."""
        size = dims.total(node.shape)
        buffer = self._scratch("p", node.kind, (dims.multiply(size, self.threads),))
        return Storage(buffer, row_major(node.shape), share=size)

    def _join_threads(self, node: Expr, own: Storage, places: Sequence[Storage], shared: Value) -> None:
        """One thread's sums, or the first's plus the second's, and so on."""
        b, size = self.b, dims.total(node.shape)
        b.comment(f"the threads' parts of {node.op.name} {dims.format_shape(node.shape)}")

        def write(count: int) -> None:
            def body(points: list[Indices]) -> None:
                ((at,),) = points
                total: Value | None = None
                for worker in range(count):
                    flat = at + dims.multiply(own.share, worker)
                    part = b.load(own.buffer, flat, 1 if self.lane is None else self.lanes, self.mask)
                    total = part if total is None else b.convert(self._join(node, total, part), node.kind)
                assert total is not None
                for place in places:
                    b.store(place.buffer, at, total, self.mask)

            wide = self.lanes > 1 and (not isinstance(size, int) or size >= self.lanes // 2)
            self.nest([size], [1], 0 if wide else None, False, body)

        with b.branch(shared) as alone:
            write(self.threads)
        with b.into(alone):
            write(1)

    def _work(self) -> int:
        """Operations a sample, roughly."""
        assert self.plan is not None
        total = 1
        for group in self.groups:
            for node in group.members:
                if node in self.plan.axis or node in self.plan.crossing:
                    total += self._operations(node)
        return total

    def _operations(self, node: Expr) -> int:
        assert self.plan is not None
        sizes: dict[object, Dim] = {}
        if node.op.name == "contract":
            letters = contract_letters(node)
            for a, text in zip(node.args, letters, strict=False):
                sizes.update((c, d) for k, (c, d) in enumerate(zip(text, a.shape, strict=True)) if self.plan.axis.get(a) != k)
        else:
            large = max((node, *node.args), key=lambda a: (a in self.plan.axis, a.ndim))  # type: ignore[union-attr]
            sizes.update((k, d) for k, d in enumerate(large.shape) if self.plan.axis.get(large) != k)
        count = dims.total(sizes.values())
        cost = INSTRUCTIONS[node.op.name].cost if node.op.name in INSTRUCTIONS else 1.0
        return int(cost * count) if isinstance(count, int) else 1
