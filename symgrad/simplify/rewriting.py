"""REWRITING: rules as data, and the engine that applies them bottom-up to a fixpoint.

A rule has a name, the ops at whose nodes it is tried, and ``rewrite(node)``, an expression or ``None``.
Most are two texts, ``pattern -> result``, in the grammar of ``sg.parse``; sums and products match in both orders.
In a pattern ``n`` stands for a whole number, ``c`` for any number, every other name for any expression.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import count, islice
from typing import Any, Literal, NamedTuple, Union

from symgrad.errors import ShapeError
from symgrad.expr import OPS, SYMBOL, Expr, Op, apply, constant, intern_node, topological
from symgrad.parse import parse

__all__ = [
    "ACCURATE", "BOTH", "CHEAPER", "FORM", "ULPS", "Application", "Direction", "Pattern", "Rewriter", "Rule", "RuleBook", "do", "fit",
    "number", "same_value", "see", "with_args",
]  # fmt: skip


class Application(NamedTuple):
    """One use of a rule, for the record: its name, the node, what the node became."""

    rule: str
    before: Expr
    after: Expr


def do(name: str, *operands: Any, **params: Any) -> Expr:
    return apply(OPS[name], *operands, **params)


_SEEN_THROUGH = frozenset({"constant", "broadcast_to", "to_real", "named", "nonnegative"})  # by ``number`` and ``see``
_KEPT_LOOKS = 2**16  # in a book of rules
_UNIFORM_LOOK = 64  # elements; larger constants are not searched


def number(e: Expr) -> int | float | None:
    """The value of a constant that is no truth value: of a scalar, or of a tensor that holds it everywhere."""
    while e.op.name in ("broadcast_to", "to_real"):
        e = e.args[0]
    if e.op.name != "constant" or e.kind == "boolean":
        return None
    value = e.params["value"]
    if e.shape:
        if not 1 <= value.size <= _UNIFORM_LOOK or (value.tobytes() != value.flat[:1].tobytes() * value.size):
            return None
        value = value.flat[0].item()
    return value


def see(e: Expr) -> Expr:
    """What stands behind names and domain guards."""
    while e.op.name in ("named", "nonnegative"):
        e = e.args[0]
    return e


def same_value(a: Expr, b: Expr) -> bool:
    return see(a) is see(b)


def fit(result: Expr, node: Expr) -> Expr | None:
    """The result with the node's shape and kind, or ``None`` where it cannot have them.

    A whole number stays a whole number in a real formula: ``6*x`` is not ``6.0*x``.
    """
    if result.shape != node.shape:
        try:
            result = do("broadcast_to", result, shape=node.shape)
        except ShapeError:
            return None
    if result.kind == node.kind:
        return result
    if node.kind != "real" or result.kind == "boolean":
        return None
    value = number(result)
    if value is not None and not node.shape:
        return result
    if value is not None and abs(value) < 2**53:
        return do("broadcast_to", constant(float(value)), shape=node.shape)
    return do("to_real", result)


# --- heads: what a look at an operand tells ------------------------------------------------------------

Head = Union[str, tuple[str, Union[float, None]]]  # an op's name; or ("constant", value), the value only where patterns name it
_NAMED_NUMBERS = frozenset({-1, 0, 1, 2, 4})


def head_of(e: Expr) -> Head:
    """What stands behind names and guards: a number, or the name of an op."""
    value = number(e)
    return see(e).op.name if value is None else ("constant", value if value in _NAMED_NUMBERS else None)


def _fits(pattern: Expr, head: Head) -> bool:
    """Whether a pattern's operand can match something of this head."""
    if pattern.op.name == "symbol":
        return pattern.name not in ("n", "c") or isinstance(head, tuple)
    if pattern.op.name == "constant" and pattern.kind != "boolean":
        value = pattern.params["value"]
        return head == ("constant", value if value in _NAMED_NUMBERS else None)
    return head == pattern.op.name


# --- rules ---------------------------------------------------------------------------------------------


BOTH = -1  # of ``Rule.late``: both operands, and what they scale

Direction = Literal["cheaper", "more accurate", "form"]
CHEAPER: Direction = "cheaper"  # by the cost model never dearer, of operations fewer or as many
ACCURATE: Direction = "more accurate"  # accurate, or finite, where the other form is not; it may cost more
FORM: Direction = "form"  # as people write it, or as other rules want it

ULPS = 4.0  # what a rule may lose at any point, in units in the last place of the true value, where its operands are numbers


@dataclass(frozen=True)
class Rule:
    """A rule in code: ``rewrite`` gets a node whose op is one of ``ops``.

    ``sample`` is a text (or function) that the rule changes, and on which it is checked: the value is kept at data of every
    magnitude, and what ``direction`` promises holds. tests/test_rules.py does so for every rule there is.
    """

    name: str
    direction: Direction
    ops: tuple[str, ...]
    rewrite: Callable[[Expr], Expr | None]
    sample: str | Callable[[], Expr]
    look: Callable[..., bool] | None = None  # told the ops of the operands ("constant": a number), whether it is worth trying
    late: int | None = None  # this operand (or BOTH) is taken apart: only where nobody else uses it, which ``collect`` knows
    cosmetic: bool = False  # another way to write the same computation: what the user wrote is put back in the end
    style: bool = False  # nothing but that other way to write, which costs the same: not for what nobody will read
    tensors: bool = False  # of an elementwise op: nothing to be done where all are scalars

    def may_match(self, heads: Sequence[Head], same: bool) -> bool:
        """Whether it is worth trying at nodes whose operands have these heads."""
        return self.look is None or self.look(*["constant" if isinstance(h, tuple) else h for h in heads])


@dataclass(frozen=True)
class Pattern:
    """A rule as two texts. ``when`` looks at what the names stand for; ``p`` is a condition.

    It is checked on itself: at points of every magnitude the result loses at most :data:`ULPS` that the pattern has, and is finite
    wherever the pattern is; and what ``direction`` promises holds.
    """

    name: str
    direction: Direction
    pattern: str
    result: str
    when: Callable[[Mapping[str, Expr]], bool] | None = None
    cosmetic: bool = False
    late: int | None = None

    @cached_property
    def _texts(self) -> tuple[Expr, Expr]:
        return parse(self.pattern, _NAMES), parse(self.result, _NAMES)

    @property
    def ops(self) -> tuple[str, ...]:
        return (self._texts[0].op.name,)

    @cached_property
    def _program(self) -> list[Expr]:
        return topological(self._texts[1])

    def may_match(self, heads: Sequence[Head], same: bool) -> bool:
        """Whether operands with these heads can match; ``same``: the two of them are one."""
        root = self._texts[0]
        if len(root.args) == 2 and root.args[0] is root.args[1] and not same:
            return False
        orders = (heads, heads[::-1]) if root.op.name in _COMMUTE else (heads,)
        return any(all(map(_fits, root.args, order)) for order in orders)

    @cached_property
    def _shared(self) -> list[tuple[int, int]]:
        """For each name that both operands of the pattern mention: how deep, 0 the operand itself, 1 one of its own."""
        root = self._texts[0]
        if len(root.args) != 2:
            return []
        depths: list[dict[str, set[int]]] = [{}, {}]
        for side, operand in zip(depths, root.args, strict=True):
            level, depth = [operand], 0
            while level:
                for e in level:
                    if e.op is SYMBOL:
                        side.setdefault(e.name, set()).add(depth)
                level, depth = [a for e in level for a in e.args], depth + 1
        both = [(depths[0][n], depths[1][n]) for n in depths[0] if n in depths[1]]
        return [(min(a), min(b)) for a, b in both if len(a) == len(b) == 1 and max(*a, *b) <= 1]

    def _lacks_shared(self, node: Expr, commute: bool) -> bool:
        """Whether the two operands plainly have nothing in common where the pattern wants it: far quicker than matching."""
        for left, right in self._shared:
            a, b = map(see, node.args)
            if not _meet(a, left, b, right) and not (commute and left != right and _meet(a, right, b, left)):
                return True
        return False

    def rewrite(self, node: Expr, commute: bool = True) -> Expr | None:
        """What the node becomes. ``commute``: the operands of the node itself may have changed places."""
        if self._shared and self._lacks_shared(node, commute):
            return None
        for found in _matches(self._texts[0], node, {}, commute):
            if self.when is None or self.when(found):
                return self._build(found)
        return None

    def _build(self, found: Mapping[str, Expr]) -> Expr:
        built: dict[Expr, Expr] = {}
        for part in self._program:
            if part.op.name == "symbol":
                built[part] = found[part.name]
            else:
                built[part] = part if not part.args else apply(part.op, *[built[a] for a in part.args], **part.params)
        return built[self._texts[1]]


def _meet(a: Expr, depth: int, b: Expr, other: int) -> bool:
    """Whether ``a`` (or one of its operands) is ``b`` (or one of its operands), names and guards aside."""
    here = [see(x) for x in a.args] if depth else [a]
    there = [see(x) for x in b.args] if other else [b]
    return any(x is y for x in here for y in there)


_CONDITION = intern_node(SYMBOL, (), {"name": "p", "shape": (), "kind": "boolean", "positive": False}, (), "boolean")
_NAMES: dict[str, Any] = {"p": _CONDITION}
_COMMUTE = frozenset({"add", "mul", "maximum", "minimum", "logical_and", "logical_or", "equal", "not_equal", "hypot"})


def _matches(pattern: Expr, node: Expr, found: dict[str, Expr], commute: bool = True) -> Iterator[dict[str, Expr]]:
    """Every way to read the node as the pattern (recursion over the pattern, which is a few nodes deep)."""
    if pattern.op.name == "symbol":
        name = pattern.name
        if name in found:
            if same_value(found[name], node):
                yield found
            return
        if name in ("n", "c"):
            value = number(node)
            if value is None or node.shape or (name == "n" and (not math.isfinite(value) or value != int(value))):
                return
        yield {**found, name: node}
        return
    node = see(node)
    if pattern.op.name == "constant":
        wanted = pattern.params["value"]
        value = node.params["value"] if node.op is pattern.op and node.kind == "boolean" and not node.shape else number(node)
        if value is wanted if isinstance(wanted, bool) else (value == wanted and not isinstance(value, bool)):
            yield found
        return
    if node.op is not pattern.op or node.params != pattern.params:
        return
    orders = (node.args, node.args[::-1]) if commute and node.op.name in _COMMUTE and node.args[0] is not node.args[1] else (node.args,)
    for args in orders:
        if len(args) == 1:
            yield from _matches(pattern.args[0], args[0], found)
        elif len(args) == 2:
            for first in _matches(pattern.args[0], args[0], found):
                yield from _matches(pattern.args[1], args[1], first)
        else:
            for first in _matches(pattern.args[0], args[0], found):
                for second in _matches(pattern.args[1], args[1], first):
                    yield from _matches(pattern.args[2], args[2], second)


# --- the engine ----------------------------------------------------------------------------------------


class RuleBook:
    """Rules, found by the op of a node and a look at its operands.

    What has been found is kept, and serves every rewriter of these rules: it depends on ops and a few numbers, on no node.
    Several threads may look at once: each step is one operation on a table, and two that find the same write the same.
    """

    def __init__(self, rules: Iterable[Rule | Pattern]) -> None:
        self._rules: dict[str, list[Rule | Pattern]] = {}
        for rule in rules:
            for op in rule.ops if rule.late is None else ():
                self._rules.setdefault(op, []).append(rule)
        self._found: dict[Any, Sequence[Rule | Pattern]] = {}  # by op, whether all is scalar, and what is seen of the operands
        self._heads: dict[Head, int] = {}  # their numbers
        self._next = count()
        self._plain: dict[Op, int] = {}  # heads of ops whose nodes are what they look like

    def worth_trying(self, node: Expr) -> Sequence[Rule | Pattern]:
        """The rules that a look at the operands does not rule out."""
        op, args = node.op, node.args
        if op.name not in self._rules:
            return ()
        plain = self._plain
        key: Any
        if len(args) == 2:
            a, b = args
            first, second = plain.get(a.op), plain.get(b.op)
            if first is None:
                first = self._head(a)
            if second is None:
                second = self._head(b)
            key = op, not node.shape, first, second, first == second and (a is b or see(a) is see(b))
        elif len(args) == 1:
            (a,) = args
            first = plain.get(a.op)
            key = op, not node.shape, self._head(a) if first is None else first
        else:
            key = op, not node.shape, *map(self._head, args)
        found = self._found.get(key)
        return self._find(key, node) if found is None else found

    def _head(self, e: Expr) -> int:
        """The number of an operand's head."""
        found = self._plain.get(e.op)
        if found is None:
            head = head_of(e)
            found = self._heads.get(head)
            if found is None:
                found = self._heads.setdefault(head, next(self._next))
            if e.op.name not in _SEEN_THROUGH:
                self._plain[e.op] = found
        return found

    def _find(self, key: Any, node: Expr) -> Sequence[Rule | Pattern]:
        heads = tuple([head_of(a) for a in node.args])
        same = len(heads) == 2 and same_value(*node.args)
        possible = [rule for rule in self._rules[node.op.name] if node.shape or not getattr(rule, "tensors", False)]
        found = tuple([rule for rule in possible if rule.may_match(heads, same)])
        if len(self._found) >= _KEPT_LOOKS:
            self._found.clear()
        self._found[key] = found
        return found


class Rewriter:
    """Applies rules to every node below the roots, operands first, until none applies; remembers what it did."""

    def __init__(self, book: RuleBook, record: list[Application] | None = None) -> None:
        self.book, self.record = book, record
        self.done: dict[Expr, Expr] = {}
        self._changed: set[Expr] = set()  # what more than cosmetic rules have changed, and what reads it
        self._traced = 0  # of so many nodes of ``done`` it is known whether they read any
        self._through: dict[Expr, Expr] = {}  # what a node became on the way

    def run(self, roots: Sequence[Expr]) -> list[Expr]:
        return [self.normal(root) for root in roots]

    def moved(self, written: Mapping[Expr, Expr | None]) -> dict[Expr, Expr | None]:
        """What the user wrote (``None`` where it has been simplified) by the nodes that stand for it now."""
        self._trace()
        result: dict[Expr, Expr | None] = {}
        for node, mine in written.items():
            if node in self.done:
                result.setdefault(self.done[node], None if node in self._changed else mine)
        return result

    def _trace(self) -> None:
        """Carries on what has been changed to those who read it."""
        changed, through = self._changed, self._through
        for node in islice(self.done, self._traced, None):
            if through.get(node) in changed or any(a in changed for a in node.args):
                changed.add(node)
        self._traced = len(self.done)

    def normal(self, root: Expr) -> Expr:
        """One root in its normal form: operands first, and nearly every node has nothing more to be done."""
        done = self.done
        known, stack = done.get, [root]
        while stack:
            node = stack[-1]
            if node in done:
                stack.pop()
                continue
            args = tuple(map(known, node.args))
            if None in args:
                stack += [a for a in reversed(node.args) if a not in done]
                continue
            stack.pop()
            new = node if args == node.args else with_args(node, args)  # type: ignore[arg-type]  # equality is identity
            if new not in done:
                result = self._applied(new)
                if result is not new:
                    self._settle(node, new, result)
                    continue
                done[new] = new
            if new is not node:
                done[node], self._through[node] = done[new], new
        return done[root]

    def _settle(self, root: Expr, new: Expr, result: Expr) -> None:
        """The normal form of a node that a rule has changed. ``forward``: what a node has been rewritten to so far."""
        done = self.done
        forward = {root: new, new: result} if new is not root else {new: result}
        stack = [*forward, result] if result not in forward else [*forward]
        while stack:
            node = stack[-1]
            if node in done:
                stack.pop()
            elif node in forward:
                # not in done: two rules undo each other, and it stops here
                done[node], self._through[node] = done.get(forward[node], forward[node]), forward[node]
                stack.pop()
            elif pending := [a for a in node.args if a not in done]:
                stack.extend(reversed(pending))
            else:
                new = self._step(node)
                if new is node:
                    done[node] = node
                    stack.pop()
                else:
                    forward[node] = new
                    if new not in forward:
                        stack.append(new)

    def _step(self, node: Expr) -> Expr:
        """One change: the normal operands put in, or else the first rule that applies."""
        new = with_args(node, [self.done[a] for a in node.args])
        return new if new is not node else self._applied(node)

    def _applied(self, node: Expr) -> Expr:
        """What the first rule that applies makes of a node, or the node."""
        for rule in self.book.worth_trying(node):
            result = rule.rewrite(node)
            if result is None or result is node:
                continue
            fitted = fit(result, node)
            if fitted is None or fitted is node:
                continue
            if not rule.cosmetic:
                self._changed.add(node)
            if self.record is not None:
                self.record.append(Application(rule.name, node, fitted))
            return fitted
        return node


def with_args(node: Expr, args: Sequence[Expr]) -> Expr:
    """The node on new operands; whole numbers that took the place of reals become reals where that changes the kind."""
    if tuple(args) == node.args:  # equality is identity
        return node
    new = apply(node.op, *args, **node.params)
    if new.kind == node.kind and new.shape == node.shape:
        return new
    wide = [constant(float(a.params["value"])) if _was_real(a, old) else a for a, old in zip(args, node.args, strict=True)]
    fitted = fit(apply(node.op, *wide, **node.params), node)
    return node if fitted is None else fitted


def _was_real(a: Expr, old: Expr) -> bool:
    return a.op.name == "constant" and not a.shape and a.kind == "integer" and old.kind == "real"
