"""The Python that runs crewcap, as a sandbox may use it: the launcher needs one, and a project's tests may."""

from __future__ import annotations

import sys
from pathlib import Path

_SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"


def python() -> tuple[str, ...]:
    """Start it without any packages; a virtual environment's own would be a link out of the sandbox."""
    base = _base()
    names = (f"python{sys.version_info.major}.{sys.version_info.minor}", "python3")
    found = next((base / "bin" / name for name in names if (base / "bin" / name).exists()), Path(sys.executable))
    return (str(found.resolve()), "-I", "-S")


def beside_usr() -> tuple[Path, ...]:
    """Its folder, where /usr does not have it."""
    return () if _base().is_relative_to("/usr") else (_base(),)


def search_path() -> str:
    """$PATH inside: the system's folders, then our Python's own."""
    return ":".join([_SYSTEM_PATH, *(str(base / "bin") for base in beside_usr())])


def _base() -> Path:
    return Path(sys.base_prefix).resolve()
