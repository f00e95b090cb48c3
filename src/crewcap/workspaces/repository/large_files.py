"""Large files (Git LFS): found in a commit, fetched by us, shown inside as the files that they stand for.

A commit holds a *pointer* for each: three lines with the SHA-256 and the size of the content. The contents lie in a
trusted store beside the mirror, in git-lfs's own shape, and are read-only inside. Git's two filters are ours: a few
lines of shell, because git-lfs need not be there. On the way out a pointer becomes its content; on the way in a
content becomes a pointer and is kept in `.git/lfs/objects` of the workspace, from where `bring_home` fetches it. A
pointer whose content nobody has stays a pointer, and is no change.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass

POINTER = "version https://git-lfs.github.com/spec/v1"
MOST_POINTER_BYTES = 1_024
ATTRIBUTE = re.compile(rb"\bfilter=lfs\b")
_SHAPE = re.compile(
    rb"version https://git-lfs\.github\.com/spec/v1\n(?:ext-[^\n]*\n)*oid sha256:(?P<oid>[0-9a-f]{64})\n"
    rb"size (?P<size>\d{1,18})\n"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LargeFile:
    """What a pointer points to."""

    oid: str
    size: int

    @property
    def place(self) -> str:
        """Where a store has it."""
        return f"{self.oid[:2]}/{self.oid[2:4]}/{self.oid}"


def read_pointer(content: bytes) -> LargeFile | None:
    """What this file stands for; None = it is an ordinary one."""
    found = _SHAPE.fullmatch(content) if len(content) <= MOST_POINTER_BYTES else None
    return LargeFile(oid=found["oid"].decode(), size=int(found["size"])) if found else None


_TAKE = 't=$(mktemp) || exit 1; trap \'rm -f "$t"\' EXIT; cat >"$t" || exit 1'
_READ = (
    f'o=$(head -c {MOST_POINTER_BYTES} "$t" | '
    'sed -n "1{/^version https:..git-lfs/!q}; s/^oid sha256:\\([0-9a-f]\\{64\\}\\)$/\\1/p")'
)
_OWN = 'd="$(git rev-parse --git-common-dir)/lfs/objects"'
_PLACE = '$(printf %.2s "$o")/$(printf %.4s "$o" | tail -c 2)'


def settings(store: str) -> Mapping[str, str]:
    """Git's filters for a workspace that sees the store there."""
    return {
        "filter.lfs.smudge": _shell(
            f'{_TAKE}; {_READ}; [ -n "$o" ] || {{ cat "$t"; exit; }}; {_OWN};'
            f' for s in "$d" {shlex.quote(store)}; do f="$s/{_PLACE}/$o";'
            ' if [ -f "$f" ]; then cat "$f"; exit; fi; done; cat "$t"'
        ),
        "filter.lfs.clean": _shell(
            f'{_TAKE}; {_READ}; if [ -n "$o" ] || [ ! -s "$t" ]; then cat "$t"; exit; fi; {_OWN};'
            ' o=$(sha256sum <"$t" | head -c 64); n=$(wc -c <"$t" | tr -d " ");'
            f' p="$d/{_PLACE}"; mkdir -p "$p" && cp "$t" "$p/$o" &&'
            f' printf \'{POINTER}\\noid sha256:%s\\nsize %s\\n\' "$o" "$n"'
        ),
        "filter.lfs.required": "true",
    }


def _shell(program: str) -> str:
    return f"sh -c {shlex.quote(program)}"
