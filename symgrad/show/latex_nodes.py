r"""LATEX NODES: how each op reads in a paper: one function, or one line of :data:`_LAYOUTS`, an op."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TypeGuard

from symgrad import dims
from symgrad.expr import Expr
from symgrad.show.latex_index import AT, inward, summed
from symgrad.show.latex_products import (
    BIG,
    call,
    contracted,
    exponential,
    function,
    infix,
    inverse,
    is_matrix,
    is_square,
    is_whole,
    joined,
    negative,
    power,
    product,
    quotient,
    raised,
    squares,
    subscripted,
    sum_of,
    transposed,
)
from symgrad.show.latex_words import latex_array, latex_name, latex_number, shape_latex
from symgrad.show.layout import (
    ANY,
    ATOM,
    CALL,
    COMPARISON,
    LOGIC_AND,
    LOGIC_OR,
    NEGATION,
    POSTFIX,
    POWER,
    PRODUCT,
    SUM,
    Alternative,
    Layout,
    Piece,
    inserted_or_dropped,
    is_number,
    seen,
    signed,
)
from symgrad.show.text import counted, marked, slice_items, slice_ranges, through_slice

__all__ = ["latex_layout"]


def _constant(e: Expr) -> Layout:
    value = e.params["value"]
    if e.shape:
        return CALL, [latex_array(value)]
    text = latex_number(value)
    fraction = text.startswith(r"\frac")
    product = r"\cdot" in text or re.match(r"\d+ ", text) is not None
    strength = NEGATION if text.startswith("-") else PRODUCT if product and not fraction else POWER if "^" in text or fraction else CALL
    return strength, [text]


def _symbol(e: Expr) -> Layout:
    """A matrix has a capital letter, or a bold one."""
    return CALL, [latex_name(e.name, bold=is_matrix(e))]


# --- reductions ------------------------------------------------------------------------------------------


def _axes(e: Expr) -> tuple[int, ...]:
    return e.params["axes"] if "axes" in e.params else (e.params["axis"],)


def _reduction(sign: str, big: bool = False) -> Callable[..., Layout]:
    def layout(e: Expr, outer: Sequence[str] = ()) -> Layout:
        (x,) = map(seen, e.args)
        if not big and len(_axes(e)) == x.ndim:
            return call(sign, x)
        if x.op.name == "diagonal" and x.ndim == 1 and sign == r"\sum":
            return call("tr", *x.args)
        if sign == r"\sum" and not outer and len(_axes(e)) == x.ndim and is_square(x):
            return POWER, [r"\left\lVert ", (x.args[0], ANY), rf" \right\rVert{'_{F}' if x.ndim == 2 else ''}^{{2}}"]
        letters, term = summed(x, _axes(e), outer)
        if big:
            return BIG, [f"{sign}_{{{joined(letters)}}} ", (term, BIG)]
        return call(sign, term, below=joined(letters))

    return layout


def _mean(e: Expr, outer: Sequence[str] = ()) -> Layout:
    if not is_whole(e):
        return _reduction("mean")(e, outer)
    (x,) = map(seen, e.args)
    count = shape_latex([dims.total(x.shape)])
    letters, term = summed(x, _axes(e), outer)
    return BIG, [rf"\frac{{1}}{{{count}}} \sum_{{{joined(letters)}}} ", (term, BIG)]


def _logsumexp(e: Expr, outer: Sequence[str] = ()) -> Layout:
    (x,) = map(seen, e.args)
    letters, term = summed(x, _axes(e), outer)
    return BIG, [rf"\log \sum_{{{joined(letters)}}} e^{{", (term, ANY), "}"]


def _along_axis(name: str) -> Callable[[Expr], Layout]:
    """``cumsum``, ``softmax``: the result keeps the axis; only one that is not the last is told."""

    def layout(e: Expr) -> Layout:
        axis = e.params["axis"] % e.ndim
        told = [f"axis {axis}"] * (axis != e.ndim - 1) + ["backwards"] * bool(e.params.get("reverse"))
        return call(name, *e.args, below=rf"\text{{{', '.join(told)}}}" if told else "")

    return layout


def _norm(e: Expr) -> Layout:
    whole = len(_axes(e)) == e.args[0].ndim
    below = "" if whole else rf"_{{\text{{axis {','.join(map(str, counted(_axes(e), e.args[0].ndim)))}}}}}"
    return CALL, [r"\left\lVert ", (e.args[0], ANY), rf" \right\rVert{below}"]


# --- shapes and indices ----------------------------------------------------------------------------------


def _transpose(e: Expr) -> Layout:
    axes = counted(e.params["axes"], e.ndim)
    if axes == list(range(e.ndim))[::-1]:
        return POSTFIX, transposed(e.args[0])
    return call("transpose", e.args[0], below=",".join(map(str, axes)))


def _reshape(e: Expr) -> Layout:
    x = seen(e.args[0])
    if x.op.name == "slice":
        index = slice_items(x)
        kept = [i for i, item in enumerate(index) if re.fullmatch(r"-?\d+", item) is None]
        if len(kept) < x.ndim and tuple(x.shape[i] for i in kept) == e.shape:
            return _indexed(x.args[0], index)
    if dims.total(e.shape) == 1 or (x.ndim == 2 and x.shape[1] == 1 and e.shape == x.shape[:1]):
        return CALL, [(x, ANY)]  # one number; a column, which is a vector
    change = inserted_or_dropped(x.shape, e.shape)
    if change is not None:
        return _indexed(*through_slice(x, change))
    return call("reshape", x, below=shape_latex(e.shape))


def _indexed(x: Expr, index: Sequence[str]) -> Layout:
    written = [i.replace("None", r"\ast") for i in index]
    return POSTFIX, [*subscripted(x), f"_{{{','.join(written)}}}"]


def _at(e: Expr) -> Layout:
    """An index below a sum: at the operands where that reads well, behind the name of a part that has one."""
    x, index = seen(e.args[0]), e.params["index"]
    outside: list[Piece] = [*subscripted(x), f"_{{{joined(index)}}}"]
    if x.op.name in _WITH_INDEX:
        left = index
        if x.params.get("keepdims"):
            left = [i for k, i in enumerate(index) if k - x.ndim not in _axes(x)]
        strength, plain = _WITH_INDEX[x.op.name](x, left)
    else:
        moved = inward(x, index)
        if moved is None:
            return POSTFIX, outside
        strength, plain = latex_layout(moved)
        if moved.op is AT:
            strength, plain = POSTFIX, [(moved, ANY)]
    return strength, [Alternative(x, outside, plain)]


def _gather(e: Expr) -> Layout:
    x, *indices = e.args
    pieces: list[Piece] = [*subscripted(x), "_{" + ":," * min(counted(e.params["axes"], x.ndim))]
    for i, index in enumerate(indices):
        pieces += [",", (index, ANY)] if i else [(index, ANY)]
    return POSTFIX, [*pieces, "}"]


def _pad(e: Expr) -> Layout:
    widths = ",".join(rf"{b}\vert {a}" if b or a else "0" for b, a in zip(e.params["before"], e.params["after"], strict=True))
    between = ",".join(map(str, e.params["interior"])) if any(e.params.get("interior", ())) else ""
    return call("pad", *e.args, below=widths + (f";{between}" if between else ""))


def _concatenate(e: Expr) -> Layout:
    """A block matrix: one above the other, or side by side."""
    axis, parts = e.params["axis"] % e.ndim, [seen(p) for p in e.args]
    if e.ndim > 2:
        return call("concatenate", *parts, below=str(axis))
    stacked = all(p.op.name == "reshape" and p.shape[axis] == 1 and p.args[0].ndim == e.ndim - 1 for p in parts)
    sign = r" \\ " if axis == 0 else " & "
    pieces: list[Piece] = [r"\begin{bmatrix} "]
    for i, p in enumerate(parts):
        part: list[Piece] = [(p, ANY)]
        if stacked:
            inner = seen(p.args[0])
            part = [*transposed(inner)] if axis == 0 and inner.ndim == 1 else [(inner, ANY)]
        pieces += [sign, *part] if i else part
    return CALL, [*pieces, r" \end{bmatrix}"]


def _size(e: Expr) -> Layout:
    dim = str(e.params["dim"])
    return (CALL, [latex_name(dim)]) if dim.isidentifier() else (CALL if dim.isdigit() else SUM, [dim.replace("*", r" \cdot ")])


def _broadcast_to(e: Expr) -> Layout:
    x = seen(e.args[0])
    if is_number(x, 1):
        return CALL, [r"\mathbf{1}_{" + shape_latex(e.shape) + "}"]
    if not x.shape:
        return PRODUCT, [(x, PRODUCT), r" \, \mathbf{1}_{" + shape_latex(e.shape) + "}"]
    return call("broadcast", x, below=shape_latex(e.shape))


# --- choices ---------------------------------------------------------------------------------------------


def _is_zero(e: Expr) -> bool:
    e = seen(e)
    return is_number(e.args[0] if e.op.name == "broadcast_to" else e, 0)


def _where(e: Expr) -> Layout:
    condition, a, b = map(seen, e.args)
    hot = _labels(condition)
    indicator: list[Piece] = [r"\mathbf{1}\left\{", (condition, ANY), r"\right\}"] if hot is None else call("onehot", hot)[1]
    if is_number(a, 1) and _is_zero(b):
        return CALL, indicator
    if condition.op.name == "isfinite" and _is_zero(b):  # a guard against inf*0, which no paper shows
        return CALL, [(a, ANY)]
    if _is_zero(b) and (a.shape or AT in (condition.op, a.op) or any(x.op is AT for x in condition.args)):
        return PRODUCT, [(a, PRODUCT + 1), r" \odot ", *indicator] if a.shape else [*indicator, " ", (a, PRODUCT)]
    rows = _rows(a, condition, b, _ROWS)
    return COMPARISON, [r"\begin{cases} ", *rows, r" & \text{otherwise} \end{cases}"]


def _rows(a: Expr, condition: Expr, b: Expr, rows: int) -> list[Piece]:
    """The rows of a choice; one that goes on in its last branch goes on in the next row, if that has no name of its own."""
    rest: list[Piece] = [(b, ANY)]
    if b.op.name == "where" and rows > 1:
        rest = [Alternative(b, rest, _rows(b.args[1], b.args[0], seen(b.args[2]), rows - 1))]
    return [(a, ANY), r" & \text{if } ", (condition, ANY), r" \\ ", *rest]


def _labels(condition: Expr) -> Expr | None:
    """The ``k`` of ``k[:, None] == arange(m)``, which is k's one-hot vectors."""
    if condition.op.name != "equal":
        return None
    labels, places = map(seen, condition.args)
    if places.op.name == "arange" and labels.op.name == "reshape" and labels.args[0].shape == labels.shape[:-1]:
        return seen(labels.args[0])
    return None


_ROWS = 6  # of a choice that goes on in its last branch


def _log1p(e: Expr) -> Layout:
    x = seen(e.args[0])
    term: list[Piece] = ["1 - ", (x.args[0], SUM + 1)] if x.op.name == "neg" else ["1 + ", signed(x, SUM)]
    return CALL, [r"\log\left(", *term, r"\right)"]


def _surrounded(left: str, closing: str) -> Callable[[Expr], Layout]:
    return lambda e: (CALL, [left, (e.args[0], ANY), closing])


def _records_latex(e: Expr) -> Layout:
    op = e.op
    if op.latex is None:
        below = ",".join(latex_number(v) if isinstance(v, (int, float)) else str(v) for v in e.params.values()).replace("_", r"\_")
        return call(op.name.replace("_", r"\_"), *e.args, below=below)
    return op.precedence, marked(op.latex, e, op.precedence)


_LAYOUTS: dict[str, Callable[[Expr], Layout]] = {
    "constant":      _constant,
    "symbol":        _symbol,
    "named":         lambda e: (ATOM, [(e.args[0], ANY)]),
    "at":            _at,
    "letter":        lambda e: (CALL, [e.params["name"]]),
    "size":          _size,
    "arange":        lambda e: (CALL, [rf"\left(0, \ldots, {dims.subtract(e.shape[0], 1)}\right)"]),
    "eye":           lambda e: (CALL, [rf"I_{{{e.shape[0]}}}" if e.shape[0] == e.shape[1] else rf"I_{{{shape_latex(e.shape)}}}"]),
    "neg":           negative,
    "add":           sum_of("+"),
    "sub":           sum_of("-"),
    "mul":           product,
    "div":           quotient,
    "ratio":         lambda e: (POWER, [r"\frac{", (e.args[0], ANY), "}{", (e.args[1], ANY), "}"]),
    "floordiv":      lambda e: (CALL, [r"\left\lfloor \frac{", (e.args[0], ANY), "}{", (e.args[1], ANY), r"} \right\rfloor"]),
    "mod":           infix(r"\bmod", PRODUCT, PRODUCT + 1),
    "pow":           power,
    "less":          infix("<", COMPARISON, COMPARISON + 1),
    "less_equal":    infix(r"\le", COMPARISON, COMPARISON + 1),
    "greater":       infix(">", COMPARISON, COMPARISON + 1),
    "greater_equal": infix(r"\ge", COMPARISON, COMPARISON + 1),
    "equal":         infix("=", COMPARISON, COMPARISON + 1),
    "not_equal":     infix(r"\ne", COMPARISON, COMPARISON + 1),
    "logical_and":   infix(r"\wedge", LOGIC_AND, LOGIC_AND + 1),
    "logical_or":    infix(r"\vee", LOGIC_OR, LOGIC_OR + 1),
    "logical_not":   lambda e: (NEGATION, [r"\neg ", (e.args[0], NEGATION)]),
    "exp":           exponential,
    "sqrt":          _surrounded(r"\sqrt{", "}"),
    "hypot":         lambda e: (CALL, [r"\sqrt{", *squares(e), "}"]),
    "square":        lambda e: (POWER, [*raised(seen(e.args[0])), "^{2}"]),
    "abs":           _surrounded(r"\left|", r"\right|"),
    "floor":         _surrounded(r"\left\lfloor ", r" \right\rfloor"),
    "ceil":          _surrounded(r"\left\lceil ", r" \right\rceil"),
    "sin":           function(r"\sin"),
    "cos":           function(r"\cos"),
    "tan":           function(r"\tan"),
    "asin":          function(r"\arcsin"),
    "acos":          function(r"\arccos"),
    "atan":          function(r"\arctan"),
    "sinh":          function(r"\sinh"),
    "cosh":          function(r"\cosh"),
    "tanh":          function(r"\tanh"),
    "asinh":         function("arsinh"),
    "acosh":         function("arcosh"),
    "atanh":         function("artanh"),
    "log":           function(r"\log"),
    "log1p":         _log1p,
    "expm1":         lambda e: (SUM, [*exponential(e)[1], " - 1"]),
    "relu":          function("ReLU"),
    "gelu":          function("GELU"),
    "silu":          function("SiLU"),
    "elu":           lambda e: call("ELU", *e.args, below=latex_number(e.params["alpha"]) if e.params["alpha"] != 1 else ""),
    "leaky_relu":    lambda e: call("LeakyReLU", *e.args, below=latex_number(e.params["slope"])),
    "log_sigmoid":   lambda e: (PRODUCT, [r"\log \sigma\left(", (e.args[0], ANY), r"\right)"]),
    "log_softmax":   lambda e: (PRODUCT, [r"\log ", *_along_axis("softmax")(e)[1]]),
    "softmax":       _along_axis("softmax"),
    "lgamma":        lambda e: (PRODUCT, [r"\log \Gamma\left(", (e.args[0], ANY), r"\right)"]),
    "digamma":       function(r"\psi"),
    "polygamma":     lambda e: (CALL, [rf"\psi^{{({e.params['order']})}}\left(", (e.args[0], ANY), r"\right)"]),
    "maximum":       function(r"\max"),
    "minimum":       function(r"\min"),
    "where":         _where,
    "contract":      contracted,
    "inv":           lambda e: (POWER, inverse(e.args[0])),
    "solve":         lambda e: (PRODUCT, [*inverse(e.args[0]), " ", signed(e.args[1], PRODUCT)]),
    "sum":           _reduction(r"\sum", big=True),
    "prod":          _reduction(r"\prod", big=True),
    "max":           _reduction(r"\max"),
    "min":           _reduction(r"\min"),
    "mean":          _mean,
    "logsumexp":     _logsumexp,
    "argmax":        _reduction("argmax"),
    "argmin":        _reduction("argmin"),
    "cumsum":        _along_axis("cumsum"),
    "norm":          _norm,
    "transpose":     _transpose,
    "reshape":       _reshape,
    "broadcast_to":  _broadcast_to,
    "slice":         lambda e: _indexed(e.args[0], slice_ranges(e)),
    "pad":           _pad,
    "concatenate":   _concatenate,
    "gather":        _gather,
    "stop_gradient": function("stop"),
}  # fmt: skip

_WITH_INDEX: dict[str, Callable[[Expr, Sequence[str]], Layout]] = {
    "sum": _reduction(r"\sum", big=True), "prod": _reduction(r"\prod", big=True), "max": _reduction(r"\max"), "min": _reduction(r"\min"),
    "mean": _mean, "logsumexp": _logsumexp,
}  # fmt: skip


def latex_layout(e: Expr) -> Layout:
    """How one node reads as LaTeX: its binding strength and its pieces."""
    strength, pieces = _LAYOUTS.get(e.op.name, _records_latex)(e)
    if e.op.name in _ARITHMETIC:
        pieces = [q for p in pieces for q in (_indicated(p) if _is_condition(p) else (p,))]
    return strength, pieces


_ARITHMETIC = frozenset({"add", "sub", "mul", "div", "neg", "pow", "sum", "mean", "contract"})


def _is_condition(piece: Piece) -> TypeGuard[tuple[Expr, int]]:
    return isinstance(piece, tuple) and isinstance(piece[0], Expr) and seen(piece[0]).kind == "boolean" and bool(seen(piece[0]).args)


def _indicated(condition: tuple[Expr, int]) -> tuple[Piece, ...]:
    """A condition that is reckoned with: 1 where it holds."""
    return r"\mathbf{1}\left\{", (condition[0], ANY), r"\right\}"
