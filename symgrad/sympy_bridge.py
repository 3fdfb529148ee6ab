"""SYMPY: expressions to SymPy and back.

``to_sympy`` maps a scalar to a SymPy expression over real symbols, a tensor of fixed sizes to a matrix or array
of such expressions (elements of a symbol ``x`` are ``x[i]``). ``from_sympy`` reads what SymPy writes, matrix
expressions included. Floats keep their bits: SymPy prints 15 digits of them, and holds all 53 bits.

SymPy is imported by ``to_sympy`` alone; whoever hands over a SymPy object has imported it already.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import numpy as np

from symgrad import dims, ops
from symgrad.errors import ShapeError
from symgrad.expr import METHODS, OPS, Expr, Op, _converters, apply, as_expr, constant, free_symbols, rewrite, symbol, topological
from symgrad.ops.linalg import det, inv

__all__ = ["Reader", "from_sympy", "scalar_to_sympy", "to_sympy"]

MAX_ELEMENTS = 20_000  # scalar operations that are handed to SymPy at once
MAX_TERMS = 10_000  # of a finite Sum or Product
_EXACT = 2**53  # whole numbers below it are floats without rounding

Plan = tuple[Sequence[Any], Callable[..., Expr]]  # SymPy objects to convert first, and what to make of them


# --- to SymPy --------------------------------------------------------------------------------------


def to_sympy(expr: Any) -> Any:
    """The SymPy form of an expression: a scalar, an ``ImmutableMatrix`` (two axes) or an ``ImmutableDenseNDimArray``.

    Symbols become real (positive, integer) ones. ``named`` and ``stop_gradient`` nodes are seen through.
    Raises ``ShapeError`` for a named dimension, ``TypeError`` for an operation without SymPy counterpart,
    ``ValueError`` where the expression is larger or deeper than SymPy can take, or has two symbols of one name.

    >>> import symgrad as sg
    >>> x = sg.symbol("x")
    >>> sg.to_sympy(sg.sin(x)**2).diff("x") == 0
    True
    """
    import sympy

    root = _without_composites(as_expr(expr))
    order = topological(root)
    free_symbols(root)  # SymPy's symbols of one name are one symbol
    size = sum(_elements(node) for node in order)
    if size > MAX_ELEMENTS:
        raise ValueError(f"to_sympy: {size} scalar operations are more than SymPy can take ({MAX_ELEMENTS})")
    values: dict[Expr, Any] = {}
    try:
        for node in order:
            values[node] = _node_to_sympy(sympy, node, [values[a] for a in node.args])
        value = values[root]
        if not root.shape:
            return value.item() if isinstance(value, np.ndarray) else value
        if root.ndim == 2:
            return sympy.ImmutableDenseMatrix(*value.shape, list(value.flat))
        return sympy.ImmutableDenseNDimArray(list(value.flat), value.shape)
    except RecursionError:
        raise ValueError(f"to_sympy: this expression of {len(order)} nodes is nested deeper than SymPy, which recurses, can take") from None


def _elements(node: Expr) -> int:
    total = dims.total(node.shape)
    if not isinstance(total, int):
        shape = dims.format_shape(node.shape)
        raise ShapeError(f"to_sympy: a {node.op.name} of shape {shape} has a named dimension; SymPy needs fixed sizes")
    return max(1, total)


def _without_composites(root: Expr) -> Expr:
    def expand(node: Expr, args: tuple[Expr, ...]) -> Expr:
        if node.op.expand is None or node.op.name in _ARRAYS or node.op.sympy is not None:
            return apply(node.op, *args, **node.params) if node.args and args != node.args else node
        return node.op.expand(*args, **node.params)

    for _ in range(8):  # composites of composites
        expanded = rewrite([root], expand)[0]
        if expanded is root:
            break
        root = expanded
    return root


def _node_to_sympy(sympy: Any, node: Expr, operands: list[Any]) -> Any:
    name, params = node.op.name, dict(node.params)
    if name == "constant":
        value = params["value"]
        return _each(lambda v: number_to_sympy(sympy, v), np.asarray(value, dtype=object)) if node.shape else number_to_sympy(sympy, value)
    if name == "symbol":
        return _symbol_to_sympy(sympy, node)
    if name in ("named", "stop_gradient"):
        return operands[0]
    if node.op.family != "movement":
        operands = [_arithmetic(sympy, node.op, a.kind, v) for a, v in zip(node.args, operands)]
    if name in _ARRAYS:
        return _ARRAYS[name](sympy, *operands, **params)
    if node.op.family == "elementwise":
        return _each(lambda *scalars: scalar_to_sympy(node.op, scalars, params), *operands)
    if name in ("gather", "scatter_add"):
        operands = [operands[0], *map(_positions, operands[1:])]
    if node.op.family in ("movement", "leaf") and node.op.evaluate is not None:
        return _each(sympy.sympify, np.asarray(node.op.evaluate(*map(_array, operands), **params), dtype=object))
    raise TypeError(f"to_sympy: {name} has no SymPy counterpart")


def scalar_to_sympy(op: Op, operands: Sequence[Any], params: dict[str, Any]) -> Any:
    """An elementwise op of SymPy scalars: its counterpart, or an undefined function of its name."""
    import sympy

    if op.name in _SCALARS:
        return _SCALARS[op.name](sympy, *operands, **params)
    if callable(op.sympy):
        return sympy.sympify(op.sympy(*operands, **params))
    if isinstance(op.sympy, str):
        return _resolve(op.sympy)(*operands, **params)
    if params or op.kind(*["real"] * len(operands)) == "boolean":
        raise TypeError(f"to_sympy: {op.name} has no SymPy counterpart")
    return sympy.Function(op.name, real=True)(*operands)


def _resolve(dotted: str) -> Any:
    from importlib import import_module

    module, _, name = dotted.rpartition(".")
    return getattr(import_module(module or "sympy"), name)


def number_to_sympy(sympy: Any, value: Any) -> Any:
    """A number with all its bits: ``-0.0`` as an unevaluated product, since SymPy has one zero."""
    if isinstance(value, (bool, np.bool_)):
        return sympy.true if value else sympy.false
    if isinstance(value, (int, np.integer)):
        return sympy.Integer(int(value))
    value = float(value)
    if value == math.pi:
        return sympy.pi
    if value == 0.0 and math.copysign(1.0, value) < 0.0:
        return sympy.Mul(sympy.Integer(-1), sympy.Float(0.0, precision=53), evaluate=False)
    return sympy.Float(value, precision=53)


def _symbol_to_sympy(sympy: Any, node: Expr) -> Any:
    assumptions = {"positive": True} if node.params["positive"] else {}
    assumptions |= {"integer": True} if node.kind == "integer" else {"real": True}
    plain = sympy.Symbol(node.name, **assumptions)
    if not node.shape:
        return plain
    base = sympy.IndexedBase(plain, shape=node.shape)
    elements = _empty(node.shape)
    for index in np.ndindex(*elements.shape):
        elements[index] = base[index]
    return elements


def _arithmetic(sympy: Any, op: Op, kind: str, value: Any) -> Any:
    """SymPy does not count with truth values: they become 1 and 0 where an operation does."""
    if kind != "boolean" or op.name in ("where", "logical_and", "logical_or", "logical_not"):
        return value
    return _each(lambda v: sympy.Piecewise((1, v), (0, True)), value)


def _empty(shape: Any) -> Any:
    return np.empty(shape, dtype=object)


def _positions(index: Any) -> Any:
    try:
        return _array(index).astype(np.int64)
    except TypeError:
        raise TypeError("to_sympy: an index that is no number has no SymPy counterpart") from None


def _array(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value
    array = _empty(())
    array[()] = value
    return array


def _each(f: Callable[..., Any], *operands: Any) -> Any:
    """``f`` element by element, with broadcasting; a scalar for scalars."""
    if not any(isinstance(o, np.ndarray) for o in operands):
        return f(*operands)
    arrays = np.broadcast_arrays(*map(_array, operands))
    result = _empty(arrays[0].shape)
    for index in np.ndindex(*result.shape):
        result[index] = f(*(a[index] for a in arrays))
    return result


def _reduced(fold: str) -> Callable[..., Any]:
    """A reduction by a SymPy function of many arguments (``Add``, ``Max``)."""

    def reduction(sympy: Any, x: Any, axes: Sequence[int], keepdims: bool = False) -> Any:
        x = _array(x)
        kept = [a for a in range(-x.ndim, 0) if a not in axes]
        rows = np.transpose(x, (*kept, *axes)).reshape(*(x.shape[a] for a in kept), -1)
        result = _empty(rows.shape[:-1])
        for index in np.ndindex(*result.shape):
            result[index] = getattr(sympy, fold)(*rows[index])
        return result.reshape([1 if a in axes else x.shape[a] for a in range(-x.ndim, 0)]) if keepdims else result

    return reduction


_sum, _max = _reduced("Add"), _reduced("Max")


def _exponentials(sympy: Any, x: Any, axes: Sequence[int], keepdims: bool) -> tuple[Any, Any]:
    e = _each(sympy.exp, x)
    return e, _sum(sympy, e, axes, keepdims)


def _softmax(sympy: Any, x: Any, axis: int) -> Any:
    e, total = _exponentials(sympy, x, (axis,), True)
    return _each(lambda a, b: a / b, e, total)


def _log_softmax(sympy: Any, x: Any, axis: int) -> Any:
    _, total = _exponentials(sympy, x, (axis,), True)
    return _each(lambda a, b: a - sympy.log(b), x, total)


def _logsumexp(sympy: Any, x: Any, axes: Sequence[int], keepdims: bool = False) -> Any:
    return _each(sympy.log, _exponentials(sympy, x, axes, keepdims)[1])


def _norm(sympy: Any, x: Any, axes: Sequence[int], keepdims: bool = False) -> Any:
    return _each(sympy.sqrt, _sum(sympy, _each(lambda v: v**2, x), axes, keepdims))


def _cumsum(sympy: Any, x: Any, axis: int, reverse: bool = False) -> Any:
    turned = np.flip(x, axis) if reverse else x
    total = np.cumsum(turned, axis=axis)
    return np.flip(total, axis) if reverse else total


def _contract(sympy: Any, a: Any, b: Any, spec: str) -> Any:
    return _array(np.einsum(spec, _array(a), _array(b)))


def _stacked(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of SymPy matrices for stacks of them (last two axes); ``vector``: the last operand is one of vectors."""

    def each(sympy: Any, *stacks: Any, vector: bool = False, **params: Any) -> Any:
        arrays = [_array(s) for s in stacks]
        if vector:
            arrays[-1] = arrays[-1][..., None]
        batch = np.broadcast_shapes(*[a.shape[:-2] for a in arrays])
        wide = [np.broadcast_to(a, batch + a.shape[-2:]) for a in arrays]
        found = {at: function(sympy, *[sympy.Matrix(w[at]) for w in wide], **params) for at in np.ndindex(*batch)}
        shape = next((f.shape for f in found.values() if hasattr(f, "shape")), ())
        result = _empty(batch + shape)
        for at, value in found.items():
            result[at] = np.array(value.tolist(), dtype=object).reshape(shape) if shape else value
        return result[..., 0] if vector else result

    return each


def _triangle(sympy: Any, a: Any, b: Any, lower: bool) -> Any:
    return (a.lower_triangular() if lower else a.upper_triangular()).inv() * b


def _piecewise(sympy: Any, condition: Any, a: Any, b: Any) -> Any:
    if not isinstance(condition, sympy.logic.boolalg.Boolean):
        condition = sympy.Ne(condition, 0)
    truths = (sympy.logic.boolalg.BooleanFunction, sympy.logic.boolalg.BooleanAtom, sympy.core.relational.Relational)
    if isinstance(a, truths) and isinstance(b, truths):
        return sympy.ITE(condition, a, b)
    return sympy.Piecewise((a, condition), (b, True))


def _gelu(sympy: Any, x: Any, approximate: bool) -> Any:
    if approximate:
        return x * (1 + sympy.tanh(sympy.sqrt(2 / sympy.pi) * (x + sympy.Rational(44715, 1000000) * x**3))) / 2
    return x * (1 + sympy.erf(x / sympy.sqrt(2))) / 2


# Elementwise ops whose counterpart is a formula of several SymPy functions.
_SCALARS: dict[str, Callable[..., Any]] = {
    "where": _piecewise,
    "ratio": lambda sympy, a, b: sympy.Piecewise((0, sympy.Eq(b, 0)), (a / b, True)),
    "clip": lambda sympy, x, low, high: sympy.Min(sympy.Max(x, low), high),
    "polygamma": lambda sympy, x, order: sympy.polygamma(order, x),
    "sigmoid": lambda sympy, x: 1 / (1 + sympy.exp(-x)),
    "log_sigmoid": lambda sympy, x: -sympy.log(1 + sympy.exp(-x)),
    "softplus": lambda sympy, x: sympy.log(1 + sympy.exp(x)),
    "silu": lambda sympy, x: x / (1 + sympy.exp(-x)),
    "relu": lambda sympy, x: sympy.Max(x, 0),
    "leaky_relu": lambda sympy, x, slope: sympy.Piecewise((x, x > 0), (number_to_sympy(sympy, slope) * x, True)),
    "elu": lambda sympy, x, alpha: sympy.Piecewise((x, x > 0), (number_to_sympy(sympy, alpha) * (sympy.exp(x) - 1), True)),
    "gelu": _gelu,
}  # fmt: skip

# Tensor ops by name, on object arrays. Mathematical forms: without the shift that keeps exp from overflowing.
_ARRAYS: dict[str, Callable[..., Any]] = {
    "sum": _sum, "max": _max, "min": _reduced("Min"), "prod": _reduced("Mul"), "cumsum": _cumsum, "contract": _contract,
    "softmax": _softmax, "log_softmax": _log_softmax, "logsumexp": _logsumexp, "norm": _norm,
    "inv": _stacked(lambda sympy, a: a.inv()), "det": _stacked(lambda sympy, a: a.det()),
    "logdet": _stacked(lambda sympy, a: sympy.log(sympy.Abs(a.det()))), "signdet": _stacked(lambda sympy, a: sympy.sign(a.det())),
    "solve": _stacked(lambda sympy, a, b: a.inv() * b), "solve_triangular": _stacked(_triangle),
    "cholesky": _stacked(lambda sympy, a: ((a + a.T) / 2).cholesky(hermitian=False)),
}  # fmt: skip


# --- from SymPy ------------------------------------------------------------------------------------


def from_sympy(e: Any) -> Any:
    """The expression of a SymPy one; lists, tuples and dicts item by item, a ``Matrix`` or array as one tensor.

    Symbols are taken as real; ``positive`` and ``integer`` assumptions are kept. Fractions are rounded once.
    Raises ``TypeError`` for complex numbers and for functions without counterpart, ``ValueError`` for two
    different SymPy symbols of one name.

    >>> import sympy, symgrad as sg
    >>> x = sympy.Symbol("x")
    >>> sg.from_sympy(sympy.sin(x) / 3) is sg.sin(sg.symbol("x")) / 3
    True
    """
    if isinstance(e, (list, tuple)):
        return type(e)(map(from_sympy, e))
    if isinstance(e, dict):
        return {key: from_sympy(item) for key, item in e.items()}
    if not _is_sympy(e):
        return as_expr(e)
    return Reader().read(e)


def _is_sympy(value: Any) -> bool:
    sympy = sys.modules.get("sympy")
    kinds = tuple(getattr(sympy, name) for name in ("Basic", "MatrixBase", "NDimArray") if hasattr(sympy, name))
    return isinstance(value, kinds)


def _convert(value: Any) -> Expr | None:
    return Reader().read(value) if "sympy" in sys.modules and _is_sympy(value) else None


class Reader:
    """One conversion: operands before their users, every SymPy object once."""

    def __init__(self, leaves: dict[Any, Expr] | None = None) -> None:
        self.done: dict[Any, Expr] = dict(leaves or {})
        self.names: dict[str, Any] = {}

    def read(self, e: Any) -> Expr:
        if not hasattr(e, "__hash__") or e.__hash__ is None or not hasattr(e, "args"):
            e = e.as_immutable()  # a mutable matrix or array
        stack: list[tuple[Any, Plan | None]] = [(e, None)]
        while stack:
            item, plan = stack.pop()
            if plan is not None:
                self.done[item] = plan[1](*(self.done[c] for c in plan[0]))
            elif item not in self.done:
                plan = self.plan(item)
                stack.append((item, plan))
                stack.extend((c, None) for c in reversed(plan[0]) if c not in self.done)
        return self.done[e]

    def plan(self, e: Any) -> Plan:
        for cls in type(e).__mro__:
            if cls.__name__ in _HANDLERS and cls.__module__.startswith("sympy."):
                return _HANDLERS[cls.__name__](self, e)
        name = type(e).__name__
        counterpart = _counterparts().get(name) or (OPS.get(name) if getattr(e, "is_Function", False) else None)
        if counterpart is not None:
            op = counterpart
            return e.args, lambda *operands: apply(op, *operands)
        raise TypeError(f"from_sympy: {name} has no counterpart here ({str(e)[:60]})")

    def symbol(self, name: str, owner: Any, shape: Any = ()) -> Expr:
        other = self.names.setdefault(name, owner)
        if other != owner:
            raise ValueError(f"from_sympy: two different SymPy symbols are named {name!r} (their assumptions or shapes differ)")
        if owner.is_Symbol and owner.is_extended_real is False:
            raise TypeError(f"from_sympy: {name} is not real")
        return symbol(name, shape, integer=owner.is_integer is True, positive=owner.is_positive is True)


def _counterparts() -> dict[str, Op]:
    """SymPy class name to the op that names it as its counterpart (``sympy.Eq`` is the class ``Equality``)."""
    return {_resolve(op.sympy).__name__: op for op in OPS.values() if isinstance(op.sympy, str) and op.family == "elementwise"}


def _leaf(value: Expr) -> Plan:
    return (), lambda: value


def _on_symbol(reader: Reader, e: Any) -> Plan:
    return _leaf(reader.symbol(e.name, e))


def _on_dummy(reader: Reader, e: Any) -> Plan:
    return _leaf(reader.symbol(f"{e.name}_{e.dummy_index}", e))


def _on_integer(reader: Reader, e: Any) -> Plan:
    return _leaf(_rational(int(e), 1))


def _on_rational(reader: Reader, e: Any) -> Plan:
    return _leaf(_rational(int(e.p), int(e.q)))


def _rational(p: int, q: int) -> Expr:
    return constant(p) if q == 1 and -(2**63) <= p < 2**63 else constant(p / q)


def _on_number(reader: Reader, e: Any) -> Plan:
    return _leaf(constant(float(e)))


def _on_complex(reader: Reader, e: Any) -> Plan:
    raise TypeError(f"from_sympy: {e} is not real")


def _on_truth(reader: Reader, e: Any) -> Plan:
    return _leaf(constant(bool(e)))


def _ordered(e: Any, method: str) -> list[Any]:
    """Terms or factors as SymPy prints them; in storage order where asking would be slow or deep."""
    if len(e.args) > 50:
        return list(e.args)
    try:
        return list(getattr(e, method)())
    except RecursionError:
        return list(e.args)


def _on_add(reader: Reader, e: Any) -> Plan:
    terms = _ordered(e, "as_ordered_terms") if e.is_commutative else list(e.args)
    terms.sort(key=lambda t: t.is_Number or t.is_NumberSymbol)  # numbers last
    signs = [_is_negative(t) for t in terms]
    if signs[0] and not all(signs):
        first = signs.index(False)
        terms.insert(0, terms.pop(first))
        signs.insert(0, signs.pop(first))

    def total(*values: Expr) -> Expr:
        result = METHODS["neg"](values[0]) if signs[0] else values[0]
        for negative, value in zip(signs[1:], values[1:]):
            result = METHODS["sub" if negative else "add"](result, value)
        return result

    return [-t if negative else t for t, negative in zip(terms, signs)], total


def _is_negative(term: Any) -> bool:
    coefficient = term.as_coeff_Mul()[0] if term.is_Mul else term
    return bool(coefficient.is_Number and coefficient.is_negative)


def _on_mul(reader: Reader, e: Any) -> Plan:
    import sympy

    coefficient, rest = e.as_coeff_Mul()
    above: list[Any] = []
    below: list[Any] = []
    factors = (_ordered(rest, "as_ordered_factors") if rest.is_commutative else list(rest.args)) if rest.is_Mul else [rest]
    for factor in factors:
        (below if _divides(factor) else above).append(1 / factor if _divides(factor) else factor)
    negative = coefficient.is_negative is True
    number = -coefficient if negative else coefficient
    if number.is_Rational and max(number.p, number.q) < _EXACT:  # a*p/q: rounded once, and p, q read better
        if number.p != 1:
            above.insert(0, sympy.Integer(number.p))
        if number.q != 1:
            below.insert(0, sympy.Integer(number.q))
    elif number != 1:
        above.insert(0, number)
    split = len(above)

    def product(*values: Expr) -> Expr:
        result = reduce(METHODS["mul"], values[:split]) if split else constant(1)
        if len(values) > split:
            result = METHODS["div"](result, reduce(METHODS["mul"], values[split:]))
        return METHODS["neg"](result) if negative else result

    return above + below, product


def _divides(factor: Any) -> bool:
    return bool(factor.is_Pow and factor.exp.is_Rational and factor.exp.is_negative)


def _on_pow(reader: Reader, e: Any) -> Plan:
    base, exponent = e.args
    if exponent.is_Rational and exponent.is_negative:
        return [1 / e], lambda value: METHODS["div"](constant(1), value)
    if exponent.is_Rational and (exponent.p, exponent.q) == (1, 2):
        return [base], ops.sqrt
    if str(base) == "E":
        return [exponent], ops.exp
    return [base, exponent], METHODS["pow"]


def _on_piecewise(reader: Reader, e: Any) -> Plan:
    pairs = [(p.expr, p.cond) for p in e.args]

    def choose(*values: Expr) -> Expr:
        result = constant(math.nan)  # where no condition holds, as SymPy has it
        for value, condition in zip(values[-2::-2], values[::-2]):
            result = value if condition is constant(True) else ops.where(condition, value, result)
        return result

    return [part for pair in pairs for part in pair], choose


def _on_heaviside(reader: Reader, e: Any) -> Plan:
    def step(x: Expr, at_zero: Expr) -> Expr:
        return ops.where(x < 0, 0, ops.where(x > 0, 1, at_zero))

    return e.args, step


def _on_polygamma(reader: Reader, e: Any) -> Plan:
    order, x = e.args
    if not (order.is_Integer and order >= 0):
        raise TypeError(f"from_sympy: polygamma of order {order}: only whole orders are supported")
    if order == 0:
        return [x], ops.digamma
    return [x], lambda value: apply(OPS["polygamma"], value, order=int(order))


def _on_gamma(reader: Reader, e: Any) -> Plan:
    return e.args, _gamma


def _gamma(x: Expr) -> Expr:
    """The sign of gamma on (-n - 1, -n) is (-1)**(n + 1)."""
    magnitude = ops.exp(ops.lgamma(x))
    return magnitude if _is_positive(x) else ops.where(x > 0, magnitude, magnitude * (1 - 2 * (ops.floor(x) % 2)))


def _is_positive(x: Expr) -> bool:
    return bool(x.params.get("positive")) if x.op.name == "symbol" else x.op.name == "constant" and not x.shape and float(x) > 0


def _on_repeated(join: str) -> Callable[[Reader, Any], Plan]:
    """A finite ``Sum`` or ``Product``, term by term."""

    def expand(reader: Reader, e: Any) -> Plan:
        import sympy

        terms = [e.function]
        for index, start, stop in e.limits:
            if not (start.is_Integer and stop.is_Integer):
                raise TypeError(f"from_sympy: the limits of {str(e)[:60]} are not numbers: expand it, or use sg.sum over a tensor")
            if len(terms) * (int(stop) - int(start) + 1) > MAX_TERMS:
                raise ValueError(f"from_sympy: {str(e)[:60]} has more than {MAX_TERMS} terms: use sg.sum over a tensor")
            terms = [t.xreplace({index: sympy.Integer(k)}) for t in terms for k in range(int(start), int(stop) + 1)]
        return [getattr(sympy, join)(*terms)], lambda value: value

    return expand


def _on_doit(reader: Reader, e: Any) -> Plan:
    done = e.doit()
    if type(done) is type(e):
        raise TypeError(f"from_sympy: {str(e)[:60]} cannot be carried out")
    return [done], lambda value: value


def _on_indexed(reader: Reader, e: Any) -> Plan:
    shape = e.base.shape
    if shape is None or not all(i.is_Integer for i in e.indices):
        raise TypeError(f"from_sympy: {e}: give its IndexedBase a shape, and whole numbers as indices")
    return _leaf(reader.symbol(e.base.label.name, e.base.label, tuple(map(_size, shape)))[tuple(map(int, e.indices))])


def _size(size: Any) -> Any:
    return int(size) if size.is_Integer else str(size)


def _on_matrix_symbol(reader: Reader, e: Any) -> Plan:
    if reader.names.setdefault(e.name, e) != e:
        raise ValueError(f"from_sympy: two different SymPy symbols are named {e.name!r} (their assumptions or shapes differ)")
    return _leaf(symbol(e.name, tuple(map(_size, e.shape))))


def _on_element(reader: Reader, e: Any) -> Plan:
    matrix, row, column = e.args
    if not (row.is_Integer and column.is_Integer):
        raise TypeError(f"from_sympy: {e}: indices must be whole numbers")
    return [matrix], lambda value: value[int(row), int(column)]


def _on_array(reader: Reader, e: Any) -> Plan:
    shape = tuple(int(s) for s in e.shape)
    entries = [e[index] for index in np.ndindex(*shape)]
    base = entries[0].base if entries and getattr(entries[0], "is_Indexed", False) else None
    if base is not None and base.shape == e.shape and entries == [base[index] for index in np.ndindex(*shape)]:  # a whole symbol
        return _leaf(reader.symbol(base.label.name, base.label, shape))

    def build(*values: Expr) -> Expr:
        if all(v.op.name == "constant" for v in values):
            return constant(np.array([v.params["value"] for v in values]).reshape(shape))
        return ops.reshape(ops.stack(values), shape)

    return entries, build


def _on_filled(value: int) -> Callable[[Reader, Any], Plan]:
    return lambda reader, e: _leaf(ops.broadcast_to(value, tuple(map(_size, e.shape))))


def _on_matrix_power(reader: Reader, e: Any) -> Plan:
    if not (e.exp.is_Integer and 0 < e.exp <= 64):
        raise TypeError(f"from_sympy: {e}: only powers from 1 to 64 of a matrix are supported")
    return [e.base], lambda value: reduce(METHODS["matmul"], [value] * int(e.exp))


def _matrix_product(a: Expr, b: Expr) -> Expr:
    return METHODS["matmul" if a.shape and b.shape else "mul"](a, b)


def _call(build: Callable[..., Expr]) -> Callable[[Reader, Any], Plan]:
    """A function of its operands."""
    return lambda reader, e: (e.args, build)


def _fold(build: Callable[[Any, Any], Expr]) -> Callable[[Reader, Any], Plan]:
    """A function of two operands over all of them, from left to right."""
    return lambda reader, e: (e.args, lambda *values: reduce(build, values))


_HANDLERS: dict[str, Callable[[Reader, Any], Plan]] = {
    # leaves
    "Symbol": _on_symbol, "Dummy": _on_dummy, "Integer": _on_integer, "Rational": _on_rational, "Float": _on_number,
    "NumberSymbol": _on_number, "Infinity": _on_number, "NegativeInfinity": _on_number, "NaN": _on_number,
    "ImaginaryUnit": _on_complex, "ComplexInfinity": _on_complex, "BooleanTrue": _on_truth, "BooleanFalse": _on_truth,
    # arithmetic
    "Add": _on_add, "Mul": _on_mul, "Pow": _on_pow, "Mod": _call(lambda a, b: a % b),
    "Max": _fold(ops.maximum), "Min": _fold(ops.minimum),
    # functions without an op of their own
    "exp2": _call(lambda x: 2**x), "log2": _call(lambda x: ops.log(x) / math.log(2)), "log10": _call(lambda x: ops.log(x) / math.log(10)),
    "Sqrt": _call(ops.sqrt), "expm1": _call(ops.expm1), "log1p": _call(ops.log1p), "hypot": _call(ops.hypot),
    "cot": _call(lambda x: 1 / ops.tan(x)), "sec": _call(lambda x: 1 / ops.cos(x)), "csc": _call(lambda x: 1 / ops.sin(x)),
    "acot": _call(lambda x: ops.atan(1 / x)), "asec": _call(lambda x: ops.acos(1 / x)), "acsc": _call(lambda x: ops.asin(1 / x)),
    "coth": _call(lambda x: 1 / ops.tanh(x)), "sech": _call(lambda x: 1 / ops.cosh(x)), "csch": _call(lambda x: 1 / ops.sinh(x)),
    "acoth": _call(lambda x: ops.atanh(1 / x)), "asech": _call(lambda x: ops.acosh(1 / x)), "acsch": _call(lambda x: ops.asinh(1 / x)),
    "sinc": _call(lambda x: ops.where(ops.equal(x, 0), 1, ops.sin(x) / x)), "frac": _call(lambda x: x - ops.floor(x)),
    "re": _call(lambda x: x), "conjugate": _call(lambda x: x), "loggamma": _call(ops.lgamma), "gamma": _on_gamma,
    "factorial": _call(lambda n: _gamma(n + 1)), "polygamma": _on_polygamma, "Heaviside": _on_heaviside,
    # conditions
    "Piecewise": _on_piecewise, "ITE": _call(ops.where), "And": _fold(ops.logical_and), "Or": _fold(ops.logical_or),
    "Not": _call(ops.logical_not), "Xor": _fold(ops.not_equal), "Equivalent": _fold(ops.equal),
    "Implies": _call(lambda a, b: ~a | b),
    # what is carried out first
    "Sum": _on_repeated("Add"), "Product": _on_repeated("Mul"), "Derivative": _on_doit, "Subs": _on_doit,
    # tensors
    "Indexed": _on_indexed, "MatrixSymbol": _on_matrix_symbol, "MatrixElement": _on_element,
    "MatrixBase": _on_array, "NDimArray": _on_array,
    "MatAdd": _fold(lambda a, b: a + b), "MatMul": _fold(_matrix_product), "HadamardProduct": _fold(lambda a, b: a * b),
    "HadamardPower": _call(lambda a, b: a**b), "MatPow": _on_matrix_power, "Transpose": _call(lambda a: a.T),
    "Trace": _call(ops.trace), "Inverse": lambda reader, e: ([e.arg], inv), "Determinant": _call(det),
    "ZeroMatrix": _on_filled(0), "OneMatrix": _on_filled(1),
    "Identity": lambda reader, e: _leaf(ops.eye(_size(e.shape[0]))),
}  # fmt: skip

METHODS["to_sympy"] = to_sympy
_converters.append(_convert)
