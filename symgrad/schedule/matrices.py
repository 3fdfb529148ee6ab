"""Which contractions are products of matrices as they are stored, and which outputs are updates by one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from symgrad.dims import Dim
from symgrad.expr import SYMBOL, Expr, topological
from symgrad.schedule.batch import contract_letters

__all__ = ["Matrices", "Update", "find_updates", "read_as_matrices"]


@dataclass(frozen=True)
class Matrices:
    """A contraction as matrix products: ``batch`` letters outside, (m, k) times (k, n); operands possibly
    stored transposed, transposes of the operands absorbed; ``swapped``: the result is stored (n, m)."""

    a: Expr
    b: Expr
    batch: str
    m: str
    n: str
    k: str
    transpose_a: bool
    transpose_b: bool
    swapped: bool
    sizes: dict[str, Dim]


@dataclass(frozen=True)
class Update:
    """``base + sign * scales * contract``: one product with beta = 1, over a copy of the base. ``scales``: scalar factors;
    ``between``: the nodes that multiply by them."""

    base: Expr
    sign: float
    scales: tuple[Expr, ...]
    between: tuple[Expr, ...]
    contract: Expr


def find_updates(outputs: Sequence[Expr], gemms: Iterable[Expr]) -> dict[Expr, Update]:
    """Outputs such as ``W - lr * (A.T @ D)``, whose product is used nowhere else."""
    products, found = set(gemms), dict[Expr, Update]()
    if not products:
        return found
    uses = Counter(a for n in topological(*outputs) for a in n.args)
    uses.update(outputs)
    for node in outputs:
        if node.op.name not in ("add", "sub") or uses[node] != 1:
            continue
        base, change = node.args
        if base.op is not SYMBOL and node.op.name == "add":
            base, change = change, base
        scales, between = [], []
        while change.op.name == "mul" and uses[change] == 1 and not all(a.shape for a in change.args):
            between.append(change)
            scale, change = sorted(change.args, key=lambda a: len(a.shape))
            scales.append(scale)
        fits = base.op is SYMBOL and base.shape == change.shape == node.shape and not any(s.shape for s in scales)
        if fits and change in products and uses[change] == 1:
            found[node] = Update(base, -1.0 if node.op.name == "sub" else 1.0, tuple(scales), tuple(between), change)
    return found


def _base(node: Expr, letters: str) -> tuple[Expr, str]:
    """Sees through transposes: the stored array and its letters."""
    while node.op.name == "transpose":
        axes = [a + node.ndim for a in node.params["axes"]]
        letters = "".join(letters[axes.index(k)] for k in range(node.ndim))
        node = node.args[0]
    return node, letters


def read_as_matrices(node: Expr) -> Matrices | None:
    """How BLAS can compute the node, or ``None``: real, and every group of letters contiguous in each array."""
    x, y = node.args
    la, lb, result = contract_letters(node)
    if node.kind != "real" or x.kind != "real" or y.kind != "real":
        return None
    sizes = {c: d for a, text in zip(node.args, (la, lb), strict=True) for c, d in zip(text, a.shape, strict=True)}
    x, la = _base(x, la)
    y, lb = _base(y, lb)
    batch = "".join(c for c in result if c in la and c in lb)
    if not (result.startswith(batch) and la.startswith(batch) and lb.startswith(batch)):
        return None
    ra, rb, rc = la[len(batch) :], lb[len(batch) :], result[len(batch) :]
    m = "".join(c for c in rc if c in ra)
    n = "".join(c for c in rc if c in rb)
    k = "".join(c for c in ra if c in rb)
    if not k or ra not in (m + k, k + m) or rb not in (k + n, n + k) or rc not in (m + n, n + m):
        return None
    return Matrices(x, y, batch, m, n, k, ra != m + k, rb != k + n, rc != m + n, sizes)
