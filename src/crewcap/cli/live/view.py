"""A run while it works: a story that stays on the screen, and below it a few lines that are drawn anew.

The story is the same text on a terminal and in a pipe. The lines below it exist on a terminal only; a pipe gets one
line when nothing else was said for half a minute. Everything is fed from the run's moments, and from gauges that
whoever feeds it has read; the view itself asks nobody but the terminal for its size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from crewcap.cli.live.closing import Closing, closing_lines, colour_of
from crewcap.cli.live.deeds import Deed, Deeds
from crewcap.cli.live.gauges import Gauges
from crewcap.cli.live.opening import Opening, opening_lines
from crewcap.cli.live.pace import Pace
from crewcap.cli.screen.figures import (
    NARROW,
    Screen,
    bar,
    columns_of,
    count,
    duration,
    fit,
    many,
    pad,
    percent,
    span,
    wrap,
)
from crewcap.core.estimate import Estimate
from crewcap.core.harmless import one_line
from crewcap.core.money import ZERO, Money
from crewcap.core.runs import Acted, AgentEvent, Answered, Retried, Run, RunState
from crewcap.runner.moments import Counted, Ended, Heard, Moment, Stepped

QUIET_S = 30.0
WIDEST = 100  # columns of a line of the story; more is hard to read
_AT_ONCE = 3
_CELLS = 20
_IN_FULL = frozenset({"watch", "branch", "base", "sandbox", "queued", "serve"})  # evidence, or what to do
_LEAST = 16  # columns of a command that are worth showing before what became of it
HINT = "Ctrl-C pauses and keeps everything; twice stops"
_STEP = 24  # columns before the words of a step


@dataclass(frozen=True, slots=True, kw_only=True)
class Now:
    """What the lines below the story tell."""

    run: Run
    elapsed_s: float = 0.0
    spent: Money = ZERO
    held: Money = ZERO
    turns: int = 0
    recent: tuple[Deed, ...] = ()
    doing: tuple[Deed, ...] = ()
    agents: int = 1
    worked_s: float = 0.0  # of the agent: what its timeout counts
    per_minute: Money = ZERO
    gauges: Gauges | None = None
    hint: str = HINT
    stands_still: bool = False  # nobody drives it


def step_lines(elapsed_s: float, name: str, text: str, columns: int) -> list[str]:
    """`  0:13  check before    41 passed, 1 failed`."""
    if columns < NARROW:
        return wrap(f"{duration(elapsed_s)} {name}: {text}", columns, indent=" ")
    if name in _IN_FULL:
        first, *rest = wrap(one_line(text), min(columns, WIDEST) - _STEP)
        return [f"{_time(elapsed_s)}  {pad(name, 15)} {first}", *(f"{'':{_STEP}}{line}" for line in rest)]
    head = f"{_time(elapsed_s)}  {pad(name, 15)} "
    return [head + _with_its_end(one_line(text), min(columns, WIDEST) - columns_of(head))]


def _with_its_end(text: str, room: int) -> str:
    """A long `command: what became of it` loses the end of the command, not what became of it."""
    command, colon, outcome = text.rpartition(": ")
    left = room - columns_of(f"{colon}{outcome}")
    return f"{fit(command, left)}{colon}{outcome}" if colon and left >= _LEAST else fit(text, room)


def deed_lines(deed: Deed, columns: int) -> list[str]:
    """`  0:41  turn 4   edit   src/auth/login.py  +3 -1       $0.16`: what was done, and the cost of all so far."""
    if columns < NARROW:
        return wrap(f"{duration(deed.began_s)} {deed.verb} {deed.words} {deed.so_far.show()}", columns, indent=" ")
    width, money = min(columns, WIDEST), deed.so_far.show()
    head = f"{_time(deed.began_s)}  {pad(f'turn {deed.turn}', 8)} {pad(deed.verb, 6)} "
    room = width - columns_of(head) - len(money) - 2
    return [f"{head}{pad(fit(deed.words, room), room)}  {money}"]


def status_lines(now: Now, columns: int) -> list[str]:
    """The lines below the story; on a narrow screen what matters most of them."""
    run = now.run
    if columns < NARROW:
        share = percent(now.spent, run.cap).replace(" ", "")
        return wrap(f"{run.name} {now.spent.show()}/{run.cap.show().removeprefix('$')} {share} t{now.turns}", columns)
    width = min(columns, WIDEST)
    where = f"{run.repo}    {run.state}"
    title = fit(one_line(run.issue.title), max(0, width - columns_of(f" {run.name}    {where}")))
    lines = [
        f" {pad(f'{run.name}  {title}', width - columns_of(where) - 2)} {where}",
        f" {_money(now, width - 1)}",
        f" {_progress(now, width - 1)}",
    ]
    lines += [_deed_row(deed, width, now.elapsed_s) for deed in (*now.recent, *now.doing[:_AT_ONCE])]
    if now.held and not now.spent:
        lines.append(" held: promised to the request in flight; what it does not use comes back")
    if now.gauges is not None and now.gauges.expected is not None:
        lines.append(f" {_expected(now.gauges.expected, now.spent)}")
    return [*lines, f" {now.hint}"]


def quiet_line(now: Now) -> str:
    """What a pipe gets when nothing else was said for a while."""
    held = f", {now.held.show()} held" if now.held else ""
    money = f"{now.spent.show()} of {now.run.cap.show()}, {percent(now.spent, now.run.cap)}{held}"
    word = "stands still" if now.stands_still else "still working"
    return f"{_time(now.elapsed_s)}  {pad(word, 15)} {money}, turn {now.turns} of {now.run.max_turns}"


def _as_of(moment: Moment, run: Run) -> Run:
    """The run in the state that a moment is of: it is made ready, its agent works, its work is looked at."""
    match moment:
        case Stepped(name="check after"):
            return replace(run, state=RunState.FINISHING)
        case Stepped(name="queued"):
            return replace(run, state=RunState.QUEUED)
        case Stepped() if run.state == RunState.QUEUED:
            return replace(run, state=RunState.PREPARING)
        case Counted(turns=0):  # it is counted from the beginning, and nothing was asked yet
            return run
        case Heard() | Counted() if run.state != RunState.FINISHING:
            return replace(run, state=RunState.RUNNING)
    return run


def _time(seconds: float) -> str:
    return f"{duration(seconds):>6}"


def _money(now: Now, width: int) -> str:
    """`$0.16 of $3.00 [#...................]  5 %  + $0.11 held   $0.14/min`, with a shorter bar or none."""
    held = f"  + {now.held.show()} held" if now.held else ""
    a_minute = f"   {now.per_minute.show()}/min" if now.per_minute else ""
    for cells in (_CELLS, _CELLS // 2, 0):
        gauge = f" {bar(now.spent, now.run.cap, cells)}" if cells else ""
        share = percent(now.spent, now.run.cap)
        line = f"{now.spent.show()} of {now.run.cap.show()}{gauge}  {share}{held}{a_minute}"
        if columns_of(line) <= width:
            break
    return line


def _progress(now: Now, width: int) -> str:
    """`turn 4 of 40   0:41 of 45m   sonnet-5   cache 91 %   context 38k/200k   1 agent`, or what fits of it."""
    run, gauges = now.run, now.gauges
    worked = f"{duration(now.worked_s)} of {span(run.timeout_s)}"
    parts = {
        "turn": f"turn {now.turns} of {run.max_turns}",
        "time": worked if run.state == RunState.RUNNING else duration(now.elapsed_s),
        "model": run.model.removeprefix("claude-"),
        "cache": f"cache {percent(gauges.cached, gauges.prompts)}" if gauges and gauges.prompts else "",
        "context": _context(gauges) if gauges and gauges.context else "",
        "agents": many(now.agents, "agent"),
    }
    for missing in ("", "model", "agents" if now.agents == 1 else "", "context", "cache", "agents", "time"):
        parts[missing] = ""
        line = "   ".join(filter(None, parts.values()))
        if columns_of(line) <= width:
            break
    return line


def _context(gauges: Gauges) -> str:
    window = f"/{count(gauges.window)}" if gauges.window else ""
    return f"context {count(gauges.context)}{window}"


def _expected(past: Estimate, spent: Money) -> str:
    """`expected $0.40 (0.25-0.90), from 31 earlier runs`, and whether it has become dearer than most of them."""
    low, high = (amount.show().removeprefix("$") for amount in (past.p10, past.p90))
    dear = "; dearer by now than nine of ten" if spent > past.p90 else ""
    return f"expected {past.p50.show()} ({low}-{high}), from {past.jobs} earlier runs{dear}"


def _deed_row(deed: Deed, width: int, now_s: float) -> str:
    """`  > run    pytest tests/test_login.py             9 s`: with its cost once it is done."""
    cost = f"+{deed.cost.show()}" if deed.took_s is not None and deed.cost else ""
    took_s = now_s - deed.began_s if deed.took_s is None else deed.took_s
    tail = f"{round(max(0.0, took_s)):>4} s  {cost:>9}"
    mark = ">" if deed.took_s is None else " "
    room = max(10, width - columns_of(tail) - 12)
    return f"  {mark} {pad(deed.verb, 6)} {pad(fit(deed.words, room), room)} {tail}".rstrip()


@dataclass(slots=True, kw_only=True)
class LiveView:
    """The screen of one run. `write` takes text with its line ends; a reader that has gone is no error."""

    screen: Screen
    write: Callable[[str], None]
    monotonic: Callable[[], float]
    opening: Opening
    hint: str = HINT  # what Ctrl-C does
    measure: Callable[[], Screen] | None = None  # the screen as it is now; a window is made smaller and larger
    _now: Now = field(init=False)
    _deeds: Deeds = field(init=False, default_factory=Deeds)
    _began: float = field(init=False, default=0.0)
    _spoke: float = field(init=False, default=0.0)
    _told_s: float = field(init=False, default=0.0)  # the time of the newest line of the story
    _drawn: list[str] = field(init=False, default_factory=list)  # lines below the story
    _pace: Pace | None = field(init=False, default=None)  # since its first request
    _charged: Money = field(init=False, default=ZERO)  # to deeds, so far
    _is_gone: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        self._now = Now(run=self.opening.run, worked_s=self.opening.run.agent_seconds)

    def begin(self) -> None:
        """Print the head; time runs from here."""
        self._began = self.monotonic()
        self._say(opening_lines(self.opening, self.screen.columns))

    def know(self, gauges: Gauges) -> None:
        """What the books say of the run; shown with the next moment."""
        self._now = replace(self._now, gauges=gauges, run=replace(self._now.run, state=gauges.state))

    def stand(self, *, is_still: bool) -> None:
        """Whether nobody drives the run any more."""
        self._now = replace(self._now, stands_still=is_still)

    def feed(self, moment: Moment) -> None:
        """Tell what happened."""
        self._pass_time()
        self._now = replace(self._now, run=_as_of(moment, self._now.run))
        match moment:
            case Stepped():
                self._tell(self._deeds.flush())
                self._step(moment.name, moment.text)
            case Heard():
                self._hear(moment.event, turn=moment.turn, spent=moment.spent)
            case Counted():
                self._count(moment)
            case Ended():
                self._tell(self._deeds.give_up())
                self._now = replace(self._now, run=moment.run)
                self._erase()
                return
        self._draw()

    def close(self, closing: Closing) -> None:
        """Print the last block."""
        self._tell(self._deeds.give_up())
        self._erase()
        head, *rest = self.screen.lines(closing_lines(closing, self.screen.columns))
        self._put("\n".join(["", self.screen.paint(head, colour_of(closing.run)), *rest, ""]))

    def leave(self) -> None:
        """Take away what is drawn anew, and print nothing more."""
        self._tell(self._deeds.give_up())
        self._erase()

    @property
    def last_deed(self) -> str:
        """What the agent did last, for the message of a pause."""
        return self._deeds.last

    def _pass_time(self) -> None:
        """The run's time, and the part of it that its agent worked."""
        now, elapsed_s = self._now, self.monotonic() - self._began
        worked_s = now.worked_s + (elapsed_s - now.elapsed_s if now.run.state == RunState.RUNNING else 0.0)
        self._now = replace(now, elapsed_s=elapsed_s, worked_s=worked_s)

    def _count(self, counted: Counted) -> None:
        """Money and turns by the ledger; a run that is resumed has spent some before."""
        self._now = replace(self._now, spent=counted.spent, held=counted.held, turns=counted.turns)
        if self._pace is None and (counted.held or counted.spent):
            self._pace = Pace.since(self._now.elapsed_s, counted.spent)
            if self.opening.run.agent_seconds:
                self._charged = counted.spent
        if self._pace is not None:
            self._now = replace(self._now, per_minute=self._pace.note(self._now.elapsed_s, counted.spent))

    def _hear(self, event: AgentEvent, *, turn: int, spent: Money) -> None:
        at_s = self._now.elapsed_s
        self._now = replace(self._now, turns=max(turn, self._now.turns), spent=max(spent, self._now.spent))
        match event:
            case Acted():
                self._deeds.begin(event, turn=self._now.turns, at_s=at_s, cost=ZERO)
            case Answered():
                cost = self._charge()
                self._tell(self._deeds.end(event, at_s=at_s, so_far=self._now.spent, cost=cost))
            case Retried():
                self._step("retry", f"number {event.attempt}, because of {event.reason}")
            case _:
                pass

    def _charge(self) -> Money:
        """What was spent since the deed before: the request that asked for a deed is paid by the time of its answer."""
        before, self._charged = self._charged, self._now.spent
        return max(ZERO, self._now.spent - before)

    def _tell(self, deeds: Iterable[Deed]) -> None:
        """Each with the time at which it began, but for one that began before what was told meanwhile."""
        for deed in deeds:
            self._told_s = max(self._told_s, deed.began_s)
            self._say(deed_lines(replace(deed, began_s=self._told_s), self.screen.columns))

    def _step(self, name: str, text: str) -> None:
        self._told_s = self._now.elapsed_s
        self._say(step_lines(self._told_s, name, text, self.screen.columns))

    def _draw(self) -> None:
        """The lines below the story; a pipe gets one when it is quiet for long."""
        if self.screen.is_terminal:
            self.screen = self.measure() if self.measure is not None else self.screen
            deeds = self._deeds
            now = replace(self._now, recent=deeds.recent, doing=deeds.doing, agents=deeds.agents, hint=self.hint)
            lines = self.screen.lines(status_lines(now, self.screen.columns))
            lines = lines[: max(1, self.screen.rows - 1)] if self.screen.rows else lines
            erasure, self._drawn = self._erasure(), lines
            self._put(erasure + "".join(f"{line}\n" for line in lines))
        elif self.monotonic() - self._spoke >= QUIET_S:
            self._tell(self._deeds.flush())
            self._told_s = self._now.elapsed_s
            self._say([quiet_line(self._now)])

    def _say(self, lines: Iterable[str]) -> None:
        """Lines of the story."""
        self._erase()
        self._spoke = self.monotonic()
        self._put("".join(f"{line}\n" for line in self.screen.lines(lines)))

    def _erase(self) -> None:
        if erasure := self._erasure():
            self._put(erasure)

    def _erasure(self) -> str:
        """Up to where the lines below the story began; a terminal that became narrower has broken them."""
        if not self._drawn:
            return ""
        rows = sum(max(1, -(-columns_of(line) // self.screen.columns)) for line in self._drawn)
        self._drawn = []
        return f"\x1b[{rows}F\x1b[J"

    def _put(self, text: str) -> None:
        """Write; when nobody reads any more the run goes on all the same."""
        if self._is_gone:
            return
        try:
            self.write(text)
        except (OSError, ValueError):
            self._is_gone = True
