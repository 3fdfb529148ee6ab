"""Matrix products in LLVM code: functions of our own (``products``), or the library's where it is known to be better."""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir

from symgrad.loops import Gemm, Index
from symgrad.render.llvm_body import Body, Context, TextFunction, quoted
from symgrad.render.llvm_instructions import HANDLERS
from symgrad.render.processor import host_lanes, host_registers
from symgrad.render.products import FEW_ROWS, PREFIX, product_program

__all__ = ["TOO_LARGE", "emit_gemm", "emit_product"]


TOO_LARGE = -2  # a matrix size does not fit into the integers of the BLAS
LIBRARY = 2**27  # multiplications from which on a library's blocking for the last-level cache pays
LIBRARY_THREADS = 2**22  # the same where it may use several threads: kernels have none of their own there


def emit_gemm(e: Body, s: Gemm) -> None:
    """``C = alpha * op(A) @ op(B) + beta * C``: who computes it depends on the sizes, which may be known at the call only."""
    sizes = [e.index(x) for x in (s.m, s.n, s.k)]
    limit = LIBRARY_THREADS if e.context.blas_threads > 1 else LIBRARY
    if all(x.isdigit() for x in sizes):
        work = int(sizes[0]) * int(sizes[1]) * int(sizes[2])
        (_library if work > limit else _own)(e, s)
    else:
        product = e.emit(f"mul i64 {e.emit(f'mul i64 {sizes[0]}, {sizes[1]}')}, {sizes[2]}")
        _choose(e, f"icmp sgt i64 {product}, {limit}", lambda: _library(e, s), lambda: _own(e, s))


def _choose(e: Body, condition: str, then: Callable[[], None], orelse: Callable[[], None]) -> None:
    labels = e.label(), e.label()
    after = e.label()
    e.line(f"  br i1 {e.emit(condition)}, label %{labels[0]}, label %{labels[1]}")
    for label, write in zip(labels, (then, orelse)):
        e.start(label)
        write()
        e.line(f"  br label %{after}")
    e.start(after)


def _room(e: Body, name: str, lines: list[str]) -> None:
    """Space on the stack, made once a function."""
    if name not in e.rooms:
        e.rooms.add(name)
        e.entry += lines


def _scalars(e: Body, s: Gemm) -> list[str]:
    """alpha and beta in memory, side by side."""
    real = e.context.real
    _room(e, "scalars", [f"  %gemm.r = alloca [2 x {real}]"])
    pointers = [e.emit(f"getelementptr {real}, ptr %gemm.r, i64 {position}") for position in (0, 1)]
    for pointer, scalar in zip(pointers, (s.alpha, s.beta)):
        e.line(f"  store {real} {e.ref(scalar)}, ptr {pointer}")
    return pointers


def _own(e: Body, s: Gemm) -> None:
    _scalars(e, s)
    pointers = [*(e.address(at[0], at[1]) for at in (s.a, s.b, s.c)), "%gemm.r"]
    sizes = [e.index(x) for x in (s.m, s.n, s.k, s.a[2], s.b[2], s.c[2])]
    listed = ", ".join([f"ptr {p}" for p in pointers] + [f"i64 {n}" for n in sizes])

    def call(packed: bool) -> None:
        name = _function(e, (s.transpose_a, s.transpose_b, packed or s.transpose_b))
        e.line(f"  call void {quoted(name)}({listed})")

    rows = sizes[0]
    if rows.isdigit() or s.transpose_b:
        call(rows.isdigit() and int(rows) >= FEW_ROWS)
    else:
        _choose(e, f"icmp sge i64 {rows}, {FEW_ROWS}", lambda: call(True), lambda: call(False))


def _function(e: Body, key: tuple[bool, bool, bool]) -> str:
    """The name of a function that multiplies; it stands in an object of its own, made once for all kernels."""
    name = f"{PREFIX}{'s' if e.context.real == 'float' else 'd'}_{''.join('nt'[turned] for turned in key[:2])}{'_packed' if key[2] else ''}"
    e.context.declare(name, "void", ["ptr"] * 4 + ["i64"] * 6)
    return name


def emit_product(module: ir.Module, name: str) -> None:
    """Adds the function of such a name to a module."""
    precision, turned, *packed = name.removeprefix(PREFIX).split("_")
    dtype = "float32" if precision == "s" else "float64"
    context = Context(module, name, dtype, False, 32, HANDLERS)
    body = Body(context, name)
    program = product_program(host_lanes(dtype), host_registers(), turned[0] == "t", turned[1] == "t", bool(packed))
    pointers = [f"%b{position}" for position in range(len(program.arguments))]
    sizes = [f"%s{position}" for position in range(6)]
    body.buffers.update(zip(program.arguments, pointers))
    body.sizes.update(zip(program.sizes, sizes))
    for number, buffer in enumerate(program.scratch):
        body.buffers[buffer] = f"%room{number}"
        body.entry.append(f"  %room{number} = alloca [{buffer.size} x {context.real}], align 64")
    body.block(program.body)
    body.line("  ret void")
    listed = ", ".join([f"ptr noalias {p}" for p in pointers] + [f"i64 {n}" for n in sizes])
    signature = ir.FunctionType(ir.VoidType(), [ir.PointerType()] * 4 + [ir.IntType(64)] * 6)
    TextFunction(module, signature, name).text = body.text(f"define void {quoted(name)}({listed}) nounwind")


def _library(e: Body, s: Gemm) -> None:
    """Row-major C = A B is column-major C' = B' A': the operands change places, each leading dimension stays."""
    context = e.context
    integer = f"i{context.blas_integer}"
    m, n, k = e.index(s.m), e.index(s.n), e.index(s.k)
    leading = [_leading(e, at[2]) for at in (s.b, s.a, s.c)]
    if integer == "i32":
        _require_small(e, [x for x in (n, m, k, *leading) if not (x.isdigit() and int(x) < 2**31)])
    room = [f"  %gemm.i = alloca [6 x {integer}]", "  %gemm.t = alloca [2 x i8]", "  store i8 78, ptr %gemm.t"]
    _room(e, "library", [*room, "  %gemm.t1 = getelementptr i8, ptr %gemm.t, i64 1", "  store i8 84, ptr %gemm.t1"])
    pointers = []
    for position, text in enumerate((n, m, k, *leading)):
        pointer = e.emit(f"getelementptr {integer}, ptr %gemm.i, i64 {position}")
        value = text if integer == "i64" or text.isdigit() else e.emit(f"trunc i64 {text} to {integer}")
        e.line(f"  store {integer} {value}, ptr {pointer}")
        pointers.append(pointer)
    scalars = _scalars(e, s)
    turned = ["%gemm.t1" if t else "%gemm.t" for t in (s.transpose_b, s.transpose_a)]
    a, b, c = (e.address(at[0], at[1]) for at in (s.a, s.b, s.c))
    arguments = [*turned, *pointers[:3], scalars[0], b, pointers[3], a, pointers[4], scalars[1], c, pointers[5]]
    name = "symgrad_dgemm" if context.real == "double" else "symgrad_sgemm"
    context.declare(name, "void", ["ptr"] * 13)
    e.line(f"  call void @{name}({', '.join('ptr ' + a for a in arguments)})")


def _leading(e: Body, index: Index) -> str:
    """BLAS refuses a leading dimension of 0 even where there is nothing to read."""
    text = e.index(index)
    if text.isdigit():
        return str(max(1, int(text)))
    return e.call("llvm.smax.i64", "i64", ["i64", "i64"], [text, "1"])


def _require_small(e: Body, texts: list[str]) -> None:
    if texts:
        together = texts[0]
        for text in texts[1:]:
            together = e.emit(f"or i64 {together}, {text}")
        e.leave(e.emit(f"icmp ugt i64 {together}, {2**31 - 1}"), str(TOO_LARGE))
