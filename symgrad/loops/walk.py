"""Reading statements: what one uses, makes and contains. Shared by the verifier and the renderers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

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
    Register,
    Scatter,
    Statement,
    Store,
    Value,
)

__all__ = ["blocks", "buffers", "made", "operands", "registers", "values", "walk"]


def operands(statement: Statement) -> tuple[Any, ...]:
    """What the statement itself reads, its inner blocks apart: values, numbers, indices, registers ("read"), masks."""
    match statement:
        case Let(_, _, args, params):
            return (*args, params["index"]) if "index" in params else args
        case Load(_, _, index, mask):
            return (index,) if mask is None else (index, mask)
        case Store(_, index, value, mask):
            return (index, value) if mask is None else (index, value, mask)
        case Gather(_, _, offsets, mask):
            return (offsets,) if mask is None else (offsets, mask)
        case Scatter(_, offsets, value, mask):
            return (offsets, value) if mask is None else (offsets, value, mask)
        case Define(_, value) | Assign(_, value) | BindSize(_, value):
            return (value,)
        case Loop(_, start, stop):
            return (start, stop)
        case If(condition) | Fail(condition):
            return (condition,)
        case Gemm():
            s = statement
            return (s.m, s.n, s.k, s.alpha, *s.a[1:], *s.b[1:], s.beta, *s.c[1:])
        case Fill(_, start, count, number):
            return (start, count, number)
        case Copy(_, target_start, _, source_start, count):
            return (target_start, source_start, count)
        case Prefetch(_, index):
            return (index,)
        case Comment():
            return ()


def values(statement: Statement) -> Iterator[Value]:
    """The values that the statement itself reads, those inside its indices included."""
    for operand in operands(statement):
        if isinstance(operand, Value):
            yield operand
        elif isinstance(operand, Index):
            for value, _ in operand.terms:
                yield value


def made(statement: Statement) -> Value | None:
    """The value that the statement makes for the rest of its block."""
    return statement.value if isinstance(statement, (Let, Load, Gather)) else None


def registers(statement: Statement) -> tuple[Register, ...]:
    """The registers that the statement itself reads or writes."""
    if isinstance(statement, (Define, Assign)):
        return (statement.register,)
    if isinstance(statement, Let) and statement.op == "read":
        return (statement.args[0],)
    return ()


def buffers(statement: Statement) -> tuple[tuple[Buffer, str], ...]:
    """The buffers that the statement itself touches, each with "r", "w" or "rw"."""
    match statement:
        case Load(_, buffer) | Gather(_, buffer) | Prefetch(buffer):
            return ((buffer, "r"),)
        case Store(buffer) | Scatter(buffer) | Fill(buffer):
            return ((buffer, "w"),)
        case Copy(target, _, source):
            return ((target, "w"), (source, "r"))
        case Gemm():
            once = isinstance(statement.beta, (int, float)) and statement.beta == 0
            return ((statement.a[0], "r"), (statement.b[0], "r"), (statement.c[0], "w" if once else "rw"))
        case _:
            return ()


def blocks(statement: Statement) -> tuple[list[Statement], ...]:
    """The blocks inside a statement."""
    if isinstance(statement, Loop):
        return (statement.body,)
    if isinstance(statement, If):
        return (statement.then, statement.orelse)
    return ()


_WITH_BLOCKS = (Loop, If)


def walk(body: Iterable[Statement]) -> Iterator[Statement]:
    """Every statement, in order, those of inner blocks included."""
    stack = [iter(body)]
    while stack:
        for statement in stack[-1]:
            yield statement
            if statement.__class__ in _WITH_BLOCKS:
                stack.extend(iter(block) for block in reversed(blocks(statement)))
                break
        else:
            stack.pop()
