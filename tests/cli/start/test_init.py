"""`crewcap init`: files to start from, over nothing that exists."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.cli.run_home import RunHome
from tests.workspaces.repos import make_repository

from crewcap import config


@pytest.fixture
def new(home: RunHome) -> RunHome:
    home.config.unlink()
    return home


def test_a_settings_file_is_written_for_its_owner_alone_and_can_be_read(new: RunHome) -> None:
    status, out, err = new.call("init")
    assert (status, out, err) == (0, f"wrote {new.config}\n", "next: crewcap doctor\n")
    assert new.config.stat().st_mode & 0o777 == 0o600
    assert config.load(new.config, {}).defaults.cap.show() == "$5.00"


def test_what_is_there_is_left_as_it_is(new: RunHome) -> None:
    new.config.write_text("# mine\n")
    assert new.refused("init") == (2, f"{new.config} exists already and was left as it is")
    assert new.config.read_text() == "# mine\n"


def test_a_repository_gets_a_file_that_guesses_its_check(new: RunHome, monkeypatch: pytest.MonkeyPatch) -> None:
    make_repository(new.user)
    (new.user / "package.json").touch()
    (new.user / "deep").mkdir()
    monkeypatch.chdir(new.user / "deep")
    assert new.json("init", "--repo") == {"written": [str(new.config), str(new.user / ".crewcap.toml")]}
    assert 'check = "npm test"' in (new.user / ".crewcap.toml").read_text()
    (new.user / ".crewcap.toml").unlink()
    assert new.json("init", "--repo") == {"written": [str(new.user / ".crewcap.toml")]}


def test_outside_of_a_repository_there_is_none_to_write_into(new: RunHome) -> None:
    assert new.refused("init", "--repo") == (2, f"{Path.cwd()} is not inside a git repository")
    assert not new.config.exists()


def test_a_folder_that_cannot_be_made_is_said(new: RunHome) -> None:
    (new.folder / "file").touch()
    new.config = new.folder / "file" / "config.toml"
    status, said = new.refused("init")
    assert (status, said) == (4, f"{new.config} cannot be written: {new.folder / 'file'} is no folder")
