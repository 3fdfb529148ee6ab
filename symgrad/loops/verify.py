"""The verifier of loop programs: a wrong program is refused with the place and the reason, before anything runs."""

from __future__ import annotations

from typing import Any, NoReturn

from symgrad import dims
from symgrad.dims import Dim
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
    Prefetch,
    Program,
    Register,
    Scatter,
    Statement,
    Store,
    Value,
)

__all__ = ["verify"]

KINDS = ("real", "integer", "boolean")
ROLES = ("input", "output", "inout", "constant")


def verify(program: Program) -> None:
    """Refuses a program that is not well formed.

    Checked: every value, register, buffer and size is defined before its use and in scope, once; kinds and lanes of
    operands and results; instruction names, arities and parameters; roles (nothing writes an input or a constant);
    that a loop to be unrolled has a known number of rounds; failure codes.

    Raises:
        ValueError: naming the program, the statement's place and what is wrong with it.

    >>> from symgrad.loops import Buffer, Builder, Program
    >>> b, x = Builder(), Buffer("x", "real", (3,), "input")
    >>> b.store(x, 0, 1.0)
    >>> verify(Program("p", (x,), (), (), b.body))
    Traceback (most recent call last):
    ...
    ValueError: loop program 'p', body[0] (Store): @x is an input: it cannot be written
    """
    _Verifier(program).run()


class _Verifier:
    def __init__(self, program: Program) -> None:
        self.program = program
        self.path: list[tuple[str, list[Statement]]] = []  # from the outermost block inwards
        self.at: list[int] = []  # the position in each
        self.values: set[Value] = set()  # in scope
        self.ever: set[Value] = set()
        self.registers: set[Register] = set()
        self.unrolled: set[Value] = set()
        self.names = frozenset(program.sizes)
        self.buffers = frozenset((*program.arguments, *program.scratch))

    def refuse(self, message: str) -> NoReturn:
        steps = [f"{label}[{k}] ({type(body[k]).__name__})" for (label, body), k in zip(self.path, self.at, strict=True)]
        place = f", {'.'.join(steps)}" if steps else ""
        raise ValueError(f"loop program {self.program.name!r}{place}: {message}")

    def require(self, condition: bool, message: str) -> None:
        if not condition:
            self.refuse(message)

    # --- the program as a whole ---

    def run(self) -> None:
        program = self.program
        self.require(len(set(program.sizes)) == len(program.sizes), "a size is named twice")
        self.require(len(self.buffers) == len(program.arguments) + len(program.scratch), "a buffer is listed twice")
        for buffer in program.arguments:
            self.require(buffer.role in ROLES, f"argument {buffer} has the role {buffer.role!r}")
        for buffer in program.scratch:
            self.require(buffer.role == "scratch", f"scratch buffer {buffer} has the role {buffer.role!r}")
        for buffer in (*program.arguments, *program.scratch):
            self.require(buffer.kind in KINDS, f"{buffer} has the unknown kind {buffer.kind!r}")
            for dim in buffer.shape:
                self.dim(dim, f"the shape of {buffer}")
        for buffer in program.constants:
            known = buffer in program.arguments and buffer.role == "constant"
            self.require(known, f"{buffer} has a constant array but is no constant argument")
        self.block(program.body, "body")

    def block(self, body: list[Statement], label: str) -> None:
        values, registers, names = set(self.values), set(self.registers), self.names
        self.path.append((label, body))
        at, depth = self.at, len(self.at)
        at.append(0)
        for at[depth], statement in enumerate(body):
            check = _CHECKS.get(statement.__class__)
            if check is None:
                self.refuse(f"{type(statement).__name__} is no statement")
            check(self, statement)
        self.path.pop()
        at.pop()
        self.values, self.registers, self.names = values, registers, names

    # --- parts of statements ---

    def new(self, value: Value) -> None:
        lanes = value.lanes
        if value.kind not in KINDS:
            self.refuse(f"{value} has the unknown kind {value.kind!r}")
        if lanes < 1 or lanes & (lanes - 1):
            self.refuse(f"{value} has {value.lanes} lanes: not a power of two")
        if value in self.ever:
            self.refuse(f"{value} is defined twice")
        self.ever.add(value)
        self.values.add(value)

    def use(self, operand: Any, kind: str | None, lanes: int | None, role: str) -> None:
        """A value or a Python number, of the kind and lanes if given (a number fits any lanes)."""
        if isinstance(operand, Value):
            if operand not in self.values:
                self.refuse(f"{role} {operand} is " + ("out of scope here" if operand in self.ever else "used before it is defined"))
            if kind is not None and operand.kind != kind:
                self.refuse(f"{role} {operand} is {operand.kind}, not {kind}")
            if lanes is not None and operand.lanes != lanes:
                self.refuse(f"{role} {operand} has {operand.lanes} lanes, not {lanes}")
        elif isinstance(operand, (bool, int, float)):
            if kind is not None and kind_of(operand) != kind:
                self.refuse(f"{role} {operand!r} is a Python {type(operand).__name__}, not {kind}")
        else:
            self.refuse(f"{role} {operand!r} is neither a value nor a Python number")

    def mask(self, mask: Value | None, lanes: int) -> None:
        if mask is not None:
            self.require(isinstance(mask, Value), f"the mask {mask!r} is no value")
            self.use(mask, "boolean", lanes, "the mask")

    def dim(self, dim: Dim, role: str) -> None:
        for name in dims.names(dim):
            self.require(name in self.names, f"{role} uses the size {name!r}, which the program does not name")

    def index(self, index: Index, role: str) -> None:
        self.require(isinstance(index, Index), f"{role} {index!r} is no Index")
        for value, coefficient in index.terms:
            self.use(value, "integer", 1, f"{role}'s")
            self.require(isinstance(value, Value), f"{role} has the term {value!r}, no value")
            self.dim(coefficient, role)
        self.dim(index.offset, role)

    def register(self, register: Any) -> Register:
        if not isinstance(register, Register):
            self.refuse(f"{register!r} is no register")
        self.require(register in self.registers, f"register {register} is not defined here")
        return register

    def read(self, buffer: Buffer) -> None:
        self.require(buffer in self.buffers, f"{buffer} is neither an argument nor scratch of the program")

    def written(self, buffer: Buffer) -> None:
        self.read(buffer)
        article = "a" if buffer.role == "constant" else "an"
        self.require(buffer.role not in ("input", "constant"), f"{buffer} is {article} {buffer.role}: it cannot be written")

    # --- statements ---

    def let(self, s: Let) -> None:
        rule = INSTRUCTIONS.get(s.op)
        if rule is None:
            self.refuse(f"{s.op!r} is no instruction: see symgrad/loops/instructions.py")
        arity = s.value.lanes if rule.arity is None else rule.arity
        if len(s.args) != arity:
            self.refuse(f"{s.op} takes {arity} operands, not {len(s.args)}")
        if rule.kind == "any" or rule.arity == 0:
            self.special(s)
        elif s.params or s.op not in _PLAIN or not self.are_reals(s):
            self.arithmetic(s, rule.kind)
        self.new(s.value)

    def are_reals(self, s: Let) -> bool:
        """Whether a real value is made of real ones, as nearly always; if not, :meth:`arithmetic` knows what is wrong."""
        value = s.value
        for a in s.args:
            if a.__class__ is Value:
                if a.kind != "real" or a.lanes != value.lanes or a not in self.values:
                    return False
            elif a.__class__ is not float:
                return False
        return value.kind == "real"

    def arithmetic(self, s: Let, rule: str) -> None:
        kind, lanes = s.value.kind, s.value.lanes
        wanted: list[str | None] = [kind] * len(s.args)
        result = kind
        if rule in ("real", "integer", "boolean"):
            result = rule
        if s.op in ("to_real", "to_integer", "to_boolean"):
            wanted = [None]
        elif s.op in ("isnan", "isfinite"):
            wanted = ["real"]
        elif rule == "boolean":
            wanted = [next((a.kind for a in s.args if isinstance(a, Value)), None)] * 2
        elif rule == "logic":
            wanted, result = ["boolean"] * len(s.args), "boolean"
        elif rule == "select":
            wanted[0] = "boolean"
        elif rule == "same":
            self.require(kind != "boolean", f"{s.op} does not compute on booleans")
        if kind != result:
            self.refuse(f"{s.op} makes a {result} value, not a {kind} one")
        for position, (arg, want) in enumerate(zip(s.args, wanted)):
            self.use(arg, want, lanes, f"{s.op}'s operand {position}")
        expected = {"polygamma": {"order"}, "powi": {"exponent"}}.get(s.op, set())
        if s.params.keys() != expected:
            self.refuse(f"{s.op} has the parameters {sorted(s.params)}, not {sorted(expected)}")
        for name in expected:
            self.require(type(s.params[name]) is int, f"{s.op}'s {name} is {s.params[name]!r}, no int")
        if s.op == "powi":
            self.require(kind == "real" or s.params["exponent"] >= 0, "powi of an integer has a negative exponent")

    def special(self, s: Let) -> None:
        """Lanes, registers, indices and constants."""
        value, params = s.value, s.params
        names = {"extract": {"lane"}, "index": {"index"}, "constant": {"value"}, "interleave": {"half"}}.get(s.op, set())
        self.require(set(params) == names, f"{s.op} has the parameters {sorted(params)}, not {sorted(names)}")
        if s.op == "read":
            register = self.register(s.args[0])
            same = (register.kind, register.lanes) == (value.kind, value.lanes)
            self.require(same, f"{value} is read as {value.lanes} {value.kind} from {register}: {register.lanes} {register.kind}")
        elif s.op == "constant":
            self.use(params["value"], value.kind, None, "the constant")
            self.require(not isinstance(params["value"], Value), "the constant is a value, not a number")
        elif s.op == "index":
            self.index(params["index"], "the index")
            self.require((value.kind, value.lanes) == ("integer", 1), "an index makes a scalar integer")
        elif s.op == "iota":
            self.require(value.kind == "integer", "iota makes integers")
        elif s.op in ("reduce_add_each", "interleave"):
            self.require(s.op != "interleave" or params["half"] in (0, 1), f"interleave makes half 0 or 1, not {params.get('half')!r}")
            for arg in s.args:
                self.use(arg, value.kind, value.lanes, f"{s.op}'s operand")
        elif s.op == "splat":
            self.use(s.args[0], value.kind, 1, "splat's operand")
        else:
            (arg,) = s.args
            self.use(arg, value.kind, None, f"{s.op}'s operand")
            self.require(isinstance(arg, Value), f"{s.op}'s operand is a number")
            self.require(value.lanes == 1, f"{s.op} makes a scalar")
            if s.op == "extract":
                self.require(type(params["lane"]) is int and 0 <= params["lane"] < arg.lanes, f"lane {params['lane']!r} of {arg.lanes}")
            else:
                self.require(value.kind != "boolean", f"{s.op} does not compute on booleans")

    def load(self, s: Load) -> None:
        self.read(s.buffer)
        self.require(s.value.kind == s.buffer.kind, f"{s.value} is {s.value.kind}, {s.buffer} is {s.buffer.kind}")
        self.index(s.index, "the index")
        self.mask(s.mask, s.value.lanes)
        self.new(s.value)

    def store(self, s: Store) -> None:
        self.written(s.buffer)
        self.use(s.value, s.buffer.kind, None, "the stored")
        self.index(s.index, "the index")
        self.mask(s.mask, s.value.lanes if isinstance(s.value, Value) else 1)

    def gather(self, s: Gather) -> None:
        self.read(s.buffer)
        self.require(s.value.kind == s.buffer.kind, f"{s.value} is {s.value.kind}, {s.buffer} is {s.buffer.kind}")
        self.require(isinstance(s.offsets, Value), "the offsets are no value")
        self.use(s.offsets, "integer", s.value.lanes, "the offsets")
        self.mask(s.mask, s.value.lanes)
        self.new(s.value)

    def scatter(self, s: Scatter) -> None:
        self.written(s.buffer)
        self.require(isinstance(s.offsets, Value) and isinstance(s.value, Value), "a scatter takes values")
        self.use(s.offsets, "integer", None, "the offsets")
        self.use(s.value, s.buffer.kind, s.offsets.lanes, "the stored")
        self.mask(s.mask, s.offsets.lanes)

    def define(self, s: Define) -> None:
        self.require(s.register not in self.registers, f"register {s.register} is defined twice")
        self.use(s.value, s.register.kind, s.register.lanes, "the first value")
        self.registers.add(s.register)

    def assign(self, s: Assign) -> None:
        self.register(s.register)
        self.use(s.value, s.register.kind, s.register.lanes, "the value")

    def loop(self, s: Loop) -> None:
        self.index(s.start, "the start")
        self.index(s.stop, "the stop")
        self.require(type(s.step) is int and s.step != 0, f"the step is {s.step!r}: a whole number other than 0 is wanted")
        self.require((s.variable.kind, s.variable.lanes) == ("integer", 1), f"the variable {s.variable} is no scalar integer")
        if s.unroll:
            rest = s.stop + s.start * -1
            known = isinstance(rest.offset, int) and all(v in self.unrolled and isinstance(c, int) for v, c in rest.terms)
            self.require(known, "a loop of unknown length cannot be unrolled")
        values = set(self.values)
        self.new(s.variable)
        if s.unroll and isinstance(s.start.offset, int) and all(v in self.unrolled and isinstance(c, int) for v, c in s.start.terms):
            self.unrolled.add(s.variable)
        registers = self.registers
        if s.parallel:
            plain = s.step == 1 and s.start == Index() and not s.unroll
            self.require(plain, "a loop in threads counts from 0 in steps of 1, and is not unrolled")
            self.registers = set()  # those of the function around belong to one thread
        self.block(s.body, "body")
        self.values, self.registers = values, registers

    def branch(self, s: If) -> None:
        self.require(isinstance(s.condition, Value), "the condition is no value")
        self.use(s.condition, "boolean", 1, "the condition")
        self.block(s.then, "then")
        self.block(s.orelse, "else")

    def gemm(self, s: Gemm) -> None:
        for letter, (buffer, offset, leading) in zip("ABC", (s.a, s.b, s.c)):
            (self.written if letter == "C" else self.read)(buffer)
            self.require(buffer.kind == "real", f"{letter} {buffer} is {buffer.kind}, not real")
            self.index(offset, f"{letter}'s offset")
            self.index(leading, f"{letter}'s leading dimension")
        for size, letter in ((s.m, "m"), (s.n, "n"), (s.k, "k")):
            self.index(size, letter)
        self.use(s.alpha, "real", 1, "alpha")
        self.use(s.beta, "real", 1, "beta")
        self.require(s.c[0] is not s.a[0] and s.c[0] is not s.b[0], f"C {s.c[0]} is also an operand")

    def fill(self, s: Fill) -> None:
        self.written(s.buffer)
        self.index(s.start, "the start")
        self.index(s.count, "the count")
        self.use(s.number, s.buffer.kind, 1, "the number")

    def copy(self, s: Copy) -> None:
        self.written(s.target)
        self.read(s.source)
        self.require(s.target.kind == s.source.kind, f"{s.source} is {s.source.kind}, {s.target} is {s.target.kind}")
        for index, role in ((s.target_start, "the target's start"), (s.source_start, "the source's start"), (s.count, "the count")):
            self.index(index, role)

    def prefetch(self, s: Prefetch) -> None:
        self.index(s.index, "the index")

    def fail(self, s: Fail) -> None:
        self.use(s.condition, "boolean", None, "the condition")
        codes = len(self.program.failures)
        self.require(type(s.code) is int and 1 <= s.code <= codes, f"the code {s.code!r} has no message: the program has {codes}")

    def bind(self, s: BindSize) -> None:
        self.require(s.name in self.program.sizes, f"{s.name!r} is no size of the program")
        self.require(isinstance(s.value, Value), "the size is no value")
        self.use(s.value, "integer", 1, "the size")

    def comment(self, s: Comment) -> None:
        self.require(isinstance(s.text, str), "the text is no str")


# Instructions that make reals of reals, without parameters.
_PLAIN = {name for name, rule in INSTRUCTIONS.items() if rule.kind in ("real", "same")} - {"to_real", "powi", "polygamma"}

_CHECKS: dict[type, Any] = {
    Let: _Verifier.let, Load: _Verifier.load, Store: _Verifier.store, Gather: _Verifier.gather, Scatter: _Verifier.scatter,
    Define: _Verifier.define, Assign: _Verifier.assign, Loop: _Verifier.loop, If: _Verifier.branch, Gemm: _Verifier.gemm,
    Fill: _Verifier.fill, Copy: _Verifier.copy, Prefetch: _Verifier.prefetch, Fail: _Verifier.fail, BindSize: _Verifier.bind,
    Comment: _Verifier.comment,
}  # fmt: skip
