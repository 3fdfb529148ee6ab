"""The table of a kernel: what the CPython entry (:mod:`symgrad.run.entry`) needs to know to call it.

64-bit words: where each argument goes, how sizes follow from shapes, what is allocated for the results
and how they are put together. :class:`Table` writes it, :func:`make_builtin` makes it a Python built-in.
"""

from __future__ import annotations

import ctypes
import keyword
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from symgrad import dims
from symgrad.dims import Dim, Shape
from symgrad.loops import INSTRUCTIONS, Gemm, Let, Loop, Program, Statement
from symgrad.loops.walk import walk
from symgrad.run.results import large_array

__all__ = [
    "Callee", "Compiled", "Input", "Output", "Structure", "Table", "make_builtin", "make_pending", "new_array_address", "redirect",
    "release_threshold",
]  # fmt: skip

LONG = 20_000  # operations, some ten microseconds, from which on a call releases the GIL whatever it is given

# What the tuple behind a built-in holds, by position.
SELF = ("table", "fallback", "failed", "names", "keys", "owned", "remake", "large_array")

# The table's first words. Counts, offsets into the table, then offsets into the call's workspace.
HEADER = (
    "kernel", "workspace", "inputs", "input_rows", "sizes", "size_template", "steps", "step_rows", "checks", "check_rows",
    "constants", "constant_rows", "outputs", "output_rows", "results", "result_rows", "targets", "target_rows", "release",
    "float_type", "float64_type", "float32_type", "int_type", "int64_type", "array_type", "float64_dtype", "new_array",
    "tuple_type", "list_type", "dict_type", "none",
    "at_arguments", "at_sizes", "at_buffers", "at_cells", "at_outputs", "at_stack", "at_dims", "at_targets", "at_extents",
)  # fmt: skip
WORD = {name: k for k, name in enumerate(HEADER)}

# Row formats.
INPUT_ROW = 6     # kind, buffer or -1, dtype object, bytes an element, ndim, offset of the axes' size slots
STEP_ROW = 4      # operation, target slot, left slot, right slot
CHECK_ROW = 3     # relation, left slot, right slot
CONSTANT_ROW = 2  # buffer, address
OUTPUT_ROW = 6    # as inputs
RESULT_ROW = 3    # leaf, output, - | tuple, count, - | list, count, - | dict, count, first key
# Parts of `out`: the whole, or an item of a tuple, of a list, of a dict; whose; position or key; leaf, output | tuple, count | …
TARGET_ROW = 5

KINDS = {"float64": 0, "float32": 1, "int64": 2, "bool": 3}
ARRAY = 4
STEPS = {"+": 0, "-": 1, "*": 2, "//": 3}
RESULTS = {"leaf": 0, "tuple": 1, "list": 2, "dict": 3}
STACK_WORDS = 2048  # a larger workspace comes from malloc

Structure = Any  # a nest of str (an output's name), tuple, list and dict


@dataclass(frozen=True)
class Input:
    """One argument of a call: its name, element type (a NumPy dtype name) and shape."""

    name: str
    dtype: str
    shape: Shape


Output = Input


@dataclass
class Table:
    """Writes the table of one kernel for calls with ``inputs`` that return ``result``, a nest of output names."""

    program_sizes: Sequence[str]
    buffers: Sequence[str]
    inputs: Sequence[Input]
    outputs: Sequence[Output]
    result: Structure
    checks: Sequence[tuple[Dim, str, Dim]] = ()
    release: int = -1
    keys: list[str] = field(default_factory=list)
    _template: list[int] = field(default_factory=list)
    _slots: dict[Dim, int] = field(default_factory=dict)
    _steps: list[int] = field(default_factory=list)

    def write(self, kernel: int, constants: Sequence[tuple[int, int]], new_array: int) -> bytes:
        """The table as bytes; ``constants`` are (buffer number, address) pairs."""
        buffer_of = {name: k for k, name in enumerate(self.buffers)}
        for name in self.program_sizes:  # the kernel gets the head of the sizes as they are
            self._new_slot(name)
        checks: list[int] = []
        late: list[tuple[int, Dim]] = []
        rows = [self._row(i, buffer_of, late) for i in self.inputs]
        for slot, dim in late:
            checks += [0, slot, self._slot(dim)]
        for left, relation, right in self.checks:
            checks += [0 if relation == "==" else 1, self._slot(left), self._slot(right)]
        output_rows = [self._row(o, buffer_of, None) for o in self.outputs]
        number = {o.name: k for k, o in enumerate(self.outputs)}
        results = self._results(number)

        words = [0] * len(HEADER)
        put = dict[str, int]()
        put.update(kernel=kernel, release=self.release, new_array=new_array, float64_dtype=id(np.dtype(np.float64)), none=id(None))
        put.update((f"{kind.__name__.removeprefix('nd')}_type", id(kind)) for kind in _TYPES)

        def section(count: str, offset: str, body: list[int], row: int) -> None:
            put[count], put[offset] = len(body) // row, len(words)
            words.extend(body)

        for row in (*rows, *output_rows):
            axes = row.pop()
            row.append(len(words))
            words.extend(axes)
        section("sizes", "size_template", self._template, 1)
        section("inputs", "input_rows", [w for r in rows for w in r], INPUT_ROW)
        section("outputs", "output_rows", [w for r in output_rows for w in r], OUTPUT_ROW)
        section("steps", "step_rows", self._steps, STEP_ROW)
        section("checks", "check_rows", checks, CHECK_ROW)
        section("constants", "constant_rows", [w for c in constants for w in c], CONSTANT_ROW)
        section("results", "result_rows", results, RESULT_ROW)
        section("targets", "target_rows", self._targets(number), TARGET_ROW)

        at = 0
        for name, size in (
            ("at_arguments", len(rows) + 1), ("at_sizes", len(self._template)), ("at_buffers", len(self.buffers)),
            ("at_cells", len(rows) + len(output_rows)), ("at_outputs", len(output_rows)), ("at_stack", put["results"]),
            ("at_dims", max([len(o.shape) for o in self.outputs], default=0)), ("at_targets", put["targets"]),
            ("at_extents", 2 * (len(rows) + len(output_rows))),
        ):  # fmt: skip
            put[name] = at
            at += size
        put["workspace"] = max(at, 1)
        for name, value in put.items():
            words[WORD[name]] = value
        return np.array(words, dtype=np.int64).tobytes()

    def _new_slot(self, dim: Dim) -> int:
        self._slots[dim] = len(self._template)
        self._template.append(dim if isinstance(dim, int) else -1)
        return self._slots[dim]

    def _slot(self, dim: Dim) -> int:
        """The place of a size; a size that is an expression becomes steps that compute it."""
        if dim in self._slots:
            return self._slots[dim]
        if isinstance(dim, int) or dim.isidentifier():
            return self._new_slot(dim)
        order = dims.steps(dim)
        slots: list[int] = []
        for operation, left, right in order:
            if operation == "leaf":
                slots.append(self._slot(left))
            else:
                target = len(self._template)
                self._template.append(-1)
                self._steps += [STEPS[operation], target, slots[int(left)], slots[int(right)]]
                slots.append(target)
        self._slots[dim] = slots[-1]
        return slots[-1]

    def _row(self, item: Input, buffer_of: dict[str, int], late: list[tuple[int, Dim]] | None) -> list[Any]:
        buffer = buffer_of.get(item.name, -1)
        if not item.shape:
            return [KINDS[item.dtype], buffer, 0, 0, 0, []]
        axes: list[int] = []
        for dim in item.shape:
            if late is not None and isinstance(dim, str) and not dim.isidentifier():
                axes.append(len(self._template))  # an input's own "n - 1": read first, compared when n is known
                self._template.append(-1)
                late.append((axes[-1], dim))
            else:
                axes.append(self._slot(dim))
        dtype = np.dtype(item.dtype)
        return [ARRAY, buffer, id(dtype), dtype.itemsize, len(axes), axes]

    def _results(self, number: dict[str, int]) -> list[int]:
        """The nest in postfix order."""
        code: list[int] = []
        stack: list[tuple[Any, bool]] = [(self.result, False)]
        while stack:
            item, ready = stack.pop()
            if isinstance(item, str):
                code += [RESULTS["leaf"], number[item], 0]
            elif not ready:
                stack.append((item, True))
                stack.extend((part, False) for part in reversed(list(item.values() if isinstance(item, dict) else item)))
            elif isinstance(item, dict):
                code += [RESULTS["dict"], len(item), len(self.keys)]
                self.keys.extend(item)
            else:
                code += [RESULTS["list" if isinstance(item, list) else "tuple"], len(item), 0]
        return code

    def _targets(self, number: dict[str, int]) -> list[int]:
        """The nest from the outside in, for taking a nest of the same structure apart."""
        code: list[int] = []
        queue: list[tuple[Any, int, int, int]] = [(self.result, 0, 0, 0)]  # item, how it is reached, from which row, at which place
        for row, (item, *where) in enumerate(queue):
            if isinstance(item, str):
                code += [*where, RESULTS["leaf"], number[item]]
                continue
            kind = RESULTS["dict" if isinstance(item, dict) else "list" if isinstance(item, list) else "tuple"]
            code += [*where, kind, len(item)]
            for place, part in enumerate(item.values() if isinstance(item, dict) else item):
                queue.append((part, kind, row, len(self.keys) + place if isinstance(item, dict) else place))
            if isinstance(item, dict):
                self.keys.extend(item)
        return code


# --- the built-in ----------------------------------------------------------------------------------


class _MethodDef(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("function", ctypes.c_void_p), ("flags", ctypes.c_int), ("doc", ctypes.c_char_p)]


_TYPES = (float, np.float64, np.float32, int, np.int64, np.ndarray, tuple, list, dict)  # what the entry knows by address
_NO_KEYWORD = "\0 by position only"
_METH_FASTCALL_KEYWORDS = 0x0080 | 0x0002


class Compiled(tuple[Any, ...]):
    """What a call of a built-in needs (:data:`SELF`)."""

    __slots__ = ()


class Callee(list[Compiled]):
    """The ``self`` of a built-in: the one thing it calls. It pickles as what that was made from, so that built-ins pickle, too."""

    __slots__ = ("method",)  # the built-in's record, which must live as long as it

    def __init__(self, compiled: Compiled, method: _MethodDef) -> None:
        super().__init__([compiled])
        self.method = method

    def __reduce__(self) -> tuple[Any, ...]:
        return self[0][SELF.index("remake")]


def make_builtin(
    name: str, entry: int, table: bytes, fallback: Callable[..., Any], failed: Callable[[int], Any],
    names: Sequence[str | None], keys: Sequence[str], owned: Any, doc: str = "", remake: tuple[Any, ...] = (),
) -> Callable[..., Any]:  # fmt: skip
    """A built-in function around the entry at address ``entry``; it owns all it is given.

    ``fallback`` gets the calls that the entry does not take, ``failed`` the kernel's failure codes;
    ``names`` are the arguments' keywords (``None``: positional only); ``keys`` those of dict results;
    ``remake`` gives, called by pickle, an object whose attribute ``name`` is this built-in.
    """
    if all(n is not None and n.isidentifier() and not keyword.iskeyword(n) for n in names):
        doc = f"{name}({', '.join(['$self', *map(str, names), '*', 'out=None'])})\n--\n\n{doc}"  # what inspect.signature reads
    method = _MethodDef(name.encode(), entry, _METH_FASTCALL_KEYWORDS, doc.encode())
    new = ctypes.pythonapi.PyCFunction_NewEx
    new.restype, new.argtypes = ctypes.py_object, [ctypes.POINTER(_MethodDef), ctypes.py_object, ctypes.c_void_p]
    words = tuple(_NO_KEYWORD if n is None else sys.intern(n) for n in (*names, "out"))  # interned, most comparisons are of addresses
    compiled = Compiled((table, fallback, failed, words, tuple(keys), owned, remake, large_array))
    return new(ctypes.byref(method), Callee(compiled, method), None)


def make_pending(
    name: str, entry: int, fallback: Callable[..., Any], names: Sequence[str | None], doc: str, remake: tuple[Any, ...]
) -> Callable[..., Any]:
    """A built-in that hands every call to ``fallback``, until it is redirected."""
    words = [0] * len(HEADER)
    words[WORD["inputs"]], words[WORD["workspace"]] = -1, 1  # no number of arguments is the right one
    table = np.array(words, dtype=np.int64).tobytes()
    return make_builtin(name, entry, table, fallback, fallback, names, (), None, doc, remake)


def redirect(builtin: Any, to: Any) -> None:
    """From now on the first built-in calls what the second one does."""
    builtin.__self__[0] = to.__self__[0]


def new_array_address() -> int:
    """NumPy's ``PyArray_Empty`` (entry 184 of its C API table, whose order is part of the ABI)."""
    from numpy._core import _multiarray_umath as umath  # type: ignore[attr-defined]

    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype, get.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    api = ctypes.cast(get(umath._ARRAY_API, None), ctypes.POINTER(ctypes.c_void_p))
    return int(api[184] or 0)


def release_threshold(program: Program) -> int:
    """From how many array elements on the call releases the GIL (-1: never), which costs about 0.05 µs."""
    if _is_long(program.body):
        return 0
    if not any(b.shape for b in program.arguments):
        return -1
    return 0 if any(isinstance(s, Gemm) for s in walk(program.body)) else 4096


def _is_long(body: Sequence[Statement]) -> bool:
    """Whether there are ``LONG`` operations in any case: loops of a size that the call decides count as one round."""
    found, blocks = 0.0, [(body, 1)]
    while blocks and found < LONG:
        statements, times = blocks.pop()
        for s in statements:
            if isinstance(s, Loop):
                blocks.append((s.body, times * _rounds(s)))
            elif isinstance(s, Let):
                found += times * INSTRUCTIONS[s.op].cost
            if found >= LONG:
                return True
    return found >= LONG


def _rounds(s: Loop) -> int:
    first, end = s.start.offset, s.stop.offset
    if s.start.terms or s.stop.terms or not isinstance(first, int) or not isinstance(end, int):
        return 1
    return max(0, -(-(end - first) // s.step))
