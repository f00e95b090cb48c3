"""`crewcap batch run --dry-run`: what a batch would cost, and nothing that costs."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence

from crewcap.cli.batch.asked import Wishes, asked
from crewcap.cli.batch.view import MOST_REFUSED
from crewcap.cli.context import Call
from crewcap.cli.screen.amounts import table
from crewcap.cli.screen.figures import NARROW, Screen, fold, many, nearest
from crewcap.core.budget import Balance
from crewcap.core.keys import VirtualKey
from crewcap.core.money import ZERO, Money
from crewcap.core.pricing import RateCard
from crewcap.gateway.assemble import basis
from crewcap.gateway.batch.folder import Job, Planned, Prompt, folders
from crewcap.gateway.batch.pricing import Pricing, by_path
from crewcap.gateway.parts import Basis
from crewcap.prices.sheet import PICO_PER_TOKEN_AT_ONE_USD_PER_MTOK
from crewcap.runner.batch_outlook import Earlier, ItemOutlook, Outlook, Room, outlook, rooms, sums
from crewcap.wire.batches import APIS

_FULL, _REFUSED = 0, 3


def foresee(call: Call, wishes: Wishes) -> int:
    """Say what it would come to; 3 where some of it would not be sent."""
    job, key, prompts = asked(call, wishes)
    found = _outlook(call, job, key, prompts)
    if call.as_json:
        call.emit(_object(job, found))
    else:
        screen = Screen.of(sys.stdout, call.environ)
        for line in screen.lines(_lines(job, found, screen.columns)):
            call.out(line)
        call.note("nothing was sent and nothing is held")
    return _REFUSED if found.refused else _FULL


def _outlook(call: Call, job: Job, key: VirtualKey, prompts: Sequence[Prompt]) -> Outlook:
    served = basis(call.app.served, call.app.book, {})  # no provider's key is read
    planned = _planned(call, served, job, key, prompts)
    return outlook(
        planned,
        prompts,
        book=served.book,
        lists={each.provider.name: each.provider.prices for each in served.endpoints},
        earlier=Earlier() if call.app.is_new else Earlier.of(list(folders(call.home.batches)), call.app.ledger),
        cap=job.cap,
        free=_rooms(call, job, key, share=served.policy.batch_share),
        at=call.clock(),
    )


def _planned(call: Call, served: Basis, job: Job, key: VirtualKey, prompts: Iterable[Prompt]) -> tuple[Planned, ...]:
    """Each prompt as the gateway would plan it."""
    apis = {path: api() for path, api in APIS.items()}
    pricing = Pricing(book=served.book, policy=served.policy, endpoints=by_path(served.endpoints))
    at = call.clock()
    return tuple(pricing.plan(job, prompt, key, apis, at=at) for prompt in prompts)


def _rooms(call: Call, job: Job, key: VirtualKey, *, share: int) -> list[Room]:
    balances = [each for each in _balances(call) if each.scope in key.scopes]
    return rooms(job.cap, balances, {} if call.app.is_new else _held_by_batches(call), share=share)


def _balances(call: Call) -> Iterable[Balance]:
    """Every limit in force; where there are no books yet, those of the settings."""
    if not call.app.is_new:
        return call.app.ledger.all_balances()
    return [
        Balance(scope=one.scope, window=one.window, label="", limit=one.amount, spent=ZERO, uncertain=ZERO, held=ZERO)
        for one in call.app.served.limits()
    ]


def _held_by_batches(call: Call) -> Mapping[str, Money]:
    """What open batches hold in each scope."""
    ours = {folder.job().key for folder in folders(call.home.batches) if not folder.state().is_over}
    held: dict[str, Money] = {}
    if ours:
        scopes = {key.id: key.scopes for key in call.app.ledger.keys() if key.id in ours}  # noqa: SIM118  (a ledger is no mapping)
        for hold in call.app.ledger.open_holds():
            for scope in scopes.get(hold.key, ()):
                held[scope] = held.get(scope, ZERO) + hold.held
    return held


# --- what is shown


def _lines(job: Job, found: Outlook, columns: int) -> Iterator[str]:
    yield f"batch {job.name}: {len(found.sent):,} of {many(len(found.items), 'prompt')} would be sent"
    if found.sent:
        rows = list(_rows(found, is_narrow=columns < NARROW))
        yield from (f"  {row}" for row in table(rows, right=frozenset(range(1, len(rows[0])))))
    for line in _words(found):
        yield from fold(f"  {line}", columns)


def _words(found: Outlook) -> Iterator[str]:
    sent, refused = found.sent, found.refused
    worst, likely, live = sums(sent)
    if sent:
        yield f"held      {worst.show()} at first, of the cap of {found.cap.show()}; what is not used comes back"
        yield f"likely    {likely.show()} (estimated); one by one {live.show()}: {_saved(likely, live)}"
    for words in dict.fromkeys(each.words for each in found.used.values()):
        yield f"from      {words}"
    for model, prices in found.prices.items():
        yield f"prices    {model}: {_rates_shown(prices.batch)} in a batch; {_rates_shown(prices.live)} one by one"
    for item in refused[:MOST_REFUSED]:
        yield f"not sent  {item.id}: {item.refused}"
    if len(refused) > MOST_REFUSED:
        yield f"not sent  and {len(refused) - MOST_REFUSED:,} more; --json names them all"


def _rows(found: Outlook, *, is_narrow: bool) -> Iterator[tuple[str, ...]]:
    """A row for each model, and the sum where they are several."""
    cells = 4 if is_narrow else 6
    yield ("model", "prompts", "worst", "likely", "one by one", "saved")[:cells]
    parts = list(found.of_models())
    for model, items in [*parts, *([("in all", found.sent)] if len(parts) > 1 else [])]:
        worst, likely, live = sums(items)
        row = (model, f"{len(items):,}", worst.show(), likely.show(), live.show(), _share(likely, live))
        yield row[:cells]


def _saved(likely: Money, live: Money) -> str:
    return f"a batch saves {_share(likely, live)}" if likely < live else "a batch saves nothing"


def _share(likely: Money, live: Money) -> str:
    return nearest(max(0, live.nano - likely.nano), live.nano) if live else "0 %"


def _rates_shown(card: RateCard) -> str:
    """Dollars for a million tokens."""
    return f"${_rate(card.rates.input)} in, ${_rate(card.rates.output)} out"


def _rate(pico: int) -> str:
    """Dollars a million tokens, as far as they go."""
    whole, rest = divmod(pico, PICO_PER_TOKEN_AT_ONE_USD_PER_MTOK)
    return f"{whole}.{rest:06d}".rstrip("0").rstrip(".")


def _object(job: Job, found: Outlook) -> dict[str, object]:
    worst, likely, live = sums(found.sent)
    return {
        "name": job.name,
        "items": len(found.items),
        "sent": len(found.sent),
        "refused": [{"id": item.id, "why": item.refused} for item in found.refused],
        "cap_usd": found.cap.exact(),
        "worst_usd": worst.exact(),
        "likely_usd": likely.exact(),
        "one_by_one_usd": live.exact(),
        "models": [_model(found, model, items) for model, items in found.of_models()],
    }


def _model(found: Outlook, model: str, items: Sequence[ItemOutlook]) -> dict[str, object]:
    worst, likely, live = sums(items)
    used, prices = found.used[model], found.prices[model]
    return {
        "model": model,
        "provider": items[0].provider,
        "prompts": len(items),
        "worst_usd": worst.exact(),
        "likely_usd": likely.exact(),
        "one_by_one_usd": live.exact(),
        "likely_from": used.words,
        "earlier_answers": used.answers,
        "usd_per_mtok": {"batch": _rates(prices.batch), "one_by_one": _rates(prices.live)},
    }


def _rates(card: RateCard) -> dict[str, str]:
    return {name: _rate(getattr(card.rates, name)) for name in ("input", "output")}
