"""Work in threads, where there is enough of it: matrix products, loop nests, and passes over the batch.

Of a nest each thread makes a part of the results, every element as one thread makes it; so it is of a product, unless what it
sums over is its longest side: then each sums a part. Of a pass over the batch each takes whole chunks and sums of its own. Sums are
added up in the threads' order. So the result depends on how many threads there are, not on how they run.
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
from symgrad.schedule.groups import REDUCERS, Group
from symgrad.schedule.outer import OuterProducts
from symgrad.schedule.storage import Storage, row_major
from symgrad.schedule.values import Indices

__all__ = ["DISTANT", "Threads"]

WORTH = 40_000  # vector operations from which on threads that stand ready are given work: ten microseconds, several times what it costs
SUMS = 2_000  # as many again for so many sums of a pass: every thread has its own, which are added up, and what they update travels back
BETWEEN = 10_000  # the same for nests among products or behind a pass that are shared: what they read is, too, and stays where it is
DISTANT = 24  # operations that reading an element counts as where it comes from outside the caches, or from another processor's
MAKING = 10  # so many times as many again where threads are made for one call


class Threads(OuterProducts):
    """Splits passes over the batch, loop nests and matrix products."""

    ready = False  # whether the threads live for many steps and stand ready
    passed: Value | None = None  # whether threads shared the last pass over the batch

    def _worth(self, least: int, sums: int = 0) -> int:
        """Operations from which on work is given to threads, if so many elements are summed."""
        return int(self.lanes * (least * (1 + sums / SUMS) + (0 if self.ready else MAKING * WORTH)))

    def nest_workers(self, group: Group) -> Value | int:
        """How many threads share a nest that stands outside the passes over the batch."""
        if self.threads == 1 or self.origin is not None or group.crossing:
            return 1
        work = dims.total([_cost(group), *group.shape, *_summed(group)])
        if self.passed is None:
            return self.workers(work, BETWEEN if any(other.gemm for other in self.groups) else WORTH)
        after, alone = self.workers(work, BETWEEN), self.workers(work)
        return after if after is alone or after == 1 else self.b.select(self.passed, after, alone)

    def workers(self, work: Dim, least: int | None = None) -> Value | int:
        """How many threads share so many operations; ``least``: another number than ``WORTH`` from which on it pays."""
        if self.threads == 1:
            return 1
        worth = self._worth(WORTH if least is None else min(least, WORTH))
        if isinstance(work, int):
            return self.threads if work >= worth else 1
        return self.b.select(self.b.greater_equal(self.b.index(work), worth), self.threads, 1)

    def parts(self, size: Value, unit: Value | int, workers: Value | int) -> Value:
        """Into how many parts of whole units a size is cut."""
        return self.b.minimum(self.b.floordiv(self.b.sub(self.b.add(size, unit), 1), unit), workers)

    @contextmanager
    def cut(self, size: Value, unit: Value | int, workers: Value | int) -> Iterator[tuple[Value, Value, Value]]:
        """Inside, each thread writes a part: its number, and from where to where the part goes."""
        b = self.b
        units, count = b.floordiv(b.sub(b.add(size, unit), 1), unit), self.parts(size, unit, workers)
        with b.loop(0, count, parallel=self.threads) as worker, self.scope():
            first, end = (b.mul(b.floordiv(b.mul(units, k), count), unit) for k in (worker, b.add(worker, 1)))
            yield worker, first, b.minimum(end, size)

    def ways(self, summed: Sequence[Expr]) -> Iterator[tuple[Index | None, Value | None]]:
        """The ways to make a pass, one after another: shared by threads, and not; which one it is shows at the call.

        Each gives the first sample and the end of what is to be passed, ``None`` for all.
        ``summed``: the nodes that the pass adds up over the batch.
        """
        shared = self.is_shared(summed)
        if shared is None:
            yield None, None
            return
        self.passed = shared
        with self.b.branch(shared) as alone, self.scope():
            yield from self._shared(summed)
        with self.b.into(alone), self.scope():
            yield None, None

    def is_first_shared(self) -> Value | None:
        """Whether the first pass is, the one that reads a minibatch; as in :meth:`is_shared`."""
        first = min(group.section for group in self.groups if group.section % 2)
        return self.is_shared([node for group in self.groups if group.section == first and group.crossing for node in group.members])

    def is_shared(self, summed: Sequence[Expr]) -> Value | None:
        """Whether a pass that adds up such nodes is shared by threads; ``None``: it never is."""
        assert self.plan is not None
        b, chunks = self.b, self._chunks()
        if self.threads == 1 or (isinstance(chunks, int) and chunks < self.threads):
            return None
        sums = sum(size for node in summed if isinstance(size := dims.total(node.shape), int))
        worth = b.greater_equal(b.mul(b.index(self.plan.dim), self._work()), self._worth(WORTH, sums))
        return b.and_(worth, b.greater_equal(b.index(chunks), self.threads))

    def _chunks(self) -> Dim:
        """How many there are in a pass."""
        assert self.plan is not None
        return dims.divide(dims.add(self.plan.dim, self.chunk - 1), self.chunk)

    @contextmanager
    def shared_chunks(self) -> Iterator[tuple[Value, Index, Value]]:
        """Inside, each thread: its number, the first sample of its part of a pass, and the end."""
        assert self.plan is not None
        b = self.b
        with self.cut(b.index(self._chunks()), 1, self.threads) as (worker, first, end):
            yield worker, Index.of(b.mul(first, self.chunk)), b.minimum(b.mul(end, self.chunk), b.index(self.plan.dim))

    def _shared(self, summed: Sequence[Expr]) -> Iterator[tuple[Index, Value]]:
        """Inside, each thread writes its part of a pass."""
        places = {node: self.written[node] for node in summed}
        own = {node: [self._own(node)] for node in summed}
        with self.shared_chunks() as (worker, first, end):
            self.worker = worker
            self.written.update(own)
            yield first, end
            self.written.update(places)
            self.worker = None
        for node in summed:
            self._join_threads(node, own[node][0], places[node])

    def _own(self, node: Expr) -> Storage:
        """Where each thread adds up a node."""
        size = dims.total(node.shape)
        buffer = self._scratch("p", node.kind, (dims.multiply(size, self.threads),))
        return Storage(buffer, row_major(node.shape), share=size)

    def _join_threads(self, node: Expr, own: Storage, places: Sequence[Storage]) -> None:
        """The first thread's sums plus the second's, and so on."""
        b, size = self.b, dims.total(node.shape)
        b.comment(f"the threads' parts of {node.op.name} {dims.format_shape(node.shape)}")

        def body(points: list[Indices]) -> None:
            ((at,),) = points
            total: Value | None = None
            for worker in range(self.threads):
                flat = at + dims.multiply(own.share, worker)
                part = b.load(own.buffer, flat, 1 if self.lane is None else self.lanes, self.mask)
                total = part if total is None else b.convert(self._join(node, total, part), node.kind)
            assert total is not None
            for place in places:
                b.store(place.buffer, at, total, self.mask)

        wide = self.lanes > 1 and (not isinstance(size, int) or size >= self.lanes // 2)
        self.nest([size], [1], 0 if wide else None, False, body, self.workers(dims.multiply(size, DISTANT), BETWEEN))

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
        return int(_instruction_cost(node) * count) if isinstance(count, int) else 1


def _instruction_cost(node: Expr) -> float:
    return INSTRUCTIONS[node.op.name].cost if node.op.name in INSTRUCTIONS else 1.0


def _cost(group: Group) -> int:
    """Operations at a point, of those that are summed or not."""
    return max(1, round(sum(_instruction_cost(node) for node in group.members)))


def _summed(group: Group) -> list[Dim]:
    """The sizes of the axes that are summed at a point; of several sums, those of the first."""
    for node in group.members:
        if node.op.name == "contract":
            la, lb, out = contract_letters(node)
            sizes = {c: d for a, text in zip(node.args, (la, lb), strict=True) for c, d in zip(text, a.shape, strict=True)}
            return [d for c, d in sizes.items() if c not in out]
        if node.op.name in REDUCERS:
            axes = node.params["axes"] if "axes" in node.params else (node.params["axis"],)
            return [node.args[0].shape[k] for k in axes]
    return []
