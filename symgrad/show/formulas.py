"""FORMULAS: several named expressions, one a line, what they share written once in front."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from symgrad.expr import Expr
from symgrad.show.latex import BRACKETS, aligned, latex_layout, latex_name
from symgrad.show.layout import Layout, Script
from symgrad.show.text import text_layout

__all__ = ["Formulas"]


class Formulas(dict[str, Expr]):
    """Gradients by name: a dict that prints one ``dL/dw = …`` a line.

    ``formulas``: name → expression. ``of``: what is differentiated, the ``L`` of ``dL/dw``; empty for updates of names,
    ``w ← …``, where the name may stand on the right, too; ``None`` where the names are derivatives already, ``dp/da``.

    >>> import symgrad as sg
    >>> a, b, c = sg.symbols("a b c")
    >>> print(Formulas({"a": b + c, "b": a}))
    dL/da = b + c
    dL/db = a
    """

    def __init__(self, formulas: Mapping[str, Expr], of: str | None = "L") -> None:
        super().__init__(formulas)
        self.of = of

    def __str__(self) -> str:
        script = self._script(text_layout)
        lines = [f"{script.names[d]} = {script.write(d)}" for d in script.definitions]
        heads = {name: f"{name} =" if self.of is None else f"d{self.of}/d{name} =" if self.of else f"{name} ←" for name in self}
        return "\n".join([*lines, *(f"{heads[name]} {script.write(e, whole=False)}" for name, e in self.items())])

    __repr__ = __str__

    def _script(self, layout: Callable[[Expr], Layout], brackets: tuple[str, str] = ("(", ")")) -> Script:
        """The formulas in a notation; in both the same parts have the same names. In updates ``W1`` stands on the right, too."""
        reserved = () if self.of else self
        updates = self.of == ""
        return Script(list(self.values()), layout, brackets, binding=text_layout, reserved=reserved, heads=self, updates=updates)

    def latex(self) -> str:
        """The lines as LaTeX, aligned, without delimiters."""
        script = self._script(latex_layout, BRACKETS)
        lines = [(latex_name(script.names[d]), script.write(d, latex_name), "=") for d in script.definitions]
        for name, e in self.items():
            above, below = (self.of, name) if self.of is not None else (part[1:] for part in name.split("/", 1))
            left = rf"\frac{{\partial {latex_name(above)}}}{{\partial {latex_name(below)}}}" if above else latex_name(name)
            lines.append((left, script.write(e, latex_name, whole=False), "=" if above else r"\leftarrow"))
        return aligned(lines)

    def _repr_latex_(self) -> str:
        return f"$\\displaystyle {self.latex()}$"
