"""What every store's reports keep: what is added up beforehand is what the entries say, to the last unit.

A subclass gives the fixtures `ledger`, books to fill, `opened`, a function that opens their reports, and `notes`, what
is kept of prices beside them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from tests.contracts.clocks import Clocks
from tests.contracts.ledger_machine import order

from crewcap.core.budget import ALL, BootId, Granted, HoldId, KeyId, Scope
from crewcap.core.bundles import OWN, Bundle, at, quarter_of
from crewcap.core.cards import Kept
from crewcap.core.history import jobs, jobs_of
from crewcap.core.keys import VirtualKey
from crewcap.core.makeup import Makeup, MakeupRow
from crewcap.core.money import ZERO, Money
from crewcap.core.pricing import Modifiers, RateCard, Rates, Tier, Usage
from crewcap.core.reprice import Correction
from crewcap.stores import Entry, Ledger, Reports, Settlement
from crewcap.stores.price_notes import PriceNotes

usd = Money.usd
Opened = Callable[..., Reports]
_DEAR = Rates(input=2, cache_read=2, write_5m=2, write_1h=2, output=2)
SHOP, TOOLS = Scope("repo:acme/shop"), Scope("repo:acme/tools")


class Filled:
    """Books with requests of every kind of end, some of them by a word that came later."""

    def __init__(self, ledger: Ledger, clocks: Clocks) -> None:
        self.ledger, self.clocks = ledger, clocks
        self.boot: BootId = ledger.start_boot()
        self._number = 0

    def key(self, name: str, *scopes: Scope, run: str = "") -> KeyId:
        whole = (Scope(f"key:{name}"), *scopes, ALL)
        key = VirtualKey(id=KeyId(name), hash=f"h-{name}", scopes=whole, created_at=self.clocks.wall, run=run, label="")
        self.ledger.add_key(key, cap=None)
        return key.id

    def request(self, key: KeyId, spent: str, *, agent: str = "", **end: Any) -> HoldId:
        self._number += 1
        hold = HoldId(f"hold-{self._number:04}")
        made = replace(order(hold, boot=self.boot, key=key, amount=usd("9")), agent=agent)
        assert isinstance(self.ledger.reserve(made), Granted)
        said = {"kind": "settled", "uncertain": ZERO, "usage": Usage(input=10, output=3), "card": "c1", **end}
        assert self.ledger.settle(Settlement(hold=hold, spent=usd(spent), **said))
        return hold

    def fill(self) -> None:
        one = self.key("k1", Scope("run:r1"), SHOP, Scope("user:ana"), Scope("team:core"), Scope("team:web"), run="r1")
        other = self.key("k2", TOOLS, Scope("user:bo"))
        for minutes, key in ((0, one), (3, one), (14, other), (26, one), (300, other), (2_000, one)):
            self.clocks.pass_time(timedelta(minutes=minutes))
            self.request(key, "0.000000007")
            self.request(key, "0.25", usage=Usage(input=33_000, cache_read=200_000, output=5, thinking=2), agent="sub")
            self.request(key, "0.11", usage=Usage(output=9, pieces={"web_search": 2}), model="claude-haiku-4-5")
            self.request(key, "0", kind="released", usage=Usage())
            self.request(key, "0", notional=usd("0.70"), usage=Usage(input=8))
        self.lost = self.request(one, "0.01", kind="uncertain", uncertain=usd("0.40"), reason="cut", model="answered")


class ReportsContract:
    """The suite."""

    @pytest.fixture
    def clocks(self) -> Clocks:
        return Clocks()

    @pytest.fixture
    def filled(self, ledger: Ledger, clocks: Clocks) -> Filled:
        made = Filled(ledger, clocks)
        made.fill()
        return made

    @pytest.mark.parametrize("behind", [0, 7, 10_000])
    def test_bundles_are_the_sum_of_their_entries(self, filled: Filled, opened: Opened, behind: int) -> None:
        """Whether all, some or nothing of it was added up beforehand."""
        reports = opened(behind=behind, piece=13)
        for scope in (None, ALL, SHOP, Scope("run:r1"), Scope("repo:nobody")):
            found = reports.bundles(scope=scope, by_quarter=True, by_key=True)
            assert _sums(found) == _of_entries(filled.ledger.entries(scope=scope))

    def test_any_stretch_of_time_is_cut_where_it_is_said(self, filled: Filled, opened: Opened, clocks: Clocks) -> None:
        """Also in the middle of a quarter of an hour, and where there is nothing in it."""
        reports = opened(behind=0, piece=13)
        bounds = [clocks.wall - timedelta(minutes=minutes, seconds=7) for minutes in (9_000, 2_343, 2_341, 2_010, 12)]
        for since in (None, *bounds):
            for until in (*bounds, clocks.wall + timedelta(days=9), None):
                found = reports.bundles(since=since, until=until, by_quarter=True, by_key=True)
                assert _sums(found) == _of_entries(filled.ledger.entries(since=since, until=until)), (since, until)

    def test_what_was_not_asked_for_is_added_up_as_well(self, filled: Filled, opened: Opened) -> None:
        reports = opened(behind=0)
        whole = reports.bundles()
        assert {each.key for each in whole} == {""}
        assert sum(each.spent for each in whole) == sum(each.spent.nano for each in filled.ledger.entries())
        assert {each.key for each in reports.bundles(by_key=True)} == {"k1", "k2"}

    @pytest.mark.usefixtures("filled")
    @pytest.mark.parametrize("behind", [0, 7, 10_000])
    def test_without_detail_only_provider_and_model_are_told_apart(self, opened: Opened, behind: int) -> None:
        """The sums are the same, to the last unit, and what was not asked for is empty."""
        reports = opened(behind=behind, piece=13)
        brief = reports.bundles(days_in=ZoneInfo("Asia/Kathmandu"), by="user", in_detail=False)
        assert {tuple(each[4:10]) for each in brief} == {("", "", 0, False, False, "{}")}
        for names in (("key",), ("model",), ("key", "model")):
            whole = reports.bundles(days_in=ZoneInfo("Asia/Kathmandu"), by="user")
            assert _totals(brief, *names) == _totals(whole, *names)

    @pytest.mark.parametrize("behind", [0, 7, 10_000])
    def test_uses_are_the_quarters_in_which_a_key_asked_a_model(
        self, filled: Filled, opened: Opened, clocks: Clocks, behind: int
    ) -> None:
        """Oldest first; what was said later is no use of that time."""
        filled.clocks.pass_time(timedelta(days=40))
        filled.ledger.reconcile(filled.lost, cost=usd("0.15"), word="the invoice")
        reports = opened(behind=behind, piece=13)
        cut = clocks.wall - timedelta(days=40, minutes=2_007)
        for since, until in ((None, None), (cut, None), (None, cut)):
            entries = filled.ledger.entries(since=since, until=until)
            told = [(quarter_of(each.booked_at), each.key, each.model) for each in entries]
            found = reports.uses(since=since, until=until)
            assert list(found) == sorted(found)
            assert set(found) == set(told)

    @pytest.mark.parametrize("behind", [0, 7, 10_000])
    def test_outlays_make_the_jobs_that_their_entries_make(
        self, filled: Filled, opened: Opened, clocks: Clocks, behind: int
    ) -> None:
        """Of any scope, since any moment, with what was said later; a job begins with its first closed request."""
        filled.clocks.pass_time(timedelta(days=40))
        filled.ledger.reconcile(filled.lost, cost=usd("0.15"), word="the invoice")
        reports = opened(behind=behind, piece=13)
        names = {kind: reports.labels(kind) for kind in ("workflow", "repo")}
        for since in (None, clocks.wall - timedelta(days=40, minutes=2_007), clocks.wall):
            for scope in (None, ALL, SHOP, Scope("run:r1"), Scope("repo:nobody")):
                found = reports.outlays(scope=scope, since=since)
                made = jobs_of(found, [], workflow_of=names["workflow"], repo_of=names["repo"])
                assert made == jobs(filled.ledger.entries(scope=scope, since=since), [])

    def test_a_word_that_comes_later_is_added_to_what_is_there(self, filled: Filled, opened: Opened) -> None:
        """It is booked where its request was, under its model."""
        reports = opened(behind=0)
        assert reports.bundles()
        filled.clocks.pass_time(timedelta(days=40))
        filled.ledger.reconcile(filled.lost, cost=usd("0.15"), word="the invoice")
        found = reports.bundles(by_quarter=True, by_key=True)
        assert _sums(found) == _of_entries(filled.ledger.entries())
        (later,) = [each for each in found if each.kind == "reconciled"]
        assert (later.model, later.requests, later.spent) == ("answered", 0, usd("0.15").nano)
        assert (later.uncertain, later.card) == (-usd("0.40").nano, "c1")

    def test_a_correction_is_added_to_what_is_there(self, filled: Filled, opened: Opened) -> None:
        """It is booked where its request was, under its model and the card that it was made by, and is no request."""
        reports = opened(behind=0)
        assert reports.bundles()
        filled.clocks.pass_time(timedelta(days=40))
        it = next(each for each in filled.ledger.entries() if each.model == "claude-haiku-4-5")
        made = Correction(hold=it.hold, before=it.spent, after=usd("0.10"), card="c2", reason="prices")
        assert filled.ledger.correct_many([made]) == (True,)
        found = reports.bundles(by_quarter=True, by_key=True)
        assert _sums(found) == _of_entries(filled.ledger.entries())
        (later,) = [each for each in found if each.kind == "corrected"]
        assert (later.model, later.card, later.requests) == (it.model, "c2", 0)
        assert (later.spent, later.output) == (-usd("0.01").nano, 0)
        steps = [each for each in reports.movements(Scope("run:r1")) if each.hold == it.hold]
        assert [(each.kind, each.reason) for each in steps][-1] == ("corrected", "prices")
        assert filled.ledger.verify().problems == ()

    @pytest.mark.usefixtures("filled")
    def test_bundles_tell_apart_what_is_priced_apart(self, opened: Opened) -> None:
        found = opened(behind=0).bundles()
        assert {each.size for each in found} == {0, 5}  # 233,000 tokens are above 32, 100, 128, 199 and 200 thousand
        assert {each.subagent for each in found} == {False, True}
        assert sum(each.requests for each in found if "web_search" in each.pieces) == 6
        assert sum(each.notional for each in found if each.by_plan) == usd("4.20").nano
        assert not any(each.notional for each in found if not each.by_plan)

    @pytest.mark.parametrize("behind", [0, 10_000])
    def test_limits_of_a_card_are_told_apart_wherever_they_lie(
        self, filled: Filled, opened: Opened, notes: PriceNotes, behind: int
    ) -> None:
        """Also for what was added up before the card was kept, which is a moment after its first request."""
        reports = opened(behind=behind)
        for prompt in (19_000, 20_000, 20_001, 31_000, 300_000):
            filled.request(KeyId("k1"), "0.01", card="odd", usage=Usage(input=prompt - 9, write_5m=9))
        before = {each.size for each in reports.bundles() if each.card == "odd"}
        assert before == {0, 7}  # both sides of 20,000 in one
        tiers = (Tier(above=20_000, rates=_DEAR), Tier(above=200_000, rates=_DEAR))
        odd = RateCard(provider="anthropic", model="m", rates=_DEAR, tiers=tiers, id="odd")
        usual = replace(odd, tiers=tiers[1:], id="c1")
        notes.keep([Kept(card=card, modifiers=Modifiers(), book="b", at=filled.clocks.wall) for card in (usual, odd)])
        filled.request(KeyId("k1"), "0.01", card="odd", usage=Usage(input=40_000))
        found = reports.bundles(by_quarter=True, by_key=True)
        assert _sums(found) == _of_entries(filled.ledger.entries())
        told = {each.size: (each.requests, each.input) for each in found if each.card == "odd"}
        assert told == {OWN: (2, 38_982), OWN + 1: (3, 90_983), OWN + 2: (1, 299_991)}
        assert {each.size for each in found if each.card != "odd"} == {0, 5}
        assert filled.ledger.verify().problems == ()

    def test_what_was_added_up_is_verified(self, filled: Filled, opened: Opened) -> None:
        opened(behind=0, piece=13).bundles()
        assert filled.ledger.verify().problems == ()
        self.damage("UPDATE {}bundle SET spent = spent + 1 WHERE key = 'k2' AND kind = 'settled'")
        assert any("do not add up" in problem for problem in filled.ledger.verify().problems)
        self.damage("UPDATE {}bundled SET through = through + 100")
        assert any("not in the books" in problem for problem in filled.ledger.verify().problems)

    def damage(self, statement: str) -> None:
        raise NotImplementedError

    @pytest.mark.usefixtures("filled")
    def test_keys_are_called_by_the_first_of_their_scopes(self, opened: Opened) -> None:
        reports = opened()
        assert reports.labels("team") == {"k1": "core"}
        assert reports.labels("user") == {"k1": "ana", "k2": "bo"}
        assert reports.labels("repo") == {"k1": "acme/shop", "k2": "acme/tools"}
        assert reports.labels("run") == {"k1": "r1"}
        assert reports.labels("key") == {"k1": "k1", "k2": "k2"}
        assert reports.labels("workflow") == reports.labels("agent") == {}
        assert reports.labels("phase") == {"k1": "work"}

    def test_movements_tell_every_step(self, filled: Filled, opened: Opened) -> None:
        filled.ledger.reconcile(filled.lost, cost=usd("0.15"), word="the invoice")
        steps = [each for each in opened().movements(Scope("run:r1")) if each.hold == filled.lost]
        assert [each.kind for each in steps] == ["sent", "uncertain", "reconciled"]
        assert [each.held for each in steps] == [usd("9"), -usd("9"), ZERO]
        assert sum(each.spent.nano for each in steps) == usd("0.16").nano
        assert sum(each.uncertain.nano for each in steps) == 0
        assert steps[-1].reason == "the invoice"
        assert opened().movements(Scope("run:nobody")) == []

    def test_pages_are_the_entries(self, filled: Filled, opened: Opened) -> None:
        since = filled.clocks.wall - timedelta(minutes=2_010)
        assert tuple(opened(page=4).pages()) == filled.ledger.entries()
        assert tuple(opened(page=4).pages(scope=SHOP, since=since)) == filled.ledger.entries(scope=SHOP, since=since)
        assert tuple(opened(page=4).pages(until=since)) == filled.ledger.entries(until=since)

    def test_what_prompts_were_made_of_adds_up(self, filled: Filled, opened: Opened) -> None:
        reports, now = opened(), quarter_of(filled.clocks.wall)
        row = MakeupRow(key=KeyId("k1"), quarter=now, model="m", requests=1, tokens=Makeup(tools=5, files=7))
        later = replace(row, quarter=now + 1, model="n", tokens=Makeup(history=2))
        reports.note_makeup([row, later])
        reports.note_makeup([row, replace(row, key=KeyId("k2"))])
        reports.note_makeup([])
        assert reports.makeup() == {"m": Makeup(tools=15, files=21), "n": Makeup(history=2)}
        assert reports.makeup(scope=SHOP, until=at(now + 1)) == {"m": Makeup(tools=10, files=14)}
        assert reports.makeup(scope=Scope("repo:nobody")) == {}


def _sums(bundles: Any) -> Counter[tuple[Any, ...]]:
    found: Counter[tuple[Any, ...]] = Counter()
    for each in bundles:
        assert isinstance(each, Bundle)
        for place, name in enumerate(Bundle._fields[10:], start=10):
            found[each.quarter, each.key, each.model, name] += int(each[place])
    return Counter({key: value for key, value in found.items() if value})


def _of_entries(entries: tuple[Entry, ...]) -> Counter[tuple[Any, ...]]:
    found: Counter[tuple[Any, ...]] = Counter()
    for each in entries:
        group = (quarter_of(each.booked_at), each.key, each.model)
        found[*group, "requests"] += 1
        for name in ("spent", "uncertain", "notional"):
            found[*group, name] += getattr(each, name).nano
        for name in ("input", "cache_read", "write_5m", "write_1h", "output", "thinking"):
            found[*group, name] += getattr(each.usage, name)
    return Counter({key: value for key, value in found.items() if value})


def _totals(bundles: Iterable[Bundle], *names: str) -> dict[tuple[str, ...], list[int]]:
    """Every sum of bundles by some of what tells them apart."""
    found: dict[tuple[str, ...], list[int]] = {}
    for each in bundles:
        sums = found.setdefault(tuple(getattr(each, name) for name in names), [0] * 10)
        sums[:] = [one + other for one, other in zip(sums, each[10:], strict=True)]
    return found
