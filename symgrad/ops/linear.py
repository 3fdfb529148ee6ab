"""Contraction: one record, einsum over two operands, carries dot, matmul, outer, batched products and their adjoints.

``spec`` is an einsum text, letters in order of first appearance (``"ij,jk->ik"``): no letter twice in one
operand, and every letter of an operand is in the other one or in the result (the builders sum others first).
So the adjoint of each operand is again a contraction: of ``"ij,jk->ik"`` it is ``"ik,jk->ij"`` and ``"ij,ik->jk"``.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from string import ascii_letters
from typing import Any

import numpy as np

from symgrad import dims
from symgrad.dims import Dim, Shape
from symgrad.errors import ShapeError
from symgrad.expr import _ARRAY_FUNCTIONS as ARRAY_FUNCTIONS
from symgrad.expr import METHODS, Array, Expr, ExprLike, Op, apply, as_expr, promoted, register
from symgrad.ops.movement import DIAGONAL, TRANSPOSE, do, reshape_to
from symgrad.ops.reduce import negative_axes

__all__ = ["contract", "dot", "einsum", "inner", "matmul", "outer", "tensordot"]

Rule = tuple[Expr | None, ...]


def split_spec(spec: str) -> tuple[str, str, str]:
    """The letters of left, right and result."""
    operands, result = spec.split("->")
    left, right = operands.split(",")
    return left, right, result


def canonical_spec(left: str, right: str, result: str) -> str:
    """The spec with letters named a, b, … from ``i`` on, in order of first appearance."""
    order = dict.fromkeys(left + right)
    names = dict(zip(order, ascii_letters[8:26] + ascii_letters[:8] + ascii_letters[26:], strict=False))
    rename = str.maketrans(names)
    return f"{left},{right}->{result}".translate(rename)


def _contract_shape(a: Shape, b: Shape, spec: str) -> Shape:
    left, right, result = split_spec(spec)
    message = f"contract {spec}: shapes {dims.format_shape(a)} and {dims.format_shape(b)} do not fit"
    if len(a) != len(left) or len(b) != len(right):
        raise ShapeError(message)
    sizes: dict[str, Dim] = {}
    for letter, dim in [*zip(left, a, strict=True), *zip(right, b, strict=True)]:
        sizes[letter] = dims.unify(sizes[letter], dim, message) if letter in sizes else dim
    return tuple(sizes[letter] for letter in result)


def _contract_rule(g: Expr, y: Expr, a: Expr, b: Expr, spec: str) -> Rule:
    left, right, result = split_spec(spec)
    to_a = contract(g, b, result, right, left) if a.kind == "real" else None
    to_b = contract(a, g, left, result, right) if b.kind == "real" else None
    return to_a, to_b


def _evaluate_contract(a: Array, b: Array, spec: str) -> Array:
    kind = np.result_type(np.asarray(a), np.asarray(b), np.int64 if np.asarray(a).dtype == np.bool_ else np.asarray(a).dtype)
    return np.asarray(np.einsum(spec, np.asarray(a, dtype=kind), np.asarray(b, dtype=kind), optimize=True))


_A = np.array([[0.5, -1.25, 2.0], [1.5, 0.75, -0.5]])
_B = np.array([[0.25, 1.0], [-0.5, 2.0], [1.25, -1.5]])
_V = np.array([1.0, -0.5, 0.75])
CONTRACT = register(Op(
    name="contract", family="contract", arity=2, doc="products summed over the axes that the result does not have (einsum of two operands)",
    shape=_contract_shape, kind=promoted,
    derivative=_contract_rule, evaluate=_evaluate_contract,
    domain=((-np.inf, np.inf), (-np.inf, np.inf)),
    samples=(
        (_A, _B, {"spec": "ij,jk->ik"}), (_A, _A, {"spec": "ij,kj->ik"}), (_V, _V, {"spec": "i,i->"}), (_A, _V, {"spec": "ij,j->i"}),
        (_V, _A, {"spec": "i,ji->j"}), (_V, _V, {"spec": "i,j->ij"}), (_A, _A, {"spec": "ij,ij->i"}),
        (_A.reshape(1, 2, 3), _B.reshape(1, 3, 2), {"spec": "ijk,ikl->ijl"}),
    ),
))


# --- builders --------------------------------------------------------------------------------------


def _permuted(x: Expr, have: str, want: str) -> Expr:
    return x if have == want else apply(TRANSPOSE, x, axes=tuple(have.index(c) - len(have) for c in want))


def _summed(x: Expr, letters: str, keep: str) -> tuple[Expr, str]:
    """``x`` summed over the axes whose letters are not kept."""
    axes = tuple(k - len(letters) for k, c in enumerate(letters) if c not in keep)
    return (do("sum", x, axes=axes, keepdims=False), "".join(c for c in letters if c in keep)) if axes else (x, letters)


def contract(a: Expr, b: Expr, left: str, right: str, result: str) -> Expr:
    """The contraction of two operands with these letters; letters of one operand alone are summed first."""
    a, left = _summed(a, left, right + result)
    b, right = _summed(b, right, left + result)
    return apply(CONTRACT, a, b, spec=canonical_spec(left, right, result))


def _product(a: Expr, b: Expr, left: str, right: str, result: str) -> Expr:
    """As :func:`contract`, but a plain product where nothing is summed and nothing is spread out."""
    if not left or not right:
        scaled, letters = _summed(b if not left else a, right or left, result)
        other = a if not left else b
        product = do("mul", other, scaled) if not left else do("mul", scaled, other)
        return _permuted(product, letters, result)
    if set(left) == set(right) == set(result):
        return do("mul", _permuted(a, left, result), _permuted(b, right, result))
    return contract(a, b, left, right, result)


def matmul(a: ExprLike, b: ExprLike) -> Expr:
    """The matrix product of NumPy's ``@``: vectors, matrices, and stacks of matrices that broadcast.

    Raises ``ShapeError`` where the inner axes differ or an operand is a scalar.

    >>> import symgrad as sg
    >>> sg.matmul(sg.symbol("X", ("n", 2)), sg.symbol("w", 2)).shape
    ('n',)
    """
    a, b = as_expr(a), as_expr(b)
    shapes = f"matmul: shapes {dims.format_shape(a.shape)} and {dims.format_shape(b.shape)} do not fit"
    if not a.shape or not b.shape:
        raise ShapeError(f"{shapes}: a scalar multiplies with *")
    inner_left, inner_right = a.shape[-1], b.shape[-1 if b.ndim == 1 else -2]
    which = "only" if b.ndim == 1 else "second last"
    fit = f"{shapes}: the last axis of the left ({inner_left}) must equal the {which} axis of the right ({inner_right})"
    dims.unify(inner_left, inner_right, fit)
    batch = dims.broadcast("matmul", a.shape[:-2], b.shape[:-2])
    letters = ascii_letters[: len(batch)]
    a, left = _without_broadcast_axes(a, letters, batch)
    b, right = _without_broadcast_axes(b, letters, batch)
    left += "YZ" if len(left) + 2 == a.ndim else "Z"
    right += "ZX" if len(right) + 2 == b.ndim else "Z"
    rows, columns = "Y" * ("Y" in left), "X" * ("X" in right)
    return contract(a, b, left, right, letters + rows + columns)


def _without_broadcast_axes(x: Expr, letters: str, batch: Shape) -> tuple[Expr, str]:
    """``x`` without the leading axes of size 1 that the other operand stretches, and the letters of the rest."""
    own = x.shape[:-2] if x.ndim > 1 else ()
    offset = len(batch) - len(own)
    kept = [k for k in range(len(own)) if own[k] != 1 or batch[offset + k] == 1]
    shape = (*[own[k] for k in kept], *x.shape[len(own):])
    return reshape_to(x, shape), "".join(letters[offset + k] for k in kept)


def dot(a: ExprLike, b: ExprLike) -> Expr:
    """NumPy's ``dot``: the last axis of ``a`` with the second last (or only) one of ``b``; a scalar multiplies.

    >>> import symgrad as sg
    >>> sg.dot(sg.symbol("a", 3), sg.symbol("b", 3)).shape
    ()
    """
    a, b = as_expr(a), as_expr(b)
    if not a.shape or not b.shape:
        return do("mul", a, b)
    if a.ndim <= 2 and b.ndim <= 2:
        return matmul(a, b)
    return tensordot(a, b, ((-1,), (-1 if b.ndim == 1 else -2,)))


def inner(a: ExprLike, b: ExprLike) -> Expr:
    """NumPy's ``inner``: the last axes of both.

    >>> import symgrad as sg
    >>> sg.inner(sg.symbol("a", ("n", 3)), sg.symbol("b", 3)).shape
    ('n',)
    """
    a, b = as_expr(a), as_expr(b)
    return do("mul", a, b) if not a.shape or not b.shape else tensordot(a, b, ((-1,), (-1,)))


def tensordot(a: ExprLike, b: ExprLike, axes: Any = 2) -> Expr:
    """NumPy's ``tensordot``: over the last ``axes`` axes of ``a`` and the first of ``b``, or over two lists of axes.

    >>> import symgrad as sg
    >>> sg.tensordot(sg.symbol("a", (2, 3)), sg.symbol("b", (3, 4)), 1).shape
    (2, 4)
    """
    a, b = as_expr(a), as_expr(b)
    if hasattr(axes, "__index__"):
        of_a, of_b = tuple(range(a.ndim - axes, a.ndim)), tuple(range(axes))
    else:
        of_a, of_b = (tuple(k) if isinstance(k, (tuple, list)) else (k,) for k in axes)
    if len(of_a) != len(of_b):
        raise ShapeError(f"tensordot: {len(of_a)} axes of the left and {len(of_b)} of the right")
    of_a = tuple(negative_axes("tensordot", k, a)[0] + a.ndim for k in of_a)
    of_b = tuple(negative_axes("tensordot", k, b)[0] + b.ndim for k in of_b)
    left = ascii_letters[: a.ndim]
    right = [ascii_letters[a.ndim + k] for k in range(b.ndim)]
    for i, j in zip(of_a, of_b, strict=True):
        right[j] = left[i]
    message = f"tensordot: shapes {dims.format_shape(a.shape)} and {dims.format_shape(b.shape)} differ along axes {of_a} and {of_b}"
    for i, j in zip(of_a, of_b, strict=True):
        dims.unify(a.shape[i], b.shape[j], message)
    result = "".join(c for k, c in enumerate(left) if k not in of_a) + "".join(c for k, c in enumerate(right) if k not in of_b)
    return _product(a, b, left, "".join(right), result)


def outer(a: ExprLike, b: ExprLike) -> Expr:
    """Every product of an element of ``a`` with one of ``b``; more axes are flattened, as in NumPy.

    >>> import symgrad as sg
    >>> sg.outer(sg.symbol("a", 3), sg.symbol("b", "n")).shape
    (3, 'n')
    """
    a, b = as_expr(a), as_expr(b)
    return contract(reshape_to(a, (dims.total(a.shape),)), reshape_to(b, (dims.total(b.shape),)), "i", "j", "ij")


def einsum(spec: str, *operands: ExprLike) -> Expr:
    """NumPy's ``einsum`` over any number of operands: pairs are contracted, the smallest result first.

    ``spec``: as NumPy's text form, with ``...`` and with or without ``->``. Raises ``ShapeError`` where shapes
    do not fit and ``ValueError`` where the text is none.

    >>> import symgrad as sg
    >>> sg.einsum("bi,ij,bj->b", sg.symbol("x", ("n", 3)), sg.symbol("A", (3, 3)), sg.symbol("y", ("n", 3))).shape
    ('n',)
    """
    terms, result, sizes = _read_einsum(spec, tuple(as_expr(x) for x in operands))
    terms = [_one_letter_once(x, letters) for x, letters in terms]
    while len(terms) > 1:
        i, j = _cheapest_pair(terms, result, sizes)
        (a, left), (b, right) = terms[i], terms[j]
        rest = [t for k, t in enumerate(terms) if k not in (i, j)]
        needed = result + "".join(letters for _, letters in rest)
        a, left = _summed(a, left, right + needed)
        b, right = _summed(b, right, left + needed)
        joined = "".join(c for c in dict.fromkeys(left + right) if c in needed)
        if not rest:
            joined = result
        terms = [*rest[:i], (_product(a, b, left, right, joined), joined), *rest[i:]]
    x, letters = _summed(*terms[0], result)
    return _permuted(x, letters, result)


def _read_einsum(spec: str, operands: tuple[Expr, ...]) -> tuple[list[tuple[Expr, str]], str, dict[str, Dim]]:
    """Operands with their letters (``...`` written out, stretched axes dropped), the result's letters, sizes."""
    text = spec.replace(" ", "")
    inputs, arrow, result = text.partition("->")
    parts = inputs.split(",")
    letters_used = set(inputs.replace("...", "")) - {","}
    if not all(c.isascii() and c.isalpha() for c in letters_used) or len(parts) != len(operands) or not operands:
        raise ValueError(f"einsum: {spec!r} is not a spec for {len(operands)} operands")
    spare = [c for c in ascii_letters if c not in letters_used]
    extra = max((x.ndim - len(p.replace("...", "")) for x, p in zip(operands, parts, strict=True) if "..." in p), default=0)
    dots = "".join(spare[: max(extra, 0)])
    full: list[str] = []
    for x, part in zip(operands, parts, strict=True):
        width = x.ndim - len(part.replace("...", ""))
        if width < 0 or (width and "..." not in part):
            raise ShapeError(f"einsum {spec}: {part!r} for an operand of shape {dims.format_shape(x.shape)}")
        full.append(part.replace("...", dots[len(dots) - width:]))
    if arrow:
        result = result.replace("...", dots)
    else:
        counted = "".join(full)
        result = dots + "".join(sorted(c for c in set(counted) if counted.count(c) == 1 and c not in dots))
    if len(set(result)) < len(result) or not set(result) <= set("".join(full)):
        raise ValueError(f"einsum: the result {result!r} of {spec!r} repeats a letter or has one that no operand has")
    sizes: dict[str, Dim] = {}
    for x, letters in zip(operands, full, strict=True):
        for c, dim in zip(letters, x.shape, strict=True):
            if sizes.get(c, 1) == 1:
                sizes[c] = dim
            elif dim != 1:
                shapes = ", ".join(dims.format_shape(o.shape) for o in operands)
                sizes[c] = dims.unify(sizes[c], dim, f"einsum {spec}: {c!r} is {sizes[c]} and {dim} in shapes {shapes}")
    terms = []
    for x, letters in zip(operands, full, strict=True):
        kept = [k for k, c in enumerate(letters) if x.shape[k] != 1 or sizes[c] == 1]
        terms.append((reshape_to(x, tuple(x.shape[k] for k in kept)), "".join(letters[k] for k in kept)))
    return terms, result, sizes


def _one_letter_once(x: Expr, letters: str) -> tuple[Expr, str]:
    """Diagonals taken where a letter is repeated."""
    while (twice := next((c for c in letters if letters.count(c) > 1), None)) is not None:
        first, second = letters.index(twice), letters.rindex(twice)
        rest = [k for k in range(len(letters)) if k not in (first, second)]
        order = tuple(k - len(letters) for k in (*rest, first, second))
        x = apply(DIAGONAL, apply(TRANSPOSE, x, axes=order) if order != tuple(range(-len(letters), 0)) else x, offset=0)
        letters = "".join(letters[k] for k in rest) + twice
    return x, letters


def _cheapest_pair(terms: list[tuple[Expr, str]], result: str, sizes: dict[str, Dim]) -> tuple[int, int]:
    """The two operands whose contraction has the smallest result, then the fewest products; the first of equals."""
    known: Callable[[str], int] = lambda c: size if isinstance(size := sizes[c], int) else 1000  # noqa: E731
    best: tuple[tuple[int, int], tuple[int, int]] | None = None
    for i in range(len(terms)):
        for j in range(i + 1, len(terms)):
            needed = set(result).union(*(letters for k, (_, letters) in enumerate(terms) if k not in (i, j)))
            both = dict.fromkeys(terms[i][1] + terms[j][1])
            cost = (prod(known(c) for c in both if c in needed), prod(known(c) for c in both))
            if best is None or cost < best[0]:
                best = (cost, (i, j))
    assert best is not None
    return best[1]


def _flat_dot(a: ExprLike, b: ExprLike) -> Expr:
    a, b = as_expr(a), as_expr(b)
    return matmul(reshape_to(a, (dims.total(a.shape),)), reshape_to(b, (dims.total(b.shape),)))


METHODS.update(matmul=matmul, dot=dot)
ARRAY_FUNCTIONS.update({
    np.matmul: matmul, np.dot: dot, np.outer: outer, np.einsum: lambda spec, *operands, optimize=False: einsum(spec, *operands),
    np.inner: inner, np.tensordot: tensordot, np.vdot: _flat_dot,
})
