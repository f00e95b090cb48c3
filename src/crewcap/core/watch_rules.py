"""The rules of the watch: what each looks for, at which bounds it speaks, and the most that it may do.

Each rule has two bounds. At the first it makes a note: a line in the run's story, on its screen and in its report. At
the second it does what it may: `pause` keeps everything and waits for a person, `stop` ends the run and keeps its
work, `note` says it once more. Rules that can be wrong (nothing changed in the workspace for many turns: perhaps it was
asked for an audit) only make notes unless the settings say otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from crewcap.core.money import Money

Action = Literal["off", "note", "pause", "stop"]
ACTIONS: tuple[Action, ...] = get_args(Action)
RuleName = Literal["spend", "repeats", "no_change", "cache", "storm", "fan_out", "context", "stalled", "projection"]
RULES: tuple[RuleName, ...] = get_args(RuleName)


_FLOOR = Money.usd("1.00")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule: what it may do, and from where on."""

    action: Action  # the most that it may do
    note_at: int
    act_at: int

    def written(self) -> str:
        """As a settings file has it, in full."""
        return f'{{ action = "{self.action}", note_at = {self.note_at}, act_at = {self.act_at} }}'


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """What a rule looks for, in words, and what its bounds count."""

    looks_for: str
    unit: str


MEANINGS: Mapping[RuleName, Meaning] = {
    "spend": Meaning(
        looks_for="money of five minutes, against the p99 of the most that earlier runs of its kind came to",
        unit="times that",
    ),
    "repeats": Meaning(looks_for="the same tool call with the same answer, and nothing new between", unit="times"),
    "no_change": Meaning(looks_for="turns without any change in the workspace", unit="turns"),
    "cache": Meaning(
        looks_for="large prompts in a row of which less than 20 % came from the prompt cache", unit="requests"
    ),
    "storm": Meaning(
        looks_for="requests in a row that were refused, failed, or were the one before them again", unit="requests"
    ),
    "fan_out": Meaning(looks_for="agents beside the main conversation; or how deep they are nested", unit="agents"),
    "context": Meaning(looks_for="how full the model's window is", unit="% of it"),
    "stalled": Meaning(looks_for="a request without an end, while the agent says nothing", unit="seconds"),
    "projection": Meaning(
        looks_for="where earlier runs say that this one ends, from what they had cost at this turn", unit="% of the cap"
    ),
}


def _usual() -> dict[RuleName, Rule]:
    return {
        "spend": Rule(action="pause", note_at=2, act_at=10),
        "repeats": Rule(action="pause", note_at=3, act_at=8),
        "no_change": Rule(action="note", note_at=15, act_at=30),
        "cache": Rule(action="note", note_at=3, act_at=6),
        "storm": Rule(action="note", note_at=5, act_at=15),
        "fan_out": Rule(action="note", note_at=20, act_at=100),
        "context": Rule(action="note", note_at=80, act_at=95),
        "stalled": Rule(action="note", note_at=300, act_at=840),
        "projection": Rule(action="note", note_at=100, act_at=150),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """All rules, and the floors below which nothing is worth a word."""

    by_name: Mapping[RuleName, Rule] = field(default_factory=_usual)
    spend_floor: Money = _FLOOR  # in five minutes
    prompt_floor: int = 20_000  # tokens of a prompt that is large
    depth_at: int = 3  # of nested agents

    def __getitem__(self, name: RuleName) -> Rule:
        return self.by_name[name]

    def only(self, name: RuleName) -> Rules:
        """The same with every other rule off; one that is off may at least note."""
        mine = self.by_name[name]
        if mine.action == "off":
            mine = Rule(action="note", note_at=mine.note_at, act_at=mine.act_at)
        off = {
            each: Rule(action="off", note_at=rule.note_at, act_at=rule.act_at) for each, rule in self.by_name.items()
        }
        return Rules(
            by_name={**off, name: mine},
            spend_floor=self.spend_floor,
            prompt_floor=self.prompt_floor,
            depth_at=self.depth_at,
        )
