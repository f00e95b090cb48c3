"""The known lists against what real agents send (recorded: fields and types, no text)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from crewcap.wire import Dialect
from crewcap.wire import openai_known as known
from crewcap.wire.openai_chat import PATH, Chat
from crewcap.wire.openai_responses import Responses

RECORDED = sorted((Path(__file__).parent / "recorded" / "openai").glob("*.json"))
REFUSED = {"codex_web_search": "web_search"}
"""What an agent may send and capped keys may not use; runs are launched without it."""
NOTED = {"codex_image_schema_flex": "service_tier was replaced by default"}


def load(path: Path) -> dict[str, Any]:
    """One recorded request."""
    recorded: dict[str, Any] = json.loads(path.read_bytes())
    return recorded


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_what_agents_send_is_known(path: Path) -> None:
    """A supported agent is never refused for a field, an item, a part or a tool."""
    recorded = load(path)
    dialect: Dialect = Chat() if recorded["path"] == PATH else Responses()
    ask = dialect.ask(json.dumps(recorded["body"]).encode(), {}, allow=frozenset())
    assert ask.notes == ((NOTED[path.stem],) if path.stem in NOTED else ())
    if path.stem in REFUSED:
        assert all(REFUSED[path.stem] in ask.refusals[0] for _ in ask.refusals)
        assert ask.refusals
    else:
        assert ask.refusals == ()
        assert not ask.bound.whole_window


def test_the_recordings_are_there() -> None:
    """A folder that moved would leave nothing to be known."""
    assert {load(path)["path"] for path in RECORDED} == {"/v1/responses", "/v1/chat/completions"}
    assert {load(path)["agent"].split()[0] for path in RECORDED} == {"Codex", "opencode", "Qwen"}


def test_recordings_hold_shapes_and_no_words() -> None:
    """Texts of the vendors are not ours to publish."""

    def texts(value: Any, key: str = "") -> list[str]:
        if isinstance(value, dict):
            return [text for name, each in value.items() for text in texts(each, name)]
        if isinstance(value, list):
            return [text for each in value for text in texts(each, key)]
        return [value] if isinstance(value, str) and key in {"text", "content", "description", "arguments"} else []

    for path in RECORDED:
        assert len(path.read_bytes()) < 4_000
        assert set(texts(load(path)["body"])) <= {"x"}


def test_a_member_is_on_one_list_only() -> None:
    """Nothing can be both free and costly."""
    assert not known.RESPONSES_FIELDS & known.COSTLY_RESPONSES_FIELDS.keys()
    assert not known.CHAT_FIELDS & known.COSTLY_CHAT_FIELDS.keys()
    assert not known.ITEMS.keys() & known.COSTLY_ITEMS.keys()
    assert not known.RESPONSES_PARTS.keys() & known.COSTLY_RESPONSES_PARTS.keys()
    assert not known.CHAT_PARTS.keys() & known.COSTLY_CHAT_PARTS.keys()
    assert not known.COUNT_FIELDS & known.NOT_IN_THE_PROMPT
    assert not known.PRICED_HOSTED_TOOLS.keys() & known.UNBOUNDED_HOSTED_TOOLS.keys()


def test_every_hosted_tool_has_its_rule() -> None:
    """Bounded and priced, or said to be neither."""
    families = known.PRICED_HOSTED_TOOLS.keys() | known.UNBOUNDED_HOSTED_TOOLS.keys()
    for family in families:
        for name in (family, f"{family}_2025_08_26"):
            found = known.HOSTED_TOOL.match(name)
            assert found is not None
            assert found["family"] == family
    assert not any(known.HOSTED_TOOL.match(tool) for tool in known.CLIENT_TOOLS | known.PLAIN_TOOLS)
