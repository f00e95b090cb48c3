"""Telling people what happened: who wants to know what, by the settings, and what there is to tell by the books."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from zoneinfo import ZoneInfo

from crewcap.cli.context import Call
from crewcap.cli.runs.view import cost_of, totals_of
from crewcap.core.notices import Notice, Wish, of_budgets, of_forecast, of_run, parse_wish
from crewcap.core.runs import Run
from crewcap.errors import CrewcapError
from crewcap.gateway.assemble import key_variables
from crewcap.notify import NOTIFIERS, Notifier, NotSent, Target
from crewcap.notify.notebook import Addressee, Delivery, Notebook
from crewcap.settings.models import NotifyFile


def tell_of(call: Call, run: Run | None = None) -> None:
    """Tell of a run's end and of budgets, where the settings ask for it. It never fails a command: it is said."""
    if not call.app.settings.notify:
        return
    now = call.clock()
    ended = of_run(run, cost_of(totals_of(call, run)), now=now) if run is not None else None
    for delivery in tell(call, [*([ended] if ended else []), *budget_notices(call)]):
        if delivery.problem:
            call.note(f"note: {delivery.target} was not told: {delivery.problem}; it will be tried again")


def tell(call: Call, notices: Iterable[Notice], *, only_now: bool = False) -> Sequence[Delivery]:
    """Send what is new and what is still due; with `only_now` quiet hours do not matter."""
    call.home.make()
    return _notebook(call).tell(notices, addressees(call, awake=only_now), now=call.clock())


def told(call: Call) -> Sequence[tuple[Notice, tuple[str, ...]]]:
    """Every notice, with those at whom it arrived."""
    return _notebook(call).told()


def addressees(call: Call, *, awake: bool = False) -> list[Addressee]:
    """Everybody whom the settings name."""
    settings, now = call.app.settings, call.clock()
    zone = ZoneInfo(settings.timezone)
    return [
        Addressee(
            target=_target(call, each),
            wishes=[parse_wish(word) for word in each.on],
            is_quiet=not awake and each.quiet is not None and each.quiet.is_open(now, zone),
        )
        for each in settings.notify
    ]


def budget_notices(call: Call) -> list[Notice]:
    """Budgets that are used, or will be, to a percent that somebody asked for."""
    wishes = [parse_wish(word) for each in call.app.settings.notify for word in each.on]
    now = call.clock()
    found: list[Notice] = []
    if percents := _percents(wishes, "budget"):
        found += of_budgets(call.app.ledger.all_balances(), percents, now=now)
    if percents := _percents(wishes, "forecast"):
        found += _forecast_notices(call, percents)
    return found


def _forecast_notices(call: Call, percents: Sequence[int]) -> list[Notice]:
    from crewcap.cli.money.forecast import outlook_of  # noqa: PLC0415  (only where it is asked for)
    from crewcap.core.money import Money  # noqa: PLC0415

    found: list[Notice] = []
    for chance in outlook_of(call).chances:
        limit = chance.budget.limit
        shares: list[tuple[int, Fraction]] = [
            (percent, chance.fan.over(Money(limit.nano * percent // 100))) for percent in percents
        ]
        found += of_forecast(chance.budget, shares, crosses=chance.crosses, now=call.clock())
    return found


def _percents(wishes: Iterable[Wish], kind: str) -> list[int]:
    return sorted({percent for wish in wishes if wish.kind == kind for percent in wish.percents})


def _notebook(call: Call) -> Notebook:
    return Notebook(path=call.home.notices, make=lambda target: _notifier(call, target))


def _target(call: Call, each: NotifyFile) -> Target:
    """A place under a name that shows no secret; its address is read when something is sent."""
    if each.webhook is not None:
        return Target(kind="webhook", name=f"webhook {each.webhook}")
    keys = key_variables(call.app.settings)  # no affair of a program's that only tells
    environ = {name: value for name, value in call.environ.items() if name not in keys}
    if each.command:
        return Target(kind="command", name=f"command {each.command[0]}", argv=each.command, environ=environ)
    if each.log is not None:
        home = call.environ.get("HOME", "~")
        path = Path(home + each.log[1:]) if each.log.startswith("~/") else Path(each.log)
        return Target(kind="log", name=f"log {each.log}", path=path)
    return Target(kind="desktop", name="desktop", environ=environ)


def _notifier(call: Call, target: Target) -> Notifier:
    """The way to a target; a webhook's address is fetched from where it is kept."""
    if target.kind != "webhook":
        return NOTIFIERS[target.kind](target)
    sources = {f"webhook {each.webhook}": each.webhook for each in call.app.settings.notify if each.webhook}
    source = sources[target.name]
    try:
        return NOTIFIERS["webhook"](Target(kind="webhook", name=target.name, address=source.read(call.environ)))
    except CrewcapError as error:
        raise NotSent(error.message) from None
