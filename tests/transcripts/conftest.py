"""An index of its own for each test, and one price book for all."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from crewcap.core.transcripts import Sum, Told
from crewcap.core.usage_rows import UsageRow, whole
from crewcap.prices import Book, load
from crewcap.stores.usage.index import UsageIndex
from crewcap.transcripts import READERS, Block, Sink, State, reader
from crewcap.transcripts.importing import Importer, Outcome
from crewcap.transcripts.pricing import Pricing


@pytest.fixture(scope="session")
def book() -> Book:
    return load()


@dataclass
class Desk:
    """A folder for transcripts, and an index that is brought up to date with it."""

    folder: Path
    index: UsageIndex
    pricing: Pricing

    def write(self, name: str, text: str | bytes) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    def run(self, *roots: Path, most_bytes: int | None = None, agents: Collection[str] = tuple(READERS)) -> Outcome:
        return self.importer(agents).run(roots or (self.folder,), most_bytes=most_bytes)

    def importer(self, agents: Collection[str] = tuple(READERS)) -> Importer:
        readers = [reader(name) for name in agents]
        return Importer(index=self.index, readers=readers, nano_of=self.pricing.nano)

    def sums(self) -> tuple[Sum, ...]:
        return self.index.sums()

    def whole(self) -> UsageRow:
        return whole(self.sums())


@pytest.fixture
def desk(tmp_path: Path, book: Book) -> Iterator[Desk]:
    index = UsageIndex(tmp_path / "usage.db")
    (tmp_path / "logs").mkdir()
    yield Desk(tmp_path / "logs", index, Pricing(book))
    index.close()


def told_by(agent: str, text: str | bytes, **state: object) -> tuple[list[Told], Sink, State]:
    """What a reader makes of a file."""
    sink = Sink()
    kept: State = {"path": "/logs/session.jsonl", "mtime_ms": 1_000, **state}
    data = bytearray(text.encode() if isinstance(text, str) else text)
    reader(agent).read(Block(data, 0, len(data)), kept, sink)
    return list(sink.told.values()), sink, kept
