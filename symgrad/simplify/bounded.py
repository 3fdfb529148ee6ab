"""BOUNDED: a call that may hang, given up after a while.

The call runs in a thread of its own, which is left alone when its time is over: that works from every thread,
touches no signal of the user's program, and holds even where the call sits in C code. The thread is asked to stop
(:func:`given_up`), not made to: an exception raised in it from outside may strike between the taking of a lock and the
``with`` that gives it back (llvmlite's lock in a finalizer, that of an import), and whoever needs the lock then waits for ever.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["bounded", "given_up", "left_alone"]

T = TypeVar("T")


class _Worker(threading.Thread):
    """Runs one call; ``given_up`` once nobody waits for it."""

    def __init__(self, call: Callable[[], Any]) -> None:
        super().__init__(name="symgrad-simplify", daemon=True)
        self._call = call
        self.given_up = False
        self.returned = False
        self.outcome: Any = None

    def run(self) -> None:
        try:
            self.outcome, self.returned = self._call(), True
        except BaseException as error:  # raised again where the call was made, if somebody still waits there
            self.outcome = error


_left_alone: list[_Worker] = []


def bounded(call: Callable[[], T], seconds: float) -> T:
    """``call()``, or ``TimeoutError`` after so many seconds; what the call raises is raised here.

    >>> bounded(lambda: 6 * 7, seconds=10.0)
    42
    """
    worker = _Worker(call)
    worker.start()
    try:
        worker.join(seconds)
    finally:  # also for a Ctrl-C while waiting
        if worker.is_alive():
            worker.given_up = True
            _left_alone.append(worker)
    if worker.given_up:
        raise TimeoutError(f"not finished after {seconds:g} s")
    if worker.returned:
        return worker.outcome
    raise worker.outcome


def given_up() -> bool:
    """Whether nobody waits any more for the call that this runs in: it should end."""
    return getattr(threading.current_thread(), "given_up", False)


def left_alone() -> bool:
    """Whether a call that was given up still runs: what it works with is not to be used at the same time."""
    _left_alone[:] = [worker for worker in _left_alone if worker.is_alive()]
    return bool(_left_alone)
