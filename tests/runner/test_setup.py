"""What is said of a setup that failed, and what would help it."""

from __future__ import annotations

import pytest

from crewcap.runner.setup import SetUp


@pytest.mark.parametrize(
    ("limits", "keys"),
    [
        (("disk",), 'disk = "SIZE"'),
        (("", "memory"), 'memory = "SIZE"'),
        (("disk", "memory", "disk"), 'memory = "SIZE" and disk = "SIZE"'),
    ],
)
def test_one_that_met_a_limit_names_the_setting_that_raises_it(limits: tuple[str, ...], keys: str) -> None:
    done = SetUp(command="make", seconds=1, failed="exit 1", limits=limits)
    assert done.way_round == f"give it more: {keys} under [repos.NAME] of your own settings"


def test_a_limit_that_no_setting_raises_names_none() -> None:
    assert SetUp(command="make", seconds=1, failed="ended at its limit on output", limits=("output",)).way_round == ""


def test_a_program_that_is_missing_is_shown_with_tools() -> None:
    assert "tools = [" in SetUp(command="make", seconds=1, failed="exit 127").way_round
