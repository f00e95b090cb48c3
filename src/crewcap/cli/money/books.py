"""What reports, plots and exports share: bundles of the ledger, what their keys are called, their price cards."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from typing import Any, Literal, get_args

import click
from click.shell_completion import CompletionItem

from crewcap.cli.context import Call
from crewcap.cli.screen.period import Period
from crewcap.core.budget import ALL, KeyId, Scope, span_of
from crewcap.core.bundles import NONE, Bundle, KeyOf, Line, add_up, at, lines, quarter_of, sorted_lines
from crewcap.core.cards import Kept, settled_at
from crewcap.core.habits import Use
from crewcap.core.makeup import Makeup
from crewcap.core.money import Money
from crewcap.core.pricing import RateCard
from crewcap.stores import LABELLED, OTHERS, LabelKind, OpenHold

Dimension = Literal[
    "day", "week", "month", "run", "issue", "repo", "team", "user", "model", "agent", "workflow", "phase",
    "subagent", "provider", "billing", "key",
]  # fmt: skip
DIMENSIONS: tuple[Dimension, ...] = get_args(Dimension)
IN_TIME = frozenset({"day", "week", "month"})
OF_BUNDLES = frozenset({"model", "provider", "subagent", "billing"})
_REST = (OTHERS,)
_ALIASES = {"repository": "repo", "repositorie": "repo", "developer": "user", "person": "user", "tracker": "issue"}


class DimensionType(click.ParamType[Dimension]):
    """What a report is grouped by; plurals are understood."""

    name = "DIMENSION"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Dimension:
        """The dimension, or the nearest one by name."""
        word = str(value).casefold()
        for spelled in (word, word.removesuffix("s"), _ALIASES.get(word.removesuffix("s"), "")):
            for known in DIMENSIONS:
                if spelled == known:
                    return known
        near = difflib.get_close_matches(word, DIMENSIONS, n=1)
        meant = f"did you mean {near[0]}?" if near else f"one of {', '.join(DIMENSIONS)}"
        return self.fail(f"{str(value)[:40]!r} is nothing to report by; {meant}", param, ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Every word that there is."""
        del ctx, param
        return [CompletionItem(word) for word in DIMENSIONS if word.startswith(incomplete)]


@dataclass(frozen=True, kw_only=True)
class Books:
    """The ledger as reports look at it."""

    call: Call
    _labels: dict[LabelKind, Mapping[KeyId, str]] = field(default_factory=dict)
    _cards: dict[tuple[str, str, str], RateCard | None] = field(default_factory=dict)

    @property
    def is_new(self) -> bool:
        """Whether there are no books yet."""
        return self.call.app.is_new

    @cached_property
    def kept(self) -> Mapping[str, Kept]:
        """Cards that something was settled at, as they were then, by their ids."""
        return {} if self.is_new else self.call.app.price_notes.kept()

    def lines(
        self, by: Sequence[Dimension], period: Period, *, scope: Scope = ALL, top: int | None = None
    ) -> tuple[Line, ...]:
        """One line a group, and what is reserved now, where now is in the period; of the dearest `top`, if said."""
        if self.is_new:
            return ()
        named = self._named(by)
        keys = [self.key_of(each, period) for each in by]
        asked = [_name_of if each == named else key_of for each, key_of in zip(by, keys, strict=True)]
        held = self._held(keys, period, scope)
        cut = top if by and by[0] == named and not held else None
        found = lines(self._read(by, period, scope, named, cut), asked, card_of=self.card_of)
        for group, amount in held.items():
            found[group] = replace(found.get(group, Line(keys=group)), held=amount)
        made = sorted_lines(found, in_time=[each in IN_TIME for each in by])
        return (*(line for line in made if line.keys[:1] != _REST), *(line for line in made if line.keys[:1] == _REST))

    def whole(self, period: Period, *, scope: Scope = ALL) -> Line:
        """All of it as one line."""
        return add_up(self.lines((), period, scope=scope))

    def bundles(self, period: Period) -> Sequence[Bundle]:
        """Closed requests by key and by day."""
        if self.is_new:
            return ()
        return self.call.app.reports.bundles(since=period.since, until=period.until, days_in=period.zone, by_key=True)

    def bundles_of_users(self, period: Period) -> Sequence[Bundle]:
        """Closed requests by user, model and day; users stand in the place of keys."""
        if self.is_new:
            return ()
        return self.call.app.reports.bundles(
            since=period.since, until=period.until, days_in=period.zone, by="user", in_detail=False
        )

    def uses(self, period: Period) -> Sequence[Use]:
        """Which key asked which model when, by the quarter of an hour."""
        return () if self.is_new else self.call.app.reports.uses(since=period.since, until=period.until)

    def _named(self, by: Sequence[Dimension]) -> LabelKind | None:
        """The one dimension that the store itself can add up by; of two, neither."""
        of_keys = [each for each in by if each not in IN_TIME | OF_BUNDLES]
        return next((kind for kind in LABELLED if of_keys == [kind]), None)

    def _read(
        self, by: Sequence[Dimension], period: Period, scope: Scope, named: LabelKind | None, top: int | None
    ) -> Sequence[Bundle]:
        return self.call.app.reports.bundles(
            scope=scope,
            since=period.since,
            until=period.until,
            days_in=period.zone if IN_TIME & set(by) else None,
            by_key=bool(set(by) - IN_TIME - OF_BUNDLES) and named is None,
            by=named,
            top=top,
        )

    def key_of(self, dimension: Dimension, period: Period) -> KeyOf:
        """What a bundle is called in a dimension."""
        if dimension in IN_TIME:
            return _calendar(dimension, period)
        if dimension == "model":
            return lambda bundle: bundle.model or NONE
        if dimension == "provider":
            return lambda bundle: bundle.provider or NONE
        if dimension == "subagent":
            return lambda bundle: "subagents" if bundle.subagent else "main conversation"
        if dimension == "billing":
            return lambda bundle: "plan" if bundle.by_plan else "metered"
        label: LabelKind = dimension  # type: ignore[assignment]  # all others are labels
        return lambda bundle: self.labels(label).get(bundle.key) or NONE

    def labels(self, of: LabelKind) -> Mapping[KeyId, str]:
        """What keys are called by this, looked up once."""
        if of not in self._labels:
            self._labels[of] = {} if self.is_new else self.call.app.reports.labels(of)
        return self._labels[of]

    def card_of(self, bundle: Bundle) -> RateCard | None:
        """The card that a bundle was settled at, or its model's standard card where that is not known any more."""
        name = (bundle.provider, bundle.model, bundle.card)
        if name not in self._cards:
            kept = self.kept.get(bundle.card)
            self._cards[name] = kept.card if kept is not None else self._card_by_book(bundle)
        return self._cards[name]

    def _card_by_book(self, bundle: Bundle) -> RateCard | None:
        moments = (at(bundle.quarter), at(bundle.quarter + 1), self.call.clock())
        return settled_at(self.call.app.book, self.prices_of(bundle.provider), bundle.model, bundle.card, moments)[0]

    def prices_of(self, provider: str) -> str:
        """The price list that a provider of the settings is billed by."""
        return self.call.app.settings.prices_of(provider)

    def billed_as(self, provider: str) -> tuple[str, str]:
        """The dialect and the price list of a provider of the settings."""
        known = self.call.app.settings.providers.get(provider)
        return (known.dialect if known is not None else provider), self.prices_of(provider)

    def _held(self, keys: Sequence[KeyOf], period: Period, scope: Scope) -> dict[tuple[str, ...], Money]:
        """Money that is promised to requests in flight, by group."""
        found: dict[tuple[str, ...], Money] = {}
        ledger = self.call.app.ledger
        mine = None if scope == ALL else {key.id for key in ledger.keys() if scope in key.scopes}  # noqa: SIM118  (a ledger is no mapping)
        for hold in ledger.open_holds():
            if (mine is None or hold.key in mine) and _is_in(hold.sent_at, period):
                group = tuple(key_of(_as_bundle(hold)) for key_of in keys)
                found[group] = found.get(group, Money(0)) + hold.held
        return found


def makeup_of(call: Call, scope: Scope = ALL, period: Period | None = None) -> Makeup:
    """What prompts were made of, all models together."""
    whole = Makeup()
    if not call.app.is_new:
        since, until = (period.since, period.until) if period is not None else (None, None)
        for each in call.app.reports.makeup(scope=scope, since=since, until=until).values():
            whole += each
    return whole


def _name_of(bundle: Bundle) -> str:
    """A bundle whose key is a name already."""
    return bundle.key or NONE


def _calendar(dimension: str, period: Period) -> KeyOf:
    """The label of a quarter's day, week or month in the period's zone."""

    @lru_cache(None)
    def label(quarter: int) -> str:
        return span_of(dimension, at(quarter), period.zone, "").label.removesuffix("@")  # type: ignore[arg-type]  # one of IN_TIME

    return lambda bundle: label(bundle.quarter)


def _is_in(moment: datetime, period: Period) -> bool:
    after = period.since is None or moment >= period.since
    return after and (period.until is None or moment < period.until)


def _as_bundle(hold: OpenHold) -> Bundle:
    """A hold as a bundle without money, to be called by its dimensions."""
    quarter = quarter_of(hold.sent_at.astimezone(UTC))
    return Bundle(quarter, hold.key, "", hold.model, "", "sent", 0, False, False, "{}", *([0] * 10))
