"""The CPython entry: one native function that calls any kernel, described by a table.

``entry(self, args, nargs, kwnames)`` is a ``METH_FASTCALL | METH_KEYWORDS`` function. Its ``self`` is a
tuple that owns everything the call needs (see ``table.SELF``): the table, the engine that holds the
machine code, the method record, constants. So a kept ``f.grad`` outlives ``f``.

The table (:mod:`symgrad.run.table`) says where each argument goes. The entry takes only what needs
no conversion: floats, ints, and exact NumPy arrays of the wanted type that are aligned and C-contiguous.
Anything else, a wrong shape or number of arguments included, goes to the Python function in ``self``,
which converts or raises. An array's fields are read directly (``PyArrayObject`` is part of NumPy's ABI,
as its own macros read it): the buffer protocol
costs 0.12 µs an array (``memoryview(a)``, measured), this some nanoseconds.

The entry is compiled once with llvmlite alone, and cached: it belongs to no kernel.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from symgrad.run.cpython import Writer
from symgrad.run.table import ARRAY, CHECK_ROW, CONSTANT_ROW, INPUT_ROW, OUTPUT_ROW, RESULT_ROW, SELF, STACK_WORDS, STEP_ROW, WORD

__all__ = ["ENTRY_NAME", "emit_entry"]

ENTRY_NAME = "symgrad_entry"


def emit_entry() -> str:
    """The entry as LLVM IR."""
    from llvmlite import ir

    return str(_Emitter(ir).module)


class _Emitter(Writer):
    """Writes the entry, one method a stage of the call."""

    def __init__(self, ir: Any) -> None:
        super().__init__(ir, "symgrad_entry", ENTRY_NAME, "opwo")
        self.owner, self.args, self.count, self.keywords = self.function.args
        self.fallback, self.leave = self.function.append_basic_block("fallback"), self.function.append_basic_block("leave")
        self.answer = self.local(self.object)
        self.b.store(self.null(), self.answer)
        self.table = self.b.bitcast(self.python("PyBytes_AsString", self.object, self.owned("table")), self.word.as_pointer())
        self._workspace()
        self._arguments()
        self._inputs()
        self._sizes()
        self._outputs()
        self._call()
        self._results()
        self._exits()

    def owned(self, name: str) -> Any:
        return self.python("PyTuple_GetItem", self.object, self.owner, self.number(SELF.index(name)))

    def head(self, name: str) -> Any:
        return self.at(self.table, self.number(WORD[name]))

    def row(self, rows: str, index: Any, width: int) -> list[Any]:
        start = self.b.add(self.head(rows), self.b.mul(index, self.number(width)))
        return [self.at(self.table, self.b.add(start, self.number(k))) for k in range(width)]

    def work(self, area: str, index: Any) -> Any:
        """The address of word ``index`` of an area of the workspace."""
        return self.b.gep(self.space, [self.b.add(self.head(area), index)])

    def leave_now(self) -> None:
        self.b.branch(self.leave)
        self.b.position_at_end(self.b.append_basic_block("unreached"))

    def give_up_unless(self, condition: Any) -> None:
        """To the fallback where the condition does not hold."""
        go_on = self.b.append_basic_block()
        self.b.cbranch(condition, go_on, self.fallback)
        self.b.position_at_end(go_on)

    # stages
    def _workspace(self) -> None:
        words = self.head("workspace")
        large = self.b.icmp_signed(">", words, self.number(STACK_WORDS))
        self.heap = self.local(self.object)
        self.b.store(self.null(), self.heap)
        with self.b.if_else(large) as (heap, stack):
            with heap:
                block = self.python("PyMem_RawMalloc", self.object, self.b.mul(words, self.number(8)))
                self.b.store(block, self.heap)
                on_heap, heap_end = self.b.bitcast(block, self.word.as_pointer()), self.b.block
            with stack:
                on_stack, stack_end = self.b.alloca(self.word, words), self.b.block
        self.space = self.b.phi(self.word.as_pointer())
        self.space.add_incoming(on_heap, heap_end)
        self.space.add_incoming(on_stack, stack_end)
        with self.b.if_then(self.b.icmp_unsigned("==", self.space, self.ir.Constant(self.word.as_pointer(), None)), likely=False):
            self.b.store(self.python("PyErr_NoMemory", self.object), self.answer)
            self.leave_now()

    def _arguments(self) -> None:
        """Puts the arguments in order, keywords included; whatever does not fit exactly is the fallback's."""
        b, wanted = self.b, self.head("inputs")
        keyworded = b.icmp_unsigned("!=", self.keywords, self.null())
        named = self.local(self.word)
        b.store(self.number(0), named)
        with b.if_then(keyworded):
            b.store(self.python("PyTuple_Size", self.word, self.keywords), named)
        extra = b.load(named)
        self.give_up_unless(b.icmp_signed("==", b.add(self.count, extra), wanted))
        with self.loop(wanted) as i:
            b.store(self.number(0), self.work("at_arguments", i))
        with self.loop(self.count) as i:
            b.store(self.address(self.at(self.args, i)), self.work("at_arguments", i))
        with b.if_then(b.icmp_signed(">", extra, self.number(0))):
            names = self.owned("names")
            with self.loop(extra) as j:
                keyword = self.python("PyTuple_GetItem", self.object, self.keywords, j)
                place = self.local(self.word)
                b.store(b.add(self.count, j), place)  # most often they are in order
                expected = self.python("PyTuple_GetItem", self.object, names, b.load(place))
                with b.if_then(b.not_(self._same_text(keyword, expected))):
                    b.store(self.number(-1), place)
                    with self.loop(wanted, self.count) as i:
                        name = self.python("PyTuple_GetItem", self.object, names, i)
                        b.store(b.select(self._same_text(keyword, name), i, b.load(place)), place)
                    self.give_up_unless(b.icmp_signed(">=", b.load(place), self.number(0)))
                cell = self.work("at_arguments", b.load(place))
                b.store(self.address(self.at(self.args, b.add(self.count, j))), cell)
        # As many arguments as inputs, each keyword known and (Python sees to it) different: every place is filled.

    def _same_text(self, left: Any, right: Any) -> Any:
        return self.b.icmp_signed("==", self.python("PyUnicode_Compare", self.int, left, right), self.number(0, 32))

    def _inputs(self) -> None:
        """Reads every argument into a cell, or checks that it is an array that the kernel can use in place."""
        b = self.b
        with self.loop(self.head("sizes")) as i:
            b.store(self.at(self.table, b.add(self.head("size_template"), i)), self.work("at_sizes", i))
        self.elements = self.local(self.word)
        b.store(self.number(0), self.elements)
        with self.loop(self.head("inputs")) as i:
            kind, buffer, dtype, ndim, axes = self.row("input_rows", i, INPUT_ROW)
            obj = self.pointer(b.load(self.work("at_arguments", i)))
            cell, place = self.work("at_cells", i), self.local(self.word)
            b.store(self.address(cell), place)

            def real64(obj: Any = obj, cell: Any = cell) -> None:
                b.store(self._real(obj), b.bitcast(cell, self.real.as_pointer()))

            def real32(obj: Any = obj, cell: Any = cell) -> None:
                single = self.ir.FloatType()
                b.store(b.fptrunc(self._real(obj), single), b.bitcast(cell, single.as_pointer()))

            def integer(obj: Any = obj, cell: Any = cell) -> None:
                self.give_up_unless(b.icmp_unsigned("==", self._type(obj), self.head("int_type")))
                b.store(self._integer(obj), cell)

            def boolean() -> None:
                self.give_up_unless(self.number(0, 1))

            def array(obj: Any = obj, dtype: Any = dtype, ndim: Any = ndim, axes: Any = axes, place: Any = place) -> None:
                self._array(obj, dtype, ndim, axes, place)

            self.cases(kind, real64, real32, integer, boolean, array)
            with b.if_then(b.icmp_signed(">=", buffer, self.number(0))):
                b.store(b.load(place), self.work("at_buffers", buffer))

    def _type(self, obj: Any) -> Any:
        return self.field(obj, object.__basicsize__ - 8, self.word)

    def _real(self, obj: Any) -> Any:
        """A float, NumPy's float64, or an int that is exact as one."""
        b, result, kind = self.b, self.local(self.real), self._type(obj)
        is_float = b.or_(b.icmp_unsigned("==", kind, self.head("float_type")), b.icmp_unsigned("==", kind, self.head("float64_type")))
        with b.if_else(is_float, likely=True) as (then, otherwise):
            with then:
                b.store(self.python("PyFloat_AsDouble", self.real, obj), result)
            with otherwise:
                self.give_up_unless(b.icmp_unsigned("==", kind, self.head("int_type")))
                whole = self._integer(obj)
                self.give_up_unless(b.icmp_unsigned("<=", b.add(whole, self.number(2**53)), self.number(2**54)))
                b.store(b.sitofp(whole, self.real), result)
        return b.load(result)

    def _integer(self, obj: Any) -> Any:
        overflow = self.local(self.int)
        value = self.python("PyLong_AsLongLongAndOverflow", self.word, obj, overflow)
        self.give_up_unless(self.b.icmp_signed("==", self.b.load(overflow), self.number(0, 32)))
        return value

    def _array(self, obj: Any, dtype: Any, ndim: Any, axes: Any, place: Any) -> None:
        b, head = self.b, object.__basicsize__  # PyArrayObject: data, nd, dimensions, strides, base, descr, flags
        self.give_up_unless(b.icmp_unsigned("==", self._type(obj), self.head("array_type")))
        self.give_up_unless(b.icmp_unsigned("==", self.field(obj, head + 40, self.word), dtype))
        self.give_up_unless(b.icmp_signed("==", b.sext(self.field(obj, head + 8, self.int), self.word), ndim))
        usable = self.number(0x0001 | 0x0100, 32)  # C_CONTIGUOUS, ALIGNED; the dtype object is the native one
        self.give_up_unless(b.icmp_signed("==", b.and_(self.field(obj, head + 48, self.int), usable), usable))
        sizes = self.field(obj, head + 16, self.word.as_pointer())
        elements = self.local(self.word)
        b.store(self.number(1), elements)
        with self.loop(ndim) as axis:
            slot = self.work("at_sizes", self.at(self.table, b.add(axes, axis)))
            size, known = self.at(sizes, axis), b.load(slot)
            self.give_up_unless(b.or_(b.icmp_signed("==", known, self.number(-1)), b.icmp_signed("==", known, size)))
            b.store(size, slot)
            b.store(b.mul(b.load(elements), size), elements)
        b.store(b.add(b.load(self.elements), b.load(elements)), self.elements)
        b.store(self.address(self.field(obj, head, self.object)), place)

    def _sizes(self) -> None:
        """Computes the sizes that follow from others, and checks what shapes left open."""
        b = self.b
        with self.loop(self.head("steps")) as i:
            operation, target, left, right = self.row("step_rows", i, STEP_ROW)
            x, y = (b.load(self.work("at_sizes", k)) for k in (left, right))
            cell = self.work("at_sizes", target)

            def quotient(x: Any = x, y: Any = y, cell: Any = cell) -> None:
                self.give_up_unless(b.icmp_signed(">", y, self.number(0)))
                q, r = b.sdiv(x, y), b.srem(x, y)
                b.store(b.sub(q, b.zext(b.icmp_signed("<", r, self.number(0)), self.word)), cell)  # rounds down

            self.cases(
                operation,
                lambda x=x, y=y, cell=cell: b.store(b.add(x, y), cell),  # type: ignore[misc]
                lambda x=x, y=y, cell=cell: b.store(b.sub(x, y), cell),  # type: ignore[misc]
                lambda x=x, y=y, cell=cell: b.store(b.mul(x, y), cell),  # type: ignore[misc]
                quotient,
            )
        with self.loop(self.head("checks")) as i:
            relation, left, right = self.row("check_rows", i, CHECK_ROW)
            x, y = (b.load(self.work("at_sizes", k)) for k in (left, right))
            equal = b.icmp_signed("==", relation, self.number(0))
            self.give_up_unless(b.select(equal, b.icmp_signed("==", x, y), b.icmp_signed(">=", x, y)))

    def _outputs(self) -> None:
        """Finds a place for every output; arrays are new ones."""
        b = self.b
        with self.loop(self.head("constants")) as i:
            buffer, address = self.row("constant_rows", i, CONSTANT_ROW)
            b.store(address, self.work("at_buffers", buffer))
        with self.loop(self.head("outputs")) as i:  # a size that is none is refused before anything is allocated
            _, _, _, ndim, axes = self.row("output_rows", i, OUTPUT_ROW)
            with self.loop(ndim) as axis:
                size = b.load(self.work("at_sizes", self.at(self.table, b.add(axes, axis))))
                self.give_up_unless(b.icmp_signed(">=", size, self.number(0)))
            b.store(self.number(0), self.work("at_outputs", i))
        with self.loop(self.head("outputs")) as i:
            kind, buffer, dtype, ndim, axes = self.row("output_rows", i, OUTPUT_ROW)
            place = self.local(self.word)
            b.store(self.address(self.work("at_cells", b.add(self.head("inputs"), i))), place)
            with b.if_then(b.icmp_signed("==", kind, self.number(ARRAY))):
                elements = self.local(self.word)
                b.store(self.number(1), elements)
                with self.loop(ndim) as axis:
                    size = b.load(self.work("at_sizes", self.at(self.table, b.add(axes, axis))))
                    b.store(size, self.work("at_dims", axis))
                    b.store(b.mul(b.load(elements), size), elements)
                b.store(b.add(b.load(self.elements), b.load(elements)), self.elements)
                self.python("Py_IncRef", self.ir.VoidType(), self.pointer(dtype))  # PyArray_Empty takes one
                kinds = [self.int, self.word.as_pointer(), self.object, self.int]
                empty = b.inttoptr(self.head("new_array"), self.ir.FunctionType(self.object, kinds).as_pointer())
                shape = self.work("at_dims", self.number(0))
                array = b.call(empty, [b.trunc(ndim, self.int), shape, self.pointer(dtype), self.number(0, 32)])
                with b.if_then(b.icmp_unsigned("==", array, self.null()), likely=False):
                    self._drop_outputs()
                    self.leave_now()
                b.store(self.address(array), self.work("at_outputs", i))
                b.store(self.address(self.field(array, object.__basicsize__, self.object)), place)
            b.store(b.load(place), self.work("at_buffers", buffer))

    def _drop_outputs(self) -> None:
        with self.loop(self.head("outputs")) as i:
            self.python("Py_DecRef", self.ir.VoidType(), self.pointer(self.b.load(self.work("at_outputs", i))))  # takes NULL too

    def _call(self) -> None:
        b = self.b
        buffers = b.bitcast(self.work("at_buffers", self.number(0)), self.object.as_pointer())
        kind = self.ir.FunctionType(self.int, [self.object.as_pointer(), self.word.as_pointer()])
        kernel = b.inttoptr(self.head("kernel"), kind.as_pointer())
        release = self.head("release")
        long = b.and_(b.icmp_signed(">=", release, self.number(0)), b.icmp_signed(">=", b.load(self.elements), release))
        state = self.local(self.object)
        b.store(self.null(), state)
        with b.if_then(long):
            b.store(self.python("PyEval_SaveThread", self.object), state)
        code = b.call(kernel, [buffers, self.work("at_sizes", self.number(0))])
        with b.if_then(long):
            self.python("PyEval_RestoreThread", self.ir.VoidType(), b.load(state))
        with b.if_then(b.icmp_signed("!=", code, self.number(0, 32)), likely=False):
            self._drop_outputs()
            number = self.python("PyLong_FromLongLong", self.object, b.sext(code, self.word))
            failed = self.local(self.object)
            b.store(number, failed)
            b.store(self.python("PyObject_Vectorcall", self.object, self.owned("failed"), failed, self.number(1), self.null()), self.answer)
            self.python("Py_DecRef", self.ir.VoidType(), number)
            self.leave_now()

    def _results(self) -> None:
        """Runs the postfix code on a stack of objects; the last one is the answer."""
        b, depth = self.b, self.local(self.word)
        b.store(self.number(0), depth)

        def push(obj: Any) -> None:
            top = b.load(depth)
            b.store(self.address(obj), self.work("at_stack", top))
            b.store(b.add(top, self.number(1)), depth)

        def items(count: Any) -> Any:
            b.store(b.sub(b.load(depth), count), depth)
            return b.load(depth)

        with self.loop(self.head("results")) as i:
            what, first, second = self.row("result_rows", i, RESULT_ROW)

            def leaf(first: Any = first) -> None:
                push(self._leaf(first))

            def sequence(name: str, count: Any) -> Callable[[], None]:
                def write() -> None:
                    start, whole = items(count), self.python(f"Py{name}_New", self.object, count)
                    with self.loop(count) as k:
                        part = self.pointer(b.load(self.work("at_stack", b.add(start, k))))
                        self.python(f"Py{name}_SetItem", self.int, whole, k, part)  # takes the reference
                    push(whole)

                return write

            def mapping(count: Any = first, keys: Any = second) -> None:
                start, whole = items(count), self.python("PyDict_New", self.object)
                names = self.owned("keys")
                with self.loop(count) as k:
                    part = self.pointer(b.load(self.work("at_stack", b.add(start, k))))
                    key = self.python("PyTuple_GetItem", self.object, names, b.add(keys, k))
                    self.python("PyDict_SetItem", self.int, whole, key, part)
                    self.python("Py_DecRef", self.ir.VoidType(), part)
                push(whole)

            self.cases(what, leaf, sequence("Tuple", first), sequence("List", first), mapping)
        b.store(self.pointer(b.load(self.work("at_stack", self.number(0)))), self.answer)
        b.branch(self.leave)

    def _leaf(self, output: Any) -> Any:
        """A Python float, int or bool, or the array."""
        b, result = self.b, self.local(self.object)
        kind, *_ = self.row("output_rows", output, OUTPUT_ROW)
        cell = self.work("at_cells", b.add(self.head("inputs"), output))
        single = self.ir.FloatType()

        def real(value: Any) -> None:
            b.store(self.python("PyFloat_FromDouble", self.object, value), result)

        self.cases(
            kind,
            lambda: real(b.load(b.bitcast(cell, self.real.as_pointer()))),
            lambda: real(b.fpext(b.load(b.bitcast(cell, single.as_pointer())), self.real)),
            lambda: b.store(self.python("PyLong_FromLongLong", self.object, b.load(cell)), result),
            lambda: b.store(self.python("PyBool_FromLong", self.object, b.zext(b.load(b.bitcast(cell, self.object)), self.word)), result),
            lambda: b.store(self.pointer(b.load(self.work("at_outputs", output))), result),
        )
        return b.load(result)

    def _exits(self) -> None:
        b = self.b
        b.position_at_end(self.fallback)
        b.store(self.python("PyObject_Vectorcall", self.object, self.owned("fallback"), self.args, self.count, self.keywords), self.answer)
        b.branch(self.leave)
        b.position_at_end(self.leave)
        with b.if_then(b.icmp_unsigned("!=", b.load(self.heap), self.null()), likely=False):
            self.python("PyMem_RawFree", self.ir.VoidType(), b.load(self.heap))
        b.ret(b.load(self.answer))
