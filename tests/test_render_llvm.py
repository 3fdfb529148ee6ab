"""Hand-written loop programs, compiled through MCJIT, against the interpreter."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from symgrad.loops import (
    Buffer,
    Builder,
    Program,
    interpret,
    verify,
)

llvm = pytest.importorskip("llvmlite.binding")
ir = pytest.importorskip("llvmlite.ir")

from symgrad.render.llvm import emit_kernel  # noqa: E402  # needs llvmlite

TYPES = {"real": None, "integer": np.int64, "boolean": np.bool_}
ENGINES: list[Any] = []  # compiled code lives as long as its engine


def machine_code(program: Program, dtype: str = "float64", level: int = 2, **options: Any) -> Callable[[list[np.ndarray], dict[str, int]], int]:
    """The program as a function of its arrays and sizes."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    verify(program)
    module = ir.Module(program.name)
    emit_kernel(module, program, dtype=dtype, name="kernel", **options)
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


def same(program: Program, arrays: list[np.ndarray], sizes: dict[str, int] | None = None, dtype: str = "float64", ulp: float = 4, **options: Any) -> list[np.ndarray]:
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


def reals(n: int, dtype: str = "float64", seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(n).astype(dtype)


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
