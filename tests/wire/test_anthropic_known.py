"""The known lists against what real agents send (recorded: fields, types and betas, no text)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from crewcap.wire import anthropic_known as known
from crewcap.wire.anthropic import Anthropic

RECORDED = sorted((Path(__file__).parent / "recorded").glob("*.json"))
REFUSED = {"auto_mode": "safeguards", "web_search": "web_search"}
"""What an agent may send and capped keys may not use; runs are launched without either."""


def load(path: Path) -> dict[str, Any]:
    """One recorded request."""
    recorded: dict[str, Any] = json.loads(path.read_bytes())
    return recorded


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_what_agents_send_is_known(path: Path) -> None:
    """A supported agent is never refused for a field, a type or an edit, nor noted for a beta."""
    recorded = load(path)
    headers = {"Anthropic-Beta": ",".join(recorded["betas"])}
    ask = Anthropic().ask(json.dumps(recorded["body"]).encode(), headers, allow=frozenset())
    assert ask.notes == ()
    if path.stem in REFUSED:
        assert [REFUSED[path.stem] in refusal for refusal in ask.refusals] == [True]
    else:
        assert ask.refusals == ()


def test_every_recorded_beta_is_on_the_list() -> None:
    """A new agent version shows itself by a beta that is not."""
    sent = {beta for path in RECORDED for beta in load(path)["betas"]}
    assert sent <= known.BETAS


def test_recordings_hold_shapes_and_no_words() -> None:
    """Texts of the vendor are not ours to publish."""
    for path in RECORDED:
        assert len(path.read_bytes()) < 4_000
        body = load(path)["body"]
        blocks = [*body.get("system", []), *(block for message in body["messages"] for block in message["content"])]
        assert {block.get("text", "x") for block in blocks if isinstance(block, dict)} == {"x"}


def test_a_member_is_on_one_list_only() -> None:
    """A field cannot be both free and costly."""
    assert not known.FIELDS & known.COSTLY_FIELDS.keys()
    assert known.COUNT_FIELDS <= known.FIELDS
    assert not any(known.SERVER_TOOL.match(tool) for tool in known.CLIENT_TOOLS)
