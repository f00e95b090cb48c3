"""Tables and lines on screens that are too narrow for them."""

from __future__ import annotations

import tomllib

import pytest
from tests.cli.run_home import RunHome
from tests.cli.spent_home import SpentHome

from crewcap.cli.screen.amounts import fitted, folded
from crewcap.cli.screen.figures import columns_of

HEAD = ("scope", "limit", "left", "resets")
ROWS = [("all", "$900.00", "$1.25", "2026-12-01"), ("team:core", "$1.00", "", "never")]


def test_a_table_that_fits_is_a_table() -> None:
    assert list(fitted(HEAD, ROWS, 40, right=frozenset({1, 2}))) == [
        "scope        limit   left  resets",
        "all        $900.00  $1.25  2026-12-01",
        "team:core    $1.00         never",
    ]


def test_a_table_that_is_too_wide_is_a_row_after_the_other() -> None:
    """Each cell with the name of its column; one without anything is left out."""
    assert list(fitted(HEAD, ROWS, 30)) == [
        "all",
        "  limit $900.00, left $1.25,",
        "  resets 2026-12-01",
        "team:core",
        "  limit $1.00, resets never",
    ]


def test_a_line_is_broken_where_it_must_be() -> None:
    lines = ["short   as it is", "  a longer line that goes on"]
    assert list(folded(lines, 18)) == ["short   as it is", "  a longer line", "    that goes on"]


@pytest.mark.parametrize("columns", [40, 60, 80])
@pytest.mark.parametrize(
    "words",
    [
        ("budget", "list"),
        ("key", "list"),
        ("whatif",),
        ("budget", "suggest", "--team-size", "12"),
        ("ledger", "reconcile"),
        ("forecast",),
        ("forecast", "--runs-per-day", "5", "--cost-per-run", "2"),
        ("price", "list", "--provider", "anthropic"),
        ("price", "list", "--model", "claude-sonnet-4-5"),
        ("cap", "suggest"),
    ],
    ids=" ".join,
)
@pytest.mark.usefixtures("spent")
def test_nothing_is_wider_than_a_narrow_screen(
    home: RunHome, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], columns: int
) -> None:
    home.out("budget", "set", "all", "month", "900")
    home.out("budget", "set", "all", "tpm", "200_000")
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = home.out(*words).splitlines()
    assert lines
    assert max(map(columns_of, lines)) <= columns


def test_a_narrow_suggestion_says_the_same(home: RunHome, spent: SpentHome, monkeypatch: pytest.MonkeyPatch) -> None:
    del spent
    wide = home.out("budget", "suggest", "--team-size", "12")
    monkeypatch.setenv("COLUMNS", "40")
    assert tomllib.loads(home.out("budget", "suggest", "--team-size", "12")) == tomllib.loads(wide)
