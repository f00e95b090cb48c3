"""The known lists against what real clients send (recorded: fields, kinds and spellings, no text)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from crewcap.wire import gemini_known as known
from crewcap.wire.gemini import Gemini

RECORDED = sorted((Path(__file__).parent / "recorded" / "gemini").glob("*.json"))
REFUSED = {
    "outside": {"cachedContent", "fileData", "googleSearch", "urlContext"},
    "search": {"googleSearch"},
}
"""What clients may send and capped keys may not use."""


def load(path: Path) -> dict[str, Any]:
    """One recorded request."""
    recorded: dict[str, Any] = json.loads(path.read_bytes())
    return recorded


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_what_clients_send_is_known(path: Path) -> None:
    """A supported client is never refused for a field or a kind of part, in either spelling."""
    recorded = load(path)
    sent = recorded["path"].replace(":countTokens", ":generateContent")
    ask = Gemini().ask(json.dumps(recorded["body"]).encode(), {}, allow=frozenset(), path=sent)
    refused = REFUSED.get(path.stem, set())
    assert len(ask.refusals) == len(refused)
    assert all(any(json.dumps(name) in refusal for refusal in ask.refusals) for name in refused)
    assert ask.model.startswith("gemini-")
    assert ask.stream is ("streamGenerateContent" in sent)


def test_recordings_hold_shapes_and_no_words() -> None:
    """Texts of the vendor are not ours to publish."""
    for path in RECORDED:
        assert len(path.read_bytes()) < 2_000
        body = load(path)["body"]
        contents = [*body["contents"], *([body["systemInstruction"]] if "systemInstruction" in body else [])]
        parts = [part for content in contents for part in content["parts"]]
        assert {part.get("text", "x") for part in parts} == {"x"}


def test_a_member_is_on_one_list_only() -> None:
    """A field cannot be both free and costly, nor a tool both declared and run."""
    assert not known.FIELDS & known.COSTLY_FIELDS.keys()
    assert known.COUNT_FIELDS | known.NOT_IN_THE_PROMPT == known.FIELDS
    assert not known.DECLARED & known.TOOLS.keys()


@pytest.mark.parametrize(
    ("model", "thinks"),
    [
        ("gemini-1.5-pro-002", False),
        ("gemini-2.0-flash", False),
        ("gemini-2.0-flash-lite-001", False),
        ("gemini-2.0-flash-thinking-exp-01-21", True),
        ("gemini-2.5-flash-lite", True),
        ("gemini-3.1-pro-preview", True),
        ("something-new", True),
    ],
)
def test_only_models_that_are_known_not_to_think_are_held_so(model: str, thinks: bool) -> None:  # noqa: FBT001  (a case)
    """A new model thinks until it is known not to."""
    assert (known.DOES_NOT_THINK.match(model) is None) is thinks
