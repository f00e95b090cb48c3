"""What is written for the hours in which nobody watches: slots, schedules, triggers, and who is told.

It starts at night, so it must be right when it is read.
"""

from __future__ import annotations

import re

from crewcap.agents import AGENTS
from crewcap.core.admission import Slots
from crewcap.core.budget import Scope
from crewcap.errors import SettingsError
from crewcap.settings.crons import shortest_gap
from crewcap.settings.misplaced import Misplaced, Place, known
from crewcap.settings.models import ScheduleFile, Settings, SettingsFile
from crewcap.settings.values import Wrong, nearest, quoted, read_scope, show_duration

_SLOTTED = ("all", "team", "repo", "user", "workflow")


def slots_of(written: SettingsFile) -> Slots:
    """Slots by scope; those of a run or an issue mean nothing, because an issue has one open run.

    Runs of a schedule that stand one behind the other do so because their workflow has one slot.
    """
    slots = written.slots
    named: dict[Scope, int] = {}
    for text, limit in (slots.__pydantic_extra__ or {}).items():
        here = ("slots", text)
        kind, _, name = text.partition(":")
        try:
            scope = read_scope(text)
        except Wrong as error:
            near = nearest(text, ["all", "team", "repo"])
            raise Misplaced(here, error.message, f"did you mean `{near}`?" if near else error.help) from None
        if kind not in _SLOTTED:
            raise Misplaced(here, "slots are not for single ones of these", f"they are for {', '.join(_SLOTTED)}")
        if kind == "team":
            known(name, written.teams, here, "team")
        named[scope] = limit
    for schedule in written.schedules:
        if schedule.overlap == "queue":
            named.setdefault(Scope(f"workflow:{schedule.workflow_name}"), 1)
    return Slots(all=slots.all, team=slots.team, repo=slots.repo, named=named)


def check_schedules(written: SettingsFile) -> None:
    """What starts at night must be right today."""
    names: set[str] = set()
    for index, schedule in enumerate(written.schedules):
        here = ("schedules", index)
        if schedule.name in names:
            raise Misplaced((*here, "name"), f"there is a schedule {quoted(schedule.name)} already", "rename one")
        names.add(schedule.name)
        _fits_scope(schedule.name, (*here, "name"))
        _fits_scope(schedule.workflow_name, (*here, "workflow"))
        if not schedule.repo.startswith(("/", "~/")):
            known(schedule.repo or "-", written.repos, (*here, "repo"), "repository")
        known(schedule.agent or "", AGENTS, (*here, "agent"), "agent")
        if (schedule.prompt is None) == (schedule.prompt_file is None):
            raise Misplaced(here, "a schedule has a `prompt` or a `prompt_file`, one of them")
        _check_jitter(schedule, here)


def check_prompt_files(settings: Settings) -> None:
    """`SettingsError` for the first schedule whose file with what is asked cannot be read."""
    for index, schedule in enumerate(settings.schedules):
        path = settings.prompt_file_of(schedule)
        if path is None:
            continue
        try:
            path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is no UTF-8"
            where = f"{settings.source}: schedules[{index}].prompt_file"
            raise SettingsError(
                f"{where}: {path} cannot be read: {why}",
                help=f"write what {schedule.name} asks there, or name its file",
            ) from None


def _fits_scope(name: str, path: Place) -> None:
    try:
        read_scope(f"workflow:{name}")
    except Wrong:
        plain = re.sub(r"[^\w./:@-]+", "-", name).strip("-")[:40] or "nightly-audit"
        raise Misplaced(path, f"{quoted(name)} has a space, a quote or is too long", f"write it as {plain}") from None


def _check_jitter(schedule: ScheduleFile, here: Place) -> None:
    """A start that is put off must come before the next due time."""
    gap = shortest_gap(schedule.cron)
    if schedule.jitter_s is not None and schedule.jitter_s > gap.total_seconds():
        shown = show_duration(int(gap.total_seconds()))
        message = f"{show_duration(schedule.jitter_s)} is longer than the {shown} between two due times"
        raise Misplaced((*here, "jitter"), message, f'write at most jitter = "{shown}"')


def check_triggers(written: SettingsFile) -> None:
    """Each tracker has its key, and repositories that there are."""
    for name, trigger in written.triggers.items():
        wanted = "key" if name == "linear" else "token"
        if getattr(trigger, wanted) is None:
            raise Misplaced(("triggers", name), f"`{wanted}` is missing", f'write it as {wanted} = {{ env = "NAME" }}')
        for index, repo in enumerate(trigger.repos):
            known(repo, written.repos, ("triggers", name, "repos", index), "repository")


def check_notify(written: SettingsFile) -> None:
    """Each tells in one way; a file has a whole path, because commands begin in different folders."""
    for index, each in enumerate(written.notify):
        here = ("notify", index)
        ways = [each.webhook is not None, bool(each.command), each.desktop, each.log is not None]
        if sum(ways) != 1:
            message = "one of `webhook`, `command`, `desktop` and `log` says how"
            raise Misplaced(here, message, 'write it as webhook = { env = "SLACK_WEBHOOK" }')
        if each.log is not None and not each.log.startswith(("/", "~/")):
            raise Misplaced((*here, "log"), f"{quoted(each.log)} is not a whole path", "start it with / or ~/")
