"""Pictures of training: loss curves, decision boundaries, predictions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from symgrad import pipeline
from symgrad.errors import ShapeError
from symgrad.expr import Array, Expr
from symgrad.show.picture import Picture, figure, legend, tidy
from symgrad.show.themes import LIGHT, Theme, theme_named

__all__ = ["boundary_figure", "confusion_figure", "history_figure", "images_figure", "plot_decision_boundary", "regression_figure"]

MESH = 300  # points along each side of a decision boundary's picture


def plot_decision_boundary(
    model: Any, X: Any, y: Any, params: Mapping[Any, Any] | None = None, *, test: tuple[Any, Any] | None = None,
    classes: Sequence[str] | None = None, names: tuple[str, str] = ("x₁", "x₂"), title: str = "", theme: str = "light",
) -> Picture:
    """What a classifier says everywhere in the plane, behind the points that it was trained on.

    ``model``: an expression of the points, whose other symbols have their values in ``params`` (``fit.params``); a compiled ``Function``,
    likewise; or a function of an array of points (m, 2). It gives a score for each point, positive for the second of two classes, or
    logits (m, classes). ``X``: points (n, 2); ``y``: their labels, of any kind, in the order in which they sort. ``test``: points and
    labels that the model has not seen, drawn faintly. ``classes``: what the labels are called; ``names``: the axes.
    ``theme``: "light" or "dark".

    Returns a :class:`Picture`. Raises ``ShapeError`` for points that are not in a plane and scores that fit neither form, ``TypeError``
    where not exactly one symbol of the model is without a value.

    >>> import numpy as np, symgrad as sg
    >>> x = sg.symbol("x", ("n", 2))
    >>> points = np.random.default_rng(0).normal(size=(50, 2))
    >>> sg.plot_decision_boundary(x[:, 0] * x[:, 1], points, np.sign(points[:, 0] * points[:, 1])).axes[0].get_xlabel()
    'x₁'
    """
    colours = theme_named(theme)
    sets = [(np.asarray(a, dtype=float), np.asarray(b)) for a, b in ((X, y), *([test] if test is not None else []))]
    for points, labels in sets:
        if points.ndim != 2 or points.shape[1] != 2 or labels.shape not in ((len(points),), (len(points), 1)):
            raise ShapeError(f"a decision boundary is drawn for points (n, 2) with labels (n,), not {points.shape} with {labels.shape}")
    known, numbers = np.unique(np.concatenate([labels.ravel() for _, labels in sets]), return_inverse=True)
    if len(known) < 2:
        raise ValueError(f"a decision boundary lies between classes, there is one: {known[:1]}")
    called = [f"{c:g}" if known.dtype.kind == "f" else str(c) for c in known] if classes is None else list(classes)
    if len(called) != len(known):
        raise ValueError(f"{len(called)} names for {len(known)} classes")
    split = len(sets[0][0])
    held_out = (sets[1][0], numbers[split:]) if len(sets) > 1 else None
    score = _score(model, params or {}, len(known))
    return boundary_figure(score, (sets[0][0], numbers[:split]), held_out, called, title, names, colours)


def _score(model: Any, params: Mapping[Any, Any], classes: int) -> Callable[[Array], Array]:
    """The model as a function of points, its results checked: (m,) or (m, classes)."""
    function: Any = pipeline.compile(model, wrt=[]) if isinstance(model, Expr) else model
    values = {getattr(key, "name", key): value for key, value in params.items()}
    named = hasattr(function, "inputs")
    if named:
        names = [s.name for s in function.inputs]
        free = [name for name in names if name not in values]
        if len(free) != 1:
            listed = ", ".join(free) or "none"
            raise TypeError(f"which symbol are the points? Without a value are {listed}: give the others in params (fit.params)")
        values = {name: value for name, value in values.items() if name in names}

    def score(points: Array) -> Array:
        said = function(**values, **{free[0]: points}) if named else function(points)
        result: Array = np.asarray(said).astype(float)
        if result.shape == (len(points), 1):
            result = result[:, 0]
        if result.shape not in ((len(points),), (len(points), classes)) or (result.ndim == 1 and classes != 2):
            raise ShapeError(f"scores of {len(points)} points have shape {result.shape}; for {classes} classes "
                             + ("(n,) is needed, or (n, 2)" if classes == 2 else f"(n, {classes}) is needed"))
        return result

    return score


def history_figure(history: Mapping[str, Array], title: str = "", theme: Theme = LIGHT) -> Picture:
    """Losses over the epochs (logarithmic where they span more than a decade); metrics in a panel of their own."""
    losses = {k: v for k, v in history.items() if k in ("loss", "val_loss")}
    metrics = {k: v for k, v in history.items() if k not in losses}
    fig = figure(6.4 if not metrics else 9.6, 3.8, theme)
    axes = np.atleast_1d(fig.subplots(1, 2 if metrics else 1))
    for ax, group, name in zip(axes, (losses, metrics), ("loss", "metrics"), strict=False):
        for colour, (label, values) in zip(theme.curves * 3, group.items(), strict=False):
            epochs = np.arange(1, len(values) + 1)
            ax.plot(epochs, values, color=colour, lw=1.8, label=label, marker="o" if len(values) == 1 else None)
        _last_values(ax, group, theme)
        finite = np.concatenate([np.asarray(v)[np.isfinite(v)] for v in group.values()]) if group else np.empty(0)
        if name == "loss" and finite.size and finite.min() > 0 and finite.max() > 10 * finite.min():
            from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

            ax.set_yscale("log")
            few = finite.max() < 1000 * finite.min()
            ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if few else (1.0,)))
            ax.yaxis.set_major_formatter(FuncFormatter(lambda value, position: f"{value:g}"))
            ax.yaxis.set_minor_locator(NullLocator())
        ax.grid(axis="y", color=theme.faint, lw=0.6, alpha=0.7)
        ax.margins(x=0.02)
        tidy(ax, theme, "Metrics" if name == "metrics" else title or "Loss", "epoch", "")
        if len(group) > 1:
            legend(ax, theme, frameon=False)
    return Picture(fig)


def _last_values(ax: Any, group: Mapping[str, Array], theme: Theme) -> None:
    """Where each curve ends, beside its end; where ends lie close together, one above the other."""
    curves = [(colour, values) for colour, values in zip(theme.curves * 3, group.values(), strict=False) if len(values)]
    ends = [(float(values[-1]), len(values), colour) for colour, values in curves if np.isfinite(values[-1])]
    shown = np.concatenate([np.asarray(v)[np.isfinite(v)] for v in group.values()]) if ends else np.empty(0)
    close = ends and max(e[0] for e in ends) - min(e[0] for e in ends) < 0.06 * (shown.max() - shown.min())
    for k, (value, epoch, colour) in enumerate(sorted(ends)):
        lift = 10 * (k - (len(ends) - 1) / 2) if close else 0
        ax.annotate(f"{value:.3g}", (epoch, value), xytext=(5, lift), textcoords="offset points", va="center", fontsize=8, color=colour)


def boundary_figure(
    score: Callable[[Array], Array], train: tuple[Array, Array], test: tuple[Array, Array] | None, classes: Sequence[str],
    title: str, axis_names: tuple[str, str], theme: Theme = LIGHT,
) -> Picture:
    """What a classifier of points in the plane says everywhere, behind the points it was trained and tested on.

    ``score``: (m, 2) points → (m,) margins for two classes (positive: the second), or (m, classes) logits.
    ``train``, ``test``: points and class numbers.
    """
    fig = figure(6.4, 5.2, theme)
    ax = fig.subplots()
    everything = np.concatenate([train[0]] + ([test[0]] if test is not None else []))
    low, high = everything.min(axis=0), everything.max(axis=0)
    pad = 0.12 * np.maximum(high - low, 1e-9)
    gx, gy = (np.linspace(a, b, MESH) for a, b in zip(low - pad, high + pad, strict=True))
    mx, my = np.meshgrid(gx, gy)
    z = score(np.stack([mx.ravel(), my.ravel()], axis=1))
    if z.ndim == 1:
        z = z.reshape(mx.shape)
        shade = np.tanh(z / 2)
        from matplotlib.colors import LinearSegmentedColormap

        colours = LinearSegmentedColormap.from_list("classes", theme.ramp)
        ax.contourf(mx, my, shade, levels=np.linspace(-1, 1, 25), cmap=colours, extend="both", zorder=0)
        for levels, style in (([-1, 1], {"linewidths": 0.7, "linestyles": "dashed", "alpha": 0.5}), ([0], {"linewidths": 1.6})):
            if any(z.min() < level < z.max() for level in levels):
                ax.contour(mx, my, z, levels=levels, colors=theme.ink, zorder=1, **style)
    else:
        _shade_classes(ax, mx, my, z.reshape(*mx.shape, -1), theme)
    cycle = theme.curves * (1 + len(classes) // len(theme.curves))
    if test is not None:
        for k, colour in enumerate(cycle[: len(classes)]):
            ax.scatter(*test[0][test[1] == k].T, s=7, color=colour, alpha=0.45, lw=0, zorder=2)
    for k, colour in enumerate(cycle[: len(classes)]):
        ax.scatter(*train[0][train[1] == k].T, s=30, color=colour, edgecolor=theme.ground, lw=0.8, zorder=3, label=str(classes[k]))
    ax.set_xlim(gx[0], gx[-1])
    ax.set_ylim(gy[0], gy[-1])
    tidy(ax, theme, title, *axis_names)
    legend(ax, theme)
    return Picture(fig)


def _shade_classes(ax: Any, mx: Array, my: Array, logits: Array, theme: Theme) -> None:
    from matplotlib.colors import to_rgb

    p = np.exp(logits - logits.max(axis=-1, keepdims=True))
    p /= p.sum(axis=-1, keepdims=True)
    count = p.shape[-1]
    base = np.array([to_rgb(c) for c in (theme.curves * (1 + count // len(theme.curves)))[:count]])
    ground = np.array(to_rgb(theme.ground))
    picture = ground + 0.42 * (p @ (base - ground))
    ax.imshow(picture, origin="lower", extent=(mx[0, 0], mx[0, -1], my[0, 0], my[-1, 0]), aspect="auto", zorder=0, interpolation="bilinear")
    winner = p.argmax(axis=-1)
    for k in range(count):
        if 0 < np.count_nonzero(winner == k) < winner.size:
            ax.contour(mx, my, (winner == k).astype(float), levels=[0.5], colors=theme.ground, linewidths=1.2, zorder=1)


def images_figure(images: Array, labels: Array, predicted: Array, title: str) -> Picture:
    """Test images with what the network said: the mistakes first, in colour, then others."""
    wrong, right = np.flatnonzero(labels != predicted), np.flatnonzero(labels == predicted)
    shown = np.concatenate([wrong[:20], right])[:40]
    fig = figure(7.2, 5.2, LIGHT)
    axes = fig.subplots(5, 8).ravel()
    for ax in axes:
        ax.axis("off")
    for ax, i in zip(axes, shown, strict=False):
        ax.imshow(images[i], cmap="Greys", interpolation="nearest")
        mistaken = labels[i] != predicted[i]
        ax.set_title(f"{predicted[i]}, is {labels[i]}" if mistaken else f"{predicted[i]}", fontsize=8, pad=2,
                     color=LIGHT.curves[1] if mistaken else LIGHT.ink, fontweight="bold" if mistaken else "normal")
    fig.suptitle(title, x=0.01, ha="left", color=LIGHT.ink, fontsize=11, fontweight="bold")
    return Picture(fig)


def confusion_figure(labels: Array, predicted: Array, classes: Sequence[str], title: str) -> Picture:
    """How often each class was taken for each: rows the truth, columns the prediction."""
    counts = np.zeros((len(classes), len(classes)), dtype=int)
    np.add.at(counts, (labels, predicted), 1)
    side = min(9.0, 2.8 + 0.45 * len(classes))
    fig = figure(side, side, LIGHT)
    ax = fig.subplots()
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    ax.imshow(share, cmap="Blues", vmin=0, vmax=1)
    if len(classes) <= 20:
        for (i, j), n in np.ndenumerate(counts):
            if n:
                ax.text(j, i, str(n), ha="center", va="center", fontsize=8, color="white" if share[i, j] > 0.55 else LIGHT.ink)
        tilted = max(map(len, classes)) > 4
        ax.set_xticks(range(len(classes)), classes, rotation=45 if tilted else 0, ha="right" if tilted else "center")
        ax.set_yticks(range(len(classes)), classes)
    tidy(ax, LIGHT, title, "predicted", "true")
    return Picture(fig)


def regression_figure(target: Array, predicted: Array, name: str, title: str) -> Picture:
    """Predicted against true values of test data, with the diagonal where they are equal."""
    fig = figure(5.2, 5.0, LIGHT)
    ax = fig.subplots()
    low, high = min(target.min(), predicted.min()), max(target.max(), predicted.max())
    ax.plot([low, high], [low, high], color=LIGHT.ink, lw=1, ls="dashed", alpha=0.6)
    ax.scatter(target, predicted, s=22, color=LIGHT.curves[0], edgecolor="white", lw=0.6, alpha=0.9)
    ax.grid(color=LIGHT.faint, lw=0.6, alpha=0.7)
    tidy(ax, LIGHT, title, f"{name}, true", f"{name}, predicted")
    return Picture(fig)
