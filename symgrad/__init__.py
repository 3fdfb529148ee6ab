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
import time
from importlib import import_module
from types import ModuleType
from typing import Any

import symgrad.sympy_bridge  # noqa: F401  SymPy objects become expressions wherever one is accepted (imports no SymPy)
from symgrad.errors import CacheWarning, MissingDependencyError, NonFiniteError, ParseError, ShapeError
from symgrad.expr import METHODS, Expr, Op, constant, substitute, symbol, symbols
from symgrad.ops import *  # noqa: F403
from symgrad.ops import __all__ as _functions
from symgrad.parse import parse  # here, not in a room: the module of the same name would take the function's place

__version__ = "0.1.0"
_imported_at = time.time()  # source files that are younger are not those that run: see run/cache.py

_ROOMS = {
    name: f"symgrad.{room}"
    for room, names in {
        "sympy_bridge": "from_sympy to_sympy", "ops.define": "define_op",
        "differentiate": "grad jacobian hessian jvp vjp hvp check_grads", "simplify": "simplify",
        "show": "at", "show.explain": "explain", "show.drawing": "draw", "show.plotting": "plot", "pipeline": "compile", "run": "Function",
        "train": "fit Fit", "train.boundary": "plot_decision_boundary",
    }.items()
    for name in names.split()
}  # fmt: skip
_PACKAGES = ("nn", "optim", "train", "evaluate", "linalg")

__all__ = [  # noqa: PLE0604
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


for _method, _room in {"str": "text", "repr": "text", "latex": "latex", "notebook": "latex"}.items():
    METHODS.setdefault(_method, _opening(f"symgrad.show.{_room}", _method))
METHODS["finish"] = lambda derivatives, written: import_module("symgrad.simplify").finish(derivatives, written)
