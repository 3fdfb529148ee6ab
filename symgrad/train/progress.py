"""What a person sees while a network trains: a bar on a terminal, a few plain lines elsewhere."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import Any, Protocol

__all__ = ["Bar", "Lines", "Quiet", "Reporter", "reporter"]


class Reporter(Protocol):
    """Told after every compiled call how far training is."""

    def start(self, epochs: int) -> None: ...

    def update(self, epoch: int, values: dict[str, float]) -> None: ...

    def stop(self) -> None: ...


def _text(values: dict[str, float]) -> str:
    return "  ".join(f"{name} {value:.4g}" for name, value in values.items())


class Quiet:
    """Says nothing."""

    def start(self, epochs: int) -> None: ...

    def update(self, epoch: int, values: dict[str, float]) -> None: ...

    def stop(self) -> None: ...


class Lines:
    """At most about a dozen lines, for pipes and log files; ``is_output``: for a notebook, which shows errors on red."""

    def __init__(self, is_output: bool = False) -> None:
        self.epochs, self.next, self.is_output = 0, 0, is_output

    def start(self, epochs: int) -> None:
        self.epochs = epochs

    def update(self, epoch: int, values: dict[str, float]) -> None:
        if values and (epoch >= self.next or epoch == self.epochs):
            self.next = min(self.epochs, epoch + max(1, self.epochs // 10))
            print(f"epoch {epoch}/{self.epochs}  {_text(values)}", file=sys.stdout if self.is_output else sys.stderr, flush=True)

    def stop(self) -> None: ...


class Bar:
    """A live bar; narrow terminals get the columns that fit."""

    def __init__(self, console: Any) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        wide = console.width >= 70
        bar = BarColumn(bar_width=None if wide else 8)
        columns = [TextColumn("training"), bar, MofNCompleteColumn(), TextColumn("{task.fields[values]}")]
        self.progress = Progress(*columns, *([TimeRemainingColumn()] if wide else []), console=console, expand=wide)
        self.task: Any = None

    def start(self, epochs: int) -> None:
        self.task = self.progress.add_task("training", total=epochs, values="")
        self.progress.start()

    def update(self, epoch: int, values: dict[str, float]) -> None:
        self.progress.update(self.task, completed=epoch, values=_text(values))

    def stop(self) -> None:
        self.progress.stop()


def reporter(progress: bool) -> Reporter:
    """The reporter that suits where standard error goes."""
    if not progress:
        return Quiet()
    from rich.console import Console

    console = Console(stderr=True)
    if console.is_jupyter and find_spec("ipywidgets") is None:  # rich's bar would warn and draw nothing
        return Lines(is_output=True)
    return Bar(console) if console.is_terminal or console.is_jupyter else Lines()
