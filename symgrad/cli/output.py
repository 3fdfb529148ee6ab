"""What commands print and write: in colours and at its width on a terminal, plain where standard output is none, and into files."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

import click

__all__ = ["FORMS", "WRITERS", "ending", "page", "print_explanation", "print_formulas", "print_outline", "print_program", "save", "written"]


def written(value: Any, indent: int) -> str:
    """A number with all its digits, an array with six, below each other behind the sign."""
    if isinstance(value, float):
        return f"{value:.15g}"
    import numpy as np

    return np.array2string(value, separator=", ", precision=6, prefix=" " * indent)


FORMS = {".txt": "text", ".md": "markdown", ".tex": "latex", ".html": "html"}
WRITERS: dict[str, Callable[[Any], str]] = {
    "text": lambda e: e.text(), "markdown": lambda e: e.markdown(), "latex": lambda e: e.latex(), "html": lambda e: e._repr_html_(),
}  # fmt: skip


def ending(path: str) -> str:
    return os.path.splitext(path)[1].lower()


def page(explanation: Any) -> str:
    """The explanation as a page of its own, on light or dark ground as the reader has it."""
    head = '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<meta name="viewport" content="width=device-width">\n'
    style = "<style>:root{color-scheme:light dark}body{max-width:60em;margin:2em auto;padding:0 1em}</style>\n"
    return f"{head}<title>Derivation</title>\n{style}{explanation._repr_html_()}\n</html>"


def save(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(text.rstrip("\n") + "\n")


def print_explanation(explanation: Any, form: str) -> None:
    if form == "text":
        print_formulas(explanation)
    else:
        click.echo(WRITERS[form](explanation))


def print_formulas(shown: Any) -> None:
    """In colours and at the terminal's width; plain, one line a formula, where standard output is no terminal."""
    if sys.stdout.isatty():
        from rich.console import Console

        Console(highlight=False, soft_wrap=True).print(shown)
    else:
        click.echo(shown.text())


def print_outline(drawing: Any) -> None:
    """In colours, lines cut at the terminal's width: their branches would not survive being wrapped."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    shown = Text(drawing.outline(console.width))
    for pattern, style in ((r"[│├└─]+", "dim"), (r"\b(data|grad|read by)\b", "dim"), (r"(?m)\([^()\n]*,[^()\n]*\)(?=$|  )", "cyan"),
                           (r"\bd[^ ()]+/d[^ ]+ =", "bold yellow")):
        shown.highlight_regex(pattern, style)
    console.print(shown, no_wrap=True, overflow="ellipsis")


def print_program(program: str, language: str) -> None:
    """In colours, lines as long as they are: a terminal breaks what does not fit, and copies it whole."""
    from rich.console import Console
    from rich.syntax import Syntax

    written = Syntax(program, language, theme="ansi_dark", background_color="default").highlight(program)
    Console(highlight=False, soft_wrap=True).print(written, end="")
