"""Loop programs: the builder, what the verifier refuses, and what the interpreter does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from loop_programs import matmul_tile, reals, reduction, straight
from numpy.testing import assert_allclose, assert_array_equal

from symgrad.loops import (
    INSTRUCTIONS,
    Assign,
    BindSize,
    Buffer,
    Builder,
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
    Store,
    Value,
    interpret,
    verify,
)
from symgrad.loops.walk import buffers, made, registers, values, walk

X = Buffer("x", "real", ("n",), "input")
Y = Buffer("y", "real", ("n",), "output")
K = Buffer("k", "integer", (4,), "inout")
C = Buffer("c", "real", (4,), "constant")
S = Buffer("s", "real", (8,))
REAL, WHOLE, FLAG = Value(1001, "real"), Value(1002, "integer"), Value(1003, "boolean")


def program(
    *body: Any, failures: tuple[str, ...] = (), arguments: tuple[Buffer, ...] = (X, Y, K, C), scratch: tuple[Buffer, ...] = (S,)
) -> Program:
    given = [Let(value, "constant", (), {"value": number}) for value, number in ((REAL, 1.0), (WHOLE, 2), (FLAG, True))]
    return Program("p", arguments, scratch, ("n",), [*given, *body], failures)


def at(value: int | str | Value = 0) -> Index:
    return Index.of(value)


def new(kind: str = "real", lanes: int = 1) -> Value:
    new.counter += 1  # type: ignore[attr-defined]
    return Value(new.counter, kind, lanes)  # type: ignore[attr-defined]


new.counter = 0  # type: ignore[attr-defined]
LATE, OTHER, ACC = new(), Buffer("other", "real", (4,)), Register("acc", "real")
VECTOR, ONE = new("real", 4), (S, at(), at(2))

REFUSED = {
    "used before it is defined": lambda: program(Store(Y, at(), LATE)),
    "out of scope": lambda: program(If(FLAG, [Let(LATE, "neg", (REAL,), {})], []), Store(Y, at(), LATE)),
    "is defined twice": lambda: program(Let(REAL, "neg", (1.0,), {})),
    "is no statement": lambda: program("text"),
    "'frobnicate' is no instruction": lambda: program(Let(new(), "frobnicate", (REAL,), {})),
    "add takes 2 operands, not 1": lambda: program(Let(new(), "add", (REAL,), {})),
    "add's operand 1 %1002 is integer, not real": lambda: program(Let(new(), "add", (REAL, WHOLE), {})),
    "operand 1 2 is a Python int, not real": lambda: program(Let(new(), "add", (REAL, 2), {})),
    "has 1 lanes, not 4": lambda: program(Let(new(lanes=4), "neg", (REAL,), {})),
    "makes a boolean value, not a real one": lambda: program(Let(new(), "less", (REAL, REAL), {})),
    "makes a real value, not a integer one": lambda: program(Let(new("integer"), "exp", (REAL,), {})),
    "does not compute on booleans": lambda: program(Let(new("boolean"), "add", (FLAG, FLAG), {})),
    "operand 0 %1001 is real, not boolean": lambda: program(Let(new(), "select", (REAL, REAL, REAL), {})),
    "is neither a value nor a Python number": lambda: program(Let(new(), "neg", ("x",), {})),
    "polygamma has the parameters": lambda: program(Let(new(), "polygamma", (REAL,), {})),
    "exponent is 1.5, no int": lambda: program(Let(new(), "powi", (REAL,), {"exponent": 1.5})),
    "negative exponent": lambda: program(Let(new("integer"), "powi", (WHOLE,), {"exponent": -1})),
    "has 3 lanes: not a power of two": lambda: program(Let(new(lanes=3), "splat", (REAL,), {})),
    "splat's operand %1002 is integer": lambda: program(Let(new(lanes=4), "splat", (WHOLE,), {})),
    "lane 4 of 4": lambda: program(Let(VECTOR, "splat", (REAL,), {}), Let(new(), "extract", (VECTOR,), {"lane": 4})),
    "reduce_add makes a scalar": lambda: program(Let(VECTOR, "splat", (REAL,), {}), Let(new(lanes=4), "reduce_add", (VECTOR,), {})),
    "the constant 1 is a Python int": lambda: program(Let(new(), "constant", (), {"value": 1})),
    "register $acc is not defined": lambda: program(Let(new(), "read", (ACC,), {})),
    "is read as": lambda: program(Define(ACC, 1.0), Let(new("integer"), "read", (ACC,), {})),
    "register $acc is defined twice": lambda: program(Define(ACC, 1.0), Define(ACC, 1.0)),
    "the first value %1002 is integer": lambda: program(Define(ACC, WHOLE)),
    "%1002 is integer, not real": lambda: program(Define(ACC, 1.0), Assign(ACC, WHOLE)),
    "@x is an input: it cannot be written": lambda: program(Store(X, at(), 1.0)),
    "@c is a constant: it cannot be written": lambda: program(Fill(C, at(), at(1), 1.0)),
    "neither an argument nor scratch": lambda: program(Load(new(), OTHER, at())),
    "is integer, @x is real": lambda: program(Load(new("integer"), X, at())),
    "the stored %1001 is real, not integer": lambda: program(Store(K, at(), REAL)),
    "the mask %1003 has 1 lanes, not 4": lambda: program(Load(new(lanes=4), X, at(), FLAG)),
    "the mask %1001 is real": lambda: program(Store(Y, at(), 1.0, REAL)),
    "the index's %1001 is real, not integer": lambda: program(Load(new(), X, at(REAL))),
    "uses the size 'm'": lambda: program(Load(new(), X, at("2*m"))),
    "the index 3 is no Index": lambda: program(Load(new(), X, 3)),  # type: ignore[arg-type]
    "the offsets %1001 is real": lambda: program(Gather(new(), X, REAL)),
    "has 1 lanes, not 2": lambda: program(Gather(new(lanes=2), X, WHOLE)),
    "a scatter takes values": lambda: program(Scatter(Y, WHOLE, 1.0)),  # type: ignore[arg-type]
    "the step is 0": lambda: program(Loop(new("integer"), at(), at(3), 0, [])),
    "is no scalar integer": lambda: program(Loop(new(), at(), at(3), 1, [])),
    "unknown length cannot be unrolled": lambda: program(Loop(new("integer"), at(), at("n"), 1, [], unroll=True)),
    "the condition %1002 is integer": lambda: program(If(WHOLE, [], [])),
    "C @x is": lambda: program(Gemm(at(2), at(2), at(2), 1.0, ONE, False, ONE, False, 0.0, (X, at(), at(2)))),
    "C @s is also an operand": lambda: program(Gemm(at(2), at(2), at(2), 1.0, ONE, False, ONE, False, 0.0, ONE)),
    "alpha 1 is a Python int": lambda: program(Gemm(at(2), at(2), at(2), 1, ONE, False, ONE, False, 0.0, (Y, at(), at(2)))),
    "@k is integer, @y is real": lambda: program(Copy(Y, at(), K, at(), at(2))),
    "the code 2 has no message: the program has 1": lambda: program(Fail(FLAG, 2), failures=("bad",)),
    "'m' is no size of the program": lambda: program(BindSize("m", WHOLE)),
    "scratch buffer @x has the role 'input'": lambda: program(arguments=(), scratch=(X,)),
    "argument @s has the role 'scratch'": lambda: program(arguments=(S,), scratch=()),
    "a buffer is listed twice": lambda: program(arguments=(X, X)),
    "the shape of @m uses the size 'm'": lambda: program(arguments=(Buffer("m", "real", ("m",), "input"),)),
    "unknown kind 'complex'": lambda: program(arguments=(Buffer("z", "complex", (), "input"),)),
}


@pytest.mark.parametrize("message", REFUSED)
def test_the_verifier_refuses(message: str) -> None:
    make: Callable[[], Program] = REFUSED[message]
    with pytest.raises(ValueError, match="loop program 'p'") as found:
        verify(make())
    # "C @x is" stands for the roles of a product's result
    assert message in str(found.value) or (message == "C @x is" and "@x is an input" in str(found.value))


def test_the_place_is_named() -> None:
    inner = Loop(new("integer"), at(), at(3), 1, [If(FLAG, [], [Store(X, at(), 1.0)])])
    with pytest.raises(ValueError, match=r"loop program 'p', body\[3\] \(Loop\)\.body\[0\] \(If\)\.else\[0\] \(Store\): @x is an input"):
        verify(program(inner))


def test_scopes() -> None:
    """A value is seen in the rest of its block and inside; a register likewise; a bound size ends with its block."""
    inner, register = new(), Register("inner", "real")
    body = [Define(register, 0.0), Let(inner, "read", (register,), {}), Store(Y, at(), inner)]
    verify(program(If(FLAG, body, []), If(FLAG, [Define(register, 1.0)], [])))
    with pytest.raises(ValueError, match="not defined here"):
        verify(program(If(FLAG, body, []), Assign(register, 1.0)))


def test_loops_that_can_be_unrolled() -> None:
    b = Builder()
    with b.loop(0, 4, unroll=True) as i, b.loop(i, Index.of(i) * 2 + 3, unroll=True) as j:
        b.store(S, j, 1.0)
    with b.loop(0, "n") as i, b.loop(Index.of(i) * 2, Index.of(i) * 2 + 2, unroll=True) as j:
        b.store(S, 0, b.to_real(j))
    verify(program(*b.body))


def test_hand_written_programs_are_accepted() -> None:
    for p in (reduction(8), matmul_tile(4), straight(50)):
        verify(p)


# --- the builder ---


def test_the_builder_converts_and_spreads() -> None:
    b = Builder()
    whole, vector = b.constant(3), b.load(X, 0, 4)
    total = b.add(vector, whole)
    assert (total.kind, total.lanes) == ("real", 4)
    assert [s.op for s in b.body if isinstance(s, Let)] == ["constant", "to_real", "splat", "add"]
    flag = b.and_(b.less(vector, 1), True)
    assert (flag.kind, flag.lanes) == ("boolean", 4)
    assert b.select(flag, whole, 1.5).kind == "real"
    assert b.floordiv(whole, 2).kind == "integer"
    assert b.div(whole, 2).kind == "real"
    verify(Program("p", (X,), (), ("n",), b.body))
    with pytest.raises(AttributeError, match="no instruction named 'frobnicate'"):
        b.frobnicate(1)
    with pytest.raises(TypeError, match="own builder method"):
        b.splat(vector)


def test_indices() -> None:
    i, j = Value(1, "integer"), Value(2, "integer")
    index = (Index.of(i) * "n" + j + 3) * 2 + Index.of(i) * -1
    assert index == Index(((i, "2*n - 1"), (j, 2)), 6)
    assert Index.of(i) + Index.of(i) * -1 == Index()


# --- the interpreter ---


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_interpreter_computes_in_its_width(dtype: str) -> None:
    b = Builder()
    b.store(Y, 0, b.div(b.load(X, 0), 3.0))
    out = np.zeros(1, dtype)
    assert interpret(Program("third", (X, Y), (), ("n",), b.body), [np.ones(1, dtype), out], {"n": 1}, dtype) == 0
    assert out[0] == np.ones((), dtype) / np.asarray(3, dtype)


def test_the_interpreter_multiplies_matrices() -> None:
    arrays = [reals(8 * 3), reals(3 * 5, seed=1), np.zeros(40)]
    assert interpret(matmul_tile(4), dict(zip("abc", arrays)), {"k": 3, "n": 5}) == 0
    assert_allclose(arrays[2].reshape(8, 5), arrays[0].reshape(8, 3) @ arrays[1].reshape(3, 5))


OUTSIDE = {
    "element 3 of @x, which has 3": Load(new(lanes=2), X, at(2)),
    "element -1 of @x": Load(new(), X, at(-1)),
    "element 3 of @y": Store(Y, at(3), 1.0),
    "element 2 of @k": Gather(new("integer"), Buffer("k", "integer", (2,), "inout"), WHOLE),
    "elements 1 to 3 of @y": Fill(Y, at(1), at(3), 1.0),
    "elements 6 to 8 of @s": Copy(S, at(6), X, at(), at(3)),
    "elements 0 to 3 of @y": Gemm(at(2), at(2), at(2), 1.0, ONE, False, ONE, False, 0.0, (Y, at(), at(2))),
    "3 columns of @s with the leading dimension 2": Gemm(at(2), at(3), at(2), 1.0, ONE, False, ONE, False, 0.0, (Y, at(), at(3))),
}


@pytest.mark.parametrize("message", OUTSIDE)
def test_accesses_outside_are_found(message: str) -> None:
    statement = OUTSIDE[message]
    whole = statement.buffer if isinstance(statement, Gather) else K
    p = program(statement, arguments=(X, Y, whole, C))
    verify(p)
    arrays = {"x": np.zeros(3), "y": np.zeros(3), "k": np.zeros(len(whole.shape) and int(whole.size), np.int64), "c": np.zeros(4)}
    with pytest.raises(IndexError, match=message):
        interpret(p, arrays, {"n": 3})


def test_masked_lanes_touch_nothing() -> None:
    b = Builder()
    mask = b.less(b.iota(4), 2)
    v = b.load(X, 1, 4, mask)
    b.store(Y, 1, b.add(v, 1.0), mask)
    b.store(Y, 0, b.reduce("add", v))
    out = np.zeros(3)
    assert interpret(Program("p", (X, Y), (), ("n",), b.body), [np.array([1.0, 2, 3]), out], {"n": 3}) == 0
    assert_array_equal(out, [5, 3, 4])


def test_scratch_begins_unusable() -> None:
    b = Builder()
    b.store(Y, 0, b.load(S, 3))
    out = np.zeros(1)
    interpret(Program("p", (Y,), (S,), ("n",), b.body), [out], {"n": 1})
    assert np.isnan(out[0])


def test_constants_come_with_the_program() -> None:
    b = Builder()
    b.store(Y, 0, b.load(C, 2))
    p = Program("p", (Y, C), (), ("n",), b.body, constants={C: np.arange(4)})
    out = np.zeros(1)
    assert interpret(p, {"y": out}, {"n": 1}) == 0
    assert out[0] == 2.0


def test_wrong_arrays_are_refused() -> None:
    p = Program("p", (X,), (), ("n",), [])
    for array in (np.zeros(3, np.float32), np.zeros(4), np.zeros(6)[::2]):
        with pytest.raises(ValueError, match="@x takes 3 contiguous float64"):
            interpret(p, [array], {"n": 3})
    with pytest.raises(ValueError, match="the array for @x is missing"):
        interpret(p, {}, {"n": 3})
    with pytest.raises(ValueError, match="the size 'n' is missing"):
        interpret(p, [np.zeros(3)])


def test_a_bound_size_is_never_larger() -> None:
    p = program(BindSize("n", WHOLE), arguments=(Y,))
    assert interpret(p, [np.zeros(2)], {"n": 2}) == 0
    with pytest.raises(ValueError, match="n is bound to 2, the argument is 1"):
        interpret(p, [np.zeros(1)], {"n": 1})


def test_a_hint_may_point_behind_the_end() -> None:
    p = program(Prefetch(X, at(100)), Prefetch(Y, at("n"), write=True), arguments=(X, Y))
    verify(p)
    assert interpret(p, [np.zeros(3), np.zeros(3)], {"n": 3}) == 0
    assert [(b.name, mode) for s in p.body for b, mode in buffers(s)] == [("x", "r"), ("y", "r")]


def test_copies_do_not_overlap() -> None:
    p = program(Copy(S, at(0), S, at(1), at(3)), arguments=(X,))
    with pytest.raises(IndexError, match="overlaps"):
        interpret(p, [np.zeros(1)], {"n": 1})


def test_every_instruction_has_an_evaluation() -> None:
    for name, instruction in INSTRUCTIONS.items():
        assert instruction.name == name and instruction.cost > 0 and instruction.arity in (0, 1, 2, 3, None)
    assert INSTRUCTIONS["floordiv"].evaluate(np.int64(7), np.int64(0)) == 0
    assert INSTRUCTIONS["shift_right"].evaluate(np.int64(-1), np.int64(63)) == 1
    assert_allclose(INSTRUCTIONS["polygamma"].evaluate(1.0, order=1), np.pi**2 / 6)


# --- reading and listing ---


def test_what_statements_use_and_make() -> None:
    p = matmul_tile(4)
    statements = list(walk(p.body))
    assert [type(s).__name__ for s in statements[:3]] == ["Let", "Loop", "Loop"]
    defined = {made(s) for s in statements} | {s.variable for s in statements if isinstance(s, Loop)}
    assert {v for s in statements for v in values(s)} <= defined
    assert {b.name for s in statements for b, mode in buffers(s) if mode == "w"} == {"c"}
    assert len({r for s in statements for r in registers(s)}) == 8


def test_the_listing_shows_every_statement() -> None:
    b = Builder()
    total = b.define("total", 0.0)
    with b.loop("n - 1", -1, -1) as i:
        b.assign(total, b.add(b.read(total), b.load(X, i)))
        b.emit(Fail(b.less(b.index(Index.of(i) * "n + 1" + 2), 0), 1))
    with b.branch(b.not_(b.constant(True))) as orelse:
        b.emit(Fill(Y, at(), at("n"), 0.0))
    with b.into(orelse):
        b.emit(Copy(Y, at(1), S, at(), at(3)))
    b.scatter(Y, b.gather(K, b.constant(2)), b.read(total))
    b.emit(Gemm(at("n"), at(2), at(3), 1.0, ONE, True, ONE, False, 0.5, (Y, at(), at(2))))
    b.prefetch(X, Index.of("n"))
    b.prefetch(Y, 1, write=True)
    b.emit(BindSize("n", b.constant(1)))
    b.comment("the end")
    text = str(Program("p", (X, Y, K), (S,), ("n",), b.body, ("negative",)))
    for part in (
        "program p(n)", "input x: real (n,)", "scratch s: real (8,)", "failure 1: negative", "define $total1: real = 0.0",
        "for %2 in range(n - 1, -1, -1):", "x[%2]", "%2*(n + 1) + 2", "fail 1 if", "fill y[0], n elements = 0.0", "else:",
        "copy y[1] = s[0], 3 elements", "gather k[", "scatter y[", "s[0] transposed (stride 2) @ s[0] (stride 2) + 0.5 * itself",
        "prefetch x[n]", "prefetch y[1] to write", "size n =", "# the end",
    ):  # fmt: skip
        assert part in text, part
