"""Long straight-line code: calls brought together, registers planned, the pieces against the interpreter."""

from __future__ import annotations

import ctypes
import math
import random
import re
from collections import Counter

import numpy as np
import pytest

from symgrad.loops import Buffer, Builder, Let, Load, Program, Store, Value, interpret, verify
from symgrad.loops.walk import made, values

pytest.importorskip("llvmlite.binding")
ir = pytest.importorskip("llvmlite.ir")

from test_render_llvm import machine_code  # noqa: E402

from symgrad.render import batches, llvm_pieces, pieces  # noqa: E402  # needs llvmlite
from symgrad.render.batches import Batch, batched  # noqa: E402
from symgrad.render.llvm import emit_kernel  # noqa: E402
from symgrad.render.llvm_instructions import FUNCTIONS  # noqa: E402
from symgrad.render.vector_math import turn_function  # noqa: E402
from symgrad.run.engine import Library, compile_text  # noqa: E402

ONE = ("sin", "cos", "tanh", "exp", "atan", "erf", "sinh", "expm1", "sigmoid")
INPUTS, OUTPUTS = 24, 40


def wild(length: int, seed: int) -> Program:
    """Arithmetic, choices, functions of one and two operands, whole numbers, and memory that is written and read again."""
    rng = random.Random(seed)
    b = Builder()
    x, y, memory = (Buffer(n, "real", (k,), r) for n, k, r in (("x", INPUTS, "input"), ("y", OUTPUTS, "output"), ("m", 8, "inout")))
    found: list[Value] = [b.load(x, k) for k in range(INPUTS)]
    whole = b.to_integer(found[0])
    for k in range(length):
        left, right = rng.choice(found[-30:]), rng.choice(found)
        match rng.randrange(14):
            case 0 | 1 | 2:
                v = b.op(rng.choice(ONE), left)
            case 3:
                b.sin(left)  # not read by anything
                v = b.add(b.cos(left), b.sin(left)) if k % 2 else b.cos(b.sin(left))
            case 4:
                v = b.op(rng.choice(("pow", "atan2", "hypot")), b.add(b.abs(left), 0.5), b.add(b.mul(right, right), 0.5))
                v = b.div(v, b.add(v, 1.0))
            case 5:
                v = b.select(b.less(left, right), left, b.neg(right))
            case 6:
                b.store(memory, rng.randrange(8), left)
                v = b.load(memory, rng.randrange(8))
            case 7:
                whole = b.bitand(b.add(whole, b.to_integer(b.mul(left, 3.0))), 7)
                v = b.mul(b.to_real(whole), 0.125)
            case 8:
                v = b.powi(left, exponent=3)
            case _:
                v = b.op(rng.choice(("add", "sub", "mul")), left, right)
        found.append(b.op("maximum", b.op("minimum", v, 1.5), -1.5))
    for k in range(OUTPUTS):
        b.store(y, k, found[-1 - k * (length // OUTPUTS)])
    return Program("wild", (x, y, memory), (), (), b.body)


def arrays(dtype: str) -> list[np.ndarray]:
    return [np.linspace(-1.2, 1.3, INPUTS, dtype=dtype), np.zeros(OUTPUTS, dtype), np.linspace(0, 1, 8, dtype=dtype)]


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "LONGEST", 100)
    monkeypatch.setattr(pieces, "PIECE", 70)
    monkeypatch.setattr(batches, "WINDOW", 150)


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("lanes", [2, 8])
@pytest.mark.parametrize("seed", range(4))
def test_the_order_is_one_that_values_and_memory_allow(seed: int, lanes: int) -> None:
    body = wild(800, seed).body
    steps = batched(body, lanes, FUNCTIONS)
    order = [s for step in steps for s in (sum(step.calls, ()) if isinstance(step, Batch) else (step,))]
    assert Counter(map(id, order)) == Counter(map(id, body))
    there: set[Value] = set()
    for step in steps:
        inside = sum(step.calls, ()) if isinstance(step, Batch) else (step,)
        assert all(v in there for s in inside for v in values(s))
        there.update(v for v in map(made, inside) if v is not None)
    last: dict[Buffer, list[int]] = {}
    place = {id(s): k for k, s in enumerate(body)}
    for s in order:
        if isinstance(s, (Load, Store)):
            before = last.setdefault(s.buffer, [-1, -1])  # the latest store, the latest access, as they were written
            assert place[id(s)] > before[isinstance(s, Store)]
            before[1] = max(before[1], place[id(s)])
            before[0] = place[id(s)] if isinstance(s, Store) else before[0]


@pytest.mark.usefixtures("short")
def test_calls_come_together() -> None:
    found = [step for step in batched(wild(800, 0).body, 8, FUNCTIONS) if isinstance(step, Batch)]
    assert all(1 <= len(step.calls) <= 8 and len({s.op for s, *_ in step.calls}) == 1 for step in found)
    assert {len(call) for step in found for call in step.calls if step.op == "sin_and_cos"} == {2}
    sizes = [len(step.calls) for step in found if step.op != "sin_and_cos"]
    assert sum(sizes) > 2.5 * len(sizes)  # how many there are at a time
    b, x = Builder(), Buffer("x", "real", (64,), "input")
    for k in range(64):
        b.exp(b.load(x, k))
    assert [len(s.calls) for s in batched(b.body, 8, FUNCTIONS) if not isinstance(s, (Let, Load))] == [8] * 8


def test_a_chain_is_left_as_it_is() -> None:
    b, x = Builder(), Buffer("x", "real", (), "input")
    v = b.load(x, 0)
    for _ in range(300):
        v = b.mul(b.exp(v), 0.5)
    assert batched(b.body, 8, FUNCTIONS) == b.body


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("registers,lanes", [(8, 2), (16, 4), (32, 8)])
def test_pieces_compute_what_the_program_says(registers: int, lanes: int, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llvm_pieces, "host_registers", lambda: registers)
    monkeypatch.setattr(llvm_pieces, "host_lanes", lambda dtype: lanes)
    program = wild(700, seed=registers)
    verify(program)
    slow, fast = arrays(dtype), arrays(dtype)
    assert interpret(program, slow, {}, dtype) == machine_code(program, dtype, level=0)(fast, {}) == 0
    tolerance = 1e-9 if dtype == "float64" else 2e-2  # rounding grows on the way: atan2 and powers of what was rounded
    for left, right in zip(fast, slow, strict=True):
        np.testing.assert_allclose(left, right, rtol=tolerance, atol=tolerance)


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("registers", [10, 16, 32])
def test_no_more_is_alive_than_there_are_registers(registers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llvm_pieces, "host_registers", lambda: registers)
    r, b = random.Random(1), Builder()
    x, y = Buffer("x", "real", (50,), "input"), Buffer("y", "real", (), "output")
    found: list[Value] = [b.load(x, k) for k in range(50)]
    for _ in range(400):
        found.append(b.mul(b.add(r.choice(found[-45:]), r.choice(found)), 0.5))
    b.store(y, 0, b.add(found[-1], found[7]))
    program = Program("long", (x, y), (), (), b.body)
    text = str(emit_kernel(ir.Module("m"), program, dtype="float64", name="kernel"))
    parts = re.findall(r"optnone nounwind\n\{\n(.*?)\n\}", text, re.S)
    assert len(parts) > 8
    most = max(alive(part.splitlines()) for part in parts)
    assert registers - 6 <= most <= registers


def test_sine_and_cosine_of_one_number() -> None:
    """The functions that long chains call: each gives one of the two and leaves the other in memory."""
    module = ir.Module("turns")
    for name in ("sin", "cos"):
        turn_function(module, name, ir.DoubleType()).linkage = "external"
    library = Library(compile_text(str(module)))
    edge = math.pi / 4
    points = [0.0, -0.0, 1e-320, -1e-9, 0.1, -0.5, edge, -edge, np.nextafter(edge, 1), 0.9, -1.6, 3.2, -5.0, 1e5, -2e6, 1e300, math.nan]
    points += np.random.default_rng(0).uniform(-6, 6, 2000).tolist()
    for name, first, second in (("sin", math.sin, math.cos), ("cos", math.cos, math.sin)):
        function = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double, ctypes.c_void_p)(library.address(f"symgrad.{name}.and.f64"))
        for x in points:
            other = ctypes.c_double()
            found = function(x, ctypes.addressof(other)), other.value
            expected = first(x), second(x)
            np.testing.assert_allclose(found, expected, rtol=4e-16, atol=1e-330, err_msg=f"{name} {x}")
            assert np.array_equal(np.signbit(found), np.signbit(expected)) or math.isnan(x)
        assert all(math.isnan(v) for v in (function(math.inf, ctypes.addressof(other)), other.value))


def alive(lines: list[str]) -> int:
    """The largest number of reals that are made in or before a line and read behind it."""
    begin = {line.split(" = ")[0].strip(): k for k, line in enumerate(lines) if re.search(r"= (load double|f\w+ )", line)}
    end = {name: k for k, line in enumerate(lines) for name in re.findall(r"%v\d+", line)}
    change: Counter[int] = Counter()
    for name, k in begin.items():
        change[k] += 1
        change[end[name]] -= 1
    count = best = 0
    for k in range(len(lines)):
        count += change[k]
        best = max(best, count)
    return best
