"""The same with a ledger in PostgreSQL: `python -m tests.stores.postgres_process HOME URL ACTION NAME`."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.contracts.clocks import Clocks
from tests.stores.ledger_process import live

from crewcap.home import Home
from crewcap.stores.postgres.ledger import PostgresLedger


def main() -> None:
    home, url, action, name, *rest = sys.argv[1:]
    clocks = Clocks()
    ledger = PostgresLedger(Home(Path(home)), url, monotonic=clocks.monotonic, fixed_clock=clocks.clock, busy_s=30.0)
    live(ledger, action, name, *rest)


if __name__ == "__main__":
    main()
