"""What training is given, checked and sorted: parameters, batched data, fixed data, numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from symgrad import dims
from symgrad.evaluate import bind_sizes
from symgrad.expr import Expr, free_symbols, topological

__all__ = ["Problem", "check_labels", "convert", "sort_inputs"]

Array = np.ndarray[Any, Any]
_EXACT = 2**53  # whole numbers up to here are exact in float64


@dataclass
class Problem:
    """The inputs of a training loop.

    ``parameters``: what is learnt, with ``values``. ``batched``: the data cut into batches along axis 0, ``samples``
    long, with ``arrays``. ``fixed``: arrays that every step sees whole. ``numbers``: scalars. ``sizes``: named dimensions.
    """

    parameters: list[Expr]
    values: dict[str, Array]
    batched: list[Expr] = field(default_factory=list)
    arrays: dict[str, Array] = field(default_factory=dict)
    fixed: list[Expr] = field(default_factory=list)
    fixed_arrays: dict[str, Array] = field(default_factory=dict)
    numbers: dict[str, float] = field(default_factory=dict)
    samples: int = 1
    sizes: dict[str, int] = field(default_factory=dict)
    batch_dimension: str | None = None


def _key(key: object, what: str) -> str:
    if isinstance(key, Expr):
        return key.name
    if isinstance(key, str):
        return key
    raise TypeError(f"{what}: the keys are names of symbols, not {type(key).__name__}")


def convert(symbol: Expr, value: object, dtype: str) -> Array:
    """``value`` as a contiguous array of the symbol's kind (itself where it is one); ``TypeError`` where a value would be lost."""
    array = np.asarray(value)
    if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
        raise TypeError(f"{symbol.name}: real, integer or boolean numbers, not {array.dtype} (a {type(value).__name__})")
    if symbol.kind == "real":
        if array.dtype.kind in "iu" and array.size and max(int(array.max()), -int(array.min())) > _EXACT:
            raise TypeError(f"{symbol.name}: whole numbers above 2**53 are not exact as real numbers")
        return np.require(array, dtype, ["C", "A"])
    if array.dtype.kind == "f":
        whole = np.asarray(np.isfinite(array) & (array == np.floor(array)) & (np.abs(array) < _EXACT))
        if not whole.all():
            where = np.argwhere(~np.atleast_1d(whole))[0]
            culprit = float(np.atleast_1d(array)[tuple(where)])
            raise TypeError(f"{symbol.name}: whole numbers are expected, {culprit!r} (at {_place(where)}) is none")
    elif array.dtype.kind == "u" and array.size and int(array.max()) >= 2**63:
        raise TypeError(f"{symbol.name}: whole numbers above 2**63 - 1 do not fit")
    return np.require(array, np.int64, ["C", "A"])


def _place(index: Sequence[int] | Array) -> str:
    return f"index {', '.join(str(int(i)) for i in index)}"


def _batch_dimension(symbols: Iterable[Expr]) -> str | None:
    """The one named dimension that leads; ``ValueError`` where several do, or where it stands elsewhere too."""
    leading: dict[str, Expr] = {}
    symbols = list(symbols)
    for s in symbols:
        if s.shape and isinstance(s.shape[0], str):
            leading.setdefault(s.shape[0], s)
    if len(leading) > 1:
        text = " and ".join(f"{d!r} (of {s.name})" for d, s in leading.items())
        raise ValueError(
            f"data are cut into batches along the one named dimension that leads, but several lead: {text}; give all but one a size")
    for dim, owner in leading.items():
        if not dim.isidentifier():
            raise ValueError(f"the batch dimension is a plain name, {owner.name} leads with {dim!r}")
        for s in symbols:
            for axis, other in enumerate(s.shape[1:], start=1):
                if dim in dims.names(other):
                    raise ValueError(f"{dim!r} is the batch dimension, so it may only lead; {s.name} has it in axis {axis}")
        return dim
    return None


def sort_inputs(roots: Sequence[Expr], own: Iterable[Expr], params: Mapping[Any, Any], data: Mapping[Any, Any], dtype: str) -> Problem:
    """The problem of training the expressions ``roots`` from ``params`` on ``data``.

    ``own``: symbols that training itself provides (the step, the optimizer's numbers). Raises ``ValueError`` for names
    that are missing, unknown or given twice and for empty data, ``ShapeError`` and ``TypeError`` for arrays that do not fit.
    """
    provided = {s.name: s for s in own}
    taken = [s.name for root in roots for s in free_symbols(root) if provided.get(s.name, s) is not s]
    if taken:
        listed = ", ".join(dict.fromkeys(taken))
        raise ValueError(f"{listed}: the optimizer has a number of this name; call the loss's own symbol otherwise")
    found = {s.name: s for s in free_symbols(*roots, *provided.values())}
    given = {_key(k, "params"): v for k, v in params.items()}
    sets = {_key(k, "data"): v for k, v in data.items()}
    needed = {name: s for name, s in found.items() if name not in provided}
    if not given:
        raise ValueError("params is empty: nothing to learn (net.init(seed) gives a network's)")
    for what, names in (("params", given), ("data", sets)):
        unknown = [n for n in names if n not in needed]
        if unknown:
            raise ValueError(f"{what}: {', '.join(unknown)} not in the loss, which has {', '.join(needed) or 'no symbols'}")
    both = [n for n in given if n in sets]
    if both:
        raise ValueError(f"{', '.join(both)} given twice, in params and in data")
    missing = [n for n in needed if n not in given and n not in sets]
    if missing:
        raise ValueError(f"the loss needs {', '.join(missing)}, neither in params nor in data")
    problem = Problem([needed[n] for n in given], {})
    problem.batch_dimension = _batch_dimension(needed[n] for n in sets)
    for name, value in given.items():
        if needed[name].kind != "real":
            raise TypeError(f"params: {name} is an {needed[name].kind} symbol; only real ones can be learnt")
        problem.values[name] = convert(needed[name], value, dtype).copy()
    converted = {name: convert(needed[name], value, dtype) for name, value in sets.items()}
    problem.sizes = bind_sizes({needed[name]: array for name, array in {**problem.values, **converted}.items()})
    for name, array in converted.items():
        symbol = needed[name]
        if symbol.shape and symbol.shape[0] == problem.batch_dimension and problem.batch_dimension is not None:
            problem.batched.append(symbol)
            problem.arrays[name] = array
        elif symbol.shape:
            problem.fixed.append(symbol)
            problem.fixed_arrays[name] = array.copy()
        else:
            problem.numbers[name] = array.item()
    if problem.batch_dimension is not None:
        problem.samples = problem.sizes[problem.batch_dimension]
        if problem.samples == 0:
            raise ValueError(f"the data have no samples: {problem.batched[0].name} is empty")
    return problem


_INDEX_PRESERVING = ("reshape", "broadcast_to", "slice", "transpose", "named", "stop_gradient", "label")


def check_labels(roots: Sequence[Expr], arrays: Mapping[str, Array]) -> None:
    """Class labels outside 0 … classes − 1 are a ``ValueError`` naming the label and its place.

    Labels are integer inputs that are compared with all of 0 … classes − 1, as ``cross_entropy`` and ``one_hot`` do.
    """
    for node in topological(*roots):
        if node.op.name != "equal":
            continue
        for labels, classes in (node.args, node.args[::-1]):
            while labels.op.name in _INDEX_PRESERVING:
                labels = labels.args[0]
            while classes.op.name in _INDEX_PRESERVING:
                classes = classes.args[0]
            if labels.op.name != "symbol" or labels.kind != "integer" or labels.name not in arrays:
                continue
            if classes.op.name == "arange" and isinstance(classes.shape[0], int):
                _check_range(labels.name, arrays[labels.name], classes.shape[0])
            elif classes.op.name == "constant":
                row = np.ravel(classes.params["value"])
                if np.array_equal(row, np.arange(row.size)):
                    _check_range(labels.name, arrays[labels.name], row.size)


def _check_range(name: str, array: Array, classes: int) -> None:
    outside = np.argwhere((array < 0) | (array >= classes))
    if len(outside):
        label, place = int(array[tuple(outside[0])]), _place(outside[0])
        raise ValueError(f"{name}: label {label} (at {place}) is outside 0 … {classes - 1}, the loss has {classes} classes")
