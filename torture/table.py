"""What was tried and what came of it, as lines and as a Markdown table."""

from __future__ import annotations

import platform
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from torture.law import Verdict


@dataclass(slots=True, kw_only=True)
class Row:
    """One kind of trouble."""

    part: str
    name: str
    meaning: str
    trials: int = 0
    struck: int = 0  # trials in which the trouble did happen
    charged_beyond: int = 0  # trials in which something stayed charged that was not billed
    broken: list[str] = field(default_factory=list)

    def add(self, seed: int, verdict: Verdict, *, trials: int = 1) -> None:
        """What came of one more trial, or of several on one ledger."""
        self.trials += trials
        self.struck += trials * verdict.struck
        self.charged_beyond += verdict.charged > verdict.billed
        self.broken += [f"seed {seed}: {sentence}" for sentence in verdict.broken]

    def line(self) -> str:
        """For the terminal, while it runs."""
        end = "the law holds" if not self.broken else "; ".join(self.broken[:3])
        return f"{self.part:12} {self.name:28} {self.struck:5} of {self.trials:5} struck  {end}"


def table(rows: Sequence[Row], *, seed: int, at: datetime, is_short: bool) -> str:
    """A page that says what was run, with which seed, and what came of it."""
    form = "--short " if is_short else ""
    lines = [
        "# What the books lived through",
        "",
        f"`python -m torture {form}--seed {seed}`, {at:%Y-%m-%d}, Python {platform.python_version()},",
        f"SQLite {sqlite3.sqlite_version}. After each trial: `ledger verify` is clean, no limit is passed, no hold is",
        "open, and what is charged is at least what the provider's own meter billed.",
        "",
        "| trouble | where | struck | law broken | trials that left money charged as uncertain |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.part} | {row.name}: {row.meaning} | {row.struck} of {row.trials} | {len(row.broken)}"
        f" | {row.charged_beyond} |"
        for row in rows
    ]
    trials, broken = sum(row.struck for row in rows), sum(bool(row.broken) for row in rows)
    lines += ["", f"{trials} times it struck; {broken} kinds of trouble broke the law."]
    if not broken:  # the rule of three: no failure in n trials bounds the rate below 3 / n at 95 %
        lines[-1] += f" With no failure in {trials} the rate is below {3 / trials:.2%} with 95 % confidence."
    return "\n".join(lines) + "\n"
