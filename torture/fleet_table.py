"""What came of runs over several machines, as lines for the terminal and as sections of docs/torture.md."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from tests.runner.worker.fleet import QUICK
from tests.runner.worker.place_watch import SESSIONS, Seen

from torture.page import made_by

HEADINGS = {
    "workers": "## Workers on one PostgreSQL, some of which die",
    "upgrade": "## A newer version, put in while runs are live",
}
_LAW = f"""\
Each machine is a real `crewcap serve` with a state directory and a gateway of its own, on one database; only the
agent is a small program that keeps a diary. Times are shorter than in earnest: a worker is dead after
{QUICK.dead_after_s:g} s, not 30. The law, for every run: it is done, in one branch that the user's repository has; no
more agents than attempts; never two of them at once, by the diary and by a look at the processes ten times a second.
Places are looked at by one session of its own from before the first worker starts until the last one has ended, in one
statement a look: never more taken than there are, no run at work without its place, none taken at the end. `ledger
verify` is clean, no hold is open, and what is charged is at least what the provider's own meter billed."""
_COLUMNS = (
    "machines", "runs", "what happened", "runs at work then", "went on in the same place", "on another machine",
    "longest until an agent worked again", "agents", "places looked at", "most of `all`", "most of a repository",
    "most of the server", "in all", "law broken",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetRow:
    """What came of one trial."""

    part: str
    name: str
    seed: int
    runs: int
    happened: str
    cut_short: int = 0
    stayed: int = 0  # of those that were cut short
    moved: int = 0
    longest_s: float = 0.0
    agents: int
    seen: Seen | None = None
    seconds: float
    struck: bool
    broken: tuple[str, ...]

    def line(self) -> str:
        """For the terminal."""
        end = "the law holds" if not self.broken else "BROKEN: " + "; ".join(self.broken[:5])
        looks = f", {', '.join(_of_places(self.seen))}" if self.seen else ""
        return (
            f"{self.part}: {self.name}, {self.runs} runs, seed {self.seed}: {self.happened}; {self.cut_short} at work"
            f" then, {self.stayed} stayed, {self.moved} moved, {self.agents} agents{looks}, {self.seconds:.0f} s; {end}"
        )

    def cells(self) -> Iterator[str]:
        """For the page."""
        yield from (self.name, str(self.runs), self.happened, str(self.cut_short), str(self.stayed), str(self.moved))
        yield f"{self.longest_s:.1f} s" if self.longest_s else "-"
        yield str(self.agents)
        yield from _of_places(self.seen) if self.seen else ("-",) * 4
        yield from (f"{self.seconds:.0f} s", str(len(self.broken)))


def sections(rows: Sequence[FleetRow], *, seed: int, at: datetime) -> Iterator[str]:
    """The page's parts on what was tried."""
    for part, heading in HEADINGS.items():
        if mine := [row for row in rows if row.part == part]:
            yield "\n".join([heading, "", made_by(f"--seed {seed} --only {part}", at), "", *_told(mine)])


def _told(rows: Sequence[FleetRow]) -> Iterator[str]:
    yield f"{_LAW}\n"
    yield f"| {' | '.join(_COLUMNS)} |"
    yield "|---" * len(_COLUMNS) + "|"
    for row in rows:
        yield f"| {' | '.join(row.cells())} |"
    yield from (f"\nBroken with {row.name}, seed {row.seed}: {sentence}" for row in rows for sentence in row.broken)


def _of_places(seen: Seen) -> Iterator[str]:
    yield f"{seen.looks:,} looks"
    yield f"{seen.most['all']} of {seen.limits['all']}"
    most, scope = max((seen.most[scope], scope) for scope in seen.limits if scope != "all")
    yield f"{most} of {seen.limits[scope]}"
    yield f"{seen.most[SESSIONS]} sessions"
