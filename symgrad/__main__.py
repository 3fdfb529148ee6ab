"""``symgrad`` and ``python -m symgrad``: the command line, with the commands that rooms beside it bring."""

from symgrad.bench.command import bench
from symgrad.cli import cli, main

__all__ = ["main"]

cli.add_command(bench)

if __name__ == "__main__":
    main()
