"""What a batch came to, and its results as files."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from crewcap.core.budget import KeyId
from crewcap.core.money import ZERO, Money
from crewcap.core.pricing import Usage
from crewcap.errors import UsageError
from crewcap.gateway.batch.folder import Job, Prompt
from crewcap.runner.batch_results import ItemView, JobView, totals_of, write

usd = Money.usd
JOB = Job(name="audit", id="0" * 16, key=KeyId("k"), cap=usd("1"), created_at=datetime(2026, 11, 22, tzinfo=UTC))


def item(n: int, state: str, cost: str = "0", *, source: str = "", **more: object) -> ItemView:
    prompt = Prompt(n=n, id=f"p{n}", text=f"text {n}", model="m", max_output=9, source=source)
    return ItemView(prompt=prompt, state=state, spent=usd(cost), **more)  # type: ignore[arg-type]  # short


def job(*items: ItemView) -> JobView:
    return JobView(job=JOB, state="working", items=items)


def nobody(one: ItemView, text: str) -> None:
    raise AssertionError((one, text))


def test_answers_and_results_are_files(tmp_path: Path) -> None:
    """The costs in results.jsonl add up to those of the batch."""
    one = job(
        item(0, "succeeded", "0.10", text="Yes\n\n", usage=Usage(input=5, output=7), stop_reason="end_turn"),
        item(1, "expired"),
        item(2, "missing", uncertain=usd("0.05")),
        item(3, "refused", why="no room"),
        item(4, "sent", held=usd("0.30")),
    )
    assert write(one, tmp_path / "out", nobody) == 1
    assert (tmp_path / "out" / "p0.md").read_text() == "Yes\n"
    lines = [json.loads(line) for line in (tmp_path / "out" / "results.jsonl").read_text().splitlines()]
    assert [line["state"] for line in lines] == ["succeeded", "expired", "missing", "refused"]
    assert totals_of(lines) == usd("0.15") == one.sum("spent") + one.sum("uncertain")
    assert lines[0]["tokens"]["output"] == 7
    (again,) = (tmp_path / "out" / "refused.jsonl").read_text().splitlines()
    assert json.loads(again) == {"id": "p3", "prompt": "text 3", "model": "m", "max_output": 9}


def test_writing_again_changes_no_file(tmp_path: Path) -> None:
    one = job(item(0, "succeeded", "0.10", text="Yes"))
    write(one, tmp_path, nobody)
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    write(one, tmp_path, nobody)
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before


def test_an_issue_is_told_of_its_answer(tmp_path: Path) -> None:
    told: list[str] = []
    issue = item(0, "succeeded", "0.10", text="It is sound.", source="/x/login.md", model="sonnet")
    write(job(issue, item(1, "succeeded", "0.10")), tmp_path, lambda _, text: told.append(text))
    assert told == ["**Batch audit**: $0.10, sonnet\n\nIt is sound.\n\n<sub>Exactly $0.100000000.</sub>\n"]


def test_a_place_that_cannot_be_written_says_where_the_results_are(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written") as refused:
        write(job(item(0, "succeeded")), tmp_path / "file", nobody)
    assert "crewcap batch resume audit --out" in refused.value.help


def test_the_rest_is_estimated_by_those_that_are_settled() -> None:
    """Never more than what is held for it."""
    sent = [item(n, "sent", held=usd("0.30")) for n in (2, 3)]
    assert job(item(0, "succeeded", "0.10"), item(1, "succeeded", "0.20"), *sent).rest == usd("0.30")
    assert job(item(0, "succeeded", "9"), *sent).rest == usd("0.60")
    assert job(*sent).rest is None
    assert job(item(0, "succeeded", "0.10")).rest is None


def test_prompts_that_were_never_sent_are_not_in_work() -> None:
    one = job(item(0, "succeeded"), item(1, "refused"), item(2, "sent"), item(3, "errored"))
    assert (one.over, one.sent, one.count("refused")) == (2, 3, 1)
    assert one.as_json()["cost_usd"] == ZERO.exact()
