"""Reductions and contractions: accumulators in registers, lanes along an output axis or along a summed one."""

from __future__ import annotations

from collections.abc import Sequence

from symgrad import dims
from symgrad.dims import Dim
from symgrad.expr import Expr
from symgrad.loops import Index, Value
from symgrad.schedule.batch import contract_letters
from symgrad.schedule.groups import REDUCERS, VIEWS
from symgrad.schedule.nests import Nests
from symgrad.schedule.storage import row_major
from symgrad.schedule.values import Indices, Scalar

__all__ = ["Reductions"]


class Reductions(Nests):
    """The inner loops of reducing nodes."""

    def strides_along(
        self, node: Expr, idx: Indices, variable: Value, seen: set[tuple[Expr, Indices]] | None = None
    ) -> list[Dim | None]:  # fmt: skip
        """For every load below a node: the step of its address along a variable (``None``: not affine).

        ``seen``: where earlier calls have been, which is left out, and which grows.
        """
        steps: list[Dim | None] = []
        stack = [(node, idx)]
        seen = set() if seen is None else seen
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
                inner = [Index.of(self.b.value("integer")) for _ in range(n.args[0].ndim + n.args[-1].ndim)]
                operands, _, _ = self._reduction(n, at, inner)
                stack.extend(operands)
        return steps

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

    def _join(self, node: Expr, a: Scalar, b: Scalar) -> Value:
        """Two partial results of a reduction as one."""
        return {"prod": self.b.mul, "max": self.b.maximum, "min": self.b.minimum}.get(node.op.name, self.b.add)(a, b)

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
        _, extents, batch = self._reduction(node, points[0], [Index()] * (node.args[0].ndim + node.args[-1].ndim))
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
                samples = self.count if batch[k] else None
                with b.loop(0, extents[k] if samples is None else samples) as variable, self.scope():
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
