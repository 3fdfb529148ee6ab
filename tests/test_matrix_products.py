"""Matrix products of our own: every blocking against NumPy, interpreted and as machine code."""

from __future__ import annotations

import ctypes
from itertools import product

import numpy as np
import pytest

import symgrad as sg
from symgrad.loops import Assign, Loop, interpret, verify
from symgrad.loops.walk import walk
from symgrad.render.products import FEW_ROWS, INNER, PREFIX, ROWS, TURNED_ROWS, product_program
from symgrad.run import engine

TURNED = list(product((False, True), repeat=2))


def _operands(m: int, n: int, k: int, turned: tuple[bool, bool], dtype: str, gap: int = 0):
    """a, b, c as they are stored, ``gap`` elements between the rows, and op(a), op(b)."""
    rng = np.random.default_rng(m * 10_000 + n * 100 + k)
    shapes = [(k, m) if turned[0] else (m, k), (n, k) if turned[1] else (k, n), (m, n)]
    stored = [rng.standard_normal((rows, columns + gap)).astype(dtype) for rows, columns in shapes]
    a, b, c = (x[:, : x.shape[1] - gap] for x in stored)
    return stored, a.T if turned[0] else a, b.T if turned[1] else b, c.copy()


@pytest.mark.parametrize("turned", TURNED)
@pytest.mark.parametrize(("lanes", "registers"), [(1, 16), (4, 16), (8, 32)])
@pytest.mark.parametrize("packed", [False, True])
def test_interpreted(turned: tuple[bool, bool], lanes: int, registers: int, packed: bool) -> None:
    program = product_program(lanes, registers, *turned, packed)
    verify(program)
    for m, n, k in ((1, 1, 1), (2, 3, 0), (3, 5, 2), (7, 17, 5), (13, 9, 7)):
        stored, a, b, c = _operands(m, n, k, turned, "float64", gap=1)
        want = 2.5 * (a @ b) + 0.5 * c
        sizes = {"m": m, "n": n, "k": k, "a_size": stored[0].size, "b_size": stored[1].size, "c_size": stored[2].size}
        sizes |= {f"ld{name}": x.shape[1] for name, x in zip("abc", stored, strict=True)}
        beyond = stored[2][:, n:].copy()
        assert interpret(program, [*stored, np.array([2.5, 0.5])], sizes) == 0
        np.testing.assert_allclose(stored[2][:, :n], want, rtol=1e-13, atol=1e-13)
        np.testing.assert_array_equal(stored[2][:, n:], beyond)  # nothing is written behind a row


def _native(dtype: str, turned: tuple[bool, bool], packed: bool):
    name = f"{PREFIX}{'s' if dtype == 'float32' else 'd'}_{''.join('nt'[t] for t in turned)}{'_packed' if packed else ''}"
    library = engine.Library(engine._compile_product(name))
    function = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 4, *[ctypes.c_int64] * 6)(library.address(name))

    def call(stored: list[np.ndarray], scale: tuple[float, float], m: int, n: int, k: int) -> None:
        numbers = np.array(scale, dtype)
        function(*(x.ctypes.data for x in (*stored, numbers)), m, n, k, *(x.shape[1] for x in stored))

    return call, library


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("turned", TURNED)
def test_machine_code(dtype: str, turned: tuple[bool, bool]) -> None:
    """Sizes on both sides of every edge: rows and vectors of a block, the cuts of the inner size and of the rows."""
    call, _library = _native(dtype, turned, packed=True)
    shapes = [(1, 1, 1), (1, 40, 30), (2, 7, 300), (3, 33, 16), (12, 32, 0), (13, 31, 17), (65, 129, INNER), (ROWS + 5, 20, INNER + 3)]
    for m, n, k in shapes:
        for scale in ((1.0, 0.0), (-0.1, 1.0), (2.0, 0.5)):
            stored, a, b, c = _operands(m, n, k, turned, dtype, gap=3)
            want = scale[0] * (a.astype(float) @ b.astype(float)) + scale[1] * c
            if scale[1] == 0:
                stored[2][...] = np.nan  # what is overwritten is not read
            call(stored, scale, m, n, k)
            tolerance = np.finfo(dtype).eps * (8 + k)
            np.testing.assert_allclose(stored[2][:, :n], want, rtol=tolerance, atol=tolerance)


def test_packed_or_not_the_bits_agree() -> None:
    """Where B lies changes no sum: which function the number of rows chooses is not seen in the result."""
    results = []
    for packed in (False, True):
        call, _library = _native("float64", (False, False), packed)
        stored, *_ = _operands(FEW_ROWS, 50, 2 * INNER + 1, (False, False), "float64")
        call(stored, (1.0, 0.0), FEW_ROWS, 50, 2 * INNER + 1)
        results.append(stored[2])
    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize("rows", [1, 5, FEW_ROWS, 200])
def test_the_number_of_rows_may_be_open(rows: int) -> None:
    x, w = sg.symbol("x", ("n", 70)), sg.symbol("w", (70, 45))
    f = sg.compile(((x @ w) ** 2).sum(), wrt=[w, x], mode="blas")
    rng = np.random.default_rng(rows)
    values = rng.standard_normal((rows, 70)), rng.standard_normal((70, 45))
    product_ = values[0] @ values[1]
    (dw, dx) = f.grad(*values)
    np.testing.assert_allclose(dw, 2 * values[0].T @ product_, rtol=1e-12, atol=1e-10)
    np.testing.assert_allclose(dx, 2 * product_ @ values[1].T, rtol=1e-12, atol=1e-10)


def test_an_empty_batch_has_no_gradient() -> None:
    x, w = sg.symbol("x", ("n", 40)), sg.symbol("w", (40, 40))
    f = sg.compile(((x @ w) ** 2).sum(), wrt=[w], mode="blas")
    (dw,) = f.grad(np.zeros((0, 40)), np.ones((40, 40)))
    np.testing.assert_array_equal(dw, np.zeros((40, 40)))


@pytest.mark.parametrize(("registers", "accumulators"), [(16, 12), (32, 24)])
def test_a_block_fills_the_registers(registers: int, accumulators: int) -> None:
    program = product_program(4, registers, False, False, packed=True)
    inner = [s for s in walk(program.body) if isinstance(s, Loop)]
    assert max(sum(isinstance(s, Assign) for s in loop.body) for loop in inner) == accumulators


@pytest.mark.parametrize("turned", TURNED)
def test_short_inner_sizes_pass_columns_in_long_runs(turned: tuple[bool, bool]) -> None:
    """Inner sizes whose panels share the room of one, as many of them as fit, and their last, narrow one."""
    call, _library = _native("float64", turned, packed=True)
    for m, n, k in ((13, 500, 3), (TURNED_ROWS + 13, 270, 17), (5, 1100, 31), (30, 90, INNER // 2 + 1)):
        stored, a, b, c = _operands(m, n, k, turned, "float64", gap=2)
        call(stored, (1.0, 1.0), m, n, k)
        np.testing.assert_allclose(stored[2][:, :n], a @ b + c, rtol=1e-13, atol=1e-12)
