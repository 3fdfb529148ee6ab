"""Hand-written loop programs, compiled through MCJIT, against the interpreter."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from loop_programs import EXACT_BOOLEAN, EXACT_REAL, EXACT_WHOLE, WHOLE, every_pair, matmul_tile, reals, reduction, straight, use_scratch
from numpy.testing import assert_allclose, assert_array_equal

import symgrad as sg
from symgrad.loops import (
    BindSize,
    Buffer,
    Builder,
    Fail,
    Gemm,
    Index,
    Program,
    interpret,
    verify,
)

llvm = pytest.importorskip("llvmlite.binding")
ir = pytest.importorskip("llvmlite.ir")

from symgrad.render import pieces  # noqa: E402
from symgrad.render.llvm import OUT_OF_MEMORY, emit_kernel, host_lanes  # noqa: E402  # needs llvmlite
from symgrad.run.engine import provide_products  # noqa: E402

Kernel = Callable[[list[np.ndarray], dict[str, int]], int]
ENGINES: list[Any] = []  # compiled code lives as long as its engine


def machine_code(program: Program, dtype: str = "float64", level: int = 2, **options: Any) -> Kernel:
    """The program as a function of its arrays and sizes."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    verify(program)
    module = ir.Module(program.name)
    emit_kernel(module, program, dtype=dtype, name="kernel", **options)
    provide_products(module.globals)
    target = llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=level
    )
    parsed = llvm.parse_assembly(str(module))
    parsed.verify()
    builder = llvm.create_pass_builder(target, llvm.create_pipeline_tuning_options(speed_level=level))
    builder.getModulePassManager().run(parsed, builder)
    engine = llvm.create_mcjit_compiler(parsed, target)
    engine.finalize_object()
    ENGINES.append(engine)
    entry = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p)(engine.get_function_address("kernel"))

    def run(buffers: list[np.ndarray], sizes: dict[str, int]) -> int:
        pointers = (ctypes.c_void_p * max(1, len(buffers)))(*[b.ctypes.data for b in buffers])
        numbers = (ctypes.c_int64 * max(1, len(sizes)))(*[sizes[name] for name in program.sizes])
        return entry(pointers, numbers)

    return run


def same(
    program: Program, arrays: list[np.ndarray], sizes: dict[str, int] | None = None, dtype: str = "float64", ulp: float = 4, **options: Any
) -> list[np.ndarray]:
    """Runs both ways and compares every buffer; the arrays after the compiled run."""
    sizes = sizes or {}
    slow, fast = [[a.copy() for a in arrays] for _ in range(2)]
    expected = interpret(program, slow, sizes, dtype)
    assert machine_code(program, dtype, **options)(fast, sizes) == expected
    tolerance = ulp * np.finfo(dtype).eps
    for left, right, buffer in zip(fast, slow, program.arguments):
        if buffer.kind == "real":
            assert_allclose(left, right, rtol=tolerance, atol=tolerance, err_msg=buffer.name)
        else:
            assert_array_equal(left, right, err_msg=buffer.name)
    return fast


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("lanes", [1, 4, 8, 16])
def test_elementwise_with_a_masked_tail(lanes: int, dtype: str) -> None:
    b = Builder()
    x, y = Buffer("x", "real", ("n",), "input"), Buffer("y", "real", ("n",), "output")
    with b.loop(0, "n", lanes) as i:
        mask = b.less(b.add(b.iota(lanes) if lanes > 1 else 0, i), b.index("n"))
        v = b.load(x, i, lanes, mask)
        b.store(y, i, b.sub(b.exp(b.mul(v, 0.5)), b.maximum(v, 0.0)), mask)
    program = Program("elementwise", (x, y), (), ("n",), b.body)
    for n in (0, 1, 7, 16, 37):
        same(program, [reals(n, dtype), np.full(n, 7, dtype)], {"n": n}, dtype)


@pytest.mark.parametrize("kind,ops", [("real", EXACT_REAL), ("integer", EXACT_WHOLE), ("boolean", EXACT_BOOLEAN)])
@pytest.mark.parametrize("lanes,dtype", [(1, "float64"), (8, "float64"), (4, "float32")])
def test_exact_instructions_agree_bit_for_bit(lanes: int, dtype: str, kind: str, ops: list[str]) -> None:
    program, arrays = every_pair(ops, kind, lanes, dtype)
    slow, fast = [[a.copy() for a in arrays] for _ in range(2)]
    assert interpret(program, slow, {}, dtype) == machine_code(program, dtype)(fast, {}) == 0
    for op, left, right in zip(ops, fast[2:], slow[2:]):
        assert_array_equal(left, right, err_msg=op)
        if left.dtype.kind == "f" and op not in ("maximum", "minimum"):  # which zero is the larger is left open
            assert_array_equal(np.signbit(left[left == 0]), np.signbit(right[right == 0]), err_msg=op)


def test_division_by_a_number_rounds_down() -> None:
    b = Builder()
    x, out = Buffer("x", "integer", (16,), "input"), Buffer("out", "integer", (6, 16), "output")
    v = b.load(x, 0, 16)
    for row, number in enumerate((1, 8, 7)):
        b.store(out, 32 * row, b.floordiv(v, number))
        b.store(out, 32 * row + 16, b.mod(v, number))
    same(Program("divide", (x, out), (), (), b.body), [np.array(WHOLE), np.zeros((6, 16), np.int64)])


@pytest.mark.parametrize("lanes", [1, 8])
def test_conversions_numbers_and_powers(lanes: int) -> None:
    b = Builder()
    x, out, whole = Buffer("x", "real", (16,), "input"), Buffer("out", "real", (7, 16), "output"), Buffer("w", "integer", (2, 16), "output")
    with b.loop(0, 16, lanes) as i:
        v = b.load(x, i, lanes)
        for row, exponent in enumerate((0, 1, 2, 3, 7, -1, -4)):
            b.store(out, Index.of(i) + 16 * row, b.powi(v, exponent=exponent))
        b.store(whole, i, b.to_integer(v))
        b.store(whole, Index.of(i) + 16, b.select(b.less(v, 0.0), 3, b.to_integer(b.less(v, 1.0))))
    same(Program("powers", (x, out, whole), (), (), b.body), [reals(16) * 3, np.zeros((7, 16)), np.zeros((2, 16), np.int64)], ulp=8)


MATH = "exp log log1p expm1 sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh erf erfc lgamma".split()


@pytest.mark.parametrize("lanes,dtype", [(1, "float64"), (8, "float64"), (8, "float32")])
def test_math_functions_are_called(lanes: int, dtype: str) -> None:
    """That each is reached and gets its operands; how accurate they are is measured elsewhere."""
    b = Builder()
    x, out = Buffer("x", "real", (16,), "input"), Buffer("out", "real", (len(MATH) + 3, 16), "output")
    with b.loop(0, 16, lanes) as i:
        v = b.load(x, i, lanes)
        for row, op in enumerate(MATH):
            b.store(out, Index.of(i) + 16 * row, b.op(op, b.add(v, 1.0) if op == "acosh" else v))
        for row, op in enumerate(("atan2", "pow", "hypot")):
            b.store(out, Index.of(i) + 16 * (len(MATH) + row), b.op(op, v, b.sub(1.0, v)))
    arrays = [np.linspace(0.05, 0.95, 16).astype(dtype), np.zeros((len(MATH) + 3, 16), dtype)]
    same(Program("math", (x, out), (), (), b.body), arrays, dtype=dtype, ulp=64)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("lanes", [1, 2, 4, 8, 16])
def test_reductions(lanes: int, dtype: str) -> None:
    data = reals(4 * lanes, dtype)
    same(reduction(lanes), [data, np.zeros(5 + lanes + lanes**2, dtype)], dtype=dtype, ulp=16)
    data[lanes // 2] = np.nan
    assert np.isnan(same(reduction(lanes), [data, np.zeros(5 + lanes + lanes**2, dtype)], dtype=dtype, ulp=16)[1][:4]).all()


@pytest.mark.parametrize("lanes,dtype", [(4, "float64"), (8, "float64"), (16, "float32")])
def test_register_blocked_matmul(lanes: int, dtype: str) -> None:
    for k, n in ((1, 1), (5, 16), (9, 37)):
        arrays = [reals(8 * k, dtype), reals(k * n, dtype, 1), np.zeros(8 * n, dtype)]
        a, b, c = same(matmul_tile(lanes), arrays, {"k": k, "n": n}, dtype, ulp=64)
        assert_allclose(c.reshape(8, n), a.reshape(8, k) @ b.reshape(k, n), rtol=0, atol=1e-4 if dtype == "float32" else 1e-13)


@pytest.mark.parametrize("lanes", [1, 4, 8])
def test_gather_and_scatter(lanes: int) -> None:
    b = Builder()
    x, at = Buffer("x", "real", (9,), "input"), Buffer("at", "integer", (16,), "input")
    keep, y = Buffer("keep", "boolean", (16,), "input"), Buffer("y", "real", (16,), "output")
    z, w, flags = Buffer("z", "real", (9,), "inout"), Buffer("w", "real", (9,), "inout"), Buffer("flags", "boolean", (16,), "output")
    with b.loop(0, 16, lanes) as i:
        offsets, on = b.load(at, i, lanes), b.load(keep, i, lanes)
        b.store(y, i, b.add(b.gather(x, offsets), b.gather(x, b.select(on, offsets, 1 << 40), on)))
        b.scatter(z, offsets, b.load(y, i, lanes))
        b.scatter(w, b.select(on, offsets, -(1 << 40)), b.load(y, i, lanes), on)
        b.store(flags, i, b.not_(b.gather(keep, offsets)))
    program = Program("gather", (x, at, keep, y, z, w, flags), (), (), b.body)
    r = np.random.default_rng(0)
    arrays = [r.standard_normal(9), r.integers(0, 9, 16), r.random(16) < 0.5, np.zeros(16), np.zeros(9), np.zeros(9), np.zeros(16, bool)]
    same(program, arrays)


def test_masked_accesses_touch_no_memory() -> None:
    """Pointers to nowhere are fine where every lane is off."""
    b = Builder()
    x, n = Buffer("x", "real", ("n",), "inout"), 8
    for lanes in (1, 8):
        off = b.less(b.add(b.iota(lanes), b.index("n")), 0)
        b.store(x, Index((), 1 << 50), b.load(x, Index((), 1 << 50), lanes, off), off)
    run = machine_code(Program("masked", (x,), (), ("n",), b.body))
    assert run([np.zeros(n)], {"n": n}) == 0


def test_boolean_buffers_of_lanes() -> None:
    b = Builder()
    x, y = Buffer("x", "boolean", ("n",), "input"), Buffer("y", "boolean", ("n",), "output")
    with b.loop(0, "n", 8) as i:
        mask = b.less(b.add(b.iota(8), i), b.index("n"))
        b.store(y, i, b.xor(b.load(x, i, 8, mask), True), mask)
    same(Program("flags", (x, y), (), ("n",), b.body), [np.arange(13) % 3 == 0, np.zeros(13, bool)], {"n": 13})


def test_loops_that_run_backwards_nest_and_unroll() -> None:
    b = Builder()
    x, y, z = Buffer("x", "real", ("n",), "input"), Buffer("y", "real", ("n",), "output"), Buffer("z", "integer", (12,), "output")
    total = b.define("total", 0.0)
    with b.loop(Index((), "n - 1"), -1, step=-1) as i:
        b.assign(total, b.add(b.read(total), b.load(x, i)))
        b.store(y, i, b.read(total))
    with b.loop(0, 12, 4) as i, b.loop(i, Index.of(i) + 4, unroll=True) as j:
        b.store(z, j, b.mul(j, b.index(Index.of(i) * 2 + 1)))
        with b.loop(0, 2, unroll=True) as k, b.loop(k, 2, unroll=True) as q, b.branch(b.equal(b.add(k, q), 2)):
            b.store(z, j, b.sub(b.load(z, j), b.add(q, j)))
    program = Program("loops", (x, y, z), (), ("n",), b.body)
    for n in (0, 1, 5):
        same(program, [reals(n), np.zeros(n), np.zeros(12, np.int64)], {"n": n}, ulp=16)


def test_branches_and_failures() -> None:
    b = Builder()
    x, y = Buffer("x", "real", ("n",), "input"), Buffer("y", "real", ("n",), "output")
    with b.loop(0, "n") as i:
        v = b.load(x, i)
        with b.branch(b.less(v, 0.0)) as orelse:
            b.store(y, i, b.neg(v))
        with b.into(orelse):
            b.emit(Fail(b.greater(v, 10.0), 1))
            b.store(y, i, v)
    b.emit(Fail(b.less(b.load(x, 0, 4), -10.0), 2))
    program = Program("branches", (x, y), (), ("n",), b.body, ("too large", "too small"))
    run = machine_code(program)
    for data, code in (([1.0, -2, 3, 4], 0), ([1.0, 11, -3, 4], 1), ([1.0, 2, 3, -11], 2)):
        out = np.zeros(4)
        assert run([np.array(data), out], {"n": 4}) == code == interpret(program, [np.array(data), np.zeros(4)], {"n": 4})
    assert_array_equal(out, [1, 2, 3, 11])


def test_sizes_are_expressions_and_can_be_bound_again() -> None:
    b = Builder()
    out = Buffer("out", "integer", (8,), "output")
    b.store(out, 0, b.index("(n - 3)//2"))
    b.store(out, 1, b.index("n*m + n"))
    with b.loop(0, 3) as i:
        b.emit(BindSize("n", b.add(i, 1)))
        with b.loop(0, "2*n", 5):
            b.store(out, Index.of(i) + 2, b.index("n*n - m"))
    b.store(out, 5, b.index("n - 3"))
    b.store(out, 6, 0)
    b.store(out, 7, 0)
    for n in (0, 3, 8):
        program = Program("sizes", (out,), (), ("n", "m"), b.body)
        arrays = [np.zeros(8, np.int64)], {"n": n, "m": 4}
        if n >= 3:
            same(program, *arrays)
        else:
            assert machine_code(program)(*arrays) == 0
            assert list(arrays[0][0]) == [-2, 0, -3, 0, 5, -3, 0, 0]


@pytest.mark.parametrize("size", [64, 1_000_000, "n"])
def test_scratch_on_the_stack_and_from_malloc(size: int | str) -> None:
    same(use_scratch(size), [reals(50), np.zeros(50)], {"n": 50})
    same(use_scratch(size), [reals(50), np.zeros(50)], {"n": 50}, stack_bytes=0)


def test_memory_that_cannot_be_had_is_a_failure() -> None:
    program = use_scratch("k")
    program = Program("huge", program.arguments, program.scratch, ("n", "k"), program.body)
    assert machine_code(program)([reals(4), np.zeros(4)], {"n": 4, "k": 1 << 57}) == OUT_OF_MEMORY


# --- BLAS ---


def register_blas() -> None:
    from scipy.linalg import cython_blas

    name, pointer = ctypes.pythonapi.PyCapsule_GetName, ctypes.pythonapi.PyCapsule_GetPointer
    name.restype, name.argtypes = ctypes.c_char_p, [ctypes.py_object]
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    for routine in ("dgemm", "sgemm"):
        capsule = cython_blas.__pyx_capi__[routine]
        assert b"int *" in name(capsule)
        llvm.add_symbol(f"symgrad_{routine}", pointer(capsule, name(capsule)))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("ta", [False, True])
@pytest.mark.parametrize("tb", [False, True])
def test_gemm(ta: bool, tb: bool, dtype: str) -> None:
    register_blas()
    b = Builder()
    x = Buffer("x", "real", ("k", "m + 2") if ta else ("m", "k + 2"), "input")
    y = Buffer("y", "real", ("n", "k") if tb else ("k", "n"), "input")
    c, s = Buffer("c", "real", ("m", "n + 1"), "inout"), Buffer("s", "real", (1,), "input")
    left, right = (x, Index.of(1), Index.of("m + 2" if ta else "k + 2")), (y, Index.of(0), Index.of("k" if tb else "n"))
    result = (c, Index.of(1), Index.of("n + 1"))
    b.emit(Gemm(Index.of("m"), Index.of("n"), Index.of("k"), b.load(s, 0), left, ta, right, tb, 0.5, result))
    program = Program("gemm", (x, y, c, s), (), ("m", "n", "k"), b.body)
    for m, n, k in ((3, 4, 5), (1, 1, 1), (7, 2, 3), (2, 3, 0)):
        sizes = {"m": m, "n": n, "k": k}
        counts = (k * (m + 2) if ta else m * (k + 2), n * k, m * (n + 1), 1)
        arrays = [reals(count, dtype, seed) for seed, count in enumerate(counts)]
        if k:
            same(program, arrays, sizes, dtype, ulp=32)
        else:  # nothing to multiply, C is still scaled
            before = arrays[2].copy()
            assert machine_code(program, dtype)(arrays, sizes) == 0
            assert_allclose(arrays[2].reshape(m, n + 1)[:, 1:], before.reshape(m, n + 1)[:, 1:] * 0.5)


# --- long straight-line code ---


@pytest.fixture
def short_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "LONGEST", 150)
    monkeypatch.setattr(pieces, "PIECE", 100)


@pytest.mark.usefixtures("short_pieces")
@pytest.mark.parametrize("lanes", [1, 4])
def test_long_straight_line_code(lanes: int) -> None:
    arrays = [reals(64 * lanes), np.zeros(8 * lanes)]
    same(straight(300, lanes), arrays, {"n": 0}, ulp=1000)
    same(straight(300, lanes), arrays, {"n": 0}, ulp=1000, stack_bytes=64)


@pytest.mark.usefixtures("short_pieces")
def test_a_failure_in_a_piece() -> None:
    program = straight(300, failing=True)
    assert machine_code(program)([reals(64), np.zeros(8)], {"n": 0}) == 1


def test_what_is_cut() -> None:
    for length, cut in ((300, 0), (3000, 6)):
        text = str(emit_kernel(ir.Module("m"), straight(length), dtype="float64", name="kernel"))
        assert (text.count("optnone") >= cut) and (cut or "optnone" not in text)


# --- the text itself ---


def test_flags() -> None:
    """Reassociation on demand, and never the assumption that there is no NaN or infinity."""
    for fastmath in (False, True):
        text = str(emit_kernel(ir.Module("m"), reduction(8), dtype="float64", fastmath=fastmath, name="kernel"))
        assert ("reassoc nsz arcp contract afn" in text) == ("reassoc" in text) == fastmath
        assert "nnan" not in text and "ninf" not in text and "fast " not in text


def test_fastmath_computes_the_same() -> None:
    same(reduction(8), [reals(32), np.zeros(77)], ulp=64, fastmath=True)


def test_two_kernels_in_one_module() -> None:
    module = ir.Module("m")
    for name in ("one", 'two "quoted"\\ \u00fc'):
        emit_kernel(module, straight(2500), dtype="float64", name=name)
    llvm.parse_assembly(str(module)).verify()


def test_host_lanes() -> None:
    assert host_lanes("float32") == 2 * host_lanes("float64")
    assert host_lanes("float64") in (2, 4, 8)


def test_dtype_is_checked() -> None:
    with pytest.raises(ValueError, match="'float64' or 'float32'"):
        emit_kernel(ir.Module("m"), reduction(8), dtype="float16", name="kernel")


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_sine_and_cosine_of_a_value_share_the_reduction(dtype: str) -> None:
    """Bit for bit what each gives alone, huge arguments included, for less work."""
    x = sg.symbol("x")
    points = np.concatenate([np.linspace(-3e6, 3e6, 1003), [0.0, -0.0, 1e300, np.inf, np.nan]])
    with np.errstate(over="ignore"):
        points = points.astype(dtype)
    both = sg.compile({"sin": sg.sin(x), "cos": sg.cos(x)}, dtype=dtype)
    found = both(points)
    lines = 0
    for name in ("sin", "cos"):
        alone = sg.compile(getattr(sg, name)(x), dtype=dtype)
        assert_array_equal(found[name], alone(points))
        lines += alone.source("llvm").count("\n")
    assert both.source("llvm").count("\n") < 0.85 * lines
