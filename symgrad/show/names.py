"""NAMES: what the let-bound parts of a formula are called, so that a name tells what it is.

    Z1, H1   the sums and the activations of a layer, by the number of its weights
    δ1       what the derivatives with respect to a layer's parameters are made of, so that a network's reads as backpropagation
    ∇W1      a whole gradient inside an update;  W1.m'  a state after it
    r, p, m  residuals, probabilities, masks;  h, u, U  other scalars, vectors, matrices

A named node keeps its name. Vectors have small letters, matrices capital ones; no name of the user's is taken.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from symgrad.expr import Expr
from symgrad.show.unicode import pretty

__all__ = ["bare", "call_parts", "is_affine", "is_hidden", "is_scaled", "senders"]

_ACTIVATIONS = frozenset(
    "tanh sigmoid relu leaky_relu elu gelu silu softplus maximum max log_sigmoid erf sin cos".split()
)
_FORWARD = _ACTIVATIONS | {"softmax"}  # what a derivative may be made of, but is no derivative
_UNSEEN = frozenset({"to_real", "nonnegative", "label", "named"})
_MOVED = frozenset({"reshape", "broadcast_to"})


def bare(e: Expr) -> Expr:
    """Without what does not change the values: names, guards, axes of size 1."""
    while e.op.name in _UNSEEN or e.op.name in _MOVED:
        e = e.args[0]
    return e


def number_of(name: str) -> str:
    """The digits at the end of a name: ``actor.W12`` → ``12``."""
    found = re.search(r"\d+$", name)
    return found[0] if found else ""


# --- layers ------------------------------------------------------------------------------------------------


def _weights(e: Expr) -> Expr | None:
    """The parameter in ``x @ W + b``, ``x @ W`` or ``W @ x``, and ``None`` for anything else."""
    if e.op.name == "add":
        product, offset = map(bare, e.args)
        if offset.op.name == "contract":
            product, offset = offset, product
        if offset.op.name != "symbol":
            return None
        e = product
    if e.op.name != "contract":
        return None
    found = [p for p in (e.args[1], e.args[0]) if bare(_untransposed(p)).op.name == "symbol"]
    numbered = [p for p in found if number_of(bare(_untransposed(p)).name)]
    return bare(_untransposed((numbered or found)[0])) if found else None


def _untransposed(e: Expr) -> Expr:
    """Without a number in front, and the way it was before it was turned."""
    if is_scaled(e):
        e = e.args[1]
    return e.args[0] if e.op.name == "transpose" else e


def is_scaled(e: Expr) -> bool:
    """Whether it is a number times a matrix: ``2*A.T`` before ``@ x`` needs no brackets."""
    return e.op.name == "mul" and not e.args[0].shape and e.args[1].op.name not in ("mul", "div", "contract")


def is_affine(e: Expr) -> bool:
    """Whether it is a layer's sums: tensors, a product with a parameter and perhaps an offset."""
    return bool(e.shape) and e.op.name in ("add", "contract") and _weights(e) is not None


def is_hidden(e: Expr) -> bool:
    """Whether it is a layer's activations."""
    return bool(e.shape) and e.op.name in _ACTIVATIONS and any(is_affine(bare(a)) for a in e.args)


# --- what gradients are made of ----------------------------------------------------------------------------


_WALKED = frozenset({"add", "sub", "mul", "div", "neg", "sqrt", "pow", "square", "maximum", "where"})
_LOOK_AT_MOST = 400


def senders(formula: Expr, place: Mapping[Expr, int]) -> list[Expr]:
    """What a parameter's gradient in a formula is made of: the δ of ``H.T @ δ`` and of ``sum(δ, axis=0)``.

    ``place``: where each node stands among all, operands first: of two factors the later one is the adjoint.
    """
    found: list[Expr] = []
    for e in _inside(formula):
        if e.op.name == "contract":
            a, b = (bare(_untransposed(x)) for x in e.args)
            later = a if place.get(a, -1) > place.get(b, -1) else b
            if later.op.family != "leaf":
                found.append(later)
        elif e.op.name in ("sum", "mean"):
            found.append(bare(e.args[0]))
    return found


def _inside(formula: Expr) -> Iterator[Expr]:
    """The nodes that arithmetic joins to a formula, from the outside in."""
    waiting, met = [bare(formula)], set[Expr]()
    while waiting and len(met) < _LOOK_AT_MOST:
        e = waiting.pop(0)
        if e not in met:
            met.add(e)
            yield e
            if e.op.name in _WALKED:
                waiting.extend(bare(a) for a in e.args)


# --- names -------------------------------------------------------------------------------------------------


class _Names:
    """Names given out, none twice."""

    def __init__(self, taken: Iterable[str]) -> None:
        self.taken = set(taken)
        self.taken |= {pretty(name) for name in self.taken}  # delta is written as δ
        self._letters: dict[str, str] = {}
        self._count: dict[str, int] = {}

    def own(self, name: str) -> str:
        """A name as wished, or with a number behind it."""
        written, count = name, self._count.get(name, 1)
        while written in self.taken:
            count += 1
            written = f"{name}_{count}"
        self._count[name] = count
        self.taken.add(written)
        return written

    def numbered(self, letters: str, number: str = "", alone: bool = False) -> str:
        """The first of the letters that the user does not use, with this number, or the next one. ``alone``: none at all."""
        if letters not in self._letters:
            users = [n for n in self.taken if n not in self._letters.values()]
            free = (c for c in letters if not any(re.fullmatch(rf"{c}_?\d*", n) for n in users))
            self._letters[letters] = next(free, f"{letters[0]}_")
        letter = self._letters[letters]
        if alone and letter not in self.taken:
            self.taken.add(letter)
            return letter
        if not number or letter + number in self.taken:
            count = self._count.get(letter, 0) + 1
            while f"{letter}{count}" in self.taken:
                count += 1
            self._count[letter] = count
            number = str(count)
        self.taken.add(letter + number)
        return letter + number


def call_parts(
    bound: Sequence[Expr], taken: Iterable[str], heads: Mapping[str, Expr], place: Mapping[Expr, int], updates: bool = False,
    scalars: str = "htuvqr",
) -> dict[Expr, str]:
    """Part → name. ``taken``: names that are not free; ``heads``: name → its derivative (with ``updates`` its next value);
    ``scalars``: letters for those without a role."""
    names, given = _Names(taken), _Called(bound)
    for node in bound:
        if node.op.name == "named":
            given.call(node, names.own(node.name))
    if updates:
        for target, formula in heads.items():
            if given.open(formula):
                given.call(formula, names.own(f"{target}'"))
    _call_layers(given, names, place)
    states = {h for h in heads if updates and "." in h and h.rpartition(".")[0] in heads}
    parameters = {h: formula for h, formula in heads.items() if h not in states}
    if updates:
        _call_gradients(given, names, parameters)
    _call_adjoints(given, names, parameters, place, updates)
    for node in bound:
        if given.open(node):
            given.call(node, names.numbered(_letters(node, scalars)))
    return given.names


class _Called:
    """The parts, and the names of those that have one."""

    def __init__(self, bound: Sequence[Expr]) -> None:
        self.bound = bound
        self.names: dict[Expr, str] = {}
        self._all = set(bound)

    def open(self, node: Expr) -> bool:
        return node in self._all and node not in self.names

    def call(self, node: Expr, name: str) -> None:
        self.names[node] = name


def _call_layers(given: _Called, names: _Names, place: Mapping[Expr, int]) -> None:
    forward: dict[Expr, bool] = {}  # weights → whether they are turned where they first occur
    for node in place:
        if node.op.name == "contract" and (weights := _weights(node)) is not None:
            forward.setdefault(weights, _turned(node))
    for test, small, capital in ((is_hidden, "haqgf", "HAQGF"), (is_affine, "zsyk", "ZSYK")):
        layers = [n for n in given.bound if given.open(n) and test(n) and not (test is is_affine and _goes_back(n, forward))]
        for node in layers:
            sums = node if test is is_affine else next(bare(a) for a in node.args if is_affine(bare(a)))
            weights = _weights(sums)
            number = number_of(weights.name) if weights is not None else ""
            given.call(node, names.numbered(small if node.ndim == 1 else capital, number, alone=len(layers) == 1 and not number))


def _goes_back(node: Expr, forward: Mapping[Expr, bool]) -> bool:
    """Whether a product with weights is that of a gradient, which has them the other way round."""
    weights = _weights(node)
    return node.op.name == "contract" and weights is not None and forward.get(weights) != _turned(node)


def _call_gradients(given: _Called, names: _Names, parameters: Mapping[str, Expr]) -> None:
    """∇W: the outermost part of an update, of the parameter's shape, that depends on parameters and is no state."""
    for target, update in parameters.items():
        for node in _inside(update):
            if given.open(node) and node.shape == update.shape and any(s.name in parameters for s in node.free_symbols):
                given.call(node, names.own(f"∇{target}"))
                break


def _call_adjoints(given: _Called, names: _Names, parameters: Mapping[str, Expr], place: Mapping[Expr, int], updates: bool) -> None:
    """δ of the parameters; those with numbers first, since those of inputs and offsets share theirs."""
    ordered = sorted(parameters, key=lambda h: not number_of(h))
    found = {h: [d for d in senders(parameters[h], place) if given.open(d)] for h in ordered}
    for target in ordered:
        root = parameters[target] if not updates else None
        while root is not None and root.op.name == "neg":
            (root,) = root.args
        if root is not None and given.open(root):
            found[target].insert(0, root)
        elif root is not None and not root.shape:
            found[target] += [d for d in _factors(root) if given.open(d)]
    different = {d for ds in found.values() for d in ds}
    for target in ordered:
        number = number_of(target) if parameters[target].shape else ""
        for d in found[target]:
            if given.open(d) and d.op.name not in _FORWARD:
                given.call(d, names.numbered("δΔεd", number, alone=len(different) == 1 and not number))
    for node in given.bound:  # δ1 = (δ2 @ W2.T) * …: heads need not name every layer
        weights = _turned_weights(node)
        if given.open(node) and weights is not None:
            given.call(node, names.numbered("δΔεd", str(int(number_of(weights.name)) - 1) if number_of(weights.name) else ""))


def _factors(product: Expr) -> list[Expr]:
    """The δ of the scalar ``δ*x``: what a product has beside symbols."""
    found: list[Expr] = []
    while product.op.name == "mul" and len(found) < _LOOK_AT_MOST:
        a, b = map(bare, product.args)
        found += [p for p, other in ((a, b), (b, a)) if p.args and not other.args]
        product = a if b.op.name == "symbol" else b
    return found


def _turned_weights(node: Expr) -> Expr | None:
    """The ``W2`` of ``(δ2 @ W2.T) * (1 - H1**2)`` or ``where(Z1 > 0, δ2 @ W2.T, 0)``."""
    if node.op.name not in ("mul", "where", "contract"):
        return None
    for part in (node, *node.args):
        if part.op.name == "contract":
            for own, other in (part.args, part.args[::-1]):
                if bare(own).op.name == "symbol" and bare(other).op.family != "leaf" and number_of(bare(own).name) and _turned(part):
                    return bare(own)
    return None


def _turned(e: Expr) -> bool:
    """Whether a product sums over the last letter of both factors, as ``δ @ W.T`` does."""
    left, right = e.params["spec"].partition("->")[0].split(",")
    return left[-1:] == right[-1:] or left[:1] == right[:1]


def _letters(node: Expr, scalars: str) -> str:
    """Letters for a part of no known role: what it is, then whether it is a scalar, a vector or a matrix."""
    kind = 0 if node.ndim < 2 else 1
    if node.kind == "boolean":
        return ("mkb", "MKB")[kind]
    if node.op.name == "sub" and node.shape and bare(node.args[1]).op.name == "symbol":
        return ("rde", "RDE")[kind]
    if node.op.name == "softmax":
        return ("pqs", "PQS")[kind]
    return scalars if not node.shape else ("uvqst", "UVQST")[kind]
