"""Memory for large results, used again once the arrays that had it are gone.

Memory that is new to the process costs more than the arithmetic: the system gives it page by page, each cleared first (a neuron's
value and gradient at 64,000 points: 300 µs into new arrays, 91 µs into old ones), and the C library hands freed blocks of this
size back at once. So a large result is an array over a block on loan, its ``base``; when the last array that looks at the
block is gone, whoever held it, the block waits here for the next result of about its size.
"""

from __future__ import annotations

import math
import os
from typing import Any

import numpy as np

__all__ = ["LARGE", "Pool", "large_array"]

Array = np.ndarray[Any, Any]

LARGE = 256 * 1024  # bytes: from here on new memory costs more than what is done here
KEPT_BYTES = 256 * 1024**2  # in all, of blocks that wait; the oldest are given up
KEPT_BLOCKS = 64
WASTE = 1.25  # a block may be so many times larger than what it is taken for
LINE = 64
STEPS = 16  # Blocks begin at different distances from a page, lest the same elements of several results fall into one set of the cache.
STEP = 256


class Pool:
    """Blocks that wait, by address, the oldest first. Safe with threads: what two of them may meet in is one operation on a dict.

    >>> pool = Pool()
    >>> a = pool.array((1000, 100), np.dtype("float64"))
    >>> address = a.ctypes.data
    >>> del a
    >>> pool.array((100_000,), np.dtype("float64")).ctypes.data == address
    True
    """

    def __init__(self, kept_bytes: int = KEPT_BYTES, kept_blocks: int = KEPT_BLOCKS) -> None:
        self.kept_bytes, self.kept_blocks = kept_bytes, kept_blocks
        self._waiting: dict[int, Array] = {}
        self._made = 0

    def array(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """A new C-contiguous array, its content anything."""
        size = math.prod(shape) * dtype.itemsize
        block = self._take(size)
        return np.asarray(_Loan(self, block, shape, dtype.str))

    def clear(self) -> None:
        """Gives up the blocks that wait."""
        self._waiting.clear()

    @property
    def waiting(self) -> int:
        """The bytes of all blocks that wait."""
        return sum(block.nbytes for block in tuple(self._waiting.values()))

    def _take(self, size: int) -> Array:
        fitting = sorted((b.nbytes, address) for address, b in tuple(self._waiting.items()) if size <= b.nbytes <= WASTE * size)
        for _, address in fitting:
            block = self._waiting.pop(address, None)
            if block is not None:  # else another thread was quicker
                return block
        whole = np.empty(size + LINE + STEP * STEPS, np.uint8)
        self._made += 1
        start = -whole.ctypes.data % LINE + STEP * (self._made % STEPS)
        return whole[start : start + size]

    def _give(self, block: Array) -> None:
        """Called by whatever drops the last reference to an array, at any time."""
        if block.nbytes > self.kept_bytes:
            return
        self._waiting[id(block)] = block
        while len(self._waiting) > self.kept_blocks or self.waiting > self.kept_bytes:
            oldest = next(iter(tuple(self._waiting)), None)
            self._waiting.pop(oldest, None)  # type: ignore[arg-type]


class _Loan:
    """What owns an array's memory: gives it back when no array needs it any more."""

    __slots__ = ("__array_interface__", "_block", "_pool")

    def __init__(self, pool: Pool, block: Array, shape: tuple[int, ...], kind: str) -> None:
        self._pool, self._block = pool, block
        self.__array_interface__ = {"data": (block.ctypes.data, False), "shape": shape, "typestr": kind, "version": 3}

    def __del__(self) -> None:
        self._pool._give(self._block)


_pool = Pool()
large_array = _pool.array  # what the entry calls
os.register_at_fork(after_in_child=_pool.clear)  # the child would pay for a copy of each page
