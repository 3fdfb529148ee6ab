"""COLOURING: few directions that tell the entries of a sparse matrix apart.

Columns of a Jacobian that share no row can be had from one product with the sum of their unit vectors: a colouring that
keeps columns with a common row apart compresses the matrix to one column a colour. An entry of a Hessian may be read
at either of its two places, so a *star colouring* is enough: neighbours differ, and no path of four vertices has only
two colours. See A. Gebremedhin, F. Manne, A. Pothen, "What color is your Jacobian? Graph coloring for computing
derivatives", SIAM Review 47 (2005), sections 3 and 4. Stars are kept while colouring, as in A. Gebremedhin,
A. Tarafdar, F. Manne, A. Pothen, "New acyclic and star coloring algorithms with application to computing Hessians",
SIAM J. Sci. Comput. 29 (2007), algorithm 4.1, but as sets of colours: so the work is linear in the entries also where
one vertex neighbours all others.

Greedy, the largest degree first and equals in their order: the same result everywhere. A set of colours is an ``int``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from symgrad.expr import Array

__all__ = ["Compression", "compress_hessian", "compress_jacobian"]

DENSE, LARGE = 0.25, 2**18  # a Hessian with this share of entries, and so many, has one colour a column


@dataclass(frozen=True, eq=False)
class Compression:
    """How a matrix is read from products with few directions.

    by_rows        the directions are sums of rows, not of columns
    colours        their number
    colour         that of each column (or row); -1 where it is empty
    rows, columns  the entries, column after column
    source         the place of each entry in the products, ``colour * length + element``
    """

    by_rows: bool
    colours: int
    colour: Array
    rows: Array
    columns: Array
    source: Array


def compress_jacobian(pattern: Any) -> Compression:
    """Products with columns or with rows, whichever takes fewer; ``pattern``: a boolean scipy.sparse matrix.

    >>> from scipy.sparse import csr_array
    >>> compress_jacobian(csr_array([[True, False, False], [True, True, False], [False, True, True]])).colour
    array([0, 1, 0])
    """
    rows, columns = _entries(pattern)
    height, width = pattern.shape
    longest_row, longest_column = (int(np.bincount(k, minlength=1).max()) for k in (rows, columns))
    if longest_column < longest_row:  # so many colours are needed at least
        colour = _colour_apart(columns, rows, height, width)
        if colour.max(initial=-1) + 1 > longest_row:
            colour, by_rows = _fewer(colour, _colour_apart(rows, columns, width, height))
        else:
            by_rows = True
    else:
        colour, by_rows = _colour_apart(rows, columns, width, height), False
        if colour.max(initial=-1) + 1 > longest_column:
            by_columns = colour
            colour, by_rows = _fewer(_colour_apart(columns, rows, height, width), by_columns)
    source = colour[rows] * width + columns if by_rows else colour[columns] * height + rows
    return Compression(by_rows, int(colour.max(initial=-1)) + 1, colour, rows, columns, source)


def _fewer(of_rows: Array, of_columns: Array) -> tuple[Array, bool]:
    by_rows = of_rows.max(initial=-1) < of_columns.max(initial=-1)
    return (of_rows if by_rows else of_columns), bool(by_rows)


def compress_hessian(pattern: Any) -> Compression:
    """Products with columns; ``pattern``: a boolean scipy.sparse matrix, which is made symmetric.

    >>> import numpy as np
    >>> from scipy.sparse import csr_array
    >>> arrow = np.eye(5, dtype=bool)
    >>> arrow[0] = arrow[:, 0] = True
    >>> compress_hessian(csr_array(arrow)).colour
    array([0, 1, 1, 1, 1])
    """
    rows, columns = _entries(pattern + pattern.T)
    size = pattern.shape[0]
    if len(rows) > max(DENSE * size * size, LARGE):
        used = np.bincount(columns, minlength=size) > 0
        colour = np.where(used, np.cumsum(used) - 1, -1)
    else:
        colour = _colour_stars(rows, columns, size)
    colours = int(colour.max(initial=-1)) + 1
    # An entry is read in its row where no other entry of that row has the colour of its column, else at its mirror image.
    seen, place = np.unique(rows * colours + colour[columns], return_inverse=True)
    alone = np.bincount(place, minlength=len(seen))[place] == 1
    source = np.where(alone, colour[columns] * size + rows, colour[rows] * size + columns)
    return Compression(False, colours, colour, rows, columns, source)


def _entries(pattern: Any) -> tuple[Array, Array]:
    """Rows and columns of the entries, column after column."""
    matrix = pattern.tocsc()
    matrix.sort_indices()
    columns = np.repeat(np.arange(matrix.shape[1]), np.diff(matrix.indptr))
    return matrix.indices.astype(np.int64), columns


def _lists(keys: Array, values: Array, count: int) -> tuple[list[int], list[int], Array]:
    """For each key its values, as CSR lists, and the keys, those with most values first."""
    order = np.argsort(keys, kind="stable")
    degree = np.bincount(keys, minlength=count)
    starts = np.concatenate([[0], np.cumsum(degree)])
    ranked = np.argsort(-degree, kind="stable")
    return starts.tolist(), values[order].tolist(), ranked[: np.count_nonzero(degree)]


def _colour_apart(groups: Array, items: Array, count: int, group_count: int) -> Array:
    """Colours so that items of a group differ (columns with a common row). Linear: each group has a set of taken colours."""
    starts, members, ranked = _lists(items, groups, count)
    taken = [0] * group_count
    colour = np.full(count, -1, dtype=np.int64)
    chosen = []
    for item in ranked.tolist():
        own = members[starts[item] : starts[item + 1]]
        forbidden = 0
        for group in own:
            forbidden |= taken[group]
        bit = ~forbidden & (forbidden + 1)
        for group in own:
            taken[group] |= bit
        chosen.append(bit.bit_length() - 1)
    colour[ranked] = chosen
    return colour


def _colour_stars(rows: Array, columns: Array, size: int) -> Array:
    """A star colouring of the graph whose edges are the entries off the diagonal.

    ``near[w]``: colours of w's coloured neighbours. ``centred[w]``: those of them that w has several of: w is the centre of
    a star. ``leaf[w]``: those whose only vertex beside w is the centre of a star that w is in: a fourth vertex must not follow.
    """
    degree_of = np.bincount(columns, minlength=size)
    edges = rows != columns
    starts, members, ranked = _lists(columns[edges], rows[edges], size)
    alone = np.flatnonzero((degree_of > 0) & (np.diff(starts) == 0))  # on the diagonal only: any colour will do
    colour = [-1] * size
    near, centred, leaf = [0] * size, [0] * size, [0] * size
    for v in ranked.tolist():
        neighbours = [w for w in members[starts[v] : starts[v + 1]] if colour[w] >= 0]
        seen = twice = 0
        for w in neighbours:
            bit = 1 << colour[w]
            twice |= seen & bit
            seen |= bit
        forbidden = seen
        for w in neighbours:
            forbidden |= near[w] if twice >> colour[w] & 1 else leaf[w]
        bit = ~forbidden & (forbidden + 1)
        colour[v] = bit.bit_length() - 1
        near[v], centred[v] = seen, twice
        for w in neighbours:
            of_w = 1 << colour[w]
            if near[w] & bit:  # v joins the star around w
                leaf[v] |= of_w
                if not centred[w] & bit:
                    centred[w] |= bit
                    first = next(x for x in members[starts[w] : starts[w + 1]] if x != v and colour[x] == colour[v])
                    leaf[first] |= of_w
            elif twice & of_w:
                leaf[w] |= bit
            near[w] |= bit
    result = np.array(colour, dtype=np.int64)
    result[alone] = 0
    return result
