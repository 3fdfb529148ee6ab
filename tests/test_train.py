"""``sg.fit``: history, batches, validation, metrics, callbacks, faults, and the same bits every time."""

from __future__ import annotations

import os
import signal
import threading

import numpy as np
import pytest

import symgrad as sg
from symgrad.evaluate import evaluate

RNG = np.random.default_rng(3)
INPUTS = RNG.normal(size=(50, 2))
TARGETS = np.sin(INPUTS[:, 0]) + 0.5 * INPUTS[:, 1]
X, T = sg.symbol("x", ("n", 2)), sg.symbol("t", "n")
NET = sg.nn.MLP(2, [6, 1], activation="tanh")
LOSS = sg.nn.mse(NET(X)[:, 0], T) + 1e-4 * NET.l2()
DATA = {"x": INPUTS, "t": TARGETS}


def fit(loss=LOSS, params=None, data=None, **options):
    options = {"optimizer": sg.optim.SGD(0.1), "epochs": 5, "progress": False, **options}
    return sg.fit(loss, NET.init(seed=0) if params is None else params, DATA if data is None else data, **options)


def same(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)


def test_history_is_the_loss_before_each_update():
    result = fit(epochs=3)
    params, expected = NET.init(seed=0), []
    for _ in range(3):
        known = {**params, **DATA}
        expected.append(float(evaluate(LOSS, known)))
        gradients = sg.grad(LOSS, NET.parameters)
        params = {p.name: params[p.name] - 0.1 * evaluate(g, known) for p, g in zip(NET.parameters, gradients, strict=True)}
    np.testing.assert_allclose(result.history["loss"], expected, rtol=1e-12)
    assert list(result.params) == ["W1", "b1", "W2", "b2"]
    for name in params:
        np.testing.assert_allclose(result.params[name], params[name], rtol=1e-11, atol=1e-13)
    assert result.epoch == 3 and result.stopped == "" and result.failure is None


def test_it_learns():
    result = fit(epochs=300, batch_size=10, optimizer=sg.optim.Adam(0.02))
    assert result.history["loss"][-1] < 0.02 < result.history["loss"][0]
    assert result.history["loss"].shape == (300,)


def test_the_initial_values_and_the_data_are_not_changed():
    start, before = NET.init(seed=0), NET.init(seed=0)
    data = {k: v.copy() for k, v in DATA.items()}
    result = fit(params=start, data=data, epochs=2)
    assert same(start, before) and same(data, DATA)
    assert not same(result.params, start)


@pytest.mark.parametrize("options", [{}, {"batch_size": 7}, {"batch_size": 7, "shuffle": False}, {"batch_size": 50}])
def test_same_seed_same_bits(options):
    a, b = fit(epochs=4, **options), fit(epochs=4, **options)
    assert same(a.params, b.params) and same(a.history, b.history)


def test_stopping_at_every_epoch_changes_no_bit():
    free = fit(epochs=6, batch_size=8)
    watched = fit(epochs=6, batch_size=8, callbacks=[lambda f: None])
    assert same(free.params, watched.params)
    assert np.array_equal(free.history["loss"], watched.history["loss"])


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_where_calls_end_changes_no_bit(dtype):
    """Calls are as long as the clock allows: parameters and history must not depend on that."""
    def run(lengths):
        training = sg.train.prepare(LOSS, NET.init(seed=0), DATA, optimizer=sg.optim.Adam(0.01), epochs=4, batch_size=8, dtype=dtype)
        losses, first = np.zeros(4), 0
        for steps in lengths:
            options = {**training.call, "first_step": first, "steps": steps, "losses": losses[first // 7 :]}
            assert training.loop(training.state, training.problem.arrays, training.numbers, **options) == steps
            first += steps
        return training.state, losses

    (a, losses_a), (b, losses_b) = run([28]), run([1, 4, 5, 11, 7])
    assert same(a, b) and np.array_equal(losses_a, losses_b)
    assert losses_a.min() > 0


def test_seed_and_shuffle_change_the_order_only():
    plain, other = (fit(epochs=2, batch_size=8, seed=s) for s in (0, 1))
    assert not same(plain.params, other.params)
    ordered, again = (fit(epochs=2, batch_size=8, seed=s, shuffle=False) for s in (0, 1))
    assert same(ordered.params, again.params)


def test_a_smaller_last_batch_is_used():
    """Batches of 20, 20 and 10, in order: three updates, and their sample-weighted mean loss."""
    result = fit(epochs=1, batch_size=20, shuffle=False)
    params, mean = NET.init(seed=0), 0.0
    for rows in (slice(0, 20), slice(20, 40), slice(40, 50)):
        known = {**params, "x": INPUTS[rows], "t": TARGETS[rows]}
        mean += float(evaluate(LOSS, known)) * (rows.stop - rows.start) / 50
        params = {p.name: params[p.name] - 0.1 * evaluate(sg.grad(LOSS, p), known) for p in NET.parameters}
    assert result.history["loss"][0] == pytest.approx(mean, rel=1e-12)
    np.testing.assert_allclose(result.params["W1"], params["W1"], rtol=1e-11)


def test_every_sample_is_seen_once_an_epoch():
    """The gradient of mean(c * x) with respect to c is the batch's mean of x: with rate 1/len the sum over an epoch is fixed."""
    c, x = sg.symbol("c"), sg.symbol("x", "n")
    values = RNG.normal(size=24)
    for seed in range(3):
        result = sg.fit((c * x).mean(), {"c": 0.0}, {"x": values}, optimizer=sg.optim.SGD(1.0), epochs=1, batch_size=6, seed=seed,
                        progress=False)
        assert float(result.params["c"]) == pytest.approx(-values.sum() / 6, rel=1e-12)


def test_float32():
    result = fit(dtype="float32", epochs=20)
    assert all(v.dtype == np.float32 for v in result.params.values())
    np.testing.assert_allclose(result.history["loss"], fit(epochs=20).history["loss"], rtol=1e-4)


def test_no_epochs_no_change():
    result = fit(epochs=0)
    assert same(result.params, NET.init(seed=0)) and result.history["loss"].shape == (0,)


def test_one_sample_and_a_constant_column():
    assert np.isfinite(fit(data={"x": INPUTS[:1], "t": TARGETS[:1]}).history["loss"]).all()
    assert np.isfinite(fit(data={"x": np.ones((50, 2)), "t": TARGETS}).history["loss"]).all()


def test_a_loss_without_data():
    """Rosenbrock's valley: no batched input, one step an epoch."""
    x, y = sg.symbols("x y")
    result = sg.fit((1 - x) ** 2 + 100 * (y - x**2) ** 2, {"x": -1.0, "y": 1.0}, {}, optimizer=sg.optim.Adam(0.02), epochs=3000,
                    progress=False)
    assert result.history["loss"][-1] < 1e-4
    np.testing.assert_allclose([result.params["x"], result.params["y"]], [1, 1], atol=0.02)


def test_data_that_are_not_batched():
    a, scale, w = sg.symbol("a", (3, 2)), sg.symbol("scale"), sg.symbol("w", 2)
    b, x, t = sg.symbol("bias", 3), sg.symbol("x", ("n", 3)), sg.symbol("t", "n")
    loss = sg.nn.mse(scale * ((x + b) @ a @ w), t)
    fixed = {"a": RNG.normal(size=(3, 2)), "bias": RNG.normal(size=3), "scale": 0.5}
    inputs = RNG.normal(size=(12, 3))
    data = {"x": inputs, "t": inputs[:, 0], **fixed}
    result = sg.fit(loss, {"w": np.zeros(2)}, data, optimizer=sg.optim.SGD(0.1), epochs=1, progress=False)
    gradient = evaluate(sg.grad(loss, w), {"w": np.zeros(2), **data})
    np.testing.assert_allclose(result.params["w"], -0.1 * gradient, rtol=1e-12)
    assert list(result.params) == ["w"]


def test_a_schedule_with_inputs_of_its_own():
    lr, steps = sg.symbols("rate steps")
    optimizer = sg.optim.SGD(lr * (1 - 0.9 * sg.optim.step / steps))
    c = sg.symbol("c")
    result = sg.fit(c, {"c": 0.0}, {"rate": 0.5, "steps": 4}, optimizer=optimizer, epochs=4, progress=False)
    assert float(result.params["c"]) == pytest.approx(-0.5 * sum(1 - 0.9 * k / 4 for k in range(4)), rel=1e-13)


def test_validation_and_metrics():
    error = abs(NET(X)[:, 0] - T).mean()
    held_out = {"x": INPUTS[:9] + 0.1, "t": TARGETS[:9]}
    result = fit(epochs=4, validation=held_out, metrics={"mae": error})
    assert list(result.history) == ["loss", "mae", "val_loss", "val_mae"]
    assert all(len(v) == 4 for v in result.history.values())
    assert result.history["val_loss"][-1] == pytest.approx(float(evaluate(LOSS, {**result.params, **held_out})), rel=1e-12)
    assert result.history["mae"][-1] == pytest.approx(float(evaluate(error, {**result.params, **DATA})), rel=1e-12)
    assert same(result.params, fit(epochs=4).params)


def test_callbacks_see_each_epoch_and_stop():
    seen = []

    def callback(f):
        seen.append((f.epoch, len(f.history["loss"]), f.params["W1"].copy()))
        return f.epoch == 3

    result = fit(epochs=10, callbacks=[callback])
    assert [s[:2] for s in seen] == [(1, 1), (2, 2), (3, 3)]
    assert result.epoch == 3 and "callback" in result.stopped
    assert np.array_equal(seen[-1][2], result.params["W1"])
    assert not np.array_equal(seen[0][2], seen[1][2])


def test_an_error_in_a_callback_is_the_users():
    def callback(f):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        fit(callbacks=[callback])


def test_early_stopping_keeps_the_best_parameters():
    """A validation loss that first falls and then rises: the fit to the training data passes the other optimum by."""
    c, t = sg.symbol("c"), sg.symbol("t", "n")
    result = sg.fit(((c - t) ** 2).mean(), {"c": 0.0}, {"t": np.ones(4)}, validation={"t": np.full(4, 0.5)},
                    optimizer=sg.optim.SGD(0.05), epochs=500, early_stopping=3, progress=False)
    best = int(np.argmin(result.history["val_loss"])) + 1
    assert result.epoch == best + 3 and "early" in result.stopped
    assert float(result.params["c"]) == pytest.approx(1 - 0.9**best, rel=1e-12)


# --- faults (EDGES 41 to 43, 48) -----------------------------------------------------------------------


def test_row_41_a_loss_that_turns_nan_keeps_the_last_good_parameters():
    c, t = sg.symbol("c"), sg.symbol("t", "n")
    loss = (sg.sqrt(c) * t).mean()  # c falls below 0 after a few steps: sqrt gives NaN
    with pytest.warns(RuntimeWarning, match="nan"):
        result = sg.fit(loss, {"c": 1.0}, {"t": np.ones(3)}, optimizer=sg.optim.SGD(0.3), epochs=100, progress=False)
    c_now, path = 1.0, []
    while c_now >= 0:
        path.append(c_now)
        c_now -= 0.3 * 0.5 / np.sqrt(c_now)
    assert float(result.params["c"]) == pytest.approx(path[-1], rel=1e-12)
    np.testing.assert_allclose(result.history["loss"], np.sqrt(path), rtol=1e-12)
    message = str(result.failure)
    assert f"step {len(path)} " in message and "sqrt(c)" in message and isinstance(result.failure, sg.NonFiniteError)
    assert "nan" in result.stopped


@pytest.mark.parametrize("batch_size", [None, 8])
def test_row_42_a_learning_rate_of_a_million(batch_size):
    x, w = sg.symbol("x", ("n", 2)), sg.symbol("w", 2)
    loss = sg.nn.mse(x @ w, T)
    with pytest.warns(RuntimeWarning):
        result = fit(loss, {"w": np.ones(2)}, optimizer=sg.optim.SGD(1e6), epochs=10_000, batch_size=batch_size)
    assert result.epoch < 10_000 and result.failure is not None
    assert np.isfinite(result.params["w"]).all()
    assert np.isfinite(float(evaluate(loss, {**result.params, "x": INPUTS[:8], "t": TARGETS[:8]})))
    assert np.isfinite(result.history["loss"]).all()


def test_row_41_nan_in_the_data_is_found_in_the_first_step():
    inputs = INPUTS.copy()
    inputs[17, 1] = np.nan
    with pytest.warns(RuntimeWarning, match="step 0 .* x = nan"):
        result = fit(data={"x": inputs, "t": TARGETS})
    assert same(result.params, NET.init(seed=0)) and result.epoch == 0


@pytest.fixture
def ctrl_c():
    """Ctrl-C as in a terminal: where the tests run in the background, shells have it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield lambda: os.kill(os.getpid(), signal.SIGINT)
    signal.signal(signal.SIGINT, before)


@pytest.mark.skipif(os.name != "posix", reason="os.kill ends the process on Windows")
def test_row_43_ctrl_c_keeps_what_was_learnt(ctrl_c):
    def press(f):
        if f.epoch == 3:
            ctrl_c()

    result = fit(epochs=100_000, callbacks=[press])
    assert "interrupted" in result.stopped and 3 <= result.epoch <= 5
    assert same(result.params, fit(epochs=result.epoch).params)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_training_in_a_thread():
    results = []
    thread = threading.Thread(target=lambda: results.append(fit(epochs=3)))
    thread.start()
    thread.join()
    assert same(results[0].params, fit(epochs=3).params)


K, Z = sg.symbol("k", "n", integer=True), sg.symbol("z", (2, 3))


@pytest.mark.parametrize("options, error, text", [
    ({"batch_size": 0}, ValueError, "batch_size"),
    ({"batch_size": 51}, ValueError, "50 samples"),
    ({"batch_size": 2.5}, TypeError, "batch_size"),
    ({"epochs": -1}, ValueError, "epochs"),
    ({"epochs": 1.5}, TypeError, "epochs"),
    ({"optimizer": "sgd"}, TypeError, "optimizer"),
    ({"dtype": "float16"}, ValueError, "dtype"),
    ({"loss": NET(X)}, sg.ShapeError, "scalar"),
    ({"metrics": {"out": NET(X)}}, sg.ShapeError, "out"),
    ({"data": {"x": INPUTS}}, ValueError, "needs t"),
    ({"data": {**DATA, "u": 1.0}}, ValueError, "u"),
    ({"data": {**DATA, "W1": np.zeros((2, 6))}}, ValueError, "twice"),
    ({"params": {"W1": np.zeros((2, 6))}}, ValueError, "b1"),
    ({"params": {}}, ValueError, "params"),
    ({"params": {**NET.init(), "W1": np.zeros((6, 2))}}, sg.ShapeError, "W1"),
    ({"data": {"x": INPUTS, "t": TARGETS[:-1]}}, sg.ShapeError, "n"),
    ({"data": {"x": INPUTS[:, :1], "t": TARGETS}}, sg.ShapeError, "x"),
    ({"data": {"x": INPUTS[:0], "t": TARGETS[:0]}}, ValueError, "no samples"),
    ({"data": {"x": INPUTS.astype(complex), "t": TARGETS}}, TypeError, "complex"),
    ({"data": {"x": INPUTS, "t": ["a"] * 50}}, TypeError, "t"),
    ({"data": {"x": INPUTS, "t": [None] * 50}}, TypeError, "object"),
    ({"validation": {"x": INPUTS}}, ValueError, "missing: t"),
    ({"validation": {"x": INPUTS[:, :1], "t": TARGETS}}, sg.ShapeError, "x"),
    ({"early_stopping": 0}, ValueError, "early_stopping"),
    ({"loss": sg.symbol("lr") * LOSS, "data": {**DATA, "lr": 1.0}}, ValueError, "lr: the optimizer has a number of this name"),
    ({"loss": sg.nn.mse(NET(X)[:, 0], sg.symbol("t", "m"))}, ValueError, "several lead"),
    ({"loss": (sg.symbol("w", ("m", "n")) @ T).sum() + LOSS, "data": {**DATA, "w": np.zeros((3, 50))}}, ValueError, "lead"),
])
def test_row_48_what_is_refused(options, error, text):
    with pytest.raises(error, match=text):
        fit(**options)


@pytest.mark.parametrize("label", [-1, 3])
def test_row_48_a_label_out_of_range(label):
    loss = sg.nn.cross_entropy(X @ Z, K)
    labels = np.zeros(50, dtype=int)
    labels[20] = label
    with pytest.raises(ValueError, match=rf"label {label} \(at index 20\) .* 3 classes"):
        fit(loss, {"z": np.zeros((2, 3))}, {"x": INPUTS, "k": labels})
    with pytest.raises(ValueError, match="label"):
        fit(loss, {"z": np.zeros((2, 3))}, {"x": INPUTS, "k": labels * 0}, validation={"x": INPUTS, "k": labels})


def test_row_31_strange_arrays_are_their_contiguous_copies():
    wide = np.zeros((100, 4))
    wide[::2, ::2] = INPUTS
    read_only = TARGETS.copy()
    read_only.flags.writeable = False
    shifted = np.frombuffer(b"?" + TARGETS.tobytes(), dtype=np.uint8)[1:].view(float)
    expected = fit(batch_size=8).params
    for x, t in ((wide[::2, ::2], TARGETS), (np.asfortranarray(INPUTS), read_only), (INPUTS.astype(">f8"), shifted),
                 (INPUTS[::-1][::-1], TARGETS.tolist())):
        assert same(fit(data={"x": x, "t": t}, batch_size=8).params, expected)


def test_labels_may_be_of_any_whole_kind():
    loss = sg.nn.cross_entropy(X @ Z, K)
    labels = RNG.integers(0, 3, 50)
    runs = [fit(loss, {"z": np.zeros((2, 3))}, {"x": INPUTS, "k": labels.astype(kind)}).params["z"] for kind in (np.int8, np.uint64, float)]
    assert np.array_equal(runs[0], runs[1]) and np.array_equal(runs[0], runs[2])
    with pytest.raises(TypeError, match="whole"):
        fit(loss, {"z": np.zeros((2, 3))}, {"x": INPUTS, "k": labels + 0.5})


# --- what a person sees --------------------------------------------------------------------------------


def test_plain_lines_without_a_terminal(capsys):
    fit(epochs=40, progress=True, callbacks=[lambda f: None])
    lines = capsys.readouterr().err.splitlines()
    assert 3 <= len(lines) <= 14
    assert lines[-1].startswith("epoch 40/40  loss ")


def test_a_notebook_without_widgets_gets_lines(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from importlib import util

    from rich import console

    from symgrad.train import progress

    monkeypatch.setattr(console, "_is_jupyter", lambda: True)
    for missing, kind in ((False, progress.Bar), (True, progress.Lines)):
        monkeypatch.setattr(progress, "find_spec", lambda name, gone=missing: None if gone else util.find_spec("rich"))
        reporter = progress.reporter(True)
        assert isinstance(reporter, kind)
    reporter.start(1)
    reporter.update(1, {"loss": 0.5})
    assert capsys.readouterr() == ("epoch 1/1  loss 0.5\n", "")


def test_formulas_and_timings():
    result = fit(epochs=1)
    lines = str(result.step.formulas).splitlines()
    assert [line.split(" ← ")[0] for line in lines[-4:]] == ["W1", "b1", "W2", "b2"]
    assert all(line.split(" ← ")[1].startswith(name) for line, name in zip(lines[-4:], ("W1", "b1", "W2", "b2"), strict=True))
    assert r"W_{1} &\leftarrow" in result.step.formulas._repr_latex_()
    assert result.step.schedule and result.timings["train"] > 0 and result.timings["total"] > 0


def test_the_printed_update_is_what_is_computed():
    result = fit(epochs=1, optimizer=sg.optim.SGD(0.1, momentum=0.9))
    assert list(result.step.formulas) == ["W1", "b1", "W2", "b2", "W1.velocity", "b1.velocity", "W2.velocity", "b2.velocity"]
    known = {**NET.init(seed=0), **DATA, "lr": 0.1, "momentum": 0.9, **{f"{k}.velocity": np.zeros_like(v) for k, v in NET.init().items()}}
    for name, value in result.params.items():
        np.testing.assert_allclose(evaluate(result.step.formulas[name], known), value, rtol=1e-12, atol=1e-15)


def test_sizes_epochs_seed_and_numbers_compile_nothing_again(tmp_path, monkeypatch):
    monkeypatch.setenv("SYMGRAD_CACHE_DIR", str(tmp_path))
    first = fit(epochs=1, optimizer=sg.optim.Adam(0.1))
    data = {"x": INPUTS[:31], "t": TARGETS[:31]}
    second = fit(epochs=3, batch_size=4, seed=5, shuffle=False, data=data, optimizer=sg.optim.Adam(0.2, beta1=0.5, eps=1e-3))
    assert not first.step.cached and second.step.cached
    other_network = sg.nn.MLP(2, [6, 1], activation="tanh")
    loss = sg.nn.mse(other_network(X)[:, 0], T) + 1e-4 * other_network.l2()
    assert fit(loss, other_network.init(seed=1), optimizer=sg.optim.Adam(0.1)).step.cached


WIDE = sg.nn.MLP(2, [16, 16, 1], activation="tanh")
WIDE_LOSS = sg.nn.mse(WIDE(X)[:, 0], T)


def wide(mode="auto", **options):
    options = {"optimizer": sg.optim.SGD(0.1), "epochs": 3, **options}
    return sg.train.prepare(WIDE_LOSS, WIDE.init(seed=0), DATA, mode=mode, **options)


def test_few_samples_have_kernels_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setenv("SYMGRAD_CACHE_DIR", str(tmp_path))
    some, one = wide(batch_size=16), wide(batch_size=1)
    assert some.fit.step.schedule[0].startswith("tile kernels over n")
    assert one.fit.step.schedule[0].startswith("no tile kernel: minibatches of at most ")
    assert not some.fit.step.cached and not one.fit.step.cached  # one compilation for each of the two, and no more:
    assert wide(batch_size=25).fit.step.cached and wide(batch_size=None, epochs=9).fit.step.cached and wide(batch_size=1).fit.step.cached
    for batch in (1, 16):
        expected = wide("tile", batch_size=batch).run(progress=False).params
        for name, value in wide(batch_size=batch).run(progress=False).params.items():
            np.testing.assert_allclose(value, expected[name], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("width", "batch", "kind"), [(256, 1, "products"), (256, 4, "minibatches"), (320, 1, "minibatches")])
def test_weights_whose_columns_share_few_cache_sets_are_read_along_their_rows(width, batch, kind):
    """Rows of 2 KB (256 numbers in double): one or two samples have products by themselves."""
    net = sg.nn.MLP(2, [width, width, 1], activation="tanh")
    loss = sg.nn.mse(net(X)[:, 0], T)
    options = {"optimizer": sg.optim.SGD(0.01), "epochs": 1, "batch_size": batch}
    training = sg.train.prepare(loss, net.init(seed=0), DATA, **options)
    assert training.fit.step.schedule[0].startswith(f"no tile kernel: {kind} ")
    expected = sg.train.prepare(loss, net.init(seed=0), DATA, mode="loops", **options).run(progress=False).params
    for name, value in training.run(progress=False).params.items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-9, atol=1e-12)


def test_a_smaller_last_batch_goes_the_way_of_the_others():
    training = wide(batch_size=49)
    assert same(training.run(progress=False).params, wide("tile", batch_size=49).run(progress=False).params)
    assert list(training.loop._variants) == ["auto"]


def test_a_loop_takes_batches_of_any_size():
    training = wide(batch_size=1)
    for batch in (1, 50):
        state = {name: value.copy() for name, value in training.state.items()}
        options = {**training.call, "batch_size": batch, "shuffle": False}
        assert training.loop(state, training.problem.arrays, training.numbers, **options, first_step=0, steps=2, losses=np.zeros(3)) == 2
        again = wide(batch_size=batch)
        straight = {name: value.copy() for name, value in again.state.items()}
        again.loop(straight, again.problem.arrays, again.numbers, **options, first_step=0, steps=2, losses=np.zeros(3))
        assert same(state, straight)


def test_repr():
    result = fit(epochs=1)
    assert repr(result) == f"Fit(1 epoch, loss {result.history['loss'][0]:.6g})"


def test_plot():
    pytest.importorskip("matplotlib", reason="pictures need matplotlib")
    result = fit(epochs=3, validation=DATA, metrics={"size": NET.l2()})
    figure = result.plot()
    labels = [line.get_label() for ax in figure.axes for line in ax.get_lines()]
    assert labels == ["loss", "val_loss", "size", "val_size"]
    np.testing.assert_array_equal(figure.axes[0].get_lines()[0].get_ydata(), result.history["loss"])
