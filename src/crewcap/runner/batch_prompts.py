"""Prompts of a batch: a file of JSON lines, a folder of Markdown files, or stdin; read and judged as a whole.

    {"id": "a11y", "prompt": "Audit this page", "files": ["page.html"], "model": "haiku", "max_output": 2000}

Nothing is sent where anything is wrong with any of them: the first complaint names its line, and says how many more
there are. Files are read here, by whoever asks, and stand before the prompt, each under its name.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from crewcap.core.money import Money
from crewcap.core.runs import Issue
from crewcap.errors import UsageError

MOST_PROMPTS = 100_000
LARGEST_PROMPT = 8 * 2**20  # bytes, its files and the context included
LARGEST_FILE = 4 * 2**20
KEYS = ("id", "prompt", "system", "model", "max_output", "files")
TEXT_ENDINGS = (".md", ".markdown", ".mdown", ".txt")
HELP = 'a prompt is a line such as {"id": "login", "prompt": "Review src/login.py"}'

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}\Z", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One prompt as its author wrote it."""

    id: str
    text: str
    where: str  # for complaints
    system: str = ""
    model: str = ""  # '' = the batch's
    max_output: int = 0  # 0 = the batch's
    source: str = ""  # the issue file that it is
    cap: Money | None = None  # of this prompt alone, as its issue says


class _Wrong(Exception):
    """One complaint."""


def from_lines(content: bytes, *, where: str, folder: Path) -> tuple[Wanted, ...]:
    """Prompts of a file of JSON lines; `files` are found from `folder` on."""
    readers = [
        (f"{where}:{number}", partial(_read_line, line, f"{where}:{number}", folder))
        for number, line in enumerate(content.split(b"\n"), 1)
        if line.strip()
    ]
    return _judged(readers, where=where)


def from_issues(paths: Sequence[Path], read: Callable[[str], Issue], *, where: str) -> tuple[Wanted, ...]:
    """One prompt from each issue file, called as the file is."""

    def prompt_of(path: Path) -> Wanted:
        try:
            issue = read(str(path))
        except UsageError as error:
            raise _Wrong(error.message) from error
        title = "" if issue.title in issue.body else f"# {issue.title}\n\n"
        return Wanted(id=_id(path.stem), text=title + issue.body, where=str(path), source=issue.source, cap=issue.cap)

    return _judged([(str(path), partial(prompt_of, path)) for path in paths], where=where)


def issue_files(folder: Path) -> list[Path]:
    """The text files of a folder, by name."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in TEXT_ENDINGS and path.is_file())


def context_of(files: Iterable[Path]) -> str:
    """Files that stand before every prompt."""
    try:
        return "\n\n".join(_file(path) for path in files)
    except _Wrong as wrong:
        raise UsageError(f"--context: {wrong}", help="name text files of yours") from None


def _judged(readers: Sequence[tuple[str, Callable[[], Wanted]]], *, where: str) -> tuple[Wanted, ...]:
    """Every prompt, or the first complaint and the number of the others."""
    if not readers:
        raise UsageError(f"{where} holds no prompt", help=HELP)
    if len(readers) > MOST_PROMPTS:
        raise UsageError(
            f"{where} holds {len(readers):,} prompts; a batch takes {MOST_PROMPTS:,}", help="cut it in parts"
        )
    found, complaints = list[Wanted](), list[str]()
    for at, read in readers:
        try:
            found.append(read())
        except _Wrong as wrong:
            complaints.append(f"{at}: {wrong}")
    complaints += _twice(found)
    if complaints:
        more = f" (and {len(complaints) - 1} more)" if len(complaints) > 1 else ""
        raise UsageError(complaints[0] + more, help=f"nothing was sent; {HELP}")
    return tuple(found)


def _twice(prompts: Iterable[Wanted]) -> Iterator[str]:
    """Two prompts with one name would write one file; some file systems do not tell large letters from small ones."""
    seen: dict[str, str] = {}
    for prompt in prompts:
        name = prompt.id.casefold()
        if name in seen:
            yield f"{prompt.where}: the id {prompt.id!r} is that of {seen[name]} already"
        seen.setdefault(name, prompt.where)


def _read_line(line: bytes, at: str, folder: Path) -> Wanted:
    said = _object(line)
    for key in said:
        if key not in KEYS:
            near = difflib.get_close_matches(key, KEYS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(KEYS)}"
            raise _Wrong(f"unknown key {key[:40]!r}; {hint}")
    text = _text(said, "prompt", is_needed=True)
    files = said.get("files") or []
    if not isinstance(files, list) or not all(isinstance(each, str) for each in files):
        raise _Wrong("files must be a list of paths")
    before = [_file(folder / Path(each).expanduser()) for each in files]
    prompt = Wanted(
        id=_id(_text(said, "id", is_needed=True)),
        text="\n\n".join((*before, text)),
        where=at,
        system=_text(said, "system"),
        model=_text(said, "model"),
        max_output=_tokens(said.get("max_output")),
    )
    if len(prompt.text.encode("utf-8", "replace")) > LARGEST_PROMPT:
        raise _Wrong(f"the prompt is larger than {LARGEST_PROMPT:,} bytes")
    return prompt


def _object(line: bytes) -> dict[str, Any]:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({name for name, _ in pairs}) < len(pairs):
            raise _Wrong("a key stands twice in it")
        return dict(pairs)

    try:
        said = json.loads(line.decode(), object_pairs_hook=once)
    except (ValueError, RecursionError):
        raise _Wrong("this is no JSON object in UTF-8") from None
    if not isinstance(said, dict):
        raise _Wrong("this is JSON, but no object")
    return said


def _text(said: dict[str, Any], key: str, *, is_needed: bool = False) -> str:
    value = said.get(key)
    if isinstance(value, str) and (value.strip() or not is_needed):
        if "\0" in value or not _is_utf8(value):
            raise _Wrong(f"{key} holds what is no text")
        return value
    if value is None and not is_needed:
        return ""
    raise _Wrong(f"{key} is missing" if value in (None, "") else f"{key} must be a text")


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _id(text: str) -> str:
    if not _ID.match(text):
        raise _Wrong(f"{text[:40]!r} cannot be an id: letters, digits, '.', '-' and '_', at most 100")
    return text


def _tokens(value: Any) -> int:
    if value is None:
        return 0
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 1_000_000:
        return value
    raise _Wrong("max_output must be a number of tokens, 1 or more")


def _file(path: Path) -> str:
    """A text file under its name."""
    try:
        if not path.is_file():
            raise _Wrong(f"there is no file {path}")
        if path.stat().st_size > LARGEST_FILE:
            raise _Wrong(f"{path} is larger than {LARGEST_FILE:,} bytes")
        text = path.read_text("utf-8")
    except UnicodeDecodeError:
        raise _Wrong(f"{path} is no UTF-8 text") from None
    except OSError as error:
        raise _Wrong(f"{path} cannot be read: {(error.strerror or str(error)).casefold()}") from None
    return f"<file name={json.dumps(path.name)}>\n{text}\n</file>"


def with_defaults(prompts: Iterable[Wanted], *, model: str, max_output: int) -> tuple[Wanted, ...]:
    """What a prompt does not say, the batch says."""
    return tuple(replace(each, model=each.model or model, max_output=each.max_output or max_output) for each in prompts)
