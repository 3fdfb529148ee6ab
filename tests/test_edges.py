"""What a person or a machine may throw at symgrad, by the rows of the project's list of edges: ``test_row_NN``.

Rows whose tests stand beside what they test:

    10 11 12     test_shapes.py::test_row_10, test_row_11, test_row_12
    13 20 21     test_differentiate.py::test_row_13, test_row_20, test_row_21; test_cli.py::test_row_20_bad_input_is_one_line_and_status_2
    18 19        test_parse.py::test_row_18_large_texts, test_row_19_letters_are_symbols
                 (rows 14 to 17 in full: test_parse.py::test_refused_with_column_and_caret)
    22           test_rules.py::test_deep_chains, test_show_text.py::test_deep_expressions_print_in_linear_size
    24           test_islands.py::test_sympy_hangs, test_sympy_raises, test_sympy_is_wrong_or_worse, test_bounded
    25           test_islands.py::test_random_expressions_never_get_worse, test_rules.py::test_a_pattern_is_never_less_accurate
    32           test_out.py::test_row_32_refused, test_row_32_read_only, test_row_32_overlapping_an_input, test_row_32_mapped_in_place
    41 42        test_train.py::test_row_41_a_loss_that_turns_nan_keeps_the_last_good_parameters, test_row_42_a_learning_rate_of_a_million
    48           test_train.py::test_row_48_what_is_refused, test_row_48_a_label_out_of_range,
                 test_one_sample_and_a_constant_column, test_a_smaller_last_batch_is_used
    49 50        test_cli.py::test_row_49_tables_with_faults, test_row_50_output_that_cannot_show_greek;
                 test_train.py::test_plain_lines_without_a_terminal

Rows 43 to 46 (checkpoints) belong to features that are not there yet; of 43, what a run learnt is kept:
test_train.py::test_row_43_ctrl_c_keeps_what_was_learnt, test_cli.py::test_row_43_ctrl_c_saves_and_exits_with_130.
"""

from __future__ import annotations

import os
import pickle
import re
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import symgrad as sg

ROOT = Path(__file__).parent.parent
RNG = np.random.default_rng(7)
x, y = sg.symbols("x y")
X, W = sg.symbol("X", ("n", 3)), sg.symbol("W", (3,))
k = sg.symbol("k", ("n",), integer=True)


def run(script: str, folder: Path | str, *, expect: int = 0, **settings: str) -> str:
    """A program in a fresh process with a cache folder of its own; its standard output."""
    environment = {**os.environ, "SYMGRAD_CACHE_DIR": str(folder), **settings}
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, cwd=ROOT, env=environment)
    assert done.returncode == expect, done.stderr
    return done.stdout + done.stderr if expect else done.stdout


@pytest.fixture(scope="module")
def f() -> sg.Function:
    return sg.compile(sg.sum(sg.tanh(X @ W)), wrt=[X, W])


@pytest.fixture(scope="module")
def scalar() -> sg.Function:
    return sg.compile(x * y + 0.25)


# --- building ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", "1x", " ", "a b", "a\0b", "a\nb", "x\u200b", "\ud800", "x-y", '__import__("os")', "x;f"], ids=ascii)
def test_row_01(name: str) -> None:
    with pytest.raises(ValueError) as caught:
        sg.symbol(name)
    assert repr(name) in str(caught.value)


# Python's words, functions of ours, what generated programs import and what they call their own things.
TROUBLESOME = "lambda def None True np math njit float exp tanh _t0 t0 v1 i n acc d_x value value_kernel convert __builtins__ inf".split()


def test_row_02(tmp_path: Path) -> None:
    scalars = [sg.symbol(name) for name in TROUBLESOME]
    total = sum((s * (k + 1.0) for k, s in enumerate(scalars)), sg.constant(0.0))
    value, weights = sg.tanh(total * 0.01), np.arange(1.0, len(scalars) + 1)
    at = np.linspace(-1, 1, len(scalars))
    wanted = np.tanh(at @ weights * 0.01)
    function = sg.compile(value)
    assert function(*at) == pytest.approx(wanted) and function(**dict(zip(TROUBLESOME, at))) == pytest.approx(wanted)
    gradient = function.grad(*at)
    assert list(gradient) == TROUBLESOME and gradient["np"] == pytest.approx((1 - wanted**2) * 0.01 * (1 + TROUBLESOME.index("np")))
    arrays = sg.compile(sg.sum(sg.symbol("np", ("n", 2)) @ sg.symbol("convert", (2,))))  # a program that has these itself
    (tmp_path / "scalars.py").write_text(function.source("python"), encoding="utf-8")
    (tmp_path / "arrays.py").write_text(arrays.source("python"), encoding="utf-8")
    script = f"""
        import sys; sys.path.insert(0, {str(tmp_path)!r})
        import numpy as np, scalars, arrays
        print(repr(scalars.value(*{at.tolist()!r})), arrays.value(np.ones((3, 2)), np.ones(2)))
    """
    first, second = map(float, run(script, tmp_path / "cache", NUMBA_DISABLE_JIT="1").split())
    assert first == pytest.approx(wanted) and second == 6.0


def test_row_03() -> None:
    """NFKC takes the micro sign to the letter, as Python does with its own names: one spelling is accepted."""
    assert sg.symbol("\u03bc").name == "\u03bc"
    for use in (sg.symbol, sg.parse):
        with pytest.raises(ValueError, match="NFKC: write '\u03bc'"):
            use("\u00b5")


USES: dict[str, Callable[[sg.Expr], Any]] = {
    "free_symbols": lambda e: e.free_symbols, "grad": lambda e: sg.grad(e, x), "hessian": lambda e: sg.hessian(e, x), "compile": sg.compile,
    "str": str, "latex": lambda e: e.latex(), "at": lambda e: sg.at(e, x=1.0), "to_sympy": lambda e: e.to_sympy(),
}  # fmt: skip


@pytest.mark.parametrize("use", USES)
def test_row_04(use: str) -> None:
    first, second = (sg.nn.Neuron(2, "tanh")(sg.symbol("p", (2,))) for _ in range(2))
    for both in (x * sg.symbol("x", integer=True), x * sg.sum(sg.symbol("x", (3,))), x * sg.symbol("x", positive=True), x + first * second):
        assert both.shape == ()  # building it is not yet a use
        with pytest.raises(ValueError, match=r"two different symbols are named '[xw]'"):
            USES[use](both)


@pytest.mark.parametrize("wrong", ["1", None, 1j, b"1", {1}, np.array([1, "a"], object), np.array([1j]), np.array(["a"])], ids=repr)
def test_row_05(wrong: Any) -> None:
    uses: list[Callable[[], Any]] = [lambda: x + wrong, lambda: wrong + x, lambda: sg.tanh(wrong), lambda: sg.constant(wrong)]
    for use in (*uses, lambda: sg.where(x > 0, wrong, x)):
        with pytest.raises(TypeError, match=r"expression.*(are|can)$"):
            use()


def test_row_06() -> None:
    for use in (lambda: bool(x > 0), lambda: x > 0 and y > 0, lambda: not x, lambda: 0 < x < 1, lambda: max(x, y)):
        with pytest.raises(TypeError, match=r"sg\.where"):
            use()
    with pytest.raises(TypeError, match="not an array"):
        np.array(x)


def test_row_07() -> None:
    one, other = sg.tanh(x * y + 1), sg.tanh(x * y + 1)
    assert one is other and one == other and hash(one) == hash(other) and {one: 1}[other] == 1
    assert (x + y == y + x) is False and x != y and one in [x, other]
    assert sg.constant(0.0) != sg.constant(-0.0) and sg.constant(1) != sg.constant(True) and sg.constant(1) != sg.constant(1.0)
    assert isinstance(sg.equal(x, y), sg.Expr)


def test_row_08() -> None:
    for use in (lambda: sg.constant(10**400), lambda: x + 10**400, lambda: sg.maximum(-(10**400), x)):
        with pytest.raises(OverflowError, match="integer"):
            use()
    assert sg.compile(sg.symbol("k", integer=True) * 0 + (2**63 - 1))(3) == 2**63 - 1


def test_row_09() -> None:
    values = [0.1 + 0.2, -0.0, 5e-324, -5e-324, 1.7976931348623157e308, float("inf"), -float("inf"), float("nan"), np.pi, 1 / 3]
    for simplify in (True, False):
        outputs = [sg.where(x > 0, v, y) for v in values]
        found = sg.compile(outputs, inputs=[x, y], simplify=simplify)(1.0, 0.0)
        assert [np.float64(v).tobytes() for v in found] == [np.float64(v).tobytes() for v in values]
    for v in values:
        assert repr(float(sg.from_sympy(sg.constant(v).to_sympy()))) == repr(v) or v == 0  # SymPy has no -0.0
        assert np.float64(float(sg.constant(v))).tobytes() == np.float64(v).tobytes()


# --- text --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text, column", [("", 1), ("x +", 4), ("x y", 3), ("2x", 2)])
def test_row_14(text: str, column: int) -> None:
    with pytest.raises(sg.ParseError) as caught:
        sg.parse(text)
    assert caught.value.column == column
    message, *shown = str(caught.value).splitlines()
    assert f"column {column}" in message
    assert shown == ["  " + text, "  " + " " * (column - 1) + "^"] if text else not shown  # nothing to show a place in


@pytest.mark.parametrize("text", ["x.__class__", "f[..]", "lambda: x", "[x for x in y]", "f'{x}'", "(y := x)", '__import__("os")'])
def test_row_15(text: str) -> None:
    with pytest.raises(sg.ParseError):
        sg.parse(text)


def test_row_16() -> None:
    for text, known in [("sigmiod(x)", "sigmoid"), ("tnah(x)", "tanh"), ("foo(x)", "floor")]:
        with pytest.raises(sg.ParseError, match=f"unknown function .*'{known}'"):
            sg.parse(text)


def test_row_17() -> None:
    assert sg.parse("x^2") is sg.parse("x**2")
    for text in ("9**9**9", "factorial(10**7)", "9**(9**9)", "2**-9**9**9"):
        with pytest.raises(sg.ParseError):
            sg.parse(text)


# --- derivatives and simplification --------------------------------------------------------------------


def _chain(length: int) -> sg.Expr:
    node = x
    for k in range(length):
        node = sg.sin(node) if k % 2 else node * 1.0001
    return node


def _check_chain(length: int) -> None:
    """Builds, pickles, differentiates, simplifies, prints, compiles and calls a chain."""
    node, value, slope = _chain(length), 0.5, 1.0
    for k in range(length):
        slope, value = (slope * np.cos(value), np.sin(value)) if k % 2 else (slope * 1.0001, value * 1.0001)
    assert pickle.loads(pickle.dumps(node)) is node
    derivative = sg.grad(node, x)
    assert sg.simplify(node).shape == () and str(node) and str(derivative) and node.latex()
    found, (gradient,) = sg.compile(node, wrt=[x], cache=False).value_and_grad(0.5)
    assert found == pytest.approx(value, rel=1e-9) and gradient == pytest.approx(slope, rel=1e-6, abs=1e-300)


def test_row_22_as_a_whole() -> None:
    """Beyond Python's recursion limit; the full length is the slow test below."""
    _check_chain(1500)


@pytest.mark.slow
def test_row_22() -> None:
    _check_chain(100_000)


def test_row_23() -> None:
    node = x
    for _ in range(60):
        node = node * node
    for simplify in (True, False):
        function = sg.compile(node, wrt=[x], simplify=simplify)
        point = 1 + 2.0**-60
        assert function(point) == 1.0 and function(0.5) == 0.0
        assert function.grad(1.0) == (2.0**60,)
    assert len(str(node)) < 4000


def test_row_25() -> None:
    raw = {"ratio": x / x, "difference": x - x, "product": 0 * x}
    kept = sg.compile(raw, simplify=False)
    for value in (0.0, np.nan, np.inf):
        found = kept(value)
        assert np.isnan(found["ratio"]) and (np.isnan(found["difference"]) or value == 0) and (np.isnan(found["product"]) or value == 0)
    free = sg.compile(raw)
    assert free(2.0) == {"ratio": 1.0, "difference": 0.0, "product": 0.0}
    # Finite where the raw form overflows, never the reverse.
    overflowing = sg.log(1 + sg.exp(x)) + x * 0
    assert sg.compile(overflowing, simplify=False)(1000.0) == np.inf and sg.compile(overflowing)(1000.0) == 1000.0


# --- calls -------------------------------------------------------------------------------------------


def test_row_26_many_inputs() -> None:
    many = [sg.symbol(f"x{i}") for i in range(300)]
    total = many[0] * 2.0
    for s in many[1:]:
        total = total * 0.5 + s
    g = sg.compile(total, simplify=False)
    values = RNG.normal(size=300)
    wanted = values[0] * 2.0
    for v in values[1:]:
        wanted = wanted * 0.5 + v
    assert g(*values) == pytest.approx(wanted) and g(**{f"x{i}": values[i] for i in range(300)}) == pytest.approx(wanted)
    gradient = g.grad(*values)
    assert len(gradient) == 300 and gradient["x299"] == 1.0 and gradient["x298"] == 0.5


@pytest.mark.slow
def test_row_26_many_operations() -> None:
    rng, nodes = np.random.default_rng(3), list(sg.symbols("a b c d"))
    for _ in range(50_000):
        p, q = (nodes[i] for i in rng.integers(max(0, len(nodes) - 40), len(nodes), 2))
        nodes.append([p + q * 0.5, p * 0.75 - q, sg.sin(p) + q, p * 0.5 + sg.tanh(q)][rng.integers(4)])
    g = sg.compile(sum(nodes[-40:]) * 0.01, simplify=False, cache=False)
    assert np.isfinite(g(0.1, 0.2, 0.3, 0.4))


@pytest.mark.parametrize(
    ("args", "keywords", "message"),
    [
        ((), {}, r"missing 'X', 'W': .*\(X: \(n, 3\), W: \(3,\)\)"),
        ((np.ones((2, 3)),), {}, r"missing 'W'"),
        ((np.ones((2, 3)), np.ones(3), 1.0), {}, r"takes 2 arguments, 3 were given"),
        ((np.ones((2, 3)),), {"V": np.ones(3)}, r"no argument 'V': .*\(X"),
        ((np.ones((2, 3)),), {"X": np.ones((2, 3))}, r"two values for 'X'"),
    ],
)
def test_row_27(f: sg.Function, args: Any, keywords: Any, message: str) -> None:
    for call in (f, f.grad, f.value_and_grad):
        with pytest.raises(TypeError, match=message):
            call(*args, **keywords)


A = RNG.integers(-4, 5, size=(4, 3)).astype(np.float64)
B = np.array([1.0, -2.0, 0.5])


@pytest.mark.parametrize(
    "given",
    [
        A.astype(np.float32), A.astype(np.float16), A.astype(np.int8), A.astype(np.int64), A.tolist(), [list(map(int, row)) for row in A],
        A.astype(np.longdouble), (A + 9).astype(np.uint64), A > 0, memoryview(A), list(A),
    ],
    ids=lambda v: str(getattr(v, "dtype", type(v).__name__)),
)  # fmt: skip
def test_row_28(f: sg.Function, given: Any) -> None:
    same = np.ascontiguousarray(np.asarray(given), dtype=np.float64)
    assert f(given, B) == f(same, B)
    np.testing.assert_array_equal(f.grad(given, B)[0], f.grad(same, B)[0])


def test_row_28_scalars(scalar: sg.Function) -> None:
    exact = (3, True, np.float32(3.5), np.int16(-3), np.array(2.0), np.bool_(True), 2**53, -(2**60), np.float64(0.1), np.array([2])[0])
    for value in exact:
        assert scalar(value, 1.0) == float(value) + 0.25
    for value in (2**53 + 1, 10**400, np.uint64(2**64 - 1), np.int64(2**63 - 1), np.longdouble(1) / 3):
        with pytest.raises(TypeError, match="x"):
            scalar(value, 1.0)


def test_row_28_integers() -> None:
    g = sg.compile(sg.sum(sg.take(W, k)), wrt=W)
    labels = np.array([0, 2, 2])
    for same in (labels, labels.astype(np.int8), labels.astype(np.uint64), labels.astype(np.float64), labels.tolist(), [False, True, True]):
        assert g(k=same, W=B) == B[np.asarray(same).astype(int)].sum()
    for wrong in (labels + 0.5, np.array([0, np.nan, 1]), np.array([0, np.inf, 1]), np.array([2**63, 0, 0], dtype=np.uint64)):
        with pytest.raises(TypeError, match=r"k .*int64"):
            g(k=wrong, W=B)


def test_row_28_float32_only_when_asked(scalar: sg.Function) -> None:
    single = sg.compile(sg.exp(X @ W), dtype="float32")
    assert single(A, B).dtype == np.float32
    np.testing.assert_array_equal(single(A, B), single(A.astype(np.float32), B.astype(np.float32)))
    assert single(np.full((1, 3), 1e300), B).dtype == np.float32
    assert sg.compile(x + y, dtype="float32")(0.1, 0.2) == float(np.float32(0.1) + np.float32(0.2))


@pytest.mark.parametrize(
    "wrong",
    [A + 1j, A.astype(str), [["a", "b", "c"]], "text", None, [[1.0, 2.0, 3.0], [1.0]], A.astype(object), X, np.ma.array(A), {"a": 1},
     np.zeros((2, 3), "M8[s]"), b"abc", object()],
    ids=repr,
)  # fmt: skip
def test_row_29(f: sg.Function, wrong: Any) -> None:
    with pytest.raises(TypeError, match="X"):
        f(wrong, B)
    with pytest.raises(TypeError, match="X"):
        f.grad(wrong, W=B)


@pytest.mark.parametrize("wrong", [1j, "1.0", None, x, [1j], np.array("a"), object(), [None], np.ma.array([1.0])], ids=repr)
def test_row_29_scalars(scalar: sg.Function, wrong: Any) -> None:
    for call in (scalar, scalar.value_and_grad):
        with pytest.raises(TypeError, match="x"):
            call(wrong, 1.0)


def test_row_30() -> None:
    t = sg.symbol("t", ("n",))
    g = sg.compile(sg.sum(t * (X @ W)))
    assert g(np.ones(2), np.ones((2, 3)), np.ones(3)) == 6.0
    for shapes, message in [
        (((2,), (3, 3), (3,)), "n is 2 in t but 3 in X"),
        (((2,), (2, 4), (3,)), r"X has shape \(2, 4\), \(n, 3\)"),
        (((2,), (2, 3), (4,)), r"W has shape \(4,\), \(3,\)"),
        (((2, 1), (2, 3), (3,)), r"t has shape \(2, 1\), \(n,\)"),
        (((), (2, 3), (3,)), r"t has shape \(\)"),
        (((2,), (6,), (3,)), r"X has shape \(6,\)"),
        (((1,), (2, 3), (3,)), "n is 1 in t but 2 in X"),
        (((2,), (0, 3), (3,)), "n is 2 in t but 0 in X"),
    ]:
        with pytest.raises(sg.ShapeError, match=message):
            g(*map(np.ones, shapes))


def test_row_30_open_constraints() -> None:
    u, v = sg.symbol("u", ("n",)), sg.symbol("w", ("m",))
    g = sg.compile(sg.sum(u + v), wrt=u)
    assert g(np.ones(3), np.ones(3)) == 6.0
    for call in (g, g.grad, g.value_and_grad):
        with pytest.raises(sg.ShapeError, match=r"n == m.*n is 3 \(from u\), m is 2 \(from w\)"):
            call(np.ones(3), np.ones(2))
    part = sg.compile(u[1:3])
    assert part(np.arange(4.0)).tolist() == [1.0, 2.0]
    with pytest.raises(sg.ShapeError, match="n is 2"):
        part(np.ones(2))
    with pytest.raises(sg.ShapeError):
        sg.compile(sg.sum(u[3:]))(np.ones(1))


STRANGE: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "strided": lambda a: np.repeat(np.repeat(a, 2, axis=0), 3, axis=-1)[::2, ..., ::3] if a.ndim > 1 else np.repeat(a, 2)[::2],
    "reversed": lambda a: np.ascontiguousarray(a[..., ::-1])[..., ::-1],
    "fortran": lambda a: np.asfortranarray(a),
    "swapped": lambda a: a.astype(a.dtype.newbyteorder()),
    "misaligned": lambda a: np.frombuffer(b"-" + a.tobytes(), np.uint8)[1:].view(a.dtype).reshape(a.shape),
    "readonly": lambda a: _read_only(a),
    "broadcast": lambda a: np.broadcast_to(a[:1], a.shape),
    "subclass": lambda a: a.view(_Subclass),
    "negative": lambda a: np.ascontiguousarray(a[::-1])[::-1],
}


class _Subclass(np.ndarray):
    pass


def _read_only(a: np.ndarray) -> np.ndarray:
    a = a.copy()
    a.flags.writeable = False
    return a


@pytest.mark.parametrize("kind", STRANGE)
def test_row_31(f: sg.Function, kind: str) -> None:
    a, b = STRANGE[kind](A), STRANGE[kind](B)
    plain_a, plain_b = np.array(a, order="C").astype(np.float64), np.array(b).astype(np.float64)
    value, gradient = f.value_and_grad(a, b)
    wanted, wanted_gradient = f.value_and_grad(plain_a.view(np.ndarray), plain_b.view(np.ndarray))
    assert value == wanted
    for got, want in zip(gradient, wanted_gradient):
        np.testing.assert_array_equal(got, want)
        assert type(got) is np.ndarray


def test_row_31_memory_mapped(f: sg.Function, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", A)
    mapped = np.load(tmp_path / "a.npy", mmap_mode="r")
    assert f(mapped, B) == f(A, B)


def test_row_33() -> None:
    h = X @ W
    g = sg.compile({"sum": sg.sum(h), "prod": sg.prod(h), "rows": h, "grad": sg.grad(sg.sum(h), W)})
    with np.errstate(all="ignore"):
        empty = g(np.zeros((0, 3)), B)
    assert empty["sum"] == 0.0 and empty["prod"] == 1.0 and empty["rows"].shape == (0,) and empty["grad"].tolist() == [0.0, 0.0, 0.0]
    assert np.isnan(sg.compile(sg.mean(h))(np.zeros((0, 3)), B))
    loss = sg.compile(sg.nn.mse(h, sg.symbol("t", ("n",))), wrt=W)
    assert loss.grad(np.zeros((0, 3)), B, np.zeros(0)).shape == (3,)


def test_row_34() -> None:
    g = sg.compile({"rows": sg.tanh(X @ W), "grad": sg.grad(sg.sum(sg.tanh(X @ W)), X)})
    for n in (3, 8, 37):
        a = RNG.normal(size=(n, 3))
        clean = g(a, B)
        a[n // 2, 1] = np.nan
        dirty = g(a, B)
        for name in ("rows", "grad"):
            others = np.arange(n) != n // 2
            np.testing.assert_array_equal(dirty[name][others], clean[name][others])
            assert np.isnan(dirty[name][n // 2]).all()


# --- the disk cache under fire ---------------------------------------------------------------------

COMPILE = """
    import sys
    import numpy as np
    import symgrad as sg
    x, y = sg.symbols("x y")
    f = sg.compile(sg.sin(x) * y + {constant}, wrt=[x, y])
    value, (dx, dy) = f.value_and_grad(0.5, 2.0)
    assert abs(value - (np.sin(0.5) * 2 + {constant})) < 1e-14 and abs(dx - 2 * np.cos(0.5)) < 1e-14 and abs(dy - np.sin(0.5)) < 1e-14
    assert abs(f(np.array([0.5]), 2.0)[0] - value) < 1e-14
    print("cached" if f.timings.cached else "compiled", "numba" in sys.modules, "sympy" in sys.modules)
"""


def test_row_35_and_a_second_process(tmp_path: Path) -> None:
    """The second process imports neither numba nor SymPy; entries that were spoilt are made again."""
    script, folder = COMPILE.format(constant=0.125), tmp_path / "cache"
    assert run(script, folder).split()[0] == "compiled"
    assert run(script, folder).split() == ["cached", "False", "False"]
    changes: list[Callable[[bytes], bytes]] = [
        lambda d: d[: len(d) // 2], lambda d: b"", lambda d: d[:-9] + bytes([d[-9] ^ 4]) + d[-8:], lambda d: d[:60] + b"!" + d[61:],
    ]  # fmt: skip
    for change in changes:
        for path in folder.glob("*.bin"):
            path.write_bytes(change(path.read_bytes()))
        assert run(script, folder).split()[0] == "compiled"
        assert run(script, folder).split()[0] == "cached"


@pytest.mark.slow
def test_row_35_any_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from symgrad import pipeline

    monkeypatch.setenv("SYMGRAD_CACHE_DIR", str(tmp_path / "cache"))
    build: Callable[[], sg.Function] = lambda: sg.compile(x * 1.625 + sg.exp(y))  # noqa: E731
    wanted = build()(0.3, 0.4)
    (path,) = (p for p in (tmp_path / "cache").glob("*.bin") if b'"kind":"entry"' not in p.read_bytes() and b"words" in p.read_bytes())
    whole = path.read_bytes()
    for position in range(0, len(whole), max(1, len(whole) // 150)):
        changed = bytearray(whole)
        changed[position] ^= 1 << position % 8
        path.write_bytes(changed)
        pipeline._loaded.clear()
        again = build()
        assert not again.timings.cached and again(0.3, 0.4) == wanted
        assert path.read_bytes() == whole


@pytest.mark.parametrize("kind", ["others", "link"])
def test_row_36(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "cache"
    if kind == "link":
        (tmp_path / "real").mkdir(mode=0o700)
        folder.symlink_to(tmp_path / "real")
    else:
        folder.mkdir()
        folder.chmod(0o777)
    script = textwrap.dedent(COMPILE.format(constant=0.25)) + "\nsg.compile(x + 1)(1.0)"
    environment = {**os.environ, "SYMGRAD_CACHE_DIR": str(folder)}
    command = [sys.executable, "-W", "always", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("compiled") and done.stderr.count("CacheWarning") == 1
    assert not list(folder.iterdir())


def test_row_37(tmp_path: Path) -> None:
    assert run(COMPILE.format(constant=0.5), "/proc/nowhere/cache").startswith("compiled")
    script = textwrap.dedent("""
        import os
        for name in ("HOME", "XDG_CACHE_HOME", "SYMGRAD_CACHE_DIR"):
            os.environ.pop(name, None)
        os.path.expanduser = lambda path: path
    """) + textwrap.dedent(COMPILE.format(constant=0.5))
    before = sorted(os.listdir(ROOT))
    assert run(script, "unused").startswith("compiled")
    assert sorted(os.listdir(ROOT)) == before


def test_row_38(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from symgrad import pipeline
    from symgrad.run import cache, engine

    monkeypatch.setenv("SYMGRAD_CACHE_DIR", str(tmp_path / "cache"))
    data = RNG.normal(size=(30, 3))

    def cached(expr: Any = None, **options: Any) -> bool:
        pipeline._loaded.clear()
        expr = sg.sum(sg.constant(data) @ W) * 0.5 if expr is None else expr
        function = sg.compile(expr, **options)
        assert function(B) == pytest.approx(float(np.sum(data @ B)) * 0.5, rel=1e-5) or expr is not None
        return function.timings.cached

    assert [cached(), cached()] == [False, True]
    for options in ({"dtype": "float32"}, {"simplify": False}, {"fastmath": True}, {"threads": 2}, {"mode": "loops"}):
        assert [cached(**options), cached(**options)] == [False, True], options
    other = data.copy()
    other[29, 2] = np.nextafter(other[29, 2], 2)
    renamed = sg.sum(sg.constant(data) @ sg.symbol("V", (3,))) * 0.5
    for expr in (sg.sum(sg.constant(other) @ W) * 0.5, sg.sum(sg.constant(data) @ W) * 0.75, renamed):
        assert [cached(expr), cached(expr)] == [False, True]
    assert cached()
    with monkeypatch.context() as patch:
        patch.setattr(engine, "host", lambda: ("another processor", "+none"))
        assert not cached()
    with monkeypatch.context() as patch:
        patch.setattr(cache, "versions", lambda: ("another version",))
        assert not cached()
    assert cached()


@pytest.mark.slow
def test_row_39(tmp_path: Path) -> None:
    """Killed at any moment of a compile, 200 times: the next run is right. The victims are forks of one warm process."""
    script = """
        import os, random, signal, time
        import numpy as np
        import symgrad as sg

        x, y = sg.symbols("x y")

        def work(c):
            f = sg.compile(sg.sin(x) * c + y * sg.exp(-x), wrt=[x])
            value, (slope,) = f.value_and_grad(0.5, 2.0)
            assert abs(value - np.sin(0.5) * c - 2 * np.exp(-0.5)) < 1e-13
            assert abs(slope - np.cos(0.5) * c + 2 * np.exp(-0.5)) < 1e-13

        def child(c):
            pid = os.fork()
            if not pid:
                try:
                    work(c)
                    os._exit(0)
                finally:
                    os._exit(1)
            return pid

        work(0.1)
        start = time.perf_counter()
        work(0.2)
        whole, killed = time.perf_counter() - start, 0
        draw = random.Random(0)
        for number in range(200):
            c = number + 0.25
            victim = child(c)
            time.sleep(draw.uniform(0.0, 1.2) * whole)
            os.kill(victim, signal.SIGKILL)
            killed += os.waitpid(victim, 0)[1] == signal.SIGKILL
            assert os.waitpid(child(c), 0)[1] == 0, number
        assert killed > 100, killed
    """
    environment = {**os.environ, "SYMGRAD_CACHE_DIR": str(tmp_path / "cache")}
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], cwd=ROOT, env=environment, check=True)


@pytest.mark.slow
def test_row_40_processes(tmp_path: Path) -> None:
    script = textwrap.dedent(COMPILE.format(constant=0.375))
    environment = {**os.environ, "SYMGRAD_CACHE_DIR": str(tmp_path / "cache")}
    processes = [subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, env=environment, stderr=subprocess.PIPE) for _ in range(8)]
    for process in processes:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors.decode()
    assert run(script, tmp_path / "cache").startswith("cached")


def test_row_40_threads() -> None:
    problems: list[BaseException] = []
    shared = sg.compile(sg.cos(x) * y + 0.0625)

    def work(number: int) -> None:
        try:
            for step in range(3):
                constant = float((number + step) % 5)
                g = sg.compile(sg.sin(x) + constant * y, wrt=[x])
                value, (slope,) = g.value_and_grad(0.5, 2.0)
                assert abs(value - np.sin(0.5) - 2 * constant) < 1e-14 and abs(slope - np.cos(0.5)) < 1e-14
                assert abs(shared(0.5, float(number)) - np.cos(0.5) * number - 0.0625) < 1e-13
                assert shared.grad(np.arange(3.0), 1.0)["x"].shape == (3,)
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not problems and not any(t.is_alive() for t in threads)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_row_40_fork(tmp_path: Path) -> None:
    """A child forked while other threads compile can call and compile."""
    script = """
        import os, signal, threading, warnings
        import symgrad as sg
        warnings.simplefilter("ignore", DeprecationWarning)
        x, y = sg.symbols("x y")
        f = sg.compile(sg.sin(x) * y)
        f.grad(1.0, 2.0)
        done = threading.Event()

        def busy(number):
            constant = float(number)
            while not done.is_set():
                constant += 0.5
                sg.compile(sg.tanh(x * constant), cache=False)(1.0)

        threads = [threading.Thread(target=busy, args=(n,)) for n in range(2)]
        for thread in threads:
            thread.start()
        for number in range(6):
            child = os.fork()
            if child == 0:
                signal.alarm(60)
                right = f(0.0, 1.0) == 0.0 and f.grad(0.0, 3.0)["x"] == 3.0 and sg.compile(x + number, cache=False)(1.0) == 1 + number
                os._exit(0 if right else 1)
            assert os.waitpid(child, 0)[1] == 0, number
        done.set()
        for thread in threads:
            thread.join()
        print("right")
    """
    assert run(script, tmp_path / "cache").strip() == "right"


def test_row_47(f: sg.Function, tmp_path: Path) -> None:
    value, (dX, dW) = f.value_and_grad(A, B)
    data = pickle.dumps(f)
    assert b"ELF" not in data
    (tmp_path / "f.pickle").write_bytes(data)
    np.savez(tmp_path / "wanted.npz", A=A, B=B, value=value, dX=dX, dW=dW)
    script = f"""
        import pickle
        import numpy as np
        f = pickle.load(open({str(tmp_path / "f.pickle")!r}, "rb"))
        wanted = np.load({str(tmp_path / "wanted.npz")!r})
        value, (dX, dW) = f.value_and_grad(wanted["A"], wanted["B"])
        print(value == wanted["value"], np.array_equal(dX, wanted["dX"]), np.array_equal(dW, wanted["dW"]))
    """
    assert run(script, tmp_path / "cache").split() == ["True"] * 3


@pytest.mark.parametrize("columns", ["40", "200"])
def test_row_50_piped(tmp_path: Path, columns: str) -> None:
    """No display, no terminal, NO_COLOR: plain lines that say the same at any width."""
    environment = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY", "MPLBACKEND")}
    environment |= {"COLUMNS": columns, "NO_COLOR": "1", "TERM": "dumb", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "symgrad", "train", "spiral", "--epochs", "3", "--hidden", "4", "--out", "out"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", done.stdout + done.stderr)  # no escape sequences, nothing drawn over
    assert "test" in done.stdout and {p.suffix for p in (tmp_path / "out").iterdir()} == {".npz", ".png"}


def test_every_row_has_a_test() -> None:
    """The table above names tests that exist, and between it and this file no row is left out."""
    assert __doc__ is not None
    here = Path(__file__).parent
    named, file = set(), ""
    for word in re.findall(r"test_\w+(?:\.py)?", __doc__.partition("\n")[2]):
        if word.endswith(".py"):
            file = word
        else:
            named.add((file, word))
    missing = {(file, name) for file, name in named if f"def {name}(" not in (here / file).read_text(encoding="utf-8")}
    assert not missing
    rows = {int(n) for n in re.findall(r"^def test_row_(\d+)", Path(__file__).read_text(encoding="utf-8"), re.MULTILINE)}
    rows |= {int(n) for line in __doc__.splitlines() if (found := re.match(r" {4}(\d[\d ]*?)  ", line)) for n in found[1].split()}
    assert {*range(1, 51)} - rows == {43, 44, 45, 46}
