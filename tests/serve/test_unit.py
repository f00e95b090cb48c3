"""The systemd unit, read as systemd reads it."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from crewcap.errors import CrewcapError, LedgerError, UnsafeEnvironment, UsageError, error_of
from crewcap.runner.worker.fencing import SeatTaken
from crewcap.serve.unit import LEFT_OUT, Installation, Kind, unit


def installation(kind: Kind, **fields: Any) -> Installation:
    usual: dict[str, Any] = {
        "home": None, "config": None, "listen": None, "slots": None, "path": "/usr/bin:/bin", "drain_s": 120.0,
        "usual_home": Path("/home/ana/.local/state/crewcap"),
    }  # fmt: skip
    return Installation.find(kind=kind, **{**usual, **fields})


def parsed(text: str) -> Mapping[str, Mapping[str, Sequence[str]]]:
    """Sections, keys, and every value of a key in order."""
    found: dict[str, dict[str, list[str]]] = {}
    for line in text.splitlines():
        if line.startswith("["):
            section = found.setdefault(line.strip("[]"), {})
        elif line and not line.startswith("#"):
            key, _, value = line.partition("=")
            section.setdefault(key, []).append(value)
    return found


def test_a_users_unit_starts_this_installation_with_its_own_state(tmp_path: Path) -> None:
    service = parsed(unit(installation("user", config=tmp_path / "c.toml", slots=4)))["Service"]
    program, *words = shlex.split(service["ExecStart"][0])
    assert os.access(program, os.X_OK)
    assert words[:3] == ["serve", "--home", "/home/ana/.local/state/crewcap"] or words[:3] == ["-P", "-m", "crewcap"]
    assert words[-4:] == ["--config", str(tmp_path / "c.toml"), "--slots", "4"]
    assert "User" not in service
    assert service["EnvironmentFile"] == ["-%h/.config/crewcap/keys.env"]


def test_the_machines_unit_has_a_user_and_writes_to_its_state_and_to_local_repositories() -> None:
    service = parsed(unit(installation("system", repositories=["/srv/git/my shop"])))["Service"]
    assert (service["User"], service["StateDirectory"]) == (["crewcap"], ["crewcap"])
    assert service["ProtectSystem"] == ["strict"]
    assert service["ReadWritePaths"] == ["-/var/lib/crewcap", '-"/srv/git/my shop"']
    assert "/var/lib/crewcap" in service["ExecStart"][0]


def test_it_ends_in_order_and_starts_again_only_where_that_may_help() -> None:
    service = parsed(unit(installation("system", drain_s=300.0)))["Service"]
    assert service["KillMode"] == ["mixed"]
    assert service["TimeoutStopSec"] == ["315s"]
    assert service["WatchdogSec"] == ["2min"]
    assert (service["Restart"], service["RestartPreventExitStatus"]) == (["on-failure"], ["2 4"])
    assert service["Type"] == ["notify"]


def test_what_passes_by_itself_is_no_reason_to_stay_away() -> None:
    """A worker of before that takes longer to end than the next one waits for its place, and a child that dies."""
    service = parsed(unit(installation("system")))["Service"]
    final = {int(status) for status in service["RestartPreventExitStatus"][0].split()}
    told = error_of({"code": SeatTaken.code, "message": "another worker is alive", "help": ""})  # as a worker tells it
    assert {told.exit_status, CrewcapError.exit_status, LedgerError.exit_status} & final == set()
    assert {UsageError.exit_status, UnsafeEnvironment.exit_status} == final


@pytest.mark.parametrize("kind", ["user", "system"])
def test_nothing_is_set_that_would_keep_bubblewrap_from_making_a_sandbox(kind: Kind) -> None:
    """Each option that is left out is named with its reason, and is not there."""
    text = unit(installation(kind))
    options = {option for line in LEFT_OUT for option in line.split(", ")} | {"ProtectHome", "PrivateUsers"}
    assert not options & set(parsed(text)["Service"])
    for option, why in LEFT_OUT.items():
        assert f"#   {option}: {why}" in text
    assert "AF_NETLINK" in parsed(text)["Service"]["RestrictAddressFamilies"][0]


def test_no_secret_and_no_words_of_systemds_own_get_into_it() -> None:
    """`%` is a specifier there, `$` a variable."""
    text = unit(installation("user", home=Path("/home/ana/100% $mine"), path="/opt/a b:/bin"))
    service = parsed(text)["Service"]
    assert '"/home/ana/100%% $$mine"' in service["ExecStart"][0]
    assert service["Environment"] == ['"PATH=/opt/a b:/bin"']


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
@pytest.mark.parametrize("kind", ["user", "system"])
def test_systemd_has_nothing_to_say_against_it(kind: Kind, tmp_path: Path) -> None:
    file = tmp_path / "crewcap.service"
    file.write_text(unit(installation(kind)))
    ended = subprocess.run(
        ["systemd-analyze", f"--{kind}", "--man=no", "verify", str(file)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)},
    )
    assert (ended.returncode, ended.stdout + ended.stderr) == (0, "")
