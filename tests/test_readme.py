"""The README's tour runs: its Python blocks, in order, in one namespace, with the results that it shows."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", README, flags=re.M | re.S)


def test_the_tour(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = "\n".join(BLOCKS)
    tour = doctest.DocTestParser().get_doctest(text, {"__name__": "readme"}, "README.md", "README.md", 0)
    assert len(tour.examples) >= 20
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    failures: list[str] = []
    runner = doctest.DocTestRunner(optionflags=flags, verbose=False)
    runner.run(tour, out=failures.append)
    assert runner.failures == 0, "".join(failures)


def test_every_link_into_the_repository_leads_somewhere():
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if not link.startswith("http")]
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_two_commands_are_those_that_ci_runs():
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    for command in ('python -m pip install ".[viz,sklearn]"', "symgrad train moons", '-e ".[test]"', "python -m pytest"):
        assert command in README and command in ci
