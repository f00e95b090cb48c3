"""`crewcap estimate`: what a run will probably cost."""

from __future__ import annotations

import pytest
from tests.cli.run_home import RunHome
from tests.workspaces.repos import make_repository

from crewcap.core.runs import Verdict


@pytest.fixture
def project(home: RunHome, monkeypatch: pytest.MonkeyPatch) -> RunHome:
    make_repository(home.user)
    monkeypatch.chdir(home.user)
    return home


def test_without_runs_of_your_own_it_is_published_and_says_so(project: RunHome) -> None:
    said = project.out("estimate", "-p", "improve everything")
    assert "published, not yours" in said
    assert "0 of 10 runs seen" in said
    assert "dear: it names no path" in said


def test_ten_runs_of_your_own_are_gone_by(project: RunHome) -> None:
    for _ in range(10):
        project.spend(project.add("fix", verdict=Verdict.FINISHED), "0.25")
    said = project.json("estimate", "-p", "adder.py: the test fails, it should add")
    assert (said["basis"], said["p50_usd"], said["p90_usd"], said["dear"]) == (
        "history",
        "0.250000000",
        "0.250000000",
        ["it says little (39 letters): what is not said is looked for"],
    )


def test_the_repositorys_size_is_told(project: RunHome) -> None:
    said = project.json("estimate", "-p", "x")
    assert said["files"] > 0
    assert said["tokens"] > 0
    assert said["read_once_usd"] is not None
