"""PLOT: curves with their derivatives and tangents, and expressions of two variables with their gradient fields."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from symgrad import dims
from symgrad.errors import ShapeError
from symgrad.expr import Array, Expr, as_expr, free_symbols, symbol
from symgrad.show.formulas import Formulas
from symgrad.show.mapped import NOTHING, PRIMES, Mapped, Variable, axis_name, derived, names
from symgrad.show.picture import Picture, figure, legend, tidy
from symgrad.show.plane import draw_plane
from symgrad.show.point import Point
from symgrad.show.sampling import Curve, sample, window
from symgrad.show.themes import Theme, theme_named
from symgrad.show.unicode import pretty

__all__ = ["plot"]

RANGE = (-5.0, 5.0)
TITLE = 64
DENSE = 80  # ups and downs
FLAT = 8  # times higher than a curve, and the curve is a line
FUNCTIONS = "fghuvw"  # what curves without a name are called, once there are derivatives
STYLES: tuple[dict[str, Any], ...] = (
    {"lw": 2.0, "zorder": 3}, {"lw": 1.6, "ls": "dashed", "zorder": 3.2}, {"lw": 1.6, "ls": "dashdot", "zorder": 3.2},
    {"lw": 1.6, "ls": "dotted", "zorder": 3.2},
)  # fmt: skip


def plot(
    expr: Any, *variables: Any, derivative: bool | int | None = None, tangent_at: Any = None, values: Mapping[Any, Any] | None = None,
    title: str | None = None, theme: str | None = None, ax: Any = None, **named: Any,
) -> Picture:
    """The curve of an expression with its derivative or tangents; of an expression of two variables, its contours and gradient field.

    ``expr``: an expression, a function that makes one (``sg.gelu``), a compiled ``Function``, or several of them in a list or a dict with
    their names. ``variables``: symbols or their names, each followed by its range, ``(-5, 5)`` by default: ``x, (-5, 5)``,
    ``(x, (-5, 5)), (y, (0, 1))``, or ``[x, y], (-5, 5)`` for both; where the expression has one or two symbols, ranges alone will do.
    ``named``, ``values``: numbers or arrays for the other symbols. ``derivative``: how many derivatives to draw beside the curve; by
    default one, beside several curves or tangents none; for two variables ``False`` leaves the gradient field out. ``tangent_at``: a place,
    or several. ``theme``: "light" or "dark", by default what ``SYMGRAD_THEME`` says. ``ax``: matplotlib axes to draw into. Where an
    expression has no value there is no line, and none through poles and jumps; a derivative of another magnitude has an axis of its own,
    at the right.

    Returns a :class:`Picture` (``.save("plot.png")``, ``.figure``, ``.axes``: ``.axes[0].set_xlabel("t [s]")``). Raises ``TypeError`` for
    missing or unknown names, ``ShapeError`` for expressions that are neither scalars nor vectors of known length, ``ValueError`` for ranges
    and tangents that there are not, ``MissingDependencyError`` where matplotlib is absent.

    >>> import symgrad as sg
    >>> x = sg.symbol("x")
    >>> picture = sg.plot(3*x**2 - 4*x + 5, x, (-5, 5), tangent_at=3)
    >>> [line.get_label() for line in picture.axes[0].get_lines() if not line.get_label().startswith("_")]
    ['3·x² − 4·x + 5', 'tangent at x = 3, slope 14']
    """
    colours = theme_named(theme)
    written = _items(expr)
    own = {s.name: s for s in free_symbols(*[as_expr(item) for _, item in written if not _is_function(item)])}
    given = _given(values, named, own)
    chosen = _variables(variables, own, written, given)
    if len(chosen) > 2:
        raise TypeError(f"sg.plot draws expressions of one or two variables, not {len(chosen)}")
    curves = [(name or _called(item, chosen), _built(item, chosen)) for name, item in written]
    known = _known([e for _, e in curves], chosen, given)
    if ax is not None and not (hasattr(ax, "plot") and hasattr(ax, "figure")):
        raise TypeError(f"sg.plot: ax is one of matplotlib's axes, as in _, ax = plt.subplots(), not {_shown(ax)}")
    if ax is None:
        ax = figure(6.4, 4.0 if len(chosen) == 1 else 5.0, colours).subplots()
    if len(chosen) == 1:
        tangents = _places(tangent_at, chosen[0])
        orders = _orders(derivative, len(curves) == 1 and not tangents and curves[0][1].kind == "real")
        _draw_curves(ax, colours, curves, chosen[0], orders, tangents, known, title)
    else:
        if tangent_at is not None:
            raise ValueError("sg.plot: a tangent is a curve's, of one variable; fix the other one by its name")
        if len(curves) != 1:
            raise ValueError("sg.plot draws one expression of two variables at a time")
        draw_plane(ax, colours, curves[0], chosen, derivative is None or bool(derivative), known, title)
    return Picture(ax.figure)


# --- what is asked for ---------------------------------------------------------------------------------


def _items(expr: Any) -> list[tuple[str, Any]]:
    """What to draw, with names where it has some."""
    if isinstance(expr, Point):
        raise TypeError("sg.plot draws expressions, and this is one place of one: sg.plot(point.expr, …)")
    if not isinstance(expr, Expr) and hasattr(expr, "outputs"):  # a compiled function
        expr = expr.outputs
    if isinstance(expr, Mapping):
        of = expr.of if isinstance(expr, Formulas) else ""
        found = [(f"d{of}/d{name}" if of else str(name), item) for name, item in expr.items()]
    elif isinstance(expr, (list, tuple)):
        found = [("", item) for item in expr]
    else:
        found = [("", expr)]
    for _, item in found:
        if isinstance(item, str):
            raise TypeError(f"sg.plot takes an expression, not text: sg.plot(sg.parse({item!r}))")
    if not found:
        raise ValueError("sg.plot: there is no expression in it")
    return found


def _given(values: Mapping[Any, Any] | None, named: Mapping[str, Any], own: Mapping[str, Expr]) -> dict[Any, Any]:
    """Symbol or name → value."""
    if values is not None and not isinstance(values, Mapping):
        raise TypeError(f"sg.plot: values is a dict, symbol or name → number or array, not {_shown(values)}")
    given = {**(values or {}), **named}
    for key, value in given.items():
        name = getattr(key, "name", key)
        if name in own and not own[name].shape and isinstance(value, (tuple, list)):
            raise TypeError(f"sg.plot: {name} is a number, {_shown(value)} is none; "
                            f"a range stands behind its variable: sg.plot(expr, {name}, (-5, 5))")
    return given


def _places(tangent_at: Any, variable: Variable) -> list[float]:
    """Where tangents touch."""
    try:
        places = [] if tangent_at is None else [float(v) for v in np.atleast_1d(np.asarray(tangent_at, dtype=float)).ravel()]
    except (TypeError, ValueError):
        raise TypeError(f"sg.plot: tangent_at is a number or several, not {_shown(tangent_at)}") from None
    for place in places:
        if not variable.start <= place <= variable.stop:
            raise ValueError(f"sg.plot: there is no tangent to see at {variable.symbol.name} = {place:g}: "
                             f"what is drawn goes from {variable.start:g} to {variable.stop:g}")
    return places


def _shown(item: Any) -> str:
    """What was given, in few words."""
    if isinstance(item, np.ndarray):
        return f"an array of shape {item.shape}"
    if callable(item) and hasattr(item, "__name__"):
        return f"the function {item.__name__}"
    written = " ".join(repr(item).split())
    return written if len(written) <= 60 else f"{written[:59]}…"


def _variables(
    given: Sequence[Any], own: Mapping[str, Expr], items: Sequence[tuple[str, Any]], values: Mapping[Any, Any]
) -> list[Variable]:
    """``x, (-5, 5), y``; ``(x, (-5, 5)), (y, -1, 3)``; ``[x, y], (-5, 5)``; or nothing but ranges."""
    groups: list[tuple[list[Expr], list[tuple[float, float]]]] = []
    for item in [part for g in given for part in (g.items() if isinstance(g, Mapping) else [g])]:
        several = isinstance(item, (tuple, list)) and len(item) > 0
        if _is_symbolic(item):
            groups.append(([_symbol(item, own)], []))
        elif several and all(map(_is_symbolic, item)):
            groups.append(([_symbol(v, own) for v in item], []))
        elif several and _is_symbolic(item[0]):
            groups.append(([_symbol(item[0], own)], [_range(item[1] if len(item) == 2 else item[1:])]))
        elif isinstance(item, (tuple, list, np.ndarray, range)):
            if not groups:
                groups.append((_guessed(items, own, values), []))
            nested = several and all(isinstance(ends, (tuple, list)) for ends in item)
            groups[-1][1].extend(map(_range, list(item)) if nested else [_range(item)])
        else:
            raise TypeError(f"sg.plot: {_shown(item)} is neither a variable nor the range of one; write sg.plot(expr, x, (-5, 5))")
    if not groups:
        groups.append((_guessed(items, own, values), []))
    found: list[Variable] = []
    for symbols, ranges in groups:
        if len(ranges) not in (0, 1, len(symbols)):
            listed = ", ".join(s.name for s in symbols)
            raise TypeError(f"sg.plot: {len(ranges)} ranges for {listed}; write sg.plot(expr, x, (-5, 5), y, (0, 1))")
        found += [Variable(s, *r) for s, r in zip(symbols, ranges if len(ranges) == len(symbols) else [*ranges, RANGE][:1] * len(symbols))]
    return found


def _is_symbolic(item: Any) -> bool:
    """A name, an expression, or one of SymPy's."""
    return isinstance(item, (Expr, str)) or bool(getattr(item, "free_symbols", ()))


def _symbol(item: Any, own: Mapping[str, Expr]) -> Expr:
    e = (own[item] if item in own else symbol(item)) if isinstance(item, str) else as_expr(item)
    if e.op.name != "symbol":
        raise TypeError(f"sg.plot: a variable is a symbol, not {e}")
    if e.shape or e.kind != "real":
        found = f"it has shape {dims.format_shape(e.shape)}" if e.shape else f"it is {e.kind}"
        raise ShapeError(f"sg.plot: the variable {e.name} is to be a real number, {found}")
    return e


def _range(ends: Any) -> tuple[float, float]:
    try:
        start, stop = (float(end) for end in ends)
    except (TypeError, ValueError):
        raise TypeError(f"sg.plot: a range is two numbers, as in (-5, 5), not {_shown(ends)}") from None
    if not (np.isfinite(start) and np.isfinite(stop) and start < stop):
        raise ValueError(f"sg.plot: a range goes from a smaller to a larger number, not from {start:g} to {stop:g}")
    return start, stop


def _guessed(items: Sequence[tuple[str, Any]], own: Mapping[str, Expr], values: Mapping[Any, Any]) -> list[Expr]:
    """The symbols that no value is given for."""
    taken = {getattr(key, "name", key) for key in values}
    free = [s for name, s in own.items() if name not in taken]
    if not free and any(_is_function(item) for _, item in items):
        return [symbol("x")]
    if 1 <= len(free) <= 2 and not any(s.shape or s.kind != "real" for s in free):
        return free
    listed = ", ".join(f"{s.name} {dims.format_shape(s.shape)}" if s.shape else s.name for s in free)
    without = f"Without a value are {listed}" if free else f"The symbols are {', '.join(own)}" if own else "There are no symbols in it"
    raise TypeError(f"sg.plot: which variable? {without}: name one or two that are numbers, as in sg.plot(expr, x, (-5, 5)), "
                    "and give the others' values by name")


def _is_function(item: Any) -> bool:
    return callable(item) and not isinstance(item, Expr)


def _built(item: Any, variables: Sequence[Variable]) -> Expr:
    """A function's expression is its value at the variables."""
    e = as_expr(item(*[v.symbol for v in variables]) if _is_function(item) else item)
    if e.ndim > 1 or (e.shape and not isinstance(e.shape[0], int)):
        shape = dims.format_shape(e.shape)
        raise ShapeError(f"sg.plot: the expression has shape {shape}; a number or a vector can be drawn: take a sum or an entry")
    if len(variables) == 2 and e.shape:
        raise ShapeError(f"sg.plot: over a plane one number can be drawn, the expression has shape {dims.format_shape(e.shape)}")
    return e


def _called(item: Any, variables: Sequence[Variable]) -> str:
    """``gelu(x)`` for the function."""
    name = getattr(item, "__name__", "") if _is_function(item) else ""
    return f"{name}({', '.join(v.symbol.name for v in variables)})" if name.isidentifier() else ""


def _known(curves: Sequence[Expr], variables: Sequence[Variable], given: Mapping[Any, Any]) -> dict[Expr, Any]:
    """The values of the symbols that are no variables."""
    free = {s.name: s for s in free_symbols(*curves, *[v.symbol for v in variables])}
    known: dict[Expr, Any] = {}
    for key, value in given.items():
        name = getattr(key, "name", key)
        if name not in free:
            raise TypeError(f"sg.plot: {name!r} is not a symbol of the expression; its symbols are {', '.join(free) or 'none'}")
        known[free[name]] = value
    for v in variables:
        if v.symbol in known:
            raise TypeError(f"sg.plot: {v.symbol.name} is drawn over a range and has a value, too")
    missing = [name for name, s in free.items() if s not in known and s not in [v.symbol for v in variables]]
    idle = [v.symbol.name for v in variables if not any(v.symbol in free_symbols(e) for e in curves)]
    if missing and idle:
        raise TypeError(f"sg.plot: {', '.join(idle)} does not occur in the expression; its symbols are {', '.join(missing)}")
    if missing:
        raise TypeError(f"sg.plot: no value for {', '.join(missing)}: give it by name, as in sg.plot(…, {missing[0]}=1.0)")
    return known


def _orders(derivative: bool | int | None, alone: bool) -> int:
    """How many derivatives to draw."""
    if derivative is None:
        return 1 if alone else 0
    if not isinstance(derivative, int) or not 0 <= derivative < len(PRIMES):
        raise ValueError(f"sg.plot: derivative is True, False or a number up to {len(PRIMES) - 1}, not {derivative!r}")
    return int(derivative)


# --- curves --------------------------------------------------------------------------------------------


def _draw_curves(
    ax: Any, theme: Theme, curves: Sequence[tuple[str, Expr]], variable: Variable, orders: int, tangents: Sequence[float],
    known: Mapping[Expr, Any], title: str | None,
) -> None:
    drawn: list[tuple[int, str, str, Curve]] = []  # order, colour, name
    colours = itertools.cycle(theme.curves)
    alone = len(curves) == 1 and not curves[0][1].shape
    own = {k: [next(colours) for _ in range(int(e.shape[0]) if e.shape else 1)] for k, (_, e) in enumerate(curves)}
    for _ in range(orders if alone else 0):  # a curve's derivatives have colours of their own, no tangent has these
        next(colours)
    for number, (name, e) in enumerate(curves):
        derivatives = list(itertools.accumulate(range(orders), lambda d, _: derived(d, variable.symbol), initial=e))
        for order, d in enumerate(derivatives):
            called = names(name or (FUNCTIONS[number % len(FUNCTIONS)] if orders else ""), d, order)
            for k, colour in enumerate(own[number]):
                places = None if not order else drawn[-len(own[number])][3].x  # where the curve bends its derivative does something
                curve = sample(_entry(d, k, variable, known), variable.start, variable.stop, places)
                drawn.append((order, theme.curves[order] if order and alone else colour, called[k], curve))
    axes = _scaled(ax, theme, variable, drawn, alone)
    for order, colour, called_so, curve in drawn:
        style = STYLES[order] if curve.turns < DENSE else {**STYLES[order], "lw": 0.7, "ls": "solid"}
        axes[min(order, 1)].plot(curve.x, curve.y, color=colour, label=called_so, solid_capstyle="round", **style)
    for place in tangents:
        _draw_tangent(ax, theme, curves[0][1], variable, place, known, next(colours))
    several = len(drawn) + len(tangents) > 1
    if title is None:
        title = "" if several else names(*curves[0], 0, TITLE)[0]
    tidy(ax, theme, title, axis_name(variable, known), "")
    if all(curve.low is None for _, _, _, curve in drawn):
        ax.text(0.5, 0.5, NOTHING, transform=ax.transAxes, ha="center", color=theme.muted, fontsize=9)
    elif axes[0] is not axes[1]:
        legend(ax, theme, handles=[line for a in axes for line in a.get_lines() if not line.get_label().startswith("_")],
               loc="lower left", bbox_to_anchor=(-0.01, 1.05), borderaxespad=0.2)  # above: beside two scales there is no place that is free
    elif several:
        legend(ax, theme)


def _scaled(
    ax: Any, theme: Theme, variable: Variable, drawn: Sequence[tuple[int, str, str, Curve]], alone: bool
) -> tuple[Any, Any]:
    """The axes of curves and of derivatives, with their heights: two where on one of them either would be flat."""
    curves, others = [c for order, _, _, c in drawn if not order], [c for order, _, _, c in drawn if order]
    ax.set_xlim(variable.start, variable.stop)
    shown, beside = window(curves, others), window(others)
    right = ax
    if shown is not None and beside is not None and alone and _is_flat(curves, others, shown[1] - shown[0]):
        left = window(curves)
        assert left is not None  # there is a curve, since something is shown
        shown, beside = _level(left, beside)
        right = ax.twinx()
        colour = next(colour for order, colour, _, _ in drawn if order)
        right.set_ylim(*beside)
        tidy(right, theme, "", "", "")
        right.tick_params(axis="y", colors=colour)
        right.yaxis.get_offset_text().set_color(colour)
        right.set_ylabel(" ".join(PRIMES[order].join(("f", "")) for order, *_ in drawn if order) + "  →", color=colour, fontsize=9)
        right.spines["right"].set(visible=True, color=theme.faint)
        right.spines["left"].set_visible(False)
        ax.set_zorder(right.get_zorder() + 1)  # the curve in front of its derivative
        right.patch.set_visible(True)
        ax.patch.set_visible(False)
    if shown is not None:
        ax.set_ylim(*shown)
    _ground(ax, theme)
    return ax, right


def _is_flat(curves: Sequence[Curve], others: Sequence[Curve], height: float) -> bool:
    """Whether something that has a shape shows none in a window of this height."""
    heights = [c.high - c.low for c in (*curves, *others) if c.low is not None and c.high is not None]
    return any(0 < own * FLAT < height for own in heights)


def _level(left: tuple[float, float], right: tuple[float, float]) -> tuple[tuple[float, float], tuple[float, float]]:
    """Both windows with zero at one height, where both show it."""
    if not (left[0] < 0 < left[1] and right[0] < 0 < right[1]):
        return left, right
    less, more = sorted(-low / high for low, high in (left, right))
    ratio = more * (1 + less) / (1 + more)  # of what is below zero to what is above: both windows grow by the same factor
    return _grown(left, ratio), _grown(right, ratio)


def _grown(window: tuple[float, float], ratio: float) -> tuple[float, float]:
    low, high = window
    return min(low, -ratio * high), max(high, -low / ratio)


def _entry(e: Expr, k: int, variable: Variable, known: Mapping[Expr, Any]) -> Callable[[Array], Array]:
    """A curve as a function of points."""
    mapped = Mapped([e], [variable], known)
    return lambda points: mapped(points)[0][:, k] if e.shape else mapped(points)[0]


def _draw_tangent(ax: Any, theme: Theme, e: Expr, variable: Variable, place: float, known: Mapping[Expr, Any], colour: str) -> None:
    if e.shape:
        raise ShapeError("sg.plot: a tangent is drawn to one curve, the expression is a vector: take an entry")
    height, slope = (float(v[0]) for v in Mapped([e, derived(e, variable.symbol)], [variable], known)(np.array([place])))
    if not (np.isfinite(height) and np.isfinite(slope)):
        raise ValueError(f"sg.plot: there is no tangent at {place:g}: the value is {height:g}, the derivative {slope:g}")
    label = f"tangent at {pretty(variable.symbol.name)} = {place:g}, slope {slope:.4g}".replace("-", "−")
    ax.axline((place, height), slope=slope, color=colour, lw=1.2, zorder=2.8, label=label)
    ax.plot([place], [height], "o", color=colour, ms=6.5, mec=theme.ground, mew=1.2, zorder=4, label="_point")


def _ground(ax: Any, theme: Theme) -> None:
    """Faint lines, and the axes through zero."""
    ax.grid(color=theme.faint, lw=0.6, alpha=0.6)
    ax.set_axisbelow(True)
    (left, right), (low, high) = ax.get_xlim(), ax.get_ylim()
    if low < 0 < high:
        ax.axhline(0, color=theme.muted, lw=0.8, alpha=0.8, zorder=1, label="_axis")
    if left < 0 < right:
        ax.axvline(0, color=theme.muted, lw=0.8, alpha=0.8, zorder=1, label="_axis")
