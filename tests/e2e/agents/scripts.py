"""What the provider says to the real CLIs: the same small story for each, with the tools that each of them offers."""

from __future__ import annotations

from crewcap.simulator.script import Script
from crewcap.simulator.script_file import parse

ASKED = "Make a.txt say two."

_CODEX = """
[[step]]
name = "look"
when = { first = true, tool = "exec_command" }
say = "I look at it first."
use = [{ tool = "exec_command", input = { cmd = "cat a.txt" } }]
output_tokens = 120

[[step]]
name = "change"
when = { after = "look" }
output_tokens = 200
[[step.use]]
tool = "apply_patch"
input = { input = "*** Begin Patch\\n*** Update File: a.txt\\n@@\\n-one\\n+two\\n*** End Patch" }

[[step]]
name = "program"
when = { first = true, tool = "exec" }
[[step.use]]
tool = "exec"
input = { input = "const r = await tools.exec_command({cmd: 'echo two > a.txt; cat a.txt'}); text(r.output)" }
"""

_GEMINI = """
[[step]]
name = "look"
when = { first = true, tool = "read_file" }
say = "I look at it first."
use = [{ tool = "read_file", input = { file_path = "a.txt" } }]
output_tokens = 120

[[step]]
name = "change"
when = { after = "look" }
output_tokens = 200
[[step.use]]
tool = "replace"
input = { file_path = "{{cwd}}/a.txt", instruction = "say two", old_string = "one", new_string = "two" }
"""

_DONE = """
[[step]]
name = "done"
say = "It says two now."
output_tokens = 60
"""

_TOOLS = {
    "codex": ("exec_command", 'cmd = "true {{round}}"'),
    "gemini": ("run_shell_command", 'command = "true {{round}}"'),
}
_STORIES = {"codex": _CODEX, "gemini": _GEMINI}


def happy(cli: str) -> Script:
    """It looks, changes the file and is done."""
    return parse(_STORIES[cli] + _DONE, name=f"{cli}-happy")


def spawning() -> Script:
    """Codex's newer models have agents of their own: one is started, and waited for."""
    return parse(
        """
[[step]]
name = "child"
when = { agent = "sub" }
say = "The child is done."
output_tokens = 50

[[step]]
name = "spawn"
when = { first = true, tool = "spawn_agent" }
use = [{ tool = "spawn_agent", input = { task_name = "child", message = "Say that you are done." } }]

[[step]]
name = "wait"
when = { after = "spawn", tool = "wait_agent" }
use = [{ tool = "wait_agent", input = {} }]
"""
        + _DONE,
        name="codex-spawning",
    )


def costly(cli: str, *, cost_usd: str) -> Script:
    """The first turn costs nearly everything, with the tightest tokenizer: then what was held is what is billed."""
    tool, given = _TOOLS[cli]
    step = f"""
bytes_per_token = 1
[[step]]
name = "spend"
repeat = 9
when = {{ first = true }}
cost_usd = "{cost_usd}"
use = [{{ tool = "{tool}", input = {{ {given} }} }}]
"""
    return parse(step + _DONE, name=f"{cli}-costly")


def broken(cli: str, accident: str) -> Script:
    """It looks, and then every stream meets with the same accident."""
    story = _STORIES[cli].split("[[step]]")[1]
    step = f"""
[[step]]
name = "break"
when = {{ after = "look" }}
say = "This is a long explanation, of which only a part will ever arrive."
output_tokens = 2000
pace = {{ events = 20, ms = 2 }}
{accident}
"""
    return parse(f"[[step]]{story}{step}{_DONE}", name=f"{cli}-broken")


def endless(cli: str) -> Script:
    """It goes on and on."""
    tool, given = _TOOLS[cli]
    step = f"""
[[step]]
name = "work"
repeat = 900
when = {{ first = true }}
say = "I keep looking."
use = [{{ tool = "{tool}", input = {{ {given} }} }}]
output_tokens = 4000
"""
    return parse(step + _DONE, name=f"{cli}-endless")
