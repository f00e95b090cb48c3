"""How a batch is shown: a list, one of them, and the line that tells how far it is."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from crewcap.cli.context import Call
from crewcap.cli.screen.amounts import table
from crewcap.cli.screen.figures import Screen, bar, many
from crewcap.errors import UsageError
from crewcap.gateway.batch.folder import Folder, folders
from crewcap.runner.batch_results import ItemView, JobView, view

MOST_REFUSED = 5  # named one by one


def folder_of(call: Call, name: str) -> Folder:
    """A batch by its name; `UsageError` where there is none."""
    folder = Folder(call.home.batches / name)
    if not name or name.startswith(".") or "/" in name:
        raise UsageError(f"there is no batch {name[:80]!r}", help="crewcap batch list")
    folder.job()
    return folder


def show_all(call: Call) -> None:
    """A line each, newest first."""
    found = [view(folder, call.app.ledger) for folder in folders(call.home.batches)]
    found.sort(key=lambda each: each.job.created_at, reverse=True)
    if call.as_json:
        call.emit([each.as_json() for each in found])
        return
    if not found:
        call.note("no batches yet: crewcap batch run PROMPTS --cap 10")
        return
    head = ("name", "state", "done", "refused", "cost", "held", "cap", "begun")
    rows = [head, *(_row(each) for each in found)]
    for line in _screen(call).lines(table(rows, right=frozenset({2, 3, 4, 5, 6}))):
        call.out(line)


def _row(one: JobView) -> tuple[str, ...]:
    cost = (one.sum("spent") + one.sum("uncertain")).show()
    over = f"{one.done}/{one.sent}"
    held = one.sum("held").show()
    begun = f"{one.job.created_at:%Y-%m-%d %H:%M}"
    return one.job.name, _became(one), over, str(one.count("refused")), cost, held, one.job.cap.show(), begun


def show_one(call: Call, name: str, *, items: bool) -> None:
    """Everything about one."""
    one = view(folder_of(call, name), call.app.ledger)
    if call.as_json:
        listed = {"prompts": [item.as_json() for item in one.items]} if items else {}
        call.emit(one.as_json() | listed)
        return
    for line in _screen(call).lines([*summary(one), *(_item(item) for item in one.items if items)]):
        call.out(line)
    if one.state != "done":
        call.note(f"to go on with it and get its results: crewcap batch resume {one.job.name}")


def summary(one: JobView) -> Iterator[str]:
    """What it came to, in a few lines."""
    cost, uncertain, held = one.sum("spent") + one.sum("uncertain"), one.sum("uncertain"), one.sum("held")
    beside = f", {uncertain.show()} of it uncertain" if uncertain else ""
    beside += f", {held.show()} held" if held else ""
    yield f"batch {one.job.name}: {_became(one)}, {counted(one)}"
    yield f"  cost      {cost.show()} of {one.job.cap.show()} {bar(cost, one.job.cap)}{beside}"
    if rest := one.rest:
        yield f"  the rest  probably {rest.show()}, as those that are settled (estimated)"
    refused = [item for item in one.items if item.state == "refused"]
    for item in refused[:MOST_REFUSED]:
        yield f"  not sent  {item.prompt.id}: {item.why}"
    if len(refused) > MOST_REFUSED:
        yield f"  not sent  and {len(refused) - MOST_REFUSED:,} more: crewcap batch show {one.job.name} --items"
    for kind in ("errored", "expired", "canceled", "missing"):
        found = [item for item in one.items if item.state == kind]
        if found:
            first = f" ({found[0].prompt.id}: {found[0].why})" if found[0].why else ""
            yield f"  {kind:<9} {many(len(found), 'prompt')}{first}"


def _became(one: JobView) -> str:
    """Its state; a batch of which no prompt was ever sent is not done, it was refused."""
    is_refused = one.state == "done" and one.items and one.count("refused") == len(one.items)
    return "refused" if is_refused else one.state


def counted(one: JobView) -> str:
    """`18 of 20 answered`."""
    return f"{one.count('succeeded'):,} of {many(len(one.items), 'prompt')} answered"


def progress(one: JobView, said: str) -> str:
    """One line while it is worked on."""
    if one.state in {"preparing", "sending"}:
        return f"{one.state} {many(one.sent, 'prompt')}, {one.sum('held').show()} held" + (f"; {said}" if said else "")
    cost = one.sum("spent") + one.sum("uncertain")
    rest = f", rest about {one.rest.show()}" if one.rest else ""
    why = f"; {said}" if said else ""
    return f"in work {one.done}/{one.sent}, {cost.show()} settled, {one.sum('held').show()} held{rest}{why}"


def _item(item: ItemView) -> str:
    cost = (item.spent + item.uncertain).show() if item.is_over else item.held.show() + " held"
    why = f"  {item.why}" if item.why else ""
    return f"  {item.prompt.id}  {item.state}  {cost}{why}"


def _screen(call: Call) -> Screen:
    return Screen.of(sys.stdout, call.environ)
