"""What settings name on this machine: folders of tools, the key that signs. A run needs them; others ask beforehand.

`config check` and `doctor` ask by the functions by which a run finds them, so what passes here does not fail there for
the same reason. A repository that no run is for needs nothing, which is why the reading of settings does not ask.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from crewcap.errors import CrewcapError, UsageError
from crewcap.settings.models import Settings
from crewcap.workspaces.project.toolchains import named_folder
from crewcap.workspaces.repository.signing import Signer


def wrong_places(settings: Settings, *, environ: Mapping[str, str], state: Path) -> Iterator[CrewcapError]:
    """An error for each that a run would end with, with its place in the settings."""
    for name in settings.repos:
        yield from wrong_tools(settings, name, environ=environ, state=state)
    try:
        with said_at(settings, "git", "signing_key"):
            if settings.git.signing_key:
                Signer(key=Path(settings.git.signing_key).expanduser(), environ=environ).try_out()
    except CrewcapError as error:
        yield error


def wrong_tools(settings: Settings, repo: str, *, environ: Mapping[str, str], state: Path) -> Iterator[CrewcapError]:
    """The same for the tools of one repository, by its name in the settings."""
    known = settings.repos.get(repo)
    for text in known.tools if known is not None else ():
        try:
            with said_at(settings, "repos", repo, "tools"):
                named_folder(text, user_home=Path(environ.get("HOME") or "/"), forbidden=(state,))
        except CrewcapError as error:
            yield error


@contextmanager
def said_at(settings: Settings, *path: str) -> Iterator[None]:
    """What is said wrong is told with the place at which these settings say it."""
    try:
        yield
    except UsageError as error:
        where = settings.where(*path)
        raise type(error)(f"{where}: {error.message}" if where else error.message, help=error.help) from error
