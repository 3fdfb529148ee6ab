"""The Loop object: a compiled training loop, many updates in one call."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from symgrad import dims
from symgrad.dims import Dim, Shape
from symgrad.errors import ShapeError
from symgrad.expr import Expr, topological
from symgrad.run.kernel import Kernel, element_type

if TYPE_CHECKING:
    from symgrad.schedule.training import LoopProgram

__all__ = ["FEW", "MANY", "SHARED", "Kinds", "Loop", "LoopLayout", "kernel_kinds"]

Array = np.ndarray[Any, Any]

FEW, SHARED, MANY = "few", "shared", "many"  # kinds of kernels for small minibatches; the others' is "auto"

SMALL_WEIGHTS = 16 * 16  # elements: below, a step of few samples costs a microsecond however it is made
LARGE_WEIGHTS = 2**20  # bytes: above, products by themselves are as quick, being bound by memory
SHARED_WEIGHTS = 2**17  # bytes: of smaller ones the sums that every thread has of its own are soon worth it
SHARED_VECTORS = 12  # of samples
BLOCKED_WEIGHTS = 2**16  # bytes: smaller layers are tile kernels, which make blocks of their own
BLOCKED_SAMPLES = 512  # which products by themselves make at once
FOLDED_ROW, FOLDED_SAMPLES = 2**11, 2  # bytes: columns of rows so far apart, or multiples of it, share few sets of the caches


@dataclass(frozen=True)
class Kinds:
    """Up to how many samples a minibatch is better off with kernels of a kind of its own; 0: none is.

    few     Kernels with the samples in lanes compute whole vectors of them: for half a vector and less, loops with the lanes along the
            layers' outputs are 1.3 to 3.8 times as fast (measured for layers of 16 to 512 units, vectors of 256 and 512 bits).
    shared  Threads that share the samples have sums of their own for every weight, which travel between processors, as the
            updated weights do. Where they share the products, only activations travel, which are less while samples are
            few (measured for layers of 128 to 784 units, on two processors with a common cache and with none).
    folded  Loops read weights down their columns. Where these lie in few sets of the caches, one or two samples do not pay for what
            falls out again: products, which read along the rows, take 0.7 to 0.9 of the time (measured on one thread for layers
            of 512 units in float and of 256 in double; for 320, 384 and 448 units it is the loops that do).
    many    Products by themselves leave the activations of more samples outside the caches, and make blocks of them instead.
            Here it is the number that minibatches are larger than.
    """

    few: int = 0
    shared: int = 0
    folded: int = 0
    many: int | None = None

    def of(self, batch: int | None) -> str:
        """The kind for a number of samples, ``None`` for very many."""
        if self.many is not None and (batch is None or batch > self.many):
            return MANY
        if batch is not None and batch <= self.folded:
            return SHARED
        return "auto" if batch is None else FEW if batch <= self.few else SHARED if batch <= self.shared else "auto"


def kernel_kinds(report: Expr, data: Sequence[Expr], *, lanes: int, itemsize: int, threads: int) -> Kinds:
    """The kinds that training with such a loss has use for."""
    leading: set[Dim] = {s.shape[0] for s in data if s.shape and isinstance(s.shape[0], str)}
    products = [node for node in topological(report) if node.op.name == "contract"]
    largest = max((_weights(node, leading) for node in products), default=0)
    rows = [a.shape[-1] for node in products for a in node.args if a.ndim > 1 and leading.isdisjoint(a.shape)]
    few = bool(leading) and SMALL_WEIGHTS <= largest <= LARGE_WEIGHTS // itemsize
    shared = bool(leading) and threads > 1 and largest >= SHARED_WEIGHTS // itemsize
    many = bool(leading) and largest >= BLOCKED_WEIGHTS // itemsize
    folded = few and threads == 1 and any(isinstance(row, int) and row * itemsize % FOLDED_ROW == 0 for row in rows)
    return Kinds(
        few=lanes // 2 if few else 0, shared=SHARED_VECTORS * lanes if shared else 0,
        folded=FOLDED_SAMPLES if folded else 0, many=BLOCKED_SAMPLES if many else None,
    )  # fmt: skip


def _weights(node: Expr, leading: Collection[Dim]) -> int:
    """Multiplications a sample."""
    letters = node.params["spec"].split("->")[0].split(",")
    sizes = {c: d for a, text in zip(node.args, letters) for c, d in zip(text, a.shape) if d not in leading}
    total = dims.total(sizes.values())
    return total if isinstance(total, int) else 0


@dataclass(frozen=True)
class LoopLayout:
    """What the arguments of a loop's kernel are. ``arrays``: name, kind and shape of every state, batched and
    other input, in the kernel's order; ``dim``, ``all_dim``, ``epochs_dim``: the sizes that the loop itself sets."""

    state: tuple[str, ...]
    data: tuple[str, ...]
    arrays: tuple[tuple[str, str, Shape], ...]
    dim: str | None
    all_dim: str
    epochs_dim: str

    @staticmethod
    def of(found: LoopProgram) -> LoopLayout:
        arrays = tuple((b.name.removeprefix("all."), b.kind, b.shape) for b in found.program.arguments[: found.count])
        return LoopLayout(found.state, found.data, arrays, found.dim, found.all_dim, found.epochs_dim)

    def header(self) -> dict[str, Any]:
        """For the disk cache."""
        return asdict(self)

    @staticmethod
    def read(header: Mapping[str, Any]) -> LoopLayout:
        arrays = tuple((name, kind, tuple(shape)) for name, kind, shape in header["arrays"])
        return LoopLayout(tuple(header["state"]), tuple(header["data"]), arrays, header["dim"], header["all_dim"], header["epochs_dim"])


@dataclass(frozen=True)
class _Variant:
    """Kernels for some sizes of minibatches."""

    kernel: Kernel
    layout: LoopLayout
    run: Callable[[int, int], int]

    @staticmethod
    def of(kernel: Kernel) -> _Variant:
        run = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p)(kernel.address)
        return _Variant(kernel, LoopLayout.read(kernel.layout), run)


class Loop:
    """Runs many updates in one compiled call: shuffle, minibatch, loss, gradient, update.

    ``make`` compiles the kernels of a kind (:class:`Kinds`) when they are first needed.
    Which are taken follows from ``batch_size`` alone: an epoch's smaller last batch goes the way of the others.
    ``formulas``: parameter → its update. Of the kernels for minibatches of ``batch`` samples are ``timings``, seconds per stage, and
    ``schedule``, the kernels in words.
    """

    def __init__(self, make: Callable[[str], Kernel], kinds: Kinds, batch: int | None, dtype: str, formulas: Any) -> None:
        self._make, self._kinds, self.dtype, self.formulas = make, kinds, dtype, formulas
        self._variants: dict[str, _Variant] = {}
        first = self._variant(batch)
        self.kernel, self.layout = first.kernel, first.layout
        self.timings, self.schedule, self.cached = self.kernel.timings, self.kernel.words, self.kernel.cached

    def _variant(self, batch: int | None) -> _Variant:
        kind = self._kinds.of(batch)
        if kind not in self._variants:
            self._variants[kind] = _Variant.of(self._make(kind))
        return self._variants[kind]

    def __call__(
        self, state: Mapping[str, Array], data: Mapping[str, Array], numbers: Mapping[str, Any], *,
        samples: int, batch_size: int, shuffle: bool, seed: int, first_step: int, steps: int, losses: Array,
    ) -> int:  # fmt: skip
        """Makes ``steps`` updates from number ``first_step`` on; returns how many were made.

        ``state`` arrays (contiguous, of the loop's dtype) are updated in place. ``losses[k]`` gains the
        sample-weighted mean of the losses before the updates of epoch k, counted from that of ``first_step``.
        At the first loss that is not finite the loop stops, with the state as it was before that update.
        """
        kept = {name: state[name].copy() for name in self.layout.state}
        own = losses.astype(self.dtype)  # goes on from what earlier calls of the epoch have added: where calls end changes no bit
        made = self._call(state, data, numbers, (samples, batch_size, bool(shuffle), seed, first_step, steps), own)
        losses[...] = own
        if made < steps:  # back to where the loss was still finite: the loop is deterministic
            for name, array in kept.items():
                state[name][...] = array
            self._call(state, data, numbers, (samples, batch_size, bool(shuffle), seed, first_step, made), np.zeros_like(own))
        return made

    def _call(
        self, state: Mapping[str, Array], data: Mapping[str, Array], numbers: Mapping[str, Any], control: Sequence[int], losses: Array
    ) -> int:  # fmt: skip
        samples, batch_size = control[0], control[1]
        variant = self._variant(min(batch_size, samples))
        kernel, layout = variant.kernel, variant.layout
        done = np.zeros(1, np.int64)
        arrays: list[Array] = []
        sizes = {layout.all_dim: samples, layout.epochs_dim: len(losses)}
        if layout.dim is not None:
            sizes[layout.dim] = min(batch_size, samples)
        for name, kind, shape in layout.arrays:
            wanted = np.dtype(element_type(kind, self.dtype))
            if name in layout.state:
                array = state[name]
                if array.dtype != wanted or not array.flags.c_contiguous or not array.flags.writeable:
                    raise TypeError(f"state {name!r} must be a writeable contiguous array of {wanted}")
            else:
                source = next(group[name] for group in (data, state, numbers) if name in group)
                array = np.ascontiguousarray(source, dtype=wanted).reshape(np.shape(source))
            self._check(name, array, shape, sizes)
            arrays.append(array)
        self._check_sizes(sizes, samples, batch_size)
        for position, constant in sorted(kernel.constants.items()):
            assert position == len(arrays)
            arrays.append(constant)
        arrays += [np.array([_signed(int(c)) for c in control], np.int64), losses, done]
        buffers = np.array([a.ctypes.data for a in arrays], np.uintp)
        numbers_of = np.array([sizes[s] for s in kernel.sizes], np.int64)
        code = variant.run(buffers.ctypes.data, numbers_of.ctypes.data)
        if code:
            kernel.fail(code)
        return int(done[0])

    def _check(self, name: str, array: Array, shape: Shape, sizes: dict[str, int]) -> None:
        if len(shape) != array.ndim:
            raise ShapeError(f"{name} has shape {array.shape}, {dims.format_shape(shape)} is wanted")
        for dim, size in zip(shape, array.shape):
            if isinstance(dim, str) and dim.isidentifier():
                sizes.setdefault(dim, size)
            if dims.evaluate(dim, sizes) != size:
                raise ShapeError(f"{name} has shape {array.shape}, {dims.format_shape(shape)} is wanted with {sizes}")


    def _check_sizes(self, sizes: dict[str, int], samples: int, batch_size: int) -> None:
        """What the formulas ask of sizes must hold for every minibatch, the smaller last one too."""
        dim = self.layout.dim
        last = samples % batch_size or min(batch_size, samples)
        for known in (sizes, sizes if dim is None else {**sizes, dim: last}):
            for left, relation, right in self.kernel.checks:
                a, b = dims.evaluate(left, known), dims.evaluate(right, known)
                if a < b or (relation == "==" and a != b):
                    batch = "" if dim is None else f", in a batch of {known[dim]}"
                    raise ShapeError(f"the formulas need {left} {relation} {right}, and these are {a} and {b}{batch}")


def _signed(word: int) -> int:
    """Any seed as 64 bits."""
    word &= 2**64 - 1
    return word - 2**64 if word >= 2**63 else word
