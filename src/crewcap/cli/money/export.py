"""`crewcap export`: the books for other tools, a row at a time however many there are; a dashboard for `/metrics`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources
from typing import Any

import click

from crewcap.cli.context import Call, common, remember, with_call
from crewcap.cli.money.books import Books
from crewcap.cli.money.report_rows import TOKENS
from crewcap.cli.screen import csv_cells
from crewcap.cli.screen.figures import many
from crewcap.cli.screen.period import Period, period_options, read_period
from crewcap.cli.screen.written import writing
from crewcap.core import focus
from crewcap.core.budget import span_of
from crewcap.core.bundles import Bundle, at
from crewcap.core.cards import settled_at
from crewcap.core.money import Money
from crewcap.core.pricing import RateCard, UnknownPrice
from crewcap.stores import Entry, LabelKind

_CHUNK = 65_536  # letters that are written at once
_SCOPES = ("issue", "repo", "team", "user", "workflow")
_HEAD = (
    "hold", "at", "closed_at", "run", "key", *_SCOPES, "provider", "model", "agent", "kind", "state", "cost_usd",
    "spent_usd", "uncertain_usd", "notional_usd", *TOKENS, "pieces", "request_id", "card", "price_table", "reason",
    "incident",
)  # fmt: skip

_output = click.option("--output", "-o", "file", metavar="FILE", help="Write to a file; else to the standard output.")


@click.group(epilog="Example: crewcap export focus --since 2026-11 --output november.csv")
@common
@click.pass_context
def export(ctx: click.Context, /, **options: object) -> None:
    """Write the books for other tools: FOCUS 1.2, CSV, JSON lines; and a dashboard for the gateway's metrics."""
    remember(ctx, options)


@export.command("focus", epilog="Example: crewcap export focus --since 2026-11 --output november.csv")
@click.option("--by-run", is_flag=True, help="Rows of each run, with its issue; the file grows with their number.")
@_output
@period_options
@common
@with_call
def focus_(call: Call, /, *, by_run: bool, file: str | None, **words: str) -> None:
    """FOCUS 1.2 as CSV: a row a day, model, token kind, workflow, team and repository."""
    books, period = Books(call=call), _period(call, words)
    found = _Focus(books=books, period=period, by_run=by_run)
    number = 0
    with _out(call, file) as out:
        number = csv_cells.write(out, focus.COLUMNS, found.rows())
    _done(call, number, "row", found.billed, file)


@export.command("csv", epilog="Example: crewcap export csv --since yesterday --output yesterday.csv")
@_output
@period_options
@common
@with_call
def csv_(call: Call, /, *, file: str | None, **words: str) -> None:
    """Every closed request as a row of CSV."""
    entries, number = _Entries(_entries(call, _period(call, words))), 0
    with _out(call, file) as out:
        number = csv_cells.write(out, _HEAD, (_cells(entry) for entry in entries))
    _done(call, number, "request", entries.cost, file)


@export.command("json", epilog="Example: crewcap export json --since yesterday | jq .cost_usd")
@_output
@period_options
@common
@with_call
def json_(call: Call, /, *, file: str | None, **words: str) -> None:
    """Every closed request as an object on a line of its own."""
    entries, number = _Entries(_entries(call, _period(call, words))), 0
    with _out(call, file) as out:
        for number, entry in enumerate(entries, start=1):  # noqa: B007  (the last number is the count)
            out.write(json.dumps(_object(entry), ensure_ascii=False, separators=(",", ":")) + "\n")
    _done(call, number, "request", entries.cost, file)


@export.command("grafana", epilog="Example: crewcap export grafana --output crewcap-dashboard.json")
@_output
@common
@with_call
def grafana(call: Call, /, *, file: str | None) -> None:
    """A dashboard for the gateway's `/metrics`, to be imported into Grafana."""
    text = resources.files("crewcap.cli.money").joinpath("grafana.json").read_text(encoding="utf-8")
    with _out(call, file) as out:
        out.write(text)


def _period(call: Call, words: dict[str, str]) -> Period:
    return read_period(**words, now=call.clock(), default_zone=call.app.settings.timezone)


def _done(call: Call, number: int, what: str, cost: Money, file: str | None) -> None:
    """How much that was; beside the result."""
    if call.has_reader:
        call.note(f"{many(number, what)}, {cost.exact()}" + (f", written to {file}" if file else ""))


# --- where it goes


@dataclass(slots=True)
class _Buffered:
    """Takes rows and hands them on in large pieces."""

    write_out: Callable[[str], object]
    _held: list[str] = field(default_factory=list)
    _size: int = 0

    def write(self, text: str, /) -> None:
        """Take some text."""
        self._held.append(text)
        self._size += len(text)
        if self._size >= _CHUNK:
            self.flush()

    def flush(self) -> None:
        """Hand on what is held."""
        text, self._held, self._size = "".join(self._held), [], 0
        if text:
            self.write_out(text)


class _NoReaderError(Exception):
    """Whoever read our rows has left."""


@contextmanager
def _out(call: Call, file: str | None) -> Iterator[_Buffered]:
    """The file, whole or not at all; or the standard output, as long as somebody reads it."""
    if file is None:
        buffered = _Buffered(lambda text: _say(call, text))
        with suppress(_NoReaderError):
            yield buffered
            buffered.flush()
        return
    with writing(file) as stream:
        buffered = _Buffered(stream.write)
        yield buffered
        buffered.flush()


def _say(call: Call, text: str) -> None:
    call.out(text, end="")
    if not call.has_reader:
        raise _NoReaderError


# --- requests


@dataclass(slots=True)
class _Entries:
    """Requests on their way out, added up in passing."""

    source: Iterator[Entry]
    cost: Money = field(default_factory=lambda: Money(0))

    def __iter__(self) -> Iterator[Entry]:
        nano = 0
        for entry in self.source:
            nano += entry.spent.nano + entry.uncertain.nano
            yield entry
        self.cost = Money(nano)


def _entries(call: Call, period: Period) -> Iterator[Entry]:
    if call.app.is_new:
        return iter(())
    return call.app.reports.pages(since=period.since, until=period.until)


def _object(entry: Entry) -> dict[str, Any]:
    """A request for machines."""
    scopes = {kind: _scope(entry, kind) or None for kind in _SCOPES}
    return {
        "hold": entry.hold,
        "at": entry.booked_at.isoformat(),
        "closed_at": entry.closed_at.isoformat(),
        "run": entry.run or None,
        "key": entry.key,
        **scopes,
        "provider": entry.provider,
        "model": entry.model,
        "agent": entry.agent or None,
        "kind": entry.kind,
        "state": "uncertain" if entry.uncertain else "measured",
        "cost_usd": (entry.spent + entry.uncertain).exact(),
        "spent_usd": entry.spent.exact(),
        "uncertain_usd": entry.uncertain.exact(),
        "notional_usd": entry.notional.exact(),
        "tokens": {kind: getattr(entry.usage, kind) for kind in TOKENS},
        "pieces": dict(entry.usage.pieces),
        "request_id": entry.request_id or None,
        "card": entry.card or None,
        "price_table": entry.book,
        "reason": entry.reason or None,
        "incident": entry.incident or None,
    }


def _cells(entry: Entry) -> Sequence[str]:
    """The same as cells, in the order of the head."""
    found = _object(entry)
    flat = {**found, **found["tokens"], "pieces": json.dumps(found["pieces"]) if found["pieces"] else ""}
    return ["" if flat[name] is None else str(flat[name]) for name in _HEAD]


def _scope(entry: Entry, kind: str) -> str:
    return next((scope.partition(":")[2] for scope in entry.scopes if scope.startswith(f"{kind}:")), "")


# --- FOCUS


@dataclass(slots=True, kw_only=True)
class _Focus:
    """FOCUS rows on their way out, what they bill added up in passing."""

    books: Books
    period: Period
    by_run: bool
    billed: Money = field(default_factory=lambda: Money(0))

    def rows(self) -> Iterator[Sequence[str]]:
        """Every row."""
        bundles = self.books.bundles(self.period)
        self.billed = Money(sum(bundle.spent + bundle.uncertain for bundle in bundles))
        yield from focus.rows(bundles, place_of=self._place_of(), priced_of=self._priced_of())

    def _place_of(self) -> focus.PlaceOf:
        zone, books = self.period.zone, self.books
        kinds: tuple[LabelKind, ...] = ("team", "repo", "workflow", "agent", "phase")
        labels = {kind: books.labels(kind) for kind in kinds}
        runs, issues = (books.labels("run"), books.labels("issue")) if self.by_run else ({}, {})

        @lru_cache(None)
        def place(day: str, team: str, *names: str) -> focus.Place:
            first = _midnights[day]
            repo, workflow, agent, phase, run, issue = names
            spans = [span_of(window, first, zone, zone.key) for window in ("day", "month")]
            return focus.Place(
                starts_at=spans[0].starts_at,
                ends_at=spans[0].ends_at,
                month_starts_at=spans[1].starts_at,
                month_ends_at=spans[1].ends_at,
                team=team,
                run=run,
                run_name=run,
                tags=(("repo", repo), ("issue", issue), ("workflow", workflow), ("agent", agent), ("phase", phase)),
            )

        _midnights: dict[str, Any] = {}

        @lru_cache(None)
        def day_of(quarter: int) -> str:
            label = f"{at(quarter).astimezone(zone):%Y-%m-%d}"
            _midnights.setdefault(label, at(quarter))
            return label

        def place_of(bundle: Bundle) -> focus.Place:
            names = (labels[kind].get(bundle.key, "") for kind in kinds)
            return place(day_of(bundle.quarter), *names, runs.get(bundle.key, ""), issues.get(bundle.key, ""))

        return place_of

    def _priced_of(self) -> focus.PricedOf:
        book, known = self.books.call.app.book, {}  # type: ignore[var-annotated]  # filled below

        def priced(bundle: Bundle) -> focus.Priced | None:
            name = (bundle.provider, bundle.model, bundle.card)
            if name not in known:
                prices, moments = self.books.prices_of(bundle.provider), (at(bundle.quarter), at(bundle.quarter + 1))
                card, modifiers = settled_at(book, prices, bundle.model, bundle.card, moments, kept=self.books.kept)
                known[name] = None
                if card is not None and modifiers is not None:
                    listed = self._listed(prices, bundle, card)
                    known[name] = focus.Priced(card=card, listed=listed, modifiers=modifiers)
            return known[name]

        return priced

    def _listed(self, prices: str, bundle: Bundle, card: RateCard) -> RateCard:
        """The same card without negotiated discounts."""
        try:
            offers = self.books.call.app.book.describe(prices, bundle.model, at=at(bundle.quarter)).offers
        except UnknownPrice:
            return card
        return next((offer.listed for offer in offers if offer.card.id == card.id), card)
