"""``symgrad train``: data, network, formulas, training, scores, files."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from typing import Any

import click
import numpy as np

from symgrad.cli.datasets import Dataset, load

__all__ = ["run"]

Array = np.ndarray[Any, Any]


@dataclass
class Settings:
    """Defaults of a data set; the command line overrides them."""

    hidden: tuple[int, ...] = (32, 32)
    activation: str = "relu"
    optimizer: str = "adam"
    lr: float = 3e-3
    l2: float = 1e-5
    epochs: int = 200
    batch_size: int | None = 32


SETTINGS = {
    "moons": Settings((16, 16), optimizer="sgd", lr=1.0, l2=1e-4, epochs=100, batch_size=None),
    "spiral": Settings((32, 32), "tanh", lr=1e-2, epochs=1000, batch_size=None),
    "digits": Settings((64, 32), lr=3e-3, l2=0.0, epochs=30),
}


def _settings(name: str, options: dict[str, Any]) -> Settings:
    settings = SETTINGS.get(name, Settings())
    hidden = options.pop("hidden")
    if hidden is not None:
        try:
            sizes = tuple(int(s) for s in hidden.split(",") if s.strip())
        except ValueError:
            raise ValueError(f"--hidden {hidden!r}: sizes separated by commas, as in 16,16") from None
        options["hidden"] = () if sizes == (0,) else sizes
    changed = {k: v for k, v in options.items() if v is not None}
    return Settings(**{**settings.__dict__, **changed})


def run(data: str, *, target: str | None, task: str, seed: int, out: str, dtype: str, **options: Any) -> None:
    """The whole command; raises ``ValueError`` or ``OSError`` for bad input."""
    import symgrad as sg

    if seed < 0:
        raise ValueError(f"--seed is at least 0, not {seed}")
    settings = _settings(data, options)
    for option, value in (("lr", settings.lr), ("l2", settings.l2)):
        if not 0 <= value < np.inf:
            raise ValueError(f"--{option} is a number from 0 on, not {value}")
    dataset = load(data, target=target, task=task, seed=seed)
    os.makedirs(out, exist_ok=True)
    if settings.batch_size is not None and options.get("batch_size") is None:
        settings.batch_size = min(settings.batch_size, len(dataset.train[0]))

    width = len(dataset.classes) if dataset.task == "classes" else 1
    net = sg.nn.MLP(len(dataset.features), [*settings.hidden, width], activation=settings.activation)
    x = sg.symbol("x", ("n", net.inputs))
    loss, target_values = _loss(dataset, net, x, hinge=data == "moons")
    if settings.l2:
        loss = loss + settings.l2 * net.l2()
    numbers: dict[str, float] = {}
    optimizer = _optimizer(settings, len(dataset.train[0]), numbers)

    _print_network(dataset, net, loss, settings)
    inputs = {"x": dataset.train[0], "t": target_values, **numbers}
    training = sg.train.prepare(loss, net.init(seed=seed), inputs, optimizer=optimizer, epochs=settings.epochs,
                                batch_size=settings.batch_size, seed=seed, dtype=dtype)
    _print_compiled(training.fit)
    click.echo(f"\nTraining  {settings.epochs} epochs, {settings.optimizer}, "
               + ("all samples in each step" if settings.batch_size is None else f"batches of {settings.batch_size}"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a loss that is not finite is told in the last line
        fit = training.run()

    predict = sg.compile(net(x), dtype=dtype)

    def outputs(points: Array) -> Array:
        known = {"x": np.asarray(points, dtype=dtype), **fit.params}
        return np.asarray(predict(**{s.name: known[s.name] for s in predict.inputs}))

    _print_scores(dataset, fit, outputs)
    _write(out, dataset, net, settings, fit, outputs)
    if fit.failure is not None:
        raise fit.failure
    if fit.stopped.startswith("interrupted"):
        raise KeyboardInterrupt


def _loss(dataset: Dataset, net: Any, x: Any, *, hinge: bool) -> tuple[Any, Array]:
    """The loss as an expression of x and t, and the targets as it wants them."""
    import symgrad as sg

    targets = dataset.train[1]
    if dataset.task == "classes":
        return sg.nn.cross_entropy(net(x), sg.symbol("t", "n", integer=True)), targets
    t = sg.symbol("t", "n")
    if dataset.task == "regression":
        return sg.nn.mse(net(x)[:, 0], t), targets
    if hinge:
        return sg.nn.hinge(net(x)[:, 0], t), 2.0 * targets - 1.0
    return sg.nn.binary_cross_entropy(net(x)[:, 0], t), targets


def _optimizer(settings: Settings, samples: int, numbers: dict[str, float]) -> Any:
    """Adam at a constant rate; SGD at one that falls linearly to a tenth. The rate and the number of steps are inputs of
    the loop (``numbers``), so that changing them compiles nothing again."""
    import symgrad as sg

    if settings.optimizer == "adam":
        return sg.optim.Adam(settings.lr)
    steps = settings.epochs * -(-samples // max(settings.batch_size or samples, 1))
    numbers.update(lr=settings.lr, steps=float(max(steps, 1)))
    return sg.optim.SGD(sg.symbol("lr") * (1.0 - 0.9 * sg.optim.step / sg.symbol("steps")))


def _print_network(dataset: Dataset, net: Any, loss: Any, settings: Settings) -> None:
    click.echo(f"{dataset.name}: {len(dataset.train[0])} samples to learn from, {len(dataset.test[0])} to test on, "
               f"{len(dataset.features)} inputs, " + (f"{len(dataset.classes)} classes" if dataset.classes else f"target {dataset.target}"))
    click.echo(f"\nNetwork  {net!r}, {net.size} parameters")
    for k, layer in enumerate(net.layers, start=1):
        activation = "" if layer.activation.name == "identity" else layer.activation.name
        click.echo(f"  layer {k}  {layer.inputs} → {layer.outputs:<4} {activation}".rstrip())
    click.echo(f"\nLoss\n  {_indent(str(loss))}")


def _indent(text: str) -> str:
    return text.replace("\n", "\n  ")


def _print_compiled(fit: Any) -> None:
    click.echo(f"\nUpdate formulas\n  {_indent(str(fit.step.formulas))}")
    stages = ", ".join(f"{stage} {seconds * 1e3:.0f}" for stage, seconds in fit.timings.items() if stage != "total" and seconds >= 1e-3)
    origin = "loaded from the disk cache" if fit.step.cached else "forward pass, gradient, update and the loop over batches as one function"
    click.echo(f"\nCompiled  {origin}, in {fit.timings['total']:.2f} s\n  milliseconds: {stages}\n  kernels: {fit.step.schedule[0]}")


def _accuracy(dataset: Dataset, outputs: Array, labels: Array) -> float:
    predicted = outputs.argmax(axis=1) if dataset.task == "classes" else (outputs[:, 0] > 0).astype(int)
    return float((predicted == labels).mean()) if len(labels) else float("nan")


def _print_scores(dataset: Dataset, fit: Any, outputs: Any) -> None:
    if fit.stopped:
        click.echo(f"\nTraining {fit.stopped}")
    loss = f", last loss {fit.history['loss'][-1]:.4g}" if fit.epoch else ""
    click.echo(f"\nScores  after {fit.epoch} epochs in {fit.timings['train'] * 1e3:.1f} ms{loss}")
    for name, (x, y) in (("training", dataset.train), ("test", dataset.test)):
        if not len(x):
            continue
        if dataset.task == "regression":
            error = (outputs(x)[:, 0] - y) * dataset.target_scale
            spread = ((y - y.mean()) * dataset.target_scale) @ ((y - y.mean()) * dataset.target_scale)
            r2 = f"R² {1 - error @ error / spread:.4f}" if spread else "R² undefined (constant target)"
            click.echo(f"  {name:<9} {r2}, root mean square error {np.sqrt((error**2).mean()):.4g}")
        else:
            score = _accuracy(dataset, outputs(x), y)
            click.echo(f"  {name:<9} accuracy {100 * score:.2f} %  ({round(score * len(y))} of {len(y)})")


def _write(out: str, dataset: Dataset, net: Any, settings: Settings, fit: Any, outputs: Any) -> None:
    from symgrad.errors import MissingDependencyError

    stem = os.path.splitext(os.path.basename(dataset.name))[0] or "model"
    path = os.path.join(out, f"{stem}.npz")
    extra: dict[str, Any] = {"input_centre": dataset.centre, "input_scale": dataset.scale, "target_centre": np.array(dataset.target_centre),
             "target_scale": np.array(dataset.target_scale), "features": np.array(dataset.features, dtype=np.str_),
             "classes": np.array(dataset.classes, dtype=np.str_), "activation": np.array(net.activation.name)}
    with open(path, "wb") as file:
        np.savez(file, **{**fit.params, **extra})
    click.echo(f"\nWritten\n  {path}  parameters {', '.join(fit.params)}, and the scaling of the inputs")
    try:
        for name, figure, what in _pictures(dataset, net, fit, outputs):
            figure.save(os.path.join(out, name))
            click.echo(f"  {os.path.join(out, name)}  {what}")
    except MissingDependencyError as error:
        click.echo(f"  no pictures: {error}", err=True)


def _pictures(dataset: Dataset, net: Any, fit: Any, outputs: Any) -> Any:
    from symgrad.train import boundary, pictures

    layers = "-".join(map(str, (net.inputs, *net.sizes)))
    title = f"{os.path.basename(dataset.name)}: {layers}, {net.activation.name}"
    yield "loss.png", pictures.history_figure(fit.history, f"Loss of {title}"), "the loss over the epochs"
    (x, y), (x_test, y_test) = dataset.train, dataset.test
    said = outputs(x_test)
    if dataset.task == "regression":
        true, predicted = (v * dataset.target_scale + dataset.target_centre for v in (y_test, said[:, 0]))
        yield "predictions.png", pictures.regression_figure(true, predicted, dataset.target, title), "predictions of the test data"
        return
    if len(dataset.features) == 2:
        def score(points: Array) -> Array:
            result = outputs((points - dataset.centre) / dataset.scale)
            return result if dataset.task == "classes" else result[:, 0]

        figure = boundary.boundary_figure(score, (dataset.raw(x), y), (dataset.raw(x_test), y_test), dataset.classes, title,
                                          (dataset.features[0], dataset.features[1]))
        yield "boundary.png", figure, "the decision boundary"
        return
    predicted = said.argmax(axis=1) if dataset.task == "classes" else (said[:, 0] > 0).astype(int)
    if dataset.image_shape is not None:
        images = dataset.raw(x_test).reshape(-1, *dataset.image_shape)
        yield "predictions.png", pictures.images_figure(images, y_test, predicted, title), "test images, mistakes first"
    yield "confusion.png", pictures.confusion_figure(y_test, predicted, dataset.classes, title), "which class was taken for which"


