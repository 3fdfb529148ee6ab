"""FORMULAS: several named expressions, one a line, what they share written once in front."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

from symgrad.expr import Expr
from symgrad.show.large import counted_operations, is_large, shown_lines
from symgrad.show.latex import BRACKETS, aligned, latex_layout, latex_name, part_name
from symgrad.show.layout import Layout, Script
from symgrad.show.reading import settled
from symgrad.show.text import text_layout
from symgrad.show.wrap import coloured, terminal_width, wrapped

__all__ = ["Formulas"]


class Formulas(dict[str, Expr]):
    """Gradients by name: a dict that prints one ``dL/dw = …`` a line.

    ``formulas``: name → expression. ``of``: what is differentiated, the ``L`` of ``dL/dw``; empty for updates of names,
    ``w ← …``, where the name may stand on the right, too; ``None`` where the names are derivatives already, ``dp/da``. ``reserved``:
    names that shared parts must not get. ``written``: what was differentiated: products that do not occur in it come in the conventional
    order. ``raw``: every product as it is computed.

    >>> import symgrad as sg
    >>> a, b, c = sg.symbols("a b c")
    >>> print(Formulas({"a": b + c, "b": a}))
    dL/da = b + c
    dL/db = a
    """

    def __init__(
        self, formulas: Mapping[str, Expr], of: str | None = "L", reserved: Iterable[str] = (), written: Sequence[Expr] | None = None,
        raw: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(formulas)
        self.of = of
        self.reserved = frozenset(reserved)
        self.written, self.raw = written, raw

    @cached_property
    def _read(self) -> dict[str, Expr]:
        """The formulas in the form in which they are written."""
        roots = list(self.values())
        if self.raw:
            return dict(self)
        return dict(zip(self, settled(roots, self.written, text_layout), strict=True))

    def text(self, width: int | None = None) -> str:
        """The lines as plain text; those longer than ``width`` columns are broken where they can be."""
        return "\n".join(wrapped(line, width) for line in self._lines())

    def _lines(self) -> list[str]:
        script = self._script(text_layout)
        lines = [f"{script.names[d]} = {script.write(d)}" for d in script.definitions]
        heads = {name: f"{name} =" if self.of is None else f"d{self.of}/d{name} =" if self.of else f"{name} ←" for name in self}
        return [*lines, *(f"{heads[name]} {script.write(e, whole=False)}" for name, e in self._read.items())]

    def __str__(self) -> str:
        return self.text(terminal_width())

    def __repr__(self) -> str:
        roots = list(self.values())
        return shown_lines(self._lines(), counted_operations(roots) if is_large(roots) else "")

    def __rich_console__(self, console: Any, options: Any) -> Iterator[Any]:
        for line in self.text(options.max_width).split("\n"):
            yield coloured(line)

    def _script(self, layout: Callable[[Expr], Layout], brackets: tuple[str, str] = ("(", ")")) -> Script:
        """The formulas in a notation; in both the same parts have the same names. In updates ``W1`` stands on the right, too."""
        reserved = self.reserved if self.of else {*self.reserved, *self}
        updates = self.of == ""
        roots = list(self._read.values())
        return Script(roots, layout, brackets, binding=text_layout, reserved=reserved, heads=self._read, updates=updates)

    def latex(self) -> str:
        """The lines as LaTeX, aligned, without delimiters."""
        script = self._script(latex_layout, BRACKETS)
        lines = [(latex_name(script.names[d]), script.write(d, part_name), "=") for d in script.definitions]
        for name, e in self._read.items():
            above, below = (self.of, name) if self.of is not None else (part[1:] for part in name.split("/", 1))
            left = rf"\frac{{\partial {latex_name(above)}}}{{\partial {latex_name(below)}}}" if above else latex_name(name)
            lines.append((left, script.write(e, part_name, whole=False), "=" if above else r"\leftarrow"))
        return aligned(lines)

    def _repr_latex_(self) -> str | None:
        """For a notebook; ``None`` for large ones, which it then shows as text."""
        return None if is_large(list(self.values())) else f"$\\displaystyle {self.latex()}$"
