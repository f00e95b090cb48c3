"""Put the tables that benchmarks wrote into docs/promises.md.

    python -m tools.promises            write them
    python -m tools.promises --check    say whether the page shows what the benchmarks' files say (exit 1 if not)

A table stands between `<!-- RESULT: TITLE -->` and `<!-- end -->`, where RESULT names a file of benchmarks/results/ and
TITLE begins the title of one of its tables. What is between the two is never written by hand.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "promises.md"
RESULTS = ROOT / "benchmarks" / "results"

_PLACE = re.compile(r"(<!-- (?P<result>[a-z_]+): (?P<title>[^>]*?) -->\n).*?(<!-- end -->\n)", re.DOTALL)


def main(arguments: list[str]) -> int:
    """Write the page, or compare it."""
    old = PAGE.read_text("utf-8")
    new = filled(old)
    if "--check" in arguments:
        if new != old:
            print("stale: docs/promises.md; `make docs` writes it again", file=sys.stderr)
        return int(new != old)
    PAGE.write_text(new, "utf-8")
    return 0


def filled(page: str) -> str:
    """The page with every table as its benchmark wrote it."""
    return _PLACE.sub(lambda found: found[1] + _shown(found["result"], found["title"]) + found[4], page)


def _shown(result: str, title: str) -> str:
    report = json.loads((RESULTS / f"{result}.json").read_text("utf-8"))
    table = next(each for each in report["tables"] if each["title"].startswith(title))
    facts = (
        f"`{report['command']}`, {report['date']}; {report['versions']}; {report['machine']}; load {report['load']}."
    )
    return "\n".join(["", *_lines(table), "", facts, ""]) + "\n"


def _lines(table: dict[str, Any]) -> list[str]:
    rows = [table["head"], ["---"] * len(table["head"]), *table["rows"]]
    return [f"| {' | '.join(row)} |" for row in rows]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
