"""What a conversation says is gathered from its parts, whichever API they came by."""

from __future__ import annotations

import pytest

from crewcap.simulator.conversation import Call, Said, call_id, call_of, cwd_in, gathered, without_reminders


def said(role: str, text: str, turn: int, answers: str | None = None) -> Said:
    return Said(role=role, turn=turn, billed={"text": text}, text=text, answers=answers)  # type: ignore[arg-type]  # the table below names roles by their words


ENVIRONMENT = "<environment_context>\n  <cwd>/srv/shop</cwd>\n  <shell>bash</shell>\n</environment_context>"


def test_the_task_is_what_a_person_said_and_not_what_the_agent_put_beside_it() -> None:
    parts = [said("system", "be good", 0), said("user", ENVIRONMENT, 1), said("user", "Fix it.", 2)]
    talk = gathered([*parts, said("assistant", "yes", 3), said("user", "And test it.", 4)], (), bytes_per_token=4)
    assert (talk.task, talk.asked, talk.cwd) == ("Fix it.", "And test it.", "/srv/shop")
    assert not talk.has_results


def test_the_last_results_are_those_after_the_models_last_word() -> None:
    """Answers to several calls at once belong together; older ones do not."""
    ids = [call_id(step, 1, n, "0123456789abcdef") for step, n in (("read", 1), ("edit", 1), ("edit", 2))]
    results = [said("tool", text, turn, answers) for text, turn, answers in zip("abc", (2, 4, 4), ids, strict=True)]
    parts = [said("assistant", "x", 1), results[0], said("assistant", "y", 3), *results[1:], said("user", "go on", 5)]
    talk = gathered(parts, (), bytes_per_token=4)
    assert (talk.result, talk.last_call) == ("b\nc", Call(step="edit", round=1))


def test_every_part_is_a_block_of_its_own_after_the_tools() -> None:
    talk = gathered([said("user", "hello", 1), said("user", "there", 1)], [({"name": "t"}, False)], bytes_per_token=4)
    other = gathered([said("user", "hello", 1), said("user", "you", 1)], [({"name": "t"}, False)], bytes_per_token=4)
    assert [a.digest == b.digest for a, b in zip(talk.blocks, other.blocks, strict=True)] == [True, True, False]
    assert talk.digest != other.digest


@pytest.mark.parametrize("prefix", ["toolu", "call"])
def test_an_id_tells_its_step_by_either_prefix(prefix: str) -> None:
    identifier = call_id("run-it", 3, 1, "0123456789abcdef").replace("toolu", prefix, 1)
    assert call_of(identifier) == Call(step="run-it", round=3)
    assert call_of("call_abc") is None


@pytest.mark.parametrize(
    "text",
    [
        "Primary working directory: /srv/shop\nmore",
        "<cwd>/srv/shop</cwd>",
        "- **Workspace Directories:**\n  - /srv/shop\n- **Directory Structure:**",
    ],
)
def test_every_agent_tells_its_folder_in_its_own_words(text: str) -> None:
    assert cwd_in(["nothing here", text]) == "/srv/shop"
    assert cwd_in(["nothing here"]) == "."


def test_what_agents_put_beside_a_persons_words_is_left_out() -> None:
    beside = "<session_context>\n<x>1</x>\n</session_context>"
    assert without_reminders(f"{beside} Fix it. <system-reminder>later</system-reminder>") == "Fix it."
