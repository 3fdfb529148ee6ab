"""Dimensions: the sizes of axes.

A dimension is an ``int``, or a ``str``: a name (``"n"``) or an integer expression of names in
canonical text (``"n - 1"``, ``"(n + 1)//2"``, ``"3*n"``). Canonical means: two dimensions that are
equal as polynomials of names and floor quotients are the same text, so plain ``==`` compares them.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from threading import local
from typing import Union

from symgrad.errors import ShapeError

__all__ = [
    "Dim", "Shape", "add", "broadcast", "check_dim", "constraints", "divide", "evaluate", "evaluate_shape",
    "multiply", "names", "require", "steps", "subtract", "total", "unify",
]

Dim = Union[int, str]
Shape = tuple[Dim, ...]
Monomial = tuple[str, ...]  # sorted atoms; an atom is a name or "(a)//(b)"
Polynomial = dict[Monomial, int]


def _write(polynomial: Polynomial) -> Dim:
    terms = {m: c for m, c in polynomial.items() if c}
    if not terms:
        return 0
    if set(terms) == {()}:
        return terms[()]
    text = ""
    for monomial in sorted(terms, key=lambda m: (-len(m), m)):
        coefficient = terms[monomial]
        sign = "-" if coefficient < 0 else "+"
        factors = list(monomial)
        if len(terms) > 1 or len(factors) > 1 or abs(coefficient) != 1:
            factors = [f"({f})" if "//" in f else f for f in factors]
        if abs(coefficient) != 1 or not factors:
            factors.insert(0, str(abs(coefficient)))
        body = "*".join(factors)
        text += f" {sign} {body}" if text else (f"-{body}" if sign == "-" else body)
    return text


@lru_cache(maxsize=4096)
def _read_text(text: str) -> tuple[tuple[Monomial, int], ...]:
    def read(node: ast.AST) -> Polynomial:
        if isinstance(node, ast.Constant) and type(node.value) is int:
            return {(): node.value}
        if isinstance(node, ast.Name):
            return {(node.id,): 1}
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            return {m: -c for m, c in read(node.operand).items()}
        if isinstance(node, ast.BinOp):
            a, b = read(node.left), read(node.right)
            if isinstance(node.op, ast.Add):
                return _sum(a, b)
            if isinstance(node.op, ast.Sub):
                return _sum(a, b, -1)
            if isinstance(node.op, ast.Mult):
                return _product(a, b)
            if isinstance(node.op, ast.FloorDiv):
                return _quotient(a, b)
        raise ShapeError(f"{text!r} is not a dimension: an int, a name, or an integer expression of names")

    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ShapeError(f"{text!r} is not a dimension: an int, a name, or an integer expression of names") from None
    return tuple(read(tree).items())


def _read(dim: Dim) -> Polynomial:
    return {(): dim} if isinstance(dim, int) else dict(_read_text(dim))


def _sum(a: Polynomial, b: Polynomial, sign: int = 1) -> Polynomial:
    result = dict(a)
    for monomial, coefficient in b.items():
        result[monomial] = result.get(monomial, 0) + sign * coefficient
    return result


def _product(a: Polynomial, b: Polynomial) -> Polynomial:
    result: Polynomial = {}
    for ma, ca in a.items():
        for mb, cb in b.items():
            m = tuple(sorted(ma + mb))
            result[m] = result.get(m, 0) + ca * cb
    return result


def check_dim(dim: object) -> Dim:
    """A shape entry as the user wrote it, in canonical form; refuses what is not a size."""
    if isinstance(dim, str):
        return _write(_read(dim))
    if isinstance(dim, bool) or not hasattr(dim, "__index__"):
        raise TypeError(f"a shape entry is an int or a name, not {dim!r}")
    size = dim.__index__()
    if size < 0:
        raise ShapeError(f"a size cannot be negative: {size}")
    return size


def add(a: Dim, b: Dim) -> Dim:
    return a + b if isinstance(a, int) and isinstance(b, int) else _write(_sum(_read(a), _read(b)))


def subtract(a: Dim, b: Dim) -> Dim:
    return a - b if isinstance(a, int) and isinstance(b, int) else _write(_sum(_read(a), _read(b), -1))


def multiply(a: Dim, b: Dim) -> Dim:
    return a * b if isinstance(a, int) and isinstance(b, int) else _write(_product(_read(a), _read(b)))


def divide(a: Dim, b: Dim) -> Dim:
    """The floor quotient; exact where ``b`` divides every term of ``a``."""
    return a // b if isinstance(a, int) and isinstance(b, int) else _write(_quotient(_read(a), _read(b)))


def _quotient(a: Polynomial, b: Polynomial) -> Polynomial:
    a, b = ({m: c for m, c in p.items() if c} for p in (a, b))
    if not b:
        raise ShapeError("a dimension is divided by zero")
    if set(a) <= {()} and set(b) == {()}:
        return {(): a.get((), 0) // b[()]}
    if a == b:
        return {(): 1}
    if len(b) == 1:
        ((divisor, coefficient),) = b.items()
        exact: Polynomial = {}
        for monomial, c in a.items():
            rest = _without(monomial, divisor)
            if rest is None or c % coefficient:
                break
            exact[rest] = c // coefficient
        else:
            return exact
    left, right = (str(_write(p)) for p in (a, b))
    atom = "//".join(t if t.isidentifier() or t.isdigit() else f"({t})" for t in (left, right))
    return {(atom,): 1}


def _without(monomial: Monomial, divisor: Monomial) -> Monomial | None:
    rest = list(monomial)
    for atom in divisor:
        if atom not in rest:
            return None
        rest.remove(atom)
    return tuple(rest)


def total(shape: Iterable[Dim]) -> Dim:
    """The number of elements of a shape."""
    size: Dim = 1
    for dim in shape:
        size = multiply(size, dim)
    return size


@lru_cache(maxsize=4096)
def _names_of(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(n.id for n in ast.walk(ast.parse(text, mode="eval")) if isinstance(n, ast.Name)))


def names(dim: Dim) -> tuple[str, ...]:
    """The names that occur in a dimension."""
    return () if isinstance(dim, int) else _names_of(dim)


def evaluate(dim: Dim, sizes: Mapping[str, int]) -> int:
    """The size as a number, ``sizes`` giving each name's."""
    if isinstance(dim, int):
        return dim
    if dim in sizes:
        return sizes[dim]

    def value(node: ast.AST) -> int:
        if isinstance(node, ast.Constant):
            return int(node.value)  # type: ignore[arg-type]
        if isinstance(node, ast.Name):
            return sizes[node.id]
        if isinstance(node, ast.UnaryOp):
            return -value(node.operand)
        assert isinstance(node, ast.BinOp)
        a, b = value(node.left), value(node.right)
        if isinstance(node.op, ast.Add):
            return a + b
        if isinstance(node.op, ast.Sub):
            return a - b
        return a * b if isinstance(node.op, ast.Mult) else a // b

    return value(ast.parse(dim, mode="eval").body)


def evaluate_shape(shape: Iterable[Dim], sizes: Mapping[str, int]) -> tuple[int, ...]:
    return tuple(evaluate(d, sizes) for d in shape)


def steps(dim: str) -> list[tuple[str, Dim, Dim]]:
    """The computation of a dimension: ("leaf", name or number, 0), then (operation, i, j) on earlier results.

    >>> steps("(n + 1)//2")
    [('leaf', 'n', 0), ('leaf', 1, 0), ('+', 0, 1), ('leaf', 2, 0), ('//', 2, 3)]
    """
    signs: dict[type, str] = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.FloorDiv: "//"}
    found: list[tuple[str, Dim, Dim]] = []

    def write(node: ast.AST) -> int:
        if isinstance(node, ast.Constant):
            found.append(("leaf", int(node.value), 0))  # type: ignore[arg-type]
        elif isinstance(node, ast.Name):
            found.append(("leaf", node.id, 0))
        elif isinstance(node, ast.UnaryOp):
            found.append(("leaf", 0, 0))
            zero = len(found) - 1
            found.append(("-", zero, write(node.operand)))
        else:
            assert isinstance(node, ast.BinOp)
            left, right = write(node.left), write(node.right)
            found.append((signs[type(node.op)], left, right))
        return len(found) - 1

    write(ast.parse(dim, mode="eval").body)
    return found


# What can only be checked when the sizes are known: (left, relation, right), relation "==" or ">=".
Constraint = tuple[Dim, str, Dim]
_collector = local()


@contextmanager
def constraints() -> Iterator[list[Constraint]]:
    """Collects what the shape rules that run inside leave to be checked at the call."""
    before = getattr(_collector, "found", None)
    found: list[Constraint] = []
    _collector.found = found
    try:
        yield found
    finally:
        _collector.found = before


def require(left: Dim, relation: str, right: Dim, message: str) -> None:
    """``left == right`` or ``left >= right``: refused now where that is known to fail, left to the call where open."""
    gap = subtract(left, right)
    if isinstance(gap, int):
        if gap < 0 or (gap and relation == "=="):
            raise ShapeError(message)
    elif getattr(_collector, "found", None) is not None:
        _collector.found.append((left, relation, right))


def unify(a: Dim, b: Dim, message: str) -> Dim:
    """One dimension for two axes that must be equal: the literal, else the left one."""
    if a == b:
        return a
    require(a, "==", b, message)
    return b if isinstance(b, int) else a


def broadcast(operation: str, *shapes: Shape) -> Shape:
    """NumPy's broadcasting; only a literal 1 stretches, a named dimension never does."""
    ndim = max((len(s) for s in shapes), default=0)
    result: list[Dim] = []
    for axis in range(ndim):
        dim: Dim = 1
        for shape in shapes:
            k = axis - ndim + len(shape)
            if k < 0 or shape[k] == 1:
                continue
            if dim == 1:
                dim = shape[k]
            elif dim != shape[k]:
                dim = unify(dim, shape[k], f"{operation}: shapes {', '.join(map(format_shape, shapes))} do not broadcast")
        result.append(dim)
    return tuple(result)


def format_shape(shape: Shape) -> str:
    """A shape as text: ``(n, 2)``."""
    return f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"
