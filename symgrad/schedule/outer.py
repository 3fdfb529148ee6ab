"""Contractions over the batch with the lanes along an output axis: sums of outer products, no lanes to add up at the end.

The gradient of a weight, ``dW[i, j] = sum over t of X[t, i] * D[t, j]``, can have its lanes along the samples t: every
element then needs a sum across lanes, once a chunk. Or along j: X is broadcast, and D is needed with j contiguous, so
the chunk of D is transposed first. Few samples and wide layers want the second, many samples and narrow ones the first.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from symgrad import dims
from symgrad.dims import Dim
from symgrad.expr import Expr
from symgrad.loops import Index
from symgrad.schedule.batch import contract_letters
from symgrad.schedule.groups import Group
from symgrad.schedule.reductions import Reductions
from symgrad.schedule.storage import Storage, row_major

__all__ = ["OuterProducts"]

LANE_SUM = 2.8  # instructions, shuffles and additions, of a lane of the vector that many sums across lanes make together


class OuterProducts(Reductions):
    """Copies of batched nodes with the samples outermost, and the decision where they pay."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._choose_outer()

    def _moving_operand(self, node: Expr) -> Expr | None:
        """The operand that alone has the last axis of a contraction."""
        if node.op.name != "contract" or not node.ndim or node.kind != "real":
            return None
        letters = contract_letters(node)
        last = letters[2][-1]
        found = [a for a, text in zip(node.args, letters, strict=False) if last in text]
        if len(found) != 1 or node.args[0] is node.args[1] or letters[node.args.index(found[0])].count(last) != 1:
            return None
        operand = found[0]
        return operand if self.plan is not None and operand in self.plan.axis and operand.kind == "real" else None

    def _choose_outer(self) -> None:
        """Marks the groups that are cheaper with the lanes along their last axis."""
        turned: set[tuple[int, Expr]] = set()
        for group in self.groups:
            if group.crossing and group.shape and self.lanes > 1 and self._prefers_outer(group, turned):
                group.outer = True
                turned.update((group.section, self._moving_operand(node)) for node in group.members)  # type: ignore[misc]

    def _prefers_outer(self, group: Group, known: set[tuple[int, Expr]]) -> bool:
        assert self.plan is not None
        samples = self.plan.dim if isinstance(self.plan.dim, int) and self.plan.dim < self.chunk else self.chunk
        steps = -(-samples // self.lanes)
        across = along = 0.0
        turned = set(known)
        for node in group.members:
            operand = self._moving_operand(node)
            size = dims.total(node.shape)
            inner = 1 if operand is None else self._summed(node)
            if operand is None or not isinstance(size, int) or inner is None:
                return False
            width = int(node.shape[-1])
            vectors = -(-width // self.lanes)
            across += size * inner * steps + size // width * vectors * self.lanes * LANE_SUM
            along += size // width * vectors * inner * samples
            if (group.section, operand) not in turned:
                turned.add((group.section, operand))
                along += vectors * inner * samples * (2 + self.lanes.bit_length() - 1)
        return along < across

    def _summed(self, node: Expr) -> int | None:
        """The product of the summed axes' sizes, the batch's left out."""
        _, extents, batch = self._reduction(node, (Index(),) * node.ndim, [Index()] * (node.args[0].ndim + node.args[1].ndim))
        total = dims.total(d for d, is_batch in zip(extents, batch, strict=True) if not is_batch)
        return total if isinstance(total, int) else None

    def turn_operands(self, group: Group) -> None:
        """Makes the copies that an outer group reads, where an earlier one has not."""
        for node in group.members:
            operand = self._moving_operand(node)
            assert operand is not None
            letters = contract_letters(node)
            axis = letters[node.args.index(operand)].index(letters[2][-1])
            if operand not in self.rows:
                place = self._row_storage(operand, axis)
                self._turn(operand, axis, place)
                self.rows[operand] = place

    def _row_storage(self, node: Expr, last: int) -> Storage:
        """Samples first, the ``last`` axis contiguous and padded to whole vectors."""
        assert self.plan is not None
        batch = self.plan.axis[node]
        order = [batch, *(k for k in range(node.ndim) if k not in (batch, last)), last]
        padded = -(-int(node.shape[last]) // self.lanes) * self.lanes
        sizes: list[Dim] = [self.chunk, *(node.shape[k] for k in order[1:-1]), padded]
        strides: list[Dim] = [0] * node.ndim
        for k, stride in zip(order, row_major(tuple(sizes)), strict=True):
            strides[k] = stride
        size = dims.total(sizes)
        buffer = self._scratch("r", node.kind, (dims.multiply(size, self.threads),))
        return Storage(buffer, tuple(strides), local=True, share=size if self.threads > 1 else 0)

    def _turn(self, node: Expr, last: int, place: Storage) -> None:
        """Transposes a chunk, a block of lanes by lanes at a time; columns beyond the last become zero."""
        assert self.plan is not None and self.rounded is not None
        b, w, batch = self.b, self.lanes, self.plan.axis[node]
        b.comment(f"samples first: {node.op.name} {dims.format_shape(node.shape)}")
        outer = [k for k in range(node.ndim) if k not in (batch, last)]
        width = int(node.shape[last])

        def block(at: dict[int, Index], start: Index, count: int) -> None:
            def vectors(t: Index) -> None:
                columns = []
                for k in range(w):
                    idx = tuple(t if axis == batch else start + k if axis == last else at[axis] for axis in range(node.ndim))
                    columns.append(b.constant(self.value_at(node, idx) if k < count else 0.0, "real", w))
                for k, row in enumerate(b.transpose(columns)):
                    idx = tuple(t + k if axis == batch else start if axis == last else at[axis] for axis in range(node.ndim))
                    b.store(place.buffer, self.address(node, place, idx), row)

            self._lane_loop(self.rounded, vectors, masked_tail=False)  # type: ignore[arg-type]

        def columns(points: list[tuple[Index, ...]]) -> None:
            (point,) = points
            at = dict(zip(outer, point, strict=True))
            whole = width // w * w
            if whole:
                with b.loop(0, whole, w) as j, self.scope():
                    block(at, Index.of(j), w)
            if whole < width:
                with self.scope():
                    block(at, Index((), whole), width - whole)

        self.nest([node.shape[k] for k in outer], [1] * len(outer), None, False, columns)

    @contextmanager
    def lanes_along_outputs(self) -> Iterator[None]:
        """Inside, the lanes of a pass over the batch run along another axis, and sums over samples are plain loops."""
        self.along_batch = False
        try:
            yield
        finally:
            self.along_batch = True
