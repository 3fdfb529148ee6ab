"""Large minibatches in blocks of samples: what is summed over the batch is summed block by block.

Products by themselves make one layer after another of all samples. Of many samples of wide layers the activations outgrow the
caches then, and every pass over them waits for memory. Where samples meet in sums only, as they do in gradients, a step is cut: a
part that is made for a block of samples at a time and adds its sums to those of earlier blocks, and the rest, which needs the sums.
Measured for three layers of 512 sigmoid units and 4,096 samples, float32, on one core: 227 ms a step at once, 197 in blocks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from symgrad.expr import SYMBOL, Expr, as_expr, rebuild, rewrite, symbol, topological
from symgrad.schedule.batch import BatchPlan, trace_batch
from symgrad.schedule.groups import ASSEMBLED, REDUCERS

__all__ = ["BLOCK", "Blocks", "cut_into_blocks"]

BLOCK = 512  # samples: products of fewer cost more for each


@dataclass(frozen=True)
class Blocks:
    """``part``: of a block, the sums so far and the block's own, by the symbols of the sums; ``rest``: the outputs in terms of
    them. ``total``: the symbol that stands for the number of samples in both."""

    part: dict[Expr, Expr]
    rest: dict[str, Expr]
    total: Expr


def cut_into_blocks(outputs: Mapping[str, Expr], dim: str) -> Blocks | None:
    """The cut along a dimension; ``None`` where outputs need more of the samples than sums over them."""
    order = topological(*outputs.values())
    plan = trace_batch(list(outputs.values()), dim)
    if plan is None or not _is_summed_only(order, plan) or any(node in plan.axis for node in outputs.values()):
        return None
    taken = {node.name for node in order if node.op is SYMBOL}
    total = symbol(_fresh("size", taken), integer=True)
    crossing = [node for node in order if node in plan.crossing]
    sums = {node: symbol(_fresh(f"sum{k}", taken), node.shape) for k, node in enumerate(crossing)}

    def without_size(node: Expr, args: tuple[Expr, ...]) -> Expr:
        return total if node.op.name == "size" and node.params["dim"] == dim else rebuild(node, args)

    def with_sums(node: Expr, args: tuple[Expr, ...]) -> Expr:
        return sums[node] if node in sums else without_size(node, args)

    parts = rewrite(crossing, without_size)
    rest = rewrite(list(outputs.values()), with_sums)
    adding = {s: as_expr(s + part) for s, part in zip(sums.values(), parts, strict=True)}
    return Blocks(adding, dict(zip(outputs, rest, strict=True)), total)


def _fresh(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    return name


def _is_summed_only(order: list[Expr], plan: BatchPlan) -> bool:
    """Whether one pass over the samples makes nothing but sums of reals, and little that is the same for all samples."""
    if not plan.crossing or any(node.op.name not in ("sum", "contract") or node.kind != "real" for node in plan.crossing):
        return False
    if any(plan.phase[node] > 0 for node in plan.axis) or any(node.op.name == "arange" for node in plan.axis):
        return False
    before: set[Expr] = set()  # what samples need and share
    for node in reversed(order):
        if node in plan.axis or node in plan.crossing or node in before:
            before.update(a for a in node.args if a not in plan.axis)
    return not any(node.op.name in REDUCERS | ASSEMBLED | {"contract"} for node in before)
