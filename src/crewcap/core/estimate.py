"""What a run will probably cost, said before it begins, and what makes an issue dear.

From ten earlier jobs of the same kind on, the estimate is theirs: the middle one and the one that nine of ten stay
below. With fewer there is nothing of one's own to go by, and what others published is shown, marked as such.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from crewcap.core.calibration import PILOT
from crewcap.core.history import Job, quantile
from crewcap.core.money import ZERO, Money
from crewcap.core.runs import Issue

_PATH = re.compile(
    r"[\w.-]+/[\w./-]+|\b[\w-]+\.(?:py|js|ts|tsx|jsx|go|rs|rb|java|c|h|cpp|cs|php|sql|toml|ya?ml|json|md)\b"
)
_TEST = re.compile(
    r"\btests?\b|\bspec\b|\bassert|\bexpect(?:ed|s)?\b|\bshould\b|\bwhen\b.*\bthen\b", re.IGNORECASE | re.DOTALL
)
_BROAD = re.compile(
    r"\b(?:improve|refactor|clean ?up|modernize|rewrite|optimi[sz]e|everything|whole|entire|all)\b", re.IGNORECASE
)
_SHORT = 80  # letters; an issue that says less leaves the agent to search
_BYTES_A_TOKEN = 4
_FEW = 5  # jobs that went on from where a run stands: with fewer, one of them decides


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What somebody else reported."""

    what: str
    low: Money
    high: Money
    source: str


_ARTICLE = "vendor's article on background agents"
PUBLISHED = (
    Published(what="a focused fix of 30 minutes, Sonnet", low=Money.usd("2"), high=Money.usd("5"), source=_ARTICLE),
    Published(what="a pull request review", low=Money.usd("2"), high=Money.usd("2"), source=_ARTICLE),
    Published(what="an issue of a tracker", low=Money.usd("4"), high=Money.usd("4"), source=_ARTICLE),
    Published(what="a nightly sweep of a code base", low=Money.usd("5"), high=Money.usd("5"), source=_ARTICLE),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a run will probably cost."""

    basis: Literal["history", "published"]
    p50: Money
    p90: Money
    jobs: int  # that it rests on
    like: str = ""  # which ones they were, in words
    p10: Money = ZERO  # one of ten costs no more


def estimate(past: Sequence[Job], *, workflow: str, model: str, repo: str) -> Estimate:
    """From the jobs that are most like it and numerous enough; else what others published."""
    for like, alike in _alike(past, workflow=workflow, model=model, repo=repo):
        costs = [job.cost for job in alike if job.is_over]
        if len(costs) >= PILOT:
            p10, p50, p90 = (quantile(costs, percent) for percent in (10, 50, 90))
            return Estimate(basis="history", p10=p10, p50=p50, p90=p90, jobs=len(costs), like=like)
    seen = sum(job.is_over and job.is_run for job in past)
    return Estimate(basis="published", p50=PUBLISHED[0].low, p90=PUBLISHED[0].high, jobs=seen)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rest:
    """What a run that has spent something will probably still cost."""

    p10: Money
    p50: Money
    p90: Money
    jobs: int  # that it rests on


def rest(past: Sequence[Job], *, workflow: str, model: str, repo: str, spent: Money) -> Rest | None:
    """By the jobs like it that had cost as much and went on to an end of their own; None where they are too few."""
    for _, alike in _alike(past, workflow=workflow, model=model, repo=repo):
        more = [job.cost - spent for job in alike if job.is_over and not job.was_cut and job.cost > spent]
        if len(more) >= _FEW:
            p10, p50, p90 = (quantile(more, percent) for percent in (10, 50, 90))
            return Rest(p10=p10, p50=p50, p90=p90, jobs=len(more))
    return None


def dear_signs(issue: Issue) -> tuple[str, ...]:
    """What in an issue's own words will cost: each a sentence with the way round."""
    text = issue.body if issue.title in issue.body else f"{issue.title}\n{issue.body}"
    signs = []
    if not _PATH.search(text):
        signs.append("it names no path, so the agent searches for one: name the file")
    if not _TEST.search(text):
        signs.append("it names no test and no expected behaviour: say how one sees that it works")
    if _BROAD.search(issue.title):
        signs.append("its title asks for something broad: a narrow one reads less")
    if len(text.strip()) < _SHORT:
        signs.append(f"it says little ({len(text.strip())} letters): what is not said is looked for")
    return tuple(signs)


def tokens_of(size: int) -> int:
    """About how many tokens a text of so many bytes is."""
    return -(-size // _BYTES_A_TOKEN)


def _alike(past: Sequence[Job], *, workflow: str, model: str, repo: str) -> Sequence[tuple[str, Sequence[Job]]]:
    """Earlier jobs, the most alike first."""
    runs = [job for job in past if job.is_run and job.workflow == workflow]
    here = [job for job in runs if job.repo == repo]
    return (
        (f"runs in {repo} on {model}", [job for job in here if job.model == model]),
        (f"runs in {repo}, all models", here),
        (f"runs on {model}, all repositories", [job for job in runs if job.model == model]),
        ("runs of all repositories and models", runs),
    )
