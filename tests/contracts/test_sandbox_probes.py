"""The obedient agent: some forty ways to a secret or a right, per rung, as root and as a plain user; none comes to one.

What was tried, and what it came to, is printed: `pytest -s tests/contracts/test_sandbox_probes.py`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any, Literal

import pytest
from tests.contracts import plain_user

from crewcap.workspaces.sandbox.uids import is_root

pytestmark = pytest.mark.sandbox
Who = Literal["as we are", "as a plain user"]
Results = dict[str, tuple[str, int, list[str]]]
FEWEST = 30
THERE = frozenset(
    (
        "environments of all processes",
        "state directory and other runs",
        "abstract sockets",
        "sockets with a path",
        "temporary folders",
        "shared memory files",
        "shared memory of system v",
        "caches and credentials of the user",
        "the network",
        "folders through other processes",
    )
)


@cache
def _probed(rung: str, who: Who, place: Path, *only: str) -> dict[str, Any]:
    """What every probe came to; asked once for each rung and user."""
    words = ("-m", "tests.contracts.probing", rung, *only)
    if who == "as we are":
        done = subprocess.run(
            (sys.executable, *words),
            cwd=plain_user.ROOT,
            env={**os.environ},
            capture_output=True,
            text=True,
            check=False,
        )
    else:
        done = plain_user.run(plain_user.become(plain_user.python(), *words), place)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def _found(told: dict[str, Any]) -> Results:
    """What each probe saw of the secrets that were planted for it; others may probe, or have been killed at it."""
    found: Results = json.loads(told["found"])
    return {
        name: (outcome, size, [canary for canary in canaries if told["mark"] in canary])
        for name, (outcome, size, canaries) in found.items()
    }


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = Path(tmp_path_factory.mktemp("plain"))
    for path in (folder, folder.parent, folder.parent.parent):
        path.chmod(0o777 if path == folder else 0o711)
    return folder


@pytest.fixture(params=["as we are", "as a plain user"])
def who(request: pytest.FixtureRequest) -> Who:
    if request.param == "as a plain user" and not is_root():
        pytest.skip("we are one")
    asked: Who = request.param
    return asked


@pytest.fixture(params=["bubblewrap", "landlock"])
def results(request: pytest.FixtureRequest, who: Who, place: Path) -> Results:
    told = _probed(request.param, who, place)
    if "missing" in told:
        pytest.skip(told["missing"])
    assert told["status"] == 0, told["stderr"]
    assert told["spoiled"] == []
    results = _found(told)
    print(f"\n{request.param}, {who}:")  # noqa: T201  (what was tried is the point)
    for name, (outcome, size, canaries) in results.items():
        print(  # noqa: T201  (the same)
            f"  {name:<40} {outcome:<10} {size:>9} bytes  {', '.join(canaries) or 'no secret'}"
        )
    return results


def test_no_probe_comes_to_a_secret(results: Results) -> None:
    """Provider's key, tracker's token, other runs' data."""
    assert len(results) >= FEWEST
    assert {name: canaries for name, (_, _, canaries) in results.items() if canaries} == {}


def test_no_probe_does_what_only_its_victim_may_do(results: Results) -> None:
    assert [name for name, (outcome, _, _) in results.items() if outcome == "done"] == []


def test_the_probes_find_what_is_there_to_find(place: Path) -> None:
    """Without a wall, and by that rung's own words: else the tests above would prove nothing."""
    told = _probed("unconfined", "as a plain user" if is_root() else "as we are", place, *sorted(THERE))
    assert told["status"] == 0, told["stderr"]
    assert {name for name, (_, _, canaries) in _found(told).items() if canaries} == THERE
