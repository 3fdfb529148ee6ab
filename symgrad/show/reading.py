"""READING: formulas as people write them where that is not how they are computed. For print alone, nothing that is shown runs.

``x*f*x`` is computed so, since ``x**2`` may overflow where ``f`` is small; it is read as ``x**2*f``, and ``1/h*x`` as ``x/h``.
Operations are as many in both, but for signs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from symgrad.differentiate import whole
from symgrad.expr import CONSTANT, Expr, constant, free_symbols, intern_node, rewrite, topological
from symgrad.ops.movement import do
from symgrad.simplify.present import rank
from symgrad.simplify.rewriting import number, with_args

__all__ = ["plainly", "readable"]

_PRODUCT = frozenset({"mul", "div", "neg"})
_Powers = dict[Expr, int]  # factor → how often


def readable(roots: Sequence[Expr], written: Sequence[Expr] | None = None, *, shared: bool = False) -> list[Expr]:
    """The roots with equal factors as powers and reciprocals as fractions.

    ``written``: what the user wrote: other products come in the conventional order, names in the order of the user.
    ``shared``: products with several users are taken apart, too; otherwise they stay whole, so that they can have a name.

    >>> import symgrad as sg
    >>> x, y = sg.symbols("x y")
    >>> readable([x*sg.exp(y)*x, 1/sg.sqrt(y)*x])
    [x**2*exp(y), x/sqrt(y)]
    """
    order = topological(*roots)
    uses = dict.fromkeys(order, 0)
    for node in (*roots, *(a for n in order for a in n.args)):
        uses[node] += not shared
    inside = {a for n in order if n.op.name in _PRODUCT for a in _multiplied(n) if _is_open(a, n, uses)}
    own = set(topological(*written or ()))
    place = {s.name: k for k, s in enumerate(free_symbols(*written or ()))}
    new: dict[Expr, Expr] = {}
    opposite: dict[Expr, Expr] = {}  # products with a minus sign that has been put in front → without it
    for node in order:
        args = [new[a] for a in node.args]
        new[node] = node if all(a is b for a, b in zip(args, node.args, strict=True)) else with_args(node, args)
        if node.op.name == "where" and all(a.op is CONSTANT for a in node.args[1:]):
            new[node] = intern_node(node.op, (args[0], *plainly(args[1:])), {}, node.shape, node.kind)
        if node.op.name in _PRODUCT and (shared or node not in inside):
            new[node] = _product(node, new, uses, place, opposite, sort=written is not None and node not in own)
        elif node.op.name in ("add", "sub") and args[1] in opposite:
            new[node] = do("sub" if node.op.name == "add" else "add", args[0], opposite[args[1]])
    return [new[r] for r in roots]


def _multiplied(node: Expr) -> tuple[Expr, ...]:
    return node.args[:1] if node.op.name == "div" else node.args


def _is_open(part: Expr, whole: Expr, uses: Mapping[Expr, int]) -> bool:
    """Whether a factor is a product that is read together with the whole; a reciprocal and
    a minus sign are, whoever else uses them."""
    if part.op.name == "neg" and part.shape in ((), whole.shape):
        return True
    if part.op.name not in _PRODUCT or part.shape != whole.shape or part.kind != whole.kind:
        return False
    return uses[part] <= 1 or (part.op.name == "div" and number(part.args[0]) == 1)


def _product(
    root: Expr, new: Mapping[Expr, Expr], uses: Mapping[Expr, int], place: Mapping[str, int], opposite: dict[Expr, Expr], sort: bool
) -> Expr:
    sign, above, below, merged = 1, _Powers(), _Powers(), False
    stack = [(root, False)]
    while stack:
        node, divides = stack.pop()
        if node.op.name in _PRODUCT and not divides and (node is root or _is_open(node, root, uses)):
            if node.op.name == "neg":
                sign = -sign
                merged |= bool(above)  # a minus sign stands in front
            stack += [(a, False) for a in reversed(_multiplied(node))]
            if node.op.name == "div":
                stack.append((node.args[1], True))
            continue
        base, power = _power(new[node])
        side = below if divides else above
        if base in side and number(base) is not None:
            return new[root]
        merged |= base in side
        side[base] = side.get(base, 0) + power
    one = next((f for f in above if number(f) == 1), None) if below else None
    if one is not None and all(f.op.name == "size" for f in below):  # a mean begins with 1/n
        return new[root]
    sort = sort and not root.shape and not any(f.op.name in _PRODUCT for f in above)
    if not (merged or (one is not None and len(above) > 1) or sort):
        return new[root]
    ordered = sorted((f for f in above if f is not one), key=lambda f: _rank(f, place))
    first, *others = [do("pow", f, constant(above[f])) if above[f] > 1 else f for f in ordered] or [constant(1)]
    product, positive = first if sign > 0 else do("neg", first), first
    for factor in others:
        product, positive = do("mul", product, factor), do("mul", positive, factor)
    for f, power in below.items():
        divisor = do("pow", f, constant(power)) if power > 1 else f
        product, positive = do("div", product, divisor), do("div", positive, divisor)
    if (product.shape, product.kind) != (root.shape, root.kind):
        return new[root]
    if sign < 0:
        opposite[product] = positive
    return product


def _rank(e: Expr, place: Mapping[str, int]) -> tuple[int, int, str]:
    kind, name = rank(e)
    return kind, place.get(name, len(place)), name


def _power(e: Expr) -> tuple[Expr, int]:
    exponent = number(e.args[1]) if e.op.name == "pow" and not e.args[1].shape else None
    return (e.args[0], int(exponent)) if exponent is not None and exponent >= 1 and exponent == int(exponent) else (e, 1)


def plainly(roots: Sequence[Expr]) -> list[Expr]:
    """The roots with ``1`` for ``1.0``, and numbers where the sweep has tensors that are the same everywhere.

    >>> import symgrad as sg
    >>> r = sg.symbol("r", 3)
    >>> plainly([sg.broadcast_to(sg.constant(2.0), (3,)) * r])
    [2*r]
    """

    def plain(node: Expr, args: tuple[Expr, ...]) -> Expr:
        if node.op is CONSTANT:
            return whole(node)
        if node.op.family != "elementwise" or not node.shape:
            return with_args(node, list(args))
        inner = [a.args[0] if a.op.name == "broadcast_to" and not a.args[0].shape else a for a in args]
        shorter = do(node.op.name, *map(whole, inner), **node.params)
        if shorter.shape == node.shape:
            return shorter
        return do("broadcast_to", shorter, shape=node.shape) if not shorter.shape else with_args(node, list(args))

    return rewrite(roots, plain)
