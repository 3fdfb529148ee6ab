"""The commands, their options, and how errors are told: one line on standard error, exit status 2 (130 for Ctrl-C)."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from symgrad.cli.options import absent, number_of, point_of, range_of, shapes_of, targets_of, values_of
from symgrad.cli.output import FORMS, WRITERS, ending, page, print_explanation, print_formulas, print_outline, print_program, save, written

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

    expr = sg.parse(expression, shapes=shapes_of(shapes))
    targets = targets_of(expr, wrt)
    values = point_of(expr, at)
    if steps:
        print_explanation(sg.explain(expr, targets, values), "latex" if latex else "text")
        return
    derivatives = Formulas(dict(zip([t.name for t in targets], simplify(sg.grad(expr, targets)), strict=True)), of="f", written=[expr])
    point = sg.at(expr, values) if at is not None else None
    if not latex:
        print_formulas(derivatives)
    elif len(targets) == 1:
        click.echo(f"\\frac{{\\partial f}}{{\\partial {targets[0].latex()}}} = {derivatives[targets[0].name].latex()}")
    else:
        click.echo(derivatives.latex())
    if point is not None:
        for target in targets:
            head = f"df/d{target.name} = "
            click.echo(f"{head}{written(point.grad(target), len(head))} at {at}")


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

    if output is not None and form is None and ending(output) not in FORMS:
        raise ValueError(f"cannot write {output!r}: a name ends in {', '.join(FORMS)}, or --to says which form")
    expr = sg.parse(expression, shapes=shapes_of(shapes))
    explanation = sg.explain(expr, targets_of(expr, wrt), point_of(expr, at))
    form = form or (FORMS[ending(output)] if output is not None else "text")
    if output is None:
        print_explanation(explanation, form)
    else:
        save(output, WRITERS[form](explanation) if ending(output) != ".html" else page(explanation))


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

    expr = sg.parse(expression, shapes=shapes_of(shapes))
    point = expr if at is None else sg.at(expr, point_of(expr, at))
    targets = None if wrt is None else targets_of(expr, None if wrt == "all" and "all" not in {s.name for s in expr.free_symbols} else wrt)
    drawing = sg.draw(point, wrt=targets, simplify=not raw, direction=direction, theme="dark" if dark else None)
    if output is not None:
        drawing.save(output)
    elif sys.stdout.isatty():
        print_outline(drawing)
    else:
        click.echo(str(drawing))


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

    sizes = shapes_of(shapes)
    exprs = [sg.parse(text, shapes=sizes) for text in expressions]
    values = values_of("--at", at)
    known = [s.name for s in dict.fromkeys(s for e in exprs for s in e.free_symbols)]
    free = [name for name in known if name not in values]
    variables = [range_of(text, free) for text in ranges]
    unknown = [name for name in values if name not in known]
    if unknown:
        raise ValueError(f"--at {at}: {absent(unknown)}; its symbols are {', '.join(known) or 'none'}")
    missing = [name for name in free if name not in dict(variables)]
    if missing and (variables or len(free) > 2):
        raise ValueError(f"no value for {', '.join(missing)}: --at {missing[0]}=1, or a range, as in --range {missing[0]}=-5,5")
    places = None if tangent is None else [number_of("--tangent", text) for text in tangent.split(",")]
    theme = "dark" if dark else None
    sg.plot(exprs, *variables, derivative=derivatives, tangent_at=places, values=values, title=title, theme=theme).save(output)


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

    expr = sg.parse(expression, shapes=shapes_of(shapes))
    function = sg.compile(expr, wrt=targets_of(expr, wrt), dtype=dtype)
    program = function.source(language, annotate=annotate)
    if output is not None:
        save(output, program)
    elif sys.stdout.isatty():
        print_program(program, language)
    else:
        click.echo(program)


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
