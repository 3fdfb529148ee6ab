"""A user's own op: the same record as ours, from ``sg.define_op``."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from math import inf
from typing import Any

import numpy as np

from symgrad.expr import OPS, Expr, ExprLike, Op, apply, as_expr, check_name, register
from symgrad.ops.elementwise import Interval
from symgrad.ops.writing import call_latex

__all__ = ["USER_OPS", "define_op"]

USER_OPS: set[str] = set()
"""Names of ops defined in this process: such a name may mean something else tomorrow."""


def define_op(
    name: str, *, derivative: Callable[..., Any], evaluate: Callable[..., Any], lower: Callable[..., Any] | None = None,
    shape: Callable[..., Any] | None = None, sympy: str | Callable[..., Any] | None = None, latex: str | Callable[..., str] | None = None,
    domain: Any = None, samples: Sequence[Any] = (), doc: str = "",
) -> Callable[..., Expr]:  # fmt: skip
    """Makes an op that is derived, shown and compiled as ours are, and returns its builder.

    name        a name that no op has
    derivative  ``derivative(g, y, *operands)`` → one expression (or ``None``) an operand: the upstream gradient ``g`` times
                the partial derivative, in terms of the output ``y`` and the operands; a single expression for one operand
    evaluate    ``evaluate(*arrays)`` in NumPy: what tests compare with; its parameters give the number of operands
    lower       ``lower(*operands)`` → the op as an expression of known ops, which is what is compiled. A numba function
                will do if its body is arithmetic and NumPy functions without branches: it is called with expressions
    shape       ``shape(*operand_shapes)``; elementwise with broadcasting unless given
    sympy       dotted name of SymPy's counterpart, or a function of SymPy operands
    latex       template such as ``r"\\\\operatorname{{f}}({0})"``
    domain      the open interval (or one for each operand) where value and derivative are smooth
    samples     operand values (tuples of them for several operands) at which the op is tested

    Raises ``ValueError`` for a name that is taken or none, ``TypeError`` for rules that are no functions.

    >>> import symgrad as sg, numpy as np
    >>> softsign = define_op("doc_softsign", derivative=lambda g, y, x: g*(1 - sg.abs(y))**2,
    ...                      evaluate=lambda x: x/(1 + np.abs(x)), lower=lambda x: x/(1 + sg.abs(x)))
    >>> x = sg.symbol("x")
    >>> sg.compile(softsign(3*x)).grad(x=1.0)
    {'x': 0.1875}
    """
    if "." in check_name(name):
        raise ValueError(f"an op's name has no dots: {name!r}")
    for role, rule in (("derivative", derivative), ("evaluate", evaluate), ("lower", lower)):
        if rule is not None and not callable(rule):
            raise TypeError(f"{role} is a function, not {rule!r}")
    operands = _operands(evaluate)
    op = register(
        Op(
            name=name, family="elementwise" if lower is None and shape is None else "composite", arity=len(operands),
            doc=doc or f"the user's op {name}", shape=shape, derivative=_as_entries(derivative), evaluate=evaluate,
            expand=None if lower is None else _traced(name, lower), sympy=sympy, latex=latex or call_latex(name.replace("_", r"\_")),
            domain=_intervals(domain, len(operands)),
            samples=tuple(s if isinstance(s, tuple) else (s,) for s in samples), cost=20.0,
        )
    )  # fmt: skip

    def build(*values: ExprLike) -> Expr:
        if len(values) != len(operands):
            raise TypeError(f"{name} takes {len(operands)} operands ({', '.join(operands)}), not {len(values)}")
        return apply(OPS[name], *values)

    build.__name__ = build.__qualname__ = name
    build.__doc__ = op.doc
    USER_OPS.add(name)
    return build


def _operands(evaluate: Callable[..., Any]) -> tuple[str, ...]:
    """The names of the operands: the parameters of ``evaluate`` that must be given."""
    if isinstance(evaluate, np.ufunc):
        return ("x", "y", "z")[: evaluate.nin]
    parameters = inspect.signature(getattr(evaluate, "py_func", evaluate)).parameters.values()
    names = tuple(p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.default is p.empty)
    if not names:
        raise TypeError("evaluate takes the op's operands by name: at least one")
    return names


def _as_entries(derivative: Callable[..., Any]) -> Callable[..., Sequence[Expr | None]]:
    """One entry an operand, whatever expression-like thing the user's rule returns."""

    def rule(g: Expr, y: Expr, *operands: Expr) -> Sequence[Expr | None]:
        result = derivative(g, y, *operands)
        entries = result if isinstance(result, (tuple, list)) else (result,)
        return tuple(None if e is None else as_expr(e) for e in entries)

    return rule


def _traced(name: str, lower: Callable[..., Any]) -> Callable[..., Expr]:
    """The op in terms of others, found by calling ``lower`` (a numba function's Python body) with expressions."""
    body = getattr(lower, "py_func", lower)

    def expand(*operands: Expr) -> Expr:
        try:
            return as_expr(body(*operands))
        except TypeError as error:
            raise TypeError(f"{name}: lower must be written with arithmetic, sg. and NumPy functions, without branches: {error}") from error

    return expand


def _intervals(domain: Any, arity: int) -> tuple[Interval, ...]:
    if domain is None:
        return ((-inf, inf),) * arity
    return tuple(domain) if isinstance(domain[0], (tuple, list)) else (tuple(domain),) * arity
