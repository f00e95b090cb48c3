"""Logs: one event a line, for people or machines, and no secret in it."""

from __future__ import annotations

import io
import json
import logging
import re
import resource
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from crewcap.errors import UsageError
from crewcap.logs import LONGEST, Format, Level, LogFile, Secrets, cut, set_up

SECRET = "hunter2-is-no-key-by-its-looks"
log = logging.getLogger("crewcap.test")


def fail(error: Exception, cause: Exception | None = None) -> None:
    raise error from cause


@pytest.fixture
def place() -> Iterator[io.StringIO]:
    """Where the lines go; the test runner's own handlers come back afterwards."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield io.StringIO()
    root.handlers[:], root.level = before, level


def begin(place: io.StringIO, style: Format = "json", level: Level = "info") -> Secrets:
    secrets = Secrets()
    set_up(style, level, secrets=secrets, stream=place)
    return secrets


def objects(place: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in place.getvalue().splitlines()]


def test_json_is_one_object_a_line_with_time_level_event_and_fields(place: io.StringIO) -> None:
    begin(place)
    log.warning("provider %s takes requests again", "anthropic", extra={"provider": "anthropic", "after_s": 3})
    (said,) = objects(place)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", said["time"])
    assert (said["level"], said["event"]) == ("warning", "provider anthropic takes requests again")
    assert (said["provider"], said["after_s"], said["logger"]) == ("anthropic", 3, "crewcap.test")


def test_text_is_one_line_for_people(place: io.StringIO) -> None:
    begin(place, "text")
    log.error("two\nlines", extra={"provider": "anthropic"})
    assert re.fullmatch(r"\S+Z error two lines provider=anthropic\n", place.getvalue())


def test_a_level_leaves_out_what_is_below_it(place: io.StringIO) -> None:
    begin(place, level="warning")
    log.info("not this")
    log.warning("this")
    assert [each["event"] for each in objects(place)] == ["this"]


@pytest.mark.parametrize("style", ["text", "json"])
def test_no_secret_is_in_a_message_a_field_or_an_error(place: io.StringIO, style: Format) -> None:
    """Known ones wherever they stand, and whatever looks like a key although nobody told of it."""
    secrets = begin(place, style, "debug")
    secrets.know([SECRET])
    log.debug("the key is %s", SECRET, extra={"sent": {"x-api-key": SECRET}, "other": "sk-ant-fake-0123456789abcdefgh"})
    try:
        fail(UsageError(f"what is {SECRET}?"))
    except UsageError:
        log.exception("it failed")
    said = place.getvalue()
    assert SECRET not in said
    assert "sk-ant-fake" not in said
    assert said.count("[secret removed]") == 4


def test_an_error_tells_where_it_was_and_not_what_a_client_sent(place: io.StringIO) -> None:
    """A library's error may quote the request; the database's own words are of use and quote nothing."""
    begin(place)
    for error in (ValueError("the prompt was: hello"), sqlite3.OperationalError("database is locked")):
        try:
            fail(error)
        except (ValueError, sqlite3.Error):
            log.exception("it failed")
    first, second = (each["trace"] for each in objects(place))
    assert "hello" not in first
    assert first.endswith("ValueError")
    assert "test_logs.py" in first
    assert second.endswith("OperationalError: database is locked")


def test_an_error_is_told_with_its_cause(place: io.StringIO) -> None:
    begin(place)
    try:
        fail(UsageError("cannot write"), OSError(28, "No space left on device"))
    except UsageError:
        log.exception("it failed")
    trace = objects(place)[0]["trace"]
    assert trace.index("No space left on device") < trace.index("UsageError: cannot write")


def test_a_long_text_is_cut_after_it_was_looked_through(place: io.StringIO) -> None:
    """A secret that lies across the cut is gone before there is one."""
    secrets = begin(place)
    secrets.know([SECRET])
    log.info("%s", "x" * (LONGEST - 5) + SECRET + "y" * 100)
    (said,) = objects(place)
    assert len(said["event"]) <= LONGEST + 3
    assert SECRET[:5] not in said["event"]


def test_an_escape_sequence_reaches_no_terminal(place: io.StringIO) -> None:
    begin(place, "text")
    log.warning("a key was shown at \x1b]0;owned\x07 the door")
    assert "\x1b" not in place.getvalue()
    assert "\x07" not in place.getvalue()


def test_the_secrets_are_not_in_their_own_repr() -> None:
    secrets = Secrets()
    secrets.know([SECRET, ""])
    assert SECRET not in repr(secrets)


def test_a_log_that_became_too_large_is_put_aside_and_so_many_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "serve.log"
    with LogFile(path, most_bytes=50, kept=2) as file:
        for number in range(40):
            file.write(f"line {number:03}\n")
    names = ("serve.log.2", "serve.log.1", "serve.log")
    assert sorted(each.name for each in path.parent.iterdir()) == sorted([*names, "serve.log.lock"])
    lines = [line for name in names for line in (path.parent / name).read_text().splitlines()]
    assert lines == [f"line {number:03}" for number in range(40)][-len(lines) :]
    assert all((path.parent / name).stat().st_size <= 50 + 9 for name in names)
    assert path.stat().st_mode & 0o077 == 0


_WRITER = """
import sys
from pathlib import Path
from crewcap.logs import LogFile
file = LogFile(Path(sys.argv[1]), most_bytes=2_000, kept=100)
for number in range(500): file.write(f"{sys.argv[2]} {number}\\n")
"""


def test_processes_that_write_to_one_log_lose_no_line(tmp_path: Path) -> None:
    """Whoever puts it aside, the others go on in the new one."""
    writers = [subprocess.Popen([sys.executable, "-c", _WRITER, str(tmp_path / "log"), name]) for name in "abc"]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    lines = [line for path in tmp_path.glob("log*") if path.suffix != ".lock" for line in path.read_text().splitlines()]
    assert sorted(lines) == sorted(f"{name} {number}" for name in "abc" for number in range(500))
    assert (tmp_path / "log.3").exists()


def test_a_full_disk_ends_nothing_and_what_was_lost_is_counted(tmp_path: Path, place: io.StringIO) -> None:
    """A limit on the size of files stands for the disk."""
    path = tmp_path / "log"
    with LogFile(path, most_bytes=1 << 20, kept=1) as file:
        set_up("text", "info", secrets=Secrets(), stream=file)
        log.info("before")
        ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        most = resource.getrlimit(resource.RLIMIT_FSIZE)
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size, most[1]))
            log.info("lost")
            log.info("lost, too")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, most)
            signal.signal(signal.SIGXFSZ, ignored)
        log.info("after")
    said = path.read_text()
    assert "lost, too" not in said
    assert "(2 lines could not be written)\n" in said
    assert said.endswith("after\n")
    assert place.getvalue() == ""


NOTES = """
import logging, sys
from pathlib import Path
from crewcap.logs import aside
aside(Path(sys.argv[1]))
aside(Path(sys.argv[1]) / "again")
logging.getLogger("crewcap.x").warning("what was handed out is no listener")
print("the command's own line")
"""


def test_what_parts_of_a_command_note_never_stands_between_its_lines(tmp_path: Path) -> None:
    """Python writes it to the terminal, raw, where nobody says otherwise."""
    done = subprocess.run([sys.executable, "-c", NOTES, tmp_path], check=True, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("the command's own line\n", "")
    assert (tmp_path / "commands.log").read_text().endswith("Z warning what was handed out is no listener\n")


def test_a_log_that_somebody_holds_open_is_cut_under_them(tmp_path: Path) -> None:
    path = tmp_path / "gateway.log"
    with path.open("a") as held:
        held.write("x" * 100 + "\n")
        held.flush()
        assert not cut(path, most_bytes=101)
        assert cut(path, most_bytes=100)
        held.write("after\n")
    assert path.read_text() == "after\n"
    assert (tmp_path / "gateway.log.1").read_text() == "x" * 100 + "\n"
    assert not cut(tmp_path / "none", most_bytes=0)
