"""The value of a node at an index: known, loaded, or computed on the spot."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, Union

from symgrad import dims
from symgrad.dims import Dim, Shape
from symgrad.expr import Expr, Op
from symgrad.loops import OF_REALS, Builder, Copy, Fail, Index, Value
from symgrad.ops.elementwise import ByName
from symgrad.schedule.groups import Group, is_plain_reshape
from symgrad.schedule.storage import Allocation, Storage, row_major

__all__ = ["Indices", "Scalar", "Values"]

_NONE = (None,)
Indices = tuple[Index, ...]
Scalar = Union[Value, bool, int, float]


class Values(Allocation):
    """Index arithmetic, loads and stores, and the code of elementwise nodes."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.b = Builder()
        self.failures: list[str] = []
        # state of the emission
        self.memo: list[dict[tuple[Expr, Indices], Scalar]] = [{}]  # a dict for each open block
        self.places: list[dict[tuple[Expr, Indices, int], Index]] = [{}]  # positions read from data, likewise
        self.factors: list[dict[Expr, Any]] = [{}]  # matrices that were factored, likewise
        self.group: Group | None = None
        self.lane: Value | None = None  # the variable that the lanes run along
        self.mask: Value | None = None
        self.origin: Value | None = None  # first sample of the chunk
        self.count: Value | None = None  # samples in the chunk
        self.rounded: Value | None = None  # the same, rounded up to whole vectors
        self.worker: Value | None = None  # the number of the thread
        self.along_batch = True  # whether the lanes of a pass run along the samples
        self.rows: dict[Expr, Storage] = {}  # copies of batched nodes with the samples outermost, of the current pass

    @contextmanager
    def scope(self) -> Iterator[None]:
        self.memo.append({})
        self.places.append({})
        self.factors.append({})
        try:
            yield
        finally:
            self.memo.pop()
            self.places.pop()
            self.factors.pop()

    def address(self, node: Expr, storage: Storage, idx: Indices) -> Index:
        flat = Index()
        for position, stride in zip(idx, storage.strides, strict=True):
            flat = flat + position * stride
        if self.origin is not None and self.plan is not None and node in self.plan.axis:
            if storage.spread:
                flat = flat + Index.of(self.origin) * storage.inner
            elif not storage.local:
                flat = flat + Index.of(self.origin) * storage.strides[self.plan.axis[node]]
        return flat + self.share(storage)

    def share(self, storage: Storage) -> Index:
        """Where the part of a buffer begins that is this thread's own."""
        return Index() if self.worker is None else Index.of(self.worker) * storage.share

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

    def copy(self, source: Storage, target: Storage, shape: Shape) -> None:
        self.b.emit(Copy(target.buffer, Index(), source.buffer, Index(), Index.of(dims.total(shape))))

    def _store_mask(self, storage: Storage) -> Value | None:
        """Chunk buffers are padded to whole vectors; other arrays end where their samples do."""
        if storage.local:
            return None
        return self.mask if self.mask is not None else self._valid()

    def _valid(self) -> Value | None:
        """In a pass over the batch: which lanes hold samples."""
        if self.count is None or self.lane is None or not self.along_batch or self._always_full():
            return None
        return self.b.less(self.b.add(self.b.iota(self.lanes), self.b.index(self.lane)), self.count)

    def _always_full(self) -> bool:
        assert self.plan is not None
        return isinstance(self.plan.dim, int) and self.plan.dim % self.lanes == 0

    def _known(self, node: Expr, idx: Indices) -> Scalar | None:
        for scope in reversed(self.memo):
            if (node, idx) in scope:
                return scope[node, idx]
        return None

    def _stored(self, node: Expr) -> Storage | None:
        """The storage, if the node is to be loaded from it (its own group computes it)."""
        if not self.along_batch and node in self.rows:
            return self.rows[node]
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
        bad = self._refuse(bad, f"an index is out of range for an axis of size {size}")
        return Index.of(b.select(bad, 0, value))

    def _refuse(self, bad: Value, message: str) -> Value:
        """Fails with a message where the condition holds in a lane that counts; the condition in those lanes."""
        mask = self.mask if self.mask is not None else self._valid()
        if mask is not None:
            bad = self.b.and_(bad, mask)
        if message not in self.failures:
            self.failures.append(message)
        self.b.emit(Fail(bad, self.failures.index(message) + 1))
        return bad

    def _aligned(self, operand: Expr, node: Expr, idx: Indices) -> Indices:
        return self.aligned_shape(operand.shape, node.shape, idx)

    def aligned_shape(self, small: Shape, large: Shape, idx: Sequence[Index]) -> Indices:
        """The operand's index under NumPy's broadcasting."""
        if not small:
            return ()
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

    def emit_scalars(self, nodes: Sequence[Expr]) -> None:
        """Scalars that nothing is summed for, operands first: straight-line code, one visit a node."""
        known: dict[Expr, Scalar] = {}
        reals: dict[Expr, Value | float] = {}  # what most instructions take as it is
        write, written = self.b.real, self.written
        for node in nodes:
            name = _real_instruction(node.op)
            operands: Any = tuple(map(reals.get, node.args)) if name else _NONE
            if None in operands:
                self._fetch(node, known, reals)
                operands = tuple(map(reals.get, node.args)) if name else _NONE
            value: Scalar
            if name and None not in operands and (operands[0].__class__ is Value or operands[-1].__class__ is Value):
                value = reals[node] = write(name, operands)
            elif node.op.family == "elementwise":
                value = self._combine(node, [known[a] if a in known else reals[a] for a in node.args])
                _note(node, value, known, reals)
            else:  # an output that is a leaf or a view
                value = self.value_at(node, ())
            if node in written:
                for place in written[node]:
                    self.store(node, place, (), value)

    def _fetch(self, node: Expr, known: dict[Expr, Scalar], reals: dict[Expr, Value | float]) -> None:
        """The operands that are made elsewhere."""
        if node.op.family == "elementwise":
            for a in node.args:
                if a not in known and a not in reals:
                    _note(a, self.value_at(a, ()), known, reals)

    def _leaf(self, node: Expr, idx: Indices) -> Scalar | None:
        storage = self._stored(node)
        if storage is not None:
            return self.load(node, storage, idx)
        name = node.op.name
        if name == "constant":
            return node.params["value"]
        if name == "size":
            return self.b.index(node.params["dim"])
        if name == "arange":
            at = idx[0]
            if self.origin is not None and self.plan is not None and node in self.plan.axis:
                at = at + self.origin
            return self._integer(at)
        if name == "eye":
            row, column = self._integer(idx[0]), self._integer(idx[1])
            if idx[0] == Index():  # under a reshape this is the position in the whole matrix
                columns = self._dim(node.params["columns"])
                row = self.b.floordiv(column, columns)
                column = self.b.sub(column, self.b.mul(row, columns))
            return self.b.select(self.b.equal(row, column), 1.0, 0.0)
        return None

    def _combine(self, node: Expr, values: Sequence[Any]) -> Scalar:
        if node.op.family != "elementwise":
            return values[-1]
        assert node.op.lower is not None, f"op {node.op.name!r} has no lower: see symgrad/ops"
        if all(not isinstance(v, Value) for v in values):
            values = [self.b.constant(v) for v in values]
        if node.op.name == "label":
            size = node.params["size"]
            outside = self.b.or_(self.b.less(values[0], 0), self.b.greater_equal(values[0], self.b.index(size)))
            self._refuse(outside, f"a label is out of range: with {size} classes, labels are 0 … {dims.subtract(size, 1)}")
        value = node.op.lower(self.b, *values, **node.params)
        if isinstance(value, Value):
            return value if value.kind == node.kind else self.b.convert(value, node.kind)
        return self.b.constant(value, node.kind)


@cache
def _real_instruction(op: Op) -> str | None:
    """The instruction that an op is, if that makes reals of reals."""
    return op.lower.name if isinstance(op.lower, ByName) and op.lower.name in OF_REALS else None


def _note(node: Expr, value: Scalar, known: dict[Expr, Scalar], reals: dict[Expr, Value | float]) -> None:
    """Keeps a value. ``reals``: real ones, and numbers as they stand beside reals; those are ``known`` as they are, too."""
    if isinstance(value, Value) and value.kind == "real":
        reals[node] = value
        return
    known[node] = value
    if not isinstance(value, (Value, bool)):
        reals[node] = float(value)
