"""Floor 2: where the books are kept.

`Ledger` holds money, `RunStore` (in `run_store`) holds runs. Both are plain blocking calls: whoever runs an event loop
calls them from a thread of its own. Every method is one transaction; a method that grants a hold returns only after
the hold is on the disk.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Literal, Protocol

from crewcap.core.limits import Source
from crewcap.core.money import ZERO, Money
from crewcap.core.quick import quickly_made
from crewcap.stores.run_store import FollowUp as FollowUp
from crewcap.stores.run_store import LoggedEvent as LoggedEvent
from crewcap.stores.run_store import RunStore as RunStore
from crewcap.stores.run_store import Tick as Tick
from crewcap.stores.run_store import WorkerSeen as WorkerSeen

if TYPE_CHECKING:  # whoever opens one small store need not import the core of all
    from crewcap.core.budget import Balance, BootId, CountKind, Decision, HoldId, KeyId, RateKind, Scope, Window
    from crewcap.core.bundles import Bundle
    from crewcap.core.habits import Use
    from crewcap.core.history import Outlay
    from crewcap.core.keys import VirtualKey
    from crewcap.core.limits import CountBalance, CountLimit, RateBalance, RateLimit
    from crewcap.core.makeup import Makeup, MakeupRow
    from crewcap.core.pricing import Usage
    from crewcap.core.reprice import Correction
    from crewcap.core.savings import CacheTurn

LimitSource = Source
BATCH = "batch-"  # how the boot of a batch job begins; a gateway's begins otherwise


def is_batch(boot: BootId) -> bool:
    """Whether a boot is a batch's: no process's end ends it, and rates do not count what it sends."""
    return boot.startswith(BATCH)


@quickly_made
@dataclass(frozen=True, slots=True, kw_only=True)
class HoldOrder:
    """One request that wants money held before it is sent."""

    hold: HoldId
    boot: BootId
    key: KeyId
    amount: Money
    model: str  # full id asked for
    provider: str
    book: str  # hash of the price book
    prompt_bound: int  # tokens
    output_limit: int  # tokens
    asked_output: int  # tokens; larger than `output_limit` where it was clamped
    agent: str = ""  # subagent's id, empty = main
    parent_agent: str = ""
    notes: tuple[str, ...] = ()  # "clamped 16000 -> 2048", "bound by count call"
    keep: Money = ZERO  # must stay free of the run's own cap besides this hold: its final slice


@quickly_made
@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """How one hold ended; everything that `audit` needs."""

    hold: HoldId
    kind: Literal["settled", "released", "uncertain"]
    spent: Money  # exact
    uncertain: Money  # stays charged, unproven
    usage: Usage
    notional: Money = ZERO  # what a subscription's answer would have cost; counts against no limit
    model: str = ""  # as answered
    card: str = ""  # id of the rate card it was settled at
    request_id: str = ""  # the provider's
    status: int = 0  # HTTP status of the provider's answer, 0 = none
    reason: str = ""
    raw_usage: str = ""  # the provider's own words
    incident: str = ""  # a broken assumption: usage above the bound, dearer model, ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """An amount for a scope and a window, with where it was said."""

    scope: Scope
    window: Window
    amount: Money
    source: LimitSource
    version: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenHold:
    """A hold that is not closed, or was closed as uncertain and waits for a word."""

    hold: HoldId
    key: KeyId
    run: str
    model: str
    held: Money
    uncertain: Money
    sent_at: datetime
    reason: str = ""  # how it ended, and what was wrong with its answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One closed request as reports read it."""

    hold: HoldId
    key: KeyId
    run: str
    scopes: tuple[Scope, ...]
    kind: str
    model: str
    provider: str
    agent: str
    spent: Money
    uncertain: Money
    notional: Money
    usage: Usage
    booked_at: datetime  # the reservation's time: its windows
    closed_at: datetime
    request_id: str
    reason: str
    incident: str
    held_at_first: Money
    notes: tuple[str, ...]
    card: str  # that it was settled at
    book: str
    raw_usage: str
    corrected: Money = ZERO  # the part of `spent` that corrections changed; may be negative
    card_now: str = ""  # of the newest correction


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """What a scope has become, all of time, with its tokens."""

    spent: Money
    uncertain: Money
    held: Money
    notional: Money  # never summed with the others
    requests: int
    refused: int
    usage: Usage
    busy: timedelta = timedelta(0)  # from each reservation to the end of its answer; what ran at once counts each


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """Why no capped request goes to a provider until somebody has looked."""

    provider: str
    reason: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What `ledger verify` found: every balance recomputed from the movements."""

    entries: int
    problems: tuple[str, ...]


class Ledger(Protocol):
    """The books. Exactly one transaction a call; safe from several processes on one machine."""

    # boots
    def start_boot(self) -> BootId:
        """Take a boot of our own (flock for the process's life); holds of boots that are dead become uncertain."""
        ...

    def stop_boot(self, boot: BootId) -> None:
        """End the boot; its open holds become uncertain."""
        ...

    def start_batch(self, batch: BootId) -> None:
        """Make the owner of a batch's holds, once: they stay held however many gateways die meanwhile."""
        ...

    def end_batch(self, batch: BootId, *, reason: str) -> int:
        """Nothing more will be heard of a batch: what it still holds becomes uncertain; how many holds that were."""
        ...

    def batches(self) -> tuple[BootId, ...]:
        """Owners of batches that nobody ended."""
        ...

    def beat(self) -> None:
        """Write the marker file: identity and newest movement (at start, stop and every minute)."""
        ...

    # holds
    def reserve(self, order: HoldOrder) -> Decision:
        """Grant, refuse or deny in one transaction over every scope and window of the key; durable when granted.

        In this order: the key, counts (`Denied`; hours before tokens, of which a request may ask fewer), money
        (`Refused`), rates (`Busy`); whatever is not granted holds nothing and takes nothing out of any rate.
        """
        ...

    def reserve_many(self, orders: Sequence[HoldOrder]) -> tuple[Decision, ...]:
        """The same for several, one after the other in one transaction: one flush of the disk for all who queue."""
        ...

    def reserve_batch(self, orders: Sequence[HoldOrder], *, share: int) -> tuple[Decision, ...]:
        """The same for requests of one batch, all on one key; rates do not count them.

        Of every limit but the key's own, batches together hold at most `share` per cent. A `Refused` for that shows
        their part as a balance whose source is "batches".
        """
        ...

    def balances(self, key: KeyId) -> tuple[Balance, ...]:
        """Every limit in force for a key, now."""
        ...

    def shrink(self, hold: HoldId, to: Money) -> None:
        """Early release: lower an open hold, once; never raises it."""
        ...

    def settle(self, settlement: Settlement) -> bool:
        """Close a hold. False (and no money moved) when it was closed before: settling twice is settling once."""
        ...

    def settle_many(self, settlements: Sequence[Settlement]) -> tuple[bool, ...]:
        """The same for several, one after the other in one transaction."""
        ...

    def settle_and_reserve(
        self, settlements: Sequence[Settlement], orders: Sequence[HoldOrder]
    ) -> tuple[tuple[bool, ...], tuple[Decision, ...]]:
        """`settle_many`, then `reserve_many`, in one transaction: what came back is there for what is asked."""
        ...

    def note_refusal(self, key: KeyId, *, model: str, needed: Money, message: str) -> None:
        """Remember that a request was refused, for the report; `needed` must have been free for it."""
        ...

    def needed(self, scope: Scope, *, model: str = "") -> Money:
        """What must be free for the newest request of a scope, where it was refused and none was granted after it.

        `model`: only requests of models whose name begins so. Nothing where none was refused, or one was granted since.
        """
        ...

    def open_holds(self, *, run: str = "") -> tuple[OpenHold, ...]:
        """Holds in flight."""
        ...

    def uncertain_holds(self) -> tuple[OpenHold, ...]:
        """Closed holds whose cost nobody proved."""
        ...

    def reconcile(self, hold: HoldId, *, cost: Money, word: str) -> None:
        """Close an uncertain hold by somebody's word, as a new entry."""
        ...

    def correct_many(self, corrections: Sequence[Correction]) -> tuple[bool, ...]:
        """Book what requests cost by other prices beside what they cost, in their own windows, in one transaction.

        False where a request does not cost any more what its correction was computed from: nothing is booked twice.
        """
        ...

    # incidents
    def freeze(self, provider: str, *, reason: str) -> bool:
        """Remember that an answer of this provider's broke what holds rest on; False where that is known already."""
        ...

    def frozen(self) -> tuple[Incident, ...]:
        """Incidents that nobody has looked at, oldest first: at most one of each provider."""
        ...

    def thaw(self, provider: str, *, word: str) -> bool:
        """Somebody has looked at a provider's incident; False where it has none."""
        ...

    # limits
    def set_limit(self, limit: Limit) -> None:
        """Set or change; a new balance counts what was spent before in its window."""
        ...

    def unset_limit(self, scope: Scope, window: Window, *, source: LimitSource) -> bool:
        """Take back what this source said; the file's own limit, if any, is in force again."""
        ...

    def set_rate(self, limit: RateLimit) -> None:
        """Set or change tokens or requests a minute, or at once; a new bucket is full, a changed one keeps its debt."""
        ...

    def unset_rate(self, scope: Scope, kind: RateKind, *, source: LimitSource) -> bool:
        """Take back what this source said of a rate."""
        ...

    def set_count(self, limit: CountLimit) -> None:
        """Set or change runs, tokens or hours of a window; what was used before in its window counts."""
        ...

    def unset_count(self, scope: Scope, kind: CountKind, window: Window, *, source: LimitSource) -> bool:
        """Take back what this source said of a count."""
        ...

    def sync_file_limits(
        self,
        limits: Iterable[Limit],
        *,
        zone: str,
        has_file: bool = True,
        rates: Iterable[RateLimit] = (),
        counts: Iterable[CountLimit] = (),
    ) -> None:
        """Make the settings file's (and the defaults') limits those of this ledger; commands outrank them.

        Without a file, limits and zone of the file that another command was given stay as they are.
        """
        ...

    def rates(self, scopes: Iterable[Scope] | None = None) -> tuple[RateBalance, ...]:
        """Every rate in force (on these scopes), and what is free of it now; by scope and kind."""
        ...

    def counts(self, scopes: Iterable[Scope] | None = None) -> tuple[CountBalance, ...]:
        """Every count in force (on these scopes) with its current window, of two zones where one is new."""
        ...

    def all_balances(self) -> tuple[Balance, ...]:
        """Every limit in force with its current window."""
        ...

    # keys
    def add_key(self, key: VirtualKey, *, cap: Money | None) -> None:
        """Store a key (by hash) and its cap as a `total` limit on key:ID.

        A run's key counts its run in every scope and window; `MoneyRefused` (and no key) where one may have no more
        runs, or has no hours left. A run that was counted in a window is not counted there again.
        """
        ...

    def find_key(self, hash_: str) -> VirtualKey | None:
        """By hash; expired and revoked ones too, for a true answer."""
        ...

    def keys(self) -> tuple[VirtualKey, ...]:
        """All keys, newest first."""
        ...

    def revoke_key(self, key: KeyId) -> bool:
        """Refuse it from now on; its holds settle."""
        ...

    # reading
    def entries(
        self, *, scope: Scope | None = None, since: datetime | None = None, until: datetime | None = None
    ) -> tuple[Entry, ...]:
        """Closed requests, oldest first."""
        ...

    def has_answer(self, key: KeyId, request_id: str) -> bool:
        """Whether a request of this key got the answer that the provider calls so."""
        ...

    def totals(self, scope: Scope) -> Totals:
        """Sums over all of time."""
        ...

    def verify(self) -> Verified:
        """Recompute every balance from the movements."""
        ...

    def doubt(self) -> str:
        """Why nothing paid may be sent by this clock; empty = it may."""
        ...

    def accept_clock(self) -> None:
        """An operator's word that the clock is right although it jumped."""
        ...

    def backup(self, path: str) -> None:
        """A consistent copy while running."""
        ...

    def close(self) -> None:
        """Write the marker and close."""
        ...


class CacheTurns(Protocol):
    """What was seen of prompt caches: advice, beside the books."""

    def note(self, turns: Sequence[CacheTurn]) -> None:
        """Remember these; one that is known already stays as it is."""
        ...

    def of_run(self, run: str) -> tuple[CacheTurn, ...]:
        """A run's, oldest first."""
        ...

    def of_key(self, key: KeyId) -> tuple[CacheTurn, ...]:
        """A key's, oldest first."""
        ...


LabelKind = Literal["run", "issue", "repo", "team", "user", "workflow", "agent", "phase", "key"]
"""What a key can be asked for: its run's name, a scope, its run's agent, why that was started, its own label."""


LABELLED: frozenset[LabelKind] = frozenset({"run", "issue", "repo", "team", "user", "workflow", "agent", "key"})
"""The labels that bundles can be added up by; why an agent was started is known of keys alone."""

OTHERS = "(others)"
"""What the labels are called that are not among the dearest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Movement:
    """One step of a hold on its way through the books."""

    hold: HoldId
    kind: str  # sent, shrunk, settled, released, uncertain, reconciled, corrected
    held: Money  # by how much each changed
    uncertain: Money
    spent: Money
    notional: Money
    at: datetime
    status: int  # of the provider's answer
    reason: str


class Reports(Protocol):
    """What reports read of the books. Reading may add up beforehand what the next report needs; no money moves."""

    def bundles(
        self,
        *,
        scope: Scope | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        by_quarter: bool = False,
        days_in: tzinfo | None = None,
        by_key: bool = False,
        by: LabelKind | None = None,
        top: int | None = None,
        in_detail: bool = True,
    ) -> Sequence[Bundle]:
        """Closed requests by the time of their reservation, added up; a group may come in several pieces.

        `days_in`: by the days of a zone. `by`: their keys are called by this label (of `LABELLED`), the dearest `top`
        of them, and all others by `OTHERS`. Without `in_detail` only provider and model are told apart: what prices
        and ends look at (card, end, size, plan, pieces) is left empty.
        """
        ...

    def uses(self, *, since: datetime | None = None, until: datetime | None = None) -> Sequence[Use]:
        """Which key asked which model in which quarters of an hour, oldest first; a use may come twice."""
        ...

    def outlays(self, *, scope: Scope | None = None, since: datetime | None = None) -> Sequence[Outlay]:
        """What each key had from each model, added up; of a key and a model there may be several."""
        ...

    def labels(self, of: LabelKind) -> Mapping[KeyId, str]:
        """What keys are called by this; a key that has none is left out."""
        ...

    def movements(self, scope: Scope) -> Sequence[Movement]:
        """Every step of every hold of a scope, in their order."""
        ...

    def pages(
        self, *, scope: Scope | None = None, since: datetime | None = None, until: datetime | None = None
    ) -> Iterator[Entry]:
        """Closed requests, oldest first, read a page at a time however many there are."""
        ...

    def note_makeup(self, rows: Sequence[MakeupRow]) -> None:
        """Remember what prompts were made of, added to what is known."""
        ...

    def makeup(
        self, *, scope: Scope | None = None, since: datetime | None = None, until: datetime | None = None
    ) -> Mapping[str, Makeup]:
        """What prompts were made of, by model; by whole quarters of an hour."""
        ...

    def close(self) -> None:
        """Close what was opened."""
        ...
