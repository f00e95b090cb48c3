"""What every ledger keeps of limits beside money: rates, counts, and the slice that a run keeps for its end."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from tests.contracts.ledger_desk import REPO, RUN, SCOPES, TEAM, Desk, usd
from tests.contracts.ledger_machine import order

from crewcap.core.budget import ALL, Busy, Denied, Granted, KeyId, Refused, Scope
from crewcap.core.limits import CountLimit, RateLimit
from crewcap.core.money import ZERO
from crewcap.errors import CrewcapError, MoneyRefused
from crewcap.stores import Ledger, Limit

OTHER = (Scope("key:k2"), Scope("run:r2"), Scope("repo:acme/other"), ALL)
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)


class LimitsContract:
    """The suite; it is a part of the ledger's."""

    # rates

    def test_tokens_a_minute_are_a_debt_that_time_pays(self, desk: Desk) -> None:
        """Sent while above zero; what was used is taken out when it settles, cache reads not."""
        desk.key()
        desk.rate(TEAM, "tpm", 1_000)
        first, second = desk.granted("0.01"), desk.granted("0.01")
        assert desk.left(TEAM, "tpm") == 1_000
        desk.settle(first, "0.01", input=300, write_5m=100, write_1h=100, output=200, thinking=200, cache_read=10**6)
        desk.granted("0.01")
        desk.settle(second, "0.01", input=600)
        assert desk.left(TEAM, "tpm") == -300
        busy = desk.busy()
        assert (busy.scope, busy.kind, busy.limit) == (TEAM, "tpm", 1_000)
        assert 18 < busy.retry_after_s < 18.001
        desk.clocks.pass_time(18 * SECOND)
        assert desk.busy().retry_after_s < 0.001  # the debt is paid, and nothing is there yet
        desk.clocks.pass_time(timedelta(microseconds=1))
        desk.granted("0.01")

    def test_a_bucket_holds_one_minutes_worth_however_long_it_was_idle(self, desk: Desk) -> None:
        desk.key()
        desk.rate(TEAM, "rpm", 3)
        desk.clocks.pass_time(5 * HOUR)
        for _ in range(3):
            desk.granted("0.01")
        assert desk.busy().retry_after_s == pytest.approx(20)

    def test_requests_a_minute_come_back_one_by_one(self, desk: Desk) -> None:
        desk.key()
        desk.rate(ALL, "rpm", 3)
        for _ in range(3):
            desk.settle(desk.granted("0.01"), "0.01", output=50)
        desk.clocks.pass_time(20 * SECOND - timedelta(microseconds=1))
        assert 0 < desk.busy().retry_after_s < 0.001
        desk.clocks.pass_time(timedelta(microseconds=1))
        desk.granted("0.01")
        desk.busy()

    def test_whatever_is_not_granted_takes_nothing_out(self, desk: Desk) -> None:
        desk.key(cap="1.00")
        desk.rate(ALL, "rpm", 2)
        desk.granted("0.90")
        desk.refused("0.20")
        assert desk.reserve("0.90", hold="hold-1") == desk.reserve("0.90", hold="hold-1")  # the same order again
        assert desk.denied(key="nobody").code == "key_unknown"
        assert desk.left(ALL, "rpm") == 1
        desk.granted("0.10")
        assert desk.left(ALL, "rpm") == 0

    def test_a_final_no_is_not_waited_for(self, desk: Desk) -> None:
        """Money that will never be there is told at once, although a rate has no room either."""
        desk.key(cap="1.00")
        desk.rate(ALL, "rpm", 1)
        desk.granted("0.01")
        assert not desk.refused("5.00").can_wait
        desk.busy()

    def test_requests_at_once_are_those_in_flight(self, desk: Desk) -> None:
        desk.key()
        desk.key("k2", scopes=OTHER)
        desk.rate(TEAM, "concurrent", 2)
        first, second = desk.granted("0.01"), desk.granted("0.01")
        busy = desk.busy()
        assert (busy.scope, busy.kind, busy.limit, desk.left(TEAM, "concurrent")) == (TEAM, "concurrent", 2, 0)
        assert 0 < busy.retry_after_s <= 1
        desk.granted("0.01", "k2")  # of another team
        desk.settle(first, "0.01")
        desk.granted("0.01")
        desk.lose(second, uncertain="0.01")
        desk.granted("0.01")
        desk.busy()

    def test_of_several_rates_the_longest_wait_is_told(self, desk: Desk) -> None:
        desk.key()
        desk.rate(TEAM, "rpm", 60)
        desk.rate(REPO, "rpm", 1)
        desk.rate(ALL, "concurrent", 1)
        desk.granted("0.01")
        busy = desk.busy()
        assert (busy.scope, busy.kind) == (REPO, "rpm")
        assert busy.retry_after_s == pytest.approx(60)

    def test_a_rate_is_one_for_all_gateways_and_outlives_them(self, desk: Desk, opened: Callable[[], Ledger]) -> None:
        desk.key()
        desk.rate(TEAM, "rpm", 2)
        desk.granted("0.01")
        other = Desk(opened(), desk.clocks)
        assert isinstance(other.reserve("0.01", hold="x"), Granted)
        desk.busy()
        desk.ledger.close()
        other.ledger.close()
        later = Desk(opened(), desk.clocks)
        assert isinstance(later.reserve("0.01", hold="y"), Busy)
        later.ledger.close()

    @pytest.mark.parametrize("back", [timedelta(minutes=-8), timedelta(seconds=-1)])
    def test_a_clock_that_is_set_back_neither_fills_a_bucket_nor_stops_it(self, desk: Desk, back: timedelta) -> None:
        desk.key()
        desk.rate(ALL, "rpm", 6)
        for _ in range(6):
            desk.granted("0.01")
        desk.clocks.jump(back)
        assert desk.busy().retry_after_s == pytest.approx(10)
        desk.clocks.pass_time(10 * SECOND)
        desk.granted("0.01")
        desk.busy()

    def test_what_settles_after_the_clock_was_set_back_is_paid_for_from_then_on(self, desk: Desk) -> None:
        desk.key()
        desk.rate(ALL, "tpm", 600)
        hold = desk.granted("0.01")
        desk.clocks.jump(timedelta(minutes=-8))
        desk.settle(hold, "0.01", output=700)
        assert desk.left(ALL, "tpm") == -100
        desk.clocks.pass_time(8 * SECOND)
        assert desk.left(ALL, "tpm") == -20
        assert desk.busy().retry_after_s == pytest.approx(2, abs=0.001)
        assert desk.ledger.verify().problems == ()

    def test_a_clock_that_is_set_on_fills_at_most_one_minutes_worth(self, desk: Desk) -> None:
        desk.key()
        desk.rate(ALL, "rpm", 2)
        desk.granted("0.01")
        desk.granted("0.01")
        desk.clocks.jump(timedelta(minutes=9))
        desk.granted("0.01")
        desk.granted("0.01")
        desk.busy()

    def test_a_rate_that_is_changed_keeps_its_debt(self, desk: Desk) -> None:
        desk.key()
        desk.rate(TEAM, "tpm", 1_000)
        desk.settle(desk.granted("0.01"), "0.01", input=3_000)
        desk.rate(TEAM, "tpm", 60_000)
        assert desk.left(TEAM, "tpm") == -2_000
        assert desk.busy().retry_after_s == pytest.approx(2, abs=0.001)
        desk.clocks.pass_time(MINUTE)
        desk.rate(TEAM, "tpm", 500)
        assert desk.left(TEAM, "tpm") == 500
        assert desk.ledger.verify().problems == ()
        assert desk.ledger.unset_rate(TEAM, "tpm", source="command")
        assert desk.ledger.rates() == ()
        desk.rate(TEAM, "tpm", 1_000)
        assert desk.left(TEAM, "tpm") == 1_000  # another one: a new bucket is full

    def test_a_usage_that_lies_is_booked_and_only_makes_its_own_scopes_wait(self, desk: Desk) -> None:
        desk.key()
        desk.key("k2", scopes=OTHER)
        desk.rate(TEAM, "tpm", 1_000)
        desk.count(ALL, "tokens", "total", 10**15)
        holds = [desk.granted("0.01") for _ in range(5)]
        for hold, number in zip(holds, (10**12, 2**62, 2**62, 2**62, 2**62), strict=True):
            assert desk.settle(hold, "0.01", input=number, output=number)
        assert isinstance(desk.reserve("0.01"), Busy)
        desk.granted("0.01", "k2")
        assert desk.ledger.verify().problems == ()

    @pytest.mark.parametrize(("kind", "value"), [("tpm", 0), ("rpm", -1), ("concurrent", 10**10 + 1)])
    def test_what_is_no_rate_is_refused(self, desk: Desk, kind: str, value: int) -> None:
        with pytest.raises(CrewcapError, match="is not a limit of"):
            desk.rate(ALL, kind, value)
        assert desk.ledger.rates() == ()

    # counts

    def test_tokens_of_a_window_count_at_their_most_until_they_settle(self, desk: Desk) -> None:
        """Cache reads included; while tokens are only held a request waits, and then it is refused for good."""
        desk.key()
        desk.count(TEAM, "tokens", "day", 5_000)
        first = desk.granted("0.01")
        assert desk.used(TEAM, "tokens") == 3_000
        busy = desk.busy()
        assert (busy.scope, busy.kind, busy.limit) == (TEAM, "tokens", 5_000)
        desk.settle(first, "0.01", input=100, cache_read=400, write_5m=50, write_1h=50, output=100, thinking=60)
        assert desk.used(TEAM, "tokens") == 700
        second = desk.granted("0.01")
        desk.lose(second, uncertain="0.01")
        assert desk.used(TEAM, "tokens") == 3_700
        denied = desk.denied()
        assert (denied.code, denied.kind) == ("count_limit", "tokens")
        for word in ("team:core", "3,700", "5,000 tokens", "3,000", "2026-11-23 00:00 UTC", "tokens/day NUMBER"):
            assert word in denied.message
        assert isinstance(desk.reserve("0.01", prompt_bound=1_000, output_limit=300), Granted)  # a closer bound fits
        desk.clocks.pass_time(14 * HOUR)
        assert desk.used(TEAM, "tokens") == 0
        desk.granted("0.01")

    def test_what_nobody_proved_keeps_its_tokens(self, desk: Desk) -> None:
        """Also where no money is uncertain (a subscription); a word that it cost nothing gives them back."""
        desk.key()
        desk.count(ALL, "tokens", "total", 10**6)
        unproven, billed, never, half = [desk.granted("0.01") for _ in range(4)]
        desk.lose(unproven)
        desk.lose(billed, uncertain="0.01")
        desk.lose(never, uncertain="0.01")
        desk.settle(half, "0.01", uncertain="0.01", input=500, output=5_000)
        assert desk.used(ALL, "tokens", "total") == 9_000 + 5_500
        desk.ledger.reconcile(billed, cost=usd("0.01"), word="the provider's bill")
        assert desk.used(ALL, "tokens", "total") == 9_000 + 5_500
        desk.ledger.reconcile(never, cost=ZERO, word="it is not on the bill")
        assert desk.used(ALL, "tokens", "total") == 6_000 + 5_500
        assert desk.ledger.verify().problems == ()

    def test_a_new_count_looks_into_its_window(self, desk: Desk) -> None:
        desk.key()
        desk.settle(desk.granted("0.01"), "0.01", output=40)
        desk.clocks.pass_time(24 * HOUR)
        desk.settle(desk.granted("0.01"), "0.01", output=4)
        desk.granted("0.01")
        for window, used in (("day", 3_004), ("week", 3_004), ("month", 3_044), ("total", 3_044)):
            desk.count(REPO, "tokens", window, 10_000)
            assert desk.used(REPO, "tokens", window) == used
        desk.ledger.unset_count(REPO, "tokens", "day", source="command")
        desk.settle(desk.granted("0.01"), "0.01", output=1)
        desk.count(REPO, "tokens", "day", 10_000)
        assert desk.used(REPO, "tokens") == 3_005

    def test_runs_are_counted_when_their_key_is_made_and_refused_beyond(self, desk: Desk) -> None:
        desk.count(TEAM, "runs", "day", 2)
        desk.run_key("k1", "r1")
        desk.run_key("k2", "r2")
        assert desk.used(TEAM, "runs") == 2
        with pytest.raises(MoneyRefused, match=r"team:core has used 2 of its 2 runs this day") as caught:
            desk.run_key("k3", "r3")
        assert (caught.value.exit_status, caught.value.help) == (
            3,
            "raise it with: crewcap budget set team:core runs/day NUMBER",
        )
        assert "2026-11-23 00:00 UTC" in caught.value.message
        assert desk.ledger.find_key("hash-k3") is None
        desk.run_key("k4", "r1")  # one more start of a run that was counted
        desk.run_key("k5", "")  # no run at all
        desk.run_key("k6", "r6", scopes=OTHER)  # of another team
        desk.granted("0.01")
        desk.clocks.pass_time(14 * HOUR)
        desk.run_key("k7", "r3")
        assert desk.used(TEAM, "runs") == 1

    def test_runs_that_begin_at_once_are_as_many_as_there_may_be(self, desk: Desk) -> None:
        desk.count(ALL, "runs", "week", 5)
        gate = threading.Barrier(8)

        def begin(number: int) -> int:
            gate.wait(timeout=10)
            try:
                desk.run_key(f"k{number}", f"r{number}")
            except MoneyRefused:
                return 0
            return 1

        with ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(begin, range(8))) == 5
        assert desk.used(ALL, "runs", "week") == len(desk.ledger.keys()) == 5

    def test_hours_are_the_lives_of_runs_keys_inside_the_window(self, desk: Desk) -> None:
        """From the making of a key to its revocation, its end or now; added up."""
        desk.count(TEAM, "hours", "day", 24)
        desk.run_key("k1", "r1", lives=9 * HOUR)
        desk.run_key("k2", "r2", lives=2 * HOUR)
        desk.run_key("k3", "", lives=9 * HOUR)  # no run
        desk.clocks.pass_time(HOUR)
        assert desk.used(TEAM, "hours") == 2 * 3_600
        desk.ledger.revoke_key(KeyId("k1"))
        desk.clocks.pass_time(9 * HOUR)
        assert desk.used(TEAM, "hours") == (1 + 2) * 3_600
        desk.run_key("k4", "r4", lives=9 * HOUR)  # from 20:00 over midnight
        desk.clocks.pass_time(5 * HOUR)
        assert desk.used(TEAM, "hours") == 3_600  # of the next day
        desk.count(TEAM, "hours", "month", 400)
        assert desk.used(TEAM, "hours", "month") == (1 + 2 + 5) * 3_600

    def test_hours_that_are_over_refuse_requests_and_new_runs(self, desk: Desk) -> None:
        desk.count(RUN, "hours", "day", 2)
        desk.key(cap="1.00")
        hold = desk.granted("0.01")
        desk.clocks.pass_time(2 * HOUR - timedelta(microseconds=1))
        desk.granted("0.01")
        desk.clocks.pass_time(timedelta(microseconds=1))
        denied = desk.denied()
        assert (denied.code, denied.kind) == ("count_limit", "hours")
        assert "run:r1 has used 2.0 of its 2 hours this day" in denied.message
        with pytest.raises(MoneyRefused, match="2 hours"):
            desk.key("k9")
        assert desk.settle(hold, "0.01")

    def test_a_count_of_nothing_lets_nothing_begin(self, desk: Desk) -> None:
        desk.count(ALL, "runs", "total", 0)
        with pytest.raises(MoneyRefused) as caught:
            desk.key()
        assert caught.value.message == "all has used 0 of its 0 runs"

    # who said it, and the calendar

    def test_a_command_outranks_the_files_rates_and_counts_until_it_is_unset(self, desk: Desk) -> None:
        rate = RateLimit(scope=TEAM, kind="tpm", value=100, source="file")
        count = CountLimit(scope=TEAM, kind="runs", window="day", value=40, source="file")
        desk.ledger.sync_file_limits([], zone="UTC", rates=[rate], counts=[count])
        desk.rate(TEAM, "tpm", 900)
        desk.count(TEAM, "runs", "day", 9)
        desk.ledger.sync_file_limits([], zone="UTC", rates=[rate], counts=[count])

        def said() -> list[tuple[int, str]]:
            rates = [(it.limit, it.source) for it in desk.ledger.rates()]
            return rates + [(it.limit, it.source) for it in desk.ledger.counts()]

        assert said() == [(900, "command"), (9, "command")]
        assert desk.ledger.unset_rate(TEAM, "tpm", source="command")
        assert desk.ledger.unset_count(TEAM, "runs", "day", source="command")
        assert not desk.ledger.unset_count(TEAM, "runs", "day", source="command")
        assert said() == [(100, "file"), (40, "file")]
        desk.ledger.sync_file_limits([], zone="UTC", has_file=False)
        assert said() == [(100, "file"), (40, "file")]  # who has no file takes nothing back
        desk.ledger.sync_file_limits([], zone="UTC", counts=[count])
        assert said() == [(40, "file")]
        desk.ledger.sync_file_limits([], zone="UTC")
        assert said() == []

    def test_limits_are_listed_by_scope_with_versions_that_never_come_back(self, desk: Desk) -> None:
        desk.rate(TEAM, "tpm", 1)
        desk.rate(TEAM, "concurrent", 1)
        desk.count(ALL, "runs", "day", 1)
        assert [it.kind for it in desk.ledger.rates([TEAM, REPO])] == ["concurrent", "tpm"]
        assert (desk.ledger.rates([ALL]), desk.ledger.counts([TEAM])) == ((), ())
        (first,) = desk.ledger.counts()
        desk.count(ALL, "runs", "day", 1)
        assert desk.ledger.counts() == (first,)
        desk.count(ALL, "runs", "day", 2)
        desk.count(ALL, "runs", "day", 1)
        assert desk.ledger.counts()[0].version > first.version + 1

    def test_a_new_zone_counts_beside_the_old_one_until_that_ones_windows_end(self, desk: Desk) -> None:
        """Moving the zone may not open today's runs or tokens a second time."""
        counts = [
            CountLimit(scope=REPO, kind="runs", window="day", value=1, source="file"),
            CountLimit(scope=REPO, kind="tokens", window="day", value=3_000, source="file"),
        ]
        desk.ledger.sync_file_limits([], zone="UTC", counts=counts)
        desk.key()
        desk.settle(desk.granted("0.01"), "0.01", output=10)
        desk.ledger.sync_file_limits([], zone="Pacific/Kiritimati", counts=counts)  # midnight there was at 10:00
        labels = {it.label for it in desk.ledger.counts()}
        assert labels == {"2026-11-22@UTC", "2026-11-23@Pacific/Kiritimati"}
        assert "2026-11-22@UTC" in desk.denied().message
        with pytest.raises(MoneyRefused, match="2026-11-22@UTC"):
            desk.run_key("k2", "r2")
        desk.clocks.pass_time(24 * HOUR)
        assert {it.label for it in desk.ledger.counts()} == {"2026-11-24@Pacific/Kiritimati"}
        desk.run_key("k2", "r2")
        desk.granted("0.01")
        assert desk.ledger.verify().problems == ()

    @pytest.mark.parametrize(
        ("window", "old", "new", "days"),
        [
            ("day", "2026-11-22@UTC", "2026-11-23@Pacific/Apia", 1),
            ("week", "2026-W47@UTC", "2026-W48@Pacific/Apia", 1),
            ("month", "2026-11@UTC", "2026-11@Pacific/Apia", 9),
        ],
    )
    def test_every_window_is_checked_in_both_zones_until_the_old_ones_end(
        self, desk: Desk, window: Any, old: str, new: str, days: int
    ) -> None:
        """It is Sunday, and at eleven o'clock Monday begins in the new zone: no week's money is given twice."""
        limits = [Limit(scope=REPO, window=window, amount=usd("1.00"), source="file")]
        counts = [CountLimit(scope=REPO, kind="tokens", window=window, value=10**6, source="file")]
        desk.ledger.sync_file_limits(limits, zone="UTC", counts=counts)
        desk.key()
        desk.settle(desk.granted("0.90"), "0.90", output=40)
        desk.clocks.pass_time(HOUR + SECOND)
        desk.ledger.sync_file_limits(limits, zone="Pacific/Apia", counts=counts)
        assert desk.refused("0.11").binding.label in {old, new}
        for labels in ([it.label for it in desk.ledger.all_balances()], [it.label for it in desk.ledger.counts()]):
            assert set(labels) == {old, new}
        used = {it.label: it.used for it in desk.ledger.counts()}
        assert used[old] == 40
        desk.ledger.sync_file_limits(limits, zone="UTC", counts=counts)  # and back again, in the same window
        assert {it.label for it in desk.ledger.all_balances()} == {old, new}
        assert not desk.refused("0.11").can_wait
        desk.clocks.pass_time(timedelta(days=days))
        desk.ledger.accept_clock()
        assert old not in {it.label for it in desk.ledger.all_balances()}
        assert desk.ledger.verify().problems == ()

    def test_a_clock_set_back_over_midnight_counts_in_the_day_of_the_newest_entry(self, desk: Desk) -> None:
        desk.key()
        desk.clocks.pass_time(14 * HOUR + 2 * MINUTE)  # 00:02 on the 23rd
        desk.granted("0.01")
        desk.count(ALL, "runs", "day", 1)
        desk.clocks.jump(timedelta(minutes=-5))
        desk.run_key("k2", "r2")
        with pytest.raises(MoneyRefused, match="2026-11-23@UTC"):
            desk.run_key("k3", "r3")
        desk.clocks.pass_time(10 * MINUTE)
        assert desk.used(ALL, "runs") == 1

    # the slice that a run keeps

    def test_what_is_kept_must_stay_free_of_the_runs_own_cap(self, desk: Desk) -> None:
        desk.key(cap="9.00")
        desk.limit(RUN, "1.00", source="run")
        desk.limit(TEAM, "0.60", "day")
        assert isinstance(desk.reserve("0.30", keep=usd("0.50")), Granted)
        decision = desk.reserve("0.25", keep=usd("0.50"))
        assert isinstance(decision, Refused)
        assert (decision.binding.scope, decision.needed, decision.kept) == (RUN, usd("0.25"), usd("0.50"))
        assert (decision.binding.left, decision.can_wait) == (usd("0.70"), True)
        assert isinstance(desk.reserve("0.20", keep=usd("0.50")), Granted)
        decision = desk.reserve("0.15")
        assert isinstance(decision, Refused)
        assert (decision.binding.scope, decision.kept) == (TEAM, ZERO)

    def test_orders_that_queue_meet_the_same_limits_one_after_the_other(self, desk: Desk) -> None:
        desk.key()
        desk.rate(ALL, "rpm", 3)
        desk.count(ALL, "tokens", "day", 6_000)
        names = ("a", "b", "c", "d")
        orders = [order(name, boot=desk.boot, key="k1", amount=ZERO) for name in names]
        decisions = desk.ledger.reserve_many(orders)
        assert [type(it) for it in decisions] == [Granted, Granted, Busy, Busy]
        assert desk.left(ALL, "rpm") == 1

    def test_many_threads_send_exactly_as_many_as_a_rate_allows(self, desk: Desk) -> None:
        desk.key()
        desk.rate(TEAM, "rpm", 20)
        desk.rate(ALL, "concurrent", 15)
        gate = threading.Barrier(8)

        def take(worker: int) -> int:
            gate.wait(timeout=10)
            decisions = [desk.reserve("0.01", hold=f"t{worker}-{number}") for number in range(4)]
            assert not any(isinstance(it, Denied | Refused) for it in decisions)
            return sum(isinstance(it, Granted) for it in decisions)

        with ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(take, range(8))) == 15
        assert (desk.left(TEAM, "rpm"), desk.left(ALL, "concurrent")) == (5, 0)
        assert desk.ledger.verify().problems == ()

    def test_a_scope_is_what_its_own_keys_use(self, desk: Desk) -> None:
        """Limits of one team, repository or run say nothing of another's."""
        desk.key()
        desk.key("k2", scopes=OTHER)
        for scope in SCOPES[1:4]:
            desk.rate(scope, "rpm", 1)
            desk.count(scope, "tokens", "day", 3_000)
        desk.granted("0.01")
        for _ in range(3):
            desk.granted("0.01", "k2")
        assert isinstance(desk.reserve("0.01"), Busy)
