"""The price book: what a name means, what it costs at a time, and everything that a request may meet."""

import pickle
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crewcap.core.money import Money
from crewcap.core.pricing import Modifiers, PriceBook, RateCard, UnknownPrice, Usage, worst_case
from crewcap.prices import Book, load
from crewcap.prices.book import dearest_of
from crewcap.prices.overrides import parse, shipped

STANDARD = Modifiers()
MILLION = 1_000_000


def with_lines(text: str) -> Book:
    return Book(parse(text, name="mine.toml").over(shipped()))


def input_usd(card: RateCard) -> str:
    return card.cost(Usage(input=MILLION)).show()


def test_the_book_is_a_price_book(book: Book) -> None:
    assert isinstance(book.hash, str)
    protocol: PriceBook = book
    assert protocol is book


@pytest.mark.parametrize(
    ("model", "usd"),
    [
        # in, out, read, 5m, 1h in dollars per million tokens: facts that two sources agree on
        ("claude-opus-5-5", ("4", "20", "0.2", "5", "8")),
        ("claude-opus-5", ("5", "25", "0.5", "6.25", "10")),
        ("claude-opus-4-8", ("5", "25", "0.5", "6.25", "10")),
        ("claude-sonnet-5", ("2", "10", "0.2", "2.5", "4")),
        ("claude-sonnet-5-5", ("2", "10", "0.1", "2.5", "4")),
        ("claude-sonnet-4-6", ("3", "15", "0.3", "3.75", "6")),
        ("claude-haiku-4-5", ("1", "5", "0.1", "1.25", "2")),
        ("claude-haiku-5-5", ("0.1", "0.5", "0.01", "0.125", "0.2")),
        ("claude-fable-5-2", ("8", "40", "0.2", "10", "16")),
        ("claude-mythos-5-2", ("8", "40", "0.2", "10", "16")),
    ],
)
def test_current_claude_models_cost_what_their_vendor_publishes(
    book: Book, model: str, usd: tuple[str, ...], now: datetime
) -> None:
    rates = book.card("anthropic", model, at=now).rates
    seen = (rates.input, rates.output, rates.cache_read, rates.write_5m, rates.write_1h)
    assert [Money.from_pico(pico * MILLION) for pico in seen] == [Money.usd(text) for text in usd]


def test_haiku_costs_five_times_as_much_on_a_prompt_above_its_tier(book: Book, now: datetime) -> None:
    card = book.card("anthropic", "claude-haiku-5-5", at=now)
    assert card.cost(Usage(input=100_000)) == Money.usd("0.01")
    assert card.cost(Usage(input=100_001)) == Money.usd("0.0500005")


# --- names


@pytest.mark.parametrize(
    ("short", "full"),
    [
        ("sonnet", "claude-sonnet-5"),
        ("opus", "claude-opus-5-5"),
        ("haiku", "claude-haiku-5-5"),
        ("fable", "claude-fable-5-2"),
        ("Sonnet", "claude-sonnet-5"),
        ("sonnet[1m]", "claude-sonnet-5[1m]"),
    ],
)
def test_a_short_name_becomes_the_full_one(book: Book, short: str, full: str, now: datetime) -> None:
    """Resolved once; the full id is what a run stores and sends."""
    assert book.resolve("anthropic", short, at=now) == full
    assert book.resolve("anthropic", full, at=now) == full


@pytest.mark.parametrize("name", ["claude-sonnet-4-5-20250929", "claude-sonnet-4-5", "claude-haiku-4-5-20251001[1m]"])
def test_a_full_name_is_sent_as_it_was_given(book: Book, name: str, now: datetime) -> None:
    assert book.resolve("anthropic", name, at=now) == name


def test_dates_and_the_long_context_mark_do_not_change_the_card(book: Book, now: datetime) -> None:
    names = [
        "claude-sonnet-4-5",
        "claude-sonnet-4-5-20250929",
        "claude-sonnet-4-5-20250929[1m]",
        "claude-sonnet-4-5[1m]",
    ]
    assert len({book.card("anthropic", name, at=now).id for name in names}) == 1


@pytest.mark.parametrize(
    ("provider", "model", "nearest"),
    [
        ("anthropic", "claude-opus-6", "claude-opus"),
        ("anthropic", "claude-opus-4-8-fast", "claude-opus-4-8"),
        ("anthropic", "claude-sonnet-4-5-20250929-fast", "claude-sonnet-4-5"),
        ("anthropic", "claude-opus-4-10", "claude-opus-4"),
        ("anthropic", "claude-sonnet-55", "claude-sonnet-5"),
        ("anthropic", "sonet", "sonnet"),
        ("openai", "gpt-5.4-turbo", "gpt-5.4"),
        ("antropic", "claude-sonnet-5", "anthropic"),
    ],
)
def test_an_unknown_model_is_refused_by_name_with_the_nearest_known_one(
    book: Book, provider: str, model: str, nearest: str, now: datetime
) -> None:
    """Never priced at what it resembles: the library prices the first four at a model's that begins alike."""
    for ask in (
        lambda: book.card(provider, model, at=now),
        lambda: book.resolve(provider, model, at=now),
        lambda: book.reachable(provider, model, start=now, end=now, modifiers=[STANDARD]),
    ):
        with pytest.raises(UnknownPrice) as unknown:
            ask()
        assert unknown.value.nearest.startswith(nearest)
        assert (model if provider == "anthropic" else provider) in str(unknown.value)


@settings(max_examples=50)
@given(st.text(max_size=40))
def test_no_name_that_a_client_may_send_breaks_the_book(name: str) -> None:
    """It has a price or it is refused; nothing else."""
    with suppress(UnknownPrice):
        assert SHARED.card("anthropic", name, at=datetime(2026, 11, 22, tzinfo=UTC)).rates.input > 0


SHARED = load()


# --- dates


def test_a_tier_that_ended_by_date_is_met_before_and_not_after(book: Book) -> None:
    """Opus 4.6 and Sonnet 4.6 cost more above 200,000 tokens until 2026-03-13."""
    before, after = datetime(2026, 3, 12, 23, 59, tzinfo=UTC), datetime(2026, 3, 13, tzinfo=UTC)
    long = Usage(input=300_000)
    for model, dear, flat in [("claude-opus-4-6", "3.00", "1.50"), ("claude-sonnet-4-6", "1.80", "0.90")]:
        assert book.card("anthropic", model, at=before).cost(long) == Money.usd(dear)
        assert book.card("anthropic", model, at=after).cost(long) == Money.usd(flat)


def test_sonnet_4_5_keeps_its_tier_and_sonnet_4_has_none(book: Book, now: datetime) -> None:
    assert book.card("anthropic", "claude-sonnet-4-5", at=now).tiers[0].above == 200_000
    assert book.card("anthropic", "claude-sonnet-4-0", at=now).tiers == ()


def test_a_request_that_runs_over_a_price_change_meets_both_prices(book: Book) -> None:
    """GPT-5.6 Sol became cheaper on 2026-08-21: a request over midnight holds at the dearer one."""
    start = datetime(2026, 8, 20, 23, 58, tzinfo=UTC)
    cards = book.reachable(
        "openai", "gpt-5.6-sol", start=start, end=start + timedelta(minutes=10), modifiers=[STANDARD]
    )
    assert {input_usd(card) for card in cards} >= {"$10.00", "$8.00"}  # a million tokens is above the tier
    alone = book.reachable("openai", "gpt-5.6-sol", start=start, end=start, modifiers=[STANDARD])
    assert len(alone) == 1


def test_a_time_in_another_zone_is_the_same_moment(book: Book) -> None:
    zoned = datetime.fromisoformat("2026-03-13T01:30:00+02:00")
    assert book.card("anthropic", "claude-opus-4-6", at=zoned).tiers


# --- modifiers


def test_inference_in_the_us_costs_a_tenth_more_on_every_kind_and_on_no_fee(book: Book, now: datetime) -> None:
    """The library takes no notice of it."""
    plain = book.card("anthropic", "claude-sonnet-5", at=now)
    us = book.card("anthropic", "claude-sonnet-5", at=now, modifiers=Modifiers(geo="us"))
    usage = Usage(input=MILLION, cache_read=MILLION, write_5m=MILLION, write_1h=MILLION, output=MILLION)
    assert us.cost(usage).nano * 10 == plain.cost(usage).nano * 11
    assert us.per_piece == plain.per_piece == {"web_search": 10_000_000_000}
    assert us.id != plain.id


def test_modifiers_stack(book: Book, now: datetime) -> None:
    fast_us = book.card("anthropic", "claude-opus-5-5", at=now, modifiers=Modifiers(speed="fast", geo="us"))
    batch_us = book.card("anthropic", "claude-opus-5-5", at=now, modifiers=Modifiers(tier="batch", geo="us"))
    assert fast_us.cost(Usage(input=MILLION)) == Money.usd("8.80")
    assert batch_us.cost(Usage(input=MILLION)) == Money.usd("2.20")


def test_models_from_before_the_geo_can_be_held_at_it(book: Book, now: datetime) -> None:
    """Their vendor answers such a request with an error, and every hold is made at the dearest geo."""
    for model in ("claude-haiku-4-5", "claude-sonnet-4-5", "claude-opus-4-1"):
        us = book.card("anthropic", model, at=now, modifiers=Modifiers(geo="us"))
        assert us.rates == book.card("anthropic", model, at=now).rates


def test_every_claude_model_has_a_price_in_the_us(book: Book, now: datetime) -> None:
    """A model that the next release adds must not be refused, or priced at one times, for want of a line."""
    for model in book.models("anthropic"):
        us = book.card("anthropic", model, at=now, modifiers=Modifiers(geo="us")).rates
        assert us.input >= book.card("anthropic", model, at=now).rates.input


def test_a_model_that_only_we_price_can_be_held_at_a_region_of_its_vendor(now: datetime) -> None:
    """At the dearest factor that the vendor takes there: never refused for want of a line, never below the bill."""
    book = with_lines(
        '[[price]]\nprovider = "anthropic"\nmodel = "claude-opus-7"\nusd_per_mtok = { in = "1", out = "2" }\n'
        '[[price]]\nprovider = "cellar"\nmodel = "house-model"\nusd_per_mtok = { in = "1", out = "2" }\n'
    )
    assert input_usd(book.card("anthropic", "claude-opus-7", at=now, modifiers=Modifiers(geo="us"))) == "$1.10"
    with pytest.raises(UnknownPrice, match="'us'"):
        book.card("cellar", "house-model", at=now, modifiers=Modifiers(geo="us"))


def test_fast_mode_costs_its_own_price_while_it_is_sold(book: Book) -> None:
    fast, day = Modifiers(speed="fast"), datetime(2026, 7, 1, tzinfo=UTC)
    for model, usd in [("claude-opus-4-6", "30"), ("claude-opus-4-7", "30"), ("claude-opus-4-8", "10")]:
        assert book.card("anthropic", model, at=day, modifiers=fast).cost(Usage(input=MILLION)) == Money.usd(usd)
    early = book.card("anthropic", "claude-opus-4-6", at=datetime(2026, 3, 1, tzinfo=UTC), modifiers=fast)
    assert early.cost(Usage(input=MILLION)) == Money.usd(60)
    with pytest.raises(UnknownPrice, match="fast"):
        book.card("anthropic", "claude-opus-4-7", at=datetime(2026, 7, 24, tzinfo=UTC), modifiers=fast)


@pytest.mark.parametrize(
    ("provider", "model", "modifiers"),
    [
        ("anthropic", "claude-sonnet-5", Modifiers(speed="fast")),
        ("anthropic", "claude-haiku-5-5", Modifiers(speed="fast")),
        ("anthropic", "claude-opus-5-5", Modifiers(tier="priority")),
        ("anthropic", "claude-opus-5-5", Modifiers(tier="flex")),
        ("anthropic", "claude-opus-5-5", Modifiers(speed="fast", tier="batch")),
        ("anthropic", "claude-opus-4-1", Modifiers(tier="batch")),
        ("anthropic", "claude-sonnet-5", Modifiers(geo="eu")),
        ("anthropic", "claude-sonnet-5", Modifiers(speed="ludicrous")),
        ("openai", "gpt-5.4", Modifiers(geo="jp")),
    ],
)
def test_a_modifier_without_a_price_is_refused_and_never_priced_at_one_times(
    book: Book, provider: str, model: str, modifiers: Modifiers, now: datetime
) -> None:
    with pytest.raises(UnknownPrice, match=model):
        book.card(provider, model, at=now, modifiers=modifiers)
    with pytest.raises(UnknownPrice, match=model):
        book.reachable(provider, model, start=now, end=now, modifiers=[STANDARD, modifiers])


def test_a_batch_before_its_prices_are_known_is_refused(book: Book) -> None:
    batch = Modifiers(tier="batch")
    with pytest.raises(UnknownPrice, match="batch"):
        book.card("anthropic", "claude-sonnet-5", at=datetime(2026, 10, 13, tzinfo=UTC), modifiers=batch)
    assert (
        input_usd(book.card("anthropic", "claude-sonnet-5", at=datetime(2026, 10, 14, tzinfo=UTC), modifiers=batch))
        == "$1.00"
    )


def test_a_cached_read_in_a_batch_costs_what_its_vendor_says_and_not_half(book: Book, now: datetime) -> None:
    """GPT-4o's batches have no cached rate of their own, so reads keep the full one."""
    plain = book.card("openai", "gpt-4o", at=now).rates
    batch = book.card("openai", "gpt-4o", at=now, modifiers=Modifiers(tier="batch")).rates
    assert batch.input * 2 == plain.input
    assert batch.cache_read == plain.cache_read


# --- everything that a request may meet


def test_a_short_name_may_meet_every_model_that_it_is_taken_for(book: Book, now: datetime) -> None:
    cards = book.reachable("anthropic", "sonnet", start=now, end=now, modifiers=[STANDARD])
    assert {card.model for card in cards} == {"claude-sonnet-5", "claude-sonnet-5-5"}


def test_an_undated_name_may_meet_each_dated_edition_with_a_price_of_its_own(book: Book, now: datetime) -> None:
    cards = book.reachable("openai", "gpt-4o", start=now, end=now, modifiers=[STANDARD])
    assert {input_usd(card) for card in cards} == {"$2.50", "$5.00"}
    dated = book.reachable("openai", "gpt-4o-2024-08-06", start=now, end=now, modifiers=[STANDARD])
    assert {input_usd(card) for card in dated} == {"$2.50"}


def test_every_modifier_is_met_and_no_modifier_means_the_standard(book: Book, now: datetime) -> None:
    both = book.reachable("anthropic", "claude-opus-5", start=now, end=now, modifiers=[STANDARD, Modifiers(geo="us")])
    assert {input_usd(card) for card in both} == {"$5.00", "$5.50"}
    assert {
        input_usd(card) for card in book.reachable("anthropic", "claude-opus-5", start=now, end=now, modifiers=[])
    } == {"$5.00"}


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["sonnet", "claude-opus-4-6", "claude-haiku-5-5", "claude-sonnet-4-5-20250929", "claude-opus-4-8"]),
    st.datetimes(datetime(2026, 3, 11), datetime(2026, 3, 15), timezones=st.just(UTC)),  # noqa: DTZ001  (zone is added)
    st.integers(0, 7_200),
    st.floats(0, 1),
    st.sampled_from(["global", "us"]),
    st.integers(0, 500_000),
    st.integers(0, 500_000),
    st.integers(0, 64_000),
)
def test_what_is_held_covers_the_answer_whenever_it_ends(
    model: str, start: datetime, lasts_s: int, part: float, geo: str, fresh: int, written: int, output: int
) -> None:
    """MONEY 2.6: at every moment until the request must have ended, in every geo that it may be served in."""
    end = start + timedelta(seconds=lasts_s)
    wanted = [STANDARD, Modifiers(geo="us")]
    cards = SHARED.reachable("anthropic", model, start=start, end=end, modifiers=wanted)
    held = worst_case(cards, prompt_tokens=fresh + written, write="1h", output_tokens=output)
    answered = start + timedelta(seconds=lasts_s * part)
    bill = SHARED.card(
        "anthropic", SHARED.resolve("anthropic", model, at=start), at=answered, modifiers=Modifiers(geo=geo)
    )
    assert bill.cost(Usage(input=fresh, write_1h=written, output=output)) <= held


# --- our own lines


def test_a_line_of_ours_wins_over_the_library_while_it_holds(now: datetime) -> None:
    book = with_lines(
        '[[price]]\nprovider = "anthropic"\nmodel = "claude-sonnet-5"\nfrom = 2026-11-20\nuntil = 2026-12-01\n'
        'usd_per_mtok = { in = "7", out = "8" }\nabove = [{ prompt_tokens = 1000, in = "9", out = "10" }]\n'
    )
    card = book.card("anthropic", "claude-sonnet-5-20260701", at=now)
    assert card.cost(Usage(input=1_000)) == Money.usd("0.007")
    assert card.cost(Usage(input=1_001)) == Money.usd("0.009009")
    assert input_usd(book.card("anthropic", "claude-sonnet-5", at=datetime(2026, 12, 1, tzinfo=UTC))) == "$2.00"
    assert input_usd(book.card("anthropic", "claude-sonnet-5", at=datetime(2026, 11, 19, tzinfo=UTC))) == "$2.00"
    met = book.reachable("anthropic", "claude-sonnet-5", start=now, end=now + timedelta(days=30), modifiers=[STANDARD])
    assert len(met) == 2


def test_a_model_and_a_provider_that_only_we_price_are_known(now: datetime) -> None:
    book = with_lines(
        '[[price]]\nprovider = "cellar"\nmodel = "house-model"\nusd_per_mtok = { in = "0", out = "0" }\n'
        '[[price]]\nprovider = "anthropic"\nmodel = "claude-opus-7"\nusd_per_mtok = { in = "1", out = "2" }\n'
    )
    assert book.card("cellar", "house-model-2026-01-01", at=now).cost(Usage(input=MILLION)) == Money(0)
    assert input_usd(book.card("anthropic", "claude-opus-7", at=now)) == "$1.00"
    assert "cellar" in book.providers
    with pytest.raises(UnknownPrice):
        book.card("cellar", "house-model", at=now, modifiers=Modifiers(speed="fast"))


def test_a_discount_comes_off_tokens_and_the_list_price_stays_visible(now: datetime) -> None:
    book = with_lines('[[discount]]\nprovider = "anthropic"\npercent = "12"\nfrom = 2026-10-01\n')
    offer = book.describe("anthropic", "claude-sonnet-5", at=now).offers[0]
    assert (input_usd(offer.card), input_usd(offer.listed)) == ("$1.76", "$2.00")
    assert offer.card.per_piece == offer.listed.per_piece
    assert input_usd(book.card("anthropic", "claude-sonnet-5", at=datetime(2026, 9, 30, tzinfo=UTC))) == "$2.00"


def test_an_alias_with_a_pattern_keeps_the_name_and_multiplies_the_price(now: datetime) -> None:
    """A region's name on another cloud: sent as it is, billed at the model's price and a tenth."""
    book = with_lines(
        '[[alias]]\nprovider = "aws"\nmatch = "us.anthropic.claude-opus-4-8-*"\n'
        'use = "anthropic/claude-opus-4-8"\nfactor = "1.1"\n'
    )
    name = "us.anthropic.claude-opus-4-8-20260528-v1:0"
    assert book.resolve("aws", name, at=now) == name
    assert input_usd(book.card("aws", name, at=now)) == "$5.50"


def test_an_alias_of_the_user_wins_over_the_shipped_one(now: datetime) -> None:
    book = with_lines('[[alias]]\nmatch = "sonnet"\nuse = "anthropic/claude-sonnet-5-5"\nfrom = 2026-11-01\n')
    assert book.resolve("anthropic", "sonnet", at=now) == "claude-sonnet-5-5"
    assert book.resolve("anthropic", "sonnet", at=datetime(2026, 10, 31, tzinfo=UTC)) == "claude-sonnet-5"


def test_unknown_models_can_be_held_at_the_dearest_rates_and_never_at_nothing(now: datetime) -> None:
    book = with_lines('[policy]\nunknown_model = "reserve_dearest"\n')
    card = book.card("anthropic", "claude-opus-9", at=now)
    for model in book.models("anthropic"):
        known = book.card("anthropic", model, at=now)
        usage = Usage(input=250_000, cache_read=10, write_5m=10, write_1h=10, output=1_000)
        assert card.cost(usage) >= known.cost(usage)
    assert card.model == book.resolve("anthropic", "claude-opus-9", at=now) == "claude-opus-9"
    assert card.id.startswith("dearest-")
    held = book.reachable("anthropic", "claude-opus-9", start=now, end=now, modifiers=[STANDARD, Modifiers(geo="us")])
    assert max(each.rates.output for each in held) >= card.rates.output
    with pytest.raises(UnknownPrice):
        book.card("anthropic", "claude-opus-9", at=now, modifiers=Modifiers(tier="priority"))


def test_the_dearest_card_takes_the_dearest_of_every_rate(book: Book, now: datetime) -> None:
    cards = [book.card("anthropic", model, at=now) for model in ("claude-haiku-5-5", "claude-opus-5")]
    assert dearest_of(cards, model="x").rates == cards[1].rates


# --- the table as a whole


def test_the_hash_is_the_same_for_the_same_table_and_another_for_another(book: Book) -> None:
    """Also in another process, where text hashes differ: it is stored with every entry."""
    script = "from crewcap import prices; print(prices.load().hash)"
    other = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, timeout=60)
    assert other.stdout.strip() == book.hash
    assert with_lines('[[discount]]\nprovider = "anthropic"\npercent = "1"\n').hash != book.hash


def test_a_book_that_compiles_on_demand_is_the_same_table(book: Book, now: datetime) -> None:
    """Whatever was asked before the hash was."""
    lazy = load(compiled=False)
    asked = [Modifiers(), Modifiers(geo="us"), Modifiers(speed="fast")]
    cards = [lazy.card("anthropic", "opus", at=now, modifiers=each) for each in asked]
    assert cards == [book.card("anthropic", "opus", at=now, modifiers=each) for each in asked]
    assert lazy.compiled < book.compiled
    assert lazy.hash == book.hash


def test_every_listed_model_of_every_provider_describes_itself(book: Book, now: datetime) -> None:
    """No listing hides behind another one's name."""
    for provider in book.providers:
        for model in book.models(provider):
            assert book.describe(provider, model, at=now).model == model


def test_figures_of_current_models_are_known(book: Book, now: datetime) -> None:
    sizes = {
        model: (card.context_window, card.max_output)
        for model in ("claude-opus-5-5", "claude-sonnet-5", "claude-haiku-4-5", "claude-sonnet-4-5")
        for card in [book.card("anthropic", model, at=now)]
    }
    assert sizes == {
        "claude-opus-5-5": (1_000_000, 128_000),
        "claude-sonnet-5": (1_000_000, 128_000),
        "claude-haiku-4-5": (200_000, 64_000),
        "claude-sonnet-4-5": (200_000, 64_000),
    }
    assert book.card("anthropic", "claude-opus-5-5", at=now).image_tokens == 4_800


def test_the_limits_of_models_whose_clients_send_none_are_known(book: Book, now: datetime) -> None:
    """Codex and Gemini CLI send no output limit, so what a request can cost rests on these figures."""
    sizes = {
        f"{provider}/{model}": (card.context_window, card.max_output)
        for provider, model in (
            ("openai", "gpt-5.5"),
            ("openai", "gpt-6.1-sol"),
            ("openai", "gpt-4.1-mini"),
            ("google", "gemini-2.5-pro"),
            ("google", "gemini-2.0-flash"),
            ("google", "gemini-3.1-pro-preview-customtools"),
        )
        for card in [book.card(provider, model, at=now)]
    }
    assert sizes == {
        "openai/gpt-5.5": (1_050_000, 128_000),
        "openai/gpt-6.1-sol": (1_050_000, 128_000),
        "openai/gpt-4.1-mini": (1_047_576, 32_768),
        "google/gemini-2.5-pro": (1_048_576, 65_536),
        "google/gemini-2.0-flash": (1_048_576, 8_192),
        "google/gemini-3.1-pro-preview-customtools": (1_048_576, 65_536),
    }


def test_an_image_of_a_small_model_may_be_billed_as_many_tokens(book: Book, now: datetime) -> None:
    """GPT-4o mini bills an image of 8 tiles as 2,833 + 8 x 5,667 tokens, and no window holds that down."""
    card = book.card("openai", "gpt-4o-mini-2024-07-18", at=now)
    assert card.image_tokens >= 2_833 + 8 * 5_667
    assert card.context_window is not None
    assert card.context_window * (85 + 8 * 170) >= 128_000 * (2_833 + 8 * 5_667)


@pytest.mark.parametrize(("model", "usd"), [("gpt-5.5", "5.50"), ("gpt-6.1-sol", "2.20"), ("gpt-5", "1.25")])
def test_a_regional_endpoint_costs_a_tenth_more_for_newer_models(
    book: Book, now: datetime, model: str, usd: str
) -> None:
    for geo in ("eu", "us"):
        card = book.card("openai", model, at=now, modifiers=Modifiers(geo=geo))
        assert card.rates.input == Money.usd(usd).nano // 1_000


def test_the_age_of_the_table_is_counted_from_the_day_it_was_checked(book: Book, library: Book, now: datetime) -> None:
    assert book.checked is not None
    day = datetime.combine(book.checked, datetime.min.time(), UTC)
    assert book.age_days(day + timedelta(days=30, hours=23)) == 30
    assert library.age_days(now) is None


def test_a_card_is_compiled_once(book: Book, now: datetime) -> None:
    assert book.card("anthropic", "claude-sonnet-5", at=now) is book.card("anthropic", "sonnet", at=now)
    ready = book.compiled
    for model in book.models("anthropic"):
        book.card("anthropic", model, at=now)
    assert book.compiled == ready


def test_a_book_that_is_handed_to_another_process_answers_there_without_the_library(book: Book, tmp_path: Path) -> None:
    """Every card that is compiled, what is not sold, and an unknown name: with the same words and no import."""
    (tmp_path / "book").write_bytes(pickle.dumps(book))
    script = (
        "import pickle, sys\n"
        "from datetime import UTC, datetime\n"
        "from crewcap.core.pricing import Modifiers, UnknownPrice\n"
        "book = pickle.load(open(sys.argv[1], 'rb'))\n"
        "at = datetime(2026, 11, 22, tzinfo=UTC)\n"
        "def ask(name, **when):\n"
        "    try: return book.card('anthropic', name, at=at, modifiers=Modifiers(**when)).id\n"
        "    except UnknownPrice as error: return str(error)\n"
        "print(book.hash, *(ask(*each) for each in [('claude-opus-5-5',), ('claude-opus-9',)]))\n"
        "print(ask('claude-opus-4-7', speed='fast'), ask('claude-opus-5-5', geo='us'))\n"
        "print([name for name in sys.modules if name.startswith(('genai_prices', 'pydantic'))])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "book")], check=True, capture_output=True, text=True, timeout=60
    )
    at = datetime(2026, 11, 22, tzinfo=UTC)
    card, us = (
        book.card("anthropic", "claude-opus-5-5", at=at, modifiers=Modifiers(geo=geo)) for geo in ("global", "us")
    )
    first, second, imported = done.stdout.splitlines()
    assert first.startswith(f"{book.hash} {card.id} a price for anthropic/claude-opus-9 is not in the price book")
    assert second == f"a price at fast on 2026-11-22 for anthropic/claude-opus-4-7 is not in the price book {us.id}"
    assert imported == "[]"


def test_a_provider_that_is_prepared_needs_the_library_no_more_and_the_hash_stays(book: Book) -> None:
    """The hash is of what every book has, whoever asks."""
    mine = load()
    before = mine.compiled
    mine.prepare(["deepseek", "nobody", "anthropic"])
    assert mine.compiled > before
    assert mine.hash == book.hash
