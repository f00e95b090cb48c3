"""The log of connections: what a crash leaves, what a stranger may write, what people paste."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from crewcap.workspaces.egress import log as egress_log
from crewcap.workspaces.egress.log import NetworkLog, asked_and_refused, hosts_line, read_log
from crewcap.workspaces.egress.rules import NOT_LISTED

BEGAN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "network.jsonl"


def opened(path: Path) -> NetworkLog:
    ticks: Iterator[datetime] = (BEGAN + timedelta(seconds=second) for second in range(10**9))
    return NetworkLog(path, phase="setup", hosts=("python",), clock=lambda: next(ticks))


def test_a_connection_is_written_with_what_it_carried(path: Path) -> None:
    with opened(path) as log:
        begun = log.opened("pypi.org", 443)
        assert [each.is_over for each in read_log(path)] == [False]
        log.ended(begun, reason="", bytes_out=10, bytes_in=20, seconds=0.12345)
    (found,) = read_log(path)
    assert (found.at, found.phase, found.host, found.port, found.verdict) == (BEGAN, "setup", "pypi.org", 443, "opened")
    assert (found.bytes_out, found.bytes_in, found.seconds, found.is_over) == (10, 20, 0.123, True)


def test_only_its_owner_can_read_it(path: Path) -> None:
    with opened(path):
        assert path.stat().st_mode & 0o777 == 0o600


def test_what_was_asked_for_and_is_on_no_list_can_be_pasted(path: Path) -> None:
    with opened(path) as log:
        log.refused("files.example.org", 443, NOT_LISTED)
        log.refused("127.0.0.1", 443, "an address")
        log.refused("API.Example.org", 443, NOT_LISTED)
        log.refused("files.example.org", 443, NOT_LISTED)
        log.refused('x"]\nrm -rf', 443, NOT_LISTED)
        log.refused("pypi.org", 22, "port 22 is closed")
    assert asked_and_refused(path) == ("files.example.org", "api.example.org")
    assert hosts_line(path) == 'hosts = ["python", "files.example.org", "api.example.org"]'


def test_a_host_that_belongs_to_a_list_is_proposed_as_the_list(path: Path) -> None:
    with opened(path) as log:
        log.refused("registry.npmjs.org", 443, NOT_LISTED)
        log.refused("files.example.org", 443, NOT_LISTED)
    assert hosts_line(path) == 'hosts = ["python", "npm", "files.example.org"]'


def test_nothing_was_asked_for_where_there_is_no_log(path: Path) -> None:
    assert (read_log(path), asked_and_refused(path), hosts_line(path)) == ((), (), "")


def test_a_torn_line_is_passed_over_and_the_next_phase_begins_a_new_one(path: Path) -> None:
    with opened(path) as log:
        log.refused("a.test", 443, NOT_LISTED)
    path.write_bytes(path.read_bytes() + b'{"id": "1", "at": "20')
    with opened(path) as log:
        log.refused("b.test", 443, NOT_LISTED)
    assert asked_and_refused(path) == ("a.test", "b.test")


def test_two_phases_of_one_process_are_told_apart(path: Path) -> None:
    for _ in range(2):
        with opened(path) as log:
            log.ended(log.opened("a.test", 443), reason="", bytes_out=1, bytes_in=1, seconds=0)
    assert [each.bytes_out for each in read_log(path)] == [1, 1]


def test_it_is_bounded_and_open_connections_still_get_their_end(path: Path) -> None:
    with opened(path) as log:
        begun = log.opened("first.test", 443)
        with path.open("ab") as file:
            file.truncate(egress_log.LARGEST)
    with opened(path) as log:
        size = path.stat().st_size
        log.refused("late.test", 443, NOT_LISTED)
        assert path.stat().st_size == size
        log.ended(begun, reason="", bytes_out=1, bytes_in=1, seconds=0)
        assert path.stat().st_size > size


def test_names_are_escaped_and_cut(path: Path) -> None:
    with opened(path) as log:
        log.refused("\x1b[31m\n" + "ä" * 500, 443, NOT_LISTED)
    (line,) = path.read_bytes().splitlines()
    assert line.isascii()
    assert len(json.loads(line)["host"]) == 253


def test_it_is_never_written_through_a_link(path: Path, tmp_path: Path) -> None:
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic"):
        opened(path)
