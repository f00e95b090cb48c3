"""All runs on one screen: what each costs and does, what all of them may still cost.

A board is a value, and everything here is text made of it. On a wide screen a run is one line, on a usual one it is
two, or one where there are many runs; below 60 columns it is said as short as can be.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo

from crewcap.cli.live.closing import colour_of, headline, is_at_a_limit
from crewcap.cli.runs.view import cost_of, standing
from crewcap.cli.screen.figures import NARROW, Colour, Screen, columns_of, fit, many, pad, percent, wrap
from crewcap.core.budget import Balance
from crewcap.core.harmless import one_line
from crewcap.core.money import ZERO, Money, total
from crewcap.core.report import filled
from crewcap.core.runs import OPEN_STATES, Run, RunState
from crewcap.stores import Totals

WIDE = 112  # columns from which a run with its title is one line
_BARRED = 76  # columns from which there is room for a bar beside the numbers
_WORTH = 12  # columns that a last action needs to say anything
_CELLS = 10
_NAMES = (10, 22)  # columns of the names, at least and at most
_EVENING, _MORNING = 17, 6  # o'clock

Line = tuple[str, Colour | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One run, as a board shows it."""

    run: Run
    totals: Totals
    per_minute: Money = ZERO
    last: str = ""  # what it did last, or why it stands still
    is_cut_short: bool = False  # the process that drove it is gone
    rests: bool = False  # it waits, and goes on by itself
    zone: tzinfo = UTC  # in which its times are told

    @property
    def is_open(self) -> bool:
        """Whether it is not at its end."""
        return self.run.state in OPEN_STATES

    @property
    def needs_somebody(self) -> bool:
        """Whether it goes on only when somebody says so."""
        return (self.run.state == RunState.WAITING and not self.rests) or self.is_cut_short

    @property
    def cost(self) -> Money:
        """What is shown as cost."""
        return cost_of(self.totals)


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """Everything that `crewcap runs --watch` shows."""

    at: datetime
    since: datetime  # runs that ended before are not shown
    zone: tzinfo = UTC
    rows: Sequence[Row] = field(default=())  # the open ones first
    budgets: Sequence[Balance] = ()  # over everything: the day's and the month's
    worst_case: Money = ZERO  # what the open runs may still cost together

    @property
    def live(self) -> Sequence[Row]:
        """Runs that are on their way."""
        return [row for row in self.rows if row.is_open and not row.needs_somebody and not row.rests]

    @property
    def waiting(self) -> Sequence[Row]:
        """Runs that wait for somebody."""
        return [row for row in self.rows if row.is_open and row.needs_somebody]

    @property
    def ended(self) -> Sequence[Row]:
        """Runs that are over."""
        return [row for row in self.rows if not row.is_open]


def board_lines(board: Board, screen: Screen, rows: int | None = None, *, keys: str = "") -> list[str]:
    """The board in at most so many rows, no line wider than the screen; what has no room is counted."""
    columns = screen.columns
    head, foot = _head(board, columns), _foot(board, columns, keys)
    room = None if rows is None else max(1, rows - len(head) - len(foot))
    lines = [*head, *_body(board, columns, room), *foot]
    shown = lines if rows is None else lines[:rows]
    return [screen.paint(screen.shown(fit(text.rstrip(), columns)), colour) for text, colour in shown]


def list_lines(rows: Sequence[Row], columns: int, *, is_cut: bool) -> list[str]:
    """Runs one below the other, as `crewcap runs` lists them; `is_cut` where a line ends with the screen."""
    if columns < NARROW:
        return [line for row in rows for line in _briefly(row, columns)]
    width = _name_width(rows)
    lines = [f"{_figures(row, width)}  {_came_of(row)}" for row in rows]
    return [fit(line, columns) if is_cut else line for line in lines]


def summary_line(board: Board) -> str:
    """The board in one line, for where nothing can be drawn anew."""
    spent = total(row.cost for row in board.live)
    parts = [f"{board.at.astimezone(board.zone):%H:%M:%S}", _counted(board)]
    if board.live:
        pace = total(row.per_minute for row in board.live)
        parts.append(f"live runs {spent.show()} so far, {pace.show()}/min")
    parts += [f"{name} {_of(balance)}" for name, balance in _named(board)]
    return "   ".join([*parts, _worst(board)])


# the head and the foot


def _head(board: Board, columns: int) -> list[Line]:
    if columns < NARROW:
        budgets = [f"{name} {_short(_used(balance), balance.limit)}" for name, balance in _named(board)]
        return [(line, None) for line in wrap(" ".join([*budgets, _counted(board)]), columns)]
    parts = [
        f"{name.upper()} {_of(balance)} {_gauge(balance, is_drawn=number == 0 or columns >= WIDE)}"
        for number, (name, balance) in enumerate(_named(board))
    ]
    held = total(row.totals.held for row in board.rows)
    clock = f"{board.at.astimezone(board.zone):%H:%M:%S}"
    since = f" since {board.since.astimezone(board.zone):%H:%M}" if board.ended else ""
    counted = f" {_counted(board)}{since}{f'   {held.show()} held' if held else ''}"
    lines: list[Line] = [(f" {line}", "bold") for line in _flow(parts, columns - 1)]
    return [*lines, (f"{pad(fit(counted, columns - 10), columns - 9)} {clock}", None), ("", None)]


def _foot(board: Board, columns: int, keys: str) -> list[Line]:
    """The last line: the worst case, in red where there is one; and what may be typed."""
    colour: Colour | None = "red" if board.worst_case else None
    if columns < NARROW:
        return [(line, colour) for line in wrap(f"worst case {board.worst_case.show()}", columns)]
    text = f" {_worst(board)}"
    room = columns - columns_of(text) - columns_of(keys) - 1
    return [("", None), (text + " " * room + keys if keys and room > 2 else text, colour)]


def _worst(board: Board) -> str:
    """`worst case if all goes wrong: $11.40 tonight`; by day it is today."""
    hour = board.at.astimezone(board.zone).hour
    when = "tonight" if hour >= _EVENING or hour < _MORNING else "today"
    return f"worst case if all goes wrong: {board.worst_case.show()} {when}"


def _counted(board: Board) -> str:
    """`3 live, 1 needs you, 5 ended`."""
    waiting = len(board.waiting)
    queued = sum(row.run.state == RunState.QUEUED for row in board.live)
    parts = [f"{len(board.live) - queued} live"]
    parts += [f"{queued} queued"] if queued else []
    parts += [f"{waiting} {'needs' if waiting == 1 else 'need'} you"] if waiting else []
    resting = sum(row.rests for row in board.rows)
    parts += [f"{resting} {'waits' if resting == 1 else 'wait'}"] if resting else []
    return ", ".join([*parts, f"{len(board.ended)} ended"])


def _named(board: Board) -> list[tuple[str, Balance]]:
    """The budgets by the names that people have for them: today, Nov."""
    names = {"day": "today", "week": "week", "month": f"{board.at.astimezone(board.zone):%b}", "total": "in all"}
    return [(names[balance.window], balance) for balance in board.budgets]


def _used(balance: Balance) -> Money:
    return balance.spent + balance.uncertain


def _of(balance: Balance) -> str:
    return f"{_used(balance).show()} of {balance.limit.show()}"


def _gauge(balance: Balance, *, is_drawn: bool) -> str:
    used = _used(balance)
    share = percent(used, balance.limit)
    return f"{held_bar(used, balance.held, balance.limit)} {share}" if is_drawn else share


def held_bar(spent: Money, held: Money, whole: Money, cells: int = _CELLS) -> str:
    """`[##+.......]`: what is spent, what is promised to requests in flight, what is left."""
    full = filled(spent.nano, whole.nano, cells)
    promised = min(cells - full, max(filled(spent.nano + held.nano, whole.nano, cells) - full, 1 if held else 0))
    return f"[{'#' * full}{'+' * promised}{'.' * (cells - full - promised)}]"


# the runs


def _body(board: Board, columns: int, room: int | None) -> list[Line]:
    """A block of lines for each run; shorter blocks where the long ones have no room, then fewer."""
    if not board.rows:
        words = "no run is open and none has ended lately; crewcap run -p '...' starts one"
        return [(f" {line}" if columns >= NARROW else line, None) for line in wrap(words, columns - 1)]
    width = _name_width(board.rows)
    if columns < NARROW:
        return _cut([_coloured(_briefly(row, columns), row) for row in board.rows], room)
    if columns >= WIDE:
        return _with_titles([_coloured([_wide(row, columns, width)], row) for row in board.rows], width, columns, room)
    for may_fold in (True, False):
        blocks = [_coloured(_tall(row, columns, width, may_fold=may_fold), row) for row in board.rows]
        if room is None or sum(map(len, blocks)) <= room:
            return [line for block in blocks for line in block]
    return _cut([_coloured([_tight(row, columns, width)], row) for row in board.rows], room)


def _with_titles(blocks: Sequence[list[Line]], width: int, columns: int, room: int | None) -> list[Line]:
    """Columns have names where everything stands in one line."""
    names = f" {pad('run', _who_width(width, columns))} {_cells('', 'spent/cap', 'held', '/min', 'turn', 'cache')} now"
    return [(names, "dim"), *_cut(blocks, None if room is None else room - 1)]


def _cut(blocks: Sequence[list[Line]], room: int | None) -> list[Line]:
    """As many blocks as there is room for, and how many more there are."""
    lines = [line for block in blocks for line in block]
    if room is None or len(lines) <= room:
        return lines
    kept: list[Line] = []
    for number, block in enumerate(blocks):
        if len(kept) + len(block) > max(0, room - 1):
            return [*kept, (f" and {many(len(blocks) - number, 'more run')}", "dim")]
        kept += block
    return kept


def _coloured(lines: Sequence[str], row: Row) -> list[Line]:
    """A run's first line in the colour of its state."""
    colour: Colour | None = "yellow" if row.is_cut_short else colour_of(row.run)
    return [(line, colour if number == 0 else None) for number, line in enumerate(lines)]


def _tall(row: Row, columns: int, width: int, *, may_fold: bool) -> list[str]:
    """Two lines for a run that is open, three where its last words have no room there; one for a run that is over."""
    if not row.is_open:
        return [_tight(row, columns, width)]
    numbers = _numbers(row, columns)
    rest = columns - columns_of(numbers) - 4
    if not row.last or (rest < _WORTH and not may_fold):
        return [_title(row, columns), numbers]
    if columns_of(row.last) > rest and may_fold:
        return [_title(row, columns), numbers, f"   > {fit(row.last, columns - 5)}"]
    return [_title(row, columns), f"{numbers}  > {fit(row.last, rest)}"]


def _title(row: Row, columns: int) -> str:
    """`fix-login.1  Login fails when the e-mail has capitals   shop  sonnet-5  running`."""
    where = "  ".join(filter(None, (row.run.repo, _model(row.run), _state(row))))
    title = fit(one_line(row.run.issue.title), max(0, columns - columns_of(f" {row.run.name}  {where}") - 2))
    return pad(f" {row.run.name}  {title}", columns - columns_of(where) - 1) + " " + where


def _numbers(row: Row, columns: int) -> str:
    """`[#+........] $0.16/3.00  +$0.11  $0.14/min  turn 4/40  cache 91%`; without words and bar where there is less."""
    is_roomy = columns >= _BARRED
    gauge = f"{held_bar(row.cost, row.totals.held, row.run.cap)} " if is_roomy else ""
    parts = (
        f"+{row.totals.held.show()}" if row.totals.held else "",
        f"{row.per_minute.show()}/min" if row.per_minute else "",
        f"{'turn ' if is_roomy else 't'}{_turn(row)}",
        f"{'cache ' if is_roomy else ''}{_cache(row)}" if _cache(row) else "",
    )
    return f"   {gauge}{_paid(row)}  {'  '.join(filter(None, parts))}"


def _wide(row: Row, columns: int, width: int) -> str:
    """Everything in one line."""
    who = _who_width(width, columns)
    name = pad(f"{pad(row.run.name, width)}  {fit(one_line(row.run.issue.title), max(0, who - width - 2))}", who)
    held = f"+{row.totals.held.show()}" if row.totals.held else ""
    pace = row.per_minute.show() if row.per_minute else ""
    gauge = held_bar(row.cost, row.totals.held, row.run.cap)
    cells = _cells(gauge, _paid(row), held, pace, _turn(row), _cache(row))
    now = row.last if row.is_open and row.last else _state(row)
    line = f" {fit(name, who)} {cells} "
    return line + fit(now, max(0, columns - columns_of(line)))


def _cells(gauge: str, paid: str, held: str, pace: str, turn: str, cache: str) -> str:
    return f"{gauge:<12} {paid:>13} {held:>8} {pace:>7} {turn:>6} {cache:>5}"


def _who_width(width: int, columns: int) -> int:
    return max(width, (columns - 58) // 2)


def _tight(row: Row, columns: int, width: int) -> str:
    """One line without a bar: what it did last, or what came of it and its title."""
    words = (row.last or _state(row)) if row.is_open else _came_of(row)
    line = f" {_figures(row, width)}  "
    return line + fit(words, max(0, columns - columns_of(line)))


def _figures(row: Row, width: int) -> str:
    return f"{pad(fit(row.run.name, width), width)} {_paid(row):>13} {_turn(row):>6} {_cache(row):>5}"


def _came_of(row: Row) -> str:
    why = standing(row.run, row.zone) if row.run.state == RunState.QUEUED or is_at_a_limit(row.run) else ""
    return f"{pad(_state(row), 17)} {one_line(row.run.issue.title)}" + (f"  ({why})" if why else "")


def _briefly(row: Row, columns: int) -> list[str]:
    """`fix-login.1 $0.16/3.00 5% t4`, or `audit.2 done $0.25/3.00 t8`."""
    share = percent(row.cost, row.run.cap).replace(" ", "")
    is_at_work = row.is_open and not row.needs_somebody and row.run.state not in {RunState.QUEUED, RunState.WAITING}
    state = "" if is_at_work else f"{_state(row)} "
    return wrap(f"{row.run.name} {state}{_short(row.cost, row.run.cap)} {share} t{row.totals.requests}", columns)


def _state(row: Row) -> str:
    """Where it is, or what came of it."""
    if row.is_cut_short:
        return "cut short"
    if not row.is_open or row.run.state == RunState.WAITING:
        return headline(row.run)
    return row.run.state.value


def _model(run: Run) -> str:
    return run.model.removeprefix("claude-")


def _paid(row: Row) -> str:
    return _short(row.cost, row.run.cap)


def _short(part: Money, whole: Money) -> str:
    return f"{part.show()}/{whole.show().removeprefix('$')}"


def _turn(row: Row) -> str:
    requests = row.totals.requests
    return f"{requests}/{row.run.max_turns}" if row.is_open else str(requests)


def _cache(row: Row) -> str:
    usage = row.totals.usage
    return percent(usage.cache_read, usage.prompt).replace(" ", "") if usage.prompt else ""


def _name_width(rows: Iterable[Row]) -> int:
    least, most = _NAMES
    return max([least, *(min(most, columns_of(row.run.name)) for row in rows)])


def _flow(parts: Iterable[str], columns: int, *, gap: str = "   ") -> Iterator[str]:
    """Parts in as few lines as hold them."""
    line = ""
    for part in parts:
        longer = f"{line}{gap}{part}" if line else part
        if line and columns_of(longer) > columns:
            yield line
            longer = part
        line = fit(longer, columns)
    if line:
        yield line
