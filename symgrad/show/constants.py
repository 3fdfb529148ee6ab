"""CONSTANTS: numbers that people know by another name than their digits, as text and as LaTeX.

A number is recognised only if what is written gives back its every bit.
"""

from __future__ import annotations

import math
from functools import cache
from typing import NamedTuple

__all__ = ["Known", "known"]


class Known(NamedTuple):
    """How a number is written: ``form`` is ``"a/b"`` (a quotient) or ``"a"`` (a function), as text and LaTeX."""

    text: str
    latex: str
    quotient: bool


_SURDS = (
    ("sqrt(2)", r"\sqrt{2}", math.sqrt(2)),
    ("sqrt(3)", r"\sqrt{3}", math.sqrt(3)),
    ("sqrt(pi)", r"\sqrt{\pi}", math.sqrt(math.pi)),
    ("sqrt(2*pi)", r"\sqrt{2 \pi}", math.sqrt(2 * math.pi)),
    ("sqrt(2/pi)", r"\sqrt{\frac{2}{\pi}}", math.sqrt(2 / math.pi)),
    ("log(2)", r"\log 2", math.log(2)),
    ("log(10)", r"\log 10", math.log(10)),
    ("log(2*pi)", r"\log(2 \pi)", math.log(2 * math.pi)),
    ("exp(1)", "e", math.e),
)


@cache
def _table() -> dict[float, Known]:
    table: dict[float, Known] = {}
    for text, latex, value in _SURDS:
        table[value] = Known(text, latex, False)
        for over in (1, 2):
            table.setdefault(over / value, Known(f"{over}/{text}", rf"\frac{{{over}}}{{{latex}}}", True))
        table.setdefault(value / 2, Known(f"{text}/2", rf"\frac{{{latex}}}{{2}}", True))
    for multiple in (2, 3, 4, 8):
        table.setdefault(multiple * math.pi, Known(f"{multiple}*pi", rf"{multiple} \pi", True))
    for above in (1, 3):
        for times in (1, 2, 4, 8, 16):
            below, sign = ("pi", r"\pi") if times == 1 else (f"({times}*pi)", rf"{times} \pi")
            table.setdefault(above / (times * math.pi), Known(f"{above}/{below}", rf"\frac{{{above}}}{{{sign}}}", True))
    for part in (2, 3, 4, 6, 8, 180):
        table.setdefault(math.pi / part, Known(f"pi/{part}", rf"\frac{{\pi}}{{{part}}}", True))
    for bottom in (3, 6, 7, 9):
        for top in range(1, 2 * bottom):
            if math.gcd(top, bottom) == 1:
                table.setdefault(top / bottom, Known(f"{top}/{bottom}", rf"\frac{{{top}}}{{{bottom}}}", True))
    return table


def known(value: float) -> Known | None:
    """The other name of a positive real number, or ``None``.

    >>> known(0.3989422804014327).text
    '1/sqrt(2*pi)'
    """
    return _table().get(value) if type(value) is float else None
