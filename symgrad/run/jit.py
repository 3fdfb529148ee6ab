"""``f.jit``: a kernel inside the user's own ``@numba.njit`` code.

One intrinsic puts the kernel's LLVM into the module that numba compiles; around it a small generated
function reads the shapes, makes the arrays for the results and puts them together.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np

from symgrad import dims
from symgrad.dims import Constraint, Dim
from symgrad.loops import Program
from symgrad.run import engine
from symgrad.run.kernel import Plan, element_type
from symgrad.run.table import Structure

__all__ = ["make_jit"]


def make_jit(program: Program, plan: Plan, dtype: str, fastmath: bool, checks: Sequence[Constraint]) -> Callable[..., Any]:
    """A numba function with the inputs of ``plan``: scalars in and out as floats, arrays as arrays, dicts as tuples.

    Its last argument, ``out``, may be arrays to write to, in the structure of the result, with ``None`` for what is to be new.
    """
    import numba

    constants = [
        np.ascontiguousarray(program.constants[b], element_type(b.kind, dtype)) if b.role == "constant" else None for b in program.arguments
    ]
    names: dict[str, Any] = {
        "np": np, "as_input": _as_input(), "kernel": _kernel_intrinsic(program, plan, dtype, fastmath),
        "as_output": _as_output(), "expect_apart": _expect_apart(),
        **{f"o{k}": _part_of_out(path) for k, path in _paths(plan).items()},
        **{f"c{k}": array for k, array in enumerate(constants) if array is not None},
        **{f"t{k}": np.zeros(0, element_type(kind, dtype)) for k, (_, kind, _) in enumerate(plan.outputs)},
        **{f"u{k}": np.zeros(0, element_type(s.kind, dtype)) for k, s in enumerate(plan.inputs)},
    }  # fmt: skip
    exec(_wrapper(program, plan, checks), names)  # text of our own making: no name of the user's is in it
    return numba.njit(error_model="numpy")(names[plan.kind])


def _wrapper(program: Program, plan: Plan, checks: Sequence[Constraint]) -> str:
    """The Python source of the function around the intrinsic."""
    sizes = _Sizes()
    lines = [f"def {plan.kind}({', '.join([*(f'a{k}' for k in range(len(plan.inputs))), 'out=None'])}):"]
    late: list[tuple[str, Dim, str]] = []  # what is compared once every name has its size
    for k, symbol in enumerate(plan.inputs):
        if symbol.shape:
            lines.append(f"b{k} = as_input(a{k}, u{k})")
        for axis, dim in enumerate(symbol.shape):
            size = f"b{k}.shape[{axis}]"
            if isinstance(dim, str) and dim.isidentifier() and dim not in sizes.known:
                lines.append(f"{sizes.new(dim)} = {size}")
                continue
            late.append((size, dim, f"{symbol.name} has a shape other than {dims.format_shape(symbol.shape)}"))
    lines += [f"if {size} != {sizes.text(dim)}: raise ValueError({message!r})" for size, dim, message in late]
    for left, relation, right in checks:
        message = f"the formula needs {left} {relation} {right}"
        lines.append(f"if not {sizes.text(left)} {relation} {sizes.text(right)}: raise ValueError({message!r})")
    arrays = [k for k, (_, _, shape) in enumerate(plan.outputs) if shape]
    for k in arrays:
        lines.append(f"r{k} = as_output(o{k}(out), ({', '.join(map(sizes.text, plan.outputs[k][2]))},), t{k})")
    inputs = [f"b{k}" for k, symbol in enumerate(plan.inputs) if symbol.shape]
    for position, k in enumerate(arrays):
        lines += [f"expect_apart(out, r{k}, {other})" for other in (*inputs, *(f"r{j}" for j in arrays[:position]))]
    passed = [_passed(b.name, k, b.role, plan) for k, b in enumerate(program.arguments)]
    scalars = [k for k, (_, _, shape) in enumerate(plan.outputs) if not shape]
    arguments = [p for p in passed if p] + [sizes.text(s) for s in program.sizes]
    lines.append(f"results = kernel({', '.join(arguments)})")
    lines.append("code = results[0]")
    for code, message in enumerate(program.failures, 1):
        error = "IndexError" if "out of range" in message else "ValueError"
        lines.append(f"if code == {code}: raise {error}({message!r})")
    lines.append("if code != 0: raise MemoryError('the kernel found no memory, or a matrix too large for BLAS')")
    place = {name: (f"results[{1 + scalars.index(k)}]" if k in scalars else f"r{k}") for k, (name, _, _) in enumerate(plan.outputs)}
    lines.append(f"return {_written(plan.result, place)}")
    return "\n    ".join(lines)


def _paths(plan: Plan) -> dict[int, tuple[int, ...]]:
    """Where the result has each of the arrays among the outputs: the positions on the way."""
    number = {name: k for k, (name, _, shape) in enumerate(plan.outputs) if shape}
    found: dict[int, tuple[int, ...]] = {}
    stack: list[tuple[Structure, tuple[int, ...]]] = [(plan.result, ())]
    while stack:
        part, path = stack.pop()
        if isinstance(part, str):
            found.update({number[part]: path} if part in number else {})
        else:
            parts = part.values() if isinstance(part, dict) else part
            stack.extend((inner, (*path, place)) for place, inner in enumerate(parts))
    return found


class _Sizes:
    """Named dimensions as variables."""

    def __init__(self) -> None:
        self.known: dict[str, str] = {}

    def new(self, name: str) -> str:
        self.known[name] = f"s{len(self.known)}"
        return self.known[name]

    def text(self, dim: Dim) -> str:
        return "(" + re.sub(r"[^\W\d]\w*", lambda m: self.known[m[0]], str(dim)) + ")"


def _passed(name: str, position: int, role: str, plan: Plan) -> str:
    """What the intrinsic gets for a buffer; nothing for the scalars it makes."""
    if role == "constant":
        return f"c{position}"
    for k, symbol in enumerate(plan.inputs):
        if symbol.name == name:
            return f"b{k}" if symbol.shape else f"a{k}"
    k = next(k for k, output in enumerate(plan.outputs) if output[0] == name)
    return f"r{k}" if plan.outputs[k][2] else ""


def _written(result: Structure, place: dict[str, str]) -> str:
    if isinstance(result, str):
        return place[result]
    parts = [_written(part, place) for part in (result.values() if isinstance(result, dict) else result)]
    return f"({', '.join(parts)}{',' if len(parts) == 1 else ''})"


@cache
def _as_input() -> Callable[..., Any]:
    """An array as the kernel wants it: as it is, if it is that already."""
    from numba import types
    from numba.extending import overload

    def as_input(array: Any, like: Any) -> Any:
        return np.ascontiguousarray(array, like.dtype)

    def keep(array: Any, like: Any) -> Any:
        return array

    def convert(array: Any, like: Any) -> Any:
        return np.ascontiguousarray(array).astype(like.dtype)

    @overload(as_input)  # type: ignore[untyped-decorator]
    def choose(array: Any, like: Any) -> Any:
        if not isinstance(array, types.Array):
            return None
        return keep if array.dtype == like.dtype and array.layout == "C" and array.aligned else convert

    return as_input


def _part_of_out(path: tuple[int, ...]) -> Callable[..., Any]:
    """``out[i][j]…``, ``None`` where that, or what is on the way there, is none."""
    from numba import types
    from numba.extending import overload

    def part(out: Any) -> Any:
        raise NotImplementedError

    @overload(part)  # type: ignore[untyped-decorator]
    def choose(out: Any) -> Any:
        wanted, text = out, "out"
        for place in path:
            if _is_none(wanted):
                break
            if not isinstance(wanted, types.BaseTuple) or not place < len(wanted):
                _refuse(f"out is structured like the result, with None for what is to be new; this is {out}")
            wanted, text = wanted[place], f"{text}[{place}]"
        scope: dict[str, Any] = {}  # numba compares annotations, too; nothing but numbers of ours is in the text
        exec(f"def take(out: Any) -> Any: return {'None' if _is_none(wanted) else text}", scope)
        return scope["take"]

    return part


def _is_none(kind: Any) -> bool:
    from numba import types

    return isinstance(kind, (types.NoneType, types.Omitted))


def _refuse(message: str) -> None:
    from numba.core.errors import TypingError

    raise TypingError(message)


@cache
def _as_output() -> Callable[..., Any]:
    """An array to write to: the one that was given, or a new one of that shape and of the type of ``like``."""
    from numba import types
    from numba.extending import overload

    def as_output(given: Any, shape: Any, like: Any) -> Any:
        raise NotImplementedError

    def new(given: Any, shape: Any, like: Any) -> Any:
        return np.empty(shape, like.dtype)

    def check(given: Any, shape: Any, like: Any) -> Any:
        if given.shape != shape:
            raise ValueError("an array of out has another shape than the result")
        return given

    @overload(as_output)  # type: ignore[untyped-decorator]
    def choose(given: Any, shape: Any, like: Any) -> Any:
        if _is_none(given):
            return new
        if not isinstance(given, types.Array):
            _refuse(f"out takes arrays and None, in the structure of the result; this is {given}")
        if given.dtype != like.dtype or given.layout != "C" or not given.mutable or not given.aligned or given.ndim != len(shape):
            _refuse(f"out takes C-contiguous writable arrays of the result's type, {like.dtype}, and dimensions; this is {given}")
        return check

    return as_output


@cache
def _expect_apart() -> Callable[..., Any]:
    """Raises ``ValueError`` where two arrays share memory; without ``out`` there is nothing to look at."""
    from numba.extending import overload

    def expect_apart(out: Any, result: Any, other: Any) -> None:
        raise NotImplementedError

    def nothing(out: Any, result: Any, other: Any) -> None:
        return None

    def compare(out: Any, result: Any, other: Any) -> None:
        start, begin = result.ctypes.data, other.ctypes.data
        if start < begin + other.nbytes and begin < start + result.nbytes:
            raise ValueError("out: an array of it shares memory with an input or with another one of its arrays")

    @overload(expect_apart)  # type: ignore[untyped-decorator]
    def choose(out: Any, result: Any, other: Any) -> Any:
        return nothing if _is_none(out) else compare

    return expect_apart


def _kernel_intrinsic(program: Program, plan: Plan, dtype: str, fastmath: bool) -> Any:
    """``kernel(buffers…, sizes…)`` → (code, the scalar outputs…), for buffers that are arrays or scalar inputs."""
    from llvmlite import ir
    from numba import types
    from numba.core import cgutils
    from numba.extending import intrinsic

    from symgrad.render.llvm import emit_kernel

    scalar = {name: kind for name, kind, shape in plan.outputs if not shape}
    numba_type = {"float64": types.float64, "float32": types.float32, "int64": types.int64, "bool": types.boolean}
    of_kind = {kind: numba_type[element_type(kind, dtype)] for kind in ("real", "integer", "boolean")}
    given = [b for b in program.arguments if b.name not in scalar or b.role == "constant"]
    made = [name for name, _, shape in plan.outputs if not shape]
    blas = engine.blas_options(program, 1)
    result = types.Tuple([types.int32, *(types.float64 if scalar[n] == "real" else of_kind[scalar[n]] for n in made)])

    def typing(context: Any, *arguments: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            pointer = ir.IntType(8).as_pointer()
            name = builder.module.get_unique_name("symgrad_kernel")
            kernel = emit_kernel(builder.module, program, dtype=dtype, fastmath=fastmath, name=name, **blas)
            engine.provide_products(builder.module.globals)
            kernel.linkage = "internal"
            buffers = cgutils.alloca_once(builder, pointer, size=max(1, len(program.arguments)))
            sizes = cgutils.alloca_once(builder, ir.IntType(64), size=max(1, len(program.sizes)))
            places: dict[str, Any] = {}
            for buffer, kind, value in zip(given, signature.args, values):
                if isinstance(kind, types.Array):
                    places[buffer.name] = context.make_array(kind)(context, builder, value).data
                else:
                    places[buffer.name] = cgutils.alloca_once_value(builder, context.cast(builder, value, kind, of_kind[buffer.kind]))
            for name in made:
                places[name] = cgutils.alloca_once(builder, context.get_data_type(of_kind[scalar[name]]))
            for position, buffer in enumerate(program.arguments):
                cell = builder.gep(buffers, [ir.Constant(ir.IntType(64), position)])
                builder.store(builder.bitcast(places[buffer.name], pointer), cell)
            for position, value in enumerate(values[len(given):]):
                kind = signature.args[len(given) + position]
                cell = builder.gep(sizes, [ir.Constant(ir.IntType(64), position)])
                builder.store(context.cast(builder, value, kind, types.int64), cell)
            code = builder.call(kernel, [buffers, sizes])
            parts = [code]
            for name in made:
                value = builder.load(places[name])
                if scalar[name] == "boolean":
                    value = builder.trunc(value, ir.IntType(1))
                elif scalar[name] == "real" and dtype == "float32":
                    value = builder.fpext(value, ir.DoubleType())
                parts.append(value)
            return context.make_tuple(builder, result, parts)

        return result(*arguments), codegen

    return intrinsic(_with_arity(typing, len(given) + len(program.sizes)))


def _with_arity(typing: Callable[..., Any], count: int) -> Callable[..., Any]:
    """The typing function with ``count`` arguments by name: numba counts them."""
    names = ", ".join(f"x{k}" for k in range(count))
    scope: dict[str, Any] = {"typing": typing}
    exec(f"def kernel(typingctx, {names}): return typing(typingctx, {names})", scope)
    return scope["kernel"]
