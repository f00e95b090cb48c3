"""Whose commits come home: every one on a branch of ours is made again, with our author and nothing else of its head.

The theory. An agent writes any name, any date and any header into its commits; a branch would carry them as if they
were somebody's. So we keep what is work (the tree, the order, the message) and write the rest ourselves. The same
commit is made again as the same one, and what was made once is written down (`remade`), so that a run that goes on
adds to its branch and does not replace it. `Signed-off-by` is somebody's word before the law: an agent's are dropped,
and the setting adds ours. Other lines, such as `Co-authored-by`, are what the agent says of its work, and stay.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from crewcap.errors import UsageError

AUTHOR, EMAIL = "crewcap", "crewcap@users.noreply.invalid"
MOST_MESSAGE = 64 << 10
_PERSON = re.compile(rb"(?P<who>.*)> (?P<when>\d{1,11} [+-]\d{4})")
_SIGNED_OFF = re.compile(r"signed-off-by\s*:", re.IGNORECASE)
_TRAILER = re.compile(r"[A-Za-z][A-Za-z0-9-]*: \S")
_NO_NAME = re.compile(r"[<>\x00-\x1f\x7f]")
_BIDI = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c")
_CUT = "\n\n[cut]"

ObjectFormat = Literal["sha1", "sha256"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Authorship:
    """What stands in our commits: the settings of `[git]`."""

    name: str = AUTHOR
    email: str = EMAIL
    sign_off: bool = False
    signing_key: str = field(default="", repr=False)  # an SSH key's file; empty = not signed

    def __post_init__(self) -> None:
        for what, text in (("author", self.name), ("email", self.email)):
            if not text.strip() or _NO_NAME.search(text):
                raise UsageError(f"[git] {what} {text!r} cannot stand in a commit", help="leave <, > and line ends out")

    @property
    def person(self) -> str:
        """As git writes it."""
        return f"{self.name} <{self.email}>"

    @property
    def environ(self) -> Mapping[str, str]:
        """For a git that makes a commit."""
        return {
            "GIT_AUTHOR_NAME": self.name,
            "GIT_AUTHOR_EMAIL": self.email,
            "GIT_COMMITTER_NAME": self.name,
            "GIT_COMMITTER_EMAIL": self.email,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """What of a commit is kept."""

    tree: str
    parents: tuple[str, ...]
    authored: str  # seconds and time zone
    committed: str
    message: str


def read_commit(content: bytes) -> Commit:
    """From an object as git stores it, which was checked when it was fetched."""
    head, _, message = content.partition(b"\n\n")
    tree, parents, dates, encoding = "", [], {b"author": "0 +0000", b"committer": "0 +0000"}, "utf-8"
    for line in head.split(b"\n"):
        key, _, value = line.partition(b" ")
        if key == b"tree":
            tree = value.decode("ascii", "replace")
        elif key == b"parent":
            parents.append(value.decode("ascii", "replace"))
        elif key in dates and (found := _PERSON.fullmatch(value)):
            dates[key] = found["when"].decode()
        elif key == b"encoding":
            encoding = value.decode("ascii", "replace")
    return Commit(
        tree=tree,
        parents=tuple(parents),
        authored=dates[b"author"],
        committed=dates[b"committer"],
        message=_text(message, encoding),
    )


def write_commit(commit: Commit, author: Authorship, *, empty: str, signature: str = "") -> bytes:
    """Its content as ours; `empty` is said where nothing is left of the message."""
    head = [f"tree {commit.tree}", *(f"parent {parent}" for parent in commit.parents)]
    head += [f"author {author.person} {commit.authored}", f"committer {author.person} {commit.committed}"]
    if signature:
        head.append("gpgsig " + "\n ".join(signature.strip().split("\n")))
    return ("\n".join(head) + "\n\n" + clean(commit.message, author, empty=empty) + "\n").encode()


def object_id(content: bytes, object_format: str) -> str:
    """What git will call a commit with this content."""
    return hashlib.new(object_format, b"commit %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def clean(message: str, author: Authorship, *, empty: str) -> str:
    """A message without what only a terminal would understand, and without anybody else's word."""
    plain = "".join(char for char in message.replace("\r\n", "\n") if _is_plain(char))
    lines = [line.rstrip() for line in plain.split("\n") if not _SIGNED_OFF.match(line)]
    text = re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip("\n") or empty
    if len(text) > MOST_MESSAGE:
        text = text[:MOST_MESSAGE].rstrip() + _CUT
    return _signed_off(text, author) if author.sign_off else text


def _signed_off(text: str, author: Authorship) -> str:
    """With our word at its end, in the same block as other such lines."""
    last = text.rpartition("\n\n")[2].split("\n")
    joined = "\n" if "\n\n" in text and all(_TRAILER.match(line) for line in last) else "\n\n"
    return f"{text}{joined}Signed-off-by: {author.person}"


def _is_plain(char: str) -> bool:
    return char in "\n\t" or (unicodedata.category(char) not in {"Cc", "Cs"} and char not in _BIDI)


def _text(message: bytes, encoding: str) -> str:
    """Whatever it was written in, as text; what cannot be read is marked."""
    try:
        return message.decode(encoding)
    except (LookupError, UnicodeDecodeError):
        return message.decode("utf-8", "replace")
