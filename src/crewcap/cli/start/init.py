"""`crewcap init`: a commented settings file to start from; nothing that exists is ever written over."""

from __future__ import annotations

import os
from pathlib import Path

import click

from crewcap.cli.context import Call, common, with_call
from crewcap.errors import UnsafeEnvironment, UsageError


@click.command(epilog="Example: crewcap init --repo")
@click.option("--repo", "for_repo", is_flag=True, help="Write .crewcap.toml into this repository as well.")
@common
@with_call
def init(call: Call, *, for_repo: bool) -> None:
    """Write a commented settings file, and with --repo a repository's own."""
    from crewcap.settings import place, starter  # noqa: PLC0415  (pydantic is not for --help)

    target = call.config_path or place.usual_path(call.environ)
    top = _top(Path.cwd()) if for_repo else None  # first of all: what is refused writes nothing
    written = []
    if not (for_repo and target.exists()):
        _write(target, starter.settings_file(), mode=0o600)
        written.append(target)
    if top is not None:
        text, project = starter.repository_file({path.name for path in top.iterdir()})
        _write(top / ".crewcap.toml", text, mode=0o644)
        written.append(top / ".crewcap.toml")
        call.note(f"it looks like `{project.check}`; change what is wrong" if project else "fill in setup and check")
    if call.as_json:
        call.emit({"written": [str(path) for path in written]})
        return
    for path in written:
        call.out(f"wrote {path}")
    call.note("next: crewcap doctor")


def _write(path: Path, text: str, *, mode: int) -> None:
    """Make a file that was not there; whoever came first keeps theirs."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    except FileExistsError:
        if not path.exists():
            raise UnsafeEnvironment(
                f"{path} cannot be written: {path.parent} is no folder", help="name another place: --config FILE"
            ) from None
        raise UsageError(
            f"{path} exists already and was left as it is", help="edit it, or move it away; crewcap config check"
        ) from None
    except OSError as error:
        raise UnsafeEnvironment(
            f"{path} cannot be written: {error.strerror}", help="name another place: crewcap init --config FILE"
        ) from None
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)


def _top(start: Path) -> Path:
    """The repository's top folder, found by its `.git`."""
    for folder in (start, *start.parents):
        if (folder / ".git").exists():
            return folder
    raise UsageError(f"{start} is not inside a git repository", help="cd into one, or git init")
