"""Memory of large results: used again once no array looks at it, never before."""

from __future__ import annotations

import gc
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import symgrad as sg
from symgrad.run.results import LARGE, Pool

POINTS = LARGE // 8
FLOAT64 = np.dtype("float64")


@pytest.fixture(scope="module")
def double() -> sg.Function:
    return sg.compile(2 * sg.symbol("x", "n"))


def address(array: Any) -> int:
    return int(array.__array_interface__["data"][0])


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_large_result_is_an_ordinary_array(dtype: str) -> None:
    x = np.arange(2 * LARGE, dtype=dtype).reshape(2, -1)
    y = sg.compile(sg.symbol("x", (2, "n")) * 2, dtype=dtype)(x)
    assert type(y) is np.ndarray and y.dtype == x.dtype and y.shape == x.shape and np.array_equal(y, 2 * x)
    assert y.flags.c_contiguous and y.flags.aligned and y.flags.writeable and address(y) % 64 == 0
    assert np.array_equal(pickle.loads(pickle.dumps(y)), y)


def test_memory_is_used_again_once_no_array_looks_at_it(double: sg.Function) -> None:
    x = np.ones(POINTS)
    first = double(x)
    where = address(first)
    second = double(x)
    assert address(second) != where
    del first
    assert address(double(x)) == where


@pytest.mark.parametrize("look", [lambda y: y[5:6], lambda y: y.reshape(2, -1).T, memoryview, lambda y: np.frombuffer(y)])
def test_whatever_looks_at_a_result_keeps_its_memory(double: sg.Function, look: Callable[[Any], Any]) -> None:
    y = double(np.ones(POINTS))
    where, seen = address(y), look(y)
    del y
    others = [double(np.zeros(POINTS)) for _ in range(3)]
    assert where not in map(address, others)
    assert np.asarray(seen).ravel()[0] == 2.0


def test_small_results_are_numpys_own(double: sg.Function) -> None:
    assert double(np.ones(POINTS - 1)).flags.owndata and not double(np.ones(POINTS)).flags.owndata


def test_a_block_serves_sizes_somewhat_smaller_than_its_own() -> None:
    pool = Pool()
    where = address(pool.array((1000,), FLOAT64))
    assert address(pool.array((900,), FLOAT64)) == where
    assert address(pool.array((100,), FLOAT64)) != where  # would hold ten times what it needs
    assert address(pool.array((1001,), FLOAT64)) != where


def test_results_of_one_call_begin_at_different_places_in_a_page() -> None:
    pool = Pool()
    assert len({address(a) % 4096 for a in [pool.array((1 << 18,), FLOAT64) for _ in range(8)]}) > 4


def test_what_waits_is_bounded() -> None:
    pool = Pool(kept_bytes=100_000, kept_blocks=3)
    held = [pool.array((1000,), FLOAT64) for _ in range(5)]
    assert pool.waiting == 0
    held.clear()
    assert pool.waiting == 3 * 8000
    large = pool.array((12_000,), FLOAT64)
    del large
    assert pool.waiting == 96_000  # the older ones had to go
    larger = pool.array((20_000,), FLOAT64)
    del larger
    assert pool.waiting == 96_000
    pool.clear()
    assert pool.waiting == 0


def test_memory_that_the_system_does_not_have() -> None:
    with pytest.raises((MemoryError, ValueError)):
        sg.compile(sg.broadcast_to(sg.symbol("x"), (1 << 40, 1 << 18)))(1.0)


def test_threads_never_share_memory() -> None:
    pool, failures = Pool(), []

    def work(number: int) -> None:
        for k in range(300):
            array = pool.array((500 + k % 7,), FLOAT64)
            array.fill(number)
            other = pool.array((500,), FLOAT64)
            other.fill(-number)
            if (array != number).any() or (other != -number).any():
                failures.append(number)

    threads = [threading.Thread(target=work, args=(k + 1,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_a_cycle_gives_its_memory_back_when_it_is_collected() -> None:
    pool = Pool()
    cycle: list[object] = [pool.array((1000,), FLOAT64)]
    cycle.append(cycle)
    del cycle
    gc.collect()
    assert pool.waiting == 8000


FORK = """
import os
import numpy as np
import symgrad as sg
from symgrad.run import results

double, x = sg.compile(2 * sg.symbol("x", "n")), np.ones(results.LARGE // 8)
kept = double(x)
double(x)
assert results._pool.waiting
child = os.fork()
if child == 0:
    os._exit(0 if results._pool.waiting == 0 and np.array_equal(double(x), kept) else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_begins_without_blocks() -> None:
    subprocess.run([sys.executable, "-c", FORK], check=True)  # a process of its own: what other tests have imported may not like forks
