"""Logs: one event a line, for people or machines, and no secret in it."""

from __future__ import annotations

import io
import json
import logging
import re
import sqlite3
from collections.abc import Iterator
from typing import Any

import pytest

from crewcap.errors import UsageError
from crewcap.logs import LONGEST, Format, Level, Secrets, set_up

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
