"""A command of the user's own, or the desktop's: the words come as one argument, never through a shell."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence

from crewcap.core.notices import Notice
from crewcap.notify import NotSent

_LIMIT_S = 10


class Command:
    """A program that is called with the notice's text as its last argument, and the whole notice in variables."""

    def __init__(self, argv: Sequence[str], environ: Mapping[str, str]) -> None:
        self._argv, self._environ = tuple(argv), environ

    def send(self, notice: Notice) -> None:
        """Call it."""
        if shutil.which(self._argv[0], path=self._environ.get("PATH", os.defpath)) is None:
            raise NotSent(f"`{self._argv[0]}` is not installed")
        told = {"CREWCAP_EVENT": notice.kind, "CREWCAP_NOTICE": notice.text, "CREWCAP_NOTICE_ID": notice.once}
        try:
            done = subprocess.run(  # noqa: S603  (the user's own settings name it; no shell)
                [*self._argv, notice.text],
                env={**self._environ, **told},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=_LIMIT_S,
                check=False,
            )
        except OSError as error:
            raise NotSent(f"`{self._argv[0]}` cannot be started: {error.strerror}") from None
        except subprocess.TimeoutExpired:
            raise NotSent(f"`{self._argv[0]}` did not end within {_LIMIT_S} s") from None
        if done.returncode != 0:
            raise NotSent(f"`{self._argv[0]}` ended with status {done.returncode}")


def desktop(environ: Mapping[str, str]) -> Command:
    """The desktop's own way to show a message."""
    return Command(("notify-send", "--app-name=crewcap", "crewcap"), environ)
