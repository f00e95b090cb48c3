"""The law of money as a state machine: random requests, ends, crashes, limits and calendars, checked at every step.

`LedgerMachine` drives the pure model alone. A store's test gives it a `system` beside the model; every decision and
every balance must then be the model's. The law itself is checked from the machine's own notes of what was granted,
not from what model or store believe.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.contracts.clocks import START, Clocks
from tests.contracts.ledger_model import LedgerModel, ModelHold, ModelKey

from crewcap.core.budget import (
    ALL,
    Balance,
    BootId,
    Busy,
    Decision,
    Denied,
    Granted,
    HoldId,
    KeyId,
    Refused,
    Scope,
    Window,
)
from crewcap.core.keys import VirtualKey
from crewcap.core.limits import CountLimit, RateLimit
from crewcap.core.money import Money
from crewcap.core.pricing import Usage
from crewcap.core.reprice import Correction
from crewcap.errors import MoneyRefused
from crewcap.stores import HoldOrder, Ledger, Limit, Settlement

KEYS: dict[str, ModelKey] = {
    "k1": ModelKey((Scope("key:k1"), Scope("run:r1"), Scope("repo:a"), Scope("team:t"), ALL), run="r1"),
    "k2": ModelKey((Scope("key:k2"), Scope("run:r2"), Scope("repo:a"), ALL), run="r2"),
    "k3": ModelKey((Scope("key:k3"), Scope("repo:b"), Scope("team:t"), ALL), max_turns=3, run="r3"),
}
BOUND = 3_000  # tokens, of every order
SCOPES = sorted({scope for key in KEYS.values() for scope in key.scopes})

keys = st.sampled_from(sorted(KEYS))
scopes = st.sampled_from([ALL, ALL, Scope("repo:a"), *SCOPES])
windows: st.SearchStrategy[Window] = st.sampled_from(["total", "total", "day", "day", "week", "month"])
sources = st.sampled_from(["command", "run", "file"])
amounts = st.integers(0, 60)
limits = st.integers(0, 120)
zones = st.sampled_from(["UTC", "Europe/Berlin", "Pacific/Apia"])
measures = st.one_of(  # a limit beside money: kind, window, value
    st.tuples(st.just("tpm"), st.just(""), st.integers(1, 5_000)),
    st.tuples(st.just("rpm"), st.just(""), st.integers(1, 6)),
    st.tuples(st.just("concurrent"), st.just(""), st.integers(1, 4)),
    st.tuples(st.just("tokens"), windows, st.integers(0, 30_000)),
    st.tuples(st.just("runs"), windows, st.integers(0, 6)),
    st.tuples(st.just("hours"), windows, st.integers(0, 60)),
)
picks = st.integers(0, 10**6)
lapses = st.sampled_from(
    (
        timedelta(seconds=1),
        timedelta(minutes=9),
        timedelta(hours=1),
        timedelta(hours=13),
        timedelta(days=1, hours=3),
        timedelta(days=9),
        timedelta(days=31),
    )
)
LIVES = (timedelta(minutes=50), timedelta(hours=30))
jumps = st.sampled_from([timedelta(minutes=-8), timedelta(minutes=8), timedelta(seconds=-1)])


class LedgerMachine(RuleBasedStateMachine):
    """Random lives of a ledger."""

    system: Ledger | None = None
    boot = BootId("none")

    def __init__(self) -> None:
        super().__init__()
        self.clocks = Clocks()
        self.model = LedgerModel(keys={name: replace(key) for name, key in KEYS.items()})
        self.made = 0

    # what a store's machine fills in

    def open_system(self) -> Ledger | None:
        """Open, or open again, what is tested."""
        return None

    def crash_system(self) -> None:
        """Drop it as a killed process would."""

    # the story

    @initialize(amount=limits)
    def begin(self, amount: int) -> None:
        self._start()
        for key in self.model.keys.values():
            key.made_at = self.clocks.wall
        self.limit(ALL, "total", "file", 2 * amount)
        if self.system is not None:
            for name in KEYS:
                self.system.add_key(_virtual_key(name, self.model.keys[name]), cap=None)

    @rule(key=keys, amount=amounts)
    def reserve(self, key: str, amount: int) -> None:
        hold = self._name()
        before = self.model.balances(self.clocks.wall, self.model.keys[key].scopes)
        tokens = self._tokens_left(key)
        expected = self.model.reserve(hold, key, amount, self.clocks.wall, bound=BOUND)
        if self.system is not None:
            _agree(self.system.reserve(self._order(hold, key, amount)), expected)
        if isinstance(expected, Granted):
            _law(before, amount)
            assert all(left >= BOUND for left in tokens)

    @rule(key=keys, amount=amounts)
    def reserve_more(self, key: str, amount: int) -> None:
        """The same again: most of a life is requests."""
        self.reserve(key, amount)

    @rule(key=keys, amount=st.integers(1, 40), threads=st.integers(2, 5))
    def reserve_at_once(self, key: str, amount: int, threads: int) -> None:
        """Who wins is open; how many of equal ones win is not."""
        names = [self._name() for _ in range(threads)]
        if self.system is None:
            decisions = [self.model.reserve(name, key, amount, self.clocks.wall, bound=BOUND) for name in names]
            assert len({type(decision) for decision in decisions}) <= 2
            return
        with ThreadPoolExecutor(threads) as pool:
            orders = [self._order(name, key, amount) for name in names]
            decisions = list(pool.map(self.system.reserve, orders))
        won = [name for name, decision in zip(names, decisions, strict=True) if isinstance(decision, Granted)]
        lost = [decision for decision in decisions if not isinstance(decision, Granted)]
        for name in won:
            before = self.model.balances(self.clocks.wall, self.model.keys[key].scopes)
            assert isinstance(self.model.reserve(name, key, amount, self.clocks.wall, bound=BOUND), Granted)
            _law(before, amount)
        if lost:
            assert not isinstance(self.model.reserve("none", key, amount, self.clocks.wall, bound=BOUND), Granted)

    @precondition(lambda self: self.model.open())
    @rule(pick=picks, spent=st.integers(0, 70), uncertain=st.sampled_from([0, 0, 5]))
    def settle(self, pick: int, spent: int, uncertain: int) -> None:
        """Within the hold, at it, or above it: what happened is booked."""
        self._close(self._pick(self.model.open(), pick), "settled", spent, uncertain)

    @precondition(lambda self: self.model.open())
    @rule(pick=picks)
    def release(self, pick: int) -> None:
        self._close(self._pick(self.model.open(), pick), "released", 0, 0)

    @precondition(lambda self: self.model.open())
    @rule(pick=picks)
    def lose_the_answer(self, pick: int) -> None:
        hold = self._pick(self.model.open(), pick)
        self._close(hold, "uncertain", 0, hold.held)

    @precondition(lambda self: self.model.holds)
    @rule(pick=picks, spent=amounts)
    def settle_any(self, pick: int, spent: int) -> None:
        """Late and duplicate ends included."""
        self._close(self._pick(list(self.model.holds.values()), pick), "settled", spent, 0)

    @precondition(lambda self: self.model.open())
    @rule(pick=picks, to=amounts)
    def shrink(self, pick: int, to: int) -> None:
        self._shrink(self._pick(self.model.open(), pick), to)

    @precondition(lambda self: self.model.holds)
    @rule(pick=picks, to=amounts)
    def shrink_any(self, pick: int, to: int) -> None:
        """Closed ones and those that were shrunk before included."""
        self._shrink(self._pick(list(self.model.holds.values()), pick), to)

    def _shrink(self, hold: ModelHold, to: int) -> None:
        self.model.shrink(hold.id, to, self.clocks.wall)
        if self.system is not None:
            self.system.shrink(HoldId(hold.id), Money(to))

    @precondition(lambda self: self.model.uncertain())
    @rule(pick=picks, cost=amounts)
    def reconcile(self, pick: int, cost: int) -> None:
        hold = self._pick(self.model.uncertain(), pick)
        self.model.reconcile(hold.id, cost, self.clocks.wall)
        if self.system is not None:
            self.system.reconcile(HoldId(hold.id), cost=Money(cost), word="the provider's bill")

    @precondition(lambda self: self.model.priced())
    @rule(picks=st.lists(picks, min_size=1, max_size=3), after=st.integers(0, 90), is_late=st.booleans())
    def correct(self, picks: list[int], after: int, is_late: bool) -> None:  # noqa: FBT001  (drawn)
        """Other prices, above every limit as well; computed in time, or from what a request cost before."""
        holds = [self._pick(self.model.priced(), pick) for pick in picks]
        said = [(it.id, it.spent + (1 if is_late else 0)) for it in holds]
        booked = tuple(self.model.correct(hold, before, after, self.clocks.wall) for hold, before in said)
        if self.system is not None:
            made = [correction(hold, before, after) for hold, before in said]
            assert self.system.correct_many(made) == booked

    @rule(scope=scopes, window=windows, source=sources, amount=limits)
    def limit(self, scope: Scope, window: Window, source: Any, amount: int) -> None:
        """Set, raise or lower, below what is spent as well."""
        self.model.say(scope, window, source, amount)
        if self.system is not None:
            self.system.set_limit(Limit(scope=scope, window=window, amount=Money(amount), source=source))

    @rule(scope=scopes, window=windows, source=sources)
    def lift(self, scope: Scope, window: Window, source: Any) -> None:
        known = self.model.unsay(scope, window, source)
        if self.system is not None:
            assert self.system.unset_limit(scope, window, source=source) is known

    @rule(scope=scopes, source=sources, measure=measures)
    def limit_beside(self, scope: Scope, source: Any, measure: tuple[Any, Any, int]) -> None:
        """A rate or a count: set, raised or lowered."""
        kind, window, value = measure
        self.model.limits.say((scope, kind, window), source, value, self.clocks.wall)
        if self.system is not None:
            if window:
                limit = CountLimit(scope=scope, kind=kind, window=window, value=value, source=source)
                self.system.set_count(limit)
            else:
                self.system.set_rate(RateLimit(scope=scope, kind=kind, value=value, source=source))

    @precondition(lambda self: self.model.limits.said)
    @rule(pick=picks, source=sources)
    def lift_beside(self, pick: int, source: Any) -> None:
        about = sorted(self.model.limits.said)[pick % len(self.model.limits.said)]
        known = self.model.limits.unsay(about, source, self.clocks.wall)
        if self.system is not None:
            scope, kind, window = about
            if window:
                done = self.system.unset_count(scope, kind, window, source=source)  # type: ignore[arg-type]  # texts
            else:
                done = self.system.unset_rate(scope, kind, source=source)  # type: ignore[arg-type]  # texts
            assert done is known

    @rule(like=keys, run=st.sampled_from(["", "r1", "r4", "r5", "r6"]), lives=st.sampled_from([None, *LIVES]))
    def begin_a_run(self, like: str, run: str, lives: timedelta | None) -> None:
        """One more start, of a run that is known or of a new one."""
        name, wall = f"k{len(self.model.keys) + 1}", self.clocks.wall
        scopes = (Scope(f"key:{name}"), *self.model.keys[like].scopes[1:])
        may = not run or self.model.limits.may_begin(self.model, scopes, run, wall)
        key = ModelKey(scopes, run=run, made_at=self.model.at(wall), ends_at=None if lives is None else wall + lives)
        if self.system is not None:
            try:
                self.system.add_key(_virtual_key(name, replace(key, made_at=wall)), cap=None)
            except MoneyRefused:
                assert not may
            else:
                assert may
        if may:
            self.model.keys[name] = key

    @rule(
        lines=st.dictionaries(st.tuples(scopes, windows), limits, max_size=3),
        beside=st.dictionaries(
            st.tuples(scopes, st.sampled_from(["tpm", "concurrent"])), st.integers(1, 900), max_size=1
        ),
        zone=zones,
    )
    def read_settings(
        self, lines: dict[tuple[Scope, Window], int], beside: dict[tuple[Scope, Any], int], zone: str
    ) -> None:
        """The file was edited: other budgets, perhaps another time zone."""
        self.model.sync([(*about, amount) for about, amount in lines.items()], zone, self.clocks.wall)
        self.model.limits.sync({(*about, ""): value for about, value in beside.items()}, self.clocks.wall)
        if self.system is not None:
            said = [
                Limit(scope=scope, window=window, amount=Money(amount), source="file")
                for (scope, window), amount in lines.items()
            ]
            rates = [
                RateLimit(scope=scope, kind=kind, value=value, source="file") for (scope, kind), value in beside.items()
            ]
            self.system.sync_file_limits(said, zone=zone, rates=rates)

    @rule(key=st.just("k3"))
    def revoke(self, key: str) -> None:
        fresh = not self.model.keys[key].revoked
        if fresh:
            self.model.keys[key].revoked, self.model.keys[key].ends_at = True, self.clocks.wall
        if self.system is not None:
            assert self.system.revoke_key(KeyId(key)) is fresh

    @rule(lapse=lapses)
    def time_passes(self, lapse: timedelta) -> None:
        self.clocks.pass_time(lapse)

    @rule(jump=jumps)
    def the_clock_is_set_a_little(self, jump: timedelta) -> None:
        self.clocks.jump(jump)

    @rule(lapse=lapses)
    def crash(self, lapse: timedelta) -> None:
        """Everything in flight becomes uncertain when somebody starts again."""
        self.crash_system()
        self.clocks.pass_time(lapse)
        self._start()

    @rule()
    def restart(self) -> None:
        if self.system is not None:
            self.system.close()
        self._start()

    # the law

    @invariant()
    def balances_are_the_sum_of_what_happened(self) -> None:
        if self.system is None or self.boot == "none":
            return
        assert _comparable(self.system.all_balances()) == _comparable(self.model.balances(self.clocks.wall))

    @invariant()
    def limits_beside_money_are_what_happened(self) -> None:
        if self.system is None or self.boot == "none":
            return
        now = self.clocks.wall
        rates = {(it.scope, it.kind): (it.limit, it.left, it.source) for it in self.system.rates()}
        assert rates == self.model.limits.rates(self.model, now)
        counts = {
            (it.scope, it.kind, it.window, it.label): (it.limit, it.used, it.source) for it in self.system.counts()
        }
        assert counts == self.model.limits.counts(self.model, now)

    @invariant()
    def the_books_verify(self) -> None:
        if self.system is not None and self.boot != "none":
            assert self.system.verify().problems == ()

    @invariant()
    def holds_are_open_or_uncertain_as_they_should_be(self) -> None:
        if self.system is None or self.boot == "none":
            return
        assert {(it.hold, it.held.nano) for it in self.system.open_holds()} == {
            (it.id, it.held) for it in self.model.open()
        }
        assert {(it.hold, it.uncertain.nano) for it in self.system.uncertain_holds()} == {
            (it.id, it.uncertain) for it in self.model.uncertain()
        }

    # small things

    def _start(self) -> None:
        self.system = self.open_system()
        self.model.lose_all(self.clocks.wall)
        if self.system is not None:
            self.system.accept_clock()
            self.boot = self.system.start_boot()

    def _close(self, hold: ModelHold, kind: Any, spent: int, uncertain: int) -> None:
        usage = Usage(input=9 * spent, cache_read=20 * spent, write_5m=spent, output=40 * spent, thinking=spent)
        told, cached, lost = usage.prompt + usage.output, usage.cache_read, kind == "uncertain"
        priced, now = kind == "settled", self.clocks.wall
        expected = self.model.settle(hold.id, spent, uncertain, now, told=told, cached=cached, lost=lost, priced=priced)
        if self.system is not None:
            end = Settlement(
                hold=HoldId(hold.id), kind=kind, spent=Money(spent), uncertain=Money(uncertain), usage=usage
            )
            assert self.system.settle(end) is expected

    def _tokens_left(self, key: str) -> list[int]:
        """What each count of tokens on a key's scopes has left."""
        scopes, counts = self.model.keys[key].scopes, self.model.limits.counts(self.model, self.clocks.wall)
        return [
            limit - used
            for (scope, kind, *_), (limit, used, _) in counts.items()
            if kind == "tokens" and scope in scopes
        ]

    def _name(self) -> str:
        self.made += 1
        return f"h{self.made}"

    def _order(self, hold: str, key: str, amount: int) -> HoldOrder:
        return order(hold, boot=self.boot, key=key, amount=Money(amount))

    @staticmethod
    def _pick(holds: list[ModelHold], pick: int) -> ModelHold:
        return holds[pick % len(holds)]


def order(hold: str, *, boot: BootId, key: str, amount: Money, model: str = "claude-sonnet-5") -> HoldOrder:
    """An order of which only hold, key and amount matter."""
    return HoldOrder(
        hold=HoldId(hold),
        boot=boot,
        key=KeyId(key),
        amount=amount,
        model=model,
        provider="anthropic",
        book="b00c",
        prompt_bound=1_000,
        output_limit=2_000,
        asked_output=4_000,
    )


def correction(hold: str, before: int, after: int) -> Correction:
    """One of which only the money matters."""
    return Correction(hold=HoldId(hold), before=Money(before), after=Money(after), card="c2", reason="other prices")


def _virtual_key(name: str, key: ModelKey) -> VirtualKey:
    return VirtualKey(
        id=KeyId(name),
        hash=f"hash-{name}",
        scopes=key.scopes,
        created_at=key.made_at or START,
        expires_at=key.ends_at,
        max_turns=key.max_turns,
        run=key.run,
    )


def _law(before: tuple[Balance, ...], amount: int) -> None:
    """No hold is granted that takes spent + uncertain + held over any limit in force."""
    for it in before:
        assert not amount or it.spent.nano + it.uncertain.nano + it.held.nano + amount <= it.limit.nano, it


def _agree(found: Decision, expected: Decision) -> None:
    """The same answer; of a refusal also the numbers, for a refusal must be true."""
    match expected:
        case Granted():
            assert found == expected
        case Denied():
            assert isinstance(found, Denied)
            assert (found.code, found.kind) == (expected.code, expected.kind)
        case Busy():
            assert isinstance(found, Busy)
            assert abs(found.retry_after_s - expected.retry_after_s) < 0.000_002
        case Refused():
            assert isinstance(found, Refused)
            assert (found.needed, found.can_wait) == (expected.needed, expected.can_wait)
            assert _comparable(found.balances) == _comparable(expected.balances)
            assert found.binding.left == expected.binding.left
            assert found.needed > found.binding.left


def _comparable(balances: tuple[Balance, ...]) -> dict[tuple[Scope, Window, str], Balance]:
    """By name, without versions, which the model does not count."""
    found = {(it.scope, it.window, it.label): replace(it, version=0) for it in balances}
    assert len(found) == len(balances)
    return found
