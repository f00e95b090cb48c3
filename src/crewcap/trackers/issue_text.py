"""What every text must be before it may be an issue, and how one is named.

An issue is UTF-8 text of less than a megabyte. What its readers cannot see (comments, hidden elements, invisible
letters) is not part of it: it is left out of what the agent is told, and said.
"""

from __future__ import annotations

import re
import unicodedata

from crewcap.core.harmless import one_line, reveal
from crewcap.errors import UsageError

LARGEST_BYTES = 1_000_000
LONGEST_TITLE = 200
LONGEST_SLUG = 40

_HEADING = re.compile(r"^ {0,3}#{1,6}[ \t]+(?P<words>\S.*)$", re.MULTILINE)


def decode(raw: bytes, *, where: str) -> str:
    """Bytes as text with plain line ends, or one line that says why they cannot be an issue."""
    if len(raw) >= LARGEST_BYTES:
        raise UsageError(
            f"{where} has {len(raw):,} bytes; an issue must have less than {LARGEST_BYTES:,}",
            help="say the task in a few lines and name the files to look at; the agent opens them itself",
        )
    try:
        text = raw.removeprefix(b"\xef\xbb\xbf").decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{where} is not UTF-8 text (byte {error.start + 1})", help="an issue is a text; save it as UTF-8"
        ) from None
    if "\0" in text:
        raise UsageError(f"{where} is a binary file", help="an issue is a text, such as issues/fix-login.md")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def visible(text: str, *, where: str) -> tuple[str, tuple[str, ...]]:
    """The text that people see, and notes on what they do not; `UsageError` when nothing is left."""
    shown = reveal(text)
    body = shown.text.strip("\n").rstrip()
    if not body.strip():
        hidden = f" but what is hidden ({', '.join(shown.notes)})" if shown.notes else ""
        raise UsageError(f"{where} is empty{hidden}", help="say what is to be done, in a sentence or more")
    return body, shown.notes


def title_of(body: str) -> str:
    """The first heading, as one line; empty where there is none."""
    match = _HEADING.search(body)
    return one_line(match["words"].rstrip("# \t"), limit=LONGEST_TITLE) if match else ""


def slug(text: str, *, otherwise: str) -> str:
    """Letters, digits and dashes, fit for a branch and for saying aloud; `otherwise` where nothing is left."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    words = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")
    return words[:LONGEST_SLUG].rstrip("-") or otherwise
