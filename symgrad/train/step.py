"""One training step as a person reads it: the update formula of every parameter, and how it was compiled."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from symgrad.expr import Expr
from symgrad.show import Formulas

__all__ = ["Step"]


class Step:
    """What one update does. ``loss``: the expression. ``timings``: seconds of each stage of compiling. ``cached``: whether
    the disk cache answered. ``schedule``: the kernels, in words."""

    def __init__(self, loss: Expr, following: Mapping[str, Expr], states: Mapping[str, Expr], loop: Any) -> None:
        self.loss = loss
        self._following, self._states, self._loop = dict(following), dict(states), loop

    @cached_property
    def formulas(self) -> Formulas:
        """Name → update, of every parameter and then of the optimizer's states, simplified as they were compiled.

        Prints one ``name ← formula`` a line; parts that they share stand in front, once. LaTeX in a notebook.
        """
        from symgrad.simplify import simplify
        from symgrad.simplify.islands import WORTH

        named = {**self._following, **self._states}
        return Formulas(dict(zip(named, simplify(list(named.values()), worth=WORTH), strict=True)), of="")

    @property
    def timings(self) -> dict[str, float]:
        return dict(self._loop.timings)

    @property
    def cached(self) -> bool:
        return bool(self._loop.cached)

    @property
    def schedule(self) -> tuple[str, ...]:
        return tuple(self._loop.schedule)
