"""What a batch came to: its folder and the books read together, and its results as files.

Money and tokens are the ledger's alone; words are those that the provider sent. A result is written when it is there,
and writing it again writes the same.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from crewcap.core.money import ZERO, Money
from crewcap.core.pricing import Usage
from crewcap.errors import UsageError
from crewcap.gateway.batch.folder import Answered, Folder, Job, Prompt, State
from crewcap.stores import Entry, Ledger

ItemState = Literal["waiting", "refused", "sent", "succeeded", "errored", "canceled", "expired", "missing"]
JobState = Literal["preparing", "sending", "working", "settling", "done", "cancelling"]


REFUSED = "refused.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemView:
    """One prompt and what became of it."""

    prompt: Prompt
    state: str
    text: str = ""
    model: str = ""
    stop_reason: str = ""
    why: str = ""
    spent: Money = ZERO
    uncertain: Money = ZERO
    held: Money = ZERO
    usage: Usage = field(default_factory=Usage)

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come."""
        return self.state not in {"waiting", "sent"}

    def as_json(self) -> dict[str, Any]:
        """A line of results.jsonl."""
        usage = self.usage
        return {
            "id": self.prompt.id,
            "state": self.state,
            "cost_usd": (self.spent + self.uncertain).exact(),
            "uncertain_usd": self.uncertain.exact(),
            "held_usd": self.held.exact(),
            "tokens": {
                "input": usage.input,
                "cache_read": usage.cache_read,
                "write_5m": usage.write_5m,
                "write_1h": usage.write_1h,
                "output": usage.output,
                "thinking": usage.thinking,
            },
            "model": self.model or self.prompt.model,
            "stop_reason": self.stop_reason,
            "why": self.why,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class JobView:
    """A whole batch at one moment."""

    job: Job
    state: JobState
    items: tuple[ItemView, ...]
    ready: int = 0  # prompts that the provider had answered when it was last asked, booked or not

    def count(self, *states: str) -> int:
        """How many prompts are in one of these states."""
        return sum(item.state in states for item in self.items)

    @property
    def over(self) -> int:
        """Prompts of which nothing more will come, but for those that were never sent."""
        return sum(item.is_over and item.state != "refused" for item in self.items)

    @property
    def done(self) -> int:
        """Prompts that the provider is done with, as far as is known."""
        return max(self.over, min(self.ready, self.sent))

    @property
    def sent(self) -> int:
        """Prompts that were held for."""
        return len(self.items) - self.count("refused")

    def sum(self, of: Literal["spent", "uncertain", "held"]) -> Money:
        """What all of it comes to."""
        return Money(sum(getattr(item, of).nano for item in self.items))

    @property
    def rest(self) -> Money | None:
        """What the rest will probably cost: as those that are settled did, never more than is held."""
        settled = [item for item in self.items if item.state == "succeeded"]
        left = self.sent - self.over
        if not settled or not left:
            return None
        mean = sum(item.spent.nano for item in settled) // len(settled)
        return Money(min(mean * left, self.sum("held").nano))

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        kinds = ("succeeded", "errored", "canceled", "expired", "missing", "refused")
        return {
            "name": self.job.name,
            "state": self.state,
            "key": self.job.key,
            "items": len(self.items),
            "sent": self.sent,
            "over": self.over,
            "ready": self.done,
            **{kind: self.count(kind) for kind in kinds},
            "cap_usd": self.job.cap.exact(),
            "cost_usd": (self.sum("spent") + self.sum("uncertain")).exact(),
            "uncertain_usd": self.sum("uncertain").exact(),
            "held_usd": self.sum("held").exact(),
            "rest_usd": rest.exact() if (rest := self.rest) is not None else None,
            "created_at": self.job.created_at.isoformat(),
            "out": self.job.out,
        }


def view(folder: Folder, ledger: Ledger) -> JobView:
    """A batch as its folder and the books tell it."""
    job, state, answers = folder.job(), folder.state(), folder.answers()
    planned = {item.n: item for item in folder.planned() or ()}
    scope = next(key.scopes[0] for key in ledger.keys() if key.id == job.key)  # noqa: SIM118  (a ledger is no mapping)
    entries = {entry.hold: entry for entry in ledger.entries(scope=scope)}
    held = {hold.hold: hold.held for hold in ledger.open_holds() if hold.key == job.key}
    items = []
    for prompt in folder.prompts():
        hold = planned[prompt.n].hold if prompt.n in planned else ""
        item = _item(prompt, answers.get(prompt.n), entries.get(hold), held.get(hold), state)  # type: ignore[call-overload]  # a hold's name
        items.append(item)
    return JobView(job=job, state=_state(state, items), items=tuple(items), ready=folder.ready())


def _item(prompt: Prompt, answer: Answered | None, entry: Entry | None, held: Money | None, state: State) -> ItemView:
    if prompt.n in state.refused:
        return ItemView(prompt=prompt, state="refused", why=state.refused[prompt.n])
    if entry is None:
        return ItemView(prompt=prompt, state="waiting" if held is None else "sent", held=held or ZERO)
    found = answer or Answered(n=prompt.n, state="missing" if state.is_over else "sent")
    return ItemView(
        prompt=prompt,
        state=found.state,
        text=found.text,
        model=found.model,
        stop_reason=found.stop_reason,
        why=found.error or entry.incident or ("" if found.state == "succeeded" else entry.reason),
        spent=entry.spent,
        uncertain=entry.uncertain,
        usage=entry.usage,
    )


def _state(state: State, items: Sequence[ItemView]) -> JobState:
    if state.is_over:
        return "done"
    if not state.is_held:
        return "preparing"
    if state.is_cancelled:
        return "cancelling"
    parts = state.parts.values()
    if not parts or not any(part.batch for part in parts):
        return "sending"
    is_ended = all(part.ended is not None or part.refused for part in parts)
    return "settling" if is_ended and any(not item.is_over for item in items) else "working"


def write(view_: JobView, out: Path, report: Callable[[ItemView, str], None]) -> int:
    """OUT/ID.md for each answer, OUT/results.jsonl for all that is over; how many answers there are.

    OUT/refused.jsonl holds the prompts that were not sent, as `batch run` reads them.
    `report` is told of every answer whose prompt was an issue.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        answered = [item for item in view_.items if item.state == "succeeded"]
        for item in answered:
            _replace(out / f"{item.prompt.id}.md", item.text.rstrip("\n") + "\n")
        lines = (json.dumps(item.as_json(), ensure_ascii=False) + "\n" for item in view_.items if item.is_over)
        _replace(out / "results.jsonl", "".join(lines))
        if refused := [item.prompt for item in view_.items if item.state == "refused"]:
            _replace(out / REFUSED, "".join(json.dumps(_asked(each), ensure_ascii=False) + "\n" for each in refused))
    except OSError as error:
        why = (error.strerror or str(error)).casefold()
        raise UsageError(
            f"the results cannot be written to {out}: {why}",
            help=f"they are kept; crewcap batch resume {view_.job.name} --out DIR writes them elsewhere",
        ) from error
    for item in answered:
        if item.prompt.source:
            report(item, report_of(view_.job, item))
    return len(answered)


def _asked(prompt: Prompt) -> dict[str, Any]:
    """A prompt as its author might have written it, its files in its text."""
    system = {"system": prompt.system} if prompt.system else {}
    return {"id": prompt.id, "prompt": prompt.text, **system, "model": prompt.model, "max_output": prompt.max_output}


def report_of(job: Job, item: ItemView) -> str:
    """What stands in an issue file."""
    cost = item.spent + item.uncertain
    measured = f"<sub>Exactly ${cost.exact()}.</sub>"
    return f"**Batch {job.name}**: {cost.show()}, {item.model}\n\n{item.text.strip()}\n\n{measured}\n"


def _replace(path: Path, text: str) -> None:
    """A file that is there when it is whole; one that says the same already is left alone."""
    content = text.encode("utf-8", "replace")
    if path.is_file() and path.read_bytes() == content:
        return
    fresh = path.with_name(f".{path.name}.{os.getpid()}.part")
    fresh.write_bytes(content)
    fresh.replace(path)


def totals_of(lines: Iterable[Mapping[str, Any]]) -> Money:
    """The sum of the costs in results.jsonl, as anybody can add it up."""
    return Money(sum(Money.usd(str(line["cost_usd"])).nano for line in lines))
