"""The command line: ``symgrad grad``, ``source``, ``train``, ``cache``, ``bench``."""

from symgrad.cli.commands import main

__all__ = ["main"]
