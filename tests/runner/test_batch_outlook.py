"""What a batch would cost: its worst case is the gateway's, its likely cost is what earlier batches came to."""

from __future__ import annotations

from datetime import UTC, datetime
from fractions import Fraction

import pytest

from crewcap.core.budget import ALL, Balance
from crewcap.core.money import ZERO, Money
from crewcap.core.pricing import Modifiers, Usage
from crewcap.gateway.batch.folder import Planned, Prompt
from crewcap.prices import Book, load
from crewcap.runner.batch_outlook import BY_LETTERS, FEW, Earlier, Outlook, Room, Used, outlook, rooms, sums

usd = Money.usd
AT = datetime(2026, 11, 22, tzinfo=UTC)
SONNET, GPT = "claude-sonnet-4-6", "gpt-5"
LISTS = {"anthropic": "anthropic", "openai": "openai"}


@pytest.fixture(scope="module")
def book() -> Book:
    return load()


def planned(n: int, *, model: str = SONNET, worst: str = "0.10", refused: str = "") -> Planned:
    if refused:
        return Planned(n=n, refused=refused)
    provider = "openai" if model == GPT else "anthropic"
    nano = usd(worst).nano
    return Planned(n=n, provider=provider, nano=nano, model=model, prompt_bound=4_000, output_limit=1_000)


def look(book: Book, *items: Planned, free: str = "1", earlier: Earlier | None = None) -> Outlook:
    prompts = [Prompt(n=each.n, id=f"p{each.n}", text="x", model=each.model, max_output=9) for each in items]
    room = Room(free=usd(free), name="the cap of $1.00")
    return outlook(
        items, prompts, book=book, lists=LISTS, earlier=earlier or Earlier(), cap=usd(free), free=[room], at=AT
    )


def test_without_earlier_batches_it_goes_by_letters_and_says_so(book: Book) -> None:
    found = look(book, planned(0))
    tokens = Usage(input=1_000, output=1_000)
    batch = book.card("anthropic", SONNET, at=AT, modifiers=Modifiers(tier="batch"))
    live = book.card("anthropic", SONNET, at=AT)
    assert sums(found.items) == (usd("0.10"), batch.cost(tokens), live.cost(tokens))
    assert found.used[SONNET] == BY_LETTERS
    assert "a token every 4 letters" in BY_LETTERS.words


def test_a_likely_cost_is_never_more_than_what_is_held(book: Book) -> None:
    (item,) = look(book, planned(0, worst="0.000001")).items
    assert item.likely == usd("0.000001")


def test_enough_answers_of_the_model_outweigh_everybody_elses(book: Book) -> None:
    earlier = Earlier()
    for _ in range(FEW):
        earlier.note(SONNET, 100, 400, 10, 100)
    for _ in range(FEW - 1):
        earlier.note(GPT, 400, 400, 100, 100)
    own = Used(answers=FEW, prompt=Fraction(1, 4), output=Fraction(1, 10), of=SONNET)
    assert earlier.used(SONNET) == own
    assert earlier.used(GPT).answers == 2 * FEW - 1
    assert earlier.used(GPT).of == "all models"
    found = look(book, planned(0), earlier=earlier)
    card = book.card("anthropic", SONNET, at=AT, modifiers=Modifiers(tier="batch"))
    assert found.items[0].likely == card.cost(Usage(input=1_000, output=100))


def test_prompts_are_let_in_in_their_order_and_a_smaller_one_passes(book: Book) -> None:
    """As the ledger does: one that does not fit ends nothing."""
    found = look(book, planned(0, worst="0.60"), planned(1, worst="0.50"), planned(2, worst="0.40"))
    assert [item.id for item in found.sent] == ["p0", "p2"]
    assert [item.refused for item in found.refused] == ["it can cost $0.50, and $0.40 is free of the cap of $1.00"]


def test_what_may_not_be_sent_has_no_price(book: Book) -> None:
    found = look(book, planned(0, refused="it has no batch price"), planned(1, model=GPT))
    assert [model for model, _ in found.of_models()] == [GPT]
    assert sums(found.refused) == (ZERO, ZERO, ZERO)


def test_the_cap_each_budget_and_the_batches_part_of_it_are_rooms() -> None:
    day = Balance(scope=ALL, window="day", label="", limit=usd("10"), spent=usd("2"), uncertain=ZERO, held=usd("3"))
    found = rooms(usd("5"), [day], {ALL: usd("1")}, share=50)
    assert [(room.free, room.name) for room in found] == [
        (usd("5"), "the cap of $5.00"),
        (usd("5"), "what is left of all (day)"),
        (usd("4"), "the 50 % of all (day) that batches may hold"),
    ]
