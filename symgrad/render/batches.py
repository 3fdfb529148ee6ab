"""Calls of one mathematical function in straight-line code that do not wait for each other, brought together.

Eight sines in the lanes of one vector take little longer than one by itself. So calls wait, and what needs them with
them, until there are as many as lanes, or nothing else is left to do in a window of the code; windows, so that values live
not much longer than before. Sine and cosine of one value, wherever they stand, are one call.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Union

from symgrad.loops import Comment, Let, Load, Statement, Store, Value
from symgrad.loops.walk import values

__all__ = ["Batch", "Step", "batched"]

WINDOW = 1000  # statements


@dataclass(eq=False, slots=True)
class Batch:
    """Calls of one function. ``calls``: a statement each, or sine and cosine of one value (``op`` is then "sin_and_cos")."""

    op: str
    params: Mapping[str, Any]
    calls: list[tuple[Let, ...]]

    @property
    def width(self) -> int:
        """The lanes of the vector that they become: a power of two."""
        return 1 << (len(self.calls) - 1).bit_length()

    @property
    def room(self) -> int:
        """The elements that the results take, lanes without a call included."""
        return self.width * len(self.calls[0])

    def places(self) -> list[tuple[int, Value]]:
        """The results, each with its element."""
        return [(k * self.width + lane, s.value) for lane, call in enumerate(self.calls) for k, s in enumerate(call)]


Step = Union[Statement, Batch]


def batched(body: list[Statement], lanes: int, functions: Collection[str]) -> list[Step]:
    """The statements, simple ones, in an order that differs only where values allow it; ``functions``: the calls worth it."""
    pairs, second = _pairs(body)
    steps: list[Step] = []
    window = _Window(lanes, steps)
    for position, s in enumerate(body):
        if position in second:
            continue
        if s.__class__ is Let and s.op in functions and s.value.lanes == 1:
            window.call(pairs.get(position, (s,)), position)
        elif s.__class__ is Let and s.op != "read":
            if window.late:
                window.pure(s, position)
            else:
                steps.append(s)
        elif s.__class__ in (Load, Store, Comment):
            window.memory(s, position)
        else:  # registers, failures, places that are not known
            window.drain()
            steps.append(s)
        if position % WINDOW == WINDOW - 1:
            window.drain()
    window.drain()
    return steps


def _pairs(body: list[Statement]) -> tuple[dict[int, tuple[Let, Let]], set[int]]:
    """Sine and cosine of one value, by the position of what comes first, and the positions of what comes second."""
    first: dict[Value, tuple[int, Let]] = {}
    pairs: dict[int, tuple[Let, Let]] = {}
    second: set[int] = set()
    for position, s in enumerate(body):
        if isinstance(s, Let) and s.op in ("sin", "cos") and s.value.lanes == 1 and isinstance(s.args[0], Value):
            begun, other = first.setdefault(s.args[0], (position, s))
            if other.op != s.op and begun not in pairs:
                pairs[begun] = (other, s) if other.op == "sin" else (s, other)
                second.add(position)
    return pairs, second


class _Window:
    """Statements that wait for a call, and calls that wait for others."""

    def __init__(self, lanes: int, steps: list[Step]) -> None:
        self.lanes, self.steps = lanes, steps
        self.calls: dict[Any, list[tuple[Let, ...]]] = {}  # by function and its parameters
        self.late: dict[Any, list[int]] = {}  # values, and statements on memory, that are not there yet: who waits for them
        self.missing: dict[int, int] = {}  # how many a waiting statement waits for
        self.waiting: dict[int, Any] = {}
        self.touched: dict[Any, list[Any]] = {}  # late statements on a buffer
        self.full: list[tuple[Any, list[tuple[Let, ...]]]] = []

    def pure(self, s: Let, position: int) -> None:
        late = self.late
        wanted = {a for a in (s.args if not s.params else values(s)) if a.__class__ is Value and a in late}
        if wanted:
            self._wait(s, position, wanted, s.value)
        else:
            self.steps.append(s)

    def call(self, statements: tuple[Let, ...], position: int) -> None:
        wanted = {a for a in statements[0].args if a.__class__ is Value and a in self.late}
        for s in statements:
            self.late[s.value] = []
        if wanted:
            self._wait(statements, position, wanted)
        else:
            self._ready(statements)
            self._make_full()

    def memory(self, s: Load | Store | Comment, position: int) -> None:
        """After the late ones on the same buffer, unless both only read."""
        if not self.late or isinstance(s, Comment):
            self.steps.append(s)
            return
        touched = self.touched.setdefault(s.buffer, [])
        wanted = {a for a in values(s) if a in self.late}
        wanted.update(other for other in touched if isinstance(s, Store) or isinstance(other, Store))
        if not wanted:
            self.steps.append(s)
            return
        touched.append(s)
        self._wait(s, position, wanted, s, *([s.value] if isinstance(s, Load) else []))

    def _wait(self, what: Any, position: int, wanted: set[Any], *made: Any) -> None:
        self.waiting[position], self.missing[position] = what, len(wanted)
        for a in wanted:
            self.late[a].append(position)
        for m in made:
            self.late[m] = []

    def _ready(self, statements: tuple[Let, ...]) -> None:
        s = statements[0]
        key = ("sin_and_cos" if len(statements) == 2 else s.op, tuple(s.params.items()))
        group = self.calls.setdefault(key, [])
        group.append(statements)
        if len(group) == self.lanes:
            self.full.append((key, self.calls.pop(key)))

    def _make_full(self) -> None:
        while self.full:
            (op, _), group = self.full.pop()
            self._make(op, group)

    def _make(self, op: str, group: list[tuple[Let, ...]]) -> None:
        """The calls of a function, and what waited for nothing else."""
        first = group[0][0]
        if len(group) == len(group[0]) == 1:
            self.steps.append(first)
        else:
            self.steps.append(Batch(op, first.params, group))
        free: list[int] = []
        for s in (s for statements in group for s in statements):
            self._made(s.value, free)
        while free:
            what = self.waiting.pop(heapq.heappop(free))
            if what.__class__ is tuple:
                self._ready(what)
                continue
            self.steps.append(what)
            if not isinstance(what, Store):
                self._made(what.value, free)
            if not isinstance(what, Let):
                self.touched[what.buffer].remove(what)
                self._made(what, free)

    def _made(self, what: Any, free: list[int]) -> None:
        for position in self.late.pop(what):
            self.missing[position] -= 1
            if not self.missing[position]:
                del self.missing[position]
                heapq.heappush(free, position)

    def drain(self) -> None:
        """Leaves nothing waiting: the largest batch first."""
        while self.calls:
            key = max(self.calls, key=lambda key: len(self.calls[key]))
            self._make(key[0], self.calls.pop(key))
            self._make_full()
