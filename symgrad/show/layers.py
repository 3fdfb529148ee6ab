"""LAYERS: which nodes of an expression make up the layers of a network, read off the names and shapes of its parameters.

A layer begins with a product with a matrix that has a number (``W2``) or a place (``hidden.W``) in its name; what is made of its
result alone, or with its own parameters, belongs to it. Networks of :mod:`symgrad.nn` and those written by hand look alike.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

from symgrad.expr import Expr

__all__ = ["layers", "layers_backward"]

_Key = tuple[bytes, str]  # the network that a parameter belongs to, and the layer's place in it


def layers(order: Sequence[Expr]) -> dict[Expr, str]:
    """The name of each node's layer; nodes outside of layers are left out. ``order``: operands first."""
    weights = {a: key for n in order if n.op.name == "contract" for a in n.args if a.ndim == 2 and (key := _place(a)) is not None}
    known = set(weights.values())
    parameters = {n: key for n in order if (key := _place(n)) in known and key is not None}
    found: dict[Expr, _Key] = dict(parameters)
    for node in order:
        if node.op.name in ("symbol", "constant") or (node.op.family == "reduce" and not node.shape) or node.op.name == "mean":
            continue
        own = {parameters[a] for a in node.args if a in parameters}
        others = [a for a in node.args if a not in parameters and a.op.name != "constant"]
        if len(own) == 1 and others:
            found[node] = own.pop()
        elif not own and others and len({found.get(a) for a in others}) == 1 and others[0] in found:
            found[node] = found[others[0]]
    names = _names(found)
    return {node: names[key] for node, key in found.items()} if len(names) > 1 else {}


def layers_backward(
    order: Sequence[Expr], layers: Mapping[Expr, str], forward: Collection[Expr], wrt: Mapping[Expr, Expr]
) -> dict[Expr, str]:
    """The layers of what only derivatives need: what a layer's parameters get, and what nothing but lower layers uses besides.

    ``layers``: those of the ``forward`` nodes; ``wrt``: derivative → what it is by.
    """
    place = {name: k for k, name in enumerate(dict.fromkeys(layers[n] for n in order if n in forward and n in layers))}
    name_at = list(place)
    found = {e: place[layers[w]] for e, w in wrt.items() if w in layers and e not in forward}
    for node in reversed(order):
        if node in found and node.args:
            for a in node.args:
                if a not in forward and a.args:
                    found[a] = max(found.get(a, 0), found[node])
    return {node: f"{name_at[k]}, backward" for node, k in found.items()}


def _place(e: Expr) -> _Key | None:
    """``W2`` → "2", ``actor.b1`` → "actor 1", ``hidden.W`` → "hidden"; ``None`` for what is no parameter's name."""
    if e.op.name != "symbol" or not e.shape:
        return None
    scope, _, last = e.name.rpartition(".")
    number = re.fullmatch(r"[^\W\d]+?_?(\d+)", last)
    place = " ".join(part for part in (scope, number[1] if number else "") if part)
    return (e.params.get("tag", b""), place) if place else None


def _names(found: Mapping[Expr, _Key]) -> dict[_Key, str]:
    """``layer 1``, ``actor, layer 1``, ``hidden``."""
    names = {}
    for key in dict.fromkeys(found.values()):
        scope, _, number = key[1].rpartition(" ")
        names[key] = f"{scope}, layer {number}".removeprefix(", ") if number.isdecimal() else key[1]
    return names
