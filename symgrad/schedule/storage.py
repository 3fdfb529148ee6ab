"""Where values live: arguments, scratch, and chunk buffers with the batch axis last.

The one idea of the tile kernels: inside a pass over the batch, a node of shape (n, 16) lives in a buffer of
shape (16, chunk), so a tile kernel is the same code as any other, lanes running along an axis of stride 1.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from symgrad import dims
from symgrad.dims import Dim, Shape
from symgrad.expr import CONSTANT, SYMBOL, Expr, topological
from symgrad.loops import Buffer
from symgrad.schedule.batch import BatchPlan
from symgrad.schedule.groups import ASSEMBLED, form_groups
from symgrad.schedule.matrices import find_updates

__all__ = ["Allocation", "Storage", "row_major"]

CHUNK_BYTES = 96 * 1024  # what a pass over the batch may keep in flight: most of it in L1, the rest in L2
CHUNK_LIMIT = 512  # samples


@dataclass(frozen=True)
class Storage:
    """Where a node's values are. ``strides``: per axis. ``local``: the batch axis counts from the chunk's first
    sample; ``spread``: local, and all chunks are kept, one after another (``inner`` elements a sample). ``share``: every
    thread has so many elements of its own, one after another."""

    buffer: Buffer
    strides: tuple[Dim, ...]
    local: bool = False
    spread: bool = False
    inner: Dim = 1
    share: Dim = 0


def row_major(shape: Shape) -> tuple[Dim, ...]:
    strides: list[Dim] = []
    step: Dim = 1
    for d in reversed(shape):
        strides.append(step)
        step = dims.multiply(step, d)
    return tuple(reversed(strides))

class Allocation:
    """The groups of some outputs, and storage for whatever crosses from one to another. ``chunk``: samples a pass holds.

    ``inplace``: output → the symbol it is written over. ``gathered``: symbols that are no arguments; their storage
    is scratch that the caller fills (the training loop gathers its minibatches into it). ``known``: buffers of symbols, where
    another writer of the same program, or the caller, has made them; ``first``: the number that names of buffers begin with.
    """

    def __init__(
        self, outputs: Mapping[str, Expr], *, lanes: int, plan: BatchPlan | None, itemsize: int, gemms: Sequence[Expr],
        inplace: Mapping[str, Expr], gathered: Sequence[Expr] = (), threads: int = 1, known: Mapping[Expr, Buffer] | None = None,
        first: int = 0,
    ) -> None:  # fmt: skip
        self.outputs, self.lanes, self.plan, self.itemsize = dict(outputs), lanes, plan, itemsize
        self.inplace, self.gathered, self.threads = dict(inplace), tuple(gathered), threads
        self.known, self.first = known or {}, first
        self.scratch: list[Buffer] = []
        self.inputs: dict[Expr, Buffer] = {}
        self.constants: dict[Buffer, np.ndarray[Any, Any]] = {}
        self.output_buffers: dict[str, Buffer] = {}
        self.storage: dict[Expr, Storage] = {}  # where a node is read from
        self.written: dict[Expr, list[Storage]] = defaultdict(list)  # where a node is written to
        self.copies: list[tuple[Storage, Storage, Shape]] = []  # outputs that could not be written in place at once
        self.updates = find_updates(list(self.outputs.values()), gemms)
        self.groups = form_groups(list(self.outputs.values()), plan, gemms, self.updates)
        self.group_of = {m: g for g in self.groups for m in g.members}
        self._allocate()

    def _scratch(self, name: str, kind: str, shape: Shape) -> Buffer:
        buffer = Buffer(f"{name}{self.first + len(self.scratch)}", kind, shape, "scratch")
        self.scratch.append(buffer)
        return buffer

    def _allocate(self) -> None:
        order = topological(*self.outputs.values())
        for node in order:
            if node.op is SYMBOL and node not in self.gathered:
                role = "inout" if node in self.inplace.values() else "input"
                self.inputs[node] = self.known.get(node) or Buffer(node.name, node.kind, node.shape, role)
                self.storage[node] = Storage(self.inputs[node], row_major(node.shape))
            elif node.op is CONSTANT and node.shape:
                buffer = Buffer(f"constant{self.first + len(self.constants)}", node.kind, node.shape, "constant")
                self.constants[buffer] = node.params["value"]
                self.storage[node] = Storage(buffer, row_major(node.shape))
        for symbol in self.inplace.values():
            if symbol not in self.inputs:  # a state that no output reads
                self.inputs[symbol] = self.known.get(symbol) or Buffer(symbol.name, symbol.kind, symbol.shape, "inout")
                self.storage[symbol] = Storage(self.inputs[symbol], row_major(symbol.shape))
        readers = self._readers(order)
        self.chunk = self._choose_chunk([n for n in order if n in readers or n.op is SYMBOL])
        for symbol in self.gathered:
            self._allocate_gathered(symbol)
        for name, node in self.outputs.items():
            target = self.inplace.get(name)
            buffer = self.inputs[target] if target is not None else Buffer(name, node.kind, node.shape, "output")
            place = Storage(buffer, row_major(node.shape))
            if target is None:
                self.output_buffers[name] = place.buffer
            elif self._is_overwritten_early(node, target, order):
                late = Storage(self._scratch("next", node.kind, node.shape), row_major(node.shape))
                self.copies.append((late, place, node.shape))
                place = late
            self.written[node].append(place)
        for group in self.groups:
            for node in group.members:
                if node.op.family == "leaf":
                    continue  # an input that is handed out: copied from where it is
                assembled = node.op.name in ASSEMBLED
                if node not in readers and not assembled:
                    continue
                places = self.written[node]
                batched = self.plan is not None and node in self.plan.axis
                if node not in readers and places and not batched:
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
        most = min(CHUNK_LIMIT, CHUNK_BYTES // (values * self.itemsize))
        fit = max(self.lanes, most // self.lanes * self.lanes)
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
        via: dict[Expr, tuple[Expr, ...]] = {}  # what a node without a group reads
        readers: dict[Expr, int] = {}
        if len(self.groups) == 1:
            return readers
        group_of = self.group_of
        for node in order:
            group = group_of.get(node)
            if group is None:
                via[node] = tuple(dict.fromkeys(base for a in node.args for base in ([a] if a in group_of else via[a])))
                continue
            for a in node.args:
                there = group_of.get(a)
                if there is not group:
                    for base in via[a] if there is None else (a,):
                        readers[base] = max(readers.get(base, 0), group.section)
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
        size = dims.multiply(inner, padded)
        if spread or self.threads == 1:
            return Storage(self._scratch("c", node.kind, (size,)), tuple(strides), local=True, spread=spread, inner=inner)
        buffer = self._scratch("c", node.kind, (dims.multiply(size, self.threads),))
        return Storage(buffer, tuple(strides), local=True, inner=inner, share=size)
