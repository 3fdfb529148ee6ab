"""One training step as a person reads it: the update formula of every parameter, and what was compiled."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

from symgrad.expr import Expr

__all__ = ["Step", "UpdateFormulas"]


class UpdateFormulas(Mapping[str, Expr]):
    """Name → the next value of that parameter or state, as an expression.

    Prints one ``name ← formula`` a line; parts that formulas share stand in front, once. LaTeX in a notebook.
    """

    def __init__(self, formulas: Mapping[str, Expr]) -> None:
        self._formulas = dict(formulas)

    def __getitem__(self, name: str) -> Expr:
        return self._formulas[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._formulas)

    def __len__(self) -> int:
        return len(self._formulas)

    def __str__(self) -> str:
        from symgrad.show.layout import Script
        from symgrad.show.text import text_layout

        script = Script(list(self.values()), text_layout, reserved=self)
        shared = [f"{script.names[d]} = {script.write(d)}" for d in script.definitions]
        return "\n".join([*shared, *(f"{name} ← {script.write(e)}" for name, e in self.items())])

    def __repr__(self) -> str:
        return str(self)

    def _repr_latex_(self) -> str:
        from symgrad.show.latex import BRACKETS, latex_layout, latex_name
        from symgrad.show.layout import Script

        script = Script(list(self.values()), latex_layout, BRACKETS, reserved=self)
        lines = [(latex_name(script.names[d]), "=", script.write(d, latex_name)) for d in script.definitions]
        lines += [(latex_name(name), r"\leftarrow", script.write(e, latex_name)) for name, e in self.items()]
        body = " \\\\\n".join(f"{name} &{sign} {formula}" for name, sign, formula in lines)
        return f"$\\displaystyle \\begin{{aligned}}\n{body}\n\\end{{aligned}}$"


class Step:
    """What one update does. ``loss``: the expression. ``timings``: seconds of each stage of compiling. ``cached``: whether
    the disk cache answered. ``schedule``: the kernels, in words."""

    def __init__(self, loss: Expr, following: Mapping[str, Expr], states: Mapping[str, Expr], loop: Any) -> None:
        self.loss = loss
        self._following, self._states, self._loop = dict(following), dict(states), loop

    @cached_property
    def formulas(self) -> UpdateFormulas:
        """The update of every parameter, then of the optimizer's states, simplified as they were compiled."""
        from symgrad.simplify import simplify

        named = {**self._following, **self._states}
        return UpdateFormulas(dict(zip(named, simplify(list(named.values())), strict=True)))

    @property
    def timings(self) -> dict[str, float]:
        return dict(self._loop.timings)

    @property
    def cached(self) -> bool:
        return bool(self._loop.cached)

    @property
    def schedule(self) -> tuple[str, ...]:
        return tuple(self._loop.schedule)
