"""`crewcap price diff`: today's prices beside the library's, beside a saved table, beside those that a run paid."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from crewcap.cli.context import Call, common, with_call
from crewcap.cli.money.books import Books
from crewcap.cli.prices.book import book_of, overrides_option
from crewcap.cli.runs.view import find_one
from crewcap.core.budget import Scope
from crewcap.core.cards import Kept
from crewcap.core.harmless import one_line
from crewcap.core.pricing import UnknownPrice
from crewcap.errors import UsageError

if TYPE_CHECKING:
    from crewcap.prices import Book
    from crewcap.prices.compare import Change, Row

_HASH = re.compile(r"[0-9a-f]{12}\Z", re.ASCII)
_LARGEST_BYTES = 64 * 2**20  # of a saved table; ours has some hundred kilobytes
_WAYS = "name a file made by `crewcap price list --json`, a run, or the hash of a price table"


@click.command(epilog="Example: crewcap price diff fix-login.1")
@click.argument("before", metavar="[FILE|RUN|TABLE]", default="")
@overrides_option
@common
@with_call
def diff(call: Call, /, *, before: str, overrides: str | None) -> None:
    """Show what changed between two price tables: the library's own, or what you name, and today's.

    FILE is a table saved by `price list --json`; of a RUN (or key:ID) the prices that its requests were settled at are
    compared with today's prices of the same day; TABLE is the hash of a price table that requests were settled by.
    """
    from crewcap.prices import compare  # noqa: PLC0415  (the price data is a fifth of a second)

    old, new = _tables(call, before, book_of(call, overrides))
    changes = compare.diff(old, new)
    if call.as_json:
        call.emit([asdict(change) for change in changes])
        return
    for change in changes:
        call.out(_change(change))
    call.note(f"{len(changes)} differences" if changes else "no difference")


def _tables(call: Call, before: str, book: Book) -> tuple[Sequence[Row], Sequence[Row]]:
    from crewcap import prices  # noqa: PLC0415
    from crewcap.prices import compare  # noqa: PLC0415

    now = call.clock()
    if not before:
        return compare.rows(prices.library_alone(), at=now), compare.rows(book, at=now)
    if Path(before).is_file():
        return _saved(before), compare.rows(book, at=now)
    if _HASH.match(before):
        found = [each for each in Books(call=call).kept.values() if each.book == before]
        if not found:
            raise UsageError(f"no request was first settled by the price table {before}", help=_WAYS)
        return _pairs(book, found)
    if "/" in before or before.endswith(".json"):
        return _saved(before), compare.rows(book, at=now)
    return _pairs(book, _of_scope(call, before))


def _of_scope(call: Call, name: str) -> list[Kept]:
    """The cards of a run's requests, each at the time of its first one."""
    scope = Scope(name) if name.startswith("key:") else Scope(f"run:{find_one(call, name).id}")
    books = Books(call=call)
    found: dict[str, Kept] = {}
    lost = set()
    for entry in () if books.is_new else call.app.reports.pages(scope=scope):
        kept = books.kept.get(entry.card)
        if kept is not None and entry.card not in found:
            found[entry.card] = Kept(card=kept.card, modifiers=kept.modifiers, book=entry.book, at=entry.booked_at)
        elif entry.card and kept is None:
            lost.add(entry.card)
    if lost:
        call.note(f"{len(lost)} cards of it were not kept: they are from before cards were")
    return list(found.values())


def _pairs(book: Book, found: Sequence[Kept]) -> tuple[list[Row], list[Row]]:
    """Each card, and what today's table says for its own day."""
    from crewcap.prices.compare import row_of  # noqa: PLC0415

    old, new = [], []
    for each in found:
        old.append(row_of(each.card, each.modifiers))
        try:
            card = book.card(each.card.provider, each.card.model, at=each.at, modifiers=each.modifiers)
        except UnknownPrice:
            continue
        new.append(row_of(card, each.modifiers))
    return old, new


def _saved(file: str) -> list[Row]:
    from crewcap.prices import compare  # noqa: PLC0415

    try:
        with Path(file).open("rb") as content:
            text = content.read(_LARGEST_BYTES + 1)
        if len(text) > _LARGEST_BYTES:
            raise UsageError(f"{file} is larger than {_LARGEST_BYTES // 2**20} MiB", help=_WAYS)
        return compare.read_rows(text.decode(), name=file)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", "") or "it is not UTF-8 text"
        raise UsageError(f"{file} cannot be read: {reason}", help=_WAYS) from error


def _change(change: Change) -> str:
    what = one_line(change.what)
    if change.kind == "removed":
        return f"- {what}"
    if change.kind == "added":
        return f"+ {what}: {change.after}"
    return f"~ {what}: {one_line(change.field)} {_number(change.before)} -> {_number(change.after)}"


def _number(text: str) -> str:
    from crewcap.prices.compare import short  # noqa: PLC0415

    return short(text) if "." in text else one_line(text)
