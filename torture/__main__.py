"""The command: run everything, print a table, and keep it where it is asked to."""

from __future__ import annotations

import argparse
import logging
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from torture import night
from torture.fleet_table import FleetRow, sections
from torture.page import keep
from torture.parts import PARTS, Outcome
from torture.table import Row, table
from torture.zoo import ZooRow, section


def main() -> int:
    """Run what was asked for; 1 where the law was broken."""
    if sys.argv[1:2] == ["night"]:
        return night.main(sys.argv[2:])
    parser = argparse.ArgumentParser(prog="python -m torture", description="What the books live through.")
    parser.add_argument("--short", action="store_true", help="once each, for the CI")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="repeat a run")
    parser.add_argument("--only", default="", metavar="NAMES", help=f"some of {','.join(PARTS)}")
    parser.add_argument("--write", type=Path, metavar="FILE", help="keep the table")
    options = parser.parse_args()
    logging.disable()  # that a sick ledger is complained of is known
    wanted = set(filter(None, options.only.split(",")))
    rows: list[Outcome] = []
    with tempfile.TemporaryDirectory() as folder:
        for row in _rows(Path(folder), seed=options.seed, is_short=options.short, wanted=wanted):
            print(row.line(), flush=True)
            rows.append(row)
            if options.write:  # after each row: a run that is ended has told what it saw
                for part in _told(rows, seed=options.seed, is_short=options.short):
                    keep(options.write, part)
    return 1 if any(row.broken for row in rows) else 0


def _rows(folder: Path, *, seed: int, is_short: bool, wanted: set[str]) -> Iterator[Outcome]:
    chance = random.Random(seed)
    for name, part in PARTS.items():
        if not wanted or name in wanted:
            yield from part(folder, chance, is_short=is_short)


def _told(rows: Sequence[Outcome], *, seed: int, is_short: bool) -> Iterator[str]:
    """The parts of the page that these rows are told in."""
    now = datetime.now(UTC)
    if books := [row for row in rows if isinstance(row, Row)]:
        yield table(books, seed=seed, at=now, is_short=is_short)
    yield from sections([row for row in rows if isinstance(row, FleetRow)], seed=seed, at=now)
    if beasts := [row for row in rows if isinstance(row, ZooRow)]:
        yield section(beasts, now)


if __name__ == "__main__":
    sys.exit(main())
