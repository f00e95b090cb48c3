"""Making a run's commits again as ours (see `authorship`): read by one git, written by another, signed one by one."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from crewcap.errors import CrewcapError, InternalError
from crewcap.workspaces.repository.authorship import Authorship, object_id, read_commit, write_commit
from crewcap.workspaces.repository.git import LONG_S, Git
from crewcap.workspaces.repository.signing import Signer

_REMADE = "remade"  # a file of the mirror: as it came, as it is now


@dataclass(frozen=True, slots=True, kw_only=True)
class Remade:
    """What became of a tip."""

    tip: str
    unsigned: str = ""  # why its commits are not signed, though they should be
    is_squashed: bool = False  # one commit of its files, because its own do not follow from where the branch was


@dataclass(frozen=True, slots=True, kw_only=True)
class Remaking:
    """In one mirror, whose lock the caller holds."""

    git: Git
    mirror: Path
    author: Authorship
    signer: Signer | None
    object_format: str
    message: str  # where a commit has none

    def remake(self, tip: str, *, base: str) -> Remade:
        """Everything between the two; a commit that was made again earlier stays what it became."""
        known = dict(self._known())
        before = len(known)
        unsigned = ""
        try:
            contents = self._contents(tip, base, known, self.signer)
        except CrewcapError as error:
            unsigned, known = error.message, dict(self._known())
            contents = self._contents(tip, base, known, None)
        self._write(contents)
        self._note(list(known.items())[before:])
        return Remade(tip=known.get(tip, tip), unsigned=unsigned)

    def _contents(self, tip: str, base: str, known: dict[str, str], signer: Signer | None) -> dict[str, bytes]:
        """Name -> content of each new commit, parents first; `known` learns what became of each."""
        contents: dict[str, bytes] = {}
        for name, raw in self._commits(tip, base):
            if name in known:
                continue
            commit = read_commit(raw)
            commit = replace(commit, parents=tuple(known.get(parent, parent) for parent in commit.parents))
            content = write_commit(commit, self.author, empty=self.message)
            if signer is not None:
                content = write_commit(commit, self.author, empty=self.message, signature=signer.sign(content))
            known[name] = object_id(content, self.object_format)
            contents[known[name]] = content
        return contents

    def _commits(self, tip: str, base: str) -> Iterator[tuple[str, bytes]]:
        order = self.git.inside(self.mirror, "rev-list", "--topo-order", "--reverse", tip, f"^{base}").text
        if not order:
            return
        asked = ("cat-file", "--batch")
        output = self.git.inside(self.mirror, *asked, stdin=f"{order}\n".encode(), limit_s=LONG_S).stdout
        at = 0
        while at < len(output):
            end = output.index(b"\n", at)
            name, _, size = output[at:end].decode("ascii").split(" ")
            yield name, output[end + 1 : end + 1 + int(size)]
            at = end + 2 + int(size)

    def _write(self, contents: Mapping[str, bytes]) -> None:
        """All of them with one git, which checks each and must come to the same names."""
        if not contents:
            return
        with tempfile.TemporaryDirectory(dir=self.mirror, prefix="remaking-") as folder:
            files = [Path(folder) / name for name in contents]
            for file, content in zip(files, contents.values(), strict=True):
                file.write_bytes(content)
            words = ("hash-object", "-t", "commit", "-w", "--stdin-paths")
            paths = "".join(f"{file}\n" for file in files).encode()
            made = self.git.inside(self.mirror, *words, stdin=paths, limit_s=LONG_S).text.split()
        if made != list(contents):
            raise InternalError("git named a commit otherwise than crewcap did; please report it")

    def _known(self) -> Iterator[tuple[str, str]]:
        place = self.mirror / _REMADE
        if place.exists():
            for line in place.read_text("ascii").splitlines():
                came, _, now = line.partition(" ")
                yield came, now

    def _note(self, pairs: list[tuple[str, str]]) -> None:
        if pairs:
            with (self.mirror / _REMADE).open("a", encoding="ascii") as file:
                file.writelines(f"{came} {now}\n" for came, now in pairs)
