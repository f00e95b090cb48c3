"""`crewcap price`, as a user types it."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Crewcap = Callable[..., subprocess.CompletedProcess[str]]

ALWAYS_FRESH = "[policy]\nmax_age_days = 100000\n"


@pytest.fixture
def crewcap(tmp_path: Path) -> Crewcap:
    """The real command in an empty home."""

    def call(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "crewcap", *words],
            check=False,
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "ANTHROPIC_API_KEY": "sk-ant-fake-price"},
            timeout=60,
        )

    return call


def test_one_model_is_listed_with_everything_that_is_known_of_it(crewcap: Crewcap) -> None:
    done = crewcap("price", "list", "--model", "sonnet")
    assert done.returncode == 0, done.stderr
    assert "anthropic/claude-sonnet-5 us" in done.stdout
    assert "may be claude-sonnet-5-5" in done.stdout
    assert "1,000,000 tokens, output 128,000" in done.stdout
    assert "price table" in done.stderr


def test_a_list_shows_standard_prices_and_all_of_them_only_when_asked(crewcap: Crewcap) -> None:
    short = crewcap("price", "list", "--provider", "anthropic").stdout
    long = crewcap("price", "list", "--provider", "anthropic", "--all").stdout
    assert "claude-opus-5-5 fast" not in short
    assert "claude-opus-5-5 fast" in long
    assert "prompt above 100,000" in short


def test_json_is_one_array_of_rows_before_or_after_the_command(crewcap: Crewcap) -> None:
    done = crewcap("--json", "price", "list", "--model", "claude-opus-5-5")
    found = json.loads(done.stdout)
    assert [row["usd_per_mtok"]["input"] for row in found if row["speed"] == "fast"] == ["8.000000000", "8.800000000"]


def test_an_unknown_model_is_an_error_that_names_the_nearest_one(crewcap: Crewcap) -> None:
    done = crewcap("price", "list", "--model", "sonet")
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "sonnet" in done.stderr
    assert done.stdout == ""


def test_a_saved_table_is_compared_with_the_one_in_force(crewcap: Crewcap, tmp_path: Path) -> None:
    (tmp_path / "saved.json").write_text(crewcap("price", "list", "--json").stdout)
    same = crewcap("price", "diff", "saved.json")
    assert (same.returncode, same.stdout) == (0, "")
    mine = '[[price]]\nprovider = "anthropic"\nmodel = "claude-v1"\nusd_per_mtok = { in = "8", out = "25" }\n'
    (tmp_path / "mine.toml").write_text(mine)
    changed = crewcap("price", "diff", "saved.json", "--overrides", "mine.toml")
    assert "~ anthropic/claude-v1: usd_per_mtok.output 24.00 -> 25.00" in changed.stdout


def test_without_a_file_our_lines_are_compared_with_the_library(crewcap: Crewcap) -> None:
    changes = json.loads(crewcap("price", "diff", "--json").stdout)
    assert {"what": "anthropic/claude-opus-5-5 us", "kind": "added"}.items() <= next(
        change for change in changes if change["what"] == "anthropic/claude-opus-5-5 us"
    ).items()


def test_a_fit_table_passes_the_check(crewcap: Crewcap, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(ALWAYS_FRESH)
    done = crewcap("price", "check", "--overrides", "mine.toml", "--json")
    found = json.loads(done.stdout)
    assert done.returncode == 0, done.stdout
    assert found["ok"] is True
    assert found["age_days"] >= 0


def test_a_line_that_fits_nothing_fails_the_check(crewcap: Crewcap, tmp_path: Path) -> None:
    line = '[[discount]]\nprovider = "anthropic"\nmodels = ["clade"]\npercent = "5"\n'
    (tmp_path / "mine.toml").write_text(ALWAYS_FRESH + line)
    done = crewcap("price", "check", "--overrides", "mine.toml")
    assert done.returncode == 1
    assert "problem  our discount of 5 % for anthropic/clade fits no model" in done.stdout


@pytest.mark.parametrize(
    ("name", "text"),
    [("none.toml", None), ("bad.toml", "[policy"), ("odd.toml", "[polciy]\n"), ("table.json", "{}")],
)
def test_a_file_that_is_wrong_is_one_clear_line(crewcap: Crewcap, tmp_path: Path, name: str, text: str | None) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    words = ["diff", name] if name.endswith("json") else ["check", "--overrides", name]
    done = crewcap("price", *words)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert name in done.stderr
    assert "Traceback" not in done.stderr
