"""The worker's side of what a supervisor and its worker say to each other.

On standard input comes one line, `{"set": [names of variables]}`: those of the environment that are set *somewhere*.
A provider's key is none of the worker's, but which providers there are may rest on which keys there are. After that the
input stays open for as long as the supervisor lives. On standard output goes one line: ready, or an error.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

from crewcap.errors import CrewcapError, UsageError

SET = "set"  # what a variable holds for those who only may know that it is set


def hand_over(names: Iterable[str], pipe: int) -> None:
    """Write the line that a worker is told into its standard input."""
    with os.fdopen(os.dup(pipe), "wb") as file:
        file.write(json.dumps({"set": sorted(names)}).encode() + b"\n")


def environ_from_stdin(own: Mapping[str, str]) -> dict[str, str]:
    """Our environment, and in it by name what is set elsewhere; read unbuffered, that the input's end can be seen."""
    said = bytearray()
    while not said.endswith(b"\n"):
        piece = os.read(sys.stdin.fileno(), 1)
        if not piece:
            raise UsageError("--worker is for crewcap itself", help="use: crewcap serve")
        said += piece
    return {**{str(name): SET for name in json.loads(said)["set"]}, **own}


def say_ready(*, slots: int, schedules: Sequence[Mapping[str, str]] = (), silent_s: float = 0) -> None:
    """Runs are taken from now on. Of each schedule that comes next: `name` and `at` (RFC 3339).

    `silent_s`: we say now and then that we are alive, and are to be killed when we have not for so long; 0 = never.
    """
    said = {"ready": True, "pid": os.getpid(), "slots": slots, "schedules": list(schedules)}
    _say({**said, "silent_s": silent_s})
    os.set_blocking(sys.stdout.fileno(), False)  # one that reads nothing must not keep us from our work


def say_alive() -> None:
    """Others know that we are; a supervisor that is gone hears nothing, and says so by our standard input."""
    with contextlib.suppress(OSError):
        os.write(sys.stdout.fileno(), b'{"alive": true}\n')  # unbuffered: what nobody reads is not kept for our end


def say_error(error: CrewcapError) -> None:
    """What keeps this worker from starting, in place of `say_ready`."""
    _say({"error": {"code": error.code, "message": error.message, "help": error.help}})


async def supervisor_gone() -> None:
    """Wait until nobody watches over us any more."""
    loop, gone = asyncio.get_running_loop(), asyncio.Event()

    def on_readable() -> None:
        if not os.read(sys.stdin.fileno(), 1024):
            gone.set()

    loop.add_reader(sys.stdin, on_readable)
    try:
        await gone.wait()
    finally:
        loop.remove_reader(sys.stdin)


def _say(value: Mapping[str, object]) -> None:
    with suppress(BrokenPipeError):  # its reader is gone, which the end of our input tells as well
        print(json.dumps(value), flush=True)  # noqa: T201  (the supervisor reads it)
