"""The state directory, and who may look into it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from crewcap.home import Home


@pytest.mark.parametrize(
    ("given", "environ", "root"),
    [
        ("/a", {"CREWCAP_HOME": "/b", "XDG_STATE_HOME": "/c", "HOME": "/d"}, "/a"),
        (None, {"CREWCAP_HOME": "/b", "XDG_STATE_HOME": "/c", "HOME": "/d"}, "/b"),
        (None, {"XDG_STATE_HOME": "/c", "HOME": "/d"}, "/c/crewcap"),
        (None, {"HOME": "/d"}, "/d/.local/state/crewcap"),
        (None, {"CREWCAP_HOME": "", "XDG_STATE_HOME": "", "HOME": "/d"}, "/d/.local/state/crewcap"),
    ],
)
def test_the_nearest_word_counts(given: str | None, environ: dict[str, str], root: str) -> None:
    assert Home.find(given, environ).root == Path(root)


def test_a_path_is_whole_whatever_the_current_folder_becomes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Home.find("state", {}).root == tmp_path / "state"
    assert Home.find("~/state", {}).root == Path("~/state").expanduser()


def test_knowing_it_touches_nothing_and_making_it_closes_it_to_others(tmp_path: Path) -> None:
    home = Home(tmp_path / "deep" / "state")
    assert home.run("r1") == home.root / "runs" / "r1"
    assert home.is_new
    assert not home.root.exists()
    before = os.umask(0)
    try:
        home.make()
        home.make()
    finally:
        os.umask(before)
    assert home.root.stat().st_mode & 0o777 == 0o700
    assert home.is_new
    home.marker.touch()
    assert not home.is_new
