"""The price table as rows for people and machines, what differs between two tables, and what is wrong with one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from crewcap.core.money import PICO_PER_NANO
from crewcap.core.pricing import Modifiers, RateCard, Rates, UnknownPrice
from crewcap.errors import UsageError
from crewcap.prices.book import COMPILED_AT_START, Book, Offer
from crewcap.prices.overrides import Overrides, Span, matches
from crewcap.prices.sheet import PICO_PER_TOKEN_AT_ONE_USD_PER_MTOK

_KEY = ("provider", "model", "speed", "geo", "tier")
_COMPARED = ("usd_per_mtok", "above", "usd_each", "context_window", "max_output", "image_tokens")

_HOW_SAVED = "save a table in a new file, and name that: crewcap price list --json > prices.json"
_PRICE = re.compile(r"\d{1,20}(?:\.\d{1,20})?\Z", re.ASCII)

Row = Mapping[str, Any]  # one price of one model, in the words of `price list --json`


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One difference between two tables."""

    what: str  # "anthropic/claude-opus-4-7 fast"
    kind: Literal["added", "removed", "changed"]
    field: str = ""  # "usd_per_mtok.input", where it changed
    before: str = ""
    after: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something about the table that its user should know."""

    level: Literal["ok", "note", "problem"]
    text: str
    help: str = ""


def rows(book: Book, *, at: datetime, provider: str = "", model: str = "") -> list[Row]:
    """Every price in force at a moment: of one provider or of those compiled at start, of one name or of all."""
    if model:
        return [row for each in _holders(book, provider, model, at) for row in _rows_of(book, each, model, at)]
    providers = [provider] if provider else COMPILED_AT_START
    return [row for each in providers for name in book.models(each) for row in _rows_of(book, each, name, at)]


def read_rows(text: str, *, name: str) -> list[Row]:
    """A table saved by `price list --json`; `UsageError` where it is not one."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{name} is not JSON: {str(error)[:200]}", help=_HOW_SAVED) from error
    if not isinstance(found, list) or not all(isinstance(row, dict) and set(_KEY) <= set(row) for row in found):
        raise UsageError(f"{name} is not a saved price table", help=_HOW_SAVED)
    for number, row in enumerate(found, start=1):
        if not _is_row(row):
            raise UsageError(f"{name} is not a saved price table: row {number} has no prices", help=_HOW_SAVED)
    return found


def _is_row(row: Row) -> bool:
    """Whether what is compared has its form; a table of an older version may lack some of it."""
    return (
        _is_prices(row.get("usd_per_mtok"), at_least={"input", "output"})
        and _is_prices(row.get("usd_each", {}))
        and isinstance(row.get("above", []), list)
        and all(
            isinstance(tier, dict) and "prompt_tokens" in tier and _is_prices(tier.get("usd_per_mtok"))
            for tier in row.get("above", [])
        )
    )


def _is_prices(value: object, *, at_least: AbstractSet[str] = frozenset()) -> bool:
    """Decimals of dollars by name."""
    if not isinstance(value, dict) or not at_least <= set(value):
        return False
    return all(isinstance(usd, str) and _PRICE.match(usd) for usd in value.values())


def diff(before: Sequence[Row], after: Sequence[Row]) -> list[Change]:
    """What has to happen to the first table to make it the second."""
    old, new = ({_key(row): row for row in table} for table in (before, after))
    changes = [Change(what=_what(key), kind="removed") for key in old if key not in new]
    for key, row in new.items():
        if key not in old:
            changes.append(Change(what=_what(key), kind="added", after=_short(row)))
        else:
            changes.extend(_changes(key, old[key], row))
    return sorted(changes, key=lambda change: (change.what, change.field))


def check(book: Book, *, at: datetime, names: Iterable[tuple[str, str]] = ()) -> list[Finding]:
    """What is wrong with the table: its age, its versions, lines of ours that fit nothing, names without a price."""
    return [
        Finding(level="ok", text=f"price table {book.hash}, {book.source_version}, {book.compiled} cards compiled"),
        *_age(book, at),
        *_lines(book, at),
        *_unpriced(book, names, at),
    ]


def is_standard(row: Row) -> bool:
    """Whether a row is what a request costs that asks for nothing special."""
    return not modifiers_of(row)


def short(usd: str) -> str:
    """Dollars without idle zeros, but with two decimals: `2.50`, `0.0125`."""
    whole, _, part = usd.partition(".")
    return f"{whole}.{part.rstrip('0').ljust(2, '0')}"


def modifiers_of(row: Row) -> str:
    """The modifiers of a row that are not the standard ones."""
    plain = {"speed": "standard", "geo": "global", "tier": "standard"}
    return " ".join(str(row[name]) for name in plain if row[name] != plain[name])


def _holders(book: Book, provider: str, model: str, at: datetime) -> list[str]:
    """Providers that know a name; `UnknownPrice` where none does."""
    found = []
    unknown: UnknownPrice | None = None
    for each in [provider] if provider else COMPILED_AT_START:
        try:
            book.resolve(each, model, at=at)
            found.append(each)
        except UnknownPrice as error:
            unknown = error if unknown is None or (error.nearest and not unknown.nearest) else unknown
    if not found and unknown is not None:
        raise unknown
    return found


def _rows_of(book: Book, provider: str, model: str, at: datetime) -> Iterator[Row]:
    return (_row(offer) for offer in book.describe(provider, model, at=at).offers)


def _row(offer: Offer) -> Row:
    return {
        **row_of(offer.card, offer.modifiers),
        "list_usd_per_mtok": _dollars(offer.listed.rates),
        "source": offer.source,
        "rounded_up": offer.is_rounded,
    }


def row_of(card: RateCard, modifiers: Modifiers) -> Row:
    """A card by itself, wherever it is from."""
    return {
        "provider": card.provider,
        "model": card.model,
        "speed": modifiers.speed,
        "geo": modifiers.geo,
        "tier": modifiers.tier,
        "usd_per_mtok": _dollars(card.rates),
        "above": [{"prompt_tokens": tier.above, "usd_per_mtok": _dollars(tier.rates)} for tier in card.tiers],
        "usd_each": {name: _usd(pico) for name, pico in card.per_piece.items()},
        "context_window": card.context_window,
        "max_output": card.max_output,
        "image_tokens": card.image_tokens,
        "card": card.id,
    }


def _dollars(rates: Rates) -> dict[str, str]:
    names = ("input", "cache_read", "write_5m", "write_1h", "output")
    return {name: _usd(getattr(rates, name) * PICO_PER_TOKEN_AT_ONE_USD_PER_MTOK) for name in names}


def _usd(pico: int) -> str:
    """Dollars with nine decimals, as everywhere in JSON; with twelve where nine would lie."""
    places, unit = (9, PICO_PER_NANO) if pico % PICO_PER_NANO == 0 else (12, 1)
    whole, part = divmod(pico // unit, 10**places)
    return f"{whole}.{part:0{places}d}"


def _key(row: Row) -> tuple[str, ...]:
    return tuple(str(row[name]) for name in _KEY)


def _what(key: tuple[str, ...]) -> str:
    words = dict(zip(_KEY, key, strict=True))
    return f"{words['provider']}/{words['model']} {modifiers_of(words)}".rstrip()


def _short(row: Row) -> str:
    rates = row["usd_per_mtok"]
    return f"{short(rates['input'])} in, {short(rates['output'])} out"


def _changes(key: tuple[str, ...], before: Row, after: Row) -> Iterator[Change]:
    told = [name for name in _COMPARED if name in before and name in after]  # older tables tell less
    old, new = (dict(_flat(row, told)) for row in (before, after))
    for name in dict.fromkeys([*old, *new]):
        if old.get(name) != new.get(name):
            yield Change(
                what=_what(key), kind="changed", field=name, before=old.get(name, "none"), after=new.get(name, "none")
            )


def _flat(row: Row, told: Iterable[str]) -> Iterator[tuple[str, str]]:
    """The fields that are compared, one text each."""
    for name in told:
        value = row.get(name)
        if isinstance(value, Mapping):
            yield from ((f"{name}.{part}", str(text)) for part, text in value.items())
        elif isinstance(value, list):
            for tier in value:
                yield from (
                    (f"{name} {tier['prompt_tokens']} {part}", text) for part, text in tier["usd_per_mtok"].items()
                )
        elif value is not None:
            yield name, str(value)


def _age(book: Book, at: datetime) -> Iterator[Finding]:
    days, most = book.age_days(at), book.overrides.max_age_days
    if days is None:
        yield Finding(level="problem", text="nobody said when the prices were checked", help="set [checked] on")
    elif days > most:
        yield Finding(
            level="problem",
            text=f"the prices were checked {days} days ago, on {book.checked}; more than {most}",
            help="update crewcap, or put what changed into a price file of your own",
        )
    else:
        yield Finding(level="ok", text=f"checked {days} days ago, on {book.checked}")
    if book.overrides.library and book.overrides.library != book.source_version:
        yield Finding(
            level="note",
            text=f"{book.source_version} is installed, the prices were compared with {book.overrides.library}",
            help="crewcap price diff shows what our lines change",
        )


def _lines(book: Book, at: datetime) -> Iterator[Finding]:
    """Lines of ours that are over, or that fit no model."""
    ours = book.overrides
    for provider, patterns, span, what in _claims(ours):
        name = f"{what} for {provider}/{','.join(patterns)}"
        if span.end is not None and span.end <= at:
            yield Finding(level="note", text=f"{name} ended on {span.end:%Y-%m-%d}")
        if not any(matches(patterns, model) for model in book.models(provider)):
            yield Finding(level="problem", text=f"{name} fits no model", help="correct the pattern, or drop the line")
    yield from _unpriced(book, [(line.use_provider, line.use) for line in ours.aliases if line.span.holds(at)], at)
    rounded = sum(offer.is_rounded for each in COMPILED_AT_START for offer in _offers(book, each, at))
    if rounded:
        yield Finding(level="note", text=f"{rounded} cards have rates that were rounded up to a whole pico-dollar")


def _claims(ours: Overrides) -> Iterator[tuple[str, tuple[str, ...], Span, str]]:
    yield from ((line.provider, (line.model,), line.span, "our price") for line in ours.prices)
    yield from ((line.provider, line.models, line.span, f"our factor {line.tokens}") for line in ours.factors)
    yield from ((line.provider, line.models, line.span, f"our discount of {line.percent} %") for line in ours.discounts)
    yield from ((line.provider, line.models, Span(), "our figures") for line in ours.models)


def _offers(book: Book, provider: str, at: datetime) -> Iterator[Offer]:
    return (offer for model in book.models(provider) for offer in book.describe(provider, model, at=at).offers)


def _unpriced(book: Book, names: Iterable[tuple[str, str]], at: datetime) -> Iterator[Finding]:
    for provider, model in dict.fromkeys(names):
        try:
            _card(book, provider, model, at)
        except UnknownPrice as unknown:
            yield Finding(level="problem", text=str(unknown), help="name another model, or give it a [[price]]")


def _card(book: Book, provider: str, model: str, at: datetime) -> RateCard:
    return book.card(provider, book.resolve(provider, model, at=at), at=at)
