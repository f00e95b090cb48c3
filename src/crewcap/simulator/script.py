"""Scripts: what the provider answers, and to which request. How a script is written stands in `script_file`."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from crewcap.core.money import Money
from crewcap.errors import SettingsError
from crewcap.simulator.conversation import Asked
from crewcap.simulator.troubles import Trouble

WORDS = ("cwd", "asked", "task", "result", "step", "round", "n")
STOP_REASONS = ("end_turn", "stop_sequence", "pause_turn", "refusal", "model_context_window_exceeded")


@dataclass(frozen=True, slots=True, kw_only=True)
class When:
    """Which requests a step answers."""

    first: bool | None = None
    after: str = ""
    result: re.Pattern[str] | None = None
    task: re.Pattern[str] | None = None
    asked: re.Pattern[str] | None = None
    agent: str = ""
    model: re.Pattern[str] | None = None
    tool: str = ""
    stream: bool | None = None

    def fits(self, asked: Asked) -> bool:
        """Whether everything but `first` and `after` holds."""
        patterns = (
            (self.result, asked.result),
            (self.task, asked.task),
            (self.asked, asked.asked),
            (self.model, asked.model),
        )
        return (
            all(pattern is None or pattern.search(text) for pattern, text in patterns)
            and self.agent in {"", "sub" if asked.is_subagent else "main"}
            and (not self.tool or self.tool in asked.tools)
            and self.stream in {None, asked.stream}
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """Calls of one tool."""

    tool: str
    input: Mapping[str, Any]
    times: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One answer, or one accident."""

    name: str
    when: When = When()
    say: str = ""
    use: tuple[Use, ...] = ()
    output_tokens: int = 0  # at least so many; what is said and used counts in any case
    cost: Money | None = None
    repeat: int = 1
    events: int = 4  # content events of the longest part
    pace_ms: int = 0
    end: str = ""
    cut: int | None = None
    hang: int | None = None
    refuse: Trouble | None = None
    error_event: Trouble | None = None
    error_after: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pick:
    """The step that answers a request, and which repetition of it."""

    step: Step
    round: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """Steps in order; the first that fits a request answers it."""

    name: str
    steps: tuple[Step, ...]
    title: str = ""
    variables: Mapping[str, Any] = field(default_factory=dict)
    bytes_per_token: int = 4

    def pick(self, asked: Asked) -> Pick:
        """The answer to a request; where no step fits, one that ends the turn."""
        for step in self.steps:
            round_ = _round(step, asked)
            if round_ and step.when.fits(asked):
                return Pick(step=step, round=round_)
        return Pick(step=Step(name="nothing-left", say="There is nothing left to do."))

    def with_variables(self, values: Mapping[str, Any]) -> Script:
        """The same script with some of its variables changed; only those that it has."""
        for name in values:
            if name not in self.variables:
                raise SettingsError(
                    f"{self.name}: there is no variable {name!r}{nearest(name, self.variables)}",
                    help=f"its variables: {', '.join(self.variables) or 'none'}",
                )
        return replace(self, variables={**self.variables, **values})


def _round(step: Step, asked: Asked) -> int:
    """Which repetition of a step a request would be answered with; 0 where it does not follow."""
    call = asked.last_call
    before = call.round if call and call.step == step.name else 0
    if 0 < before < step.repeat or (step.when.first is None and not step.when.after):
        return before + 1
    if step.when.first is not None and step.when.first == asked.has_results:
        return 0
    return 1 if step.when.after in {"", call.step if call else ""} else 0


def fill(value: Any, words: Callable[[str], Any]) -> Any:
    """Put words in for {{names}}, at any depth; a text that is one name alone takes the word's own type."""
    match value:
        case str():
            alone = _NAME.fullmatch(value)
            if alone:
                return words(alone["name"])
            return _NAME.sub(lambda match: str(words(match["name"])), value)
        case dict():
            return {key: fill(item, words) for key, item in value.items()}
        case list():
            return [fill(item, words) for item in value]
        case _:
            return value


_NAME = re.compile(r"\{\{(?P<name>[a-z_]+)\}\}")


def nearest(word: str, known: Iterable[str]) -> str:
    """The known word that was probably meant, as the end of a complaint."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
