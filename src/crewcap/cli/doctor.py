"""`crewcap doctor`: whether this machine is fit, and the command that makes it so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import click

from crewcap.cli.context import Call, common, with_call
from crewcap.errors import UnsafeEnvironment


@click.command(epilog="Example: crewcap doctor")
@common
@with_call
def doctor(call: Call) -> None:
    """Look at everything that a run needs; spends nothing, prints no secret, exits 4 when runs would be refused."""
    from crewcap.cli.fitness import Finding, examine  # noqa: PLC0415  (looks import what they look at)

    findings: list[Finding] = []
    for finding in examine(call):
        findings.append(finding)
        if not call.as_json:
            _say(call, finding.level, finding.name, finding.text, finding.help)
    failures = [finding for finding in findings if finding.level == "fail"]
    if call.as_json:
        call.emit({"fit": not failures, "findings": [asdict(finding) for finding in findings]})
    else:
        call.out(_summary([finding.name for finding in failures]))
    if failures:
        click.get_current_context().exit(UnsafeEnvironment.exit_status)


def _say(call: Call, level: str, name: str, text: str, help_: str) -> None:
    mark = click.style(f"{level:<4}", fg={"ok": "green", "warn": "yellow", "fail": "red"}[level])
    call.out(f"{mark}  {name:<10}  {text}")
    if help_ and level != "ok":
        call.out(f"      {'':<10}  -> {help_}")


def _summary(failed: Sequence[str]) -> str:
    if not failed:
        return "fit: crewcap demo shows it, crewcap run -p '...' starts"
    return f"not fit: {', '.join(dict.fromkeys(failed))}"
