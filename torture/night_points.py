"""Where processes of a `crewcap serve` are killed: the points of a run's life, in the order in which it passes them.

Each name has a moment before and one after; `night_site/crewcap_fate.py` says which call of the product each one is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Who = Literal["worker", "gateway", "supervisor"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One call of the product, before and after which somebody dies."""

    where: Who  # which process passes it
    meaning: str
    passes: int = 5  # how often five runs pass it at least: the death comes at one of these
    at_start: bool = False  # passed while a serve begins, so the serve is started again to pass it


_POINTS: Final = {
    "admit": Point(where="worker", meaning="a queued run takes its places"),
    "enqueue": Point(where="worker", meaning="the engine is handed a run that has its places"),
    "step.admit": Point(where="worker", meaning="the run leaves the queue; after: the engine has not written it down"),
    "state.prepare": Point(where="worker", meaning="`preparing` is stored"),
    "step.workspace": Point(where="worker", meaning="branch and workspace"),
    "branch": Point(where="worker", meaning="the run's branch is taken"),
    "workspace": Point(where="worker", meaning="the workspace is made"),
    "step.setup": Point(where="worker", meaning="setup and baseline check"),
    "state.start": Point(where="worker", meaning="`running` is stored"),
    "step.agent": Point(where="worker", meaning="the agent, from its key to its end"),
    "key": Point(where="worker", meaning="the agent's key is made"),
    "door": Point(where="worker", meaning="the run's door is opened"),
    "agent": Point(where="worker", meaning="the agent's process is there, and has no task yet"),
    "reserve": Point(where="gateway", meaning="money is held for a request"),
    "send": Point(where="gateway", meaning="the request goes to the provider"),
    "settle": Point(where="gateway", meaning="the request is booked"),
    "door_end": Point(where="worker", meaning="the run's door is closed"),
    "key_end": Point(where="worker", meaning="the agent's key is ended"),
    "state.finish": Point(where="worker", meaning="`finishing` is stored"),
    "step.publish": Point(where="worker", meaning="fetch, check, publish, judge"),
    "fetch": Point(where="worker", meaning="the work is fetched into the mirror"),
    "publish": Point(where="worker", meaning="the branch goes into the user's repository"),
    "state.succeed": Point(where="worker", meaning="`done` is stored"),
    "step.report": Point(where="worker", meaning="the report is written for the last time"),
    "report": Point(where="worker", meaning="any report is written into an issue", passes=20),
    "step.release": Point(where="worker", meaning="the run's places are given back"),
    "orphans": Point(
        where="worker", meaning="a worker that starts ends what an earlier one left", passes=1, at_start=True
    ),
    "engine": Point(where="worker", meaning="a worker's engine starts", passes=1, at_start=True),
    "mend": Point(
        where="worker", meaning="a worker that starts looks for attempts that nobody has", passes=1, at_start=True
    ),
    "gateway_came": Point(where="supervisor", meaning="a gateway is ready", passes=1, at_start=True),
    "worker_came": Point(where="supervisor", meaning="a worker is ready", passes=1, at_start=True),
}

POINTS: Final = {f"{name}.{moment}": point for name, point in _POINTS.items() for moment in ("before", "after")}
