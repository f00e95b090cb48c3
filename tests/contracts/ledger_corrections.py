"""What every ledger keeps of corrections: entries stay, differences are booked beside them in their own windows."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from tests.contracts.ledger_desk import SCOPES, Desk, usd

from crewcap.core.budget import ALL, HoldId
from crewcap.core.money import ZERO, Money
from crewcap.core.pricing import Usage
from crewcap.core.reprice import Correction
from crewcap.errors import InternalError
from crewcap.stores import Settlement

OWN = SCOPES[0]


def correction(hold: HoldId, before: str, after: str, *, card: str = "c2") -> Correction:
    return Correction(hold=hold, before=usd(before), after=usd(after), card=card, reason="ana: the new price list")


def settled(desk: Desk, amount: str = "0.50", spent: str = "0.20") -> HoldId:
    hold = desk.granted(amount)
    desk.settle(hold, spent, input=10, output=20)
    return hold


class CorrectionsContract:
    """A part of the suite."""

    def test_a_correction_changes_what_a_request_cost_and_leaves_its_entry(self, desk: Desk) -> None:
        desk.key(cap="1.00")
        hold = settled(desk)
        before = desk.ledger.entries()[0]
        assert desk.ledger.correct_many([correction(hold, "0.20", "0.25")]) == (True,)
        (after,) = desk.ledger.entries()
        assert after == replace(before, spent=usd("0.25"), corrected=usd("0.05"), card_now="c2")
        assert desk.ledger.totals(ALL).spent == usd("0.25")
        assert (desk.ledger.totals(ALL).requests, desk.ledger.totals(ALL).usage.output) == (1, 20)
        assert desk.ledger.verify().problems == ()

    def test_it_may_make_a_request_cheaper_down_to_nothing(self, desk: Desk) -> None:
        desk.key(cap="1.00")
        hold = settled(desk)
        assert desk.ledger.correct_many([correction(hold, "0.20", "0")]) == (True,)
        assert desk.amounts(OWN) == (ZERO, ZERO, ZERO)
        assert desk.ledger.entries()[0].corrected == Money(-usd("0.20").nano)

    def test_what_was_computed_from_another_cost_is_not_booked(self, desk: Desk) -> None:
        """Two who correct at once, or one who does it twice: the second changes nothing."""
        desk.key(cap="1.00")
        hold = settled(desk)
        once = correction(hold, "0.20", "0.25")
        assert desk.ledger.correct_many([once, once]) == (True, False)
        assert desk.ledger.correct_many([once]) == (False,)
        assert desk.ledger.correct_many([correction(hold, "0.25", "0.25")]) == (False,)
        assert desk.ledger.correct_many([correction(HoldId("nobody's"), "0.25", "0.26")]) == (False,)
        assert desk.ledger.totals(ALL).spent == usd("0.25")

    def test_a_request_may_be_corrected_again(self, desk: Desk) -> None:
        desk.key(cap="1.00")
        hold = settled(desk)
        desk.ledger.correct_many([correction(hold, "0.20", "0.25")])
        desk.ledger.correct_many([correction(hold, "0.25", "0.20", card="c1")])
        desk.ledger.correct_many([correction(hold, "0.20", "0.25", card="c3")])
        (entry,) = desk.ledger.entries()
        assert (entry.spent, entry.corrected, entry.card_now) == (usd("0.25"), usd("0.05"), "c3")
        assert desk.ledger.verify().problems == ()

    def test_it_is_booked_in_the_windows_of_its_request(self, desk: Desk) -> None:
        """Weeks later: the day of the request becomes dearer, today does not."""
        desk.key()
        hold = settled(desk)
        desk.clocks.pass_time(timedelta(days=20))
        desk.limit(ALL, "10", "day")
        desk.limit(ALL, "10", "total")
        settled(desk, "0.50", "0.07")
        desk.ledger.correct_many([correction(hold, "0.20", "0.50")])
        assert desk.amounts(ALL, "day")[0] == usd("0.07")
        assert desk.amounts(ALL)[0] == usd("0.57")

    def test_a_limit_may_be_exceeded_and_no_hold_is_hurt(self, desk: Desk) -> None:
        desk.key(cap="1.00")
        hold = settled(desk)
        held = desk.granted("0.80")
        assert desk.ledger.correct_many([correction(hold, "0.20", "0.90")]) == (True,)
        assert desk.amounts(OWN) == (usd("0.90"), ZERO, usd("0.80"))
        desk.refused("0.01")
        assert desk.settle(held, "0.75")
        assert desk.ledger.totals(ALL).spent == usd("1.65")
        assert desk.ledger.verify().problems == ()

    def test_tokens_and_rates_count_as_before(self, desk: Desk) -> None:
        desk.key()
        desk.count(ALL, "tokens", "day", 100_000)
        desk.rate(ALL, "tpm", 9_000)
        hold = settled(desk)
        used, left = desk.used(ALL, "tokens"), desk.left(ALL, "tpm")
        desk.ledger.correct_many([correction(hold, "0.20", "0.25")])
        assert (desk.used(ALL, "tokens"), desk.left(ALL, "tpm")) == (used, left)
        assert desk.ledger.verify().problems == ()

    @pytest.mark.parametrize("end", ["in flight", "uncertain", "released", "by word", "by plan", "below nothing"])
    def test_what_no_price_made_cannot_be_corrected(self, desk: Desk, end: str) -> None:
        """The books refuse it whatever they are told, and all that was handed in with it."""
        desk.key()
        good, hold = settled(desk), desk.granted("0.40")
        before = "0"
        if end == "uncertain":
            desk.lose(hold, uncertain="0.40")
        elif end == "released":
            desk.ledger.settle(Settlement(hold=hold, kind="released", spent=ZERO, uncertain=ZERO, usage=Usage()))
        elif end == "by word":
            desk.settle(hold, "0.10", uncertain="0.30")
            desk.ledger.reconcile(hold, cost=usd("0.05"), word="the bill")
            before = "0.15"
        elif end == "by plan":
            paid = Settlement(
                hold=hold, kind="settled", spent=ZERO, uncertain=ZERO, usage=Usage(input=5), notional=usd("0.30")
            )
            desk.ledger.settle(paid)
        wrong = correction(hold, before, "0.20")
        if end == "below nothing":
            desk.settle(hold, "0.10")
            wrong = replace(wrong, before=usd("0.10"), after=Money(-1))
        told = desk.ledger.totals(ALL)
        with pytest.raises(InternalError):
            desk.ledger.correct_many([correction(good, "0.20", "0.25"), wrong])
        assert desk.ledger.totals(ALL) == told
