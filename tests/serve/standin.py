"""A worker's stand-in: it does what a supervisor needs of one, and writes down what it is told.

    standin.py DIARY [--home ...]

The diary has one line of JSON for each thing: born, hangup, told (SIGTERM), hurried, alone (its input ended). Where
there is a file `stuck_s`, its loop says that it goes round, as often as a worker does that may stand still for so long;
at SIGUSR1 it goes round no more.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from crewcap.errors import UsageError
from crewcap.serve import fellow
from crewcap.serve.pulse import Pulse


def write(diary: Path, word: str, **more: Any) -> None:
    with diary.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"word": word, "pid": os.getpid(), **more}) + "\n")


async def main(diary: Path) -> None:
    loop, told, hurried = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()

    def on_term() -> None:
        write(diary, "hurried" if told.is_set() else "told")
        (hurried if told.is_set() else told).set()

    environ = fellow.environ_from_stdin(os.environ)
    loop.add_signal_handler(signal.SIGTERM, on_term)
    loop.add_signal_handler(signal.SIGHUP, write, diary, "hangup")
    if (once := diary.with_name("die once")).exists():
        once.unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    if refusal := diary.with_name("refuse").read_text() if diary.with_name("refuse").exists() else "":
        fellow.say_error(UsageError(refusal, help="do otherwise"))
        sys.exit(2)
    write(diary, "born", said={name: environ[name] for name in environ if "KEY" in name}, arguments=sys.argv[2:])
    loop.add_signal_handler(signal.SIGUSR1, threading.Event().wait)
    stuck = diary.with_name("stuck_s")
    stuck_s = float(stuck.read_text()) if stuck.exists() else 0
    fellow.say_ready(slots=3, schedules=[{"name": "nightly", "at": "2030-01-02T03:04:00+00:00"}], silent_s=stuck_s)
    going_round = asyncio.create_task(Pulse(stuck_s=stuck_s or 60).keep(fellow.say_alive))
    alone = asyncio.create_task(fellow.supervisor_gone())
    ending = asyncio.create_task(told.wait())
    await asyncio.wait([alone, ending], return_when=asyncio.FIRST_COMPLETED)
    if alone.done():
        write(diary, "alone")
        return
    if diary.with_name("stubborn").exists():
        await hurried.wait()
    if diary.with_name("deaf").exists():
        await asyncio.Event().wait()
    going_round.cancel()


asyncio.run(main(Path(sys.argv[1])))
