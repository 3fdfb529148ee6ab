"""Long straight-line code as LLVM functions: what :mod:`symgrad.render.pieces` plans, written down piece by piece."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from symgrad.loops import Buffer, Fail, Let, Statement, Value
from symgrad.loops.walk import made
from symgrad.render import pieces
from symgrad.render.batches import Batch, batched
from symgrad.render.llvm_body import Body, Handed, constant_text, quoted
from symgrad.render.llvm_instructions import FUNCTIONS, lanes_type
from symgrad.render.processor import host_lanes, host_registers
from symgrad.render.vector_math import batch_function, turn_function

__all__ = ["emit_pieces"]

SPARE = 5  # registers for a step's operands and result, and for numbers
PLAIN = {"add": "fadd", "sub": "fsub", "mul": "fmul", "div": "fdiv"}
COMMUTING = ("add", "mul")


def emit_pieces(e: Body, statements: list[Statement], later: list[Statement]) -> None:
    """Writes simple statements as functions and calls them one after the other; ``later`` is the rest of their block."""
    known = {value: number for value, (text, number) in e.affine.items() if text is None}
    steps = batched(statements, host_lanes(e.context.dtype), FUNCTIONS)
    plan = pieces.Plan(steps, later, known, e.frames, host_registers() - SPARE)
    before: list[Any] = []  # filled when it is known what the pieces take from here
    e.lines.append(before)
    for start in range(0, len(steps), pieces.PIECE):
        _emit_piece(e, plan, range(start, min(start + pieces.PIECE, len(steps))), known)
    _emit_table(e.context, plan.numbers)
    here, e.lines = e.lines, before
    e.to_frame(plan.before)
    e.lines = here
    e.from_frame(plan.after())


def _emit_piece(e: Body, plan: pieces.Plan, part: range, known: Mapping[Value, int]) -> None:
    context = e.context
    apart = context.apart.context() if context.apart else context
    name = f"{context.name}.piece{len(context.functions)}"
    hand = _Hand()
    inner = _Piece(apart, name, plan)
    inner.take(e, hand, context.places)
    for value, number in known.items():
        inner.values[value], inner.affine[value] = str(number), (None, number)
    inner.steps(part)
    inner.line("  ret i32 0")
    linkage = "internal " if apart is context else ""
    header = f"define {linkage}i32 {quoted(name)}({', '.join(hand.parameters)}) noinline optnone nounwind"
    apart.functions.append(inner.text(header))
    if apart is not context:
        types = ", ".join(p.partition(" ")[0] for p in hand.parameters)
        context.functions.append(f"declare i32 {quoted(name)}({types})")
    code = e.emit(f"call i32 {quoted(name)}({', '.join(hand.arguments)})")
    if any(plan.steps[k].__class__ is Fail for k in part):
        e.leave(e.emit(f"icmp ne i32 {code}, 0"), code)


def _table_name(context: Any) -> str:
    return quoted(f"{context.name}.numbers{context.tables}")


def _emit_table(context: Any, numbers: Mapping[str, int]) -> None:
    """The numbers that a run of pieces needs, one after the other."""
    listed = ", ".join(f"{context.real} {text}" for text in numbers) if numbers else f"{context.real} 0.0"
    room = f"[{max(1, len(numbers))} x {context.real}]"
    context.functions.append(f"{_table_name(context)} = internal constant {room} [{listed}], align {context.width('real')}")
    context.tables += 1


class _Hand:
    """What a piece gets from the function around it."""

    def __init__(self) -> None:
        self.arguments: list[str] = []
        self.parameters: list[str] = []

    def over(self, type_: str, outer: Mapping[Any, str]) -> Callable[[Any], str]:
        """Gives what the function around has: as a parameter of the piece."""

        def give(key: Any) -> str:
            text = f"%p{len(self.parameters)}"
            self.arguments.append(f"{type_} {outer[key]}")
            self.parameters.append(f"{type_} {text}")
            return text

        return give


class _Piece(Body):
    """A piece. ``values`` are those in registers; what else is asked for comes from the frame."""

    def __init__(self, context: Any, name: str, plan: pieces.Plan) -> None:
        super().__init__(context, name)
        self.plan = plan
        self.width = context.width("real")
        self.places = Handed(lambda slot: self.in_entry(f"getelementptr {context.real}, ptr {self._frame_of_reals()}, i64 {slot}"))
        self.numbers_at = Handed(lambda k: self.in_entry(f"getelementptr {context.real}, ptr {self.table}, i64 {k}"))
        self.values = Handed(self._from_frame)

    def take(self, e: Body, hand: _Hand, places: Mapping[Buffer, int]) -> None:
        """Takes scalar arguments through their table, other pointers and sizes as parameters, when they are first asked for."""
        pointer, table = hand.over("ptr", e.buffers), Handed(hand.over("ptr", {None: "%buffers"}))

        def address(buffer: Buffer) -> str:
            if buffer not in places:
                return pointer(buffer)
            return self.emit(f"load ptr, ptr {self.emit(f'getelementptr ptr, ptr {table[None]}, i64 {places[buffer]}')}")

        self.frame, self.buffers = e.frame, Handed(address)
        self.table = hand.over("ptr", {None: _table_name(e.context)})(None)
        self.registers = Handed(hand.over("ptr", e.registers))
        for size in e.sizes:
            self.sizes[size] = hand.over("i64", e.sizes)(size)

    def _number(self, number: float) -> str:
        """From a table, at a short address: as a part of an instruction it would take an address of eight bytes."""
        place = self.numbers_at[self.plan.number(constant_text(self.context, number, 1))]
        return self.emit(f"load {self.context.real}, ptr {place}, align {self.width}")

    def _place(self, slot: int) -> str:
        """An address for a call: computed there, where one in ``places`` is a part of a load or store."""
        return self.emit(f"getelementptr {self.context.real}, ptr {self._frame_of_reals()}, i64 {slot}")

    def _frame_of_reals(self) -> str:
        return self.buffers[self.frame["real"]]

    def _from_frame(self, v: Value) -> str:
        slot = self.plan.slot(v)
        if v.kind == "real" and v.lanes == 1:
            return self.emit(f"load {self.context.real}, ptr {self.places[slot]}, align {self.width}")
        text = self.read(self.address(self.frame[v.kind], (None, slot)), v.kind, v.lanes, None)
        return self.from_memory(text, v.kind, v.lanes)

    def steps(self, part: range) -> None:
        """Writes steps. Before each, what is read last leaves the registers if they are full."""
        plan, values, lines, context = self.plan, self.values, self.lines, self.context
        following, all_steps, all_reads, room = plan.next, plan.steps, plan.reads, plan.registers
        plain = {name: f"{op} {context.flags} {context.real}" for name, op in PLAIN.items()}
        for position in part:
            step, reads = all_steps[position], all_reads[position]
            if isinstance(step, Batch) or (isinstance(step, Let) and step.op in FUNCTIONS):
                self._call(step, reads)
                continue
            while len(values) > room:  # what this step reads is read first
                self._leave(max(values, key=following.__getitem__))
            if isinstance(step, Let) and step.op in plain and (new := step.value).kind == "real" and new.lanes == 1:  # nearly all are
                a, b = step.args
                if step.op in COMMUTING and b in values and a not in values:
                    a, b = b, a  # what comes second may be read from memory by the instruction itself
                a = values[a] if a.__class__ is Value else self._number(a)
                b = values[b] if b.__class__ is Value else self._number(b)
                self.counter += 1
                name = f"%v{self.counter}"
                lines.append(f"  {name} = {plain[step.op]} {a}, {b}")
                self._read(reads)
                if new in following:
                    values[new] = name
            elif isinstance(step, Let) and step.op == "neg" and (new := step.value).kind == "real" and new.lanes == 1:
                # exact, zeros and all; a change of sign takes the quick code generator three instructions
                name = self.emit(f"fmul {context.flags} {context.real} {self.ref(step.args[0])}, {self._number(-1.0)}")
                self._read(reads)
                if new in following:
                    values[new] = name
            else:
                self.statement(step)
                self._read(reads)
                if (other := made(step)) is not None and other not in following:
                    del values[other]
        self._leave_all(())

    def _read(self, reads: pieces.Reads) -> None:
        plan, values = self.plan, self.values
        for v, next_ in reads:
            if next_ == pieces.NEVER:
                plan.release(v)
                values.pop(v, None)  # an integer may have been needed for an address only
            else:
                plan.next[v] = next_

    def _call(self, step: Let | Batch, reads: pieces.Reads) -> None:
        """A call leaves nothing in registers."""
        self._leave_all(reads)
        if isinstance(step, Batch):
            self._batch(step)
            self._read(reads)
        else:
            self.statement(step)
            self._read(reads)
            if step.value not in self.plan.next:
                del self.values[step.value]
        for v, next_ in reads:
            if next_ != pieces.NEVER:
                del self.values[v]

    def _leave_all(self, reads: pieces.Reads) -> None:
        """Everything goes to the frame; what is read now stays a little longer, or ends."""
        now = dict(reads)
        for v in [v for v in self.values if self.plan.next[v] != pieces.KNOWN]:
            if v not in now:
                self._leave(v)
            elif now[v] != pieces.NEVER:
                self._store(v)

    def _leave(self, v: Value) -> None:
        self._store(v)
        del self.values[v]

    def _store(self, v: Value) -> None:
        slot = self.plan.new_slot(v)
        if slot is None:
            return
        if v.kind == "real" and v.lanes == 1:
            self.lines.append(f"  store {self.context.real} {self.values[v]}, ptr {self.places[slot]}, align {self.width}")
        else:
            self.to_frame([(v, slot)])

    def _batch(self, batch: Batch) -> None:
        """Calls a function that takes the operands one by one and leaves its results, vector by vector, in the frame."""
        context, arity = self.context, len(batch.calls[0][0].args)
        if batch.width == 1 and self._pair(batch.calls[0]):
            return
        key = ("batch", batch.op, batch.width, tuple(batch.params.items()))
        if key not in context.math:
            element = lanes_type(self, batch.calls[0][0])
            function = batch_function(context.home, batch.op, element, batch.width, arity, **batch.params)
            context.math[key] = self._named(function, "void", [*[context.real] * (batch.width * arity), "ptr"])
        calls = [call[0] for call in batch.calls]
        calls += calls[:1] * (batch.width - len(calls))
        operands = [f"{context.real} {self.ref(s.args[k])}" for k in range(arity) for s in calls]
        self.line(f"  call void {context.math[key]}({', '.join(operands)}, ptr {self._place(self.plan.land(batch))})")

    def _pair(self, calls: tuple[Let, ...]) -> bool:
        """Sine and cosine of a value with no other beside it, in a register what is read first, where there is a function for that."""
        context, real, following = self.context, self.context.real, self.plan.next
        first, second = sorted(calls, key=lambda s: following.get(s.value, pieces.NEVER))
        key = ("turn", first.op)
        if key not in context.math:
            function = turn_function(context.home, first.op, lanes_type(self, first))
            context.math[key] = "" if function is None else self._named(function, real, [real, "ptr"])
        name = context.math[key]
        if not name or second.value not in following:
            return False
        slot = self.plan.new_slot(second.value)
        assert slot is not None, "what is only made now has none"
        operand, place = self.ref(first.args[0]), self._place(slot)
        self.values[first.value] = self.emit(f"call {real} {name}({real} {operand}, ptr {place})")
        return True

    def _named(self, function: Any, result: str, parameters: list[str]) -> str:
        """A function's name, known also where the code is in another module."""
        if self.context.home is not self.context.module:
            function.linkage = ""
            self.context.declare(function.name, result, parameters)
        return quoted(function.name)
