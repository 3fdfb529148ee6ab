"""TEXT: an expression as a person would write it, in the grammar that ``sg.parse`` reads.

Parentheses stand only where they must, minus signs and ``.T`` where a person would put them, and parts
that a long formula shares stand on lines of their own in front, by names that tell what they are (``H1 = …``).

>>> import symgrad as sg
>>> w, x, b = sg.symbols("w x b")
>>> print(sg.grad(sg.tanh(w*x + b), w))
x*(1 - tanh(w*x + b)**2)
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from symgrad import dims
from symgrad.expr import METHODS, Expr
from symgrad.show.constants import known
from symgrad.show.large import HUGE, LARGE, counted_operations, operations_of, shown_lines
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
    Layout,
    Piece,
    Script,
    contraction,
    inserted_or_dropped,
    is_scaled,
    leads_negative,
    signed,
)
from symgrad.show.reading import as_read

__all__ = ["number", "text", "text_layout"]

ARRAY_SHOWN = 16  # elements of a constant array that are written out


def text(expr: Expr, check: bool = True) -> str:
    """The formula as text: first a line for each named or shared part, then the formula itself.

    ``check``: refuse two different symbols of one name (``ValueError``).
    """
    expr = as_read(expr, text_layout)
    script = Script([expr], text_layout, check=check)
    lines = [f"{script.names[d]} = {script.write(d)}" for d in script.definitions]
    if expr not in script.names:
        lines.append(script.write(expr))
    return "\n".join(lines)


def _repr(expr: Expr) -> str:
    """What a session shows: lines of the terminal's width; of a large formula how much there is, its beginning and its end."""
    operations = operations_of([expr])
    if operations > HUGE:
        return f"{counted_operations([expr])}; print(…) shows all"
    return shown_lines(text(expr, check=False).split("\n"), counted_operations([expr]) if operations > LARGE else "")


METHODS["str"] = text
METHODS["repr"] = _repr


# --- numbers ----------------------------------------------------------------------------------------


def number(value: bool | int | float) -> str:
    """The shortest text that gives this number back: ``2``, ``2.0``, ``0.0001``, ``1e-7``, ``pi``."""
    if isinstance(value, (bool, np.bool_)):
        return "True" if value else "False"
    if isinstance(value, (int, np.integer)):
        return str(int(value))
    if abs(value) == math.pi:
        return "pi" if value > 0 else "-pi"
    shortest = repr(float(value))
    return re.sub(r"e([+-])0*", lambda m: "e" + m[1].replace("+", ""), shortest)


def _array(value: np.ndarray[Any, Any]) -> str:
    if value.size > ARRAY_SHOWN:
        return f"array[{'x'.join(map(str, value.shape))}]"
    flat = [number(v) for v in value.ravel().tolist()]
    for size in reversed(value.shape):
        groups = max(len(flat) // size, 1) if size else math.prod(value.shape[:-1]) or 1
        flat = [f"[{', '.join(flat[i * size : (i + 1) * size])}]" for i in range(groups)]
    return flat[0]


# --- one reading a node -------------------------------------------------------------------------------


def call(name: str, *args: Expr, **keywords: str) -> Layout:
    pieces: list[Piece] = [f"{name}("]
    for i, arg in enumerate(args):
        pieces += [", ", (arg, ANY)] if i else [(arg, ANY)]
    pieces += [f", {k}={v}" if (args or i) else f"{k}={v}" for i, (k, v) in enumerate(keywords.items())]
    return CALL, [*pieces, ")"]


def _is_product(e: Expr) -> bool:
    return e.op.name in ("mul", "div")


def _is_matmul(e: Expr) -> bool:
    return e.op.name == "contract" and contraction(e).style == "matmul"


def _constant(e: Expr) -> Layout:
    value = e.params["value"]
    if e.shape:
        return CALL, [_array(value)]
    name = known(abs(value)) if e.kind == "real" else None
    if name is not None:
        return (PRODUCT if name.quotient else NEGATION if value < 0 else CALL), [f"-{name.text}" if value < 0 else name.text]
    return (NEGATION if leads_negative(e) else CALL), [number(value)]


def _neg(e: Expr) -> Layout:
    """``-x*y`` for the negative of a product: bit for bit the same as the product of the negative."""
    (x,) = e.args
    strength = PRODUCT if _is_product(x) or _is_matmul(x) else NEGATION
    return strength, ["-", signed(x, strength)]


def _sum(sign: str) -> Callable[[Expr], Layout]:
    return lambda e: (SUM, [(e.args[0], SUM), f" {sign} ", signed(e.args[1], SUM + 1)])


def _product(sign: str) -> Callable[[Expr], Layout]:
    def layout(e: Expr) -> Layout:
        a, b = e.args
        spaced = bool(a.shape and b.shape) or sign == "%"
        base = a.args[0] if a.op.name == "neg" else a
        mixes = _is_matmul(base) or (base.op.name in ("floordiv", "mod") if sign in "*/" else _is_product(base))
        return PRODUCT, [(a, PRODUCT + 1 if mixes else PRODUCT), f" {sign} " if spaced else sign, signed(b, PRODUCT + 1)]

    return layout


def _div(e: Expr) -> Layout:
    """``x/y/y`` reads ``x/y**2``: the derivative of a quotient divides twice, lest the square overflow."""
    top, bottom, times = e.args[0], e.args[1], 1
    while top.op.name == "div" and top.args[1] is bottom and bottom.op.name != "constant":
        top, times = top.args[0], times + 1
    if times == 1:
        return _product("/")(e)
    spaced = " / " if top.shape and bottom.shape else "/"
    return PRODUCT, [(top, PRODUCT + 1 if _is_matmul(top) else PRODUCT), spaced, (bottom, POWER + 1), f"**{times}"]


def _infix(sign: str, strength: int, operands: int) -> Callable[[Expr], Layout]:
    def layout(e: Expr) -> Layout:
        a, b = e.args
        chained = a.op is e.op and strength < COMPARISON  # a & b & c
        return strength, [(a, strength if chained else operands), f" {sign} ", (b, operands)]

    return layout


def _contract(e: Expr) -> Layout:
    reading = contraction(e)
    (a, a_turned), (b, b_turned) = reading.operands
    if reading.style == "outer":
        return call("outer", a, b)
    if reading.style == "sum":
        axes = reading.detail
        product: list[Piece] = [(a, PRODUCT + 1 if _is_matmul(a) else PRODUCT), " * ", signed(b, PRODUCT + 1)]
        return CALL, ["sum(", *product, f", axis={_axes(axes)})" if axes else ")"]
    if reading.style == "einsum":
        return CALL, [f'einsum("{reading.detail}", ', (a, ANY), ", ", (b, ANY), ")"]
    pieces: list[Piece] = [(a, POSTFIX), ".T"] if a_turned else [(a, PRODUCT if _is_matmul(a) or is_scaled(a) else PRODUCT + 1)]
    pieces += [" @ ", *([(b, POSTFIX), ".T"] if b_turned else [signed(b, PRODUCT + 1)])]
    return PRODUCT, pieces


def _axes(axes: str | Sequence[int]) -> str:
    items = axes.split(",") if isinstance(axes, str) else [str(a) for a in axes]
    return items[0] if len(items) == 1 else f"({', '.join(items)})"


def counted(axes: Sequence[int], ndim: int) -> list[int]:
    """Axes counted from the front, as people write them."""
    return [a % ndim for a in axes]


def _reduction(name: str, whole: bool = True) -> Callable[[Expr], Layout]:
    """``whole``: without an axis all of it is meant."""

    def layout(e: Expr) -> Layout:
        (x,) = e.args
        axes = e.params["axes"] if "axes" in e.params else (e.params["axis"],)
        keywords: dict[str, str] = {}
        if not (whole and len(axes) == x.ndim):
            keywords["axis"] = _axes(counted(axes, x.ndim))
        if e.params.get("keepdims"):
            keywords["keepdims"] = "True"
        if e.params.get("reverse"):  # cumsum(x[:, ::-1], axis=1)[:, ::-1], as NumPy has it
            turned = f"[{':, ' * (axes[0] % x.ndim)}::-1]"
            axis = "".join(f", {k}={v}" for k, v in keywords.items())
            return POSTFIX, [f"{name}(", (x, POSTFIX), f"{turned}{axis}){turned}"]
        return call(name, x, **keywords)

    return layout


def _last_axis(name: str) -> Callable[[Expr], Layout]:
    def layout(e: Expr) -> Layout:
        axis = e.params["axis"]
        return call(name, *e.args, **({} if axis == -1 else {"axis": str(axis % e.ndim)}))

    return layout


def _transpose(e: Expr) -> Layout:
    axes = counted(e.params["axes"], e.ndim)
    if axes == list(range(e.ndim))[::-1]:
        return POSTFIX, [(e.args[0], POSTFIX), ".T"]
    return call("transpose", e.args[0], axes=_axes(axes))


def _embed_diagonal(e: Expr) -> Layout:
    """``diag(v)`` where NumPy's function makes it."""
    offset = e.params["offset"]
    if e.ndim != 2 or e.shape != (dims.add(e.args[0].shape[0], abs(offset)),) * 2:
        return _records_text(e)
    return CALL, ["diag(", (e.args[0], ANY), f", {offset})" if offset else ")"]


def _reshape(e: Expr) -> Layout:
    (x,) = e.args
    if x.op.name == "slice":
        index = slice_items(x)
        kept = [i for i, item in enumerate(index) if re.fullmatch(r"-?\d+", item) is None]
        if len(kept) < x.ndim and tuple(x.shape[i] for i in kept) == e.shape:
            return indexed(x.args[0], index)
    change = inserted_or_dropped(x.shape, e.shape)
    if change is not None:
        return indexed(*through_slice(x, change))
    return CALL, ["reshape(", (x, ANY), f", {dims.format_shape(e.shape)})"]


def through_slice(x: Expr, change: list[str]) -> tuple[Expr, list[str]]:
    """``x[1:][:, None]`` as ``x[1:, None]``."""
    if x.op.name != "slice" or "0" in change:
        return x, change
    items = iter(slice_ranges(x))
    return x.args[0], [next(items) if c == ":" else c for c in change]


def indexed(x: Expr, index: Sequence[str]) -> Layout:
    index = list(index)
    while len(index) > 1 and index[-1] == ":":
        index.pop()
    return POSTFIX, [(x, POSTFIX), f"[{', '.join(index)}]"]


def slice_items(e: Expr) -> list[str]:
    """The index of a slice, axis by axis; an axis of width 1 that a reshape drops is written as a number."""
    items = []
    for start, stop, step, size in zip(e.params["starts"], e.params["stops"], e.params["steps"], e.args[0].shape, strict=True):
        items.append(_slice_item(start, stop, step, size))
    return items


def _slice_item(start: Any, stop: Any, step: int, size: dims.Dim) -> str:
    if step == 1 and stop is not None and dims.subtract(stop, start) == 1 and size != 1:
        return _bound(start, size)
    first = "" if (step > 0 and start == 0) or (step < 0 and dims.subtract(size, start) == 1) else _bound(start, size)
    last = "" if stop is None or (step > 0 and stop == size) else _bound(stop, size)
    return f"{first}:{last}" + (f":{step}" if step != 1 else "")


def _bound(bound: dims.Dim, size: dims.Dim) -> str:
    """A bound as a whole number, from the end where the size is a name."""
    if isinstance(bound, int):
        return str(bound)
    back = dims.subtract(bound, size)
    return str(back) if isinstance(back, int) else str(bound)


def slice_ranges(e: Expr) -> list[str]:
    """The index of a slice, every axis as a range."""
    items = slice_items(e)
    for i, item in enumerate(items):
        if ":" not in item:  # the axis stays: x[1:2], not x[1]
            start, stop = e.params["starts"][i], e.params["stops"][i]
            size = e.args[0].shape[i]
            items[i] = f"{_bound(start, size)}:{'' if stop == size else _bound(stop, size)}"
    return items


def _slice(e: Expr) -> Layout:
    return indexed(e.args[0], slice_ranges(e))


def _pad(e: Expr) -> Layout:
    widths = ", ".join(f"({b}, {a})" for b, a in zip(e.params["before"], e.params["after"], strict=True))
    keywords = {"interior": _tuple(e.params["interior"])} if any(e.params.get("interior", ())) else {}
    return CALL, ["pad(", (e.args[0], ANY), f", ({widths}{',' if e.ndim == 1 else ''})", *(f", {k}={v}" for k, v in keywords.items()), ")"]


def _tuple(values: Sequence[Any]) -> str:
    return f"({', '.join(map(str, values))}{',' if len(values) == 1 else ''})"


def _concatenate(e: Expr) -> Layout:
    axis = e.params["axis"] % e.ndim
    parts, name = list(e.args), "concatenate"
    if all(p.op.name == "reshape" and p.shape[axis] == 1 and p.args[0].shape == p.shape[:axis] + p.shape[axis + 1 :] for p in parts):
        parts, name = [p.args[0] for p in parts], "stack"
    pieces: list[Piece] = [f"{name}(["]
    for i, part in enumerate(parts):
        pieces += [", ", (part, ANY)] if i else [(part, ANY)]
    return CALL, [*pieces, f"], axis={axis})" if axis else "])"]


def _gather(e: Expr) -> Layout:
    x, *indices = e.args
    axes = counted(e.params["axes"], x.ndim)
    pieces: list[Piece] = [(x, POSTFIX), "[" + ":, " * min(axes)]
    for i, index in enumerate(indices):
        pieces += [", ", (index, ANY)] if i else [(index, ANY)]
    return POSTFIX, [*pieces, "]"]


def _size(e: Expr) -> Layout:
    dim = str(e.params["dim"])
    return (CALL if dim.isidentifier() or dim.isdigit() else PRODUCT if "//" in dim and " " not in dim else SUM), [dim]


def _unless(name: str, parameter: str, usual: float) -> Callable[[Expr], Layout]:
    """A function whose parameter is told unless it is the usual one."""
    return lambda e: call(name, *e.args, **({} if e.params[parameter] == usual else {parameter: number(e.params[parameter])}))


def _records_text(e: Expr) -> Layout:
    """What the op's own record says: a template or a function of strings, the operands marked and put in later."""
    op = e.op
    if op.text is None:
        return call(op.name, *e.args, **{k: str(v) for k, v in e.params.items()})
    return op.precedence, marked(op.text, e, op.precedence)


def marked(template: str | Callable[..., str], e: Expr, strength: int) -> list[Piece]:
    """The pieces of a record's template: operands bind at least as strongly as the template asks."""
    marks = [f"\0{i}\0" for i in range(len(e.args))]
    written = template.format(*marks, **e.params) if isinstance(template, str) else template(marks, e.params)
    pieces: list[Piece] = []
    for i, part in enumerate(re.split("\0", written)):
        if i % 2:
            weakest = ANY if strength >= CALL else strength + (1 if pieces else 0)
            pieces.append((e.args[int(part)], weakest))
        elif part:
            pieces.append(part)
    return pieces


_LAYOUTS: dict[str, Callable[[Expr], Layout]] = {
    "constant":      _constant,
    "symbol":        lambda e: (CALL, [e.name]),
    "named":         lambda e: (ATOM, [(e.args[0], ANY)]),
    "size":          _size,
    "arange":        lambda e: (CALL, [f"arange({e.shape[0]})"]),
    "eye":           lambda e: (CALL, [f"eye({', '.join(map(str, dict.fromkeys(e.shape)))})"]),
    "neg":           _neg,
    "add":           _sum("+"),
    "sub":           _sum("-"),
    "mul":           _product("*"),
    "div":           _div,
    "ratio":         _product("/"),
    "floordiv":      _product("//"),
    "mod":           _product("%"),
    "pow":           lambda e: (POWER, [(e.args[0], POWER + 1), "**", signed(e.args[1], POWER)]),
    "square":        lambda e: (POWER, [(e.args[0], POWER + 1), "**2"]),
    "less":          _infix("<", COMPARISON, COMPARISON + 1),
    "less_equal":    _infix("<=", COMPARISON, COMPARISON + 1),
    "greater":       _infix(">", COMPARISON, COMPARISON + 1),
    "greater_equal": _infix(">=", COMPARISON, COMPARISON + 1),
    "equal":         _infix("==", COMPARISON, COMPARISON + 1),
    "not_equal":     _infix("!=", COMPARISON, COMPARISON + 1),
    "logical_and":   _infix("&", LOGIC_AND, NEGATION + 1),
    "logical_or":    _infix("|", LOGIC_OR, NEGATION + 1),
    "logical_not":   lambda e: (NEGATION, ["~", (e.args[0], NEGATION)]),
    "contract":      _contract,
    "sum":           _reduction("sum"),
    "prod":          _reduction("prod"),
    "max":           _reduction("max"),
    "min":           _reduction("min"),
    "mean":          _reduction("mean"),
    "logsumexp":     _reduction("logsumexp"),
    "norm":          _reduction("norm"),
    "argmax":        _reduction("argmax"),
    "argmin":        _reduction("argmin"),
    "cumsum":        _reduction("cumsum"),
    "softmax":       _last_axis("softmax"),
    "log_softmax":   _last_axis("log_softmax"),
    "elu":           _unless("elu", "alpha", 1.0),
    "leaky_relu":    _unless("leaky_relu", "slope", 0.01),
    "transpose":     _transpose,
    "embed_diagonal": _embed_diagonal,
    "reshape":       _reshape,
    "broadcast_to":  lambda e: (CALL, ["broadcast_to(", (e.args[0], ANY), f", {dims.format_shape(e.shape)})"]),
    "slice":         _slice,
    "pad":           _pad,
    "concatenate":   _concatenate,
    "gather":        _gather,
}  # fmt: skip


def text_layout(e: Expr) -> Layout:
    """How one node reads as text: its binding strength and its pieces."""
    return _LAYOUTS.get(e.op.name, _records_text)(e)
