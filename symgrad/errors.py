"""What symgrad raises: one place, so that a caller can catch by meaning."""

from __future__ import annotations

__all__ = ["CacheWarning", "MissingDependencyError", "NonFiniteError", "ParseError", "ShapeError"]


class ShapeError(ValueError):
    """Shapes, axes or sizes do not fit; the message names the operation and the shapes."""


class ParseError(ValueError):
    """A text is not a formula. ``column`` is 1-based; the message shows a caret under the place."""

    def __init__(self, message: str, text: str = "", column: int = 1) -> None:
        self.text, self.column = text, column
        start = max(0, column - 40)
        excerpt = "".join(c if c.isprintable() else "?" for c in text[start : column + 40])
        caret = "" if not text else f"\n  {excerpt}\n  {' ' * (column - 1 - start)}^"
        super().__init__(f"{message} (column {column}){caret}")

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild_parse_error, (self.args[0], self.text, self.column))


def _rebuild_parse_error(message: str, text: str, column: int) -> ParseError:
    error = ParseError.__new__(ParseError)
    ValueError.__init__(error, message)
    error.text, error.column = text, column
    return error


class NonFiniteError(ArithmeticError):
    """A value turned NaN or infinite where that must not happen (a loss while training)."""


class MissingDependencyError(ImportError):
    """An optional package is absent; the message says what to install."""


class CacheWarning(UserWarning):
    """The disk cache cannot be used; symgrad works without it."""
