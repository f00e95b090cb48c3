"""What people do at an issue after its run has begun: words for crewcap, and changes of its text.

    written             the run waits          it is queued or at work   it has ended
    a message           goes on, told that     told to its agent         goes on, told that
    retry, go on        goes on                (it is at it)             goes on
    budget +2           goes on with $2 more   (it asks for nothing)     goes on with $2 more
    pause, stop         stays, ends            pauses, ends              (it has ended)
    the text changed    told when it goes on   told to its agent         goes on, told that; when it was stopped: told
                                                                         when it goes on

"Goes on" is what `crewcap resume` does: the same session and branch, a new attempt, refused where not even its first
turn would fit into the run's cap, the issue's or any other. A message that is refused so is kept and told with the
next answer. What came of each stands in the issue's report.

Why this can neither be done twice nor run in circles:

- Each is written down before it is acted on, once in all stores. One that was cut off in between is looked at again:
  where its run has begun a later attempt, that was its effect.
- What stood at the issue when its run was written down is for no later run. What we write is no mention (the tracker
  leaves it out), and what stands in a run's own branch was not written by a person.
- An issue has so many follow-ups an hour and no more. `stop` and `pause` are always heard.
- A text is acted on when it stays as it is for a moment: editors save half sentences.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

from crewcap.core.budget import Scope
from crewcap.core.commands import NAME, Add, Command, GoOn, Pause, Retry, Say, Stop, Unclear, parse
from crewcap.core.harmless import one_line, redact
from crewcap.core.money import ZERO, Money
from crewcap.core.runs import AT_WORK, OPEN_STATES, Issue, Run, RunId, RunState
from crewcap.core.trust import may_write
from crewcap.errors import CrewcapError, MoneyRefused
from crewcap.runner import jobs, prompt, resuming
from crewcap.runner.access import end_keys
from crewcap.runner.house import House
from crewcap.runner.worker.fencing import has_workspace
from crewcap.stores import FollowUp
from crewcap.stores.run_rows import Overtaken
from crewcap.trackers import Mention, Seen, Tracker
from crewcap.trackers.files import seen as seen_in_a_file
from crewcap.trackers.mentions import apart
from crewcap.workspaces.sandbox.ladder import choose

log = logging.getLogger(__name__)

MOST_AN_HOUR = 12
SETTLED_S = 2.0  # without a change of the text
_HOUR = timedelta(hours=1)
_MOST = 10_000
_MOST_BRANCHES = 50  # of runs in the same repository, that a line is looked for in
_ALL_S = 60.0  # how often ended runs are looked up again; what is open is looked at each time
_RETRY = (
    "The task is not done yet, says the person who gave it to you. Look at what you did and at what the check says now,"
    " and go on until it is done."
)

_Place = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class _Looked:
    """What an issue was like when it was last looked at."""

    run: RunId
    stamp: str
    is_settled: bool  # everything that stood there was acted on


@dataclass(slots=True, kw_only=True)
class FollowUps:
    """The issues of hosted runs that are open, or ended not long ago. All of it blocks."""

    house: House
    tracker_of: Callable[[Issue], Tracker] = jobs.tracker_of
    ticks: Callable[[], float] = time.monotonic
    _newest: dict[_Place, Run] = field(default_factory=dict)
    _looked: dict[_Place, _Looked] = field(default_factory=dict)
    _all_at: float | None = None

    def look(self) -> int:
        """Act on what is new at each issue; how much that was. What fails at one of them keeps none from the rest."""
        done = 0
        for place, run in self._followed():
            try:
                done += self._attend(place, run)
            except Exception:
                log.exception("the issue of %s could not be looked at", run.name)
        return done

    # --- whose issues ---------------------------------------------------------------------------------------------

    def _followed(self) -> Sequence[tuple[_Place, Run]]:
        """The newest run of each issue, where a worker drives it and it may still be followed up."""
        runs, is_due = self.house.runs, self._all_at is None or self.ticks() - self._all_at >= _ALL_S
        found = list(runs.list(limit=_MOST, open_only=not is_due))
        if is_due:
            self._all_at, self._newest = self.ticks(), {}
        listed = {run.id for run in found}
        ended = [run.id for run in self._newest.values() if run.state in OPEN_STATES and run.id not in listed]
        found += [run for run in map(runs.get, ended) if run is not None]
        for run in sorted(found, key=lambda run: run.created_at):
            known = self._newest.get(_place(run))
            if known is None or known.created_at <= run.created_at:
                self._newest[_place(run)] = run
        self._looked = {place: looked for place, looked in self._looked.items() if place in self._newest}
        return [(place, run) for place, run in self._newest.items() if run.hosted and self._is_in_time(run)]

    def _is_in_time(self, run: Run) -> bool:
        kept = timedelta(seconds=self.house.settings.defaults.retention_s)
        return run.state in OPEN_STATES or self.house.clock() - (run.ended_at or run.created_at) < kept

    # --- what is new ----------------------------------------------------------------------------------------------

    def _attend(self, place: _Place, run: Run) -> int:
        """Look at one issue, where it may have changed, and act on it."""
        tracker, before = self.tracker_of(run.issue), self._looked.get(place)
        stamp = tracker.stamp(run.issue)
        if not stamp or before == _Looked(run.id, stamp, is_settled=True) or not self.house.runs.is_from_here(run.id):
            return 0
        seen = tracker.look(run.issue)
        if seen is None:
            return 0
        known = {each.id: each for each in self.house.runs.follow_ups(run.issue.tracker, run.issue.key)}
        wanted = [*_unheard(run, seen, known), *self._edits(run, seen, known)]
        is_quiet = not wanted or self._is_quiet(seen, before, stamp)
        done = self._act(run, wanted, known) if wanted and is_quiet else 0
        self._looked[place] = _Looked(run.id, stamp, is_settled=is_quiet and done == len(wanted))
        return done

    def _is_quiet(self, seen: Seen, before: _Looked | None, stamp: str) -> bool:
        """Whether nobody writes there just now; a file's time may be another clock's."""
        if seen.changed_at is None or (before is not None and before.stamp == stamp):
            return True
        return (self.house.clock() - seen.changed_at).total_seconds() >= SETTLED_S

    def _edits(self, run: Run, seen: Seen, known: Mapping[str, FollowUp]) -> Iterable[_Wanted]:
        """The issue's text, where it is another one than the run was told."""
        if not self.house.settings.serve.follow_edits:
            return
        mine = [each for each in known.values() if each.run == run.id and each.kind == "edit"]
        now = _digest(seen.issue)
        if mine and not mine[-1].is_done:
            yield _Wanted(Mention(id=mine[-1].id, text=now, author=seen.editor, trust=seen.trust), seen.issue)
        elif now != (mine[-1].text if mine else _digest(run.issue)):
            id_ = f"edit.{run.id}.{len(mine) + 1}"
            yield _Wanted(Mention(id=id_, text=now, author=seen.editor, trust=seen.trust), seen.issue)

    # --- acting on it ---------------------------------------------------------------------------------------------

    def _act(self, run: Run, wanted: Sequence[_Wanted], known: Mapping[str, FollowUp]) -> int:
        """One after the other, as the only worker that does; how many are over and done with."""
        runs, said = self.house.runs, len(self._replies(run))
        if strangers := sum(not may_write(each.mention.trust) for each in wanted):
            runs.log(run.id, "note", f"{strangers} at the issue not from people who may write here; left alone")
        with runs.alone("follow-ups") as is_ours:
            done = sum(self._take_up(run.id, each, known) for each in wanted) if is_ours else 0
        if len(self._replies(run)) > said:
            self._report(run.id)
        return done

    def _replies(self, run: Run) -> Sequence[str]:
        taken_up = self.house.runs.follow_ups(run.issue.tracker, run.issue.key)
        return [each.reply for each in taken_up if each.reply]

    def _take_up(self, id_: RunId, wanted: _Wanted, known: Mapping[str, FollowUp]) -> bool:
        """Write it down, act on it, and write down what came of it. False = to be looked at again."""
        runs, run = self.house.runs, self.house.runs.get(id_)
        if run is None:
            return True
        begun = known.get(wanted.mention.id)
        if begun is None:
            if wanted.edited is not None and may_write(wanted.mention.trust) and self._is_full(run):
                return False
            begun = self._begun(run, wanted)
            if not runs.begin_follow_up(begun):
                return True
        try:
            reply = self._came_of(run, wanted, begun)
        except Overtaken:
            return False
        except CrewcapError as error:
            reply = "; ".join(filter(None, (error.message, error.help)))
        except Exception:
            log.exception("what was written at %s could not be done", run.name)
            reply = "it could not be done; the log of crewcap serve says more"
        runs.end_follow_up(begun, reply)
        if reply:
            runs.log(run.id, "note", f"{_shown(wanted)}: {reply}")
        return True

    def _begun(self, run: Run, wanted: _Wanted) -> FollowUp:
        return FollowUp(
            tracker=run.issue.tracker,
            issue=run.issue.key,
            id=wanted.mention.id,
            run=run.id,
            attempt=run.attempt if run.state in resuming.AT_REST else 0,
            at=self.house.clock(),
            kind="words" if wanted.edited is None else "edit",
            by=wanted.mention.author,
            text=wanted.mention.text,
        )

    def _came_of(self, run: Run, wanted: _Wanted, begun: FollowUp) -> str:
        """Act on it; what came of it, in words for its author. Nothing is said to who may not write here."""
        if begun.attempt and run.attempt > begun.attempt:  # it was acted on, and we did not live to say so
            return "it goes on"
        if not may_write(wanted.mention.trust):
            return ""
        if self._is_a_runs_own(run, wanted):
            self.house.runs.log(run.id, "note", f"{_shown(wanted)}: an agent wrote it on its branch; left alone")
            return ""
        if wanted.edited is not None:
            return self._changed(run, wanted.edited, by=_by(wanted))
        command = parse(wanted.mention.text)
        if not isinstance(command, Stop | Pause) and self._is_full(run):
            return f"more than {MOST_AN_HOUR} follow-ups in an hour are not acted on; write it again later"
        return self._obey(run, command, by=_by(wanted))

    def _is_full(self, run: Run) -> bool:
        """Whether this issue had its follow-ups of the hour; strangers, who get no reply, take nobody's."""
        since = self.house.clock() - _HOUR
        taken_up = self.house.runs.follow_ups(run.issue.tracker, run.issue.key)
        return sum(each.at > since and bool(each.reply) for each in taken_up) >= MOST_AN_HOUR

    def _obey(self, run: Run, command: Command, *, by: str) -> str:
        match command:
            case Unclear(words):
                return words
            case Stop():
                return self._stop(run, by=by)
            case Pause():
                return self._pause(run, by=by)
            case _ if run.state in OPEN_STATES - {RunState.WAITING}:
                return self._tell(run, command, by=by)
            case Say(text):
                return self._go_on(run, message=text, by=by)
            case _:
                add = command.amount if isinstance(command, Add) else ZERO
                return self._go_on(run, add=add, message=_RETRY if isinstance(command, Retry) else "", by=by)

    def _stop(self, run: Run, *, by: str) -> str:
        if run.state not in OPEN_STATES:
            return f"{run.name} has ended: {run.state}"
        if run.state in AT_WORK:
            self.house.runs.say(run.id, "stop", by=by)
            return "told to stop; its work is kept"
        end_keys(self.house.ledger, run)
        resuming.stop_at_rest(self.house.runs, run, by=by, now=self.house.clock())
        return "stopped; its work is kept"

    def _pause(self, run: Run, *, by: str) -> str:
        if run.state not in AT_WORK:
            return f"{run.name} is {run.state}" + ("; stop takes it out of the queue" if run.state == "queued" else "")
        self.house.runs.say(run.id, "pause", by=by)
        return "told to pause; everything is kept"

    def _tell(self, run: Run, command: Say | Add | Retry | GoOn, *, by: str) -> str:
        """To a run that is queued or at work."""
        match command:
            case Say(text):
                self.house.runs.say(run.id, "say", text, by=by)
                return "told to its agent"
            case Add():
                return f"{run.name} is {run.state} and asks for nothing; write it again when it does"
            case _:
                return f"{run.name} is {run.state}"

    def _changed(self, run: Run, edited: Issue, *, by: str) -> str:
        """The issue says something else now."""
        message = prompt.changed(edited)
        if run.state in {RunState.DONE, RunState.FAILED}:
            return self._go_on(run, message=message, by=by, edited=edited)
        self.house.runs.say(run.id, "say", message, by=by)
        if run.state == RunState.STOPPED:
            return f"{run.name} was stopped; {NAME} retry goes on with the new text"
        return "its agent is told when it goes on" if run.state == RunState.WAITING else "told to its agent"

    # --- going on -------------------------------------------------------------------------------------------------

    def _go_on(self, run: Run, *, by: str, add: Money = ZERO, message: str = "", edited: Issue | None = None) -> str:
        """The same session, a new attempt; what is refused for money is kept until there is some."""
        house = self.house
        resuming.refuse_resume(run, has_workspace=has_workspace(house.home, house.runs, run))
        job = jobs.prepare_again(house, run)
        try:
            add = resuming.within_issue(house.ledger, run, add or resuming.given(run))
            resuming.afford(house.ledger, run, job.plan, add)
        except MoneyRefused as refused:
            if message:
                house.runs.say(run.id, "say", message, by=by)
            return _refusal(refused, is_kept=bool(message))
        if edited is not None:
            run = self._with_text(run, edited)
        again = resuming.resume(house.runs, run, add=add, by=by, hosted=True, message=message)
        return f"{again.name} goes on, with {again.cap.show()} in all"

    def _with_text(self, run: Run, edited: Issue) -> Run:
        """The run of the issue as it is now: what it is told, should its session have to begin anew."""
        told = replace(run, issue=replace(run.issue, title=edited.title, body=edited.body))
        self.house.runs.save(told, was=run)
        return told

    # --- the branches of runs -------------------------------------------------------------------------------------

    def _is_a_runs_own(self, run: Run, wanted: _Wanted) -> bool:
        """Whether it stands like this in the work of a run here: then an agent wrote it, whoever merged it."""
        top, file = Path(run.repo_path), Path(run.issue.source)
        if run.issue.tracker != "files" or not file.is_relative_to(top):
            return False
        others = {each.id: each for each in (run, *self._newest.values()) if each.repo_path == run.repo_path}
        found = (self._in_the_work_of(other, file, str(file.relative_to(top))) for other in _newest(others.values()))
        return any(there is not None and _stands_in(there, wanted) for there in found)

    def _in_the_work_of(self, run: Run, file: Path, path: str) -> Seen | None:
        """The issue's file as a run left it on its branch; None where it did not touch it."""
        if not run.commit:
            return None
        try:
            mirrors = self.house.mirrors
            repository = mirrors.repository(run.repo_path)
            raw, first = (mirrors.file(repository, at=at, path=path) for at in (run.commit, run.base))
            return seen_in_a_file(file, raw) if raw is not None and raw != first else None
        except CrewcapError:
            return None

    # --- telling --------------------------------------------------------------------------------------------------

    def _report(self, id_: RunId) -> None:
        """What came of it stands at the issue at once."""
        house, run = self.house, self.house.runs.get(id_)
        if run is None:
            return
        try:
            job = jobs.prepare_again(house, run)
            sandbox = choose("auto", state=house.home.root)
            order = jobs.make_order(house, job, sandbox, tell=lambda _: None, keys={})
            order.report(run, house.ledger.totals(Scope(f"run:{run.id}")))
        except (CrewcapError, OSError) as error:
            house.runs.log(run.id, "note", f"the report could not be written: {error}")


@dataclass(frozen=True, slots=True)
class _Wanted:
    """Words for crewcap, or the issue's new text."""

    mention: Mention  # of a new text: with its digest
    edited: Issue | None = None


def _place(run: Run) -> _Place:
    """An issue; two files of the same name are two."""
    return run.issue.tracker, run.issue.key, run.issue.source


def _unheard(run: Run, seen: Seen, known: Mapping[str, FollowUp]) -> Iterable[_Wanted]:
    """Words that nobody has acted on, in their order."""
    for mention in seen.mentions:
        if mention.id not in run.issue.heard and (mention.id not in known or not known[mention.id].is_done):
            yield _Wanted(mention)


def _digest(issue: Issue) -> str:
    """The same for a text that says the same."""
    words = " ".join(f"{issue.title}\n{apart(issue.body)[0]}".split())
    return hashlib.sha256(words.encode("utf-8", "replace")).hexdigest()


def _newest(runs: Iterable[Run]) -> Sequence[Run]:
    return sorted(runs, key=lambda run: run.created_at, reverse=True)[:_MOST_BRANCHES]


def _stands_in(there: Seen, wanted: _Wanted) -> bool:
    if wanted.edited is not None:
        return _digest(there.issue) == wanted.mention.text
    return any(each.id == wanted.mention.id for each in there.mentions)


def _by(wanted: _Wanted) -> str:
    return f"{wanted.mention.author or 'somebody'}, at the issue"


def _shown(wanted: _Wanted) -> str:
    if wanted.edited is not None:
        return "the issue was changed"
    return f"{NAME} {one_line(redact(wanted.mention.text), limit=80)}"


def _refusal(refused: MoneyRefused, *, is_kept: bool) -> str:
    """What is missing, and the answer that gives it, as it is written at an issue."""
    command, said, amount = refused.help.partition(" --add ")
    remedy = f"{NAME} budget +{amount}" if said else command
    kept = "; it is kept, and told to the agent then" if is_kept else ""
    return f"{refused.message}; {remedy}{kept}"
