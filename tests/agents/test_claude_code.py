"""Claude Code's command line and lines, without starting it; lines are as 2.1.330 wrote them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crewcap.agents import AGENTS, AgentAdapter, LaunchOrder
from crewcap.agents.claude_code import ClaudeCode
from crewcap.core.likeness import likeness
from crewcap.core.runs import Acted, AgentEnd, Answered, Other, Retried, Said, Started
from crewcap.errors import UsageError

ORDER: dict[str, Any] = {
    "binary": "/opt/agent/claude",
    "prompt": "Fix it.",
    "model": "claude-sonnet-5",
    "session": "2a5e380c-a597-4500-b71b-09edd1846e02",
    "home": "/home/agent",
    "workspace": "/workspace",
    "gateway_url": "http://127.0.0.1:8787",
    "key": "ccap-fake-0123456789abcdef",
    "run": "01RUN",
}


def order(**changes: Any) -> LaunchOrder:
    return LaunchOrder(**{**ORDER, **changes})


def option(argv: tuple[str, ...], name: str) -> str:
    return argv[argv.index(name) + 1]


def line(**said: Any) -> bytes:
    return json.dumps(said).encode()


def result(**said: Any) -> AgentEnd:
    (end,) = ClaudeCode().read(line(type="result", **said))
    assert isinstance(end, AgentEnd)
    return end


def test_it_is_the_agent_called_claude() -> None:
    adapter: AgentAdapter = AGENTS["claude"]()
    assert (adapter.name, adapter.title, adapter.capabilities().dialect) == ("claude", "Claude Code", "anthropic")


def test_the_key_is_in_the_environment_alone() -> None:
    """Arguments and settings can be read by other processes and by the agent's commands."""
    launch = ClaudeCode().launch(order())
    assert launch.environ["ANTHROPIC_API_KEY"] == ORDER["key"]
    assert ORDER["key"] not in " ".join(launch.argv)
    assert not any(ORDER["key"].encode() in content for content in launch.files.values())
    assert ORDER["key"] not in repr(order())


def test_what_steers_it_is_said_twice() -> None:
    """Once as environment and once as settings, which stand above a repository's own."""
    launch = ClaudeCode().launch(order(subagent_model="claude-haiku-4-5", thinking_tokens=0))
    said = json.loads(option(launch.argv, "--settings"))["env"]
    assert said.items() <= launch.environ.items()
    assert said["ANTHROPIC_BASE_URL"] == "http://127.0.0.1:8787"
    assert said["CLAUDE_CODE_PROVIDER_MANAGED_BY_HOST"] == "1"
    assert said["ANTHROPIC_CUSTOM_HEADERS"] == "x-crewcap-run: 01RUN"
    assert said["CLAUDE_CODE_MAX_OUTPUT_TOKENS"] == "16000"
    assert (said["CLAUDE_CODE_SUBAGENT_MODEL"], said["MAX_THINKING_TOKENS"]) == ("claude-haiku-4-5", "0")


def test_it_never_asks_nor_judges_for_itself_what_it_may_do() -> None:
    """Mode `auto` sends a classifier's requests; the sandbox is what holds it."""
    argv = ClaudeCode().launch(order()).argv
    assert option(argv, "--permission-mode") == "bypassPermissions"
    assert option(argv, "--setting-sources") == "user"
    assert "--strict-mcp-config" in argv
    assert "--fallback-model" not in argv


def test_web_tools_are_off_unless_they_are_asked_for() -> None:
    """A server tool is a second sampling inside one request, and a fee."""
    off = ClaudeCode().launch(order()).argv
    assert {"WebSearch", "WebFetch"} <= set(option(off, "--disallowedTools").split(","))
    assert "WebSearch" not in option(off, "--tools")
    on = ClaudeCode().launch(order(tools=("Bash", "WebSearch"))).argv
    assert option(on, "--tools") == "Bash,WebSearch"
    assert "WebSearch" not in option(on, "--disallowedTools").split(",")


def test_the_lean_list_is_four_tools() -> None:
    """61 KB of a first request became 45 KB: what makes a cap of ten cents workable."""
    assert option(ClaudeCode().launch(order(lean=True)).argv, "--tools") == "Agent,Bash,Edit,Read"


@pytest.mark.parametrize(
    ("resume", "there", "absent"), [(False, "--session-id", "--resume"), (True, "--resume", "--session-id")]
)
def test_a_session_is_ours_from_the_start(resume: bool, there: str, absent: str) -> None:  # noqa: FBT001
    argv = ClaudeCode().launch(order(resume=resume)).argv
    assert option(argv, there) == ORDER["session"]
    assert absent not in argv


def test_its_own_cap_is_above_ours() -> None:
    """Ours holds; its own one counts wrongly and is only told so that the model knows of a budget."""
    assert option(ClaudeCode().launch(order(cap_usd="3.00")).argv, "--max-budget-usd") == "3.6"
    assert option(ClaudeCode().launch(order(cap_usd="100")).argv, "--max-budget-usd") == "120"
    assert "--max-budget-usd" not in ClaudeCode().launch(order()).argv


def test_an_effort_that_it_would_ignore_is_refused() -> None:
    """It warns on stderr and thinks at its default price."""
    assert option(ClaudeCode().launch(order(effort="high")).argv, "--effort") == "high"
    with pytest.raises(UsageError, match="effort 'silly' is not known"):
        ClaudeCode().launch(order(effort="silly"))


def test_rules_files_are_read_in_their_order_through_our_own_file() -> None:
    """Its option for a rules file takes one file only, the last, and follows no imports; imports do both."""
    launch = ClaudeCode().launch(order(rules=("/workspace/CLAUDE.md", "/workspace/my docs/AGENTS.md")))
    text = launch.files["/home/agent/.claude/CLAUDE.md"].decode()
    assert text.splitlines()[2:] == ["@/workspace/CLAUDE.md", "@/workspace/my\\ docs/AGENTS.md"]
    assert ClaudeCode().launch(order()).files["/home/agent/.claude/CLAUDE.md"] == b""


def test_a_rules_file_that_cannot_be_imported_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match="cannot be handed to Claude Code"):
        ClaudeCode().launch(order(rules=("/workspace/a\\b.md",)))


def test_each_start_undoes_settings_that_the_agent_wrote_for_itself() -> None:
    assert ClaudeCode().launch(order()).files["/home/agent/.claude/settings.json"] == b"{}\n"


def test_temporary_files_lie_in_its_private_home() -> None:
    """Under Landlock nothing else can be written."""
    launch = ClaudeCode().launch(order(gateway_socket="/srv/run/gateway.sock", gateway_url=""))
    assert launch.environ["TMPDIR"] == launch.environ["CLAUDE_CODE_TMPDIR"] == "/home/agent/tmp"
    assert launch.environ["ANTHROPIC_UNIX_SOCKET"] == "/srv/run/gateway.sock"
    assert launch.environ["ANTHROPIC_BASE_URL"] == "http://127.0.0.1"


def test_a_message_is_one_line_whatever_it_holds() -> None:
    said = ClaudeCode().say('two\nlines, "quotes", \u2028 and \u20ac')
    assert said.count(b"\n") == 1
    assert json.loads(said)["message"]["content"][0]["text"] == 'two\nlines, "quotes", \u2028 and \u20ac'


@pytest.mark.parametrize(
    ("output", "version"),
    [
        ("2.1.330 (Claude Code)\n", "2.1.330"),
        ("warning\n2.1.330-beta.1 (Claude Code)", "2.1.330"),
        ("claude 1.0.0", ""),
        ("", ""),
    ],
)
def test_a_version_counts_only_with_its_own_name(output: str, version: str) -> None:
    """Another program called claude is not taken for it."""
    assert ClaudeCode().parse_version(output) == version


def test_the_first_line_tells_who_it_is() -> None:
    said = line(
        type="system", subtype="init", cwd="/workspace", session_id="s", tools=["Task", "Bash"],
        model="claude-sonnet-5", claude_code_version="2.1.330", permissionMode="bypassPermissions",
    )  # fmt: skip
    assert list(ClaudeCode().read(said)) == [
        Started(session="s", model="claude-sonnet-5", version="2.1.330", tools=("Task", "Bash"))
    ]


def test_one_line_may_hold_words_and_deeds_of_a_subagent() -> None:
    """They are marked with the id that its requests carry, so that the ledger's lines can be found."""
    content = [
        {"type": "thinking", "thinking": "hm"},
        {"type": "text", "text": "Look\x1b[31m!"},
        {"type": "tool_use", "id": "t1", "name": "Bash", "input": {"command": "make test\n"}},
    ]
    message = {"id": "msg_1", "content": content}
    said = line(type="assistant", message=message, parent_tool_use_id="p", agent_id="a17")
    alike = likeness("Bash", '{"command": "make test\\n"}')
    assert list(ClaudeCode().read(said)) == [
        Other(kind="assistant/thinking"),
        Said(text="Look!", agent="a17"),
        Acted(verb="run", what="make test", call="t1", agent="a17", likeness=alike, answer="msg_1"),
    ]


def test_an_answer_names_its_call() -> None:
    block = {"type": "tool_result", "tool_use_id": "t1", "content": "Exit code 2\nls: no", "is_error": True}
    said = line(type="user", message={"content": [block, {"type": "text", "text": "prompt"}]}, parent_tool_use_id=None)
    alike = likeness("Exit code 2\nls: no", "True")
    assert list(ClaudeCode().read(said)) == [
        Answered(call="t1", is_error=True, summary="exit 2: ls: no", likeness=alike)
    ]


def test_the_same_call_is_known_however_it_is_described_or_spelled() -> None:
    """What a command is described as is not what it does; another command is another call."""

    def alike(**arguments: str) -> str:
        block = {"type": "tool_use", "id": "t", "name": "Bash", "input": arguments}
        (acted,) = ClaudeCode().read(line(type="assistant", message={"content": [block]}))
        assert isinstance(acted, Acted)
        return acted.likeness

    once = alike(command="make test", description="Run the tests")
    assert once == alike(description="Once more", command="make test")
    assert once != alike(command="make tests", description="Run the tests")


def test_a_retry_says_which_one_and_why() -> None:
    said = line(type="system", subtype="api_retry", attempt=2, max_retries=3, error_status=529, error="overloaded")
    assert list(ClaudeCode().read(said)) == [Retried(attempt=2, reason="529")]


@pytest.mark.parametrize(
    ("raw", "kinds"),
    [
        (b"", []),
        (b"  \n", []),
        (b"Segmentation fault", ["not json"]),
        (b"[1]", ["not an object"]),
        (b'{"type":"tomorrow","subtype":"x"}', ["tomorrow"]),
        (b'{"type":"system","subtype":"ui_invalidate"}', ["system/ui_invalidate"]),
        (b'{"type":"system"}', ["system/None"]),
        (b'{"type":"assistant","message":null}', []),
        (b'{"type":"user","message":{"content":"text"}}', []),
        (b"[" * 100_000, ["not json"]),
    ],
)
def test_a_line_of_another_version_is_kept_and_never_fatal(raw: bytes, kinds: list[str]) -> None:
    assert list(ClaudeCode().read(raw)) == [Other(kind=kind) for kind in kinds]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ("type", "subtype", "message", "content", "input", "name", "id", "edits", "structuredPatch")
            )
            | st.text(max_size=4),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=300)
@given(st.sampled_from(("system", "assistant", "user", "result")), json_values, json_values, json_values)
def test_no_object_whatever_breaks_it(kind: str, message: Any, detail: Any, cost: Any) -> None:
    """Fields of the right names and the wrong kinds: the run's story goes on."""
    content = [{"type": "tool_use", "name": message, "input": detail}, {"type": "tool_result", "content": detail}, cost]
    for body in (message, {"content": content}, {"content": detail}):
        said = {"type": kind, "subtype": detail, "message": body, "tool_use_result": detail, "total_cost_usd": cost}
        list(ClaudeCode().read(json.dumps(said).encode()))


def test_success_with_an_error_is_no_success() -> None:
    """The flag says more than the name: an API error comes back as `subtype: success`."""
    end = result(
        subtype="success", is_error=True, api_error_status=402, terminal_reason="api_error", num_turns=2,
        result="API Error: 402 crewcap: run 42 has $0.12 left", total_cost_usd=0.00022,
    )  # fmt: skip
    assert end == AgentEnd(
        kind="api_error",
        message="API Error: 402 crewcap: run 42 has $0.12 left",
        turns=2,
        api_status=402,
        claimed_cost="0.00022",
    )


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ({"subtype": "success", "is_error": False, "terminal_reason": "completed"}, "finished"),
        ({"subtype": "error_max_turns", "is_error": True, "terminal_reason": "max_turns"}, "turn_limit"),
        ({"subtype": "error_max_budget_usd", "is_error": True, "terminal_reason": "budget_exhausted"}, "budget"),
        (
            {"subtype": "success", "is_error": True, "terminal_reason": "api_error", "api_error": "max_output_tokens"},
            "truncated",
        ),
        ({"subtype": "error_during_execution", "is_error": True, "terminal_reason": "aborted_tools"}, "interrupted"),
        (
            {"subtype": "error_during_execution", "is_error": True, "terminal_reason": "aborted_streaming"},
            "interrupted",
        ),
        ({"subtype": "error_during_execution", "is_error": True, "startup_failure_reason": "no bwrap"}, "crashed"),
        ({"subtype": "success", "is_error": True, "terminal_reason": "image_error"}, "api_error"),
        ({"subtype": "invented_tomorrow", "is_error": False}, "crashed"),
        ({}, "crashed"),
    ],
)
def test_how_a_result_is_read(said: dict[str, Any], kind: str) -> None:
    assert result(**said).kind == kind


@pytest.mark.parametrize(
    ("raw", "shown"),
    [("0.00022", "0.00022"), ("1e-7", "0.0000001"), ("NaN", ""), ("true", ""), ('"1"', ""), ("null", "")],
)
def test_its_own_figure_is_shown_only_where_it_is_one(raw: str, shown: str) -> None:
    (end,) = ClaudeCode().read(f'{{"type":"result","total_cost_usd":{raw}}}'.encode())
    assert isinstance(end, AgentEnd)
    assert end.claimed_cost == shown
    list(ClaudeCode().read(f'{{"type":"result","total_cost_usd":{"9" * 400}}}'.encode()))


def test_the_last_result_counts() -> None:
    """Nine results came of one run with background subagents; whoever listens keeps the last."""
    adapter = ClaudeCode()
    lines = [line(type="result", subtype="success", result=text) for text in ("one", "two")]
    last = [event for raw in lines for event in adapter.read(raw)][-1]
    assert isinstance(last, AgentEnd)
    assert adapter.end(exit_status=0, last=last).message == "two"


@pytest.mark.parametrize(
    ("status", "last", "end"),
    [
        (0, AgentEnd(kind="finished"), AgentEnd(kind="finished")),
        (143, AgentEnd(kind="finished"), AgentEnd(kind="finished")),
        (1, AgentEnd(kind="api_error", api_status=402), AgentEnd(kind="api_error", api_status=402)),
        (0, AgentEnd(kind="interrupted"), AgentEnd(kind="interrupted")),
        (143, None, AgentEnd(kind="interrupted", message="ended by SIGTERM without a result")),
        (-2, None, AgentEnd(kind="interrupted", message="ended by SIGINT without a result")),
        (-9, None, AgentEnd(kind="crashed", message="killed (SIGKILL), perhaps for its memory")),
        (0, None, AgentEnd(kind="crashed", message="it ended without a result")),
        (1, None, AgentEnd(kind="crashed")),
        (
            7,
            AgentEnd(kind="finished"),
            AgentEnd(kind="crashed", message="it said that it had finished, then ended with 7"),
        ),
    ],
)
def test_its_last_word_is_weighed_against_its_exit_status(status: int, last: AgentEnd | None, end: AgentEnd) -> None:
    """Without a result nothing was finished, whatever the status; no word at all leaves room for its stderr."""
    assert ClaudeCode().end(exit_status=status, last=last) == end
