"""Loop programs as a Python module: what a person reads, and may ship. It needs NumPy, SciPy and numba, and nothing of symgrad."""

from __future__ import annotations

import base64
import re
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from symgrad import dims
from symgrad.dims import Constraint, Dim, Shape, format_shape
from symgrad.loops import Buffer, Copy, Fill, Index, Load, Program, Statement, Store, Value, render_text
from symgrad.loops.walk import buffers, walk
from symgrad.render.python_body import Names, PythonBody, comment_text
from symgrad.render.python_helpers import HELPERS, NEEDS

__all__ = ["Entry", "Variable", "render_python", "render_text"]

WIDEST_LINE = 120
LONGEST_DOC = 2000  # characters of a formula in a docstring


@dataclass(frozen=True)
class Variable:
    """An input or output: the name of its buffer in the program, its kind and shape."""

    name: str
    kind: str
    shape: Shape


@dataclass(frozen=True, eq=False)
class Entry:
    """One function of the module.

    program   with one lane; its inputs and outputs are found by name
    inputs    in the order of the arguments; some may not occur in the program
    result    a nest (tuple, list, dict) of output names; by default all outputs, one alone without a tuple
    checks    relations of sizes that the call must fulfil
    doc       the formula, for the docstring
    describe  value or statement of the program, names of the buffers → the formula of what it computes, for notes beside the lines
    """

    name: str
    program: Program
    inputs: Sequence[Variable]
    outputs: Sequence[Variable]
    result: Any = None
    checks: Sequence[Constraint] = ()
    doc: str = ""
    describe: Callable[[Value | Statement, Mapping[str, str]], str | None] | None = None


def render_python(entries: Iterable[Entry], *, dtype: str = "float64") -> str:
    """A complete module with a function for each entry, and under each a compiled one that does the work.

    Symbols keep their names where Python has no other use for them.

    >>> from symgrad.loops import Buffer, Builder, Program
    >>> b, x, y = Builder(), Buffer("x", "real", (), "input"), Buffer("y", "real", (), "output")
    >>> b.store(y, 0, b.tanh(b.mul(b.load(x, 0), 2.0)))
    >>> number = Variable("x", "real", ())
    >>> text = render_python([Entry("value", Program("value", (x, y), (), (), b.body), [number], [Variable("y", "real", ())])])
    >>> print(text[text.index("@njit"):])
    @njit(error_model="numpy")
    def value_kernel(x):
        y = math.tanh(x * 2.0)
        return y
    <BLANKLINE>
    <BLANKLINE>
    def value(x):
        return float(value_kernel(float(x)))
    <BLANKLINE>
    """
    entries = list(entries)
    names = Names()
    functions = [(names.make(e.name), names.make(f"{e.name}_kernel"), e) for e in entries]
    # Inside a function, symbols may hide the public names, but not what it calls.
    names.taken -= {public for public, _, _ in functions}
    parts: list[str] = []
    helpers: set[str] = set()
    constants: dict[str, str] = {}
    for public, kernel, entry in functions:
        writer = _Entry(entry, public, kernel, dtype, names, constants)
        parts.append(writer.write())
        helpers |= writer.helpers
    body = "\n\n".join([*_helper_texts(helpers), *parts])
    head = [f'"""{", ".join(public for public, _, _ in functions)}: written by symgrad. Needs NumPy, SciPy and numba."""']
    library = [f"import {name}" for name in ("base64", "math") if f"{name}." in body or any(f"{name}." in c for c in constants.values())]
    others = ["import numpy as np"] if "np." in body or constants else []
    groups = [head, library, [*others, "from numba import njit"], [f"{name} = {text}" for name, text in constants.items()]]
    return "\n\n".join("\n".join(group) for group in groups if group) + "\n\n\n" + body


def _helper_texts(used: set[str]) -> list[str]:
    wanted = set(used)
    for name in used:
        wanted.update(NEEDS.get(name, ()))
    return [text.lstrip("\n") for name, text in HELPERS.items() if name in wanted]


def _only_one_element(buffer: Buffer, body: list[Statement]) -> bool:
    """Whether a buffer of one element can be a plain variable: nothing takes it as an array."""
    for statement in walk(body):
        if any(b is buffer for b, _ in buffers(statement)):
            match statement:
                case Load(_, _, index) | Store(_, index) if index == Index():
                    continue
                case Fill(_, start, count) | Copy(_, start, _, _, count) if start == Index() and count == Index((), 1):
                    continue
            return False
    return True


def _all_sizes(entry: Entry) -> list[str]:
    """The named dimensions, those first that the inputs give; ``ValueError`` for one that they do not give."""
    given = [d for v in entry.inputs for d in v.shape if isinstance(d, str) and d.isidentifier()]
    shapes = [v.shape for v in (*entry.inputs, *entry.outputs)]
    used = [name for shape in shapes for d in shape for name in dims.names(d)]
    used += [name for left, _, right in entry.checks for d in (left, right) for name in dims.names(d)]
    unknown = [name for name in (*entry.program.sizes, *used) if name not in given]
    if unknown:
        raise ValueError(f"{entry.name}: no input gives the size {unknown[0]!r}")
    return list(dict.fromkeys(given))


def _mentions(name: str, lines: Iterable[str]) -> bool:
    pattern = re.compile(rf"\b{re.escape(name)}\b")
    return any(pattern.search(line) for line in lines)


def _wide(before: str, items: list[str], after: str, short: str | None = None) -> list[str]:
    """A statement with items in brackets: on one line (begun with ``short``, without brackets, if given) or on several."""
    line = f"    {before if short is None else short}{', '.join(items)}{after if short is None else ''}"
    if len(line) <= WIDEST_LINE or len(items) < 2:
        return [line]
    lines = [f"    {before}"]
    for item in items:
        if lines[-1].startswith("        ") and len(lines[-1]) + len(item) < WIDEST_LINE:
            lines[-1] += f" {item},"
        else:
            lines.append(f"        {item},")
    return [*lines, f"    {after}"]


def _nest(result: Any, texts: dict[str, str]) -> str:
    """A nest of output names as an expression of their texts."""
    if isinstance(result, dict):
        items = [f"{_string(key) if isinstance(key, str) else repr(key)}: {_nest(part, texts)}" for key, part in result.items()]
        return "{" + ", ".join(items) + "}"
    if isinstance(result, tuple):
        return "(" + ", ".join(_nest(part, texts) for part in result) + ("," if len(result) == 1 else "") + ")"
    if isinstance(result, list):
        return "[" + ", ".join(_nest(part, texts) for part in result) + "]"
    return texts[result]


def _string(text: str) -> str:
    """A literal, in double quotes where that is as good."""
    plain = text.isprintable() and '"' not in text and "\\" not in text
    return f'"{text}"' if plain else repr(text)


def _quoted(line: str) -> str:
    return line.replace("\\", "\\\\").replace('"', "'")


def _literal(array: np.ndarray[Any, Any], dtype: str) -> str:
    """A constant array as an expression: its numbers where they are few, else their bytes."""
    if array.size <= 64:
        items = repr(array.tolist()).replace("nan", "np.nan").replace("inf", "np.inf")
        return f"np.array({items}, np.{dtype}).reshape({array.shape})"
    little = np.ascontiguousarray(array).astype(np.dtype(dtype).newbyteorder("<"))
    lines = textwrap.wrap(base64.b64encode(little.tobytes()).decode(), 120)
    data = "\n".join(f'    "{line}"' for line in lines)
    return f"np.frombuffer(base64.b64decode(\n{data}\n), {little.dtype.str!r}).astype(np.{dtype}).reshape({array.shape})"


class _Entry:
    """Writes one entry: the compiled function and the one around it."""

    def __init__(self, entry: Entry, public: str, kernel: str, dtype: str, module: Names, constants: dict[str, str]) -> None:
        self.entry, self.public, self.kernel, self.module, self.constants = entry, public, kernel, module, constants
        self.types = {"real": dtype, "integer": "int64", "boolean": "bool_"}
        self.names = Names((*module.taken, *constants))
        program = entry.program
        self.by_name = {b.name: b for b in program.arguments}
        self.names_of: dict[str, str] = {}
        for variable in entry.inputs:
            self.names_of[variable.name] = self.names.make(variable.name)
        self.sizes = {size: self.names.make(size) for size in _all_sizes(entry)}
        used = {b for statement in walk(program.body) for b, _ in buffers(statement)}
        self.inputs = [b for b in program.arguments if b.role == "input" and b in used]
        self.outputs = [b for b in program.arguments if b.role == "output"]
        self.fixed = [b for b in program.arguments if b.role == "constant" and b in used]
        in_place = [b.name for b in program.arguments if b.role == "inout"]
        if in_place:
            raise ValueError(f"loop program {program.name!r} works in place on {', '.join(in_place)}: that is not rendered as Python")
        unknown = [b.name for b in self.inputs if b.name not in self.names_of]
        if unknown:
            raise ValueError(f"loop program {program.name!r} takes {', '.join(unknown)}, which {entry.name} does not")
        self.scratch = [b for b in program.scratch if b in used]
        self.scalars = {b: "" for b in (*self.inputs, *self.outputs, *self.scratch) if b.shape == () and _only_one_element(b, program.body)}
        self.arrays: dict[Buffer, str] = {}
        for buffer in (*self.inputs, *self.fixed, *self.outputs, *self.scratch):
            name = self.names_of.get(buffer.name) if buffer.role == "input" else None
            name = name or self.names.make(buffer.name)
            (self.scalars if buffer in self.scalars else self.arrays)[buffer] = name
        self.helpers: set[str] = set()

    # --- the compiled function ---

    def write(self) -> str:
        body = PythonBody(self.entry.program, self.names, self.arrays, self.scalars, self.sizes)
        body.block(self.entry.program.body)
        self.helpers |= body.helpers
        inner_sizes = [s for s in self.entry.program.sizes if _mentions(self.sizes[s], [*body.lines, *self.room()])]
        parameters = [self.name(b) for b in (*self.inputs, *self.fixed)] + [self.sizes[s] for s in inner_sizes]
        lines = ['@njit(error_model="numpy")', f"def {self.kernel}({', '.join(parameters)}):"]
        lines += ["    " + line for line in self.room()]
        lines += [f"    {flat} = {self.arrays[buffer]}.reshape(-1)" for buffer, flat in body.flat.items()]
        lines += self.starts(body.lines)
        written = body.lines if self.entry.describe is None else body.annotated(self.entry.describe)
        lines += [line for line in written if line.strip() != "pass" or len(written) > 1]
        results = [self.name(b) for b in self.outputs]
        total = "" if self.entry.describe is None else body.total()
        lines += [f"    return {', '.join(results)}{f'  # {total}' if total else ''}", "", ""]
        given = [self.argument(b) for b in self.inputs] + [self.constant(b) for b in self.fixed] + [self.sizes[s] for s in inner_sizes]
        lines += self.wrapper(given)
        return "\n".join(lines) + "\n"

    def name(self, buffer: Buffer) -> str:
        return self.scalars.get(buffer) or self.arrays[buffer]

    def room(self) -> list[str]:
        """The lines that make arrays for outputs and intermediate values."""
        lines = []
        for buffer in (*self.outputs, *self.scratch):
            if buffer in self.arrays:
                sizes = [self.size(d) for d in buffer.shape]
                shape = f"({', '.join(sizes)}{',' if len(sizes) == 1 else ''})"
                lines.append(f"{self.arrays[buffer]} = np.empty({shape}, np.{self.types[buffer.kind]})")
        return lines

    def size(self, dim: Dim) -> str:
        text = PythonBody(self.entry.program, self.names, {}, {}, self.sizes).size(dim).text
        return f"max(0, {text})" if "-" in text else text

    def starts(self, lines: list[str]) -> list[str]:
        """First values of numbers that are not plainly set before they are used."""
        result = []
        for buffer, name in self.scalars.items():
            first = next((line for line in lines if _mentions(name, [line])), None)
            if buffer.role != "input" and not (first and first.startswith(f"    {name} = ")):
                result.append(f"    {name} = {({'real': '0.0', 'integer': '0', 'boolean': 'False'})[buffer.kind]}")
        return result

    # --- the function around it ---

    def argument(self, buffer: Buffer) -> str:
        name = self.names_of[buffer.name]
        if buffer.shape:
            return name
        number = {"real": "float", "integer": "int", "boolean": "bool"}[buffer.kind] + f"({name})"
        return number if buffer in self.scalars else f"np.array({number}, np.{self.types[buffer.kind]})"

    def constant(self, buffer: Buffer) -> str:
        text = _literal(np.asarray(self.entry.program.constants[buffer]), self.types[buffer.kind])
        known = next((name for name, other in self.constants.items() if other == text), None)
        if known is None:
            known = self.names.make(f"{self.entry.name}_{buffer.name}".upper())
            self.constants[known] = text
            self.module.taken.add(known)
        return known

    def wrapper(self, given: list[str]) -> list[str]:
        entry = self.entry
        lines = [f"def {self.public}({', '.join(self.names_of[v.name] for v in entry.inputs)}):", *self.docstring()]
        bound: set[str] = set()
        later: list[Constraint] = []
        for variable in entry.inputs:
            if variable.shape:
                lines += self.convert(variable, bound, later)
        for text, relation, right in (*later, *((self.size(left), relation, right) for left, relation, right in entry.checks)):
            opposite, words = {"==": ("!=", "equal to"), ">=": ("<", "at least")}[relation]
            message = f"{text} must be {words} {right}"
            lines += [f"    if {text} {opposite} {self.size(right)}:", f"        raise ValueError({_string(message)})"]
        return [*lines, *self.returned(given)]

    def docstring(self) -> list[str]:
        renamed = [f"{self.names_of[v.name]} stands for {v.name!r}" for v in self.entry.inputs if self.names_of[v.name] != v.name]
        arrays = [f"{self.names_of[v.name]} {format_shape(v.shape)}" for v in self.entry.inputs if v.shape]
        doc = self.entry.doc if len(self.entry.doc) <= LONGEST_DOC else self.entry.doc[:LONGEST_DOC] + " …"
        parts = [comment_text(p) for p in (*doc.split("\n"), "Shapes: " + ", ".join(arrays) if arrays else "", "; ".join(renamed)) if p]
        lines = [_quoted(line) for part in parts for line in textwrap.wrap(part, 110)]
        if len(lines) < 2:
            return [f'    """{line}"""' for line in lines]
        return [f'    """{lines[0]}', *(f"    {line}" for line in lines[1:]), '    """']

    def convert(self, variable: Variable, bound: set[str], later: list[Constraint]) -> list[str]:
        """An argument checked and converted; sizes that it names first are read off, composed ones left for later."""
        self.helpers.add("convert")
        name = self.names_of[variable.name]
        wanted: list[str] = []
        new: list[tuple[str, int]] = []
        for axis, dim in enumerate(variable.shape):
            if isinstance(dim, int) or dim in bound:
                wanted.append(self.size(dim))
                continue
            wanted.append("None")
            if dim in self.sizes and dim not in [n for n, _ in new]:
                new.append((dim, axis))
            else:
                later.append((f"{name}.shape[{axis}]", "==", dim))
        shape = f"({', '.join(wanted)}{',' if len(wanted) == 1 else ''})"
        lines = [f"    {name} = convert({_string(variable.name)}, {name}, np.{self.types[variable.kind]}, {shape})"]
        lines += [f"    {self.sizes[dim]} = {name}.shape[{axis}]" for dim, axis in new]
        bound.update(dim for dim, _ in new)
        return lines

    def returned(self, given: list[str]) -> list[str]:
        entry = self.entry
        by_name = {v.name: v for v in entry.outputs}
        order = [b.name for b in self.outputs]
        result = entry.result if entry.result is not None else (order[0] if len(order) == 1 else tuple(order))
        if len(order) == 1 and isinstance(result, str):
            return ["    return " + self.plain(by_name[result], f"{self.kernel}({', '.join(given)})")]
        local = {name: self.name(self.by_name[name]) for name in order}
        texts = {name: self.plain(by_name[name], local[name]) for name in order}
        lines = _wide(f"{', '.join(local.values())} = {self.kernel}(", given, ")")
        parts = [_nest(part, texts) for part in result] if isinstance(result, tuple) and len(result) > 1 else [_nest(result, texts)]
        return [*lines, *(_wide("return ", parts, "") if len(parts) == 1 else _wide("return (", parts, ")", "return "))]

    def plain(self, variable: Variable, text: str) -> str:
        """Numbers come back as Python's own."""
        if variable.shape:
            return text
        if self.by_name[variable.name] in self.arrays:
            text = f"{text}[()]"
        return {"real": "float", "integer": "int", "boolean": "bool"}[variable.kind] + f"({text})"
