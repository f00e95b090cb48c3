"""What a request may cost: every card that its names may meet, and which bound may be trusted."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.gateway.conftest import provider_for

from crewcap.core.asks import Ask
from crewcap.core.budget import ALL, BootId, HoldId, KeyId, Scope
from crewcap.core.keys import VirtualKey
from crewcap.gateway.front.answers import Refusal
from crewcap.gateway.front.endpoints import Endpoint
from crewcap.gateway.money.admission import Admission, Counts, Request
from crewcap.gateway.money.choosing import Want
from crewcap.gateway.policy import Policy
from crewcap.gateway.provider.upstream import Provider
from crewcap.prices import Book
from crewcap.prices.overrides import parse, shipped
from crewcap.wire import ENDPOINTS

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
KEY = VirtualKey(id=KeyId("k"), hash="h", scopes=(Scope("key:k"), ALL), created_at=NOW)
HOUSE = """
    [[price]]
    provider = "cellar"
    model = "house-model"
    usd_per_mtok = { in = "1", out = "2" }
    [[alias]]
    provider = "cellar"
    match = "house"
    use = "cellar/house-model"
"""


def with_lines(text: str) -> Book:
    return Book(parse(text, name="test").over(shipped()))


DIALECT = ENDPOINTS["anthropic"]["/v1/messages"]()


def admission(book: Book, **policy: Any) -> Admission:
    return Admission(book=book, policy=Policy(**policy), boot=BootId("boot-1"))


def provider(prices: str = "anthropic") -> Provider:
    return replace(provider_for("http://127.0.0.1:1"), prices=prices)


def ask(*, allow: tuple[str, ...] = (), **fields: Any) -> Ask:
    body = {"model": "claude-sonnet-4-6", "max_tokens": 1_000, "messages": [{"role": "user", "content": "hello"}]}
    return DIALECT.ask(json.dumps(body | fields).encode(), {}, allow=frozenset(allow))


def models(book: Book, asked: Ask, prices: str = "anthropic") -> set[str]:
    return {card.model for card in admission(book).cards(provider(prices), asked, at=NOW)}


def test_a_short_name_is_held_at_every_model_that_it_may_come_to_mean(book: Book) -> None:
    """It is sent as it was asked; the provider says what it means."""
    assert models(book, ask(model="sonnet")) == {"claude-sonnet-5", "claude-sonnet-5-5"}
    dear = with_lines('[[alias]]\nmatch = "sonnet"\nuse = "anthropic/claude-sonnet-5"\nmay_be = ["claude-opus-4-1"]\n')
    assert "claude-opus-4-1" in models(dear, ask(model="sonnet"))


def test_a_name_of_another_cloud_is_priced_by_the_list_that_it_points_to() -> None:
    """An alias may lead to another provider's models."""
    book = with_lines('[[alias]]\nprovider = "cellar"\nmatch = "best"\nuse = "anthropic/claude-opus-5-5"\n' + HOUSE)
    assert models(book, ask(model="best"), "cellar") == {"claude-opus-5-5"}


def test_a_region_that_nobody_asked_for_does_not_refuse_who_sells_none() -> None:
    """The settings fear it for the vendor that has regions; any other price list is held at what it says."""
    book = with_lines(HOUSE)
    (card,) = admission(book).cards(provider("cellar"), ask(model="house-model"), at=NOW)
    assert card.rates.output == 2_000_000
    with pytest.raises(Refusal, match="'us'"):
        admission(book).cards(provider("cellar"), ask(model="house-model", inference_geo="us"), at=NOW)


def test_a_model_of_the_vendor_is_held_at_its_dearest_region(book: Book) -> None:
    """Also one that has no line of its own for it."""
    for own in (
        book,
        with_lines('[[price]]\nprovider="anthropic"\nmodel="claude-opus-9"\nusd_per_mtok={in="5",out="25"}'),
    ):
        name = "claude-opus-9" if own is not book else "claude-opus-5-5"
        plain = own.card("anthropic", name, at=NOW).rates.output
        cards = admission(own).cards(provider(), ask(model=name), at=NOW)
        assert max(card.rates.output for card in cards) * 10 == plain * 11


def test_a_key_for_some_models_may_not_reach_others_by_a_fallback(book: Book) -> None:
    """Every model that a request names is one that the key must be allowed."""
    one, rules = replace(KEY, models=("claude-haiku-4-5",)), admission(book)
    assert rules.model(one, provider(), ask(model="claude-haiku-4-5"), at=NOW) == "claude-haiku-4-5"
    dear = ask(model="claude-haiku-4-5", fallbacks=[{"model": "claude-opus-4-1"}], allow=("fallbacks",))
    for asked in (ask(model="claude-opus-4-1"), dear):
        with pytest.raises(Refusal, match="may not use the model 'claude-opus-4-1'"):
            rules.model(one, provider(), asked, at=NOW)


def want(book: Book, asked: Ask) -> Want:
    async def count() -> int:
        return 10

    rules = admission(book)
    request = Request(
        hold=HoldId("hold-1"),
        key=KEY,
        endpoint=Endpoint(provider=provider(), dialect=DIALECT, template="/v1/messages"),
        path="/v1/messages",
        ask=asked,
        said_output=asked.max_output,
        model=asked.model,
        cards=rules.cards(provider(), asked, at=NOW),
        count=count,
    )
    return rules.want(request)


def test_a_count_call_bounds_what_it_counts_and_nothing_else(book: Book) -> None:
    """One run of one model, all of whose prompt the call sees."""

    async def refined(asked: Ask) -> Want | None:
        first = want(book, asked)
        return await first.refine() if first.refine is not None else None

    text: dict[str, Any] = {"messages": [{"role": "user", "content": "x" * 30_000}]}
    closer = asyncio.run(refined(ask(**text)))
    assert closer is not None
    assert closer.most < want(book, ask(**text)).most
    schema = {"type": "json_schema", "schema": {"description": "y" * 30_000}}
    for asked in (
        ask(**text, output_format=schema),
        ask(**text, thread={"id": "t"}, allow=("thread",)),
        ask(**text, turbo=True, allow=("turbo",)),
        ask(**text, compaction={"type": "summarize"}, allow=("compaction",)),
        ask(**text, fallbacks=[{"model": "claude-opus-5-5"}], allow=("fallbacks",)),
        ask(**text, model="sonnet"),  # two models may answer to it, and each counts in its own way
    ):
        assert asyncio.run(refined(asked)) is None


def test_prices_are_held_until_the_answer_must_have_ended() -> None:
    """From now on over the count call, the wait for money and the longest answer."""
    lines = """
        [[price]]
        provider = "cellar"
        model = "m"
        until = 2026-11-23
        usd_per_mtok = { in = "1", out = "1" }
        [[price]]
        provider = "cellar"
        model = "m"
        from = 2026-11-23
        usd_per_mtok = { in = "2", out = "2" }
    """
    book, asked = with_lines(lines), ask(model="m")
    evening = datetime(2026, 11, 22, 22, tzinfo=UTC)  # two hours before the change
    met = admission(book, wait_s=0, longest_s=7_190).cards(provider("cellar"), asked, at=evening)
    assert {card.rates.output for card in met} == {1_000_000, 2_000_000}
    met = admission(book, wait_s=0, longest_s=60).cards(provider("cellar"), asked, at=evening)
    assert {card.rates.output for card in met} == {1_000_000}


def test_a_count_is_kept_for_the_same_body_under_the_same_betas() -> None:
    """A beta may change how much of a body is a prompt."""
    asked: list[int] = []

    async def main() -> None:
        counts = Counts()
        for body, betas, answer in ((b"a", "", 10), (b"a", "x", 20), (b"b", "", 30), (b"a", "", 40), (b"a", "x", 50)):

            async def call(answer: int = answer) -> int:
                asked.append(answer)
                return answer

            assert await counts.get(body, betas, call) == {(b"a", ""): 10, (b"a", "x"): 20, (b"b", ""): 30}[body, betas]

    asyncio.run(main())
    assert asked == [10, 20, 30]
