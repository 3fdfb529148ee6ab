"""Loop programs as LLVM code: what runs.

A kernel is ``i32 name(i8** buffers, i64* sizes)``: buffers in the order of ``program.arguments``, sizes in the order of
``program.sizes``. It returns 0, a code of ``program.failures`` (1-based), ``OUT_OF_MEMORY`` or ``TOO_LARGE``. Inside, the
entry loads the pointers and calls the body, an internal function to which every buffer is a ``noalias``
parameter: that is how LLVM learns that different arguments do not overlap (a buffer that is only read may be passed twice).

Functions are written as text (a tenth of the time that ``llvmlite.ir`` takes for its objects) and join the caller's module
as one :class:`llvmlite.ir.Function` whose text they are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir

from symgrad.loops import Buffer, Program
from symgrad.render import threads
from symgrad.render.llvm_body import Apart, Body, Context, Handed, TextFunction, memory_type, quoted
from symgrad.render.llvm_gemm import TOO_LARGE, emit_gemm
from symgrad.render.llvm_instructions import HANDLERS
from symgrad.render.llvm_pieces import emit_pieces
from symgrad.render.processor import host_lanes

__all__ = ["OUT_OF_MEMORY", "TOO_LARGE", "emit_kernel", "host_lanes", "kernel_text"]

OUT_OF_MEMORY = -1

STACK_BYTES = 256 * 1024
MANY = 64  # scalar arguments: from here on the body finds them through the table and not as so many parameters
INLINED = 300  # lines; beyond that, the pointers' aliasing facts cost more to copy than a call
LINE = 64  # bytes: scratch buffers begin at cache lines


def kernel_text(program: Program, *, dtype: str, fastmath: bool = False) -> str:
    """The LLVM code of a verified program: what :func:`emit_kernel` adds to an empty module."""
    module = ir.Module(program.name)
    emit_kernel(module, program, dtype=dtype, fastmath=fastmath, name=program.name)
    return str(module)


def emit_kernel(
    module: Any,
    program: Program,
    *,
    dtype: str,
    fastmath: bool = False,
    name: str,
    blas_integer: int = 32,
    blas_threads: int = 0,
    stack_bytes: int = STACK_BYTES,
    apart: Callable[[str], None] | None = None,
) -> Any:
    """Adds a verified program to a module and returns the ``ir.Function``.

    Args:
        module: the ``llvmlite.ir.Module``.
        program: see :func:`symgrad.loops.verify`.
        dtype: "float64" or "float32", the width of reals.
        fastmath: allow reassociation, reciprocals and approximations beside contraction; never "no NaN" or "no infinity".
        name: the symbol; other symbols of the kernel begin with it and a dot.
        blas_integer: 32 or 64, the integers of the external ``symgrad_dgemm`` or ``symgrad_sgemm`` (Fortran's arguments,
            all by address, no lengths of texts).
        blas_threads: how many threads BLAS may use meanwhile, set through the external ``symgrad_blas_threads``; 0 leaves it be.
        stack_bytes: scratch buffers of fixed size stand on the stack up to this total, the others come from ``malloc``.
        apart: takes the texts of further modules, which long straight-line code goes into, one by one while the rest is written;
            by default all stands in ``module``. The functions of them all call one another.
    """
    if dtype not in ("float64", "float32"):
        raise ValueError(f"dtype is {dtype!r}: 'float64' or 'float32' is wanted")
    handlers = {**HANDLERS, "gemm": emit_gemm, "parallel": threads.emit_parallel, "pieces": emit_pieces}
    context = Context(module, name, dtype, fastmath, blas_integer, handlers)
    context.blas_threads = blas_threads
    body = Body(context, f"{name}.body")
    if apart is not None:
        context.apart = Apart(context, apart)
    scalars = {b: position for position, b in enumerate(program.arguments) if not b.shape}
    if len(scalars) > MANY:
        context.places, body.buffers = scalars, Handed(lambda buffer: _from_table(body, scalars[buffer]))
        body.buffers.update((b, f"%frame.{kind}") for kind, b in body.frame.items())
    arguments = [b for b in program.arguments if b not in context.places]
    for position, buffer in enumerate((*arguments, *program.scratch)):
        body.buffers[buffer] = f"%b{position}"
    for position, size in enumerate(program.sizes):
        body.sizes[size] = f"%s{position}"
    body.block(program.body)
    if context.apart is not None:
        context.apart.finish()
    body.line("  ret i32 0")
    scratch = [*program.scratch, *body.frame_buffers()]
    stacked = _on_stack(context, scratch, stack_bytes)
    for buffer in stacked:
        room = f"[{max(1, int(buffer.size))} x {memory_type(context, buffer.kind)}]"
        body.entry.append(f"  {body.buffers[buffer]} = alloca {room}, align {LINE}")
    heap = [b for b in scratch if b not in stacked]
    parameters = ["ptr %buffers"] if context.places else []
    parameters += [f"ptr noalias {'readonly ' if b.role in ('input', 'constant') else ''}{body.buffers[b]}" for b in arguments]
    parameters += [f"ptr noalias {body.buffers[b]}" for b in heap] + [f"i64 {body.sizes[s]}" for s in program.sizes]
    parameters += [f"ptr {threads.POOL}"] if body.has_threads else []
    inline = "noinline" if body.has_loops or len(body.lines) > INLINED else "alwaysinline"
    inner = body.text(f"define internal i32 {quoted(body.name)}({', '.join(parameters)}) {inline} nounwind")
    outer = _entry(context, program, body, heap, blas_threads)
    signature = ir.FunctionType(ir.IntType(32), [ir.IntType(8).as_pointer().as_pointer(), ir.IntType(64).as_pointer()])
    function = TextFunction(module, signature, name)
    function.text = "\n".join([outer, inner, *context.functions])
    return function


def _from_table(body: Body, position: int) -> str:
    """A pointer from the table of arguments, loaded once, where the function begins."""
    return body.in_entry(f"load ptr, ptr {body.in_entry(f'getelementptr ptr, ptr %buffers, i64 {position}')}, align 8")


def _on_stack(context: Context, scratch: list[Buffer], limit: int) -> set[Buffer]:
    chosen, used = set(), 0
    for buffer in scratch:
        if isinstance(buffer.size, int):
            size = _rounded(buffer.size * context.width(buffer.kind))
            if used + size <= limit:
                used += size
                chosen.add(buffer)
    return chosen


def _rounded(size: int) -> int:
    return (size + LINE - 1) // LINE * LINE


def _entry(context: Context, program: Program, body: Body, heap: list[Buffer], blas_threads: int) -> str:
    """The function that is called from outside: unpacks the arguments, makes room for the large scratch buffers."""
    e = Body(context, context.name)
    arguments = ["ptr %buffers"] if context.places else []
    for position, buffer in enumerate(program.arguments):
        if buffer in context.places:
            continue
        address = e.emit(f"getelementptr ptr, ptr %buffers, i64 {position}")
        arguments.append("ptr " + e.emit(f"load ptr, ptr {address}, align 8"))
    for position, size in enumerate(program.sizes):
        address = e.emit(f"getelementptr i64, ptr %sizes, i64 {position}")
        e.sizes[size] = e.emit(f"load i64, ptr {address}, align 8")
    e.dims_lines = e.lines  # sizes are known from here on
    sizes = [f"i64 {e.sizes[s]}" for s in program.sizes]
    if body.has_threads:
        threads.open_pool(e)
        sizes.append(f"ptr {threads.POOL}")
    call = f"call i32 {quoted(body.name)}"
    block, starts = _allocate(e, heap) if heap else ("", [])
    before = e.call("symgrad_blas_threads", "i32", ["i32"], [str(blas_threads)]) if blas_threads else ""
    if heap:
        result = e.emit(f"{call}({', '.join(arguments + starts + sizes)})")
        context.declare("free", "void", ["ptr"])
        e.line(f"  call void @free(ptr {block})")
    else:
        result = e.emit(f"{call}({', '.join(arguments + sizes)})")
    if body.has_threads:
        threads.close_pool(e)
    if blas_threads:
        e.call("symgrad_blas_threads", "i32", ["i32"], [before])
    e.line(f"  ret i32 {result}")
    return e.text(f"define i32 {quoted(context.name)}(ptr %buffers, ptr %sizes) nounwind")


def _allocate(e: Body, heap: list[Buffer]) -> tuple[str, list[str]]:
    """One ``malloc`` for all; (what to free, the parameters of the body)."""
    total, offsets = "0", []
    for buffer in heap:
        offsets.append(total)
        size = e.dim(buffer.size)
        e.context.declare("llvm.smax.i64", "i64", ["i64", "i64"])
        count = e.emit(f"call i64 @llvm.smax.i64(i64 {size}, i64 0)")
        bytes_ = e.emit(f"mul i64 {count}, {e.context.width(buffer.kind)}")
        rounded = e.emit(f"and i64 {e.emit(f'add i64 {bytes_}, {LINE - 1}')}, {-LINE}")
        total = e.emit(f"add i64 {total}, {rounded}")
    e.context.declare("malloc", "ptr", ["i64"])
    block = e.emit(f"call ptr @malloc(i64 {e.emit(f'add i64 {total}, {LINE}')})")
    empty, full = e.label(), e.label()
    e.line(f"  br i1 {e.emit(f'icmp eq ptr {block}, null')}, label %{empty}, label %{full}")
    e.start(empty)
    e.line(f"  ret i32 {OUT_OF_MEMORY}")
    e.start(full)
    address = e.emit(f"ptrtoint ptr {block} to i64")
    gap = e.emit(f"and i64 {e.emit(f'sub i64 0, {address}')}, {LINE - 1}")
    base = e.emit(f"getelementptr i8, ptr {block}, i64 {gap}")
    return block, ["ptr " + e.emit(f"getelementptr i8, ptr {base}, i64 {offset}") for offset in offsets]
