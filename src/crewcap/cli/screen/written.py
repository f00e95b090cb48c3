"""Files that commands write for people: whole or not at all, and a plain word where that cannot be."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from crewcap.errors import UsageError


@contextmanager
def writing(file: str) -> Iterator[TextIO]:
    """A file that is there when it is whole; a pipe or a device is written as it comes."""
    path = Path(file)
    if path.is_dir():
        raise UsageError(f"{file} is a folder", help="name a file in it")
    is_plain = path.is_file() or not path.exists()
    part = path.with_name(f".{path.name[:200]}.{os.getpid()}.part") if is_plain else path
    try:
        with part.open("w", encoding="utf-8", newline="") as stream:
            yield stream
        if is_plain:
            part.replace(path)
    except BrokenPipeError:
        raise
    except OSError as error:
        why = (error.strerror or str(error)).casefold()
        raise UsageError(f"{file} cannot be written: {why}", help="name another file, in a folder of yours") from error
    finally:
        if is_plain:
            part.unlink(missing_ok=True)
