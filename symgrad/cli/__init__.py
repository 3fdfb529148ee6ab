"""The command line: ``symgrad grad``, ``source``, ``train``, ``cache``; :mod:`symgrad.__main__` adds ``bench``."""

from symgrad.cli.commands import cli, main

__all__ = ["cli", "main"]
