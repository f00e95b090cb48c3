"""`crewcap completion`: a script that teaches a shell the commands and their options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from crewcap.cli.context import Call, common, with_call

VARIABLE = "_CREWCAP_COMPLETE"
_HOW = {
    "bash": 'eval "$(crewcap completion bash)"    # in ~/.bashrc',
    "zsh": 'eval "$(crewcap completion zsh)"    # in ~/.zshrc',
    "fish": "crewcap completion fish > ~/.config/fish/completions/crewcap.fish",
}


@click.command(epilog='Example: eval "$(crewcap completion bash)"')
@click.argument("shell", type=click.Choice(tuple(_HOW)))
@common
@with_call
def completion(call: Call, *, shell: str) -> None:
    """Print the completion script of a shell."""
    from crewcap.cli import root  # noqa: PLC0415  (the table imports this file late as well)

    kind = get_completion_class(shell)
    assert kind is not None, "click knows the three shells of the choice"  # noqa: S101
    call.out(kind(root, {}, "crewcap", VARIABLE).source())
    call.note(f"to keep it: {_HOW[shell]}")
