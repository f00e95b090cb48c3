"""Where everything is put together: each part once, when it is first asked for."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

from crewcap.app import App
from crewcap.core.budget import ALL
from crewcap.home import Home


def make(tmp_path: Path, text: str = "") -> App:
    (tmp_path / "config.toml").write_text(text)
    return App(
        home=Home(tmp_path / "state"),
        config_path=tmp_path / "config.toml",
        environ={"PATH": os.defpath, "ANTHROPIC_API_KEY": "sk-ant-fake-1"},
        clock=lambda: datetime.now(UTC),
    )


def test_nothing_is_made_before_it_is_asked_for(tmp_path: Path) -> None:
    app = make(tmp_path)
    assert app.settings.defaults.cap.show() == "$5.00"
    assert "sk-ant" not in repr(app)
    app.close()
    assert not app.home.root.exists()
    assert app.mirrors is app.mirrors
    assert app.home.is_new


def test_the_books_open_with_the_settings_budgets_and_runs_lie_beside_them(tmp_path: Path) -> None:
    app = make(tmp_path, '[budgets]\ntimezone = "Europe/Berlin"\nall = { day = 7 }\n')
    assert app.runs.list() == []
    (balance,) = app.ledger.all_balances()
    assert (balance.scope, balance.limit.show(), balance.source) == (ALL, "$7.00", "file")
    assert balance.label.endswith("@Europe/Berlin")
    app.close()
    assert not app.home.is_new


def test_what_the_file_no_longer_says_is_no_longer_in_force(tmp_path: Path) -> None:
    first = make(tmp_path, "[budgets]\nall = { day = 7, month = 70 }\n")
    assert len(first.ledger.all_balances()) == 2
    first.close()
    second = make(tmp_path)
    assert [(one.window, one.limit.show(), one.source) for one in second.ledger.all_balances()] == [
        ("day", "$25.00", "default")
    ]
    second.close()


def test_the_price_file_of_the_settings_is_laid_over_the_shipped_one(tmp_path: Path) -> None:
    (tmp_path / "prices.toml").write_text(
        '[[price]]\nprovider = "anthropic"\nmodel = "claude-sonnet-4-6"\nusd_per_mtok = { in = "7", out = "70" }\n'
    )
    mine = make(tmp_path, f'[prices]\noverrides = "{tmp_path}/prices.toml"')
    assert mine.book.card("anthropic", "claude-sonnet-4-6", at=datetime.now(UTC)).rates.output == 70 * 10**6
    mine.close()
