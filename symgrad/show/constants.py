"""CONSTANTS: numbers that people know by another name than their digits, as text and as LaTeX.

A number is recognised only if what is written gives back its every bit.
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import cache
from typing import NamedTuple

__all__ = ["Known", "known"]


class Known(NamedTuple):
    """How a number is written, as text and LaTeX, and whether that is a quotient; and what it is: ``times`` the values of ``above``
    over those of ``below``, numbers that have no plainer form."""

    text: str
    latex: str
    quotient: bool
    times: Fraction = Fraction(1)
    above: tuple[float, ...] = ()
    below: tuple[float, ...] = ()


_SURDS = (
    ("sqrt(2)", r"\sqrt{2}", math.sqrt(2)),
    ("sqrt(3)", r"\sqrt{3}", math.sqrt(3)),
    ("sqrt(pi)", r"\sqrt{\pi}", math.sqrt(math.pi)),
    ("sqrt(2*pi)", r"\sqrt{2 \pi}", math.sqrt(2 * math.pi)),
    ("sqrt(2/pi)", r"\sqrt{\frac{2}{\pi}}", math.sqrt(2 / math.pi)),
    ("log(2)", r"\log(2)", math.log(2)),
    ("log(10)", r"\log(10)", math.log(10)),
    ("log(2*pi)", r"\log(2 \pi)", math.log(2 * math.pi)),
    ("exp(1)", "e", math.e),
)
_LARGEST_RADICAND = 1000


@cache
def _table() -> dict[float, Known]:
    table: dict[float, Known] = {math.pi: Known("pi", r"\pi", False, above=(math.pi,))}
    for text, latex, value in _SURDS:
        table[value] = Known(text, latex, False, above=(value,))
        for over in (1, 2):
            table.setdefault(over / value, Known(f"{over}/{text}", rf"\frac{{{over}}}{{{latex}}}", True, Fraction(over), below=(value,)))
        table.setdefault(value / 2, Known(f"{text}/2", rf"\frac{{{latex}}}{{2}}", True, Fraction(1, 2), above=(value,)))
    for multiple in (2, 3, 4, 6, 8):
        table.setdefault(multiple * math.pi, Known(f"{multiple}*pi", rf"{multiple} \pi", True, Fraction(multiple), above=(math.pi,)))
    for over in (1, 2, 3):
        for times in (1, 2, 3, 4, 8, 16):
            if math.gcd(over, times) == 1:
                below, sign = ("pi", r"\pi") if times == 1 else (f"({times}*pi)", rf"{times} \pi")
                written = Known(f"{over}/{below}", rf"\frac{{{over}}}{{{sign}}}", True, Fraction(over, times), below=(math.pi,))
                table.setdefault(over / (times * math.pi), written)
    for over, part in ((2, 3), (4, 3), (5, 3), (3, 2), (3, 4), (5, 2)):
        fraction = Known(f"{over}/{part}*pi", rf"\frac{{{over}}}{{{part}}} \pi", True, Fraction(over, part), above=(math.pi,))
        table.setdefault(over / part * math.pi, fraction)
        table.setdefault(over * math.pi / part, fraction._replace(text=f"{over}*pi/{part}", latex=rf"\frac{{{over} \pi}}{{{part}}}"))
    for part in (2, 3, 4, 6, 8, 180):
        table.setdefault(math.pi / part, Known(f"pi/{part}", rf"\frac{{\pi}}{{{part}}}", True, Fraction(1, part), above=(math.pi,)))
    for bottom in (3, 6, 7, 9):
        for top in range(1, 2 * bottom):
            if math.gcd(top, bottom) == 1:
                table.setdefault(top / bottom, Known(f"{top}/{bottom}", rf"\frac{{{top}}}{{{bottom}}}", True, Fraction(top, bottom)))
    return table


def known(value: float) -> Known | None:
    """The other name of a positive real number, or ``None``.

    >>> known(0.3989422804014327).text, known(1 / 8**0.5).text
    ('1/sqrt(2*pi)', '1/sqrt(8)')
    """
    if type(value) is not float:
        return None
    return _table().get(value) or _root(value)


def _root(value: float) -> Known | None:
    """``sqrt(n)`` or ``1/sqrt(n)`` of a whole number, if every bit is that."""
    if not 1 / _LARGEST_RADICAND <= value * value <= _LARGEST_RADICAND or value.is_integer():
        return None
    for radicand, below in ((round(value * value), False), (round(1 / (value * value)), True)):
        root = math.sqrt(radicand)
        if radicand > 1 and not root.is_integer() and value == (1 / root if below else root):
            text, latex = f"sqrt({radicand})", rf"\sqrt{{{radicand}}}"
            if below:
                return Known(f"1/{text}", rf"\frac{{1}}{{{latex}}}", True, below=(root,))
            return Known(text, latex, False, above=(root,))
    return None
