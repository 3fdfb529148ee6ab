"""Pictures of training: losses and metrics, images, confusions, predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from symgrad.expr import Array
from symgrad.show.picture import Picture, figure, legend, tidy
from symgrad.show.themes import LIGHT, Theme

__all__ = ["confusion_figure", "history_figure", "images_figure", "regression_figure"]

FEW = 3  # epochs
PANEL, LINE = 0.75, 10  # of a figure's height; points


def history_figure(history: Mapping[str, Array], title: str = "", theme: Theme = LIGHT, note: str = "") -> Picture:
    """Losses over the epochs (logarithmic where they span more than a decade); metrics in a panel of their own.

    ``note``: what is to be said about it, as why training ended.
    """
    losses = {k: v for k, v in history.items() if k in ("loss", "val_loss")}
    metrics = {k: v for k, v in history.items() if k not in losses}
    fig = figure(6.4 if not metrics else 9.6, 3.8, theme)
    axes = np.atleast_1d(fig.subplots(1, 2 if metrics else 1))
    for ax, group in zip(axes, (losses, metrics), strict=False):
        for colour, (label, values) in zip(theme.curves * 3, group.items(), strict=False):
            few = len(values) <= FEW
            ax.plot(np.arange(1, len(values) + 1), values, color=colour, lw=1.8, label=label, marker="o" if few else None, ms=4)
        _scale_epochs(ax, group, group is losses)
        _last_values(ax, group, theme)
        ax.grid(axis="y", color=theme.faint, lw=0.6, alpha=0.7)
        ax.margins(x=0.02)
        own = {name.removeprefix("val_") for name in group}
        tidy(ax, theme, title or "Loss" if group is losses else own.pop() if len(own) == 1 else "Metrics", "epoch", "")
        if len(group) > 1:
            legend(ax, theme, frameon=False)
    if note:
        axes[0].text(0.5, 0.98, note, transform=axes[0].transAxes, ha="center", va="top", color=theme.muted, fontsize=8, wrap=True)
    return Picture(fig)


def _scale_epochs(ax: Any, group: Mapping[str, Array], is_loss: bool) -> None:
    """Whole epochs; losses that span more than a decade in powers of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    ax.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))
    if max(map(len, group.values()), default=0) == 1:
        ax.set_xlim(0.5, 1.5)
    finite = _finite(group)
    if is_loss and finite.size and finite.min() > 0 and finite.max() > 10 * finite.min():
        ax.set_yscale("log")
        few = finite.max() < 1000 * finite.min()
        ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if few else (1.0,)))
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, position: _short(value, 6)))
        ax.yaxis.set_minor_locator(NullLocator())


def _finite(group: Mapping[str, Array]) -> Array:
    return np.concatenate([np.empty(0), *(np.asarray(v)[np.isfinite(v)] for v in group.values())])


def _short(value: float, digits: int) -> str:
    """``3.6e231``."""
    return f"{value:.{digits}g}".replace("e+", "e").replace("e0", "e").replace("e-0", "e-").replace("-", "−")


def _last_values(ax: Any, group: Mapping[str, Array], theme: Theme) -> None:
    """Where each curve ends, beside its end; where ends lie close together, one above the other."""
    curves = [(colour, values) for colour, values in zip(theme.curves * 3, group.values(), strict=False) if len(values)]
    ends = [(float(values[-1]), len(values), colour) for colour, values in curves if np.isfinite(values[-1])]
    ax.autoscale_view()
    room = 72 * ax.figure.get_size_inches()[1] * PANEL  # points from bottom to top
    lowest = -np.inf
    for value, epoch, colour in sorted(ends):
        height = room * ax.transAxes.inverted().transform(ax.transData.transform((epoch, value)))[1]
        placed = max(height, lowest)
        lowest = placed + LINE
        ax.annotate(_short(value, 3), (epoch, value), xytext=(5, placed - height), textcoords="offset points", va="center", fontsize=8,
                    color=colour)


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
