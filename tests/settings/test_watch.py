"""How the rules of the watch are written."""

from __future__ import annotations

import pytest

from crewcap.core.money import Money
from crewcap.core.watch_rules import RULES, Rule, Rules
from crewcap.errors import SettingsError
from crewcap.settings.explain import rows
from crewcap.settings.load import parse, settings_of


def rules(text: str) -> Rules:
    return settings_of(parse(text.encode(), name="x.toml")).watch_rules


def test_without_a_word_every_rule_is_as_usual() -> None:
    assert rules("") == Rules()


def test_a_word_says_what_a_rule_may_do_and_a_table_from_where_on() -> None:
    said = rules('[watch]\nrepeats = "note"\nspend = { note_at = 3 }\nno_change = { action = "stop", act_at = 20 }')
    assert said["repeats"] == Rule(action="note", note_at=3, act_at=8)
    assert said["spend"] == Rule(action="pause", note_at=3, act_at=10)
    assert said["no_change"] == Rule(action="stop", note_at=15, act_at=20)


def test_floors_are_said_beside_the_rules() -> None:
    said = rules("[watch]\nspend_floor = 2.50\nprompt_floor = 40_000\ndepth_at = 2")
    assert (said.spend_floor, said.prompt_floor, said.depth_at) == (Money.usd("2.50"), 40_000, 2)


@pytest.mark.parametrize(
    ("line", "message", "help_"),
    [
        ('repeats = "pase"', '"pase" is not one of off, note, pause, stop', 'did you mean "pause"?'),
        ("repeats = 3", "3 is neither a word nor a table", 'write it as repeats = "note"'),
        ("repeats = { nte_at = 3 }", 'there is no key "nte_at"', "did you mean `note_at`?"),
        ("repeats = { note_at = 0 }", "0 is not a whole number above 0", "write it as 40"),
        ("repeats = { note_at = 9 }", "act_at 8 is below note_at 9", "write it as repeats = {"),
        ('repets = "note"', "there is no such key", "did you mean `repeats`?"),
    ],
)
def test_what_is_no_rule_is_refused_with_the_right_spelling(line: str, message: str, help_: str) -> None:
    with pytest.raises(SettingsError) as refused:
        rules(f"[watch]\n{line}")
    assert message in refused.value.message
    assert "line 2" in refused.value.message
    assert refused.value.help.startswith(help_)


def test_what_is_shown_can_be_written() -> None:
    """`config show` prints each rule as a settings file has it, with where it was said."""
    settings = settings_of(parse(b'[watch]\nstorm = "off"', name="x.toml"))
    shown = {row.key: row for row in rows(settings) if row.key.startswith("watch.")}
    assert shown["watch.storm"].origin == "x.toml:2"
    assert shown["watch.storm"].plain == {"action": "off", "note_at": 5, "act_at": 15}
    text = "\n".join(f"{name} = {shown[f'watch.{name}'].value}" for name in RULES)
    assert rules(f"[watch]\n{text}") == settings.watch_rules
