"""The records of a loop program: values, registers, buffers, indices, statements, the program itself.

A formula of 100,000 operations is several hundred thousand values and statements, so these have slots and are not
``frozen``, which would triple the price of making one; nobody changes them all the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Union

import numpy as np

from symgrad import dims
from symgrad.dims import Dim, Shape


@dataclass(eq=False, slots=True)
class Value:
    """An SSA value: made by one statement, visible in the rest of its block and the blocks inside."""

    number: int
    kind: str
    lanes: int = 1

    def __repr__(self) -> str:
        return f"%{self.number}"


@dataclass(frozen=True, eq=False)
class Register:
    """A mutable scalar or vector: an accumulator. ``Let("read", (register,))`` gives its value."""

    name: str
    kind: str
    lanes: int = 1

    def __repr__(self) -> str:
        return f"${self.name}"


@dataclass(frozen=True, eq=False)
class Buffer:
    """Flat storage of ``total(shape)`` elements. ``role``: "input", "output", "inout", "constant" or "scratch"."""

    name: str
    kind: str
    shape: Shape
    role: str = "scratch"

    @property
    def size(self) -> Dim:
        return dims.total(self.shape)

    def __repr__(self) -> str:
        return f"@{self.name}"


Operand = Union[Value, bool, int, float]


@dataclass(frozen=True)
class Index:
    """``offset + sum(coefficient * value)``: scalar integer values times dimensions."""

    terms: tuple[tuple[Value, Dim], ...] = ()
    offset: Dim = 0

    @staticmethod
    def of(value: Index | Value | Dim) -> Index:
        if isinstance(value, Index):
            return value
        return Index(((value, 1),)) if isinstance(value, Value) else Index((), value)

    def __add__(self, other: Index | Value | Dim) -> Index:
        right = Index.of(other)
        terms = dict(self.terms)
        for value, coefficient in right.terms:
            terms[value] = dims.add(terms.get(value, 0), coefficient)
        return Index(tuple((v, c) for v, c in terms.items() if c != 0), dims.add(self.offset, right.offset))

    def __mul__(self, factor: Dim) -> Index:
        if factor == 0:
            return Index()
        return Index(tuple((v, dims.multiply(c, factor)) for v, c in self.terms), dims.multiply(self.offset, factor))


@dataclass(eq=False, slots=True)
class Let:
    """``value = op(*args, **params)``; args are values, numbers, or a register for "read"."""

    value: Value
    op: str
    args: tuple[Any, ...]
    params: Mapping[str, Any]


@dataclass(eq=False, slots=True)
class Load:
    """``value.lanes`` consecutive elements; lanes that ``mask`` switches off read as zero and touch no memory."""

    value: Value
    buffer: Buffer
    index: Index
    mask: Value | None = None


@dataclass(eq=False, slots=True)
class Store:
    """Writes ``value.lanes`` consecutive elements (a Python number: one)."""

    buffer: Buffer
    index: Index
    value: Operand
    mask: Value | None = None


@dataclass(frozen=True, eq=False)
class Gather:
    """Lane k reads element ``offsets[k]``."""

    value: Value
    buffer: Buffer
    offsets: Value
    mask: Value | None = None


@dataclass(frozen=True, eq=False)
class Scatter:
    """Lane k writes element ``offsets[k]``, in the order of the lanes."""

    buffer: Buffer
    offsets: Value
    value: Value
    mask: Value | None = None


@dataclass(frozen=True, eq=False)
class Define:
    """Makes a register, visible in the rest of the block and the blocks inside."""

    register: Register
    value: Operand


@dataclass(frozen=True, eq=False)
class Assign:
    register: Register
    value: Operand


@dataclass(frozen=True, eq=False)
class Loop:
    """``for variable in range(start, stop, step): body``; ``unroll``: the renderer writes the body out (sizes known).
    ``parallel``: the largest number of rounds (from 0 on) that may run at the same time, in threads; 0: one after another."""

    variable: Value
    start: Index
    stop: Index
    step: int
    body: list[Statement]
    unroll: bool = False
    parallel: int = 0


@dataclass(frozen=True, eq=False)
class If:
    condition: Value
    then: list[Statement]
    orelse: list[Statement]


@dataclass(frozen=True, eq=False)
class Gemm:
    """``C = alpha * op(A) @ op(B) + beta * C``, row-major, C is (m, n), the inner size k.

    ``a``, ``b``, ``c``: (buffer, offset, leading dimension): the row stride of the stored, untransposed matrix."""

    m: Index
    n: Index
    k: Index
    alpha: Operand
    a: tuple[Buffer, Index, Index]
    transpose_a: bool
    b: tuple[Buffer, Index, Index]
    transpose_b: bool
    beta: Operand
    c: tuple[Buffer, Index, Index]


@dataclass(frozen=True, eq=False)
class Fill:
    """Sets ``count`` elements to a number."""

    buffer: Buffer
    start: Index
    count: Index
    number: Operand


@dataclass(frozen=True, eq=False)
class Copy:
    """Copies ``count`` elements; the ranges do not overlap."""

    target: Buffer
    target_start: Index
    source: Buffer
    source_start: Index
    count: Index


@dataclass(frozen=True, eq=False)
class Prefetch:
    """A hint: the element will be read (or, ``write``, changed) soon. It may lie behind the buffer's end."""

    buffer: Buffer
    index: Index
    write: bool = False


@dataclass(frozen=True, eq=False)
class Fail:
    """Returns ``code`` (1-based, into ``Program.failures``) where the condition holds (in any lane)."""

    condition: Operand
    code: int


@dataclass(frozen=True, eq=False)
class BindSize:
    """The named dimension is this integer in the rest of the block (never larger than the argument of that name)."""

    name: str
    value: Value


@dataclass(frozen=True, eq=False)
class Comment:
    text: str


Statement = Union[Let, Load, Store, Gather, Scatter, Define, Assign, Loop, If, Gemm, Fill, Copy, Prefetch, Fail, BindSize, Comment]


@dataclass(frozen=True, eq=False)
class Program:
    """``arguments``: the buffers the caller passes, in order; ``sizes``: the named dimensions, in order;
    ``constants``: the arrays behind the arguments of role "constant"; ``failures``: messages by code."""

    name: str
    arguments: tuple[Buffer, ...]
    scratch: tuple[Buffer, ...]
    sizes: tuple[str, ...]
    body: list[Statement]
    failures: tuple[str, ...] = ()
    constants: Mapping[Buffer, np.ndarray[Any, Any]] = field(default_factory=dict)

    def __str__(self) -> str:
        from symgrad.loops.listing import render_text

        return render_text(self)
