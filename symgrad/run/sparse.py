"""``f.jacobian(..., sparse=True)`` and ``f.hessian(..., sparse=True)``: matrices whose cost follows their non-zeros.

The pattern comes from the expression (:mod:`symgrad.differentiate.sparsity`). Where every element depends on one of each way
in which the formula reads its variables, one kernel computes derivatives along ones, of which the entries are sums
(:mod:`symgrad.differentiate.accesses`). Where not, a colouring says which directions tell the entries apart
(:mod:`symgrad.differentiate.colouring`), and one kernel computes the products with all of them. What belongs to the sizes
of a call (pattern, colours, which products make an entry, index arrays) is a :class:`Template`, kept for the next call;
the kernels are the same for all sizes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, reduce
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np

from symgrad import dims
from symgrad.differentiate import grad
from symgrad.differentiate.accesses import Pair, Reading, assemble, directional, read_accesses
from symgrad.differentiate.colouring import compress_hessian, compress_jacobian
from symgrad.differentiate.compressed import column_products, row_products
from symgrad.differentiate.sparsity import dependencies, index_symbols
from symgrad.errors import ShapeError
from symgrad.expr import Expr, symbol, topological
from symgrad.ops.movement import reshape_to
from symgrad.run import engine
from symgrad.run.arguments import Signature
from symgrad.run.function import Builders, Formula, nest_map
from symgrad.run.kernel import Kernel, Plan, element_type
from symgrad.run.plans import fresh_name, only_scalar, stable_outputs
from symgrad.run.table import Input

__all__ = ["SparseCall"]

Array = np.ndarray[Any, Any]
Block = tuple[Any, int, int]
_KEPT = 4  # templates, for so many different sizes


@dataclass(frozen=True, eq=False)
class Template:
    """All that is known before the values are.

    products  the built-in that computes them into arrays; ``None`` where the matrix has no entries
    hidden    its last arguments: colours
    shapes    those of the products
    levels    for the first so many sums of products their first, second, … terms; ``rest``: further (sums, terms)
    source    where each entry stands among the sums; ``None``: every sum has one term and stands where its entry does
    blocks    for each block of the result an empty matrix with its indices, and where its entries start and stop
    """

    products: Callable[..., Any] | None
    hidden: tuple[Any, ...]
    shapes: tuple[tuple[int, ...], ...]
    levels: tuple[Array, ...]
    rest: tuple[Array, Array] | None
    source: Array | None
    blocks: tuple[Block, ...]
    dtype: Any
    _local: threading.local = field(default_factory=threading.local)

    def fill(self, values: Sequence[Any]) -> list[Any]:
        """The blocks at these arguments."""
        if self.products is None:
            return [empty.copy() for empty, _, _ in self.blocks]
        try:
            room = self._local.room
        except AttributeError:
            room = self._local.room = _Room(self)
        self.products(*values, *self.hidden, out=room.parts)
        if self.source is None:
            data = room.whole.take(self.levels[0])
        else:
            room.whole.take(self.levels[0], None, room.sums, "clip")  # all indices are inside: "raise" would copy once more
            for level, term, head in room.further:
                room.whole.take(level, None, term, "clip")
                np.add(head, term, head)
            if self.rest is not None:
                np.add.at(room.sums, self.rest[0], room.whole.take(self.rest[1]))
            data = room.sums.take(self.source)
        if len(self.blocks) == 1:
            return [_with_values(self.blocks[0][0], data)]
        return [_with_values(empty, data[start:stop]) for empty, start, stop in self.blocks]


class _Room:
    """Where the products and sums of one thread go: arrays that are made once."""

    def __init__(self, template: Template) -> None:
        bounds = np.cumsum([0, *map(prod, template.shapes)]).tolist()
        self.whole = np.empty(bounds[-1], template.dtype)
        self.parts = tuple(self.whole[a:b].reshape(shape) for (a, b), shape in zip(pairwise(bounds), template.shapes))
        longest = [len(level) for level in template.levels] if template.source is not None else [0]
        self.sums, terms = np.empty(longest[0], template.dtype), np.empty(max(longest[1:], default=0), template.dtype)
        self.further = [(level, terms[: len(level)], self.sums[: len(level)]) for level in template.levels[1:]]


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
        self._dtype = np.dtype(formula.dtype)
        self._builtins: dict[str, Callable[..., Any]] = {}
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
        found = index_symbols(*self._formula.outputs)
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
        sizes = self._signature.check(arrays)
        indices = {self._formula.inputs[k]: arrays[k] for k in self._indices}
        return self._direct_template(sizes, indices) or self._coloured_template(sizes, indices)

    def _coloured_template(self, sizes: Mapping[str, int], indices: Mapping[Expr, Array]) -> Template:
        """Products with sums of columns or rows."""
        formula = self._formula
        pattern = dependencies(self._results, formula.wrt, sizes, indices)
        found = (compress_hessian if self._symmetric else compress_jacobian)(pattern)
        columns, rows = _shapes(formula.wrt, sizes), _shapes(self._results, sizes)
        order, blocks = _blocks(found.rows, found.columns, rows, columns, self._dtype)
        coloured, others = (rows, columns) if found.by_rows else (columns, rows)
        products = self._built(self._colour_plan(found.by_rows)) if found.colours else None
        return Template(
            products, (*_split(found.colour, coloured), np.arange(found.colours)), ((found.colours, sum(map(prod, others))),),
            (found.source[order].astype(np.intp),), None, None, blocks, self._dtype,
        )  # fmt: skip

    def _direct_template(self, sizes: Mapping[str, int], indices: Mapping[Expr, Array]) -> Template | None:
        """Elementwise derivatives by the ways in which the formula reads its variables, where they are enough."""
        if self._direct is None:
            return None
        reading, formulas, pairs = self._direct
        pattern = dependencies(formulas, reading.symbols, sizes, indices)
        reads = dependencies(reading.accesses, self._formula.wrt, sizes, indices)
        heights, widths = ([prod(shape) for shape in _shapes(e, sizes)] for e in (formulas, reading.symbols))
        found = assemble(pattern, reads, heights, widths, pairs, self._symmetric)
        if found is None:
            return None
        rows = _shapes(self._formula.wrt if self._kind == "hessian" else formulas, sizes)
        order, blocks = _blocks(found.rows, found.columns, rows, _shapes(self._formula.wrt, sizes), self._dtype)
        products = self._built(self._direct_plan()) if found.levels else None
        shapes = tuple(shape or (1,) for shape in _shapes([formulas[p.row] for p in pairs], sizes))
        levels, rest = found.levels, found.rest if len(found.rest[0]) else None
        source: Array | None = found.source[order].astype(np.intp)
        if len(levels) == 1:
            levels, source = (levels[0][source],), None
        return Template(products, (), shapes, levels, rest, source, blocks, self._dtype)

    @cached_property
    def _direct(self) -> tuple[Reading, Sequence[Expr], list[Pair]] | None:
        """The ways in which the formula reads its variables, what is differentiated by them, and the derivatives."""
        formula, outputs = self._formula, stable_outputs(self._formula)
        if any(node.op.name != "symbol" for node in formula.wrt):
            return None
        reading = read_accesses(outputs, formula.wrt)
        if not reading.symbols:
            return None
        formulas = list(reading.formulas)
        if self._kind == "hessian":
            formulas = grad(formulas[0], list(reading.symbols), simplify=formula.simplify)
        pairs = directional(formulas, reading, self._kind == "hessian")
        return None if pairs is None else (reading, formulas, pairs)

    # kernels
    def _built(self, plan: Plan) -> Callable[..., Any]:
        if plan.kind not in self._builtins:
            kernel = self._builders.build(self._formula, plan)
            inputs = [Input(i.name, element_type(i.kind, self._formula.dtype), i.shape) for i in plan.inputs]
            signature = Signature(f"f.{self._kind}", inputs, kernel.checks)
            strict = kernel.builtin(plan.kind, plan, signature, self._formula.dtype)
            own = len(self._inputs)

            def convert(*values: Any, out: Any) -> Any:
                arrays = self._read(values[:own])
                return strict(*[a if a.ndim else a.item() for a in arrays], *values[own:], out=out)

            self.kernels[plan.kind.replace("_", " ")] = kernel
            self._builtins[plan.kind] = kernel.builtin(plan.kind, plan, signature, self._formula.dtype, convert)
        return self._builtins[plan.kind]

    def _colour_plan(self, by_rows: bool) -> Plan:
        formula, results, nodes = self._formula, self._results, self._formula.wrt
        taken = {s.name for s in formula.inputs}
        colours = [symbol(fresh_name(f"colour{k}", taken), e.shape, integer=True) for k, e in enumerate(results if by_rows else nodes)]
        sizes = {name for s in formula.inputs for d in s.shape for name in dims.names(d)}
        palette = symbol(fresh_name("palette", taken), fresh_name("colours", sizes), integer=True)

        def derive() -> dict[str, Expr]:
            return {name: (row_products if by_rows else column_products)(results, nodes, colours, palette)}

        name = fresh_name("products", taken)
        length = reduce(dims.add, [dims.total(e.shape) for e in (nodes if by_rows else results)])
        kind = f"sparse_{self._kind}_by_{'rows' if by_rows else 'columns'}"
        return Plan(kind, (*formula.inputs, *colours, palette), ((name, "real", (*palette.shape, length)),), (name,), derive)

    def _direct_plan(self) -> Plan:
        assert self._direct is not None
        _, formulas, pairs = self._direct
        taken = {s.name for s in self._formula.inputs}
        names = [fresh_name(f"pair{k}", taken) for k in range(len(pairs))]

        def derive() -> dict[str, Expr]:
            return {name: reshape_to(p.value, p.value.shape or (1,)) for name, p in zip(names, pairs)}

        outputs = [(name, "real", formulas[p.row].shape or (1,)) for name, p in zip(names, pairs)]
        return Plan(f"sparse_{self._kind}", self._formula.inputs, tuple(outputs), tuple(names), derive)


def _shapes(nodes: Sequence[Expr], sizes: Mapping[str, int]) -> list[tuple[int, ...]]:
    return [dims.evaluate_shape(e.shape, sizes) for e in nodes]


def _split(colour: Array, shapes: Sequence[tuple[int, ...]]) -> list[Any]:
    """The colours of the elements of each node, in its shape; a number where that is a scalar's."""
    parts, start = [], 0
    for shape in shapes:
        part = np.ascontiguousarray(colour[start : start + prod(shape)]).reshape(shape)
        parts.append(part if shape else int(part))
        start += prod(shape)
    return parts


def _blocks(
    rows: Array, columns: Array, row_shapes: Sequence[tuple[int, ...]], column_shapes: Sequence[tuple[int, ...]], dtype: Any
) -> tuple[Array, tuple[Block, ...]]:
    """The order of the entries, block after block, and each block's empty matrix with the range of its entries."""
    from scipy.sparse import csc_matrix

    tops, lefts = (np.cumsum([0, *map(prod, shapes)]) for shapes in (row_shapes, column_shapes))
    count = len(column_shapes)
    block = np.searchsorted(tops[1:], rows, side="right") * count + np.searchsorted(lefts[1:], columns, side="right")
    order = np.argsort(block, kind="stable")  # inside of a block column after column, as they come
    bounds = np.searchsorted(block[order], np.arange(len(row_shapes) * count + 1)).tolist()
    rows, columns = rows[order], columns[order]
    blocks = []
    for k, (start, stop) in enumerate(pairwise(bounds)):
        i, j = divmod(k, count)
        shape = int(tops[i + 1] - tops[i]), int(lefts[j + 1] - lefts[j])
        indptr = np.searchsorted(columns[start:stop] - lefts[j], np.arange(shape[1] + 1))
        empty = csc_matrix((np.zeros(stop - start, dtype), rows[start:stop] - tops[i], indptr), shape=shape)
        empty.has_canonical_format = True  # sorted, and nothing twice
        empty.data = np.zeros(0, dtype)
        blocks.append((empty, start, stop))
    return order, tuple(blocks)
