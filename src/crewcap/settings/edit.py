"""Changing one value of a settings file, with everything else as its owner wrote it: comments, order, spaces.

The edit is one line of text. It is checked before anything is written: the text that comes out must mean what the old
one meant, but for that one value. Where a file is written in a way that one line cannot change, nothing is changed.
"""

from __future__ import annotations

import os
import re
import stat
import tempfile
import tomllib
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from crewcap.errors import SettingsError, UnsafeEnvironment
from crewcap.settings.locate import dotted, lines

_ASSIGNED = re.compile(r"(?P<before>\s*[\w.\"'-]+\s*=\s*)(?P<value>[^#\n]*?)(?P<after>\s*(?:#.*)?)\Z")


def with_value(text: str, table: str, key: str, literal: str) -> str:
    """The text with `key = literal` in `[table]`, changed or added; `SettingsError` where that is not one line."""
    new = _changed(text, table, key, literal)
    try:
        before, after = _values(text), _values(new)
    except tomllib.TOMLDecodeError:
        after, before = {}, {"": None}
    wanted = {**before, table: {**before.get(table, {}), key: _values(f"v = {literal}")["v"]}}
    if after != wanted:
        raise SettingsError(
            f"{dotted((table, key))} stands in this file in a way that cannot be changed for you",
            help=f"write {key} = {literal} under [{table}] yourself",
        )
    return new


def write_over(path: Path, text: str) -> None:
    """Replace a file in one step, with the mode that it had; a new one is its owner's alone."""
    target = path.resolve()
    mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else 0o600
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(mode)
        Path(name).replace(target)
    except OSError as error:
        raise UnsafeEnvironment(
            f"{path} cannot be written: {error.strerror}", help="name another settings file with --config FILE"
        ) from None


def _changed(text: str, table: str, key: str, literal: str) -> str:
    rows = text.split("\n")
    places = lines(text)
    if (line := places.get((table, key))) is not None:
        match = _ASSIGNED.match(rows[line - 1])
        if match is not None:
            rows[line - 1] = f"{match['before']}{literal}{match['after']}"
        return "\n".join(rows)
    if (table,) in places and rows[places[table,] - 1].strip().startswith(f"[{table}]"):
        rows.insert(places[table,], f"{key} = {literal}")
        return "\n".join(rows)
    gap = "" if not text.strip() else "\n" if text.endswith("\n") else "\n\n"
    return f"{text}{gap}[{table}]\n{key} = {literal}\n"


def _values(text: str) -> Mapping[str, Any]:
    return tomllib.loads(text, parse_float=Decimal)
