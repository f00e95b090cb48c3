"""Which price table this is, known without compiling it: that takes longer than most reports."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import crewcap

if TYPE_CHECKING:
    from crewcap.app import App

_REMEMBERED = re.compile(r"([0-9a-f]{16}) ([0-9a-f]{12})\n")


def table_hash(app: App) -> str:
    """`Book.hash`. A home that has books remembers it, beside what it was made of; without that it is made anew."""
    made_of, remembered = fingerprint(app.price_overrides), app.home.price_table
    with suppress(OSError, UnicodeDecodeError):
        found = _REMEMBERED.fullmatch(remembered.read_text())
        if found is not None and found[1] == made_of:
            return found[2]
    made = app.book.hash
    if not app.is_new:
        _write(remembered, f"{made_of} {made}\n")
    return made


def fingerprint(overrides: str) -> str:
    """What tells one price table from another: the library's version, all of ours, and the user's own file, if any."""
    said = hashlib.blake2b(digest_size=8)
    for part in _parts(overrides):
        said.update(len(part).to_bytes(8, "big") + part)
    return said.hexdigest()


def _parts(overrides: str) -> Iterator[bytes]:
    package = find_spec("genai_prices")
    yield _version(Path(package.origin or "").parent if package is not None else Path()).encode()
    sources = Path(crewcap.__file__).parent
    yield (sources / "core" / "pricing.py").read_bytes()
    for path in sorted((sources / "prices").iterdir()):
        if path.suffix in {".py", ".toml"}:
            yield path.read_bytes()
    if overrides:
        yield overrides.encode()
        with suppress(OSError):  # whoever reads its prices says so
            yield Path(overrides).expanduser().read_bytes()


def _version(library: Path) -> str:
    """What is installed, by the name of the folder that tells of it: `importlib.metadata` is slower than an import."""
    told = [name for name in os.listdir(library.parent) if name.startswith(f"{library.name}-")]  # noqa: PTH208  (names)
    if len(told) == 1:
        return told[0].removeprefix(f"{library.name}-").removesuffix(".dist-info")
    from importlib import metadata  # noqa: PLC0415  (slow)

    return metadata.version("genai-prices")


def _write(path: Path, text: str) -> None:
    """As a whole or not at all; where it cannot be written, the next command makes it again."""
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        draft.write_text(text)
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
