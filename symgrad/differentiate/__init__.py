"""DIFFERENTIATE: derivatives as expressions.

    masks       where an adjoint counts: what ``where`` does to a gradient
    reverse     the reverse sweep: adjoints, from a result to its inputs
    forward     the forward sweep: tangents, from inputs to a result
    vectorize   one formula over extra leading axes, for Jacobians
    check       derivatives against central differences
    sparsity    which elements of a result depend on which of its variables, as rows of sets
    accesses    sparse derivatives along ones, by the ways in which a formula reads its variables
    colouring   few directions that tell the entries of a sparse matrix apart; compressed: products with them

Everything here takes expressions and gives expressions, so derivatives compose to any order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import copysign
from typing import Any

from symgrad import dims
from symgrad.differentiate.check import check_grads
from symgrad.differentiate.forward import fresh_symbol, push_forward, zeros
from symgrad.differentiate.reverse import pull_back
from symgrad.differentiate.vectorize import over_unit_vectors, vectorize
from symgrad.dims import Shape
from symgrad.errors import ShapeError
from symgrad.expr import (
    CONSTANT,
    METHODS,
    SYMBOL,
    Expr,
    ExprLike,
    apply,
    as_expr,
    constant,
    derived_from,
    free_symbols,
    rebuild,
    rewrite,
    topological,
)
from symgrad.ops.movement import TRANSPOSE

__all__ = ["FINISH", "check_grads", "grad", "hessian", "hvp", "jacobian", "jvp", "vectorize", "vjp"]

Wrt = Any  # an expression, a name, or a sequence or dict of them


def _local_rules(derivatives: list[Expr], written: list[Expr]) -> list[Expr]:
    """The simplify room's local rules: it lies above, so they come through the table of methods."""
    return list(METHODS["finish"](derivatives, written)) if "finish" in METHODS else derivatives


def _whole_numbers(derivatives: list[Expr], written: list[Expr]) -> list[Expr]:
    """``6*x`` for ``6.0*x`` where the sweep, not the user, made the number: the same value and kind."""
    if all(n.op is not CONSTANT or whole(n) is n for n in topological(*derivatives)):
        return derivatives
    users = {n for n in topological(*written) if n.op is CONSTANT}

    def replace(node: Expr, args: tuple[Expr, ...]) -> Expr:
        if node.op.name not in ("add", "sub", "mul", "div", "ratio") or node.kind != "real":
            return rebuild(node, args)
        real = [node.op.name in ("div", "ratio") or (a.kind == "real" and a.op is not CONSTANT) for a in args]
        return rebuild(node, [whole(a) if other and a not in users else a for a, other in zip(args, reversed(real), strict=True)])

    return rewrite(derivatives, replace)


def whole(expr: Expr) -> Expr:
    """An integer in place of a real constant that is one, where nothing is lost by it; everything else as it is."""
    if expr.op is not CONSTANT or expr.shape or expr.kind != "real":
        return expr
    value = expr.params["value"]
    exact = value.is_integer() and abs(value) < 2**53 and (value or copysign(1.0, value) > 0)
    return constant(int(value)) if exact else expr


FINISH: list[Callable[[list[Expr], list[Expr]], list[Expr]]] = [_local_rules, _whole_numbers]
"""What derivatives go through unless ``simplify=False``.

Called with the derivatives and with the user's expressions, whose order of writing is kept.
"""


def _finished(results: list[Expr], written: Sequence[Expr], simplify: bool) -> list[Expr]:
    if simplify:
        for finish in FINISH:
            results = list(finish(results, list(written)))
        derived_from(written, results)
    return results


# --- wrt: one node or a structure of them ----------------------------------------------------------


def _nodes_of(operation: str, wrt: Wrt, y: Expr) -> tuple[list[Expr], Callable[[Sequence[Any]], Any]]:
    """The nodes to differentiate with respect to, and how their results become the structure of ``wrt``."""
    if isinstance(wrt, Mapping):
        keys, nodes = list(wrt), list(wrt.values())
        build: Callable[[Sequence[Any]], Any] = lambda results: dict(zip(keys, results, strict=True))  # noqa: E731
    elif isinstance(wrt, (list, tuple, set, frozenset)) or type(wrt) is type({}.keys()):
        nodes, build = list(wrt), tuple if isinstance(wrt, tuple) else list
    else:
        nodes, build = [wrt], lambda results: results[0]
    return [_node_of(operation, w, y) for w in nodes], build


def _node_of(operation: str, wrt: Any, y: Expr) -> Expr:
    if isinstance(wrt, str):
        known: dict[str, Expr] = {s.name: s for s in free_symbols(y)}
        if wrt not in known:
            raise ValueError(f"{operation}: no symbol {wrt!r} here; known are {', '.join(known) or 'none'}")
        return known[wrt]
    node = as_expr(wrt)
    if node.kind != "real":
        raise TypeError(f"{operation}: a derivative with respect to {node.kind} values does not exist")
    return node


def _check_occurs(operation: str, y: Expr, nodes: Sequence[Expr]) -> None:
    """A symbol may be absent (its derivative is 0); another node must occur. Names must be unique throughout."""
    free_symbols(y, *nodes)
    missing = [n for n in nodes if n.op is not SYMBOL]
    if missing:
        present = set(topological(y))
        for node in missing:
            if node not in present:
                raise ValueError(
                    f"{operation}: the {node.op.name} node of shape {dims.format_shape(node.shape)} does not occur in the expression: "
                    "differentiate with respect to a symbol, or to a node that the expression was built from"
                )


def _tangent_of(operation: str, v: ExprLike, node: Expr) -> Expr:
    v = as_expr(v)
    message = f"{operation}: a direction of shape {dims.format_shape(v.shape)} for a node of shape {dims.format_shape(node.shape)}"
    if v.ndim != node.ndim:
        raise ShapeError(message)
    for have, want in zip(v.shape, node.shape, strict=True):
        dims.require(have, "==", want, message)
    return v


# --- gradients -------------------------------------------------------------------------------------


def _gradient(seeds: Sequence[tuple[Expr, Expr]], nodes: Sequence[Expr], tidy: Callable[[Expr], Expr] | None = None) -> list[Expr]:
    real = [(y, g) for y, g in seeds if y.kind == "real"]
    return [zeros(node.shape) if g is None else g for g, node in zip(pull_back(real, nodes, tidy), nodes, strict=True)]


def tidy_gradient(y: Expr, nodes: Sequence[Expr], tidy: Callable[[Expr], Expr]) -> list[Expr]:
    """The gradient of a large scalar formula, simplified while it is made: each adjoint is what ``tidy`` makes of it."""
    return _gradient([(y, constant(1.0))], nodes, tidy)


def grad(y: ExprLike, wrt: Wrt, simplify: bool = True) -> Any:
    """The gradient of a scalar.

    ``wrt``: a symbol, a symbol's name, any intermediate node, or a sequence or dict of them; the result has
    that structure, and each gradient its node's shape. ``simplify=False`` gives the bare chain rule.
    Raises ``ShapeError`` where ``y`` is not a scalar, ``ValueError`` for a node that does not occur in ``y``
    (a symbol that does not has gradient 0), ``TypeError`` for integer ones.

    >>> import symgrad as sg
    >>> x, w = sg.symbols("x w")
    >>> h = x*w
    >>> sg.grad(sg.sin(h), h)
    cos(x*w)
    """
    y = as_expr(y)
    if y.shape:
        shape = dims.format_shape(y.shape)
        raise ShapeError(f"grad: the expression has shape {shape}, and a gradient is of a scalar: use sg.jacobian, or sum it first")
    nodes, build = _nodes_of("grad", wrt, y)
    _check_occurs("grad", y, nodes)
    return build(_finished(_gradient([(y, constant(1.0))], nodes), [y, *nodes], simplify))


def vjp(y: ExprLike, x: Wrt, g: ExprLike, simplify: bool = True) -> Any:
    """The vector-Jacobian product ``gᵀ ∂y/∂x``: the gradient of ``sum(g*y)`` with ``g`` held fixed.

    ``g`` has the shape of ``y``, the result the structure and shapes of ``x``.

    >>> import symgrad as sg
    >>> x, g = sg.symbol("x", 3), sg.symbol("g", 3)
    >>> sg.vjp(sg.exp(x), x, g).shape
    (3,)
    """
    y = as_expr(y)
    nodes, build = _nodes_of("vjp", x, y)
    _check_occurs("vjp", y, nodes)
    seed = _tangent_of("vjp", g, y)
    return build(_finished(_gradient([(y, seed)], nodes), [y, *nodes, seed], simplify))


def _directions(operation: str, x: Wrt, v: Any, nodes: Sequence[Expr]) -> dict[Expr, Expr]:
    several = isinstance(x, (list, tuple))
    given = list(v) if several else [v[k] for k in x] if isinstance(x, Mapping) else [v]
    if len(given) != len(nodes):
        raise ValueError(f"{operation}: {len(given)} directions for {len(nodes)} nodes")
    return {node: _tangent_of(operation, w, node) for node, w in zip(nodes, given, strict=True)}


def _derivative_along(y: Expr, directions: Mapping[Expr, Expr]) -> Expr:
    (tangent,) = push_forward([y], directions)
    return zeros(y.shape) if tangent is None or y.kind != "real" else tangent


def jvp(y: ExprLike, x: Wrt, v: Any, simplify: bool = True) -> Expr:
    """The Jacobian-vector product ``∂y/∂x v``: the derivative of ``y`` along ``v``, by the forward sweep.

    ``v`` has the shape (or structure) of ``x``, the result the shape of ``y``.

    >>> import symgrad as sg
    >>> x, v = sg.symbols("x v")
    >>> sg.jvp(x*x, x, v)
    2*x*v
    """
    y = as_expr(y)
    nodes, _ = _nodes_of("jvp", x, y)
    _check_occurs("jvp", y, nodes)
    directions = _directions("jvp", x, v, nodes)
    return _finished([_derivative_along(y, directions)], [y, *nodes, *directions.values()], simplify)[0]


def hvp(y: ExprLike, x: Wrt, v: Any, simplify: bool = True) -> Any:
    """The Hessian-vector product of a scalar: the gradient's derivative along ``v``, forward over reverse.

    >>> import symgrad as sg
    >>> x, v = sg.symbol("x", 3), sg.symbol("v", 3)
    >>> sg.hvp(sg.sum(x**3), x, v).shape
    (3,)
    """
    y = as_expr(y)
    nodes, build = _nodes_of("hvp", x, y)
    gradients = grad(y, nodes, simplify=simplify)
    directions = _directions("hvp", x, v, nodes)
    return build(_finished([_derivative_along(g, directions) for g in gradients], [y, *nodes, *directions.values()], simplify))


# --- Jacobians -------------------------------------------------------------------------------------


def _count(shape: Shape) -> int:
    """The number of elements, a named dimension taken as large."""
    total = 1
    for dim in shape:
        total *= dim if isinstance(dim, int) else 1000
    return total


def _jacobians(y: Expr, nodes: Sequence[Expr]) -> list[Expr]:
    """One reverse sweep for all nodes that have as many elements as ``y`` or more, a forward sweep for each other one."""
    if y.kind != "real":
        return [zeros(y.shape + x.shape) for x in nodes]
    wide = [x for x in dict.fromkeys(nodes) if _count(y.shape) <= _count(x.shape)]
    found = dict(zip(wide, _jacobians_by_rows(y, wide), strict=True))
    return [found[x] if x in found else _jacobian_by_columns(y, x) for x in nodes]


def _jacobians_by_rows(y: Expr, nodes: Sequence[Expr]) -> list[Expr]:
    """The reverse sweep for every element of ``y`` at once."""
    if not y.shape:
        return _gradient([(y, constant(1.0))], nodes)
    g = fresh_symbol("cotangent", y)
    rows = pull_back([(y, g)], nodes)
    return [zeros(y.shape + x.shape) if row is None else over_unit_vectors(row, g) for x, row in zip(nodes, rows, strict=True)]


def _jacobian_by_columns(y: Expr, x: Expr) -> Expr:
    """The forward sweep for every element of ``x`` at once."""
    if not x.shape:
        return _derivative_along(y, {x: constant(1.0)})
    v = fresh_symbol("tangent", x)
    (column,) = push_forward([y], {x: v})
    if column is None:
        return zeros(y.shape + x.shape)
    columns = over_unit_vectors(column, v)
    ndim = columns.ndim
    return columns if not y.shape else apply(TRANSPOSE, columns, axes=(*range(x.ndim - ndim, 0), *range(-ndim, x.ndim - ndim)))


def jacobian(y: ExprLike, x: Wrt, simplify: bool = True) -> Any:
    """All derivatives of ``y`` with respect to ``x``: shape ``y.shape + x.shape``.

    The sweep is reverse where ``y`` has fewer elements than ``x`` (a named dimension counts as large), else forward.

    >>> import symgrad as sg
    >>> x = sg.symbol("x", ("n", 3))
    >>> sg.jacobian(sg.sum(x**2, axis=1), x).shape
    ('n', 'n', 3)
    """
    y = as_expr(y)
    nodes, build = _nodes_of("jacobian", x, y)
    _check_occurs("jacobian", y, nodes)
    return build(_finished(_jacobians(y, nodes), [y, *nodes], simplify))


def hessian(y: ExprLike, x: Wrt, simplify: bool = True) -> Any:
    """The second derivatives of a scalar: shape ``x.shape + x.shape``; nested where ``x`` is a sequence.

    >>> import symgrad as sg
    >>> x = sg.symbol("x", 3)
    >>> sg.hessian(sg.sum(x**3), x).shape
    (3, 3)
    """
    y = as_expr(y)
    nodes, build = _nodes_of("hessian", x, y)
    gradients = grad(y, nodes, simplify=simplify)
    rows = [entry for g in gradients for entry in _jacobians(g, nodes)]
    finished = _finished(rows, [y, *nodes], simplify)
    width = len(nodes)
    return build([build(finished[k * width : (k + 1) * width]) for k in range(width)])
