"""Compiled cards cost what the library's own calculator says, to the last unit; where it guesses, we do not."""

import subprocess
import sys
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from random import Random

import pytest
from genai_prices.data import providers
from genai_prices.types import Provider
from genai_prices.types import Usage as LibraryUsage

from crewcap.core.pricing import Modifiers, RateCard, UnknownPrice, Usage
from crewcap.prices import Book, genai
from crewcap.prices.listing import Listing, Silence
from crewcap.prices.sheet import Sheet

DAYS = [datetime(2025, 6, 1, 12, tzinfo=UTC), datetime(2026, 3, 13, tzinfo=UTC), datetime(2026, 11, 22, 18, tzinfo=UTC)]
CONDITIONS = {
    "standard": (Modifiers(), {}),
    "batch": (Modifiers(tier="batch"), {"processing": "batch"}),
    "fast": (Modifiers(speed="fast"), {"speed": "fast"}),
    "fast tier": (Modifiers(speed="fast"), {"service_tier": "fast"}),
    "flex": (Modifiers(tier="flex"), {"service_tier": "flex"}),
    "priority": (Modifiers(tier="priority"), {"service_tier": "priority"}),
}
PICO = 10**12


def usage_for(card: RateCard, rng: Random) -> Usage:
    """Any usage that the card can price, small or beyond every tier."""
    size = rng.choice([10, 50_000, 150_000, 400_000])
    return Usage(
        input=rng.randrange(size),
        cache_read=rng.randrange(size),
        write_5m=rng.randrange(size),
        write_1h=0 if card.unpriced else rng.randrange(size),
        output=rng.randrange(128_000),
        pieces={"web_search": rng.randrange(5)} if "web_search" in card.per_piece else {},
    )


def in_its_words(usage: Usage) -> LibraryUsage:
    """The library counts what is in the cache as input too."""
    return LibraryUsage(
        input_tokens=usage.prompt,
        cache_read_tokens=usage.cache_read,
        cache_write_tokens=usage.write_5m + usage.write_1h,
        cache_write_5m_tokens=usage.write_5m,
        cache_write_1h_tokens=usage.write_1h,
        output_tokens=usage.output,
        web_searches=usage.pieces.get("web_search", 0),
    )


def exact_pico(card: RateCard, usage: Usage) -> int:
    fees = sum(count * card.per_piece[piece] for piece, count in usage.pieces.items())
    return card.rates_for(usage.prompt).pico(usage) + fees


def says_the_library(provider: Provider, model: str, usage: Usage, at: datetime, context: dict[str, str]) -> Fraction:
    info = next(each for each in provider.models if each.id == model)
    found = info.calc_price(in_its_words(usage), provider, genai_request_timestamp=at, price_context=context)
    return Fraction(found.total_price) * PICO


@pytest.mark.parametrize("name", CONDITIONS)
def test_cards_cost_exactly_what_the_library_calculates(library: Book, name: str) -> None:
    """Every model of every provider, on three days, at random usages; dearer only where a rate was rounded up."""
    rng, (modifiers, context) = Random(name), CONDITIONS[name]
    compared = 0
    for provider, model, at in (
        (each, model, at) for each in providers for model in library.models(each.id) for at in DAYS
    ):
        if not _is_sold(provider, model, at, context):
            continue
        try:
            offers = library.describe(provider.id, model, at=at).offers
            offer = next(each for each in offers if each.modifiers == modifiers)
        except (UnknownPrice, StopIteration):
            continue
        usage = usage_for(offer.card, rng)
        theirs = says_the_library(provider, model, usage, at, context)
        ours = exact_pico(offer.card, usage)
        tokens = usage.prompt + usage.output
        assert theirs <= ours <= theirs + (tokens if offer.is_rounded else 0), f"{provider.id}/{model} on {at}"
        compared += 1
    assert compared >= {"standard": 5_000, "batch": 100, "fast": 5, "fast tier": 20, "flex": 20, "priority": 20}[name]


def _is_sold(provider: Provider, model: str, at: datetime, context: dict[str, str]) -> bool:
    """Whether the library has prices of its own for this context; without them it answers with the standard ones."""
    if not context:
        return True
    info = next(each for each in provider.models if each.id == model)
    variants = [each for each in info.price_variants or () if each.when == context]
    return any(each.constraint is None or each.constraint.active(at) for each in variants)


@pytest.mark.parametrize("provider", ["anthropic", "openai", "google"])
def test_the_rates_of_the_vendors_themselves_are_whole_numbers(book: Book, provider: str, now: datetime) -> None:
    """Halved for batches and times 1.1 included; only routed providers publish the tails of floats."""
    offers = [offer for model in book.models(provider) for offer in book.describe(provider, model, at=now).offers]
    assert len(offers) > 60
    assert [offer.card.model for offer in offers if offer.is_rounded] == []


def test_a_modifier_that_the_library_would_ignore_is_unknown_here(library: Book) -> None:
    """It prices Opus 4.7 fast, and batches before 2026-10-14, at the standard rate without a word."""
    late, early = datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 10, 13, 23, 59, tzinfo=UTC)
    listing = next(each for each in genai.listings("anthropic") if each.id == "claude-opus-4-7")
    sheet = genai.sheet_at(listing, speed="standard", tier="batch", at=late)
    assert isinstance(sheet, Sheet)
    assert sheet.kinds["input"].base == Decimal("2.5")
    for speed, tier, at in [
        ("fast", "standard", late),
        ("standard", "batch", early),
        ("fast", "batch", late),
        ("standard", "priority", late),
        ("standard", "flexible", late),
    ]:
        unsaid = genai.sheet_at(listing, speed=speed, tier=tier, at=at)
        assert isinstance(unsaid, Silence)
        assert "claude-opus-4-7" in unsaid.model
    del library


@pytest.mark.parametrize(
    ("provider", "model", "word"),
    [
        ("perplexity", "sonar", "requests"),
        ("google", "gemini-2.5-flash-image", "output image tokens"),
        ("openai", "text-embedding-3-small", "input and output"),
        ("openai", "whisper-1", "input and output"),
    ],
)
def test_what_cannot_be_held_by_counting_tokens_is_unknown_with_the_reason(
    library: Book, provider: str, model: str, word: str, now: datetime
) -> None:
    with pytest.raises(UnknownPrice, match=word):
        library.card(provider, model, at=now)


def test_sound_and_pictures_in_a_prompt_are_pieces_at_their_own_price(library: Book, now: datetime) -> None:
    card = library.card("google", "gemini-2.5-flash", at=now)
    assert card.per_piece["input_audio_token"] > card.rates.input


def test_a_price_by_the_hour_of_the_day_has_an_epoch_for_each_part_of_the_day() -> None:
    listing = Listing(provider="acme", id="owl", spellings=("owl",), daily=(time(0, 30), time(16, 30)))
    noon, night = datetime(2026, 11, 22, 12, tzinfo=UTC), datetime(2026, 11, 22, 17, tzinfo=UTC)
    assert listing.epoch(noon) != listing.epoch(night)
    assert listing.epoch(noon) == listing.epoch(noon + timedelta(days=1))
    assert list(listing.moments(noon, noon + timedelta(hours=4))) == [noon]
    assert night.replace(hour=16, minute=30) in list(listing.moments(noon, night))
    assert len(list(listing.moments(noon, noon + timedelta(days=1)))) == 3


def test_every_model_with_a_price_by_the_hour_is_reached_at_both_of_its_prices(library: Book, now: datetime) -> None:
    day = timedelta(days=1)
    nightly = [each for each in genai.listings("deepseek") if each.daily]
    assert nightly
    for listing in nightly:
        start = now - timedelta(days=300)  # while the night's discount was sold
        cards = library.reachable("deepseek", listing.id, start=start, end=start + day, modifiers=[Modifiers()])
        parts = {library.card("deepseek", listing.id, at=start + timedelta(hours=hour)).id for hour in range(24)}
        assert parts <= {card.id for card in cards}


def test_loading_prices_opens_no_connection() -> None:
    """The library can fetch newer prices; ours are the ones that were installed."""
    watch = (
        "import sys\n"
        "seen = []\n"
        "sys.addaudithook(lambda event, args: seen.append(event) if event.startswith('socket.conn') else None)\n"
        "import threading\n"
        "from crewcap import prices\n"
        "prices.load()\n"
        "assert not seen, seen\n"
        "assert threading.active_count() == 1\n"
    )
    subprocess.run([sys.executable, "-c", watch], check=True, timeout=60)
