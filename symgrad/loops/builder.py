"""The builder: writes statements, converting operands to what each instruction takes."""

from __future__ import annotations

import keyword
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from symgrad.dims import Dim
from symgrad.loops.instructions import INSTRUCTIONS
from symgrad.loops.records import (
    Assign,
    Buffer,
    Comment,
    Define,
    Gather,
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
)

_NO_PARAMS: dict[str, Any] = {}
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

    def __getattr__(self, name: str) -> Callable[..., Value]:  # the instructions' methods stand below
        raise AttributeError(f"no instruction named {name!r}: see symgrad/loops/instructions.py")

    def op(self, name: str, *args: Operand, **params: Any) -> Value:
        """Writes one instruction, operands converted to what it takes."""
        if name in OF_REALS and (reals := _scalar_reals(args)) is not None:
            return self._let("real", 1, name, reals, params)
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
        operands = tuple(
            self.spread(self.convert(a, k), lanes) if isinstance(a, Value) else _number(a, k) for a, k in zip(args, wanted, strict=True)
        )
        return self._let(result, lanes, name, operands, params)

    def real(self, name: str, args: tuple[Value | float, ...]) -> Value:
        """Writes one of :data:`OF_REALS` on real scalars and floats, one value at least: nothing is to be converted."""
        self._counter += 1
        value = Value(self._counter, "real")
        self.body.append(Let(value, name, args, _NO_PARAMS))
        return value

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
            return self.spread(number, max(lanes, number.lanes))
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

    def reduce_each(self, values: Sequence[Value]) -> Value:
        """The sums of as many vectors as they have lanes, as one vector."""
        return values[0] if len(values) == 1 else self._let(values[0].kind, len(values), "reduce_add_each", tuple(values), {})

    def transpose(self, rows: Sequence[Value]) -> list[Value]:
        """As many vectors as they have lanes, rows for columns: each round moves one bit of the row's number to the lane's."""
        half = len(rows) // 2
        found = list(rows)
        for _ in range(half.bit_length()):
            found = [self._interleave(found[k], found[k + half], side) for k in range(half) for side in (0, 1)]
        return found

    def _interleave(self, x: Value, y: Value, half: int) -> Value:
        return self._let(x.kind, x.lanes, "interleave", (x, y), {"half": half})

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
    def loop(
        self, start: Index | Value | Dim, stop: Index | Value | Dim, step: int = 1, unroll: bool = False, parallel: int = 0
    ) -> Iterator[Value]:  # fmt: skip
        variable, outer = self.value("integer"), self.body
        body: list[Statement] = []
        outer.append(Loop(variable, Index.of(start), Index.of(stop), step, body, unroll, parallel))
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

    def prefetch(self, buffer: Buffer, index: Index | Value | Dim, write: bool = False) -> None:
        self.body.append(Prefetch(buffer, Index.of(index), write))

    def comment(self, text: str) -> None:
        self.body.append(Comment(text))


def _instruction(name: str) -> Callable[..., Value]:
    def emit(self: Builder, *args: Any, **params: Any) -> Value:
        return self.op(name, *args, **params)

    return emit


for _name in INSTRUCTIONS:
    _method = f"{_name}_" if keyword.iskeyword(_name) else _name
    if not hasattr(Builder, _method):
        setattr(Builder, _method, _instruction(_name))

# Instructions whose result is real if all operands are.
OF_REALS = frozenset(name for name, rule in INSTRUCTIONS.items() if rule.kind in ("real", "same")) - {"to_real"}


def _scalar_reals(args: tuple[Any, ...]) -> tuple[Any, ...] | None:
    """The operands of an instruction on real scalars, the usual case, without asking what each must become; else ``None``."""
    numbers = False
    for a in args:
        if a.__class__ is Value:
            if a.kind != "real" or a.lanes != 1:
                return None
        elif a.__class__ is int or a.__class__ is float:
            numbers = True
        else:
            return None
    if not numbers:
        return args
    if not any(a.__class__ is Value for a in args):
        return None
    return tuple([a if a.__class__ is Value else float(a) for a in args])


def _number(number: Any, kind: str) -> bool | int | float:
    return float(number) if kind == "real" else int(number) if kind == "integer" else bool(number)
