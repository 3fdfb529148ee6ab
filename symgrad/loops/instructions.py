"""The table of scalar instructions: operands, kinds, meaning and cost of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from symgrad.ops.elementwise_activations import evaluate_gelu, evaluate_silu


@dataclass(frozen=True)
class Instruction:
    """``kind``: what operands become and the result is: "real" → real, "same" → the widest operand's (at least
    integer), "boolean" → boolean of any (compared in their common kind), "logic" → boolean of booleans,
    "integer" → integer of integers. ``arity``: ``None`` for one operand a lane. ``evaluate``: NumPy, for the
    interpreter. ``cost``: 1 an addition."""

    name: str
    arity: int | None
    kind: str
    evaluate: Callable[..., Any]
    cost: float = 1.0


def _gelu(x: Any) -> Any:
    return evaluate_gelu(x, approximate=False)


def _gelu_tanh(x: Any) -> Any:
    return evaluate_gelu(x, approximate=True)


def _special(name: str) -> Callable[..., Any]:
    def evaluate(*args: Any, **params: Any) -> Any:
        from scipy import special

        if name == "polygamma":
            return special.polygamma(params["order"], args[0])
        return getattr(special, name)(*args)

    return evaluate


def _interleave(x: Any, y: Any, half: int) -> Any:
    return np.stack((x, y), axis=-1).reshape(2, -1)[half]


def _powi(x: Any, exponent: int) -> Any:
    return np.power(x, np.asarray(exponent, dtype=np.asarray(x).dtype))


def _clean(function: Callable[..., Any]) -> Callable[..., Any]:
    def evaluate(*args: Any, **params: Any) -> Any:
        with np.errstate(all="ignore"):
            return function(*args, **params)

    return evaluate


def _table(*rows: tuple[Any, ...]) -> dict[str, Instruction]:
    return {row[0]: Instruction(row[0], row[1], row[2], _clean(row[3]), *row[4:]) for row in rows}


INSTRUCTIONS: dict[str, Instruction] = _table(
    # name          arity kind      evaluate                  cost
    ("add",           2, "same",    np.add),
    ("sub",           2, "same",    np.subtract),
    ("mul",           2, "same",    np.multiply),
    ("div",           2, "real",    np.true_divide,           4.0),
    ("neg",           1, "same",    np.negative),
    ("floordiv",      2, "same",    np.floor_divide,          8.0),   # NumPy's: rounds down, integer x // 0 is 0
    ("mod",           2, "same",    np.mod,                   8.0),   # NumPy's: the sign of the divisor
    ("maximum",       2, "same",    np.maximum),                      # NaN where either is
    ("minimum",       2, "same",    np.minimum),
    ("fma",           3, "real",    lambda a, b, c: a * b + c),       # rounded once or twice
    ("abs",           1, "same",    np.abs),
    ("sqrt",          1, "real",    np.sqrt,                  6.0),
    ("floor",         1, "real",    np.floor),
    ("ceil",          1, "real",    np.ceil),
    ("round",         1, "real",    np.rint),                         # half to even
    ("copysign",      2, "real",    np.copysign),
    ("less",          2, "boolean", np.less),
    ("less_equal",    2, "boolean", np.less_equal),
    ("greater",       2, "boolean", np.greater),
    ("greater_equal", 2, "boolean", np.greater_equal),
    ("equal",         2, "boolean", np.equal),
    ("not_equal",     2, "boolean", np.not_equal),
    ("isnan",         1, "boolean", np.isnan),
    ("isfinite",      1, "boolean", np.isfinite),
    ("and",           2, "logic",   np.logical_and),
    ("or",            2, "logic",   np.logical_or),
    ("xor",           2, "logic",   np.logical_xor),
    ("not",           1, "logic",   np.logical_not),
    ("select",        3, "select",  np.where),                        # select(condition, a, b)
    ("to_real",       1, "real",    lambda x: x),
    ("to_integer",    1, "integer", lambda x: np.asarray(x).astype(np.int64)),   # towards zero
    ("to_boolean",    1, "boolean", lambda x: np.not_equal(x, 0)),
    ("bitand",        2, "integer", np.bitwise_and),                  # the shuffle's arithmetic, modulo 2**64
    ("bitxor",        2, "integer", np.bitwise_xor),
    ("shift_left",    2, "integer", np.left_shift),
    ("shift_right",   2, "integer", lambda x, k: (np.asarray(x).astype(np.uint64) >> np.asarray(k).astype(np.uint64)).astype(np.int64)),
    ("exp",           1, "real",    np.exp,                   15.0),
    ("log",           1, "real",    np.log,                   15.0),
    ("log1p",         1, "real",    np.log1p,                 20.0),
    ("expm1",         1, "real",    np.expm1,                 20.0),
    ("sin",           1, "real",    np.sin,                   20.0),
    ("cos",           1, "real",    np.cos,                   20.0),
    ("tan",           1, "real",    np.tan,                   25.0),
    ("asin",          1, "real",    np.arcsin,                20.0),
    ("acos",          1, "real",    np.arccos,                20.0),
    ("atan",          1, "real",    np.arctan,                20.0),
    ("atan2",         2, "real",    np.arctan2,               25.0),
    ("sinh",          1, "real",    np.sinh,                  20.0),
    ("cosh",          1, "real",    np.cosh,                  20.0),
    ("tanh",          1, "real",    np.tanh,                  20.0),
    ("asinh",         1, "real",    np.arcsinh,               25.0),
    ("acosh",         1, "real",    np.arccosh,               25.0),
    ("atanh",         1, "real",    np.arctanh,               25.0),
    ("sigmoid",       1, "real",    _special("expit"),        20.0),
    ("silu",          1, "real",    evaluate_silu,                21.0),
    ("gelu",          1, "real",    _gelu,                    35.0),
    ("gelu_tanh",     1, "real",    _gelu_tanh,               28.0),  # gelu by its approximation
    ("erf",           1, "real",    _special("erf"),          25.0),
    ("erfc",          1, "real",    _special("erfc"),         25.0),
    ("lgamma",        1, "real",    _special("gammaln"),      60.0),
    ("digamma",       1, "real",    _special("digamma"),      60.0),
    ("polygamma",     1, "real",    _special("polygamma"),    80.0),  # param order
    ("pow",           2, "real",    np.power,                 40.0),
    ("powi",          1, "same",    _powi,                    3.0),   # param exponent, a whole number
    ("hypot",         2, "real",    np.hypot,                 20.0),
    # lanes
    ("splat",         1, "any",     lambda x: x),
    ("iota",          0, "integer", lambda: None),                    # 0, 1, …, lanes - 1
    ("extract",       1, "any",     lambda x, lane: x[lane]),         # param lane
    ("reduce_add",    1, "any",     np.sum,                   3.0),
    ("reduce_add_each", None, "any", lambda *xs: np.array([np.sum(x) for x in xs]), 3.0),  # lane k: the sum of operand k's lanes
    ("interleave",    2, "any",     _interleave),                     # param half: x0, y0, x1, y1, … of that half of the lanes
    ("reduce_mul",    1, "any",     np.prod,                  3.0),
    ("reduce_maximum", 1, "any",    np.max,                   3.0),
    ("reduce_minimum", 1, "any",    np.min,                   3.0),
    # scalars
    ("index",         0, "integer", lambda: None),                    # param index: an Index as a value
    ("read",          1, "any",     lambda x: x),                     # a register's value
    ("constant",      0, "any",     lambda: None),                    # param value
)  # fmt: skip
