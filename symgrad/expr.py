"""BUILD: the Op record and its registry, and the interned, immutable expression.

An expression is a node of a DAG: an :class:`Op` record, operand expressions and static parameters.
Equal structure is the same object, so ``==`` and ``hash`` are identity and results can be memoised
by node. Every traversal is iterative: a chain of 100,000 nodes is an ordinary input.

Operators and methods of :class:`Expr` go through :data:`METHODS`, which the rooms above fill
(``ops``, ``show``, ``sympy_bridge``).
"""

from __future__ import annotations

import operator
import os
import re
import struct
import threading
import unicodedata
import weakref
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from hashlib import blake2b
from typing import Any, Union

import numpy as np

from symgrad import dims
from symgrad.dims import Shape
from symgrad.errors import ShapeError

__all__ = [
    "METHODS", "OPS", "Expr", "ExprLike", "Op", "apply", "as_expr", "constant", "derived_from", "free_symbols", "rebuild",
    "register", "substitute", "symbol", "symbols", "topological", "users_nodes",
]

Kind = str  # "real", "integer" or "boolean"
KINDS: tuple[Kind, ...] = ("boolean", "integer", "real")
Params = Mapping[str, Any]
Array = np.ndarray[Any, Any]
Rule = Callable[..., Sequence["Expr | None"]]
ExprLike = Union["Expr", bool, int, float, "np.ndarray[Any, Any]", "np.generic"]


def real(*kinds: Kind) -> Kind:
    """Kind rule: the result is real whatever the operands are."""
    return "real"


@cache
def promoted(*kinds: Kind) -> Kind:
    """Kind rule: NumPy's promotion, and arithmetic on booleans counts."""
    return KINDS[max(1, *map(KINDS.index, kinds))]


@cache
def common(*kinds: Kind) -> Kind:
    """Kind rule: the widest operand's kind."""
    return KINDS[max(map(KINDS.index, kinds))]


def boolean(*kinds: Kind) -> Kind:
    """Kind rule: true or false."""
    return "boolean"


def integer(*kinds: Kind) -> Kind:
    """Kind rule: a whole number."""
    return "integer"


@dataclass(frozen=True, eq=False, kw_only=True)
class Op:
    """One operation: everything symgrad knows about it, in one place.

    name        as in NumPy where NumPy has it; also the key in the registry
    family      "leaf", "elementwise", "reduce", "contract", "movement", "matrix" or "composite" (see ``expand``)
    arity       number of operands, ``None`` for any
    shape       ``shape(*operand_shapes, **params)``; broadcasting unless given
    kind        ``kind(*operand_kinds)`` (leaves: ``kind(**params)``)
    derivative  ``derivative(g, y, *operands, **params)``: one expression or ``None`` an operand, linear in ``g``
    linear      the op is linear in all its operands together: a tangent passes through the op itself
    evaluate    ``evaluate(*arrays, **params)`` in plain NumPy, dimensions in params already numbers
    lower       ``lower(b, *values, **params)``: scalar instructions, ``b`` the builder (elementwise ops)
    expand      ``expand(*operands, **params)``: the op in terms of simpler ones, for the compiler (composites)
    sympy       dotted name or a function of SymPy operands and params; ``None`` where SymPy has no counterpart
    text, latex template (``"{0} + {1}"``), or a function ``(strings, params) -> str``; default ``name(a, b)``
    precedence  binding strength of the text: 100 call, 90 power, 80 unary minus, 70 product, 60 sum,
                50 comparison, 40 not, 30 and, 20 or
    domain      an open interval for each operand, where values and derivatives are finite and smooth
    samples     tuples of operand values (or params-bearing builders) at which the op is tested
    cost        relative cost of one element: 1 an addition, about 20 a transcendental function (of family "matrix": times rows)
    """

    name: str
    family: str = "elementwise"
    arity: int | None = 1
    doc: str = ""
    shape: Callable[..., Shape] | None = None
    kind: Callable[..., Kind] = real
    derivative: Rule | None = None
    linear: bool = False
    evaluate: Callable[..., Any] | None = None
    lower: Callable[..., Any] | None = None
    expand: Callable[..., Expr] | None = None
    sympy: str | Callable[..., Any] | None = None
    text: str | Callable[..., str] | None = None
    latex: str | Callable[..., str] | None = None
    precedence: int = 100
    domain: tuple[tuple[float, float], ...] = ()
    samples: tuple[Any, ...] = ()
    cost: float = 1.0
    nodes: dict[Any, Any] = field(default_factory=dict, init=False, repr=False)  # those of this op (see ``_Entry``)

    def __repr__(self) -> str:
        return f"Op({self.name!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return (_op_named, (self.name,))


OPS: dict[str, Op] = {}
METHODS: dict[str, Callable[..., Any]] = {}
_ARRAY_FUNCTIONS: dict[Any, Callable[..., Any]] = {}  # NumPy function or ufunc -> builder


def register(op: Op) -> Op:
    """Adds a record to the registry; a name can be taken once."""
    if op.name in OPS:
        raise ValueError(f"an op named {op.name!r} exists already")
    OPS[op.name] = op
    return op


def _op_named(name: str) -> Op:
    try:
        return OPS[name]
    except KeyError:
        raise LookupError(f"no op named {name!r} here: import or define it (sg.define_op) first") from None


# --- interning -------------------------------------------------------------------------------------

# A node is found by its op, its operands (whose identity is their structure) and encoded parameters, without a digest: each op has
# a table, by operands or, where there are parameters, by (operands, parameters). They are what a
# weakref.WeakValueDictionary is, at half the price a node.
_Key = tuple[Any, ...]


class _Entry(weakref.ref["Expr"]):
    """A place in a table, given up when its node is."""

    __slots__ = ("key", "table")
    key: _Key
    table: dict[_Key, _Entry]


_dead: list[_Entry] = []  # places to be given up by the next one who holds the lock
_lock = threading.RLock()


def _give_up_places() -> None:
    """Called with the lock held.

    A node may die anywhere, inside of somebody else's lock too, so what is called then (``_dead.append``) must not wait.
    """
    while _dead:
        try:
            entry = _dead.pop()
        except IndexError:  # a finalizer in this very thread was here in between
            return
        if entry.table.get(entry.key) is entry:  # no new node has taken the place
            del entry.table[entry.key]
        del entry  # what only this place held dies now, and is seen in the next round


def sweep() -> None:
    """Gives up the places of dead nodes now, and with them what only they hold."""
    with _lock:
        _give_up_places()


def _renew_lock() -> None:
    global _lock
    _lock = threading.RLock()


os.register_at_fork(after_in_child=_renew_lock)

_NO_PARAMS: dict[str, Any] = {}


def _encode(value: Any) -> bytes:
    """A parameter as bytes, injective: kinds and bits count (0.0 is not -0.0, 1 is not True)."""
    if isinstance(value, np.ndarray):
        return f"array{value.dtype.str}{value.shape}".encode() + value.tobytes()
    if isinstance(value, float):
        return b"float" + struct.pack("<d", value)
    if isinstance(value, tuple):
        return b"(" + b",".join(map(_encode, value)) + b")"
    return f"{type(value).__name__}:{value!r}".encode()


def _encoded(params: Params) -> list[bytes]:
    return [b"|" + name.encode() + b"=" + _encode(value) for name, value in params.items()]


def _fill_digests(root: Expr) -> None:
    """Digests for the nodes below the root that have none yet: most nodes that simplification makes never need one."""
    stack = [root]
    while stack:
        node = stack[-1]
        if missing := [a for a in node.args if not a._digest]:
            stack.extend(missing)
            continue
        stack.pop()
        params = node.params
        tag = params.get("tag", b"") if params else b""
        tail = _encoded({k: v for k, v in params.items() if k != "tag"} if tag else params) if params else []
        head = node.op.name.encode()
        digest = blake2b(b"".join([head, *[a._digest for a in node.args], *tail]), digest_size=16).digest()
        tagged = tag or any(a._key is not a._digest for a in node.args)
        keys = [head, *[a._key for a in node.args], *tail, b"tag", tag]
        _put_key(node, blake2b(b"".join(keys), digest_size=16).digest() if tagged else digest)
        _put_digest(node, digest)


class Expr:
    """A node. Build with :func:`symbol`, operators and the functions of ``sg``; never mutate.

    ``op``, ``args``, ``params``: the structure. ``shape``, ``kind``: deduced. ``digest``: 128 bits that
    depend on the structure alone, the same in every process. ``key``: the digest with network tags.
    """

    __slots__ = ("__weakref__", "_digest", "_key", "_origin", "args", "kind", "op", "params", "shape")
    op: Op
    args: tuple[Expr, ...]
    params: Params
    shape: Shape
    kind: Kind
    _digest: bytes
    _key: bytes
    _origin: tuple[Expr, ...]

    def __new__(cls, *args: Any, **kwargs: Any) -> Expr:
        raise TypeError("build expressions with sg.symbol, sg.constant and operators")

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError("expressions are immutable")

    # structure
    @property
    def digest(self) -> bytes:
        if not self._digest:
            _fill_digests(self)
        return self._digest

    @property
    def key(self) -> bytes:
        if not self._digest:
            _fill_digests(self)
        return self._key

    @property
    def origin(self) -> tuple[Expr, ...]:
        """What a derivative was made of, empty for anything else: print asks what the user wrote and what was derived."""
        return getattr(self, "_origin", ())

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def name(self) -> str:
        """The name of a symbol or of a named node."""
        if "name" in self.params:
            return str(self.params["name"])
        raise AttributeError(f"only symbols and named nodes have a name, this is a {self.op.name} node")

    @property
    def free_symbols(self) -> Any:
        """The symbols it depends on, in order of first appearance: a set that keeps its order."""
        return free_symbols(self)

    def __copy__(self) -> Expr:
        return self

    def __deepcopy__(self, memo: Any) -> Expr:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return (_unflatten, (_flatten(self),))

    # what an expression is not
    def __bool__(self) -> bool:
        raise TypeError("an expression has no truth value: write sg.where(condition, a, b), & | ~ for logic, and sg.equal to compare")

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError("an expression is not an array: use sg.stack or sg.concatenate to build tensors, sg.compile to get numbers")

    def _number(self, convert: type) -> Any:
        if self.op.name != "constant" or self.shape != ():
            found = f"a {self.op.name} node of shape {dims.format_shape(self.shape)}"
            raise TypeError(f"only a constant scalar is a number, this is {found}: use sg.compile or sg.at")
        return convert(self.params["value"])

    def __float__(self) -> float:
        return float(self._number(float))

    def __int__(self) -> int:
        return int(self._number(int))

    def __iter__(self) -> Iterator[Expr]:
        if not self.shape or not isinstance(self.shape[0], int):
            raise TypeError(f"cannot iterate over an expression of shape {dims.format_shape(self.shape)}")
        return (self[i] for i in range(self.shape[0]))

    # NumPy's protocols
    __array_priority__ = 1000.0
    _op_priority = 1000.0  # so that SymPy's operators, too, leave mixed operands to ours

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        builder = _ARRAY_FUNCTIONS.get(ufunc)
        if builder is None or method != "__call__" or kwargs.get("out") is not None:
            raise TypeError(f"np.{ufunc.__name__}{'' if method == '__call__' else '.' + method} does not work on expressions")
        kwargs.pop("out", None)
        return builder(*inputs, **kwargs)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        builder = _ARRAY_FUNCTIONS.get(func)
        if builder is None:
            raise TypeError(f"np.{func.__name__} does not work on expressions")
        return builder(*args, **kwargs)

    # operators and methods: filled in by the rooms above
    def __add__(self, other: ExprLike) -> Expr: return _call("add", self, other)
    def __radd__(self, other: ExprLike) -> Expr: return _call("add", other, self)
    def __sub__(self, other: ExprLike) -> Expr: return _call("sub", self, other)
    def __rsub__(self, other: ExprLike) -> Expr: return _call("sub", other, self)
    def __mul__(self, other: ExprLike) -> Expr: return _call("mul", self, other)
    def __rmul__(self, other: ExprLike) -> Expr: return _call("mul", other, self)
    def __truediv__(self, other: ExprLike) -> Expr: return _call("div", self, other)
    def __rtruediv__(self, other: ExprLike) -> Expr: return _call("div", other, self)
    def __floordiv__(self, other: ExprLike) -> Expr: return _call("floordiv", self, other)
    def __rfloordiv__(self, other: ExprLike) -> Expr: return _call("floordiv", other, self)
    def __mod__(self, other: ExprLike) -> Expr: return _call("mod", self, other)
    def __rmod__(self, other: ExprLike) -> Expr: return _call("mod", other, self)
    def __pow__(self, other: ExprLike) -> Expr: return _call("pow", self, other)
    def __rpow__(self, other: ExprLike) -> Expr: return _call("pow", other, self)
    def __matmul__(self, other: ExprLike) -> Expr: return _call("matmul", self, other)
    def __rmatmul__(self, other: ExprLike) -> Expr: return _call("matmul", other, self)
    def __lt__(self, other: ExprLike) -> Expr: return _call("less", self, other)
    def __le__(self, other: ExprLike) -> Expr: return _call("less_equal", self, other)
    def __gt__(self, other: ExprLike) -> Expr: return _call("greater", self, other)
    def __ge__(self, other: ExprLike) -> Expr: return _call("greater_equal", self, other)
    def __and__(self, other: ExprLike) -> Expr: return _call("logical_and", self, other)
    def __rand__(self, other: ExprLike) -> Expr: return _call("logical_and", other, self)
    def __or__(self, other: ExprLike) -> Expr: return _call("logical_or", self, other)
    def __ror__(self, other: ExprLike) -> Expr: return _call("logical_or", other, self)
    def __invert__(self) -> Expr: return _call("logical_not", self)
    def __neg__(self) -> Expr: return _call("neg", self)
    def __pos__(self) -> Expr: return self
    def __abs__(self) -> Expr: return _call("abs", self)
    def __getitem__(self, index: Any) -> Expr: return _call("getitem", self, index)

    @property
    def T(self) -> Expr:
        """The transpose: all axes reversed."""
        return _call("transpose", self)

    def sum(self, axis: Any = None, keepdims: bool = False) -> Expr: return _call("sum", self, axis, keepdims)
    def mean(self, axis: Any = None, keepdims: bool = False) -> Expr: return _call("mean", self, axis, keepdims)
    def var(self, axis: Any = None, keepdims: bool = False) -> Expr: return _call("var", self, axis, keepdims=keepdims)
    def std(self, axis: Any = None, keepdims: bool = False) -> Expr: return _call("std", self, axis, keepdims=keepdims)
    def prod(self, axis: Any = None, keepdims: bool = False) -> Expr: return _call("prod", self, axis, keepdims)
    def max(self, axis: Any = None, keepdims: bool = False) -> Expr: return _call("max", self, axis, keepdims)
    def min(self, axis: Any = None, keepdims: bool = False) -> Expr: return _call("min", self, axis, keepdims)
    def argmax(self, axis: Any = None, keepdims: bool = False) -> Expr: return _call("argmax", self, axis, keepdims)
    def argmin(self, axis: Any = None, keepdims: bool = False) -> Expr: return _call("argmin", self, axis, keepdims)
    def cumsum(self, axis: Any = None) -> Expr: return _call("cumsum", self, axis)
    def clip(self, low: Any = None, high: Any = None) -> Expr: return _call("clip", self, low, high)
    def dot(self, other: ExprLike) -> Expr: return _call("dot", self, other)
    def round(self, decimals: int = 0) -> Expr: return _call("round", self, decimals)
    def reshape(self, *shape: Any) -> Expr: return _call("reshape", self, *shape)
    def transpose(self, *axes: Any) -> Expr: return _call("transpose", self, *axes)

    def named(self, name: str) -> Expr:
        """The same value under a name, which formulas, graphs and derivations show."""
        return _call("named", self, name)

    def to_sympy(self) -> Any:
        """The SymPy expression (see ``sympy_bridge``)."""
        return _call("to_sympy", self)

    def latex(self) -> str:
        """The formula as LaTeX, without delimiters."""
        return str(_call("latex", self))

    def _repr_latex_(self) -> str | None:
        found: str | None = _call("notebook", self)
        return found

    def __str__(self) -> str:
        return str(_call("str", self))

    def __repr__(self) -> str:
        return str(_call("repr", self))


def _call(method: str, *args: Any, **kwargs: Any) -> Any:
    return METHODS[method](*args, **kwargs)


def intern_node(op: Op, args: tuple[Expr, ...], params: Params, shape: Shape, kind: Kind) -> Expr:
    """The node of this structure, made if it does not exist. Shape and kind are the caller's promise."""
    return _interned(_place(args, params), op, args, params, shape, kind)


def _place(args: tuple[Expr, ...], params: Params) -> _Key:
    return (args, b"".join(_encoded(params))) if params else args


def _interned(key: _Key, op: Op, args: tuple[Expr, ...], params: Params, shape: Shape, kind: Kind) -> Expr:
    node = _new_node(Expr)
    _put_op(node, op)
    _put_args(node, args)
    _put_params(node, params)
    _put_shape(node, shape)
    _put_kind(node, kind)
    _put_digest(node, b"")
    entry = _Entry(node, _dead.append)
    entry.key, entry.table = key, op.nodes
    there = op.nodes.setdefault(key, entry)  # one step, nothing comes in between: the lock is for what takes several
    if there is not entry:
        with _lock:
            there = op.nodes.setdefault(key, entry)
            known = there()
            if known is not None:
                return known
            op.nodes[key] = entry  # of a node that is no more
    if _dead:  # at once: the place of one node may be all that keeps a large formula
        sweep()
    return node


_new_node = object.__new__
_put_op, _put_args, _put_params, _put_shape, _put_kind, _put_digest, _put_key, _put_origin = [
    vars(Expr)[name].__set__ for name in ("op", "args", "params", "shape", "kind", "_digest", "_key", "_origin")
]


def apply(op: Op, *operands: ExprLike, **params: Any) -> Expr:
    """The node ``op(*operands)``: shapes and kinds checked, constants folded, interned."""
    args: tuple[Expr, ...] = operands  # type: ignore[assignment]
    for a in operands:
        if a.__class__ is not Expr:
            args = tuple([a if a.__class__ is Expr else as_expr(a) for a in operands])
            break
    key = _place(args, params) if params else args
    entry = op.nodes.get(key)  # found without the lock: nothing here can be interrupted halfway
    if entry is not None and (known := entry()) is not None:
        return known
    shape = _broadcast(op, args) if op.shape is None else op.shape(*map(_shape_of, args), **params)
    kind = op.kind(*map(_kind_of, args))
    if args and args[0].op is CONSTANT and op.family in ("elementwise", "movement", "reduce") and all(a.op is CONSTANT for a in args):
        folded = _fold(op, args, params, shape, kind)
        if folded is not None:
            return folded
    return _interned(key, op, args, params or _NO_PARAMS, shape, kind)


_shape_of, _kind_of = operator.attrgetter("shape"), operator.attrgetter("kind")


def _broadcast(op: Op, args: Sequence[Expr]) -> Shape:
    """The shape that operands broadcast to; the usual case, one shape beside scalars, without a look at each axis."""
    shape: Shape = ()
    for a in args:
        if len(a.shape) > len(shape):
            shape = a.shape
    for a in args:
        if a.shape and a.shape != shape:
            return dims.broadcast(op.name, *map(_shape_of, args))
    return shape


_FOLD_LIMIT = 64  # elements; larger results are computed at run time


def _fold(op: Op, args: tuple[Expr, ...], params: Params, shape: Shape, kind: Kind) -> Expr | None:
    if op.evaluate is None or op.name in ("broadcast_to", "named", "stop_gradient"):
        return None
    size = dims.total(shape)
    if not isinstance(size, int) or size > _FOLD_LIMIT or any(a.params["value"].size > _FOLD_LIMIT for a in args if a.shape):
        return None
    values = [a.params["value"] for a in args]
    if kind == "real" and not shape and op.name in _IN_FLOATS:
        return constant(_IN_FLOATS[op.name](*map(float, values)))
    with np.errstate(all="ignore"):
        if kind == "integer" and not shape:
            return _fold_integers(op, values, params)
        try:
            value = op.evaluate(*[np.asarray(v) for v in values], **params)
        except (TypeError, ValueError):
            return None
    dtype = {"real": np.float64, "integer": np.int64, "boolean": np.bool_}[kind]
    return constant(np.asarray(value, dtype=dtype))


# As NumPy computes them, in a hundredth of the time.
_IN_FLOATS: dict[str, Callable[..., float]] = {"add": operator.add, "sub": operator.sub, "mul": operator.mul, "neg": operator.neg}


def _fold_integers(op: Op, values: list[Any], params: Params) -> Expr | None:
    """Whole numbers fold exactly, or not at all: int64 would wrap around silently."""
    try:
        value = op.evaluate(*[np.asarray(int(v), dtype=object) for v in values], **params)  # type: ignore[misc]
        exact = int(value)
    except (TypeError, ValueError, ZeroDivisionError, AttributeError, OverflowError):
        return None
    return constant(exact) if value == exact and -(2**63) <= exact < 2**63 else None


# --- leaves ----------------------------------------------------------------------------------------

CONSTANT = register(Op(name="constant", family="leaf", arity=0, doc="a number or array", evaluate=lambda value: value))
SYMBOL = register(Op(name="symbol", family="leaf", arity=0, doc="an input"))

_KIND_OF_DTYPE = {"b": "boolean", "i": "integer", "u": "integer", "f": "real"}


def constant(value: ExprLike) -> Expr:
    """A number or NumPy array as an expression; every bit is kept.

    Whole numbers must fit into 64 bits (or be exact as a float), arrays are copied.
    Raises ``TypeError`` for anything that is not real, integer or boolean, ``OverflowError`` for too large an int.

    >>> import symgrad as sg
    >>> float(sg.constant(0.5))
    0.5
    """
    if isinstance(value, Expr):
        return value
    if value.__class__ is int and -_FEW <= value <= _FEW:
        return _whole_number(value)
    if isinstance(value, (bool, np.bool_)):
        return intern_node(CONSTANT, (), {"value": bool(value)}, (), "boolean")
    if isinstance(value, int):
        if -(2**63) <= value < 2**63:
            return intern_node(CONSTANT, (), {"value": int(value)}, (), "integer")
        if value.bit_length() <= 1024 and int(float(value)) == value:
            return constant(float(value))
        raise OverflowError(f"an integer constant of {value.bit_length()} bits fits neither int64 nor float64: write it as a float")
    if isinstance(value, float):
        return intern_node(CONSTANT, (), {"value": float(value)}, (), "real")
    if isinstance(value, (np.ndarray, np.generic, list, tuple)):
        if isinstance(value, (list, tuple)) and _holds_expr(value):
            raise TypeError("a list of expressions is not an expression: use sg.stack")
        array = np.asarray(value)
        kind = _KIND_OF_DTYPE.get(array.dtype.kind)
        if kind is None or array.dtype.itemsize > 8:
            raise TypeError(f"an array of {array.dtype} cannot be an expression: real, integer and boolean arrays can")
        if array.dtype == np.uint64 and array.size and array.max() >= 2**63:
            raise OverflowError("an unsigned constant does not fit into int64")
        if array.ndim == 0:
            return constant(array.item())
        wide = {"boolean": np.bool_, "integer": np.int64, "real": np.float64}[kind]
        copy: np.ndarray[Any, Any] = np.array(array, dtype=wide, order="C", copy=True)
        copy.flags.writeable = False
        return intern_node(CONSTANT, (), {"value": copy}, copy.shape, kind)
    raise TypeError(f"{type(value).__name__} is not an expression: expressions, real numbers, booleans and NumPy arrays of them are")


_FEW = 64


@cache
def _whole_number(value: int) -> Expr:
    """One of the whole numbers that rules write all the time: kept, so that it need not be looked for."""
    return intern_node(CONSTANT, (), {"value": value}, (), "integer")


def _holds_expr(items: Sequence[Any]) -> bool:
    return any(isinstance(i, Expr) or (isinstance(i, (list, tuple)) and _holds_expr(i)) for i in items)


_converters: list[Callable[[Any], Expr | None]] = []  # the SymPy bridge adds its own


def as_expr(value: Any) -> Expr:
    """An expression, number, array, or (through the bridge) SymPy object as an expression."""
    if isinstance(value, Expr):
        return value
    if isinstance(value, (int, float)):
        return constant(value)
    for convert in _converters:
        converted = convert(value)
        if converted is not None:
            return converted
    return constant(value)


_NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")


def check_name(name: object) -> str:
    """A name that can stand in a formula, or ``ValueError`` quoting it."""
    if not isinstance(name, str):
        raise TypeError(f"a name is a str, not {type(name).__name__}")
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not a name: letters, digits and underscores, not starting with a digit")
    if unicodedata.normalize("NFKC", name) != name:
        raise ValueError(f"{name!r} is not in Unicode's normal form NFKC: write {unicodedata.normalize('NFKC', name)!r}")
    return name


def symbol(name: str, shape: Any = (), *, integer: bool = False, positive: bool = False, tag: bytes = b"") -> Expr:
    """One input of a formula.

    ``shape``: a tuple of sizes; an entry is an int, or a str that names a dimension bound at the call
    (``"n"``). ``integer``: whole numbers (class labels). ``positive``: what simplification may assume.
    ``tag`` tells equal names of different networks apart. Raises ``ValueError`` for a name that is none.

    >>> import symgrad as sg
    >>> sg.symbol("x", ("n", 2)).shape
    ('n', 2)
    """
    if isinstance(shape, (str, int)):
        shape = (shape,)
    checked = tuple(dims.check_dim(d) for d in shape)
    kind = "integer" if integer else "real"
    params = {"name": check_name(name), "shape": checked, "kind": kind, "positive": bool(positive)}
    if tag:
        params["tag"] = tag
    return intern_node(SYMBOL, (), params, checked, kind)


def symbols(names: str, shape: Any = (), *, integer: bool = False, positive: bool = False) -> tuple[Expr, ...]:
    """Several inputs of one shape, from names separated by spaces or commas.

    >>> import symgrad as sg
    >>> x, y = sg.symbols("x y")
    """
    return tuple(symbol(n, shape, integer=integer, positive=positive) for n in names.replace(",", " ").split())


# --- traversal -------------------------------------------------------------------------------------


_orders = threading.local()


@contextmanager
def remembered_orders() -> Iterator[None]:
    """Inside, the order below the same roots is found once: for a stage that reads one large graph many times."""
    before = getattr(_orders, "known", None)
    _orders.known = {}
    try:
        yield
    finally:
        _orders.known = before


def topological(*roots: Expr) -> list[Expr]:
    """Every node below the roots once, operands before their users, in the order of reading left to right."""
    known = getattr(_orders, "known", None)
    if known is None:
        return unvisited(roots)
    if roots not in known:
        known[roots] = unvisited(roots)
    return list(known[roots])


def unvisited(roots: Sequence[Expr], done: Collection[Expr] = ()) -> list[Expr]:
    """The nodes below the roots that are not done, operands before their users; what is done hides what stands below it."""
    order: list[Expr] = []
    seen: set[Expr] = set()
    stack: list[Expr | None] = list(reversed(roots))
    while stack:
        node = stack.pop()
        if node is None:  # the operands of the node below are done
            order.append(stack.pop())  # type: ignore[arg-type]
            continue
        while node not in seen and node not in done:  # down along first operands
            seen.add(node)
            args = node.args
            if not args:
                order.append(node)
                break
            stack += (node, None)
            if len(args) == 2:
                stack.append(args[1])
            else:
                stack += args[:0:-1]
            node = args[0]
    return order


def free_symbols(*roots: Expr) -> Any:
    """The symbols below the roots, in order of first appearance; two different ones of one name are an error."""
    found: dict[Expr, None] = {}
    names: dict[str, Expr] = {}
    for node in topological(*roots):
        if node.op is SYMBOL:
            found[node] = None
            other = names.setdefault(node.params["name"], node)
            if other is not node:
                raise ValueError(f"two different symbols are named {node.name!r}: {_describe(other, node)}")
    return found.keys()


def derived_from(written: Sequence[Expr], results: Sequence[Expr]) -> None:
    """Marks results as derived from what the user wrote, those apart that the user wrote, too.

    It is no part of the structure: the node is the same one.
    """
    users = set(topological(*written))
    for result in results:
        if result in users:
            continue
        if result.op is CONSTANT:
            _put_origin(result, (result,))
        elif result.args:
            _put_origin(result, tuple(written))


def users_nodes(roots: Sequence[Expr]) -> dict[Expr, None]:
    """The nodes below the roots that the user wrote: of a derivative those of what it was derived from."""
    found: dict[Expr, None] = {}
    stack, met = list(reversed(roots)), set[Expr]()
    while stack:
        node = stack.pop()
        if node in met:
            continue
        met.add(node)
        if node.origin:
            stack.extend(reversed(node.origin))
        else:
            found[node] = None
            stack.extend(reversed(node.args))
    return found


def _describe(a: Expr, b: Expr) -> str:
    parts = [f"{dims.format_shape(s.shape)} {s.kind}{', positive' if s.params['positive'] else ''}" for s in (a, b)]
    if parts[0] == parts[1]:
        return "parameters of two networks; give the networks names (name=...)"
    return f"{parts[0]} and {parts[1]}"


def rebuild(node: Expr, args: Sequence[Expr]) -> Expr:
    """The same operation on other operands (the node itself where nothing changed)."""
    if node.args == tuple(args):  # equality is identity
        return node
    return apply(node.op, *args, **node.params)


def rewrite(roots: Sequence[Expr], replace: Callable[[Expr, tuple[Expr, ...]], Expr]) -> list[Expr]:
    """Bottom-up: ``replace(node, new_args)`` for every node once, operands first; the new roots."""
    new: dict[Expr, Expr] = {}
    for node in topological(*roots):
        new[node] = replace(node, tuple([new[a] for a in node.args]))
    return [new[r] for r in roots]


def substitute(expr: Expr, replacements: Mapping[Expr, ExprLike]) -> Expr:
    """Simultaneous replacement of nodes (symbols or intermediate ones) by expressions of the same shape.

    Raises ``ShapeError`` where a replacement has another shape.

    >>> import symgrad as sg
    >>> x, y = sg.symbols("x y")
    >>> sg.substitute(x + y, {x: y, y: x}) is y + x
    True
    """
    table: dict[Expr, Expr] = {}
    for old, new in replacements.items():
        replacement = as_expr(new)
        if replacement.shape != old.shape:
            before, after = dims.format_shape(old.shape), dims.format_shape(replacement.shape)
            raise ShapeError(f"substitute: a node of shape {before} cannot become one of shape {after}")
        table[old] = replacement  # what stands below it is not looked at
    root = as_expr(expr)
    for node in unvisited((root,), table):
        table[node] = rebuild(node, tuple([table[a] for a in node.args]))
    return table[root]


# --- pickling: one flat list -----------------------------------------------------------------------


def _flatten(*roots: Expr) -> list[tuple[str, tuple[int, ...], dict[str, Any]]]:
    order = topological(*roots)
    index = {node: i for i, node in enumerate(order)}
    return [(n.op.name, tuple(index[a] for a in n.args), dict(n.params)) for n in order]


def _unflatten(records: list[tuple[str, tuple[int, ...], dict[str, Any]]]) -> Expr:
    nodes: list[Expr] = []
    for name, arg_indices, params in records:
        op = _op_named(name)
        if op is CONSTANT:
            nodes.append(constant(params["value"]))
        elif op is SYMBOL:
            nodes.append(intern_node(SYMBOL, (), params, params["shape"], params["kind"]))
        else:
            args = tuple(nodes[i] for i in arg_indices)
            shapes = [a.shape for a in args]
            shape = dims.broadcast(name, *shapes) if op.shape is None else op.shape(*shapes, **params)
            nodes.append(intern_node(op, args, params, shape, op.kind(*[a.kind for a in args])))
    return nodes[-1]


