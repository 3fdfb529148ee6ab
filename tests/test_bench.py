"""The benchmark: contestants agree before they are timed, take turns, and bars are judged; a second process starts warm."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from symgrad import bench
from symgrad.bench import measure, moons, peak, peers, report, worker
from symgrad.bench.command import bench as command
from symgrad.bench.records import Bar, Case, CaseResult, Contestant, Timing, Workload, at_most, at_most_seconds, share_of_peak
from symgrad.bench.worker import Local, Refusal, Remote


def constant(value: object, **more: object) -> Local:
    return Local(lambda case: Contestant(lambda count: value, lambda: value, count=1, **more))


def result(**values: list[float]) -> CaseResult:
    case = Case("case", flops=10.0)
    return CaseResult(case, {name.replace("_", " "): Timing(v) for name, v in values.items()}, {"fma": 20.0})


# --- measuring -------------------------------------------------------------------------------------


def test_other_work_is_refused():
    contestants = {"symgrad": constant(1.0), "numpy": constant(1.1)}
    with pytest.raises(ArithmeticError, match=r"small: the result of numpy and of symgrad, 1\.1 and 1\.0, .*not the same work"):
        measure.measure_case(Case("small", tolerance=1e-3), contestants)


@pytest.mark.parametrize("theirs", [np.zeros(3), np.array([1.0, np.nan]), {"another": 1.0}])
def test_other_results_are_other_work(theirs):
    with pytest.raises(ArithmeticError):
        measure.agree("case", "numpy", {"symgrad": np.ones(2), "numpy": theirs}, 1e-3)


def test_contestants_may_report_less_and_differ_by_their_own_tolerance():
    contestants = {"symgrad": constant({"a": 1.0, "b": 2.0}), "numpy": constant({"a": 1.05}, tolerance=0.1)}
    found = measure.measure_case(Case("case", turn=1e-6, rounds=1), contestants)
    assert set(found.timings) == {"symgrad", "numpy"}


def test_contestants_take_turns():
    order: list[str] = []

    def taking(name: str) -> Local:
        return Local(lambda case: Contestant(lambda count: order.append(name), lambda: 0.0, count=5))

    found = measure.measure_case(Case("case", rounds=3), {name: taking(name) for name in ("symgrad", "numpy")})
    assert order == ["symgrad", "numpy"] * 3
    assert all(len(t.values) == 3 and t.fastest <= t.median <= t.slowest for t in found.timings.values())


def test_a_slow_contestant_sits_out(monkeypatch):
    monkeypatch.setattr(measure, "PATIENCE", 0.0)
    found = measure.measure_case(Case("case", rounds=5), {"symgrad": constant(1.0)})
    assert len(found.timings["symgrad"].values) == measure.FEWEST


def test_a_count_is_found_that_takes_a_turn():
    counts: list[int] = []

    def run(count: int) -> None:
        counts.append(count)
        sum(range(count))

    local = Local(lambda case: Contestant(run, lambda: 0.0, stride=7))
    local.build(Case("case"))
    assert local.calibrate(1e-3) == counts[-1] and counts[-1] % 7 == 0 and len(counts) > 1


def test_what_measures_itself_is_not_timed():
    found = measure.measure_case(Case("case", rounds=2), {"symgrad": Local(lambda case: Contestant(None, lambda: 0, measure=lambda: 42.0))})
    assert found.timings["symgrad"].values == [42.0, 42.0]


def test_a_peer_that_cannot_is_a_note_and_symgrad_is_an_error():
    class Broken(Local):
        def build(self, case):
            raise Refusal("RuntimeError: no")

    found = measure.measure_case(Case("case", turn=1e-6), {"symgrad": constant(1.0), "jax": Broken(lambda case: None)})
    assert found.notes == {"jax": "RuntimeError: no"} and list(found.timings) == ["symgrad"]
    with pytest.raises(Refusal):
        measure.measure_case(Case("case"), {"symgrad": Broken(lambda case: None)})


def test_a_worker_is_a_contestant_in_its_own_process(capfd):
    case = Case("relu", moons.Task((2, 16, 16, 1), 20, 20, loss="hinge", data="moons").parameters(), bars=(at_most(1.0, "jax"),))
    worker = Remote(moons.__name__, "numpy", 1)
    try:
        _, theirs, tolerance = worker.build(case)
        _, ours, _ = Local(moons.WORKLOAD.contestants["numpy"]).build(case)
        assert tolerance == case.tolerance and theirs.keys() == ours.keys()
        assert all(np.allclose(theirs[k], ours[k], rtol=1e-12) for k in ours)
        assert worker.turn(worker.calibrate(1e-3)) > 0
        with pytest.raises(Refusal, match="KeyError"):
            worker.build(replace(case, parameters={**case.parameters, "activation": "unheard of"}))
    finally:
        worker.close()
    assert worker.process.returncode == 0


@pytest.mark.parametrize(("spinning", "slept"), [(0.0, 1), (0.03, 16), (1e9, 100)])
def test_a_turn_ends_when_the_pools_sleep(monkeypatch, spinning, slept):
    """A pool that waits actively for so many seconds more, on a clock of its own; one that always does is not waited for."""
    now = [0.0]
    monkeypatch.setattr(worker.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(worker.time, "process_time", lambda: min(now[0], spinning))
    monkeypatch.setattr(worker.time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    worker.settle()
    assert now[0] == pytest.approx(slept * worker.QUIET)


def test_a_worker_that_ends_is_a_refusal(tmp_path, monkeypatch):
    (tmp_path / "ending.py").write_text("import os\nCONTESTANTS = {'one': lambda case: os._exit(3)}\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    worker = Remote("ending", "one", 1)
    try:
        for _ in range(2):
            with pytest.raises(Refusal, match="its process ended, status 3"):
                worker.build(Case("case"))
    finally:
        worker.close()


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_peak_is_a_plausible_rate(dtype):
    case = Case("peak", dtype=dtype)
    seconds = {}
    for name, maker in peak.CONTESTANTS.items():
        local = Local(maker)
        local.build(case)
        seconds[name] = local.turn(1)
    found = peak.rates(seconds, case)
    assert 1e8 < found["fma"] < 1e13 and 1e7 < found["copy"] < 1e13


# --- judging ---------------------------------------------------------------------------------------


def test_ratios_are_the_median_of_the_rounds():
    found = result(symgrad=[1.0, 2.0, 30.0, 1.0], jax=[2.0, 8.0, 90.0])
    assert found.ratio("jax", "symgrad") == 3.0 and found.ratio("torch", "symgrad") is None
    assert found.share() == pytest.approx(10.0 / 20.0 / 1.5)


@pytest.mark.parametrize("bar, text, met", [
    (at_most(0.5, "jax"), "≤ 0.5 × jax: 0.4, met", True),
    (at_most(0.3, "jax"), "≤ 0.3 × jax: 0.4, NOT met", False),
    (at_most(0.3, "jax", "torch"), "≤ 0.3 × best of jax, torch: 0.4, NOT met", False),
    (at_most(0.3, "torch"), "≤ 0.3 × torch: not measured", None),
    (at_most(1.5, "jax", of="symgrad dict"), "symgrad dict ≤ 1.5 × jax: 1, met", True),
    (at_most_seconds(3.0), "≤ 3 s: 2, met", True),
    (share_of_peak(0.4), "≥ 40% of peak: 0.25, NOT met", False),
])  # fmt: skip
def test_bars(bar, text, met):
    verdict = bar.judge(result(symgrad=[2.0], jax=[5.0], symgrad_dict=[5.0]))
    assert str(verdict) == text and verdict.met is met


# --- reporting -------------------------------------------------------------------------------------


def finished() -> report.Report:
    bars = (Bar("cases", 1, len),)
    workload = Workload("small", "what is small", lambda full: [], {}, bars=bars)
    found = result(symgrad=[1e-6, 2e-6, 3e-6], jax=[4e-6, 5e-6, 6e-6])
    found.case = replace(found.case, bars=(at_most(0.5, "jax"), at_most(0.5, "torch")))
    found.notes["torch"] = "not installed"
    return report.Report(workload, [found])


def test_rows():
    assert report.rows(finished())[0][:5] == ("case", "symgrad", "2 µs", "1 µs … 3 µs", "1")
    assert report.rows(finished())[1][:5] == ("", "jax", "5 µs", "4 µs … 6 µs", "2.5")
    assert report.conclusions(finished()) == [
        "case: ≤ 0.5 × jax: 0.4, met", "case: ≤ 0.5 × torch: not measured", "cases: 1, met", "2 of 2 bars met",
        "without torch: not installed",
    ]  # fmt: skip


def test_many_cases_have_a_row_each():
    report_ = finished()
    report_.results = report_.results * 11
    headings, lines = report.grid(report_)
    assert headings == ["case", "symgrad", "of peak", "× jax"] and lines == [["case", "2 µs", "25000000%", "2.5"]] * 11
    # What is met is counted, not listed; the first is a bar for all cases.
    assert report.conclusions(report_) == ["cases: 11, NOT met", "11 of 12 bars met", "without torch: not installed"]


def test_an_empty_column_is_left_out():
    report_ = finished()
    report_.results[0].peak.clear()
    assert "of peak" not in report.grid(report_)[0] and "of peak" not in report.as_markdown([report_])


def test_json_has_every_value():
    found = json.loads(report.as_json([finished()]))
    [case] = found["workloads"]["small"]["cases"]
    assert case["contestants"]["jax"]["values"] == [4e-6, 5e-6, 6e-6] and case["contestants"]["jax"]["ratio"] == pytest.approx(2.5)
    assert found["workloads"]["small"]["bars"][0] == {"case": "case", "bar": "≤ 0.5 × jax", "value": pytest.approx(0.4), "met": True}
    assert found["machine"]["cores"] >= 1 and found["machine"]["versions"]["numpy"] == np.__version__


def test_markdown_is_a_table():
    text = report.as_markdown([finished()])
    assert "| case | symgrad | of peak | × jax |" in text and "| case | 2 µs |" in text and "- case: ≤ 0.5 × jax: 0.4, met" in text


def test_the_chart_is_drawn(tmp_path):
    pytest.importorskip("matplotlib", reason="bars are drawn by matplotlib")
    report.plot([finished()], str(tmp_path / "bars.svg"))
    assert (tmp_path / "bars.svg").read_text().startswith("<?xml")


# --- choosing --------------------------------------------------------------------------------------


def test_unknown_names_are_named():
    with pytest.raises(ValueError, match=r"no workload is called 'nonsense'; there is .*moons"):
        bench.run(["nonsense"])
    with pytest.raises(ValueError, match="abacus"):
        bench.run(["moons"], ["abacus"])


def test_absent_peers_do_not_take_part(monkeypatch):
    monkeypatch.setattr(peers, "find_spec", lambda name: object() if name == "numpy" else None)
    assert peers.choose(["symgrad", "symgrad dict", "jax", "jax loop", "numpy"], None) == (["symgrad", "symgrad dict", "numpy"], ["jax"])
    assert peers.choose(["symgrad", "jax", "numpy"], ["numpy"]) == (["symgrad", "numpy"], [])


def test_every_contestant_is_a_known_peer():
    named = {peers.peer_of(c) for workload in bench.WORKLOADS.values() for c in workload.contestants}
    assert named - {"symgrad"} <= peers.PEERS.keys()


def test_every_case_is_plain_data_and_has_known_contestants():
    for workload in bench.WORKLOADS.values():
        assert "symgrad" in workload.contestants
        for case in [*workload.cases(False), *workload.cases(True)]:
            json.dumps(dict(case.parameters))
            assert set(case.contestants) <= workload.contestants.keys()


def test_help_lists_every_workload(capsys):
    assert all(f"  {name} " in command.get_help(command.make_context("bench", [], resilient_parsing=True)) for name in bench.WORKLOADS)


# --- moons -----------------------------------------------------------------------------------------


def small(activation: str, dtype: str) -> Case:
    task = moons.Task((2, 16, 16, 1), 30, 30, activation, "hinge", decay=0.9, penalty=1e-4, data="moons")
    return Case("small", task.parameters(), dtype)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("dtype, tolerance", [("float64", 1e-10), ("float32", 1e-3)])
def test_symgrad_and_numpy_take_the_same_steps(activation, dtype, tolerance):
    case = small(activation, dtype)
    results = {name: moons.WORKLOAD.contestants[name](case).result() for name in ("symgrad", "numpy")}
    measure.agree("small", "numpy", results, tolerance)
    assert len(results["symgrad"]) == 14  # a loss and six parameters, twice


@pytest.mark.parametrize("peer", ["c", "jax", "torch", "micrograd"])
def test_a_peer_takes_the_same_steps(peer):
    if not peers.installed(peer):
        pytest.skip(f"{peer} is one of the peers")
    for activation in ("relu", "tanh") if peer != "micrograd" else ("relu",):
        case = small(activation, "float64")
        results = {"symgrad": moons.WORKLOAD.contestants["numpy"](case).result(), peer: moons.WORKLOAD.contestants[peer](case).result()}
        measure.agree("small", peer, results, 1e-10)


@pytest.mark.slow
def test_the_table(capsys):
    [found] = bench.run(["moons"], ["numpy"])
    assert [r.case.name for r in found.results][:2] == ["relu float32 100", "tanh float32 100"]
    assert all(set(r.timings) == {"symgrad", "numpy"} for r in found.results)


SCRIPT = """
import json, sys
import numpy as np
import symgrad as sg
points = np.random.default_rng(0).normal(size=(60, 2))
net = sg.nn.MLP(2, [8, 1])
x, t = sg.symbol("x", ("n", 2)), sg.symbol("t", "n")
loss = sg.nn.hinge(net(x)[:, 0], t) + 1e-4 * net.l2()
fit = sg.fit(loss, net.init(seed=0), {"x": points, "t": np.sign(points[:, 0])}, optimizer=sg.optim.SGD(0.5), epochs=20, progress=False)
loaded = [m for m in ("sympy", "numba") if m in sys.modules]
print(json.dumps([fit.step.cached, loaded, sorted(fit.timings), [v.tobytes().hex() for v in fit.params.values()]]))
"""


def test_a_second_process_trains_without_sympy_or_llvm(tmp_path):
    environment = {**os.environ, "SYMGRAD_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[1])}
    runs = []
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, env=environment, timeout=300)
        assert done.returncode == 0, done.stderr
        runs.append(json.loads(done.stdout))
    (cold, _, stages, bits), (warm, loaded, warm_stages, warm_bits) = runs
    assert not cold and warm
    assert loaded == [] and not {"simplify", "schedule", "compile"} & set(warm_stages) and {"simplify", "compile"} <= set(stages)
    assert bits == warm_bits
