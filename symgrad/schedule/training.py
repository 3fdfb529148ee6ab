"""The training loop as one loop program: shuffle, gather a minibatch, run the step, many times.

The shuffle of an epoch is a pure function of (seed, epoch): a Fisher-Yates shuffle whose random numbers are
SplitMix64 of a counter (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014).
So a resumed run, or one cut into other calls, is the uninterrupted one, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from symgrad import dims
from symgrad.dims import Dim
from symgrad.errors import ShapeError
from symgrad.expr import Expr
from symgrad.loops import BindSize, Buffer, Copy, Fill, Index, Program, Value
from symgrad.schedule import make_writer
from symgrad.schedule.blocks import BLOCK, Blocks, cut_into_blocks
from symgrad.schedule.packing import pack_rows
from symgrad.schedule.threads import DISTANT
from symgrad.schedule.writer import Writer

__all__ = ["CONTROL", "LoopProgram", "batch_dimension", "schedule_loop"]

CONTROL = ("samples", "batch_size", "shuffle", "seed", "first_step", "steps")  # entries of the control argument


@dataclass(frozen=True)
class LoopProgram:
    """``program`` and the names of its arguments: ``state`` (updated in place), ``data`` (all samples), what else the
    formulas need, ``count`` in all, then the constants, "control" (:data:`CONTROL`), "losses" (one an epoch) and
    "done" (steps made). Sizes: the minibatch's dimension (its largest size), the data's, the number of epochs."""

    program: Program
    state: tuple[str, ...]
    data: tuple[str, ...]
    count: int
    dim: str | None
    all_dim: str
    epochs_dim: str
    words: tuple[str, ...]



def batch_dimension(data: Sequence[Expr]) -> str | None:
    """The one leading named dimension of the data; ``ValueError`` where there are several."""
    leading = list(dict.fromkeys(s.shape[0] for s in data if s.shape and isinstance(s.shape[0], str)))
    if len(leading) > 1:
        raise ValueError(f"the data's leading dimensions {', '.join(map(str, leading))} differ: which one is the batch?")
    return str(leading[0]) if leading else None


def schedule_loop(
    state: Mapping[Expr, Expr], report: Expr, data: Sequence[Expr], *, step: Expr | None, lanes: int, itemsize: int, mode: str = "auto",
    threads: int = 1, blocks: bool = False,
) -> LoopProgram:  # fmt: skip
    """The program that makes many updates: ``state`` maps each symbol to its next value, ``report`` is the loss.

    Batched are the data whose first axis is the one leading named dimension; other data are used whole. ``blocks``: products by
    themselves are made for a block of the samples at a time, where that can be.
    """
    dim = batch_dimension(data)
    batched = [s for s in data if s.shape and s.shape[0] == dim]
    for s in batched:
        if any(dim in dims.names(d) for d in s.shape[1:]):
            raise ShapeError(f"{s.name}: the batch dimension {dim} can only be the first axis")
    changing = {s: value for s, value in state.items() if value is not s}
    outputs = {"report": report, **{f"next.{s.name}": value for s, value in changing.items()}}
    inplace = {f"next.{s.name}": s for s in changing}
    gathered = [*batched, *([step] if step is not None else [])]
    options: dict[str, Any] = {"lanes": lanes, "mode": mode, "itemsize": itemsize, "threads": threads}
    writer, words = make_writer(outputs, inplace=inplace, gathered=gathered, **options)
    cut = cut_into_blocks(outputs, dim) if blocks and dim is not None and writer.plan is None else None
    made = _Step(writer, writer, step)
    if cut is not None:
        made, words = _blocked_step(cut, inplace, batched, step, words[0], options)
    made.part.ready = made.rest.ready = True
    taken = {*made.part.sizes(), *made.rest.sizes()}
    all_dim, epochs_dim = _fresh("all", taken), _fresh("epochs", taken)
    whole = {s: Buffer(f"all.{s.name}", s.kind, (all_dim, *s.shape[1:]), "input") for s in batched}
    loop = _LoopWriter(made, batched, whole, dim, all_dim, epochs_dim)
    loop.write()
    known = {**made.part.inputs, **made.rest.inputs}
    inputs = [s for s in known if s not in changing and known[s].role != "scratch"]
    first = (*(known[s] for s in changing), *whole.values(), *(known[s] for s in inputs))
    constants = {**made.part.constants, **made.rest.constants}
    arguments = (*first, *constants, loop.control, loop.losses, loop.done)
    sizes = (*dict.fromkeys((*made.part.sizes(), *made.rest.sizes(), *([dim] if dim else []))), all_dim, epochs_dim)
    scratch = dict.fromkeys((*made.part.scratch, *made.rest.scratch, *made.scratch))
    program = Program("train", arguments, tuple(scratch), sizes, made.part.b.body, tuple(made.part.failures), constants)
    return LoopProgram(
        program, tuple(s.name for s in changing), tuple(s.name for s in batched), len(first), dim, all_dim, epochs_dim, tuple(words)
    )


@dataclass(frozen=True)
class _Step:
    """The writers of a step: ``part`` reads the minibatch, ``rest`` makes the report and the updates; they are one, unless the
    minibatch is passed in blocks. ``sums``: what blocks add up, ``total``: the number of samples; ``scratch``: these and the step's."""

    part: Writer
    rest: Writer
    step: Expr | None
    sums: tuple[Buffer, ...] = ()
    total: Buffer | None = None
    scratch: tuple[Buffer, ...] = ()


def _blocked_step(
    cut: Blocks, inplace: Mapping[str, Expr], batched: Sequence[Expr], step: Expr | None, why: str, options: Mapping[str, Any]
) -> tuple[_Step, list[str]]:
    """The writers of a step that passes the minibatch in blocks, which share a program."""
    sums = {s: Buffer(s.name, "real", s.shape, "scratch") for s in cut.part}
    known = {s: Buffer(s.name, s.kind, s.shape, "scratch") for s in (cut.total, step) if s is not None} | sums
    adding = {f"next.{s.name}": s for s in sums}
    parts = {name: cut.part[s] for name, s in adding.items()}
    rest, words = make_writer(cut.rest, inplace=inplace, known=known, **options)
    first = len(rest.scratch) + len(rest.constants)
    part, own = make_writer(parts, inplace=adding, gathered=batched, known={**known, **rest.inputs}, first=first, **options)
    rest.b, rest.failures = part.b, part.failures
    told = [f"{why}; {BLOCK} samples at a time", *own[1:], "then", *words[1:]]
    return _Step(part, rest, step, tuple(sums.values()), known[cut.total], tuple(known.values())), told


def _fresh(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    return name


class _LoopWriter:
    """Writes the loop around the step that ``writer`` writes."""

    def __init__(
        self, step: _Step, batched: Sequence[Expr], whole: Mapping[Expr, Buffer], dim: str | None, all_dim: str, epochs_dim: str
    ) -> None:  # fmt: skip
        self.step, self.w, self.b = step, step.part, step.part.b
        self.batched, self.whole, self.dim, self.all_dim = batched, whole, dim, all_dim
        self.control = Buffer("control", "integer", (len(CONTROL),), "input")
        self.losses = Buffer("losses", "real", (epochs_dim,), "output")
        self.done = Buffer("done", "integer", (1,), "output")
        self.report = step.rest.output_buffers.pop("report")
        self.report = self._as_scratch(self.report)
        self.permutation = Buffer("permutation", "integer", (all_dim,), "scratch")
        self.w.scratch.append(self.permutation)

    def _as_scratch(self, output: Buffer) -> Buffer:
        """The report is read by the loop, not handed out."""
        scratch = Buffer("report", output.kind, output.shape, "scratch")
        w = self.step.rest
        for node, places in w.written.items():
            w.written[node] = [p if p.buffer is not output else type(p)(scratch, p.strides) for p in places]
        for node, place in w.storage.items():
            if place.buffer is output:
                w.storage[node] = type(place)(scratch, place.strides)
        w.scratch.append(scratch)
        return scratch

    def write(self) -> None:
        b = self.b
        samples, batch, shuffle, seed, first, steps = (b.load(self.control, k) for k in range(len(CONTROL)))
        per_epoch = b.floordiv(b.sub(b.add(samples, batch), 1), batch)
        shuffled = b.and_(b.not_equal(shuffle, 0), b.greater(per_epoch, 1))
        fresh_each_step = b.greater(per_epoch, 1)
        first_epoch = b.floordiv(first, per_epoch)
        alive = b.define("alive", True)
        shuffled_epoch = b.define("epoch", -1)
        loaded = b.define("loaded", False)
        made = b.define("made", 0)
        number = self.step.step
        with b.loop(first, b.add(first, steps)) as s:
            with b.branch(b.read(alive)):
                epoch = b.floordiv(s, per_epoch)
                start = b.mul(b.mod(s, per_epoch), batch)
                count = b.minimum(batch, b.sub(samples, start))
                if self.dim is not None:
                    b.emit(BindSize(self.dim, count))
                with b.branch(b.and_(shuffled, b.not_equal(epoch, b.read(shuffled_epoch)))):
                    self._shuffle(samples, seed, epoch)
                    b.assign(shuffled_epoch, epoch)
                for buffer in dict.fromkeys(w.storage[number].buffer for w in (self.w, self.step.rest) if number in w.storage):
                    b.store(buffer, 0, s)
                if self.step.total is not None:
                    self._pass_blocks(self.step.total, start, count, shuffled)
                else:
                    with b.branch(b.or_(fresh_each_step, b.not_(b.read(loaded)))):
                        self._gather_all(start, count, shuffled)
                        b.assign(loaded, True)
                self.step.rest.emit_body()
                loss = b.load(self.report, 0)
                with b.branch(b.isfinite(loss)) as broken:
                    share = b.div(b.to_real(count), b.to_real(samples))
                    place = b.sub(epoch, first_epoch)
                    b.store(self.losses, place, b.add(b.load(self.losses, place), b.mul(loss, share)))
                    b.assign(made, b.add(b.read(made), 1))
                with b.into(broken):
                    b.assign(alive, False)
        b.store(self.done, 0, b.read(made))

    def _pass_blocks(self, total: Buffer, start: Value, count: Value, shuffled: Value) -> None:
        """The sums over a minibatch, block by block."""
        b, dim = self.b, self.dim
        assert dim is not None
        b.store(total, 0, count)
        for buffer in self.step.sums:
            b.emit(Fill(buffer, Index(), Index.of(dims.total(buffer.shape)), 0.0))
        b.comment(f"over {dim} samples, {BLOCK} at a time")
        with b.loop(0, count, BLOCK) as first, self.w.scope():
            size = b.minimum(b.sub(count, first), BLOCK)
            b.emit(BindSize(dim, size))
            self._gather_all(b.add(start, first), size, shuffled)
            self.w.emit_body()

    def _gather_all(self, start: Value, count: Value, shuffled: Value) -> None:
        with self.b.branch(shuffled) as straight:
            self._gather(start, count, shuffled=True)
        with self.b.into(straight):
            self._gather(start, count, shuffled=False)

    def _shuffle(self, samples: Value, seed: Value, epoch: Value) -> None:
        b = self.b
        with b.loop(0, samples) as k:
            b.store(self.permutation, k, k)
        base = b.bitxor(self._mix(b.add(seed, _GAMMA)), self._mix(b.add(b.mul(epoch, _GAMMA), 1)))
        with b.loop(1, samples) as k:  # from the front: each prefix is shuffled in turn
            random = self._mix(b.add(base, b.mul(k, _GAMMA)))
            other = b.mod(b.shift_right(random, 1), b.add(k, 1))
            mine, theirs = b.load(self.permutation, k), b.load(self.permutation, other)
            b.store(self.permutation, k, theirs)
            b.store(self.permutation, other, mine)

    def _mix(self, z: Value) -> Value:
        b = self.b
        z = b.mul(b.bitxor(z, b.shift_right(z, 30)), _MIX1)
        z = b.mul(b.bitxor(z, b.shift_right(z, 27)), _MIX2)
        return b.bitxor(z, b.shift_right(z, 31))

    def _gather(self, start: Value, count: Value, shuffled: bool) -> None:
        """Copies the minibatch's rows to where the step reads them."""
        b = self.b

        def row(position: Index) -> Value:
            at = position + start
            return b.load(self.permutation, at) if shuffled else b.index(at)

        for symbol in self.batched:
            b.comment(f"gather {symbol.name}")
            if not self.w.storage[symbol].local:
                self._copy_rows(symbol, count, row)
                continue
            shared = self.w.is_first_shared()
            if shared is None:
                self._pack_chunks(symbol, row)
                continue
            with b.branch(shared) as alone, self.w.scope(), self.w.shared_chunks() as (_, first, end):
                self._pack_chunks(symbol, row, first, end)
            with b.into(alone), self.w.scope():
                self._pack_chunks(symbol, row)

    def _pack_chunks(self, symbol: Expr, row: Callable[[Index], Value], first: Index | None = None, end: Value | None = None) -> None:
        """The minibatch, or a part of it, as a tile kernel reads it."""
        with self.w.chunks(first, end):
            assert self.w.origin is not None
            origin, target = self.w.origin, self.w.storage[symbol]
            base = Index.of(origin) * target.inner
            pack_rows(self.w, self.whole[symbol], lambda t: row(t + origin), dims.total(symbol.shape[1:]), target, base)

    def _copy_rows(self, symbol: Expr, count: Value, row: Callable[[Index], Value]) -> None:
        """The minibatch in rows, as it is stored; threads share its longer side, as they do in the products that read it."""
        b, inner = self.b, dims.total(symbol.shape[1:])
        source, target = self.whole[symbol], self.w.storage[symbol].buffer

        def copy(first: Value | int, end: Value | int, left: Value | int, width: Value | Dim) -> None:
            with b.loop(first, end) as t:
                at, found = Index.of(t) * inner + left, Index.of(row(Index.of(t))) * inner + left
                b.emit(Copy(target, at, source, found, Index.of(width)))

        workers = self.w.workers(dims.total((DISTANT, *symbol.shape)))
        if workers == 1:
            copy(0, count, 0, inner)
            return
        columns = b.index(inner)
        wide = b.greater(columns, count)
        with self.w.cut(b.maximum(columns, count), b.select(wide, self.w.lanes, 1), workers) as (_, first, end):
            left, right = b.select(wide, first, 0), b.select(wide, end, columns)
            copy(b.select(wide, 0, first), b.select(wide, count, end), left, b.sub(right, left))


def _signed(word: int) -> int:
    return word - 2**64 if word >= 2**63 else word


_GAMMA, _MIX1, _MIX2 = map(_signed, (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))
