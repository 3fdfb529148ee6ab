"""CSV files with a header, read with errors that name line and column."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Table", "numeric_columns", "read_csv"]


@dataclass
class Table:
    """The cells of a CSV file as text. ``lines``: the line of the file on which each row begins."""

    path: str
    header: list[str]
    rows: list[list[str]]
    lines: list[int]

    def resolve(self, target: str | None) -> str:
        """The name of the target column: as given, or the last one."""
        if target is None:
            return self.header[-1]
        if target not in self.header:
            raise ValueError(f"{self.path}: no column {target!r}; the header has {', '.join(self.header)}")
        return target

    def column(self, name: str) -> list[str]:
        """The texts of one column, none of them missing."""
        k = self.header.index(name)
        for row, line in zip(self.rows, self.lines, strict=True):
            if row[k].lower() in _MISSING:
                raise ValueError(f"{self.path}, line {line}, column {name!r}: missing value")
        return [row[k] for row in self.rows]


_MISSING = ("", "na", "n/a", "nan", "null", "none", "?")


def read_csv(path: str) -> Table:
    """The table in a CSV file (UTF-8, comma, semicolon or tab, first line the header).

    Raises ``ValueError`` with the line for what is no such table; ``OSError`` where the file cannot be read.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            text = file.read()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 text (byte {error.start})") from None
    if "\0" in text:
        raise ValueError(f"{path}: not a text file (it has a zero byte)")
    first = text.lstrip("\r\n").partition("\n")[0]
    if not first.strip():
        raise ValueError(f"{path}: empty file")
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(text.splitlines(keepends=True), delimiter=delimiter, skipinitialspace=True, strict=True)
    header: list[str] = []
    rows: list[list[str]] = []
    lines: list[int] = []
    begun = 1
    try:
        for cells in reader:
            line, begun = begun, reader.line_num + 1
            cells = [c.strip() for c in cells]
            if not any(cells):
                continue
            if not header:
                header = _check_header(path, cells)
            elif len(cells) != len(header):
                raise ValueError(f"{path}, line {line}: {len(cells)} cells, the header has {len(header)}")
            else:
                rows.append(cells)
                lines.append(line)
    except csv.Error as error:
        raise ValueError(f"{path}, line {reader.line_num}: {error}") from None
    if not rows:
        raise ValueError(f"{path}: no rows of data below the header")
    return Table(path, header, rows, lines)


def _check_header(path: str, cells: list[str]) -> list[str]:
    for k, name in enumerate(cells, start=1):
        if _number(name) is not None:
            raise ValueError(f"{path}, line 1, column {k}: {name!r} is a number; the first line must be a header with names")
        if not name:
            raise ValueError(f"{path}, line 1, column {k}: a column without a name")
        if cells.index(name) != k - 1:
            raise ValueError(f"{path}, line 1, column {k}: a second column named {name!r}")
    return cells


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def numeric_columns(table: Table, names: list[str]) -> np.ndarray[Any, Any]:
    """Columns as float64, (rows, columns). Raises ``ValueError`` naming line and column of a cell that is no finite number."""
    result = np.empty((len(table.rows), len(names)))
    for j, name in enumerate(names):
        for i, text in enumerate(table.column(name)):
            value = _number(text)
            if value is None or not math.isfinite(value):
                problem = "text; only numbers can be inputs" if value is None else "not finite"
                raise ValueError(f"{table.path}, line {table.lines[i]}, column {name!r}: {text!r} is {problem}")
            result[i, j] = value
    return result
