"""How the rules of the watch are written: a word (`"note"`), or a table with its bounds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pydantic import ValidationInfo

from crewcap.core.watch_rules import ACTIONS, RULES, Action, Rule, RuleName, Rules
from crewcap.settings.values import Wrong, nearest, quoted, read_count

USUAL = Rules()
_KEYS = ("action", "note_at", "act_at")
_WORD = {"type": "string", "enum": list(ACTIONS)}
_BOUND = {"type": "integer", "minimum": 1}
_TABLE = {
    "type": "object",
    "additionalProperties": False,
    "properties": {"action": _WORD, "note_at": _BOUND, "act_at": _BOUND},
}
JSON_SCHEMA: dict[str, Any] = {"anyOf": [_WORD, _TABLE]}


def read(value: Any, info: ValidationInfo) -> Rule:
    """The rule that the key names; what is not said of it stays as usual."""
    name: RuleName = info.field_name  # type: ignore[assignment]  # the table's keys are the rules' names
    usual = USUAL[name]
    if isinstance(value, str):
        return replace(usual, action=_action(value))
    if not isinstance(value, Mapping):
        raise Wrong(f"{quoted(value)} is neither a word nor a table", f'write it as {name} = "note"')
    for key in value:
        if key not in _KEYS:
            near = nearest(key, _KEYS)
            raise Wrong(f"there is no key {quoted(key)}", f"did you mean `{near}`?" if near else _example(name))
    said = {key: read_count(value[key]) for key in ("note_at", "act_at") if key in value}
    rule = replace(usual, **said, action=_action(value.get("action", usual.action)))
    if rule.act_at < rule.note_at:
        raise Wrong(f"act_at {rule.act_at} is below note_at {rule.note_at}", _example(name))
    return rule


def plain(rule: Rule) -> Mapping[str, object]:
    """A rule as JSON has it."""
    return {key: getattr(rule, key) for key in _KEYS}


def rules_of(written: Any) -> Rules:
    """The `[watch]` table as the watch takes it."""
    return Rules(
        by_name={name: getattr(written, name) for name in RULES},
        spend_floor=written.spend_floor,
        prompt_floor=written.prompt_floor,
        depth_at=written.depth_at,
    )


def _action(value: Any) -> Action:
    for action in ACTIONS:
        if value == action:
            return action
    near = nearest(value, ACTIONS) if isinstance(value, str) else None
    raise Wrong(
        f"{quoted(value)} is not one of {', '.join(ACTIONS)}",
        f'did you mean "{near}"?' if near else 'write it as "note"',
    )


def _example(name: RuleName) -> str:
    return f"write it as {name} = {USUAL[name].written()}"
