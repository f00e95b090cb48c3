"""Whether the price lists that providers bill by are there: without its list, a provider's every request is refused."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection

from crewcap.errors import SettingsError
from crewcap.settings.resolve import VENDORS
from crewcap.settings.served import Served

_VENDORS_OWN = frozenset(vendor.prices for vendor in VENDORS.values())


def check_price_lists(settings: Served, lists: Callable[[], Collection[str]]) -> None:
    """`SettingsError` names a list that is not there, the nearest one, and all there are.

    The vendors' own lists are in every book: where no other is named, nobody reads one to know that.
    """
    for provider in settings.providers.values():
        if provider.prices not in _VENDORS_OWN and provider.prices not in (known := lists()):
            raise SettingsError(
                f"{settings.source or 'defaults'}: providers.{provider.name}.prices: there is no price list"
                f" {provider.prices!r}",
                help=f"{_nearest(provider.prices, known)}the lists there are: {', '.join(sorted(known))};"
                " [prices] overrides = FILE adds your own",
            )


def _nearest(name: str, known: Collection[str]) -> str:
    """A vendor is easily named where its list is meant."""
    vendor = VENDORS.get(name.lower())
    near = [vendor.prices] if vendor else difflib.get_close_matches(name.lower(), known, n=1)
    return f"did you mean {near[0]}? " if near else ""
