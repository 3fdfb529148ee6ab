"""``out=``: the caller's arrays that results are written to. What the CPython entry does not take is checked and copied here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from symgrad.errors import ShapeError
from symgrad.run.table import Structure

__all__ = ["Targets"]

Array = np.ndarray[Any, Any]
Shape = tuple[int, ...]
OVERLAP_EFFORT = 10_000  # of NumPy's search for an element in common, which may take exponential time


class Targets:
    """The arrays in ``out`` by the name of the output they are for; ``None`` stands for a new one.

    outputs  name → element type and shape of every output
    Raises ``TypeError``, ``ShapeError`` or ``ValueError`` where one cannot take its output, before anything is written.
    """

    def __init__(self, result: Structure, out: Any, outputs: Mapping[str, tuple[str, Shape]]) -> None:
        self.arrays: dict[str, Array] = {}
        stack = [(result, out)]
        while stack:
            names, part = stack.pop()
            if isinstance(names, str):
                if part is not None:
                    _check(part, *outputs[names])
                    self.arrays[names] = part
                continue
            if type(part) is not type(names) or len(part) != len(names) or (isinstance(names, dict) and part.keys() != names.keys()):
                raise TypeError(f"out is structured like the result, with None for what is to be new: {_described(names)} is wanted")
            stack.extend((names[key], part[key]) for key in (names if isinstance(names, dict) else range(len(names))))
        arrays = list(self.arrays.values())
        for k, array in enumerate(arrays):
            if any(_share(array, other) for other in arrays[:k]):
                raise ValueError("out: two of its arrays overlap, so that one result would be written over another")

    def buffers(self, inputs: Sequence[Array]) -> dict[str, Array] | None:
        """The arrays as the kernel writes to them, or ``None`` where results must be computed elsewhere and copied."""
        for array in self.arrays.values():
            if not array.ndim or not array.flags.c_contiguous or not array.flags.aligned:
                return None
        if any(np.may_share_memory(array, other) for array in self.arrays.values() for other in inputs):
            return None
        return {name: array.view(np.ndarray) for name, array in self.arrays.items()}

    def fill(self, name: str, value: Any) -> Any:
        """An output in its place: the caller's array, or the value itself where there is none."""
        array = self.arrays.get(name)
        if array is None:
            return value
        if not isinstance(value, np.ndarray) or value.ctypes.data != array.ctypes.data:  # else the kernel has written to it
            array[...] = value
        return array


def _check(array: Any, dtype: str, shape: Shape) -> None:
    if not isinstance(array, np.ndarray):
        raise TypeError(f"out takes NumPy arrays, and this is a {type(array).__name__}: results are structured as without out")
    if isinstance(array, np.ma.MaskedArray):
        raise TypeError("out is a masked array, whose mask would not be set: give its .data")
    if array.dtype != np.dtype(dtype):
        raise TypeError(f"out has elements of type {array.dtype}, {dtype} is wanted")
    if array.shape != shape:
        raise ShapeError(f"out has shape {array.shape}, the result {shape}")
    if not array.flags.writeable:
        raise ValueError("out is read-only")
    if array.size and any(step == 0 and size > 1 for step, size in zip(array.strides, array.shape)):
        raise ValueError("out has elements that overlap each other")


def _share(a: Array, b: Array) -> bool:
    try:
        return np.shares_memory(a, b, max_work=OVERLAP_EFFORT)  # type: ignore[arg-type]  # NumPy's stubs leave numbers out
    except np.exceptions.TooHardError:
        return True


def _described(names: Structure) -> str:
    if isinstance(names, dict):
        return f"a dict with the keys {', '.join(map(repr, names))}"
    return f"a {type(names).__name__} of {len(names)}"
