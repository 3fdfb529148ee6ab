"""THEMES: the colours of pictures, on light and on dark ground. Contrast of text is at least 4.5 (WCAG 2.2, AA)."""

from __future__ import annotations

import os
from dataclasses import dataclass

__all__ = ["Theme", "theme_named"]


@dataclass(frozen=True)
class Theme:
    """``ground``, ``ink`` and two weaker inks; ``fills``: kind of a box → (fill, border); ``layer``: (fill, border) of a group; ``curves``:
    colours of curves and classes; ``ramp``: between two classes; ``depth``: low to high over a plane; ``arrow``: in front of it."""

    name: str
    ground: str
    ink: str
    muted: str
    faint: str
    layer: tuple[str, str]
    fills: dict[str, tuple[str, str]]
    curves: tuple[str, ...]
    ramp: tuple[str, str, str]
    depth: tuple[str, ...]
    arrow: str


LIGHT = Theme(
    name="light", ground="#ffffff", ink="#1f2933", muted="#5b6875", faint="#c9d1d9", layer=("#f4f6f8", "#c9d1d9"),
    fills={
        "input": ("#e3eefa", "#2f6db5"), "parameter": ("#e2f2e8", "#2f8553"), "constant": ("#eef0f2", "#7a8793"),
        "operation": ("#ffffff", "#7a8793"), "gradient": ("#fdeadd", "#c75b1b"), "elided": ("#f4f6f8", "#7a8793"),
    },
    curves=("#2f6db5", "#d9641f", "#3d9a5f", "#9a5bb5", "#b08c14", "#2f9da3", "#c2487c", "#7a7f87", "#8c6d46", "#5c6bc0"),
    ramp=("#a9c6e8", "#f7f7f5", "#f6c9a8"), depth=("#2b5c94", "#6fa3d2", "#bcd8ec", "#f6efdf", "#f3c08b", "#dd7d3b"), arrow="#1f2933",
)  # fmt: skip
DARK = Theme(
    name="dark", ground="#14181d", ink="#e6eaee", muted="#a3aeb9", faint="#3d4752", layer=("#1b2128", "#3d4752"),
    fills={
        "input": ("#17324f", "#6fa8e6"), "parameter": ("#173a28", "#63c48c"), "constant": ("#262d35", "#8994a0"),
        "operation": ("#20262d", "#8994a0"), "gradient": ("#47290f", "#f0975a"), "elided": ("#1b2128", "#8994a0"),
    },
    curves=("#6fa8e6", "#f0975a", "#63c48c", "#c08be0", "#dcb843", "#58c4ca", "#ee7fac", "#aab2bb", "#c9a578", "#95a2f0"),
    ramp=("#23517f", "#20262d", "#7d4519"), depth=("#0f2440", "#1d4a78", "#2f7a8f", "#5a8f5a", "#b08a2e", "#d9773a"), arrow="#f0f3f6",
)  # fmt: skip


def theme_named(name: str | None = None) -> Theme:
    """"light" or "dark"; ``None``: what the environment's ``SYMGRAD_THEME`` says, light by default. ``ValueError`` for others."""
    named = name if name is not None else os.environ.get("SYMGRAD_THEME") or "light"
    for theme in (LIGHT, DARK):
        if theme.name == named:
            return theme
    raise ValueError(f"a theme is 'light' or 'dark', not {named!r}{' (SYMGRAD_THEME)' if name is None else ''}")
