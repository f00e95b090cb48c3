"""The way out as a sandbox has it: through the proxy to what is listed, and no other way to anywhere."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.contracts.sandboxes import PYTHON, Ground, Outcome, ground, missing
from tests.workspaces.outside import Site, outside, registry, rogue, run, site
from tests.workspaces.packages import npm_registry, python_index

from crewcap.workspaces import Fittings
from crewcap.workspaces.egress.log import asked_and_refused, read_log
from crewcap.workspaces.egress.opening import PORT, Allowed, Outside, egress

CREDENTIAL = "Bearer fake-index-token"
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def inside() -> Iterator[Ground]:
    """A sandbox of the strongest rung."""
    if reason := missing("bubblewrap"):
        pytest.skip(f"bubblewrap: {reason}")
    with ground("bubblewrap") as made:
        yield made


async def perform(inside: Ground, fittings: Fittings, *argv: str) -> Outcome:
    """A command of the phase, fitted out as the runner does it."""
    command = inside.command(*argv, environ=fittings.environ, files=dict(fittings.files), outlets=fittings.outlets)
    return await inside.see_through(command)


def opened(inside: Ground, allowed: Allowed, *, to: Outside | None = None) -> AbstractAsyncContextManager[Fittings]:
    """The way out of this sandbox's setup."""
    return egress(
        allowed,
        phase="setup",
        log=inside.root / "network.jsonl",
        loopback=inside.layout.loopback,
        home=inside.layout.home,
        outside=to or Outside(),
    )


@pytest.mark.sandbox
class TestInASandbox:
    """Bubblewrap: a network of its own, in which one port leads out."""

    def test_what_is_listed_is_reached_and_what_is_not_is_named(self, inside: Ground) -> None:
        async def work() -> None:
            with site("packages.test", {"/": ("text/plain", b"hello")}) as shop:
                allowed = Allowed(hosts=("packages.test",), registries=(registry(shop),))
                async with opened(inside, allowed) as fittings:
                    found = await perform(inside, fittings, "curl", "-sS", "https://packages.test/")
                    assert (found.stdout, found.status) == ("hello", 0), found
                    lost = await perform(inside, fittings, "curl", "-sS", "https://files.example.org/")
                    assert "response 403" in lost.stderr
            assert asked_and_refused(inside.root / "network.jsonl") == ("files.example.org",)

        run(work)

    @pytest.mark.parametrize("credential", ["", CREDENTIAL], ids=["as it is", "with a credential"])
    def test_pip_installs_from_an_index_that_only_the_proxy_reaches(self, inside: Ground, credential: str) -> None:
        if not Path("/usr/bin/pip3").exists():
            pytest.skip("this machine's own Python has no pip")

        async def work() -> None:
            with site("packages.test", python_index()) as shop:
                allowed = Allowed(hosts=("packages.test",), registries=(registry(shop, authorization=credential),))
                async with opened(inside, allowed) as fittings:
                    words = ("-m", "pip", "install", "--quiet", "--no-deps", "--no-cache-dir", "--target", "into")
                    index = ("--index-url", "https://packages.test/simple/", "hello-crewcap")
                    done = await perform(inside, fittings, "/usr/bin/python3", *words, *index)
                assert done.status == 0, done
                assert (inside.workspace / "into" / "hello_crewcap.py").exists()
                assert {asked.headers.get("Authorization") for asked in shop.asked} == {credential or None}

        run(work)

    def test_npm_installs_from_a_registry_that_only_the_proxy_reaches(self, inside: Ground) -> None:
        if not Path("/usr/bin/npm").exists():
            pytest.skip("there is no npm below /usr")

        async def work() -> None:
            with site("packages.test", npm_registry("https://packages.test")) as shop:
                allowed = Allowed(hosts=("packages.test",), registries=(registry(shop, authorization=CREDENTIAL),))
                async with opened(inside, allowed) as fittings:
                    words = ("install", "hello-crewcap", "--registry", "https://packages.test/", "--no-audit")
                    done = await perform(inside, fittings, "/usr/bin/npm", *words, "--no-fund", "--loglevel=error")
                assert done.status == 0, done
                assert (inside.workspace / "node_modules/hello-crewcap/index.js").exists()

        run(work)

    def test_several_commands_at_once_share_a_phase(self, inside: Ground) -> None:
        async def work() -> None:
            with site("packages.test", {"/": ("text/plain", b"hello")}) as shop:
                allowed = Allowed(hosts=("packages.test",), registries=(registry(shop),))
                async with opened(inside, allowed) as fittings:
                    url = "https://packages.test/"
                    ended = await asyncio.gather(*(perform(inside, fittings, "curl", "-sS", url) for _ in range(3)))
            assert [each.stdout for each in ended] == ["hello"] * 3

        run(work)

    def test_there_is_no_other_way_to_anywhere(self, inside: Ground) -> None:
        """Not around the proxy, not by UDP, not by a local socket, not to the machine's own loopback."""

        async def work() -> None:
            with rogue() as stranger:
                async with opened(inside, Allowed(hosts=("packages.test",)), to=outside({})) as fittings:
                    door = fittings.outlets[0].socket
                    program = (PYTHON, "-I", "-c", _TRIES, str(stranger.port), str(door))
                    said = (await perform(inside, fittings, *program)).said()
                assert stranger.connections == 0
            assert said == {
                "direct": "Network is unreachable",
                "direct6": "Network is unreachable",
                "udp": "Network is unreachable",
                "metadata": "Network is unreachable",
                "loopback": "Connection refused",
                "abstract": "Connection refused",
                "door": "No such file or directory",
                "name": "no address",
            }

        run(work)

    def test_every_trick_through_the_proxy_is_refused_in_one_line(self, inside: Ground) -> None:
        async def work() -> None:
            with rogue() as stranger:
                to = outside({"packages.test": stranger.port}, addresses={"inner.test": "10.0.0.1"})
                allowed = Allowed(hosts=("packages.test", "inner.test"), written=("packages.test",))
                async with opened(inside, allowed, to=to) as fittings:
                    asked = [
                        f"CONNECT {place} HTTP/1.1" for place in ("evil.test:443", "127.0.0.1:443", "inner.test:443")
                    ]
                    program = (PYTHON, "-I", "-c", _ASKS, str(PORT), *asked, "CONNECT packages.test:22 HTTP/1.1")
                    answers = (await perform(inside, fittings, *program)).said()
                    assert [answer.split()[1] for answer in answers] == ["403"] * 4
                    program = (PYTHON, "-I", "-c", _GREETS, str(PORT), "packages.test", "other.test")
                    assert (await perform(inside, fittings, *program)).status == 0
                assert stranger.received == b""
            log = read_log(inside.root / "network.jsonl")
            assert {each.verdict for each in log} == {"refused"}
            assert [each.reason for each in log] == [
                "not in hosts",
                "an address is no host's name, and names alone are in hosts",
                (
                    "it leads to 10.0.0.1, which is not an address of the public internet; where it is your own"
                    ' registry, say so in your own settings: [registries."inner.test"] address = "..."'
                ),
                "port 22 is closed, 443 is open",
                "its TLS greeting names other.test",
            ]
            assert sum(each.bytes_out for each in log) == 0

        run(work)

    def test_when_the_phase_is_over_the_way_is_closed(self, inside: Ground) -> None:
        """A command that was left behind has nothing any more."""

        async def work() -> None:
            async with AsyncExitStack() as stack:
                fittings = await stack.enter_async_context(opened(inside, Allowed(hosts=("packages.test",))))
                program = (PYTHON, "-I", "-u", "-c", _WAITS, str(PORT))
                child = await inside.start(inside.command(*program, outlets=fittings.outlets))
                assert await child.stdout.readline() == b"open\n"
                await stack.aclose()
                assert child.stdin is not None
                child.stdin.write(b"\n")
                child.stdin.close()
                assert (await child.stdout.read()).decode().strip() in {
                    "Connection refused",
                    "Connection reset by peer",
                }
                await child.wait()

        run(work)


@pytest.mark.sandbox
def test_where_there_is_no_loopback_of_its_own_the_way_out_is_a_port_with_a_password() -> None:
    """Landlock: one TCP port of this machine is open to it, and nothing beside."""
    if reason := missing("landlock"):
        pytest.skip(f"landlock: {reason}")

    async def work() -> None:
        with (
            ground("landlock") as inside,
            rogue() as stranger,
            site("packages.test", {"/": ("text/plain", b"hello")}) as shop,
        ):
            allowed = Allowed(hosts=("packages.test",), registries=(registry(shop, authorization=CREDENTIAL),))
            async with opened(inside, allowed) as fittings:
                found = await perform(inside, fittings, "curl", "-sS", "https://packages.test/")
                assert (found.stdout, found.status) == ("hello", 0), found
                port = str(fittings.outlets[0].host_port)
                lost = await perform(
                    inside, fittings, "curl", "-sS", "-x", f"http://127.0.0.1:{port}", "https://a.test/"
                )
                assert "response 407" in lost.stderr
                past = await perform(
                    inside, fittings, "curl", "-sS", "--noproxy", "*", f"http://127.0.0.1:{stranger.port}"
                )
                assert past.status != 0
            assert stranger.connections == 0

    run(work)


_TRIES = """
import json, socket, sys
port, door = int(sys.argv[1]), sys.argv[2]
def attempt(family, kind, place):
    with socket.socket(family, kind) as made:
        made.settimeout(5)
        try:
            made.connect(place)
            made.send(b"x")
        except OSError as error:
            return error.strerror or str(error)
        return "connected"
def look_up(name):
    try:
        return socket.getaddrinfo(name, 443)[0][4][0]
    except OSError:
        return "no address"
S = socket
print(json.dumps({
    "direct": attempt(S.AF_INET, S.SOCK_STREAM, ("1.1.1.1", 443)),
    "direct6": attempt(S.AF_INET6, S.SOCK_STREAM, ("2606:4700::1111", 443)),
    "udp": attempt(S.AF_INET, S.SOCK_DGRAM, ("1.1.1.1", 53)),
    "metadata": attempt(S.AF_INET, S.SOCK_STREAM, ("169.254.169.254", 80)),
    "loopback": attempt(S.AF_INET, S.SOCK_STREAM, ("127.0.0.1", port)),
    "abstract": attempt(S.AF_UNIX, S.SOCK_STREAM, "\\0/tmp/.X11-unix/X0"),
    "door": attempt(S.AF_UNIX, S.SOCK_STREAM, door),
    "name": look_up("packages.test"),
}))
"""

_ASKS = """
import json, socket, sys
answers = []
for line in sys.argv[2:]:
    with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as proxy:
        proxy.sendall(line.encode() + b"\\r\\n\\r\\n")
        answers.append(proxy.makefile().readline().strip())
print(json.dumps(answers))
"""

_GREETS = """
import socket, ssl, sys
port, asked, named = sys.argv[1:]
with socket.create_connection(("127.0.0.1", int(port))) as proxy:
    proxy.sendall(f"CONNECT {asked}:443 HTTP/1.1\\r\\n\\r\\n".encode())
    while not proxy.recv(4096).endswith(b"\\r\\n\\r\\n"):
        pass
    context = ssl.create_default_context()
    try:
        context.wrap_socket(proxy, server_hostname=named)
    except ssl.SSLError as error:
        sys.exit(0 if "ACCESS_DENIED" in str(error).upper() else str(error))
    sys.exit("connected")
"""

_WAITS = """
import socket, sys
place = ("127.0.0.1", int(sys.argv[1]))
with socket.create_connection(place):
    print("open")
sys.stdin.readline()
try:
    with socket.create_connection(place, 5) as late:
        late.sendall(b"CONNECT packages.test:443 HTTP/1.1\\r\\n\\r\\n")
        print(late.recv(100).decode() or "Connection reset by peer")
except OSError as error:
    print(error.strerror)
"""


def test_the_door_is_open_to_us_alone_and_gone_at_the_end(tmp_path: Path) -> None:
    async def work() -> None:
        log = tmp_path / "network.jsonl"
        async with egress(Allowed(hosts=()), phase="setup", log=log, loopback=True, home="/home/agent") as fittings:
            (outlet,) = fittings.outlets
            folder = outlet.socket.parent
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
            assert (outlet.port, outlet.host_port) == (PORT, 0)
            assert fittings.environ["HTTPS_PROXY"] == f"http://127.0.0.1:{PORT}"
        assert not folder.exists()

    run(work)


def test_a_phase_that_fails_closes_its_way_out_and_says_its_own_error(tmp_path: Path) -> None:
    folders = []

    async def work() -> None:
        log = tmp_path / "network.jsonl"
        async with egress(Allowed(hosts=()), phase="setup", log=log, loopback=True, home="/home/agent") as fittings:
            folders.append(fittings.outlets[0].socket.parent)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(work)
    assert [folder.exists() for folder in folders] == [False]


def test_what_was_opened_is_said_in_words(tmp_path: Path) -> None:
    async def work() -> None:
        shop = registry(Site(host="private.test", pages={}, port=8443), authorization=CREDENTIAL)
        allowed = Allowed(hosts=("private.test",), registries=(shop,), written=("python", "private.test"))
        async with egress(
            allowed, phase="setup", log=tmp_path / "n", loopback=True, home="/h", clock=lambda: NOON
        ) as fittings:
            assert fittings.said == (
                "network: python, private.test",
                "private.test leads to 127.0.0.1:8443 on this machine's own network",
                "private.test: the credential in [registries] is added outside, to requests that read",
            )
            assert "fake-index-token" not in repr(fittings)

    run(work)
