"""Rendered Python modules, executed, against the interpreter of loop programs."""

from __future__ import annotations

import ast
import keyword
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from loop_programs import EXACT_BOOLEAN, EXACT_REAL, EXACT_WHOLE, every_pair, reals, straight, use_scratch
from numpy.testing import assert_allclose, assert_array_equal

from symgrad.dims import evaluate_shape
from symgrad.loops import INSTRUCTIONS, BindSize, Buffer, Builder, Copy, Fail, Fill, Gemm, If, Index, Program, interpret, verify
from symgrad.render.python import Entry, Variable, render_python

DTYPES = {"real": "float64", "integer": "int64", "boolean": "bool"}


def entry_of(program: Program, name: str = "value", **more: Any) -> Entry:
    inputs = [Variable(b.name, b.kind, b.shape) for b in program.arguments if b.role == "input"]
    outputs = [Variable(b.name, b.kind, b.shape) for b in program.arguments if b.role == "output"]
    return Entry(name, program, more.pop("inputs", inputs), outputs, **more)


def module(text: str, compiled: bool) -> dict[str, Any]:
    """The module, executed; not compiled, each function runs as it stands, which is quick and shows the same meaning."""
    ast.parse(text)
    if not compiled:
        stand_in = "njit = lambda *args, **options: args[0] if args else lambda function: function"
        text = text.replace("from numba import njit", stand_in)
    names: dict[str, Any] = {}
    exec(compile(text, "rendered.py", "exec"), names)
    return names


def same(
    program: Program, arrays: dict[str, Any], sizes: dict[str, int] | None = None, dtype: str = "float64", *,
    compiled: bool = False, rtol: float = 1e-13,
) -> str:  # fmt: skip
    """Runs the program both ways and compares the outputs; the text."""
    verify(program)
    text = render_python([entry_of(program, result={b.name: b.name for b in program.arguments if b.role == "output"})], dtype=dtype)
    types = {**DTYPES, "real": dtype}
    inputs = [np.array(arrays[b.name], types[b.kind]) for b in program.arguments if b.role == "input"]
    outputs = [b for b in program.arguments if b.role == "output"]
    memory = dict(zip([b.name for b in program.arguments if b.role == "input"], inputs))
    memory |= {b.name: np.zeros(evaluate_shape(b.shape, sizes or {}), types[b.kind]) for b in outputs}
    with np.errstate(all="ignore"):
        found = module(text, compiled)["value"](*[a if a.ndim else a.item() for a in inputs])
    assert interpret(program, memory, sizes, dtype) == 0
    for name, value in found.items():
        assert np.shape(value) == memory[name].shape
        assert_allclose(value, memory[name], rtol=rtol, atol=rtol, err_msg=name)
    return text


# --- meaning ---


@pytest.mark.parametrize("kind,ops", [("real", EXACT_REAL), ("integer", EXACT_WHOLE), ("boolean", EXACT_BOOLEAN)])
def test_every_exact_instruction(kind: str, ops: list[str]) -> None:
    program, arrays = every_pair(ops, kind, 1, "float64")
    verify(program)
    left, right = arrays[:2]
    text = render_python([entry_of(program, result={op: op for op in ops})])
    found = module(text, compiled=True)["value"](left, right)
    interpret(program, arrays)
    for op, expected in zip(ops, arrays[2:]):
        assert found[op].dtype == expected.dtype
        if (op, kind) == ("floordiv", "integer"):  # the smallest integer by -1 wraps to itself in NumPy, to 0 in numba
            expected[expected == -(2**63)] = 0
            found[op][found[op] == -(2**63)] = 0
        used = (right >= 0) & (right < 64) if op.startswith("shift") else slice(None)  # numba takes distances modulo 64
        assert_array_equal(found[op][used], expected[used], err_msg=op)
        if expected.dtype.kind == "f" and op not in ("maximum", "minimum", "add", "sub"):
            zero = expected == 0
            assert_array_equal(np.signbit(found[op][zero]), np.signbit(expected[zero]), err_msg=op)


def test_every_function_of_reals() -> None:
    names = [n for n, i in INSTRUCTIONS.items() if i.kind == "real" and n not in (*EXACT_REAL, "to_real", "polygamma", "fma")]
    b = Builder()
    x = Buffer("x", "real", (6,), "input")
    outs = []
    with b.loop(0, 6) as i:
        v = b.load(x, i)
        for name in names:
            argument = b.add(v, 1.0) if name == "acosh" else v
            outs.append(Buffer(name, "real", (6,), "output"))
            b.store(outs[-1], i, b.op(name, *[argument, b.sub(1.25, v)][: INSTRUCTIONS[name].arity]))
        for order in (0, 1, 2, 5):
            outs.append(Buffer(f"polygamma{order}", "real", (6,), "output"))
            b.store(outs[-1], i, b.polygamma(b.sub(v, 3.0 if order else 0.0), order=order))
        for exponent in (0, 1, 2, 5, -3):
            outs.append(Buffer(f"powi{exponent + 3}", "real", (6,), "output"))
            b.store(outs[-1], i, b.powi(b.neg(v), exponent=exponent))
        outs.append(Buffer("fma", "real", (6,), "output"))
        b.store(outs[-1], i, b.fma(v, 3.0, v))
    text = same(Program("functions", (x, *outs), (), (), b.body), {"x": np.linspace(0.05, 0.95, 6)}, compiled=True, rtol=4e-14)
    assert text.count("def digamma") == text.count("def polygamma") == 1
    assert "def floor_divide" not in text


def test_digamma_and_polygamma_everywhere() -> None:
    from scipy import special

    b = Builder()
    x = Buffer("x", "real", ("n",), "input")
    outs = [Buffer(f"y{k}", "real", ("n",), "output") for k in range(4)]
    with b.loop(0, "n") as i:
        v = b.load(x, i)
        b.store(outs[0], i, b.digamma(v))
        for k in (1, 2, 3):
            b.store(outs[k], i, b.polygamma(v, order=k))
    points = np.array([1e-3, 0.5, 1.0, 3.0, 9.99, 10.0, 123.4, 1e6, -0.25, -1.5, -7.1, np.inf, 0.0, -0.0, -2.0, np.nan])
    found = module(render_python([entry_of(Program("p", (x, *outs), (), ("n",), b.body))]), compiled=True)["value"](points)
    assert_allclose(found[0], special.digamma(points), rtol=1e-14)
    for k in (1, 2, 3):
        assert_allclose(found[k], special.polygamma(k, points), rtol=2e-14)


def matrix_products(few: bool = False) -> tuple[Program, dict[str, Any], dict[str, int]]:
    b = Builder()
    n, m = Index.of("n"), Index.of("m")
    a, c = Buffer("a", "real", ("n", "m"), "input"), Buffer("b", "real", ("m", 3), "input")
    outs = [Buffer(f"out{k}", "real", shape, "output") for k, shape in enumerate([("n", 3), (3, "m"), ("n", "n"), ("n", 4)])]
    zero, three = Index(), Index.of(3)
    left, right = (a, zero, m), (c, zero, three)
    b.emit(Gemm(n, three, m, 1.0, left, False, right, False, 0.0, (outs[0], zero, three)))
    if few:
        return Program("products", (a, c, outs[0]), (), ("n", "m"), b.body), {"a": np.ones((4, 5)), "b": np.ones((5, 3))}, {"n": 4, "m": 5}
    b.emit(Gemm(three, m, n, -0.5, (outs[0], zero, three), True, left, False, 0.0, (outs[1], zero, m)))
    b.emit(Gemm(n, n, m, 1.0, left, False, left, True, 0.0, (outs[2], zero, n)))
    b.emit(Gemm(n, n, m, 2.0, left, False, left, True, 1.0, (outs[2], zero, n)))
    b.emit(Gemm(n, n, m, 2.0, left, False, left, True, 0.25, (outs[2], zero, n)))
    b.emit(Fill(outs[3], zero, Index.of("4*n"), 1.0))  # into columns 1 to 3, from columns 1 and 2 of the right factor
    part = (c, Index.of(1), three)
    b.emit(Gemm(n, Index.of(2), m, 1.0, left, False, part, False, 3.0, (outs[3], Index.of(1), Index.of(4))))
    r = np.random.default_rng(0)
    arrays = {"a": r.standard_normal((4, 5)), "b": r.standard_normal((5, 3))}
    return Program("products", (a, c, *outs), (), ("n", "m"), b.body), arrays, {"n": 4, "m": 5}


def test_matrix_products() -> None:
    same(*matrix_products(few=True), dtype="float32", compiled=True, rtol=1e-5)
    text = same(*matrix_products(), rtol=1e-12)
    assert "out0[...] = a @ b" in text
    assert "out1[...] = -0.5 * (out0.T @ a)" in text
    assert "out2 += 2.0 * (a @ a.T)" in text
    assert "put_matrix(a @ matrix(b, 1, m, 2, 3, False), 3.0, out3, 1, 4)" in text


def test_stack_of_statements() -> None:
    """Scratch, fills and copies; gather, scatter, masks, branches, unrolled and backward loops, bound sizes."""
    same(use_scratch("n"), {"x": reals(50)}, {"n": 50}, compiled=False)
    b = Builder()
    x, at = Buffer("x", "real", ("n", 3), "input"), Buffer("at", "integer", (4,), "input")
    y, z, total = Buffer("y", "real", ("n", 3), "output"), Buffer("z", "real", (12,), "output"), Buffer("total", "real", (), "output")
    b.emit(Fill(y, Index(), Index.of("3*n"), 0.0))
    b.emit(Fill(z, Index(), Index.of(12), 0.5))
    b.emit(Fill(total, Index(), Index.of(1), 0.0))
    acc = b.define("acc", 0.0)
    with b.loop(Index.of("n - 1"), -1, -1) as i, b.loop(0, 3, unroll=True) as j:
        v = b.load(x, Index.of(i) * 3 + j)
        b.assign(acc, b.add(v, b.read(acc)))
        with b.branch(b.greater(v, 0.0)) as orelse:
            b.store(y, Index.of(i) * 3 + j, b.read(acc))
        with b.into(orelse), b.branch(b.less(v, -1.0)):
            b.store(y, Index.of(i) * 3 + j, b.neg(v))
    with b.loop(0, 4) as k:
        offset, mask = b.load(at, k), b.less(b.load(x, k), 0.5)
        b.scatter(z, offset, b.add(b.gather(x, offset, mask), b.gather(z, offset)))
        b.scatter(z, b.add(offset, 1), b.constant(2.0), mask)
        b.store(z, Index.of(k) + 8, 3.0, b.not_(mask))
        b.emit(BindSize("n", b.constant(2)))
        b.store(total, 0, b.add(b.load(total, 0), b.mul(b.to_real(b.index(Index((), "2*n + 1"))), b.load(x, Index((), "n")))))
    b.emit(Copy(z, Index.of(8), x, Index.of("n - 3"), Index.of(3)))
    program = Program("mixed", (x, at, y, z, total), (), ("n",), b.body)
    same(program, {"x": reals(15).reshape(5, 3), "at": [3, 0, 7, 3]}, {"n": 5}, compiled=True)


def test_values_wait_only_until_what_they_read_changes() -> None:
    b = Builder()
    x, y = Buffer("x", "real", (3,), "input"), Buffer("y", "real", (3,), "output")
    b.store(y, 0, b.load(x, 0))
    old = b.mul(b.load(y, 0), 2.0)  # used after the store, read before it
    acc = b.define("acc", 5.0)
    before = b.read(acc)
    b.store(y, 0, 7.0)
    b.store(y, 1, old)
    with b.loop(0, 3):
        b.assign(acc, b.add(b.read(acc), 1.0))
    b.store(y, 2, b.add(before, b.read(acc)))
    same(Program("order", (x, y), (), (), b.body), {"x": [1.0, 2.0, 3.0]})


def test_long_code_and_wide_expressions() -> None:
    program = straight(60)
    numbers = Buffer("x", "real", (64,), "input")
    assert program.arguments[0].shape == numbers.shape
    inputs = [Variable("x", "real", (64,)), Variable("size", "real", ("n",))]
    text = render_python([entry_of(program, inputs=inputs)])
    out = np.zeros(8)
    interpret(program, [reals(64), out], {"n": 3})
    assert_allclose(module(text, compiled=False)["value"](reals(64), np.zeros(3)), out, rtol=1e-12)
    assert max(map(len, text.splitlines())) < 140


def test_float32() -> None:
    b = Builder()
    x, y = Buffer("x", "real", ("n",), "input"), Buffer("y", "real", ("n",), "output")
    with b.loop(0, "n") as i:
        b.store(y, i, b.tanh(b.mul(b.load(x, i), 0.3)))
    text = same(Program("p", (x, y), (), ("n",), b.body), {"x": reals(5)}, {"n": 5}, "float32", compiled=True, rtol=1e-6)
    assert "np.empty((n,), np.float32)" in text


# --- the function around ---


def scaled(name: str = "x", out: str = "y", shape: tuple[Any, ...] = ("n", 2)) -> Program:
    b = Builder()
    x, y = Buffer(name, "real", shape, "input"), Buffer(out, "real", shape, "output")
    with b.loop(0, x.size) as i:
        b.store(y, i, b.mul(b.load(x, i), 2.0))
    return Program("scaled", (x, y), (), ("n",) if "n" in shape else (), b.body)


def test_arguments_are_converted_and_checked() -> None:
    value = module(render_python([entry_of(scaled())]), compiled=False)["value"]
    assert_array_equal(value([[1, 2], [3, 4]]), [[2.0, 4], [6, 8]])
    assert_array_equal(value(np.ones((4, 6))[::2, ::3]), np.full((2, 2), 2.0))
    assert value(np.zeros((0, 2))).shape == (0, 2)
    with pytest.raises(ValueError, match="x has 3 elements along axis 1, not 2"):
        value(np.zeros((2, 3)))
    with pytest.raises(ValueError, match="x has 1 axes, not 2"):
        value(np.zeros(3))
    with pytest.raises(TypeError, match="x is complex128, which would lose values as float64"):
        value(np.zeros((1, 2), complex))


def test_sizes_that_follow_from_others_are_checked() -> None:
    shapes = {"z": ("n - 1",), "x": ("n", 2), "w": ("n",), "m": ("m",)}
    inputs = [Variable(name, "real", shape) for name, shape in shapes.items()]
    entry = entry_of(scaled(), inputs=inputs, checks=[("n", ">=", 2), ("m", "==", "n + 1")])
    value = module(render_python([entry]), compiled=False)["value"]
    x, w = np.ones((3, 2)), np.ones(3)
    assert value(np.ones(2), x, w, np.ones(4)).sum() == 12
    refused = [(3, 3, 4, r"z.shape\[0\] must be equal to n - 1"), (2, 2, 4, "w has 2"), (2, 3, 5, r"m_2 must be equal to n \+ 1")]
    for z, u, size, message in refused:
        with pytest.raises(ValueError, match=message):
            value(np.ones(z), x, np.ones(u), np.ones(size))
    with pytest.raises(ValueError, match="n must be at least 2"):
        value(np.ones(0), np.ones((1, 2)), np.ones(1), np.ones(2))


def test_failures_raise() -> None:
    b = Builder()
    x, y = Buffer("x", "real", (), "input"), Buffer("y", "real", (), "output")
    v = b.load(x, 0)
    b.emit(Fail(b.less(v, 0.0), 1))
    b.emit(Fail(b.greater(v, 9.0), 2))
    b.store(y, 0, b.neg(v))
    program = Program("p", (x, y), (), (), b.body, ("an index is out of range", 'x is "large"\n\\'))
    value = module(render_python([entry_of(program)]), compiled=True)["value"]
    assert value(3) == -3.0 and type(value(3)) is float
    with pytest.raises(IndexError, match="an index is out of range"):
        value(-1.0)
    with pytest.raises(ValueError, match='x is "large"\n'):
        value(10.0)


def test_results_have_the_structure_that_is_asked_for() -> None:
    b = Builder()
    x = Buffer("x", "real", (), "input")
    outs = [Buffer(name, kind, (), "output") for name, kind in (("a/b", "real"), ("n", "integer"), ("ok", "boolean"))]
    v = b.load(x, 0)
    for out, item in zip(outs, (v, b.to_integer(v), b.less(v, 9.0))):
        b.store(out, 0, item)
    program = Program("p", (x, *outs), (), (), b.body)
    for result, expected in (
        (None, (2.5, 2, True)),
        ({"first": "a/b", 'x"y\n': ["n", ("ok",)]}, {"first": 2.5, 'x"y\n': [2, (True,)]}),
        (("n",), (2,)),
        ((("a/b", "ok"), "n"), ((2.5, True), 2)),
    ):
        found = module(render_python([entry_of(program, result=result)]), compiled=False)["value"](2.5)
        assert found == expected
        assert repr(found) == repr(expected)  # Python's own numbers


@pytest.mark.parametrize("size", [4, 400])
def test_constants_travel_with_the_module(size: int) -> None:
    b = Builder()
    data = np.linspace(-1, 1, size).reshape(2, -1)
    data[0, 0] = np.nan
    data[1, 0] = -np.inf
    c, x, y = Buffer("c", "real", data.shape, "constant"), Buffer("x", "real", (), "input"), Buffer("y", "real", data.shape, "output")
    with b.loop(0, 2) as i, b.loop(0, size // 2) as j:
        b.store(y, Index.of(i) * (size // 2) + j, b.mul(b.load(c, Index.of(i) * (size // 2) + j), b.load(x, 0)))
    program = Program("p", (x, c, y), (), (), b.body, constants={c: data})
    text = render_python([entry_of(program, "first"), entry_of(program, "second")])
    assert ("base64" in text) == (size == 400)
    assert text.count("VALUE_C = ") + text.count("FIRST_C = ") == 1
    assert_array_equal(module(text, compiled=False)["second"](2.0), data * 2)


# --- names ---

HOSTILE = [
    "lambda", "np", "math", "exp", "_t0", "njit", "float", "range", "convert", "value", "value_kernel", "v1", "i", "acc", "x_flat", "None",
    "ValueError", "π", "ﬁ", "fi", "名前", "__import__", "a b", 'x"""; import os', "1x", "x\n    import os", "\\", "d/dx", "", "#",
    "x\u2028y", "n", "numba", "matrix", "_",
]  # fmt: skip


def test_names_neither_break_nor_inject() -> None:
    b = Builder()
    inputs = [Buffer(name, "real", (2,) if k % 2 else (), "input") for k, name in enumerate(HOSTILE)]
    y = Buffer("while", "real", ("n",), "output")
    size = Buffer("sized", "real", ("n", 2), "input")
    b.comment('"""\nimport os  # \x0c coding: latin-1')
    total = b.define("acc", 0.0)
    for k, buffer in enumerate(inputs):
        b.assign(total, b.add(b.read(total), b.mul(b.exp(b.load(buffer, k % 2)), float(k))))
    with b.loop(0, "n") as i:
        b.store(y, i, b.mul(b.read(total), b.load(size, Index.of(i) * 2)))
    program = Program("p", (*inputs, size, y), (Buffer("t", "real", (3,)),), ("n",), b.body)
    verify(program)
    doc = 'exp(x) """ + \\" \\N{BULLET} \n import os ' * 10
    text = render_python([entry_of(program, doc=doc), entry_of(scaled(), "grad lambda")])
    tree = ast.parse(text)
    assert not any(isinstance(node, ast.alias) and node.name == "os" for node in ast.walk(tree))
    functions = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    arguments = [a.arg for a in functions["value"].args.args]
    assert len(set(arguments)) == len(HOSTILE) + 1
    assert not any(keyword.iskeyword(a) for a in arguments)
    for kept in ("exp", "_t0", "i", "acc", "π", "v1", "名前", "_", "value"):
        assert kept in arguments
    rng = np.random.default_rng(0)
    given = [rng.standard_normal(2 if k % 2 else ()) for k in range(len(HOSTILE))]
    expected = sum(k * np.exp(v[1] if k % 2 else v) for k, v in enumerate(given))
    names = module(text, compiled=True)
    assert_allclose(names["value"](*given, np.ones((3, 2))), np.full(3, expected))
    assert_array_equal(names["grad_lambda"](np.ones((1, 2))), [[2.0, 2.0]])


# --- what the text looks like, and what it needs ---


def test_indices_have_an_axis_each_where_they_lie_inside() -> None:
    b = Builder()
    x, y = Buffer("x", "real", ("n", 3, 4), "input"), Buffer("y", "real", (24,), "output")
    b.emit(Fill(y, Index(), Index.of(24), 0.0))
    with b.loop(0, "n") as i, b.loop(1, 3) as j, b.loop(0, 2) as k:
        b.store(y, k, b.load(x, Index.of(i) * 12 + Index.of(j) * 4 + Index.of(k) * 2 + 1))
        b.store(y, Index.of(k) + 2, b.load(x, Index.of(i) * 12 + Index.of(j) * 4 + k + -1))  # k - 1 may be in the row before
    text = same(Program("p", (x, y), (), ("n",), b.body), {"x": reals(24).reshape(2, 3, 4)}, {"n": 2})
    assert "y[k] = x[i, j, k * 2 + 1]" in text
    assert "y[k + 2] = x_flat[i * 12 + j * 4 + k - 1]" in text


def test_text_of_a_small_formula() -> None:
    b = Builder()
    x, w, y = (Buffer(n, "real", (), role) for n, role in (("x", "input"), ("w", "input"), ("value", "output")))
    v = b.mul(b.load(w, 0), b.load(x, 0))
    b.store(y, 0, b.sub(b.tanh(v), b.mul(b.add(b.load(x, 0), 1.0), b.neg(b.powi(b.sub(b.load(w, 0), 2.0), exponent=2)))))
    text = render_python([entry_of(Program("p", (x, w, y), (), (), b.body), doc="tanh(w*x) + …")])
    assert text == '''"""value: written by symgrad. Needs NumPy, SciPy and numba."""

import math

from numba import njit


@njit(error_model="numpy")
def value_kernel(x, w):
    value = math.tanh(w * x) - (x + 1.0) * -(w - 2.0)**2
    return value


def value(x, w):
    """tanh(w*x) + …"""
    return float(value_kernel(float(x), float(w)))
'''


def test_the_module_stands_alone(tmp_path: Path) -> None:
    """It runs in a process that cannot import symgrad."""
    (tmp_path / "rendered.py").write_text(render_python([entry_of(scaled())]), encoding="utf-8")
    code = "import sys; sys.modules['symgrad'] = None; import rendered; print(rendered.value([[1, 2]]).sum())"
    found = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "6.0"


# --- what is refused ---


def test_refusals() -> None:
    b = Builder()
    x, y = Buffer("x", "real", (4,), "input"), Buffer("y", "real", (4,), "output")
    b.store(y, 0, b.load(x, 0, 4))
    with pytest.raises(ValueError, match="4 lanes"):
        render_python([entry_of(Program("p", (x, y), (), (), b.body))])
    z = Buffer("z", "real", (4,), "inout")
    with pytest.raises(ValueError, match="works in place on z"):
        render_python([entry_of(Program("p", (z,), (), (), []))])
    with pytest.raises(ValueError, match="takes x, which value does not"):
        render_python([entry_of(scaled(), inputs=[Variable("other", "real", ("n",))])])
    with pytest.raises(ValueError, match="no input gives the size 'n'"):
        render_python([entry_of(scaled(), inputs=[Variable("x", "real", (4, 2))])])


def test_empty_blocks_are_written() -> None:
    b = Builder()
    y = Buffer("y", "real", (), "output")
    with b.loop(0, 3):
        b.comment("nothing")
    b.emit(If(b.constant(True), [], []))
    b.store(y, 0, 1.0)
    assert module(render_python([entry_of(Program("p", (y,), (), (), b.body))]), compiled=False)["value"]() == 1.0


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_every_form_of_matrix_product_compiles(dtype: str) -> None:
    same(*matrix_products(), dtype=dtype, compiled=True, rtol=1e-12 if dtype == "float64" else 1e-5)
