"""A compiled program, loaded: how it is kept on disk, and how it becomes a Python built-in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from symgrad.dims import Constraint, Shape
from symgrad.errors import ShapeError
from symgrad.expr import Expr
from symgrad.loops import Program
from symgrad.ops.indexing import IndexRangeError
from symgrad.run import cache, engine, table
from symgrad.run.arguments import Signature
from symgrad.run.table import Output, Structure

__all__ = ["Kernel", "Plan", "element_type"]

Array = np.ndarray[Any, Any]

_ITEM = {"integer": "int64", "boolean": "bool"}


def element_type(kind: str, dtype: str) -> str:
    """The NumPy type of values of a kind, reals being ``dtype``."""
    return _ITEM.get(kind, dtype)


@dataclass(frozen=True, eq=False)
class Plan:
    """What one way of calling a formula computes, known before anything is derived.

    kind     "value", "grad", …; with ``points`` over many points at once
    inputs   the symbols that are passed, in order
    outputs  name, kind and shape of every array or number that comes back
    result   how they are put together: a nest of names
    derive   gives the expressions by name
    """

    kind: str
    inputs: tuple[Expr, ...]
    outputs: tuple[tuple[str, str, Shape], ...]
    result: Structure
    derive: Callable[[], dict[str, Expr]]
    points: bool = False


@dataclass
class Kernel:
    """Machine code with what is needed to call it. ``words``: the kernels as the schedule describes them.
    ``layout``: what a training loop's arguments are."""

    library: engine.Library
    address: int
    arguments: tuple[str, ...]
    sizes: tuple[str, ...]
    failures: tuple[str, ...]
    constants: Mapping[int, Array]
    release: int
    checks: tuple[Constraint, ...] = ()
    words: tuple[str, ...] = ()
    cost: Mapping[str, Any] = field(default_factory=dict)
    layout: Mapping[str, Any] = field(default_factory=dict)
    timings: dict[str, float] = field(default_factory=dict)
    cached: bool = False

    @staticmethod
    def pack(program: Program, compiled: engine.CompiledObject, known: Mapping[bytes, bytes], extra: Mapping[str, Any]) -> cache.Entry:
        """Header and blocks for the disk. ``known``: content → digest of the formula's own constants, which are not kept twice."""
        blocks, constants = [compiled.code, *compiled.pieces], []
        for position, buffer in enumerate(program.arguments):
            if buffer.role == "constant":
                array = np.ascontiguousarray(program.constants[buffer])
                place = [position, buffer.kind, array.dtype.str, list(array.shape)]
                content = array.tobytes()
                if content in known:
                    constants.append([*place, known[content].hex()])
                else:
                    constants.append([*place, len(blocks)])
                    blocks.append(content)
        header = {
            "arguments": [b.name for b in program.arguments],
            "sizes": list(program.sizes),
            "failures": list(program.failures),
            "constants": constants,
            "symbol": next(iter(compiled.symbols.values())),
            "needs": list(compiled.needs),
            "pieces": len(compiled.pieces),
            "blas": engine.uses_blas(program),
            "release": table.release_threshold(program),
            **extra,
        }
        return header, blocks

    @staticmethod
    def unpack(entry: cache.Entry, dtype: str, by_digest: Mapping[str, Array]) -> Kernel:
        """The kernel of an entry, loaded. Raises ``LookupError`` where it does not belong to this formula or process."""
        header, blocks = entry
        library = engine.Library(blocks[0], header["needs"], header["blas"], blocks[1 : 1 + header["pieces"]])
        constants = {}
        for position, kind, stored, shape, where in header["constants"]:
            array = np.frombuffer(blocks[where], stored).reshape(shape) if isinstance(where, int) else by_digest[where]
            constants[position] = np.ascontiguousarray(array, dtype=element_type(kind, dtype))
        return Kernel(
            library=library, address=library.address(header["symbol"]), arguments=tuple(header["arguments"]), sizes=tuple(header["sizes"]),
            failures=tuple(header["failures"]), constants=constants, release=header["release"], words=tuple(header["words"]),
            checks=tuple((a, relation, b) for a, relation, b in header["checks"]), cost=header["cost"],
            layout=header["layout"],
        )  # fmt: skip

    def builtin(
        self, name: str, plan: Plan, signature: Signature, dtype: str, fallback: Callable[..., Any] | None = None,
        doc: str = "", remake: tuple[Any, ...] = (),
    ) -> Any:  # fmt: skip
        """The kernel as a built-in that hands to ``fallback`` what it does not take; without one all arguments must be as they should."""
        outputs = [Output(output, element_type(kind, dtype), shape) for output, kind, shape in plan.outputs]
        writer = table.Table(self.sizes, self.arguments, signature.inputs, outputs, plan.result, self.checks, self.release)
        constants = [(position, array.ctypes.data) for position, array in self.constants.items()]
        content = writer.write(self.address, constants, table.new_array_address())

        def refused(*args: Any, **keywords: Any) -> Any:
            shapes = ", ".join(str(np.shape(a)) for a in args)
            raise ShapeError(f"{signature} cannot be computed for shapes {shapes}: a size would be negative")

        entry = engine.entry_address(_load_entry, _store_entry)
        return table.make_builtin(name, entry, content, fallback or refused, self.fail, signature.keywords, writer.keys, self, doc, remake)

    @staticmethod
    def pending(name: str, signature: Signature, fallback: Callable[..., Any], doc: str, remake: tuple[Any, ...]) -> Any:
        """A built-in for what is not compiled yet: ``fallback`` gets its calls."""
        entry = engine.entry_address(_load_entry, _store_entry)
        return table.make_pending(name, entry, fallback, signature.keywords, doc, remake)

    def fail(self, code: int) -> None:
        """Raises what a failure code of the machine code stands for."""
        if code == OUT_OF_MEMORY:
            raise MemoryError
        if code == TOO_LARGE:
            raise ValueError("a matrix is too large for the integers of this BLAS")
        message = self.failures[code - 1]
        raise (IndexRangeError if "out of range" in message else ValueError)(message)


OUT_OF_MEMORY, TOO_LARGE = -1, -2  # as render.llvm returns them


def _entry_key() -> str:
    return cache.digest(["entry", object.__basicsize__, *cache.versions(), *engine.host()])


def _load_entry() -> bytes | None:
    found = cache.default().load(_entry_key())
    return None if found is None else found[1][0]


def _store_entry(code: bytes) -> None:
    cache.default().store(_entry_key(), {"kind": "entry"}, [code])


def sizes_of(shapes: Sequence[Shape]) -> set[str]:
    """The names that the axes of these shapes give a size to."""
    return {dim for shape in shapes for dim in shape if isinstance(dim, str) and dim.isidentifier()}
