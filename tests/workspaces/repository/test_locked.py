"""What an agent closed to itself comes home all the same, and what cannot be opened is named."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from tests.contracts.sandboxes import Ground, ground, missing, within
from tests.workspaces.repos import Said, Trip, git, make_repository, set_out

from crewcap.workspaces import Rung
from crewcap.workspaces.repository.harvest import Harvest, harvest
from crewcap.workspaces.repository.locked import open_top
from crewcap.workspaces.repository.mirrors import Mirrors
from crewcap.workspaces.repository.review import NoChange, Returned
from crewcap.workspaces.sandbox.uids import FIRST, is_root


@pytest.fixture(params=["bubblewrap", "landlock"])
def run(request: pytest.FixtureRequest) -> Iterator[Ground]:
    """A run's folders on one rung; as root with a user of its own."""
    rung: Rung = request.param
    if reason := missing(rung):
        pytest.skip(f"no {rung} here: {reason}")
    with ground(rung) as made:
        made.workspace.rmdir()
        yield made


class Visit:
    """An agent's time in a workspace, and what comes of it."""

    def __init__(self, run: Ground, project: Path) -> None:
        folder = run.root.parent.parent / "mirrors"
        mirrors = Mirrors(folder, environ=os.environ)
        objects = mirrors.objects(mirrors.repository(project))
        layout = run.sandbox.layout(
            workspace=run.workspace, home=run.home, objects=objects, binary=Path("/usr/bin/env")
        )
        self.run = replace(run, objects=objects, layout=layout)
        self.trip: Trip = set_out(mirrors, project, run.workspace, objects_inside=layout.objects)
        for place in (folder, *folder.glob("*.git")):
            place.chmod(0o711)
        run.sandbox.prepare(uid=run.uid, owned=(run.workspace, run.home))

    async def perform(self, argv: tuple[str, ...], environ: Mapping[str, str]) -> Said:
        """A command inside."""
        done = await self.run.see_through(self.run.command(*argv, environ=environ))
        return Said(done.status, done.out)

    def does(self, script: str) -> None:
        """What the agent does."""
        assert within(lambda: self.perform(("/bin/sh", "-ec", script), {})).status == 0

    def harvest(self) -> Harvest:
        """The end of the run."""
        spare = f"{self.run.layout.home}/spare.git"
        for folder in (self.run.workspace, self.run.home):
            open_top(folder)
        base = self.trip.base.commit
        objects = self.run.layout.objects
        return within(lambda: harvest(self.perform, base=base, message="fix", objects=objects, spare=spare))

    def home(self, brought: Harvest) -> dict[str, str]:
        """What is on the branch that was not there before: name -> how it was changed."""
        came = self.trip.receive(brought.bundle)
        if isinstance(came, NoChange):
            return {}
        assert isinstance(came, Returned), came
        rows = self.trip.mirror_git("diff", "--raw", "--no-renames", self.trip.base.commit, came.commit).split("\n")
        return {row.partition("\t")[2]: f"{row.split()[0][1:]} {row.split()[1]}" for row in rows}


@pytest.fixture
def visit(run: Ground, tmp_path: Path) -> Visit:
    shop = make_repository(tmp_path / "shop")
    (shop / "go").write_text("#!/bin/sh\n")
    (shop / "go").chmod(0o755)
    (shop / "b").write_text("as it was\n")
    (shop / ".gitignore").write_text("built/\n")
    git(shop, "add", ".")
    git(shop, "commit", "--quiet", "-m", "more")
    return Visit(run, shop)


@pytest.mark.sandbox
def test_files_and_folders_without_rights_are_work_like_others(visit: Visit) -> None:
    visit.does(
        "echo changed >b; chmod 000 b; mkdir -p z/y x; echo q >z/y/q; chmod 000 z/y/q z/y z; echo p >x/p; chmod 400 x"
    )
    brought = visit.harvest()
    assert (brought.untaken, brought.salvaged) == ((), False)
    assert visit.home(brought) == {"b": "100644 100644", "z/y/q": "000000 100644", "x/p": "000000 100644"}


@pytest.mark.sandbox
@pytest.mark.parametrize("what", ["$PWD", ".git", "$HOME"])
def test_who_closes_everything_changes_nothing_by_it(visit: Visit, what: str) -> None:
    """Also no mode: a program stays one."""
    commit = "git -c user.name=a -c user.email=a@b commit -qam mine"
    visit.does(f'echo changed >b; {commit}; find "{what}" -depth ! -type l -exec chmod 000 {{}} + || true')
    brought = visit.harvest()
    assert (brought.untaken, brought.salvaged) == ((), False)
    assert visit.home(brought) == {"b": "100644 100644"}


@pytest.mark.sandbox
def test_links_lead_nowhere(visit: Visit) -> None:
    """What they name keeps its mode."""
    visit.does(
        "mkdir ~/apart; echo s >~/apart/s; chmod 0 ~/apart/s ~/apart; ln -s ~/apart l; ln -s ~/apart/s m;"
        " echo x >b; chmod 0 b"
    )
    assert set(visit.home(visit.harvest())) == {"b", "l", "m"}
    assert (visit.run.home / "apart").stat().st_mode & 0o777 == 0


@pytest.mark.sandbox
@pytest.mark.skipif(not is_root(), reason="files of another user are made by root")
def test_what_belongs_to_another_user_is_named_and_what_is_ignored_is_not(visit: Visit) -> None:
    visit.does("echo work >ok; mkdir -p built d; echo theirs >d/theirs; cp d/theirs built; echo f >f")
    for name in ("built/theirs", "d", "f", "b"):
        os.chown(visit.run.workspace / name, FIRST - 1, FIRST - 1)
        (visit.run.workspace / name).chmod(0o700 if name == "d" else 0o600)
    brought = visit.harvest()
    assert brought.untaken == ("b", "d", "f")
    assert visit.home(brought) == {"ok": "000000 100644"}


def test_a_program_that_was_closed_is_one_still_also_where_everything_can_be_read(trip: Trip) -> None:
    """Root without a user for its runs reads what it closed."""
    program = trip.folder / "go"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    git(trip.folder, "add", "go")
    git(trip.folder, "commit", "--quiet", "-m", "a program")
    first = trip.come_home()
    program.chmod(0)
    (trip.folder / "adder.py").chmod(0)
    assert trip.come_home() == first


def test_a_name_that_git_refuses_is_named(trip: Trip) -> None:
    (trip.folder / "git~1").write_text("work\n")
    (trip.folder / "ok").write_text("work\n")
    brought = trip.harvest()
    assert brought.untaken == ("git~1",)
    home = trip.receive(brought.bundle)
    assert isinstance(home, Returned)
    assert home.files_changed == 1


def test_a_link_in_the_place_of_a_runs_folder_is_left_alone(tmp_path: Path) -> None:
    apart = tmp_path / "apart"
    apart.mkdir(mode=0o500)
    (tmp_path / "workspace").symlink_to(apart)
    open_top(tmp_path / "workspace")
    open_top(tmp_path / "gone")
    assert apart.stat().st_mode & 0o777 == 0o500
    open_top(apart)
    assert apart.stat().st_mode & 0o777 == 0o700
