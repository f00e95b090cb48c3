"""Importing: only what is new is read, nothing counts twice, and nothing on a disk can stop it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from crewcap.core.money import Money
from crewcap.core.transcripts import Told
from crewcap.transcripts import reader
from crewcap.transcripts.importing import NO_LINES, TORN_END, places, read_here

from .conftest import Desk
from .test_claude_code import line
from .trees import make

is_root = os.geteuid() == 0


def message(number: int, output: int = 10) -> str:
    return line(output, message={"id": f"msg_{number}"})


def test_importing_twice_reads_nothing_and_gives_the_same_sums(desk: Desk) -> None:
    truth = make(desk.folder / "projects", seed=5, files=12, filler=60)
    first, sums = desk.run(), desk.whole()
    second = desk.run()
    assert (first.read, second.read, second.bytes_read) == (truth.files, 0, 0)
    assert (desk.whole(), second.skipped) == (sums, first.skipped)
    assert sums.cost == Money(truth.nano)


def test_of_a_file_that_has_grown_only_the_rest_is_read(desk: Desk) -> None:
    path = desk.write("a.jsonl", message(1))
    desk.run()
    with path.open("a") as file:
        file.write(message(2))
    outcome = desk.run()
    assert (outcome.bytes_read, desk.whole().messages) == (len(message(2)), 2)


def test_a_line_that_is_still_being_written_is_told_until_it_is_whole_and_counts_once(desk: Desk) -> None:
    whole = message(2)
    path = desk.write("a.jsonl", message(1) + whole[:-80])
    for _ in range(2):
        assert (desk.run().skipped, desk.whole().messages) == ({TORN_END: 1}, 1)
    path.write_text(message(1) + whole[:-1])  # an agent that does not end its last line
    assert (desk.run().skipped, desk.whole().messages) == ({}, 2)
    path.write_text(message(1) + whole + message(3))
    assert (desk.run().skipped, desk.whole().messages) == ({}, 3)


@pytest.mark.parametrize("content", [b"\x7fELF\0\1\n" * 100, b"\0" * 5_000, b"a plain text\n"])
def test_a_file_without_lines_of_json_is_told(desk: Desk, content: bytes) -> None:
    desk.write("a.jsonl", content)
    for _ in range(2):
        assert desk.run().skipped == {NO_LINES: 1}


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\n" + message(1).encode()])
def test_a_file_with_nothing_at_its_beginning_is_in_no_doubt(desk: Desk, content: bytes) -> None:
    desk.write("a.jsonl", content)
    assert desk.run().skipped == {}


def test_a_file_that_has_shrunk_is_read_whole_and_what_it_told_stays_counted(desk: Desk) -> None:
    path = desk.write("a.jsonl", message(1) + message(2) + message(3))
    desk.run()
    path.write_text(message(4))
    outcome = desk.run()
    assert (outcome.read, desk.whole().messages) == (1, 4)


def test_a_file_that_was_replaced_by_a_longer_one_is_read_whole(desk: Desk) -> None:
    path = desk.write("a.jsonl", message(1))
    desk.run()
    other = desk.write("b.tmp", message(2) + message(3) + message(4))
    other.rename(path)
    desk.run()
    assert desk.whole().messages == 4


def test_a_file_that_was_written_over_in_place_is_read_whole(desk: Desk) -> None:
    """The same file by its number, longer than before, but what was read is not there any more."""
    path = desk.write("a.jsonl", message(1))
    desk.run()
    with path.open("r+") as file:
        file.write(message(5, 77) + message(6) + message(7))
    desk.run()
    assert desk.whole().messages == 4


def test_a_file_that_is_gone_stays_counted(desk: Desk) -> None:
    """Agents delete old transcripts; what was used was used."""
    path = desk.write("a.jsonl", message(1))
    desk.run()
    path.unlink()
    assert (desk.run().marks, desk.whole().messages) == ({}, 1)


def test_a_message_is_told_by_the_file_that_told_it_first(desk: Desk) -> None:
    """So the sums of a folder are of what was not counted elsewhere before."""
    desk.write("one/a.jsonl", message(1))
    one = desk.run(desk.folder / "one")
    desk.write("two/b.jsonl", message(1) + message(2))
    two = desk.run(desk.folder / "two")
    of = [[mark.id for mark in outcome.marks.values()] for outcome in (one, two)]
    assert [sum(each.messages for each in desk.index.sums(files=files)) for files in of] == [1, 1]


def test_of_a_message_in_two_new_files_the_fuller_telling_counts_and_the_first_file_told_it(desk: Desk) -> None:
    """Read in one import or in two, a fork that knows more changes the message, not whose it is."""
    desk.write("one/a.jsonl", message(1, 5) + message(2))
    desk.write("two/b.jsonl", message(1, 9) + message(3))
    for age, name in enumerate(("two/b.jsonl", "one/a.jsonl")):
        os.utime(desk.folder / name, (1_000_000 - age, 1_000_000 - age))
    outcome = desk.run()
    assert (desk.whole().messages, desk.whole().usage.output) == (3, 29)
    ids = {Path(mark.path).name: mark.id for mark in outcome.marks.values()}
    of = [sum(each.messages for each in desk.index.sums(files=[ids[name]])) for name in ("a.jsonl", "b.jsonl")]
    assert of == [2, 1]


def test_links_in_a_circle_end_and_a_file_with_two_names_is_one(desk: Desk) -> None:
    path = desk.write("projects/a.jsonl", message(1))
    (desk.folder / "projects" / "self").symlink_to(desk.folder)
    (desk.folder / "again").symlink_to(desk.folder / "projects")
    (desk.folder / "nowhere.jsonl").symlink_to(desk.folder / "missing")
    (desk.folder / "turning.jsonl").symlink_to(desk.folder / "turning.jsonl")
    (desk.folder / "hard.jsonl").hardlink_to(path)
    outcome = desk.run()
    assert (len(outcome.marks), desk.whole().messages) == (1, 1)


def test_a_pipe_is_not_waited_for(desk: Desk) -> None:
    os.mkfifo(desk.folder / "pipe.jsonl")
    desk.write("a.jsonl", message(1))
    outcome = desk.run()
    assert (outcome.skipped, desk.whole().messages) == ({"no file: a pipe or a device": 1}, 1)


def test_a_name_that_is_no_text_is_a_name(desk: Desk) -> None:
    folder = desk.folder / os.fsdecode(b"caf\xe9\n")
    folder.mkdir()
    (folder / os.fsdecode(b"\xff.jsonl")).write_text(message(1))
    desk.run()
    assert (desk.run().read, desk.whole().messages) == (0, 1)


@pytest.mark.skipif(is_root, reason="root reads everything")
def test_what_cannot_be_read_is_told_and_the_rest_is_read(desk: Desk) -> None:
    desk.write("a.jsonl", message(1)).chmod(0)
    desk.write("closed/b.jsonl", message(2)).parent.chmod(0)
    desk.write("c.jsonl", message(3))
    outcome = desk.run()
    assert (sum(outcome.skipped.values()), desk.whole().messages) == (2, 1)
    (desk.folder / "closed").chmod(0o700)


@pytest.mark.parametrize(
    "content", [b"\0" * 100_000, b"\xff\xfe\n" * 1_000, b"", b"{", b"\x1f\x8b" + bytes(range(256))]
)
def test_a_file_of_anything_is_read_to_its_end(desk: Desk, content: bytes) -> None:
    desk.write("a.jsonl", content)
    desk.write("b.jsonl", content + b"\n" + message(1).encode() + content)
    desk.run()
    assert desk.whole().messages == 1


def test_a_line_of_fifty_megabytes_is_a_line(desk: Desk) -> None:
    """A tool's result may be as long as it likes; what stands before, in and behind it counts."""
    long = line(8, message={"id": "msg_long"}, toolUseResult="x" * 50_000_000)
    desk.write("a.jsonl", message(1) + long + message(2))
    desk.run()
    assert (desk.whole().messages, desk.whole().usage.output) == (3, 28)


def test_no_more_is_read_at_once_than_was_asked_for(desk: Desk) -> None:
    for number in range(6):
        desk.write(f"{number}.jsonl", message(number))
    left: list[int] = []
    while not left or left[-1]:
        left.append(desk.run(most_bytes=2 * len(message(1))).left)
    assert (left, desk.whole().messages) == ([4, 2, 0], 6)


def test_a_folder_can_be_read_without_an_index(desk: Desk) -> None:
    truth = make(desk.folder / "projects", seed=9, files=4, filler=60)
    told: tuple[Told, ...] = read_here([reader("claude")], [desk.folder])
    assert len(told) == truth.messages


def test_every_agent_keeps_its_transcripts_where_its_settings_say(tmp_path: Path) -> None:
    for folder in (
        ".claude/projects",
        ".codex/sessions",
        ".gemini/tmp",
        ".local/share/opencode",
        ".config/claude/projects",
    ):
        (tmp_path / folder).mkdir(parents=True)
    readers = [reader(name) for name in ("claude", "codex", "gemini", "opencode")]
    assert len(places(readers, {"HOME": str(tmp_path)})) == 5
    (tmp_path / "else/projects").mkdir(parents=True)
    elsewhere = {"HOME": str(tmp_path), "CLAUDE_CONFIG_DIR": str(tmp_path / "else"), "CODEX_HOME": "/nowhere"}
    assert tmp_path / "else/projects" in places(readers, elsewhere)
    assert len(places(readers, elsewhere)) == 3
