"""What every store keeps of prices beside the books. A subclass gives the fixture `store`."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from crewcap.core.cards import Kept, Unpriced
from crewcap.core.pricing import Modifiers, RateCard, Rates, Tier
from crewcap.stores.price_notes import MOST_UNPRICED, PriceNotes

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
RATES = Rates(input=3_000_000, cache_read=300_000, write_5m=3_750_000, write_1h=6_000_000, output=15_000_000)
CARD = RateCard(
    provider="anthropic",
    model="claude-sonnet-4-5",
    rates=RATES,
    tiers=(Tier(above=200_000, rates=replace(RATES, input=6_000_000)),),
    per_piece={"web_search": 10_000_000_000},
    context_window=1_000_000,
    unpriced=frozenset({"write_1h"}),
    id="c1",
)
KEPT = Kept(card=CARD, modifiers=Modifiers(geo="us"), book="b1", at=NOW)
NOVA = Unpriced(provider="anthropic", model="claude-nova", requests=2, last_at=NOW, message="no price")


class PriceNotesContract:
    """The suite."""

    def test_a_card_is_kept_in_full(self, store: PriceNotes) -> None:
        other = replace(KEPT, card=replace(CARD, id="c2", tiers=(), unpriced=frozenset(), context_window=None))
        store.keep([KEPT, other])
        store.keep([])
        assert store.kept() == {"c1": KEPT, "c2": other}

    def test_a_card_that_is_kept_stays_as_it_is(self, store: PriceNotes) -> None:
        store.keep([KEPT])
        store.keep([replace(KEPT, book="b2"), KEPT])
        assert store.kept() == {"c1": KEPT}

    def test_refused_names_are_added_up_and_the_newest_stands_first(self, store: PriceNotes) -> None:
        later = replace(NOVA, requests=3, last_at=NOW + timedelta(hours=1), message="still no price")
        other = replace(NOVA, provider="openai", model="gpt-9", last_at=NOW + timedelta(minutes=1))
        store.note_unpriced([NOVA, other])
        store.note_unpriced([later])
        store.note_unpriced([replace(NOVA, message="told late")])
        assert store.unpriced() == (replace(later, requests=7), other)

    def test_names_of_clients_fill_no_disk(self, store: PriceNotes) -> None:
        store.note_unpriced([replace(NOVA, model=f"m{number}") for number in range(MOST_UNPRICED + 3)])
        assert len(store.unpriced()) == MOST_UNPRICED
        store.note_unpriced([replace(NOVA, model="m0")])
        assert {each.requests for each in store.unpriced() if each.model == "m0"} == {4}

    def test_any_text_is_a_name(self, store: PriceNotes) -> None:
        store.note_unpriced([replace(NOVA, model="'; DROP TABLE card; --\u202e=1+1")])
        assert [each.model for each in store.unpriced()] == ["'; DROP TABLE card; --\u202e=1+1"]
