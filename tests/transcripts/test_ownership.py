"""Whose a transcript is: the same whichever agents are asked for, and in whatever order they are imported."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from crewcap.core.money import Money
from crewcap.core.transcripts import Mark, Told
from crewcap.stores.usage.index import UsageIndex
from crewcap.transcripts import READERS

from .conftest import Desk
from .test_claude_code import line
from .test_codex import context, count, meta, usage
from .test_gemini_cli import ANSWER
from .test_opencode import MESSAGE

AGENTS = tuple(sorted(READERS))
ROLLOUT = ".codex/sessions/2026/11/02/rollout-2026-11-02T10-00-00-a.jsonl"
FILES = {  # by name, whose it is
    ".claude/projects/shop/a.jsonl": "claude",
    ROLLOUT: "codex",
    ".gemini/tmp/shop/chats/session-1.json": "gemini",
    ".gemini/tmp/shop/chats/session-2.jsonl": "gemini",
    ".gemini/tmp/shop/chats/s/agent.jsonl": "gemini",
    "opencode/storage/message/ses_1/msg_1.json": "opencode",
}


@pytest.fixture
def mixed(desk: Desk) -> Desk:
    """Transcripts of all four below one folder."""
    total = usage(1_000, 400, 200)
    chat = {"sessionId": "s", "messages": [ANSWER]}
    texts = (
        line(message={"id": "msg_1"}),
        meta("a") + context() + count(total, total),
        json.dumps(chat, indent=2),
        json.dumps({**ANSWER, "id": "m2"}) + "\n",
        json.dumps({**ANSWER, "id": "m3"}) + "\n",
        json.dumps(MESSAGE),
    )
    for name, text in zip(FILES, texts, strict=True):
        desk.write(name, text)
    return desk


@contextmanager
def imported_afresh(desk: Desk, folder: Path) -> Iterator[Desk]:
    """The same folder in an index that knew nothing."""
    fresh = Desk(desk.folder, UsageIndex(folder / "fresh.db"), desk.pricing)
    try:
        fresh.run()
        yield fresh
    finally:
        fresh.index.close()


def by_agent(desk: Desk) -> dict[str, tuple[int, Money]]:
    found: dict[str, tuple[int, Money]] = {}
    for each in desk.sums():
        messages, cost = found.get(each.agent, (0, Money(0)))
        found[each.agent] = (messages + each.messages, Money(cost.nano + each.cost.nano))
    return found


def owners(desk: Desk) -> dict[str, str]:
    return {str(Path(path).relative_to(desk.folder)): mark.agent for path, mark in desk.index.marks().items()}


def mistake(desk: Desk, name: str, agent: str, *told: Told) -> None:
    """What an index says that took a file for another agent's, and read it to its end."""
    path = desk.folder / name
    about = path.stat()
    mark = Mark(str(path), agent, about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns, about.st_size, 7)
    desk.index.put([(mark, told)], repo_of=str, nano_of=lambda _: 3_000_000_000)


@pytest.mark.parametrize("agent", AGENTS)
def test_an_agent_that_is_asked_for_takes_its_own_files_alone(mixed: Desk, agent: str) -> None:
    mixed.run(agents=[agent])
    assert owners(mixed) == {name: owner for name, owner in FILES.items() if owner == agent}
    assert set(by_agent(mixed)) == {agent}


@pytest.mark.parametrize("order", list(itertools.permutations(AGENTS)), ids=">".join)
def test_one_agent_after_the_other_is_as_all_at_once(mixed: Desk, order: tuple[str, ...], tmp_path: Path) -> None:
    for agent in order:
        mixed.run(agents=[agent])
    with imported_afresh(mixed, tmp_path) as fresh:
        assert (by_agent(mixed), owners(mixed)) == (by_agent(fresh), FILES)
    assert mixed.run().read == 0


@pytest.mark.parametrize("first", AGENTS)
def test_after_one_agent_the_import_of_all_misses_nothing(mixed: Desk, first: str, tmp_path: Path) -> None:
    mixed.run(agents=[first])
    mixed.run()
    with imported_afresh(mixed, tmp_path) as fresh:
        assert (by_agent(mixed), owners(mixed)) == (by_agent(fresh), FILES)


@pytest.mark.parametrize("agents", [AGENTS, None], ids=["all at once", "its owner alone"])
@pytest.mark.parametrize(("name", "wrong"), [(n, a) for n in FILES for a in AGENTS if a != FILES[n]])
def test_an_index_that_took_a_file_for_anothers_heals(
    mixed: Desk, name: str, wrong: str, agents: tuple[str, ...] | None, tmp_path: Path
) -> None:
    mistake(mixed, name, wrong, Told(f"{wrong}:never", 1_000, "s", "/shop", "anthropic", "claude-sonnet-5", output=9))
    mixed.run(agents=agents or [FILES[name]])
    assert owners(mixed)[name] == FILES[name]
    mixed.run()
    with imported_afresh(mixed, tmp_path) as fresh:
        assert (by_agent(mixed), owners(mixed)) == (by_agent(fresh), FILES)
    assert mixed.run().read == 0


def test_a_message_that_a_file_of_its_own_agent_tells_as_well_stays_counted(mixed: Desk, tmp_path: Path) -> None:
    """The index has it as told by the file that was mistaken, because that one was read first."""
    source = mixed.folder / ".claude/projects/shop/a.jsonl"
    with imported_afresh(mixed, tmp_path) as fresh:
        wanted = by_agent(fresh)
    key = "claude:msg_1:" + json.loads(source.read_text())["requestId"]
    mistake(mixed, ROLLOUT, "claude", Told(key, 1_000, "s", "/shop", "anthropic", "claude-sonnet-5"))
    mixed.run(source)
    assert by_agent(mixed)["claude"][0] == 1
    mixed.run(agents=["codex"])
    mixed.run()
    assert by_agent(mixed) == wanted


def test_what_a_file_told_stays_where_the_mistake_was_another_files(mixed: Desk) -> None:
    """A file that is gone cannot be read again."""
    gone = mixed.write(".claude/projects/shop/gone.jsonl", line(message={"id": "msg_2"}))
    mixed.run(gone)
    gone.unlink()
    mistake(mixed, ROLLOUT, "claude", Told("claude:never", 1_000, "s", "/shop", "anthropic", "claude-sonnet-5"))
    mixed.run()
    assert by_agent(mixed)["claude"][0] == 2
