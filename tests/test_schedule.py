"""The schedule: every way of computing a graph gives what the evaluator gives; decisions, storage, updates in place."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

import symgrad as sg
from symgrad import dims
from symgrad.evaluate import evaluate
from symgrad.expr import Expr, free_symbols
from symgrad.loops import Gemm, Program, interpret, verify
from symgrad.loops.walk import made, walk
from symgrad.pipeline import expand
from symgrad.schedule import make_writer, schedule
from symgrad.schedule.batch import find_batch
from symgrad.schedule.blocks import cut_into_blocks
from symgrad.schedule.training import batch_dimension, schedule_loop

A, B, T = sg.symbol("A", (4, 5)), sg.symbol("B", (5, 6)), sg.symbol("T", (2, 3, 4))
p, w, s = sg.symbol("p", (5,)), sg.symbol("w", (6,)), sg.symbol("s")
x, W, t = sg.symbol("x", ("n", 3)), sg.symbol("W", (3, 10)), sg.symbol("t", ("n",))
label, i = sg.symbol("label", ("n",), integer=True), sg.symbol("i", (3,), integer=True)
z = x @ W
centred = z - z.mean(0)
normed = centred / sg.sqrt((centred**2).mean(0) + 1e-5)

CASES: dict[str, dict[str, Expr]] = {
    "softmax": {"a": sg.softmax(z), "b": sg.log_softmax(z, axis=0), "c": sg.logsumexp(z, axis=1), "d": sg.logsumexp(A)},
    "cross entropy": {"a": -sg.where(sg.equal(label[:, None], np.arange(10)), sg.log_softmax(z), 0.0).sum(-1).mean()},
    "two passes over the batch": {"a": normed, "b": (normed**3).sum()},
    "two passes, axes kept": {"a": (z - z.mean(0, True)) / sg.sqrt(z.var(0, True) + 1e-5), "b": z.max(0, True) * z.min(0, True)},
    "three passes": {"a": ((normed - (normed * t[:, None]).sum(0)) ** 2).sum(0)},
    "norm": {"a": sg.norm(A), "b": sg.norm(A, axis=0), "c": sg.norm(z, axis=1)},
    "cumsum": {"a": sg.cumsum(A, axis=0), "b": sg.cumsum(z, axis=1), "c": sg.cumsum(z, axis=0)},
    "products": {"a": A @ B, "b": B.T @ A.T, "c": A.T @ A, "d": A @ p, "e": p @ B, "f": sg.outer(p, p) * s, "g": x.T @ z},
    "batched products": {"a": sg.einsum("bij,jk->bik", sg.stack([A, 2 * A]), B), "b": sg.einsum("ij,jk,k->i", A, B, w)},
    "joined": {"a": sg.concatenate([A, 2 * A]), "b": sg.concatenate([z, x], axis=1).sum(0), "c": sg.stack([p, p * p])},
    "slices": {"a": A[1:, ::2], "b": A[::-1, -1], "c": A[:, None, :] * 2, "d": p[1:] - p[:-1], "e": x[1:] - x[:-1]},
    "reshaped": {"a": A.reshape(2, 10) + 1, "b": (2 * A).reshape(20)[3:7], "c": T.reshape(6, 4) @ A.reshape(4, 5), "d": A.T.reshape(4, 5)},
    "transposed": {"a": sg.transpose(T, (2, 0, 1)) * 2, "b": T.T, "c": z.T},
    "gathered": {"a": p[i], "b": A[:, i], "c": A[i, i], "d": sg.take(T, i, axis=1), "e": A[i][:, ::-1] * 2},
    "padded": {"a": sg.pad(A, ((1, 2), (0, 1))), "b": sg.pad(z, ((0, 0), (1, 0)))},
    "places": {"a": sg.argmax(A, axis=1), "b": sg.argmin(A, axis=0), "c": sg.argmax(z, axis=-1), "d": sg.argmax(A)},
    "extremes": {"a": A.max(), "b": A.min(0), "c": sg.max(z, axis=1), "d": sg.max(z, axis=0), "e": sg.prod(A, axis=1), "f": (A > 9).max()},
    "any and all": {"a": (z > 0).max(0), "b": (z > -9).min(0), "c": (t > 0).max(), "d": (z > 0).max(0, True) & (z < 1)},
    "identities": {"a": sg.eye(4) + A[:, :4], "b": sg.diagonal(A), "c": sg.eye(3) @ x.T,
                   "d": sg.eye(6).reshape(2, 3, 2, 3) * A[0, 0], "e": sg.eye(8, 3).reshape(4, 6)[1:] + s,
                   "f": sg.eye(2, 6).reshape(3, 4)[2]},
    "logic": {"a": (A > 0) & (A < 1), "b": ~(A > 0), "c": (A > 0).sum(), "d": sg.where(A > 0, A, 0).sum(0)},
    "whole numbers": {"a": label * 2 + 1, "b": label // 2, "c": label % 3, "d": (label * label).sum(), "e": label / 2},
    "handed through": {"a": s * 2, "b": s, "c": sg.constant(3.0), "d": x},
    "constants": {"a": sg.constant(np.arange(100.0)), "b": (np.arange(100.0) * s).sum()},
    "handed out twice": {"a": (z * z).sum(0), "b": (z * z).sum(0), "c": (z * z).sum(0) * 2},
    "one column": {"a": sg.tanh(t[:, None]).sum(), "b": sg.tanh(x[:, :1]).sum(), "c": (t[:, None] * x).sum(0)},
}  # fmt: skip
RNG = np.random.default_rng(0)
FIXED = {"A": RNG.normal(size=(4, 5)), "B": RNG.normal(size=(5, 6)), "T": RNG.normal(size=(2, 3, 4)), "p": RNG.normal(size=5),
         "w": RNG.normal(size=6), "s": np.array(0.7), "W": RNG.normal(size=(3, 10)), "i": np.array([0, 2, -1])}  # fmt: skip
TYPES = {"real": np.float64, "integer": np.int64, "boolean": np.bool_}


def known(n: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(n)
    return {**FIXED, "x": rng.normal(size=(n, 3)), "t": rng.normal(size=n), "label": rng.integers(0, 10, n)}


def run(program: Program, given: Mapping[str, np.ndarray], sizes: dict[str, int]) -> dict[str, np.ndarray]:
    """Interprets a program (bounds checked, scratch poisoned); all its buffers by name."""
    verify(program)
    buffers = {}
    for b in program.arguments:
        if b.name in given:
            buffers[b.name] = np.array(given[b.name], TYPES[b.kind])
        elif b in program.constants:
            buffers[b.name] = np.array(program.constants[b], TYPES[b.kind])
        else:
            buffers[b.name] = np.zeros(dims.evaluate_shape(b.shape, sizes), TYPES[b.kind])
    assert interpret(program, buffers, sizes) == 0
    return buffers


@pytest.mark.parametrize("mode", ["tile", "loops", "blas", "auto"])
@pytest.mark.parametrize("name", CASES)
def test_every_way_gives_what_the_evaluator_gives(name: str, mode: str) -> None:
    outputs = CASES[name]
    for lanes, n in ((1, 5), (4, 11), (8, 20)):
        given = known(n)
        program, _ = schedule(expand(outputs), lanes=lanes, mode=mode)
        got = run(program, given, {"n": n})
        for key, reference in zip(outputs, evaluate(list(outputs.values()), given)):
            np.testing.assert_allclose(got[key], reference, rtol=1e-12, atol=1e-12, err_msg=f"{key}, {lanes} lanes, n = {n}")


@pytest.mark.parametrize("lanes", [2, 4, 8, 16])
def test_register_blocks_of_any_shape(lanes: int) -> None:
    """Sums over the batch in blocks that do and do not fill the lanes, neighbours in memory or not."""
    for rows, columns in ((5, 7), (4, 4), (8, 2), (2, 8), (1, 16), (16, 1), (3, 16), (9, 5)):
        left, right = sg.symbol("left", ("n", rows)), sg.symbol("right", ("n", columns))
        outputs = {"a": sg.tanh(left).T @ right, "b": sg.tanh(left).sum(0), "c": right.T @ sg.tanh(left)}
        program, _ = schedule(expand(outputs), lanes=lanes, mode="tile")
        for n in (16, 11):
            rng = np.random.default_rng(n)
            given = {"left": rng.normal(size=(n, rows)), "right": rng.normal(size=(n, columns))}
            got = run(program, given, {"n": n})
            for key, reference in zip(outputs, evaluate(list(outputs.values()), given)):
                np.testing.assert_allclose(got[key], reference, rtol=1e-12, atol=1e-12, err_msg=f"{key}, {rows} x {columns}, n = {n}")


@pytest.mark.parametrize("lanes", [2, 4, 8])
def test_sums_of_outer_products(lanes: int) -> None:
    """Wide layers: lanes along the weights' last axis, which fills vectors or does not; operands that are views."""
    for rows, columns in ((20, 17), (16, 8), (17, 3)):
        left, right = sg.symbol("left", ("n", rows)), sg.symbol("right", ("n", columns))
        hidden = sg.tanh(right) * left[:, :1]
        pairs = sg.einsum("nsi,nsj->ij", sg.stack([left, 2 * left], axis=1), sg.stack([hidden, right], axis=1))
        outputs = {"a": left.T @ hidden, "b": hidden.T @ left, "c": left.T @ hidden[:, ::-1], "d": pairs, "e": hidden.sum(0)}
        writer, words = make_writer(expand(outputs), lanes=lanes, mode="tile", itemsize=512)
        assert any("lanes along the last axis" in word for word in words)
        writer.emit_body()
        for n in (11, 3):
            rng = np.random.default_rng(n)
            given = {"left": rng.normal(size=(n, rows)), "right": rng.normal(size=(n, columns))}
            got = run(writer.program("kernel"), given, {"n": n})
            for key, reference in zip(outputs, evaluate(list(outputs.values()), given)):
                np.testing.assert_allclose(got[key], reference, rtol=1e-12, atol=1e-12, err_msg=f"{key}, {rows} x {columns}, n = {n}")


@pytest.mark.parametrize(
    "name", ["two passes over the batch", "two passes, axes kept", "any and all", "products", "one column", "handed out twice"]
)
def test_more_samples_than_a_chunk_and_none(name: str) -> None:
    outputs = CASES[name]
    program, _ = schedule(expand(outputs), lanes=8, mode="tile")
    for n in (0, 1, 513, 700) if "any" not in name else (1, 513, 700):
        given = known(n)
        f = sg.compile(outputs, mode="tile", cache=False)
        with np.errstate(all="ignore"):
            reference = evaluate(list(outputs.values()), given)
        for got in (run(program, given, {"n": n}), f(**{a.name: given[a.name] for a in f.inputs})):
            for key, expected in zip(outputs, reference):
                np.testing.assert_allclose(got[key], expected, rtol=1e-9, atol=1e-9, err_msg=f"{key}, n = {n}")


def test_the_batch_is_found_where_one_runs_through() -> None:
    plan = find_batch([(z * z).sum()])
    assert plan is not None and plan.dim == "n" and plan.axis[z] == 0
    assert find_batch([z]) is None, "nothing brings samples together"
    assert find_batch([(x @ x.T).sum()]) is None, "two axes of it"
    assert find_batch([(x[1:] - x[:-1]).sum()]) is None, "it is cut"
    literal = sg.symbol("X", (50, 3))
    assert find_batch([((literal @ W) ** 2).sum()]).dim == 50  # type: ignore[union-attr]
    phases = find_batch(list(expand({"a": normed.sum()}).values())).phase  # type: ignore[union-attr]
    assert max(phases.values()) == 2


def test_decisions_are_told() -> None:
    hidden = sg.relu(z)
    _, words = schedule(expand({"a": (hidden * hidden).sum()}), lanes=8)
    assert words[0].startswith("tile kernels over n")
    _, words = schedule(expand({"a": sg.tanh(t).sum()}), lanes=8)
    assert words[0] == "no tile kernel: nothing of the n samples is used twice"
    wide = sg.symbol("V", (3, 40000))
    _, words = schedule(expand({"a": (sg.relu(x @ wide) ** 2).sum()}), lanes=8)
    assert words[0].startswith("no tile kernel: ") and "BLAS (n, 40000): contract" in words
    with pytest.raises(ValueError, match="mode is one of"):
        schedule({"a": s}, lanes=1, mode="magic")


@pytest.mark.parametrize(
    ("width", "layers", "wide", "narrow"), [(16, 2, True, True), (128, 3, True, True), (256, 3, True, False), (512, 3, True, False),
                                            (512, 6, False, False), (1024, 1, False, False)],
)  # fmt: skip
def test_tile_kernels_while_weights_stay_near_the_registers(width: int, layers: int, wide: bool, narrow: bool) -> None:
    net = sg.nn.MLP(width, [width] * layers + [10], activation="relu")
    inputs, labels = sg.symbol("x", ("n", width)), sg.symbol("t", ("n",), integer=True)
    gradients = sg.grad(sg.nn.cross_entropy(net(inputs), labels), net.parameters)
    outputs = expand({p.name: g for p, g in zip(net.parameters, gradients, strict=True)})
    for lanes, expected in ((16, wide), (8, narrow)):
        assert make_writer(outputs, lanes=lanes, itemsize=4)[1][0].startswith("tile kernels over n" if expected else "no tile kernel: ")


X, D, V = sg.symbol("X", ("n", 40)), sg.symbol("D", ("n", 50)), sg.symbol("V", (40, 50))


@pytest.mark.parametrize("following", [V - s * (X.T @ D), V - X.T @ D, V + (X.T @ D) * 0.5, X.T @ D + V])
@pytest.mark.parametrize("inplace", [True, False])
def test_an_update_is_one_matrix_product(following: Expr, inplace: bool) -> None:
    outputs = {"next": following, "norm": (V * V).sum()}
    program, words = schedule(expand(outputs), lanes=4, mode="blas", inplace={"next": V} if inplace else None)
    products = [g for g in walk(program.body) if isinstance(g, Gemm)]
    assert len(products) == 1 and products[0].beta == 1.0 and not any("nest (40, 50)" in word for word in words)
    rng = np.random.default_rng(3)
    given = {"X": rng.normal(size=(7, 40)), "D": rng.normal(size=(7, 50)), "V": rng.normal(size=(40, 50)), "s": np.array(0.3)}
    got = run(program, given, {"n": 7})
    np.testing.assert_allclose(got["V" if inplace else "next"], evaluate(following, given), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(got["norm"], (given["V"] ** 2).sum(), rtol=1e-12)


@pytest.mark.parametrize("mode", ["tile", "loops", "blas"])
def test_what_is_overwritten_is_read_before(mode: str) -> None:
    """a and b swap, c needs both as they were, d needs the old a transposed."""
    a, b, c = sg.symbol("a", (6, 6)), sg.symbol("b", (6, 6)), sg.symbol("c", (6,))
    outputs = {"a": b + 1, "b": a * 2, "c": c + (a @ b).sum(0), "d": a.T * 3}
    program, _ = schedule(expand(outputs), lanes=4, mode=mode, inplace={"a": a, "b": b, "c": c})
    rng = np.random.default_rng(0)
    given = {"a": rng.normal(size=(6, 6)), "b": rng.normal(size=(6, 6)), "c": rng.normal(size=6)}
    got = run(program, given, {})
    for name, reference in zip(outputs, evaluate(list(outputs.values()), given)):
        np.testing.assert_allclose(got[name], reference, rtol=1e-12, atol=1e-12, err_msg=name)


def test_an_elementwise_update_in_place_makes_no_copy() -> None:
    program, _ = schedule({"V": V - s * sg.tanh(V)}, lanes=4, inplace={"V": V})
    assert not program.scratch


def test_an_index_out_of_range_fails_with_a_message() -> None:
    program, _ = schedule(expand({"a": p[i]}), lanes=4)
    buffers = {"p": np.zeros(5), "i": np.array([0, 5, 1]), "a": np.zeros(3)}
    code = interpret(program, buffers, {})
    assert program.failures[code - 1] == "an index is out of range for an axis of size 5"


# --- the training loop -----------------------------------------------------------------------------


def epochs_by_hand(batch: int, seed: int, steps: int, shuffle: bool) -> tuple[np.ndarray, list[float], list[np.ndarray]]:
    """The same loop with the evaluator, on the rows that the program says it used."""
    loss, following, data = regression()
    weights, losses, used = np.zeros(3), [], []
    per_epoch = -(-len(data["t"]) // batch)
    for step in range(steps):
        rows = permutation(len(data["t"]), seed, step // per_epoch) if shuffle else np.arange(len(data["t"]))
        rows = rows[(step % per_epoch) * batch :][:batch]
        given = {"x": data["x"][rows], "t": data["t"][rows], "weights": weights, "rate": 0.1, "step": step}
        losses.append(float(evaluate(loss, given)) * len(rows) / len(data["t"]))
        weights = evaluate(following, given)
        used.append(rows)
    return weights, losses, used


def permutation(samples: int, seed: int, epoch: int) -> np.ndarray:
    """The documented shuffle: Fisher-Yates from the front, SplitMix64 of a counter."""
    word, gamma = 2**64 - 1, 0x9E3779B97F4A7C15

    def mix(v: int) -> int:
        v &= word
        v = ((v ^ (v >> 30)) * 0xBF58476D1CE4E5B9) & word
        v = ((v ^ (v >> 27)) * 0x94D049BB133111EB) & word
        return v ^ (v >> 31)

    base = mix(seed + gamma) ^ mix(epoch * gamma + 1)
    rows = list(range(samples))
    for k in range(1, samples):
        other = (mix(base + k * gamma) >> 1) % (k + 1)
        rows[k], rows[other] = rows[other], rows[k]
    return np.array(rows)


def regression() -> tuple[Expr, Expr, dict[str, np.ndarray]]:
    weights, rate, step = sg.symbol("weights", (3,)), sg.symbol("rate"), sg.symbol("step", integer=True)
    loss = ((x @ weights - t) ** 2).mean()
    rng = np.random.default_rng(5)
    return loss, weights - rate / (1 + step) * sg.grad(loss, weights), {"x": rng.normal(size=(23, 3)), "t": rng.normal(size=23)}


@pytest.mark.parametrize("mode", ["tile", "loops"])
@pytest.mark.parametrize(("batch", "shuffle"), [(23, True), (5, True), (5, False), (1, True)])
def test_the_training_loop_is_the_loop_by_hand(mode: str, batch: int, shuffle: bool) -> None:
    loss, following, data = regression()
    weights, step = (next(a for a in free_symbols(following) if a.name == name) for name in ("weights", "step"))
    made = expand({"loss": loss, "next": following})
    loop = schedule_loop({weights: made["next"]}, made["loss"], [x, t], step=step, lanes=4, itemsize=8, mode=mode)
    steps = 12
    per_epoch = -(-23 // batch)
    control = np.array([23, batch, shuffle, 42, 0, steps])
    sizes = {"n": batch, loop.all_dim: 23, loop.epochs_dim: -(-steps // per_epoch)}
    given = {"weights": np.zeros(3), "rate": np.array(0.1), "all.x": data["x"], "all.t": data["t"], "control": control}
    got = run(loop.program, given, sizes)
    expected, losses, used = epochs_by_hand(batch, 42, steps, shuffle and batch < 23)
    np.testing.assert_allclose(got["weights"], expected, rtol=1e-12, atol=1e-12)
    for epoch, total in enumerate(got["losses"]):
        np.testing.assert_allclose(total, sum(losses[epoch * per_epoch : (epoch + 1) * per_epoch]), rtol=1e-12)
    assert got["done"][0] == steps
    first_epoch = np.concatenate(used[: min(per_epoch, steps)])
    assert len(set(first_epoch.tolist())) == len(first_epoch), "a sample was drawn twice in an epoch"


def test_a_last_batch_that_is_too_small_is_refused() -> None:
    loss, data = ((x[:4] @ sg.symbol("weights", (3,))) ** 2).sum(), {"x": np.ones((10, 3))}
    options = {"optimizer": sg.optim.SGD(0.1), "epochs": 1, "progress": False}
    sg.fit(loss, {"weights": np.ones(3)}, data, batch_size=5, **options)
    with pytest.raises(sg.ShapeError, match="n >= 4, and these are 2 and 4, in a batch of 2"):
        sg.fit(loss, {"weights": np.ones(3)}, data, batch_size=8, **options)


def test_several_batch_dimensions_are_refused() -> None:
    with pytest.raises(ValueError, match="leading dimensions n, m differ"):
        batch_dimension([x, sg.symbol("y", ("m", 2))])
    assert batch_dimension([x, A]) == "n" and batch_dimension([A]) is None


def test_lines_of_the_writer_are_named() -> None:
    writer, words = make_writer(expand(CASES["products"]), lanes=4, mode="loops")
    assert len(words) == 1 + len(writer.groups)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("activation", ["relu", "tanh", "maxout"])
def test_every_mode_trains_alike(monkeypatch: pytest.MonkeyPatch, activation: str, dtype: str) -> None:
    """Layers that fill no vector, a smaller last batch: the same parameters from tile kernels, loops and BLAS."""
    from symgrad import pipeline

    net = sg.nn.MLP(5, [7, 6, 3], activation=activation)
    inputs, labels = sg.symbol("x", ("n", 5)), sg.symbol("t", ("n",), integer=True)
    loss = sg.nn.cross_entropy(net(inputs), labels) + 1e-3 * net.l2()
    rng = np.random.default_rng(0)
    data = {"x": rng.normal(size=(75, 5)), "t": rng.integers(0, 3, 75)}
    compile_loop, found = pipeline.compile_loop, {}
    for mode in ("tile", "loops", "blas"):
        monkeypatch.setattr(pipeline, "compile_loop", lambda *a, mode=mode, **k: compile_loop(*a, **k, mode=mode))
        options = {"optimizer": sg.optim.Adam(0.01), "epochs": 3, "batch_size": 16, "progress": False, "dtype": dtype}
        found[mode] = sg.fit(loss, net.init(0), data, **options).params
    tolerance = 1e-9 if dtype == "float64" else 2e-3
    for mode in ("tile", "loops"):
        for name, expected in found["blas"].items():
            np.testing.assert_allclose(found[mode][name], expected, rtol=tolerance, atol=tolerance, err_msg=f"{mode}: {name}")


@pytest.mark.parametrize("formula, wide", [
    (sg.tanh(t) * 2, True), (sg.exp(x), True),
    (t * t + 1, False), (sg.gelu(t), False), (sg.lgamma(t) + sg.exp(t), False), (sg.sin(p), False),
    (sg.tanh(t).sum(), False),
])  # fmt: skip
def test_vectors_of_functions_are_two_registers_long(formula: Expr, wide: bool) -> None:
    """Where they are, whatever is left of the last one comes out right."""
    program, _ = schedule({"y": formula}, lanes=4, mode="loops")
    verify(program)
    lanes = {value.lanes for value in map(made, walk(program.body)) if value is not None}
    assert (8 in lanes) == wide
    for n in (0, 1, 3, 7, 8, 9, 16, 21):
        given = {"t": np.linspace(0.1, 2, n), "x": np.linspace(-2, 2, 3 * n).reshape(n, 3), "p": FIXED["p"]}
        inputs = {s.name: given[s.name] for s in free_symbols(formula)}
        found = run(program, inputs, {"n": n})
        np.testing.assert_allclose(found["y"], evaluate(formula, inputs), rtol=1e-13)


def network(width: int = 9) -> tuple[dict[Expr, Expr], Expr, list[Expr]]:
    """A step of a network of two layers whose samples meet in sums only: its updates, the loss, the data."""
    inputs, labels = sg.symbol("x", ("n", 3)), sg.symbol("labels", "n", integer=True)
    net = sg.nn.MLP(3, [width, 4], activation="tanh")
    loss = sg.nn.cross_entropy(net(inputs), labels) + 0.01 * net.l2()
    step = sg.symbol("step", integer=True)
    following = {p: p - 0.5 / (1 + step) * g for p, g in zip(net.parameters, sg.grad(loss, list(net.parameters)), strict=True)}
    made = expand({"loss": loss, **{p.name: following[p] for p in net.parameters}})
    return {p: made[p.name] for p in net.parameters}, made["loss"], [inputs, labels, step]


@pytest.mark.parametrize("mode", ["loops", "blas"])
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("batch", "shuffle"), [(23, False), (11, True), (4, True), (1, False)])
def test_blocks_of_samples_give_the_sums_of_all(
    monkeypatch: pytest.MonkeyPatch, mode: str, threads: int, batch: int, shuffle: bool
) -> None:  # fmt: skip
    """The step of a minibatch that is passed in blocks of 4 is the step of the whole minibatch."""
    monkeypatch.setattr("symgrad.schedule.training.BLOCK", 4)
    following, loss, (inputs, labels, step) = network()
    rng = np.random.default_rng(3)
    data = {"all.x": rng.normal(size=(23, 3)), "all.labels": rng.integers(0, 4, 23)}
    start = {p.name: rng.normal(size=p.shape) for p in following}
    results = []
    for blocks in (False, True):
        loop = schedule_loop(
            following, loss, [inputs, labels], step=step, lanes=4, itemsize=8, mode=mode, threads=threads, blocks=blocks
        )  # fmt: skip
        assert any("samples at a time" in words for words in loop.words) == blocks
        given = {**{name: value.copy() for name, value in start.items()}, **data, "control": np.array([23, batch, shuffle, 7, 0, 9])}
        results.append(run(loop.program, given, {"n": batch, loop.all_dim: 23, loop.epochs_dim: 9}))
    for name in (*start, "losses", "done"):
        np.testing.assert_allclose(results[1][name], results[0][name], rtol=1e-11, atol=1e-12)


def test_blocks_need_samples_that_meet_in_sums_only() -> None:
    inputs, w = sg.symbol("x", ("n", 3)), sg.symbol("w", (3, 3))
    assert cut_into_blocks(expand({"a": ((inputs @ w) ** 2).mean()}), "n") is not None
    apart = {
        "normalised": ((inputs - inputs.mean(0)) ** 2).sum(),
        "largest": (inputs @ w).max(),
        "samples": inputs @ w,
        "numbered": (sg.symbol("t", "n") * sg.cumsum(sg.broadcast_to(sg.constant(1.0), ("n",)))).sum(),
        "much that is common": (inputs @ (w @ w)).sum(),
    }
    for name, formula in apart.items():
        assert cut_into_blocks(expand({"a": formula}), "n") is None, name
