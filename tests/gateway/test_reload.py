"""Settings and prices that change while a gateway runs: real files, a real gateway, and real requests under way."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.gateway.conftest import MODEL, PROVIDER_KEY, Key, add_key, says, script
from tests.gateway.test_server import gateway as process

from crewcap import config, prices
from crewcap.config import Settings
from crewcap.core.budget import ALL
from crewcap.core.money import Money
from crewcap.errors import SettingsError
from crewcap.gateway.assemble import assemble, basis
from crewcap.gateway.client import find
from crewcap.gateway.reload import Files, Loaded, Reloader
from crewcap.gateway.server import Gateway
from crewcap.home import Home
from crewcap.simulator.script import Script, Step
from crewcap.simulator.server import Simulator
from crewcap.stores.sqlite.ledger import SqliteLedger

DEAR = f"""
[[price]]
provider = "anthropic"
model = "{MODEL}"
usd_per_mtok = {{ in = "30", out = "150", read = "3", write_5m = "37.5", write_1h = "60" }}
"""
SLOW = Script(name="slow", steps=(Step(name="slow", say="Yes.", output_tokens=400, events=10, pace_ms=20),))


@dataclass
class Desk:
    """A gateway that goes by files, and everything around it."""

    folder: Path
    simulator: Simulator
    gateway: Gateway
    ledger: SqliteLedger
    reloader: Reloader
    http: aiohttp.ClientSession
    key: Key

    def write(self, text: str = "") -> None:
        write(self.folder, self.simulator, text)

    async def ask(self, **fields: Any) -> int:
        body = {"model": MODEL, "max_tokens": 500, "messages": [{"role": "user", "content": "hi"}], **fields}
        sent = {"x-api-key": self.key.secret}
        async with self.http.post(f"{self.gateway.url}/v1/messages", json=body, headers=sent) as answer:
            await answer.read()
            return answer.status

    def limit(self) -> Money | None:
        """What all may cost in a day."""
        return next((each.limit for each in self.ledger.all_balances() if each.scope == ALL), None)


def write(folder: Path, simulator: Simulator, text: str) -> None:
    provider = f'[providers.anthropic]\nkey = {{ file = "{folder}/key" }}\nbase_url = "{simulator.url}"\n'
    (folder / "config.toml").write_text(f'{provider}prices = "anthropic"\n{text}')


def keep(folder: Path, key: str) -> None:
    path = folder / "key"
    path.touch(mode=0o600)
    path.write_text(key)


def read(path: Path | None, environ: Mapping[str, str]) -> tuple[Settings, prices.Book]:
    """Here, in place of the process that a gateway starts for it."""
    settings = config.load(path, environ)
    return settings, prices.load(settings.price_overrides or None)


DeskMaker = Callable[..., AbstractAsyncContextManager[Desk]]


@pytest.fixture
def desk(tmp_path: Path) -> DeskMaker:
    """`async with desk('[budgets]...') as d:`"""

    @asynccontextmanager
    async def make(text: str = "", *, answers: Script | None = None) -> AsyncIterator[Desk]:
        home, environ = Home(tmp_path / "home"), {"HOME": str(tmp_path)}
        home.make()
        keep(tmp_path, PROVIDER_KEY)
        ledger = SqliteLedger(home, clock=lambda: datetime.now(UTC), monotonic=time.monotonic)
        files = Files(config_path=tmp_path / "config.toml", environ=environ, read=read)
        async with Simulator(answers or script(says())) as simulator, aiohttp.ClientSession() as http:
            write(tmp_path, simulator, text)
            settings = config.load(files.config_path, environ)
            now = Loaded(settings=settings, book=prices.load(settings.price_overrides or None))
            settings.bring_limits(ledger)
            async with assemble(
                home=home,
                settings=settings,
                ledger=ledger,
                book=now.book,
                environ=environ,
                clock=lambda: datetime.now(UTC),
                listen=("127.0.0.1", 0),
            ) as running:

                async def renew(loaded: Loaded) -> None:
                    found = loaded.settings
                    await running.renew(basis(found, loaded.book, environ), sync=lambda: found.bring_limits(ledger))

                reloader = Reloader(now=now, files=files.of, load=files.load, renew=renew)
                running.watch(reloader)
                yield Desk(tmp_path, simulator, running, ledger, reloader, http, add_key(ledger, "5.00"))
        ledger.close()

    return make


def test_a_budget_that_was_changed_in_the_file_is_in_force_soon_after(desk: DeskMaker) -> None:
    async def main() -> None:
        async with desk('[budgets]\n"all" = { day = 1.00 }') as d:
            assert await d.ask() == 200
            d.write('[budgets]\n"all" = { day = 0.000001 }')
            async with asyncio.timeout(20):
                while d.limit() != Money.usd("0.000001"):  # noqa: ASYNC110  (the file's watcher tells nobody)
                    await asyncio.sleep(0.05)
            assert await d.ask() == 402

    asyncio.run(main())


def test_a_request_keeps_the_prices_that_it_began_with(desk: DeskMaker) -> None:
    """It is held, settled and written down by one book; the next one goes by the new one."""

    async def main() -> None:
        async with desk(answers=SLOW) as d:
            before = d.reloader.now.book.hash
            (d.folder / "prices.toml").write_text(DEAR)
            d.write(f'[prices]\noverrides = "{d.folder}/prices.toml"')
            loaded = await asyncio.to_thread(d.reloader.load, d.reloader.now)
            after = loaded.book.hash
            first = asyncio.create_task(d.ask(stream=True))
            while not d.gateway.service.exchanges:  # noqa: ASYNC110
                await asyncio.sleep(0.002)
            await d.reloader.renew(loaded)
            assert d.gateway.service.exchanges, "it is still under way"
            assert (await first, await d.ask(stream=True)) == (200, 200)
            await d.gateway.service.purse.do(lambda: None)
            old, new = d.ledger.entries()
            assert (old.book, new.book) == (before, after)
            assert before != after
            assert (old.usage, old.spent.nano * 10) == (new.usage, new.spent.nano)
            assert d.gateway.status()["book"] == after
            assert new.incident == ""

    asyncio.run(main())


def test_a_price_file_that_was_changed_is_read_again_without_a_word(desk: DeskMaker) -> None:
    """It is watched like the settings that name it."""

    async def main() -> None:
        prices_file = '[prices]\noverrides = "~/prices.toml"'
        async with desk() as d:
            (d.folder / "prices.toml").write_text(DEAR)
            d.write(prices_file.replace("~", str(d.folder)))
            await d.gateway.read_again()
            before = d.reloader.now.book.hash
            (d.folder / "prices.toml").write_text(DEAR.replace("150", "155"))
            await d.reloader.look()
            await d.reloader.look()
            assert d.reloader.now.book.hash != before

    asyncio.run(main())


def test_a_book_that_is_the_same_is_not_exchanged(desk: DeskMaker) -> None:
    async def main() -> None:
        async with desk() as d:
            book = d.reloader.now.book
            d.write('[gateway]\nwait = "1s"')
            await d.gateway.read_again()
            assert d.reloader.now.book is book

    asyncio.run(main())


def test_what_capped_keys_may_use_can_be_widened_while_it_runs(desk: DeskMaker) -> None:
    async def main() -> None:
        async with desk() as d:
            assert await d.ask(not_known=1) == 400
            d.write('[gateway]\nallow = ["not_known"]')
            terms = d.gateway.status()["terms"]
            await d.gateway.read_again()
            assert await d.ask(not_known=1) == 200
            assert d.gateway.status()["terms"] != terms

    asyncio.run(main())


def test_another_key_is_used_from_the_next_request_on(desk: DeskMaker) -> None:
    async def main() -> None:
        async with desk() as d:
            upstream, (provider,) = d.gateway._upstream, d.gateway._providers
            assert upstream.key_headers(provider) == {"x-api-key": PROVIDER_KEY}
            keep(d.folder, "sk-ant-fake-provider-key-0002")
            await d.gateway.read_again()
            assert upstream.key_headers(provider) == {"x-api-key": "sk-ant-fake-provider-key-0002"}
            assert await d.ask() == 200

    asyncio.run(main())


def test_a_key_that_cannot_be_read_again_leaves_the_one_that_was(
    desk: DeskMaker, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with desk() as d:
            (d.folder / "key").unlink()
            d.write('[gateway]\nallow = ["not_known"]')
            await d.gateway.read_again()
            assert await d.ask(not_known=1) == 200
            assert "is not read again" in caplog.text

    asyncio.run(main())


BROKEN = {
    "no toml": "[budgets\n",
    "an unknown key": "[gatewy]\nallow = []",
    "a wrong amount": '[budgets]\n"all" = { day = "5,00" }',
    "no such price file": '[prices]\noverrides = "/nowhere/prices.toml"',
    "another store": '[store]\nurl = "postgresql://localhost/other"',
    "http to strangers": '[providers.openai]\nkey = { env = "X" }\nbase_url = "http://example.com"\nprices = "openai"',
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
def test_a_broken_file_keeps_the_old_settings_and_is_said_once(
    desk: DeskMaker, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with desk('[budgets]\n"all" = { day = 1.00 }') as d:
            before = (d.gateway.status()["book"], d.gateway.status()["terms"])
            d.write(text)
            for _ in range(4):
                await d.reloader.look()
            assert d.reloader.problem
            with pytest.raises(SettingsError, match="stay as they were"):
                await d.gateway.read_again()
            assert (d.gateway.status()["book"], d.gateway.status()["terms"]) == before
            assert d.limit() == Money.usd("1.00")
            assert await d.ask() == 200
            said = [record.getMessage() for record in caplog.records if "stay as they were" in record.getMessage()]
            assert len(said) == 1
            assert "\n" not in said[0]
            assert d.gateway.status()["settings"]["problem"]
            d.write('[budgets]\n"all" = { day = 2.00 }')
            await d.gateway.read_again()
            assert (d.reloader.problem, d.limit()) == ("", Money.usd("2.00"))

    caplog.set_level(logging.ERROR)
    asyncio.run(main())


def test_a_file_that_is_gone_takes_no_limit_away(desk: DeskMaker) -> None:
    async def main() -> None:
        async with desk('[budgets]\n"all" = { day = 1.00 }') as d:
            (d.folder / "config.toml").unlink()
            await d.reloader.look()
            await d.reloader.look()
            assert d.reloader.problem
            assert d.limit() == Money.usd("1.00")

    asyncio.run(main())


def test_a_file_that_still_changes_is_not_believed_yet(desk: DeskMaker) -> None:
    """The first half of a file may be a whole file with half of the budgets."""

    async def main() -> None:
        async with desk('[budgets]\n"all" = { day = 1.00 }') as d:
            d.write("")
            await d.reloader.look()
            assert d.limit() == Money.usd("1.00")
            d.write('[budgets]\n"all" = { day = 3.00 }')
            await d.reloader.look()
            assert d.limit() == Money.usd("1.00")
            await d.reloader.look()
            assert d.limit() == Money.usd("3.00")

    asyncio.run(main())


def test_a_signal_and_the_control_socket_have_the_files_read_at_once(tmp_path: Path) -> None:
    """The real command; what is wrong is one line of its log, and it serves on."""
    with (
        Simulator.in_thread(script(says())) as simulator,
        process(tmp_path, simulator, options=("--log-format", "json")) as running,
    ):
        file = tmp_path / "config.toml"
        good = file.read_text()
        handle = asyncio.run(find(Home(tmp_path / "home")))
        assert handle is not None
        before = asyncio.run(handle.status())["terms"]
        file.write_text(good + 'allow = ["one"]\n')
        running.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + 10
        while asyncio.run(handle.status())["terms"] == before:
            assert time.monotonic() < deadline
        file.write_text(good + "allow = [\n")
        with pytest.raises(SettingsError, match=r"config\.toml"):
            asyncio.run(handle.read_again())
        os.kill(running.process.pid, signal.SIGHUP)
        assert asyncio.run(handle.status())["settings"]["problem"]
        running.process.terminate()
        _, err = running.process.communicate(timeout=20)
        assert running.process.returncode == 0
        assert err.count("the settings stay as they were") == 1
