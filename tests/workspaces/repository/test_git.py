"""Git on the host: it runs in trusted places only, and nothing that an agent planted is ever run by it.

The corpus is in `planted.py`: in a careless set-up most of its commands ran on the host (facts/security.md 4.2).
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from tests.contracts.sandboxes import Ground, family, ground, missing, within
from tests.workspaces.planted import ODD_NAMES, plant
from tests.workspaces.repos import PLAIN, Said, Trip, set_out

from crewcap.errors import UnsafeEnvironment
from crewcap.workspaces import Rung
from crewcap.workspaces.repository.git import Git
from crewcap.workspaces.repository.harvest import Harvest, harvest
from crewcap.workspaces.repository.mirrors import Mirrors
from crewcap.workspaces.repository.repositories import Base
from crewcap.workspaces.repository.review import Returned

ROGUE = "http://192.0.2.1/"  # nobody's address; tests/e2e has a listener


def _ran(marks: Path) -> list[str]:
    return sorted(path.name for path in marks.iterdir())


@pytest.fixture
def marks(tmp_path: Path) -> Path:
    """Where a planted command would leave its mark."""
    (tmp_path / "marks").mkdir()
    return tmp_path / "marks"


def test_the_corpus_bites_a_careless_host(trip: Trip, marks: Path) -> None:
    """Otherwise the next test would prove nothing."""
    plant(trip.folder, marks, ROGUE)
    for words in (["status"], ["diff"], ["add", "."], ["commit", "-m", "x"], ["log", "-p", "-1"], ["fetch"]):
        subprocess.run(["git", *words], cwd=trip.folder, env=PLAIN, capture_output=True, check=False)
    assert {"clean", "diff-driver", "hook-pre-commit"} <= set(_ran(marks))


@pytest.mark.sandbox
def test_no_planted_command_runs_on_the_host(run: Ground, marks: Path, user: Path, tmp_path: Path) -> None:
    """From the agent's last breath to a working tree for people, with the half inside really inside."""
    mirrors = Mirrors(run.root.parent.parent / "mirrors", environ=os.environ)
    run = _with_objects(run, mirrors, user)
    trip = set_out(mirrors, user, run.workspace, objects_inside=run.layout.objects)
    plant(trip.folder, marks, ROGUE)
    run.sandbox.prepare(uid=run.uid, owned=(run.workspace,))
    harvest = _harvest_inside(run, trip.base)
    came = trip.receive(harvest.bundle)
    assert isinstance(came, Returned), came
    repository = trip.repository
    mirrors.diff(repository, base=trip.base.commit, tip=came.commit)
    mirrors.diff(repository, base=trip.base.commit, tip=came.commit, stat=True)
    mirrors.log(repository, base=trip.base.commit, tip=came.commit)
    assert mirrors.publish(repository, trip.branch).where == user
    mirrors.checkout(repository, trip.branch, tmp_path / "for people")
    mirrors.left_out(mirrors.repository(tmp_path / "for people"))
    mirrors.left_out(repository)
    mirrors.update(repository, at=trip.branch)
    after = Base(commit=came.commit, branch="")
    folder = tmp_path / "next"
    mirrors.make_workspace(repository, base=after, branch="crewcap/x-1", folder=folder, objects_inside="/base/objects")
    assert _ran(marks) == []
    assert (tmp_path / "for people" / "adder.py").read_text().endswith("a + b\n")
    assert {"git settings", "symlink", "odd name"} <= {flag.kind for flag in came.flags}
    assert all(flag.path.isprintable() for flag in came.flags)
    assert {"core.fsmonitor", "credential.helper", "hooks/pre-commit"} <= {*harvest.planted}
    assert set(ODD_NAMES) <= set(_names(mirrors.mirror(repository), came.commit))


def _names(mirror: Path, commit: str) -> list[bytes]:
    words = ["git", "ls-tree", "-z", "--name-only", commit]
    return subprocess.run(words, cwd=mirror, env=PLAIN, capture_output=True, check=True).stdout.split(b"\0")


@pytest.fixture
def run() -> Iterator[Ground]:
    """The strongest sandbox with a wall that this machine has."""
    walls: tuple[Rung, ...] = ("bubblewrap", "landlock")
    usable = [rung for rung in walls if not missing(rung)]
    if not usable:
        pytest.skip(f"no wall here: {missing('bubblewrap')}")
    with ground(usable[0]) as made:
        made.workspace.rmdir()
        yield made


def _with_objects(run: Ground, mirrors: Mirrors, user: Path) -> Ground:
    objects = mirrors.objects(mirrors.repository(user))
    return replace(run, objects=objects, layout=replace(run.layout, objects=run.layout.objects))


def _harvest_inside(run: Ground, base: Base) -> Harvest:
    """The half of bringing work home that belongs into a sandbox, in one."""

    async def perform(argv: tuple[str, ...], environ: Mapping[str, str]) -> Said:
        done = await run.see_through(run.command(*argv, environ=environ))
        return Said(done.status, done.out)

    spare, objects = f"{run.layout.home}/spare.git", run.layout.objects
    return within(lambda: harvest(perform, base=base.commit, message="fix", objects=objects, spare=spare))


class TestACall:
    """One safe way to call git."""

    def test_a_call_that_takes_too_long_is_ended_with_all_that_it_started(self, tmp_path: Path) -> None:
        program = tmp_path / "git"
        program.write_text(f"#!/bin/sh\n[ $1 = --version ] && echo git version 2.40.0 && exit\n{_SLOW}")
        program.chmod(0o755)
        git = Git({"PATH": f"{tmp_path}:{os.environ['PATH']}"})
        with family() as kin:
            with pytest.raises(UnsafeEnvironment, match="git fetch took longer than 1 s and was ended"):
                git.run("fetch", "somewhere", limit_s=1)
            assert kin.alive_after(5) == []

    def test_it_knows_nothing_of_our_environment(self, tmp_path: Path) -> None:
        """A key in it must not reach a hook, a helper or a proxy."""
        program = tmp_path / "git"
        program.write_text("#!/bin/sh\n[ $1 = --version ] && echo git version 2.40.0 && exit\nenv\n")
        program.chmod(0o755)
        ours = {"ANTHROPIC_API_KEY": "sk-ant-fake-x", "GIT_DIR": "/x", "HOME": "/root", "SSH_AUTH_SOCK": "/agent"}
        git = Git({"PATH": f"{tmp_path}:{os.environ['PATH']}", **ours})
        seen = dict(line.partition("=")[::2] for line in git.run("status").text.splitlines())
        assert {"ANTHROPIC_API_KEY", "GIT_DIR", "SSH_AUTH_SOCK"} & set(seen) == set()
        assert (seen["HOME"], seen["GIT_ALLOW_PROTOCOL"]) == ("/nonexistent", "file")
        network = dict(line.partition("=")[::2] for line in git.run("fetch", protocol="ssh").text.splitlines())
        assert (network["SSH_AUTH_SOCK"], network["GIT_ALLOW_PROTOCOL"]) == ("/agent", "ssh")

    def test_what_git_says_of_its_failure_is_one_printable_line(self, tmp_path: Path) -> None:
        program = tmp_path / "git"
        program.write_text(
            "#!/bin/sh\n[ $1 = --version ] && echo git version 2.40.0 && exit\n"
            "printf 'remote: noise\\nfatal: \\033[31mno such thing\\n' >&2; exit 128\n"
        )
        program.chmod(0o755)
        with pytest.raises(UnsafeEnvironment) as failed:
            Git({"PATH": f"{tmp_path}:{os.environ['PATH']}"}).run("-C", "/x", "-c", "a=b", "fetch", "y")
        assert failed.value.message == "git fetch: [31mno such thing"


_SLOW = "(trap '' TERM; sleep 100) & sleep 100\n"
