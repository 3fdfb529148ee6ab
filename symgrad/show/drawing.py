"""DRAW: the graph of expressions, of their gradients, and at a point; as a picture, as text for other programs, or in a terminal."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Mapping, Sequence
from functools import cache, cached_property
from typing import Any

from symgrad import dims
from symgrad.differentiate import grad
from symgrad.errors import MissingDependencyError, ShapeError
from symgrad.evaluate import evaluate
from symgrad.expr import Array, Expr, as_expr, free_symbols, topological
from symgrad.show.dot import dot
from symgrad.show.graph import Graph, build
from symgrad.show.mermaid import mermaid
from symgrad.show.outline import outline
from symgrad.show.point import Point
from symgrad.show.themes import theme_named
from symgrad.show.unicode import pretty

__all__ = ["Drawing", "draw"]

PICTURES = ("svg", "png", "pdf")
DIRECTIONS = ("LR", "TB", "RL", "BT")
_one_at_a_time = threading.Lock()
NAME = 40  # characters of a result's name
SHRINK = 0.6  # of a picture's width, at least, in a notebook
PAGE = 720  # points: the width of a notebook
LONG = 1000  # points: a graph that would be longer from left to right goes from top to bottom, if it is narrower than long


def draw(
    expr: Any, *, wrt: Any = None, simplify: bool = True, theme: str | None = None, direction: str | None = None,
    limit: int | None = 80,
) -> Drawing:
    """The graph of an expression: every node once, with its operation, formula and shape.

    ``expr``: an expression; a point of one (:func:`sg.at`), which puts its value and gradient into every box; several expressions, in a
    list or a dict with their names; or a compiled ``Function``. ``wrt``: draws the gradient's graph, too: a symbol, a name, any
    intermediate node, a list of them, or ``True`` for all real symbols; ``simplify=False`` draws the bare chain rule.
    ``theme``: "light" or "dark", by default what the environment's ``SYMGRAD_THEME`` says. ``direction``: "LR", "TB", "RL" or "BT"; by
    default from left to right, long graphs from top to bottom. Gradients go back, beside what they are of.
    ``limit``: operations that have a box of their own; in larger graphs they are folded together, and counted (``None``: never).
    Raises ``ValueError`` for an unknown theme or direction, ``ShapeError`` for the gradient of what is no scalar.

    In a notebook the result is a picture, in a terminal an outline. Layers of networks are drawn as groups.

    >>> import symgrad as sg
    >>> a, b = sg.symbols("a b")
    >>> print(sg.draw(sg.at(sg.tanh(a*b) + b, a=0.5, b=2.0)))
    tanh(a·b) + b  data  2.762  grad      1
    ├─ tanh(a·b)   data 0.7616  grad      1
    │  └─ a·b      data      1  grad   0.42
    │     ├─ a     data    0.5  grad 0.8399
    │     └─ b     data      2  grad   1.21
    └─ b           data      2  grad   1.21
    """
    theme_named(theme)
    if direction is not None and direction not in DIRECTIONS:
        raise ValueError(f"a direction is one of {', '.join(DIRECTIONS)}, not {direction!r}")
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 2):
        raise ValueError(f"limit is a number of operations, at least 2, or None, not {limit!r}")
    point = expr if isinstance(expr, Point) else None
    results = _results(expr.expr if isinstance(expr, Point) else expr)
    derivatives: list[tuple[str, Expr]] = []
    targets: list[Expr] = []
    if wrt is not None and wrt is not False:
        if len(results) != 1:
            raise ShapeError(f"draw: a gradient is of one expression, these are {len(results)}: draw their sum, or one of them")
        results, derivatives, targets = _with_gradient(results[0], wrt, simplify)
    values, gradients = _numbers(point, [e for _, e in derivatives])
    return Drawing(build(results, derivatives, values, gradients, limit, targets), theme, direction)


def _results(expr: Any) -> list[tuple[str, Expr]]:
    """Expressions by name, from whatever holds them."""
    if not isinstance(expr, Expr) and hasattr(expr, "outputs"):  # a compiled function
        expr = expr.outputs
    if isinstance(expr, Mapping):
        items = [(_line(str(name)), item) for name, item in expr.items()]
        found = [(_joined(name, inner), e) for name, item in items for inner, e in _results(item)]
    elif isinstance(expr, Sequence) and not isinstance(expr, str):
        found = [(_joined(f"[{k}]", inner), e) for k, item in enumerate(expr) for inner, e in _results(item)]
        if len(found) == 1:
            found = [("", found[0][1])]
    elif isinstance(expr, str):
        raise TypeError(f"draw takes an expression, not text: sg.draw(sg.parse({expr!r}))")
    elif callable(expr) and not isinstance(expr, Expr):
        raise TypeError(f"draw takes an expression, not the {type(expr).__name__} that makes one: call it, as in sg.draw(net(x))")
    else:
        return [("", as_expr(expr))]
    if not found:
        raise ValueError("draw: there is no expression in it")
    return found


def _joined(name: str, inner: str) -> str:
    return f"{name}{'.' if inner and not inner.startswith('[') else ''}{inner}"


def _line(name: str) -> str:
    """A name as it can stand in a picture: printable, in one line, not too long."""
    printable = " ".join("".join(c if c.isprintable() else " " for c in name).split())
    return printable if len(printable) <= NAME else f"{printable[: NAME - 1]}…"


_Named = list[tuple[str, Expr]]


def _with_gradient(result: tuple[str, Expr], wrt: Any, simplify: bool) -> tuple[_Named, _Named, list[Expr]]:
    """The expression and its derivatives by name, and what these are by."""
    given, expr = result
    if expr.shape:
        shape = dims.format_shape(expr.shape)
        raise ShapeError(f"draw: the expression has shape {shape}, and a gradient is of a scalar: sum it first")
    if wrt is True:
        wrt = [s for s in free_symbols(expr) if s.kind == "real"]
    elif isinstance(wrt, Mapping):
        wrt = list(wrt.values())
    elif not isinstance(wrt, Sequence) or isinstance(wrt, str):
        wrt = [wrt]
    taken = {n.name: n for n in topological(expr) if n.op.name in ("symbol", "named")}
    own = expr.name if expr.op.name == "named" else given or next(name for name in ("L", "f", "y", "out", "") if name not in taken)
    derivatives = []
    for node, derivative in zip(wrt, grad(expr, wrt, simplify=simplify), strict=True):
        below = node if isinstance(node, str) else node.name if node.op.name in ("symbol", "named") else f"({node})"
        derivatives.append((f"d{pretty(own)}/d{pretty(below) if len(below) <= 24 else '(…)'}", derivative))
    targets = [taken.get(w, expr) if isinstance(w, str) else as_expr(w) for w in wrt]
    return [("" if expr.op.name == "named" else own, expr)], derivatives, targets


def _numbers(point: Point | None, derivatives: list[Expr]) -> tuple[dict[Expr, Array], dict[Expr, Array]]:
    if point is None:
        return {}, {}
    more = [n for n in topological(*derivatives) if n not in point.values]
    computed = evaluate(more, point.inputs) if more else []
    return {**point.values, **dict(zip(more, computed, strict=True))}, point.gradients


class Drawing:
    """What :func:`draw` returns: :meth:`save`, :meth:`svg`, :meth:`dot`, :meth:`mermaid`, :meth:`outline`.

    A picture in a notebook, the outline in print.
    """

    def __init__(self, graph: Graph, theme: str | None = None, direction: str | None = None) -> None:
        self.graph, self.theme = graph, theme_named(theme).name
        length, across = graph.extent()
        self.direction = direction or ("TB" if length > max(LONG, across) else "LR")

    def dot(self) -> str:
        """The graph in Graphviz's language."""
        return dot(self.graph, theme_named(self.theme), self.direction)

    def mermaid(self) -> str:
        """The graph as Mermaid text, which GitHub and Jupyter draw."""
        return mermaid(self.graph, theme_named(self.theme), self.direction)

    def outline(self, width: int | None = None) -> str:
        """The graph as indented text, results first: what is printed. ``width``: columns to which lines are cut."""
        return outline(self.graph, width)

    def svg(self) -> str:
        """The picture as SVG text. Raises ``MissingDependencyError`` where pygraphviz is absent."""
        return self._svg

    @cached_property
    def _svg(self) -> str:
        return _rendered(self.dot(), "svg").decode()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes a file, its kind told by its name: ``.svg``, ``.png``, ``.pdf`` (these need pygraphviz), ``.dot``, ``.mmd``, ``.txt``.

        Raises ``ValueError`` for other names, ``MissingDependencyError`` where pygraphviz is absent.
        """
        kind = os.path.splitext(os.fspath(path))[1].lower().lstrip(".")
        texts = {"dot": self.dot, "gv": self.dot, "mmd": self.mermaid, "mermaid": self.mermaid, "txt": lambda: f"{self}\n", "svg": self.svg}
        if kind in texts:
            content = texts[kind]().encode()
        elif kind in PICTURES:
            content = _rendered(self.dot(), kind)
        else:
            raise ValueError(f"cannot draw {os.fspath(path)!r}: a name ends in .svg, .png, .pdf, .dot, .mmd or .txt")
        with open(path, "wb") as file:
            file.write(content)

    def __str__(self) -> str:
        return self.outline()

    __repr__ = __str__

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        try:
            return {"image/svg+xml": _fitting(self.svg()), "text/plain": str(self)}
        except MissingDependencyError as error:
            return {"text/vnd.mermaid": self.mermaid(), "text/plain": f"{self}\n({error})"}


def _fitting(svg: str) -> str:
    """A picture that is as narrow as a notebook, as long as it can be read then; in a narrower one it shrinks where it may."""
    found = re.search(r'<svg width="(\d+)pt" height="(\d+)pt"', svg)
    if found is None:
        return svg
    width, height = int(found[1]), int(found[2])
    scale = min(1.0, max(SHRINK, PAGE / width))
    style = f"max-width:100%;min-width:{min(SHRINK, scale) * width:.0f}pt;height:auto"
    return svg.replace(found[0], f'<svg style="{style}" width="{scale * width:.0f}pt" height="{scale * height:.0f}pt"', 1)


def _rendered(text: str, kind: str) -> bytes:
    with _one_at_a_time:  # Graphviz keeps global state
        try:
            graphviz = _graphviz()
        except ImportError:
            message = f'a graph as {kind.upper()} needs pygraphviz: pip install "symgrad[viz]" (.dot, .mmd and .txt need nothing)'
            raise MissingDependencyError(message) from None
        return bytes(graphviz.AGraph(string=text).draw(format=kind, prog="dot", args="-Gdpi=150" if kind == "png" else ""))


@cache
def _graphviz() -> Any:
    """pygraphviz, its fonts looked up with standard error closed: the library in its wheels warns of the system's newer font settings."""
    import pygraphviz

    try:
        kept = os.dup(2)
    except OSError:  # there is no standard error
        return pygraphviz
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        pygraphviz.AGraph(string="digraph { a }").draw(format="svg", prog="dot")
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
    return pygraphviz
