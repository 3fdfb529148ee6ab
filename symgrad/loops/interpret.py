"""The slow interpreter of loop programs: NumPy scalars and vectors, every access checked. The renderers' oracle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from symgrad import dims
from symgrad.loops.builder import kind_of
from symgrad.loops.instructions import INSTRUCTIONS
from symgrad.loops.records import (
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
    Program,
    Register,
    Scatter,
    Statement,
    Store,
    Value,
)

__all__ = ["interpret"]

Array = np.ndarray[Any, Any]


def interpret(
    program: Program,
    buffers: Mapping[str, Array] | Sequence[Array],
    sizes: Mapping[str, int] | None = None,
    dtype: str = "float64",
) -> int:
    """Executes a program on the caller's arrays, which it changes in place, and returns 0 or the code of the failure.

    Args:
        program: a verified program.
        buffers: the arrays by buffer name, or in the order of ``program.arguments``; contiguous, reals of ``dtype``,
            integers int64, booleans bool. Those of ``program.constants`` may be left out of the mapping.
        sizes: the named dimensions.
        dtype: the width of reals, "float64" or "float32".

    Raises:
        IndexError: an access outside a buffer, with the buffer and the element.
        ValueError: an array of the wrong type or size.

    Scratch starts as NaN, the smallest integer and True, so that a read before the first write shows.

    >>> from symgrad.loops import Buffer, Builder, Program
    >>> b, x, y = Builder(), Buffer("x", "real", ("n",), "input"), Buffer("y", "real", ("n",), "output")
    >>> with b.loop(0, "n") as i:
    ...     b.store(y, i, b.mul(b.load(x, i), 2.0))
    >>> out = np.empty(3)
    >>> interpret(Program("double", (x, y), (), ("n",), b.body), [np.arange(3.0), out], {"n": 3}), out
    (0, array([0., 2., 4.]))
    """
    return _Machine(program, buffers, sizes or {}, dtype).run()


class _Failed(Exception):
    def __init__(self, code: int) -> None:
        self.code = code


class _Machine:
    def __init__(self, program: Program, buffers: Any, sizes: Mapping[str, int], dtype: str) -> None:
        self.program, self.sizes = program, dict(sizes)
        self.arguments = dict(self.sizes)
        self.types = {"real": np.dtype(dtype), "integer": np.dtype(np.int64), "boolean": np.dtype(bool)}
        self.values: dict[Value, Any] = {}
        self.registers: dict[Register, Any] = {}
        self.memory: dict[Buffer, Array] = {}
        for name in program.sizes:
            if name not in self.sizes:
                raise ValueError(f"loop program {program.name!r}: the size {name!r} is missing")
        for position, buffer in enumerate(program.arguments):
            self.memory[buffer] = self.flat(buffer, self.array(buffer, buffers, position))
        start = {"real": np.nan, "integer": np.iinfo(np.int64).min, "boolean": True}
        for buffer in program.scratch:
            self.memory[buffer] = np.full(max(0, dims.evaluate(buffer.size, self.sizes)), start[buffer.kind], self.types[buffer.kind])

    def array(self, buffer: Buffer, buffers: Any, position: int) -> Array:
        if not isinstance(buffers, Mapping):
            return np.asarray(buffers[position])
        if buffer.name in buffers:
            return np.asarray(buffers[buffer.name])
        if buffer in self.program.constants:
            return np.ascontiguousarray(self.program.constants[buffer], self.types[buffer.kind])
        raise ValueError(f"loop program {self.program.name!r}: the array for {buffer} is missing")

    def flat(self, buffer: Buffer, array: Array) -> Array:
        size = dims.evaluate(buffer.size, self.sizes)
        if array.dtype != self.types[buffer.kind] or not array.flags.c_contiguous or array.size != size:
            wanted = f"{size} contiguous {self.types[buffer.kind]}"
            raise ValueError(f"loop program {self.program.name!r}: {buffer} takes {wanted}, not {array.size} {array.dtype}")
        return array.reshape(-1)

    def run(self) -> int:
        try:
            with np.errstate(all="ignore"):
                self.block(self.program.body)
        except _Failed as failure:
            return failure.code
        return 0

    def block(self, body: list[Statement]) -> None:
        sizes = self.sizes
        for statement in body:
            _STEPS[type(statement)](self, statement)
        self.sizes = sizes

    # --- operands ---

    def get(self, operand: Operand) -> Any:
        return self.values[operand] if isinstance(operand, Value) else self.types[kind_of(operand)].type(operand)

    def cast(self, result: Any, value: Value | Register) -> Any:
        kind = self.types[value.kind]
        if value.lanes == 1:
            return np.asarray(result).astype(kind).reshape(())[()]
        return np.broadcast_to(np.asarray(result).astype(kind), (value.lanes,)).copy()

    def at(self, index: Index) -> int:
        position = dims.evaluate(index.offset, self.sizes)
        for value, coefficient in index.terms:
            position += int(self.values[value]) * dims.evaluate(coefficient, self.sizes)
        return position

    def checked(self, buffer: Buffer, offsets: Any, mask: Value | None) -> tuple[Array, Any, Any]:
        """The memory, the offsets and which of them are used; all of those must lie inside."""
        memory, offsets = self.memory[buffer], np.atleast_1d(offsets)
        on = np.ones(offsets.shape, bool) if mask is None else np.atleast_1d(self.values[mask])
        for offset in offsets[on]:
            if not 0 <= offset < memory.size:
                raise IndexError(f"loop program {self.program.name!r}: element {offset} of {buffer}, which has {memory.size}")
        return memory, offsets, on

    def range(self, buffer: Buffer, start: Index, count: int) -> Array:
        first, memory = self.at(start), self.memory[buffer]
        if count > 0 and not 0 <= first <= first + count <= memory.size:
            elements = f"elements {first} to {first + count - 1}"
            raise IndexError(f"loop program {self.program.name!r}: {elements} of {buffer}, which has {memory.size}")
        return memory[first : first + max(0, count)]

    # --- statements ---

    def let(self, s: Let) -> None:
        self.values[s.value] = self.cast(self.compute(s), s.value)

    def compute(self, s: Let) -> Any:
        match s.op:
            case "constant":
                return s.params["value"]
            case "index":
                return self.at(s.params["index"])
            case "iota":
                return np.arange(s.value.lanes)
            case "read":
                return self.registers[s.args[0]]
        return INSTRUCTIONS[s.op].evaluate(*(self.get(a) for a in s.args), **s.params)

    def load(self, s: Load) -> None:
        self.read(s.value, s.buffer, self.at(s.index) + np.arange(s.value.lanes), s.mask)

    def gather(self, s: Gather) -> None:
        self.read(s.value, s.buffer, self.values[s.offsets], s.mask)

    def read(self, value: Value, buffer: Buffer, offsets: Any, mask: Value | None) -> None:
        memory, offsets, on = self.checked(buffer, offsets, mask)
        result = np.zeros(offsets.shape, memory.dtype)
        result[on] = memory[offsets[on]]
        self.values[value] = self.cast(result, value)

    def store(self, s: Store) -> None:
        lanes = s.value.lanes if isinstance(s.value, Value) else 1
        self.write(s.buffer, self.at(s.index) + np.arange(lanes), self.get(s.value), s.mask)

    def scatter(self, s: Scatter) -> None:
        self.write(s.buffer, self.values[s.offsets], self.values[s.value], s.mask)

    def write(self, buffer: Buffer, offsets: Any, value: Any, mask: Value | None) -> None:
        memory, offsets, on = self.checked(buffer, offsets, mask)
        for offset, element, used in zip(offsets, np.broadcast_to(value, offsets.shape), on):
            if used:
                memory[offset] = element

    def assign(self, s: Define | Assign) -> None:
        self.registers[s.register] = self.cast(self.get(s.value), s.register)

    def loop(self, s: Loop) -> None:
        for k in range(self.at(s.start), self.at(s.stop), s.step):
            self.values[s.variable] = np.int64(k)
            self.block(s.body)

    def branch(self, s: If) -> None:
        self.block(s.then if self.values[s.condition] else s.orelse)

    def matrix(self, at: tuple[Buffer, Index, Index], rows: int, columns: int) -> Array:
        buffer, offset, leading = at
        stride = self.at(leading)
        if columns > stride and rows and columns:
            raise IndexError(f"loop program {self.program.name!r}: {columns} columns of {buffer} with the leading dimension {stride}")
        flat = self.range(buffer, offset, (rows - 1) * stride + columns if rows and columns else 0)
        if not flat.size:
            return np.zeros((rows, columns), flat.dtype)
        return np.lib.stride_tricks.as_strided(flat, (rows, columns), (stride * flat.itemsize, flat.itemsize))

    def gemm(self, s: Gemm) -> None:
        m, n, k = self.at(s.m), self.at(s.n), self.at(s.k)
        a = self.matrix(s.a, k, m).T if s.transpose_a else self.matrix(s.a, m, k)
        b = self.matrix(s.b, n, k).T if s.transpose_b else self.matrix(s.b, k, n)
        c = self.matrix(s.c, m, n)
        alpha, beta = self.get(s.alpha), self.get(s.beta)
        product = alpha * (a @ b)
        c[...] = product if beta == 0 else product + beta * c

    def fill(self, s: Fill) -> None:
        self.range(s.buffer, s.start, self.at(s.count))[...] = self.get(s.number)

    def copy(self, s: Copy) -> None:
        count = self.at(s.count)
        target, source = self.range(s.target, s.target_start, count), self.range(s.source, s.source_start, count)
        if np.shares_memory(target, source):
            raise IndexError(f"loop program {self.program.name!r}: a copy from {s.source} to {s.target} overlaps")
        target[...] = source

    def prefetch(self, s: Prefetch) -> None:
        self.at(s.index)

    def fail(self, s: Fail) -> None:
        if np.any(self.get(s.condition)):
            raise _Failed(s.code)

    def bind(self, s: BindSize) -> None:
        size = int(self.values[s.value])
        if not 0 <= size <= self.arguments[s.name]:
            bound = f"{s.name} is bound to {size}, the argument is {self.arguments[s.name]}"
            raise ValueError(f"loop program {self.program.name!r}: {bound}")
        self.sizes = {**self.sizes, s.name: size}

    def comment(self, s: Comment) -> None:
        pass


_STEPS: dict[type, Any] = {
    Let: _Machine.let, Load: _Machine.load, Store: _Machine.store, Gather: _Machine.gather, Scatter: _Machine.scatter,
    Define: _Machine.assign, Assign: _Machine.assign, Loop: _Machine.loop, If: _Machine.branch, Gemm: _Machine.gemm,
    Fill: _Machine.fill, Copy: _Machine.copy, Prefetch: _Machine.prefetch, Fail: _Machine.fail, BindSize: _Machine.bind,
    Comment: _Machine.comment,
}  # fmt: skip
