"""What every ledger keeps of incidents: they outlive the gateway that saw them, until somebody has looked."""

from __future__ import annotations

from collections.abc import Callable

from tests.contracts.clocks import START
from tests.contracts.ledger_desk import Desk

from crewcap.stores import Incident, Ledger


class IncidentsContract:
    """A part of the suite."""

    def test_an_incident_is_known_to_every_gateway_of_the_books(self, desk: Desk, opened: Callable[[], Ledger]) -> None:
        """A run that starts a gateway of its own does not forget what another one saw."""
        assert desk.ledger.frozen() == ()
        assert desk.ledger.freeze("anthropic", reason="a dearer model answered")
        told = Incident(provider="anthropic", reason="a dearer model answered", at=START)
        assert opened().frozen() == desk.ledger.frozen() == (told,)

    def test_the_first_reason_stands_until_somebody_has_looked(self, desk: Desk) -> None:
        assert desk.ledger.freeze("anthropic", reason="first")
        assert not desk.ledger.freeze("anthropic", reason="second")
        assert desk.ledger.freeze("openai", reason="another")
        assert [each.reason for each in desk.ledger.frozen()] == ["first", "another"]

    def test_what_was_looked_at_is_over_and_may_happen_again(self, desk: Desk) -> None:
        desk.ledger.freeze("anthropic", reason="first")
        assert desk.ledger.thaw("anthropic", word="the price list was old")
        assert desk.ledger.frozen() == ()
        assert not desk.ledger.thaw("anthropic", word="again")
        assert desk.ledger.freeze("anthropic", reason="second")
        assert [each.reason for each in desk.ledger.frozen()] == ["second"]

    def test_incidents_move_no_money(self, desk: Desk) -> None:
        desk.key(cap="1.00")
        desk.ledger.freeze("anthropic", reason="first")
        desk.granted("0.40")
        assert desk.ledger.verify().problems == ()
