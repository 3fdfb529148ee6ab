"""EVALUATE: a slow, obvious NumPy evaluator of expressions, the oracle of the tests.

Every node once, operands first, each by its record's ``evaluate``; NumPy's error model, no masks, no
simplification. Reals have the asked width after every node, integers are int64, booleans one byte.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, overload

import numpy as np

from symgrad import dims
from symgrad.dims import Dim
from symgrad.errors import ShapeError
from symgrad.expr import SYMBOL, Array, Expr, ExprLike, Kind, as_expr, free_symbols, topological
from symgrad.ops.movement import DIM_PARAMS

__all__ = ["bind_sizes", "evaluate", "resolve_params"]

Sizes = Mapping[str, int]
Values = Mapping[Any, Any]  # symbol or its name -> number or array


@overload
def evaluate(expr: Sequence[ExprLike], values: Values, dtype: str = ..., *, sizes: Sizes | None = ...) -> list[Array]: ...
@overload
def evaluate(expr: ExprLike, values: Values, dtype: str = ..., *, sizes: Sizes | None = ...) -> Array: ...
def evaluate(expr: Any, values: Values, dtype: str = "float64", *, sizes: Sizes | None = None) -> Any:
    """The value of an expression, or of each in a list or tuple, at given values of its symbols.

    ``values``: symbol or name → number or array of the symbol's shape; named dimensions take their sizes from
    the arrays. Entries of symbols that do not occur only give sizes. ``dtype``: "float64" or "float32".
    ``sizes``: dimension → size, for dimensions that no array shows.
    Raises ``TypeError`` for missing values and wrong kinds, ``ShapeError`` where shapes or sizes do not fit.

    >>> import symgrad as sg
    >>> x = sg.symbol("x", "n")
    >>> evaluate(sg.sum(x**2), {x: [3.0, 4.0]})
    array(25.)
    """
    if dtype not in ("float64", "float32"):
        raise TypeError(f"dtype is 'float64' or 'float32', not {dtype!r}")
    real = np.dtype(dtype)
    many = isinstance(expr, (list, tuple))
    roots = [as_expr(e) for e in expr] if many else [as_expr(expr)]
    wanted = free_symbols(*roots)
    given = {s: _converted(s, _value_of(s, values), real) for s in wanted}
    seen = {k: np.asarray(v) for k, v in values.items() if isinstance(k, Expr) and k not in given}
    bound = bind_sizes({**given, **seen}, sizes)
    results: dict[Expr, Array] = dict(given)
    with np.errstate(all="ignore"):
        for node in topological(*roots):
            if node not in results:
                results[node] = _evaluate_node(node, [results[a] for a in node.args], bound, real)
    return [results[r] for r in roots] if many else results[roots[0]]


def _value_of(s: Expr, values: Values) -> Any:
    if s in values:
        return values[s]
    if s.name in values:
        return values[s.name]
    raise TypeError(f"no value for {s.name!r}: given are {', '.join(getattr(k, 'name', str(k)) for k in values) or 'none'}")


def _dtype(kind: Kind, real: np.dtype[Any]) -> np.dtype[Any]:
    return {"real": real, "integer": np.dtype(np.int64), "boolean": np.dtype(np.bool_)}[kind]


def _converted(s: Expr, value: Any, real: np.dtype[Any]) -> Array:
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{s.name} takes {s.kind} numbers, not {array.dtype}")
    result = array.astype(_dtype(s.kind, real))
    if s.kind == "integer" and np.any(result != array):
        raise TypeError(f"{s.name} takes whole numbers")
    return result


def bind_sizes(arrays: Mapping[Expr, Array], sizes: Sizes | None = None) -> dict[str, int]:
    """The size of each named dimension, from the arrays' shapes; ``ShapeError`` where they do not fit the symbols'."""
    found: dict[str, int] = dict(sizes or {})
    entries = [(s, axis, dim, size) for s, a in arrays.items() for axis, (dim, size) in enumerate(zip(_checked_shape(s, a), a.shape))]
    for s, axis, dim, size in entries:
        if isinstance(dim, str) and dim.isidentifier() and found.setdefault(dim, size) != size:
            raise ShapeError(f"{s.name}: axis {axis} has {size} entries, but {dim} is {found[dim]} elsewhere")
    for s, axis, dim, size in entries:
        if _size(dim, found) != size:
            wanted = dim if isinstance(dim, int) else f"{dim} = {_size(dim, found)}"
            raise ShapeError(f"{s.name}: axis {axis} has {size} entries instead of {wanted}")
    return found


def _checked_shape(s: Expr, array: Array) -> dims.Shape:
    if array.ndim != s.ndim:
        raise ShapeError(f"{s.name} has shape {dims.format_shape(s.shape)}, the value {dims.format_shape(array.shape)}")
    return s.shape


def _size(dim: Dim, sizes: Sizes) -> int:
    unknown = [n for n in dims.names(dim) if n not in sizes]
    if unknown:
        raise ShapeError(f"the size of {unknown[0]} is not known: no argument has an axis of that name")
    return dims.evaluate(dim, sizes)


def resolve_params(params: Mapping[str, Any], sizes: Sizes) -> dict[str, Any]:
    """The parameters of a node with dimensions as numbers."""
    return {name: _resolved(value, sizes) if name in DIM_PARAMS else value for name, value in params.items()}


def _resolved(value: Any, sizes: Sizes) -> Any:
    if isinstance(value, tuple):
        return tuple(_resolved(v, sizes) for v in value)
    return _size(value, sizes) if isinstance(value, (int, str)) else value


def check_constraints(node: Expr, sizes: Sizes) -> None:
    """Runs the node's shape rule again and checks what it had left to the call."""
    shapes = [a.shape for a in node.args]
    with dims.constraints() as left_open:
        if node.op.shape is None:
            dims.broadcast(node.op.name, *shapes)
        elif node.op is not SYMBOL:
            node.op.shape(*shapes, **node.params)
    for left, relation, right in left_open:
        a, b = _size(left, sizes), _size(right, sizes)
        if a != b if relation == "==" else a < b:
            raise ShapeError(f"{node.op.name}: {left} = {a} must be {'equal to' if relation == '==' else 'at least'} {right} = {b}")
    if any(_size(d, sizes) < 0 for d in node.shape):
        raise ShapeError(f"{node.op.name}: shape {dims.format_shape(node.shape)} has a negative size")


def _evaluate_node(node: Expr, operands: list[Array], sizes: Sizes, real: np.dtype[Any]) -> Array:
    op = node.op
    if op.evaluate is None:
        raise NotImplementedError(f"op {op.name!r} has no evaluate: add it to its record in symgrad/ops/")
    if op.family != "leaf":
        check_constraints(node, sizes)
    arrays = _common_kinds(node, operands, real)
    result = np.asarray(op.evaluate(*arrays, **resolve_params(node.params, sizes))).astype(_dtype(node.kind, real))
    expected = tuple(_size(d, sizes) for d in node.shape)
    if result.shape != expected:
        raise AssertionError(f"op {op.name!r}: its shape rule says {expected}, its evaluate gives {result.shape}")
    return result


def _common_kinds(node: Expr, operands: Iterable[Array], real: np.dtype[Any]) -> list[Array]:
    """Where reals meet other kinds in arithmetic, all become real of the asked width (NumPy would widen float32)."""
    arrays = list(operands)
    if node.op.family not in ("elementwise", "composite", "contract"):
        return arrays
    numbers = slice(1, None) if node.op.name == "where" else slice(None)
    if node.kind == "real" or any(a.kind == "real" for a in node.args[numbers]):
        arrays[numbers] = [a.astype(real) for a in arrays[numbers]]
    elif node.op.family == "contract":
        arrays = [a.astype(np.int64) for a in arrays]  # einsum would take the products of booleans for "and"
    return arrays
