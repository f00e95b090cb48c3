"""Which program an agent is."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from crewcap.agents.claude_code import ClaudeCode
from crewcap.agents.find import Found, NoAnswer, ask_version, find
from crewcap.errors import UnsafeEnvironment


class Wheel(ClaudeCode):
    """Claude Code whose wheel is where the test says."""

    def __init__(self, bundled: Path | None = None) -> None:
        super().__init__()
        self._bundled = bundled

    def bundled(self) -> str | None:
        return str(self._bundled) if self._bundled else None


def program(path: Path, content: bytes = b"\x7fELF") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(0o755)
    return path


def says(**versions: str) -> Callable[[str], str]:
    """Answers by the folder that a program lies in; a program without an answer hangs."""

    def ask(path: str) -> str:
        folder = Path(path).parent.name
        if folder not in versions:
            raise NoAnswer("gave no version within 20 s")
        return f"{versions[folder]} (Claude Code)"

    return ask


def test_a_setting_wins_over_path_and_wheel(tmp_path: Path) -> None:
    mine, other = program(tmp_path / "mine" / "claude"), program(tmp_path / "bin" / "claude")
    found = find(Wheel(other), setting=str(mine), path=str(other.parent), ask=says(mine="2.1.330", bin="2.1.400"))
    assert found == Found(path=str(mine), version="2.1.330", origin="setting")


def test_path_wins_over_the_wheel(tmp_path: Path) -> None:
    on_path, wheel = program(tmp_path / "bin" / "claude"), program(tmp_path / "wheel" / "claude")
    found = find(Wheel(wheel), path=str(on_path.parent), ask=says(bin="2.2.0", wheel="2.1.330"))
    assert (found.path, found.origin) == (str(on_path), "PATH")


def test_the_wheel_is_taken_when_path_has_none(tmp_path: Path) -> None:
    wheel = program(tmp_path / "wheel" / "claude")
    assert find(Wheel(wheel), path=str(tmp_path), ask=says(wheel="2.1.330")).origin == "wheel"


def test_one_that_is_too_old_is_passed_over_and_said(tmp_path: Path) -> None:
    """npm on an old Node silently installs a version of months ago, whose protections nobody measured."""
    on_path, wheel = program(tmp_path / "bin" / "claude"), program(tmp_path / "wheel" / "claude")
    found = find(Wheel(wheel), path=str(on_path.parent), ask=says(bin="2.1.197", wheel="2.1.330"))
    assert found.origin == "wheel"
    assert found.notes == (f"{on_path} is 2.1.197, older than 2.1.330",)


def test_versions_are_numbers_not_text(tmp_path: Path) -> None:
    on_path = program(tmp_path / "bin" / "claude")
    assert find(Wheel(), path=str(on_path.parent), ask=says(bin="2.1.1000")).version == "2.1.1000"
    with pytest.raises(UnsafeEnvironment, match=r"is 2\.1\.99, older than 2\.1\.330"):
        find(Wheel(), path=str(on_path.parent), ask=says(bin="2.1.99"))


def test_a_named_program_is_used_or_refused_never_replaced(tmp_path: Path) -> None:
    """Who names a program gets that one, or is told."""
    wheel = program(tmp_path / "wheel" / "claude")
    with pytest.raises(UnsafeEnvironment, match="gone/claude is not a program") as refused:
        find(Wheel(wheel), setting=str(tmp_path / "gone" / "claude"), ask=says(wheel="2.1.330"))
    assert "agent_path.claude" in refused.value.help


def test_a_script_on_path_is_passed_over(tmp_path: Path) -> None:
    """A sandbox mounts one file; a wrapper without its interpreter's files would fail inside, unseen."""
    script = program(tmp_path / "bin" / "claude", b"#!/usr/bin/env node\n")
    with pytest.raises(UnsafeEnvironment, match="is a script"):
        find(Wheel(), path=str(script.parent), ask=says(bin="2.1.330"))


def test_links_are_resolved_before_anything_is_mounted(tmp_path: Path) -> None:
    real = program(tmp_path / "real" / "claude")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "claude").symlink_to(real)
    assert find(Wheel(), path=str(tmp_path / "bin"), ask=says(real="2.1.330")).path == str(real)


def test_one_that_hangs_or_is_somebody_else_is_refused_with_each_fault(tmp_path: Path) -> None:
    hangs, other = program(tmp_path / "hangs" / "claude"), program(tmp_path / "wheel" / "claude")
    with pytest.raises(UnsafeEnvironment) as refused:
        find(Wheel(other), path=str(hangs.parent), ask=lambda p: "1.0" if "wheel" in p else says()(p))
    assert "gave no version within 20 s; " in refused.value.message
    assert "is not Claude Code" in refused.value.message
    assert refused.value.exit_status == 4


def test_nothing_at_all_names_the_two_ways_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(UnsafeEnvironment, match="it is not on PATH") as refused:
        find(Wheel(), path=str(tmp_path))
    assert "pip install 'crewcap[claude]'" in refused.value.help


def test_a_program_is_really_asked_without_our_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Finding a program must not hand it the provider's key."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-fake-key")
    script = program(tmp_path / "claude", b'#!/bin/sh\necho "2.1.330 (Claude Code) $ANTHROPIC_API_KEY"\n')
    assert ask_version(str(script)) == "2.1.330 (Claude Code) \n"


def test_a_program_that_is_asked_can_leave_nothing_in_a_home(tmp_path: Path) -> None:
    """Codex and Gemini make theirs when asked for a version; root may make a folder anywhere."""
    greedy = b'#!/bin/sh\nmkdir -p "$HOME/.agent" 2>/dev/null && echo "made $HOME"\necho "2.1.330 (Claude Code)"\n'
    assert ask_version(str(program(tmp_path / "claude", greedy))) == "2.1.330 (Claude Code)\n"


def test_a_program_that_says_nothing_is_given_up(tmp_path: Path) -> None:
    script = program(tmp_path / "claude", b"#!/bin/sh\nexec sleep 30\n")
    began = time.monotonic()
    with pytest.raises(NoAnswer, match=r"gave no version within 0\.2 s"):
        ask_version(str(script), limit_s=0.2)
    assert time.monotonic() - began < 10
    with pytest.raises(NoAnswer, match="cannot be started"):
        ask_version(str(tmp_path / "nothing"))


@pytest.mark.agent
def test_the_wheel_of_the_extra_is_found_and_new_enough() -> None:
    if ClaudeCode().bundled() is None:
        pytest.skip("the extra [claude] is not installed")
    found = find(ClaudeCode(), path=os.devnull)
    assert found.origin == "wheel"
    assert found.version >= ClaudeCode.oldest
