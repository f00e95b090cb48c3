"""Ports that are let into a sandbox: real servers on loopback, real sandboxes, and what is never let in."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.contracts.sandboxes import Ground, ground, missing, within

from crewcap.errors import UnsafeEnvironment
from crewcap.workspaces import Fittings
from crewcap.workspaces.egress.ports import _forbidden, _Target, relayed
from crewcap.workspaces.handout import Serve, served

INSIDE = 5_432
TALK = """
import socket, sys
asked = socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=10)
asked.sendall(sys.stdin.buffer.read())
asked.shutdown(socket.SHUT_WR)
while piece := asked.recv(65536):
    sys.stdout.buffer.write(piece)
"""


async def _shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A server that answers only when its client has said all."""
    writer.write((await reader.read()).upper())
    await writer.drain()
    writer.close()


@contextlib.asynccontextmanager
async def _server(answer: Serve = _shout) -> AsyncIterator[int]:
    server = await asyncio.start_server(answer, "127.0.0.1", 0, backlog=256)
    async with server:
        yield server.sockets[0].getsockname()[1]


@contextlib.asynccontextmanager
async def _handed_out(door: Path) -> AsyncIterator[int]:
    """What a launcher does: listen, hand the listener out, wait for the word; the port that it listens at."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(256)
        assert await asyncio.to_thread(_hand_out, door, listener) == b"K"
        yield listener.getsockname()[1]


def _hand_out(door: Path, listener: socket.socket) -> bytes:
    with socket.socket(socket.AF_UNIX) as launcher:
        launcher.settimeout(10)
        launcher.connect(str(door))
        socket.send_fds(launcher, [b"L"], [listener.fileno()])
        return launcher.recv(1)


@contextlib.asynccontextmanager
async def _relay(address: str) -> AsyncIterator[int]:
    """A port as a sandbox would have it, relayed."""
    async with (
        relayed({INSIDE: address}, uid=None, rung="bubblewrap") as fitted,
        _handed_out(fitted.outlets[0].socket) as port,
    ):
        yield port


async def _ask(port: int, words: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(words)
        writer.write_eof()
        return await reader.read()
    finally:
        writer.close()


@pytest.fixture
def bubblewrap() -> Iterator[Ground]:
    if reason := missing("bubblewrap"):
        pytest.skip(f"bubblewrap: {reason}")
    with ground("bubblewrap") as made:
        yield made


@pytest.mark.sandbox
class TestInside:
    """What a command in a sandbox meets."""

    def test_the_named_port_leads_out_and_no_other_one_does(self, bubblewrap: Ground) -> None:
        async def tried(asked: int | None) -> tuple[str, str]:
            async with _server() as port, relayed({INSIDE: f"127.0.0.1:{port}"}, uid=None, rung="bubblewrap") as fitted:
                command = replace(bubblewrap.python(TALK, str(asked or port)), outlets=fitted.outlets)
                done = await bubblewrap.see_through(command, stdin=b"hello" * 100_000)
                return done.stdout, done.stderr

        assert within(lambda: tried(INSIDE))[0] == "HELLO" * 100_000
        assert "ConnectionRefusedError" in within(lambda: tried(None))[1]

    def test_there_is_no_docker_socket(self, bubblewrap: Ground) -> None:
        """On no path where a client would look."""
        program = (
            "import json, os; print(json.dumps([path for path in"
            " ('/var/run/docker.sock', '/run/docker.sock', '/run/podman/podman.sock') if os.path.exists(path)]"
            " + os.listdir('/run')))"
        )
        assert bubblewrap.probe(program) == []


class TestRelay:
    """The way of bytes."""

    def test_more_connections_than_places_all_get_their_own_answer(self) -> None:
        async def asked() -> list[bytes]:
            async with _server() as port, _relay(f"localhost:{port}") as inside:
                return await asyncio.gather(*(_ask(inside, b"word %d" % n) for n in range(200)))

        assert within(asked) == [b"WORD %d" % n for n in range(200)]

    def test_a_server_that_speaks_first_is_heard(self) -> None:
        """Some greet their client before it has said a word."""

        async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"hello")
            await writer.drain()
            await reader.read()
            writer.close()

        async def asked() -> bytes:
            async with _server(greet) as port, _relay(f"127.0.0.1:{port}") as inside:
                reader, writer = await asyncio.open_connection("127.0.0.1", inside)
                said = await reader.readexactly(5)
                writer.close()
                return said

        assert within(asked) == b"hello"

    def test_a_server_that_hangs_up_hangs_up_inside(self) -> None:
        async def rude(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            del reader
            writer.transport.abort()

        async def asked() -> bytes:
            async with _server(rude) as port, _relay(f"127.0.0.1:{port}") as inside:
                reader, writer = await asyncio.open_connection("127.0.0.1", inside)
                with contextlib.suppress(ConnectionError):
                    return await reader.read()
                writer.close()
                return b""

        assert within(asked) == b""

    def test_a_server_that_went_away_ends_connections_and_not_the_relay(self) -> None:
        async def asked() -> list[bytes]:
            async with contextlib.AsyncExitStack() as stack:
                async with _server() as port:
                    inside = await stack.enter_async_context(_relay(f"127.0.0.1:{port}"))
                    said = [await _ask(inside, b"there")]
                with contextlib.suppress(ConnectionError):
                    said.append(await _ask(inside, b"gone"))
                server = await asyncio.start_server(_shout, "127.0.0.1", port)
                async with server:
                    return [*said, await _ask(inside, b"again")]

        said = within(asked)
        assert (said[0], said[-1]) == (b"THERE", b"AGAIN")
        assert said[1:-1] in ([], [b""])

    def test_everything_ends_with_the_block(self) -> None:
        """Also a connection that nobody closed."""

        async def asked() -> tuple[bytes, bool]:
            async with _server() as port:
                async with relayed({INSIDE: f"127.0.0.1:{port}"}, uid=None, rung="bubblewrap") as fitted:
                    door = fitted.outlets[0].socket
                    async with _handed_out(door) as inside:
                        reader, writer = await asyncio.open_connection("127.0.0.1", inside)
                        writer.write(b"never ends")
                        await writer.drain()
                said = b""
                with contextlib.suppress(ConnectionError):
                    said = await reader.read()
                writer.close()
                return said, door.parent.exists()

        assert within(asked) == (b"", False)

    def test_a_defect_in_one_connection_is_its_own_affair(self, tmp_path: Path) -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            words = await reader.read()
            if words == b"bad":
                raise ValueError(words)
            writer.write(words)
            await writer.drain()

        async def asked() -> list[bytes]:
            door = tmp_path / "door"
            async with served(door, serve, uid=None), _handed_out(door) as inside:
                return [await _ask(inside, words) for words in (b"good", b"bad", b"good")]

        assert within(asked) == [b"good", b"", b"good"]


class TestRungs:
    """Where a sandbox has no loopback of its own."""

    def test_landlock_has_no_network_to_relay_to(self) -> None:
        async def tried() -> None:
            async with _server() as port, relayed({INSIDE: f"127.0.0.1:{port}"}, uid=None, rung="landlock"):
                pass

        with pytest.raises(UnsafeEnvironment, match="ports cannot be relayed on the landlock rung"):
            within(tried)

    def test_unconfined_gets_a_port_of_the_machine(self) -> None:
        async def tried() -> bytes:
            async with _server() as inside:
                pass  # free again
            async with (
                _server() as port,
                relayed({inside: f"127.0.0.1:{port}"}, uid=None, rung="unconfined") as fitted,
            ):
                assert fitted.outlets == ()
                return await _ask(inside, b"hello")

        assert within(tried) == b"HELLO"

    def test_a_port_of_the_machine_that_is_taken_is_said(self) -> None:
        async def tried() -> None:
            async with (
                _server() as port,
                _server() as other,
                relayed({other: f"127.0.0.1:{port}"}, uid=None, rung="unconfined"),
            ):
                pass

        with pytest.raises(UnsafeEnvironment, match=r"port \d+ of this machine cannot be had for 127"):
            within(tried)

    def test_what_is_there_already_needs_no_relay(self) -> None:
        async def tried() -> Fittings:
            async with _server() as port, relayed({port: f"localhost:{port}"}, uid=None, rung="unconfined") as fitted:
                return fitted

        assert within(tried).outlets == ()

    def test_no_ports_are_nothing(self) -> None:
        async def tried() -> Fittings:
            async with relayed({}, uid=None, rung="landlock") as fitted:
                return fitted

        assert within(tried) == Fittings()

    def test_it_is_said_to_be_a_loosening(self) -> None:
        async def tried() -> tuple[str, ...]:
            async with _server() as port, relayed({INSIDE: f"127.0.0.1:{port}"}, uid=None, rung="bubblewrap") as fitted:
                return tuple(line.replace(str(port), "PORT") for line in fitted.said)

        assert within(tried) == ("port 5432 inside leads to 127.0.0.1:PORT outside: loosened",)


class TestRefused:
    """What no sandbox may reach."""

    @pytest.mark.parametrize("never", ["127.0.0.1", "localhost", "::1", "0.0.0.0"])
    def test_the_gateways_own_doors_by_any_of_their_names(self, never: str) -> None:
        async def tried() -> None:
            async with _server() as port:
                ports = {INSIDE: f"localhost:{port}"}
                async with relayed(ports, uid=None, rung="bubblewrap", never=[(never, port)]):
                    pass

        with pytest.raises(UnsafeEnvironment, match="a way around the gateway") as refused:
            within(tried)
        assert refused.value.exit_status == 4

    @pytest.mark.parametrize(
        ("target", "addresses", "words"),
        [
            (_Target("api.example.org", 443), ("203.0.113.7",), "a way around the gateway"),
            (_Target("other.example.org", 443), ("203.0.113.9",), "a way around the gateway"),  # the same machine
            (_Target("169.254.169.254", 80), ("169.254.169.254",), "link-local"),
            (_Target("metadata.example.org", 80), ("::ffff:169.254.169.254",), "link-local"),
            (_Target("metadata.example.org", 80), ("fe80::1",), "link-local"),
            (_Target("127.0.0.1", 2375), ("127.0.0.1",), "root on its machine"),
            (_Target("db.example.org", 5432), ("203.0.113.8",), ""),
            (_Target("127.0.0.1", 5432), ("127.0.0.1",), ""),
        ],
    )
    def test_each_for_its_reason(self, target: _Target, addresses: tuple[str, ...], words: str) -> None:
        never = {("api.example.org", 443), ("203.0.113.9", 443)}
        found = _forbidden(target, addresses, never)
        assert words in found
        assert bool(found) == bool(words)

    def test_a_port_where_nothing_answers_is_said_before_anything_starts(self) -> None:
        async def tried() -> None:
            with socket.socket() as nobody:
                nobody.bind(("127.0.0.1", 0))
                async with relayed({INSIDE: "127.0.0.1:%d" % nobody.getsockname()[1]}, uid=None, rung="bubblewrap"):
                    pass

        with pytest.raises(UnsafeEnvironment, match="and nothing answers there"):
            within(tried)

    def test_a_name_that_nobody_knows_is_said(self) -> None:
        async def tried() -> None:
            async with relayed({INSIDE: "no-such-host.invalid:1"}, uid=None, rung="bubblewrap"):
                pass

        with pytest.raises(UnsafeEnvironment, match="a name that is not known here"):
            within(tried)
