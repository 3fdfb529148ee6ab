"""POINT: an expression at a point: the value and the gradient of every node."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, NamedTuple

from symgrad import dims
from symgrad.differentiate import grad
from symgrad.errors import ShapeError
from symgrad.evaluate import evaluate
from symgrad.expr import Array, Expr, as_expr, free_symbols, topological
from symgrad.show.point_table import coloured_table, table_html, table_text
from symgrad.show.wrap import terminal_width

__all__ = ["Point", "at", "expression_of", "point_of"]


def at(expr: Any, values: Mapping[Any, Any] | None = None, /, **named: Any) -> Point:
    """The expression at a point, with the value and the gradient of every node.

    ``expr``: an expression, or a compiled ``Function`` of one. ``values``: symbol or name → number or array, for names that are no
    Python keywords; ``named``: the others.
    Raises ``TypeError`` for a missing or unknown name, ``ShapeError`` for an array of the wrong shape.

    >>> import symgrad as sg
    >>> a, b, c = sg.symbols("a b c")
    >>> point = sg.at(a*b + c, a=2, b=-3, c=10)
    >>> point.value(a*b), point.grad(b)
    (-6.0, 2.0)
    """
    return point_of("sg.at", expression_of("sg.at", expr), values, named)


def expression_of(operation: str, given: Any) -> Expr:
    """The expression that a call is about; a compiled function stands for its own."""
    if isinstance(given, str):
        raise TypeError(f"{operation} takes an expression, not text: use sg.parse({given!r})")
    return as_expr(given.outputs if not isinstance(given, Expr) and hasattr(given, "outputs") else given)


def point_of(operation: str, root: Expr, values: Mapping[Any, Any] | None, named: Mapping[str, Any]) -> Point:
    """The point that a call names; ``operation``: the call, for errors."""
    if values is not None and not isinstance(values, Mapping):
        raise TypeError(f"{operation}: a point is a mapping of names to numbers, as in {{'x': 2.0}}, not {type(values).__name__}")
    known = {s.name: s for s in free_symbols(root)}
    given: dict[Expr, Any] = {}
    for key, value in [*(values or {}).items(), *named.items()]:
        name = key.name if isinstance(key, Expr) and key.op.name == "symbol" else key
        if not isinstance(name, str) or name not in known:
            raise TypeError(f"{operation}: {name!r} is not a symbol of the expression; its symbols are {', '.join(known) or 'none'}")
        if known[name] in given:
            raise TypeError(f"{operation}: {name!r} is given twice")
        given[known[name]] = value
    missing = [name for name, s in known.items() if s not in given]
    if missing:
        raise TypeError(f"{operation}: no value for {', '.join(missing)}")
    return Point(root, given)


class Numbers(NamedTuple):
    """A node's value, and the derivative with respect to it: ``None`` where there is none."""

    value: Any
    grad: Any


class Point:
    """What :func:`at` returns. ``expr``: the expression; ``nodes``: its nodes but constants, operands first; ``inputs``: the point,
    symbol → number or array; ``values``, ``gradients``: node → array.

    ``point[node]``, ``point["name"]``: both as a :class:`Numbers`. Prints as a table, in a notebook as an HTML one.
    """

    def __init__(self, expr: Expr, values: Mapping[Expr, Any]) -> None:
        self.expr = expr
        self.nodes = [n for n in topological(expr) if n.op.name != "constant"] or [expr]
        self.inputs = dict(values)
        self.values = dict(zip(self.nodes, evaluate(self.nodes, self.inputs), strict=True))

    def value(self, node: Any = None) -> Any:
        """The value of a node, a float for a scalar; of the expression itself without one.

        ``node``: an expression that occurs in this one, or the name of a symbol or named node. Raises ``ValueError`` for others.
        """
        return _plain(self.values[self._node(node)])

    def grad(self, node: Any) -> Any:
        """The derivative of the expression with respect to a node (see :meth:`value`).

        Raises ``ShapeError`` where the expression is not a scalar, ``TypeError`` for a node that is not real.
        """
        wanted = self._node(node)
        if self.expr.shape != ():
            shape = dims.format_shape(self.expr.shape)
            raise ShapeError(f"the expression has shape {shape}, only a scalar has a gradient: take a sum, or use sg.jacobian")
        for node, words in ((wanted, "with respect to"), (self.expr, "of")):
            if node.kind != "real":
                raise TypeError(f"a derivative {words} {node.kind} values does not exist")
        return _plain(self.gradients[wanted])

    def __getitem__(self, node: Any) -> Numbers:
        """Value and gradient of a node (see :meth:`value`).

        >>> import symgrad as sg
        >>> x = sg.symbol("x")
        >>> point = sg.at((x**2).named("square") + x, x=3.0)
        >>> point["square"], point[x].grad
        (Numbers(value=9.0, grad=1.0), 7.0)
        """
        wanted = self._node(node)
        return Numbers(_plain(self.values[wanted]), _plain(self.gradients[wanted]) if wanted in self.gradients else None)

    def __iter__(self) -> Iterator[Expr]:
        return iter(self.nodes)

    def __len__(self) -> int:
        return len(self.nodes)

    @cached_property
    def gradients(self) -> dict[Expr, Array]:
        real = [n for n in self.nodes if n.kind == "real"]
        if self.expr.shape != () or self.expr.kind != "real" or not real:
            return {}
        return dict(zip(real, evaluate(grad(self.expr, real, simplify=False), self.inputs), strict=True))

    def _node(self, node: Any) -> Expr:
        if node is None:
            return self.expr
        if isinstance(node, str):
            found = [n for n in self.nodes if n.op.name in ("symbol", "named") and n.name == node]
            if not found:
                names = dict.fromkeys(n.name for n in self.nodes if n.op.name in ("symbol", "named"))
                raise ValueError(f"nothing is named {node!r} here; named are {', '.join(names) or 'none'}")
            return found[-1]
        wanted = as_expr(node)
        if wanted not in self.values:
            raise ValueError(f"the {wanted.op.name} node of shape {dims.format_shape(wanted.shape)} does not occur in the expression")
        return wanted

    def text(self, width: int | None = None) -> str:
        """The table as plain text, where it can be within ``width`` columns."""
        return table_text(self, width)

    def __str__(self) -> str:
        return self.text(terminal_width())

    __repr__ = __str__

    def __rich_console__(self, console: Any, options: Any) -> Iterator[Any]:
        yield from coloured_table(self, options.max_width)

    def _repr_html_(self) -> str:
        return table_html(self)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/plain": self.text(), "text/html": self._repr_html_()}


def _plain(value: Array) -> Any:
    return value.item() if value.ndim == 0 else value
