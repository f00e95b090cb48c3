"""What `crewcap batch run` asks for: its prompts, read and judged, its name, its cap and a key for it."""

from __future__ import annotations

import re
import secrets
import sys
from dataclasses import dataclass
from pathlib import Path

from crewcap.cli.context import Call
from crewcap.cli.gateway.new_key import full_model, scopes_of_key
from crewcap.cli.screen.amounts import read_amount
from crewcap.core.budget import KeyId
from crewcap.core.keys import PREFIX, VirtualKey, hash_key
from crewcap.errors import UsageError
from crewcap.gateway.batch.folder import Job, Prompt
from crewcap.runner import batch_prompts
from crewcap.runner.batch_prompts import Wanted
from crewcap.trackers.files import Files
from crewcap.trackers.issue_text import slug

APIS = {"responses": "/v1/responses", "chat": "/v1/chat/completions"}

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z", re.ASCII)
_WORKFLOW = "workflow:batch"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What the command line asks for."""

    prompts: str
    cap: str | None
    model: str | None
    max_output: int
    name: str | None
    context: tuple[Path, ...]
    scopes: tuple[str, ...]
    user: str
    api: str
    out: str | None
    waits: bool
    reports: bool


def asked(call: Call, wishes: Wishes) -> tuple[Job, VirtualKey, list[Prompt]]:
    """A new job with its key and its prompts; nothing is written down."""
    wanted, stem = _read(wishes)
    context = batch_prompts.context_of(wishes.context)
    prompts = _complete(call, wishes, wanted)
    name = _name(call, wishes.name, stem)
    cap = read_amount(wishes.cap, "--cap") if wishes.cap is not None else call.app.settings.defaults.cap
    if not cap:
        raise UsageError("--cap 0 allows nothing", help="give an amount of dollars, such as --cap 10")
    key = _new_key(call, wishes)
    job = Job(
        name=name,
        id=secrets.token_hex(8),
        key=key.id,
        cap=cap,
        created_at=call.clock(),
        context=context,
        api=APIS[wishes.api],
        out=str(Path(wishes.out or f"{name}.results").absolute()),
    )
    return job, key, prompts


def _read(wishes: Wishes) -> tuple[tuple[Wanted, ...], str]:
    """The prompts, and what the batch may be called after."""
    if wishes.prompts == "-":
        return batch_prompts.from_lines(sys.stdin.buffer.read(), where="stdin", folder=Path()), "stdin"
    path = Path(wishes.prompts).expanduser()
    if path.is_dir():
        paths = batch_prompts.issue_files(path)
        return batch_prompts.from_issues(paths, Files(Path()).read, where=wishes.prompts), path.absolute().name
    if path.suffix.lower() in batch_prompts.TEXT_ENDINGS:
        return batch_prompts.from_issues([path], Files(Path()).read, where=wishes.prompts), path.stem
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise UsageError(f"there is no file {wishes.prompts}", help=batch_prompts.HELP) from None
    except OSError as error:
        why = (error.strerror or str(error)).casefold()
        raise UsageError(f"{wishes.prompts} cannot be read: {why}", help="name a .jsonl file or a folder") from None
    return batch_prompts.from_lines(content, where=wishes.prompts, folder=path.parent), path.stem


def _complete(call: Call, wishes: Wishes, wanted: tuple[Wanted, ...]) -> list[Prompt]:
    """Every prompt with its model's full id."""
    settings = call.app.settings
    model = wishes.model or settings.defaults.model
    full = batch_prompts.with_defaults(wanted, model=model, max_output=wishes.max_output)
    known = {name: full_model(call, name) for name in dict.fromkeys(each.model for each in full)}
    return [
        Prompt(
            n=number,
            id=each.id,
            text=each.text,
            model=known[each.model],
            max_output=each.max_output,
            system=each.system,
            source=each.source,
            cap=each.cap.exact() if each.cap is not None else "",
        )
        for number, each in enumerate(full)
    ]


def _name(call: Call, given: str | None, stem: str) -> str:
    """The name that was given, or the first of PROMPTS, PROMPTS.2, ... that is free."""
    if given is not None:
        if not _NAME.match(given):
            raise UsageError(
                f"--name {given[:80]!r}: letters, digits, '.', '-' and '_', at most 64",
                help="for example --name audits",
            )
        if (call.home.batches / given).exists():
            raise UsageError(f"there is a batch {given} already", help=f"crewcap batch show {given}")
        return given
    plain = slug(stem, otherwise="batch")
    names = (plain if number == 1 else f"{plain}.{number}" for number in range(1, 1_000_000))
    return next(name for name in names if not (call.home.batches / name).exists())


def _new_key(call: Call, wishes: Wishes) -> VirtualKey:
    """A key that nobody is told: only the gateway uses it, for this batch."""
    id_ = KeyId(secrets.token_hex(6))
    scopes = (
        wishes.scopes if any(each.startswith("workflow:") for each in wishes.scopes) else (*wishes.scopes, _WORKFLOW)
    )
    return VirtualKey(
        id=id_,
        hash=hash_key(PREFIX + secrets.token_urlsafe(32)),
        scopes=scopes_of_key(call, id_, scopes, user=wishes.user),
        created_at=call.clock(),
        label="batch",
    )
