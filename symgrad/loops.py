"""The loop program: what the schedule writes and every renderer reads.

A :class:`Program` is a list of statements over buffers, registers and SSA values. A value has a kind
(real, integer, boolean) and a number of lanes (1, or the SIMD width). Buffers are flat, row-major;
an :class:`Index` is an affine element offset. About a dozen statements and one table of scalar
instructions are the whole language; :mod:`symgrad.loops` also has its verifier and a slow interpreter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Union

import numpy as np

from symgrad import dims
from symgrad.dims import Dim, Shape

__all__ = [
    "INSTRUCTIONS", "Assign", "BindSize", "Buffer", "Builder", "Comment", "Copy", "Define", "Fail", "Fill", "Gather",
    "Gemm", "If", "Index", "Instruction", "Let", "Load", "Loop", "Operand", "Program", "Register", "Scatter",
    "Statement", "Store", "Value",
]


@dataclass(frozen=True, eq=False)
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


# --- scalar instructions ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Instruction:
    """``kind``: what operands become and the result is: "real" → real, "same" → the widest operand's (at least
    integer), "boolean" → boolean of any (compared in their common kind), "logic" → boolean of booleans,
    "integer" → integer of integers. ``evaluate``: NumPy, for the interpreter. ``cost``: 1 an addition."""

    name: str
    arity: int
    kind: str
    evaluate: Callable[..., Any]
    cost: float = 1.0


def _special(name: str) -> Callable[..., Any]:
    def evaluate(*args: Any, **params: Any) -> Any:
        from scipy import special

        if name == "polygamma":
            return special.polygamma(params["order"], args[0])
        return getattr(special, name)(*args)

    return evaluate


def _powi(x: Any, exponent: int) -> Any:
    return np.power(x, np.asarray(exponent, dtype=np.asarray(x).dtype))


def _clean(function: Callable[..., Any]) -> Callable[..., Any]:
    def evaluate(*args: Any, **params: Any) -> Any:
        with np.errstate(all="ignore"):
            return function(*args, **params)

    return evaluate


def _table(*rows: tuple[Any, ...]) -> dict[str, Instruction]:
    return {row[0]: Instruction(row[0], row[1], row[2], _clean(row[3]), *row[4:]) for row in rows}


INSTRUCTIONS: dict[str, Instruction] = _table(
    # name          arity kind      evaluate                  cost
    ("add",           2, "same",    np.add),
    ("sub",           2, "same",    np.subtract),
    ("mul",           2, "same",    np.multiply),
    ("div",           2, "real",    np.true_divide,           4.0),
    ("neg",           1, "same",    np.negative),
    ("floordiv",      2, "same",    np.floor_divide,          8.0),   # NumPy's: rounds down, integer x // 0 is 0
    ("mod",           2, "same",    np.mod,                   8.0),   # NumPy's: the sign of the divisor
    ("maximum",       2, "same",    np.maximum),                      # NaN where either is
    ("minimum",       2, "same",    np.minimum),
    ("fma",           3, "real",    lambda a, b, c: a * b + c),       # rounded once or twice
    ("abs",           1, "same",    np.abs),
    ("sqrt",          1, "real",    np.sqrt,                  6.0),
    ("floor",         1, "real",    np.floor),
    ("ceil",          1, "real",    np.ceil),
    ("round",         1, "real",    np.rint),                         # half to even
    ("copysign",      2, "real",    np.copysign),
    ("less",          2, "boolean", np.less),
    ("less_equal",    2, "boolean", np.less_equal),
    ("greater",       2, "boolean", np.greater),
    ("greater_equal", 2, "boolean", np.greater_equal),
    ("equal",         2, "boolean", np.equal),
    ("not_equal",     2, "boolean", np.not_equal),
    ("isnan",         1, "boolean", np.isnan),
    ("isfinite",      1, "boolean", np.isfinite),
    ("and",           2, "logic",   np.logical_and),
    ("or",            2, "logic",   np.logical_or),
    ("xor",           2, "logic",   np.logical_xor),
    ("not",           1, "logic",   np.logical_not),
    ("select",        3, "select",  np.where),                        # select(condition, a, b)
    ("to_real",       1, "real",    lambda x: x),
    ("to_integer",    1, "integer", lambda x: np.asarray(x).astype(np.int64)),   # towards zero
    ("to_boolean",    1, "boolean", lambda x: np.not_equal(x, 0)),
    ("bitand",        2, "integer", np.bitwise_and),                  # the shuffle's arithmetic, modulo 2**64
    ("bitxor",        2, "integer", np.bitwise_xor),
    ("shift_left",    2, "integer", np.left_shift),
    ("shift_right",   2, "integer", lambda x, k: (np.asarray(x).astype(np.uint64) >> np.asarray(k).astype(np.uint64)).astype(np.int64)),
    ("exp",           1, "real",    np.exp,                   15.0),
    ("log",           1, "real",    np.log,                   15.0),
    ("log1p",         1, "real",    np.log1p,                 20.0),
    ("expm1",         1, "real",    np.expm1,                 20.0),
    ("sin",           1, "real",    np.sin,                   20.0),
    ("cos",           1, "real",    np.cos,                   20.0),
    ("tan",           1, "real",    np.tan,                   25.0),
    ("asin",          1, "real",    np.arcsin,                20.0),
    ("acos",          1, "real",    np.arccos,                20.0),
    ("atan",          1, "real",    np.arctan,                20.0),
    ("atan2",         2, "real",    np.arctan2,               25.0),
    ("sinh",          1, "real",    np.sinh,                  20.0),
    ("cosh",          1, "real",    np.cosh,                  20.0),
    ("tanh",          1, "real",    np.tanh,                  20.0),
    ("asinh",         1, "real",    np.arcsinh,               25.0),
    ("acosh",         1, "real",    np.arccosh,               25.0),
    ("atanh",         1, "real",    np.arctanh,               25.0),
    ("erf",           1, "real",    _special("erf"),          25.0),
    ("erfc",          1, "real",    _special("erfc"),         25.0),
    ("lgamma",        1, "real",    _special("gammaln"),      60.0),
    ("digamma",       1, "real",    _special("digamma"),      60.0),
    ("polygamma",     1, "real",    _special("polygamma"),    80.0),  # param order
    ("pow",           2, "real",    np.power,                 40.0),
    ("powi",          1, "same",    _powi,                    3.0),   # param exponent, a whole number
    ("hypot",         2, "real",    np.hypot,                 20.0),
    # lanes
    ("splat",         1, "any",     lambda x: x),
    ("iota",          0, "integer", lambda: None),                    # 0, 1, …, lanes - 1
    ("extract",       1, "any",     lambda x, lane: x[lane]),         # param lane
    ("reduce_add",    1, "any",     np.sum,                   3.0),
    ("reduce_mul",    1, "any",     np.prod,                  3.0),
    ("reduce_maximum", 1, "any",    np.max,                   3.0),
    ("reduce_minimum", 1, "any",    np.min,                   3.0),
    # scalars
    ("index",         0, "integer", lambda: None),                    # param index: an Index as a value
    ("read",          1, "any",     lambda x: x),                     # a register's value
    ("constant",      0, "any",     lambda: None),                    # param value
)  # fmt: skip


# --- statements ------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Let:
    """``value = op(*args, **params)``; args are values, numbers, or a register for "read"."""

    value: Value
    op: str
    args: tuple[Any, ...]
    params: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Load:
    """``value.lanes`` consecutive elements; lanes that ``mask`` switches off read as zero and touch no memory."""

    value: Value
    buffer: Buffer
    index: Index
    mask: Value | None = None


@dataclass(frozen=True, eq=False)
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
    """``for variable in range(start, stop, step): body``; ``unroll``: the renderer writes the body out (sizes known)."""

    variable: Value
    start: Index
    stop: Index
    step: int
    body: list[Statement]
    unroll: bool = False


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


Statement = Union[Let, Load, Store, Gather, Scatter, Define, Assign, Loop, If, Gemm, Fill, Copy, Fail, BindSize, Comment]


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


# --- builder ---------------------------------------------------------------------------------------

_RANK = {"boolean": 0, "integer": 1, "real": 2}


def kind_of(operand: Operand) -> str:
    if isinstance(operand, Value):
        return operand.kind
    return "boolean" if isinstance(operand, bool) else "integer" if isinstance(operand, int) else "real"


class Builder:
    """Writes statements. Every name of :data:`INSTRUCTIONS` is a method: ``b.add(x, 1.0)`` (``and_`` for "and", …).

    Operands of different lanes are splat, of different kinds converted; Python numbers become constants.
    """

    def __init__(self) -> None:
        self._counter = 0
        self.body: list[Statement] = []

    def value(self, kind: str, lanes: int = 1) -> Value:
        self._counter += 1
        return Value(self._counter, kind, lanes)

    def __getattr__(self, name: str) -> Callable[..., Value]:
        op = name.rstrip("_")
        if op not in INSTRUCTIONS:
            raise AttributeError(f"no instruction named {op!r}: see symgrad/loops.py")

        def emit(*args: Any, **params: Any) -> Value:
            return self.op(op, *args, **params)

        return emit

    def op(self, name: str, *args: Operand, **params: Any) -> Value:
        """Writes one instruction, operands converted to what it takes."""
        rule = INSTRUCTIONS[name].kind
        lanes = max((a.lanes for a in args if isinstance(a, Value)), default=1)
        kinds = [kind_of(a) for a in args]
        if rule == "any":
            raise TypeError(f"{name} has its own builder method")
        if rule == "select":
            widest = max(kinds[1:], key=_RANK.__getitem__)
            wanted, result = ["boolean", widest, widest], widest
        elif rule == "boolean":
            widest = "real" if name in ("isnan", "isfinite") else max(kinds, key=_RANK.__getitem__)
            wanted, result = [widest] * len(args), "boolean"
        elif rule == "logic":
            wanted, result = ["boolean"] * len(args), "boolean"
        elif rule == "same":
            widest = max([*kinds, "integer"], key=_RANK.__getitem__)
            wanted, result = [widest] * len(args), widest
        else:
            wanted, result = [rule] * len(args), rule
            if name == "to_integer" or (name == "to_real" and kinds == ["real"]):
                wanted = kinds
        if name == "to_real":
            return self.convert(args[0], "real") if isinstance(args[0], Value) else self.constant(float(args[0]))
        operands = tuple(self.spread(self.convert(a, k), lanes) if isinstance(a, Value) else _number(a, k) for a, k in zip(args, wanted, strict=True))
        return self._let(result, lanes, name, operands, params)

    def _let(self, kind: str, lanes: int, name: str, args: tuple[Any, ...], params: Mapping[str, Any]) -> Value:
        value = self.value(kind, lanes)
        self.body.append(Let(value, name, args, params))
        return value

    def convert(self, value: Value, kind: str) -> Value:
        if value.kind == kind:
            return value
        return self._let(kind, value.lanes, f"to_{kind}", (value,), {})

    def spread(self, value: Value, lanes: int) -> Value:
        """The value in every lane."""
        if value.lanes == lanes:
            return value
        assert value.lanes == 1, f"{value.lanes} lanes cannot become {lanes}"
        return self._let(value.kind, lanes, "splat", (value,), {})

    def constant(self, number: Operand, kind: str | None = None, lanes: int = 1) -> Value:
        if isinstance(number, Value):
            return self.spread(number, lanes)
        kind = kind or kind_of(number)
        return self._let(kind, lanes, "constant", (), {"value": _number(number, kind)})

    def iota(self, lanes: int) -> Value:
        return self._let("integer", lanes, "iota", (), {})

    def index(self, index: Index | Value | Dim) -> Value:
        return self._let("integer", 1, "index", (), {"index": Index.of(index)})

    def extract(self, value: Value, lane: int) -> Value:
        return value if value.lanes == 1 else self._let(value.kind, 1, "extract", (value,), {"lane": lane})

    def reduce(self, name: str, value: Value) -> Value:
        """All lanes into one: "add", "mul", "maximum" or "minimum"."""
        return value if value.lanes == 1 else self._let(value.kind, 1, f"reduce_{name}", (value,), {})

    def read(self, register: Register) -> Value:
        return self._let(register.kind, register.lanes, "read", (register,), {})

    def define(self, name: str, initial: Operand, kind: str | None = None, lanes: int = 1) -> Register:
        if isinstance(initial, Value):
            kind, lanes = initial.kind, initial.lanes
        self._counter += 1
        register = Register(f"{name}{self._counter}", kind or kind_of(initial), lanes)
        self.body.append(Define(register, initial if isinstance(initial, Value) else _number(initial, register.kind)))
        return register

    def assign(self, register: Register, value: Operand) -> None:
        if isinstance(value, Value):
            value = self.spread(self.convert(value, register.kind), register.lanes)
        self.body.append(Assign(register, value))

    def load(self, buffer: Buffer, index: Index | Value | Dim, lanes: int = 1, mask: Value | None = None) -> Value:
        value = self.value(buffer.kind, lanes)
        self.body.append(Load(value, buffer, Index.of(index), mask))
        return value

    def store(self, buffer: Buffer, index: Index | Value | Dim, value: Operand, mask: Value | None = None) -> None:
        value = self.convert(value, buffer.kind) if isinstance(value, Value) else _number(value, buffer.kind)
        self.body.append(Store(buffer, Index.of(index), value, mask))

    def gather(self, buffer: Buffer, offsets: Value, mask: Value | None = None) -> Value:
        value = self.value(buffer.kind, offsets.lanes)
        self.body.append(Gather(value, buffer, offsets, mask))
        return value

    def scatter(self, buffer: Buffer, offsets: Value, value: Value, mask: Value | None = None) -> None:
        self.body.append(Scatter(buffer, offsets, self.spread(self.convert(value, buffer.kind), offsets.lanes), mask))

    @contextmanager
    def loop(self, start: Index | Value | Dim, stop: Index | Value | Dim, step: int = 1, unroll: bool = False) -> Iterator[Value]:
        variable, outer = self.value("integer"), self.body
        body: list[Statement] = []
        outer.append(Loop(variable, Index.of(start), Index.of(stop), step, body, unroll))
        self.body = body
        try:
            yield variable
        finally:
            self.body = outer

    @contextmanager
    def branch(self, condition: Value) -> Iterator[list[Statement]]:
        """``with b.branch(c) as orelse:`` writes the then-part; fill ``orelse`` through :meth:`into`."""
        outer, then, orelse = self.body, list[Statement](), list[Statement]()
        outer.append(If(condition, then, orelse))
        self.body = then
        try:
            yield orelse
        finally:
            self.body = outer

    @contextmanager
    def into(self, body: list[Statement]) -> Iterator[None]:
        outer, self.body = self.body, body
        try:
            yield
        finally:
            self.body = outer

    def emit(self, statement: Statement) -> None:
        self.body.append(statement)

    def comment(self, text: str) -> None:
        self.body.append(Comment(text))


def _number(number: Any, kind: str) -> bool | int | float:
    return float(number) if kind == "real" else int(number) if kind == "integer" else bool(number)
