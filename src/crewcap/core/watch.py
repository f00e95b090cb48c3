"""Signs of a runaway: what is seen of a run goes in, findings with their evidence come out.

    watch = Watch(rules=Rules(), past=past, cap=run.cap, window=200_000)
    for sign in signs: findings = watch.feed(sign)

The same machine watches a run that works and replays one that is over, so what a replay shows is what would have
happened. It has no clock: every sign says when it was, in seconds of any one clock.

What it must not do is take work for a runaway. So:

    repeats      count per agent (eight agents may read one file), and begin anew when something new was done that may
                 have changed the workspace: an edit, or a command that was not run before. The same red test after
                 another change is work.
    no_change    speaks only after somebody looked: `wants_look` asks, `Looked` answers. Edits that were seen spare the
                 look.
    cache        needs a prefix that was there, or was paid to be written: a model without a cache has no collapse.
    spend,       compare with earlier runs of the same workflow, and say nothing where there are too few.
    projection

Each rule speaks once of a thing at each of its two bounds, and makes `MOST_NOTES` notes of a run at most. What is
remembered is bounded, however long a run is: what is forgotten counts as new, which is the side of silence.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import Literal

from crewcap.core.money import ZERO, Money
from crewcap.core.watch_past import WINDOW_S, Past
from crewcap.core.watch_rules import RuleName, Rules
from crewcap.core.watch_signs import Called, Looked, Peopled, Refused, Replied, Requested, Sign, Waited

MOST_NOTES = 3  # of one rule in one run
MOST_CALLS = 2_048  # tool calls that are remembered
MOST_OPEN = 256  # without an answer yet
MOST_AGENTS = 10_000
_BOUNDS = 2  # of a rule
EARLIEST_TURN = 5  # before, no curve says anything
_BUCKET_S = 10.0
_COLLAPSED = 20  # per cent of a prompt from the cache, below which there is no prefix
_LARGE_ENOUGH = 1_000  # tokens: two smaller prompts may have one size by chance
_MAY_CHANGE = frozenset({"edit", "run", "agent", "other"})
_DID = {"edit": "edited", "run": "ran", "search": "searched", "agent": "started", "plan": "planned", "other": "called"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a rule says, with its evidence."""

    rule: RuleName
    action: Literal["note", "pause", "stop"]
    words: str
    turn: int
    at: float


@dataclass(slots=True)
class _Repeat:
    """A tool call as it came again."""

    answer: str = ""
    count: int = 0
    since: int = 0  # turn
    newness: int = -1  # of the workspace, when it was last answered


@dataclass(slots=True)
class _Calls:
    """Tool calls that were made, and what was new among them."""

    open: OrderedDict[str, Called] = field(default_factory=OrderedDict)
    known: OrderedDict[tuple[str, str], _Repeat] = field(default_factory=OrderedDict)
    newness: int = 0  # rises with everything new that may have changed the workspace

    def begin(self, call: Called) -> None:
        """A call whose answer is to come."""
        self.open[call.call] = call
        while len(self.open) > MOST_OPEN:
            self.open.popitem(last=False)

    def end(self, reply: Replied) -> tuple[Called, _Repeat, bool] | None:
        """The call, how often it came so, and whether it changed the workspace for all we know; None if unknown."""
        call = self.open.pop(reply.call, None)
        if call is None or not call.likeness:
            return None
        name = (call.agent, call.likeness)
        is_new = name not in self.known
        repeat = self.known.setdefault(name, _Repeat())
        self.known.move_to_end(name)
        while len(self.known) > MOST_CALLS:
            self.known.popitem(last=False)
        may_change = is_new and call.verb in _MAY_CHANGE and not (call.verb == "edit" and reply.is_error)
        self.newness += may_change
        if repeat.answer == reply.likeness and repeat.newness == self.newness:
            repeat.count += 1
        else:
            repeat.answer, repeat.count, repeat.since, repeat.newness = reply.likeness, 1, call.turn, self.newness
        return call, repeat, call.verb == "edit" and not reply.is_error and is_new


@dataclass(slots=True)
class _Rate:
    """What the last five minutes cost, in slices of ten seconds."""

    slices: deque[tuple[int, int]] = field(default_factory=deque)

    def add(self, at: float, nano: int) -> Money:
        """One more request; the sum of the five minutes until it."""
        now = int(at // _BUCKET_S)
        if self.slices and self.slices[-1][0] >= now:
            place, before = self.slices.pop()
            self.slices.append((place, before + nano))
        else:
            self.slices.append((now, nano))
        while self.slices[0][0] < self.slices[-1][0] - int(WINDOW_S // _BUCKET_S):
            self.slices.popleft()
        return Money(sum(nano for _, nano in self.slices))


@dataclass(slots=True)
class _Talk:
    """One conversation: the main one, or an agent's."""

    model: str = ""
    prompt: int = 0  # of its last request
    had_prefix: bool = False
    storm: int = 0  # requests in a row that failed or came again
    cold: int = 0  # large requests in a row that the cache did not serve


@dataclass(slots=True, kw_only=True)
class Watch:
    """One run under watch."""

    rules: Rules = field(default_factory=Rules)
    past: Past = field(default_factory=Past)
    cap: Money = ZERO  # 0 = none to project against
    window: int = 0  # tokens of the model's context; 0 = not known
    before: Money = ZERO  # cost of earlier starts of this run
    turn: int = 0
    spent: Money = ZERO  # since the watch began
    _calls: _Calls = field(default_factory=_Calls)
    _rate: _Rate = field(default_factory=_Rate)
    _talks: OrderedDict[str, _Talk] = field(default_factory=OrderedDict)
    _told: dict[tuple[RuleName, str], int] = field(default_factory=dict)  # rule, subject -> level
    _notes: dict[RuleName, int] = field(default_factory=dict)
    _changed: int = 0  # turn of the last change that is known of
    _refused: int = 0  # requests in a row
    _over_cap: int = 0  # turns in a row
    _agents: set[str] = field(default_factory=set)
    _is_over: bool = False

    @property
    def wants_look(self) -> bool:
        """Whether it is time to look if the workspace has changed: no edit was seen for many turns."""
        rule, quiet = self.rules["no_change"], self.turn - self._changed
        level = self._told.get(("no_change", str(self._changed)), 0)
        may_speak = self._notes.get("no_change", 0) < MOST_NOTES and level < _BOUNDS and rule.action != "off"
        return may_speak and quiet >= (rule.act_at if level else rule.note_at)

    def feed(self, sign: Sign) -> tuple[Finding, ...]:
        """Take note of a sign; what there is to say about it. Nothing, once a finding was to end the run."""
        self.turn = max(self.turn, sign.turn)
        if self._is_over:
            return ()
        match sign:
            case Requested():
                found = self._request(sign)
            case Replied():
                found = [self._reply(sign)]
            case Refused():
                found = [self._refusals(sign)]
            case Peopled():
                found = [self._fan_out(sign, max(sign.agents, len(self._agents))), self._depth(sign)]
            case Looked():
                found = [self._look(sign)]
            case Waited():
                found = [self._stalled(sign)]
            case Called():
                self._calls.begin(sign)
                return ()
        return tuple(finding for finding in found if finding is not None)

    def _request(self, sign: Requested) -> list[Finding | None]:
        self.spent += sign.cost
        if sign.agent and len(self._agents) < MOST_AGENTS:
            self._agents.add(sign.agent)
        talk = self._talks.setdefault(sign.agent, _Talk())
        self._talks.move_to_end(sign.agent)
        while len(self._talks) > MOST_OPEN:
            self._talks.popitem(last=False)
        return [
            self._again(sign, talk),
            self._cache(sign, talk),
            self._fan_out(sign, len(self._agents)),
            self._context(sign),
            self._spend(sign),
            self._projection(sign),
        ]

    def _say(self, rule: RuleName, sign: Sign, *, reached: float, about: str, words: str) -> Finding | None:
        """A finding, where a bound is reached and was not spoken of yet."""
        mine = self.rules[rule]
        level = (reached >= mine.note_at) + (reached >= mine.act_at)
        if mine.action == "off" or level <= self._told.get((rule, about), 0):
            return None
        action = mine.action if level > 1 else "note"
        if action == "note" and self._notes.get(rule, 0) >= MOST_NOTES:
            return None
        self._told[rule, about] = level
        self._notes[rule] = self._notes.get(rule, 0) + 1
        self._is_over = action != "note"
        return Finding(rule=rule, action=action, words=words, turn=self.turn, at=sign.at)

    def _reply(self, sign: Replied) -> Finding | None:
        ended = self._calls.end(sign)
        if ended is None:
            return None
        call, repeat, is_change = ended
        if is_change:
            self._changed = self.turn
        who = f" by agent {call.agent}" if call.agent else ""
        return self._say(
            "repeats",
            sign,
            reached=repeat.count,
            about=f"{call.agent} {call.likeness}",
            words=f"{_DID.get(call.verb, call.verb)} {call.what} {repeat.count} times with the same answer{who},"
            f" {_turns(repeat.since, call.turn)}",
        )

    def _refusals(self, sign: Refused) -> Finding | None:
        """At a cap each of its agents is refused once, and that is no storm."""
        self._refused += sign.count
        words = f"{self._refused} requests in a row were refused, up to turn {self.turn}"
        return self._say("storm", sign, reached=self._refused // (1 + len(self._agents)), about="refused", words=words)

    def _again(self, sign: Requested, talk: _Talk) -> Finding | None:
        """A request that failed, or is the one before it."""
        is_same = sign.prompt >= _LARGE_ENOUGH and (sign.prompt, sign.model) == (talk.prompt, talk.model)
        talk.storm = talk.storm + 1 if sign.failed or is_same else 0
        self._refused = self._refused if sign.failed else 0
        what = f"came again, the last one with {sign.prompt:,} tokens" if is_same else "failed"
        words = f"{talk.storm} requests in a row {what}, up to turn {sign.turn}"
        return self._say("storm", sign, reached=talk.storm, about=sign.agent, words=words)

    def _cache(self, sign: Requested, talk: _Talk) -> Finding | None:
        """Prompts that go on from one another and are paid for in full."""
        if not sign.prompt:
            return None
        goes_on = talk.model == sign.model and sign.prompt >= talk.prompt > 0
        hit = 100 * sign.cache_read // sign.prompt
        if sign.prompt >= self.rules.prompt_floor and goes_on and talk.had_prefix and hit < _COLLAPSED:
            talk.cold += 1
        else:
            talk.cold = 0
        talk.had_prefix = (talk.had_prefix and talk.model == sign.model) or bool(sign.cache_read or sign.cache_write)
        talk.model, talk.prompt = sign.model, sign.prompt
        words = f"{talk.cold} prompts in a row were not served from the cache, the last one of {sign.prompt:,} tokens"
        return self._say(
            "cache", sign, reached=talk.cold, about=sign.agent, words=f"{words} ({hit} % hit), turn {sign.turn}"
        )

    def _fan_out(self, sign: Sign, agents: int) -> Finding | None:
        words = f"{agents} agents beside the main conversation, by turn {self.turn}"
        return self._say("fan_out", sign, reached=agents, about="", words=words)

    def _depth(self, sign: Peopled) -> Finding | None:
        """Nested too deep; a note, whatever the number of agents may do."""
        at = self.rules["fan_out"].note_at if sign.depth >= self.rules.depth_at else 0
        words = f"agents are nested {sign.depth} deep, by turn {self.turn}"
        return self._say("fan_out", sign, reached=at, about="depth", words=words)

    def _context(self, sign: Requested) -> Finding | None:
        if sign.agent or not self.window:
            return None
        used = sign.prompt + sign.output
        words = (
            f"its context is {100 * used // self.window} % full: {used:,} of {self.window:,} tokens, turn {sign.turn}"
        )
        return self._say("context", sign, reached=100 * used / self.window, about="", words=words)

    def _spend(self, sign: Requested) -> Finding | None:
        lately, usual = self._rate.add(sign.at, sign.cost.nano), self.past.usual_peak
        if not usual or lately < self.rules.spend_floor:
            return None
        words = (
            f"{lately.show()} in five minutes, {lately.nano / usual.nano:.1f} times what {len(self.past.runs)} earlier"
            f" runs came to at most ({usual.show()}), up to turn {sign.turn}"
        )
        return self._say("spend", sign, reached=lately.nano / usual.nano, about="", words=words)

    def _projection(self, sign: Requested) -> Finding | None:
        so_far = self.before + self.spent
        led = self.past.leads_to(sign.turn, so_far) if self.cap and sign.turn >= EARLIEST_TURN else None
        if led is None or led[0] <= self.cap:
            self._over_cap = 0
            return None
        self._over_cap += 1
        if self._over_cap < 2:
            return None
        end, runs = led
        words = (
            f"{so_far.show()} at turn {sign.turn}: as three of four of the {runs} earlier runs that came this far, it"
            f" ends at {end.show()} or more, and its cap is {self.cap.show()}"
        )
        return self._say("projection", sign, reached=100 * end.nano / self.cap.nano, about="", words=words)

    def _look(self, sign: Looked) -> Finding | None:
        if sign.changed:
            self._changed = self.turn
            return None
        quiet = self.turn - self._changed
        words = f"nothing changed in the workspace for {quiet} turns, {_turns(self._changed + 1, self.turn)}"
        return self._say("no_change", sign, reached=quiet, about=str(self._changed), words=words)

    def _stalled(self, sign: Waited) -> Finding | None:
        still = min(sign.waiting_s, sign.silent_s)
        words = (
            f"a request has been without an end for {sign.waiting_s:.0f} s and the agent says nothing, turn {self.turn}"
        )
        return self._say("stalled", sign, reached=still, about=str(self.turn), words=words)


def _turns(first: int, last: int) -> str:
    return f"turns {first}-{last}" if last > first else f"turn {last}"
