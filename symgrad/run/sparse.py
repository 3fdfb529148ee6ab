"""``f.jacobian(..., sparse=True)`` and ``f.hessian(..., sparse=True)``: matrices whose cost follows their non-zeros.

The pattern comes from the expression (:mod:`symgrad.differentiate.sparsity`), its colouring says which directions tell
the entries apart (:mod:`symgrad.differentiate.colouring`), and one kernel computes the products with all of them. What
belongs to the sizes of a call (pattern, colours, where each entry stands in the products, index arrays) is a
:class:`Template`, kept for the next call; the kernels are the same for all sizes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np

from symgrad import dims
from symgrad.differentiate import grad
from symgrad.differentiate.colouring import Compression, compress_hessian, compress_jacobian
from symgrad.differentiate.compressed import column_products, row_products
from symgrad.differentiate.sparsity import dependencies, index_symbols
from symgrad.errors import ShapeError
from symgrad.expr import Expr, symbol, topological
from symgrad.run import engine
from symgrad.run.arguments import Signature
from symgrad.run.function import Builders, Formula, nest_map
from symgrad.run.kernel import Kernel, Plan, element_type
from symgrad.run.plans import fresh_name, only_scalar, stable_outputs
from symgrad.run.table import Input

__all__ = ["SparseCall"]

Array = np.ndarray[Any, Any]
Block = tuple[Any, int, int]
_KEPT = 8  # templates, for so many different sizes


@dataclass(frozen=True, eq=False)
class Template:
    """All that is known before the values are.

    products  the built-in that computes them; ``None`` where the matrix has no entries
    hidden    its last arguments: colours
    source    where each entry stands in the products
    blocks    for each block of the result an empty matrix with its indices, and where its entries start and stop
    """

    products: Callable[..., Array] | None
    hidden: tuple[Any, ...]
    source: Array
    blocks: tuple[Block, ...]

    def fill(self, values: Sequence[Any]) -> list[Any]:
        """The blocks at these arguments."""
        if self.products is None:
            return [empty.copy() for empty, _, _ in self.blocks]
        data = self.products(*values, *self.hidden).take(self.source)
        if len(self.blocks) == 1:
            return [_with_values(self.blocks[0][0], data)]
        return [_with_values(empty, data[start:stop]) for empty, start, stop in self.blocks]


def _with_values(empty: Any, data: Array) -> Any:
    """The matrix with other values. Its constructor would check what is known, which takes 16 µs."""
    matrix = object.__new__(type(empty))
    matrix.__dict__.update(empty.__dict__)
    matrix.data, matrix.indices, matrix.indptr = data, empty.indices.copy(), empty.indptr.copy()  # the caller may change them
    return matrix


class SparseCall:
    """One of the two ways of calling a formula for a sparse matrix; ``kind``: "jacobian" or "hessian"."""

    def __init__(self, formula: Formula, kind: str, builders: Builders) -> None:
        if kind == "hessian":
            only_scalar(formula, kind)
        self._formula, self._kind, self._builders = formula, kind, builders
        self.kernels: dict[str, Kernel] = {}
        self._products: dict[bool, Callable[..., Array]] = {}
        self._inputs = [Input(i.name, element_type(i.kind, formula.dtype), i.shape) for i in formula.inputs]
        self._signature = Signature(f"f.{kind}", self._inputs, builders.checks(formula))
        self._templates: dict[Any, Template] = {}
        self._latest: tuple[Any, Template] | None = None
        self._open = [k for k, i in enumerate(self._inputs) if any(isinstance(d, str) for d in i.shape)]
        self._single = isinstance(formula.targets, int) and (kind == "hessian" or formula.structure == 0)

    @cached_property
    def _results(self) -> tuple[Expr, ...]:
        """What is differentiated: the outputs, or the gradients."""
        formula, outputs = self._formula, stable_outputs(self._formula)
        return tuple(outputs) if self._kind == "jacobian" else tuple(grad(outputs[0], list(formula.wrt), simplify=formula.simplify))

    @cached_property
    def _symmetric(self) -> bool:
        """A Hessian is, unless something is differentiated by a node and by what that is made of."""
        nodes = self._formula.wrt
        below = set(topological(*[a for node in nodes for a in node.args]))
        return self._kind == "hessian" and not any(node in below for node in nodes)

    @cached_property
    def _indices(self) -> list[int]:
        """Which inputs' values the pattern depends on."""
        found = index_symbols(*self._results)
        return [k for k, s in enumerate(self._formula.inputs) if s in found]

    def __call__(self, args: Sequence[Any], keywords: Mapping[str, Any]) -> Any:
        values = args if not keywords and len(args) == len(self._inputs) else self._signature.bind(args, keywords)
        key: Any = tuple([np.shape(values[k]) for k in self._open])
        if self._indices:
            key = (key, *[np.asarray(values[k]).tobytes() for k in self._indices])
        latest = self._latest
        template = latest[1] if latest is not None and latest[0] == key else self._find(key, values)
        blocks = template.fill(values)
        return blocks[0] if self._single else self._nested(blocks)

    def _nested(self, blocks: Sequence[Any]) -> Any:
        formula, width = self._formula, len(self._formula.wrt)
        of_row: Any = lambda row: nest_map(formula.targets, lambda k: blocks[row * width + k])  # noqa: E731
        return nest_map(formula.targets if self._kind == "hessian" else formula.structure, of_row)

    # templates
    def _find(self, key: Any, values: Sequence[Any]) -> Template:
        """The template for these arguments, made if there is none. Raises ``ShapeError`` where they do not fit."""
        with engine.lock:
            template = self._templates.pop(key, None)
            if template is None:
                template = self._make_template(self._read(values))
            self._templates[key] = template  # the latest last
            while len(self._templates) > _KEPT:
                del self._templates[next(iter(self._templates))]
            self._latest = key, template
        return template

    def _read(self, values: Sequence[Any]) -> list[Array]:
        arrays = self._signature.convert(values)
        if not self._signature.any_array and any(a.ndim for a in arrays):
            raise ShapeError(f"sparse=True is for one point at a time, not for arrays in place of numbers: {self._signature}")
        self._signature.check(arrays)
        return arrays

    def _make_template(self, arrays: Sequence[Array]) -> Template:
        formula, sizes = self._formula, self._signature.check(arrays)
        pattern = dependencies(self._results, formula.wrt, sizes, {formula.inputs[k]: arrays[k] for k in self._indices})
        found = (compress_hessian if self._symmetric else compress_jacobian)(pattern)
        columns = [dims.evaluate_shape(w.shape, sizes) for w in formula.wrt]
        rows = [dims.evaluate_shape(r.shape, sizes) for r in self._results]
        order, blocks = _blocks(found, [prod(s) for s in rows], [prod(s) for s in columns], np.dtype(formula.dtype))
        hidden = (*_split(found.colour, rows if found.by_rows else columns), np.arange(found.colours))
        products = self._compiled(found.by_rows) if found.colours else None
        return Template(products, hidden, found.source[order].astype(np.intp), blocks)

    # kernels
    def _compiled(self, by_rows: bool) -> Callable[..., Array]:
        if by_rows not in self._products:
            plan = self._plan(by_rows)
            kernel = self._builders.build(self._formula, plan)
            inputs = [Input(i.name, element_type(i.kind, self._formula.dtype), i.shape) for i in plan.inputs]
            signature = Signature(f"f.{self._kind}", inputs, kernel.checks)
            strict = kernel.builtin(plan.kind, plan, signature, self._formula.dtype)
            own = len(self._inputs)

            def convert(*values: Any) -> Array:
                arrays = self._read(values[:own])
                return strict(*[a if a.ndim else a.item() for a in arrays], *values[own:])

            self.kernels[f"{self._kind} by {'rows' if by_rows else 'columns'}"] = kernel
            self._products[by_rows] = kernel.builtin(plan.kind, plan, signature, self._formula.dtype, convert)
        return self._products[by_rows]

    def _plan(self, by_rows: bool) -> Plan:
        formula, results, nodes = self._formula, self._results, self._formula.wrt
        taken = {s.name for s in formula.inputs}
        coloured = results if by_rows else nodes
        colours = [symbol(fresh_name(f"colour{k}", taken), e.shape, integer=True) for k, e in enumerate(coloured)]
        sizes = {name for s in formula.inputs for d in s.shape for name in dims.names(d)}
        palette = symbol(fresh_name("palette", taken), fresh_name("colours", sizes), integer=True)

        def derive() -> dict[str, Expr]:
            return {name: (row_products if by_rows else column_products)(results, nodes, colours, palette)}

        name = fresh_name("products", taken)
        length = dims.total(())
        for k, e in enumerate(nodes if by_rows else results):
            length = dims.total(e.shape) if not k else dims.add(length, dims.total(e.shape))
        shape = (*palette.shape, length)
        kind = f"sparse_{self._kind}_by_{'rows' if by_rows else 'columns'}"
        return Plan(kind, (*formula.inputs, *colours, palette), ((name, "real", shape),), name, derive)


def _split(colour: Array, shapes: Sequence[tuple[int, ...]]) -> list[Any]:
    """The colours of the elements of each node, in its shape; a number where that is a scalar's."""
    parts, start = [], 0
    for shape in shapes:
        part = np.ascontiguousarray(colour[start : start + prod(shape)]).reshape(shape)
        parts.append(part if shape else int(part))
        start += prod(shape)
    return parts


def _blocks(found: Compression, heights: Sequence[int], widths: Sequence[int], dtype: Any) -> tuple[Array, tuple[Block, ...]]:
    """The order of the entries, block after block, and each block's empty matrix with the range of its entries."""
    from scipy.sparse import csc_matrix

    tops, lefts = np.cumsum([0, *heights]), np.cumsum([0, *widths])
    up = np.searchsorted(tops[1:], found.rows, side="right")
    across = np.searchsorted(lefts[1:], found.columns, side="right")
    block = up * len(widths) + across
    order = np.argsort(block, kind="stable")  # inside of a block column after column, as they come
    bounds = np.searchsorted(block[order], np.arange(len(heights) * len(widths) + 1)).tolist()
    rows, columns = found.rows[order], found.columns[order]
    blocks = []
    for k, (start, stop) in enumerate(pairwise(bounds)):
        i, j = divmod(k, len(widths))
        indices = rows[start:stop] - tops[i]
        indptr = np.searchsorted(columns[start:stop] - lefts[j], np.arange(widths[j] + 1))
        empty = csc_matrix((np.zeros(stop - start, dtype), indices, indptr), shape=(heights[i], widths[j]))
        empty.has_canonical_format = True  # sorted, and nothing twice
        blocks.append((empty, start, stop))
    return order, tuple(blocks)
