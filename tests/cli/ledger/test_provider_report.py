"""`crewcap ledger reconcile --report` and `crewcap ledger thaw`, as a user types them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.cli.money_home import MoneyHome

from crewcap.core.budget import ALL
from crewcap.core.money import Money

MODEL = "claude-sonnet-5"  # what the lost holds asked for
OUTPUT = 10_000  # nano-dollars a token


@pytest.fixture
def home(tmp_path: Path) -> MoneyHome:
    home = MoneyHome(tmp_path)
    home.lose_two_holds()
    return home


def report(home: MoneyHome, *, minutes: int = 40, name: str = "usage.json", **results: Any) -> str:
    """A report by the minute from now on, with one result in the present minute."""
    start = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(minutes=5)
    result = {
        "uncached_input_tokens": 0,
        "cache_creation": {"ephemeral_1h_input_tokens": 0, "ephemeral_5m_input_tokens": 0},
        "cache_read_input_tokens": 0,
        "output_tokens": 1_000,
        "model": MODEL,
        "service_tier": "standard",
        "context_window": "0-200k",
        "inference_geo": "global",
        "api_key_id": None,
    }
    buckets = [
        {
            "starting_at": (start + timedelta(minutes=n)).isoformat(),
            "ending_at": (start + timedelta(minutes=n + 1)).isoformat(),
            "results": [result | results] if n == 5 and results.get("results", True) else [],
        }
        for n in range(minutes)
    ]
    path = home.folder / name
    path.write_text(json.dumps({"data": buckets, "has_more": False, "next_page": None}))
    return str(path)


def test_a_report_is_shown_first_and_done_on_demand(home: MoneyHome) -> None:
    """1,000 tokens were billed where two holds of $0.30 were lost."""
    file = report(home)
    words = ("ledger", "reconcile", "--report", file, "--sole-user", "anthropic")
    shown = home.call(*words)
    assert shown.returncode == 0, shown.stderr
    assert [line.split("  ")[-1] for line in shown.stdout.splitlines()] == ["$0.0050, was charged $0.30"] * 2
    assert "2 would be closed at $0.01 in place of $0.60; to do it: --apply" in shown.stderr
    assert len(home.json("ledger", "reconcile")) == 2
    done = home.json(*words, "--apply")
    assert done["applied"]
    assert sum(int(each["cost_usd"].replace(".", "")) for each in done["closed"]) == 1_000 * OUTPUT
    assert home.json("ledger", "reconcile") == []
    ledger = home.open()
    assert ledger.totals(ALL).spent == Money(1_000 * OUTPUT)
    assert ledger.verify().problems == ()
    assert ledger.entries()[0].reason.endswith("usage report of anthropic: usage.json")
    ledger.close()


def test_a_report_without_usage_says_that_nothing_was_billed(home: MoneyHome) -> None:
    done = home.json("ledger", "reconcile", "--report", report(home, results=False), "--sole-user", "anthropic")
    assert {each["cost_usd"] for each in done["closed"]} == {"0.000000000"}


def test_what_the_report_does_not_settle_stays_charged_with_the_reason(home: MoneyHome) -> None:
    done = home.call("ledger", "reconcile", "--report", report(home, minutes=17), "--sole-user", "anthropic")
    assert done.stdout.count("stays charged: the report ends too soon after it") == 2
    assert "the report settles nothing" in done.stderr


def test_usage_that_no_entry_explains_is_a_warning(home: MoneyHome) -> None:
    """The word that nobody else uses the key was not true, or the books have lost something."""
    done = home.call(
        "ledger", "reconcile", "--report", report(home, model="claude-haiku-4-5"), "--sole-user", "anthropic"
    )
    assert "no request in the books explains" in done.stdout
    assert "warning: usage of claude-haiku-4-5" in done.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--report", "FILE"), "say it: --sole-user PROVIDER"),
        (("--sole-user", "anthropic"), "a report is given with --report FILE"),
        (("--report", "FILE", "--sole-user", "anthropic", "--all"), "a report is given with --report FILE"),
        (("--report", "FILE", "--sole-user", "nobody"), "there is no provider 'nobody'"),
        (("--report", "nowhere.json", "--sole-user", "anthropic"), "cannot be read"),
        (("--report", "FILE", "--report", "FILE", "--sole-user", "anthropic"), "two parts of the report tell of"),
        (("--report", "FILE", "--sole-user", "anthropic", "--api-key", "k"), "does not know the key 'k'"),
        (("--report", "COST", "--sole-user", "anthropic"), "cost report"),
    ],
)
def test_what_is_no_report_of_one_key_settles_nothing(
    home: MoneyHome, words: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {"FILE": report(home), "COST": report(home, name="cost.json", amount="1.5")}
    assert home.call_here("ledger", "reconcile", *(files.get(word, word) for word in words)) == 2
    assert says in capsys.readouterr().err
    assert len(home.json("ledger", "reconcile")) == 2


def test_a_report_of_several_keys_needs_to_know_which(home: MoneyHome, capsys: pytest.CaptureFixture[str]) -> None:
    said = json.loads(Path(report(home, api_key_id="apikey_a")).read_text())
    said["data"][6]["results"] = [said["data"][5]["results"][0] | {"api_key_id": "apikey_b"}]
    file = home.folder / "two.json"
    file.write_text(json.dumps(said))
    words = ("ledger", "reconcile", "--report", str(file), "--sole-user", "anthropic")
    assert home.call_here(*words) == 2
    assert "say which: --api-key apikey_a or apikey_b" in capsys.readouterr().err
    done = home.json(*words, "--api-key", "apikey_b")
    assert sum(int(each["cost_usd"].replace(".", "")) for each in done["closed"]) == 1_000 * OUTPUT


# --- incidents


def test_an_incident_is_listed_and_ended_by_word(home: MoneyHome) -> None:
    ledger = home.open()
    ledger.freeze("anthropic", reason="an answer came from a dearer model")
    ledger.close()
    listed = home.call("ledger", "thaw")
    assert "an answer came from a dearer model" in listed.stdout
    assert "when you have looked: crewcap ledger thaw anthropic" in listed.stderr
    assert home.json("ledger", "thaw")[0]["provider"] == "anthropic"
    done = home.call("ledger", "thaw", "anthropic", "--word", "ana: the price list was old")
    assert done.stdout.startswith("provider anthropic takes requests of capped keys again")
    assert home.json("ledger", "thaw") == []
    again = home.call("ledger", "thaw", "anthropic")
    assert (again.returncode, "provider 'anthropic' has no incident" in again.stderr) == (2, True)
