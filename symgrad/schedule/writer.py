"""From groups to a loop program: one nest, matrix product or assembly after another."""

from __future__ import annotations

from collections.abc import Sequence

from symgrad import dims
from symgrad.dims import Dim, Shape
from symgrad.expr import SYMBOL, Expr, topological
from symgrad.loops import Fill, Index, Program, Value
from symgrad.schedule.assemble import emit_assembled
from symgrad.schedule.gemm import emit_gemm
from symgrad.schedule.groups import ASSEMBLED, LEAVES, REDUCERS, SOLVERS, VIEWS, Group
from symgrad.schedule.packing import pack_rows
from symgrad.schedule.solvers import emit_solver
from symgrad.schedule.storage import Storage, row_major
from symgrad.schedule.threads import Threads
from symgrad.schedule.values import Indices, Scalar

__all__ = ["Writer"]

WIDE_BYTES = 64  # vectors of this size come with 32 registers, others with 16
WIDE_BLOCK, NARROW_BLOCK = 12, 8  # accumulators of a register block where the lanes run along an output axis
MAX_BLOCK_REDUCED = 16  # where they run along the summed axis (4 x 4: 8 loads for 16 fused multiply-adds)
LATENCY = 5  # additions that must be under way to keep the processor busy
BLOCK_COST = 1.5  # what a round of a block costs beside its additions: a load, counting
REST_COST = 4.0  # a last, smaller block is more code
FUNCTION = (10.0, 40.0)  # costs of an op that is a function of mathematics: a chain of instructions, few values at a time


def pick_block(extent: Dim, limit: int) -> int:
    """How many neighbours along an axis are computed together: all, or what leaves few and not too small blocks."""
    if not isinstance(extent, int):
        return min(4, limit)
    if extent <= limit:
        return max(extent, 1)

    def cost(size: int) -> float:
        whole, rest = divmod(extent, size)
        return whole * (max(size, LATENCY) + BLOCK_COST) + (max(rest, LATENCY) + BLOCK_COST + REST_COST if rest else 0.0)

    return min(range(limit, 0, -1), key=cost)


class Writer(Threads):
    """Writes the program of some outputs."""

    def _choose_lane(self, group: Group) -> int | None:
        """The axis of the iteration space that the lanes run along."""
        if group.batched is not None:
            return group.batched
        if self.lanes == 1 or not group.shape or group.crossing:
            return None
        last = group.shape[-1]
        if isinstance(last, int) and last < self.lanes // 2:
            return None
        idx = tuple(Index.of(self.b.value("integer")) for _ in group.shape)
        variable = idx[-1].terms[0][0]
        loads: list[Dim | None] = []
        seen: set[tuple[Expr, Indices]] = set()
        for node in group.members:
            if node.op.name in REDUCERS or node.op.name == "contract":
                if any(s not in (0, 1) for s in self.strides_along(node, idx, variable)):
                    return None
            else:
                loads += self.strides_along(node, idx, variable, seen)
        return None if sum(s not in (0, 1) for s in loads) * 2 > len(loads) else len(group.shape) - 1

    def _is_flat(self, group: Group) -> bool:
        """An elementwise group whose every access is the same row-major array (or a scalar): one loop does."""
        shape = group.shape
        if len(shape) < 2 or shape[-1] == 1 or group.batched is not None or any(m.op.family != "elementwise" for m in group.members):
            return False
        idx = tuple(Index.of(self.b.value("integer")) for _ in group.shape)
        wanted = row_major(group.shape)
        axes = [k for k, d in enumerate(group.shape) if d != 1]
        whole, still = tuple(wanted[k] for k in axes), (0,) * len(axes)
        seen: dict[int, set[tuple[Expr, Indices]]] = {k: set() for k in axes}
        for node in group.members:
            accesses = list(zip(*(self.strides_along(node, idx, idx[k].terms[0][0], seen[k]) for k in axes), strict=True))
            if any(steps not in (whole, still) for steps in accesses):
                return False
        return True

    def emit_group(self, group: Group) -> None:
        self.group = group
        names = ", ".join(dict.fromkeys(m.op.name for m in group.members[:6]))
        self.b.comment(f"{names}: {dims.format_shape(group.shape)}")
        (first, *_) = group.members
        if group.gemm:
            emit_gemm(self, first)
        elif first.op.name in SOLVERS:
            emit_solver(self, first)
        elif first.op.name in ASSEMBLED:
            emit_assembled(self, first)
        else:
            self._emit_nest(group)
        self.group = None

    def _emit_nest(self, group: Group) -> None:
        shape: Shape = group.shape
        if not shape and not group.crossing and all(m.op.family == "elementwise" or m.op.name in VIEWS | LEAVES for m in group.members):
            with self.scope():
                self.emit_scalars(group.members)
            return
        reducing = any(m.op.name in REDUCERS or m.op.name == "contract" for m in group.members)
        if not reducing and self._is_flat(group):
            total = dims.total(shape)
            wide = not isinstance(total, int) or total >= self.lanes // 2
            lane = len(shape) - 1 if wide and self.lanes > 1 else None
            extents = [1] * (len(shape) - 1) + [total]
            with self.twice_the_lanes(lane is not None and self._gains_by_twice_the_lanes(group, total)):
                self.nest(extents, [1] * len(shape), lane, False, lambda points: self._members(group, points), self.nest_workers(group))
            return
        if group.outer:
            self._emit_outer(group)
            return
        lane = self._choose_lane(group)
        blocks = [1] * len(shape)
        if reducing:
            free = [k for k in range(len(shape)) if k != lane and shape[k] != 1]
            limit = self._registers() if lane is not None else MAX_BLOCK_REDUCED
            if any(m.op.name == "contract" for m in group.members):
                if group.crossing and free:
                    blocks[free[-1]] = self._sum_block(shape[free[-1]])
                elif len(free) >= 2 and (lane is None or group.batched is None):
                    blocks[free[-2]] = pick_block(shape[free[-2]], 4)
                    blocks[free[-1]] = pick_block(shape[free[-1]], max(1, limit // blocks[free[-2]]))
                elif free:
                    blocks[free[-1]] = pick_block(shape[free[-1]], limit)
            elif free and group.crossing:
                blocks[free[-1]] = self._sum_block(shape[free[-1]])
        padded = group.batched is not None
        long = not reducing and not padded and lane is not None and self._gains_by_twice_the_lanes(group, shape[lane])
        with self.twice_the_lanes(long):
            self.nest(shape, blocks, lane, padded, lambda points: self._members(group, points), self.nest_workers(group))

    def _gains_by_twice_the_lanes(self, group: Group, extent: Dim) -> bool:
        """Whether a nest's instructions wait for one another, so that those of a second vector fill the gaps: chains of functions.

        Measured at 1,000 points with AVX-512 and AVX2: 12 nested sines 0.63 of the time, Black and Scholes 0.85, tanh 0.85 to 0.96,
        sums and products of few functions 0.9 to 1.05; longer functions (gelu 1.3) are short of registers then, arithmetic alone of memory.
        """
        least, most = FUNCTION
        costs = [m.op.cost for m in group.members]
        return (not isinstance(extent, int) or extent >= 2 * self.lanes) and least <= max(costs) < most

    def _emit_outer(self, group: Group) -> None:
        """Sums of outer products over the samples: a column of the result in each accumulator, rows in its lanes."""
        shape = group.shape
        self.turn_operands(group)
        blocks = [1] * len(shape)
        if len(shape) > 1:
            blocks[-2] = pick_block(shape[-2], 2 * NARROW_BLOCK if self._registers() > NARROW_BLOCK else NARROW_BLOCK)
        with self.lanes_along_outputs():
            self.nest(shape, blocks, len(shape) - 1, False, lambda points: self._members(group, points))

    def _registers(self) -> int:
        """Accumulators of a register block whose lanes run along an output axis: most of the registers."""
        return WIDE_BLOCK if self.lanes * self.itemsize >= WIDE_BYTES else NARROW_BLOCK

    def _sum_block(self, extent: Dim) -> int:
        """Sums over the batch that are added up across lanes together: a vector of them, or nearly."""
        return self.lanes if self._divides(extent) else pick_block(extent, max(self.lanes, 4))

    def _divides(self, extent: Dim) -> bool:
        return isinstance(extent, int) and extent % self.lanes == 0 and self.lanes > 1

    def _members(self, group: Group, points: list[Indices]) -> None:
        for node in group.members:
            if self._sums_together(group, node, points):
                self._emit_sums(node, points)
                continue
            if node.op.name in REDUCERS or node.op.name == "contract":
                self._emit_reduction(node, points)
            joined = self.plan is not None and node in self.plan.crossing and not self._single_chunk()
            for idx in points:
                value = self.value_at(node, idx)
                for place in self.written.get(node, ()):
                    self.store(node, place, idx, self._accumulated(node, place, idx, value) if joined else value)

    def _sums_together(self, group: Group, node: Expr, points: list[Indices]) -> bool:
        """Whether a register block is a vector of sums over the batch, or most of one, neighbours in memory."""
        if not group.crossing or group.outer or not (len(points) == self.lanes > 1 or 2 < len(points) < self.lanes):
            return False
        if node.op.name not in ("sum", "contract") or node.kind == "boolean":
            return False
        for place in self.written[node]:
            first = self.address(node, place, points[0])
            if any(self.address(node, place, point) != first + k for k, point in enumerate(points)):
                return False
        return True

    def _emit_sums(self, node: Expr, points: list[Indices]) -> None:
        """Sums over the batch, added up across lanes together, stored as one vector."""
        b, missing = self.b, self.lanes - len(points)
        zeros = [b.constant(0.0 if node.kind == "real" else 0, node.kind, self.lanes)] * missing
        sums = b.reduce_each([*self._accumulate(node, points), *zeros])
        mask = b.less(b.iota(self.lanes), len(points)) if missing else None
        for place in self.written[node]:
            at = self.address(node, place, points[0])
            total = sums if self._single_chunk() else b.add(b.load(place.buffer, at, self.lanes, mask), sums)
            b.store(place.buffer, at, total, mask)

    def _single_chunk(self) -> bool:
        return self.plan is not None and isinstance(self.plan.dim, int) and self.plan.dim <= self.chunk

    def _accumulated(self, node: Expr, place: Storage, idx: Indices, value: Scalar) -> Value:
        old = self.load(node, place, idx)
        return self._join(node, old, value)

    def emit_body(self) -> None:
        sections = sorted({g.section for g in self.groups})
        for section in sections:
            groups = [g for g in self.groups if g.section == section]
            if section % 2 == 0:
                for group in groups:
                    self.emit_group(group)
                continue
            self.emit_pass(groups)
        for source, target, shape in self.copies:
            self.copy(source, target, shape)

    def emit_pass(self, groups: Sequence[Group]) -> None:
        """One pass over the batch."""
        summed = [node for group in groups if group.crossing for node in group.members]
        for first, last in self.ways(summed):
            self.rows = {}
            if not self._single_chunk():
                for node in summed:
                    for place in self.written[node]:
                        start = bool(self.identity(node)) if node.kind == "boolean" else self.identity(node)
                        self.b.emit(Fill(place.buffer, self.share(place), Index.of(dims.total(node.shape)), start))
            with self.chunks(first, last):
                self._pack_inputs(groups)
                for group in groups:
                    self.emit_group(group)

    def _pack_inputs(self, groups: Sequence[Group]) -> None:
        assert self.plan is not None
        read: dict[Expr, None] = {}
        stack = [m for g in groups for m in g.members]
        seen = set(stack)
        while stack:
            for a in stack.pop().args:
                if a.op is SYMBOL:
                    read[a] = None
                elif a not in seen and a not in self.group_of:
                    seen.add(a)
                    stack.append(a)
        for symbol in read:
            if symbol in self.plan.axis and symbol not in self.gathered:
                source = Storage(self.inputs[symbol], row_major(symbol.shape))
                if symbol not in self.storage or not self.storage[symbol].local:
                    self.storage[symbol] = self._chunk_storage(symbol, spread=False)
                self._pack(symbol, source, self.storage[symbol])

    def _pack(self, symbol: Expr, source: Storage, target: Storage) -> None:
        """Copies a chunk with the batch axis last; the lanes that hold no sample become zero."""
        assert self.plan is not None and self.rounded is not None and self.count is not None
        b, axis = self.b, self.plan.axis[symbol]
        b.comment(f"pack {symbol.name}")
        if axis == 0 and symbol.ndim > 1 and self.origin is not None:
            origin, base = self.origin, self.address(symbol, target, (Index(),) * symbol.ndim)
            pack_rows(self, source.buffer, lambda t: t + origin, dims.total(symbol.shape[1:]), target, base)
            return
        inner = [k for k in range(symbol.ndim) if k != axis]
        shape = [symbol.shape[k] for k in inner]

        def body(points: list[Indices]) -> None:
            (at,) = points
            idx: list[Index] = list(at)
            idx.insert(axis, Index())
            if not inner:
                self._lane_loop(1, lambda t: self.store(symbol, target, (t,), self.load(symbol, source, (t,))))
                return
            with b.loop(0, self.count) as t, self.scope():  # type: ignore[arg-type]
                at_t = idx.copy()
                at_t[axis] = Index.of(t)
                self.store(symbol, target, tuple(at_t), self.load(symbol, source, tuple(at_t)))
            with b.loop(self.count, self.rounded) as t, self.scope():  # type: ignore[arg-type]
                at_t = idx.copy()
                at_t[axis] = Index.of(t)
                self.store(symbol, target, tuple(at_t), 0.0 if symbol.kind == "real" else 0)

        if not inner:
            with self.scope():
                body([()])
            return
        self.nest(shape, [1] * len(shape), None, False, body)

    def program(self, name: str) -> Program:
        arguments = (*self.inputs.values(), *self.constants, *self.output_buffers.values())
        return Program(name, arguments, tuple(self.scratch), self.sizes(), self.b.body, tuple(self.failures), self.constants)

    def sizes(self) -> tuple[str, ...]:
        """The named dimensions, in order of first appearance in the inputs (then elsewhere)."""
        found: dict[str, None] = {}
        order = topological(*self.outputs.values())
        for node in (*self.inputs, *self.gathered, *(n for n in order if n.op is SYMBOL), *order):
            for d in (node.params["dim"],) if node.op.name == "size" else node.shape:
                found.update(dict.fromkeys(dims.names(d)))
        return tuple(found)
