"""What a program needs beside its one file to start inside: an agent that is a script, its package, its interpreter.

A program that npm, pipx or uv installed is a script: a few lines in a package, started by an interpreter that its
first line names. Copied alone it finds neither. So its package is shown, and its interpreter, each at its own path,
and the program is started where it lies.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from crewcap.workspaces import Fittings, Mount
from crewcap.workspaces.project.shown import shown

_LONGEST_LINE = 512


def find_needs(executable: Path, *, environ: Mapping[str, str]) -> Fittings:
    """Nothing for a program that is complete in one file; a script is to be started at its own path. It blocks."""
    real = executable.resolve()
    words = _interpreter(real)
    if not words:
        return Fittings()
    interpreter = _found(words, beside=_near(executable, real), environ=environ)
    if interpreter is None:
        return Fittings(said=(f"{real.name} needs {words[-1]}, which is not on this machine",))
    mounts = dict.fromkeys((*_package(real), *_runtime(interpreter)))
    folders = () if interpreter.is_relative_to("/usr") else (str(interpreter.parent),)
    return Fittings(mounts=tuple(mounts), path=folders)


def _interpreter(program: Path) -> list[str]:
    """The words of its first line, without `env` and its options; none = it is no script."""
    try:
        with program.open("rb") as file:
            line = file.read(_LONGEST_LINE).partition(b"\n")[0]
    except OSError:
        return []
    if not line.startswith(b"#!"):
        return []
    words = line[2:].decode("utf-8", "surrogateescape").split()
    if words and words[0].endswith("/env"):
        return [word for word in words[1:] if not word.startswith("-") and "=" not in word][:1]
    return words[:1]


def _near(executable: Path, real: Path) -> list[Path]:
    """Where an interpreter of its own would lie: beside the program as it was named, and in the prefix of a package."""
    prefixes = [above.parent.parent for above in real.parents if above.name == "node_modules"]
    return [executable.absolute().parent, real.parent, *(prefix / "bin" for prefix in prefixes)]


def _found(words: list[str], *, beside: list[Path], environ: Mapping[str, str]) -> Path | None:
    if words[0].startswith("/"):
        return Path(words[0]) if os.access(words[0], os.X_OK) else None
    path = ":".join([*map(str, beside), environ.get("PATH", ""), "/usr/local/bin:/usr/bin:/bin"])
    found = shutil.which(words[0], path=path)
    return Path(found) if found else None


def _package(program: Path) -> Iterator[Mount]:
    """The package that a script belongs to: alone where its dependencies lie below it, else with all beside it."""
    homes = [above for above in program.parents if above.name == "node_modules"]
    if not homes or program.is_relative_to("/usr"):
        yield from shown(program) if not program.is_relative_to("/usr") else ()
        return
    outermost = homes[-1]
    if outermost.parent.name == "lib":  # installed globally, each package with its own dependencies below it
        parts = program.relative_to(outermost).parts
        yield from shown(outermost.joinpath(*parts[: 2 if parts[0].startswith("@") else 1]))
    else:
        yield from shown(outermost)


def _runtime(interpreter: Path) -> Iterator[Mount]:
    """An interpreter and what it needs to start: of a virtual environment also the Python that it was made from."""
    if interpreter.is_relative_to("/usr"):
        return
    environment = interpreter.parent.parent
    if (environment / "pyvenv.cfg").is_file():
        yield from shown(environment)
        yield from _runtime(interpreter.resolve())
    elif interpreter.resolve().name.startswith("python"):
        yield from shown(interpreter.resolve().parent.parent)
    else:
        yield Mount(source=interpreter.resolve(), target=str(interpreter))
        for library in sorted((environment / "lib").glob("libnode*")):
            yield Mount(source=library.resolve(), target=str(library))
