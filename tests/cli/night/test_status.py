"""`crewcap status`: what needs you, what is live, what came of the night."""

from __future__ import annotations

import fcntl
import json
import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from tests.cli.run_home import RunHome, cut_short, driven, utc_now
from tests.cli.runs.test_stop import NIGHTLY
from tests.stores.books import add_key

from crewcap.core.budget import KeyId, Scope
from crewcap.core.money import Money
from crewcap.core.questions import Question
from crewcap.core.runs import Check, RunState, Verdict
from crewcap.gateway.batch.folder import Folder, Job, Prompt
from crewcap.runner.ownership import myself
from crewcap.stores import Limit, Tick

EVERYTHING = {
    *("since", "waiting", "live", "ended", "ended_cost_usd", "worst_case_usd", "uncertain_holds", "frozen", "budgets"),
    *("morning", "queued", "serve", "workers", "next", "skipped", "batches"),
}


@pytest.fixture
def night(home: RunHome) -> RunHome:
    """One green, one red, one from last week, one at its cap, one cut short, and one live."""
    home.spend(home.add("good", verdict=Verdict.FINISHED, check_after=Check(result="passed")), "0.10")
    home.spend(home.add("red", RunState.FAILED, verdict=Verdict.CHECK_FAILED), "0.20", uncertain="0.05")
    home.spend(home.add("old", ended_at=utc_now() - timedelta(days=6)), "0.30")
    home.spend(home.add("broke", RunState.WAITING, reason="paused at the cap"), "0.40")
    home.add("dead", RunState.RUNNING, **cut_short())
    home.spend(home.add("busy", RunState.RUNNING, cap=Money.usd(2), **driven()), "0.50")
    return home


def test_machines_get_the_whole_picture(night: RunHome) -> None:
    said = night.json("status")
    assert set(said) == EVERYTHING
    assert [(one["run"], one["reason"], one["resume"]) for one in said["waiting"]] == [
        ("dead.1", "cut short while running", "crewcap resume dead.1"),
        ("broke.1", "paused at the cap", "crewcap resume broke.1"),
    ]
    assert said["live"] == [{"run": "busy.1", "state": "running"}]
    assert said["ended"] == [{"run": "red.1", "verdict": "check_failed"}, {"run": "good.1", "verdict": "finished"}]
    assert said["ended_cost_usd"] == "0.350000000"
    assert said["worst_case_usd"] == "4.500000000"  # an agent of the one that was cut short may be alive
    assert said["morning"] == {
        "done": 1,
        "green": 1,
        "unchecked": 0,
        "paused": 1,
        "failed": 1,
        "stopped": 0,
        "cut_short": 1,
        "spent_usd": "1.550000000",
    }
    assert said["uncertain_holds"] == 1
    assert said["budgets"] == [
        {"scope": "all", "window": "day", "limit_usd": "25.000000000", "left_usd": "23.450000000"}
    ]


def test_a_provider_that_is_frozen_is_the_first_thing_said(night: RunHome) -> None:
    """Every request is refused meanwhile."""
    night.ledger.freeze("anthropic", reason="an answer broke what holds rest on: it came from another model")
    first = night.out("status").splitlines()[0]
    assert first.startswith("FROZEN anthropic: an answer broke what holds rest on")
    assert first.endswith("crewcap ledger thaw anthropic")
    (stop,) = night.json("status")["frozen"]
    assert (stop["provider"], stop["help"]) == ("anthropic", "crewcap ledger thaw anthropic")


def test_people_read_the_most_urgent_first(night: RunHome) -> None:
    lines = night.out("status").splitlines()
    assert re.fullmatch(
        r"(LAST NIGHT|SINCE \S+ \S+ UTC) 1 done \(1 green\), 1 paused, 1 failed, 1 cut short, \$1\.55", lines[0]
    )
    assert lines[1:] == [
        "NEEDS YOU 2",
        "  dead.1                 cut short while running",
        "                         crewcap resume dead.1",
        "  broke.1                paused at the cap",
        "                         crewcap resume broke.1",
        "LIVE 1   worst case if all goes wrong: $4.50",
        "  busy.1                 running    $0.50 of $2.00, turn 1   About busy",
        "  all day    $1.55 of $25.00, $23.45 left",
        "UNCERTAIN 1 hold whose cost nobody proved; crewcap ledger reconcile",
    ]


def test_a_run_that_asks_is_shown_with_its_choices_and_the_cheapest_command(home: RunHome) -> None:
    asked = Question(
        id="q1",
        asked_at=utc_now(),
        text="$2.97 of $3.00 is spent; going on reads its context again for about $0.28",
        choices=("+2.00", "+5.00", "stop"),
        least=Money.usd("0.31"),
        again=Money.usd("0.28"),
        expires_at=datetime(2030, 1, 2, 3, 4, tzinfo=UTC),
    )
    home.add("fix", RunState.WAITING, reason="paused at the cap", verdict=Verdict.BUDGET_EXHAUSTED, question=asked)
    lines = home.out("status").splitlines()
    assert lines[2] == f"  fix.1                  paused at the cap: {asked.text}"
    assert lines[3].endswith("crewcap resume fix.1 --add 2   (or +2.00, +5.00, stop; until 2030-01-02 03:04 UTC)")
    (one,) = home.json("status")["waiting"]
    assert (one["needs_you"], one["question"]["least_usd"], one["question"]["choices"][-1]) == (
        True,
        "0.310000000",
        "stop",
    )


def test_queued_runs_say_what_they_wait_for_and_that_nobody_serves(home: RunHome) -> None:
    opens = datetime(2030, 1, 2, 6, 0, tzinfo=UTC)
    for position, key in ((2, "second"), (1, "first")):
        reason = "repo shop has 2 of 2 slots"
        home.add(key, RunState.QUEUED, hosted=True, queued_for=reason, position=position, opens_at=opens)
    lines = home.out("status").splitlines()
    assert lines[1:4] == [
        "QUEUED 2",
        "  first.1                repo shop has 2 of 2 slots; place 1 in the queue; it opens at 2030-01-02 06:00 UTC",
        "  second.1               repo shop has 2 of 2 slots; place 2 in the queue; it opens at 2030-01-02 06:00 UTC",
    ]
    assert lines[4] == "LIVE 0   worst case if all goes wrong: $6.00"
    assert "NOT SERVING   2 runs queued, and nobody carries them out; crewcap serve" in lines
    said = home.json("status")
    assert said["queued"][0] == {
        "run": "first.1",
        "queued_for": "repo shop has 2 of 2 slots",
        "position": 1,
        "opens_at": opens.isoformat(),
    }
    assert said["serve"] is None


def test_an_open_batch_says_how_far_it_is_and_that_nobody_collects_it(home: RunHome) -> None:
    add_key(home.ledger, "of-batch", cap="3.00", at=utc_now())
    at, key = datetime(2026, 11, 22, tzinfo=UTC), KeyId("of-batch")
    made = Job(name="audits", id="0" * 16, key=key, cap=Money.usd(3), created_at=at)
    prompts = [Prompt(n=n, id=f"p{n}", text="x", model="m", max_output=9) for n in range(4)]
    folder = Folder.make(home.home.batches / "audits", made, prompts)
    folder.note("held", refused={"3": "no room"})
    folder.note("posted", part=1, batch="msgbatch_1")
    folder.tell({1: (2, 3)})
    lines = home.out("status").splitlines()
    number = lines.index("BATCHES 1")
    assert lines[number + 1] == "  audits                 working 2/3, $0.00 of $3.00"
    assert lines[number + 2].strip() == "since 2026-11-22 00:00 UTC; nobody collects it: crewcap batch resume audits"
    (said,) = home.json("status")["batches"]
    assert (said["name"], said["ready"], said["sent"], said["is_worked_on"]) == ("audits", 2, 3, False)
    folder.note("over")
    assert home.json("status")["batches"] == []


def test_schedules_say_when_they_come_next_and_that_nobody_serves_them(home: RunHome) -> None:
    home.config.write_text(NIGHTLY)
    home.add("x")
    lines = home.out("status").splitlines()
    assert "NOT SERVING   1 schedule set, and nobody carries them out; crewcap serve" in lines
    (tick,) = home.json("status")["next"]
    at = datetime.fromisoformat(tick["at"])
    assert (tick["schedule"], at.hour, at.minute) == ("nightly", 2, 0)
    assert at > utc_now()
    assert f"  next {at:%Y-%m-%d %H:%M} UTC  nightly" in lines


def test_the_newest_tick_that_started_nothing_is_said_with_why_in_the_zone_of_the_settings(home: RunHome) -> None:
    home.config.write_text(f'[budgets]\ntimezone = "Asia/Tokyo"\n{NIGHTLY}')
    run = home.add("x")
    night = utc_now().replace(second=0, microsecond=0) - timedelta(hours=3)
    home.runs.note_tick(Tick(schedule="nightly", at=night - timedelta(days=1), note="first seen"))
    assert home.json("status")["skipped"] == []
    home.runs.note_tick(Tick(schedule="nightly", at=night, note="left out: nightly-audit.4 is waiting still"))
    home.runs.note_tick(Tick(schedule="nightly", at=night + timedelta(hours=1), run=run.id))
    there = night.astimezone(ZoneInfo("Asia/Tokyo"))
    why = "nightly-audit.4 is waiting still"
    assert f"  left out {there:%Y-%m-%d %H:%M} JST  nightly: {why}" in home.out("status").splitlines()
    (said,) = home.json("status")["skipped"]
    assert said == {"at": night.isoformat(), "schedule": "nightly", "why": f"left out: {why}"}
    assert home.json("status", "--since", "1h")["skipped"] == []


def test_every_time_is_told_in_the_zone_of_the_settings_which_is_named(home: RunHome) -> None:
    home.config.write_text('[budgets]\ntimezone = "Asia/Tokyo"\n')
    opens = datetime(2030, 1, 2, 16, 0, tzinfo=UTC)
    why = "all has $0.00 left of $5.00 this day; it opens at 2030-01-02 16:00 UTC"
    home.add("waits", RunState.WAITING, verdict=Verdict.BUDGET_EXHAUSTED, reason=why)
    queued = home.add("queued", RunState.QUEUED, queued_for="repo shop has 2 of 2 slots", opens_at=opens)
    for words in (("status",), ("runs",), ("show", "queued"), ("show", "waits")):
        said = home.out(*words)
        assert "it opens at 2030-01-03 01:00 JST" in said, words
        assert "UTC" not in said, words
    home.runs.log(queued.id, "note", "queued: all is short; it opens at 2030-01-02 16:00 UTC")
    (event,) = home.runs.story(queued.id)
    (line,) = home.out("logs", "queued").splitlines()
    assert line.startswith(f"{event.at.astimezone(ZoneInfo('Asia/Tokyo')):%H:%M:%S}  note")
    assert line.endswith("it opens at 2030-01-03 01:00 JST")


def test_a_serve_that_is_alive_is_named_and_what_goes_on_by_itself_needs_nobody(home: RunHome) -> None:
    pid, started = myself()
    frozen = {"verdict": Verdict.PROVIDER_ERROR, "waits_for": "provider", "reason": "the provider says: no credit"}
    home.add("frozen", RunState.WAITING, hosted=True, worker="local", **frozen)
    assert "NEEDS YOU 1" in home.out("status").splitlines()
    note = {
        "pid": pid,
        "started": started,
        "since": "2026-11-22T22:14:00+00:00",
        "url": "http://127.0.0.1:1",
        "worker_pid": pid,
    }
    home.home.serve_note.write_text(json.dumps(note))
    home.home.serve_lock.touch()
    with home.home.serve_lock.open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lines = home.out("status").splitlines()
        said = home.json("status")
    assert "WAITING 1   for what comes back by itself" in lines
    assert not [line for line in lines if line.startswith("NEEDS YOU")]
    assert f"SERVING process {pid} since 2026-11-22 22:14 UTC" in lines
    assert said["serve"] == {"pid": pid, "since": note["since"], "url": note["url"]}
    assert said["workers"] == 1
    assert said["waiting"][0]["needs_you"] is False


def test_the_worst_case_is_bounded_by_the_budgets_that_runs_share(home: RunHome) -> None:
    for key in ("a", "b", "c"):
        home.add(key, RunState.RUNNING, cap=Money.usd(5), **driven())
    home.ledger.set_limit(Limit(scope=Scope("repo:shop"), window="total", amount=Money.usd("2.50"), source="command"))
    assert home.json("status")["worst_case_usd"] == "2.500000000"


@pytest.mark.parametrize("columns", [20, 40])
def test_a_narrow_screen_gets_all_of_it_in_more_lines(
    night: RunHome, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = night.out("status").splitlines()
    assert max(map(len, lines)) <= columns
    assert "crewcap resume broke.1" in " ".join(line.strip() for line in lines)


def test_how_far_back_is_said(night: RunHome) -> None:
    assert [one["run"] for one in night.json("status", "--since", "7d")["ended"]] == ["old.1", "red.1", "good.1"]


@pytest.mark.parametrize("words", ["yesterday", "12", "h", "-1h", "1.5h", "12345d"])
def test_a_stretch_of_time_has_a_unit_also_where_nothing_ran_yet(home: RunHome, words: str) -> None:
    status, said = home.refused("status", f"--since={words}")
    assert status == 2
    assert "is not a stretch of time" in said


def test_a_home_without_runs_has_the_same_shape(home: RunHome) -> None:
    said = home.json("status")
    assert set(said) == EVERYTHING
    assert (said["waiting"], said["worst_case_usd"]) == ([], "0.000000000")
    status, out, err = home.call("status")
    assert (status, out) == (0, "")
    assert err.startswith("nothing has run in ")
    assert not home.home.root.exists()


def test_a_reason_of_strangers_is_one_plain_line(home: RunHome) -> None:
    home.add("x", RunState.WAITING, reason="the provider \x1b[2Jsaid\nno")
    assert "  x.1                    the provider said no" in home.out("status").splitlines()
