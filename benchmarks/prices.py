"""What prices cost in time: a compiled card beside the library's calculator, compiling the book, history priced again.

    python -m benchmarks.prices

Every figure is CPU time of this process, the best of three; counts are fixed, so runs compare.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random

from genai_prices.data import providers
from genai_prices.types import Usage as LibraryUsage

from crewcap import prices
from crewcap.core.budget import ALL, HoldId, Scope
from crewcap.core.money import ZERO, Money
from crewcap.core.pricing import RateCard, Usage
from crewcap.prices.again import Again
from crewcap.prices.overrides import parse, shipped

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
MODEL = "claude-sonnet-5"
REQUESTS = 20_000
RAW = '{"input_tokens":%d,"cache_read_input_tokens":%d,"output_tokens":%d,"service_tier":"standard"}'
DEARER = '[[price]]\nprovider = "anthropic"\nmodel = "claude-sonnet-5"\nusd_per_mtok = { in = "3", out = "11" }\n'


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A closed request as the ledger tells it."""

    hold: HoldId
    spent: Money
    usage: Usage
    card: str
    raw_usage: str
    run: str = ""
    scopes: tuple[Scope, ...] = (ALL,)
    kind: str = "settled"
    model: str = MODEL
    provider: str = "anthropic"
    uncertain: Money = ZERO
    notional: Money = ZERO
    booked_at: datetime = NOW
    closed_at: datetime = NOW
    card_now: str = ""
    corrected: Money = field(default=ZERO)


def main() -> None:
    """Print one line a figure."""
    rng = Random(7)
    book = prices.load()
    card = book.card("anthropic", MODEL, at=NOW)
    usages = [
        Usage(input=rng.randrange(9_000), cache_read=rng.randrange(90_000), output=rng.randrange(2_000))
        for _ in range(REQUESTS)
    ]
    say("compile the book", cpu_s(prices.load), "")
    say("a compiled card", cpu_s(lambda: [card.cost(usage) for usage in usages]) / REQUESTS, "a request")
    say(
        "look a card up", cpu_s(lambda: [book.card("anthropic", MODEL, at=NOW) for _ in usages]) / REQUESTS, "a request"
    )
    some = usages[: REQUESTS // 20]
    say("the library's calculator", cpu_s(lambda: by_library(some)) / len(some), "a request")
    entries = [entry(card, number, usage) for number, usage in enumerate(usages)]
    say("priced again, same table", cpu_s(lambda: again(book, entries)) / REQUESTS, "a request")
    other = prices.Book(parse(DEARER, name="dearer").over(shipped()))
    say("priced again, other table", cpu_s(lambda: again(other, entries)) / REQUESTS, "a request")


def entry(card: RateCard, number: int, usage: Usage) -> Entry:
    """Settled at this card."""
    raw = RAW % (usage.input, usage.cache_read, usage.output)
    return Entry(hold=HoldId(f"h{number}"), spent=card.cost(usage), usage=usage, card=card.id, raw_usage=raw)


def again(book: prices.Book, entries: list[Entry]) -> None:
    """All of them."""
    pricing = Again(book=book, kept={}, billed_as=lambda provider: (provider, provider))
    for each in entries:
        pricing.price(each)


def by_library(usages: list[Usage]) -> None:
    """As it is meant to be asked: a usage at a time."""
    provider = next(each for each in providers if each.id == "anthropic")
    info = next(each for each in provider.models if each.id == MODEL)
    for usage in usages:
        told = LibraryUsage(input_tokens=usage.prompt, cache_read_tokens=usage.cache_read, output_tokens=usage.output)
        info.calc_price(told, provider, genai_request_timestamp=NOW)


def cpu_s(work: Callable[[], object]) -> float:
    """The best of three."""
    found = []
    for _ in range(3):
        before = time.process_time()
        work()
        found.append(time.process_time() - before)
    return min(found)


def say(what: str, seconds: float, of: str) -> None:
    """One figure with its unit."""
    shown = f"{seconds * 1_000:,.0f} ms" if seconds > 0.01 else f"{seconds * 1_000_000:,.2f} us"
    sys.stdout.write(f"{what:<28}{shown:>12} CPU {of}\n")


if __name__ == "__main__":
    main()
