"""The loop program: what the schedule writes and every renderer reads.

A :class:`Program` is a list of statements over buffers, registers and SSA values. A value has a kind
(real, integer, boolean) and a number of lanes (1, or the SIMD width). Buffers are flat, row-major;
an :class:`Index` is an affine element offset. About a dozen statements and one table of scalar
instructions are the whole language; ``verify`` checks a program, ``interpret`` runs it slowly.
"""

from __future__ import annotations

from symgrad.loops.builder import OF_REALS, Builder, kind_of
from symgrad.loops.instructions import INSTRUCTIONS, Instruction
from symgrad.loops.interpret import interpret
from symgrad.loops.listing import render_text
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
from symgrad.loops.verify import verify

__all__ = [
    "INSTRUCTIONS", "OF_REALS", "Assign", "BindSize", "Buffer", "Builder", "Comment", "Copy", "Define", "Fail", "Fill",
    "Gather", "Gemm", "If", "Index", "Instruction", "Let", "Load", "Loop", "Operand", "Prefetch", "Program", "Register", "Scatter",
    "Statement", "Store", "Value", "interpret", "kind_of", "render_text", "verify",
]
