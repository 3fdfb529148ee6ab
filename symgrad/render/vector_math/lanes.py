"""Arithmetic on lanes: operators that write LLVM instructions, so that the formulas beside this file read as formulas.

A :class:`Lanes` is one SSA value, a scalar or a vector of any width. Its operators carry no fast-math
flag: what is written is what is computed, and compensated sums survive inlining into code that has
flags. Where a product and a sum may be fused, :func:`fma` says so (``llvm.fmuladd``: one instruction
where the processor has it, a product and a sum elsewhere, never a call).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Union

from llvmlite import ir

from symgrad.render.vector_math.target import Target

__all__ = [
    "DOUBLE", "FLOAT", "Format", "Lanes", "Whole", "absolute", "any_lane", "clamp", "copysign", "exact_product", "fast_two_sum", "fma",
    "half_of", "if_any", "join", "lanes_of", "nearest", "part", "polynomial", "power_of_two", "remainder", "select", "sqrt", "two_sum",
    "type_name", "while_any",
]


@dataclass(frozen=True)
class Format:
    """A binary floating-point format, by its IEEE 754 parameters."""

    width: int
    mantissa: int      # stored bits
    smallest: float    # smallest normal number

    @property
    def bias(self) -> int:
        return (1 << (self.width - self.mantissa - 2)) - 1

    @property
    def sign(self) -> int:
        return 1 << (self.width - 1)

    @property
    def one(self) -> int:
        """The bits of 1.0."""
        return self.bias << self.mantissa

    @property
    def magic(self) -> float:
        """1.5 * 2**mantissa: ``x + magic`` rounds x to an integer, which then stands in the low bits."""
        return 1.5 * 2.0**self.mantissa


DOUBLE = Format(64, 52, 2.0**-1022)
FLOAT = Format(32, 23, 2.0**-126)

Number = Union["Lanes", float, int]


class Lanes:
    """An LLVM value with operators; numbers among the operands become constants of its type."""

    __slots__ = ("builder", "target", "value")

    def __init__(self, builder: Any, value: Any, target: Target) -> None:
        self.builder = builder
        self.value = value
        self.target = target

    @property
    def type(self) -> Any:
        return self.value.type

    @property
    def count(self) -> int | None:
        """The number of lanes; None for a scalar."""
        return self.type.count if isinstance(self.type, ir.VectorType) else None

    @property
    def element(self) -> Any:
        return self.type.element if isinstance(self.type, ir.VectorType) else self.type

    @property
    def is_integer(self) -> bool:
        return isinstance(self.element, ir.IntType)

    @property
    def format(self) -> Format:
        if isinstance(self.element, ir.IntType):
            return DOUBLE if self.element.width == 64 else FLOAT
        return DOUBLE if isinstance(self.element, ir.DoubleType) else FLOAT

    def shaped(self, element: Any) -> Any:
        """The type with as many lanes of another element."""
        return element if self.count is None else ir.VectorType(element, self.count)

    def like(self, number: Number) -> Lanes:
        """A number as a constant of this type."""
        if isinstance(number, Lanes):
            return number
        convert = int if self.is_integer else float
        value = convert(number)
        if self.is_integer:  # bit patterns are written unsigned, LLVM wants them signed
            width = self.element.width
            value = (int(value) + (1 << (width - 1))) % (1 << width) - (1 << (width - 1))
        constant = ir.Constant(self.type, value if self.count is None else [value] * self.count)
        return self._new(constant)

    def _new(self, value: Any) -> Lanes:
        return Lanes(self.builder, value, self.target)

    def _binary(self, real: str | None, integer: str, other: Number, swap: bool = False) -> Lanes:
        a, b = self, self.like(other)
        if swap:
            a, b = b, a
        name = integer if self.is_integer or real is None else real
        return self._new(getattr(self.builder, name)(a.value, b.value))

    def __add__(self, other: Number) -> Lanes: return self._binary("fadd", "add", other)
    def __radd__(self, other: Number) -> Lanes: return self._binary("fadd", "add", other, swap=True)
    def __sub__(self, other: Number) -> Lanes: return self._binary("fsub", "sub", other)
    def __rsub__(self, other: Number) -> Lanes: return self._binary("fsub", "sub", other, swap=True)
    def __mul__(self, other: Number) -> Lanes: return self._binary("fmul", "mul", other)
    def __rmul__(self, other: Number) -> Lanes: return self._binary("fmul", "mul", other, swap=True)
    def __truediv__(self, other: Number) -> Lanes: return self._binary("fdiv", "sdiv", other)
    def __rtruediv__(self, other: Number) -> Lanes: return self._binary("fdiv", "sdiv", other, swap=True)
    def __and__(self, other: Number) -> Lanes: return self._binary(None, "and_", other)
    def __or__(self, other: Number) -> Lanes: return self._binary(None, "or_", other)
    def __xor__(self, other: Number) -> Lanes: return self._binary(None, "xor", other)
    def __lshift__(self, other: Number) -> Lanes: return self._binary(None, "shl", other)
    def __rshift__(self, other: Number) -> Lanes: return self._binary(None, "lshr", other)
    def __neg__(self) -> Lanes: return self._new(self.builder.neg(self.value) if self.is_integer else self.builder.fneg(self.value))
    def __invert__(self) -> Lanes: return self._new(self.builder.not_(self.value))

    def _compare(self, predicate: str, other: Number) -> Lanes:
        compare = self.builder.icmp_signed if self.is_integer else self.builder.fcmp_ordered
        return self._new(compare(predicate, self.value, self.like(other).value))

    # Ordered: a comparison with a NaN is false.
    def __lt__(self, other: Number) -> Lanes: return self._compare("<", other)
    def __le__(self, other: Number) -> Lanes: return self._compare("<=", other)
    def __gt__(self, other: Number) -> Lanes: return self._compare(">", other)
    def __ge__(self, other: Number) -> Lanes: return self._compare(">=", other)
    def equals(self, other: Number) -> Lanes: return self._compare("==", other)
    def negative(self) -> Lanes:
        """Whether the sign bit is set: of -0 too."""
        return self.bits() < 0

    def is_nan(self) -> Lanes: return self._new(self.builder.fcmp_unordered("uno", self.value, self.value))

    def bits(self) -> Lanes:
        """The same bits as an integer."""
        return self._new(self.builder.bitcast(self.value, self.shaped(ir.IntType(self.format.width))))

    def real(self) -> Lanes:
        """The same bits as a floating-point number."""
        return self._new(self.builder.bitcast(self.value, self.shaped(ir.DoubleType() if self.format is DOUBLE else ir.FloatType())))

    def to_double(self) -> Lanes:
        return self._new(self.builder.fpext(self.value, self.shaped(ir.DoubleType())))

    def to_float(self) -> Lanes:
        return self._new(self.builder.fptrunc(self.value, self.shaped(ir.FloatType())))

    def call(self, intrinsic: str, *others: Number) -> Lanes:
        """An LLVM intrinsic overloaded on this type alone, as ``sqrt`` or ``fma``."""
        operands = [self.value, *(self.like(other).value for other in others)]
        name = f"llvm.{intrinsic}.{type_name(self.type)}"
        module = self.builder.module
        function = module.globals.get(name)
        if function is None:
            function = ir.Function(module, ir.FunctionType(self.type, [self.type] * len(operands)), name)
        return self._new(self.builder.call(function, operands))

    def lane(self, index: int) -> Lanes:
        return self._new(self.builder.extract_element(self.value, ir.Constant(ir.IntType(32), index)))


def type_name(type: Any) -> str:
    """As LLVM mangles it: ``f64`` for double, ``v8f32`` for <8 x float>."""
    if isinstance(type, ir.VectorType):
        return f"v{type.count}{type_name(type.element)}"
    return "f64" if isinstance(type, ir.DoubleType) else "f32"


def lanes_of(like: Lanes, values: Sequence[Any]) -> Lanes:
    """A vector from scalar LLVM values."""
    vector = ir.Constant(ir.VectorType(values[0].type, len(values)), ir.Undefined)
    for i, value in enumerate(values):
        vector = like.builder.insert_element(vector, value, ir.Constant(ir.IntType(32), i))
    return Lanes(like.builder, vector, like.target)


def part(x: Lanes, start: int, count: int) -> Lanes:
    """The lanes from ``start`` on, ``count`` of them; what is beyond the last one is anything."""
    if start == 0 and count == x.count:
        return x
    return _shuffle(x, Lanes(x.builder, ir.Constant(x.type, ir.Undefined), x.target), range(start, start + count))


def join(parts: Sequence[Lanes]) -> Lanes:
    """Vectors of one width behind each other; their number is a power of two."""
    while len(parts) > 1:
        parts = [_shuffle(a, b, range(2 * a.type.count)) for a, b in zip(parts[::2], parts[1::2], strict=True)]
    return parts[0]


def _shuffle(a: Lanes, b: Lanes, indices: range) -> Lanes:
    known = 2 * a.type.count
    order = ir.Constant(ir.VectorType(ir.IntType(32), len(indices)), [min(i, known - 1) for i in indices])
    return Lanes(a.builder, a.builder.shuffle_vector(a.value, b.value, order), a.target)


def select(condition: Lanes, a: Number, b: Number) -> Lanes:
    """Lane by lane ``a`` where the condition holds, else ``b``; one of the two may be a number."""
    model = a if isinstance(a, Lanes) else b
    assert isinstance(model, Lanes)
    return Lanes(model.builder, model.builder.select(condition.value, model.like(a).value, model.like(b).value), model.target)


def fma(a: Lanes, b: Number, c: Number) -> Lanes:
    """``a*b + c``, rounded once where the processor can, else twice: for where both are good."""
    return a.call("fmuladd", b, c)


def sqrt(x: Lanes) -> Lanes:
    return x.call("sqrt")


def absolute(x: Lanes) -> Lanes:
    return x.call("fabs")


def copysign(x: Lanes, sign: Lanes) -> Lanes:
    return x.call("copysign", sign)


def clamp(x: Lanes, low: float | None = None, high: float | None = None) -> Lanes:
    """x inside the limits; a NaN stays one."""
    if low is not None:
        x = select(x < low, low, x)
    if high is not None:
        x = select(x > high, high, x)
    return x


def any_lane(condition: Lanes) -> Any:
    """The LLVM truth value: whether the condition holds in some lane."""
    if condition.count is None:
        return condition.value
    whole = ir.IntType(condition.count)
    return condition.builder.icmp_unsigned("!=", condition.builder.bitcast(condition.value, whole), ir.Constant(whole, 0))


def if_any(condition: Lanes, compute: Callable[[], Lanes], default: Lanes) -> Lanes:
    """``compute()`` where the condition holds in some lane, else ``default``: a branch."""
    builder = condition.builder
    before = builder.block
    rare, after = builder.append_basic_block("rare"), builder.append_basic_block("after")
    builder.cbranch(any_lane(condition), rare, after)
    builder.position_at_end(rare)
    computed = compute()
    end = builder.block
    builder.branch(after)
    builder.position_at_end(after)
    result = builder.phi(default.type)
    result.add_incoming(default.value, before)
    result.add_incoming(computed.value, end)
    return Lanes(builder, result, default.target)


def while_any(condition: Callable[..., Lanes], step: Callable[..., tuple[Lanes, ...]], state: tuple[Lanes, ...]) -> tuple[Lanes, ...]:
    """``state = step(*state)`` as long as the condition holds in some lane; a step must leave finished lanes as they are."""
    builder = state[0].builder
    before = builder.block
    head, body, after = (builder.append_basic_block(label) for label in ("head", "body", "after"))
    builder.branch(head)
    builder.position_at_end(head)
    phis = [builder.phi(value.type) for value in state]
    current = tuple(Lanes(builder, phi, value.target) for phi, value in zip(phis, state))
    builder.cbranch(any_lane(condition(*current)), body, after)
    builder.position_at_end(body)
    following = step(*current)
    end = builder.block
    builder.branch(head)
    for phi, first, later in zip(phis, state, following, strict=True):
        phi.add_incoming(first.value, before)
        phi.add_incoming(later.value, end)
    builder.position_at_end(after)
    return current


def polynomial(x: Lanes, coefficients: Sequence[float]) -> Lanes:
    """Coefficients in rising order. The odd and the even part are two chains: half the latency of Horner's rule for one product."""
    if len(coefficients) < 4:
        return _horner(x, coefficients)
    square = x * x
    return fma(_horner(square, coefficients[1::2]), x, _horner(square, coefficients[::2]))


def _horner(x: Lanes, coefficients: Sequence[float]) -> Lanes:
    result = x.like(coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        result = fma(result, x, coefficient)
    return result


def two_sum(a: Lanes, b: Number) -> tuple[Lanes, Lanes]:
    """The sum and its rounding error, exactly (Knuth, TAOCP 2, 4.2.2, theorem B)."""
    b = a.like(b)
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


def fast_two_sum(a: Lanes, b: Lanes) -> tuple[Lanes, Lanes]:
    """As :func:`two_sum` where abs(a) >= abs(b) or a is 0 (Dekker, 1971)."""
    total = a + b
    return total, b - (total - a)


def exact_product(a: Lanes, b: Lanes) -> tuple[Lanes, Lanes]:
    """The product and its rounding error, exactly but for underflow.

    One fused multiply-add; without hardware for it Dekker's product of halves (Numer. Math. 18, 1971).
    """
    product = a * b
    if a.target.fused:
        return product, a.call("fma", b, -product)
    a_high, a_low = _halves(a)
    b_high, b_low = _halves(b)
    return product, ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low


def remainder(a: Lanes, quotient: Lanes, b: Lanes) -> Lanes:
    """``a - quotient*b``, exactly, for a quotient that was rounded from a/b."""
    if a.target.fused:
        return (-quotient).call("fma", b, a)
    product, error = exact_product(quotient, b)
    return (a - product) - error


def _halves(a: Lanes) -> tuple[Lanes, Lanes]:
    """a as a sum of two numbers of half the precision each: the upper one by clearing bits, which cannot overflow."""
    high = (a.bits() & -(1 << (a.format.mantissa + 2) // 2)).real()
    return high, a - high


@dataclass(frozen=True)
class Whole:
    """A whole number, as a number and in the low bits of an integer (what the bits above are is left open)."""

    number: Lanes
    bits: Lanes


def nearest(x: Lanes, factor: float, unit: float = 1.0) -> Whole:
    """The whole number nearest to x * factor, below 2**51 (float: 2**22) or so; ``unit``: the whole multiple of that power of two,
    in the bits over the unit."""
    magic = x.format.magic * unit
    shifted = fma(x, factor, magic)
    return Whole(shifted - magic, shifted.bits())


def power_of_two(n: Lanes) -> Lanes:
    """2**n for n in the low bits of an integer; the result must be normal."""
    return ((n << n.format.mantissa) + n.format.one).real()


def half_of(n: Lanes) -> Lanes:
    """n/2, rounded down, for n in the low bits of an integer."""
    if n.count is None or n.format is FLOAT:
        return Lanes(n.builder, n.builder.ashr(n.value, n.like(1).value), n.target)
    # In 32-bit halves: processors before AVX-512 have no arithmetic shift of 64 bits, and the low bits are all that count.
    pairs = ir.VectorType(ir.IntType(32), 2 * n.count)
    shifted = n.builder.ashr(n.builder.bitcast(n.value, pairs), ir.Constant(pairs, [1] * pairs.count))
    return Lanes(n.builder, n.builder.bitcast(shifted, n.type), n.target)
