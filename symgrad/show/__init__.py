"""SHOW: expressions as text, as LaTeX, and at a point."""

from __future__ import annotations

from symgrad.show.text import text

__all__ = ["text"]
