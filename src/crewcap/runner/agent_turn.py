"""One start of an agent in its sandbox, from its first line to its last.

The agent ends by itself, or we end it: its time is up, it shows no sign of life, or somebody said pause or stop.
Whatever it says meanwhile is handed on as events; its raw lines are kept beside the run.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from pathlib import Path

from crewcap.agents import AgentAdapter, Launch
from crewcap.core.runs import AgentEnd, AgentEvent, Cut
from crewcap.core.scrub import Scrubber
from crewcap.runner.process import Site, last_words, lines
from crewcap.workspaces import Child, Outlet

_TICK_S = 0.25
_CRASH_WORDS = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long an agent may work, and how long it may be silent."""

    total_s: float
    silent_s: float
    hurry: asyncio.Event  # set when nobody wants to wait any longer: it is ended without any grace


@dataclass(frozen=True, slots=True, kw_only=True)
class Company:
    """Who is with an agent while it works: what they are told, and what they say."""

    began: Callable[[Child], None]
    ended: Callable[[Child], None]
    hear: Callable[[AgentEvent], None]
    asked: Callable[[], Cut]  # whether somebody wants it to pause or stop
    advice: Callable[[], AsyncGenerator[str, None]]  # what there is to say into its session, as it comes


@dataclass(slots=True)
class _Pulse:
    """When the agent last gave a sign of life, and why it was cut, if it was."""

    last: float
    cut: Cut = ""


async def work(
    site: Site,
    adapter: AgentAdapter,
    launch: Launch,
    *,
    gateway: Outlet,
    transcript: Path,
    patience: Patience,
    company: Company,
    scrubber: Scrubber = Scrubber(),  # noqa: B008  (nothing changes it)
) -> tuple[AgentEnd, Cut]:
    """Start the agent and see it through; how it ended, and why we ended it if we did."""
    command = site.command(launch.argv, environ=launch.environ, files=launch.files, outlets=(gateway,))
    child = await site.sandbox.start(command, uid=site.uid)
    pulse = _Pulse(last=time.monotonic())
    last: AgentEnd | None = None
    watching = asyncio.create_task(_watch(child, pulse, patience, company.asked))
    advising = asyncio.create_task(_advise(child, adapter, company.advice))
    complaining = asyncio.create_task(last_words(child))
    try:
        company.began(child)
        await _hand_over(child, launch.first_input, may_follow=adapter.capabilities().can_be_told)
        with transcript.open("ab") as log:
            async for line in lines(child):
                pulse.last = time.monotonic()
                log.write(scrubber.bytes(line) + b"\n")
                for event in adapter.read(line):
                    if isinstance(event, AgentEnd):
                        last = event
                        _close_input(child)
                    company.hear(event)
        status = await child.wait()
    except BaseException:
        await asyncio.shield(child.stop(ask_s=1, term_s=2))
        raise
    finally:
        for task in (watching, advising):
            task.cancel()
            await _quietly(task)
    end = adapter.end(exit_status=status, last=last)
    words = (await complaining).decode("utf-8", "replace").strip()
    company.ended(child)
    return _explained(end, limit_hit=child.limit_hit, words=words), pulse.cut


def _explained(end: AgentEnd, *, limit_hit: str, words: str) -> AgentEnd:
    """An agent that crashed says little: the limit that ended it, else its last words on stderr."""
    if end.kind != "crashed":
        return end
    if limit_hit:
        return replace(end, message=f"it was ended at its limit on {limit_hit}")
    return replace(end, message=end.message or words[-_CRASH_WORDS:])


async def _hand_over(child: Child, first_input: bytes, *, may_follow: bool) -> None:
    """Give the agent its task. Its input stays open only where something may follow: until it says how it ended."""
    await _say(child, first_input)
    if not may_follow:
        _close_input(child)


async def _advise(child: Child, adapter: AgentAdapter, advice: Callable[[], AsyncGenerator[str, None]]) -> None:
    """Say into the live session what there is to say, to an agent that can be told."""
    async with aclosing(advice()) as texts:
        async for text in texts:
            if adapter.capabilities().can_be_told and not await _say(child, adapter.say(text)):
                return


async def _say(child: Child, words: bytes) -> bool:
    """Write to the agent; whether it still listened."""
    if child.stdin is None or child.stdin.is_closing():
        return False
    try:
        child.stdin.write(words)
        await child.stdin.drain()
    except ConnectionError:
        return False
    return True


def _close_input(child: Child) -> None:
    """Nothing more will be said: the agent ends when everything that it started has ended."""
    if child.stdin is not None:
        child.stdin.close()


async def _watch(child: Child, pulse: _Pulse, patience: Patience, asked: Callable[[], Cut]) -> None:
    """End the agent when its time is up, when it is silent for too long, or when somebody asks for it."""
    began = time.monotonic()
    while not pulse.cut:
        await asyncio.sleep(_TICK_S)
        now = time.monotonic()
        if now - began > patience.total_s:
            pulse.cut = "timeout"
        elif now - pulse.last > patience.silent_s:
            pulse.cut = "stalled"
        else:
            pulse.cut = asked()
    await _end(child, pulse, asked, patience.hurry)


async def _end(child: Child, pulse: _Pulse, asked: Callable[[], Cut], hurry: asyncio.Event) -> None:
    """Let it end in its own way; at once when somebody is in a hurry, or says stop while it is only being paused."""
    async with asyncio.TaskGroup() as group:
        ending = group.create_task(child.stop())
        while not ending.done():
            await asyncio.wait({ending}, timeout=_TICK_S)
            was_paused = pulse.cut == "paused" and asked() == "stopped"
            if was_paused:
                pulse.cut = "stopped"
            if was_paused or hurry.is_set():
                await child.stop(ask_s=0, term_s=0)


async def _quietly(task: Awaitable[None]) -> None:
    """Wait for a task that was cancelled."""
    with contextlib.suppress(asyncio.CancelledError):
        await task
