"""`crewcap key`, as a user types it."""

from __future__ import annotations

import json
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.cli.money_home import MoneyHome
from tests.stores.books import usd

from crewcap.core.budget import KeyId, Scope
from crewcap.core.keys import VirtualKey, hash_key


@pytest.fixture
def home(tmp_path: Path) -> MoneyHome:
    return MoneyHome(tmp_path)


def test_a_key_is_shown_once_and_kept_as_its_hash(home: MoneyHome) -> None:
    made = home.json("key", "create", "--cap", "1.00")
    assert set(made) == {"id", "key", "base_url", "cap_usd"}
    assert (made["cap_usd"], made["base_url"]) == ("1.000000000", "http://127.0.0.1:8787")
    assert made["key"].startswith("ccap-")
    files = b"".join(path.read_bytes() for path in home.home.root.iterdir() if path.is_file())
    assert made["key"].encode() not in files
    assert hash_key(made["key"]).encode() in files
    ledger = home.open()
    found = ledger.find_key(hash_key(made["key"]))
    assert found is not None
    assert found.scopes == (f"key:{made['id']}", "user:unknown", "all")
    assert {(it.scope, it.limit) for it in ledger.balances(found.id)} == {
        (f"key:{made['id']}", usd("1")),
        ("all", usd("25")),
    }
    ledger.close()


def test_a_scope_implies_its_ancestors(home: MoneyHome) -> None:
    """The team of the user and of the repository pays as well, and everything does."""
    home.config.write_text(
        '[teams]\ncore = ["ana", "bo"]\nweb = ["cy"]\n\n[repos."acme/shop"]\nurl = "/srv/shop"\nteam = "web"\n'
    )
    words = ("--user", "ana", "--scope", "repo:acme/shop", "--ttl", "1h", "--max-output", "4000", "--model", "sonnet")
    made = home.json("key", "create", "--no-cap", *words)
    assert made["cap_usd"] is None
    ledger = home.open()
    found = ledger.find_key(hash_key(made["key"]))
    ledger.close()
    assert found is not None
    assert found.scopes == (f"key:{made['id']}", "repo:acme/shop", "user:ana", "team:core", "team:web", "all")
    assert found.expires_at == found.created_at + timedelta(hours=1)
    assert abs(found.created_at - datetime.now(UTC)) < timedelta(minutes=5)
    assert (found.max_output, found.capped) == (4_000, False)
    assert len(found.models) == 1
    assert found.models[0].startswith("claude-sonnet-")


def test_a_run_belongs_to_its_issue_and_both_to_their_repository(home: MoneyHome) -> None:
    """As the run's own key has it, wherever the repository belongs by now; an issue's runs may be several users'."""
    scopes = ("key:k1", "run:r1", "issue:files/fix", "repo:shop", "user:ana", "team:core", "all")
    ledger = home.open()
    ledger.add_key(
        VirtualKey(id=KeyId("k1"), hash="h", scopes=tuple(map(Scope, scopes)), created_at=datetime.now(UTC), run="r1"),
        cap=None,
    )

    def made(*words: str) -> tuple[str, ...]:
        found = ledger.find_key(hash_key(home.json("key", "create", "--no-cap", *words)["key"]))
        assert found is not None
        return found.scopes[1:]

    assert made("--scope", "run:r1") == scopes[1:]
    assert made("--scope", "run:r1", "--user", "bo") == (*scopes[1:4], "user:bo", *scopes[5:])
    assert made("--scope", "issue:files/fix") == (*scopes[2:4], "user:unknown", *scopes[5:])
    assert made("--scope", "run:nobody") == ("run:nobody", "user:unknown", "all")
    ledger.close()


def test_a_running_gateways_address_is_the_keys(home: MoneyHome) -> None:
    home.home.make()
    home.home.gateway_note.write_text(json.dumps({"url": "http://127.0.0.1:43210", "pid": 1, "boot": "b"}))
    assert home.json("key", "create", "--cap", "1")["base_url"] == "http://127.0.0.1:43210"


def test_exports_lead_every_family_of_programs_to_the_gateway(home: MoneyHome) -> None:
    done = home.call("key", "create", "--cap", "1.00", "--shell", ANTHROPIC_AUTH_TOKEN="sk-ant-fake-token")
    assert done.returncode == 0, done.stderr
    script = f'{done.stdout}\nenv | grep -E "^(ANTHROPIC|OPENAI|GEMINI|GOOGLE_GEMINI)_" | sort'
    environ = {"PATH": "/usr/bin:/bin", "ANTHROPIC_AUTH_TOKEN": "sk-ant-fake-token"}
    shell = subprocess.run(["sh", "-c", script], env=environ, capture_output=True, text=True, check=True, timeout=30)
    found = dict(line.split("=", 1) for line in shell.stdout.splitlines())
    assert set(found) == {
        "ANTHROPIC_API_KEY",
        "ANTHROPIC_BASE_URL",
        "GEMINI_API_KEY",
        "GOOGLE_GEMINI_BASE_URL",
        "OPENAI_API_KEY",
        "OPENAI_BASE_URL",
    }
    assert found["ANTHROPIC_BASE_URL"] == "http://127.0.0.1:8787"
    assert found["ANTHROPIC_API_KEY"].startswith("ccap-")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "--cap USD or --no-cap"),
        (("--cap", "1", "--no-cap"), "--cap USD or --no-cap"),
        (("--cap", "0"), "--cap 0 allows nothing"),
        (("--cap", "$1,50"), "did you mean 1.50?"),
        (("--cap", "1", "--scope", "shop"), "is not a scope"),
        (("--cap", "1", "--scope", "key:other"), "in its own scope alone"),
        (("--cap", "1", "--ttl", "60"), "has no unit"),
        (("--cap", "1", "--model", "no-such-model"), "no price is known"),
        (("--cap", "1", "--max-output", "0"), "--max-output"),
    ],
)
def test_what_makes_no_key_is_said_in_one_line(
    home: MoneyHome, words: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert home.call_here("key", "create", *words) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert says in said.err


def test_keys_are_listed_with_what_they_cost_and_end_when_they_are_revoked(home: MoneyHome) -> None:
    home.lose_two_holds()
    made = home.json("key", "create", "--cap", "2.00")
    newest, oldest = home.json("key", "list")
    assert (newest["id"], newest["cap_usd"], newest["spent_usd"]) == (made["id"], "2.000000000", "0.000000000")
    assert (oldest["id"], oldest["uncertain_usd"], oldest["requests"]) == ("k1", "0.600000000", 2)
    assert home.call("key", "revoke", "k1").stdout == "key k1 is revoked\n"
    assert home.call("key", "revoke", "k1").stdout == "key k1 was revoked before\n"
    assert home.call("key", "revoke", "nobody").returncode == 2
    assert [one["id"] for one in home.json("keys", "list")] == [made["id"]]
    assert [one["state"] for one in home.json("key", "list", "--all")] == ["live", "revoked"]
    text = home.call("key", "list", "--all").stdout
    assert "k1" in text
    assert "$0.60" in text
