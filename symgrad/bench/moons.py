"""The moons workload: full-batch gradient steps of a 2-16-16-1 network, max-margin loss and L2 penalty.

"c" is ``moons.c``, written by hand with the samples in vector lanes: the limit that is known. It is built with ``gcc -O3
-march=native -ffast-math`` for vectors of 32 and of 64 bytes, and the faster one takes part.
"""

from __future__ import annotations

import ctypes
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from symgrad.bench.records import Bar, Case, Contestant, Workload, at_most, share_of_peak
from symgrad.bench.training import Array, Task, Trained, by_jax, by_numpy, by_symgrad, by_torch, contest, outcome

__all__ = ["WORKLOAD"]

JAX_BARS = {("relu", "float32"): 0.4, ("relu", "float64"): 0.45, ("tanh", "float32"): 0.5, ("tanh", "float64"): 0.65}


def cases(full: bool) -> Sequence[Case]:
    variants = [(activation, dtype) for dtype in ("float32", "float64") for activation in ("relu", "tanh")]
    return [_case(*variant, samples) for samples in (100, 10_000) for variant in variants]


def _case(activation: str, dtype: str, samples: int) -> Case:
    task = Task((2, 16, 16, 1), samples, samples, activation, "hinge", decay=0.9, penalty=1e-4, data="moons")
    bars: list[Bar] = [at_most(1.1, "c"), at_most(JAX_BARS[activation, dtype], "jax")]
    if (activation, dtype) == ("relu", "float32"):
        bars.append(share_of_peak(0.4))
    # micrograd takes a second a step, and has neither tanh nor another precision; PyTensor takes half a minute to compile
    unable = set() if samples == 100 else {"pytensor", "micrograd"}
    if (activation, dtype) != ("relu", "float64"):
        unable.add("micrograd")
    able = [name for name in WORKLOAD.contestants if name not in unable]
    # In float32 a rounding may put a sample on the other side of a kink.
    tolerance = 1e-9 if dtype == "float64" else 1e-3
    return Case(f"{activation} {dtype} {samples}", task.parameters(), dtype, tolerance=tolerance, flops=task.flops(),
                contestants=tuple(able), bars=tuple(bars))


# --- C ---------------------------------------------------------------------------------------------


def by_c(case: Case) -> Contestant:
    """The faster of the builds for 32 and for 64 bytes a vector."""
    builds = [_build(case, width) for width in (32, 64)]

    def seconds(build: Contestant) -> float:
        assert build.run is not None
        begun = time.perf_counter()
        build.run(100_000 // case.parameters["samples"])
        return time.perf_counter() - begun

    return min(builds, key=lambda build: min(seconds(build) for _ in range(5)))


def _build(case: Case, width: int) -> Contestant:
    task = Task.of(case)
    real = {"float32": "float", "float64": "double"}[case.dtype]
    defined = [f"-DREAL={real}", f"-DBYTES={width}"] + ["-DTANH"] * (task.activation == "tanh")
    source = Path(__file__).with_name("moons.c")
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        compiled, built = Path(folder) / "moons.o", Path(folder) / "moons.so"
        flags = ["-O3", "-march=native", "-ffast-math", "-fPIC", "-Wno-psabi"]
        subprocess.run(["gcc", "-c", *flags, *defined, str(source), "-o", str(compiled)], check=True, capture_output=True)
        # linked without -ffast-math: with it, loading the library would flush subnormal numbers to zero in the whole process
        subprocess.run(["gcc", "-shared", str(compiled), "-o", str(built), "-lm"], check=True, capture_output=True)
        library = ctypes.CDLL(str(built))
    x, t = task.examples(case.dtype)
    start = task.start(case.dtype)
    packed = np.concatenate([start[name].ravel() for name in task.names])
    library.train.restype = ctypes.c_double
    library.train.argtypes = [ctypes.c_void_p] * 3 + [ctypes.c_int] * 2 + [ctypes.c_double] * 3

    def train(count: int) -> Trained:
        p = packed.copy()
        loss = library.train(p.ctypes.data, x.ctypes.data, t.ctypes.data, task.samples, count, task.rate, task.decay, task.penalty)
        return loss, _unpacked(p, start)

    return contest(task, train, begun)


def _unpacked(p: Array, like: dict[str, Array]) -> dict[str, Array]:
    found, at = {}, 0
    for name, array in like.items():
        found[name] = p[at : at + array.size].reshape(array.shape)
        at += array.size
    return found


# --- PyTensor --------------------------------------------------------------------------------------


def by_pytensor(case: Case) -> Contestant:
    """Shared variables and updates, through its numba linker."""
    import pytensor
    import pytensor.tensor as pt

    task = Task.of(case)
    x, t = task.examples(case.dtype)
    real = np.dtype(case.dtype).type
    with pytensor.config.change_flags(floatX=case.dtype):
        p = {name: pytensor.shared(value) for name, value in task.start(case.dtype).items()}
        h: Any = pytensor.shared(x)
        rate = pt.scalar("rate", dtype=case.dtype)
        for k in (1, 2, 3):
            h = h @ p[f"W{k}"] + p[f"b{k}"]
            if k < 3:
                h = pt.maximum(h, real(0)) if task.activation == "relu" else pt.tanh(h)
        hinge = pt.mean(pt.maximum(real(1) - pytensor.shared(t) * h[:, 0], real(0)))
        loss = hinge + real(task.penalty) * sum(pt.sum(v * v) for v in p.values())
        updates = [(v, (v - rate * g).astype(case.dtype)) for v, g in zip(p.values(), pytensor.grad(loss, list(p.values())), strict=True)]
        begun = time.perf_counter()
        step = pytensor.function([rate], loss, updates=updates, mode="NUMBA", trust_input=True)

    def train(count: int) -> Trained:
        for name, value in task.start(case.dtype).items():
            p[name].set_value(value)
        rates, last = task.rates(count), 0.0
        for k in range(count):
            last = step(np.asarray(rates(k), case.dtype))
        return float(last), {name: v.get_value() for name, v in p.items()}

    return contest(task, train, begun)


# --- micrograd -------------------------------------------------------------------------------------


def by_micrograd(case: Case) -> Contestant:
    """One Python object a number."""
    from micrograd.engine import Value

    task = Task.of(case)
    x, t = task.examples("float64")

    def train(count: int) -> Trained:
        p = {k: np.array([Value(float(v)) for v in a.ravel()], dtype=object).reshape(a.shape) for k, a in task.start("float64").items()}
        everything = [v for a in p.values() for v in a.ravel()]
        rates, total = task.rates(count), Value(0.0)
        for k in range(count):
            losses = []
            for row, sign in zip(x, t, strict=True):
                h: Any = [Value(float(v)) for v in row]
                for layer in (1, 2, 3):
                    sums = [sum((hi * wi for hi, wi in zip(h, column, strict=True)), bias)
                            for column, bias in zip(p[f"W{layer}"].T, p[f"b{layer}"], strict=True)]
                    h = sums if layer == 3 else [s.relu() for s in sums]
                losses.append((1 + -float(sign) * h[0]).relu())
            total = sum(losses) * (1.0 / len(losses)) + task.penalty * sum(v * v for v in everything)
            for v in everything:
                v.grad = 0.0
            total.backward()
            for v in everything:
                v.data -= rates(k) * v.grad
        values = {name: np.array([v.data for v in a.ravel()]).reshape(a.shape) for name, a in p.items()}
        return float(total.data), values

    made = contest(task, train, time.perf_counter(), count=1)
    return replace(made, compile=0.0, result=lambda: outcome(task, train, task.checked[:1]))


WORKLOAD = Workload(
    "moons", "a full-batch step of a 2-16-16-1 network, max-margin loss", cases,
    {
        "symgrad": by_symgrad, "c": by_c, "jax": by_jax, "pytensor": by_pytensor, "numpy": by_numpy, "torch": by_torch,
        "micrograd": by_micrograd,
    },
)  # fmt: skip
