"""Scripts: what the provider answers, and to which request.

A script is a TOML file of steps. The first step whose `when` fits a request is its answer:

    title = "Fix a small bug"
    [variables]                       # {{name}} in `say` and in tool inputs; `--set name=value` changes one
    test = "python3 -m unittest -q"

    [[step]]
    name = "read"                     # letters, digits and dashes
    when = { first = true }           # no tool result in the conversation yet
    say = "I read the code first."
    use = [{ tool = "Read", input = { file_path = "{{cwd}}/src/login.py" } }]
    output_tokens = 900

    [[step]]
    name = "test"
    when = { after = "read" }         # the last tool result answers a call that step `read` made
    use = [{ tool = "Bash", input = { command = "{{test}}" } }]
    cost_usd = "0.50"                 # as many output tokens as make this turn cost that, before any clamp

`when` (all that are given must fit): first, after (a step's name), result, task, asked (regular expressions over the
last tool results, the first and the last thing said), agent ("main" or "sub"), model, tool (one that the request
offers), stream (true or false).
The answer: say, use (tool, input, times), output_tokens or cost_usd, repeat (the step follows itself so many times),
pace ({ events, ms }), end (a stop reason).
The accidents: cut (close after so many events), hang (fall silent after so many), refuse (a name of `troubles`, or
{ status, message, type, headers }), error_event ({ name, after }). Where an API says the same with fewer events, the
accident comes before the last one.
Also known in texts: {{cwd}} {{asked}} {{task}} {{result}} {{step}} {{round}} {{n}} (the how-manieth of `times`).
"""

from __future__ import annotations

import re
import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

from crewcap.core.money import Money, MoneyError
from crewcap.errors import SettingsError
from crewcap.simulator.script import STOP_REASONS, WORDS, Script, Step, Use, When, fill, nearest
from crewcap.simulator.troubles import KIND_OF_STATUS, TROUBLES, Trouble

_SEE = "the head of crewcap/simulator/script_file.py describes every key"


def load(name_or_path: str | Path) -> Script:
    """A script of ours by its name, or any by its path; `SettingsError` says file, step and key of what is wrong."""
    text = str(name_or_path)
    if isinstance(name_or_path, str) and text in names():
        return parse(_shipped(text).read_text(encoding="utf-8"), name=text)
    try:
        content = Path(text).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"{text}: cannot read this script: {getattr(error, 'strerror', '') or 'it is not UTF-8 text'}",
            help=f"give the path of a script, or one of: {', '.join(names())}",
        ) from error
    return parse(content, name=text)


def names() -> tuple[str, ...]:
    """The scripts that come with crewcap."""
    folder = resources.files("crewcap.simulator") / "scripts"
    return tuple(sorted(item.name.removesuffix(".toml") for item in folder.iterdir() if item.name.endswith(".toml")))


def parse(text: str, *, name: str) -> Script:
    """Read a script; `name` stands in front of every complaint."""
    try:
        return _read(text, name)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{name}: not TOML: {error}", help=_SEE) from error
    except SettingsError as error:
        raise SettingsError(error.message, help=error.help or _SEE) from error


def _read(text: str, name: str) -> Script:
    table = _Table(name, tomllib.loads(text))
    steps = tuple(_step(_Table(f"{name}: step {n}", item)) for n, item in enumerate(table.tables("step"), 1))
    script = Script(
        name=name,
        title=table.text("title"),
        variables=table.table("variables"),
        bytes_per_token=table.number("bytes_per_token", default=4, least=1, most=16),
        steps=steps,
    )
    table.done()
    _check_names(script)
    return script


class _Table:
    """A table of the file, read key by key; `done` complains of what nobody read."""

    def __init__(self, where: str, data: Any) -> None:
        if not isinstance(data, dict):
            raise SettingsError(f"{where}: must be a table")
        self.where = where
        self._left = dict(data)
        self._known: list[str] = []

    def take(self, key: str, kind: type | tuple[type, ...], word: str) -> Any:
        self._known.append(key)
        value = self._left.pop(key, None)
        if value is not None and (not isinstance(value, kind) or (isinstance(value, bool) and kind is int)):
            raise SettingsError(f"{self.where}: {key} must be {word}, not {value!r:.60}")
        return value

    def text(self, key: str, default: str = "") -> str:
        value = self.take(key, str, "a text")
        return default if value is None else str(value)

    def flag(self, key: str) -> bool | None:
        value = self.take(key, bool, "true or false")
        return None if value is None else bool(value)

    def number(self, key: str, *, default: int, least: int = 0, most: int = 10_000_000) -> int:
        value = self.take(key, int, "a whole number")
        if value is not None and not least <= value <= most:
            raise SettingsError(f"{self.where}: {key} must be from {least} to {most}, not {value}")
        return default if value is None else int(value)

    def optional(self, key: str) -> int | None:
        value = self.number(key, default=-1)
        return None if value < 0 else value

    def choice(self, key: str, choices: tuple[str, ...]) -> str:
        value = self.text(key)
        if value and value not in choices:
            raise SettingsError(f"{self.where}: {key} must be one of {', '.join(choices)}, not {value!r}")
        return value

    def pattern(self, key: str) -> re.Pattern[str] | None:
        value = self.text(key)
        try:
            return re.compile(value) if value else None
        except re.error as error:
            raise SettingsError(f"{self.where}: {key} is not a regular expression: {error}") from error

    def money(self, key: str) -> Money | None:
        value = self.take(key, (str, int), 'dollars in quotes, such as "0.50"')
        try:
            return None if value is None else Money.usd(value)
        except MoneyError as error:
            raise SettingsError(f"{self.where}: {key}: {error}") from error

    def table(self, key: str) -> dict[str, Any]:
        return dict(self.take(key, dict, "a table") or {})

    def tables(self, key: str) -> list[Any]:
        return list(self.take(key, list, "a list of tables") or [])

    def done(self) -> None:
        for key in self._left:
            raise SettingsError(f"{self.where}: unknown key {key!r}{nearest(key, self._known)}")


def _step(table: _Table) -> Step:
    name = table.text("name")
    if not re.fullmatch(r"[a-z0-9-]{1,24}", name):
        raise SettingsError(f"{table.where}: name must be 1 to 24 small letters, digits and dashes, not {name!r}")
    table.where = f"{table.where} ({name})"
    pace = _Table(f"{table.where}: pace", table.table("pace"))
    event = _Table(f"{table.where}: error_event", table.table("error_event"))
    step = Step(
        name=name,
        when=_when(_Table(f"{table.where}: when", table.table("when"))),
        say=table.text("say"),
        use=tuple(_use(_Table(f"{table.where}: use {n}", item)) for n, item in enumerate(table.tables("use"), 1)),
        output_tokens=table.number("output_tokens", default=0),
        cost=table.money("cost_usd"),
        repeat=table.number("repeat", default=1, least=1, most=1_000),
        events=pace.number("events", default=4, least=1, most=100_000),
        pace_ms=pace.number("ms", default=0, most=600_000),
        end=table.choice("end", STOP_REASONS),
        cut=table.optional("cut"),
        hang=table.optional("hang"),
        refuse=_refuse(table),
        error_event=_named_trouble(event, "name"),
        error_after=event.number("after", default=0),
    )
    for each in (table, pace, event):
        each.done()
    if step.cost is not None and step.output_tokens:
        raise SettingsError(f"{table.where}: give output_tokens or cost_usd, not both")
    return step


def _when(table: _Table) -> When:
    when = When(
        first=table.flag("first"),
        after=table.text("after"),
        result=table.pattern("result"),
        task=table.pattern("task"),
        asked=table.pattern("asked"),
        agent=table.choice("agent", ("main", "sub")),
        model=table.pattern("model"),
        tool=table.text("tool"),
        stream=table.flag("stream"),
    )
    table.done()
    return when


def _use(table: _Table) -> Use:
    tool = table.text("tool")
    if not tool:
        raise SettingsError(f"{table.where}: tool is missing")
    use = Use(tool=tool, input=table.table("input"), times=table.number("times", default=1, least=1, most=200))
    table.done()
    return use


def _refuse(table: _Table) -> Trouble | None:
    value = table.take("refuse", (str, dict), "a name, or a table with a status")
    if value is None:
        return None
    if isinstance(value, str):
        return _named_trouble(_Table(table.where, {"refuse": value}), "refuse")
    inner = _Table(f"{table.where}: refuse", value)
    status = inner.number("status", default=500, least=400, most=599)
    trouble = Trouble(
        status=status,
        kind=inner.text("type", KIND_OF_STATUS.get(status, "api_error")),
        message=inner.text("message", "The script says no"),
        headers={key: str(item) for key, item in inner.table("headers").items()},
    )
    inner.done()
    return trouble


def _named_trouble(table: _Table, key: str) -> Trouble | None:
    name = table.choice(key, tuple(TROUBLES))
    return TROUBLES[name] if name else None


def _check_names(script: Script) -> None:
    known = [step.name for step in script.steps]
    for step in script.steps:
        if known.count(step.name) > 1:
            raise SettingsError(f"{script.name}: two steps are named {step.name!r}")
        if step.when.after and step.when.after not in known:
            raise SettingsError(
                f"{script.name}: step {step.name!r} comes after {step.when.after!r}, which is no step"
                f"{nearest(step.when.after, known)}"
            )
        _check_words(script, step)
    if not script.steps:
        raise SettingsError(f"{script.name}: has no [[step]]")


def _check_words(script: Script, step: Step) -> None:
    known = (*WORDS, *script.variables)

    def check(word: str) -> str:
        if word not in known:
            raise SettingsError(f"{script.name}: step {step.name!r}: unknown word {word!r}{nearest(word, known)}")
        return word

    fill([step.say, *(use.input for use in step.use)], check)


def _shipped(name: str) -> Any:
    return resources.files("crewcap.simulator") / "scripts" / f"{name}.toml"
