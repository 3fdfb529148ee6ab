r"""LATEX NODES: how each op reads in a paper: one function, or one line of :data:`_LAYOUTS`, an op."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import pairwise

from symgrad import dims
from symgrad.expr import OPS, Expr, constant, intern_node
from symgrad.show.latex_index import ALL, AT, inward, summed
from symgrad.show.latex_words import exponent_latex, latex_array, latex_name, latex_number, shape_latex
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
    contraction,
    inserted_or_dropped,
    is_number,
    is_scalar_constant,
    leads_negative,
    seen,
    signed,
)
from symgrad.show.text import counted, marked, slice_items, slice_ranges, through_slice

__all__ = ["latex_layout"]

BIG = SUM + 5  # a sum sign reaches to the end of a product, not of a sum


def call(name: str, *args: Expr, below: str = "", power: Piece | None = None) -> Layout:
    r"""``\tanh^{2}\left(x\right)``."""
    command = name if name.startswith("\\") else rf"\operatorname{{{name}}}"
    pieces: list[Piece] = [command + (f"_{{{below}}}" if below else "")]
    if power is not None:
        pieces += ["^{", power, "}"]
    pieces.append(r"\left(")
    for i, arg in enumerate(args):
        pieces += [", ", (arg, ANY)] if i else [(arg, ANY)]
    return CALL, [*pieces, r"\right)"]


def _constant(e: Expr) -> Layout:
    value = e.params["value"]
    if e.shape:
        return CALL, [latex_array(value)]
    text = latex_number(value)
    fraction = text.startswith(r"\frac")
    product = r"\cdot" in text or re.match(r"\d+ |\\log", text) is not None
    strength = NEGATION if text.startswith("-") else PRODUCT if product and not fraction else POWER if "^" in text or fraction else CALL
    return strength, [text]


def _symbol(e: Expr) -> Layout:
    """A matrix has a capital letter, or a bold one."""
    return CALL, [latex_name(e.name, bold=_is_matrix(e))]


def _is_matrix(e: Expr) -> bool:
    return e.ndim > 1 and 1 not in e.shape


# --- products and quotients ------------------------------------------------------------------------------

_CHAIN = 8  # links of a chain of products and quotients that are looked at, or drawn into one fraction


def _is_matrix_product(e: Expr) -> bool:
    return e.op.name == "contract" and contraction(e).style in ("matmul", "outer")


def _is_big(e: Expr) -> bool:
    """Whether it begins with a sum sign, or one behind factors, whose reach ends with the product."""
    if e.op.name == "sum":
        return not (_is_whole(e) and (_is_square(seen(e.args[0])) or seen(e.args[0]).op.name == "diagonal"))
    return e.op.name in ("prod", "logsumexp") or (e.op.name == "mean" and _is_whole(e)) or (e.op.name == "contract" and _sums(e))


def _sums(e: Expr) -> bool:
    return contraction(e).style in ("sum", "einsum")


def _is_whole(e: Expr) -> bool:
    return len(e.params["axes"]) == e.args[0].ndim


def _is_roman(e: Expr) -> bool:
    """Names of several letters need air between them."""
    for _ in range(_CHAIN):
        if e.op.name not in ("pow", "square", "neg"):
            break
        e = seen(e.args[0])
    return e.op.name in ("symbol", "size", "named") and "mathrm" in latex_name(str(e.params.get("name", e.params.get("dim"))))


def _sign(a: Expr, b: Expr) -> str:
    last, first = a, b
    for _ in range(_CHAIN):
        if last.op.name not in ("mul", "neg"):
            break
        last = seen(last.args[-1])
    for _ in range(_CHAIN):
        if first.op.name != "mul":
            break
        first = seen(first.args[0])
    if a.shape and b.shape:
        return r" \odot "
    if _is_numeral(first) or (is_scalar_constant(last) and first.op.name == "div" and is_scalar_constant(first.args[0])):
        return r" \cdot "
    return r" \, " if _is_roman(last) or (_is_roman(first) and not is_scalar_constant(last)) else " "


def _is_numeral(e: Expr) -> bool:
    return is_scalar_constant(seen(e.args[0]) if e.op.name == "pow" else e)


def _mul(e: Expr) -> Layout:
    a, b = map(seen, e.args)
    mixes = a.op.name in ("floordiv", "mod") or (a.op.name == "contract" and bool(b.shape))
    left: Piece = (a, PRODUCT + 1 if mixes else PRODUCT)
    if not leads_negative(b):
        if not a.shape and a.op.name != "contract" and _is_matrix_product(b):  # a number before a matrix product
            return PRODUCT, [left, _sign(a, b), (b, PRODUCT)]
        if _is_root_below(b):
            return PRODUCT, [r"\frac{", (a, ANY), r"}{\sqrt{", (b.args[0], ANY), "}}"]
        if _is_big(b):
            return BIG, [left, " " if not (a.shape and b.shape) else r" \odot ", (b, BIG)]
    if not e.shape and _is_reciprocal(a):
        return _div(e)
    return PRODUCT, [left, _sign(a, b), signed(b, PRODUCT if b.op.name == "mul" else PRODUCT + 1)]


def _is_reciprocal(e: Expr) -> bool:
    """``1/d``, or factors behind it: they stand above the bar."""
    for _ in range(_CHAIN):
        if e.op.name == "div":
            return is_number(e.args[0], 1) and not is_scalar_constant(e.args[1])
        if e.op.name != "mul" or _is_big(seen(e.args[1])):
            return False
        e = seen(e.args[0])
    return False


def _is_root_below(e: Expr) -> bool:
    return e.op.name == "pow" and is_number(e.args[1], -0.5)


def _div(e: Expr) -> Layout:
    """One fraction for ``a/b/c`` and ``a/b*c/d``: the factors above and below, equal ones as a power.

    A link that has a name of its own stands above as it is.
    """
    above: list[Expr] = []
    below: list[Expr] = []
    node = e
    links: list[tuple[Expr, list[Expr], list[Expr]]] = []
    while len(links) < _CHAIN and (node is e or (node.op.name in ("mul", "div") and (_divides(node) or leads_negative(node)))):
        (below if node.op.name == "div" else above).append(seen(node.args[1]))
        node = seen(node.args[0])
        links.append((node, list(above), list(below)))
    negative = node.op.name == "neg" and seen(node.args[0]).op.name not in ("add", "sub", "neg")
    if negative:
        node = seen(node.args[0])
    elif is_scalar_constant(node) and leads_negative(node):
        negative, node = True, constant(-node.params["value"])
    pieces = _fraction(node, above, below)
    if negative:
        pieces = ["-", *pieces]
    for link, over, under in reversed(links[:-1]):
        named = _fraction(link, over, under) if under else [signed(link, PRODUCT), _sign(link, over[-1]), *_factors(over[::-1])]
        pieces = [Alternative(link, named, pieces)]
    return (NEGATION if negative else POWER), pieces


def _divides(e: Expr) -> bool:
    """Whether a chain of products and quotients has a quotient further in."""
    for _ in range(_CHAIN):
        if (e := seen(e)).op.name not in ("mul", "div"):
            return False
        if e.op.name == "div":
            return True
        e = e.args[0]
    return False


def _fraction(first: Expr, above: Sequence[Expr], below: Sequence[Expr]) -> list[Piece]:
    factors = [first, *reversed(above)]
    if len(factors) > 1 and is_number(first, 1):
        factors = factors[1:]
    numbers = [f for f in below if is_scalar_constant(f)]
    others = [f for f in reversed(below) if not is_scalar_constant(f)]
    return [r"\frac{", *_factors(factors), "}{", *_factors([*numbers, *others]), "}"]


def _factors(factors: Sequence[Expr]) -> list[Piece]:
    """A product; equal factors and whole powers of them as one power."""
    if len(factors) == 1:
        return [(factors[0], ANY)]
    powers: dict[Expr, int] = {}
    for f in factors:
        base, power = f, 1
        if f.op.name == "pow" and is_scalar_constant(f.args[1]) and f.args[1].kind == "integer" and f.args[1].params["value"] > 1:
            base, power = seen(f.args[0]), f.args[1].params["value"]
        powers[base] = powers.get(base, 0) + power
    written = [f if n == 1 else intern_node(OPS["pow"], (f, constant(n)), {}, f.shape, f.kind) for f, n in powers.items()]
    pieces: list[Piece] = [(written[0], PRODUCT)]
    for last, f in pairwise(written):
        pieces += [_sign(last, f), signed(f, PRODUCT if f.op.name == "mul" else PRODUCT + 1)]
    return pieces


_POWERED = frozenset({"sin", "cos", "tan", "sinh", "cosh", "tanh", "log"})  # written \sin^{2}(x)


def _pow(e: Expr) -> Layout:
    base, exponent = map(seen, e.args)
    if is_scalar_constant(exponent) and exponent.kind != "boolean":
        value = exponent.params["value"]
        if value in (0.5, -0.5):
            root: list[Piece] = [r"\sqrt{", (base, ANY), "}"]
            return (CALL, root) if value > 0 else (POWER, [r"\frac{1}{", *root, "}"])
        if base.op.name in _POWERED and value > 0:
            _, plain = call(f"\\{base.op.name}", *base.args, power=exponent_latex(value))
            return POWER, [Alternative(base, [(base, POWER + 1), f"^{{{exponent_latex(value)}}}"], plain)]
        if base.op.name == "hypot" and value == 2:
            return SUM, [Alternative(base, ["{", (base, POWER + 1), "}^{2}"], _squares(base))]
        return POWER, [*_raised(base), f"^{{{exponent_latex(value)}}}"]
    return POWER, [*_raised(base), "^{", (exponent, ANY), "}"]


def _raised(base: Expr) -> list[Piece]:
    """The base of a power; braces where it may have a superscript of its own."""
    raised = base.op.name == "transpose" or base.op.name not in _LAYOUTS or (base.op.name == "symbol" and "^" in latex_name(base.name))
    return ["{", (base, POWER + 1), "}"] if raised else [(base, POWER + 1)]


def _squares(e: Expr) -> list[Piece]:
    x, y = e.args
    return [(x, POWER + 1), "^{2} + ", (y, POWER + 1), "^{2}"]


def _neg(e: Expr) -> Layout:
    return NEGATION, ["-", signed(e.args[0], BIG)]


def _sum_of(sign: str) -> Callable[[Expr], Layout]:
    return lambda e: (SUM, [(e.args[0], SUM), f" {sign} ", signed(e.args[1], SUM + 1)])


def _infix(sign: str, strength: int, operands: int) -> Callable[[Expr], Layout]:
    return lambda e: (strength, [(e.args[0], operands), f" {sign} ", (e.args[1], operands)])


def _function(name: str) -> Callable[[Expr], Layout]:
    return lambda e: call(name, *e.args)


# --- contractions ----------------------------------------------------------------------------------------


def _column(e: Expr) -> Expr:
    """A vector is a column: ``v[:, None]`` in a product is ``v``."""
    e = seen(e)
    if e.op.name == "reshape" and e.args[0].ndim == 1 and e.ndim == 2 and e.shape[1] == 1 and e.args[0].shape[0] == e.shape[0]:
        return seen(e.args[0])
    return e


def _with_exponent(x: Expr, exponent: str) -> list[Piece]:
    bare = seen(x).op.name == "symbol" and "^" not in latex_name(seen(x).name)
    return [(x, POSTFIX), f"^{{{exponent}}}"] if bare else ["{", (x, POSTFIX), f"}}^{{{exponent}}}"]


def _transposed(x: Expr) -> list[Piece]:
    """The inverse has its own: ``A^{-T}``."""
    turned = _with_exponent(x, r"\top")
    return [Alternative(x, turned, _with_exponent(x.args[0], r"-\top"))] if x.op.name == "inv" else turned


def _inverse(x: Expr) -> list[Piece]:
    return _with_exponent(x.args[0], r"-\top") if x.op.name == "transpose" and x.ndim == 2 else _with_exponent(x, "-1")


def _row(x: Expr) -> list[Piece]:
    """A vector as the row that stands before a matrix: of ``A.T v`` that is ``v^T A``."""
    x = seen(x)
    if x.op.name == "contract" and contraction(x).style == "matmul":
        (a, _), (b, turned) = contraction(x).operands
        if a.ndim == 1 and b.ndim == 2:
            plain = [*_transposed(a), " ", *(_transposed(b) if turned else [signed(b, PRODUCT + 1)])]
            return [Alternative(x, _transposed(x), plain)]
    return _transposed(x)


def _contract(e: Expr) -> Layout:
    reading = contraction(e)
    (a, a_turned), (b, b_turned) = reading.operands
    if reading.style == "outer":
        return PRODUCT, [(a, PRODUCT + 1), " ", *_transposed(b)]
    if reading.style == "sum":
        a, b = map(seen, (a, b))
        product = intern_node(OPS["mul"], (a, b), {}, a.shape, "real")
        axes = [int(k) for k in reading.detail.split(",")] if reading.detail else range(a.ndim)
        return _big(r"\sum", product, axes)
    if reading.style == "einsum":
        return _einsum(reading.detail, a, b)
    if a.ndim == 1 and b.ndim == 1:
        return PRODUCT, [*_row(a), " ", signed(b, PRODUCT + 1)]
    if a.ndim == 1 and b.ndim == 2:  # a vector is a column: v @ A is Aᵀ v
        return PRODUCT, [*([(b, PRODUCT + 1)] if b_turned else _transposed(b)), " ", signed(a, PRODUCT + 1)]
    a, b = _column(a), _column(b)
    pieces: list[Piece] = _transposed(a) if a_turned else [(a, PRODUCT if a.op.name == "contract" else PRODUCT + 1)]
    return PRODUCT, [*pieces, " ", *(_transposed(b) if b_turned else [signed(b, PRODUCT + 1)])]


def _einsum(spec: str, a: Expr, b: Expr) -> Layout:
    inputs, output = spec.split("->")
    left, right_ = inputs.split(",")
    over = "".join(c for c in dict.fromkeys(left + right_) if c not in output)
    factors: list[Piece] = [*_subscripted(a), f"_{{{left}}} " if left else " ", *_subscripted(b), f"_{{{right_}}}" if right_ else ""]
    return (BIG, [rf"\sum_{{{over}}} ", *factors]) if over else (PRODUCT, factors)


# --- reductions ------------------------------------------------------------------------------------------


def _big(sign: str, x: Expr, axes: Sequence[int], outer: Sequence[str] = ()) -> Layout:
    letters, term = summed(x, axes, outer)
    return BIG, [f"{sign}_{{{_joined(letters)}}} ", (term, BIG)]


def _joined(index: Sequence[str]) -> str:
    return ("," if any(i == ALL or len(i) > 1 for i in index) else "").join(index)


def _axes(e: Expr) -> tuple[int, ...]:
    return e.params["axes"] if "axes" in e.params else (e.params["axis"],)


def _reduction(sign: str, big: bool = False) -> Callable[..., Layout]:
    def layout(e: Expr, outer: Sequence[str] = ()) -> Layout:
        (x,) = map(seen, e.args)
        if not big and len(_axes(e)) == x.ndim:
            return call(sign, x)
        if x.op.name == "diagonal" and x.ndim == 1 and sign == r"\sum":
            return call("tr", *x.args)
        if sign == r"\sum" and not outer and len(_axes(e)) == x.ndim and _is_square(x):
            return POWER, [r"\left\lVert ", (x.args[0], ANY), rf" \right\rVert{'_{F}' if x.ndim == 2 else ''}^{{2}}"]
        letters, term = summed(x, _axes(e), outer)
        if big:
            return BIG, [f"{sign}_{{{_joined(letters)}}} ", (term, BIG)]
        return call(sign, term, below=_joined(letters))

    return layout


def _is_square(e: Expr) -> bool:
    return e.ndim <= 2 and (e.op.name == "square" or (e.op.name == "pow" and is_number(e.args[1], 2)))


def _mean(e: Expr, outer: Sequence[str] = ()) -> Layout:
    if not _is_whole(e):
        return _reduction("mean")(e, outer)
    (x,) = map(seen, e.args)
    count = shape_latex([dims.total(x.shape)])
    letters, term = summed(x, _axes(e), outer)
    return BIG, [rf"\frac{{1}}{{{count}}} \sum_{{{_joined(letters)}}} ", (term, BIG)]


def _logsumexp(e: Expr, outer: Sequence[str] = ()) -> Layout:
    (x,) = map(seen, e.args)
    letters, term = summed(x, _axes(e), outer)
    return BIG, [rf"\log \sum_{{{_joined(letters)}}} e^{{", (term, ANY), "}"]


def _along_axis(name: str) -> Callable[[Expr], Layout]:
    """``cumsum``, ``softmax``: the result keeps the axis; only one that is not the last is told."""
    return lambda e: call(name, *e.args, below="" if e.params["axis"] % e.ndim == e.ndim - 1 else f"axis {e.params['axis'] % e.ndim}")


def _norm(e: Expr) -> Layout:
    whole = len(_axes(e)) == e.args[0].ndim
    below = "" if whole else rf"_{{\text{{axis {','.join(map(str, counted(_axes(e), e.args[0].ndim)))}}}}}"
    return CALL, [r"\left\lVert ", (e.args[0], ANY), rf" \right\rVert{below}"]


# --- shapes and indices ----------------------------------------------------------------------------------


def _transpose(e: Expr) -> Layout:
    axes = counted(e.params["axes"], e.ndim)
    if axes == list(range(e.ndim))[::-1]:
        return POSTFIX, _transposed(e.args[0])
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


def _subscripted(x: Expr) -> list[Piece]:
    bare = seen(x).op.name == "symbol" and "_" not in latex_name(seen(x).name, bold=_is_matrix(x))
    return [(x, POSTFIX)] if bare else ["{", (x, POSTFIX), "}"]


def _indexed(x: Expr, index: Sequence[str]) -> Layout:
    written = [i.replace("None", r"\ast") for i in index]
    return POSTFIX, [*_subscripted(x), f"_{{{','.join(written)}}}"]


def _at(e: Expr) -> Layout:
    """An index below a sum: at the operands where that reads well, behind the name of a part that has one."""
    x, index = seen(e.args[0]), e.params["index"]
    outside: list[Piece] = [*_subscripted(x), f"_{{{_joined(index)}}}"]
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
    pieces: list[Piece] = [*_subscripted(x), "_{" + ":," * min(counted(e.params["axes"], x.ndim))]
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
            part = [*_transposed(inner)] if axis == 0 and inner.ndim == 1 else [(inner, ANY)]
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
    cases: list[Piece] = [(a, ANY), r" & \text{if } ", (condition, ANY), r" \\ "]
    rows = 1
    while b.op.name == "where" and rows < _ROWS:
        cases += [(b.args[1], ANY), r" & \text{if } ", (b.args[0], ANY), r" \\ "]
        b, rows = seen(b.args[2]), rows + 1
    return COMPARISON, [r"\begin{cases} ", *cases, (b, ANY), r" & \text{otherwise} \end{cases}"]


def _labels(condition: Expr) -> Expr | None:
    """The ``k`` of ``k[:, None] == arange(m)``, which is k's one-hot vectors."""
    if condition.op.name != "equal":
        return None
    labels, places = map(seen, condition.args)
    if places.op.name == "arange" and labels.op.name == "reshape" and labels.args[0].shape == labels.shape[:-1]:
        return seen(labels.args[0])
    return None


_ROWS = 6  # of a choice that goes on in its last branch


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
    "neg":           _neg,
    "add":           _sum_of("+"),
    "sub":           _sum_of("-"),
    "mul":           _mul,
    "div":           _div,
    "floordiv":      lambda e: (CALL, [r"\left\lfloor \frac{", (e.args[0], ANY), "}{", (e.args[1], ANY), r"} \right\rfloor"]),
    "mod":           _infix(r"\bmod", PRODUCT, PRODUCT + 1),
    "pow":           _pow,
    "less":          _infix("<", COMPARISON, COMPARISON + 1),
    "less_equal":    _infix(r"\le", COMPARISON, COMPARISON + 1),
    "greater":       _infix(">", COMPARISON, COMPARISON + 1),
    "greater_equal": _infix(r"\ge", COMPARISON, COMPARISON + 1),
    "equal":         _infix("=", COMPARISON, COMPARISON + 1),
    "not_equal":     _infix(r"\ne", COMPARISON, COMPARISON + 1),
    "logical_and":   _infix(r"\wedge", LOGIC_AND, LOGIC_AND + 1),
    "logical_or":    _infix(r"\vee", LOGIC_OR, LOGIC_OR + 1),
    "logical_not":   lambda e: (NEGATION, [r"\neg ", (e.args[0], NEGATION)]),
    "exp":           lambda e: (POWER, ["e^{", (e.args[0], ANY), "}"]),
    "sqrt":          _surrounded(r"\sqrt{", "}"),
    "hypot":         lambda e: (CALL, [r"\sqrt{", *_squares(e), "}"]),
    "square":        lambda e: (POWER, [*_raised(seen(e.args[0])), "^{2}"]),
    "abs":           _surrounded(r"\left|", r"\right|"),
    "floor":         _surrounded(r"\left\lfloor ", r" \right\rfloor"),
    "ceil":          _surrounded(r"\left\lceil ", r" \right\rceil"),
    "sin":           _function(r"\sin"),
    "cos":           _function(r"\cos"),
    "tan":           _function(r"\tan"),
    "asin":          _function(r"\arcsin"),
    "acos":          _function(r"\arccos"),
    "atan":          _function(r"\arctan"),
    "sinh":          _function(r"\sinh"),
    "cosh":          _function(r"\cosh"),
    "tanh":          _function(r"\tanh"),
    "asinh":         _function("arsinh"),
    "acosh":         _function("arcosh"),
    "atanh":         _function("artanh"),
    "log":           _function(r"\log"),
    "relu":          _function("ReLU"),
    "gelu":          _function("GELU"),
    "silu":          _function("SiLU"),
    "elu":           lambda e: call("ELU", *e.args, below=latex_number(e.params["alpha"]) if e.params["alpha"] != 1 else ""),
    "leaky_relu":    lambda e: call("LeakyReLU", *e.args, below=latex_number(e.params["slope"])),
    "log_sigmoid":   lambda e: (PRODUCT, [r"\log \sigma\left(", (e.args[0], ANY), r"\right)"]),
    "log_softmax":   lambda e: (PRODUCT, [r"\log ", *_along_axis("softmax")(e)[1]]),
    "softmax":       _along_axis("softmax"),
    "lgamma":        lambda e: (PRODUCT, [r"\log \Gamma\left(", (e.args[0], ANY), r"\right)"]),
    "digamma":       _function(r"\psi"),
    "polygamma":     lambda e: (CALL, [rf"\psi^{{({e.params['order']})}}\left(", (e.args[0], ANY), r"\right)"]),
    "maximum":       _function(r"\max"),
    "minimum":       _function(r"\min"),
    "where":         _where,
    "contract":      _contract,
    "inv":           lambda e: (POWER, _inverse(e.args[0])),
    "solve":         lambda e: (PRODUCT, [*_inverse(e.args[0]), " ", signed(e.args[1], PRODUCT)]),
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
    "stop_gradient": _function("stop"),
}  # fmt: skip

_WITH_INDEX: dict[str, Callable[[Expr, Sequence[str]], Layout]] = {
    "sum": _reduction(r"\sum", big=True), "prod": _reduction(r"\prod", big=True), "max": _reduction(r"\max"), "min": _reduction(r"\min"),
    "mean": _mean, "logsumexp": _logsumexp,
}  # fmt: skip


def latex_layout(e: Expr) -> Layout:
    """How one node reads as LaTeX: its binding strength and its pieces."""
    return _LAYOUTS.get(e.op.name, _records_latex)(e)
