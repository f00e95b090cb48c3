"""One value of a settings file is changed, and nothing else of it."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from crewcap.errors import SettingsError
from crewcap.settings.edit import with_value, write_over


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "[defaults]\ncap = 2.50\n"),
        (
            "[defaults]\ncap = 5.00   # for now\nmodel = 'opus'\n",
            "[defaults]\ncap = 2.50   # for now\nmodel = 'opus'\n",
        ),
        ("# mine\n[defaults]\nmodel = 'opus'\n", "# mine\n[defaults]\ncap = 2.50\nmodel = 'opus'\n"),
        ("[budgets]\nall = { day = 1 }", "[budgets]\nall = { day = 1 }\n\n[defaults]\ncap = 2.50\n"),
        ('[repos."a/b"]\ncap = 9\n', '[repos."a/b"]\ncap = 9\n\n[defaults]\ncap = 2.50\n'),
        ("defaults.cap = 5\n", "defaults.cap = 2.50\n"),
    ],
)
def test_one_line_is_changed_or_added(before: str, after: str) -> None:
    assert with_value(before, "defaults", "cap", "2.50") == after


@pytest.mark.parametrize("text", ["defaults = { cap = 5, model = 'opus' }\n", "defaults = { model = 'opus' }\n"])
def test_what_one_line_cannot_change_is_left_alone(text: str) -> None:
    with pytest.raises(SettingsError, match=r"defaults\.cap"):
        with_value(text, "defaults", "cap", "2.50")


def test_a_file_is_replaced_in_one_step_and_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text("old")
    path.chmod(0o640)
    write_over(path, "new\n")
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ("new\n", 0o640)
    assert [each.name for each in tmp_path.iterdir()] == ["config.toml"]


def test_a_new_file_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "config.toml"
    write_over(path, "x = 1\n")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
