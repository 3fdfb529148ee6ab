"""RULES: the local rules, as tables, one line a rule.

Sound means (DESIGN, part 3): where the raw form is finite and accurate the result agrees to 4 ulp, and it is
finite wherever the raw form is. So nothing is distributed, no product of more than two factors is taken apart,
and ``exp(a)*exp(b)`` stays (rounding ``a + b`` costs up to 700 ulp). What algebra drops may go: ``x - x``, ``0*x``, ``x/x``.

Constants are gathered, like terms added up and terms put in order by ``collect.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from symgrad import dims
from symgrad.dims import Dim
from symgrad.errors import ShapeError
from symgrad.expr import Expr, apply, constant, symbol
from symgrad.ops.linear import canonical_spec, contract, split_spec
from symgrad.ops.movement import reshape_to
from symgrad.simplify.rewriting import Pattern, Rule, do, number, see

__all__ = ["ALGEBRA", "LATE", "LOCAL", "SHAPES"]


# --- algebra: pattern -> result -------------------------------------------------------------------------


def _power_of_two(found: Any) -> bool:
    value = number(found["n"])
    return value is not None and 2 <= value <= 2**20 and int(value) & (int(value) - 1) == 0


def _counts(found: Any) -> bool:
    """Exponents that whole powers take: small and positive."""
    value = number(found["n"])
    return value is not None and 1 <= value <= 2**20


def _divisor_as_large(found: Any) -> bool:
    """A tensor times the reciprocal of a scalar is cheaper than the division of each element."""
    return not found["x"].shape or len(found["x"].shape) <= len(found["y"].shape)


def _factor_as_large(found: Any) -> bool:
    """A scalar factor stays outside of a choice between tensors."""
    return bool(found["x"].shape) or not found["p"].shape


ALGEBRA: tuple[Pattern, ...] = (
    # sums
    Pattern("add 0",                 "x + 0",                 "x"),
    Pattern("subtract 0",            "x - 0",                 "x"),
    Pattern("subtract from 0",       "0 - x",                 "-x"),
    Pattern("x - x",                 "x - x",                 "0"),
    Pattern("add a negative",        "x + -y",                "x - y", cosmetic=True),
    Pattern("subtract a negative",   "x - -y",                "x + y"),
    Pattern("x + y - y",             "(x + y) - y",           "x"),
    Pattern("x - y + y",             "(x - y) + y",           "x"),
    Pattern("double negation",       "--x",                   "x"),
    Pattern("negative difference",   "-(x - y)",              "y - x"),
    # products
    Pattern("multiply by 0",         "0*x",                   "0"),
    Pattern("multiply by 1",         "1*x",                   "x"),
    Pattern("multiply by -1",        "x*(-1)",                "-x"),
    Pattern("negative factor",       "-x*y",                  "-(x*y)", cosmetic=True),
    Pattern("x*x",                   "x*x",                   "x**2"),
    Pattern("power times base",      "x**n*x",                "x**(n + 1)",           _counts),
    Pattern("multiply by 1/y",       "x*(1/y)",               "x/y",                  _divisor_as_large, late=1),
    Pattern("divide, then multiply", "1/y*x",                 "x/y",                  _divisor_as_large, late=0),
    Pattern("x*(1/x)",               "x*(1/x)",               "1"),
    Pattern("x*(1/(x*y))",           "x*(1/(x*y))",           "1/y"),
    Pattern("multiply, then divide", "(x/y)*y",               "x"),
    Pattern("divide by power",       "x/y**n*y",              "x/y**(n - 1)",         _counts),
    Pattern("select by 1 and 0",     "where(p, 1, 0)*x",      "where(p, x, 0)",       _factor_as_large),
    # quotients
    Pattern("divide by 1",           "x/1",                   "x"),
    Pattern("divide by -1",          "x/(-1)",                "-x"),
    Pattern("divide 0",              "0/x",                   "0"),
    Pattern("x/x",                   "x/x",                   "1"),
    Pattern("negative numerator",    "-x/y",                  "-(x/y)", cosmetic=True),
    Pattern("negative denominator",  "x/-y",                  "-(x/y)", cosmetic=True),
    Pattern("cancel a factor",       "x*y/y",                 "x"),
    Pattern("cancel a numerator",    "x/(x*y)",               "1/y"),
    Pattern("power over base",       "x**n/x",                "x**(n - 1)",           _counts),
    Pattern("divide by 1/y",         "x/(1/y)",               "x*y"),
    Pattern("1/(x/y)",               "1/(x/y)",               "y/x"),
    Pattern("1/exp",                 "1/exp(x)",              "exp(-x)",              late=1),
    # powers
    Pattern("square",                "square(x)",             "x**2", cosmetic=True),
    Pattern("power 1",               "x**1",                  "x"),
    Pattern("power 0",               "x**0",                  "1"),
    Pattern("1 to a power",          "1**x",                  "1"),
    Pattern("power -1",              "x**(-1)",               "1/x"),
    Pattern("square of a negative",  "(-x)**2",               "x**2"),
    Pattern("square of abs",         "abs(x)**2",             "x**2"),
    Pattern("square of sqrt",        "sqrt(x)**2",            "x"),
    Pattern("sqrt of square",        "sqrt(x**2)",            "abs(x)"),
    Pattern("power of exp",          "exp(x)**n",             "exp(n*x)",             _power_of_two, late=0),
    # functions
    Pattern("log exp",               "log(exp(x))",           "x"),
    Pattern("exp log",               "exp(log(x))",           "x"),
    Pattern("exp log_sigmoid",       "exp(log_sigmoid(x))",   "sigmoid(x)"),
    Pattern("log of sqrt",           "log(sqrt(x))",          "log(x)/2"),
    Pattern("log of 1/x",            "log(1/x)",              "-log(x)"),
    Pattern("expm1 log1p",           "expm1(log1p(x))",       "x"),
    Pattern("log1p expm1",           "log1p(expm1(x))",       "x"),
    Pattern("abs of a negative",     "abs(-x)",               "abs(x)"),
    Pattern("abs abs",               "abs(abs(x))",           "abs(x)"),
    Pattern("abs of a square",       "abs(x**2)",             "x**2"),
    Pattern("abs exp",               "abs(exp(x))",           "exp(x)"),
    Pattern("cos of a negative",     "cos(-x)",               "cos(x)"),
    Pattern("sin of a negative",     "sin(-x)",               "-sin(x)"),
    Pattern("tan of a negative",     "tan(-x)",               "-tan(x)"),
    Pattern("tanh of a negative",    "tanh(-x)",              "-tanh(x)"),
    Pattern("sinh of a negative",    "sinh(-x)",              "-sinh(x)"),
    Pattern("cosh of a negative",    "cosh(-x)",              "cosh(x)"),
    Pattern("erf of a negative",     "erf(-x)",               "-erf(x)"),
    Pattern("atan of a negative",    "atan(-x)",              "-atan(x)"),
    Pattern("asin of a negative",    "asin(-x)",              "-asin(x)"),
    Pattern("tan atan",              "tan(atan(x))",          "x"),
    Pattern("sin asin",              "sin(asin(x))",          "x"),
    Pattern("cos acos",              "cos(acos(x))",          "x"),
    Pattern("sin**2 + cos**2",       "sin(x)**2 + cos(x)**2", "1"),
    Pattern("sin over cos",          "sin(x)/cos(x)",         "tan(x)"),
    Pattern("relu relu",             "relu(relu(x))",         "relu(x)"),
    Pattern("maximum x x",           "maximum(x, x)",         "x"),
    Pattern("minimum x x",           "minimum(x, x)",         "x"),
    # choices and logic
    Pattern("where true",            "where(True, x, y)",     "x"),
    Pattern("where false",           "where(False, x, y)",    "y"),
    Pattern("where x x",             "where(p, x, x)",        "x"),
    Pattern("where not",             "where(~p, x, y)",       "where(p, y, x)"),
    Pattern("where in where",        "where(p, where(p, x, y), z)", "where(p, x, z)"),
    Pattern("where in else",         "where(p, x, where(p, y, z))", "where(p, x, z)"),
    Pattern("negative choice",       "where(p, -x, 0)",       "-where(p, x, 0)",      cosmetic=True, late=1),
    Pattern("negative other choice", "where(p, 0, -x)",       "-where(p, 0, x)",      cosmetic=True, late=2),
    Pattern("not not",               "~~p",                   "p"),
    Pattern("and true",              "p & True",              "p"),
    Pattern("and false",             "p & False",             "False"),
    Pattern("or true",               "p | True",              "True"),
    Pattern("or false",              "p | False",             "p"),
    Pattern("p and p",               "p & p",                 "p"),
    Pattern("p or p",                "p | p",                 "p"),
)  # fmt: skip


# --- numbers --------------------------------------------------------------------------------------------


def _negative_number_in_sum(e: Expr) -> Expr | None:
    """``x + (-3)`` is ``x - 3``, ``x + (-3)*y`` is ``x - 3*y``."""
    a, b = e.args
    if e.op.name == "add" and _is_negative(a) and not _is_negative(b):
        a, b = b, a
    if not _is_negative(b):
        return None
    return do("sub" if e.op.name == "add" else "add", a, _negated(b))


def _is_negative(e: Expr) -> bool:
    value = number(e)
    if value is not None:
        return value < 0
    if e.op.name in ("mul", "div"):
        value = number(e.args[0])
        return value is not None and value < 0
    return False


def _negated(e: Expr) -> Expr:
    value = number(e)
    return constant(-value) if value is not None else do(e.op.name, _negated(e.args[0]), e.args[1])


def _negative_of_number(e: Expr) -> Expr | None:
    (x,) = e.args
    if x.op.name in ("mul", "div") and (value := number(x.args[0])) is not None and value != 1:
        return do(x.op.name, constant(-value), x.args[1])
    return None


def _negative_over(e: Expr) -> Expr | None:
    """``(-1)/n`` is ``-(1/n)``."""
    value = number(e.args[0])
    return do("neg", do("div", constant(-value), e.args[1])) if value is not None and not e.args[0].shape and value < 0 and number(e.args[1]) is None else None


def _number_first(e: Expr) -> Expr | None:
    """Numbers stand first in a product that nobody wrote; what the user wrote is put back by ``collect``."""
    a, b = e.args
    return do("mul", b, a) if number(b) is not None and number(a) is None else None


# --- shapes: what is broadcast, moved or constant --------------------------------------------------------


def _broadcast_operands(e: Expr) -> Expr | None:
    """An elementwise op broadcasts by itself; what is the same everywhere is computed once."""
    if all(not a.shape for a in e.args):
        return None
    inner = [_before_broadcast(a) for a in e.args]
    if all(a is b for a, b in zip(inner, e.args, strict=True)):
        return None
    try:
        small = apply(e.op, *inner, **e.params)
    except ShapeError:
        return None
    return reshape_to(small, e.shape) if _adds_leading_ones(small.shape, e.shape) else small


def _before_broadcast(a: Expr) -> Expr:
    if a.op.name == "constant":
        return a if not a.shape or (value := number(a)) is None else constant(float(value) if a.kind == "real" else value)
    widened = a.op.name == "broadcast_to" or (a.op.name == "reshape" and _adds_leading_ones(a.args[0].shape, a.shape))
    return a.args[0] if widened else a


def _is_everywhere(e: Expr) -> Expr | None:
    """The scalar that a tensor holds everywhere, if it plainly does."""
    if e.op.name == "broadcast_to" and not e.args[0].shape:
        return e.args[0]
    value = number(e) if e.shape else None
    return None if value is None else constant(float(value) if e.kind == "real" else value)


def _moved_constant(e: Expr) -> Expr | None:
    """A tensor that is the same everywhere may be moved about freely; zeros may be padded and scattered."""
    value = _is_everywhere(e.args[0])
    if value is None or (e.op.name in ("pad", "scatter_add", "embed_diagonal") and number(value) != 0):
        return None
    return do("broadcast_to", value, shape=e.shape)


def _same_shape(e: Expr) -> Expr | None:
    return e.args[0] if e.args[0].shape == e.shape else None


def _broadcast_twice(e: Expr) -> Expr | None:
    (x,) = e.args
    if x.op.name == "broadcast_to":
        return do("broadcast_to", x.args[0], shape=e.shape)
    if x.op.name == "reshape" and x.ndim > x.args[0].ndim and _adds_leading_ones(x.args[0].shape, x.shape):
        return do("broadcast_to", x.args[0], shape=e.shape)
    return None


def _adds_leading_ones(old: dims.Shape, new: dims.Shape) -> bool:
    extra = len(new) - len(old)
    return extra > 0 and new[extra:] == old and all(d == 1 for d in new[:extra])


def _reshape_twice(e: Expr) -> Expr | None:
    (x,) = e.args
    return do("reshape", x.args[0], shape=e.shape) if x.op.name == "reshape" else None


def _transpose_twice(e: Expr) -> Expr | None:
    (x,) = e.args
    axes = e.params["axes"]
    if axes == tuple(range(-e.ndim, 0)):
        return x
    if x.op.name != "transpose":
        return None
    joined = tuple(x.params["axes"][a] for a in axes)
    return x.args[0] if joined == tuple(range(-e.ndim, 0)) else do("transpose", x.args[0], axes=joined)


def _slice_of_pad(e: Expr) -> Expr | None:
    """Cutting off exactly what was padded."""
    (x,) = e.args
    if x.op.name != "pad" or x.args[0].shape != e.shape:
        return None
    starts, steps = tuple(x.params["before"]), tuple(i + 1 for i in x.params["interior"])
    return x.args[0] if (e.params["starts"], e.params["steps"]) == (starts, steps) else None


def _slice_twice(e: Expr) -> Expr | None:
    """``x[2:][1:]`` is ``x[3:]``, axis by axis, for steps of 1."""
    (x,) = e.args
    if x.op.name != "slice" or any(s != 1 for s in (*x.params["steps"], *e.params["steps"])):
        return None
    starts = tuple(dims.add(a, b) for a, b in zip(x.params["starts"], e.params["starts"], strict=True))
    stops = tuple(dims.add(a, b) for a, b in zip(x.params["starts"], e.params["stops"], strict=True))
    return do("slice", x.args[0], starts=starts, stops=stops, steps=e.params["steps"])


def _nothing_padded(e: Expr) -> Expr | None:
    widths = (*e.params["before"], *e.params["after"], *e.params["interior"])
    return e.args[0] if all(w == 0 for w in widths) else None


def _whole_slice(e: Expr) -> Expr | None:
    (x,) = e.args
    whole = all(a == 0 and b == n and s == 1 for a, b, s, n in zip(e.params["starts"], e.params["stops"], e.params["steps"], x.shape, strict=True))
    return x if whole else None


def _diagonal_of_diagonal(e: Expr) -> Expr | None:
    (x,) = e.args
    return x.args[0] if x.op.name == "embed_diagonal" and x.params["offset"] == e.params["offset"] else None


# --- reductions -----------------------------------------------------------------------------------------


def _sum_of_nothing(e: Expr) -> Expr | None:
    """Over no axes, or over axes of size 1."""
    (x,) = e.args
    return reshape_to(x, e.shape) if all(x.shape[a] == 1 for a in e.params["axes"]) else None


def _sum_of_repeated(e: Expr) -> Expr | None:
    """What is repeated along a summed axis is multiplied by its size."""
    (x,) = e.args
    axes = e.params["axes"]
    if x.op.name != "broadcast_to":
        return None
    inner = x.args[0]
    repeated = [a for a in axes if -a > inner.ndim or (inner.shape[a] == 1 and x.shape[a] != 1)]
    if not repeated:
        return None
    count: Dim = dims.total(x.shape[a] for a in repeated)
    kept = tuple(a for a in axes if -a <= inner.ndim and a not in repeated)
    total = do("sum", inner, axes=kept, keepdims=True) if kept else inner
    factor = constant(count) if isinstance(count, int) else do("size", dim=count)
    shape = tuple(1 if k - x.ndim in axes else d for k, d in enumerate(x.shape))
    scaled = do("broadcast_to", do("mul", factor, total), shape=shape)
    return reshape_to(scaled, e.shape)


def _sum_of_sum(e: Expr) -> Expr | None:
    (x,) = e.args
    if x.op.name != "sum" or x.params["keepdims"] != e.params["keepdims"]:
        return None
    inner = x.args[0]
    left = list(range(-inner.ndim, 0)) if x.params["keepdims"] else [a for a in range(-inner.ndim, 0) if a not in x.params["axes"]]
    axes = sorted({*x.params["axes"], *(left[a] for a in e.params["axes"])})
    return do("sum", inner, axes=tuple(axes), keepdims=e.params["keepdims"])


def _sum_of_moved(e: Expr) -> Expr | None:
    """The order and arrangement of elements do not matter to the sum of all."""
    (x,) = e.args
    if x.op.name not in ("reshape", "transpose") or e.shape != ():
        return None
    inner = x.args[0]
    return do("sum", inner, axes=tuple(range(-inner.ndim, 0)), keepdims=False)


def _sum_of_negative(e: Expr) -> Expr | None:
    (x,) = e.args
    return do("neg", apply(e.op, x.args[0], **e.params)) if x.op.name == "neg" else None


def _sum_of_multiple(e: Expr) -> Expr | None:
    """A moderate number comes out of a sum."""
    (x,) = e.args
    if x.op.name != "mul" or x.shape != x.args[1].shape:
        return None
    value = number(x.args[0])
    return do("mul", constant(value), apply(e.op, x.args[1], **e.params)) if value is not None and 2.0**-20 <= abs(value) <= 2.0**20 else None


def _sum_of_deviations(e: Expr) -> Expr | None:
    """The deviations from a mean add up to 0, also when all are scaled alike."""
    (x,) = e.args
    while x.op.name in ("mul", "div"):
        a, b = x.args
        if all(d == 1 for d in b.shape):
            x = a
        elif x.op.name == "mul" and all(d == 1 for d in a.shape):
            x = b
        else:
            return None
    if x.op.name != "sub" or x.shape != e.args[0].shape:
        return None
    mean = see(x.args[1])
    same = mean.op.name == "mean" and mean.args[0] is x.args[0] and mean.params == {"axes": e.params["axes"], "keepdims": True}
    return constant(0) if same else None


def _moved_negative(e: Expr) -> Expr | None:
    """A minus sign stands in front of what is moved."""
    x, *indices = e.args
    return do("neg", apply(e.op, x.args[0], *indices, **e.params)) if x.op.name == "neg" else None


def _sum_of_product(e: Expr) -> Expr | None:
    """``sum(a*b)`` contracts the axes that both have; the others are spread out or summed by the contraction itself."""
    (x,) = e.args
    axes = e.params["axes"]
    if x.op.name != "mul" and not (x.op.name == "pow" and number(x.args[1]) == 2):
        return None
    a, b = x.args if x.op.name == "mul" else (x.args[0], x.args[0])
    if a.kind != "real" or b.kind != "real":
        return None
    letters = [chr(97 + k) for k in range(x.ndim)]
    left, right = _letters(a, x, letters), _letters(b, x, letters)
    summed = [letters[a] for a in axes]
    if x.ndim > 1 and left == right:  # no axis is spread out: the sum of an elementwise product is as good
        return None
    if not left or not right or not all(c in left and c in right for c in summed) or x.ndim > 20:
        return None
    result = [c for c in letters if c not in summed]
    if any(c not in left and c not in right for c in result):
        return None
    product = contract(_without_ones(a, x), _without_ones(b, x), "".join(left), "".join(right), "".join(result))
    return reshape_to(product, e.shape)


def _letters(a: Expr, whole: Expr, letters: list[str]) -> list[str]:
    skipped = whole.ndim - a.ndim
    return [letters[skipped + k] for k, d in enumerate(a.shape) if not (d == 1 and whole.shape[skipped + k] != 1)]


def _without_ones(a: Expr, whole: Expr) -> Expr:
    skipped = whole.ndim - a.ndim
    return reshape_to(a, tuple(d for k, d in enumerate(a.shape) if not (d == 1 and whole.shape[skipped + k] != 1)))


def _sum_of_expanded(e: Expr) -> Expr | None:
    """Axes of size 1 that a reshape put in or took away do not matter to a sum."""
    (x,) = e.args
    if x.op.name != "reshape" or [d for d in x.shape if d != 1] != [d for d in x.args[0].shape if d != 1]:
        return None
    inner = x.args[0]
    wide = [k for k, d in enumerate(inner.shape) if d != 1]
    place = dict(zip([k for k, d in enumerate(x.shape) if d != 1], wide, strict=True))
    axes = [place[a + x.ndim] - inner.ndim for a in e.params["axes"] if x.shape[a] != 1]
    total = do("sum", inner, axes=tuple(axes), keepdims=False) if axes else inner
    return reshape_to(total, e.shape)


def _sum_of_scaled(e: Expr) -> Expr | None:
    """The size of an axis comes out of a sum."""
    parts = _inner_factor(e.args[0])
    if parts is None or not _is_size_factor(parts[0]):
        return None
    return do("mul", parts[0], apply(e.op, parts[1], **e.params))


def _exp_of_log_softmax(e: Expr) -> Expr | None:
    x = see(e.args[0])
    return do("softmax", x.args[0], axis=x.params["axis"]) if x.op.name == "log_softmax" else None


def _mean_of_constant(e: Expr) -> Expr | None:
    value = _is_everywhere(e.args[0])
    return value if value is not None and all(isinstance(d, int) and d > 0 for d in e.args[0].shape) else None


# --- choices ------------------------------------------------------------------------------------------------


def _factor_of_choice(e: Expr) -> Expr | None:
    """A size that scales what is chosen scales the choice, if the other branch is 0."""
    condition, a, b = e.args
    if not e.shape:
        return None
    if number(b) != 0:
        first, second = _inner_factor(a), _inner_factor(b)
        same = first is not None and second is not None and first[0] is second[0] and _is_size_factor(first[0])
        return do("mul", first[0], do("where", condition, first[1], second[1])) if same and first is not None and second is not None else None
    parts = (a, constant(1)) if _is_size_factor(a) else _inner_factor(a)
    return do("mul", parts[0], do("where", condition, parts[1], 0)) if parts is not None and _is_size_factor(parts[0]) else None


def _known_condition(e: Expr) -> Expr | None:
    """Inside of a branch its condition holds: ``where(p, x*where(p, y, 0), z)`` is ``where(p, x*y, z)``."""
    condition, a, b = e.args
    inner = _assuming(a, condition, 4)
    return do("where", condition, inner, b) if inner is not None else None


def _assuming(e: Expr, condition: Expr, depth: int) -> Expr | None:
    """The expression where the condition holds, ``None`` if that says nothing; it looks a few nodes deep."""
    if e.op.name == "where" and e.args[0] is condition:
        return e.args[1]
    if depth == 0 or e.op.name not in ("add", "sub", "mul", "div", "neg"):
        return None
    parts = [_assuming(a, condition, depth - 1) for a in e.args]
    if all(p is None for p in parts):
        return None
    return apply(e.op, *[a if p is None else p for a, p in zip(e.args, parts, strict=True)])


def _labels(e: Expr) -> tuple[Expr, Dim] | None:
    """The labels ``k`` (with a last axis of size 1) and the number of classes in ``k[..., None] == arange(classes)``."""
    if e.op.name == "equal":
        for k, classes in (e.args, e.args[::-1]):
            if classes.op.name == "arange" and k.kind == "integer" and k.ndim and k.shape[-1] == 1:
                return k, classes.shape[0]
    return None


def _is_label(k: Expr, classes: Dim) -> Expr:
    return do("logical_and", do("greater_equal", k, 0), do("less", k, constant(classes) if isinstance(classes, int) else do("size", dim=classes)))


def _any_label(e: Expr) -> Expr | None:
    """Some class is the label if the label is a class."""
    found = _labels(e.args[0])
    return reshape_to(_is_label(*found), e.shape) if found is not None and e.params["axes"] == (-1,) else None


def _sum_of_label(e: Expr) -> Expr | None:
    """One class is chosen: the sum over the classes is what was chosen."""
    (x,) = e.args
    if x.op.name != "where" or e.params["axes"] != (-1,) or number(x.args[2]) != 0 or (x.args[1].shape and x.args[1].shape[-1] != 1):
        return None
    found = _labels(x.args[0])
    return reshape_to(do("where", _is_label(*found), x.args[1], 0), e.shape) if found is not None else None


# --- contractions ---------------------------------------------------------------------------------------


def _contract_transposed(e: Expr) -> Expr | None:
    """A transpose is another order of letters."""
    left, right, result = split_spec(e.params["spec"])
    a, b = e.args
    turned = False
    for _ in range(2):
        if a.op.name == "transpose":
            letters = [""] * len(left)
            for place, axis in enumerate(a.params["axes"]):
                letters[axis] = left[place]
            a, left, turned = a.args[0], "".join(letters), True
        a, b, left, right = b, a, right, left
    return apply(e.op, a, b, spec=canonical_spec(left, right, result)) if turned else None


def _transposed_contract(e: Expr) -> Expr | None:
    (x,) = e.args
    if x.op.name != "contract":
        return None
    left, right, result = split_spec(x.params["spec"])
    return apply(x.op, *x.args, spec=canonical_spec(left, right, "".join(result[a] for a in e.params["axes"])))


def _contract_negative(e: Expr) -> Expr | None:
    a, b = e.args
    if a.op.name == "neg":
        return do("neg", apply(e.op, a.args[0], b, **e.params))
    return do("neg", apply(e.op, a, b.args[0], **e.params)) if b.op.name == "neg" else None


def _contract_scaled(e: Expr) -> Expr | None:
    """Numbers and sizes come out of a contraction, where fewer elements are left to scale."""
    for k, x in enumerate(e.args):
        if (parts := _inner_factor(x)) is not None:
            return do("mul", parts[0], apply(e.op, *[parts[1] if j == k else y for j, y in enumerate(e.args)], **e.params))
    return None


def _plain_factor(x: Expr) -> tuple[Expr, Expr] | None:
    """A product with a moderate number or the (reciprocal of the) size of an axis, taken apart."""
    if x.op.name == "mul" and x.args[1].shape == x.shape != () and _is_plain_factor(x.args[0]):
        return x.args[0], x.args[1]
    if x.op.name == "div" and x.args[0].shape == x.shape != () and _is_plain_factor(x.args[1]):
        return do("div", constant(1), x.args[1]), x.args[0]
    return None


def _inner_factor(x: Expr) -> tuple[Expr, Expr] | None:
    """The plain factor of a product or of one of its two factors: for where it goes somewhere, not to stand before the product."""
    if (parts := _plain_factor(x)) is not None or x.op.name not in ("mul", "div") or x.shape == ():
        return parts
    a, b = x.args
    if (parts := _plain_factor(a)) is not None:
        return parts[0], do(x.op.name, parts[1], b)
    if x.op.name == "div":
        return None
    if (parts := _plain_factor(b)) is not None:
        return parts[0], do("mul", a, parts[1])
    return None


def _is_plain_factor(e: Expr) -> bool:
    """A moderate number, a size, or a quotient or product of two of them."""
    return not e.shape and all(map(_is_plain, e.args if e.op.name in ("mul", "div") else (e,)))


def _is_plain(e: Expr) -> bool:
    value = number(e)
    return e.op.name == "size" or (value is not None and 2.0**-20 <= abs(value) <= 2.0**20)


def _is_size_factor(e: Expr) -> bool:
    return _is_plain_factor(e) and number(e) is None


def _moved_factor(e: Expr) -> Expr | None:
    """A size that scales a tensor scales it after it was moved, too."""
    parts = _plain_factor(e.args[0])
    return None if parts is None else do("mul", parts[0], apply(e.op, parts[1], **e.params))


def _factor_of_product(e: Expr) -> Expr | None:
    """``(2/n*x)*y`` is ``2/n*(x*y)``: factors that no element has come first."""
    a, b = e.args
    for x, y in ((a, b), (b, a)):
        parts = _plain_factor(x)
        if parts is not None and _is_size_factor(parts[0]) and not _is_plain_factor(y) and parts[1].shape == e.shape:
            return do("mul", parts[0], do("mul", parts[1], y) if x is a else do("mul", y, parts[1]))
    return None


def _factor_of_factor(e: Expr) -> Expr | None:
    """``2*(x/n)`` is ``2/n*x``."""
    a, b = e.args
    parts = _plain_factor(b) if _is_plain_factor(a) else None
    if parts is None or not (_is_size_factor(a) or _is_size_factor(parts[0])) or (a.op.name == "div" and parts[0].op.name == "div"):
        return None
    return do("mul", do("mul", a, parts[0]), parts[1])


def _common_factor(e: Expr) -> Expr | None:
    """``x/n + y/n`` is ``(x + y)/n``."""
    a, b = _inner_factor(e.args[0]), _inner_factor(e.args[1])
    if a is None or b is None or a[0] is not b[0] or not _is_size_factor(a[0]):
        return None
    return do("mul", a[0], do(e.op.name, a[1], b[1]))


def _whole_over_size(e: Expr) -> Expr | None:
    """``1/n``, not ``1.0/n``: a quotient is real anyway."""
    value = number(e.args[0])
    whole = isinstance(value, float) and not e.args[0].shape and abs(value) < 2**53 and value == int(value) and e.args[1].kind == "integer"
    return do("div", constant(int(value)), e.args[1]) if whole and value is not None else None


def _size_quotient(e: Expr) -> Expr | None:
    """``2*(1/n)`` is ``2/n``."""
    a, b = e.args
    if e.shape or b.op.name != "div" or number(b.args[0]) != 1 or not _is_plain(a) or not _is_plain(b.args[1]):
        return None
    return do("div", a, b.args[1])


def _contract_nothing(e: Expr) -> Expr | None:
    """A contraction that sums nothing and spreads nothing out is an elementwise product."""
    left, right, result = split_spec(e.params["spec"])
    a, b = e.args
    if not left or not right:
        scalar, other, letters = (a, b, right) if not left else (b, a, left)
        if sorted(letters) != sorted(result):
            return None
        return do("mul", scalar, _permuted(other, letters, result))
    return do("mul", _permuted(a, left, result), _permuted(b, right, result)) if sorted(left) == sorted(right) == sorted(result) else None


def _permuted(x: Expr, have: str, want: str) -> Expr:
    return x if have == want else do("transpose", x, axes=tuple(have.index(c) - len(have) for c in want))


def _contract_zeros(e: Expr) -> Expr | None:
    return constant(0) if any(number(a) == 0 for a in e.args) else None


def _contract_ones(e: Expr) -> Expr | None:
    """The product with a tensor that is the same everywhere is a sum, repeated along the axes of that tensor alone."""
    left, right, result = split_spec(e.params["spec"])
    for x, other, letters in ((e.args[0], e.args[1], right), (e.args[1], e.args[0], left)):
        value = _is_everywhere(x)
        if value is None:
            continue
        axes = tuple(k - len(letters) for k, c in enumerate(letters) if c not in result)
        total = do("sum", other, axes=axes, keepdims=False) if axes else other
        kept = [c for c in letters if c in result]
        order = [kept.index(c) for c in result if c in kept]
        moved = total if order == sorted(order) else do("transpose", total, axes=tuple(k - len(kept) for k in order))
        wide = reshape_to(moved, tuple(d if c in kept else 1 for c, d in zip(result, e.shape, strict=True)))
        return do("mul", value, wide)
    return None


def _contract_eye(e: Expr) -> Expr | None:
    """``A @ I`` is ``A``."""
    left, right, result = split_spec(e.params["spec"])
    for x, other, own, letters in ((e.args[1], e.args[0], right, left), (e.args[0], e.args[1], left, right)):
        if see(x).op.name != "eye" or x.shape[0] != x.shape[1]:
            continue
        for k, c in ((own[0], own[1]), (own[1], own[0])):
            if k in letters and k not in result and c in result and c not in letters:
                renamed = letters.replace(k, c)
                if sorted(renamed) == sorted(result):
                    order = tuple(renamed.index(r) - len(renamed) for r in result)
                    return other if renamed == result else do("transpose", other, axes=order)
    return None


# --- kinds and guards -----------------------------------------------------------------------------------


def _promoted_anyway(e: Expr) -> Expr | None:
    """A whole number beside a real one becomes real by itself."""
    a, b = e.args
    if a.op.name == "to_real" and b.kind == "real" and b.op.name != "to_real" and a.args[0].kind == "integer":
        return apply(e.op, a.args[0], b)
    if b.op.name == "to_real" and a.kind == "real" and a.op.name != "to_real" and b.args[0].kind == "integer":
        return apply(e.op, a, b.args[0])
    return None


def _is_real_already(e: Expr) -> Expr | None:
    return e.args[0] if e.args[0].kind == "real" else None


def _known_nonnegative(e: Expr) -> Expr | None:
    (x,) = e.args
    return x if x.op.name in ("exp", "sigmoid", "softplus", "nonnegative", "cosh") else None


def _sample(make: Callable[[Expr, Expr, Expr], Expr]) -> Callable[[], Expr]:
    return lambda: make(symbol("A", (2, 3)), symbol("v", 3), symbol("s"))


def _one_hot() -> Expr:
    return do("equal", reshape_to(symbol("k", "n", integer=True), ("n", 1)), do("arange", size=3))


def _over_n(f: Callable[[Expr], Expr]) -> Expr:
    return f(do("mul", do("div", 1, do("size", dim="n")), symbol("x", "n"))) if f(symbol("x", "n")).ndim == 0 else do("mul", do("div", 1, do("size", dim="n")), f(symbol("x", "n")))


_PAD = {"before": (1, 0), "after": (0, 1), "interior": (1, 0)}
_ELEMENTWISE = (
    "neg", "exp", "log", "sqrt", "tanh", "sigmoid", "abs", "sin", "cos", "add", "sub", "mul", "div", "pow", "maximum", "minimum", "where",
    "less", "less_equal", "greater", "greater_equal", "equal", "not_equal", "logical_and", "logical_or", "logical_not", "square", "log1p", "expm1",
    "relu", "sign", "softplus", "log_sigmoid", "erf", "to_real", "nonnegative", "isnan", "isfinite",
)  # fmt: skip

SHAPES: tuple[Rule, ...] = (
    Rule("broadcast operand",       _ELEMENTWISE,                 _broadcast_operands,   "v + broadcast_to(s, (3,))"),
    Rule("negative number in sum",  ("add", "sub"),               _negative_number_in_sum, "s + (-3)*t", cosmetic=True),
    Rule("negative of a multiple",  ("neg",),                     _negative_of_number,   "-(3*s)", cosmetic=True),
    Rule("negative number over",    ("div",),                     _negative_over,        "(-2)/s", cosmetic=True),
    Rule("number first",            ("mul",),                     _number_first,         "s*3", cosmetic=True),
    Rule("moved constant",          ("reshape", "transpose", "slice", "pad", "scatter_add", "diagonal", "embed_diagonal"), _moved_constant,
         "reshape(broadcast_to(s, (2, 3)), (6,))"),
    Rule("same shape",              ("broadcast_to", "reshape"),  _same_shape,           _sample(lambda A, v, s: do("broadcast_to", v, shape=(3,)))),
    Rule("broadcast twice",         ("broadcast_to",),            _broadcast_twice,      "broadcast_to(broadcast_to(s, (3,)), (2, 3))"),
    Rule("reshape twice",           ("reshape",),                 _reshape_twice,        "reshape(reshape(A, (6,)), (3, 2))"),
    Rule("transpose twice",         ("transpose",),               _transpose_twice,      "A.T.T"),
    Rule("slice of pad",            ("slice",),                   _slice_of_pad,         _sample(lambda A, v, s: do("slice", do("pad", A, **_PAD), starts=(1, 0), stops=(4, 3), steps=(2, 1)))),
    Rule("slice twice",             ("slice",),                   _slice_twice,          "A[:, 1:][:, 1:2]"),
    Rule("whole slice",             ("slice",),                   _whole_slice,          _sample(lambda A, v, s: do("slice", v, starts=(0,), stops=(3,), steps=(1,)))),
    Rule("nothing padded",          ("pad",),                     _nothing_padded,       _sample(lambda A, v, s: do("pad", v, before=(0,), after=(0,), interior=(0,)))),
    Rule("diagonal of diagonal",    ("diagonal",),                _diagonal_of_diagonal, _sample(lambda A, v, s: do("diagonal", do("embed_diagonal", v, offset=0, rows=3, columns=3), offset=0))),
    Rule("sum over nothing",        ("sum",),                     _sum_of_nothing,       "sum(A[:, 1:2], axis=1)"),
    Rule("sum of repeated",         ("sum",),                     _sum_of_repeated,      "sum(broadcast_to(v, (2, 3)), axis=0)"),
    Rule("sum of sum",              ("sum",),                     _sum_of_sum,           "sum(sum(A, axis=1), axis=0)"),
    Rule("sum of moved",            ("sum",),                     _sum_of_moved,         "sum(A.T)"),
    Rule("sum of negative",         ("sum",),                     _sum_of_negative,      "sum(-v)"),
    Rule("sum of multiple",         ("sum",),                     _sum_of_multiple,      "sum(3*v)"),
    Rule("sum of product",          ("sum",),                     _sum_of_product,       "sum(A*v, axis=1)", late=0),
    Rule("sum of expanded",         ("sum",),                     _sum_of_expanded,      "sum(v[:, None], axis=0)"),
    Rule("sum of scaled",           ("sum",),                     _sum_of_scaled,        _sample(lambda A, v, s: _over_n(lambda x: do("sum", x, axes=(-1,), keepdims=False)))),
    Rule("sum of deviations",       ("sum",),                     _sum_of_deviations,    "1 + sum(2*(v - mean(v, keepdims=True)))"),
    Rule("moved negative",          ("reshape", "transpose", "slice", "pad", "scatter_add", "broadcast_to", "cumsum", "embed_diagonal", "diagonal"), _moved_negative,
         "cumsum(-v)"),
    Rule("whole over size",         ("div",),                     _whole_over_size,      _sample(lambda A, v, s: do("div", 2.0, do("size", dim="n"))), cosmetic=True),
    Rule("size quotient",           ("mul",),                     _size_quotient,        _sample(lambda A, v, s: do("mul", 2, do("div", 1, do("size", dim="n"))))),
    Rule("factor of factor",        ("mul",),                     _factor_of_factor,     _sample(lambda A, v, s: do("mul", 2, _over_n(lambda x: x)))),
    Rule("factor of product",       ("mul",),                     _factor_of_product,    _sample(lambda A, v, s: do("mul", _over_n(lambda x: x), symbol("x", "n")))),
    Rule("moved factor",            ("reshape", "transpose"),     _moved_factor,         "reshape(3*A, (6,))"),
    Rule("common factor",           ("add", "sub"),               _common_factor,        _sample(lambda A, v, s: do("add", _over_n(lambda x: x), _over_n(lambda x: do("exp", x))))),
    Rule("exp log_softmax",         ("exp",),                     _exp_of_log_softmax,   "exp(log_softmax(A))"),
    Rule("mean of a constant",      ("mean",),                    _mean_of_constant,     "mean(broadcast_to(s, (2, 3)))"),
    Rule("factor of choice",        ("where",),                   _factor_of_choice,     _sample(lambda A, v, s: do("where", do("greater", symbol("x", "n"), 0), _over_n(lambda x: x), 0))),
    Rule("known condition",         ("where",),                   _known_condition,      "where(s > 0, t*where(s > 0, t, 0), s)"),
    Rule("any label",               ("max",),                     _any_label,            _sample(lambda A, v, s: do("max", _one_hot(), axes=(-1,), keepdims=True))),
    Rule("sum of label",            ("sum",),                     _sum_of_label,         _sample(lambda A, v, s: do("sum", do("where", _one_hot(), s, 0), axes=(-1,), keepdims=False))),
    Rule("contract transposed",     ("contract",),                _contract_transposed,  "A.T @ A"),
    Rule("transposed contract",     ("transpose",),               _transposed_contract,  "(A @ B).T"),
    Rule("contract negative",       ("contract",),                _contract_negative,    "A @ (-v)"),
    Rule("contract scaled",         ("contract",),                _contract_scaled,      "A @ (3*v)"),
    Rule("contract nothing",        ("contract",),                _contract_nothing,     _sample(lambda A, v, s: do("contract", s, v, spec=",i->i"))),
    Rule("contract zeros",          ("contract",),                _contract_zeros,       "A @ broadcast_to(0, (3,))"),
    Rule("contract ones",           ("contract",),                _contract_ones,        "A @ broadcast_to(s, (3,))"),
    Rule("contract eye",            ("contract",),                _contract_eye,         "A @ eye(3)"),
    Rule("promoted anyway",         ("add", "sub", "mul"),        _promoted_anyway,      _sample(lambda A, v, s: do("mul", s, do("to_real", symbol("k", integer=True)))), cosmetic=True),
    Rule("real already",            ("to_real",),                 _is_real_already,      _sample(lambda A, v, s: do("to_real", s))),
    Rule("known nonnegative",       ("nonnegative",),             _known_nonnegative,    _sample(lambda A, v, s: do("nonnegative", do("exp", s)))),
)  # fmt: skip

LOCAL: tuple[Rule | Pattern, ...] = SHAPES + ALGEBRA
LATE: tuple[Rule | Pattern, ...] = tuple(rule for rule in LOCAL if rule.late is not None)
