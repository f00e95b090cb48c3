"""`crewcap report`: every grouping adds up to the ledger, in every form, on every screen."""

from __future__ import annotations

import csv
import io
import os
import subprocess
import sys
from decimal import Decimal
from typing import Any

import pytest
from tests.cli.run_home import RunHome
from tests.cli.spent_home import SpentHome

from crewcap.cli.money.books import DIMENSIONS
from crewcap.cli.money.report_rows import table
from crewcap.cli.screen.figures import columns_of
from crewcap.core.budget import ALL
from crewcap.core.bundles import Costs, Line
from crewcap.core.money import Money
from crewcap.core.pricing import Usage


def cost_of(home: RunHome) -> Decimal:
    totals = home.ledger.totals(ALL)
    return Decimal((totals.spent + totals.uncertain).exact())


@pytest.mark.parametrize("by", DIMENSIONS)
def test_every_grouping_adds_up_to_the_ledger(spent: SpentHome, by: str) -> None:
    home = spent.home
    said = home.json("report", by)
    assert sum(Decimal(row["cost_usd"]) for row in said["rows"]) == cost_of(home)
    assert Decimal(said["total"]["cost_usd"]) == cost_of(home)
    assert said["total"]["held_usd"] == "0.750000000"
    assert said["total"]["notional_usd"] != "0.000000000"
    for row in (*said["rows"], said["total"]):
        assert sum(map(Decimal, row["kinds_usd"].values())) == Decimal(row["spent_usd"])


@pytest.mark.parametrize("second", ["model", "user", "issue", "phase"])
def test_two_dimensions_add_up_as_well(spent: SpentHome, second: str) -> None:
    said = spent.home.json("report", "repo", "--by", second)
    assert sum(Decimal(row["cost_usd"]) for row in said["rows"]) == cost_of(spent.home)
    assert all({"repo", second} <= row.keys() for row in said["rows"])


def test_rows_carry_their_states(spent: SpentHome) -> None:
    said = spent.home.json("report", "key")
    rows = {row["key"]: row for row in said["rows"]}
    assert (rows["alone"]["state"], rows["alone"]["uncertain_usd"]) == ("uncertain", "0.500000000")
    (first,) = [row for name, row in rows.items() if name.startswith("fix-login.1")]
    assert (first["state"], first["held_usd"], first["kinds_state"]) == ("measured", "0.750000000", "measured")
    assert said["states"]["saved_usd"] == "estimated"
    assert said["states"]["held_usd"] == "reserved"


def test_people_are_told_what_the_letters_mean(spent: SpentHome) -> None:
    said = spent.home.out("report", "user")
    assert "$0.50u" in said or "u  " in said
    assert "u = part of it is uncertain" in said.replace("\n  ", " ")
    assert "r = reserved for requests in flight" in said.replace("\n  ", " ")
    assert "\x1b[" not in said


def test_a_table_of_short_names_is_no_wider_than_any_screen() -> None:
    """The least that a name's column takes is room, too."""
    usage = Usage(input=137_000, cache_read=17_000_000, write_5m=1_300_000, output=332_000, thinking=13_000)
    costs = Costs(uncached=56_680_000_000_000)
    line = Line(keys=("core",), requests=694, spent=Money.usd("14.22"), usage=usage, costs=costs)
    for columns in range(24, 120):
        rows = list(table([line], line, by=["team"], columns=columns))
        assert max(map(columns_of, rows)) <= columns


@pytest.mark.parametrize("columns", [200, 80, 60, 40, 24])
def test_a_table_is_no_wider_than_the_screen(spent: SpentHome, monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    for words in (("report", "model", "--by", "user"), ("report", "day"), ("report", "team"), ("stats",)):
        lines = spent.home.out(*words).splitlines()
        assert max(map(columns_of, lines)) <= columns, words
        assert any("$" in line for line in lines)


def test_csv_has_a_cell_for_everything_and_no_formula(spent: SpentHome) -> None:
    """A run's name is a stranger's: a spreadsheet must not compute it."""
    rows = list(csv.DictReader(io.StringIO(spent.home.out("report", "run", "--csv"))))
    assert sum(Decimal(row["cost_usd"]) for row in rows) == cost_of(spent.home)
    assert "'=cmd|calc.1" in {row["run"] for row in rows}
    assert spent.home.out("report", "run", "--csv") == spent.home.out("report", "run", "--format", "csv")


def test_markdown_keeps_names_in_their_cells(spent: SpentHome) -> None:
    lines = spent.home.out("report", "run", "--format", "md").splitlines()
    assert len({line.count("|") for line in lines}) == 1
    assert any("`=cmd\u00a6calc.1`" in line for line in lines)
    assert lines[-1].startswith("| **total** |")


def test_the_dearest_come_first_and_the_rest_is_one_row(spent: SpentHome) -> None:
    said = spent.home.json("report", "model", "--top", "1")
    assert len(said["rows"]) == 2
    assert sum(Decimal(row["cost_usd"]) for row in said["rows"]) == cost_of(spent.home)
    run = spent.home.json("report", "run", "--top", "1")
    assert sum(Decimal(row["cost_usd"]) for row in run["rows"]) == cost_of(spent.home)


def test_a_stretch_of_time_is_cut_where_it_is_said(spent: SpentHome) -> None:
    home = spent.home
    assert home.json("report", "model", "--since", "today", "--tz", "UTC")["total"]["requests"] in {0, 8}
    assert home.json("report", "model", "--since", "1h")["total"]["requests"] == 8
    for words in (("--since", "2090"), ("--until", "1970-01-01"), ("--since", "2090-01-01", "--until", "2090-12-31")):
        status, out, err = home.call("report", "day", *words)
        assert (status, "nothing was spent" in out) in {(0, True), (2, False)}, err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("report", "dya"), "did you mean day?"),
        (("report", "xyzzy"), "one of day, week, month"),
        (("report", "day", "--since", "2026-02-30"), "is not in the calendar"),
        (("report", "day", "--since", "2026-W54"), "is not in the calendar"),
        (("report", "day", "--since", "soon"), "is no time that is understood"),
        (("report", "day", "--since", "2026-11-10", "--until", "2026-11-02"), "is not before"),
        (("report", "day", "--tz", "Europe/Berln"), "did you mean Europe/Berlin?"),
        (("report", "day", "--tz", "../../etc/passwd"), "there is no time zone"),
        (("report", "day", "--by", "day"), "is what the report is by already"),
        (("report", "day", "--html", "/nowhere/at/all.html"), "cannot be written"),
    ],
)
def test_what_cannot_be_reported_is_said_in_one_line(spent: SpentHome, words: tuple[str, ...], says: str) -> None:
    status, out, err = spent.home.call(*words)
    assert (status, out) == (2, "")
    assert says in err
    assert "Traceback" not in err


def test_a_home_without_books_has_spent_nothing_and_gets_none(home: RunHome) -> None:
    assert "nothing was spent" in home.out("report", "month")
    assert home.json("report", "team")["rows"] == []
    assert home.out("report", "team", "--csv").count("\n") == 1
    assert not home.home.root.exists()


def test_a_day_is_the_days_of_the_zone_that_is_asked_for(spent: SpentHome) -> None:
    zones = {spent.home.json("report", "day", "--tz", name)["timezone"] for name in ("Asia/Kolkata", "UTC")}
    assert zones == {"Asia/Kolkata", "UTC"}


def test_pages_stand_alone(spent: SpentHome, tmp_path: Any) -> None:
    """No script, nothing from elsewhere, and names of strangers are text."""
    for words in (
        ("report", "day", "--by", "model"),
        ("report", "month"),
        ("report", "issue"),
        ("cost", "=cmd|calc.1"),
    ):
        page = tmp_path / "page.html"
        spent.home.out(*words, "--html", str(page))
        text = page.read_text(encoding="utf-8")
        assert "default-src 'none'" in text
        assert text.count("<svg") >= 1
        assert "<desc>" in text
        assert not any(word in text.casefold() for word in ("<script", "javascript:", "http://", "https://", "@import"))
    assert "prefers-color-scheme: dark" in text


def test_a_reader_that_leaves_is_no_error(spent: SpentHome) -> None:
    home = spent.home
    command = [sys.executable, "-m", "crewcap", "--home", str(home.home.root), "export", "json"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": ""}
    ) as child:
        assert child.stdout is not None
        child.stdout.close()
        assert child.wait(60) == 0
        assert child.stderr is not None
        assert b"Traceback" not in child.stderr.read()


def test_plots_fit_and_use_plain_letters_where_there_are_no_others(
    spent: SpentHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "50")
    for words in (("report", "day", "--by", "model", "--plot"), ("cost", "fix-login.1", "--plot")):
        lines = spent.home.out(*words).splitlines()
        assert max(map(columns_of, lines)) <= 50
    command = [sys.executable, "-m", "crewcap", "--home", str(spent.home.home.root), "report", "model", "--plot"]
    done = subprocess.run(command, capture_output=True, check=True, env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert done.stdout.decode("ascii").count("#") > 3
