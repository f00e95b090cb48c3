"""Where a secret comes from. Settings name the place; the secret itself is never in a file of settings.

`read` is called by the gateway's process (and by `doctor`, which forgets what it read). Its messages say where a
secret was looked for and never what was found.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from crewcap.errors import UnsafeEnvironment

COMMAND_LIMIT_S = 30
LARGEST_SECRET = 8_192

Kind = Literal["env", "file", "command"]


@dataclass(frozen=True, slots=True)
class KeySource:
    """A variable of the environment, a file that its owner alone can read, or a command that prints the secret."""

    kind: Kind
    value: str | tuple[str, ...]

    def read(self, environ: Mapping[str, str]) -> str:
        """The secret; `UnsafeEnvironment` when it is not there, not alone, or not one printable word."""
        match self.kind:
            case "env":
                found = self._from_environ(environ)
            case "file":
                found = self._from_file(environ)
            case "command":
                found = self._from_command(environ)
        secret = found.strip()
        if not secret or not secret.isascii() or not secret.isprintable() or " " in secret:
            what = "is empty" if not secret else "is not one word of printable ASCII"
            raise UnsafeEnvironment(f"the secret from {self} {what}", help="check what was stored there")
        return secret

    def path(self, environ: Mapping[str, str]) -> Path:
        """The file of a `file` source, `~` resolved by the environment that was given."""
        text = str(self.value)
        home = environ.get("HOME")
        return Path(home + text[1:]) if home and text.startswith("~/") else Path(text).expanduser()

    def written(self) -> str:
        """As it stands in a settings file."""
        if isinstance(self.value, str):
            return f'{{ {self.kind} = "{self.value}" }}'
        return f"{{ {self.kind} = [{', '.join(f'{word!r}' for word in self.value)}] }}".replace("'", '"')

    def __str__(self) -> str:
        match self.kind:
            case "env":
                return f"${self.value}"
            case "file":
                return f"file {self.value}"
            case "command":
                return f"command `{self.value[0]}`"

    def _from_environ(self, environ: Mapping[str, str]) -> str:
        name = str(self.value)
        if name not in environ:
            raise UnsafeEnvironment(f"${name} is not set", help=f"export {name}=... and start again")
        return environ[name]

    def _from_file(self, environ: Mapping[str, str]) -> str:
        path = self.path(environ)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NONBLOCK", 0))
        except OSError as error:
            raise UnsafeEnvironment(
                f"key file {path} cannot be read: {error.strerror}", help=f"store the key there, then chmod 600 {path}"
            ) from None
        with os.fdopen(descriptor, "rb") as file:
            refuse_shared_file(path, os.fstat(descriptor))
            return file.read(LARGEST_SECRET + 1)[:LARGEST_SECRET].decode("ascii", errors="replace")

    def _from_command(self, environ: Mapping[str, str]) -> str:
        argv = [self.value] if isinstance(self.value, str) else list(self.value)
        if shutil.which(argv[0], path=environ.get("PATH", os.defpath)) is None:
            raise UnsafeEnvironment(
                f"the key command `{argv[0]}` is not installed", help="install it, or name it by its full path"
            )
        try:
            done = subprocess.run(  # noqa: S603  (the user's own settings name it; no shell)
                argv,
                env=dict(environ),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=COMMAND_LIMIT_S,
                check=False,
            )
        except OSError as error:
            raise UnsafeEnvironment(
                f"the key command `{argv[0]}` cannot be started: {error.strerror}", help="run it once by hand"
            ) from None
        except subprocess.TimeoutExpired:
            raise UnsafeEnvironment(
                f"the key command `{argv[0]}` gave no answer within {COMMAND_LIMIT_S} s",
                help="run it once by hand: it may be asking for a password",
            ) from None
        if done.returncode != 0:
            raise UnsafeEnvironment(
                f"the key command `{argv[0]}` ended with status {done.returncode}", help="run it once by hand"
            )
        return done.stdout[:LARGEST_SECRET].decode("ascii", errors="replace").split("\n", 1)[0]


def refuse_shared_file(path: Path, status: os.stat_result) -> None:
    """A key file is a plain file that nobody but its owner (us, or root) may read."""
    if not stat.S_ISREG(status.st_mode):
        raise UnsafeEnvironment(f"key file {path} is not a plain file", help="name the file that holds the key")
    if status.st_uid not in {os.geteuid(), 0}:
        raise UnsafeEnvironment(
            f"key file {path} belongs to somebody else (uid {status.st_uid})",
            help=f"keep it in a file of your own: install -m 600 {path} ~/.crewcap-key",
        )
    if status.st_mode & 0o077:
        mode = stat.S_IMODE(status.st_mode)
        raise UnsafeEnvironment(
            f"key file {path} can be read by others (mode {mode:04o})", help=f"chmod 600 {path}; then change that key"
        )
