"""OpenCode's database, and the files that it was before."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from crewcap.core.money import Money

from .conftest import Desk

RECORDED = Path(__file__).with_name("recorded")
MESSAGE = {
    "role": "assistant", "sessionID": "ses_1", "modelID": "claude-sonnet-4-6", "providerID": "anthropic",
    "time": {"created": 1_795_378_681_761, "completed": 1_795_378_682_942},
    "path": {"cwd": "/home/ana/shop", "root": "/home/ana/shop"},
    "tokens": {"input": 8, "output": 300, "reasoning": 0, "cache": {"write": 7_648, "read": 0}}, "cost": 0.033204,
}  # fmt: skip


def database(folder: Path, script: str) -> sqlite3.Connection:
    folder.mkdir(parents=True)
    db = sqlite3.connect(folder / "opencode.db")
    db.execute("PRAGMA journal_mode = WAL")
    db.executescript((RECORDED / script).read_text("utf-8"))
    return db


def test_what_the_real_agent_wrote_is_what_was_billed_though_it_was_forked(desk: Desk) -> None:
    """OpenCode 1.18.33 copies a session's messages under new ids; the database is in use while it is read."""
    with closing(database(desk.folder / "opencode", "opencode-fork.sql")):
        desk.run()
    assert (desk.whole().messages, desk.whole().cost) == (3, Money.usd("0.070062300"))


def test_a_provider_of_the_users_own_is_told_as_unpriced(desk: Desk) -> None:
    with closing(database(desk.folder / "opencode", "opencode.sql")):
        desk.run()
    assert {each.provider: (each.messages, each.unpriced) for each in desk.sums()} == {
        "anthropic": (2, 0),
        "gw": (2, 2),
    }


def test_what_comes_later_is_found_in_the_databases_log(desk: Desk) -> None:
    """Writes are in a file beside it until they are taken in: its own size and time do not change."""
    with closing(database(desk.folder / "opencode", "opencode.sql")) as db:
        desk.run()
        later = json.dumps({**MESSAGE, "time": {"created": 1_795_378_699_999}})
        db.execute(
            "INSERT INTO message SELECT 'msg_z', id, 1795378700000, 1795378700000, ? FROM session LIMIT 1", (later,)
        )
        db.commit()
        outcome = desk.run()
    assert (outcome.read, desk.whole().messages) == (1, 5)


def test_an_older_message_is_a_file(desk: Desk) -> None:
    desk.write("storage/message/ses_1/msg_1.json", json.dumps(MESSAGE, indent=2))
    desk.write("storage/message/ses_2/msg_2.json", json.dumps({**MESSAGE, "sessionID": "ses_2"}))
    desk.write("storage/message/ses_1/msg_3.json", json.dumps({"role": "user"}))
    desk.run()
    assert (desk.whole().messages, desk.whole().cost) == (1, Money.usd("0.033204"))


@pytest.mark.parametrize("time", [None, {}, {"created": None}, {"created": 0}, "yesterday"])
def test_a_message_without_a_time_has_that_of_its_row(desk: Desk, time: object) -> None:
    """Its file says when it was written, too, but not so well: that is told."""
    untimed = json.dumps({**MESSAGE, "time": time})
    with closing(database(desk.folder / "opencode", "opencode.sql")) as db:
        desk.run()
        before = desk.whole()
        row = "SELECT 'msg_z', id, 1795378700000, 1795378900000, ? FROM session LIMIT 1"
        db.execute(f"INSERT INTO message {row}", (untimed,))
        db.commit()
        outcome = desk.run()
    assert (desk.whole().messages, desk.whole().last_ms) == (before.messages + 1, 1_795_378_700_000)
    assert not outcome.skipped
    path = desk.write("storage/message/ses_1/msg_1.json", untimed)
    os.utime(path, (1_795_378_800, 1_795_378_800))
    outcome = desk.run()
    assert desk.whole().last_ms == 1_795_378_800_000
    assert outcome.skipped == {"without a time: the file's was taken": 1}


@pytest.mark.parametrize("content", [b"", b"SQLite format 3\0 and no more", b"\0" * 5_000])
def test_a_database_that_is_none_is_told(desk: Desk, content: bytes) -> None:
    desk.write("opencode/opencode.db", content)
    outcome = desk.run()
    assert ([why.split(":")[0] for why in outcome.skipped], desk.whole().messages) == (
        ["a database that cannot be read"],
        0,
    )
