"""The demo, played for real, and the README that shows it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tools.recording import README, play, recorded, shape

from crewcap.agents import AGENTS
from crewcap.agents.find import find
from crewcap.core.money import Money
from crewcap.demo.play import Books
from crewcap.demo.stage import build
from crewcap.errors import UnsafeEnvironment, UsageError


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> str:
    try:
        find(AGENTS["claude"]())
    except UnsafeEnvironment as missing:
        pytest.skip(missing.message)
    done = play(tmp_path_factory.mktemp("demo"))
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.agent
def test_the_readme_shows_what_the_demo_prints(played: str) -> None:
    """A recording that goes stale is a lie; `python -m tools.recording` writes a new one."""
    assert shape(recorded(README.read_text(encoding="utf-8"))) == shape(played)


@pytest.mark.agent
def test_the_agent_alone_goes_far_over_its_cap_and_ours_does_not(played: str) -> None:
    """The whole pitch: the same agent, the same script, the same cap, twice."""
    alone, capped = re.findall(r"cap(?:-budget-usd)? 0\.10 +\$([\d.]+)|budget-usd 0\.10 +\$([\d.]+)", played)[:2]
    bare, ours = Money.usd(max(alone)), Money.usd(max(capped))
    assert bare > Money.usd(1)
    assert Money.usd("0.06") <= ours <= Money.usd("0.10")


@pytest.mark.agent
def test_at_least_three_agents_worked_before_the_cap(played: str) -> None:
    """A cap that stops the first request would hold as well, and be of no use."""
    found = re.search(r"why: (\d+) requests asked, (\d+) fitted", played)
    assert found is not None
    assert int(found[2]) >= 3


@pytest.mark.agent
def test_both_books_are_shown_and_equal(played: str) -> None:
    row = re.search(r"both acts +\$(\d+\.\d{9}) +\$(\d+\.\d{9}) +0 ", played)
    assert row is not None
    assert row[1] == row[2]


def test_a_difference_of_one_unit_is_a_difference() -> None:
    assert not Books(meter=Money(1), ledger=Money(2)).is_equal


def test_a_folder_that_the_demo_did_not_make_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep me")
    with pytest.raises(UsageError, match="the demo did not make it"):
        build(tmp_path, {"PATH": "/usr/bin:/bin"})
    assert (tmp_path / "mine.txt").read_text() == "keep me"


def test_its_own_folder_is_made_anew(tmp_path: Path) -> None:
    stage = build(tmp_path / "crewcap-demo", {"PATH": "/usr/bin:/bin"})
    (stage.project / "left-over").touch()
    again = build(tmp_path / "crewcap-demo", {"PATH": "/usr/bin:/bin"})
    assert not (again.project / "left-over").exists()
    assert again.issue("fix-login").read_text().startswith("---")
