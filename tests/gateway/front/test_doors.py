"""Where requests come in, and which key opens which door."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import web

from crewcap.core.budget import KeyId
from crewcap.errors import UsageError
from crewcap.gateway.client import find
from crewcap.gateway.front.doors import CLOSE_S, Door, Doors

if TYPE_CHECKING:
    from tests.gateway.conftest import Key, Rig, RigMaker


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder whose name is short enough for a unix socket."""
    return Path(os.path.relpath(tmp_path)) if len(str(tmp_path)) > 80 else tmp_path


async def ask(r: Rig, key: Key, *, socket: Path | None = None, port: int = 0) -> int:
    connector = aiohttp.UnixConnector(path=str(socket)) if socket else aiohttp.TCPConnector()
    host = "http://run" if socket else f"http://127.0.0.1:{port}"
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.post(f"{host}/v1/messages", json=r.request(), headers={"x-api-key": key.secret}) as answer,
    ):
        await answer.read()
        return answer.status


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_only_loopback_is_listened_on(rig: RigMaker, host: str) -> None:
    """Whoever reaches the gateway can spend what a key is worth."""

    async def main() -> None:
        async with rig() as r:
            with pytest.raises(UsageError, match="does not listen on") as refused:
                await r.gateway.service.doors.listen(host, 0)
            assert "127.0.0.1" in refused.value.help

    asyncio.run(main())


def test_a_runs_door_opens_for_its_own_key_alone_and_its_key_opens_no_other(rig: RigMaker, folder: Path) -> None:
    async def main() -> None:
        async with rig() as r:
            mine, other = r.new_key(run="r1"), r.new_key(run="r2")
            door = folder / "a.sock"
            handle = await find(r.home)
            assert handle is not None
            await handle.open_door("r1", key_id=mine.row.id, socket=door, mode="http")
            assert stat.S_IMODE(door.stat().st_mode) == 0o600
            port = int(r.gateway.url.rpartition(":")[2])
            assert await ask(r, mine, socket=door) == 200
            assert await ask(r, other, socket=door) == 401
            assert await ask(r, r.key, socket=door) == 401
            assert await ask(r, mine, port=port) == 401
            assert await ask(r, other, port=port) == 200
            assert await handle.close_door("r1") == 0
            assert not door.exists()
            assert await ask(r, mine, port=port) == 401

    asyncio.run(main())


def hand_out(door: Path, listeners: list[socket.socket], hello: bytes = b"L") -> socket.socket:
    """What a sandbox's launcher does."""
    launcher = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    launcher.connect(str(door))
    socket.send_fds(launcher, [hello], [listener.fileno() for listener in listeners])
    return launcher


def listening(host: str = "127.0.0.1") -> socket.socket:
    listener = socket.socket()
    listener.bind((host, 0))
    listener.listen()
    return listener


def test_a_listener_is_handed_out_of_a_sandbox(rig: RigMaker, folder: Path) -> None:
    """From `K` on the gateway answers on the sandbox's own address; the unix socket is gone before that."""

    async def main() -> None:
        async with rig() as r:
            key, door = r.new_key(run="r1"), folder / "a.sock"
            await r.gateway.service.doors.open("r1", key=key.row.id, path=door, mode="handout", uid=os.geteuid())
            listener = listening()
            launcher = hand_out(door, [listener])
            launcher.settimeout(5)
            assert await asyncio.to_thread(launcher.recv, 1) == b"K"
            assert not door.exists()
            port = listener.getsockname()[1]
            listener.close()
            assert await ask(r, key, port=port) == 200
            assert await ask(r, r.key, port=port) == 401
            assert await r.gateway.close_run("r1") == 0
            with pytest.raises(aiohttp.ClientError):
                await ask(r, key, port=port)
            launcher.close()

    asyncio.run(main())


@pytest.mark.parametrize("what", ["nothing", "wrong word", "two", "not listening", "not loopback", "a file"])
def test_what_is_no_listener_on_loopback_is_not_taken(rig: RigMaker, folder: Path, what: str) -> None:
    """And the launcher may try again: a wrong one does not close the door."""

    async def main() -> None:
        async with rig() as r:
            key, door = r.new_key(run="r1"), folder / "a.sock"
            await r.gateway.service.doors.open("r1", key=key.row.id, path=door, mode="handout", uid=None)
            wrong: dict[str, tuple[list[Any], bytes]] = {
                "nothing": ([], b"L"),
                "wrong word": ([listening()], b"X"),
                "two": ([listening(), listening()], b"L"),
                "not listening": ([socket.socket()], b"L"),
                "not loopback": ([listening("0.0.0.0")], b"L"),
                "a file": ([(folder / "x").open("w")], b"L"),
            }
            launcher = hand_out(door, *wrong[what])
            launcher.settimeout(5)
            assert await asyncio.to_thread(launcher.recv, 1) == b""
            right = hand_out(door, [listening()])
            right.settimeout(5)
            assert await asyncio.to_thread(right.recv, 1) == b"K"
            for each in (launcher, right, *wrong[what][0]):
                each.close()

    asyncio.run(main())


def test_a_launcher_that_ends_before_it_hands_out_anything_is_no_alarm(
    rig: RigMaker, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A sandbox that is ended while it starts says itself why; the next one is let in."""

    async def main() -> None:
        async with rig() as r:
            key, door = r.new_key(run="r1"), folder / "a.sock"
            await r.gateway.service.doors.open("r1", key=key.row.id, path=door, mode="handout", uid=None)
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as ended:
                ended.connect(str(door))
            right = hand_out(door, [listening()])
            right.settimeout(5)
            assert await asyncio.to_thread(right.recv, 1) == b"K"
            right.close()

    asyncio.run(main())
    assert "handed out" not in caplog.text


def test_a_door_is_made_once_and_where_it_fits(rig: RigMaker, folder: Path) -> None:
    async def main() -> None:
        async with rig() as r:
            doors, key = r.gateway.service.doors, KeyId("k")
            await doors.open("r1", key=key, path=folder / "a.sock", mode="http", uid=None)
            with pytest.raises(UsageError, match="has a door already"):
                await doors.open("r1", key=key, path=folder / "b.sock", mode="http", uid=None)
            with pytest.raises(UsageError, match="longer than"):
                await doors.open("r2", key=key, path=folder / ("x" * 120), mode="http", uid=None)
            with pytest.raises(UsageError, match="cannot make the socket"):
                await doors.open("r3", key=key, path=folder / "no" / "a.sock", mode="http", uid=None)
            assert doors.runs() == ("r1",)

    asyncio.run(main())


def test_closing_a_door_waits_for_what_is_under_way(rig: RigMaker, folder: Path) -> None:
    """The run's money is settled when the runner asks for it."""

    async def main() -> None:
        from crewcap.simulator.script import Script, Step  # noqa: PLC0415

        slow = Script(name="slow", steps=(Step(name="slow", say="Yes.", output_tokens=50, events=10, pace_ms=10),))
        async with rig(slow) as r:
            key, door = r.new_key(run="r1"), folder / "a.sock"
            await r.gateway.service.doors.open("r1", key=key.row.id, path=door, mode="http", uid=None)
            asking = asyncio.create_task(ask(r, key, socket=door))
            await r.until(lambda: bool(r.simulator.meter.bills))
            assert await r.gateway.close_run("r1") == 0
            assert r.charged(key) == r.simulator.meter.total()
            assert await asking == 200

    asyncio.run(main())


def test_a_run_that_starts_again_finds_the_door_of_its_dead_driver_replaced(rig: RigMaker, folder: Path) -> None:
    """A driver that was killed closes nothing; what it had under way is read to its end all the same."""

    async def main() -> None:
        from crewcap.simulator.script import Script, Step  # noqa: PLC0415

        slow = Script(name="slow", steps=(Step(name="slow", say="Yes.", output_tokens=50, events=10, pace_ms=10),))
        async with rig(slow) as r:
            old, new = r.new_key(run="r1"), r.new_key(run="r1")
            await r.gateway.open_run("r1", key=old.row.id, path=folder / "a.sock", mode="http", uid=None)
            asking = asyncio.create_task(ask(r, old, socket=folder / "a.sock"))
            await r.until(lambda: bool(r.simulator.meter.bills))
            await r.gateway.open_run("r1", key=new.row.id, path=folder / "b.sock", mode="http", uid=None)
            assert not (folder / "a.sock").exists()
            assert await ask(r, new, socket=folder / "b.sock") == 200
            assert await ask(r, old, socket=folder / "b.sock") == 401
            assert await r.gateway.close_run("r1") == 0
            assert await asking == 200
            assert r.charged(old) + r.charged(new) == r.simulator.meter.total()

    asyncio.run(main())


def test_all_doors_are_closed_in_the_time_of_one(folder: Path) -> None:
    """Whoever ends a gateway that has many runs does not wait for each of them."""
    many = 6

    async def main() -> None:
        asked = asyncio.Semaphore(0)

        async def answers_never(_door: Door, _http: web.BaseRequest) -> web.StreamResponse:
            asked.release()
            await asyncio.Event().wait()
            raise AssertionError

        doors = Doors(answers_never)
        clients = []
        for number in range(many):
            path = folder / f"{number}.sock"
            await doors.open(f"r{number}", key=KeyId(f"k{number}"), path=path, mode="http", uid=None)
            _, client = await asyncio.open_unix_connection(path)
            client.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            clients.append(client)
            await asked.acquire()
        await doors.stop_accepting()
        began = asyncio.get_running_loop().time()
        await doors.cleanup()
        assert asyncio.get_running_loop().time() - began < CLOSE_S * many  # alone, each takes twice that
        for client in clients:
            client.close()

    asyncio.run(main())
