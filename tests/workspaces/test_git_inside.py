"""An agent's own git, inside: a developer's day, with a submodule and a large file, on every rung with a wall."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from tests.contracts.sandboxes import Ground, ground, missing, within
from tests.workspaces.repos import Said, Trip, add_submodule, git, make_repository, set_out
from tests.workspaces.repository.test_large_files import PICTURE, _store, pointer

from crewcap.workspaces import Rung
from crewcap.workspaces.repository.harvest import harvest
from crewcap.workspaces.repository.mirrors import Mirrors
from crewcap.workspaces.repository.review import Returned
from crewcap.workspaces.repository.supplies import Extent

pytestmark = pytest.mark.sandbox

DAY = """
set -eux
test -z "$(git status --porcelain)"
git log --oneline; git diff --stat origin/main; git submodule status --recursive
cmp art/picture.png /proc/self/fd/3 3<art/picture.png; test $(wc -c <art/picture.png) = 102400
echo better >adder.py; git diff | grep better
git stash -q; grep -q 'a - b' adder.py; git stash pop -q
git add -A; git commit -qm 'mine'; git checkout -qb side HEAD~1
echo aside >README; git commit -qam 'aside'; git rebase -q HEAD -x true
git checkout -q -; git merge -q --no-edit side; git log --graph --oneline
printf new >art/picture.png; git commit -qam 'a picture'; git checkout -q HEAD~1 -- art
test $(wc -c <art/picture.png) = 102400
git checkout -q HEAD -- art; test "$(cat art/picture.png)" = new
cd libs/lib; git log --oneline; echo x >x; git add x; git commit -qm inside; git status --short; cd ../..
test "$(git status --porcelain)" = ' M libs/lib'
git submodule update -q; test -z "$(git status --porcelain)"
git worktree add -q ../second 2>/dev/null || git worktree add -q "$TMPDIR/second"
"""


@pytest.fixture(params=["bubblewrap", "landlock"])
def run(request: pytest.FixtureRequest) -> Iterator[Ground]:
    """A run's folders on one rung."""
    rung: Rung = request.param
    if reason := missing(rung):
        pytest.skip(f"no {rung} here: {reason}")
    with ground(rung) as made:
        made.workspace.rmdir()
        yield made


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A repository with a submodule and a large file."""
    lib = make_repository(tmp_path / "lib")
    shop = make_repository(tmp_path / "shop")
    add_submodule(shop, str(lib), "libs/lib")
    (shop / ".gitattributes").write_text("*.png filter=lfs\n")
    (shop / "art").mkdir()
    (shop / "art" / "picture.png").write_text(pointer(PICTURE))
    git(shop, "add", ".")
    git(shop, "commit", "--quiet", "-m", "all of it")
    _store(shop / ".git", PICTURE)
    return shop


def _set_out(run: Ground, project: Path) -> tuple[Ground, Trip]:
    folder = run.root.parent.parent / "mirrors"
    mirrors = Mirrors(folder, environ=os.environ)
    objects = mirrors.objects(mirrors.repository(project))
    layout = run.sandbox.layout(workspace=run.workspace, home=run.home, objects=objects, binary=Path("/usr/bin/env"))
    run = replace(run, objects=objects, layout=layout)
    trip = set_out(mirrors, project, run.workspace, objects_inside=layout.objects, extent=Extent())
    for place in (folder, *folder.glob("*.git")):
        place.chmod(0o711)  # as a state directory is where the rung needs it
    (run.home / "tmp").mkdir(exist_ok=True)
    run.sandbox.prepare(uid=run.uid, owned=(run.workspace, run.home))
    return run, trip


def test_a_day_of_git_inside_and_the_way_home(run: Ground, project: Path) -> None:
    run, trip = _set_out(run, project)
    more = trip.supply.fittings(objects_inside=run.layout.objects).mounts

    async def perform(argv: tuple[str, ...], environ: Mapping[str, str]) -> Said:
        command = run.command(*argv, environ=environ)
        done = await run.see_through(replace(command, mounts=(*command.mounts, *more)))
        return Said(done.status, done.out)

    async def day() -> Returned:
        who = {"GIT_CONFIG_GLOBAL": "/dev/null", "TMPDIR": f"{run.layout.home}/tmp"}
        said = await perform(("/bin/sh", "-c", DAY + "echo went well"), who)
        assert said.stdout.endswith(b"went well\n"), said
        spare, objects = f"{run.layout.home}/spare.git", run.layout.objects
        brought = await harvest(
            perform, base=trip.base.commit, message="fix", objects=objects, spare=spare, supply=trip.supply
        )
        assert not brought.salvaged
        came = trip.receive(brought.bundle)
        assert isinstance(came, Returned), came
        return came

    came = within(day)
    subjects = trip.mirror_git("log", "--no-merges", "--format=%s", f"{trip.base.commit}..{came.commit}")
    assert sorted(subjects.split("\n")) == ["a picture", "aside", "mine"]
    assert trip.mirror_git("cat-file", "blob", f"{came.commit}:art/picture.png") == pointer(b"new").strip()
