"""A home with spend of every kind, settled at real cards with the provider's words, for the tests of the reports."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from typing import Any

from tests.cli.run_home import RunHome, utc_now
from tests.contracts.ledger_machine import order

from crewcap import prices
from crewcap.core.budget import ALL, Granted, HoldId, KeyId, Scope
from crewcap.core.keys import VirtualKey
from crewcap.core.money import ZERO, Money
from crewcap.core.pricing import Modifiers, Usage
from crewcap.core.runs import Run
from crewcap.stores import Settlement

SONNET, HAIKU = "claude-sonnet-5", "claude-haiku-4-5"


@cache
def book() -> prices.Book:
    return prices.load()


def raw_of(usage: Usage, **more: Any) -> str:
    """The words in which the provider tells a usage."""
    return json.dumps(
        {
            "input_tokens": usage.input,
            "cache_read_input_tokens": usage.cache_read,
            "cache_creation_input_tokens": usage.write_5m + usage.write_1h,
            "cache_creation": {
                "ephemeral_5m_input_tokens": usage.write_5m,
                "ephemeral_1h_input_tokens": usage.write_1h,
            },
            "output_tokens": usage.output,
            "output_tokens_details": {"thinking_tokens": usage.thinking},
            **more,
        }
    )


class SpentHome:
    """Runs, and keys without one, with requests that were priced as a gateway prices them."""

    def __init__(self, home: RunHome) -> None:
        self.home = home
        self._keys: dict[str, KeyId] = {}
        self._number = 0

    def key(self, run: Run | None = None, *scopes: str, name: str = "") -> KeyId:
        """A key of a run, or one of its own."""
        number = len(self.home.ledger.keys())
        key = KeyId(name or f"k{number}")
        of_run = (f"run:{run.id}", f"issue:{run.issue.scope_name}", f"repo:{run.repo}") if run else ()
        whole = (f"key:{key}", *of_run, *scopes, ALL)
        row = VirtualKey(
            id=key,
            hash=f"hash-{key}",
            scopes=tuple(Scope(scope) for scope in whole),
            created_at=utc_now(),
            run=run.id if run else "",
            label=run.name if run else "",
        )
        self.home.ledger.add_key(row, cap=None)
        return key

    def hold(self, key: KeyId, *, model: str = SONNET, agent: str = "", amount: str = "5") -> HoldId:
        self._number += 1
        hold = HoldId(f"hold-{key}-{self._number:05}")
        made = order(hold, boot=self.home._boot, key=key, amount=Money.usd(amount))
        made = replace(made, model=model, provider="anthropic", agent=agent)
        assert isinstance(self.home.ledger.reserve(made), Granted)
        return hold

    def ask(
        self, key: KeyId, usage: Usage, *, model: str = SONNET, modifiers: Modifiers = Modifiers(), agent: str = "",  # noqa: B008
        by_plan: bool = False, **more: Any,
    ) -> Money:  # fmt: skip
        """A request that was answered; what it cost."""
        hold = self.hold(key, model=model, agent=agent)
        card = book().card("anthropic", model, at=utc_now(), modifiers=modifiers)
        cost = card.cost(usage)
        said = raw_of(usage, speed=modifiers.speed, inference_geo=modifiers.geo, **more)
        end = Settlement(
            hold=hold,
            kind="settled",
            spent=ZERO if by_plan else cost,
            uncertain=ZERO,
            notional=cost if by_plan else ZERO,
            usage=usage,
            model=model,
            card=card.id,
            request_id=f"req_{self._number}",
            status=200,
            raw_usage=said,
        )
        assert self.home.ledger.settle(end)
        return cost

    def lose(self, key: KeyId, amount: str) -> HoldId:
        """A request that nobody heard of again."""
        hold = self.hold(key, amount=amount)
        end = Settlement(
            hold=hold, kind="uncertain", spent=ZERO, uncertain=Money.usd(amount), usage=Usage(), reason="no_answer"
        )
        assert self.home.ledger.settle(end)
        return hold

    def fill(self) -> None:
        """Two runs, a key without one, a plan, something uncertain, something held, a name from a stranger."""
        first = self.home.add("fix-login")
        second = self.home.add("=cmd|calc", title="=HYPERLINK(1)")
        one = self.key(first, "user:ana", "team:core")
        two = self.key(second, "user:bo", "workflow:nightly")
        alone = self.key(None, "user:ana", name="alone")
        self.ask(one, Usage(input=11, write_5m=9_001, output=403, thinking=101))
        self.ask(one, Usage(input=7, cache_read=9_001, write_5m=333, output=77))
        self.ask(one, Usage(input=33, output=5, cache_read=3), model=HAIKU, agent="sub-1")
        self.ask(two, Usage(write_1h=1_007, output=13), modifiers=Modifiers(geo="us"))
        self.ask(two, Usage(input=3, output=1, pieces={"web_search": 2}), server_tool_use={"web_search_requests": 2})
        self.ask(alone, Usage(input=5_001, output=19), by_plan=True)
        lost = self.lose(two, "0.25")
        self.lose(alone, "0.5")
        self.home.ledger.reconcile(lost, cost=Money.usd("0.125"), word="the invoice")
        self.hold(one, amount="0.75")
