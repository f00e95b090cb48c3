"""What version files and manifests mean, as their own tools read them."""

from __future__ import annotations

import pytest

from crewcap.workspaces.project.versions import Spec, at_least, conditions, node_version, numbers_of, pin


def admitted(spec: Spec | None, *versions: str) -> list[str]:
    assert spec is not None
    return [version for version in versions if spec.admits(version)]


@pytest.mark.parametrize(
    ("text", "fits", "does_not"),
    [
        ("20", ["20.0.0", "20.11.1"], ["2.0.0", "21.0.0", "200.1.0"]),
        ("v20.11", ["20.11.0", "20.11.9"], ["20.1.0", "20.12.0"]),
        ("3.12.1", ["3.12.1"], ["3.12.10", "3.12"]),
        ("18.x", ["18.2.0"], ["17.0.0"]),
        ("cpython-3.12.1-linux-x86_64-gnu", ["3.12.1"], ["3.12.2"]),
        (">=3.11", ["3.11.0", "3.13.1"], ["3.10.9"]),
    ],
)
def test_a_pin_is_met_by_as_much_as_it_says(text: str, fits: list[str], does_not: list[str]) -> None:
    assert admitted(pin(text), *fits, *does_not) == fits


@pytest.mark.parametrize("text", ["system", "latest", "node", "*", ""])
def test_some_words_pin_nothing(text: str) -> None:
    assert pin(text) is None


def test_a_channel_is_met_by_its_toolchain_of_any_machine_type() -> None:
    stable = pin("stable")
    assert stable is not None
    assert stable.admits("1.80.0", name="stable-x86_64-unknown-linux-gnu")
    assert not stable.admits("1.80.0", name="nightly-x86_64-unknown-linux-gnu")
    dated = pin("nightly-2024-01-01")
    assert dated is not None
    assert dated.admits("", name="nightly-2024-01-01-x86_64-unknown-linux-gnu")


@pytest.mark.parametrize(
    ("text", "fits", "does_not"),
    [
        ("lts/*", ["20.1.0", "22.0.0"], ["21.0.0", "23.1.0"]),
        ("lts/iron", ["20.1.0"], ["18.0.0", "22.0.0"]),
        ("LTS/Hydrogen", ["18.1.0"], ["20.0.0"]),
        ("v20.11.1", ["20.11.1"], ["20.11.2"]),
    ],
)
def test_node_has_names_for_its_long_lines(text: str, fits: list[str], does_not: list[str]) -> None:
    assert admitted(node_version(text), *fits, *does_not) == fits


@pytest.mark.parametrize(
    ("text", "fits", "does_not"),
    [
        (">=3.11,<4", ["3.11.0", "3.13.1"], ["3.10.14", "4.0.0"]),
        (">=3.9,!=3.9.7", ["3.9.6", "3.10.0"], ["3.9.7", "3.8.0"]),
        ("!=3.11.*,>=3", ["3.10.1"], ["3.11.4"]),
        ("~=3.11", ["3.11.0", "3.13.0"], ["3.10.0", "4.0.0"]),
        ("~=3.11.2", ["3.11.2", "3.11.9"], ["3.11.1", "3.12.0"]),
        ("==3.11.*", ["3.11.4"], ["3.12.0"]),
        ("^18 || >=20", ["18.3.0", "20.0.0", "23.1.0"], ["19.0.0", "17.9.0"]),
        ("^3.10", ["3.10.0", "3.13.0"], ["3.9.0", "4.0.0"]),
        ("^0.2.3", ["0.2.3", "0.2.9"], ["0.3.0", "1.0.0"]),
        ("~18.2", ["18.2.7"], ["18.3.0", "18.1.0"]),
        (">=18.0.0 <21", ["18.0.0", "20.11.1"], ["21.0.0", "17.1.0"]),
        (">20", ["21.0.0"], ["20.5.0", "19.0.0"]),
        ("<=20", ["20.11.1", "18.0.0"], ["21.0.0"]),
        ("18 - 20", ["18.0.0", "20.9.0"], ["21.0.0", "17.0.0"]),
        (">= 18", ["18.0.0"], ["17.0.0"]),
        ("16.x || 18.x", ["16.1.0", "18.1.0"], ["17.0.0"]),
    ],
)
def test_ranges_hold_as_npm_poetry_and_pep_440_mean_them(text: str, fits: list[str], does_not: list[str]) -> None:
    assert admitted(conditions(text), *fits, *does_not) == fits


@pytest.mark.parametrize("text", ["*", "", "anything"])
def test_no_condition_is_none(text: str) -> None:
    assert conditions(text) is None


def test_go_says_the_oldest_that_will_do() -> None:
    assert admitted(at_least("1.21"), "1.20.9", "1.21.0", "1.23.1", "2.0") == ["1.21.0", "1.23.1", "2.0"]
    assert at_least("") is None


def test_a_line_is_told_from_a_range() -> None:
    pinned, ranged = pin("3.12.4"), conditions(">=3.12")
    assert pinned is not None
    assert ranged is not None
    assert (pinned.is_pinned, pinned.line, ranged.is_pinned, ranged.line) == (True, (3, 12, 4), False, ())


def test_numbers_are_read_from_a_version() -> None:
    assert [numbers_of(text) for text in ("v20.11.1", "3.13.0rc1", "stable")] == [(20, 11, 1), (3, 13, 0), ()]
