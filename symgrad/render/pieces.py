"""Cuts long straight-line code into pieces, so that compile time stays linear in the length, and plans their registers.

LLVM's passes and its careful register allocator take more than linear time on one basic block of many thousand instructions.
Each piece becomes a function of its own, compiled by LLVM's quickest code generator, whose allocator sees one
instruction at a time. It has nothing to decide: it is planned here which values stand in registers and which in a frame in
memory, and no more of them are alive in the LLVM code than there are registers. What must leave is what is read last (L. A. Belady,
"A study of replacement algorithms for a virtual-storage computer", IBM Systems Journal 5, 1966), and a function call leaves
nothing in registers. Code with loops in it never goes into a piece: it is short to compile and hot to run.

Measured on value and gradient of formulas of 100,000 operations, 220,000 to 280,000 statements: without a plan LLVM wrote
values to its stack and to the frame, 18 to 26 bytes of code a statement; with it 9 to 11 (a random graph 357 to 134 µs a call,
robot arms 169 to 65, of which calls brought together are the larger part), in half of LLVM's time and as much of Python's more.
Vectors of divisions and square roots, too, won 5 % at 10,000 operations and lost more at 100,000: their calls empty the registers.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from symgrad.loops import Assign, Comment, Fail, Gather, Let, Load, Scatter, Statement, Store, Value
from symgrad.loops.walk import values, walk
from symgrad.render.batches import Batch, Step

__all__ = ["Frame", "Plan", "Reads", "runs"]

LONGEST = 4000  # so many simple statements in a row stay together
PIECE = 1000

_SIMPLE = (Let, Load, Store, Gather, Scatter, Assign, Fail, Comment)
NEVER = 1 << 60  # read nowhere any more
KNOWN = -1
Slot = tuple[Value, int]
Reads = Sequence[tuple[Value, int]]


@dataclass
class Frame:
    """The elements of one kind that values travel through; an element serves again when its value is dead."""

    size: int = 0
    _free: dict[int, list[int]] = field(default_factory=dict)

    def take(self, lanes: int) -> int:
        free = self._free.get(lanes)
        return free.pop() if free else self.take_new(lanes)

    def take_new(self, lanes: int) -> int:
        """An element that has never served."""
        self.size += lanes
        return self.size - lanes

    def take_block(self, count: int) -> int:
        """Neighbours, given back one by one; at a multiple of their number, so that one store fills them."""
        while self.size % count:
            self.give(self.size, 1)
            self.size += 1
        return self.take_new(count)

    def give(self, slot: int, lanes: int) -> None:
        self._free.setdefault(lanes, []).append(slot)


def runs(body: list[Statement]) -> Iterator[tuple[int, int, bool]]:
    """(start, stop, whether to cut) of the parts of a block, in order."""
    start = kept = 0
    for position in range(len(body) + 1):
        if position < len(body) and isinstance(body[position], _SIMPLE):
            continue
        if position - start > LONGEST:
            if kept < start:
                yield kept, start, False
            yield start, position, True
            kept = position
        start = position + 1
    if kept < len(body):
        yield kept, len(body), False


class Plan:
    """What a run of simple steps has in registers and in the frame; ``later`` is the rest of its block, ``known`` what is kept nowhere.

    Whoever writes the steps, one after the other, keeps the table ``next`` of the steps that read each value next, and says
    when a value is stored and when it is dead. ``reads``: what each step reads, with the step that reads it next.
    Once all is written, ``before`` is what the code around must store first, :meth:`after` what it finds in the frame.
    """

    def __init__(
        self, steps: list[Step], later: Iterable[Statement], known: Collection[Value], frames: dict[str, Frame], registers: int
    ) -> None:
        self.steps, self.frames, self.registers = steps, frames, registers
        self.later = dict.fromkeys((v for s in walk(later) for v in values(s)), len(steps))
        self.next = self.later.copy()
        self.reads = _reads(steps, known, self.next)
        self.next.update(dict.fromkeys(known, KNOWN))
        self.before: list[Slot] = []
        self.numbers: dict[str, int] = {}  # as texts, with their places in a table
        self._slots: dict[Value, int] = {}

    def number(self, text: str) -> int:
        """Where a number is in the table of all."""
        return self.numbers.setdefault(text, len(self.numbers))

    def slot(self, v: Value) -> int:
        """Where a value is in the frame."""
        if v not in self._slots:  # made by the code around: there from the start, so nothing else may have been there
            self._slots[v] = self.frames[v.kind].take_new(v.lanes)
            self.before.append((v, self._slots[v]))
        return self._slots[v]

    def new_slot(self, v: Value) -> int | None:
        """Where a value goes; ``None`` if it is in the frame already."""
        if v in self._slots:
            return None
        self._slots[v] = slot = self.frames[v.kind].take(v.lanes)
        return slot

    def release(self, v: Value) -> None:
        """The value is dead."""
        if v in self._slots:
            self.frames[v.kind].give(self._slots[v], v.lanes)

    def land(self, batch: Batch) -> int:
        """Where a batch's results go, from there on one after the other."""
        frame, places = self.frames["real"], dict(batch.places())
        start = frame.take_block(batch.room)
        for place in range(batch.room):
            v = places.get(place)
            if v is not None and v in self.next:
                self._slots[v] = start + place
            else:
                frame.give(start + place, 1)
        return start

    def after(self) -> list[Slot]:
        """Values of the run that are read later."""
        outer = {v for v, _ in self.before}
        found = [(v, self._slots[v]) for v in self.later if v in self._slots]
        for v, _ in found:
            self.release(v)
        return [(v, slot) for v, slot in found if v not in outer]


def _reads(steps: list[Step], known: Collection[Value], following: dict[Value, int]) -> list[Reads]:
    """What each step reads, with the step that reads it next; ``following`` begins with what is read behind them all, and ends
    with what reads each value first."""
    found: list[Reads] = []
    for position in range(len(steps) - 1, -1, -1):
        step = steps[position]
        read: Iterable[Any]
        if isinstance(step, Batch):
            read = dict.fromkeys(v for call in step.calls for v in values(call[0]))
        elif isinstance(step, Let) and not step.params:  # nearly all are
            read = step.args
            if len(step.args) > 2 or (len(step.args) == 2 and step.args[0] is step.args[1]):
                read = dict.fromkeys(step.args)
        else:
            read = dict.fromkeys(values(step))
        uses = [(v, following.get(v, NEVER)) for v in read if v.__class__ is Value and v not in known]
        for v, _ in uses:
            following[v] = position
        found.append(uses)
    found.reverse()
    return found
