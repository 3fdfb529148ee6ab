"""PIPELINE: from an expression to machine code, the stages in order.

:func:`compile` reads what was asked for and returns a :class:`~symgrad.run.Function`; every way of calling
it (value, gradient, …) is a :class:`~symgrad.run.kernel.Plan` that goes through :func:`build` when first used.
``SYMGRAD_DEBUG=1`` shows the derived expressions, 2 the simplified ones too, 3 the kernels and the loop
program, 4 the LLVM code.
"""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, replace
from typing import Any
from weakref import WeakKeyDictionary, WeakValueDictionary

import numpy as np

from symgrad import dims
from symgrad.dims import Constraint, Shape
from symgrad.expr import CONSTANT, OPS, Expr, apply, free_symbols, rebuild, remembered_orders, rewrite, sweep, topological
from symgrad.loops import Program
from symgrad.ops.define import USER_OPS  # may mean something else tomorrow: formulas with one are not kept on disk
from symgrad.ops.movement import BROADCAST_TO
from symgrad.run import cache as disk
from symgrad.run import engine
from symgrad.run.function import Builders, Formula, Function, Sparse
from symgrad.run.kernel import Kernel, Plan
from symgrad.run.loop import FEW, MANY, SHARED, Kinds, Loop, LoopLayout, kernel_kinds
from symgrad.run.plans import PLANS, output_names, plan
from symgrad.run.request import read_request

__all__ = ["build", "compile", "compile_loop", "expand"]

HUGE = 50_000  # nodes of a formula
DROPPED = ("named", "stop_gradient")  # ops that are nothing to the compiler
STEP = "step"  # the symbol that a training loop binds to the number of the update
Lowering = Callable[[Formula, Plan, Mapping[str, Expr]], tuple[Program, list[str], Mapping[str, Any]]]

_loaded: WeakValueDictionary[str, Kernel] = WeakValueDictionary()


def compile(
    expr: Any, inputs: Any = None, *, wrt: Any = None, dtype: str = "float64", simplify: bool = True, threads: int = 1,
    fastmath: bool = False, cache: bool = True, mode: str = "auto",
) -> Function:  # fmt: skip
    """Compiles an expression into a fast function with its derivatives.

    expr      one expression, a sequence or a dict of them (or SymPy's); a call returns that structure
    inputs    the symbols in the order of positional calls; by default that of first appearance
    wrt       what ``f.grad`` and its kin differentiate with respect to: one symbol or node, or a sequence;
              by default all real inputs, as a dict by name
    dtype     "float64" or "float32": what reals are computed in
    simplify  ``False`` compiles the formula and its bare chain rule as written
    threads   how many may be used; results depend on nothing else
    fastmath  allows reassociation, reciprocals and approximate functions; NaN and infinity keep their meaning
    cache     ``False`` neither reads nor writes the disk cache
    mode      forces the kind of kernels: "auto", "tile", "loops" or "blas"

    Raises ``TypeError`` and ``ValueError`` for what is not of these kinds, ``ShapeError`` where ``inputs`` leave a size unknown.

    >>> import symgrad as sg
    >>> x = sg.symbol("x")
    >>> f = sg.compile(3*x**2 - 4*x + 5)
    >>> f(3.0), f.grad(x=3.0)
    (20.0, {'x': 14.0})
    """
    with remembered_orders():
        formula = read_request(expr, inputs, wrt, dtype, simplify, threads, fastmath, cache, mode)
    return make_function(formula)


def make_function(formula: Formula) -> Function:
    """The Function of a formula: what :func:`compile` returns, and what unpickling calls."""
    return Function(formula, Builders(plan, build, make_function, _gradient_formulas, _source, _jit, _formula_constraints, _sparse))


def build(formula: Formula, plan: Plan, lower: Lowering | None = None) -> Kernel:
    """One plan through all stages: key → cache → differentiate → simplify → expand → schedule → verify → render → run."""
    with _without_collections():
        return _build(formula, plan, lower)


def _build(formula: Formula, plan: Plan, lower: Lowering | None) -> Kernel:
    stage = _Stages(formula, plan)
    with stage("import"):
        engine.host()  # the first in a process imports llvmlite
    with stage("key"):
        key = _key(formula, plan)
    if key and (kernel := _loaded.get(key)) is not None:
        return replace(kernel, timings=stage.seconds, cached=True)
    with stage("cache"):
        entry = disk.default().load(key) if key else None
        kernel = _load(formula, entry)
    cached = kernel is not None
    if kernel is None or stage.shown:
        with _shared_rules(formula):
            with stage("differentiate"):
                derived = plan.derive()
            stage.show(1, "derived", lambda: _listed(derived))
            with stage("simplify"):
                simple = _simplified(formula, derived)
        stage.show(2, "simplified", lambda: _listed(simple))
        with stage("import"):
            import symgrad.render.llvm  # noqa: F401  (and the rest of llvmlite)
        with remembered_orders():
            with stage("expand"):
                expanded = _lowered(formula, simple)
            with stage("schedule"):
                program, words, layout = (lower or _scheduled)(formula, plan, expanded)
        stage.show(3, "scheduled", lambda: "\n".join([*words, str(program)]))
        stage.show(4, "rendered", lambda: _llvm(program, formula))
    if kernel is None:
        with stage("verify"):
            _verify(program)
        with stage("compile"):
            compiled = engine.compile_object(
                {plan.kind: program}, key=key or "once", dtype=formula.dtype, fastmath=formula.fastmath, threads=formula.threads
            )
        cost = _cost(derived, simple) if plan.kind == "value" else {}  # f.cost is the value's
        header = {"words": words, "layout": layout, "checks": _constraints(formula, plan), "cost": cost}
        entry = Kernel.pack(program, compiled, _constants(formula), header)
        if key:
            with stage("store"):
                disk.default().store(key, *entry)
        with stage("load"):
            kernel = _load(formula, entry)
    assert kernel is not None, "what was just compiled can be loaded"
    kernel.timings, kernel.cached = stage.seconds, cached
    stage.report(cached)
    if key:
        _loaded[key] = kernel
    return kernel


def compile_loop(
    state: Mapping[Expr, Expr], report: Expr, data: Sequence[Expr], *, dtype: str = "float64", simplify: bool = True,
    threads: int = 1, fastmath: bool = False, cache: bool = True, mode: str = "auto", batch: int | None = None,
) -> Loop:  # fmt: skip
    """Compiles a training loop: ``state`` maps every symbol that changes to its next value, ``report`` is the loss.

    ``data``: the symbols that minibatches are drawn from, along their leading named dimension. The symbol ``step``
    (an integer) is the number of the update. ``batch``: how many samples the minibatches will have, so that what suits them is
    compiled at once; others may be asked for all the same. See :class:`~symgrad.run.loop.Loop` for calling it.
    """
    from symgrad.render.processor import host_lanes

    outputs = {"": report, **{s.name: value for s, value in state.items()}}
    inputs = (*state, *(s for s in free_symbols(*outputs.values(), *state, *data) if s not in state))
    formula = Formula(
        outputs=tuple(outputs.values()), structure=tuple(range(len(outputs))), inputs=inputs, wrt=(), targets=(), dtype=dtype,
        simplify=simplify, threads=threads, fastmath=fastmath, cache=cache, mode=mode,
    )  # fmt: skip
    plan = Plan("train", tuple(data), tuple((s.name, s.kind, s.shape) for s in state), None, lambda: outputs)

    def lower(formula: Formula, plan: Plan, expanded: Mapping[str, Expr]) -> tuple[Program, list[str], Mapping[str, Any]]:
        from symgrad.schedule.training import schedule_loop

        step = next((s for s in formula.inputs if s.name == STEP and s not in state), None)
        kind = formula.mode.split()[-1]
        following = {s: expanded[s.name] for s in state}
        found = schedule_loop(
            following, expanded[""], data, step=step, lanes=lanes, itemsize=itemsize,
            threads=1 if kind == FEW else _kernel_threads(formula),  # of few samples the weights are most of what would travel
            mode={FEW: "loops", SHARED: "blas"}.get(kind, mode), blocks=kind == MANY,
        )  # fmt: skip
        words = list(found.words)
        if kind == FEW:
            words[0] = f"no tile kernel: minibatches of at most {kinds.few} samples"
        elif kind == SHARED:
            whose = "threads share the products of" if kinds.shared else "products by themselves for"
            words[0] = f"no tile kernel: {whose} minibatches of at most {kinds.shared or kinds.folded} samples"
        return found.program, words, LoopLayout.of(found).header()

    def make(kind: str) -> Kernel:
        named = kind if mode == "auto" else f"{mode} {kind}"
        return build(formula if kind == "auto" else replace(formula, mode=named), plan, lower)

    lanes, itemsize = host_lanes(dtype), np.dtype(dtype).itemsize
    kinds = kernel_kinds(report, data, lanes=lanes, itemsize=itemsize, threads=_kernel_threads(formula))
    if mode != "auto":
        kinds = Kinds(many=kinds.many if mode == "blas" else None)
    return Loop(make, kinds, batch, dtype, dict(state))


# --- stages ----------------------------------------------------------------------------------------


def _key(formula: Formula, plan: Plan) -> str:
    """What the result depends on, digested; nothing where it must not be kept."""
    if not formula.cache or any(node.op.name in USER_OPS for node in topological(*formula.outputs)):
        return ""
    options = (formula.dtype, formula.simplify, formula.threads, formula.fastmath, formula.mode)
    digests = [[e.digest for e in group] for group in (formula.outputs, plan.inputs, formula.wrt)]
    return disk.digest([plan.kind, plan.points, plan.outputs, digests, options, disk.versions(), engine.host()])


def _load(formula: Formula, entry: disk.Entry | None) -> Kernel | None:
    if entry is None:
        return None
    try:
        constants = {n.digest.hex(): n.params["value"] for n in _array_constants(formula)}
        return Kernel.unpack(entry, formula.dtype, constants)
    except LookupError:
        return None


_constants_of: WeakKeyDictionary[Formula, list[Expr]] = WeakKeyDictionary()


def _array_constants(formula: Formula) -> list[Expr]:
    if formula not in _constants_of:
        _constants_of[formula] = [n for n in topological(*formula.outputs) if n.op is CONSTANT and n.shape]
    return _constants_of[formula]


def _constants(formula: Formula) -> dict[bytes, bytes]:
    return {np.ascontiguousarray(n.params["value"]).tobytes(): n.digest for n in _array_constants(formula)}


def _simplified(formula: Formula, outputs: dict[str, Expr]) -> dict[str, Expr]:
    if not formula.simplify:
        return outputs
    simple = _briefly(formula, outputs) if formula.is_large else _thoroughly(formula, outputs)
    # A real formula may have become a whole number, x/x → 1: the buffers are of the kinds that were asked for.
    return {name: e if e.kind == given.kind else apply(OPS["to_real"], e) for (name, given), e in zip(outputs.items(), simple)}


def _briefly(formula: Formula, outputs: Mapping[str, Expr]) -> list[Expr]:
    """The local rules once; SymPy's budget is a small part of what is large, and would cost more than it saves.

    From :data:`HUGE` on without gathering numbers and like terms: of 100,000 operations that saved 0 to 8 % for 4 s.
    """
    from symgrad.simplify import apply_local, apply_rules

    if formula.size > HUGE:
        return apply_rules(list(outputs.values()))
    return apply_local(list(outputs.values()), formula.outputs, stability=True, brief=True)


def _shared_rules(formula: Formula) -> AbstractContextManager[Any]:
    """Of a large formula the derivative is simplified while it is made, by the rules that have seen the formula."""
    if not (formula.simplify and formula.is_large):
        return nullcontext()
    from symgrad.simplify import shared_rules

    return shared_rules(style=formula.size <= HUGE)


def _thoroughly(formula: Formula, outputs: Mapping[str, Expr]) -> list[Expr]:
    from symgrad.simplify import simplify
    from symgrad.simplify.islands import WORTH, set_store

    with engine.lock:
        set_store(disk.Store("island") if formula.cache else None)
        return list(simplify(list(outputs.values()), worth=WORTH))


def _lowered(formula: Formula, outputs: dict[str, Expr]) -> dict[str, Expr]:
    """From the form for people to the one for the schedule."""
    from symgrad.simplify.sharing import share_products

    if formula.simplify:
        outputs = dict(zip(outputs, share_products(list(outputs.values()))))
    return expand(outputs)


def expand(outputs: Mapping[str, Expr]) -> dict[str, Expr]:
    """Outputs in terms of what the schedule knows: composites replaced by what they mean, names and barriers dropped."""

    def simpler(node: Expr, args: tuple[Expr, ...]) -> Expr:
        if node.op.name in DROPPED:
            return args[0]
        if node.op.expand is not None:
            return node.op.expand(*args, **node.params)
        return rebuild(node, args)

    roots = list(outputs.values())
    while any(op.expand is not None or op.name in DROPPED for op in {node.op for node in topological(*roots)}):
        roots = rewrite(roots, simpler)
    return dict(zip(outputs, roots))


def _scheduled(formula: Formula, plan: Plan, outputs: Mapping[str, Expr]) -> tuple[Program, list[str], Mapping[str, Any]]:
    from symgrad.render.llvm import host_lanes

    return *_schedule(formula, plan, outputs, host_lanes(formula.dtype), formula.mode, _kernel_threads(formula)), {}


def _kernel_threads(formula: Formula) -> int:
    """Into how many a kernel may split itself: it makes its threads through POSIX."""
    return formula.threads if os.name == "posix" else 1


def _schedule(
    formula: Formula, plan: Plan, outputs: Mapping[str, Expr], lanes: int, mode: str, threads: int = 1
) -> tuple[Program, list[str]]:  # fmt: skip
    from symgrad.schedule import schedule

    itemsize = np.dtype(formula.dtype).itemsize
    return schedule(_shaped(plan, outputs), lanes=lanes, name=plan.kind, mode=mode, itemsize=itemsize, threads=threads)


def _shaped(plan: Plan, outputs: Mapping[str, Expr]) -> dict[str, Expr]:
    """Outputs with the shapes that the plan promises: a scalar stands for all elements alike."""
    planned = {name: shape for name, _, shape in plan.outputs}
    return {name: e if e.shape else _spread(e, planned[name]) for name, e in outputs.items()}


def _spread(scalar: Expr, shape: Shape) -> Expr:
    return apply(BROADCAST_TO, scalar, shape=shape) if shape else scalar


def _verify(program: Program) -> None:
    from symgrad.loops import verify

    verify(program)


def _llvm(program: Program, formula: Formula) -> str:
    from symgrad.render.llvm import kernel_text

    return kernel_text(program, dtype=formula.dtype, fastmath=formula.fastmath)


def _constraints(formula: Formula, plan: Plan) -> list[Constraint]:
    """What the shape rules of the formula leave to be checked at the call."""
    if plan.points or not any(isinstance(d, str) for s in formula.inputs for d in s.shape):
        return []
    with dims.constraints() as found:
        for node in topological(*formula.outputs):
            if node.args:
                shapes = [a.shape for a in node.args]
                dims.broadcast(node.op.name, *shapes) if node.op.shape is None else node.op.shape(*shapes, **node.params)
    return list(dict.fromkeys(found))


def _formula_constraints(formula: Formula) -> list[Constraint]:
    return _constraints(formula, PLANS["value"](formula))


def _cost(before: Mapping[str, Expr], after: Mapping[str, Expr]) -> dict[str, Any]:
    from symgrad.simplify.cost import count

    return {"before": asdict(count(list(before.values()))), "after": asdict(count(list(after.values())))}


@contextmanager
def _without_collections() -> Iterator[None]:
    """Python's search for cycles rests: it would walk over the nodes again and again (a third of the time for 10,000
    operations), which hold none. One formula is compiled at a time, so whoever finds it on switches it on again."""
    on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        sweep()  # what is gone need not be searched
        if on:
            gc.enable()


class _Stages:
    """Seconds per stage, and what ``SYMGRAD_DEBUG`` wants to see of them."""

    def __init__(self, formula: Formula, plan: Plan) -> None:
        level = os.environ.get("SYMGRAD_DEBUG", "")
        self.shown = int(level) if level.isdigit() else 0
        self.seconds: dict[str, float] = {}
        self.name = plan.kind + (" over arrays" if plan.points else "")

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start

    def show(self, level: int, title: str, text: Callable[[], str]) -> None:
        if self.shown >= level:
            print(f"-- {self.name}: {title}\n{text()}", file=sys.stderr)

    def report(self, cached: bool) -> None:
        if self.shown:
            stages = ", ".join(f"{name} {seconds * 1e3:.1f} ms" for name, seconds in self.seconds.items())
            print(f"-- {self.name}: {stages}; {'from the disk cache' if cached else 'compiled'}", file=sys.stderr)


def _listed(outputs: Mapping[str, Expr]) -> str:
    return "\n".join(f"{name} = {e}" for name, e in outputs.items())


# --- what a Function shows and gives away ----------------------------------------------------------


def _program(formula: Formula, plan: Plan, threads: int = 1) -> Program:
    from symgrad.render.llvm import host_lanes

    outputs = _lowered(formula, _simplified(formula, plan.derive()))
    program, _ = _schedule(formula, plan, outputs, host_lanes(formula.dtype), formula.mode, threads)
    _verify(program)
    return program


def _gradient_formulas(formula: Formula) -> Any:
    from symgrad.show import Formulas

    how: dict[str, Any] = {"written": formula.outputs, "raw": not formula.simplify}
    names = [w.name if "name" in w.params else f"node{k}" for k, w in enumerate(formula.wrt)]
    if len(formula.outputs) == 1 and not formula.outputs[0].shape:
        return Formulas(dict(zip(names, _simplified(formula, PLANS["grad"](formula).derive()).values())), **how)
    jacobians = _simplified(formula, PLANS["jacobian"](formula).derive()).values()
    if len(formula.outputs) == 1:
        return Formulas(dict(zip(names, jacobians)), **how)
    heads = output_names(formula, formula.structure, formula.outputs)
    return Formulas(dict(zip([f"d{head}/d{name}" for head in heads for name in names], jacobians)), of=None, **how)


def _source(formula: Formula, language: str, annotate: bool) -> str:
    scalar = formula.structure == 0 and not formula.outputs[0].shape and formula.outputs[0].kind == "real"
    plans = [PLANS[kind](formula) for kind in (["value", "value_and_grad"] if scalar and formula.wrt else ["value"])]
    if annotate and language != "python":
        raise ValueError(f'annotate=True is for f.source("python"), not {language!r}')
    if language == "python":
        from symgrad.render.python import render_python

        return render_python([_python_entry(formula, plan, annotate) for plan in plans], dtype=formula.dtype)
    if language == "llvm":
        return "\n".join(_llvm(_program(formula, plan, _kernel_threads(formula)), formula) for plan in plans)
    if language == "c":
        raise NotImplementedError('f.source("c") is not available yet: "python" and "llvm" are')
    raise ValueError(f'f.source("python") or f.source("llvm"), not {language!r}')


def _python_entry(formula: Formula, plan: Plan, annotate: bool) -> Any:
    """One function of the Python module: plain loops and whole matrix products, as a person would write them."""
    from symgrad.render.python import Entry, Variable
    from symgrad.schedule import make_writer
    from symgrad.schedule.annotate import AnnotatingWriter, Origins

    mode = "blas" if formula.mode == "auto" else formula.mode
    outputs = _shaped(plan, _lowered(formula, _simplified(formula, plan.derive())))
    itemsize = np.dtype(formula.dtype).itemsize
    writer, _ = make_writer(outputs, lanes=1, mode=mode, itemsize=itemsize, writer=AnnotatingWriter)
    writer.emit_body()
    program = writer.program(plan.kind)
    _verify(program)
    inputs = [Variable(s.name, s.kind, s.shape) for s in plan.inputs]
    results = [Variable(name, kind, shape) for name, kind, shape in plan.outputs]
    doc = "; ".join(str(e) for e in formula.outputs)
    describe = Origins(writer).text if annotate else None
    return Entry(plan.kind, program, inputs, results, plan.result, _constraints(formula, plan), doc, describe)


def _jit(formula: Formula, plan: Plan) -> Callable[..., Any]:
    from symgrad.run.jit import make_jit

    return make_jit(_program(formula, plan), plan, formula.dtype, formula.fastmath, _constraints(formula, plan))


def _sparse(formula: Formula, kind: str, builders: Builders) -> Sparse:
    from symgrad.run.sparse import SparseCall  # with the machinery of patterns and colours: only when asked for

    return SparseCall(formula, kind, builders)
