"""From groups to a loop program: storage, index arithmetic, loop nests, lanes.

The one idea: *the batch axis is stored last*. Inside a pass over the batch, a node of shape (n, 16) lives in a
chunk buffer (16, chunk), so a tile kernel is the same code as any other: lanes run along an axis of stride 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from typing import Any, Union

import numpy as np

from symgrad import dims
from symgrad.dims import Dim, Shape
from symgrad.expr import CONSTANT, SYMBOL, Expr, topological
from symgrad.loops import Buffer, Builder, Copy, Fail, Fill, Index, Program, Value
from symgrad.schedule.assemble import emit_assembled
from symgrad.schedule.batch import BatchPlan, contract_letters
from symgrad.schedule.gemm import emit_gemm, find_updates
from symgrad.schedule.groups import ASSEMBLED, REDUCERS, VIEWS, Group, form_groups, is_plain_reshape

__all__ = ["Storage", "Writer"]

Indices = tuple[Index, ...]
Scalar = Union[Value, bool, int, float]

CHUNK_BYTES = 96 * 1024  # what a pass over the batch may keep in flight: most of it in L1, the rest in L2
CHUNK_LIMIT = 512  # samples
MAX_BLOCK_LANES = 8  # accumulators of a register block where the lanes run along an output axis
MAX_BLOCK_REDUCED = 16  # where they run along the summed axis (4 x 4: 8 loads for 16 fused multiply-adds)


@dataclass(frozen=True)
class Storage:
    """Where a node's values are. ``strides``: per axis. ``local``: the batch axis counts from the chunk's first
    sample; ``spread``: local, and all chunks are kept, one after another (``inner`` elements a sample)."""

    buffer: Buffer
    strides: tuple[Dim, ...]
    local: bool = False
    spread: bool = False
    inner: Dim = 1


def row_major(shape: Shape) -> tuple[Dim, ...]:
    strides: list[Dim] = []
    step: Dim = 1
    for d in reversed(shape):
        strides.append(step)
        step = dims.multiply(step, d)
    return tuple(reversed(strides))


def pick_block(extent: Dim, limit: int) -> int:
    """How many neighbours along an axis are computed together: all, a divisor, or as many as fit."""
    if not isinstance(extent, int):
        return min(4, limit)
    if extent <= limit:
        return max(extent, 1)
    for size in range(limit, limit // 2, -1):
        if extent % size == 0:
            return size
    return limit


class Writer:
    """Writes the program of some outputs. ``chunk``: samples a pass over the batch holds at a time.

    ``inplace``: output → the symbol it is written over. ``gathered``: symbols that are no arguments; their storage
    is scratch that the caller fills (the training loop gathers its minibatches into it)."""

    def __init__(
        self, outputs: Mapping[str, Expr], *, lanes: int, plan: BatchPlan | None, itemsize: int, gemms: Sequence[Expr], inplace: Mapping[str, Expr], gathered: Sequence[Expr] = (),
    ) -> None:  # fmt: skip
        self.outputs, self.lanes, self.plan, self.itemsize = dict(outputs), lanes, plan, itemsize
        self.inplace, self.gathered = dict(inplace), tuple(gathered)
        self.b = Builder()
        self.failures: list[str] = []
        self.scratch: list[Buffer] = []
        self.inputs: dict[Expr, Buffer] = {}
        self.constants: dict[Buffer, np.ndarray[Any, Any]] = {}
        self.output_buffers: dict[str, Buffer] = {}
        self.storage: dict[Expr, Storage] = {}  # where a node is read from
        self.written: dict[Expr, list[Storage]] = {}  # where a node is written to
        self.copies: list[tuple[Storage, Storage, Shape]] = []  # outputs that could not be written in place at once
        self.updates = find_updates(list(self.outputs.values()), gemms)
        self.groups, self.inlined = form_groups(list(self.outputs.values()), plan, gemms, self.updates)
        self.group_of = {m: g for g in self.groups for m in g.members}
        # state of the emission
        self.memo: list[dict[tuple[Expr, Indices], Scalar]] = [{}]  # a dict for each open block
        self.places: list[dict[tuple[Expr, Indices, int], Index]] = [{}]  # positions read from data, likewise
        self.group: Group | None = None
        self.lane: Value | None = None  # the variable that the lanes run along
        self.mask: Value | None = None
        self.origin: Value | None = None  # first sample of the chunk
        self.count: Value | None = None  # samples in the chunk
        self.rounded: Value | None = None  # the same, rounded up to whole vectors
        self._allocate()

    # --- storage -----------------------------------------------------------------------------------

    def _scratch(self, name: str, kind: str, shape: Shape) -> Buffer:
        buffer = Buffer(f"{name}{len(self.scratch)}", kind, shape, "scratch")
        self.scratch.append(buffer)
        return buffer

    def _allocate(self) -> None:
        order = topological(*self.outputs.values())
        targets = {name: symbol for name, symbol in self.inplace.items()}
        for node in order:
            if node.op is SYMBOL and node not in self.gathered:
                role = "inout" if node in targets.values() else "input"
                self.inputs[node] = Buffer(node.name, node.kind, node.shape, role)
                self.storage[node] = Storage(self.inputs[node], row_major(node.shape))
            elif node.op is CONSTANT and node.shape:
                buffer = Buffer(f"constant{len(self.constants)}", node.kind, node.shape, "constant")
                self.constants[buffer] = node.params["value"]
                self.storage[node] = Storage(buffer, row_major(node.shape))
        for symbol in targets.values():
            if symbol not in self.inputs:  # a state that no output reads
                self.inputs[symbol] = Buffer(symbol.name, symbol.kind, symbol.shape, "inout")
                self.storage[symbol] = Storage(self.inputs[symbol], row_major(symbol.shape))
        readers = self._readers(order)
        self.chunk = self._choose_chunk([n for n in order if n in readers or n.op is SYMBOL])
        for symbol in self.gathered:
            self._allocate_gathered(symbol)
        for name, node in self.outputs.items():
            target = self.inplace.get(name)
            place = Storage(self.inputs[target] if target is not None else Buffer(name, node.kind, node.shape, "output"), row_major(node.shape))
            if target is None:
                self.output_buffers[name] = place.buffer
            elif self._is_overwritten_early(node, target, order):
                late = Storage(self._scratch("next", node.kind, node.shape), row_major(node.shape))
                self.copies.append((late, place, node.shape))
                place = late
            self.written.setdefault(node, []).append(place)
        for group in self.groups:
            for node in group.members:
                places = self.written.setdefault(node, [])
                batched = self.plan is not None and node in self.plan.axis
                assembled = node.op.name in ASSEMBLED
                if node.op.family == "leaf":
                    continue  # an input that is handed out: copied from where it is
                if node not in readers and not (assembled and (batched or not places)):
                    continue
                if batched:
                    self.storage[node] = self._chunk_storage(node, spread=readers.get(node, 0) > group.section)
                    places.insert(0, self.storage[node])
                elif places and node not in (self.outputs[k] for k in self.inplace):
                    self.storage[node] = places[0]
                else:
                    self.storage[node] = Storage(self._scratch("t", node.kind, node.shape), row_major(node.shape))
                    places.insert(0, self.storage[node])

    def _choose_chunk(self, stored: Sequence[Expr]) -> int:
        """As many samples as keep what is stored of them in cache; the whole batch where it is small."""
        if self.plan is None:
            return self.lanes
        values = 1
        for node in stored:
            if node in self.plan.axis:
                inner = dims.divide(dims.total(node.shape), self.plan.dim)
                values += inner if isinstance(inner, int) else 1
        fit = max(self.lanes, min(CHUNK_LIMIT, CHUNK_BYTES // (values * self.itemsize)) // self.lanes * self.lanes)
        if isinstance(self.plan.dim, int):
            fit = min(fit, -(-self.plan.dim // self.lanes) * self.lanes)
        return fit

    def _allocate_gathered(self, symbol: Expr) -> None:
        if self.plan is not None and symbol in self.plan.axis:
            self.storage[symbol] = self._chunk_storage(symbol, spread=True)
        else:
            self.storage[symbol] = Storage(self._scratch(symbol.name, symbol.kind, symbol.shape), row_major(symbol.shape))

    def _readers(self, order: Sequence[Expr]) -> dict[Expr, int]:
        """Nodes that are read from another group (or at another index), and the last section that reads them."""
        via: dict[Expr, tuple[Expr, ...]] = {}
        readers: dict[Expr, int] = {}
        for node in order:
            grouped = node in self.group_of
            found: dict[Expr, None] = {}
            for a in node.args:
                for base in [a] if a in self.group_of else via[a]:
                    found[base] = None
                    if grouped and (self.group_of[base] is not self.group_of[node] or base is not a):
                        readers[base] = max(readers.get(base, 0), self.group_of[node].section)
            via[node] = tuple(found)
        return readers

    def _is_overwritten_early(self, node: Expr, symbol: Expr, order: Sequence[Expr]) -> bool:
        """Whether someone still reads ``symbol`` when (or after) ``node`` is written over it."""
        position = {g: k for k, g in enumerate(self.groups)}
        if node not in self.group_of or len([o for o in self.outputs.values() if o is node]) > 1:
            return True
        mine = self.group_of[node]
        if mine.section % 2 or node.op.name in ASSEMBLED:
            return True
        reads: dict[Expr, bool] = {symbol: True}  # nodes that see the symbol without a buffer between; True: at the same index
        for n in order:
            if n is symbol:
                continue
            for a in n.args:
                if a in reads:
                    same = reads[a] and n.op.family == "elementwise" and n.shape == a.shape
                    if n in self.group_of:
                        g = self.group_of[n]
                        if position[g] > position[mine] or (g is mine and not same):
                            return True
                        if g is mine and same:
                            reads[n] = reads.get(n, True)
                    else:
                        reads[n] = same and reads.get(n, True)
        return False

    def _chunk_storage(self, node: Expr, spread: bool) -> Storage:
        """Batch axis last, padded to whole chunks; ``spread``: every chunk kept."""
        assert self.plan is not None
        axis = self.plan.axis[node]
        rest = node.shape[:axis] + node.shape[axis + 1 :]
        inner = dims.total(rest)
        strides = [dims.multiply(s, self.chunk) for s in row_major(rest)]
        strides.insert(axis, 1)
        padded: Dim = self.chunk
        if spread:
            padded = dims.multiply(dims.divide(dims.add(self.plan.dim, self.chunk - 1), self.chunk), self.chunk)
        buffer = self._scratch("c", node.kind, (dims.multiply(inner, padded),))
        return Storage(buffer, tuple(strides), local=True, spread=spread, inner=inner)

    # --- addresses ---------------------------------------------------------------------------------

    def address(self, node: Expr, storage: Storage, idx: Indices) -> Index:
        flat = Index()
        for position, stride in zip(idx, storage.strides, strict=True):
            flat = flat + position * stride
        if self.origin is not None and self.plan is not None and node in self.plan.axis:
            if storage.spread:
                flat = flat + Index.of(self.origin) * storage.inner
            elif not storage.local:
                flat = flat + Index.of(self.origin) * storage.strides[self.plan.axis[node]]
        return flat

    def _split(self, flat: Index) -> tuple[Index, Dim, list[tuple[Value, Dim]]]:
        """(scalar part, step from lane to lane, vector terms)."""
        scalar = Index(tuple((v, c) for v, c in flat.terms if v.lanes == 1), flat.offset)
        step = next((c for v, c in flat.terms if v is self.lane), 0)
        return scalar, step, [(v, c) for v, c in flat.terms if v.lanes > 1]

    def _integer(self, flat: Index) -> Value:
        """The index as a value: a vector where it depends on the lane."""
        scalar, step, vectors = self._split(flat)
        value = self.b.index(scalar)
        if step != 0:
            iota = self.b.iota(self.lanes)
            value = self.b.add(value, iota if step == 1 else self.b.mul(iota, self._dim(step)))
        for vector, coefficient in vectors:
            value = self.b.add(value, vector if coefficient == 1 else self.b.mul(vector, self._dim(coefficient)))
        return value

    def _dim(self, dim: Dim) -> Value | int:
        return dim if isinstance(dim, int) else self.b.index(dim)

    def load(self, node: Expr, storage: Storage, idx: Indices) -> Value:
        flat = self.address(node, storage, idx)
        scalar, step, vectors = self._split(flat)
        if vectors or step not in (0, 1):
            return self.b.gather(storage.buffer, self._integer(flat), self.mask)
        if step == 1:
            return self.b.load(storage.buffer, scalar, self.lanes, self.mask)
        return self.b.load(storage.buffer, scalar)

    def store(self, node: Expr, storage: Storage, idx: Indices, value: Scalar) -> None:
        flat = self.address(node, storage, idx)
        scalar, step, vectors = self._split(flat)
        if vectors or step not in (0, 1):
            self.b.scatter(storage.buffer, self._integer(flat), self.b.constant(value, lanes=self.lanes), self._store_mask(storage))
        elif step == 1:
            self.b.store(storage.buffer, scalar, self.b.constant(value, node.kind, self.lanes), self._store_mask(storage))
        else:
            self.b.store(storage.buffer, scalar, value if not isinstance(value, Value) or value.lanes == 1 else self.b.extract(value, 0))

    def _store_mask(self, storage: Storage) -> Value | None:
        """Chunk buffers are padded to whole vectors; other arrays end where their samples do."""
        if storage.local:
            return None
        return self.mask if self.mask is not None else self._valid()

    def _valid(self) -> Value | None:
        """In a pass over the batch: which lanes hold samples."""
        if self.count is None or self.lane is None or self._always_full():
            return None
        return self.b.less(self.b.add(self.b.iota(self.lanes), self.b.index(self.lane)), self.count)

    def _always_full(self) -> bool:
        assert self.plan is not None
        return isinstance(self.plan.dim, int) and self.plan.dim % self.lanes == 0

    # --- values ------------------------------------------------------------------------------------

    def _known(self, node: Expr, idx: Indices) -> Scalar | None:
        for scope in reversed(self.memo):
            if (node, idx) in scope:
                return scope[node, idx]
        return None

    def _stored(self, node: Expr) -> Storage | None:
        """The storage, if the node is to be loaded from it (its own group computes it)."""
        storage = self.storage.get(node)
        own = self.group_of.get(node) is self.group and node.op.family != "leaf"
        return None if own else storage

    def _operands(self, node: Expr, idx: Indices) -> list[tuple[Expr, Indices]]:
        """What the value of an inlined node is made of, and at which index."""
        name, params = node.op.name, node.params
        if node.op.family == "elementwise" or name == "broadcast_to":
            return [(a, self._aligned(a, node, idx)) for a in node.args]
        if name == "transpose":
            place = [a + node.ndim for a in params["axes"]]
            return [(node.args[0], tuple(idx[place.index(k)] for k in range(node.ndim)))]
        if name == "slice":
            return [(node.args[0], tuple(i * step + start for i, start, step in zip(idx, params["starts"], params["steps"], strict=True)))]
        if name == "reshape":
            return [(node.args[0], self._reshaped(node, idx))]
        if name == "diagonal":
            offset, last = params["offset"], idx[-1]
            return [(node.args[0], (*idx[:-1], last + max(-offset, 0), last + max(offset, 0)))]
        if name == "gather":
            x, *indices = node.args
            first, width, shared = self._gather_axes(node)
            places = idx[first : first + width]
            asked = [(i, self.aligned_shape(i.shape, shared, places)) for i in indices]
            found = [self._known(i, at) for i, at in asked]
            if any(f is None for f in found):
                return asked
            wrapped = tuple(self._wrapped(f, x.shape[first + k], (node, idx, k)) for k, f in enumerate(found))
            return [(x, (*idx[:first], *wrapped, *idx[first + width :]))]
        raise NotImplementedError(f"op {name!r} has no place in the schedule: see symgrad/schedule/writer.py")

    def _gather_axes(self, node: Expr) -> tuple[int, int, Shape]:
        """(first indexed axis, number of axes that the indices make, their broadcast shape)."""
        x, *indices = node.args
        first = min(node.params["axes"]) + x.ndim
        shared = dims.broadcast("gather", *[i.shape for i in indices])
        return first, len(shared), shared

    def _wrapped(self, found: Any, size: Dim, key: tuple[Expr, Indices, int]) -> Index:
        """:meth:`checked`, once for each place."""
        for scope in reversed(self.places):
            if key in scope:
                return scope[key]
        self.places[-1][key] = self.checked(found, size, key[0])
        return self.places[-1][key]

    def checked(self, found: Any, size: Dim, node: Expr) -> Index:
        """An index that is read from data: negative ones count from the end, others must be inside."""
        b = self.b
        value = b.constant(found)
        extent = b.index(size)
        value = b.select(b.less(value, 0), b.add(value, extent), value)
        bad = b.or_(b.less(value, 0), b.greater_equal(value, extent))
        mask = self.mask if self.mask is not None else self._valid()
        if mask is not None:
            bad = b.and_(bad, mask)
        message = f"an index is out of range for an axis of size {size}"
        if message not in self.failures:
            self.failures.append(message)
        b.emit(Fail(bad, self.failures.index(message) + 1))
        return Index.of(b.select(bad, 0, value))

    def _aligned(self, operand: Expr, node: Expr, idx: Indices) -> Indices:
        return self.aligned_shape(operand.shape, node.shape, idx)

    def aligned_shape(self, small: Shape, large: Shape, idx: Sequence[Index]) -> Indices:
        """The operand's index under NumPy's broadcasting."""
        skip = len(large) - len(small)
        return tuple(Index() if d == 1 and large[skip + k] != 1 else idx[skip + k] for k, d in enumerate(small))

    def _reshaped(self, node: Expr, idx: Indices) -> Indices:
        (x,) = node.args
        if is_plain_reshape(node):
            rest = iter([i for i, d in zip(idx, node.shape, strict=True) if d != 1])
            return tuple(Index() if d == 1 else next(rest) for d in x.shape)
        # the operand is stored row-major (its batch axis apart): the same flat position, put on its last axis
        axis_new = axis_old = None
        if self.plan is not None and x in self.plan.axis:
            axis_new, axis_old = self.plan.axis[node], self.plan.axis[x]
        kept = [k for k in range(node.ndim) if k != axis_new]
        flat = Index()
        for k, stride in zip(kept, row_major(tuple(node.shape[k] for k in kept)), strict=True):
            flat = flat + idx[k] * stride
        result = [Index()] * x.ndim
        others = [k for k in range(x.ndim) if k != axis_old]
        if others:
            result[others[-1]] = flat
        if axis_old is not None and axis_new is not None:
            result[axis_old] = idx[axis_new]
        return tuple(result)

    def value_at(self, root: Expr, index: Indices) -> Scalar:
        """The value of a node at an index: known, loaded, or computed on the spot (with an explicit stack)."""
        known = self._known(root, index)
        if known is not None:
            return known
        stack: list[tuple[Expr, Indices]] = [(root, index)]
        while stack:
            node, idx = stack[-1]
            if self._known(node, idx) is not None:
                stack.pop()
                continue
            value = self._leaf(node, idx)
            if value is None:
                operands = self._operands(node, idx)
                missing = [o for o in operands if self._known(*o) is None]
                if missing:
                    stack.extend(reversed(missing))
                    continue
                value = self._combine(node, [self._known(*o) for o in operands])
            self.memo[-1][node, idx] = value
            stack.pop()
        result = self._known(root, index)
        assert result is not None
        return result

    def _leaf(self, node: Expr, idx: Indices) -> Scalar | None:
        storage = self._stored(node)
        if storage is not None:
            return self.load(node, storage, idx)
        name = node.op.name
        if name == "constant":
            return node.params["value"]  # type: ignore[no-any-return]
        if name == "size":
            return self.b.index(node.params["dim"])
        if name == "arange":
            at = idx[0]
            if self.origin is not None and self.plan is not None and node in self.plan.axis:
                at = at + self.origin
            return self._integer(at)
        if name == "eye":
            return self.b.select(self.b.equal(self._integer(idx[0]), self._integer(idx[1])), 1.0, 0.0)
        return None

    def _combine(self, node: Expr, values: Sequence[Any]) -> Scalar:
        if node.op.family != "elementwise":
            return values[-1]  # type: ignore[no-any-return]
        assert node.op.lower is not None, f"op {node.op.name!r} has no lower: see symgrad/ops"
        if all(not isinstance(v, Value) for v in values):
            values = [self.b.constant(v) for v in values]
        value = node.op.lower(self.b, *values, **node.params)
        if isinstance(value, Value):
            return self.b.convert(value, node.kind)
        return self.b.constant(value, node.kind)

    # --- loop nests --------------------------------------------------------------------------------

    @contextmanager
    def scope(self) -> Iterator[None]:
        self.memo.append({})
        self.places.append({})
        try:
            yield
        finally:
            self.memo.pop()
            self.places.pop()

    def _lane_loop(self, extent: Dim, body: Callable[[Index], None], masked_tail: bool = True) -> None:
        """Whole vectors along an axis, then one masked vector for the rest."""
        b, w = self.b, self.lanes
        if self.count is not None:  # along the batch axis of a chunk
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
            self._vectors(Index(), Index.of(extent), body)
            return
        whole_dim = dims.multiply(dims.divide(extent, w), w)
        if whole_dim != 0:
            self._vectors(Index(), Index.of(whole_dim), body)
        if whole_dim != extent:
            start = b.index(whole_dim)
            if isinstance(extent, int):
                self._masked(start, b.constant(extent - int(whole_dim)), body)
            else:
                with b.branch(b.less(start, b.index(extent))):
                    self._masked(start, b.sub(b.index(extent), start), body)

    def _vectors(self, start: Index, stop: Index, body: Callable[[Index], None]) -> None:
        with self.b.loop(start, stop, self.lanes) as variable, self.scope():
            self.lane = variable if self.lanes > 1 else None
            body(Index.of(variable))
            self.lane = None

    def _masked(self, start: Value, left: Value, body: Callable[[Index], None]) -> None:
        with self.scope():
            self.lane, self.mask = start, self.b.less(self.b.iota(self.lanes), left)
            body(Index.of(start))
            self.lane = self.mask = None

    def nest(self, extents: Sequence[Dim], blocks: Sequence[int], lane_axis: int | None, padded: bool, body: Callable[[list[Indices]], None]) -> None:
        """Loops over all axes, the lane axis innermost; ``body`` gets the index tuples of one register block."""
        order = [k for k in range(len(extents)) if k != lane_axis] + ([lane_axis] if lane_axis is not None else [])

        def descend(depth: int, chosen: dict[int, list[Index]]) -> None:
            if depth == len(order):
                points = [tuple(p) for p in product(*(chosen[k] for k in range(len(extents))))]
                body(points)
                return
            axis = order[depth]
            if axis == lane_axis:
                self._lane_loop(extents[axis], lambda at: descend(depth + 1, {**chosen, axis: [at]}), masked_tail=not padded)
                return
            extent, step = extents[axis], blocks[axis]
            if extent == 1:
                descend(depth + 1, {**chosen, axis: [Index()]})
                return
            if extent == step:
                descend(depth + 1, {**chosen, axis: [Index((), u) for u in range(step)]})
                return
            whole = dims.multiply(dims.divide(extent, step), step)
            if whole != 0:
                with self.b.loop(0, whole, step) as variable, self.scope():
                    descend(depth + 1, {**chosen, axis: [Index.of(variable) + u for u in range(step)]})
            if whole != extent:
                with self.b.loop(whole, extent) as variable, self.scope():
                    descend(depth + 1, {**chosen, axis: [Index.of(variable)]})

        with self.scope():
            descend(0, {})

    # --- kernels -----------------------------------------------------------------------------------

    def strides_along(self, node: Expr, idx: Indices, variable: Value) -> list[Dim | None]:
        """For every load below a node: the step of its address along a variable (``None``: not affine)."""
        steps: list[Dim | None] = []
        stack, seen = [(node, idx)], set()
        while stack:
            n, at = stack.pop()
            if (n, at) in seen:
                continue
            seen.add((n, at))
            storage = self._stored(n)
            if storage is not None:
                flat = Index()
                for position, stride in zip(at, storage.strides, strict=True):
                    flat = flat + position * stride
                steps.append(next((c for v, c in flat.terms if v is variable), 0))
            elif n.op.name in ("arange", "eye"):  # not loaded, but their values, too, follow the position
                steps.append(next((c for position in at for v, c in position.terms if v is variable), 0))
            elif n.op.name == "gather":
                steps.append(None)
            elif n.args and (n.op.family == "elementwise" or n.op.name in VIEWS):
                stack.extend(self._operands(n, at))
            elif n.op.name in REDUCERS or n.op.name == "contract":
                operands, _, _ = self._reduction(n, at, [Index.of(self.b.value("integer")) for _ in range(n.args[0].ndim + n.args[-1].ndim)])
                stack.extend(operands)
        return steps

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
        for node in group.members:
            steps = self.strides_along(node, idx, variable)
            reducing = node.op.name in REDUCERS or node.op.name == "contract"
            if any(s not in (0, 1) for s in steps) and (reducing or len([s for s in steps if s not in (0, 1)]) * 2 > len(steps)):
                return None
        return len(group.shape) - 1

    def _is_flat(self, group: Group) -> bool:
        """An elementwise group whose every access is the same row-major array (or a scalar): one loop does."""
        if len(group.shape) < 2 or group.batched is not None or any(m.op.family != "elementwise" for m in group.members):
            return False
        idx = tuple(Index.of(self.b.value("integer")) for _ in group.shape)
        wanted = row_major(group.shape)
        for node in group.members:
            for k, position in enumerate(idx):
                if group.shape[k] != 1 and any(s not in (0, wanted[k]) for s in self.strides_along(node, idx, position.terms[0][0])):
                    return False
            moved = [bool(s) for s in self.strides_along(node, idx, idx[-1].terms[0][0])]
            for k, position in enumerate(idx):
                if group.shape[k] != 1 and group.shape[-1] != 1 and [bool(s) for s in self.strides_along(node, idx, position.terms[0][0])] != moved:
                    return False
        return group.shape[-1] != 1

    def emit_group(self, group: Group) -> None:
        self.group = group
        names = ", ".join(dict.fromkeys(m.op.name for m in group.members[:6]))
        self.b.comment(f"{names}: {dims.format_shape(group.shape)}")
        (first, *_) = group.members
        if group.gemm:
            emit_gemm(self, first)
        elif first.op.name in ASSEMBLED:
            emit_assembled(self, first)
        else:
            self._emit_nest(group)
        self.group = None

    def _emit_nest(self, group: Group) -> None:
        shape: Shape = group.shape
        reducing = any(m.op.name in REDUCERS or m.op.name == "contract" for m in group.members)
        if not reducing and self._is_flat(group):
            total = dims.total(shape)
            wide = not isinstance(total, int) or total >= self.lanes // 2
            self.nest([1] * (len(shape) - 1) + [total], [1] * len(shape), len(shape) - 1 if wide and self.lanes > 1 else None, False, lambda points: self._members(group, points))
            return
        lane = self._choose_lane(group)
        blocks = [1] * len(shape)
        if reducing:
            free = [k for k in range(len(shape)) if k != lane and shape[k] != 1]
            limit = MAX_BLOCK_LANES if lane is not None else MAX_BLOCK_REDUCED
            if any(m.op.name == "contract" for m in group.members):
                if group.crossing and free and self._divides(shape[free[-1]]):
                    blocks[free[-1]] = self.lanes
                elif len(free) >= 2 and (lane is None or group.batched is None):
                    blocks[free[-2]] = pick_block(shape[free[-2]], 4)
                    blocks[free[-1]] = pick_block(shape[free[-1]], max(1, limit // blocks[free[-2]]))
                elif free:
                    blocks[free[-1]] = pick_block(shape[free[-1]], MAX_BLOCK_LANES)
            elif free and group.crossing:
                blocks[free[-1]] = self.lanes if self._divides(shape[free[-1]]) else pick_block(shape[free[-1]], 4)
        padded = group.batched is not None
        self.nest(shape, blocks, lane, padded, lambda points: self._members(group, points))

    def _divides(self, extent: Dim) -> bool:
        return isinstance(extent, int) and extent % self.lanes == 0 and self.lanes > 1

    def _members(self, group: Group, points: list[Indices]) -> None:
        for node in group.members:
            if self._sums_together(group, node, points):
                self._emit_sums(node, points)
                continue
            if node.op.name in REDUCERS or node.op.name == "contract":
                self._emit_reduction(node, points)
            for idx in points:
                value = self.value_at(node, idx)
                for place in self.written.get(node, ()):
                    if node in (self.plan.crossing if self.plan else ()) and not self._single_chunk():
                        value = self._accumulated(node, place, idx, value)
                    self.store(node, place, idx, value)

    def _sums_together(self, group: Group, node: Expr, points: list[Indices]) -> bool:
        """Whether a register block is a vector of sums over the batch, neighbours in memory."""
        return group.crossing and len(points) == self.lanes > 1 and node.op.name in ("sum", "contract") and node.kind != "boolean" and all(
            place.strides[-1] == 1 for place in self.written[node]
        )  # fmt: skip

    def _emit_sums(self, node: Expr, points: list[Indices]) -> None:
        """As many sums over the batch as there are lanes: added up across lanes together, stored as one vector."""
        sums = self.b.reduce_each(self._accumulate(node, points))
        for place in self.written[node]:
            at = self.address(node, place, points[0])
            total = sums if self._single_chunk() else self.b.add(self.b.load(place.buffer, at, self.lanes), sums)
            self.b.store(place.buffer, at, total)

    def _single_chunk(self) -> bool:
        return self.plan is not None and isinstance(self.plan.dim, int) and self.plan.dim <= self.chunk

    def _accumulated(self, node: Expr, place: Storage, idx: Indices, value: Scalar) -> Value:
        old = self.b.load(place.buffer, self.address(node, place, idx))
        return self._join(node, old, value)

    def _join(self, node: Expr, a: Scalar, b: Scalar) -> Value:
        """Two partial results of a reduction as one."""
        return {"prod": self.b.mul, "max": self.b.maximum, "min": self.b.minimum}.get(node.op.name, self.b.add)(a, b)

    def identity(self, node: Expr) -> bool | int | float:
        """What a reduction starts from."""
        name = node.op.name
        if name in ("max", "min"):
            sign = -1 if name == "max" else 1
            if node.kind == "real":
                return sign * float("inf")
            return int(sign > 0) if node.kind == "boolean" else (2**63 - 1 if sign > 0 else -(2**63))
        one = name == "prod"
        return float(one) if node.kind == "real" else int(one)

    def _reduction(self, node: Expr, idx: Indices, inner: Sequence[Index]) -> tuple[list[tuple[Expr, Indices]], list[Dim], list[bool]]:
        """Operands with their indices, ``inner`` filling the summed axes; the extents of those; which is the batch's."""
        x = node.args[0]
        if node.op.name == "contract":
            letters = contract_letters(node)
            at = dict(zip(letters[2], idx, strict=True))
            sizes: dict[str, Dim] = {}
            is_batch: dict[str, bool] = {}
            for a, text in zip(node.args, letters, strict=False):
                for k, letter in enumerate(text):
                    if letter not in letters[2]:
                        sizes.setdefault(letter, a.shape[k])
                        is_batch[letter] = is_batch.get(letter, False) or bool(self.plan and self.plan.axis.get(a) == k)
            for letter, position in zip(sizes, inner, strict=False):
                at[letter] = position
            operands = [(a, tuple(at[c] for c in text)) for a, text in zip(node.args, letters, strict=False)]
            return operands, list(sizes.values()), list(is_batch.values())
        axes = sorted(a + x.ndim for a in (node.params["axes"] if "axes" in node.params else (node.params["axis"],)))
        keep = node.params["keepdims"]
        rest, summed = iter(idx), iter(inner)
        where: list[Index] = []
        for k in range(x.ndim):
            if k in axes:
                where.append(next(summed))
                if keep:
                    next(rest)
            else:
                where.append(next(rest))
        batch = [bool(self.plan and self.plan.axis.get(x) == k) for k in axes]
        return [(x, tuple(where))], [x.shape[k] for k in axes], batch

    def _reduction_lane(self, node: Expr, idx: Indices) -> int | None:
        """The summed axis that the lanes run along, if the iteration space has none."""
        if self.lane is not None or node.op.name in ("argmax", "argmin"):
            return None
        count = node.args[0].ndim + node.args[-1].ndim
        dummies = [self.b.value("integer") for _ in range(count)]
        operands, extents, batch = self._reduction(node, idx, [Index.of(d) for d in dummies])
        if any(batch):
            return batch.index(True)
        best = None
        if self.lanes == 1:
            return None
        for k, extent in enumerate(extents):
            steps = [s for a, at in operands for s in self.strides_along(a, at, dummies[k])]
            if all(s in (0, 1) for s in steps) and 1 in steps and (not isinstance(extent, int) or extent >= self.lanes):
                best = k
        return best

    def _emit_reduction(self, node: Expr, points: list[Indices]) -> None:
        """One reduction or contraction for all points of a register block; the results go into the memo."""
        if node.op.name in ("argmax", "argmin"):
            x = node.args[0]
            self._emit_arg_reduction(node, points, x.shape[node.params["axis"]])
            return
        along = self._reduction_lane(node, points[0])
        for value, idx in zip(self._accumulate(node, points), points, strict=True):
            if along is not None:
                value = self.b.reduce({"prod": "mul", "max": "maximum", "min": "minimum"}.get(node.op.name, "add"), value)
            self.memo[-1][node, idx] = self.b.convert(value, node.kind)

    def _accumulate(self, node: Expr, points: list[Indices]) -> list[Value]:
        """The accumulators of a register block after the loops over the summed axes, lanes not yet added up."""
        b = self.b
        _, extents, _ = self._reduction(node, points[0], [Index()] * (node.args[0].ndim + node.args[-1].ndim))
        along = self._reduction_lane(node, points[0])
        flat = self._flat_reduction(node, points[0], extents) if along is not None and self.count is None else None
        wide = self.lanes if along is not None or self.lane is not None else 1
        start = self.identity(node)
        kind = "integer" if node.kind == "boolean" else node.kind  # any and all are the largest and smallest of 0 and 1
        registers = [b.define("acc", start, kind, wide) for _ in points]

        def accumulate(chosen: dict[int, Index]) -> None:
            inner = [chosen[k] for k in range(len(extents))]
            for register, idx in zip(registers, points, strict=True):
                operands, _, _ = self._reduction(node, idx, inner)
                values = [self.value_at(*o) for o in operands]
                masked = self.mask if along is not None else None
                if node.op.name == "contract":
                    if masked is not None:
                        values = [b.select(masked, v, b.constant(0.0 if node.kind == "real" else 0)) for v in values]
                    old = b.read(register)
                    b.assign(register, b.fma(*values, old) if node.kind == "real" else b.add(b.mul(*values), old))
                else:
                    (value,) = values
                    if kind == "integer":
                        value = b.convert(b.constant(value), "integer")
                    if masked is not None:
                        value = b.select(masked, value, b.constant(start, kind))
                    b.assign(register, self._join(node, b.read(register), value))

        order = [k for k in range(len(extents)) if k != along] + ([along] if along is not None else [])

        def descend(depth: int, chosen: dict[int, Index]) -> None:
            if depth == len(order):
                accumulate(chosen)
                return
            k = order[depth]
            if k == along:
                self._lane_loop(extents[k], lambda at: descend(depth + 1, {**chosen, k: at}))
            else:
                with b.loop(0, extents[k]) as variable, self.scope():
                    descend(depth + 1, {**chosen, k: Index.of(variable)})

        if flat is not None:
            moving = max(k for k, d in enumerate(extents) if d != 1)  # the one axis of stride 1
            self._lane_loop(flat, lambda at: accumulate({k: at if k == moving else Index() for k in range(len(extents))}))
        else:
            descend(0, {})
        return [b.read(register) for register in registers]

    def _flat_reduction(self, node: Expr, idx: Indices, extents: Sequence[Dim]) -> Dim | None:
        """The total size, if all summed axes together are one contiguous run in every operand."""
        if sum(d != 1 for d in extents) < 2:
            return None
        dummies = [self.b.value("integer") for _ in range(node.args[0].ndim + node.args[-1].ndim)]
        operands, _, _ = self._reduction(node, idx, [Index.of(d) for d in dummies])
        wanted = row_major(tuple(extents))
        for k in range(len(extents)):
            steps = [s for a, at in operands for s in self.strides_along(a, at, dummies[k])]
            if extents[k] != 1 and (not steps or any(s != wanted[k] for s in steps)):
                return None
        return dims.total(extents)

    def _emit_arg_reduction(self, node: Expr, points: list[Indices], extent: Dim) -> None:
        b = self.b
        wide = self.lanes if self.lane is not None else 1
        largest = node.op.name == "argmax"
        x = node.args[0]
        for idx in points:
            infinity: Scalar = float("-inf" if largest else "inf")
            if x.kind != "real":
                infinity = -(2**63) if largest else 2**63 - 1
            best = b.define("best", infinity, "real" if x.kind == "real" else "integer", wide)
            place = b.define("place", 0, "integer", wide)
            with b.loop(0, extent) as k, self.scope():
                operands, _, _ = self._reduction(node, idx, [Index.of(k)])
                value = b.constant(self.value_at(*operands[0]))
                old = b.read(best)
                better = b.greater(value, old) if largest else b.less(value, old)
                if x.kind == "real":
                    better = b.or_(better, b.and_(b.isnan(value), b.not_(b.isnan(old))))
                b.assign(place, b.select(better, b.index(k), b.read(place)))
                b.assign(best, b.select(better, value, old))
            self.memo[-1][node, idx] = b.read(place)

    # --- the whole program -------------------------------------------------------------------------

    def emit_body(self) -> None:
        sections = sorted({g.section for g in self.groups})
        for section in sections:
            groups = [g for g in self.groups if g.section == section]
            if section % 2 == 0:
                for group in groups:
                    self.emit_group(group)
                continue
            for group in groups:
                if group.crossing and not self._single_chunk():
                    for node in group.members:
                        for place in self.written[node]:
                            self.b.emit(Fill(place.buffer, Index(), Index.of(dims.total(node.shape)), self.identity(node)))
            with self.chunks():
                self._pack_inputs(groups)
                for group in groups:
                    self.emit_group(group)
        for source, target, shape in self.copies:
            self.copy(source, target, shape)

    def copy(self, source: Storage, target: Storage, shape: Shape) -> None:
        self.b.emit(Copy(target.buffer, Index(), source.buffer, Index(), Index.of(dims.total(shape))))

    @contextmanager
    def chunks(self) -> Iterator[None]:
        """The loop over the batch, a chunk at a time."""
        assert self.plan is not None
        b, dim = self.b, self.plan.dim
        b.comment(f"over {dim} samples, {self.chunk} at a time, {self.lanes} in lanes")
        with b.loop(0, dim, self.chunk) as origin:
            with self.scope():
                self.origin = origin
                self.count = b.minimum(b.sub(b.index(dim), origin), self.chunk)
                self.rounded = b.mul(b.floordiv(b.add(self.count, self.lanes - 1), self.lanes), self.lanes)
                yield
                self.origin = self.count = self.rounded = None

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
        inner = [k for k in range(symbol.ndim) if k != axis]
        shape = [symbol.shape[k] for k in inner]

        def body(points: list[Indices]) -> None:
            (at,) = points
            idx: list[Index] = list(at)
            idx.insert(axis, Index())
            if not inner:
                self._lane_loop(1, lambda t: self.store(symbol, target, (t,), self.load(symbol, source, (t,))))
                return
            lane = b.value("integer")
            probe = idx.copy()
            probe[axis] = Index.of(lane)
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
