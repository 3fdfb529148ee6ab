"""Cuts long straight-line code into pieces, so that compile time stays linear in the length.

LLVM's passes and its register allocator take more than linear time on one basic block of many thousand
instructions. Each piece becomes a function of its own; values that one piece makes and another one reads travel
through a frame in memory. Code with loops in it never goes into a piece: it is short to compile and hot to run.

Measured on value and gradient of random formulas, LLVM 22: 37,000 statements took 29 s in one block (its scheduler
compares all stores with all loads). The pieces are a module of their own where that can be, for which LLVM's quickest code
generator will do: straight-line code waits for its own results and for memory, seldom for registers. 287,000 statements
took 1.6 s so and 294 µs a call; optimised pieces of any size 6 to 9 s and 265 to 277 µs; ``optnone`` pieces beside
optimised functions, whose registers are still allocated by the slow method, 5.9 s and 286 µs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field

from symgrad.loops import Assign, Comment, Fail, Gather, Let, Load, Scatter, Statement, Store, Value
from symgrad.loops.walk import made, values, walk

__all__ = ["Frame", "Piece", "Run", "plan", "runs"]

LONGEST = 4000  # so many simple statements in a row stay together
PIECE = 1000

_SIMPLE = (Let, Load, Store, Gather, Scatter, Assign, Fail, Comment)
Slot = tuple[Value, int]


@dataclass
class Frame:
    """The elements of one kind that values travel through; an element serves again when its value is dead."""

    size: int = 0
    _free: dict[int, list[int]] = field(default_factory=dict)

    def take(self, lanes: int) -> int:
        if self._free.get(lanes):
            return self._free[lanes].pop()
        self.size += lanes
        return self.size - lanes

    def give(self, slot: int, lanes: int) -> None:
        self._free.setdefault(lanes, []).append(slot)


@dataclass(frozen=True)
class Piece:
    """``loads`` at their first use, ``stores`` where they are made: values with their elements of the frame of their kind."""

    body: list[Statement]
    loads: list[Slot]
    stores: list[Slot]


@dataclass(frozen=True)
class Run:
    """Pieces in their order; ``before`` and ``after`` are what the code around them stores and loads."""

    before: list[Slot]
    pieces: list[Piece]
    after: list[Slot]


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


def plan(body: list[Statement], later: Iterable[Statement], known: Collection[Value], frames: dict[str, Frame]) -> Run:
    """Cuts a run of simple statements; ``later`` is the rest of its block, ``known`` what needs no element of a frame."""
    chunks = [body[k : k + PIECE] for k in range(0, len(body), PIECE)]
    wanted = {v for statement in walk(later) for v in values(statement)}
    home: dict[Value, int] = {}  # the piece that makes a value
    last: dict[Value, int] = {}  # the last piece that reads it
    reads: list[dict[Value, None]] = []
    for number, chunk in enumerate(chunks):
        read: dict[Value, None] = {}
        for statement in chunk:
            if statement.__class__ is Let and not statement.params:  # nearly all are
                for a in statement.args:
                    if a.__class__ is Value:
                        read[a] = None
            else:
                read.update(dict.fromkeys(values(statement)))
            new = made(statement)
            if new is not None:
                home[new] = number
        reads.append({v: None for v in read if v not in known})
        last.update(dict.fromkeys(reads[-1], number))
    outer = [v for v in last if v not in home]
    slots = {v: frames[v.kind].take(v.lanes) for v in outer}
    before = [(v, slots[v]) for v in outer]
    ends: list[list[Value]] = [[] for _ in chunks]
    for value, number in last.items():
        ends[number].append(value)
    pieces = []
    for number, chunk in enumerate(chunks):
        loads = [(v, slots[v]) for v in reads[number] if home.get(v, -1) < number]
        made_here = [v for v in map(made, chunk) if v is not None and (last.get(v, -1) > number or v in wanted)]
        slots.update((v, frames[v.kind].take(v.lanes)) for v in made_here)
        pieces.append(Piece(chunk, loads, [(v, slots[v]) for v in made_here]))
        for value in ends[number]:
            if value in slots and value not in wanted:
                frames[value.kind].give(slots.pop(value), value.lanes)
    after = [(v, slots[v]) for v in slots if v in wanted and v in home]
    for value in list(slots):
        frames[value.kind].give(slots[value], value.lanes)
    return Run(before, pieces, after)
