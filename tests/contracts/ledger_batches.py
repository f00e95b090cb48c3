"""What every ledger keeps of batch jobs: holds that outlive every gateway, and the part of a window they may take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from tests.contracts.ledger_desk import REPO, TEAM, Desk, usd
from tests.contracts.ledger_machine import order

from crewcap.core.budget import ALL, BootId, Busy, Decision, Denied, Granted, HoldId, KeyId, Refused, Scope
from crewcap.core.money import ZERO
from crewcap.stores import Ledger

BATCH, OTHER = BootId("batch-00000000000000aa"), BootId("batch-00000000000000bb")


def batch_order(desk: Desk, *amounts: str, batch: BootId = BATCH, key: str = "k1", share: int = 50) -> list[Decision]:
    """Reserve for items of a batch; an item's hold is named by its place and amount."""
    desk.ledger.start_batch(batch)
    orders = [
        replace(order(HoldId(f"{batch}-{place}"), boot=batch, key=key, amount=usd(amount)), key=KeyId(key))
        for place, amount in enumerate(amounts)
    ]
    return list(desk.ledger.reserve_batch(orders, share=share))


class BatchesContract:
    """The suite of batches."""

    def test_a_batch_stays_held_whatever_becomes_of_the_gateways(
        self, desk: Desk, opened: Callable[[], Ledger]
    ) -> None:
        """A provider has up to a day for a batch; a gateway that dies or stops meanwhile says nothing about it."""
        desk.key(cap="1.00")
        batch_order(desk, "0.30", "0.20")
        desk.granted("0.10")
        desk.ledger.stop_boot(desk.boot)
        later = opened()
        later.start_boot()
        assert desk.amounts(Scope("key:k1")) == (ZERO, usd("0.10"), usd("0.50"))
        assert {each.hold for each in later.open_holds()} == {f"{BATCH}-0", f"{BATCH}-1"}
        assert desk.settle(HoldId(f"{BATCH}-0"), "0.05")
        assert desk.amounts(Scope("key:k1")) == (usd("0.05"), usd("0.10"), usd("0.20"))
        assert later.verify().problems == ()

    def test_a_batch_that_is_given_up_leaves_uncertain_what_it_held(self, desk: Desk) -> None:
        desk.key(cap="1.00")
        batch_order(desk, "0.30", "0.20")
        desk.settle(HoldId(f"{BATCH}-0"), "0.05")
        assert desk.ledger.batches() == (BATCH,)
        assert desk.ledger.end_batch(BATCH, reason="given up") == 1
        assert desk.amounts(Scope("key:k1")) == (usd("0.05"), usd("0.20"), ZERO)
        assert [each.reason for each in desk.ledger.uncertain_holds()] == ["given up"]
        assert desk.ledger.batches() == ()
        assert desk.ledger.end_batch(BATCH, reason="again") == 0
        assert desk.ledger.verify().problems == ()

    def test_items_that_do_not_fit_are_refused_and_the_rest_go(self, desk: Desk) -> None:
        desk.key(cap="1.00")
        decisions = batch_order(desk, "0.60", "0.50", "0.30")
        assert [isinstance(each, Granted) for each in decisions] == [True, False, True]
        assert isinstance(decisions[1], Refused)
        assert decisions[1].binding.scope == "key:k1"
        assert desk.amounts(Scope("key:k1")) == (ZERO, ZERO, usd("0.90"))

    def test_the_same_items_again_are_granted_once(self, desk: Desk) -> None:
        """After a kill between the books and the note of it, nobody knows what was granted."""
        desk.key(cap="1.00")
        desk.limit(TEAM, "1.00", "day")
        batch_order(desk, "0.30", "0.20")
        again = batch_order(desk, "0.30", "0.20", "0.10")
        assert [type(each) for each in again] == [Granted, Granted, Refused]
        assert desk.amounts(TEAM, "day") == (ZERO, ZERO, usd("0.50"))

    def test_all_batches_together_hold_no_more_than_their_part_of_a_window(self, desk: Desk) -> None:
        desk.limit(TEAM, "1.00", "day")
        desk.key(cap="5.00")
        desk.key("k2", cap="5.00")
        assert isinstance(batch_order(desk, "0.30")[0], Granted)
        fits, over = batch_order(desk, "0.20", "0.01", batch=OTHER, key="k2")
        assert isinstance(fits, Granted)
        assert isinstance(over, Refused)
        binding = over.binding
        assert (binding.scope, binding.window, binding.source) == (TEAM, "day", "batches")
        assert (binding.limit, binding.held, over.can_wait) == (usd("0.50"), usd("0.50"), True)
        desk.granted("0.50")  # the rest of the day is for others

    def test_what_a_batch_has_spent_makes_room_for_another(self, desk: Desk) -> None:
        desk.limit(TEAM, "1.00", "day")
        desk.key()
        batch_order(desk, "0.50")
        desk.settle(HoldId(f"{BATCH}-0"), "0.10")
        assert isinstance(batch_order(desk, "0.50", batch=OTHER)[0], Granted)
        assert desk.amounts(TEAM, "day") == (usd("0.10"), ZERO, usd("0.50"))

    def test_a_batch_may_take_all_of_its_own_cap(self, desk: Desk) -> None:
        desk.key(cap="1.00")
        assert isinstance(batch_order(desk, "1.00")[0], Granted)

    def test_no_rate_counts_a_batch(self, desk: Desk) -> None:
        """Providers take batches beside their rate limits; people at work must not wait for one."""
        desk.rate(REPO, "rpm", 2)
        desk.rate(REPO, "tpm", 1_000)
        desk.rate(REPO, "concurrent", 1)
        desk.key(cap="9.00")
        assert all(isinstance(each, Granted) for each in batch_order(desk, "0.10", "0.10", "0.10"))
        desk.settle(HoldId(f"{BATCH}-0"), "0.05", input=50_000)
        assert {each.kind: each.left for each in desk.ledger.rates()} == {"rpm": 2, "tpm": 1_000, "concurrent": 1}
        desk.granted("0.10")
        assert isinstance(desk.reserve("0.10"), Busy)
        assert desk.ledger.verify().problems == ()

    def test_tokens_of_a_window_count_a_batch(self, desk: Desk) -> None:
        desk.count(ALL, "tokens", "day", 7_000)
        desk.key(cap="9.00")
        decisions = batch_order(desk, "0.10", "0.10", "0.10")
        assert [type(each) for each in decisions] == [Granted, Granted, Denied]
        assert isinstance(desk.reserve("0.10"), Denied)  # a day is no time to wait
        assert desk.ledger.verify().problems == ()

    def test_a_revoked_key_sends_no_batch(self, desk: Desk) -> None:
        desk.key(cap="9.00")
        desk.ledger.revoke_key(KeyId("k1"))
        assert [type(each) for each in batch_order(desk, "0.10")] == [Denied]
