"""What a board shows, read from the books: all of it once, and then what has changed.

The books say cheaply whether anybody wrote to them. If nobody did, nothing is read. If somebody did, the open runs are
read again, each with its sums and the new lines of its story. Runs that are over are read again now and then, because
little of them can still change: a request that was in flight, a word about money that nobody had proved.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, tzinfo

from crewcap.cli.context import Call
from crewcap.cli.live.board import Board, Row
from crewcap.cli.live.pace import Pace
from crewcap.cli.money.past import zone_of
from crewcap.cli.night.alive import is_served, is_stranded
from crewcap.cli.night.exposed import KnownScopes, goes_on_alone, worst_of
from crewcap.cli.runs.view import is_cut_short, standing, totals_of
from crewcap.cli.screen.when import in_zone
from crewcap.core.budget import ALL, Balance
from crewcap.core.harmless import one_line
from crewcap.core.money import Money
from crewcap.core.questions import resume_command
from crewcap.core.runs import OPEN_STATES, Run, RunId, RunState

_SHOWN = timedelta(hours=12)  # how long ended runs stay on the board
_LOOKED_THROUGH = 200  # of the newest runs, for those that ended lately
_ALL_AGAIN_S = 10.0
_TOLD = frozenset({"agent", "step", "check", "note"})


@dataclass(slots=True)
class _Known:
    """What is remembered of an open run from one look to the next."""

    pace: Pace
    seen: int = 0  # the newest line of its story
    last: str = ""


@dataclass(slots=True, kw_only=True)
class BoardReader:
    """Reads boards; how much it must, and no more."""

    call: Call
    monotonic: Callable[[], float]
    limit: int = 50  # ended runs
    open_only: bool = False
    _version: int = -1
    _read_s: float = field(default=float("-inf"))
    _known: dict[RunId, _Known] = field(default_factory=dict)
    _open: Sequence[Row] = ()
    _ended: Sequence[Row] = ()
    _balances: Sequence[Balance] = ()
    _zone: tzinfo = UTC
    _scopes: KnownScopes = field(default_factory=dict)

    def read(self) -> Board:
        """The board as it is now."""
        now = self.call.clock()
        if self.call.app.is_new:
            return Board(at=now, since=now - _SHOWN)
        self._refresh(now)
        rows = [self._as_it_stands(row) for row in self._open]
        return Board(
            at=now,
            since=now - _SHOWN,
            zone=self._zone,
            rows=(*sorted(rows, key=_rank), *self._ended),
            budgets=[one for one in self._balances if one.scope == ALL and one.window in {"day", "month"}],
            worst_case=self._worst_case(rows, now),
        )

    def _refresh(self, now: datetime) -> None:
        """Read what may have changed."""
        version, is_old = self.call.app.runs.version(), self.monotonic() - self._read_s >= _ALL_AGAIN_S
        if version == self._version and not is_old:
            return
        self._version = version
        before = {row.run.id for row in self._open}
        runs = self.call.app.runs.list(limit=1_000, open_only=True)
        self._open = [self._row(run) for run in runs]
        has_ended = bool(before - {run.id for run in runs})
        if is_old or has_ended:
            self._read_s = self.monotonic()
            self._ended = [] if self.open_only else self._lately(now)
            self._zone = zone_of(self.call)
        self._balances = self.call.app.ledger.all_balances()

    def _lately(self, now: datetime) -> Sequence[Row]:
        """Runs that ended lately, the last one first."""
        runs = self.call.app.runs.list(limit=max(_LOOKED_THROUGH, self.limit))
        ended = [run for run in runs if run.state not in OPEN_STATES and _ended_at(run) >= now - _SHOWN]
        self._known = {id_: known for id_, known in self._known.items() if id_ not in {run.id for run in ended}}
        newest = sorted(ended, key=_ended_at, reverse=True)[: self.limit]
        return [Row(run=run, totals=totals_of(self.call, run), zone=zone_of(self.call)) for run in newest]

    def _row(self, run: Run) -> Row:
        known = self._known.setdefault(run.id, _Known(pace=Pace.since(self._started_s(run))))
        for event in self.call.app.runs.story(run.id, after=known.seen):
            known.seen = event.seq
            if event.kind in _TOLD:
                known.last = one_line(event.text)
        return Row(run=run, totals=totals_of(self.call, run), last=known.last, zone=zone_of(self.call))

    def _as_it_stands(self, row: Row) -> Row:
        """What changes without anybody writing: processes end, and minutes pass."""
        run = row.run
        if run.state == RunState.WAITING:
            rests = goes_on_alone(run) and run.hosted and is_served(self.call)
            next_ = "it goes on by itself" if rests else resume_command(run)
            why = in_zone(one_line(run.reason), row.zone) or row.last
            return replace(row, rests=rests, last="; ".join(filter(None, (why, next_))))
        if is_cut_short(run):
            if not is_stranded(self.call, run):
                return replace(row, last="its worker was ended; serve starts another one")
            return replace(row, is_cut_short=True, last=f"cut short while {run.state}; crewcap show {run.name}")
        if run.state == RunState.QUEUED:
            return replace(row, last=standing(run, row.zone) or one_line(run.reason) or row.last)
        if run.state != RunState.RUNNING:
            return row
        return replace(row, per_minute=self._known[run.id].pace.note(self.monotonic(), row.cost))

    def _started_s(self, run: Run) -> float:
        """When it started, by the clock that never jumps."""
        if run.started_at is None:
            return self.monotonic()
        return self.monotonic() - max(0.0, (self.call.clock() - run.started_at).total_seconds())

    def _worst_case(self, rows: Sequence[Row], now: datetime) -> Money:
        """What the runs that can spend without anybody's word may still cost."""
        return worst_of(self.call, [(row.run, row.totals) for row in rows], self._balances, now, self._scopes)


def _rank(row: Row) -> tuple[int, int, datetime]:
    """Those that need somebody first, then those that work, that queue in their order, that rest; the oldest first."""
    place = 0 if row.needs_somebody else 2 if row.run.state == RunState.QUEUED else 3 if row.rests else 1
    return place, row.run.position, row.run.created_at


def _ended_at(run: Run) -> datetime:
    return run.ended_at or run.created_at
