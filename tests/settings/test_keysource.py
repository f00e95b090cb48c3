"""A secret is read from where settings say, whole, and never said aloud."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from crewcap.errors import UnsafeEnvironment
from crewcap.settings.keysource import KeySource

SECRET = "sk-ant-fake-0123456789"


def refused(source: KeySource, environ: dict[str, str] | None = None) -> UnsafeEnvironment:
    with pytest.raises(UnsafeEnvironment) as caught:
        source.read(environ or {})
    assert caught.value.exit_status == 4
    assert SECRET not in caught.value.message + caught.value.help
    return caught.value


def file_with(tmp_path: Path, text: str, mode: int = 0o600) -> KeySource:
    path = tmp_path / "key"
    path.write_text(text)
    path.chmod(mode)
    return KeySource("file", str(path))


def test_a_variable_is_read_from_the_environment_that_is_given() -> None:
    assert KeySource("env", "SOME_KEY").read({"SOME_KEY": f"{SECRET}\n"}) == SECRET
    error = refused(KeySource("env", "SOME_KEY"))
    assert error.message == "$SOME_KEY is not set"
    assert "export SOME_KEY" in error.help


def test_a_file_is_read_when_its_owner_alone_can(tmp_path: Path) -> None:
    assert file_with(tmp_path, f"{SECRET}\n").read({}) == SECRET


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660])
def test_a_file_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    """Whoever could read it has the key by now."""
    source = file_with(tmp_path, SECRET, mode)
    error = refused(source)
    assert f"mode {mode:04o}" in error.message
    assert f"chmod 600 {source.value}" in error.help


def test_the_home_folder_is_that_of_the_environment(tmp_path: Path) -> None:
    file_with(tmp_path, SECRET)
    assert KeySource("file", "~/key").read({"HOME": str(tmp_path)}) == SECRET


def test_what_is_no_file_is_refused_without_waiting(tmp_path: Path) -> None:
    """A pipe that nobody writes to would hang the gateway's start."""
    os.mkfifo(tmp_path / "pipe", 0o600)
    assert "not a plain file" in refused(KeySource("file", str(tmp_path / "pipe"))).message
    assert "No such file" in refused(KeySource("file", str(tmp_path / "nothing"))).message


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a file that is somebody else's")
def test_a_file_of_somebody_else_is_refused(tmp_path: Path) -> None:
    source = file_with(tmp_path, SECRET)
    os.chown(str(source.value), 12345, 12345)
    assert "belongs to somebody else (uid 12345)" in refused(source).message


@pytest.mark.parametrize(("text", "said"), [("", "is empty"), (" \n", "is empty"), ("a b", "one word"), ("é", "one")])
def test_what_cannot_be_a_key_is_refused(tmp_path: Path, text: str, said: str) -> None:
    assert said in refused(file_with(tmp_path, text)).message


def command(code: str) -> KeySource:
    return KeySource("command", (sys.executable, "-c", code))


def test_a_command_prints_it_on_its_first_line() -> None:
    assert command(f"print('{SECRET}'); print('user: ana')").read(dict(os.environ)) == SECRET


def test_a_command_gets_no_input_and_no_shell() -> None:
    assert command("import sys; print(repr(sys.stdin.read()))").read(dict(os.environ)) == "''"
    assert KeySource("command", ("printf", "%s", "$HOME;id")).read(dict(os.environ)) == "$HOME;id"


def test_a_command_that_fails_says_nothing_of_what_it_printed() -> None:
    assert "ended with status 3" in refused(command(f"print('{SECRET}'); exit(3)"), dict(os.environ)).message
    assert "is not installed" in refused(KeySource("command", ("no-such-program-of-ours",)), dict(os.environ)).message


def test_a_source_is_written_as_in_the_file() -> None:
    assert KeySource("env", "A").written() == '{ env = "A" }'
    assert KeySource("command", ("pass", "show", "a")).written() == '{ command = ["pass", "show", "a"] }'
    assert str(KeySource("command", ("pass", "show", "a"))) == "command `pass`"
