"""The settings: the one place that reads a settings file. What is behind it lies in `settings/`."""

from __future__ import annotations

from crewcap.settings.keysource import KeySource
from crewcap.settings.load import find, load, usual_path
from crewcap.settings.models import (
    BudgetLine,
    Defaults,
    GatewaySettings,
    LimitLine,
    ProviderSettings,
    RepoSettings,
    Settings,
)

__all__ = [
    "BudgetLine",
    "Defaults",
    "GatewaySettings",
    "KeySource",
    "LimitLine",
    "ProviderSettings",
    "RepoSettings",
    "Settings",
    "find",
    "load",
    "usual_path",
]
