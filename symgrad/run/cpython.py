"""Writing calls of CPython's C API with an IRBuilder: the small pieces that the entry is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["Writer"]


class Writer:
    """An IRBuilder ``b`` in a function of objects and words, with C's structs, loops and cases."""

    def __init__(self, ir: Any, module: str, function: str, arguments: str) -> None:
        """``arguments``: one letter each, an object "o", the address of objects "p", or a word "w"."""
        self.ir = ir
        self.word, self.int, self.byte, self.real = ir.IntType(64), ir.IntType(32), ir.IntType(8), ir.DoubleType()
        self.object = self.byte.as_pointer()
        self.module = ir.Module(module)
        types = {"o": self.object, "p": self.object.as_pointer(), "w": self.word}
        self.function = ir.Function(self.module, ir.FunctionType(self.object, [types[a] for a in arguments]), function)
        self.b = ir.IRBuilder(self.function.append_basic_block("entry"))

    def number(self, value: int, bits: int = 64) -> Any:
        return self.ir.Constant(self.ir.IntType(bits), value)

    def null(self) -> Any:
        return self.ir.Constant(self.object, None)

    def python(self, name: str, result: Any, *args: Any) -> Any:
        """Calls a function of CPython's C API."""
        known = self.module.globals.get(name)
        if known is None:
            known = self.ir.Function(self.module, self.ir.FunctionType(result, [a.type for a in args]), name)
        return self.b.call(known, args)

    def at(self, base: Any, *offset: Any) -> Any:
        """The word at ``base[offset]``."""
        return self.b.load(self.b.gep(base, list(offset)))

    def field(self, obj: Any, offset: int, kind: Any) -> Any:
        """A C struct's field."""
        return self.b.load(self.b.bitcast(self.b.gep(obj, [self.number(offset)]), kind.as_pointer()))

    def item(self, items: Any, index: Any) -> Any:
        """An item of a tuple that is known to be there, borrowed: they stand at its end."""
        start = self.b.gep(items, [self.number(tuple.__basicsize__)])
        return self.at(self.b.bitcast(start, self.object.as_pointer()), index)

    def pointer(self, word: Any) -> Any:
        return self.b.inttoptr(word, self.object)

    def address(self, pointer: Any) -> Any:
        return self.b.ptrtoint(pointer, self.word)

    def local(self, kind: Any) -> Any:
        """A local variable, made at the function's start: in a loop it would take more stack every time round."""
        with self.b.goto_entry_block():
            return self.b.alloca(kind)

    @contextmanager
    def loop(self, count: Any, start: Any = None) -> Iterator[Any]:
        before = self.b.block
        head, body, after = (self.b.append_basic_block(n) for n in ("head", "body", "after"))
        self.b.branch(head)
        self.b.position_at_end(head)
        index = self.b.phi(self.word)
        index.add_incoming(self.number(0) if start is None else start, before)
        self.b.cbranch(self.b.icmp_signed("<", index, count), body, after)
        self.b.position_at_end(body)
        yield index
        index.add_incoming(self.b.add(index, self.number(1)), self.b.block)
        self.b.branch(head)
        self.b.position_at_end(after)

    def cases(self, selector: Any, *bodies: Callable[[], None]) -> None:
        """``bodies[selector]()``; the last one also for anything larger."""
        blocks = [self.b.append_basic_block("case") for _ in bodies]
        after = self.b.append_basic_block("after")
        switch = self.b.switch(selector, blocks[-1])
        for k, (block, body) in enumerate(zip(blocks, bodies)):
            if k < len(blocks) - 1:
                switch.add_case(self.number(k), block)
            self.b.position_at_end(block)
            body()
            if not self.b.block.is_terminated:
                self.b.branch(after)
        self.b.position_at_end(after)
