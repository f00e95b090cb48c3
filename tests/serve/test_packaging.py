"""The container recipe, read: what it names is there, and it has the flags that a sandbox needs."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import pytest

from crewcap.cli import root
from crewcap.gateway.service import STAYS
from crewcap.settings.models import ServeFile
from crewcap.workspaces.sandbox.obstacles import _DOCKER

ROOT = Path(__file__).resolve().parents[2]
PACKAGING = ROOT / "packaging"
yaml = pytest.importorskip("yaml", reason="needs a reader of YAML")


@pytest.fixture(scope="module")
def compose() -> Mapping[str, Any]:
    found: Mapping[str, Any] = yaml.safe_load((PACKAGING / "compose.yaml").read_text())
    return found


@pytest.fixture(scope="module")
def instructions() -> Sequence[tuple[str, str]]:
    """Every instruction of the Containerfile with its words, lines that go on put together."""
    text = re.sub(r"\\\n", " ", (PACKAGING / "Containerfile").read_text())
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.partition(" ")[0], line.partition(" ")[2]) for line in lines]


def understands(words: Sequence[str]) -> None:
    """The command line takes these words: commands and options that do not exist are errors of usage."""
    command: click.Command = root
    rest = list(words)
    context = click.Context(root)
    while isinstance(command, click.Group):
        name, found, rest = command.resolve_command(context, rest)
        assert found is not None
        command, context = found, click.Context(found, info_name=name, parent=context)
    command.make_parser(context).parse_args(rest)


def test_commands_and_options_that_it_names_exist(
    compose: Mapping[str, Any], instructions: Sequence[tuple[str, str]]
) -> None:
    said = dict(instructions)
    assert json.loads(said["ENTRYPOINT"]) == ["crewcap"]
    understands(json.loads(said["CMD"]))
    for service in ("migrate", "serve"):
        understands(compose["services"][service]["command"])
    with pytest.raises(click.UsageError):
        understands(["serve", "--no-such-option"])


def test_files_that_it_copies_exist(instructions: Sequence[tuple[str, str]]) -> None:
    copied = [name for word, rest in instructions if word == "COPY" for name in rest.split()[:-1]]
    assert {"src", "requirements.lock", "pyproject.toml"} <= set(copied)
    assert [name for name in copied if not (ROOT / name).exists()] == []


def test_the_driver_of_the_database_is_installed_by_hash(instructions: Sequence[tuple[str, str]]) -> None:
    """The same program that the build runs finds it in the lock file of the checks."""
    (program,) = (re.findall(r"awk '([^']*)'", rest) for word, rest in instructions if "awk" in rest)
    command = ["awk", program[0], str(ROOT / "requirements-dev.lock")]
    found = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout
    assert [line.split("==")[0] for line in found.splitlines() if "==" in line] == ["asyncpg"]
    assert "--hash=sha256:" in found
    pips = [each for _, rest in instructions for each in rest.split("&&") if "pip install" in each]
    assert all("--require-hashes" in each or "--no-deps" in each for each in pips)


def test_both_services_of_ours_are_closed_as_far_as_a_sandbox_can_be_made_in_them(compose: Mapping[str, Any]) -> None:
    """The flags are those that `crewcap doctor` asks for, and no capability comes with them."""
    wanted = {flag.removeprefix("--security-opt ") for flag in _DOCKER.values()}
    for name in ("migrate", "serve"):
        service = compose["services"][name]
        assert {*service["security_opt"]} == {*wanted, "no-new-privileges:true"}
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert "cap_add" not in service
        assert "privileged" not in service
        assert service["user"] != "0"
        assert "ports" not in service


def test_no_secret_is_a_variable(compose: Mapping[str, Any]) -> None:
    """Every secret is a file, and each that a service asks for is there to be given."""
    for service in compose["services"].values():
        assert set(service.get("secrets", [])) <= set(compose["secrets"])
        for name, value in service.get("environment", {}).items():
            assert not re.search(r"KEY|TOKEN|PASSWORD$", name)
            assert name.startswith("POSTGRES_") or value.startswith("/run/secrets/")
    assert all(set(secret) == {"file"} for secret in compose["secrets"].values())


def test_its_health_is_asked_where_the_gateway_listens_and_its_end_is_given_time(compose: Mapping[str, Any]) -> None:
    serve = compose["services"]["serve"]
    url = re.search(r"http://([\d.:]+)(/\w+)", serve["healthcheck"]["test"][-1])
    assert url is not None
    assert url[1] == serve["command"][serve["command"].index("--listen") + 1]
    assert url[2] in STAYS
    assert int(serve["stop_grace_period"].removesuffix("s")) >= ServeFile().drain_s + 15
    assert compose["services"]["serve"]["depends_on"]["migrate"]["condition"] == "service_completed_successfully"
