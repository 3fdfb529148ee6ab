"""The commands, their options, and how errors are told: one line on standard error, exit status 2 (130 for Ctrl-C)."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from typing import Any, NoReturn

import click

__all__ = ["cli", "main"]


class _Commands(click.Group):
    """Commands in the order in which a newcomer wants them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


class _OnFormula(click.Command):
    """A command whose argument is a formula: ``-x**2`` is one, not an option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        takes = {text: not getattr(p, "is_flag", False) and not getattr(p, "count", False) for p in self.get_params(ctx) for text in p.opts}
        rest = args[args.index("--") + 1 :] if "--" in args else []
        before: list[str] = []
        formulas: list[str] = []
        value = False  # of the option before
        for text in args[: len(args) - len(rest) - ("--" in args)]:
            formula = not value and text.startswith("-") and not text.startswith("--") and text not in takes
            (formulas if formula else before).append(text)
            value = not value and takes.get(text, False)
        return super().parse_args(ctx, [*before, "--", *formulas, *rest] if formulas or rest else before)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="symgrad")
def cli() -> None:
    """Symbolic gradients that you can read, compiled to native code.

    \b
    symgrad grad "tanh(w*x + b)" --wrt w,b     the derivatives, as formulas
    symgrad draw "tanh(w*x + b)" -o graph.svg  the graph; without -o, an outline
    symgrad plot "x**3 - 3*x" -o curve.png     the curve and its derivative
    symgrad explain "tanh(w*x + b)" --wrt w    why they are what they are, step by step
    symgrad source "tanh(w*x + b)"             the generated program
    symgrad train moons                        train a network; see its formulas, scores and pictures
    """


def _shapes(given: Sequence[str]) -> dict[str, tuple[Any, ...]]:
    """``x=n,2`` as ``{"x": ("n", 2)}``."""
    shapes: dict[str, tuple[Any, ...]] = {}
    for text in given:
        name, equals, entries = text.partition("=")
        if not equals or not name.strip():
            raise ValueError(f"--shape {text!r}: write NAME=SIZES, as in x=n,2")
        sizes = [e.strip() for e in entries.strip().strip("()").split(",") if e.strip()]
        shapes[name.strip()] = tuple(int(e) if e.isdecimal() else e for e in sizes)
    return shapes


def _wrt(expr: Any, names: str | None) -> list[Any]:
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
        raise ValueError(f"--wrt {names}: {_absent(unknown)}{near}; its symbols are {listed}")
    return [known[n] for n in wanted]


def _absent(names: Sequence[str]) -> str:
    return f"{', '.join(names)} {'does' if len(names) == 1 else 'do'} not occur in the expression"


def _values(option: str, given: str | None) -> dict[str, Any]:
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
        found[name] = _array(option, value) if value.startswith("[") else _number(option, value)
    return found


def _point(expr: Any, given: str | None) -> dict[str, Any]:
    """The values of ``--at`` for all symbols of an expression, none where it is not given."""
    values = _values("--at", given)
    known = [s.name for s in expr.free_symbols]
    unknown, missing = [n for n in values if n not in known], [n for n in known if n not in values]
    if unknown:
        raise ValueError(f"--at {given}: {_absent(unknown)}; its symbols are {', '.join(known) or 'none'}")
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
    items = [_array(option, part) if part.startswith("[") else _number(option, part) for part in parts if part or len(parts) > 1]
    if len({_size(item) for item in items}) > 1:
        raise ValueError(f"{option}: {text} is no array: its rows have different lengths")
    return items


def _size(item: Any) -> int:
    return len(item) if isinstance(item, list) else -1


def _number(option: str, text: str) -> float:
    """A number, or a formula of numbers: ``-pi/2``."""
    import symgrad as sg

    if text.strip().lstrip("+-") in ("inf", "nan"):
        return float(text)
    number = sg.parse(text) if text.strip() else None
    if number is None or number.op.name != "constant" or number.shape:
        raise ValueError(f"{option}: {text.strip() or 'nothing'} is not a number")
    return float(number)


_SHAPE = click.option("--shape", "shapes", multiple=True, metavar="NAME=SIZES", help="A symbol's shape, as in x=n,2 (repeatable).")
_DTYPE = click.option("--dtype", type=click.Choice(["float64", "float32"]), default="float64", show_default=True)


@cli.command(cls=_OnFormula)
@click.argument("expression")
@click.option("--wrt", metavar="NAMES", help="Symbols, separated by commas; by default all.")
@click.option("--latex", is_flag=True, help="LaTeX instead of text.")
@click.option("--steps", is_flag=True, help="The chain rule step by step, as symgrad explain prints it.")
@click.option("--at", "at", metavar="NAME=VALUE,…", help="A point, as in x=2,v=[1,3]: the derivatives' values there, too.")
@_SHAPE
def grad(expression: str, wrt: str | None, latex: bool, steps: bool, at: str | None, shapes: tuple[str, ...]) -> None:
    """The derivatives of EXPRESSION, as formulas.

    \b
    symgrad grad "3*x**2 - 4*x + 5" --at x=3
    symgrad grad "tanh(w*x + b)" --wrt w,b --latex
    symgrad grad "mean((x @ w + b - t)**2)" --wrt w,b \\
        --shape x=n,3 --shape w=3 --shape t=n
    """
    import symgrad as sg
    from symgrad.show import Formulas
    from symgrad.simplify import simplify

    expr = sg.parse(expression, shapes=_shapes(shapes))
    targets = _wrt(expr, wrt)
    values = _point(expr, at)
    if steps:
        _print_explanation(sg.explain(expr, targets, values), "latex" if latex else "text")
        return
    derivatives = Formulas(dict(zip([t.name for t in targets], simplify(sg.grad(expr, targets)), strict=True)), of="f", written=[expr])
    point = sg.at(expr, values) if at is not None else None
    if not latex:
        _print(derivatives)
    elif len(targets) == 1:
        click.echo(f"\\frac{{\\partial f}}{{\\partial {targets[0].latex()}}} = {derivatives[targets[0].name].latex()}")
    else:
        click.echo(derivatives.latex())
    if point is not None:
        for target in targets:
            head = f"df/d{target.name} = "
            click.echo(f"{head}{_written(point.grad(target), len(head))} at {at}")


def _written(value: Any, indent: int) -> str:
    """A number with all its digits, an array with six, below each other behind the sign."""
    if isinstance(value, float):
        return f"{value:.15g}"
    import numpy as np

    return np.array2string(value, separator=", ", precision=6, prefix=" " * indent)


@cli.command(cls=_OnFormula)
@click.argument("expression")
@click.option("--wrt", metavar="NAMES", help="Symbols, separated by commas; by default all.")
@click.option("--at", "at", metavar="NAME=VALUE,…", help="A point: numbers beside the symbols.")
@click.option("--to", "form", type=click.Choice(["text", "latex", "markdown", "html"]), help="The form; by default text, or what FILE is.")
@click.option("-o", "--output", metavar="FILE", help="why.md, .html, .tex or .txt.")
@_SHAPE
def explain(expression: str, wrt: str | None, at: str | None, form: str | None, output: str | None, shapes: tuple[str, ...]) -> None:
    """Why the derivative of EXPRESSION is what it is.

    The chain rule step by step, the rules that simplified the result, and what each form costs.

    \b
    symgrad explain "tanh(w*x + b)" --wrt w,b --at x=2,w=-3,b=6.5
    symgrad explain "mean(relu(X @ W)**2)" -o why.md \\
        --shape X=n,3 --shape W=3,4
    """
    import symgrad as sg

    if output is not None and form is None and _ending(output) not in _FORMS:
        raise ValueError(f"cannot write {output!r}: a name ends in {', '.join(_FORMS)}, or --to says which form")
    expr = sg.parse(expression, shapes=_shapes(shapes))
    explanation = sg.explain(expr, _wrt(expr, wrt), _point(expr, at))
    form = form or (_FORMS[_ending(output)] if output is not None else "text")
    if output is None:
        _print_explanation(explanation, form)
    else:
        _save(output, _WRITERS[form](explanation) if _ending(output) != ".html" else _page(explanation))


_FORMS = {".txt": "text", ".md": "markdown", ".tex": "latex", ".html": "html"}
_WRITERS: dict[str, Callable[[Any], str]] = {
    "text": lambda e: e.text(), "markdown": lambda e: e.markdown(), "latex": lambda e: e.latex(), "html": lambda e: e._repr_html_(),
}  # fmt: skip


def _ending(path: str) -> str:
    return os.path.splitext(path)[1].lower()


def _page(explanation: Any) -> str:
    """The explanation as a page of its own, on light or dark ground as the reader has it."""
    head = '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<meta name="viewport" content="width=device-width">\n'
    style = "<style>:root{color-scheme:light dark}body{max-width:60em;margin:2em auto;padding:0 1em}</style>\n"
    return f"{head}<title>Derivation</title>\n{style}{explanation._repr_html_()}\n</html>"


def _save(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(text.rstrip("\n") + "\n")


def _print_explanation(explanation: Any, form: str) -> None:
    if form == "text":
        _print(explanation)
    else:
        click.echo(_WRITERS[form](explanation))


def _print(shown: Any) -> None:
    """In colours and at the terminal's width; plain, one line a formula, where standard output is no terminal."""
    if sys.stdout.isatty():
        from rich.console import Console

        Console(highlight=False, soft_wrap=True).print(shown)
    else:
        click.echo(shown.text())


_DARK = click.option("--dark", is_flag=True, help="On dark ground.")


@cli.command(cls=_OnFormula)
@click.argument("expression")
@click.option("-o", "--output", metavar="FILE", help="g.svg, .png, .pdf, .dot, .mmd (Mermaid) or .txt; without it, an outline is printed.")
@click.option("--at", "at", metavar="NAME=VALUE,…", help="A point: every box shows its value and gradient there.")
@click.option("--wrt", metavar="NAMES", help="Draws the gradient's graph, too: symbols, separated by commas, or all.")
@click.option("--raw", is_flag=True, help="The gradient as the bare chain rule, not simplified.")
@click.option("--direction", type=click.Choice(["LR", "TB", "RL", "BT"]), help="Where the graph grows to.")
@_SHAPE
@_DARK
def draw(
    expression: str, output: str | None, at: str | None, wrt: str | None, raw: bool, direction: str | None, shapes: tuple[str, ...],
    dark: bool,
) -> None:
    """The graph of EXPRESSION, and of its gradient.

    \b
    symgrad draw "tanh(x1*w1 + x2*w2 + b)" -o neuron.svg
    symgrad draw "tanh(w*x + b)" --at x=2,w=-3,b=6.5 --wrt all
    """
    import symgrad as sg

    expr = sg.parse(expression, shapes=_shapes(shapes))
    point = expr if at is None else sg.at(expr, _point(expr, at))
    targets = None if wrt is None else _wrt(expr, None if wrt == "all" and "all" not in {s.name for s in expr.free_symbols} else wrt)
    drawing = sg.draw(point, wrt=targets, simplify=not raw, direction=direction, theme="dark" if dark else None)
    if output is not None:
        drawing.save(output)
    elif sys.stdout.isatty():
        _print_outline(drawing)
    else:
        click.echo(str(drawing))


def _print_outline(drawing: Any) -> None:
    """In colours, lines cut at the terminal's width: their branches would not survive being wrapped."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    shown = Text(drawing.outline(console.width))
    for pattern, style in ((r"[│├└─]+", "dim"), (r"\b(data|grad|read by)\b", "dim"), (r"(?m)\([^()\n]*,[^()\n]*\)(?=$|  )", "cyan"),
                           (r"\bd[^ ()]+/d[^ ]+ =", "bold yellow")):
        shown.highlight_regex(pattern, style)
    console.print(shown, no_wrap=True, overflow="ellipsis")


@cli.command(cls=_OnFormula)
@click.argument("expressions", nargs=-1, required=True, metavar="EXPRESSION...")
@click.option("-o", "--output", metavar="FILE", required=True, help="curve.png, .svg, .pdf, …")
@click.option("--range", "ranges", multiple=True, metavar="[NAME=]FROM,TO", help="A variable and its range, as in x=-5,5 (twice: a plane).")
@click.option("--tangent", metavar="NUMBER,…", help="Places where tangents are drawn.")
@click.option("--derivatives", type=click.IntRange(0, 3), metavar="COUNT", help="Derivatives to draw; by default one, with one curve.")
@click.option("--at", "at", metavar="NAME=VALUE,…", help="Values of the other symbols.")
@click.option("--title", help="By default the formula, or a legend.")
@_SHAPE
@_DARK
def plot(
    expressions: tuple[str, ...], output: str, ranges: tuple[str, ...], tangent: str | None, derivatives: int | None, at: str | None,
    title: str | None, shapes: tuple[str, ...], dark: bool,
) -> None:
    """The curve of EXPRESSION, or of several; over a plane, contours and the gradient field.

    \b
    symgrad plot "x**3 - 3*x" -o cubic.png --range -2.5,2.5 --tangent -1.5,1
    symgrad plot "relu(x)" "gelu(x)" -o activations.svg --range -4,4
    symgrad plot "(1 - x)**2 + 100*(y - x**2)**2" -o valley.png \\
        --range x=-2,2 --range y=-1,3
    symgrad plot "softmax(v*x)" -o classes.png --shape v=3 --at v=[1,2,3]
    """
    import symgrad as sg

    sizes = _shapes(shapes)
    exprs = [sg.parse(text, shapes=sizes) for text in expressions]
    values = _values("--at", at)
    known = [s.name for s in dict.fromkeys(s for e in exprs for s in e.free_symbols)]
    free = [name for name in known if name not in values]
    variables = [_range(text, free) for text in ranges]
    absent = [name for name in values if name not in known]
    if absent:
        raise ValueError(f"--at {at}: {_absent(absent)}; its symbols are {', '.join(known) or 'none'}")
    missing = [name for name in free if name not in dict(variables)]
    if missing and (variables or len(free) > 2):
        raise ValueError(f"no value for {', '.join(missing)}: --at {missing[0]}=1, or a range, as in --range {missing[0]}=-5,5")
    places = None if tangent is None else [_number("--tangent", text) for text in tangent.split(",")]
    theme = "dark" if dark else None
    sg.plot(exprs, *variables, derivative=derivatives, tangent_at=places, values=values, title=title, theme=theme).save(output)


def _range(given: str, free: Sequence[str]) -> tuple[str, tuple[float, float]]:
    """``x=-5,5``, or ``-5,5`` for the only variable."""
    name, equals, ends = given.rpartition("=")
    numbers = ends.split(",")
    if len(numbers) != 2 or (equals and not name.strip()):
        raise ValueError(f"--range {given}: write NAME=FROM,TO, as in x=-5,5")
    if not equals and len(free) != 1:
        raise ValueError(f"--range {given}: of which variable? Write NAME=FROM,TO; the symbols are {', '.join(free) or 'none'}")
    return name.strip() or free[0], (_number("--range", numbers[0]), _number("--range", numbers[1]))


@cli.command(cls=_OnFormula)
@click.argument("expression")
@click.option("--to", "language", type=click.Choice(["python", "llvm"]), default="python", show_default=True, help="What to generate.")
@click.option("--wrt", metavar="NAMES", help="Symbols to differentiate by, separated by commas; by default all.")
@click.option("--annotate", is_flag=True, help="Beside each line of Python, the formula of what it computes and its operations.")
@click.option("-o", "--output", metavar="FILE", help="Writes the program into a file, as in model.py or model.ll.")
@_SHAPE
@_DTYPE
def source(
    expression: str, language: str, wrt: str | None, annotate: bool, output: str | None, shapes: tuple[str, ...], dtype: str
) -> None:
    """The program generated for EXPRESSION and its gradient.

    The Python one is a complete module that runs with only NumPy, SciPy and numba installed.

    \b
    symgrad source "tanh(w*x + b)" --wrt w,b --annotate
    symgrad source "mean((x @ w - t)**2)" -o model.py \\
        --shape x=n,3 --shape w=3 --shape t=n
    """
    import symgrad as sg

    expr = sg.parse(expression, shapes=_shapes(shapes))
    function = sg.compile(expr, wrt=_wrt(expr, wrt), dtype=dtype)
    program = function.source(language, annotate=annotate)
    if output is not None:
        _save(output, program)
    elif sys.stdout.isatty():
        _print_program(program, language)
    else:
        click.echo(program)


def _print_program(program: str, language: str) -> None:
    """In colours, lines as long as they are: a terminal breaks what does not fit, and copies it whole."""
    from rich.console import Console
    from rich.syntax import Syntax

    written = Syntax(program, language, theme="ansi_dark", background_color="default").highlight(program)
    Console(highlight=False, soft_wrap=True).print(written, end="")


@cli.command()
@click.argument("data", metavar="moons|spiral|digits|FILE.csv")
@click.option("--target", metavar="COLUMN", help="CSV: the column to predict; by default the last one.")
@click.option("--task", type=click.Choice(["auto", "classification", "regression"]), default="auto", show_default=True,
              help="CSV: auto takes text and few whole numbers for classes.")
@click.option("--hidden", metavar="SIZES", help="Sizes of the hidden layers, as in 16,16 (0: none).")
@click.option("--activation", metavar="NAME", help="relu, tanh, gelu, … between the layers.")
@click.option("--epochs", type=int, help="Passes over the training data.")
@click.option("--batch-size", type=int, help="Samples a step; by default what suits the data.")
@click.option("--optimizer", type=click.Choice(["sgd", "adam"]), help="The update rule.")
@click.option("--lr", type=float, help="Learning rate (sgd: it falls linearly to a tenth).")
@click.option("--l2", type=float, help="Weight of the sum of squares of all parameters in the loss.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the split, the initial weights and the shuffling.")
@click.option("--out", metavar="DIR", default="symgrad-out", show_default=True, help="Where parameters and pictures go.")
@_DTYPE
def train(data: str, **options: Any) -> None:
    """Train a network and show everything.

    Prints its update formulas, what was compiled and the scores; writes the parameters and pictures.

    \b
    symgrad train moons                              a max-margin classifier of two half circles
    symgrad train digits --hidden 64,32 --epochs 30  1,797 handwritten digits
    symgrad train houses.csv --target price          a table with a header; 20 % are held out for the test
    """
    from symgrad.cli.train import run

    run(data, **options)


@cli.group()
def cache() -> None:
    """The disk cache of compiled programs."""


@cache.command("info")
def cache_info() -> None:
    """Where it is and how much it holds."""
    from symgrad.run.cache import default

    facts = default().info()
    click.echo(f"folder   {facts['folder']}")
    if facts["reason"]:
        click.echo(f"not used: {facts['reason']}")
    else:
        click.echo(f"entries  {facts['entries']}\nsize     {facts['bytes'] / 2**20:.1f} MiB of at most {facts['limit'] / 2**20:.0f} MiB")


@cache.command("clear")
def cache_clear() -> None:
    """Empties it."""
    from symgrad.run.cache import default

    store = default()
    if not store.usable:
        raise ValueError(f"the cache is not used: {store.info()['reason']}")
    count = store.clear()
    click.echo(f"removed {count} {'entry' if count == 1 else 'entries'}")


def _fail(message: str, status: int) -> NoReturn:
    lines = [line.strip() for line in message.splitlines() if line.strip()] or ["failed"]
    click.echo(f"symgrad: {lines[0]}", err=True)
    sys.exit(status)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line and exits: 0 done, 2 bad input, 1 a fault of symgrad itself, 130 Ctrl-C. Never a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # formulas have Greek letters, a terminal may not
    try:
        status = cli.main(args=None if arguments is None else list(arguments), prog_name="symgrad", standalone_mode=False)
    except (KeyboardInterrupt, click.Abort):
        _fail("interrupted", 130)
    except click.ClickException as error:
        _fail(error.format_message(), 2)
    except BrokenPipeError:
        # The reader of our output has gone (`| head`): Python would complain while flushing at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        _fail(f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error), 2)
    except (ValueError, TypeError, ArithmeticError, LookupError, ImportError, MemoryError, NotImplementedError) as error:
        _fail(str(error) or type(error).__name__, 2)
    except Exception as error:
        if os.environ.get("SYMGRAD_DEBUG"):
            raise
        _fail(f"internal error, {type(error).__name__}: {error} (SYMGRAD_DEBUG=1 shows where)", 1)
    sys.exit(status if isinstance(status, int) else 0)
