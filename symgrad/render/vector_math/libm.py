"""The platform's mathematical library: for scalars, where it is as good as ours, and for the arguments that lanes leave to it."""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from symgrad.render.vector_math.lanes import DOUBLE, Lanes, lanes_of

__all__ = ["LIBM", "by_lane", "libm_function"]

# Functions of double that every C library has, within 2 ulp or so in the usual ones (glibc, musl, Apple, UCRT), and their arity.
# acosh, erfc, lgamma and tanh are left out: glibc's are off by more, and its tanh takes longer than ours.
LIBM = {
    "exp": 1, "expm1": 1, "log": 1, "log1p": 1, "pow": 2, "sin": 1, "cos": 1, "tan": 1, "asin": 1, "acos": 1, "atan": 1, "atan2": 2,
    "sinh": 1, "cosh": 1, "asinh": 1, "atanh": 1, "erf": 1, "hypot": 2,
}


def libm_function(module: Any, name: str) -> Any:
    """The function as an external symbol, declared free of side effects: nobody here asks for errno."""
    function = module.globals.get(name)
    if function is None:
        double = ir.DoubleType()
        function = ir.Function(module, ir.FunctionType(double, [double] * LIBM[name]), name)
        for attribute in ("nounwind", "readnone"):
            function.attributes.add(attribute)
    return function


def by_lane(name: str, *arguments: Lanes) -> Lanes:
    """libm's function of every lane of a vector, one after the other, or of a single number."""
    x = arguments[0]
    wide = [a if a.format is DOUBLE else a.to_double() for a in arguments]
    function = libm_function(x.builder.module, name)
    if x.count is None:
        result = Lanes(x.builder, x.builder.call(function, [a.value for a in wide]), x.target)
    else:
        values = [x.builder.call(function, [a.lane(i).value for a in wide]) for i in range(x.type.count)]
        result = lanes_of(x, values)
    return result if x.format is DOUBLE else result.to_float()
