"""`crewcap usage`: import, show and check, as users type them."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.cli.money_home import MoneyHome
from tests.transcripts.test_claude_code import line
from tests.transcripts.trees import Truth, make

from crewcap.core.money import Money


@pytest.fixture
def money(tmp_path: Path) -> MoneyHome:
    return MoneyHome(tmp_path)


@pytest.fixture
def truth(tmp_path: Path) -> Truth:
    """Transcripts where Claude Code keeps them."""
    return make(tmp_path / ".claude" / "projects", seed=3, files=10, filler=80)


def test_all_known_places_are_imported_and_twice_is_once(money: MoneyHome, truth: Truth) -> None:
    """The acceptance: files, messages and a cost that is exact."""
    first, second = (money.json("usage", "import") for _ in range(2))
    assert (first["files"], first["messages"]) == (truth.files, truth.messages)
    assert first["cost_usd"] == Money(truth.nano).exact()
    assert (first["read_files"], second["read_files"]) == (truth.files, 0)
    told = ("files", "messages", "cost_usd", "tokens", "models", "repos", "agents", "unpriced", "skipped")
    assert {name: first[name] for name in told} == {name: second[name] for name in told}
    assert [each["model"] for each in first["unpriced"]] == (["claude-nobody-9"] if truth.unpriced else [])


def test_what_finds_nothing_new_reads_neither_the_prices_nor_the_books(tmp_path: Path) -> None:
    """An import is to be quick, so it imports of the program what it needs."""
    script = (
        "import sys\n"
        "from crewcap.__main__ import call\n"
        "assert call(sys.argv[1:]) == 0\n"
        "heavy = ('genai_prices', 'pydantic', 'importlib.metadata', 'crewcap.core.runs')\n"
        "print([name for name in heavy if name in sys.modules], file=sys.stderr)\n"
    )
    words = ["usage", "import", str(tmp_path), "--home", str(tmp_path / "home")]
    command = [sys.executable, "-P", "-c", script, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stderr.strip() == "[]"


def test_nothing_is_written_to_the_ledger(money: MoneyHome, truth: Truth) -> None:
    money.json("usage", "import")
    assert not money.home.ledger.exists()
    assert money.home.usage.exists()
    del truth


def test_a_folder_is_imported_by_itself(money: MoneyHome, truth: Truth, tmp_path: Path) -> None:
    money.json("usage", "import")
    other = tmp_path / "other"
    other.mkdir()
    (other / "a.jsonl").write_text(line())
    assert money.json("usage", "import", str(other))["messages"] == 1
    assert money.json("usage", "import")["messages"] == truth.messages + 1


def test_it_says_what_was_found_and_what_was_not_counted(money: MoneyHome, tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    (folder / "a.jsonl").write_text(
        line() + line()[:-90] + "\n" + line(message={"id": "m2", "model": "claude-nobody-9"})
    )
    done = money.call("usage", "import", str(folder))
    assert (done.returncode, done.stderr) == (0, "")
    assert "2 messages in 1 transcript" in done.stdout
    assert "anthropic/claude-nobody-9: 1 message" in done.stdout
    assert "1 torn: no JSON" in done.stdout
    assert all(len(each) <= 80 for each in done.stdout.splitlines())


def test_a_narrow_terminal_gets_the_money_and_the_count(money: MoneyHome, truth: Truth) -> None:
    done = money.call("usage", "import", COLUMNS="40")
    assert max(len(each) for each in done.stdout.splitlines()[4:] if "$" in each) <= 40
    assert Money(truth.nano).show() in done.stdout


@pytest.mark.parametrize("asked", [("usage",), ("usage", "show")])
def test_for_machines_it_is_a_list_also_where_there_is_nothing(
    money: MoneyHome, truth: Truth, asked: tuple[str, ...]
) -> None:
    assert json.loads(money.call(*asked, "--json").stdout) == []
    assert money.call_here("usage", "import", str(money.folder)) == 0
    assert sum(row["messages"] for row in json.loads(money.call(*asked, "--json").stdout)) == truth.messages


@pytest.mark.parametrize("by", ["day", "week", "month", "model", "repo", "session", "agent"])
def test_any_grouping_adds_up(money: MoneyHome, truth: Truth, by: str) -> None:
    assert money.call_here("usage", "import", str(money.folder)) == 0
    rows: list[dict[str, Any]] = json.loads(money.call("usage", "show", "--by", by, "--json").stdout)
    assert sum(Money.usd(row["cost_usd"]).nano for row in rows) == truth.nano
    table = list(csv.DictReader(io.StringIO(money.call("usage", "show", "--by", by, "--csv").stdout)))
    assert [row[by] for row in table] == [row[by] for row in rows]
    assert sum(int(row["messages"]) for row in table) == truth.messages
    if by == "day":
        assert {row["day"]: Money.usd(row["cost_usd"]).nano for row in rows} == dict(truth.by_day)


def test_a_cell_that_a_spreadsheet_would_run_is_text(money: MoneyHome, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(line(cwd='=HYPERLINK("http://x")'))
    money.json("usage", "import", str(tmp_path))
    cells = list(csv.reader(io.StringIO(money.call("usage", "show", "--by", "repo", "--csv").stdout)))
    assert cells[1][0].startswith("'=")


def test_only_what_was_used_since_counts(money: MoneyHome, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(
        line(timestamp="2020-01-01T00:00:00Z") + line(message={"id": "new"}, timestamp="2026-11-20T00:00:00Z")
    )
    assert money.json("usage", "import", str(tmp_path), "--since", "2026-11-01")["messages"] == 1
    assert money.json("usage", "import", str(tmp_path))["messages"] == 2
    assert money.json("usage", "import", str(tmp_path), "--agent", "codex")["messages"] == 0


@pytest.mark.parametrize("first", ["claude", "codex", "gemini", "opencode"])
def test_an_import_of_one_agent_takes_nothing_from_a_later_one_of_all(
    money: MoneyHome, tmp_path: Path, first: str
) -> None:
    recorded = Path(__file__).parents[2] / "transcripts" / "recorded"
    folder = tmp_path / "logs"
    shutil.copytree(recorded, folder)
    one = money.json("usage", "import", str(folder), "--agent", first)
    assert {each["agent"] for each in one["agents"]} <= {first}
    after = money.json("usage", "import", str(folder))
    fresh = MoneyHome(tmp_path / "fresh")
    fresh.folder.mkdir()
    alone = fresh.json("usage", "import", str(folder))
    assert (after["cost_usd"], after["agents"]) == (alone["cost_usd"], alone["agents"])
    assert {each["agent"] for each in alone["agents"]} >= {"claude", "codex", "gemini"}


def test_a_home_without_transcripts_is_told_so(money: MoneyHome) -> None:
    done = money.call("usage", "import")
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "no transcripts found")
    assert money.call("usage").stdout == "nothing imported yet: crewcap usage import\n"


@pytest.mark.parametrize(
    "wrong",
    [
        ("import", "/no/such/folder"),
        ("import", "--since", "sometime"),
        ("import", "--agent", "clippy"),
        ("show", "--by", "mood"),
        ("show", "--tz", "Mars/Olympus"),
        ("show", "--csv", "--json"),
    ],
)
def test_wrong_words_get_one_line_and_status_2(
    money: MoneyHome, wrong: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert money.call_here("usage", *wrong) == 2
    said = capsys.readouterr()
    assert "error" in said.err + said.out


def test_a_damaged_index_is_named(money: MoneyHome) -> None:
    money.home.make()
    money.home.usage.write_bytes(b"no database" * 500)
    done = money.call("usage", "show")
    assert (done.returncode, "usage.db cannot be used" in done.stderr, "Traceback" in done.stderr) == (5, True, False)
