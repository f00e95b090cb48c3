"""Floor 2: ways to tell people.

A notifier takes one notice to one place and raises `NotSent` where it did not arrive; what was not sent is sent again
later (`notebook`). A newcomer adds a file and a line of `NOTIFIERS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from crewcap.core.notices import Notice


class NotSent(Exception):
    """A notice did not arrive; the message says why, and holds no secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One place, as settings name it."""

    kind: str  # a name in NOTIFIERS
    name: str  # how people and the notebook call it: "webhook $SLACK_WEBHOOK"; no secret
    address: str = field(default="", repr=False)  # of a webhook; a secret
    argv: tuple[str, ...] = ()
    path: Path | None = None
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)


class Notifier(Protocol):
    """One way."""

    def send(self, notice: Notice) -> None:
        """Take a notice there; `NotSent` where it did not arrive. It blocks, for ten seconds at most."""
        ...


def _webhook(target: Target) -> Notifier:
    from crewcap.notify.webhook import Webhook  # noqa: PLC0415

    return Webhook(target.address)


def _command(target: Target) -> Notifier:
    from crewcap.notify.command import Command  # noqa: PLC0415

    return Command(target.argv, target.environ)


def _desktop(target: Target) -> Notifier:
    from crewcap.notify.command import desktop  # noqa: PLC0415

    return desktop(target.environ)


def _log(target: Target) -> Notifier:
    from crewcap.notify.log import Log  # noqa: PLC0415

    return Log(target.path or Path("notices.log"))


NOTIFIERS: Mapping[str, Callable[[Target], Notifier]] = {
    "webhook": _webhook,
    "command": _command,
    "desktop": _desktop,
    "log": _log,
}
