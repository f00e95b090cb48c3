"""The command: run everything, print a table, and keep it where it is asked to."""

from __future__ import annotations

import argparse
import logging
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from torture import night
from torture.night_table import part_of
from torture.parts import PARTS
from torture.table import Row, table


def main() -> int:
    """Run what was asked for; 1 where the law was broken."""
    if sys.argv[1:2] == ["night"]:
        return night.main(sys.argv[2:])
    parser = argparse.ArgumentParser(prog="python -m torture", description="What the books live through.")
    parser.add_argument("--short", action="store_true", help="once each, for the CI")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="repeat a run")
    parser.add_argument("--only", default="", metavar="NAMES", help="kills,moments")
    parser.add_argument("--write", type=Path, metavar="FILE", help="keep the table")
    options = parser.parse_args()
    logging.disable()  # that a sick ledger is complained of is known
    wanted = set(filter(None, options.only.split(",")))
    rows = []
    nights = f"\n{part_of(options.write)}" if options.write else ""
    with tempfile.TemporaryDirectory() as folder:
        for row in _rows(Path(folder), seed=options.seed, is_short=options.short, wanted=wanted):
            print(row.line(), flush=True)
            rows.append(row)
            if options.write:  # after each row: a run that is ended has told what it saw
                text = table(rows, seed=options.seed, at=datetime.now(UTC), is_short=options.short)
                options.write.write_text(text + nights, encoding="utf-8")
    return 1 if any(row.broken for row in rows) else 0


def _rows(folder: Path, *, seed: int, is_short: bool, wanted: set[str]) -> Iterator[Row]:
    chance = random.Random(seed)
    for name, part in PARTS.items():
        if not wanted or name in wanted:
            yield from part(folder, chance, is_short=is_short)


if __name__ == "__main__":
    sys.exit(main())
