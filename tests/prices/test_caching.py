"""What caching saves, by the cards that requests are settled at: the figures of docs/caching.md."""

from __future__ import annotations

from datetime import datetime
from fractions import Fraction
from pathlib import Path

import pytest

from crewcap.core.money import Money
from crewcap.core.pricing import RateCard, Usage
from crewcap.prices import Book

PAGE = Path(__file__).parents[2] / "docs" / "caching.md"
CONTEXT, MESSAGES = 50_000, 20
WRITES = {"write_5m": Usage(write_5m=CONTEXT), "write_1h": Usage(write_1h=CONTEXT)}
NAMES = {
    "Opus 4": "claude-opus-4-20250514",
    "Sonnet 4": "claude-sonnet-4-20250514",
    "Haiku 4.5": "claude-haiku-4-5",
    "Sonnet 5": "claude-sonnet-5",
    "Opus 5.5": "claude-opus-5-5",
    "Sonnet 5.5": "claude-sonnet-5-5",
    "Fable 5.1": "claude-fable-5-1",
    "Fable 5.2": "claude-fable-5-2",
    "Mythos 5.2": "claude-mythos-5-2",
}


def page() -> list[list[str]]:
    """The cells of every row of every table."""
    lines = PAGE.read_text("utf-8").splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")]


def row(name: str, cells: int) -> list[str]:
    return next(each for each in page() if each[0].startswith(name) and len(each) == cells)


def conversation(card: RateCard, write: str) -> Money:
    """The same context with every message: paid anew, or written once and read."""
    if not write:
        return Money(sum(card.cost(Usage(input=CONTEXT)).nano for _ in range(MESSAGES)))
    first = card.cost(WRITES[write])
    return Money(first.nano + (MESSAGES - 1) * card.cost(Usage(cache_read=CONTEXT)).nano)


def saving(card: RateCard, write: str) -> Fraction:
    return Fraction(conversation(card, "").nano, conversation(card, write).nano)


def card_of(book: Book, name: str, now: datetime) -> RateCard:
    return book.card("anthropic", NAMES[name], at=now)


@pytest.mark.parametrize("name", ["Opus 4", "Sonnet 4", "Haiku 4.5"])
def test_the_published_table_is_the_price_book_s(book: Book, name: str, now: datetime) -> None:
    rates = card_of(book, name, now).rates
    told = [Money.usd(cell) for cell in row(f"{name}", 4)[1:]]
    assert told == [Money.from_pico(each * 10**6) for each in (rates.input, rates.output, rates.cache_read)]


@pytest.mark.parametrize(
    ("start", "write"),
    [("without caching", ""), ("cached for 5 minutes", "write_5m"), ("cached for an hour", "write_1h")],
)
def test_fifty_thousand_tokens_times_twenty_messages(book: Book, start: str, write: str, now: datetime) -> None:
    card = card_of(book, "Sonnet 4", now)
    _, tokens, usd = row(start, 3)
    cost = conversation(card, write)
    assert usd == cost.show()
    assert int(tokens.replace(",", "")) == Fraction(cost.nano * 1_000, card.rates.input)


def test_the_true_saving_is_no_factor_of_ten(book: Book, now: datetime) -> None:
    """6.3 and 5.1; a read alone saves ten."""
    card = card_of(book, "Sonnet 4", now)
    assert (f"{float(saving(card, 'write_5m')):.2f}", f"{float(saving(card, 'write_1h')):.2f}") == ("6.35", "5.13")
    assert card.rates.input == 10 * card.rates.cache_read
    said = PAGE.read_text("utf-8")
    assert "**6.3** with 5-minute writes and **5.1** with 1-hour" in said


@pytest.mark.parametrize("name", NAMES)
def test_each_model_saves_what_the_page_says(book: Book, name: str, now: datetime) -> None:
    told = next(each for each in page() if len(each) == 3 and name in each[0].split(", "))
    card = card_of(book, name, now)
    assert told[1:] == [f"{float(saving(card, write)):.1f}" for write in ("write_5m", "write_1h")]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("write", "pays_at"), [("write_5m", 1), ("write_1h", 2)])
def test_a_write_pays_after_one_re_read_and_after_two(
    book: Book, name: str, write: str, pays_at: int, now: datetime
) -> None:
    card = card_of(book, name, now)

    def cached(reads: int) -> int:
        return card.pico(WRITES[write]) + reads * card.pico(Usage(cache_read=CONTEXT))

    def plain(reads: int) -> int:
        return (1 + reads) * card.pico(Usage(input=CONTEXT))

    assert [cached(reads) < plain(reads) for reads in range(4)] == [reads >= pays_at for reads in range(4)]
