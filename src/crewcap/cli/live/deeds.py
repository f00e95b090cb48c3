"""What an agent does, put together from its calls and their answers, and from one deed to the next.

A deed is told when it has its answer, because only then is it known what came of it. Reads and searches of one turn
are told together.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from crewcap.core.money import ZERO, Money
from crewcap.core.runs import Acted, Answered

_GROUPED = frozenset({"read", "search"})
_RECENT = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Deed:
    """One thing that the agent did, or is doing."""

    verb: str
    what: str
    turn: int
    agent: str = ""  # how we call a subagent: "a1"; empty = the main conversation
    began_s: float  # since the run's start
    took_s: float | None = None  # None = still at it
    cost: Money = ZERO  # of the requests since the deed before it
    so_far: Money = ZERO  # of everything when it was done
    is_error: bool = False

    @property
    def words(self) -> str:
        """What was done, and by whom if it was a subagent."""
        return f"[{self.agent}] {self.what}" if self.agent else self.what


@dataclass(slots=True)
class Deeds:
    """Everything that is being done, and the little of the past that a screen shows."""

    _open: dict[tuple[str, str], Deed] = field(default_factory=dict)  # by (agent, call)
    _group: Deed | None = None  # of one turn, not yet told
    _names: dict[str, str] = field(default_factory=dict)  # a subagent's id -> how we call it
    recent: tuple[Deed, ...] = ()

    @property
    def doing(self) -> tuple[Deed, ...]:
        """What has no answer yet."""
        return tuple(self._open.values())

    @property
    def agents(self) -> int:
        """How many conversations were seen, the main one included."""
        return 1 + len(self._names)

    @property
    def last(self) -> str:
        """What was done last, in a few words."""
        deeds = (*self.recent, *self.doing)
        return f"{deeds[-1].verb} {deeds[-1].what}" if deeds else ""

    def begin(self, event: Acted, *, turn: int, at_s: float, cost: Money) -> None:
        """A call was made."""
        name = self._names.setdefault(event.agent, f"a{len(self._names) + 1}") if event.agent else ""
        deed = Deed(verb=event.verb, what=event.what, turn=turn, agent=name, began_s=at_s, cost=cost)
        self._open[event.agent, event.call] = deed

    def end(self, event: Answered, *, at_s: float, so_far: Money, cost: Money = ZERO) -> tuple[Deed, ...]:
        """A call has its answer; `cost` is what became known meanwhile. The deeds that can be told now."""
        begun = self._open.pop((event.agent, event.call), None)
        if begun is None:
            return ()
        what, took_s = _outcome(begun, event), at_s - begun.began_s
        deed = replace(begun, what=what, took_s=took_s, so_far=so_far, cost=begun.cost + cost, is_error=event.is_error)
        self.recent = (*self.recent, deed)[-_RECENT:]
        if self._group is not None and _is_alike(self._group, deed):
            self._group = replace(self._group, what=f"{self._group.what}, {deed.what}", so_far=so_far)
            return ()
        told = self.flush()
        if deed.verb in _GROUPED and not deed.is_error:
            self._group = deed
            return told
        return (*told, deed)

    def flush(self) -> tuple[Deed, ...]:
        """What waited for more of its kind."""
        group, self._group = self._group, None
        return (group,) if group is not None else ()

    def give_up(self) -> tuple[Deed, ...]:
        """No answers will come any more."""
        self._open.clear()
        return self.flush()


def _is_alike(group: Deed, deed: Deed) -> bool:
    """Whether two deeds share a line."""
    same = (group.verb, group.turn, group.agent) == (deed.verb, deed.turn, deed.agent)
    return same and not deed.is_error


def _outcome(deed: Deed, answer: Answered) -> str:
    """What was done with what came of it: `a.py  +3 -1`, `pytest: 9 passed`, `ls x: exit 2: no such file`."""
    if not answer.summary:
        return f"{deed.what}: failed" if answer.is_error else deed.what
    gap = "  " if deed.verb == "edit" and not answer.is_error else ": "
    return f"{deed.what}{gap}{answer.summary}"
