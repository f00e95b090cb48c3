"""What systemd is told, where it started us as `Type=notify` (sd_notify(3)): that we are ready, go round, and end."""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import suppress

VARIABLE = "NOTIFY_SOCKET"
_WATCHDOG, _WATCHED = "WATCHDOG_USEC", "WATCHDOG_PID"


def notify(state: str) -> None:
    """Say it, if anybody listens."""
    address = os.environ.get(VARIABLE, "")
    if not address.startswith(("/", "@")):
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as speaker:
        speaker.sendto(state.encode(), address)


def watchdog_s() -> float:
    """After how long a silence systemd kills this process (`WatchdogSec`); 0 = never."""
    said, whose = os.environ.get(_WATCHDOG, ""), os.environ.get(_WATCHED, "")
    return int(said) / 1e6 if said.isdecimal() and whose in {"", str(os.getpid())} else 0


async def keep_going_round() -> None:
    """Say that our loop goes round, as often as systemd wants to hear it; returns where it does not."""
    if (silent_s := watchdog_s()) <= 0:
        return
    while True:
        notify("WATCHDOG=1")
        await asyncio.sleep(silent_s / 2)
