"""TEXT: a formula as text becomes an expression, by a grammar of our own (nothing is ever evaluated).

    formula    := operand (operator operand)*
    operand    := ("-" | "+" | "~")* (number | name | call | "(" formula ")") postfix*
    call       := function "(" argument ("," argument)* ")"        argument := [keyword "="] value
    postfix    := "[" item ("," item)* "]" | ".T"                  item := formula | slice | "None" | "..."
    value      := formula | "[" value, … "]" (of numbers: a tensor) | "(" value, … ")" | "None" | "True" | "False" | quoted text

Binding, strongest first: ``** ^`` (to the right; both are powers) · ``- + ~`` in front · ``* / // % @`` · ``+ -`` ·
comparisons (never chained) · ``&`` · ``|``. Python binds ``&`` and ``|`` before comparisons; every text in which
the two readings give different formulas that both make sense is refused.

The parser keeps explicit stacks of operators and operands, so depth costs no Python stack.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any, NoReturn

import numpy as np

from symgrad.errors import ParseError, ShapeError
from symgrad.expr import METHODS, OPS, Expr, apply, constant, symbol

__all__ = ["parse"]

MAX_CHARACTERS = 8_000_000
MAX_TOKENS = 1_000_000
MAX_INTEGER_BITS = 1100  # more than float64 holds: such a power of whole numbers is refused before it is computed

_TOKEN = re.compile(
    r"""(?P<number>(?:[0-9]+(?:\.(?!\.)[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)
      | (?P<name>[^\W\d]\w*)
      | (?P<quoted>'[^'\\\n]*'|"[^"\\\n]*")
      | (?P<sign>\.\.\.|\*\*|//|<=|>=|==|!=|[-+*/%^@<>&|~()\[\],:=.])""",
    re.VERBOSE,
)
_SPACE = re.compile(r"\s*")

# operator: (binding strength, METHODS entry or function it builds)
_BINARY: dict[str, tuple[int, str]] = {
    "**": (90, "pow"),  "^": (90, "pow"),
    "*": (70, "mul"),   "/": (70, "div"),  "//": (70, "floordiv"), "%": (70, "mod"), "@": (70, "matmul"),
    "+": (60, "add"),   "-": (60, "sub"),
    "<": (50, "less"),  "<=": (50, "less_equal"), ">": (50, "greater"), ">=": (50, "greater_equal"),
    "==": (50, "equal"), "!=": (50, "not_equal"),
    "&": (30, "logical_and"), "|": (20, "logical_or"),
}  # fmt: skip
_PREFIX = {"-": "neg", "+": "", "~": "logical_not"}
_PREFIX_STRENGTH = 80
_COMPARISON = 50
_WORDS: dict[str, Any] = {"None": None, "True": True, "False": False}
_CLOSING = {"(": ")", "[": "]"}
_WHERE = "where(condition, a, b)"
_PYTHON_WORDS = {"and": "&", "or": "|", "not": "~", "if": _WHERE, "else": _WHERE, "is": "==", "for": "", "in": ""}


class _Operator:
    """An operator that waits for its right operand."""

    __slots__ = ("at", "build", "prefix", "sign", "strength")

    def __init__(self, sign: str, strength: int, build: str, prefix: bool, at: int) -> None:
        self.sign, self.strength, self.build, self.prefix, self.at = sign, strength, build, prefix, at


class _Bracket:
    """An open bracket: of a group, a list, a call or an index."""

    __slots__ = ("at", "base", "items", "keyword", "keywords", "kind", "pieces", "sign")

    def __init__(self, kind: str, sign: str, at: int, base: Any = None) -> None:
        self.kind, self.sign, self.at, self.base = kind, sign, at, base
        self.items: list[Any] = []
        self.pieces: list[int | None] = []  # of the slice that is being read
        self.keyword: str | None = None
        self.keywords: dict[str, Any] = {}


def parse(text: str, shapes: Mapping[str, Any] | None = None) -> Expr:
    """A formula from text.

    ``text``: numbers, names, ``+ - * / // % ** ^ @``, comparisons, ``& | ~``, calls such as ``sum(x, axis=0)``,
    brackets, ``x[0, 1:3]``, ``x.T``. ``pi`` and the functions of ``sg`` are known, every other name is a symbol.
    ``shapes``: name to shape (a tuple as in :func:`symbol`), or to the expression that the name stands for.

    Raises :class:`ParseError` with the column and a caret, :class:`ShapeError` where shapes do not fit,
    and ``TypeError`` for anything but a ``str``.

    >>> import symgrad as sg
    >>> sg.parse("x**2 + 1").free_symbols == {sg.symbol("x")}
    True
    >>> sg.parse("tanh(w*x + b)", shapes={"x": ("n", 2)}).shape
    ('n', 2)
    """
    if not isinstance(text, str):
        raise TypeError(f"a formula is a str, not {type(text).__name__}")
    if len(text) > MAX_CHARACTERS:
        raise ParseError(f"a text of {len(text)} characters is too long, {MAX_CHARACTERS} are allowed")
    return _Parser(text, shapes or {}).run()


class _Parser:
    def __init__(self, text: str, shapes: Mapping[str, Any]) -> None:
        self.text = text
        self.shapes = shapes
        self.dotted = sorted((name for name in shapes if "." in name), key=len, reverse=True)
        self.functions = _functions()
        self.symbols: dict[str, Expr] = {}
        self.values: list[Any] = []
        self.stack: list[_Operator | _Bracket] = []
        self.count = 0
        self.next = 0  # where the next token is looked for
        self.advance()

    # --- tokens -------------------------------------------------------------------------------------

    def advance(self) -> None:
        """Reads one token: its kind ("number", "name", "quoted", "sign" or "end"), its text and its place."""
        space = _SPACE.match(self.text, self.next)
        assert space is not None
        self.at = space.end()
        if self.at == len(self.text):
            self.kind, self.token = "end", ""
            self.at = max(space.start(), 0)
            return
        match = _TOKEN.match(self.text, self.at)
        if match is None:
            self.fail(f"unexpected character {self.text[self.at]!a}", self.at)
        self.kind, self.token, self.next = str(match.lastgroup), match.group(), match.end()
        self.count += 1
        if self.count > MAX_TOKENS:
            self.fail(f"the formula is too long: more than {MAX_TOKENS} numbers, names and signs", self.at)

    def follows(self, sign: str) -> bool:
        """Whether the text behind the token begins with this sign."""
        space = _SPACE.match(self.text, self.next)
        assert space is not None
        return self.text.startswith(sign, space.end())

    def fail(self, message: str, at: int) -> NoReturn:
        raise ParseError(message, self.text, at + 1)

    def found(self) -> str:
        return "the text ends" if self.kind == "end" else f"found {_quote(self.token)}"

    # --- the machine: operand, operator, operand, … ---------------------------------------------------

    def run(self) -> Expr:
        operand_expected = True
        while True:
            if operand_expected:
                operand_expected = self.read_operand()
            elif self.kind == "end":
                break
            else:
                operand_expected = self.read_operator()
        self.reduce(0)
        if self.stack:
            bracket = self.stack[-1]
            self.fail(f"the bracket {bracket.sign!r} is never closed", bracket.at)
        return self.expression(self.values[-1], 0)

    def read_operand(self) -> bool:
        """One token where a value must begin; true if a value is still expected behind it."""
        kind, token, at = self.kind, self.token, self.at
        if kind == "number":
            self.values.append(self.number(token, at))
        elif kind == "name":
            return self.read_name(token, at)
        elif kind == "quoted" and self.stack:
            self.values.append(token[1:-1])
        elif token in _PREFIX:
            self.stack.append(_Operator(token, _PREFIX_STRENGTH, _PREFIX[token], True, at))
            self.advance()
            return True
        elif token in _CLOSING:
            self.stack.append(_Bracket("group" if token == "(" else "list", token, at))
            self.advance()
            return True
        elif token == "..." and self.in_index():
            self.values.append(Ellipsis)
        else:
            return self.read_gap()
        self.advance()
        return False

    def read_gap(self) -> bool:
        """A sign where a value could stand: an empty slice bound, an empty list, or a mistake."""
        top = self.stack[-1] if self.stack else None
        if isinstance(top, _Bracket):
            if self.token == ":" and top.kind == "index":
                self.add_piece(top, None)
                self.advance()
                return True
            if self.token == "," and top.pieces:
                self.finish_item(top, None, self.at)
                self.advance()
                return True
            if self.token == _CLOSING[top.sign] and top.keyword is None and (top.kind != "index" or top.pieces or top.items):
                if not top.pieces:
                    return self.close(top, trailing=True)
                self.finish_item(top, None, self.at)
                return self.close(top, trailing=False)
        if self.kind == "end" and isinstance(top, _Bracket):
            self.fail(f"the bracket {top.sign!r} is never closed", top.at)
        self.fail(f"a number, a name or a bracket is expected, {self.found()}", self.at)

    def read_name(self, name: str, at: int) -> bool:
        for dotted in self.dotted:
            if self.text.startswith(dotted, at) and not re.match(r"\w", self.text[at + len(dotted) : at + len(dotted) + 1]):
                self.next = at + len(dotted)
                self.values.append(self.symbol(dotted, at))
                self.advance()
                return False
        top = self.stack[-1] if self.stack else None
        if isinstance(top, _Bracket) and top.kind == "call" and self.follows("=") and not self.follows("=="):
            if top.keyword is not None or name in top.keywords:
                self.fail(f"the argument {_quote(name)} is given twice", at)
            top.keyword = name
            self.advance()
            self.advance()
            return True
        if self.follows("("):
            if name not in self.functions:
                self.fail(f"unknown function {_quote(name)}; the nearest known one is {_nearest(name, self.functions)!r}", at)
            self.advance()
            self.stack.append(_Bracket("call", "(", self.at, (name, self.functions[name], at)))
            self.advance()
            return True
        self.values.append(self.symbol(name, at))
        self.advance()
        return False

    def read_operator(self) -> bool:
        """One token behind a value; true if a value must follow."""
        kind, token, at = self.kind, self.token, self.at
        if token in _BINARY and kind == "sign":
            self.push(token, at)
            self.advance()
            return True
        if token in (",", ")", "]", ":"):
            return self.read_separator(token, at)
        if token == "[":
            self.stack.append(_Bracket("index", "[", at, self.expression(self.values.pop(), at)))
            self.advance()
            return True
        if token == ".":
            self.advance()
            if self.kind != "name" or self.token != "T":
                self.fail(f"only .T may follow a dot, {self.found()}", self.at if self.kind != "end" else at)
            self.values[-1] = self.build(lambda: self.expression(self.values[-1], at).T, ".T", at)
            self.advance()
            return False
        self.fail_between(kind, token, at)

    def fail_between(self, kind: str, token: str, at: int) -> NoReturn:
        if token == "=":
            self.fail("one '=' assigns, which a formula cannot do; '==' compares", at)
        if token in _PYTHON_WORDS:
            hint = _PYTHON_WORDS[token]
            self.fail(f"{token!r} is not part of a formula" + (f": write {hint}" if hint else ""), at)
        if kind in ("number", "name") or token == "(":
            self.fail(f"an operator is missing before {_quote(token)}; a product is written with '*'", at)
        self.fail(f"an operator is expected, {self.found()}", at)

    def read_separator(self, token: str, at: int) -> bool:
        self.reduce(0)
        top = self.stack[-1] if self.stack else None
        if not isinstance(top, _Bracket):
            self.fail(f"{token!r} without an open bracket" if token in ")]" else f"unexpected {token!r}", at)
        if token == ":":
            if top.kind != "index":
                self.fail("unexpected ':', slices stand in x[…]", at)
            self.add_piece(top, self.bound(self.values.pop(), at))
            self.advance()
            return True
        if token != "," and token != _CLOSING[top.sign]:
            self.fail(f"the bracket {top.sign!r} is closed by {token!r}", at)
        self.finish_item(top, self.values.pop(), at)
        if token == ",":
            self.advance()
            return True
        return self.close(top, trailing=False)

    # --- operators -----------------------------------------------------------------------------------

    def push(self, sign: str, at: int) -> None:
        strength, build = _BINARY[sign]
        # ** waits for what stands to its right, all others go from left to right
        last = self.reduce(strength + 1 if strength in (90, _COMPARISON) else strength)
        if strength == _COMPARISON:
            top = self.stack[-1] if self.stack else None
            if isinstance(top, _Operator) and top.strength == _COMPARISON:
                self.fail(f"comparisons cannot be chained: write (a {top.sign} b) & (b {sign} c)", at)
            if last is not None and last.prefix and last.sign == "~":
                self.fail("'~' before a comparison has two readings: write ~(a < b)", last.at)
        self.stack.append(_Operator(sign, strength, build, False, at))

    def reduce(self, strength: int) -> _Operator | None:
        """Builds what the waiting operators at least this strong give; the last one built."""
        last = None
        while self.stack:
            top = self.stack[-1]
            if isinstance(top, _Bracket) or top.strength < strength:
                break
            last = top
            self.stack.pop()
            b = self.expression(self.values.pop(), top.at)
            if not top.prefix:
                b = self.binary(top, self.expression(self.values.pop(), top.at), b)
            elif top.build:
                b = self.build(partial(METHODS[top.build], b), top.sign, top.at)
            self.values.append(b)
        return last

    def binary(self, operator: _Operator, a: Expr, b: Expr) -> Expr:
        if _is_integer(a) and _is_integer(b) and operator.build in ("add", "sub", "mul", "pow"):
            return self.whole_numbers(operator, int(a), int(b))
        function = METHODS.get(operator.build) or self.functions[operator.build]
        return self.build(lambda: function(a, b), operator.sign, operator.at)

    def whole_numbers(self, operator: _Operator, a: int, b: int) -> Expr:
        """Arithmetic of whole numbers is exact, or refused: never wrapped around, never of unbounded size."""
        if operator.build == "pow":
            if b < 0:
                if a == 0:
                    self.fail("zero to a negative power", operator.at)
                return constant(float(a) ** b)
            if abs(a) > 1 and b * (abs(a).bit_length() - 1) > MAX_INTEGER_BITS:
                self.fail(f"this power of whole numbers is too large; {_digits(a)}.0{operator.sign}… computes it as a float", operator.at)
            value = a**b
        else:
            value = a + b if operator.build == "add" else a - b if operator.build == "sub" else a * b
        try:
            return constant(value)
        except OverflowError:
            self.fail("this whole number is too large to be kept exactly; write a decimal point for a float", operator.at)

    # --- brackets ------------------------------------------------------------------------------------

    def in_index(self) -> bool:
        top = self.stack[-1] if self.stack else None
        return isinstance(top, _Bracket) and top.kind == "index"

    def add_piece(self, top: _Bracket, value: int | None) -> None:
        top.pieces.append(value)
        if len(top.pieces) > 2:
            self.fail("a slice has at most a start, a stop and a step", self.at)

    def bound(self, value: Any, at: int) -> int | None:
        if value is None:
            return None
        if isinstance(value, Expr) and _is_integer(value):
            return int(value)
        self.fail("the bounds of a slice are whole numbers", at)

    def finish_item(self, top: _Bracket, value: Any, at: int) -> None:
        """What stood between two separators goes into the bracket."""
        if top.kind == "index":
            if top.pieces:
                top.pieces.append(self.bound(value, at))
                top.items.append(slice(*top.pieces))
                top.pieces = []
                return
            if isinstance(value, str):
                self.fail("text cannot be an index", at)
        if top.keyword is not None:
            top.keywords[top.keyword] = _plain(value)
            top.keyword = None
        elif top.keywords:
            self.fail("an argument without a keyword follows one with a keyword", at)
        elif top.kind == "group":
            top.items.append(value)  # a group of one keeps the expression itself
        else:
            top.items.append(_plain(value))

    def close(self, top: _Bracket, trailing: bool) -> bool:
        self.stack.pop()
        items = top.items
        value: Any
        if top.kind == "call":
            name, function, at = top.base
            if (first := _SIZES.get(name)) is not None:
                items[first:] = map(_size, items[first:])
            value = self.build(lambda: function(*items, **top.keywords), name, at)
        elif top.kind == "index":
            index = tuple(items) if trailing or len(items) > 1 else items[0]
            value = self.build(lambda: top.base[_index(index)], "[…]", top.at)
        elif top.kind == "list":
            value = items
        elif len(items) == 1 and not trailing:
            value = items[0]
        else:
            value = tuple(_plain(i) for i in items)
        self.values.append(value)
        self.advance()
        return False

    def build(self, make: Callable[[], Any], what: str, at: int) -> Expr:
        """What a builder gives, its refusals with the place in the text."""
        try:
            value = make()
        except (ParseError, ShapeError):
            raise
        except (TypeError, ValueError, ArithmeticError, LookupError) as error:
            self.fail(f"{what}: {error}", at)
        return self.expression(value, at)

    # --- operands ------------------------------------------------------------------------------------

    def expression(self, value: Any, at: int) -> Expr:
        if isinstance(value, Expr):
            return value
        if isinstance(value, list):
            return self.array(value, at)
        what = "a list in round brackets" if isinstance(value, tuple) else "text" if isinstance(value, str) else repr(value)
        self.fail(f"{what} is not a value of a formula, only an argument", at)

    def array(self, value: list[Any], at: int) -> Expr:
        """A list of numbers is a constant tensor."""
        try:
            return constant(np.array(value))
        except (TypeError, ValueError, OverflowError):
            self.fail("a list in a formula holds numbers, in rows of one length; of formulas write stack([…])", at)

    def number(self, token: str, at: int) -> Expr:
        if token.isdigit():
            digits = token.lstrip("0") or "0"
            try:
                if len(digits) > 310:
                    raise OverflowError
                return constant(int(digits))
            except OverflowError:
                self.fail(f"a whole number of {len(digits)} digits is too large to be kept exactly; write a decimal point for a float", at)
        value = float(token)
        if math.isinf(value):
            self.fail("this number is larger than any float64", at)
        return constant(value)

    def symbol(self, name: str, at: int) -> Any:
        if name in self.symbols:
            return self.symbols[name]
        given = self.shapes.get(name)
        try:
            if isinstance(given, Expr):
                value = given
            elif name in self.shapes:
                value = symbol(name, given)
            elif name in _WORDS:
                word = _WORDS[name]
                return word if word is None else constant(word)
            elif name == "pi":
                value = constant(math.pi)
            elif name in self.functions:
                self.fail(f"{name!r} is a function: write {name}(…), or give its shape to make it a symbol", at)
            else:
                value = symbol(name)
        except (ParseError, ShapeError):
            raise
        except ValueError as error:
            self.fail(str(error), at)
        self.symbols[name] = value
        return value


_SIZES = {"arange": 0, "eye": 0, "broadcast_to": 1, "reshape": 1, "one_hot": 1}  # from which argument on there are sizes


def _size(value: Any) -> Any:
    """A size as builders take it: ``n`` is the named dimension, ``2*n`` twice as much."""
    if isinstance(value, tuple):
        return tuple(map(_size, value))
    return str(value) if isinstance(value, Expr) and not value.shape and value.op.name != "constant" else value


def _plain(value: Any) -> Any:
    """A scalar constant as the Python number that builders take for axes and sizes; anything else as it is."""
    if isinstance(value, Expr) and value.op.name == "constant" and not value.shape:
        return value.params["value"]
    return value


def _index(index: Any) -> Any:
    if isinstance(index, tuple):
        return tuple(np.asarray(i) if isinstance(i, list) else i for i in index)
    return np.asarray(index) if isinstance(index, list) else index


def _is_integer(value: Expr) -> bool:
    return value.op.name == "constant" and value.kind == "integer" and not value.shape


def _quote(token: str) -> str:
    return ascii(token if len(token) <= 40 else token[:37] + "...") if not token.isprintable() or len(token) > 40 else repr(token)


def _digits(number: int) -> str:
    return str(number) if abs(number) < 10**6 else "base"


def _nearest(name: str, known: Mapping[str, Any]) -> str:
    import difflib  # slow to import, and only a mistake needs it

    return difflib.get_close_matches(name[:64], list(known), n=1, cutoff=0.0)[0]


def _functions() -> dict[str, Callable[..., Any]]:
    """What can be called: the public functions of ``ops``, those of matrices, and elementwise ops that users defined."""
    known = dict(_own_functions())
    for name, op in OPS.items():
        if name not in known and op.family == "elementwise" and op.arity and name not in METHODS:
            known[name] = _builder(name)
    return known


@cache
def _own_functions() -> dict[str, Callable[..., Any]]:
    from symgrad import ops
    from symgrad.ops.linalg import MATRIX_FUNCTIONS

    public = {name: getattr(ops, name) for name in ops.__all__ if name not in _NOT_FUNCTIONS}
    return {name: f for name, f in public.items() if callable(f)} | MATRIX_FUNCTIONS


_NOT_FUNCTIONS = frozenset({"define_op", "Op"})


def _builder(name: str) -> Callable[..., Expr]:
    return lambda *operands, **params: apply(OPS[name], *operands, **params)
