"""A loop program as a listing that a person can read (``str(program)``, ``SYMGRAD_DEBUG=3``)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from symgrad.dims import format_shape
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
    Prefetch,
    Program,
    Scatter,
    Statement,
    Store,
    Value,
)

__all__ = ["render_text"]

_KINDS = {"real": "real", "integer": "int", "boolean": "bool"}


def render_text(program: Program) -> str:
    """A listing, one statement a line.

    >>> from symgrad.loops import Buffer, Builder, Program
    >>> b, x, y = Builder(), Buffer("x", "real", ("n",), "input"), Buffer("y", "real", ("n",), "output")
    >>> with b.loop(0, "n", 4) as i:
    ...     b.store(y, i, b.mul(b.load(x, i, 4), 2.0))
    >>> print(render_text(Program("double", (x, y), (), ("n",), b.body)))
    program double(n)
      input x: real (n,)
      output y: real (n,)
    for %1 in range(0, n, 4):
      %2: 4 real = x[%1]
      %3: 4 real = mul %2, 2.0
      y[%1] = %3
    """
    lines = [f"program {program.name}({', '.join(program.sizes)})"]
    for buffer in (*program.arguments, *program.scratch):
        lines.append(f"  {buffer.role} {buffer.name}: {_KINDS.get(buffer.kind, buffer.kind)} {format_shape(buffer.shape)}")
    for code, message in enumerate(program.failures, 1):
        lines.append(f"  failure {code}: {message}")
    lines += _block(program.body, "")
    return "\n".join(lines)


def _block(body: list[Statement], indent: str) -> Iterator[str]:
    for statement in body:
        yield indent + _line(statement)
        if isinstance(statement, Loop):
            yield from _block(statement.body, indent + "  ")
        elif isinstance(statement, If):
            yield from _block(statement.then, indent + "  ")
            if statement.orelse:
                yield indent + "else:"
                yield from _block(statement.orelse, indent + "  ")


def _line(statement: Statement) -> str:
    match statement:
        case Let(value, "constant", _, params):
            return f"{_typed(value)} = {params['value']!r}"
        case Let(value, "index", _, params):
            return f"{_typed(value)} = {_index(params['index'])}"
        case Let(value, op, args, params):
            given = [_operand(a) for a in args] + [f"{key}={item}" for key, item in params.items()]
            return f"{_typed(value)} = {op} {', '.join(given)}".rstrip()
        case Load(value, buffer, index, mask):
            return f"{_typed(value)} = {_at(buffer, index)}{_masked(mask)}"
        case Store(buffer, index, value, mask):
            return f"{_at(buffer, index)} = {_operand(value)}{_masked(mask)}"
        case Gather(value, buffer, offsets, mask):
            return f"{_typed(value)} = gather {buffer.name}[{offsets}]{_masked(mask)}"
        case Scatter(buffer, offsets, value, mask):
            return f"scatter {buffer.name}[{offsets}] = {value}{_masked(mask)}"
        case Define(register, value):
            return f"define {register}: {_type(register)} = {_operand(value)}"
        case Assign(register, value):
            return f"{register} = {_operand(value)}"
        case Loop(variable, start, stop, step, _, unroll, parallel):
            steps = f", {step}" if step != 1 else ""
            how = " unrolled" if unroll else f" in up to {parallel} threads" if parallel else ""
            return f"for {variable} in range({_index(start)}, {_index(stop)}{steps}){how}:"
        case If(condition):
            return f"if {condition}:"
        case Gemm():
            return _gemm(statement)
        case Fill(buffer, start, count, number):
            return f"fill {_at(buffer, start)}, {_index(count)} elements = {_operand(number)}"
        case Copy(target, target_start, source, source_start, count):
            return f"copy {_at(target, target_start)} = {_at(source, source_start)}, {_index(count)} elements"
        case Prefetch(buffer, index, write):
            return f"prefetch {_at(buffer, index)}{' to write' if write else ''}"
        case Fail(condition, code):
            return f"fail {code} if {_operand(condition)}"
        case BindSize(name, value):
            return f"size {name} = {value}"
        case Comment(text):
            return f"# {text}"


def _gemm(s: Gemm) -> str:
    def matrix(at: tuple[Buffer, Index, Index], transposed: bool) -> str:
        return f"{_at(at[0], at[1])}{' transposed' if transposed else ''} (stride {_index(at[2])})"

    sizes = ", ".join(_index(x) for x in (s.m, s.n, s.k))
    product = f"{_operand(s.alpha)} * {matrix(s.a, s.transpose_a)} @ {matrix(s.b, s.transpose_b)}"
    return f"gemm [{sizes}] {matrix(s.c, False)} = {product} + {_operand(s.beta)} * itself"


def _operand(operand: Any) -> str:
    return repr(operand)


def _type(item: Any) -> str:
    kind = _KINDS.get(item.kind, item.kind)
    return kind if item.lanes == 1 else f"{item.lanes} {kind}"


def _typed(value: Value) -> str:
    return f"{value}: {_type(value)}"


def _masked(mask: Value | None) -> str:
    return "" if mask is None else f" if {mask}"


def _at(buffer: Buffer, index: Index) -> str:
    return f"{buffer.name}[{_index(index)}]"


def _index(index: Index) -> str:
    parts = []
    for value, coefficient in index.terms:
        text = str(coefficient)
        parts.append(f"{value}" if coefficient == 1 else f"{value}*{text if text.isalnum() else f'({text})'}")
    if index.offset != 0 or not parts:
        parts.append(str(index.offset))
    return " + ".join(parts).replace("+ -", "- ")
