"""Signing commits with an SSH key, as `git commit -S` does with `gpg.format = ssh`; nothing is ever asked.

A key behind a passphrase works when it is in the ssh-agent: then the file of its public half is named.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from crewcap.errors import UnsafeEnvironment, UsageError

_LIMIT_S = 30
_ENDED = "-----BEGIN SSH SIGNATURE-----"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """One key."""

    key: Path
    environ: Mapping[str, str]

    def sign(self, content: bytes) -> str:
        """The signature of a commit, as it stands in its head."""
        command = [self._program(), "-Y", "sign", "-n", "git", "-f", str(self.key)]
        try:
            done = subprocess.run(  # noqa: S603  (an argument list; the key is the operator's own setting)
                command,
                input=content,
                env=self._variables(),
                cwd="/",
                capture_output=True,
                start_new_session=True,  # no terminal to ask a passphrase at
                timeout=_LIMIT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise UnsafeEnvironment(f"signing with {self.key} took longer than {_LIMIT_S} s", help=_HELP) from None
        said = done.stdout.decode("ascii", "replace")
        if done.returncode != 0 or _ENDED not in said:
            raise UnsafeEnvironment(f"{self.key} signs nothing: {_words(done.stderr)}", help=_HELP)
        return said

    def try_out(self) -> None:
        """Sign something, so that a key that does not is said before a run."""
        if not self.key.is_absolute():
            raise UsageError(f"[git] signing_key {str(self.key)!r} is no whole path", help='"~/.ssh/id_ed25519"')
        if not self.key.is_file():
            raise UsageError(f"[git] signing_key {self.key} does not exist", help="name an SSH key's file")
        self.sign(b"crewcap\n")

    def _program(self) -> str:
        found = shutil.which("ssh-keygen", path=self.environ.get("PATH", os.defpath))
        if found is None:
            raise UnsafeEnvironment(
                "ssh-keygen is not installed, and [git] signing_key asks for signed commits",
                help="install it, for example: apt install openssh-client",
            )
        return found

    def _variables(self) -> dict[str, str]:
        """Without a way to ask: no terminal, no display."""
        kept = {name: self.environ[name] for name in ("PATH", "HOME", "SSH_AUTH_SOCK") if name in self.environ}
        return {"LC_ALL": "C", **kept, "SSH_ASKPASS": "false", "SSH_ASKPASS_REQUIRE": "never"}


_HELP = "a key with a passphrase must be in the ssh-agent: ssh-add KEY, and name KEY.pub as signing_key"


def _words(said: bytes) -> str:
    lines = [line for line in said.decode("utf-8", "replace").splitlines() if line.strip()]
    return "".join(char for char in (lines or ["it said nothing"])[-1] if char.isprintable()).strip()
