"""Showing a folder of the user's inside, without what is secret in it.

The rule. A mount shows everything below it, later additions included, and one rung (Landlock) cannot hide a part of
what it shows. So a folder that holds a secret is never mounted itself: its other children are, one by one. Secrets are
looked for near the top, where tools keep their own files; what lies deeper belongs to packages.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from crewcap.errors import SettingsError
from crewcap.workspaces import Mount

# Below a home: no run ever sees these, nor a folder that holds one of them as a child.
_SECRET_PLACES = (
    *(".ssh", ".aws", ".azure", ".config", ".docker", ".gnupg", ".kube", ".netrc", ".npmrc", ".pypirc", ".pgpass"),
    *(
        ".git-credentials",
        ".gitconfig",
        ".my.cnf",
        ".password-store",
        ".pki",
        ".mozilla",
        ".thunderbird",
        ".vault-token",
    ),
    *(".claude", ".claude.json", ".codex", ".gemini", ".cargo/credentials", ".cargo/credentials.toml", ".terraform.d"),
    *(
        ".local/state",
        ".local/share/keyrings",
        ".bash_history",
        ".zsh_history",
        ".boto",
        ".s3cfg",
        ".oci",
        ".gem/credentials",
    ),
)
_WHOLE_PLACES = (".local", ".local/share", ".cache", ".var", "snap")  # below a home: too much of too many things
_SYSTEM_PLACES = (
    *("/", "/etc", "/var", "/proc", "/sys", "/dev", "/run", "/boot", "/home", "/root", "/mnt", "/media"),
    "/tmp",  # noqa: S108  (it is refused)
)
_INSIDE_SYSTEM = ("/etc", "/proc", "/sys", "/dev", "/run", "/boot")

_SECRET_FOLDERS = frozenset({".ssh", ".aws", ".azure", ".docker", ".gnupg", ".kube"})
_SECRET_FILES = frozenset(
    {
        "credentials",
        "credentials.toml",
        "credentials.json",
        ".netrc",
        "_netrc",
        ".git-credentials",
        ".pypirc",
        ".pgpass",
    }
    | {"id_rsa", "id_ed25519", "id_ecdsa", "id_dsa", "application_default_credentials.json", ".vault-token"}
)
_PERHAPS_SECRET = frozenset(  # these often hold one, and often do not: their contents decide
    {".npmrc", "npmrc", ".yarnrc", ".yarnrc.yml", "pip.conf", "uv.toml", "config.toml", "config.json", "settings.xml"}
    | {"gradle.properties", "nuget.config", ".condarc", "condarc", "auth.json", "auth.toml", "settings.json", ".env"}
)
_SECRET_WORDS = re.compile(rb"(?i)auth|passw|secret|token|api_?key|://[^/\s@]+@")
_LEVELS = 3
_MOST_BYTES = 1 << 18


def shown(folder: Path) -> tuple[Mount, ...]:
    """A folder or a file of this machine read-only at its own path, and where that leads over a link, there too."""
    real = folder.resolve()
    if real.is_relative_to("/usr"):
        return ()
    mounts = tuple(_without_secrets(real, _LEVELS))
    if folder == real:
        return mounts
    return (*mounts, *(_moved(mount, real, folder) for mount in mounts if not folder.is_relative_to("/usr")))


def refuse_secret(path: Path, *, user_home: Path, forbidden: Sequence[Path], said: str) -> None:
    """Raise for a folder of `tools` that shows more than a toolchain."""
    for place in {path, path.resolve()}:
        for home in {user_home, user_home.resolve()}:
            if reason := _reason(place, home, forbidden):
                raise SettingsError(f"tools: {said} {reason}", help='name a toolchain\'s own folder, like "~/.nvm"')


def _reason(path: Path, home: Path, forbidden: Sequence[Path]) -> str:
    if home.is_relative_to(path):
        return "is, or holds, your whole home, which no run may see"
    if str(path) in _SYSTEM_PLACES or any(path.is_relative_to(place) for place in _INSIDE_SYSTEM):
        return "is a part of the system that no run may see"
    if any(path.is_relative_to(home / place) for place in _SECRET_PLACES):
        return "holds credentials or private settings, which no run may see"
    if any(path == home / place for place in _WHOLE_PLACES):
        return "holds far more than a toolchain"
    for place in (each.resolve() for each in forbidden):
        if path.is_relative_to(place) or place.is_relative_to(path):
            return "is, or holds, crewcap's own state, which no run may see"
    return ""


def _without_secrets(path: Path, levels: int) -> Iterator[Mount]:
    if not _holds_secret(path, levels):
        yield Mount(source=path, target=str(path))
        return
    for child in _children(path):
        if not child.is_symlink() and not _is_secret(child):  # a link could lead to what is left out
            yield from _without_secrets(child, levels - 1)


def _holds_secret(path: Path, levels: int) -> bool:
    if levels <= 0 or path.is_symlink() or not path.is_dir():
        return _is_secret(path)
    return any(_is_secret(child) or _holds_secret(child, levels - 1) for child in _children(path))


def _is_secret(path: Path) -> bool:
    if path.name in _SECRET_FOLDERS:
        return True
    if not (path.name in _SECRET_FILES or path.name.lower() in _PERHAPS_SECRET) or not path.is_file():
        return False
    return path.name in _SECRET_FILES or _speaks_of_secrets(path)


def _speaks_of_secrets(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return bool(_SECRET_WORDS.search(file.read(_MOST_BYTES)))
    except OSError:
        return True


def _children(path: Path) -> list[Path]:
    try:
        return [Path(entry.path) for entry in sorted(os.scandir(path), key=lambda entry: entry.name)]
    except OSError:
        return []


def _moved(mount: Mount, real: Path, named: Path) -> Mount:
    return Mount(source=mount.source, target=str(named / Path(mount.target).relative_to(real)))
