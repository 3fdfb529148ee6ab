"""A process for one contestant: pinned to its cores, driven over a pipe.

Libraries bring thread pools that disturb each other, and settings that count for a whole process. So every contestant has
a process of its own, and affinity to as many cores as the case has threads: the one limit that all of them respect.
Between their turns they wait at the pipe. A pool that has done its part waits actively, some for tens of milliseconds:
so a turn ends when that is over, or it would take a core from whoever is next.
"""

from __future__ import annotations

import gc
import importlib
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

from symgrad.bench.records import Case, Contestant

__all__ = ["Local", "Refusal", "Remote", "cores", "settle"]

Maker = Callable[[Case], Contestant]

PATIENCE = 0.2  # seconds that a contestant's threads are given to settle
QUIET = 0.002  # so long they must have done next to nothing


class Refusal(Exception):
    """A contestant cannot do the work: what it raised, in one line."""


class Local:
    """A contestant in this process: what the workers run, and what tests use."""

    def __init__(self, maker: Maker) -> None:
        self.maker = maker
        self.contestant: Contestant | None = None

    def build(self, case: Case) -> tuple[float, Any, float]:
        """Makes the contestant: seconds to compile, the result that the others must have, too, and how closely."""
        self.contestant = None
        gc.collect()
        self.contestant = self.maker(case)
        made = self.contestant
        return made.compile, made.result(), case.tolerance if made.tolerance is None else made.tolerance

    def calibrate(self, seconds: float) -> int:
        """How many units take so long."""
        assert self.contestant is not None, "built before"
        if self.contestant.measure or self.contestant.count:
            return self.contestant.count or 1
        stride = self.contestant.stride
        strides = 1
        while (spent := self.turn(strides * stride) * strides * stride) < seconds:
            strides = max(strides + 1, int(strides * min(10.0, 1.2 * seconds / max(spent, 1e-9))))
        return strides * stride

    def turn(self, count: int) -> float:
        """Seconds (or bytes) a unit."""
        contestant = self.contestant
        assert contestant is not None, "built before"
        if contestant.measure is not None:
            return contestant.measure()
        assert contestant.run is not None, "what is not measured is run"
        gc.disable()
        begun = time.perf_counter()
        contestant.run(count)
        spent = time.perf_counter() - begun
        gc.enable()
        return spent / count

    def close(self) -> None:
        """Nothing to end."""


def cores(threads: int) -> list[int]:
    """The processor's cores that contestants with so many threads are pinned to, or none where that cannot be."""
    if not hasattr(os, "sched_getaffinity"):
        return []
    return sorted(os.sched_getaffinity(0))[-threads:]


def environment(threads: int) -> dict[str, str]:
    """What libraries read at their start."""
    pools = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), str(threads))
    path = os.pathsep.join([str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, **pools, "JAX_PLATFORMS": "cpu", "JAX_ENABLE_X64": "1", "PYTHONPATH": path}


class Remote:
    """The same in a process of its own; ``module`` has a ``CONTESTANTS`` or a ``WORKLOAD`` with ``name`` in it."""

    def __init__(self, module: str, name: str, threads: int) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", f"from {__name__} import serve; serve(*__import__('sys').argv[1:])",
             module, name, ",".join(map(str, cores(threads)))],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment(threads),
        )  # fmt: skip

    def build(self, case: Case) -> tuple[float, Any, float]:
        """As in :class:`Local`; bars stay here, they need not travel. Raises :class:`Refusal`."""
        return self._ask("build", replace(case, bars=()))

    def calibrate(self, seconds: float) -> int:
        """As in :class:`Local`."""
        return self._ask("calibrate", seconds)

    def turn(self, count: int) -> float:
        """As in :class:`Local`."""
        return self._ask("turn", count)

    def close(self) -> None:
        """Ends the process."""
        assert self.process.stdin and self.process.stdout
        with suppress(BrokenPipeError):  # it has ended by itself; what could not be sent is lost with it
            self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()

    def _ask(self, what: str, value: Any) -> Any:
        assert self.process.stdin and self.process.stdout
        try:
            _send(self.process.stdin, (what, value))
            answered, answer = pickle.load(self.process.stdout)
        except (EOFError, BrokenPipeError):
            raise Refusal(f"its process ended, status {self.process.wait()}") from None
        if not answered:
            raise Refusal(answer)
        return answer


def _send(pipe: BinaryIO | Any, message: Any) -> None:
    pickle.dump(message, pipe)
    pipe.flush()


def makers(module: str) -> Mapping[str, Maker]:
    """The contestants that a module of this package brings."""
    found = importlib.import_module(module)
    return found.WORKLOAD.contestants if hasattr(found, "WORKLOAD") else found.CONTESTANTS


def serve(module: str, name: str, pinned: str) -> None:
    """Answers questions from standard input until it ends. What libraries print goes to standard error."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    if pinned:
        os.sched_setaffinity(0, [int(core) for core in pinned.split(",")])
    local = Local(makers(module)[name])
    while True:
        try:
            what, value = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        try:
            answer = True, getattr(local, what)(value)
        except Exception as error:  # whatever a library raises is an answer: the others go on
            answer = False, f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        settle()
        _send(answers, answer)


def settle() -> None:
    """Waits until this process's threads sleep."""
    end = time.perf_counter() + PATIENCE
    while time.perf_counter() < end:
        before = time.process_time()
        time.sleep(QUIET)
        if time.process_time() - before < QUIET / 4:
            return
