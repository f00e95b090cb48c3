"""Limits beside money, as `crewcap budget` reads and shows them: `tpm`, `concurrent`, `runs/day`, `hours/week`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast
from zoneinfo import ZoneInfo

import click
from click.shell_completion import CompletionItem

from crewcap.cli.context import Call
from crewcap.cli.screen.amounts import fitted
from crewcap.core.budget import WINDOWS, CountKind, RateKind, Scope, Window
from crewcap.core.limits import (
    COUNT_KINDS,
    HOUR_S,
    RATE_KINDS,
    CountBalance,
    CountLimit,
    RateBalance,
    RateLimit,
    bounds,
)
from crewcap.errors import UsageError

Beside = RateBalance | CountBalance
_HEAD = ("scope", "limit", "at most", "used", "left", "opens", "source")
_WHOLE = re.compile(r"\d{1,3}(?:[_,]?\d{3})*|\d{1,18}", re.ASCII)


@dataclass(frozen=True, slots=True)
class OfMoney:
    """Dollars of a window."""

    window: Window

    def __str__(self) -> str:
        return self.window


@dataclass(frozen=True, slots=True)
class OfRate:
    """So many a minute, or at once."""

    kind: RateKind

    def __str__(self) -> str:
        return self.kind


@dataclass(frozen=True, slots=True)
class OfCount:
    """So many in a window."""

    kind: CountKind
    window: Window

    def __str__(self) -> str:
        return f"{self.kind}/{self.window}"


Measure = OfMoney | OfRate | OfCount


class MeasureType(click.ParamType[Measure]):
    """The word after the scope."""

    name = "WINDOW"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Measure:
        """`day`, `tpm`, `runs/day`."""
        if not isinstance(value, str):
            return cast("Measure", value)  # converted before
        found = _measure(value)
        if found is None:
            kind, _, _ = value.partition("/")
            known = ", ".join(repr(each) for each in (*WINDOWS, *RATE_KINDS))
            better = f"write {kind}/day" if kind in COUNT_KINDS else "runs, tokens and hours have a window: runs/day"
            self.fail(f"{value!r} is not one of {known}; {better}", param, ctx)
        return found

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Every word that there is."""
        del ctx, param
        counts = (f"{kind}/{window}" for kind in COUNT_KINDS for window in WINDOWS)
        return [CompletionItem(word) for word in (*WINDOWS, *RATE_KINDS, *counts) if word.startswith(incomplete)]


def _measure(word: str) -> Measure | None:
    kind, slash, window = word.partition("/")
    if not slash and kind in WINDOWS:
        return OfMoney(kind)
    if not slash and kind in RATE_KINDS:
        return OfRate(kind)
    return OfCount(kind, window) if kind in COUNT_KINDS and window in WINDOWS else None


def set_beside(call: Call, scope: Scope, about: OfRate | OfCount, text: str) -> None:
    """Set a rate or a count by command."""
    value, ledger = _whole(text, about.kind), call.app.ledger
    match about:
        case OfRate(kind):
            ledger.set_rate(RateLimit(scope=scope, kind=kind, value=value, source="command"))
        case OfCount(counted, window):
            ledger.set_count(CountLimit(scope=scope, kind=counted, window=window, value=value, source="command"))


def unset_beside(call: Call, scope: Scope, about: OfRate | OfCount) -> bool:
    """Take back what was said by command; False where nothing was."""
    match about:
        case OfRate(kind):
            return call.app.ledger.unset_rate(scope, kind, source="command")
        case OfCount(counted, window):
            return call.app.ledger.unset_count(scope, counted, window, source="command")


def in_force(call: Call, scopes: Iterable[Scope] | None = None, about: Measure | None = None) -> list[Beside]:
    """Rates, then counts; of some scopes and one measure, or all."""
    wanted = None if scopes is None else tuple(scopes)
    found: Sequence[Beside] = (*call.app.ledger.rates(wanted), *call.app.ledger.counts(wanted))
    return [one for one in found if about is None or measure(one) == about]


def measure(one: Beside) -> OfRate | OfCount:
    """What it is about."""
    return OfCount(one.kind, one.window) if isinstance(one, CountBalance) else OfRate(one.kind)


def lines(found: Iterable[Beside], zone: ZoneInfo, columns: int) -> Iterator[str]:
    """A table of them, where that is not too wide."""
    rows = [
        (
            one.scope,
            str(measure(one)),
            f"{one.limit:,}",
            _amount(one, one.used) if isinstance(one, CountBalance) else "-",
            _amount(one, one.left),
            _opens(one, zone),
            one.source,
        )
        for one in found
    ]
    yield from fitted(_HEAD, rows, columns, right=frozenset({2, 3, 4}), named=2)


def as_object(one: Beside) -> dict[str, object]:
    """The fields of a budget, of which money has none here, and those of a limit."""
    is_count = isinstance(one, CountBalance)
    resets_at = one.resets_at if isinstance(one, CountBalance) else None
    return {
        "scope": one.scope,
        "window": str(measure(one)),
        **dict.fromkeys(("limit_usd", "spent_usd", "uncertain_usd", "held_usd", "left_usd")),
        "resets_at": resets_at.isoformat() if resets_at else None,
        "source": one.source,
        "label": one.label if isinstance(one, CountBalance) else "",
        "kind": one.kind,
        "limit": one.limit,
        "used": _number(one, one.used) if isinstance(one, CountBalance) else None,
        "left": _number(one, one.left) if is_count else one.left,
    }


def _whole(text: str, kind: RateKind | CountKind) -> int:
    least, most = bounds(kind)
    value = int(re.sub("[_,]", "", text)) if _WHOLE.fullmatch(text) else -1
    if not least <= value <= most:
        raise UsageError(
            f"AMOUNT: {text[:40]!r} is not a number of {kind}",
            help=f"write a whole number from {least} up: 40, 200_000",
        )
    return value


def _number(one: Beside, amount: int) -> float:
    return round(amount / HOUR_S, 4) if one.kind == "hours" else amount


def _amount(one: Beside, amount: int) -> str:
    return f"{amount / HOUR_S:,.1f}" if one.kind == "hours" else f"{amount:,}"


def _opens(one: Beside, zone: ZoneInfo) -> str:
    at: datetime | None = one.resets_at if isinstance(one, CountBalance) else None
    if at is not None:
        return f"{at.astimezone(zone):%Y-%m-%d %H:%M}"
    return "never" if isinstance(one, CountBalance) else "at once" if one.kind == "concurrent" else "evenly"
