"""symgrad: symbolic gradients that you can read, compiled into native code.

You write an expression; symgrad derives its gradient as a formula, simplifies it, and compiles both::

    expression ──► derivative ──► simplified ──► scheduled ──► rendered ──► run
      expr, ops    differentiate    simplify       schedule      render       run

Left of "scheduled" is mathematics, expressions in and expressions out; right of it a small compiler.
``show`` prints every stage.

>>> import symgrad as sg
>>> x = sg.symbol("x")
>>> sg.grad(3*x**2 - 4*x + 5, x)
6*x - 4

Importing symgrad imports neither numba nor SymPy: the rooms of :data:`_ROOMS` open when a name of theirs is first used.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

from symgrad import sympy_bridge as _sympy_bridge  # SymPy objects become expressions wherever one is accepted (imports no SymPy)
from symgrad.errors import CacheWarning, MissingDependencyError, NonFiniteError, ParseError, ShapeError
from symgrad.expr import METHODS, Expr, Op, _converters, as_expr, constant, substitute, symbol, symbols
from symgrad.ops import *  # noqa: F403
from symgrad.ops import __all__ as _functions
from symgrad.parse import parse  # here, not in a room: the module of the same name would take the function's place

__version__ = "0.1.0"

_ROOMS = {
    "from_sympy": "symgrad.sympy_bridge", "define_op": "symgrad.ops.define",
    "grad": "symgrad.differentiate", "jacobian": "symgrad.differentiate", "hessian": "symgrad.differentiate", "jvp": "symgrad.differentiate",
    "vjp": "symgrad.differentiate", "hvp": "symgrad.differentiate", "check_grads": "symgrad.differentiate",
    "simplify": "symgrad.simplify",
    "explain": "symgrad.show", "at": "symgrad.show", "draw": "symgrad.show", "plot": "symgrad.show", "plot_decision_boundary": "symgrad.show",
    "compile": "symgrad.pipeline", "Function": "symgrad.run",
    "fit": "symgrad.train", "Fit": "symgrad.train",
}  # fmt: skip
_PACKAGES = ("nn", "optim", "train", "interop", "linalg", "evaluate")

__all__ = [
    "CacheWarning", "Expr", "MissingDependencyError", "NonFiniteError", "Op", "ParseError", "ShapeError", "constant", "parse", "substitute",
    "symbol", "symbols", *_functions, *_ROOMS, *_PACKAGES,
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        value = getattr(import_module(_ROOMS[name]), name)
    elif name in _PACKAGES:
        value = import_module(f"symgrad.{name}")
    else:
        raise AttributeError(f"module 'symgrad' has no attribute {name!r}")
    if name not in _BOTH:
        globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


# --- names that are a function and, inside, a module -----------------------------------------------
# Importing the package `symgrad.simplify` sets the attribute `simplify` of this one; users mean the function.

_BOTH = ("simplify",)


def _function_not_module(name: str) -> property:
    def ignored(package: Any, value: Any) -> None: ...

    return property(lambda package: __getattr__(name), ignored)


class _Package(ModuleType):
    """This package, with the functions of :data:`_BOTH` in front of the modules of the same names."""


for _name in _BOTH:
    setattr(_Package, _name, _function_not_module(_name))
sys.modules[__name__].__class__ = _Package


# --- methods whose rooms open at their first use ---------------------------------------------------


def _opening(room: str, method: str) -> Any:
    def call(*args: Any, **kwargs: Any) -> Any:
        import_module(room)  # puts its own function into METHODS
        return METHODS[method](*args, **kwargs)

    return call


def _from_sympy(value: Any) -> Expr | None:
    """SymPy objects are expressions too; the bridge opens when the first one comes."""
    if type(value).__module__.partition(".")[0] != "sympy" or "symgrad.sympy_bridge" in sys.modules:
        return None  # no SymPy object, or the bridge has its own converter in the table
    import_module("symgrad.sympy_bridge")
    return as_expr(value)


for _method, _room in {"str": "symgrad.show", "repr": "symgrad.show", "latex": "symgrad.show.latex", "to_sympy": "symgrad.sympy_bridge"}.items():
    METHODS.setdefault(_method, _opening(_room, _method))
METHODS["finish"] = lambda derivatives, written: import_module("symgrad.simplify").finish(derivatives, written)
_converters.append(_from_sympy)
