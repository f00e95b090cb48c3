"""The table of services."""

from __future__ import annotations

from crewcap.core.services import PORTS, nearest_service


def test_a_service_is_known_by_its_other_names() -> None:
    assert nearest_service("PostgreSQL") == "postgres"
    assert nearest_service("valkey") == "redis"
    assert nearest_service("mysql") == ""


def test_no_two_services_want_the_same_port() -> None:
    assert len(set(PORTS.values())) == len(PORTS)
