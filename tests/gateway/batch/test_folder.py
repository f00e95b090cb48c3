"""The folder of a batch: whole or not there, read again as it was lived, and safe from lines that were cut."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.gateway.batch.jobs import Desk

from crewcap.errors import UsageError
from crewcap.gateway.batch.folder import Answered, Folder, Planned, folders


def test_a_job_is_read_as_it_was_made(desk: Desk) -> None:
    made = desk.job("audit", "one", "zwei\nüber", context="rules", out="/there")
    job = made.job()
    assert (job.name, job.context, job.out, job.owner) == ("audit", "rules", "/there", f"batch-{job.id}")
    assert [prompt.text for prompt in made.prompts()] == ["one", "zwei\nüber"]
    assert [each.path.name for each in folders(desk.home.batches)] == ["audit"]


def test_a_name_is_taken_once(desk: Desk) -> None:
    desk.job("audit", "one")
    with pytest.raises(UsageError, match="there is a batch audit already"):
        desk.job("audit", "two")
    assert [path.name for path in desk.home.batches.iterdir()] == ["audit"]  # nothing half-made is left


def test_a_folder_without_its_job_is_not_there(desk: Desk) -> None:
    (desk.home.batches / "half").mkdir(parents=True)
    assert list(folders(desk.home.batches)) == []
    with pytest.raises(UsageError, match="there is no batch 'half'"):
        Folder(desk.home.batches / "half").job()


def test_the_journal_is_the_state(desk: Desk) -> None:
    folder = desk.job()
    folder.note("held", refused={"3": "no room"})
    folder.note("posting", part=1, at="2026-11-22T10:00:00+00:00")
    assert folder.state().part(1).posting
    folder.note("posted", part=1, batch="b-1")
    folder.note("posting", part=2, at="2026-11-22T10:00:00+00:00")
    folder.note("unsent", part=2)
    state = Folder(folder.path).state()
    assert (state.is_held, state.refused, state.is_over) == (True, {3: "no room"}, False)
    assert (state.part(1).batch, state.part(1).posting, state.part(2).posting) == ("b-1", "", "")


@pytest.mark.parametrize("cut", range(1, 30, 4))
def test_a_line_that_was_cut_off_is_not_there(desk: Desk, cut: int) -> None:
    """A kill in the middle of a write: the next gateway writes on behind the last whole line."""
    folder = desk.job()
    folder.note("held", refused={})
    whole = (folder.path / "journal.jsonl").read_bytes()
    folder.note("over")
    torn = (folder.path / "journal.jsonl").read_bytes()
    (folder.path / "journal.jsonl").write_bytes(torn[: max(len(whole), len(torn) - cut)])
    again = Folder(folder.path)
    assert (again.state().is_held, again.state().is_over) == (True, False)
    again.note("cancel")
    assert (folder.path / "journal.jsonl").read_bytes() == whole + b'{"event":"cancel"}\n'


def test_the_first_word_on_an_item_counts(desk: Desk) -> None:
    folder, first = desk.job(), Answered(n=0, state="succeeded", text="yes")
    folder.answered([first])
    folder.answered([replace(first, text="no"), Answered(n=1, state="expired")])
    assert folder.answers() == {0: first, 1: Answered(n=1, state="expired")}


def test_a_plan_is_written_once_and_whole(desk: Desk) -> None:
    folder = desk.job()
    assert folder.planned() is None
    plan = (Planned(n=0, part=1, hold="h", nano=7), Planned(n=1, refused="no price"))
    folder.plan(plan)
    found = folder.planned()
    assert found is not None
    assert [(item.n, item.part, item.nano, item.refused) for item in found] == [(0, 1, 7, ""), (1, 0, 0, "no price")]


def test_one_process_works_on_it(desk: Desk) -> None:
    folder = desk.job()
    other = Folder(folder.path)
    assert folder.take()
    assert not other.take()
    folder.give_back()
    assert other.take()
    other.give_back()


def test_a_home_without_batches_has_none(tmp_path: Path) -> None:
    assert list(folders(tmp_path / "none")) == []


def test_how_far_it_is_is_shown_and_nothing_rests_on_it(desk: Desk) -> None:
    job = desk.job()
    assert job.ready() == 0
    job.tell({1: (3, 4), 2: (0, 7)})
    assert job.ready() == 3
    (job.path / "progress.json").write_text("torn {")
    assert job.ready() == 0
