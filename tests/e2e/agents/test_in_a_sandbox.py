"""The real Codex and Gemini CLIs, as npm installs them, inside a run's sandbox: a script, its package, and node."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tests.contracts.plain_user import NOBODY, become, python, run
from tests.contracts.sandboxes import Ground, ground
from tests.contracts.sandboxes import missing as missing_rung
from tests.e2e.sdks import Between

from crewcap.core.money import ZERO
from crewcap.workspaces import Confined, Fittings, Outlet, Rung
from crewcap.workspaces.egress.ports import relayed
from crewcap.workspaces.project.executables import find_needs
from crewcap.workspaces.sandbox.interpreter import search_path
from crewcap.workspaces.sandbox.uids import closed_to, is_root

from . import scripts
from .cli import INSTALLED, Done, Machine, executable, missing, pinned, read_lines
from .conftest import Playing

pytestmark = [pytest.mark.npm_agents, pytest.mark.sandbox, pytest.mark.timeout(240)]

PACKAGES = {"codex": "@openai/codex", "gemini": "@google/gemini-cli"}
RUNGS: tuple[Rung, ...] = ("bubblewrap", "landlock")
DOOR = 8787  # where the gateway is for a sandbox that has a loopback of its own


@pytest.fixture(params=RUNGS)
def inside(request: pytest.FixtureRequest) -> Iterator[Ground]:
    """A run's folders and the sandbox around them."""
    if reason := missing() or missing_rung(request.param):
        pytest.skip(f"{request.param}: {reason}")
    with ground(request.param) as made:
        yield made


@dataclass(kw_only=True)
class Indoors(Machine):
    """The same machine, whose CLIs run inside: what they are told of folders is said as it is seen in there."""

    inside: Ground
    way: Fittings

    def __post_init__(self) -> None:
        self.home, self.repo = self.inside.home, self.inside.workspace
        (self.repo / "a.txt").write_text("one\n", encoding="utf-8")
        subprocess.run(["git", "init", "--quiet", self.repo], check=True)

    async def _run(self, command: list[str], environ: dict[str, str]) -> Done:
        made = self.inside
        made.sandbox.prepare(uid=made.uid, owned=(made.workspace, made.home))
        words = [command[0], *map(self._seen, command[1:])]
        variables = {name: self._seen(value) for name, value in environ.items()}
        done = await made.see_through(started(made, words, variables, outlets=self.way.outlets))
        self.done = Done(done.status, read_lines(done.stdout), done.stderr)
        return self.done

    def _seen(self, text: str) -> str:
        layout = self.inside.layout
        return text.replace(str(self.repo), layout.workspace).replace(str(self.home), layout.home)


def started(
    made: Ground, words: list[str], environ: dict[str, str] | None = None, *, outlets: tuple[Outlet, ...] = ()
) -> Confined:
    """A script at its own path, with what it needs, as a run has it."""
    program, *rest = words
    needs = find_needs(Path(program), environ=os.environ)
    variables = {"PATH": ":".join((*needs.path, search_path())), **(environ or {})}
    command = made.command(str(Path(program).resolve()), *rest, environ=variables, outlets=outlets)
    return replace(command, mounts=(*command.mounts, *needs.mounts))


@pytest.mark.parametrize("name", PACKAGES)
def test_it_starts_where_nothing_but_its_package_and_node_can_be_seen(inside: Ground, name: str) -> None:
    done = inside.perform(started(inside, [executable(name), "--version"]))
    assert (done.status, done.stdout.split()[-1]) == (0, pinned(PACKAGES[name])), done
    beside = Path(os.environ[INSTALLED]) / "package.json"
    assert inside.plain("cat", str(beside)).status != 0


@pytest.mark.skipif(not is_root(), reason="a plain user is tried by the test above")
def test_it_starts_for_a_plain_user_too() -> None:
    if reason := missing() or unreachable(Path(os.environ[INSTALLED])):
        pytest.skip(reason)
    tests = ("-m", "pytest", "-p", "no:cacheprovider", "-m", "npm_agents", "-k", "can_be_seen", __file__)
    with tempfile.TemporaryDirectory(prefix="crewcap-test-") as home:  # pytest's own are for one user
        Path(home).chmod(0o777)
        done = run(become("env", f"{INSTALLED}={os.environ[INSTALLED]}", python(), *tests), Path(home))
    assert (done.returncode, " passed" in done.stdout) == (0, True), done.stdout + done.stderr


def unreachable(folder: Path) -> str:
    """Why a plain user does not come that far."""
    closed = closed_to(NOBODY, folder / "package.json")
    return f"another user may not pass through {closed}" if closed else ""


@asynccontextmanager
async def way_to(url: str, made: Ground) -> AsyncIterator[tuple[str, Fittings]]:
    """The gateway as it is reached from inside, and the one way that leads there."""
    port = urlsplit(url).port
    assert port is not None
    if not made.layout.loopback:
        yield url, Fittings(outlets=(Outlet(socket=Path("/nonexistent"), port=port, host_port=port),))
        return
    async with relayed({DOOR: f"127.0.0.1:{port}"}, uid=made.uid, rung="bubblewrap") as way:
        yield f"http://127.0.0.1:{DOOR}", way


@pytest.mark.parametrize("name", PACKAGES)
def test_it_changes_a_file_in_there_and_costs_what_was_billed(play: Playing, inside: Ground, name: str) -> None:
    """One way out, to the gateway; its provider, its key and everything else are outside."""

    async def story(machine: Machine, it: Between) -> None:
        async with way_to(machine.url, inside) as (url, way):
            indoors = Indoors(root=machine.root, url=url, inside=inside, way=way)
            secret = it.key.secret
            done = await (
                indoors.codex(secret, scripts.ASKED) if name == "codex" else indoors.gemini(secret, scripts.ASKED)
            )
        assert done.status == 0, done
        assert (inside.workspace / "a.txt").read_text("utf-8") == "two\n"
        assert [record.step for record in it.simulator.log.messages()] == ["look", "change", "done"]
        assert await it.booked() == it.simulator.meter.total() > ZERO

    play(story, scripts.happy(name))
