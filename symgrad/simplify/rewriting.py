"""REWRITING: rules as data, and how patterns are matched; ``engine`` applies them.

A rule has a name, the ops at whose nodes it is tried, and ``rewrite(node)``, an expression or ``None``.
Most are two texts, ``pattern -> result``, in the grammar of ``sg.parse``; sums and products match in both orders.
In a pattern ``n`` stands for a whole number, ``c`` for any number, every other name for any expression.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any, Literal, NamedTuple, Union

from symgrad.errors import ShapeError
from symgrad.expr import CONSTANT, OPS, SYMBOL, Expr, apply, constant, intern_node, topological
from symgrad.parse import parse

__all__ = [
    "ACCURATE", "BOTH", "CHEAPER", "FORM", "SEEN_THROUGH", "ULPS", "Application", "Direction", "Head", "Pattern", "Rule",
    "do", "fit", "head_of", "number", "same_value", "see", "with_args",
]  # fmt: skip


class Application(NamedTuple):
    """One use of a rule, for the record: its name, the node, what the node became."""

    rule: str
    before: Expr
    after: Expr


def do(name: str, *operands: Any, **params: Any) -> Expr:
    return apply(OPS[name], *operands, **params)


SEEN_THROUGH = frozenset({"constant", "broadcast_to", "to_real", "named", "nonnegative"})  # by ``number`` and ``see``
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
    def _readings(self) -> list[_Reading]:
        return _readings(self._texts[0])

    def rewrite(self, node: Expr, commute: bool = True) -> Expr | None:
        """What the node becomes. ``commute``: the operands of the node itself may have changed places."""
        for reading in self._readings:
            if reading.turned and not commute:
                break
            found = reading.found(node)
            if found is not None and (self.when is None or self.when(found)):
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


_CONDITION = intern_node(SYMBOL, (), {"name": "p", "shape": (), "kind": "boolean", "positive": False}, (), "boolean")
_NAMES: dict[str, Any] = {"p": _CONDITION}
_COMMUTE = frozenset({"add", "mul", "maximum", "minimum", "logical_and", "logical_or", "equal", "not_equal", "hypot"})


# --- matching ------------------------------------------------------------------------------------------

Place = int  # 0 is the node that is read, its operands follow; and whenever a place has been read as an operation, its operands do
_Check = Callable[[list[Expr], Place, Any], bool]


class _Reading(NamedTuple):
    """One way to read a node of the pattern's op as the pattern: checks in order, each of one place and with what it wants there.

    ``turned``: the operands of the node itself change places.
    """

    turned: bool
    checks: tuple[tuple[_Check, Place, Any], ...]
    names: tuple[tuple[str, Place], ...]

    def found(self, node: Expr) -> dict[str, Expr] | None:
        """What the names of the pattern stand for, if the node can be read so."""
        places = [node, *(node.args[::-1] if self.turned else node.args)]
        for check, place, wanted in self.checks:
            if not check(places, place, wanted):
                return None
        return {name: places[place] for name, place in self.names}


def _is_operation(places: list[Expr], place: Place, pattern: Expr) -> bool:
    node = see(places[place])
    places += node.args
    return node.op is pattern.op and node.params == pattern.params


def _is_turned_operation(places: list[Expr], place: Place, pattern: Expr) -> bool:
    node = see(places[place])
    places += node.args[::-1]
    return node.op is pattern.op and node.params == pattern.params


def _has_parameters(places: list[Expr], place: Place, params: Mapping[str, Any]) -> bool:
    return places[place].params == params


def _is_constant(places: list[Expr], place: Place, pattern: Expr) -> bool:
    node, wanted = see(places[place]), pattern.params["value"]
    if pattern.kind == "boolean":
        return node.op is CONSTANT and not node.shape and node.params["value"] is wanted
    return number(node) == wanted


def _is_number(places: list[Expr], place: Place, whole: bool) -> bool:
    value = None if places[place].shape else number(places[place])
    return value is not None and not (whole and (not math.isfinite(value) or value != int(value)))


def _is_same(places: list[Expr], place: Place, other: Place) -> bool:
    return same_value(places[place], places[other])


def _readings(pattern: Expr) -> list[_Reading]:
    """Every way to read a node as the pattern: operands that may change places as they stand first, then turned."""
    spots, operands = _spots(pattern)
    both = [k for k, e in enumerate(spots) if e.op.name in _COMMUTE and e.args[0] is not e.args[1]]
    turns = [{k for k, turn in zip(both, choice, strict=True) if turn} for choice in product((False, True), repeat=len(both))]
    return [_reading(spots, operands, turned) for turned in turns]


def _spots(pattern: Expr) -> tuple[list[Expr], list[list[int]]]:
    """The nodes of a pattern, one as often as it occurs, each before its operands; and at which spots these are."""
    spots: list[Expr] = []
    operands: list[list[int]] = []
    waiting = [(pattern, -1)]
    while waiting:
        e, user = waiting.pop()
        if user >= 0:
            operands[user].append(len(spots))
        waiting += [(a, len(spots)) for a in reversed(e.args)]
        spots.append(e)
        operands.append([])
    return spots, operands


def _reading(spots: Sequence[Expr], operands: Sequence[Sequence[int]], turned: Collection[int]) -> _Reading:
    """The checks level by level, so that what is quick and tells much comes first. A name stands for what is at its first spot."""
    first = {e.name: k for k, e in reversed([*enumerate(spots)]) if e.op is SYMBOL}
    places, seen = {0: 0}, dict[str, Place]()
    checks: list[tuple[_Check, Place, Any]] = [(_has_parameters, 0, spots[0].params)] if spots[0].params else []
    waiting = deque([0])
    while waiting:
        spot = waiting.popleft()
        if spot > 0:
            checks.append((_is_turned_operation if spot in turned else _is_operation, places[spot], spots[spot]))
        for k in operands[spot]:
            e, place = spots[k], places.setdefault(k, len(places))
            if e.args:
                waiting.append(k)
            elif e.op is CONSTANT:
                checks.append((_is_constant, place, e))
            else:
                if seen.setdefault(e.name, place) != place:
                    checks.append((_is_same, place, seen[e.name]))
                if first[e.name] == k and e.name in ("n", "c"):
                    checks.append((_is_number, place, e.name == "n"))
    return _Reading(0 in turned, tuple(checks), tuple([(name, places[k]) for name, k in first.items()]))


# --- new operands ----------------------------------------------------------------------------------------


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
