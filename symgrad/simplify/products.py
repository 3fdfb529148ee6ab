"""PRODUCTS: what products have in common is computed once, and a minus sign goes where it costs nothing.

The last step of gathering: ``-n*exp(-m*g*x/k)*g*x/k`` is ``t = -g*x/k; n*exp(m*t)*t``, and ``-a*(b - c)`` is ``a*(c - b)``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import NamedTuple

from symgrad.expr import CONSTANT, Expr, constant, symbol, topological
from symgrad.simplify.cost import cost
from symgrad.simplify.rewriting import do, number, with_args
from symgrad.simplify.terms import PRODUCT, count_uses

__all__ = ["divided_in_turn", "products_shared"]

MAX_PRODUCTS = 16  # whose factors are compared with each other
_SIGN = constant(-1)  # stands for a minus sign among factors


class _Factor(NamedTuple):
    """A factor of a product; ``below``: it is divided by."""

    base: Expr
    below: bool


Factors = dict[_Factor, int]  # with how often they occur
_MINUS = _Factor(_SIGN, False)


def products_shared(roots: Sequence[Expr]) -> list[Expr]:
    """The roots, of the same values but for rounding, in fewer operations where products have factors in common.

    >>> import symgrad as sg
    >>> a, b, c, d = sg.symbols("a b c d")
    >>> products_shared([-(a*(b - c)*d)])
    [a*(c - b)*d]
    """
    best = _without_signs(roots)
    shared = _share(roots)
    if shared == list(roots):
        return best
    shared = _without_signs(shared)
    return shared if cost(shared) < cost(best) else best


# --- signs -----------------------------------------------------------------------------------------


def _without_signs(roots: Sequence[Expr]) -> list[Expr]:
    """A minus sign in front of a product turns a difference in it round, where nothing else uses that."""
    order = topological(*roots)
    if not any(node.op.name == "neg" for node in order):
        return list(roots)
    uses = count_uses(roots, order)
    turned: dict[Expr, Expr] = {}  # a difference → the other way round
    dropped: set[Expr] = set()  # signs that are not needed then
    for node in order:
        if node.op.name == "neg" and (difference := _difference_in(node.args[0], uses, turned)) is not None:
            turned[difference] = do("sub", difference.args[1], difference.args[0])
            dropped.add(node)
    if not dropped:
        return list(roots)
    new: dict[Expr, Expr] = {}
    for node in order:
        if node in turned:
            new[node] = do("sub", new[node.args[1]], new[node.args[0]])
        else:
            new[node] = new[node.args[0]] if node in dropped else with_args(node, [new[a] for a in node.args])
    return [new[r] for r in roots]


def _difference_in(product: Expr, uses: Mapping[Expr, int], turned: dict[Expr, Expr]) -> Expr | None:
    """A difference among the factors of a product that has no other use."""
    waiting = [product]
    while waiting:
        e = waiting.pop()
        if uses[e] > 1 or e in turned:
            continue
        if e.op.name == "sub":
            return e
        if e.op.name in ("mul", "div"):
            waiting.extend(reversed(e.args))
        elif e.op.name == "pow" and (number(e.args[1]) or 0) % 2 == 1:
            waiting.append(e.args[0])
    return None


# --- common factors --------------------------------------------------------------------------------


def _share(roots: Sequence[Expr]) -> list[Expr]:
    """The roots with what several products have in common as a node of its own."""
    order = topological(*roots)
    if sum(n.op.name in PRODUCT for n in order) < 2:
        return list(roots)
    uses = count_uses(roots, order)
    inside = {a for n in order if n.op.name in PRODUCT for a in n.args if a.op.name in PRODUCT and uses[a] == 1 and a.shape == n.shape}
    products = [n for n in order if n.op.name in PRODUCT and n not in inside]
    if not 1 < len(products) <= MAX_PRODUCTS:
        return list(roots)
    factors = {n: _factors(n, inside) for n in products}
    parts: dict[Expr, Factors] = {}  # common parts: a symbol of their own → their factors
    while (common := _largest_common([*factors.values(), *parts.values()])) is not None:
        name = symbol(f"common_part_{len(parts)}")
        for own in [*factors.values(), *parts.values()]:
            if all(own.get(f, 0) >= n for f, n in common.items()):
                for f, n in common.items():
                    own[f] -= n
                    if not own[f]:
                        del own[f]
                own[_Factor(name, False)] = 1
        parts[name] = common
    return _rebuilt(roots, factors, parts) if parts else list(roots)


def _factors(product: Expr, inside: set[Expr]) -> Factors:
    found: Factors = {}
    signs = 0
    waiting = [(product, False)]
    while waiting:
        e, below = waiting.pop()
        if e is not product and e not in inside:
            factor = _Factor(e, below)
            found[factor] = found.get(factor, 0) + 1
        elif e.op.name == "neg":
            signs += 1
            waiting.append((e.args[0], below))
        else:
            a, b = e.args
            waiting += [(b, below != (e.op.name == "div")), (a, below)]
    if signs % 2:
        found[_MINUS] = 1
    return found


def _largest_common(products: Sequence[Factors]) -> Factors | None:
    best: Factors | None = None
    largest = 1
    for i, one in enumerate(products):
        for other in products[:i]:
            common = {f: min(n, other[f]) for f, n in one.items() if f in other}
            total = sum(common.values())
            if total > largest and any(not f.below for f in common):
                best, largest = common, total
    return best


def _rebuilt(roots: Sequence[Expr], factors: Mapping[Expr, Factors], parts: Mapping[Expr, Factors]) -> list[Expr]:
    new: dict[Expr, Expr] = {}
    waiting = list(roots)
    while waiting:
        node = waiting[-1]
        own = factors.get(node) or parts.get(node)
        needed = list(node.args) if own is None else [f.base for f in own if f.base is not _SIGN]
        if missing := [a for a in needed if a not in new]:
            waiting.extend(missing)
            continue
        waiting.pop()
        new[node] = with_args(node, [new[a] for a in node.args]) if own is None else _multiplied(own, new)
    return [new[r] for r in roots]


def _multiplied(factors: Factors, new: Mapping[Expr, Expr]) -> Expr:
    sides: list[Expr | None] = [None, None]
    ordered = sorted((f for f, n in factors.items() for _ in range(n)), key=lambda f: f.base.op is not CONSTANT)
    for base, below in ordered:
        if base is not _SIGN:
            side = sides[below]
            sides[below] = new[base] if side is None else do("mul", side, new[base])
    above, under = sides
    result = above if above is not None else constant(1)
    result = result if under is None else do("div", result, under)
    return do("neg", result) if _MINUS in factors else result


# --- divisors --------------------------------------------------------------------------------------


def divided_in_turn(roots: Sequence[Expr]) -> list[Expr]:
    """The roots with divisions by products and squares as one division after the other: no product of divisors can overflow.

    >>> import symgrad as sg
    >>> x, y, z = sg.symbols("x y z")
    >>> divided_in_turn([x / (y * z)])
    [x/y/z]
    >>> divided_in_turn([x / (x + y)**2]) == [x / (x + y) / (x + y)]
    True
    """
    new: dict[Expr, Expr] = {}
    for node in topological(*roots):
        args = [new[a] for a in node.args]
        divisors = _divisors(args[1]) if node.op.name == "div" else []
        if len(divisors) > 1:
            new[node] = reduce(lambda quotient, divisor: do("div", quotient, divisor), divisors, args[0])
        else:
            new[node] = with_args(node, args)
    return [new[r] for r in roots]


def _divisors(e: Expr) -> list[Expr]:
    """The factors of a divisor, a square as two."""
    found: list[Expr] = []
    waiting = [e]
    while waiting:
        factor = waiting.pop()
        if factor.op.name == "mul":
            waiting.extend(reversed(factor.args))
        elif factor.op.name == "square" or (factor.op.name == "pow" and number(factor.args[1]) == 2):
            waiting += [factor.args[0]] * 2
        else:
            found.append(factor)
    return found
