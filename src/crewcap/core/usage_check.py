"""What transcripts tell of a run beside what the ledger has of it, and every dollar of the difference explained.

An answer is the same one where the provider's name for it says so, which all whole answers have; else where model and
tokens are the same, and of several alike those nearest in time. What is left on either side is a line of its own, so
that always

    ledger - transcripts = only in the ledger + uncertain + what the same answers differ by - only in transcripts

to the last unit. What only the ledger has is usual: agents write down neither requests that were cut or retried nor
those that they make on the side. What only a transcript has did not go through this gateway.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from crewcap.core.money import ZERO, Money, total
from crewcap.core.pricing import Usage
from crewcap.core.transcripts import Told

_Like = tuple[str, int, int, int, int]


class Booked(Protocol):
    """A closed request of the ledger."""

    @property
    def kind(self) -> str: ...  # noqa: D102  (a field)
    @property
    def model(self) -> str: ...  # noqa: D102
    @property
    def spent(self) -> Money: ...  # noqa: D102
    @property
    def uncertain(self) -> Money: ...  # noqa: D102
    @property
    def notional(self) -> Money: ...  # noqa: D102
    @property
    def usage(self) -> Usage: ...  # noqa: D102
    @property
    def booked_at(self) -> datetime: ...  # noqa: D102
    @property
    def request_id(self) -> str: ...  # noqa: D102
    @property
    def reason(self) -> str: ...  # noqa: D102


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One reason, and what it comes to: above zero where the ledger has more."""

    why: str
    requests: int
    amount: Money


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """Both sums, and why they differ."""

    ledger: Money  # spent, uncertain and notional
    transcripts: Money
    matched: int
    unpriced: int  # messages of transcripts that nobody priced: they count as nothing here
    differences: tuple[Difference, ...]


def check(told: Iterable[tuple[Told, Money | None]], entries: Sequence[Booked]) -> Checked:
    """Compare the messages of transcripts, with their costs, with the requests of the ledger."""
    messages = list(told)
    pairs, only_told = _matched(messages, entries)
    with_message = {id(entry) for entry, _ in pairs}
    alone = [entry for entry in entries if id(entry) not in with_message and entry.kind != "released"]
    found = [*_dearer(pairs), *_alone(alone), *_uncertain(entries), *_only_told(only_told)]
    return Checked(
        ledger=total(_charged(entry) + entry.uncertain for entry in entries),
        transcripts=total(cost or ZERO for _, cost in messages),
        matched=len(pairs),
        unpriced=sum(cost is None for _, cost in messages),
        differences=tuple(found),
    )


_Pairs = list[tuple[Booked, Money | None]]


def _matched(
    messages: Sequence[tuple[Told, Money | None]], entries: Sequence[Booked]
) -> tuple[_Pairs, list[tuple[Told, Money | None]]]:
    """Each message with the request that it is the answer of, and the messages that have none."""
    by_id = {entry.request_id: entry for entry in entries if entry.request_id}
    pairs: _Pairs = []
    unnamed, taken = [], set[int]()
    for each, cost in messages:
        entry = next((by_id[name] for name in each.key.split(":")[1:] if name in by_id), None)
        if entry is None or id(entry) in taken:
            unnamed.append((each, cost))
        else:
            taken.add(id(entry))
            pairs.append((entry, cost))
    free = [entry for entry in entries if id(entry) not in taken]
    alike, rest = _alike(unnamed, free)
    return [*pairs, *alike], rest


def _alike(
    messages: Sequence[tuple[Told, Money | None]], entries: Sequence[Booked]
) -> tuple[_Pairs, list[tuple[Told, Money | None]]]:
    """By model and tokens, nearest in time first come first served; and the messages that have none."""
    free: dict[_Like, list[Booked]] = defaultdict(list)
    for entry in entries:
        free[_like(entry.model, entry.usage)].append(entry)
    pairs: _Pairs = []
    rest = []
    for each, cost in sorted(messages, key=lambda pair: pair[0].at):
        found = free[_like(each.model, each.usage)]
        if not found:
            rest.append((each, cost))
            continue
        entry = min(found, key=lambda entry: abs(entry.booked_at.timestamp() * 1_000 - each.at))
        found.remove(entry)
        pairs.append((entry, cost))
    return pairs, rest


def _like(model: str, usage: Usage) -> _Like:
    return model, usage.input, usage.cache_read, usage.write_5m + usage.write_1h, usage.output


def _dearer(pairs: _Pairs) -> Iterable[Difference]:
    """The same answer at another price: a price that changed, a discount, a factor that only one of them knew."""
    other = [(_charged(entry) - (cost or ZERO)) for entry, cost in pairs if cost is not None]
    unknown = [_charged(entry) for entry, cost in pairs if cost is None]
    if any(other):
        found = [amount for amount in other if amount]
        yield Difference(
            why="same answer, another price: prices or factors have changed since",
            requests=len(found),
            amount=total(found),
        )
    if any(unknown):
        yield Difference(why="same answer, no price for the transcript's", requests=len(unknown), amount=total(unknown))


def _alone(entries: Sequence[Booked]) -> Iterable[Difference]:
    """Requests that were billed and that no transcript tells of."""
    settled = [entry for entry in entries if _charged(entry)]
    if settled:
        models = Counter(entry.model for entry in settled)
        named = ", ".join(f"{count} {model}" for model, count in models.most_common(3))
        yield Difference(
            why=f"only in the ledger: made on the side, cut or retried ({named})",
            requests=len(settled),
            amount=total(_charged(entry) for entry in settled),
        )


def _uncertain(entries: Sequence[Booked]) -> Iterable[Difference]:
    open_ = [entry for entry in entries if entry.uncertain]
    if open_:
        yield Difference(
            why="uncertain: sent, and no answer told what it cost",
            requests=len(open_),
            amount=total(entry.uncertain for entry in open_),
        )


def _only_told(messages: Sequence[tuple[Told, Money | None]]) -> Iterable[Difference]:
    if messages:
        yield Difference(
            why="only in transcripts: it did not go through this gateway, or under another run",
            requests=len(messages),
            amount=-total(cost or ZERO for _, cost in messages),
        )


def _charged(entry: Booked) -> Money:
    """Billed, or under a subscription what it would have been."""
    return entry.spent + entry.notional
