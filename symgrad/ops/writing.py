"""Pieces of text that the op records of several families share: brackets, axes, call forms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["as_atom", "as_factor", "axes_text", "call_latex", "reduction_latex", "reduction_text"]


def _outside_brackets(text: str) -> str:
    """The characters that stand in no bracket."""
    kept, depth = [], 0
    for c in text:
        if c in "([{":
            depth += 1
        elif c in ")]}":
            depth -= 1
        elif depth == 0:
            kept.append(c)
    return "".join(kept)


def _wrapped(text: str, latex: bool) -> str:
    return f"\\left({text}\\right)" if latex else f"({text})"


def as_atom(text: str, latex: bool = False) -> str:
    """In brackets, unless a postfix (``.T``, ``[i]``) binds to all of it anyway."""
    outside = _outside_brackets(text)
    return _wrapped(text, latex) if any(c in outside for c in " +-*/@<>=&|~^") else text


def as_factor(text: str, latex: bool = False) -> str:
    """In brackets where it could not stand in a product."""
    outside = _outside_brackets(text)
    loose = outside.startswith(("-", "~")) or any(f" {c}" in outside for c in "+-<>=&|")
    return _wrapped(text, latex) if loose else text


def axes_text(axes: Sequence[int]) -> str:
    return str(axes[0]) if len(axes) == 1 else f"({', '.join(map(str, axes))})"


def reduction_text(name: str) -> Any:
    """``sum(x)`` over all axes, ``sum(x, axis=-1)``, ``sum(x, axis=(-2, -1), keepdims=True)``."""

    def text(strings: Sequence[str], params: Any) -> str:
        axes = params.get("axes", (params["axis"],) if "axis" in params else ())
        parts = [strings[0]]
        if axes:
            parts.append(f"axis={axes_text(axes)}")
        parts.extend(f"{flag}=True" for flag in ("keepdims", "reverse") if params.get(flag))
        return f"{name}({', '.join(parts)})"

    return text


def reduction_latex(symbol: str) -> Any:
    r"""``\sum_{-1} x``: the axes below the symbol."""

    def latex(strings: Sequence[str], params: Any) -> str:
        axes = params.get("axes", (params["axis"],) if "axis" in params else ())
        below = f"_{{{', '.join(map(str, axes))}}}" if axes else ""
        return f"{symbol}{below} {as_atom(strings[0], latex=True)}"

    return latex


def call_latex(name: str) -> Any:
    r"""``\operatorname{name}\left(a, b\right)``."""

    def latex(strings: Sequence[str], params: Any) -> str:
        return f"\\operatorname{{{name}}}\\left({', '.join(strings)}\\right)"

    return latex
