"""docs/torture.md: whoever writes one of its parts leaves the others as they are."""

from __future__ import annotations

from pathlib import Path

from torture.page import keep, with_part

PAGE = "# Books\n\none\n\n## Night\n\ntwo\n\n## Zoo\n\nthree\n"


def test_a_section_takes_the_place_of_the_one_before() -> None:
    assert with_part(PAGE, "## Night\n\nanother") == PAGE.replace("two", "another")


def test_the_first_part_is_written_without_the_sections() -> None:
    assert with_part(PAGE, "# Books\n\nmore of them\n") == PAGE.replace("one", "more of them")


def test_a_new_section_comes_last() -> None:
    assert with_part(PAGE, "## Workers\n\nfour\n") == f"{PAGE}\n## Workers\n\nfour\n"


def test_a_page_that_is_not_there_begins_with_what_is_written_first(tmp_path: Path) -> None:
    keep(tmp_path / "page.md", "## Zoo\n\nthree")
    keep(tmp_path / "page.md", "# Books\n\none")
    assert (tmp_path / "page.md").read_text("utf-8") == "# Books\n\none\n\n## Zoo\n\nthree\n"
