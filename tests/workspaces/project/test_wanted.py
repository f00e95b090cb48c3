"""What projects' files ask for."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from crewcap.workspaces.project.wanted import Read, programs, wants


def reader(files: Mapping[str, str]) -> Read:
    return lambda path: files[path].encode() if path in files else None


def test_a_project_without_such_files_wants_nothing() -> None:
    assert wants(reader({"README": "hello"})) == ()


@pytest.mark.parametrize(
    ("files", "want"),
    [
        ({".python-version": "# ours\n3.12.1\n3.11\n"}, ("python", ".python-version", ("3.12.1", "3.11"))),
        ({".nvmrc": "lts/iron\r\n"}, ("node", ".nvmrc", ("lts/iron",))),
        ({".node-version": "v20"}, ("node", ".node-version", ("20",))),
        ({".tool-versions": "nodejs 20.1.0 # why\n"}, ("node", ".tool-versions", ("20.1.0",))),
        ({".tool-versions": "python 3.12.1 3.11.0 system"}, ("python", ".tool-versions", ("3.12.1", "3.11.0"))),
        ({".tool-versions": "elixir 1.16.0-otp-26"}, ("elixir", ".tool-versions", ("1.16.0-otp-26",))),
        ({"mise.toml": '[tools]\ngo = "1.22"'}, ("go", "mise.toml", ("1.22",))),
        ({"mise.toml": '[tools]\npython = ["3.12", "3.11"]'}, ("python", "mise.toml", ("3.12", "3.11"))),
        ({"mise.toml": '[tools]\nnode = { version = "22" }\n"npm:x" = "1"'}, ("node", "mise.toml", ("22",))),
        ({"rust-toolchain": "1.70.0\n"}, ("rust", "rust-toolchain", ("1.70.0",))),
        ({"rust-toolchain.toml": '[toolchain]\nchannel = "nightly"'}, ("rust", "rust-toolchain.toml", ("nightly",))),
        ({"Cargo.toml": '[package]\nrust-version = "1.60"'}, ("rust", "Cargo.toml", (">=1.60",))),
        ({"go.mod": "module x\n\ngo 1.21 // old\n"}, ("go", "go.mod", (">=1.21",))),
        ({"go.mod": "module x\ngo 1.21\ntoolchain go1.22.3\n"}, ("go", "go.mod", (">=1.22.3",))),
        ({"package.json": '{"engines": {"node": ">=18"}}'}, ("node", "package.json", (">=18",))),
        ({"package.json": '{"volta": {"node": "20.1.0"}}'}, ("node", "package.json", ("20.1.0",))),
        ({"pyproject.toml": '[project]\nrequires-python = ">=3.11"'}, ("python", "pyproject.toml", (">=3.11",))),
        ({"pyproject.toml": '[tool.poetry.dependencies]\npython = "^3.10"'}, ("python", "pyproject.toml", ("^3.10",))),
    ],
)
def test_each_file_is_read_as_its_tool_reads_it(files: dict[str, str], want: tuple[str, str, tuple[str, ...]]) -> None:
    found = {w.tool: (w.tool, w.source, tuple(spec.text for spec in w.specs)) for w in wants(reader(files))}
    assert found[want[0]] == want


def test_the_weightier_file_decides() -> None:
    files = {
        "pyproject.toml": '[project]\nrequires-python = ">=3.9"',
        ".python-version": "3.12",
        ".tool-versions": "python 3.10.1\nnodejs 18.0.0",
        "package.json": '{"engines": {"node": ">=20"}}',
    }
    found = {want.tool: want.source for want in wants(reader(files))}
    assert found == {"python": ".python-version", "node": ".tool-versions"}


def test_a_file_that_pins_nothing_gives_way_to_one_that_does() -> None:
    files = {".python-version": "system\n", "pyproject.toml": '[project]\nrequires-python = ">=3.11"'}
    (want,) = wants(reader(files))
    assert (want.source, [spec.text for spec in want.specs]) == ("pyproject.toml", [">=3.11"])


def test_a_manifest_alone_wants_its_tool_in_any_version() -> None:
    found = {want.tool: (want.source, want.specs) for want in wants(reader({"requirements.txt": "x", "Gemfile": "y"}))}
    assert found == {"python": ("requirements.txt", ()), "ruby": ("Gemfile", ())}


@pytest.mark.parametrize("text", ["{", "[]", '{"engines": 5}', '{"engines": {"node": []}}', "\0", "[" * 100_000])
def test_nonsense_asks_for_nothing_in_particular(text: str) -> None:
    files = {"package.json": text, "pyproject.toml": text, "mise.toml": text, "rust-toolchain": ""}
    assert {want.tool: want.specs for want in wants(reader(files))} == {"python": (), "node": ()}


def test_programs_are_known_by_their_files() -> None:
    files = {"uv.lock": "x", "package.json": json.dumps({"packageManager": "pnpm@8.6.0+sha256.x"}), "justfile": "x"}
    assert {(want.tool, want.source) for want in programs(reader(files))} == {
        ("uv", "uv.lock"),
        ("pnpm", "package.json"),
        ("just", "justfile"),
    }
