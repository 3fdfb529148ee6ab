"""EXPLAIN: the chain rule of an expression, step by step, as text, LaTeX, Markdown and HTML."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from symgrad import dims
from symgrad.errors import ShapeError
from symgrad.expr import Expr, as_expr, free_symbols, topological
from symgrad.show.changes import Change, legend
from symgrad.show.derivation import Derivation, Step, derive
from symgrad.show.explain_html import as_html
from symgrad.show.explain_latex import as_latex, as_markdown
from symgrad.show.explain_words import FLAT, Notation, chain_lines, cost_words, flat_lines, is_defined_by_steps, title_words, values_of
from symgrad.show.formulas import Formulas
from symgrad.show.point import Point, expression_of, point_of
from symgrad.show.point_table import shown
from symgrad.show.text import text
from symgrad.show.wrap import coloured, terminal_width, wrapped

__all__ = ["Explanation", "explain"]


def explain(y: Any, /, wrt: Any = None, values: Mapping[Any, Any] | None = None, **point: Any) -> Explanation:
    """Why the derivative is what it is: the chain rule step by step, then what simplification made of it.

    ``y``: a scalar expression, or a compiled ``Function`` of one. ``wrt``: a symbol, an intermediate node, a name, or several of them;
    all real symbols by default.
    ``point``: a number or array for each symbol, to have numbers beside the symbols; ``values``: the same as a mapping, for names
    that are no Python keywords. Raises ``ShapeError`` where ``y`` is no scalar, ``ValueError`` for a ``wrt`` that does not occur,
    ``TypeError`` for a missing or unknown name of the point.

    >>> import symgrad as sg
    >>> w, x = sg.symbols("w x")
    >>> print(sg.explain(sg.tanh(w*x), w))
    y = tanh(w*x), differentiated by w
    <BLANKLINE>
    Steps
      u1 = w*x
      y = tanh(u1)
    <BLANKLINE>
    Chain rule, from y back
      dy/du1 = ∂y/∂u1
             = 1 - y**2
      dy/dw = dy/du1 · ∂u1/∂w
            = dy/du1 · x
    <BLANKLINE>
    Put together: 6 operations
      dy/dw = 1*(1 - y**2)*x
    <BLANKLINE>
    Simplified
      dy/dw = (1 - y**2)*x   [multiply by 1]
            = x*(1 - y**2)   [conventional order]
    <BLANKLINE>
    Result: 5 operations
      dy/dw = x*(1 - tanh(w*x)**2)
    """
    root = expression_of("explain", y)
    if root.shape != ():
        shape = dims.format_shape(root.shape)
        raise ShapeError(f"explain: the expression has shape {shape}, only a scalar has a gradient: take a sum or one of its elements")
    targets = _targets(root, wrt)
    where = point_of("explain", root, values, point) if point or values else None
    known = (where.values, where.gradients) if where is not None else (None, None)
    return Explanation(derive(root, targets, *known), where)


def _targets(y: Expr, wrt: Any) -> list[Expr]:
    symbols = {s.name: s for s in free_symbols(y)}
    if wrt is None:
        targets: list[Any] = [s for s in symbols.values() if s.kind == "real"]
    elif isinstance(wrt, (str, Expr)):
        targets = [wrt]
    elif isinstance(wrt, Iterable):
        targets = list(wrt.values()) if isinstance(wrt, Mapping) else list(wrt)
    else:
        raise TypeError(f"explain: differentiates by a symbol, a node, a name, or several of them, not by {wrt!r}")
    nodes = topological(y)
    named = {n.name: n for n in nodes if n.op.name == "named"} | symbols
    present, found = set(nodes), []
    for target in targets:
        if isinstance(target, str) and target not in named:
            raise ValueError(f"explain: nothing is named {target!r} here; named are {', '.join(named) or 'none'}")
        node = named[target] if isinstance(target, str) else as_expr(target)
        if node.kind != "real":
            raise TypeError(f"explain: a derivative with respect to {node.kind} values does not exist")
        if node not in present:
            name = repr(node.name) if node.op.name == "symbol" else f"the {node.op.name} node of shape {dims.format_shape(node.shape)}"
            raise ValueError(f"explain: {name} does not occur in the expression; its symbols are {', '.join(symbols) or 'none'}")
        found.append(node)
    if not found:
        raise ValueError("explain: there is nothing to differentiate by")
    return list(dict.fromkeys(found))


class Explanation:
    """What :func:`explain` returns.

    Prints as text (``rich.print`` in colours), in a notebook as a table on light or dark ground; :meth:`latex` and :meth:`markdown`
    for papers and pages. ``steps``: the nodes between ``wrt`` and the expression, with ``name``, ``formula``, ``terms``, ``value``
    and ``gradient``; ``changes``: rules applied, one by one; ``gradients``: name → derivative as it is compiled; ``point``: the
    :class:`Point`, or ``None``.
    """

    def __init__(self, derivation: Derivation, point: Point | None) -> None:
        self.derivation, self.point = derivation, point

    @property
    def steps(self) -> list[Step]:
        return self.derivation.steps

    @property
    def changes(self) -> list[Change]:
        return self.derivation.changes

    @property
    def gradients(self) -> Formulas:
        d = self.derivation
        return Formulas({s.name: e for s, e in zip(d.wrt, d.final, strict=True)}, of=d.label, written=[d.expr])

    def text(self, width: int | None = None) -> str:
        """The explanation as plain text; lines are broken at ``width`` columns where they can be."""
        return "\n".join(wrapped(line, width, _below(line)) for line in self._lines(width))

    def _lines(self, width: int | None) -> Iterator[str]:
        d = self.derivation
        yield from _heading(d, self.point)
        computed = [s for s in d.steps if not s.is_input]
        yield from ("", "Steps") if computed else ()
        for s, line in _with_values(computed, [f"  {s.name} = {_one_line(s.formula)}" for s in computed]):
            yield line
            yield from (f"  {extra}" for extra in _parts_of(s))
        values = values_of(d, self.point)
        chain = [chain_lines(s, d, _TEXT, values) for s in reversed(d.steps) if s.adjoint is not None]
        yield from ("", f"Chain rule, from {d.label} back") if any(chain) else ()
        for equalities in chain:
            if equalities:
                wide = len(equalities[0].head)
                yield from (f"  {e.head:{wide}} = {e.body}" for e in equalities)
        if flat := flat_lines(d, _TEXT):
            yield f"  {', '.join(flat)}: {FLAT}"
        yield from ("", f"Put together: {cost_words(d.before, d.expr)}")
        yield from _indented(d.put_together().text())
        yield from _simplified(d, width)
        yield from ("", f"Result: {cost_words(d.after, d.expr)}")
        yield from _indented(self.gradients.text())
        if self.point is not None:
            yield from (f"  d{d.label}/d{s.name} = {shown(s.gradient)} at the point" for s in d.wrt)

    def __str__(self) -> str:
        return self.text(terminal_width())

    __repr__ = __str__

    def latex(self) -> str:
        """The derivation as one aligned block, without delimiters."""
        return as_latex(self.derivation, self.gradients, self.point)

    def markdown(self) -> str:
        """A page with headings and formulas between ``$$``."""
        return as_markdown(self.derivation, self.gradients, self.point)

    def _repr_html_(self) -> str:
        return as_html(self.derivation, self.gradients, self.point)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/plain": self.text(), "text/html": self._repr_html_(), "text/markdown": self.markdown()}

    def __rich_console__(self, console: Any, options: Any) -> Iterator[Any]:
        for line in self.text(options.max_width).split("\n"):
            yield coloured(line, heading=not line.startswith(" "))


def _below(line: str) -> int:
    """Where the rest of a broken line begins: behind its sign."""
    sign, own = line.find(" = "), len(line) - len(line.lstrip())
    return own + 1 if line[own : own + 1] == "[" else sign + 3 if 0 <= sign < 24 else own + 4


def _heading(d: Derivation, point: Point | None) -> Iterator[str]:
    *parts, last = text(d.expr).split("\n")
    by = f"differentiated by {', '.join(f'{s.name}{title_words(s, _one_line)}' for s in d.wrt)}"
    if d.expr.op.name == "symbol" or is_defined_by_steps(d):
        yield f"{d.label}, {by}"
    elif parts or d.expr.op.name == "named":
        yield f"{d.label}, {by}, where"
        yield from (f"  {p}" for p in parts)
        yield f"  {last}" if d.expr.op.name == "named" else f"  {d.label} = {last}"
    else:
        yield f"{d.label} = {last}, {by}"
    if point is not None:
        yield "at " + ", ".join(f"{s.name} = {shown(v, brief=True)}" for s, v in ((s, point.values[s]) for s in point.inputs))


def _simplified(d: Derivation, width: int | None) -> Iterator[str]:
    """What the rules did: line by line with the rules at the right, or below where there is no room; else rule by rule."""
    if d.rewritings:
        yield from ("", "Simplified")
        rows = [
            (f"  {'' if k else r.name:{len(r.name)}} = {_one_line(e)}", ", ".join(rules))
            for r in d.rewritings
            for k, (rules, e) in enumerate(r.lines)
        ]
        column = max(len(line) for line, _ in rows) + 3
        beside = width is None or column + max(len(words) for _, words in rows) + 2 <= width
        for line, words in rows:
            if beside:
                yield f"{line:{column}}[{words}]"
            else:
                yield from (line, f"{' ' * (line.index(' = ') + 3)}[{words}]")
    elif d.changes:
        words = legend(d.changes)
        yield from ("", f"Simplified ({words})" if words else "Simplified")
        yield from (f"  {c.rule}{f' ({c.times} times)' if c.times > 1 else ''}: {c.before} → {c.after}" for c in d.changes)


def _one_line(e: Expr) -> str:
    return text(e, check=False).split("\n")[-1]


_TEXT = Notation(_one_line, lambda a, b: f"∂{a}/∂{b}", shown, " · ", " ⊙ ")


def _parts_of(step: Step) -> list[str]:
    """Lines in front of a step's formula where it is long."""
    return text(step.formula, check=False).split("\n")[:-1]


def _with_values(steps: Sequence[Step], lines: Sequence[str]) -> Iterator[tuple[Step, str]]:
    """The steps' lines with their values in a column."""
    wide = max((len(line) for line in lines if len(line) <= 48), default=0)
    for step, line in zip(steps, lines, strict=True):
        yield step, f"{line:{wide}}   {shown(step.value)}".rstrip()


def _indented(lines: str) -> Iterator[str]:
    yield from (f"  {line}" for line in lines.split("\n"))
