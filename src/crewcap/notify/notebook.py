"""What was told to whom, so that nothing is told twice and nothing is lost.

A file of lines, each either a notice or a word that it arrived somewhere. Whoever reads or writes it holds its lock.
A notice stays due for those who wanted it when it was written down, until it arrived or is a week old: a webhook that
was down, or hours that were quiet, only delay it; whoever is added later is not told of what was before.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from crewcap.core.notices import Notice, Wish
from crewcap.notify import Notifier, NotSent, Target

KEPT = timedelta(days=62)  # longer than the longest window
DUE = timedelta(days=7)
AT_ONCE = timedelta(minutes=1)  # a test that did not arrive is no news later
_FULL = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Addressee:
    """A target with what it wants to be told, and whether it may be told now."""

    target: Target
    wishes: Sequence[Wish]
    is_quiet: bool = False

    def wants(self, notice: Notice) -> bool:
        """Whether a notice was wished for."""
        return any(wish.covers(notice) for wish in self.wishes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One notice to one target."""

    notice: Notice
    target: str
    problem: str = ""  # why it did not arrive; empty = it did


@dataclass(slots=True)
class _Page:
    """What the file says."""

    notices: dict[str, Notice] = field(default_factory=dict)
    wanted: dict[str, frozenset[str]] = field(default_factory=dict)  # once -> targets
    arrived: set[tuple[str, str]] = field(default_factory=set)  # (once, target)


@dataclass(frozen=True, slots=True, kw_only=True)
class Notebook:
    """The file, and how a target becomes a notifier."""

    path: Path
    make: Callable[[Target], Notifier]

    def tell(self, notices: Iterable[Notice], addressees: Sequence[Addressee], *, now: datetime) -> list[Delivery]:
        """Write down what is new, and send everything that is due to those who may be told now."""
        with self._opened() as file:
            page = _read(file)
            for notice in notices:
                if notice.once not in page.notices:
                    page.notices[notice.once] = notice
                    page.wanted[notice.once] = frozenset(each.target.name for each in addressees if each.wants(notice))
                    _append(file, _line(notice, page.wanted[notice.once]))
            done = []
            for notice, addressee in _due(page, addressees, now):
                done.append(self._send(notice, addressee.target))
                if not done[-1].problem:
                    page.arrived.add((notice.once, addressee.target.name))
                    _append(file, {"arrived": notice.once, "at": addressee.target.name})
            _tidy(file, page, now)
        return done

    def told(self) -> tuple[tuple[Notice, tuple[str, ...]], ...]:
        """Every notice with the targets at which it arrived, oldest first."""
        if not self.path.exists():
            return ()
        with self._opened() as file:
            page = _read(file)
        return tuple(
            (notice, tuple(sorted(target for once, target in page.arrived if once == notice.once)))
            for notice in page.notices.values()
        )

    def _send(self, notice: Notice, target: Target) -> Delivery:
        try:
            self.make(target).send(notice)
        except NotSent as error:
            return Delivery(notice=notice, target=target.name, problem=str(error))
        return Delivery(notice=notice, target=target.name)

    @contextlib.contextmanager
    def _opened(self) -> Iterator[int]:
        descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield descriptor
        finally:
            os.close(descriptor)


def _due(page: _Page, addressees: Sequence[Addressee], now: datetime) -> list[tuple[Notice, Addressee]]:
    return [
        (notice, addressee)
        for notice in page.notices.values()
        for addressee in addressees
        if now - notice.at <= (DUE if notice.kind != "test" else AT_ONCE)
        and not addressee.is_quiet
        and addressee.target.name in page.wanted[notice.once]
        and (notice.once, addressee.target.name) not in page.arrived
        and not _is_outdone(notice, addressee, page)
    ]


def _is_outdone(notice: Notice, addressee: Addressee, page: _Page) -> bool:
    """Whether the same addressee is told of more of the same: 80 % of a budget says that 50 % are used."""
    return any(
        other.family == notice.family and other.percent > notice.percent and addressee.wants(other)
        for other in page.notices.values()
    )


def _read(file: int) -> _Page:
    """Every line that can be read; one that a crash cut off is passed over."""
    page = _Page()
    for line in os.pread(file, os.fstat(file).st_size, 0).splitlines():
        with contextlib.suppress(ValueError, KeyError, TypeError):
            said: Mapping[str, Any] = json.loads(line)
            if "notice" in said:
                notice = Notice(**{**said["notice"], "at": datetime.fromisoformat(said["notice"]["at"])})
                page.notices[notice.once] = notice
                page.wanted[notice.once] = frozenset(said["for"])
            else:
                page.arrived.add((said["arrived"], said["at"]))
    return page


def _line(notice: Notice, wanted: frozenset[str]) -> dict[str, object]:
    return {"notice": {**asdict(notice), "at": notice.at.isoformat()}, "for": sorted(wanted)}


def _append(file: int, said: Mapping[str, object]) -> None:
    """One line, on a line of its own also where a crash cut the last one off."""
    size = os.fstat(file).st_size
    is_torn = size > 0 and os.pread(file, 1, size - 1) != b"\n"
    os.write(file, (b"\n" if is_torn else b"") + json.dumps(said, ensure_ascii=False).encode() + b"\n")


def _tidy(file: int, page: _Page, now: datetime) -> None:
    """Leave out what no window can bring again, once the file has grown."""
    if os.fstat(file).st_size < _FULL:
        return
    kept = {once: notice for once, notice in page.notices.items() if now - notice.at <= KEPT}
    os.ftruncate(file, 0)
    for notice in kept.values():
        _append(file, _line(notice, page.wanted[notice.once]))
    for once, target in sorted(page.arrived):
        if once in kept:
            _append(file, {"arrived": once, "at": target})
