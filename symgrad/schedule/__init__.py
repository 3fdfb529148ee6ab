"""DAG → kernels: what is fused, which axis has the lanes, tile kernel, loops or BLAS, which value lives where."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from symgrad import dims
from symgrad.dims import Dim
from symgrad.expr import Expr, topological
from symgrad.loops import Program
from symgrad.schedule.batch import BatchPlan, contract_letters, find_batch
from symgrad.schedule.groups import ASSEMBLED, LEAVES, SOLVERS, VIEWS
from symgrad.schedule.matrices import read_as_matrices
from symgrad.schedule.writer import WIDE_BYTES, Writer

__all__ = ["MODES", "describe", "make_writer", "schedule"]

MODES = ("auto", "tile", "loops", "blas")

TILE_VALUES = 32 * 1024  # values a sample may need at once in a tile kernel
# Every chunk of samples reads all weights again, one broadcast for a multiply-add of a vector. With 32 registers, the broadcast a part
# of the instruction, that is as quick as products by themselves and saves the passes between them, while a matrix stays in the
# second-level cache and all of them, forward, backward and their gradients, near it. With 16 registers packed products need fewer
# loads, and win where they are most of the work. Measured for 1 to 6 layers of 16 to 1,024 units, in both precisions.
WIDE_MATRIX, WIDE_TOTAL = 2**20, 9 * 2**20  # bytes, with 32 registers
NARROW_MATRIX = 2**16  # bytes, with 16
BLAS_FLOPS = 32 * 32 * 32  # from here on a product by itself, blocked and packed, beats one pass of fused loops


def make_writer(
    outputs: Mapping[str, Expr], *, lanes: int, mode: str = "auto", itemsize: int = 8,
    inplace: Mapping[str, Expr] | None = None, gathered: Sequence[Expr] = (), threads: int = 1, writer: type[Writer] = Writer,
    **others: Any,
) -> tuple[Any, list[str]]:  # fmt: skip
    """The writer of a program, with the decisions made, and those decisions in words.

    ``others``: options of :class:`~symgrad.schedule.storage.Allocation`.
    """
    if mode not in MODES:
        raise ValueError(f"mode is one of {', '.join(MODES)}, not {mode!r}")
    roots = list(outputs.values())
    plan, why = _choose_batch(roots, mode, lanes, itemsize)
    gemms = [] if plan or mode == "loops" else [n for n in topological(*roots) if n.op.name == "contract" and _is_for_blas(n, mode)]
    made = writer(
        outputs, lanes=lanes, plan=plan, itemsize=itemsize, gemms=gemms, inplace=inplace or {}, gathered=gathered,
        threads=threads, **others,
    )  # fmt: skip
    return made, [why, *describe(made)]


def schedule(
    outputs: Mapping[str, Expr], *, lanes: int, name: str = "kernel", mode: str = "auto", itemsize: int = 8,
    inplace: Mapping[str, Expr] | None = None, threads: int = 1,
) -> tuple[Program, list[str]]:  # fmt: skip
    """The loop program that computes named outputs, and the list of kernels in words.

    Inputs become buffers named like their symbols, outputs buffers named by the keys; ``inplace`` maps an output to
    the input it is written over. ``lanes``: SIMD width in values. ``mode``: "tile" (samples in lanes, a chunk of the
    batch through the whole graph), "loops" (one nest a group), "blas" (the same with matrix products by
    themselves: our own, a library's where they are large), "auto".
    ``threads``: into how many a pass of tile kernels, a nest or a matrix product is split where it is long enough.
    """
    writer, words = make_writer(outputs, lanes=lanes, mode=mode, itemsize=itemsize, inplace=inplace, threads=threads)
    writer.emit_body()
    return writer.program(name), words


def _choose_batch(roots: Sequence[Expr], mode: str, lanes: int, itemsize: int) -> tuple[BatchPlan | None, str]:
    if mode in ("loops", "blas"):
        return None, f"no tile kernel: {mode} was asked for"
    plan = find_batch(roots)
    if plan is None:
        return None, "no tile kernel: no dimension runs through the graph as a batch"
    order = topological(*roots)
    inner: Dim = 0
    for node in order:
        if node in plan.axis and node.op.name not in VIEWS:
            inner = dims.add(inner, dims.divide(dims.total(node.shape), plan.dim))
    if not isinstance(inner, int):
        return None, f"no tile kernel: sizes besides {plan.dim} are open"
    if mode == "tile":
        return plan, f"tile kernels over {plan.dim}: asked for"
    uses = Counter(a for n in order for a in n.args)
    if not any(n in plan.axis and n.op.family != "leaf" and (uses[n] > 1 or n.ndim > 1) for n in order):
        return None, f"no tile kernel: nothing of the {plan.dim} samples is used twice"
    if isinstance(plan.dim, int) and plan.dim < lanes:
        return None, f"no tile kernel: {plan.dim} samples do not fill {lanes} lanes"
    weights = [_product(n, plan) for n in order if n.op.name == "contract"]
    largest, total = max(weights, default=0) * itemsize, sum(weights) * itemsize
    wide = lanes * itemsize >= WIDE_BYTES
    sizes = f"{inner} values a sample, {total} bytes of weights, {largest} in one matrix"
    if inner > TILE_VALUES or total > WIDE_TOTAL or largest > (WIDE_MATRIX if wide else NARROW_MATRIX):
        return None, f"no tile kernel: {sizes}"
    return plan, f"tile kernels over {plan.dim}: {sizes}"


def _product(node: Expr, plan: BatchPlan) -> int:
    """Multiplications a sample."""
    la, lb, _ = contract_letters(node)
    sizes: dict[str, Dim] = {}
    for a, text in zip(node.args, (la, lb), strict=True):
        for k, (c, d) in enumerate(zip(text, a.shape, strict=True)):
            sizes[c] = 1 if plan.axis.get(a) == k else d
    total = dims.total(sizes.values())
    return total if isinstance(total, int) else WIDE_TOTAL


def _is_for_blas(node: Expr, mode: str) -> bool:
    matrices = read_as_matrices(node)
    if matrices is None or any(a.op.name in VIEWS | (LEAVES - {"symbol", "constant"}) for a in (matrices.a, matrices.b)):
        return False
    if any(a.op.name == "constant" and not a.shape for a in (matrices.a, matrices.b)):
        return False
    size = dims.total(matrices.sizes.values())
    return mode == "blas" or not isinstance(size, int) or size >= BLAS_FLOPS


def describe(writer: Writer) -> list[str]:
    """One line a kernel."""
    lines = []
    for group in writer.groups:
        what = ", ".join(dict.fromkeys(m.op.name for m in group.members))
        name = group.members[0].op.name
        way = "BLAS" if group.gemm else "factors" if name in SOLVERS else "parts" if name in ASSEMBLED else "nest"
        if group.section % 2:
            way = f"tile ({writer.lanes} lanes, {writer.chunk} samples)" + (", summed over the batch" if group.crossing else "")
            way += ", lanes along the last axis" if group.outer else ""
        lines.append(f"{way} {dims.format_shape(group.shape)}: {what}")
    return lines
