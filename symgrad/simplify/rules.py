"""RULES: the local rules, as tables, one line a rule: its name, what it is good for, what it looks at, what it makes of that.

Sound means: where the raw form is finite and accurate the result agrees to 4 ulp, and it is finite wherever the raw form is;
except that numbers up to ``2**20`` may change places with other factors, where a value on the way is that close to the largest
or the smallest normal number. So nothing is distributed, no product of more than two factors is taken apart, and
``exp(a)*exp(b)`` stays (rounding ``a + b`` costs up to 700 ulp). What algebra drops may go: ``x - x``, ``0*x``, ``x/x``.

:data:`RULES` has all tables, those of the files beside this one and of ``stability`` among them; tests/test_rules.py walks them and
checks what each line promises. Constants are gathered and like terms added up by ``collect.py``, over whole products and sums;
:data:`PASSES` are what follows: parts of formulas written anew by ``islands.py``, and the order in which people read them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from symgrad.expr import Expr, apply, constant, symbol
from symgrad.simplify.collect import collect
from symgrad.simplify.contractions import CONTRACTIONS
from symgrad.simplify.engine import RuleBook
from symgrad.simplify.factors import CHOICES, FACTORS
from symgrad.simplify.matrices import MATRICES
from symgrad.simplify.present import ORDER, present
from symgrad.simplify.rewriting import CHEAPER, FORM, Pattern, Rule, do, number
from symgrad.simplify.samples import sample
from symgrad.simplify.stability import STABILITY
from symgrad.simplify.tensors import MOVEMENT, REDUCTIONS
from symgrad.simplify.terms import Survey

__all__ = ["ALGEBRA", "IN_CODE", "LATE", "LOCAL", "PASSES", "RULES", "WHOLES"]


# --- algebra: pattern -> result ----------------------------------------------------------------------------


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
    Pattern("add 0",                 CHEAPER,  "x + 0",                 "x"),
    Pattern("subtract 0",            CHEAPER,  "x - 0",                 "x"),
    Pattern("subtract from 0",       FORM,     "0 - x",                 "-x"),
    Pattern("x - x",                 CHEAPER,  "x - x",                 "0"),
    Pattern("add a negative",        CHEAPER,  "x + -y",                "x - y", cosmetic=True),
    Pattern("subtract a negative",   CHEAPER,  "x - -y",                "x + y"),
    Pattern("x + y - y",             CHEAPER,  "(x + y) - y",           "x"),
    Pattern("x - y + y",             CHEAPER,  "(x - y) + y",           "x"),
    Pattern("difference turned round", CHEAPER, "(x - y) - (y - x)",   "2*(x - y)"),
    Pattern("double negation",       CHEAPER,  "--x",                   "x"),
    Pattern("negative difference",   CHEAPER,  "-(x - y)",              "y - x"),
    # products
    Pattern("multiply by 0",         CHEAPER,  "0*x",                   "0"),
    Pattern("multiply by 1",         CHEAPER,  "1*x",                   "x"),
    Pattern("multiply by -1",        FORM,     "x*(-1)",                "-x"),
    Pattern("negative factor",       FORM,     "-x*y",                  "-(x*y)", cosmetic=True),
    Pattern("x*x",                   FORM,     "x*x",                   "x**2"),
    Pattern("power times base",      CHEAPER,  "x**n*x",                "x**(n + 1)",           _counts),
    Pattern("multiply by 1/y",       CHEAPER,  "x*(1/y)",               "x/y",                  _divisor_as_large, late=1),
    Pattern("divide, then multiply", CHEAPER,  "1/y*x",                 "x/y",                  _divisor_as_large, late=0),
    Pattern("x*(1/x)",               CHEAPER,  "x*(1/x)",               "1"),
    Pattern("x*(1/(x*y))",           CHEAPER,  "x*(1/(x*y))",           "1/y"),
    Pattern("multiply, then divide", CHEAPER,  "(x/y)*y",               "x"),
    Pattern("divide by power",       CHEAPER,  "x/y**n*y",              "x/y**(n - 1)",         _counts),
    Pattern("select by 1 and 0",     CHEAPER,  "where(p, 1, 0)*x",      "where(p, x, 0)",       _factor_as_large),
    # quotients
    Pattern("divide by 1",           CHEAPER,  "x/1",                   "x"),
    Pattern("divide by -1",          FORM,     "x/(-1)",                "-x"),
    Pattern("divide 0",              CHEAPER,  "0/x",                   "0"),
    Pattern("x/x",                   CHEAPER,  "x/x",                   "1"),
    Pattern("negative numerator",    FORM,     "-x/y",                  "-(x/y)", cosmetic=True),
    Pattern("negative denominator",  FORM,     "x/-y",                  "-(x/y)", cosmetic=True),
    Pattern("cancel a factor",       CHEAPER,  "x*y/y",                 "x"),
    Pattern("cancel a numerator",    CHEAPER,  "x/(x*y)",               "1/y"),
    Pattern("power over base",       CHEAPER,  "x**n/x",                "x**(n - 1)",           _counts),
    Pattern("divide by 1/y",         CHEAPER,  "x/(1/y)",               "x*y"),
    Pattern("1/(x/y)",               CHEAPER,  "1/(x/y)",               "y/x"),
    Pattern("1/exp",                 CHEAPER,  "1/exp(x)",              "exp(-x)",              late=1),
    # powers
    Pattern("square",                FORM,     "square(x)",             "x**2", cosmetic=True),
    Pattern("power 1",               CHEAPER,  "x**1",                  "x"),
    Pattern("power 0",               CHEAPER,  "x**0",                  "1"),
    Pattern("1 to a power",          CHEAPER,  "1**x",                  "1"),
    Pattern("power -1",              FORM,     "x**(-1)",               "1/x"),
    Pattern("square of a negative",  CHEAPER,  "(-x)**2",               "x**2"),
    Pattern("square of abs",         CHEAPER,  "abs(x)**2",             "x**2"),
    Pattern("square of sqrt",        CHEAPER,  "sqrt(x)**2",            "x"),
    Pattern("sqrt of square",        CHEAPER,  "sqrt(x**2)",            "abs(x)"),
    Pattern("power of exp",          CHEAPER,  "exp(x)**n",             "exp(n*x)",             _power_of_two, late=0),
    # functions
    Pattern("log exp",               CHEAPER,  "log(exp(x))",           "x"),
    Pattern("exp log",               CHEAPER,  "exp(log(x))",           "x"),
    Pattern("exp log1p",             CHEAPER,  "exp(log1p(x))",         "1 + x"),
    Pattern("expm1 log",             CHEAPER,  "expm1(log(x))",         "x - 1"),
    Pattern("power by exp and log",  CHEAPER,  "exp(n*log(x))",         "x**n",                 _counts),
    Pattern("exp log_sigmoid",       CHEAPER,  "exp(log_sigmoid(x))",   "sigmoid(x)"),
    Pattern("log of sqrt",           CHEAPER,  "log(sqrt(x))",          "log(x)/2"),
    Pattern("log of 1/x",            CHEAPER,  "log(1/x)",              "-log(x)"),
    Pattern("expm1 log1p",           CHEAPER,  "expm1(log1p(x))",       "x"),
    Pattern("log1p expm1",           CHEAPER,  "log1p(expm1(x))",       "x"),
    Pattern("abs of a negative",     CHEAPER,  "abs(-x)",               "abs(x)"),
    Pattern("abs abs",               CHEAPER,  "abs(abs(x))",           "abs(x)"),
    Pattern("abs of a square",       CHEAPER,  "abs(x**2)",             "x**2"),
    Pattern("abs exp",               CHEAPER,  "abs(exp(x))",           "exp(x)"),
    Pattern("cos of a negative",     CHEAPER,  "cos(-x)",               "cos(x)"),
    Pattern("sin of a negative",     FORM,     "sin(-x)",               "-sin(x)"),
    Pattern("tan of a negative",     FORM,     "tan(-x)",               "-tan(x)"),
    Pattern("tanh of a negative",    FORM,     "tanh(-x)",              "-tanh(x)"),
    Pattern("sinh of a negative",    FORM,     "sinh(-x)",              "-sinh(x)"),
    Pattern("cosh of a negative",    CHEAPER,  "cosh(-x)",              "cosh(x)"),
    Pattern("erf of a negative",     FORM,     "erf(-x)",               "-erf(x)"),
    Pattern("atan of a negative",    FORM,     "atan(-x)",              "-atan(x)"),
    Pattern("asin of a negative",    FORM,     "asin(-x)",              "-asin(x)"),
    Pattern("tan atan",              CHEAPER,  "tan(atan(x))",          "x"),
    Pattern("sin asin",              CHEAPER,  "sin(asin(x))",          "x"),
    Pattern("cos acos",              CHEAPER,  "cos(acos(x))",          "x"),
    Pattern("cos atan",              CHEAPER,  "cos(atan(x))",          "1/hypot(1, x)"),
    Pattern("cos asin",              CHEAPER,  "cos(asin(x))",          "sqrt((1 - x)*(1 + x))"),
    Pattern("sin acos",              CHEAPER,  "sin(acos(x))",          "sqrt((1 - x)*(1 + x))"),
    Pattern("sinh asinh",            CHEAPER,  "sinh(asinh(x))",        "x"),
    Pattern("cosh asinh",            CHEAPER,  "cosh(asinh(x))",        "hypot(1, x)"),
    Pattern("cosh acosh",            CHEAPER,  "cosh(acosh(x))",        "x"),
    Pattern("sinh acosh",            CHEAPER,  "sinh(acosh(x))",        "sqrt(x - 1)*sqrt(x + 1)"),
    Pattern("tanh atanh",            CHEAPER,  "tanh(atanh(x))",        "x"),
    Pattern("asinh sinh",            CHEAPER,  "asinh(sinh(x))",        "x"),
    Pattern("atanh tanh",            CHEAPER,  "atanh(tanh(x))",        "x"),
    Pattern("square of hypot",       CHEAPER,  "hypot(x, y)**2",        "x**2 + y**2"),
    Pattern("sin**2 + cos**2",       CHEAPER,  "sin(x)**2 + cos(x)**2", "1"),
    Pattern("sin over cos",          CHEAPER,  "sin(x)/cos(x)",         "tan(x)"),
    Pattern("relu relu",             CHEAPER,  "relu(relu(x))",         "relu(x)"),
    Pattern("maximum x x",           CHEAPER,  "maximum(x, x)",         "x"),
    Pattern("minimum x x",           CHEAPER,  "minimum(x, x)",         "x"),
    # choices and logic
    Pattern("where true",            CHEAPER,  "where(True, x, y)",     "x"),
    Pattern("where false",           CHEAPER,  "where(False, x, y)",    "y"),
    Pattern("where x x",             CHEAPER,  "where(p, x, x)",        "x"),
    Pattern("where not",             CHEAPER,  "where(~p, x, y)",       "where(p, y, x)"),
    Pattern("where in where",        CHEAPER,  "where(p, where(p, x, y), z)", "where(p, x, z)"),
    Pattern("where in else",         CHEAPER,  "where(p, x, where(p, y, z))", "where(p, x, z)"),
    Pattern("negative choice",       FORM,     "where(p, -x, 0)",       "-where(p, x, 0)",      cosmetic=True, late=1),
    Pattern("negative other choice", FORM,     "where(p, 0, -x)",       "-where(p, 0, x)",      cosmetic=True, late=2),
    Pattern("not not",               CHEAPER,  "~~p",                   "p"),
    Pattern("and true",              CHEAPER,  "p & True",              "p"),
    Pattern("and false",             CHEAPER,  "p & False",             "False"),
    Pattern("or true",               CHEAPER,  "p | True",              "True"),
    Pattern("or false",              CHEAPER,  "p | False",             "p"),
    Pattern("p and p",               CHEAPER,  "p & p",                 "p"),
    Pattern("p or p",                CHEAPER,  "p | p",                 "p"),
)  # fmt: skip


# --- numbers, kinds and guards -----------------------------------------------------------------------------


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
    if x.op.name == "mul" and (value := number(x.args[1])) is not None:
        return do("mul", x.args[0], constant(-value))
    return None


def _negative_over(e: Expr) -> Expr | None:
    """``(-1)/n`` is ``-(1/n)``."""
    value = number(e.args[0])
    if value is None or value >= 0 or e.args[0].shape or number(e.args[1]) is not None:
        return None
    return do("neg", do("div", constant(-value), e.args[1]))


def _number_first(e: Expr) -> Expr | None:
    """Numbers stand first in a product that nobody wrote; what the user wrote is put back by ``collect``."""
    a, b = e.args
    return do("mul", b, a) if number(b) is not None and number(a) is None else None


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


_MULTIPLES = frozenset({"constant", "mul", "div"})

NUMBERS: tuple[Rule, ...] = (
    Rule("negative number in sum", FORM,     ("add", "sub"), _negative_number_in_sum, "s + (-3)*t", cosmetic=True, style=True,
         look=lambda a, b: a in _MULTIPLES or b in _MULTIPLES),
    Rule("negative of a multiple", CHEAPER,  ("neg",),      _negative_of_number,     "-(3*s)", cosmetic=True,
         look=lambda x: x in _MULTIPLES),
    Rule("negative number over",   FORM,     ("div",),      _negative_over,          "(-2)/s", cosmetic=True,
         look=lambda a, b: a == "constant"),
    Rule("number first",           FORM,     ("mul",),      _number_first,           "s*3", cosmetic=True, style=True,
         look=lambda a, b: a != "constant" == b),
    Rule("promoted anyway",        FORM,     ("add", "sub", "mul"), _promoted_anyway,
         sample(lambda A, v, s: do("mul", s, do("to_real", symbol("k", integer=True)))), cosmetic=True,
         look=lambda a, b: not {a, b}.isdisjoint(("to_real", "constant"))),
    Rule("real already",           CHEAPER,  ("to_real",),  _is_real_already,        sample(lambda A, v, s: do("to_real", s))),
    Rule("known nonnegative",      CHEAPER,  ("nonnegative",), _known_nonnegative,
         sample(lambda A, v, s: do("nonnegative", do("exp", s)))),
)  # fmt: skip

# --- sums and products as wholes ---------------------------------------------------------------------------


def _collected(e: Expr) -> Expr | None:
    """What ``collect`` makes of an expression; it does so for all nodes in one pass, and is not tried node by node."""
    ((new,), _) = collect(Survey([e]), {}, None, RuleBook(()))
    return None if new is e else new


WHOLES: tuple[Rule, ...] = (
    Rule("gather constants",       CHEAPER,  ("mul", "div", "neg"), _collected, sample(lambda A, v, s: do("mul", 3, do("mul", 2, s)))),
    Rule("add like terms",         CHEAPER,  ("add", "sub", "neg"), _collected, sample(lambda A, v, s: do("add", do("mul", 3, s), s))),
)  # fmt: skip

# --- passes: what is done to whole derivatives ---------------------------------------------------------------


def _ordered(e: Expr) -> Expr | None:
    (new,) = present(Survey([e]), {})
    return None if new is e else new


def _by_islands(e: Expr) -> Expr | None:
    from symgrad.simplify.islands import simplify_islands  # which reads these tables

    (new,) = simplify_islands([e])
    return None if new is e else new


PASSES: tuple[Rule, ...] = (
    Rule(ORDER,                    FORM,     ("add", "sub", "mul", "div", "neg"), _ordered, "5 + s*3*exp(s)"),
    Rule("gather factors and terms", CHEAPER, ("add", "sub", "mul", "div", "neg"), _by_islands, "s**2*sin(s) + 3*s*sin(s)"),
    Rule("identities of functions and polynomials", CHEAPER, ("add", "sub", "mul", "div", "neg"), _by_islands, "sin(2*s)/cos(s)"),
    Rule("algebra by SymPy",       CHEAPER,  ("add", "sub", "mul", "div", "neg"), _by_islands, "(sinh(s + t) + sinh(s - t))/cosh(t)"),
)  # fmt: skip

IN_CODE: tuple[Rule, ...] = MOVEMENT + NUMBERS + REDUCTIONS + FACTORS + CHOICES + CONTRACTIONS + MATRICES
LOCAL: tuple[Rule | Pattern, ...] = IN_CODE + ALGEBRA
LATE: tuple[Rule | Pattern, ...] = tuple(rule for rule in LOCAL if rule.late is not None)
RULES: Mapping[str, tuple[Rule | Pattern, ...]] = {
    "algebra": ALGEBRA, "numbers": NUMBERS, "sums and products": WHOLES, "movement": MOVEMENT, "reductions": REDUCTIONS,
    "factors": FACTORS, "choices": CHOICES, "contractions": CONTRACTIONS, "matrices": MATRICES, "stability": STABILITY,
    "passes": PASSES,
}  # fmt: skip
