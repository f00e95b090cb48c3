"""Projects that want containers are told what to do instead."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from crewcap.workspaces.project.containers import wanted_containers, wants_containers

COMPOSE = b"services:\n  db:\n    image: docker.io/library/postgres:16\n  cache:\n    image: 'redis:7-alpine'\n"

MAKEFILE = b"""IMAGE := shop
.PHONY: test up lint
lint:
\truff check
test: up
\tpytest

up:
\t@docker compose up -d
"""


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


ONLY_MYSQL = 'start mysql yourself and let it in with ports = { 3306 = "127.0.0.1:3306" }'
BOTH = 'use services = ["postgres"], start rabbitmq yourself and let it in with ports = { 5672 = "127.0.0.1:5672" }'


@pytest.mark.parametrize(
    ("files", "command", "way"),
    [
        ({"compose.yaml": b"services:\n  db:\n    image: mysql:8\n"}, "npm test", ONLY_MYSQL),
        ({"compose.yml": b"  a:\n    image: rabbitmq\n  b:\n    image: postgis/postgis:16\n"}, "npm test", BOTH),
        ({}, "docker run --rm -p 6379:6379 redis:7 & npm test", 'use services = ["redis"], or start them'),
        ({}, "docker build -t shop . && docker run shop", "start what they hold yourself and let it in by its port"),
        ({"ops/ci.yml": b"  a:\n    image: valkey/valkey:8\n"}, "docker compose -f ops/ci.yml up", '= ["redis"], or'),
        ({"scripts/test.sh": b"# postgres\ndocker run \\\n  mysql:8\n"}, "scripts/test.sh", ONLY_MYSQL),
        ({"go.mod": b"testcontainers/testcontainers-go/modules/redis v0.30.0"}, "go test", '= ["redis"], or'),
        ({"pom.xml": b"<g>org.testcontainers</g>\n <a>mysql</a>"}, "mvn test", ONLY_MYSQL),
        ({"pyproject.toml": b'"testcontainers[postgres]>=4"'}, "pytest", '= ["postgres"], or'),
        ({"uv.lock": b'name = "testcontainers"\nversion = "4"\n'}, "pytest", "start what they hold yourself"),
    ],
)
def test_what_is_proposed_is_what_the_project_asks_for(files: dict[str, bytes], command: str, way: str) -> None:
    """A service that nobody named is not proposed; what we do not serve is let in by its port."""
    assert way in _told(files, command)


@pytest.mark.parametrize(
    ("files", "command"),
    [
        ({}, "npm test"),
        ({"Makefile": MAKEFILE}, "make lint"),
        ({"Makefile": MAKEFILE}, "make MODE=docker lint"),
        ({"test.sh": b"# docker is not needed\npytest\n"}, "pytest"),
        ({"package.json": b"{}"}, "pytest tests/docker_test.py"),
        ({}, "sh build-docker.sh"),
    ],
)
def test_others_are_told_nothing(files: dict[str, bytes], command: str) -> None:
    assert _told(files, command) == ""


def test_what_make_does_for_the_check_is_looked_at_with_what_that_wants() -> None:
    assert _told({"Makefile": MAKEFILE}, "npm ci && make test").startswith("`make up` in Makefile calls docker, and")


def test_a_script_that_the_check_names_is_looked_at() -> None:
    files = {"scripts/test.sh": b"#!/bin/sh\nset -e\npodman run --rm shop\n"}
    for command in ("./scripts/test.sh", "sh scripts/test.sh --fast"):
        assert _told(files, command).startswith("scripts/test.sh calls podman, and")


@pytest.mark.parametrize("path", ["compose.yaml", "docker-compose.yml"])
def test_a_compose_file_in_the_root_is_said(path: str) -> None:
    assert _told({path: COMPOSE}, "npm test").startswith(f"{path} describes containers, and")


def test_a_command_that_found_no_docker_daemon_is_explained() -> None:
    said = b"Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?"
    told = wanted_containers(said)
    assert told.startswith("it found no Docker daemon, and containers cannot be started")
    assert told.endswith('let it in by its port, such as ports = { 8080 = "127.0.0.1:8080" }')
    assert "services" not in told
    assert 'services = ["redis"]' in wanted_containers(said + b"\nfailed to start container for redis:7")
    assert wanted_containers(b"1 failed") == ""
