"""What is shown is what holds; what is shown can be read; what is odd or not served is said."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from crewcap.config import Settings
from crewcap.settings import explain, load
from crewcap.settings.starter import settings_file

GOOGLE = """
[providers.google]
dialect = "gemini"
base_url = "https://generativelanguage.googleapis.com"
share = "50%"
"""
SAMPLE = Path(__file__).with_name("sample.toml").read_text("utf-8")


def read(text: str) -> Settings:
    return load.settings_of(load.parse(text.encode(), name="config.toml"))


@pytest.mark.parametrize("text", ["", SAMPLE, settings_file()])
def test_what_is_shown_can_be_read_back(text: str) -> None:
    """Every row is a line of a settings file that means the same."""
    before = read(text)
    after = read(_as_file(before))
    assert replace(after, origins={}) == replace(before, origins={})


def _as_file(settings: Settings) -> str:
    """The rows as dotted keys; lists of tables get their own headers."""
    plain: list[str] = []
    listed: dict[tuple[str, int], list[str]] = {}
    for row in explain.rows(settings):
        table, bracket, rest = row.key.partition("[")
        if bracket and "." not in table:
            index, _, key = rest.partition("].")
            listed.setdefault((table, int(index)), []).append(f"{key} = {row.value}")
        else:
            plain.append(f"{row.key} = {row.value}")
    tables = [f"[[{name}]]\n" + "\n".join(lines) for (name, _), lines in sorted(listed.items())]
    return "\n".join([*plain, *tables])


def test_the_schema_accepts_what_loads() -> None:
    """Editors must not complain about the sample."""
    validator = pytest.importorskip("jsonschema").Draft202012Validator(explain.schema())
    for text in (SAMPLE, settings_file(), ""):
        assert list(validator.iter_errors(tomllib.loads(text))) == []
    assert list(validator.iter_errors({"defaults": {"capp": 1}}))
    assert list(validator.iter_errors({"defaults": {"timeout": 45}}))


def test_defaults_stand_in_the_schema_as_they_are_written() -> None:
    defaults = explain.schema()["$defs"]["Defaults"]["properties"]
    assert (defaults["timeout"]["default"], defaults["cap"]["default"]) == ("45m", "5.00")


def test_every_key_is_explained() -> None:
    """A key without a sentence is a question."""
    schema = explain.schema()
    tables = {"": schema, **schema["$defs"]}
    bare = [
        f"{name}.{key}"
        for name, table in tables.items()
        for key, field in table.get("properties", {}).items()
        if not (field.get("description") or "$ref" in field)
    ]
    assert bare == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[defaults]\ncap = 20", "defaults.cap $20.00 is above defaults.issue_cap $10.00"),
        ("[[routes]]\ncap = 8", "routes[0].cap $8.00 is above defaults.cap $5.00"),
        ("[budgets]\nall = { day = 50, month = 40 }", "budgets.all.day $50.00 is above its month $40.00"),
        ("[budgets]\nall = { day = 10 }\n'repo:a' = { day = 20 }", "is above the $10.00 of all"),
        ("[budgets]\n'repo:a' = { day = 0 }", "everything in repo:a is refused"),
        ("[budgets]\nall = { day = 3 }", "defaults.cap $5.00 is above budgets.all.day $3.00"),
    ],
)
def test_of_two_limits_that_contradict_the_smaller_is_named(text: str, said: str) -> None:
    assert any(said in warning for warning in explain.warnings(read(text)))


def test_the_defaults_contradict_nothing() -> None:
    assert (explain.warnings(read("")), explain.unserved(read(""))) == ((), ())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[providers.openai]\nbilling = "subscription"', "its answers do not tell who paid"),
        (GOOGLE, "providers.google.share: Google's answers"),
        ("[triggers.github]\ntoken = { env = 'T' }", "triggers are not served yet"),
    ],
)
def test_what_is_not_served_yet_is_said_with_what_holds_meanwhile(text: str, said: str) -> None:
    assert any(said in note for note in explain.unserved(read(text)))
