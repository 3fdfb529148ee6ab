r"""LATEX PRODUCTS: products, quotients, powers, contractions and sums, as a paper writes them.

One fraction for a chain of quotients, no brackets that only rounding needs, vectors as columns, letters below sum signs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from symgrad.expr import OPS, Expr, constant, intern_node
from symgrad.show.latex_exponents import is_tall, slashed
from symgrad.show.latex_index import ALL, summed
from symgrad.show.latex_words import exponent_latex, latex_name, latex_number
from symgrad.show.layout import (
    ANY,
    CALL,
    NEGATION,
    POSTFIX,
    POWER,
    PRODUCT,
    SUM,
    Alternative,
    Layout,
    Piece,
    contraction,
    is_number,
    is_scalar_constant,
    is_scaled,
    leads_negative,
    seen,
    signed,
)
from symgrad.simplify.chains import is_symmetric

__all__ = [
    "BIG", "call", "contracted", "exponential", "function", "infix", "inverse", "is_matrix", "is_square", "is_whole", "joined",
    "negative", "power", "product", "quotient", "raised", "squares", "subscripted", "sum_of", "transposed",
]

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


def is_matrix(e: Expr) -> bool:
    return e.ndim > 1 and 1 not in e.shape


# --- products and quotients ------------------------------------------------------------------------------

_CHAIN = 8  # links of a chain of products and quotients that are looked at, or drawn into one fraction


def _is_matrix_product(e: Expr) -> bool:
    return e.op.name == "contract" and contraction(e).style in ("matmul", "outer")


def _is_big(e: Expr) -> bool:
    """Whether it begins with a sum sign, or one behind factors, whose reach ends with the product."""
    if e.op.name == "sum":
        return not (is_whole(e) and (is_square(seen(e.args[0])) or seen(e.args[0]).op.name == "diagonal"))
    return e.op.name in ("prod", "logsumexp") or (e.op.name == "mean" and is_whole(e)) or (e.op.name == "contract" and _sums(e))


def _sums(e: Expr) -> bool:
    return contraction(e).style in ("sum", "einsum")


def is_whole(e: Expr) -> bool:
    return len(e.params["axes"]) == e.args[0].ndim


def _is_roman(e: Expr) -> bool:
    """Names of several letters need air between them."""
    for _ in range(_CHAIN):
        if e.op.name not in ("pow", "square", "neg"):
            break
        e = seen(e.args[0])
    return e.op.name in ("symbol", "size", "named") and "mathrm" in latex_name(str(e.params.get("name", e.params.get("dim"))))


def _sign(a: Expr, b: Expr) -> Piece:
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
    if _is_numeral(first):
        return r" \cdot " if first is b else Alternative(b, [" "], [r" \cdot "])
    if is_scalar_constant(last) and (first.op.name == "where" or (first.op.name == "div" and is_scalar_constant(first.args[0]))):
        return Alternative(b, [" "], [Alternative(first, [" "], [r" \cdot "])])
    return r" \, " if _is_roman(last) or (_is_roman(first) and not is_scalar_constant(last)) else " "


def _is_numeral(e: Expr) -> bool:
    """Whether it begins with a digit."""
    e = seen(e.args[0]) if e.op.name == "pow" else e
    return is_scalar_constant(e) and latex_number(e.params["value"])[:1].isdigit()


def product(e: Expr) -> Layout:
    a, b = map(seen, e.args)
    if is_number(a, 1) and not _is_numeral(b):
        return PRODUCT, [signed(b, PRODUCT)]
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
        return quotient(e)
    if b.shape and a.op.name == "mul" and not a.shape and _is_matrix_product(seen(a.args[1])):  # 2 (x^T y) z
        first, last = map(seen, a.args)
        left = Alternative(a, [left], [(first, PRODUCT), _sign(first, last), (last, PRODUCT + 1)])
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


def quotient(e: Expr) -> Layout:
    """One fraction for ``a/b/c`` and ``a/b*c/d``: the factors above and below, equal ones as a power.

    A link that has a name of its own stands above as it is.
    """
    above: list[Expr] = []
    below: list[Expr] = []
    node = e
    links: list[tuple[Expr, list[Expr], list[Expr]]] = []
    while len(links) < _CHAIN and (node is e or (node.op.name in ("mul", "div") and (_divides(node) or leads_negative(node)))):
        (above if node.op.name == "mul" else below).append(seen(node.args[1]))
        node = seen(node.args[0])
        links.append((node, list(above), list(below)))
    negative = node.op.name == "neg" and seen(node.args[0]).op.name != "neg"
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
    factors = [f for f in factors if not is_number(f, 1)] or factors[:1]
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
    pieces: list[Piece] = []
    for last, f, following in zip([None, *written], written, [*written[1:], None]):
        whole = following is not None and bool(following.shape) and f.op.name == "contract"
        open_ = f.op.name == "mul" or last is None or (following is None and is_scalar_constant(f))
        strength = PRODUCT if open_ and not whole else PRODUCT + 1
        pieces += [_sign(last, f), signed(f, strength)] if last is not None else [(f, strength if following is not None else ANY)]
    return pieces


_POWERED = frozenset({"sin", "cos", "tan", "sinh", "cosh", "tanh", "log"})  # written \sin^{2}(x)


def power(e: Expr) -> Layout:
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
            return SUM, [Alternative(base, ["{", (base, POWER + 1), "}^{2}"], squares(base))]
        return POWER, [*raised(base), f"^{{{exponent_latex(value)}}}"]
    return POWER, [*raised(base), "^{", *slashed(exponent), "}"]


def exponential(e: Expr) -> Layout:
    """``e^{x}``, and ``\\exp(…)`` of what is too tall to be raised."""
    x = seen(e.args[0])
    if is_tall(x):
        return call(r"\exp", x)
    return POWER, ["e^{", *slashed(x), "}"]


def raised(base: Expr) -> list[Piece]:
    """The base of a power; braces where it may have a superscript of its own."""
    template = base.op.latex
    own = "^" in template if isinstance(template, str) else template is not None and base.op.family != "elementwise"
    raised = own or base.op.name == "transpose" or (base.op.name == "symbol" and "^" in latex_name(base.name))
    return ["{", (base, POWER + 1), "}"] if raised else [(base, POWER + 1)]


def squares(e: Expr) -> list[Piece]:
    x, y = e.args
    return [(x, POWER + 1), "^{2} + ", (y, POWER + 1), "^{2}"]


def negative(e: Expr) -> Layout:
    return NEGATION, ["-", signed(e.args[0], BIG)]


def sum_of(sign: str) -> Callable[[Expr], Layout]:
    return lambda e: (SUM, [(e.args[0], SUM), f" {sign} ", signed(e.args[1], SUM + 1)])


def infix(sign: str, strength: int, operands: int) -> Callable[[Expr], Layout]:
    return lambda e: (strength, [(e.args[0], operands), f" {sign} ", (e.args[1], operands)])


def function(name: str) -> Callable[[Expr], Layout]:
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


def transposed(x: Expr) -> list[Piece]:
    """The inverse has its own: ``A^{-T}``."""
    turned = _with_exponent(x, r"\top")
    return [Alternative(x, turned, _with_exponent(x.args[0], r"-\top"))] if x.op.name == "inv" else turned


def inverse(x: Expr) -> list[Piece]:
    return _with_exponent(x.args[0], r"-\top") if x.op.name == "transpose" and x.ndim == 2 else _with_exponent(x, "-1")


def _row(x: Expr, depth: int = 4) -> list[Piece]:
    """A vector as a row: of ``A.T v`` that is ``v^T A``, of ``A v`` it is ``v^T A^T``."""
    x = seen(x)
    if x.op.name != "contract" or contraction(x).style != "matmul" or not depth:
        return transposed(x)
    (a, a_turned), (b, b_turned) = contraction(x).operands
    vector, matrix, turned = (a, b, b_turned) if a.ndim == 1 else (b, a, not a_turned)
    if vector.ndim != 1 or matrix.ndim != 2:
        return transposed(x)
    turned = turned and not is_symmetric(matrix)
    plain = [*_row(vector, depth - 1), " ", *(transposed(matrix) if turned else [signed(matrix, PRODUCT + 1)])]
    return [Alternative(x, transposed(x), plain)]


def _behind(e: Expr) -> Piece:
    """The last factor of a matrix product: that of other products needs no brackets."""
    e = seen(e)
    return signed(e, PRODUCT if _is_matrix_product(e) or e.op.name == "solve" else PRODUCT + 1)


def contracted(e: Expr) -> Layout:
    reading = contraction(e)
    (a, a_turned), (b, b_turned) = reading.operands
    if reading.style == "outer":
        return PRODUCT, [(a, PRODUCT if _is_matrix_product(seen(a)) or a.op.name == "solve" else PRODUCT + 1), " ", *_row(b)]
    if reading.style == "sum":
        a, b = map(seen, (a, b))
        product = intern_node(OPS["mul"], (a, b), {}, a.shape, "real")
        axes = [int(k) for k in reading.detail.split(",")] if reading.detail else range(a.ndim)
        return _big(r"\sum", product, axes)
    if reading.style == "einsum":
        return _einsum(reading.detail, a, b)
    if a.ndim == 1 and b.ndim == 1:
        return PRODUCT, [*_row(a), " ", _behind(b)]
    if a.ndim == 1 and b.ndim == 2:  # a vector is a column: v @ A is Aᵀ v
        return PRODUCT, [*([(b, PRODUCT + 1)] if b_turned else transposed(b)), " ", _behind(a)]
    a, b = _column(a), _column(b)
    pieces: list[Piece] = transposed(a) if a_turned else [(a, PRODUCT if a.op.name == "contract" or is_scaled(a) else PRODUCT + 1)]
    return PRODUCT, [*pieces, " ", *(transposed(b) if b_turned else [_behind(b)])]


def _einsum(spec: str, a: Expr, b: Expr) -> Layout:
    inputs, output = spec.split("->")
    left, right_ = inputs.split(",")
    over = "".join(c for c in dict.fromkeys(left + right_) if c not in output)
    factors: list[Piece] = [*subscripted(a), f"_{{{left}}} " if left else " ", *subscripted(b), f"_{{{right_}}}" if right_ else ""]
    return (BIG, [rf"\sum_{{{over}}} ", *factors]) if over else (PRODUCT, factors)


# --- sums --------------------------------------------------------------------------------------------------


def _big(sign: str, x: Expr, axes: Sequence[int], outer: Sequence[str] = ()) -> Layout:
    letters, term = summed(x, axes, outer)
    return BIG, [f"{sign}_{{{joined(letters)}}} ", (term, BIG)]


def joined(index: Sequence[str]) -> str:
    return ("," if any(i == ALL or len(i) > 1 for i in index) else "").join(index)


def is_square(e: Expr) -> bool:
    return e.ndim <= 2 and (e.op.name == "square" or (e.op.name == "pow" and is_number(e.args[1], 2)))


def subscripted(x: Expr) -> list[Piece]:
    bare = seen(x).op.name == "symbol" and "_" not in latex_name(seen(x).name, bold=is_matrix(x))
    return [(x, POSTFIX)] if bare else ["{", (x, POSTFIX), "}"]
