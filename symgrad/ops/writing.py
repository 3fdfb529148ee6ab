"""Pieces of text that the op records of several families share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["call_latex"]


def call_latex(name: str) -> Any:
    r"""``\operatorname{name}\left(a, b\right)``."""

    def latex(strings: Sequence[str], params: Any) -> str:
        return f"\\operatorname{{{name}}}\\left({', '.join(strings)}\\right)"

    return latex
