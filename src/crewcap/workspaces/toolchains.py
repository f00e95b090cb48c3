"""Which of this machine's toolchains a project wants, and how they are shown inside."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from crewcap.workspaces import Fittings


def find_toolchains(
    read: Callable[[str], bytes | None],
    *,
    user_home: Path,
    home: str,
    tools: Sequence[str],
    environ: Mapping[str, str],
    forbidden: Sequence[Path] = (),
) -> Fittings:
    """What the project's files ask for, of what is here. It blocks.

    `read` gives a file of the project at its base commit, `home` is the run's own as seen inside, `environ` is the
    user's (its PATH is looked at), `forbidden` are folders that no `tools` may hold or lie in (the state directory).
    """
    del read, user_home, home, tools, environ, forbidden
    return Fittings()
