"""Which node of the formula a statement was written for: what ``f.source("python", annotate=True)`` shows."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from symgrad.expr import Expr, substitute, symbol
from symgrad.loops import Statement, Value
from symgrad.loops.walk import walk
from symgrad.schedule.groups import Group
from symgrad.schedule.values import Indices, Scalar
from symgrad.schedule.writer import Writer

__all__ = ["AnnotatingWriter", "Origins"]

SHOWN_NODES = 40  # of a formula in a note: the outermost ones
ELIDED = "elided__"


class AnnotatingWriter(Writer):
    """A writer that remembers for which node each value was made. Values are numbered in the order in which they are made:
    a node has the numbers from the first to the last while it is written, without those that other nodes got in between."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.made_for: dict[int, Expr] = {}
        self.products: dict[Statement, Expr] = {}

    @contextmanager
    def _writing(self, node: Expr) -> Iterator[None]:
        first = self.b.value("integer").number
        yield
        for number in range(first, self.b.value("integer").number):
            self.made_for.setdefault(number, node)

    def _combine(self, node: Expr, values: Sequence[Any]) -> Scalar:
        with self._writing(node):
            return super()._combine(node, values)

    def emit_scalars(self, nodes: Sequence[Expr]) -> None:
        for node in nodes:
            value = self.value_at(node, ())
            for place in self.written.get(node, ()):
                self.store(node, place, (), value)

    def _emit_reduction(self, node: Expr, points: list[Indices]) -> None:
        with self._writing(node):
            super()._emit_reduction(node, points)

    def emit_group(self, group: Group) -> None:
        first, before = group.members[0], len(self.b.body)
        with self._writing(first):
            super().emit_group(group)
        if group.gemm:
            self.products.update(dict.fromkeys(walk(self.b.body[before:]), first))


class Origins:
    """Statements and values of a program → the formulas that they compute, as text."""

    def __init__(self, writer: AnnotatingWriter) -> None:
        self._made_for, self._products = writer.made_for, writer.products
        self._stored = {node: places[0].buffer.name for node, places in writer.written.items() if node in writer.storage and places}

    def text(self, made: Value | Statement, names: Mapping[str, str]) -> str | None:
        """The formula of what ``made`` computes: stored parts by what ``names`` calls their buffers, ``…`` for what is too deep."""
        node = self._made_for.get(made.number) if isinstance(made, Value) else self._products.get(made)
        if node is None:
            return None
        seen, stand_ins = {node}, dict[Expr, Expr]()
        waiting = deque([node])
        while waiting:
            for a in waiting.popleft().args:
                if a in seen:
                    continue
                seen.add(a)
                if a in self._stored and self._stored[a] in names:
                    stand_ins[a] = symbol(names[self._stored[a]], a.shape)
                elif a.args and len(seen) > SHOWN_NODES:
                    stand_ins[a] = symbol(ELIDED, a.shape)
                else:
                    waiting.append(a)
        return str(substitute(node, stand_ins)).replace(ELIDED, "…")
