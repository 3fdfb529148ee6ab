"""ENGINE: applies rules to the nodes of a formula, operands first, to a fixpoint.

Which rules can fit a node is seen by a look at its operands, and found once for all formulas (:class:`RuleBook`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

from symgrad.expr import Expr, Op, unvisited
from symgrad.simplify.rewriting import SEEN_THROUGH, Application, Head, Pattern, Rule, fit, head_of, same_value, see, with_args

__all__ = ["Rewriter", "RuleBook"]

_KEPT_LOOKS = 2**16  # in a book of rules


class RuleBook:
    """Rules, found by the op of a node and a look at its operands.

    What has been found is kept, and serves every rewriter of these rules: it depends on ops and a few numbers, on no node.
    Several threads may look at once: each step is one operation on a table, and two that find the same write the same.
    """

    def __init__(self, rules: Iterable[Rule | Pattern]) -> None:
        self._rules: dict[str, list[Rule | Pattern]] = {}
        for rule in rules:
            for op in rule.ops:
                self._rules.setdefault(op, []).append(rule)
        self.names = self._rules.keys()  # of the ops at whose nodes any rule is tried
        self._found: dict[Any, Sequence[Rule | Pattern]] = {}  # by op, whether all is scalar, and what is seen of the operands

    def worth_trying(self, node: Expr) -> Sequence[Rule | Pattern]:
        """The rules that a look at the operands does not rule out."""
        op, args = node.op, node.args
        key: Any
        if len(args) == 2:
            a, b = args
            first: Op | Head = a.op
            second: Op | Head = b.op
            same = a is b
            if a.op.name in SEEN_THROUGH or b.op.name in SEEN_THROUGH:
                first, second, same = head_of(a), head_of(b), see(a) is see(b)
            key = op, not node.shape, first, second, same
        elif len(args) == 1:
            (a,) = args
            key = op, not node.shape, head_of(a) if a.op.name in SEEN_THROUGH else a.op
        else:
            key = op, not node.shape, *map(head_of, args)
        found = self._found.get(key)
        return self._find(key, node) if found is None else found

    def _find(self, key: Any, node: Expr) -> Sequence[Rule | Pattern]:
        heads = tuple([head_of(a) for a in node.args])
        same = len(heads) == 2 and same_value(*node.args)
        possible = [rule for rule in self._rules.get(node.op.name, ()) if node.shape or not getattr(rule, "tensors", False)]
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

    def run(self, roots: Sequence[Expr], order: Iterable[Expr] | None = None) -> list[Expr]:
        """The roots in normal form. ``order``: all nodes below them, operands first, where that is known."""
        self._go_through(unvisited(roots, self.done) if order is None else order)
        return [self.done[root] for root in roots]

    def normal(self, root: Expr) -> Expr:
        """One root in its normal form."""
        return self.done[root] if root in self.done else self.run((root,))[0]

    def moved(self, written: Mapping[Expr, Expr | None]) -> dict[Expr, Expr | None]:
        """What the user wrote (``None`` where it has been simplified) by the nodes that stand for it now."""
        if not self._through:  # every node stands for itself
            return dict(written)
        self._trace()
        result: dict[Expr, Expr | None] = {}
        for node, mine in written.items():
            if node in self.done:
                result.setdefault(self.done[node], None if node in self._changed else mine)
        return result

    def _trace(self) -> None:
        """Carries on what has been changed to those who read it."""
        changed, through = self._changed, self._through
        for node in islice(self.done, self._traced, None) if changed else ():
            if through.get(node) in changed or not changed.isdisjoint(node.args):
                changed.add(node)
        self._traced = len(self.done)

    def _go_through(self, order: Iterable[Expr]) -> None:
        """Nodes, operands first: nearly every one has nothing more to be done."""
        done, names = self.done, self.book.names
        for node in order:
            if node in done:
                continue
            new = node
            for a in node.args:
                if done[a] is not a:
                    new = with_args(node, [done[a] for a in node.args])
                    break
            if new is node or new not in done:
                result = self._applied(new) if new.op.name in names else new
                if result is not new:
                    self._settle(node, new, result)
                    continue
                done[new] = new
            if new is not node:
                done[node], self._through[node] = done[new], new

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
