"""Which connections a run opened and which it was refused: `network.jsonl` in the run's folder, and its reader.

A connection is written when it is opened and again, under the same number, when it ends with what it carried: after a
crash its beginning is there. A torn last line is passed over. The file is bounded: a program that knocks for ever fills
it up once and no more. Names are what a stranger wrote; whoever prints them makes them harmless first.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Self

from crewcap.core.hostnames import is_name
from crewcap.settings.hosts import named_lists
from crewcap.workspaces.egress.rules import NOT_LISTED

NAME = "network.jsonl"  # in a run's folder
LARGEST = 8 << 20
_ROOM_FOR_ENDS = 1 << 20  # connections that are open when the rest is full still get their second line
_LONGEST_NAME = 253
Verdict = Literal["opened", "refused"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """One connection, or one that was refused."""

    at: datetime
    phase: str
    host: str
    port: int
    verdict: Verdict
    reason: str = ""  # why it was refused, or cut
    bytes_out: int = 0
    bytes_in: int = 0
    seconds: float = 0.0
    is_over: bool = True
    hosts: tuple[str, ...] = ()  # what the settings had allowed


class NetworkLog:
    """The file of one run, open for one phase."""

    def __init__(self, path: Path, *, phase: str, hosts: tuple[str, ...], clock: Callable[[], datetime]) -> None:
        self.phase = phase
        self._hosts = hosts
        self._clock = clock
        self._opening = secrets.token_hex(4)  # numbers begin anew with each phase, and with each process
        self._number = 0
        self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        self._size = os.fstat(self._file).st_size
        if self._size and os.pread(self._file, 1, self._size - 1) != b"\n":
            self._append(b"\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)

    def refused(self, host: str, port: int, reason: str) -> None:
        """Somebody inside asked for a host and did not get it."""
        self._write(self._next(), self._connection(host, port, "refused", reason), most=LARGEST)

    def opened(self, host: str, port: int) -> tuple[str, Connection]:
        """A connection begins; what comes back is for `ended`."""
        number, begun = self._next(), self._connection(host, port, "opened", "")
        self._write(number, replace(begun, is_over=False), most=LARGEST)
        return number, begun

    def ended(
        self, begun: tuple[str, Connection], *, reason: str, bytes_out: int, bytes_in: int, seconds: float
    ) -> None:
        """A connection is over."""
        number, connection = begun
        whole = replace(connection, reason=reason, bytes_out=bytes_out, bytes_in=bytes_in, seconds=round(seconds, 3))
        self._write(number, whole, most=LARGEST + _ROOM_FOR_ENDS)

    def _next(self) -> str:
        self._number += 1
        return f"{self._opening}.{self._number}"

    def _connection(self, host: str, port: int, verdict: Verdict, reason: str) -> Connection:
        name = host[:_LONGEST_NAME]
        return Connection(
            at=self._clock(), phase=self.phase, host=name, port=port, verdict=verdict, reason=reason, hosts=self._hosts
        )

    def _write(self, number: str, connection: Connection, *, most: int) -> None:
        fields = {**asdict(connection), "at": connection.at.isoformat(), "hosts": list(connection.hosts)}
        line = json.dumps({"id": number, **fields}).encode("ascii") + b"\n"
        if self._size + len(line) <= most:
            self._append(line)

    def _append(self, line: bytes) -> None:
        with contextlib.suppress(OSError):  # a full disk must not open or close a way out
            self._size += os.write(self._file, line)


def read_log(path: Path) -> tuple[Connection, ...]:
    """Every connection of a run, in the order in which they began; nothing where there is no log."""
    found: dict[str, Connection] = {}
    for line in _lines(path):
        if (read := _read(line)) is not None:
            number, connection = read
            found[number] = connection
    return tuple(found.values())


def asked_and_refused(log: Path | Iterable[Connection]) -> tuple[str, ...]:
    """The hosts that a run asked for and that no list has, in the order in which it asked: what could be allowed."""
    connections = read_log(log) if isinstance(log, Path) else log
    missing = (each.host.lower() for each in connections if each.verdict == "refused" and each.reason == NOT_LISTED)
    return tuple(dict.fromkeys(host for host in missing if is_name(host)))


def hosts_line(log: Path | Iterable[Connection]) -> str:
    """The setting that would have let a run reach what it asked for, ready to paste; empty = nothing is missing."""
    connections = read_log(log) if isinstance(log, Path) else tuple(log)
    missing = asked_and_refused(connections)
    allowed = connections[-1].hosts if connections else ()
    return f"hosts = {json.dumps([*allowed, *dict.fromkeys(map(_as_listed, missing))])}" if missing else ""


def _as_listed(host: str) -> str:
    """The list that it belongs to: who needs one host of a kind of packages soon needs the others."""
    return next((name for name, hosts in named_lists().items() if host in hosts), host)


def _lines(path: Path) -> Iterator[bytes]:
    with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
        yield from file


def _read(line: bytes) -> tuple[str, Connection] | None:
    """A line as it was written; None where it is torn."""
    try:
        fields: Mapping[str, Any] = json.loads(line)
        known = {key: value for key, value in fields.items() if key in Connection.__slots__}
        at, hosts = datetime.fromisoformat(fields["at"]), tuple(fields["hosts"])
        return str(fields["id"]), Connection(**{**known, "at": at, "hosts": hosts})
    except (ValueError, TypeError, KeyError):
        return None
