"""The settings: the one place that reads a settings file. What is behind it lies in `settings/`."""

from __future__ import annotations

from crewcap.settings.keysource import KeySource
from crewcap.settings.load import load
from crewcap.settings.models import Defaults, RepoSettings, Settings
from crewcap.settings.place import find, usual_path
from crewcap.settings.served import BudgetLine, GatewaySettings, LimitLine, ProviderSettings

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
