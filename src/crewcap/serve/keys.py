"""Providers' keys, kept for a gateway that has to be started again, where no other process sees them.

They lie in a file of memory alone (memfd), sealed, in this process that cannot be looked into (`gateway.process`). From
there the kernel moves them into a gateway's standard input: after the start they never pass through this process's own
memory again.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping

from crewcap.errors import UnsafeEnvironment

_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


class SealedKeys:
    """One line for the standard input of a gateway."""

    def __init__(self, keys: Mapping[str, str]) -> None:
        if not hasattr(os, "memfd_create"):
            raise UnsafeEnvironment("crewcap serve needs Linux", help="on this machine: crewcap gateway, crewcap run")
        line = json.dumps({"environ": dict(keys)}).encode() + b"\n"
        self._file = os.memfd_create("crewcap", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        self._size = os.write(self._file, line)
        fcntl.fcntl(self._file, fcntl.F_ADD_SEALS, _SEALS)

    def hand_over(self, pipe: int) -> None:
        """Write the line into a pipe; may wait for its reader, and raises `BrokenPipeError` where that is gone."""
        done = 0
        while done < self._size:
            done += os.sendfile(pipe, self._file, done, self._size - done)

    def __repr__(self) -> str:
        return "SealedKeys(...)"
