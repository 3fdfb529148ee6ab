"""ALGEBRA: SymPy's passes over one small island.

The passes take polynomial time on what reaches them: the number of terms that expanding could make is estimated
beforehand, and the expensive ones run only below a limit. ``sympy.simplify`` is not among them: it has no bound.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

from symgrad.expr import Expr, topological
from symgrad.simplify.bounded import given_up
from symgrad.simplify.polynomials import may_depend
from symgrad.sympy_bridge import Reader, scalar_to_sympy

__all__ = ["ALGEBRAIC", "candidates", "expanded_terms", "has_identities", "is_algebraic"]

ALGEBRAIC = frozenset({
    "add", "sub", "mul", "div", "neg", "square", "pow", "sqrt", "exp", "expm1", "log", "abs", "sign",
    "sin", "cos", "tan", "sinh", "cosh", "nonnegative", "to_real",
})  # fmt: skip
MAX_TERMS = 200  # that bringing to one fraction may make
MAX_FACTORED = 24  # terms of a polynomial that is factored
MAX_TRIGONOMETRIC = 24  # operations in which identities of sin and cos are looked for
MAX_LEAVES = 12
MAX_POWER = 20
_ASSUMPTIONS = {"positive": {"positive": True}, "nonnegative": {"nonnegative": True}, "probability": {"nonnegative": True}}


def is_algebraic(node: Expr) -> bool:
    """Whether SymPy may look into the node; all others are symbols to it."""
    if node.op.name not in ALGEBRAIC or node.kind != "real" or any(a.kind == "boolean" for a in node.args):
        return False
    exponent = node.args[1] if node.op.name == "pow" else None
    return exponent is None or exponent.op.name != "constant" or (not exponent.shape and abs(exponent.params["value"]) <= MAX_POWER)


def has_identities(roots: Sequence[Expr]) -> bool:
    """Whether there is something that SymPy may know and our own passes do not: trigonometric or hyperbolic functions of arguments
    of which one is a sum of the others and of multiples of them, as ``sin(x + y)`` beside ``sin(x)`` and ``cos(y)``."""
    order = topological(*roots)
    if len(order) > MAX_TRIGONOMETRIC:
        return False
    families = ({n.args[0] for n in order if n.op.name in names} for names in _FUNCTIONS)
    return any(len(arguments) > 1 and may_depend(list(arguments)) for arguments in families)


_FUNCTIONS = (("sin", "cos", "tan"), ("sinh", "cosh", "tanh"))


def expanded_terms(root: Expr) -> int:
    """A bound on the terms of numerator and denominator when both are multiplied out."""
    sizes: dict[Expr, tuple[int, int]] = {}
    for node in topological(root):
        parts = [sizes[a] for a in node.args]
        name = node.op.name
        if name in ("add", "sub"):
            (p, q), (r, s) = parts
            sizes[node] = (p + r, q) if q == s == 1 else (p * s + r * q, q * s)
        elif name in ("mul", "div"):
            (p, q), (r, s) = parts if name == "mul" else (parts[0], parts[1][::-1])
            sizes[node] = (p * r, q * s)
        elif name in ("pow", "square"):
            n = _whole(node.args[1]) if name == "pow" else 2
            p, q = parts[0]
            sizes[node] = (1, 1) if n is None else (min(p ** abs(n), 10**6), min(q ** abs(n), 10**6))
        else:
            sizes[node] = parts[0] if name in ("neg", "nonnegative", "to_real") else (1, 1)
        sizes[node] = (min(sizes[node][0], 10**6), min(sizes[node][1], 10**6))
    return sum(sizes[root])


def _whole(exponent: Expr) -> int | None:
    value = exponent.params["value"] if exponent.op.name == "constant" else 0.5
    return int(value) if value == int(value) else None


def candidates(roots: Sequence[Expr], leaves: Sequence[Expr], ranges: Sequence[str], guarded: bool) -> list[list[Expr]]:
    """Other forms of the roots, one list a pass. ``leaves``: symbols of ``ranges``.

    ``guarded``: ``nonnegative(x)``, which is NaN below zero, is a symbol of its own; otherwise it is ``x``.
    """
    import sympy

    order = topological(*roots)
    symbols = {leaf: sympy.Symbol(f"x{i}", **_ASSUMPTIONS.get(r, {"real": True})) for i, (leaf, r) in enumerate(zip(leaves, ranges))}
    if guarded:
        guards = [n for n in order if n.op.name == "nonnegative"]
        symbols |= {n: sympy.Symbol(f"g{i}", nonnegative=True) for i, n in enumerate(guards)}
    values: dict[Expr, Any] = dict(symbols)
    opaque: dict[Any, Expr] = {}
    for node in order:
        if node not in values:
            if node.op.name == "constant":
                values[node] = _number(sympy, node, opaque)
            else:
                values[node] = scalar_to_sympy(node.op, [values[a] for a in node.args], dict(node.params))
    originals = [values[r] for r in roots]
    known = {s: node for node, s in symbols.items()} | opaque
    terms = max(map(expanded_terms, roots))
    found: list[list[Expr]] = []
    seen: list[list[Any]] = []
    for run in _passes(sympy, originals, terms, len(leaves)):
        if given_up():
            break
        forms = run()
        if forms in seen:
            continue
        seen.append(forms)
        for shared in (False, True):
            try:
                found.append(_read(sympy, forms, known, shared))
            except (TypeError, ValueError, ArithmeticError):
                continue  # complex, or a function that we do not have: not a form of a real formula
    return found


def _number(sympy: Any, node: Expr, opaque: dict[Any, Expr]) -> Any:
    """Whole numbers and short binary fractions are numbers to SymPy; any other float is a symbol, so that it keeps its bits."""
    value = node.params["value"]
    if math.isfinite(value) and not (value == 0 and math.copysign(1, value) < 0):
        fraction = Fraction(value)
        if abs(fraction.numerator) < 10**6 and fraction.denominator <= 1024:
            return sympy.Rational(fraction.numerator, fraction.denominator)
    assumptions = {"positive": True} if value > 0 else {"negative": True} if value < 0 else {"real": True}
    symbol = sympy.Symbol(f"c{float(value).hex()}", **assumptions)
    opaque[symbol] = node
    return symbol


def _passes(sympy: Any, forms: list[Any], terms: int, leaves: int) -> list[Callable[[], list[Any]]]:
    """The passes that are cheap enough for these forms and have something to do, each giving new forms."""

    def each(f: Callable[[Any], Any]) -> Callable[[], list[Any]]:
        return lambda: [f(form) for form in forms]

    def powers(e: Any) -> Any:
        return sympy.powsimp(e) if _has_powers(sympy, e) else e

    passes = [lambda: forms, each(lambda e: powers(sympy.factor_terms(e)))]
    if any(len(e.atoms(sympy.log)) > 1 for e in forms):
        passes.append(each(sympy.logcombine))
    if terms > MAX_TERMS or leaves > MAX_LEAVES:
        return passes
    passes.append(each(sympy.cancel))
    if any(_has_identities(sympy, e) for e in forms):
        passes.append(each(lambda e: sympy.factor_terms(sympy.trigsimp(e)) if _has_identities(sympy, e) else e))
    if terms <= MAX_FACTORED:
        passes.append(each(sympy.factor))
    return passes


def _has_powers(sympy: Any, e: Any) -> bool:
    """Whether exponents could be gathered."""
    return len(e.atoms(sympy.exp)) > 1 or any(not p.exp.is_Integer for p in e.atoms(sympy.Pow))


def _has_identities(sympy: Any, e: Any) -> bool:
    """Whether trigonometric or hyperbolic identities could apply: two functions, or one twice."""
    functions = e.atoms(sympy.sin, sympy.cos, sympy.tan, sympy.sinh, sympy.cosh)
    found = len(functions) > 1 or any(e.count(f) > 1 or e.has(f**2) for f in functions)
    return found and e.count_ops() <= MAX_TRIGONOMETRIC


def _read(sympy: Any, forms: list[Any], known: Mapping[Any, Expr], shared: bool) -> list[Expr]:
    reader = Reader(dict(known))
    if shared:
        definitions, forms = sympy.cse(forms, symbols=sympy.numbered_symbols("y"))
        for symbol, form in definitions:
            reader.done[symbol] = reader.read(form)
    return [reader.read(form) for form in forms]
