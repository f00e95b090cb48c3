"""`crewcap usage check`: a run's own transcripts beside its ledger."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.cli.run_home import MODEL, USAGE, RunHome
from tests.transcripts.test_claude_code import line

from crewcap.core.money import Money
from crewcap.core.runs import Run

EXACT = "0.026880000"  # what USAGE costs on MODEL, by the price list: 100 x 2 + 9,000 x 2.5 + 900 x 0.2 + 400 x 10


def write(home: RunHome, run: Run, *messages: str) -> None:
    folder = home.home.run(run.id) / "home" / ".claude" / "projects" / "-workspace"
    folder.mkdir(parents=True)
    (folder / "session.jsonl").write_text("".join(messages))


def answer(number: int = 1, **usage: Any) -> str:
    said = {
        "input_tokens": USAGE.input, "cache_read_input_tokens": USAGE.cache_read, "output_tokens": USAGE.output,
        "cache_creation_input_tokens": USAGE.write_5m, **usage,
    }  # fmt: skip
    return line(message={"id": f"msg_{number}", "model": MODEL, "usage": said})


def test_a_run_whose_answers_are_in_both_agrees(home: RunHome) -> None:
    run = home.add()
    home.spend(run, EXACT)
    write(home, run, answer())
    said = home.json("usage", "check")
    assert (said["ledger_usd"], said["transcripts_usd"], said["difference_usd"]) == (EXACT, EXACT, "0.000000000")
    assert (said["matched"], said["differences"]) == (1, [])
    assert "every answer is in both, at the same cost" in home.out("usage", "check", run.name)


def test_a_difference_is_explained_to_the_last_unit(home: RunHome) -> None:
    """A request on the side, and one whose answer never came."""
    run = home.add()
    home.spend(run, EXACT)
    home.spend(run, "0.01", usage=USAGE.__class__(input=3))
    home.spend(run, "0", uncertain="0.50", usage=USAGE.__class__())
    write(home, run, answer())
    said = home.json("usage", "check")
    amounts = [Money.usd(each["amount_usd"]).nano for each in said["differences"]]
    assert sum(amounts) == Money.usd(said["difference_usd"]).nano == Money.usd("0.51").nano
    assert [each["why"].split(":")[0] for each in said["differences"]] == ["only in the ledger", "uncertain"]


def test_an_answer_that_did_not_go_through_the_gateway_is_a_no(home: RunHome) -> None:
    run = home.add()
    home.spend(run, EXACT)
    write(home, run, answer(), answer(2, output_tokens=7))
    status, out, _ = home.call("usage", "check")
    assert (status, "did not go through this gateway" in out) == (1, True)


def test_a_run_without_transcripts_has_all_of_it_in_the_ledger(home: RunHome) -> None:
    run = home.add()
    home.spend(run, EXACT)
    assert home.json("usage", "check")["transcripts_usd"] == "0.000000000"


def test_a_run_that_is_not_known_is_named(home: RunHome, tmp_path: Path) -> None:
    home.add()
    status, said = home.refused("usage", "check", "nobody.7")
    assert (status, "nobody.7" in said) == (2, True)
    del tmp_path
