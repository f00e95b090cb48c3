"""What every ledger keeps, whatever it is made of: one suite, subclassed by each store's own test file.

A subclass gives the fixture `opened`: a function that opens the same books, as a second process would.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from tests.contracts.clocks import START, Clocks
from tests.contracts.ledger_batches import BatchesContract
from tests.contracts.ledger_corrections import CorrectionsContract
from tests.contracts.ledger_desk import REPO, RUN, SCOPES, TEAM, Desk, usd
from tests.contracts.ledger_incidents import IncidentsContract
from tests.contracts.ledger_limits import LimitsContract
from tests.contracts.ledger_machine import order

from crewcap.core.budget import ALL, Denied, Granted, HoldId, KeyId, Refused, Scope
from crewcap.core.keys import VirtualKey
from crewcap.core.money import ZERO, Money
from crewcap.core.pricing import Usage
from crewcap.errors import CrewcapError, InternalError, UsageError
from crewcap.stores import Ledger, Limit, Settlement, Totals


class LedgerContract(LimitsContract, IncidentsContract, BatchesContract, CorrectionsContract):
    """The suite."""

    @pytest.fixture
    def clocks(self) -> Clocks:
        return Clocks()

    @pytest.fixture
    def opened(self, tmp_path: Path, clocks: Clocks) -> Callable[[], Ledger]:
        raise NotImplementedError

    @pytest.fixture
    def desk(self, opened: Callable[[], Ledger], clocks: Clocks) -> Desk:
        return Desk(opened(), clocks)

    # holds

    def test_a_second_request_is_refused_while_the_first_holds_the_rest(self, desk: Desk) -> None:
        """Two requests may not both spend the last dollar."""
        desk.key(cap="1.00")
        desk.granted("0.70")
        refused = desk.refused("0.40")
        assert refused.can_wait
        assert (refused.needed, refused.binding.scope, refused.binding.left) == (usd("0.40"), "key:k1", usd("0.30"))
        assert refused.binding.source == "key"

    def test_settling_gives_back_what_was_not_spent(self, desk: Desk) -> None:
        desk.key(cap="1.00")
        hold = desk.granted("0.70")
        assert desk.settle(hold, "0.10")
        assert desk.amounts(Scope("key:k1")) == (usd("0.10"), ZERO, ZERO)
        desk.granted("0.90")
        assert not desk.refused("0.000000001").binding.left

    def test_every_scope_and_window_must_have_room_or_nothing_is_held(self, desk: Desk) -> None:
        desk.key(cap="5.00")
        desk.limit(TEAM, "0.50", "day")
        desk.limit(ALL, "9.00", "month")
        refused = desk.refused("0.60")
        assert (refused.binding.scope, refused.binding.window) == (TEAM, "day")
        assert {it.scope for it in refused.balances} == {"key:k1", TEAM, ALL}
        assert desk.amounts(ALL, "month") == (ZERO, ZERO, ZERO)
        desk.granted("0.50")
        assert desk.amounts(ALL, "month") == desk.amounts(TEAM, "day") == (ZERO, ZERO, usd("0.50"))

    def test_settling_twice_is_settling_once(self, desk: Desk) -> None:
        desk.key(cap="1.00")
        hold = desk.granted("0.70")
        assert desk.settle(hold, "0.10")
        assert not desk.settle(hold, "0.60")
        assert desk.amounts(Scope("key:k1")) == (usd("0.10"), ZERO, ZERO)

    def test_several_settle_together_each_once(self, desk: Desk) -> None:
        desk.key(cap="1.00")
        first, second = desk.granted("0.30"), desk.granted("0.30")
        ends = [
            Settlement(hold=hold, kind="settled", spent=usd("0.10"), uncertain=ZERO, usage=Usage())
            for hold in (first, second, first)
        ]
        assert desk.ledger.settle_many(ends) == (True, True, False)
        assert desk.amounts(Scope("key:k1")) == (usd("0.20"), ZERO, ZERO)
        assert desk.ledger.settle_many(()) == ()

    def test_what_has_ended_makes_room_for_what_is_asked_with_it(self, desk: Desk) -> None:
        desk.key(cap="1.00")
        hold = desk.granted("0.90")
        end = Settlement(hold=hold, kind="settled", spent=usd("0.10"), uncertain=ZERO, usage=Usage())
        orders = [order(f"next-{it}", boot=desk.boot, key="k1", amount=usd(it)) for it in ("0.80", "0.20")]
        closed, (first, second) = desk.ledger.settle_and_reserve([end, end], orders)
        assert closed == (True, False)
        assert isinstance(first, Granted)
        assert isinstance(second, Refused)
        assert desk.amounts(Scope("key:k1")) == (usd("0.10"), ZERO, usd("0.80"))
        assert desk.ledger.settle_and_reserve([], []) == ((), ())

    def test_an_order_that_is_a_defect_undoes_the_ends_that_came_with_it(self, desk: Desk) -> None:
        """All of it or nothing: who asked says it again, in parts."""
        desk.key(cap="1.00")
        hold = desk.granted("0.50")
        end = Settlement(hold=hold, kind="settled", spent=usd("0.10"), uncertain=ZERO, usage=Usage())
        orders = [order(name, boot=desk.boot, key="k1", amount=usd("0.20")) for name in ("next", hold)]
        with pytest.raises(InternalError):
            desk.ledger.settle_and_reserve([end], orders)
        assert desk.amounts(Scope("key:k1")) == (ZERO, ZERO, usd("0.50"))

    def test_what_a_dead_gateway_lost_cannot_be_settled_after_all(self, desk: Desk) -> None:
        """Two tell of one end, and the second is told that it came too late: no money moves, and nothing is raised."""
        desk.key(cap="1.00")
        hold = desk.granted("0.70")
        desk.ledger.stop_boot(desk.boot)
        assert desk.amounts(Scope("key:k1")) == (ZERO, usd("0.70"), ZERO)
        assert not desk.settle(hold, "0.10")
        assert desk.amounts(Scope("key:k1")) == (ZERO, usd("0.70"), ZERO)

    def test_an_unknown_hold_cannot_settle(self, desk: Desk) -> None:
        desk.key(cap="1.00")
        with pytest.raises(InternalError):
            desk.settle(HoldId("nobody"), "0.10")

    def test_a_negative_settlement_is_a_defect_and_leaves_the_hold_charged(self, desk: Desk) -> None:
        desk.key(cap="1.00")
        hold = desk.granted("0.70")
        end = Settlement(hold=hold, kind="settled", spent=Money(-1), uncertain=ZERO, usage=Usage())
        with pytest.raises(InternalError, match="stays charged"):
            desk.ledger.settle(end)
        assert desk.amounts(Scope("key:k1")) == (ZERO, ZERO, usd("0.70"))

    def test_the_same_order_again_is_the_same_hold(self, desk: Desk) -> None:
        """An answer that was lost may be asked for again; the money is held once."""
        desk.key(cap="1.00")
        first, again = desk.reserve("0.70", hold="h"), desk.reserve("0.70", hold="h")
        assert first == again == Granted(hold=HoldId("h"), amount=usd("0.70"))
        assert desk.amounts(Scope("key:k1"))[2] == usd("0.70")
        with pytest.raises(InternalError):
            desk.reserve("0.20", hold="h")

    def test_early_release_lowers_a_hold_once(self, desk: Desk) -> None:
        desk.key(cap="1.00")
        hold = desk.granted("0.70")
        desk.ledger.shrink(hold, usd("0.90"))
        assert desk.amounts(Scope("key:k1"))[2] == usd("0.70")
        desk.ledger.shrink(hold, usd("0.30"))
        desk.ledger.shrink(hold, usd("0.20"))
        assert desk.amounts(Scope("key:k1"))[2] == usd("0.30")
        desk.granted("0.70")
        assert desk.settle(hold, "0.25")
        desk.ledger.shrink(hold, ZERO)
        assert desk.amounts(Scope("key:k1")) == (usd("0.25"), ZERO, usd("0.70"))

    def test_a_released_hold_leaves_nothing(self, desk: Desk) -> None:
        desk.key(cap="1.00")
        hold = desk.granted("0.70")
        end = Settlement(hold=hold, kind="released", spent=ZERO, uncertain=ZERO, usage=Usage(), reason="no byte sent")
        assert desk.ledger.settle(end)
        assert desk.amounts(Scope("key:k1")) == (ZERO, ZERO, ZERO)

    def test_what_is_uncertain_stays_charged_until_somebody_says_what_it_cost(self, desk: Desk) -> None:
        desk.key(cap="1.00")
        hold = desk.granted("0.70")
        end = Settlement(hold=hold, kind="uncertain", spent=ZERO, uncertain=usd("0.70"), usage=Usage(), reason="cut")
        assert desk.ledger.settle(end)
        assert not desk.refused("0.31").can_wait
        (waiting,) = desk.ledger.uncertain_holds()
        assert (waiting.hold, waiting.uncertain, waiting.held, waiting.reason) == (hold, usd("0.70"), ZERO, "cut")
        desk.clocks.pass_time(timedelta(days=40))
        desk.ledger.accept_clock()
        assert not desk.refused("0.31").can_wait  # time alone frees nothing
        desk.ledger.reconcile(hold, cost=usd("0.20"), word="ana: provider's report")
        assert desk.amounts(Scope("key:k1")) == (usd("0.20"), ZERO, ZERO)
        assert desk.ledger.uncertain_holds() == ()
        (entry,) = desk.ledger.entries()
        assert (entry.kind, entry.spent, entry.uncertain) == ("reconciled", usd("0.20"), ZERO)
        assert entry.reason == "cut; ana: provider's report"

    @pytest.mark.parametrize(
        ("reason", "incident", "told"),
        [("cut", "odd", "cut; odd"), ("", "odd", "odd"), ("cut", "", "cut"), ("", "", "")],
    )
    def test_why_a_hold_is_uncertain_is_how_it_ended_and_what_was_wrong(
        self, desk: Desk, reason: str, incident: str, told: str
    ) -> None:
        """An answer that came whole and named a model that nobody priced has ended well."""
        desk.key(cap="1.00")
        said = Settlement(hold=desk.granted("0.70"), kind="uncertain", spent=ZERO, uncertain=usd("0.70"), usage=Usage())
        assert desk.ledger.settle(replace(said, reason=reason, incident=incident))
        (waiting,) = desk.ledger.uncertain_holds()
        assert waiting.reason == told

    def test_a_part_may_be_exact_and_the_rest_uncertain(self, desk: Desk) -> None:
        """First event seen, then cut: the input is known, the output is charged at its limit."""
        desk.key(cap="1.00")
        hold = desk.granted("0.70")
        desk.settle(hold, "0.10", uncertain="0.50")
        assert desk.amounts(Scope("key:k1")) == (usd("0.10"), usd("0.50"), ZERO)
        desk.ledger.reconcile(hold, cost=usd("0.05"), word="word")
        assert desk.amounts(Scope("key:k1")) == (usd("0.15"), ZERO, ZERO)

    def test_only_an_uncertain_hold_can_be_reconciled_and_only_once(self, desk: Desk) -> None:
        desk.key(cap="1.00")
        hold = desk.granted("0.70")
        with pytest.raises(UsageError, match="not uncertain"):
            desk.ledger.reconcile(hold, cost=ZERO, word="word")
        desk.settle(hold, "0.10", uncertain="0.50")
        with pytest.raises(UsageError, match="cannot have cost"):
            desk.ledger.reconcile(hold, cost=Money(-1), word="word")
        desk.ledger.reconcile(hold, cost=ZERO, word="word")
        with pytest.raises(UsageError, match="not uncertain"):
            desk.ledger.reconcile(hold, cost=ZERO, word="word")

    def test_a_bill_above_its_hold_is_booked_in_full_as_an_incident(self, desk: Desk) -> None:
        """The ledger never refuses to hear what happened."""
        desk.key(cap="1.00")
        hold = desk.granted("0.90")
        assert desk.settle(hold, "1.50")
        assert desk.amounts(Scope("key:k1")) == (usd("1.50"), ZERO, ZERO)
        (entry,) = desk.ledger.entries()
        assert entry.incident == "cost 0.600000000 above its hold"
        assert desk.refused("0.01").binding.left == ZERO

    def test_a_subscriptions_money_is_notional_and_counts_against_nothing(self, desk: Desk) -> None:
        desk.key(cap="1.00")
        hold = desk.granted("0")
        end = Settlement(
            hold=hold, kind="settled", spent=ZERO, uncertain=ZERO, notional=usd("3.00"), usage=Usage(output=9)
        )
        assert desk.ledger.settle(end)
        assert desk.amounts(Scope("key:k1")) == (ZERO, ZERO, ZERO)
        totals = desk.ledger.totals(RUN)
        assert (totals.spent, totals.notional) == (ZERO, usd("3.00"))

    # keys

    def test_a_key_is_found_by_hash_with_all_that_it_may_do(self, desk: Desk) -> None:
        key = VirtualKey(
            id=KeyId("k9"),
            hash="hash-k9",
            scopes=(Scope("key:k9"), REPO, ALL),
            created_at=START,
            expires_at=START + timedelta(hours=1),
            models=("claude-sonnet-5", "claude-haiku-4-5"),
            max_output=16_000,
            max_turns=40,
            capped=False,
            run="r9",
            label="a label",
        )
        desk.ledger.add_key(key, cap=None)
        assert desk.ledger.find_key("hash-k9") == key
        assert desk.ledger.find_key("hash-of-another") is None
        assert desk.ledger.keys() == (key,)

    def test_an_unknown_key_is_denied(self, desk: Desk) -> None:
        assert desk.denied(key="nobody").code == "key_unknown"

    def test_a_revoked_key_is_denied_and_what_it_holds_settles(self, desk: Desk) -> None:
        desk.key(cap="1.00")
        hold = desk.granted("0.70")
        assert desk.ledger.revoke_key(KeyId("k1"))
        assert not desk.ledger.revoke_key(KeyId("k1"))
        assert not desk.ledger.revoke_key(KeyId("nobody"))
        assert desk.denied().code == "key_revoked"
        assert desk.settle(hold, "0.10")
        found = desk.ledger.find_key("hash-k1")
        assert found is not None
        assert found.revoked_at == desk.clocks.wall

    def test_an_expired_key_is_denied_from_the_instant_on(self, desk: Desk) -> None:
        key = replace(_key("k2"), expires_at=START + timedelta(minutes=5))
        desk.ledger.add_key(key, cap=None)
        desk.clocks.pass_time(timedelta(minutes=5, microseconds=-1))
        desk.granted("0.01", "k2")
        desk.clocks.pass_time(timedelta(microseconds=1))
        assert desk.denied(key="k2").code == "key_expired"

    def test_a_model_that_the_key_does_not_name_is_denied(self, desk: Desk) -> None:
        desk.ledger.add_key(replace(_key("k2"), models=("claude-haiku-4-5",)), cap=None)
        denied = desk.denied(key="k2")
        assert denied.code == "model_not_allowed"
        assert "claude-haiku-4-5" in denied.message

    def test_a_key_ends_at_its_turn_limit_however_they_ended(self, desk: Desk) -> None:
        desk.ledger.add_key(replace(_key("k2"), max_turns=2), cap=None)
        desk.settle(desk.granted("0.01", "k2"), "0")
        desk.granted("0.01", "k2")
        assert desk.denied(key="k2").code == "turn_limit"

    def test_scopes_that_do_not_lead_from_the_key_to_all_are_a_defect(self, desk: Desk) -> None:
        for scopes in ((ALL,), (Scope("key:k2"), REPO), (REPO, Scope("key:k2"), ALL), (Scope("key:k2"), ALL, ALL)):
            with pytest.raises(InternalError):
                desk.ledger.add_key(replace(_key("k2"), scopes=scopes), cap=None)
        assert desk.ledger.keys() == ()

    # limits and windows

    def test_a_new_limit_counts_what_was_spent_before(self, desk: Desk) -> None:
        """Every hold has all its scopes, limited or not."""
        desk.key()
        desk.settle(desk.granted("0.30"), "0.30")
        desk.settle(desk.granted("0.30"), "0.10", uncertain="0.05")
        desk.granted("0.20")
        for window in ("total", "day", "week", "month"):
            desk.limit(REPO, "1.00", window)
            assert desk.amounts(REPO, window) == (usd("0.40"), usd("0.05"), usd("0.20"))
        assert desk.refused("0.36").binding.left == usd("0.35")

    def test_a_limit_lowered_below_what_is_spent_stops_all_and_settles_all(self, desk: Desk) -> None:
        desk.key()
        desk.limit(REPO, "5.00")
        desk.settle(desk.granted("1.00"), "1.00")
        hold = desk.granted("2.00")
        desk.limit(REPO, "0.50")
        assert desk.refused("0.01").binding.left == ZERO
        assert desk.settle(hold, "1.50")
        assert desk.amounts(REPO) == (usd("2.50"), ZERO, ZERO)
        desk.limit(REPO, "3.00")
        desk.granted("0.50")

    def test_a_limit_of_nothing_refuses_everything(self, desk: Desk) -> None:
        desk.key(cap="0")
        assert desk.refused("0.000000001").binding.limit == ZERO

    def test_a_negative_limit_is_no_limit(self, desk: Desk) -> None:
        with pytest.raises(CrewcapError, match="negative"):
            desk.ledger.set_limit(Limit(scope=ALL, window="total", amount=Money(-1), source="command"))

    def test_a_command_outranks_the_file_until_it_is_unset(self, desk: Desk) -> None:
        desk.key()
        file = Limit(scope=REPO, window="day", amount=usd("1.00"), source="file")
        desk.ledger.sync_file_limits([file], zone="UTC")
        desk.limit(REPO, "9.00", "day")
        assert [(it.limit, it.source) for it in desk.ledger.all_balances()] == [(usd("9.00"), "command")]
        desk.ledger.sync_file_limits([replace(file, amount=usd("2.00"))], zone="UTC")
        assert [(it.limit, it.source) for it in desk.ledger.all_balances()] == [(usd("9.00"), "command")]
        assert desk.ledger.unset_limit(REPO, "day", source="command")
        assert [(it.limit, it.source) for it in desk.ledger.all_balances()] == [(usd("2.00"), "file")]
        assert not desk.ledger.unset_limit(REPO, "day", source="command")

    def test_what_the_file_no_longer_says_is_no_longer_in_force(self, desk: Desk) -> None:
        """But a default that a run brought to its issue stays: no file ever said it."""
        desk.key(cap="1.00")
        issue = Scope("issue:files/fix-login")
        desk.limit(issue, "10.00", source="default")
        lines = [Limit(scope=scope, window="day", amount=usd("1.00"), source="file") for scope in (ALL, REPO)]
        desk.ledger.sync_file_limits(lines, zone="UTC")
        desk.ledger.sync_file_limits(lines[:1], zone="UTC")
        assert {it.scope for it in desk.ledger.all_balances()} == {ALL, "key:k1", issue}

    def test_who_has_no_settings_file_does_not_take_back_what_another_ones_file_says(self, desk: Desk) -> None:
        """A look at the books from a shell without settings may not lift the budgets of what runs."""
        default = Limit(scope=ALL, window="day", amount=usd("25.00"), source="default")
        desk.ledger.sync_file_limits([default], zone="UTC", has_file=False)
        assert [it.source for it in desk.ledger.all_balances()] == ["default"]
        file = Limit(scope=ALL, window="day", amount=usd("5.00"), source="file")
        desk.ledger.sync_file_limits([file], zone="Europe/Berlin")
        desk.ledger.sync_file_limits([default], zone="UTC", has_file=False)
        assert {(it.limit, it.source) for it in desk.ledger.all_balances()} == {(usd("5.00"), "file")}
        assert any(it.label.endswith("@Europe/Berlin") for it in desk.ledger.all_balances())
        desk.ledger.sync_file_limits([default], zone="UTC")  # a file that says nothing of budgets
        assert {it.source for it in desk.ledger.all_balances()} == {"default"}

    def test_a_limits_version_rises_with_each_change_and_never_comes_back(self, desk: Desk) -> None:
        def version() -> int:
            (balance,) = desk.ledger.all_balances()
            return balance.version

        desk.limit(REPO, "1.00")
        seen = [version()]
        desk.limit(REPO, "1.00")
        assert version() == seen[0]  # nothing changed
        for change in ("2.00", "1.00"):
            desk.limit(REPO, change)
            seen.append(version())
        desk.ledger.unset_limit(REPO, "total", source="command")
        desk.limit(REPO, "1.00")
        seen.append(version())
        assert seen == sorted(set(seen))

    def test_a_budget_that_is_gone_while_money_is_held_comes_back_whole(self, desk: Desk) -> None:
        desk.key()
        desk.limit(REPO, "5.00", "day")
        hold = desk.granted("2.00")
        desk.ledger.unset_limit(REPO, "day", source="command")
        assert desk.settle(hold, "1.00")
        desk.limit(REPO, "5.00", "day")
        assert desk.amounts(REPO, "day") == (usd("1.00"), ZERO, ZERO)

    def test_a_window_ends_at_its_zones_midnight_and_the_next_begins_empty(self, desk: Desk) -> None:
        desk.ledger.sync_file_limits([], zone="Europe/Berlin")
        desk.key()
        desk.limit(REPO, "1.00", "day")
        desk.settle(desk.granted("1.00"), "1.00")
        desk.clocks.pass_time(timedelta(hours=13, microseconds=-1))  # 23:59:59.999999 in Berlin
        refused = desk.refused("0.01")
        assert refused.binding.label == "2026-11-22@Europe/Berlin"
        assert refused.binding.resets_at == START + timedelta(hours=13)
        desk.clocks.pass_time(timedelta(microseconds=1))
        desk.granted("1.00")
        (balance,) = desk.ledger.balances(KeyId("k1"))
        assert (balance.label, balance.spent, balance.held) == ("2026-11-23@Europe/Berlin", ZERO, usd("1.00"))

    def test_a_windows_first_instant_is_in_it_and_its_end_is_not(self, desk: Desk) -> None:
        desk.key()
        desk.clocks.pass_time(timedelta(hours=14))  # midnight, in UTC
        desk.granted("0.30")
        desk.limit(REPO, "1.00", "day")
        assert desk.amounts(REPO, "day")[2] == usd("0.30")
        desk.clocks.pass_time(timedelta(hours=24))
        desk.granted("0.20")
        assert desk.amounts(REPO, "day")[2] == usd("0.20")

    def test_a_request_is_booked_to_the_window_of_its_reservation(self, desk: Desk) -> None:
        desk.key()
        desk.limit(REPO, "1.00", "day")
        hold = desk.granted("0.60")
        desk.clocks.pass_time(timedelta(hours=15))  # the next day
        desk.granted("0.20")
        assert desk.settle(hold, "0.50")
        assert desk.amounts(REPO, "day") == (ZERO, ZERO, usd("0.20"))
        (entry,) = desk.ledger.entries()
        assert entry.booked_at == START
        assert entry.closed_at == START + timedelta(hours=15)

    def test_a_new_zone_is_checked_beside_the_old_one_until_that_ones_windows_end(self, desk: Desk) -> None:
        """Moving the zone may not open today's budget a second time."""
        desk.key()
        daily = Limit(scope=REPO, window="day", amount=usd("1.00"), source="file")
        desk.ledger.sync_file_limits([daily], zone="UTC")
        desk.settle(desk.granted("1.00"), "1.00")
        desk.ledger.sync_file_limits([daily], zone="Pacific/Kiritimati")  # 14 hours ahead: midnight there was at 10:00
        assert {it.label for it in desk.ledger.all_balances()} == {"2026-11-22@UTC", "2026-11-23@Pacific/Kiritimati"}
        assert desk.refused("0.01").binding.label == "2026-11-22@UTC"
        desk.clocks.pass_time(timedelta(hours=14))
        assert {it.label for it in desk.ledger.all_balances()} == {"2026-11-23@Pacific/Kiritimati"}

    def test_balances_of_a_key_are_those_on_its_scopes(self, desk: Desk) -> None:
        desk.key(cap="1.00")
        desk.limit(ALL, "9.00", "day")
        desk.limit(Scope("repo:other"), "9.00", "day")
        assert {it.scope for it in desk.ledger.balances(KeyId("k1"))} == {"key:k1", ALL}
        assert desk.ledger.balances(KeyId("nobody")) == ()

    # reading

    def test_an_entry_tells_all_that_an_audit_needs(self, desk: Desk) -> None:
        desk.key()
        order_ = replace(
            order("h1", boot=desk.boot, key="k1", amount=usd("0.50")), agent="sub-1", notes=("clamped 4000 -> 2000",)
        )
        assert isinstance(desk.ledger.reserve(order_), Granted)
        desk.clocks.pass_time(timedelta(seconds=9))
        usage = Usage(input=3, cache_read=5, write_5m=7, write_1h=11, output=13, thinking=2, pieces={"web_search": 2})
        end = Settlement(
            hold=HoldId("h1"),
            kind="settled",
            spent=usd("0.20"),
            uncertain=ZERO,
            usage=usage,
            model="claude-sonnet-5-20260101",
            card="ca4d",
            request_id="req_1",
            status=200,
            reason="complete",
            raw_usage='{"input_tokens":3}',
            incident="tier was dearer",
        )
        assert desk.ledger.settle(end)
        (entry,) = desk.ledger.entries()
        assert entry.scopes == SCOPES
        assert (entry.run, entry.agent, entry.provider) == ("r1", "sub-1", "anthropic")
        assert (entry.model, entry.card, entry.book) == ("claude-sonnet-5-20260101", "ca4d", "b00c")
        assert (entry.spent, entry.uncertain, entry.held_at_first) == (usd("0.20"), ZERO, usd("0.50"))
        assert (entry.usage, entry.raw_usage, entry.notes) == (usage, '{"input_tokens":3}', ("clamped 4000 -> 2000",))
        assert (entry.request_id, entry.reason, entry.incident) == ("req_1", "complete", "tier was dearer")
        assert (entry.booked_at, entry.closed_at) == (START, START + timedelta(seconds=9))

    def test_entries_are_found_by_scope_and_by_the_time_of_the_reservation(self, desk: Desk) -> None:
        desk.key()
        desk.key("k2", scopes=(Scope("key:k2"), TEAM, ALL))
        holds = []
        for key in ("k1", "k2", "k1"):
            holds.append(desk.granted("0.10", key))
            desk.clocks.pass_time(timedelta(hours=1))
        for hold in reversed(holds):
            desk.settle(hold, "0.10")
        second = START + timedelta(hours=1)
        assert [it.hold for it in desk.ledger.entries()] == holds
        assert [it.hold for it in desk.ledger.entries(scope=ALL)] == holds
        assert [it.hold for it in desk.ledger.entries(scope=REPO)] == [holds[0], holds[2]]
        assert [it.hold for it in desk.ledger.entries(since=second)] == holds[1:]
        assert [it.hold for it in desk.ledger.entries(until=second)] == holds[:1]
        assert desk.ledger.entries(scope=Scope("repo:other")) == ()

    def test_an_answer_is_known_to_the_key_that_got_it_and_to_no_other(self, desk: Desk) -> None:
        """A request may go on from an answer of its own key, whose prompt was paid for by it."""
        desk.key()
        desk.key("k2", scopes=(Scope("key:k2"), TEAM, ALL))
        plain = Settlement(hold=HoldId(""), kind="settled", spent=ZERO, uncertain=ZERO, usage=Usage())
        desk.ledger.settle(replace(plain, hold=desk.granted("0.10"), request_id="resp_1"))
        desk.ledger.settle(replace(plain, hold=desk.granted("0.10"), request_id="resp_2", kind="uncertain"))
        desk.ledger.settle(replace(plain, hold=desk.granted("0.10"), request_id="resp_3", kind="released"))
        desk.settle(desk.granted("0.10"), "0.10")
        known = [name for name in ("resp_1", "resp_2", "resp_3", "", "x") if desk.ledger.has_answer(KeyId("k1"), name)]
        assert known == ["resp_1", "resp_2"]
        assert not desk.ledger.has_answer(KeyId("k2"), "resp_1")

    def test_totals_add_up_money_tokens_pieces_and_refusals(self, desk: Desk) -> None:
        desk.key(cap="1.00")
        for number in (1, 2):
            usage = Usage(input=number, output=10 * number, pieces={"web_search": number})
            hold = desk.granted("0.20")
            end = Settlement(hold=hold, kind="settled", spent=usd("0.10"), uncertain=usd("0.01"), usage=usage)
            desk.ledger.settle(end)
        desk.granted("0.20")
        desk.ledger.note_refusal(KeyId("k1"), model="claude-opus-5", needed=usd("9"), message="key:k1 has 0.58 left")
        assert desk.ledger.totals(REPO) == Totals(
            spent=usd("0.20"),
            uncertain=usd("0.02"),
            held=usd("0.20"),
            notional=ZERO,
            requests=3,
            refused=1,
            usage=Usage(input=3, output=30, pieces={"web_search": 3}),
        )
        assert desk.ledger.totals(Scope("repo:other")).requests == 0

    def test_how_long_answers_took_ends_with_them_whatever_is_said_of_them_later(self, desk: Desk) -> None:
        desk.key(cap="1.00")
        lost, open_ = desk.granted("0.20"), desk.granted("0.20")
        desk.clocks.pass_time(timedelta(seconds=3))
        plain = Settlement(hold=lost, kind="uncertain", spent=ZERO, uncertain=usd("0.20"), usage=Usage())
        desk.ledger.settle(plain)
        desk.clocks.pass_time(timedelta(hours=1))
        desk.ledger.reconcile(lost, cost=usd("0.01"), word="the bill says so")
        assert desk.ledger.totals(REPO).busy == timedelta(seconds=3)
        desk.settle(open_, "0.10")
        assert desk.ledger.totals(REPO).busy == timedelta(hours=1, seconds=6)

    def test_what_the_newest_request_needs_is_known_until_one_is_granted(self, desk: Desk) -> None:
        """A run that was paused before anything was granted has no other word about what would be enough."""
        desk.key(cap="1.00")
        desk.key("k2", scopes=(Scope("key:k2"), TEAM, ALL))
        for model, needed in (("claude-opus-5", "9"), ("claude-opus-5-1", "3"), ("claude-haiku-5", "0.02")):
            desk.ledger.note_refusal(KeyId("k1"), model=model, needed=usd(needed), message="key:k1 has 1.00 left")
        desk.ledger.note_refusal(KeyId("k2"), model="claude-opus-5", needed=usd("7"), message="all has 1.00 left")
        assert desk.ledger.needed(RUN) == usd("0.02")
        assert desk.ledger.needed(RUN, model="claude-opus-5") == usd("3")
        assert desk.ledger.needed(RUN, model="claude_opus%") == ZERO
        assert desk.ledger.needed(TEAM) == usd("7")
        assert desk.ledger.needed(Scope("run:r9")) == ZERO
        desk.clocks.pass_time(timedelta(seconds=1))
        desk.granted("0.20")
        assert desk.ledger.needed(RUN) == ZERO

    def test_open_holds_are_listed_by_run(self, desk: Desk) -> None:
        desk.key()
        hold = desk.granted("0.20")
        (found,) = desk.ledger.open_holds(run="r1")
        assert (found.hold, found.key, found.run, found.held, found.sent_at) == (hold, "k1", "r1", usd("0.20"), START)
        assert desk.ledger.open_holds(run="r2") == ()
        assert desk.ledger.verify().entries == 0
        desk.settle(hold, "0.20")
        assert desk.ledger.open_holds() == ()
        assert desk.ledger.verify().entries == 1
        assert desk.ledger.verify().problems == ()

    # boots

    def test_a_boots_open_holds_become_uncertain_when_it_stops(self, desk: Desk) -> None:
        desk.key(cap="1.00")
        desk.granted("0.70")
        desk.ledger.stop_boot(desk.boot)
        assert desk.amounts(Scope("key:k1")) == (ZERO, usd("0.70"), ZERO)
        with pytest.raises(CrewcapError, match="boot has ended"):
            desk.reserve("0.10")

    def test_holds_of_a_boot_that_lives_are_left_alone(self, desk: Desk, opened: Callable[[], Ledger]) -> None:
        """Two gateways may share one ledger; the start of the second touches nothing of the first."""
        desk.key(cap="1.00")
        hold = desk.granted("0.70")
        other = opened()
        boot = other.start_boot()
        assert other.uncertain_holds() == ()
        assert isinstance(other.reserve(order("x", boot=boot, key="k1", amount=usd("0.40"))), Refused)
        assert desk.settle(hold, "0.10")
        assert isinstance(other.reserve(order("y", boot=boot, key="k1", amount=usd("0.40"))), Granted)
        other.close()

    # together

    def test_many_threads_take_exactly_what_there_is(self, desk: Desk) -> None:
        desk.key(cap="1.00")
        gate = threading.Barrier(8)

        def take(worker: int) -> int:
            gate.wait(timeout=10)
            decisions = [desk.reserve("0.05", hold=f"t{worker}-{number}") for number in range(5)]
            return sum(isinstance(decision, Granted) for decision in decisions)

        with ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(take, range(8))) == 20
        assert desk.amounts(Scope("key:k1")) == (ZERO, ZERO, usd("1.00"))
        assert desk.ledger.verify().problems == ()

    # the clock

    def test_a_clock_that_jumps_stops_paid_requests_until_somebody_accepts_it(self, desk: Desk) -> None:
        desk.key()
        hold = desk.granted("0.10")
        desk.clocks.jump(timedelta(hours=15))
        denied = desk.denied()
        assert denied.code == "clock"
        assert "crewcap ledger accept-clock" in denied.message
        assert desk.settle(hold, "0.10")  # what is under way settles, at the time that is trusted
        assert desk.ledger.entries()[0].closed_at == START
        desk.clocks.jump(timedelta(hours=-15))
        assert desk.denied().code == "clock"  # a clock that jumps there and back is no better
        desk.ledger.accept_clock()
        desk.granted("0.10")

    @pytest.mark.parametrize("delta", [timedelta(minutes=10), timedelta(minutes=-10), timedelta(seconds=1)])
    def test_a_clock_that_is_set_by_up_to_ten_minutes_is_followed(self, desk: Desk, delta: timedelta) -> None:
        desk.key()
        desk.granted("0.10")
        desk.clocks.jump(delta)
        desk.granted("0.10")

    def test_a_jump_is_known_to_every_process_at_once(self, desk: Desk, opened: Callable[[], Ledger]) -> None:
        desk.key()
        desk.granted("0.10")
        desk.clocks.jump(timedelta(minutes=11))
        assert desk.denied().code == "clock"
        other = opened()
        decision = other.reserve(order("x", boot=other.start_boot(), key="k1", amount=usd("0.10")))
        assert isinstance(decision, Denied)
        other.accept_clock()
        desk.granted("0.10")
        other.close()

    @pytest.mark.parametrize("away", [timedelta(hours=37), timedelta(hours=-37)])
    def test_a_start_long_after_or_before_the_newest_entry_waits_for_a_word(
        self, desk: Desk, opened: Callable[[], Ledger], away: timedelta
    ) -> None:
        desk.key()
        desk.settle(desk.granted("0.10"), "0.10")
        desk.ledger.close()
        desk.clocks.jump(away)
        later = Desk(opened(), desk.clocks)
        assert later.reserve("0.10", hold="x") == later.denied()
        later.ledger.accept_clock()
        later.reserve("0.10", hold="y")
        later.ledger.close()
        again = Desk(opened(), desk.clocks)
        assert isinstance(again.reserve("0.10", hold="z"), Granted)
        again.ledger.close()

    def test_a_clock_set_back_keeps_booking_to_the_newest_entrys_window(self, desk: Desk) -> None:
        """Going back over midnight may not open yesterday's budget again."""
        desk.key()
        desk.limit(REPO, "1.00", "day")
        desk.clocks.pass_time(timedelta(hours=14, minutes=2))  # 00:02 on the 23rd
        desk.granted("0.60")
        desk.clocks.jump(timedelta(minutes=-5))
        assert desk.refused("0.60").binding.label == "2026-11-23@UTC"
        desk.granted("0.30")
        assert desk.amounts(REPO, "day") == (ZERO, ZERO, usd("0.90"))
        desk.clocks.pass_time(timedelta(minutes=10))  # 00:07 on the 23rd again: all of it was booked there
        assert desk.amounts(REPO, "day") == (ZERO, ZERO, usd("0.90"))
        assert desk.ledger.verify().problems == ()


def _key(name: str) -> VirtualKey:
    return VirtualKey(id=KeyId(name), hash=f"hash-{name}", scopes=(Scope(f"key:{name}"), *SCOPES[1:]), created_at=START)
