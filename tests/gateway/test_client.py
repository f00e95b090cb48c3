"""Finding, starting and sharing a gateway."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.gateway.conftest import MODEL, PROVIDER_KEY, RigMaker, add_key, provider_for, script
from tests.gateway.test_server import Running

from crewcap import config
from crewcap.config import Settings
from crewcap.errors import SettingsError, UnsafeEnvironment, UsageError
from crewcap.gateway.client import attached, find
from crewcap.gateway.provider.upstream import check_address
from crewcap.home import Home
from crewcap.prices import Book
from crewcap.simulator.server import Simulator

ENVIRON = {"PATH": os.environ["PATH"], "ANTHROPIC_API_KEY": PROVIDER_KEY}


@pytest.fixture
def simulator(book: Book) -> Iterator[Simulator]:
    with Simulator.in_thread(script(), book=book) as running:
        yield running


@pytest.fixture
def given(tmp_path: Path, simulator: Simulator) -> tuple[Home, Settings, Path, dict[str, str]]:
    path = tmp_path / "config.toml"
    path.write_text(
        '[providers.anthropic]\nkey = { env = "ANTHROPIC_API_KEY" }\n'
        f'base_url = "{simulator.url}"\nprices = "anthropic"\n'
    )
    return Home(tmp_path / "home"), config.load(path, ENVIRON), path, ENVIRON


async def ask(url: str, secret: str) -> int:
    body: dict[str, Any] = {"model": MODEL, "max_tokens": 50, "messages": [{"role": "user", "content": "hi"}]}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{url}/v1/messages", json=body, headers={"x-api-key": secret}) as answer,
    ):
        return answer.status


def test_two_commands_share_one_gateway_and_the_last_one_ends_it(
    given: tuple[Home, Settings, Path, dict[str, str]], simulator: Simulator
) -> None:
    """The one that started it may leave first."""

    async def main() -> None:
        first = attached(*given)
        second = attached(*given)
        one, other = await asyncio.gather(first.__aenter__(), second.__aenter__())
        assert (one.url, one.pid) == (other.url, other.pid)
        ledger = Running(None, "", given[0], simulator).ledger()  # type: ignore[arg-type]  # only its ledger is wanted
        key = add_key(ledger, "1.00")
        assert PROVIDER_KEY.encode() not in await asyncio.to_thread(Path(f"/proc/{one.pid}/environ").read_bytes)
        await asyncio.wait_for(first.__aexit__(None, None, None), 20)
        assert await ask(other.url, key.secret) == 200
        await asyncio.wait_for(second.__aexit__(None, None, None), 20)
        async with asyncio.timeout(20):
            while await find(given[0]) is not None or ledger.open_holds():  # noqa: ASYNC110  (another process ends)
                await asyncio.sleep(0.02)
        ledger.close()

    asyncio.run(main())


def test_a_gateway_that_cannot_start_says_why_to_its_starter(
    given: tuple[Home, Settings, Path, dict[str, str]],
) -> None:
    async def main() -> None:
        home, settings, path, environ = given
        without = {name: value for name, value in environ.items() if name != "ANTHROPIC_API_KEY"}
        with pytest.raises(UnsafeEnvironment, match="ANTHROPIC_API_KEY"):
            async with attached(home, settings, path, without):
                pass

    asyncio.run(main())


def test_a_folder_named_crewcap_where_we_stand_is_not_taken_for_ours(
    given: tuple[Home, Settings, Path, dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A repository could bring one, and the gateway is handed the providers' keys."""
    home, settings, path, environ = given
    (tmp_path / "repository/crewcap").mkdir(parents=True)
    (tmp_path / "repository/crewcap/__init__.py").write_text("raise SystemExit('not ours')\n")
    monkeypatch.chdir(tmp_path / "repository")

    async def main() -> None:
        async with attached(home, settings, path, environ) as gateway:
            assert (await gateway.status())["url"] == gateway.url

    asyncio.run(main())


def test_a_gateway_that_goes_by_other_settings_or_other_prices_is_not_ours(
    given: tuple[Home, Settings, Path, dict[str, str]], tmp_path: Path, book: Book
) -> None:
    """Requests would go to its provider, and be held at its prices: last month's, if it is that old."""
    home, settings, path, environ = given
    elsewhere = tmp_path / "elsewhere.toml"
    elsewhere.write_text(path.read_text().replace("127.0.0.1", "localhost"))
    other = config.load(elsewhere, environ)

    async def main() -> None:
        async with attached(home, settings, path, environ, book=lambda: book.hash) as gateway:
            with pytest.raises(UnsafeEnvironment, match="other settings for its providers"):
                async with attached(home, other, elsewhere, environ):
                    pass
            with pytest.raises(UnsafeEnvironment, match="other prices"):
                async with attached(home, settings, path, environ, book=lambda: "another"):
                    pass
            async with attached(home, settings, path, environ, book=lambda: book.hash) as same:
                assert same.pid == gateway.pid
            assert (await gateway.status())["attached"] == 1

    asyncio.run(main())


def test_a_gateway_of_ours_goes_by_what_its_file_says_now(
    given: tuple[Home, Settings, Path, dict[str, str]],
) -> None:
    """Who changes the settings and starts the next run at once need not wait, or stop anything."""
    home, settings, path, environ = given

    async def main() -> None:
        async with attached(home, settings, path, environ) as gateway:
            path.write_text(path.read_text() + '[gateway]\nallow = ["something"]\n')
            async with attached(home, config.load(path, environ), path, environ) as same:
                assert same.pid == gateway.pid
                assert same.terms != gateway.terms

    asyncio.run(main())


def test_leaving_a_gateway_that_has_ended_already_is_no_error(
    given: tuple[Home, Settings, Path, dict[str, str]],
) -> None:
    """A gateway of ours ends by itself as soon as it is needed no more: it may be quicker than we are."""

    async def main() -> None:
        async with asyncio.timeout(20), attached(*given) as gateway:
            os.kill(gateway.pid, signal.SIGKILL)

    asyncio.run(main())


def test_a_note_of_a_gateway_that_is_gone_is_no_gateway(tmp_path: Path) -> None:
    async def main() -> None:
        home = Home(tmp_path)
        for text in ("", "{}", '{"control": "/nowhere/control.sock"}', '{"control": 7}', "[]"):
            home.gateway_note.write_text(text)
            assert await find(home) is None

    asyncio.run(main())


def test_who_cannot_read_the_note_is_told_nothing_and_can_end_nothing(rig: RigMaker) -> None:
    """Under Landlock an agent can connect to any socket of its user's by path."""

    async def main() -> None:
        async with rig() as r:
            handle = await find(r.home)
            assert handle is not None
            for token in ("", "guess", handle.token[:-1]):
                stranger = replace(handle, token=token)
                with pytest.raises(UsageError, match=r"not the token of HOME/gateway\.json"):
                    await stranger.status()
                with pytest.raises(UsageError, match="not the token"):
                    await stranger.revoke("k")
            assert handle.token not in repr(handle)

    asyncio.run(main())


def test_what_the_control_interface_refuses_is_raised_as_it_is(rig: RigMaker, tmp_path: Path) -> None:
    async def main() -> None:
        async with rig() as r:
            handle = await find(r.home)
            assert handle is not None
            with pytest.raises(UsageError, match="longer than"):
                await handle.open_door("r1", key_id="k", socket=tmp_path / ("x" * 120), mode="http")
            with pytest.raises(UsageError, match="does not understand"):
                await handle.open_door("r1", key_id="k", socket=tmp_path / "a", mode="other")  # type: ignore[arg-type]  # it must be refused
            assert (await handle.status())["runs"] == []
            assert not await handle.thaw("anthropic")

    asyncio.run(main())


def test_a_revoked_key_is_refused_at_once_and_its_requests_are_settled(rig: RigMaker) -> None:
    async def main() -> None:
        async with rig() as r:
            assert (await r.post(r.request()))[0] == 200
            handle = await find(r.home)
            assert handle is not None
            assert await handle.revoke(r.key.row.id) == 0
            assert (await r.post(r.request()))[0] == 401

    asyncio.run(main())


def test_plain_http_to_another_machine_is_refused() -> None:
    for url in (
        "http://192.0.2.1",
        "http://127.0.0.1.example.org",
        "http://127.0.0.1@evil.example",
        "ftp://x",
        "http://2130706433.example",
    ):
        with pytest.raises(SettingsError):
            check_address(provider_for(url))
    for url in ("https://api.anthropic.com", "http://127.0.0.1:1", "http://[::1]:1", "http://localhost"):
        check_address(provider_for(url))
