"""The CPython entry: one native function that calls any kernel, described by a table.

``entry(self, args, nargs, kwnames)`` is a ``METH_FASTCALL | METH_KEYWORDS`` function. Its ``self`` is a list of one
tuple that owns everything the call needs (see ``table.SELF``): the table, the engine that holds the
machine code, the method record, constants. So a kept ``f.grad`` outlives ``f``; and one that was kept before it was compiled
is as quick as any, since another tuple can take the place of the first. A call holds the tuple that it began with.

The table (:mod:`symgrad.run.table`) says where each argument goes. The entry takes only what needs
no conversion: floats, ints, and exact NumPy arrays of the wanted type that are aligned and C-contiguous; for
``out=`` arrays like that, writable, which share no memory with an input or each other.
Anything else, a wrong shape or number of arguments included, goes to the Python function in ``self``,
which converts or raises. An array's fields are read directly (``PyArrayObject`` is part of NumPy's ABI,
as its own macros read it): the buffer protocol
costs 0.12 µs an array (``memoryview(a)``, measured), this some nanoseconds.

The entry is compiled once with llvmlite alone, and cached: it belongs to no kernel.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from symgrad.run import table as layout
from symgrad.run.cpython import Writer
from symgrad.run.results import LARGE
from symgrad.run.table import ARRAY, RESULTS, SELF, STACK_WORDS, WORD

__all__ = ["ENTRY_NAME", "emit_entry"]

ENTRY_NAME = "symgrad_entry"
HEAD = object.__basicsize__  # PyArrayObject after PyObject: data, nd, dimensions, strides, base, descr, flags
USABLE, WRITABLE = 0x0001 | 0x0100, 0x0001 | 0x0100 | 0x0400  # C_CONTIGUOUS, ALIGNED, WRITEABLE


def emit_entry() -> str:
    """The entry as LLVM IR."""
    from llvmlite import ir

    return str(_Emitter(ir).module)


class _Emitter(Writer):
    """Writes the entry, one method a stage of the call."""

    def __init__(self, ir: Any) -> None:
        super().__init__(ir, "symgrad_entry", ENTRY_NAME, "opwo")
        holder, self.args, self.count, self.keywords = self.function.args
        self.owner = self.python("PyList_GetItem", self.object, holder, self.number(0))
        self.python("Py_IncRef", ir.VoidType(), self.owner)
        self.fallback, self.leave = self.function.append_basic_block("fallback"), self.function.append_basic_block("leave")
        self.answer = self.local(self.object)
        self.b.store(self.null(), self.answer)
        self.table = self.b.bitcast(self.python("PyBytes_AsString", self.object, self.owned("table")), self.word.as_pointer())
        self._workspace()
        self._arguments()
        self._inputs()
        self._sizes()
        self._targets()
        self._outputs()
        self._call()
        self._results()
        self._exits()

    def owned(self, name: str) -> Any:
        return self.item(self.owner, self.number(SELF.index(name)))

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
        surplus = b.sub(b.add(self.count, extra), wanted)  # 1: with `out`
        self.give_up_unless(b.and_(b.icmp_unsigned("<=", surplus, self.number(1)), b.icmp_signed("<=", self.count, wanted)))
        places = b.add(wanted, self.number(1))  # the last one is that of `out`
        with self.loop(places) as i:
            b.store(self.number(0), self.work("at_arguments", i))
        with self.loop(self.count) as i:
            b.store(self.address(self.at(self.args, i)), self.work("at_arguments", i))
        with b.if_then(b.icmp_signed(">", extra, self.number(0))):
            names = self.owned("names")
            with self.loop(extra) as j:
                place = self._place(self.item(self.keywords, j), names, b.add(self.count, j), places)
                self.give_up_unless(b.icmp_signed(">=", place, self.number(0)))
                b.store(self.address(self.at(self.args, b.add(self.count, j))), self.work("at_arguments", place))
        self.out = b.load(self.work("at_arguments", wanted))
        given = b.icmp_signed("!=", self.out, self.number(0))
        self.give_up_unless(b.icmp_signed("==", surplus, b.zext(given, self.word)))
        # As many arguments as inputs, each keyword known and (Python sees to it) different: every place is filled.

    def _place(self, keyword: Any, names: Any, likely: Any, end: Any) -> Any:
        """Which of the names a keyword is, negative for none: most often that at ``likely``, and almost always the same object as its
        name, since Python interns the keywords of a call; texts are compared where no object is the same."""
        b, place = self.b, self.local(self.word)
        b.store(likely, place)
        with b.if_then(b.icmp_unsigned("!=", keyword, self.item(names, likely))):
            b.store(self.number(-1), place)
            for same in (self._same_object, self._same_text):
                with b.if_then(b.icmp_signed("<", b.load(place), self.number(0))), self.loop(end, self.count) as i:
                    b.store(b.select(same(keyword, self.item(names, i)), i, b.load(place)), place)
        return b.load(place)

    def _same_object(self, left: Any, right: Any) -> Any:
        return self.b.icmp_unsigned("==", left, right)

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
            kind, buffer, dtype, _, ndim, axes = self.row("input_rows", i, layout.INPUT_ROW)
            obj = self.pointer(b.load(self.work("at_arguments", i)))
            cell, place = self.work("at_cells", i), self.local(self.word)
            b.store(self.address(cell), place)

            def real64(obj: Any = obj, cell: Any = cell) -> None:
                b.store(self._real(obj), b.bitcast(cell, self.real.as_pointer()))

            def real32(obj: Any = obj, cell: Any = cell) -> None:
                single = self.ir.FloatType()
                b.store(b.fptrunc(self._real(obj), single), b.bitcast(cell, single.as_pointer()))

            def integer(obj: Any = obj, cell: Any = cell) -> None:
                self.give_up_unless(self._is(obj, "int_type", "int64_type"))
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

    def _is(self, obj: Any, *types: str) -> Any:
        """Whether the object is of exactly one of the types."""
        kind = self._type(obj)
        found = self.b.icmp_unsigned("==", kind, self.head(types[0]))
        for other in types[1:]:
            found = self.b.or_(found, self.b.icmp_unsigned("==", kind, self.head(other)))
        return found

    def _real(self, obj: Any) -> Any:
        """A float, one of NumPy's, an int that is exact as one, or a 0-dimensional array."""
        b, result = self.b, self.local(self.real)
        with b.if_else(self._is(obj, "float_type", "float64_type", "float32_type"), likely=True) as (then, otherwise):
            with then:
                b.store(self.python("PyFloat_AsDouble", self.real, obj), result)
            with otherwise, b.if_else(self._is(obj, "array_type")) as (array, number):
                with array:
                    self._native(obj, self.head("float64_dtype"), self.number(0), USABLE)
                    b.store(b.load(b.bitcast(self.field(obj, HEAD, self.object), self.real.as_pointer())), result)
                with number:
                    self.give_up_unless(self._is(obj, "int_type", "int64_type"))
                    whole = self._integer(obj)
                    self.give_up_unless(b.icmp_unsigned("<=", b.add(whole, self.number(2**53)), self.number(2**54)))
                    b.store(b.sitofp(whole, self.real), result)
        return b.load(result)

    def _integer(self, obj: Any) -> Any:
        overflow = self.local(self.int)
        value = self.python("PyLong_AsLongLongAndOverflow", self.word, obj, overflow)
        self.give_up_unless(self.b.icmp_signed("==", self.b.load(overflow), self.number(0, 32)))
        return value

    def _native(self, obj: Any, dtype: Any, ndim: Any, flags: int) -> None:
        """Gives up unless the object is an array of that type (the one native descriptor), dimensions and flags."""
        b = self.b
        self.give_up_unless(self._is(obj, "array_type"))
        self.give_up_unless(b.icmp_unsigned("==", self.field(obj, HEAD + 40, self.word), dtype))
        self.give_up_unless(b.icmp_signed("==", b.sext(self.field(obj, HEAD + 8, self.int), self.word), ndim))
        wanted = self.number(flags, 32)
        self.give_up_unless(b.icmp_signed("==", b.and_(self.field(obj, HEAD + 48, self.int), wanted), wanted))

    def _array(self, obj: Any, dtype: Any, ndim: Any, axes: Any, place: Any) -> None:
        b = self.b
        self._native(obj, dtype, ndim, USABLE)
        sizes = self.field(obj, HEAD + 16, self.word.as_pointer())
        elements = self.local(self.word)
        b.store(self.number(1), elements)
        with self.loop(ndim) as axis:
            slot = self.work("at_sizes", self.at(self.table, b.add(axes, axis)))
            size, known = self.at(sizes, axis), b.load(slot)
            self.give_up_unless(b.or_(b.icmp_signed("==", known, self.number(-1)), b.icmp_signed("==", known, size)))
            b.store(size, slot)
            b.store(b.mul(b.load(elements), size), elements)
        b.store(b.add(b.load(self.elements), b.load(elements)), self.elements)
        b.store(self.address(self.field(obj, HEAD, self.object)), place)

    def _sizes(self) -> None:
        """Computes the sizes that follow from others, and checks what shapes left open."""
        b = self.b
        with self.loop(self.head("steps")) as i:
            operation, target, left, right = self.row("step_rows", i, layout.STEP_ROW)
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
            relation, left, right = self.row("check_rows", i, layout.CHECK_ROW)
            x, y = (b.load(self.work("at_sizes", k)) for k in (left, right))
            equal = b.icmp_signed("==", relation, self.number(0))
            self.give_up_unless(b.select(equal, b.icmp_signed("==", x, y), b.icmp_signed(">=", x, y)))
        with self.loop(self.head("outputs")) as i:  # a size that is none is refused before anything is allocated
            _, _, _, _, ndim, axes = self.row("output_rows", i, layout.OUTPUT_ROW)
            with self.loop(ndim) as axis:
                size = b.load(self.work("at_sizes", self.at(self.table, b.add(axes, axis))))
                self.give_up_unless(b.icmp_signed(">=", size, self.number(0)))

    def _targets(self) -> None:
        """Takes `out` apart, if there is one: every array in it is looked at before any is held or written to."""
        b = self.b
        with self.loop(self.head("outputs")) as i:
            b.store(self.number(0), self.work("at_outputs", i))
        with b.if_then(b.icmp_signed("!=", self.out, self.number(0)), likely=False):
            with self.loop(self.head("targets")) as i:
                how, parent, where, kind, amount = self.row("target_rows", i, layout.TARGET_ROW)
                part = self._part(how, parent, where)
                b.store(self.address(part), self.work("at_targets", i))
                with b.if_else(b.icmp_signed("==", kind, self.number(RESULTS["leaf"]))) as (leaf, nest):
                    with leaf:
                        with b.if_then(b.icmp_unsigned("!=", self.address(part), self.head("none"))):
                            self._target(part, amount)
                    with nest:
                        self._expect_nest(part, kind, amount)
            self._expect_apart()
            with self.loop(self.head("outputs")) as i:
                self.python("Py_IncRef", self.ir.VoidType(), self.pointer(b.load(self.work("at_outputs", i))))  # takes NULL too

    def _part(self, how: Any, parent: Any, where: Any) -> Any:
        """An item of a nest, borrowed; its kind and its number of items have been looked at."""
        b, part = self.b, self.local(self.object)
        whole = b.select(b.icmp_signed("==", how, self.number(0)), self.out, b.load(self.work("at_targets", parent)))
        nest = self.pointer(whole)

        def item(name: str) -> Callable[[], None]:
            return lambda: b.store(self.python(f"Py{name}_GetItem", self.object, nest, where), part)

        def entry() -> None:
            key = self.item(self.owned("keys"), where)
            b.store(self.python("PyDict_GetItem", self.object, nest, key), part)

        self.cases(how, lambda: b.store(nest, part), item("Tuple"), item("List"), entry)
        self.give_up_unless(b.icmp_unsigned("!=", b.load(part), self.null()))
        return b.load(part)

    def _expect_nest(self, obj: Any, kind: Any, count: Any) -> None:
        b = self.b

        def expect(name: str) -> Callable[[], None]:
            def check() -> None:
                self.give_up_unless(self._is(obj, f"{name.lower()}_type"))
                self.give_up_unless(b.icmp_signed("==", self.python(f"Py{name}_Size", self.word, obj), count))

            return check

        self.cases(b.sub(kind, self.number(1)), expect("Tuple"), expect("List"), expect("Dict"))

    def _target(self, obj: Any, output: Any) -> None:
        """An array that an output may be written to: of its type and shape."""
        b = self.b
        kind, _, dtype, _, ndim, axes = self.row("output_rows", output, layout.OUTPUT_ROW)
        self.give_up_unless(b.icmp_signed("==", kind, self.number(ARRAY)))
        self._native(obj, dtype, ndim, WRITABLE)
        sizes = self.field(obj, HEAD + 16, self.word.as_pointer())
        with self.loop(ndim) as axis:
            size = b.load(self.work("at_sizes", self.at(self.table, b.add(axes, axis))))
            self.give_up_unless(b.icmp_signed("==", self.at(sizes, axis), size))
        b.store(self.address(obj), self.work("at_outputs", output))

    def _expect_apart(self) -> None:
        """Gives up where a target's memory overlaps that of an input or of another target."""
        b, inputs = self.b, self.head("inputs")
        self._extents("input_rows", inputs, "at_arguments", self.number(0))
        self._extents("output_rows", self.head("outputs"), "at_outputs", inputs)
        with self.loop(b.add(inputs, self.head("outputs")), inputs) as j, self.loop(j) as i:
            (start, end), (first, last) = (
                [b.load(self.work("at_extents", b.add(b.mul(k, self.number(2)), self.number(side)))) for side in (0, 1)] for k in (i, j)
            )
            self.give_up_unless(b.or_(b.icmp_unsigned("<=", end, first), b.icmp_unsigned("<=", last, start)))

    def _extents(self, rows: str, count: Any, objects: str, base: Any) -> None:
        """Stores where the memory of every array begins and ends; 0, 0 for a number, or where there is none."""
        b = self.b
        with self.loop(count) as i:
            kind, _, _, itemsize, ndim, _ = self.row(rows, i, layout.INPUT_ROW)
            obj = self.pointer(b.load(self.work(objects, i)))
            begin, end = (self.work("at_extents", b.add(b.mul(b.add(base, i), self.number(2)), self.number(side))) for side in (0, 1))
            b.store(self.number(0), begin)
            b.store(self.number(0), end)
            with b.if_then(b.and_(b.icmp_signed("==", kind, self.number(ARRAY)), b.icmp_unsigned("!=", obj, self.null()))):
                start = self.address(self.field(obj, HEAD, self.object))
                b.store(start, begin)
                b.store(itemsize, end)
                sizes = self.field(obj, HEAD + 16, self.word.as_pointer())
                with self.loop(ndim) as axis:
                    b.store(b.mul(b.load(end), self.at(sizes, axis)), end)
                b.store(b.add(start, b.load(end)), end)

    def _outputs(self) -> None:
        """Finds a place for every output; arrays are new ones where `out` has none."""
        b = self.b
        with self.loop(self.head("constants")) as i:
            buffer, address = self.row("constant_rows", i, layout.CONSTANT_ROW)
            b.store(address, self.work("at_buffers", buffer))
        with self.loop(self.head("outputs")) as i:
            kind, buffer, dtype, itemsize, ndim, axes = self.row("output_rows", i, layout.OUTPUT_ROW)
            place, held = self.local(self.word), self.work("at_outputs", i)
            b.store(self.address(self.work("at_cells", b.add(self.head("inputs"), i))), place)
            with b.if_then(b.icmp_signed("==", kind, self.number(ARRAY))):
                elements = self._dimensions(ndim, axes)
                with b.if_then(b.icmp_signed("==", b.load(held), self.number(0)), likely=True):
                    b.store(self.address(self._new_array(dtype, ndim, b.mul(elements, itemsize))), held)
                data = self.field(self.pointer(b.load(held)), HEAD, self.object)
                b.store(self.address(data), place)
            b.store(b.load(place), self.work("at_buffers", buffer))

    def _dimensions(self, ndim: Any, axes: Any) -> Any:
        """Writes down an output's shape and counts its elements: their number."""
        b, elements = self.b, self.local(self.word)
        b.store(self.number(1), elements)
        with self.loop(ndim) as axis:
            size = b.load(self.work("at_sizes", self.at(self.table, b.add(axes, axis))))
            b.store(size, self.work("at_dims", axis))
            b.store(b.mul(b.load(elements), size), elements)
        b.store(b.add(b.load(self.elements), b.load(elements)), self.elements)
        return b.load(elements)

    def _new_array(self, dtype: Any, ndim: Any, size: Any) -> Any:
        """An array of so many bytes, its shape the one that was written down."""
        b, array = self.b, self.local(self.object)
        with b.if_else(b.icmp_signed("<", size, self.number(LARGE)), likely=True) as (small, large):
            with small:
                b.store(self._empty(dtype, ndim), array)
            with large:
                b.store(self._large_array(dtype, ndim), array)
        with b.if_then(b.icmp_unsigned("==", b.load(array), self.null()), likely=False):
            self._drop_outputs()
            self.leave_now()
        return b.load(array)

    def _empty(self, dtype: Any, ndim: Any) -> Any:
        b = self.b
        self.python("Py_IncRef", self.ir.VoidType(), self.pointer(dtype))  # PyArray_Empty takes one
        kinds = [self.int, self.word.as_pointer(), self.object, self.int]
        empty = b.inttoptr(self.head("new_array"), self.ir.FunctionType(self.object, kinds).as_pointer())
        return b.call(empty, [b.trunc(ndim, self.int), self.work("at_dims", self.number(0)), self.pointer(dtype), self.number(0, 32)])

    def _large_array(self, dtype: Any, ndim: Any) -> Any:
        """Calls the Python function that has memory for such (:func:`symgrad.run.results.large_array`)."""
        b, array = self.b, self.local(self.object)
        b.store(self.null(), array)
        shape = self.python("PyTuple_New", self.object, ndim)
        with b.if_then(b.icmp_unsigned("!=", shape, self.null()), likely=True):
            with self.loop(ndim) as axis:
                size = self.python("PyLong_FromLongLong", self.object, b.load(self.work("at_dims", axis)))
                self.python("PyTuple_SetItem", self.int, shape, axis, size)  # takes the reference
            arguments = self.local(self.ir.ArrayType(self.object, 2))
            first = b.bitcast(arguments, self.object.as_pointer())
            b.store(shape, first)
            b.store(self.pointer(dtype), b.gep(first, [self.number(1)]))
            found = self.python("PyObject_Vectorcall", self.object, self.owned("large_array"), first, self.number(2), self.null())
            b.store(found, array)
            self.python("Py_DecRef", self.ir.VoidType(), shape)
        return b.load(array)

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
            what, first, second = self.row("result_rows", i, layout.RESULT_ROW)

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
                    key = self.item(names, b.add(keys, k))
                    self.python("PyDict_SetItem", self.int, whole, key, part)
                    self.python("Py_DecRef", self.ir.VoidType(), part)
                push(whole)

            self.cases(what, leaf, sequence("Tuple", first), sequence("List", first), mapping)
        b.store(self.pointer(b.load(self.work("at_stack", self.number(0)))), self.answer)
        b.branch(self.leave)

    def _leaf(self, output: Any) -> Any:
        """A Python float, int or bool, or the array."""
        b, result = self.b, self.local(self.object)
        kind, *_ = self.row("output_rows", output, layout.OUTPUT_ROW)
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
        self.python("Py_DecRef", self.ir.VoidType(), self.owner)
        b.ret(b.load(self.answer))
