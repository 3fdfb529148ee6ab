"""BOUNDARY: what a classifier says in the plane or along a line, behind the points that it was trained on."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from symgrad import pipeline
from symgrad.errors import ShapeError
from symgrad.expr import Array, Expr, symbol
from symgrad.show.picture import Picture, figure, legend, tidy
from symgrad.show.themes import LIGHT, Theme, theme_named

__all__ = ["boundary_figure", "plot_decision_boundary"]

MESH = 300  # points along each side of a decision boundary's picture
MARKERS = "os^Dv"
LISTED = 8  # classes that are listed inside of a picture
MOST_REAL = 20  # labels that are no whole numbers and yet classes


def plot_decision_boundary(
    model: Any, X: Any, y: Any, params: Mapping[Any, Any] | None = None, *, test: tuple[Any, Any] | None = None,
    classes: Sequence[str] | None = None, names: tuple[str, str] = ("x₁", "x₂"), title: str = "", theme: str | None = None,
) -> Picture:
    """What a classifier says everywhere in the plane, behind the points that it was trained on.

    ``model``: an expression of the points, whose other symbols have their values in ``params`` (``fit.params``); a compiled ``Function``
    or a network of :mod:`symgrad.nn`, likewise; or a function of an array of points (m, 2). It gives a score for each point, positive for
    the second of two classes, or logits (m, classes). ``X``: points (n, 2), or (n, 1): then the scores, or the classes' probabilities, are
    curves over a line. ``y``: their labels, of any kind, in the order in which they sort. ``test``: points and labels that the model has
    not seen, drawn faintly. ``classes``: what the labels are called; ``names``: the axes. ``theme``: "light" or "dark", by
    default what ``SYMGRAD_THEME`` says.

    Returns a :class:`Picture`. Raises ``ShapeError`` for points that are in no plane and scores that fit neither form, ``TypeError``
    where not exactly one symbol of the model is without a value, ``ValueError`` for points that are not finite and labels that are no
    classes.

    >>> import numpy as np, symgrad as sg
    >>> x = sg.symbol("x", ("n", 2))
    >>> points = np.random.default_rng(0).normal(size=(50, 2))
    >>> sg.plot_decision_boundary(x[:, 0] * x[:, 1], points, np.sign(points[:, 0] * points[:, 1])).axes[0].get_xlabel()
    'x₁'
    """
    colours = theme_named(theme)
    if test is not None and not (isinstance(test, (tuple, list)) and len(test) == 2):
        raise TypeError("test is two arrays, points and their labels: test=(X_test, y_test)")
    sets = [_points(a, b) for a, b in ((X, y), *([test] if test is not None else []))]
    if len({points.shape[1] for points, _ in sets}) > 1:
        raise ShapeError(f"points of training are {sets[0][0].shape}, those of the test {sets[1][0].shape}")
    known, numbers = np.unique(np.concatenate([labels for _, labels in sets]), return_inverse=True)
    _check_classes(known)
    called = [f"{c:g}" if known.dtype.kind == "f" else str(c) for c in known] if classes is None else list(classes)
    if len(called) != len(known):
        raise ValueError(f"{len(called)} names for {len(known)} classes")
    width = sets[0][0].shape[1]
    if len(names) < width:
        raise ValueError(f"names are those of the axes, ({', '.join(map(repr, names))}) are {len(names)} for {width}")
    split = len(sets[0][0])
    held_out = (sets[1][0], numbers[split:]) if len(sets) > 1 else None
    score = _score(model, params, len(known), width)
    score(sets[0][0])  # what is wrong with it is said of the user's points rather than of the mesh
    drawn = boundary_figure if width == 2 else line_figure
    return drawn(score, (sets[0][0], numbers[:split]), held_out, called, title, names, colours)


def _points(points: Any, labels: Any) -> tuple[Array, Array]:
    try:
        points = np.asarray(points, dtype=float)
    except (TypeError, ValueError):
        raise TypeError("a decision boundary is drawn for points (n, 2) that are numbers") from None
    labels = np.asarray(labels)
    if points.ndim == 1:
        points = points[:, None]
    if points.ndim != 2 or points.shape[1] not in (1, 2) or labels.shape not in ((len(points),), (len(points), 1)):
        raise ShapeError("a decision boundary is drawn for points (n, 2) or (n, 1) with labels (n,), "
                         f"not {points.shape} with {labels.shape}")
    if not np.isfinite(points).all():
        raise ValueError(f"{np.count_nonzero(~np.isfinite(points).all(axis=1))} of {len(points)} points are not finite")
    return points, labels.ravel()


def _check_classes(known: Array) -> None:
    if len(known) < 2:
        raise ValueError(f"a decision boundary lies between classes, there is {'only ' + str(known[0]) if len(known) else 'none'}")
    if known.dtype.kind == "f" and len(known) > MOST_REAL and (known != np.round(known)).any():
        raise ValueError(f"a decision boundary lies between classes, and these labels are {len(known)} different real numbers: "
                         "a regression's prediction is drawn against its target, or over an input by sg.plot")


def _score(model: Any, params: Mapping[Any, Any] | None, classes: int, width: int) -> Callable[[Array], Array]:
    """The model as a function of points, its results checked: (m,) or (m, classes)."""
    if params is not None and not isinstance(params, Mapping):
        raise TypeError(f"params is a dict, name → array, as fit.params is, not {type(params).__name__}")
    if hasattr(model, "parameters") and callable(model):  # a network
        model = model(symbol("points", ("n", width)))
    if not isinstance(model, Expr) and not callable(model):
        raise TypeError("a model is an expression of the points, as net(x) is, a compiled function, or a function of an array, "
                        f"not {type(model).__name__}")
    function: Any = pipeline.compile(model, wrt=[]) if isinstance(model, Expr) else model
    values = {getattr(key, "name", key): value for key, value in (params or {}).items()}
    named = hasattr(function, "inputs")
    line = False  # whether the points are numbers rather than rows of one
    if named:
        free = [s for s in function.inputs if s.name not in values]
        if len(free) != 1:
            listed = ", ".join(s.name for s in free) or "none"
            raise TypeError(f"which symbol are the points? Without a value are {listed}: give the others in params (fit.params)")
        line = width == 1 and free[0].ndim < 2
        values = {s.name: values[s.name] for s in function.inputs if s.name in values}

    def score(points: Array) -> Array:
        given = points[:, 0] if line else points
        said = function(**values, **{free[0].name: given}) if named else function(given)
        result: Array = np.asarray(said).astype(float)
        if result.shape == (len(points), 1):
            result = result[:, 0]
        if result.shape not in ((len(points),), (len(points), classes)) or (result.ndim == 1 and classes != 2):
            raise ShapeError(f"scores of {len(points)} points have shape {result.shape}; for {classes} classes "
                             + ("(n,) is needed, or (n, 2)" if classes == 2 else f"(n, {classes}) is needed"))
        return result

    return score


def boundary_figure(
    score: Callable[[Array], Array], train: tuple[Array, Array], test: tuple[Array, Array] | None, classes: Sequence[str],
    title: str, axis_names: Sequence[str], theme: Theme = LIGHT,
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
    _scatter(ax, train, test, classes, theme)
    ax.set_xlim(gx[0], gx[-1])
    ax.set_ylim(gy[0], gy[-1])
    tidy(ax, theme, title, *axis_names[:2])
    _name_classes(ax, theme, len(classes))
    return Picture(fig)


def _shade_classes(ax: Any, mx: Array, my: Array, logits: Array, theme: Theme) -> None:
    from matplotlib.colors import to_rgb

    p = _shares(logits)
    count = p.shape[-1]
    base = np.array([to_rgb(c) for c in (theme.curves * (1 + count // len(theme.curves)))[:count]])
    ground = np.array(to_rgb(theme.ground))
    picture = ground + 0.42 * (p @ (base - ground))
    ax.imshow(picture, origin="lower", extent=(mx[0, 0], mx[0, -1], my[0, 0], my[-1, 0]), aspect="auto", zorder=0, interpolation="bilinear")
    winner = p.argmax(axis=-1)
    for k in range(count):
        if 0 < np.count_nonzero(winner == k) < winner.size:
            ax.contour(mx, my, (winner == k).astype(float), levels=[0.5], colors=theme.ground, linewidths=1.2, zorder=1)


def _scatter(ax: Any, train: tuple[Array, Array], test: tuple[Array, Array] | None, classes: Sequence[str], theme: Theme) -> None:
    """Points in their classes' colours; where there are more classes than colours, in other shapes, too."""
    for k, name in enumerate(classes):
        colour, marker = theme.curves[k % len(theme.curves)], MARKERS[k // len(theme.curves) % len(MARKERS)]
        if test is not None:
            ax.scatter(*test[0][test[1] == k].T, s=7, color=colour, alpha=0.45, lw=0, zorder=2, marker=marker)
        ax.scatter(*train[0][train[1] == k].T, s=30, color=colour, edgecolor=theme.ground, lw=0.8, zorder=3, label=name, marker=marker)


def _name_classes(ax: Any, theme: Theme, count: int) -> None:
    """Few classes where they hide least, many beside the picture."""
    if count > LISTED:
        legend(ax, theme, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    else:
        legend(ax, theme)


def line_figure(
    score: Callable[[Array], Array], train: tuple[Array, Array], test: tuple[Array, Array] | None, classes: Sequence[str],
    title: str, axis_names: Sequence[str], theme: Theme = LIGHT,
) -> Picture:
    """What a classifier of numbers says along a line: its score, or each class's probability, with the points on the curves.

    Arguments as those of :func:`boundary_figure`, points (n, 1).
    """
    fig = figure(6.4, 4.0, theme)
    ax = fig.subplots()
    everything = np.concatenate([train[0]] + ([test[0]] if test is not None else []))
    low, high = float(everything.min()), float(everything.max())
    pad = 0.12 * max(high - low, 1e-9)
    along = np.linspace(low - pad, high + pad, 2 * MESH + 1)
    z = score(along[:, None])
    heights = np.stack([z, z], axis=1) if z.ndim == 1 else _shares(z)
    for k in range(1 if z.ndim == 1 else heights.shape[1]):
        colour = theme.ink if z.ndim == 1 else theme.curves[k % len(theme.curves)]
        ax.plot(along, heights[:, k], color=colour, lw=1.8, zorder=2)
    says = (z > 0).astype(int) if z.ndim == 1 else z.argmax(axis=1)
    edges = [0, *(np.flatnonzero(np.diff(says)) + 1), len(along)]
    for a, b in itertools.pairwise(edges):
        ax.axvspan(along[a], along[min(b, len(along) - 1)], color=theme.curves[says[a] % len(theme.curves)], alpha=0.16, lw=0, zorder=0)
        if a:
            ax.axvline(along[a], color=theme.ink, lw=1.2, zorder=1)
    if z.ndim == 1:
        ax.axhline(0, color=theme.muted, lw=0.8, zorder=1)
    on_curves = [None if s is None else (_on_curves(score, *s), s[1]) for s in (train, test)]
    assert on_curves[0] is not None  # there are points of training
    _scatter(ax, on_curves[0], on_curves[1], classes, theme)
    ax.set_xlim(along[0], along[-1])
    tidy(ax, theme, title, axis_names[0], "score" if z.ndim == 1 else "probability")
    _name_classes(ax, theme, len(classes))
    return Picture(fig)


def _on_curves(score: Callable[[Array], Array], points: Array, numbers: Array) -> Array:
    z = score(points)
    return np.stack([points[:, 0], z if z.ndim == 1 else _shares(z)[np.arange(len(z)), numbers]], axis=1)


def _shares(logits: Array) -> Array:
    """Probabilities."""
    p = np.exp(logits - logits.max(axis=-1, keepdims=True))
    shares: Array = p / p.sum(axis=-1, keepdims=True)
    return shares
