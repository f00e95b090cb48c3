"""What lies about before the agent comes is none of its work, whatever its name; what it makes later is."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable

import pytest
from tests.workspaces.repos import Trip, git

from crewcap.workspaces.repository.leftovers import leave_out
from crewcap.workspaces.repository.review import NoChange, Returned

ODD = (
    "a\nb",
    "\nb",
    "b\n",
    "a\rb",
    "a\r",
    "a\r\n",
    "a\tb",
    'qu"ote',
    "back\\slash",
    "star*",
    "what?",
    "[ab]",
    "]",
    "#no",
    "!no",
    " a ",
    "-n",
    "%s",
    "u\u00e9",
    "bad\udcff",
)


@pytest.mark.parametrize("name", ODD)
def test_a_file_that_was_there_before_is_not_its_work(trip: Trip, name: str) -> None:
    (trip.folder / name).write_text("left")
    assert asyncio.run(leave_out(trip.perform, keep=trip.leftovers)) == (name,)
    assert isinstance(trip.come_home(), NoChange)


def test_what_is_only_called_alike_is_its_work(trip: Trip) -> None:
    for name in ODD:
        (trip.folder / name).write_text("left")
    asyncio.run(leave_out(trip.perform, keep=trip.leftovers))
    for name in ("a", "b", "axb", "a b", "ab", "starry", "what!"):
        (trip.folder / name).write_text("work")
    home = trip.come_home()
    assert isinstance(home, Returned)
    assert home.files_changed == 7


def test_a_folder_is_left_out_as_a_whole_and_a_crowd_of_files_to_the_last(trip: Trip) -> None:
    (trip.folder / "new\nfolder").mkdir()
    (trip.folder / "new\nfolder/inside").touch()
    for number in range(3_000):
        (trip.folder / f"made-{number}").touch()
    assert len(asyncio.run(leave_out(trip.perform, keep=trip.leftovers))) == 3_001
    assert isinstance(trip.come_home(), NoChange)


def test_a_list_whose_last_line_has_no_end_goes_on_with_a_new_line(trip: Trip) -> None:
    (trip.folder / ".git/info").mkdir(exist_ok=True)
    (trip.folder / ".git/info/exclude").write_text("*.tmp")
    (trip.folder / "left").touch()
    asyncio.run(leave_out(trip.perform, keep=trip.leftovers))
    (trip.folder / "work.tmp").touch()
    assert isinstance(trip.come_home(), NoChange)


def _lost_head(trip: Trip) -> None:
    (trip.folder / ".git/HEAD").write_text("broken")


def _begun_anew(trip: Trip) -> None:
    shutil.rmtree(trip.folder / ".git")
    git(trip.folder, "init", "--quiet")


def _thrown_away(trip: Trip) -> None:
    shutil.rmtree(trip.folder / ".git")


def _list_of_its_own(trip: Trip) -> None:
    """What never ends to be read, in the place of the list."""
    (trip.folder / ".git/HEAD").write_text("broken")
    (trip.folder / ".git/info/exclude").unlink()
    os.mkfifo(trip.folder / ".git/info/exclude")


@pytest.mark.parametrize("broken", [_lost_head, _begun_anew, _thrown_away, _list_of_its_own])
def test_in_a_repository_that_the_agent_broke_it_is_none_of_its_work_either(
    trip: Trip, broken: Callable[[Trip], None]
) -> None:
    for name in ODD:
        (trip.folder / name).write_text("left")
    (trip.folder / "node_modules").mkdir()
    (trip.folder / "node_modules/many").touch()
    asyncio.run(leave_out(trip.perform, keep=trip.leftovers))
    broken(trip)
    (trip.folder / "work.py").write_text("work")
    harvest = trip.harvest()
    home = trip.receive(harvest.bundle)
    assert isinstance(home, Returned)
    assert home.files_changed == 1
    assert not (trip.folder.parent / "spare.git").exists()


def test_nothing_that_lies_about_changes_nothing(trip: Trip) -> None:
    assert asyncio.run(leave_out(trip.perform, keep=trip.leftovers)) == ()
    assert git(trip.folder, "status", "--porcelain") == ""
