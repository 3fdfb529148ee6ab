"""ROWS: sets of variables, one for each element of a tensor.

A boolean ``scipy.sparse.csr_array`` of shape elements × variables. A single element that depends on few variables has
a ``frozenset`` of them instead: graphs of scalars have many nodes, and a matrix takes a tenth of a millisecond.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

import numpy as np

from symgrad.expr import Array

__all__ = ["Rows", "identity", "matrix", "merge", "product", "stack", "take", "union"]

Rows = Any  # a csr_array or, for one element, a frozenset
_SMALL = 64


def matrix(indices: Array, indptr: Array, width: int) -> Rows:
    """Rows from CSR's index arrays."""
    from scipy.sparse import csr_array

    if len(indptr) == 2 and len(indices) <= _SMALL:
        return frozenset(indices.tolist())
    return csr_array((np.ones(len(indices), np.bool_), indices, indptr), shape=(len(indptr) - 1, width))


def identity(start: int, count: int, width: int) -> Rows:
    """Element k depends on variable ``start + k``."""
    return matrix(np.arange(start, start + count), np.arange(count + 1), width)


def _csr(rows: Rows, width: int) -> Any:
    from scipy.sparse import csr_array

    if not isinstance(rows, frozenset):
        return rows
    indices = np.array(sorted(rows), dtype=np.int64)
    return csr_array((np.ones(len(indices), np.bool_), indices, np.array([0, len(indices)])), shape=(1, width))


def union(parts: Sequence[Rows | None], width: int) -> Rows | None:
    """The union, element by element."""
    given = list(dict.fromkeys(p for p in parts if p is not None)) if all(isinstance(p, frozenset) for p in parts) else _different(parts)
    if len(given) < 2:
        return given[0] if given else None
    if all(isinstance(p, frozenset) for p in given):
        joined = frozenset().union(*given)
        return joined if len(joined) <= _SMALL else _csr(joined, width)
    return reduce(lambda a, b: a + b, [_csr(p, width) for p in given])


def _different(parts: Sequence[Rows | None]) -> list[Rows]:
    found: list[Rows] = []
    for part in parts:
        if part is not None and not any(part is other for other in found):
            found.append(part)
    return found


def take(rows: Rows, places: Array, width: int) -> Rows:
    """Element k of the result is element ``places[k] - 1``; nothing where the place is 0."""
    if len(places) == 1 and places[0] and isinstance(rows, frozenset):
        return rows
    source = _csr(rows, width)
    counts = np.concatenate([[0], np.diff(source.indptr)])[places]
    starts = np.concatenate([[0], source.indptr[:-1]])[places]
    indptr = np.concatenate([[0], np.cumsum(counts)])
    at = np.repeat(starts - indptr[:-1], counts) + np.arange(indptr[-1])
    return matrix(source.indices[at], indptr, width)


def merge(rows: Rows, targets: Array, count: int, width: int) -> Rows:
    """``count`` elements; element k of ``rows`` is part of element ``targets[k]``."""
    return product(rows, targets, np.arange(len(targets)), count, width)


def product(rows: Rows, to: Array, source: Array, count: int, width: int) -> Rows:
    """``count`` elements; element ``to[k]`` has all that element ``source[k]`` of ``rows`` has."""
    from scipy.sparse import csr_array

    if isinstance(rows, frozenset) and count == 1:
        return rows if len(source) else frozenset()
    of = _csr(rows, width)
    links = csr_array((np.ones(len(to), np.bool_), (to, source)), shape=(count, of.shape[0]))
    result = links @ of
    result.sort_indices()
    return matrix(result.indices, result.indptr, width)


def stack(parts: Sequence[tuple[Rows | None, int]], width: int) -> Any:
    """One part (with its number of elements) after the other, as a matrix."""
    from scipy.sparse import csr_array, vstack

    blocks = [csr_array((count, width), dtype=np.bool_) if rows is None else _csr(rows, width) for rows, count in parts]
    return vstack(blocks, format="csr") if len(blocks) > 1 else blocks[0]
