"""Nothing is told twice, and nothing is lost: real files, a real web server, real commands."""

from __future__ import annotations

import http.server
import json
import stat
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from crewcap.core.notices import Notice, Wish
from crewcap.notify import NOTIFIERS, NotSent, Target
from crewcap.notify.notebook import Addressee, Notebook

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
WAITS = Notice(once="run/1/waiting/1", kind="waiting", text="fix.1 waits: at its cap", at=NOW)


class Hook:
    """A place that takes messages; what it answers can be changed."""

    def __init__(self) -> None:
        self.status, self.got = 200, list[dict[str, Any]]()
        hook = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                hook.got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(hook.status)
                if hook.status == 302:
                    self.send_header("Location", "http://127.0.0.1:1/elsewhere")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}/services/T0/SECRET"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def hook() -> Iterator[Hook]:
    made = Hook()
    yield made
    made.server.shutdown()
    made.server.server_close()


def notebook(folder: Path) -> Notebook:
    return Notebook(path=folder / "notices.jsonl", make=lambda target: NOTIFIERS[target.kind](target))


def addressee(hook: Hook, *, quiet: bool = False, kind: Any = "waiting") -> Addressee:
    target = Target(kind="webhook", name="webhook $HOOK", address=hook.address)
    return Addressee(target=target, wishes=[Wish(kind=kind)], is_quiet=quiet)


def test_a_notice_is_told_once_in_the_words_of_chat_tools(tmp_path: Path, hook: Hook) -> None:
    book = notebook(tmp_path)
    assert [each.problem for each in book.tell([WAITS], [addressee(hook)], now=NOW)] == [""]
    assert book.tell([WAITS], [addressee(hook)], now=NOW) == []
    (said,) = hook.got
    assert said["text"] == said["content"] == "crewcap: fix.1 waits: at its cap"
    assert said["crewcap"]["event"] == "waiting"


def test_what_did_not_arrive_is_sent_again(tmp_path: Path, hook: Hook) -> None:
    book = notebook(tmp_path)
    hook.status = 503
    (done,) = book.tell([WAITS], [addressee(hook)], now=NOW)
    assert done.problem == "the webhook answered 503"
    hook.status = 200
    (done,) = book.tell([], [addressee(hook)], now=NOW + timedelta(hours=1))
    assert done.problem == ""
    assert book.tell([], [addressee(hook)], now=NOW + timedelta(hours=2)) == []


def test_after_a_week_it_is_old_news(tmp_path: Path, hook: Hook) -> None:
    book = notebook(tmp_path)
    hook.status = 503
    book.tell([WAITS], [addressee(hook)], now=NOW)
    assert book.tell([], [addressee(hook)], now=NOW + timedelta(days=8)) == []


def test_quiet_hours_only_delay_it(tmp_path: Path, hook: Hook) -> None:
    book = notebook(tmp_path)
    assert book.tell([WAITS], [addressee(hook, quiet=True)], now=NOW) == []
    assert len(book.tell([], [addressee(hook)], now=NOW + timedelta(hours=8))) == 1


def test_whoever_is_added_later_is_not_told_of_what_was_before(tmp_path: Path, hook: Hook) -> None:
    book, late = notebook(tmp_path), addressee(hook)
    assert book.tell([WAITS], [], now=NOW) == []
    assert book.tell([WAITS], [late], now=NOW) == []


def test_everybody_is_told_the_highest_percent_that_they_asked_for(tmp_path: Path, hook: Hook) -> None:
    def listener(name: str, *percents: int) -> Addressee:
        target = Target(kind="webhook", name=name, address=hook.address)
        return Addressee(target=target, wishes=[Wish(kind="budget", percents=percents)])

    notices = [Notice(once=f"budget/all/{n}", kind="budget", percent=n, text=f"{n} %", at=NOW) for n in (50, 80)]
    done = notebook(tmp_path).tell(notices, [listener("both", 50, 80), listener("low", 50)], now=NOW)
    assert sorted((each.target, each.notice.percent) for each in done) == [("both", 80), ("low", 50)]


def test_who_did_not_ask_is_not_told(tmp_path: Path, hook: Hook) -> None:
    assert notebook(tmp_path).tell([WAITS], [addressee(hook, kind="failed")], now=NOW) == []


def test_a_line_that_a_crash_cut_off_costs_nothing_else(tmp_path: Path, hook: Hook) -> None:
    book = notebook(tmp_path)
    book.tell([WAITS], [addressee(hook)], now=NOW)
    with book.path.open("ab") as file:
        file.write(b'{"notice": {"once": "run/2')
    other = Notice(once="run/3/waiting/1", kind="waiting", text="other", at=NOW)
    assert [each.notice.once for each in book.tell([other], [addressee(hook)], now=NOW)] == ["run/3/waiting/1"]
    assert [(notice.once, targets) for notice, targets in book.told()] == [
        ("run/1/waiting/1", ("webhook $HOOK",)),
        ("run/3/waiting/1", ("webhook $HOOK",)),
    ]
    assert stat.S_IMODE(book.path.stat().st_mode) == 0o600


def test_a_redirect_is_not_followed_and_no_error_shows_the_address(tmp_path: Path, hook: Hook) -> None:
    hook.status = 302
    (done,) = notebook(tmp_path).tell([WAITS], [addressee(hook)], now=NOW)
    assert done.problem == "the webhook answered 302"
    hook.server.server_close()
    hook.server.shutdown()
    (done,) = notebook(tmp_path).tell([], [addressee(hook)], now=NOW)
    assert "SECRET" not in done.problem
    assert "cannot be reached" in done.problem


@pytest.mark.parametrize("address", ["http://example.org/x", "ftp://127.0.0.1/x", "not an address", ""])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(NotSent, match="begins with https"):
        NOTIFIERS["webhook"](Target(kind="webhook", name="w", address=address))


def test_a_command_gets_the_words_as_one_argument(tmp_path: Path) -> None:
    out = tmp_path / "out"
    script = tmp_path / "tell"
    script.write_text(f'#!/bin/sh\nprintf "%s|%s" "$1" "$CREWCAP_EVENT" > {out}\n')
    script.chmod(0o700)
    target = Target(kind="command", name="c", argv=(str(script),), environ={"PATH": "/usr/bin:/bin"})
    NOTIFIERS["command"](target).send(Notice(once="x", kind="done", text='$(id); `id` "it\'s"', at=NOW))
    assert out.read_text() == '$(id); `id` "it\'s"|done'


def test_a_command_that_is_not_there_or_fails_is_said() -> None:
    for argv, problem in ((("no-such-program",), "is not installed"), (("false",), "ended with status 1")):
        target = Target(kind="command", name="c", argv=argv, environ={"PATH": "/usr/bin:/bin"})
        with pytest.raises(NotSent, match=problem):
            NOTIFIERS["command"](target).send(WAITS)


def test_a_log_gets_a_line_for_each(tmp_path: Path) -> None:
    log = NOTIFIERS["log"](Target(kind="log", name="l", path=tmp_path / "n.log"))
    log.send(WAITS)
    log.send(WAITS)
    assert [json.loads(line)["text"] for line in (tmp_path / "n.log").read_text().splitlines()] == [WAITS.text] * 2
