"""The marker: a small file beside the ledger that remembers what was last seen of it.

An empty file opens as a perfectly good new database, and one restored from last week has last week's balances. Either
would give every budget back. The marker names the ledger by its uuid and the newest movement that was on the disk, so
that a ledger which is gone, another one, or older than itself is noticed before any money is promised.
"""

from __future__ import annotations

import json
import os
import secrets
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from crewcap.errors import LedgerError


@dataclass(frozen=True, slots=True, kw_only=True)
class Marker:
    """What was seen of the ledger."""

    uuid: str
    movement: int  # id of the newest one, 0 = none
    at: datetime  # the newest trusted instant
    place: str = ""  # the server and the database in it, where there is one; empty = nobody can tell


def read(path: Path) -> Marker | None:
    """The marker, None where there is none; one that nobody can read is an error, never "none"."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(path) from error
    try:
        found = json.loads(text)
        at = datetime.fromisoformat(found["at"])
        place = str(found.get("place", ""))
        marker = Marker(uuid=str(found["uuid"]), movement=int(found["movement"]), at=at, place=place)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise _unreadable(path) from error
    if at.tzinfo is None:
        raise _unreadable(path)
    return marker


def write(path: Path, marker: Marker) -> None:
    """Replace the marker in one step that survives a power cut; never one that names other books."""
    fresh = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    said = {"uuid": marker.uuid, "movement": marker.movement, "at": marker.at.isoformat()}
    text = json.dumps(said | ({"place": marker.place} if marker.place else {}))
    try:
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        _refuse_others(path, marker)
        fresh.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise LedgerError(
            f"the ledger's marker {path} cannot be written: {error.strerror}", help="make room on that disk"
        ) from error
    finally:
        fresh.unlink(missing_ok=True)


def _refuse_others(path: Path, marker: Marker) -> None:
    """Who still has books open that others have replaced since would make every program refuse the new ones."""
    there = None
    with suppress(LedgerError):  # what nobody can read is better replaced
        there = read(path)
    if there is not None and there.uuid != marker.uuid:
        raise LedgerError(
            f"the ledger's marker {path} names other books than those that this command has open",
            help="they were replaced since; crewcap status shows those that are there now",
        )


def _sync_folder(folder: Path) -> None:
    """A rename is on the disk only when its folder is."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _unreadable(path: Path) -> LedgerError:
    return LedgerError(
        f"the ledger's marker {path} cannot be read",
        help=f"if the ledger beside it is the right one, remove {path}; a new one is written at the next start",
    )
