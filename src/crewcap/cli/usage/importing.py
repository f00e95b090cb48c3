"""`crewcap usage import`: past usage, read from agents' own transcripts."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import click

from crewcap.cli.context import Call, common, with_call
from crewcap.cli.prices.table import fingerprint
from crewcap.cli.screen.figures import Screen, count, many
from crewcap.cli.usage.commands import usage
from crewcap.core.money import Money
from crewcap.core.transcripts import Sum, Told
from crewcap.core.usage_rows import UsageRow, moment, rows, whole
from crewcap.errors import UsageError

if TYPE_CHECKING:
    from crewcap.transcripts.importing import Importer, Outcome, Progress
    from crewcap.transcripts.pricing import Pricing

AGENTS = ("claude", "codex", "gemini", "opencode")
KINDS = ("input", "cache_read", "write_5m", "write_1h", "output", "thinking")
_SHOW_EVERY = 50  # files
_SHOWN_ROWS = 12

agents_option = click.option(
    "--agent", "agents", multiple=True, type=click.Choice(AGENTS), help="Only this agent's; may be given again."
)
since_option = click.option("--since", metavar="D", help="Only what was used since: 30d, 12h, or 2026-11-01.")


@usage.command("import", epilog="Example: crewcap usage import --since 30d")
@click.argument("folders", nargs=-1, metavar="[DIR]...")
@since_option
@agents_option
@common
@with_call
def import_(call: Call, *, folders: tuple[str, ...], since: str | None, agents: tuple[str, ...]) -> None:
    """Read transcripts of Claude Code, Codex, Gemini CLI and OpenCode: all known places, or below each DIR.

    Only what has changed since the last time is read, and a message that several transcripts tell of counts once, so it
    can be said as often as you like. With DIR the sums are of what is told there, else of everything that was ever
    imported. Nothing is written to the ledger.
    """
    from crewcap.transcripts.importing import without_gc  # noqa: PLC0415  (not for --help)

    with without_gc():  # the prices alone are tens of thousands of objects that stay
        _import(call, folders=folders, start=start_of(call, since), agents=agents)


def _import(call: Call, *, folders: tuple[str, ...], start: datetime | None, agents: tuple[str, ...]) -> None:
    desk = Desk(call)
    roots = _roots(call, folders, agents)
    importer = desk.importer(agents, show=_progress(call))
    desk.price_again()
    outcome = importer.run(roots, changed_since_ms=_ms(start) if start else None)
    _end_progress(call, outcome)
    files = [mark.id for mark in outcome.marks.values()] if folders else None
    found = desk.sums(since=start, agents=agents, files=files)
    if call.as_json:
        call.emit(_object(outcome, found))
    else:
        call.out("\n".join(_lines(outcome, found, Screen.of(sys.stdout, call.environ))))


def start_of(call: Call, since: str | None, tz: str | None = None) -> datetime | None:
    """Where the time that is asked about begins; without an end where nothing is said."""
    if not since:
        return None
    from crewcap.cli.money.past import read_since, zone_of  # noqa: PLC0415  (the books come with it)

    return read_since(since, call.clock(), zone_of(call, tz))


class Desk:
    """The index and the prices, each opened when it is needed: an import that finds nothing new loads no prices."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self.index = call.app.usage

    def importer(self, agents: Sequence[str], *, show: Callable[[Progress], None] = lambda _: None) -> Importer:
        """What reads transcripts into the index."""
        from crewcap.transcripts import READERS, reader  # noqa: PLC0415  (not for --help)
        from crewcap.transcripts.importing import Importer  # noqa: PLC0415

        readers = [reader(name) for name in READERS if not agents or name in agents]
        return Importer(index=self.index, readers=readers, nano_of=self.nano_of, show=show)

    def nano_of(self, told: Told) -> int | None:
        """What a message cost, in nano-dollars."""
        return self._pricing.nano(told)

    def price_again(self) -> None:
        """Bring what was imported earlier to today's prices, if they have changed."""
        prices = fingerprint(self._call.app.price_overrides)
        if self.index.prices != prices:
            self.index.price_again(prices, self.nano_of)

    def sums(
        self,
        *,
        since: datetime | None,
        agents: Sequence[str],
        files: Sequence[int] | None = None,
        by_time: bool = False,
        by_session: bool = False,
    ) -> tuple[Sum, ...]:
        """Everything that was told, or a part of it; an answer is remembered until something changes."""
        import msgspec  # noqa: PLC0415  (not for --help)

        asked = repr((since, sorted(files) if files is not None else None, by_time, by_session))
        name = hashlib.blake2b(asked.encode(), digest_size=12).hexdigest()
        if said := self.index.answer(name):
            found = msgspec.json.decode(said, type=tuple[Sum, ...])
        else:
            found = self.index.sums(
                since_ms=_ms(since) if since else None, files=files, by_time=by_time, by_session=by_session
            )
            self.index.remember_answer(name, msgspec.json.encode(found).decode())
        return tuple(each for each in found if not agents or each.agent in agents)

    @cached_property
    def _pricing(self) -> Pricing:
        from crewcap.transcripts.pricing import Pricing  # noqa: PLC0415  (the prices are a third of a second)

        return Pricing(self._call.app.book)


def _roots(call: Call, folders: Sequence[str], agents: Sequence[str]) -> tuple[Path, ...]:
    if folders:
        paths = tuple(Path(folder).expanduser().absolute() for folder in folders)
        missing = next((path for path in paths if not path.exists()), None)
        if missing is not None:
            raise UsageError(f"there is no {missing}", help="name a folder with transcripts, or none for all places")
        return paths
    from crewcap.transcripts import READERS, reader  # noqa: PLC0415  (not for --help)
    from crewcap.transcripts.importing import places  # noqa: PLC0415

    return places([reader(name) for name in READERS if not agents or name in agents], call.environ)


def _ms(when: datetime) -> int:
    return int(when.timestamp() * 1_000)


# --- what is shown


def _progress(call: Call) -> Callable[[Progress], None]:
    """One line on stderr that is written over; nothing where nobody looks."""
    screen = Screen.of(sys.stderr, call.environ)
    if call.quiet or not screen.is_terminal:
        return lambda _: None

    def show(progress: Progress) -> None:
        if progress.files_done % _SHOW_EVERY == 0 or progress.files_done == progress.files:
            megabytes = progress.bytes_done // 1_000_000
            line = f"reading {progress.files_done:,} of {many(progress.files, 'file')}, {megabytes:,} MB"
            click.echo(f"\r{line:<{screen.columns - 1}.{screen.columns - 1}}", err=True, nl=False)

    return show


def _end_progress(call: Call, outcome: Outcome) -> None:
    screen = Screen.of(sys.stderr, call.environ)
    if outcome.read and not call.quiet and screen.is_terminal:
        click.echo(f"\r{'':<{screen.columns - 1}}\r", err=True, nl=False)


def _object(outcome: Outcome, found: Sequence[Sum]) -> dict[str, object]:
    row = whole(found)
    return {
        "files": len(outcome.marks),
        "messages": row.messages,
        "cost_usd": row.cost.exact(),
        "read_files": outcome.read,
        "read_bytes": outcome.bytes_read,
        "from": moment(row.first_ms).isoformat() if row.messages else None,
        "until": moment(row.last_ms).isoformat() if row.messages else None,
        "tokens": {kind: getattr(row.usage, kind) for kind in KINDS},
        "web_searches": row.usage.pieces.get("web_search", 0),
        "agents": [row_object(each, "agent") for each in rows(found, by="agent")],
        "models": [row_object(each, "model") for each in rows(found, by="model")],
        "repos": [row_object(each, "repo") for each in rows(found, by="repo")],
        "unpriced": unpriced(found),
        "skipped": dict(sorted(outcome.skipped.items())),
    }


def row_object(row: UsageRow, name: str) -> dict[str, object]:
    """A row for machines."""
    return {
        name: row.key,
        "messages": row.messages,
        "unpriced_messages": row.unpriced,
        "cost_usd": row.cost.exact(),
        "tokens": {kind: getattr(row.usage, kind) for kind in KINDS},
    }


def unpriced(found: Iterable[Sum]) -> list[dict[str, object]]:
    """What has no price, each by its name, with what it was priced as."""
    named: dict[tuple[str, ...], list[int]] = {}
    for each in found:
        if each.unpriced:
            said = (each.provider, each.model, each.modifiers.speed, each.modifiers.geo, each.modifiers.tier)
            sums = named.setdefault(said, [0, 0])
            sums[0] += each.unpriced
            sums[1] += each.usage.prompt + each.usage.output
    return [
        {"provider": provider, "model": model, "speed": speed, "geo": geo, "tier": tier, "messages": sums[0]}
        for (provider, model, speed, geo, tier), sums in sorted(named.items())
    ]


def _lines(outcome: Outcome, found: Sequence[Sum], screen: Screen) -> list[str]:
    row = whole(found)
    if not outcome.marks and not row.messages:
        return ["no transcripts found", "name a folder that has some: crewcap usage import DIR"]
    lines = [
        f"{row.cost.show()}   ({row.cost.exact()} at list prices)",
        f"{many(row.messages, 'message')} in {many(len(outcome.marks), 'transcript')}, {outcome.read:,} of them read",
    ]
    if row.messages:
        lines.append(f"{moment(row.first_ms):%Y-%m-%d} to {moment(row.last_ms):%Y-%m-%d} UTC")
    for title, by in (("agent", "agent"), ("model", "model"), ("repository", "repo")):
        lines += ["", *table_of(title, rows(found, by=by), screen, most=_SHOWN_ROWS)]  # type: ignore[arg-type]
    lines += _warnings(outcome, found)
    return screen.lines(lines)


def table_of(title: str, found: Sequence[UsageRow], screen: Screen, *, most: int = 0) -> list[str]:
    """Rows as a table that fits: tokens are left out where it is narrow."""
    shown = found[:most] if most and len(found) > most + 1 else found
    is_narrow = screen.columns < 60
    head = ("cost", "messages") if is_narrow else ("cost", "messages", "in", "read", "write", "out")
    cells = [(title, *head), *((row.key, *_cells(row)[: len(head)]) for row in shown)]
    if len(shown) < len(found):
        rest = found[len(shown) :]
        cells.append((f"{len(rest)} more", Money(sum(row.cost.nano for row in rest)).show(), *[""] * (len(head) - 1)))
    widths = [max(len(row[place]) for row in cells) for place in range(1, len(cells[0]))]
    room = max(12, screen.columns - sum(widths) - 2 * len(widths) - 2)
    widest = min(room, max(len(row[0]) for row in cells))
    return ["  ".join([f"{_middle(row[0], widest):<{widest}}", *_right(row[1:], widths)]) for row in cells]


def _right(cells: Sequence[str], widths: Sequence[int]) -> Iterator[str]:
    return (f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))


def _cells(row: UsageRow) -> tuple[str, ...]:
    used = row.usage
    cost = f"{row.cost.show()}{'?' if row.unpriced else ''}" if row.unpriced < row.messages else "no price"
    tokens = (used.input, used.cache_read, used.write_5m + used.write_1h, used.output)
    return (cost, f"{row.messages:,}", *(count(number) for number in tokens))


def _middle(text: str, columns: int) -> str:
    """A long name without its middle: of a path, the end says most."""
    if len(text) <= columns:
        return text
    tail = (columns - 3) * 2 // 3
    return f"{text[: columns - 3 - tail]}...{text[-tail:]}"


def _warnings(outcome: Outcome, found: Sequence[Sum]) -> list[str]:
    lines = []
    for each in unpriced(found):
        said = [str(each[name]) for name in ("speed", "geo", "tier") if each[name] not in {"standard", "global"}]
        as_ = f" ({', '.join(said)})" if said else ""
        what = many(int(str(each["messages"])), "message")
        lines.append(f"  {each['provider']}/{each['model']}{as_}: {what}")
    if lines:
        lines = ["", "no price, in no sum (a price of your own: crewcap price list --help):", *lines]
    skipped = outcome.skipped
    if skipped:
        lines += ["", "not counted, or in doubt:", *(f"  {number:,} {why}" for why, number in sorted(skipped.items()))]
    return lines
