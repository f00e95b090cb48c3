"""A process that does something alone until it is killed: `python -m tests.stores.being_alone KIND URL HOME`."""

from __future__ import annotations

import sys

from tests.stores.run_books import opened_by


def main() -> None:
    kind, url, home = sys.argv[1:]
    with opened_by(kind, url, home).alone("recovery") as is_alone:
        sys.stdout.write("alone\n" if is_alone else "not alone\n")
        sys.stdout.flush()
        sys.stdin.readline()


if __name__ == "__main__":
    main()
