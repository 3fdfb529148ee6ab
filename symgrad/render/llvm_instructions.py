"""Scalar and lane instructions as LLVM text, one entry each. Reals carry the context's flags, comparisons and selects none."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from llvmlite import ir

from symgrad.loops import Let, Value, kind_of
from symgrad.render.llvm_body import Body, quoted
from symgrad.render.vector_math import math_function, sin_and_cos_function

__all__ = ["FUNCTIONS", "HANDLERS", "lanes_type"]

Handler = Callable[[Body, Let], str]


def _operands(e: Body, s: Let) -> list[str]:
    return [e.ref(a, s.value.lanes) for a in s.args]


def _kind(s: Let) -> str:
    """The kind of the first operand."""
    return kind_of(s.args[0])


def _type(e: Body, s: Let) -> str:
    return e.type(s.value.kind, s.value.lanes)


def _zero(e: Body, lanes: int) -> str:
    return e.ref(0.0, lanes)


# --- arithmetic ---


def _binary(real: str, integer: str) -> Handler:
    def handler(e: Body, s: Let) -> str:
        a, b = _operands(e, s)
        op = f"{real} {e.context.flags}" if s.value.kind == "real" else integer
        return e.emit(f"{op} {_type(e, s)} {a}, {b}")

    return handler


def _intrinsic(name: str, flags: bool = False) -> Handler:
    def handler(e: Body, s: Let) -> str:
        type_ = _type(e, s)
        full = f"llvm.{name}.{e.context.suffix(s.value.kind, s.value.lanes)}"
        return e.call(full, type_, [type_] * len(s.args), _operands(e, s), e.context.flags if flags else "")

    return handler


def _neg(e: Body, s: Let) -> str:
    (a,) = _operands(e, s)
    if s.value.kind == "real":
        return e.emit(f"fneg {_type(e, s)} {a}")
    return e.emit(f"sub {_type(e, s)} {e.ref(0, s.value.lanes)}, {a}")


def _abs(e: Body, s: Let) -> str:
    if s.value.kind == "real":
        return _intrinsic("fabs")(e, s)
    type_ = _type(e, s)
    return e.call(f"llvm.abs.{e.context.suffix('integer', s.value.lanes)}", type_, [type_, "i1"], [*_operands(e, s), "false"])


def _extreme(compare: str) -> Handler:
    """``a > b ? a : b`` gives b where either is NaN, which is one instruction; a NaN in a needs a second select,
    unless a is a constant."""

    def handler(e: Body, s: Let) -> str:
        left, right = s.args
        if s.value.kind == "real" and _is_number(e, right):
            left, right = right, left
        a, b = (e.ref(x, s.value.lanes) for x in (left, right))
        return extreme(e, compare, s.value.kind, s.value.lanes, a, b, _is_number(e, left))

    return handler


def extreme(e: Body, compare: str, kind: str, lanes: int, a: str, b: str, a_is_number: bool = False) -> str:
    type_, mask = e.type(kind, lanes), e.type("boolean", lanes)
    if kind != "real":
        return e.emit(f"select {mask} {e.emit(f'icmp s{compare} {type_} {a}, {b}')}, {type_} {a}, {type_} {b}")
    result = e.emit(f"select {mask} {e.emit(f'fcmp o{compare} {type_} {a}, {b}')}, {type_} {a}, {type_} {b}")
    if a_is_number:
        return result
    return e.emit(f"select {mask} {e.emit(f'fcmp uno {type_} {a}, {a}')}, {type_} {a}, {type_} {result}")


def _is_number(e: Body, operand: Any) -> bool:
    return operand in e.numbers if isinstance(operand, Value) else not math.isnan(operand)


def _floordiv(e: Body, s: Let) -> str:
    return _divide(e, s)[0]


def _mod(e: Body, s: Let) -> str:
    return _divide(e, s)[1]


def _divide(e: Body, s: Let) -> tuple[str, str]:
    a, b = _operands(e, s)
    if s.value.kind == "real":
        return _divide_real(e, s, a, b)
    divisor = s.args[1]
    if not isinstance(divisor, Value) and divisor > 0:
        return _divide_by_positive(e, s, a, int(divisor))
    return _divide_integer(e, s, a, b)


def _divide_by_positive(e: Body, s: Let, a: str, number: int) -> tuple[str, str]:
    type_, lanes = _type(e, s), s.value.lanes
    if number & (number - 1) == 0:
        quotient = e.emit(f"ashr {type_} {a}, {e.ref(number.bit_length() - 1, lanes)}")
        return quotient, e.emit(f"and {type_} {a}, {e.ref(number - 1, lanes)}")
    b, mask = e.ref(number, lanes), e.type("boolean", lanes)
    quotient = e.emit(f"sdiv {type_} {a}, {b}")
    rest = e.emit(f"sub {type_} {a}, {e.emit(f'mul {type_} {quotient}, {b}')}")
    below = e.emit(f"icmp slt {type_} {rest}, {e.ref(0, lanes)}")
    down = e.emit(f"sext {mask} {below} to {type_}")
    return e.emit(f"add {type_} {quotient}, {down}"), e.emit(f"add {type_} {rest}, {e.emit(f'and {type_} {down}, {b}')}")


def _divide_integer(e: Body, s: Let, a: str, b: str) -> tuple[str, str]:
    """NumPy's: x // 0 and x % 0 are 0, and the smallest integer divided by -1 wraps; the processor would trap on both."""
    type_, lanes = _type(e, s), s.value.lanes
    mask, zero, one = e.type("boolean", lanes), e.ref(0, lanes), e.ref(1, lanes)
    is_zero = e.emit(f"icmp eq {type_} {b}, {zero}")
    is_minus = e.emit(f"icmp eq {type_} {b}, {e.ref(-1, lanes)}")
    special = e.emit(f"or {mask} {is_zero}, {is_minus}")
    safe = e.emit(f"select {mask} {special}, {type_} {one}, {type_} {b}")
    quotient = e.emit(f"sdiv {type_} {a}, {safe}")
    rest = e.emit(f"sub {type_} {a}, {e.emit(f'mul {type_} {quotient}, {safe}')}")
    signs = e.emit(f"icmp slt {type_} {e.emit(f'xor {type_} {rest}, {safe}')}, {zero}")
    down = e.emit(f"and {mask} {signs}, {e.emit(f'icmp ne {type_} {rest}, {zero}')}")
    low = e.emit(f"sub {type_} {quotient}, {e.emit(f'zext {mask} {down} to {type_}')}")
    modulus = e.emit(f"add {type_} {rest}, {e.emit(f'select {mask} {down}, {type_} {safe}, {type_} {zero}')}")
    minus = e.emit(f"sub {type_} {zero}, {a}")
    low = e.emit(f"select {mask} {is_minus}, {type_} {minus}, {type_} {low}")
    return e.emit(f"select {mask} {is_zero}, {type_} {zero}, {type_} {low}"), modulus


def _divide_real(e: Body, s: Let, a: str, b: str) -> tuple[str, str]:
    """NumPy's ``npy_divmod`` (numpy/core/src/npymath/npy_math_internal.h.src), no flags: it is a chain of exact steps."""
    type_, lanes = _type(e, s), s.value.lanes
    mask, zero = e.type("boolean", lanes), _zero(e, lanes)
    suffix = e.context.suffix("real", lanes)

    def select(condition: str, yes: str, no: str) -> str:
        return e.emit(f"select {mask} {condition}, {type_} {yes}, {type_} {no}")

    def copysign(magnitude: str, sign: str) -> str:
        return e.call(f"llvm.copysign.{suffix}", type_, [type_, type_], [magnitude, sign])

    rest = e.emit(f"frem {type_} {a}, {b}")
    by_zero = e.emit(f"fcmp oeq {type_} {b}, {zero}")
    plain = e.emit(f"fdiv {type_} {a}, {b}")
    quotient = e.emit(f"fdiv {type_} {e.emit(f'fsub {type_} {a}, {rest}')}, {b}")
    is_rest = e.emit(f"fcmp une {type_} {rest}, {zero}")
    signs = e.emit(f"xor {mask} {e.emit(f'fcmp olt {type_} {b}, {zero}')}, {e.emit(f'fcmp olt {type_} {rest}, {zero}')}")
    fix = e.emit(f"and {mask} {is_rest}, {signs}")
    modulus = select(is_rest, select(fix, e.emit(f"fadd {type_} {rest}, {b}"), rest), copysign(zero, b))
    quotient = select(fix, e.emit(f"fsub {type_} {quotient}, {e.ref(1.0, lanes)}"), quotient)
    low = e.call(f"llvm.floor.{suffix}", type_, [type_], [quotient])
    far = e.emit(f"fcmp ogt {type_} {e.emit(f'fsub {type_} {quotient}, {low}')}, {e.ref(0.5, lanes)}")
    low = select(far, e.emit(f"fadd {type_} {low}, {e.ref(1.0, lanes)}"), low)
    low = select(e.emit(f"fcmp une {type_} {quotient}, {zero}"), low, copysign(zero, plain))
    return select(by_zero, plain, low), select(by_zero, rest, modulus)


def _powi(e: Body, s: Let) -> str:
    (x,) = _operands(e, s)
    exponent, type_ = s.params["exponent"], _type(e, s)
    real = s.value.kind == "real"
    times = f"fmul {e.context.flags}" if real else "mul"
    result = None
    rest = abs(exponent)
    while rest:
        if rest & 1:
            result = x if result is None else e.emit(f"{times} {type_} {result}, {x}")
        rest >>= 1
        if rest:
            x = e.emit(f"{times} {type_} {x}, {x}")
    one = e.ref(1.0 if real else 1, s.value.lanes)
    if result is None:
        return one
    return result if exponent > 0 else e.emit(f"fdiv {e.context.flags} {type_} {one}, {result}")


# --- comparisons, logic, conversions ---


def _compare(real: str, integer: str) -> Handler:
    def handler(e: Body, s: Let) -> str:
        kind = next((a.kind for a in s.args if isinstance(a, Value)), _kind(s))
        a, b = _operands(e, s)
        if kind == "real":
            return e.emit(f"fcmp {real} {e.type(kind, s.value.lanes)} {a}, {b}")
        # a boolean is one bit, which read with a sign would be -1
        relation = integer if integer in ("eq", "ne") else ("s" if kind == "integer" else "u") + integer
        return e.emit(f"icmp {relation} {e.type(kind, s.value.lanes)} {a}, {b}")

    return handler


def _isnan(e: Body, s: Let) -> str:
    (a,) = _operands(e, s)
    return e.emit(f"fcmp uno {e.type('real', s.value.lanes)} {a}, {a}")


def _isfinite(e: Body, s: Let) -> str:
    type_, lanes = e.type("real", s.value.lanes), s.value.lanes
    size = e.call(f"llvm.fabs.{e.context.suffix('real', lanes)}", type_, [type_], _operands(e, s))
    return e.emit(f"fcmp olt {type_} {size}, {e.ref(float('inf'), lanes)}")


def _logic(name: str) -> Handler:
    return lambda e, s: e.emit(f"{name} {_type(e, s)} {', '.join(_operands(e, s))}")


def _not(e: Body, s: Let) -> str:
    return e.emit(f"xor {_type(e, s)} {_operands(e, s)[0]}, {e.ref(True, s.value.lanes)}")


def _select(e: Body, s: Let) -> str:
    c, a, b = _operands(e, s)
    type_ = _type(e, s)
    return e.emit(f"select {e.type('boolean', s.value.lanes)} {c}, {type_} {a}, {type_} {b}")


def _to_real(e: Body, s: Let) -> str:
    kind = _kind(s)
    (a,) = _operands(e, s)
    if kind == "real":
        return a
    return e.emit(f"{'sitofp' if kind == 'integer' else 'uitofp'} {e.type(kind, s.value.lanes)} {a} to {_type(e, s)}")


def _to_integer(e: Body, s: Let) -> str:
    kind, lanes = _kind(s), s.value.lanes
    (a,) = _operands(e, s)
    if kind == "integer":
        return a
    if kind == "boolean":
        return e.emit(f"zext {e.type(kind, lanes)} {a} to {_type(e, s)}")
    name = f"llvm.fptosi.sat.{e.context.suffix('integer', lanes)}.{e.context.suffix('real', lanes)}"
    return e.call(name, _type(e, s), [e.type("real", lanes)], [a])


def _to_boolean(e: Body, s: Let) -> str:
    kind, lanes = _kind(s), s.value.lanes
    (a,) = _operands(e, s)
    if kind == "boolean":
        return a
    zero = _zero(e, lanes) if kind == "real" else e.ref(0, lanes)
    return e.emit(f"{'fcmp une' if kind == 'real' else 'icmp ne'} {e.type(kind, lanes)} {a}, {zero}")


def _shift(op: str) -> Handler:
    def handler(e: Body, s: Let) -> str:
        type_, lanes = _type(e, s), s.value.lanes
        x, k = _operands(e, s)
        amount = s.args[1]
        if not isinstance(amount, Value):
            return e.emit(f"{op} {type_} {x}, {k}") if 0 <= amount < 64 else e.ref(0, lanes)
        inside = e.emit(f"icmp ult {type_} {k}, {e.ref(64, lanes)}")
        shifted = e.emit(f"{op} {type_} {x}, {e.emit(f'and {type_} {k}, {e.ref(63, lanes)}')}")
        return e.emit(f"select {e.type('boolean', lanes)} {inside}, {type_} {shifted}, {type_} {e.ref(0, lanes)}")

    return handler


# --- lanes, registers, constants ---


def _splat(e: Body, s: Let) -> str:
    (operand,), type_, lanes = s.args, _type(e, s), s.value.lanes
    if not isinstance(operand, Value):
        e.numbers.add(s.value)
        return e.ref(operand, lanes)
    if operand in e.numbers:
        e.numbers.add(s.value)
    if lanes == 1:
        return e.values[operand]
    first = e.emit(f"insertelement {type_} poison, {e.typed(operand)}, i32 0")
    return e.emit(f"shufflevector {type_} {first}, {type_} poison, <{lanes} x i32> zeroinitializer")


def _iota(e: Body, s: Let) -> str:
    return "<" + ", ".join(f"i64 {k}" for k in range(s.value.lanes)) + ">" if s.value.lanes > 1 else "0"


def _extract(e: Body, s: Let) -> str:
    (operand,) = s.args
    return e.values[operand] if operand.lanes == 1 else e.emit(f"extractelement {e.typed(operand)}, i32 {s.params['lane']}")


def _reduce(combine: Callable[[Body, str, int, str, str], str]) -> Handler:
    """Halves against halves: the order is fixed, so the result is, and each step is one instruction on half the lanes."""

    def handler(e: Body, s: Let) -> str:
        (operand,) = s.args
        kind, lanes, text = operand.kind, operand.lanes, e.values[operand]
        while lanes > 2:
            type_, half = e.type(kind, lanes), lanes // 2
            halves = []
            for start in (0, half):
                picked = ", ".join(f"i32 {k}" for k in range(start, start + half))
                halves.append(e.emit(f"shufflevector {type_} {text}, {type_} poison, <{half} x i32> <{picked}>"))
            text, lanes = combine(e, kind, half, *halves), half
        if lanes == 2:
            pair = [e.emit(f"extractelement {e.type(kind, 2)} {text}, i32 {k}") for k in (0, 1)]
            text = combine(e, kind, 1, *pair)
        return text

    return handler


def _reduce_each(e: Body, s: Let) -> str:
    """Halves of neighbours against halves, until every vector is one lane: three instructions a sum."""
    texts, kind, lanes = [e.values[a] for a in s.args], s.value.kind, s.value.lanes
    combine, type_, groups = _combine("fadd", "add"), e.type(kind, lanes), 1
    while len(texts) > 1:
        width = lanes // groups  # lanes that still belong to one sum
        halves = []
        for start in (0, width // 2):
            lanes_of = [group * width + start + k for group in range(groups) for k in range(width // 2)]
            halves.append(", ".join(f"i32 {k}" for k in (*lanes_of, *(lanes + k for k in lanes_of))))
        pairs = zip(texts[::2], texts[1::2])
        texts = [
            combine(e, kind, lanes, *(e.emit(f"shufflevector {type_} {x}, {type_} {y}, <{lanes} x i32> <{half}>") for half in halves))
            for x, y in pairs
        ]
        groups *= 2
    return texts[0]


def _interleave(e: Body, s: Let) -> str:
    a, b = (e.typed(x) for x in s.args)
    lanes, half = s.value.lanes, s.params["half"] * s.value.lanes // 2
    picked = ", ".join(f"i32 {half + k + side * lanes}" for k in range(lanes // 2) for side in (0, 1))
    return e.emit(f"shufflevector {a}, {b}, <{lanes} x i32> <{picked}>")


def _combine(real: str, integer: str) -> Callable[[Body, str, int, str, str], str]:
    def combine(e: Body, kind: str, lanes: int, a: str, b: str) -> str:
        op = f"{real} {e.context.flags}" if kind == "real" else integer
        return e.emit(f"{op} {e.type(kind, lanes)} {a}, {b}")

    return combine


def _index(e: Body, s: Let) -> str:
    e.affine[s.value] = e.position(s.params["index"])
    return e.number(e.affine[s.value])


def _read(e: Body, s: Let) -> str:
    return e.emit(f"load {_type(e, s)}, ptr {e.registers[s.args[0]]}")


def _constant(e: Body, s: Let) -> str:
    number = s.params["value"]
    if not math.isnan(number):
        e.numbers.add(s.value)
    if s.value.kind == "integer" and s.value.lanes == 1:
        e.affine[s.value] = (None, int(number))
    return e.ref(number, s.value.lanes)


# --- math functions ---

FUNCTIONS = frozenset((
    "exp log log1p expm1 sin cos tan asin acos atan atan2 sinh cosh tanh asinh acosh atanh sigmoid silu gelu gelu_tanh erf erfc lgamma"
    " digamma polygamma pow hypot"
).split())


def _math(e: Body, s: Let) -> str:
    key = (s.op, s.value.lanes, tuple(s.params.items()))
    if key not in e.context.math:
        e.context.math[key] = _written(e, s, math_function(e.context.home, s.op, lanes_type(e, s), **s.params))
    type_ = _type(e, s)
    arguments = ", ".join(f"{type_} {a}" for a in _operands(e, s))
    return e.emit(f"call {type_} {e.context.math[key]}({arguments})")


def _sine_or_cosine(e: Body, s: Let) -> str:
    """Where a block takes both of a value, they share the reduction to a quarter turn, which is half of the work."""
    if s.args[0] not in e.turned or e.context.home is not e.context.module:
        return _math(e, s)
    function = sin_and_cos_function(e.context.module, lanes_type(e, s))
    if function is None:
        return _math(e, s)
    type_, (operand,) = _type(e, s), _operands(e, s)
    both = f"{{ {type_}, {type_} }}"
    pair = e.shared(("sin_and_cos", operand), f"call {both} {quoted(function.name)}({type_} {operand})")
    return e.emit(f"extractvalue {both} {pair}, {int(s.op == 'cos')}")


def lanes_type(e: Body, s: Let) -> Any:
    element = ir.DoubleType() if e.context.real == "double" else ir.FloatType()
    return element if s.value.lanes == 1 else ir.VectorType(element, s.value.lanes)


def _written(e: Body, s: Let, function: Any) -> str:
    """A mathematical function's name, known also where the code is in another module."""
    if e.context.home is not e.context.module:
        if not function.is_declaration:
            function.linkage = ""
        e.context.declare(function.name, _type(e, s), [_type(e, s)] * len(s.args))
    return quoted(function.name)


HANDLERS: dict[str, Handler] = {
    "add": _binary("fadd", "add"), "sub": _binary("fsub", "sub"), "mul": _binary("fmul", "mul"), "div": _binary("fdiv", ""),
    "neg": _neg, "floordiv": _floordiv, "mod": _mod, "maximum": _extreme("gt"), "minimum": _extreme("lt"),
    "fma": _intrinsic("fmuladd", flags=True), "abs": _abs, "sqrt": _intrinsic("sqrt", flags=True), "floor": _intrinsic("floor"),
    "ceil": _intrinsic("ceil"), "round": _intrinsic("rint"), "copysign": _intrinsic("copysign"),
    "less": _compare("olt", "lt"), "less_equal": _compare("ole", "le"), "greater": _compare("ogt", "gt"),
    "greater_equal": _compare("oge", "ge"), "equal": _compare("oeq", "eq"), "not_equal": _compare("une", "ne"),
    "isnan": _isnan, "isfinite": _isfinite, "and": _logic("and"), "or": _logic("or"), "xor": _logic("xor"), "not": _not,
    "select": _select, "to_real": _to_real, "to_integer": _to_integer, "to_boolean": _to_boolean,
    "bitand": _logic("and"), "bitxor": _logic("xor"), "shift_left": _shift("shl"), "shift_right": _shift("lshr"),
    "powi": _powi, "splat": _splat, "iota": _iota, "extract": _extract,
    "reduce_add_each": _reduce_each, "interleave": _interleave,
    "reduce_add": _reduce(_combine("fadd", "add")), "reduce_mul": _reduce(_combine("fmul", "mul")),
    "reduce_maximum": _reduce(lambda e, kind, lanes, a, b: extreme(e, "gt", kind, lanes, a, b)),
    "reduce_minimum": _reduce(lambda e, kind, lanes, a, b: extreme(e, "lt", kind, lanes, a, b)),
    "index": _index, "read": _read, "constant": _constant,
    **dict.fromkeys(FUNCTIONS, _math), "sin": _sine_or_cosine, "cos": _sine_or_cosine,
}  # fmt: skip
