"""A process with a ledger of its own, for the tests that need more than one: `python -m tests.stores.ledger_process`.

HOME take NAME COUNT   waits for a line, then tries to hold a cent COUNT times; prints how many were granted
HOME hold NAME         holds thirty cents, prints "held", and waits to be killed
HOME work NAME         holds and settles a cent again and again, telling of each when it is done, until it is killed
"""

from __future__ import annotations

import sys
from itertools import count
from pathlib import Path

from tests.contracts.clocks import Clocks
from tests.stores.books import reserve, settle

from crewcap.core.budget import Granted
from crewcap.home import Home
from crewcap.stores import Ledger
from crewcap.stores.sqlite.ledger import SqliteLedger


def main() -> None:
    home, action, name, *rest = sys.argv[1:]
    clocks = Clocks()
    ledger = SqliteLedger(Home(Path(home)), clock=clocks.clock, monotonic=clocks.monotonic, busy_s=30.0)
    live(ledger, action, name, *rest)


def live(ledger: Ledger, action: str, name: str, *rest: str) -> None:
    """Do what the action says with a ledger of any kind."""
    boot = ledger.start_boot()
    _say("ready")
    if action == "take":
        sys.stdin.readline()
        decisions = [reserve(ledger, boot, f"{name}-{number}", "0.01") for number in range(int(rest[0]))]
        granted = [number for number, decision in enumerate(decisions) if isinstance(decision, Granted)]
        for number in granted:
            settle(ledger, f"{name}-{number}", "0.01")
        _say(str(len(granted)))
        ledger.close()
    elif action == "work":
        for number in count():
            assert isinstance(reserve(ledger, boot, f"{name}-{number}", "0.01"), Granted)
            _say(f"held {name}-{number}")
            assert settle(ledger, f"{name}-{number}", "0.01")
            _say(f"settled {name}-{number}")
    else:
        assert isinstance(reserve(ledger, boot, name, "0.30"), Granted)
        _say("held")
        sys.stdin.readline()


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
