"""How far a run's agent may fan out: agents in all, how deep they are nested, requests at the same time.

Agents say who they are. Claude Code names a subagent (`x-claude-code-agent-id`) and, when it is nested, the one that
started it; Codex names its thread and its parent thread. What says nothing is the main conversation, at depth 0.

The names come from inside the sandbox, so a program in there can lie. What a lie can do:

    be nobody           counts as the main conversation: it escapes `agents` and `depth`, never the cap, the turns or
                        the number of requests at the same time, which rest on no name
    name a stranger     the stranger counts as an agent too, one level up
    go round in a ring  each word can only make an agent deeper than it was known to be, so a ring climbs until it is
                        refused; nothing here follows a chain, so none can be endless
    be many             what is remembered ends at `MOST_NAMES`

An agent that is refused is not remembered: it does not exist. What is counted lives in the gateway's memory for as
long as the run's door is open; after a restart the count begins anew, and the cap stands as it stood.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

from crewcap.core.routing import FanOut
from crewcap.gateway.front.answers import Refusal
from crewcap.gateway.policy import Policy

MOST_NAMES = 10_000
LONGEST_NAME = 80
RETRY_AFTER_S = 10
MAIN = ""


@dataclass(frozen=True, slots=True)
class Speaker:
    """Which agent sends a request, in its own words; both empty = the main conversation."""

    agent: str = MAIN
    parent: str = ""


def speaker(headers: Mapping[str, str]) -> Speaker:
    """Who says that it sends this, by small header names."""
    if agent := _name(headers, "x-claude-code-agent-id"):
        return Speaker(agent, _name(headers, "x-claude-code-parent-agent-id"))
    thread, session = _name(headers, "thread-id"), _name(headers, "session-id")
    parent = _name(headers, "x-codex-parent-thread-id")
    if thread and (parent or "x-openai-subagent" in headers):
        return Speaker(thread, "" if parent == session else parent)  # the session's first thread is its main one
    return Speaker()


@dataclass(slots=True)
class Tree:
    """The agents of one run, as far as they were heard of, each with the deepest place that was ever said of it."""

    limits: FanOut
    _depths: dict[str, int] = field(default_factory=dict)
    refused: int = 0
    words: str = ""  # of the last refusal
    _running: int = 0
    _waiting: deque[asyncio.Event] = field(default_factory=deque)

    @property
    def agents(self) -> int:
        """How many beside the main conversation."""
        return len(self._depths)

    @property
    def depth(self) -> int:
        """How deep they are nested; 0 = there is none."""
        return max(self._depths.values(), default=0)

    @property
    def running(self) -> int:
        """Requests under way."""
        return self._running

    def refusal(self, who: Speaker) -> str:
        """Take note of who speaks; why it may not, in a sentence, or '' when it may."""
        if said := self._refusal(who):
            self.refused += 1
            self.words = said
        return said

    async def turn(self, *, wait_s: float, is_gone: Callable[[], bool], look_s: float) -> bool:
        """Wait, first come first served, until one more request may run; False when the time is over."""
        loop = asyncio.get_running_loop()
        deadline, bell = loop.time() + wait_s, asyncio.Event()
        if self._has_room() and not self._waiting:
            return True
        self._waiting.append(bell)
        try:
            while not (self._waiting[0] is bell and self._has_room()):
                left = deadline - loop.time()
                if left <= 0 or is_gone():
                    return False
                bell.clear()
                try:
                    async with asyncio.timeout(min(left, look_s)):
                        await bell.wait()
                except TimeoutError:
                    continue
            return True
        finally:
            self._waiting.remove(bell)

    @contextmanager
    def request(self) -> Iterator[None]:
        """One request is under way; to be entered right after `turn`, with no wait between."""
        self._running += 1
        try:
            yield
        finally:
            self._running -= 1
            self.wake()

    def wake(self) -> None:
        """Whoever is first looks again: a request ended, or the one before it left."""
        if self._waiting:
            self._waiting[0].set()

    def _refusal(self, who: Speaker) -> str:
        if who.agent == MAIN:
            return ""
        new = {name for name in (who.agent, who.parent) if name} - self._depths.keys()
        most = MOST_NAMES if self.limits.agents is None else min(self.limits.agents, MOST_NAMES)
        if len(self._depths) + len(new) > most:
            return f"this run may have {most} agents beside its main conversation and has {len(self._depths)}"
        above = self._depths.get(who.parent, 1) if who.parent else 0
        depth = max(above + 1, self._depths.get(who.agent, 0))
        if self.limits.depth is not None and depth > self.limits.depth:
            return f"agents of this run may be nested {self.limits.depth} deep and this one is at {depth}"
        if who.parent:
            self._depths.setdefault(who.parent, 1)
        self._depths[who.agent] = depth
        return ""

    def wake_all(self) -> None:
        """Everybody in the line looks again."""
        for bell in self._waiting:
            bell.set()

    def _has_room(self) -> bool:
        most = self.limits.concurrent
        return most is None or self._running < most


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a run's agents did so far."""

    agents: int = 0  # beside the main conversation
    depth: int = 0
    refused: int = 0  # requests
    words: str = ""  # why the last of them was

    def told(self) -> str:
        """A sentence for the run's story; '' where there is nothing to tell."""
        if self.refused:
            what = "request was" if self.refused == 1 else "requests were"
            return f"{self.refused} {what} refused: {self.words}"
        return f"{self.agents} beside the main conversation, nested {self.depth} deep" if self.agents else ""


@dataclass(slots=True)
class FanOuts:
    """The trees of every run with an open door."""

    _trees: dict[str, Tree] = field(default_factory=dict)

    def begin(self, run: str, limits: FanOut) -> None:
        """A door is opened; what an earlier one counted is forgotten."""
        self._trees[run] = Tree(limits)

    def end(self, run: str) -> None:
        """The door is closed, and nothing of the run is under way."""
        self._trees.pop(run, None)

    def send_home(self) -> None:
        """The gateway is ending: everybody who waits for a turn looks whether there is any sense in it."""
        for tree in self._trees.values():
            tree.wake_all()

    def seen(self, run: str) -> Seen:
        """What there was so far."""
        tree = self._trees.get(run)
        if tree is None:
            return Seen()
        return Seen(agents=tree.agents, depth=tree.depth, refused=tree.refused, words=tree.words)

    @asynccontextmanager
    async def admitted(
        self, run: str, who: Speaker, *, policy: Policy, is_gone: Callable[[], bool]
    ) -> AsyncIterator[None]:
        """One request of a run, once it may be; `Refusal` when it never may, or when its turn did not come."""
        tree = self._trees.get(run)
        if tree is None:
            yield
            return
        if said := tree.refusal(who):
            raise Refusal("turns", said)  # as final as that: told 400, Claude Code asks five times more
        if not await tree.turn(wait_s=policy.wait_s, is_gone=is_gone, look_s=policy.look_s):
            if is_gone():
                raise Refusal("unavailable", "nothing was sent: the client left, or the gateway is ending")
            most = tree.limits.concurrent
            message = f"this run may have {most} requests at the same time; waited {policy.wait_s:.0f} s"
            raise Refusal("wait", message, retry_after_s=RETRY_AFTER_S)
        with tree.request():
            yield


def _name(headers: Mapping[str, str], header: str) -> str:
    return headers.get(header, "").strip()[:LONGEST_NAME]
