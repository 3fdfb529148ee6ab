"""What was measured, as tables (terminal, Markdown), as JSON and as a bar chart."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from symgrad.bench.peers import PEERS, peer_of, versions
from symgrad.bench.records import OURS, CaseResult, Verdict, Workload

__all__ = ["Report", "as_json", "as_markdown", "machine", "plot", "rows", "shown", "table"]


@dataclass
class Report:
    """A workload and what came of its cases."""

    workload: Workload
    results: list[CaseResult]

    def verdicts(self) -> list[tuple[str, Verdict]]:
        """All bars: where they stand (a case's name, or nothing for the whole workload), and what became of them."""
        of_cases = [(r.case.name, v) for r in self.results for v in r.verdicts()]
        return of_cases + [("", bar.judge(self.results)) for bar in self.workload.bars]


HEADINGS = ("case", "who", "median", "range", "× symgrad", "of peak", "compile s")
MANY = 10  # cases: beyond, each has one row, and only the bars that are not met are listed


def shown(value: float, quantity: str = "seconds") -> str:
    """A quantity with its unit, three digits.

    >>> shown(0.00000493), shown(2.5), shown(300e6, "bytes")
    ('4.93 µs', '2.5 s', '300 MB')
    """
    if quantity == "bytes":
        return f"{value / 1e6:.3g} MB"
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if value >= size:
            return f"{value / size:.4g} {unit}" if value / size >= 1000 else f"{value / size:.3g} {unit}"
    return f"{value / 1e-9:.3g} ns"


def rows(report: Report) -> list[tuple[str, ...]]:
    """One row a contestant, in the order of :data:`HEADINGS`; a case is named in its first."""
    lines: list[tuple[str, ...]] = []
    for result in report.results:
        for name, timing in result.timings.items():
            quantity = result.case.quantity
            ratio, share = result.ratio(name, OURS), result.share(name)
            lines.append((
                result.case.name if name == next(iter(result.timings)) else "",
                name,
                shown(timing.median, quantity),
                f"{shown(timing.fastest, quantity)} … {shown(timing.slowest, quantity)}",
                _times(ratio),
                f"{share:.0%}" if share is not None else "",
                f"{timing.compile:.2f}" if timing.compile else "",
            ))  # fmt: skip
    return lines


def grid(report: Report) -> tuple[list[str], list[list[str]]]:
    """Headings and rows: a row a contestant, without empty columns; a row a case where there are many."""
    if len(report.results) > MANY:
        return _wide(report)
    return _filled(HEADINGS, rows(report))


def _times(ratio: float | None) -> str:
    if ratio is None:
        return ""
    return f"{ratio:.3g}" if ratio < 1000 else f"{ratio:,.0f}"


def _filled(headings: Sequence[str], lines: Sequence[Sequence[str]]) -> tuple[list[str], list[list[str]]]:
    """Without the columns in which nothing stands."""
    used = [k for k in range(len(headings)) if any(line[k] for line in lines)]
    return [headings[k] for k in used], [[line[k] for k in used] for line in lines]


def _wide(report: Report) -> tuple[list[str], list[list[str]]]:
    """A case's row has symgrad's median, its share of the peak, and the others as multiples of it."""
    others = list(dict.fromkeys(name for r in report.results for name in r.timings if name != OURS))
    lines = []
    for result in report.results:
        share = result.share()
        ratios = [result.ratio(name, OURS) for name in others]
        cells = [shown(result.timings[OURS].median, result.case.quantity), f"{share:.0%}" if share is not None else ""]
        lines.append([result.case.name, *cells, *map(_times, ratios)])
    return _filled(["case", OURS, "of peak", *(f"× {name}" for name in others)], lines)


def table(report: Report) -> Any:
    """A rich table for the terminal."""
    from rich.table import Table

    units = sorted({r.case.unit for r in report.results})
    found = Table(title=f"{report.workload.name}: {report.workload.summary} (a {' or '.join(units)})", title_justify="left")
    headings, lines = grid(report)
    for heading in headings:
        found.add_column(heading, justify="left" if heading in HEADINGS[:2] else "right", overflow="fold")
    for number, line in enumerate(lines):
        last = number + 1 == len(lines)
        found.add_row(*line, end_section=last or (len(report.results) <= MANY and bool(lines[number + 1][0])))
    return found


def conclusions(report: Report) -> list[str]:
    """Bars and notes, a line each."""
    verdicts = report.verdicts()
    listed = [(where, v) for where, v in verdicts if not where or v.met is False or len(report.results) <= MANY]
    lines = [f"{where + ': ' if where else ''}{verdict}" for where, verdict in listed]
    if measured := [v for _, v in verdicts if v.met is not None]:
        lines.append(f"{sum(v.met is True for v in measured)} of {len(measured)} bars met")
    notes = {f"{name}: {why}" for result in report.results for name, why in result.notes.items()}
    return lines + [f"without {note}" for note in sorted(notes)]


def machine(reports: Sequence[Report]) -> dict[str, Any]:
    """The machine, the versions, and the date."""
    peers = {peer_of(name) for report in reports for result in report.results for name in result.timings} & PEERS.keys()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "date": date.today().isoformat(), "processor": _processor(), "cores": cores, "system": platform.system(),
        "python": platform.python_version(), "versions": versions(sorted(peers | {"numpy", "scipy", "numba"})),
    }  # fmt: skip


def _processor() -> str:
    from symgrad.run.engine import host

    name, features = host()
    listed = Path("/proc/cpuinfo")
    lines = listed.read_text(encoding="utf-8").splitlines() if listed.exists() else []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor())
    widest = next((w for w in ("avx512f", "avx2", "avx", "sse2", "neon") if f"+{w}" in features.split(",")), "")
    return f"{model} ({', '.join(filter(None, [name, widest]))})".strip()


def as_json(reports: Sequence[Report]) -> str:
    """Everything that was measured: machine, and for each workload its cases, contestants, every round's value, and the bars."""
    return json.dumps({"machine": machine(reports), "workloads": {r.workload.name: _plain(r) for r in reports}}, indent=1)


def _plain(report: Report) -> dict[str, Any]:
    cases = [{
        "name": r.case.name, "parameters": dict(r.case.parameters), "dtype": r.case.dtype, "threads": r.case.threads, "unit": r.case.unit,
        "quantity": r.case.quantity, "tolerance": r.case.tolerance, "peak": r.peak, "notes": r.notes,
        "contestants": {
            name: {"values": t.values, "median": t.median, "fastest": t.fastest, "slowest": t.slowest, "compile": t.compile,
                   "ratio": r.ratio(name, OURS), "share_of_peak": r.share(name)}
            for name, t in r.timings.items()
        },
    } for r in report.results]  # fmt: skip
    bars = [{"case": where, "bar": v.text, "value": v.value, "met": v.met} for where, v in report.verdicts()]
    return {"summary": report.workload.summary, "cases": cases, "bars": bars}


def as_markdown(reports: Sequence[Report]) -> str:
    """The tables and bars for a README: a row a case."""
    facts = machine(reports)
    packages = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    parts = [f"{facts['date']}, {facts['processor']}, {facts['cores']} cores, {facts['system']}, Python {facts['python']}; {packages}."]
    for report in reports:
        headings, lines = _wide(report)
        parts.append(f"## {report.workload.name}\n\n{report.workload.summary[0].upper()}{report.workload.summary[1:]}.")
        header = [_row(headings), _row("---" if h == "case" else "---:" for h in headings)]
        parts.append("\n".join(header + [_row(line) for line in lines]))
        if ends := conclusions(report):
            parts.append("\n".join(f"- {line}" for line in ends))
    return "\n\n".join(parts) + "\n"


def _row(cells: Any) -> str:
    return f"| {' | '.join(cells)} |"


def plot(reports: Sequence[Report], path: str) -> None:
    """A bar chart: each contestant's time as a multiple of symgrad's, a group of bars a case. Needs matplotlib."""
    from matplotlib.figure import Figure

    groups = [(f"{report.workload.name} {result.case.name}", _ratios(result)) for report in reports for result in report.results]
    names = list(dict.fromkeys(name for _, ratios in groups for name in ratios))
    height = sum(len(ratios) + 1 for _, ratios in groups)
    figure = Figure(figsize=(9, max(2.0, 0.22 * height)), layout="constrained")
    axes = figure.subplots()
    position, ticks = 0.0, []
    for title, ratios in groups:
        ticks.append((position + (len(ratios) - 1) / 2, title))
        for name, ratio in ratios.items():
            axes.barh(position, ratio, color=f"C{names.index(name) % 10}", height=0.9)
            axes.text(ratio, position, f" {name} {ratio:.3g}", va="center", fontsize=7)
            position += 1
        position += 1
    axes.set_yticks([at for at, _ in ticks], [title for _, title in ticks], fontsize=7)
    axes.set_xscale("log")
    axes.axvline(1.0, color="black", linewidth=0.8)
    axes.set_ylim(position - 0.5, -1.0)  # the first on top
    axes.set_xlim(right=3 * max((ratio for _, ratios in groups for ratio in ratios.values()), default=1.0))  # room for the last label
    axes.set_xlabel("× symgrad (shorter is faster)")
    figure.savefig(path)


def _ratios(result: CaseResult) -> Mapping[str, float]:
    found = {name: result.ratio(name, OURS) for name in result.timings}
    return {name: ratio for name, ratio in found.items() if ratio is not None}
