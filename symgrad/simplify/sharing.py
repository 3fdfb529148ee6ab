"""SHARING: products of matrices that are in a program already are not computed again in another form.

The forms that people read gather: ``(A + A.T) @ x``. Beside ``A.T @ x`` that is a product too many, and of a vector it reads
the matrix across its rows. So the last step before the compiler undoes it where that is cheaper, and makes one node of
products that are each other's transposes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from symgrad.expr import Expr, rebuild, rewrite, topological
from symgrad.ops.linear import canonical_spec, split_spec
from symgrad.simplify.matrices import is_matrix_transpose
from symgrad.simplify.rewriting import do

__all__ = ["share_products"]


class _Product(NamedTuple):
    """A contraction by its letters; operands are not transposed."""

    a: Expr
    b: Expr
    left: str
    right: str
    result: str


Key = tuple[Expr, Expr, str, frozenset[str]]


def share_products(roots: Sequence[Expr]) -> list[Expr]:
    """The roots, of the same values, with fewer products of matrices."""
    order = topological(*roots)
    products = {n: _product(n.args[0], n.args[1], *split_spec(n.params["spec"])) for n in order if n.op.name == "contract"}
    if len(products) < 2:
        return list(roots)
    uses = Counter(a for node in order for a in node.args)
    known = {key for product in products.values() for key, _ in _keys(product)}
    split = {node: place for node in products if (place := _sum_to_split(node, known, uses)) is not None}
    made: dict[Key, tuple[Expr, str]] = {}

    def shared(node: Expr, args: tuple[Expr, ...]) -> Expr:
        if node not in products:
            return rebuild(node, args)
        letters = split_spec(node.params["spec"])
        if node not in split:
            return _once(_product(args[0], args[1], *letters), made)
        place = split[node]
        terms = [_once(_product(*_with(args, place, part), *letters), made) for part in args[place].args]
        return do(args[place].op.name, *terms)

    return rewrite(list(roots), shared)


def _with(args: tuple[Expr, ...], place: int, part: Expr) -> tuple[Expr, Expr]:
    return (part, args[1]) if place == 0 else (args[0], part)


def _product(a: Expr, b: Expr, left: str, right: str, result: str) -> _Product:
    if is_matrix_transpose(a):
        a, left = a.args[0], left[:-2] + left[:-3:-1]
    if is_matrix_transpose(b):
        b, right = b.args[0], right[:-2] + right[:-3:-1]
    return _Product(a, b, left, right, result)


def _keys(p: _Product) -> Iterator[tuple[Key, str]]:
    """What is the same for a product and its transpose, for both orders of the operands; and the result's letters in each."""
    for a, b, left, right in ((p.a, p.b, p.left, p.right), (p.b, p.a, p.right, p.left)):
        operands, result = canonical_spec(left, right, p.result).split("->")
        yield (a, b, operands, frozenset(result)), result


def _once(p: _Product, made: dict[Key, tuple[Expr, str]]) -> Expr:
    """The product, or the transpose of one that there is."""
    for key, result in _keys(p):
        if key in made:
            node, have = made[key]
            return node if have == result else do("transpose", node, axes=tuple(have.index(c) - len(have) for c in result))
    key, result = next(_keys(p))
    node = do("contract", p.a, p.b, spec=canonical_spec(p.left, p.right, p.result))
    made[key] = node, result
    return node


def _sum_to_split(node: Expr, known: set[Key], uses: Counter[Expr]) -> int | None:
    """The operand whose two terms are better multiplied one by one: one product is there already, or a vector is multiplied
    with a matrix and another's transpose, each of which is read along its rows."""
    letters = split_spec(node.params["spec"])
    for place, total in enumerate(node.args):
        if total.op.name not in ("add", "sub") or total.ndim != 2 or uses[total] > 1:
            continue
        first, second = total.args
        if first.shape != total.shape or second.shape != total.shape:
            continue
        crossing = is_matrix_transpose(first) != is_matrix_transpose(second) and node.args[1 - place].ndim == 1 and node.ndim == 1
        parts = [_product(*_with(node.args, place, part), *letters) for part in (first, second)]
        if crossing or any(key in known for part in parts for key, _ in _keys(part)):
            return place
    return None
