"""What the benchmark does in processes of their own: scripts, cold compilation, memory."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from symgrad.bench import compile as cold
from symgrad.bench import fresh, memory, processes, warm
from symgrad.bench.problems import PROBLEMS, Problem, data, jax_loss, start, symgrad_loss
from symgrad.bench.programs import PROGRAMS

SMALL = {"moons": Problem("moons", (2, 4, 1), 20, 20), "digits": Problem("digits", (6, 5, 3), 12, 4)}


def test_a_program_answers():
    report = fresh.run("import bisect\nanswer = sum(given[0])", [1, 2, 3])
    assert report.answer == 6 and report.seconds > 0 and "bisect" in report.modules and "numpy" not in report.modules


def test_a_program_that_fails_says_why():
    with pytest.raises(RuntimeError, match="no such thing"):
        fresh.run("raise KeyError('no such thing')")


def test_peak_is_of_the_process_itself():
    """Not of the one that started it, which holds more."""
    ballast = np.ones(16 * 2**20)
    small = fresh.run("answer = 0").peak
    large = fresh.run("block = b'x' * (64 * 2**20)\nanswer = len(block)").peak
    assert small < 64 * 2**20 < large and fresh.peak_bytes() > ballast.nbytes


def test_an_import_takes_time():
    assert 0 < fresh.imported("json") < 60


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the process table is Linux's")
def test_what_compiles_must_not_be_imported_by_a_warm_process():
    processes._check_light(fresh.Report(0.0, 1.0, 1, frozenset({"numpy", "llvmlite"})))
    with pytest.raises(RuntimeError, match="imported numba and sympy"):
        processes._check_light(fresh.Report(0.0, 1.0, 1, frozenset({"numpy", "numba", "sympy"})))


def test_every_program_has_its_peer():
    assert set(PROGRAMS) == {f"{who} {what}" for who in ("symgrad", "jax") for what in ("moons", "digits")}
    for name, program in PROGRAMS.items():
        compile(program, name, "exec")


def test_programs_train_the_same_network():
    pytest.importorskip("jax", reason="jax is the peer")
    environment = {"SYMGRAD_CACHE_DIR": "", "JAX_PLATFORMS": "cpu"}
    ours, theirs = (fresh.run(PROGRAMS[f"{who} moons"], environment=environment).answer for who in ("symgrad", "jax"))
    assert ours == pytest.approx(theirs, rel=1e-9)


@pytest.mark.parametrize("name", SMALL)
def test_losses_are_those_of_jax(name):
    jax = pytest.importorskip("jax", reason="jax is the peer")
    import symgrad as sg

    jax.config.update("jax_enable_x64", True)
    problem, before = SMALL[name], start(SMALL[name])
    x, t = data(problem)
    loss, parameters = symgrad_loss(problem)
    assert [p.name for p in parameters] == list(before)
    value, gradients = sg.compile(loss, wrt=parameters, cache=False).value_and_grad(x=x, t=t, **before)
    expected, theirs = jax.value_and_grad(jax_loss(problem))(before, x, t)
    assert value == pytest.approx(float(expected), rel=1e-12)
    for name, gradient in zip(before, gradients):
        np.testing.assert_allclose(gradient, theirs[name], rtol=0, atol=1e-12)


@pytest.mark.parametrize("problem, until", [("neuron", "gradient"), ("moons", "epoch")])
def test_cold_work_agrees(problem, until, tmp_path, monkeypatch):
    pytest.importorskip("jax", reason="jax is the peer")
    monkeypatch.setenv("SYMGRAD_CACHE_DIR", str(tmp_path))
    ours, theirs = cold.symgrad_seconds(problem, until, []), cold.jax_seconds(problem, until)
    assert ours.keys() == theirs.keys() and all(ours[k] == pytest.approx(theirs[k], rel=1e-9) for k in ours if k != "seconds")


def test_cases_name_what_there_is():
    assert {c.parameters["problem"] for c in cold.cases(False)} == {"neuron", *PROBLEMS}
    for case in (*warm.cases(False), *memory.cases(False)):
        assert "program" not in case.parameters or f"symgrad {case.parameters['program']}" in PROGRAMS


@pytest.mark.slow
@pytest.mark.parametrize("workload", [warm.WORKLOAD, memory.WORKLOAD])
def test_a_warm_process(workload):
    case = workload.cases(False)[0]
    ours = workload.contestants["symgrad"](case)
    assert ours.measure() > 0 and np.isfinite(ours.result())
