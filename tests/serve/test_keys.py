"""Keys for a gateway that is started again."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from crewcap.serve.keys import SealedKeys

KEYS = {"ANTHROPIC_API_KEY": "sk-ant-fake-1", "OPENAI_API_KEY": "sk-fake-2" * 500}


def handed(keys: SealedKeys) -> object:
    read, write = os.pipe()
    keys.hand_over(write)
    os.close(write)
    with os.fdopen(read, "rb") as file:
        return json.loads(file.read())


def test_every_gateway_gets_the_same_line() -> None:
    keys = SealedKeys(KEYS)
    assert handed(keys) == handed(keys) == {"environ": KEYS}


def test_nothing_shows_them_or_changes_them_or_hands_them_on() -> None:
    keys = SealedKeys(KEYS)
    assert "fake" not in repr(keys)
    assert not os.get_inheritable(keys._file)
    for change in (lambda: os.pwrite(keys._file, b"x", 0), lambda: os.ftruncate(keys._file, 0)):
        with pytest.raises(PermissionError) as error:
            change()
        assert error.value.errno == errno.EPERM


def test_they_lie_in_memory_alone() -> None:
    keys = SealedKeys(KEYS)
    assert "memfd:" in str(Path(f"/proc/self/fd/{keys._file}").readlink())


def test_a_reader_that_is_gone_is_told() -> None:
    read, write = os.pipe()
    os.close(read)
    with pytest.raises(BrokenPipeError):
        SealedKeys(KEYS).hand_over(write)
    os.close(write)
