"""What the overshoot bench makes of its cells."""

from __future__ import annotations

from pathlib import Path

from benchmarks.overshoot import Cell, Conversation, tell
from benchmarks.report import Report, Table

from crewcap.core.money import Money


def cell(gateway: str, clients: int, billed: str, books: str, profile: str = "output-heavy") -> Cell:
    """A cell that was measured."""
    return Cell(gateway, profile, clients, billed=Money.usd(billed), books=Money.usd(books), served=1)


CELLS = [
    cell("ours", 1, "0.98", "0.98"),
    cell("ours", 8, "0.75", "0.75", "5-min writes"),
    cell("ours", 8, "0.50", "0.90", "kill -9"),
    cell("theirs", 1, "1.25", "1.25"),
    cell("theirs", 8, "0.90", "0.40", "hang-ups, billed in full"),
]


def told() -> Report:
    """The report of these cells."""
    made = Report(name="overshoot", versions={"ours": "1.0"})
    tell(made, CELLS)
    return made


def test_the_summary_counts_cells_over_the_cap_and_books_below_the_bill() -> None:
    """Money above the cap and money that the books do not know are two different faults."""
    summary = told().tables[0]
    assert [tuple(row) for row in summary.rows] == [
        ("ours", "0 of 3", "0", "0 of 3", "50 %"),
        ("theirs", "1 of 2", "+25 % (output-heavy, 1 client)", "1 of 2", "90 %"),
    ]


def test_a_table_shows_each_gateway_under_each_number_of_clients() -> None:
    """What was not run is a dash."""
    by_clients = told().tables[1]
    assert ("output-heavy", "theirs", "$1.25 **+25 %**", "-") in [tuple(row) for row in by_clients.rows]


def test_a_report_is_written_for_people_and_for_programs(tmp_path: Path) -> None:
    """Both say when, on what and how it was measured."""
    told().write(tmp_path)
    text = (tmp_path / "overshoot.md").read_text()
    assert "ours 1.0" in text
    assert "- command: python -m benchmarks.overshoot" in text
    assert (tmp_path / "overshoot.json").read_text().startswith("{")


def test_a_table_is_markdown() -> None:
    """Every row has as many cells as the head."""
    table = Table(title="T", head=("a", "long"), rows=[("1", "2")])
    assert table.markdown() == "### T\n\n| a | long |\n|---|------|\n| 1 | 2    |\n"


def test_an_agent_turn_goes_on_from_what_was_answered() -> None:
    """The next request carries the answer, so that the provider's cache is read."""
    talk = Conversation("cache reads", 0)
    talk.body()
    talk.heard("done")
    body = talk.body()
    assert [each["role"] for each in body["messages"]] == ["user", "assistant", "user"]
    assert body["messages"][-1]["content"][-1]["cache_control"] == {"type": "ephemeral"}
    assert "cache_control" not in body["messages"][0]["content"][0]


def test_two_long_prompts_are_never_the_same() -> None:
    """Each is written to the cache anew."""
    texts = {
        str(Conversation("5-min writes", client, turn).body()["messages"]) for client in range(3) for turn in range(3)
    }
    assert len(texts) == 9
