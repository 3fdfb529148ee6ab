"""ACCESSES: a formula in terms of the ways it reads its variables, where its derivatives are elementwise.

``sum((x[1:] - x[:-1]**2)**2)`` reads x in two ways. With these as variables of their own, ``a = x[1:]`` and ``b = x[:-1]``,
each element of a gradient depends on one element of each: a second derivative is a tensor of the same shape, the
derivative along ones, and an entry of the Hessian by x is a sum of such elements. This is the structure of partially
separable functions (A. Griewank, Ph. Toint, "On the unconstrained optimization of partially separable functions", in
Nonlinear Optimization 1981, Academic Press 1982), found at the level of tensors. It takes one direction for each way of
reading and not one for each colour, none of them has zeros to multiply with, and what is NaN stays where it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from symgrad.differentiate.forward import fresh_symbol, push_forward
from symgrad.expr import Array, Expr, apply, constant, rebuild, rewrite, substitute, topological
from symgrad.ops.movement import BROADCAST_TO

__all__ = ["Assembly", "Pair", "Reading", "assemble", "directional", "read_accesses"]

MOST_PAIRS = 80  # more of them take long to compile
LEVELS = 16  # so many terms of an entry are added up one after the other, for all entries at once

_MOVES = frozenset({"slice", "reshape", "transpose", "diagonal", "gather"})


@dataclass(frozen=True, eq=False)
class Reading:
    """The accesses (nodes that pick elements of the variables), symbols in their place, and the formulas in those."""

    accesses: tuple[Expr, ...]
    symbols: tuple[Expr, ...]
    formulas: tuple[Expr, ...]


@dataclass(frozen=True, eq=False)
class Pair:
    """The derivative of formula ``row`` along ones in access ``column``, as a formula of the variables."""

    row: int
    column: int
    value: Expr


def read_accesses(formulas: Sequence[Expr], variables: Sequence[Expr]) -> Reading:
    """How the formulas read the variables."""
    moved = set(variables)
    found: dict[Expr, None] = {}
    for node in topological(*formulas):
        if node.op.name in _MOVES and node.args[0] in moved:
            moved.add(node)
        else:
            found.update(dict.fromkeys(a for a in node.args if a in moved))
    found.update(dict.fromkeys(f for f in formulas if f in moved))
    new = {a: fresh_symbol(f"access{k}", a) for k, a in enumerate(found)}
    lifted = rewrite(formulas, lambda node, args: new[node] if node in new else rebuild(node, args))
    return Reading(tuple(found), tuple(new.values()), tuple(lifted))


def directional(formulas: Sequence[Expr], reading: Reading, symmetric: bool) -> list[Pair] | None:
    """The derivatives that are not 0 everywhere; of a symmetric matrix the lower half. Nothing where there are too many."""
    count = len(reading.symbols)
    if (count * (count + 1) // 2 if symmetric else count * len(formulas)) > MOST_PAIRS:
        return None
    pairs = []
    back: Mapping[Expr, Any] = dict(zip(reading.symbols, reading.accesses))
    for column, symbol in enumerate(reading.symbols):
        ones = apply(BROADCAST_TO, constant(1.0), shape=symbol.shape) if symbol.shape else constant(1.0)
        rows = [k for k in range(column if symmetric else 0, len(formulas)) if formulas[k].kind == "real"]
        for row, value in zip(rows, push_forward([formulas[k] for k in rows], {symbol: ones})):
            if value is not None:
                pairs.append(Pair(row, column, substitute(value, back)))
    return pairs


@dataclass(frozen=True, eq=False)
class Assembly:
    """How the entries of a matrix are added up from the elements of all pairs, one pair after the other.

    rows, columns  the entries, column after column
    source         of each entry: its place among the sums
    levels         for the first so many sums, their first, second, … terms
    rest           the further terms: (sums, terms)
    """

    rows: Array
    columns: Array
    source: Array
    levels: tuple[Array, ...]
    rest: tuple[Array, Array]


def assemble(
    pattern: Any, reads: Any, heights: Sequence[int], widths: Sequence[int], pairs: Sequence[Pair], symmetric: bool
) -> Assembly | None:
    """The sums, if every element of a formula depends on at most one of each access.

    ``pattern``: elements of the formulas (of ``heights``) × elements of the accesses (of ``widths``); ``reads``: elements of
    the accesses × elements of the variables; both boolean csr arrays.
    """
    pattern.sort_indices()
    if np.any(np.diff(reads.indptr) != 1):
        return None
    variable = reads.indices.astype(np.int64)
    row, column = np.repeat(np.arange(pattern.shape[0]), np.diff(pattern.indptr)), pattern.indices.astype(np.int64)
    tops, lefts = np.cumsum([0, *heights]), np.cumsum([0, *widths])
    of_row, of_column = np.searchsorted(tops[1:], row, side="right"), np.searchsorted(lefts[1:], column, side="right")
    block = row * len(widths) + of_column
    if np.any(block[1:] == block[:-1]):
        return None
    starts = np.full((len(heights), len(widths)), -1, dtype=np.int64)
    start = 0
    for pair in pairs:
        starts[pair.row, pair.column] = start
        start += heights[pair.row]
    first = starts[of_row, of_column]
    term = first + row - tops[of_row]
    if not symmetric:
        held = first >= 0
        return _sums(row[held], variable[column[held]], term[held], symmetric)
    left, right, mixed = variable[row], variable[column], of_row != of_column
    lower = (first >= 0) & (mixed | (left >= right))
    twice = (first >= 0) & mixed & (left == right)  # a pair of two accesses stands for its mirror image, too
    i, j, term = (
        np.concatenate([a[lower], b[twice]]) for a, b in ((np.maximum(left, right), left), (np.minimum(left, right), left), (term, term))
    )
    return _sums(i, j, term, symmetric)


def _column_order(rows: Array, columns: Array) -> Array:
    return np.argsort(columns * (rows.max(initial=0) + 1) + rows, kind="stable")


def _sums(i: Array, j: Array, term: Array, symmetric: bool) -> Assembly:
    """Terms that belong to one entry together; entries of most terms first, so that each level is a prefix."""
    order = _column_order(i, j)
    i, j, term = i[order], j[order], term[order]
    new = np.ones(len(i), np.bool_)
    new[1:] = (i[1:] != i[:-1]) | (j[1:] != j[:-1])
    begins = np.flatnonzero(new)
    entry = np.cumsum(new) - 1
    rank = np.arange(len(i)) - begins[entry]
    counts = np.diff(np.append(begins, len(i)))
    place = np.empty(len(begins), dtype=np.int64)
    place[np.argsort(-counts, kind="stable")] = np.arange(len(begins))
    levels = []
    for k in range(min(int(counts.max(initial=0)), LEVELS)):
        at = np.flatnonzero(rank == k)
        level = np.empty(len(at), dtype=np.intp)
        level[place[entry[at]]] = term[at]
        levels.append(level)
    rest = rank >= LEVELS
    rows, columns, source = i[begins], j[begins], place
    if symmetric:
        off = rows != columns
        rows, columns, source = (np.concatenate([a, b[off]]) for a, b in ((rows, columns), (columns, rows), (source, source)))
        order = _column_order(rows, columns)
        rows, columns, source = rows[order], columns[order], source[order]
    return Assembly(rows, columns, source, tuple(levels), (place[entry[rest]], term[rest]))
