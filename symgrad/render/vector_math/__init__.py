"""Mathematical functions on lanes, as LLVM functions inside the module that uses them.

:func:`math_function` writes a function into a module the first time it is asked for: for ``double`` and
``float`` and vectors of any width of them. Vector functions are branch-free over the lanes, but for rare
cases: sine, cosine and tangent of arguments beyond 1e6 (1e5 in float), which are left to the platform's
libm, and reflection of negative arguments in the gamma functions. Scalars use libm where it is at least as
good; scalar and vector results may differ in the last place.

Numbers with a sign, zeros of both signs, infinities, NaN and subnormal numbers, in and out, are as in C's
Annex F. No function flushes anything to zero, and none carries a fast-math flag.

The largest errors in ulp over 7,000 to 25,000 random and hard points (fewer for polygamma), against mpmath, with AVX-512
(``python tests/test_vector_math.py``; tanh and silu over millions); with AVX2 and SSE2 they are within 0.6 of these, exp, log, sigmoid
and, but for 1.08 without fused multiply-add, tanh below 1. Whole powers beyond the fourth: 0.50 (0.9 without fused multiply-add)::

    function                double  float    function                double  float
    exp                     0.60   0.70    atanh                   1.50   1.46
    expm1                   1.27   0.95    erf                     0.87   0.88
    log                     0.78   0.75    erfc                    0.98   1.02
    log1p                   0.78   0.78    x**3                    1.24   1.23
    sin                     0.73   0.98    x**4                    1.81   1.81
    cos                     0.72   1.08    x**-2                   1.83   1.82
    tan                     0.88   1.92    lgamma                  1.40   0.50
    tanh                    0.96   0.94    digamma                 1.68   0.50
    sigmoid                 0.78   0.76    polygamma 1             0.51   0.50
    silu                    1.42   1.36    polygamma 2             0.54   0.50
    gelu                    1.51   1.58    polygamma 5             1.36   0.50
    gelu by tanh            1.38   1.35    lgamma, x < 0 (1)       2.67   0.50
    asin                    0.59   0.67    digamma, x < 0 (1)      1.80   0.50
    acos                    0.55   0.64    polygamma 1, x < 0 (1)  1.99   0.50
    atan                    0.62   0.70    polygamma 2, x < 0 (1)  2.46   0.50
    sinh                    1.88   1.81    polygamma 3, x < 0 (1)  2.02   0.50
    cosh                    1.13   1.12    pow                     0.98   0.50
    asinh                   1.47   1.44    atan2                   0.73   1.47
    acosh                   1.36   1.38    hypot                   1.11   1.13

(1) against the larger of the terms that reflection subtracts, for negative x; the relative error grows near zeros there
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from llvmlite import ir

from symgrad.render.vector_math import activations, errorfunction, exponential, gamma, hyperbolic, inverse, power, trigonometric
from symgrad.render.vector_math.lanes import Lanes, join, part, type_name
from symgrad.render.vector_math.libm import LIBM, libm_function
from symgrad.render.vector_math.target import Target, host

__all__ = ["FUNCTIONS", "Target", "batch_function", "host", "math_function", "sin_and_cos_function", "turn_function"]


@dataclass(frozen=True)
class Definition:
    """How a function is written. ``emit`` takes :class:`Lanes` and, by keyword, the parameters."""

    emit: Callable[..., Lanes]
    arity: int = 1
    float32: bool = False     # ``emit`` has a version of its own for float; else float goes through double
    needs_fused: bool = False  # ... which is good only with fused multiply-add
    inline: bool = True
    parameters: tuple[str, ...] = ()


WIDEST = 8  # doubles in a register of the widest processors

# LLVM intrinsics that every target has, under their own names
INTRINSICS = {"sqrt": ("sqrt", 1), "floor": ("floor", 1), "ceil": ("ceil", 1), "round": ("rint", 1), "copysign": ("copysign", 2)}

FUNCTIONS: dict[str, Definition] = {
    "exp":   Definition(exponential.exp, float32=True),
    "expm1": Definition(exponential.expm1, float32=True),
    "log":   Definition(exponential.log, float32=True),
    "log1p": Definition(exponential.log1p, float32=True),
    "sin":   Definition(trigonometric.sin, float32=True, needs_fused=True),
    "cos":   Definition(trigonometric.cos, float32=True, needs_fused=True),
    "tan":   Definition(trigonometric.tan, float32=True, needs_fused=True),
    "asin":  Definition(inverse.asin, float32=True),
    "acos":  Definition(inverse.acos, float32=True),
    "atan":  Definition(inverse.atan, float32=True),
    "atan2": Definition(inverse.atan2, arity=2, float32=True, inline=False),
    "sinh":  Definition(hyperbolic.sinh, float32=True),
    "cosh":  Definition(hyperbolic.cosh, float32=True),
    "tanh":  Definition(hyperbolic.tanh, float32=True),
    "sigmoid": Definition(hyperbolic.sigmoid, float32=True),
    "asinh": Definition(hyperbolic.asinh, float32=True),
    "acosh": Definition(hyperbolic.acosh, float32=True),
    "atanh": Definition(hyperbolic.atanh, float32=True),
    "silu":  Definition(activations.silu, float32=True),
    "gelu":  Definition(activations.gelu, float32=True),
    "gelu_tanh": Definition(activations.gelu_tanh, float32=True),
    "erf":   Definition(errorfunction.erf, float32=True),
    "erfc":  Definition(errorfunction.erfc, float32=True),
    "lgamma":    Definition(gamma.lgamma, inline=False),
    "digamma":   Definition(gamma.digamma, inline=False),
    "polygamma": Definition(gamma.polygamma, inline=False, parameters=("order",)),
    "pow":   Definition(power.pow, arity=2, float32=True, inline=False),
    "powi":  Definition(power.powi, float32=True, parameters=("exponent",)),
    "hypot": Definition(power.hypot, arity=2, float32=True),
}


def math_function(module: Any, name: str, type: Any, *, target: Target | None = None, **parameters: int) -> Any:
    """The LLVM function of that name for values of that type, written into the module if it is not there yet.

    Args:
        module: the ``llvmlite.ir.Module`` that will call it.
        name: one of :data:`FUNCTIONS` or ``sqrt floor ceil round copysign`` (``round``: half to even).
        type: ``double``, ``float``, or a vector of them.
        target: the instructions that may be used; by default those of the processor we run on.
        parameters: ``exponent`` of ``powi``, ``order`` of ``polygamma``.

    Raises:
        KeyError: for a name that is not known.

    Example:
        >>> from llvmlite import ir
        >>> module = ir.Module()
        >>> print(math_function(module, "exp", ir.VectorType(ir.DoubleType(), 8)).name)
        symgrad.exp.v8f64
        >>> print(math_function(module, "exp", ir.DoubleType()).name)
        exp
    """
    if name in INTRINSICS:
        return _intrinsic(module, name, type)
    if isinstance(type, ir.DoubleType) and name in LIBM:
        return libm_function(module, name)
    definition = FUNCTIONS[name]
    if set(parameters) != set(definition.parameters):
        raise TypeError(f"{name} takes the parameters {definition.parameters}, not {tuple(parameters)}")
    target = target or host()
    symbol = ".".join(["symgrad", name, *(str(parameters[key]) for key in definition.parameters), type_name(type)])
    function = module.globals.get(symbol)
    if function is None:
        inline = definition.inline and isinstance(type, ir.VectorType)  # scalar formulas may have thousands of calls
        function = _new_function(module, symbol, ir.FunctionType(type, [type] * definition.arity), inline)
        builder = ir.IRBuilder(function.append_basic_block())
        arguments = [Lanes(builder, argument, target) for argument in function.args]
        if not _is_own(definition, name, type, target):
            result = _through_double(module, name, arguments, parameters)
        else:
            result = definition.emit(*arguments, **parameters)
        builder.ret(result.value)
    return function


def sin_and_cos_function(module: Any, type: Any, *, target: Target | None = None) -> Any:
    """The LLVM function that gives sine and cosine as a pair for one reduction, as ``math_function`` does alone (for single
    numbers, which it leaves to libm, to rounding); ``None`` where it would gain nothing: where floats go through double."""
    target = target or host()
    if not _is_own(FUNCTIONS["sin"], "sin", type, target):
        return None
    symbol = f"symgrad.sin_and_cos.{type_name(type)}"
    function = module.globals.get(symbol)
    if function is None:
        function = _new_function(module, symbol, ir.FunctionType(ir.LiteralStructType([type, type]), [type]), inline=True)
        builder = ir.IRBuilder(function.append_basic_block())
        compute = trigonometric.sin_and_cos if isinstance(type, ir.VectorType) else trigonometric.sin_and_cos_of_one
        sine, cosine = compute(Lanes(builder, function.args[0], target))
        pair = builder.insert_value(ir.Constant(function.return_value.type, ir.Undefined), sine.value, 0)
        builder.ret(builder.insert_value(pair, cosine.value, 1))
    return function


def turn_function(module: Any, name: str, element: Any) -> Any:
    """The LLVM function ("sin" or "cos") of a single number and a pointer to where it leaves the other one of the two;
    ``None`` as for :func:`sin_and_cos_function`."""
    both = sin_and_cos_function(module, element)
    if both is None:
        return None
    symbol = f"symgrad.{name}.and.{type_name(element)}"
    function = module.globals.get(symbol)
    if function is None:
        function = _new_function(module, symbol, ir.FunctionType(element, [element, ir.PointerType()]), inline=False)
        builder = ir.IRBuilder(function.append_basic_block())
        pair = builder.call(both, function.args[:1])
        result, other = (builder.extract_value(pair, k if name == "sin" else 1 - k) for k in (0, 1))
        builder.store(other, function.args[1])
        builder.ret(result)
    return function


def batch_function(module: Any, name: str, element: Any, width: int, arity: int = 1, **parameters: int) -> Any:
    """A function of ``width * arity`` single numbers, all first operands first, and a pointer to where it leaves its results as a
    vector; for ``"sin_and_cos"`` two vectors. For straight-line code, whose values are anywhere.

    Args:
        module: the ``llvmlite.ir.Module`` that will call it.
        name: one of :data:`FUNCTIONS`, or "sin_and_cos".
        element: ``double`` or ``float``.
        width: the number of calls, a power of two.
        arity: how many operands each of them has.
        parameters: as in :func:`math_function`.
    """
    symbol = ".".join(["symgrad.batch", name, *(str(p) for p in parameters.values()), f"{width}{type_name(element)}"])
    function = module.globals.get(symbol)
    if function is not None:
        return function
    function = _new_function(module, symbol, ir.FunctionType(ir.VoidType(), [element] * (width * arity) + [ir.PointerType()]), inline=False)
    builder = ir.IRBuilder(function.append_basic_block())
    *numbers, place = function.args
    operands = [_packed(builder, numbers[k * width : (k + 1) * width]) for k in range(arity)]
    for k, result in enumerate(_batch_results(module, builder, name, operands, parameters)):
        address = builder.gep(place, [ir.Constant(ir.IntType(64), k * width)], source_etype=element)
        builder.store(result, address, align=4 if isinstance(element, ir.FloatType) else 8)
    builder.ret_void()
    return function


def _packed(builder: Any, numbers: list[Any]) -> Any:
    if len(numbers) == 1:
        return numbers[0]
    packed = ir.Constant(ir.VectorType(numbers[0].type, len(numbers)), ir.Undefined)
    for lane, number in enumerate(numbers):
        packed = builder.insert_element(packed, number, ir.Constant(ir.IntType(32), lane))
    return packed


def _batch_results(module: Any, builder: Any, name: str, operands: list[Any], parameters: dict[str, int]) -> list[Any]:
    type_ = operands[0].type
    if name != "sin_and_cos":
        return [builder.call(math_function(module, name, type_, target=None, **parameters), operands)]
    both = sin_and_cos_function(module, type_)
    if both is not None:
        pair = builder.call(both, operands)
        return [builder.extract_value(pair, k) for k in (0, 1)]
    return [builder.call(math_function(module, each, type_), operands) for each in ("sin", "cos")]


def _new_function(module: Any, symbol: str, type: Any, inline: bool) -> Any:
    function = ir.Function(module, type, symbol)
    function.linkage = "internal"
    function.attributes.add("nounwind")
    function.attributes.add("alwaysinline" if inline else "noinline")
    return function


def _is_own(definition: Definition, name: str, type: Any, target: Target) -> bool:
    """Whether a function has a version for that type, so that floats need not go through double."""
    element = type.element if isinstance(type, ir.VectorType) else type
    if not isinstance(element, ir.FloatType):
        return True
    return definition.float32 and (target.fused or not definition.needs_fused) and not (element is type and name in LIBM)


def _intrinsic(module: Any, name: str, type: Any) -> Any:
    intrinsic, arity = INTRINSICS[name]
    symbol = f"llvm.{intrinsic}.{type_name(type)}"
    return module.globals.get(symbol) or ir.Function(module, ir.FunctionType(type, [type] * arity), symbol)


def _through_double(module: Any, name: str, arguments: list[Lanes], parameters: dict[str, int]) -> Lanes:
    """The function in double, rounded to float: within 0.51 ulp where the one in double is good."""
    count = arguments[0].count or 1
    width = count
    if not FUNCTIONS[name].inline and count & (count - 1) == 0:
        width = min(count, WIDEST)  # a long function on more registers than there are would spend its time on the stack
    results = []
    for start in range(0, count, width):
        wide = [(a if width == count else part(a, start, width)).to_double() for a in arguments]
        function = math_function(module, name, wide[0].type, target=wide[0].target, **parameters)
        builder = wide[0].builder
        results.append(Lanes(builder, builder.call(function, [a.value for a in wide]), wide[0].target).to_float())
    return join(results)
