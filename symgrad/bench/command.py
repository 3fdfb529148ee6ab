"""``symgrad bench`` as a command; :mod:`symgrad.__main__` adds it to the others."""

from __future__ import annotations

from pathlib import Path

import click

from symgrad.bench import WORKLOADS, run
from symgrad.bench.report import as_json, as_markdown, conclusions, plot, table

__all__ = ["bench"]

WIDTH = 110  # of a table in a file or a pipe
_LISTED = "\n".join(f"{name:13}{'' if w.quick else '(by name) '}{w.summary}" for name, w in WORKLOADS.items())
_HELP = f"""Time symgrad and its peers at the same work.

Each contestant has a process of its own, pinned to as many cores as the case has threads. Results are compared before anything
is timed; then the contestants take turns. Ratios are medians over the rounds. Without a name, the quick workloads run.

\b
{_LISTED}
"""


@click.command(help=_HELP)
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--against", metavar="PEERS", help="Peers to compare with, separated by commas; by default those installed.")
@click.option("--full", is_flag=True, help="All cases of a workload, where it has more than the usual.")
@click.option("--json", "json_path", metavar="FILE", type=click.Path(dir_okay=False), help="Write everything measured.")
@click.option("--markdown", metavar="FILE", type=click.Path(dir_okay=False), help="Write the tables as Markdown.")
@click.option("--plot", "plot_path", metavar="FILE", type=click.Path(dir_okay=False), help="Draw a bar chart (.svg, .png, .pdf).")
def bench(
    names: tuple[str, ...], against: str | None, full: bool, json_path: str | None, markdown: str | None, plot_path: str | None
) -> None:  # fmt: skip
    """The command; its help is ``_HELP``."""
    from rich.console import Console

    peers = None if against is None else [p.strip() for p in against.split(",") if p.strip()]
    notes = Console(stderr=True)
    reports = run(names, peers, full, lambda line: notes.print(f"[dim]{line}[/dim]", highlight=False))
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH)
    for report in reports:
        console.print(table(report))
        for line in conclusions(report):
            console.print(line, highlight=False, markup=False)
    for path, write in ((json_path, as_json), (markdown, as_markdown)):
        if path:
            Path(path).write_text(write(reports), encoding="utf-8")
    if plot_path:
        plot(reports, plot_path)
