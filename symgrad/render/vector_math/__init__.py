"""Mathematical functions on lanes, as LLVM functions inside the module that uses them.

:func:`math_function` writes a function into a module the first time it is asked for: for ``double`` and
``float`` and vectors of any width of them. Vector functions are branch-free over the lanes; sine, cosine
and tangent leave arguments beyond 1e6 (1e5 in float) to the platform's libm, behind a branch that is
hardly ever taken. Scalars use libm where it is at least as good; scalar and vector results may differ in the last place.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from llvmlite import ir

from symgrad.render.vector_math import errorfunction, exponential, gamma, hyperbolic, inverse, power, trigonometric
from symgrad.render.vector_math.lanes import Lanes, type_name
from symgrad.render.vector_math.libm import LIBM, libm_function
from symgrad.render.vector_math.target import Target, host

__all__ = ["FUNCTIONS", "Target", "host", "math_function"]


@dataclass(frozen=True)
class Definition:
    """How a function is written. ``emit`` takes :class:`Lanes` and, by keyword, the parameters."""

    emit: Callable[..., Lanes]
    arity: int = 1
    float32: bool = False     # ``emit`` has a version of its own for float; else float goes through double
    needs_fused: bool = False  # ... which is good only with fused multiply-add
    inline: bool = True
    parameters: tuple[str, ...] = ()


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
    "asin":  Definition(inverse.asin),
    "acos":  Definition(inverse.acos),
    "atan":  Definition(inverse.atan),
    "atan2": Definition(inverse.atan2, arity=2, inline=False),
    "sinh":  Definition(hyperbolic.sinh, float32=True),
    "cosh":  Definition(hyperbolic.cosh, float32=True),
    "tanh":  Definition(hyperbolic.tanh, float32=True),
    "asinh": Definition(hyperbolic.asinh),
    "acosh": Definition(hyperbolic.acosh),
    "atanh": Definition(hyperbolic.atanh),
    "erf":   Definition(errorfunction.erf, float32=True),
    "erfc":  Definition(errorfunction.erfc, float32=True),
    "lgamma":    Definition(gamma.lgamma, inline=False),
    "digamma":   Definition(gamma.digamma, inline=False),
    "polygamma": Definition(gamma.polygamma, inline=False, parameters=("order",)),
    "pow":   Definition(power.pow, arity=2, inline=False),
    "powi":  Definition(power.powi, float32=True, parameters=("exponent",)),
    "hypot": Definition(power.hypot, arity=2),
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
        function = ir.Function(module, ir.FunctionType(type, [type] * definition.arity), symbol)
        function.linkage = "internal"
        function.attributes.add("nounwind")
        function.attributes.add("alwaysinline" if definition.inline else "noinline")
        builder = ir.IRBuilder(function.append_basic_block())
        arguments = [Lanes(builder, argument, target) for argument in function.args]
        element = type.element if isinstance(type, ir.VectorType) else type
        own = definition.float32 and (target.fused or not definition.needs_fused) and not (element is type and name in LIBM)
        if isinstance(element, ir.FloatType) and not own:
            result = _through_double(module, name, arguments, parameters)
        else:
            result = definition.emit(*arguments, **parameters)
        builder.ret(result.value)
    return function


def _intrinsic(module: Any, name: str, type: Any) -> Any:
    intrinsic, arity = INTRINSICS[name]
    symbol = f"llvm.{intrinsic}.{type_name(type)}"
    return module.globals.get(symbol) or ir.Function(module, ir.FunctionType(type, [type] * arity), symbol)


def _through_double(module: Any, name: str, arguments: list[Lanes], parameters: dict[str, int]) -> Lanes:
    """The function in double, rounded to float: within 0.51 ulp where the one in double is good."""
    wide = [argument.to_double() for argument in arguments]
    function = math_function(module, name, wide[0].type, target=wide[0].target, **parameters)
    builder = wide[0].builder
    return Lanes(builder, builder.call(function, [argument.value for argument in wide]), wide[0].target).to_float()
