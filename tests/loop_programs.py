"""Hand-written loop programs for the tests of the renderers."""

from __future__ import annotations

import numpy as np

from symgrad.loops import INSTRUCTIONS, Buffer, Builder, Copy, Fail, Fill, Index, Program, Value


def reals(n: int, dtype: str = "float64", seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(n).astype(dtype)


SPECIAL = [0.0, -0.0, 1.0, -1.0, 2.5, -2.5, 0.5, 1.5, -3.0, 7.25, 1e-30, 1e30, np.inf, -np.inf, np.nan, 3.0]
WHOLE = [0, 1, -1, 2, -2, 7, -7, 64, -64, 5, 1000003, -1000003, 2**62, -(2**63), 2**63 - 1, 3]
EXACT_REAL = [
    "add", "sub", "mul", "div", "neg", "floordiv", "mod", "maximum", "minimum", "abs", "sqrt", "floor", "ceil", "round", "copysign",
    "less", "less_equal", "greater", "greater_equal", "equal", "not_equal", "isnan", "isfinite", "to_boolean",
]  # fmt: skip
EXACT_WHOLE = [
    "add", "sub", "mul", "neg", "floordiv", "mod", "maximum", "minimum", "abs", "less", "less_equal", "greater", "greater_equal",
    "equal", "not_equal", "to_real", "to_boolean", "bitand", "bitxor", "shift_left", "shift_right",
]  # fmt: skip


EXACT_BOOLEAN = ["and", "or", "xor", "not", "equal", "not_equal", "less", "greater_equal", "to_real", "to_integer"]


def every_pair(ops: list[str], kind: str, lanes: int, dtype: str) -> tuple[Program, list[np.ndarray]]:
    """The instructions on every pair of special operands, a buffer of results for each."""
    types = {"real": dtype, "integer": np.int64, "boolean": bool}
    data = np.array({"real": SPECIAL, "integer": WHOLE, "boolean": [True, False]}[kind], types[kind])
    left, right = (a.ravel().copy() for a in np.meshgrid(data, np.repeat(data, 2)))
    b = Builder()
    x, y = Buffer("x", kind, (left.size,), "input"), Buffer("y", kind, (left.size,), "input")
    outs = []
    with b.loop(0, left.size, lanes) as i:
        operands = [b.load(x, i, lanes), b.load(y, i, lanes)]
        for op in ops:
            result = b.op(op, *operands[: INSTRUCTIONS[op].arity])
            outs.append(Buffer(op, result.kind, (left.size,), "output"))
            b.store(outs[-1], i, result)
    arrays = [left, right, *(np.zeros(left.size, types[out.kind]) for out in outs)]
    return Program("pairs", (x, y, *outs), (), (), b.body), arrays


def reduction(lanes: int) -> Program:
    b = Builder()
    x, out = Buffer("x", "real", (4 * lanes,), "input"), Buffer("out", "real", (5 + lanes + lanes * lanes,), "output")
    total = b.define("sum", b.constant(0.0, lanes=lanes))
    with b.loop(0, 4 * lanes, lanes) as i:
        b.assign(total, b.add(b.read(total), b.load(x, i, lanes)))
    b.store(out, 0, b.reduce("add", b.read(total)))
    v = b.load(x, 0, lanes)
    for place, name in enumerate(("mul", "maximum", "minimum"), 1):
        b.store(out, place, b.reduce(name, v))
    b.store(out, 4, b.extract(v, lanes - 1))
    b.store(out, 5, b.reduce_each([b.mul(v, float(k)) for k in range(1, lanes + 1)]))
    for row, turned in enumerate(b.transpose([b.add(v, float(k)) for k in range(lanes)])):
        b.store(out, 5 + lanes + row * lanes, turned)
    return Program("reduction", (x, out), (), (), b.body)


def matmul_tile(lanes: int, rows: int = 4) -> Program:
    """C = A @ B with a register block of ``rows`` times two vectors; the last columns through a mask."""
    b = Builder()
    a, m = Buffer("a", "real", (2 * rows, "k"), "input"), Buffer("b", "real", ("k", "n"), "input")
    c = Buffer("c", "real", (2 * rows, "n"), "output")
    n = b.index("n")
    with b.loop(0, 2 * rows, rows) as i, b.loop(0, "n", 2 * lanes) as j:
        lane = b.add(b.iota(lanes), j)
        masks = [b.less(lane, n), b.less(b.add(lane, lanes), n)]
        block = [[b.define("acc", b.constant(0.0, lanes=lanes)) for _ in masks] for _ in range(rows)]
        with b.loop(0, "k") as k:
            right = [b.load(m, Index.of(k) * "n" + j + lanes * q, lanes, mask) for q, mask in enumerate(masks)]
            for r in range(rows):
                left = b.spread(b.load(a, Index.of(i) * "k" + Index.of(k) + Index((), "k") * r), lanes)
                for q in range(2):
                    b.assign(block[r][q], b.fma(left, right[q], b.read(block[r][q])))
        for r in range(rows):
            for q, mask in enumerate(masks):
                b.store(c, (Index.of(i) + r) * "n" + j + lanes * q, b.read(block[r][q]), mask)
    return Program("matmul", (a, m, c), (), ("k", "n"), b.body)


def use_scratch(size: int | str) -> Program:
    b = Builder()
    x, y = Buffer("x", "real", ("n",), "input"), Buffer("y", "real", ("n",), "output")
    s, t, u = Buffer("s", "real", (size,)), Buffer("t", "real", (100,)), Buffer("u", "boolean", (3, size))
    b.emit(Fill(s, Index.of(0), Index.of(size), 0.0))
    b.emit(Fill(u, Index.of(0), Index.of(size) * 3, True))
    b.emit(Fill(t, Index.of(0), Index.of(100), 1.5))
    b.emit(Copy(s, Index.of(0), x, Index.of(0), Index.of("n")))
    with b.loop(0, "n") as i:
        b.store(y, i, b.select(b.load(u, Index.of(i) * 2), b.mul(b.load(s, i), b.load(t, i)), 0.0))
    return Program("scratch", (x, y), (s, t, u), ("n",), b.body)


def straight(length: int, lanes: int = 1, failing: bool = False) -> Program:
    """Every statement reads recent and far values, a register and the sizes, so much crosses from piece to piece."""
    r = np.random.default_rng(0)
    b = Builder()
    x, y = Buffer("x", "real", (64 * lanes,), "input"), Buffer("y", "real", (8 * lanes,), "output")
    total = b.define("total", b.constant(0.0, lanes=lanes))
    with b.loop(0, 1) as i:
        found: list[Value] = [b.load(x, Index.of(i) + lanes * k, lanes) for k in range(64)]
        mask = b.less(found[0], found[1])
        for k in range(length):
            left, right = found[-1 - int(r.integers(40))], found[int(r.integers(len(found)))]
            op = ("add", "mul", "sub", "maximum", "select")[int(r.integers(5))]
            v = b.select(mask, left, right) if op == "select" else b.mul(b.op(op, left, right), 0.5)
            found.append(v)
            if k % 500 == 7:
                mask = b.less(v, b.to_real(b.index(Index((), "n") + i)))
                b.assign(total, b.add(b.read(total), v))
        if failing:
            b.emit(Fail(b.less(found[-1], 1e9), 1))
        b.store(y, 0, b.add(found[40], found[-1]))
        b.store(y, lanes, b.read(total))
    for k in range(2, 8):
        b.store(y, k * lanes, b.read(total))
    return Program("straight", (x, y), (), ("n",), b.body, ("less",))
