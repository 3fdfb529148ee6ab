"""PLOT: curves with their derivatives and tangents, and expressions of two variables with their gradient fields."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from symgrad import dims
from symgrad.errors import ShapeError
from symgrad.expr import Array, Expr, as_expr, free_symbols, symbol
from symgrad.show.mapped import NOTHING, PRIMES, Mapped, Variable, derived, names
from symgrad.show.picture import Picture, figure, legend, tidy
from symgrad.show.plane import draw_plane
from symgrad.show.sampling import Curve, sample, window
from symgrad.show.themes import Theme, theme_named
from symgrad.show.unicode import pretty

__all__ = ["plot"]

RANGE = (-5.0, 5.0)
TITLE = 64
FUNCTIONS = "fghuvw"  # what curves without a name are called, once there are derivatives
STYLES: tuple[dict[str, Any], ...] = (
    {"lw": 2.0, "zorder": 3}, {"lw": 1.6, "ls": "dashed", "zorder": 3.2}, {"lw": 1.6, "ls": "dashdot", "zorder": 3.2},
    {"lw": 1.6, "ls": "dotted", "zorder": 3.2},
)  # fmt: skip


def plot(
    expr: Any, *variables: Any, derivative: bool | int | None = None, tangent_at: Any = None, values: Mapping[Any, Any] | None = None,
    title: str | None = None, theme: str = "light", ax: Any = None, **named: Any,
) -> Picture:
    """The curve of an expression with its derivative or tangents; of an expression of two variables, its contours and gradient field.

    ``expr``: an expression, a function that makes one (``sg.gelu``), a compiled ``Function``, or several of them in a list or a dict with
    their names. ``variables``: symbols or their names, each followed by its range, ``(-5, 5)`` by default: ``x, (-5, 5)`` or
    ``(x, (-5, 5))``; none are needed where the expression has one or two symbols. ``named``, ``values``: numbers or arrays for the others.
    ``derivative``: how many derivatives to draw beside the curve; by default one, beside several curves or tangents none; for two variables
    ``False`` leaves the gradient field out. ``tangent_at``: a place, or several. ``theme``: "light" or "dark". ``ax``: matplotlib axes to
    draw into. Where an expression has no value there is no line, and none through poles and jumps.

    Returns a :class:`Picture` (``.save("plot.png")``, ``.figure``). Raises ``TypeError`` for missing or unknown names, ``ShapeError`` for
    expressions that are neither scalars nor vectors of known length, ``MissingDependencyError`` where matplotlib is absent.

    >>> import symgrad as sg
    >>> x = sg.symbol("x")
    >>> picture = sg.plot(3*x**2 - 4*x + 5, x, (-5, 5), tangent_at=3)
    >>> [line.get_label() for line in picture.axes[0].get_lines() if not line.get_label().startswith("_")]
    ['3·x² − 4·x + 5', 'tangent at x = 3, slope 14']
    """
    colours = theme_named(theme)
    given = {**(values or {}), **named}
    written = _items(expr)
    chosen = _variables(variables, written) or _guessed(written, given)
    if len(chosen) > 2:
        raise TypeError(f"sg.plot draws expressions of one or two variables, not {len(chosen)}")
    curves = [(name or _called(item, chosen), _built(item, chosen)) for name, item in written]
    known = _known([e for _, e in curves], chosen, given)
    if ax is None:
        ax = figure(6.4, 4.0 if len(chosen) == 1 else 5.0, colours).subplots()
    if len(chosen) == 1:
        tangents = [] if tangent_at is None else [float(v) for v in np.atleast_1d(np.asarray(tangent_at, dtype=float)).ravel()]
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
    if not isinstance(expr, Expr) and hasattr(expr, "outputs"):  # a compiled function
        expr = expr.outputs
    if isinstance(expr, Mapping):
        found = [(str(name), item) for name, item in expr.items()]
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


def _variables(given: Sequence[Any], items: Sequence[tuple[str, Any]]) -> list[Variable]:
    """``x, (-5, 5), y`` or ``(x, (-5, 5)), (y, -1, 3)``."""
    own = {s.name: s for s in free_symbols(*[as_expr(item) for _, item in items if not _is_function(item)])}
    found: list[tuple[Expr, tuple[float, float] | None]] = []
    for item in given:
        if _is_symbolic(item):
            found.append((_symbol(item, own), None))
        elif isinstance(item, (tuple, list)) and item and _is_symbolic(item[0]):
            ends = item[1] if len(item) == 2 else item[1:]
            found.append((_symbol(item[0], own), _range(ends)))
        elif found and found[-1][1] is None:
            found[-1] = (found[-1][0], _range(item))
        else:
            raise TypeError(f"sg.plot: {item!r} is neither a variable nor the range of one; write sg.plot(expr, x, (-5, 5))")
    return [Variable(s, *(ends or RANGE)) for s, ends in found]


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
        raise TypeError(f"sg.plot: a range is two numbers, as in (-5, 5), not {ends!r}") from None
    if not (np.isfinite(start) and np.isfinite(stop) and start < stop):
        raise ValueError(f"sg.plot: a range goes from a smaller to a larger number, not from {start:g} to {stop:g}")
    return start, stop


def _guessed(items: Sequence[tuple[str, Any]], given: Mapping[Any, Any]) -> list[Variable]:
    """The symbols that no value is given for."""
    expressions = [as_expr(item) for _, item in items if not _is_function(item)]
    taken = {getattr(key, "name", key) for key in given}
    free = [s for s in free_symbols(*expressions) if s.name not in taken]
    if not free and len(expressions) < len(items):
        return [Variable(symbol("x"), *RANGE)]
    if not 1 <= len(free) <= 2 or any(s.shape or s.kind != "real" for s in free):
        listed = ", ".join(s.name for s in free) or "none"
        raise TypeError(f"sg.plot: which variable? The symbols are {listed}: name one or two, as in sg.plot(expr, x, (-5, 5)), "
                        "and give the others' values by name")
    return [Variable(s, *RANGE) for s in free]


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
    drawn: list[tuple[int, Curve]] = []
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
                curve = sample(_entry(d, k, variable, known), variable.start, variable.stop)
                drawn.append((order, curve))
                if order and alone:
                    colour = theme.curves[order]
                ax.plot(curve.x, curve.y, color=colour, label=called[k], solid_capstyle="round", **STYLES[order])
        for place in tangents:
            _draw_tangent(ax, theme, e, variable, place, known, next(colours))
    shown = window([c for order, c in drawn if not order], [c for order, c in drawn if order])
    ax.set_xlim(variable.start, variable.stop)
    if shown is not None:
        ax.set_ylim(*shown)
    several = len(drawn) + len(tangents) > 1
    if title is None:
        title = "" if several else names(*curves[0], 0, TITLE)[0]
    _ground(ax, theme)
    tidy(ax, theme, title, pretty(variable.symbol.name), "")
    if shown is None:
        ax.text(0.5, 0.5, NOTHING, transform=ax.transAxes, ha="center", color=theme.muted, fontsize=9)
    elif several:
        legend(ax, theme)


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
