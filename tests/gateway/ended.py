"""Requests and how they ended, made without a gateway: for whoever watches them."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from typing import Any

from tests.gateway.conftest import provider_for

from crewcap import prices
from crewcap.core.budget import ALL, BootId, HoldId, KeyId, Scope
from crewcap.core.holding import hold_for
from crewcap.core.keys import VirtualKey
from crewcap.core.pricing import Usage
from crewcap.gateway.front.endpoints import Endpoint
from crewcap.gateway.money.admission import Admission, Memory, Request
from crewcap.gateway.money.ends import End, Sent, settlement
from crewcap.gateway.policy import Policy
from crewcap.gateway.watching.watchers import Ended
from crewcap.wire import ENDPOINTS, Reading

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
MODEL = "claude-sonnet-4-6"
DIALECT = ENDPOINTS["anthropic"]["/v1/messages"]()
KEY = VirtualKey(id=KeyId("k"), hash="h", scopes=(Scope("key:k"), ALL), created_at=NOW, run="run-1")


@cache
def book() -> prices.Book:
    """The shipped prices."""
    return prices.load()


def rules(memory: Memory | None = None) -> Admission:
    """What a gateway goes by."""
    return Admission(book=book(), policy=Policy(), boot=BootId("boot-1"), memory=memory)


async def _no_count() -> None:
    return None


def request(body: dict[str, Any], **changes: Any) -> Request:
    """A request to the Messages API, read and allowed."""
    sent = json.dumps(body, ensure_ascii=False).encode()
    provider = provider_for("http://127.0.0.1:1")
    ask = DIALECT.ask(sent, {}, allow=frozenset({"web_search"}))
    plain = Request(
        hold=HoldId("hold-1"),
        key=KEY,
        endpoint=Endpoint(provider=provider, dialect=DIALECT, template="/v1/messages"),
        path="/v1/messages",
        body=sent,
        ask=ask,
        said_output=ask.max_output,
        model=ask.model,
        cards=rules().cards(provider, ask, at=NOW),
        count=_no_count,
    )
    return replace(plain, **changes)


def ended(asked: Request, usage: Usage, *, over: float = 0.0, **told: Any) -> Ended:
    """A whole answer with this bill, read as `told` says besides."""
    limit = asked.ask.max_output or 0
    reading = Reading(
        model=asked.model,
        usage=usage,
        usage_is_whole=True,
        prompt_is_exact=True,
        is_complete=True,
        has_started=True,
    )
    reading = replace(reading, **told)
    sent = Sent(
        hold=asked.hold,
        held=hold_for(asked.ask, asked.cards, limit, prompt_tokens=asked.prompt_tokens),
        dialect="anthropic",
        prices="anthropic",
        model=asked.model,
        cards=asked.cards,
        prompt_bound=asked.prompt_bound,
        output_limit=limit,
        write=asked.ask.write,
        samplings=asked.ask.samplings,
        sent_at=NOW,
    )
    end: End = "complete" if reading.is_complete else "cut"
    return Ended(
        request=asked,
        sent=sent,
        reading=reading,
        closed=settlement(sent, end, reading, book=book(), at=NOW, status=200),
        end=end,
        status=200,
        started=over,
        first_byte=over,
        over=over,
        attempt=1,
    )
