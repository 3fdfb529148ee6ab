"""The simplify workload: the derivatives of a group of formulas, found and simplified with nothing remembered, SymPy's work in it.

"symgrad" and SymPy simplify the derivative: ``sg.simplify(sg.grad(formula, x))`` and ``simplify(diff(formula, x))``. "symgrad with formula"
simplifies the formula together with its derivative, as on the way to the compiler, where what the two share is computed once.
All results are evaluated at a point before anything is timed. Of the random formulas the first :data:`FEW` take part,
without those that keep SymPy busy for minutes; ``--full`` takes them all, and then it takes minutes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from symgrad.bench.records import Case, Contestant, Workload, at_most

__all__ = ["WORKLOAD", "alone", "simplified"]

FEW = 30
WITH_FORMULA = "symgrad with formula"
ENDLESS = frozenset({81, 130, 191})  # random formulas on whose derivatives sympy.simplify works for more than two minutes
POINT = (0.75, 1.25, 0.5, 1.5, 0.875, 1.125, 0.625, 1.375, 0.8125)  # the values of a formula's symbols, in order


def cases(full: bool) -> Sequence[Case]:
    bars = (at_most(0.1, "sympy"), at_most(0.1, "sympy", of=WITH_FORMULA))
    return [
        Case(group, {"group": group, "full": full}, unit="group", tolerance=1e-6, rounds=3, bars=bars)
        for group in ("feynman", "activations", "losses", "random")
    ]


def chosen(case: Case) -> list[Any]:
    """The derivatives of a case."""
    from symgrad.bench.formulas import derivatives

    found = derivatives(case.parameters["group"])
    if case.parameters["group"] != "random":
        return found
    kept = [d for seed, d in enumerate(found) if seed not in ENDLESS]
    return kept if case.parameters["full"] else kept[:FEW]


def alone(derivative: Any) -> Any:
    """A formula's derivative, simplified; nothing that was simplified before is remembered."""
    import symgrad as sg
    from symgrad.simplify.islands import forget

    forget()
    return sg.simplify(sg.grad(derivative.formula, derivative.wrt))


def simplified(derivative: Any) -> tuple[Any, Any]:
    """A formula and its derivative, simplified together; nothing that was simplified before is remembered."""
    import symgrad as sg
    from symgrad.simplify.islands import forget

    forget()
    value, slope = sg.simplify([derivative.formula, sg.grad(derivative.formula, derivative.wrt, simplify=False)])
    return value, slope


def by_symgrad(case: Case) -> Contestant:
    return _contestant(case, alone, lambda form: form)


def by_symgrad_with_formula(case: Case) -> Contestant:
    return _contestant(case, lambda d: simplified(d)[1], lambda form: form)


def by_sympy(case: Case) -> Contestant:
    from symgrad.sympy_bridge import from_sympy, to_sympy

    def simplify(d: Any) -> Any:
        return to_sympy(d.formula).diff(to_sympy(d.wrt)).simplify()

    return _contestant(case, simplify, from_sympy)


def _contestant(case: Case, simplify: Callable[[Any], Any], read: Callable[[Any], Any]) -> Contestant:
    """``read`` makes an expression of what ``simplify`` gives. The forms of the first time are those that are evaluated."""
    wanted = chosen(case)
    begun = time.perf_counter()
    forms = [simplify(d) for d in wanted]
    first = [time.perf_counter() - begun]

    def measure() -> float:
        if first:
            return first.pop()
        started = time.perf_counter()
        for d in wanted:
            simplify(d)
        return time.perf_counter() - started

    return Contestant(None, lambda: {str(d): _value(d, read(form)) for d, form in zip(wanted, forms)}, measure=measure)


def _value(derivative: Any, form: Any) -> Any:
    import numpy as np

    from symgrad.evaluate import evaluate

    with np.errstate(all="ignore"):
        at = {s.name: value for s, value in zip(derivative.formula.free_symbols, POINT)}
        return np.nan_to_num(evaluate(form, {s.name: at[s.name] for s in form.free_symbols}))


WORKLOAD = Workload(
    "simplify", "derivatives of formulas, simplified: physics, activations, losses, random", cases,
    {"symgrad": by_symgrad, WITH_FORMULA: by_symgrad_with_formula, "sympy": by_sympy}, quick=False,
)  # fmt: skip
