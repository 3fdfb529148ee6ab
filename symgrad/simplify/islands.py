"""ISLANDS: small scalar elementwise regions of a graph in their cheapest form: our own passes, then SymPy, within a budget.

An island is a maximal connected region of algebraic elementwise nodes of one shape; what enters it (tensors, networks'
activations, branches) are symbols with what is known about their range. Its form is canonical, so that a result
is remembered, on disk too, and SymPy is imported only for an island never seen before. A new form is taken
only if our cost model says that it is cheaper and it agrees with the old one (see ``agreement``).

The budget is a count: operations an island, operations a call. A wall-clock limit is the last line of defence.
A compiler also asks what there is to gain at most (``worth``): importing SymPy takes half a second, one island 10 to 200 ms.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache
from hashlib import blake2b
from typing import Any, Protocol

from symgrad.expr import OPS, Expr, apply, constant, remembered_orders, substitute, symbol, topological
from symgrad.simplify.agreement import Samples, depends
from symgrad.simplify.algebra import candidates, has_identities, is_algebraic
from symgrad.simplify.bounded import bounded, left_alone
from symgrad.simplify.cost import cost as default_cost
from symgrad.simplify.cost import elements, node_cost
from symgrad.simplify.identities import identical
from symgrad.simplify.in_place import changed_in_place
from symgrad.simplify.monomials import gatherings
from symgrad.simplify.products import divided_in_turn, products_shared
from symgrad.simplify.rewriting import Application, fit, with_args

__all__ = ["WORTH", "Store", "forget", "set_store", "simplify_islands"]

MAX_OPERATIONS = 40  # an island
MAX_SEEN = 200  # operations that SymPy sees in one call; the islands beyond stay as they are
MAX_STEPS = 3  # changes in place, one after the other
MAX_CONES = 100  # outputs of a large region that are looked at one by one
_TIDIED = 1.5  # operations that local rules may still take from a candidate
SECONDS = 10.0  # an island; only when SymPy hangs
WORTH = 0.1  # the part of all work that an island must be able to save before a compiler hands it to SymPy
OURS, KNOWN, THEIRS = "gather factors and terms", "identities of functions and polynomials", "algebra by SymPy"  # who found a form
_REVISION = 18  # of what is decided here: part of the key under which results are remembered

CostModel = Callable[[Sequence[Expr]], float]
Tidy = Callable[[list[Expr]], list[Expr]]
Report = dict[str, Any]
Identity = tuple[tuple[Expr, ...], tuple[str, ...]]  # forms, and the ranges of their placeholders


class Store(Protocol):
    """Where results are remembered between processes; ``symgrad.run.cache`` has one."""

    def load(self, key: str) -> str | None: ...

    def store(self, key: str, value: str) -> None: ...


_store: Store | None = None
_remembered: dict[Identity, Report] = {}
_REMEMBER_AT_MOST = 4096


def set_store(store: Store | None) -> None:
    """Results are remembered here from now on; ``None``: in this process only."""
    global _store
    _store = store


def forget() -> None:
    """Nothing is remembered in this process any more; a store keeps what it has."""
    _remembered.clear()


def simplify_islands(
    roots: Sequence[Expr], cost: CostModel = default_cost, report: Report | None = None, tidy: Tidy | None = None, worth: float = 0.0,
    record: list[Application] | None = None,
) -> list[Expr]:  # fmt: skip
    """The roots with every island in its cheapest form.

    ``cost``: weighted operations of a sequence of roots. ``tidy``: the local rules, which SymPy's forms go through before
    they are compared. ``report`` receives ``islands`` (how many were looked at),
    ``remembered`` (answered without SymPy), ``simplified``, and ``unsimplified``: reasons and how often.
    ``worth``: islands that cannot save this part of the cost of all roots together stay as they are. ``record`` receives what became
    of each output, and who found it.

    >>> import symgrad as sg
    >>> x, y = sg.symbols("x y")
    >>> simplify_islands([(x**2 - y**2) / (x - y)])
    [x + y]
    """
    tally = _Tally(report if report is not None else {})
    new: dict[Expr, tuple[Island, Expr]] = {}
    finders: dict[Expr, str] = {}
    least = worth * cost(roots) if worth else 0.0
    for island in _find(roots, tally):
        if least and island.possible_gain() < least:
            tally.refuse("too little to gain")
            continue
        found = _simplified(island, cost, tidy or list, tally)
        if found is not None:
            changed = {old: (island, form) for old, form in zip(island.outputs, found["forms"]) if form is not None}
            new.update(changed)
            finders.update(dict.fromkeys(changed, found["by"]))
    if not new:
        return list(roots)
    done = _put_back(roots, new)
    if record is not None:
        record.extend(Application(by, old, done[old]) for old, by in finders.items())
    return [done[r] for r in roots]


class _Tally:
    """What the report says, and what is left of the budget."""

    def __init__(self, report: Report) -> None:
        self.report = report
        report.update({"islands": 0, "remembered": 0, "simplified": 0, "unsimplified": {}})
        self.left = MAX_SEEN

    def add(self, what: str) -> None:
        self.report[what] += 1

    def refuse(self, reason: str) -> None:
        reasons = self.report["unsimplified"]
        reasons[reason] = reasons.get(reason, 0) + 1


# --- finding ---------------------------------------------------------------------------------------


class Island:
    """A region in canonical form: outputs over placeholder symbols.

    ``outputs``: nodes of the graph. ``leaves``: nodes that enter. ``placeholders``: symbols in their place, of ``ranges``.
    ``forms``: the outputs over the placeholders. ``identity``: what the island is; ``key``: the same, and what decides about it, for
    other processes.
    """

    def __init__(self, outputs: list[Expr], inside: set[Expr]) -> None:
        self.outputs = outputs
        order: list[Expr] = []  # operands before users, without looking below the leaves
        seen: set[Expr] = set()
        stack: list[tuple[Expr, bool]] = [(o, False) for o in reversed(outputs)]
        while stack:
            node, ready = stack.pop()
            if ready:
                order.append(node)
            elif node not in seen:
                seen.add(node)
                stack.append((node, True))
                stack.extend((a, False) for a in reversed(node.args) if node in inside)
        computed = [n for n in order if n in inside]
        self.operations = len(computed)
        self.price = sum(map(node_cost, computed))
        self.leaves = [n for n in order if n not in inside and not _is_number(n)]
        self.ranges = [_range(n) for n in self.leaves]
        shape = outputs[0].shape
        self.placeholders = [symbol(f"x{i}", ("n",) if n.shape and shape else ()) for i, n in enumerate(self.leaves)]
        form: dict[Expr, Expr] = dict(zip(self.leaves, self.placeholders))
        for node in order:
            if node not in form:
                form[node] = node if _is_number(node) else apply(node.op, *[form[a] for a in node.args], **node.params)
        self.forms = [form[o] for o in outputs]
        self.identity = (tuple(self.forms), tuple(self.ranges))

    @cached_property
    def key(self) -> str:
        described = json.dumps([_REVISION, _sympy_version(), MAX_OPERATIONS, self.ranges, write_forms(self.forms, self.placeholders)])
        return blake2b(described.encode(), digest_size=20).hexdigest()

    def possible_gain(self) -> float:
        """What a simpler form may save at most: every output takes an operation, and to join n leaves takes n - 1."""
        least = max(len(set(self.outputs)), sum(depends(self.forms, self.placeholders, self.ranges)) - 1)
        return self.price - least * elements(self.outputs[0].shape)

    def is_plain(self) -> bool:
        """Nothing occurs twice and functions do not meet: there is nothing that algebra could find."""
        return _is_plain(self.forms)


def _is_plain(forms: Sequence[Expr]) -> bool:
    used: dict[Expr, int] = {}
    order = topological(*forms)
    for node in order:
        for a in node.args:
            used[a] = used.get(a, 0) + (a.op.name != "constant")
    if any(times > 1 for times in used.values()):
        return False
    nodes = [n for n in used if n.args] + [f for f in forms if f not in used]
    powers = sum(n.op.name not in ("add", "sub", "mul", "div", "neg", "to_real", "nonnegative") for n in nodes)
    divisions = sum(n.op.name == "div" for n in nodes)
    numbers = sum(n.op.name == "constant" for n in order)
    return powers <= 1 and numbers <= 1 and divisions <= 1


def _is_number(node: Expr) -> bool:
    return node.op.name == "constant" and not node.shape and node.kind != "boolean"


_RANGE_OF_OP = {
    "exp": "positive", "cosh": "positive", "softplus": "positive", "sigmoid": "probability", "softmax": "probability",
    "tanh": "unit", "erf": "unit", "sin": "unit", "cos": "unit", "abs": "nonnegative", "sqrt": "nonnegative",
    "square": "nonnegative", "relu": "nonnegative", "norm": "nonnegative", "hypot": "nonnegative", "erfc": "nonnegative",
}  # fmt: skip


def _range(node: Expr) -> str:
    while node.op.name == "named":
        (node,) = node.args
    if node.op.name == "symbol":
        return "positive" if node.params["positive"] else "real"
    return _RANGE_OF_OP.get(node.op.name, "real")


def _find(roots: Sequence[Expr], tally: _Tally) -> list[Island]:
    """The islands, those first in reading order first; of a region too large, its outputs one by one where they are small."""
    order = topological(*roots)
    inside = {n for n in order if is_algebraic(n)}
    region: dict[Expr, Expr] = {n: n for n in inside}

    def find(n: Expr) -> Expr:
        while region[n] is not n:
            region[n] = n = region[region[n]]
        return n

    for node in order:
        if node in inside:
            for a in node.args:
                if a in inside and a.shape == node.shape:
                    region[find(a)] = find(node)
    outside_use = dict.fromkeys(roots)
    for node in order:
        for a in node.args:
            if a in inside and (node not in inside or a.shape != node.shape):
                outside_use[a] = None
    members: dict[Expr, list[Expr]] = {}
    for node in order:
        if node in inside:
            members.setdefault(find(node), []).append(node)
    islands = []
    for nodes in members.values():
        if len(nodes) < 2:
            continue
        outputs = [n for n in nodes if n in outside_use]
        if len(nodes) <= MAX_OPERATIONS:
            islands.append(Island(outputs, set(nodes)))
        else:
            islands.extend(_cones(outputs, set(nodes), tally))
    return islands


def _cones(outputs: list[Expr], inside: set[Expr], tally: _Tally) -> list[Island]:
    found = []
    for output in outputs[:MAX_CONES]:
        cone, stack = {output}, [output]
        while stack and len(cone) <= MAX_OPERATIONS:
            for a in stack.pop().args:
                if a in inside and a not in cone and a.shape == output.shape:
                    cone.add(a)
                    stack.append(a)
        if len(cone) <= MAX_OPERATIONS:
            found.append(Island([output], cone))
        else:
            tally.refuse(f"more than {MAX_OPERATIONS} operations")
    return found


# --- simplifying -----------------------------------------------------------------------------------


def _simplified(island: Island, cost: CostModel, tidy: Tidy, tally: _Tally) -> dict[str, Any] | None:
    """``forms``: of the outputs, over the placeholders, ``None`` where one stays; ``by``: who found them. ``None`` where all stay."""
    if island.is_plain():
        return None
    tally.add("islands")
    record = _recall(island)
    if record is not None:
        tally.add("remembered")
    else:
        if tally.left < island.operations:
            tally.refuse(f"more than {MAX_SEEN} operations in one call")
            return None
        tally.left -= island.operations
        with remembered_orders():  # each candidate is read many times
            record = _decide(island, cost, tidy)
        if "temporary" in record:
            tally.left = 0  # SymPy hangs: no second one
        else:
            _remember(island, record)
    if "reason" in record:
        tally.refuse(record["reason"])
        return None
    tally.add("simplified")
    return {"forms": [new if new is not old else None for old, new in zip(island.forms, record["forms"])], "by": record["by"]}


def _decide(island: Island, cost: CostModel, tidy: Tidy) -> dict[str, Any]:
    """The cheapest forms that agree; or why there are none."""
    if left_alone():  # SymPy is not made for two threads
        return {"reason": "SymPy still works on a formula that took too long", "temporary": True}
    choice = _Choice(island, cost, tidy)
    choice.consider(_gathered(island.forms), OURS)
    if _is_plain(choice.best):
        return choice.record()
    choice.consider(identical(choice.best), KNOWN)
    for _ in range(MAX_STEPS):
        before = choice.best
        choice.consider(list(changed_in_place(before)), OURS)
        if choice.best == before:
            break
    if not has_identities(choice.best):
        return choice.record()
    import sympy  # noqa: F401  (here, so that the wall-clock limit does not count it)

    try:
        found = bounded(lambda: _all_candidates(island), SECONDS)
    except TimeoutError:
        return {"reason": "SymPy took too long", "temporary": True}
    except Exception as error:  # whatever a pass of SymPy may raise, the formula stays
        return {"reason": f"SymPy raised {type(error).__name__}"}
    choice.consider(found, THEIRS)
    return choice.record()


def _gathered(forms: Sequence[Expr]) -> list[list[Expr]]:
    """Factors and terms gathered by ourselves."""
    return [products_shared(candidate) for candidate in dict.fromkeys(map(tuple, [*gatherings(forms), forms]))]


class _Choice:
    """The cheapest forms so far that agree with the island's."""

    def __init__(self, island: Island, cost: CostModel, tidy: Tidy) -> None:
        self.island, self.cost, self.tidy = island, cost, tidy
        self.samples = Samples(island.placeholders, island.ranges)
        self.best, self.price = list(island.forms), cost(island.forms)
        self.refused = self.by = ""
        self.checked: dict[tuple[int, Expr], str] = {}

    def consider(self, found: Sequence[Sequence[Expr]], by: str) -> None:
        """Candidates, all outputs together and then one output at a time; ``by``: who made them."""
        ranked = sorted(((self.cost(forms), i, forms) for i, forms in enumerate(dict.fromkeys(map(tuple, found)))))
        tidied: dict[tuple[Expr, ...], None] = {}
        for price, _, forms in ranked:
            if price > self.price + _TIDIED:
                break
            if forms == tuple(self.best):
                continue
            tidy = tuple(self.tidy(list(forms)))
            if tidy not in tidied:
                tidied[tidy] = None
                self._try(list(tidy), by)
                if tidy != forms:  # rules may put numbers where they overflow sooner
                    self._try(list(forms), by)
        if len(self.best) > 1:
            for i in range(len(self.best)):
                for form in dict.fromkeys(forms[i] for forms in tidied):
                    if form is not self.best[i]:
                        self._try(_with_one(i, form, self.best), by)

    def _try(self, trial: list[Expr], by: str) -> None:
        price = self.cost(trial)
        if price >= self.price or any(t.kind == "boolean" for t in trial):
            return
        reasons = [self._checked(k, t) for k, t in enumerate(trial) if t is not self.best[k]]
        self.refused = next(filter(None, reasons), self.refused)
        if not any(reasons):
            self.best, self.price, self.by = trial, price, by
        elif (in_turn := divided_in_turn(trial)) != trial:
            self._try(in_turn, by)

    def _checked(self, i: int, form: Expr) -> str:
        if (i, form) not in self.checked:
            self.checked[i, form] = self.samples.disagreement(self.island.forms[i], form)
        return self.checked[i, form]

    def record(self) -> dict[str, Any]:
        return {"reason": self.refused or "no cheaper form"} if self.best == self.island.forms else {"forms": self.best, "by": self.by}


def _all_candidates(island: Island) -> list[list[Expr]]:
    found = candidates(island.forms, island.placeholders, island.ranges, guarded=False)
    if any(n.op.name == "nonnegative" for n in topological(*island.forms)):
        found += candidates(island.forms, island.placeholders, island.ranges, guarded=True)
    return found


def _with_one(i: int, form: Expr, forms: list[Expr]) -> list[Expr]:
    """The forms with another one for output ``i``, also where it is a part of other outputs."""
    if form.shape != forms[i].shape or form.kind != forms[i].kind:
        return [form if k == i else f for k, f in enumerate(forms)]
    return [substitute(f, {forms[i]: form}) for f in forms]


# --- remembering: flat records of JSON ---------------------------------------------------------------


@lru_cache(maxsize=1)
def _sympy_version() -> str:
    from importlib.metadata import version

    return version("sympy")


def write_forms(forms: Sequence[Expr], placeholders: Sequence[Expr]) -> dict[str, Any]:
    """Elementwise forms over placeholders as plain lists: nodes, operands before users, and which are the forms."""
    order = [n for n in topological(*forms) if n not in set(placeholders)]
    index: dict[Expr, int] = {p: i for i, p in enumerate(placeholders)}
    nodes: list[Any] = []
    for node in order:
        index[node] = len(placeholders) + len(nodes)
        if node.op.name == "constant":
            value = node.params["value"]
            nodes.append(["constant", node.kind, value.hex() if isinstance(value, float) else int(value)])
        else:
            nodes.append([node.op.name, *(index[a] for a in node.args)])
    return {"leaves": [bool(p.shape) for p in placeholders], "nodes": nodes, "forms": [index[f] for f in forms]}


def read_forms(record: Any, placeholders: Sequence[Expr]) -> list[Expr]:
    """The forms; raises ``ValueError`` for what :func:`write_forms` would not write."""
    try:
        built = list(placeholders)
        for name, *rest in record["nodes"]:
            if name == "constant":
                kind, value = rest
                built.append(constant(float.fromhex(value) if kind == "real" else int(value)))
            elif OPS[name].family == "elementwise" and all(0 <= i < len(built) for i in rest):
                built.append(apply(OPS[name], *[built[i] for i in rest]))
            else:
                raise ValueError(f"a record names {name}")
        return [built[i] for i in record["forms"]]
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise ValueError(f"a damaged record: {error}") from None


def _recall(island: Island) -> dict[str, Any] | None:
    if island.identity in _remembered:
        return _remembered[island.identity]
    text = _store.load(island.key) if _store is not None else None
    if text is None:
        return None
    try:
        record: Any = json.loads(text)
        if isinstance(record, dict) and "reason" in record:
            return {"reason": str(record["reason"])}
        forms = read_forms(record, island.placeholders)
    except ValueError:
        return None
    if len(forms) != len(island.forms):
        return None
    return {"forms": forms, "by": str(record.get("by", THEIRS))}


def _remember(island: Island, record: dict[str, Any]) -> None:
    if len(_remembered) >= _REMEMBER_AT_MOST:
        _remembered.clear()
    _remembered[island.identity] = record
    if _store is not None:
        kept = record if "reason" in record else {**write_forms(record["forms"], island.placeholders), "by": record["by"]}
        _store.store(island.key, json.dumps(kept))


# --- putting back ----------------------------------------------------------------------------------


def _put_back(roots: Sequence[Expr], new: dict[Expr, tuple[Island, Expr]]) -> dict[Expr, Expr]:
    """Each node of the graph with the new forms in their places; what enters them has been rewritten before."""
    done: dict[Expr, Expr] = {}
    for node in topological(*roots):
        if node in new:
            island, form = new[node]
            entering = {p: done[leaf] for p, leaf in zip(island.placeholders, island.leaves) if leaf in done}  # those below this output
            fitted = fit(_filled(form, entering), node)
            if fitted is not None:
                done[node] = fitted
                continue
        args = [done[a] for a in node.args]
        done[node] = node if all(a is b for a, b in zip(args, node.args, strict=True)) else with_args(node, args)
    return done


def _filled(form: Expr, leaves: dict[Expr, Expr]) -> Expr:
    built = {p: leaf if leaf.kind == "real" else apply(OPS["to_real"], leaf) for p, leaf in leaves.items()}
    for node in topological(form):
        if node not in built:
            built[node] = apply(node.op, *[built[a] for a in node.args], **node.params) if node.args else node
    return built[form]
