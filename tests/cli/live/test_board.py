"""All runs on one screen, as text of any width."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.cli.live.test_closing import RUN

from crewcap.cli.live.board import Board, Row, board_lines, held_bar, list_lines, summary_line
from crewcap.cli.screen.figures import Screen, columns_of
from crewcap.core.budget import ALL, Balance, Window
from crewcap.core.money import ZERO, Money
from crewcap.core.pricing import Usage
from crewcap.core.runs import Run, RunState, Verdict
from crewcap.stores import Totals

EVENING = datetime(2026, 11, 22, 21, 14, 3, tzinfo=UTC)
USAGE = Usage(input=900, cache_read=9_100, output=400)


def usd(amount: str) -> Money:
    return Money.usd(amount)


def named(name: str, state: RunState = RunState.RUNNING, *, title: str = "", **fields: Any) -> Run:
    issue = replace(RUN.issue, title=title or f"About {name}")
    return replace(RUN, name=name, issue=issue, state=state, **{"verdict": None, **fields})


def row(run: Run, cost: str = "0", *, held: str = "0", turns: int = 0, **said: Any) -> Row:
    totals = Totals(
        spent=usd(cost),
        uncertain=ZERO,
        held=usd(held),
        notional=ZERO,
        requests=turns,
        refused=0,
        usage=USAGE if turns else Usage(),
    )
    return Row(run=run, totals=totals, **said)


def budget(window: Window, limit: str, spent: str) -> Balance:
    return Balance(scope=ALL, window=window, label="", limit=usd(limit), spent=usd(spent), uncertain=ZERO, held=ZERO)


WORKING = row(
    named("fix-login.1", title="Login fails when the e-mail has capitals"),
    "0.16",
    held="0.11",
    turns=4,
    per_minute=usd("0.14"),
    last="run pytest tests/test_login.py",
)
PAUSED = row(
    named("audit.2", RunState.WAITING, verdict=Verdict.BUDGET_EXHAUSTED),
    "2.97",
    turns=31,
    last="the cap of $3.00 is used up; crewcap resume audit.2 --add 2",
)
DONE = row(named("deps.7", RunState.DONE, verdict=Verdict.FINISHED, title="Bump all"), "0.25", turns=8)
CUT = row(named("flaky.1"), "0.41", turns=3, is_cut_short=True, last="cut short while running; crewcap show flaky.1")
QUEUED = row(named("next.1", RunState.QUEUED), last="queued: repo shop has 2 of 2 slots")
BOARD = Board(
    at=EVENING,
    since=EVENING - timedelta(hours=12),
    rows=(PAUSED, WORKING, DONE),
    budgets=(budget("day", "25", "18"), budget("month", "900", "412.80")),
    worst_case=usd("11.40"),
)


def drawn(board: Board, columns: int, rows: int | None = None, **screen: Any) -> list[str]:
    return board_lines(board, Screen(columns=columns, **screen), rows)


def test_eighty_columns_show_money_first_then_each_run_and_the_worst_case_last() -> None:
    assert drawn(BOARD, 80) == [
        " TODAY $18.00 of $25.00 [#######...] 72 %   NOV $412.80 of $900.00 45 %",
        " 1 live, 1 needs you, 1 ended since 09:14   $0.11 held                  21:14:03",
        "",
        " audit.2  About audit.2                        shop  sonnet-5  paused at the cap",
        "   [##########] $2.97/3.00  turn 31/40  cache 91%",
        "   > the cap of $3.00 is used up; crewcap resume audit.2 --add 2",
        " fix-login.1  Login fails when the e-mail has capitals   shop  sonnet-5  running",
        "   [#+........] $0.16/3.00  +$0.11  $0.14/min  turn 4/40  cache 91%",
        "   > run pytest tests/test_login.py",
        " deps.7         $0.25/3.00      8   91%  done              Bump all",
        "",
        " worst case if all goes wrong: $11.40 tonight",
    ]


def test_a_wide_screen_has_a_run_in_one_line() -> None:
    lines = drawn(BOARD, 130)
    assert len([line for line in lines if "fix-login.1" in line]) == 1
    working = next(line for line in lines if "fix-login.1" in line)
    for said in ("Login fails when", "$0.16/3.00", "+$0.11", "$0.14", "4/40", "91%", "run pytest tests/test_login.py"):
        assert said in working


def test_twenty_columns_show_what_matters() -> None:
    only = replace(BOARD, rows=(WORKING,), budgets=BOARD.budgets[:1])
    assert drawn(only, 40) == [
        "today $18.00/25.00 1 live, 0 ended",
        "fix-login.1 $0.16/3.00 5% t4",
        "worst case $11.40",
    ]
    assert drawn(only, 20)[-3:] == ["fix-login.1", "$0.16/3.00 5% t4", "worst case $11.40"]


@pytest.mark.parametrize("columns", [20, 40, 59, 60, 75, 80, 111, 112, 200])
@pytest.mark.parametrize("rows", [1, 3, 6, 12, 24])
def test_nothing_is_wider_or_higher_than_the_screen(columns: int, rows: int) -> None:
    wide = row(
        named("修正-ログイン.12", title="ライブラリを更新する " * 20),
        "12.50",
        held="1.2345",
        turns=39,
        last="読む " * 40,
    )
    board = replace(BOARD, rows=(PAUSED, WORKING, wide, CUT, QUEUED, *[DONE] * 20))
    lines = board_lines(board, Screen(columns=columns), rows, keys="q quits")
    assert len(lines) <= rows
    assert max(columns_of(line) for line in lines) <= columns


def test_what_has_no_room_is_counted_and_the_worst_case_stays() -> None:
    lines = drawn(replace(BOARD, rows=(WORKING, *[DONE] * 30)), 80, 12)
    assert lines[-1] == " worst case if all goes wrong: $11.40 tonight"
    assert lines[-3] == " and 25 more runs"


def test_where_there_is_less_room_a_run_gets_fewer_lines_before_any_is_left_out() -> None:
    lines = drawn(BOARD, 80, 10)
    assert [line.split()[0] for line in lines[3:-2]] == [
        "audit.2",
        "[##########]",
        "fix-login.1",
        "[#+........]",
        "deps.7",
    ]
    lines = drawn(BOARD, 80, 8)
    assert [line.split()[0] for line in lines[3:-2]] == ["audit.2", "fix-login.1", "deps.7"]


def test_a_title_of_a_stranger_moves_no_cursor_and_paints_nothing() -> None:
    evil = row(named("x.1", title="\x1b[2J\x1b]0;mine\x07 and\r\nmore\x9b31m\u202eback"), last="fine")
    for columns in (20, 80, 130):
        text = "\n".join(drawn(replace(BOARD, rows=(evil,)), columns))
        assert not [letter for letter in text if letter != "\n" and (ord(letter) < 32 or 127 <= ord(letter) < 160)]
        assert "\u202e" not in text


def test_in_ascii_nothing_else_is_written() -> None:
    board = replace(BOARD, rows=(row(named("x.1", title="caf\xe9 修正")),))
    assert "\n".join(drawn(board, 80, is_unicode=False)).isascii()
    assert "\n".join(drawn(BOARD, 80)).isascii()


def test_colours_say_what_needs_somebody_and_only_where_there_are_colours() -> None:
    red = replace(DONE, run=replace(DONE.run, state=RunState.FAILED, verdict=Verdict.BUDGET_EXHAUSTED))
    lines = drawn(replace(BOARD, rows=(PAUSED, CUT, WORKING, DONE, red)), 80, has_colour=True)
    painted = {line.split()[1]: line[:5] for line in lines if line.startswith("\x1b")}
    assert painted["audit.2"] == painted["flaky.1"] == "\x1b[33m"
    assert "fix-login.1" not in painted
    assert "\x1b[32m deps.7" in "\n".join(lines)
    assert "\x1b[31m deps.7" in "\n".join(lines)
    assert "\x1b[31m worst" in "\n".join(lines)
    assert "\x1b" not in "\n".join(drawn(BOARD, 80))


def test_a_run_whose_driver_is_gone_needs_somebody() -> None:
    board = replace(BOARD, rows=(CUT, QUEUED, WORKING))
    assert (board.waiting, board.live) == ([CUT], [QUEUED, WORKING])
    assert " 1 live, 1 queued, 1 needs you, 0 ended" in drawn(board, 80)[1]
    assert "queued: repo shop has 2 of 2 slots" in "\n".join(drawn(board, 80))


def test_without_runs_it_says_how_one_is_started() -> None:
    lines = drawn(Board(at=EVENING, since=EVENING), 80)
    assert "crewcap run -p" in "\n".join(lines)
    assert lines[-1] == " worst case if all goes wrong: $0.00 tonight"


def test_by_day_the_worst_case_is_todays() -> None:
    noon = replace(BOARD, at=EVENING.replace(hour=12))
    assert drawn(noon, 80)[-1] == " worst case if all goes wrong: $11.40 today"


def test_a_pipe_gets_the_whole_board_in_a_line() -> None:
    assert summary_line(BOARD) == (
        "21:14:03   1 live, 1 needs you, 1 ended   live runs $0.16 so far, $0.14/min   today $18.00 of $25.00"
        "   Nov $412.80 of $900.00   worst case if all goes wrong: $11.40 tonight"
    )


def test_a_list_is_cut_at_the_screen_and_nowhere_else() -> None:
    long = replace(DONE, run=named("deps.7", RunState.DONE, verdict=Verdict.FINISHED, title="very " * 40))
    assert columns_of(list_lines([long], 80, is_cut=True)[0]) <= 80
    assert list_lines([long], 80, is_cut=False)[0].endswith("very very")


@pytest.mark.parametrize(
    ("spent", "held", "shown"),
    [
        ("0", "0", "[..........]"),
        ("0.01", "0.01", "[#+........]"),
        ("1.50", "0.60", "[#####++...]"),
        ("3", "0", "[##########]"),
        ("3", "1", "[##########]"),
        ("2.95", "0.05", "[##########]"),
    ],
)
def test_what_is_held_is_drawn_behind_what_is_spent(spent: str, held: str, shown: str) -> None:
    assert held_bar(usd(spent), usd(held), usd("3")) == shown
