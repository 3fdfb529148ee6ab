"""Loop nests: register blocks, lanes and their masked tails, the loop over the batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import product

from symgrad import dims
from symgrad.dims import Dim
from symgrad.loops import Index, Value
from symgrad.schedule.values import Indices, Values

__all__ = ["Nests"]


class Nests(Values):
    """Loops around values."""

    @contextmanager
    def shared_loop(self, start: Index, stop: Index, step: int, workers: Value | int) -> Iterator[Value]:
        """A loop whose rounds are independent, neighbours of them in each thread."""
        b = self.b
        if workers == 1:
            with b.loop(start, stop, step) as variable, self.scope():
                yield variable
            return
        rounds = b.floordiv(b.add(b.index(stop + start * -1), step - 1), step)
        count = b.minimum(workers, rounds)
        with b.loop(0, count, parallel=self.threads) as worker, self.scope():
            first, end = (b.mul(b.floordiv(b.mul(rounds, k), count), step) for k in (worker, b.add(worker, 1)))
            with b.loop(start + first, start + end, step) as variable, self.scope():
                yield variable

    @contextmanager
    def twice_the_lanes(self, wanted: bool = True) -> Iterator[None]:
        """Inside, a vector is two registers long."""
        if wanted:
            self.lanes *= 2
        yield
        if wanted:
            self.lanes //= 2

    def _lane_loop(self, extent: Dim, body: Callable[[Index], None], masked_tail: bool = True, workers: Value | int = 1) -> None:
        """Whole vectors along an axis (shared by so many threads), then one masked vector for the rest."""
        b, w = self.b, self.lanes
        if self.count is not None and self.along_batch:
            assert self.rounded is not None
            if not masked_tail or w == 1 or self._always_full():
                self._vectors(Index(), Index.of(self.rounded), body)
                return
            whole = b.mul(b.floordiv(self.count, w), w)
            self._vectors(Index(), Index.of(whole), body)
            with b.branch(b.less(whole, self.count)):
                self._masked(whole, b.sub(self.count, whole), body)
            return
        if w == 1:
            self._vectors(Index(), Index.of(extent), body, workers)
            return
        whole_dim = dims.multiply(dims.divide(extent, w), w)
        if whole_dim != 0:
            self._vectors(Index(), Index.of(whole_dim), body, workers)
        if whole_dim != extent:
            start = b.index(whole_dim)
            if isinstance(extent, int):
                self._masked(start, b.constant(extent - int(whole_dim)), body)
            else:
                with b.branch(b.less(start, b.index(extent))):
                    self._masked(start, b.sub(b.index(extent), start), body)

    def _vectors(self, start: Index, stop: Index, body: Callable[[Index], None], workers: Value | int = 1) -> None:
        with self.shared_loop(start, stop, self.lanes, workers) as variable:
            self.lane = variable if self.lanes > 1 else None
            body(Index.of(variable))
            self.lane = None

    def _masked(self, start: Value, left: Value, body: Callable[[Index], None]) -> None:
        with self.scope():
            self.lane, self.mask = start, self.b.less(self.b.iota(self.lanes), left)
            body(Index.of(start))
            self.lane = self.mask = None

    def nest(
        self, extents: Sequence[Dim], blocks: Sequence[int], lane_axis: int | None, padded: bool, body: Callable[[list[Indices]], None],
        workers: Value | int = 1,
    ) -> None:  # fmt: skip
        """Loops over all axes, the lane axis innermost; ``body`` gets the index tuples of one register block.

        ``workers``: how many threads share the outermost loop, where what the body does at one index is no other's business.
        """
        order = [k for k in range(len(extents)) if k != lane_axis] + ([lane_axis] if lane_axis is not None else [])

        def descend(depth: int, chosen: dict[int, list[Index]], workers: Value | int = 1) -> None:
            if depth == len(order):
                points = [tuple(p) for p in product(*(chosen[k] for k in range(len(extents))))]
                body(points)
                return
            axis = order[depth]
            if axis == lane_axis:
                self._lane_loop(extents[axis], lambda at: descend(depth + 1, {**chosen, axis: [at]}), not padded, workers)
                return
            extent, step = extents[axis], blocks[axis]
            if extent == 1:
                descend(depth + 1, {**chosen, axis: [Index()]}, workers)
                return
            if extent == step:
                descend(depth + 1, {**chosen, axis: [Index((), u) for u in range(step)]}, workers)
                return
            whole = dims.multiply(dims.divide(extent, step), step)
            if whole != 0:
                with self.shared_loop(Index(), Index.of(whole), step, workers) as variable:
                    descend(depth + 1, {**chosen, axis: [Index.of(variable) + u for u in range(step)]})
            if isinstance(extent, int) and isinstance(whole, int):
                if whole != extent:
                    with self.scope():
                        descend(depth + 1, {**chosen, axis: [Index((), u) for u in range(whole, extent)]})
            elif whole != extent:
                with self.b.loop(whole, extent) as variable, self.scope():
                    descend(depth + 1, {**chosen, axis: [Index.of(variable)]})

        with self.scope():
            descend(0, {}, workers)

    @contextmanager
    def chunks(self, first: Index | None = None, last: Value | None = None) -> Iterator[None]:
        """The loop over the batch, or a part of it that begins with a chunk, a chunk at a time."""
        assert self.plan is not None
        b, dim = self.b, self.plan.dim
        b.comment(f"over {dim} samples, {self.chunk} at a time, {self.lanes} in lanes")
        with b.loop(0 if first is None else first, dim if last is None else last, self.chunk) as origin:
            with self.scope():
                self.origin = origin
                self.count = b.minimum(b.sub(b.index(dim) if last is None else last, origin), self.chunk)
                self.rounded = b.mul(b.floordiv(b.add(self.count, self.lanes - 1), self.lanes), self.lanes)
                yield
                self.origin = self.count = self.rounded = None
