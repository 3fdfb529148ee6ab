"""ELEMENTWISE, part 1: how such a record is written; logic and comparison; arithmetic.

A record is one aligned entry: name, what it is, derivative rule, NumPy evaluation, and what differs from
the defaults (lowering: the loop instruction of the same name). Rules never broadcast: the sweep does that.
A sample is a tuple of operand values, with a dict of params at its end where the op takes some; samples
are points where the op is smooth. Transcendental functions and activations follow in the two files beside.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

import numpy as np

from symgrad.dims import Dim
from symgrad.expr import CONSTANT, SYMBOL, Array, Expr, ExprLike, Kind, Op, apply, as_expr, check_name, common, promoted, real, register
from symgrad.expr import boolean as boolean_kind
from symgrad.expr import integer as integer_kind
from symgrad.ops.writing import call_latex

__all__ = [
    "abs", "add", "ceil", "div", "equal", "floor", "floordiv", "greater", "greater_equal", "isfinite", "isnan", "less", "less_equal",
    "maximum", "minimum", "mod", "mul", "named", "neg", "not_equal", "sign", "square", "stop_gradient", "sub",
]  # fmt: skip

Unary = Callable[[ExprLike], Expr]
Binary = Callable[[ExprLike, ExprLike], Expr]
Ternary = Callable[[ExprLike, ExprLike, ExprLike], Expr]
Interval = tuple[float, float]

ANY: Interval = (-inf, inf)
POSITIVE: Interval = (0.0, inf)


# --- how a record is written -----------------------------------------------------------------------


def same_kind(*kinds: Kind) -> Kind:
    """Kind rule: the operand's."""
    return kinds[0]


def branches(condition: Kind, *kinds: Kind) -> Kind:
    """Kind rule of ``where``: the branches' common one."""
    return common(*kinds)


@dataclass(frozen=True)
class ByName:
    """Lowering: the loop instruction of this name."""

    name: str

    def __call__(self, b: Any, *values: Any, **params: Any) -> Any:
        return getattr(b, self.name)(*values, **params)


def _no_gradient(arity: int) -> Callable[..., Sequence[Expr | None]]:
    return lambda g, y, *operands, **params: (None,) * arity


def _register(
    name: str, doc: str, derivative: Callable[..., Any] | None, evaluate: Callable[..., Any],
    operands: tuple[str, ...], domain: tuple[Interval, ...], **fields: Any,
) -> Op:  # fmt: skip
    """A record with an elementwise op's defaults; ``derivative=None``: piecewise constant."""
    fields.setdefault("lower", ByName(name))
    fields.setdefault("latex", call_latex(name.replace("_", r"\_")) if fields.get("text") is None else fields["text"])
    fields["derivative"] = derivative or _no_gradient(len(operands))
    return register(Op(name=name, doc=doc, arity=len(operands), evaluate=evaluate, domain=domain, **fields))


def _documented(build: Callable[..., Expr], op: Op, operands: tuple[str, ...], rule: Any) -> Callable[..., Expr]:
    """The builder with the record's documentation, as a function of the module whose table it stands in (where its rule is written)."""
    build.__name__ = build.__qualname__ = op.name
    build.__module__ = __name__ if rule is None else rule.__module__
    one = len(operands) == 1
    takes = "expression, number or array; the result has its shape" if one else "expressions, numbers or arrays of shapes that broadcast"
    build.__doc__ = f"{op.doc[0].upper()}{op.doc[1:]}.\n\n    {', '.join(f'``{o}``' for o in operands)}: {takes}.\n    "
    if op.name not in _WITHOUT_EXAMPLE:
        example = _EXAMPLES.get(op.name) or (op.text.format(*operands) if isinstance(op.text, str) else f"{op.name}({', '.join(operands)})")
        names = f"{', '.join(operands)} = sg.symbols({' '.join(operands)!r}){'[0]' if one else ''}"
        lines = (">>> import symgrad as sg", f">>> {names}", f">>> sg.{op.name}({', '.join(operands)})", example, "")
        build.__doc__ += "\n    " + "\n    ".join(lines)
    return build


_WITHOUT_EXAMPLE = frozenset(  # wrapped or internal
    {"logical_and", "logical_or", "logical_not", "where", "clip", "to_real", "round", "ratio"}
)
_EXAMPLES = {"floordiv": "a//b"}  # as it prints: between scalars without spaces


def unary(
    name: str, doc: str, derivative: Callable[..., Expr | None] | None, evaluate: Callable[..., Any], *,
    domain: Interval = ANY, samples: tuple[Any, ...] = (-1.5, 0.25, 2.0), **fields: Any,
) -> Unary:  # fmt: skip
    """Registers an op of one operand and returns its builder."""
    rule = None if derivative is None else lambda g, y, x, **params: (derivative(g, y, x, **params),)
    points = tuple(s if isinstance(s, tuple) else (s,) for s in samples)
    op = _register(name, doc, rule, evaluate, ("x",), (domain,), samples=points, **fields)

    def build(x: ExprLike) -> Expr:
        return apply(op, x)

    return _documented(build, op, ("x",), derivative)


def binary(
    name: str, doc: str, derivative: Callable[..., Sequence[Expr | None]] | None, evaluate: Callable[..., Any], *,
    operands: tuple[str, str] = ("a", "b"), domain: tuple[Interval, Interval] = (ANY, ANY),
    samples: tuple[Any, ...] = ((-1.5, 0.75), (0.5, 2.0), (3.0, -0.25)), **fields: Any,
) -> Binary:  # fmt: skip
    """Registers an op of two operands and returns its builder."""
    op = _register(name, doc, derivative, evaluate, operands, domain, samples=samples, **fields)

    def build(a: ExprLike, b: ExprLike) -> Expr:
        return apply(op, a, b)

    return _documented(build, op, operands, derivative)


def ternary(
    name: str, doc: str, derivative: Callable[..., Sequence[Expr | None]], evaluate: Callable[..., Any], *,
    operands: tuple[str, str, str], domain: tuple[Interval, Interval, Interval] = (ANY, ANY, ANY), samples: tuple[Any, ...], **fields: Any,
) -> Ternary:  # fmt: skip
    """Registers an op of three operands and returns its builder."""
    op = _register(name, doc, derivative, evaluate, operands, domain, samples=samples, **fields)

    def build(a: ExprLike, b: ExprLike, c: ExprLike) -> Expr:
        return apply(op, a, b, c)

    return _documented(build, op, operands, derivative)


# --- logic and comparison --------------------------------------------------------------------------


_boolean: dict[str, Any] = {"kind": boolean_kind, "samples": ((True, False), (True, True), (False, False)), "domain": ((0, 1), (0, 1))}


def _comparison(name: str, doc: str, evaluate: Callable[..., Any], sign: str, latex: str, sympy: str) -> Binary:
    text, latex = f"{{0}} {sign} {{1}}", f"{{0}} {latex} {{1}}"
    return binary(name, doc, None, evaluate, kind=boolean_kind, precedence=50, text=text, latex=latex, sympy=f"sympy.{sympy}")


less          = _comparison("less",          "true where a < b",          np.less,          "<",  "<",     "StrictLessThan")
less_equal    = _comparison("less_equal",    "true where a <= b",         np.less_equal,    "<=", r"\le",  "LessThan")
greater       = _comparison("greater",       "true where a > b",          np.greater,       ">",  ">",     "StrictGreaterThan")
greater_equal = _comparison("greater_equal", "true where a >= b",         np.greater_equal, ">=", r"\ge",  "GreaterThan")
equal         = _comparison("equal",         "true where a equals b",     np.equal,         "==", "=",     "Eq")
not_equal     = _comparison("not_equal",     "true where a differs from b", np.not_equal,   "!=", r"\ne",  "Ne")

logical_and = binary("logical_and", "true where a and b are", None, np.logical_and, precedence=30, sympy="sympy.And",
                     text="{0} & {1}", latex=r"{0} \wedge {1}", lower=lambda b, p, q: b.and_(p, q), **_boolean)
logical_or  = binary("logical_or",  "true where a or b is",   None, np.logical_or,  precedence=20, sympy="sympy.Or",
                     text="{0} | {1}", latex=r"{0} \vee {1}", lower=lambda b, p, q: b.or_(p, q), **_boolean)
logical_not = unary("logical_not", "true where x is false", None, np.logical_not, kind=boolean_kind, precedence=80, sympy="sympy.Not",
                    text="~{0}", latex=r"\neg {0}", lower=lambda b, p: b.not_(p), samples=(True, False), domain=(0, 1))
# SymPy's real symbols are finite numbers: its counterparts are plain truths
isnan    = unary("isnan",    "true where x is not a number", None, np.isnan, kind=boolean_kind, sympy=lambda x: x - x > 0)
isfinite = unary("isfinite", "true where x is neither infinite nor NaN", None, np.isfinite, kind=boolean_kind, sympy=lambda x: x - x >= 0)


def _cases(strings: Sequence[str], params: Mapping[str, Any]) -> str:
    c, a, b = strings
    return rf"\begin{{cases}} {a} & \text{{if }} {c} \\ {b} & \text{{otherwise}} \end{{cases}}"


where: Ternary = ternary("where", "a where the condition holds, b elsewhere; the branch not taken contributes nothing, NaN included",
                lambda g, y, condition, a, b: (None, where(condition, g, 0), where(condition, 0, g)),
                np.where, operands=("condition", "a", "b"), kind=branches, lower=lambda b, c, p, q: b.select(c, p, q), latex=_cases,
                domain=((0, 1), ANY, ANY), samples=((True, 1.5, -2.0), (False, 1.5, -2.0)))


# --- arithmetic ------------------------------------------------------------------------------------
# Arithmetic counts booleans, as NumPy's promotion to integers does.


def counting(function: Callable[..., Any]) -> Callable[..., Any]:
    """The NumPy function with booleans counted as 0 and 1."""

    def counted(*values: Any) -> Any:
        for v in values:
            if type(v) is not np.ndarray or v.dtype.kind == "b":
                return function(*(v.astype(np.int64) if v.dtype == np.bool_ else v for v in map(np.asarray, values)))
        return function(*values)

    return counted


def is_whole(value: Any) -> bool:
    """A loop value or Python number that is no real."""
    return getattr(value, "kind", "integer" if isinstance(value, int) else "real") != "real"


def _unless_whole(name: str) -> Callable[..., Any]:
    return lambda b, x: x if is_whole(x) else getattr(b, name)(x)


def _lower_sign(b: Any, x: Any) -> Any:
    return b.select(b.greater(x, 0), 1, b.select(b.less(x, 0), -1, b.add(x, 0)))  # NaN stays


def _share(g: Expr, y: Expr, a: Expr, b: Expr, ahead: Callable[[Expr, Expr], Expr]) -> tuple[Expr, Expr]:
    """The gradient to the operand that won, halves to both at a tie; at NaN to an operand that is NaN.

    ``ahead(p, q)`` compares. A constant is not NaN; of two expressions the first is asked.
    """
    tie = where(equal(a, b), g / 2, 0)
    if a.op is not CONSTANT and b.op is CONSTANT:
        wins = ahead(b, a)
        return where(wins, 0, where(equal(a, b), g / 2, g)), where(wins, g, tie)
    wins = ahead(a, b) if a.op is CONSTANT else logical_or(ahead(a, b), isnan(a))
    return where(wins, g, tie), where(wins, 0, where(equal(a, b), g / 2, g))


def _clip(x: Array, low: Array, high: Array) -> Any:
    return np.minimum(np.maximum(x, low), high)


def _evaluate_ratio(a: Array, b: Array) -> Any:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(np.equal(b, 0), 0, np.true_divide(a, b))


add = binary("add", "the sum", lambda g, y, a, b: (g, g), counting(np.add), kind=promoted, linear=True,
             text="{0} + {1}", precedence=60, sympy=lambda a, b: a + b)
sub = binary("sub", "the difference", lambda g, y, a, b: (g, -g), counting(np.subtract), kind=promoted, linear=True,
             text="{0} - {1}", precedence=60, sympy=lambda a, b: a - b)
mul = binary("mul", "the product", lambda g, y, a, b: (g * b, g * a), counting(np.multiply), kind=promoted,
             text="{0}*{1}", latex="{0} {1}", precedence=70, sympy=lambda a, b: a * b)
# -g*y/b, not -g*a/b**2: the square would overflow where the quotient does not
div = binary("div", "the quotient, real", lambda g, y, a, b: (g / b, -(g * y / b)), np.true_divide, kind=real,
             text="{0}/{1}", latex=r"\frac{{{0}}}{{{1}}}", precedence=70, sympy=lambda a, b: a / b, cost=4.0)
# what a direction is, x/norm(x): printed as the quotient, and a choice fewer than where(norm(x) == 0, 0, x/norm(x))
ratio: Binary = binary("ratio", "the quotient, and 0 where the divisor is 0", lambda g, y, a, b: (ratio(g, b), -(g * ratio(y, b))),
               _evaluate_ratio, kind=real, text="{0}/{1}", latex=r"\frac{{{0}}}{{{1}}}", precedence=70, cost=5.0,
               lower=lambda b, p, q: b.select(b.equal(q, 0), 0, b.div(p, q)))
_steps: dict[str, Any] = {"domain": ((1.0, 1.9), (2.0, 3.0)), "samples": ((7.5, 2.0), (-7.5, 2.0), (3.0, -0.8)), "cost": 8.0}
floordiv = binary("floordiv", "the quotient rounded down", None, counting(np.floor_divide), kind=promoted, text="{0}//{1}", precedence=70,
                  latex=r"\left\lfloor \frac{{{0}}}{{{1}}} \right\rfloor", sympy=lambda a, b: a // b, **_steps)
mod = binary("mod", "the remainder of the quotient rounded down: it has the divisor's sign", lambda g, y, a, b: (g, -(g * floordiv(a, b))),
             counting(np.mod), kind=promoted, text="{0} % {1}", latex=r"{0} \bmod {1}", precedence=70, sympy=lambda a, b: a % b, **_steps)
neg = unary("neg", "the negative", lambda g, y, x: -g, counting(np.negative), kind=promoted, linear=True,
            text="-{0}", precedence=80, sympy=lambda x: -x)
square = unary("square", "the square", lambda g, y, x: g * 2 * x, counting(np.square), kind=promoted,
               text="{0}**2", latex="{0}^{{2}}", precedence=90, lower=lambda b, x: b.mul(x, x), sympy=lambda x: x**2)
abs = unary("abs", "the absolute value; its derivative at 0 is 0", lambda g, y, x: g * sign(x), counting(np.abs), kind=promoted,
            latex=r"\left|{0}\right|", sympy="sympy.Abs")
sign: Unary = unary("sign", "-1, 0 or 1; NaN where x is; its derivative is 0", None, counting(np.sign), kind=promoted, lower=_lower_sign,
                    latex=r"\operatorname{{sgn}}\left({0}\right)", sympy="sympy.sign", domain=POSITIVE, cost=2.0)
_rounding: dict[str, Any] = {"kind": promoted, "domain": (0.6, 0.9), "samples": (-1.25, 0.25, 2.75)}
floor = unary("floor", "rounded down", None, counting(np.floor), lower=_unless_whole("floor"), latex=r"\left\lfloor {0} \right\rfloor",
              sympy="sympy.floor", **_rounding)
ceil = unary("ceil", "rounded up", None, counting(np.ceil), lower=_unless_whole("ceil"), latex=r"\left\lceil {0} \right\rceil",
             sympy="sympy.ceiling", **_rounding)
round = unary("round", "rounded to the nearest whole number, halves to the even one", None, counting(np.rint),
              lower=_unless_whole("round"), **_rounding)

_pair: dict[str, Any] = {"kind": promoted, "domain": ((-inf, 0), POSITIVE)}
maximum = binary("maximum", "the larger one; NaN where either is; equal operands share the gradient",
                 lambda g, y, a, b: _share(g, y, a, b, greater), counting(np.maximum),
                 latex=r"\max\left({0}, {1}\right)", sympy="sympy.Max", **_pair)
minimum = binary("minimum", "the smaller one; NaN where either is; equal operands share the gradient",
                 lambda g, y, a, b: _share(g, y, a, b, less), counting(np.minimum),
                 latex=r"\min\left({0}, {1}\right)", sympy="sympy.Min", **_pair)
clip_between = ternary("clip", "x, but at least low and at most high; the derivative is 1 on the bounds",
                       lambda g, y, x, low, high: (where((x >= low) & (x <= high), g, 0), where(x < low, g, 0), where(x > high, g, 0)),
                       counting(_clip), operands=("x", "low", "high"), kind=promoted, cost=2.0,
                       lower=lambda b, x, low, high: b.minimum(b.maximum(x, low), high),
                       domain=((-1.0, 1.0), (-3.0, -2.0), (2.0, 3.0)), samples=((0.25, -1.0, 1.0), (-2.5, -1.0, 1.0), (3.5, -1.0, 1.0)))


# --- identities ------------------------------------------------------------------------------------


def _same(x: Array) -> Array:
    return x


stop_gradient = unary("stop_gradient", "x, taken as a constant by differentiation", None, _same, kind=same_kind,
                      lower=lambda b, x: x, cost=0.0)
to_real = unary("to_real", "x as a real number", lambda g, y, x: g, _same, kind=real, linear=True, samples=(3, -2, True), cost=0.0,
                text=lambda strings, params: strings[0], precedence=95, lower=lambda b, x: b.to_real(x), sympy=lambda x: x)

NAMED = register(
    Op(
        name="named", doc="x under a name", kind=same_kind, derivative=lambda g, y, x, name: (g,), linear=True, evaluate=lambda x, name: x,
        lower=lambda b, x, name: x, text=lambda strings, params: params["name"], latex=lambda strings, params: params["name"],
        domain=(ANY,), samples=((1.5, {"name": "h"}),), cost=0.0,
    )
)  # fmt: skip


def named(x: ExprLike, name: str) -> Expr:
    """The same value under a name, which formulas, graphs and derivations show.

    ``name``: as a symbol's. Raises ``ValueError`` for what is no name.

    >>> import symgrad as sg
    >>> w, x = sg.symbols("w x")
    >>> (w*x).named("h").name
    'h'
    """
    return apply(NAMED, x, name=check_name(name))


# --- where a function is undefined -----------------------------------------------------------------
# log(x) is NaN below 0, but the derivative rule's 1/x is not; sqrt(-0.0) is -0.0, but its slope is +inf.
# A rule writes `nonnegative(x)` for such an x: printed as x itself, NaN below 0, zero without a sign.

_NONNEGATIVE_OPS = frozenset("exp sigmoid softplus cosh square abs erfc hypot softmax norm size arange nonnegative".split())
_NONNEGATIVE_IF_OPERANDS = frozenset(
    "add mul div maximum minimum log1p sqrt named to_real stop_gradient "
    "sum mean prod max min cumsum reshape broadcast_to transpose slice".split()
)
_LOOK_AT_MOST = 32  # nodes

NONNEGATIVE = register(
    Op(
        name="nonnegative", doc="x, NaN where it is negative", kind=real, derivative=lambda g, y, x: (g,),
        evaluate=lambda x: np.where(x < 0, np.nan, np.abs(x)), lower=lambda b, x: b.select(b.less(x, 0), float("nan"), b.abs(x)),
        sympy=lambda x: x, text=lambda strings, params: strings[0], latex=lambda strings, params: strings[0], precedence=95,
        domain=(POSITIVE,), samples=((0.5,), (3.0,)), cost=2.0,
    )
)  # fmt: skip


def _evaluate_label(label: Any, size: int) -> Any:
    outside = (label < 0) | (label >= size)
    if np.any(outside):
        raise IndexError(f"label {int(np.asarray(label)[outside].flat[0])} is outside 0 … {size - 1}: there are {size} classes")
    return label


LABEL = register(
    Op(
        name="label", doc="a class label, refused where it is not one of 0 … size - 1", kind=integer_kind,
        derivative=lambda g, y, label, size: (None,), evaluate=_evaluate_label,
        lower=lambda b, label, size: b.convert(b.constant(label), "integer"),  # the schedule adds the check
        sympy=lambda label, size: label, text=lambda strings, params: strings[0], latex=lambda strings, params: strings[0], precedence=95,
        domain=((0, 3),), samples=((0, {"size": 3}), (2, {"size": 3})),
    )
)  # fmt: skip


def label(i: ExprLike, size: Dim) -> Expr:
    """The class label ``i`` itself; an ``IndexError`` at the call where it is not one of 0 … ``size`` - 1."""
    return apply(LABEL, i, size=size)


def nonnegative(x: Expr) -> Expr:
    """``x`` itself where it plainly cannot be negative (nor -0.0), else guarded."""
    waiting, looked = [x], 0
    while waiting:
        node = waiting.pop()
        looked += 1
        if looked > _LOOK_AT_MOST:
            return apply(NONNEGATIVE, x)
        if node.op is CONSTANT:
            if not np.all(np.asarray(node.params["value"]) > 0):
                return apply(NONNEGATIVE, x)
        elif node.op is SYMBOL:
            if not node.params["positive"]:
                return apply(NONNEGATIVE, x)
        elif node.op.name in _NONNEGATIVE_IF_OPERANDS or (node.op.name == "pow" and not _even(node.args[1])):
            waiting.extend(node.args[:1] if node.op.name == "pow" else node.args)
        elif node.op.name not in _NONNEGATIVE_OPS and node.op.name != "pow":
            return apply(NONNEGATIVE, x)
    return x


def _even(exponent: Expr) -> bool:
    return exponent.op is CONSTANT and not exponent.shape and exponent.params["value"] % 2 == 0


def number(x: ExprLike) -> float | int | None:
    """The value of a constant scalar, ``None`` for anything else."""
    node = as_expr(x)
    if node.op is not CONSTANT or node.shape:
        return None
    value = node.params["value"]
    return int(value) if isinstance(value, bool) else value
