"""What a run can reach, in words."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from crewcap.runner.reach import contacted, loosened, network, unheeded
from crewcap.settings.models import RepoSettings
from crewcap.workspaces.egress.log import Connection

OPENED = Connection(at=datetime(2026, 11, 22, tzinfo=UTC), phase="setup", host="pypi.org", port=443, verdict="opened")


@pytest.mark.parametrize(
    ("project", "says"),
    [
        (RepoSettings(), "model gateway"),
        (RepoSettings(hosts=("python",)), "model gateway; python hosts in setup only"),
        (
            RepoSettings(hosts=("python", "npm", "files.example.org")),
            "model gateway; python and npm hosts, files.example.org in setup only",
        ),
        (
            RepoSettings(hosts=("files.example.org",), hosts_during_run=True),
            "model gateway and files.example.org, all the time",
        ),
    ],
)
def test_the_network_in_one_line(project: RepoSettings, says: str) -> None:
    assert network("bubblewrap", project) == says


def test_without_a_wall_it_is_open_whatever_is_listed() -> None:
    assert network("unconfined", RepoSettings(hosts=("python",))) == "open"


def test_what_an_open_network_does_not_keep_is_said_where_something_is_set() -> None:
    listed = RepoSettings(hosts=("python",))
    (said,) = unheeded("unconfined", listed)
    assert said == "hosts, and credentials in [registries] for them, do not apply in unconfined: its network is open"
    assert loosened("unconfined", listed) == (said,)
    assert unheeded("unconfined", RepoSettings()) == unheeded("bubblewrap", listed) == ()


def test_ports_are_a_loosening_and_are_said_as_one() -> None:
    project = RepoSettings(ports={5432: "127.0.0.1:5432"})
    assert loosened("bubblewrap", project) == ("port 5432 inside leads to 127.0.0.1:5432: loosened",)


def test_each_host_is_named_once_by_what_became_of_it() -> None:
    refused = replace(OPENED, host="tracker.example.org", verdict="refused")
    assert contacted([OPENED, OPENED, refused]) == (
        "hosts reached: pypi.org",
        "hosts asked for and refused: tracker.example.org",
    )
    assert contacted([]) == ()


def test_a_long_list_is_cut() -> None:
    (said,) = contacted(replace(OPENED, host=f"h{number}.example.org") for number in range(25))
    assert said.endswith("h19.example.org and 5 more")
