"""The Function object: a compiled formula, its derivatives, and everything one may ask about them."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from symgrad import dims
from symgrad.dims import Constraint
from symgrad.errors import ShapeError
from symgrad.expr import Expr, topological
from symgrad.run import engine
from symgrad.run.arguments import Signature, as_array
from symgrad.run.kernel import Kernel, Plan, element_type
from symgrad.run.table import Input, redirect
from symgrad.run.targets import Targets

__all__ = ["Builders", "Call", "Formula", "Function", "nest_map"]

LARGE = 5_000  # nodes
Array = np.ndarray[Any, Any]
Nest = Any  # an index, or a tuple, list or dict of nests


@dataclass(frozen=True, eq=False, kw_only=True)
class Formula:
    """What was asked for: expressions and options, all that a pickle holds.

    outputs, wrt        expressions, flat
    structure, targets  how results are put together: nests of indices into outputs and wrt
    """

    outputs: tuple[Expr, ...]
    structure: Nest
    inputs: tuple[Expr, ...]
    wrt: tuple[Expr, ...]
    targets: Nest
    dtype: str
    simplify: bool
    threads: int
    fastmath: bool
    cache: bool
    mode: str

    @cached_property
    def size(self) -> int:
        """How many nodes there are."""
        return len(topological(*self.outputs))

    @property
    def is_large(self) -> bool:
        """Whether every pass over the nodes counts: a formula written out in numbers, not tensors."""
        return self.size > LARGE


@dataclass(frozen=True)
class Builders:
    """What the pipeline lends a Function: makers of what is built when first asked for."""

    plan: Callable[[Formula, str, bool], Plan]
    build: Callable[[Formula, Plan], Kernel]
    remake: Callable[[Formula], Function]
    formulas: Callable[[Formula], Any]
    source: Callable[[Formula, str, bool], str]
    jit: Callable[[Formula, Plan], Callable[..., Any]]
    checks: Callable[[Formula], Sequence[Constraint]]
    sparse: Callable[[Formula, str, Builders], Sparse]


class Sparse(Protocol):
    """A way of calling a formula for sparse matrices."""

    kernels: dict[str, Kernel]

    def __call__(self, args: Sequence[Any], keywords: Mapping[str, Any]) -> Any: ...


def nest_map(nest: Nest, function: Callable[[Any], Any]) -> Any:
    """The nest with every leaf replaced."""
    if isinstance(nest, dict):
        return {key: nest_map(part, function) for key, part in nest.items()}
    if isinstance(nest, (tuple, list)):
        return type(nest)(nest_map(part, function) for part in nest)
    return function(nest)


class Call:
    """One way of calling a formula: ``f.grad(...)``, … It is compiled at the first call and then a built-in.

    Instances are callable through the slot ``__call__``, which first holds a Python method and then the
    built-in itself: a call costs no Python frame. ``made`` is told of every new built-in, so that the Function
    can give that away in place of this object (calls with keywords are quicker without it); or it gives away :meth:`pending`.
    """

    __slots__ = (
        "__call__", "__weakref__", "_builders", "_formula", "_kind", "_made", "_mapped", "_pending", "_points", "_sparse",
        "_strict", "kernel", "plan", "signature",
    )  # fmt: skip

    if TYPE_CHECKING:

        def __call__(self, *args: Any, **keywords: Any) -> Any: ...

    def __init__(
        self, formula: Formula, kind: str, builders: Builders, made: Callable[[Any], None] = lambda builtin: None, points: bool = False
    ) -> None:
        self._formula, self._kind, self._builders, self._made, self._points = formula, kind, builders, made, points
        self._mapped: Call | None = None
        self._pending: Any = None
        self._sparse: Sparse | None = None
        self.kernel: Kernel | None = None
        self.plan: Plan | None = None
        self.signature: Signature | None = None
        self.__call__ = self._first_call  # type: ignore[method-assign]

    def __repr__(self) -> str:
        state = "not compiled yet" if self.kernel is None else "compiled"
        return f"<{self._kind} of {', '.join(i.name for i in self._formula.inputs)}: {state}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return _remade_call, (self._builders.remake, self._formula, self._name)

    @property
    def _name(self) -> str:
        return _ATTRIBUTE.get(self._kind, self._kind)

    def pending(self) -> Callable[..., Any]:
        """A built-in that compiles at its first call and then is as any other: whoever keeps it before that loses nothing."""
        inputs = [Input(i.name, element_type(i.kind, self._formula.dtype), i.shape) for i in self._formula.inputs]
        signature = Signature(f"f.{self._kind}", inputs)
        self._pending = Kernel.pending(self._name, signature, self._first_call, _doc(signature), (self._builders.remake, (self._formula,)))
        return self._pending

    def make(self) -> Call:
        """Compiles, if that has not been done."""
        with engine.lock:
            if self.kernel is None:
                plan = self._builders.plan(self._formula, self._kind, self._points)
                kernel = self._builders.build(self._formula, plan)
                inputs = [Input(i.name, element_type(i.kind, self._formula.dtype), i.shape) for i in plan.inputs]
                self.plan, self.signature = plan, Signature("f" if plan.kind == "value" else f"f.{plan.kind}", inputs, kernel.checks)
                self._strict = kernel.builtin(plan.kind, plan, self.signature, self._formula.dtype)
                self.kernel = kernel
                self.become(self._convert_and_call)
        return self

    def become(self, fallback: Callable[..., Any]) -> None:
        """Turns into the built-in with this fallback."""
        assert self.kernel is not None and self.plan is not None and self.signature is not None
        remake, doc = (self._builders.remake, (self._formula,)), _doc(self.signature)
        builtin = self.kernel.builtin(self._name, self.plan, self.signature, self._formula.dtype, fallback, doc, remake)
        self.__call__ = builtin  # type: ignore[method-assign]
        if self._pending is None:
            self._made(builtin)
        else:
            redirect(self._pending, builtin)

    def _first_call(self, *args: Any, sparse: Any = False, **keywords: Any) -> Any:
        if sparse is not False:
            return self._sparse_matrix(sparse, args, keywords)
        return self.make().__call__(*args, **keywords)

    def _sparse_matrix(self, sparse: Any, args: Sequence[Any], keywords: Mapping[str, Any]) -> Any:
        if self._sparse is None:
            if self._kind not in _SPARSE:
                raise TypeError(f"sparse={sparse!r}: an option of f.jacobian and f.hessian; an input of that name is given by position")
            self._sparse = self._builders.sparse(self._formula, self._kind, self._builders)
        if sparse is not True:
            raise TypeError(f"f.{self._kind}(sparse={sparse!r}): True or False; an input of that name is given by position")
        return self._sparse(args, keywords)

    def _convert_and_call(self, *args: Any, out: Any = None, sparse: Any = False, **keywords: Any) -> Any:
        """What the entry does not take: arguments to be converted, mapped over, or refused; another kind of result."""
        if sparse is not False:
            return self._sparse_matrix(sparse, args, keywords if out is None else {**keywords, "out": out})
        assert self.signature is not None
        values = self.signature.convert(self.signature.bind(args, keywords))
        if not self.signature.any_array and any(v.ndim for v in values):
            return self._map(values, out)
        sizes = self.signature.check(values)
        numbers = [v if v.ndim else v.item() for v in values]
        if out is None:
            return self._strict(*numbers)
        return self._write(self._strict, numbers, values, self._targets(out, (), sizes))

    def _targets(self, out: Any, points: tuple[int, ...], sizes: Mapping[str, int]) -> Targets:
        """The arrays to be written to; ``points``: the axes before an output's own."""
        assert self.plan is not None
        dtype = self._formula.dtype
        shapes = {name: (element_type(kind, dtype), (*points, *dims.evaluate_shape(s, sizes))) for name, kind, s in self.plan.outputs}
        return Targets(self.plan.result, out, shapes)

    def _write(
        self, builtin: Callable[..., Any], arguments: Sequence[Any], values: Sequence[Array], targets: Targets, points: tuple[int, ...] = ()
    ) -> Any:
        """Calls the kernel with the caller's arrays where it can write to them, and copies its results there where it cannot.
        ``points``: their first axes, which the kernel sees as one."""
        assert self.plan is not None
        buffers = targets.buffers(values)
        if buffers is None:
            results = builtin(*arguments)
        else:
            flat = {name: b.reshape(math.prod(points), *b.shape[len(points):]) if points else b for name, b in buffers.items()}
            results = builtin(*arguments, out=nest_map(self.plan.result, flat.get))
        shaped = nest_map(results, lambda r: r.reshape(points + r.shape[1:])) if points else results
        filled = {name: targets.fill(name, value) for name, value in _paired(self.plan.result, shaped)}
        return nest_map(self.plan.result, filled.__getitem__)

    def _map(self, values: Sequence[Array], out: Any) -> Any:
        """A formula of scalars over arrays, with broadcasting; results get the common shape before their own."""
        assert self.plan is not None
        try:
            shape = np.broadcast_shapes(*[v.shape for v in values])
        except ValueError:
            shapes = ", ".join(f"{i.name} {v.shape}" for i, v in zip(self.plan.inputs, values))
            raise ShapeError(f"the arguments do not broadcast: {shapes}") from None
        flat = [(v if v.shape == shape else np.ascontiguousarray(np.broadcast_to(v, shape))).reshape(-1) for v in values]
        if out is not None:
            return self._write(self._over_points, flat, values, self._targets(out, shape, {}), shape)
        results = self._over_points(*flat)
        return results if len(shape) == 1 else nest_map(results, lambda r: r.reshape(shape + r.shape[1:]))

    def _over_points(self, *flat: Array, **out: Any) -> Any:
        if self._mapped is None:
            mapped = Call(self._formula, self._kind, self._builders, points=True)
            try:
                mapped.make()
            except NotImplementedError:  # an op whose axes leave no room for another
                return self._one_by_one(flat, len(flat[0]))
            mapped.become(self._convert_and_call)
            self._mapped = mapped
            self.become(mapped.__call__)  # one-dimensional arrays of one length now go from entry to entry
        return self._mapped._strict(*flat, **out)

    def _one_by_one(self, flat: Sequence[Array], count: int) -> Any:
        """For formulas whose inner shapes do not take another axis."""
        assert self.plan is not None
        dtype, results = self._formula.dtype, {}
        for name, kind, shape in self.plan.outputs:
            results[name] = np.empty((count, *dims.evaluate_shape(shape, {})), dtype=element_type(kind, dtype))
        for k in range(count):
            nest = self._strict(*[v[k].item() for v in flat])
            for name, value in _paired(self.plan.result, nest):
                results[name][k] = value
        return nest_map(self.plan.result, results.__getitem__)


def _paired(names: Any, values: Any) -> list[tuple[str, Any]]:
    """The leaves of two nests of one structure, side by side."""
    if isinstance(names, dict):
        return [pair for key in names for pair in _paired(names[key], values[key])]
    if isinstance(names, (tuple, list)):
        return [pair for part, value in zip(names, values) for pair in _paired(part, value)]
    return [(names, values)]


def _doc(signature: Signature) -> str:
    return f"{signature}: compiled by symgrad."


def _remade_call(remake: Callable[[Formula], Function], formula: Formula, attribute: str) -> Any:
    return getattr(remake(formula), attribute)


class Schedule(dict[str, tuple[str, ...]]):
    """What was compiled so far → why it was made as it was, then its kernels, in order."""

    def __repr__(self) -> str:
        return "\n".join(f"{name}: {words[0]}" + "".join(f"\n  {word}" for word in words[1:]) for name, words in self.items())


class Timings(dict[str, float]):
    """Seconds per stage, added up over what has been compiled so far. ``cached``: the disk cache answered every time."""

    def __init__(self, kernels: Mapping[str, Kernel]) -> None:
        super().__init__()
        self.parts = {name: dict(kernel.timings, cached=kernel.cached) for name, kernel in kernels.items()}
        for kernel in kernels.values():
            for stage, seconds in kernel.timings.items():
                self[stage] = self.get(stage, 0.0) + seconds
        self.cached = all(kernel.cached for kernel in kernels.values())

    def __repr__(self) -> str:
        stages = ", ".join(f"{stage} {seconds:.4f}" for stage, seconds in self.items())
        return f"{stages} ({'from the disk cache' if self.cached else 'not from the disk cache'})"


class Cost:
    """What a call computes, before and after simplification: operations, transcendental calls, flops, bytes."""

    def __init__(self, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
        self.before, self.after = dict(before), dict(after)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in self.after:
            raise AttributeError(name)
        return self.after[name]

    def __getitem__(self, name: str) -> Any:
        return {"before": self.before, "after": self.after}[name] if name in ("before", "after") else self.after[name]

    def __repr__(self) -> str:
        return ", ".join(f"{name} {self.before[name]:g} → {value:g}" for name, value in self.after.items())


_ATTRIBUTE = {"value": "__call__"}  # kinds of call that a Function has under another name
_SPARSE = ("jacobian", "hessian")  # kinds of call that take sparse=True
_GIVEN_AWAY = ("value", "grad", "value_and_grad", "jacobian", "hessian")  # as built-ins, once they are compiled


class Function:
    """A compiled formula: made by ``sg.compile``.

    Calling it gives the value; ``grad``, ``value_and_grad``, ``jacobian``, ``hessian`` and ``hvp`` are
    compiled when first called. Functions pickle (the pickle holds the formula, not code), copy, and may be
    called from several threads and after ``fork``.

    >>> import symgrad as sg
    >>> w, x = sg.symbols("w x")
    >>> f = sg.compile(sg.tanh(w*x), wrt=[w])
    >>> f(0.5, 0.0), f.grad(0.0, x=2.0)
    (0.0, (2.0,))

    Each of them takes ``out``: arrays that results are written to, structured like the result, with ``None`` for what
    is to be new. They must have the result's shape and type; they may overlap inputs, but not each other.

    >>> import numpy as np
    >>> slopes = np.empty(3)
    >>> value, _ = f.value_and_grad(0.0, np.arange(3.0), out=(None, (slopes,)))
    >>> print(value, slopes)
    [0. 0. 0.] [0. 1. 2.]

    New results of 256 KiB and more lie in memory of earlier ones that nobody looks at any more, where there is such: a page
    that the system gives costs more than most arithmetic. At most 256 MiB wait for that (:mod:`symgrad.run.results`).

    ``jacobian`` and ``hessian`` take ``sparse=True``: a ``scipy.sparse`` matrix in CSC format, of shape elements of the result ×
    elements of the variable (several of either: blocks, structured as the dense ones are), whose cost follows the entries that
    may differ from 0. Which these are is read off the expression; for new sizes of named dimensions once more.

    >>> z = sg.symbol("z", "n")
    >>> chain = sg.compile(sg.sum((z[1:] - z[:-1]**2)**2), wrt=z)
    >>> H = chain.hessian(np.ones(50_000), sparse=True)
    >>> H.shape, H.nnz, float(H[7, 8])
    ((50000, 50000), 149998, -4.0)
    """

    __slots__ = ("__call__", "__weakref__", "_builders", "_calls", "_jits", "formula", "grad", "hessian", "jacobian", "value_and_grad")

    grad: Callable[..., Any]
    value_and_grad: Callable[..., Any]
    jacobian: Callable[..., Any]
    hessian: Callable[..., Any]

    if TYPE_CHECKING:

        def __call__(self, *args: Any, **keywords: Any) -> Any: ...

    def __init__(self, formula: Formula, builders: Builders) -> None:
        self.formula, self._builders = formula, builders
        self._jits: dict[str, Callable[..., Any]] = {}
        here = weakref.ref(self)

        def give_away(attribute: str) -> Callable[[Any], None]:
            def made(builtin: Any) -> None:
                function = here()
                if function is not None:
                    setattr(function, attribute, builtin)

            return made

        self._calls = {"hvp": Call(formula, "hvp", builders)}
        for kind in _GIVEN_AWAY:
            attribute = _ATTRIBUTE.get(kind, kind)
            self._calls[kind] = Call(formula, kind, builders, give_away(attribute))
            setattr(self, attribute, self._calls[kind])
        if not formula.is_large:  # then the value, too, is compiled when first called
            self._calls["value"].make()
            for kind in _GIVEN_AWAY[1:]:
                setattr(self, kind, self._calls[kind].pending())

    @property
    def inputs(self) -> tuple[Expr, ...]:
        """The symbols, in the order of positional calls."""
        return self.formula.inputs

    @property
    def outputs(self) -> Any:
        """The expressions, in the structure in which they were given."""
        return nest_map(self.formula.structure, self.formula.outputs.__getitem__)

    @property
    def wrt(self) -> Any:
        """What is differentiated with respect to, in its structure."""
        return nest_map(self.formula.targets, self.formula.wrt.__getitem__)

    def hvp(self, *args: Any, v: Any, out: Any = None, **keywords: Any) -> Any:
        """The Hessian times ``v``, which is structured like ``wrt``; so is the result, and ``out``."""
        call = self._calls["hvp"]
        if call.kernel is None:
            call.make()
        given: Sequence[Any] = args
        if keywords or len(args) != len(self.formula.inputs):
            assert call.signature is not None
            given = Signature("f.hvp", call.signature.inputs[: len(self.formula.inputs)]).bind(args, keywords)
        directions = _like_targets(self.formula, v)
        return call(*given, *directions) if out is None else call(*given, *directions, out=out)

    @property
    def formulas(self) -> Any:
        """Name → gradient expression, printed one a line."""
        return self._builders.formulas(self.formula)

    def source(self, language: str = "python", *, annotate: bool = False) -> str:
        """The generated program: "python" (a complete module) or "llvm". Raises ``ValueError`` for another language.

        ``annotate``: beside each line of Python the formula of what it computes, and how many operations that takes in all rounds
        of the loops around it. Intermediate arrays stand in those formulas by their names in the program.

        >>> import symgrad as sg
        >>> text = sg.compile(sg.parse("x*tanh(w*x + b)")).source(annotate=True)
        >>> print(text[text.index("    v1 = ") : text.index("    d_b")])
            v1 = math.tanh(w * x + b)  # tanh(w*x + b); 3 operations
            value = x * v1             # x*tanh(w*x + b); 1 operation
            v2 = x * (1.0 - v1**2)     # x*(1 - tanh(w*x + b)**2); 3 operations
        """
        return self._builders.source(self.formula, language, annotate)

    @property
    def jit(self) -> Callable[..., Any]:
        """The value, callable inside ``@numba.njit`` code. ``out`` as in a call, with tuples for dicts; C-contiguous arrays apart
        from the inputs only."""
        return self._jit("value")

    @property
    def jit_grad(self) -> Callable[..., Any]:
        """The gradient (a tuple, or the one), callable inside ``@numba.njit`` code."""
        return self._jit("grad")

    @property
    def jit_value_and_grad(self) -> Callable[..., Any]:
        """The value and the gradient, callable inside ``@numba.njit`` code."""
        return self._jit("value_and_grad")

    def _jit(self, kind: str) -> Callable[..., Any]:
        if kind not in self._jits:
            self._jits[kind] = self._builders.jit(self.formula, self._builders.plan(self.formula, kind, False))
        return self._jits[kind]

    @property
    def cost(self) -> Cost:
        """Operations, transcendental calls, flops and bytes of the value, before and after simplification."""
        kernel = self._calls["value"].make().kernel
        assert kernel is not None
        return Cost(kernel.cost["before"], kernel.cost["after"])

    @property
    def schedule(self) -> Schedule:
        """What was compiled so far → its kernels, and why each was made as it was."""
        return Schedule((name, kernel.words) for name, kernel in self._kernels().items())

    @property
    def timings(self) -> Timings:
        """Seconds per stage, and whether the disk cache answered."""
        return Timings(self._kernels())

    def _kernels(self) -> dict[str, Kernel]:
        found = {}
        for name, call in self._calls.items():
            if call.kernel is not None:
                found[name] = call.kernel
            if call._sparse is not None:
                found.update(call._sparse.kernels)
            if call._mapped is not None and call._mapped.kernel is not None:
                found[f"{name} over arrays"] = call._mapped.kernel
        return found

    def __repr__(self) -> str:
        text = ", ".join(str(o) if len(str(o)) <= 60 else "…" for o in self.formula.outputs)
        inputs = ", ".join(i.name + (f": {dims.format_shape(i.shape)}" if i.shape else "") for i in self.inputs)
        return f"<symgrad.Function ({inputs}) -> {text}>"

    def __copy__(self) -> Function:
        return self

    def __deepcopy__(self, memo: Any) -> Function:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return self._builders.remake, (self.formula,)


def _like_targets(formula: Formula, v: Any) -> list[Any]:
    """The parts of ``v`` in the order of ``wrt``."""
    targets = formula.targets
    if isinstance(targets, dict):
        if not isinstance(v, Mapping) or v.keys() != targets.keys():
            raise TypeError(f"v is structured like wrt: a dict with the keys {', '.join(targets)}")
        return [v[key] for key in targets]
    if isinstance(targets, tuple):
        if not isinstance(v, (tuple, list)) or len(v) != len(targets):
            names = [w.name if w.op.name == "symbol" else f"#{k}" for k, w in enumerate(formula.wrt)]
            raise TypeError(f"v is structured like wrt: {len(targets)} arrays, for {', '.join(names)}")
        return list(v)
    return [as_array(v, "v", formula.dtype)]
