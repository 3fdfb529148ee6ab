"""READING: formulas as people write them where that is not how they are computed. For print alone, nothing that is shown runs.

``x*f*x`` is computed so, since ``x**2`` may overflow where ``f`` is small; it is read as ``x**2*f``, ``1/h*x`` as ``x/h``, and
``r - (-s)`` as ``r + s``. A guard that only single points need is not read. What the user wrote stays as it is written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction

from symgrad.differentiate import whole
from symgrad.expr import CONSTANT, OPS, Expr, constant, intern_node, rewrite, topological, users_nodes
from symgrad.ops.movement import do
from symgrad.show.chains import chained, scaled
from symgrad.show.constants import known
from symgrad.show.factors import OPEN, Factors, joined
from symgrad.show.large import is_large
from symgrad.show.layout import Layout, Script, seen
from symgrad.show.matrix_forms import matrix_form
from symgrad.simplify.present import rank
from symgrad.simplify.rewriting import number, with_args
from symgrad.simplify.terms import count_uses

__all__ = ["as_read", "plainly", "readable", "settled"]

_SUM = frozenset({"add", "sub"})
_FACTORS = 16
_MANY = 32  # terms
_FEW_TERMS = 3
_MIRRORED = {"less": "greater", "greater": "less", "less_equal": "greater_equal", "greater_equal": "less_equal",
             "equal": "equal", "not_equal": "not_equal"}  # fmt: skip


def as_read(e: Expr, layout: Callable[[Expr], Layout]) -> Expr:
    """The expression as it is printed: what is derived in it, as people write that. ``layout``: how one node reads."""
    order = topological(e)
    if not any(n.origin for n in order):
        return e
    return settled([e], list(users_nodes([e])), layout)[0]


def settled(roots: Sequence[Expr], written: Sequence[Expr] | None, layout: Callable[[Expr], Layout]) -> list[Expr]:
    """The roots as they are read, products taken apart but for those that get a name."""
    reading = _Reading(roots, written)
    whole = reading.shared()
    read = reading.read(whole)
    while whole and not is_large(roots):
        named = set(Script(read, layout, check=False).definitions)
        kept = {n for n in whole if reading.new[n] in named}
        if kept == whole:
            break
        whole, read = kept, reading.read(kept)
    return read


def readable(roots: Sequence[Expr], written: Sequence[Expr] | None = None, *, shared: bool = False) -> list[Expr]:
    """The roots with equal factors as powers, reciprocals as fractions, and minus signs where they belong.

    ``written``: what the user wrote, which stays, and whose names come in the user's order; in what is derived factors come in
    the conventional one. ``shared``: products with several users are taken apart, too; otherwise they stay whole, so that they
    can have a name.

    >>> import symgrad as sg
    >>> x, y = sg.symbols("x y")
    >>> readable([x*sg.exp(y)*x, 1/sg.sqrt(y)*x])
    [x**2*exp(y), x/sqrt(y)]
    """
    reading = _Reading(roots, written)
    return reading.read(set() if shared else reading.shared())


class _Reading:
    """Formulas on the way to being read; ``new``: node → how it reads."""

    def __init__(self, roots: Sequence[Expr], written: Sequence[Expr] | None) -> None:
        self.roots = roots
        self.order = topological(*roots)
        self.own = set(users_nodes(written)) if written else set()
        self._decimals = any(map(_is_decimal, (a for n in self.own if n.op.name != "pow" for a in n.args)))
        self.new: dict[Expr, Expr] = {}
        self._kept: set[Expr] = set()  # how nodes read that stay parts of their own
        order = topological(*written) if written else self.order
        self._place = {seen(node): k for k, node in enumerate(order)}
        self._called = {n.args[0]: n for n in order if n.op.name == "named" and n.args[0].args}  # rules see through names
        self._names = {name: k for k, name in enumerate(_names_in_order(order))}

    def shared(self) -> set[Expr]:
        """What several formulas or nodes use, but for signs, reciprocals and products of two names, which are read with what they
        belong to."""
        uses = count_uses(self.roots, self.order)
        return {n for n, k in uses.items() if k > 1 and n.args and not _is_small(n)}

    def read(self, kept: set[Expr]) -> list[Expr]:
        """The roots as they are read; nodes in ``kept`` stay parts of their own."""
        self.new, self._kept = {}, set()
        inside = self._inside()
        for node in self.order:
            if not node.args or (node in self.own and all(self.new[a] is a for a in node.args)):
                self.new[node] = node
                if node in kept:
                    self._kept.add(node)
                continue
            args = [self._called[a] if a in self._called and node.op.name != "named" else self.new[a] for a in node.args]
            new = node if all(a is b for a, b in zip(args, node.args, strict=True)) else with_args(node, args)
            if node not in inside or node in kept:
                new = self._derived(node, new)
            self.new[node] = new
            if node in kept:
                self._kept.add(new)
        return [_as_number(r, whole(self.new[r])) for r in self.roots]

    def _inside(self) -> set[Expr]:
        """Products inside of products and sums inside of sums, which are read with these."""
        found: set[Expr] = set()
        for n in self.order:
            if n in self.own:
                continue
            for family in (OPEN, _SUM):
                if n.op.name in family:
                    found |= {a for a in n.args if a.op.name in family and a.shape == n.shape}
        outside = {a for n in self.order for a in n.args if not any(n.op.name in f and a.op.name in f for f in (OPEN, _SUM))}
        return found - outside - set(self.roots)

    def _derived(self, node: Expr, new: Expr) -> Expr:
        name = new.op.name
        if name == "ratio":  # 0 where the divisor is
            new, name = joined("div", *new.args), "div"
        if (matrix := matrix_form(new, lambda e: self._derived(e, e))) is not None:
            return matrix
        if name in OPEN or (name == "pow" and (number(new.args[1]) or 0) < 0):
            return self._product(node, new)
        if name in _SUM:
            components = _components(new)
            return _fitting(self._sum(new) if components is None else components, node)
        if name == "where":
            return self._choice(new)
        if name == "contract":
            return chained(new, self._kept)
        if name == "logical_or" and new.args[1].op.name == "isnan":  # a comparison that NaN passes on
            return new.args[0]
        if name in _MIRRORED and number(new.args[0]) is not None and number(new.args[1]) is None:
            return do(_MIRRORED[name], *new.args[::-1])
        return new

    def _product(self, node: Expr, new: Expr) -> Expr:
        factors = Factors(new, lambda e: e is new or e not in self._kept, self._decimals)
        if any(number(f) == 0 for f in factors.powers):
            return new
        spread = None if node.shape else self._spread(factors)
        return _fitting(scaled(factors.written(self._rank, node.shape)[0]) if spread is None else spread, node)

    def _spread(self, product: Factors) -> Expr | None:
        """``(a/b - c/d)/e`` as ``a/(b*e) - c/(d*e)``: no fractions inside of a fraction that nobody wrote."""
        above = [f for f, k in product.powers.items() if k > 0]
        total = above[0] if len(above) == 1 and product.powers[above[0]] == 1 else None
        if total is None or total.op.name not in _SUM or total in self.own or total in self._kept or len(product.powers) == 1:
            return None
        terms = self._terms(total)
        if len(terms) > _FEW_TERMS:
            return None
        found: list[tuple[int, Expr]] = []
        for sign, term in terms:
            factors = Factors(term, lambda e: e not in self._kept, self._decimals)
            if all(k > 0 for k in factors.powers.values()):
                return None
            factors.multiply(product, total)
            found.append((sign * factors.sign, factors.written(self._rank, ())[1]))
        return _total(self._added(found))

    def _rank(self, e: Expr) -> tuple[int, int, str]:
        """Numbers, names in the user's order, functions in the order of what they are made of, sums."""
        kind, name = rank(e)
        if e.op is CONSTANT:
            return (3, -1, "") if (k := known(e.params["value"])) is not None and "log" in k.text else (0, 0, "")
        if e.op.name == "where":
            kind = 5
        elif e.op.name == "pow" and number(e.args[1]) is None and seen(e.args[0]).op.name == "symbol":
            kind = 2
        if kind == 1:
            return kind, self._names.get(name, len(self._names)), name
        e = seen(e)
        return kind, self._place[e] if e in self._place else max((self._place.get(seen(a), 0) for a in e.args), default=0), ""

    def _sum(self, e: Expr) -> Expr:
        """The terms with their signs, numbers added up, a positive one in front."""
        terms = self._added(self._terms(e))
        numbers = [k for k, (_, t) in enumerate(terms) if t.op is CONSTANT and not t.shape and t.kind != "boolean"]
        if len(numbers) > 1:
            total = sum((s * Fraction(repr(t.params["value"])) for s, t in (terms[k] for k in numbers)), Fraction(0))
            value = int(total) if total.denominator == 1 and abs(total) < 2**53 else float(total)
            if Fraction(repr(value)) == total:
                rest = [t for k, t in enumerate(terms) if k not in numbers]
                terms = [*rest, *([(-1 if value < 0 else 1, constant(abs(value)))] if value or not rest else [])]
        return _total(terms)

    def _added(self, terms: list[tuple[int, Expr]]) -> list[tuple[int, Expr]]:
        """Like terms as one: ``r - s - r`` is ``-s``."""
        if not 1 < len(terms) <= _MANY:
            return terms
        found: dict[object, tuple[int, Expr, Factors, Fraction]] = {}
        for k, (sign, term) in enumerate(terms):
            factors = Factors(term, lambda e: e not in self._kept, self._decimals)
            key: object = frozenset(factors.powers.items()) or k
            number = sign * factors.sign * factors.number
            if key in found:
                sign, term, first, others = found[key]
                number += others
                factors.number, factors.sign, factors.is_decimal = abs(number), 1, factors.is_decimal or first.is_decimal
                sign, term = (1 if number > 0 else -1), factors.written(self._rank, term.shape)[1] if number else term
            found[key] = (sign, term, factors, number)
        return [(sign, term) for sign, term, _, number in found.values() if number]

    def _terms(self, e: Expr) -> list[tuple[int, Expr]]:
        found: list[tuple[int, Expr]] = []
        whole = self._kept
        stack = [(1, e, True)]
        while stack:
            sign, node, opened = stack.pop()
            if opened and node.op.name in _SUM and node.shape == e.shape:
                left, right = node.args
                stack += [
                    (sign if node.op.name == "add" else -sign, right, right not in whole and right not in self.own),
                    (sign, left, left not in whole),
                ]
                continue
            own_sign, positive = _unsigned(node) if node not in whole else (1, node)
            if positive is not node and positive.op.name in _SUM and positive not in self.own and positive not in whole:
                stack.append((sign * own_sign, positive, True))
            else:
                found.append((sign * own_sign, positive))
        return found

    def _choice(self, e: Expr) -> Expr:
        """Without a guard against what happens at single points; with whole numbers."""
        condition, a, b = e.args
        if condition not in self.own:
            if number(a) == 0 and _is_rare(condition) and b.shape == e.shape:
                return b
            if number(b) == 0 and (condition.op.name == "isfinite" or (condition.op.name == "not_equal" and _is_real(condition))):
                return a if a.shape == e.shape else e
        branches = [plainly([x])[0] if x.op is CONSTANT else x for x in (a, b)]
        return intern_node(e.op, (condition, *branches), {}, e.shape, e.kind)


_FEW = 100  # names


def _names_in_order(order: Sequence[Expr]) -> list[str]:
    """The names as the user writes them: of two in one product the left one first, else as they first occur."""
    names = [n.name for n in order if n.op.name == "symbol"]
    if len(names) > _FEW:
        return names
    before: dict[str, set[str]] = {name: set() for name in names}  # what stands in front of a name, directly or not
    for node in order:
        if node.op.name != "mul" or node.shape:
            continue
        left, right = (_name_at_the_end(a, side) for a, side in zip(node.args, (-1, 0), strict=True))
        if left and right and left != right and right not in before[left]:
            for name, front in before.items():
                if name == right or right in front:
                    front |= {left, *before[left]}
    found: list[str] = []
    while names:
        first = next(n for n in names if not before[n] - set(found))
        names.remove(first)
        found.append(first)
    return found


def _name_at_the_end(e: Expr, side: int) -> str:
    """The name at the right (-1) or left (0) end of a product, without its power."""
    for _ in range(_FACTORS):
        if e.op.name == "pow" and number(e.args[1]) is not None:
            e = e.args[0]
        if e.op.name not in ("mul", "neg"):
            break
        e = e.args[side]
    return e.name if e.op.name == "symbol" else ""


def _is_small(e: Expr) -> bool:
    if e.op.name == "neg" or (e.op.name == "div" and number(e.args[0]) == 1):
        return True
    return e.op.name in OPEN and all(not (a.args[0] if a.op.name == "neg" else a).args for a in e.args)


def _total(terms: Sequence[tuple[int, Expr]]) -> Expr:
    """The sum of terms with signs, a positive one in front."""
    if not terms:
        return constant(0)
    positive = next((k for k, (sign, _) in enumerate(terms) if sign > 0), 0)
    (sign, first), others = terms[positive], [t for k, t in enumerate(terms) if k != positive]
    total = do("neg", first) if sign < 0 else first
    for sign, term in others:
        total = joined("sub" if sign < 0 else "add", total, term)
    return total


def _as_number(root: Expr, new: Expr) -> Expr:
    """A condition that stands for a number is read as one where nothing else tells."""
    if root.kind != "real" or seen(new).kind != "boolean":
        return new
    return intern_node(OPS["where"], (seen(new), constant(1), constant(0)), {}, new.shape, "real")


def _components(total: Expr) -> Expr | None:
    """A gradient by a vector's components, a sum of padded numbers, as the vector of these."""
    size = total.shape[0] if total.ndim == 1 else 0
    if not isinstance(size, int) or not 1 < size <= _MANY:
        return None
    found: list[Expr | None] = [None] * size
    stack = [total]
    while stack:
        e = stack.pop()
        if e.op.name == "add" and e.shape == total.shape:
            stack += e.args
            continue
        part = e.args[0] if e.op.name == "pad" and not any(e.params.get("interior", ())) else None
        if part is None or part.op.name != "reshape" or part.args[0].shape or found[e.params["before"][0]] is not None:
            return None
        found[e.params["before"][0]] = part
    zero = intern_node(OPS["reshape"], (constant(0),), {"shape": (1,)}, (1,), "integer")
    return do("concatenate", *(zero if p is None else p for p in found), axis=-1)


def _is_decimal(e: Expr) -> bool:
    value = e.params["value"] if e.op is CONSTANT and not e.shape and e.kind == "real" else 0
    return not float(value).is_integer() and known(abs(value)) is None


def _fitting(new: Expr, node: Expr) -> Expr:
    """What is read for a node, of its kind; the node as it is where that does not have its shape."""
    if new.shape != node.shape:
        return node
    return new if new.kind == node.kind else do("to_real", new)


def _is_real(condition: Expr) -> bool:
    return any(a.kind == "real" for a in condition.args)


def _is_rare(condition: Expr) -> bool:
    """Whether it holds where real numbers are equal, and hardly anywhere: ``(n == 0) & ~(abs(x) > 0)``."""
    name = condition.op.name
    if name == "equal":
        return _is_real(condition)
    if name == "logical_and":
        return any(map(_is_rare, condition.args))
    inner = condition.args[0]
    return name == "logical_not" and inner.op.name == "greater" and inner.args[0].op.name == "abs" and number(inner.args[1]) == 0


def _unsigned(e: Expr) -> tuple[int, Expr]:
    """The sign that would be written in front, and the rest."""
    spine: list[Expr] = []
    while e.op.name in ("mul", "div") and len(spine) < _FACTORS:
        spine.append(e)
        e = e.args[0]
    if e.op.name == "neg":
        front = e.args[0]
    elif e.op is CONSTANT and not e.shape and e.kind != "boolean" and e.params["value"] < 0:
        front = constant(-e.params["value"])
    else:
        return 1, spine[0] if spine else e
    for node in reversed(spine):
        one = node.op.name == "mul" and number(front) == 1
        front = node.args[1] if one else joined(node.op.name, front, node.args[1])
    return -1, front


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
