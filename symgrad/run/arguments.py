"""Arguments of a call: bound to inputs, converted without loss, their shapes checked against the named dimensions.

This is the slow path, some microseconds: what the CPython entry does not take comes here, and so does
everything that is wrong, to be told so in one sentence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from symgrad import dims
from symgrad.dims import Constraint
from symgrad.errors import ShapeError
from symgrad.expr import Expr
from symgrad.run.table import Input

__all__ = ["POSITIONAL_ONLY", "Signature", "as_array"]

Array = np.ndarray[Any, Any]

# Keywords with a meaning of their own: an input of this name can only be given by position.
POSITIONAL_ONLY = ("v", "out", "sparse")


class Signature:
    """The inputs of a function, in the order of positional calls; ``checks``: what shape rules left to the call."""

    def __init__(self, name: str, inputs: Sequence[Input], checks: Sequence[Constraint] = ()) -> None:
        self.name, self.inputs, self.checks = name, tuple(inputs), tuple(checks)
        self.any_array = any(i.shape for i in self.inputs)
        self._position = {i.name: k for k, i in enumerate(self.inputs) if i.name not in POSITIONAL_ONLY}

    def __str__(self) -> str:
        return f"{self.name}({', '.join(i.name + (': ' + dims.format_shape(i.shape) if i.shape else '') for i in self.inputs)})"

    @property
    def keywords(self) -> list[str | None]:
        """The inputs' names, ``None`` for those that are given by position only."""
        return [i.name if i.name in self._position else None for i in self.inputs]

    def bind(self, args: Sequence[Any], keywords: Mapping[str, Any]) -> list[Any]:
        """The arguments in the order of the inputs; ``TypeError`` where one is missing, extra or unknown."""
        if len(args) > len(self.inputs):
            raise TypeError(f"{self.name}() takes {_counted(len(self.inputs))}, {len(args)} were given: {self}")
        values = dict(enumerate(args))
        for name, value in keywords.items():
            position = self._position.get(name)
            if position is None:
                raise TypeError(f"{self.name}() has no argument {name!r}: {self}")
            if position in values:
                raise TypeError(f"{self.name}() got two values for {name!r}: {self}")
            values[position] = value
        missing = [repr(i.name) for k, i in enumerate(self.inputs) if k not in values]
        if missing:
            raise TypeError(f"{self.name}() is missing {', '.join(missing)}: {self}")
        return [values[k] for k in range(len(self.inputs))]

    def convert(self, values: Sequence[Any]) -> list[Array]:
        """Aligned, contiguous arrays of the wanted types; ``TypeError`` where a value would be lost."""
        return [as_array(value, i.name, i.dtype) for value, i in zip(values, self.inputs)]

    def check(self, arrays: Sequence[Array]) -> dict[str, int]:
        """The sizes of the named dimensions; ``ShapeError`` where shapes do not fit them or each other."""
        sizes: dict[str, int] = {}
        source: dict[str, str] = {}
        derived: list[tuple[Input, Array]] = []
        for item, array in zip(self.inputs, arrays):
            if array.ndim != len(item.shape):
                raise ShapeError(f"{item.name} has shape {array.shape}, {dims.format_shape(item.shape)} is wanted: {self}")
            for dim, size in zip(item.shape, array.shape):
                if isinstance(dim, int):
                    if size != dim:
                        raise ShapeError(f"{item.name} has shape {array.shape}, {dims.format_shape(item.shape)} is wanted: {self}")
                elif not dim.isidentifier():
                    derived.append((item, array))
                elif sizes.setdefault(dim, size) != size:
                    raise ShapeError(f"{dim} is {sizes[dim]} in {source[dim]} but {size} in {item.name}, of shape {array.shape}: {self}")
                else:
                    source.setdefault(dim, item.name)
        for item, array in derived:
            wanted = dims.evaluate_shape(item.shape, sizes)
            if array.shape != wanted:
                raise ShapeError(f"{item.name} has shape {array.shape}, {dims.format_shape(item.shape)} = {wanted} is wanted: {self}")
        for left, relation, right in self.checks:
            a, b = dims.evaluate(left, sizes), dims.evaluate(right, sizes)
            if (a != b) if relation == "==" else (a < b):
                known = ", ".join(f"{n} is {sizes[n]} (from {source[n]})" for n in dict.fromkeys((*dims.names(left), *dims.names(right))))
                raise ShapeError(f"the formula needs {left} {relation} {right}, but {known}: {self}")
        return sizes


def _counted(number: int) -> str:
    return f"{number} argument" + ("" if number == 1 else "s")


def as_array(value: Any, name: str, dtype: str) -> Array:
    """A value as an aligned, C-contiguous array of the wanted type ("float64", "float32" or "int64").

    Raises ``TypeError`` for what is not real numbers, and where a value would change (float64 into float32 apart:
    that was asked for with ``dtype="float32"``).
    """
    native = np.dtype(dtype)
    if type(value) is np.ndarray and value.dtype is native and value.flags.c_contiguous and value.flags.aligned:
        return value
    if isinstance(value, Expr):
        raise TypeError(f"{name} is an expression, numbers are wanted: sg.substitute puts expressions into formulas")
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{name} is a masked array, whose mask would be lost: give its .filled() values")
    try:
        array = np.asarray(value)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} is not an array of numbers: {error}") from None
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name} is {_described(value, array)}, real numbers are wanted")
    real = dtype.startswith("float")
    if not (_fits_real(array) if real else _fits_integer(array)):
        raise TypeError(f"{name} ({array.dtype}) has values that {'float64' if real else 'int64'} cannot hold exactly")
    with np.errstate(all="ignore"):
        result = np.require(array, native, ["C", "A", "E"])
    return result if result.dtype is native else result.view(native)


def _described(value: Any, array: Array) -> str:
    if array.dtype.kind == "O":
        return f"a {type(value).__name__}" if array.ndim == 0 else "an array of objects"
    return {"c": "complex", "U": "text", "S": "text", "M": "a date", "m": "a time"}.get(array.dtype.kind, f"of type {array.dtype}")


def _fits_real(array: Array) -> bool:
    if array.dtype.itemsize < 8 or array.dtype.kind == "b" or array.dtype == np.float64:
        return True
    if array.dtype.kind == "f":
        with np.errstate(all="ignore"):
            return np.array_equal(array.astype(np.float64).astype(array.dtype), array, equal_nan=True)
    large = array[(array > 2**53) | (array < -(2**53))] if array.dtype.kind == "i" else array[array > 2**53]
    return all(int(float(number)) == number for number in large.ravel().tolist())


def _fits_integer(array: Array) -> bool:
    if array.dtype.kind == "u":
        return array.dtype.itemsize < 8 or not array.size or int(array.max()) < 2**63
    if array.dtype.kind != "f":
        return True
    return bool(np.all((array == np.trunc(array)) & (array >= -(2.0**63)) & (array < 2.0**63)))
