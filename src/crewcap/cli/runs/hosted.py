"""A run that `crewcap serve` carries out: handed over, then followed on the same screen as one of our own.

What is shown is read from the books (`live/retold`), and what is said to the run is a word in them: there is no other
channel, so it does not matter which process drives it, or how often that changes.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from secrets import token_hex

from crewcap.cli.context import Call
from crewcap.cli.live.opening import Opening, walls
from crewcap.cli.live.retold import Retold, told_before
from crewcap.cli.live.run_screen import RunScreen
from crewcap.cli.money.past import zone_of
from crewcap.cli.night.alive import is_served, outliving
from crewcap.cli.runs.run import exit_status
from crewcap.cli.runs.stop import stop_one
from crewcap.cli.runs.view import is_cut_short, standing
from crewcap.cli.screen.pause import pause
from crewcap.core.questions import Question
from crewcap.core.runs import AT_WORK, Run, RunEvent, RunState, Verdict, move
from crewcap.errors import CrewcapError, UnsafeEnvironment
from crewcap.runner import entry, jobs
from crewcap.runner.jobs import Job
from crewcap.runner.moments import Counted, Stepped
from crewcap.runner.person import login_here
from crewcap.runner.record import FINAL
from crewcap.stores.run_rows import Overtaken
from crewcap.workspaces.sandbox.ladder import choose

__all__ = ["follow_hosted", "hand_over", "is_served"]

_LOOK_S = 0.3
_WORDS = 2  # that Ctrl-C says to a run: pause, stop
_GONE_S = 3.0  # nobody serves for so long: it is not only between two of its starts
_ALONE_S = 12.0  # a worker without its serve has ended by then, or stands still
_HINT = "Ctrl-C pauses and keeps everything; twice stops"


def hand_over(call: Call, job: Job) -> int:
    """Write the run down for whoever serves, and follow it; the exit status is the one it would have here."""
    sandbox = choose(job.plan.sandbox, state=call.home.root)  # type: ignore[arg-type]  # checked by settings and options
    order = jobs.make_order(call.app, job, sandbox, tell=lambda _: None, keys={})
    run = entry.write_down(order, job.plan, job.found, hosted=True)
    call.note(f"{run.name}  handed to crewcap serve; Ctrl-C pauses it, twice stops it")
    screen = RunScreen(call, hint=_HINT)
    return _Follower(call, run, screen).follow(lambda: screen.begin(job, run, sandbox))


def follow_hosted(call: Call, run: Run) -> int:
    """Follow a run that is gone on with, from there to its end or to where it waits."""
    screen = RunScreen(call, hint=_HINT)
    follower = _Follower(call, run, screen, after=told_before(call.app.runs, run.id))
    return follower.follow(lambda: screen.open(_opening(call, run), run.scopes))


def _opening(call: Call, run: Run) -> Opening:
    """The head, as the run itself knows it."""
    from crewcap.agents import AGENTS  # noqa: PLC0415  (this and the next two: only here)
    from crewcap.cli.live.opening import lefts_of  # noqa: PLC0415
    from crewcap.runner.grounds import repository_of  # noqa: PLC0415

    title = AGENTS[run.agent]().title if run.agent in AGENTS else run.agent
    try:
        project = repository_of(call.app, run).project
    except CrewcapError:
        project = None
    return Opening(
        run=run,
        agent=f"{title} {run.agent_version}",
        lefts=lefts_of(one for one in call.app.ledger.all_balances() if one.scope in run.scopes),
        sandbox=walls(run.sandbox, project),
    )


@dataclass(slots=True)
class _Follower:
    """One run that somebody else drives, on our screen."""

    call: Call
    run: Run
    screen: RunScreen
    after: int = 0
    interrupts: int = 0
    _heard: int = field(default=0, init=False)  # interrupts that were acted on
    _version: int = field(default=-1, init=False)
    _retold: Retold = field(init=False)
    _counted: Counted | None = field(default=None, init=False)
    _said: str = field(default="", init=False)  # why it stands, as it was told last
    _gone_s: float = field(default=0.0, init=False)  # since when nobody serves

    def __post_init__(self) -> None:
        self._retold = Retold(self.call.app.runs, self.call.app.ledger, self.run.id, self.after)

    def follow(self, begin: Callable[[], None]) -> int:
        """From its head to its end or pause, until nobody reads on, or until it is to be left alone."""
        with self._listening():
            begin()
            while self.call.has_reader:
                self._look()
                if self.run.state in FINAL:
                    self.screen.close(self.run)
                    return exit_status(self.run)
                if self._acts_on_interrupts():
                    self.screen.leave()
                    return 128 + signal.SIGINT
                self._say_why_it_stands()
                self._refuse_to_wait_for_ever()
                pause(self.call, _LOOK_S)
        return 0

    def _look(self) -> None:
        """Show what is new; its row is read first, so that nothing that came before its end is missed."""
        version = self.call.app.runs.version()
        if version != self._version:
            self._version = version
            self.run = self.call.app.runs.get(self.run.id) or self.run
            self._counted = self._retold.count()
            for moment in self._retold.news():
                self.screen.feed(moment)
        if self._counted is not None and (self.run.state in AT_WORK or self.screen.is_drawn):
            self.screen.feed(self._counted)  # seconds pass, also where nothing happens

    def _say_why_it_stands(self) -> None:
        """What it waits for in the queue, that its worker was ended, or that nobody serves; each time it is news."""
        why = self._why()
        self.screen.stand(is_still=why is not None)
        if why is not None:
            name, words = why
            if words != self._said:
                self._said = words
                self.screen.feed(Stepped(name=name, text=words))

    def _why(self) -> tuple[str, str] | None:
        run = self.run
        if run.state == RunState.WAITING or is_served(self.call):
            self._gone_s = 0.0
        else:
            self._gone_s += _LOOK_S
        if self._gone_s:
            return self._unserved(is_dead=run.state in AT_WORK and is_cut_short(run))
        if run.state in AT_WORK and is_cut_short(run):
            return "worker", "its worker was ended; serve starts another one"
        words = standing(run, zone_of(self.call)) if run.state == RunState.QUEUED else ""
        if not words:
            self._said = ""
        return ("queued", words) if words else None

    def _unserved(self, *, is_dead: bool) -> tuple[str, str] | None:
        """Nobody serves any more; where that lasts, it is said, with what is left of it."""
        if self._gone_s < _GONE_S:
            return None
        if pid := outliving(self.call, self.run):
            return "serve", f"it has ended; its worker (process {pid}) has this run still"
        here = f", or here: crewcap resume {self.run.name}" if is_dead else ""
        return "serve", f"it has ended, and the run stands still; go on with: crewcap serve{here}"

    def _refuse_to_wait_for_ever(self) -> None:
        """A worker that outlives its serve for so long is at something that it does not leave, or stands still."""
        if self._gone_s < _ALONE_S or not (pid := outliving(self.call, self.run)):
            return
        self.screen.leave()
        raise UnsafeEnvironment(
            f"crewcap serve has ended, and its worker (process {pid}) has {self.run.name} still",
            help=f"crewcap logs -f {self.run.name} follows it; crewcap serve ends that worker and goes on with the run",
        )

    # what is said to the run

    def _acts_on_interrupts(self) -> bool:
        """Ctrl-C pauses the run and twice stops it, as in the foreground; the third leaves: whether it is that."""
        while self._heard < self.interrupts:
            self._heard += 1
            if self._heard > _WORDS:
                self.call.note(f"{self.run.name} was asked to stop; crewcap logs -f {self.run.name} shows when it has")
                return True
            (self._pause if self._heard == 1 else self._stop)()
        return False

    def _pause(self) -> None:
        """A queued run waits from now on; one at work is told."""
        if self.run.state == RunState.QUEUED:
            try:
                self.call.app.runs.save(_paused(self.call, self.run), was=self.run)
            except Overtaken as overtaken:
                self.run = overtaken.run
            else:
                self.call.app.runs.log(self.run.id, "state", f"paused by {login_here()} before it began")
                self._version = -1  # our own word is no news to the store
                return
        self.call.app.runs.say(self.run.id, "pause", by=login_here())
        self.screen.feed(Stepped(name="pause", text="asked for; Ctrl-C again stops the run"))

    def _stop(self) -> None:
        """Whoever drives it is told; one that nobody drives is at its end with that."""
        result = stop_one(self.call, self.call.app.runs.get(self.run.id) or self.run)
        self._version = -1
        if result == "asked to stop":
            self.screen.feed(Stepped(name="stop", text="asked for; Ctrl-C again ends this command alone"))

    @contextmanager
    def _listening(self) -> Iterator[None]:
        def hear(number: int, frame: object) -> None:
            del number, frame
            self.interrupts += 1

        before = signal.signal(signal.SIGINT, hear)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)


def _paused(call: Call, run: Run) -> Run:
    """A queued run that waits for a person's word before it begins, or goes on."""
    now, keeps_s = call.clock(), call.app.settings.defaults.waiting_expires_s
    asked = Question(
        id=token_hex(4),
        asked_at=now,
        text="it was paused before it began",
        choices=("go on", "stop"),
        expires_at=now + timedelta(seconds=keeps_s) if keeps_s else None,
    )
    return replace(
        run,
        state=move(run.state, RunEvent.PAUSE),
        verdict=Verdict.CANCELLED,
        reason="paused by you; everything is kept",
        waits_for="answer",
        question=asked,
        ended_at=now,
    )
