"""What can be said about a run, as values."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from crewcap.cli.runs.options import Cap, Duration, read_issue
from crewcap.core.money import Money
from crewcap.errors import UsageError


@pytest.mark.parametrize(
    ("text", "seconds"), [("45m", 2_700), ("90s", 90), ("1h30m", 5_400), ("2h", 7_200), ("1h1m1s", 3_661)]
)
def test_a_stretch_of_time_is_read_with_its_units(text: str, seconds: int) -> None:
    assert Duration().convert(text, None, None) == seconds
    assert Duration().convert(seconds, None, None) == seconds


@pytest.mark.parametrize("text", ["45", "", "0s", "m", "1.5h", "-1m", "1d", "30m1h", "9999h"])
def test_a_stretch_of_time_without_a_unit_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="write 45m, 90s or 1h30m"):
        Duration().convert(text, None, None)


def test_a_cap_is_exact_money_above_nothing() -> None:
    assert Cap().convert("0.000000001", None, None) == Money(1)
    assert Cap().convert(Money.usd(2), None, None) == Money.usd(2)
    for text in ("0", "0.00", "-1", "1e3", "5,00", "inf", "0.0000000001"):
        with pytest.raises(click.BadParameter):
            Cap().convert(text, None, None)


def test_a_task_is_an_issue_or_a_prompt_and_not_both() -> None:
    with pytest.raises(UsageError, match="name an issue"):
        read_issue(None, None)
    with pytest.raises(UsageError, match="both an issue"):
        read_issue("a.md", "do it")
    issue, tracker = read_issue(None, "Fix the sum\nplease")
    assert (issue.tracker, issue.key, issue.title, tracker.name) == ("prompt", "fix-the-sum", "Fix the sum", "prompt")


def test_the_help_for_a_missing_task_names_the_command_that_lacks_it() -> None:
    with pytest.raises(UsageError) as found:
        read_issue(None, None, command="estimate")
    assert found.value.help == 'crewcap estimate issues/fix.md, or crewcap estimate -p "..."'


@pytest.mark.parametrize("reference", ["12", "#12", "acme/shop#12", "linear:ENG-12", "https://github.com/a/b/issues/1"])
def test_issues_of_other_places_are_named_as_such(reference: str) -> None:
    with pytest.raises(UsageError, match="no tracker for it is connected"):
        read_issue(reference, None)


def test_a_file_that_is_called_like_a_number_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "12").write_text("Do it.\n")
    issue, tracker = read_issue("12", None)
    assert (issue.tracker, issue.body, tracker.name) == ("files", "Do it.", "files")
