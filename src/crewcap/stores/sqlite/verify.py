"""`crewcap ledger verify`: everything that is derived, computed again from what was booked.

The movements are the truth. Budgets, open holds and limits in force are recomputed from them and from what was said;
the file, its schema (a fence that somebody dropped is no fence) and the order of the books are checked as well.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from crewcap.core.bundles import at
from crewcap.core.money import Money
from crewcap.stores import Verified, migrations
from crewcap.stores.calendar import Stretch, span_named
from crewcap.stores.sqlite import queries as q
from crewcap.stores.sqlite.limits import strongest
from crewcap.stores.sqlite.verify_beside import wrong_beside
from crewcap.stores.sqlite.windows import sums_in


def verify(db: sqlite3.Connection) -> Verified:
    """All checks; each problem is one line."""
    damage = tuple(wrong_file(db, "integrity_check"))
    if damage:
        return Verified(entries=0, problems=damage)
    schema = tuple(wrong_schema(db))
    if any(problem.startswith(("the table ", "the view ")) for problem in schema):
        return Verified(entries=0, problems=schema)  # what is to be read may not be there
    checks = (_wrong_order, _wrong_holds, _wrong_limits, _wrong_budgets, wrong_beside, _wrong_bundles)
    problems = (*schema, *(problem for check in checks for problem in check(db)))
    return Verified(entries=db.execute(q.COUNT_ENTRIES).fetchone()[0], problems=problems)


def wrong_file(db: sqlite3.Connection, check: str) -> Iterator[str]:
    """What SQLite finds wrong with the file: `quick_check`, or the slower `integrity_check`."""
    try:
        for (line,) in db.execute(f"PRAGMA {check}(20)").fetchall():
            if line != "ok":
                yield f"the file is damaged: {line}"
        for table, row, parent, _ in db.execute("PRAGMA foreign_key_check").fetchall():
            yield f"row {row} of {table} names a {parent} that does not exist"
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:  # the latter: a complaint that quotes what is no text
        yield f"the file is damaged: {error}"


def wrong_schema(db: sqlite3.Connection) -> Iterator[str]:
    """What differs from the schema that our migrations make."""
    ours = sqlite3.connect(":memory:", isolation_level=None)
    try:
        migrations.migrate(ours)
        expected = {(kind, name): sql for kind, name, sql in ours.execute(q.SCHEMA)}
    finally:
        ours.close()
    found = {(kind, name): sql for kind, name, sql in db.execute(q.SCHEMA)}
    for kind, name in sorted(expected.keys() | found.keys()):
        if (kind, name) not in found:
            yield f"the {kind} {name} is missing from the schema"
        elif (kind, name) not in expected:
            yield f"the {kind} {name} does not belong to the schema"
        elif found[kind, name] != expected[kind, name]:
            yield f"the {kind} {name} is not as crewcap made it"


def _wrong_order(db: sqlite3.Connection) -> Iterator[str]:
    count, newest = db.execute(q.GAPS).fetchone()
    if count != newest:
        yield f"{newest - count} of {newest} movements are missing"
    fell = db.execute(q.TIME_FELL).fetchone()
    if fell:
        yield f"movement {fell[0]} is booked before the one that it follows"


def _wrong_holds(db: sqlite3.Connection) -> Iterator[str]:
    for (hold,) in db.execute(q.WRONG_HOLDS):
        yield f"hold {hold} is not what its movements say"
    for (hold,) in db.execute(q.FORGOTTEN_HOLDS):
        yield f"hold {hold} is open, and its gateway has ended"
    for (hold,) in db.execute(q.STRAY_OPEN_HOLDS):
        yield f"open hold {hold} belongs to no hold"
    for (key,) in db.execute(q.WRONG_KEYS):
        yield f"the scopes of key {key} do not lead from itself to all"


def _wrong_limits(db: sqlite3.Connection) -> Iterator[str]:
    in_force = {(scope, window): limit for scope, window, *limit in db.execute(q.ALL_IN_FORCE).fetchall()}
    for scope, window in db.execute(q.SAID_ABOUT).fetchall():
        said = strongest(db.execute(q.SAID, {"scope": scope, "window": window}))
        found = in_force.pop((scope, window), None)
        if (said[:2] if said else None) != (tuple(found[:2]) if found else None):
            yield f"the limit in force on {scope} ({window}) is not the one that was said"
    for scope, window in in_force:
        yield f"nobody set the limit on {scope} ({window})"


def _wrong_budgets(db: sqlite3.Connection) -> Iterator[str]:
    for scope, window, label, starts_at, ends_at, _, *kept in db.execute(q.ALL_BUDGETS).fetchall():
        row = Stretch(label, starts_at, ends_at)
        if row != span_named(window, label, starts_at):
            yield f"{scope} ({label}): the row does not begin and end as its {window} does"
        sums = sums_in(db, scope, window, row)
        for column, found, expected in zip(("spent", "uncertain", "held"), kept, sums, strict=True):
            if found != expected:
                yield (
                    f"{scope} ({label}): {column} is {Money(found).exact()}, its entries say {Money(expected).exact()}"
                )
    for scope, window, label in db.execute(q.UNENFORCED):
        yield f"{scope} ({label}): the row does not carry the limit in force on its {window}"


def _wrong_bundles(db: sqlite3.Connection) -> Iterator[str]:
    """What reports read was added up as its movements say."""
    for (through,) in db.execute(q.BUNDLED_TOO_FAR):
        yield f"reports add up to movement {through}, which is not in the books"
    for quarter, key in db.execute(q.WRONG_BUNDLES):
        yield f"reports of key {key} at {at(quarter):%Y-%m-%d %H:%M} UTC do not add up to its entries"
