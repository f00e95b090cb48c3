"""Waiting between two looks, with an eye on who reads what we say."""

from __future__ import annotations

import select
import sys
import time

from crewcap.cli.context import Call


def pause(call: Call, seconds: float) -> None:
    """So long, or until our reader has left: that is noticed here, also when there is nothing to say to it."""
    try:
        results = sys.stdout.fileno()
    except (OSError, ValueError):  # no file at all
        time.sleep(seconds)
        return
    poll = select.poll()
    poll.register(results, 0)
    if any(event & (select.POLLERR | select.POLLNVAL) for _, event in poll.poll(seconds * 1_000)):
        call.has_reader = False
