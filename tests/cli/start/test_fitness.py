"""What `doctor` says of sandboxes and limits."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from tests.contracts.plain_user import become, python, run

from crewcap.workspaces import LADDER, LIMIT_NAMES, SANDBOXES
from crewcap.workspaces.sandbox.uids import is_root

pytestmark = pytest.mark.sandbox


def _doctor(*words: str, home: Path) -> dict[str, list[dict[str, str]]]:
    argv = [sys.executable, "-m", "crewcap", "--home", str(home), "doctor", "--json", *words]
    said = subprocess.run(argv, capture_output=True, text=True, check=False)
    return _by_name(said.stdout)


def _by_name(said: str) -> dict[str, list[dict[str, str]]]:
    findings: dict[str, list[dict[str, str]]] = {}
    for finding in json.loads(said.splitlines()[-1])["findings"]:
        findings.setdefault(finding["name"], []).append(finding)
    return findings


def test_every_rung_is_told_with_what_it_gives_up(tmp_path: Path) -> None:
    findings = _doctor(home=tmp_path)
    for rung in LADDER:
        [told] = findings[rung]
        if told["level"] == "ok":
            assert all(loss in told["text"].split("\n") for loss in SANDBOXES[rung]().loses)
    assert findings["unconfined"][0]["text"].startswith("never by itself, only with `--sandbox unconfined`")


def test_every_limit_is_told_as_held_or_as_not_enforced(tmp_path: Path) -> None:
    [told] = _doctor(home=tmp_path)["limits"]
    held, _, missing = told["text"].removeprefix("hold: ").partition("; not enforced here: ")
    names = {*held.partition(" (")[0].split(", "), *filter(None, missing.split(", "))}
    assert names == set(LIMIT_NAMES.values())
    assert (told["level"] == "warn") == bool(missing)


@pytest.mark.skipif(not is_root(), reason="a plain user is tried by the tests above")
def test_a_plain_user_is_told_what_is_not_counted_for_it(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Without a control group of its own: memory and processors, and how they can be had."""
    folder = Path(tmp_path_factory.mktemp("plain"))
    folder.chmod(0o777)
    for path in folder.parents:
        if path == Path(tempfile.gettempdir()):
            break
        path.chmod(0o711)
    done = run(become(python(), "-m", "crewcap", "--home", str(folder / "state"), "doctor", "--json"), folder)
    [told] = _by_name(done.stdout)["limits"]
    if told["level"] == "ok":
        pytest.skip("this machine gives plain users control groups")
    assert told["text"].endswith("; not enforced here: memory, cpus")
    assert "Delegate=yes" in told["help"]
