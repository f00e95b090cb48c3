"""Scripts are read strictly: what is wrong is one line that names file, step and key."""

from __future__ import annotations

from pathlib import Path

import pytest

from crewcap.core.money import Money
from crewcap.errors import SettingsError
from crewcap.simulator.script import Step, Use
from crewcap.simulator.script_file import load, names, parse
from crewcap.simulator.troubles import TROUBLES


def test_a_step_is_read_whole() -> None:
    script = parse(
        """
        title = "T"
        bytes_per_token = 2
        [[step]]
        name = "a"
        say = "hello"
        use = [{ tool = "Bash", input = { command = "ls" }, times = 2 }]
        cost_usd = "0.50"
        repeat = 3
        pace = { events = 9, ms = 5 }
        end = "refusal"
        cut = 4
        hang = 5
        refuse = { status = 529, message = "no", headers = { retry-after = 3 } }
        error_event = { name = "overloaded", after = 2 }
        """,
        name="whole",
    )
    (step,) = script.steps
    assert step.refuse is not None
    assert (step.refuse.status, step.refuse.kind, step.refuse.headers) == (
        529,
        "overloaded_error",
        {"retry-after": "3"},
    )
    assert step == Step(
        name="a",
        say="hello",
        use=(Use(tool="Bash", input={"command": "ls"}, times=2),),
        cost=Money.usd("0.50"),
        repeat=3,
        events=9,
        pace_ms=5,
        end="refusal",
        cut=4,
        hang=5,
        refuse=step.refuse,
        error_event=TROUBLES["overloaded"],
        error_after=2,
    )
    assert script.bytes_per_token == 2


@pytest.mark.parametrize("name", names())
def test_every_script_that_comes_with_crewcap_is_sound(name: str) -> None:
    script = load(name)
    assert script.title
    assert script.name == name


def test_the_scripts_that_the_demo_and_the_tests_need_are_there() -> None:
    assert {"fix-login", "runaway", "cut", "hangup", "errors", "obedient"} <= set(names())


def test_a_script_can_be_a_file_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("[[step]]\nname = 'a'\nsay = 'hello'\n", encoding="utf-8")
    assert load(path).steps[0].say == "hello"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[[step]\n", "x.toml: not TOML: "),
        ("title = 'nothing'", "x.toml: has no [[step]]"),
        ("titel = 'x'\n[[step]]\nname='a'", "x.toml: unknown key 'titel'; did you mean 'title'?"),
        ("[[step]]\nsay='x'", "x.toml: step 1: name must be 1 to 24 small letters, digits and dashes, not ''"),
        ("[[step]]\nname='a b'", "x.toml: step 1: name must be"),
        ("[[step]]\nname='a'\nsays='x'", "x.toml: step 1 (a): unknown key 'says'; did you mean 'say'?"),
        (
            "[[step]]\nname='a'\nwhen={frist=true}",
            "x.toml: step 1 (a): when: unknown key 'frist'; did you mean 'first'?",
        ),
        ("[[step]]\nname='a'\nwhen={result='('}", "x.toml: step 1 (a): when: result is not a regular expression"),
        ("[[step]]\nname='a'\nwhen={agent='both'}", "agent must be one of main, sub, not 'both'"),
        ("[[step]]\nname='a'\noutput_tokens='many'", "output_tokens must be a whole number, not 'many'"),
        ("[[step]]\nname='a'\noutput_tokens=true", "output_tokens must be a whole number, not True"),
        ("[[step]]\nname='a'\nrepeat=0", "repeat must be from 1 to 1000, not 0"),
        ("[[step]]\nname='a'\ncost_usd='0,50'", "cost_usd: '0,50' is not an amount of money; did you mean 0.50?"),
        ("[[step]]\nname='a'\ncost_usd=0.5", "cost_usd must be dollars in quotes"),
        ("[[step]]\nname='a'\ncost_usd='1'\noutput_tokens=5", "give output_tokens or cost_usd, not both"),
        ("[[step]]\nname='a'\nrefuse='overload'", "refuse must be one of usage_limit, "),
        ("[[step]]\nname='a'\nrefuse={status=200}", "status must be from 400 to 599, not 200"),
        ("[[step]]\nname='a'\nuse=[{input={}}]", "x.toml: step 1 (a): use 1: tool is missing"),
        ("[[step]]\nname='a'\nwhen={after='b'}", "x.toml: step 'a' comes after 'b', which is no step"),
        ("[[step]]\nname='a'\n[[step]]\nname='a'", "x.toml: two steps are named 'a'"),
        ("[[step]]\nname='a'\nsay='{{cdw}}'", "x.toml: step 'a': unknown word 'cdw'; did you mean 'cwd'?"),
        ("step = ['a']", "x.toml: step 1: must be a table"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(text: str, complaint: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse(text, name="x.toml")
    assert complaint in caught.value.message
    assert "\n" not in caught.value.message


def test_a_script_that_is_not_there_names_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        load(tmp_path / "no.toml")
    assert "cannot read this script" in caught.value.message
    assert "fix-login" in caught.value.help
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match="not UTF-8"):
        load(tmp_path / "binary.toml")
