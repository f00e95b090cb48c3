"""Bringing an index up to date with the transcripts on this machine.

What is unchanged since it was read (inode, size, time of the last change) is not opened. What has grown is read from
where its last full line ended; what was replaced, has shrunk or was written anew is read whole. Reading twice changes
nothing, so every doubt is answered by reading again. A file that was read as another agent's than it is was not read at
all: the index forgets it with what it told, and it is read from its beginning.
"""

from __future__ import annotations

import gc
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import msgspec

from crewcap.core.transcripts import Mark, Told
from crewcap.transcripts import Block, Reader, Sink, State
from crewcap.transcripts.repositories import Repositories
from crewcap.transcripts.tail import Buffer, Changed, Place, Tail
from crewcap.transcripts.walk import Found, Walk

_MOST_MESSAGES = 40_000  # held before they are written
_MOST_FILES = 5_000
_LINE = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:\{|\Z)")  # a byte order mark is no one's fault
_NOTHING = Block(bytearray(), 0, 0)
_BEGIN = Place()
TORN_END = "torn at its end: a last line that is not counted before it is whole"
NO_LINES = "no lines of JSON: a file that is called like a transcript and is none"


class Index(Protocol):
    """Where what was read is kept."""

    def marks(self) -> dict[str, Mark]:
        """Every file that was read, by its path."""
        ...

    def put(
        self,
        read: Iterable[tuple[Mark, Iterable[Told]]],
        *,
        repo_of: Callable[[str], str],
        nano_of: Callable[[Told], int | None],
    ) -> tuple[int, ...]:
        """Remember files and what each of them told, together or not at all; the files' numbers."""
        ...

    def forget(self, marks: Iterable[Mark]) -> None:
        """Files that were read as another agent's, with what they told; who told it as well will be read again."""
        ...


@dataclass(slots=True, kw_only=True)
class Progress:
    """How far an import is; handed to whoever shows it."""

    files: int = 0  # to be read
    bytes: int = 0
    files_done: int = 0
    bytes_done: int = 0


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What one import found."""

    marks: dict[str, Mark] = field(default_factory=dict)  # of every transcript that lies there now
    read: int = 0  # files that were opened
    bytes_read: int = 0
    left: int = 0  # files that have changed and were not read yet
    problems: Counter[str] = field(default_factory=Counter)  # folders and files that could not be read, by reason

    @property
    def skipped(self) -> Counter[str]:
        """Everything that was not counted, or is in doubt, by reason; of files that were read earlier, too."""
        found = Counter(self.problems)
        for mark in self.marks.values():
            if mark.problems:
                found.update(mark.problems)
        return found


@dataclass(slots=True, kw_only=True)
class Importer:
    """Reads what is new below some folders into an index."""

    index: Index
    readers: Sequence[Reader]
    nano_of: Callable[[Told], int | None]
    repositories: Repositories = field(default_factory=Repositories)
    show: Callable[[Progress], None] = lambda _: None
    _buffer: Buffer = field(default_factory=Buffer)

    def run(
        self, roots: Iterable[Path], *, changed_since_ms: int | None = None, most_bytes: int | None = None
    ) -> Outcome:
        """Everything that has changed; not what changed before a moment, and no more than so many bytes."""
        walk = Walk(self.readers)
        here = list(walk.files(roots))
        known = self._known(here)
        outcome = Outcome()
        news: list[Found] = []
        for found in here:
            mark = known.get(found.path)
            if mark is not None and _is_same(mark, found):
                outcome.marks[found.path] = mark
            elif changed_since_ms is None or found.mtime_ns // 1_000_000 >= changed_since_ms:
                news.append(found)
        with without_gc():
            self._read_all(news, known, outcome, most_bytes)
        outcome.problems += walk.problems
        return outcome

    def _known(self, here: Iterable[Found]) -> dict[str, Mark]:
        """What was read earlier, by the reader whose it is."""
        known = self.index.marks()
        mistaken = [
            mark for found in here if (mark := known.get(found.path)) is not None and mark.agent != found.reader.agent
        ]
        if not mistaken:
            return known
        self.index.forget(mistaken)
        return self.index.marks()

    def _read_all(self, news: list[Found], known: dict[str, Mark], outcome: Outcome, most_bytes: int | None) -> None:
        """Oldest first, because a fork is younger than what it was forked from; written in portions."""
        news.sort(key=lambda found: (found.mtime_ns, found.path))
        progress = Progress(files=len(news), bytes=sum(found.size for found in news))
        batch = _Batch()
        for found in news:
            if most_bytes is not None and outcome.bytes_read >= most_bytes:
                break
            mark = self._read(found, known.get(found.path), batch, outcome)
            progress.files_done, progress.bytes_done = progress.files_done + 1, progress.bytes_done + found.size
            self.show(progress)
            outcome.read += mark is not None
            if batch.is_full():
                self._write(batch, outcome)
                batch = _Batch()
        self._write(batch, outcome)
        outcome.left = progress.files - progress.files_done

    def _write(self, batch: _Batch, outcome: Outcome) -> None:
        if batch.read:
            ids = self.index.put(batch.by_file(), repo_of=self.repositories.of, nano_of=self.nano_of)
            for id_, (mark, _) in zip(ids, batch.read, strict=True):
                outcome.marks[mark.path] = mark._replace(id=id_)

    def _read(self, found: Found, before: Mark | None, batch: _Batch, outcome: Outcome) -> Mark | None:
        try:
            return self._read_file(found, before, batch, outcome)
        except Changed:
            return self._read(found, None, batch, outcome)
        except OSError as error:
            outcome.problems[f"a file that cannot be read: {error.strerror or error}"] += 1
            return None

    def _read_file(self, found: Found, before: Mark | None, batch: _Batch, outcome: Outcome) -> Mark:
        manner = found.reader.manner(found.path)
        start = before if before is not None and _is_of(before, found) and manner != "whole" else None
        sink, state = Sink(), _state_of(found, start)
        if start is not None and start.problems:
            sink.problems.update({why: number for why, number in start.problems.items() if why != TORN_END})
        place = _BEGIN
        if manner == "itself":
            found.reader.read(_NOTHING, state, sink)
        else:
            tail = Tail(found.path, self._buffer, Place(start.offset, start.check) if start is not None else _BEGIN)
            try:
                state = self._take(tail, found, state, sink)
                place = tail.place() if manner == "lines" else place
            finally:
                tail.close()
            outcome.bytes_read += max(0, tail.size - (start.offset if start is not None else 0))
        mark = _mark_of(found, place, state, sink)
        batch.add(mark, sink)
        return mark

    @staticmethod
    def _take(tail: Tail, found: Found, state: State, sink: Sink) -> State:
        """Hand the file over; of a last line without an end only that is kept, because it will be read again."""
        has_lines = found.reader.manner(found.path) == "lines"
        is_first = has_lines and not tail.goes_on
        for block in tail.blocks() if has_lines else tail.whole():
            if is_first and not _LINE.match(block.buffer, block.start, block.end):
                sink.problems[NO_LINES] = 1
            is_first = False
            before = (dict(state), Counter(sink.problems)) if tail.is_torn else None
            found.reader.read(block, state, sink)
            if before is not None:
                state, sink.problems = before
                if NO_LINES not in sink.problems and not _is_whole(block):
                    sink.problems[TORN_END] = 1
        if tail.problem:
            sink.problems[tail.problem] += 1
        return state


def _is_whole(block: Block) -> bool:
    """Whether a last line without an end is all there, or nothing at all."""
    line = bytes(block.buffer[block.start : block.end]).strip()
    try:
        return not line or bool(msgspec.json.decode(line, type=msgspec.Raw))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False


@contextmanager
def without_gc() -> Iterator[None]:
    """Among hundreds of thousands of tuples of text and numbers, looking for cycles is time wasted."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


class _Batch:
    """Files that were read and not yet written; a message that several of them tell of is one, of the first."""

    def __init__(self) -> None:
        self.read: list[tuple[Mark, Sink]] = []
        self._of: dict[str, Sink] = {}  # the file that told of a message first

    def add(self, mark: Mark, sink: Sink) -> None:
        """A file is read."""
        of = self._of
        again = sink.told.keys() & of.keys()
        for key in again:
            of[key].add(sink.told.pop(key))
        of.update(dict.fromkeys(sink.told, sink))
        self.read.append((mark, sink))

    def is_full(self) -> bool:
        """Whether it is time to write."""
        return len(self._of) >= _MOST_MESSAGES or len(self.read) >= _MOST_FILES

    def by_file(self) -> Iterator[tuple[Mark, Iterable[Told]]]:
        """Each file with what it told."""
        return ((mark, sink.told.values()) for mark, sink in self.read)


def _state_of(found: Found, before: Mark | None) -> State:
    """What a reader left with a file, and what it may ask about the file itself."""
    about: State = {"path": found.path, "mtime_ms": found.mtime_ns // 1_000_000}
    return {**before.state, **about} if before is not None else about


def _mark_of(found: Found, place: Place, state: State, sink: Sink) -> Mark:
    told = {name: value for name, value in state.items() if name not in {"path", "mtime_ms"}}
    about = (found.path, found.reader.agent, found.device, found.inode, found.size, found.mtime_ns)
    return Mark(*about, place.offset, place.check, told, dict(sink.problems))


def _is_same(mark: Mark, found: Found) -> bool:
    same = mark.size == found.size and mark.mtime_ns == found.mtime_ns
    return same and mark.inode == _signed(found.inode)


def _is_of(mark: Mark, found: Found) -> bool:
    """Whether it is the same file, as far as its name in the file system tells."""
    return (mark.device, mark.inode) == (_signed(found.device), _signed(found.inode))


def _signed(number: int) -> int:
    return number if number < 2**63 else number - 2**64


def read_here(readers: Sequence[Reader], roots: Iterable[Path]) -> tuple[Told, ...]:
    """Everything that is told below some folders, each message once, without an index."""
    memory = _Memory()
    Importer(index=memory, readers=readers, nano_of=lambda _: None).run(roots)
    return tuple(memory.sink.told.values())


class _Memory:
    """An index that forgets."""

    def __init__(self) -> None:
        self.sink = Sink()

    @staticmethod
    def marks() -> dict[str, Mark]:
        """Nothing was read before."""
        return {}

    def put(
        self,
        read: Iterable[tuple[Mark, Iterable[Told]]],
        *,
        repo_of: Callable[[str], str],
        nano_of: Callable[[Told], int | None],
    ) -> tuple[int, ...]:
        """Only the messages."""
        del repo_of, nano_of
        files = 0
        for _, messages in read:
            files += 1
            for told in messages:
                self.sink.add(told)
        return tuple(range(files))

    @staticmethod
    def forget(marks: Iterable[Mark]) -> None:
        """Nothing was read before."""
        del marks


def places(readers: Iterable[Reader], environ: Mapping[str, str]) -> tuple[Path, ...]:
    """Every folder in which these agents keep transcripts, that is there."""
    return tuple(folder for each in readers for folder in each.places(environ) if Path(folder).is_dir())
