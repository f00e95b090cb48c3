"""Agents that are scripts: what they need to start inside, and that they do."""

from __future__ import annotations

import os
import shutil
import sys
import venv
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.contracts.sandboxes import Ground, Outcome, ground, missing

from crewcap.workspaces import Fittings
from crewcap.workspaces.project.executables import find_needs
from crewcap.workspaces.sandbox.interpreter import search_path

SCRIPT = """#!/usr/bin/env node
console.log(require('helper')(), require('./lib.js'), process.argv.slice(2).join());
"""


def package(folder: Path, *, helper: Path) -> Path:
    """A package with a program, and one that it depends on."""
    for path, text in (
        (folder / "bin/agent.js", SCRIPT),
        (folder / "bin/lib.js", "module.exports = 'lib';"),
        (folder / "package.json", '{"name": "agent"}'),
        (helper / "index.js", "module.exports = () => 'helper';"),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (folder / "bin/agent.js").chmod(0o755)
    return folder / "bin/agent.js"


def installed_globally(prefix: Path) -> Path:
    """As `npm install -g` lays it out: a link in bin, dependencies below the package."""
    home = prefix / "lib/node_modules/@maker/agent"
    program = package(home, helper=home / "node_modules/helper")
    (prefix / "bin").mkdir(exist_ok=True)
    (prefix / "bin/agent").symlink_to(os.path.relpath(program, prefix / "bin"))
    (prefix / "lib/node_modules/other").mkdir()
    return prefix / "bin/agent"


def targets(needs: Fittings) -> set[str]:
    assert not any(mount.writable for mount in needs.mounts)
    return {mount.target for mount in needs.mounts}


@pytest.fixture
def inside() -> Iterator[Ground]:
    if reason := missing("bubblewrap"):
        pytest.skip(f"bubblewrap: {reason}")
    with ground("bubblewrap") as made:
        yield made


def test_a_program_that_is_complete_needs_nothing() -> None:
    assert find_needs(Path("/usr/bin/env"), environ={}) == Fittings()


def test_of_a_global_package_that_one_alone_is_shown_and_the_node_beside_it(tmp_path: Path) -> None:
    agent = installed_globally(tmp_path)
    (tmp_path / "bin/node").write_text("")
    (tmp_path / "bin/node").chmod(0o755)
    needs = find_needs(agent, environ={"PATH": "/usr/bin"})
    assert targets(needs) == {str(tmp_path / "lib/node_modules/@maker/agent"), str(tmp_path / "bin/node")}
    assert needs.path == (str(tmp_path / "bin"),)


def test_of_a_local_one_everything_beside_it(tmp_path: Path) -> None:
    """Its dependencies lie there."""
    modules = tmp_path / "node_modules"
    program = package(modules / "agent", helper=modules / "helper")
    assert targets(find_needs(program, environ={"PATH": os.environ["PATH"]})) >= {str(modules)}


def test_an_interpreter_that_is_not_here_is_said(tmp_path: Path) -> None:
    (tmp_path / "agent").write_text("#!/usr/bin/env no-such-interpreter\n")
    assert find_needs(tmp_path / "agent", environ={}).said == (
        "agent needs no-such-interpreter, which is not on this machine",
    )


@pytest.mark.sandbox
@pytest.mark.skipif(not shutil.which("node"), reason="node is not here")
def test_a_node_agent_starts_at_its_own_path(inside: Ground, tmp_path: Path) -> None:
    agent = installed_globally(tmp_path / "prefix")
    tmp_path.chmod(0o700)
    needs = find_needs(agent, environ=os.environ)
    done = _start(inside, needs, str(agent.resolve()), "a", "b")
    assert (done.stdout, done.stderr) == ("helper lib a,b\n", "")


@pytest.mark.sandbox
def test_a_python_agent_starts_with_its_environment(inside: Ground, tmp_path: Path) -> None:
    """As pipx and uv install them."""
    venv.create(tmp_path / "tool", symlinks=True)
    (tmp_path / "tool/lib/own.py").write_text("def say(): return 'own'")
    program = tmp_path / "tool/bin/agent"
    program.write_text(
        f"#!{tmp_path}/tool/bin/python\nimport sys\nsys.path.append('{tmp_path}/tool/lib')\n"
        "import own\nprint(own.say(), sys.prefix)\n"
    )
    program.chmod(0o755)
    needs = find_needs(program, environ=os.environ)
    assert targets(needs) >= {str(tmp_path / "tool")}
    assert Path(sys.base_prefix).is_relative_to("/usr") or str(Path(sys.base_prefix).resolve()) in targets(needs)
    assert _start(inside, needs, str(program)).stdout.split() == ["own", f"{tmp_path}/tool"]


def _start(made: Ground, needs: Fittings, *argv: str) -> Outcome:
    command = made.command(*argv, environ={"PATH": ":".join((*needs.path, search_path()))})
    return made.perform(replace(command, mounts=(*command.mounts, *needs.mounts)))
