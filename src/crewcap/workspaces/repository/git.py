"""The only module of the product that runs git on the host: one safe way to call it.

The theory. A folder that an agent could write is poison to git on the host: its configuration, hooks, filters and
drivers are commands (facts: 25 of 30 tried actions ran one, and no finite list of flags closes them all). So the host
runs git in three kinds of places only, none of which an agent can ever write:

- the user's own repository, to read from it and to place one branch there, with hooks off (`handover.py`);
- a trusted bare *mirror* of it, one a repository, in the state directory (`mirrors.py`);
- a throw-away repository of the moment, into which a run's bundle is unpacked (`intake.py`).

What git must do to an agent's own clone it does inside the sandbox (`harvest.py`).

Every call here is an argument list: no shell, no system or global configuration, no hook, no prompt, one allowed
protocol, a time limit. Everything blocks: call it off the event loop.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from crewcap.errors import UnsafeEnvironment

QUICK_S, LONG_S = 60.0, 1_800.0
_NOWHERE = Path("/")  # no call depends on where crewcap was started
FETCH = (
    *("fetch", "--no-tags", "--no-prune", "--no-write-fetch-head", "--no-auto-maintenance"),
    "--no-recurse-submodules",
)
_OLDEST = (2, 34)  # the first that signs with SSH keys and adds files outside of a sparse checkout
_SETTINGS = (
    *("core.hooksPath=/dev/null", "core.fsmonitor=false", "core.pager=cat", "core.editor=true", "sequence.editor=true"),
    *("core.attributesFile=/dev/null", "core.excludesFile=/dev/null", "core.alternateRefsCommand=", "core.askPass="),
    *("diff.external=", "submodule.recurse=false", "fetch.recurseSubmodules=false", "fetch.writeCommitGraph=false"),
    *("credential.helper=", "commit.gpgSign=false", "tag.gpgSign=false", "gpg.program=false"),
    *("protocol.ext.allow=never", "gc.auto=0", "maintenance.auto=false", "uploadpack.packObjectsHook="),
)
_FLAGS = tuple(word for setting in _SETTINGS for word in ("-c", setting))
_ALWAYS: Mapping[str, str] = {
    "HOME": "/nonexistent",
    "LC_ALL": "C",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_SYSTEM": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_LFS_SKIP_SMUDGE": "1",
    "GIT_SSH_COMMAND": "ssh -o BatchMode=yes",
}
_PASSED_ON = ("PATH", "SUDO_UID")
_PASSED_TO_NETWORK = (
    *("HOME", "SSH_AUTH_SOCK", "SSL_CERT_FILE", "SSL_CERT_DIR", "GIT_SSL_CAINFO"),
    *("https_proxy", "HTTPS_PROXY", "http_proxy", "no_proxy", "NO_PROXY", "all_proxy", "ALL_PROXY"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a call ended."""

    status: int
    stdout: bytes
    stderr: bytes

    @property
    def text(self) -> str:
        """What it wrote, as text."""
        return self.stdout.decode("utf-8", "surrogateescape").strip()

    @property
    def complaint(self) -> str:
        """Its own words for what went wrong, on one line."""
        lines = [line for line in self.stderr.decode("utf-8", "replace").splitlines() if line.strip()]
        blame = [line for line in lines if line.startswith(("fatal:", "error:"))]
        words = (blame or lines or [f"git ended with status {self.status}"])[0]
        return "".join(char for char in words if char.isprintable()).removeprefix("fatal: ")


class GitFailed(UnsafeEnvironment):
    """A git command that has to work did not."""


class Git:
    """Calls git with what it may know of this process's environment, which is very little."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def run(
        self,
        *arguments: str,
        fails: bool = False,
        protocol: str = "file",
        limit_s: float = QUICK_S,
        environ: Mapping[str, str] | None = None,
        stdin: bytes = b"",
        cwd: Path = _NOWHERE,
    ) -> Ended:
        """One git command. `fails` = a status other than 0 is an answer, not an error."""
        command = [self._program, *_FLAGS, *arguments]
        variables = {**self._variables(protocol), **(environ or {})}
        ended = _call(command, variables, limit_s, stdin=stdin, cwd=cwd)
        if ended.status != 0 and not fails:
            raise GitFailed(f"git {_verb(arguments)}: {ended.complaint}")
        return ended

    def inside(
        self, repository: Path, *arguments: str, fails: bool = False, limit_s: float = QUICK_S, stdin: bytes = b""
    ) -> Ended:
        """One git command in a bare repository of ours."""
        return self.run(f"--git-dir={repository}", *arguments, fails=fails, limit_s=limit_s, stdin=stdin)

    def count(self, repository: Path, *arguments: str, of: bytes, most_bytes: int) -> int | None:
        """How often something stands in an output that is not kept; None = the output is longer than that.

        A tree of a few kilobytes may unfold to more paths than fit in any memory, so it is only ever read in pieces.
        """
        command = [self._program, *_FLAGS, f"--git-dir={repository}", *arguments]
        found = seen = 0
        with _started(command, self._variables("file"), subprocess.DEVNULL, _NOWHERE) as process:
            until = time.monotonic() + LONG_S
            while chunk := process.stdout.read(1 << 16):  # type: ignore[union-attr]  # it is a pipe
                found, seen = found + chunk.count(of), seen + len(chunk)
                if seen > most_bytes or time.monotonic() > until:
                    os.killpg(process.pid, signal.SIGKILL)
                    return None
        if process.returncode != 0:
            raise GitFailed(f"git {_verb(arguments)} failed")
        return found

    @functools.cached_property
    def _program(self) -> str:
        """Where git is, once its version was seen to be new enough."""
        program = shutil.which("git", path=self._environ.get("PATH", os.defpath))
        if program is None:
            raise UnsafeEnvironment("git is not installed", help="install it, for example: apt install git")
        said = _call([program, "--version"], {**_ALWAYS}, QUICK_S).text
        version = tuple(int(number) for number in re.findall(r"\d+", said)[:2])
        if version < _OLDEST:
            raise UnsafeEnvironment(f"{said} is too old", help=f"git {_OLDEST[0]}.{_OLDEST[1]} or newer is needed")
        return program

    def _variables(self, protocol: str) -> dict[str, str]:
        passed = _PASSED_ON if protocol == "file" else (*_PASSED_ON, *_PASSED_TO_NETWORK)
        kept = {name: self._environ[name] for name in passed if name in self._environ}
        return {**_ALWAYS, **kept, "GIT_ALLOW_PROTOCOL": protocol}


def _call(
    command: list[str], environ: Mapping[str, str], limit_s: float, *, stdin: bytes = b"", cwd: Path = _NOWHERE
) -> Ended:
    """Run it in a group of its own, so that what it started ends with it when its time is up."""
    with _started(command, environ, subprocess.PIPE if stdin else subprocess.DEVNULL, cwd) as process:
        try:
            stdout, stderr = process.communicate(stdin or None, timeout=limit_s)
        except BaseException as error:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            if isinstance(error, subprocess.TimeoutExpired):
                raise GitFailed(f"git {_verb(command[1:])} took longer than {limit_s:.0f} s and was ended") from None
            raise
    return Ended(status=process.returncode, stdout=stdout, stderr=stderr)


def _started(command: list[str], environ: Mapping[str, str], stdin: int, cwd: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603  (an argument list, and never a shell)
        command,
        env=dict(environ),
        cwd=cwd,
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def _verb(arguments: tuple[str, ...] | list[str]) -> str:
    """The word of a command line that says what it does."""
    words = iter(arguments)
    for word in words:
        if word in {"-c", "-C"}:
            next(words, None)
        elif not word.startswith("-"):
            return word
    return "--version"
