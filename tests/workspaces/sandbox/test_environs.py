"""Keys that lie about in environments of our other processes (MONEY 8)."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from crewcap.workspaces.sandbox.environs import readable_keys

NAME = "CREWCAP_TEST_KEY"


@pytest.fixture
def carrier() -> Iterator[int]:
    """A process of ours that has a key in its environment."""
    with subprocess.Popen(["sleep", "60"], env={NAME: "sk-ant-fake", "EMPTY": ""}) as process:
        yield process.pid
        process.kill()


def test_a_process_that_carries_a_key_is_found(carrier: int) -> None:
    assert readable_keys([NAME]) == [carrier]


def test_an_empty_variable_is_no_key(carrier: int) -> None:
    assert carrier not in readable_keys(["EMPTY"])


def test_other_names_are_not_looked_for(carrier: int) -> None:
    assert carrier not in readable_keys(["CREWCAP_TEST", "TEST_KEY"])
