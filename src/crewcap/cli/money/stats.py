"""`crewcap stats`: habits, beside the averages that the vendor publishes."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache

import click

from crewcap.cli.context import Call, common, with_call
from crewcap.cli.live.opening import table as labelled
from crewcap.cli.money.books import Books
from crewcap.cli.money.report_rows import TOKENS
from crewcap.cli.screen import csv_cells
from crewcap.cli.screen.amounts import table
from crewcap.cli.screen.figures import Screen, columns_of, count, fit, fold, many, percent, wrap
from crewcap.cli.screen.period import Period, period_options, read_period
from crewcap.core.bundles import NONE, at
from crewcap.core.habits import PUBLISHED, DeveloperDays, Habit, Work, developer_days, habit, habits, works
from crewcap.core.harmless import one_line
from crewcap.core.money import ZERO

_CSV = (
    "by", "name", "runs", "sessions", "requests", "active_days", "longest_streak", "current_streak", "first", "last",
    "cost_usd", "notional_usd", "per_active_day_usd", *TOKENS,
)  # fmt: skip

_TINY, _WIDE = 36, 72  # columns
_EVERYBODY = "everybody"


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """Everything that `stats` shows."""

    period: Period
    whole: Habit
    users: Sequence[Habit]
    models: Sequence[Habit]
    days: DeveloperDays


@click.command(epilog="Example: crewcap stats --since 30d")
@click.option("--csv", "as_csv", is_flag=True, help="As CSV, a row for everybody, each user and each model.")
@period_options
@common
@with_call
def stats(call: Call, /, *, as_csv: bool, **words: str) -> None:
    """Runs, sessions, tokens, active days and streaks; what a developer's day costs, beside the published averages."""
    period = read_period(**words, now=call.clock(), default_zone=call.app.settings.timezone)
    picture = look(Books(call=call), period)
    if call.as_json:
        call.emit(_object(picture))
    elif as_csv:
        text = io.StringIO()
        csv_cells.write(text, _CSV, _rows(picture))
        call.out(text.getvalue(), end="")
    else:
        call.out("\n".join(_lines(picture, Screen.of(sys.stdout, call.environ).columns)))


def look(books: Books, period: Period) -> Picture:
    """Read the books once: sums by day, user and model, and the quarters of an hour that keys were at work in."""
    bundles, uses = books.bundles_of_users(period), books.uses(period)
    run_of, user_of = books.labels("run"), books.labels("user")
    today = books.call.clock().astimezone(period.zone).date()

    @lru_cache(None)
    def day_of(quarter: int) -> date:
        return at(quarter).astimezone(period.zone).date()

    of_users = works(uses, name_of=lambda key, _: user_of.get(key) or NONE, run_of=run_of)
    of_models = works(uses, name_of=lambda _, model: model or NONE, run_of=run_of)
    of_all = works(uses, name_of=lambda _, __: _EVERYBODY, run_of=run_of)
    return Picture(
        period=period,
        whole=habit(_EVERYBODY, bundles, work=of_all.get(_EVERYBODY, Work()), day_of=day_of, today=today),
        users=habits(bundles, name_of=lambda each: each.key or NONE, works=of_users, day_of=day_of, today=today),
        models=habits(bundles, name_of=lambda each: each.model or NONE, works=of_models, day_of=day_of, today=today),
        days=developer_days(bundles, user_of=lambda each: each.key or "unknown", day_of=day_of),
    )


def _lines(seen: Picture, columns: int) -> Iterator[str]:
    whole, days = seen.whole, seen.days
    yield from wrap(f"habits {seen.period.words()}", columns, indent="  ")
    if not whole.requests:
        yield "nothing was asked of a model"
        return
    said = [many(whole.runs, "run"), many(whole.sessions, "session"), many(whole.requests, "request")]
    streak = whole.streaks
    in_row = f"{many(whole.active_days, 'active day')}, {streak.longest} in a row at most"
    said.append(in_row + (f", {streak.current} now" if streak.current else ""))
    tokens = (f"{kind} {count(getattr(whole.usage, kind))}" for kind in TOKENS if getattr(whole.usage, kind))
    hit = percent(whole.usage.cache_read, whole.usage.prompt)
    rows = [
        ("used", ", ".join(said)),
        ("tokens", f"{', '.join(tokens)}; cache hit {hit}"),
        ("cost", f"{whole.cost.show()}{_by_plan(whole)}"),
    ]
    yield from (part for line in labelled(rows, columns) for part in fold(line, columns))
    yield ""
    yield from _table("user", seen.users, columns)
    yield ""
    yield from _table("model", seen.models, columns)
    yield ""
    yield from _beside(days, columns)


def _by_plan(whole: Habit) -> str:
    return f", and {whole.notional.show()} that subscriptions paid" if whole.notional else ""


def _table(what: str, some: Sequence[Habit], columns: int) -> Iterator[str]:
    """A row each; narrow screens get less of it."""
    head = [what, "runs", "sessions", "requests", "days", "streak", "cost", "a day"]
    rows = [head]
    for each in some:
        row = [one_line(each.name), f"{each.runs:,}", f"{each.sessions:,}", f"{each.requests:,}", str(each.active_days)]
        rows.append([*row, str(each.streaks.longest), each.cost.show(), each.per_active_day.show()])
    keep = [0, 6] if columns < _TINY else [0, 4, 6, 7] if columns < _WIDE else list(range(len(head)))
    shown = [[row[place] for place in keep] for row in rows]
    room = max(8, columns - sum(max(columns_of(row[place]) for row in shown) + 2 for place in range(1, len(keep))))
    narrow = [[fit(row[0], room), *row[1:]] for row in shown]
    yield from table(narrow, right=frozenset(range(1, len(keep))))


def _beside(days: DeveloperDays, columns: int) -> Iterator[str]:
    """Ours and the published figures, each called what it is."""
    low, high = PUBLISHED.month
    below = f"{days.percent_below} %" if days.percent_below is not None else "-"
    bound = PUBLISHED.most_days
    dearest = f"the dearest {days.dearest.show()}"
    ours = f"a developer's active day: {days.average.show()} (measured, {many(days.days, 'day')}; {dearest})"
    lines = (
        ours,
        f"published average: {PUBLISHED.day.show()}, interactive use in companies",
        f"days below {bound.show()}: {below} (measured); published: {PUBLISHED.most_percent} % of users",
        f"published for a month: {low.show()} to {high.show()} a developer",
    )
    for line in lines:
        yield from wrap(line, columns, indent="  ")


def _rows(seen: Picture) -> Iterator[Sequence[str]]:
    groups = (("all", (seen.whole,)), ("user", seen.users), ("model", seen.models))
    for by, some in groups:
        for each in some:
            yield (
                by,
                each.name,
                *(str(number) for number in (each.runs, each.sessions, each.requests, each.active_days)),
                str(each.streaks.longest),
                str(each.streaks.current),
                *(f"{day:%Y-%m-%d}" if day else "" for day in (each.first, each.last)),
                *(amount.exact() for amount in (each.cost, each.notional, each.per_active_day)),
                *(str(getattr(each.usage, kind)) for kind in TOKENS),
            )


def _object(seen: Picture) -> dict[str, object]:
    days, (low, high) = seen.days, PUBLISHED.month
    return {
        "since": seen.period.since.isoformat() if seen.period.since else None,
        "until": seen.period.until.isoformat() if seen.period.until else None,
        "timezone": seen.period.zone_name,
        **_habit(seen.whole),
        "users": [{"user": each.name, **_habit(each)} for each in seen.users],
        "models": [{"model": each.name, **_habit(each)} for each in seen.models],
        "developer_days": {
            "days": days.days,
            "average_usd": days.average.exact(),
            "dearest_usd": days.dearest.exact(),
            "below_30_percent": days.percent_below,
            "state": "measured",
        },
        "published": {
            "developer_day_usd": PUBLISHED.day.exact(),
            "most_users_below_usd": PUBLISHED.most_days.exact(),
            "most_users_percent": PUBLISHED.most_percent,
            "month_usd": [low.exact(), high.exact()],
            "state": "published",
        },
    }


def _habit(each: Habit) -> dict[str, object]:
    return {
        "runs": each.runs,
        "sessions": each.sessions,
        "requests": each.requests,
        "active_days": each.active_days,
        "longest_streak": each.streaks.longest,
        "current_streak": each.streaks.current,
        "first": each.first.isoformat() if each.first else None,
        "last": each.last.isoformat() if each.last else None,
        "cost_usd": each.cost.exact(),
        "notional_usd": each.notional.exact(),
        "per_active_day_usd": (each.per_active_day or ZERO).exact(),
        "tokens": {kind: getattr(each.usage, kind) for kind in TOKENS},
    }
