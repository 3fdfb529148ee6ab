"""The engine: object code, the CPython entry and its table, with programs written by hand."""

from __future__ import annotations

import gc
import subprocess
import sys
import textwrap
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from symgrad.loops import Buffer, Builder, Program
from symgrad.run import engine, table
from symgrad.run.entry import ENTRY_NAME

NAMES = ("x1", "x2", "w1", "w2", "b")
ROOT = Path(__file__).parent.parent
POINT = (2.0, 0.0, -3.0, 1.0, 6.8813735870195432)


def neuron() -> Program:
    b = Builder()
    inputs = [Buffer(n, "real", (), "input") for n in NAMES]
    outputs = [Buffer(n, "real", (), "output") for n in ("o", "g1", "g2", "gb")]
    x1, x2, w1, w2, bias = (b.load(i, 0) for i in inputs)
    o = b.tanh(b.add(b.add(b.mul(x1, w1), b.mul(x2, w2)), bias))
    d = b.sub(1.0, b.mul(o, o))
    for buffer, value in zip(outputs, (o, b.mul(d, x1), b.mul(d, x2), d)):
        b.store(buffer, 0, value)
    return Program("neuron", (*inputs, *outputs), (), (), b.body)


def built_in(
    program: Program, result: Any, *, dtype: str = "float64", checks: Any = (), release: int = -1,
    fallback: Callable[..., Any] | None = None, failed: Callable[[int], Any] | None = None,
) -> Callable[..., Any]:  # fmt: skip
    """The program as a built-in; what it does not take is returned as ("fallback", args, keywords)."""
    compiled = engine.compile_object({"f": program}, key="test" + program.name, dtype=dtype, fastmath=False)
    library = engine.Library(compiled.code, compiled.needs, engine.uses_blas(program), compiled.pieces)
    kinds = {"real": dtype, "integer": "int64", "boolean": "bool"}
    inputs = [table.Input(b.name, kinds[b.kind], b.shape) for b in program.arguments if b.role == "input"]
    outputs = [table.Output(b.name, kinds[b.kind], b.shape) for b in program.arguments if b.role == "output"]
    writer = table.Table(program.sizes, [b.name for b in program.arguments], inputs, outputs, result, checks, release)
    content = writer.write(library.address(compiled.symbols["f"]), [], table.new_array_address())
    code: list[bytes] = []
    entry = engine.entry_address(lambda: None, code.append)
    return table.make_builtin(
        "f", entry, content, fallback or (lambda *a, **k: ("fallback", a, k)), failed or (lambda code: None),
        [i.name for i in inputs], writer.keys, library,
    )  # fmt: skip


@pytest.fixture(scope="module")
def value_and_grad() -> Callable[..., Any]:
    return built_in(neuron(), ("o", {"w1": "g1", "w2": "g2", "b": ["gb"]}))


def test_neuron(value_and_grad: Callable[..., Any]) -> None:
    value, gradient = value_and_grad(*POINT)
    assert type(value) is float and abs(value - 0.7071067811865476) < 1e-15
    assert list(gradient) == ["w1", "w2", "b"]
    assert gradient["w1"] == pytest.approx(1.0) and gradient["w2"] == 0.0 and gradient["b"] == [pytest.approx(0.5)]


@pytest.mark.parametrize(
    ("args", "keywords"),
    [
        (POINT[:3], {"w2": 1.0, "b": POINT[4]}),
        (POINT[:3], {"b": POINT[4], "w2": 1.0}),
        ((), dict(reversed(list(zip(NAMES, POINT))))),
        ((2, np.float64(0), -3, 1, POINT[4]), {}),
        ((np.float32(2), np.array(0.0), np.int64(-3), 1, POINT[4]), {}),
    ],
)
def test_ways_to_pass(value_and_grad: Callable[..., Any], args: Any, keywords: Any) -> None:
    assert value_and_grad(*args, **keywords) == value_and_grad(*POINT)


def test_keywords_are_compared_as_text(value_and_grad: Callable[..., Any]) -> None:
    names = ["".join(list(name)) for name in ("w2", "x1", "w1", "x2", "b")]  # equal to the names, but (longer than a letter) other objects
    assert any(sys.intern(name) is not name for name in names)
    assert value_and_grad(**dict(zip(names, (POINT[NAMES.index(n)] for n in names)))) == value_and_grad(*POINT)


def test_a_pending_built_in_becomes_another(value_and_grad: Callable[..., Any]) -> None:
    """What is kept stays the same object; a call that is under way when that happens has what it began with."""

    def first(*args: Any, **keywords: Any) -> Any:
        table.redirect(pending, value_and_grad)
        gc.collect()
        return pending(*args, **keywords)

    entry = engine.entry_address(lambda: None, lambda code: None)
    pending: Any = table.make_pending("f", entry, first, NAMES, "", ())
    del first
    gc.collect()
    assert pending(*POINT[:3], b=POINT[4], w2=POINT[3]) == value_and_grad(*POINT)
    assert pending(*POINT) == value_and_grad(*POINT) and pending(1.0) == ("fallback", (1.0,), {})


@pytest.mark.parametrize(
    ("args", "keywords"),
    [
        (POINT[:4], {}), ((*POINT, 1.0), {}), (POINT[:4], {"c": 1.0}), (POINT, {"b": 1.0}), (("2", *POINT[1:]), {}),
        ((None, *POINT[1:]), {}),
        ((2**53 + 1, *POINT[1:]), {}), ((-(2**60), *POINT[1:]), {}), ((2**80, *POINT[1:]), {}), ((True, *POINT[1:]), {}),
        ((np.float16(2), *POINT[1:]), {}), ((np.array([2.0]), *POINT[1:]), {}), ((np.array(2), *POINT[1:]), {}),
        ((1j, *POINT[1:]), {}), ((), {}), (POINT, {"out": None, "c": 1.0}), (POINT[:4], {"out": None}),
    ],
)  # fmt: skip
def test_the_rest_falls_back(value_and_grad: Callable[..., Any], args: Any, keywords: Any) -> None:
    assert value_and_grad(*args, **keywords) == ("fallback", args, keywords)


def test_no_reference_is_lost(value_and_grad: Callable[..., Any]) -> None:
    def counts() -> list[int]:
        return [sys.getrefcount(o) for o in (POINT[4], None, value_and_grad, value_and_grad.__self__, value_and_grad.__self__[0])]

    for _ in range(3):
        value_and_grad(*POINT), value_and_grad(*POINT[:4], b=POINT[4]), value_and_grad(*POINT[:4], None)
    before = counts()
    for _ in range(100):
        value_and_grad(*POINT), value_and_grad(*POINT[:4], b=POINT[4]), value_and_grad(*POINT[:4], None)
    assert counts() == before


def scaled(dtype: str = "float64") -> Program:
    """O = s*X (n, 2), and the first of Z (n - 1)."""
    b = Builder()
    x, z, s = Buffer("X", "real", ("n", 2), "input"), Buffer("Z", "real", ("n - 1",), "input"), Buffer("s", "real", (), "input")
    o, first = Buffer("O", "real", ("n", 2), "output"), Buffer("first", "real", (), "output")
    with b.loop(0, "2*n") as i:
        b.store(o, i, b.mul(b.load(x, i), b.load(s, 0)))
    b.store(first, 0, b.load(z, 0))
    return Program("scaled" + dtype, (x, z, s, o, first), (), ("n",), b.body)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("release", [-1, 0])
def test_arrays(dtype: str, release: int) -> None:
    f = built_in(scaled(dtype), {"rest": ["O"], "first": "first"}, dtype=dtype, checks=[("n", ">=", 2)], release=release)
    x, z = np.arange(6, dtype=dtype).reshape(3, 2), np.array([7, 8], dtype=dtype)
    result = f(x, z, 0.5)
    np.testing.assert_array_equal(result["rest"][0], x * dtype_of(dtype, 0.5))
    assert result["rest"][0].dtype == dtype and type(result["first"]) is float and result["first"] == 7.0
    wrong = [
        (x[:, :1], z), (x[:2], z), (x, z[:1]), (x[:1], z[:0]), (x.T, z), (np.asfortranarray(x), z), (x[::-1], z), (x.astype("f2"), z),
        (x.astype(x.dtype.newbyteorder()), z), (x.tolist(), z), (misaligned(x), z), (x.astype(np.int64), z), (np.ma.array(x), z),
    ]  # fmt: skip
    for a, b in wrong:
        assert f(a, b, 0.5)[0] == "fallback"
    x.flags.writeable = False
    np.testing.assert_array_equal(f(x, z, 1.0)["rest"][0], x)
    read = f(x, z, 1.0)
    arrays = [sys.getrefcount(a) for a in (x, z)]
    for _ in range(50):
        f(x, z, 1.0), f(x, z, None)
    assert [sys.getrefcount(a) for a in (x, z)] == arrays
    assert read["rest"][0].flags.writeable and read["rest"][0].base is None


def lengthy(rounds: object, arrays: bool = False) -> Program:
    """x + 1/x, again and again."""
    b = Builder()
    x, y = Buffer("x", "real", (), "input"), Buffer("y", "real", ("n",) if arrays else (), "output")
    total = b.define("total", b.load(x, 0))
    with b.loop(0, rounds) as _:  # type: ignore[arg-type]
        for _ in range(10):
            b.assign(total, b.add(b.read(total), b.div(1.0, b.read(total))))
    b.store(y, 0, b.read(total))
    return Program("lengthy", (x, y), (), ("n",) if arrays else (), b.body)


@pytest.mark.parametrize(
    ("program", "threshold"),
    [(lengthy(10), -1), (lengthy(100_000), 0), (lengthy("n", True), 4096), (lengthy(100_000, True), 0), (lengthy(-5), -1)],
)
def test_what_takes_long_releases_the_gil(program: Program, threshold: int) -> None:
    assert table.release_threshold(program) == threshold


def test_others_run_while_a_kernel_of_scalars_takes_long() -> None:
    program = lengthy(3_000_000)
    f = built_in(program, "y", release=table.release_threshold(program))
    for _ in range(10):  # a busy machine may let the other thread wait for once
        span: list[float] = []
        thread = threading.Thread(target=lambda span=span: span.extend((time.perf_counter(), f(1.0) and time.perf_counter())))
        thread.start()
        seen = []
        while thread.is_alive():
            seen.append(time.perf_counter())
            time.sleep(0.001)
        begun, ended = span
        if any(begun + (ended - begun) * 0.3 < moment < begun + (ended - begun) * 0.7 for moment in seen):
            return
    pytest.fail("nothing runs in the middle of a call")


def dtype_of(dtype: str, value: float) -> Any:
    return np.dtype(dtype).type(value)


def misaligned(x: np.ndarray) -> np.ndarray:
    raw = np.zeros(x.nbytes + 1, dtype=np.uint8)[1:]
    view = raw.view(x.dtype).reshape(x.shape)
    view[...] = x
    return view


def test_integers_and_booleans() -> None:
    b = Builder()
    k, big, odd = Buffer("k", "integer", (), "input"), Buffer("big", "boolean", (), "output"), Buffer("odd", "integer", (), "output")
    value = b.load(k, 0)
    b.store(big, 0, b.greater(value, 2**40))
    b.store(odd, 0, b.mod(value, 2))
    f = built_in(Program("whole", (k, big, odd), (), (), b.body), ("big", "odd"))
    assert f(2**62 + 1) == (True, 1) and [type(r) for r in f(3)] == [bool, int] and f(-4) == (False, 0)
    assert f(2**63)[0] == f(1.0)[0] == f(True)[0] == "fallback"


def test_failure_code() -> None:
    from symgrad.loops import Fail

    b = Builder()
    k, r = Buffer("k", "integer", (), "input"), Buffer("r", "integer", ("m",), "output")
    m = Buffer("m_like", "integer", ("m",), "input")
    b.emit(Fail(b.less(b.load(k, 0), 0), 1))
    with b.loop(0, "m") as i:
        b.store(r, i, b.load(m, i))

    def failed(code: int) -> None:
        raise IndexError(code)

    f = built_in(Program("failing", (k, m, r), (), ("m",), b.body, ("negative",)), "r", failed=failed)
    values = np.arange(5)
    np.testing.assert_array_equal(f(1, values), values)
    before = sys.getrefcount(np.dtype("int64"))
    for _ in range(20):
        with pytest.raises(IndexError, match="1"):
            f(-1, values)
    assert sys.getrefcount(np.dtype("int64")) < before + 10


def test_many_arguments_use_the_heap() -> None:
    b = Builder()
    inputs = [Buffer(f"x{k}", "real", (), "input") for k in range(1500)]
    total = Buffer("total", "real", (), "output")
    value = b.load(inputs[0], 0)
    for buffer in inputs[1:]:
        value = b.add(value, b.load(buffer, 0))
    b.store(total, 0, value)
    f = built_in(Program("many", (*inputs, total), (), (), b.body), "total")
    assert f(*map(float, range(1500))) == sum(range(1500))
    assert f(*map(float, range(1000)), **{f"x{k}": k for k in range(1000, 1500)}) == sum(range(1500))


def test_empty_results() -> None:
    f = built_in(Program("nothing", (), (), (), []), ({}, [], ()))
    assert f() == ({}, [], ())


def test_built_in_owns_what_it_needs() -> None:
    f = built_in(neuron(), "o")
    library = f.__self__[0][table.SELF.index("owned")]
    assert isinstance(library, engine.Library)
    watched = weakref.ref(library)
    del library
    gc.collect()
    assert f(*POINT) == pytest.approx(0.7071067811865476)
    del f
    gc.collect()
    assert watched() is None


def test_absent_symbols_are_refused() -> None:
    compiled = engine.compile_object({"f": neuron()}, key="absent", dtype="float64", fastmath=False)
    with pytest.raises(LookupError, match="no_such_function_anywhere"):
        engine.Library(compiled.code, ["no_such_function_anywhere"])
    with pytest.raises(LookupError, match="other"):
        engine.Library(compiled.code).address("other")


def test_object_is_loaded_without_numba(tmp_path: Any) -> None:
    compiled = engine.compile_object({"f": neuron()}, key="elsewhere", dtype="float64", fastmath=False)
    (tmp_path / "kernel.o").write_bytes(compiled.code)
    script = f"""
        import ctypes, sys
        from symgrad.run import engine
        library = engine.Library(open({str(tmp_path / "kernel.o")!r}, "rb").read(), {list(compiled.needs)!r})
        f = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)(library.address({compiled.symbols["f"]!r}))
        cells = (ctypes.c_double * 9)(*{POINT!r})
        pointers = (ctypes.c_void_p * 9)(*[ctypes.addressof(cells) + 8 * k for k in range(9)])
        assert f(ctypes.addressof(pointers), None) == 0
        print(cells[5], "numba" in sys.modules, "sympy" in sys.modules)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    value, *imported = done.stdout.split()
    assert float(value) == pytest.approx(0.7071067811865476) and imported == ["False", "False"]


def test_blas_is_found_without_scipy_linalg() -> None:
    script = """
        import sys
        import llvmlite.binding as llvm
        from symgrad.run import engine
        bits, limited = engine.provide_blas()
        assert bits in (32, 64), bits
        assert not limited or llvm.address_of_symbol("symgrad_blas_threads")
        assert "scipy.linalg" not in sys.modules and "numba" not in sys.modules
        import llvmlite.binding as llvm
        assert llvm.address_of_symbol("symgrad_dgemm") and llvm.address_of_symbol("symgrad_sgemm")
        import scipy.linalg.cython_blas, scipy.linalg
        assert scipy.linalg.cython_blas.__pyx_capi__
        assert scipy.linalg.inv([[2.0]])[0, 0] == 0.5
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], cwd=ROOT, check=True)


def test_entry_has_one_name() -> None:
    from symgrad.run.entry import emit_entry

    text = emit_entry()
    assert f'define i8* @"{ENTRY_NAME}"' in text or f'define ptr @"{ENTRY_NAME}"' in text
