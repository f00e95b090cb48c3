"""`crewcap watch`: its rules, and what they would have done to past runs."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.cli.run_home import RunHome

from crewcap.core.runs import Run, RunState, Verdict

NINE = "read src/a.py 8 times with the same answer, turns 1-8"


def lines_of(turns: int) -> list[dict[str, Any]]:
    """What Claude Code says when it reads one file in each turn."""
    said: list[dict[str, Any]] = []
    for turn in range(turns):
        use = {"type": "tool_use", "id": f"t{turn}", "name": "Read", "input": {"file_path": "/workspace/src/a.py"}}
        answer = {"type": "tool_result", "tool_use_id": f"t{turn}", "content": "print(1)"}
        said.append({"type": "assistant", "message": {"id": f"msg_{turn}", "content": [use]}})
        said.append({"type": "user", "message": {"content": [answer]}})
    return [{"type": "system", "subtype": "init", "cwd": "/workspace"}, *said]


def ran(home: RunHome, turns: int = 9, *, keeps: bool = True, **fields: Any) -> Run:
    """A run that cost ten cents a turn, and its agent's lines where they are kept."""
    run = home.add("circles", turns=turns, **{"verdict": Verdict.NO_CHANGES, "state": RunState.FAILED, **fields})
    for _ in range(turns):
        home.spend(run, "0.10")
    folder = home.home.run(run.id)
    folder.mkdir(parents=True)
    if keeps:
        (folder / "agent.jsonl").write_text("\n".join(json.dumps(line) for line in lines_of(turns)) + "\n")
    return run


def test_a_replay_says_what_would_have_been_noted_and_ended_and_what_came_after(home: RunHome) -> None:
    run = ran(home)
    said = home.out("watch", "replay").splitlines()
    assert said[0] == "1 run since 30d, $0.90"
    assert "repeats         1      1          0        $0.10" in said
    assert f"{run.name}   no_changes   $0.90, 9 turns" in said
    assert "  it went on for 1 turn and $0.10" in said
    one = home.json("watch", "replay")
    assert (one["runs"], one["cost_usd"]) == (1, "0.900000000")
    ended = [each for each in one["findings"] if each["action"] == "pause"]
    assert [(each["run"], each["turn"], each["words"], each["good"]) for each in ended] == [(run.name, 8, NINE, False)]
    assert (ended[0]["cost_usd"], ended[0]["after_usd"]) == ("0.800000000", "0.100000000")


def test_a_run_whose_lines_are_gone_is_replayed_from_its_requests_alone(home: RunHome) -> None:
    """Nobody can say any more what it did, so nobody says that it did nothing."""
    ran(home, 20, keeps=False)
    said = home.json("watch", "replay")
    assert {each["rule"] for each in said["findings"]} <= {"storm"}  # this home's requests are all of one size


def test_one_rule_may_be_tried_alone_and_with_more_power(home: RunHome) -> None:
    ran(home, 31)
    as_it_is = home.json("watch", "replay", "--rule", "no_change")
    assert [(each["rule"], each["action"], each["turn"]) for each in as_it_is["findings"]] == [
        ("no_change", "note", 15),
        ("no_change", "note", 30),
    ]
    as_pause = home.json("watch", "replay", "--rule", "no_change", "--as", "stop")
    assert [each["action"] for each in as_pause["findings"]] == ["note", "stop"]


def test_settings_are_what_is_replayed(home: RunHome) -> None:
    home.config.write_text('[watch]\nrepeats = "off"\nstorm = "off"\n')
    ran(home)
    said = home.json("watch", "replay")
    assert said["findings"] == []
    assert "repeats" not in [rule["rule"] for rule in said["rules"]]


def test_runs_of_long_ago_are_left_out_and_a_new_home_has_none(home: RunHome) -> None:
    assert home.out("watch", "replay").splitlines() == ["0 runs since 30d, $0.00"]
    ran(home)
    assert home.out("watch", "replay", "--since", "1m").startswith("0 runs")


def test_the_rules_are_shown_as_the_settings_have_them(home: RunHome) -> None:
    home.config.write_text('[watch]\nno_change = { action = "pause", note_at = 5 }\n')
    said = home.out("watch", "rules")
    assert "no_change   pause  5 turns" in said
    assert all(len(line) <= 80 for line in said.splitlines())
    rules = home.json("watch", "rules")
    assert {rule["rule"]: rule["action"] for rule in rules}["repeats"] == "pause"


@pytest.mark.parametrize("words", [("--rule", "repets"), ("--as", "off"), ("--since", "yesterday?")])
def test_what_is_no_rule_no_action_and_no_time_is_refused(home: RunHome, words: tuple[str, str]) -> None:
    status, out, err = home.call("watch", "replay", *words)
    assert (status, out) == (2, "")
    assert err.startswith("error: ")
