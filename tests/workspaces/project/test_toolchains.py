"""A project's toolchains: which are found, what of them is shown, and that they work inside."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from tests.contracts.sandboxes import Ground, Outcome, ground, missing

from crewcap.errors import SettingsError
from crewcap.workspaces import Fittings
from crewcap.workspaces.project.installed import program_version
from crewcap.workspaces.project.toolchains import find_toolchains
from crewcap.workspaces.sandbox.interpreter import search_path

INSIDE = "/home/agent"


class Machine:
    """A home with version managers, as they lay out their folders."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.path: list[str] = []

    def program(self, path: str, version: str = "1.0.0") -> Path:
        """A program that says its version."""
        place = self.home / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(f"#!/bin/sh\necho 'version {version}'\n")
        place.chmod(0o755)
        return place

    def write(self, path: str, text: str) -> None:
        (self.home / path).parent.mkdir(parents=True, exist_ok=True)
        (self.home / path).write_text(text)

    def find(self, files: Mapping[str, str], *, tools: Sequence[str] = (), **environ: str) -> Fittings:
        """What a project with these files gets."""
        return find_toolchains(
            lambda path: files[path].encode() if path in files else None,
            user_home=self.home,
            home=INSIDE,
            tools=tools,
            environ={"PATH": ":".join(self.path), **environ},
        )

    def shown(self, fitted: Fittings) -> list[str]:
        """Paths below the home."""
        assert all(not mount.writable for mount in fitted.mounts)
        return [str(Path(mount.target).relative_to(self.home)) for mount in fitted.mounts]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    made = Machine(tmp_path / "ana")
    for version in ("3.9.18", "3.12.1", "3.12.7", "3.13.0"):
        made.program(f".pyenv/versions/{version}/bin/python3", version)
    for version in ("18.20.4", "20.9.0", "20.11.1", "21.0.0"):
        made.program(f".nvm/versions/node/v{version}/bin/node", version)
    for name, version in (("stable", "1.90.0"), ("nightly", "1.92.0"), ("1.70.0", "1.70.0")):
        made.program(f".rustup/toolchains/{name}-x86_64-unknown-linux-gnu/bin/rustc", version)
    made.write(".rustup/settings.toml", 'default_toolchain = "stable-x86_64-unknown-linux-gnu"\n')
    made.program(".cargo/bin/cargo-nextest")
    made.write(".cargo/credentials.toml", 'token = "sk-fake"\n')
    for version in ("1.21.5", "1.22.0"):
        made.program(f"sdk/go{version}/bin/go", version)
    return made


class TestTheNarrowestFolderThatFits:
    @pytest.mark.parametrize(
        ("files", "shown", "said"),
        [
            ({".nvmrc": "20"}, ".nvm/versions/node/v20.11.1", "node 20.11.1 from nvm (.nvmrc)"),
            ({".nvmrc": "lts/*"}, ".nvm/versions/node/v20.11.1", "node 20.11.1 from nvm (.nvmrc)"),
            ({".nvmrc": "lts/hydrogen"}, ".nvm/versions/node/v18.20.4", "node 18.20.4 from nvm (.nvmrc)"),
            ({".python-version": "3.12"}, ".pyenv/versions/3.12.7", "python 3.12.7 from pyenv (.python-version)"),
            ({".python-version": "3.12.1"}, ".pyenv/versions/3.12.1", "python 3.12.1 from pyenv (.python-version)"),
            ({"go.mod": "go 1.21.9\n"}, "sdk/go1.22.0", "go 1.22.0 from go (go.mod)"),
        ],
    )
    def test_of_a_version_manager(self, machine: Machine, files: dict[str, str], shown: str, said: str) -> None:
        fitted = machine.find(files)
        assert machine.shown(fitted) == [shown]
        assert fitted.said == (said,)
        assert fitted.path[-1] == f"{machine.home}/{shown}/bin"

    def test_of_rust_also_what_cargo_installed_but_not_its_token(self, machine: Machine) -> None:
        fitted = machine.find({"rust-toolchain.toml": '[toolchain]\nchannel = "nightly"'})
        assert machine.shown(fitted) == [".rustup/toolchains/nightly-x86_64-unknown-linux-gnu", ".cargo/bin"]
        assert fitted.said == ("rust 1.92.0 from rustup (rust-toolchain.toml)",)

    def test_several_versions_in_their_order(self, machine: Machine) -> None:
        fitted = machine.find({".tool-versions": "python 3.12.1 3.9.18"})
        assert machine.shown(fitted) == [".pyenv/versions/3.12.1", ".pyenv/versions/3.9.18"]
        assert [Path(folder).parent.name for folder in fitted.path[-2:]] == ["3.12.1", "3.9.18"]

    @pytest.mark.parametrize(
        ("folder", "file", "title"),
        [
            (".asdf/installs/elixir/1.16.0", ".tool-versions=elixir 1.16.0", "elixir 1.16.0 from asdf"),
            (".asdf/installs/nodejs/22.1.0", ".nvmrc=22", "node 22.1.0 from asdf"),
            (".local/share/mise/installs/python/3.14.0", ".python-version=3.14", "python 3.14.0 from mise"),
            (".local/share/mise/installs/node/22.2.0", ".nvmrc=22", "node 22.2.0 from mise"),
            (".volta/tools/image/node/22.3.0", ".nvmrc=22", "node 22.3.0 from volta"),
            (".local/share/fnm/node-versions/v22.4.0/installation", ".nvmrc=22", "node 22.4.0 from fnm"),
            (".local/share/uv/python/cpython-3.14.1-linux-x86_64-gnu", ".python-version=3.14", "python 3.14.1 from uv"),
            (".rbenv/versions/3.3.0", ".ruby-version=3.3", "ruby 3.3.0 from rbenv"),
            (".sdkman/candidates/java/21.0.1-tem", ".java-version=21", "java 21.0.1-tem from sdkman"),
            ("go/pkg/mod/golang.org/toolchain@v0.0.1-go1.23.1.linux-amd64", "go.mod=go 1.23\n", "go 1.23.1 from go"),
        ],
    )
    def test_each_manager_keeps_them_elsewhere(self, machine: Machine, folder: str, file: str, title: str) -> None:
        tool = title.partition(" ")[0]
        machine.program(f"{folder}/bin/{'python3' if tool == 'python' else tool}")
        name, _, text = file.partition("=")
        fitted = machine.find({name: text})
        assert machine.shown(fitted) == [folder]
        assert fitted.said == (f"{title} ({name})",)

    def test_a_manager_that_was_moved_is_found(self, machine: Machine) -> None:
        shutil.move(machine.home / ".nvm", machine.home / "elsewhere")
        fitted = machine.find({".nvmrc": "20"}, NVM_DIR=str(machine.home / "elsewhere"))
        assert machine.shown(fitted) == ["elsewhere/versions/node/v20.11.1"]

    def test_a_node_that_is_only_on_path_is_found(self, machine: Machine) -> None:
        machine.program("opt/node-22/bin/node", "22.5.0")
        machine.path = [str(machine.home / "opt/node-22/bin")]
        fitted = machine.find({".nvmrc": "22"})
        assert machine.shown(fitted) == ["opt/node-22"]
        assert fitted.said == (f"node 22.5.0 from {machine.home}/opt/node-22 (.nvmrc)",)

    def test_a_program_that_is_asked_can_leave_nothing_in_a_home(self, tmp_path: Path) -> None:
        """Rustup makes one, wherever it is said to be; root may make a folder anywhere."""
        greedy = Machine(tmp_path).program("bin/rustc")
        greedy.write_text('#!/bin/sh\nmkdir -p "$HOME/.rustup" 2>/dev/null && exit 1\necho 1.90.0\n')
        assert program_version(greedy) == "1.90.0"

    def test_shims_are_passed_over(self, machine: Machine) -> None:
        """They start a manager that is not inside."""
        machine.program(".pyenv/shims/python3", "3.15.0")
        machine.path = [str(machine.home / ".pyenv/shims")]
        assert "3.15.0 from" not in machine.find({".python-version": "3.15"}).said[0]


class TestARange:
    def test_gets_what_the_users_shell_would_start(self, machine: Machine) -> None:
        machine.write(".pyenv/version", "3.12.1\n")
        fitted = machine.find({"pyproject.toml": '[project]\nrequires-python = ">=3.11"'})
        assert machine.shown(fitted) == [".pyenv/versions/3.12.1"]

    def test_or_what_comes_first_on_path(self, machine: Machine) -> None:
        machine.path = [str(machine.home / ".nvm/versions/node/v18.20.4/bin")]
        assert machine.shown(machine.find({"package.json": "{}"})) == [".nvm/versions/node/v18.20.4"]

    def test_or_the_newest_that_fits_where_that_one_does_not(self, machine: Machine) -> None:
        machine.write(".pyenv/version", "3.9.18\n")
        fitted = machine.find({"pyproject.toml": '[project]\nrequires-python = ">=3.11,<3.13"'})
        assert machine.shown(fitted) == [".pyenv/versions/3.12.7"]

    def test_rust_without_a_channel_is_the_default_one(self, machine: Machine) -> None:
        assert machine.find({"Cargo.toml": "[package]"}).said == ("rust 1.90.0 from rustup (Cargo.toml)",)


class TestWhatIsNotHere:
    def test_is_said_with_what_is(self, machine: Machine) -> None:
        (said,) = machine.find({".nvmrc": "99"}).said
        assert said.startswith("wanted node 99 (.nvmrc): not on this machine; here: ")
        assert all(f"{version} from nvm" in said for version in ("21.0.0", "20.11.1", "20.9.0", "18.20.4"))
        assert said.endswith("; nvm install 99")

    def test_another_patch_release_stands_in(self, machine: Machine) -> None:
        fitted = machine.find({".python-version": "3.12.4"})
        assert machine.shown(fitted) == [".pyenv/versions/3.12.7"]
        assert "3.12.7 from pyenv stands in for it" in fitted.said[0]

    def test_a_program_that_is_missing_is_said(self, machine: Machine) -> None:
        assert machine.find({"pixi.toml": "x"}).said == ("wanted pixi (pixi.toml): it is not on this machine",)


class TestPrograms:
    def test_a_single_file_is_shown_alone(self, machine: Machine) -> None:
        place = machine.home / ".local/bin/uv"
        place.parent.mkdir(parents=True)
        shutil.copy("/usr/bin/true", place)
        machine.write(".local/bin/other", "x")
        fitted = machine.find({"uv.lock": "x"})
        assert ".local/bin/uv" in machine.shown(fitted)
        assert ".local/bin" not in machine.shown(fitted)
        assert f"{machine.home}/.local/bin" in fitted.path

    def test_one_of_a_fitted_toolchain_needs_nothing_more(self, machine: Machine) -> None:
        machine.program(".nvm/versions/node/v20.11.1/bin/pnpm")
        fitted = machine.find({".nvmrc": "20", "pnpm-lock.yaml": "x"})
        assert machine.shown(fitted) == [".nvm/versions/node/v20.11.1"]
        assert fitted.said[1] == f"pnpm from {machine.home}/.nvm/versions/node/v20.11.1/bin/pnpm (pnpm-lock.yaml)"


class TestTools:
    def test_a_named_folder_is_shown_with_its_programs(self, machine: Machine) -> None:
        machine.program(".flutter/bin/flutter")
        fitted = machine.find({}, tools=["~/.flutter"])
        assert machine.shown(fitted) == [".flutter"]
        assert (fitted.path[-1], fitted.said) == (
            f"{machine.home}/.flutter/bin",
            (f"{machine.home}/.flutter is shown inside (tools)",),
        )

    def test_a_manager_gives_its_usual_version(self, machine: Machine) -> None:
        machine.write(".nvm/alias/default", "v18.20.4\n")
        fitted = machine.find({}, tools=["~/.nvm"])
        assert f"{machine.home}/.nvm/versions/node/v18.20.4/bin" in fitted.path

    @pytest.mark.parametrize("name", ["~", "~/.ssh", "/", "~/.config", "relative", "~/.nvm/../.ssh", "~/gone"])
    def test_what_is_no_toolchain_is_refused(self, machine: Machine, name: str) -> None:
        with pytest.raises(SettingsError, match=r"^tools: "):
            machine.find({}, tools=[name])

    def test_credentials_in_one_are_not_shown(self, machine: Machine) -> None:
        assert ".cargo/bin" in machine.shown(machine.find({}, tools=["~/.cargo"]))
        assert not [path for path in machine.shown(machine.find({}, tools=["~/.cargo"])) if path == ".cargo"]


def test_what_tools_write_goes_below_the_runs_own_home(machine: Machine) -> None:
    fitted = machine.find({})
    assert fitted.mounts == ()
    places = (
        "PIP_CACHE_DIR",
        "UV_CACHE_DIR",
        "npm_config_cache",
        "npm_config_prefix",
        "CARGO_HOME",
        "GOPATH",
        "GOCACHE",
    )
    assert all(fitted.environ[name].startswith(f"{INSIDE}/") for name in places)


# --- inside ------------------------------------------------------------------------------------------------------


@pytest.fixture
def inside() -> Iterator[Ground]:
    if reason := missing("bubblewrap"):
        pytest.skip(f"bubblewrap: {reason}")
    with ground("bubblewrap") as made:
        yield made


def _perform(made: Ground, fitted: Fittings, script: str) -> Outcome:
    path = ":".join((*fitted.path, search_path()))
    command = made.command("sh", "-c", script, environ={**fitted.environ, "PATH": path})
    return made.perform(replace(command, mounts=(*command.mounts, *fitted.mounts)))


@pytest.mark.sandbox
def test_a_toolchain_below_a_closed_home_works_inside_and_cannot_be_changed(machine: Machine, inside: Ground) -> None:
    machine.home.chmod(0o700)
    fitted = machine.find({".nvmrc": "20.11.1", "rust-toolchain": "stable"})
    script = f'node; rustc; cd "$(dirname "$(command -v node)")" && {{ touch new; rm node; ls -A {machine.home}; }}'
    done = _perform(inside, fitted, script)
    assert done.stdout.startswith("version 20.11.1\nversion 1.90.0\n")
    assert done.stderr.count("Read-only file system") == 2
    assert done.stdout.splitlines()[2:] == [".cargo", ".nvm", ".rustup"]


@pytest.mark.sandbox
def test_a_virtual_environment_is_made_and_installs_below_the_home(inside: Ground) -> None:
    """With the Python that runs these tests, from wherever it comes."""
    fitted = find_toolchains(
        lambda path: b"x" if path == "requirements.txt" else None,
        user_home=Path("/nonexistent"),
        home=inside.layout.home,
        tools=(),
        environ={"PATH": f"{sys.base_prefix}/bin"},
    )
    script = """
    python3 -m venv --without-pip .venv && .venv/bin/python -c 'import sys, ssl, sqlite3; print(sys.prefix)'
    python3 -c 'import site; print(site.getuserbase())'
    """
    done = _perform(inside, fitted, script)
    assert done.stdout.split() == [f"{inside.layout.workspace}/.venv", f"{inside.layout.home}/.local"]


@pytest.mark.sandbox
@pytest.mark.skipif(not shutil.which("cargo") or not shutil.which("rustup"), reason="rustup is not here")
def test_rust_builds_inside(inside: Ground) -> None:
    environ = {
        "PATH": os.environ["PATH"],
        **{k: v for k, v in os.environ.items() if k.endswith(("UP_HOME", "GO_HOME"))},
    }
    fitted = find_toolchains(
        lambda path: b"[package]" if path == "Cargo.toml" else None,
        user_home=Path.home(),
        home=inside.layout.home,
        tools=(),
        environ=environ,
    )
    if not any(said.endswith("from rustup (Cargo.toml)") for said in fitted.said):
        pytest.skip("rustup has no toolchain")
    done = _perform(inside, fitted, "cargo new -q hi && cd hi && cargo run -q --offline; ls ~/.cargo/.package-cache")
    assert (done.stdout.splitlines()[0], done.status) == ("Hello, world!", 0)


@pytest.mark.sandbox
@pytest.mark.skipif(not shutil.which("npm"), reason="npm is not here")
def test_npm_installs_a_package_of_the_project_and_a_global_one(inside: Ground, tmp_path: Path) -> None:
    fitted = Machine(tmp_path).find({})
    package = inside.workspace / "tool"
    package.mkdir()
    (package / "package.json").write_text('{"name": "tool", "version": "1.0.0", "bin": "main.js"}')
    (package / "main.js").write_text("#!/usr/bin/env node\nconsole.log('ran')\n")
    subprocess.run(["chown", "-R", str(inside.uid), str(package)], check=True)
    done = _perform(inside, fitted, "npm install -g --offline --silent ./tool && tool && command -v tool")
    assert done.stdout.split()[-2:] == ["ran", f"{inside.layout.home}/.local/bin/tool"], done


def test_a_folder_on_path_that_may_not_be_entered_is_passed_over_as_shells_do() -> None:
    """`su` and `sudo` keep root's PATH, with /root/.cargo/bin on it."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        machine = Machine(Path(folder))
        machine.program("bin/node", "20.1.0")
        closed = machine.program("closed/bin/node", "99.0.0").parent.parent
        closed.chmod(0)
        machine.path = [str(closed / "bin"), f"{folder}/bin"]
        child = os.fork()
        if not child:
            status = 1
            try:
                if os.geteuid() == 0:
                    os.setgroups([])
                    os.setresgid(65534, 65534, 65534)
                    os.setresuid(65534, 65534, 65534)
                found = machine.find({".nvmrc": "20.1.0", "rust-toolchain": "stable"}, CARGO_HOME=str(closed))
                status = 0 if f"node 20.1.0 from {folder} (.nvmrc)" in found.said else 2
            finally:
                os._exit(status)
        ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        closed.chmod(0o755)
    assert ended == 0
