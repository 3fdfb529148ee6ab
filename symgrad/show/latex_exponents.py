r"""LATEX EXPONENTS: what stands raised is low: ``x^{1/n - 1}``, and what is too tall for that, ``\exp`` is written of."""

from __future__ import annotations

from symgrad.expr import Expr
from symgrad.show.latex_words import latex_number
from symgrad.show.layout import ANY, Alternative, Piece, is_scalar_constant, leads_negative, seen

__all__ = ["is_tall", "slashed"]

_NODES = 40


def slashed(exponent: Expr, terms: int = 3) -> list[Piece]:
    """An exponent, in which simple fractions have a slash: ``1/n - 1``."""
    e = seen(exponent)
    plain: list[Piece]
    top = seen(e.args[0]) if e.op.name == "div" else e
    if e.op.name == "div" and _is_letter(top.args[0] if top.op.name == "neg" else top) and _is_letter(seen(e.args[1])):
        plain = [(top, ANY), "/", (e.args[1], ANY)]
    elif terms and _has_fractions(e):
        if seen(e.args[1]).op.name in ("add", "sub"):
            return [(e, ANY)]
        plain = [*slashed(e.args[0], terms - 1), " + " if e.op.name == "add" else " - ", *slashed(e.args[1], 0)]
    elif e.op.name == "neg" and seen(e.args[0]).op.name == "div":
        plain = ["-", *slashed(e.args[0], 0)]
    else:
        return [(e, ANY)]
    return [Alternative(e, [(e, ANY)], plain)]


def _has_fractions(e: Expr) -> bool:
    """Whether it is a sum with a term that is a fraction."""
    if e.op.name not in ("add", "sub") or e.shape or leads_negative(e.args[1]):
        return False
    return any(seen(a).op.name == "div" for a in e.args)


def _is_letter(e: Expr) -> bool:
    if e.op.name == "pow" and is_scalar_constant(e.args[1]):
        e = seen(e.args[0])
    return e.op.name in ("symbol", "size") or (is_scalar_constant(e) and latex_number(e.params["value"]).isdigit())


def is_tall(x: Expr) -> bool:
    """Whether there is a fraction inside of something else than a plain fraction, or very much."""
    waiting = [(x, False)]
    for _ in range(_NODES):
        if not waiting:
            return False
        e, inside = waiting.pop()
        e = seen(e)
        if e.op.name == "div" and inside:
            return True
        waiting += [(a, inside or e.op.name not in ("add", "sub", "neg")) for a in e.args]
    return True
