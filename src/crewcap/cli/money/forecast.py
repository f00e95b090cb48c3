"""`crewcap forecast`: what the month will cost, by the usual formula and by what was seen."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta, tzinfo
from fractions import Fraction

import click

from crewcap.cli.context import Call, common, with_call
from crewcap.cli.money.past import History, last_of_month, zone_of
from crewcap.cli.screen.amounts import folded, read_amount, room, table
from crewcap.cli.screen.figures import many
from crewcap.core.budget import ALL, Balance, Scope, span_of
from crewcap.core.forecast import HIGH, LOW, Fan, Volume, draw_month, formula
from crewcap.core.history import Job, keys_among, mean, runs_among, workflows
from crewcap.core.money import ZERO, Money, total
from crewcap.errors import UsageError

_SEED = 1  # the same books give the same answer
_FEW = 10  # jobs from which on a band means something
_WIDEST = 100  # budgets that are looked at


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """The formula for one kind of run."""

    name: str
    volume: Volume
    average: Money

    @property
    def month(self) -> Money:
        """What it comes to."""
        return formula(self.volume, self.average)


@dataclass(frozen=True, slots=True, kw_only=True)
class Programs:
    """What programs did on keys of their own: no runs, but the month pays for them too."""

    keys: int
    a_day: Money

    @property
    def month(self) -> Money:
        """What it comes to."""
        return formula(Volume(jobs=Fraction(1)), self.a_day)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chance:
    """A budget, and how likely the draws exceed it."""

    budget: Balance
    fan: Fan

    @property
    def over(self) -> Fraction:
        """The share of draws that end above it."""
        return self.fan.over(self.budget.limit)

    @property
    def crosses(self) -> date | None:
        """The day by which half of the draws are above it."""
        return self.fan.crossing(self.budget.limit)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """Everything that is known of a month."""

    month: str
    spent: Money
    held: Money
    past: Sequence[Job]
    days: int  # that were looked back on
    lines: Sequence[Line]  # of runs
    programs: Programs
    fan: Fan
    chances: Sequence[Chance]

    @property
    def runs(self) -> int:
        """How many were seen."""
        return len(runs_among(self.past))

    @property
    def by_formula(self) -> Money:
        """The month, runs and programs together."""
        return total([*(line.month for line in self.lines), self.programs.month])


@click.command(epilog="Example: crewcap forecast --runs-per-day 5 --cost-per-run 2")
@click.option("--runs-per-day", metavar="N", help="What if so many runs were started a day.")
@click.option("--runs-per-week", metavar="N", help="The same by the week; a month has 4.3 of them.")
@click.option("--cost-per-run", "--average", metavar="USD", help="What if a run cost so much on average.")
@click.option("--mix", multiple=True, metavar="NAME=PERCENT", help="What if runs were of these workflows or models.")
@click.option("--days", type=click.IntRange(1, 366), default=60, show_default=True, help="How far back to look.")
@click.option("--tz", metavar="ZONE", help="Whose midnights count; by default the settings'.")
@common
@with_call
def forecast(
    call: Call,
    *,
    runs_per_day: str | None,
    runs_per_week: str | None,
    cost_per_run: str | None,
    mix: tuple[str, ...],
    days: int,
    tz: str | None,
) -> None:
    """What this month will cost: runs a day x average x 30, beside months drawn from what was seen.

    What programs spend on keys of their own is said apart, by the day.
    With --runs-per-day (or -week), --cost-per-run or --mix it says what another volume of runs would cost.
    """
    zone = zone_of(call, tz)
    history = History(call)
    past = _under_todays_cap(call, history.jobs(since=call.clock() - timedelta(days=days)))
    if runs_per_day or runs_per_week or cost_per_run or mix:
        asked = _asked(
            runs_among(past), _seen(past, call.clock(), zone), runs_per_day, runs_per_week, cost_per_run, mix
        )
        _tell_asked(call, asked)
        return
    outlook = _look(history, past, zone)
    if call.as_json:
        call.emit(_object(outlook))
        return
    for line in folded(_words(outlook), room(call.environ)):
        call.out(line)


def _under_todays_cap(call: Call, past: Sequence[Job]) -> list[Job]:
    """Runs as they could cost under the cap of now; what keys do without a run has caps of its own."""
    most = call.app.settings.defaults.cap
    return [replace(job, cost=min(job.cost, most)) if job.is_run else job for job in past]


def outlook_of(call: Call, *, days: int = 60) -> Outlook:
    """This month and every budget, from what so many days have seen."""
    history = History(call)
    past = _under_todays_cap(call, history.jobs(since=call.clock() - timedelta(days=days)))
    return _look(history, past, zone_of(call))


def month_fan(call: Call, *, days: int = 60) -> Fan | None:
    """Where this month may end, for a plot; None where nothing was paid for yet."""
    history = History(call)
    past = _under_todays_cap(call, history.jobs(since=call.clock() - timedelta(days=days)))
    return _draw(history, ALL, "month", call.clock(), zone_of(call), past)[2] if past else None


def _look(history: History, past: Sequence[Job], zone: tzinfo) -> Outlook:
    """Draw the month, and each budget's own window."""
    now = history.call.clock()
    today = now.astimezone(zone).date()
    seen = _seen(past, now, zone)
    spent, held, fan = _draw(history, ALL, "month", now, zone, past)
    return Outlook(
        month=f"{today:%Y-%m}",
        spent=spent,
        held=held,
        past=past,
        days=seen,
        lines=[_line(name, mine, seen) for name, mine in workflows(runs_among(past)).items()],
        programs=_programs(keys_among(past), seen),
        fan=fan,
        chances=_chances(history, now, zone, past),
    )


def _draw(
    history: History, scope: Scope, window: str, now: datetime, zone: tzinfo, past: Sequence[Job]
) -> tuple[Money, Money, Fan]:
    """What a window of a scope has cost, what is held, and what it may come to."""
    span = span_of("week" if window == "week" else "month", now, zone, str(zone))
    app = history.call.app
    spent = history.cost(scope=scope, since=span.starts_at)
    held = ZERO if app.is_new else app.ledger.totals(scope).held
    today = now.astimezone(zone).date()
    until = last_of_month(today) if window == "month" else (span.ends_at - timedelta(seconds=1)).astimezone(zone).date()
    fan = draw_month(past, now=now, until=until, zone=zone, base=spent + held, chance=random.Random(_SEED))  # noqa: S311  (draws, no secret)
    return spent, held, fan


def _chances(history: History, now: datetime, zone: tzinfo, past: Sequence[Job]) -> list[Chance]:
    """How likely each budget of a week or a month is exceeded, and when."""
    call = history.call
    if call.app.is_new:
        return []
    budgets = [each for each in call.app.ledger.all_balances() if each.window in {"week", "month"}][:_WIDEST]
    found = []
    for budget in budgets:
        since = past[0].at if past else None
        mine = past if budget.scope == ALL else _under_todays_cap(call, history.jobs(scope=budget.scope, since=since))
        _, _, fan = _draw(history, budget.scope, budget.window, now, zone, mine)
        found.append(Chance(budget=budget, fan=fan))
    return found


def _seen(past: Sequence[Job], now: datetime, zone: tzinfo) -> int:
    """Days from the first job until today, today included."""
    if not past:
        return 0
    return (now.astimezone(zone).date() - past[0].at.astimezone(zone).date()).days + 1


def _line(name: str, past: Sequence[Job], days: int) -> Line:
    return Line(name=name, volume=Volume(jobs=Fraction(len(past), days)), average=mean([job.cost for job in past]))


def _programs(past: Sequence[Job], days: int) -> Programs:
    return Programs(keys=len(past), a_day=Money(round(Fraction(total(job.cost for job in past).nano, max(1, days)))))


# --- another volume ------------------------------------------------------------------------------------------------


def _asked(
    past: Sequence[Job], days: int, per_day: str | None, per_week: str | None, average: str | None, mix: Sequence[str]
) -> Line:
    """The formula with what was said in place of what was seen."""
    if per_day and per_week:
        raise UsageError("--runs-per-day and --runs-per-week say the same twice", help="leave one of them out")
    if average and mix:
        raise UsageError("--cost-per-run and --mix both say what a run costs", help="leave one of them out")
    if per_day or per_week:
        volume = Volume(jobs=_number(per_day or per_week or "", "runs"), weekly=bool(per_week))
    elif past:
        volume = Volume(jobs=Fraction(len(past), days))
    else:
        raise UsageError("no run was seen yet, so nobody knows how many there are a day", help="add --runs-per-day 5")
    if average:
        return Line(name="what if", volume=volume, average=read_amount(average, "--cost-per-run"))
    if mix:
        return Line(name="what if", volume=volume, average=_mixed(past, mix))
    if not past:
        raise UsageError("no run was seen yet, so nobody knows what one costs", help="add --cost-per-run 2")
    return Line(name="what if", volume=volume, average=mean([job.cost for job in past]))


def _mixed(past: Sequence[Job], mix: Sequence[str]) -> Money:
    """The average of a mix: `opus=20 --mix sonnet=80`, or with a cost of its own: `audit=10@5.00`."""
    parts = [_part(past, text) for text in mix]
    whole = sum((share for share, _ in parts), Fraction(0))
    if whole != 100:
        raise UsageError(
            f"the parts of --mix come to {float(whole):g} %, not to 100", help="--mix opus=20 --mix sonnet=80"
        )
    return Money(int(sum((share * average.nano for share, average in parts), Fraction(0)) / 100))


def _part(past: Sequence[Job], text: str) -> tuple[Fraction, Money]:
    name, _, rest = text.partition("=")
    share, _, said = rest.partition("@")
    if not name or not share:
        raise UsageError(f"--mix {text!r} is no NAME=PERCENT", help="--mix opus=20 --mix sonnet=80")
    part = _number(share.removesuffix("%"), f"--mix {name}")
    if said:
        return part, read_amount(said, f"--mix {name}")
    mine = [job.cost for job in past if name == job.workflow or name in job.model]
    if not mine:
        known = sorted({job.workflow for job in past} | {job.model for job in past})
        raise UsageError(
            f"no run of {name!r} was seen, so nobody knows what one costs",
            help=f"say it: --mix {name}={share}@2.00" + (f"; seen were {', '.join(known)}" if known else ""),
        )
    return part, mean(mine)


def _number(text: str, what: str) -> Fraction:
    try:
        number = Fraction(text)
    except (ValueError, ZeroDivisionError):
        number = Fraction(-1)
    if not 0 < number <= 1_000_000 or not text.isascii():
        raise UsageError(f"{what}: {text!r} is not a number above 0", help="write it as 5 or 0.5")
    return number


def _tell_asked(call: Call, line: Line) -> None:
    if call.as_json:
        call.emit({"what_if": _line_object(line), "month_usd": line.month.exact()})
        return
    for words in folded([f"{_formula(line)} = {line.month.show()} a month"], room(call.environ)):
        call.out(words)


# --- showing it ------------------------------------------------------------------------------------------------------


def _formula(line: Line) -> str:
    per = "week" if line.volume.weekly else "day"
    times = "4.3" if line.volume.weekly else "30"
    runs = "1 run" if line.volume.jobs == 1 else f"{float(line.volume.jobs):.3g} runs"
    return f"{runs} a {per} x {line.average.show()} x {times}"


def _words(seen: Outlook) -> Iterator[str]:
    """The month so far, the formula, the draws, the budgets."""
    held = f"   {seen.held.show()} held" if seen.held else ""
    yield f"MONTH {seen.month}   {seen.spent.show()} so far{held}"
    if not seen.past:
        yield "  nothing was paid for yet; what if: crewcap forecast --runs-per-day 5 --cost-per-run 2"
        return
    rows = [(f"  {line.name}", _formula(line), line.month.show()) for line in seen.lines]
    if len(rows) > 1:
        rows.append(("  all", "", total(line.month for line in seen.lines).show()))
    yield f"  formula    runs a day x average x 30, from {many(seen.runs, 'run')} on {many(seen.days, 'day')}"
    yield from (f"  {row}" for row in table(rows, right=frozenset({2})))
    if seen.programs.keys:
        yield f"    programs on keys: {seen.programs.a_day.show()} a day, {seen.programs.month.show()} a month"
    if seen.programs.keys and seen.lines:
        yield f"    together: {seen.by_formula.show()} a month"
    fan = seen.fan
    band = f"{fan.at(LOW).show()} to {fan.at(HIGH).show()}"
    yield f"  drawn      {fan.at(50).show()} at the month's end; {band} in {HIGH - LOW} of 100 draws"
    if len(seen.past) < _FEW:
        yield f"             from {_counted(seen)}: too few to rely on"
    yield from (f"  {_chance(each)}" for each in seen.chances)


def _counted(seen: Outlook) -> str:
    parts = ((seen.runs, "run"), (seen.programs.keys, "key"))
    return " and ".join(many(number, what) for number, what in parts if number)


def _chance(each: Chance) -> str:
    percent = f"{float(each.over * 100):.0f} %"
    when = f", about {each.crosses}" if each.crosses else ""
    budget = each.budget
    name = f"{budget.scope} {budget.window} {budget.limit.show()}"
    return f"budget     {name}: exceeded in {percent} of draws{when}"


def _line_object(line: Line) -> dict[str, object]:
    return {
        "name": line.name,
        "runs": round(float(line.volume.jobs), 6),
        "per": "week" if line.volume.weekly else "day",
        "average_usd": line.average.exact(),
        "month_usd": line.month.exact(),
    }


def _object(seen: Outlook) -> dict[str, object]:
    fan = seen.fan
    return {
        "month": seen.month,
        "spent_usd": seen.spent.exact(),
        "held_usd": seen.held.exact(),
        "runs_seen": seen.runs,
        "keys_seen": seen.programs.keys,
        "days_seen": seen.days,
        "formula": {
            "month_usd": seen.by_formula.exact(),
            "workflows": [_line_object(line) for line in seen.lines],
            "programs": {"per_day_usd": seen.programs.a_day.exact(), "month_usd": seen.programs.month.exact()},
        },
        "drawn": {
            "p10_usd": fan.at(LOW).exact(),
            "p50_usd": fan.at(50).exact(),
            "p90_usd": fan.at(HIGH).exact(),
            "days": [
                {"day": str(day), "p10_usd": low.exact(), "p50_usd": mid.exact(), "p90_usd": high.exact()}
                for day, low, mid, high in fan.band()
            ],
        },
        "budgets": [
            {
                "scope": each.budget.scope,
                "window": each.budget.window,
                "limit_usd": each.budget.limit.exact(),
                "chance_over": round(float(each.over), 4),
                "crosses": str(each.crosses) if each.crosses else None,
            }
            for each in seen.chances
        ],
    }
