"""Where the engine keeps what it knows: a file of its own, or a database at an address."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

from crewcap.errors import UnsafeEnvironment


def is_postgres(store: str) -> bool:
    """Whether it is an address; otherwise it is a file's path."""
    return store.startswith(("postgres://", "postgresql://"))


def make_ready(path: Path) -> None:
    """Refuse a file that is not the engine's or damaged; DBOS would never set WAL, which is kept in the file."""
    try:
        path.touch(mode=0o600)
        with closing(sqlite3.connect(path, timeout=5.0, isolation_level=None)) as db:
            tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if tables and "dbos_migrations" not in tables:
                raise unusable(path, "it holds something else")
            [(found,)] = db.execute("PRAGMA quick_check(1)")
            if found != "ok":
                raise unusable(path, "it is damaged")
            db.execute("PRAGMA journal_mode = WAL")
    except (OSError, sqlite3.OperationalError) as error:
        raise UnsafeEnvironment(
            f"the engine cannot open {path}: {error}", help="see that nobody else has it open, and who may write there"
        ) from error
    except sqlite3.DatabaseError as error:
        raise unusable(path, str(error)) from error


def unusable(path: Path, why: str) -> UnsafeEnvironment:
    """The file is nothing to work with, and nothing is lost with it."""
    return UnsafeEnvironment(
        f"{path} is not what the engine left: {why}",
        help=f"delete {path.name}, {path.name}-wal and {path.name}-shm: the runs are in the ledger, and go on",
    )


def database_url(url: str) -> str:
    """An address as asyncpg reads it, for SQLAlchemy: the database in its path, several hosts in its query."""
    parts = urlsplit(url)
    asked = parse_qs(parts.query)
    named = asked.pop("dbname", []) + asked.pop("database", []) + [parts.username or ""]
    user, _, hosts = parts.netloc.rpartition("@")
    if "," in hosts:
        asked["host"], hosts = hosts.split(","), ""
    place = f"{user}@{hosts}" if user else hosts
    return f"postgresql+psycopg://{place}/{parts.path.strip('/') or named[0]}?{urlencode(asked, doseq=True)}"
