"""The AVX-512 instructions that LLVM has no portable name for: exponent, mantissa, scaling by a power of two, and a table in registers.

The first three do in one step, special values included, what costs seven or more portable instructions each. A table of
16 numbers costs one instruction to look up, so that exp and tanh have less left to do by polynomials.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llvmlite import ir

from symgrad.render.vector_math.lanes import DOUBLE, Lanes, join, part

__all__ = ["TABLE", "available", "exponent", "lookup", "mantissa", "scale"]

TABLE = 16  # numbers

INT8, INT32 = ir.IntType(8), ir.IntType(32)
CURRENT_ROUNDING = ir.Constant(INT32, 4)
# getmant: the mantissa in [0.75, 1.5); of zeros and infinity 1, of negative numbers NaN
INTERVAL_AND_SIGN = ir.Constant(INT32, 0b11_11)


def available(x: Lanes) -> bool:
    """Whether the target has them for vectors of this width (wider ones in parts)."""
    bits = (x.count or 0) * x.format.width
    return x.target.avx512 and (bits in (128, 256) or (bits > 0 and bits % 512 == 0))


def exponent(x: Lanes) -> Lanes:
    """floor(log2(abs(x))), for subnormal numbers too; minus infinity for zeros, infinity for infinities."""
    return _by_parts("getexp", [x], [])


def mantissa(x: Lanes) -> Lanes:
    """x over a power of two, in [0.75, 1.5)."""
    return _by_parts("getmant", [x], [INTERVAL_AND_SIGN])


def scale(x: Lanes, n: Lanes) -> Lanes:
    """x * 2**floor(n), rounded once."""
    return _by_parts("scalef", [x, n], [])


def lookup(table: Sequence[float], index: Lanes) -> Lanes:
    """``table[k]``, k the lowest four bits of a lane of ``index`` (integers of the table's format)."""
    assert index.count is not None and len(table) == TABLE
    widest = 512 // index.format.width
    if index.count < widest:
        return part(lookup(table, part(index, 0, widest)), 0, index.count)  # lanes beyond the last are anything
    return join([_permute(table, part(index, start, widest)) for start in range(0, index.count, widest)])


def _permute(table: Sequence[float], index: Lanes) -> Lanes:
    element = ir.DoubleType() if index.format is DOUBLE else ir.FloatType()
    vector = ir.VectorType(element, 512 // index.format.width)
    halves = [ir.Constant(vector, list(table[start : start + vector.count])) for start in range(0, TABLE, vector.count)]
    symbol = "llvm.x86.avx512." + ("vpermi2var.pd.512" if index.format is DOUBLE else "permvar.sf.512")
    arguments = [halves[0], index.value, *halves[1:]]
    module = index.builder.module
    function = module.globals.get(symbol) or ir.Function(module, ir.FunctionType(vector, [a.type for a in arguments]), symbol)
    return Lanes(index.builder, index.builder.call(function, arguments), index.target)


def _by_parts(name: str, operands: list[Lanes], immediate: list[Any]) -> Lanes:
    x = operands[0]
    assert x.count is not None
    widest = 512 // x.format.width
    if x.count <= widest:
        return _call(name, operands, immediate)
    starts = range(0, x.count, widest)
    return join([_call(name, [part(v, start, widest) for v in operands], immediate) for start in starts])


def _call(name: str, operands: list[Lanes], immediate: list[Any]) -> Lanes:
    x = operands[0]
    assert x.count is not None
    bits = x.count * x.format.width
    mask = ir.IntType(max(8, x.count))
    arguments = [*(v.value for v in operands), *immediate, ir.Constant(x.type, None), ir.Constant(mask, -1)]
    if bits == 512:
        arguments.append(CURRENT_ROUNDING)
    symbol = f"llvm.x86.avx512.mask.{name}.{'pd' if x.format.width == 64 else 'ps'}.{bits}"
    module = x.builder.module
    function = module.globals.get(symbol) or ir.Function(module, ir.FunctionType(x.type, [a.type for a in arguments]), symbol)
    return Lanes(x.builder, x.builder.call(function, arguments), x.target)
