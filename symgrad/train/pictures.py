"""Pictures of training: loss curves, decision boundaries, predictions. Matplotlib, without touching its global state."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from symgrad.errors import MissingDependencyError

__all__ = ["boundary_figure", "confusion_figure", "history_figure", "images_figure", "regression_figure"]

Array = np.ndarray[Any, Any]
COLOURS = ("#2f6db5", "#e0722f", "#3d9a5f", "#9a5bb5", "#c9a227", "#4ab3b8", "#c2487c", "#7a7f87", "#8c6d46", "#5c6bc0")
INK, FAINT = "#26313d", "#c9d1d9"


def _figure(width: float, height: float) -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingDependencyError("pictures need matplotlib: pip install 'symgrad[viz]'") from None
    return Figure(figsize=(width, height), dpi=150, layout="constrained", facecolor="white")


def _tidy(ax: Any, title: str, x: str, y: str) -> None:
    ax.set_title(title, loc="left", color=INK, fontsize=11, fontweight="bold")
    ax.set_xlabel(x, color=INK, fontsize=9)
    ax.set_ylabel(y, color=INK, fontsize=9)
    ax.tick_params(colors=INK, labelsize=8, length=3)
    for side, spine in ax.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(FAINT)


def history_figure(history: Mapping[str, Array], title: str = "") -> Any:
    """Losses over the epochs (logarithmic where they span more than a decade); metrics in a panel of their own."""
    losses = {k: v for k, v in history.items() if k in ("loss", "val_loss")}
    metrics = {k: v for k, v in history.items() if k not in losses}
    figure = _figure(6.4 if not metrics else 9.6, 3.8)
    axes = np.atleast_1d(figure.subplots(1, 2 if metrics else 1))
    for ax, group, name in zip(axes, (losses, metrics), ("loss", "metrics"), strict=False):
        for colour, (label, values) in zip(COLOURS * 3, group.items(), strict=False):
            epochs = np.arange(1, len(values) + 1)
            ax.plot(epochs, values, color=colour, lw=1.8, label=label, marker="o" if len(values) == 1 else None)
            if len(values):
                last = ax.annotate(f"{values[-1]:.3g}", (epochs[-1], values[-1]), xytext=(5, 0), textcoords="offset points",
                                   va="center", fontsize=8, color=colour)
                last.set_in_layout(True)
        finite = np.concatenate([np.asarray(v)[np.isfinite(v)] for v in group.values()]) if group else np.empty(0)
        if name == "loss" and finite.size and finite.min() > 0 and finite.max() > 10 * finite.min():
            from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

            ax.set_yscale("log")
            ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            ax.yaxis.set_major_formatter(FuncFormatter(lambda value, position: f"{value:g}"))
            ax.yaxis.set_minor_locator(NullLocator())
        ax.grid(axis="y", color=FAINT, lw=0.6, alpha=0.7)
        ax.margins(x=0.02)
        _tidy(ax, title or {"loss": "Loss", "metrics": "Metrics"}[name], "epoch", "")
        if len(group) > 1:
            ax.legend(frameon=False, fontsize=8, labelcolor=INK)
    return figure


def boundary_figure(score: Callable[[Array], Array], train: tuple[Array, Array], test: tuple[Array, Array] | None, classes: Sequence[str],
                    title: str, axis_names: tuple[str, str]) -> Any:
    """What a classifier of points in the plane says everywhere, behind the points it was trained and tested on.

    ``score``: (m, 2) points → (m,) margins for two classes (positive: the second), or (m, classes) logits.
    ``train``, ``test``: points and class numbers.
    """
    figure = _figure(6.4, 5.2)
    ax = figure.subplots()
    everything = np.concatenate([train[0]] + ([test[0]] if test is not None else []))
    low, high = everything.min(axis=0), everything.max(axis=0)
    pad = 0.12 * np.maximum(high - low, 1e-9)
    gx, gy = (np.linspace(a, b, 300) for a, b in zip(low - pad, high + pad, strict=True))
    mx, my = np.meshgrid(gx, gy)
    z = score(np.stack([mx.ravel(), my.ravel()], axis=1))
    if z.ndim == 1:
        z = z.reshape(mx.shape)
        shade = np.tanh(z / 2)
        from matplotlib.colors import LinearSegmentedColormap

        colours = LinearSegmentedColormap.from_list("classes", ["#a9c6e8", "#f7f7f5", "#f6c9a8"])
        ax.contourf(mx, my, shade, levels=np.linspace(-1, 1, 25), cmap=colours, extend="both", zorder=0)
        ax.contour(mx, my, z, levels=[-1, 1], colors=INK, linewidths=0.7, linestyles="dashed", alpha=0.5, zorder=1)
        ax.contour(mx, my, z, levels=[0], colors=INK, linewidths=1.6, zorder=1)
    else:
        _shade_classes(ax, mx, my, z.reshape(*mx.shape, -1))
    if test is not None:
        for k, colour in zip(range(len(classes)), COLOURS * 10, strict=False):
            ax.scatter(*test[0][test[1] == k].T, s=7, color=colour, alpha=0.30, lw=0, zorder=2)
    for k, colour in zip(range(len(classes)), COLOURS * 10, strict=False):
        ax.scatter(*train[0][train[1] == k].T, s=30, color=colour, edgecolor="white", lw=0.8, zorder=3, label=str(classes[k]))
    ax.set_xlim(gx[0], gx[-1])
    ax.set_ylim(gy[0], gy[-1])
    _tidy(ax, title, *axis_names)
    ax.legend(frameon=True, framealpha=0.85, edgecolor="none", fontsize=8, labelcolor=INK, loc="best")
    return figure


def _shade_classes(ax: Any, mx: Array, my: Array, logits: Array) -> None:
    from matplotlib.colors import to_rgb

    p = np.exp(logits - logits.max(axis=-1, keepdims=True))
    p /= p.sum(axis=-1, keepdims=True)
    base = np.array([to_rgb(c) for c in (COLOURS * 10)[: p.shape[-1]]])
    picture = 1 - 0.42 * (p @ (1 - base))
    ax.imshow(picture, origin="lower", extent=(mx[0, 0], mx[0, -1], my[0, 0], my[-1, 0]), aspect="auto", zorder=0, interpolation="bilinear")
    winner = p.argmax(axis=-1)
    for k in range(p.shape[-1]):
        ax.contour(mx, my, (winner == k).astype(float), levels=[0.5], colors="white", linewidths=1.2, zorder=1)


def images_figure(images: Array, labels: Array, predicted: Array, title: str) -> Any:
    """Test images with what the network said: the mistakes first, in colour, then others."""
    wrong, right = np.flatnonzero(labels != predicted), np.flatnonzero(labels == predicted)
    shown = np.concatenate([wrong[:20], right])[:40]
    figure = _figure(7.2, 5.2)
    axes = figure.subplots(5, 8).ravel()
    for ax in axes:
        ax.axis("off")
    for ax, i in zip(axes, shown, strict=False):
        ax.imshow(images[i], cmap="Greys", interpolation="nearest")
        mistaken = labels[i] != predicted[i]
        ax.set_title(f"{predicted[i]}, is {labels[i]}" if mistaken else f"{predicted[i]}", fontsize=8, pad=2,
                     color=COLOURS[1] if mistaken else INK, fontweight="bold" if mistaken else "normal")
    figure.suptitle(title, x=0.01, ha="left", color=INK, fontsize=11, fontweight="bold")
    return figure


def confusion_figure(labels: Array, predicted: Array, classes: Sequence[str], title: str) -> Any:
    """How often each class was taken for each: rows the truth, columns the prediction."""
    counts = np.zeros((len(classes), len(classes)), dtype=int)
    np.add.at(counts, (labels, predicted), 1)
    side = min(9.0, 2.8 + 0.45 * len(classes))
    figure = _figure(side, side)
    ax = figure.subplots()
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    ax.imshow(share, cmap="Blues", vmin=0, vmax=1)
    if len(classes) <= 20:
        for (i, j), n in np.ndenumerate(counts):
            if n:
                ax.text(j, i, str(n), ha="center", va="center", fontsize=8, color="white" if share[i, j] > 0.55 else INK)
        tilted = max(map(len, classes)) > 4
        ax.set_xticks(range(len(classes)), classes, rotation=45 if tilted else 0, ha="right" if tilted else "center")
        ax.set_yticks(range(len(classes)), classes)
    _tidy(ax, title, "predicted", "true")
    return figure


def regression_figure(target: Array, predicted: Array, name: str, title: str) -> Any:
    """Predicted against true values of test data, with the diagonal where they are equal."""
    figure = _figure(5.2, 5.0)
    ax = figure.subplots()
    low, high = min(target.min(), predicted.min()), max(target.max(), predicted.max())
    ax.plot([low, high], [low, high], color=INK, lw=1, ls="dashed", alpha=0.6)
    ax.scatter(target, predicted, s=22, color=COLOURS[0], edgecolor="white", lw=0.6, alpha=0.9)
    ax.grid(color=FAINT, lw=0.6, alpha=0.7)
    _tidy(ax, title, f"{name}, true", f"{name}, predicted")
    return figure
