"""Random graphs: every back end, and both sides of simplification, agree with the NumPy evaluator."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_graphs import N, grow, values

import symgrad as sg
from symgrad.evaluate import evaluate
from symgrad.expr import Expr, free_symbols
from symgrad.loops import interpret
from symgrad.pipeline import expand
from symgrad.schedule import schedule

MODES = ("tile", "blas", "loops", "auto")


def seeded(seed: int, depth: int = 12, smooth: bool = False) -> Expr:
    rng = np.random.default_rng(seed)
    return grow(lambda k: int(rng.integers(k)), depth, smooth)


def arguments(inputs: object, known: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {s.name: known[s.name] for s in inputs}  # type: ignore[attr-defined]


def assert_close(got: object, reference: object, tolerance: float, what: str) -> None:
    scale = max(1.0, float(np.max(np.abs(np.asarray(reference)), initial=0.0)))
    np.testing.assert_allclose(np.asarray(got), np.asarray(reference), rtol=tolerance, atol=tolerance * scale, err_msg=what)


def interpreted(graphs: dict[str, Expr], known: dict[str, np.ndarray], lanes: int, mode: str) -> dict[str, np.ndarray]:
    program, _ = schedule(expand(graphs), lanes=lanes, mode=mode)
    types = {"real": np.float64, "integer": np.int64, "boolean": np.bool_}
    buffers = {}
    for b in program.arguments:
        if b.role == "input":
            buffers[b.name] = np.ascontiguousarray(known[b.name], types[b.kind])
        elif b.role == "constant":
            buffers[b.name] = np.ascontiguousarray(program.constants[b], types[b.kind])
        else:
            buffers[b.name] = np.zeros(b.shape, types[b.kind])
    interpret(program, buffers, {"n": N})
    return {name: buffers[name] for name in graphs}


def python_source(graphs: dict[str, Expr], known: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    f = sg.compile(graphs, cache=False)
    module: dict[str, object] = {"__name__": "generated"}
    exec(compile(f.source("python"), "generated", "exec"), module)
    got = module["value"](*[known[s.name] for s in f.inputs])  # type: ignore[operator]
    return got if isinstance(got, dict) else dict(zip(graphs, got))


def check_values(graphs: dict[str, Expr], seed: int, modes: tuple[str, ...] = MODES) -> None:
    known = values(seed)
    reference = dict(zip(graphs, evaluate(list(graphs.values()), known)))
    for simplify in (True, False):
        for mode in modes:
            f = sg.compile(graphs, mode=mode, simplify=simplify, cache=False)
            got = f(**arguments(f.inputs, known))
            for name in graphs:
                assert_close(got[name], reference[name], 1e-9, f"{name} {mode} simplify={simplify}: {graphs[name]}")


def check_derivatives(graphs: dict[str, Expr], seed: int) -> None:
    """Gradient and Hessian-vector product, compiled, against central differences along a random direction."""
    known = values(seed)
    total = sum((np.cos(k + 1.0) * e for k, e in enumerate(graphs.values())), sg.constant(0.0))
    wrt = [s for s in free_symbols(total) if s.kind == "real"]
    if not wrt:
        return
    f = sg.compile(total, wrt=wrt, cache=False)
    rng = np.random.default_rng(seed)
    direction = {s.name: rng.normal(size=known[s.name].shape) for s in wrt}
    step = 1e-5

    def moved(h: float) -> dict[str, np.ndarray]:
        return {name: a + h * direction[name] if name in direction else a for name, a in known.items()}

    slope = (evaluate(total, moved(step)) - evaluate(total, moved(-step))) / (2 * step)
    gradient = f.grad(**arguments(f.inputs, known))
    assert_close(sum(np.sum(g * direction[s.name]) for g, s in zip(gradient, wrt)), slope, 1e-6, f"gradient of {total}")
    ahead, behind = (f.grad(**arguments(f.inputs, moved(h))) for h in (step, -step))
    products = f.hvp(**arguments(f.inputs, known), v=[direction[s.name] for s in wrt])
    for s, product, p, q in zip(wrt, products, ahead, behind):
        assert_close(product, (p - q) / (2 * step), 1e-5, f"second derivative by {s.name} of {total}")


@settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_any_graph(data: st.DataObject) -> None:
    """Shrinkable: one graph at a time, its back ends and the interpreter."""
    graph = grow(lambda k: data.draw(st.integers(0, k - 1)), 8)
    known = values(1)
    reference = evaluate(graph, known)
    for lanes, mode in ((1, "blas"), (4, "tile"), (4, "loops")):
        assert_close(interpreted({"g": graph}, known, lanes, mode)["g"], reference, 1e-9, f"interpreter, {lanes} lanes, {mode}: {graph}")
    check_values({"g": graph}, 1, ("tile", "blas"))


def test_many_graphs_agree_everywhere() -> None:
    graphs = {f"g{seed}": seeded(seed) for seed in range(30)}
    check_values(graphs, 0, ("blas", "loops"))
    known = values(0)
    reference = dict(zip(graphs, evaluate(list(graphs.values()), known)))
    for got in (python_source(graphs, known), interpreted(graphs, known, 4, "loops")):
        for name in graphs:
            assert_close(got[name], reference[name], 1e-9, f"{name}: {graphs[name]}")


@pytest.mark.parametrize("seed", range(3))
def test_derivatives_to_second_order(seed: int) -> None:
    check_derivatives({f"g{k}": seeded(1000 * seed + k, 10, smooth=True) for k in range(3)}, seed)


@pytest.mark.slow
@pytest.mark.parametrize("start", range(0, 2000, 50))
def test_sweep(start: int) -> None:
    """2,000 graphs, 50 to a compilation; the interpreter and the Python module too."""
    graphs = {f"g{seed}": seeded(seed) for seed in range(start, start + 50)}
    check_values(graphs, start, ("blas", "loops"))
    known = values(start)
    reference = dict(zip(graphs, evaluate(list(graphs.values()), known)))
    results = [interpreted(graphs, known, 4, "loops")]
    if start % 400 == 0:
        results.append(python_source(graphs, known))
    for got in results:
        for name in graphs:
            assert_close(got[name], reference[name], 1e-9, f"{name}: {graphs[name]}")


@pytest.mark.slow
@pytest.mark.parametrize("start", range(5000, 5200, 10))
def test_tile_sweep(start: int) -> None:
    """One graph to a compilation, so that each is tiled if it can be."""
    for seed in range(start, start + 10):
        check_values({"g": seeded(seed)}, seed, ("tile",))


@pytest.mark.slow
@pytest.mark.parametrize("start", range(0, 300, 3))
def test_derivative_sweep(start: int) -> None:
    check_derivatives({f"g{k}": seeded(10_000 + start + k, 10, smooth=True) for k in range(3)}, start)
