"""``fit``: a loss, an optimizer and data become one compiled loop; Python runs only between its calls."""

from __future__ import annotations

import math
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from symgrad import dims, pipeline
from symgrad.differentiate import grad
from symgrad.errors import NonFiniteError, ShapeError
from symgrad.evaluate import bind_sizes, evaluate
from symgrad.expr import Expr, ExprLike, as_expr, topological
from symgrad.optim import Optimizer, step
from symgrad.train.data import Array, Problem, check_labels, convert, sort_inputs
from symgrad.train.progress import reporter
from symgrad.train.step import Step

if TYPE_CHECKING:
    from symgrad.show.picture import Picture

__all__ = ["Fit", "Training", "fit", "prepare"]

_CALL_SECONDS = 0.2  # one compiled call: short enough for Ctrl-C and a smooth bar, long enough to cost nothing
_GROWTH = 10         # how much longer a call may become than the one before

Callback = Callable[["Fit"], object]


class Fit:
    """What training gives.

    ``params``: name → array, what was learnt. ``history``: ``"loss"`` and, where asked for, ``"val_loss"`` and metrics:
    name → array, one value an epoch. ``epoch``: epochs done. ``step``: the compiled step; ``step.formulas`` are the
    update formulas. ``timings``: seconds by stage of compiling, their ``"total"``, and ``"train"``.
    ``stopped``: why training ended before its last epoch, or ``""``. ``failure``: the error that says where the loss
    turned NaN or infinite, or ``None``.
    """

    def __init__(self, step: Step, params: dict[str, Array]) -> None:
        self.step = step
        self.params = params
        self.history: dict[str, Array] = {"loss": np.empty(0)}
        self.epoch = 0
        self.stopped = ""
        self.failure: NonFiniteError | None = None
        self.timings: dict[str, float] = {}

    def plot(self, title: str = "", theme: str | None = None) -> Picture:
        """The loss and the metrics over the epochs, a :class:`~symgrad.show.Picture` (``.save("loss.png")``, ``.figure``).

        ``theme``: "light" or "dark", by default what ``SYMGRAD_THEME`` says. Raises ``MissingDependencyError`` where matplotlib is absent.
        """
        from symgrad.show.themes import theme_named
        from symgrad.train.pictures import history_figure

        return history_figure(self.history, title, theme_named(theme), self.stopped)

    def __repr__(self) -> str:
        last = "".join(f", {name} {values[-1]:.6g}" for name, values in self.history.items() if len(values))
        return f"Fit({self.epoch} epoch{'s' * (self.epoch != 1)}{last}{', ' + self.stopped if self.stopped else ''})"


def fit(
    loss: ExprLike, params: Mapping[Any, Any], data: Mapping[Any, Any], *, optimizer: Optimizer, epochs: int,
    batch_size: int | None = None, shuffle: bool = True, seed: int = 0, validation: Mapping[Any, Any] | None = None,
    metrics: Mapping[str, ExprLike] | None = None, callbacks: Sequence[Callback] = (), early_stopping: int | None = None,
    progress: bool = True, dtype: str = "float64", threads: int = 1,
) -> Fit:
    """Minimises ``loss``, an ordinary scalar expression; gradient, update and the loop over batches are compiled as one.

    ``params``: name → initial array (``net.init(seed)``). ``data``: name → array; batched is what leads with a named
    dimension. ``optimizer``: ``sg.optim.SGD(...)`` or ``Adam(...)``. ``epochs``: passes over the data. ``batch_size``: samples
    a step, ``None`` for all; a smaller last batch is used. ``shuffle``, ``seed``: a permutation for each epoch that
    depends on (seed, epoch) alone. ``validation``: like ``data``, gives ``history["val_loss"]``. ``metrics``: name → scalar
    expression, measured on all data after each epoch (``history[name]``, and ``"val_" + name``). ``callbacks``: called with
    the ``Fit`` after each epoch; one that returns ``True`` stops. ``early_stopping``: epochs without a better ``val_loss``
    (``loss`` without validation) until it stops; the best parameters are kept. ``progress``: a bar on standard error.
    ``dtype``: ``"float64"`` or ``"float32"``. ``threads``: of the compiled loop.

    Ctrl-C ends training and keeps what was learnt. Where the loss turns NaN or infinite, training stops with a
    ``RuntimeWarning``; ``fit.failure`` says in which step and at which node, and the last good parameters are returned.
    Raises ``ValueError``, ``ShapeError`` or ``TypeError`` for data that do not fit the loss, before anything is compiled.

    >>> import numpy as np, symgrad as sg
    >>> w, x, t = sg.symbol("w"), sg.symbol("x", "n"), sg.symbol("t", "n")
    >>> X = np.array([1.0, 2.0, 3.0])
    >>> result = sg.fit(sg.nn.mse(w * x, t), {"w": 0.0}, {"x": X, "t": 2 * X}, optimizer=sg.optim.SGD(0.1), epochs=50, progress=False)
    >>> round(float(result.params["w"]), 6)
    2.0
    """
    training = prepare(loss, params, data, optimizer=optimizer, epochs=epochs, batch_size=batch_size, shuffle=shuffle, seed=seed,
                       validation=validation, metrics=metrics, callbacks=callbacks, early_stopping=early_stopping, dtype=dtype,
                       threads=threads)
    return training.run(progress)


def prepare(
    loss: ExprLike, params: Mapping[Any, Any], data: Mapping[Any, Any], *, optimizer: Optimizer, epochs: int,
    batch_size: int | None = None, shuffle: bool = True, seed: int = 0, validation: Mapping[Any, Any] | None = None,
    metrics: Mapping[str, ExprLike] | None = None, callbacks: Sequence[Callback] = (), early_stopping: int | None = None,
    dtype: str = "float64", threads: int = 1, mode: str = "auto",
) -> Training:
    """``fit`` up to its first step: everything checked, derived and compiled. ``.fit`` shows it, ``.run()`` trains.

    ``mode`` forces the kind of kernels, as in ``sg.compile``.
    """
    loss = _scalar("the loss", as_expr(loss))
    measured = {name: _scalar(f"metric {name!r}", as_expr(e)) for name, e in (metrics or {}).items()}
    epochs = _whole("epochs", epochs, 0)
    if early_stopping is not None:
        early_stopping = _whole("early_stopping", early_stopping, 1)
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"optimizer is a sg.optim.SGD or Adam, not {optimizer!r}")
    if dtype not in ("float64", "float32"):
        raise ValueError(f"dtype is 'float64' or 'float32', not {dtype!r}")
    if "loss" in measured:
        raise ValueError("a metric cannot be called 'loss': history['loss'] is the loss itself")

    own = (step, *optimizer.numbers)
    problem = sort_inputs([loss, *measured.values(), optimizer.lr], own, params, data, dtype)
    check_labels([loss], problem.arrays)
    batch = _batch_size(batch_size, problem)
    held_out = None if validation is None else _validation(validation, problem, loss, dtype)
    seed = _whole("seed", seed, 0)
    training = Training(loss, measured, problem, held_out, optimizer, dtype, threads, batch, mode)
    training.plan(epochs, batch, shuffle, seed, callbacks, early_stopping)
    return training


def _scalar(what: str, expr: Expr) -> Expr:
    if expr.shape != ():
        raise ShapeError(f"{what} has shape {dims.format_shape(expr.shape)}, a scalar is needed: take its mean or sum")
    return expr


def _whole(what: str, value: object, low: int) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{what} is a whole number, not {value!r}")
    number = int(value.__index__())
    if number < low:
        raise ValueError(f"{what} is at least {low}, not {number}")
    return number


def _batch_size(batch_size: int | None, problem: Problem) -> int:
    if batch_size is None:
        return problem.samples
    batch = _whole("batch_size", batch_size, 1)
    if not problem.batched:
        raise ValueError("batch_size without batched data: no input leads with a named dimension")
    if batch > problem.samples:
        raise ValueError(f"batch_size {batch} is larger than the data, which have {problem.samples} samples")
    return batch


def _validation(given: Mapping[Any, Any], problem: Problem, loss: Expr, dtype: str) -> dict[str, Array]:
    values = {k.name if isinstance(k, Expr) else k: v for k, v in given.items()}
    names = {s.name for s in problem.batched}
    unknown = [str(n) for n in values if n not in names]
    missing = [n for n in names if n not in values]
    if unknown or missing:
        raise ValueError(f"validation has the batched inputs {', '.join(sorted(names))}; "
                         + "; ".join(f"{what}: {', '.join(n)}" for what, n in (("unknown", unknown), ("missing", missing)) if n))
    arrays = {s.name: convert(s, values[s.name], dtype) for s in problem.batched}
    sizes = {d: n for d, n in problem.sizes.items() if d != problem.batch_dimension}
    bind_sizes({s: arrays[s.name] for s in problem.batched}, sizes)
    check_labels([loss], arrays)
    return arrays


class Training:
    """One run of ``fit``: the compiled loop, its state, and the calls."""

    def __init__(self, loss: Expr, metrics: dict[str, Expr], problem: Problem, held_out: dict[str, Array] | None,
                 optimizer: Optimizer, dtype: str, threads: int, batch: int, mode: str) -> None:
        self.loss, self.problem, self.held_out, self.dtype = loss, problem, held_out, dtype
        started = time.perf_counter()
        following, states = optimizer.update(problem.parameters, grad(loss, problem.parameters))
        update = dict(zip(problem.parameters, following, strict=True))
        update.update((s.symbol, s.next) for s in states)
        # Data that are not batched travel as state that stays what it is: arguments of the loop, never constants in it.
        update.update((s, s) for s in problem.fixed)
        self.state = {**problem.values, **problem.fixed_arrays}
        self.state.update((s.symbol.name, np.full(dims.evaluate_shape(s.symbol.shape, problem.sizes), s.initial, dtype)) for s in states)
        self.numbers = {**problem.numbers, **{s.name: value for s, value in optimizer.numbers.items()}}
        self.learnt = [s.name for s in problem.parameters]
        built = time.perf_counter()
        self.loop = pipeline.compile_loop(
            update, loss, data=tuple(problem.batched), dtype=dtype, threads=threads, mode=mode, batch=batch
        )
        self.measure: Any = None
        if metrics or held_out is not None:
            self.measure = pipeline.compile({"loss": loss, **metrics}, dtype=dtype)
        self.metrics = list(metrics)
        following_by_name = {p.name: e for p, e in zip(problem.parameters, following, strict=True)}
        self.fit = Fit(Step(loss, following_by_name, {s.symbol.name: s.next for s in states}, self.loop), self._params())
        self.fit.timings = {"derive": built - started, **self.loop.timings, "total": time.perf_counter() - started}

    def plan(self, epochs: int, batch: int, shuffle: bool, seed: int, callbacks: Sequence[Callback], patience: int | None) -> None:
        self.epochs, self.batch, self.callbacks, self.patience = epochs, batch, callbacks, patience
        samples = self.problem.samples
        self.call: dict[str, Any] = {"samples": samples, "batch_size": batch, "shuffle": bool(shuffle) and batch < samples, "seed": seed}
        self.steps_per_epoch = -(-samples // batch)
        self.losses = np.zeros(0)  # grows with the epochs that a call reaches
        self.columns: dict[str, list[float]] = {}
        self.best: tuple[float, int, dict[str, Array]] | None = None

    def _params(self) -> dict[str, Array]:
        return {name: self.state[name].copy() for name in self.learnt}

    def _snapshot(self) -> dict[str, Array]:
        return {name: array.copy() for name, array in self.state.items()}

    def run(self, progress: bool = True) -> Fit:
        """All epochs, in compiled calls of about 0.2 s; with callbacks, validation or metrics at most one epoch long."""
        each_epoch = bool(self.callbacks or self.metrics or self.held_out is not None or self.patience is not None)
        total, per_epoch = self.epochs * self.steps_per_epoch, self.steps_per_epoch
        done, size = 0, 1
        before: tuple[int, dict[str, Array]] | None = None  # the call before this one: its first step, and the state it began with
        show = reporter(progress)
        show.start(self.epochs)
        started = time.perf_counter()
        try:
            with _interruptible() as interrupted:
                while done < total and not self.fit.stopped:
                    steps = min(size, total - done)
                    if each_epoch:
                        steps = min(steps, per_epoch - done % per_epoch)
                    begun, at_start = time.perf_counter(), self._snapshot()
                    n = self._advance(done, steps, self._losses(done, steps))
                    seconds = time.perf_counter() - begun
                    if n < steps or not all(np.isfinite(self.state[name]).all() for name in self.learnt):
                        self._fail(done, n, steps, at_start, before)
                        break
                    before = (done, at_start)
                    done += n
                    size = max(1, int(steps * min(_GROWTH, _CALL_SECONDS / max(seconds, 1e-9))))
                    self.fit.epoch = done // per_epoch
                    if each_epoch and done % per_epoch == 0:
                        self._end_of_epoch()
                    show.update(self.fit.epoch, self._latest())
                    if interrupted():
                        self.fit.stopped = f"interrupted in epoch {self.fit.epoch + (done % per_epoch > 0)}"
        finally:
            show.stop()
        self._record()
        self.fit.params = self._params() if self.best is None or self.fit.failure else self.best[2]
        self.fit.timings["train"] = time.perf_counter() - started
        if self.fit.failure is not None:
            warnings.warn(str(self.fit.failure), RuntimeWarning, stacklevel=3)
        return self.fit

    def _losses(self, first: int, steps: int) -> Array:
        """Where the losses of the epochs of these steps are added up, the first one's so far included."""
        last = (first + steps - 1) // self.steps_per_epoch
        if last >= len(self.losses):
            longer = np.zeros(min(max(2 * len(self.losses), last + 1, 1024), self.epochs))
            longer[: len(self.losses)] = self.losses
            self.losses = longer
        return self.losses[first // self.steps_per_epoch : last + 1]

    def _advance(self, first: int, steps: int, losses: Array) -> int:
        return int(self.loop(self.state, self.problem.arrays, self.numbers, **self.call, first_step=first, steps=steps, losses=losses))

    def _latest(self) -> dict[str, float]:
        epoch = self.fit.epoch
        if not epoch:
            return {}
        return {"loss": float(self.losses[epoch - 1]), **{name: column[-1] for name, column in self.columns.items() if column}}

    def _record(self) -> None:
        self.fit.history = {"loss": self.losses[: self.fit.epoch].copy(), **{k: np.array(v) for k, v in self.columns.items()}}

    def _end_of_epoch(self) -> None:
        """Validation, metrics, callbacks, early stopping."""
        if self.measure is not None:
            sets: list[tuple[str, Mapping[str, Array]]] = [("", self.problem.arrays)] if self.metrics else []
            if self.held_out is not None:
                sets.append(("val_", self.held_out))
            for prefix, arrays in sets:
                known: dict[str, Any] = {**self.state, **self.numbers, **arrays}
                values = self.measure(**{s.name: known[s.name] for s in self.measure.inputs})
                names = self.metrics if not prefix else ["loss", *self.metrics]
                for name in names:
                    self.columns.setdefault(prefix + name, []).append(float(values[name]))
        self._record()
        if self.callbacks:
            self.fit.params = self._params()
            answers = [callback(self.fit) for callback in self.callbacks]
            if any(answer is True for answer in answers):
                self.fit.stopped = f"stopped by a callback after epoch {self.fit.epoch}"
        if self.patience is not None:
            watched = self.fit.history["val_loss" if self.held_out is not None else "loss"][-1]
            if self.best is None or watched < self.best[0]:
                self.best = (float(watched), self.fit.epoch, self._params())
            elif self.fit.epoch - self.best[1] >= self.patience:
                self.fit.stopped = f"stopped early after epoch {self.fit.epoch}: best was epoch {self.best[1]}"

    def _fail(self, done: int, n: int, steps: int, at_start: dict[str, Array], before: tuple[int, dict[str, Array]] | None) -> None:
        """The loss of step ``done + n`` is not finite: says why, and goes back to the parameters of the step before.

        The loop is deterministic, so running it again from the last snapshot gives those parameters, bit for bit.
        """
        bad = done + n
        value, node = self._diagnose(bad)
        target = max(bad - 1, 0)
        first, self.state = (done, at_start) if target >= done or before is None else before
        self._advance(first, target - first, np.zeros((target - first) // self.steps_per_epoch + 2))
        epoch = bad // self.steps_per_epoch
        self.fit.epoch = min(epoch, self.epochs)
        kept = f"the parameters of step {target} are kept" if bad else "the initial parameters are kept"
        where = f"; the first value that is not finite is {node}" if node else ""
        self.fit.failure = NonFiniteError(f"the loss turned {value} in step {bad} (epoch {epoch + 1}){where}; {kept}")
        self.fit.stopped = f"stopped in epoch {epoch + 1}: the loss turned {value}"

    def _diagnose(self, bad: int) -> tuple[float, str]:
        """The loss at the parameters of the failed step, and the first node that is not finite, batch by batch."""
        nodes, samples = topological(self.loss), self.problem.samples
        for start in range(0, samples, self.batch):
            stop = min(start + self.batch, samples)
            known: dict[str, Any] = {**self.state, **self.numbers, "step": bad}
            known.update((name, array[start:stop]) for name, array in self.problem.arrays.items())
            values = evaluate(nodes, known, self.dtype)
            for node, array in zip(nodes, values, strict=True):
                if not np.isfinite(array).all():
                    return float(values[-1]), _describe(node, np.asarray(array))
        return math.nan, ""


def _describe(node: Expr, array: Array) -> str:
    bad = array[~np.isfinite(array)]
    text = str(node)
    where = "" if not array.shape else f" ({bad.size} of {array.size} values)"
    return f"{text if len(text) <= 60 else text[:57] + '...'} = {bad.flat[0]}{where}"


@contextmanager
def _interruptible() -> Iterator[Callable[[], bool]]:
    """Within, the first Ctrl-C only asks to stop (the state stays whole), the second raises as usual."""
    pressed: list[int] = []
    ours = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is signal.default_int_handler

    def note(number: int, frame: Any) -> None:
        if pressed:
            raise KeyboardInterrupt
        pressed.append(number)

    if ours:
        signal.signal(signal.SIGINT, note)
    try:
        yield lambda: bool(pressed)
    finally:
        if ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)
