"""A line of JSON in a file, for those who collect them."""

from __future__ import annotations

import json
import os
from pathlib import Path

from crewcap.core.notices import Notice
from crewcap.notify import NotSent


class Log:
    """One file that only ever grows."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def send(self, notice: Notice) -> None:
        """Append it in one write, so that two writers never share a line."""
        told = {"at": notice.at.isoformat(), "event": notice.kind, "text": notice.text, "id": notice.once}
        line = json.dumps(told, ensure_ascii=False).encode() + b"\n"
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb", buffering=0) as file:
                file.write(line)
        except OSError as error:
            raise NotSent(f"{self._path} cannot be written: {error.strerror}") from None
