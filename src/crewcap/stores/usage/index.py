"""The index of transcripts: which files were read how far, and one row for each message that they told of.

A file and what it told are written in one transaction, so a process that is killed has read a file or has not. Writing
the same again changes nothing. Several processes may import at once: the rows are the same whoever is first.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property, lru_cache
from itertools import starmap
from operator import add
from pathlib import Path
from typing import Any

from crewcap.core.money import Money
from crewcap.core.pricing import Modifiers, Usage
from crewcap.core.transcripts import NO_PIECES, Mark, Sum, Told
from crewcap.errors import LedgerError
from crewcap.stores.migrations import migrate, numbered
from crewcap.stores.usage import queries as q

_WAIT_S = 10.0
_AT_ONCE = 20_000  # messages that are priced again in one go
_CACHE_KIB = 65_536
_MIGRATIONS = Path(__file__).parents[1] / "sql" / "usage"


class UsageIndex:
    """One file in the state directory."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._version = 0  # of the file, as SQLite counts what others write
        self._sessions: dict[tuple[str, str], int] = {}
        self._places: dict[str, int] = {}
        self._kinds: dict[tuple[str, ...], int] = {}

    def close(self) -> None:
        """Close the file, if it was opened."""
        if "_db" in self.__dict__:
            self._db.close()

    # --- what was read

    def marks(self) -> dict[str, Mark]:
        """Every file that was read, by its path."""
        found = {}
        for id_, path, agent, device, inode, size, mtime_ns, at, checked, state, problems in self._rows(q.FILES):
            name = os.fsdecode(path)
            found[name] = Mark(
                name,
                agent,
                device,
                inode,
                size,
                mtime_ns,
                at,
                checked,
                _EMPTY if state == "{}" else json.loads(state),
                _EMPTY if problems == "{}" else json.loads(problems),
                id_,
            )
        return found

    def known_folders(self) -> frozenset[str]:
        """Folders whose repository is known."""
        return frozenset(self._places)

    def put(
        self,
        read: Iterable[tuple[Mark, Iterable[Told]]],
        *,
        repo_of: Callable[[str], str],
        nano_of: Callable[[Told], int | None],
    ) -> tuple[int, ...]:
        """Remember files and what each of them told, together or not at all; the files' numbers."""
        files = []
        try:
            with self._writing():
                rows: list[tuple[object, ...]] = []
                for mark, messages in read:
                    files.append(self._put_mark(mark))
                    rows += self._rows_of(files[-1], mark.agent, messages, repo_of, nano_of)
                self._db.executemany(q.PUT_MESSAGE, rows)  # in one go: half as quick again as file by file
                self._join_copies()
                self._db.execute(q.DROP_ANSWERS)
        except sqlite3.Error as error:
            self._forget_names()
            raise self._damaged(error) from error
        except BaseException:
            self._forget_names()
            raise
        return tuple(files)

    def forget(self, marks: Iterable[Mark]) -> None:
        """Files that were read as another agent's, with what they told; who told it as well will be read again."""
        try:
            with self._writing():
                for mark in marks:
                    self._db.execute(q.DROP_FILE, (mark.id,))
                    if self._db.execute(q.DROP_TOLD, (mark.id,)).rowcount:
                        self._db.execute(q.READ_AGAIN, (mark.agent,))
                self._db.execute(q.DROP_ANSWERS)
        except sqlite3.Error as error:
            raise self._damaged(error) from error

    def _join_copies(self) -> None:
        """A copy without its request's id comes to the message that it is of; one that is read again does so again."""
        for bare, told in self._db.execute(q.COPIES).fetchall():
            row = self._db.execute(q.MESSAGE, (bare,)).fetchone()
            self._db.execute(q.PUT_MESSAGE, (told, *row))
            self._db.execute(q.DROP_MESSAGE, (bare,))

    # --- what it cost

    @property
    def prices(self) -> str:
        """Which prices the costs are by; empty = none yet."""
        return self._fact("prices")

    def price_again(self, prices: str, nano_of: Callable[[Told], int | None]) -> None:
        """Bring every message's cost to these prices."""
        try:
            with self._writing():
                after = ""
                while rows := self._db.execute(q.TO_PRICE, (after, _AT_ONCE)).fetchall():
                    told = [Told._make(row) for row in rows]
                    self._db.executemany(q.REPRICE, [(nano_of(each), each.key) for each in told])
                    after = told[-1].key
                self._db.execute(q.DROP_ANSWERS)
                self._db.execute(q.PUT_FACT, ("prices", prices))
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise self._damaged(error) from error

    # --- reading

    def sums(
        self, *, since_ms: int | None = None, by_time: bool = False, by_session: bool = False,
        files: Sequence[int] | None = None,
    ) -> tuple[Sum, ...]:  # fmt: skip
        """Everything that was told, added up; of these files alone where they are named."""
        try:
            with self._db:  # one transaction: the files that are named stay all that there are, or some of them
                self._db.execute("BEGIN")
                statement = q.SUMS.format(
                    session="m.session" if by_session else "0",
                    bucket=q.BUCKET if by_time else "0",
                    chosen=q.IN_CHOSEN if files is not None and self._choose(files) else "",
                )
                found = self._db.execute(statement, {"since": -(2**62) if since_ms is None else since_ms}).fetchall()
                return tuple(starmap(_sum, self._named(found, by_session=by_session).items()))
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise self._damaged(error) from error

    def _choose(self, files: Iterable[int]) -> bool:
        """Name some files; False where these are all that there are."""
        self._db.execute(q.CHOOSE)
        self._db.execute(q.CLEAR_CHOSEN)
        self._db.executemany(q.ADD_CHOSEN, [(file,) for file in files])
        return self._db.execute(q.IS_CHOICE).fetchone() is not None

    def _named(self, found: Iterable[tuple[int, ...]], *, by_session: bool) -> dict[_About, Sequence[int]]:
        """Sums by name; folders that are of one repository come together."""
        kinds = {id_: tuple(names) for *names, id_ in self._db.execute(q.KINDS)}
        repos = {id_: repo for _, id_, repo in self._db.execute(q.PLACES)}
        sessions = {id_: name for _, name, id_ in self._db.execute(q.SESSIONS)} if by_session else {0: ""}
        named: dict[_About, Sequence[int]] = {}
        for kind, place, session, bucket, is_sub, *numbers in found:
            about = (kinds[kind], repos[place], sessions[session], bucket, is_sub)
            before = named.get(about)
            named[about] = numbers if before is None else _added(before, numbers)
        return named

    def answer(self, name: str) -> str:
        """What `remember_answer` was told, if nothing has changed since; else empty."""
        return self._fact(f"answer:{name}")

    def remember_answer(self, name: str, text: str) -> None:
        """Keep an answer until something changes."""
        with suppress(sqlite3.Error), self._db:  # it is only kept to be quicker
            self._db.execute(q.PUT_FACT, (f"answer:{name}", text))

    # --- inside

    def _put_mark(self, mark: Mark) -> int:
        row = (
            os.fsencode(mark.path),
            mark.agent,
            _signed(mark.device),
            _signed(mark.inode),
            mark.size,
            mark.mtime_ns,
            mark.offset,
            mark.check,
            json.dumps(mark.state) if mark.state else "{}",
            json.dumps(mark.problems) if mark.problems else "{}",
        )
        return int(self._db.execute(q.PUT_FILE, row).fetchone()[0])

    def _rows_of(
        self,
        file: int,
        agent: str,
        messages: Iterable[Told],
        repo_of: Callable[[str], str],
        nano_of: Callable[[Told], int | None],
    ) -> Iterator[tuple[object, ...]]:
        """A row for each message; most of them are of the same session, folder and kind as the one before."""
        sessions, places, kinds = self._sessions, self._places, self._kinds
        session, folder, session_id, place_id = None, None, 0, 0
        for told in messages:
            if told[2] != session or told[3] != folder:
                session, folder = told[2], told[3]
                session_id = sessions.get((agent, session)) or self._add_session(agent, session)
                place_id = places.get(folder) or self._add_place(folder, repo_of(folder))
            kind = (agent, told[4], told[5], told[13], told[14], told[15])
            kind_id = kinds.get(kind) or self._add_kind(kind)
            counts, (is_sub, parts) = told[6:13], told[16:]
            yield (told[0], file, told[1], session_id, place_id, kind_id, *counts, is_sub, parts, nano_of(told))

    def _add_session(self, agent: str, name: str) -> int:
        added = self._sessions[agent, name] = self._new(q.PUT_SESSION, agent, _clean(name))
        return added

    def _add_place(self, folder: str, repo: str) -> int:
        added = self._places[folder] = self._new(q.PUT_PLACE, _clean(folder), _clean(repo))
        return added

    def _add_kind(self, named: tuple[str, ...]) -> int:
        added = self._kinds[named] = self._new(q.PUT_KIND, *(_clean(word) for word in named))
        return added

    def _new(self, statement: str, *values: str) -> int:
        return int(self._db.execute(statement, values).fetchone()[0])

    def _writing(self) -> sqlite3.Connection:
        """A transaction that nobody else writes beside; names are read again, another process may have added some."""
        self._db.execute("BEGIN IMMEDIATE")
        if not self._places or self._changed_elsewhere():
            self._forget_names()
            self._sessions.update({(agent, name): id_ for agent, name, id_ in self._db.execute(q.SESSIONS)})
            self._places.update({folder: id_ for folder, id_, _ in self._db.execute(q.PLACES)})
            self._kinds.update({tuple(names): id_ for *names, id_ in self._db.execute(q.KINDS)})
        return self._db

    def _changed_elsewhere(self) -> bool:
        version = self._db.execute("PRAGMA data_version").fetchone()[0]
        before, self._version = self._version, version
        return bool(before != version)

    def _forget_names(self) -> None:
        self._sessions.clear()
        self._places.clear()
        self._kinds.clear()

    def _rows(self, statement: str) -> list[tuple[Any, ...]]:
        try:
            return self._db.execute(statement).fetchall()
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise self._damaged(error) from error

    def _fact(self, name: str) -> str:
        try:
            row = self._db.execute(q.FACT, (name,)).fetchone()
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise self._damaged(error) from error
        return str(row[0]) if row else ""

    def _damaged(self, error: Exception) -> LedgerError:
        return LedgerError(
            f"the index of transcripts {self._path} cannot be used: {error}",
            help=f"move {self._path} away and import again; what agents have deleted since is then forgotten",
        )

    @cached_property
    def _db(self) -> sqlite3.Connection:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            db = sqlite3.connect(self._path, timeout=_WAIT_S, isolation_level=None, check_same_thread=False)
            self._path.chmod(0o600)
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
            db.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
            migrate(db, numbered(_MIGRATIONS))
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise self._damaged(error) from error
        return db


_EMPTY: Mapping[str, int] = {}
_About = tuple[tuple[str, ...], str, str, int, int]  # kind, repository, session, quarter of an hour, subagent or not


_modifiers = lru_cache(1_024)(Modifiers)  # of thousands of sums, only a few differ


def _added(one: Sequence[int], other: Sequence[int]) -> Sequence[int]:
    """Two rows of numbers as one; the last two are the first and the last time."""
    *sums, first, last = one
    *more, other_first, other_last = other
    return [*map(add, sums, more), min(first, other_first), max(last, other_last)]


def _sum(about: _About, numbers: Sequence[int]) -> Sum:
    (agent, provider, model, speed, geo, tier), repo, session, bucket, is_sub = about
    messages, unpriced, nano, fresh, read, write_5m, write_1h, output, thinking, searches, first, last = numbers
    return Sum(
        agent=agent,
        model=model,
        provider=provider,
        modifiers=_modifiers(speed=speed, geo=geo, tier=tier),
        repo=repo,
        session=session,
        bucket_ms=bucket * q.QUARTER_HOUR_MS,
        is_sub=bool(is_sub),
        messages=messages,
        unpriced=unpriced,
        cost=Money(nano),
        usage=Usage(
            input=fresh,
            cache_read=read,
            write_5m=write_5m,
            write_1h=write_1h,
            output=output,
            thinking=thinking,
            pieces={"web_search": searches} if searches else NO_PIECES,
        ),
        first_ms=first,
        last_ms=last,
    )


def _signed(number: int) -> int:
    """Some file systems number their files beyond 63 bits."""
    return number if number < 2**63 else number - 2**64


def _clean(text: str) -> str:
    """Text as SQLite can keep it: JSON may have carried half of a letter."""
    return text.encode(errors="replace").decode()
