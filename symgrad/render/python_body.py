"""The body of a loop program as lines of Python: indices with an axis each, values that are used once written where they are used."""

from __future__ import annotations

import keyword
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

from symgrad import dims
from symgrad.dims import Dim, Shape
from symgrad.loops import (
    Assign,
    BindSize,
    Buffer,
    Comment,
    Copy,
    Define,
    Fail,
    Fill,
    Gather,
    Gemm,
    If,
    Index,
    Let,
    Load,
    Loop,
    Operand,
    Program,
    Register,
    Scatter,
    Statement,
    Store,
    Value,
    kind_of,
)
from symgrad.loops.walk import buffers, made, registers, values, walk

__all__ = ["Names", "PythonBody", "comment_text"]

WIDEST = 88  # characters of an expression, then it gets a line of its own
WIDEST_CODE, WIDEST_NOTE, LEAST_NOTE = 56, 60, 24  # characters of a line before its note, and of a formula in a note
WIDEST_LINE = 120  # with its note, whose formula is shortened for that
FREE = frozenset("to_real to_integer to_boolean splat extract interleave iota index read constant".split())  # no operations of the formula
RESERVED = frozenset(
    "abs bool convert digamma float floor_divide gelu gelu_tanh int math matrix max min njit np numba polygamma put_matrix range".split()
    + "remainder sigmoid silu".split()
    + "TypeError ValueError IndexError".split()
)


def comment_text(text: str) -> str:
    """The text as it may stand in a comment or, with quotes replaced, in a docstring: one line, printable."""
    return "".join(c if c.isprintable() else "?" for c in text)


class Names:
    """Python names that are legal, ours and different from each other."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self.taken = set(taken) | RESERVED

    def make(self, wish: str) -> str:
        """The wish itself where it is legal and free."""
        base = unicodedata.normalize("NFKC", wish)
        if not base.isidentifier() or keyword.iskeyword(base) or base in RESERVED or base.startswith("__"):
            base = re.sub(r"\W+", "_", base, flags=re.ASCII).strip("_") or "x"
            if base[0].isdigit() or not base.isidentifier():
                base = "x" + base
            if keyword.iskeyword(base) or base in RESERVED:
                base += "_"
        name, number = base, 2
        while name in self.taken:
            name, number = f"{base}_{number}", number + 1
        self.taken.add(name)
        return name


# How tightly expressions bind, loosest first.
CONDITIONAL, OR, AND, NOT, COMPARE, XOR, BITAND, SHIFT, SUM, PRODUCT, UNARY, POWER, ATOM = range(13)


@dataclass(frozen=True)
class Text:
    """An expression: how tightly it binds, what memory it reads. ``rest``: where it is a sum, the other part by part.
    ``made``: the value that it is; ``operations``: how many it stands for."""

    text: str
    level: int = ATOM
    reads: frozenset[Any] = frozenset()
    rest: tuple[tuple[str, str], ...] = ()
    made: Value | None = None
    operations: int = 0

    def inside(self, level: int) -> str:
        return self.text if self.level >= level else f"({self.text})"


@dataclass(frozen=True)
class Note:
    """What a line computes, and with how many operations in all (``None`` where that is open until it runs)."""

    made: Value | Statement
    operations: Dim | None


class PythonBody:
    """Writes the statements of one program with one lane."""

    def __init__(
        self, program: Program, names: Names, arrays: dict[Buffer, str], scalars: dict[Buffer, str], sizes: dict[str, str]
    ) -> None:
        self.program, self.names, self.arrays, self.scalars, self.sizes = program, names, arrays, scalars, sizes
        self.lines: list[str] = []
        self.indent = 1
        self.helpers: set[str] = set()
        self.flat: dict[Buffer, str] = {}
        self.texts: dict[Value, Text] = {}
        self.pending: dict[Value, Text] = {}
        self.registers: dict[Register, str] = {}
        self.block_names: list[list[str]] = []  # registers' names serve again after their block
        self.ranges: dict[Value, tuple[Dim, Dim]] = {}
        self.uses = Counter(v for statement in walk(program.body) for v in values(statement))
        self.depth = 0
        self.temporaries = 0
        self.once: set[str] = set()  # temporaries that are read once
        self.notes: dict[int, Note] = {}  # lines that compute something
        self.positions: set[Value] = set()  # what follows from places and sizes alone: whole numbers, conditions, choices between numbers
        self.rounds: Dim | None = 1  # of the loops around, None where they are not known before they run

    # --- lines ---

    def line(self, text: str) -> None:
        self.lines.append("    " * self.indent + text if text else "")

    def assign(self, target: str, text: Text) -> None:
        """``target = text``, or ``target += rest`` where the text adds to the target."""
        rest = dict(text.rest).get(target)
        waiting = f"{'    ' * self.indent}{text.text} = "
        if text.text in self.once and self.lines and self.lines[-1].startswith(waiting):
            # the value got a line of its own only for its width: that line serves
            self.lines[-1] = f"{'    ' * self.indent}{target} = {self.lines[-1].removeprefix(waiting)}"
            return
        self.line(f"{target} += {rest}" if rest is not None else f"{target} = {text.text}")
        if text.made is not None and text.made not in self.positions:
            self.note(text.made, text.operations)

    def note(self, made: Value | Statement, operations: Dim) -> None:
        """What the last line computes, and how many operations that takes in all rounds of the loops around it."""
        self.notes[len(self.lines) - 1] = Note(made, None if self.rounds is None else dims.multiply(operations, self.rounds))

    def settle(self, value: Value) -> None:
        """Gives a value that was waiting for its use a line of its own."""
        text = self.pending.pop(value)
        self.temporaries += 1
        name = self.names.make(f"v{self.temporaries}")
        self.assign(name, text)
        self.texts[value] = Text(name, made=value)
        if self.uses[value] == 1:
            self.once.add(name)

    def before_writing(self, written: Iterable[Any]) -> None:
        written = set(written)
        for value in [v for v, text in self.pending.items() if text.reads & written]:
            self.settle(value)

    # --- operands ---

    def get(self, operand: Operand) -> Text:
        if isinstance(operand, Value):
            if operand in self.pending:
                return self.pending.pop(operand)
            return self.texts[operand]
        return number_text(operand)

    def size(self, dim: Dim) -> Text:
        if isinstance(dim, int):
            return number_text(dim)
        text = re.sub(r"[^\W\d]\w*", lambda found: self.sizes[found.group()], dim)
        return Text(text, ATOM if text.isidentifier() else SUM)

    def index(self, index: Index) -> Text:
        """An index as an expression."""
        parts: list[Text] = []
        for value, coefficient in index.terms:
            text = self.get(value)
            if coefficient != 1:
                text = Text(f"{text.inside(PRODUCT)} * {self.size(coefficient).inside(POWER)}", PRODUCT, text.reads)
            parts.append(text)
        if index.offset != 0 or not parts:
            parts.append(self.size(index.offset))
        if len(parts) == 1:
            return parts[0]
        total = " + ".join([parts[0].inside(SUM), *(part.inside(PRODUCT) for part in parts[1:])]).replace("+ -", "- ")
        return Text(total, SUM, frozenset[Any]().union(*(part.reads for part in parts)))

    def element(self, buffer: Buffer, index: Index) -> Text:
        """The text of an element, an index for each axis where each is known to lie inside."""
        reads: frozenset[Any] = frozenset() if buffer.role in ("input", "constant") else frozenset([buffer])
        if buffer in self.scalars:
            return Text(self.scalars[buffer], ATOM, reads)
        if len(buffer.shape) > 1:
            axes = self.axes(buffer.shape, index)
            if axes is not None:
                parts = [self.index(axis) for axis in axes]
                reads = reads.union(*(part.reads for part in parts))
                return Text(f"{self.arrays[buffer]}[{', '.join(part.text for part in parts)}]", ATOM, reads)
        at = self.index(index)
        return Text(f"{self.flattened(buffer)}[{at.text}]", ATOM, reads | at.reads)

    def flattened(self, buffer: Buffer) -> str:
        if len(buffer.shape) == 1:
            return self.arrays[buffer]
        if buffer not in self.flat:
            self.flat[buffer] = self.names.make(f"{self.arrays[buffer]}_flat")
        return self.flat[buffer]

    def axes(self, shape: Shape, index: Index) -> list[Index] | None:
        """The index taken apart by axes, or None where that cannot be shown to be the same element."""
        strides = [dims.total(shape[axis + 1 :]) for axis in range(len(shape))]
        parts = [Index() for _ in shape]
        pieces: list[tuple[Value | None, Dim]] = [*index.terms]
        offset: Dim = index.offset
        if isinstance(offset, int):
            for axis, stride in enumerate(strides):
                if isinstance(stride, int) and stride > 0 and shape[axis] != 1:
                    parts[axis] += offset // stride
                    offset %= stride
            if offset:
                return None
        else:
            pieces.append((None, offset))
        for value, coefficient in pieces:
            for axis, stride in enumerate(strides):
                count = _multiple(coefficient, stride)
                if shape[axis] != 1 and count is not None:
                    parts[axis] += Index(((value, count),)) if value is not None else count
                    break
            else:
                return None
        return parts if all(self.lies_inside(part, dim) for part, dim in zip(parts, shape)) else None

    def lies_inside(self, index: Index, size: Dim) -> bool:
        low, high = index.offset, index.offset
        for value, coefficient in index.terms:
            if value not in self.ranges or not isinstance(coefficient, int):
                return False
            first, last = self.ranges[value]
            ends = dims.multiply(first, coefficient), dims.multiply(last, coefficient)
            low = dims.add(low, ends[coefficient < 0])
            high = dims.add(high, ends[coefficient > 0])
        room = dims.subtract(dims.subtract(size, 1), high)
        return isinstance(low, int) and low >= 0 and isinstance(room, int) and room >= 0

    # --- statements ---

    def block(self, body: list[Statement]) -> None:
        sizes, length = self.sizes, len(self.lines)
        self.block_names.append([])
        for statement in body:
            _STATEMENTS[type(statement)](self, statement)
        if not any(line.strip() and not line.strip().startswith("#") for line in self.lines[length:]):
            self.line("pass")
        self.names.taken.difference_update(self.block_names.pop())
        self.sizes = sizes

    def make(self, value: Value, text: Text) -> None:
        """A value: written where it is used if that is once, a line of its own otherwise."""
        if value.lanes != 1:
            raise ValueError(f"loop program {self.program.name!r} has {value.lanes} lanes: Python is rendered from one with one lane")
        if not self.uses[value]:
            return
        if not text.reads and re.fullmatch(r"-?[\w.]+", text.text):
            self.texts[value] = text
            return
        self.pending[value] = text
        if self.uses[value] > 1 or len(text.text) > WIDEST:
            self.settle(value)

    def let(self, s: Let) -> None:
        if self.is_position(s):
            self.positions.add(s.value)
        if s.op == "constant":
            self.make(s.value, number_text(s.params["value"]))
        elif s.op == "index":
            self.make(s.value, self.index(s.params["index"]))
        elif s.op == "read":
            (register,) = s.args
            self.make(s.value, Text(self.registers[register], ATOM, frozenset([register])))
        else:
            args = [self.get(a) for a in s.args]
            reads = frozenset[Any]().union(*(a.reads for a in args))
            made_text = EXPRESSIONS[s.op](self, s, args)
            own = 2 if s.op == "fma" else s.op not in FREE and s.value not in self.positions
            operations = sum(a.operations for a in args) + own
            self.make(s.value, Text(made_text.text, made_text.level, reads, made_text.rest, s.value, operations))

    def is_position(self, s: Let) -> bool:
        """Whether a value follows from places and sizes alone, and is not arithmetic with real numbers: no operation of the formula."""
        if s.op in ("constant", "index"):
            return True
        fixed = all(a in self.positions for a in s.args if isinstance(a, Value)) and s.op != "read"
        return fixed and (s.value.kind != "real" or s.op in ("select", "splat"))

    def load(self, s: Load) -> None:
        self.make(s.value, self.masked(self.element(s.buffer, s.index), s.mask, s.buffer))

    def masked(self, text: Text, mask: Value | None, buffer: Buffer) -> Text:
        if mask is None:
            return text
        condition = self.get(mask)
        zero = {"real": "0.0", "integer": "0", "boolean": "False"}[buffer.kind]
        reads, operations = text.reads | condition.reads, text.operations + condition.operations
        return Text(f"{text.inside(OR)} if {condition.inside(OR)} else {zero}", CONDITIONAL, reads, made=text.made, operations=operations)

    def gather(self, s: Gather) -> None:
        at = self.get(s.offsets)
        text = Text(f"{self.flattened(s.buffer)}[{at.text}]", ATOM, at.reads | {s.buffer})
        self.make(s.value, self.masked(text, s.mask, s.buffer))

    def store(self, s: Store) -> None:
        target, text = self.element(s.buffer, s.index), self.get(s.value)
        if text.made is None and isinstance(s.value, Value):
            text = replace(text, made=s.value)  # a copy: the note says of what
        self.write(target.text, text, s.mask, s.buffer)

    def scatter(self, s: Scatter) -> None:
        target = f"{self.flattened(s.buffer)}[{self.get(s.offsets).text}]"
        self.write(target, self.get(s.value), s.mask, s.buffer)

    def write(self, target: str, text: Text, mask: Value | None, buffer: Buffer) -> None:
        condition = None if mask is None else self.get(mask).text
        self.before_writing([buffer])
        if condition is not None:
            self.line(f"if {condition}:")
            self.indent += 1
        self.assign(target, text)
        if condition is not None:
            self.indent -= 1

    def define(self, s: Define) -> None:
        text = self.get(s.value)
        if s.register not in self.registers:
            stem = re.sub(r"\d+$", "", s.register.name) or "total"
            # a name stands for one kind of number only, as numba gives it one type
            self.registers[s.register] = self.names.make(stem + {"real": "", "integer": "_n", "boolean": "_on"}[s.register.kind])
            self.block_names[-1].append(self.registers[s.register])
        self.before_writing([s.register])
        self.line(f"{self.registers[s.register]} = {text.text}")

    def set_register(self, s: Assign) -> None:
        text = self.get(s.value)
        self.before_writing([s.register])
        self.assign(self.registers[s.register], text)

    def loop(self, s: Loop) -> None:
        bounds = [self.index(s.start).text, self.index(s.stop).text]
        if bounds[0] == "0" and s.step == 1:
            bounds = bounds[1:]
        if s.step != 1:
            bounds.append(str(s.step))
        self.before_block(s.body)
        name = self.names.make("ijklpqrs"[self.depth] if self.depth < 8 else "i")
        self.texts[s.variable] = Text(name)
        if not s.start.terms and not s.stop.terms and s.step > 0:
            self.ranges[s.variable] = s.start.offset, dims.subtract(s.stop.offset, 1)
        self.line(f"for {name} in range({', '.join(bounds)}):")
        around, self.rounds = self.rounds, self.times(s)
        self.inner(s.body)
        self.rounds = around
        self.names.taken.discard(name)

    def times(self, s: Loop) -> Dim | None:
        """How often the body of a loop runs in all."""
        if self.rounds is None or s.start.terms or s.stop.terms:
            return None
        length = dims.subtract(s.stop.offset, s.start.offset)
        if isinstance(length, int):
            return dims.multiply(self.rounds, len(range(0, length, s.step)))
        times = dims.divide(length, s.step)
        return dims.multiply(self.rounds, times) if dims.multiply(times, s.step) == length else None

    def branch(self, s: If) -> None:
        condition = self.get(s.condition)
        self.before_block([*s.then, *s.orelse])
        self.line(f"if {condition.text}:")
        self.inner(s.then)
        if s.orelse:
            self.line("else:")
            self.inner(s.orelse)

    def before_block(self, body: list[Statement]) -> None:
        """What an inner block uses is computed before it, and what it could spoil too."""
        statements = list(walk(body))
        used = {v for statement in statements for v in values(statement)}
        for value in [v for v in self.pending if v in used]:
            self.settle(value)
        written: set[Any] = {b for statement in statements for b, mode in buffers(statement) if "w" in mode}
        written.update(r for statement in statements if made(statement) is None for r in registers(statement))
        self.before_writing(written)

    def inner(self, body: list[Statement]) -> None:
        self.indent += 1
        self.depth += 1
        self.block(body)
        self.depth -= 1
        self.indent -= 1

    def gemm(self, s: Gemm) -> None:
        found = self.with_vectors(s)
        product, place = found or (f"{self.factor(s.a, s.transpose_a, s.m, s.k)} @ {self.factor(s.b, s.transpose_b, s.k, s.n)}", None)
        alpha, beta = self.get(s.alpha), self.get(s.beta)
        if alpha.text != "1.0":
            product = f"{alpha.inside(PRODUCT)} * ({product})"
        buffer, start, stride = s.c
        self.before_writing([buffer])
        if place or self.is_whole(s.c, s.m, s.n):
            name, place = self.arrays[buffer], place or "..."
            target = name if place == "..." else f"{name}[{place}]"
            if beta.text == "1.0":
                self.line(f"{target} += {product}")
            else:
                self.line(f"{name}[{place}] = {product}" + ("" if beta.text == "0.0" else f" + {beta.inside(PRODUCT)} * {target}"))
        else:
            self.helpers.add("put_matrix")
            given = ", ".join([product, beta.text, self.arrays[buffer], self.index(start).text, self.index(stride).text])
            self.line(f"put_matrix({given})")
        sizes = [s.m, s.n, s.k]
        self.note(s, 0 if any(size.terms for size in sizes) else dims.multiply(2, dims.total(size.offset for size in sizes)))

    def with_vectors(self, s: Gemm) -> tuple[str, str] | None:
        """``A @ x``, ``x @ A`` and ``x @ y`` of whole arrays, and the place in the result: ``...`` or, of a number, ``()``."""
        one = Index((), 1)
        x, y = self.vector(s.a, s.transpose_a, s.m, s.k), self.vector(s.b, s.transpose_b, s.k, s.n)
        if s.m == one and s.n == one:
            return (f"{x} @ {y}", "()") if x and y and s.c[0].shape == () else None
        if not self.vector(s.c, False, s.m, s.n):
            return None
        if s.n == one and y and self.is_factor(s.a, s.transpose_a, s.m, s.k):
            return f"{self.factor(s.a, s.transpose_a, s.m, s.k)} @ {y}", "..."
        if s.m == one and x and self.is_factor(s.b, s.transpose_b, s.k, s.n):
            return f"{x} @ {self.factor(s.b, s.transpose_b, s.k, s.n)}", "..."
        return None

    def vector(self, at: tuple[Buffer, Index, Index], transposed: bool, rows: Index, columns: Index) -> str | None:
        """The array of one axis that a matrix of one row or one column is, all of it."""
        buffer, start, stride = at
        if transposed:
            rows, columns = columns, rows
        column = columns == Index((), 1) and (stride == Index((), 1) or rows == Index((), 1))
        length = rows if column else columns
        if start != Index() or length.terms or (length.offset,) != buffer.shape or not (column or rows == Index((), 1)):
            return None
        return self.arrays[buffer]

    def is_factor(self, at: tuple[Buffer, Index, Index], transposed: bool, rows: Index, columns: Index) -> bool:
        return self.is_whole(at, *((columns, rows) if transposed else (rows, columns)))

    def is_whole(self, at: tuple[Buffer, Index, Index], rows: Index, columns: Index) -> bool:
        buffer, start, stride = at
        plain = not (start.terms or stride.terms or rows.terms or columns.terms)
        whole = (rows.offset, columns.offset) == buffer.shape
        return plain and whole and start.offset == 0 and stride.offset == columns.offset

    def factor(self, at: tuple[Buffer, Index, Index], transposed: bool, rows: Index, columns: Index) -> str:
        buffer, start, stride = at
        if self.is_factor(at, transposed, rows, columns):
            return self.arrays[buffer] + (".T" if transposed else "")
        self.helpers.add("matrix")
        given = [self.arrays[buffer], *(self.index(x).text for x in (start, rows, columns, stride)), str(transposed)]
        return f"matrix({', '.join(given)})"

    def fill(self, s: Fill) -> None:
        number, buffer = self.get(s.number), s.buffer
        self.before_writing([buffer])
        if buffer in self.scalars:
            self.line(f"{self.scalars[buffer]} = {number.text}")
        elif s.start == Index() and s.count == Index((), buffer.size):
            self.line(f"{self.arrays[buffer]}[...] = {number.text}")
        else:
            self.line(f"{self.part(buffer, s.start, s.count)} = {number.text}")

    def part(self, buffer: Buffer, start: Index, count: Index) -> str:
        return f"{self.flattened(buffer)}[{self.index(start).text} : {self.index(start + count).text}]"

    def copy(self, s: Copy) -> None:
        self.before_writing([s.target])
        if s.target in self.scalars or s.source in self.scalars:
            one, other = self.element(s.target, s.target_start), self.element(s.source, s.source_start)
            self.line(f"{one.text} = {other.text}")
        else:
            self.line(f"{self.part(s.target, s.target_start, s.count)} = {self.part(s.source, s.source_start, s.count)}")

    def fail(self, s: Fail) -> None:
        message = self.program.failures[s.code - 1]
        error = "IndexError" if "index" in message or "label" in message else "ValueError"
        self.line(f"if {self.get(s.condition).text}:")
        self.line(f"    raise {error}({message!r})")

    def bind(self, s: BindSize) -> None:
        text = self.get(s.value)
        name = self.names.make(self.sizes[s.name])
        self.line(f"{name} = {text.text}")
        self.sizes = {**self.sizes, s.name: name}

    def comment(self, s: Comment) -> None:
        self.line(f"# {comment_text(s.text)}")


    # --- beside the lines ---

    def annotated(self, describe: Callable[[Value | Statement, Mapping[str, str]], str | None]) -> list[str]:
        """The lines, each with a comment: the formula of what it computes (once for several lines in a row) and its operations."""
        names = {buffer.name: name for buffer, name in (self.arrays | self.scalars).items()}
        told = {k: describe(note.made, names) for k, note in self.notes.items()}
        column = min(max((len(self.lines[k]) for k in told), default=0), WIDEST_CODE)
        lines, before = [], None
        for k, line in enumerate(self.lines):
            if told.get(k):
                formula, before = None if told[k] == before else told[k], told[k]
                operations = counted(self.notes[k].operations)
                room = max(min(WIDEST_NOTE, WIDEST_LINE - max(len(line), column) - len(operations) - 6), LEAST_NOTE)
                comment = "; ".join(part for part in (shortened(formula, room) if formula else "", operations) if part)
                line = f"{line:<{column}}  # {comment}" if comment else line
            lines.append(line)
        return lines

    def total(self) -> str:
        """The operations of all lines, where several have some; nothing where they are not known before they run."""
        found = [note.operations for note in self.notes.values() if note.operations != 0]
        known = [operations for operations in found if operations is not None]
        return f"{counted(reduce(dims.add, known))} in all" if len(known) == len(found) > 1 else ""


def shortened(text: str, width: int) -> str:
    """One line of a text, its middle left out where it is longer than that: between words, where there are any."""
    text = comment_text(" ".join(text.split()))
    if len(text) <= width:
        return text
    end, begin = width - width // 3 - 2, len(text) - width // 3 + 1
    space, next_space = text.rfind(" ", end // 2, end + 1), text.find(" ", begin - 1, len(text) - 3)
    return f"{text[: space if space > 0 else end]} … {text[next_space + 1 if next_space > 0 else begin :]}"


def counted(operations: Dim | None) -> str:
    """How many operations, where that is known and not none."""
    return "" if operations in (None, 0) else "1 operation" if operations == 1 else f"{operations} operations"


_STATEMENTS: dict[type, Callable[[PythonBody, Any], None]] = {
    Let: PythonBody.let, Load: PythonBody.load, Store: PythonBody.store, Gather: PythonBody.gather, Scatter: PythonBody.scatter,
    Define: PythonBody.define, Assign: PythonBody.set_register, Loop: PythonBody.loop, If: PythonBody.branch, Gemm: PythonBody.gemm,
    Fill: PythonBody.fill, Copy: PythonBody.copy, Fail: PythonBody.fail, BindSize: PythonBody.bind, Comment: PythonBody.comment,
}  # fmt: skip


def _multiple(a: Dim, b: Dim) -> int | None:
    """How many times ``a`` is ``b``, a whole number other than 0."""
    if isinstance(a, int) and isinstance(b, int):
        return a // b if b and a % b == 0 and a else None
    ratio = dims.divide(a, b) if b != 0 else 0
    return ratio if isinstance(ratio, int) and ratio != 0 and dims.multiply(b, ratio) == a else None


# --- expressions ---

Writer = Callable[[PythonBody, Let, list[Text]], Text]


def number_text(number: bool | int | float) -> Text:
    if isinstance(number, float) and not math.isfinite(number):
        return Text("math.nan") if math.isnan(number) else Text("math.inf") if number > 0 else Text("-math.inf", UNARY)
    text = repr(number)
    return Text(text, UNARY if text.startswith("-") else ATOM)


def _infix(symbol: str, level: int, right_level: int | None = None) -> Writer:
    """A left-associative operator: on the right, brackets also around what binds equally."""

    def write(e: PythonBody, s: Let, args: list[Text]) -> Text:
        a, b = args
        rest = ((a.text, b.text), (b.text, a.text)) if symbol == "+" else ()
        return Text(f"{a.inside(level)} {symbol} {b.inside(level + 1 if right_level is None else right_level)}", level, rest=rest)

    return write


def _comparison(symbol: str) -> Writer:
    return lambda e, s, args: Text(f"{args[0].inside(XOR)} {symbol} {args[1].inside(XOR)}", COMPARE)


def _call(name: str) -> Writer:
    return lambda e, s, args: Text(f"{name}({', '.join(a.text for a in args)})")


def _helper(name: str) -> Writer:
    def write(e: PythonBody, s: Let, args: list[Text]) -> Text:
        e.helpers.add(name)
        return Text(f"{name}({', '.join(a.text for a in args)})")

    return write


def _by_kind(real: Writer, integer: Writer) -> Writer:
    return lambda e, s, args: (real if s.value.kind == "real" else integer)(e, s, args)


def _fma(e: PythonBody, s: Let, args: list[Text]) -> Text:
    product = _infix("*", PRODUCT)(e, s, args[:2]).text
    return Text(f"{args[2].inside(SUM)} + {product}", SUM, rest=((args[2].text, product),))


def _number(name: str, one: str, zero: str) -> Writer:
    """A conversion; numba's ``float`` takes no booleans."""

    def write(e: PythonBody, s: Let, args: list[Text]) -> Text:
        if kind_of(s.args[0]) == "boolean":
            return Text(f"{one} if {args[0].inside(OR)} else {zero}", CONDITIONAL)
        return Text(f"{name}({args[0].text})")

    return write


def _select(e: PythonBody, s: Let, args: list[Text]) -> Text:
    c, a, b = args
    return Text(f"{a.inside(OR)} if {c.inside(OR)} else {b.inside(OR)}", CONDITIONAL)


def _powi(e: PythonBody, s: Let, args: list[Text]) -> Text:
    exponent = s.params["exponent"]
    if exponent == 0:
        return number_text(1.0 if s.value.kind == "real" else 1)
    return args[0] if exponent == 1 else Text(f"{args[0].inside(ATOM)}**{exponent}", POWER)


def _polygamma(e: PythonBody, s: Let, args: list[Text]) -> Text:
    e.helpers.update(("polygamma", "digamma"))
    return Text(f"polygamma({s.params['order']}, {args[0].text})")


def _shift_right(e: PythonBody, s: Let, args: list[Text]) -> Text:
    return Text(f"np.int64(np.uint64({args[0].text}) >> np.uint64({args[1].text}))")


def _same(e: PythonBody, s: Let, args: list[Text]) -> Text:
    return args[0]


_MATH = (
    "sqrt copysign exp log log1p expm1 sin cos tan asin acos atan atan2 sinh cosh tanh asinh acosh atanh erf erfc lgamma pow hypot"
).split()

EXPRESSIONS: dict[str, Writer] = {
    "add": _infix("+", SUM), "sub": _infix("-", SUM), "mul": _infix("*", PRODUCT), "div": _infix("/", PRODUCT),
    "neg": lambda e, s, args: Text(f"-{args[0].inside(UNARY)}", UNARY),
    "floordiv": _by_kind(_helper("floor_divide"), _infix("//", PRODUCT)), "mod": _by_kind(_helper("remainder"), _infix("%", PRODUCT)),
    "maximum": _by_kind(_call("np.maximum"), _call("max")), "minimum": _by_kind(_call("np.minimum"), _call("min")), "fma": _fma,
    "abs": _call("abs"), "floor": _call("np.floor"), "ceil": _call("np.ceil"), "round": _call("np.rint"),
    "less": _comparison("<"), "less_equal": _comparison("<="), "greater": _comparison(">"), "greater_equal": _comparison(">="),
    "equal": _comparison("=="), "not_equal": _comparison("!="), "isnan": _call("math.isnan"), "isfinite": _call("math.isfinite"),
    "and": _infix("and", AND), "or": _infix("or", OR), "xor": _comparison("!="),
    "not": lambda e, s, args: Text(f"not {args[0].inside(NOT)}", NOT), "select": _select,
    "to_real": _number("float", "1.0", "0.0"), "to_integer": _number("int", "1", "0"),
    "to_boolean": lambda e, s, args: Text(f"{args[0].inside(XOR)} != 0", COMPARE),
    "bitand": _infix("&", BITAND), "bitxor": _infix("^", XOR), "shift_left": _infix("<<", SHIFT), "shift_right": _shift_right,
    "powi": _powi, "polygamma": _polygamma, "digamma": _helper("digamma"), "sigmoid": _helper("sigmoid"),
    "silu": _helper("silu"), "gelu": _helper("gelu"), "gelu_tanh": _helper("gelu_tanh"),
    **{name: _call(f"math.{name}") for name in _MATH},
    "splat": _same, "extract": _same, "reduce_add": _same, "reduce_add_each": _same, "interleave": _same, "reduce_mul": _same,
    "reduce_maximum": _same, "reduce_minimum": _same,
    "iota": lambda e, s, args: Text("0"),
}  # fmt: skip
