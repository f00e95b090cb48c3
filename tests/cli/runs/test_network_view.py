"""`crewcap show --network`: where a run went, where it was not let, and what to paste."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from tests.cli.run_home import RunHome

from crewcap.cli.runs.network_view import network_lines, size
from crewcap.cli.screen.figures import columns_of
from crewcap.workspaces.egress.log import NAME, Connection, NetworkLog
from crewcap.workspaces.egress.rules import NOT_LISTED

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
WENT = Connection(
    at=NOON,
    phase="setup",
    host="pypi.org",
    port=443,
    verdict="opened",
    bytes_out=1_930,
    bytes_in=49_683,
    hosts=("python",),
)
LOST = replace(WENT, host="files.example.org", verdict="refused", reason=NOT_LISTED, bytes_out=0, bytes_in=0)


def test_connections_are_told_by_host_and_what_is_missing_can_be_pasted() -> None:
    lines = network_lines("fix.1", (WENT, WENT, LOST, replace(WENT, port=80, is_over=False)), 200)
    assert lines == [
        "fix.1   3 connections opened, 1 refused; 5.7 kB out, 149 kB in",
        "  setup  opened   pypi.org                              2x  3.8 kB out, 99 kB in",
        "  setup  refused  files.example.org                     1x  not in hosts",
        "  setup  opened   pypi.org:80                           1x  1.9 kB out, 49 kB in; still open",
        "",
        "  it asked for hosts that are not in `hosts`; to allow them:",
        '  hosts = ["python", "files.example.org"]',
    ]


def test_a_run_that_asked_for_nothing_says_so() -> None:
    assert network_lines("fix.1", (), 80) == [
        "fix.1   no connection was asked for; the model gateway alone is open to it"
    ]


def test_a_run_without_a_wall_was_not_watched(home: RunHome) -> None:
    run = home.add(sandbox="unconfined")
    said = f"{run.name}   the network was open, and nothing was watched: it ran unconfined\n"
    assert home.out("show", run.name, "--network") == said
    assert home.json("show", run.name, "--network")["watched"] is False


def test_a_pipe_gets_every_word() -> None:
    lost = replace(LOST, host=f"{'a' * 60}.example.org", reason="far " * 60)
    row = network_lines("fix.1", (lost,), None)[1]
    assert lost.host in row
    assert row.endswith("far " * 59 + "far")


@pytest.mark.parametrize("columns", [30, 80])
def test_it_fits_the_terminal_and_what_is_pasted_is_never_cut(columns: int) -> None:
    lines = network_lines("fix.1", (WENT, LOST), columns)
    assert all(columns_of(line) <= columns for line in lines[:-2])
    assert lines[-1] == '  hosts = ["python", "files.example.org"]'


def test_a_strangers_name_is_harmless_on_a_terminal() -> None:
    (_, row, *_) = network_lines("fix.1", (replace(LOST, host="\x1b]0;x\x07evil\n.test", reason="\x1b[31mred"),), 200)
    assert "\x1b" not in row
    assert "evil" in row


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 B"), (999, "999 B"), (2_100, "2.1 kB"), (41_000_000, "41 MB"), (3_250_000_000, "3.2 GB")],
)
def test_sizes_are_short(number: int, text: str) -> None:
    assert size(number) == text


def test_the_command_reads_the_runs_own_log(home: RunHome) -> None:
    run = home.add()
    folder = home.home.run(run.id)
    folder.mkdir(parents=True)
    with NetworkLog(folder / NAME, phase="setup", hosts=("python",), clock=lambda: NOON) as log:
        log.ended(log.opened("pypi.org", 443), reason="", bytes_out=10, bytes_in=20, seconds=1)
        log.refused("files.example.org", 443, NOT_LISTED)
    assert home.out("show", run.name, "--network").splitlines()[-1] == '  hosts = ["python", "files.example.org"]'
    said = home.json("show", run.name, "--network")
    assert (said["run"], said["refused_hosts"]) == (run.name, ["files.example.org"])
    assert said["suggestion"] == 'hosts = ["python", "files.example.org"]'
    assert [(each["host"], each["verdict"], each["bytes_in"]) for each in said["connections"]] == [
        ("pypi.org", "opened", 20),
        ("files.example.org", "refused", 0),
    ]


def test_a_run_without_a_log_is_no_error(home: RunHome) -> None:
    run = home.add()
    assert home.json("show", run.name, "--network") == {
        "run": run.name,
        "watched": True,
        "connections": [],
        "refused_hosts": [],
        "suggestion": None,
    }
