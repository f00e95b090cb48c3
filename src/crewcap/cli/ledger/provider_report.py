"""`crewcap ledger reconcile --report`: uncertain holds, settled by what the provider says that it billed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crewcap.core.money import ZERO, total
from crewcap.core.pricing import UnknownPrice
from crewcap.core.reconcile import Billed, Booked, Plan, Report, plan
from crewcap.errors import UsageError
from crewcap.wire import Malformed

if TYPE_CHECKING:
    from crewcap.cli.context import Call
    from crewcap.config import ProviderSettings
    from crewcap.stores import Entry
    from crewcap.wire.usage_reports import Line, Page

REPORTING = ("anthropic", "openai")
DAY = timedelta(days=1)


def by_report(
    call: Call, files: Sequence[str], *, sole_user: str, api_key: str = "", apply: bool = False, word: str = ""
) -> None:
    """Show what the report settles, and with `apply` do it."""
    provider = _provider(call, sole_user)
    report = _report(call, [_page(Path(name), provider) for name in files], provider, api_key)
    entries = _entries(call, report, provider)
    found = plan(
        report, [*(_booked(call, one, provider) for one in entries), *_going(call, provider)], _cards(call, provider)
    )
    if apply:
        said = word or f"usage report of {provider.name}: {', '.join(Path(name).name for name in files)}"
        for closing in found.closings:
            call.app.ledger.reconcile(closing.hold, cost=closing.cost, word=said)
    _show(call, found, {one.hold: one for one in entries}, applied=apply)


def _provider(call: Call, name: str) -> ProviderSettings:
    """Whose report it is; without this word there is nothing to be concluded from it."""
    if not name:
        raise UsageError(
            "a report settles holds only for a key that nobody but this crewcap uses",
            help="if that is so, say it: --sole-user PROVIDER (else close holds one by one: --cost, --unbilled)",
        )
    provider = call.app.settings.providers.get(name)
    if provider is None:
        known = ", ".join(call.app.settings.providers)
        raise UsageError(f"there is no provider {name[:40]!r}", help=f"those in the settings: {known}")
    if provider.dialect not in REPORTING:
        raise UsageError(
            f"no usage report of {provider.dialect} is known to crewcap",
            help="close its holds by word: crewcap ledger reconcile HOLD --cost USD",
        )
    return provider


def _page(path: Path, provider: ProviderSettings) -> Page:
    from crewcap.wire.usage_reports import read  # noqa: PLC0415  (msgspec is not for --help)

    try:
        page = read(path.read_bytes())
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}", help="give the file of a usage report") from error
    except Malformed as error:
        raise UsageError(f"{path}: {error}", help="crewcap ledger reconcile --help says how to ask for one") from error
    if page.dialect != provider.dialect:
        raise UsageError(
            f"{path} is a report of {page.dialect}, and provider {provider.name} speaks {provider.dialect}",
            help="name the provider that the report is of with --sole-user",
        )
    return page


def _report(call: Call, pages: Sequence[Page], provider: ProviderSettings, api_key: str) -> Report:
    """All pages as one report of one key."""
    lines = [line for page in pages for line in page.lines]
    keys = sorted({line.api_key for line in lines} - {""})
    if api_key and api_key not in keys:
        raise UsageError(
            f"the report does not know the key {api_key[:60]!r}",
            help=f"those it knows: {', '.join(keys)}" if keys else "ask for it grouped by API key as well",
        )
    if not api_key and len(keys) > 1:
        raise UsageError("the report is of several API keys", help=f"say which: --api-key {' or '.join(keys)}")
    spans = sorted(span for page in pages for span in page.spans)
    twice = next((after for before, after in pairwise(spans) if after[0] < before[1]), None)
    if twice is not None:
        raise UsageError(
            f"two parts of the report tell of {twice[0]:%Y-%m-%d %H:%M} UTC",
            help="give each page once, all asked for with the same bucket width",
        )
    mine = [line for line in lines if not api_key or line.api_key == api_key]
    return Report(spans=tuple(spans), lines=tuple(_billed(call, line, provider) for line in mine))


def _billed(call: Call, line: Line, provider: ProviderSettings) -> Billed:
    return Billed(
        starts_at=line.starts_at,
        ends_at=line.ends_at,
        model=_full(call, provider, line.model, line.starts_at),
        usage=line.usage,
        modifiers=line.modifiers,
        most_prompt=line.most_prompt,
    )


def _full(call: Call, provider: ProviderSettings, model: str, at: datetime) -> str:
    try:
        return call.app.book.resolve(provider.prices, model, at=at)
    except UnknownPrice:
        return model


def _cards(call: Call, provider: ProviderSettings) -> Callable[..., Any]:
    book = call.app.book
    return lambda model, at, modifiers: book.card(provider.prices, model, at=at, modifiers=modifiers)


def _entries(call: Call, report: Report, provider: ProviderSettings) -> list[Entry]:
    """Every closed request that can matter, from before the oldest one that is uncertain."""
    starts = [start for start, _ in report.spans] + [hold.sent_at for hold in call.app.ledger.uncertain_holds()]
    found = call.app.ledger.entries(since=min(starts) - DAY)
    return [one for one in found if one.provider == provider.name and (one.spent or one.uncertain)]


def _booked(call: Call, entry: Entry, provider: ProviderSettings) -> Booked:
    """Tokens are proved where they were paid for; what was closed by word is known in money alone."""
    is_word = entry.kind == "reconciled"
    is_proved = not is_word and entry.spent > ZERO
    return Booked(
        hold=entry.hold,
        model=_full(call, provider, entry.model, entry.booked_at),
        sent_at=entry.booked_at,
        closed_at=entry.closed_at,
        by_word=entry.spent if is_word else ZERO,
        uncertain=entry.uncertain,
        **({"proved": entry.usage} if is_proved else {}),
    )


def _going(call: Call, provider: ProviderSettings) -> Iterable[Booked]:
    """Requests under way; whose they are is not told, so they count as this provider's."""
    for hold in call.app.ledger.open_holds():
        model = _full(call, provider, hold.model, hold.sent_at)
        yield Booked(hold=hold.hold, model=model, sent_at=hold.sent_at, closed_at=None)


def _show(call: Call, found: Plan, entries: dict[Any, Entry], *, applied: bool) -> None:
    if call.as_json:
        call.emit(_object(found, applied=applied))
        return
    for closing in found.closings:
        one = entries[closing.hold]
        amounts = f"{closing.cost.show()}, was charged {closing.was.show()}"
        call.out(f"{closing.hold}  {one.booked_at:%Y-%m-%d %H:%M} UTC  {one.model}  {amounts}")
    for kept in found.kept:
        call.out(f"{kept.hold}  stays charged: {kept.why}")
    for strange in found.unexplained:
        when = f"{strange.starts_at:%Y-%m-%d %H:%M} to {strange.ends_at:%H:%M} UTC"
        call.note(f"warning: usage of {strange.model} from {when} has no entry here; does somebody else use the key?")
    was, number = total(closing.was for closing in found.closings), len(found.closings)
    if applied:
        call.note(f"{number} closed at {found.cost.show()}, {was.show()} was charged")
    elif number:
        call.note(f"{number} would be closed at {found.cost.show()} in place of {was.show()}; to do it: --apply")
    else:
        call.note("the report settles nothing")


def _object(found: Plan, *, applied: bool) -> dict[str, Any]:
    return {
        "applied": applied,
        "closed": [
            {"hold": each.hold, "cost_usd": each.cost.exact(), "was_usd": each.was.exact()} for each in found.closings
        ],
        "kept": [{"hold": each.hold, "why": each.why} for each in found.kept],
        "unexplained": [
            {
                "model": each.model,
                "from": each.starts_at.isoformat(),
                "to": each.ends_at.isoformat(),
                "input": each.usage.input,
                "cache_read": each.usage.cache_read,
                "cache_write": each.usage.write_5m + each.usage.write_1h,
                "output": each.usage.output,
            }
            for each in found.unexplained
        ],
    }
