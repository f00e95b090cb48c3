"""The proxy against a client that tries everything: each trick ends in one line, and nothing of it goes out."""

from __future__ import annotations

import asyncio
import base64
import socket
from pathlib import Path

import pytest
from tests.workspaces.outside import (
    AUTHORITY,
    LOOPBACK,
    Way,
    greeting,
    outside,
    perform,
    registry,
    rogue,
    run,
    site,
    way_out,
)

from crewcap.workspaces.egress.opening import Allowed, Bounds, Outside, Registry
from crewcap.workspaces.egress.rules import NOT_LISTED

LISTED = Allowed(hosts=("packages.test", "*.files.test"), plain=("packages.test",), written=("packages.test",))
ENDED = "it hung up before a TLS greeting"


async def say(way: Way, *parts: bytes, ends: bool = True) -> bytes:
    """Send this to the proxy, the later parts once it has answered the first; everything that comes back."""
    reader, writer = await asyncio.open_connection(LOOPBACK, way.port)
    try:
        answer = b""
        for number, part in enumerate(parts):
            writer.write(part)
            await writer.drain()
            if number < len(parts) - 1:
                answer += await reader.readuntil(b"\r\n\r\n")
        if ends:
            writer.write_eof()
        return answer + await reader.read()
    finally:
        writer.close()


def connect(way: Way, place: str, *lines: str) -> bytes:
    """A CONNECT that knows the password."""
    return head(way, f"CONNECT {place} HTTP/1.1", *lines)


def head(way: Way, first: str, *lines: str) -> bytes:
    credential = base64.b64encode(way.credential.encode()).decode()
    return "\r\n".join([first, f"Proxy-Authorization: Basic {credential}", *lines, "", ""]).encode()


def words(answer: bytes) -> str:
    """The first line of an answer."""
    return answer.partition(b"\r\n")[0].decode("latin-1")


# --- by name ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("evil.test:443", NOT_LISTED),
        ("packages.test.evil.test:443", NOT_LISTED),
        ("files.test:443", NOT_LISTED),
        ("packages.test:22", "port 22 is closed, 443 is open"),
        ("packages.test:80", "port 80 is closed, 443 is open"),
        ("127.0.0.1:443", "an address is no host's name, and names alone are in hosts"),
        ("2130706433:443", "an address is no host's name, and names alone are in hosts"),
        ("0x7f000001:443", "an address is no host's name, and names alone are in hosts"),
        ("0177.0.0.1:443", "an address is no host's name, and names alone are in hosts"),
        ("[::1]:443", "an address is no host's name, and names alone are in hosts"),
        ("[::ffff:7f00:1]:443", "an address is no host's name, and names alone are in hosts"),
        ("[fe80::1%25lo]:443", "an address is no host's name, and names alone are in hosts"),
        ("packages.test.:443", "not a host's name"),
        ("packages_test.files.test:443", "not a host's name"),
        ("user@packages.test:443", "CONNECT wants a host and a port"),
        ("packages.test", "CONNECT wants a host and a port"),
        ("packages.test:443/x", "CONNECT wants a host and a port"),
    ],
)
def test_a_place_that_is_not_on_the_list_is_refused_before_anything_is_looked_up(
    tmp_path: Path, place: str, reason: str
) -> None:
    async def nobody_asks(host: str, port: int) -> list[tuple[str, int]]:
        raise AssertionError(host, port)

    async def work() -> None:
        with rogue() as stranger:
            async with way_out(tmp_path, LISTED, to=Outside(resolve=nobody_asks, permits=lambda _: True)) as way:
                answer = await say(way, connect(way, place), ends=False)
                assert words(answer).startswith("HTTP/1.1 40")
                assert reason in words(answer)
            assert [reason in said for said in way.refused()] == [True]
            assert (stranger.connections, way.log[0].bytes_out) == (0, 0)

    run(work)


@pytest.mark.parametrize(
    "request_",
    [
        b"CONNECT packages.test:443 HTTP/1.1\r\nX: y\r\n z\r\n\r\n",
        b"CONNECT packages.test:443\r\nHost: evil.test HTTP/1.1\r\n\r\n",
        b"CONNECT packages.test\0.evil.test:443 HTTP/1.1\r\n\r\n",
        "CONNECT p\u0430ckages.test:443 HTTP/1.1\r\n\r\n".encode(),
        b"CONNECT packages.test:443 HTTP/1.1\nHost: x\n\r\n\r\n",
        b"\x05\x01\x00" + b"\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
def test_a_request_line_that_could_be_read_in_two_ways_is_refused(tmp_path: Path, request_: bytes) -> None:
    async def work() -> None:
        async with way_out(tmp_path, LISTED, to=outside({})) as way:
            answer = await say(way, request_, ends=False)
        assert words(answer).startswith("HTTP/1.1 400 ")
        assert len(way.refused()) == 1

    run(work)


def test_a_head_that_is_too_long_is_refused(tmp_path: Path) -> None:
    async def work() -> None:
        async with way_out(tmp_path, LISTED, to=outside({})) as way:
            answer = await say(way, head(way, "GET http://packages.test/ HTTP/1.1", "X: " + "y" * 40_000), ends=False)
        assert "the head is longer than 32 KiB" in words(answer)

    run(work)


def test_who_sends_slowly_is_sent_away(tmp_path: Path) -> None:
    async def work() -> None:
        async with way_out(tmp_path, LISTED, to=outside({}), bounds=Bounds(head_s=0.05)) as way:
            answer = await say(way, b"CONNECT packages", ends=False)
        assert words(answer) == "HTTP/1.1 408 the request took too long"
        assert way.refused() == ["the request took too long"]

    run(work)


def test_more_connections_than_the_bound_wait_and_are_served(tmp_path: Path) -> None:
    async def work() -> None:
        bounds = Bounds(connections=2, head_s=0.3)
        async with way_out(tmp_path, LISTED, to=outside({}), bounds=bounds) as way:
            slow = [await asyncio.open_connection(LOOPBACK, way.port) for _ in range(2)]
            answer = await say(way, connect(way, "evil.test:443"), ends=False)
            assert words(answer) == "HTTP/1.1 403 not in hosts"
            for _, writer in slow:
                writer.close()

    run(work)


def test_without_the_password_nobody_is_served(tmp_path: Path) -> None:
    """Where the proxy is a port of this machine, other programs of it can reach it."""

    async def work() -> None:
        async with way_out(tmp_path, LISTED, to=outside({})) as way:
            for line in ("X: y", "Proxy-Authorization: Basic Y3Jld2NhcDp4", f"Proxy-Authorization: {way.credential}"):
                answer = await say(way, f"CONNECT packages.test:443 HTTP/1.1\r\n{line}\r\n\r\n".encode(), ends=False)
                assert words(answer).startswith("HTTP/1.1 407 ")
                assert b"Proxy-Authenticate: Basic" in answer
        assert way.log == ()

    run(work)


# --- by address ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address", ["10.0.0.1", "169.254.169.254", "::1", "::ffff:127.0.0.1", "fe80::1%lo", "100.64.0.1"]
)
def test_a_listed_name_that_leads_inside_is_refused(tmp_path: Path, address: str) -> None:
    async def work() -> None:
        to = Outside(resolve=outside({}, addresses={"packages.test": address}).resolve)
        async with way_out(tmp_path, LISTED, to=to) as way:
            answer = await say(way, connect(way, "packages.test:443"), ends=False)
        assert words(answer).startswith(f"HTTP/1.1 403 it leads to {address}")
        assert len(way.refused()) == 1

    run(work)


def test_one_address_inside_among_others_is_enough_to_refuse(tmp_path: Path) -> None:
    async def resolve(_: str, port: int) -> list[tuple[str, int]]:
        return [("1.1.1.1", port), ("127.0.0.1", port)]

    async def work() -> None:
        async with way_out(tmp_path, LISTED, to=Outside(resolve=resolve)) as way:
            await say(way, connect(way, "packages.test:443"), ends=False)
        assert way.refused() == [
            (
                "it leads to 127.0.0.1, which is not an address of the public internet; where it is your own registry,"
                ' say so in your own settings: [registries."packages.test"] address = "..."'
            )
        ]

    run(work)


def test_a_name_is_looked_up_once_and_what_was_judged_is_connected_to(tmp_path: Path) -> None:
    """A name server that answers differently the second time gains nothing."""
    looked_up = []

    async def work() -> None:
        with rogue() as stranger, site("packages.test", {"/": ("text/plain", b"hello")}) as shop:

            async def rebinding(host: str, _: int) -> list[tuple[str, int]]:
                looked_up.append(host)
                return [(LOOPBACK, shop.port if len(looked_up) == 1 else stranger.port)]

            async with way_out(tmp_path, LISTED, to=Outside(resolve=rebinding, permits=lambda _: True)) as way:
                await say(way, connect(way, "packages.test:443"), greeting("packages.test"))
            assert looked_up == ["packages.test"]
            assert stranger.connections == 0
            assert way.log[0].bytes_in > 500

    run(work)


def test_a_name_that_nobody_knows_and_a_server_that_is_not_there_are_said(tmp_path: Path) -> None:
    with socket.create_server((LOOPBACK, 0)) as closed:
        port = closed.getsockname()[1]

    async def work() -> None:
        async with way_out(tmp_path, LISTED, to=outside({"packages.test": port})) as way:
            unknown = await say(way, connect(way, "x.files.test:443"), ends=False)
            silent = await say(way, connect(way, "packages.test:443"), ends=False)
        assert words(unknown) == "HTTP/1.1 502 its name leads to no address"
        assert words(silent) == "HTTP/1.1 502 it does not answer"

    run(work)


# --- by TLS greeting -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (greeting("other.test"), "its TLS greeting names other.test"),
        (greeting(None), "its TLS greeting names no host"),
        (greeting("packages.test.evil.test"), "its TLS greeting names packages.test.evil.test"),
        (b"GET / HTTP/1.1\r\nHost: packages.test\r\n\r\n", "it is not TLS"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "it is not TLS"),
        (greeting("packages.test")[:40], ENDED),
        (b"", ENDED),
    ],
    ids=["another", "none", "longer", "http", "ssh", "cut", "nothing"],
)
def test_nothing_goes_out_before_the_greeting_names_the_host(tmp_path: Path, sent: bytes, reason: str) -> None:
    async def work() -> None:
        with rogue() as server:
            async with way_out(tmp_path, LISTED, to=outside({"packages.test": server.port})) as way:
                await say(way, connect(way, "packages.test:443"), sent)
            assert way.refused() == [reason]
        assert server.received == b""

    run(work)


def test_a_greeting_that_never_comes_ends_the_connection(tmp_path: Path) -> None:
    async def work() -> None:
        with rogue() as server:
            async with way_out(
                tmp_path, LISTED, to=outside({"packages.test": server.port}), bounds=Bounds(head_s=0.2)
            ) as way:
                await say(way, connect(way, "packages.test:443"), greeting("packages.test")[:50], ends=False)
            assert way.refused() == ["no TLS greeting came in time"]
        assert server.received == b""

    run(work)


def test_a_greeting_in_small_records_goes_through_as_it_was_sent(tmp_path: Path) -> None:
    whole = greeting("packages.test")
    records = b"".join(whole[:3] + b"\0\x01" + whole[at : at + 1] for at in range(5, len(whole)))

    async def work() -> None:
        with rogue() as server:
            async with way_out(tmp_path, LISTED, to=outside({"packages.test": server.port})) as way:
                await say(way, connect(way, "PACKAGES.test:443"), records)
            assert way.refused() == []
        assert records.startswith(server.received)
        assert server.received

    run(work)


# --- redirects, real clients, bounds ---------------------------------------------------------------------------------


def test_a_redirect_to_another_host_is_judged_like_any_request(tmp_path: Path) -> None:
    async def work() -> None:
        with (
            site("other.test", {"/": ("text/plain", b"reached")}) as other,
            site("packages.test", {}, redirects={"/": "https://other.test/", "/here": f"https://{LOOPBACK}/"}) as shop,
        ):
            allowed = Allowed(hosts=("packages.test",), registries=(registry(shop),))
            async with way_out(tmp_path, allowed) as way:
                environ = {**way.fittings.environ, "NO_PROXY": "", "no_proxy": ""}
                for path in ("/", "/here"):
                    ended = await perform("curl", "-sSL", f"https://packages.test{path}", environ=environ, cwd=tmp_path)
                    assert ended.status == 56
            assert way.refused() == [NOT_LISTED, "an address is no host's name, and names alone are in hosts"]
            assert other.asked == []

    run(work)


def test_what_a_connection_carried_is_in_the_log(tmp_path: Path) -> None:
    async def work() -> None:
        with site("packages.test", {"/big": ("text/plain", b"x" * 300_000)}) as shop:
            async with way_out(tmp_path, LISTED, to=outside({"packages.test": shop.port})) as way:
                environ = {**way.fittings.environ, "CURL_CA_BUNDLE": str(_bundle(tmp_path))}
                ended = await perform("curl", "-sS", "https://packages.test/big", environ=environ, cwd=tmp_path)
                assert len(ended.stdout) == 300_000
                async with asyncio.timeout(30):
                    while not way.log[0].is_over:  # noqa: ASYNC110  (a file; the proxy hears of the end a moment later)
                        await asyncio.sleep(0.01)
        (line,) = way.log
        assert (line.host, line.port, line.verdict, line.reason, line.is_over) == (
            "packages.test",
            443,
            "opened",
            "",
            True,
        )
        assert 300_000 < line.bytes_in < 320_000
        assert 300 < line.bytes_out < 4_000

    run(work)


def test_a_phase_that_sends_too_much_is_cut(tmp_path: Path) -> None:
    async def work() -> None:
        with site("packages.test", {"/": ("text/plain", b"")}) as shop:
            async with way_out(
                tmp_path, LISTED, to=outside({"packages.test": shop.port}), bounds=Bounds(bytes_out=1 << 20)
            ) as way:
                environ = {**way.fittings.environ, "CURL_CA_BUNDLE": str(_bundle(tmp_path))}
                (tmp_path / "much").write_bytes(b"x" * (2 << 20))
                await perform(
                    "curl", "-sS", "--data-binary", "@much", "https://packages.test/", environ=environ, cwd=tmp_path
                )
        assert [line.reason for line in way.log] == ["cut: more than 1 MiB went out of this phase"]
        assert way.log[0].bytes_out < (1 << 20) + (128 << 10)

    run(work)


def test_a_tunnel_in_which_nothing_moves_is_closed(tmp_path: Path) -> None:
    async def work() -> None:
        with site("packages.test", {}) as shop:
            async with way_out(
                tmp_path, LISTED, to=outside({"packages.test": shop.port}), bounds=Bounds(idle_s=0.2)
            ) as way:
                await say(way, connect(way, "packages.test:443"), greeting("packages.test"), ends=False)
        assert [line.reason for line in way.log] == ["cut: nothing moved any more"]

    run(work)


def test_the_end_of_a_phase_ends_its_connections(tmp_path: Path) -> None:
    async def work() -> None:
        with site("packages.test", {}) as shop:
            async with way_out(tmp_path, LISTED, to=outside({"packages.test": shop.port})) as way:
                reader, writer = await asyncio.open_connection(LOOPBACK, way.port)
                writer.write(connect(way, "packages.test:443"))
                await reader.readuntil(b"\r\n\r\n")
                writer.write(greeting("packages.test"))
                await reader.readexactly(5)
            await reader.read()
            assert reader.at_eof()
            writer.close()
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection(LOOPBACK, way.port)
        assert [line.reason for line in way.log] == ["cut: the phase was over"]

    run(work)


# --- plain http ------------------------------------------------------------------------------------------------------


def test_plain_http_is_served_where_it_is_listed_one_request_after_the_other(tmp_path: Path) -> None:
    async def work() -> None:
        with site("packages.test", {"/a": ("text/plain", b"one"), "/b": ("text/plain", b"two")}, tls=False) as shop:
            async with way_out(tmp_path, LISTED, to=outside({"packages.test": shop.port})) as way:
                answer = await say(
                    way,
                    head(way, "GET http://packages.test/a HTTP/1.1", "Host: packages.test", "TE: x")
                    + head(way, "GET http://packages.test:80/b?x=1 HTTP/1.1", "Host: packages.test")
                    + head(way, "GET http://evil.test/ HTTP/1.1", "Host: evil.test"),
                    ends=False,
                )
            assert [part in answer for part in (b"one", b"two", b"403 not in hosts")] == [True, True, True]
            assert [asked.path for asked in shop.asked] == ["/a", "/b?x=1"]
            assert {"TE", "Proxy-Authorization"} & {name for asked in shop.asked for name in asked.headers} == set()
        assert [line.verdict for line in way.log] == ["opened", "opened", "refused"]

    run(work)


@pytest.mark.parametrize(
    ("first", "host", "reason"),
    [
        ("GET http://packages.test/ HTTP/1.1", "evil.test", "its Host header names another host"),
        ("GET http://user:word@packages.test/ HTTP/1.1", "packages.test", "the address carries a user's name"),
        ("GET http://packages.test:8080/ HTTP/1.1", "packages.test:8080", "port 8080 is closed, 80 is open"),
        ("GET https://packages.test/ HTTP/1.1", "packages.test", "GET is not served without TLS"),
        ("GET ftp://packages.test/ HTTP/1.1", "packages.test", "GET is not served without TLS"),
        ("PUT http://packages.test/ HTTP/1.1", "packages.test", "PUT is not served without TLS"),
        ("GET http://127.0.0.1/ HTTP/1.1", "127.0.0.1", "an address is no host's name"),
        ("GET http://x.files.test/ HTTP/1.1", "x.files.test", "plain http is served for the hosts of Debian"),
        ("GET / HTTP/1.1", "packages.test", "a proxy wants the whole address"),
    ],
)
def test_a_plain_request_that_means_something_else_is_refused(
    tmp_path: Path, first: str, host: str, reason: str
) -> None:
    async def work() -> None:
        with site("packages.test", {"/": ("text/plain", b"one")}, tls=False) as shop:
            async with way_out(tmp_path, LISTED, to=outside({"packages.test": shop.port})) as way:
                answer = await say(way, head(way, first, f"Host: {host}"), ends=False)
            assert reason in words(answer)
            assert (len(way.refused()), shop.asked) == (1, [])

    run(work)


# --- a place that the operator named ---------------------------------------------------------------------------------


def test_a_private_address_is_reached_where_the_operator_named_it_and_nowhere_else(tmp_path: Path) -> None:
    """With the real rules for addresses: loopback is refused to every other name."""

    async def work() -> None:
        with site("packages.test", {"/": ("text/plain", b"inside")}) as shop:
            allowed = Allowed(hosts=("packages.test", "localhost.test"), registries=(registry(shop),))
            async with way_out(tmp_path, allowed) as way:
                ended = await perform(
                    "curl", "-sS", "https://packages.test/", environ=way.fittings.environ, cwd=tmp_path
                )
                assert ended.stdout == "inside"
                assert "packages.test leads to 127.0.0.1" in " ".join(way.fittings.said)
                answer = await say(way, connect(way, f"packages.test:{shop.port + 1}"), ends=False)
                assert words(answer).startswith("HTTP/1.1 403 port")

    run(work)


def test_a_registry_that_is_not_in_hosts_is_not_reached(tmp_path: Path) -> None:
    async def work() -> None:
        allowed = Allowed(hosts=("packages.test",), registries=(Registry(host="other.test", address="127.0.0.1:1"),))
        async with way_out(tmp_path, allowed) as way:
            answer = await say(way, connect(way, "other.test:443"), ends=False)
        assert words(answer) == "HTTP/1.1 403 not in hosts"

    run(work)


def _bundle(folder: Path) -> Path:
    path = folder / "authority.pem"
    path.write_bytes(AUTHORITY.certificate)
    return path
