"""What a person or a machine may throw at a compiled function: EDGES by row."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
import time
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
    """Killed at any moment of a compile, the next run is right."""
    script, folder = textwrap.dedent(COMPILE.format(constant=0.75)), tmp_path / "cache"
    environment = {**os.environ, "SYMGRAD_CACHE_DIR": str(folder)}
    start = time.perf_counter()
    run(script, tmp_path / "elsewhere")
    whole = time.perf_counter() - start
    delays = np.random.default_rng(0).uniform(0.2, 1.0, 40) * whole
    for number, delay in enumerate(delays):
        command = [sys.executable, "-c", script]
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            process.wait(delay)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
        if number % 10 == 9:
            run(script, folder)
            for path in folder.glob("*.bin"):
                path.unlink()
    run(script, folder)


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
