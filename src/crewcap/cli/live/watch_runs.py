"""`crewcap runs --watch`: all runs, while they work.

A terminal gets a screen that is drawn anew every second, anything else a line every half a minute; with --json there is
one object for each run, and another one whenever something about it has changed.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import replace

from crewcap.cli.context import Call
from crewcap.cli.live.board import Board, Row, board_lines, summary_line
from crewcap.cli.live.board_reader import BoardReader
from crewcap.cli.screen.figures import Screen
from crewcap.cli.screen.pause import pause

TICK_S = 1.0
SUMMARY_S = 30.0
_ESCAPE = "\x1b"
_QUIT = frozenset("qQ\x04")  # Ctrl-D means it too
_KEYS = "q quits"


def watch(call: Call, *, limit: int, open_only: bool) -> int:
    """Show the runs until somebody ends it; the exit status."""
    reader = BoardReader(call=call, monotonic=time.monotonic, limit=limit, open_only=open_only)
    screen = Screen.of(sys.stdout, call.environ)
    if call.as_json:
        return _stream(call, reader)
    return _draw(call, reader, screen) if screen.is_terminal else _tell(call, reader)


def _draw(call: Call, reader: BoardReader, screen: Screen) -> int:
    """The board on the terminal; what was seen last stays there."""
    from crewcap.cli.screen.terminal import Terminal  # noqa: PLC0415  (termios is not everywhere)

    with Terminal() as terminal:
        key = ""
        while not terminal.ended_by and not _quits(key):
            columns, rows = terminal.size
            board = reader.read()
            terminal.draw(board_lines(board, replace(screen, columns=columns), rows, keys=_KEYS))
            key = terminal.wait(TICK_S)
    if terminal.ended_by == signal.SIGHUP:
        return 128 + signal.SIGHUP
    columns, rows = terminal.size
    for line in board_lines(board, replace(screen, columns=columns), rows):
        call.out(line)
    return 128 + terminal.ended_by if terminal.ended_by else 0


def _quits(typed: str) -> bool:
    """Whether somebody wants to leave; an arrow begins like Escape and goes on."""
    if typed.startswith(_ESCAPE):
        return typed == _ESCAPE
    return bool(_QUIT.intersection(typed))


def _tell(call: Call, reader: BoardReader) -> int:
    """A line now and every half a minute."""
    next_s = time.monotonic()
    while call.has_reader:
        if time.monotonic() >= next_s:
            next_s += SUMMARY_S
            call.out(summary_line(reader.read()))
        pause(call, TICK_S)
    return 0


def _stream(call: Call, reader: BoardReader) -> int:
    """One object for every run there is, and one whenever something of it has changed."""
    seen: dict[str, dict[str, object]] = {}
    while call.has_reader:
        board = reader.read()
        for name, said in _objects(board):
            if seen.get(name) != said:
                seen[name] = said
                call.emit({"at": board.at.isoformat(), **said, **_moving(board, name)})
        pause(call, TICK_S)
    return 0


def _objects(board: Board) -> Iterator[tuple[str, dict[str, object]]]:
    """What is said of each run, without what moves while nothing happens."""
    for row in board.rows:
        run, totals = row.run, row.totals
        usage = totals.usage
        yield (
            run.id,
            {
                "run": run.name,
                "run_id": run.id,
                "issue": f"{run.issue.tracker}/{run.issue.key}",
                "title": run.issue.title,
                "repo": run.repo,
                "agent": run.agent,
                "model": run.model,
                "state": run.state.value,
                "verdict": run.verdict.value if run.verdict else None,
                "reason": run.reason,
                "cut_short": row.is_cut_short,
                "queued_for": run.queued_for or None,
                "position": run.position or None,
                "opens_at": run.opens_at.isoformat() if run.opens_at else None,
                "needs_you": row.needs_somebody,
                "cost_usd": row.cost.exact(),
                "uncertain_usd": totals.uncertain.exact(),
                "held_usd": totals.held.exact(),
                "cap_usd": run.cap.exact(),
                "turns": totals.requests,
                "max_turns": run.max_turns,
                "cache_hit": round(usage.cache_read / usage.prompt, 4) if usage.prompt else 0.0,
                "last": row.last,
            },
        )


def _moving(board: Board, id_: str) -> dict[str, object]:
    """What changes all the time, said when something else did."""
    row: Row = next(row for row in board.rows if row.run.id == id_)
    return {"per_minute_usd": row.per_minute.exact(), "worst_case_usd": board.worst_case.exact()}
