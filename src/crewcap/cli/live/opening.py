"""The head of a run on the screen: who works, what it may cost and why, from where, behind which walls."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from crewcap.cli.screen.figures import INDENT, NARROW, columns_of, many, pad, wrap
from crewcap.core.budget import Balance
from crewcap.core.harmless import one_line
from crewcap.core.money import Money
from crewcap.core.runs import Run

if TYPE_CHECKING:
    from crewcap.settings.models import RepoSettings

_WINDOWS = {"day": "today", "week": "this week", "month": "this month", "total": "in all"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """What a run starts with."""

    run: Run
    agent: str  # as people read it: "Claude Code 2.1.330"
    lefts: Sequence[tuple[str, Money]] = ()  # what is left where: ("issue", $10.00), ("today", $18.40)
    uncommitted: int = 0  # files of the user's tree that the run does not see
    sandbox: str = ""  # the rung and what it may reach; by default the run's rung
    notes: Sequence[str] = ()  # what deserves saying before it starts: hidden text left out, an agent passed over


def walls(rung: str, project: RepoSettings | None = None) -> str:
    """The rung, and what can be reached through it, as far as the project's settings are known."""
    from crewcap.runner.reach import network  # noqa: PLC0415  (settings are not for --help)

    return f"{rung}; network: {network(rung, project)}"


def lefts_of(balances: Iterable[Balance]) -> tuple[tuple[str, Money], ...]:
    """What is left in each limit, as people call it: `issue`, `today`, `team:core this month`."""
    return tuple((_name(balance), balance.left) for balance in balances)


def opening_lines(opening: Opening, columns: int) -> list[str]:
    """The head, as it stays on the screen."""
    run = opening.run
    rows = [
        ("agent", f"{opening.agent}, {run.model}   ({run.because})"),
        *_money(run, _left(opening.lefts), columns),
        *([("from", _from(run, opening.uncommitted))] if run.base or opening.uncommitted else []),
        ("sandbox", opening.sandbox or walls(run.sandbox)),
        *(("note", note) for note in opening.notes),
    ]
    title = one_line(run.issue.title)
    if columns < NARROW:
        return [*wrap(f"{run.name} {title}", columns), *table(rows, columns)]
    return [f"{run.name}   {title}", *table(rows, columns)]


def table(rows: Iterable[tuple[str, str]], columns: int) -> list[str]:
    """Rows of a name and what there is to say; on a narrow screen they break between words."""
    if columns < NARROW:
        return [line for name, text in rows for line in wrap(f"{name}: {text}" if name else text, columns, indent=" ")]
    return [f"  {pad(name, 9)} {text}".rstrip() for name, text in rows]


def _money(run: Run, left: str, columns: int) -> list[tuple[str, str]]:
    """The cap, its reason, and what is left; below each other where one line does not hold them."""
    cap = f"cap {run.cap.show()} ({run.cap_because})"
    together = f"{cap}    {left}"
    if columns < NARROW or INDENT + columns_of(together) <= columns:
        return [("money", together)]
    return [("money", cap), ("", left)]


def _left(lefts: Iterable[tuple[str, Money]]) -> str:
    return "   ".join(f"{name} {amount.show()} left" for name, amount in lefts)


def _from(run: Run, uncommitted: int) -> str:
    """Which commit, and what of the user's tree is not in it."""
    base = f"{run.base_branch or 'detached HEAD'} @ {run.base[:7]}" if run.base else ""
    if not uncommitted:
        return base
    left_out = f"(your {many(uncommitted, 'uncommitted file')} {'is' if uncommitted == 1 else 'are'} not part of it)"
    return f"{base}   {left_out}".strip()


def _name(balance: Balance) -> str:
    kind = balance.scope.partition(":")[0]
    if kind == "all":
        return _WINDOWS[balance.window]
    if kind in {"issue", "run"}:
        return kind if balance.window == "total" else f"{kind} {_WINDOWS[balance.window]}"
    return balance.scope if balance.window == "total" else f"{balance.scope} {_WINDOWS[balance.window]}"
