"""What a supervisor knows of the settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from crewcap.errors import SettingsError
from crewcap.serve.reading import read

SECRET = "sk-ant-fake-never-there"


def test_it_is_what_the_settings_say(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(
        '[providers.anthropic]\nkey = { env = "MY_KEY" }\n[serve]\nlisten = "127.0.0.1:9000"\ndrain = "3m"\n'
        f'[slots]\nall = 3\n[repos.shop]\nurl = "{tmp_path}/shop"\n[repos."acme/api"]\nurl = "https://acme.example/api"\n'
    )
    found = read(file, {"HOME": str(tmp_path), "MY_KEY": SECRET})
    assert (found.listen, found.drain_s, found.slots, found.source) == ("127.0.0.1:9000", 180, 3, str(file))
    assert found.repositories == (f"{tmp_path}/shop",)
    assert SECRET not in repr(found)


def test_variables_of_keys_are_those_that_are_named_and_those_that_everybody_knows(tmp_path: Path) -> None:
    """A key that these settings do not use is no worker's affair either."""
    file = tmp_path / "config.toml"
    file.write_text('[providers.anthropic]\nkey = { env = "MY_KEY" }\n')
    found = read(file, {"HOME": str(tmp_path)}).key_variables
    assert found[0] == "MY_KEY"
    assert {"ANTHROPIC_API_KEY", "CLAUDE_CODE_OAUTH_TOKEN", "OPENAI_API_KEY", "GEMINI_API_KEY"} <= set(found)


def test_what_is_wrong_is_said_as_it_would_be_here(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text("[serve]\ndrian = 1\n")
    with pytest.raises(SettingsError, match=r"line 2: serve\.drian") as error:
        read(file, {"HOME": str(tmp_path)})
    assert "drain" in error.value.help


NIGHTLY = "[repos.r]\nurl = '/r'\n[[schedules]]\nname = 'audit'\nrepo = 'r'\ncron = '0 2 * * *'\n"


def test_a_schedule_whose_file_is_not_there_is_refused_before_the_night(tmp_path: Path) -> None:
    """Beside the settings, wherever the command was given."""
    file = tmp_path / "config.toml"
    file.write_text(f"{NIGHTLY}prompt_file = 'audit.md'\n")
    with pytest.raises(SettingsError) as error:
        read(file, {"HOME": str(tmp_path)})
    where = f"{file}: schedules[0].prompt_file"
    assert error.value.message == f"{where}: {tmp_path}/audit.md cannot be read: No such file or directory"
    assert (error.value.exit_status, "audit" in error.value.help) == (2, True)
    (tmp_path / "audit.md").write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match="it is no UTF-8"):
        read(file, {"HOME": str(tmp_path)})
    (tmp_path / "audit.md").write_text("Look for dead code.")
    assert read(file, {"HOME": str(tmp_path)}).source == str(file)


def test_a_price_list_that_is_not_there_is_refused_before_anything_is_started(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('[providers.gemini]\nprices = "gemini"\n')
    with pytest.raises(SettingsError, match="there is no price list 'gemini'") as error:
        read(file, {"HOME": str(tmp_path)})
    assert "did you mean google?" in error.value.help
