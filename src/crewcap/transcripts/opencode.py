"""Transcripts of OpenCode: a SQLite file `opencode.db`, in older versions a JSON file for each message.

A message of the assistant is one response of a model, with its tokens in disjoint kinds (reasoning is beside the
output), its provider and its model. Forking a session copies its messages under new ids but leaves their times and
tokens, so those are what a message is known by. Only cache writes of five minutes are asked for.

The database is another program's and may be in use: it is opened for reading alone, and only what has changed since the
last time is asked of it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from crewcap.core.transcripts import Told
from crewcap.transcripts import Block, Manner, Sink, State
from crewcap.wire import lenient

AGENT = "opencode"
_WAIT_S = 5.0
_PROVIDERS = {"google-vertex": "google", "google-vertex-anthropic": "anthropic", "amazon-bedrock": "aws"}
_CHANGED = """
SELECT session_id, time_created, time_updated, data FROM message WHERE time_updated >= ? ORDER BY time_updated
"""


class OpenCode:
    """Implements `Reader`."""

    agent = AGENT

    def places(self, environ: Mapping[str, str]) -> tuple[Path, ...]:
        """Below the user's data folder."""
        data = environ.get("XDG_DATA_HOME") or Path(environ.get("HOME", "~"), ".local", "share")
        return (Path(data).expanduser() / "opencode",)

    def claims(self, name: str, folder: str) -> bool:
        """Its database (each channel has its own), or a message's file."""
        if name.startswith("opencode") and name.endswith(".db"):
            return True
        return name.endswith(".json") and ("/storage/message/" in folder or "/storage/session/message/" in folder)

    def manner(self, path: str) -> Manner:
        """A database is asked."""
        return "itself" if path.endswith(".db") else "whole"

    def beside(self, path: str) -> tuple[str, ...]:
        """What the database has not taken in yet."""
        return (f"{path}-wal",) if path.endswith(".db") else ()

    def read(self, block: Block, state: State, into: Sink) -> None:
        """A message's file; a database is asked instead of read."""
        path = str(state["path"])
        if self.manner(path) == "itself":
            _ask(path, state, into)
            return
        said = lenient.parsed(bytes(block.buffer[block.start : block.end]))
        if isinstance(said, dict):
            _take(said, lenient.word(said.get("sessionID")), _Written(int(state["mtime_ms"]), by_file=True), into)
        else:
            into.problems["torn: no JSON"] += 1


def _ask(path: str, state: State, into: Sink) -> None:
    try:
        for session, created, changed, data in _rows(path, int(state.get("until", 0))):
            state["until"] = max(int(state.get("until", 0)), int(str(changed)))
            said = lenient.parsed(str(data).encode(errors="replace"))
            if isinstance(said, dict):
                row_ms = _moment(created)
                written = _Written(row_ms or int(state["mtime_ms"]), by_file=not row_ms)
                _take(said, str(session), written, into)
            else:
                into.problems["torn: no JSON"] += 1
    except sqlite3.Error as error:
        into.problems[f"a database that cannot be read: {error}"] += 1


def _rows(path: str, since: int) -> Iterator[tuple[object, ...]]:
    uri = f"file:{quote(path.encode(errors='surrogateescape'))}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True, timeout=_WAIT_S)) as db:
        yield from db.execute(_CHANGED, (since,))


@dataclass(frozen=True, slots=True)
class _Written:
    """When a message was written that does not say so: what its row says is as good, its file's time is a guess."""

    ms: int
    by_file: bool

    def told(self, into: Sink) -> int:
        """Taken for the message's own."""
        if self.by_file:
            into.problems["without a time: the file's was taken"] += 1
        return self.ms


def _take(said: dict[str, Any], session: str, written: _Written, into: Sink) -> None:
    tokens, times, path = (_object(said.get(name)) for name in ("tokens", "time", "path"))
    if said.get("role") != "assistant" or not tokens:
        return
    cache = _object(tokens.get("cache"))
    named = {"input": tokens, "output": tokens, "reasoning": tokens, "read": cache, "write": cache}
    fresh, output, reasoning, read, write = (_count(place.get(name), into) for name, place in named.items())
    if not (fresh or output or reasoning or read or write):
        return
    created, completed = (_moment(times.get(name)) for name in ("created", "completed"))
    created = created or written.told(into)
    model, provider = lenient.word(said.get("modelID")), lenient.word(said.get("providerID"))
    into.add(
        Told(
            key=f"opencode:{created}:{completed}:{provider}/{model}:{fresh}:{read}:{write}:{output}:{reasoning}",
            at=created,
            session=session,
            folder=lenient.word(path.get("root")) or lenient.word(path.get("cwd")),
            provider=_PROVIDERS.get(provider, provider),
            model=model,
            input=fresh,
            cache_read=read,
            write_5m=write,
            output=output + reasoning,
            thinking=reasoning,
        )
    )


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _moment(value: Any) -> int:
    return int(value) if isinstance(value, (int, float)) and abs(value) < 2**62 else 0


def _count(value: Any, into: Sink) -> int:
    if value is None or lenient.is_count(value):
        return int(value or 0)
    into.problems["in doubt: what it says at least was counted"] += 1
    return lenient.least_count(value) or 0
