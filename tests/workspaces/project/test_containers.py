"""Projects that want containers are told what to do instead."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from crewcap.workspaces.project.containers import wants_containers

COMPOSE = b"services:\n  db:\n    image: docker.io/library/postgres:16\n  cache:\n    image: 'redis:7-alpine'\n"


def _told(files: Mapping[str, bytes], *commands: str) -> str:
    return wants_containers(files.get, commands=commands)


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("package-lock.json", b'"node_modules/@testcontainers/postgresql": {}'),
        ("go.mod", b"require github.com/testcontainers/testcontainers-go v0.30.0"),
        ("uv.lock", b'name = "testcontainers"'),
        ("pom.xml", b"<groupId>org.testcontainers</groupId>"),
        ("Cargo.toml", b'testcontainers = "0.23"'),
    ],
)
def test_a_lock_file_that_names_testcontainers_is_enough(path: str, content: bytes) -> None:
    assert _told({path: content}, "make test").startswith(f"{path} names testcontainers, and containers cannot be")


@pytest.mark.parametrize(
    "command", ["docker compose up -d && npm test", "make x; docker-compose up", "podman run x", "docker"]
)
def test_a_command_that_calls_docker_is_enough(command: str) -> None:
    assert f"`{command}` calls" in _told({}, "npm ci", command)


def test_the_line_names_both_ways_round_with_the_services_of_the_compose_file() -> None:
    assert _told({"docker-compose.yml": COMPOSE}, "docker compose up -d") == (
        "`docker compose up -d` calls docker, and containers cannot be started inside (there is no docker socket):"
        ' use services = ["postgres", "redis"], or start them yourself and let them in with'
        ' ports = { 5432 = "127.0.0.1:5432" }'
    )


@pytest.mark.parametrize(
    ("files", "command"),
    [
        ({}, "npm test"),
        ({"docker-compose.yml": COMPOSE}, "npm test"),  # many projects have one for people
        ({"package.json": b"{}"}, "pytest tests/docker_test.py"),
        ({}, "sh build-docker.sh"),
    ],
)
def test_others_are_told_nothing(files: dict[str, bytes], command: str) -> None:
    assert _told(files, command) == ""
