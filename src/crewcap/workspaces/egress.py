"""The way out of setup: package hosts, through a proxy of ours, and nothing else.

A sandbox has no network. What may leave it goes to 127.0.0.1:3128 inside, whose listener the launcher handed out to us
(`handout`), and is judged here: the host's name against the list, its addresses, the name in the TLS greeting, and for
private registries each request. `egress` opens that door for one phase of a run and says, as `Fittings`, what the
commands of that phase need for it. Every connection is written down (`egress_log`).

On a rung that has no loopback of its own the door is a port of this machine's, and a random password in the proxy's
address keeps everybody else out.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from crewcap.workspaces import Fittings

Phase = Literal["setup", "check", "agent", "shell"]
PORT = 3128  # on the sandbox's own loopback


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """A host that the operator said more about: who we are there, where it is, who vouches for it."""

    host: str
    authorization: str = field(default="", repr=False)  # the header's whole value; empty = none is added
    address: str = ""  # "10.0.0.7:8443", "[fd00::7]:443" or "nexus.internal:8443"; empty = as names are resolved
    authority: bytes = b""  # PEM, beside those that this machine trusts


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """Where a run may go."""

    hosts: tuple[str, ...]  # names and `*.names`; https on port 443
    plain: tuple[str, ...] = ()  # of these also by plain http on port 80
    never: tuple[str, ...] = ()  # whatever else is said
    registries: tuple[Registry, ...] = ()
    written: tuple[str, ...] = ()  # as the settings have it: ("python", "files.example.org")


def _now() -> datetime:
    return datetime.now(UTC)


@asynccontextmanager
async def egress(
    allowed: Allowed,
    *,
    phase: Phase,
    log: Path,
    loopback: bool,
    home: str,
    clock: Callable[[], datetime] = _now,
) -> AsyncIterator[Fittings]:
    """A way out for the commands of one phase, as many as are started in it; closed with everything at the end.

    `log` is the run's `network.jsonl`; `loopback` and `home` are those of the run's `Layout`.
    """
    raise NotImplementedError
    yield Fittings()
