"""PIPELINE: from an expression to machine code, the stages in order.

:func:`compile` reads what was asked for and returns a :class:`~symgrad.run.Function`; every way of calling
it (value, gradient, …) is a :class:`~symgrad.run.kernel.Plan` that goes through :func:`build` when first used.
``SYMGRAD_DEBUG=1`` shows the derived expressions, 2 the simplified ones too, 3 the kernels and the loop
program, 4 the LLVM code.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any
from weakref import WeakKeyDictionary, WeakValueDictionary

import numpy as np

from symgrad import dims
from symgrad.dims import Constraint, Shape
from symgrad.errors import ShapeError
from symgrad.expr import CONSTANT, OPS, Expr, apply, as_expr, free_symbols, rebuild, rewrite, topological
from symgrad.expr import symbol as make_symbol
from symgrad.loops import Program
from symgrad.ops.define import USER_OPS  # may mean something else tomorrow: formulas with one are not kept on disk
from symgrad.ops.movement import BROADCAST_TO
from symgrad.run import cache as disk
from symgrad.run import engine
from symgrad.run.function import Builders, Formula, Function, nest_map
from symgrad.run.kernel import Kernel, Plan, sizes_of
from symgrad.run.loop import Loop, LoopLayout

__all__ = ["build", "compile", "compile_loop", "expand"]

DTYPES = ("float64", "float32")
STEP = "step"  # the symbol that a training loop binds to the number of the update
POINTS = "points"  # the axis of a formula of scalars that is called with arrays

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
    return make_function(read_request(expr, inputs, wrt, dtype, simplify, threads, fastmath, cache, mode))


def make_function(formula: Formula) -> Function:
    """The Function of a formula: what :func:`compile` returns, and what unpickling calls."""
    return Function(formula, Builders(plan, build, make_function, _gradient_formulas, _source, _jit))


def build(formula: Formula, plan: Plan) -> Kernel:
    """One plan through all stages: key → cache → differentiate → simplify → expand → schedule → verify → render → run."""
    stage = _Stages(formula, plan)
    with stage("key"):
        key = _key(formula, plan)
    if key and (kernel := _loaded.get(key)) is not None:
        return kernel
    with stage("cache"):
        entry = disk.default().load(key) if key else None
        kernel = _load(formula, entry)
    cached = kernel is not None
    if kernel is None or stage.shown:
        with stage("differentiate"):
            derived = plan.derive()
        stage.show(1, "derived", lambda: _listed(derived))
        with stage("simplify"):
            simple = _simplified(formula, derived)
        stage.show(2, "simplified", lambda: _listed(simple))
        with stage("expand"):
            expanded = expand(simple)
        with stage("schedule"):
            program, words = _scheduled(formula, plan, expanded)
        stage.show(3, "scheduled", lambda: "\n".join([*words, str(program)]))
        stage.show(4, "rendered", lambda: _llvm(program, formula))
    if kernel is None:
        with stage("verify"):
            _verify(program)
        with stage("compile"):
            compiled = engine.compile_object({plan.kind: program}, key=key or "once", dtype=formula.dtype, fastmath=formula.fastmath)
        header = {"words": words, "checks": _constraints(formula, plan), "cost": _cost(derived, simple)}
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
    threads: int = 1, fastmath: bool = False, cache: bool = True, mode: str = "auto",
) -> Loop:  # fmt: skip
    """Compiles a training loop: ``state`` maps every symbol that changes to its next value, ``report`` is the loss.

    ``data``: the symbols that minibatches are drawn from, along their leading named dimension. The symbol ``step``
    (an integer) is the number of the update. See :class:`~symgrad.run.loop.Loop` for calling it.
    """
    outputs = {"": report, **{s.name: value for s, value in state.items()}}
    inputs = (*state, *(s for s in free_symbols(*outputs.values(), *state, *data) if s not in state))
    formula = Formula(
        outputs=tuple(outputs.values()), structure=tuple(range(len(outputs))), inputs=inputs, wrt=(), targets=(), dtype=dtype,
        simplify=simplify, threads=threads, fastmath=fastmath, cache=cache, mode=mode,
    )  # fmt: skip
    request = Plan("train", tuple(data), tuple((s.name, s.kind, s.shape) for s in state), None, lambda: outputs)
    stage = _Stages(formula, request)
    with stage("key"):
        key = _key(formula, request)
    with stage("cache"):
        entry = disk.default().load(key) if key else None
        kernel = _load(formula, entry)
    cached = kernel is not None
    if kernel is None or stage.shown:
        stage.show(1, "derived", lambda: _listed(outputs))
        with stage("simplify"):
            simple = _simplified(formula, outputs)
        stage.show(2, "simplified", lambda: _listed(simple))
        with stage("expand"):
            expanded = expand(simple)
        with stage("schedule"):
            program, layout, words = _scheduled_loop(formula, state, data, expanded)
        stage.show(3, "scheduled", lambda: "\n".join([*words, str(program)]))
        stage.show(4, "rendered", lambda: _llvm(program, formula))
    if kernel is None:
        with stage("verify"):
            _verify(program)
        with stage("compile"):
            compiled = engine.compile_object({"train": program}, key=key or "once", dtype=dtype, fastmath=fastmath)
        header = {"words": words, "checks": [], "cost": _cost(outputs, simple), "layout": layout.header()}
        entry = Kernel.pack(program, compiled, _constants(formula), header)
        if key:
            with stage("store"):
                disk.default().store(key, *entry)
        with stage("load"):
            kernel = _load(formula, entry)
    assert kernel is not None and entry is not None, "what was just compiled can be loaded"
    kernel.timings, kernel.cached = stage.seconds, cached
    stage.report(cached)
    return Loop(kernel, LoopLayout.read(entry[0]["layout"]), dtype, {s: state[s] for s in state})


def _scheduled_loop(
    formula: Formula, state: Mapping[Expr, Expr], data: Sequence[Expr], expanded: Mapping[str, Expr]
) -> tuple[Program, LoopLayout, list[str]]:  # fmt: skip
    from symgrad.render.llvm import host_lanes
    from symgrad.schedule.training import schedule_loop

    step = next((s for s in formula.inputs if s.name == STEP and s not in state), None)
    following = {s: expanded[s.name] for s in state}
    itemsize = 8 if formula.dtype == "float64" else 4
    lanes = host_lanes(formula.dtype)
    found = schedule_loop(following, expanded[""], data, step=step, lanes=lanes, itemsize=itemsize, mode=formula.mode)
    arrays = tuple((b.name.removeprefix("all."), b.kind, b.shape) for b in found.program.arguments[: found.count])
    return found.program, LoopLayout(found.state, found.data, arrays, found.dim, found.all_dim, found.epochs_dim), list(found.words)


# --- the request -----------------------------------------------------------------------------------


def read_request(
    expr: Any, inputs: Any, wrt: Any, dtype: str, simplify: bool, threads: int, fastmath: bool, cache: bool, mode: str
) -> Formula:
    """What was asked for, checked."""
    from symgrad.schedule import MODES

    outputs, structure = _flat(expr)
    if not outputs:
        raise ValueError("there is nothing to compile: give at least one expression")
    dtype = getattr(dtype, "__name__", None) or str(dtype)
    if dtype not in DTYPES:
        raise ValueError(f"dtype is {dtype!r}: 'float64' or 'float32' is wanted")
    if not isinstance(threads, int) or threads < 1:
        raise ValueError(f"threads is {threads!r}: a number from 1 on is wanted")
    if mode not in MODES:
        raise ValueError(f"mode is {mode!r}: one of {', '.join(MODES)} is wanted")
    order, found = topological(*outputs), tuple(free_symbols(*outputs))
    symbols = found if inputs is None else _read_inputs(inputs, found)
    _check_sizes(order, symbols)
    nodes, targets = _read_wrt(wrt, symbols, outputs, order)
    return Formula(
        outputs=tuple(outputs), structure=structure, inputs=symbols, wrt=tuple(nodes), targets=targets, dtype=dtype,
        simplify=bool(simplify), threads=threads, fastmath=bool(fastmath), cache=bool(cache), mode=mode,
    )  # fmt: skip


def _flat(expr: Any) -> tuple[list[Expr], Any]:
    """Expressions, and the nest of sequences and dicts that they stand in."""
    found: list[Expr] = []

    def place(leaf: Any) -> int:
        found.append(as_expr(leaf))
        return len(found) - 1

    nest = nest_map(dict(expr) if isinstance(expr, Mapping) else expr, place)
    return found, nest


def _read_inputs(inputs: Any, found: Sequence[Expr]) -> tuple[Expr, ...]:
    by_name = {s.name: s for s in found}
    given = []
    for item in [inputs] if isinstance(inputs, (str, Expr)) else inputs:
        if isinstance(item, str):
            if item not in by_name:
                raise ValueError(f"no symbol {item!r} occurs; known are {', '.join(by_name) or 'none'}")
            item = by_name[item]
        given.append(as_expr(item))
    for item in given:
        if item.op.name != "symbol":
            raise TypeError(f"inputs are symbols, this is a {item.op.name} node")
        if given.count(item) > 1:
            raise ValueError(f"{item.name!r} is listed twice among the inputs")
    free_symbols(*given, *found)  # one name, one symbol
    missing = [s.name for s in found if s not in given]
    if missing:
        raise ValueError(f"inputs lack {', '.join(missing)}, which the expression depends on")
    return tuple(given)


def _read_wrt(wrt: Any, inputs: Sequence[Expr], outputs: Sequence[Expr], order: Sequence[Expr]) -> tuple[list[Expr], Any]:
    if wrt is None:
        real = [s for s in inputs if s.kind == "real"]
        return real, {s.name: k for k, s in enumerate(real)}
    several = isinstance(wrt, (list, tuple))
    by_name = {s.name: s for s in inputs}
    nodes = []
    for item in wrt if several else [wrt]:
        if isinstance(item, str) and item not in by_name:
            raise ValueError(f"wrt: no input is named {item!r}; known are {', '.join(by_name) or 'none'}")
        nodes.append(by_name[item] if isinstance(item, str) else as_expr(item))
    present = set(order)
    for node in nodes:
        if node.kind != "real":
            raise TypeError(f"wrt: {node} is {node.kind}, and derivatives are with respect to reals")
        if node.op.name != "symbol" and node not in present:
            raise ValueError(f"wrt: the {node.op.name} node {node} does not occur in the expression")
    free_symbols(*outputs, *nodes)
    return nodes, tuple(range(len(nodes))) if several else 0


def _check_sizes(order: Sequence[Expr], inputs: Sequence[Expr]) -> None:
    """Every named dimension must be the size of an axis of an input."""
    known = sizes_of([s.shape for s in inputs])
    used = [d for node in (*order, *inputs) for d in node.shape if isinstance(d, str)]
    used += [n.params["dim"] for n in order if n.op.name == "size" and isinstance(n.params["dim"], str)]
    for dim in dict.fromkeys(used):
        for name in dims.names(dim):
            if name not in known:
                raise ShapeError(f"the size {name} is no axis of an input: add a symbol with an axis {name!r} to inputs")


# --- plans -----------------------------------------------------------------------------------------


def plan(formula: Formula, kind: str, points: bool) -> Plan:
    """What ``kind`` of call computes; ``points``: for arrays in place of scalar arguments."""
    single = _PLANS[kind](formula)
    return _over_points(single) if points else single


def _value(formula: Formula) -> Plan:
    names = _names(formula, formula.structure, formula.outputs)
    outputs = [(n, e.kind, e.shape) for n, e in zip(names, formula.outputs)]
    result = nest_map(formula.structure, names.__getitem__)
    return Plan("value", formula.inputs, tuple(outputs), result, lambda: dict(zip(names, formula.outputs)))


def _grad(formula: Formula) -> Plan:
    _only_scalar(formula, "grad")
    names = _wrt_names(formula, "d_")

    def derive() -> dict[str, Expr]:
        from symgrad.differentiate import grad

        return dict(zip(names, grad(_stable(formula)[0], list(formula.wrt), simplify=formula.simplify)))

    outputs = [(n, "real", w.shape) for n, w in zip(names, formula.wrt)]
    return Plan("grad", formula.inputs, tuple(outputs), nest_map(formula.targets, names.__getitem__), derive)


def _value_and_grad(formula: Formula) -> Plan:
    _only_scalar(formula, "value_and_grad")
    value, gradient = _value(formula), _grad(formula)
    both = (*value.outputs, *gradient.outputs)
    return Plan("value_and_grad", formula.inputs, both, (value.result, gradient.result), lambda: {**value.derive(), **gradient.derive()})


def _jacobian(formula: Formula) -> Plan:
    heads = _names(formula, formula.structure, formula.outputs)
    table = {(i, k): f"d_{head}_{name}" for i, head in enumerate(heads) for k, name in enumerate(_wrt_names(formula, "d_"))}

    def derive() -> dict[str, Expr]:
        from symgrad.differentiate import jacobian

        found = [jacobian(y, list(formula.wrt), simplify=formula.simplify) for y in _stable(formula)]
        return {name: found[i][k] for (i, k), name in table.items()}

    outputs = [(name, "real", formula.outputs[i].shape + formula.wrt[k].shape) for (i, k), name in table.items()]
    result = nest_map(formula.structure, lambda i: nest_map(formula.targets, lambda k: table[i, k]))
    return Plan("jacobian", formula.inputs, tuple(outputs), result, derive)


def _hessian(formula: Formula) -> Plan:
    _only_scalar(formula, "hessian")
    names = _wrt_names(formula, "d_")
    table = {(i, k): f"{a}_{b}" for i, a in enumerate(names) for k, b in enumerate(names)}

    def derive() -> dict[str, Expr]:
        from symgrad.differentiate import hessian

        found = hessian(_stable(formula)[0], list(formula.wrt), simplify=formula.simplify)
        return {name: found[i][k] for (i, k), name in table.items()}

    outputs = [(name, "real", formula.wrt[i].shape + formula.wrt[k].shape) for (i, k), name in table.items()]
    result = nest_map(formula.targets, lambda i: nest_map(formula.targets, lambda k: table[i, k]))
    return Plan("hessian", formula.inputs, tuple(outputs), result, derive)


def _hvp(formula: Formula) -> Plan:
    _only_scalar(formula, "hvp")
    names, taken = _wrt_names(formula, "d_"), {s.name for s in formula.inputs}
    directions = []
    for k, node in enumerate(formula.wrt):
        name = _fresh("v." + (node.name if node.op.name == "symbol" else f"node{k}"), taken)
        directions.append(make_symbol(name, node.shape))

    def derive() -> dict[str, Expr]:
        from symgrad.differentiate import hvp

        return dict(zip(names, hvp(_stable(formula)[0], list(formula.wrt), directions, simplify=formula.simplify)))

    outputs = [(n, "real", w.shape) for n, w in zip(names, formula.wrt)]
    return Plan("hvp", (*formula.inputs, *directions), tuple(outputs), nest_map(formula.targets, names.__getitem__), derive)


def _stable(formula: Formula) -> Sequence[Expr]:
    """What is differentiated: the formula after the stability rewrites, so that ``1/(1 + exp(-x))`` has the gradient of
    sigmoid, finite where the quotient overflows. As written where the derivative by one of its inner nodes is wanted."""
    if not formula.simplify or any(node.op.name != "symbol" for node in formula.wrt):
        return formula.outputs
    from symgrad.simplify import apply_local

    return apply_local(formula.outputs, formula.outputs, stability=True)


_PLANS: dict[str, Callable[[Formula], Plan]] = {
    "value": _value, "grad": _grad, "value_and_grad": _value_and_grad, "jacobian": _jacobian, "hessian": _hessian, "hvp": _hvp,
}  # fmt: skip


def _over_points(single: Plan) -> Plan:
    """The plan for many points at once: every input and output gets a leading axis.

    Its ``derive`` raises ``NotImplementedError`` where an op cannot take one.
    """
    stacked = {s: make_symbol(s.name, (POINTS,), integer=s.kind == "integer", positive=s.params["positive"]) for s in single.inputs}
    outputs = tuple((name, kind, (POINTS, *shape)) for name, kind, shape in single.outputs)

    def derive() -> dict[str, Expr]:
        from symgrad.differentiate import vectorize

        found = single.derive()
        return dict(zip(found, vectorize(list(found.values()), stacked, (POINTS,))))

    return Plan(single.kind, tuple(stacked.values()), outputs, single.result, derive, points=True)


def _only_scalar(formula: Formula, kind: str) -> Expr:
    y = formula.outputs[0]
    if len(formula.outputs) > 1 or formula.structure != 0 or y.shape:
        what = f"has shape {dims.format_shape(y.shape)}" if formula.structure == 0 else f"has {len(formula.outputs)} parts"
        raise ShapeError(f"f.{kind} is of one scalar, and this result {what}: use f.jacobian, or compile a sum of it")
    return y


def _names(formula: Formula, structure: Any, outputs: Sequence[Expr]) -> list[str]:
    """A buffer's name for every output: no input's, and none twice."""
    taken = {s.name for s in formula.inputs}
    if isinstance(structure, dict) and len(structure) == len(outputs):
        wanted = [key if isinstance(key, str) and key.isidentifier() else f"value{k}" for k, key in enumerate(structure)]
    else:
        wanted = ["value"] if len(outputs) == 1 else [f"value{k}" for k in range(len(outputs))]
    return [_fresh(name, taken) for name in wanted]


def _wrt_names(formula: Formula, prefix: str) -> list[str]:
    taken = {s.name for s in formula.inputs} | {"value"}
    return [_fresh(prefix + (w.name if "name" in w.params else f"node{k}"), taken) for k, w in enumerate(formula.wrt)]


def _fresh(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    taken.add(name)
    return name


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
    from symgrad.simplify import simplify
    from symgrad.simplify.islands import set_store

    with engine.lock:
        set_store(disk.Store("island") if formula.cache else None)
        simple = simplify(list(outputs.values()))
    # A real formula may have become a whole number, x/x → 1: the buffers are of the kinds that were asked for.
    return {name: e if e.kind == given.kind else apply(OPS["to_real"], e) for (name, given), e in zip(outputs.items(), simple)}


def expand(outputs: Mapping[str, Expr]) -> dict[str, Expr]:
    """Outputs in terms of what the schedule knows: composites replaced by what they mean, names and barriers dropped."""

    def simpler(node: Expr, args: tuple[Expr, ...]) -> Expr:
        if node.op.name in ("named", "stop_gradient"):
            return args[0]
        if node.op.expand is not None:
            return node.op.expand(*args, **node.params)
        return rebuild(node, args)

    roots = list(outputs.values())
    while True:
        new = rewrite(roots, simpler)
        if all(a is b for a, b in zip(new, roots)):
            return dict(zip(outputs, new))
        roots = new


def _scheduled(formula: Formula, plan: Plan, outputs: Mapping[str, Expr]) -> tuple[Program, list[str]]:
    from symgrad.render.llvm import host_lanes

    return _schedule(formula, plan, outputs, host_lanes(formula.dtype), formula.mode)


def _schedule(formula: Formula, plan: Plan, outputs: Mapping[str, Expr], lanes: int, mode: str) -> tuple[Program, list[str]]:
    from symgrad.schedule import schedule

    planned = {name: shape for name, _, shape in plan.outputs}
    shaped = {name: e if e.shape else _spread(e, planned[name]) for name, e in outputs.items()}
    itemsize = 8 if formula.dtype == "float64" else 4
    return schedule(shaped, lanes=lanes, name=plan.kind, mode=mode, itemsize=itemsize)


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


def _cost(before: Mapping[str, Expr], after: Mapping[str, Expr]) -> dict[str, Any]:
    from symgrad.simplify.cost import count

    return {"before": asdict(count(list(before.values()))), "after": asdict(count(list(after.values())))}


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


def _program(formula: Formula, plan: Plan) -> Program:
    program, _ = _scheduled(formula, plan, expand(_simplified(formula, plan.derive())))
    _verify(program)
    return program


def _gradient_formulas(formula: Formula) -> Any:
    from symgrad.show import Formulas

    names = [w.name if "name" in w.params else f"node{k}" for k, w in enumerate(formula.wrt)]
    if len(formula.outputs) == 1 and not formula.outputs[0].shape:
        return Formulas(dict(zip(names, _simplified(formula, _grad(formula).derive()).values())))
    jacobians = _simplified(formula, _jacobian(formula).derive()).values()
    if len(formula.outputs) == 1:
        return Formulas(dict(zip(names, jacobians)))
    heads = _names(formula, formula.structure, formula.outputs)
    return Formulas(dict(zip([f"d{head}/d{name}" for head in heads for name in names], jacobians)), of="")


def _source(formula: Formula, language: str) -> str:
    scalar = formula.structure == 0 and not formula.outputs[0].shape and formula.outputs[0].kind == "real"
    plans = [_PLANS[kind](formula) for kind in (["value", "value_and_grad"] if scalar and formula.wrt else ["value"])]
    if language == "python":
        from symgrad.render.python import render_python

        return render_python([_python_entry(formula, plan) for plan in plans], dtype=formula.dtype)
    if language == "llvm":
        return "\n".join(_llvm(_program(formula, plan), formula) for plan in plans)
    if language == "c":
        raise NotImplementedError('f.source("c") is not available yet: "python" and "llvm" are')
    raise ValueError(f'f.source("python") or f.source("llvm"), not {language!r}')


def _python_entry(formula: Formula, plan: Plan) -> Any:
    """One function of the Python module: plain loops and whole matrix products, as a person would write them."""
    from symgrad.render.python import Entry, Variable

    mode = "blas" if formula.mode == "auto" else formula.mode
    program, _ = _schedule(formula, plan, expand(_simplified(formula, plan.derive())), 1, mode)
    _verify(program)
    inputs = [Variable(s.name, s.kind, s.shape) for s in plan.inputs]
    outputs = [Variable(name, kind, shape) for name, kind, shape in plan.outputs]
    doc = "; ".join(str(e) for e in formula.outputs)
    return Entry(plan.kind, program, inputs, outputs, plan.result, _constraints(formula, plan), doc)


def _jit(formula: Formula, plan: Plan) -> Callable[..., Any]:
    from symgrad.run.jit import make_jit

    return make_jit(_program(formula, plan), plan, formula.dtype, formula.fastmath, _constraints(formula, plan))
