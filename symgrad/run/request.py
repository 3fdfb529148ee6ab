"""What :func:`symgrad.compile` was asked for, read and checked before anything is done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from symgrad import dims
from symgrad.errors import ShapeError
from symgrad.expr import Expr, as_expr, free_symbols, topological
from symgrad.run.function import Formula, nest_map
from symgrad.run.kernel import sizes_of

__all__ = ["DTYPES", "read_request"]

DTYPES = ("float64", "float32")


def read_request(
    expr: Any, inputs: Any, wrt: Any, dtype: str, simplify: bool, threads: int, fastmath: bool, cache: bool, mode: str
) -> Formula:
    """What was asked for, checked."""
    from symgrad.schedule import MODES

    outputs, structure = _flat(expr)
    if not outputs:
        raise ValueError("there is nothing to compile: give at least one expression")
    dtype = getattr(dtype, "__name__", None) or str(dtype)
    if dtype not in DTYPES:
        raise ValueError(f"dtype is {dtype!r}: 'float64' or 'float32' is wanted")
    if not isinstance(threads, int) or threads < 1:
        raise ValueError(f"threads is {threads!r}: a number from 1 on is wanted")
    if mode not in MODES:
        raise ValueError(f"mode is {mode!r}: one of {', '.join(MODES)} is wanted")
    order, found = topological(*outputs), tuple(free_symbols(*outputs))
    symbols = found if inputs is None else _read_inputs(inputs, found)
    _check_sizes(order, symbols)
    nodes, targets = _read_wrt(wrt, symbols, order)
    return Formula(
        outputs=tuple(outputs), structure=structure, inputs=symbols, wrt=tuple(nodes), targets=targets, dtype=dtype,
        simplify=bool(simplify), threads=threads, fastmath=bool(fastmath), cache=bool(cache), mode=mode,
    )  # fmt: skip


def _flat(expr: Any) -> tuple[list[Expr], Any]:
    """Expressions, and the nest of sequences and dicts that they stand in."""
    found: list[Expr] = []

    def place(leaf: Any) -> int:
        found.append(as_expr(leaf))
        return len(found) - 1

    nest = nest_map(dict(expr) if isinstance(expr, Mapping) else expr, place)
    return found, nest


def _read_inputs(inputs: Any, found: Sequence[Expr]) -> tuple[Expr, ...]:
    by_name = {s.name: s for s in found}
    given = []
    for item in [inputs] if isinstance(inputs, (str, Expr)) else inputs:
        if isinstance(item, str):
            if item not in by_name:
                raise ValueError(f"no symbol {item!r} occurs; known are {', '.join(by_name) or 'none'}")
            item = by_name[item]
        given.append(as_expr(item))
    for item in given:
        if item.op.name != "symbol":
            raise TypeError(f"inputs are symbols, this is a {item.op.name} node")
    listed = Counter(given)
    for item in given:
        if listed[item] > 1:
            raise ValueError(f"{item.name!r} is listed twice among the inputs")
    free_symbols(*given, *found)  # one name, one symbol
    missing = [s.name for s in found if s not in listed]
    if missing:
        raise ValueError(f"inputs lack {', '.join(missing)}, which the expression depends on")
    return tuple(given)


def _read_wrt(wrt: Any, inputs: Sequence[Expr], order: Sequence[Expr]) -> tuple[list[Expr], Any]:
    if wrt is None:
        real = [s for s in inputs if s.kind == "real"]
        return real, {s.name: k for k, s in enumerate(real)}
    several = isinstance(wrt, (list, tuple))
    by_name = {s.name: s for s in inputs}
    nodes = []
    for item in wrt if several else [wrt]:
        if isinstance(item, str) and item not in by_name:
            raise ValueError(f"wrt: no input is named {item!r}; known are {', '.join(by_name) or 'none'}")
        nodes.append(by_name[item] if isinstance(item, str) else as_expr(item))
    present = set(order)
    for node in nodes:
        if node.kind != "real":
            raise TypeError(f"wrt: {node} is {node.kind}, and derivatives are with respect to reals")
        if node.op.name != "symbol" and node not in present:
            raise ValueError(f"wrt: the {node.op.name} node {node} does not occur in the expression")
    free_symbols(*inputs, *[node for node in nodes if node.op.name == "symbol"])  # one name, one symbol; others occur in the outputs
    return nodes, tuple(range(len(nodes))) if several else 0


def _check_sizes(order: Sequence[Expr], inputs: Sequence[Expr]) -> None:
    """Every named dimension must be the size of an axis of an input."""
    known = sizes_of([s.shape for s in inputs])
    used = [d for node in (*order, *inputs) for d in node.shape if isinstance(d, str)]
    used += [n.params["dim"] for n in order if n.op.name == "size" and isinstance(n.params["dim"], str)]
    for dim in dict.fromkeys(used):
        for name in dims.names(dim):
            if name not in known:
                raise ShapeError(f"the size {name} is no axis of an input: add a symbol with an axis {name!r} to inputs")
