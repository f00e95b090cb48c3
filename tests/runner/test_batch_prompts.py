"""Prompts of a batch are read and judged as a whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from crewcap.core.money import Money
from crewcap.errors import UsageError
from crewcap.runner import batch_prompts as prompts
from crewcap.trackers.files import Files


def read(*lines: str, folder: Path = Path()) -> tuple[prompts.Wanted, ...]:
    return prompts.from_lines("\n".join(lines).encode(), where="p.jsonl", folder=folder)


def test_a_line_says_what_is_asked() -> None:
    (found,) = read('{"id": "a", "prompt": "x", "system": "s", "model": "haiku", "max_output": 7}')
    assert (found.id, found.text, found.system, found.model, found.max_output) == ("a", "x", "s", "haiku", 7)


def test_files_stand_before_the_prompt_under_their_names(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("print()")
    (found,) = read('{"id": "a", "prompt": "review it", "files": ["a.py"]}', folder=tmp_path)
    assert found.text == '<file name="a.py">\nprint()\n</file>\n\nreview it'


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (['{"id": "a", "prompt": "x"}', '{"id": "A", "prompt": "y"}'], "p.jsonl:2: the id 'A' is that of p.jsonl:1"),
        (['{"id": "a", "promt": "x"}'], "did you mean 'prompt'?"),
        (['{"id": "a", "prompt": "x", "zzz": 1}'], "known are id, prompt"),
        (['{"id": "a", "prompt": "x"}', "nope", '{"id": "../b", "prompt": "y"}'], "p.jsonl:2: this is no JSON"),
        (['{"id": "a", "prompt": "x"}', "nope", '{"id": "../b", "prompt": "y"}'], "(and 1 more)"),
        (['{"id": "a"}'], "prompt is missing"),
        (['{"id": "a", "prompt": "  "}'], "prompt must be a text"),
        (['{"id": "a", "prompt": 7}'], "prompt must be a text"),
        (['{"prompt": "x"}'], "id is missing"),
        (['{"id": "a", "id": "b", "prompt": "x"}'], "a key stands twice"),
        (['{"id": "a", "prompt": "\\ud800"}'], "holds what is no text"),
        (['{"id": "a", "prompt": "x", "max_output": 0}'], "max_output must be a number"),
        (['{"id": "a", "prompt": "x", "max_output": true}'], "max_output must be a number"),
        (['{"id": "a", "prompt": "x", "files": "a.py"}'], "files must be a list"),
        (['{"id": "a", "prompt": "x", "files": ["gone.txt"]}'], "there is no file"),
        (["[1]"], "but no object"),
        (["[" * 100_000], "this is no JSON object"),
        (["", "  "], "holds no prompt"),
    ],
)
def test_the_first_complaint_names_its_line_and_counts_the_others(lines: list[str], says: str) -> None:
    with pytest.raises(UsageError) as refused:
        read(*lines)
    assert says in refused.value.message
    assert refused.value.help


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no JSON object in UTF-8"):
        prompts.from_lines(b'{"id": "a", "prompt": "\xff"}', where="p", folder=tmp_path)
    (tmp_path / "b.bin").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="is no UTF-8 text"):
        read('{"id": "a", "prompt": "x", "files": ["b.bin"]}', folder=tmp_path)


def test_issues_are_read_as_everywhere_else(tmp_path: Path) -> None:
    """Their head too: a cap there is this prompt's own."""
    (tmp_path / "b.md").write_text("---\ntitle: Review it\ncap: 0.50\n---\n\nIs it sound?\n")
    (tmp_path / "a.txt").write_text("# A title\n\nAnd a text.\n")
    (tmp_path / "c.png").write_bytes(b"\x89")
    paths = prompts.issue_files(tmp_path)
    first, second = prompts.from_issues(paths, Files(Path()).read, where="issues")
    assert (first.id, first.text.count("A title"), first.cap) == ("a", 1, None)
    assert (second.id, second.text, second.cap) == ("b", "# Review it\n\nIs it sound?", Money.usd("0.50"))
    assert second.source == str(tmp_path / "b.md")


def test_what_a_prompt_does_not_say_the_batch_says() -> None:
    given = read('{"id": "a", "prompt": "x", "model": "haiku"}', '{"id": "b", "prompt": "y", "max_output": 5}')
    full = prompts.with_defaults(given, model="sonnet", max_output=9)
    assert [(each.model, each.max_output) for each in full] == [("haiku", 9), ("sonnet", 5)]


def test_context_is_every_file_in_its_order(tmp_path: Path) -> None:
    for name in ("b", "a"):
        (tmp_path / name).write_text(f"text of {name}")
    said = prompts.context_of([tmp_path / "b", tmp_path / "a"])
    assert said.index("text of b") < said.index("text of a")
    with pytest.raises(UsageError, match="--context: there is no file"):
        prompts.context_of([tmp_path / "gone"])
