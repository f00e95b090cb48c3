"""Issues that are files: `issues/fix-login.md`, read as they stand, reported on in place and answered there.

The report stands between `<!-- crewcap:RUN -->` and `<!-- /crewcap:RUN -->` at the end of the file and is replaced
there. Everything else in the file is its author's: it is kept byte for byte, line ends too. A report is written to a
copy that takes the file's place at once, and only if the file is still the one that was read; somebody who saves in
between wins, and the report is put into what they wrote.

Lines that begin with `@crewcap`, anywhere outside of a report, are for us and no part of the issue. Whoever may write
the file is taken for the one who runs crewcap.
"""

from __future__ import annotations

import difflib
import os
import pwd
import re
import stat
import tempfile
from collections.abc import Sized
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from crewcap.core.harmless import one_line
from crewcap.core.runs import Issue
from crewcap.errors import UnsafeEnvironment, UsageError
from crewcap.trackers import Mention, Seen, frontmatter
from crewcap.trackers.issue_text import LARGEST_BYTES, LONGEST_TITLE, decode, slug, title_of, visible
from crewcap.trackers.mentions import apart, numbered

OWNER = "owner"  # what a file's writer may do
TEXT_ENDINGS = (".md", ".markdown", ".mdown", ".txt")
_ATTEMPTS = 20
_MOST_BYTES = 16 * LARGEST_BYTES  # with all its reports
_MARK = re.compile(rb"<!-- (?P<end>/?)crewcap:(?P<run>[^\s>]{1,200}) -->(?P<eol>[ \t]*(?:\r?\n|\Z))?")


class Files:
    """The tracker of files. `folder` is what a relative path starts from."""

    name = "files"
    hears = True

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, reference: str) -> Issue:
        """The issue in a file, without what its readers do not see, without our reports and without words for us."""
        path = (self._folder / Path(reference).expanduser()).absolute()
        where = one_line(reference, limit=120)
        return _parsed(path, _read(path, where=where), where=where)[0]

    def stamp(self, issue: Issue) -> str:
        """Which file it is, how long, and when it was last changed; empty when it is gone."""
        try:
            return "-".join(map(str, _version(Path(issue.source).stat())))
        except OSError:
            return ""

    def look(self, issue: Issue) -> Seen | None:
        """The file as it is now; None while it is gone, empty or otherwise no issue."""
        path = Path(issue.source)
        try:
            status = path.stat()
            return seen(path, _read(path, where=issue.source), status)
        except (UsageError, OSError):
            return None

    def report(self, issue: Issue, *, run: str, text: str) -> None:
        """Put this run's report where its last one stood, else at the end of the file."""
        path = Path(os.path.realpath(issue.source))
        try:
            for _ in range(_ATTEMPTS):
                if _replace(path, run=run, text=text):
                    return
        except FileNotFoundError:
            raise UsageError(f"{issue.source} is gone; the report of {run} was not written", help=_ELSEWHERE) from None
        except OSError as error:
            raise UnsafeEnvironment(
                f"the report of {run} could not be written to {issue.source}: {error.strerror}", help=_ELSEWHERE
            ) from None
        raise UnsafeEnvironment(f"{issue.source} changes faster than it can be written", help=_ELSEWHERE)


_ELSEWHERE = "crewcap show has the same words"


def seen(path: Path, raw: bytes, status: os.stat_result | None = None) -> Seen:
    """What a file of this content would tell."""
    issue, said = _parsed(path, raw, where=str(path))
    owner = _login(status.st_uid) if status else ""
    changed_at = datetime.fromtimestamp(status.st_mtime, UTC) if status else None
    mentions = tuple(Mention(id=id_, text=words, author=owner, trust=OWNER) for id_, words in said)
    return Seen(issue=issue, mentions=mentions, editor=owner, trust=OWNER, changed_at=changed_at)


def _login(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _parsed(path: Path, raw: bytes, *, where: str) -> tuple[Issue, tuple[tuple[str, str], ...]]:
    """The issue, and what else the file says to us: each with its id."""
    text = decode(_without_reports(raw), where=where)
    head, rest = frontmatter.split(text, where=where)
    words = rest if rest.strip() or not head.title else head.title  # a title alone is a task
    shown, notes = visible(words, where=where)
    body, said = apart(shown)
    body = body.strip("\n").rstrip() or head.title
    if not body:
        raise UsageError(f"{where} has words for @crewcap and no task", help="say what is to be done, in a sentence")
    spoken = path.stem.replace("-", " ").replace("_", " ").strip()
    words_for_us = tuple(numbered(str(path), said))
    issue = Issue(
        tracker=Files.name,
        key=slug(path.stem, otherwise="issue"),
        title=head.title or title_of(body) or one_line(spoken, limit=LONGEST_TITLE).capitalize(),
        body=body,
        labels=head.labels,
        author=head.author,
        cap=head.cap,
        source=str(path),
        notes=(*head.notes, *notes, *_left_alone(words_for_us)),
        heard=tuple(id_ for id_, _ in words_for_us),
    )
    return issue, words_for_us


def with_report(content: bytes, *, run: str, text: str) -> bytes:
    """A file's content with a run's report in it; every byte outside the report stays."""
    end = b"\r\n" if content.count(b"\r\n") * 2 > content.count(b"\n") else b"\n"
    inner = text.strip("\n").replace("<!-- crewcap:", "&lt;!-- crewcap:").replace("<!-- /crewcap:", "&lt;!-- /crewcap:")
    lines = [f"<!-- crewcap:{run} -->", *inner.splitlines(), f"<!-- /crewcap:{run} -->", ""]
    block = end.join(line.encode() for line in lines)
    mine = [report for report in _reports(content) if report.run == run]
    if mine:
        return content[: mine[-1].start] + block + content[mine[-1].end :]
    gap = b"" if not content else end if content.endswith(b"\n") else end * 2
    return content + gap + block


@dataclass(frozen=True, slots=True)
class _Report:
    """Where one of our reports stands in a file."""

    run: str
    start: int
    end: int


def _reports(content: bytes) -> list[_Report]:
    """Our reports, in order: a first mark and the next last mark of the same run. A lone mark is its author's text."""
    found: list[_Report] = []
    open_: dict[bytes, int] = {}
    for mark in _MARK.finditer(content):
        run = mark["run"]
        if not mark["end"]:
            open_[run] = mark.start()
        elif run in open_ and (not found or open_[run] >= found[-1].end):
            found.append(_Report(run.decode("utf-8", "replace"), open_[run], mark.end()))
            open_.clear()
    return found


def _without_reports(content: bytes) -> bytes:
    """What its author wrote."""
    at, kept = 0, []
    for report in _reports(content):
        kept.append(content[at : report.start])
        at = report.end
    return b"".join((*kept, content[at:]))


def _left_alone(words_for_us: Sized) -> tuple[str, ...]:
    """What stands there for us when a run is made is for none that comes after."""
    count = len(words_for_us)
    lines, are = ("line", "it is") if count == 1 else ("lines", "they are")
    return (f"{count} {lines} for @crewcap stood there before; {are} left alone",) if count else ()


def _replace(path: Path, *, run: str, text: str) -> bool:
    """Write the report into a copy and put it in place; False when the file changed meanwhile."""
    before = path.stat()
    if not stat.S_ISREG(before.st_mode):
        raise OSError(0, "it is not a plain file")
    if not before.st_mode & 0o222 or not os.access(path, os.W_OK):
        raise PermissionError(0, "it is read-only")
    content = path.read_bytes()
    wanted = with_report(content, run=run, text=text)
    if wanted == content:
        return True
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as copy:
            copy.write(wanted)
            copy.flush()
            os.fchmod(copy.fileno(), stat.S_IMODE(before.st_mode))
            if os.geteuid() == 0:
                os.fchown(copy.fileno(), before.st_uid, before.st_gid)
            os.fsync(copy.fileno())
        if _version(path.stat()) != _version(before) or path.read_bytes() != content:
            return False
        Path(name).replace(path)
    finally:
        Path(name).unlink(missing_ok=True)
    return True


def _version(status: os.stat_result) -> tuple[int, int, int, int]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _read(path: Path, *, where: str) -> bytes:
    """A plain file's bytes; everything else that a path can be is refused by name."""
    real = Path(os.path.realpath(path))
    if path.is_symlink() and real.suffix.lower() not in TEXT_ENDINGS:
        raise UsageError(
            f"{where} is a link to {one_line(str(real))}, which does not look like an issue",
            help="name the file itself if it is one",
        )
    try:
        descriptor = os.open(real, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise UsageError(f"there is no file {where}", help=_near(path)) from None
    except OSError as error:
        raise UsageError(
            f"{where} cannot be read: {error.strerror}", help="make it readable, or pipe it in: crewcap run -"
        ) from None
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise _no_file(real, mode, where=where)
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        return file.read(_MOST_BYTES)


def _no_file(real: Path, mode: int, *, where: str) -> UsageError:
    if stat.S_ISDIR(mode):
        return UsageError(f"{where} is a folder; an issue is a file", help=_inside(real))
    return UsageError(f"{where} is not a plain file", help="to read a prompt from a pipe: crewcap run -")


def _near(path: Path) -> str:
    """The file that was probably meant."""
    try:
        names = [entry.name for entry in os.scandir(path.parent) if entry.name.lower().endswith(TEXT_ENDINGS)]
    except OSError:
        return 'write one, or give the task itself: crewcap run -p "..."'
    close = difflib.get_close_matches(path.name, names, n=1)
    return f"did you mean {close[0]}?" if close else 'write one, or give the task itself: crewcap run -p "..."'


def _inside(folder: Path) -> str:
    """An issue that the folder holds."""
    names = sorted(entry.name for entry in os.scandir(folder) if entry.name.lower().endswith(TEXT_ENDINGS))
    return f"name one, such as {names[0]}" if names else "there is no Markdown file in it"
