"""No cell of ours is a formula."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crewcap.cli.screen.csv_cells import safe, write


@pytest.mark.parametrize(
    "cell", ["=1+1", "+1", "-cmd", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "\uff1d1", "=cmd|'/c calc'!A0"]
)
def test_what_a_spreadsheet_would_compute_is_text(cell: str) -> None:
    assert safe(cell) == f"'{cell}"


@pytest.mark.parametrize("cell", ["", "-1.5", "-0.000000001", "42", "fix-login.1", "a=b"])
def test_numbers_and_words_stay_as_they_are(cell: str) -> None:
    assert safe(cell) == cell


@given(st.lists(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\x00")), min_size=2, max_size=2)))
def test_cells_come_back_as_they_were_but_for_the_apostrophe(rows: list[list[str]]) -> None:
    out = io.StringIO()
    assert write(out, ("a", "b"), rows) == len(rows)
    found = list(csv.reader(io.StringIO(out.getvalue(), newline="")))[1:]
    assert [[cell.removeprefix("'") for cell in row] for row in found] == [
        [cell.removeprefix("'") for cell in row] for row in rows
    ]
