"""Real package tools take the way out by its variables alone: nothing is said on their command lines."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from tests.workspaces.outside import Ended, Site, Way, outside, perform, registry, run, site, way_out
from tests.workspaces.packages import npm_registry, python_index

from crewcap.workspaces.egress.environ import proxy_environ, trust_environ
from crewcap.workspaces.egress.log import asked_and_refused
from crewcap.workspaces.egress.opening import Allowed

CREDENTIAL = "Bearer fake-index-token"


@pytest.fixture
def shop() -> Iterator[Site]:
    """A package index for Python and npm in one, over TLS."""
    with site("packages.test", {**python_index(), **npm_registry("https://packages.test")}) as made:
        yield made


@pytest.fixture(params=["as it is", "with a credential"])
def allowed(request: pytest.FixtureRequest, shop: Site) -> Allowed:
    """The index is listed, open to all or for those that say who they are."""
    more = {"authorization": CREDENTIAL} if request.param == "with a credential" else {}
    return Allowed(hosts=("packages.test",), registries=(registry(shop, **more),), written=("packages.test",))


async def tool(way: Way, folder: Path, *argv: str, **more: str) -> Ended:
    """A tool in a fresh home."""
    environ = {**way.fittings.environ, "HOME": str(folder), "PATH": os.environ["PATH"], **more}
    return await perform(*argv, environ=environ, cwd=folder)


def lines(way: Way) -> Mapping[str, set[str]]:
    """Verdict -> hosts."""
    return {verdict: {each.host for each in way.log if each.verdict == verdict} for verdict in ("opened", "refused")}


def test_pip_installs(tmp_path: Path, shop: Site, allowed: Allowed) -> None:
    async def work() -> None:
        async with way_out(tmp_path, allowed) as way:
            pip = (sys.executable, "-m", "pip", "--isolated", "install", "--quiet", "--no-deps", "--no-cache-dir")
            index = ("--index-url", "https://packages.test/simple/", "--target", str(tmp_path / "into"))
            ended = await tool(way, tmp_path, *pip, *index, "--disable-pip-version-check", "hello-crewcap")
            assert ended.status == 0, ended
        assert "hello from the index" in (tmp_path / "into" / "hello_crewcap.py").read_text()
        assert lines(way) == {"opened": {"packages.test"}, "refused": set()}
        _seen_with(shop, allowed)

    run(work)


def test_uv_installs(tmp_path: Path, shop: Site, allowed: Allowed) -> None:
    if (uv := shutil.which("uv")) is None:
        pytest.skip("there is no uv")

    async def work() -> None:
        async with way_out(tmp_path, allowed) as way:
            words = ("pip", "install", "--no-cache", "--no-config", "--no-deps", "--target", str(tmp_path / "into"))
            index = ("--default-index", "https://packages.test/simple/", "--python", sys.executable)
            ended = await tool(way, tmp_path, uv, *words, *index, "hello-crewcap")
            assert ended.status == 0, ended
        assert (tmp_path / "into" / "hello_crewcap.py").exists()
        assert lines(way) == {"opened": {"packages.test"}, "refused": set()}
        _seen_with(shop, allowed)

    run(work)


def test_npm_installs_and_takes_our_proxy_over_the_projects_own(tmp_path: Path, shop: Site, allowed: Allowed) -> None:
    if (npm := shutil.which("npm")) is None:
        pytest.skip("there is no npm")
    (tmp_path / "package.json").write_text('{"name": "shop", "version": "1.0.0"}')
    own = "registry=https://packages.test/\nhttps-proxy=http://127.0.0.1:9\nproxy=http://127.0.0.1:9\ncafile=/none\n"
    (tmp_path / ".npmrc").write_text(own)

    async def work() -> None:
        async with way_out(tmp_path, allowed) as way:
            words = ("install", "hello-crewcap", "--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error")
            ended = await tool(way, tmp_path, npm, *words)
            assert ended.status == 0, ended
        assert "hello from the registry" in (tmp_path / "node_modules/hello-crewcap/index.js").read_text()
        assert lines(way) == {"opened": {"packages.test"}, "refused": set()}
        _seen_with(shop, allowed)

    run(work)


def test_git_asks_through_it(tmp_path: Path, shop: Site, allowed: Allowed) -> None:
    """The server is no git server; what counts is that git's question arrived, with the credential if there is one."""

    async def work() -> None:
        async with way_out(tmp_path, allowed) as way:
            ended = await tool(
                way,
                tmp_path,
                "git",
                "ls-remote",
                "https://packages.test/x.git",
                GIT_CONFIG_NOSYSTEM="1",
                GIT_TERMINAL_PROMPT="0",
            )
            assert "not found" in ended.stderr
        assert [asked.path for asked in shop.asked] == ["/x.git/info/refs?service=git-upload-pack"]
        _seen_with(shop, allowed)

    run(work)


def test_node_itself_trusts_what_we_trust(tmp_path: Path, shop: Site, allowed: Allowed) -> None:
    if (node := shutil.which("node")) is None:
        pytest.skip("there is no node")
    program = """
    const http = require("http"), https = require("https"), tls = require("tls");
    const proxy = new URL(process.env.HTTPS_PROXY);
    const auth = "Basic " + Buffer.from(proxy.username + ":" + proxy.password).toString("base64");
    http.request({host: proxy.hostname, port: proxy.port, method: "CONNECT", path: "packages.test:443",
                  headers: {"Proxy-Authorization": auth}})
      .on("connect", (answer, socket) =>
        https.get({host: "packages.test", path: "/hello-crewcap",
                   createConnection: () => tls.connect({socket, servername: "packages.test"})},
                  page => { console.log(page.statusCode); process.exit(0); }))
      .end();
    """

    async def work() -> None:
        async with way_out(tmp_path, allowed) as way:
            ended = await tool(way, tmp_path, node, "-e", program)
        assert (ended.stdout, ended.status) == ("200\n", 0), ended
        _seen_with(shop, allowed)

    run(work)


def test_an_install_that_needs_another_host_fails_and_the_host_is_known(tmp_path: Path, shop: Site) -> None:
    allowed = Allowed(hosts=("packages.test",), registries=(registry(shop),))

    async def work() -> None:
        async with way_out(tmp_path, allowed, to=outside({})) as way:
            pip = (sys.executable, "-m", "pip", "install", "--no-deps", "--no-cache-dir", "--retries", "0")
            ended = await tool(way, tmp_path, *pip, "https://files.example.org/x-1.0-py3-none-any.whl")
            assert ended.status == 1
            assert "403 not in hosts" in ended.stderr + ended.stdout
        assert asked_and_refused(way.path) == ("files.example.org",)

    run(work)


def test_loopback_is_not_asked_of_the_proxy() -> None:
    environ = proxy_environ("http://127.0.0.1:3128")
    assert environ["NO_PROXY"] == environ["no_proxy"] == environ["npm_config_noproxy"] == "localhost,127.0.0.1,::1"
    assert {environ[name] for name in ("HTTP_PROXY", "https_proxy", "CARGO_HTTP_PROXY")} == {"http://127.0.0.1:3128"}


def test_every_tool_trusts_one_bundle() -> None:
    assert set(trust_environ("/x.pem").values()) == {"/x.pem"}


def _seen_with(shop: Site, allowed: Allowed) -> None:
    """Every request arrived with the credential, if there is one, and with none if there is not."""
    wanted = allowed.registries[0].authorization or None
    assert {asked.headers.get("Authorization") for asked in shop.asked} == {wanted}
