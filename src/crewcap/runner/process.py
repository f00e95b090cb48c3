"""Commands of a run, inside its sandbox: where its things lie, and how one command is seen through to its end."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from crewcap.runner.strained import strain
from crewcap.workspaces import Child, Confined, Fittings, Layout, Limits, Mount, Outlet, Sandbox
from crewcap.workspaces.project.containers import wanted_containers
from crewcap.workspaces.sandbox.interpreter import search_path
from crewcap.workspaces.sandbox.register import FOLDER

_CHUNK = 1 << 16
_LONGEST_LINE = 32 << 20
_LAST_WORDS_S = 5.0
TIMED_OUT = -1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a command ended and what it said."""

    status: int  # TIMED_OUT when we ended it
    stdout: bytes
    stderr: bytes
    seconds: float
    limit_hit: str = ""  # name of the limit that ended it; empty = none did
    limits_met: tuple[str, ...] = ()  # names of those at which a process of it was ended or refused
    limits: Limits = Limits()  # noqa: RUF009  (frozen)

    @property
    def both(self) -> bytes:
        """Everything it said."""
        return self.stdout + self.stderr

    @property
    def failed(self) -> str:
        """Why it did not do its work, in a few words; empty = it did."""
        if self.limit_hit:
            return f"ended at its limit on {self.limit_hit}"
        if self.status == TIMED_OUT:
            return "ran out of time"
        return "; ".join(filter(None, (f"exit {self.status}", self.strain))) if self.status else ""

    @property
    def strain(self) -> str:
        """What its limits have to do with how it went, as far as that can be known; a success's words prove none."""
        said = self.both if self.status else b""
        return "; ".join(filter(None, (strain(self.limits_met, said, self.limits), wanted_containers(said))))


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A run's folders and the sandbox around them."""

    sandbox: Sandbox
    layout: Layout
    uid: int
    workspace: Path
    home: Path
    objects: Path  # the mirror's objects
    binary: Path | None  # the agent's executable; None = there is none inside
    limits: Limits = Limits()  # noqa: RUF009  (frozen)
    fittings: Fittings = Fittings()  # noqa: RUF009  (frozen)
    gateway_port: int = 8787  # on the agent's own loopback

    @property
    def leftovers(self) -> str:
        """Where the list of what setup left lies inside, for an agent that breaks its repository."""
        return f"{self.layout.home}/.crewcap-leftovers"

    def command(
        self,
        argv: tuple[str, ...],
        *,
        environ: Mapping[str, str] | None = None,
        files: Mapping[str, bytes] | None = None,
        outlets: tuple[Outlet, ...] = (),
    ) -> Confined:
        """A command with the run's own things and nothing else; `outlets` beside those of its fittings."""
        fitted = self.fittings
        return Confined(
            argv=(*fitted.attend, *argv),
            environ={"HOME": self.layout.home, **_searched(fitted), **(environ or {})},
            cwd=self.layout.workspace,
            mounts=(*self._mounts(), *fitted.mounts),
            files={**fitted.files, **(files or {})},
            outlets=(*fitted.outlets, *outlets),
            limits=self.limits,
            register=self.workspace.parent / FOLDER,
        )

    def _mounts(self) -> tuple[Mount, ...]:
        return (
            Mount(source=self.workspace, target=self.layout.workspace, writable=True),
            Mount(source=self.home, target=self.layout.home, writable=True),
            Mount(source=self.objects, target=self.layout.objects),
            *((Mount(source=self.binary, target=self.layout.binary),) if self.binary else ()),
        )

    async def perform(
        self, argv: tuple[str, ...], *, timeout_s: float, environ: Mapping[str, str] | None = None
    ) -> Outcome:
        """Run a command to its end without any way out; ended when its time is up, with what it said until then."""
        began = time.monotonic()
        child = await self.sandbox.start(self.command(argv, environ=environ), uid=self.uid)
        if child.stdin is not None:
            child.stdin.close()
        ending = asyncio.ensure_future(asyncio.gather(child.stdout.read(), child.stderr.read(), child.wait()))
        try:
            in_time, _ = await asyncio.wait({ending}, timeout=timeout_s)
            if not in_time:
                await child.stop(ask_s=1, term_s=2)
            said, _ = await asyncio.wait({ending}, timeout=_LAST_WORDS_S)
        except asyncio.CancelledError:
            await asyncio.shield(child.stop(ask_s=1, term_s=2))
            ending.cancel()
            raise
        ending.cancel()  # in vain where it ended; else somebody got out of the sandbox and keeps its streams open
        stdout, stderr, status = ending.result() if said else (b"", b"", TIMED_OUT)
        status = status if in_time else TIMED_OUT
        return Outcome(
            status=status,
            stdout=stdout,
            stderr=stderr,
            seconds=time.monotonic() - began,
            limit_hit=child.limit_hit,
            limits_met=child.limits_met,
            limits=self.limits,
        )


def _searched(fitted: Fittings) -> Mapping[str, str]:
    """Its variables, with its folders before the rest of $PATH."""
    return {**fitted.environ, **({"PATH": ":".join((*fitted.path, search_path()))} if fitted.path else {})}


async def lines(child: Child) -> AsyncIterator[bytes]:
    """Lines of a child's stdout, however long; a line without an end comes last."""
    begun = bytearray()  # is only ever appended to: a long line comes in many pieces
    while chunk := await child.stdout.read(_CHUNK):
        head, *rest = chunk.split(b"\n")
        begun += head
        for piece in rest:
            yield bytes(begun)
            begun = bytearray(piece)
        if len(begun) > _LONGEST_LINE:
            begun.clear()
    if begun:
        yield bytes(begun)


async def last_words(child: Child, *, limit: int = 8_192) -> bytes:
    """The end of a child's stderr; reading it keeps the child from blocking."""
    kept = b""
    with contextlib.suppress(ConnectionError):
        while chunk := await child.stderr.read(_CHUNK):
            kept = (kept + chunk)[-limit:]
    return kept
