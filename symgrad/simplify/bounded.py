"""BOUNDED: a call that may hang, given up after a while.

The call runs in a thread of its own, which is told to stop and then left alone: that works from every thread,
touches no signal of the user's program, and holds even where the call sits in C code and cannot be stopped.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["Abandoned", "bounded"]

T = TypeVar("T")


class Abandoned(BaseException):
    """Raised inside a call that took too long; not an ``Exception``, so that the call does not catch it."""


def bounded(call: Callable[[], T], seconds: float) -> T:
    """``call()``, or ``TimeoutError`` after so many seconds; what the call raises is raised here.

    >>> bounded(lambda: 6 * 7, seconds=10.0)
    42
    """
    outcome: list[tuple[bool, Any]] = []
    finished = threading.Event()

    def work() -> None:
        try:
            outcome.append((True, call()))
        except Abandoned:
            pass  # nobody waits any more
        except BaseException as error:
            outcome.append((False, error))
        finally:
            finished.set()

    thread = threading.Thread(target=work, name="symgrad-simplify", daemon=True)
    thread.start()
    try:
        in_time = finished.wait(seconds)
    except BaseException:  # Ctrl-C while waiting
        _abandon(thread)
        raise
    if not in_time:
        _abandon(thread)
        raise TimeoutError(f"not finished after {seconds:g} s")
    returned, value = outcome[0]
    if returned:
        return value
    raise value


def _abandon(thread: threading.Thread) -> None:
    if thread.ident is not None:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(Abandoned))
