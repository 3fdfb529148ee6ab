"""DERIVATION: the chain rule of one expression, step by step, as data; ``explain`` shows it.

Every node between ``wrt`` and the expression is a step with a name, and each step's formula is in terms of the names of others.
A step's adjoint is the sum over the steps that use it: their adjoint through the formula's own derivative, found by the
same sweep that ``sg.grad`` runs. Long derivations are grouped: what has one use and is short stands inside its user.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from itertools import count as count_from

from symgrad.differentiate import FINISH, grad
from symgrad.differentiate.reverse import active_nodes, pull_back
from symgrad.expr import SYMBOL, Array, Expr, constant, intern_node, rebuild, substitute, topological
from symgrad.ops.movement import do
from symgrad.show.changes import Change, Rewriting, changes_of, in_names, rewritings, stand_in
from symgrad.show.formulas import Formulas
from symgrad.show.layout import seen
from symgrad.show.names import call_parts, is_affine, is_hidden
from symgrad.show.reading import plainly
from symgrad.show.text import text
from symgrad.simplify import Application, apply_local, simplify
from symgrad.simplify.cost import Cost, count
from symgrad.simplify.islands import WORTH
from symgrad.simplify.present import ORDER
from symgrad.simplify.rewriting import number

__all__ = ["Derivation", "Step", "Term", "derive"]

MANY = 24  # steps, from which on they are grouped
SHORT = 36  # characters of a part that stands inside another step
TERM, SUM = 10, 360  # the same of a term of a long sum, and of the sum, whose terms are steps
LONG = 4  # terms of a long sum
OFF_PATH = 40  # characters of a part without derivative that gets a name

_SUM = frozenset({"add", "sub"})
_FOLDED = frozenset({"to_real", "nonnegative", "label", "broadcast_to", "reshape"})  # never steps of their own


@dataclass
class Term:
    """What one user sends: ``user`` the step, ``local`` the derivative of its formula (``None``: it is no factor, ``map`` shows
    what happens to ``g``), ``product`` the adjoint through it."""

    user: Step
    local: Expr | None
    map: Expr
    product: Expr


@dataclass
class Step:
    """One node. ``formula`` in terms of other steps' ``symbol``; ``adjoint`` the symbol of its derivative, ``None`` where none
    is asked for; ``terms`` what its users send, ``flat`` the steps in its formula that it sends nothing to; at a point ``value`` and
    ``gradient``."""

    node: Expr
    name: str
    symbol: Expr
    formula: Expr
    adjoint: Expr | None
    terms: list[Term] = field(default_factory=list)
    flat: list[Step] = field(default_factory=list)
    value: Array | None = None
    gradient: Array | None = None

    @property
    def is_input(self) -> bool:
        """A symbol of the user's, which is not computed."""
        return self.symbol is self.node


@dataclass
class Derivation:
    """``label``: what the expression is called; ``steps``: inputs first; ``wrt``: the steps asked for; ``raw``: their derivatives by
    the bare chain rule, in terms of steps; ``final``: as they are compiled; ``changes``: the rules between the two,
    ``rewritings``: the same line by line, empty where that is too long;
    ``before``, ``after``: what the derivatives cost to compute."""

    expr: Expr
    label: str
    steps: list[Step]
    wrt: list[Step]
    raw: list[Expr]
    final: list[Expr]
    changes: list[Change]
    rewritings: list[Rewriting]
    before: Cost
    after: Cost

    def put_together(self) -> Formulas:
        """The raw derivatives by name; names of steps keep their meaning."""
        return Formulas({s.name: e for s, e in zip(self.wrt, self.raw, strict=True)}, self.label, [s.name for s in self.steps], raw=True)


def derive(
    y: Expr, wrt: Sequence[Expr], values: Mapping[Expr, Array] | None = None, gradients: Mapping[Expr, Array] | None = None
) -> Derivation:
    """The derivation of ``y`` with respect to nodes. ``values``, ``gradients``: node → array, at a point."""
    order = topological(y)
    targets = [seen(w) for w in wrt]
    active = active_nodes(order, {*targets, *wrt})
    label = _label(y, order)
    steps = _steps(y, order, active, targets, label)
    by_node = {s.node: s for s in steps}
    for step in steps:
        if values is not None:
            step.value = values.get(step.node)
        if gradients is not None and step.adjoint is not None:
            step.gradient = gradients.get(step.node)
    by_symbol = {s.symbol: s for s in steps}
    for user in reversed(steps):
        if user.terms or user.node is y:
            _send(user, by_symbol, user.node is y)
        elif user.node not in targets:  # behind a stop_gradient, a floor
            user.adjoint = None
    raw = list(grad(y, list(wrt), simplify=False))
    record: list[Application] = []
    local, derivatives = apply_local(raw, [y], record=record), list(grad(y, list(wrt)))
    record += [Application(ORDER, old, new) for old, new in zip(local, derivatives, strict=True) if new is not old]  # whole numbers
    final = simplify(derivatives, record=record, worth=WORTH)
    heads = [f"d{label}/d{by_node[t].name}" for t in targets]
    names = {n: s.symbol for s in steps if not s.is_input for n in (s.node, *(s.node.args if s.node.op.name == "named" else ()))}
    return Derivation(
        y, label, steps, [by_node[t] for t in targets], plainly([in_names(r, names) for r in raw]), final, changes_of(record, names),
        rewritings(heads, raw, final, record, names, [y]), count(raw), count(final),
    )  # fmt: skip


def _label(y: Expr, order: Sequence[Expr]) -> str:
    taken = {n.name for n in order if n.op.name in ("symbol", "named")}
    if y.op.name in ("named", "symbol"):
        return y.name
    letters = ("L", "f", "y", "J") if any(n.shape for n in order) else ("y", "f", "L", "F")
    return next(c for c in chain(letters, (f"y{k}" for k in count_from(0))) if c not in taken)


# --- steps -------------------------------------------------------------------------------------------------


def _steps(y: Expr, order: Sequence[Expr], active: Collection[Expr], wrt: Sequence[Expr], label: str) -> list[Step]:
    chosen = _chosen(y, order, active, wrt)
    inner = [n for n in chosen if n.op is not SYMBOL and n is not y]
    taken = {n.name for n in order if n.op is SYMBOL} | {label}
    place = {n: k for k, n in enumerate(order)}
    names = call_parts(inner, taken, {}, place, scalars="uvhrqst")
    names[y] = label
    symbols: dict[Expr, Expr] = {}
    steps: list[Step] = []
    for node in chosen:
        leaf = node.op is SYMBOL and node is not y
        name = node.name if leaf else names[node]
        symbol = node if leaf else stand_in(name, node)
        formula = node if leaf else _written(node, symbols)
        adjoint = stand_in(f"d{label}/d{name}", node) if node in active or node is y else None
        steps.append(Step(node, name, symbol, formula, adjoint))
        symbols[node] = symbol
    return steps


def _written(node: Expr, symbols: Mapping[Expr, Expr]) -> Expr:
    """The node's formula with names for the steps below it."""
    body = node.args[0] if node.op.name == "named" else node
    if body in symbols and body is not node:
        return symbols[body]
    return rebuild(body, [in_names(a, symbols) for a in body.args]) if body.args else body


def _chosen(y: Expr, order: Sequence[Expr], active: Collection[Expr], wrt: Sequence[Expr]) -> list[Expr]:
    """The nodes that are steps, operands first."""
    uses: dict[Expr, int] = dict.fromkeys(order, 0)
    for node in order:
        for a in node.args:
            uses[a] += 1
    within = {n.args[0] for n in order if n.op.name == "named" and uses[n.args[0]] == 1}
    within |= {a for n in order if is_affine(n) for a in n.args if a.op.name == "contract" and uses[a] == 1}
    grouped = sum(n in active and n.op is not SYMBOL for n in order) > MANY
    sums, terms = _long_sums(order, uses) if grouped else (set[Expr](), set[Expr]())
    chosen: list[Expr] = []
    length: dict[Expr, int] = {}
    for node in order:
        length[node] = min(sum(length[a] for a in node.args) + 3, 10**6) if node.args else len(text(node, check=False))
        if node is y or node in wrt:
            keep = True
        elif node.op is SYMBOL:
            keep = node in active
        elif not node.args or node in within or node.op.name in _FOLDED:
            keep = False
        elif node in active:
            single = uses[node] == 1 and node.op.name != "named" and not is_hidden(node) and not is_affine(node)
            short = length[node] <= (TERM if node in terms else SUM if node in sums else SHORT)
            keep = not (grouped and single and short)
        else:
            keep = node.op.name == "named" or length[node] > OFF_PATH
        if keep:
            chosen.append(node)
            length[node] = 3
    return chosen


def _long_sums(order: Sequence[Expr], uses: Mapping[Expr, int]) -> tuple[set[Expr], set[Expr]]:
    """Sums inside of larger ones in which they are read, and the terms of long sums."""
    inside = {a for n in order if n.op.name in _SUM for a in n.args if a.op.name in _SUM and uses[a] == 1 and a.shape == n.shape}
    count: dict[Expr, int] = {}
    for node in order:
        if node.op.name in _SUM:
            count[node] = sum(count[a] if a in inside else 1 for a in node.args)
    for node in reversed(order):
        count.update((a, count[node]) for a in node.args if a in inside)
    terms = {a for n, k in count.items() if k >= LONG for a in n.args if a not in inside}
    return {n for n in inside if count[n] >= LONG}, terms


# --- the chain rule ------------------------------------------------------------------------------------------


def _send(user: Step, steps: Mapping[Expr, Step], first: bool) -> None:
    """The terms that a step sends to the steps in its formula; ``first``: from the expression itself, whose adjoint is 1."""
    formula = user.formula
    inputs = [n for n in topological(formula) if n in steps and steps[n].adjoint is not None and n is not user.symbol]
    if not inputs:
        return
    assert user.adjoint is not None
    own = {} if formula.op is SYMBOL else {formula: user.symbol}
    ones = _ones(formula)
    seeds = [ones if first else user.adjoint, ones if first else stand_in("g", formula), ones]
    sent, mapped, locals_ = (_through(formula, seed, inputs, own) for seed in seeds)
    for x, product, through, local in zip(inputs, sent, mapped, locals_, strict=True):
        if product is not None and through is not None:
            factor = local if _is_factor(formula, x) else None
            steps[x].terms.append(Term(user, None if factor is None else _plain(factor), _plain(through), _plain(product)))
        else:
            user.flat.append(steps[x])


def _ones(like: Expr) -> Expr:
    return do("broadcast_to", constant(1.0), shape=like.shape) if like.shape else constant(1.0)


def _through(formula: Expr, seed: Expr, inputs: Sequence[Expr], own: Mapping[Expr, Expr]) -> list[Expr | None]:
    """The adjoints of the inputs for the seed, tidied; the formula's value goes by its name."""
    sent = pull_back([(formula, seed)], inputs)
    arrived = [e for e in sent if e is not None]
    tidied = iter(_tidied([substitute(e, own) for e in arrived], [seed, formula]))
    return [None if e is None else next(tidied) for e in sent]


def _tidied(derivatives: list[Expr], written: list[Expr]) -> list[Expr]:
    for finish in FINISH:
        derivatives = list(finish(derivatives, written))
    return derivatives


def _is_factor(formula: Expr, x: Expr) -> bool:
    """Whether the formula's derivative multiplies the adjoint element by element."""
    between = active_nodes(topological(formula), {x})
    return formula.shape == x.shape and all(n is x or n.op.family == "elementwise" for n in between)


def _plain(e: Expr) -> Expr:
    """``2`` for a tensor that is 2.0 everywhere; ``1`` and ``0`` as the branches of a choice."""
    if e.op.name == "where":
        return intern_node(e.op, (e.args[0], _plain(e.args[1]), _plain(e.args[2])), {}, e.shape, e.kind)
    value = number(e)
    if value is None and e.op.name == "broadcast_to" and not e.args[0].shape:
        return e.args[0]
    return plainly([e])[0] if value is None else constant(int(value) if value == int(value) else value)
