"""The scale workload: scalar graphs of 10² to 10⁵ operations, value and gradient: seconds to build, peak memory, seconds a call.

"build" is the whole way in a new process with an empty cache folder, from the first symbol to code for value and gradient; the first
compilation in the process, of another graph, comes before. A build has two cores, for whoever uses them; a call has one. Memory is that
process's peak. CasADi gets the same graph in its scalar type.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np

from symgrad.bench import fresh
from symgrad.bench.graphs import FAMILIES, Graph, along, robot_arm, value
from symgrad.bench.records import OURS, Bar, Case, CaseResult, Contestant, Workload, at_most

__all__ = ["WORKLOAD"]

LARGEST = 100_000
SECONDS, BYTES, EXPONENT, CALL = 15.0, 3 * 2.0**30, 1.1, 0.15


def cases(full: bool) -> Sequence[Case]:
    sizes = (100, 1000, 10_000, LARGEST) if full else (100, 1000, 10_000)
    graphs = [(family, size) for family in FAMILIES for size in sizes]
    return [case for family, size in [("robot arm", 0), *graphs] for case in _cases(family, size)]


def _cases(family: str, size: int) -> list[Case]:
    name, parameters = f"{family} {size}" if size else family, {"family": family, "size": size}
    rounds = 1 if size == LARGEST else 3
    built = (_limit(f"≤ {SECONDS:g} s", SECONDS),) if size == LARGEST else ()
    held = (_limit(f"≤ {BYTES / 2**30:g} GiB", BYTES),) if size == LARGEST else ()
    common: dict[str, Any] = {"tolerance": 1e-8}
    return [
        Case(f"{name} build", {**parameters, "what": "seconds"}, threads=2, unit="build", rounds=rounds, bars=built, **common),
        Case(f"{name} memory", {**parameters, "what": "peak"}, threads=2, unit="build", quantity="bytes", rounds=1, bars=held, **common),
        Case(f"{name} call", {**parameters, "what": "call"}, unit="call", bars=(at_most(CALL, "casadi"),), **common),
    ]


def _limit(text: str, limit: float) -> Bar:
    return Bar(text, limit, lambda result: result.timings[OURS].median)


def _graph(parameters: Mapping[str, Any]) -> Graph:
    return robot_arm() if parameters["family"] == "robot arm" else FAMILIES[parameters["family"]](parameters["size"], 0)


# --- the same graph for each -----------------------------------------------------------------------

Evaluate = Callable[[], Any]  # value and gradient


def _symgrad(graph: Graph, keep: bool) -> Evaluate:
    import symgrad as sg

    inputs = [sg.symbol(f"x{k}") for k in range(len(graph.point))]
    f = sg.compile(graph.build(inputs, sg), inputs, wrt=inputs, cache=keep)
    point = graph.point.tolist()
    f.value_and_grad(*point)
    call = f.value_and_grad
    return lambda: call(*point)


def _casadi(graph: Graph, keep: bool) -> Evaluate:
    import casadi as ca

    x = ca.SX.sym("x", len(graph.point))
    y = graph.build([x[k] for k in range(len(graph.point))], ca)
    f = ca.Function("f", [x], [y, ca.gradient(y, x)])
    f(graph.point)
    return lambda: f(graph.point)


_BUILDERS: dict[str, Callable[[Graph, bool], Evaluate]] = {"symgrad": _symgrad, "casadi": _casadi}


def build(name: str, parameters: Mapping[str, Any]) -> float:
    """Seconds until there is code; called in a new process."""
    graph = _graph(parameters)
    _BUILDERS[name](robot_arm(1), False)  # what the first compilation in a process costs whatever it compiles
    begun = time.perf_counter()
    _BUILDERS[name](graph, False)
    return time.perf_counter() - begun


# --- contestants -----------------------------------------------------------------------------------


def _maker(name: str) -> Callable[[Case], Contestant]:
    def make(case: Case) -> Contestant:
        if case.parameters["what"] == "call":
            return _call(name, _graph(case.parameters))

        def measure() -> float:
            with tempfile.TemporaryDirectory() as folder:
                report = fresh.call(__name__, "build", name, dict(case.parameters), environment={"SYMGRAD_CACHE_DIR": folder})
            return float(report.answer) if case.parameters["what"] == "seconds" else float(report.peak)

        return Contestant(None, lambda: 0.0, measure=measure)  # what it computes is compared where calls are timed

    return make


def _call(name: str, graph: Graph) -> Contestant:
    begun = time.perf_counter()
    evaluate = _BUILDERS[name](graph, True)
    seconds = time.perf_counter() - begun

    def run(count: int) -> None:
        for _ in range(count):
            evaluate()

    def result() -> dict[str, Any]:
        y, gradient = evaluate()
        own, slopes = float(y), np.array(gradient, dtype=float).ravel()
        _check(graph, own, slopes)
        return {"value": own, "gradient": slopes}

    return Contestant(run, result, seconds)


def _check(graph: Graph, own: float, gradient: Any) -> None:
    """Against the graph in floats, and in complex numbers along a direction."""
    direction = np.random.default_rng(2).normal(size=len(graph.point))
    scale = float(np.abs(gradient) @ np.abs(direction))
    if not abs(own - value(graph)) <= 1e-9 * abs(own) or not abs(float(gradient @ direction) - along(graph, direction)) <= 1e-9 * scale:
        raise ArithmeticError(f"{graph.name}: value or gradient are not those of the graph")


# --- growth ----------------------------------------------------------------------------------------


def _growth(family: str) -> Bar:
    """The exponent of the seconds to build, between neighbouring sizes of 1,000 operations and more: the largest."""

    def measured(results: Sequence[CaseResult]) -> float | None:
        points = sorted(
            (_operations(family, r.case.parameters["size"]), r.timings[OURS].median) for r in results
            if r.case.parameters["family"] == family and r.case.parameters["what"] == "seconds" and r.case.parameters["size"] >= 1000
        )  # fmt: skip
        slopes = [np.log(b[1] / a[1]) / np.log(b[0] / a[0]) for a, b in pairwise(points)]
        return float(max(slopes)) if slopes else None

    return Bar(f"{family}: exponent of build ≤ {EXPONENT:g}", EXPONENT, measured)


@cache
def _operations(family: str, size: int) -> int:
    return FAMILIES[family](size, 0).operations


WORKLOAD = Workload(
    "scale", "scalar graphs of up to 100,000 operations: build, memory, call", cases,
    {"symgrad": _maker("symgrad"), "casadi": _maker("casadi")}, quick=False, bars=tuple(_growth(family) for family in FAMILIES),
)  # fmt: skip
