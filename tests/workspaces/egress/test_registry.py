"""A private registry: its credential is added outside, to requests that read, and is never inside."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest
from tests.workspaces.outside import (
    AUTHORITY,
    LOOPBACK,
    NAMES,
    Ended,
    Site,
    Way,
    outside,
    perform,
    registry,
    run,
    site,
    way_out,
)

from crewcap.workspaces.egress.opening import Allowed, Registry

CREDENTIAL = "Bearer fake-registry-token-7c1d"
PAGES = {"/": ("text/plain", b"private"), "/next": ("text/plain", b"more"), "/git-upload-pack": ("text/plain", b"pack")}


def allowed_for(made: Site, *hosts: str) -> Allowed:
    return Allowed(hosts=(made.host, *hosts), registries=(registry(made, authorization=CREDENTIAL),))


async def curl(way: Way, folder: Path, *words: str) -> Ended:
    return await perform("curl", "-sS", *words, environ=way.fittings.environ, cwd=folder)


def test_the_registry_sees_the_credential_and_the_client_never_does(tmp_path: Path) -> None:
    async def work() -> None:
        with site("private.test", PAGES) as shop:
            async with way_out(tmp_path, allowed_for(shop)) as way:
                ended = await curl(way, tmp_path, "-v", "https://private.test/")
                assert ended.stdout == "private"
                assert [asked.headers["Authorization"] for asked in shop.asked] == [CREDENTIAL]
                inside = [
                    ended.stdout,
                    ended.stderr,
                    repr(way.fittings),
                    *way.fittings.environ.values(),
                    *way.fittings.said,
                ]
                inside += [content.decode("latin-1") for content in way.fittings.files.values()]
                assert all("fake-registry-token" not in text for text in inside)
            assert "fake-registry-token" not in way.path.read_text()

    run(work)


def test_what_the_client_says_about_itself_is_replaced(tmp_path: Path) -> None:
    async def work() -> None:
        with site("private.test", PAGES) as shop:
            async with way_out(tmp_path, allowed_for(shop)) as way:
                own = ("Authorization: Bearer mine", "authorization: Basic eA==", "Cookie: session=1")
                trick = ("X-HTTP-Method-Override: DELETE", "Proxy-Authorization: Basic eA==")
                words = [word for line in (*own, *trick) for word in ("-H", line)]
                assert (await curl(way, tmp_path, *words, "https://private.test/")).stdout == "private"
        (asked,) = shop.asked
        seen = {name.lower(): value for name, value in asked.headers.items()}
        assert seen["authorization"] == CREDENTIAL
        assert not {"cookie", "x-http-method-override", "proxy-authorization"} & set(seen)

    run(work)


def test_requests_of_one_connection_go_over_one_connection(tmp_path: Path) -> None:
    async def work() -> None:
        with site("private.test", PAGES) as shop:
            async with way_out(tmp_path, allowed_for(shop)) as way:
                ended = await curl(way, tmp_path, "https://private.test/", "https://private.test/next")
        assert ended.stdout == "privatemore"
        assert [asked.headers["Authorization"] for asked in shop.asked] == [CREDENTIAL] * 2
        assert len([line for line in way.log if line.verdict == "opened"]) == 1

    run(work)


@pytest.mark.parametrize(
    ("words", "method"),
    [
        (("-X", "PUT", "-d", "x", "https://private.test/package"), "PUT"),
        (("-X", "DELETE", "https://private.test/package"), "DELETE"),
        (("-d", "x", "https://private.test/-/npm/v1/tokens"), "POST"),
        (("-d", "x", "https://private.test/acme/shop.git/git-receive-pack"), "POST"),
        (("https://private.test/acme/shop.git/info/refs?service=git-receive-pack",), "GET"),
        (("-X", "TRACE", "https://private.test/"), "TRACE"),
    ],
)
def test_what_would_write_is_refused(tmp_path: Path, words: tuple[str, ...], method: str) -> None:
    """A worm that runs in a setup must not publish itself with the operator's credential."""

    async def work() -> None:
        with site("private.test", PAGES) as shop:
            async with way_out(tmp_path, allowed_for(shop)) as way:
                ended = await curl(way, tmp_path, *words)
        reason = f"the credential of a private registry is for reading, not for {method}"
        assert ended.stdout == f"crewcap: {reason}\n"
        assert (way.refused(), shop.asked) == ([reason], [])

    run(work)


def test_git_may_fetch(tmp_path: Path) -> None:
    async def work() -> None:
        with site("private.test", PAGES) as shop:
            async with way_out(tmp_path, allowed_for(shop)) as way:
                ended = await curl(way, tmp_path, "-d", "want", "https://private.test/git-upload-pack")
        assert ended.stdout == "pack"

    run(work)


def test_another_hosts_name_in_the_request_is_refused(tmp_path: Path) -> None:
    async def work() -> None:
        with site("private.test", PAGES) as shop:
            async with way_out(tmp_path, allowed_for(shop)) as way:
                await curl(way, tmp_path, "-H", "Host: other.test", "https://private.test/")
        assert (way.refused(), shop.asked) == (["its Host header names another host"], [])

    run(work)


def test_no_other_host_gets_the_credential_even_by_a_redirect(tmp_path: Path) -> None:
    async def work() -> None:
        with (
            site("other.test", {"/": ("text/plain", b"elsewhere")}) as other,
            site("private.test", {}, redirects={"/": "https://other.test/"}) as shop,
        ):
            allowed = Allowed(
                hosts=("private.test", "other.test"),
                registries=(registry(shop, authorization=CREDENTIAL), registry(other)),
            )
            async with way_out(tmp_path, allowed) as way:
                assert (await curl(way, tmp_path, "-L", "https://private.test/")).stdout == "elsewhere"
        assert "Authorization" not in other.asked[0].headers

    run(work)


def test_a_server_that_is_not_trusted_never_sees_the_credential(tmp_path: Path) -> None:
    async def work() -> None:
        with site("private.test", PAGES) as shop:
            place = Registry(host="private.test", address=f"{LOOPBACK}:{shop.port}", authorization=CREDENTIAL)
            async with way_out(tmp_path, Allowed(hosts=("private.test",), registries=(place,))) as way:
                ended = await curl(way, tmp_path, "https://private.test/")
        assert "the registry's certificate is not trusted here" in ended.stdout
        assert shop.asked == []
        assert len(way.refused()) == 1

    run(work)


def test_a_server_that_is_gone_is_said(tmp_path: Path) -> None:
    async def work() -> None:
        with site("private.test", PAGES) as shop:
            allowed = allowed_for(shop)
        async with way_out(tmp_path, allowed) as way:
            ended = await curl(way, tmp_path, "https://private.test/")
        assert ended.stdout == "crewcap: the registry does not answer\n"

    run(work)


def test_an_address_inside_is_refused_to_a_registry_too_unless_it_was_named(tmp_path: Path) -> None:
    async def work() -> None:
        with site("private.test", PAGES) as shop:
            place = Registry(host="private.test", authorization=CREDENTIAL, authority=AUTHORITY.certificate)
            to = outside({}, addresses={"private.test": "10.0.0.1"})
            async with way_out(tmp_path, Allowed(hosts=("private.test",), registries=(place,)), to=to) as way:
                await curl(way, tmp_path, "https://private.test/")
            assert way.refused() == [
                (
                    "it leads to 10.0.0.1, which is not an address of the public internet; where it is your own"
                    ' registry, say so in your own settings: [registries."private.test"] address = "..."'
                )
            ]
            assert shop.asked == []

    run(work)


def test_the_phases_own_authority_is_all_that_a_sandbox_gets(tmp_path: Path) -> None:
    async def work() -> None:
        with site("private.test", PAGES) as shop:
            async with way_out(tmp_path, allowed_for(shop)) as way:
                ((path, content),) = way.fittings.files.items()
                assert path == f"{tmp_path}/.crewcap/trusted.pem"
                assert b"PRIVATE" not in content
                assert AUTHORITY.certificate in content
                for name in ("SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS", "PIP_CERT", "GIT_SSL_CAINFO", "CARGO_HTTP_CAINFO"):
                    assert way.fittings.environ[name] == path
                trusting = ssl.create_default_context(cafile=path)
                assert len(trusting.get_ca_certs()) > 2

    run(work)


def test_an_answer_without_a_length_and_one_in_chunks_arrive_whole(tmp_path: Path) -> None:
    """Servers differ in how they say where an answer ends."""
    bodies = {
        "/chunks": b"Transfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n6\r\n world\r\n0\r\nTrailer: x\r\n\r\n",
        "/until": b"Connection: close\r\n\r\nhello world",
        "/early": b"Content-Length: 11\r\n\r\nhello world",
    }

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while raw := await reader.readuntil(b"\r\n\r\n"):
            path = raw.split()[1].decode()
            hint = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" if path == "/early" else b""
            writer.write(hint + b"HTTP/1.1 200 OK\r\n" + bodies[path])
            if path == "/until":
                break
        writer.close()

    async def work() -> None:
        context = AUTHORITY.server_context(NAMES[3])
        async with await asyncio.start_server(answer, LOOPBACK, 0, ssl=context) as server:
            made = Site(host=NAMES[3], pages={}, port=server.sockets[0].getsockname()[1])
            async with way_out(tmp_path, allowed_for(made)) as way:
                urls = [f"https://private.test{path}" for path in ("/chunks", "/early", "/until", "/chunks")]
                ended = await curl(way, tmp_path, *urls)
                assert ended.stdout == "hello world" * 4

    run(work)


@pytest.mark.parametrize("length", [b"Content-Length: 100\r\n", b"Transfer-Encoding: chunked\r\n"])
def test_an_answer_that_breaks_off_does_not_look_whole(tmp_path: Path, length: bytes) -> None:
    """Half a package must not be taken for one, and nothing of ours may stand in it."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n" + length + b"\r\n" + (b"64\r\n" if b"chunked" in length else b"") + b"half")
        await writer.drain()
        writer.transport.abort()

    async def work() -> None:
        context = AUTHORITY.server_context(NAMES[3])
        async with await asyncio.start_server(answer, LOOPBACK, 0, ssl=context) as server:
            made = Site(host=NAMES[3], pages={}, port=server.sockets[0].getsockname()[1])
            async with way_out(tmp_path, allowed_for(made)) as way:
                ended = await curl(way, tmp_path, "https://private.test/")
                assert ended.status != 0
                assert "crewcap" not in ended.stdout

    run(work)
