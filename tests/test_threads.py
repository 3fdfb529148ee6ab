"""Passes over the batch in threads: the same values, the same bits for one number of threads, nothing left behind."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import symgrad as sg
from symgrad import dims
from symgrad.evaluate import evaluate
from symgrad.loops import Buffer, Builder, Index, Loop, Program, interpret, verify
from symgrad.loops.walk import walk
from symgrad.pipeline import expand
from symgrad.schedule import schedule
from symgrad.schedule import threads as threads_of_schedule

x, w = sg.symbol("x", ("n", 3)), sg.symbol("w", (3, 20))
z = sg.tanh(x @ w)
centred = z - z.mean(0)
normed = centred / sg.sqrt((centred**2).mean(0) + 1e-5)
OUTPUTS = {
    "per sample": normed, "sum": (normed**3).sum(), "largest": z.max(0), "any": (z > 0.5).max(0),
    "product": sg.tanh(x).T @ z, "padded": sg.pad(z, ((0, 0), (1, 0))).sum(0), "running": sg.cumsum(z, axis=1),
}  # fmt: skip
TYPES = {"real": np.float64, "integer": np.int64, "boolean": np.bool_}
posix = pytest.mark.skipif(os.name != "posix", reason="threads are made through POSIX")


def given(n: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(n)
    return {"x": rng.normal(size=(n, 3)), "w": rng.normal(size=(3, 20))}


def native_threads() -> int:
    return len(os.listdir("/proc/self/task")) if sys.platform == "linux" else threading.active_count()


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """However little there is to do, it is split."""
    monkeypatch.setattr(threads_of_schedule, "WORTH", 0)


@pytest.mark.parametrize("lanes", [1, 4])
@pytest.mark.parametrize("worth", [0, 10**9])
def test_a_split_pass_gives_what_the_evaluator_gives(monkeypatch: pytest.MonkeyPatch, worth: int, lanes: int) -> None:
    monkeypatch.setattr(threads_of_schedule, "WORTH", worth)
    program, _ = schedule(expand(OUTPUTS), lanes=lanes, mode="tile", threads=3, itemsize=256)
    verify(program)
    assert any(isinstance(s, Loop) and s.parallel == 3 for s in walk(program.body))
    for n in (2, 40):
        known = given(n)
        buffers = {b.name: known.get(b.name, np.zeros(dims.evaluate_shape(b.shape, {"n": n}), TYPES[b.kind])) for b in program.arguments}
        buffers.update((b.name, np.array(program.constants[b], TYPES[b.kind])) for b in program.arguments if b in program.constants)
        assert interpret(program, buffers, {"n": n}) == 0
        for key, reference in zip(OUTPUTS, evaluate(list(OUTPUTS.values()), known)):
            np.testing.assert_allclose(buffers[key], reference, rtol=1e-10, atol=1e-10, err_msg=f"{key}, n = {n}")


h, q = sg.symbol("h", ("n", 40)), sg.symbol("q", (40, 50))
PRODUCTS = {
    "tall": h @ q, "turned": (h @ q).T @ h, "wide": q.T @ h.T, "nest": sg.tanh(h @ q) * 2.0, "columns": (h @ q).sum(0),
    "update": sg.symbol("u", (40, 50)) - 0.1 * (h.T @ (h @ q)), "many": sg.symbol("s", ("n", 6, 7)) @ sg.symbol("r", ("n", 7, 5)),
}  # fmt: skip


def matrices(n: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(n)
    shapes = {"h": (n, 40), "q": (40, 50), "u": (40, 50), "s": (n, 6, 7), "r": (n, 7, 5)}
    return {name: rng.normal(size=shape) for name, shape in shapes.items()}


@pytest.mark.parametrize("mode", ["blas", "loops"])
def test_split_products_and_nests_give_what_the_evaluator_gives(always: None, mode: str) -> None:
    program, _ = schedule(expand(PRODUCTS), lanes=4, mode=mode, threads=3)
    verify(program)
    assert sum(isinstance(s, Loop) and s.parallel == 3 for s in walk(program.body)) >= 6
    for n in (0, 1, 70):
        known = matrices(n)
        buffers = {b.name: known.get(b.name, np.zeros(dims.evaluate_shape(b.shape, {"n": n}))) for b in program.arguments}
        buffers.update((b.name, np.array(program.constants[b])) for b in program.arguments if b in program.constants)
        assert interpret(program, buffers, {"n": n}) == 0
        for key, reference in zip(PRODUCTS, evaluate(list(PRODUCTS.values()), known)):
            np.testing.assert_allclose(buffers[key], reference, rtol=1e-10, atol=1e-10, err_msg=f"{key}, n = {n}")


@posix
@pytest.mark.parametrize(("mode", "summed"), [("blas", {"turned", "update"}), ("loops", set())])
def test_products_and_nests_have_the_bits_of_one_thread(always: None, mode: str, summed: set[str]) -> None:
    """But for products that are summed in parts, being longest along what they sum over: there threads' sums are added up."""
    plain, *split = (sg.compile(PRODUCTS, mode=mode, cache=False, threads=count) for count in (1, 2, 5))
    for n in (0, 1, 300):
        known = matrices(n)
        expected = plain(**known)
        for f in split:
            found, again = f(**known), f(**known)
            assert all(np.array_equal(found[key], again[key]) for key in PRODUCTS), f"n = {n}"
            assert all(np.array_equal(found[key], expected[key]) for key in PRODUCTS.keys() - summed), f"n = {n}"
            assert all(np.allclose(found[key], expected[key], rtol=1e-12, atol=1e-12) for key in summed), f"n = {n}"


@pytest.mark.parametrize(("m", "n", "k", "loops"), [(9, 8, 40, 2), (40, 9, 8, 1), (9, 40, 8, 1), (9, 40, 40, 2), (40, 9, 40, 1)])
def test_a_product_is_cut_along_its_longest_side(always: None, m: int, n: int, k: int, loops: int) -> None:
    """Of sums in parts the addition is a second loop in threads."""
    a, c = sg.symbol("a", (m, k)), sg.symbol("c", (k, n))
    program, _ = schedule(expand({"product": a @ c}), lanes=4, mode="blas", threads=2)
    assert sum(isinstance(s, Loop) and s.parallel == 2 for s in walk(program.body)) == loops


@posix
@pytest.mark.parametrize(
    ("width", "threads", "batch", "shared"), [(256, 1, 32, False), (256, 2, 32, True), (256, 2, 512, False), (64, 2, 32, False)]
)
def test_threads_share_the_products_of_wide_layers_and_small_minibatches(width: int, threads: int, batch: int, shared: bool) -> None:
    """The others' samples, or nothing; however they do it, the numbers agree."""
    net = sg.nn.MLP(width, [width, 1])
    data, target = sg.symbol("data", ("n", width)), sg.symbol("target", ("n", 1))
    rng = np.random.default_rng(0)
    known = {"data": rng.normal(size=(batch * 2, width)), "target": rng.normal(size=(batch * 2, 1))}
    options = {"optimizer": sg.optim.SGD(0.01), "epochs": 1, "batch_size": batch, "dtype": "float32"}
    loss, start = sg.nn.mse(net(data), target), net.init(0)
    training, plain = (sg.train.prepare(loss, start, known, threads=count, **options) for count in (threads, 1))
    assert ("threads share the products" in training.fit.step.schedule[0]) is shared
    found, expected = (t.run(progress=False).params for t in (training, plain))
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("change", [lambda a, b, c: a * (b * c), lambda a, b, c: c * a * b, lambda a, b, c: a * c])
def test_scalar_factors_of_an_update_are_part_of_the_product(change: Callable[..., sg.Expr]) -> None:
    a, c, u = sg.symbol("a", (40, "n")), sg.symbol("c", ("n", 50)), sg.symbol("u", (40, 50))
    p, q = sg.symbols("p q")
    new = u - change(p, sg.exp(q), a @ c)
    program, words = schedule({"new": new}, lanes=4, mode="blas", inplace={"new": u})
    assert words[-1] == "BLAS (40, 50): sub" and not any("(40, 50)" in line for line in words[:-1])
    rng = np.random.default_rng(0)
    known = {s.name: rng.normal(size=dims.evaluate_shape(s.shape, {"n": 7})) for s in (a, c, u, p, q)}
    (reference,) = evaluate([new], known)
    assert interpret(program, known, {"n": 7}) == 0
    np.testing.assert_allclose(known["u"], reference, rtol=1e-12, atol=1e-12)


@posix
def test_the_bits_depend_on_the_number_of_threads_alone(always: None) -> None:
    split = {count: sg.compile(OUTPUTS, mode="tile", cache=False, threads=count) for count in (1, 2, 5)}
    for n in (1, 1000, 20_000):
        known = given(n)
        plain = split[1](**known)
        for count in (2, 5):
            first = split[count](**known)
            for _ in range(10):
                again = split[count](**known)
                assert all(np.array_equal(first[key], again[key]) for key in OUTPUTS), f"{count} threads"
            for key in OUTPUTS:
                np.testing.assert_allclose(first[key], plain[key], rtol=1e-9, atol=1e-9, err_msg=f"{key}, {count} threads")


@posix
def test_training_in_threads(always: None) -> None:
    net = sg.nn.MLP(6, [20, 4], activation="tanh")
    data, labels = sg.symbol("data", ("n", 6)), sg.symbol("labels", ("n",), integer=True)
    rng = np.random.default_rng(0)
    known = {"data": rng.normal(size=(700, 6)), "labels": rng.integers(0, 4, 700)}
    options = {"optimizer": sg.optim.Adam(0.01), "epochs": 3, "batch_size": 300, "progress": False}
    loss = sg.nn.cross_entropy(net(data), labels)
    one, two, again = (sg.fit(loss, net.init(0), known, threads=count, **options).params for count in (1, 2, 2))
    for name in one:
        np.testing.assert_array_equal(two[name], again[name])
        np.testing.assert_allclose(two[name], one[name], rtol=1e-8, atol=1e-10)


@posix
def test_a_failure_in_a_thread_is_the_callers(always: None) -> None:
    table, place = sg.symbol("table", (10, 4)), sg.symbol("place", ("n",), integer=True)
    f = sg.compile((sg.take(table, place, axis=0) ** 2).sum(0), mode="tile", cache=False, threads=3)
    places = np.zeros(5000, np.int64)
    assert f(np.ones((10, 4)), places).tolist() == [5000.0] * 4
    places[-1] = 10
    for _ in range(3):
        with pytest.raises(IndexError, match="out of range"):
            f(np.ones((10, 4)), places)


@posix
def test_from_many_threads(always: None) -> None:
    f = sg.compile(OUTPUTS["product"], mode="tile", cache=False, threads=3)
    known = given(3000)
    expected = f(**known)
    before = native_threads()
    with ThreadPoolExecutor(4) as pool:
        assert all(np.array_equal(expected, found) for found in pool.map(lambda _: f(**known), range(40)))
    deadline = time.monotonic() + 10
    while native_threads() > before and time.monotonic() < deadline:
        time.sleep(0.01)  # one that was joined is listed for a moment longer
    assert native_threads() == before, "a thread outlived its call"


@posix
def test_after_a_fork() -> None:
    """In a process of its own: other packages' threads must not be forked."""
    script = """
        import os, signal
        import numpy as np
        import symgrad as sg
        from symgrad.schedule import threads
        threads.WORTH = 0
        x, w = sg.symbol("x", ("n", 3)), sg.symbol("w", (3, 20))
        f = sg.compile(sg.tanh(x).T @ sg.tanh(x @ w), mode="tile", cache=False, threads=3)
        known = np.linspace(-1, 1, 9000).reshape(-1, 3), np.ones((3, 20))
        expected = f(*known)
        child = os.fork()
        if child == 0:
            signal.alarm(60)
            os._exit(0 if np.array_equal(expected, f(*known)) else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=True, timeout=120)


def test_a_loop_in_threads_keeps_registers_to_itself() -> None:
    b, out = Builder(), Buffer("out", "real", (4,), "output")
    total = b.define("total", 0.0)
    with b.loop(0, 4, parallel=4) as k:
        b.assign(total, b.add(b.read(total), 1.0))
        b.store(out, k, b.read(total))
    with pytest.raises(ValueError, match="not defined here"):
        verify(Program("shared", (out,), (), (), b.body))
    b = Builder()
    with b.loop(Index((), 1), 4, parallel=4) as k:
        b.store(out, k, 1.0)
    with pytest.raises(ValueError, match="counts from 0"):
        verify(Program("late", (out,), (), (), b.body))
