"""MAPPED: expressions as NumPy functions of many points at once, and what their curves are called."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from symgrad import dims
from symgrad.differentiate import grad, jvp
from symgrad.differentiate.vectorize import vectorize
from symgrad.evaluate import evaluate
from symgrad.expr import Array, Expr, free_symbols, symbol, topological
from symgrad.show.reading import plainly, readable
from symgrad.show.text import text
from symgrad.show.unicode import pretty

__all__ = ["NOTHING", "PRIMES", "Mapped", "Variable", "axis_name", "derived", "names"]

LABEL = 48  # characters of a formula in a legend
VALUES = 90  # characters of given values below a plot
TOGETHER = 256  # points evaluated at once where tensors take part
PRIMES = ("", "′", "″", "‴")
NOTHING = "no finite value in this range"


class Variable(NamedTuple):
    """A symbol and the range that is drawn."""

    symbol: Expr
    start: float
    stop: float


class Mapped:
    """Expressions as a NumPy function of many points at once."""

    def __init__(self, exprs: Sequence[Expr], variables: Sequence[Variable], known: Mapping[Expr, Any]) -> None:
        self.known = known
        axes = {name for e in topological(*exprs) for d in e.shape for name in dims.names(d)}
        self.axis = next(name for k in range(len(axes) + 1) if (name := f"points{k or ''}") not in axes)
        taken = {s.name for s in free_symbols(*exprs)}
        renamed = [next(n for k in range(len(taken) + 1) if (n := f"{v.symbol.name}{'_' * (k + 1)}") not in taken) for v in variables]
        self.points = [symbol(name, self.axis, positive=v.symbol.params["positive"]) for name, v in zip(renamed, variables, strict=True)]
        self.exprs = vectorize(exprs, dict(zip([v.symbol for v in variables], self.points, strict=True)), (self.axis,))
        self.together = TOGETHER if any(s.shape for s in known) else None

    def __call__(self, *points: Array) -> list[Array]:
        """``points``: one array (points,) a variable; the results have that axis in front."""
        parts = []
        count = len(points[0])
        for start in range(0, count, self.together or count):
            some = [p[start : start + (self.together or count)] for p in points]
            at = {**self.known, **dict(zip(self.points, some, strict=True))}
            parts.append(evaluate(self.exprs, at, sizes={self.axis: len(some[0])}))
        return [np.concatenate(columns).astype(float) for columns in zip(*parts, strict=True)]


def derived(e: Expr, variable: Expr) -> Expr:
    """Its derivative, a vector's entry by entry."""
    if e.kind != "real":
        raise TypeError(f"sg.plot: {e.kind} values have no derivative; write derivative=False")
    return jvp(e, variable, 1.0) if e.shape else grad(e, variable)


def names(name: str, e: Expr, order: int, longest: int = LABEL) -> list[str]:
    """What each curve of an expression is called: its formula where that is short, with its name where it has one."""
    stem, bracket, argument = name.partition("(")
    called = pretty(stem or "f") + PRIMES[order] + (bracket + pretty(argument))
    if e.shape:
        return [f"{called}[{k}]" for k in range(int(e.shape[0]))]
    formula = pretty(text(plainly(readable([e]))[0]))
    if "\n" in formula or len(formula) > longest or formula == called:
        return [called]
    if not order and argument and formula.startswith(called.removesuffix(")")):
        return [formula]  # leaky_relu(x, slope=0.01)
    return [f"{called} = {formula}" if name else formula]


def axis_name(variable: Variable, known: Mapping[Expr, Any]) -> str:
    """The variable, and the numbers that stand for the other symbols: ``x   (a = 2, b = 3)``."""
    numbers = [f"{pretty(s.name)} = {float(value):.4g}" for s, value in known.items() if not s.shape]
    shown = re.sub(r"e\+?(-?)0*", r"e\1", ", ".join(numbers)).replace("-", "−")
    return f"{pretty(variable.symbol.name)}   ({shown})" if 0 < len(shown) <= VALUES else pretty(variable.symbol.name)
