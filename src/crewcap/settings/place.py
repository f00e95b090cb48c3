"""Which settings file counts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def find(path: Path | None, environ: Mapping[str, str]) -> Path | None:
    """The file that counts: the one named, else $CREWCAP_CONFIG, else the usual one if it exists."""
    if path is None and environ.get("CREWCAP_CONFIG"):
        path = Path(environ["CREWCAP_CONFIG"]).expanduser()
    if path is not None:
        return path
    usual = usual_path(environ)
    return usual if usual.exists() else None


def usual_path(environ: Mapping[str, str]) -> Path:
    """Where settings are looked for when no file is named."""
    home = environ.get("HOME")
    return (Path(home) if home else Path("~").expanduser()) / ".config" / "crewcap" / "config.toml"
