"""A file that was moved away is not the one that has its name, whether or not another one has."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from crewcap.errors import LedgerError
from crewcap.stores.sqlite.opened import OpenedFile


def test_a_file_is_the_one_that_was_opened_until_its_name_is_anothers(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    path.write_text("books")
    opened = OpenedFile.at(path)
    path.write_text("more of them")
    opened.refuse_replaced()
    moved = path.rename(tmp_path / "lost.db")
    with pytest.raises(LedgerError, match=r"ledger\.db was replaced"):
        opened.refuse_replaced()
    shutil.copy(moved, path)
    with pytest.raises(LedgerError, match=r"ledger\.db was replaced"):
        opened.refuse_replaced()
    moved.replace(path)
    opened.refuse_replaced()
