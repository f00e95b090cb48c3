"""The documents say what the code says, lead somewhere, and keep to their forms."""

from __future__ import annotations

import re
import subprocess
from functools import cache
from pathlib import Path

import pytest
from tools import reference

from crewcap.agents import AGENTS
from crewcap.cli import COMMANDS
from crewcap.stores import Ledger
from crewcap.workspaces import LADDER

ROOT = Path(__file__).resolve().parent.parent
KINDS = ("added", "changed", "fixed", "removed", "security")
_LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)\s]+)\)")
_FRAGMENT = re.compile(rf"[a-z0-9][a-z0-9-]*\.(?:{'|'.join(KINDS)})\.md")


@cache
def pages() -> tuple[Path, ...]:
    """Every document of the project."""
    return tuple(sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "changes").glob("*.md")]))


def text_of(name: str) -> str:
    return (ROOT / "docs" / name).read_text("utf-8")


@pytest.mark.parametrize("name", reference.PAGES)
def test_a_reference_page_is_what_the_code_says(name: str) -> None:
    """`make docs` writes it again."""
    assert (reference.FOLDER / name).read_text("utf-8") == reference.PAGES[name]()


def test_every_setting_has_a_sentence() -> None:
    """A row of the settings page with nothing in its last column is a key that nobody explained."""
    bare = [line for line in text_of("reference/settings.md").splitlines() if re.search(r"^\| `.*\|\s*\|$", line)]
    assert bare == []


def test_every_command_is_on_the_page_and_ends_with_an_example() -> None:
    text = text_of("reference/commands.md")
    for name in COMMANDS:
        part = re.search(rf"^## `crewcap {name}`$(?P<text>.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
        assert part is not None, f"{name} is not there"
        assert "\nExample: `" in part["text"], f"{name} has no example"


def test_the_map_names_every_floor_and_every_seam() -> None:
    """Who adds a folder says on the map what it is for."""
    text = text_of("architecture.md")
    folders = [path.name for path in (ROOT / "src/crewcap").iterdir() if (path / "__init__.py").exists()]
    assert [name for name in folders if f"`{name}/`" not in text] == []
    for seam in ("Dialect", "AgentAdapter", Ledger.__name__, "RunStore", "Tracker", "Sandbox", "PriceBook"):
        assert f"`{seam}`" in text
    assert all(word in text for word in (*LADDER, *AGENTS))


def test_every_link_leads_to_a_file() -> None:
    """Links between our own pages; those to the world are not followed."""
    broken = [
        f"{page.relative_to(ROOT)}: {match['target']}"
        for page in pages()
        for match in _LINK.finditer(re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL))
        if not re.match(r"[a-z]+:|#", match["target"])
        if not (page.parent / match["target"].partition("#")[0]).exists()
    ]
    assert broken == []


def test_a_decision_is_a_page_that_is_read() -> None:
    """Context, decision, what it costs; under forty lines."""
    for page in (ROOT / "docs/decisions").glob("*.md"):
        text = page.read_text("utf-8")
        assert len(text.splitlines()) < 40, page.name
        assert [heading for heading in ("## Context", "## Decision", "## What it costs") if heading not in text] == []


def test_a_change_is_a_fragment_with_a_kind() -> None:
    names = [path.name for path in (ROOT / "changes").iterdir() if path.name != "README.md"]
    assert names, "a product without a change to tell"
    assert [name for name in names if not _FRAGMENT.fullmatch(name)] == []


def test_contributing_names_the_one_command() -> None:
    assert "make check" in (ROOT / "CONTRIBUTING.md").read_text("utf-8")


def test_no_file_names_this_machine() -> None:
    """No path below somebody's home and no package index, in any file that is kept."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=30
    ).stdout
    if not listed:
        pytest.skip("not a git checkout")
    pattern = re.compile(
        rb"/(?:work|opt)/(?:main|shared|pypi|wheels)|/home/(?!agent\b|user\b|ana\b)[a-z]+/|pypi\.org/simple"
    )
    named = [
        name
        for name in listed.split("\0")
        if name
        and (ROOT / name).is_file()
        and name != "tests/test_docs.py"
        and pattern.search((ROOT / name).read_bytes())
    ]
    assert named == []


def test_every_test_that_a_document_names_exists() -> None:
    """A promise whose test was renamed away is a promise without one."""
    named = {
        (page.name, name) for page in pages() for name in re.findall(r"`(tests/[\w/]+\.py)`", page.read_text("utf-8"))
    }
    assert named
    assert sorted(f"{page}: {name}" for page, name in named if not (ROOT / name).is_file()) == []
