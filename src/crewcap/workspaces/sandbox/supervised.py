"""What the rungs without a process namespace share: real paths, and a supervisor that outlives the command."""

from __future__ import annotations

from pathlib import Path

from crewcap.errors import InternalError
from crewcap.workspaces import Confined, Layout
from crewcap.workspaces.sandbox.child import LAUNCHER
from crewcap.workspaces.sandbox.interpreter import python, search_path
from crewcap.workspaces.sandbox.uids import is_root


def here(*, workspace: Path, home: Path, objects: Path, binary: Path) -> Layout:
    """Everything is seen where it is; there is no loopback of its own."""
    return Layout(
        workspace=str(workspace.resolve()),
        home=str(home.resolve()),
        objects=str(objects.resolve()),
        binary=str(binary.resolve()),
        loopback=False,
    )


def program(order: int) -> tuple[str, ...]:
    """The launcher on this side of the wall; it forks, and its first half stays here."""
    return (*python(), str(LAUNCHER), str(order))


def agent_uid(uid: int) -> int | None:
    """The user to become; a plain user stays what it is. Root is nobody's run: leftovers are killed by their user."""
    if not is_root():
        return None
    if uid == 0:
        raise InternalError("a run was about to be started as root; nothing was started")
    return uid


def base_environ(command: Confined) -> dict[str, str]:
    """What programs expect to find; the command's own variables win."""
    home = command.environ.get("HOME", command.cwd)
    return {
        "PATH": search_path(),
        "HOME": home,
        "LANG": "C.UTF-8",
        "TMPDIR": f"{home}/tmp",  # noqa: S108  (below the run's own home)
        "TERM": "dumb",
        "CI": "1",
        "GIT_CONFIG_NOSYSTEM": "1",  # /etc/gitconfig may hold a credential, and git ends where it may not read it
    }
