"""The body of a kernel as LLVM text: statements, indices, dimensions. Arithmetic is in ``llvm_instructions``."""

from __future__ import annotations

import ast
import math
import re
import struct
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from llvmlite import ir

from symgrad.dims import Dim
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
    Prefetch,
    Register,
    Scatter,
    Statement,
    Store,
    Value,
    kind_of,
)
from symgrad.render import pieces

__all__ = ["Apart", "Body", "Context", "TextFunction", "constant_text", "memory_type", "quoted", "value_type"]

Affine = tuple[str | None, int]  # a text and a number to add to it; None stands for 0


def quoted(name: str) -> str:
    """A global name as LLVM reads it."""
    return '@"' + "".join(c if " " <= c <= "~" and c not in '"\\' else "".join(f"\\{b:02x}" for b in c.encode()) for c in name) + '"'


BATCH = 16  # pieces of a module that is compiled while the next one is written


class Context:
    """What the functions of one kernel share: the module, the width of reals, the flags, the declarations."""

    def __init__(self, module: Any, name: str, dtype: str, fastmath: bool, blas_integer: int, handlers: Mapping[str, Any]) -> None:
        self.handlers = handlers  # how instructions are written
        self.module, self.name, self.dtype, self.blas_integer = module, name, dtype, blas_integer
        self.real = "double" if dtype == "float64" else "float"
        # Formulas are computed op by op, as NumPy does: 6*x - 4 is 0 at 2/3. Only "fma", the accumulators', may fuse.
        self.flags = "reassoc nsz arcp contract afn" if fastmath else ""
        self.functions: list[str] = []  # the texts of pieces, and of what they need
        self.tables = 0  # tables of numbers among them
        self.apart: Apart | None = None  # where pieces go if not here
        self.home = module  # where math functions are written
        self.places: dict[Buffer, int] = {}  # scalar arguments that are found through the table of arguments: there are many
        self.math: dict[Any, str] = {}  # names of math functions by instruction, lanes and parameters
        self.blas_threads = 0  # how many the library's matrix products may use

    def width(self, kind: str) -> int:
        """Bytes of an element in memory."""
        return 1 if kind == "boolean" else 4 if (kind, self.dtype) == ("real", "float32") else 8

    def suffix(self, kind: str, lanes: int) -> str:
        """The part of an intrinsic's name that stands for a type."""
        element = "i64" if kind == "integer" else "i1" if kind == "boolean" else "f64" if self.real == "double" else "f32"
        return element if lanes == 1 else f"v{lanes}{element}"

    def declare(self, name: str, result: str, parameters: list[str]) -> None:
        if name not in self.module.globals:
            ir.Function(self.module, ir.FunctionType(_ir_type(result), [_ir_type(p) for p in parameters]), name)


class Apart:
    """Modules for pieces, which are compiled with less care: each is handed to ``take`` as text when it is full, so that LLVM
    can be at work on it while the next one is written. Their functions and those of the kernel's module call one another."""

    def __init__(self, kernel: Context, take: Callable[[str], None]) -> None:
        self.kernel, self.take = kernel, take
        self.open: Context | None = None

    def context(self) -> Context:
        """Where the next piece goes."""
        if self.open is not None and len(self.open.functions) == BATCH:
            self.finish()
        if self.open is None:
            kernel, module = self.kernel, ir.Module(f"{self.kernel.name}.pieces")
            module.triple, module.data_layout = kernel.module.triple, kernel.module.data_layout
            self.open = Context(module, kernel.name, kernel.dtype, bool(kernel.flags), kernel.blas_integer, kernel.handlers)
            self.open.home = kernel.module
        return self.open

    def finish(self) -> None:
        """Hands on what has been written."""
        if self.open is not None:
            self.take("\n".join([str(self.open.module), *self.open.functions]))
            self.open = None


@lru_cache(maxsize=256)
def _ir_type(text: str) -> Any:
    if text.startswith("<"):
        count, element = text[1:-1].split(" x ")
        return ir.VectorType(_ir_type(element), int(count))
    plain = {"void": ir.VoidType, "double": ir.DoubleType, "float": ir.FloatType, "ptr": ir.PointerType}
    return plain[text]() if text in plain else ir.IntType(int(text[1:]))


def value_type(context: Context, kind: str, lanes: int = 1) -> str:
    element = context.real if kind == "real" else "i64" if kind == "integer" else "i1"
    return element if lanes == 1 else f"<{lanes} x {element}>"


def memory_type(context: Context, kind: str, lanes: int = 1) -> str:
    return value_type(context, kind, lanes).replace("i1", "i8")


def _bits(number: float, real: str) -> str:  # not remembered: a cache would take -0.0 for 0.0
    if real == "float":  # LLVM writes a float as the double of the same value
        try:
            number = struct.unpack("<f", struct.pack("<f", number))[0]
        except OverflowError:
            number = math.copysign(math.inf, number)
    return f"0x{struct.unpack('<Q', struct.pack('<d', number))[0]:016X}"


def constant_text(context: Context, number: bool | int | float, lanes: int) -> str:
    if isinstance(number, bool):
        text = "true" if number else "false"
    elif isinstance(number, int):
        text = str((number + 2**63) % 2**64 - 2**63)
    else:
        text = _bits(number, context.real) if number == number else "0x7FF8000000000000"
    if lanes == 1:
        return text
    element = value_type(context, kind_of(number))
    return "<" + ", ".join([f"{element} {text}"] * lanes) + ">"


def _sine_and_cosine(body: list[Statement]) -> set[Any]:
    """Of which values the statements take both sine and cosine."""
    of: dict[str, set[Any]] = {"sin": set(), "cos": set()}
    for s in body:
        if s.__class__ is Let and s.op in of and s.value.lanes > 1:
            of[s.op].add(s.args[0])
    return of["sin"] & of["cos"]


class TextFunction(ir.Function):  # type: ignore[misc]  # llvmlite has no types
    """A function of an ``ir.Module`` whose text is given; the module prints it in place of its own."""

    text = ""

    def __str__(self) -> str:
        return self.text.replace("define ", f"define {self.linkage} ", 1) if self.linkage else self.text

    def descr(self, buf: list[str]) -> None:
        buf.append(str(self))

    @property
    def is_declaration(self) -> bool:
        return False


class Handed(dict[Any, str]):
    """Texts that are made when first asked for."""

    def __init__(self, give: Callable[[Any], str]) -> None:
        self.give = give

    def __missing__(self, key: Any) -> str:
        self[key] = text = self.give(key)
        return text


class Body:
    """Writes one function. ``values`` are the texts of SSA values; ``affine`` what is known of scalar integers."""

    def __init__(self, context: Context, name: str) -> None:
        self.context, self.name = context, name
        self.counter = 0
        self.entry: list[Any] = []
        self.lines: list[Any] = []  # texts, and lists that are filled later
        self.current = "entry"
        self.values: dict[Value, str] = {}
        self.affine: dict[Value, Affine] = {}
        self.numbers: set[Value] = set()  # constants, none of them NaN
        self.registers: dict[Register, str] = {}
        self.buffers: dict[Buffer, str] = {}
        self.sizes: dict[str, str] = {}
        self.dims: dict[Dim, str] = {}
        self.dims_lines: list[Any] = self.entry
        self.sums: dict[Any, str] = {}  # what the current LLVM block shares: index sums, addresses, pairs of sine and cosine
        self.turned: set[Any] = set()  # of which the statements at hand take both sine and cosine
        self.frames = {kind: pieces.Frame() for kind in ("real", "integer", "boolean")}
        self.frame = {kind: Buffer(f"frame_{kind}", kind, (0,)) for kind in self.frames}
        self.buffers.update((b, f"%frame.{kind}") for kind, b in self.frame.items())
        self.has_loops = self.has_threads = False
        self.rooms: set[str] = set()  # what stands on the stack for matrix products

    # --- text ---

    def line(self, text: str) -> None:
        self.lines.append(text)

    def emit(self, text: str) -> str:
        self.counter += 1
        name = f"%v{self.counter}"
        self.lines.append(f"  {name} = {text}")
        return name

    def label(self) -> str:
        self.counter += 1
        return f"L{self.counter}"

    def start(self, label: str) -> None:
        """The following lines form the block of this label."""
        self.lines.append(f"{label}:")
        self.current = label
        self.sums = {}

    def in_entry(self, text: str) -> str:
        self.counter += 1
        name = f"%v{self.counter}"
        self.entry.append(f"  {name} = {text}")
        return name

    def text(self, header: str) -> str:
        parts: list[str] = [header, "{", "entry:"]
        stack = [iter(self.lines), iter(self.entry)]
        while stack:
            for item in stack[-1]:
                if isinstance(item, list):
                    stack.append(iter(item))
                    break
                parts.append(item)
            else:
                stack.pop()
        return "\n".join([*parts, "}", ""])

    # --- operands ---

    def type(self, kind: str, lanes: int = 1) -> str:
        return value_type(self.context, kind, lanes)

    def ref(self, operand: Operand, lanes: int = 1) -> str:
        """The text of an operand; a number in so many lanes."""
        return self.values[operand] if isinstance(operand, Value) else constant_text(self.context, operand, lanes)

    def typed(self, operand: Operand, lanes: int = 1) -> str:
        if isinstance(operand, Value):
            return f"{self.type(operand.kind, operand.lanes)} {self.values[operand]}"
        return f"{self.type(kind_of(operand), lanes)} {self.ref(operand, lanes)}"

    def call(self, name: str, result: str, parameters: list[str], arguments: list[str], flags: str = "") -> str:
        """Calls an external function or intrinsic, declared when first used."""
        self.context.declare(name, result, parameters)
        listed = ", ".join(f"{p} {a}" for p, a in zip(parameters, arguments))
        return self.emit(f"call {flags + ' ' if flags else ''}{result} {quoted(name)}({listed})")

    # --- dimensions and indices ---

    def dim(self, dim: Dim) -> str:
        """A dimension's text. It is computed once, where its names are bound."""
        if isinstance(dim, int):
            return str(dim)
        if dim not in self.dims:
            outer, self.lines = self.lines, self.dims_lines
            self.dims[dim] = self._dim(ast.parse(dim, mode="eval").body)
            self.lines = outer
        return self.dims[dim]

    def _dim(self, node: ast.AST) -> str:
        match node:
            case ast.Constant(value):
                return str(value)
            case ast.Name(name):
                return self.sizes[name]
            case ast.UnaryOp(_, operand):
                return self.emit(f"sub i64 0, {self._dim(operand)}")
            case ast.BinOp(left, op, right):
                a, b = self._dim(left), self._dim(right)
                if isinstance(op, ast.FloorDiv):
                    return self.floor_quotient("i64", a, b)
                return self.emit(f"{ {ast.Add: 'add', ast.Sub: 'sub', ast.Mult: 'mul'}[type(op)] } nsw i64 {a}, {b}")
        raise AssertionError(f"{ast.dump(node)} in a dimension")

    def floor_quotient(self, kind: str, a: str, b: str) -> str:
        """Rounds down; ``b`` is not 0."""
        q = self.emit(f"sdiv {kind} {a}, {b}")
        r = self.emit(f"sub {kind} {a}, {self.emit(f'mul {kind} {q}, {b}')}")
        signs = self.emit(f"icmp slt {kind} {self.emit(f'xor {kind} {r}, {b}')}, 0")
        down = self.emit(f"and i1 {signs}, {self.emit(f'icmp ne {kind} {r}, 0')}")
        return self.emit(f"sub {kind} {q}, {self.emit(f'zext i1 {down} to {kind}')}")

    def position(self, index: Index) -> Affine:
        """An index as a text plus a number, so that neighbours share the text."""
        number = 0
        terms: list[str] = []
        for value, coefficient in index.terms:
            text: str | None = self.values[value]
            if value in self.affine:
                text, extra = self.affine[value]
                if isinstance(coefficient, int):
                    number += extra * coefficient
                elif extra:
                    text = self.values[value]
            if text is not None:
                terms.append(text if coefficient == 1 else self._product(text, self.dim(coefficient)))
        if isinstance(index.offset, int):
            number += index.offset
        else:
            terms.append(self.dim(index.offset))
        if not terms:
            return None, number
        total = terms[0]
        for term in terms[1:]:
            total = self.shared(("add", total, term), f"add nsw i64 {total}, {term}")
        return total, number

    def _product(self, a: str, b: str) -> str:
        return self.shared(("mul", a, b), f"mul nsw i64 {a}, {b}")

    def shared(self, key: tuple[Any, ...], text: str) -> str:
        if key not in self.sums:
            self.sums[key] = self.emit(text)
        return self.sums[key]

    def number(self, affine: Affine) -> str:
        text, extra = affine
        if text is None:
            return str(extra)
        return self.shared(("add", text, str(extra)), f"add nsw i64 {text}, {extra}") if extra else text

    def index(self, index: Index) -> str:
        return self.number(self.position(index))

    def address(self, buffer: Buffer, index: Index | Affine) -> str:
        text, extra = self.position(index) if isinstance(index, Index) else index
        pointer, element = self.buffers[buffer], memory_type(self.context, buffer.kind)
        if text is not None:
            pointer = self.shared(("at", pointer, text), f"getelementptr {element}, ptr {pointer}, i64 {text}")
        return self.shared(("at", pointer, str(extra)), f"getelementptr {element}, ptr {pointer}, i64 {extra}") if extra else pointer

    # --- statements ---

    def block(self, body: list[Statement]) -> None:
        sizes = self.sizes, self.dims, self.dims_lines
        turned, self.turned = self.turned, _sine_and_cosine(body)
        for start, stop, cut in pieces.runs(body):
            if cut:
                self.context.handlers["pieces"](self, body[start:stop], body[stop:])
                continue
            for statement in body[start:stop]:
                self.statement(statement)
        self.sizes, self.dims, self.dims_lines = sizes
        self.turned = turned

    def statement(self, s: Statement) -> None:
        _STATEMENTS[s.__class__](self, s)

    def let(self, s: Let) -> None:
        self.values[s.value] = self.context.handlers[s.op](self, s)

    def load(self, s: Load) -> None:
        lanes, kind = s.value.lanes, s.buffer.kind
        address = self.address(s.buffer, s.index)
        self.values[s.value] = self.from_memory(self.read(address, kind, lanes, s.mask), kind, lanes)

    def read(self, address: str, kind: str, lanes: int, mask: Value | None) -> str:
        type_, align = memory_type(self.context, kind, lanes), self.context.width(kind)
        if mask is None:
            return self.emit(f"load {type_}, ptr {address}, align {align}")
        if lanes == 1:
            before, on, after = self.current, self.label(), self.label()
            self.line(f"  br i1 {self.values[mask]}, label %{on}, label %{after}")
            self.start(on)
            loaded = self.emit(f"load {type_}, ptr {address}, align {align}")
            self.line(f"  br label %{after}")
            self.start(after)
            zero = "zeroinitializer"
            return self.emit(f"phi {type_} [{loaded}, %{on}], [{zero}, %{before}]")
        suffix = self.memory_suffix(kind, lanes)
        parameters = ["ptr", "i32", f"<{lanes} x i1>", type_]
        return self.call(f"llvm.masked.load.{suffix}.p0", type_, parameters, [address, str(align), self.values[mask], "zeroinitializer"])

    def from_memory(self, text: str, kind: str, lanes: int) -> str:
        if kind != "boolean":
            return text
        return self.emit(f"icmp ne {memory_type(self.context, kind, lanes)} {text}, zeroinitializer")

    def to_memory(self, text: str, kind: str, lanes: int) -> str:
        if kind != "boolean":
            return text
        return self.emit(f"zext {self.type(kind, lanes)} {text} to {memory_type(self.context, kind, lanes)}")

    def store(self, s: Store) -> None:
        lanes, kind = (s.value.lanes if isinstance(s.value, Value) else 1), s.buffer.kind
        self.write(self.address(s.buffer, s.index), self.to_memory(self.ref(s.value), kind, lanes), kind, lanes, s.mask)

    def write(self, address: str, text: str, kind: str, lanes: int, mask: Value | None) -> None:
        type_, align = memory_type(self.context, kind, lanes), self.context.width(kind)
        if mask is None:
            self.line(f"  store {type_} {text}, ptr {address}, align {align}")
        elif lanes == 1:
            on, after = self.label(), self.label()
            self.line(f"  br i1 {self.values[mask]}, label %{on}, label %{after}")
            self.start(on)
            self.line(f"  store {type_} {text}, ptr {address}, align {align}")
            self.line(f"  br label %{after}")
            self.start(after)
        else:
            name = f"llvm.masked.store.{self.memory_suffix(kind, lanes)}.p0"
            mask_type = f"<{lanes} x i1>"
            self.context.declare(name, "void", [type_, "ptr", "i32", mask_type])
            self.line(f"  call void {quoted(name)}({type_} {text}, ptr {address}, i32 {align}, {mask_type} {self.values[mask]})")

    def memory_suffix(self, kind: str, lanes: int) -> str:
        suffix = self.context.suffix(kind, lanes)
        return suffix[:-1] + "8" if kind == "boolean" else suffix

    def gather(self, s: Gather) -> None:
        lanes, kind = s.value.lanes, s.buffer.kind
        type_, element = memory_type(self.context, kind, lanes), memory_type(self.context, kind)
        pointer, align = self.buffers[s.buffer], self.context.width(kind)
        offsets = self.values[s.offsets]
        if lanes == 1:
            address = self.emit(f"getelementptr {element}, ptr {pointer}, i64 {offsets}")
            result = self.read(address, kind, 1, s.mask)
        elif s.mask is None:
            result = "poison"
            for lane in range(lanes):
                address = self._lane_address(element, pointer, offsets, lanes, lane)
                item = self.emit(f"load {element}, ptr {address}, align {align}")
                result = self.emit(f"insertelement {type_} {result}, {element} {item}, i32 {lane}")
        else:
            pointers = self.emit(f"getelementptr {element}, ptr {pointer}, <{lanes} x i64> {offsets}")
            parameters = [f"<{lanes} x ptr>", "i32", f"<{lanes} x i1>", type_]
            arguments = [pointers, str(align), self.values[s.mask], "zeroinitializer"]
            result = self.call(f"llvm.masked.gather.{self.memory_suffix(kind, lanes)}.v{lanes}p0", type_, parameters, arguments)
        self.values[s.value] = self.from_memory(result, kind, lanes)

    def _lane_address(self, element: str, pointer: str, offsets: str, lanes: int, lane: int) -> str:
        offset = self.emit(f"extractelement <{lanes} x i64> {offsets}, i32 {lane}")
        return self.emit(f"getelementptr {element}, ptr {pointer}, i64 {offset}")

    def scatter(self, s: Scatter) -> None:
        lanes, kind = s.value.lanes, s.buffer.kind
        type_, element = memory_type(self.context, kind, lanes), memory_type(self.context, kind)
        pointer, align = self.buffers[s.buffer], self.context.width(kind)
        offsets = self.values[s.offsets]
        text = self.to_memory(self.values[s.value], kind, lanes)
        if lanes == 1:
            self.write(self.emit(f"getelementptr {element}, ptr {pointer}, i64 {offsets}"), text, kind, 1, s.mask)
        elif s.mask is None:
            for lane in range(lanes):
                item = self.emit(f"extractelement {type_} {text}, i32 {lane}")
                address = self._lane_address(element, pointer, offsets, lanes, lane)
                self.line(f"  store {element} {item}, ptr {address}, align {align}")
        else:  # ordered from the first lane to the last, as the language reference says
            pointers = self.emit(f"getelementptr {element}, ptr {pointer}, <{lanes} x i64> {offsets}")
            name = f"llvm.masked.scatter.{self.memory_suffix(kind, lanes)}.v{lanes}p0"
            mask_type = f"<{lanes} x i1>"
            self.context.declare(name, "void", [type_, f"<{lanes} x ptr>", "i32", mask_type])
            arguments = f"{type_} {text}, <{lanes} x ptr> {pointers}, i32 {align}, {mask_type} {self.values[s.mask]}"
            self.line(f"  call void {quoted(name)}({arguments})")

    def define(self, s: Define) -> None:
        register = s.register
        if register not in self.registers:
            self.registers[register] = self.in_entry(f"alloca {self.type(register.kind, register.lanes)}")
        self.assign(s)

    def assign(self, s: Define | Assign) -> None:
        register = s.register
        type_ = self.type(register.kind, register.lanes)
        self.line(f"  store {type_} {self.ref(s.value, register.lanes)}, ptr {self.registers[register]}")

    def loop(self, s: Loop) -> None:
        if s.parallel:
            self.context.handlers["parallel"](self, s)
            return
        start, stop = self.position(s.start), self.position(s.stop)
        rounds = len(range(start[1], stop[1], s.step)) if start[0] == stop[0] else None
        if s.unroll:
            assert rounds is not None, "a loop of unknown length cannot be unrolled"
            for k in range(rounds):
                here = start[0], start[1] + k * s.step
                self.values[s.variable], self.affine[s.variable] = self.number(here), here
                self.block(s.body)
            return
        if rounds == 0:
            return
        self.has_loops = True
        first, last = self.number(start), self.number(stop)
        inside, outside = self.label(), self.label()
        compare = "slt" if s.step > 0 else "sgt"
        if rounds is None:
            self.line(f"  br i1 {self.emit(f'icmp {compare} i64 {first}, {last}')}, label %{inside}, label %{outside}")
        else:
            self.line(f"  br label %{inside}")
        before = self.current
        self.start(inside)
        hole: list[str] = []
        self.lines.append(hole)
        self.counter += 1
        variable = f"%v{self.counter}"
        self.values[s.variable] = variable
        self.affine.pop(s.variable, None)
        self.block(s.body)
        following = self.emit(f"add nsw i64 {variable}, {s.step}")
        hole.append(f"  {variable} = phi i64 [{first}, %{before}], [{following}, %{self.current}]")
        self.line(f"  br i1 {self.emit(f'icmp {compare} i64 {following}, {last}')}, label %{inside}, label %{outside}")
        self.start(outside)

    def branch(self, s: If) -> None:
        then, orelse, after = self.label(), self.label(), self.label()
        self.line(f"  br i1 {self.values[s.condition]}, label %{then}, label %{orelse if s.orelse else after}")
        for label, body in ((then, s.then), (orelse, s.orelse)):
            if body or label == then:
                self.start(label)
                self.block(body)
                self.line(f"  br label %{after}")
        self.start(after)

    def leave(self, condition: str, code: str) -> None:
        """Returns the code where the condition (one bit) holds."""
        bad, good = self.label(), self.label()
        self.line(f"  br i1 {condition}, label %{bad}, label %{good}")
        self.start(bad)
        self.line(f"  ret i32 {code}")
        self.start(good)

    def fail(self, s: Fail) -> None:
        condition = self.ref(s.condition)
        lanes = s.condition.lanes if isinstance(s.condition, Value) else 1
        if lanes > 1:
            condition = self.call(f"llvm.vector.reduce.or.v{lanes}i1", "i1", [f"<{lanes} x i1>"], [condition])
        self.leave(condition, str(s.code))

    def bind(self, s: BindSize) -> None:
        self.sizes = {**self.sizes, s.name: self.values[s.value]}
        self.dims, self.dims_lines = {}, []
        self.lines.append(self.dims_lines)

    def comment(self, s: Comment) -> None:
        self.line("  ; " + re.sub(r"[^ -~]", "?", s.text))

    def fill(self, s: Fill) -> None:
        kind = s.buffer.kind
        address, count = self.address(s.buffer, s.start), self.index(s.count)
        type_, width = memory_type(self.context, kind), self.context.width(kind)
        if not isinstance(s.number, Value) and constant_text(self.context, s.number, 1) in ("0", "false", "0x0000000000000000"):
            self.context.declare("llvm.memset.p0.i64", "void", ["ptr", "i8", "i64", "i1"])
            size = self.emit(f"mul nsw i64 {self._not_negative(count)}, {width}")
            self.line(f"  call void @llvm.memset.p0.i64(ptr align {width} {address}, i8 0, i64 {size}, i1 false)")
            return
        text = self.to_memory(self.ref(s.number), kind, 1)
        before, inside, outside = self.current, self.label(), self.label()
        self.line(f"  br i1 {self.emit(f'icmp sgt i64 {count}, 0')}, label %{inside}, label %{outside}")
        self.start(inside)
        k, following = f"%v{self.counter + 1}", f"%v{self.counter + 2}"
        self.emit(f"phi i64 [0, %{before}], [{following}, %{inside}]")
        self.emit(f"add nuw nsw i64 {k}, 1")
        self.line(f"  store {type_} {text}, ptr {self.emit(f'getelementptr {type_}, ptr {address}, i64 {k}')}, align {width}")
        self.line(f"  br i1 {self.emit(f'icmp slt i64 {following}, {count}')}, label %{inside}, label %{outside}")
        self.start(outside)
        self.has_loops = True

    def _not_negative(self, count: str) -> str:
        if count.isdigit():
            return count
        return self.call("llvm.smax.i64", "i64", ["i64", "i64"], [count, "0"])

    def copy(self, s: Copy) -> None:
        target, source = self.address(s.target, s.target_start), self.address(s.source, s.source_start)
        width = self.context.width(s.target.kind)
        size = self.emit(f"mul nsw i64 {self._not_negative(self.index(s.count))}, {width}")
        self.context.declare("llvm.memcpy.p0.p0.i64", "void", ["ptr", "ptr", "i64", "i1"])
        self.line(f"  call void @llvm.memcpy.p0.p0.i64(ptr align {width} {target}, ptr align {width} {source}, i64 {size}, i1 false)")

    def prefetch(self, s: Prefetch) -> None:
        self.context.declare("llvm.prefetch.p0", "void", ["ptr", "i32", "i32", "i32"])
        self.line(f"  call void @llvm.prefetch.p0(ptr {self.address(s.buffer, s.index)}, i32 {int(s.write)}, i32 3, i32 1)")

    def gemm(self, s: Gemm) -> None:
        self.context.handlers["gemm"](self, s)

    # --- pieces ---

    def frame_buffers(self) -> list[Buffer]:
        """The buffers through which values cross from piece to piece, now that their sizes are known."""
        found = []
        for kind, frame in self.frames.items():
            if frame.size:
                buffer = Buffer(f"frame_{kind}", kind, (frame.size,))
                self.buffers[buffer] = self.buffers[self.frame[kind]]
                found.append(buffer)
        return found

    def to_frame(self, slots: list[pieces.Slot]) -> None:
        for value, slot in slots:
            text = self.to_memory(self.values[value], value.kind, value.lanes)
            self.write(self.address(self.frame[value.kind], (None, slot)), text, value.kind, value.lanes, None)

    def from_frame(self, slots: list[pieces.Slot]) -> None:
        for value, slot in slots:
            text = self.read(self.address(self.frame[value.kind], (None, slot)), value.kind, value.lanes, None)
            self.values[value] = self.from_memory(text, value.kind, value.lanes)


_STATEMENTS: dict[type, Callable[[Body, Any], None]] = {
    Let: Body.let, Load: Body.load, Store: Body.store, Gather: Body.gather, Scatter: Body.scatter, Define: Body.define,
    Assign: Body.assign, Loop: Body.loop, If: Body.branch, Gemm: Body.gemm, Fill: Body.fill, Copy: Body.copy, Prefetch: Body.prefetch,
    Fail: Body.fail, BindSize: Body.bind, Comment: Body.comment,
}  # fmt: skip
