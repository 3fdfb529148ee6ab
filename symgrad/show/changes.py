"""CHANGES: what simplification did to derivatives, for a reader: line by line where the whole derivative fits on one, else rule by rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache

from symgrad.expr import SYMBOL, Expr, intern_node, rebuild, rewrite, topological
from symgrad.show.reading import plainly, readable
from symgrad.show.text import text
from symgrad.simplify import Application
from symgrad.simplify.present import ORDER
from symgrad.simplify.rewriting import FORM, with_args
from symgrad.simplify.rules import RULES

__all__ = ["SIGNS", "Change", "Rewriting", "changes_of", "in_names", "legend", "rewritings", "stand_in"]


@dataclass(frozen=True)
class Change:
    """One use of a rule, as text and as expressions; ``times`` it did the same, or in a long derivation similar things."""

    rule: str
    before: str
    after: str
    times: int = 1
    sides: tuple[Expr, Expr] | None = field(default=None, compare=False, repr=False)


@dataclass
class Rewriting:
    """One derivative on its way from the bare chain rule to the final form: each line's expression, and the rules that led to it."""

    name: str
    lines: list[tuple[tuple[str, ...], Expr]]


def stand_in(name: str, like: Expr) -> Expr:
    """A symbol in place of a node: names of derivatives and signs are no names that a user could give."""
    params = {"name": name, "shape": like.shape, "kind": like.kind, "positive": False}
    return intern_node(SYMBOL, (), params, like.shape, like.kind)


def in_names(root: Expr, names: Mapping[Expr, Expr]) -> Expr:
    """The expression with other nodes for those that have one; what is below these is not visited."""
    made: dict[Expr, Expr] = {}
    stack = [root]
    while stack:
        node = stack[-1]
        if node not in made:
            if node in names or not node.args:
                made[node] = names.get(node, node)
            elif waiting := [a for a in node.args if a not in made]:
                stack.extend(waiting)
                continue
            else:
                made[node] = rebuild(node, [made[a] for a in node.args])
        stack.pop()
    return made[root]


# --- line by line ----------------------------------------------------------------------------------------------

_USES = 120  # of rules, and
_NODES = 160  # of derivatives: what is replayed
_LINE = 120  # characters of a line
_LINES = 24  # of all derivatives together
_ROUNDS = 6  # until nothing more changes: what came out of one rule is often changed by an earlier one again


def rewritings(
    heads: Sequence[str], raw: Sequence[Expr], final: Sequence[Expr], record: Sequence[Application], names: Mapping[Expr, Expr],
    written: Sequence[Expr],
) -> list[Rewriting]:  # fmt: skip
    """The derivatives after each rule, in terms of steps: empty where that is too long to read.

    The rules are applied again, one use after the other, to the derivatives as wholes. ``heads``: names of the derivatives; ``names``:
    node → the symbol of its step; ``written``: what the user wrote.
    """
    if len(record) > _USES or len(topological(*raw, *final)) > _NODES:
        return []
    names = dict(names)
    tellers = [_Teller(e, names, written) for e in raw]
    current, steps, became = list(raw), list(names), dict[Expr, Expr]()
    for k, (rule, before, after) in enumerate(record):
        if rule == ORDER and (not k or record[k - 1].rule != ORDER):
            became = {}  # what was written is put back, and must not be changed again
        became[before] = after
        new, following = _replayed(current, became), record[k + 1].rule if k + 1 < len(record) else ""
        if rule in _forms():  # a step in another form is the same step
            names.update({e: names[s] for e, s in zip(_replayed(steps, became), steps, strict=True) if e not in names})
        for teller, old, e in zip(tellers, current, new, strict=True):
            if e is not old:
                teller.tell(rule, e, whole=rule == ORDER or (rule not in _forms() and rule != following))
        current = new
        if rule == ORDER and following != ORDER:
            became = {}
    for teller, e in zip(tellers, final, strict=True):
        teller.end(e)
    found = [Rewriting(head, teller.lines) for head, teller in zip(heads, tellers, strict=True) if teller.lines]
    short = all(len(line) <= _LINE and "\n" not in line for teller in tellers for line in teller.texts)
    return found if short and sum(len(r.lines) for r in found) <= _LINES else []


@cache
def _forms() -> frozenset[str]:
    """Rules that write the same in another way."""
    return frozenset(rule.name for table in RULES.values() for rule in table if rule.direction == FORM)


def _replayed(roots: Sequence[Expr], became: Mapping[Expr, Expr]) -> list[Expr]:
    """The roots after all that is known by now about what became of what."""

    def replaced(node: Expr, args: tuple[Expr, ...]) -> Expr:
        new, met = with_args(node, args), set[Expr]()
        while new in became and new not in met:  # two rules may undo each other
            met.add(new)
            new = became[new]
        return new

    current = list(roots)
    for _ in range(_ROUNDS):
        new = rewrite(current, replaced)
        if new == current:
            break
        current = new
    return current


class _Teller:
    """Collects the lines of one derivative: rules whose work does not show are not told, form goes with the next line that is."""

    def __init__(self, raw: Expr, names: Mapping[Expr, Expr], written: Sequence[Expr]) -> None:
        self.names, self.written = names, [in_names(e, names) for e in written]
        self.lines: list[tuple[tuple[str, ...], Expr]] = []
        self.now = text(self._read(raw), check=False)
        self.texts = [self.now]
        self.pending: dict[str, None] = {}

    def tell(self, rule: str, e: Expr, whole: bool) -> None:
        """``whole``: a line of its own, if it looks any different."""
        shown = self._read(e)
        words = text(shown, check=False)
        if words != self.now:
            self.pending[rule] = None
            self.now = words
        if whole:
            self._line(shown, words)

    def end(self, final: Expr) -> None:
        """The final form, as it is read: with fractions and powers."""
        shown = readable([self._read(final)], self.written)[0]
        if not self.pending and self.lines:
            self.pending = dict.fromkeys(self.lines.pop()[0])
            self.texts.pop()
        self.pending = self.pending or {ORDER: None}
        self._line(shown, text(shown, check=False))

    def _line(self, shown: Expr, words: str) -> None:
        rules, self.pending = tuple(self.pending), {}
        if words == self.texts[-1]:
            return
        if self.lines and self.lines[-1][0] == rules:  # the same was done at another place
            self.lines.pop()
            self.texts.pop()
        self.lines.append((rules, shown))
        self.texts.append(words)

    def _read(self, e: Expr) -> Expr:
        return plainly([in_names(e, self.names)])[0]


# --- rule by rule ----------------------------------------------------------------------------------------------

_CHANGES = 16  # different ones; of more, one example a rule is shown
_CHANGE = 72  # characters of one side of a change
_UNTOUCHED = 6  # nodes of a part that stays as it is, from which on a sign stands for it
_NEAR = 150  # nodes of a change that are looked at
_LARGE = 10**6
SIGNS = "□◇△○☆"
DEEP = "…"


def legend(changes: Sequence[Change]) -> str:
    """What the signs in changes stand for; empty where there are none."""
    written = "".join(c.before + c.after for c in changes)
    signs = [s for s in SIGNS if s in written]
    if len(signs) < 2:
        return f"{signs[0]} is a part that stays as it is" if signs else ""
    return f"{', '.join(signs)} are parts that stay as they are"


def changes_of(record: Sequence[Application], names: Mapping[Expr, Expr]) -> list[Change]:
    """Each change once; of many, an example for each rule."""
    found: dict[tuple[str, str, str], Change] = {}
    for rule, before, after in record:
        if rule == ORDER:  # of derivatives as wholes
            continue
        change = _abstract(rule, before, after, names)
        key = rule, change.before, change.after
        if change.before != change.after:
            found[key] = replace(change, times=found[key].times + 1 if key in found else 1)
    if len(found) <= _CHANGES:
        return list(found.values())
    examples: dict[str, Change] = {}
    for change in found.values():
        first = examples.get(change.rule)
        examples[change.rule] = replace(first, times=first.times + change.times) if first else change
    return list(examples.values())


def _abstract(rule: str, before: Expr, after: Expr, names: Mapping[Expr, Expr]) -> Change:
    """Both sides of a change in terms of steps; a sign stands for what the rule moved about without looking into it."""
    sizes, others = _sizes(before, names), _sizes(after, names)
    names = {n: s for n, s in names.items() if n is not before}  # of a step, what it is: that is what changes
    signs = dict(names)
    waiting, met = [before], set[Expr]()
    while waiting:
        node = waiting.pop()
        if node in met or node in names:
            continue
        met.add(node)
        long = sizes.get(node, _LARGE) >= _UNTOUCHED
        if long and (node in others or node not in sizes) and len(signs) < len(names) + len(SIGNS):
            signs[node] = stand_in(SIGNS[len(signs) - len(names)], node)
        elif node in sizes:
            waiting.extend(reversed(node.args))
        else:
            signs[node] = stand_in(DEEP, node)
    within = [(side, n) for side in (sizes, others) for e in side if e not in names for n in e.args]
    signs |= {n: stand_in(DEEP, n) for side, n in within if n not in side and n not in signs}
    left, right = plainly([in_names(before, signs), in_names(after, signs)])
    return Change(rule, _short(left), _short(right), sides=(left, right))


def _sizes(root: Expr, names: Mapping[Expr, Expr]) -> dict[Expr, int]:
    """How many nodes each of the nearest nodes of an expression has below it; steps count as one."""
    near: dict[Expr, None] = {}
    level = [root]
    while level and len(near) < _NEAR:
        near.update(dict.fromkeys(level))
        level = [a for node in level if node not in names for a in node.args if a not in near]
    sizes: dict[Expr, int] = {}
    for node in reversed(near):
        sizes[node] = 1 if node in names else 1 + sum(sizes.get(a, _LARGE) for a in node.args)
    return sizes


def _short(e: Expr) -> str:
    written = text(e, check=False)
    last = written.splitlines()[-1]
    return last if len(last) <= _CHANGE else last[: _CHANGE - 1] + DEEP
