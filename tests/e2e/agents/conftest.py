"""A machine for a real CLI; skipped, with the reason, where `make test-agents` has not installed it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.sdks import Between, between

from crewcap.core.money import Money
from crewcap.prices import Book, load
from crewcap.simulator.script import Script

from .cli import Machine, missing, pinned
from .recording import Recorder

RECORD = "CREWCAP_RECORD"  # set: what passes is written down anew

Story = Callable[[Machine, Between], Awaitable[None]]
Playing = Callable[..., None]


@pytest.fixture(scope="session")
def book() -> Book:
    return load()


def version(record: str) -> str:
    """The agent of a recording, as its readers know it."""
    if record.startswith("codex"):
        return f"Codex {pinned('@openai/codex')}"
    return f"Gemini CLI {pinned('@google/gemini-cli')}"


@pytest.fixture
def play(tmp_path: Path, book: Book) -> Playing:
    """`play(story, script, cap="1.00")`: a machine, and a gateway in front of a provider that plays a script."""
    if reason := missing():
        pytest.skip(reason)

    def run(story: Story, script: Script, *, record: str = "", **options: Any) -> None:
        async def main() -> None:
            async with AsyncExitStack() as stack:
                it = await stack.enter_async_context(between(tmp_path, book, script, **options))
                if not (record and os.environ.get(RECORD)):
                    await story(Machine(tmp_path / "machine", it.gateway.url), it)
                    return
                recorder = await stack.enter_async_context(Recorder(it.gateway.url))
                machine = Machine(tmp_path / "machine", recorder.url)
                await story(machine, it)
                assert machine.done is not None
                recorder.write(record, agent=version(record), events=machine.done.events)

        (tmp_path / "machine").mkdir()
        asyncio.run(main())

    return run


async def charged(it: Between) -> Money:
    """Spent and uncertain, once nothing is under way."""
    async with asyncio.timeout(20):
        for exchange in tuple(it.gateway.service.exchanges):
            await exchange.over.wait()
    await it.gateway.service.purse.do(lambda: None)
    balance = it.balance()
    assert balance.held == Money(0)
    return balance.spent + balance.uncertain
