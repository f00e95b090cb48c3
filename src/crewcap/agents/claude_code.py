"""Claude Code: how it is started unattended, what its lines mean, how it ends.

Everything here was measured on 2.1.330 (docs/decisions/repository-settings.md has the part that people ask about):

    one way out       base URL or unix socket of ours, set in the environment *and* in `--settings`, and
                      CLAUDE_CODE_PROVIDER_MANAGED_BY_HOST=1, without which a repository's `.claude/settings.json`
                      redirects all traffic; the same flag keeps the key out of the environment of its commands
    nothing of the    `--setting-sources user` and `--strict-mcp-config`: no hooks, MCP servers, agents, skills or
    repository runs   plugins of the repository; its rules files are given back by imports in our own user CLAUDE.md
    no surprise spend a fixed tool list, no web tools (a server tool is a second sampling), no background tasks (a run
                      ends with one result), no automatic memory (14 KB of every prompt), never permission mode `auto`
                      (its classifier cost 20 requests in one run)
    small holds       16,000 tokens of output, three retries, subagents one deep

Its own cost figures are wrong where money leaks (cut streams, interrupts, unknown models) and its `success` is said
over the cap as well, so the end that `read` and `end` report is a witness; the ledger is the judge.
"""

from __future__ import annotations

import importlib.util
import json
import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

from crewcap.agents import Capabilities, Launch, LaunchOrder
from crewcap.agents.claude_tools import act, outcome
from crewcap.core.harmless import one_line, plain
from crewcap.core.likeness import likeness
from crewcap.core.runs import Acted, AgentEnd, AgentEvent, Answered, Other, Retried, Said, Started
from crewcap.errors import UsageError

TOOLS = ("Agent", "Bash", "Edit", "NotebookEdit", "Read", "Write")
LEAN_TOOLS = ("Agent", "Bash", "Edit", "Read")
NEVER = ("WebSearch", "WebFetch", "Workflow", "EnterWorktree", "ExitWorktree", "CronCreate", "ScheduleWakeup")
EFFORTS = ("low", "medium", "high", "xhigh", "max")
SUBAGENTS_AT_ONCE = 8
RETRIES = 3
_OWN_CAP = Decimal("1.2")  # above ours, so that ours always speaks first

_VERSION = re.compile(r"(\d+\.\d+\.\d+)\S*\s+\(Claude Code\)")
_SIGNALS = {130: "SIGINT", 137: "SIGKILL", 143: "SIGTERM", -2: "SIGINT", -9: "SIGKILL", -15: "SIGTERM"}
_LONGEST_SAID = 20_000


class ClaudeCode:
    """The adapter. It remembers one thing of a run: its working directory, so that paths are shown as people say."""

    name = "claude"
    title = "Claude Code"
    executable = "claude"
    oldest = "2.1.330"  # the first version for which the words above were measured

    def __init__(self) -> None:
        self._root = ""

    def bundled(self) -> str | None:
        """The CLI inside the wheel of the extra `[claude]`."""
        spec = importlib.util.find_spec("claude_agent_sdk")
        if spec is None or spec.origin is None:
            return None
        path = Path(spec.origin).parent / "_bundled" / "claude"
        return str(path) if os.access(path, os.X_OK) else None

    def parse_version(self, output: str) -> str:
        """`2.1.330 (Claude Code)` -> `2.1.330`; empty for another program of that name."""
        match = _VERSION.search(output)
        return match[1] if match else ""

    def capabilities(self) -> Capabilities:
        """What it can do."""
        return Capabilities(can_resume=True, can_be_told=True, has_subagents=True, dialect="anthropic")

    def launch(self, order: LaunchOrder) -> Launch:
        """Argv, environment, private files and the first message."""
        self._root = order.workspace
        ours = _steering(order)
        return Launch(
            argv=_argv(order, ours),
            environ={
                **ours,
                "ANTHROPIC_API_KEY": order.key,
                "HOME": order.home,
                "TMPDIR": _tmp(order),
                "IS_SANDBOX": "1",  # it runs commands unasked as root only where this says that the sandbox is ours
            },
            files={
                f"{order.home}/.claude/CLAUDE.md": _rules(order),
                f"{order.home}/.claude/settings.json": b"{}\n",  # undoes what an earlier start of this run wrote
                f"{_tmp(order)}/.keep": b"",
            },
            first_input=self.say(order.prompt),
        )

    def say(self, text: str) -> bytes:
        """A user message, one line of JSON."""
        message = {"role": "user", "content": [{"type": "text", "text": text}]}
        return json.dumps({"type": "user", "message": message}).encode() + b"\n"

    def read(self, line: bytes) -> Iterable[AgentEvent]:
        """What one line means; a line that cannot be read is an event too."""
        try:
            said = json.loads(line)
        except (ValueError, RecursionError):
            return [Other(kind="not json")] if line.strip() else []
        return list(self._events(said)) if isinstance(said, dict) else [Other(kind="not an object")]

    def end(self, *, exit_status: int, last: AgentEnd | None) -> AgentEnd:
        """The last result, unless the process contradicts it."""
        signal = _SIGNALS.get(exit_status, "")
        if last is None and signal in {"SIGINT", "SIGTERM"}:
            return AgentEnd(kind="interrupted", message=f"ended by {signal} without a result")
        if last is None and signal:
            return AgentEnd(kind="crashed", message="killed (SIGKILL), perhaps for its memory")
        if last is None:
            return AgentEnd(kind="crashed", message="" if exit_status else "it ended without a result")
        if last.kind == "finished" and exit_status not in {0, *_SIGNALS}:
            return AgentEnd(kind="crashed", message=f"it said that it had finished, then ended with {exit_status}")
        return last

    def _events(self, said: Mapping[str, Any]) -> Iterator[AgentEvent]:
        match said.get("type"):
            case "system":
                yield self._system(said)
            case "assistant":
                yield from self._assistant(said)
            case "user":
                yield from self._user(said)
            case "result":
                yield _result(said)
            case kind:
                yield Other(kind=one_line(str(kind), limit=60))

    def _system(self, said: Mapping[str, Any]) -> AgentEvent:
        kind = said.get("subtype")
        if kind == "init":
            self._root = _text(said.get("cwd")) or self._root
            return Started(
                session=_text(said.get("session_id")),
                model=_text(said.get("model")),
                version=_text(said.get("claude_code_version")),
                tools=tuple(_text(tool) for tool in _list(said.get("tools"))),
            )
        if kind == "api_retry":
            reason = said.get("error_status") or said.get("error") or "no answer"
            return Retried(attempt=_number(said.get("attempt")), reason=one_line(str(reason), limit=80))
        return Other(kind=f"system/{one_line(str(kind), limit=60)}")

    def _assistant(self, said: Mapping[str, Any]) -> Iterator[AgentEvent]:
        agent = _agent(said)
        for block in _blocks(said):
            match block.get("type"):
                case "text":
                    yield Said(text=plain(_text(block.get("text")))[:_LONGEST_SAID], agent=agent)
                case "tool_use":
                    tool, arguments = _text(block.get("name")), _mapping(block.get("input"))
                    doing = act(tool, arguments, root=self._root)
                    yield Acted(
                        verb=doing.verb,
                        what=doing.what,
                        call=_text(block.get("id")),
                        agent=agent,
                        likeness=likeness(tool, _same(arguments)),
                        answer=_text(_mapping(said.get("message")).get("id")),
                        lines_added=doing.lines_added,
                        lines_removed=doing.lines_removed,
                    )
                case kind:
                    yield Other(kind=f"assistant/{one_line(str(kind), limit=60)}")

    def _user(self, said: Mapping[str, Any]) -> Iterator[AgentEvent]:
        for block in _blocks(said):
            if block.get("type") != "tool_result":
                continue
            yield Answered(
                call=_text(block.get("tool_use_id")),
                is_error=block.get("is_error") is True,
                summary=outcome(block, said.get("tool_use_result")),
                agent=_agent(said),
                likeness=likeness(_same(block.get("content")), str(block.get("is_error") is True)),
            )


def _argv(order: LaunchOrder, ours: Mapping[str, str]) -> tuple[str, ...]:
    """The command line; nothing in it is secret, other processes can read it."""
    session = ("--resume", order.session) if order.resume else ("--session-id", order.session)
    settings = {
        "env": dict(ours),  # above a repository's own; the key is not among them
        "attribution": {"commit": "", "pr": ""},  # authorship of commits is ours to say
        "autoMemoryEnabled": False,
        "disableAllHooks": True,
    }
    tools = order.tools or (LEAN_TOOLS if order.lean else TOOLS)
    argv = [order.binary, "-p", "--verbose", "--output-format", "stream-json", "--input-format", "stream-json"]
    argv += [*session, "--model", order.model, "--permission-mode", "bypassPermissions"]
    argv += ["--max-turns", str(order.max_turns), "--setting-sources", "user", "--strict-mcp-config"]
    argv += ["--settings", json.dumps(settings), "--tools", ",".join(tools)]
    argv += ["--disallowedTools", ",".join(tool for tool in NEVER if tool not in order.tools)]
    if order.effort:
        argv += ["--effort", _known_effort(order.effort)]
    if order.cap_usd:
        argv += ["--max-budget-usd", format((Decimal(order.cap_usd) * _OWN_CAP).normalize(), "f")]
    return tuple(argv)


def _steering(order: LaunchOrder) -> dict[str, str]:
    """The variables that steer it, without the key: they are said twice, and the second place is public."""
    ours = {
        "ANTHROPIC_BASE_URL": order.gateway_url or "http://127.0.0.1",
        "ANTHROPIC_CUSTOM_HEADERS": f"x-crewcap-run: {order.run}",
        "CLAUDE_CODE_PROVIDER_MANAGED_BY_HOST": "1",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "CLAUDE_CODE_DISABLE_BACKGROUND_TASKS": "1",
        "CLAUDE_CODE_DISABLE_LEGACY_MODEL_REMAP": "1",  # the model is the one that the run was priced for
        "CLAUDE_CODE_ATTRIBUTION_HEADER": "0",  # a first block that is never cached and differs between agents
        "CLAUDE_CODE_MAX_RETRIES": str(RETRIES),
        "CLAUDE_CODE_MAX_OUTPUT_TOKENS": str(order.max_output),
        "CLAUDE_CODE_MAX_CONCURRENT_SUBAGENTS": str(SUBAGENTS_AT_ONCE),
        "CLAUDE_CODE_MAX_SUBAGENT_SPAWN_DEPTH": "1",
        "CLAUDE_CODE_TMPDIR": _tmp(order),
        "DISABLE_AUTOUPDATER": "1",
    }
    if order.gateway_socket:
        ours["ANTHROPIC_UNIX_SOCKET"] = order.gateway_socket
    if order.subagent_model:
        ours["CLAUDE_CODE_SUBAGENT_MODEL"] = order.subagent_model
    if order.thinking_tokens is not None:
        ours["MAX_THINKING_TOKENS"] = str(order.thinking_tokens)
    return ours


def _tmp(order: LaunchOrder) -> str:
    """Where it puts temporary files: under Landlock nothing but its HOME and its workspace can be written."""
    return f"{order.home}/tmp"  # noqa: S108  (in the run's private HOME)


def _rules(order: LaunchOrder) -> bytes:
    """Our user CLAUDE.md: an import for each rules file. They are read in this order, with their own imports."""
    lines = [f"@{_importable(path)}" for path in order.rules]
    return "\n".join(["# Rules of this repository", "", *lines, ""]).encode() if lines else b""


def _importable(path: str) -> str:
    """A path as an import spells it: a blank needs a backslash, other odd letters cannot be said."""
    if "\\" in path or any(letter.isspace() and letter != " " for letter in path):
        raise UsageError(
            f"the rules file {one_line(path)!r} cannot be handed to Claude Code",
            help="rename it: its path holds a backslash, a tab or a line end",
        )
    return path.replace(" ", "\\ ")


def _known_effort(effort: str) -> str:
    """It would ignore a wrong word and think at its default price."""
    if effort not in EFFORTS:
        raise UsageError(f"effort {one_line(effort, limit=40)!r} is not known", help=f"one of {', '.join(EFFORTS)}")
    return effort


def _result(said: Mapping[str, Any]) -> AgentEnd:
    """A result line. `subtype` alone lies: an API error is `success` with `is_error`."""
    return AgentEnd(
        kind=_end_kind(said),
        message=one_line(_message(said), limit=500),
        turns=_number(said.get("num_turns")),
        api_status=_number(said.get("api_error_status")) or None,
        claimed_cost=_dollars(said.get("total_cost_usd")),
    )


_EndKind = Literal["finished", "turn_limit", "budget", "api_error", "interrupted", "truncated", "crashed"]


def _end_kind(said: Mapping[str, Any]) -> _EndKind:
    subtype, why = _text(said.get("subtype")), _text(said.get("terminal_reason"))
    if subtype == "error_max_turns" or why == "max_turns":
        return "turn_limit"
    if subtype == "error_max_budget_usd" or why == "budget_exhausted":
        return "budget"
    if said.get("api_error") == "max_output_tokens":
        return "truncated"
    if why.startswith("aborted"):
        return "interrupted"
    if why in {"api_error", "image_error"} or said.get("api_error_status"):
        return "api_error"
    return "crashed" if said.get("is_error") is True or subtype != "success" else "finished"


def _message(said: Mapping[str, Any]) -> str:
    errors = "; ".join(_text(error) for error in _list(said.get("errors")))
    return _text(said.get("result")) or errors or _text(said.get("startup_failure_reason"))


def _agent(said: Mapping[str, Any]) -> str:
    """Which subagent speaks, by the id that its requests carry too; empty = the main conversation."""
    parent = _text(said.get("parent_tool_use_id"))
    return (_text(said.get("agent_id")) or parent) if parent else ""


def _same(value: object) -> str:
    """A value as one text, the same however it was spelled; what a call is described as is not what it does."""
    if isinstance(value, dict):
        value = {name: inner for name, inner in value.items() if name != "description"}
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _blocks(said: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    content = _mapping(said.get("message")).get("content")
    return (block for block in _list(content) if isinstance(block, dict))


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _number(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _dollars(value: object) -> str:
    """An amount without an exponent; its own figure is only ever shown, so a float is good enough."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return ""
    return "" if isinstance(value, float) and not math.isfinite(value) else format(Decimal(str(value)), "f")


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
