"""The folder of a batch job: what was asked, what was planned, what happened, what was answered.

    job.json        who asked for it; made last, so a folder without it is not there
    prompts.jsonl   one prompt a line
    plan.jsonl      one item a line: what it holds at most, and which part it is sent in
    journal.jsonl   what happened, a line each, on the disk before anything rests on it
    answers.jsonl   one result a line
    progress.json   how much of each part the provider says is done; for people, nothing rests on it
    lock            held by the process that works on it

The journal is the state: reading it again gives the same state as having lived it. A line that a kill cut off is not
there.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from crewcap.core.budget import BootId, KeyId
from crewcap.core.money import Money
from crewcap.errors import UsageError
from crewcap.stores import BATCH

_PROGRESS = "progress.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What was asked for."""

    name: str
    id: str  # 16 hex digits, which no other job anywhere has
    key: KeyId
    cap: Money
    created_at: datetime
    context: str = ""  # stands before each prompt
    api: str = ""  # the path that requests are made for, where the provider has more than one
    out: str = ""  # where its results are written

    @property
    def owner(self) -> BootId:
        """Whose its holds are."""
        return BootId(f"{BATCH}{self.id}")

    def mark(self, part: int) -> str:
        """How the names of a part's items begin."""
        return f"crewcap-{self.id}-{part}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """One prompt of a job."""

    n: int
    id: str  # as its author calls it
    text: str
    model: str
    max_output: int
    system: str = ""
    source: str = ""  # the issue file that it came from
    cap: str = ""  # dollars; what its issue says that it may cost


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One item: what it may cost at most, by which it is held and settled. `refused` says why it has no hold."""

    n: int
    part: int = 0
    endpoint: str = ""  # the path that its request is made for
    provider: str = ""
    hold: str = ""
    nano: int = 0
    model: str = ""  # full id
    book: str = ""
    prompt_bound: int = 0
    output_limit: int = 0
    write: str = "none"
    geos: tuple[str, ...] = ()  # regions that it is held for
    at: str = ""  # when it was priced
    refused: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What became of one item."""

    n: int
    state: str  # succeeded, errored, canceled, expired, missing
    text: str = ""
    model: str = ""
    stop_reason: str = ""
    error: str = ""


@dataclass(slots=True, kw_only=True)
class PartState:
    """How far a part has come."""

    batch: str = ""  # the provider's name of it
    uploaded: str = ""
    posting: str = ""  # since when it may have been sent, without a word whether it was
    refused: str = ""  # why the provider took none of it
    ended: Mapping[str, Any] | None = None
    is_settled: bool = False


@dataclass(slots=True, kw_only=True)
class State:
    """What a journal says."""

    refused: dict[int, str] = field(default_factory=dict)  # items without a hold, and why
    is_held: bool = False
    is_cancelled: bool = False
    is_over: bool = False
    parts: dict[int, PartState] = field(default_factory=dict)

    def part(self, number: int) -> PartState:
        """A part, from its first event on."""
        return self.parts.setdefault(number, PartState())

    def take(self, event: Mapping[str, Any]) -> None:
        """What one more line changes."""
        match event["event"]:
            case "held":
                self.is_held = True
                self.refused |= {int(number): str(why) for number, why in event["refused"].items()}
            case "cancel":
                self.is_cancelled = True
            case "over":
                self.is_over = True
            case name:
                _take_part(self.part(int(event["part"])), name, event)


def _take_part(part: PartState, name: str, event: Mapping[str, Any]) -> None:
    match name:
        case "uploaded":
            part.uploaded = str(event["file"])
        case "posting":
            part.posting = str(event["at"])
        case "unsent":
            part.posting = ""
        case "posted":
            part.batch, part.posting = str(event["batch"]), ""
        case "refused":
            part.refused, part.posting = str(event["why"]), ""
        case "ended":
            part.ended = event
        case "settled":
            part.is_settled = True


class Folder:
    """One job on the disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: int | None = None
        self._cut: set[str] = set()
        self._writing = threading.Lock()  # parts of a job write from threads

    # --- made by whoever asks

    @classmethod
    def make(cls, path: Path, job: Job, prompts: Iterable[Prompt]) -> Folder:
        """Write a new job down, whole or not at all; `UsageError` where its name is taken."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=".new-", dir=path.parent))
        try:
            said = asdict(job) | {"cap": job.cap.exact(), "created_at": job.created_at.isoformat()}
            _write(fresh / "prompts.jsonl", (_line(asdict(prompt)) for prompt in prompts))
            _write(fresh / "job.json", [_line(said)])
            fresh.rename(path)  # onto a folder that is not empty this fails
        except OSError as error:
            shutil.rmtree(fresh, ignore_errors=True)
            if path.exists():
                raise UsageError(
                    f"there is a batch {path.name} already", help=f"crewcap batch show {path.name}, or give --name"
                ) from error
            raise
        _sync(path.parent)
        return cls(path)

    # --- read by anybody

    def job(self) -> Job:
        """What was asked for; `UsageError` where there is no such job."""
        try:
            said = json.loads((self.path / "job.json").read_text("utf-8"))
        except FileNotFoundError:
            raise UsageError(f"there is no batch {self.path.name[:80]!r}", help="crewcap batch list") from None
        created = datetime.fromisoformat(said["created_at"])
        return Job(**{**said, "key": KeyId(said["key"]), "cap": Money.usd(said["cap"]), "created_at": created})

    def prompts(self) -> tuple[Prompt, ...]:
        """Every prompt, in order."""
        return tuple(Prompt(**said) for said in self._read("prompts.jsonl"))

    def planned(self) -> tuple[Planned, ...] | None:
        """Every item; None where nothing was planned yet."""
        if not (self.path / "plan.jsonl").exists():
            return None
        return tuple(Planned(**said) for said in self._read("plan.jsonl"))

    def state(self) -> State:
        """What the journal says."""
        state = State()
        for event in self._read("journal.jsonl"):
            state.take(event)
        return state

    def answers(self) -> dict[int, Answered]:
        """What came back so far, by item; the first word counts."""
        found: dict[int, Answered] = {}
        for said in self._read("answers.jsonl"):
            found.setdefault(int(said["n"]), Answered(**said))
        return found

    def ready(self) -> int:
        """How many items the provider had done when it was last asked."""
        try:
            said = json.loads((self.path / _PROGRESS).read_text("utf-8"))
            return sum(int(done) for done, _ in said.values())
        except (OSError, ValueError, AttributeError, TypeError):
            return 0

    # --- written by the gateway that works on it

    def take(self) -> bool:
        """Be the one that works on it, until this process ends or gives it back; False where another one does."""
        lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return False
        self._lock = lock
        return True

    def give_back(self) -> None:
        """Another gateway may go on."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def plan(self, items: Iterable[Planned]) -> None:
        """Write the plan, in one step."""
        fresh = self.path / "plan.new"
        _write(fresh, (_line(asdict(item)) for item in items))
        fresh.replace(self.path / "plan.jsonl")
        _sync(self.path)

    def note(self, event: str, **said: Any) -> None:
        """One more line of the journal, on the disk when this returns."""
        self._append("journal.jsonl", [{"event": event, **said}])

    def answered(self, answers: Iterable[Answered]) -> None:
        """More results, on the disk when this returns."""
        self._append("answers.jsonl", [asdict(answer) for answer in answers])

    def tell(self, progress: Mapping[int, tuple[int, int]]) -> None:
        """Show how far its parts are: done, of."""
        with self._writing, suppress(OSError):
            fresh = self.path / f"{_PROGRESS}.new"
            fresh.write_text(json.dumps({str(part): counts for part, counts in progress.items()}), "utf-8")
            fresh.replace(self.path / _PROGRESS)

    def _append(self, name: str, values: list[Mapping[str, Any]]) -> None:
        path, flags = self.path / name, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        with self._writing, os.fdopen(os.open(path, flags, 0o600), "rb+") as file:
            if name not in self._cut:  # what a kill left without its end goes first
                _cut_torn(file.fileno())
                self._cut.add(name)
            file.write(b"".join(_line(value) for value in values))
            file.flush()
            os.fsync(file.fileno())

    def _read(self, name: str) -> Iterator[dict[str, Any]]:
        try:
            content = (self.path / name).read_bytes()
        except FileNotFoundError:
            return
        for line in content.split(b"\n")[:-1]:  # what has no end is not there
            yield json.loads(line)


def folders(batches: Path) -> Iterator[Folder]:
    """Every job of a home."""
    try:
        names = sorted(entry.name for entry in os.scandir(batches) if not entry.name.startswith("."))
    except (FileNotFoundError, NotADirectoryError):
        return
    yield from (Folder(batches / name) for name in names if (batches / name / "job.json").exists())


def _line(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=True, separators=(",", ":")).encode() + b"\n"


def _write(path: Path, lines: Iterable[bytes]) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
        file.writelines(lines)
        file.flush()
        os.fsync(file.fileno())


def _cut_torn(descriptor: int) -> None:
    size = os.fstat(descriptor).st_size
    keep, end = 0, size
    while end:
        begin = max(0, end - 65_536)
        newline = os.pread(descriptor, end - begin, begin).rfind(b"\n")
        if newline >= 0:
            keep = begin + newline + 1
            break
        end = begin
    if keep < size:
        os.ftruncate(descriptor, keep)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
