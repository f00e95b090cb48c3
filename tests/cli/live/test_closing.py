"""The head and the last block of a run."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from crewcap.cli.live.closing import Closing, closing_lines, colour_of
from crewcap.cli.live.opening import Opening, lefts_of, opening_lines, walls
from crewcap.cli.screen.figures import columns_of
from crewcap.core.budget import ALL, Balance, Scope
from crewcap.core.money import ZERO, Money
from crewcap.core.pricing import Usage
from crewcap.core.questions import Question
from crewcap.core.runs import AgentEnd, Check, Issue, Remark, Run, RunId, RunState, Verdict
from crewcap.stores import Totals

RUN = Run(
    id=RunId("01RUN"),
    name="fix-login.1",
    issue=Issue(tracker="files", key="fix-login", title="Login fails when the e-mail has capitals", body="..."),
    state=RunState.DONE,
    verdict=Verdict.FINISHED,
    repo="shop",
    repo_path="/srv/shop",
    base="4f2c91e0000000000000",
    base_branch="main",
    branch="crewcap/fix-login-1",
    commits=1,
    files_changed=2,
    lines_added=14,
    lines_removed=1,
    model="claude-sonnet-5",
    because="default; no route matched",
    cap=Money.usd(3),
    cap_because="your default",
    sandbox="bubblewrap",
    check_before=Check(result="failed", summary="41 passed, 1 failed"),
    check_after=Check(result="passed", summary="42 passed"),
    agent_seconds=59.0,
    created_at=datetime(2026, 11, 22, tzinfo=UTC),
)
PAUSED = replace(
    RUN,
    state=RunState.WAITING,
    verdict=Verdict.BUDGET_EXHAUSTED,
    commits=6,
    check_after=Check(result="failed", summary="40 passed, 2 failed"),
)


def closing(run: Run = RUN, **said: Any) -> Closing:
    usage = Usage(input=3_100, write_5m=41_000, cache_read=412_000, output=6_200, thinking=2_000)
    money: dict[str, Any] = {
        "spent": Money.usd("0.2531"), "uncertain": ZERO, "held": ZERO, "notional": ZERO, "requests": 8, "refused": 0,
        "usage": usage,
    }  # fmt: skip
    totals = Totals(**{name: said.pop(name, value) for name, value in money.items()})
    return Closing(run=run, totals=totals, wall_s=77.0, **said)


def left(scope: str, window: Any) -> Balance:
    return Balance(
        scope=Scope(scope), window=window, label="", limit=Money.usd(10), spent=ZERO, uncertain=ZERO, held=Money.usd(1)
    )


def test_the_head_says_who_what_why_from_where_and_behind_which_walls() -> None:
    lefts = (("issue", Money.usd(10)), ("today", Money.usd("18.40")))
    said = opening_lines(Opening(run=RUN, agent="Claude Code 2.1.330", lefts=lefts, uncommitted=2), 80)
    assert said == [
        "fix-login.1   Login fails when the e-mail has capitals",
        "  agent     Claude Code 2.1.330, claude-sonnet-5   (default; no route matched)",
        "  money     cap $3.00 (your default)    issue $10.00 left   today $18.40 left",
        "  from      main @ 4f2c91e   (your 2 uncommitted files are not part of it)",
        "  sandbox   bubblewrap; network: model gateway",
    ]


def test_what_deserves_saying_before_the_start_is_in_the_head() -> None:
    run = replace(RUN, base_branch="")
    said = opening_lines(Opening(run=run, agent="x", uncommitted=1, notes=("1 comment left out",)), 80)
    assert "  from      detached HEAD @ 4f2c91e   (your 1 uncommitted file is not part of it)" in said
    assert said[-1] == "  note      1 comment left out"
    assert not any(
        line.startswith("  from") for line in opening_lines(Opening(run=replace(RUN, base=""), agent="x"), 80)
    )


def test_limits_are_called_as_people_call_them() -> None:
    balances = [left("all", "day"), left("issue:files/x", "total"), left("team:core", "month"), left(ALL, "total")]
    assert [name for name, _ in lefts_of(balances)] == ["today", "issue", "team:core this month", "in all"]
    assert lefts_of(balances)[0][1] == Money.usd(9)


def test_the_last_block_of_a_run_that_went_well() -> None:
    lefts = (("issue", Money.usd("9.7469")), ("today", Money.usd("18.1469")))
    assert closing_lines(closing(lefts=lefts, saved=Money.usd("0.7213")), 80) == [
        "done   $0.2531 of $3.00 [##..................]   8 turns   1:17",
        "  branch    crewcap/fix-login-1   1 commit, 2 files, +14 -1  (not checked out)",
        "  tokens    input 3.1k  write 41k  read 412k  output 6.2k (thinking ~2.0k)",
        "  cache     hit 90 %, saved $0.7213 against no caching",
        "  time      agent 0:59, setup and checks 0:18",
        "  left      issue $9.75   today $18.15",
        "  next      crewcap diff fix-login.1     crewcap checkout fix-login.1",
    ]


@pytest.mark.parametrize(("claim", "shown"), [("0.40", "$0.40"), ("0.2630", ""), ("0.2635", "$0.2635"), ("", "")])
@pytest.mark.parametrize("run", [RUN, PAUSED])
def test_what_the_agent_claims_is_said_where_it_differs_from_the_ledger(run: Run, claim: str, shown: str) -> None:
    told = closing_lines(closing(replace(run, end=AgentEnd(kind="finished", claimed_cost=claim))), 80)
    said = [line.strip() for line in told if "itself says" in line]
    words = f"claim     the agent itself says {shown}: its figure is of its last start alone"
    assert said == ([words] if shown else [])


def test_time_that_a_run_stood_still_is_no_setup() -> None:
    """It waited for an answer, or in the queue."""
    said = closing_lines(replace(closing(), wall_s=7_277.0, waited_s=7_200.0), 80)
    assert "  time      agent 0:59, setup and checks 0:18, waited 2:00:00" in said
    assert said[0].endswith("8 turns   2:01:17")


def test_a_workspace_that_was_removed_is_said_and_that_the_branch_is_there() -> None:
    gone = replace(RUN, workspace_removed_at=datetime(2026, 11, 25, 3, tzinfo=UTC))
    said = closing_lines(closing(gone), 80)
    assert "  workspace removed on 2026-11-25; the branch is kept" in said
    assert said[-1].endswith("crewcap checkout fix-login.1")
    assert "  workspace removed on 2026-11-25" in closing_lines(closing(replace(gone, commits=0)), 80)
    assert "workspace: removed on 2026-11-25; the" in closing_lines(closing(gone), 40)


def test_a_branch_that_holds_a_secret_is_not_proposed_for_checkout() -> None:
    said = closing_lines(closing(replace(RUN, withheld="its commits hold the value of a secret (STRIPE)")), 80)
    assert said[1:3] == [
        "  branch    crewcap/fix-login-1   1 commit, 2 files, +14 -1  (not published)",
        "  withheld  its commits hold the value of a secret (STRIPE)",
    ]
    assert said[-1] == "  next      crewcap diff fix-login.1"


def test_at_the_cap_it_says_what_is_kept_how_it_stands_and_what_to_answer() -> None:
    said = closing_lines(closing(PAUSED, spent=Money.usd("2.97"), requests=31, refused=1, last="edit src/a.py"), 80)
    assert said == [
        "paused at the cap   $2.97 of $3.00 [####################]   31 turns   1:17",
        "  kept      branch crewcap/fix-login-1 (6 commits so far), the session, the workspace",
        "  state     check: 40 passed, 2 failed (was 41 passed, 1 failed)    last: edit src/a.py",
        "  refused   1 request, before it could cost anything",
        "  answer    crewcap resume fix-login.1 --add 2   or   crewcap stop fix-login.1",
    ]


def test_a_pause_at_a_limit_that_is_shared_names_it_and_says_until_when_all_is_kept() -> None:
    why = "paused at a limit that it shares: all has $0.00 left of $5.00 this day; it opens at 2026-11-23 00:00 UTC"
    asked = Question(
        id="q1",
        asked_at=RUN.created_at,
        text="?",
        choices=("go on", "stop"),
        expires_at=datetime(2026, 12, 6, tzinfo=UTC),
    )
    run = replace(PAUSED, reason=why, waits_for="money", question=asked)
    said = closing_lines(closing(run), 200)
    assert said[0].startswith("paused at a limit   $0.2531 of $3.00")
    assert said[1].endswith("the session, the workspace; until 2026-12-06")
    assert said[3:] == [
        f"  why       {why}",
        "  answer    crewcap resume fix-login.1   or   crewcap stop fix-login.1",
    ]
    hosted = closing_lines(closing(replace(run, hosted=True)), 200)
    assert hosted[-1].startswith("  next      it goes on by itself when that is there again")


def test_the_smallest_amount_that_would_do_is_the_one_that_is_proposed() -> None:
    asked = Question(id="q1", asked_at=RUN.created_at, text="?", choices=("+4.50", "+9.00", "stop"))
    said = closing_lines(closing(replace(PAUSED, question=asked), needs="at least $4.21 more"), 80)
    assert said[-2:] == [
        "  needs     at least $4.21 more",
        "  answer    crewcap resume fix-login.1 --add 4.50   or   crewcap stop fix-login.1",
    ]


@pytest.mark.parametrize(
    ("changes", "head", "row"),
    [
        ({"check_after": Check(result="not_run")}, "done",
         "  check     not checked: no check is set for this repository"),
        ({"state": RunState.FAILED, "verdict": Verdict.NO_CHANGES, "commits": 0, "reason": "it ended without a change"},
         "no change", "  why       it ended without a change"),
        ({"state": RunState.FAILED, "verdict": Verdict.SETUP_FAILED, "commits": 0, "reason": "x\x1b[31m\ny"},
         "setup failed", "  why       x y"),
        ({"state": RunState.STOPPED, "verdict": Verdict.CANCELLED, "reason": "stopped"}, "stopped",
         "  why       stopped"),
        ({"state": RunState.WAITING, "verdict": Verdict.CANCELLED, "commits": 0}, "paused",
         "  kept      the session, the workspace"),
        ({"state": RunState.FAILED, "verdict": None}, "failed",
         "  next      crewcap diff fix-login.1     crewcap checkout fix-login.1"),
    ],
)  # fmt: skip
def test_every_end_says_what_it_is(changes: dict[str, Any], head: str, row: str) -> None:
    said = closing_lines(closing(replace(RUN, **changes)), 80)
    assert said[0].startswith(f"{head}   $0.2531 of $3.00")
    assert row in said


def test_every_verdict_has_a_word() -> None:
    for verdict in Verdict:
        assert closing_lines(closing(replace(RUN, state=RunState.FAILED, verdict=verdict)), 80)


def test_money_that_nobody_proved_is_said() -> None:
    said = closing_lines(closing(uncertain=Money.usd("0.01"), held=Money.usd("0.02"), notional=Money.usd(1)), 80)
    assert said[0].startswith("done   $0.2631 of $3.00")
    assert "  uncertain $0.01 of it: sent, and no answer tells the cost; it stays charged" in said
    assert "  held      $0.02 more is still promised to requests in flight" in said
    assert "  notional  $1.00 beside it, paid by a subscription" in said


def test_caching_that_cost_more_than_it_saved_is_said_as_it_is() -> None:
    assert "  cache     hit 90 %, cost $0.05 against no caching" in closing_lines(closing(saved=-Money.usd("0.05")), 80)
    assert "  cache     hit 90 %" in closing_lines(closing(), 80)


def test_a_run_that_never_asked_for_anything_says_no_tokens() -> None:
    said = closing_lines(closing(replace(RUN, commits=0, agent_seconds=0.0), usage=Usage(), spent=ZERO, requests=0), 80)
    assert said == [
        "done   $0.00 of $3.00 [....................]   0 turns   1:17",
        "  next      crewcap logs fix-login.1",
    ]


@pytest.mark.parametrize("columns", [20, 40, 59])
def test_a_narrow_terminal_reads_the_same_in_more_lines(columns: int) -> None:
    lefts = (("issue", Money.usd(10)),)
    for lines in (
        opening_lines(Opening(run=RUN, agent="Claude Code 2.1.330", lefts=lefts, uncommitted=2), columns),
        closing_lines(closing(lefts=lefts), columns),
        closing_lines(closing(PAUSED, refused=3), columns),
    ):
        assert all(0 < columns_of(line) <= columns for line in lines)
        assert "fix-login.1" in " ".join(lines) or "crewcap/fix-login-1" in " ".join(lines)


def test_green_is_for_a_passed_check_alone() -> None:
    assert colour_of(RUN) == "green"
    assert colour_of(replace(RUN, check_after=Check(result="not_run"))) is None
    assert colour_of(PAUSED) == "yellow"
    assert colour_of(replace(RUN, state=RunState.FAILED, verdict=Verdict.CHECK_FAILED)) is None
    assert colour_of(replace(RUN, state=RunState.FAILED, verdict=Verdict.BUDGET_EXHAUSTED)) == "red"


def test_only_without_a_wall_is_more_than_the_gateway_in_reach() -> None:
    """What a user reads of a sandbox must be true of that sandbox."""
    assert walls("bubblewrap") == "bubblewrap; network: model gateway"
    assert walls("unconfined") == "unconfined; network: open"


def test_what_was_seen_of_the_caches_stands_below_how_often_they_were_hit() -> None:
    """A prefix that broke, a lifetime that costs more: only what there is to say."""
    said = closing_lines(closing(caches=("the cached prefix broke once",)), 80)
    row = next(number for number, line in enumerate(said) if line.strip().startswith("cache "))
    assert said[row + 1] == "            the cached prefix broke once"
    assert len(closing_lines(closing(), 80)) == len(said) - 1


def test_a_run_that_the_watch_paused_says_why_and_what_was_noted_before() -> None:
    note = Remark(rule="context", action="note", words="its context is 81 % full", turn=7)
    pause = Remark(rule="repeats", action="pause", words="read a.py 8 times", turn=9)
    run = replace(
        PAUSED,
        verdict=Verdict.RUNAWAY,
        runaway=pause.words,
        reason=f"paused by the watch: {pause.words}",
        watched=(note, pause),
    )
    said = closing_lines(closing(run), 80)
    assert said[0].startswith("paused by the watch   $0.2531 of $3.00")
    assert "  why       read a.py 8 times" in said
    assert "  watch     its context is 81 % full" in said
    assert said[-1] == "  answer    crewcap resume fix-login.1   or   crewcap stop fix-login.1"
    stopped = closing_lines(closing(replace(run, state=RunState.STOPPED)), 80)
    assert stopped[0].startswith("stopped by the watch")
