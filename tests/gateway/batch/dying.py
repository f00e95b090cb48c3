"""Gateways that kill themselves at a named step of a batch: `python -m tests.gateway.batch.dying` makes one a line.

The process reads lines of JSON from stdin: {"home", "url", "step", "passes"}. For each it forks a gateway, which goes
on with every batch of the home, and ends by itself when none is left open, or dies by SIGKILL when it passes the step
for the n-th time. Then its wait status is written, one line.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from tests.gateway.batch.jobs import Desk, gateway_for, until

from crewcap.gateway.batch.folder import folders
from crewcap.prices import Book, load


async def _live(book: Book, wish: dict[str, Any]) -> None:
    desk = Desk.open(Path(wish["home"]))
    passes = itertools.count(1)

    def reached(step: str) -> None:
        if step == wish["step"] and next(passes) >= wish.get("passes", 1):
            os.kill(os.getpid(), signal.SIGKILL)

    gateway = gateway_for(desk.home, desk.ledger, book, wish["url"])
    gateway.watch_batches(reached)
    async with gateway:
        await until(lambda: all(folder.state().is_over for folder in folders(desk.home.batches)), 60)
    desk.ledger.close()


def _say(**said: int) -> None:
    sys.stdout.write(json.dumps(said) + "\n")
    sys.stdout.flush()


def main() -> None:
    book = load()
    for line in sys.stdin:
        child = os.fork()
        if not child:
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            asyncio.run(_live(book, json.loads(line)))
            os._exit(0)
        _say(child=child)
        _, status = os.waitpid(child, 0)
        _say(status=os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
