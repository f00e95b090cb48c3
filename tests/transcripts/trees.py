"""A tree of Claude Code transcripts with every trap that readers of them fell into, and its true total.

The truth is kept while the tree is written, from a table of prices of its own: neither the readers nor the price book
have a part in it. A message is worth what its fullest line says, once, whoever repeats it; each is rounded up to a
nano-dollar on its own. Everything comes from one seed.

    forks       copy a conversation's lines, some with the asking session's name, and may end inside a message
    lines       several for a message, the first ones with an early output count, which may even be the largest
    subagents   in files of their own, or inline; the main conversation echoes them as progress
    nothing     tool results with sums of usage, tool calls with a key named usage, quoted transcripts, made-up answers
    torn        last lines, and lines in the middle
    modifiers   fast mode, US-only inference, one-hour writes, web searches, a missing request id, an unknown model
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

PICO = 1_000_000  # of one dollar per million tokens
_PRICES = {  # dollars per million tokens, in hundredths of a cent: input, cache read, 5m, 1h, output
    "claude-opus-4-8": (50_000, 5_000, 62_500, 100_000, 250_000),
    "claude-sonnet-5": (20_000, 2_000, 25_000, 40_000, 100_000),
    "claude-sonnet-4-6": (30_000, 3_000, 37_500, 60_000, 150_000),
    "claude-haiku-4-5": (10_000, 1_000, 12_500, 20_000, 50_000),
}
_US = frozenset({"claude-opus-4-8", "claude-sonnet-5", "claude-sonnet-4-6"})  # sold for US-only inference, at 1.1
_FAST = {"claude-opus-4-8": 2}  # times the standard price
_SEARCH_PICO = 10_000_000_000
UNKNOWN = "claude-nobody-9"
_BEGIN = datetime(2026, 11, 2, 6, tzinfo=UTC)
_WORDS = ("the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog", "while", "tests", "run", "at", "night")


@dataclass(slots=True)
class Truth:
    """What a tree is worth."""

    messages: int = 0
    nano: int = 0
    unpriced: int = 0
    files: int = 0
    size: int = 0
    lines: int = 0
    tokens: Counter[str] = field(default_factory=Counter)
    by_model: Counter[str] = field(default_factory=Counter)  # nano-dollars
    by_day: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    """A message, and the lines of it that the agent wrote."""

    id: str
    request: str
    model: str
    at: datetime
    counts: tuple[int, int, int, int]  # input, read, 5m, 1h
    outputs: tuple[int, ...]  # of each line
    searches: int
    is_fast: bool
    is_us: bool

    @property
    def output(self) -> int:
        return max(self.outputs)

    def nano(self) -> int | None:
        """Dollars by hand; None where the model has no price."""
        if self.model not in _PRICES:
            return None
        fresh, read, short, long, out = _PRICES[self.model]
        tokens = (*self.counts, self.output)
        pico = sum(n * p for n, p in zip(tokens, (fresh, read, short, long, out), strict=True)) * 100
        pico *= _FAST.get(self.model, 1) if self.is_fast else 1
        pico = pico * 11 // 10 if self.is_us else pico
        return -(-(pico + self.searches * _SEARCH_PICO) // 1_000)


def make(folder: Path, *, seed: int, megabytes: float = 0, files: int = 0, filler: int = 2_600) -> Truth:
    """Write projects below a folder until there are so many megabytes, or files."""
    tree = _Tree(folder, random.Random(seed), filler)
    while tree.truth.size < megabytes * 1_000_000 or tree.truth.files < files:
        tree.project()
    return tree.truth


class _Tree:
    """The folder that is being written."""

    def __init__(self, folder: Path, rng: random.Random, filler: int) -> None:
        self.folder, self.rng, self.truth = folder, rng, Truth()
        self._clock = _BEGIN
        self._text = json.dumps(" ".join(rng.choices(_WORDS, k=8_000)) + '\n"quoted" and {"braces":1}\n')[1:-1]
        self._filler = filler

    def project(self) -> None:
        """A repository with a few sessions, their subagents and forks."""
        name = f"-home-ana-{self.rng.randrange(16**6):06x}"
        cwd = name.replace("-", "/")
        for _ in range(self.rng.randint(2, 5)):
            self._session(self.folder / name, cwd)

    def _session(self, folder: Path, cwd: str) -> None:
        id_ = self._uuid()
        lines = list(self._conversation(id_, cwd, self.rng.randint(6, 40)))
        for _ in range(self.rng.choice((0, 0, 1, 2))):
            told = list(self._conversation(id_, cwd, self.rng.randint(1, 8), is_sub=True))
            if self.rng.random() < 0.6:
                self._write(folder / id_ / "subagents" / f"agent-{self._hex(17)}.jsonl", told)
            else:
                lines += told
            lines += [self._echo(line, id_) for line in told if '"type":"assistant"' in line]
        self._write(folder / f"{id_}.jsonl", lines)
        if self.rng.random() < 0.35:
            self._fork(folder, cwd, id_, lines)

    def _fork(self, folder: Path, cwd: str, id_: str, lines: list[str]) -> None:
        """The conversation so far under another name, cut anywhere, and how it went on; often on another day."""
        fork = self._uuid()
        says = (
            f'"sessionId":"{fork}","requestSessionId":"{id_}"' if self.rng.random() < 0.5 else f'"sessionId":"{fork}"'
        )
        self._clock += timedelta(hours=self.rng.randint(1, 30))
        copied = [line.replace(f'"sessionId":"{id_}"', says) for line in lines[: self.rng.randint(1, len(lines))]]
        self._write(folder / f"{fork}.jsonl", [*copied, *self._conversation(fork, cwd, self.rng.randint(1, 12))])

    def _conversation(self, session: str, cwd: str, turns: int, *, is_sub: bool = False) -> Iterator[str]:
        around = {"sessionId": session, "cwd": cwd, "isSidechain": is_sub, "version": "2.1.330", "gitBranch": "main"}
        model = self.rng.choice([*_PRICES, "claude-sonnet-5", "claude-opus-4-8"])
        yield self._user(around, "Please fix it.")
        context = self.rng.randint(12_000, 30_000)
        for _ in range(turns):
            self._clock += timedelta(seconds=self.rng.randint(2, 240))
            context += self.rng.randint(100, 3_000)
            yield from self._turn(around, model, context)

    def _turn(self, around: dict[str, Any], model: str, context: int) -> Iterator[str]:
        if self.rng.random() < 0.03:
            yield self._line(around, "assistant", self._made_up())
        if self.rng.random() < 0.02:
            model = UNKNOWN
        answer = self._answer(model, context)
        self._count(answer)
        for place, output in enumerate(answer.outputs):
            yield self._line(around, "assistant", self._message(answer, output, place), answer, place)
        yield self._result(around, answer)

    def _answer(self, model: str, context: int) -> _Answer:
        rng = self.rng
        written = rng.randint(50, 4_000)
        is_long = rng.random() < 0.3
        final = rng.randint(20, 3_000)
        partial = [rng.randint(1, 8) for _ in range(rng.choice((1, 1, 2)))]
        if rng.random() < 0.02:
            partial[0] = final + rng.randint(1, 9)
        return _Answer(
            id=f"msg_{self._hex(24)}",
            request="" if rng.random() < 0.05 else f"req_{self._hex(24)}",
            model=model,
            at=self._clock,
            counts=(rng.randint(1, 12), context, 0 if is_long else written, written if is_long else 0),
            outputs=(*partial, final),
            searches=rng.choice((0,) * 30 + (1, 3)),
            is_fast=model in _FAST and rng.random() < 0.15,
            is_us=model in _US and rng.random() < 0.15,
        )

    def _count(self, answer: _Answer) -> None:
        truth, nano = self.truth, answer.nano()
        truth.messages += 1
        truth.unpriced += nano is None
        truth.nano += nano or 0
        truth.by_model[answer.model] += nano or 0
        truth.by_day[f"{answer.at:%Y-%m-%d}"] += nano or 0
        kinds = ("input", "cache_read", "write_5m", "write_1h", "output")
        truth.tokens.update(dict(zip(kinds, (*answer.counts, answer.output), strict=True)))

    def _message(self, answer: _Answer, output: int, place: int) -> str:
        """As the agent writes it, all but the text as a template."""
        fresh, read, short, long = answer.counts
        content = self._tool_call() if place == len(answer.outputs) - 1 else self._said()
        return (
            f'{{"id":"{answer.id}","type":"message","role":"assistant","model":"{answer.model}","content":[{content}],'
            f'"stop_reason":null,"stop_sequence":null,"usage":{{"input_tokens":{fresh},'
            f'"cache_creation_input_tokens":{short + long},"cache_read_input_tokens":{read},"output_tokens":{output},'
            f'"output_tokens_details":{{"thinking_tokens":{output // 3}}},"server_tool_use":{{"web_search_requests":'
            f'{answer.searches},"web_fetch_requests":0}},"service_tier":"standard","cache_creation":'
            f'{{"ephemeral_1h_input_tokens":{long},"ephemeral_5m_input_tokens":{short}}},"inference_geo":'
            f'"{"us" if answer.is_us else "not_available"}","iterations":[],"speed":'
            f'"{"fast" if answer.is_fast else "standard"}"}}}}'
        )

    def _said(self) -> str:
        return f'{{"type":"text","text":"{self._fill(0.5)}"}}'

    def _tool_call(self) -> str:
        """Some have a key that is named as the bill is, and one as the time is."""
        trap = ',"usage":{"input_tokens":9,"output_tokens":999999},"timestamp":"2001-01-01T00:00:00Z"'
        more = trap if self.rng.random() < 0.05 else ""
        made = f'{{"command":"{self._fill(0.4)}"{more}}}'
        return f'{{"type":"tool_use","id":"toolu_{self._hex(24)}","name":"Bash","input":{made}}}'

    def _result(self, around: dict[str, Any], answer: _Answer) -> str:
        """A tool's result; an agent's has a sum of usage, a file's may be a transcript."""
        quoted = json.dumps(self._message(answer, 77, 0)[-400:])[1:-1] if self.rng.random() < 0.1 else ""
        content = f'[{{"type":"tool_result","tool_use_id":"toolu_1","content":"{quoted}{self._fill(1.6)}"}}]'
        sums = '"usage":{"input_tokens":5000,"output_tokens":5000,"cache_read_input_tokens":90000}'
        more = f',"toolUseResult":{{"status":"completed","totalTokens":9,{sums}}}' if self.rng.random() < 0.1 else ""
        return self._line(around, "user", f'{{"role":"user","content":{content}}}', more=more)

    def _user(self, around: dict[str, Any], text: str) -> str:
        return self._line(around, "user", f'{{"role":"user","content":{json.dumps(text)}}}')

    def _made_up(self) -> str:
        """An answer that the agent made up itself."""
        usage = '"usage":{"input_tokens":0,"output_tokens":0,"cache_read_input_tokens":0,"service_tier":null}'
        return f'{{"id":"{self._uuid()}","model":"<synthetic>","role":"assistant","content":[],{usage}}}'

    def _line(
        self,
        around: dict[str, Any],
        kind: str,
        message: str,
        answer: _Answer | None = None,
        place: int = 0,
        *,
        more: str = "",
    ) -> str:
        at = (answer.at if answer else self._clock) + timedelta(milliseconds=40 * place)
        when = f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1_000:03d}Z"
        request = f'"requestId":"{answer.request}",' if answer and answer.request else ""
        told = json.dumps(around, separators=(",", ":"))[1:]
        return (
            f'{{"parentUuid":"{self._uuid()}","message":{message},{request}"type":"{kind}","uuid":"{self._uuid()}",'
            f'"timestamp":"{when}"{more},{told}'
        )

    def _echo(self, line: str, session: str) -> str:
        at = f"{self._clock:%Y-%m-%dT%H:%M:%S}.000Z"
        return (
            f'{{"type":"progress","data":{{"message":{line},"type":"agent_progress"}},"toolUseID":"toolu_2",'
            f'"uuid":"{self._uuid()}","timestamp":"{at}","sessionId":"{session}","cwd":"/elsewhere"}}'
        )

    def _write(self, path: Path, lines: list[str]) -> None:
        """Some files end in the middle of a line; in some, one in the middle is torn."""
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = list(lines)
        if self.rng.random() < 0.1:
            torn = self._line({"sessionId": "s"}, "assistant", self._made_up())
            lines.insert(self.rng.randint(0, len(lines)), torn[: len(torn) // 2])
        text = "\n".join(lines) + "\n"
        if self.rng.random() < 0.1:
            text += lines[-1][: self.rng.randint(1, max(1, len(lines[-1]) - 1))]
        self.truth.files += 1
        self.truth.lines += len(lines)
        self.truth.size += path.write_bytes(text.encode())

    def _fill(self, share: float) -> str:
        """Text that JSON can carry, about so much of the usual length."""
        length = max(1, int(self.rng.expovariate(1) * self._filler * share))
        start = self.rng.randrange(len(self._text) - 1)
        text = (self._text[start:] + self._text * (length // len(self._text) + 1))[:length]
        return text.rsplit("\\", 1)[0].lstrip('\\"n') if "\\" in text else text.replace('"', "")

    def _uuid(self) -> str:
        text = self._hex(32)
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"

    def _hex(self, length: int) -> str:
        return f"{self.rng.getrandbits(4 * length):0{length}x}"
