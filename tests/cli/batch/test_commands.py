"""`crewcap batch list` and `show`, and what is said where there is none."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.cli.money_home import MoneyHome

from crewcap.cli.batch.view import MOST_REFUSED, progress, summary
from crewcap.core.budget import KeyId
from crewcap.core.money import Money
from crewcap.gateway.batch.folder import Job, Prompt
from crewcap.runner.batch_results import ItemView, JobState, JobView

usd = Money.usd


@pytest.fixture
def desk(tmp_path: Path) -> MoneyHome:
    return MoneyHome(tmp_path)


def job(state: JobState, *items: ItemView) -> JobView:
    made = Job(name="audit", id="0" * 16, key=KeyId("k"), cap=usd("2"), created_at=datetime(2026, 11, 22, tzinfo=UTC))
    return JobView(job=made, state=state, items=items)


def item(n: int, state: str, **more: object) -> ItemView:
    prompt = Prompt(n=n, id=f"p{n}", text="x", model="m", max_output=9)
    return ItemView(prompt=prompt, state=state, **more)  # type: ignore[arg-type]  # short


def test_a_home_without_batches_says_how_to_begin(desk: MoneyHome, capsys: pytest.CaptureFixture[str]) -> None:
    assert desk.call_here("batch") == 0
    out, err = capsys.readouterr()
    assert (out, "crewcap batch run PROMPTS --cap 10" in err) == ("", True)
    assert desk.call_here("batch", "list", "--json") == 0
    assert json.loads(capsys.readouterr().out) == []


@pytest.mark.parametrize("name", ["audits", "../state", ".", "a/b", ""])
@pytest.mark.parametrize("verb", ["show", "resume", "cancel"])
def test_a_batch_that_is_not_there_is_named(
    desk: MoneyHome, capsys: pytest.CaptureFixture[str], verb: str, name: str
) -> None:
    assert desk.call_here("batch", verb, name) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"error: there is no batch '{name}'")
    assert "help: crewcap batch list" in err


def test_a_summary_names_what_was_not_sent_and_stops_naming_at_some_point() -> None:
    refused = [item(n, "refused", why="no room") for n in range(20)]
    lines = list(summary(job("done", item(99, "succeeded", spent=usd("0.50")), *refused)))
    assert lines[0] == "batch audit: done, 1 of 21 prompts answered"
    assert "$0.50 of $2.00 [#####..............." in lines[1]
    assert sum("no room" in line for line in lines) == MOST_REFUSED
    assert "and 15 more" in lines[-1]


def test_a_batch_of_which_nothing_could_be_sent_was_refused_and_is_not_done() -> None:
    refused = [item(n, "refused", why="no room") for n in range(2)]
    assert next(summary(job("done", *refused))) == "batch audit: refused, 0 of 2 prompts answered"


def test_progress_tells_what_is_settled_held_and_left() -> None:
    sent = item(1, "sent", held=usd("0.40"))
    assert progress(job("sending", sent), "") == "sending 1 prompt, $0.40 held"
    done = item(0, "succeeded", spent=usd("0.10"))
    assert (
        progress(job("working", done, sent), "the provider answered 503")
        == "in work 1/2, $0.10 settled, $0.40 held, rest about $0.10; the provider answered 503"
    )
