"""The ways of calling a formula: what each computes, and how its outputs are put together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from symgrad import dims
from symgrad.errors import ShapeError
from symgrad.expr import Expr
from symgrad.expr import symbol as make_symbol
from symgrad.run.function import Formula, nest_map
from symgrad.run.kernel import Plan

__all__ = ["PLANS", "fresh_name", "only_scalar", "output_names", "plan", "stable_outputs"]

POINTS = "points"  # the axis of a formula of scalars that is called with arrays


def plan(formula: Formula, kind: str, points: bool) -> Plan:
    """What ``kind`` of call computes; ``points``: for arrays in place of scalar arguments."""
    single = PLANS[kind](formula)
    return _over_points(single) if points else single


def _value(formula: Formula) -> Plan:
    names = output_names(formula, formula.structure, formula.outputs)
    outputs = [(n, e.kind, e.shape) for n, e in zip(names, formula.outputs)]
    result = nest_map(formula.structure, names.__getitem__)
    return Plan("value", formula.inputs, tuple(outputs), result, lambda: dict(zip(names, formula.outputs)))


def _grad(formula: Formula) -> Plan:
    only_scalar(formula, "grad")
    names = _wrt_names(formula, "d_")

    def derive() -> dict[str, Expr]:
        from symgrad.differentiate import grad, tidy_gradient
        from symgrad.simplify import shared_rules

        if formula.is_large and formula.simplify:  # once, all together, and no form for people
            with shared_rules() as normal:
                return dict(zip(names, tidy_gradient(stable_outputs(formula)[0], formula.wrt, normal)))
        return dict(zip(names, grad(stable_outputs(formula)[0], list(formula.wrt), simplify=formula.simplify)))

    outputs = [(n, "real", w.shape) for n, w in zip(names, formula.wrt)]
    return Plan("grad", formula.inputs, tuple(outputs), nest_map(formula.targets, names.__getitem__), derive)


def _value_and_grad(formula: Formula) -> Plan:
    only_scalar(formula, "value_and_grad")
    value, gradient = _value(formula), _grad(formula)
    both = (*value.outputs, *gradient.outputs)

    def derive() -> dict[str, Expr]:
        found = value.derive()
        if formula.is_large:  # the gradient reads the value's nodes: those of the form that was differentiated
            found = dict(zip(found, stable_outputs(formula)))
        return {**found, **gradient.derive()}

    return Plan("value_and_grad", formula.inputs, both, (value.result, gradient.result), derive)


def _jacobian(formula: Formula) -> Plan:
    heads = output_names(formula, formula.structure, formula.outputs)
    table = {(i, k): f"d_{head}_{name}" for i, head in enumerate(heads) for k, name in enumerate(_wrt_names(formula, "d_"))}

    def derive() -> dict[str, Expr]:
        from symgrad.differentiate import jacobian

        found = [jacobian(y, list(formula.wrt), simplify=formula.simplify) for y in stable_outputs(formula)]
        return {name: found[i][k] for (i, k), name in table.items()}

    outputs = [(name, "real", formula.outputs[i].shape + formula.wrt[k].shape) for (i, k), name in table.items()]
    result = nest_map(formula.structure, lambda i: nest_map(formula.targets, lambda k: table[i, k]))
    return Plan("jacobian", formula.inputs, tuple(outputs), result, derive)


def _hessian(formula: Formula) -> Plan:
    only_scalar(formula, "hessian")
    names = _wrt_names(formula, "d_")
    table = {(i, k): f"{a}_{b}" for i, a in enumerate(names) for k, b in enumerate(names)}

    def derive() -> dict[str, Expr]:
        from symgrad.differentiate import hessian

        found = hessian(stable_outputs(formula)[0], list(formula.wrt), simplify=formula.simplify)
        return {name: found[i][k] for (i, k), name in table.items()}

    outputs = [(name, "real", formula.wrt[i].shape + formula.wrt[k].shape) for (i, k), name in table.items()]
    result = nest_map(formula.targets, lambda i: nest_map(formula.targets, lambda k: table[i, k]))
    return Plan("hessian", formula.inputs, tuple(outputs), result, derive)


def _hvp(formula: Formula) -> Plan:
    only_scalar(formula, "hvp")
    names, taken = _wrt_names(formula, "d_"), {s.name for s in formula.inputs}
    directions = []
    for k, node in enumerate(formula.wrt):
        name = fresh_name("v." + (node.name if node.op.name == "symbol" else f"node{k}"), taken)
        directions.append(make_symbol(name, node.shape))

    def derive() -> dict[str, Expr]:
        from symgrad.differentiate import hvp

        return dict(zip(names, hvp(stable_outputs(formula)[0], list(formula.wrt), directions, simplify=formula.simplify)))

    outputs = [(n, "real", w.shape) for n, w in zip(names, formula.wrt)]
    return Plan("hvp", (*formula.inputs, *directions), tuple(outputs), nest_map(formula.targets, names.__getitem__), derive)


def stable_outputs(formula: Formula) -> Sequence[Expr]:
    """What is differentiated: the formula after the stability rewrites, so that ``1/(1 + exp(-x))`` has the gradient of
    sigmoid, finite where the quotient overflows. As written where the derivative by one of its inner nodes is wanted."""
    if not formula.simplify or any(node.op.name != "symbol" for node in formula.wrt):
        return formula.outputs
    from symgrad.simplify import apply_local, apply_rules

    if formula not in _stable:
        outputs = formula.outputs
        _stable[formula] = apply_rules(outputs) if formula.is_large else apply_local(outputs, outputs, stability=True)
    return _stable[formula]


_stable: WeakKeyDictionary[Formula, Sequence[Expr]] = WeakKeyDictionary()


PLANS: dict[str, Callable[[Formula], Plan]] = {
    "value": _value, "grad": _grad, "value_and_grad": _value_and_grad, "jacobian": _jacobian, "hessian": _hessian, "hvp": _hvp,
}  # fmt: skip


def _over_points(single: Plan) -> Plan:
    """The plan for many points at once: every input and output gets a leading axis.

    Its ``derive`` raises ``NotImplementedError`` where an op cannot take one.
    """
    stacked = {s: make_symbol(s.name, (POINTS,), integer=s.kind == "integer", positive=s.params["positive"]) for s in single.inputs}
    outputs = tuple((name, kind, (POINTS, *shape)) for name, kind, shape in single.outputs)

    def derive() -> dict[str, Expr]:
        from symgrad.differentiate import vectorize

        found = single.derive()
        return dict(zip(found, vectorize(list(found.values()), stacked, (POINTS,))))

    return Plan(single.kind, tuple(stacked.values()), outputs, single.result, derive, points=True)


def only_scalar(formula: Formula, kind: str) -> Expr:
    y = formula.outputs[0]
    if len(formula.outputs) > 1 or formula.structure != 0 or y.shape:
        what = f"has shape {dims.format_shape(y.shape)}" if formula.structure == 0 else f"has {len(formula.outputs)} parts"
        raise ShapeError(f"f.{kind} is of one scalar, and this result {what}: use f.jacobian, or compile a sum of it")
    return y


def output_names(formula: Formula, structure: Any, outputs: Sequence[Expr]) -> list[str]:
    """A buffer's name for every output: no input's, and none twice."""
    taken = {s.name for s in formula.inputs}
    if isinstance(structure, dict) and len(structure) == len(outputs):
        wanted = [key if isinstance(key, str) and key.isidentifier() else f"value{k}" for k, key in enumerate(structure)]
    else:
        wanted = ["value"] if len(outputs) == 1 else [f"value{k}" for k in range(len(outputs))]
    return [fresh_name(name, taken) for name in wanted]


def _wrt_names(formula: Formula, prefix: str) -> list[str]:
    taken = {s.name for s in formula.inputs} | {"value"}
    return [fresh_name(prefix + (w.name if "name" in w.params else f"node{k}"), taken) for k, w in enumerate(formula.wrt)]


def fresh_name(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    taken.add(name)
    return name
