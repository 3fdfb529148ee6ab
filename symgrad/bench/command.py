"""``symgrad bench`` as a command; :mod:`symgrad.__main__` adds it to the others."""

from __future__ import annotations

import click

from symgrad.bench import run

__all__ = ["bench"]


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--against", metavar="PEERS", help="Peers to compare with, separated by commas; by default those installed.")
def bench(names: tuple[str, ...], against: str | None) -> None:
    """Time symgrad and its peers at the same work.

    moons: one full-batch training step of a small network, against numpy, jax, torch and micrograd.

    math: the functions of mathematics over an array, against numpy (and scipy.special).
    """
    run(names or ("moons",), None if against is None else [p.strip() for p in against.split(",") if p.strip()])
