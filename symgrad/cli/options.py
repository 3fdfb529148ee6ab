"""What options say, as Python values: shapes, symbols, points, numbers, ranges.

What cannot be read is a ``ValueError`` that names the option.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

__all__ = ["absent", "number_of", "point_of", "range_of", "shapes_of", "targets_of", "values_of"]


def shapes_of(given: Sequence[str]) -> dict[str, tuple[Any, ...]]:
    """``x=n,2`` as ``{"x": ("n", 2)}``."""
    shapes: dict[str, tuple[Any, ...]] = {}
    for text in given:
        name, equals, entries = text.partition("=")
        if not equals or not name.strip():
            raise ValueError(f"--shape {text!r}: write NAME=SIZES, as in x=n,2")
        sizes = [e.strip() for e in entries.strip().strip("()").split(",") if e.strip()]
        shapes[name.strip()] = tuple(int(e) if e.isdecimal() else e for e in sizes)
    return shapes


def targets_of(expr: Any, names: str | None) -> list[Any]:
    """The symbols named in ``--wrt a,b``; all real ones without it."""
    known = {s.name: s for s in expr.free_symbols}
    listed = ", ".join(known) or "none"
    if names is None:
        targets = [s for s in known.values() if s.kind == "real"]
        if not targets:
            raise ValueError("the expression has no symbol to differentiate by")
        return targets
    wanted = list(dict.fromkeys(n.strip() for n in names.split(",") if n.strip()))
    if not wanted:
        raise ValueError(f"--wrt {names!r}: write names, separated by commas; the symbols are {listed}")
    unknown = [n for n in wanted if n not in known]
    if unknown:
        near = "".join(f" (did you mean {n}?)" for n in get_close_matches(unknown[0], known, n=1))
        raise ValueError(f"--wrt {names}: {absent(unknown)}{near}; its symbols are {listed}")
    return [known[n] for n in wanted]


def absent(names: Sequence[str]) -> str:
    return f"{', '.join(names)} {'does' if len(names) == 1 else 'do'} not occur in the expression"


def values_of(option: str, given: str | None) -> dict[str, Any]:
    """``x=2,w=-pi/2,v=[1,2]`` as numbers and arrays by name."""
    found: dict[str, Any] = {}
    for text in _parts(given or ""):
        name, equals, value = (part.strip() for part in text.partition("="))
        if not (name and equals and value):
            if given is None:
                continue
            raise ValueError(f"{option} {given}: write NAME=VALUE, separated by commas, as in x=2,w=-3 or v=[1,2]")
        if name in found:
            raise ValueError(f"{option} {given}: {name} is given twice")
        found[name] = _array(option, value) if value.startswith("[") else number_of(option, value)
    return found


def point_of(expr: Any, given: str | None) -> dict[str, Any]:
    """The values of ``--at`` for all symbols of an expression, none where it is not given."""
    values = values_of("--at", given)
    known = [s.name for s in expr.free_symbols]
    unknown, missing = [n for n in values if n not in known], [n for n in known if n not in values]
    if unknown:
        raise ValueError(f"--at {given}: {absent(unknown)}; its symbols are {', '.join(known) or 'none'}")
    if missing and given is not None:
        raise ValueError(f"--at {given}: no value for {', '.join(missing)}")
    return values


def _parts(text: str) -> list[str]:
    """What stands between commas that are in no brackets."""
    parts, depth = [""], 0
    for c in text:
        depth += (c == "[") - (c == "]")
        if c == "," and depth <= 0:
            parts.append("")
        else:
            parts[-1] += c
    return parts


def _array(option: str, text: str) -> Any:
    """``[[1,2],[3,4]]`` as nested lists of numbers."""
    if not text.endswith("]") or text.count("[") != text.count("]"):
        raise ValueError(f"{option}: {text} is no array: write [1,2] or [[1,2],[3,4]]")
    parts = [part.strip() for part in _parts(text[1:-1])]
    items = [_array(option, part) if part.startswith("[") else number_of(option, part) for part in parts if part or len(parts) > 1]
    if len({_size(item) for item in items}) > 1:
        raise ValueError(f"{option}: {text} is no array: its rows have different lengths")
    return items


def _size(item: Any) -> int:
    return len(item) if isinstance(item, list) else -1


def number_of(option: str, text: str) -> float:
    """A number, or a formula of numbers: ``-pi/2``."""
    import symgrad as sg

    if text.strip().lstrip("+-") in ("inf", "nan"):
        return float(text)
    number = sg.parse(text) if text.strip() else None
    if number is None or number.op.name != "constant" or number.shape:
        raise ValueError(f"{option}: {text.strip() or 'nothing'} is not a number")
    return float(number)


def range_of(given: str, free: Sequence[str]) -> tuple[str, tuple[float, float]]:
    """``x=-5,5``, or ``-5,5`` for the only variable."""
    name, equals, ends = given.rpartition("=")
    numbers = ends.split(",")
    if len(numbers) != 2 or (equals and not name.strip()):
        raise ValueError(f"--range {given}: write NAME=FROM,TO, as in x=-5,5")
    if not equals and len(free) != 1:
        raise ValueError(f"--range {given}: of which variable? Write NAME=FROM,TO; the symbols are {', '.join(free) or 'none'}")
    return name.strip() or free[0], (number_of("--range", numbers[0]), number_of("--range", numbers[1]))
