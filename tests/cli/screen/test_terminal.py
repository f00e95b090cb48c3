"""A terminal that is drawn on is given back as it was, however the drawing ends."""

from __future__ import annotations

import signal

import pytest
from tests.cli.run_home import RunHome, driven
from tests.cli.terminals import Desk, at_a_terminal

from crewcap.core.runs import RunState

ENTERED, LEFT = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"


def assert_given_back(desk: Desk) -> None:
    assert desk.text.count("\x1b[?1049h") == desk.text.count("\x1b[?1049l") > 0
    assert desk.text.rindex(LEFT) > desk.text.rindex("\x1b[?25l")
    assert desk.text.rindex(LEFT) > desk.text.rindex("\x1b[H")
    assert desk.modes == desk.modes_before


@pytest.mark.parametrize("keys", ["q", "\x04", "\x1b"], ids=["q", "Ctrl-D", "Escape"])
def test_a_key_ends_it_and_what_was_seen_last_stays(home: RunHome, keys: str) -> None:
    home.add("fix-login", RunState.RUNNING, **driven())
    with at_a_terminal("--home", str(home.home.root), "runs", "--watch", home=home.folder) as desk:
        desk.wait_for("fix-login.1")
        assert desk.text.startswith(ENTERED)
        desk.type(keys)
        assert desk.end() == 0
        assert_given_back(desk)
        assert "fix-login.1" in desk.text[desk.text.rindex(LEFT) :]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_its_number(home: RunHome, number: signal.Signals) -> None:
    home.add("fix-login", RunState.RUNNING, **driven())
    with at_a_terminal("--home", str(home.home.root), "runs", "--watch", home=home.folder) as desk:
        desk.wait_for("fix-login.1")
        desk.process.send_signal(number)
        assert desk.end() == 128 + number
        assert_given_back(desk)
        assert "Traceback" not in desk.text


def test_another_size_is_drawn_at_once(home: RunHome) -> None:
    home.add("fix-login", RunState.RUNNING, title="Login fails when the e-mail has capitals", **driven())
    with at_a_terminal("--home", str(home.home.root), "runs", "--watch", home=home.folder) as desk:
        before = desk.wait_for("Login fails when the e-mail has capitals")
        desk.resize(20, 10)
        before = desk.wait_for("worst case $", after=before)
        desk.resize(130, 10)
        desk.wait_for("spent/cap", after=before)
        desk.type("q")
        assert desk.end() == 0


@pytest.mark.parametrize("keys", ["x", "\x1b[A"], ids=["a letter", "an arrow"])
def test_other_keys_do_nothing(home: RunHome, keys: str) -> None:
    home.add("fix-login", RunState.RUNNING, **driven())
    with at_a_terminal("--home", str(home.home.root), "runs", "--watch", home=home.folder) as desk:
        before = desk.wait_for("worst case")
        desk.type(keys)
        desk.wait_for("worst case", after=before)
        desk.type("q")
        assert desk.end() == 0
        assert_given_back(desk)
